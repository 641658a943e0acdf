use proptest::prelude::*;

use super::*;

fn parse(text: &str) -> Result<Reference, ReferenceError> {
    text.parse()
}

#[test]
fn names_normalise_as_dockers_do() {
    for (text, canonical, familiar) in [
        ("ubuntu", "docker.io/library/ubuntu", "ubuntu"),
        ("ubuntu:22.04", "docker.io/library/ubuntu:22.04", "ubuntu:22.04"),
        ("library/ubuntu", "docker.io/library/ubuntu", "ubuntu"),
        ("docker.io/ubuntu", "docker.io/library/ubuntu", "ubuntu"),
        ("index.docker.io/library/ubuntu", "docker.io/library/ubuntu", "ubuntu"),
        ("index.docker.io/a/b:1", "docker.io/a/b:1", "a/b:1"),
        ("team/app", "docker.io/team/app", "team/app"),
        ("library/a/b", "docker.io/library/a/b", "library/a/b"),
        ("localhost/x", "localhost/x", "localhost/x"),
        ("localhost:5000/x", "localhost:5000/x", "localhost:5000/x"),
        (
            "quay.io/a/b-c__d.e:V1_x.y-z",
            "quay.io/a/b-c__d.e:V1_x.y-z",
            "quay.io/a/b-c__d.e:V1_x.y-z",
        ),
        ("[::1]:5000/x:1", "[::1]:5000/x:1", "[::1]:5000/x:1"),
        ("127.0.0.1:5000/a/b/c", "127.0.0.1:5000/a/b/c", "127.0.0.1:5000/a/b/c"),
        ("Uppercase.host/x", "Uppercase.host/x", "Uppercase.host/x"),
    ] {
        let reference = parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(reference.to_string(), canonical);
        assert_eq!(reference.familiar(), familiar);
    }
}

#[test]
fn a_digest_comes_after_the_tag() {
    let digest = Digest::of(b"x");
    let reference = parse(&format!("busybox:1@{digest}")).unwrap();
    assert_eq!((reference.tag(), reference.digest()), (Some("1"), Some(&digest)));
    assert_eq!(reference.tag_or_digest(), digest.as_str());
    assert_eq!(reference.familiar(), format!("busybox:1@{digest}"));
    assert_eq!(reference.repository().with_default_tag().familiar(), "busybox:latest");
}

#[test]
fn what_is_no_reference_is_refused_in_dockers_words() {
    for bad in [
        "",
        ":",
        "@",
        "a:",
        ":a",
        "a@",
        "a b",
        "a//b",
        "/a",
        "a/",
        "-a",
        "a-",
        "a..b",
        "a___b",
        "a._b",
        "a:b:c",
        "a:-x",
        "a@sha256:00",
        "host:port/x",
        "https://x/y",
        "[::1/x",
        "a\0",
        "ä",
        "a:ä",
        ".x/y.z/",
        "a@b@c",
    ] {
        let error = parse(bad).expect_err(bad);
        assert_eq!(error.to_string(), "invalid reference format", "{bad}");
    }
    let words = |text: &str| parse(text).unwrap_err().to_string();
    assert_eq!(
        words("Foo"),
        "invalid reference format: repository name (library/Foo) must be lowercase"
    );
    assert_eq!(
        words("quay.io/a/B:1"),
        "invalid reference format: repository name (a/B) must be lowercase"
    );
    let id = "0f".repeat(32);
    assert_eq!(
        words(&id),
        format!("invalid repository name ({id}), cannot specify 64-byte hexadecimal strings")
    );
    assert_eq!(words(&format!("a@sha512:{}", "0".repeat(128))), "unsupported digest algorithm");
}

#[test]
fn lengths_have_bounds() {
    let longest = "a".repeat(255 - "library/".len());
    assert!(parse(&longest).is_ok());
    assert_eq!(parse(&format!("{longest}a")), Err(ReferenceError::TooLong));
    assert!(parse(&format!("a:{}", "t".repeat(128))).is_ok());
    assert_eq!(parse(&format!("a:{}", "t".repeat(129))), Err(ReferenceError::Format));
    assert_eq!(parse(&"a/".repeat(100_000)), Err(ReferenceError::TooLong));
}

proptest! {
    #[test]
    fn what_is_printed_is_read_back(
        domain in "(|localhost/|[a-z]{1,5}\\.[a-z]{2}(:[0-9]{1,5})?/)",
        // A dot in the first component would make it a domain.
        path in "[a-z0-9]{1,8}((_|__|-{1,3})[a-z0-9]{1,4}){0,2}(/[a-z0-9]{1,8}([._][a-z0-9]{1,4})?){0,2}",
        tag in "(|:[A-Za-z0-9_][A-Za-z0-9_.-]{0,20})",
        digest in proptest::option::of(any::<[u8; 32]>()),
    ) {
        let digest = digest.map(|hash| format!("@{}", Digest::from_sha256(&hash))).unwrap_or_default();
        let text = format!("{domain}{path}{tag}{digest}");
        let reference = parse(&text).unwrap();
        prop_assert_eq!(&parse(&reference.to_string()).unwrap(), &reference);
        prop_assert_eq!(&parse(&reference.familiar()).unwrap(), &reference);
    }

    #[test]
    fn any_text_is_read_or_refused(text in "\\PC{0,60}|[a-zA-Z0-9:/@._\\[\\]-]{0,60}") {
        if let Ok(reference) = parse(&text) {
            prop_assert_eq!(&parse(&reference.to_string()).unwrap(), &reference);
        }
    }
}
