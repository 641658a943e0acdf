//! The client against a registry that misbehaves.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::error::Error as _;
use std::time::{Duration, Instant};

use registry::{Auth, Client, ClientOptions, Error, MAX_MANIFEST_BYTES};
use testkit::registry::{Access, FakeRegistry, Fault};
use types::oci::image::media_type::DOCKER_MANIFEST;
use types::{Chain, Digest, Kind, Reference};

const MANIFEST: &[u8] = br#"{"schemaVersion":2}"#;

struct Bench {
    fake: FakeRegistry,
    client: Client,
    reference: Reference,
}

fn bench() -> Bench {
    let fake = FakeRegistry::start().unwrap();
    fake.add_manifest("team/app", "1", DOCKER_MANIFEST, MANIFEST);
    let reference = format!("{}/team/app:1", fake.host()).parse().unwrap();
    Bench { fake, client: client(ClientOptions::default()), reference }
}

fn client(options: ClientOptions) -> Client {
    let retry_pause = Some(Duration::from_millis(2));
    Client::new(ClientOptions { retry_pause, ..options }).unwrap()
}

fn blob() -> Vec<u8> {
    (0..200_000_u32).flat_map(|i| (i % 251).to_le_bytes()).collect()
}

fn user() -> Auth {
    Auth { username: "user".into(), password: "secret".into(), ..Auth::default() }
}

const PAIR: &str = "dXNlcjpzZWNyZXQ=";

impl Bench {
    async fn resolve(&self, auth: Option<&Auth>) -> Result<registry::Resolved, Error> {
        self.client.resolve(&self.reference, auth).await
    }

    async fn read(&self, digest: &Digest, size: u64, offset: u64) -> Result<Vec<u8>, Error> {
        let mut stream = self.client.blob(&self.reference, digest, size, offset, None).await?;
        let mut bytes = Vec::new();
        while let Some(chunk) = stream.next().await? {
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes)
    }

    /// Fetches a blob through `fault` and returns what came.
    async fn blob_through(&self, fault: Fault, times: usize) -> Result<(), Error> {
        let whole = blob();
        let digest = self.fake.add_blob(&whole);
        self.fake.plan("/blobs/", fault, times);
        let came = self.read(&digest, whole.len() as u64, 0).await?;
        assert!(came == whole, "{} bytes came", came.len());
        Ok(())
    }
}

#[tokio::test]
async fn a_tag_resolves_to_bytes_and_their_digest() {
    let bench = bench();
    let resolved = bench.resolve(None).await.unwrap();
    assert_eq!(resolved.digest, Digest::of(MANIFEST));
    assert_eq!(resolved.media_type, DOCKER_MANIFEST);
    assert_eq!(&resolved.bytes[..], MANIFEST);
    let agent = bench.fake.recorded().last().unwrap().headers["user-agent"].clone();
    assert!(agent.starts_with("belljar/"), "{agent}");
}

#[tokio::test]
async fn a_manifest_with_another_digest_is_refused() {
    let bench = bench();
    bench.fake.plan("/manifests/", Fault::WrongBytes, 9);
    let digest = Digest::of(MANIFEST);
    let error = bench.client.manifest(&bench.reference, &digest, None).await.unwrap_err();
    assert!(matches!(error, Error::WrongDigest { .. }), "{error:?}");
    assert_eq!(error.kind(), Kind::Invalid);
}

#[tokio::test]
async fn what_is_missing_is_told_in_dockers_words() {
    let bench = bench();
    let host = bench.fake.host();
    let missing: Reference = format!("{host}/team/app:nope").parse().unwrap();
    let error = bench.client.resolve(&missing, None).await.unwrap_err();
    assert_eq!(
        Chain(&error).to_string(),
        format!("manifest for {host}/team/app:nope not found: manifest unknown: manifest unknown")
    );
    assert_eq!(error.kind(), Kind::NotFound);

    let body = r#"{"errors":[{"code":"NAME_UNKNOWN","message":"repository name not known"}]}"#;
    bench.fake.plan("/manifests/", Fault::Status(404, vec![], body.into()), 1);
    let error = bench.resolve(None).await.unwrap_err();
    let start = format!(
        "pull access denied for {host}/team/app, repository does not exist or may require 'docker login'"
    );
    assert_eq!(error.to_string(), start);

    let unknown = Digest::of(b"no such blob");
    let error = bench.read(&unknown, 5, 0).await.unwrap_err();
    assert!(matches!(error, Error::BlobUnknown { .. }), "{error:?}");
}

