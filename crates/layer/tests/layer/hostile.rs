//! Layers that nobody should unpack: refused with layer and entry named, or made harmless; nothing outside is touched.

use crate::common::{Head, Place, chain, directory, file, hard_link, pax, symlink, tar};

/// Unpacks and expects a refusal whose words end in `reason` and name `entry`.
fn refused(entries: &[Vec<u8>], entry: &str, reason: &str) {
    let place = Place::new();
    let error = place.apply(&tar(entries)).unwrap_err();
    let expected = format!("unpack `the-layer`: refuse entry `{entry}`: {reason}");
    assert_eq!(chain(&error), expected);
    assert_eq!(error.kind(), types::Kind::Invalid);
    place.check();
}

/// Unpacks and expects a malformed tar.
fn malformed(bytes: &[u8], after: &str, reason: &str) {
    let place = Place::new();
    let error = place.apply(bytes).unwrap_err();
    assert_eq!(
        chain(&error),
        format!("unpack `the-layer`: bad tar after entry `{after}`: {reason}")
    );
    assert_eq!(error.kind(), types::Kind::Invalid);
    place.check();
}

#[test]
fn names_that_lead_out_are_refused() {
    for (name, reason) in [
        ("../evil", "a path with `..`"),
        ("a/../../evil", "a path with `..`"),
        ("..", "a path with `..`"),
        ("/etc/passwd", "an absolute path"),
        ("//evil", "an absolute path"),
        ("", "an empty name"),
    ] {
        refused(&[file(name, b"x")], name, reason);
        refused(&[directory(name)], name, reason);
        refused(&[symlink(name, "x")], name, reason);
    }
    let long = "d/".repeat(1001);
    refused(
        &[pax(&[("path", long.as_bytes())]), file("x", b"")],
        &format!("{}…", &long[..200]),
        "a path with too many components",
    );
    let wide = "n".repeat(256);
    refused(
        &[pax(&[("path", wide.as_bytes())]), file("x", b"")],
        &format!("{}…", &wide[..200]),
        "a name longer than 255 bytes",
    );
}

#[test]
fn links_are_never_written_through_to_the_outside() {
    let place = Place::new();
    let outside = place.outside();
    let outside = outside.to_str().unwrap();
    for target in [outside, "../outside", "./../outside", "/proc/self/cwd", "/"] {
        let entries = [symlink("link", target), file("link/sentinel", b"changed")];
        let error = place.apply(&tar(&entries)).unwrap_err();
        assert!(chain(&error).ends_with("a path through a link that leads outside"), "{error}");
        assert!(chain(&error).contains("`link/sentinel`"), "{error}");
        place.check();
        let entries = [symlink("link", target), directory("link/new")];
        assert!(place.apply(&tar(&entries)).is_err());
        let entries = [symlink("link", target), file("link/.wh.sentinel", b"")];
        assert!(place.apply(&tar(&entries)).is_err());
        let entries = [symlink("link", target), file("link/.wh..wh..opq", b"")];
        assert!(place.apply(&tar(&entries)).is_err());
        place.check();
    }
    // A link in the place of a file, directory or whiteout is replaced, not followed.
    let to_sentinel = format!("{outside}/sentinel");
    for over in [file("link", b"changed"), directory("link"), file("link", b"")] {
        place.apply(&tar(&[symlink("link", &to_sentinel), over])).unwrap();
        place.check();
        assert!(!place.at("link").is_symlink());
    }
}

#[test]
fn chains_of_links_do_not_lead_out_either() {
    let place = Place::new();
    let entries = [
        directory("a"),
        symlink("a/b", ".."),
        symlink("a/b/c", ".."),
        file("a/b/c/outside/sentinel", b"changed"),
    ];
    assert!(place.apply(&tar(&entries)).is_err());
    place.check();
    let entries = [symlink("loop", "loop"), file("loop/x", b"")];
    refused(&entries, "loop/x", "a path through a link that leads outside");
}

#[test]
fn links_inside_the_layer_are_followed() {
    let place = Place::new();
    let entries =
        [directory("usr"), directory("usr/lib"), symlink("lib", "usr/lib"), file("lib/x", b"in")];
    place.apply(&tar(&entries)).unwrap();
    assert_eq!(std::fs::read(place.at("usr/lib/x")).unwrap(), b"in");
}

