//! Differences that are meant, each with its reason. Any other fails.

/// Differences of one kind.
pub struct Expected {
    /// `runc`, `crun`, or `*` for both.
    pub peer: &'static str,
    /// The case; `*` stands for any text, `|` separates alternatives.
    pub case: &'static str,
    /// The fact, likewise.
    pub fact: &'static str,
    /// Why it is meant.
    pub reason: &'static str,
    /// Tells from both values, ours first, whether the difference is this one and no more.
    holds: fn(&str, &str) -> bool,
}

const fn expected(
    peer: &'static str,
    case: &'static str,
    fact: &'static str,
    reason: &'static str,
) -> Expected {
    Expected { peer, case, fact, reason, holds: |_, _| true }
}

impl Expected {
    const fn only_if(mut self, holds: fn(&str, &str) -> bool) -> Self {
        self.holds = holds;
        self
    }
}

/// The mount alone, without what is said of its file system.
fn same_mount(ours: &str, theirs: &str) -> bool {
    let head = |text: &str| text.split(']').next().map(str::to_owned);
    head(ours) == head(theirs)
}

/// The same but for what `without` takes out of both.
fn same_without(ours: &str, theirs: &str, without: &[&str]) -> bool {
    let plain =
        |text: &str| without.iter().fold(text.to_owned(), |text, part| text.replace(part, ""));
    plain(ours) == plain(theirs)
}

const OLDER: &str = "Debian's runc 1.1.5 does not know the field and ignores it";
const TUN: &str = "runc before 1.2 gave every container `/dev/net/tun`";

/// Mounts of the same place that may be written or not alike: root, first option and the kind of file system.
fn alike(ours: &str, theirs: &str) -> bool {
    let parts = |text: &str| {
        let mut words = text.split(' ');
        let root = words.next().map(str::to_owned);
        let access = words.next().and_then(|options| options.split(',').next()).map(str::to_owned);
        let kind = text.split("] ").nth(1).and_then(|rest| rest.split(' ').next());
        (root, access, kind.map(str::to_owned))
    };
    parts(ours) == parts(theirs)
}

const CRUN_MOUNTS: &str = "crun makes copies private, drops the flags that it was not asked for, and has another null device over masked files";
const CRUN_EXEC: &str = "without a document `exec` continues the container's process, as in runc; crun begins anew, as root";
const CRUN_LENIENT: &str = "crun lets it pass, or says and counts it otherwise";

