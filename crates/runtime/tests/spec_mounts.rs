//! `mounts`: every option, read back from the mount table inside.
#![allow(clippy::unwrap_used, reason = "a skipped test says so, a broken one stops")]

mod harness;

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::process::Command;

use harness::Bench;
use serde_json::{Value, json};

/// The lines of mountinfo that the container saw: target, attributes, propagation, type, options of the file system.
fn table(out: &str) -> Vec<(String, String, String, String, String)> {
    let rows = out.lines().filter_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        let fields: Vec<&str> = before.split(' ').collect();
        let last: Vec<&str> = after.split(' ').collect();
        Some((
            (*fields.get(4)?).to_owned(),
            (*fields.get(5)?).to_owned(),
            fields[6..].join(" "),
            (*last.first()?).to_owned(),
            (*last.get(2)?).to_owned(),
        ))
    });
    rows.collect()
}

fn row(out: &str, target: &str) -> (String, String, String, String, String) {
    let rows = table(out);
    rows.into_iter()
        .rev()
        .find(|row| row.0 == target)
        .unwrap_or_else(|| panic!("no {target} in {out}"))
}

fn attributes(out: &str, target: &str) -> Vec<String> {
    row(out, target).1.split(',').map(str::to_owned).collect()
}

/// A directory with another mount in it, on the host; both go with the container's directory.
struct Nested(PathBuf);

impl Nested {
    fn new(bench: &Bench) -> Self {
        let path = bench.dir.path().join("nested");
        fs::create_dir_all(path.join("inner")).unwrap();
        for target in [path.clone(), path.join("inner")] {
            let done =
                Command::new("mount").args(["-t", "tmpfs", "x"]).arg(&target).status().unwrap();
            assert!(done.success());
            let _ = fs::create_dir(path.join("inner"));
        }
        Self(path)
    }
}

impl Drop for Nested {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-R").arg(&self.0).status();
    }
}

#[test]
fn privileged_attributes_of_new_file_systems() {
    let Some(mut bench) = Bench::new("newattr", &["cat", "/proc/self/mountinfo"]) else { return };
    let cases: [(&str, &[&str], &[&str]); 9] = [
        ("ro", &["ro"], &[]),
        ("nosuid,nodev,noexec", &["rw", "nosuid", "nodev", "noexec", "relatime"], &[]),
        ("noatime", &["noatime"], &["relatime"]),
        ("noatime,strictatime", &["rw"], &["noatime", "relatime"]),
        ("strictatime,nostrictatime", &["relatime"], &[]),
        ("nodiratime", &["nodiratime", "relatime"], &[]),
        ("nosymfollow", &["nosymfollow"], &[]),
        ("ro,rw,nosuid,suid", &["rw"], &["nosuid"]),
        ("rro,rnosymfollow,rnoatime", &["ro", "nosymfollow", "noatime"], &[]),
    ];
    for (options, want, never) in cases {
        let mut spec = bench.spec.clone();
        let options: Vec<&str> = options.split(',').collect();
        std::mem::swap(&mut bench.spec, &mut spec);
        bench.add_mount(
            json!({ "destination": "/m", "type": "tmpfs", "source": "x", "options": options }),
        );
        let (code, out, err) = bench.foreground();
        assert_eq!(code, 0, "{options:?}: {err}");
        let found = attributes(&out, "/m");
        assert!(want.iter().all(|word| found.iter().any(|f| f == word)), "{options:?}: {found:?}");
        assert!(never.iter().all(|word| found.iter().all(|f| f != word)), "{options:?}: {found:?}");
        bench.spec = spec;
    }
    bench.assert_nothing_left();
}

