use std::collections::HashMap;
use std::ffi::OsStr;
use std::io::Write;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags, Stat};

use crate::Error;
use crate::walk::{Found, walk};
use crate::whiteout;
use crate::writer::{Item, Packed, Writer};

/// Writes the overlay upper directory `upper` as a layer tar: overlayfs' whiteouts and opaque marks become `.wh.` entries.
///
/// The tree may be in use. Sockets are left out, since tar has none.
///
/// # Errors
/// `Invalid` when a file's own name is that of a whiteout; `Internal` when reading the tree or writing `out` fails.
pub fn pack(upper: &Path, out: impl Write) -> Result<Packed, Error> {
    let root = open(upper)?;
    let mut packer = Packer::new(out, Vec::new());
    walk(root.as_fd(), |found| packer.layer_entry(found))?;
    packer.finish()
}

/// Writes the whole tree below `root` as a tar (`docker export`).
///
/// # Errors
/// `Internal` when reading the tree or writing `out` fails.
pub fn pack_tree(root: &Path, out: impl Write) -> Result<Packed, Error> {
    let root = open(root)?;
    let mut packer = Packer::new(out, Vec::new());
    walk(root.as_fd(), |found| packer.entry(found))?;
    packer.finish()
}

fn open(path: &Path) -> Result<OwnedFd, Error> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty()).map_err(Error::disk("open", path))
}

/// Writes what a walk finds.
pub(crate) struct Packer<W> {
    writer: Writer<W>,
    prefix: Vec<u8>,
    /// The name under which a file with several names was written first.
    first_names: HashMap<(u64, u64), Vec<u8>>,
}

impl<W: Write> Packer<W> {
    /// Puts `prefix` in front of every name.
    pub(crate) fn new(out: W, prefix: Vec<u8>) -> Self {
        Self { writer: Writer::new(out), prefix, first_names: HashMap::new() }
    }

    pub(crate) fn finish(self) -> Result<Packed, Error> {
        self.writer.finish().map_err(Error::output)
    }

    fn layer_entry(&mut self, found: &Found<'_>) -> Result<bool, Error> {
        if found.name.as_bytes().starts_with(whiteout::PREFIX) {
            return Err(Error::Reserved { path: found.path.to_owned() });
        }
        if found.kind() == FileType::CharacterDevice && found.stat.st_rdev == 0 {
            let name = [whiteout::PREFIX, found.name.as_bytes()].concat();
            self.mark(&found.path.with_file_name(OsStr::from_bytes(&name)))?;
            return Ok(false);
        }
        let goes_on = self.entry(found)?;
        let opaque = found.kind() == FileType::Directory
            && found.xattr(whiteout::OPAQUE_XATTR).is_some_and(|value| value == b"y");
        if opaque {
            self.mark(&found.path.join(OsStr::from_bytes(whiteout::OPAQUE_NAME)))?;
        }
        Ok(goes_on)
    }

    /// Writes an empty file.
    fn mark(&mut self, path: &Path) -> Result<(), Error> {
        let name = path.as_os_str().as_bytes().to_vec();
        let item = Item { name, flag: b'0', mode: 0o600, ..Item::default() };
        self.writer.append(&item).map_err(Error::output)
    }

    /// Writes one object; returns whether what is below it belongs to the tar.
    pub(crate) fn entry(&mut self, found: &Found<'_>) -> Result<bool, Error> {
        let mut item = self.item(found);
        match found.kind() {
            FileType::Directory => return self.directory(item).map(|()| true),
            FileType::RegularFile => return self.file(found, item).map(|()| true),
            FileType::Symlink => {
                item.flag = b'2';
                match found.read_link()? {
                    Some(target) => item.link = target,
                    None => return Ok(false),
                }
            }
            FileType::CharacterDevice => item.flag = b'3',
            FileType::BlockDevice => item.flag = b'4',
            FileType::Fifo => item.flag = b'6',
            _ => return Ok(false),
        }
        if let Some(first) = self.first_name(&found.stat, &item.name) {
            (item.flag, item.link) = (b'1', first);
        }
        self.writer.append(&item).map_err(Error::output)?;
        Ok(true)
    }

    /// Writes a directory that is already described.
    pub(crate) fn directory(&mut self, mut item: Item) -> Result<(), Error> {
        item.flag = b'5';
        item.name.push(b'/');
        self.writer.append(&item).map_err(Error::output)
    }

    fn file(&mut self, found: &Found<'_>, mut item: Item) -> Result<(), Error> {
        let Some((file, stat)) = found.open_file()? else { return Ok(()) };
        if let Some(first) = self.first_name(&stat, &item.name) {
            (item.flag, item.link) = (b'1', first);
            return self.writer.append(&item).map_err(Error::output);
        }
        item.flag = b'0';
        item.size = u64::try_from(stat.st_size).unwrap_or(0);
        self.writer.append_data(&item, file).map_err(Error::output)
    }

    fn first_name(&mut self, stat: &Stat, name: &[u8]) -> Option<Vec<u8>> {
        if stat.st_nlink < 2 {
            return None;
        }
        let key = (stat.st_dev, stat.st_ino);
        if let Some(first) = self.first_names.get(&key) {
            return Some(first.clone());
        }
        self.first_names.insert(key, name.to_vec());
        None
    }

    fn item(&self, found: &Found<'_>) -> Item {
        let name = [&self.prefix[..], found.path.as_os_str().as_bytes()].concat();
        let xattrs = found.xattrs().into_iter().filter(|(name, _)| belongs(name)).collect();
        Item { xattrs, ..item(name, &found.stat) }
    }
}

/// Describes an object by its stat.
pub(crate) fn item(name: Vec<u8>, stat: &Stat) -> Item {
    Item {
        name,
        mode: stat.st_mode & 0o7777,
        uid: stat.st_uid,
        gid: stat.st_gid,
        mtime: (stat.st_mtime, u32::try_from(stat.st_mtime_nsec).unwrap_or(0)),
        device: (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev)),
        ..Item::default()
    }
}

/// overlayfs' notes belong to this mount, labels to this host; the rest travels.
fn belongs(xattr: &[u8]) -> bool {
    !whiteout::is_overlay_xattr(xattr) && xattr != b"security.selinux"
}
