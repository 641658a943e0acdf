//! What needs mounts: overlays, full and read-only file systems. Without root and mounts these tests say so and pass.
#![expect(clippy::unwrap_used, reason = "a step that fails fails its test")]

use std::fs;
use std::io;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};

use layer::ChangeKind::{Added, Deleted, Modified};
use rustix::mount::{MountFlags, UnmountFlags};
use snapshot::InitEntry;
use testkit::snapshot_suite::{commit_stack, container_id};
use types::{Chain, Digest};

/// A tmpfs of our own, unmounted in the end.
struct Tmpfs {
    directory: tempfile::TempDir,
}

impl Tmpfs {
    /// Mounts one; nothing where mounts are not allowed.
    fn mount(options: &str) -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let options = std::ffi::CString::new(options).unwrap();
        let mounted = rustix::mount::mount(
            "tmpfs",
            directory.path(),
            "tmpfs",
            MountFlags::empty(),
            options.as_c_str(),
        );
        if mounted.is_err() {
            testkit::skip("no permission to mount");
            return None;
        }
        Some(Self { directory })
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn make_read_only(&self) {
        let flags = MountFlags::RDONLY | MountFlags::BIND;
        rustix::mount::mount_remount(self.path(), flags, c"").unwrap();
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let _ = rustix::mount::unmount(self.path(), UnmountFlags::DETACH);
    }
}