#[tokio::test]
async fn passing_failures_are_outwaited() {
    for fault in [
        Fault::Status(500, vec![], String::new()),
        Fault::Status(503, vec![("Retry-After".into(), "0".into())], String::new()),
        Fault::Status(429, vec![], String::new()),
        Fault::Hang,
    ] {
        let bench = bench();
        // The first request may be the attempt at https, which a plain registry cannot answer.
        bench.fake.plan("/manifests/", fault.clone(), 3);
        bench.resolve(None).await.unwrap_or_else(|error| panic!("{fault:?}: {error:?}"));
        assert_eq!(bench.fake.count("/manifests/"), 4);
    }
}

#[tokio::test]
async fn patience_ends() {
    let bench = bench();
    bench.fake.plan("/manifests/", Fault::Status(503, vec![], String::new()), 99);
    let error = bench.resolve(None).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable, "{error:?}");
    assert_eq!(bench.fake.count("/manifests/"), 5);

    let bench = self::bench();
    let wait = vec![("Retry-After".to_owned(), "3600".to_owned())];
    bench.fake.plan("/manifests/", Fault::Status(429, wait, String::new()), 99);
    let start = Instant::now();
    let error = bench.resolve(None).await.unwrap_err();
    assert!(matches!(error, Error::TooManyRequests { .. }), "{error:?}");
    assert!(start.elapsed() < Duration::from_secs(5), "it does not wait an hour");
    assert_eq!(bench.fake.count("/manifests/"), 1);
}

#[tokio::test]
async fn retry_after_is_honoured() {
    let bench = bench();
    let wait = vec![("Retry-After".to_owned(), "1".to_owned())];
    bench.fake.plan("/manifests/", Fault::Status(429, wait, String::new()), 1);
    let start = Instant::now();
    bench.resolve(None).await.unwrap();
    assert!(start.elapsed() >= Duration::from_secs(1));
}

#[tokio::test]
async fn a_dead_registry_is_unavailable_and_named() {
    let fake = FakeRegistry::start().unwrap();
    let host = fake.host();
    drop(fake);
    tokio::time::sleep(Duration::from_millis(50)).await;
    let reference = format!("{host}/x").parse().unwrap();
    let error = client(ClientOptions::default()).resolve(&reference, None).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable);
    assert_eq!(error.to_string(), format!("get `http://{host}/v2/x/manifests/latest`"));
    assert!(error.source().is_some());
}

#[tokio::test]
async fn long_documents_are_not_read() {
    let bench = bench();
    let long = vec![b' '; MAX_MANIFEST_BYTES + 1];
    bench.fake.add_manifest("team/app", "long", DOCKER_MANIFEST, &long);
    let reference = bench.reference.with_tag("long").unwrap();
    let error = bench.client.resolve(&reference, None).await.unwrap_err();
    assert!(matches!(error, Error::TooLarge { .. }), "{error:?}");

    bench.fake.plan("/manifests/", Fault::Endless, 1);
    let error = bench.resolve(None).await.unwrap_err();
    assert!(matches!(error, Error::TooLarge { .. }), "{error:?}");
}

#[tokio::test]
async fn a_dropped_blob_is_taken_up_where_it_broke() {
    let bench = bench();
    bench.blob_through(Fault::CutAt(300_001), 2).await.unwrap();
    let ranges: Vec<_> = bench
        .fake
        .recorded()
        .iter()
        .filter_map(|request| request.headers.get("range").cloned())
        .collect();
    assert_eq!(ranges, ["bytes=300001-", "bytes=600002-"]);
}

#[tokio::test]
async fn every_way_of_ending_early_is_survived() {
    for (fault, times) in [
        (Fault::NoLength(1000), 1),
        (Fault::CutAt(0), 3),
        (Fault::Hang, 2),
        (Fault::Slow(50_000, Duration::from_millis(1)), 1),
    ] {
        bench()
            .blob_through(fault.clone(), times)
            .await
            .unwrap_or_else(|e| panic!("{fault:?}: {e:?}"));
    }
    // Ranges that are not honoured: what is here already is passed over.
    for fault in [Fault::IgnoreRange, Fault::RefuseRange] {
        let bench = bench();
        bench.fake.plan("/blobs/", Fault::CutAt(123_456), 1);
        bench.blob_through(fault.clone(), 2).await.unwrap_or_else(|e| panic!("{fault:?}: {e:?}"));
    }
}

