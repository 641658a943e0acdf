//! `checkpoint`.

use std::fs;
use std::path::Path;

use types::oci::runtime::{Spec, Status};

use super::{Globals, delete, id};
use crate::args::Parsed;
use crate::criu::{self, Call};
use crate::error::{Error, Result, step};
use crate::state::Record;
use crate::{config, log};

/// Saves a running container by criu(8), and removes it unless it is to run on.
pub(super) fn run(globals: &Globals, parsed: &Parsed) -> Result<u8> {
    if !rustix::process::geteuid().is_root() {
        log::warn("runc checkpoint is untested with rootless containers");
    }
    let dir = globals.find(id(parsed)?)?;
    let record = dir.record()?;
    record.check_group()?;
    let status = dir.status(&record);
    if matches!(status, Status::Created | Status::Stopped) {
        let text = format!("Container cannot be checkpointed in {} state", status.as_str());
        return Err(Error::State(text));
    }
    let pre = parsed.is_on("pre-dump");
    let mut call = Call::new(if pre { "pre-dump" } else { "dump" }, "dump.log", parsed)?;
    criu::make_directory(&call.images)?;
    criu::add_dump_options(&mut call, parsed)?;
    call.add(&["--tree".to_owned(), record.pid.to_string()]);
    let group = record.group();
    let freezer = if group.is_version_2() { group.unified() } else { group.directory("freezer") };
    if let Some(directory) = freezer {
        call.add(&["--freeze-cgroup".as_ref(), directory.as_os_str()]);
    }
    let spec = config::load(&record.bundle, &record.config)?;
    name_namespaces(&mut call, &spec)?;
    if !pre {
        name_mounts(&mut call, &spec, &record);
        save_descriptors(&call.images, record.pid)?;
    }
    call.run()?;
    if !pre && !parsed.is_on("leave-running") {
        delete::teardown(&dir, &record)?;
    }
    Ok(0)
}

/// What lies outside of the root file system is not saved: bind mounts and the masks of files.
fn name_mounts(call: &mut Call, spec: &Spec, record: &Record) {
    for mount in criu::binds(spec) {
        call.external_mount(&mount.destination, &mount.destination);
    }
    let masked = spec.linux.iter().flat_map(|linux| &linux.masked_paths);
    for path in masked {
        let seen = format!("/proc/{}/root/{path}", record.pid);
        if fs::metadata(seen).is_ok_and(|meta| !meta.is_dir()) {
            call.external_mount(path, "/dev/null");
        }
    }
}

/// Namespaces that others have made are there again when the container is restored.
fn name_namespaces(call: &mut Call, spec: &Spec) -> Result<()> {
    let Some(linux) = &spec.linux else { return Ok(()) };
    for (kind, key, path) in criu::foreign_namespaces(linux) {
        let inode = rustix::fs::stat(path).map_err(step(format!("stat `{path}`")))?.st_ino;
        call.add(&["--external".to_owned(), format!("{kind}[{inode}]:{key}")]);
    }
    Ok(())
}

/// Writes down what the first process's standard streams are: pipes are given anew by the one who restores.
fn save_descriptors(images: &Path, pid: i32) -> Result<()> {
    let names: Vec<String> = (0..3)
        .map(|fd| fs::read_link(format!("/proc/{pid}/fd/{fd}")).unwrap_or_default())
        .map(|target| target.to_string_lossy().into_owned())
        .collect();
    let file = images.join("descriptors.json");
    fs::write(&file, serde_json::json!(names).to_string())
        .map_err(step(format!("write `{}`", file.display())))
}
