use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use serde::Serialize;
use sys::file::{self, Durability};

use crate::{Error, record};

/// One kind of records; clones share the same index.
#[derive(Debug)]
pub struct Table<T> {
    shared: Arc<Shared<T>>,
}

impl<T> Clone for Table<T> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

#[derive(Debug)]
struct Shared<T> {
    directory: PathBuf,
    /// Held while the disk is written, so that the index and the disk change in the same order.
    writer: Mutex<()>,
    index: RwLock<BTreeMap<String, Arc<T>>>,
}

impl<T> Table<T> {
    pub(crate) fn new(directory: PathBuf, records: BTreeMap<String, T>) -> Self {
        let index = records.into_iter().map(|(key, value)| (key, Arc::new(value))).collect();
        let shared = Shared { directory, writer: Mutex::new(()), index: RwLock::new(index) };
        Self { shared: Arc::new(shared) }
    }

    /// Returns the record of `key`.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<Arc<T>> {
        self.index(|index| index.get(key).cloned())
    }

    /// Tells whether there is a record of `key`.
    #[must_use]
    pub fn contains(&self, key: &str) -> bool {
        self.index(|index| index.contains_key(key))
    }

    /// Returns every record as it is now, ordered by key.
    pub fn iter(&self) -> std::vec::IntoIter<(String, Arc<T>)> {
        let records: Vec<_> =
            self.index(|index| index.iter().map(|(k, v)| (k.clone(), Arc::clone(v))).collect());
        records.into_iter()
    }

    /// Returns how many records there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.index(BTreeMap::len)
    }

    /// Tells whether there is no record.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Removes the record of `key`; tells whether there was one.
    ///
    /// # Errors
    /// `Internal`, naming the path, when unlink(2) fails; the record then stays.
    pub fn remove(&self, key: &str) -> Result<bool, Error> {
        let _writer = self.writer();
        let path = self.path(key);
        file::remove_file(&path).map_err(Error::at("remove", &path))?;
        Ok(self.change(|index| index.remove(key)).is_some())
    }

    fn path(&self, key: &str) -> PathBuf {
        self.shared.directory.join(record::file_name(key))
    }

    fn writer(&self) -> MutexGuard<'_, ()> {
        self.shared.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn index<R>(&self, read: impl FnOnce(&BTreeMap<String, Arc<T>>) -> R) -> R {
        read(&self.shared.index.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn change<R>(&self, change: impl FnOnce(&mut BTreeMap<String, Arc<T>>) -> R) -> R {
        change(&mut self.shared.index.write().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<T: Serialize + Clone> Table<T> {
    /// Writes the record of `key`; a killed daemon does not lose it, a power cut may.
    ///
    /// # Errors
    /// `Internal`, naming the path, when the disk refuses; the old record then stays.
    pub fn put(&self, key: &str, value: &T) -> Result<(), Error> {
        self.write(key, value, Durability::Process)
    }

    /// Writes the record of `key` and returns when it would survive a power cut.
    ///
    /// # Errors
    /// As [`Table::put`].
    pub fn put_durable(&self, key: &str, value: &T) -> Result<(), Error> {
        self.write(key, value, Durability::Power)
    }

    fn write(&self, key: &str, value: &T, durability: Durability) -> Result<(), Error> {
        let bytes = record::encode(key, value)
            .map_err(|source| Error::Encode { key: key.to_owned(), source })?;
        let _writer = self.writer();
        let path = self.path(key);
        file::write_atomic(&path, &bytes, durability).map_err(Error::at("write", &path))?;
        self.change(|index| index.insert(key.to_owned(), Arc::new(value.clone())));
        Ok(())
    }
}
