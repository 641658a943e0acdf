//! What every user of the blob store relies on.

use std::path::Path;
use std::time::Duration;

use content::{Error, Store};
use types::{Digest, Kind};

use crate::crash::at_every_step;

type Open<'a> = &'a dyn Fn(&Path) -> Result<Store, Error>;

/// Runs the whole suite; `open` opens a store below a directory.
pub fn content_suite(open: impl Fn(&Path) -> Result<Store, Error>) {
    blobs_are_put_read_listed_and_removed(&open);
    ingests_resume(&open);
    wrong_bytes_are_refused(&open);
    ingests_are_exclusive(&open);
    old_ingests_are_swept(&open);
    a_corrupt_blob_is_noticed(&open);
    a_stop_at_any_step_loses_nothing_acknowledged(&open);
}

fn with_store(open: Open<'_>, test: impl Fn(Store, &Path)) {
    let root = tempfile::tempdir().expect("a temporary directory can be made");
    test(open(root.path()).expect("open"), root.path());
}

fn blobs_are_put_read_listed_and_removed(open: &impl Fn(&Path) -> Result<Store, Error>) {
    with_store(open, |store, _| {
        let digest = store.put(b"some bytes").expect("put");
        assert_eq!(digest, Digest::of(b"some bytes"));
        assert_eq!(store.put(b"some bytes").expect("put again"), digest);
        assert!(store.has(&digest));
        assert_eq!(store.size(&digest), Some(10));
        assert_eq!(store.read(&digest, 10).expect("read"), b"some bytes");
        let error = store.read(&digest, 9).expect_err("too long");
        assert_eq!(error.to_string(), format!("read blob `{digest}`: longer than 9 bytes"));
        assert_eq!(store.list().expect("list"), std::slice::from_ref(&digest));
        store.remove(&digest).expect("remove");
        store.remove(&digest).expect("remove again");
        assert!(!store.has(&digest));
        let error = store.open_blob(&digest).expect_err("gone");
        assert_eq!(
            (error.kind(), error.to_string()),
            (Kind::NotFound, format!("find blob `{digest}`"))
        );
    });
}

fn ingests_resume(open: &impl Fn(&Path) -> Result<Store, Error>) {
    with_store(open, |store, root| {
        let bytes = vec![7; 300_000];
        let digest = Digest::of(&bytes);
        let mut ingest = store.ingest(&digest, Some(300_000)).expect("begin");
        assert_eq!(ingest.offset(), 0);
        ingest.write(&bytes[..100_000]).expect("write");
        drop(ingest);
        let mut ingest = open(root).expect("open").ingest(&digest, None).expect("resume");
        assert_eq!(ingest.offset(), 100_000);
        ingest.write(&bytes[100_000..]).expect("write");
        ingest.commit().expect("commit");
        assert_eq!(open(root).expect("open").read(&digest, 300_000).expect("read"), bytes);
        let leftovers = std::fs::read_dir(root.join("ingest")).expect("list").count();
        assert_eq!(leftovers, 0);
        let mut ingest = store.ingest(&Digest::of(b"ab"), Some(2)).expect("begin");
        ingest.write(b"x").expect("write");
        ingest.restart().expect("restart");
        ingest.write(b"ab").expect("write");
        ingest.commit().expect("commit");
    });
}

fn wrong_bytes_are_refused(open: &impl Fn(&Path) -> Result<Store, Error>) {
    with_store(open, |store, _| {
        let digest = Digest::of(b"right");
        let mut ingest = store.ingest(&digest, Some(5)).expect("begin");
        ingest.write(b"wrong").expect("write");
        let error = ingest.commit().expect_err("wrong digest");
        let actual = Digest::of(b"wrong");
        assert_eq!(error.to_string(), format!("verify blob `{digest}`: got `{actual}`"));
        assert_eq!(error.kind(), Kind::Invalid);
        let mut ingest = store.ingest(&digest, Some(5)).expect("begin");
        assert_eq!(ingest.offset(), 0, "wrong bytes are not resumed");
        let error = ingest.write(b"too long").expect_err("too long");
        assert_eq!(error.to_string(), format!("verify blob `{digest}`: 8 bytes instead of 5"));
        ingest.write(b"rig").expect("write");
        assert!(matches!(ingest.commit(), Err(Error::WrongLength { expected: 5, actual: 3, .. })));
        let ingest = store.ingest(&digest, Some(5)).expect("begin");
        assert_eq!(ingest.offset(), 3, "a short blob is resumed");
        assert!(!store.has(&digest));
        drop(ingest);
        let ingest = store.ingest(&digest, Some(2)).expect("begin");
        assert_eq!(ingest.offset(), 0, "more than promised is started again");
    });
}

