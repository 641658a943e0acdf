//! A proxy between a client and the daemon's socket that remembers what both said.

use std::io::{Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::{Arc, Mutex};

/// One connection: what the client sent and what it got.
#[derive(Default, Clone)]
pub struct Exchange {
    /// Bytes from the client.
    pub request: Vec<u8>,
    /// Bytes from the daemon.
    pub response: Vec<u8>,
}

type Shared = Arc<Mutex<Vec<Arc<Mutex<Exchange>>>>>;

/// A listening proxy.
pub struct Tap {
    exchanges: Shared,
}

impl Tap {
    /// Listens on `listen` and connects each client to `daemon`.
    #[must_use]
    pub fn start(listen: &Path, daemon: &Path) -> Self {
        let exchanges: Shared = Shared::default();
        let listener = UnixListener::bind(listen).unwrap();
        let (kept, daemon) = (Arc::clone(&exchanges), daemon.to_owned());
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(server) = UnixStream::connect(&daemon) else { continue };
                let exchange = Arc::new(Mutex::new(Exchange::default()));
                kept.lock().unwrap().push(Arc::clone(&exchange));
                join(client, server, exchange);
            }
        });
        Self { exchanges }
    }

    /// Takes what was said since the last call.
    #[must_use]
    pub fn take(&self) -> Vec<Exchange> {
        let taken = std::mem::take(&mut *self.exchanges.lock().unwrap());
        taken.iter().map(|exchange| exchange.lock().unwrap().clone()).collect()
    }
}

fn join(client: UnixStream, server: UnixStream, exchange: Arc<Mutex<Exchange>>) {
    let (client_in, server_in) = (client.try_clone().unwrap(), server.try_clone().unwrap());
    let up = Arc::clone(&exchange);
    std::thread::spawn(move || {
        pump(client_in, server, |bytes| up.lock().unwrap().request.extend_from_slice(bytes));
    });
    std::thread::spawn(move || {
        pump(server_in, client, |bytes| exchange.lock().unwrap().response.extend_from_slice(bytes));
    });
}

fn pump(mut from: UnixStream, mut to: UnixStream, mut note: impl FnMut(&[u8])) {
    let mut buffer = [0_u8; 65536];
    while let Ok(n) = from.read(&mut buffer) {
        if n == 0 || {
            note(&buffer[..n]);
            to.write_all(&buffer[..n]).is_err()
        } {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}
