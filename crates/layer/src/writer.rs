//! Writes a tar: ustar blocks, with a pax header in front of every entry that ustar cannot say in full.

use std::io::{self, Read, Write};

use sha2::{Digest as _, Sha256};
use types::{DiffId, Digest};

use crate::header::{self, BLOCK, Fields, fits};
use crate::pax;

const BUFFER: usize = 128 * 1024;

/// What [`crate::pack`] and [`crate::pack_tree`] wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packed {
    /// The digest of the tar.
    pub diff_id: DiffId,
    /// The length of the tar in bytes.
    pub bytes: u64,
}

/// One entry to write.
#[derive(Clone, Debug, Default)]
pub(crate) struct Item {
    pub(crate) name: Vec<u8>,
    pub(crate) flag: u8,
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) size: u64,
    pub(crate) mtime: (i64, u32),
    pub(crate) link: Vec<u8>,
    pub(crate) device: (u32, u32),
    pub(crate) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// A tar being written, hashed and counted on the way.
pub(crate) struct Writer<W> {
    out: W,
    buffer: Vec<u8>,
    hash: Sha256,
    count: u64,
}

impl<W: Write> Writer<W> {
    pub(crate) fn new(out: W) -> Self {
        Self { out, buffer: Vec::with_capacity(BUFFER + BLOCK), hash: Sha256::new(), count: 0 }
    }

    /// Writes an entry without data.
    pub(crate) fn append(&mut self, item: &Item) -> io::Result<()> {
        self.head(item)
    }