#[test]
fn privileged_parameters_reach_the_file_system() {
    let Some(mut bench) = Bench::new("params", &["cat", "/proc/self/mountinfo"]) else { return };
    bench.add_mount(json!({
        "destination": "/m", "type": "tmpfs", "source": "x",
        "options": ["sync", "lazytime", "size=64k,nr_inodes=77", "mode=0711", "uid=5", "defaults", "loud", "noiversion"],
    }));
    let (code, out, err) = bench.foreground();
    assert_eq!(code, 0, "{err}");
    let options = row(&out, "/m").4;
    for word in ["sync", "lazytime", "size=64k", "nr_inodes=77", "mode=711", "uid=5"] {
        assert!(options.split(',').any(|option| option == word), "{word}: {options}");
    }
    bench.spec["mounts"].as_array_mut().unwrap().pop();
    bench.add_mount(json!({ "destination": "/m", "type": "tmpfs", "options": ["nonsense=1"] }));
    let (code, _, err) = bench.foreground();
    assert_eq!(code, 1);
    assert!(err.contains("mount `tmpfs` at `/m`: invalid argument"), "{err}");
    bench.assert_nothing_left();
}

#[test]
fn privileged_recursive_attributes_reach_the_mounts_beneath() {
    let Some(mut bench) = Bench::new("recursive", &["cat", "/proc/self/mountinfo"]) else { return };
    let nested = Nested::new(&bench);
    let cases: [(&str, &[&str], &[&str]); 12] = [
        ("rbind,ro", &["ro"], &["rw"]),
        ("rbind,rro", &["ro"], &["ro"]),
        ("rbind,rro,rw", &["rw"], &["ro"]),
        ("rbind,ro,rrw", &["rw"], &["rw"]),
        (
            "rbind,rnosuid,rnodev,rnoexec",
            &["nosuid", "nodev", "noexec"],
            &["nosuid", "nodev", "noexec"],
        ),
        ("rbind,rnosuid,suid", &["rw"], &["nosuid"]),
        ("rbind,rnoatime", &["noatime"], &["noatime"]),
        ("rbind,rnoatime,rstrictatime", &["rw"], &["rw"]),
        ("rbind,rnoatime,ratime", &["relatime"], &["relatime"]),
        ("rbind,rnoatime,rrelatime", &["relatime"], &["relatime"]),
        ("rbind,rnodiratime", &["nodiratime"], &["nodiratime"]),
        ("rbind,rnosymfollow", &["nosymfollow"], &["nosymfollow"]),
    ];
    for (options, top, inner) in cases {
        let words: Vec<&str> = options.split(',').collect();
        let mut spec = bench.spec.clone();
        std::mem::swap(&mut bench.spec, &mut spec);
        bench.add_mount(
            json!({ "destination": "/m", "type": "none", "source": nested.0, "options": words }),
        );
        let (code, out, err) = bench.foreground();
        assert_eq!(code, 0, "{options}: {err}");
        for (target, want) in [("/m", top), ("/m/inner", inner)] {
            let found = attributes(&out, target);
            assert!(
                want.iter().all(|word| found.iter().any(|f| f == word)),
                "{options} {target}: {found:?}"
            );
            if options.contains("suid,suid") && target == "/m" {
                assert!(found.iter().all(|word| word != "nosuid"), "{options}: {found:?}");
            }
        }
        bench.spec = spec;
    }
    // Without the r only the top is bound.
    bench.add_mount(
        json!({ "destination": "/m", "type": "bind", "source": nested.0, "options": ["bind"] }),
    );
    let (_, out, _) = bench.foreground();
    assert!(table(&out).iter().all(|row| row.0 != "/m/inner"));
    drop(nested);
    bench.assert_nothing_left();
}

#[test]
fn privileged_propagation_words() {
    let Some(mut bench) = Bench::new("propagation", &["cat", "/proc/self/mountinfo"]) else {
        return;
    };
    let nested = Nested::new(&bench);
    let cases = [
        ("shared", "shared:", false),
        ("rshared", "shared:", true),
        ("private", "", false),
        ("rprivate", "", true),
        ("unbindable", "unbindable", false),
        ("runbindable", "unbindable", true),
    ];
    for (word, tag, recursive) in cases {
        let mut spec = bench.spec.clone();
        std::mem::swap(&mut bench.spec, &mut spec);
        let options = ["rbind", word];
        bench.add_mount(
            json!({ "destination": "/m", "type": "bind", "source": nested.0, "options": options }),
        );
        let (code, out, err) = bench.foreground();
        assert_eq!(code, 0, "{word}: {err}");
        let (top, inner) = (row(&out, "/m").2, row(&out, "/m/inner").2);
        assert!(if tag.is_empty() { top.is_empty() } else { top.contains(tag) }, "{word}: {top:?}");
        if recursive && !tag.is_empty() {
            assert!(inner.contains(tag), "{word}: {inner:?}");
        }
        if !recursive && !tag.is_empty() {
            assert!(!inner.contains(tag), "{word}: {inner:?}");
        }
        bench.spec = spec;
    }
    drop(nested);
    bench.assert_nothing_left();
}

