//! The door's manners: what goes over the wire, byte by byte, before an engine that has no containers.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use daemon::{App, Settings, Stream, serve};
use engine::{Engine, EngineOptions};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

struct Door {
    app: Arc<App>,
    _dir: tempfile::TempDir,
}

/// An answer in pieces.
struct Heard {
    status: String,
    head: String,
    body: String,
}

impl Heard {
    fn of(text: &str) -> Self {
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((text, ""));
        let (status, head) = head.split_once("\r\n").unwrap_or((head, ""));
        Self { status: status.to_owned(), head: head.to_owned(), body: body.to_owned() }
    }

    fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.split("\r\n").filter_map(|line| line.split_once(": "));
        lines.find(|(have, _)| have.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    fn is(&self, status: &str, body: &str) {
        assert_eq!((self.status.as_str(), self.body.as_str()), (status, body), "{}", self.head);
        assert_eq!(self.header("Content-Type"), Some("application/json"));
    }

    fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).expect(&self.body)
    }
}

impl Door {
    async fn open() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut options = EngineOptions::new(Path::new("/nonexistent"));
        options.data_root = dir.path().join("data");
        options.exec_root = dir.path().join("run");
        options.bridge.name = "none".to_owned();
        let engine = Engine::open(options.clone()).await.unwrap();
        let settings = Settings {
            engine: options,
            hosts: Vec::new(),
            group: None,
            pidfile: dir.path().join("pid"),
            debug: false,
        };
        Self { app: App::new(engine, settings), _dir: dir }
    }

    fn connect(&self) -> UnixStream {
        let (client, server) = UnixStream::pair().unwrap();
        tokio::spawn(serve(Stream::Unix(server), Arc::clone(&self.app)));
        client
    }

    /// Sends bytes and returns everything until the server closes.
    async fn send(&self, request: &[u8]) -> String {
        let (mut read, mut write) = self.connect().into_split();
        let request = request.to_vec();
        // A server that has answered may stop reading.
        let writer = tokio::spawn(async move { write.write_all(&request).await.map(|()| write) });
        let mut out = Vec::new();
        let all = read.read_to_end(&mut out);
        let ended = tokio::time::timeout(Duration::from_secs(10), all).await;
        let _ = writer.await;
        let text = String::from_utf8_lossy(&out).into_owned();
        assert!(ended.is_ok(), "the server does not close: {text}");
        text
    }

    async fn ask(&self, method: &str, target: &str) -> Heard {
        self.ask_with(method, target, "", "").await
    }

    async fn ask_with(&self, method: &str, target: &str, headers: &str, body: &str) -> Heard {
        let length = body.len();
        let request = format!(
            "{method} {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}Content-Length: {length}\r\n\r\n{body}"
        );
        Heard::of(&self.send(request.as_bytes()).await)
    }

    async fn post_json(&self, target: &str, body: &str) -> Heard {
        self.ask_with("POST", target, "Content-Type: application/json\r\n", body).await
    }
}

#[tokio::test]
async fn ping_says_who_is_there() {
    let door = Door::open().await;
    let get = door.ask("GET", "/_ping").await;
    assert_eq!((get.status.as_str(), get.body.as_str()), ("HTTP/1.1 200 OK", "OK"));
    let head = door.ask("HEAD", "/_ping").await;
    assert_eq!((head.status.as_str(), head.body.as_str()), ("HTTP/1.1 200 OK", ""));
    assert_eq!(head.header("Content-Length"), Some("0"));
    for (name, value) in [
        ("Api-Version", "1.51"),
        ("Docker-Experimental", "false"),
        ("Ostype", "linux"),
        ("Builder-Version", "1"),
        ("Swarm", "inactive"),
        ("Content-Type", "text/plain; charset=utf-8"),
        ("Cache-Control", "no-cache, no-store, must-revalidate"),
        ("Pragma", "no-cache"),
    ] {
        assert_eq!(get.header(name), Some(value), "{name} of GET");
        assert_eq!(head.header(name), Some(value), "{name} of HEAD");
    }
    assert!(get.header("Server").unwrap().ends_with(" (linux)"));
}

#[tokio::test]
async fn paths_are_forgiving_and_unknown_ones_are_named() {
    let door = Door::open().await;
    for path in ["/v1.24/containers/json", "//containers//json/", "/v1.51/containers/json?all=1"] {
        door.ask("GET", path).await.is("HTTP/1.1 200 OK", "[]\n");
    }
    for (method, path) in [
        ("GET", "/"),
        ("GET", "/nothing"),
        ("GET", "/v1.50"),
        ("DELETE", "/version"),
        ("POST", "/containers/json"),
        ("GET", "/containers/a/start"),
        ("BREW", "/containers"),
    ] {
        let heard = door.ask(method, path).await;
        heard.is("HTTP/1.1 404 Not Found", "{\"message\":\"page not found\"}\n");
        assert_eq!(heard.header("Api-Version"), Some("1.51"));
    }
}

