//! Files of the host, for `cp`: what an archive of them looks like and where one of a container goes.
//!
//! The archive that comes from a container is hostile. Its entries go beneath the destination or nowhere: names with `..` are
//! refused, and so is an entry beneath a symbolic link that is not the destination itself.

use std::fs;
use std::io::{self, Read, Write};
use std::path::{Component, Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::document::Document;
use crate::error::CommandError;

/// Bits of Go's `os.FileMode`.
const MODE_DIR: u64 = 1 << 31;
const MODE_SYMLINK: u64 = 1 << 27;

/// What the engine says about a path in a container.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Stat {
    name: String,
    mode: u64,
    link: String,
}

impl Stat {
    /// Reads the header `X-Docker-Container-Path-Stat`.
    pub(crate) fn from_header(headers: &hyper::HeaderMap) -> Option<Self> {
        let value = headers.get("X-Docker-Container-Path-Stat")?.to_str().ok()?;
        let document = Document::parse(&STANDARD.decode(value).ok()?);
        Some(Self {
            name: document.text("name").to_owned(),
            mode: document.uint("mode"),
            link: document.text("linkTarget").to_owned(),
        })
    }

    pub(crate) fn is_dir(&self) -> bool {
        self.mode & MODE_DIR != 0
    }

    pub(crate) fn is_symlink(&self) -> bool {
        self.mode & MODE_SYMLINK != 0
    }

    /// The path that the link at `path` leads to; `path` itself when it is none.
    pub(crate) fn follow(&self, path: &str) -> String {
        if !self.is_symlink() {
            return path.to_owned();
        }
        if self.link.starts_with('/') {
            return self.link.clone();
        }
        clean(&format!("{}/../{}", path.trim_end_matches('/'), self.link))
    }
}

/// A path without `.`, `..` and doubled slashes, from the root.
fn clean(path: &str) -> String {
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

/// A path as the engine takes it: from the root, with the `/` or `/.` that the user put at its end.
pub(crate) fn absolute_in_container(path: &str) -> String {
    let base = clean(path);
    if base == "/" {
        return base;
    }
    if path.ends_with("/.") {
        format!("{base}/.")
    } else if path.ends_with('/') {
        format!("{base}/")
    } else {
        base
    }
}

/// Whether only what is in the directory is meant.
fn means_contents(path: &str) -> bool {
    path == "." || path.ends_with("/.")
}

fn base_name(path: &str) -> String {
    path.trim_end_matches("/.")
        .trim_end_matches('/')
        .rsplit('/')
        .next()
        .unwrap_or_default()
        .to_owned()
}

/// Where the root entry of an archive goes on the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LocalTarget {
    /// The path that the archive's root becomes.
    root: PathBuf,
}

impl LocalTarget {
    /// Applies Docker's rules: into a directory that exists, else under the new name.
    ///
    /// # Errors
    /// A directory does not go over a file, and a new name needs its parent.
    pub(crate) fn resolve(local: &str, source: &str, stat: &Stat) -> Result<Self, CommandError> {
        let path = Path::new(local);
        match fs::metadata(path) {
            Ok(meta) if meta.is_dir() && stat.is_dir() && means_contents(source) => {
                Ok(Self { root: path.to_owned() })
            }
            Ok(meta) if meta.is_dir() => {
                let name = if stat.name.is_empty() || stat.name == "/" {
                    base_name(source)
                } else {
                    stat.name.clone()
                };
                check_name(&name)?;
                Ok(Self { root: path.join(name) })
            }
            Ok(_) if stat.is_dir() => Err(CommandError::plain("cannot copy directory")),
            Ok(_) if local.ends_with('/') => Err(CommandError::plain("not a directory")),
            Ok(_) => Ok(Self { root: fs::canonicalize(path)? }),
            Err(_) => Self::fresh(local, stat),
        }
    }

    fn fresh(local: &str, stat: &Stat) -> Result<Self, CommandError> {
        if !stat.is_dir() && (local.ends_with('/') || means_contents(local)) {
            return Err(CommandError::plain("no such directory"));
        }
        let root = PathBuf::from(local.trim_end_matches('/'));
        let parent =
            root.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        if !parent.is_dir() {
            let full = std::path::absolute(parent).unwrap_or_else(|_| parent.to_owned());
            let words =
                format!("invalid output path: directory \"{}\" does not exist", full.display());
            return Err(CommandError::plain(words));
        }
        Ok(Self { root })
    }
}

