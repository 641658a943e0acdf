use super::*;

fn scratch(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("belljar-{name}-{}", random_name(8).unwrap()));
    fs::create_dir(&path).unwrap();
    path
}

#[test]
fn an_atomic_write_replaces_and_leaves_no_temporary() {
    let dir = scratch("atomic");
    let path = dir.join("record");
    write_atomic(&path, b"one", Durability::Process).unwrap();
    write_atomic(&path, b"two", Durability::Power).unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"two");
    assert_eq!(names(&dir).unwrap(), [PathBuf::from("record")]);
    fs::remove_dir_all(dir).unwrap();
}

#[test]
fn a_stop_at_any_step_leaves_the_old_or_the_new_bytes() {
    let dir = scratch("stop");
    let path = dir.join("record");
    let mut steps = 0;
    loop {
        write_atomic(&path, b"old", Durability::Process).unwrap();
        failpoint::arm(steps);
        let written = write_atomic(&path, b"new", Durability::Power);
        failpoint::disarm();
        let read = fs::read(&path).unwrap();
        assert!(read == b"old" || read == b"new", "{read:?}");
        if written.is_ok() {
            assert_eq!(read, b"new");
            break;
        }
        assert_eq!(written.unwrap_err().to_string(), failpoint::STOPPED);
        steps += 1;
    }
    assert_eq!(steps, 5, "create, write, sync, rename, sync of the directory");
    fs::remove_dir_all(dir).unwrap();
}

#[test]
fn removing_a_tree_does_not_follow_links() {
    let dir = scratch("tree");
    fs::create_dir(dir.join("outside")).unwrap();
    fs::write(dir.join("outside/kept"), b"").unwrap();
    fs::create_dir(dir.join("tree")).unwrap();
    symlink(&dir.join("outside"), &dir.join("tree/link")).unwrap();
    remove_tree(&dir.join("tree")).unwrap();
    remove_tree(&dir.join("tree")).unwrap();
    assert!(dir.join("outside/kept").exists());
    fs::remove_dir_all(dir).unwrap();
}

#[test]
fn rename_new_refuses_an_existing_target() {
    let dir = scratch("new");
    fs::write(dir.join("a"), b"a").unwrap();
    fs::write(dir.join("b"), b"b").unwrap();
    let error = rename_new(&dir.join("a"), &dir.join("b")).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
    fs::remove_dir_all(dir).unwrap();
}

#[test]
fn random_names_differ_and_keep_their_length() {
    let (a, b) = (random_name(26).unwrap(), random_name(26).unwrap());
    assert_eq!((a.len(), b.len()), (26, 26));
    assert_ne!(a, b);
}

#[test]
fn a_tree_deeper_than_the_descriptors_reach_is_removed() {
    let dir = scratch("deep");
    let mut fd = rustix::fs::open(&dir, OFlags::PATH | OFlags::DIRECTORY, Mode::empty()).unwrap();
    for _ in 0..3000 {
        rustix::fs::mkdirat(&fd, "d", Mode::RWXU).unwrap();
        rustix::fs::mknodat(&fd, "f", FileType::Fifo, Mode::RWXU, 0).unwrap();
        fd = rustix::fs::openat(&fd, "d", OFlags::PATH | OFlags::DIRECTORY, Mode::empty()).unwrap();
    }
    remove_tree(&dir).unwrap();
    assert!(!dir.exists());
}
