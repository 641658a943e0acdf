//! The listening sockets: made here, or inherited (sd_listen_fds(3)).

use std::fs::Permissions;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{Gid, Mode};
use rustix::process::{PidfdFlags, PidfdGetfdFlags};

use crate::settings::Address;
use crate::socket::Stream;

/// Why a socket cannot be listened on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ListenError {
    #[error("listen on `{address}`")]
    Bind { address: String, source: io::Error },
    #[error("listen on `{}`: another daemon answers there", path.display())]
    Used { path: PathBuf },
    #[error("unknown group `{name}`")]
    Group { name: String },
    #[error("take the inherited sockets: none were passed ($LISTEN_FDS)")]
    NothingInherited,
    #[error("take the inherited socket `{number}`")]
    Inherit { number: i32, source: io::Error },
}

/// A listening socket.
#[derive(Debug)]
pub(crate) enum Listener {
    Unix(tokio::net::UnixListener),
    Tcp(tokio::net::TcpListener),
}

impl Listener {
    /// Waits for the next client.
    pub(crate) async fn accept(&self) -> io::Result<Stream> {
        match self {
            Self::Unix(listener) => listener.accept().await.map(|(s, _)| Stream::Unix(s)),
            Self::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                stream.set_nodelay(true)?;
                Ok(Stream::Tcp(stream))
            }
        }
    }
}

/// Listening sockets; those made here are removed from the file system at the end.
#[derive(Debug, Default)]
pub(crate) struct Listeners {
    pub(crate) all: Vec<Listener>,
    made: Vec<PathBuf>,
}

impl Drop for Listeners {
    fn drop(&mut self) {
        for path in &self.made {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Listens on every address. Called inside a tokio runtime.
pub(crate) fn bind(hosts: &[Address], group: Option<&str>) -> Result<Listeners, ListenError> {
    let mut listeners = Listeners::default();
    for host in hosts {
        match host {
            Address::Unix(path) => {
                listeners.all.push(unix(path, group)?);
                listeners.made.push(path.clone());
            }
            Address::Tcp(address) => listeners.all.push(tcp(address)?),
            Address::Inherited => listeners.all.extend(inherited()?),
        }
    }
    Ok(listeners)
}

fn unix(path: &Path, group: Option<&str>) -> Result<Listener, ListenError> {
    if std::os::unix::net::UnixStream::connect(path).is_ok() {
        return Err(ListenError::Used { path: path.to_owned() });
    }
    let gid = socket_group(group)?;
    let bind = || -> io::Result<Listener> {
        if let Some(dir) = path.parent() {
            std::fs::create_dir_all(dir)?;
        }
        match std::fs::remove_file(path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
        // No one but root may connect before the group is set. The daemon has one thread that makes files at this point.
        let mask = rustix::process::umask(Mode::from_raw_mode(0o177));
        let listener = tokio::net::UnixListener::bind(path);
        rustix::process::umask(mask);
        let listener = listener?;
        rustix::fs::chown(path, None, Some(gid))?;
        std::fs::set_permissions(path, Permissions::from_mode(0o660))?;
        Ok(Listener::Unix(listener))
    };
    let address = format!("unix://{}", path.display());
    bind().map_err(|source| ListenError::Bind { address, source })
}

fn tcp(address: &str) -> Result<Listener, ListenError> {
    let bind = || -> io::Result<Listener> {
        let listener = std::net::TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        tracing::warn!(address, "listen without TLS: every local user who can connect is root");
        tokio::net::TcpListener::from_std(listener).map(Listener::Tcp)
    };
    bind().map_err(|source| ListenError::Bind { address: format!("tcp://{address}"), source })
}

/// The group of unix sockets: the named one must exist, the default ones need not.
fn socket_group(name: Option<&str>) -> Result<Gid, ListenError> {
    let groups = std::fs::read_to_string("/etc/group").unwrap_or_default();
    let find = |name: &str| group_id(&groups, name).map(Gid::from_raw);
    match name {
        Some("") => Ok(Gid::ROOT),
        Some(name) => find(name)
            .or_else(|| name.parse().ok().map(Gid::from_raw))
            .ok_or_else(|| ListenError::Group { name: name.to_owned() }),
        None => Ok(find("docker").or_else(|| find("belljar")).unwrap_or(Gid::ROOT)),
    }
}

fn group_id(groups: &str, name: &str) -> Option<u32> {
    let line = groups.lines().find(|line| line.split(':').next() == Some(name))?;
    line.split(':').nth(2)?.parse().ok()
}

/// Takes the descriptors 3, 4, … that a service manager passed to this process.
fn inherited() -> Result<Vec<Listener>, ListenError> {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<i32>().ok());
    let ours = number("LISTEN_PID").is_none_or(|pid| pid.unsigned_abs() == std::process::id());
    match number("LISTEN_FDS") {
        Some(count @ 1..=64) if ours => (3..3 + count).map(inherit).collect(),
        _ => Err(ListenError::NothingInherited),
    }
}

fn inherit(number: i32) -> Result<Listener, ListenError> {
    let take = || -> io::Result<Listener> {
        // pidfd_getfd(2) on ourselves makes an owned, close-on-exec duplicate of a bare number.
        let me = rustix::process::pidfd_open(rustix::process::getpid(), PidfdFlags::empty())?;
        let fd = rustix::process::pidfd_getfd(&me, number, PidfdGetfdFlags::empty())?;
        listener_of(fd)
    };
    take().map_err(|source| ListenError::Inherit { number, source })
}

fn listener_of(fd: OwnedFd) -> io::Result<Listener> {
    use rustix::net::AddressFamily;
    let family = rustix::net::getsockname(fd.as_fd())?.address_family();
    if family == AddressFamily::UNIX {
        let listener = std::os::unix::net::UnixListener::from(fd);
        listener.set_nonblocking(true)?;
        tokio::net::UnixListener::from_std(listener).map(Listener::Unix)
    } else {
        let listener = std::net::TcpListener::from(fd);
        listener.set_nonblocking(true)?;
        tokio::net::TcpListener::from_std(listener).map(Listener::Tcp)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_found_by_name() {
        let groups = "root:x:0:\ndocker:x:998:a,b\nx\n";
        assert_eq!(group_id(groups, "docker"), Some(998));
        assert_eq!(group_id(groups, "dock"), None);
        assert_eq!(group_id(groups, "x"), None);
    }

    #[tokio::test]
    async fn a_socket_in_use_is_left_alone_and_a_stale_one_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let hosts = [Address::Unix(path.clone())];
        let first = bind(&hosts, Some("0")).unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o660);
        assert!(matches!(bind(&hosts, None), Err(ListenError::Used { .. })));
        std::mem::forget(first.made.clone());
        drop(first);
        assert!(!path.exists());
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(bind(&hosts, None).is_ok(), "a socket that nobody listens on is replaced");
        let unknown = bind(&hosts, Some("no-such-group")).unwrap_err();
        assert_eq!(unknown.to_string(), "unknown group `no-such-group`");
    }
}
