use super::*;

fn platform(text: &str) -> Platform {
    text.parse().unwrap()
}

#[test]
fn platforms_have_one_spelling() {
    for (text, normal) in [
        ("linux/amd64", "linux/amd64"),
        ("linux/x86_64", "linux/amd64"),
        ("linux/amd64/v1", "linux/amd64"),
        ("aarch64", "linux/arm64"),
        ("linux/arm64/v8", "linux/arm64"),
        ("linux/arm", "linux/arm/v7"),
        ("linux/armhf", "linux/arm/v7"),
        ("Linux/AMD64", "linux/amd64"),
    ] {
        assert_eq!(platform(text).to_string(), normal, "{text}");
    }
    for bad in ["", "/", "linux/", "a/b/c/d", "linux/amd 64", "linux/amd64/\n"] {
        assert!(bad.parse::<Platform>().is_err(), "{bad}");
    }
}

#[test]
fn a_newer_machine_runs_an_older_image() {
    let accepts = |machine: &str, image: &str| platform(machine).accepts(&platform(image));
    assert!(accepts("linux/amd64", "linux/amd64"));
    assert!(!accepts("linux/amd64", "linux/arm64"));
    assert!(!accepts("linux/amd64", "windows/amd64"));
    assert!(accepts("linux/arm/v7", "linux/arm/v6"));
    assert!(!accepts("linux/arm/v6", "linux/arm/v7"));
    let rank = |image: &str| platform("linux/arm/v7").suitability(&platform(image));
    assert!(rank("linux/arm/v7") > rank("linux/arm/v6"));
    assert!(rank("linux/arm/v6") > rank("linux/arm/v5"));
    let rank = |image: &str| platform("linux/amd64").suitability(&platform(image));
    assert!(rank("linux/amd64") > rank("linux/amd64/v2"));
}

#[test]
fn a_config_keeps_what_it_does_not_know() {
    let text = r#"{"architecture":"amd64","os":"linux","config":{"Cmd":["sh"],"Env":null},
        "rootfs":{"type":"layers","diff_ids":[]},"history":null,"moby.buildkit.x":{"a":1}}"#;
    let config: ImageConfig = serde_json::from_str(text).unwrap();
    assert_eq!(config.config.as_ref().unwrap().cmd.as_deref(), Some(&["sh".to_owned()][..]));
    let written = serde_json::to_value(&config).unwrap();
    assert_eq!(written["moby.buildkit.x"]["a"], 1);
    let again: ImageConfig = serde_json::from_value(written).unwrap();
    assert_eq!(again, config);
}

#[test]
fn a_manifest_is_read_with_nulls_and_strange_fields() {
    let digest = Digest::of(b"x");
    let text = format!(
        r#"{{"schemaVersion":2,"mediaType":null,"config":{{"mediaType":"m","digest":"{digest}","size":7,"data":"eA=="}},
        "layers":null,"subject":{{}}}}"#
    );
    let manifest: Manifest = serde_json::from_str(&text).unwrap();
    assert_eq!((manifest.config.size, manifest.layers.len()), (7, 0));
    for bad in ["-1", "1.5", "18446744073709551616", "\"7\""] {
        let bad = text.replace("\"size\":7", &format!("\"size\":{bad}"));
        assert!(serde_json::from_str::<Manifest>(&bad).is_err());
    }
}
