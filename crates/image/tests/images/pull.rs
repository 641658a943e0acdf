use std::time::Duration;

use image::PullStatus;
use serde_json::json;
use testkit::registry::Fault;
use types::oci::image::media_type::{DOCKER_INDEX, DOCKER_MANIFEST};
use types::{Chain, Digest, Kind};

use crate::bench::{Bench, Lines, Sample, gzip, noise, tar};

fn short(layer: &[u8]) -> String {
    Digest::of(&gzip(layer)).short().to_owned()
}

#[tokio::test]
async fn a_pull_says_what_dockers_says_and_unpacks() {
    let bench = Bench::new();
    let sample = Sample::small(&["one", "two"]);
    let digest = sample.publish(&bench.fake, "team/app", "1");
    let lines = bench.pull("team/app:1").await.unwrap();
    assert_eq!(lines[0], "1: Pulling from team/app");
    for layer in &sample.layers {
        let id = short(layer);
        let of_it: Vec<_> =
            lines.iter().filter_map(|line| line.strip_prefix(&format!("{id}: "))).collect();
        assert_eq!(
            of_it,
            [
                "Pulling fs layer",
                "Downloading",
                "Verifying Checksum",
                "Download complete",
                "Extracting",
                "Extracting",
                "Pull complete"
            ]
        );
    }
    let familiar = bench.name("team/app:1").familiar();
    let end =
        [format!("Digest: {digest}"), format!("Status: Downloaded newer image for {familiar}")];
    assert_eq!(lines[lines.len() - 2..], end);

    let detail = bench.images.inspect(&familiar).unwrap();
    assert_eq!((detail.id.clone(), detail.layers.len()), (sample.id(), 2));
    assert_eq!(detail.repo_digests, [format!("{}/team/app@{digest}", bench.fake.host())]);
    let driver = detail.graph_driver.unwrap();
    assert_eq!(std::fs::read(driver.upper.join("two")).unwrap(), b"two");
    assert_eq!(std::fs::read(driver.lower[0].join("one")).unwrap(), b"one");

    let lines = bench.pull("team/app:1").await.unwrap();
    assert_eq!(lines.last().unwrap(), &format!("Status: Image is up to date for {familiar}"));
    assert_eq!(lines.len(), 3, "{lines:?}");
}

#[tokio::test]
async fn shared_layers_exist_already() {
    let bench = Bench::new();
    Sample::small(&["base", "a"]).publish(&bench.fake, "a", "latest");
    let other = Sample::small(&["base", "b"]);
    other.publish(&bench.fake, "b", "latest");
    bench.pull("a").await.unwrap();
    let lines = bench.pull("b").await.unwrap();
    assert!(lines.contains(&format!("{}: Already exists", short(&other.layers[0]))), "{lines:?}");
    assert_eq!(bench.fake.count(&format!("blobs/{}", Digest::of(&gzip(&other.layers[0])))), 1);
    assert_eq!(bench.layers(), 3);
}

#[tokio::test]
async fn names_ids_and_digests_find_the_image() {
    let bench = Bench::new();
    let sample = Sample::small(&["x"]);
    let digest = sample.publish(&bench.fake, "x", "latest");
    bench.pull(&format!("x@{digest}")).await.unwrap();
    let id = sample.id();
    let by_digest = format!("{}/x@{digest}", bench.fake.host());
    for name in [&by_digest, id.hex(), id.0.as_str(), &id.hex()[..12], &id.0.as_str()[..20]] {
        assert_eq!(bench.images.resolve(name).unwrap(), id, "{name}");
    }
    assert!(bench.images.list(&[])[0].repo_tags.is_empty());
    let error = bench.images.resolve("nope").unwrap_err();
    assert_eq!(
        (error.to_string().as_str(), error.kind()),
        ("No such image: nope:latest", Kind::NotFound)
    );
    let error = bench.images.resolve("No").unwrap_err();
    assert_eq!(error.kind(), Kind::Invalid);
}

