use std::os::unix::fs::symlink;

use super::*;

fn archive(entries: &[(&str, tar::EntryType, &str)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, kind, data) in entries {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(*kind);
        header.set_mode(if kind.is_dir() { 0o755 } else { 0o644 });
        header.set_mtime(1_000_000);
        let raw = header.as_gnu_mut().unwrap();
        raw.name[..name.len()].copy_from_slice(name.as_bytes());
        if kind.is_symlink() || kind.is_hard_link() {
            raw.linkname[..data.len()].copy_from_slice(data.as_bytes());
            header.set_size(0);
            header.set_cksum();
            builder.append(&header, io::empty()).unwrap();
        } else {
            header.set_size(data.len() as u64);
            header.set_cksum();
            builder.append(&header, data.as_bytes()).unwrap();
        }
    }
    builder.into_inner().unwrap()
}

fn stat(name: &str, mode: u64) -> Stat {
    Stat { name: name.into(), mode, link: String::new() }
}

use tar::EntryType::{Directory, Link, Regular, Symlink};

#[test]
fn a_file_takes_the_new_name_or_goes_into_the_directory() {
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path().to_str().unwrap();
    let tar = archive(&[("passwd", Regular, "root")]);
    let renamed =
        LocalTarget::resolve(&format!("{here}/new"), "/etc/passwd", &stat("passwd", 0o644))
            .unwrap();
    unpack(&tar[..], &renamed, false).unwrap();
    assert_eq!(fs::read_to_string(dir.path().join("new")).unwrap(), "root");
    let inside = LocalTarget::resolve(here, "/etc/passwd", &stat("passwd", 0o644)).unwrap();
    unpack(&tar[..], &inside, false).unwrap();
    assert_eq!(fs::read_to_string(dir.path().join("passwd")).unwrap(), "root");
}

#[test]
fn a_directory_is_copied_whole_or_only_its_contents() {
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path().to_str().unwrap();
    let tar = archive(&[
        ("etc", Directory, ""),
        ("etc/a", Regular, "1"),
        ("etc/sub", Directory, ""),
        ("etc/sub/b", Link, "etc/a"),
    ]);
    unpack(&tar[..], &LocalTarget::resolve(here, "/etc", &stat("etc", MODE_DIR)).unwrap(), false)
        .unwrap();
    assert_eq!(fs::read_to_string(dir.path().join("etc/sub/b")).unwrap(), "1");
    unpack(&tar[..], &LocalTarget::resolve(here, "/etc/.", &stat("etc", MODE_DIR)).unwrap(), false)
        .unwrap();
    assert_eq!(fs::read_to_string(dir.path().join("a")).unwrap(), "1");
    let fresh =
        LocalTarget::resolve(&format!("{here}/copy"), "/etc", &stat("etc", MODE_DIR)).unwrap();
    unpack(&tar[..], &fresh, false).unwrap();
    assert_eq!(fs::read_to_string(dir.path().join("copy/sub/b")).unwrap(), "1");
}

#[test]
fn impossible_destinations_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "x").unwrap();
    let refuse = |local: String, mode| {
        LocalTarget::resolve(&local, "/x", &stat("x", mode)).unwrap_err().to_string()
    };
    assert_eq!(refuse(file.display().to_string(), MODE_DIR), "cannot copy directory");
    assert_eq!(refuse(format!("{}/none/", dir.path().display()), 0o644), "no such directory");
    assert!(
        refuse(format!("{}/no/such", dir.path().display()), 0o644)
            .starts_with("invalid output path")
    );
}

#[test]
fn nothing_leaves_the_destination() {
    let outside = tempfile::tempdir().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let target = LocalTarget { root: dir.path().join("root") };
    let link = outside.path().to_str().unwrap();
    let attacks = [
        archive(&[("x/../../evil", Regular, "1")]),
        archive(&[("/evil", Regular, "1"), ("../evil", Regular, "1")]),
        archive(&[("x", Symlink, link), ("x/evil", Regular, "1")]),
        archive(&[("x", Directory, ""), ("x/link", Symlink, link), ("x/link/evil", Regular, "1")]),
        archive(&[
            ("x", Directory, ""),
            ("x/l", Symlink, link),
            ("x/evil", Link, "x/l/../../etc/passwd"),
        ]),
    ];
    for tar in attacks {
        assert!(unpack(&tar[..], &target, false).is_err());
        let _ = fs::remove_dir_all(&target.root);
    }
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
    assert!(!dir.path().join("evil").exists());
}

#[test]
fn a_link_at_the_end_is_replaced_not_followed() {
    let dir = tempfile::tempdir().unwrap();
    let victim = dir.path().join("victim");
    fs::write(&victim, "safe").unwrap();
    fs::create_dir(dir.path().join("d")).unwrap();
    symlink(&victim, dir.path().join("d/f")).unwrap();
    let tar = archive(&[("d", Directory, ""), ("d/f", Regular, "evil")]);
    unpack(&tar[..], &LocalTarget { root: dir.path().join("d") }, false).unwrap();
    assert_eq!(fs::read_to_string(&victim).unwrap(), "safe");
    assert_eq!(fs::read_to_string(dir.path().join("d/f")).unwrap(), "evil");
}

#[test]
fn what_goes_in_is_named_by_the_destination() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "data").unwrap();
    let source = LocalSource::open(file.to_str().unwrap(), false).unwrap();
    let place = |target: &str, found: Option<&Stat>| {
        source.place(target, found).map(|p| (p.directory, p.name)).map_err(|e| e.to_string())
    };
    let directory = stat("tmp", MODE_DIR);
    assert_eq!(place("/tmp/", Some(&directory)), Ok(("/tmp/".into(), "file".into())));
    assert_eq!(place("/tmp/new", None), Ok(("/tmp".into(), "new".into())));
    assert_eq!(place("/new", None), Ok(("/".into(), "new".into())));
    assert_eq!(place("/new/", None), Err("no such directory".into()));
    let contents = LocalSource::open(&format!("{}/.", dir.path().display()), false).unwrap();
    assert_eq!(contents.place("/tmp", Some(&directory)).unwrap().name, ".");
    assert_eq!(
        contents.place("/file", Some(&stat("file", 0))).unwrap_err().to_string(),
        "cannot copy directory"
    );
    let mut tar = Vec::new();
    source.pack("renamed", &mut tar).unwrap();
    let mut archive = tar::Archive::new(&tar[..]);
    let names: Vec<PathBuf> = archive
        .entries()
        .unwrap()
        .map(|entry| entry.unwrap().path().unwrap().into_owned())
        .collect();
    assert_eq!(names, [PathBuf::from("renamed")]);
}

#[test]
fn links_in_containers_are_followed() {
    let link = |target: &str| Stat { name: "l".into(), mode: MODE_SYMLINK, link: target.into() };
    assert_eq!(link("/abs").follow("/a/l"), "/abs");
    assert_eq!(link("rel").follow("/a/l"), "/a/rel");
    assert_eq!(link("../up").follow("/a/b/l"), "/a/up");
    assert_eq!(absolute_in_container("etc/../x/."), "/x/.");
    assert_eq!(absolute_in_container("/"), "/");
}
