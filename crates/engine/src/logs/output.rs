//! Entries as a client gets them: chosen, stamped, framed.

use shim_protocol::stdcopy::{self, Stream};

use crate::request::LogsRequest;

use super::entry::{Entry, Time};

/// What goes out, and how.
pub(super) struct Output {
    stdout: bool,
    stderr: bool,
    since: Option<Time>,
    until: Option<Time>,
    timestamps: bool,
    details: Option<Vec<u8>>,
    framed: bool,
    /// By stream: the line that goes on, and whether it is shown.
    open: [Option<bool>; 2],
}

impl Output {
    pub(super) fn new(request: &LogsRequest, tty: bool, details: Option<Vec<u8>>) -> Self {
        Self {
            stdout: request.stdout,
            stderr: request.stderr,
            since: request.since.map(Time::from),
            until: request.until.map(Time::from),
            timestamps: request.timestamps,
            details,
            framed: !tty,
            open: [None; 2],
        }
    }

    /// Appends an entry to `out` if it is wanted; false when all further entries are too late.
    pub(super) fn put(&mut self, entry: &Entry, text: &[u8], out: &mut Vec<u8>) -> bool {
        let open = &mut self.open[usize::from(entry.stream == Stream::Stderr)];
        let goes_on = open.take();
        // The pieces of a line share the fate and the stamp of its first.
        if goes_on.is_none() && self.until.is_some_and(|until| entry.time > until) {
            return false;
        }
        let chosen = match entry.stream {
            Stream::Stdout => self.stdout,
            _ => self.stderr,
        };
        let in_time = self.since.is_none_or(|since| entry.time >= since);
        let shown = goes_on.unwrap_or(chosen && in_time);
        if entry.goes_on {
            *open = Some(shown);
        }
        if shown {
            self.write(entry, text, goes_on.is_none(), out);
        }
        true
    }

    fn write(&self, entry: &Entry, text: &[u8], first: bool, out: &mut Vec<u8>) {
        let stamp = Some(entry.time.as_bytes()).filter(|_| first && self.timestamps);
        let details = self.details.as_deref().filter(|_| first);
        if self.framed {
            let before = stamp.map_or(0, |s| s.len() + 1) + details.map_or(0, <[u8]>::len);
            // An entry is far shorter than 4 GiB.
            let len = u32::try_from(before + text.len()).unwrap_or(u32::MAX);
            out.extend_from_slice(&stdcopy::header(entry.stream, len));
        }
        if let Some(stamp) = stamp {
            out.extend_from_slice(stamp);
            out.push(b' ');
        }
        out.extend_from_slice(details.unwrap_or_default());
        out.extend_from_slice(text);
    }
}