#[test]
fn privileged_the_propagation_of_the_root() {
    let Some(mut bench) = Bench::new("rootprop", &["cat", "/proc/self/mountinfo"]) else { return };
    for (word, tag) in [
        ("private", ""),
        ("rprivate", ""),
        ("shared", "shared:"),
        ("rshared", "shared:"),
        ("unbindable", "unbindable"),
        ("runbindable", "unbindable"),
    ] {
        bench.spec["linux"]["rootfsPropagation"] = json!(word);
        let (code, out, err) = bench.foreground();
        assert_eq!(code, 0, "{word}: {err}");
        let root = row(&out, "/").2;
        assert!(
            if tag.is_empty() { root.is_empty() } else { root.contains(tag) },
            "{word}: {root:?}"
        );
        let proc = row(&out, "/proc").2;
        assert_eq!(
            !proc.is_empty(),
            word.starts_with("rs") || word.starts_with("ru"),
            "{word}: {proc:?}"
        );
    }
    for word in ["slave", "rslave", ""] {
        bench.spec["linux"]["rootfsPropagation"] = json!(word);
        let (code, out, err) = bench.foreground();
        assert_eq!(code, 0, "{word}: {err}");
        assert!(!row(&out, "/").2.contains("shared"), "{word}");
    }
    bench.spec["linux"]["rootfsPropagation"] = json!("sideways");
    assert!(bench.foreground().2.contains("rootfsPropagation=sideways is not supported"));
    bench.assert_nothing_left();
}

#[test]
fn privileged_what_is_mounted_can_be_changed() {
    let Some(mut bench) = Bench::new("remount", &["cat", "/proc/self/mountinfo"]) else { return };
    bench.add_mount(
        json!({ "destination": "/m", "type": "tmpfs", "options": ["nosuid", "size=64k"] }),
    );
    bench.add_mount(json!({ "destination": "/m", "type": "tmpfs", "options": ["remount", "size=128k", "noexec"] }));
    bench.add_mount(json!({ "destination": "/b", "type": "bind", "source": "/usr", "options": ["bind", "nodev"] }));
    bench.add_mount(json!({ "destination": "/b", "options": ["remount", "bind", "ro", "nosuid"] }));
    let (code, out, err) = bench.foreground();
    assert_eq!(code, 0, "{err}");
    assert!(row(&out, "/m").4.contains("size=128k"), "{out}");
    let found = attributes(&out, "/m");
    assert!(found.contains(&"noexec".into()) && !found.contains(&"nosuid".into()), "{found:?}");
    let found = attributes(&out, "/b");
    assert!(found.contains(&"ro".into()) && found.contains(&"nosuid".into()), "{found:?}");
    assert!(!found.contains(&"nodev".into()), "{found:?}");
    bench.add_mount(json!({ "destination": "/tmp", "options": ["remount", "bind", "ro"] }));
    let (code, _, err) = bench.foreground();
    assert_eq!(code, 1);
    assert!(err.contains("remount `/tmp`: invalid argument"), "nothing is mounted there: {err}");
    bench.assert_nothing_left();
}

