//! The options of a mount: attributes, propagation, and what is left for the file system.

use rustix::io::Errno;
use sys::mount::{Attr, Change, Propagation};

/// Mount options, understood.
#[derive(Debug, Default)]
pub(crate) struct Options {
    /// Attributes of the mount itself.
    pub(crate) set: Attr,
    pub(crate) clear: Attr,
    /// Attributes of the mount and all beneath (`rro` and so on).
    pub(crate) recursive_set: Attr,
    pub(crate) recursive_clear: Attr,
    /// Whether any of the mount's own attributes was named, be it only to clear it.
    pub(crate) named: bool,
    /// Whether one of the access time attributes was named to set it.
    pub(crate) access_time: bool,
    /// Changes of propagation, and whether they are recursive.
    pub(crate) propagation: Vec<(bool, Propagation)>,
    pub(crate) bind: bool,
    pub(crate) recursive_bind: bool,
    pub(crate) remount: bool,
    pub(crate) copy_up: bool,
    pub(crate) id_mapped: bool,
    pub(crate) recursive_id_map: bool,
    /// A symbolic link as the source of a bind mount is not followed.
    pub(crate) source_no_follow: bool,
    /// A symbolic link as the source of a bind mount is made anew in its place.
    pub(crate) copy_symlink: bool,
    /// A symbolic link as the target of a bind mount is not followed.
    pub(crate) target_no_follow: bool,
    /// `key=value` and flags for the file system.
    pub(crate) data: Vec<(String, Option<String>)>,
}

