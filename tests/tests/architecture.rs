//! The design's tables, enforced: which crate may use which, where `unsafe` and tokio may be, how long files and functions may be.
#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// Crate, the rooms it may depend on, and whether tokio may be in its graph.
const ROOMS: &[(&str, &[&str], bool)] = &[
    ("types", &[], false),
    ("api", &["types"], false),
    ("shim-protocol", &["types"], false),
    ("sys", &[], false),
    ("layer", &["types", "sys"], false),
    ("content", &["types", "sys"], false),
    ("snapshot", &["types", "sys"], false),
    ("db", &["types", "sys"], false),
    ("network", &["types", "sys"], false),
    ("registry", &["types"], true),
    ("image", &["types", "registry", "content", "layer", "snapshot", "db"], true),
    ("runtime", &["types", "sys"], false),
    ("shim", &["types", "sys", "shim-protocol"], false),
    (
        "engine",
        &[
            "types",
            "sys",
            "image",
            "snapshot",
            "db",
            "network",
            "shim-protocol",
            "layer",
            "content",
            "registry",
        ],
        true,
    ),
    ("xray", &["types", "sys"], false),
    ("daemon", &["types", "api", "engine"], true),
    ("cli", &["types", "api", "xray"], true),
    ("hello", &["sys"], false),
];

/// Files longer than this are two files; tables and tests are exempt.
const FILE_LINES: usize = 800;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap()
}

fn metadata() -> Value {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let out = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--locked", "--offline"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    serde_json::from_slice(&out.stdout).unwrap()
}

/// Direct normal dependencies of every package of the graph, by name.
fn arrows(metadata: &Value) -> BTreeMap<String, BTreeSet<String>> {
    let mut names = BTreeMap::new();
    for package in metadata["packages"].as_array().unwrap() {
        names.insert(package["id"].as_str().unwrap(), package["name"].as_str().unwrap());
    }
    let mut arrows: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for node in metadata["resolve"]["nodes"].as_array().unwrap() {
        let name = names[node["id"].as_str().unwrap()].to_owned();
        for dep in node["deps"].as_array().unwrap() {
            let normal =
                dep["dep_kinds"].as_array().unwrap().iter().any(|kind| kind["kind"].is_null());
            if normal {
                let to = names[dep["pkg"].as_str().unwrap()].to_owned();
                arrows.entry(name.clone()).or_default().insert(to);
            }
        }
    }
    arrows
}

fn reaches(arrows: &BTreeMap<String, BTreeSet<String>>, from: &str, to: &str) -> bool {
    let mut todo = vec![from.to_owned()];
    let mut seen = BTreeSet::new();
    while let Some(next) = todo.pop() {
        if next == to {
            return true;
        }
        if seen.insert(next.clone()) {
            todo.extend(arrows.get(&next).into_iter().flatten().cloned());
        }
    }
    false
}

#[test]
fn architecture_arrows_are_those_of_the_design() {
    let arrows = arrows(&metadata());
    let rooms: BTreeSet<&str> = ROOMS.iter().map(|(name, ..)| *name).chain(["testkit"]).collect();
    for (name, allowed, _) in ROOMS {
        let used = arrows.get(*name).cloned().unwrap_or_default();
        for other in used.iter().filter(|other| rooms.contains(other.as_str())) {
            assert!(allowed.contains(&other.as_str()), "`{name}` must not depend on `{other}`");
        }
    }
}

#[test]
fn architecture_every_crate_is_in_the_table() {
    let known: BTreeSet<&str> = ROOMS.iter().map(|(name, ..)| *name).chain(["testkit"]).collect();
    for entry in fs::read_dir(root().join("crates")).unwrap().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        assert!(known.contains(name.as_str()), "`crates/{name}` is not in the table of rooms");
    }
}

#[test]
fn architecture_tokio_stays_above_the_line() {
    let arrows = arrows(&metadata());
    for (name, _, may) in ROOMS {
        assert!(
            *may || !reaches(&arrows, name, "tokio"),
            "`{name}` must not have tokio in its graph"
        );
    }
}

#[test]
fn architecture_unsafe_lives_in_sys_only() {
    for (name, ..) in ROOMS.iter().filter(|(name, ..)| *name != "sys") {
        for file in ["src/lib.rs", "src/main.rs"] {
            let path = root().join("crates").join(name).join(file);
            let Ok(text) = fs::read_to_string(&path) else { continue };
            assert!(
                text.contains("#![forbid(unsafe_code)]"),
                "`{}` must forbid unsafe code",
                path.display()
            );
        }
    }
}

#[test]
fn architecture_every_unsafe_block_says_why() {
    for path in sources(&root().join("crates/sys")) {
        let text = fs::read_to_string(&path).unwrap();
        let blocks = text.matches("unsafe {").count();
        for mark in ["// SAFETY:", "// JUSTIFICATION:"] {
            let said = text.matches(mark).count();
            assert!(
                said >= blocks,
                "`{}` has {blocks} unsafe blocks and {said} {mark}",
                path.display()
            );
        }
    }
}

#[test]
fn architecture_files_stay_short() {
    for path in sources(&root()) {
        let text = fs::read_to_string(&path).unwrap();
        let exempt = text.contains("#![doc = \"table\"]") || is_test(&path) || is_table(&path);
        let lines = text.lines().count();
        assert!(exempt || lines <= FILE_LINES, "`{}` has {lines} lines", path.display());
    }
}

fn is_test(path: &Path) -> bool {
    path.components()
        .any(|part| matches!(part.as_os_str().to_str(), Some("tests" | "tests.rs" | "testkit")))
}

/// A file that is one big constant.
fn is_table(path: &Path) -> bool {
    path.file_stem()
        .and_then(|s| s.to_str())
        .is_some_and(|stem| stem.ends_with("table") || stem.ends_with("tables"))
}

fn sources(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap().flatten() {
        let path = entry.path();
        let name = entry.file_name();
        if path.is_dir() {
            if !matches!(name.to_str(), Some("target" | ".git")) {
                found.extend(sources(&path));
            }
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
    found
}
