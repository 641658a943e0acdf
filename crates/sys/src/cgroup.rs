//! Control groups, version 1, version 2 and both at once ("hybrid"): finding, making, entering, freezing, killing, removing, reading.
//!
//! A [`Group`] is one path in every hierarchy that the machine has mounted: one directory on version 2, one per controller on version 1.
//! The runtime is the only one to make and change container groups; everybody may read. What the limits mean is decided above:
//! this module writes a value into a file of a controller.

mod control;
mod detect;
mod oom;
mod permitted;
mod pressure;
mod stats;
#[cfg(test)]
mod tests;
mod tree;
mod wait;

use std::fmt;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{Mode as FileMode, OFlags};
use rustix::io::Errno;
use rustix::process::{Pid, Signal};

pub use detect::{Cgroups, Hierarchy, Mode, memberships, parse_mounts};
pub use oom::OomWatch;
pub use permitted::Permitted;
pub use pressure::{Pressure, PressureLine};
pub use stats::{
    CpuStats, HugetlbStats, IoEntry, MemoryStats, OomCounts, PidsStats, RdmaEntry, Stats,
};

use wait::{Events, PATIENCE};

/// How long a killed process may take before it is killed again.
const AGAIN: Duration = Duration::from_millis(100);

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

impl CgroupError {
    /// Returns the number of the error, if the kernel refused.
    #[must_use]
    pub fn errno(&self) -> Option<Errno> {
        let refused = self.source.get_ref().and_then(|e| e.downcast_ref::<control::Refused>());
        refused.map(|refused| refused.errno).or_else(|| Errno::from_io_error(&self.source))
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
    lacking: bool,
}

impl Made {
    /// Tells whether a group above, on version 2, could not hand every controller on.
    #[must_use]
    pub fn is_lacking(&self) -> bool {
        self.lacking
    }

    /// Removes the directories that were made, the deepest first; one that is not empty stays.
    pub fn undo(&self) {
        for directory in self.directories.iter().rev() {
            let _ = tree::remove(directory);
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
            .map_err(|error| self.explained(controller, name, error))
    }

    /// Writes several values, one after the other, into the file `name` of `controller`.
    ///
    /// # Errors
    /// Names the file; the values before the one that is refused are written.
    pub fn write_each<'a>(
        &self,
        controller: &str,
        name: &str,
        values: impl IntoIterator<Item = &'a str>,
    ) -> Result<(), CgroupError> {
        let Some(directory) = self.directory(controller) else {
            return self.write(controller, name, "");
        };
        let path = directory.join(name);
        let file =
            fs::OpenOptions::new().write(true).open(&path).map_err(because("open", &path))?;
        values.into_iter().try_for_each(|value| write_open(&file, &path, value))
    }

    /// Says of a file of version 2 that is not there why its controller is not.
    fn explained(&self, controller: &str, name: &str, error: CgroupError) -> CgroupError {
        let Some(place) = self.places.iter().find(|place| place.is_unified()) else { return error };
        if error.errno() != Some(Errno::NOENT) || !error.path.starts_with(&place.directory) {
            return error;
        }
        let controller = match controller {
            "" => name.split('.').next().unwrap_or_default(),
            controller => controller,
        };
        if matches!(controller, "" | "cgroup") || !place.directory.exists() {
            return error;
        }
        let why = control::why_missing(&place.mount, &place.directory, controller);
        let text = format!("controller \"{controller}\" not available: {why}");
        CgroupError { source: io::Error::new(io::ErrorKind::NotFound, text), ..error }
    }

    /// Returns the kind of the version 2 group, `cgroup.type` of cgroups(7): `domain`, `threaded`, `domain threaded`, `domain invalid`.
    #[must_use]
    pub fn kind(&self) -> String {
        self.unified().map(control::kind).unwrap_or_default()
    }

    /// Says why the version 2 group does not have `controller`.
    #[must_use]
    pub fn why_missing(&self, controller: &str) -> Option<String> {
        let place = self.places.iter().find(|place| place.is_unified())?;
        Some(control::why_missing(&place.mount, &place.directory, controller))
    }

    /// Says why no process may enter the group on version 2: one that has handed controllers on ("no internal processes",
    /// cgroups(7)), or one in an invalid state.
    #[must_use]
    pub fn why_closed(&self) -> Option<String> {
        control::why_closed(self.unified()?)
    }

    /// Reads the file `name` of `controller` without the line feed at its end.
    #[must_use]
    pub fn read(&self, controller: &str, name: &str) -> Option<String> {
        let text = crate::file::kernel_text(self.directory(controller)?.join(name)).ok()?;
        Some(text.trim_end().to_owned())
    }

