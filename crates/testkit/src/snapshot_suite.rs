//! What every user of layers and container file systems relies on; no mounts, so that it runs anywhere for root.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::{Path, PathBuf};

use snapshot::{Error, InitEntry, LayerInfo, LayerMeta, Store};
use types::{ChainId, ContainerId, DiffId, Digest, Kind};

use crate::crash::at_every_step;

type Open<'a> = &'a dyn Fn(&Path) -> Result<Store, Error>;

/// Runs the whole suite; `open` opens a store below a directory.
pub fn snapshot_suite(open: impl Fn(&Path) -> Result<Store, Error>) {
    layers_are_committed_found_and_removed(&open);
    drafts_vanish_unless_committed(&open);
    layers_in_use_stay(&open);
    the_layout_is_dockers(&open);
    init_layers_leave_the_image_alone(&open);
    hostile_images_do_not_lead_the_init_layer_out(&open);
    containers_come_and_go(&open);
    long_stacks_work(&open);
    orphans_are_swept_and_nonsense_is_named(&open);
    a_stop_at_any_step_leaves_nothing_half_made(&open);
    a_stop_while_removing_leaves_nothing_half_removed(&open);
}

/// Returns the diff ids `0`, `1`, … of a stack of `count` layers.
#[must_use]
pub fn diff_ids(count: usize) -> Vec<DiffId> {
    (0..count).map(|at| DiffId(Digest::of(at.to_string().as_bytes()))).collect()
}

/// Returns the container id that is `byte` 32 times.
#[must_use]
pub fn container_id(byte: u8) -> ContainerId {
    ContainerId::from_bytes(&[byte; 32])
}

/// Commits a stack of `count` layers, each with a file `layer-<n>` and `fill` called on its directory; returns the chain ids, lowest first.
///
/// # Errors
/// The store's.
pub fn commit_stack(
    store: &Store,
    count: usize,
    fill: impl Fn(usize, &Path),
) -> Result<Vec<ChainId>, Error> {
    let diffs = diff_ids(count);
    let chains = ChainId::stack(&diffs);
    for (at, chain) in chains.iter().enumerate() {
        let parent = at.checked_sub(1).map(|below| &chains[below]);
        let draft = store.begin_layer(chain, parent)?;
        fs::write(draft.dir().join(format!("layer-{at}")), at.to_string()).expect("write a file");
        fill(at, draft.dir());
        draft.commit(LayerMeta { diff_id: diffs[at].clone(), bytes: at as u64 })?;
    }
    Ok(chains)
}

fn with_store(open: Open<'_>, test: impl Fn(Store, &Path)) {
    let root = tempfile::tempdir().expect("a temporary directory can be made");
    test(open(root.path()).expect("open"), root.path());
}

fn layers_are_committed_found_and_removed(open: Open<'_>) {
    with_store(open, |store, root| {
        let chains = commit_stack(&store, 3, |_, _| {}).expect("commit");
        for store in [store.clone(), open(root).expect("open")] {
            assert_eq!(store.damaged(), []);
            let info = store.layer(&chains[1]).expect("here");
            assert_eq!((info.parent.as_ref(), info.bytes), (Some(&chains[0]), 1));
            assert_eq!(info.diff_id, diff_ids(2)[1]);
            assert_eq!(fs::read(info.diff.join("layer-1")).expect("read"), b"1");
            let stack: Vec<ChainId> =
                store.stack(&chains[2]).into_iter().map(|info| info.chain).collect();
            assert_eq!(stack, [chains[2].clone(), chains[1].clone(), chains[0].clone()]);
            assert_eq!(store.layers().len(), 3);
        }
        for chain in chains.iter().rev() {
            store.remove_layer(chain).expect("remove");
            assert!(!store.has(chain));
        }
        let error = store.remove_layer(&chains[0]).expect_err("gone");
        assert_eq!(error.to_string(), format!("find layer `{}`", chains[0]));
        assert_eq!(error.kind(), Kind::NotFound);
        assert_empty(root);
    });
}

/// Checks that nothing but the empty directory of links is left.
fn assert_empty(root: &Path) {
    let left: Vec<PathBuf> =
        fs::read_dir(root).expect("list").map(|entry| entry.expect("list").path()).collect();
    assert_eq!(left, [root.join("l")]);
    assert_eq!(fs::read_dir(root.join("l")).expect("list").count(), 0);
}

