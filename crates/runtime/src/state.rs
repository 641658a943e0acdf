//! The `--root` directory: one directory per container with `state.json`, and `exec.fifo` until the container is started.
//!
//! ```text
//! ROOT/ID/exec.fifo    the created process reads one byte from it before it becomes the program; `start` writes and removes it
//! ROOT/ID/state.json   written once, by rename, when the process waits; what is in it never changes
//! ROOT/ID/.state.json  the same without a process, while the container is being created
//! ```
//! A crash in between leaves a directory without `state.json`: no container yet, and `delete --force` removes it. Whether
//! the process lives, is frozen, or has started is never written: it is asked of the kernel each time.

use std::collections::BTreeMap;
use std::fs;
use std::io::{ErrorKind, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use serde::{Deserialize, Serialize};
use sys::cgroup::{Group, Place};
use types::oci::runtime::{Hooks, State, Status};

use crate::error::{Error, Result, step};

/// `CGROUP_SUPER_MAGIC` and `CGROUP2_SUPER_MAGIC`, statfs(2).
const CGROUP_MAGIC: u64 = 0x0027_e0eb;
const CGROUP2_MAGIC: u64 = 0x6367_7270;

/// What is written down about a container.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Record {
    /// The container's id.
    pub id: String,
    /// `ociVersion` of its configuration.
    pub oci_version: String,
    /// The first process, as the host numbers it; 0 without one.
    pub pid: i32,
    /// When that process started, in clock ticks since boot: pids are used again.
    pub start_ticks: u64,
    /// The bundle, absolute.
    pub bundle: PathBuf,
    /// The configuration's file, seen from the bundle; `config.json` if empty.
    pub config: String,
    /// The root file system, absolute.
    pub rootfs: PathBuf,
    /// The unique number of the mount of the root onto itself, where the host's mount namespace is shared; 0 otherwise.
    pub root_mount: u64,
    /// When it was made, RFC 3339.
    pub created: String,
    /// The annotations of its configuration.
    pub annotations: BTreeMap<String, String>,
    /// Its cgroup in each hierarchy.
    pub cgroup: Vec<SavedPlace>,
    /// The systemd unit that the cgroup is of; empty without the systemd driver.
    pub unit: String,
    /// The resctrl groups that were made for it, the inner ones last.
    pub rdt: Vec<PathBuf>,
    /// The namespaces that `exec` joins, as numbers of `CLONE_NEW*`.
    pub namespaces: u64,
    /// Whether the process has a pid namespace of its own, whose end takes every process with it.
    pub own_pid_namespace: bool,
    /// Whether its processes have session keyrings of their own, apart from the caller's.
    pub new_keyring: bool,
    /// The hooks that are still to run.
    pub hooks: Hooks,
}

/// A [`Place`] on disk.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct SavedPlace {
    controllers: Vec<String>,
    mount: PathBuf,
    directory: PathBuf,
}

impl SavedPlace {
    /// Checks that the group is beneath its hierarchy, and that it is the one of the systemd unit if there is one.
    fn believe(&self, unit: &str) -> std::result::Result<(), String> {
        let directory = &self.directory;
        let plain = |path: &Path| {
            path.is_absolute()
                && path
                    .components()
                    .all(|part| matches!(part, Component::RootDir | Component::Normal(_)))
        };
        let beneath = directory.starts_with(&self.mount) && *directory != self.mount;
        if !plain(&self.mount) || !plain(directory) || !beneath {
            return Err(format!("its cgroup is `{}`", directory.display()));
        }
        let scope = unit.is_empty()
            || (unit.ends_with(".scope") && directory.file_name().is_some_and(|name| name == unit));
        if scope { Ok(()) } else { Err(format!("its systemd unit is {unit:?}")) }
    }

    /// Tells whether the hierarchy is one of control groups.
    fn is_cgroup(&self) -> bool {
        rustix::fs::statfs(&self.mount)
            .is_ok_and(|stat| matches!(stat.f_type.cast_unsigned(), CGROUP_MAGIC | CGROUP2_MAGIC))
    }
}

impl From<&Place> for SavedPlace {
    fn from(place: &Place) -> Self {
        Self {
            controllers: place.controllers.clone(),
            mount: place.mount.clone(),
            directory: place.directory.clone(),
        }
    }
}

impl Record {
    /// Checks that what is going to be emptied and removed are control groups.
    ///
    /// # Errors
    /// [`Error::State`] naming the directory.
    pub fn check_group(&self) -> Result<()> {
        match self.cgroup.iter().find(|place| !place.is_cgroup()) {
            Some(place) => Err(Error::State(format!(
                "`{}` of the container's state is no cgroup hierarchy",
                place.mount.display()
            ))),
            None => Ok(()),
        }
    }

