//! Blobs by digest: the sole writer of `<data-root>/content`.
//!
//! ```text
//! content/blobs/sha256/<hex>     a whole blob; its digest was verified before it got this name
//! content/ingest/<hex>/data      a blob on its way, appended to; survives a restart and is resumed
//! ```
//!
//! A blob is *ingested* (bytes appended to `data`), then *committed*: length and digest verified, fdatasync, rename into `blobs`, fsync of
//! the directory. A crash can tear only `data`, which is hashed again when the ingest is resumed. Blobs never change.
//! Used by the image room alone; blocking calls, cheap to clone, safe to share between threads. It never parses a blob.
#![forbid(unsafe_code)]

mod error;
mod ingest;

use std::collections::HashSet;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use sys::file::{self, Durability};
use types::Digest;

pub use error::Error;
pub use ingest::Ingest;

/// An ingest untouched for this long is not resumed any more.
pub const INGEST_LIFETIME: Duration = Duration::from_secs(7 * 24 * 3600);

/// The blob store of one data root.
#[derive(Clone, Debug)]
pub struct Store {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    blobs: PathBuf,
    ingests: PathBuf,
    active: Mutex<HashSet<Digest>>,
}

impl Store {
    /// Opens the store below `root`, creating what is missing and sweeping what a crash left.
    ///
    /// # Errors
    /// `Internal` when a directory cannot be created, read or swept.
    pub fn open(root: impl AsRef<Path>) -> Result<Self, Error> {
        let root = root.as_ref();
        let shared = Shared {
            blobs: root.join("blobs/sha256"),
            ingests: root.join("ingest"),
            active: Mutex::default(),
        };
        for directory in [&shared.blobs, &shared.ingests] {
            file::create_directories(directory).map_err(Error::at("create", directory))?;
        }
        let store = Self { shared: Arc::new(shared) };
        store.sweep_temporaries()?;
        store.sweep()?;
        Ok(store)
    }

    /// Returns where the blob is, or would be.
    #[must_use]
    pub fn path(&self, digest: &Digest) -> PathBuf {
        self.shared.blobs.join(digest.hex())
    }

    /// Tells whether the whole blob is here.
    #[must_use]
    pub fn has(&self, digest: &Digest) -> bool {
        self.size(digest).is_some()
    }

    /// Returns the blob's length in bytes, or nothing when it is not here.
    #[must_use]
    pub fn size(&self, digest: &Digest) -> Option<u64> {
        std::fs::symlink_metadata(self.path(digest)).ok().map(|meta| meta.len())
    }

    /// Opens the blob for reading.
    ///
    /// # Errors
    /// `NotFound`; `Internal` when open(2) fails otherwise.
    pub fn open_blob(&self, digest: &Digest) -> Result<File, Error> {
        let path = self.path(digest);
        File::open(&path).map_err(|source| match source.kind() {
            std::io::ErrorKind::NotFound => Error::Missing { digest: digest.clone() },
            _ => Error::at("open", &path)(source),
        })
    }

    /// Reads a whole small blob (a manifest, a config) and verifies it again.
    ///
    /// # Errors
    /// `NotFound`; `Invalid` when it is longer than `max_bytes` or no longer matches its digest; `Internal` when reading fails.
    pub fn read(&self, digest: &Digest, max_bytes: u64) -> Result<Vec<u8>, Error> {
        let blob = self.open_blob(digest)?;
        let mut bytes = Vec::new();
        blob.take(max_bytes.saturating_add(1))
            .read_to_end(&mut bytes)
            .map_err(Error::at("read", &self.path(digest)))?;
        if bytes.len() as u64 > max_bytes {
            return Err(Error::TooLong { digest: digest.clone(), max_bytes });
        }
        let actual = Digest::of(&bytes);
        if actual != *digest {
            return Err(Error::WrongDigest { expected: digest.clone(), actual });
        }
        Ok(bytes)
    }