#[tokio::test]
async fn versions_are_checked_in_dockers_words() {
    let door = Door::open().await;
    door.ask("GET", "/v1.99/info").await.is(
        "HTTP/1.1 400 Bad Request",
        "{\"message\":\"client version 1.99 is too new. Maximum supported API version is 1.51\"}\n",
    );
    door.ask("GET", "/v1.23/info").await.is(
        "HTTP/1.1 400 Bad Request",
        "{\"message\":\"client version 1.23 is too old. Minimum supported API version is 1.24, please upgrade your client to a newer version\"}\n",
    );
}

#[tokio::test]
async fn what_is_not_there_is_404_for_every_kind() {
    let door = Door::open().await;
    for (path, message) in [
        ("/containers/nosuch/json", "No such container: nosuch"),
        ("/containers/nosuch/logs?stdout=1", "No such container: nosuch"),
        ("/exec/nosuch/json", "No such exec instance: nosuch"),
        ("/networks/nosuch", "network nosuch not found"),
        ("/volumes/nosuch", "get nosuch: no such volume"),
        ("/plugins/nosuch/json", "plugin \\\"nosuch\\\" not found"),
    ] {
        let body = format!("{{\"message\":\"{message}\"}}\n");
        door.ask("GET", path).await.is("HTTP/1.1 404 Not Found", &body);
    }
    let attach = "Connection: Upgrade\r\nUpgrade: tcp\r\n";
    for headers in [attach, ""] {
        let target = "/v1.50/containers/nosuch/attach?stream=1";
        let request = format!(
            "POST {target} HTTP/1.1\r\nHost: x\r\n{headers}\r\nPOST /containers/nosuch/start HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        );
        let text = door.send(request.as_bytes()).await;
        let answers = text.matches("HTTP/1.1 404 Not Found\r\n").count();
        assert_eq!(answers, 2, "the connection goes on after a refused attach: {text}");
    }
}

#[tokio::test]
async fn filters_read_in_both_forms_and_are_refused_by_name() {
    let door = Door::open().await;
    for good in
        ["%7B%22status%22%3A%7B%22running%22%3Atrue%7D%7D", "{\"status\":[\"running\"]}", ""]
    {
        let path = format!("/containers/json?all=1&filters={}", good.replace('"', "%22"));
        door.ask("GET", &path).await.is("HTTP/1.1 200 OK", "[]\n");
    }
    for bad in ["{\"nosuch\":[\"x\"]}", "{", "[1]"] {
        let path = format!("/containers/json?filters={}", bad.replace('"', "%22"));
        let heard = door.ask("GET", &path).await;
        assert_eq!(heard.status, "HTTP/1.1 400 Bad Request", "{bad}: {}", heard.body);
        assert!(heard.body.contains("invalid filter"), "{}", heard.body);
    }
}

#[tokio::test]
async fn bad_bodies_are_400_and_say_why() {
    let door = Door::open().await;
    let deep = format!("{{\"Labels\":{}1{}}}", "[".repeat(100_000), "]".repeat(100_000));
    let long = format!("{{\"Hostname\":\"{}\"}}", "a".repeat(17 << 20));
    for (body, text) in [
        ("", "invalid JSON: got EOF while reading request body"),
        ("{", "invalid JSON: EOF"),
        ("[]", "invalid JSON: "),
        ("{\"Image\":1}", "invalid JSON: invalid type"),
        ("{\"Tty\":\"yes\"}", "invalid JSON: invalid type"),
        ("{\"StopTimeout\":99999999999999999999}", "invalid JSON: "),
        (deep.as_str(), "invalid JSON: "),
        (long.as_str(), "larger than 16777216 bytes"),
    ] {
        let heard = door.post_json("/containers/create", body).await;
        assert_eq!(heard.status, "HTTP/1.1 400 Bad Request", "{}", heard.body);
        assert!(heard.body.contains(text), "{text}: {}", heard.body);
    }
    let plain = "Content-Type: text/plain\r\n";
    door.ask_with("POST", "/containers/create", plain, "{}").await.is(
        "HTTP/1.1 400 Bad Request",
        "{\"message\":\"unsupported Content-Type header (text/plain): must be 'application/json'\"}\n",
    );
}

#[tokio::test]
async fn what_there_is_not_yet_says_so() {
    let door = Door::open().await;
    for (method, path, status, text) in [
        ("GET", "/services", "503 Service Unavailable", "This node is not a swarm manager."),
        ("POST", "/swarm/init", "503 Service Unavailable", "This node is not a swarm manager."),
        ("POST", "/build?t=x", "501 Not Implemented", "building images is not supported"),
        ("POST", "/session", "404 Not Found", "page not found"),
        ("POST", "/grpc", "404 Not Found", "page not found"),
        ("GET", "/images/search?term=x", "501 Not Implemented", "searching Docker Hub"),
        ("POST", "/images/a/b/push", "501 Not Implemented", "pushing images"),
        ("GET", "/distribution/a/b/json", "501 Not Implemented", "looking into a registry"),
        ("POST", "/plugins/pull", "501 Not Implemented", "plugins"),
        ("GET", "/containers/a/attach/ws", "501 Not Implemented", "web socket"),
    ] {
        let heard = door.ask(method, path).await;
        assert_eq!(heard.status, format!("HTTP/1.1 {status}"), "{path}");
        assert!(heard.json()["message"].as_str().unwrap().contains(text), "{}", heard.body);
    }
    door.ask("GET", "/plugins").await.is("HTTP/1.1 200 OK", "[]\n");
    let pruned = "{\"CachesDeleted\":null,\"SpaceReclaimed\":0}\n";
    door.ask("POST", "/build/prune").await.is("HTTP/1.1 200 OK", pruned);
}

#[tokio::test]
async fn one_connection_serves_many_and_odd_clients_are_served() {
    let door = Door::open().await;
    let two = "GET /_ping HTTP/1.1\r\nHost:\r\n\r\nGET /_ping HTTP/1.1\r\nHost: api.moby.localhost\r\nConnection: close\r\n\r\n";
    assert_eq!(door.send(two.as_bytes()).await.matches("HTTP/1.1 200 OK").count(), 2);
    let old = door.send(b"GET /_ping HTTP/1.0\r\n\r\n").await;
    assert!(old.starts_with("HTTP/1.0 200 OK") && old.ends_with("OK"), "{old}");
    let expecting = "POST /auth HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nConnection: close\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n";
    let text = door.send(expecting.as_bytes()).await;
    assert!(text.starts_with("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 400 Bad Request"), "{text}");
    let garbage = door.send(b"\x16\x03\x01\x00\r\n\r\n").await;
    assert!(garbage.starts_with("HTTP/1.1 400"), "{garbage}");
}

#[tokio::test]
async fn events_of_the_past_are_a_stream_that_ends() {
    let door = Door::open().await;
    let heard = door.ask("GET", "/events?since=1&until=2").await;
    assert_eq!(heard.status, "HTTP/1.1 200 OK");
    assert_eq!(heard.header("Transfer-Encoding"), Some("chunked"));
    assert_eq!(heard.body, "0\r\n\r\n");
    let bad = door.ask("GET", "/events?since=yesterday").await;
    assert_eq!(bad.status, "HTTP/1.1 400 Bad Request", "{}", bad.body);
}

#[tokio::test]
async fn the_head_of_a_stream_comes_at_once() {
    let door = Door::open().await;
    let mut client = door.connect();
    client.write_all(b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut head = [0; 15];
    let read = client.read_exact(&mut head);
    tokio::time::timeout(Duration::from_secs(5), read).await.unwrap().unwrap();
    assert_eq!(&head, b"HTTP/1.1 200 OK");
}

#[tokio::test]
async fn version_and_info_have_what_clients_read() {
    let door = Door::open().await;
    let version = door.ask("GET", "/version").await.json();
    for field in ["ApiVersion", "MinAPIVersion", "Os", "Arch", "KernelVersion", "Version"] {
        assert!(version[field].as_str().is_some_and(|v| !v.is_empty()), "{field}: {version}");
    }
    assert_eq!(version["Components"][0]["Name"], "Engine");
    let info = door.ask("GET", "/info").await.json();
    for field in ["CgroupDriver", "CgroupVersion", "DefaultRuntime", "DockerRootDir", "Name"] {
        assert!(info[field].as_str().is_some_and(|v| !v.is_empty()), "{field}: {info}");
    }
    assert_eq!(info["Driver"], "overlay2");
    assert_eq!(info["Swarm"]["LocalNodeState"], "inactive");
    assert!(info["Runtimes"]["belljar"]["path"].is_string());
    assert!(info["SecurityOptions"].as_array().is_some_and(|o| !o.is_empty()));
    assert!(info["RegistryConfig"]["IndexConfigs"]["docker.io"]["Secure"].as_bool().unwrap());
}

#[tokio::test]
async fn parameters_are_checked() {
    let door = Door::open().await;
    for (method, path, text) in [
        ("POST", "/containers/a/wait?condition=later", "invalid condition: \"later\""),
        ("POST", "/containers/a/resize?h=1", "`w`"),
        ("POST", "/containers/a/resize?h=x&w=1", "`x` is not a number"),
        ("POST", "/containers/a/stop?t=soon", "`soon` is not a number"),
        ("GET", "/containers/a/archive", "'path' is required"),
        ("GET", "/containers/a/stats?stream=1&one-shot=1", "cannot have stream=true"),
        ("GET", "/system/df?type=x", "unknown object type: x"),
        ("GET", "/images/get", "no image names"),
        ("POST", "/images/create", "fromImage"),
    ] {
        let heard = door.ask(method, path).await;
        assert_eq!(heard.status, "HTTP/1.1 400 Bad Request", "{path}: {}", heard.body);
        let message = heard.json()["message"].as_str().unwrap().to_owned();
        assert!(message.contains(text), "{path}: {message}");
    }
}
