//! The files of a log, which the shim renames while they are read: `LOG` is the newest, `LOG.1` the one before.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// A file, known by what a rename does not change.
#[derive(Debug)]
pub(super) struct LogFile {
    pub(super) file: File,
    inode: u64,
}

impl LogFile {
    fn open(path: &Path) -> io::Result<Option<Self>> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let inode = file.metadata()?.ino();
        Ok(Some(Self { file, inode }))
    }

    fn is_at(&self, path: &Path) -> bool {
        std::fs::metadata(path).is_ok_and(|now| now.ino() == self.inode)
    }
}

/// The names of a log's files.
#[derive(Debug)]
pub(super) struct Files {
    base: PathBuf,
}

impl Files {
    pub(super) fn new(base: PathBuf) -> Self {
        Self { base }
    }

    pub(super) fn base(&self) -> &Path {
        &self.base
    }

    fn numbered(&self, number: u32) -> PathBuf {
        if number == 0 {
            return self.base.clone();
        }
        let mut name = self.base.clone().into_os_string();
        name.push(format!(".{number}"));
        PathBuf::from(name)
    }

    /// Opens what is there, the newest first. A rename in between moves files towards higher numbers, so walking upwards misses none;
    /// one that is met twice is left out. A name may be missing for the moment of a rename, so one gap is passed over.
    pub(super) fn open_all(&self) -> io::Result<Vec<LogFile>> {
        let mut all: Vec<LogFile> = Vec::new();
        let mut missing = 0;
        for number in 0.. {
            match LogFile::open(&self.numbered(number))? {
                Some(file) if all.iter().all(|known| known.inode != file.inode) => all.push(file),
                Some(_) => {}
                None => missing += 1,
            }
            if missing > 1 {
                break;
            }
        }
        Ok(all)
    }

    /// Whether `current` is still the one that is written to, or the next is not there yet.
    pub(super) fn is_newest(&self, current: &LogFile) -> bool {
        current.is_at(&self.base) || !self.base.exists()
    }

    /// Opens the file that was begun after `current`; if `current` itself is gone, the oldest that is left.
    pub(super) fn after(&self, current: &LogFile) -> io::Result<Option<LogFile>> {
        let mut all = self.open_all()?;
        let newer = all.iter().position(|file| file.inode == current.inode).unwrap_or(all.len());
        Ok(newer.checked_sub(1).map(|at| all.swap_remove(at)))
    }

    /// Opens the newest file, if there is one.
    pub(super) fn newest(&self) -> io::Result<Option<LogFile>> {
        LogFile::open(&self.base)
    }
}
