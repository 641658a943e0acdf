//! The options of a mount: attributes, propagation, and what is left for the file system.

use sys::mount::{Attr, Change, Propagation};

/// Mount options, understood.
#[derive(Debug, Default)]
pub(super) struct Options {
    /// Attributes of the mount itself.
    pub(super) set: Attr,
    pub(super) clear: Attr,
    /// Attributes of the mount and all beneath (`rro` and so on).
    pub(super) recursive_set: Attr,
    pub(super) recursive_clear: Attr,
    /// Changes of propagation, and whether they are recursive.
    pub(super) propagation: Vec<(bool, Propagation)>,
    pub(super) bind: bool,
    pub(super) recursive_bind: bool,
    pub(super) copy_up: bool,
    pub(super) id_mapped: bool,
    pub(super) recursive_id_map: bool,
    /// `key=value` and flags for the file system.
    pub(super) data: Vec<(String, Option<String>)>,
}

impl Options {
    pub(super) fn parse(options: &[String]) -> Self {
        let mut parsed = Self::default();
        for option in options {
            parsed.add(option);
        }
        parsed
    }

    fn add(&mut self, option: &str) {
        if self.add_attribute(option) || self.add_propagation(option) {
            return;
        }
        match option {
            "defaults" | "async" | "nolazytime" | "nomand" | "noiversion" | "loud" | "remount"
            | "" => {}
            "bind" => self.bind = true,
            "rbind" => {
                self.bind = true;
                self.recursive_bind = true;
            }
            "tmpcopyup" => self.copy_up = true,
            "idmap" => self.id_mapped = true,
            "ridmap" => {
                self.id_mapped = true;
                self.recursive_id_map = true;
            }
            other => self.data.push(match other.split_once('=') {
                Some((key, value)) => (key.to_owned(), Some(value.to_owned())),
                None => (other.to_owned(), None),
            }),
        }
    }

    fn add_attribute(&mut self, option: &str) -> bool {
        if let Some((set, clear)) = attribute(option) {
            self.set = (self.set - clear) | set;
            self.clear = (self.clear - set) | clear;
            return true;
        }
        let recursive = option.strip_prefix('r').and_then(attribute);
        if let Some((set, clear)) = recursive {
            self.recursive_set = (self.recursive_set - clear) | set;
            self.recursive_clear = (self.recursive_clear - set) | clear;
        }
        recursive.is_some()
    }

    fn add_propagation(&mut self, option: &str) -> bool {
        let recursive = option.starts_with('r');
        let kind = match option {
            "shared" | "rshared" => Propagation::Shared,
            "slave" | "rslave" => Propagation::Slave,
            "private" | "rprivate" => Propagation::Private,
            "unbindable" | "runbindable" => Propagation::Unbindable,
            _ => return false,
        };
        self.propagation.push((recursive, kind));
        true
    }

    /// The changes to make to a mount that exists, and whether they are recursive.
    pub(super) fn changes(&self) -> Vec<(bool, Change<'static>)> {
        let own = Change { set: self.set, clear: self.clear, ..Change::default() };
        let all =
            Change { set: self.recursive_set, clear: self.recursive_clear, ..Change::default() };
        let mut changes = vec![(true, all), (false, own)];
        changes.retain(|(_, change)| !change.is_empty());
        let propagation = self.propagation.iter();
        changes
            .extend(propagation.map(|(recursive, kind)| (*recursive, Change::propagation(*kind))));
        changes
    }
}

/// What an option sets and clears.
fn attribute(option: &str) -> Option<(Attr, Attr)> {
    let none = Attr::empty();
    Some(match option {
        "ro" => (Attr::RDONLY, none),
        "rw" => (none, Attr::RDONLY),
        "nosuid" => (Attr::NOSUID, none),
        "suid" => (none, Attr::NOSUID),
        "nodev" => (Attr::NODEV, none),
        "dev" => (none, Attr::NODEV),
        "noexec" => (Attr::NOEXEC, none),
        "exec" => (none, Attr::NOEXEC),
        "nodiratime" => (Attr::NODIRATIME, none),
        "diratime" => (none, Attr::NODIRATIME),
        "noatime" => (Attr::NOATIME, none),
        "strictatime" => (Attr::STRICTATIME, none),
        "relatime" | "atime" | "norelatime" | "nostrictatime" => (none, Attr::ATIME),
        "nosymfollow" => (Attr::NOSYMFOLLOW, none),
        "symfollow" => (none, Attr::NOSYMFOLLOW),
        _ => return None,
    })
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
        let options = parse("ro,rw,rro,rnoexec,relatime");
        assert_eq!((options.set, options.clear), (Attr::empty(), Attr::RDONLY | Attr::ATIME));
        assert_eq!(options.recursive_set, Attr::RDONLY | Attr::NOEXEC);
        assert!(options.data.is_empty());
    }
}
