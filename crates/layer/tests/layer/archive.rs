//! `docker cp` in and out of a root that may be hostile.

use std::fs;
use std::os::fd::AsFd as _;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::Path;

use layer::archive::{self, UnpackOptions};

use crate::common::{Place, chain, directory, file, hard_link, tar};

fn names(place: &Place, path: &str) -> Vec<String> {
    let root = fs::File::open(place.target()).unwrap();
    let mut bytes = Vec::new();
    archive::pack_path(root.as_fd(), Path::new(path), &mut bytes).unwrap();
    let mut read = tar::Archive::new(&bytes[..]);
    let entries = read.entries().unwrap();
    entries.map(|entry| entry.unwrap().path().unwrap().to_str().unwrap().to_owned()).collect()
}

fn unpack(
    place: &Place,
    path: &str,
    tar: &[u8],
    options: UnpackOptions,
) -> Result<(), layer::Error> {
    let root = fs::File::open(place.target()).unwrap();
    archive::unpack_into(root.as_fd(), Path::new(path), tar, &options)
}

/// A root with `/etc/conf`, `/srv -> /data` and `/out -> <outside>`.
fn root() -> Place {
    let place = Place::new();
    fs::create_dir_all(place.at("etc/sub")).unwrap();
    fs::write(place.at("etc/conf"), b"c").unwrap();
    fs::create_dir(place.at("data")).unwrap();
    fs::write(place.at("data/f"), b"f").unwrap();
    symlink("/data", place.at("srv")).unwrap();
    symlink(place.outside(), place.at("out")).unwrap();
    symlink("../../../../..", place.at("up")).unwrap();
    place
}

#[test]
fn entries_are_named_as_docker_names_them() {
    let place = root();
    assert_eq!(names(&place, "/etc"), ["etc/", "etc/conf", "etc/sub/"]);
    assert_eq!(names(&place, "etc/"), ["etc/", "etc/conf", "etc/sub/"]);
    assert_eq!(names(&place, "/etc/."), ["./", "./conf", "./sub/"]);
    assert_eq!(names(&place, "/etc/conf"), ["conf"]);
    assert_eq!(names(&place, "/srv"), ["srv"]);
    assert_eq!(names(&place, "/srv/"), ["srv/", "srv/f"]);
    assert_eq!(names(&place, "/srv/f"), ["f"]);
    assert_eq!(names(&place, "/")[..2], ["/", "/data/"]);
}

#[test]
fn a_stat_says_what_the_client_needs() {
    let place = root();
    let dir = fs::File::open(place.target()).unwrap();
    let stat = |path: &str| archive::stat(dir.as_fd(), Path::new(path));
    let conf = stat("/etc/conf").unwrap();
    assert_eq!((conf.name.as_str(), conf.size, conf.mode & 0o170_000), ("conf", 1, 0o100_000));
    let srv = stat("/srv").unwrap();
    assert_eq!((srv.name.as_str(), srv.link_target.as_path()), ("srv", Path::new("/data")));
    let end = stat("/srv/").unwrap();
    assert_eq!((end.name.as_str(), end.mode & 0o170_000), ("srv", 0o040_000));
    assert_eq!(stat("/up").unwrap().link_target, Path::new("/"));
    for missing in ["/none", "/etc/conf/x", "/none/x", "/out/sentinel"] {
        let error = stat(missing).unwrap_err();
        assert_eq!(error.kind(), types::Kind::NotFound, "{missing}");
        assert_eq!(error.to_string(), format!("find `{missing}`"));
    }
}

#[test]
fn nothing_outside_the_root_is_read_or_written() {
    let place = root();
    let host = place.outside().join("sentinel");
    let evil = tar(&[file("sentinel", b"changed")]);
    // The link's own words, taken as a path inside the root, do not exist there.
    assert_eq!(
        unpack(&place, "/out", &evil, UnpackOptions::default()).unwrap_err().kind(),
        types::Kind::NotFound
    );
    let through = tar(&[file("out/sentinel", b"changed")]);
    assert!(unpack(&place, "/", &through, UnpackOptions::default()).is_err());
    unpack(&place, "/up", &tar(&[file("x", b"")]), UnpackOptions::default()).unwrap();
    assert!(place.at("x").exists());
    let dots = tar(&[file("../../outside/sentinel", b"changed")]);
    let error = unpack(&place, "/etc", &dots, UnpackOptions::default()).unwrap_err();
    assert_eq!(
        chain(&error),
        "unpack `archive`: refuse entry `../../outside/sentinel`: a path with `..`"
    );
    let link = tar(&[hard_link("l", "../../../outside/sentinel")]);
    assert!(unpack(&place, "/etc", &link, UnpackOptions::default()).is_err());
    assert_eq!(fs::read(host).unwrap(), b"untouched");
    place.check();
}

#[test]
fn links_are_followed_as_the_container_follows_them() {
    let place = root();
    unpack(&place, "/srv", &tar(&[file("new", b"1")]), UnpackOptions::default()).unwrap();
    assert_eq!(fs::read(place.at("data/new")).unwrap(), b"1");
    unpack(&place, "/", &tar(&[file("srv/below", b"2")]), UnpackOptions::default()).unwrap();
    assert_eq!(fs::read(place.at("data/below")).unwrap(), b"2");
    unpack(&place, "/", &tar(&[file("/abs/olute", b"3")]), UnpackOptions::default()).unwrap();
    assert_eq!(fs::read(place.at("abs/olute")).unwrap(), b"3");
}

#[test]
fn targets_and_options_are_checked() {
    let place = root();
    let one = tar(&[file("f", b"")]);
    let error = unpack(&place, "/etc/conf", &one, UnpackOptions::default()).unwrap_err();
    assert_eq!(error.to_string(), "unpack into `/etc/conf`: extraction point is not a directory");
    assert_eq!(error.kind(), types::Kind::Invalid);
    assert_eq!(
        unpack(&place, "/no", &one, UnpackOptions::default()).unwrap_err().kind(),
        types::Kind::NotFound
    );
    let keep = UnpackOptions { no_overwrite_dir_non_dir: true, owner: None };
    for (over, words) in [
        (file("sub", b""), "cannot overwrite directory with non-directory"),
        (directory("conf"), "cannot overwrite non-directory with directory"),
    ] {
        let error = unpack(&place, "/etc", &tar(&[over]), keep).unwrap_err();
        assert!(error.to_string().ends_with(words), "{error}");
    }
    let before = fs::metadata(place.at("etc")).unwrap().mode();
    unpack(&place, "/etc", &tar(&[directory("./"), file("sub", b"")]), UnpackOptions::default())
        .unwrap();
    assert!(place.at("etc/sub").is_file());
    assert_eq!(fs::metadata(place.at("etc")).unwrap().mode(), before);
    let owned = UnpackOptions { no_overwrite_dir_non_dir: false, owner: Some((33, 44)) };
    unpack(&place, "/etc", &one, owned).unwrap();
    let meta = fs::metadata(place.at("etc/f")).unwrap();
    assert_eq!((meta.uid(), meta.gid()), (33, 44));
}

#[test]
fn whiteout_names_are_ordinary_names_here() {
    let place = root();
    unpack(&place, "/etc", &tar(&[file(".wh.conf", b"w")]), UnpackOptions::default()).unwrap();
    assert_eq!(fs::read(place.at("etc/.wh.conf")).unwrap(), b"w");
    assert_eq!(fs::read(place.at("etc/conf")).unwrap(), b"c");
}
