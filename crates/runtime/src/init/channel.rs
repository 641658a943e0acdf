//! The line between the runtime and the container's process: a pair of SOCK_SEQPACKET sockets, one message a packet.
//!
//! ```text
//! process -> runtime   F {"step":…,"errno":…,"about_program":…}   it failed and ends
//!                      H                                          hooks, please; waits for C
//!                      L + descriptor                             the seccomp listener; waits for C
//!                      M or N + a mount and a user namespace     map the mount's ids, N: and all beneath; waits for C
//!                      R                                          everything is done; next is execve
//!                      P pid + pidfd                              (only between user namespaces) the process that was made
//! runtime -> process   C                                          go on
//! ```

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{AddressFamily, SocketFlags, SocketType};
use rustix::process::Pid;

use crate::error::InitFailure;

/// The longest message; a failure's text is cut to fit.
const MAX_BYTES: usize = 16 << 10;

/// One end of the line.
#[derive(Debug)]
pub(crate) struct Channel(Option<OwnedFd>);

/// What is said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Message {
    Failed(InitFailure),
    HooksPlease,
    Listener,
    /// Ids of a mount are mapped by one who has rights over its file system.
    MapPlease {
        recursive: bool,
    },
    Ready,
    Continue,
    /// The other end is gone.
    End,
}

impl Channel {
    /// Makes both ends.
    pub(crate) fn pair() -> io::Result<(Self, Self)> {
        let (a, b) = rustix::net::socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )?;
        Ok((Self(Some(a)), Self(Some(b))))
    }

    /// Closes this end; every later message fails.
    pub(crate) fn close(&mut self) {
        self.0 = None;
    }

    /// The descriptor, while it is open.
    pub(crate) fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.0.as_ref().map(AsFd::as_fd)
    }

    fn fd(&self) -> io::Result<BorrowedFd<'_>> {
        self.0.as_ref().map(AsFd::as_fd).ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    /// Sends a message.
    pub(crate) fn send(&self, message: &Message) -> io::Result<()> {
        self.send_with(message, &[])
    }

    /// Sends a message with descriptors.
    pub(crate) fn send_with(&self, message: &Message, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        let bytes = match message {
            Message::Failed(failure) => failed_bytes(failure),
            Message::HooksPlease => b"H".to_vec(),
            Message::Listener => b"L".to_vec(),
            Message::MapPlease { recursive: false } => b"M".to_vec(),
            Message::MapPlease { recursive: true } => b"N".to_vec(),
            Message::Ready => b"R".to_vec(),
            Message::Continue => b"C".to_vec(),
            Message::End => return Ok(()),
        };
        if fds.is_empty() {
            // write(2): a seccomp filter is more likely to allow it than sendmsg(2).
            return Ok(rustix::io::write(self.fd()?, &bytes).map(|_| ())?);
        }
        sys::scm::send(self.fd()?, &bytes, fds).map(|_| ())
    }

    /// Sends a process that was made for the other end.
    pub(crate) fn send_process(&self, pid: Pid, pidfd: &OwnedFd) -> io::Result<()> {
        let bytes = [&b"P"[..], &pid.as_raw_nonzero().get().to_ne_bytes()].concat();
        sys::scm::send(self.fd()?, &bytes, &[pidfd.as_fd()]).map(|_| ())
    }

    /// Receives what [`Channel::send_process`] or a failure has sent.
    pub(crate) fn receive_process(&self) -> Result<(Pid, OwnedFd), InitFailure> {
        let lost = |error: io::Error| {
            InitFailure::sentence(format!("listen for the container's process: {error}"))
        };
        let mut buffer = vec![0; MAX_BYTES];
        let mut fds = Vec::new();
        let fd = self.fd().map_err(lost)?;
        let count = sys::scm::receive(fd, &mut buffer, &mut fds).map_err(lost)?;
        match (buffer[..count].split_first(), fds.pop()) {
            (Some((b'P', rest)), Some(pidfd)) => {
                let number = rest.try_into().map(i32::from_ne_bytes).ok();
                let pid = number.filter(|number| *number > 0).and_then(Pid::from_raw);
                Ok((pid.ok_or_else(|| lost(io::ErrorKind::InvalidData.into()))?, pidfd))
            }
            _ => match parse(&buffer[..count]) {
                Message::Failed(failure) => Err(failure),
                _ => Err(lost(io::ErrorKind::UnexpectedEof.into())),
            },
        }
    }

    /// Waits for `Continue` with read(2) alone.
    pub(crate) fn wait(&self) -> Result<(), InitFailure> {
        let fd = self.fd().map_err(|_| InitFailure::sentence("the runtime is gone"))?;
        let mut byte = [0];
        match rustix::io::retry_on_intr(|| rustix::io::read(fd, &mut byte)) {
            Ok(1) => Ok(()),
            Ok(_) => Err(InitFailure::sentence("the runtime gave up")),
            Err(error) => Err(InitFailure::new("listen to the runtime", error)),
        }
    }

    /// Receives a message.
    pub(crate) fn receive(&self) -> io::Result<(Message, Vec<OwnedFd>)> {
        let mut buffer = vec![0; MAX_BYTES];
        let mut fds = Vec::new();
        let count = loop {
            match sys::scm::receive(self.fd()?, &mut buffer, &mut fds) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // The other end has gone without reading what it was sent; what it said before comes after this error, unix(7).
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {}
                other => break other?,
            }
        };
        Ok((parse(&buffer[..count]), fds))
    }

    /// Waits for one certain message.
    pub(crate) fn expect(&self, wanted: &Message) -> Result<(), InitFailure> {
        match self.receive() {
            Ok((message, _)) if message == *wanted => Ok(()),
            Ok(_) => Err(InitFailure::sentence("the runtime gave up")),
            Err(error) => Err(InitFailure::sentence(format!("listen to the runtime: {error}"))),
        }
    }
}

