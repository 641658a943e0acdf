//! A registry on loopback that serves what it is given and misbehaves as it is told.
//!
//! HTTP/1.1, one thread for a connection, no TLS. Every request is recorded, so that a test can say what was *not* asked for.

use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use types::Digest;

/// Who may read.
#[derive(Clone, Debug, Default)]
pub enum Access {
    /// Everyone.
    #[default]
    Open,
    /// Holders of the base64 of `user:password`.
    Basic {
        /// `base64(user:password)`.
        pair: String,
    },
    /// Holders of a token, which the registry itself hands out at `/token`.
    Token {
        /// The token to hand out and to expect.
        token: String,
        /// Whom to give it: `base64(user:password)`; none is everyone.
        pair: Option<String>,
        /// The realm in the challenge; none is this registry's `/token`.
        realm: Option<String>,
    },
}

/// What goes wrong with one answer.
#[derive(Clone, Debug)]
pub enum Fault {
    /// Another status, with extra header lines and a body.
    Status(u16, Vec<(String, String)>, String),
    /// The connection closes after this many bytes of the body, whatever length was announced.
    CutAt(usize),
    /// The body's first byte is another one.
    WrongBytes,
    /// `Range` is ignored: 200 with everything.
    IgnoreRange,
    /// `Range` is answered with 416.
    RefuseRange,
    /// No `Content-Length`: the body ends with the connection, after this many bytes.
    NoLength(usize),
    /// This many bytes at a time, with a pause after each.
    Slow(usize, Duration),
    /// A redirect to there.
    Redirect(String),
    /// The connection closes without an answer.
    Hang,
    /// An endless body is announced and sent.
    Endless,
}

/// One recorded request.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// `GET`.
    pub method: String,
    /// Path and query.
    pub target: String,
    /// Headers by lower-case name.
    pub headers: HashMap<String, String>,
    /// The body, where `Content-Length` announced one.
    pub body: String,
}

struct Planned {
    path_part: String,
    fault: Fault,
    times: usize,
}

#[derive(Default)]
struct State {
    access: Access,
    blobs: HashMap<String, Arc<Vec<u8>>>,
    manifests: HashMap<String, (String, Arc<Vec<u8>>)>,
    faults: Vec<Planned>,
    recorded: Vec<Recorded>,
}

/// A running registry; it stops when dropped.
pub struct FakeRegistry {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    stop: Arc<AtomicBool>,
}