/// The table.
pub const EXPECTED: &[Expected] = &[
    expected("*", "*", "state *: ociVersion", "each names the version of the specification that it was made for"),
    expected("runc", "*", "state *: owner", "runc fills it in for `list` alone"),
    expected("*", "*", "state *: annotations", "an empty map where there are none; the specification allows both")
        .only_if(|ours, theirs| ours == "{}" && theirs == "(absent)"),
    expected("runc", "*", "* device c-10:200", TUN),
    expected("runc", "*", "group devices.list", TUN)
        .only_if(|ours, theirs| same_without(ours, theirs, &["c 10:200 rwm; "])),
    expected("*", "*", "* mount /sys#0", "read-only is the mount, not also the file system")
        .only_if(same_mount),
    expected(
        "*",
        "*",
        "* mount /sys/firmware#0|* mount /masked/dir#0",
        "a masked directory is also `nosuid`, `nodev`, `noexec`, and has room for nothing",
    ),
    expected("runc", "*", "* mount /sys/fs/cgroup#0", "read-only as asked; runc leaves the directory of the hierarchies writable")
        .only_if(|ours, theirs| ours.replacen("/ ro,", "/ rw,", 1) == theirs),
    expected("runc", "*", "* mount /sys/fs/cgroup/systemd#0", "the source is a mere name")
        .only_if(|ours, theirs| theirs.replace("cgroup systemd ", "cgroup cgroup ") == ours),
    expected("*", "*", "* mount /t#0|* mount /copied#0", "the mode of the directory beneath is given with the mount, and not set after it")
        .only_if(|ours, theirs| same_without(ours, theirs, &["mode=755,"])),
    expected("runc", "user with groups and umask", "exec umask|exec status Umask", "the umask is the user's, for `exec` too"),
    expected("runc", "*", "* limit Max open files", "Go raises the limit of the caller, and Debian's runc hands that on"),
    expected("runc", "*", "* mount *", "flags of the source's own file system are kept, not only what was asked for")
        .only_if(alike),
    expected("runc", "namespace of the host: PID", "left: groups", "runc leaves the group when the process is its own child's"),
    expected("*", "limits: CPU", "group cpu.weight", "the conversion of shares that runc has since 1.3.2 and crun since 1.23")
        .only_if(|ours, theirs| (ours, theirs) == ("59", "20")),
    expected("runc", "misuse", "left in the root: *", "what the probe had time for"),
    expected("*", "refused: oomScoreAdj out of range|run: a directory", "*: message", "other words"),
    expected("runc", "refused: mapping without a user namespace", "*", "runc 1.1.5 ignores the mapping"),
    expected("crun", "*", "* mount *", CRUN_MOUNTS).only_if(alike),
    expected("crun", "*", "* mount /proc/*|* mount /masked/file#0|* mount /dev/*", CRUN_MOUNTS),
    expected("crun", "*", "exec status *|exec limit *|exec umask|exec id|exec cwd|exec pwd|exec environment|exec oom_score_adj|exec mkdir", CRUN_EXEC),
    expected("crun", "*", "exec device *|exec writable *|exec leads *|exec as a user: output|exec with status: message|exec bytes *", CRUN_EXEC),
    expected("crun", "*", "* status|* message|* logged", CRUN_LENIENT)
        .only_if(|ours, theirs| ours != "0" && !ours.is_empty() && theirs != ours),
    expected("crun", "*", "state *: rootfs|state *: systemd-scope|state *: bundle", "fields of crun's own; runc names the root in full"),
    expected("crun", "*", "* environment", "crun sets no `HOME` for a user that is in no list")
        .only_if(|ours, theirs| same_without(ours, theirs, &["HOME=/ | ", " | HOME=/"])),
    expected("crun", "*", "node /dev/null|node /dev/kmsg", "devices stay root's; crun gives what the process holds open, and new nodes, to its user"),
    expected("crun", "keyring seen", "* keyring", "crun's ring has another name"),
    expected("crun", "*", "left in the root: *", "places of mounts are made with other modes")
        .only_if(|ours, theirs| ours != "(absent)" && theirs != "(absent)"),
    expected("crun", "user namespace*", "* mode of *", "the group is given to the user only if it may be written inside, as in runc"),
    expected("crun", "hooks|run: a *hook that fails|refused: a hook that fails", "hook *", "the states and directories of runc and of the specification"),
    expected("crun", "*", "state *: owner", "as in runc, which fills it in for `list` alone"),
    expected("crun", "misuse", "ps when stopped: status", "crun 1.8.1 crashes"),
    expected("crun", "bind: symlink as destination", "create: status", "links of the root are followed within it"),
    expected("crun", "bind: symlink as destination", "broke off", "links of the root are followed within it"),
    expected("crun", "ioPriority", "* I/O priority", "crun 1.8.1 does not know the field"),
    expected("crun", "scheduler", "* nice, policy", "crun 1.8.1 does not know the field"),
    expected("crun", "refused: *", "left: *|pid file|state: status|start: status", "crun accepts the document"),
    expected("runc", "personality", "* personality|* machine", OLDER),
    expected("runc", "ioPriority", "* I/O priority", OLDER),
    expected("runc", "scheduler", "* nice, policy", OLDER),
    expected("runc", "hostname and domainname", "* domainname", OLDER),
    expected("runc", "rootfsPropagation: shared", "* mount /#0", "the root is shared, as asked"),
    expected("runc", "rootfsPropagation: unbindable", "broke off|create: *", "runc 1.1.5 cannot make such a root"),
    expected("runc", "hooks", "hook 0", "to `prestart` the container is `created`: it runs after step 2 of the life cycle")
        .only_if(|ours, theirs| ours.replace("created", "creating") == theirs),
    expected("runc", "hooks", "hook 3|hook 4", "`poststart` follows the start of the program, after `startContainer`"),
    expected("runc", "hooks", "hook 7", "a `poststop` hook that fails does not keep the next from running"),
    expected("*", "user namespace*", "node /dev/mqueue", "one clone makes the IPC namespace before its user is mapped; everybody may use the directory")
        .only_if(|ours, theirs| ours.starts_with("41777") && theirs.starts_with("41777")),
    expected("runc", "group: *", "* of `memory`|* /sys/fs/cgroup/memory#0", "the same path in every hierarchy; runc's is below its own group in some"),
    expected("runc", "run: a start hook that fails", "run: logged", "every failure reaches the log"),
    expected("runc", "refused: namespace of an unknown kind", "create: message", "other words"),
    expected("runc", "refused: rlimit twice", "*", "the specification wants an error"),
];

/// Finds the entry that a difference falls under.
pub fn find(peer: &str, case: &str, fact: &str, ours: &str, theirs: &str) -> Option<usize> {
    EXPECTED.iter().position(|entry| {
        matches(entry.peer, peer)
            && matches(entry.case, case)
            && matches(entry.fact, fact)
            && (entry.holds)(ours, theirs)
    })
}

/// Tells whether `text` fits `pattern`, in which `*` stands for any text and `|` separates alternatives.
fn matches(pattern: &str, text: &str) -> bool {
    pattern.split('|').any(|pattern| {
        let mut parts = pattern.split('*');
        let first = parts.next().unwrap_or_default();
        let Some(mut rest) = text.strip_prefix(first) else { return false };
        let mut last = None;
        for part in parts {
            let Some(at) = rest.find(part) else { return false };
            rest = &rest[at + part.len()..];
            last = Some(part);
        }
        match last {
            None => rest.is_empty(),
            Some(part) => part.is_empty() || rest.is_empty() || text.ends_with(part),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn a_star_stands_for_any_text() {
        for (pattern, text, fits) in [
            ("*", "anything", true),
            ("a*c", "abc", true),
            ("a*c", "abcd", false),
            ("a*c", "acbc", true),
            ("abc", "abcd", false),
            ("x|a*", "abc", true),
            ("*b*", "abc", true),
            ("*d*", "abc", false),
        ] {
            assert_eq!(matches(pattern, text), fits, "{pattern} {text}");
        }
    }
}
