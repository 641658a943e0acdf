//! A made-up host for tests.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use crate::host::Host;
use crate::subject::Subject;

/// A directory with files of a host.
pub(crate) struct Fake {
    dir: tempfile::TempDir,
}

impl Fake {
    pub(crate) fn new(files: &[(&str, &str)]) -> Self {
        let fake = Self { dir: tempfile::tempdir().unwrap() };
        files.iter().for_each(|(name, text)| fake.write(name, text));
        fake
    }

    pub(crate) fn host(&self) -> Host {
        Host::beneath(self.dir.path())
    }

    pub(crate) fn subject(&self, label: &str, pid: u32) -> Subject {
        Subject { label: label.into(), pid, start_ticks: 1, container: None }
    }

    fn place(&self, name: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        path
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::write(self.place(name), text).unwrap();
    }

    pub(crate) fn link(&self, name: &str, to: &str) {
        symlink(to, self.place(name)).unwrap();
    }

    pub(crate) fn remove(&self, name: &str) {
        fs::remove_file(self.dir.path().join(name)).unwrap();
    }

    /// A process with the files that identify it.
    pub(crate) fn process(&self, pid: u32, parent: u32, name: &str, ns_pids: &str) {
        let zeros = "0 ".repeat(17);
        self.write(&format!("proc/{pid}/stat"), &format!("{pid} ({name}) S {parent} {zeros}100 0"));
        let ids =
            "Uid:\t0\t0\t0\t0\nGid:\t0\t0\t0\t0\nCapInh:\t0\nCapPrm:\t0\nCapEff:\t0\nCapBnd:\t0\n";
        let status = format!("Name:\t{name}\nNSpid:\t{ns_pids}\n{ids}");
        self.write(&format!("proc/{pid}/status"), &status);
        self.write(&format!("proc/{pid}/comm"), &format!("{name}\n"));
        self.write(&format!("proc/{pid}/cmdline"), &format!("/usr/bin/{name}\0--flag\0"));
    }
}