impl Channel {
    /// Waits for one certain message and returns the descriptors that came with it.
    pub(crate) fn expect_files(&self, wanted: &Message) -> Result<Vec<OwnedFd>, InitFailure> {
        match self.receive() {
            Ok((message, files)) if message == *wanted => Ok(files),
            Ok(_) => Err(InitFailure::sentence("the runtime gave up")),
            Err(error) => Err(InitFailure::sentence(format!("listen to the runtime: {error}"))),
        }
    }
}

fn failed_bytes(failure: &InitFailure) -> Vec<u8> {
    let mut failure = failure.clone();
    if failure.step.len() > MAX_BYTES / 8 {
        let cut = (0..=MAX_BYTES / 8).rev().find(|at| failure.step.is_char_boundary(*at));
        failure.step.truncate(cut.unwrap_or(0));
    }
    let mut bytes = b"F".to_vec();
    bytes.extend(serde_json::to_vec(&failure).unwrap_or_default());
    bytes
}

fn parse(bytes: &[u8]) -> Message {
    match bytes.split_first() {
        None => Message::End,
        Some((b'H', _)) => Message::HooksPlease,
        Some((b'L', _)) => Message::Listener,
        Some((b'M', _)) => Message::MapPlease { recursive: false },
        Some((b'N', _)) => Message::MapPlease { recursive: true },
        Some((b'R', _)) => Message::Ready,
        Some((b'C', _)) => Message::Continue,
        Some((_, rest)) => {
            Message::Failed(serde_json::from_slice(rest).unwrap_or_else(|_| {
                InitFailure::sentence(String::from_utf8_lossy(rest).into_owned())
            }))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::io::Errno;

    #[test]
    fn a_failure_arrives_whole_and_the_end_is_seen() {
        let (here, there) = Channel::pair().unwrap();
        let failure = InitFailure::new("mount `proc`", Errno::PERM);
        there.send(&Message::Failed(failure.clone())).unwrap();
        assert_eq!(here.receive().unwrap().0, Message::Failed(failure));
        let long = InitFailure::sentence("é".repeat(MAX_BYTES));
        there.send(&Message::Failed(long)).unwrap();
        assert!(matches!(here.receive().unwrap().0, Message::Failed(f) if f.step.len() > 1000));
        drop(there);
        assert_eq!(here.receive().unwrap().0, Message::End);
    }
}
