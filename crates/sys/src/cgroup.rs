//! Control groups, version 1, version 2 and both at once ("hybrid"): finding, making, entering, freezing, killing, removing, reading.
//!
//! A [`Group`] is one path in every hierarchy that the machine has mounted: one directory on version 2, one per controller on version 1.
//! The runtime is the only one to make and change container groups; everybody may read. What the limits mean is decided above:
//! this module writes a value into a file of a controller.

mod detect;
mod stats;
#[cfg(test)]
mod tests;

use std::fmt;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{Mode as FileMode, OFlags};
use rustix::process::{Pid, Signal};

pub use detect::{Cgroups, Hierarchy, Mode};
pub use stats::{CpuStats, IoEntry, MemoryStats, OomCounts, PidsStats, Stats};

/// How long freezing or emptying a group may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// What could not be done with which file.
#[derive(Debug)]
pub struct CgroupError {
    /// The verb, such as `write`.
    pub action: &'static str,
    /// The file or directory.
    pub path: PathBuf,
    /// The cause.
    pub source: io::Error,
}

impl fmt::Display for CgroupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} `{}`", self.action, self.path.display())
    }
}

impl std::error::Error for CgroupError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

fn because(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> CgroupError {
    let path = path.to_owned();
    move |source| CgroupError { action, path, source }
}

/// A group's directory in one hierarchy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The controllers of the hierarchy; a named one is `name=systemd`; empty means version 2.
    pub controllers: Vec<String>,
    /// Where the hierarchy is mounted.
    pub mount: PathBuf,
    /// The group's directory.
    pub directory: PathBuf,
}

impl Place {
    /// Tells whether this is the version 2 hierarchy.
    #[must_use]
    pub fn is_unified(&self) -> bool {
        self.controllers.is_empty()
    }

    /// Tells whether the hierarchy has the controller.
    #[must_use]
    pub fn has(&self, controller: &str) -> bool {
        self.controllers.iter().any(|known| known == controller)
    }
}

/// One path in every hierarchy.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Group {
    places: Vec<Place>,
}

/// What [`Group::create`] has made, so that a failed start can take back exactly that.
#[derive(Debug, Default)]
pub struct Made {
    directories: Vec<PathBuf>,
}

impl Made {
    /// Removes the directories that were made, the deepest first; one that is not empty stays.
    pub fn undo(&self) {
        for directory in self.directories.iter().rev() {
            let _ = remove_tree(directory);
        }
    }
}

impl Group {
    /// Returns a group with known directories, without looking at the machine.
    #[must_use]
    pub fn from_places(places: Vec<Place>) -> Self {
        Self { places }
    }

    /// Returns the directories.
    #[must_use]
    pub fn places(&self) -> &[Place] {
        &self.places
    }

    /// Returns the directory in the version 2 hierarchy, which on a hybrid machine has few controllers or none.
    #[must_use]
    pub fn unified(&self) -> Option<&Path> {
        self.places.iter().find(|place| place.is_unified()).map(|place| place.directory.as_path())
    }

    /// Tells whether version 2 is all that there is.
    #[must_use]
    pub fn is_version_2(&self) -> bool {
        !self.places.is_empty() && self.places.iter().all(Place::is_unified)
    }

    /// Returns the directory that holds the files of `controller`.
    #[must_use]
    pub fn directory(&self, controller: &str) -> Option<&Path> {
        let place = self.places.iter().find(|place| place.has(controller));
        let place = place.or_else(|| self.places.iter().find(|place| place.is_unified()))?;
        Some(&place.directory)
    }

    /// Returns the directory whose list of processes is looked at.
    fn main_directory(&self) -> Option<&Path> {
        let place = self
            .places
            .iter()
            .find(|place| place.has("freezer"))
            .or_else(|| self.places.iter().find(|place| place.has("pids")))
            .or(self.places.first())?;
        Some(&place.directory)
    }