    /// Returns the ids of the processes in the group and in those beneath it.
    #[must_use]
    pub fn processes(&self) -> Vec<Pid> {
        self.main_directory().map(tree::processes).unwrap_or_default()
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

    /// Tells whether a process in the group could not run because this group or one above it is frozen.
    #[must_use]
    pub fn is_stopped_from_above(&self) -> bool {
        if self.is_version_2() {
            let events = self.read("", "cgroup.events").unwrap_or_default();
            return stats::field(&events, "frozen") == Some(1);
        }
        self.is_frozen()
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
        let frozen = if self.is_version_2() {
            let events = self.unified().and_then(Events::open);
            events.is_some_and(|events| events.until("frozen", 1, PATIENCE))
        } else {
            wait::asking(|| {
                if self.read("freezer", "freezer.state").as_deref() == Some("FROZEN") {
                    return true;
                }
                // A process forked at the wrong moment: asking again completes it.
                let _ = self.write("freezer", "freezer.state", "FROZEN");
                false
            })
        };
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

    /// Sends SIGKILL to every process of the group: by `cgroup.kill` (Linux 5.14), else while the group is frozen, so that none forks
    /// away; and waits until the last has ended. Frozen groups beneath are thawed where that is what keeps a process alive.
    ///
    /// # Errors
    /// `TimedOut` if processes are left after ten seconds.
    pub fn kill(&self) -> Result<(), CgroupError> {
        if !self.is_populated() {
            return Ok(());
        }
        let events = self.unified().and_then(Events::open);
        let start = Instant::now();
        while self.is_populated() {
            if start.elapsed() > PATIENCE {
                return Err(self.too_late("empty"));
            }
            self.kill_once();
            self.wait_for_ends(events.as_ref());
        }
        Ok(())
    }

    fn kill_once(&self) {
        let killed = self
            .unified()
            .is_some_and(|directory| write_file(&directory.join("cgroup.kill"), "1").is_ok());
        if killed && self.is_version_2() {
            return;
        }
        let freezer = !self.is_version_2() && self.has_freezer();
        if freezer {
            let _ = self.write("freezer", "freezer.state", "FROZEN");
        }
        for pid in self.processes() {
            let _ = rustix::process::kill_process(pid, Signal::KILL);
        }
        if freezer && let Some(directory) = self.directory("freezer") {
            // On version 1 a frozen process dies only when it is thawed, and groups beneath are frozen for themselves.
            tree::write_everywhere(directory, c"freezer.state", "THAWED");
        }
    }

    /// Waits until the group may be empty, for a tenth of a second.
    fn wait_for_ends(&self, events: Option<&Events>) {
        let start = Instant::now();
        match events {
            Some(events) if events.value("populated") == Some(1) => {
                events.until("populated", 0, AGAIN);
            }
            _ => {
                while start.elapsed() < AGAIN {
                    let pids = self.processes();
                    if pids.is_empty() {
                        return;
                    }
                    wait::an_end(&pids, AGAIN);
                }
            }
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
        let events = self.unified().and_then(Events::open);
        for place in &self.places {
            if let Err(error) = remove_place(place, events.as_ref()) {
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
        made.lacking |= !control::enable(&place.mount)?;
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
            made.lacking |= !control::enable(directory)?;
        }
    }
    Ok(())
}

/// Copies the processors and memory nodes of the group above into one that has none.
fn inherit_cpuset(directory: &Path) -> Result<(), CgroupError> {
    for name in ["cpuset.cpus", "cpuset.mems"] {
        let file = directory.join(name);
        let own = crate::file::kernel_text(&file).map_err(because("read", &file))?;
        if !own.trim().is_empty() {
            continue;
        }
        let above = directory.parent().unwrap_or(directory).join(name);
        let value = crate::file::kernel_text(&above).map_err(because("read", &above))?;
        write_file(&file, value.trim())?;
    }
    Ok(())
}

/// Writes a control file with one write(2): control files take a whole value at a time and are never created.
fn write_file(path: &Path, value: &str) -> Result<(), CgroupError> {
    let file = fs::OpenOptions::new().write(true).open(path).map_err(because("open", path))?;
    write_open(&file, path, value)
}

fn write_open(file: &fs::File, path: &Path, value: &str) -> Result<(), CgroupError> {
    match rustix::io::write(file, value.as_bytes()) {
        Ok(_) => Ok(()),
        Err(errno) => Err(CgroupError {
            action: "write",
            path: path.to_owned(),
            source: control::refused(value, errno),
        }),
    }
}

/// Removes one directory and those beneath it. A process that has just ended may hold it for a moment more.
fn remove_place(place: &Place, events: Option<&Events>) -> io::Result<()> {
    if let Some(events) = events {
        let Err(error) = tree::remove(&place.directory) else { return Ok(()) };
        if error.raw_os_error() != Some(libc::EBUSY) || events.value("populated") != Some(1) {
            return asked_to_go(place);
        }
        if !tree::processes(&place.directory).is_empty() {
            return Err(error);
        }
        events.until("populated", 0, PATIENCE);
    }
    asked_to_go(place)
}

fn asked_to_go(place: &Place) -> io::Result<()> {
    let mut last = Ok(());
    wait::asking(|| {
        last = tree::remove(&place.directory);
        !matches!(&last, Err(error) if error.raw_os_error() == Some(libc::EBUSY))
            || !tree::processes(&place.directory).is_empty()
    });
    last
}
