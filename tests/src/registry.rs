//! A loopback registry (Debian's `docker-registry`), seeded with the test images.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc;

use crate::{host, image_tar};

/// What the registry holds: a test image and the names it has there.
const CONTENT: &[(&str, &str, &[&str])] = &[
    ("busybox", "latest", &["busybox:latest"]),
    ("debian-bookworm", "bookworm", &["debian:bookworm", "ubuntu:22.04", "ubuntu:latest"]),
    ("debian-trixie", "trixie", &["debian:trixie"]),
    ("hello-world", "latest", &["hello-world:latest"]),
    ("alpine-latest", "latest", &["alpine:latest"]),
];

/// Returns `127.0.0.1:PORT` of a registry that lives as long as the test program.
#[must_use]
pub fn registry() -> &'static str {
    static ADDRESS: OnceLock<String> = OnceLock::new();
    ADDRESS.get_or_init(start)
}

fn start() -> String {
    let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../target/test-registry");
    fs::create_dir_all(&dir).unwrap();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let address = format!("127.0.0.1:{port}");
    let config = dir.join(format!("registry-{port}.yml"));
    let text = format!(
        "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: \"{address}\"}}\n",
        dir.join("registry").display()
    );
    fs::write(&config, text).unwrap();
    // The parent-death signal follows the thread that spawned the registry, so that thread must live as long as the tests.
    let (sender, started) = mpsc::channel();
    std::thread::spawn(move || {
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "docker-registry", "serve"])
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let mut child = child.expect("start docker-registry");
        sender.send(()).unwrap();
        let _ = child.wait();
    });
    started.recv().unwrap();
    host::wait_for("the registry", || TcpStream::connect(&address).is_ok());
    seed(&address, &dir);
    address
}

fn seed(address: &str, dir: &Path) {
    for (image, tag, names) in CONTENT {
        for name in *names {
            let mark = dir.join(format!("seeded-{}", name.replace(':', "-")));
            let tar = image_tar(image);
            if mark.exists() && newer(&mark, &tar) {
                continue;
            }
            let status = Command::new("skopeo")
                .args(["copy", "-q", "--insecure-policy", "--dest-tls-verify=false"])
                .arg(format!("oci-archive:{}:{tag}", tar.display()))
                .arg(format!("docker://{address}/library/{name}"))
                .status()
                .expect("start skopeo");
            assert!(status.success(), "seed {name}");
            fs::write(mark, "").unwrap();
        }
    }
}

fn newer(a: &Path, b: &Path) -> bool {
    let time = |path: &Path| fs::metadata(path).and_then(|m| m.modified());
    matches!((time(a), time(b)), (Ok(a), Ok(b)) if a >= b)
}
