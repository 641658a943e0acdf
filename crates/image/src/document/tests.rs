use super::*;

fn digest() -> Digest {
    Digest::of(b"document")
}

fn descriptor(kind: &str) -> String {
    format!(r#"{{"mediaType":"{kind}","digest":"{}","size":1}}"#, digest())
}

fn manifest(config: &str, layer: &str) -> String {
    let (config, layer) = (descriptor(config), descriptor(layer));
    format!(r#"{{"schemaVersion":2,"config":{config},"layers":[{layer}]}}"#)
}

fn reason(served_as: &str, text: &str) -> String {
    parse(&digest(), served_as, text.as_bytes()).unwrap_err().to_string()
}

#[test]
fn both_families_of_manifests_are_read() {
    use media_type::*;
    for (served, config, layer) in [
        (DOCKER_MANIFEST, DOCKER_CONFIG, DOCKER_LAYER_GZIP),
        (OCI_MANIFEST, OCI_CONFIG, OCI_LAYER_ZSTD),
        ("text/plain", OCI_CONFIG, OCI_LAYER),
    ] {
        let document = parse(&digest(), served, manifest(config, layer).as_bytes()).unwrap();
        assert!(matches!(document, Document::Manifest(_)));
    }
}

#[test]
fn what_disagrees_with_its_type_is_refused() {
    use media_type::*;
    let both = r#"{"schemaVersion":2,"manifests":[],"layers":[]}"#;
    assert!(reason(OCI_INDEX, both).ends_with("it is both a manifest and an index"));
    let index = r#"{"schemaVersion":2,"manifests":[]}"#;
    assert!(
        reason(OCI_MANIFEST, index)
            .ends_with(&format!("it is not the {OCI_MANIFEST} that it says"))
    );
    let typed = format!(r#"{{"schemaVersion":2,"mediaType":"{DOCKER_INDEX}","manifests":[]}}"#);
    assert!(reason(OCI_INDEX, &typed).contains("was served as"));
    let schema1 = r#"{"schemaVersion":1,"fsLayers":[]}"#;
    assert!(reason("application/json", schema1).contains("schema version 1 is not supported"));
    assert!(reason(DOCKER_SCHEMA1[0], "{}").contains("schema version 1 is not supported"));
}

#[test]
fn what_is_no_image_is_refused() {
    use media_type::*;
    let chart = manifest("application/vnd.cncf.helm.config.v1+json", OCI_LAYER);
    assert!(reason(OCI_MANIFEST, &chart).contains("it is not an image"));
    let odd = manifest(OCI_CONFIG, "application/vnd.x");
    assert!(reason(OCI_MANIFEST, &odd).contains("unsupported media type application/vnd.x"));
    for bad in ["", "[]", "{}", "null", "{\"schemaVersion\":2}", "\u{0}"] {
        assert!(parse(&digest(), OCI_MANIFEST, bad.as_bytes()).is_err(), "{bad}");
    }
    let deep = "[".repeat(100_000);
    assert!(parse(&digest(), OCI_MANIFEST, deep.as_bytes()).is_err());
    let layers = vec![descriptor(OCI_LAYER); MAX_LAYERS + 1].join(",");
    let config = descriptor(OCI_CONFIG);
    let many = format!(r#"{{"schemaVersion":2,"config":{config},"layers":[{layers}]}}"#);
    assert!(reason(OCI_MANIFEST, &many).ends_with("max depth exceeded"));
}

fn index(platforms: &[&str]) -> Index {
    let manifests = platforms
        .iter()
        .map(|text| Descriptor {
            platform: (!text.is_empty()).then(|| text.parse().unwrap()),
            ..Descriptor::new(media_type::OCI_MANIFEST, Digest::of(text.as_bytes()), 1)
        })
        .collect();
    Index { schema_version: 2, media_type: String::new(), manifests, annotations: None }
}

#[test]
fn the_best_platform_is_chosen() {
    let index = index(&["linux/arm/v6", "linux/amd64", "linux/arm/v7", "linux/arm64/v8"]);
    for (machine, chosen) in [
        ("linux/amd64", "linux/amd64"),
        ("linux/arm/v7", "linux/arm/v7"),
        ("linux/arm/v6", "linux/arm/v6"),
        ("linux/arm64", "linux/arm64/v8"),
    ] {
        let found = choose(&index, &machine.parse().unwrap()).unwrap();
        assert_eq!(found.digest, Digest::of(chosen.as_bytes()), "{machine}");
    }
    let error = choose(&index, &"linux/s390x".parse().unwrap()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "no matching manifest for linux/s390x in the manifest list entries"
    );
}

#[test]
fn attestations_are_no_images() {
    let mut index = index(&["linux/amd64"]);
    let kind = ("vnd.docker.reference.type".to_owned(), "attestation-manifest".to_owned());
    index.manifests[0].annotations = Some([kind].into());
    assert!(choose(&index, &Platform::host()).is_err());
}

#[test]
fn windows_is_told_apart() {
    let text = br#"{"os":"windows","architecture":"amd64","rootfs":{"type":"layers"}}"#;
    let error = config(&digest(), text).unwrap_err().to_string();
    assert!(error.contains(r#"image operating system "windows" cannot be used"#), "{error}");
}