impl FakeRegistry {
    /// Starts a registry on a free port of 127.0.0.1.
    ///
    /// # Errors
    /// When no port can be bound.
    pub fn start() -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let state = Arc::new(Mutex::new(State::default()));
        let stop = Arc::new(AtomicBool::new(false));
        let (shared, stopped) = (Arc::clone(&state), Arc::clone(&stop));
        thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::Relaxed) {
                    break;
                }
                let Ok(stream) = stream else { continue };
                let shared = Arc::clone(&shared);
                // A client that goes away in the middle is none of a fake's business.
                thread::spawn(move || drop(serve(&stream, &shared, address)));
            }
        });
        Ok(Self { address, state, stop })
    }

    /// Returns `127.0.0.1:PORT`, the domain to pull from.
    #[must_use]
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// Sets who may read.
    pub fn set_access(&self, access: Access) {
        self.state().access = access;
    }

    /// Adds a blob, in every repository; returns its digest.
    pub fn add_blob(&self, bytes: &[u8]) -> Digest {
        let digest = Digest::of(bytes);
        self.state().blobs.insert(digest.to_string(), Arc::new(bytes.to_vec()));
        digest
    }

    /// Adds a manifest to `repository`, by its digest and as `tag`; returns its digest.
    pub fn add_manifest(
        &self,
        repository: &str,
        tag: &str,
        media_type: &str,
        bytes: &[u8],
    ) -> Digest {
        let digest = Digest::of(bytes);
        let entry = (media_type.to_owned(), Arc::new(bytes.to_vec()));
        let mut state = self.state();
        state.manifests.insert(format!("{repository}/manifests/{tag}"), entry.clone());
        state.manifests.insert(format!("{repository}/manifests/{digest}"), entry);
        digest
    }

    /// Lets the next `times` answers to a path that contains `path_part` go wrong.
    pub fn plan(&self, path_part: &str, fault: Fault, times: usize) {
        let path_part = path_part.to_owned();
        self.state().faults.push(Planned { path_part, fault, times });
    }

    /// Returns the requests so far.
    #[must_use]
    pub fn recorded(&self) -> Vec<Recorded> {
        self.state().recorded.clone()
    }

    /// Returns how many requests so far had `part` in their path.
    #[must_use]
    pub fn count(&self, part: &str) -> usize {
        self.state().recorded.iter().filter(|request| request.target.contains(part)).count()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

impl Drop for FakeRegistry {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // Wakes the listener, so that it sees the flag.
        drop(TcpStream::connect(self.address));
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn serve(stream: &TcpStream, state: &Mutex<State>, address: SocketAddr) -> io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    while let Some(request) = read_request(&mut reader)? {
        lock(state).recorded.push(request.clone());
        let fault = take_fault(state, &request.target);
        let keep = respond(stream, &lookup(state, &request, address, fault.as_ref()), fault)?;
        if !keep {
            break;
        }
    }
    stream.shutdown(Shutdown::Both)
}

fn read_request(reader: &mut impl BufRead) -> io::Result<Option<Recorded>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace().map(str::to_owned);
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let mut headers = HashMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.insert(name.to_lowercase(), value.trim().to_owned());
    }
    let length = headers.get("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let body = String::from_utf8_lossy(&body).into_owned();
    Ok(Some(Recorded { method, target, headers, body }))
}

fn take_fault(state: &Mutex<State>, target: &str) -> Option<Fault> {
    let mut state = lock(state);
    let planned = state
        .faults
        .iter_mut()
        .find(|planned| planned.times > 0 && target.contains(&planned.path_part))?;
    planned.times -= 1;
    Some(planned.fault.clone())
}

struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: Arc<Vec<u8>>,
}

impl Answer {
    fn new(status: u16, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        let headers = vec![("Content-Type".to_owned(), content_type.to_owned())];
        Self { status, headers, body: Arc::new(body.into()) }
    }

    fn error(status: u16, code: &str, message: &str) -> Self {
        let body = format!(r#"{{"errors":[{{"code":"{code}","message":"{message}"}}]}}"#);
        Self::new(status, "application/json", body)
    }

    fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }
}

fn lookup(
    state: &Mutex<State>,
    request: &Recorded,
    address: SocketAddr,
    fault: Option<&Fault>,
) -> Answer {
    match fault {
        Some(Fault::Status(status, headers, body)) => {
            let mut answer = Answer::new(*status, "application/json", body.clone());
            answer.headers.extend(headers.clone());
            return answer;
        }
        Some(Fault::Redirect(to)) => {
            return Answer::new(307, "text/plain", "").with("Location", to);
        }
        _ => {}
    }
    let state = lock(state);
    let path = request.target.split('?').next().unwrap_or_default();
    if path == "/token" {
        return token(&state.access, request);
    }
    if let Some(refusal) = refuse(&state.access, request, address) {
        return refusal;
    }
    let Some(rest) = path.strip_prefix("/v2/") else {
        return Answer::error(404, "UNSUPPORTED", "no such path");
    };
    if rest.is_empty() {
        return Answer::new(200, "application/json", "{}");
    }
    if let Some((media_type, body)) = state.manifests.get(rest) {
        return Answer::new(200, media_type, body.as_slice());
    }
    match rest.split_once("/blobs/").and_then(|(_, digest)| state.blobs.get(digest)) {
        Some(blob) => ranged(blob, request, fault),
        None if rest.contains("/blobs/") => {
            Answer::error(404, "BLOB_UNKNOWN", "blob unknown to registry")
        }
        None => Answer::error(404, "MANIFEST_UNKNOWN", "manifest unknown"),
    }
}

