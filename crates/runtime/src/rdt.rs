//! `linux.intelRdt`: the container's class of service in the resctrl file system (OCI runtime-spec config-linux.md#intelrdt).
//!
//! ```text
//! <resctrl>/<closID or the container's id>/schemata, tasks, mon_groups/<the container's id>/tasks
//! ```
//! Only with `intelRdt` in the configuration is anything here looked at.

use std::fs;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use types::oci::runtime::IntelRdt;

use crate::error::{Error, Result, step};

/// What was made, in order; dropped before [`Made::keep`], it is removed again.
#[derive(Debug, Default)]
pub(crate) struct Made(Vec<PathBuf>);

impl Made {
    /// What [`remove`] takes.
    pub(crate) fn paths(&self) -> &[PathBuf] {
        &self.0
    }

    /// Leaves everything in place.
    pub(crate) fn keep(mut self) {
        self.0.clear();
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        let _ = remove(&self.0);
    }
}

/// Removes groups that were made, the inner ones first.
///
/// # Errors
/// Those of rmdir(2).
pub(crate) fn remove(made: &[PathBuf]) -> Result<()> {
    for directory in made.iter().rev() {
        match fs::remove_dir(directory) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(step(format!("remove `{}`", directory.display()))(error));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Checks what can be checked without the file system.
///
/// # Errors
/// `Invalid`.
pub(crate) fn validate(given: &IntelRdt) -> Result<()> {
    let id = &given.clos_id;
    if id == "." || id == ".." || (id.contains('/') && id != "/") || id.contains('\0') {
        return Err(Error::Config(format!("invalid intelRdt.closID {id:?}")));
    }
    let broken = |text: &String| text.contains('\n') && !text.is_empty();
    if !given.mem_bw_schema.is_empty()
        && (!given.mem_bw_schema.starts_with("MB:") || broken(&given.mem_bw_schema))
    {
        let text = format!("invalid intelRdt.memBwSchema {:?}", given.mem_bw_schema);
        return Err(Error::Config(text));
    }
    if given.schemata.iter().any(broken) {
        return Err(Error::Config(format!("invalid intelRdt.schemata {:?}", given.schemata)));
    }
    Ok(())
}

/// Finds the mounted resctrl file system.
///
/// # Errors
/// `Invalid` where none is mounted.
pub(crate) fn root() -> Result<PathBuf> {
    let text = fs::read_to_string("/proc/self/mountinfo").map_err(step("read the mount table"))?;
    find_root(&text).ok_or_else(|| {
        let text = "intelRdt is specified in config, but no resctrl file system is mounted";
        Error::Config(text.into())
    })
}

fn find_root(mountinfo: &str) -> Option<PathBuf> {
    mountinfo.lines().find_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        let kind = after.split(' ').next()?;
        (kind == "resctrl").then(|| before.split(' ').nth(4).map(PathBuf::from))?
    })
}

/// Makes or checks the group, and moves the process `pid` there.
///
/// # Errors
/// `Invalid` for a group that is not as configured; those of the file system.
pub(crate) fn apply(root: &Path, id: &str, given: &IntelRdt, pid: i32) -> Result<Made> {
    let name = match given.clos_id.as_str() {
        "" => id,
        "/" => "",
        named => named,
    };
    let group = root.join(name);
    let mut made = Made::default();
    let lines = lines(given);
    if group.is_dir() {
        if !given.clos_id.is_empty() {
            compare(&group, given)?;
        }
    } else if !given.clos_id.is_empty() && lines.is_empty() {
        let text = format!(
            "intelRdt.closID {:?} does not exist, and there is no schema to make it with",
            given.clos_id
        );
        return Err(Error::Config(text));
    } else {
        make(&group, &mut made)?;
    }
    for text in lines {
        write(&group.join("schemata"), &format!("{text}\n"))?;
    }
    write(&group.join("tasks"), &pid.to_string())?;
    if given.enable_monitoring || given.enable_cmt || given.enable_mbm {
        let monitor = group.join("mon_groups").join(id);
        make(&monitor, &mut made)?;
        write(&monitor.join("tasks"), &pid.to_string())?;
    }
    Ok(made)
}

fn make(group: &Path, made: &mut Made) -> Result<()> {
    fs::create_dir(group).map_err(step(format!("create `{}`", group.display())))?;
    made.0.push(group.to_owned());
    Ok(())
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::File::options()
        .write(true)
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(step(format!("write {:?} to `{}`", text.trim_end(), path.display())))
}

/// What is written to `schemata`, one write each: the two old fields together, without lines for memory in the first when there is the
/// second, and then the new one.
fn lines(given: &IntelRdt) -> Vec<String> {
    let memory = &given.mem_bw_schema;
    let mut old: Vec<&str> = given
        .l3_cache_schema
        .lines()
        .filter(|line| memory.is_empty() || !line.starts_with("MB:"))
        .collect();
    old.extend((!memory.is_empty()).then_some(memory.as_str()));
    let mut all = Vec::new();
    all.extend((!old.is_empty()).then(|| old.join("\n")));
    all.extend((!given.schemata.is_empty()).then(|| given.schemata.join("\n")));
    all
}