    /// Returns the container's cgroup.
    #[must_use]
    pub fn group(&self) -> Group {
        let places = self.cgroup.iter().cloned().map(|saved| Place {
            controllers: saved.controllers,
            mount: saved.mount,
            directory: saved.directory,
        });
        Group::from_places(places.collect())
    }

    /// Tells whether the first process is there and has not ended.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.pid > 0
            && process_stat(self.pid).is_some_and(|stat| {
                stat.start_ticks == self.start_ticks && !matches!(stat.state, 'Z' | 'X')
            })
    }
}

/// What matters of /proc/PID/stat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcessStat {
    /// `R`, `S`, `Z` and so on.
    pub state: char,
    /// Clock ticks since boot.
    pub start_ticks: u64,
}

/// Reads /proc/PID/stat.
#[must_use]
pub fn process_stat(pid: i32) -> Option<ProcessStat> {
    parse_stat(&sys::file::kernel_text(format!("/proc/{pid}/stat")).ok()?)
}

/// Parses the text of /proc/PID/stat.
#[must_use]
pub fn parse_stat(text: &str) -> Option<ProcessStat> {
    // The name, in parentheses, may hold anything, parentheses too.
    let (_, rest) = text.rsplit_once(')')?;
    let mut fields = rest.split_whitespace();
    let state = fields.next()?.chars().next()?;
    let start_ticks = fields.nth(18)?.parse().ok()?;
    Some(ProcessStat { state, start_ticks })
}

/// Checks that an id can be a directory's name: letters, digits, `_ + - .`, and neither `.` nor `..`.
///
/// # Errors
/// [`Error::InvalidId`].
pub fn check_id(id: &str) -> Result<()> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'+' | b'-' | b'.');
    let good =
        !id.is_empty() && id.len() <= 255 && id.bytes().all(allowed) && id != "." && id != "..";
    if good { Ok(()) } else { Err(Error::InvalidId(id.to_owned())) }
}

/// The directory of one container.
#[derive(Clone, Debug)]
pub struct Dir {
    id: String,
    path: PathBuf,
}

impl Dir {
    /// Makes the directory of a new container.
    ///
    /// # Errors
    /// [`Error::Exists`] if the id is in use.
    pub fn make(root: &Path, id: &str) -> Result<Self> {
        check_id(id)?;
        let path = root.join(id);
        let make = || fs::DirBuilder::new().mode(0o711).create(&path);
        let result = make().or_else(|error| {
            if error.kind() != ErrorKind::NotFound {
                return Err(error);
            }
            fs::DirBuilder::new().recursive(true).mode(0o700).create(root)?;
            make()
        });
        match result {
            Ok(()) => Ok(Self { id: id.to_owned(), path }),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Err(Error::Exists),
            Err(error) => Err(step(format!("create `{}`", path.display()))(error)),
        }
    }

    /// Finds the directory of a container.
    ///
    /// # Errors
    /// [`Error::NoContainer`].
    pub fn find(root: &Path, id: &str) -> Result<Self> {
        check_id(id)?;
        let path = root.join(id);
        if !path.is_dir() {
            return Err(Error::NoContainer(id.to_owned()));
        }
        Ok(Self { id: id.to_owned(), path })
    }

    /// Lists the containers in the order of their ids.
    #[must_use]
    pub fn all(root: &Path) -> Vec<Self> {
        let Ok(listing) = fs::read_dir(root) else { return Vec::new() };
        let mut found: Vec<Self> = listing
            .flatten()
            .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
            .filter_map(|entry| entry.file_name().into_string().ok())
            .filter(|id| check_id(id).is_ok())
            .map(|id| Self { path: root.join(&id), id })
            .collect();
        found.sort_by(|a, b| a.id.cmp(&b.id));
        found
    }

    /// Returns the container's id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Returns the user that made the container.
    #[must_use]
    pub fn owner(&self) -> u32 {
        fs::metadata(&self.path).map_or(0, |meta| meta.uid())
    }

