//! Experiment 7: where its files come from, and which of them are its own.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use crate::host::{self, Host};
use crate::mounts;
use crate::report::{Claim, Evidence, Section, Table};
use crate::subject::Subject;
use crate::words::{bytes, quoted};

/// How many entries of an upper directory are looked at; more are counted as unknown.
const MOST: usize = 100_000;
/// How many changed paths are listed.
const SHOWN: usize = 200;

/// An overlay mount, as /proc/PID/mountinfo tells it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overlay {
    /// Read-only directories, the topmost first.
    pub lower: Vec<PathBuf>,
    /// Where changes go; `None` for a read-only overlay.
    pub upper: Option<PathBuf>,
    /// Scratch space of the kernel, on the same file system as `upper`.
    pub work: Option<PathBuf>,
}

/// What happened to a path in the upper directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Not in any layer below.
    Added,
    /// A whole copy of a file below, made when it was first opened for writing or its metadata changed.
    CopiedUp,
    /// Hidden: a whiteout stands in its place.
    Deleted,
}

/// A changed path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    /// From the container's root.
    pub path: PathBuf,
    /// What happened.
    pub change: Change,
    /// Bytes of a file in the upper directory.
    pub bytes: u64,
    /// Which of the lower directories has it, counted from the top.
    pub from: Option<usize>,
}

/// Reads the overlay that is the root of a process; `None` if its root is something else.
///
/// # Errors
/// Those of reading /proc/PID/mountinfo.
pub fn overlay(host: &Host, subject: &Subject) -> std::io::Result<Option<Overlay>> {
    let text = host.text(subject.path(host, "mountinfo"))?;
    Ok(parse(&text))
}

/// Takes the last mount on `/`.
fn parse(mountinfo: &str) -> Option<Overlay> {
    let mount = mounts::parse(mountinfo).into_iter().rfind(|mount| mount.at == Path::new("/"))?;
    if mount.kind != "overlay" {
        return None;
    }
    let mut found = Overlay::default();
    for option in &mount.super_options {
        match option.split_once('=') {
            // Newer kernels write one `lowerdir+=` for each.
            Some(("lowerdir" | "lowerdir+", list)) => {
                found.lower.extend(list.split(':').map(mounts::unescape));
            }
            Some(("upperdir", dir)) => found.upper = Some(mounts::unescape(dir)),
            Some(("workdir", dir)) => found.work = Some(mounts::unescape(dir)),
            _ => {}
        }
    }
    Some(found)
}