    /// Tells whether the group is there.
    #[must_use]
    pub fn exists(&self) -> bool {
        self.main_directory().is_some_and(Path::exists)
    }

    /// Makes the directories. On version 1 `cpuset.cpus` and `cpuset.mems` are copied from above, without which no process may
    /// enter; on version 2 the controllers are enabled in every directory above.
    ///
    /// # Errors
    /// Names the directory; what was made before the error is removed.
    pub fn create(&self) -> Result<Made, CgroupError> {
        let mut made = Made::default();
        for place in &self.places {
            if let Err(error) = create_place(place, &mut made) {
                made.undo();
                return Err(error);
            }
        }
        Ok(made)
    }

    /// Moves the calling process, which must have one thread, into the group's version 1 directories.
    ///
    /// It writes `0` into `tasks`: for the caller itself the kernel then takes no global lock, while `cgroup.procs` can wait for an RCU grace period.
    ///
    /// # Errors
    /// Names the file.
    pub fn enter_version_1(&self) -> Result<(), CgroupError> {
        for place in self.places.iter().filter(|place| !place.is_unified()) {
            write_file(&place.directory.join("tasks"), "0")?;
        }
        Ok(())
    }

    /// Moves the calling process into the version 2 directory, for when it could not be started there.
    ///
    /// # Errors
    /// Names the file.
    pub fn enter_unified(&self) -> Result<(), CgroupError> {
        match self.unified() {
            Some(directory) => write_file(&directory.join("cgroup.procs"), "0"),
            None => Ok(()),
        }
    }

    /// Opens the version 2 directory for `CLONE_INTO_CGROUP`.
    ///
    /// # Errors
    /// Names the directory.
    pub fn open_unified(&self) -> Result<Option<OwnedFd>, CgroupError> {
        let Some(directory) = self.unified() else { return Ok(None) };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::open(directory, flags, FileMode::empty())
            .map(Some)
            .map_err(|error| because("open", directory)(error.into()))
    }

    /// Writes `value` into the file `name` of `controller`.
    ///
    /// # Errors
    /// Names the file; without the controller the cause is "controller not available".
    pub fn write(&self, controller: &str, name: &str, value: &str) -> Result<(), CgroupError> {
        let directory = self.directory(controller).ok_or_else(|| CgroupError {
            action: "write",
            path: PathBuf::from(name),
            source: io::Error::new(
                io::ErrorKind::NotFound,
                format!("the cgroup controller `{controller}` is not available"),
            ),
        })?;
        write_file(&directory.join(name), value)
    }

    /// Reads the file `name` of `controller` without the line feed at its end.
    #[must_use]
    pub fn read(&self, controller: &str, name: &str) -> Option<String> {
        let text = fs::read_to_string(self.directory(controller)?.join(name)).ok()?;
        Some(text.trim_end().to_owned())
    }

    /// Returns the ids of the processes in the group and in those beneath it.
    #[must_use]
    pub fn processes(&self) -> Vec<Pid> {
        let mut found = Vec::new();
        if let Some(directory) = self.main_directory() {
            collect_processes(directory, &mut found);
        }
        found
    }

    /// Tells whether any process is in the group or beneath it.
    #[must_use]
    pub fn is_populated(&self) -> bool {
        if self.is_version_2()
            && let Some(events) = self.read("", "cgroup.events")
        {
            return stats::field(&events, "populated") == Some(1);
        }
        !self.processes().is_empty()
    }

    /// Tells whether the group is frozen or is being frozen.
    #[must_use]
    pub fn is_frozen(&self) -> bool {
        if self.is_version_2() {
            return self.read("", "cgroup.freeze").as_deref() == Some("1");
        }
        let state = self.read("freezer", "freezer.state");
        self.has_freezer() && state.is_some_and(|state| state != "THAWED")
    }

    fn has_freezer(&self) -> bool {
        self.places.iter().any(|place| place.has("freezer"))
    }