    /// Returns the path of a file of the runtime's own in it.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    fn fifo(&self) -> PathBuf {
        self.path.join("exec.fifo")
    }

    /// Makes `exec.fifo` and opens it for reading and writing, so that a read waits for a writer instead of ending.
    ///
    /// # Errors
    /// Those of mknod(2) and open(2).
    pub fn make_fifo(&self) -> Result<OwnedFd> {
        make_fifo_at(&self.fifo())
    }

    /// Releases the created process: one byte into `exec.fifo`, which is then removed. The returned end hangs up when the process has
    /// become the program, since its own end is closed by execve(2), or has ended.
    ///
    /// # Errors
    /// [`Error::State`] if the process has ended or was released before.
    pub fn release(&self) -> Result<OwnedFd> {
        let path = self.fifo();
        let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let fifo = match rustix::fs::open(&path, flags, Mode::empty()) {
            Ok(fifo) => fifo,
            Err(rustix::io::Errno::NXIO) => {
                return Err(Error::State("cannot start a container that has stopped".into()));
            }
            Err(rustix::io::Errno::NOENT) => {
                return Err(Error::State("cannot start an already running container".into()));
            }
            Err(error) => return Err(step(format!("open `{}`", path.display()))(error)),
        };
        rustix::io::write(&fifo, b"0").map_err(step("release the container's process"))?;
        fs::remove_file(&path).map_err(step(format!("remove `{}`", path.display())))?;
        Ok(fifo)
    }

    fn report(&self) -> PathBuf {
        self.path.join("report.fifo")
    }

    /// Makes `report.fifo`, into which the process writes why a `startContainer` hook has failed; only for containers that have such
    /// hooks.
    ///
    /// # Errors
    /// Those of mknod(2) and open(2).
    pub fn make_report(&self) -> Result<OwnedFd> {
        make_fifo_at(&self.report())
    }

    /// Opens `report.fifo` for reading: it ends when the process has become the program or is gone. `None` if there is none.
    ///
    /// # Errors
    /// Those of open(2).
    pub fn open_report(&self) -> Result<Option<fs::File>> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        match rustix::fs::open(self.report(), flags, Mode::empty()) {
            Ok(report) => Ok(Some(report.into())),
            Err(rustix::io::Errno::NOENT) => Ok(None),
            Err(error) => Err(step(format!("open `{}`", self.report().display()))(error)),
        }
    }

    /// Writes down what is known before the process is made, so that a creation that was cut off can be removed.
    ///
    /// # Errors
    /// Those of writing.
    pub fn save_draft(&self, record: &Record) -> Result<PathBuf> {
        let draft = self.path.join(".state.json");
        let text = serde_json::to_vec(record)
            .map_err(|source| Error::Json { path: draft.clone(), source })?;
        // The later draft says more than the earlier one and is written over it, so that one of the two is always there.
        let written = fs::OpenOptions::new().write(true).create(true).truncate(false).open(&draft);
        let size = text.len() as u64;
        written
            .and_then(|mut file| file.write_all(&text).and_then(|()| file.set_len(size)))
            .map_err(step(format!("write `{}`", draft.display())))?;
        Ok(draft)
    }

    /// Makes `state.json` of what was written last, complete or not at all: from now on there is a container.
    ///
    /// # Errors
    /// Those of renaming.
    pub fn publish(&self) -> Result<()> {
        let draft = self.path.join(".state.json");
        let path = self.path.join("state.json");
        fs::rename(&draft, &path).map_err(step(format!("rename to `{}`", path.display())))
    }

    /// Reads what [`Dir::save_draft`] has written, if it is whole.
    #[must_use]
    pub fn load_draft(&self) -> Option<Record> {
        let record = serde_json::from_slice(&fs::read(self.path.join(".state.json")).ok()?).ok()?;
        self.believe(record).ok()
    }

    /// Reads `state.json`; `None` while the container is being created.
    ///
    /// # Errors
    /// Those of reading; `Invalid` if it is damaged or of another container or runtime.
    pub fn load(&self) -> Result<Option<Record>> {
        let path = self.path.join("state.json");
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(step(format!("read `{}`", path.display()))(error)),
        };
        let record = serde_json::from_slice(&bytes)
            .map_err(|source| Error::Json { path: path.clone(), source })?;
        self.believe(record).map(Some).map_err(|why| Error::StateFile { path, why })
    }

    /// Checks that a record can be that of this container: what it names is going to be killed and removed.
    fn believe(&self, record: Record) -> std::result::Result<Record, String> {
        if record.oci_version.is_empty() {
            return Err("it is of another runtime or version".into());
        }
        if record.id != self.id {
            return Err(format!("it is of {:?}", record.id));
        }
        if record.pid < 0 || (record.pid > 0 && record.start_ticks == 0) {
            return Err(format!("its process is {}", record.pid));
        }
        record.cgroup.iter().try_for_each(|place| place.believe(&record.unit))?;
        Ok(record)
    }

    /// Reads `state.json` of a container that has been created.
    ///
    /// # Errors
    /// [`Error::NoContainer`] while it is not.
    pub fn record(&self) -> Result<Record> {
        self.load()?.ok_or_else(|| Error::NoContainer(self.id.clone()))
    }

    /// Asks the kernel how far the container is.
    #[must_use]
    pub fn status(&self, record: &Record) -> Status {
        if !record.is_alive() {
            return Status::Stopped;
        }
        if record.group().is_frozen() {
            return Status::Paused;
        }
        if self.fifo().exists() { Status::Created } else { Status::Running }
    }

    /// Returns what `state` prints.
    #[must_use]
    pub fn state(&self, record: &Record) -> State {
        let status = self.status(record);
        State {
            oci_version: record.oci_version.clone(),
            id: self.id.clone(),
            status,
            pid: if status == Status::Stopped { 0 } else { record.pid },
            bundle: record.bundle.display().to_string(),
            annotations: record.annotations.clone(),
        }
    }

    /// Removes the directory.
    ///
    /// # Errors
    /// Those of removing.
    pub fn remove(&self) -> Result<()> {
        match fs::remove_dir_all(&self.path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(step(format!("remove `{}`", self.path.display()))(error))
            }
            _ => Ok(()),
        }
    }
}