/// What one option does.
#[derive(Clone, Copy, Debug)]
enum Effect {
    /// It is the default, or has a meaning only for programs before the runtime.
    None,
    /// Attributes of the mount to set; those to clear are cleared first.
    Attribute {
        set: Attr,
        clear: Attr,
    },
    /// `atime`, `nostrictatime`: takes back one value of the access time field, which leaves the kernel's default (`relatime`).
    NotAtime(Attr),
    /// The same for the mount and all beneath.
    Recursive {
        set: Attr,
        clear: Attr,
    },
    /// See [`Effect::NotAtime`].
    RecursiveNotAtime(Attr),
    Propagation(bool, Propagation),
    Bind {
        recursive: bool,
    },
    Remount,
    CopyUp,
    IdMap {
        recursive: bool,
    },
    SourceNoFollow,
    CopySymlink,
    TargetNoFollow,
    /// A flag of every file system, under the kernel's name for it (fsconfig(2)).
    Super(&'static str),
}

const NONE: Attr = Attr::empty();

const fn set(set: Attr) -> Effect {
    Effect::Attribute { set, clear: NONE }
}

const fn clear(clear: Attr) -> Effect {
    Effect::Attribute { set: NONE, clear }
}

const fn access_time(value: Attr) -> Effect {
    Effect::Attribute { set: value, clear: Attr::ATIME }
}

const fn all_set(set: Attr) -> Effect {
    Effect::Recursive { set, clear: NONE }
}

const fn all_clear(clear: Attr) -> Effect {
    Effect::Recursive { set: NONE, clear }
}

const fn all_access_time(value: Attr) -> Effect {
    Effect::Recursive { set: value, clear: Attr::ATIME }
}

/// Every option with a meaning of its own, in the order of the names; whatever is not here is for the file system. `features` shows this
/// very table.
#[rustfmt::skip]
const TABLE: [(&str, Effect); 66] = {
    use Effect::{Bind, CopySymlink, CopyUp, IdMap, None, NotAtime, RecursiveNotAtime, Remount, SourceNoFollow, Super, TargetNoFollow};
    [
        ("acl", None),
        ("async", Super("async")),
        ("atime", NotAtime(Attr::NOATIME)),
        ("bind", Bind { recursive: false }),
        ("copy-symlink", CopySymlink),
        ("defaults", None),
        ("dest-nofollow", TargetNoFollow),
        ("dev", clear(Attr::NODEV)),
        ("diratime", clear(Attr::NODIRATIME)),
        ("dirsync", Super("dirsync")),
        ("exec", clear(Attr::NOEXEC)),
        ("idmap", IdMap { recursive: false }),
        ("iversion", None),
        ("lazytime", Super("lazytime")),
        ("loud", None),
        ("mand", Super("mand")),
        ("noatime", access_time(Attr::NOATIME)),
        ("nodev", set(Attr::NODEV)),
        ("nodiratime", set(Attr::NODIRATIME)),
        ("noexec", set(Attr::NOEXEC)),
        ("noiversion", None),
        ("nolazytime", Super("nolazytime")),
        ("nomand", Super("nomand")),
        ("norelatime", NotAtime(NONE)),
        ("nostrictatime", NotAtime(Attr::STRICTATIME)),
        ("nosuid", set(Attr::NOSUID)),
        ("nosymfollow", set(Attr::NOSYMFOLLOW)),
        ("private", Effect::Propagation(false, Propagation::Private)),
        ("ratime", RecursiveNotAtime(Attr::NOATIME)),
        ("rbind", Bind { recursive: true }),
        ("rdev", all_clear(Attr::NODEV)),
        ("rdiratime", all_clear(Attr::NODIRATIME)),
        ("relatime", access_time(NONE)),
        ("remount", Remount),
        ("rexec", all_clear(Attr::NOEXEC)),
        ("ridmap", IdMap { recursive: true }),
        ("rnoatime", all_access_time(Attr::NOATIME)),
        ("rnodev", all_set(Attr::NODEV)),
        ("rnodiratime", all_set(Attr::NODIRATIME)),
        ("rnoexec", all_set(Attr::NOEXEC)),
        // As in runc: whatever the access time was, it becomes the kernel's default, which is `relatime`.
        ("rnorelatime", all_access_time(NONE)),
        ("rnostrictatime", RecursiveNotAtime(Attr::STRICTATIME)),
        ("rnosuid", all_set(Attr::NOSUID)),
        ("rnosymfollow", all_set(Attr::NOSYMFOLLOW)),
        ("ro", set(Attr::RDONLY)),
        ("rprivate", Effect::Propagation(true, Propagation::Private)),
        ("rrelatime", all_access_time(NONE)),
        ("rro", all_set(Attr::RDONLY)),
        ("rrw", all_clear(Attr::RDONLY)),
        ("rshared", Effect::Propagation(true, Propagation::Shared)),
        ("rslave", Effect::Propagation(true, Propagation::Slave)),
        ("rstrictatime", all_access_time(Attr::STRICTATIME)),
        ("rsuid", all_clear(Attr::NOSUID)),
        ("rsymfollow", all_clear(Attr::NOSYMFOLLOW)),
        ("runbindable", Effect::Propagation(true, Propagation::Unbindable)),
        ("rw", clear(Attr::RDONLY)),
        ("shared", Effect::Propagation(false, Propagation::Shared)),
        ("silent", None),
        ("slave", Effect::Propagation(false, Propagation::Slave)),
        ("src-nofollow", SourceNoFollow),
        ("strictatime", access_time(Attr::STRICTATIME)),
        ("suid", clear(Attr::NOSUID)),
        ("symfollow", clear(Attr::NOSYMFOLLOW)),
        ("sync", Super("sync")),
        ("tmpcopyup", CopyUp),
        ("unbindable", Effect::Propagation(false, Propagation::Unbindable)),
    ]
};

/// The options with a meaning of their own, in the order of the names.
pub(crate) fn known() -> impl Iterator<Item = &'static str> {
    TABLE.iter().map(|(name, _)| *name)
}

/// Reads one of the words of `linux.rootfsPropagation`, which are also mount options.
pub(crate) fn propagation(word: &str) -> Option<(bool, Propagation)> {
    match effect(word)? {
        Effect::Propagation(recursive, kind) => Some((recursive, kind)),
        _ => None,
    }
}

fn effect(option: &str) -> Option<Effect> {
    let at = TABLE.binary_search_by_key(&option, |(name, _)| name).ok()?;
    Some(TABLE[at].1)
}

impl Options {
    pub(crate) fn parse(options: &[String]) -> Self {
        let mut parsed = Self::default();
        for option in options.iter().filter(|option| !option.is_empty()) {
            match effect(option) {
                Some(effect) => parsed.add(effect),
                None => parsed.add_data(option),
            }
        }
        parsed
    }

