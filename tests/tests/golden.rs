//! What the stock client and the daemon say to each other, against `tests/golden/*.http`.
//!
//! Each file holds, for one command, every request line with the answer's status, content type and body; ids, times, paths and numbers are replaced
//! by their kind. `BELLJAR_RECORD=1 cargo xtask test golden` writes the files anew; the difference is then reviewed.
#![forbid(unsafe_code)]

use std::fs;
use std::path::PathBuf;

use acceptance::{Client, Daemon, Exchange, Tap};
use serde_json::Value;

/// The name of a golden file and the command that makes it.
const SCENES: &[(&str, &[&str])] = &[
    ("version", &["version"]),
    ("info", &["info"]),
    ("images", &["images"]),
    ("create", &["create", "--name", "made", "-e", "A=1", "-l", "k=v", "busybox", "true"]),
    ("create-conflict", &["create", "--name", "made", "busybox"]),
    ("inspect", &["inspect", "made"]),
    ("inspect-image", &["inspect", "busybox"]),
    ("inspect-missing", &["inspect", "missing"]),
    ("run-detached", &["run", "-d", "--name", "idle", "busybox", "sleep", "1000"]),
    ("run-attached", &["run", "--rm", "busybox", "echo", "hi"]),
    ("run-missing-command", &["run", "--rm", "busybox", "nope"]),
    ("ps", &["ps", "-a", "--filter", "name=idle"]),
    ("exec", &["exec", "idle", "echo", "in"]),
    ("exec-stopped", &["exec", "made", "true"]),
    ("logs", &["logs", "idle"]),
    ("top", &["top", "idle"]),
    ("stats", &["stats", "--no-stream", "idle"]),
    ("rename", &["rename", "made", "renamed"]),
    ("diff", &["diff", "idle"]),
    ("kill", &["kill", "idle"]),
    ("wait", &["wait", "idle"]),
    ("stop-stopped", &["stop", "idle"]),
    ("start-missing", &["start", "missing"]),
    ("tag", &["tag", "busybox", "other:1"]),
    ("rmi", &["rmi", "other:1"]),
    ("history", &["history", "busybox"]),
    ("volume-create", &["volume", "create", "vol"]),
    ("volume-inspect", &["volume", "inspect", "vol"]),
    ("volume-rm", &["volume", "rm", "vol"]),
    ("network-ls", &["network", "ls"]),
    ("network-inspect", &["network", "inspect", "bridge"]),
    ("events", &["events", "--since", "1h", "--until", "0s", "--filter", "event=create"]),
    ("rm", &["rm", "-f", "idle", "renamed"]),
];

#[test]
fn the_stock_client_hears_what_was_recorded() {
    let daemon = Daemon::start();
    daemon.load("busybox");
    let socket = daemon.path("tap");
    let tap = Tap::start(&socket, &daemon.path("sock"));
    let record = std::env::var_os("BELLJAR_RECORD").is_some();
    let mut wrong = Vec::new();
    for (name, args) in SCENES {
        if *name == "events" {
            // The client sends `--until` in whole seconds.
            std::thread::sleep(std::time::Duration::from_millis(1100));
        }
        let mut command = daemon.command(Client::Docker);
        command.env("DOCKER_HOST", format!("unix://{}", socket.display()));
        let _ = command.args(*args).output().unwrap();
        let text = transcript(&tap.take());
        let path =
            PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("golden").join(format!("{name}.http"));
        if record {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, &text).unwrap();
        } else if fs::read_to_string(&path).unwrap_or_default() != text {
            wrong.push(format!("{name}:\n{text}"));
        }
    }
    assert!(wrong.is_empty(), "differ from tests/golden:\n{}", wrong.join("\n"));
}

/// Two connections of one command have no order, so the lines are sorted.
fn transcript(exchanges: &[Exchange]) -> String {
    let mut lines: Vec<String> = exchanges.iter().flat_map(answers).collect();
    lines.sort();
    lines.dedup();
    lines.concat()
}

fn answers(exchange: &Exchange) -> Vec<String> {
    let requests = heads(&exchange.request);
    let mut responses = exchange.response.as_slice();
    let mut lines = Vec::new();
    for request in requests {
        let Some(end) = find(responses, b"\r\n\r\n") else { break };
        let head = String::from_utf8_lossy(&responses[..end]).into_owned();
        let (body, rest) = body(&head, &responses[end + 4..], request.starts_with("HEAD"));
        responses = rest;
        let status = head.lines().next().unwrap_or_default();
        let kind = header(&head, "content-type").unwrap_or_default();
        lines.push(format!("{}\n  {status} {kind}\n{}", normal(&request), shape_lines(&body)));
    }
    lines
}

/// Finds the request lines in what a client sent.
fn heads(bytes: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(bytes);
    let is_request = |line: &&str| line.ends_with(" HTTP/1.1") && line.split(' ').count() == 3;
    text.split("\r\n")
        .filter_map(|line| {
            let start = ["GET /", "POST /", "PUT /", "HEAD /", "DELETE /"]
                .iter()
                .filter_map(|m| line.rfind(m))
                .next()?;
            Some(&line[start..])
        })
        .filter(is_request)
        .map(|line| line.trim_end_matches(" HTTP/1.1").to_owned())
        .collect()
}