fn make_fifo_at(path: &Path) -> Result<OwnedFd> {
    let what = || format!("create `{}`", path.display());
    let mode = Mode::from_raw_mode(0o600);
    let kind = rustix::fs::FileType::Fifo;
    rustix::fs::mknodat(rustix::fs::CWD, path, kind, mode, 0).map_err(step(what()))?;
    rustix::fs::open(path, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).map_err(step(what()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_cannot_be_paths() {
        for good in ["a", "0af", "a.b_c-d+e"] {
            assert!(check_id(good).is_ok(), "{good}");
        }
        for bad in ["", ".", "..", "a/b", "../x", "a b", "é", "a\0"] {
            assert!(check_id(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_process_may_have_any_name() {
        let line = "7 (a) b) (c) S 1 7 7 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 12345 9 9";
        let stat = parse_stat(line).unwrap();
        assert_eq!(stat, ProcessStat { state: 'S', start_ticks: 12345 });
    }

    fn place(mount: &str, directory: &str) -> SavedPlace {
        SavedPlace { mount: mount.into(), directory: directory.into(), ..SavedPlace::default() }
    }

    fn record(id: &str) -> Record {
        Record { id: id.into(), oci_version: "1.2.0".into(), ..Record::default() }
    }

    #[test]
    fn a_record_of_others_is_not_believed() {
        let dir = Dir { id: "x".into(), path: "/nonexistent/x".into() };
        assert!(dir.believe(record("x")).is_ok());
        let good = place("/sys/fs/cgroup", "/sys/fs/cgroup/a/x.scope");
        let bad = [
            Record { oci_version: String::new(), ..record("x") },
            record("y"),
            Record { pid: -1, ..record("x") },
            Record { pid: 1, ..record("x") },
            Record { cgroup: vec![place("/sys/fs/cgroup", "/sys/fs/cgroup")], ..record("x") },
            Record { cgroup: vec![place("/sys/fs/cgroup", "/etc/a")], ..record("x") },
            Record { cgroup: vec![place("/sys/fs/cgroup", "/sys/fs/cgroup/../x")], ..record("x") },
            Record { cgroup: vec![place("", "a")], ..record("x") },
            Record { cgroup: vec![good.clone()], unit: "sshd.service".into(), ..record("x") },
            Record { cgroup: vec![good.clone()], unit: "y.scope".into(), ..record("x") },
        ];
        for record in bad {
            let text = format!("{record:?}");
            assert!(dir.believe(record).is_err(), "{text}");
        }
        let scoped = Record { cgroup: vec![good], unit: "x.scope".into(), ..record("x") };
        assert!(dir.believe(scoped).is_ok());
        assert!(!place("/tmp", "/tmp/x").is_cgroup());
    }

    #[test]
    fn a_container_without_a_process_is_stopped() {
        let root = std::env::temp_dir().join(format!("runtime-state-{}", std::process::id()));
        let dir = Dir::make(&root, "x").unwrap();
        assert!(matches!(Dir::make(&root, "x"), Err(Error::Exists)));
        assert!(dir.load().unwrap().is_none());
        dir.save_draft(&Record {
            id: "x".into(),
            oci_version: "1.2.0".into(),
            ..Record::default()
        })
        .unwrap();
        assert!(dir.load().unwrap().is_none());
        dir.publish().unwrap();
        let record = dir.record().unwrap();
        assert_eq!(dir.state(&record).status, Status::Stopped);
        assert_eq!(Dir::all(&root).len(), 1);
        dir.remove().unwrap();
        assert!(matches!(Dir::find(&root, "x"), Err(Error::NoContainer(_))));
        fs::remove_dir_all(&root).unwrap();
    }
}
