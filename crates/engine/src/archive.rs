//! `docker cp`: files of a container in and out, whatever it does meanwhile.
//!
//! A container that runs is seen through the root of its first process, with all that is mounted there, paused or not. One that
//! does not is put together as it would be at its start, in a mount namespace of its own. Either way the root is a descriptor and
//! paths are resolved inside it by the kernel, so that no link, however often it is swapped, leads to the host. Nothing of the
//! container is executed, and archives are unpacked by this process.

use std::ffi::CString;
use std::io::{self, Read, Write as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::Arc;

use bytes::{Buf as _, Bytes};
use jiff::Timestamp;
use layer::archive::UnpackOptions;
use rustix::fs::{AtFlags, Mode, OFlags, StatVfsMountFlags, StatxFlags};
use rustix::io::Errno;
use sys::inroot;
use sys::mount::{Attr, Change};
use sys::mounttree::MountTree;
use tokio::sync::mpsc;
use types::{Chain, Kind};

use crate::engine::{Engine, blocking, host_error};
use crate::mountpoint::{MountKind, MountPoint};
use crate::request::PutArchive;
use crate::rootfs::{ChunkWriter, Root};
use crate::roster::Handle;
use crate::view::{ContainerView, PathStat};
use crate::{EngineError, Result};

impl Engine {
    /// Looks at one path of a container.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn archive_stat(&self, name: &str, path: &str) -> Result<PathStat> {
        let (engine, handle) = (self.me(), self.find(name)?);
        let asked = Asked::new(name, path);
        blocking(move || asked.stat(&engine.look_inside(&handle)?)).await
    }

    /// Packs one path of a container as a tar.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn archive_get(
        &self,
        name: &str,
        path: &str,
    ) -> Result<(PathStat, mpsc::Receiver<io::Result<Bytes>>)> {
        let (engine, handle) = (self.me(), self.find(name)?);
        let asked = Asked::new(name, path);
        let (inside, asked, stat) = blocking(move || {
            let inside = engine.look_inside(&handle)?;
            let stat = asked.stat(&inside)?;
            engine.tell_view(&handle.view(), "archive-path", &[]);
            Ok((inside, asked, stat))
        })
        .await?;
        let (sender, chunks) = mpsc::channel(4);
        tokio::task::spawn_blocking(move || {
            let mut out = ChunkWriter::new(sender);
            match layer::archive::pack_path(inside.as_fd(), Path::new(&asked.path), &mut out) {
                Ok(()) => drop(out.flush()),
                Err(error) => out.fail(io::Error::other(Chain(&error).to_string())),
            }
        });
        Ok((stat, chunks))
    }

    /// Unpacks a tar into a directory of a container.
    ///
    /// # Errors
    /// `NotFound`, `Invalid`, `Denied` (read-only).
    pub async fn archive_put(
        &self,
        name: &str,
        request: PutArchive,
        body: mpsc::Receiver<io::Result<Bytes>>,
    ) -> Result<()> {
        let (engine, handle) = (self.me(), self.find(name)?);
        let asked = Asked::new(name, &request.path);
        blocking(move || {
            let inside = engine.look_inside(&handle)?;
            asked.refuse_read_only(&inside)?;
            let view = handle.view();
            let options = UnpackOptions {
                no_overwrite_dir_non_dir: request.no_overwrite_dir_non_dir,
                owner: owner(&inside, &view, request.copy_uid_gid)?,
            };
            let input = ChunkReader { chunks: body, current: Bytes::new() };
            layer::archive::unpack_into(inside.as_fd(), Path::new(&asked.path), input, &options)
                .map_err(|error| asked.explain(error))?;
            engine.tell_view(&view, "extract-to-dir", &[]);
            Ok(())
        })
        .await
    }

    /// Opens a container's root as its processes see it, or would see it; blocks.
    fn look_inside(&self, handle: &Arc<Handle>) -> Result<Inside> {
        if let Some(root) = running_root(handle) {
            return Ok(Inside::Running(root));
        }
        let record = self.containers.get(handle.id.as_str());
        let record = record.ok_or_else(|| EngineError::no_such_container(handle.id.as_str()))?;
        let overlay = self.borrow_root(handle)?;
        let mounts = mounts_of(&handle.view(), &record.mounts);
        let tree = MountTree::build(overlay.path(), |root| -> std::result::Result<(), Fault> {
            for mount in &mounts {
                mount.attach(root)?;
            }
            match record.host.readonly_rootfs {
                true => Ok(sys::mount::set_attributes(root, false, &Change::set(Attr::RDONLY))?),
                false => Ok(()),
            }
        });
        let tree = tree.map_err(|fault| fault.explain(&handle.id))?;
        Ok(Inside::Stopped { tree, _overlay: overlay })
    }
}