fn drafts_vanish_unless_committed(open: Open<'_>) {
    with_store(open, |store, root| {
        let diff = &diff_ids(1)[0];
        let chain = ChainId::on(None, diff);
        let draft = store.begin_layer(&chain, None).expect("begin");
        fs::write(draft.dir().join("x"), b"").expect("write");
        drop(draft);
        assert_empty(root);
        let meta = || LayerMeta { diff_id: diff.clone(), bytes: 0 };
        let (a, b) = (store.begin_layer(&chain, None), store.begin_layer(&chain, None));
        let first = a.expect("begin").commit(meta()).expect("commit");
        let second = b.expect("begin").commit(meta()).expect("the other one is kept");
        assert_eq!(first, second);
        let upper = ChainId::on(Some(&chain), diff);
        let absent = ChainId::on(Some(&upper), diff);
        let draft = store.begin_layer(&absent, Some(&upper)).expect("begin before the parent");
        let error = draft.commit(meta()).expect_err("no parent");
        assert_eq!(error.to_string(), format!("find layer `{upper}`"));
        store.remove_layer(&chain).expect("remove");
        assert_empty(root);
    });
}

fn layers_in_use_stay(open: Open<'_>) {
    with_store(open, |store, root| {
        let chains = commit_stack(&store, 2, |_, _| {}).expect("commit");
        let error = store.remove_layer(&chains[0]).expect_err("used");
        let words = format!("remove layer `{}`: layer {} uses it", chains[0], chains[1]);
        assert_eq!((error.kind(), error.to_string()), (Kind::Conflict, words));
        let id = container_id(1);
        store.prepare(&id, Some(&chains[1]), &[]).expect("prepare");
        for store in [store.clone(), open(root).expect("open")] {
            let error = store.remove_layer(&chains[1]).expect_err("used");
            let words = format!("remove layer `{}`: container {id} uses it", chains[1]);
            assert_eq!(error.to_string(), words);
        }
        store.remove(&id).expect("remove");
        let draft =
            store.begin_layer(&ChainId::on(Some(&chains[1]), &diff_ids(1)[0]), Some(&chains[1]));
        assert_eq!(store.remove_layer(&chains[1]).expect_err("used").kind(), Kind::Conflict);
        drop(draft);
        store.remove_layer(&chains[1]).expect("free");
    });
}

fn the_layout_is_dockers(open: Open<'_>) {
    with_store(open, |store, root| {
        let chains = commit_stack(&store, 2, |_, _| {}).expect("commit");
        let id = container_id(2);
        let made = store.prepare(&id, Some(&chains[1]), &InitEntry::docker()).expect("prepare");
        let [base, top] = [0, 1].map(|at| store.layer(&chains[at]).expect("here"));
        let own = root.join(id.as_str());
        let init = root.join(format!("{id}-init"));
        assert_eq!(made.lower, [init.join("diff"), top.diff.clone(), base.diff.clone()]);
        let paths = [made.upper, made.work, made.merged];
        assert_eq!(paths, ["diff", "work", "merged"].map(|name| own.join(name)));
        assert!(paths.iter().chain(&made.lower).all(|path| path.is_dir()));
        let link = |directory: &Path| fs::read_to_string(directory.join("link")).expect("read");
        let [base, top] = [base, top].map(|info: LayerInfo| root.join(info.cache_id));
        let lower = |directory: &Path| fs::read_to_string(directory.join("lower")).ok();
        assert_eq!(lower(&base), None);
        assert_eq!(lower(&top), Some(format!("l/{}", link(&base))));
        assert_eq!(lower(&init), Some(format!("l/{}:l/{}", link(&top), link(&base))));
        assert_eq!(
            lower(&own),
            Some(format!("l/{}:l/{}:l/{}", link(&init), link(&top), link(&base)))
        );
        for directory in [&base, &top, &init, &own] {
            let target = fs::read_link(root.join("l").join(link(directory))).expect("a link");
            assert_eq!(
                root.join("l").join(target).canonicalize().ok(),
                directory.join("diff").canonicalize().ok()
            );
        }
        assert!(base.join("committed").exists() && init.join("committed").exists());
    });
}

