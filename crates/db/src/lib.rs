//! Names, containers, networks and volumes: the sole writer of `<data-root>/db`.
//!
//! ```text
//! db/containers/<key>.json   one record per file; <key> is the percent-encoded key
//! db/images/…  db/networks/…  db/volumes/…
//!
//! a record:  {"format":1,"key":"…","sum":"<fnv-1a of the value's bytes>"}\n
//!            <the value as JSON>\n
//! ```
//!
//! A record is replaced by a temporary file and a rename, so a crash leaves the old one or the new one. `put` survives a killed daemon,
//! `put_durable` also a power cut. At [`Db::open`] every record is read; one that is torn or does not parse is renamed to
//! `<file>.damaged`, reported, and the rest goes on. Readers never touch the disk: each table has its index in memory.
//! The record types belong to the users of a table; this room knows keys and bytes only. Blocking calls, cheap to clone.
#![forbid(unsafe_code)]

mod error;
mod record;
mod table;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;
use sys::file;

pub use error::{Damaged, Error};
pub use table::Table;

const TABLES: [&str; 4] = ["containers", "images", "networks", "volumes"];

/// The records of one data root.
#[derive(Clone, Debug)]
pub struct Db {
    root: Arc<PathBuf>,
}

impl Db {
    /// Opens the tables below `root`; names the records that were set aside because they are torn or no JSON.
    ///
    /// # Errors
    /// `Internal`, naming the path, when a directory cannot be created or read (a read-only or full file system).
    pub fn open(root: impl AsRef<Path>) -> Result<(Self, Vec<Damaged>), Error> {
        let root = root.as_ref();
        let mut damaged = Vec::new();
        for table in TABLES {
            let directory = root.join(table);
            file::create_directories(&directory).map_err(Error::at("create", &directory))?;
            record::load::<serde_json::Value>(&directory, &mut damaged)?;
        }
        Ok((Self { root: Arc::new(root.to_owned()) }, damaged))
    }

    /// Opens the table of containers, keyed by container id.
    ///
    /// # Errors
    /// As [`Db::table`].
    pub fn containers<T>(&self) -> Result<(Table<T>, Vec<Damaged>), Error>
    where
        T: Serialize + DeserializeOwned,
    {
        self.table("containers")
    }

    /// Opens the table of image names, keyed by reference.
    ///
    /// # Errors
    /// As [`Db::table`].
    pub fn images<T>(&self) -> Result<(Table<T>, Vec<Damaged>), Error>
    where
        T: Serialize + DeserializeOwned,
    {
        self.table("images")
    }

    /// Opens the table of networks.
    ///
    /// # Errors
    /// As [`Db::table`].
    pub fn networks<T>(&self) -> Result<(Table<T>, Vec<Damaged>), Error>
    where
        T: Serialize + DeserializeOwned,
    {
        self.table("networks")
    }

    /// Opens the table of volumes.
    ///
    /// # Errors
    /// As [`Db::table`].
    pub fn volumes<T>(&self) -> Result<(Table<T>, Vec<Damaged>), Error>
    where
        T: Serialize + DeserializeOwned,
    {
        self.table("volumes")
    }

    /// Opens any table by its directory name; records that do not fit `T` are set aside and named. Open each table once and clone the handle.
    ///
    /// # Errors
    /// `Internal`, naming the path, when the directory cannot be created or read.
    pub fn table<T>(&self, name: &str) -> Result<(Table<T>, Vec<Damaged>), Error>
    where
        T: Serialize + DeserializeOwned,
    {
        let directory = self.root.join(name);
        file::create_directories(&directory).map_err(Error::at("create", &directory))?;
        let mut damaged = Vec::new();
        let records: BTreeMap<String, T> = record::load(&directory, &mut damaged)?;
        Ok((Table::new(directory, records), damaged))
    }
}