    /// Stores `bytes` under their digest, durably.
    ///
    /// # Errors
    /// `Internal`, naming the path, when the disk refuses.
    pub fn put(&self, bytes: &[u8]) -> Result<Digest, Error> {
        let digest = Digest::of(bytes);
        if self.size(&digest) != Some(bytes.len() as u64) {
            let path = self.path(&digest);
            file::write_atomic(&path, bytes, Durability::Power)
                .map_err(Error::at("write", &path))?;
        }
        Ok(digest)
    }

    /// Begins, or resumes, the ingest of the blob `digest`.
    ///
    /// # Errors
    /// `Conflict` while another ingest of the same blob is open; `Internal` when the disk refuses.
    pub fn ingest(&self, digest: &Digest, expected_len: Option<u64>) -> Result<Ingest, Error> {
        if !self.active().insert(digest.clone()) {
            return Err(Error::Busy { digest: digest.clone() });
        }
        Ingest::begin(self.clone(), digest.clone(), expected_len)
    }

    /// Removes a blob and what was ingested of it; one that is not here is no error.
    ///
    /// # Errors
    /// `Internal` when unlink(2) fails.
    pub fn remove(&self, digest: &Digest) -> Result<(), Error> {
        let path = self.path(digest);
        file::remove_file(&path).map_err(Error::at("remove", &path))?;
        if self.active().contains(digest) {
            return Ok(());
        }
        let ingest = self.ingest_path(digest);
        file::remove_tree(&ingest).map_err(Error::at("remove", &ingest))
    }

    /// Lists the blobs that are here, by digest.
    ///
    /// # Errors
    /// `Internal` when the directory cannot be read.
    pub fn list(&self) -> Result<Vec<Digest>, Error> {
        let names =
            file::names(&self.shared.blobs).map_err(Error::at("list", &self.shared.blobs))?;
        Ok(names.iter().filter_map(|name| digest_of(name)).collect())
    }

    /// Removes ingests that nobody has touched for [`INGEST_LIFETIME`]; returns how many.
    ///
    /// # Errors
    /// `Internal` when the directory cannot be read or an ingest not removed.
    pub fn sweep(&self) -> Result<usize, Error> {
        self.sweep_older_than(INGEST_LIFETIME)
    }

    /// Removes ingests that nobody has touched for `lifetime`; returns how many.
    ///
    /// # Errors
    /// As [`Store::sweep`].
    pub fn sweep_older_than(&self, lifetime: Duration) -> Result<usize, Error> {
        let ingests = &self.shared.ingests;
        let mut swept = 0;
        for name in file::names(ingests).map_err(Error::at("list", ingests))? {
            let path = ingests.join(&name);
            let digest = digest_of(&name);
            let open = digest.is_some_and(|digest| self.active().contains(&digest));
            if !open && is_older(&path, lifetime) {
                file::remove_tree(&path).map_err(Error::at("remove", &path))?;
                swept += 1;
            }
        }
        Ok(swept)
    }

    fn sweep_temporaries(&self) -> Result<(), Error> {
        let blobs = &self.shared.blobs;
        for name in file::names(blobs).map_err(Error::at("list", blobs))? {
            if digest_of(&name).is_none() {
                let path = blobs.join(name);
                file::remove_tree(&path).map_err(Error::at("remove", &path))?;
            }
        }
        Ok(())
    }

    fn ingest_path(&self, digest: &Digest) -> PathBuf {
        self.shared.ingests.join(digest.hex())
    }

    fn active(&self) -> std::sync::MutexGuard<'_, HashSet<Digest>> {
        self.shared.active.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn digest_of(name: &Path) -> Option<Digest> {
    format!("sha256:{}", name.to_str()?).parse().ok()
}

/// The age of an ingest is that of its data; one without data, or without a name, was torn by a crash and is always old.
fn is_older(path: &Path, lifetime: Duration) -> bool {
    let Ok(meta) = std::fs::symlink_metadata(path.join("data")) else { return true };
    let touched = meta.modified().unwrap_or(SystemTime::UNIX_EPOCH);
    digest_of(Path::new(path.file_name().unwrap_or_default())).is_none()
        || SystemTime::now().duration_since(touched).is_ok_and(|age| age > lifetime)
}
