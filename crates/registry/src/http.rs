//! One request to one endpoint: retries, redirects by hand, bounded bodies. Knows nothing of repositories.

use std::sync::OnceLock;
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{
    ACCEPT_ENCODING, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, LOCATION,
    RETRY_AFTER,
};
use reqwest::{Certificate, Method, Response, StatusCode, Url};
use tokio::time::sleep;

use crate::Error;
use crate::endpoint::{Class, Endpoint, Policy};
use crate::error::Refusal;

const MAX_REDIRECTS: usize = 5;
const MAX_ERROR_BYTES: usize = 64 << 10;
const MAX_MESSAGE_CHARS: usize = 500;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
/// A body that brings no byte for this long counts as dropped.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// A registry that asks for more patience than this is given up.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(30);

/// How often and how fast something is tried again.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    pub(crate) attempts: u32,
    /// The first pause; each further one is twice as long.
    pub(crate) pause: Duration,
}

impl Patience {
    pub(crate) fn once(self) -> Self {
        Self { attempts: 1, ..self }
    }

    pub(crate) fn pause_after(self, attempt: u32) -> Duration {
        self.pause.saturating_mul(1 << attempt.min(6))
    }
}

/// What is sent.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) verb: &'static str,
    pub(crate) url: Url,
    pub(crate) headers: HeaderMap,
    /// An `application/x-www-form-urlencoded` body: makes it a POST.
    pub(crate) form: Option<String>,
}

impl Request {
    pub(crate) fn get(verb: &'static str, url: Url) -> Self {
        let mut headers = HeaderMap::new();
        // A compressed transfer would not have the digest that the manifest promises.
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        Self { verb, url, headers, form: None }
    }

    pub(crate) fn header(mut self, name: HeaderName, value: &str) -> Result<Self, Error> {
        let value = HeaderValue::from_str(value).map_err(|_| Error::Protocol {
            url: shown(&self.url),
            reason: format!("its credentials do not fit into the header `{name}`"),
        })?;
        self.headers.insert(name, value);
        Ok(self)
    }

    pub(crate) fn authorised(self, value: Option<&str>) -> Result<Self, Error> {
        let Some(value) = value else { return Ok(self) };
        let mut request = self.header(AUTHORIZATION, value)?;
        if let Some(value) = request.headers.get_mut(AUTHORIZATION) {
            value.set_sensitive(true);
        }
        Ok(request)
    }
}

/// The connections to all registries.
#[derive(Debug)]
pub(crate) struct Transport {
    pub(crate) policy: Policy,
    user_agent: String,
    secure: OnceLock<reqwest::Client>,
    insecure: OnceLock<reqwest::Client>,
    loopback: OnceLock<reqwest::Client>,
}

impl Transport {
    pub(crate) fn new(policy: Policy, user_agent: String) -> Self {
        let (secure, insecure, loopback) = (OnceLock::new(), OnceLock::new(), OnceLock::new());
        Self { policy, user_agent, secure, insecure, loopback }
    }

    /// Sends `request`, following redirects; repeats it while that may help. Returns any answer but 429 and 5xx, and these only
    /// when patience is at its end.
    pub(crate) async fn send(
        &self,
        endpoint: &Endpoint,
        request: &Request,
        patience: Patience,
    ) -> Result<Response, Error> {
        let mut attempt = 0;
        loop {
            let result = self.follow(endpoint, request).await;
            let pause = match &result {
                Ok(response) if is_passing(response.status()) => {
                    retry_after(response).unwrap_or(patience.pause_after(attempt))
                }
                Err(Error::Unreachable { .. }) => patience.pause_after(attempt),
                _ => return result,
            };
            attempt += 1;
            if attempt >= patience.attempts || pause > MAX_RETRY_AFTER {
                return result;
            }
            tracing::debug!(url = shown(&request.url), attempt, ?pause, "registry asked again");
            sleep(pause).await;
        }
    }

    async fn follow(&self, endpoint: &Endpoint, request: &Request) -> Result<Response, Error> {
        let mut request = request.clone();
        for _ in 0..=MAX_REDIRECTS {
            let response = self.exchange(&request).await?;
            let Some(next) = redirect(&request, &response)? else { return Ok(response) };
            if let Some(objection) = self.policy.objection(endpoint, &next) {
                let reason = format!("its redirect to `{}` {objection}", shown(&next));
                return Err(Error::Protocol { url: shown(&request.url), reason });
            }
            if next.origin() != request.url.origin() {
                // Presigned storage refuses a second credential, and it is none of its business.
                request.headers.remove(AUTHORIZATION);
            }
            request.url = next;
            request.form = None;
        }
        Err(Error::Protocol {
            url: shown(&request.url),
            reason: format!("more than {MAX_REDIRECTS} redirects"),
        })
    }

