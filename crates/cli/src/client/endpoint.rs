//! Where the engine is, and the way to it.

use std::io;

use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpStream, UnixStream};

use super::{Body, wire};
use crate::autostart;
use crate::error::CommandError;

/// The socket of a Belljar that was started without `-H`.
pub(crate) const DEFAULT_SOCKET: &str = "/run/belljar.sock";

/// The address of an engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    address: String,
    target: Target,
    /// Whether an engine may be started here when none answers.
    may_start: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Target {
    Unix(String),
    Tcp(String),
}

impl Endpoint {
    /// The default socket.
    pub(crate) fn default_socket(may_start: bool) -> Self {
        Self {
            address: format!("unix://{DEFAULT_SOCKET}"),
            target: Target::Unix(DEFAULT_SOCKET.into()),
            may_start,
        }
    }

    /// The same address, where nothing is started when nothing answers.
    pub(crate) fn as_it_is(&self) -> Self {
        Self { may_start: false, ..self.clone() }
    }

    /// Reads `unix:///path`, `tcp://host:port`, `http://host:port`, `host:port` or a path.
    ///
    /// # Errors
    /// Docker's words for an address it cannot parse.
    pub(crate) fn parse(address: &str) -> Result<Self, CommandError> {
        let bad = || CommandError::plain(format!("unable to parse docker host `{address}`"));
        let target = match address.split_once("://") {
            Some(("unix", "")) => Target::Unix(DEFAULT_SOCKET.into()),
            Some(("unix", path)) => Target::Unix(path.into()),
            Some(("tcp" | "http", rest)) => Target::Tcp(with_port(rest.trim_end_matches('/'))),
            Some((scheme, _)) => {
                return Err(CommandError::plain(format!(
                    "the scheme \"{scheme}\" of -H {address} is not supported: use unix:// or tcp://"
                )));
            }
            None if address.starts_with('/') => Target::Unix(address.into()),
            None if address.contains(':') => Target::Tcp(with_port(address)),
            None => return Err(bad()),
        };
        let address = match &target {
            Target::Unix(path) => format!("unix://{path}"),
            Target::Tcp(host) => format!("tcp://{host}"),
        };
        Ok(Self { address, target, may_start: false })
    }

    /// Connects and speaks HTTP/1.1.
    pub(super) async fn handshake(&self) -> Result<SendRequest<Body>, CommandError> {
        match &self.target {
            Target::Unix(path) => self.speak(TokioIo::new(self.connect_unix(path).await?)).await,
            Target::Tcp(host) => {
                let stream =
                    TcpStream::connect(host).await.map_err(|error| self.refused(&error))?;
                let _ = stream.set_nodelay(true);
                self.speak(TokioIo::new(stream)).await
            }
        }
    }

    async fn speak<I>(&self, io: I) -> Result<SendRequest<Body>, CommandError>
    where
        I: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
    {
        let (sender, connection) = http1::handshake(io).await.map_err(wire::transport)?;
        tokio::spawn(connection.with_upgrades());
        Ok(sender)
    }

    async fn connect_unix(&self, path: &str) -> Result<UnixStream, CommandError> {
        let error = match UnixStream::connect(path).await {
            Ok(stream) => return Ok(stream),
            Err(error) => error,
        };
        let nobody =
            matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused);
        if nobody && self.may_start && rustix::process::geteuid().is_root() {
            autostart::start(path).await
        } else {
            Err(self.refused(&error))
        }
    }

    fn refused(&self, error: &io::Error) -> CommandError {
        let address = self.address.clone();
        match error.kind() {
            io::ErrorKind::PermissionDenied => CommandError::SocketDenied { address },
            _ => CommandError::Unreachable { address },
        }
    }
}

fn with_port(host: &str) -> String {
    if host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok()) {
        host.to_owned()
    } else {
        format!("{host}:2375")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let address = |text: &str| Endpoint::parse(text).unwrap().address;
        assert_eq!(address("unix:///a/b.sock"), "unix:///a/b.sock");
        assert_eq!(address("tcp://localhost"), "tcp://localhost:2375");
        assert_eq!(address("127.0.0.1:99"), "tcp://127.0.0.1:99");
        assert_eq!(address("unix://"), "unix:///run/belljar.sock");
        assert!(Endpoint::parse("ssh://x").is_err());
        assert!(Endpoint::parse("nonsense").is_err());
    }
}
