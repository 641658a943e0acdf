//! `restore`: a container whose processes criu(8) makes anew from the files of `checkpoint`.

use std::fs;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::Mode;
use rustix::process::Pid;
use sys::cgroup::Group;
use sys::clone::Namespaces;
use types::oci::runtime::{Mount, NamespaceKind, Spec};

use super::{Creation, Globals, finish, linux};
use crate::args::Parsed;
use crate::command::wait;
use crate::criu::{self, Call};
use crate::error::{Error, Result, step};
use crate::launch::Launched;
use crate::log;
use crate::state::Record;

/// Makes what `create` makes except the process, and lets criu make that.
pub(in crate::command) fn run(globals: &Globals, parsed: &Parsed) -> Result<u8> {
    if !rustix::process::geteuid().is_root() {
        log::warn("runc checkpoint is untested with rootless containers");
    }
    let mut call = Call::new("restore", "restore.log", parsed)?;
    let detached = parsed.is_on("detach");
    let mut made = Creation::prepare(globals, parsed, detached)?;
    if made.terminal() {
        let text = "restore a container with a terminal: criu hands terminals over to programs of its library only";
        return Err(Error::Unsupported(text.into()));
    }
    let foreground = if detached {
        None
    } else {
        Some(wait::Foreground::prepare(false, !parsed.is_on("no-subreaper"))?)
    };
    let (mut launched, record) = made.restore(&mut call)?;
    launched.keep();
    finish(made, foreground, &launched, record)
}

impl Creation<'_> {
    fn restore(&mut self, call: &mut Call) -> Result<(Launched, Record)> {
        let mut record = self.record()?;
        self.dir().save_draft(&record)?;
        let _kept = describe(call, &self.spec, self.draft().group())?;
        make_mount_points(&self.spec, &record.rootfs)?;
        let root = RootMount::make(&record.rootfs, self.dir().file("criu-root"))?;
        let pid_file = self.dir().file("criu.pid");
        call.add(&["--restore-detached", "--restore-sibling", "--evasive-devices"]);
        call.add(&["--root".as_ref(), root.path.as_os_str()]);
        call.add(&["--pidfile".as_ref(), pid_file.as_os_str()]);
        for (option, theirs) in
            [("lsm-profile", "--lsm-profile"), ("lsm-mount-context", "--lsm-mount-context")]
        {
            if let Some(value) = self.parsed.text(option) {
                call.add(&[theirs, value]);
            }
        }
        call.run_with_streams()?;
        drop(root);
        let launched = adopt(&pid_file)?;
        self.draft_mut().settled();
        // criu has put the processes into a time namespace, so that their clocks go on where they stopped.
        record.namespaces |= Namespaces::TIME.bits();
        self.write_down(launched.pid.as_raw_nonzero().get(), &mut record)?;
        self.settle(&launched)?;
        Ok((launched, record))
    }
}

/// The process that criu has made; with `--restore-sibling` it is this program's child.
fn adopt(pid_file: &Path) -> Result<Launched> {
    let what = || format!("read `{}`", pid_file.display());
    let text = fs::read_to_string(pid_file).map_err(step(what()))?;
    let _ = fs::remove_file(pid_file);
    let pid = text.trim().parse().ok().filter(|number| *number > 0).and_then(Pid::from_raw);
    let pid = pid.ok_or_else(|| Error::State(format!("{}: {text:?} is no process", what())))?;
    let pidfd = sys::pidfd::open(pid.as_raw_nonzero().get().unsigned_abs())
        .map_err(step(format!("open the process {}", pid.as_raw_nonzero())))?;
    Launched::adopted(pid, pidfd)
}

/// Tells criu what is different from what was saved, or was not saved: groups, bind mounts, masks, pipes, namespaces of others.
/// Returns the descriptors that criu must inherit.
fn describe(call: &mut Call, spec: &Spec, group: &Group) -> Result<Vec<OwnedFd>> {
    for place in group.places() {
        let Ok(path) = place.directory.strip_prefix(&place.mount) else { continue };
        let path = Path::new("/").join(path);
        if !place.controllers.is_empty() {
            let controllers = place.controllers.join(",");
            call.add(&["--cgroup-root".to_owned(), format!("{controllers}:{}", path.display())]);
        } else if group.is_version_2() {
            call.add(&["--cgroup-root".as_ref(), path.as_os_str()]);
        }
    }
    for mount in criu::binds(spec) {
        call.external_mount(&mount.destination, &mount.source);
    }
    let linux = linux(spec)?;
    if !linux.masked_paths.is_empty() {
        call.external_mount("/dev/null", "/dev/null");
    }
    inherit_pipes(call)?;
    for one in linux.namespaces.iter().filter(|one| !one.path.is_empty()) {
        match one.kind {
            NamespaceKind::Network | NamespaceKind::Pid => {}
            NamespaceKind::Cgroup => {
                let text = "Do not know how to handle namespace cgroup";
                return Err(Error::Unsupported(text.into()));
            }
            kind => call.add(&["--join-ns".to_owned(), format!("{}:{}", short(kind), one.path)]),
        }
    }
    let mut kept = Vec::new();
    for (_, key, path) in criu::foreign_namespaces(linux) {
        let fd = OwnedFd::from(fs::File::open(path).map_err(step(format!("open `{path}`")))?);
        sys::clone::keep_on_exec(fd.as_raw_fd()).map_err(step("pass a namespace on to criu"))?;
        call.add(&["--inherit-fd".to_owned(), format!("fd[{}]:{key}", fd.as_raw_fd())]);
        kept.push(fd);
    }
    Ok(kept)
}