#[test]
fn privileged_files_are_bound_and_tmpfs_takes_a_copy() {
    let script = "cat /etc/one /seeded/a/b; stat -c %a /seeded /seeded/a/b; echo x > /seeded/new; cat /proc/self/mountinfo";
    let Some(mut bench) = Bench::new("files", &["sh", "-c", script]) else { return };
    let seeded = bench.rootfs().join("seeded/a");
    fs::create_dir_all(&seeded).unwrap();
    fs::write(seeded.join("b"), "seed\n").unwrap();
    fs::set_permissions(seeded.join("b"), fs::Permissions::from_mode(0o640)).unwrap();
    fs::set_permissions(bench.rootfs().join("seeded"), fs::Permissions::from_mode(0o711)).unwrap();
    fs::write(bench.bundle().join("one"), "bound\n").unwrap();
    bench.add_mount(json!({ "destination": "/etc/one", "type": "bind", "source": "one", "options": ["bind", "ro"] }));
    bench.add_mount(json!({ "destination": "/seeded", "type": "tmpfs", "options": ["tmpcopyup"] }));
    let (code, out, err) = bench.foreground();
    assert_eq!(code, 0, "{err}");
    assert!(out.starts_with("bound\nseed\n711\n640\n"), "{out}");
    assert!(attributes(&out, "/etc/one").contains(&"ro".into()));
    assert!(!bench.rootfs().join("seeded/new").exists());
    bench.assert_nothing_left();
}

#[test]
fn privileged_links_are_followed_or_not() {
    let script = "readlink /kept; cat /followed; readlink /target; cat /real";
    let Some(mut bench) = Bench::new("links", &["sh", "-c", script]) else { return };
    fs::write(bench.bundle().join("file"), "content\n").unwrap();
    symlink("file", bench.bundle().join("link")).unwrap();
    fs::write(bench.rootfs().join("real"), "real\n").unwrap();
    symlink("real", bench.rootfs().join("target")).unwrap();
    bench.add_mount(
        json!({ "destination": "/kept", "source": "link", "options": ["bind", "src-nofollow"] }),
    );
    bench.add_mount(json!({ "destination": "/followed", "source": "link", "options": ["bind"] }));
    bench.add_mount(json!({ "destination": "/target", "source": "link", "options": ["bind", "src-nofollow", "dest-nofollow"] }));
    let (code, out, err) = bench.foreground();
    assert_eq!((code, out.as_str()), (0, "file\ncontent\nfile\nreal\n"), "{err}");
    bench.assert_nothing_left();
}

#[test]
fn privileged_parameters_of_a_bind_mount_are_a_warning() {
    let Some(mut bench) = Bench::new("bindparams", &["true"]) else { return };
    bench.add_mount(
        json!({ "destination": "/m", "source": "/usr", "options": ["bind", "size=5k"] }),
    );
    let (code, _, err) = bench.foreground();
    assert_eq!(code, 0, "{err}");
    assert!(err.contains("mount option \\\"size\\\" has no effect"), "{err}");
    bench.assert_nothing_left();
}

fn maps(host: u32) -> Value {
    json!([{ "containerID": 0, "hostID": host, "size": 1000 }])
}

/// Which owner a file of 0:0 on the host has inside.
fn shown(bench: &mut Bench, mount: Value) -> String {
    let mut spec = bench.spec.clone();
    std::mem::swap(&mut bench.spec, &mut spec);
    bench.add_mount(mount);
    let (code, out, err) = bench.foreground();
    bench.spec = spec;
    if code == 0 { out.trim().to_owned() } else { err }
}