/// The root of a container's first process; none when there is no such process (any more).
fn running_root(handle: &Handle) -> Option<OwnedFd> {
    let live = handle.live()?;
    let root = inroot::open_root(Path::new(&format!("/proc/{}/root", live.pid))).ok()?;
    // The process that still has this number now had it then.
    (!live.has_ended()).then_some(root)
}

/// A container's root and what keeps it; drop it where blocking is fine.
enum Inside {
    Running(OwnedFd),
    /// The tree goes before the overlay it is made of.
    Stopped {
        tree: MountTree,
        _overlay: Root,
    },
}

impl AsFd for Inside {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Running(root) => root.as_fd(),
            Self::Stopped { tree, .. } => tree.as_fd(),
        }
    }
}

/// What a client asked for, in its words.
struct Asked {
    container: String,
    path: String,
}

impl Asked {
    fn new(container: &str, path: &str) -> Self {
        Self { container: container.to_owned(), path: path.to_owned() }
    }

    fn stat(&self, inside: &Inside) -> Result<PathStat> {
        let stat = layer::archive::stat(inside.as_fd(), Path::new(&self.path));
        let stat = stat.map_err(|error| self.explain(error))?;
        let (seconds, nanoseconds) = stat.mtime;
        Ok(PathStat {
            name: stat.name,
            size: stat.size,
            mode: stat.mode,
            mtime: i32::try_from(nanoseconds)
                .ok()
                .and_then(|nanoseconds| Timestamp::new(seconds, nanoseconds).ok()),
            link_target: stat.link_target.display().to_string(),
        })
    }

    /// Refuses a directory on a read-only mount, which the kernel knows best. That there is none is found out when it is used.
    fn refuse_read_only(&self, inside: &Inside) -> Result<()> {
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        let path = inroot::clean(Path::new(&self.path));
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { &path };
        let Ok(target) = inroot::open(inside, path, flags, Mode::empty()) else { return Ok(()) };
        let read_only = rustix::fs::fstatvfs(&target)
            .is_ok_and(|stat| stat.f_flag.contains(StatVfsMountFlags::RDONLY));
        if !read_only {
            return Ok(());
        }
        let what = match mount_id(&target) == mount_id(inside) {
            true => "container rootfs is marked read-only",
            false => "mounted volume is marked read-only",
        };
        Err(EngineError::new(Kind::Denied, what))
    }

    /// Says in Docker's words what went wrong.
    fn explain(&self, error: layer::Error) -> EngineError {
        match error {
            layer::Error::Missing { .. } => EngineError::not_found(format!(
                "Could not find the file {} in container {}",
                self.path, self.container
            )),
            layer::Error::NotDirectory { .. } => {
                EngineError::invalid("extraction point is not a directory")
            }
            other => EngineError::room(other.kind(), other),
        }
    }
}

/// Which mount a file is on; unknown before Linux 5.8, where all look the same.
fn mount_id(fd: impl AsFd) -> Option<u64> {
    let stat = rustix::fs::statx(fd, c"", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID).ok()?;
    (stat.stx_mask & StatxFlags::MNT_ID.bits() != 0).then_some(stat.stx_mnt_id)
}

/// Who gets the files: as in Docker the container's user, if it has one and the client asks for it, and else whom the archive names.
fn owner(inside: &Inside, view: &ContainerView, asked: bool) -> Result<Option<(u32, u32)>> {
    if !asked || view.config.user.is_empty() {
        return Ok(None);
    }
    let user = crate::spec::user::resolve(inside.as_fd(), &view.config.user, &[])?;
    Ok(Some((user.uid, user.gid)))
}

