use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{ACCEPT, CONTENT_TYPE, RANGE, WWW_AUTHENTICATE};
use reqwest::{Response, StatusCode, Url};
use types::oci::image::media_type;
use types::{Digest, Reference};

use crate::blob::BlobStream;
use crate::challenge;
use crate::endpoint::{Endpoint, Policy};
use crate::error::Refusal;
use crate::http::{Patience, Request, Transport, read, refusal, shown};
use crate::token::{Audience, Tokens};
use crate::{Auth, Error};

/// The longest manifest that is read (distribution-spec 1.1 asks registries to accept 4 MiB).
pub const MAX_MANIFEST_BYTES: usize = 4 << 20;

const ATTEMPTS: u32 = 5;
const PAUSE: Duration = Duration::from_millis(200);

/// How registries are reached.
#[derive(Clone, Debug, Default)]
pub struct ClientOptions {
    /// `HOST[:PORT]` or CIDR: https without verification is tried first, then http. Loopback is always so.
    pub insecure: Vec<String>,
    /// URLs that are asked before Docker Hub.
    pub mirrors: Vec<String>,
    /// The `User-Agent`; empty is `belljar/VERSION`.
    pub user_agent: String,
    /// The first pause before something is tried again; none is 200 ms.
    pub retry_pause: Option<Duration>,
}

/// Talks to registries; cheap to clone, all clones share connections and tokens.
#[derive(Clone, Debug)]
pub struct Client {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    transport: Transport,
    tokens: Tokens,
    patience: Patience,
    /// Which of its addresses answered, by domain: https is not tried at a plain registry for every layer.
    proven: Mutex<HashMap<String, Endpoint>>,
}

/// A manifest or index as a registry serves it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// The SHA-256 of `bytes`.
    pub digest: Digest,
    /// The `Content-Type` without its parameters; what is inside may disagree.
    pub media_type: String,
    /// The document.
    pub bytes: Bytes,
}

/// The endpoints of a registry that were not asked yet.
struct Route {
    domain: String,
    endpoints: VecDeque<Endpoint>,
}

impl Route {
    /// Takes the next endpoint; only the last one is worth more than one attempt.
    fn next(&mut self, patience: Patience) -> Result<(Endpoint, Patience), Error> {
        let endpoint = self
            .endpoints
            .pop_front()
            .ok_or_else(|| Error::Setup { reason: format!("no endpoint for `{}`", self.domain) })?;
        let is_last = self.endpoints.is_empty();
        Ok((endpoint, if is_last { patience } else { patience.once() }))
    }
}

/// What one request is about.
pub(crate) struct Target<'a> {
    pub(crate) reference: &'a Reference,
    pub(crate) auth: &'a Auth,
    pub(crate) verb: &'static str,
    /// `manifests/latest`, `blobs/sha256:…`: what follows the repository's name.
    pub(crate) path: String,
    pub(crate) range_from: u64,
}

