//! Tells the one who started this process that it is ready: sd_notify(3).

use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// Says `READY=1` to `$NOTIFY_SOCKET`, if there is one.
pub(crate) fn ready() {
    let Some(path) = std::env::var_os("NOTIFY_SOCKET") else { return };
    if let Err(error) = send(path.as_encoded_bytes(), b"READY=1\n") {
        tracing::warn!(%error, "notify the service manager");
    }
}

fn send(path: &[u8], message: &[u8]) -> std::io::Result<()> {
    let address = match path {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        path => SocketAddr::from_pathname(String::from_utf8_lossy(path).as_ref())?,
    };
    UnixDatagram::unbound()?.send_to_addr(message, &address).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_of_sockets_get_the_message() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("n");
        let name = format!("belljard-test-{}", std::process::id());
        let file = UnixDatagram::bind(&path).unwrap();
        let hidden =
            UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        send(path.as_os_str().as_encoded_bytes(), b"READY=1\n").unwrap();
        send(format!("@{name}").as_bytes(), b"READY=1\n").unwrap();
        for socket in [file, hidden] {
            let mut buf = [0; 32];
            let n = socket.recv(&mut buf).unwrap();
            assert_eq!(&buf[..n], b"READY=1\n");
        }
    }
}