fn header(head: &str, name: &str) -> Option<String> {
    head.lines().skip(1).find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
    })
}

/// Splits what follows a head into its body and the rest.
fn body<'a>(head: &str, bytes: &'a [u8], empty: bool) -> (Vec<u8>, &'a [u8]) {
    if empty || head.contains(" 204 ") || head.contains(" 304 ") {
        return (Vec::new(), bytes);
    }
    if let Some(length) = header(head, "content-length").and_then(|l| l.parse::<usize>().ok()) {
        let at = length.min(bytes.len());
        return (bytes[..at].to_vec(), &bytes[at..]);
    }
    if header(head, "transfer-encoding").is_none() {
        return (bytes.to_vec(), &[]);
    }
    let (mut joined, mut rest) = (Vec::new(), bytes);
    while let Some(end) = find(rest, b"\r\n") {
        let size = usize::from_str_radix(&String::from_utf8_lossy(&rest[..end]), 16).unwrap_or(0);
        let from = (end + 2).min(rest.len());
        let to = (from + size).min(rest.len());
        joined.extend_from_slice(&rest[from..to]);
        rest = rest.get(to + 2..).unwrap_or_default();
        if size == 0 {
            break;
        }
    }
    (joined, rest)
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

fn shape_lines(body: &[u8]) -> String {
    if body.is_empty() {
        return String::new();
    }
    let parsed: Result<Vec<Value>, _> =
        serde_json::Deserializer::from_slice(body).into_iter::<Value>().collect();
    match parsed {
        Ok(values) => values.iter().map(|value| format!("  {}\n", shape(value))).collect(),
        Err(_) => format!("  {} raw bytes\n", body.len()),
    }
}

/// Values that differ from run to run become the name of their kind; texts that clients parse stay.
fn shape(value: &Value) -> String {
    match value {
        Value::Null => "null".into(),
        Value::Bool(_) => "bool".into(),
        Value::Number(_) => "number".into(),
        Value::String(text) => format!("\"{}\"", normal(text)),
        Value::Array(items) => {
            let mut shapes: Vec<String> = items.iter().map(shape).collect();
            shapes.sort();
            shapes.dedup();
            format!("[{}]", shapes.join(", "))
        }
        Value::Object(map) => {
            let fields: Vec<String> = map
                .iter()
                .map(|(key, value)| format!("{}: {}", normal(key), field(key, value)))
                .collect();
            format!("{{{}}}", fields.join(", "))
        }
    }
}

/// Texts that depend on the machine are only said to be texts.
fn field(key: &str, value: &Value) -> String {
    const LOCAL: &[&str] = &[
        "KernelVersion",
        "OperatingSystem",
        "OSVersion",
        "Name",
        "Version",
        "GitCommit",
        "GoVersion",
        "BuildTime",
        "ID",
        "HttpProxy",
        "CPUSet",
        "Gateway",
        "IPAddress",
        "Subnet",
        "MacAddress",
        "DockerRootDir",
        "path",
        "Path",
        "SystemTime",
        "Commit",
        "Os",
        "Arch",
    ];
    match value {
        Value::String(text) if is_time(text) => "time".into(),
        Value::String(text) if key == "name" && text.contains('_') => "made-up name".into(),
        Value::String(_) if LOCAL.contains(&key) => "text".into(),
        Value::String(text) if text.starts_with('/') && text.matches('/').count() > 3 => {
            "path".into()
        }
        Value::Object(_) if matches!(key, "stats" | "Runtimes" | "Details" | "blkio_stats") => {
            "object".into()
        }
        Value::Array(_)
            if matches!(
                key,
                "Warnings"
                    | "Processes"
                    | "SecurityOptions"
                    | "io_service_bytes_recursive"
                    | "CDISpecDirs"
            ) =>
        {
            "array".into()
        }
        other => shape(other),
    }
}

/// Tells whether a text starts like RFC 3339.
fn is_time(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.len() >= 20 && bytes[4] == b'-' && bytes[10] == b'T' && bytes[13] == b':'
}

fn normal(text: &str) -> String {
    let mut out = String::new();
    let mut word = String::new();
    for c in text.chars().chain(['\0']) {
        if c.is_ascii_alphanumeric() {
            word.push(c);
            continue;
        }
        out.push_str(&kind(&word));
        word.clear();
        if c != '\0' {
            out.push(c);
        }
    }
    out
}

fn kind(word: &str) -> String {
    let hex = word.bytes().all(|b| b.is_ascii_hexdigit() && !b.is_ascii_uppercase());
    let digits = word.bytes().all(|b| b.is_ascii_digit());
    let time = word.len() > 5
        && word.contains('T')
        && word.bytes().filter(u8::is_ascii_digit).count() >= 4;
    match word.len() {
        64 if hex => "ID64".into(),
        12 if hex => "ID12".into(),
        32 | 26 if hex || word.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit()) => {
            "KEY".into()
        }
        _ if time => "TIME".into(),
        4.. if digits => "N".into(),
        1.. if digits && word.len() != 1 => "N".into(),
        _ => word.to_owned(),
    }
}