#[test]
fn privileged_owners_are_mapped() {
    let Some(mut bench) = Bench::new("idmaps", &["stat", "-c", "%u:%g", "/m/f"]) else { return };
    // On a file system that can be mapped, and with a relative path.
    fs::create_dir(bench.bundle().join("data")).unwrap();
    fs::write(bench.bundle().join("data/f"), "").unwrap();
    let mount = |options: &[&str], own: Value| {
        json!({ "destination": "/m", "type": "bind", "source": "data/", "options": options,
            "uidMappings": own, "gidMappings": own })
    };
    assert_eq!(shown(&mut bench, mount(&["bind"], Value::Null)), "0:0");
    assert_eq!(shown(&mut bench, mount(&["bind", "idmap"], maps(5000))), "5000:5000");
    assert_eq!(shown(&mut bench, mount(&["rbind", "ridmap"], maps(5000))), "5000:5000");
    assert_eq!(shown(&mut bench, mount(&["bind"], maps(7000))), "7000:7000");
    let text = shown(&mut bench, mount(&["bind", "idmap"], Value::Null));
    assert!(text.contains("needs uid and gid mappings"), "{text}");
    let text = shown(
        &mut bench,
        json!({ "destination": "/m", "type": "tmpfs", "uidMappings": maps(1), "gidMappings": maps(1) }),
    );
    assert!(text.contains("supported only for bind mounts"), "{text}");
    let text = shown(
        &mut bench,
        json!({ "destination": "/m", "source": "data", "options": ["bind"], "uidMappings": maps(1) }),
    );
    assert!(text.contains("needs both uidMappings and gidMappings"), "{text}");

    bench.spec["linux"]["namespaces"].as_array_mut().unwrap().push(json!({ "type": "user" }));
    for key in ["uidMappings", "gidMappings"] {
        bench.spec["linux"][key] = json!([{ "containerID": 0, "hostID": 100_000, "size": 65536 }]);
    }
    assert_eq!(shown(&mut bench, mount(&["bind"], Value::Null)), "65534:65534");
    // By the container's own maps the host's root is the container's.
    assert_eq!(shown(&mut bench, mount(&["bind", "idmap"], Value::Null)), "0:0");
    assert_eq!(shown(&mut bench, mount(&["bind", "ridmap"], maps(100_003))), "3:3");
    bench.assert_nothing_left();
}

#[test]
fn privileged_a_mapping_of_all_reaches_the_mounts_beneath() {
    let Some(mut bench) = Bench::new("ridmap", &["stat", "-c", "%u", "/m/f", "/m/inner/f"]) else {
        return;
    };
    let nested = Nested::new(&bench);
    for file in ["f", "inner/f"] {
        fs::write(nested.0.join(file), "").unwrap();
    }
    for (word, want) in [("idmap", "5000\n0"), ("ridmap", "5000\n5000")] {
        let mount = json!({ "destination": "/m", "type": "bind", "source": nested.0, "options": ["rbind", word],
            "uidMappings": maps(5000), "gidMappings": maps(5000) });
        assert_eq!(shown(&mut bench, mount), want, "{word}");
    }
    drop(nested);
    bench.assert_nothing_left();
}

#[test]
fn privileged_long_parameters_of_an_overlay() {
    let Some(mut bench) =
        Bench::new("overlay", &["sh", "-c", "cat /m/f; cat /proc/self/mountinfo"])
    else {
        return;
    };
    let mut lower = Vec::new();
    for number in 0..8 {
        let path = bench.dir.path().join(format!("a-layer-with-a-name-of-some-length-{number}"));
        fs::create_dir(&path).unwrap();
        lower.push(path.display().to_string());
    }
    fs::write(format!("{}/f", lower[7]), "deepest\n").unwrap();
    let lower = format!("lowerdir={}", lower.join(":"));
    assert!(lower.len() > 300);
    bench.add_mount(json!({ "destination": "/m", "type": "overlay", "source": "overlay", "options": [lower, "nodev", "nosymfollow", "private"] }));
    let (code, out, err) = bench.foreground();
    assert_eq!(code, 0, "{err}");
    assert!(out.starts_with("deepest\n"), "{out}");
    let found = attributes(&out, "/m");
    assert!(
        ["nodev", "nosymfollow"].iter().all(|word| found.iter().any(|f| f == word)),
        "{found:?}"
    );
    bench.assert_nothing_left();
}