    /// Stops every process of the group and waits until the kernel says so.
    ///
    /// # Errors
    /// Names the file; `TimedOut` after ten seconds, and the group is thawed again.
    pub fn freeze(&self) -> Result<(), CgroupError> {
        if self.is_version_2() {
            self.write("", "cgroup.freeze", "1")?;
        } else {
            self.write("freezer", "freezer.state", "FROZEN")?;
        }
        let frozen = self.wait_for(|| {
            if self.is_version_2() {
                let events = self.read("", "cgroup.events");
                return events.and_then(|text| stats::field(&text, "frozen")) == Some(1);
            }
            if self.read("freezer", "freezer.state").as_deref() == Some("FROZEN") {
                return true;
            }
            // A process forked at the wrong moment: asking again completes it.
            let _ = self.write("freezer", "freezer.state", "FROZEN");
            false
        });
        if frozen {
            return Ok(());
        }
        let _ = self.thaw();
        Err(self.too_late("freeze"))
    }

    /// Lets the processes of the group run again.
    ///
    /// # Errors
    /// Names the file.
    pub fn thaw(&self) -> Result<(), CgroupError> {
        if self.is_version_2() {
            self.write("", "cgroup.freeze", "0")
        } else {
            self.write("freezer", "freezer.state", "THAWED")
        }
    }

    /// Sends SIGKILL to every process of the group: by `cgroup.kill` (Linux 5.14), else while the group is frozen, so that none forks away.
    ///
    /// # Errors
    /// `TimedOut` if processes are left after ten seconds.
    pub fn kill(&self) -> Result<(), CgroupError> {
        let emptied = self.wait_for(|| {
            if !self.is_populated() {
                return true;
            }
            self.kill_once();
            false
        });
        if emptied { Ok(()) } else { Err(self.too_late("empty")) }
    }

    fn kill_once(&self) {
        if let Some(directory) = self.unified() {
            let _ = write_file(&directory.join("cgroup.kill"), "1");
        }
        let freezer = !self.is_version_2() && self.has_freezer();
        if freezer {
            let _ = self.write("freezer", "freezer.state", "FROZEN");
        }
        for pid in self.processes() {
            let _ = rustix::process::kill_process(pid, Signal::KILL);
        }
        if freezer || self.is_frozen() {
            let _ = self.thaw();
        }
    }

    /// Sends a signal to every process of the group once.
    pub fn signal(&self, signal: Signal) {
        for pid in self.processes() {
            let _ = rustix::process::kill_process(pid, signal);
        }
    }

    /// Removes the group and those beneath it; one that is not there is removed already.
    ///
    /// # Errors
    /// Names the directory; the others are removed all the same.
    pub fn remove(&self) -> Result<(), CgroupError> {
        let mut result = Ok(());
        for place in &self.places {
            let mut last = Ok(());
            // A process that was just reaped may hold the directory for a moment.
            self.wait_for(|| {
                last = remove_tree(&place.directory);
                !matches!(&last, Err(error) if error.kind() == io::ErrorKind::ResourceBusy)
                    || !directory_processes(&place.directory).is_empty()
            });
            if let Err(error) = last {
                result = Err(because("remove", &place.directory)(error));
            }
        }
        result
    }

    /// Reads what the kernel has counted.
    #[must_use]
    pub fn stats(&self) -> Stats {
        stats::read(self)
    }

    /// Asks `done` again and again, at first at once, then after 0.1 to 5 ms.
    fn wait_for(&self, mut done: impl FnMut() -> bool) -> bool {
        let start = Instant::now();
        let mut pause = Duration::from_micros(100);
        while !done() {
            if start.elapsed() > PATIENCE {
                return false;
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(5));
        }
        true
    }

    fn too_late(&self, action: &'static str) -> CgroupError {
        let path = self.main_directory().unwrap_or(Path::new("")).to_owned();
        CgroupError { action, path, source: io::ErrorKind::TimedOut.into() }
    }
}

