use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;

use sha2::{Digest as _, Sha256};
use sys::file;
use types::Digest;

use crate::{Error, Store};

/// A blob on its way into the store; dropping it keeps the bytes for a later resume.
#[derive(Debug)]
pub struct Ingest {
    store: Store,
    digest: Digest,
    expected_len: Option<u64>,
    path: PathBuf,
    file: File,
    hash: Sha256,
    offset: u64,
}

impl Ingest {
    /// The caller has entered `digest` among the active ingests; it leaves them when the ingest is dropped or does not begin.
    pub(crate) fn begin(
        store: Store,
        digest: Digest,
        expected_len: Option<u64>,
    ) -> Result<Self, Error> {
        match open(&store, &digest) {
            Ok((path, file, hash, offset)) => {
                let mut ingest = Self { store, digest, expected_len, path, file, hash, offset };
                if expected_len.is_some_and(|expected| ingest.offset > expected) {
                    ingest.restart()?;
                }
                Ok(ingest)
            }
            Err(error) => {
                store.active().remove(&digest);
                Err(error)
            }
        }
    }

    /// Returns how many bytes are here already: where a resumed download continues.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Appends `bytes`.
    ///
    /// # Errors
    /// `Invalid` when the blob becomes longer than promised; `Internal`, naming the path, when the disk refuses.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let grown = self.offset + bytes.len() as u64;
        if let Some(expected) = self.expected_len.filter(|expected| grown > *expected) {
            return Err(self.wrong_length(expected, grown));
        }
        if let Err(error) = file::write_all(&mut self.file, bytes) {
            // What reached the disk is unknown now; only whole writes may stay.
            let _ = file::truncate(&self.file, self.offset);
            return Err(Error::at("write", &self.path)(error));
        }
        self.hash.update(bytes);
        self.offset = grown;
        Ok(())
    }

    /// Forgets what came so far.
    ///
    /// # Errors
    /// `Internal` when the file cannot be emptied.
    pub fn restart(&mut self) -> Result<(), Error> {
        file::truncate(&self.file, 0).map_err(Error::at("empty", &self.path))?;
        self.hash = Sha256::new();
        self.offset = 0;
        Ok(())
    }

    /// Verifies length and digest and makes the blob part of the store, durably.
    ///
    /// # Errors
    /// `Invalid` on a wrong length (a short blob stays and may be resumed) or a wrong digest (what came is forgotten); `Internal` when the disk refuses.
    pub fn commit(mut self) -> Result<(), Error> {
        if let Some(expected) = self.expected_len.filter(|expected| *expected != self.offset) {
            return Err(self.wrong_length(expected, self.offset));
        }
        let actual = Digest::from_sha256(&std::mem::take(&mut self.hash).finalize().into());
        if actual != self.digest {
            self.discard()?;
            return Err(Error::WrongDigest { expected: self.digest.clone(), actual });
        }
        file::sync(&self.file).map_err(Error::at("sync", &self.path))?;
        let blob = self.store.path(&self.digest);
        file::rename(&self.path, &blob).map_err(Error::at("rename", &self.path))?;
        let blobs = &self.store.shared.blobs;
        file::sync_directory(blobs).map_err(Error::at("sync", blobs))?;
        self.discard()
    }

    fn discard(&self) -> Result<(), Error> {
        let directory = self.store.ingest_path(&self.digest);
        file::remove_tree(&directory).map_err(Error::at("remove", &directory))
    }

    fn wrong_length(&self, expected: u64, actual: u64) -> Error {
        Error::WrongLength { digest: self.digest.clone(), expected, actual }
    }
}

impl Drop for Ingest {
    fn drop(&mut self) {
        self.store.active().remove(&self.digest);
    }
}

impl io::Write for Ingest {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ingest::write(self, bytes).map_err(io::Error::other)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn open(store: &Store, digest: &Digest) -> Result<(PathBuf, File, Sha256, u64), Error> {
    let directory = store.ingest_path(digest);
    file::create_directories(&directory).map_err(Error::at("create", &directory))?;
    let path = directory.join("data");
    let mut file = File::options()
        .read(true)
        .append(true)
        .create(true)
        .open(&path)
        .map_err(Error::at("open", &path))?;
    let (hash, offset) = rehash(&mut file).map_err(Error::at("read", &path))?;
    Ok((path, file, hash, offset))
}

fn rehash(file: &mut File) -> io::Result<(Sha256, u64)> {
    let mut hash = Sha256::new();
    let mut offset = 0;
    let mut buffer = vec![0; 128 * 1024];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok((hash, offset)),
            Ok(count) => {
                hash.update(&buffer[..count]);
                offset += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
