//! A process's standard streams: pipes, or a terminal that the runtime hands over.

use crate::ShimError;
use crate::log::LineCutter;
use rustix::fs::{Mode, OFlags};
use rustix::pipe::PipeFlags;
use shim_protocol::stdcopy::Stream;
use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::Stdio;

/// The longest path that fits into a socket address, with room to spare.
const SHORT_PATH: usize = 100;

/// The reading end of a process's output.
#[derive(Debug)]
pub(crate) struct Output {
    pub(crate) fd: OwnedFd,
    pub(crate) stream: Stream,
    pub(crate) cutter: LineCutter,
}

impl Output {
    pub(crate) fn new(fd: OwnedFd, stream: Stream) -> Output {
        Output { fd, stream, cutter: LineCutter::default() }
    }
}

/// The writing end of a process's standard input, with what it did not take yet.
#[derive(Debug)]
pub(crate) struct Input {
    pub(crate) fd: OwnedFd,
    queue: VecDeque<u8>,
    /// Close when the queue is empty.
    closing: bool,
}

impl Input {
    pub(crate) fn new(fd: OwnedFd) -> Input {
        Input { fd, queue: VecDeque::new(), closing: false }
    }

    /// Whether more bytes may be given.
    pub(crate) fn is_ready(&self) -> bool {
        self.queue.is_empty() && !self.closing
    }

    /// Whether the descriptor is to be watched.
    pub(crate) fn wants_to_write(&self) -> bool {
        !self.queue.is_empty()
    }

    /// Writes what the process takes now and queues the rest. `false`: nobody reads any more.
    pub(crate) fn give(&mut self, bytes: &[u8]) -> bool {
        self.queue.extend(bytes);
        self.flush()
    }

    /// Closes it once everything was taken. `false`: it is to be dropped now.
    pub(crate) fn close(&mut self) -> bool {
        self.closing = true;
        !self.queue.is_empty()
    }

    /// Writes on. `false`: it is to be dropped now.
    pub(crate) fn flush(&mut self) -> bool {
        while !self.queue.is_empty() {
            let (bytes, _) = self.queue.as_slices();
            match rustix::io::retry_on_intr(|| rustix::io::write(&self.fd, bytes)) {
                Ok(len) => drop(self.queue.drain(..len)),
                Err(rustix::io::Errno::AGAIN) => return true,
                Err(_) => return false,
            }
        }
        self.queue = VecDeque::new();
        !self.closing
    }
}

/// Waits for the runtime to send a terminal's master over a socket.
#[derive(Debug)]
pub(crate) struct Console {
    listener: UnixListener,
    connection: Option<UnixStream>,
    directory: PathBuf,
    name: String,
}

impl Console {
    /// Listens in the state directory.
    fn listen(directory: &Path, dir: BorrowedFd<'_>, name: String) -> Result<Console, ShimError> {
        let listener = sys::scm::listen_at(dir, &name, 1)
            .map_err(|err| ShimError::io("listen on", directory.join(&name), err))?;
        Ok(Console { listener, connection: None, directory: directory.to_owned(), name })
    }

    /// The path that the runtime connects to: short enough for a socket address.
    pub(crate) fn path(&self, dir: BorrowedFd<'_>) -> PathBuf {
        let path = self.directory.join(&self.name);
        if path.as_os_str().len() <= SHORT_PATH {
            return path;
        }
        PathBuf::from(format!("/proc/{}/fd/{}/{}", std::process::id(), dir.as_raw_fd(), self.name))
    }

    /// The descriptor to watch.
    pub(crate) fn watched(&self) -> BorrowedFd<'_> {
        self.connection.as_ref().map_or_else(|| self.listener.as_fd(), AsFd::as_fd)
    }

    /// Takes the master if it has arrived.
    pub(crate) fn take(&mut self) -> io::Result<Option<OwnedFd>> {
        if self.connection.is_none() {
            let accepted = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(err) if err.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(err) => return Err(err),
            };
            accepted.set_nonblocking(true)?;
            self.connection = Some(accepted);
        }
        let Some(connection) = &self.connection else { return Ok(None) };
        let (mut name, mut fds) = ([0; 4096], Vec::new());
        match sys::scm::receive(connection.as_fd(), &mut name, &mut fds) {
            Err(err) if err.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(err) => Err(err),
            Ok(0) if fds.is_empty() => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) => Ok(fds.pop()),
        }
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        // A left-over socket file is swept with the state directory.
        let _ = std::fs::remove_file(self.directory.join(&self.name));
    }
}