    async fn exchange(&self, request: &Request) -> Result<Response, Error> {
        let client = self.client(self.policy.class_of_url(&request.url))?;
        let method = if request.form.is_some() { Method::POST } else { Method::GET };
        let mut builder =
            client.request(method, request.url.clone()).headers(request.headers.clone());
        if let Some(form) = &request.form {
            builder = builder
                .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
                .body(form.clone());
        }
        builder.send().await.map_err(|error| unreachable(request.verb, &request.url, error))
    }

    fn client(&self, class: Class) -> Result<&reqwest::Client, Error> {
        let slot = match class {
            Class::Secure => &self.secure,
            Class::Insecure => &self.insecure,
            Class::Loopback => &self.loopback,
        };
        if let Some(client) = slot.get() {
            return Ok(client);
        }
        let client = self.build(class)?;
        Ok(slot.get_or_init(|| client))
    }

    /// Clients are built at their first use: a daemon that never pulls holds no certificates in memory.
    fn build(&self, class: Class) -> Result<reqwest::Client, Error> {
        let setup = |reason: String| Error::Setup { reason };
        // Another part of the process may have chosen a provider already; any will do.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut builder = reqwest::Client::builder()
            .user_agent(&self.user_agent)
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(IDLE_TIMEOUT);
        builder = match class {
            Class::Secure => builder.tls_certs_only(system_roots()?),
            Class::Insecure => {
                builder.tls_certs_only(Vec::new()).tls_danger_accept_invalid_certs(true)
            }
            Class::Loopback => {
                builder.tls_certs_only(Vec::new()).tls_danger_accept_invalid_certs(true).no_proxy()
            }
        };
        builder.build().map_err(|error| setup(chain(&error)))
    }
}

fn system_roots() -> Result<Vec<Certificate>, Error> {
    let found = rustls_native_certs::load_native_certs();
    let roots: Vec<_> =
        found.certs.iter().filter_map(|der| Certificate::from_der(der.as_ref()).ok()).collect();
    if roots.is_empty() {
        let why = found.errors.first().map(ToString::to_string).unwrap_or_default();
        let reason = format!("no CA certificates on this machine (package ca-certificates) {why}");
        return Err(Error::Setup { reason: reason.trim_end().to_owned() });
    }
    Ok(roots)
}

fn redirect(request: &Request, response: &Response) -> Result<Option<Url>, Error> {
    if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
        return Ok(None);
    }
    let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
    match location.and_then(|location| request.url.join(location).ok()) {
        Some(next) => Ok(Some(next)),
        None => Err(Error::Protocol {
            url: shown(&request.url),
            reason: "a redirect without a usable location".to_owned(),
        }),
    }
}

fn is_passing(status: StatusCode) -> bool {
    status == StatusCode::TOO_MANY_REQUESTS || matches!(status.as_u16(), 500 | 502 | 503 | 504)
}

fn retry_after(response: &Response) -> Option<Duration> {
    let seconds = response.headers().get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

pub(crate) fn unreachable(verb: &'static str, url: &Url, error: reqwest::Error) -> Error {
    // reqwest repeats the URL, with its query, which may hold a signature.
    Error::Unreachable { verb, url: shown(url), source: Box::new(error.without_url()) }
}

/// Returns a URL for messages: without its query.
pub(crate) fn shown(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.to_string()
}

fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    types::Chain(error).to_string()
}

/// Reads a body of at most `max_bytes`.
pub(crate) async fn read(mut response: Response, max_bytes: usize) -> Result<Bytes, Error> {
    let url = response.url().clone();
    let too_large = || Error::TooLarge { url: shown(&url), max_bytes };
    if response.content_length().is_some_and(|length| length > max_bytes as u64) {
        return Err(too_large());
    }
    let mut body = Vec::new();
    while let Some(chunk) =
        response.chunk().await.map_err(|error| unreachable("read", &url, error))?
    {
        if body.len() + chunk.len() > max_bytes {
            return Err(too_large());
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.into())
}

/// Reads what a registry says about its refusal (distribution-spec `#error-codes`); never fails, never trusts the words.
pub(crate) async fn refusal(response: Response) -> Refusal {
    let status = response.status().as_u16();
    let body = read(response, MAX_ERROR_BYTES).await.unwrap_or_default();
    let json: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
    let first = &json["errors"][0];
    let text = |value: &serde_json::Value| {
        let text = value.as_str().unwrap_or_default();
        text.chars().filter(|c| !c.is_control()).take(MAX_MESSAGE_CHARS).collect::<String>()
    };
    let message = match text(&first["message"]) {
        empty if empty.is_empty() => text(&json["details"]),
        message => message,
    };
    Refusal { status, code: text(&first["code"]), message }
}