#[tokio::test]
async fn a_blob_that_never_grows_is_given_up() {
    let error = bench().blob_through(Fault::CutAt(0), 99).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable, "{error:?}");
}

#[tokio::test]
async fn a_blob_longer_than_promised_is_refused() {
    let bench = bench();
    let digest = bench.fake.add_blob(&blob());
    let error = bench.read(&digest, 1000, 0).await.unwrap_err();
    assert!(matches!(error, Error::WrongLength { expected: 1000, .. }), "{error:?}");
}

#[tokio::test]
async fn a_blob_starts_at_an_offset() {
    let bench = bench();
    let whole = blob();
    let digest = bench.fake.add_blob(&whole);
    let size = whole.len() as u64;
    assert!(bench.read(&digest, size, 700_000).await.unwrap() == whole[700_000..]);
    assert!(bench.read(&digest, size, size).await.unwrap().is_empty());
}

#[tokio::test]
async fn basic_credentials_are_sent_only_when_asked_for() {
    let bench = bench();
    bench.fake.set_access(Access::Basic { pair: PAIR.into() });
    let error = bench.resolve(None).await.unwrap_err();
    assert!(matches!(error, Error::NoCredentials { .. }), "{error:?}");
    bench.resolve(Some(&user())).await.unwrap();
    let wrong = Auth { password: "wrong".into(), ..user() };
    let error = bench.resolve(Some(&wrong)).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unauthorized, "{error:?}");
    let first = &bench.fake.recorded()[0];
    assert!(!first.headers.contains_key("authorization"));
}

#[tokio::test]
async fn tokens_are_fetched_once_and_kept() {
    let bench = bench();
    let access = Access::Token { token: "abc".into(), pair: None, realm: None };
    bench.fake.set_access(access);
    for _ in 0..3 {
        bench.resolve(None).await.unwrap();
    }
    assert_eq!(bench.fake.count("/token"), 1);
    let scope = "scope=repository%3Ateam%2Fapp%3Apull&service=fake";
    assert_eq!(bench.fake.count(scope), 1, "{:?}", bench.fake.recorded());

    // A token that the registry no longer takes is replaced.
    let access = Access::Token { token: "def".into(), pair: None, realm: None };
    bench.fake.set_access(access);
    bench.resolve(None).await.unwrap();
    assert_eq!(bench.fake.count("/token"), 2);
}

#[tokio::test]
async fn tokens_are_given_to_who_may_have_them() {
    let bench = bench();
    let access = Access::Token { token: "abc".into(), pair: Some(PAIR.into()), realm: None };
    bench.fake.set_access(access);
    bench.resolve(Some(&user())).await.unwrap();
    let wrong = Auth { password: "wrong".into(), ..user() };
    let error = bench.resolve(Some(&wrong)).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unauthorized, "{error:?}");
    let refresh = Auth { identity_token: "r".into(), ..Auth::default() };
    bench.resolve(Some(&refresh)).await.unwrap();
    let posted = bench.fake.recorded().into_iter().find(|request| request.method == "POST");
    assert!(posted.unwrap().body.contains("refresh_token=r"));
    let error = bench.resolve(None).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Invalid, "the token service refuses: {error:?}");
}

#[tokio::test]
async fn a_ready_bearer_token_is_sent_as_it_is() {
    let bench = bench();
    bench.fake.set_access(Access::Token { token: "abc".into(), pair: None, realm: None });
    let auth = Auth { registry_token: "abc".into(), ..Auth::default() };
    bench.resolve(Some(&auth)).await.unwrap();
    assert_eq!(bench.fake.count("/token"), 0);
}

#[tokio::test]
async fn a_registry_that_always_asks_again_is_left() {
    let bench = bench();
    let challenge = format!("Bearer realm=\"http://{}/token\"", bench.fake.host());
    bench.fake.set_access(Access::Token { token: "abc".into(), pair: None, realm: None });
    let fault = Fault::Status(401, vec![("WWW-Authenticate".into(), challenge)], String::new());
    bench.fake.plan("/manifests/", fault, 99);
    let error = bench.resolve(None).await.unwrap_err();
    assert!(matches!(error, Error::Denied { .. }), "{error:?}");
    assert!(
        Chain(&error).to_string().ends_with("denied: requested access to the resource is denied")
    );
    assert_eq!(bench.fake.count("/manifests/"), 2);
}