fn is_named(error: &(dyn std::error::Error + 'static), path: &Path, kind: io::ErrorKind) {
    let words = Chain(error).to_string();
    assert!(words.contains(&format!("`{}", path.display())), "{words}");
    let source = error.source().unwrap().downcast_ref::<io::Error>().unwrap();
    assert_eq!(source.kind(), kind, "{words}");
}

#[test]
fn privileged_a_full_file_system_is_named_and_nothing_old_is_lost() {
    let Some(disk) = Tmpfs::mount("size=256k") else { return };
    let store = content::Store::open(disk.path().join("content")).unwrap();
    let kept = store.put(b"kept").unwrap();
    let (db, _) = db::Db::open(disk.path().join("db")).unwrap();
    let (table, _) = db.images::<String>().unwrap();
    table.put("name", &"old".to_owned()).unwrap();
    let bytes = vec![1; 1 << 20];
    let digest = Digest::of(&bytes);
    let mut ingest = store.ingest(&digest, None).unwrap();
    let error = bytes.chunks(10_000).find_map(|chunk| ingest.write(chunk).err()).unwrap();
    is_named(&error, &disk.path().join("content/ingest"), io::ErrorKind::StorageFull);
    let offset = ingest.offset();
    drop(ingest);
    let error = store.put(&vec![2; 200_000]).unwrap_err();
    is_named(&error, &disk.path().join("content/blobs"), io::ErrorKind::StorageFull);
    let error = table.put("name", &"x".repeat(200_000)).unwrap_err();
    is_named(&error, &disk.path().join("db/images/name.json"), io::ErrorKind::StorageFull);
    assert_eq!(table.get("name").unwrap().as_str(), "old");
    assert_eq!(store.read(&kept, 10).unwrap(), b"kept");
    assert_eq!(store.list().unwrap(), [kept]);
    let ingest = store.ingest(&digest, None).unwrap();
    assert_eq!(ingest.offset(), offset, "what was written whole is resumed");
    let (again, damaged) = db::Db::open(disk.path().join("db")).unwrap();
    assert_eq!(damaged, []);
    assert_eq!(again.images::<String>().unwrap().0.get("name").unwrap().as_str(), "old");
}

#[test]
fn privileged_a_full_file_system_fails_a_layer_and_leaves_no_draft() {
    let Some(disk) = Tmpfs::mount("size=512k") else { return };
    let store = snapshot::Store::open(disk.path()).unwrap();
    let chain = types::ChainId(Digest::of(b"x"));
    let draft = store.begin_layer(&chain, None).unwrap();
    let source = tempfile::tempdir().unwrap();
    fs::write(source.path().join("big"), vec![1; 1 << 20]).unwrap();
    let mut tar = Vec::new();
    layer::pack_tree(source.path(), &mut tar).unwrap();
    let error = layer::apply(&tar[..], draft.dir(), &layer::ApplyOptions::default()).unwrap_err();
    is_named(&error, &draft.dir().join("big"), io::ErrorKind::StorageFull);
    drop(draft);
    assert_eq!(fs::read_dir(disk.path()).unwrap().count(), 1);
}

#[test]
fn privileged_a_read_only_file_system_is_named() {
    let Some(disk) = Tmpfs::mount("size=1m") else { return };
    let store = content::Store::open(disk.path().join("content")).unwrap();
    let kept = store.put(b"kept").unwrap();
    let (db, _) = db::Db::open(disk.path().join("db")).unwrap();
    let (table, _) = db.images::<String>().unwrap();
    table.put("name", &"old".to_owned()).unwrap();
    disk.make_read_only();
    let read_only = io::ErrorKind::ReadOnlyFilesystem;
    is_named(&store.put(b"new").unwrap_err(), &disk.path().join("content"), read_only);
    is_named(
        &table.put("name", &"new".to_owned()).unwrap_err(),
        &disk.path().join("db"),
        read_only,
    );
    is_named(&table.remove("name").unwrap_err(), &disk.path().join("db"), read_only);
    let error = snapshot::Store::open(disk.path().join("overlay2")).unwrap_err();
    is_named(&error, &disk.path().join("overlay2"), read_only);
    // What is there can still be read.
    let again = content::Store::open(disk.path().join("content")).unwrap();
    assert_eq!(again.read(&kept, 10).unwrap(), b"kept");
    let (again, damaged) = db::Db::open(disk.path().join("db")).unwrap();
    assert_eq!((damaged.len(), again.images::<String>().unwrap().0.len()), (0, 1));
}

/// A store on a tmpfs (an overlay cannot stand on an overlay) with a stack of layers.
fn store(count: usize) -> Option<(Tmpfs, snapshot::Store, Vec<types::ChainId>)> {
    let disk = Tmpfs::mount("size=64m")?;
    let store = snapshot::Store::open(disk.path()).unwrap();
    let chains = commit_stack(&store, count, |at, diff| {
        fs::create_dir_all(diff.join("etc")).unwrap();
        fs::write(diff.join("etc/conf"), format!("of layer {at}")).unwrap();
    })
    .unwrap();
    Some((disk, store, chains))
}

#[test]
fn privileged_containers_share_layers_and_nothing_else() {
    let Some((_disk, store, chains)) = store(3) else { return };
    let (a, b) = (container_id(1), container_id(2));
    for id in [&a, &b] {
        store.prepare(id, chains.last(), &InitEntry::docker()).unwrap();
        assert!(!store.is_mounted(id));
        let merged = store.mount(id).unwrap();
        assert_eq!(store.mount(id).unwrap(), merged, "mounting twice is one mount");
        assert!(store.is_mounted(id));
        assert_eq!(fs::read(merged.join("etc/conf")).unwrap(), b"of layer 2");
        assert_eq!(fs::read(merged.join("layer-0")).unwrap(), b"0");
        assert!(merged.join("dev/shm").is_dir() && merged.join(".dockerenv").is_file());
    }
    let [fs_a, fs_b] = [&a, &b].map(|id| store.container(id).unwrap());
    fs::write(fs_a.merged.join("new"), b"abc").unwrap();
    fs::write(fs_a.merged.join("etc/conf"), b"changed").unwrap();
    fs::remove_file(fs_a.merged.join("layer-1")).unwrap();
    fs::rename(fs_a.merged.join("etc"), fs_a.merged.join("moved")).unwrap_err();
    assert!(fs::symlink_metadata(fs_a.upper.join("layer-1")).unwrap().file_type().is_char_device());
    assert_eq!(fs::read(fs_b.merged.join("etc/conf")).unwrap(), b"of layer 2");
    assert!(fs_b.merged.join("layer-1").exists() && !fs_b.merged.join("new").exists());
    let kinds: Vec<_> = layer::changes(&fs_a.upper, &fs_a.lower)
        .unwrap()
        .into_iter()
        .map(|change| (change.path, change.kind))
        .collect();
    let path = PathBuf::from;
    assert_eq!(
        kinds,
        [
            (path("/etc"), Modified),
            (path("/etc/conf"), Modified),
            (path("/layer-1"), Deleted),
            (path("/new"), Added)
        ]
    );
    assert_eq!(store.usage(&a).unwrap(), 3 + 7);
    store.unmount(&a).unwrap();
    store.unmount(&a).unwrap();
    assert!(fs_a.upper.join("new").exists(), "what the container wrote stays");
    // A file held open does not keep a removal from working.
    let held = fs::File::open(fs_b.merged.join("etc/conf")).unwrap();
    store.remove(&b).unwrap();
    drop(held);
    store.remove(&a).unwrap();
    assert_eq!(store.layers().len(), 3);
}

#[test]
fn privileged_a_packed_container_applied_again_looks_the_same() {
    let Some((_disk, store, chains)) = store(2) else { return };
    let (id, copy) = (container_id(1), container_id(2));
    let made = store.prepare(&id, chains.last(), &InitEntry::docker()).unwrap();
    store.mount(&id).unwrap();
    fs::remove_dir_all(made.merged.join("etc")).unwrap();
    fs::create_dir(made.merged.join("etc")).unwrap();
    fs::write(made.merged.join("etc/fresh"), b"1").unwrap();
    fs::remove_file(made.merged.join("layer-0")).unwrap();
    store.unmount(&id).unwrap();
    let mut tar = Vec::new();
    let packed = layer::pack(&made.upper, &mut tar).unwrap();
    let chain = types::ChainId::on(chains.last(), &packed.diff_id);
    let draft = store.begin_layer(&chain, chains.last()).unwrap();
    let applied = layer::apply(&tar[..], draft.dir(), &layer::ApplyOptions::default()).unwrap();
    let meta = snapshot::LayerMeta { diff_id: applied.diff_id, bytes: applied.bytes };
    draft.commit(meta).unwrap();
    store.prepare(&copy, Some(&chain), &[]).unwrap();
    let merged = store.mount(&copy).unwrap();
    let etc: Vec<_> =
        fs::read_dir(merged.join("etc")).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(etc, ["fresh"], "the opaque directory hides the image's files");
    assert!(!merged.join("layer-0").exists() && merged.join("layer-1").exists());
    store.remove(&copy).unwrap();
    store.remove(&id).unwrap();
}

#[test]
fn privileged_a_refused_mount_says_what_the_kernel_said() {
    let Some((_disk, outer, chains)) = store(1) else { return };
    let id = container_id(1);
    outer.prepare(&id, chains.last(), &[]).unwrap();
    let merged = outer.mount(&id).unwrap();
    // An overlay cannot have its upper directory on another overlay.
    let inner = snapshot::Store::open(merged.join("nested")).unwrap();
    let made = inner.prepare(&id, None, &[]).unwrap();
    let error = inner.mount(&id).unwrap_err();
    let words = Chain(&error).to_string();
    let start = format!("mount overlay at `{}`: overlay: filesystem on ", made.merged.display());
    assert!(words.starts_with(&start), "{words}");
    assert!(
        words.ends_with("not supported as upperdir: Invalid argument (os error 22)"),
        "{words}"
    );
    outer.remove(&id).unwrap();
}

#[test]
fn privileged_the_longest_stack_mounts() {
    let Some((_disk, store, chains)) = store(127) else { return };
    let id = container_id(1);
    store.prepare(&id, chains.last(), &InitEntry::docker()).unwrap();
    let merged = store.mount(&id).unwrap();
    for at in 0..127 {
        assert!(merged.join(format!("layer-{at}")).exists());
    }
    assert_eq!(fs::read(merged.join("etc/conf")).unwrap(), b"of layer 126");
    store.remove(&id).unwrap();
}

#[test]
fn privileged_a_mounted_container_survives_a_restart_and_is_adopted() {
    let Some((disk, store, chains)) = store(1) else { return };
    let id = container_id(1);
    store.prepare(&id, chains.last(), &InitEntry::docker()).unwrap();
    let merged = store.mount(&id).unwrap();
    drop(store);
    let store = snapshot::Store::open(disk.path()).unwrap();
    assert!(store.is_mounted(&id));
    assert_eq!(store.mount(&id).unwrap(), merged);
    store.remove(&id).unwrap();
    assert!(!merged.exists());
}