fn check_name(name: &str) -> Result<(), CommandError> {
    if name == ".." || name.contains('/') {
        return Err(CommandError::plain(format!("the daemon sent an impossible name: {name}")));
    }
    Ok(())
}

/// The path of an entry beneath the archive's root entry; none for the root itself. The root is called as the source is, or `.`
/// when only its contents were asked for.
fn beneath(path: &Path) -> Result<Option<PathBuf>, CommandError> {
    let mut components = path.components();
    if matches!(components.clone().next(), Some(Component::CurDir | Component::Normal(_))) {
        components.next();
    }
    let rest = components.as_path();
    if rest.components().all(|component| matches!(component, Component::Normal(_))) {
        return Ok((!rest.as_os_str().is_empty()).then(|| rest.to_owned()));
    }
    let words = format!("refuse the entry `{}`: it leads out of the archive", path.display());
    Err(CommandError::plain(words))
}

/// Refuses a path with a symbolic link between `root` and its last component.
fn check_no_link(root: &Path, rest: &Path) -> Result<(), CommandError> {
    let mut here = root.to_owned();
    let Some(parent) = rest.parent() else {
        return Ok(());
    };
    for part in parent.components() {
        here.push(part);
        if fs::symlink_metadata(&here).is_ok_and(|meta| meta.is_symlink()) {
            return Err(CommandError::plain(format!(
                "refuse the entry `{}`: `{}` is a symbolic link",
                rest.display(),
                here.display()
            )));
        }
    }
    Ok(())
}

/// Unpacks an archive from a container so that its root entry becomes `target`.
///
/// # Errors
/// The archive is broken or leads out of the target, or the host's file system refuses.
pub(crate) fn unpack(
    input: impl Read,
    target: &LocalTarget,
    owners: bool,
) -> Result<(), CommandError> {
    let mut archive = tar::Archive::new(input);
    archive.set_preserve_permissions(true);
    archive.set_preserve_ownerships(owners);
    archive.set_overwrite(true);
    let mut directories = Vec::new();
    // A link in the root's place would lead every later entry out.
    let mut root_is_directory = true;
    for entry in archive.entries()? {
        let mut entry = entry?;
        let name = entry.path()?.into_owned();
        let rest = beneath(&name)?;
        let path = match &rest {
            None => target.root.clone(),
            Some(_) if !root_is_directory => {
                let words = format!(
                    "refuse the entry `{}`: what it lies in is no directory",
                    name.display()
                );
                return Err(CommandError::plain(words));
            }
            Some(rest) => {
                check_no_link(&target.root, rest)?;
                target.root.join(rest)
            }
        };
        if rest.is_none() {
            root_is_directory = entry.header().entry_type().is_dir();
        }
        let failed = |error| CommandError::file("write", path.display().to_string(), error);
        if entry.header().entry_type().is_hard_link() {
            hard_link(&entry, target, &path)?;
        } else if entry.header().entry_type().is_dir() {
            directory(&path)?;
            directories.push((
                path,
                entry.header().mode().unwrap_or(0o755),
                entry.header().mtime().unwrap_or(0),
            ));
        } else {
            make_room(&path)?;
            entry.unpack(&path).map_err(failed)?;
        }
    }
    // Modes and times last: a directory without write permission still gets its files.
    for (path, mode, mtime) in directories.into_iter().rev() {
        finish_directory(&path, mode, mtime);
    }
    Ok(())
}

/// A link is not written through: it is replaced.
fn make_room(path: &Path) -> Result<(), CommandError> {
    match fs::symlink_metadata(path) {
        Ok(meta) if meta.is_symlink() => Ok(fs::remove_file(path)?),
        Ok(meta) if meta.is_dir() => Err(CommandError::plain(format!(
            "cannot overwrite directory \"{}\" with non-directory",
            path.display()
        ))),
        _ => Ok(()),
    }
}

fn directory(path: &Path) -> Result<(), CommandError> {
    match fs::metadata(path) {
        Ok(meta) if meta.is_dir() => Ok(()),
        Ok(_) => Err(CommandError::plain(format!(
            "cannot overwrite non-directory \"{}\" with directory",
            path.display()
        ))),
        Err(_) => fs::create_dir(path)
            .map_err(|error| CommandError::file("mkdir", path.display().to_string(), error)),
    }
}

