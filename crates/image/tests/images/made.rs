use std::io::Cursor;

use image::{CommitRequest, ImportRequest};
use types::ContainerId;
use types::container::ContainerConfig;

use crate::bench::{Bench, Sample, tar};

#[tokio::test]
async fn an_import_is_one_layer_with_changes() {
    let bench = Bench::new();
    let request = ImportRequest {
        reference: Some("mine".parse().unwrap()),
        changes: vec![r#"CMD ["/bin/app"]"#.to_owned(), "ENV A=1".to_owned()],
        ..ImportRequest::default()
    };
    let root = tar(&[("bin/app", b"#!")]);
    let id = bench.images.import(Cursor::new(root), request).await.unwrap();
    assert_eq!(bench.images.resolve("mine:latest").unwrap(), id);
    let detail = bench.images.inspect("mine").unwrap();
    let config = detail.config.config.unwrap();
    assert_eq!(config.cmd.unwrap(), ["/bin/app"]);
    assert_eq!((detail.layers.len(), detail.size), (1, 2));
    assert_eq!(bench.images.history("mine").unwrap()[0].comment, "Imported from -");
    let bad = ImportRequest { changes: vec!["RUN x".to_owned()], ..ImportRequest::default() };
    assert!(bench.images.import(Cursor::new(tar(&[])), bad).await.is_err());
}

#[tokio::test]
async fn a_commit_adds_the_containers_changes() {
    let mut bench = Bench::new();
    let sample = Sample::small(&["base"]);
    sample.publish(&bench.fake, "x", "latest");
    bench.pull("x").await.unwrap();
    let container = ContainerId::from_bytes(&[7; 32]);
    let snapshot = snapshot::Store::open(bench.root.path().join("overlay2")).unwrap();
    let top = bench.images.chain(&sample.id()).unwrap();
    let files = snapshot.prepare(&container, top.as_ref(), &[]).unwrap();
    std::fs::write(files.upper.join("new"), "from the container").unwrap();
    // The stores of the images read the directory at their opening.
    bench.reopen();
    let request = CommitRequest {
        container: container.clone(),
        parent: Some(sample.id()),
        reference: Some("mine:1".parse().unwrap()),
        author: "me".to_owned(),
        comment: "said".to_owned(),
        config: ContainerConfig { cmd: Some(vec!["top".to_owned()]), ..ContainerConfig::default() },
        changes: vec!["USER 7".to_owned()],
    };
    let id = bench.images.commit(request.clone()).await.unwrap();
    let detail = bench.images.inspect("mine:1").unwrap();
    assert_eq!((detail.id, detail.parent), (id.clone(), Some(sample.id())));
    assert_eq!(detail.config.config.unwrap().user, "7");
    assert_eq!(detail.layers.len(), 2);
    let driver = detail.graph_driver.unwrap();
    assert_eq!(std::fs::read(driver.upper.join("new")).unwrap(), b"from the container");
    let history = bench.images.history("mine:1").unwrap();
    assert_eq!((history[0].created_by.as_str(), history[0].comment.as_str()), ("top", "said"));
    assert_eq!(history[1].id, sample.id().to_string());

    // A container without changes adds a step, no layer.
    std::fs::remove_file(files.upper.join("new")).unwrap();
    let empty = CommitRequest { reference: Some("mine:2".parse().unwrap()), ..request };
    bench.images.commit(empty).await.unwrap();
    assert_eq!(bench.images.inspect("mine:2").unwrap().layers.len(), 1);

    let unknown = CommitRequest {
        container: ContainerId::from_bytes(&[8; 32]),
        parent: None,
        reference: None,
        author: String::new(),
        comment: String::new(),
        config: ContainerConfig::default(),
        changes: Vec::new(),
    };
    let error = bench.images.commit(unknown).await.unwrap_err();
    assert!(error.to_string().starts_with("No such container: 0808"), "{error}");
    snapshot.remove(&container).unwrap();
}
