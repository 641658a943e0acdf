//! A connection that has stopped being HTTP.
//!
//! After `101 UPGRADED` the bytes are the container's. They are moved by blocking threads with large buffers: no runtime stands
//! between the socket and the terminal.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::upgrade::Upgraded;
use hyper::{Response, StatusCode, header};
use hyper_util::rt::TokioIo;

use super::wire;
use crate::error::CommandError;

/// One end of a raw stream.
#[derive(Debug)]
pub(crate) enum Socket {
    Unix(UnixStream),
    Tcp(TcpStream),
}

/// A raw stream and what is known about it.
#[derive(Debug)]
pub(crate) struct Hijacked {
    pub(crate) socket: Socket,
    /// What came right behind the head.
    pub(crate) first: Bytes,
    /// Whether stdout and stderr are framed.
    pub(crate) multiplexed: Option<bool>,
}

impl Socket {
    /// A second handle on the same stream.
    pub(crate) fn try_clone(&self) -> io::Result<Self> {
        Ok(match self {
            Self::Unix(stream) => Self::Unix(stream.try_clone()?),
            Self::Tcp(stream) => Self::Tcp(stream.try_clone()?),
        })
    }

    /// Says that nothing more will be written.
    pub(crate) fn close_write(&self) {
        let _ = match self {
            Self::Unix(stream) => stream.shutdown(Shutdown::Write),
            Self::Tcp(stream) => stream.shutdown(Shutdown::Write),
        };
    }
}

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Unix(stream) => stream.read(buffer),
            Self::Tcp(stream) => stream.read(buffer),
        }
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Unix(stream) => stream.write(bytes),
            Self::Tcp(stream) => stream.write(bytes),
        }
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Takes the stream out of HTTP.
pub(super) async fn upgrade(response: Response<Incoming>) -> Result<Hijacked, CommandError> {
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        return Err(CommandError::Transport(format!(
            "unable to upgrade to tcp, received {}",
            response.status().as_u16()
        )));
    }
    let kind = response.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let multiplexed = match kind {
        Some("application/vnd.docker.multiplexed-stream") => Some(true),
        _ => None,
    };
    let upgraded = hyper::upgrade::on(response).await.map_err(wire::transport)?;
    let (socket, first) = into_socket(upgraded)?;
    Ok(Hijacked { socket, first, multiplexed })
}

fn into_socket(upgraded: Upgraded) -> Result<(Socket, Bytes), CommandError> {
    let upgraded = match upgraded.downcast::<TokioIo<tokio::net::UnixStream>>() {
        Ok(parts) => {
            let stream = parts.io.into_inner().into_std()?;
            stream.set_nonblocking(false)?;
            return Ok((Socket::Unix(stream), parts.read_buf));
        }
        Err(upgraded) => upgraded,
    };
    match upgraded.downcast::<TokioIo<tokio::net::TcpStream>>() {
        Ok(parts) => {
            let stream = parts.io.into_inner().into_std()?;
            stream.set_nonblocking(false)?;
            Ok((Socket::Tcp(stream), parts.read_buf))
        }
        Err(_) => Err(CommandError::Transport("the connection is of an unknown kind".into())),
    }
}
