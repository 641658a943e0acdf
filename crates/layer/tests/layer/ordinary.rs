//! What real layers hold: owners, modes, times, links, devices, long names, whiteouts, sparse files.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;

use crate::common::{Head, Place, directory, file, hard_link, pax, symlink, tar};

fn xattr(path: &Path, name: &str) -> Option<Vec<u8>> {
    let mut value = [0_u8; 1000];
    let length = rustix::fs::lgetxattr(path, name, &mut value[..]).ok()?;
    Some(value[..length].to_vec())
}

fn is_whiteout(path: &Path) -> bool {
    let meta = fs::symlink_metadata(path).unwrap();
    meta.file_type().is_char_device() && meta.rdev() == 0
}

#[test]
fn everything_about_an_entry_arrives() {
    let place = Place::new();
    let capability = [1, 0, 0, 2, b'\n', 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let records: [(&str, &[u8]); 5] = [
        ("uid", b"70000"),
        ("gid", b"80000"),
        ("mtime", b"1234567890.123456789"),
        ("SCHILY.xattr.security.capability", &capability),
        ("SCHILY.xattr.user.empty", b""),
    ];
    let entries = [pax(&records), Head::new(b'0', "f").mode(0o6755).with(b"data")];
    let applied = place.apply(&tar(&entries)).unwrap();
    assert_eq!((applied.bytes, applied.entries), (4, 1));
    let meta = fs::metadata(place.at("f")).unwrap();
    assert_eq!((meta.uid(), meta.gid(), meta.mode() & 0o7777), (70000, 80000, 0o6755));
    assert_eq!((meta.mtime(), meta.mtime_nsec()), (1_234_567_890, 123_456_789));
    assert_eq!(xattr(&place.at("f"), "security.capability").unwrap(), capability);
}

#[test]
fn directories_keep_their_times_and_modes() {
    let place = Place::new();
    let sticky = Head::new(b'5', "d").mode(0o1777).block();
    place.apply(&tar(&[sticky, file("d/a", b""), directory("d/e"), directory("./")])).unwrap();
    let meta = fs::metadata(place.at("d")).unwrap();
    assert_eq!((meta.mtime(), meta.mode() & 0o7777), (7, 0o1777));
    assert_eq!(fs::metadata(place.target()).unwrap().mtime(), 7);
}

#[test]
fn links_devices_and_fifos_are_made() {
    let place = Place::new();
    let entries = [
        file("a", b"x"),
        hard_link("b", "a"),
        symlink("s", "/any/../where"),
        Head::new(b'3', "null").mode(0o666).device(1, 3).block(),
        Head::new(b'4', "disk").mode(0o660).device(7, 300).block(),
        Head::new(b'6', "pipe").mode(0o622).block(),
    ];
    place.apply(&tar(&entries)).unwrap();
    assert_eq!(fs::metadata(place.at("a")).unwrap().nlink(), 2);
    assert_eq!(fs::read_link(place.at("s")).unwrap(), Path::new("/any/../where"));
    assert_eq!(fs::symlink_metadata(place.at("s")).unwrap().mtime(), 7);
    let null = fs::metadata(place.at("null")).unwrap();
    assert_eq!((null.rdev(), null.mode() & 0o7777), (rustix::fs::makedev(1, 3), 0o666));
    let disk = fs::metadata(place.at("disk")).unwrap();
    assert!(disk.file_type().is_block_device());
    assert_eq!(disk.rdev(), rustix::fs::makedev(7, 300));
    let pipe = fs::metadata(place.at("pipe")).unwrap();
    assert!(pipe.file_type().is_fifo());
    assert_eq!((pipe.mode() & 0o7777, pipe.mtime()), (0o622, 7));
}

#[test]
fn long_names_of_both_dialects_are_read() {
    let place = Place::new();
    let long = format!("{}/{}", "d".repeat(150), "n".repeat(150));
    let gnu = Head::new(b'L', "././@LongLink").with(format!("{long}1\0").as_bytes());
    let link = Head::new(b'K', "././@LongLink").with(format!("{long}1\0").as_bytes());
    let entries = [
        gnu,
        file("cut", b"1"),
        pax(&[("path", format!("{long}2").as_bytes())]),
        file("cut", b"2"),
        link,
        hard_link("l", "cut"),
        Head::new(b'0', "name").field(345, b"pre/fix").with(b"3"),
    ];
    place.apply(&tar(&entries)).unwrap();
    assert_eq!(fs::read(place.at(format!("{long}1"))).unwrap(), b"1");
    assert_eq!(fs::read(place.at(format!("{long}2"))).unwrap(), b"2");
    assert_eq!(fs::read(place.at("l")).unwrap(), b"1");
    assert_eq!(fs::read(place.at("pre/fix/name")).unwrap(), b"3");
}

#[test]
fn later_entries_replace_earlier_ones() {
    let place = Place::new();
    let entries = [
        file("x", b"old"),
        file("x", b"new"),
        directory("d"),
        file("d/in", b""),
        file("d", b"now a file"),
        file("f", b""),
        directory("f"),
        file("f/in", b"z"),
        directory("f"),
    ];
    place.apply(&tar(&entries)).unwrap();
    assert_eq!(fs::read(place.at("x")).unwrap(), b"new");
    assert_eq!(fs::read(place.at("d")).unwrap(), b"now a file");
    assert_eq!(fs::read(place.at("f/in")).unwrap(), b"z");
}

#[test]
fn whiteouts_become_what_overlayfs_reads() {
    let place = Place::new();
    let entries = [
        file("d/.wh.gone", b""),
        file("o/.wh..wh..opq", b""),
        file("o/new", b""),
        file(".wh..wh.plnk/1.2", b""),
        file(".wh.again", b""),
        directory("again"),
        file("again/x", b""),
        directory("kept"),
        file("kept/x", b""),
        file(".wh.kept", b""),
        file("plain", b"1"),
        file(".wh.plain", b""),
    ];
    place.apply(&tar(&entries)).unwrap();
    assert!(is_whiteout(&place.at("d/gone")));
    assert_eq!(xattr(&place.at("o"), "trusted.overlay.opaque").unwrap(), b"y");
    assert!(!place.at(".wh..wh.plnk").exists());
    // A whiteout speaks of the layers below, in whatever order it comes.
    for name in ["again", "kept"] {
        assert_eq!(xattr(&place.at(name), "trusted.overlay.opaque").unwrap(), b"y", "{name}");
        assert!(place.at(name).join("x").exists());
    }
    assert_eq!(fs::read(place.at("plain")).unwrap(), b"1");
}

/// `a`, a hole up to byte 1000, `b`.
fn check_sparse(place: &Place) {
    let read = fs::read(place.at("f")).unwrap();
    assert_eq!(read.len(), 1001);
    assert_eq!((read[0], read[1000]), (b'a', b'b'));
    assert!(read[1..1000].iter().all(|b| *b == 0));
    assert_eq!(fs::read(place.at("after")).unwrap(), b"still in step");
}

#[test]
fn sparse_files_of_every_dialect_are_unpacked() {
    let after = file("after", b"still in step");
    let size: (&str, &[u8]) = ("GNU.sparse.size", b"1001");
    let zero_zero: [(&str, &[u8]); 5] = [
        size,
        ("GNU.sparse.offset", b"0"),
        ("GNU.sparse.numbytes", b"1"),
        ("GNU.sparse.offset", b"1000"),
        ("GNU.sparse.numbytes", b"1"),
    ];
    let zero_one: [(&str, &[u8]); 3] =
        [size, ("GNU.sparse.name", b"f"), ("GNU.sparse.map", b"0,1,1000,1")];
    let one: [(&str, &[u8]); 4] = [
        ("GNU.sparse.major", b"1"),
        ("GNU.sparse.minor", b"0"),
        ("GNU.sparse.realsize", b"1001"),
        ("GNU.sparse.name", b"f"),
    ];
    let mut data = b"2\n0\n1\n1000\n1\n".to_vec();
    data.resize(512, 0);
    data.extend_from_slice(b"ab");
    let old = Head::new(b'S', "f")
        .field(257, b"ustar  \0")
        .field(386, b"00000000000\x0000000000001\0")
        .field(410, b"00000001750\x0000000000001\0")
        .field(483, b"00000001751\0")
        .with(b"ab");
    for entries in [
        [pax(&zero_zero), file("f", b"ab")].concat(),
        [pax(&zero_one), file("GNUSparseFile.0/f", b"ab")].concat(),
        [pax(&one), file("GNUSparseFile.0/f", &data)].concat(),
        old,
    ] {
        let place = Place::new();
        let applied = place.apply(&tar(&[entries, after.clone()])).unwrap();
        assert_eq!(applied.bytes, 1001 + 13);
        check_sparse(&place);
    }
}

#[test]
fn gnu_tars_own_sparse_and_incremental_formats_agree() {
    let place = Place::new();
    let source = tempfile::tempdir().unwrap();
    let big = fs::File::create(source.path().join("f")).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&big, b"a", 0).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&big, b"b", 10_000_000).unwrap();
    for format in
        ["--format=gnu", "--sparse-version=0.0", "--sparse-version=0.1", "--sparse-version=1.0"]
    {
        let made = std::process::Command::new("tar")
            .args(["-S", "-c", format, "-C"])
            .arg(source.path())
            .arg("f")
            .output();
        let Ok(made) = made else { return };
        place.apply(&made.stdout).unwrap();
        let read = fs::read(place.at("f")).unwrap();
        assert_eq!((read.len(), read[0], read[10_000_000]), (10_000_001, b'a', b'b'), "{format}");
    }
}

#[test]
fn the_diff_id_is_that_of_the_whole_uncompressed_stream() {
    let mut plain = tar(&[file("a", &[7; 100_000])]);
    plain.extend_from_slice(b"trailing bytes are part of it");
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&plain).unwrap();
    let zstd = zstd::encode_all(&plain[..], 1).unwrap();
    for compressed in [plain.clone(), gzip.finish().unwrap(), zstd] {
        let applied = Place::new().apply(&compressed).unwrap();
        assert_eq!(applied.diff_id.0, types::Digest::of(&plain));
    }
}

#[test]
fn a_tar_of_the_tar_crate_reads() {
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(3);
    header.set_mode(0o600);
    let name = "x/".repeat(80) + "f";
    builder.append_data(&mut header, &name, &b"abc"[..]).unwrap();
    let place = Place::new();
    place.apply(&builder.into_inner().unwrap()).unwrap();
    assert_eq!(fs::read(place.at(name)).unwrap(), b"abc");
}