fn init_layers_leave_the_image_alone(open: Open<'_>) {
    with_store(open, |store, root| {
        let fill = |at: usize, diff: &Path| match at {
            0 => {
                fs::create_dir_all(diff.join("etc")).expect("mkdir");
                fs::create_dir_all(diff.join("dev/pts")).expect("mkdir");
                fs::create_dir(diff.join("proc")).expect("mkdir");
                fs::write(diff.join("etc/hosts"), b"of the image").expect("write");
            }
            _ => {
                fs::create_dir(diff.join("etc")).expect("mkdir");
                std::os::unix::fs::chown(diff.join("etc"), Some(5), Some(6)).expect("chown");
            }
        };
        let chains = commit_stack(&store, 2, fill).expect("commit");
        for byte in [1, 2] {
            let id = container_id(byte);
            store.prepare(&id, Some(&chains[1]), &InitEntry::docker()).expect("prepare");
            let init = root.join(format!("{id}-init/diff"));
            assert!(!init.join("proc").exists(), "the image has it");
            assert!(!init.join("dev/pts").exists(), "the image has it");
            assert!(init.join("dev/shm").is_dir() && init.join("sys").is_dir());
            let hosts = fs::metadata(init.join("etc/hosts")).expect("a file");
            assert_eq!((hosts.len(), hosts.mode() & 0o7777), (0, 0o755));
            assert!(init.join(".dockerenv").is_file() && init.join("dev/console").is_file());
            let mtab = fs::read_link(init.join("etc/mtab")).expect("a link");
            assert_eq!(mtab, Path::new("/proc/mounts"));
            let etc = fs::metadata(init.join("etc")).expect("a directory");
            assert_eq!((etc.uid(), etc.gid()), (5, 6), "the topmost layer's");
            let image = fs::metadata(store.layer(&chains[1]).expect("here").diff.join("etc"));
            assert_eq!(etc.mtime_nsec(), image.expect("a directory").mtime_nsec());
        }
    });
}

fn hostile_images_do_not_lead_the_init_layer_out(open: Open<'_>) {
    with_store(open, |store, root| {
        let outside = root.join("l");
        let fill = |_: usize, diff: &Path| {
            symlink(&outside, diff.join("etc")).expect("link");
            symlink(&outside, diff.join("dev")).expect("link");
            fs::write(diff.join("proc"), b"a file").expect("write");
        };
        let chains = commit_stack(&store, 1, fill).expect("commit");
        let id = container_id(3);
        store.prepare(&id, Some(&chains[0]), &InitEntry::docker()).expect("prepare");
        let init = root.join(format!("{id}-init/diff"));
        for directory in ["etc", "dev", "proc", "dev/pts"] {
            assert!(
                fs::symlink_metadata(init.join(directory)).expect("made").is_dir(),
                "{directory}"
            );
        }
        assert!(!outside.join("hosts").exists());
    });
}

fn containers_come_and_go(open: Open<'_>) {
    with_store(open, |store, root| {
        let chains = commit_stack(&store, 1, |_, _| {}).expect("commit");
        let (a, b, bare) = (container_id(1), container_id(2), container_id(3));
        let fs_a = store.prepare(&a, Some(&chains[0]), &InitEntry::docker()).expect("prepare");
        let fs_b = store.prepare(&b, Some(&chains[0]), &InitEntry::docker()).expect("prepare");
        let fs_bare = store.prepare(&bare, None, &[]).expect("prepare");
        assert_eq!(fs_bare.lower.len(), 1);
        assert_eq!(fs_a.lower[1..], fs_b.lower[1..], "image layers are shared");
        assert!(fs_a.lower[0] != fs_b.lower[0] && fs_a.upper != fs_b.upper);
        let error = store.prepare(&a, Some(&chains[0]), &[]).expect_err("exists");
        assert_eq!(error.kind(), Kind::Conflict);
        let absent = ChainId(Digest::of(b"absent"));
        assert_eq!(
            store.prepare(&container_id(9), Some(&absent), &[]).expect_err("no layer").kind(),
            Kind::NotFound
        );
        fs::write(fs_a.upper.join("f"), [0; 1000]).expect("write");
        fs::hard_link(fs_a.upper.join("f"), fs_a.upper.join("g")).expect("link");
        assert_eq!(store.usage(&a).expect("usage"), 1000);
        let again = open(root).expect("open");
        assert_eq!(again.damaged(), []);
        assert_eq!(again.container(&a), Some(fs_a.clone()));
        assert_eq!(again.container(&bare), Some(fs_bare));
        assert_eq!(again.containers().len(), 3);
        store.remove(&a).expect("remove");
        store.remove(&a).expect("remove again");
        assert!(!fs_a.upper.exists() && !fs_a.lower[0].exists() && fs_a.lower[1].exists());
        assert_eq!(store.container(&a), None);
        assert_eq!(store.usage(&a).expect_err("gone").kind(), Kind::NotFound);
        store.remove(&b).expect("remove");
        store.remove(&bare).expect("remove");
        store.remove_layer(&chains[0]).expect("remove");
        assert_empty(root);
    });
}

fn long_stacks_work(open: Open<'_>) {
    with_store(open, |store, root| {
        let chains = commit_stack(&store, 40, |_, _| {}).expect("commit");
        let id = container_id(4);
        let made = store.prepare(&id, chains.last(), &InitEntry::docker()).expect("prepare");
        assert_eq!(made.lower.len(), 41);
        assert_eq!(open(root).expect("open").container(&id), Some(made));
    });
}