#[tokio::test]
async fn an_index_leads_to_the_platform() {
    let bench = Bench::new();
    let (intel, arm) = (
        Sample::for_architecture(vec![tar(&[("a", b"intel")])], "amd64"),
        Sample::for_architecture(vec![tar(&[("a", b"arm")])], "arm64"),
    );
    let entry = |digest: Digest, architecture: &str| {
        json!({"mediaType": DOCKER_MANIFEST, "digest": digest, "size": 1,
               "platform": {"os": "linux", "architecture": architecture}})
    };
    let manifests = [
        entry(intel.publish(&bench.fake, "m", "i"), "amd64"),
        entry(arm.publish(&bench.fake, "m", "a"), "arm64"),
    ];
    let index = json!({"schemaVersion": 2, "mediaType": DOCKER_INDEX, "manifests": manifests});
    let index = serde_json::to_vec(&index).unwrap();
    let digest = bench.fake.add_manifest("m", "latest", DOCKER_INDEX, &index);
    let name = bench.name("m");
    let pull = async |platform: &str| {
        bench.images.pull(&name, Some(platform.parse().unwrap()), None, |_| {}).await
    };
    let pulled = pull("linux/amd64").await.unwrap();
    assert_eq!((pulled.id, pulled.digest), (intel.id(), digest));
    // The same tag for another platform moves the name.
    let pulled = pull("linux/arm64").await.unwrap();
    assert_eq!((pulled.id, pulled.status), (arm.id(), PullStatus::New));
    assert_eq!(bench.images.resolve(&name.familiar()).unwrap(), arm.id());
    let error = pull("linux/s390x").await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "no matching manifest for linux/s390x in the manifest list entries"
    );

    let nested = json!({"schemaVersion": 2, "manifests": [entry(Digest::of(&index), "amd64")]});
    bench.fake.add_manifest("m", "nested", DOCKER_INDEX, &serde_json::to_vec(&nested).unwrap());
    let error = bench.pull("m:nested").await.unwrap_err();
    assert!(error.to_string().contains("an index inside an index"), "{error}");
}

#[tokio::test]
async fn a_wrong_blob_is_never_unpacked() {
    let bench = Bench::new();
    let sample = Sample::small(&["x"]);
    sample.publish(&bench.fake, "x", "latest");
    let layer = Digest::of(&gzip(&sample.layers[0]));
    bench.fake.plan(&format!("blobs/{layer}"), Fault::WrongBytes, 1);
    let error = bench.pull("x").await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("filesystem layer verification failed for digest {layer}")
    );
    assert_eq!((bench.layers(), bench.images.list(&[]).len()), (0, 0));
    bench.fake.plan(&format!("blobs/{}", sample.id()), Fault::WrongBytes, 1);
    let error = bench.pull("x").await.unwrap_err();
    assert_eq!(error.kind(), Kind::Invalid, "{error:?}");
    bench.pull("x").await.unwrap();
}

#[tokio::test]
async fn a_layer_must_have_the_diff_id_that_the_config_promises() {
    let bench = Bench::new();
    let mut sample = Sample::small(&["x"]);
    sample.layers[0] = tar(&[("y", b"another layer")]);
    sample.publish(&bench.fake, "x", "latest");
    let error = bench.pull("x").await.unwrap_err();
    assert!(matches!(error, image::Error::WrongDiffId { .. }), "{error:?}");
    assert_eq!((bench.layers(), bench.images.list(&[]).len()), (0, 0));
}

#[tokio::test]
async fn a_missing_blob_ends_the_pull_at_once_and_is_named() {
    let bench = Bench::new();
    let big = Sample::new(vec![tar(&[("big", &noise(2 << 20, 7))]), tar(&[("small", b"s")])]);
    big.publish(&bench.fake, "x", "latest");
    let (first, second) = (Digest::of(&gzip(&big.layers[0])), Digest::of(&gzip(&big.layers[1])));
    // The first layer would take a minute; the second is not there.
    bench.fake.plan(&format!("blobs/{first}"), Fault::Slow(4096, Duration::from_millis(120)), 1);
    let body = r#"{"errors":[{"code":"BLOB_UNKNOWN","message":"blob unknown to registry"}]}"#;
    bench.fake.plan(&format!("blobs/{second}"), Fault::Status(404, vec![], body.into()), 9);
    let pull = tokio::time::timeout(Duration::from_secs(10), bench.pull("x"));
    let error = pull.await.expect("ends at once").unwrap_err();
    assert_eq!(
        Chain(&error).to_string(),
        format!("fetch blob `{second}`: blob unknown: blob unknown to registry")
    );
    assert_eq!(error.kind(), Kind::NotFound);
}