/// The name of a namespace's file in procfs.
fn short(kind: NamespaceKind) -> &'static str {
    match kind {
        NamespaceKind::Mount => "mnt",
        NamespaceKind::Ipc => "ipc",
        NamespaceKind::Uts => "uts",
        NamespaceKind::User => "user",
        NamespaceKind::Time => "time",
        NamespaceKind::Network => "net",
        NamespaceKind::Pid => "pid",
        NamespaceKind::Cgroup => "cgroup",
    }
}

/// Where a standard stream was a pipe it is now this program's.
fn inherit_pipes(call: &mut Call) -> Result<()> {
    let file = call.images.join("descriptors.json");
    let text = fs::read(&file).map_err(step(format!("read `{}`", file.display())))?;
    let names: Vec<String> =
        serde_json::from_slice(&text).map_err(|source| Error::Json { path: file, source })?;
    for (fd, name) in names.iter().take(3).enumerate() {
        if name.starts_with("pipe:[") {
            call.add(&["--inherit-fd".to_owned(), format!("fd[{fd}]:{name}")]);
        }
    }
    Ok(())
}

/// The mount points that criu mounts on, except those on a tmpfs, which it fills itself.
fn make_mount_points(spec: &Spec, rootfs: &Path) -> Result<()> {
    let root = sys::inroot::open_root(rootfs)
        .map_err(step(format!("open the root file system `{}`", rootfs.display())))?;
    let mode = Mode::from_raw_mode(0o755);
    for mount in spec.mounts.iter().filter(|mount| mount.kind != "cgroup") {
        if on_tmpfs(mount, &spec.mounts) {
            continue;
        }
        let file = criu::is_bind(mount) && fs::metadata(&mount.source).is_ok_and(|m| !m.is_dir());
        let made = if file {
            sys::inroot::create_file(&root, &mount.destination, mode)
        } else {
            sys::inroot::mkdir_all(&root, &mount.destination, mode)
        };
        made.map_err(step(format!("make the mount point `{}`", mount.destination)))?;
    }
    Ok(())
}

fn on_tmpfs(mount: &Mount, all: &[Mount]) -> bool {
    let destination = Path::new(&mount.destination);
    all.iter().any(|other| {
        let other_destination = Path::new(&other.destination);
        other.kind == "tmpfs"
            && other_destination != destination
            && destination.starts_with(other_destination)
    })
}

/// criu wants the root to be a mount point whose parent is not mounted over.
struct RootMount {
    path: PathBuf,
}

impl RootMount {
    fn make(rootfs: &Path, path: PathBuf) -> Result<Self> {
        let what = || format!("mount `{}` on `{}`", rootfs.display(), path.display());
        let text = |path: &Path| {
            std::ffi::CString::new(path.as_os_str().as_encoded_bytes())
                .map_err(|_| step(what())(rustix::io::Errno::INVAL))
        };
        criu::make_directory(&path)?;
        let tree = sys::mount::clone_tree(&text(rootfs)?, true).map_err(step(what()))?;
        sys::mount::attach_at(&tree, &text(&path)?).map_err(step(what()))?;
        Ok(Self { path })
    }
}

impl Drop for RootMount {
    fn drop(&mut self) {
        if let Ok(path) = std::ffi::CString::new(self.path.as_os_str().as_encoded_bytes()) {
            let _ = sys::mount::detach(&path);
        }
        let _ = fs::remove_dir(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_on_a_tmpfs_needs_no_mount_point() {
        let mount = |kind: &str, destination: &str| Mount {
            kind: kind.into(),
            destination: destination.into(),
            ..Mount::default()
        };
        let all = [mount("tmpfs", "/dev"), mount("devpts", "/dev/pts"), mount("proc", "/proc")];
        let on: Vec<bool> = all.iter().map(|one| on_tmpfs(one, &all)).collect();
        assert_eq!(on, [false, true, false]);
    }
}
