//! Entry by entry through a tar stream of any common dialect: V7, ustar, star, GNU (long names, sparse), pax (records, all three
//! sparse formats). Follows Go's archive/tar where dialects disagree, since that is what Docker unpacks with.

use std::io::{self, Read};

use crate::header::{self, BLOCK, Header, Run};
use crate::pax::{self, Pax, SparseRecords};
use crate::stream::Source;

/// Most bytes of one long name or pax header (as in Go's archive/tar).
const MOST_SPECIAL: u64 = 1 << 20;
const MOST_RUNS: usize = 1 << 17;

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Type {
    File,
    HardLink,
    Symlink,
    Character,
    Block,
    Directory,
    Fifo,
}

/// One entry's head; its data follows in the stream.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) name: Vec<u8>,
    pub(crate) kind: Type,
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// The length of the file once unpacked.
    pub(crate) size: u64,
    pub(crate) mtime: (i64, u32),
    pub(crate) link: Vec<u8>,
    pub(crate) device: (u32, u32),
    pub(crate) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// Where the stored bytes go, for a sparse file.
    pub(crate) runs: Option<Vec<Run>>,
}

/// Why a tar cannot be read on.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// The stream itself failed.
    Stream(io::Error),
    /// The tar is malformed.
    Tar(&'static str),
    /// An entry is readable but not acceptable.
    Entry(Vec<u8>, &'static str),
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Self::Stream(error)
    }
}

const TORN: Trouble = Trouble::Tar("the stream ends inside an entry");

/// The long names and records in front of an entry.
#[derive(Default)]
struct Extensions {
    name: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    pax: Option<Pax>,
}

/// A tar stream at some entry.
pub(crate) struct Reader<R> {
    source: Source<R>,
    /// Stored bytes of the current entry not read yet.
    stored: u64,
    /// Bytes that fill its last block.
    padding: u64,
    ended: bool,
}

impl<R: Read> Reader<R> {
    pub(crate) fn new(source: Source<R>) -> Self {
        Self { source, stored: 0, padding: 0, ended: false }
    }

    /// Returns the stream, standing somewhere behind the last entry read.
    pub(crate) fn into_source(self) -> Source<R> {
        self.source
    }

    /// Skips what is left of the current entry and reads the head of the next one.
    pub(crate) fn next(&mut self) -> Result<Option<Entry>, Trouble> {
        self.skip()?;
        let mut extensions = Extensions::default();
        let mut first = true;
        while let Some(header) = self.header()? {
            first = false;
            match header.flag() {
                b'x' | b'g' | b'L' | b'K' => self.extension(&header, &mut extensions)?,
                _ => return self.entry(&header, extensions).map(Some),
            }
        }
        if first { Ok(None) } else { Err(Trouble::Tar("an extended header without its entry")) }
    }

    /// Returns a piece of the current entry's stored bytes, at most `most`; empty when there are no more. [`Reader::consume`] takes it.
    pub(crate) fn data(&mut self, most: u64) -> Result<&[u8], Trouble> {
        let most = most.min(self.stored);
        if most == 0 {
            return Ok(&[]);
        }
        let chunk = self.source.fill()?;
        if chunk.is_empty() {
            return Err(TORN);
        }
        Ok(&chunk[..chunk.len().min(usize::try_from(most).unwrap_or(usize::MAX))])
    }

    pub(crate) fn consume(&mut self, count: usize) {
        self.source.consume(count);
        self.stored -= count as u64;
    }

    fn skip(&mut self) -> Result<(), Trouble> {
        self.stored += self.padding;
        self.padding = 0;
        loop {
            let count = self.data(u64::MAX)?.len();
            if count == 0 {
                return Ok(());
            }
            self.consume(count);
        }
    }

    fn block(&mut self) -> Result<Option<[u8; BLOCK]>, Trouble> {
        let mut block = [0; BLOCK];
        match self.source.read_block(&mut block)? {
            0 => Ok(None),
            BLOCK => Ok(Some(block)),
            _ => Err(Trouble::Tar("the stream ends inside a header")),
        }
    }