fn ingests_are_exclusive(open: &impl Fn(&Path) -> Result<Store, Error>) {
    with_store(open, |store, _| {
        let digest = Digest::of(b"x");
        let first = store.ingest(&digest, None).expect("begin");
        let error = store.clone().ingest(&digest, None).expect_err("busy");
        assert_eq!(error.kind(), Kind::Conflict);
        drop(first);
        store.ingest(&digest, None).expect("free again");
    });
}

fn old_ingests_are_swept(open: &impl Fn(&Path) -> Result<Store, Error>) {
    with_store(open, |store, root| {
        let (old, active) = (Digest::of(b"old"), Digest::of(b"active"));
        store.ingest(&old, None).expect("begin").write(b"o").expect("write");
        let mut ingest = store.ingest(&active, None).expect("begin");
        ingest.write(b"a").expect("write");
        assert_eq!(store.sweep().expect("sweep"), 0);
        std::thread::sleep(Duration::from_millis(20));
        assert_eq!(store.sweep_older_than(Duration::from_millis(5)).expect("sweep"), 1);
        assert!(!root.join("ingest").join(old.hex()).exists());
        assert!(root.join("ingest").join(active.hex()).exists());
    });
}

fn a_corrupt_blob_is_noticed(open: &impl Fn(&Path) -> Result<Store, Error>) {
    with_store(open, |store, _| {
        let digest = store.put(b"config").expect("put");
        std::fs::write(store.path(&digest), b"confiG").expect("corrupt");
        let error = store.read(&digest, 100).expect_err("corrupt");
        assert!(matches!(error, Error::WrongDigest { .. }), "{error}");
        std::fs::write(store.path(&digest), b"").expect("tear");
        store.put(b"config").expect("put heals a torn blob");
        assert_eq!(store.read(&digest, 100).expect("read"), b"config");
    });
}

fn a_stop_at_any_step_loses_nothing_acknowledged(open: &impl Fn(&Path) -> Result<Store, Error>) {
    let old = Digest::of(b"acknowledged");
    let new = Digest::of(b"new bytes");
    let config = Digest::of(b"config");
    let act = |root: &Path| -> Result<(), Error> {
        let store = open(root)?;
        let mut ingest = store.ingest(&new, Some(9))?;
        while let rest @ [_, ..] = &b"new bytes"[usize::try_from(ingest.offset()).unwrap_or(9)..] {
            ingest.write(&rest[..rest.len().min(4)])?;
        }
        ingest.commit()?;
        store.put(b"config").map(drop)
    };
    let arrange = |root: &Path| drop(open(root).expect("open").put(b"acknowledged").expect("put"));
    let check = |root: &Path, done: bool| {
        let store = open(root).expect("open");
        assert_eq!(store.read(&old, 100).expect("read"), b"acknowledged");
        for digest in store.list().expect("list") {
            store.read(&digest, 100).expect("what is listed is whole");
        }
        assert!(!done || store.has(&new) && store.has(&config));
        for name in std::fs::read_dir(root.join("blobs/sha256")).expect("list") {
            let name = name.expect("list").file_name();
            assert_eq!(name.len(), 64, "{name:?} was not swept");
        }
        act(root).expect("the work can be done again");
        assert_eq!(store.read(&new, 100).expect("read"), b"new bytes");
    };
    let steps = at_every_step(arrange, act, check);
    assert!(steps >= 10, "{steps} steps");
}
