//! From a request line to a handler.

use std::sync::Arc;

use api::query::{Query, unescape};
use api::version::{self, ApiVersion};
use hyper::body::Incoming;
use hyper::http::request::Parts;

use crate::call::Call;
use crate::failure::{Answer, Failure};
use crate::hijack::Hijack;
use crate::routes;
use crate::server::App;

/// Where a request goes: its version and its path in pieces, decoded, without empty ones.
#[derive(Debug, PartialEq, Eq)]
struct Target {
    version: ApiVersion,
    path: Vec<String>,
}

/// Finds and runs the handler.
pub(crate) async fn dispatch(
    app: Arc<App>,
    head: Parts,
    body: Incoming,
    hijack: Option<Hijack>,
) -> Answer {
    let target = target(head.uri.path())?;
    let query = Query::parse(head.uri.query().unwrap_or_default());
    let method = head.method.clone();
    let call = Call { app, version: target.version, query, headers: head.headers, body, hijack };
    let path: Vec<&str> = target.path.iter().map(String::as_str).collect();
    routes::route(method.as_str(), &path, call).await
}

/// Takes a path apart and checks the version.
fn target(path: &str) -> Result<Target, Failure> {
    let mut parts = path.split('/').filter(|part| !part.is_empty()).peekable();
    let version = match parts.peek().filter(|part| is_version(part)) {
        None => version::MAX,
        Some(part) => {
            let version: ApiVersion = part[1..].parse().map_err(|_| Failure::no_page())?;
            if let Some(refusal) = version.refusal() {
                return Err(Failure::invalid(refusal));
            }
            parts.next();
            version
        }
    };
    Ok(Target { version, path: parts.map(|part| unescape(part, false)).collect() })
}

/// Tells whether the first piece of a path is a version: `v1.50`.
pub(crate) fn is_version(part: &str) -> bool {
    part.strip_prefix('v').is_some_and(|rest| rest.parse::<ApiVersion>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(path: &str) -> (String, Vec<String>) {
        let target = target(path).unwrap();
        (target.version.to_string(), target.path)
    }

    #[test]
    fn paths_are_cleaned_and_decoded() {
        for (path, version, want) in [
            ("/_ping", "1.51", vec!["_ping"]),
            ("/v1.24/containers/json/", "1.24", vec!["containers", "json"]),
            (
                "//v1.50//images/localhost:5000/a/b:tag/json",
                "1.50",
                vec!["images", "localhost:5000", "a", "b:tag", "json"],
            ),
            ("/images/a%2Fb/json", "1.51", vec!["images", "a/b", "json"]),
            ("/version", "1.51", vec!["version"]),
            ("/", "1.51", vec![]),
        ] {
            let want = want.into_iter().map(str::to_owned).collect::<Vec<_>>();
            assert_eq!(parts(path), (version.to_owned(), want), "{path}");
        }
    }

    #[test]
    fn versions_out_of_range_are_refused() {
        let new = target("/v1.99/info").unwrap_err();
        assert_eq!(
            new.message(),
            "client version 1.99 is too new. Maximum supported API version is 1.51"
        );
        assert!(target("/v1.12/info").unwrap_err().message().contains("is too old"));
        assert_eq!(parts("/v1/info").1, ["v1", "info"], "not a version: an unknown page");
    }
}
