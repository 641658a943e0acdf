//! Tars made by hand, byte by byte where the tar crate would not write them.

use std::path::{Path, PathBuf};

/// One 512-byte header.
#[derive(Clone)]
pub(crate) struct Head(pub(crate) [u8; 512]);

impl Head {
    pub(crate) fn new(flag: u8, name: &str) -> Self {
        let mut block = [0; 512];
        let count = name.len().min(100);
        block[..count].copy_from_slice(&name.as_bytes()[..count]);
        block[100..107].copy_from_slice(b"0000644");
        block[108..115].copy_from_slice(b"0000000");
        block[116..123].copy_from_slice(b"0000000");
        block[124..135].copy_from_slice(b"00000000000");
        block[136..147].copy_from_slice(b"00000000007");
        block[156] = flag;
        block[257..265].copy_from_slice(b"ustar\x0000");
        Self(block)
    }

    pub(crate) fn mode(self, mode: u32) -> Self {
        self.field(100, format!("{mode:07o}").as_bytes())
    }

    pub(crate) fn size(self, size: u64) -> Self {
        self.field(124, format!("{size:011o}").as_bytes())
    }

    pub(crate) fn link(self, link: &str) -> Self {
        self.field(157, link.as_bytes())
    }

    pub(crate) fn device(self, major: u32, minor: u32) -> Self {
        let minor = format!("{minor:07o}");
        self.field(329, format!("{major:07o}").as_bytes()).field(337, minor.as_bytes())
    }

    pub(crate) fn field(mut self, at: usize, bytes: &[u8]) -> Self {
        self.0[at..at + bytes.len()].copy_from_slice(bytes);
        self
    }

    /// Returns the block with its checksum.
    pub(crate) fn block(mut self) -> Vec<u8> {
        self.0[148..156].fill(b' ');
        let sum: u32 = self.0.iter().map(|b| u32::from(*b)).sum();
        self.0[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        self.0.to_vec()
    }

    /// Returns the block followed by `data`, whose length it gets.
    pub(crate) fn with(self, data: &[u8]) -> Vec<u8> {
        let mut bytes = self.size(data.len() as u64).block();
        bytes.extend_from_slice(data);
        bytes.resize(bytes.len().next_multiple_of(512), 0);
        bytes
    }
}

pub(crate) fn file(name: &str, data: &[u8]) -> Vec<u8> {
    Head::new(b'0', name).with(data)
}

pub(crate) fn directory(name: &str) -> Vec<u8> {
    Head::new(b'5', name).mode(0o755).block()
}

pub(crate) fn symlink(name: &str, target: &str) -> Vec<u8> {
    Head::new(b'2', name).link(target).block()
}

pub(crate) fn hard_link(name: &str, target: &str) -> Vec<u8> {
    Head::new(b'1', name).link(target).block()
}

/// A pax header with these records.
pub(crate) fn pax(records: &[(&str, &[u8])]) -> Vec<u8> {
    let mut data = Vec::new();
    for (key, value) in records {
        let rest = key.len() + value.len() + 3;
        let mut length = rest + 1;
        while rest + length.to_string().len() != length {
            length = rest + length.to_string().len();
        }
        data.extend_from_slice(format!("{length} {key}=").as_bytes());
        data.extend_from_slice(value);
        data.push(b'\n');
    }
    Head::new(b'x', "PaxHeaders.0").with(&data)
}

/// Joins entries and ends the tar.
pub(crate) fn tar(entries: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = entries.concat();
    bytes.resize(bytes.len() + 1024, 0);
    bytes
}

/// A directory to unpack into, with a sentinel beside it that no layer may touch.
pub(crate) struct Place {
    top: tempfile::TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        let top = tempfile::tempdir().unwrap();
        std::fs::create_dir(top.path().join("target")).unwrap();
        std::fs::create_dir(top.path().join("outside")).unwrap();
        std::fs::write(top.path().join("outside/sentinel"), b"untouched").unwrap();
        Self { top }
    }

    pub(crate) fn target(&self) -> PathBuf {
        self.top.path().join("target")
    }

    pub(crate) fn outside(&self) -> PathBuf {
        self.top.path().join("outside")
    }

    pub(crate) fn at(&self, path: impl AsRef<Path>) -> PathBuf {
        self.target().join(path)
    }

    pub(crate) fn apply(&self, tar: &[u8]) -> Result<layer::Applied, layer::Error> {
        let options = layer::ApplyOptions { name: "the-layer".to_owned(), ..Default::default() };
        layer::apply(tar, &self.target(), &options)
    }

    /// Checks that everything beside the target is as it was.
    pub(crate) fn check(&self) {
        let mut names: Vec<_> = std::fs::read_dir(self.top.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        names.sort();
        assert_eq!(names, ["outside", "target"]);
        let outside: Vec<_> = std::fs::read_dir(self.outside()).unwrap().collect();
        assert_eq!(outside.len(), 1);
        assert_eq!(std::fs::read(self.outside().join("sentinel")).unwrap(), b"untouched");
        let meta = std::fs::metadata(self.outside().join("sentinel")).unwrap();
        assert_eq!(std::os::unix::fs::MetadataExt::nlink(&meta), 1);
    }
}

/// Prints an error with its sources.
pub(crate) fn chain(error: &layer::Error) -> String {
    types::Chain(error).to_string()
}
