use std::io::Cursor;

use serde_json::json;
use types::{Digest, Kind};

use crate::bench::{Bench, Lines, Sample, gzip, tar};

/// An archive as `docker save` before 25 wrote it: plain layers in directories.
fn docker_archive(sample: &Sample, tags: &[&str]) -> Vec<u8> {
    let paths: Vec<_> = (0..sample.layers.len()).map(|at| format!("{at}/layer.tar")).collect();
    let manifest = json!([{"Config": "config.json", "RepoTags": tags, "Layers": paths}]);
    let manifest = serde_json::to_vec(&manifest).unwrap();
    let mut files: Vec<(&str, &[u8])> = vec![("config.json", &sample.config)];
    files.extend(
        paths.iter().zip(&sample.layers).map(|(path, layer)| (path.as_str(), layer.as_slice())),
    );
    files.push(("manifest.json", &manifest));
    tar(&files)
}

/// An OCI layout with zstd layers.
fn oci_layout(sample: &Sample, annotations: &serde_json::Value) -> Vec<u8> {
    let mut blobs = vec![sample.config.clone()];
    let mut layers = Vec::new();
    for layer in &sample.layers {
        let blob = zstd::encode_all(&layer[..], 1).unwrap();
        layers.push(json!({"mediaType": "application/vnd.oci.image.layer.v1.tar+zstd",
                           "digest": Digest::of(&blob), "size": blob.len()}));
        blobs.push(blob);
    }
    let manifest = json!({"schemaVersion": 2, "layers": layers,
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json",
                   "digest": sample.id(), "size": sample.config.len()}});
    let manifest = serde_json::to_vec(&manifest).unwrap();
    let index = json!({"schemaVersion": 2, "manifests": [{
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "digest": Digest::of(&manifest), "size": manifest.len(), "annotations": annotations}]});
    let index = serde_json::to_vec(&index).unwrap();
    blobs.push(manifest);
    let paths: Vec<_> =
        blobs.iter().map(|b| format!("blobs/sha256/{}", Digest::of(b).hex())).collect();
    let mut files: Vec<(&str, &[u8])> =
        paths.iter().zip(&blobs).map(|(path, blob)| (path.as_str(), blob.as_slice())).collect();
    files.push(("index.json", &index));
    files.push(("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#));
    tar(&files)
}

async fn load(bench: &Bench, archive: Vec<u8>) -> Result<Vec<String>, image::Error> {
    let loaded = bench.images.load(Cursor::new(archive), Lines::default().sink()).await?;
    Ok(loaded.iter().map(image::Loaded::line).collect())
}

#[tokio::test]
async fn a_docker_archive_loads_under_its_names() {
    let bench = Bench::new();
    let sample = Sample::small(&["one", "two"]);
    let archive = docker_archive(&sample, &["busybox:latest", "quay.io/a/b:1"]);
    let lines = load(&bench, archive).await.unwrap();
    assert_eq!(lines, ["Loaded image: busybox:latest", "Loaded image: quay.io/a/b:1"]);
    assert_eq!(bench.images.resolve("busybox").unwrap(), sample.id());
    let history = bench.images.history("busybox").unwrap();
    let sizes: Vec<_> = history.iter().map(|step| (step.id.as_str(), step.size)).collect();
    assert_eq!(sizes, [(sample.id().0.as_str(), 3), ("<missing>", 3)]);
}

#[tokio::test]
async fn an_archive_may_be_compressed_and_nameless() {
    let bench = Bench::new();
    let sample = Sample::small(&["x"]);
    let lines = load(&bench, gzip(&docker_archive(&sample, &[]))).await.unwrap();
    assert_eq!(lines, [format!("Loaded image ID: {}", sample.id())]);
    // Loading it again changes nothing.
    load(&bench, docker_archive(&sample, &["x:1"])).await.unwrap();
    assert_eq!((bench.layers(), bench.images.list(&[]).len()), (1, 1));
}

#[tokio::test]
async fn a_layout_is_named_by_its_annotations() {
    let bench = Bench::new();
    let sample = Sample::small(&["one", "two"]);
    let named = json!({"io.containerd.image.name": "docker.io/library/x:1", "org.opencontainers.image.ref.name": "1"});
    assert_eq!(load(&bench, oci_layout(&sample, &named)).await.unwrap(), ["Loaded image: x:1"]);
    let other = Sample::small(&["three"]);
    let tagged = json!({"org.opencontainers.image.ref.name": "latest"});
    let lines = load(&bench, oci_layout(&other, &tagged)).await.unwrap();
    assert_eq!(lines, [format!("Loaded image ID: {}", other.id())]);
    let driver = bench.images.inspect("x:1").unwrap().graph_driver.unwrap();
    assert_eq!(std::fs::read(driver.upper.join("two")).unwrap(), b"two");
}

#[tokio::test]
async fn hostile_archives_are_refused_and_leave_nothing() {
    let bench = Bench::new();
    let sample = Sample::small(&["x"]);
    let escaping = {
        let mut bytes = tar(&[("aa/evil", b"x"), ("manifest.json", b"[]")]);
        // The name is changed behind the builder's back, with its checksum.
        bytes[..7].copy_from_slice(b"../evil");
        fix_checksum(&mut bytes[..512]);
        bytes
    };
    let blob = format!("blobs/sha256/{}", "0".repeat(64));
    let lying = tar(&[(&blob, b"other bytes"), ("manifest.json", b"[]")]);
    let wrong_layer = {
        let mut sample = sample.clone();
        sample.layers[0] = tar(&[("y", b"not what the config says")]);
        docker_archive(&sample, &["x:1"])
    };
    let bad_name = docker_archive(&sample, &["Not A Name"]);
    let torn = {
        let mut bytes = docker_archive(&sample, &["x:1"]);
        bytes.truncate(900);
        bytes
    };
    let missing = tar(&[("manifest.json", br#"[{"Config":"nope.json","Layers":[]}]"#)]);
    let climbing = tar(&[("manifest.json", br#"[{"Config":"../../etc/passwd","Layers":[]}]"#)]);
    for (case, archive, words) in [
        ("escaping", escaping, "entry `../evil` leads out of the archive"),
        ("lying", lying, "has the digest"),
        ("wrong layer", wrong_layer, "its config promises"),
        ("bad name", bad_name, "invalid reference format"),
        ("torn", torn, ""),
        ("missing", missing, "no `nope.json` in it"),
        ("climbing", climbing, "leads out of the archive"),
        ("no image", tar(&[("a", b"b")]), "not an image archive"),
        ("nothing", Vec::new(), "not an image archive"),
        ("no tar", vec![7; 4096], ""),
    ] {
        let error = load(&bench, archive).await.expect_err(case);
        assert_eq!(error.kind(), Kind::Invalid, "{case}: {error:?}");
        assert!(error.to_string().contains(words), "{case}: {error}");
        assert_eq!((bench.layers(), bench.blobs().len()), (0, 0), "{case}");
    }
    assert_eq!(std::fs::read_dir(bench.root.path().join("spool")).unwrap().count(), 0);
}

fn fix_checksum(header: &mut [u8]) {
    header[148..156].copy_from_slice(b"        ");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

#[tokio::test]
async fn what_is_saved_loads_elsewhere() {
    let (here, there) = (Bench::new(), Bench::new());
    let sample = Sample::small(&["one", "two"]);
    let digest = sample.publish(&here.fake, "team/app", "1");
    here.pull("team/app:1").await.unwrap();
    let name = here.name("team/app:1").familiar();
    here.images.tag(&name, &"mine:2".parse().unwrap()).await.unwrap();
    let path = here.root.path().join("saved.tar");
    let file = std::fs::File::create(&path).unwrap();
    here.images.save(&[name.clone(), "mine".to_owned()], file).await.unwrap();
    let lines = load(&there, std::fs::read(&path).unwrap()).await.unwrap();
    assert_eq!(lines, [format!("Loaded image: {name}"), "Loaded image: mine:2".to_owned()]);
    assert_eq!(there.images.resolve("mine:2").unwrap(), sample.id());
    // The manifest is the registry's own, to the byte.
    let mut saved = tar::Archive::new(std::fs::File::open(&path).unwrap());
    let own = format!("blobs/sha256/{}", digest.hex());
    assert!(saved.entries().unwrap().any(|e| e.unwrap().path().unwrap().to_str() == Some(&own)));
    let error = here.images.save(&["nope".to_owned()], Vec::new()).await.unwrap_err();
    assert_eq!(error.to_string(), "No such image: nope:latest");
}
