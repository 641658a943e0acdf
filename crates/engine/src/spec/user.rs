//! Who a process runs as: names looked up in the container's own `/etc/passwd` and `/etc/group`.
//!
//! The files belong to whoever made the image (or runs in the container): they are opened beneath the root, never followed out of
//! it, must be regular files, and are read up to a bound (CVE-2024-9676).

use std::io::Read;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::fs::{FileType, Mode, OFlags};
use sys::inroot;

use crate::{EngineError, Result};

/// The most that is read of a passwd or group file.
const FILE_BYTES: u64 = 4 << 20;

/// A resolved user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ProcessUser {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) groups: Vec<u32>,
    pub(crate) home: String,
}

/// Reads a file beneath `root`; a missing or strange one is empty.
fn read_beneath(root: BorrowedFd<'_>, path: &str) -> String {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
    let Ok(fd) = inroot::open(root, path, flags, Mode::empty()) else { return String::new() };
    if !is_regular(&fd) {
        return String::new();
    }
    let mut bytes = Vec::new();
    let _ = std::fs::File::from(fd).take(FILE_BYTES).read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

fn is_regular(fd: &OwnedFd) -> bool {
    rustix::fs::fstat(fd)
        .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile)
}

/// Resolves `user[:group]` and `--group-add` beneath a container's root.
///
/// # Errors
/// `Invalid`: no such user or group, in Docker's words.
pub(crate) fn resolve(root: BorrowedFd<'_>, user: &str, extra: &[String]) -> Result<ProcessUser> {
    let passwd = read_beneath(root, "etc/passwd");
    let group = read_beneath(root, "etc/group");
    lookup(&passwd, &group, user, extra)
}

struct Account<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

fn accounts(passwd: &str) -> impl Iterator<Item = Account<'_>> {
    passwd.lines().filter_map(|line| {
        let mut fields = line.trim().split(':');
        let name = fields.next().filter(|name| !name.is_empty())?;
        let (uid, gid) = (fields.nth(1)?.parse().ok()?, fields.next()?.parse().ok()?);
        Some(Account { name, uid, gid, home: fields.nth(1).unwrap_or_default() })
    })
}

/// Name, id and members.
fn groups(group: &str) -> impl Iterator<Item = (&str, u32, &str)> {
    group.lines().filter_map(|line| {
        let mut fields = line.trim().split(':');
        let name = fields.next().filter(|name| !name.is_empty())?;
        Some((name, fields.nth(1)?.parse().ok()?, fields.next().unwrap_or_default()))
    })
}

fn number(text: &str) -> Option<u32> {
    text.parse::<u32>().ok().filter(|id| *id <= i32::MAX.unsigned_abs())
}

/// The rules of runc's user lookup: a name wins over a number, a number needs no entry; without a group the account's own group and
/// every group that lists it; with a group only that one.
fn lookup(passwd: &str, group: &str, user: &str, extra: &[String]) -> Result<ProcessUser> {
    let (who, which) = user.split_once(':').map_or((user, None), |(u, g)| (u, Some(g)));
    let who = if who.is_empty() { "0" } else { who };
    let account = accounts(passwd)
        .find(|a| a.name == who)
        .or_else(|| number(who).and_then(|id| accounts(passwd).find(|a| a.uid == id)));
    let mut found = match (&account, number(who)) {
        (Some(a), _) => {
            ProcessUser { uid: a.uid, gid: a.gid, groups: Vec::new(), home: a.home.to_owned() }
        }
        (None, Some(uid)) => ProcessUser { uid, ..ProcessUser::default() },
        (None, None) => {
            return Err(EngineError::invalid(format!(
                "unable to find user {who}: no matching entries in passwd file"
            )));
        }
    };
    match which.filter(|g| !g.is_empty()) {
        Some(name) => found.gid = group_id(group, name)?,
        None => {
            let name = account.map_or("", |a| a.name);
            found.groups = groups(group)
                .filter(|(_, id, members)| {
                    *id != found.gid && !name.is_empty() && members.split(',').any(|m| m == name)
                })
                .map(|(_, id, _)| id)
                .collect();
        }
    }
    for name in extra {
        let id = group_id(group, name)?;
        if !found.groups.contains(&id) {
            found.groups.push(id);
        }
    }
    if found.home.is_empty() {
        "/".clone_into(&mut found.home);
    }
    Ok(found)
}

fn group_id(group: &str, name: &str) -> Result<u32> {
    groups(group)
        .find(|(have, ..)| *have == name)
        .map(|(_, id, _)| id)
        .or_else(|| number(name))
        .ok_or_else(|| {
            EngineError::invalid(format!(
                "unable to find group {name}: no matching entries in group file"
            ))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\n# no\nbad\nwww:x:33:34::/srv:\n1000:x:77:77::/odd:\nu:x:1000:1000::/home/u:\n";
    const GROUP: &str = "root:x:0:\nwheel:x:10:root,u\nwww:x:34:\naudio:x:29:u,www\n";

    fn find(user: &str, extra: &[&str]) -> Result<ProcessUser> {
        let extra: Vec<String> = extra.iter().map(|g| (*g).to_owned()).collect();
        lookup(PASSWD, GROUP, user, &extra)
    }

    fn ids(user: &str) -> (u32, u32, Vec<u32>) {
        let found = find(user, &[]).unwrap();
        (found.uid, found.gid, found.groups)
    }

    #[test]
    fn names_and_numbers() {
        assert_eq!(ids(""), (0, 0, vec![10]));
        assert_eq!(ids("root"), (0, 0, vec![10]));
        assert_eq!(ids("www"), (33, 34, vec![29]));
        assert_eq!(ids("u"), (1000, 1000, vec![10, 29]));
        assert_eq!(ids("1000"), (77, 77, vec![]), "a name that looks like a number wins");
        assert_eq!(ids("4242"), (4242, 0, vec![]));
        assert_eq!(ids("4242:17"), (4242, 17, vec![]));
        assert_eq!(ids("u:www"), (1000, 34, vec![]));
        assert_eq!(ids(":wheel"), (0, 10, vec![]));
    }

    #[test]
    fn homes() {
        assert_eq!(find("u", &[]).unwrap().home, "/home/u");
        assert_eq!(find("4242", &[]).unwrap().home, "/");
    }

    #[test]
    fn group_add_takes_names_and_numbers() {
        assert_eq!(find("4242", &["audio", "777"]).unwrap().groups, [29, 777]);
    }

    #[test]
    fn unknown_ones_are_refused_with_dockers_words() {
        assert_eq!(
            find("nobody", &[]).unwrap_err().to_string(),
            "unable to find user nobody: no matching entries in passwd file"
        );
        assert_eq!(
            find("root:none", &[]).unwrap_err().to_string(),
            "unable to find group none: no matching entries in group file"
        );
        assert!(find("4294967295", &[]).is_err());
    }

    #[test]
    fn a_link_or_a_fifo_in_place_of_passwd_is_no_trap() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("etc")).unwrap();
        std::os::unix::fs::symlink("/dev/zero", dir.path().join("etc/passwd")).unwrap();
        let fifo = dir.path().join("etc/group");
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, FileType::Fifo, Mode::from_raw_mode(0o644), 0)
            .unwrap();
        let root = inroot::open_root(dir.path()).unwrap();
        let found = resolve(std::os::fd::AsFd::as_fd(&root), "5", &[]).unwrap();
        assert_eq!(found.uid, 5);
    }
}