/// Every option that `features` names is taken, by a mount that it makes sense for.
#[test]
fn privileged_every_option_of_the_features_is_taken() {
    let Some(mut bench) = Bench::new("every", &["true"]) else { return };
    let output = bench.run(&["features"]);
    let features: Value = serde_json::from_slice(&output.stdout).unwrap();
    let options = features["mountOptions"].as_array().unwrap().clone();
    assert!(options.len() > 60, "{options:?}");
    fs::create_dir(bench.bundle().join("data")).unwrap();
    let good = bench.spec.clone();
    for option in options {
        let word = option.as_str().unwrap();
        let mut mount = match word {
            "bind" | "rbind" | "src-nofollow" | "dest-nofollow" | "copy-symlink" | "idmap"
            | "ridmap" => {
                json!({ "destination": "/m", "type": "bind", "source": "data", "options": ["bind", word] })
            }
            "remount" => json!({ "destination": "/dev", "options": [word, "bind", "nosuid"] }),
            _ => json!({ "destination": "/m", "type": "tmpfs", "source": "x", "options": [word] }),
        };
        if word.ends_with("idmap") {
            mount["uidMappings"] = maps(5000);
            mount["gidMappings"] = maps(5000);
        }
        bench.spec = good.clone();
        bench.add_mount(mount);
        let (code, _, err) = bench.foreground();
        assert_eq!((code, err.as_str()), (0, ""), "{word}");
    }
    bench.assert_nothing_left();
}

#[test]
fn privileged_a_copied_tmpfs_can_be_read_only() {
    let Some(mut bench) = Bench::new("copyro", &["sh", "-c", "cat /etc/passwd; echo x > /etc/new"])
    else {
        return;
    };
    bench.add_mount(
        json!({ "destination": "/etc", "type": "tmpfs", "options": ["tmpcopyup", "ro"] }),
    );
    let (_, out, err) = bench.foreground();
    assert!(out.starts_with("root:x:0"), "{out} {err}");
    assert!(err.contains("Read-only file system"), "{err}");
    bench.assert_nothing_left();
}

/// Mounts made inside reach the host through a shared mount, and only through that; those of the host reach the inside of a slave.
#[test]
fn privileged_mounts_travel_as_propagation_says() {
    let Some(mut bench) = Bench::new("travel", &["sleep", "1000"]) else { return };
    let nested = Nested::new(&bench);
    let done = Command::new("mount").arg("--make-shared").arg(&nested.0).status().unwrap();
    assert!(done.success());
    for name in ["in", "out"] {
        fs::create_dir(nested.0.join(name)).unwrap();
    }
    let all = json!(["CAP_SYS_ADMIN"]);
    bench.spec["process"]["capabilities"] =
        json!({ "bounding": all, "effective": all, "permitted": all });
    let is_here = |name: &str| {
        let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
        table.contains(&format!(" {} ", nested.0.join(name).display()))
    };
    let good = bench.spec.clone();
    for (root, word, outwards, inwards) in [
        ("rshared", "rshared", true, true),
        ("rslave", "rslave", false, true),
        ("rprivate", "rprivate", false, false),
        ("", "rprivate", false, false),
        ("", "rslave", false, true),
    ] {
        bench.spec = good.clone();
        bench.spec["linux"]["rootfsPropagation"] = json!(root);
        bench.add_mount(json!({ "destination": "/m", "type": "bind", "source": nested.0, "options": ["rbind", word] }));
        assert!(bench.create(&[]).status.success(), "{}", bench.log());
        assert!(bench.run(&["start", &bench.id]).status.success());
        let made = bench.run(&["exec", &bench.id, "mount", "-t", "tmpfs", "x", "/m/out"]);
        assert!(made.status.success(), "{made:?}");
        assert_eq!(is_here("out"), outwards, "{root:?} {word}");
        let host = nested.0.join("in");
        let done = Command::new("mount").args(["-t", "tmpfs", "x"]).arg(&host).status().unwrap();
        assert!(done.success());
        let seen = bench.run(&["exec", &bench.id, "cat", "/proc/self/mountinfo"]);
        let seen = String::from_utf8_lossy(&seen.stdout).contains(" /m/in ");
        assert_eq!(seen, inwards, "{root:?} {word}");
        assert!(bench.run(&["delete", "--force", &bench.id]).status.success());
        for name in ["in", "out"] {
            let _ = Command::new("umount")
                .arg(nested.0.join(name))
                .stderr(std::process::Stdio::null())
                .status();
        }
    }
    drop(nested);
    bench.assert_nothing_left();
}
