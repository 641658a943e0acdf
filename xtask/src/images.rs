//! The embedded image `belljar/hello`, and the images that tests use.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::{build, packages, shell};

/// Everything in the image carries this time, so that the same program gives the same digest: 2026-01-01T00:00:00Z.
const EPOCH: u64 = 1_767_225_600;

/// Writes `belljar/hello` as a tar that is a docker-archive and an OCI layout at once.
pub fn write_hello(program: &Path, out: &Path) -> Result<()> {
    let layer = hello_layer(program)?;
    let diff = digest(&layer);
    let config = json!({
        "architecture": architecture(), "os": "linux", "created": "2026-01-01T00:00:00Z",
        "config": {"Env": ["PATH=/bin"], "Entrypoint": ["/bin/hello"],
            "Labels": {"org.opencontainers.image.title": "belljar/hello"}},
        "history": [{"created": "2026-01-01T00:00:00Z", "created_by": "belljar: the program that tells what it sees"}],
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{diff}")]},
    });
    let config = serde_json::to_vec(&config)?;
    let manifest = serde_json::to_vec(&manifest(&config, &layer))?;
    let index = index(&manifest);
    let names = json!([{"Config": blob(&config), "RepoTags": ["belljar/hello:latest"], "Layers": [blob(&layer)]}]);
    let part = out.with_extension("part");
    let mut tar = tar::Builder::new(
        File::create(&part).with_context(|| format!("create `{}`", part.display()))?,
    );
    for bytes in [&layer, &config, &manifest] {
        append(&mut tar, &blob(bytes), 0o644, bytes)?;
    }
    append(&mut tar, "oci-layout", 0o644, br#"{"imageLayoutVersion":"1.0.0"}"#)?;
    append(&mut tar, "index.json", 0o644, &serde_json::to_vec(&index)?)?;
    append(&mut tar, "manifest.json", 0o644, &serde_json::to_vec(&names)?)?;
    tar.into_inner()?.sync_all()?;
    fs::rename(&part, out).with_context(|| format!("rename to `{}`", out.display()))
}

fn manifest(config: &[u8], layer: &[u8]) -> Value {
    json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json",
            "digest": format!("sha256:{}", digest(config)), "size": config.len()},
        "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar",
            "digest": format!("sha256:{}", digest(layer)), "size": layer.len()}],
    })
}

fn index(manifest: &[u8]) -> Value {
    json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [{"mediaType": "application/vnd.oci.image.manifest.v1+json",
            "digest": format!("sha256:{}", digest(manifest)), "size": manifest.len(),
            "annotations": {"io.containerd.image.name": "docker.io/belljar/hello:latest",
                "org.opencontainers.image.ref.name": "latest"},
            "platform": {"architecture": architecture(), "os": "linux"}}],
    })
}

fn hello_layer(program: &Path) -> Result<Vec<u8>> {
    let bytes = fs::read(program).with_context(|| format!("read `{}`", program.display()))?;
    let mut tar = tar::Builder::new(Vec::new());
    for (dir, mode) in [
        ("bin", 0o755),
        ("dev", 0o755),
        ("etc", 0o755),
        ("proc", 0o555),
        ("sys", 0o555),
        ("tmp", 0o1777),
    ] {
        let mut header = header(mode, 0);
        header.set_entry_type(tar::EntryType::Directory);
        tar.append_data(&mut header, format!("{dir}/"), std::io::empty())?;
    }
    append(&mut tar, "bin/hello", 0o755, &bytes)?;
    for name in ["sleep", "ps", "env"] {
        let mut header = header(0o777, 0);
        header.set_entry_type(tar::EntryType::Symlink);
        tar.append_link(&mut header, format!("bin/{name}"), "hello")?;
    }
    append(
        &mut tar,
        "etc/passwd",
        0o644,
        b"root:x:0:0:root:/:/bin/hello\nnobody:x:65534:65534:nobody:/:/bin/hello\n",
    )?;
    append(&mut tar, "etc/group", 0o644, b"root:x:0:\nnogroup:x:65534:\n")?;
    append(
        &mut tar,
        "etc/os-release",
        0o644,
        b"NAME=\"Belljar hello\"\nID=belljar-hello\nPRETTY_NAME=\"Belljar hello\"\n",
    )?;
    Ok(tar.into_inner()?)
}

fn header(mode: u32, size: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_mode(mode);
    header.set_size(size);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(EPOCH);
    header
}

fn append<W: std::io::Write>(
    tar: &mut tar::Builder<W>,
    name: &str,
    mode: u32,
    bytes: &[u8],
) -> Result<()> {
    let mut header = header(mode, bytes.len() as u64);
    Ok(tar.append_data(&mut header, name, bytes)?)
}

fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn blob(bytes: &[u8]) -> String {
    format!("blobs/sha256/{}", digest(bytes))
}

fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// Builds the test images and returns their directory.
pub fn test_images(names: &[&str]) -> Result<PathBuf> {
    packages::ensure(packages::TEST)?;
    let dir = std::env::var_os("BELLJAR_TEST_IMAGES")
        .map_or_else(|| build::target_dir().join("test-images"), PathBuf::from);
    fs::create_dir_all(&dir)?;
    let script = shell::root().join("tests/tools/make-images");
    shell::run(Command::new(script).arg(&dir).args(names).stdout(std::process::Stdio::null()))?;
    Ok(dir)
}

/// `cargo xtask images`.
pub fn run(_args: &[String]) -> Result<()> {
    println!("{}", test_images(&[])?.display());
    Ok(())
}
