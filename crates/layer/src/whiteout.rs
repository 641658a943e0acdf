//! Whiteouts: how a layer says that something below it is gone.
//!
//! In a tar, an empty file `.wh.<name>` hides `<name>` of the layers below, and `.wh..wh..opq` hides everything of them in its directory
//! (OCI image-spec layer.md#whiteouts). On the disk, overlayfs wants a character device 0:0 and the xattr `trusted.overlay.opaque`
//! (Linux Documentation/filesystems/overlayfs.rst).

use crate::path::EntryPath;

pub(crate) const PREFIX: &[u8] = b".wh.";
pub(crate) const OPAQUE_NAME: &[u8] = b".wh..wh..opq";
pub(crate) const OPAQUE_XATTR: &str = "trusted.overlay.opaque";
const META_PREFIX: &[u8] = b".wh..wh.";
const OVERLAY_XATTR: &[u8] = b"trusted.overlay.";

/// What an entry's name means in a layer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// Itself.
    Plain,
    /// This path of the layers below is gone.
    Whiteout(EntryPath),
    /// Everything of the layers below is gone from this directory.
    Opaque,
    /// A note of aufs to itself; skipped, as Docker does.
    Ignored,
    /// Nothing sensible.
    Refused(&'static str),
}

/// Says what the entry `path` means.
pub(crate) fn meaning(path: &EntryPath) -> Meaning {
    let (parent, name) = path.split();
    let mut parents = parent.split(|b| *b == b'/');
    if parents.clone().any(|part| part.starts_with(META_PREFIX)) {
        return Meaning::Ignored;
    }
    if parents.any(|part| part.starts_with(PREFIX)) {
        return Meaning::Refused("a path through a whiteout");
    }
    match name.strip_prefix(PREFIX) {
        None => Meaning::Plain,
        Some(_) if name == OPAQUE_NAME => Meaning::Opaque,
        Some(_) if name.starts_with(META_PREFIX) => Meaning::Ignored,
        Some(b"" | b"." | b"..") => Meaning::Refused("a whiteout of no name"),
        Some(hidden) => Meaning::Whiteout(path.with_name(hidden)),
    }
}

/// Tells whether `name` is one of overlayfs' own xattrs, which no image may set.
pub(crate) fn is_overlay_xattr(name: &[u8]) -> bool {
    name.starts_with(OVERLAY_XATTR)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::path::Absolute;

    fn of(name: &str) -> Meaning {
        meaning(&EntryPath::clean(name.as_bytes(), Absolute::Refused, 100).unwrap())
    }

    #[test]
    fn names_mean_what_the_specification_says() {
        assert_eq!(of("a/b"), Meaning::Plain);
        assert_eq!(of(".whx"), Meaning::Plain);
        let hidden = EntryPath::clean(b"a/b", Absolute::Refused, 100).unwrap();
        assert_eq!(of("a/.wh.b"), Meaning::Whiteout(hidden));
        assert_eq!(of("a/.wh..wh..opq"), Meaning::Opaque);
        assert_eq!(of(".wh..wh.plnk/12.34"), Meaning::Ignored);
        assert_eq!(of(".wh..wh.aufs"), Meaning::Ignored);
    }

    #[test]
    fn whiteouts_of_nothing_are_refused() {
        for name in [".wh.", "a/.wh.", ".wh..", ".wh...", "a/.wh.../"] {
            assert!(matches!(of(name), Meaning::Refused(_)), "{name}");
        }
        assert!(matches!(of(".wh.a/b"), Meaning::Refused(_)));
    }
}