#[tokio::test]
async fn an_interrupted_download_is_resumed() {
    let mut bench = Bench::new();
    let sample = Sample::new(vec![tar(&[("big", &noise(1 << 20, 3))])]);
    sample.publish(&bench.fake, "x", "latest");
    let blob = format!("blobs/{}", Digest::of(&gzip(&sample.layers[0])));
    bench.fake.plan(&blob, Fault::Slow(128 << 10, Duration::from_millis(100)), 1);
    let cut = tokio::time::timeout(Duration::from_millis(450), bench.pull("x")).await;
    assert!(cut.is_err(), "the pull was dropped in the middle");
    bench.settle().await;
    bench.reopen();
    bench.pull("x").await.unwrap();
    let ranges: Vec<_> = bench
        .fake
        .recorded()
        .into_iter()
        .filter(|request| request.target.contains(&blob))
        .map(|request| request.headers.get("range").cloned())
        .collect();
    assert_eq!(ranges.len(), 2);
    let from = ranges[1]
        .as_deref()
        .and_then(|r| r.strip_prefix("bytes=")?.strip_suffix('-')?.parse::<u64>().ok());
    assert!(from.is_some_and(|from| from > 0), "{ranges:?}");
}

#[tokio::test]
async fn a_spoiled_half_is_fetched_anew() {
    let mut bench = Bench::new();
    let sample = Sample::new(vec![tar(&[("big", &noise(1 << 20, 5))])]);
    sample.publish(&bench.fake, "x", "latest");
    let digest = Digest::of(&gzip(&sample.layers[0]));
    let ingest = bench.root.path().join("content/ingest").join(digest.hex());
    std::fs::create_dir_all(&ingest).unwrap();
    std::fs::write(ingest.join("data"), b"what a power cut may leave").unwrap();
    bench.reopen();
    bench.pull("x").await.unwrap();
    assert_eq!(bench.images.list(&[]).len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn fifty_clients_share_one_download() {
    let bench = std::sync::Arc::new(Bench::new());
    let sample = Sample::new(vec![tar(&[("big", &noise(1 << 20, 9))]), tar(&[("b", b"b")])]);
    sample.publish(&bench.fake, "x", "latest");
    let blob = format!("blobs/{}", Digest::of(&gzip(&sample.layers[0])));
    bench.fake.plan(&blob, Fault::Slow(256 << 10, Duration::from_millis(50)), 1);
    let pulls: Vec<_> = (0..50)
        .map(|_| {
            let bench = std::sync::Arc::clone(&bench);
            tokio::spawn(async move { bench.pull("x").await.map(|lines| lines.last().cloned()) })
        })
        .collect();
    for pull in pulls {
        assert!(pull.await.unwrap().unwrap().unwrap().starts_with("Status: "));
    }
    assert_eq!(bench.fake.count(&blob), 1);
    assert_eq!(bench.layers(), 2);
}

#[tokio::test]
async fn what_a_killed_pull_left_is_swept() {
    let mut bench = Bench::new();
    let sample = Sample::small(&["one", "two"]);
    sample.publish(&bench.fake, "x", "latest");
    let second = Digest::of(&gzip(&sample.layers[1]));
    bench.fake.plan(&format!("blobs/{second}"), Fault::Status(404, vec![], String::new()), 1);
    bench.pull("x").await.unwrap_err();
    bench.settle().await;
    // Whatever of the first layer is here belongs to no image.
    std::fs::write(bench.root.path().join("spool/17"), b"half an archive").unwrap();
    bench.reopen();
    assert_eq!((bench.layers(), bench.blobs().len()), (0, 0));
    assert!(!bench.root.path().join("spool/17").exists());
    bench.pull("x").await.unwrap();
    bench.reopen();
    assert_eq!((bench.layers(), bench.blobs().len()), (2, 4));
    assert_eq!(bench.images.resolve(&bench.name("x").familiar()).unwrap(), sample.id());
}

#[tokio::test]
async fn the_client_is_told_lines_while_it_waits_for_another() {
    let bench = std::sync::Arc::new(Bench::new());
    let sample = Sample::new(vec![tar(&[("big", &noise(1 << 20, 11))])]);
    sample.publish(&bench.fake, "x", "latest");
    let blob = format!("blobs/{}", Digest::of(&gzip(&sample.layers[0])));
    bench.fake.plan(&blob, Fault::Slow(64 << 10, Duration::from_millis(40)), 1);
    let first = std::sync::Arc::clone(&bench);
    let first = tokio::spawn(async move { first.pull("x").await });
    tokio::time::sleep(Duration::from_millis(150)).await;
    let lines = Lines::default();
    bench.images.pull(&bench.name("x"), None, None, lines.sink()).await.unwrap();
    first.await.unwrap().unwrap();
    let downloading = lines.take().iter().filter(|line| line.ends_with(": Downloading")).count();
    assert!(downloading > 0, "the second client watches the first one's download");
    assert_eq!(bench.fake.count(&blob), 1);
}
