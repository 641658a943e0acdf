//! The wire of hijacked requests, byte by byte, against a service that echoes in capitals.

use std::time::Duration;

use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

use super::*;
use crate::failure::Failure;
use crate::server::converse;

/// Answers like the real routes: 404 for the container `gone`, a stream for what can be hijacked, else the body's length.
async fn answer(control: Arc<Control>, mut request: Request<Incoming>) -> Response<Body> {
    let hijack = Hijack::of(&mut request, control);
    let path = request.uri().path().to_owned();
    let body = request.into_body().collect().await.unwrap().to_bytes();
    match hijack {
        Some(_) if path.contains("gone") => Failure::no_page().into_response(),
        Some(hijack) => hijack.switch(api::MULTIPLEXED_STREAM, move |socket, early| async move {
            tokio::task::spawn_blocking(move || shout(socket, early, body.len())).await.unwrap();
        }),
        None => Response::new(Body::Whole(format!("{} bytes", body.len()).into())),
    }
}

/// Reads to the end of input, then writes it back in capitals: needs half-closed sockets to work.
fn shout(socket: OwnedFd, early: Vec<u8>, body: usize) {
    use std::io::{Read as _, Write as _};
    let mut stream = std::os::unix::net::UnixStream::from(socket);
    stream.set_nonblocking(false).unwrap();
    let mut input = early;
    stream.read_to_end(&mut input).unwrap();
    let text = String::from_utf8(input).unwrap().to_uppercase();
    stream.write_all(format!("{body}:{text}").as_bytes()).unwrap();
}

