//! Bearer tokens (distribution `docs/spec/auth/token.md`, `oauth.md`) and what else goes into `Authorization`.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use reqwest::Url;
use reqwest::header::AUTHORIZATION;
use serde::Deserialize;

use crate::challenge::Challenge;
use crate::endpoint::Endpoint;
use crate::http::{Patience, Request, Transport, read, refusal, shown};
use crate::{Auth, Error};

const MAX_TOKEN_BYTES: usize = 64 << 10;
/// Also the validity of a token that names none.
const SHORTEST_LIFE: Duration = Duration::from_secs(60);
const CLIENT_ID: &str = "belljar";
const MAX_KNOWN: usize = 1000;

/// For whom and for what an authorization is good.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Audience {
    pub(crate) origin: String,
    pub(crate) scope: String,
    pub(crate) auth: Auth,
}

/// The authorizations that worked, until they expire.
#[derive(Debug, Default)]
pub(crate) struct Tokens {
    known: Mutex<HashMap<Audience, Known>>,
}

struct Known {
    header: String,
    expires: Option<Instant>,
}

impl std::fmt::Debug for Known {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Known").field("expires", &self.expires).finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    token: String,
    #[serde(default)]
    access_token: String,
    #[serde(default)]
    expires_in: Option<u64>,
}

impl Tokens {
    /// Returns the `Authorization` that worked for `audience` before.
    pub(crate) fn known(&self, audience: &Audience) -> Option<String> {
        if !audience.auth.registry_token.is_empty() {
            return Some(format!("Bearer {}", audience.auth.registry_token));
        }
        let known = self.lock();
        let entry = known.get(audience)?;
        let fresh = entry.expires.is_none_or(|expires| expires > Instant::now());
        fresh.then(|| entry.header.clone())
    }

    /// Answers `challenge`: returns the `Authorization` to send.
    pub(crate) async fn answer(
        &self,
        transport: &Transport,
        endpoint: &Endpoint,
        audience: &Audience,
        challenge: &Challenge,
        patience: Patience,
    ) -> Result<String, Error> {
        let (header, life) = match challenge {
            Challenge::Basic => match audience.auth.basic_header() {
                Some(header) => (header, None),
                None => return Err(Error::NoCredentials { url: shown(&endpoint.base) }),
            },
            Challenge::Bearer { realm, service } => {
                let request = token_request(transport, endpoint, audience, realm, service)?;
                fetch(transport, endpoint, &request, patience).await?
            }
        };
        self.remember(audience, &header, life);
        Ok(header)
    }

    fn remember(&self, audience: &Audience, header: &str, life: Option<Duration>) {
        let now = Instant::now();
        let mut known = self.lock();
        if known.len() >= MAX_KNOWN {
            known.clear();
        }
        // A token is not used to its last second: the clock of the other side decides.
        let expires = life.map(|life| now + life.mul_f32(0.9));
        known.insert(audience.clone(), Known { header: header.to_owned(), expires });
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Audience, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn token_request(
    transport: &Transport,
    endpoint: &Endpoint,
    audience: &Audience,
    realm: &str,
    service: &str,
) -> Result<Request, Error> {
    let wrong = |reason: String| Error::Protocol { url: shown(&endpoint.base), reason };
    let mut url = Url::parse(realm).map_err(|error| wrong(format!("its token realm: {error}")))?;
    if let Some(objection) = transport.policy.objection(endpoint, &url) {
        return Err(wrong(format!("its token realm `{}` {objection}", shown(&url))));
    }
    let auth = &audience.auth;
    if !auth.identity_token.is_empty() {
        return Ok(Request {
            form: Some(refresh_form(audience, service)),
            ..Request::get("fetch token from", url)
        });
    }
    {
        let mut query = url.query_pairs_mut();
        if !auth.username.is_empty() {
            query.append_pair("account", &auth.username);
        }
        if !audience.scope.is_empty() {
            query.append_pair("scope", &audience.scope);
        }
        if !service.is_empty() {
            query.append_pair("service", service);
        }
    }
    Request::get("fetch token from", url).authorised(auth.basic_header().as_deref())
}

fn refresh_form(audience: &Audience, service: &str) -> String {
    // The query of a throw-away URL is the form encoder at hand.
    let mut url = Url::parse("http://form/").expect("a constant that parses");
    url.query_pairs_mut()
        .append_pair("grant_type", "refresh_token")
        .append_pair("service", service)
        .append_pair("client_id", CLIENT_ID)
        .append_pair("scope", &audience.scope)
        .append_pair("refresh_token", &audience.auth.identity_token);
    url.query().unwrap_or_default().to_owned()
}

async fn fetch(
    transport: &Transport,
    endpoint: &Endpoint,
    request: &Request,
    patience: Patience,
) -> Result<(String, Option<Duration>), Error> {
    let url = shown(&request.url);
    let with_credentials = request.headers.contains_key(AUTHORIZATION) || request.form.is_some();
    let response = transport.send(endpoint, request, patience).await?;
    match response.status().as_u16() {
        200 => {}
        401 | 403 if with_credentials => {
            let registry = endpoint.base.host_str().unwrap_or_default().to_owned();
            return Err(Error::Unauthorized { registry, source: refusal(response).await });
        }
        _ => {
            let source = refusal(response).await;
            return Err(Error::Refused { verb: "fetch token from", url, source });
        }
    }
    let body = read(response, MAX_TOKEN_BYTES).await?;
    let wrong = |reason: &str| Error::Protocol { url: url.clone(), reason: reason.to_owned() };
    let answer: Answer = serde_json::from_slice(&body).map_err(|_| wrong("no token document"))?;
    let token = if answer.token.is_empty() { answer.access_token } else { answer.token };
    if token.is_empty() || !token.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(wrong("no usable token"));
    }
    let life = Duration::from_secs(answer.expires_in.unwrap_or(0)).max(SHORTEST_LIFE);
    Ok((format!("Bearer {token}"), Some(life.min(Duration::from_secs(24 * 3600)))))
}