fn token(access: &Access, request: &Recorded) -> Answer {
    let Access::Token { token, pair, .. } = access else {
        return Answer::error(404, "UNSUPPORTED", "no tokens here");
    };
    let given = request.headers.get("authorization").and_then(|value| value.strip_prefix("Basic "));
    let refreshed = request.body.contains("grant_type=refresh_token");
    if pair.as_deref().is_some_and(|pair| given != Some(pair)) && !refreshed {
        return Answer::error(401, "UNAUTHORIZED", "incorrect username or password");
    }
    Answer::new(200, "application/json", format!(r#"{{"token":"{token}","expires_in":300}}"#))
}

fn refuse(access: &Access, request: &Recorded, address: SocketAddr) -> Option<Answer> {
    let given = request.headers.get("authorization").map(String::as_str);
    let (wanted, challenge) = match access {
        Access::Open => return None,
        Access::Basic { pair } => (format!("Basic {pair}"), "Basic realm=\"fake\"".to_owned()),
        Access::Token { token, realm, .. } => {
            let own = format!("http://{address}/token");
            let realm = realm.as_deref().unwrap_or(&own);
            (format!("Bearer {token}"), format!("Bearer realm=\"{realm}\",service=\"fake\""))
        }
    };
    if given == Some(&wanted) {
        return None;
    }
    let answer = Answer::error(401, "UNAUTHORIZED", "authentication required");
    Some(answer.with("WWW-Authenticate", &challenge))
}

fn ranged(blob: &Arc<Vec<u8>>, request: &Recorded, fault: Option<&Fault>) -> Answer {
    let whole = Answer::new(200, "application/octet-stream", blob.as_slice());
    let from = request
        .headers
        .get("range")
        .and_then(|value| value.strip_prefix("bytes=")?.strip_suffix('-')?.parse::<usize>().ok());
    match (from, fault) {
        (None, _) | (_, Some(Fault::IgnoreRange)) => whole,
        (Some(_), Some(Fault::RefuseRange)) => Answer::error(416, "SIZE_INVALID", "no ranges"),
        (Some(from), _) if from >= blob.len() => {
            Answer::error(416, "SIZE_INVALID", "beyond the end")
        }
        (Some(from), _) => {
            let range = format!("bytes {from}-{}/{}", blob.len() - 1, blob.len());
            Answer::new(206, "application/octet-stream", &blob[from..])
                .with("Content-Range", &range)
        }
    }
}

/// Writes the answer; tells whether the connection may be used again.
fn respond(mut stream: &TcpStream, answer: &Answer, fault: Option<Fault>) -> io::Result<bool> {
    if matches!(fault, Some(Fault::Hang)) {
        return Ok(false);
    }
    let mut head = format!("HTTP/1.1 {} Fake\r\n", answer.status);
    for (name, value) in &answer.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    match fault {
        Some(Fault::NoLength(_) | Fault::Endless) => head.push_str("Connection: close\r\n"),
        _ => head.push_str(&format!("Content-Length: {}\r\n", answer.body.len())),
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes())?;
    let body = answer.body.as_slice();
    match fault {
        Some(Fault::CutAt(at) | Fault::NoLength(at)) => {
            stream.write_all(&body[..at.min(body.len())])?;
            return Ok(false);
        }
        Some(Fault::WrongBytes) => {
            let mut wrong = body.to_vec();
            if let Some(first) = wrong.first_mut() {
                *first ^= 0xff;
            }
            stream.write_all(&wrong)?;
        }
        Some(Fault::Slow(step, pause)) => {
            for piece in body.chunks(step.max(1)) {
                stream.write_all(piece)?;
                thread::sleep(pause);
            }
        }
        Some(Fault::Endless) => loop {
            stream.write_all(&[b' '; 4096])?;
        },
        _ => stream.write_all(body)?,
    }
    Ok(true)
}