    /// Reads the next header; nothing at the two zero blocks that end a tar, or where the stream ends between entries.
    fn header(&mut self) -> Result<Option<Header>, Trouble> {
        if self.ended {
            return Ok(None);
        }
        let Some(block) = self.block()? else { return Ok(None) };
        if block == [0; BLOCK] {
            self.ended = true;
            return match self.block()? {
                Some(second) if second != [0; BLOCK] => {
                    Err(Trouble::Tar("a lone zero block between entries"))
                }
                _ => Ok(None),
            };
        }
        Header::new(block).map(Some).ok_or(Trouble::Tar("a header with a wrong checksum"))
    }

    fn extension(&mut self, header: &Header, into: &mut Extensions) -> Result<(), Trouble> {
        let size = header.size().filter(|size| *size <= MOST_SPECIAL);
        let size = size.ok_or(Trouble::Tar("an extended header with a bad size"))?;
        let mut bytes = vec![0; usize::try_from(size).unwrap_or(0)];
        if self.source.read_block(&mut bytes)? != bytes.len() {
            return Err(TORN);
        }
        self.padding = padding(size);
        self.skip()?;
        let twice = match header.flag() {
            b'L' => into.name.replace(until_nul(bytes)).is_some(),
            b'K' => into.link.replace(until_nul(bytes)).is_some(),
            b'x' => into.pax.replace(pax::parse(&bytes).map_err(Trouble::Tar)?).is_some(),
            // Global records are comments of git and the like; Docker ignores them too.
            _ => false,
        };
        if twice { Err(Trouble::Tar("two extended headers for one entry")) } else { Ok(()) }
    }

    fn entry(&mut self, header: &Header, extensions: Extensions) -> Result<Entry, Trouble> {
        let mut pax = extensions.pax.unwrap_or_default();
        let name = extensions.name.or(pax.sparse.name.take()).or(pax.path.take());
        let name = name.unwrap_or_else(|| header.name());
        let refuse = |reason| Trouble::Entry(name.clone(), reason);
        let stored = pax.size.or_else(|| header.size()).ok_or_else(|| refuse("a bad size"))?;
        let kind = kind(header.flag(), &name).ok_or_else(|| refuse("an unknown type of entry"))?;
        let id = |pax: Option<i64>, own: Option<i64>| {
            pax.or(own)
                .and_then(|id| u32::try_from(id).ok())
                // chown(2) takes -1 as "leave it".
                .filter(|id| *id != u32::MAX)
                .ok_or_else(|| refuse("a bad user or group id"))
        };
        let own_mtime = header.mtime().map(|seconds| (seconds, 0));
        let mut entry = Entry {
            kind,
            mode: header.mode().ok_or_else(|| refuse("a bad mode"))?,
            uid: id(pax.uid, header.uid())?,
            gid: id(pax.gid, header.gid())?,
            size: stored,
            mtime: pax.mtime.or(own_mtime).ok_or_else(|| refuse("a bad time"))?,
            link: extensions.link.or(pax.link).unwrap_or_else(|| header.link().to_vec()),
            device: (0, 0),
            xattrs: pax.xattrs,
            runs: None,
            name: name.clone(),
        };
        if matches!(kind, Type::Character | Type::Block) {
            entry.device = header.device().ok_or_else(|| refuse("a bad device number"))?;
        }
        if kind != Type::File {
            // Other types have no data, whatever their size says (Go's archive/tar).
            entry.size = 0;
            return Ok(entry);
        }
        self.stored = stored;
        self.padding = padding(stored);
        self.sparse(header, pax.sparse, &mut entry)?;
        Ok(entry)
    }