/// Lists what an upper directory changes; `false`: there was more than is looked at.
///
/// # Errors
/// Those of reading the directory itself.
pub fn changes(overlay: &Overlay) -> std::io::Result<(Vec<Changed>, bool)> {
    let Some(upper) = &overlay.upper else { return Ok((Vec::new(), true)) };
    fs::read_dir(upper)?;
    let mut found = Vec::new();
    let mut waiting = vec![PathBuf::new()];
    while let Some(relative) = waiting.pop() {
        let Ok(list) = fs::read_dir(upper.join(&relative)) else { continue };
        for entry in list.flatten() {
            if found.len() >= MOST {
                return Ok((found, false));
            }
            let path = relative.join(entry.file_name());
            let Ok(meta) = entry.metadata() else { continue };
            let below = overlay.lower.iter().position(|dir| has(dir, &path));
            if meta.is_dir() {
                waiting.push(path.clone());
                // A directory is there whenever something in it is: only a new one is a change of its own.
                if below.is_some() {
                    continue;
                }
            }
            let whiteout = meta.file_type().is_char_device() && meta.rdev() == 0;
            let change = match (whiteout, below) {
                (true, _) => Change::Deleted,
                (false, Some(_)) => Change::CopiedUp,
                (false, None) => Change::Added,
            };
            let bytes = if meta.is_file() { meta.len() } else { 0 };
            found.push(Changed { path, change, bytes, from: below });
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    Ok((found, true))
}

/// Whether a layer has a path and does not hide it.
fn has(layer: &Path, path: &Path) -> bool {
    let whiteout = |meta: &fs::Metadata| meta.file_type().is_char_device() && meta.rdev() == 0;
    fs::symlink_metadata(layer.join(path)).is_ok_and(|meta| !whiteout(&meta))
}

/// Reports the layers of a process's root and what it changed.
#[must_use]
pub fn layers(host: &Host, subject: &Subject) -> Section {
    let mut section = Section::new("layers", "Where its files come from");
    let root = host.observe_link(&subject.label, subject.path(host, "root"));
    let check = format!("grep ' / / ' /proc/{}/mountinfo", subject.pid);
    let why = "An overlay shows several directories as one: the image's layers below, never written, and one above that takes every change. All containers of an image share \
               the lower ones.";
    let found = overlay(host, subject);
    let (holds, finding) = match &found {
        Ok(Some(overlay)) => (
            Some(true),
            format!("{} read-only layers below one writable directory", overlay.lower.len()),
        ),
        Ok(None) => {
            (Some(false), "its root is no overlay: every file is where it seems to be".into())
        }
        Err(error) => (None, format!("/proc/{}/mountinfo: {error}", subject.pid)),
    };
    section.claims.push(
        Claim::new("layers.overlay", "Its root is an overlay of layers")
            .seen(root)
            .holds(holds, finding)
            .because(why, check),
    );
    if let Ok(Some(overlay)) = found {
        section.tables.push(directories(&overlay));
        own_changes(&mut section, subject, &overlay);
    }
    section
}

fn directories(overlay: &Overlay) -> Table {
    let row = |what: String, dir: &Path| vec![what, dir.display().to_string()];
    let mut rows = Vec::new();
    rows.extend(overlay.upper.iter().map(|dir| row("upper: its own changes".into(), dir)));
    rows.extend(overlay.work.iter().map(|dir| row("work: the kernel's scratch space".into(), dir)));
    let lower = overlay.lower.iter().enumerate();
    rows.extend(lower.map(|(n, dir)| row(format!("lower {n}: {}", kind(dir)), dir)));
    Table {
        title: "Directories, the topmost first".into(),
        head: vec!["what".into(), "directory".into()],
        rows,
    }
}

/// Docker's layout calls the layer with /etc/hosts and the like `ID-init`.
fn kind(dir: &Path) -> &'static str {
    let init = dir.components().any(|part| part.as_os_str().to_string_lossy().ends_with("-init"));
    if init { "mount points such as /etc/hosts, /dev, /proc" } else { "a layer of the image" }
}

fn own_changes(section: &mut Section, subject: &Subject, overlay: &Overlay) {
    let Some(upper) = &overlay.upper else { return };
    let claim = Claim::new("layers.changed", "It has changed files");
    let why = "A file is copied up whole when it is first opened for writing or its metadata changes, even if nothing is written then. A deleted one is hidden by a character \
               device 0:0. Stopping keeps the upper directory, removing the container deletes it.";
    let check = format!("find {} -mindepth 1 | head", quoted(&upper.display().to_string()));
    let place = upper.display().to_string();
    match changes(overlay) {
        Err(error) => {
            let reading = host::reading(Err(error));
            let seen = Evidence { of: subject.label.clone(), place, reading };
            section.claims.push(claim.seen(seen).holds(None, "").because(why, check));
        }
        Ok((list, complete)) => {
            let count = |wanted: Change| list.iter().filter(|one| one.change == wanted).count();
            let size: u64 = list.iter().map(|one| one.bytes).sum();
            let more = if complete { "" } else { " and more" };
            let finding = format!(
                "{} added, {} copied up, {} deleted{more}; {} in files",
                count(Change::Added),
                count(Change::CopiedUp),
                count(Change::Deleted),
                bytes(size)
            );
            let reading = crate::Reading::Value(format!("{} entries{more}", list.len()));
            let seen = Evidence { of: subject.label.clone(), place, reading };
            section
                .claims
                .push(claim.seen(seen).holds(Some(!list.is_empty()), finding).because(why, check));
            section.tables.push(changed(&list));
        }
    }
}

fn changed(list: &[Changed]) -> Table {
    let rows = list.iter().take(SHOWN).map(|one| {
        let what = match one.change {
            Change::Added => "added",
            Change::CopiedUp => "copied up",
            Change::Deleted => "deleted (whiteout)",
        };
        let from = one.from.map_or(String::new(), |n| format!("lower {n}"));
        vec![format!("/{}", one.path.display()), what.into(), bytes(one.bytes), from]
    });
    let title = if list.len() > SHOWN {
        format!("Changed paths (the first {SHOWN} of {})", list.len())
    } else {
        "Changed paths".to_owned()
    };
    let head = ["path", "change", "bytes", "from"].map(str::to_owned).to_vec();
    Table { title, head, rows: rows.collect() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Fake;

    #[test]
    fn mountinfo_tells_the_layers() {
        let text = "30 1 0:1 / /x rw - tmpfs t rw\n\
            36 25 0:33 / / rw,relatime master:1 - overlay overlay rw,lowerdir=/a:/b\\040c,upperdir=/u,workdir=/w,index=off\n\
            37 36 0:5 / /proc rw - proc proc rw\n";
        let found = parse(text).unwrap();
        assert_eq!(found.lower, [PathBuf::from("/a"), PathBuf::from("/b c")]);
        assert_eq!(found.upper, Some("/u".into()));
        assert_eq!(found.work, Some("/w".into()));
        let new = "36 25 0:33 / / rw - overlay overlay rw,lowerdir+=/a,lowerdir+=/b,upperdir=/u\n";
        assert_eq!(parse(new).unwrap().lower.len(), 2);
        assert_eq!(parse("36 25 8:1 / / rw - ext4 /dev/sda rw\n"), None);
        assert_eq!(parse(""), None);
    }

    #[test]
    fn changes_are_told_apart() {
        let fake = Fake::new(&[
            ("low/etc/passwd", "old"),
            ("low/etc/keep", "x"),
            ("low/gone", "x"),
            ("up/etc/passwd", "newer"),
            ("up/new/file", "12345678"),
        ]);
        let root = fake.host().root("");
        let overlay =
            Overlay { lower: vec![root.join("low")], upper: Some(root.join("up")), work: None };
        let mode = rustix::fs::Mode::empty();
        let kind = rustix::fs::FileType::CharacterDevice;
        let made = rustix::fs::mknodat(rustix::fs::CWD, root.join("up/gone"), kind, mode, 0);
        let (list, complete) = changes(&overlay).unwrap();
        assert!(complete);
        let of = |path: &str| list.iter().find(|one| one.path == Path::new(path)).cloned();
        let passwd = of("etc/passwd").unwrap();
        assert_eq!((passwd.change, passwd.bytes, passwd.from), (Change::CopiedUp, 5, Some(0)));
        assert_eq!(of("new/file").unwrap().change, Change::Added);
        assert_eq!(of("new").unwrap().change, Change::Added);
        assert!(of("etc").is_none() && of("etc/keep").is_none());
        // Whiteouts can be made without rights since Linux 5.8.
        if made.is_ok() {
            assert_eq!(of("gone").unwrap().change, Change::Deleted);
        }
    }
}
