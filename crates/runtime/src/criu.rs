//! The program criu(8), which saves the processes of a container in files and makes them anew from these.
//!
//! It is run by its command line, and writes its log, `dump.log` or `restore.log`, into the work directory; of that the lines about
//! errors are passed on.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

use rustix::fs::OFlags;
use types::oci::runtime::{Linux, Mount, NamespaceKind, Spec};

use crate::args::{Opt, Parsed, number, switch, valued};
use crate::error::{Error, Result, step};
use crate::log;

/// The options of `checkpoint`.
pub(crate) const CHECKPOINT_OPTIONS: &[Opt] = &[
    valued("image-path", '\0', "the directory for the images (default: ./checkpoint)"),
    valued("work-path", '\0', "the directory for logs and other files of the work"),
    valued("parent-path", '\0', "the images of the pre-dump before, seen from --image-path"),
    switch("leave-running", '\0', "let the container run on"),
    switch("tcp-established", '\0', "save open TCP connections"),
    switch("tcp-skip-in-flight", '\0', "leave TCP connections out that are being made"),
    switch("link-remap", '\0', "link unlinked files back where that is possible"),
    switch("ext-unix-sk", '\0', "allow Unix sockets to the outside"),
    switch("shell-job", '\0', "allow jobs of a shell"),
    switch("lazy-pages", '\0', "hand memory pages out on demand, by userfaultfd(2)"),
    number("status-fd", '\0', "the descriptor that gets a zero byte when lazy pages are ready"),
    valued("page-server", '\0', "ADDRESS:PORT of the page server"),
    switch("file-locks", '\0', "save file locks"),
    switch("pre-dump", '\0', "save memory alone and let the container run on"),
    valued("manage-cgroups-mode", '\0', "cgroups: 'soft' (default), 'full', 'strict' or 'ignore'"),
    valued("empty-ns", '\0', "a namespace whose contents are left out: 'network'"),
    switch("auto-dedup", '\0', "free memory images that later ones replace"),
];

/// The options of `restore`.
pub(crate) const RESTORE_OPTIONS: &[Opt] = &[
    valued("bundle", 'b', "the bundle's directory (default: the current one)"),
    valued("console-socket", '\0', "the Unix socket that receives the terminal's master end"),
    valued("image-path", '\0', "the directory of the images (default: ./checkpoint)"),
    valued("work-path", '\0', "the directory for logs and other files of the work"),
    switch("tcp-established", '\0', "restore open TCP connections"),
    switch("ext-unix-sk", '\0', "allow Unix sockets to the outside"),
    switch("shell-job", '\0', "allow jobs of a shell"),
    switch("file-locks", '\0', "restore file locks"),
    valued("manage-cgroups-mode", '\0', "cgroups: 'soft' (default), 'full', 'strict' or 'ignore'"),
    switch("detach", 'd', "do not wait for the end"),
    valued("pid-file", '\0', "the file that the process's id is written to"),
    switch("no-subreaper", '\0', "do not adopt the container's orphans"),
    switch("no-pivot", '\0', "do not use pivot_root(2)"),
    valued("empty-ns", '\0', "a namespace whose contents are left out: 'network'"),
    switch("auto-dedup", '\0', "free memory images once they are used"),
    switch("lazy-pages", '\0', "fetch memory pages on demand, by userfaultfd(2)"),
    valued("lsm-profile", '\0', "another label: TYPE:NAME"),
    valued("lsm-mount-context", '\0', "another context of mounts"),
];

/// One call of criu.
#[derive(Debug)]
pub(crate) struct Call {
    arguments: Vec<OsString>,
    /// Where the images are.
    pub(crate) images: PathBuf,
    log: PathBuf,
}

impl Call {
    /// Collects what both directions share: `action` is criu's command, `log` the name of its log. The options are checked in full
    /// before anything is done.
    ///
    /// # Errors
    /// [`Error::Usage`] in runc's words; [`Error::Unsupported`] without the program or the kernel's part.
    pub(crate) fn new(action: &str, log: &str, parsed: &Parsed) -> Result<Self> {
        let images = match parsed.text("image-path") {
            Some(path) => PathBuf::from(path),
            None => PathBuf::from("checkpoint"),
        };
        let images = std::path::absolute(&images).unwrap_or(images);
        let work = parsed.text("work-path").map(PathBuf::from);
        let mode = cgroups_mode(parsed)?;
        empty_namespaces(parsed)?;
        available()?;
        if let Some(work) = &work {
            make_directory(work)?;
        }
        let work = work.unwrap_or_else(|| images.clone());
        let mut call = Self { arguments: Vec::new(), log: work.join(log), images };
        call.add(&[action, "-v4", "--log-file", log, "--empty-ns", "net"]);
        call.add(&["--images-dir".as_ref(), call.images.clone().as_os_str()]);
        call.add(&["--work-dir".as_ref(), work.as_os_str()]);
        call.add(&[format!("--manage-cgroups={mode}")]);
        for (option, theirs) in [
            ("shell-job", "--shell-job"),
            ("ext-unix-sk", "--ext-unix-sk"),
            ("tcp-established", "--tcp-established"),
            ("tcp-skip-in-flight", "--skip-in-flight"),
            ("link-remap", "--link-remap"),
            ("file-locks", "--file-locks"),
            ("leave-running", "--leave-running"),
            ("auto-dedup", "--auto-dedup"),
            ("lazy-pages", "--lazy-pages"),
        ] {
            if parsed.is_on(option) {
                call.add(&[theirs]);
            }
        }
        Ok(call)
    }

