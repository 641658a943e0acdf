//! Records of the networks: `<data>/<id>.json`, one document each, written by rename.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::model::{NetworkId, NetworkInfo};

/// The directory of the records.
#[derive(Clone, Debug)]
pub(crate) struct Records(PathBuf);

fn failed(step: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::File { step, path, source }
}

impl Records {
    /// Opens the directory and reads every record. One that cannot be read is set aside as `*.damaged` and named.
    pub(crate) fn open(dir: PathBuf) -> Result<(Self, Vec<NetworkInfo>, Vec<Error>), Error> {
        fs::create_dir_all(&dir).map_err(failed("create", &dir))?;
        let mut networks = Vec::new();
        let mut damaged = Vec::new();
        for entry in fs::read_dir(&dir).map_err(failed("read", &dir))? {
            let path = entry.map_err(failed("read", &dir))?.path();
            match path.extension().and_then(|extension| extension.to_str()) {
                Some("json") => match read(&path) {
                    Ok(network) => networks.push(network),
                    Err(error) => {
                        let _ = fs::rename(&path, path.with_extension("json.damaged"));
                        damaged.push(error);
                    }
                },
                // What a crash between write and rename left.
                Some("tmp") => drop(fs::remove_file(&path)),
                _ => {}
            }
        }
        Ok((Self(dir), networks, damaged))
    }

    fn path(&self, id: &NetworkId) -> PathBuf {
        self.0.join(format!("{id}.json"))
    }

    /// Writes a record durably.
    pub(crate) fn put(&self, network: &NetworkInfo) -> Result<(), Error> {
        let path = self.path(&network.id);
        let text = serde_json::to_vec_pretty(network)
            .map_err(|source| Error::Record { path: path.clone(), source })?;
        let draft = path.with_extension("tmp");
        let write = || {
            let mut file = File::create(&draft)?;
            file.write_all(&text)?;
            file.sync_data()?;
            fs::rename(&draft, &path)
        };
        write().map_err(failed("write", &path))
    }

    /// Removes a record; one that is gone is no failure.
    pub(crate) fn remove(&self, id: &NetworkId) -> Result<(), Error> {
        let path = self.path(id);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(failed("remove", &path)(error))
            }
            _ => Ok(()),
        }
    }
}

fn read(path: &Path) -> Result<NetworkInfo, Error> {
    let text = fs::read(path).map_err(failed("read", path))?;
    serde_json::from_slice(&text).map_err(|source| Error::Record { path: path.to_owned(), source })
}