/// Our ends of a process's streams.
#[derive(Debug, Default)]
pub(crate) struct Streams {
    pub(crate) input: Option<Input>,
    pub(crate) outputs: [Option<Output>; 2],
    pub(crate) console: Option<Console>,
}

/// The runtime's ends.
#[derive(Debug)]
pub(crate) struct ChildStdio {
    pub(crate) stdin: Stdio,
    pub(crate) stdout: Stdio,
    pub(crate) stderr: Stdio,
}

/// Makes a terminal's rendezvous; the runtime itself gets `/dev/null`.
pub(crate) fn terminal(
    directory: &Path,
    dir: BorrowedFd<'_>,
    name: String,
) -> Result<(Streams, ChildStdio), ShimError> {
    let console = Console::listen(directory, dir, name)?;
    let streams = Streams { console: Some(console), ..Streams::default() };
    Ok((streams, ChildStdio { stdin: Stdio::null(), stdout: Stdio::null(), stderr: Stdio::null() }))
}

/// Makes pipes for output, and for input if it is wanted.
///
/// The process's ends of the output pipes are opened for reading as well: were this shim killed, the pipe would still have a
/// reader, and the process would not be ended by SIGPIPE.
pub(crate) fn pipes(stdin: bool, output: bool) -> Result<(Streams, ChildStdio), ShimError> {
    let fail = |err: rustix::io::Errno| ShimError::io("make pipe for", "stdio", err.into());
    let mut streams = Streams::default();
    let mut child =
        ChildStdio { stdin: Stdio::null(), stdout: Stdio::null(), stderr: Stdio::null() };
    if stdin {
        let (read, write) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).map_err(fail)?;
        set_nonblocking(&write).map_err(fail)?;
        streams.input = Some(Input::new(write));
        child.stdin = read.into();
    }
    if output {
        let (ours, theirs) = output_pipe().map_err(fail)?;
        streams.outputs[0] = Some(Output::new(ours, Stream::Stdout));
        child.stdout = theirs.into();
        let (ours, theirs) = output_pipe().map_err(fail)?;
        streams.outputs[1] = Some(Output::new(ours, Stream::Stderr));
        child.stderr = theirs.into();
    }
    Ok((streams, child))
}

fn output_pipe() -> rustix::io::Result<(OwnedFd, OwnedFd)> {
    let (read, write) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
    let path = format!("/proc/self/fd/{}", write.as_raw_fd());
    let both = rustix::fs::open(path, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    set_nonblocking(&read)?;
    Ok((read, both))
}

/// Makes the streams of a terminal whose master has arrived.
pub(crate) fn from_master(master: OwnedFd, stdin: bool) -> io::Result<Streams> {
    set_nonblocking(&master)?;
    let input = if stdin { Some(Input::new(master.try_clone()?)) } else { None };
    let output = Output::new(master, Stream::Stdout);
    Ok(Streams { input, outputs: [Some(output), None], console: None })
}

fn set_nonblocking(fd: &OwnedFd) -> rustix::io::Result<()> {
    rustix::fs::fcntl_setfl(fd, rustix::fs::fcntl_getfl(fd)? | OFlags::NONBLOCK)
}

/// The inode numbers of a container's pipes: a later shim takes over these and no others, whatever the container made of its
/// descriptors meanwhile.
#[derive(Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct PipeInodes {
    stdin: Option<u64>,
    stdout: Option<u64>,
    stderr: Option<u64>,
}