fn create_place(place: &Place, made: &mut Made) -> Result<(), CgroupError> {
    let above: Vec<&Path> = place
        .directory
        .ancestors()
        .take_while(|path| path.starts_with(&place.mount) && *path != place.mount)
        .collect();
    if place.is_unified() {
        enable_controllers(&place.mount)?;
    }
    for directory in above.iter().rev() {
        match fs::create_dir(directory) {
            Ok(()) => made.directories.push((*directory).to_owned()),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(because("create", directory)(error)),
        }
        if place.has("cpuset") {
            inherit_cpuset(directory)?;
        }
        if place.is_unified() && *directory != place.directory {
            enable_controllers(directory)?;
        }
    }
    Ok(())
}

/// Copies the processors and memory nodes of the group above into one that has none.
fn inherit_cpuset(directory: &Path) -> Result<(), CgroupError> {
    for name in ["cpuset.cpus", "cpuset.mems"] {
        let file = directory.join(name);
        let own = fs::read_to_string(&file).map_err(because("read", &file))?;
        if !own.trim().is_empty() {
            continue;
        }
        let above = directory.parent().unwrap_or(directory).join(name);
        let value = fs::read_to_string(&above).map_err(because("read", &above))?;
        write_file(&file, value.trim())?;
    }
    Ok(())
}

/// Enables every available controller for the groups beneath `directory`. One that cannot be (a process in the way, a threaded
/// group) is left out: the limit that needs it fails later, with its own name.
fn enable_controllers(directory: &Path) -> Result<(), CgroupError> {
    let available = fs::read_to_string(directory.join("cgroup.controllers")).unwrap_or_default();
    let file = directory.join("cgroup.subtree_control");
    let enabled = fs::read_to_string(&file).map_err(because("read", &file))?;
    let enabled: Vec<&str> = enabled.split_whitespace().collect();
    let missing: Vec<String> = available
        .split_whitespace()
        .filter(|name| !enabled.contains(name))
        .map(|name| format!("+{name}"))
        .collect();
    if missing.is_empty() || write_file(&file, &missing.join(" ")).is_ok() {
        return Ok(());
    }
    for one in &missing {
        let _ = write_file(&file, one);
    }
    Ok(())
}

/// Writes a control file with one write(2): control files take a whole value at a time and are never created.
fn write_file(path: &Path, value: &str) -> Result<(), CgroupError> {
    let file = fs::OpenOptions::new().write(true).open(path).map_err(because("open", path))?;
    match rustix::io::write(&file, value.as_bytes()) {
        Ok(_) => Ok(()),
        Err(source) => Err(CgroupError {
            action: "write",
            path: path.to_owned(),
            source: explain(value, &source.into()),
        }),
    }
}

/// Keeps the error number and says which value was refused.
fn explain(value: &str, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("value `{value}`: {error}"))
}

fn directory_processes(directory: &Path) -> Vec<Pid> {
    let mut found = Vec::new();
    collect_processes(directory, &mut found);
    found
}

fn collect_processes(directory: &Path, found: &mut Vec<Pid>) {
    let text = fs::read_to_string(directory.join("cgroup.procs")).unwrap_or_default();
    found.extend(text.lines().filter_map(|line| line.parse().ok()).filter_map(Pid::from_raw));
    for child in subdirectories(directory) {
        collect_processes(&child, found);
    }
}

fn subdirectories(directory: &Path) -> Vec<PathBuf> {
    // Two links and one for each subdirectory: cgroup file systems count them, which saves the listing.
    if let Ok(stat) = rustix::fs::stat(directory)
        && stat.st_nlink == 2
    {
        return Vec::new();
    }
    let Ok(listing) = fs::read_dir(directory) else { return Vec::new() };
    listing
        .flatten()
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect()
}

fn remove_tree(directory: &Path) -> io::Result<()> {
    match fs::remove_dir(directory) {
        Ok(()) => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => {
            let children = subdirectories(directory);
            if children.is_empty() {
                return Err(error);
            }
            for child in children {
                remove_tree(&child)?;
            }
        }
    }
    fs::remove_dir(directory)
}
