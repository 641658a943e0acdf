//! Unix sockets: descriptors as messages (`SCM_RIGHTS`), and addresses longer than `sun_path` allows.

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType,
};
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

/// The most descriptors that one call sends or receives.
pub const MAX_FDS: usize = 8;

const SPACE: usize = rustix::cmsg_space!(ScmRights(MAX_FDS));

/// `sendmsg(socket, bytes, SCM_RIGHTS fds)`: sends bytes and, with the first of them, descriptors. Tells how many bytes were
/// taken; the descriptors went along if that is not 0. Never raises SIGPIPE.
///
/// # Errors
/// `EAGAIN` on a full non-blocking socket, `EPIPE`, `EINVAL` for more than [`MAX_FDS`] descriptors.
pub fn send(socket: BorrowedFd<'_>, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); SPACE];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    let parts = [IoSlice::new(bytes)];
    Ok(rustix::io::retry_on_intr(|| {
        rustix::net::sendmsg(socket, &parts, &mut control, SendFlags::NOSIGNAL)
    })?)
}

/// Sends all of `bytes`, descriptors with the first of them, on a blocking socket.
///
/// # Errors
/// As [`send`].
pub fn send_all(socket: BorrowedFd<'_>, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut sent = send(socket, bytes, fds)?;
    while sent < bytes.len() {
        sent += send(socket, &bytes[sent..], &[])?;
    }
    Ok(())
}

/// `recvmsg(socket, buffer, MSG_CMSG_CLOEXEC)`: receives bytes and appends the descriptors that came with them to `fds`. 0 is the
/// end of the stream.
///
/// # Errors
/// `EAGAIN` on an empty non-blocking socket, `ECONNRESET`.
pub fn receive(
    socket: BorrowedFd<'_>,
    buffer: &mut [u8],
    fds: &mut Vec<OwnedFd>,
) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); SPACE];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let message = rustix::io::retry_on_intr(|| {
        let mut parts = [IoSliceMut::new(buffer)];
        rustix::net::recvmsg(socket, &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC)
    })?;
    for part in control.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = part {
            fds.extend(received);
        }
    }
    Ok(message.bytes)
}

/// Binds and listens on `name` in the directory `dir`, however long the directory's path is. The socket gets mode 0600 before
/// it can be seen. An existing name is replaced. The listener is non-blocking.
///
/// # Errors
/// As bind(2) and unlinkat(2); `ENAMETOOLONG` for a name of more than about 80 bytes.
pub fn listen_at(dir: BorrowedFd<'_>, name: &str, backlog: i32) -> io::Result<UnixListener> {
    use rustix::fs::{AtFlags, Mode};
    let socket = rustix::net::socket_with(
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
        None,
    )?;
    // bind(2) gives the file the mode of the socket's own inode, less the umask.
    rustix::fs::fchmod(&socket, Mode::RUSR | Mode::WUSR)?;
    match rustix::fs::unlinkat(dir, name, AtFlags::empty()) {
        Ok(()) | Err(rustix::io::Errno::NOENT) => {}
        Err(err) => return Err(err.into()),
    }
    rustix::net::bind(&socket, &address(dir, name)?)?;
    rustix::net::listen(&socket, backlog)?;
    Ok(UnixListener::from(socket))
}

/// Connects to the socket `name` in the directory `dir`, however long the directory's path is. The stream is blocking.
///
/// # Errors
/// `ENOENT`: no such name. `ECONNREFUSED`: nobody listens any more.
pub fn connect_at(dir: BorrowedFd<'_>, name: &str) -> io::Result<UnixStream> {
    let socket = rustix::net::socket_with(
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::CLOEXEC,
        None,
    )?;
    let address = address(dir, name)?;
    rustix::io::retry_on_intr(|| rustix::net::connect(&socket, &address))?;
    Ok(UnixStream::from(socket))
}

/// Connects to the socket at `path`, however long the path is.
///
/// # Errors
/// As [`connect_at`].
pub fn connect(path: &Path) -> io::Result<UnixStream> {
    use rustix::fs::{Mode, OFlags};
    let (Some(parent), Some(name)) = (path.parent(), path.file_name().and_then(|n| n.to_str()))
    else {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    };
    let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let dir = rustix::fs::open(parent, flags, Mode::empty())?;
    connect_at(dir.as_fd(), name)
}

fn address(dir: BorrowedFd<'_>, name: &str) -> io::Result<SocketAddrUnix> {
    let path = format!("/proc/self/fd/{}/{name}", dir.as_raw_fd());
    Ok(SocketAddrUnix::new(path)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, File};
    use std::io::{Read, Write};
    use std::os::unix::fs::PermissionsExt;

    fn deep_directory() -> std::path::PathBuf {
        let base = std::env::temp_dir().join(format!("belljar-scm-{}", std::process::id()));
        let deep = base.join("d".repeat(100)).join("e".repeat(100));
        fs::create_dir_all(&deep).unwrap();
        deep
    }

    #[test]
    fn a_socket_in_a_deep_directory_carries_bytes_and_descriptors() {
        let deep = deep_directory();
        let dir = File::open(&deep).unwrap();
        let listener = listen_at(dir.as_fd(), "s.sock", 4).unwrap();
        let again = listen_at(dir.as_fd(), "s.sock", 4).unwrap();
        drop(listener);
        let mode = fs::metadata(deep.join("s.sock")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);

        let client = connect(&deep.join("s.sock")).unwrap();
        let (server, _) = again.accept().unwrap();
        server.set_nonblocking(false).unwrap();
        let (mut kept, sent) = UnixStream::pair().unwrap();
        send_all(client.as_fd(), b"hello", &[sent.as_fd()]).unwrap();
        drop(sent);
        let (mut buffer, mut fds) = ([0; 16], Vec::new());
        assert_eq!(receive(server.as_fd(), &mut buffer, &mut fds).unwrap(), 5);
        assert_eq!(&buffer[..5], b"hello");
        let mut received = UnixStream::from(fds.pop().unwrap());
        assert!(fds.is_empty());
        received.write_all(b"through").unwrap();
        drop(received);
        let mut text = String::new();
        kept.read_to_string(&mut text).unwrap();
        assert_eq!(text, "through");
        drop(client);
        assert_eq!(receive(server.as_fd(), &mut buffer, &mut fds).unwrap(), 0);
        assert_eq!(
            connect_at(dir.as_fd(), "absent.sock").unwrap_err().kind(),
            io::ErrorKind::NotFound
        );
        fs::remove_dir_all(deep.parent().unwrap().parent().unwrap()).unwrap();
    }
}
