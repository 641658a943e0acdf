//! The record format (drawn in the crate's documentation), its parser and the reading of a whole table.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sys::file;

use crate::{Damaged, Error};

const FORMAT: u32 = 1;
const MAX_NAME: usize = 200;

#[derive(Serialize, Deserialize)]
struct Header {
    format: u32,
    key: String,
    /// Absent in a record edited by hand; then it is not compared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sum: Option<String>,
}

/// Writes the record of `key` as bytes.
pub(crate) fn encode<T: Serialize>(key: &str, value: &T) -> Result<Vec<u8>, serde_json::Error> {
    let value = serde_json::to_vec(value)?;
    let header = Header { format: FORMAT, key: key.to_owned(), sum: Some(sum(&value)) };
    let mut bytes = serde_json::to_vec(&header)?;
    bytes.push(b'\n');
    bytes.extend_from_slice(&value);
    bytes.push(b'\n');
    Ok(bytes)
}

/// Reads a record back: its key and its value.
fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<(String, T), String> {
    let end = bytes.iter().position(|b| *b == b'\n').ok_or("torn: no end of its first line")?;
    let header: Header =
        serde_json::from_slice(&bytes[..end]).map_err(|error| format!("header: {error}"))?;
    if header.format != FORMAT {
        return Err(format!("format {} is not known", header.format));
    }
    let value = bytes[end + 1..].strip_suffix(b"\n").ok_or("torn: no end of its value")?;
    if header.sum.is_some_and(|expected| expected != sum(value)) {
        return Err("its checksum does not match".to_owned());
    }
    let value = serde_json::from_slice(value).map_err(|error| format!("value: {error}"))?;
    Ok((header.key, value))
}

/// FNV-1a, 64 bits: finds torn and flipped bytes, no protection against a forger.
fn sum(bytes: &[u8]) -> String {
    let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{hash:016x}")
}

/// Returns the file name of `key`: percent-encoded, and shortened by a hash where it would be too long for a directory entry.
pub(crate) fn file_name(key: &str) -> String {
    if key.is_empty() {
        return "%.json".to_owned();
    }
    let mut name = String::with_capacity(key.len() + 5);
    for (at, byte) in key.bytes().enumerate() {
        let plain = byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-') || byte == b'.';
        if plain && !(at == 0 && byte == b'.') {
            name.push(char::from(byte));
        } else {
            name.push_str(&format!("%{byte:02X}"));
        }
    }
    if name.len() > MAX_NAME {
        name.truncate(MAX_NAME);
        name.push('~');
        name.push_str(&sum(key.as_bytes()));
    }
    name.push_str(".json");
    name
}

/// Reads every record of a table; sets the bad ones aside and sweeps temporaries of a killed writer.
pub(crate) fn load<T: DeserializeOwned>(
    directory: &Path,
    damaged: &mut Vec<Damaged>,
) -> Result<BTreeMap<String, T>, Error> {
    let mut records = BTreeMap::new();
    for name in file::names(directory).map_err(Error::at("list", directory))? {
        let path = directory.join(&name);
        let text = name.to_string_lossy();
        if text.starts_with(file::TEMPORARY_PREFIX) {
            // On a read-only file system it stays, harmlessly.
            let _ = file::remove_file(&path);
        } else if path.extension() == Some(OsStr::new("json")) {
            match read(&path, &text) {
                Ok((key, value)) => drop(records.insert(key, value)),
                Err(why) => damaged.push(set_aside(path, why)),
            }
        }
    }
    Ok(records)
}

fn read<T: DeserializeOwned>(path: &Path, name: &str) -> Result<(String, T), String> {
    let bytes = std::fs::read(path).map_err(|error| error.to_string())?;
    let (key, value) = decode(&bytes)?;
    if file_name(&key) != name {
        return Err(format!("it is the record of `{key}` under another name"));
    }
    Ok((key, value))
}

fn set_aside(path: PathBuf, why: String) -> Damaged {
    let mut aside = path.clone().into_os_string();
    aside.push(".damaged");
    let aside = PathBuf::from(aside);
    match file::rename(&path, &aside) {
        Ok(()) => Damaged { path: aside, why },
        Err(_) => Damaged { path, why },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_reads_back() {
        let bytes = encode("a/b:c", &vec![1, 2, 3]).unwrap();
        assert_eq!(decode::<Vec<u32>>(&bytes), Ok(("a/b:c".to_owned(), vec![1, 2, 3])));
    }

    #[test]
    fn every_truncation_and_every_flipped_byte_of_the_value_is_found() {
        let bytes = encode("key", &"some text").unwrap();
        for length in 0..bytes.len() {
            assert!(decode::<String>(&bytes[..length]).is_err(), "length {length}");
        }
        let value = bytes.iter().position(|b| *b == b'\n').unwrap() + 1;
        for at in value..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1;
            assert!(decode::<String>(&flipped).is_err(), "byte {at}");
        }
    }

    #[test]
    fn file_names_are_single_safe_components() {
        assert_eq!(file_name("docker.io/library/a:b"), "docker.io%2Flibrary%2Fa%3Ab.json");
        assert_eq!(file_name("../x"), "%2E.%2Fx.json");
        let (a, b) = (file_name(&"a".repeat(5000)), file_name(&"a".repeat(5001)));
        assert!(a.len() < 255 && a != b, "{a}");
    }
}