    fn sparse(
        &mut self,
        header: &Header,
        records: SparseRecords,
        entry: &mut Entry,
    ) -> Result<(), Trouble> {
        let bad = |name: &[u8]| Trouble::Entry(name.to_vec(), "a bad sparse map");
        let (runs, size) = if header.flag() == b'S' {
            let (mut runs, mut more, size) = header.gnu_sparse().ok_or_else(|| bad(&entry.name))?;
            while more {
                let block = self.block()?.ok_or(TORN)?;
                let (next, again) =
                    header::sparse_extension(&block).ok_or_else(|| bad(&entry.name))?;
                runs.extend(next);
                more = again;
                if runs.len() > MOST_RUNS {
                    return Err(bad(&entry.name));
                }
            }
            (runs, size)
        } else if records.version == (1, 0) {
            let runs = self.sparse_prefix()?.ok_or_else(|| bad(&entry.name))?;
            (runs, records.real_size.ok_or_else(|| bad(&entry.name))?)
        } else if records.is_sparse() {
            (records.runs, records.real_size.unwrap_or(0))
        } else {
            return Ok(());
        };
        if !runs_hold(&runs, self.stored, size) {
            return Err(bad(&entry.name));
        }
        entry.size = size;
        entry.runs = Some(runs);
        Ok(())
    }

    /// Reads the map in front of the data of a pax 1.0 sparse file: decimal lines, filled up to a whole block.
    fn sparse_prefix(&mut self) -> Result<Option<Vec<Run>>, Trouble> {
        let mut lines = Lines::default();
        let Some(count) = self.sparse_number(&mut lines)? else { return Ok(None) };
        if count > MOST_RUNS as u64 {
            return Ok(None);
        }
        let mut runs = Vec::new();
        for _ in 0..count {
            let Some(offset) = self.sparse_number(&mut lines)? else { return Ok(None) };
            let Some(length) = self.sparse_number(&mut lines)? else { return Ok(None) };
            runs.push((offset, length));
        }
        Ok(Some(runs))
    }

    fn sparse_number(&mut self, lines: &mut Lines) -> Result<Option<u64>, Trouble> {
        let mut digits = Vec::new();
        loop {
            if lines.at == BLOCK {
                if self.stored < BLOCK as u64 {
                    return Ok(None);
                }
                lines.block = self.block()?.ok_or(TORN)?;
                lines.at = 0;
                self.stored -= BLOCK as u64;
            }
            let byte = lines.block[lines.at];
            lines.at += 1;
            match byte {
                b'\n' => return Ok(pax::decimal(&digits)),
                _ if digits.len() > 20 => return Ok(None),
                _ => digits.push(byte),
            }
        }
    }
}

struct Lines {
    block: [u8; BLOCK],
    at: usize,
}

impl Default for Lines {
    fn default() -> Self {
        Self { block: [0; BLOCK], at: BLOCK }
    }
}

/// The runs must be in order, not overlap, lie inside the file, and be exactly what is stored.
fn runs_hold(runs: &[Run], stored: u64, size: u64) -> bool {
    let (mut end, mut total) = (0, 0_u64);
    for (offset, length) in runs {
        let Some(next) = offset.checked_add(*length) else { return false };
        if *offset < end || next > size {
            return false;
        }
        end = next;
        total += length;
    }
    total == stored
}

fn kind(flag: u8, name: &[u8]) -> Option<Type> {
    Some(match flag {
        // V7 knew no directories but a slash at the end of the name.
        0 if name.ends_with(b"/") => Type::Directory,
        0 | b'0' | b'7' | b'S' => Type::File,
        b'1' => Type::HardLink,
        b'2' => Type::Symlink,
        b'3' => Type::Character,
        b'4' => Type::Block,
        b'5' => Type::Directory,
        b'6' => Type::Fifo,
        _ => return None,
    })
}

fn padding(size: u64) -> u64 {
    size.wrapping_neg() % BLOCK as u64
}

fn until_nul(mut bytes: Vec<u8>) -> Vec<u8> {
    if let Some(end) = bytes.iter().position(|b| *b == 0) {
        bytes.truncate(end);
    }
    bytes
}
