//! Names of entries, made safe: relative, without `.` and `..`, bounded.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

/// PATH_MAX: what one system call can still name.
const MOST_BYTES: usize = 4095;
/// NAME_MAX of every file system an overlay can stand on.
const MOST_COMPONENT_BYTES: usize = 255;

/// A path beneath the directory that is unpacked into; empty for that directory itself.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct EntryPath(Vec<u8>);

/// Whether a leading slash is refused (a layer) or means the root unpacked into (`docker cp`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Absolute {
    Refused,
    Beneath,
}

impl EntryPath {
    /// Cleans the name of an entry, or says why nobody may use it.
    pub(crate) fn clean(
        name: &[u8],
        absolute: Absolute,
        most_components: usize,
    ) -> Result<Self, &'static str> {
        if name.is_empty() {
            return Err("an empty name");
        }
        if name.contains(&0) {
            return Err("a name with a NUL byte");
        }
        // A lone slash is how some builders write the root itself.
        let is_root = name.iter().all(|b| *b == b'/');
        if name[0] == b'/' && absolute == Absolute::Refused && !is_root {
            return Err("an absolute path");
        }
        let mut path = Vec::with_capacity(name.len());
        let mut components = 0;
        for component in name.split(|b| *b == b'/').filter(|c| !matches!(*c, b"" | b".")) {
            if component == b".." {
                return Err("a path with `..`");
            }
            if component.len() > MOST_COMPONENT_BYTES {
                return Err("a name longer than 255 bytes");
            }
            if !path.is_empty() {
                path.push(b'/');
            }
            path.extend_from_slice(component);
            components += 1;
        }
        match path.len() {
            0..=MOST_BYTES if components <= most_components => Ok(Self(path)),
            0..=MOST_BYTES => Err("a path with too many components"),
            _ => Err("a path longer than 4095 bytes"),
        }
    }

    pub(crate) fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    #[cfg(test)]
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    pub(crate) fn as_path(&self) -> &Path {
        Path::new(OsStr::from_bytes(&self.0))
    }

    /// Splits into the directory and the last component.
    pub(crate) fn split(&self) -> (&[u8], &[u8]) {
        match self.0.iter().rposition(|b| *b == b'/') {
            Some(at) => (&self.0[..at], &self.0[at + 1..]),
            None => (&[], &self.0),
        }
    }

    /// Returns the path with its last component replaced by `name`.
    pub(crate) fn with_name(&self, name: &[u8]) -> Self {
        match self.split().0 {
            [] => Self(name.to_vec()),
            parent => Self([parent, b"/", name].concat()),
        }
    }

    /// Returns the directory of the path; of the root, the root.
    pub(crate) fn parent(&self) -> Self {
        Self(self.split().0.to_vec())
    }

    pub(crate) fn components(&self) -> impl Iterator<Item = &[u8]> {
        self.0.split(|b| *b == b'/')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clean(name: &[u8]) -> Result<Vec<u8>, &'static str> {
        EntryPath::clean(name, Absolute::Refused, 10).map(|path| path.0)
    }

    #[test]
    fn names_become_relative_paths() {
        assert_eq!(clean(b"./a//b/./c/"), Ok(b"a/b/c".to_vec()));
        assert_eq!(clean(b"."), Ok(vec![]));
        assert_eq!(clean(b"./"), Ok(vec![]));
        assert_eq!(clean(b"/"), Ok(vec![]));
        assert_eq!(clean(b"..a/b.."), Ok(b"..a/b..".to_vec()));
        let beneath = EntryPath::clean(b"/a", Absolute::Beneath, 10).unwrap();
        assert_eq!(beneath.as_bytes(), b"a");
    }

    #[test]
    fn hostile_names_are_refused() {
        assert_eq!(clean(b""), Err("an empty name"));
        assert_eq!(clean(b"/etc/passwd"), Err("an absolute path"));
        for dots in [&b".."[..], b"../a", b"a/../../b", b"a/.."] {
            assert_eq!(clean(dots), Err("a path with `..`"));
        }
        assert_eq!(clean(b"a\0b"), Err("a name with a NUL byte"));
        assert_eq!(clean(&[b'a'; 256]), Err("a name longer than 255 bytes"));
        assert_eq!(clean(&b"a/".repeat(11)), Err("a path with too many components"));
        let long = [&[b'a'; 255][..], b"/"].concat().repeat(17);
        assert_eq!(
            EntryPath::clean(&long, Absolute::Refused, 100).unwrap_err(),
            "a path longer than 4095 bytes"
        );
    }

    #[test]
    fn paths_split_at_the_last_slash() {
        let path = EntryPath::clean(b"a/b/c", Absolute::Refused, 10).unwrap();
        assert_eq!(path.split(), (&b"a/b"[..], &b"c"[..]));
        assert_eq!(path.with_name(b"d").as_bytes(), b"a/b/d");
    }
}