#[test]
fn hard_links_stay_inside() {
    let gone = "a hard link to something that is not in the layer";
    refused(&[hard_link("l", "../outside/sentinel")], "l", "a hard link to a path with `..`");
    refused(&[hard_link("l", "/etc/passwd")], "l", "a hard link to an absolute path");
    refused(&[hard_link("l", "absent")], "l", gone);
    refused(&[hard_link("l", "no/such/dir")], "l", gone);
    refused(&[hard_link("l", "")], "l", "a hard link to a bad path");
    refused(&[file("l", b""), hard_link("l", "./l")], "l", "a hard link to itself");
    refused(&[directory("d"), hard_link("l", "d")], "l", "a hard link to a directory");
    refused(
        &[symlink("out", "../outside"), hard_link("l", "out/sentinel")],
        "l",
        "a path through a link that leads outside",
    );
    // A hard link to a symbolic link is a second name of the link.
    let place = Place::new();
    let sentinel = place.outside().join("sentinel");
    let to_link = [symlink("s", sentinel.to_str().unwrap()), hard_link("l", "s"), file("l", b"x")];
    place.apply(&tar(&to_link)).unwrap();
    place.check();
}

#[test]
fn whiteouts_of_nothing_are_refused() {
    for name in [".wh.", "d/.wh.", ".wh..", ".wh..."] {
        refused(&[directory("d"), file(name, b"")], name, "a whiteout of no name");
    }
    refused(&[file(".wh.a/b", b"")], ".wh.a/b", "a path through a whiteout");
    refused(
        &[file(".wh.a", b""), file("a/b", b"")],
        "a/b",
        "a path through something that is no directory",
    );
}

#[test]
fn what_is_no_directory_is_not_walked_through() {
    let reason = "a path through something that is no directory";
    refused(&[file("f", b""), file("f/x", b"")], "f/x", reason);
    refused(&[file(".", b"")], ".", "the root is a directory");
    refused(&[symlink("./", "x")], "./", "the root is a directory");
}

#[test]
fn overlay_xattrs_of_an_image_are_dropped() {
    let place = Place::new();
    let records: [(&str, &[u8]); 3] = [
        ("SCHILY.xattr.trusted.overlay.opaque", b"y"),
        ("SCHILY.xattr.trusted.overlay.redirect", b"/../../etc"),
        ("SCHILY.xattr.user.kept", b"1"),
    ];
    place.apply(&tar(&[pax(&records), directory("d")])).unwrap();
    let mut list = [0_u8; 1000];
    let length = rustix::fs::llistxattr(place.at("d"), &mut list[..]).unwrap();
    assert!(!String::from_utf8_lossy(&list[..length]).contains("overlay"));
}

#[test]
fn every_truncation_is_an_error_or_a_whole_prefix() {
    let whole =
        tar(&[file("a", &[1; 700]), directory("d"), pax(&[("path", b"p")]), file("x", b"y")]);
    let end = whole.len() - 1024;
    for length in 0..end {
        let place = Place::new();
        let applied = place.apply(&whole[..length]);
        // Between entries a stream may end: old writers leave the two zero blocks out, and the digest finds the loss.
        let between = [0, 512 + 1024, 512 + 1024 + 512].contains(&length);
        assert_eq!(applied.is_ok(), between, "{length}: {applied:?}");
    }
}

#[test]
fn broken_structure_is_named() {
    malformed(&[7; 512], "", "a header with a wrong checksum");
    malformed(&[&file("a", b"")[..], &[7; 512]].concat(), "a", "a header with a wrong checksum");
    malformed(
        &[&[0; 512][..], &file("a", b"")[..]].concat(),
        "",
        "a lone zero block between entries",
    );
    malformed(&tar(&[pax(&[])]), "", "an extended header without its entry");
    let twice = tar(&[pax(&[("path", b"a")]), pax(&[("path", b"b")]), file("c", b"")]);
    malformed(&twice, "", "two extended headers for one entry");
    let bad = tar(&[Head::new(b'x', "h").with(b"99 path=a\n"), file("c", b"")]);
    malformed(&bad, "", "malformed pax record");
    let huge = tar(&[Head::new(b'L', "h").size(1 << 30).block()]);
    malformed(&huge, "", "an extended header with a bad size");
    malformed(&[&file("a", b"")[..], &[7; 100]].concat(), "a", "the stream ends inside a header");
}

