//! The container's log: Docker's `json-file`, rotated by size.
//!
//! ```text
//! {"log":"one line\n","stream":"stdout","time":"2026-11-28T15:11:37.123456789Z"}
//! ```
//!
//! A line longer than 16 KiB is written in pieces; only its last piece ends in `\n`. Lines are collected and written with one
//! `write(2)`; a write that fails half-way is cut off again, so that only whole lines are ever in a file that was not torn by a
//! crash of the machine. At `max_size` the file becomes `….1`, `….1` becomes `….2` and so on: `max_file` files at most. A full disk
//! loses log lines, never the container.

use crate::clock::Stamp;
use crate::escape;
use shim_protocol::stdcopy::Stream;
use shim_protocol::{LogConfig, LogDriver};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

/// The longest piece of a line, as in Docker.
pub(crate) const MAX_PIECE: usize = 16 << 10;
/// The batch is written when it is longer than this.
const BATCH: usize = 60 << 10;

/// Cuts a byte stream into the pieces that become log lines.
#[derive(Debug, Default)]
pub(crate) struct LineCutter {
    pending: Vec<u8>,
}

impl LineCutter {
    /// Takes bytes and hands out each complete piece.
    pub(crate) fn feed(&mut self, mut bytes: &[u8], mut piece: impl FnMut(&[u8])) {
        while !bytes.is_empty() {
            let room = MAX_PIECE - self.pending.len();
            let window = &bytes[..bytes.len().min(room)];
            let len = match memchr::memchr(b'\n', window) {
                Some(at) => at + 1,
                None if window.len() == room => room,
                None => {
                    self.pending.extend_from_slice(bytes);
                    return;
                }
            };
            let (head, rest) = bytes.split_at(len);
            if self.pending.is_empty() {
                piece(head);
            } else {
                self.pending.extend_from_slice(head);
                piece(&self.pending);
                self.pending.clear();
            }
            bytes = rest;
        }
    }

    /// Hands out what came after the last newline.
    pub(crate) fn finish(&mut self, piece: impl FnOnce(&[u8])) {
        if !self.pending.is_empty() {
            piece(&self.pending);
        }
        self.pending = Vec::new();
    }

    /// Gives memory back that holds nothing.
    pub(crate) fn shrink(&mut self) {
        self.pending.shrink_to_fit();
    }
}

/// The newest log file and what is about to be written to it.
#[derive(Debug)]
pub(crate) struct Log {
    path: PathBuf,
    file: Option<File>,
    size: u64,
    max_size: u64,
    max_file: u32,
    batch: Vec<u8>,
    stamp: Stamp,
    /// The first failure since the last success, until somebody takes it.
    failure: Option<io::Error>,
    failing: bool,
}

impl Log {
    /// Opens the log to append; `None` if the container has none.
    pub(crate) fn open(config: &LogConfig) -> io::Result<Option<Log>> {
        if config.driver == LogDriver::None {
            return Ok(None);
        }
        let mut log = Log {
            path: config.path.clone(),
            file: None,
            size: 0,
            max_size: config.max_size.unwrap_or(0),
            max_file: config.max_file.unwrap_or(1).max(1),
            batch: Vec::new(),
            stamp: Stamp::new(),
            failure: None,
            failing: false,
        };
        log.reopen()?;
        log.cut_torn_line()?;
        Ok(Some(log))
    }

    /// Adds one piece of a line.
    pub(crate) fn line(&mut self, stream: Stream, piece: &[u8]) {
        let start = self.batch.len();
        self.batch.extend_from_slice(b"{\"log\":\"");
        escape::push(piece, &mut self.batch);
        self.batch.extend_from_slice(b"\",\"stream\":\"");
        self.batch.extend_from_slice(stream.name().as_bytes());
        self.batch.extend_from_slice(b"\",\"time\":\"");
        self.stamp.push_now(&mut self.batch);
        self.batch.extend_from_slice(b"\"}\n");
        let full = self.max_size > 0 && self.size + self.batch.len() as u64 > self.max_size;
        if full && self.size + start as u64 > 0 {
            let line = self.batch.split_off(start);
            self.flush();
            self.rotate();
            self.batch = line;
        }
        if self.batch.len() >= BATCH {
            self.flush();
        }
    }

    /// Writes everything that was added.
    pub(crate) fn flush(&mut self) {
        if self.batch.is_empty() {
            return;
        }
        let result = self.write_batch();
        self.batch.clear();
        match result {
            Ok(()) => self.failing = false,
            Err(err) => self.note(err),
        }
    }

    /// Gives memory back that holds nothing.
    pub(crate) fn shrink(&mut self) {
        self.batch.shrink_to_fit();
    }

    /// Takes the failure that lost lines, once per series of failures.
    pub(crate) fn take_failure(&mut self) -> Option<io::Error> {
        self.failure.take()
    }

    fn note(&mut self, err: io::Error) {
        if !self.failing {
            self.failure = Some(err);
        }
        self.failing = true;
    }

    fn write_batch(&mut self) -> io::Result<()> {
        if self.file.is_none() {
            self.reopen()?;
        }
        let Some(file) = &mut self.file else { return Ok(()) };
        if let Err(err) = file.write_all(&self.batch) {
            // Whole lines or nothing. If even this fails, the next open finds the torn line.
            let _ = file.set_len(self.size);
            return Err(err);
        }
        self.size += self.batch.len() as u64;
        Ok(())
    }

    fn reopen(&mut self) -> io::Result<()> {
        let mut options = OpenOptions::new();
        options.create(true).append(true).read(true).mode(0o640);
        let file = options.open(&self.path)?;
        self.size = file.metadata()?.len();
        self.file = Some(file);
        Ok(())
    }

    /// Removes an incomplete last line, which only a crash of the machine leaves.
    fn cut_torn_line(&mut self) -> io::Result<()> {
        let Some(file) = &mut self.file else { return Ok(()) };
        let mut end = self.size;
        let mut buffer = [0; 4096];
        while end > 0 {
            let start = end.saturating_sub(buffer.len() as u64);
            let window = &mut buffer[..usize::try_from(end - start).unwrap_or(0)];
            file.seek(SeekFrom::Start(start))?;
            file.read_exact(window)?;
            if let Some(at) = memchr::memrchr(b'\n', window) {
                end = start + at as u64 + 1;
                break;
            }
            end = start;
        }
        if end < self.size {
            file.set_len(end)?;
            self.size = end;
        }
        Ok(())
    }

    fn rotate(&mut self) {
        if let Err(err) = self.try_rotate() {
            self.note(err);
        }
    }

    fn try_rotate(&mut self) -> io::Result<()> {
        if self.max_file < 2 {
            if let Some(file) = &self.file {
                file.set_len(0)?;
            }
            self.size = 0;
            return Ok(());
        }
        for number in (1..self.max_file - 1).rev() {
            rename_if_there(&self.numbered(number), &self.numbered(number + 1))?;
        }
        rename_if_there(&self.path, &self.numbered(1))?;
        self.file = None;
        self.reopen()
    }

    fn numbered(&self, number: u32) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(format!(".{number}"));
        PathBuf::from(name)
    }
}

fn rename_if_there(from: &std::path::Path, to: &std::path::Path) -> io::Result<()> {
    match fs::rename(from, to) {
        Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests;
