//! `<spool>/<number>`: archives and layers on their way, removed when let go and swept on open.

use std::fs::{self, File};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use sha2::{Digest as _, Sha256};
use types::Digest;

use crate::Error;

pub(crate) struct Spool {
    directory: PathBuf,
    next: AtomicU64,
}

fn at(verb: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::Spool { verb, path, source }
}

impl Spool {
    /// Opens the directory, and removes what a killed process left in it.
    pub(crate) fn open(directory: PathBuf) -> Result<Self, Error> {
        match fs::remove_dir_all(&directory) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(at("sweep", &directory)(error));
            }
            _ => {}
        }
        fs::create_dir_all(&directory).map_err(at("create", &directory))?;
        Ok(Self { directory, next: AtomicU64::new(0) })
    }

    /// Starts a new file.
    pub(crate) fn begin(&self) -> Result<Spooled, Error> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let path = self.directory.join(number.to_string());
        let file = File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&path)
            .map_err(at("create", &path))?;
        Ok(Spooled { path, file, hash: Sha256::new(), length: 0 })
    }
}

/// One file of the spool, hashed as it is written.
pub(crate) struct Spooled {
    path: PathBuf,
    file: File,
    hash: Sha256,
    length: u64,
}

impl Spooled {
    pub(crate) fn digest(&self) -> Digest {
        Digest::from_sha256(&self.hash.clone().finalize().into())
    }

    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// Returns the file from its beginning.
    pub(crate) fn reader(&mut self) -> Result<&mut File, Error> {
        self.file.seek(SeekFrom::Start(0)).map_err(at("read", &self.path))?;
        Ok(&mut self.file)
    }

    pub(crate) fn failed(&self, verb: &'static str) -> impl FnOnce(io::Error) -> Error {
        at(verb, &self.path)
    }
}

impl Write for Spooled {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.file.write(bytes)?;
        self.hash.update(&bytes[..count]);
        self.length += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for Spooled {
    fn drop(&mut self) {
        // What cannot be removed now is swept at the next open.
        let _ = fs::remove_file(&self.path);
    }
}

/// Hashes and counts what passes through to `inner`.
pub(crate) struct Hashed<W> {
    pub(crate) inner: W,
    hash: Sha256,
}

impl<W> Hashed<W> {
    pub(crate) fn new(inner: W) -> Self {
        Self { inner, hash: Sha256::new() }
    }

    pub(crate) fn finish(self) -> (W, Digest) {
        (self.inner, Digest::from_sha256(&self.hash.finalize().into()))
    }
}

impl<W: Write> Write for Hashed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.inner.write(bytes)?;
        self.hash.update(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
