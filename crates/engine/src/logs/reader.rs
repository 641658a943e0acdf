//! Reads a log forward, chunk by chunk, across its files and those that come. Blocks on the disk only.

use std::collections::VecDeque;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use bytes::Bytes;

use crate::request::LogsRequest;

use super::entry;
use super::files::{Files, LogFile};
use super::output::Output;
use super::tail;

/// A chunk is handed on once it is longer.
const CHUNK: usize = 256 << 10;
/// Bytes read at once.
const BUFFER: usize = 128 << 10;
/// The longest line of a log; the shim's have less than 100 KiB. A longer one is damage and passed over.
const LONGEST: usize = 1 << 20;

/// A part of the output.
pub(super) struct Step {
    pub(super) chunk: Bytes,
    /// There may be more to read at once.
    pub(super) more: bool,
}

/// A file that is being read.
struct Current {
    log: LogFile,
    buffer: BufReader<std::fs::File>,
    offset: u64,
    /// It is known to be no longer written to: its end is the end.
    closed: bool,
}

impl Current {
    fn new(log: LogFile, offset: u64) -> io::Result<Self> {
        let mut file = log.file.try_clone()?;
        file.seek(SeekFrom::Start(offset))?;
        let buffer = BufReader::with_capacity(BUFFER, file);
        Ok(Self { log, buffer, offset, closed: false })
    }

    /// Continues `line` up to its line feed; false at the end of the file.
    fn read_line(&mut self, line: &mut Vec<u8>) -> io::Result<bool> {
        let room = (LONGEST + 1).saturating_sub(line.len()) as u64;
        let count = (&mut self.buffer).take(room).read_until(b'\n', line)?;
        self.offset += count as u64;
        Ok(line.ends_with(b"\n") || line.len() > LONGEST)
    }

    /// With one file only, the shim cuts it instead of renaming it.
    fn was_cut(&self) -> io::Result<bool> {
        Ok(self.log.file.metadata()?.len() < self.offset)
    }
}

/// A log from one place on.
pub(super) struct Reader {
    files: Files,
    /// Older files first; then those that appear.
    waiting: VecDeque<(LogFile, u64)>,
    current: Option<Current>,
    output: Output,
    line: Vec<u8>,
    /// The rest of the line is passed over.
    skipping: bool,
    text: Vec<u8>,
    done: bool,
}

impl Reader {
    /// Opens all files and finds where to begin.
    pub(super) fn open(path: PathBuf, output: Output, request: &LogsRequest) -> io::Result<Self> {
        let files = Files::new(path);
        let mut found = files.open_all()?;
        let (oldest, offset) = match request.tail {
            Some(lines) => tail::start(&found, lines)?,
            None => (found.len().saturating_sub(1), 0),
        };
        found.truncate(oldest + 1);
        let mut waiting: VecDeque<_> = found.into_iter().rev().map(|log| (log, 0)).collect();
        if let Some((_, start)) = waiting.front_mut() {
            *start = offset;
        }
        let since = request.since.and_then(|since| SystemTime::try_from(since).ok());
        while waiting.len() > 1 && since.is_some_and(|since| ended_before(&waiting[0].0, since)) {
            waiting.pop_front();
        }
        Ok(Self {
            files,
            waiting,
            current: None,
            output,
            line: Vec::new(),
            skipping: false,
            text: Vec::new(),
            done: false,
        })
    }

    pub(super) fn path(&self) -> &Path {
        self.files.base()
    }

    /// Whether all that may come is too late.
    pub(super) fn is_done(&self) -> bool {
        self.done
    }

    /// Reads on to a full chunk or to the end of what there is.
    pub(super) fn step(&mut self) -> io::Result<Step> {
        let mut chunk = Vec::new();
        let mut more = true;
        while more && !self.done && chunk.len() < CHUNK {
            more = self.advance(&mut chunk)?;
        }
        Ok(Step { chunk: chunk.into(), more: more && !self.done })
    }

    /// Reads one line, or goes on to the next file; false at the end of what there is.
    fn advance(&mut self, chunk: &mut Vec<u8>) -> io::Result<bool> {
        let Some(current) = &mut self.current else { return self.open_next() };
        if current.read_line(&mut self.line)? {
            self.take_line(chunk);
            return Ok(true);
        }
        if current.was_cut()? {
            current.offset = 0;
            current.buffer.seek(SeekFrom::Start(0))?;
            self.line.clear();
            return Ok(true);
        }
        if current.closed {
            return self.open_next();
        }
        if !self.waiting.is_empty() || !self.files.is_newest(&current.log) {
            // Renamed: what was written until then is read to its very end, once more, before the next file.
            current.closed = true;
            return Ok(true);
        }
        Ok(false)
    }

    fn open_next(&mut self) -> io::Result<bool> {
        let next = match (self.waiting.pop_front(), &self.current) {
            (Some(next), _) => Some(next),
            (None, Some(current)) => self.files.after(&current.log)?.map(|log| (log, 0)),
            (None, None) => self.files.newest()?.map(|log| (log, 0)),
        };
        let Some((log, offset)) = next else { return Ok(false) };
        // A line that was torn at the end of the file before.
        self.line.clear();
        self.skipping = false;
        self.current = Some(Current::new(log, offset)?);
        Ok(true)
    }

    fn take_line(&mut self, chunk: &mut Vec<u8>) {
        let whole = self.line.ends_with(b"\n");
        if whole
            && !self.skipping
            && let Some(entry) = entry::parse(&self.line, &mut self.text)
        {
            self.done = !self.output.put(&entry, &self.text, chunk);
        }
        self.skipping = !whole;
        self.line.clear();
    }
}

/// Whether nothing in the file is as new as `since`.
fn ended_before(log: &LogFile, since: SystemTime) -> bool {
    let changed = log.file.metadata().and_then(|file| file.modified());
    changed.is_ok_and(|changed| changed < since)
}
