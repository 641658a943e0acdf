//! `/_ping`, `/version`, `/info`, `/events`, `/auth`, `/system/df`.

use api::auth::{AuthConfig, AuthResponse};
use api::system::DiskUsage;
use engine::{EventsRequest, Filters, ListRequest};
use hyper::header::{CACHE_CONTROL, CONTENT_LENGTH, HeaderValue, PRAGMA};
use hyper::{Response, StatusCode};

use crate::body::Body;
use crate::call::{Call, ok, typed};
use crate::failure::{Answer, Failure};
use crate::feed::Feed;
use crate::show;

pub(super) async fn route(method: &str, path: &[&str], call: Call) -> Answer {
    match (method, path) {
        ("GET", ["_ping"]) => Ok(ping(Body::Whole("OK".into()))),
        ("HEAD", ["_ping"]) => Ok(ping(Body::empty())),
        ("GET", ["version"]) => ok(&show::info::version(&call.app.host)),
        ("GET", ["info"]) => ok(&show::info::info(&call.app)),
        ("GET", ["events"]) => events(&call),
        ("POST", ["auth"]) => auth(call).await,
        ("GET", ["system", "df"]) => disk_usage(&call).await,
        _ => Err(Failure::no_page()),
    }
}

fn ping(body: Body) -> Response<Body> {
    let length = if matches!(&body, Body::Whole(b) if b.is_empty()) { "0" } else { "2" };
    let mut response = typed(StatusCode::OK, "text/plain; charset=utf-8", body);
    let headers = response.headers_mut();
    let mut add = |name, value| headers.insert(name, HeaderValue::from_static(value));
    add(CONTENT_LENGTH, length);
    add(CACHE_CONTROL, "no-cache, no-store, must-revalidate");
    add(PRAGMA, "no-cache");
    headers.insert("Builder-Version", HeaderValue::from_static("1"));
    headers.insert("Swarm", HeaderValue::from_static("inactive"));
    response
}

fn events(call: &Call) -> Answer {
    let request = EventsRequest {
        since: call.time("since")?,
        until: call.time("until")?,
        filters: call.filters()?,
    };
    let mut events = call.engine().events(request)?;
    let (feed, body) = Feed::new();
    tokio::spawn(async move {
        loop {
            let event = tokio::select! {
                event = events.next() => event,
                () = feed.gone() => return,
            };
            match event {
                Some(event) if feed.line(&show::event::event(&event)).await => {}
                _ => return,
            }
        }
    });
    Ok(typed(StatusCode::OK, "application/json", body))
}

/// The daemon has no way to ask the registry yet: it accepts what names an account, and the pull tells.
async fn auth(call: Call) -> Answer {
    let auth: AuthConfig = call.json().await?;
    if auth.username.is_empty() && auth.identitytoken.is_empty() {
        return Err(Failure::invalid("invalid credentials: no user name and no token"));
    }
    let status = "Login Succeeded".to_owned();
    ok(&AuthResponse { status, identity_token: String::new() })
}

async fn disk_usage(call: &Call) -> Answer {
    let wanted: Vec<&str> = call.query.all("type").collect();
    let wants = |kind: &str| wanted.is_empty() || wanted.contains(&kind);
    if let Some(unknown) =
        wanted.iter().find(|k| !["container", "image", "volume", "build-cache"].contains(k))
    {
        return Err(Failure::invalid(format!("unknown object type: {unknown}")));
    }
    let mut usage = DiskUsage::default();
    if wants("container") {
        let request = ListRequest { all: true, size: true, ..ListRequest::default() };
        let rows = call.engine().list(request).await?;
        usage.containers = rows.iter().map(show::container::summary).collect();
    }
    if wants("image") {
        usage.images = super::images::usage(call);
        usage.layers_size = i64::try_from(call.app.images().disk_usage()).unwrap_or(i64::MAX);
    }
    if wants("volume") {
        let volumes = call.engine().volume_list(&Filters::default())?;
        usage.volumes = super::volumes::usage(volumes).await;
    }
    ok(&usage)
}