/// Sends `pieces` with pauses, closes the sending side, and returns all that comes back.
async fn talk(pieces: &[&[u8]]) -> String {
    let (mut client, server) = UnixStream::pair().unwrap();
    tokio::spawn(converse(Stream::Unix(server), answer));
    for piece in pieces {
        client.write_all(piece).await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    client.shutdown().await.unwrap();
    let mut out = Vec::new();
    let read = client.read_to_end(&mut out);
    tokio::time::timeout(Duration::from_secs(5), read).await.expect("the server ends").unwrap();
    String::from_utf8(out).unwrap()
}

const SWITCHED: &str = "HTTP/1.1 101 UPGRADED\r\nContent-Type: application/vnd.docker.multiplexed-stream\r\nConnection: Upgrade\r\nUpgrade: tcp\r\nApi-Version: 1.51\r\nDocker-Experimental: false\r\nOstype: linux\r\nServer: Belljar/0.1.0 (linux)\r\n\r\n";
const LEGACY: &str = "HTTP/1.1 200 OK\r\nContent-Type: application/vnd.docker.raw-stream\r\nApi-Version: 1.51\r\nDocker-Experimental: false\r\nOstype: linux\r\nServer: Belljar/0.1.0 (linux)\r\n\r\n";
const ATTACH: &[u8] = b"POST /v1.50/containers/a/attach?stream=1 HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: tcp\r\nContent-Length: 0\r\n\r\n";
const OLD_ATTACH: &[u8] =
    b"POST /containers/a/attach HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n";

#[tokio::test]
async fn an_upgrade_gets_101_and_loses_no_byte() {
    let together = [ATTACH, b"early "].concat();
    assert_eq!(talk(&[&together, b"late"]).await, format!("{SWITCHED}0:EARLY LATE"));
    assert_eq!(talk(&[ATTACH, b"late"]).await, format!("{SWITCHED}0:LATE"));
}

#[tokio::test]
async fn all_at_once_with_a_half_close_works() {
    let (mut client, server) = UnixStream::pair().unwrap();
    client.write_all(&[OLD_ATTACH, b"early"].concat()).await.unwrap();
    client.shutdown().await.unwrap();
    tokio::spawn(converse(Stream::Unix(server), answer));
    let mut out = String::new();
    client.read_to_string(&mut out).await.unwrap();
    assert_eq!(out, format!("{LEGACY}0:EARLY"));
}

#[tokio::test]
async fn without_upgrade_the_answer_is_200_without_chunks() {
    let together = [OLD_ATTACH, b"early "].concat();
    assert_eq!(talk(&[&together, b"late"]).await, format!("{LEGACY}0:EARLY LATE"));
}

#[tokio::test]
async fn a_body_is_told_from_the_stream_behind_it() {
    let old = b"POST /exec/a/start HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 16\r\n\r\n{\"Detach\":false}early ";
    assert_eq!(talk(&[old, b"late"]).await, format!("{LEGACY}16:EARLY LATE"));
    let (head, body) = old.split_at(old.len() - 12);
    assert_eq!(talk(&[head, body, b"late"]).await, format!("{LEGACY}16:EARLY LATE"));
    let chunked = b"POST /exec/a/start HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: tcp\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\nearly ";
    assert_eq!(talk(&[chunked, b"late"]).await, format!("{SWITCHED}2:EARLY LATE"));
}

#[tokio::test]
async fn a_head_may_come_in_pieces() {
    let all = [OLD_ATTACH, b"x"].concat();
    for at in 1..all.len() {
        let (first, second) = all.split_at(at);
        assert_eq!(talk(&[first, second]).await, format!("{LEGACY}0:X"), "split at {at}");
    }
}

#[tokio::test]
async fn a_connection_may_serve_others_before() {
    let ping = b"POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc";
    let out = talk(&[ping, ping, OLD_ATTACH, b"in"]).await;
    assert_eq!(out.matches("3 bytes").count(), 2);
    assert!(out.ends_with(&format!("{LEGACY}0:IN")), "{out}");
}

#[tokio::test]
async fn an_error_leaves_the_connection_to_http() {
    let gone = b"POST /containers/gone/attach HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n";
    let out = talk(&[gone, gone, OLD_ATTACH, b"in"]).await;
    assert_eq!(out.matches("HTTP/1.1 404 Not Found\r\n").count(), 2, "{out}");
    assert_eq!(out.matches("{\"message\":\"page not found\"}\n").count(), 2);
    assert!(out.ends_with(&format!("{LEGACY}0:IN")), "{out}");
    let pipelined = [gone.as_slice(), OLD_ATTACH].concat();
    let out = talk(&[&pipelined, b"in"]).await;
    assert!(out.ends_with(&format!("{LEGACY}0:IN")), "{out}");
}

#[tokio::test]
async fn uploads_that_look_like_requests_stay_uploads() {
    let head = b"POST /images/load HTTP/1.1\r\nHost: x\r\nContent-Length: 160\r\n\r\n";
    let body = [OLD_ATTACH, OLD_ATTACH, OLD_ATTACH].concat();
    let mut body = body[..160].chunks(OLD_ATTACH.len());
    let mut pieces: Vec<&[u8]> = vec![head];
    pieces.extend(body.by_ref());
    let out = talk(&pieces).await;
    assert!(out.ends_with("160 bytes"), "{out}");
}

#[tokio::test]
async fn a_client_that_only_stops_sending_gets_its_answer() {
    let (mut client, server) = UnixStream::pair().unwrap();
    client.write_all(b"POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n").await.unwrap();
    client.shutdown().await.unwrap();
    tokio::spawn(converse(Stream::Unix(server), |control, request| async move {
        tokio::time::sleep(Duration::from_millis(700)).await;
        answer(control, request).await
    }));
    let mut out = String::new();
    let read = client.read_to_string(&mut out);
    tokio::time::timeout(Duration::from_secs(5), read).await.expect("the server ends").unwrap();
    assert!(out.starts_with("HTTP/1.1 200 OK") && out.ends_with("0 bytes"), "{out}");
}

#[tokio::test]
async fn a_producer_hears_that_its_client_left() {
    let (mut client, server) = UnixStream::pair().unwrap();
    let (gone, left) = tokio::sync::oneshot::channel();
    let gone = parking_lot::Mutex::new(Some(gone));
    tokio::spawn(converse(Stream::Unix(server), move |_, _| {
        let (feed, body) = crate::feed::Feed::new();
        let gone = gone.lock().take();
        tokio::spawn(async move {
            feed.gone().await;
            gone.map(|gone| gone.send(()))
        });
        async move { Response::new(body) }
    }));
    client.write_all(b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut head = [0; 15];
    client.read_exact(&mut head).await.unwrap();
    client.shutdown().await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    drop(client);
    tokio::time::timeout(Duration::from_secs(5), left).await.expect("it hears").unwrap();
}