impl Client {
    /// Makes a client; connects to nothing yet.
    ///
    /// # Errors
    /// Internal, if a mirror is no URL.
    pub fn new(options: ClientOptions) -> Result<Self, Error> {
        let policy = Policy::new(&options.insecure, &options.mirrors)?;
        let user_agent = match options.user_agent {
            empty if empty.is_empty() => concat!("belljar/", env!("CARGO_PKG_VERSION")).to_owned(),
            given => given,
        };
        let patience = Patience { attempts: ATTEMPTS, pause: options.retry_pause.unwrap_or(PAUSE) };
        let shared = Shared {
            transport: Transport::new(policy, user_agent),
            tokens: Tokens::default(),
            patience,
            proven: Mutex::default(),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Fetches what `reference` names: by its digest if it has one, else by its tag, else `latest`.
    ///
    /// # Errors
    /// NotFound, Unauthorized, Unavailable as the registry has it; Invalid for an answer that breaks the rules.
    pub async fn resolve(
        &self,
        reference: &Reference,
        auth: Option<&Auth>,
    ) -> Result<Resolved, Error> {
        self.document(reference, reference.tag_or_digest(), reference.digest(), auth).await
    }

    /// Fetches the manifest `digest` of the reference's repository.
    ///
    /// # Errors
    /// As [`Client::resolve`]; Invalid if the bytes have another digest.
    pub async fn manifest(
        &self,
        reference: &Reference,
        digest: &Digest,
        auth: Option<&Auth>,
    ) -> Result<Resolved, Error> {
        self.document(reference, digest.as_str(), Some(digest), auth).await
    }

    /// Starts to fetch a blob of the reference's repository at `offset`; the stream ends after exactly `size_bytes - offset` bytes or
    /// with an error, and takes up a dropped connection by itself. It does not verify the digest: its reader does.
    ///
    /// # Errors
    /// NotFound, Unauthorized, Unavailable as the registry has it.
    pub async fn blob(
        &self,
        reference: &Reference,
        digest: &Digest,
        size_bytes: u64,
        offset: u64,
        auth: Option<&Auth>,
    ) -> Result<BlobStream, Error> {
        BlobStream::open(self.clone(), reference, digest, size_bytes, offset, auth).await
    }

    /// Asks the registry at `server` whether it accepts `auth`, as `docker login` does.
    ///
    /// # Errors
    /// Unauthorized if it does not; Unavailable if it cannot be asked; Invalid if `server` is no address.
    pub async fn authenticate(&self, server: &str, auth: &Auth) -> Result<(), Error> {
        let domain = login_domain(server);
        let mut last = Error::Setup { reason: format!("invalid registry address {server:?}") };
        for endpoint in self.shared.transport.policy.endpoints(&domain)? {
            if endpoint.is_mirror {
                continue;
            }
            match self.login(&endpoint, auth).await {
                Err(error @ Error::Unreachable { .. }) => last = error,
                result => return result,
            }
        }
        Err(last)
    }

    async fn login(&self, endpoint: &Endpoint, auth: &Auth) -> Result<(), Error> {
        let url = address(endpoint, "")?;
        let patience = self.shared.patience.once();
        let response = self.request(endpoint, "", auth, Request::get("get", url), patience).await?;
        match response.status() {
            StatusCode::OK => Ok(()),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(Error::Unauthorized {
                registry: endpoint.base.host_str().unwrap_or_default().to_owned(),
                source: refusal(response).await,
            }),
            _ => Err(Error::Refused {
                verb: "get",
                url: shown(&endpoint.base),
                source: refusal(response).await,
            }),
        }
    }

    async fn document(
        &self,
        reference: &Reference,
        name: &str,
        expected: Option<&Digest>,
        auth: Option<&Auth>,
    ) -> Result<Resolved, Error> {
        let auth = auth.cloned().unwrap_or_default();
        let target = Target {
            reference,
            auth: &auth,
            verb: "get",
            path: format!("manifests/{name}"),
            range_from: 0,
        };
        let mut route = self.route(reference.domain())?;
        loop {
            let (endpoint, patience) = route.next(self.shared.patience)?;
            // The body belongs to the attempt: a mirror that serves half of it, or the wrong one, is passed over.
            let result = match self.ask(&endpoint, &target, patience).await {
                Ok(response) => receive(response, expected).await,
                Err(error) => Err(error),
            };
            if let Some(result) = self.settle(&mut route, &endpoint, result) {
                return result;
            }
        }
    }

    /// Sends the request of `target` to the endpoints of its registry until one answers.
    pub(crate) async fn fetch(&self, target: &Target<'_>) -> Result<Response, Error> {
        let mut route = self.route(target.reference.domain())?;
        loop {
            let (endpoint, patience) = route.next(self.shared.patience)?;
            let result = self.ask(&endpoint, target, patience).await;
            if let Some(result) = self.settle(&mut route, &endpoint, result) {
                return result;
            }
        }
    }

    fn route(&self, domain: &str) -> Result<Route, Error> {
        let endpoints = self.endpoints(domain)?.into();
        Ok(Route { domain: domain.to_owned(), endpoints })
    }

    /// Decides whether `result` is the answer, or the next endpoint is asked.
    fn settle<T>(
        &self,
        route: &mut Route,
        endpoint: &Endpoint,
        result: Result<T, Error>,
    ) -> Option<Result<T, Error>> {
        let unreachable = matches!(result, Err(Error::Unreachable { .. }));
        if !unreachable {
            self.prove(&route.domain, endpoint);
        }
        match &result {
            Err(error) if !route.endpoints.is_empty() && (endpoint.is_mirror || unreachable) => {
                tracing::debug!(url = shown(&endpoint.base), %error, "next endpoint");
                None
            }
            _ => Some(result),
        }
    }

    fn endpoints(&self, domain: &str) -> Result<Vec<Endpoint>, Error> {
        let proven = self.shared.proven.lock().unwrap_or_else(PoisonError::into_inner);
        match proven.get(domain) {
            Some(endpoint) => Ok(vec![endpoint.clone()]),
            None => self.shared.transport.policy.endpoints(domain),
        }
    }

    fn prove(&self, domain: &str, endpoint: &Endpoint) {
        // Hub has mirrors before it: they are asked each time.
        if domain != types::reference::DEFAULT_DOMAIN {
            let mut proven = self.shared.proven.lock().unwrap_or_else(PoisonError::into_inner);
            proven.insert(domain.to_owned(), endpoint.clone());
        }
    }

    async fn ask(
        &self,
        endpoint: &Endpoint,
        target: &Target<'_>,
        patience: Patience,
    ) -> Result<Response, Error> {
        let url = address(endpoint, &format!("{}/{}", target.reference.path(), target.path))?;
        let mut request = Request::get(target.verb, url);
        if target.path.starts_with("manifests/") {
            request = request.header(ACCEPT, &accepted())?;
        }
        if target.range_from > 0 {
            request = request.header(RANGE, &format!("bytes={}-", target.range_from))?;
        }
        let scope = format!("repository:{}:pull", target.reference.path());
        let anonymous = Auth::default();
        let auth = if endpoint.is_mirror { &anonymous } else { target.auth };
        let url = shown(&request.url);
        let response = self.request(endpoint, &scope, auth, request, patience).await?;
        match response.status() {
            StatusCode::OK | StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE => {
                Ok(response)
            }
            _ => Err(explain(target, url, refusal(response).await)),
        }
    }

    /// Sends `request`, and once more with an authorization if the registry asks for one.
    async fn request(
        &self,
        endpoint: &Endpoint,
        scope: &str,
        auth: &Auth,
        request: Request,
        patience: Patience,
    ) -> Result<Response, Error> {
        let Shared { transport, tokens, .. } = &*self.shared;
        let audience = Audience {
            origin: endpoint.base.origin().ascii_serialization(),
            scope: scope.to_owned(),
            auth: auth.clone(),
        };
        let first = request.clone().authorised(tokens.known(&audience).as_deref())?;
        let response = transport.send(endpoint, &first, patience).await?;
        if response.status() != StatusCode::UNAUTHORIZED {
            return Ok(response);
        }
        let headers: Vec<_> = response
            .headers()
            .get_all(WWW_AUTHENTICATE)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .collect();
        let Some(challenge) = challenge::parse(&headers) else { return Ok(response) };
        let answer = tokens.answer(transport, endpoint, &audience, &challenge, patience).await?;
        let second = request.authorised(Some(&answer))?;
        transport.send(endpoint, &second, patience).await
    }

    pub(crate) fn patience(&self) -> Patience {
        self.shared.patience
    }
}

/// Reads a manifest and verifies its digest.
async fn receive(response: Response, expected: Option<&Digest>) -> Result<Resolved, Error> {
    let media_type = response
        .headers()
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .unwrap_or_default()
        .trim()
        .to_owned();
    let bytes = read(response, MAX_MANIFEST_BYTES).await?;
    let digest = Digest::of(&bytes);
    if let Some(expected) = expected.filter(|expected| **expected != digest) {
        return Err(Error::WrongDigest { expected: expected.clone(), actual: digest });
    }
    Ok(Resolved { digest, media_type, bytes })
}

fn accepted() -> String {
    use media_type::{DOCKER_INDEX, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST};
    [DOCKER_INDEX, OCI_INDEX, DOCKER_MANIFEST, OCI_MANIFEST].join(", ")
}

/// `<base>/v2/<path>`
fn address(endpoint: &Endpoint, path: &str) -> Result<Url, Error> {
    let text = format!("{}/v2/{path}", endpoint.base.as_str().trim_end_matches('/'));
    Url::parse(&text).map_err(|error| Error::Protocol { url: text, reason: error.to_string() })
}

/// `https://index.docker.io/v1/` is how Docker's clients name Hub.
fn login_domain(server: &str) -> String {
    let server = server.trim_start_matches("https://").trim_start_matches("http://");
    match server.split('/').next().unwrap_or_default() {
        "" | "index.docker.io" | "registry-1.docker.io" => {
            types::reference::DEFAULT_DOMAIN.to_owned()
        }
        host => host.to_owned(),
    }
}

fn explain(target: &Target<'_>, url: String, source: Refusal) -> Error {
    let registry = || target.reference.domain().to_owned();
    let is_manifest = target.path.starts_with("manifests/");
    let name = target.reference.familiar_name();
    match (source.status, source.code.as_str()) {
        (429, _) | (_, "TOOMANYREQUESTS") => {
            Error::TooManyRequests { registry: registry(), source }
        }
        (401, _) if !target.auth.username.is_empty() || !target.auth.identity_token.is_empty() => {
            Error::Unauthorized { registry: registry(), source }
        }
        (401 | 403, _) => Error::Denied { name, source: denial(source.status) },
        (404, "NAME_UNKNOWN" | "NAME_INVALID") => Error::Denied { name, source },
        (404, _) if is_manifest => {
            let reference = target.reference.clone().with_default_tag().familiar();
            Error::ManifestUnknown { reference, source: named(source) }
        }
        (404, _) => match target.path.trim_start_matches("blobs/").parse() {
            Ok(digest) => Error::BlobUnknown { digest, source },
            Err(_) => Error::Refused { verb: target.verb, url, source },
        },
        _ => Error::Refused { verb: target.verb, url, source },
    }
}

/// Docker shows one wording for every way in which a registry withholds a repository.
fn denial(status: u16) -> Refusal {
    Refusal {
        status,
        code: "DENIED".to_owned(),
        message: "requested access to the resource is denied".to_owned(),
    }
}

fn named(source: Refusal) -> Refusal {
    if !source.code.is_empty() {
        return source;
    }
    let (code, message) = ("MANIFEST_UNKNOWN".to_owned(), "manifest unknown".to_owned());
    Refusal { status: source.status, code, message }
}
