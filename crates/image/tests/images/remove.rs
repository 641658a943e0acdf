use image::{ImageUse, Removed};
use types::{ContainerId, Kind};

use crate::bench::{Bench, Sample};

async fn with_image() -> (Bench, Sample) {
    let bench = Bench::new();
    let sample = Sample::small(&["one", "two"]);
    sample.publish(&bench.fake, "x", "1");
    bench.pull("x:1").await.unwrap();
    (bench, sample)
}

fn user(sample: &Sample, running: bool) -> ImageUse {
    ImageUse { container: ContainerId::from_bytes(&[0xab; 32]), image: sample.id(), running }
}

fn words(removed: &[Removed]) -> Vec<String> {
    let word = |step: &Removed| match step {
        Removed::Untagged { .. } => format!("Untagged: {}", step.text()),
        Removed::Image(_) | Removed::Layer(_) => format!("Deleted: {}", step.text()),
    };
    removed.iter().map(word).collect()
}

#[tokio::test]
async fn the_last_name_takes_the_image_along() {
    let (mut bench, sample) = with_image().await;
    let name = bench.name("x:1").familiar();
    let detail = bench.images.inspect(&name).unwrap();
    let chain = bench.images.chain(&sample.id()).unwrap().unwrap();
    bench.images.tag(&name, &"other:2".parse().unwrap()).await.unwrap();
    let removed = bench.images.remove(&name, false, true, &[]).await.unwrap();
    assert_eq!(
        words(&removed),
        [format!("Untagged: {name}"), format!("Untagged: {}", detail.repo_digests[0])]
    );
    let removed = bench.images.remove("other:2", false, true, &[]).await.unwrap();
    assert_eq!(
        words(&removed),
        [
            "Untagged: other:2".to_owned(),
            format!("Deleted: {}", sample.id()),
            format!("Deleted: {chain}"),
            format!("Deleted: {}", sample.config_first_layer()),
        ]
    );
    assert_eq!((bench.layers(), bench.blobs().len()), (0, 0));
    bench.reopen();
    assert!(bench.images.list(&[]).is_empty());
    let error = bench.images.remove("other:2", false, true, &[]).await.unwrap_err();
    assert_eq!(error.to_string(), "No such image: other:2");
}

impl Sample {
    /// The chain id of the lowest layer is its diff id.
    fn config_first_layer(&self) -> String {
        types::Digest::of(&self.layers[0]).to_string()
    }
}

#[tokio::test]
async fn containers_protect_their_image() {
    let (bench, sample) = with_image().await;
    let name = bench.name("x:1").familiar();
    let (short, container) = (sample.id().0.short().to_owned(), "abababababab");
    let stopped = [user(&sample, false)];
    let running = [user(&sample, true)];
    let error = bench.images.remove(&name, false, true, &stopped).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Conflict);
    assert_eq!(
        error.to_string(),
        format!(
            "conflict: unable to remove repository reference {name:?} (must force) - container {container} is using its referenced image {short}"
        )
    );
    let error = bench.images.remove(&short, false, true, &stopped).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "conflict: unable to delete {short} (must be forced) - image is being used by stopped container {container}"
        )
    );
    let error = bench.images.remove(&short, true, true, &running).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "conflict: unable to delete {short} (cannot be forced) - image is being used by running container {container}"
        )
    );
    // By name and with force only the name goes.
    let removed = bench.images.remove(&name, true, true, &running).await.unwrap();
    assert!(removed.iter().all(|step| matches!(step, Removed::Untagged { .. })));
    assert_eq!(bench.images.list(&[])[0].repo_tags, Vec::<String>::new());
}

#[tokio::test]
async fn several_repositories_need_force_by_id() {
    let (bench, sample) = with_image().await;
    let name = bench.name("x:1").familiar();
    bench.images.tag(&name, &"other".parse().unwrap()).await.unwrap();
    let short = sample.id().0.short().to_owned();
    let error = bench.images.remove(&short, false, true, &[]).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "conflict: unable to delete {short} (must be forced) - image is referenced in multiple repositories"
        )
    );
    let removed = bench.images.remove(&short, true, true, &[]).await.unwrap();
    assert_eq!(removed.iter().filter(|step| matches!(step, Removed::Untagged { .. })).count(), 3);
    assert_eq!(bench.layers(), 0);
}

#[tokio::test]
async fn shared_layers_stay() {
    let (bench, _) = with_image().await;
    let sibling = Sample::small(&["one", "three"]);
    sibling.publish(&bench.fake, "y", "1");
    bench.pull("y:1").await.unwrap();
    assert_eq!(bench.layers(), 3);
    bench.images.remove(&bench.name("x:1").familiar(), false, true, &[]).await.unwrap();
    assert_eq!(bench.layers(), 2);
    assert!(bench.images.inspect(&bench.name("y:1").familiar()).is_ok());
}

#[tokio::test]
async fn prune_takes_what_nobody_needs() {
    let (bench, sample) = with_image().await;
    let newer = Sample::small(&["newer"]);
    newer.publish(&bench.fake, "x", "1");
    bench.pull("x:1").await.unwrap();
    // The old image lost its tag but is still known by its digest at the registry.
    let pruned = bench.images.prune(true, |_| true, &[user(&sample, false)]).await.unwrap();
    assert!(pruned.removed.is_empty());
    let pruned = bench.images.prune(false, |_| true, &[user(&newer, false)]).await.unwrap();
    assert!(pruned.removed.contains(&Removed::Image(sample.id())), "{pruned:?}");
    assert!(pruned.reclaimed > 0);
    assert_eq!(bench.images.list(&[]).len(), 1);
}

#[tokio::test]
async fn a_name_is_on_one_image_even_after_a_kill_between_two_records() {
    let (mut bench, old) = with_image().await;
    let key = bench.root.path().join("db/images").join(format!("{}.json", old.id().hex()));
    let before = std::fs::read(&key).unwrap();
    let newer = Sample::small(&["newer"]);
    newer.publish(&bench.fake, "x", "1");
    bench.pull("x:1").await.unwrap();
    // The record that loses the name was not written.
    std::fs::write(&key, before).unwrap();
    bench.reopen();
    let name = bench.name("x:1").familiar();
    assert_eq!(bench.images.resolve(&name).unwrap(), newer.id());
    let tagged = bench.images.list(&[]).iter().filter(|image| !image.repo_tags.is_empty()).count();
    assert_eq!(tagged, 1);
}

#[tokio::test]
async fn an_image_whose_config_is_lost_does_not_stop_the_others() {
    let (mut bench, sample) = with_image().await;
    let other = Sample::small(&["other"]);
    other.publish(&bench.fake, "y", "1");
    bench.pull("y:1").await.unwrap();
    std::fs::remove_file(bench.root.path().join("content/blobs/sha256").join(sample.id().hex()))
        .unwrap();
    bench.reopen();
    assert_eq!(bench.images.list(&[]).len(), 1);
    // The same image pulled again is whole again.
    bench.pull("x:1").await.unwrap();
    assert_eq!(bench.images.list(&[]).len(), 2);
}
