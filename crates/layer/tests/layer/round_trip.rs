//! What is packed unpacks to the same tree, whiteouts included.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use proptest::prelude::*;

use crate::common::Place;

/// Describes a tree completely: type, mode, owner, time, device, links, content, xattrs.
fn describe(root: &Path) -> BTreeMap<PathBuf, String> {
    let mut described = BTreeMap::new();
    let mut pending = vec![root.to_owned()];
    while let Some(path) = pending.pop() {
        let meta = fs::symlink_metadata(&path).unwrap();
        let mut text = format!(
            "{:o} {}:{} {}.{} {}",
            meta.mode(),
            meta.uid(),
            meta.gid(),
            meta.mtime(),
            meta.mtime_nsec(),
            meta.rdev()
        );
        if meta.is_dir() {
            pending.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else {
            text += &format!(" {}", meta.nlink());
        }
        if meta.is_file() {
            text += &format!(" {:?}", types::Digest::of(&fs::read(&path).unwrap()));
        }
        if meta.is_symlink() {
            text += &format!(" {:?}", fs::read_link(&path).unwrap());
        }
        for name in ["user.a", "trusted.overlay.opaque", "trusted.mine"] {
            let mut value = [0_u8; 64];
            if let Ok(length) = rustix::fs::lgetxattr(&path, OsStr::new(name), &mut value[..]) {
                text += &format!(" {name}={:?}", &value[..length]);
            }
        }
        // The root and the whiteouts have no description of their own in a layer.
        let bare = meta.rdev() == 0 && meta.mode() & 0o170_000 == 0o020_000;
        let relative = path.strip_prefix(root).unwrap().to_owned();
        if relative.as_os_str().is_empty() {
            continue;
        }
        described.insert(relative, if bare { "whiteout".to_owned() } else { text });
    }
    described
}

/// Lists the paths that differ, with both descriptions.
fn difference(a: &Path, b: &Path) -> Vec<String> {
    let (a, b) = (describe(a), describe(b));
    let paths: std::collections::BTreeSet<_> = a.keys().chain(b.keys()).collect();
    let differs = paths.into_iter().filter(|path| a.get(*path) != b.get(*path));
    differs
        .map(|path| format!("{path:?}: {:?} != {:?}", a.get(path), b.get(path)))
        .take(3)
        .collect()
}

/// One thing to put into an upper directory.
#[derive(Clone, Debug)]
enum Thing {
    File(Vec<u8>),
    Directory { opaque: bool },
    Whiteout,
    Symlink(String),
    Fifo,
    HardLink,
}

fn thing() -> impl Strategy<Value = Thing> {
    prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..2000).prop_map(Thing::File),
        any::<bool>().prop_map(|opaque| Thing::Directory { opaque }),
        Just(Thing::Whiteout),
        "[a-z/.]{1,150}".prop_map(Thing::Symlink),
        Just(Thing::Fifo),
        Just(Thing::HardLink),
    ]
}

fn put(root: &Path, name: &str, thing: &Thing, mode: u32, time: (i64, u32)) {
    use rustix::fs::{FileType, Mode};
    let path = root.join(name);
    if fs::symlink_metadata(&path).is_ok() || fs::create_dir_all(path.parent().unwrap()).is_err() {
        return;
    }
    let node = |kind, device| {
        rustix::fs::mknodat(rustix::fs::CWD, &path, kind, Mode::from_raw_mode(0o600), device)
            .unwrap();
    };
    match thing {
        Thing::File(data) => fs::write(&path, data).unwrap(),
        Thing::Directory { opaque } => {
            fs::create_dir(&path).unwrap();
            if *opaque {
                let flags = rustix::fs::XattrFlags::empty();
                rustix::fs::setxattr(&path, "trusted.overlay.opaque", b"y", flags).unwrap();
            }
        }
        Thing::Whiteout => return node(FileType::CharacterDevice, 0),
        Thing::Symlink(target) => std::os::unix::fs::symlink(target, &path).unwrap(),
        Thing::Fifo => node(FileType::Fifo, 0),
        Thing::HardLink => {
            let first = root.join("first");
            fs::write(&first, b"shared").unwrap();
            fs::hard_link(&first, &path).unwrap();
        }
    }
    let link = matches!(thing, Thing::Symlink(_));
    if !link {
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
        let flags = rustix::fs::XattrFlags::empty();
        let _ = rustix::fs::setxattr(&path, "user.a", &mode.to_le_bytes(), flags);
    }
    std::os::unix::fs::lchown(&path, Some(mode * 7), Some(3_000_000)).unwrap();
    let time = rustix::fs::Timespec { tv_sec: time.0, tv_nsec: time.1.into() };
    let times = rustix::fs::Timestamps { last_access: time, last_modification: time };
    let flags = rustix::fs::AtFlags::SYMLINK_NOFOLLOW;
    rustix::fs::utimensat(rustix::fs::CWD, &path, &times, flags).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..Default::default() })]

    #[test]
    fn a_packed_upper_directory_unpacks_to_itself(
        things in proptest::collection::vec(
            ("[a-c]{1,2}(/[a-z]{1,120}){0,2}", thing(), 0..0o1000_u32, -2_000_000_000..4_000_000_000_i64, 0..1_000_000_000_u32),
            0..20,
        )
    ) {
        let (from, to) = (Place::new(), Place::new());
        for (name, thing, mode, seconds, nanoseconds) in &things {
            put(&from.target(), name, thing, *mode, (*seconds, *nanoseconds));
        }
        let mut tar = Vec::new();
        let packed = layer::pack(&from.target(), &mut tar).unwrap();
        let applied = to.apply(&tar).unwrap();
        prop_assert_eq!(&packed.diff_id, &applied.diff_id);
        prop_assert_eq!(packed.bytes, tar.len() as u64);
        prop_assert_eq!(difference(&from.target(), &to.target()), Vec::<String>::new());
        let mut again = Vec::new();
        layer::pack(&to.target(), &mut again).unwrap();
        prop_assert!(again == tar, "packing twice gives the same bytes");
    }
}

#[test]
fn a_name_reserved_for_whiteouts_is_not_packed_as_one() {
    let place = Place::new();
    fs::write(place.at(".wh.passwd"), b"").unwrap();
    let error = layer::pack(&place.target(), Vec::new()).unwrap_err();
    assert_eq!(error.to_string(), "pack `.wh.passwd`: its name is reserved for whiteouts");
    assert_eq!(error.kind(), types::Kind::Invalid);
    layer::pack_tree(&place.target(), Vec::new()).unwrap();
}

#[test]
fn gnu_tar_unpacks_a_packed_tree_to_itself() {
    let (from, to) = (Place::new(), Place::new());
    for depth in 0..40 {
        put(
            &from.target(),
            &format!("{}f", "d/".repeat(depth)),
            &Thing::File(vec![1; depth]),
            0o640,
            (9, 0),
        );
        put(&from.target(), &format!("{}z", "d/".repeat(depth)), &Thing::HardLink, 0o640, (9, 0));
    }
    let file = from.outside().parent().unwrap().join("outside.tar");
    let packed = layer::pack_tree(&from.target(), fs::File::create(&file).unwrap());
    packed.unwrap();
    let unpacked = std::process::Command::new("tar")
        .args(["--numeric-owner", "--xattrs", "--xattrs-include=*", "-xpf"])
        .arg(&file)
        .arg("-C")
        .arg(to.target())
        .status();
    fs::remove_file(file).unwrap();
    let Ok(status) = unpacked else { return };
    assert!(status.success());
    assert_eq!(difference(&from.target(), &to.target()), Vec::<String>::new());
}