#[tokio::test]
async fn a_bad_realm_is_not_asked() {
    for realm in ["file:///etc/passwd", "nonsense", "http://169.254.169.254/token"] {
        let bench = bench();
        let access = Access::Token { token: "abc".into(), pair: None, realm: Some(realm.into()) };
        bench.fake.set_access(access);
        let error = bench.resolve(Some(&user())).await.unwrap_err();
        assert!(matches!(error, Error::Protocol { .. }), "{realm}: {error:?}");
    }
}

#[tokio::test]
async fn credentials_do_not_follow_a_redirect_elsewhere() {
    let bench = bench();
    bench.fake.set_access(Access::Basic { pair: PAIR.into() });
    let whole = blob();
    let digest = bench.fake.add_blob(&whole);
    let elsewhere = FakeRegistry::start().unwrap();
    elsewhere.add_blob(&whole);
    let there = format!("http://{}/v2/x/blobs/{digest}", elsewhere.host());
    // Once for the request without, once for the one with credentials.
    bench.fake.plan("/blobs/", Fault::Redirect(there), 1);
    bench.resolve(Some(&user())).await.unwrap();
    let size = whole.len() as u64;
    let mut stream =
        bench.client.blob(&bench.reference, &digest, size, 0, Some(&user())).await.unwrap();
    assert!(stream.next().await.unwrap().is_some());
    // The token cache is by scope, so the blob request was authorised; the redirected one must not be.
    assert!(bench.fake.recorded().last().unwrap().headers.contains_key("authorization"));
    let redirected = elsewhere.recorded();
    assert_eq!(redirected.len(), 1);
    assert!(!redirected[0].headers.contains_key("authorization"), "{redirected:?}");
}

#[tokio::test]
async fn redirects_end() {
    let bench = bench();
    let itself = format!("http://{}/v2/team/app/manifests/1", bench.fake.host());
    bench.fake.plan("app/manifests/", Fault::Redirect(itself), 99);
    let error = bench.resolve(None).await.unwrap_err();
    assert!(error.to_string().contains("more than 5 redirects"), "{error}");
    bench.fake.plan("/other", Fault::Redirect("file:///etc/passwd".into()), 1);
    let reference = format!("{}/other", bench.fake.host()).parse().unwrap();
    let error = bench.client.resolve(&reference, None).await.unwrap_err();
    assert!(error.to_string().contains("neither http nor https"), "{error}");
}

#[tokio::test]
async fn hub_images_come_from_the_mirror_without_credentials() {
    let bench = bench();
    bench.fake.add_manifest("library/busybox", "latest", DOCKER_MANIFEST, MANIFEST);
    let mirrors = vec![format!("http://{}", bench.fake.host())];
    let client = client(ClientOptions { mirrors, ..ClientOptions::default() });
    let busybox = "busybox".parse().unwrap();
    client.resolve(&busybox, Some(&user())).await.unwrap();
    assert!(bench.fake.recorded().iter().all(|r| !r.headers.contains_key("authorization")));
}

#[tokio::test]
async fn a_login_is_checked() {
    let bench = bench();
    bench.fake.set_access(Access::Basic { pair: PAIR.into() });
    let server = format!("http://{}/v2/", bench.fake.host());
    bench.client.authenticate(&server, &user()).await.unwrap();
    let wrong = Auth { password: "wrong".into(), ..user() };
    let error = bench.client.authenticate(&server, &wrong).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unauthorized, "{error:?}");
}

#[tokio::test]
async fn a_refusal_cannot_write_to_the_terminal() {
    let bench = bench();
    let body = r#"{"errors":[{"code":"X","message":"a\u001b[31mred\u0007"}]}"#;
    bench.fake.plan("/manifests/", Fault::Status(400, vec![], body.into()), 1);
    let error = bench.resolve(None).await.unwrap_err();
    assert!(Chain(&error).to_string().ends_with(": x: a[31mred"), "{}", Chain(&error));
}
