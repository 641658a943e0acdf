//! Manifests, indexes and configs from the outside: read once, checked once. Hostile until then.

use serde_json::Value;
use types::Digest;
use types::oci::image::{Descriptor, ImageConfig, Index, Manifest, Platform, media_type};

use crate::Error;

/// The longest config document that is read.
pub(crate) const MAX_CONFIG_BYTES: u64 = 8 << 20;
/// The deepest stack of layers, as Docker has it.
pub(crate) const MAX_LAYERS: usize = 125;
const MAX_INDEX_ENTRIES: usize = 10_000;

/// What a reference names.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Document {
    Manifest(Box<Manifest>),
    Index(Index),
}

/// Reads a manifest or an index.
///
/// Type and content must agree (OCI image-spec `manifest.md`: an index posing as a manifest, CVE-2021-41190): a document with both
/// `layers` and `manifests`, or with another `mediaType` than it was served with, is refused.
pub(crate) fn parse(digest: &Digest, served_as: &str, bytes: &[u8]) -> Result<Document, Error> {
    let wrong = |reason: String| Error::document("manifest", digest, reason);
    let value: Value = serde_json::from_slice(bytes).map_err(|error| wrong(error.to_string()))?;
    let has = |field: &str| value.get(field).is_some_and(|value| !value.is_null());
    let own = value.get("mediaType").and_then(Value::as_str).unwrap_or_default().to_owned();
    let is_schema1 = media_type::DOCKER_SCHEMA1.contains(&served_as)
        || value.get("schemaVersion").and_then(Value::as_u64) == Some(1);
    if is_schema1 {
        return Err(wrong(
            "schema version 1 is not supported; the image must be pushed anew".into(),
        ));
    }
    if has("manifests") && (has("layers") || has("config") || has("fsLayers")) {
        return Err(wrong("it is both a manifest and an index".into()));
    }
    if !own.is_empty() && is_known(served_as) && own != served_as {
        return Err(wrong(format!("it says {own} and was served as {served_as}")));
    }
    let kind = if own.is_empty() { served_as } else { own.as_str() };
    if is_known(kind) && is_index(kind) != has("manifests") {
        return Err(wrong(format!("it is not the {kind} that it says")));
    }
    if has("manifests") {
        let index: Index =
            serde_json::from_value(value).map_err(|error| wrong(error.to_string()))?;
        return check_index(index).map(Document::Index).map_err(wrong);
    }
    let manifest: Manifest =
        serde_json::from_value(value).map_err(|error| wrong(error.to_string()))?;
    check_manifest(manifest).map(Box::new).map(Document::Manifest).map_err(wrong)
}

fn is_known(kind: &str) -> bool {
    is_index(kind) || kind == media_type::OCI_MANIFEST || kind == media_type::DOCKER_MANIFEST
}

fn is_index(kind: &str) -> bool {
    kind == media_type::OCI_INDEX || kind == media_type::DOCKER_INDEX
}

fn check_index(index: Index) -> Result<Index, String> {
    if index.manifests.len() > MAX_INDEX_ENTRIES {
        return Err(format!("{} entries", index.manifests.len()));
    }
    Ok(index)
}

fn check_manifest(manifest: Manifest) -> Result<Manifest, String> {
    let config = manifest.config.media_type.as_str();
    let is_image = matches!(
        config,
        "" | media_type::OCI_CONFIG | media_type::DOCKER_CONFIG | "application/octet-stream"
    );
    if !is_image {
        return Err(format!("unsupported media type {config}: it is not an image"));
    }
    if manifest.config.size > MAX_CONFIG_BYTES {
        return Err(format!("a config of {} bytes", manifest.config.size));
    }
    if manifest.layers.len() > MAX_LAYERS {
        return Err("max depth exceeded".to_owned());
    }
    for layer in &manifest.layers {
        if !is_layer(&layer.media_type) {
            return Err(format!("unsupported media type {} of a layer", layer.media_type));
        }
    }
    Ok(manifest)
}

/// Tar layers, whatever their compression: the bytes tell. `urls` of foreign ones are not followed.
fn is_layer(kind: &str) -> bool {
    const PREFIXES: [&str; 4] = [
        "application/vnd.oci.image.layer.v1.tar",
        "application/vnd.oci.image.layer.nondistributable.v1.tar",
        "application/vnd.docker.image.rootfs.diff.tar",
        "application/vnd.docker.image.rootfs.foreign.diff.tar",
    ];
    let rest = PREFIXES.iter().find_map(|prefix| kind.strip_prefix(prefix));
    matches!(rest, Some("" | "+gzip" | "+zstd" | ".gzip" | ".zstd"))
}

/// Chooses the image for `platform` out of an index: the best variant, and the first of equals.
pub(crate) fn choose<'a>(index: &'a Index, platform: &Platform) -> Result<&'a Descriptor, Error> {
    let is_attestation = |entry: &Descriptor| {
        entry.annotation("vnd.docker.reference.type") == Some("attestation-manifest")
    };
    let suitability = |entry: &Descriptor| match &entry.platform {
        Some(image) => platform.suitability(image),
        // An index of one unnamed image leaves no choice.
        None => (index.manifests.len() == 1).then_some(0),
    };
    let mut best: Option<(u32, &Descriptor)> = None;
    for entry in index.manifests.iter().filter(|entry| !is_attestation(entry)) {
        if let Some(rank) = suitability(entry)
            && best.is_none_or(|(known, _)| rank > known)
        {
            best = Some((rank, entry));
        }
    }
    best.map(|(_, entry)| entry).ok_or_else(|| Error::NoPlatform { platform: platform.to_string() })
}

/// Reads a config.
pub(crate) fn config(digest: &Digest, bytes: &[u8]) -> Result<ImageConfig, Error> {
    let wrong = |reason: String| Error::document("config", digest, reason);
    let config: ImageConfig =
        serde_json::from_slice(bytes).map_err(|error| wrong(error.to_string()))?;
    if config.rootfs.diff_ids.len() > MAX_LAYERS {
        return Err(wrong("max depth exceeded".to_owned()));
    }
    if !config.os.is_empty() && config.os != "linux" {
        let reason =
            format!("image operating system {:?} cannot be used on this platform", config.os);
        return Err(wrong(reason));
    }
    Ok(config)
}

#[cfg(test)]
mod tests;