    fn add(&mut self, effect: Effect) {
        match effect {
            Effect::None => {}
            Effect::Attribute { set, clear } => {
                self.named = true;
                self.access_time |= set.contains(Attr::NODIRATIME) || clear == Attr::ATIME;
                add(&mut self.set, &mut self.clear, set, clear);
            }
            Effect::NotAtime(value) => {
                self.named = true;
                add(&mut self.set, &mut self.clear, NONE, value);
                self.clear |= Attr::ATIME;
            }
            Effect::Recursive { set, clear } => self.add_recursive(set, clear),
            Effect::RecursiveNotAtime(value) => {
                let (set, clear) = (&mut self.recursive_set, &mut self.recursive_clear);
                add(set, clear, NONE, value);
                *clear |= Attr::ATIME;
            }
            Effect::Propagation(recursive, kind) => self.propagation.push((recursive, kind)),
            Effect::Bind { recursive } => {
                self.bind = true;
                self.recursive_bind |= recursive;
            }
            Effect::Remount => self.remount = true,
            Effect::CopyUp => self.copy_up = true,
            Effect::IdMap { recursive } => {
                self.id_mapped = true;
                self.recursive_id_map |= recursive;
            }
            Effect::SourceNoFollow => self.source_no_follow = true,
            Effect::CopySymlink => self.copy_symlink = true,
            Effect::TargetNoFollow => self.target_no_follow = true,
            Effect::Super(name) => self.data.push((name.to_owned(), None)),
        }
    }

    /// With mount(2) a comma divides parameters, unless it stands in quotes.
    fn add_data(&mut self, option: &str) {
        let parts: Vec<&str> =
            if option.contains('"') { vec![option] } else { option.split(',').collect() };
        for part in parts.into_iter().filter(|part| !part.is_empty()) {
            self.data.push(match part.split_once('=') {
                Some((key, value)) => (key.to_owned(), Some(value.to_owned())),
                None => (part.to_owned(), None),
            });
        }
    }

    /// A later word for all counts for the mount itself too.
    fn add_recursive(&mut self, set: Attr, clear: Attr) {
        add(&mut self.recursive_set, &mut self.recursive_clear, set, clear);
        self.set = self.set - set - clear;
        self.clear = self.clear - set - clear;
    }

    /// What a bind mount changes of the attributes that its source has.
    pub(super) fn bind_flags(&self, locked: bool) -> BindFlags {
        let (named, access_time) = (self.named, self.access_time);
        let spared = self.recursive_set - self.clear;
        BindFlags { named, access_time, set: self.set, clear: self.clear, spared, locked }
    }

    /// The recursive changes of attributes to a mount that exists.
    pub(super) fn recursive_change(&self) -> Option<(bool, Change<'static>)> {
        let all =
            Change { set: self.recursive_set, clear: self.recursive_clear, ..Change::default() };
        (!all.is_empty()).then_some((true, all))
    }

    /// The changes of propagation.
    pub(super) fn propagations(&self) -> impl Iterator<Item = (bool, Change<'static>)> {
        self.propagation.iter().map(|(recursive, kind)| (*recursive, Change::propagation(*kind)))
    }

    /// The changes to make to a mount that exists, and whether they are recursive.
    pub(super) fn changes(&self) -> Vec<(bool, Change<'static>)> {
        let own = Change { set: self.set, clear: self.clear, ..Change::default() };
        let own = (!own.is_empty()).then_some((false, own));
        self.recursive_change().into_iter().chain(own).chain(self.propagations()).collect()
    }
}

/// The attributes of a bind mount by runc's rules, which are those of `mount --bind -o …` with its gaps closed: with no attribute named
/// the source's are kept; else those not named are cleared, but for the access time, which stays unless one is named.
///
/// In a user namespace the source's attributes are locked (mount_namespaces(7)): they are kept, and it is an error to clear one by name.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BindFlags {
    named: bool,
    access_time: bool,
    set: Attr,
    clear: Attr,
    /// Set for the whole tree before.
    spared: Attr,
    locked: bool,
}

const ACCESS_TIME: Attr = Attr::ATIME.union(Attr::NODIRATIME);
const LOCKABLE: Attr = Attr::RDONLY.union(Attr::NOSUID).union(Attr::NODEV).union(Attr::NOEXEC);