/// A group that exists must be as the two old fields say.
fn compare(group: &Path, given: &IntelRdt) -> Result<()> {
    if given.l3_cache_schema.is_empty() && given.mem_bw_schema.is_empty() {
        return Ok(());
    }
    let path = group.join("schemata");
    let now = fs::read_to_string(&path).map_err(step(format!("read `{}`", path.display())))?;
    let now: Vec<&str> = now.lines().map(str::trim).collect();
    let old = IntelRdt { schemata: Vec::new(), ..given.clone() };
    let wanted = lines(&old).concat();
    let missing = wanted.lines().find(|line| !now.contains(&line.trim()));
    match missing {
        Some(line) => Err(Error::Config(format!(
            "intelRdt: {line:?} does not match the schemata of the existing group {:?}",
            given.clos_id
        ))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory in place of the file system: files must exist before they are written.
    fn fake(groups: &[&str]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for group in groups {
            let path = dir.path().join(group);
            fs::create_dir_all(path.join("mon_groups")).unwrap();
            for file in ["tasks", "schemata"] {
                fs::write(path.join(file), "").unwrap();
            }
        }
        dir
    }

    fn read(dir: &tempfile::TempDir, path: &str) -> String {
        fs::read_to_string(dir.path().join(path)).unwrap()
    }

    #[test]
    fn the_mount_is_found() {
        let text = "22 1 0:21 / /sys rw - sysfs sysfs rw\n99 22 0:40 / /sys/fs/resctrl rw,nosuid shared:9 - resctrl resctrl rw\n";
        assert_eq!(find_root(text), Some(PathBuf::from("/sys/fs/resctrl")));
        assert_eq!(find_root("22 1 0:21 / /sys rw - sysfs sysfs rw\n"), None);
    }

    #[test]
    fn names_cannot_lead_out() {
        for bad in [".", "..", "a/b", "../x"] {
            let given = IntelRdt { clos_id: bad.into(), ..IntelRdt::default() };
            assert!(validate(&given).unwrap_err().to_string().contains("closID"), "{bad}");
        }
        let given = IntelRdt { mem_bw_schema: "L3:0=f".into(), ..IntelRdt::default() };
        assert!(validate(&given).unwrap_err().to_string().contains("memBwSchema"));
    }

    #[test]
    fn an_existing_group_is_joined() {
        let dir = fake(&["gold"]);
        let given = IntelRdt { clos_id: "gold".into(), ..IntelRdt::default() };
        let made = apply(dir.path(), "c1", &given, 42).unwrap();
        assert_eq!(read(&dir, "gold/tasks"), "42");
        assert_eq!(read(&dir, "gold/schemata"), "");
        drop(made);
        assert!(dir.path().join("gold").is_dir(), "what was there stays");
    }

    #[test]
    fn a_missing_group_without_a_schema_is_an_error() {
        let dir = fake(&[]);
        let given = IntelRdt { clos_id: "gold".into(), ..IntelRdt::default() };
        let text = apply(dir.path(), "c1", &given, 42).unwrap_err().to_string();
        assert!(text.contains("closID \"gold\" does not exist"), "{text}");
    }

    #[test]
    fn an_existing_group_must_match_the_old_fields() {
        let dir = fake(&["gold"]);
        fs::write(dir.path().join("gold/schemata"), "    L3:0=f;1=f\n    MB:0=20\n").unwrap();
        let mut given = IntelRdt {
            clos_id: "gold".into(),
            l3_cache_schema: "L3:0=f;1=f".into(),
            ..IntelRdt::default()
        };
        assert!(apply(dir.path(), "c1", &given, 42).is_ok());
        fs::write(dir.path().join("gold/schemata"), "L3:0=1;1=f\n").unwrap();
        given.mem_bw_schema = "MB:0=20".into();
        let text = apply(dir.path(), "c1", &given, 42).unwrap_err().to_string();
        assert!(text.contains("does not match"), "{text}");
    }

    #[test]
    fn what_was_made_is_removed() {
        let dir = fake(&[]);
        // The kernel makes the files with the directory; here the write fails instead, and nothing may be left.
        let given = IntelRdt { schemata: vec!["L3:0=f".into()], ..IntelRdt::default() };
        assert!(apply(dir.path(), "c1", &given, 42).is_err());
        assert!(!dir.path().join("c1").exists());
    }

    #[test]
    fn lines_are_combined() {
        let given = IntelRdt {
            l3_cache_schema: "L3:0=f\nMB:0=10".into(),
            mem_bw_schema: "MB:0=20".into(),
            schemata: vec!["L2:0=1".into(), "MB:0=30".into()],
            ..IntelRdt::default()
        };
        assert_eq!(lines(&given), ["L3:0=f\nMB:0=20", "L2:0=1\nMB:0=30"]);
    }
}
