//! What a real Docker 20.10 (API 1.41) answered, read and written back: nothing may be lost on the way but what is listed as gone.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Reads `text` as a `T`, writes it, and lists the recorded values that are missing or differ.
fn lost<T: DeserializeOwned + Serialize>(text: &str, gone: &[&str]) -> Vec<String> {
    let recorded: Value = serde_json::from_str(text).unwrap();
    let read: T = serde_json::from_str(text).unwrap();
    let written = serde_json::to_value(&read).unwrap();
    let mut lost = Vec::new();
    compare("", &recorded, &written, &mut lost);
    lost.retain(|at| !gone.iter().any(|name| at.split(['.', ' ']).any(|part| part == *name)));
    lost
}

fn compare(at: &str, recorded: &Value, written: &Value, lost: &mut Vec<String>) {
    match (recorded, written) {
        (Value::Object(recorded), Value::Object(written)) => {
            for (key, value) in recorded {
                let at = format!("{at}.{key}");
                match written.get(key) {
                    Some(ours) => compare(&at, value, ours, lost),
                    None => lost.push(at),
                }
            }
        }
        (Value::Array(recorded), Value::Array(written)) if recorded.len() == written.len() => {
            for (n, (value, ours)) in recorded.iter().zip(written).enumerate() {
                compare(&format!("{at}.{n}"), value, ours, lost);
            }
        }
        (recorded, written) if recorded == written => {}
        (recorded, written) => lost.push(format!("{at} {recorded} is written as {written}")),
    }
}

/// Fields that newer API versions do not have or write as `[]`, or that are for Windows.
const GONE: &[&str] = &[
    "KernelMemory",
    "KernelMemoryTCP",
    "CpuCount",
    "CpuPercent",
    "IOMaximumIOps",
    "IOMaximumBandwidth",
    "BridgeNfIptables",
    "BridgeNfIp6tables",
    "AllowNondistributableArtifactsCIDRs",
    "AllowNondistributableArtifactsHostnames",
    "Expected",
    "Container",
    "ContainerConfig",
    "OnBuild",
    "BuilderSize",
    "RepoDigests",
    "BuildCache",
];

macro_rules! kept {
    ($($test:ident: $type:ty, $file:literal;)*) => {$(
        #[test]
        fn $test() {
            let text = include_str!(concat!("recorded/", $file, ".json"));
            assert_eq!(lost::<$type>(text, GONE), Vec::<String>::new());
        }
    )*};
}

kept! {
    inspect: api::container::ContainerInspect, "inspect";
    inspect_of_a_created_one: api::container::ContainerInspect, "inspect-created";
    list: Vec<api::container::ContainerSummary>, "list";
    images: Vec<api::image::ImageSummary>, "images";
    image: api::image::ImageInspect, "image";
    history: Vec<api::image::HistoryItem>, "history";
    networks: Vec<api::network::Network>, "networks";
    network: api::network::Network, "network";
    volumes: api::volume::VolumeList, "volumes";
    stats: api::stats::Stats, "stats";
    stats_of_a_stopped_one: api::stats::Stats, "stats-stopped";
    disk_usage: api::system::DiskUsage, "df";
    info: api::system::Info, "info";
    version: api::system::Version, "version";
    top: api::container::Top, "top";
    exec: api::exec::ExecInspect, "exec";
    events: Vec<api::event::Event>, "events";
}

#[test]
fn a_loss_is_seen() {
    let found = lost::<api::container::Top>(r#"{"Titles":["a"],"Processes":null,"X":1}"#, &[]);
    assert_eq!(found, [".Processes null is written as []", ".X"]);
}