fn finish_directory(path: &Path, mode: u32, mtime: u64) {
    use std::os::unix::fs::PermissionsExt as _;
    let _ = fs::set_permissions(path, fs::Permissions::from_mode(mode & 0o7777));
    let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(mtime);
    if let Ok(directory) = fs::File::open(path) {
        let _ = directory.set_times(fs::FileTimes::new().set_modified(time));
    }
}

fn hard_link(
    entry: &tar::Entry<'_, impl Read>,
    target: &LocalTarget,
    path: &Path,
) -> Result<(), CommandError> {
    let name = entry.link_name()?.unwrap_or_default().into_owned();
    let from = match beneath(&name)? {
        None => target.root.clone(),
        Some(rest) => {
            check_no_link(&target.root, &rest)?;
            target.root.join(rest)
        }
    };
    if fs::symlink_metadata(path).is_ok_and(|meta| !meta.is_dir()) {
        fs::remove_file(path)?;
    }
    fs::hard_link(&from, path)
        .map_err(|error| CommandError::file("link", path.display().to_string(), error))
}

/// A file or directory of the host that is copied into a container.
#[derive(Clone, Debug)]
pub(crate) struct LocalSource {
    typed: String,
    path: PathBuf,
    is_dir: bool,
    follow: bool,
}

/// Where an archive goes in the container, and what its root is called.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Placement {
    pub(crate) directory: String,
    pub(crate) name: String,
}

impl LocalSource {
    /// Looks at `path`; a link is followed with `follow`, or when the path ends in a slash.
    ///
    /// # Errors
    /// It does not exist.
    pub(crate) fn open(path: &str, follow: bool) -> Result<Self, CommandError> {
        let follow = follow || path.ends_with('/') || means_contents(path);
        let real = if follow { fs::canonicalize(path) } else { Ok(PathBuf::from(path)) };
        let named = |error| {
            let full = std::path::absolute(path).unwrap_or_else(|_| path.into());
            CommandError::file("lstat", full.display().to_string(), error)
        };
        let real = real.map_err(named)?;
        let meta = fs::symlink_metadata(&real).map_err(named)?;
        if path.ends_with('/') && !meta.is_dir() {
            return Err(CommandError::plain("not a directory"));
        }
        Ok(Self { typed: path.to_owned(), path: real, is_dir: meta.is_dir(), follow })
    }

    fn name(&self) -> String {
        let typed = base_name(&self.typed);
        if ["", ".", ".."].contains(&typed.as_str()) {
            let real = fs::canonicalize(&self.path).unwrap_or_default();
            return real
                .file_name()
                .map(|name| name.to_string_lossy().into_owned())
                .unwrap_or_default();
        }
        typed
    }

    /// Applies Docker's rules for a destination of which the engine says `found`.
    ///
    /// # Errors
    /// A directory does not go over a file, a file not into a directory that does not exist.
    pub(crate) fn place(
        &self,
        target: &str,
        found: Option<&Stat>,
    ) -> Result<Placement, CommandError> {
        let contents = self.is_dir && means_contents(&self.typed);
        match found {
            Some(stat) if stat.is_dir() => {
                let name = if contents { ".".to_owned() } else { self.name() };
                Ok(Placement { directory: target.to_owned(), name })
            }
            Some(_) if self.is_dir => Err(CommandError::plain("cannot copy directory")),
            Some(_) if target.ends_with('/') => Err(CommandError::plain("not a directory")),
            None if !self.is_dir && target.ends_with('/') => {
                Err(CommandError::plain("no such directory"))
            }
            _ => {
                let bare = target.trim_end_matches("/.").trim_end_matches('/');
                let (directory, name) = bare.rsplit_once('/').unwrap_or(("", bare));
                let directory = if directory.is_empty() { "/" } else { directory };
                Ok(Placement { directory: directory.to_owned(), name: name.to_owned() })
            }
        }
    }

    /// Writes the archive; its root entry is called `name`.
    ///
    /// # Errors
    /// A file cannot be read, or nobody takes the archive.
    pub(crate) fn pack(&self, name: &str, output: impl Write) -> io::Result<()> {
        let mut builder = tar::Builder::new(output);
        builder.follow_symlinks(false);
        builder.sparse(false);
        if self.is_dir {
            builder.append_dir_all(name, &self.path)?;
        } else {
            let path = if self.follow { fs::canonicalize(&self.path)? } else { self.path.clone() };
            builder.append_path_with_name(path, name)?;
        }
        builder.into_inner()?.flush()
    }
}

#[cfg(test)]
mod tests;