    /// Writes an entry and exactly `item.size` bytes of `data`; a file that has become shorter meanwhile is filled up with zeros.
    pub(crate) fn append_data(&mut self, item: &Item, data: impl Read) -> io::Result<()> {
        self.head(item)?;
        let mut data = data.take(item.size).chain(io::repeat(0)).take(item.size);
        let mut left = item.size;
        while left > 0 {
            let start = self.buffer.len();
            let room = usize::try_from(left).unwrap_or(BUFFER).min(BUFFER - start.min(BUFFER - 1));
            self.buffer.resize(start + room, 0);
            let read = data.read(&mut self.buffer[start..]);
            self.buffer.truncate(start + *read.as_ref().unwrap_or(&0));
            match read {
                Ok(count) => left -= count as u64,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
            self.flush_full()?;
        }
        self.pad(item.size)
    }

    /// Ends the tar.
    pub(crate) fn finish(mut self) -> io::Result<Packed> {
        self.buffer.extend_from_slice(&[0; 2 * BLOCK]);
        self.flush()?;
        self.out.flush()?;
        let diff_id = DiffId(Digest::from_sha256(&self.hash.finalize().into()));
        Ok(Packed { diff_id, bytes: self.count })
    }

    fn head(&mut self, item: &Item) -> io::Result<()> {
        let records = records(item);
        if !records.is_empty() {
            let head = header::encode(&Fields {
                name: b"PaxHeaders.0",
                flag: b'x',
                mode: 0o644,
                uid: 0,
                gid: 0,
                size: records.len() as u64,
                mtime: 0,
                link: b"",
                device: (0, 0),
            });
            self.buffer.extend_from_slice(&head);
            self.buffer.extend_from_slice(&records);
            self.pad(records.len() as u64)?;
        }
        let head = header::encode(&Fields {
            name: &item.name,
            flag: item.flag,
            mode: item.mode,
            uid: item.uid,
            gid: item.gid,
            size: item.size,
            mtime: item.mtime.0,
            link: &item.link,
            device: item.device,
        });
        self.buffer.extend_from_slice(&head);
        self.flush_full()
    }

    fn pad(&mut self, size: u64) -> io::Result<()> {
        let padding = usize::try_from(size.wrapping_neg() % BLOCK as u64).unwrap_or(0);
        self.buffer.resize(self.buffer.len() + padding, 0);
        self.flush_full()
    }

    fn flush_full(&mut self) -> io::Result<()> {
        if self.buffer.len() >= BUFFER { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.write_all(&self.buffer)?;
        self.hash.update(&self.buffer);
        self.count += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }
}

/// Returns the pax records that say what the ustar block of `item` cannot.
fn records(item: &Item) -> Vec<u8> {
    let mut records = Vec::new();
    if item.name.len() > 100 {
        pax::append(&mut records, b"path", &item.name);
    }
    if item.link.len() > 100 {
        pax::append(&mut records, b"linkpath", &item.link);
    }
    let mut number = |key: &[u8], value: u64, width| {
        if !fits(value, width) {
            pax::append(&mut records, key, value.to_string().as_bytes());
        }
    };
    number(b"size", item.size, 12);
    number(b"uid", item.uid.into(), 8);
    number(b"gid", item.gid.into(), 8);
    let (seconds, nanoseconds) = item.mtime;
    let plain = u64::try_from(seconds).is_ok_and(|seconds| fits(seconds, 12));
    if nanoseconds != 0 || !plain {
        pax::append(&mut records, b"mtime", time(seconds, nanoseconds).as_bytes());
    }
    for (name, value) in &item.xattrs {
        pax::append_xattr(&mut records, name, value);
    }
    records
}

fn time(seconds: i64, nanoseconds: u32) -> String {
    match (seconds, nanoseconds) {
        (_, 0) => seconds.to_string(),
        (0.., _) => format!("{seconds}.{nanoseconds:09}"),
        // The decimals count away from zero, the nanoseconds upwards.
        (-1, _) => format!("-0.{:09}", 1_000_000_000 - nanoseconds),
        _ => format!("{}.{:09}", seconds + 1, 1_000_000_000 - nanoseconds),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reader::{Reader, Type};
    use crate::stream::Source;

    #[test]
    fn what_is_written_reads_back() {
        let item = Item {
            name: [&b"d/"[..], &[b'n'; 200]].concat(),
            flag: b'0',
            mode: 0o4751,
            uid: 3_000_000_000,
            gid: 12,
            size: 3,
            mtime: (-5, 250_000_000),
            xattrs: vec![(b"user.x".to_vec(), b"a\nb".to_vec())],
            ..Item::default()
        };
        let mut tar = Vec::new();
        let mut writer = Writer::new(&mut tar);
        writer.append_data(&item, &b"abcdef"[..]).unwrap();
        let packed = writer.finish().unwrap();
        assert_eq!(packed.bytes, tar.len() as u64);
        assert_eq!(packed.diff_id.0, Digest::of(&tar));
        let mut reader = Reader::new(Source::new(&tar[..], u64::MAX));
        let entry = reader.next().unwrap().unwrap();
        assert_eq!((entry.name, entry.kind, entry.mode), (item.name, Type::File, 0o4751));
        assert_eq!((entry.uid, entry.gid, entry.size), (3_000_000_000, 12, 3));
        assert_eq!((entry.mtime, entry.xattrs), (item.mtime, item.xattrs));
        assert_eq!(reader.data(100).unwrap(), b"abc");
        assert!(reader.next().unwrap().is_none());
    }

    #[test]
    fn a_file_that_shrank_is_filled_up() {
        let item = Item { name: b"f".to_vec(), flag: b'0', size: 5, ..Item::default() };
        let mut tar = Vec::new();
        let mut writer = Writer::new(&mut tar);
        writer.append_data(&item, &b"ab"[..]).unwrap();
        writer.finish().unwrap();
        assert_eq!(&tar[512..518], b"ab\0\0\0\0");
        assert_eq!(tar.len(), 4 * 512);
    }

    #[test]
    fn times_before_the_epoch_read_back() {
        for time in [(-1, 1), (-1, 999_999_999), (-2, 500_000_000), (0, 1), (-7, 0)] {
            let item = Item { name: b"f".to_vec(), flag: b'6', mtime: time, ..Item::default() };
            let mut tar = Vec::new();
            let mut writer = Writer::new(&mut tar);
            writer.append(&item).unwrap();
            writer.finish().unwrap();
            let mut reader = Reader::new(Source::new(&tar[..], u64::MAX));
            assert_eq!(reader.next().unwrap().unwrap().mtime, time);
        }
    }
}
