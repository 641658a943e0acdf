//! `docker diff` over directories made by hand as overlayfs makes them.

use std::fs;
use std::path::{Path, PathBuf};

use layer::ChangeKind::{Added, Deleted, Modified};

use crate::common::{Head, Place, directory, file, tar};

/// Makes an upper directory over two lower ones, all out of tars, and lists the changes.
fn changes(upper: &[Vec<u8>], lowers: [&[Vec<u8>]; 2]) -> Vec<(String, layer::ChangeKind)> {
    let (top, a, b) = (Place::new(), Place::new(), Place::new());
    top.apply(&tar(upper)).unwrap();
    a.apply(&tar(lowers[0])).unwrap();
    b.apply(&tar(lowers[1])).unwrap();
    layer::changes(&top.target(), &[a.target(), b.target()])
        .unwrap()
        .into_iter()
        .map(|change| (change.path.to_str().unwrap().to_owned(), change.kind))
        .collect()
}

fn listed(list: &[(&str, layer::ChangeKind)]) -> Vec<(String, layer::ChangeKind)> {
    list.iter().map(|(path, kind)| ((*path).to_owned(), *kind)).collect()
}

#[test]
fn added_changed_and_deleted_are_told_apart_and_parents_change() {
    let base =
        [directory("etc"), file("etc/passwd", b"a"), file("etc/bash", b"b"), directory("root")];
    let upper = [
        directory("etc"),
        file("etc/bash", b"changed"),
        file("etc/.wh.passwd", b""),
        directory("new"),
        file("new/file", b""),
        file("root/.wh.never-there", b""),
    ];
    assert_eq!(
        changes(&upper, [&[], &base]),
        listed(&[
            ("/etc", Modified),
            ("/etc/bash", Modified),
            ("/etc/passwd", Deleted),
            ("/new", Added),
            ("/new/file", Added),
        ])
    );
}

#[test]
fn what_was_only_copied_up_is_no_change() {
    let base = [directory("d"), file("d/same", b"x"), file("d/mode", b"y")];
    let upper =
        [directory("d"), file("d/same", b"x"), Head::new(b'0', "d/mode").mode(0o600).with(b"y")];
    assert_eq!(changes(&upper, [&base, &[]]), listed(&[("/d", Modified), ("/d/mode", Modified)]));
    assert_eq!(changes(&upper[..2], [&base, &[]]), []);
}

#[test]
fn opaque_directories_and_lower_whiteouts_count() {
    let bottom = [directory("o"), file("o/gone", b""), file("o/kept", b"1"), file("w", b"")];
    let middle = [file(".wh.w", b""), directory("o"), file("o/.wh.hidden", b"")];
    let upper = [
        directory("o"),
        file("o/.wh..wh..opq", b""),
        file("o/kept", b"22"),
        file("w", b"back again"),
    ];
    assert_eq!(
        changes(&upper, [&middle, &bottom]),
        listed(&[("/o", Modified), ("/o/gone", Deleted), ("/o/kept", Modified), ("/w", Added),])
    );
}

#[test]
fn a_file_in_the_place_of_a_directory_is_one_change() {
    let base = [directory("d"), file("d/x", b"")];
    assert_eq!(changes(&[file("d", b"")], [&base, &[]]), listed(&[("/d", Modified)]));
    let upper = [directory("f"), file("f/x", b"")];
    assert_eq!(
        changes(&upper, [&[file("f", b"")], &[]]),
        listed(&[("/f", Modified), ("/f/x", Added)])
    );
}

#[test]
fn links_in_layers_are_not_followed() {
    let place = Place::new();
    fs::create_dir(place.at("etc")).unwrap();
    fs::write(place.at("etc/sentinel"), b"").unwrap();
    let lower = Place::new();
    std::os::unix::fs::symlink(place.outside(), lower.at("etc")).unwrap();
    let list = layer::changes(&place.target(), &[lower.target()]).unwrap();
    let kinds: Vec<_> = list.iter().map(|change| (change.path.as_path(), change.kind)).collect();
    assert_eq!(kinds, [(Path::new("/etc"), Modified), (Path::new("/etc/sentinel"), Added)]);
    assert_eq!(list[0].path, PathBuf::from("/etc"));
}