#[test]
fn bad_numbers_are_refused() {
    refused(&[Head::new(b'0', "f").field(124, &[0xff; 12]).block()], "f", "a bad size");
    refused(&[Head::new(b'0', "f").field(124, b"9").block()], "f", "a bad size");
    refused(&[Head::new(b'0', "f").field(108, &[0xff; 8]).block()], "f", "a bad user or group id");
    refused(&[pax(&[("uid", b"4294967295")]), file("f", b"")], "f", "a bad user or group id");
    refused(&[Head::new(b'0', "f").field(136, b"x").block()], "f", "a bad time");
    refused(&[Head::new(b'3', "f").field(329, &[0xff; 8]).block()], "f", "a bad device number");
    refused(&[Head::new(b'Z', "f").block()], "f", "an unknown type of entry");
}

#[test]
fn times_at_the_ends_of_the_range_do_no_harm() {
    let place = Place::new();
    for time in [&b"9223372036854775807"[..], b"-9223372036854775807", b"0.999999999999"] {
        let _ = place.apply(&tar(&[pax(&[("mtime", time)]), file("f", b"")]));
    }
    place.check();
}

#[test]
fn limits_hold() {
    let place = Place::new();
    let limits = layer::Limits { entries: 2, bytes: 10_000, depth: 3 };
    let options = layer::ApplyOptions { name: "L".to_owned(), limits };
    let apply = |bytes: &[u8]| layer::apply(bytes, &place.target(), &options);
    let three = tar(&[file("a", b""), file("b", b""), file("c", b"")]);
    assert_eq!(
        chain(&apply(&three).unwrap_err()),
        "unpack `L`: refuse entry `c`: more entries than the limit"
    );
    assert_eq!(
        chain(&apply(&tar(&[Head::new(b'0', "big").size(10_001).block()])).unwrap_err()),
        "unpack `L`: refuse entry `big`: more bytes than the limit"
    );
    assert_eq!(
        chain(&apply(&tar(&[file("a", &[1; 9000]), file("b", &[1; 900])])).unwrap_err()),
        "unpack `L`: read the stream after entry ``: the stream is longer than the limit"
    );
    assert!(apply(&tar(&[file("x/b/c", b"")])).is_ok());
    assert!(apply(&tar(&[file("x/b/c/d", b"")])).is_err());
}

#[test]
fn sparse_files_that_claim_too_much_are_refused() {
    let huge: [(&str, &[u8]); 3] = [
        ("GNU.sparse.size", b"9223372036854775807"),
        ("GNU.sparse.offset", b"0"),
        ("GNU.sparse.numbytes", b"1"),
    ];
    refused(&[pax(&huge), file("f", b"x")], "f", "more bytes than the limit");
    for map in ["0,2", "5,1", "1,18446744073709551615", "2,1,1,1"] {
        let records: [(&str, &[u8]); 2] =
            [("GNU.sparse.realsize", b"4"), ("GNU.sparse.map", map.as_bytes())];
        refused(&[pax(&records), file("f", b"x")], "f", "a bad sparse map");
    }
    let one: [(&str, &[u8]); 3] =
        [("GNU.sparse.major", b"1"), ("GNU.sparse.minor", b"0"), ("GNU.sparse.realsize", b"4")];
    let many = format!("{}\n", u64::MAX);
    for body in ["", "x\n", "1\n0\n", many.as_str()] {
        let mut data = body.as_bytes().to_vec();
        data.resize(512, 0);
        refused(&[pax(&one), file("f", &data)], "f", "a bad sparse map");
    }
}

#[test]
fn a_pax_size_is_the_size() {
    // The classic way to make two readers disagree: the ustar size hides an entry inside the data of another.
    let hidden = tar(&[file("evil", b"x")]);
    let mut outer = pax(&[("size", hidden.len().to_string().as_bytes())]);
    outer.extend(Head::new(b'0', "outer").size(0).block());
    outer.extend(&hidden);
    let place = Place::new();
    let applied = place.apply(&tar(&[outer])).unwrap();
    assert_eq!(applied.entries, 1);
    assert_eq!(std::fs::read(place.at("outer")).unwrap(), hidden);
    assert!(!place.at("evil").exists());
}
