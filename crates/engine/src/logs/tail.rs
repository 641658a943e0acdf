//! Where the last N lines of a log begin, found from its end.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use shim_protocol::stdcopy::Stream;

use super::entry;
use super::files::LogFile;

/// Bytes that are read at once.
const BLOCK: u64 = 64 << 10;

/// Finds the file (an index into `files`, the newest first) and the offset at which the last `lines` lines begin. Lines of both
/// streams count; a line in pieces counts once.
pub(super) fn start(files: &[LogFile], lines: usize) -> io::Result<(usize, u64)> {
    let mut counter = Counter { lines, counted: 0, seen: [false; 2], text: Vec::new() };
    for (index, log) in files.iter().enumerate() {
        if let Some(offset) = search(&log.file, &mut counter)? {
            return Ok((index, offset));
        }
    }
    Ok((files.len().saturating_sub(1), 0))
}

struct Counter {
    lines: usize,
    counted: usize,
    /// By stream: an entry was met, to whose line an entry before it may belong.
    seen: [bool; 2],
    text: Vec<u8>,
}

impl Counter {
    /// Takes the entry before those taken so far; true if it is one too many.
    fn is_too_far(&mut self, line: &[u8]) -> bool {
        let Some(entry) = entry::parse(line, &mut self.text) else { return false };
        let seen = &mut self.seen[usize::from(entry.stream == Stream::Stderr)];
        if !(entry.goes_on && *seen) {
            self.counted += 1;
        }
        *seen = true;
        self.counted > self.lines
    }
}

/// Goes through a file backwards; the offset behind the first entry that is too far.
fn search(file: &File, counter: &mut Counter) -> io::Result<Option<u64>> {
    let mut start = file.metadata()?.len();
    // What follows `start` and has not been looked at.
    let mut rest: Vec<u8> = Vec::new();
    while start > 0 {
        let from = start.saturating_sub(BLOCK);
        let mut block = vec![0; usize::try_from(start - from).unwrap_or(0)];
        file.read_exact_at(&mut block, from)?;
        block.append(&mut rest);
        // From here on `block` begins at `from`; its first line may begin before.
        let mut end = block.len();
        while let Some(feed) = block[..end.saturating_sub(1)].iter().rposition(|b| *b == b'\n') {
            if counter.is_too_far(&block[feed + 1..end]) {
                return Ok(Some(from + end as u64));
            }
            end = feed + 1;
        }
        block.truncate(end);
        (rest, start) = (block, from);
    }
    if !rest.is_empty() && counter.is_too_far(&rest) {
        return Ok(Some(rest.len() as u64));
    }
    Ok(None)
}