/// Something of the host that belongs into the root of a container that does not run.
struct HostMount {
    point: MountPoint,
    /// Where there is none, nothing is mounted: it would be made at the start only.
    optional: bool,
}

/// What is mounted at a start, outer mounts first; what lives in memory has no content yet.
fn mounts_of(view: &ContainerView, points: &[MountPoint]) -> Vec<HostMount> {
    let files = [
        ("/etc/resolv.conf", &view.resolv_conf_path),
        ("/etc/hostname", &view.hostname_path),
        ("/etc/hosts", &view.hosts_path),
    ];
    let files = files.into_iter().map(|(destination, source)| {
        let destination = destination.to_owned();
        let point =
            MountPoint { source: source.clone(), destination, rw: true, ..MountPoint::default() };
        HostMount { point, optional: true }
    });
    let mut mounts: Vec<HostMount> = points
        .iter()
        .filter(|point| point.kind != MountKind::Tmpfs)
        .map(|point| HostMount { point: point.clone(), optional: point.kind == MountKind::Bind })
        .collect();
    for file in files {
        if !mounts.iter().any(|mount| mount.point.destination == file.point.destination) {
            mounts.push(file);
        }
    }
    mounts.sort_by_key(|mount| Path::new(&mount.point.destination).components().count());
    mounts
}

impl HostMount {
    fn attach(&self, root: BorrowedFd<'_>) -> std::result::Result<(), Fault> {
        match self.try_attach(root) {
            Err(Errno::NOENT) if self.optional => Ok(()),
            other => other.map_err(|errno| Fault { object: self.point.destination.clone(), errno }),
        }
    }

    fn try_attach(&self, root: BorrowedFd<'_>) -> rustix::io::Result<()> {
        let tree = self.copy()?;
        if !self.point.rw {
            sys::mount::set_attributes(&tree, true, &Change::set(Attr::RDONLY))?;
        }
        let destination = Path::new(&self.point.destination);
        let target = match inroot::is_dir(&tree)? {
            true => inroot::mkdir_all(root, destination, Mode::from_raw_mode(0o755))?,
            false => inroot::create_file(root, destination, Mode::from_raw_mode(0o644))?,
        };
        sys::mount::attach(&tree, &target)
    }

    /// A detached copy of the mount at the source.
    fn copy(&self) -> rustix::io::Result<OwnedFd> {
        let recursive = !self.point.non_recursive;
        let source = self.point.source.as_os_str().as_bytes();
        if self.point.subpath.is_empty() {
            let source = CString::new(source).map_err(|_| Errno::INVAL)?;
            return sys::mount::clone_tree(&source, recursive);
        }
        // What is in a volume belongs to its containers.
        let volume = inroot::open_root(&self.point.source)?;
        let inner = inroot::open(volume, &self.point.subpath, OFlags::PATH, Mode::empty())?;
        sys::mount::clone_tree_of(inner, recursive)
    }
}

/// Why a root could not be put together.
struct Fault {
    /// The mount point; empty for the root.
    object: String,
    errno: Errno,
}

impl From<Errno> for Fault {
    fn from(errno: Errno) -> Self {
        Self { object: String::new(), errno }
    }
}

impl Fault {
    fn explain(self, id: &types::ContainerId) -> EngineError {
        match self.object.is_empty() {
            true => host_error("assemble the root of", id, self.errno.into()),
            false => host_error("mount in the root", self.object, self.errno.into()),
        }
    }
}

/// Reads what a channel brings; for blocking threads only.
struct ChunkReader {
    chunks: mpsc::Receiver<io::Result<Bytes>>,
    current: Bytes,
}

impl Read for ChunkReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() {
            match self.chunks.blocking_recv() {
                Some(chunk) => self.current = chunk?,
                None => return Ok(0),
            }
        }
        let length = buffer.len().min(self.current.len());
        self.current.copy_to_slice(&mut buffer[..length]);
        Ok(length)
    }
}