    pub(crate) fn add<S: AsRef<std::ffi::OsStr>>(&mut self, words: &[S]) {
        self.arguments.extend(words.iter().map(|word| word.as_ref().to_owned()));
    }

    /// A mount that is not saved: `key` is its name in the images, `value` what criu does with it.
    pub(crate) fn external_mount(&mut self, key: &str, value: &str) {
        self.add(&["--external", &format!("mnt[{key}]:{value}")]);
    }

    /// Runs criu without standard streams and waits.
    ///
    /// # Errors
    /// [`Error::State`] with the first error of its log; the other lines about errors are warnings before that.
    pub(crate) fn run(&self) -> Result<()> {
        let mut command = self.command();
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let output = command.output().map_err(step("run `criu`"))?;
        self.judge(output.status, &String::from_utf8_lossy(&output.stderr))
    }

    /// Runs criu with this program's standard streams, which the restored processes get.
    ///
    /// # Errors
    /// As [`Call::run`].
    pub(crate) fn run_with_streams(&self) -> Result<()> {
        let status = self.command().status().map_err(step("run `criu`"))?;
        self.judge(status, "")
    }

    fn command(&self) -> Command {
        log::debug(&format!("criu {:?}", self.arguments));
        let _ = fs::remove_file(&self.log);
        let mut command = Command::new("criu");
        command.args(&self.arguments);
        command
    }

    /// `said` is what came on standard error, before there was a log.
    fn judge(&self, status: ExitStatus, said: &str) -> Result<()> {
        if status.success() {
            return Ok(());
        }
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let mut errors = text.lines().chain(said.lines()).filter(|line| line.contains("Error"));
        let why = errors.next().or(said.lines().next()).unwrap_or("it left no log").to_owned();
        for line in errors {
            log::warn(line);
        }
        Err(Error::State(format!("criu failed: {status} (`{}`): {why}", self.log.display())))
    }
}

/// Looks for the program, and for what it needs of the kernel.
fn available() -> Result<()> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let executable = |file: PathBuf| {
        fs::metadata(file)
            .is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
    };
    if !std::env::split_paths(&path).any(|directory| executable(directory.join("criu"))) {
        let text = "CRIU version check failed: exec: \"criu\": executable file not found in $PATH";
        return Err(Error::Unsupported(text.into()));
    }
    if !Path::new("/proc/sys/kernel/ns_last_pid").exists() {
        let text = "the kernel cannot checkpoint and restore: it lacks CONFIG_CHECKPOINT_RESTORE";
        return Err(Error::Unsupported(text.into()));
    }
    Ok(())
}

fn cgroups_mode(parsed: &Parsed) -> Result<&str> {
    match parsed.text("manage-cgroups-mode").unwrap_or("soft") {
        mode @ ("soft" | "full" | "strict" | "ignore") => Ok(mode),
        _ => Err(Error::Usage("invalid manage-cgroups-mode value".into())),
    }
}

/// Network devices are never saved; no other namespace can be left out.
fn empty_namespaces(parsed: &Parsed) -> Result<()> {
    match parsed.values("empty-ns").find(|name| *name != "network") {
        Some(name) => Err(Error::Usage(format!("namespace {name:?} is not supported"))),
        None => Ok(()),
    }
}

/// Makes a directory of one's own, unless it is there.
pub(crate) fn make_directory(path: &Path) -> Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(step(format!("create `{}`", path.display())))
}

