use super::*;

fn spec(text: &str) -> Spec {
    serde_json::from_str(text).unwrap()
}

fn refused(linux: &str, mounts: &str) -> String {
    check(&spec(&format!(r#"{{"mounts":{mounts},"linux":{linux}}}"#))).unwrap_err().to_string()
}

const MAPPED: &str = r#"{"namespaces":[{"type":"user"}],
    "uidMappings":[{"containerID":0,"hostID":1000,"size":1},{"containerID":1,"hostID":100000,"size":10}],
    "gidMappings":[{"containerID":0,"hostID":1000,"size":1}]}"#;

#[test]
fn refusals_are_in_runcs_words() {
    assert_eq!(
        refused(r#"{"namespaces":[{"type":"mount"}]}"#, "[]"),
        "rootless container requires user namespaces"
    );
    assert_eq!(
        refused(r#"{"namespaces":[{"type":"user"}]}"#, "[]"),
        "rootless containers requires at least one UID mapping"
    );
    assert_eq!(
        refused(MAPPED, r#"[{"destination":"/dev/pts","options":["mode=620","gid=5"]}]"#),
        "cannot specify gid=5 mount option for rootless container: user namespaces enabled, but no group mapping found"
    );
    assert_eq!(
        refused(MAPPED, r#"[{"destination":"/x","options":["size=1,uid=11"]}]"#),
        "cannot specify uid=11 mount option for rootless container: user namespaces enabled, but no user mapping found"
    );
}

#[test]
fn what_is_mapped_or_no_number_is_let_through() {
    for options in [r#"["uid=10","gid=0"]"#, r#"["gid=tty"]"#, r#"["rbind"]"#] {
        let mounts = format!(r#"[{{"destination":"/x","options":{options}}}]"#);
        check(&spec(&format!(r#"{{"mounts":{mounts},"linux":{MAPPED}}}"#))).unwrap();
    }
    let joined = r#"{"namespaces":[{"type":"user","path":"/proc/1/ns/user"}]}"#;
    check(&spec(&format!(r#"{{"linux":{joined}}}"#))).unwrap();
}

#[test]
fn ids_are_found_in_their_range() {
    let maps = [
        IdMapping { container_id: 0, host_id: 1000, size: 1 },
        IdMapping { container_id: 1, host_id: u32::MAX - 2, size: 10 },
    ];
    assert_eq!(host_id(&maps, 0), Some(1000));
    assert_eq!(host_id(&maps, 3), Some(u32::MAX));
    assert_eq!(host_id(&maps, 4), None, "it does not wrap");
    assert_eq!(host_id(&maps, 11), None);
}
