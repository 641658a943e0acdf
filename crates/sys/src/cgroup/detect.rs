//! Which hierarchies are mounted where.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

use super::{Group, Place};

/// Which versions the machine uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Version 1 only.
    Legacy,
    /// Version 1 with its controllers, and version 2 beside it.
    Hybrid,
    /// Version 2 only.
    Unified,
}

/// One mounted hierarchy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hierarchy {
    /// Its controllers, as /proc/self/cgroup names them; empty means version 2.
    pub controllers: Vec<String>,
    /// Where it is mounted.
    pub mount: PathBuf,
    /// Which group of it the mount shows as its root; `/` unless this is a container itself.
    pub root: String,
}

/// Every mounted hierarchy.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Cgroups {
    hierarchies: Vec<Hierarchy>,
}

const ROOT: &str = "/sys/fs/cgroup";
const CGROUP2_MAGIC: i64 = 0x6367_7270;

impl Cgroups {
    /// Finds the hierarchies. One statfs(2) is enough on version 2; otherwise the table of mounts is read until every hierarchy of
    /// /proc/self/cgroup was seen.
    ///
    /// # Errors
    /// Those of reading /proc/self/cgroup and /proc/self/mountinfo; `NotFound` without any hierarchy.
    pub fn detect() -> io::Result<Self> {
        if is_version_2(Path::new(ROOT)) {
            let mount = PathBuf::from(ROOT);
            return Ok(Self {
                hierarchies: vec![Hierarchy { controllers: Vec::new(), mount, root: "/".into() }],
            });
        }
        let memberships = memberships(&fs::read_to_string("/proc/self/cgroup")?);
        let table = BufReader::new(File::open("/proc/self/mountinfo")?);
        let found = parse_mounts(table, memberships.len());
        if found.is_empty() {
            return Err(io::Error::new(io::ErrorKind::NotFound, "no cgroup hierarchy is mounted"));
        }
        Ok(Self { hierarchies: found })
    }

    /// Returns which versions are in use.
    #[must_use]
    pub fn mode(&self) -> Mode {
        let unified = self.hierarchies.iter().any(|h| h.controllers.is_empty());
        let legacy = self.hierarchies.iter().any(|h| !h.controllers.is_empty());
        match (unified, legacy) {
            (true, false) => Mode::Unified,
            (true, true) => Mode::Hybrid,
            (false, _) => Mode::Legacy,
        }
    }

    /// Returns the hierarchies.
    #[must_use]
    pub fn hierarchies(&self) -> &[Hierarchy] {
        &self.hierarchies
    }

    /// Returns the group that has the path `path`, such as `/belljar/ID`, in every hierarchy. Parts `..` are dropped.
    #[must_use]
    pub fn group(&self, path: &str) -> Group {
        let relative = crate::inroot::clean(Path::new(path));
        Group::from_places(self.hierarchies.iter().map(|h| h.place(&relative)).collect())
    }

    /// Returns the group that a process is in, which may have different paths in different hierarchies.
    ///
    /// # Errors
    /// Those of reading /proc/PID/cgroup.
    pub fn group_of(&self, process: &str) -> io::Result<Group> {
        let text = fs::read_to_string(format!("/proc/{process}/cgroup"))?;
        let places = memberships(&text).into_iter().filter_map(|(controllers, path)| {
            let hierarchy = self.hierarchies.iter().find(|h| h.controllers == controllers)?;
            let relative = path.strip_prefix(hierarchy.root.trim_end_matches('/')).unwrap_or(&path);
            Some(hierarchy.place(&crate::inroot::clean(Path::new(relative))))
        });
        Ok(Group::from_places(places.collect()))
    }
}

impl Hierarchy {
    fn place(&self, relative: &Path) -> Place {
        let directory = if relative.as_os_str().is_empty() {
            self.mount.clone()
        } else {
            self.mount.join(relative)
        };
        Place { controllers: self.controllers.clone(), mount: self.mount.clone(), directory }
    }
}

fn is_version_2(path: &Path) -> bool {
    rustix::fs::statfs(path).is_ok_and(|stat| stat.f_type == CGROUP2_MAGIC)
}

/// Parses /proc/PID/cgroup: the controllers of each hierarchy and the path in it.
#[must_use]
pub fn memberships(text: &str) -> Vec<(Vec<String>, String)> {
    text.lines()
        .filter_map(|line| {
            let mut parts = line.splitn(3, ':');
            let (_, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
            let controllers = controllers.split(',').filter(|name| !name.is_empty());
            Some((controllers.map(str::to_owned).collect(), path.to_owned()))
        })
        .collect()
}

/// Parses /proc/PID/mountinfo and stops once `expected` hierarchies were seen.
pub fn parse_mounts(table: impl BufRead, expected: usize) -> Vec<Hierarchy> {
    let mut found: Vec<Hierarchy> = Vec::new();
    for line in table.lines().map_while(Result::ok) {
        let Some(hierarchy) = parse_mount(&line) else { continue };
        if found.iter().all(|known| known.controllers != hierarchy.controllers) {
            found.push(hierarchy);
        }
        if found.len() == expected {
            break;
        }
    }
    found
}

fn parse_mount(line: &str) -> Option<Hierarchy> {
    let (left, right) = line.split_once(" - ")?;
    let mut left = left.split(' ').skip(3);
    let (root, mount) = (left.next()?, left.next()?);
    let mut right = right.split(' ');
    let kind = right.next()?;
    let controllers = match kind {
        "cgroup2" => Vec::new(),
        "cgroup" => controllers_of(right.nth(1)?),
        _ => return None,
    };
    Some(Hierarchy { controllers, mount: PathBuf::from(mount), root: root.to_owned() })
}

/// The options of a version 1 mount are its flags and its controllers.
fn controllers_of(options: &str) -> Vec<String> {
    const FLAGS: [&str; 8] = [
        "rw",
        "ro",
        "xattr",
        "noprefix",
        "clone_children",
        "cpuset_v2_mode",
        "favordynmods",
        "nofavordynmods",
    ];
    options
        .split(',')
        .filter(|word| !FLAGS.contains(word) && !word.starts_with("release_agent="))
        .map(str::to_owned)
        .collect()
}