/// Adds the options that `checkpoint` alone has.
pub(crate) fn add_dump_options(call: &mut Call, parsed: &Parsed) -> Result<()> {
    if let Some(parent) = parsed.text("parent-path") {
        if Path::new(parent).is_absolute() {
            return Err(Error::Usage("--parent-path must be relative".into()));
        }
        let directory = call.images.join(parent);
        let kind = fs::metadata(&directory).and_then(|meta| {
            if meta.is_dir() { Ok(()) } else { Err(rustix::io::Errno::NOTDIR.into()) }
        });
        kind.map_err(step::<std::io::Error>(format!(
            "invalid --parent-path: stat {}",
            directory.display()
        )))?;
        call.add(&["--prev-images-dir", parent, "--track-mem"]);
    }
    if let Some(server) = parsed.text("page-server") {
        let (address, port) = server
            .rsplit_once(':')
            .filter(|(address, port)| !address.is_empty() && !port.is_empty())
            .ok_or_else(|| {
                Error::Usage("Use --page-server ADDRESS:PORT to specify page server".into())
            })?;
        port.parse::<u16>().map_err(|_| Error::Usage("Invalid port number".into()))?;
        let address = address.trim_matches(['[', ']']);
        call.add(&["--page-server", "--address", address, "--port", port]);
    }
    match parsed.number::<i32>("status-fd")? {
        Some(fd) if fd >= 0 && parsed.is_on("lazy-pages") => {
            check_status_fd(fd)?;
            call.add(&["--status-fd".to_owned(), fd.to_string()]);
        }
        _ => {}
    }
    Ok(())
}

/// Looks by procfs, where a number that is not open has no entry.
fn check_status_fd(fd: i32) -> Result<()> {
    let what = format!("invalid --status-fd argument {fd}");
    let text = fs::read_to_string(format!("/proc/self/fdinfo/{fd}")).map_err(step(what.clone()))?;
    let flags = text.lines().find_map(|line| line.strip_prefix("flags:"));
    let flags = flags.and_then(|flags| u32::from_str_radix(flags.trim(), 8).ok()).unwrap_or(0);
    if flags & (OFlags::WRONLY | OFlags::RDWR).bits() == 0 {
        return Err(Error::Usage(format!("{what}: not writable")));
    }
    Ok(())
}

/// The bind mounts of a configuration.
pub(crate) fn binds(spec: &Spec) -> impl Iterator<Item = &Mount> {
    spec.mounts.iter().filter(|mount| is_bind(mount))
}

/// Tells whether a mount is a bind mount.
pub(crate) fn is_bind(mount: &Mount) -> bool {
    mount.kind == "bind" || mount.options.iter().any(|one| one == "bind" || one == "rbind")
}

/// The namespaces that are somebody else's, and criu's names for them in the images.
pub(crate) fn foreign_namespaces(linux: &Linux) -> impl Iterator<Item = (&str, &str, &str)> {
    linux.namespaces.iter().filter(|one| !one.path.is_empty()).filter_map(|one| match one.kind {
        NamespaceKind::Network => Some(("net", "extRootNetNS", one.path.as_str())),
        NamespaceKind::Pid => Some(("pid", "extRootPidNS", one.path.as_str())),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{Words, parse};

    fn parsed(line: &str) -> Parsed {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        parse(CHECKPOINT_OPTIONS, &words, Words::Any).unwrap()
    }

    fn call() -> Call {
        Call {
            arguments: Vec::new(),
            images: "/nonexistent".into(),
            log: "/nonexistent/log".into(),
        }
    }

    #[test]
    fn wrong_options_are_refused_in_runcs_words() {
        let said = |line: &str| {
            let parsed = parsed(line);
            let checked = cgroups_mode(&parsed).map(drop).and_then(|()| empty_namespaces(&parsed));
            let checked = checked.and_then(|()| add_dump_options(&mut call(), &parsed));
            crate::error::message(&checked.unwrap_err())
        };
        for (line, want) in [
            ("--manage-cgroups-mode x", "invalid manage-cgroups-mode value"),
            ("--empty-ns pid", "namespace \"pid\" is not supported"),
            ("--parent-path /x", "--parent-path must be relative"),
            (
                "--parent-path x",
                "invalid --parent-path: stat /nonexistent/x: no such file or directory",
            ),
            ("--page-server x", "Use --page-server ADDRESS:PORT to specify page server"),
            ("--page-server a:x", "Invalid port number"),
            (
                "--lazy-pages --status-fd 987",
                "invalid --status-fd argument 987: no such file or directory",
            ),
            ("--lazy-pages --status-fd 0", "invalid --status-fd argument 0: not writable"),
        ] {
            if !line.ends_with(" 0")
                || fs::read_to_string("/proc/self/fdinfo/0").is_ok_and(|t| t.contains("00\n"))
            {
                assert_eq!(said(line), want, "{line}");
            }
        }
    }

    #[test]
    fn servers_may_have_any_address() {
        let mut call = call();
        add_dump_options(&mut call, &parsed("--page-server [::1]:7")).unwrap();
        assert_eq!(call.arguments, ["--page-server", "--address", "::1", "--port", "7"]);
    }
}