impl PipeInodes {
    pub(crate) fn of(streams: &Streams) -> PipeInodes {
        let inode = |fd: &OwnedFd| rustix::fs::fstat(fd).ok().map(|stat| stat.st_ino);
        let [stdout, stderr] = &streams.outputs;
        PipeInodes {
            stdin: streams.input.as_ref().and_then(|input| inode(&input.fd)),
            stdout: stdout.as_ref().and_then(|output| inode(&output.fd)),
            stderr: stderr.as_ref().and_then(|output| inode(&output.fd)),
        }
    }

    /// Opens the shim's ends of a running process's pipes again.
    pub(crate) fn reopen(&self, pid: u32) -> Streams {
        let output = |number, inode, stream| {
            let file = open_same(pid, number, inode?, OpenOptions::new().read(true))?;
            Some(Output::new(file.into(), stream))
        };
        let input = self.stdin.and_then(|inode| {
            let file = open_same(pid, 0, inode, OpenOptions::new().write(true))?;
            Some(Input::new(file.into()))
        });
        let stdout = output(1, self.stdout, Stream::Stdout);
        let stderr = output(2, self.stderr, Stream::Stderr);
        Streams { input, outputs: [stdout, stderr], console: None }
    }
}

/// Opens descriptor `number` of a process if it is the file that is meant.
fn open_same(pid: u32, number: u32, inode: u64, options: &mut OpenOptions) -> Option<File> {
    use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
    let path = format!("/proc/{pid}/fd/{number}");
    // Looked at before it is opened: opening a device may have effects.
    let meant = |found: &std::fs::Metadata| found.file_type().is_fifo() && found.ino() == inode;
    if !meant(&std::fs::metadata(&path).ok()?) {
        return None;
    }
    let flags = OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
    let file = options.custom_flags(flags.bits().cast_signed()).open(path).ok()?;
    meant(&file.metadata().ok()?).then_some(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_writes_on_when_its_shim_is_gone() {
        let (streams, child) = pipes(false, true).unwrap();
        drop(streams);
        let status = std::process::Command::new("sh")
            .args(["-c", "echo unheard && echo unheard >&2"])
            .stdin(child.stdin)
            .stdout(child.stdout)
            .stderr(child.stderr)
            .status()
            .unwrap();
        assert!(status.success(), "{status}");
    }

    #[test]
    fn pipes_are_found_again_by_their_inodes_only() {
        let (streams, stdio) = pipes(true, true).unwrap();
        let inodes = PipeInodes::of(&streams);
        let mut child = std::process::Command::new("sh")
            .args(["-c", "read x; echo got $x; exec 2>/dev/null; sleep 60"])
            .stdin(stdio.stdin)
            .stdout(stdio.stdout)
            .stderr(stdio.stderr)
            .spawn()
            .unwrap();
        drop(streams);
        // With its only writer gone the shell sees the end of its input: the pipe itself stays.
        let stderr = format!("/proc/{}/fd/2", child.id());
        while std::fs::read_link(&stderr).unwrap() != Path::new("/dev/null") {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        let again = inodes.reopen(child.id());
        assert!(again.input.is_some() && again.outputs[0].is_some());
        assert!(again.outputs[1].is_none(), "the process has replaced it");
        let mut text = [0; 16];
        let fd = &again.outputs[0].as_ref().unwrap().fd;
        let len = rustix::io::read(fd, &mut text).unwrap();
        assert_eq!(&text[..len], b"got\n");
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn input_is_queued_while_nobody_reads_and_closed_after_the_queue() {
        let (mut streams, stdio) = pipes(true, false).unwrap();
        let input = streams.input.as_mut().unwrap();
        let bytes = vec![7; 100_000];
        assert!(input.give(&bytes));
        assert!(input.wants_to_write() && !input.is_ready());
        assert!(input.close(), "it must stay until the queue is empty");
        let mut child = std::process::Command::new("wc")
            .arg("-c")
            .stdin(stdio.stdin)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        while input.flush() {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        drop(streams);
        let mut text = String::new();
        io::Read::read_to_string(&mut child.stdout.take().unwrap(), &mut text).unwrap();
        assert_eq!(text.trim(), "100000");
        child.wait().unwrap();
    }
}
