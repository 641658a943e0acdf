//! A private data root, and small images to put into it.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use image::{Images, ImagesOptions, Progress};
use registry::ClientOptions;
use serde_json::json;
use testkit::registry::FakeRegistry;
use types::oci::image::media_type::{DOCKER_CONFIG, DOCKER_LAYER_GZIP, DOCKER_MANIFEST};
use types::{Digest, ImageId, Reference};

pub(crate) struct Bench {
    pub(crate) root: tempfile::TempDir,
    pub(crate) images: Images,
    pub(crate) fake: FakeRegistry,
}

impl Bench {
    pub(crate) fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let images = open(&root);
        Self { images, root, fake: FakeRegistry::start().unwrap() }
    }

    /// Opens the same data root again, as the next daemon does.
    pub(crate) fn reopen(&mut self) {
        self.images = open(&self.root);
    }

    pub(crate) fn name(&self, tail: &str) -> Reference {
        format!("{}/{tail}", self.fake.host()).parse().unwrap()
    }

    pub(crate) async fn pull(&self, tail: &str) -> Result<Vec<String>, image::Error> {
        let lines = Lines::default();
        self.images.pull(&self.name(tail), None, None, lines.sink()).await?;
        Ok(lines.take())
    }

    /// The blobs in content, by hex.
    pub(crate) fn blobs(&self) -> BTreeSet<String> {
        names(&self.root.path().join("content/blobs/sha256"))
    }

    /// How many layers and containers lie in overlay2.
    pub(crate) fn layers(&self) -> usize {
        names(&self.root.path().join("overlay2")).iter().filter(|name| name.len() == 64).count()
    }

    /// Waits until blocking work that was given up has let go.
    pub(crate) async fn settle(&self) {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn names(directory: &std::path::Path) -> BTreeSet<String> {
    let entries = std::fs::read_dir(directory).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

fn open(root: &tempfile::TempDir) -> Images {
    let root = root.path();
    let retry_pause = Some(Duration::from_millis(2));
    let options = ClientOptions { retry_pause, ..ClientOptions::default() };
    Images::open(ImagesOptions {
        content: content::Store::open(root.join("content")).unwrap(),
        snapshot: snapshot::Store::open(root.join("overlay2")).unwrap(),
        db: db::Db::open(root.join("db")).unwrap().0,
        registry: registry::Client::new(options).unwrap(),
        spool: root.join("spool"),
        max_concurrent_downloads: 0,
    })
    .unwrap()
}

/// Progress as lines.
#[derive(Clone, Default)]
pub(crate) struct Lines(Arc<Mutex<Vec<String>>>);

impl Lines {
    pub(crate) fn sink(&self) -> impl Fn(Progress) + Send + Sync + 'static {
        let lines = Arc::clone(&self.0);
        move |progress| {
            let line = match progress.id {
                Some(id) => format!("{id}: {}", progress.status),
                None => progress.status,
            };
            lines.lock().unwrap().push(line);
        }
    }

    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

/// A tar of regular files.
pub(crate) fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (path, data) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(data.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, path, *data).unwrap();
    }
    tar.into_inner().unwrap()
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Bytes that do not compress.
pub(crate) fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[0]
    };
    (0..length).map(|_| next()).collect()
}

/// A small image: plain layers, lowest first, and its config.
#[derive(Clone)]
pub(crate) struct Sample {
    pub(crate) layers: Vec<Vec<u8>>,
    pub(crate) config: Vec<u8>,
}

impl Sample {
    pub(crate) fn new(layers: Vec<Vec<u8>>) -> Self {
        Self::for_architecture(layers, "amd64")
    }

    pub(crate) fn for_architecture(layers: Vec<Vec<u8>>, architecture: &str) -> Self {
        let diff_ids: Vec<_> = layers.iter().map(|layer| Digest::of(layer)).collect();
        let steps =
            layers.iter().map(|_| json!({"created_by": "test", "created": "2026-01-02T03:04:05Z"}));
        let config = json!({
            "architecture": architecture,
            "os": "linux",
            "created": "2026-01-02T03:04:05Z",
            "config": {"Cmd": ["sh"], "Labels": {"a": "b"}},
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
            "history": steps.collect::<Vec<_>>(),
        });
        Self { layers, config: serde_json::to_vec(&config).unwrap() }
    }

    /// Layers with one small file each.
    pub(crate) fn small(words: &[&str]) -> Self {
        let layer = |word: &&str| tar(&[(*word, word.as_bytes())]);
        Self::new(words.iter().map(layer).collect())
    }

    pub(crate) fn id(&self) -> ImageId {
        ImageId(Digest::of(&self.config))
    }

    /// Puts the image into a registry with gzip layers; returns the manifest's digest.
    pub(crate) fn publish(&self, fake: &FakeRegistry, repository: &str, tag: &str) -> Digest {
        let config = fake.add_blob(&self.config);
        let layers: Vec<_> = self
            .layers
            .iter()
            .map(|layer| {
                let blob = gzip(layer);
                let digest = fake.add_blob(&blob);
                json!({"mediaType": DOCKER_LAYER_GZIP, "digest": digest, "size": blob.len()})
            })
            .collect();
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": DOCKER_MANIFEST,
            "config": {"mediaType": DOCKER_CONFIG, "digest": config, "size": self.config.len()},
            "layers": layers,
        });
        let bytes = serde_json::to_vec(&manifest).unwrap();
        fake.add_manifest(repository, tag, DOCKER_MANIFEST, &bytes)
    }
}
