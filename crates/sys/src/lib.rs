//! The floor: every `unsafe` block and raw system call of Belljar, the reading of procfs and cgroupfs, and paths opened inside a root.
//!
//! Everything above is safe code. Descriptors are `OwnedFd`/`BorrowedFd`, every one is close-on-exec, EINTR is handled here.

pub mod cgroup;
pub mod clone;
pub mod cred;
pub mod ebpf;
pub mod event;
pub mod file;
pub mod inroot;
pub mod mount;
pub mod mounttree;
pub mod namespace;
pub mod netdevice;
pub mod netlink;
pub mod netns;
pub mod pidfd;
pub mod procfs;
pub mod pty;
pub mod rlimit;
pub mod scm;
pub mod seccomp;