fn orphans_are_swept_and_nonsense_is_named(open: Open<'_>) {
    with_store(open, |store, root| {
        let chains = commit_stack(&store, 2, |_, _| {}).expect("commit");
        let id = container_id(5);
        store.prepare(&id, Some(&chains[1]), &[]).expect("prepare");
        let orphan = root.join(format!("{}-init", container_id(6)));
        fs::create_dir_all(orphan.join("diff")).expect("mkdir");
        fs::create_dir_all(root.join(".tmp-x/diff/y")).expect("mkdir");
        symlink("../gone/diff", root.join("l/GONE")).expect("link");
        fs::create_dir(root.join("somebody-elses")).expect("mkdir");
        let torn = container_id(7);
        fs::create_dir_all(root.join(torn.as_str()).join("diff")).expect("mkdir");
        let link = fs::read_to_string(root.join(id.as_str()).join("link")).expect("read");
        fs::remove_file(root.join("l").join(&link)).expect("remove");
        let store = open(root).expect("open");
        assert!(!orphan.exists() && !root.join(".tmp-x").exists());
        assert!(fs::symlink_metadata(root.join("l/GONE")).is_err());
        assert!(root.join("somebody-elses").exists());
        assert!(root.join("l").join(&link).exists(), "a lost link is made again");
        assert!(store.container(&id).is_some());
        let damaged: Vec<_> = store.damaged().iter().map(ToString::to_string).collect();
        let path = root.join(torn.as_str());
        let words = "its link file or its init layer is torn or missing";
        assert_eq!(damaged, [format!("damaged directory `{}`: {words}", path.display())]);
        assert!(path.exists(), "what makes no sense is left alone");
    });
}

/// Checks everything that must hold after any stop.
fn check_whole(open: Open<'_>, root: &Path) -> Store {
    let store = open(root).expect("open");
    assert_eq!(store.damaged(), []);
    for info in store.layers() {
        let at = diff_ids(3).iter().position(|diff| *diff == info.diff_id).expect("known");
        let read = fs::read_to_string(info.diff.join(format!("layer-{at}")));
        assert_eq!(read.expect("a layer that is here is whole"), at.to_string());
    }
    for id in store.containers() {
        let made = store.container(&id).expect("listed");
        let paths = made.lower.iter().chain([&made.upper, &made.work, &made.merged]);
        assert!(paths.into_iter().all(|path| path.is_dir()));
    }
    let directories = store.layers().len() + 2 * store.containers().len();
    assert_eq!(fs::read_dir(root.join("l")).expect("list").count(), directories);
    assert_eq!(fs::read_dir(root).expect("list").count(), directories + 1);
    for link in fs::read_dir(root.join("l")).expect("list") {
        assert!(link.expect("list").path().is_dir(), "every link leads somewhere");
    }
    store
}

fn a_stop_at_any_step_leaves_nothing_half_made(open: Open<'_>) {
    let id = container_id(8);
    let act = |root: &Path| -> Result<(), Error> {
        let store = open(root)?;
        let chains = commit_stack(&store, 2, |_, _| {})?;
        store.prepare(&id, Some(&chains[1]), &InitEntry::docker()).map(drop)
    };
    let check = |root: &Path, done: bool| {
        let store = check_whole(open, root);
        assert_eq!(store.container(&id).is_some(), done);
        if !done {
            act(root).expect("the work can be done again");
        }
        check_whole(open, root);
    };
    let steps = at_every_step(|root| drop(open(root).expect("open")), act, check);
    assert!(steps >= 60, "{steps} steps");
}

fn a_stop_while_removing_leaves_nothing_half_removed(open: Open<'_>) {
    let id = container_id(8);
    let chains = ChainId::stack(&diff_ids(2));
    let arrange = |root: &Path| {
        let store = open(root).expect("open");
        commit_stack(&store, 2, |_, _| {}).expect("commit");
        let made = store.prepare(&id, Some(&chains[1]), &InitEntry::docker()).expect("prepare");
        fs::create_dir_all(made.upper.join("a/b")).expect("mkdir");
    };
    let act = |root: &Path| -> Result<(), Error> {
        let store = open(root)?;
        store.remove(&id)?;
        store.remove_layer(&chains[1])?;
        store.remove_layer(&chains[0])
    };
    let check = |root: &Path, done: bool| {
        let store = check_whole(open, root);
        if let Some(made) = store.container(&id) {
            assert!(made.upper.join("a/b").exists(), "what is here is whole");
        }
        if done {
            assert_empty(root);
        }
        store.remove(&id).expect("the removal can go on");
    };
    let steps = at_every_step(arrange, act, check);
    assert!(steps >= 12, "{steps} steps");
}