impl BindFlags {
    /// The change to a mount with the attributes `source`.
    ///
    /// # Errors
    /// `EPERM` where a locked attribute would be cleared.
    pub(crate) fn change(&self, source: Attr) -> Result<Change<'static>, Errno> {
        if !self.named {
            return Ok(Change::default());
        }
        let mut clear = (LOCKABLE | Attr::NOSYMFOLLOW) - self.set - self.spared;
        if self.access_time {
            clear |= ACCESS_TIME - self.set;
        }
        let same_time = !self.access_time || self.set & ACCESS_TIME == source & ACCESS_TIME;
        if self.locked {
            let kept = source & LOCKABLE;
            if kept.intersects(self.clear) || !same_time {
                return Err(Errno::PERM);
            }
            clear -= kept;
        }
        Ok(Change { set: self.set, clear, ..Change::default() })
    }
}

/// The last word counts: what is set is no longer cleared, what is cleared no longer set.
fn add(old_set: &mut Attr, old_clear: &mut Attr, set: Attr, clear: Attr) {
    *old_set = (*old_set - clear) | set;
    *old_clear = (*old_clear - set) | clear;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(options: &str) -> Options {
        Options::parse(&options.split(',').map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn a_bind_mount() {
        let options = parse("rbind,ro,rprivate,nosuid");
        assert!(options.recursive_bind && options.bind);
        assert_eq!(options.set, Attr::RDONLY | Attr::NOSUID);
        let changes = options.changes();
        assert_eq!(changes.len(), 2);
        assert!(!changes[0].0 && changes[1].0);
        assert_eq!(changes[1].1.propagation, Some(Propagation::Private));
    }

    #[test]
    fn a_tmpfs() {
        let options = parse("nosuid,strictatime,mode=755,size=65536k,nr_inodes=5k,noswap");
        assert_eq!(options.data[0], ("mode".into(), Some("755".into())));
        assert_eq!(options.data[3], ("noswap".into(), None));
        assert_eq!(options.set, Attr::NOSUID | Attr::STRICTATIME);
    }

    #[test]
    fn the_last_word_counts_and_r_means_all() {
        let options = parse("ro,rw,relatime");
        assert_eq!((options.set, options.clear), (Attr::empty(), Attr::RDONLY | Attr::ATIME));
        let options = parse("ro,rw,rro,rnoexec");
        assert_eq!((options.set, options.clear), (Attr::empty(), Attr::empty()));
        assert_eq!(options.recursive_set, Attr::RDONLY | Attr::NOEXEC);
        assert!(options.data.is_empty());
    }

    #[test]
    fn the_table_is_in_order() {
        let names: Vec<&str> = known().collect();
        assert!(names.windows(2).all(|pair| pair[0] < pair[1]));
        assert!(names.iter().all(|name| effect(name).is_some()));
    }

    #[test]
    fn the_access_time_is_one_field() {
        let access = |text: &str| {
            let options = parse(text);
            (options.set & Attr::ATIME, options.clear & Attr::ATIME)
        };
        assert_eq!(access("noatime,strictatime"), (Attr::STRICTATIME, Attr::ATIME));
        assert_eq!(access("strictatime,noatime"), (Attr::NOATIME, Attr::ATIME));
        assert_eq!(access("noatime,atime"), (Attr::empty(), Attr::ATIME));
        assert_eq!(access("strictatime,atime"), (Attr::STRICTATIME, Attr::ATIME));
        assert_eq!(access("noatime,nostrictatime"), (Attr::NOATIME, Attr::ATIME));
        let all = parse("rnoatime,rstrictatime,rnosymfollow");
        assert_eq!(all.recursive_set, Attr::STRICTATIME | Attr::NOSYMFOLLOW);
        assert_eq!(parse("rnoatime,ratime").recursive_set, Attr::empty());
    }

    #[test]
    fn flags_of_file_systems_keep_the_kernels_name() {
        let options = parse("sync,acl,lazytime,iversion,noiversion,size=1k,remount");
        let names: Vec<&str> = options.data.iter().map(|(key, _)| key.as_str()).collect();
        assert_eq!(names, ["sync", "lazytime", "size"]);
        assert!(options.remount);
    }
}
