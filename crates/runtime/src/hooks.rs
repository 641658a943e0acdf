//! Hooks: programs that run at fixed points of a container's life, with its state on their standard input.
//!
//! OCI runtime-spec config.md#posix-platform-hooks.

use std::ffi::CString;
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};
use rustix::fs::{MemfdFlags, OFlags, memfd_create};
use rustix::io::Errno;
use types::oci::runtime::Hook;

/// How much of what a failed hook has written is told.
const MAX_STDERR: usize = 8 << 10;

/// The kinds of hooks in the order of a container's life.
pub(crate) const KINDS: [&str; 6] =
    ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];

/// Runs hooks in order and stops at the first that fails. `state` is the JSON text for their standard input. A hook without `env`
/// inherits that of the runtime, as with every other runtime.
///
/// # Errors
/// A sentence that names the hook.
pub(crate) fn run_all(kind: &str, hooks: &[Hook], state: &str) -> Result<(), String> {
    hooks.iter().enumerate().try_for_each(|(at, hook)| {
        run(hook, None, state).map_err(|why| format!("error running {kind} hook #{at}: {why}"))
    })
}

/// The same for hooks that run inside: without `env` they have the container's, not the host's.
pub(crate) fn run_all_inside(
    kind: &str,
    hooks: &[Hook],
    env: &[CString],
    state: &str,
) -> Result<(), String> {
    hooks.iter().enumerate().try_for_each(|(at, hook)| {
        run(hook, Some(env), state).map_err(|why| format!("error running {kind} hook #{at}: {why}"))
    })
}

/// Runs hooks in order, whatever happens to each of them, and returns what failed.
pub(crate) fn run_each(kind: &str, hooks: &[Hook], state: &str) -> Vec<String> {
    let mut failures = Vec::new();
    for (at, hook) in hooks.iter().enumerate() {
        if let Err(why) = run(hook, None, state) {
            failures.push(format!("error running {kind} hook #{at}: {why}"));
        }
    }
    failures
}

fn run(hook: &Hook, default_env: Option<&[CString]>, state: &str) -> Result<(), String> {
    let mut command = Command::new(&hook.path);
    if let Some((name, rest)) = hook.args.split_first() {
        command.arg0(name).args(rest);
    }
    if !hook.env.is_empty() {
        command.env_clear().envs(hook.env.iter().filter_map(|entry| entry.split_once('=')));
    } else if let Some(env) = default_env {
        let entries = env.iter().filter_map(|entry| entry.to_str().ok()?.split_once('='));
        command.env_clear().envs(entries);
    }
    let stdin =
        document(state).map_err(|error| format!("write the state for `{}`: {error}", hook.path))?;
    command.stdin(stdin).stdout(Stdio::null()).stderr(Stdio::piped());
    let child = command.spawn().map_err(|error| format!("run `{}`: {error}", hook.path))?;
    let timeout = hook.timeout.and_then(|seconds| u64::try_from(seconds).ok());
    wait(child, timeout.map(Duration::from_secs), hook)
}

/// Gets the state ready to be read: nobody waits for a hook that does not read, past its timeout, and one that has ended already ends
/// nobody by SIGPIPE, which the container's process does not ignore.
fn document(state: &str) -> std::io::Result<Stdio> {
    let (reader, mut writer) = std::io::pipe()?;
    rustix::fs::fcntl_setfl(&writer, OFlags::NONBLOCK)?;
    match writer.write(state.as_bytes()) {
        Ok(count) if count == state.len() => Ok(reader.into()),
        // A pipe has no room for it. Not the first choice: a filter that is on already may know pipes only.
        _ => in_memory(state).map(Stdio::from),
    }
}

fn in_memory(state: &str) -> std::io::Result<File> {
    let name = c"state.json";
    // Hosts may demand memory that cannot be executed, Linux 6.3; kernels before that do not know the flag.
    let file =
        memfd_create(name, MemfdFlags::CLOEXEC | MemfdFlags::NOEXEC_SEAL).or_else(|error| {
            match error {
                Errno::INVAL => memfd_create(name, MemfdFlags::CLOEXEC),
                other => Err(other),
            }
        })?;
    let mut file = File::from(file);
    file.write_all(state.as_bytes())?;
    file.rewind()?;
    Ok(file)
}

/// Waits for the hook itself: what it leaves behind in the background may hold its standard error open for ever.
fn wait(mut child: Child, timeout: Option<Duration>, hook: &Hook) -> Result<(), String> {
    let mut stderr = child.stderr.take();
    let mut text = Vec::new();
    if !listen(&child, stderr.as_mut(), &mut text, timeout) {
        let _ = child.kill();
        let _ = child.wait();
        let timeout = timeout.unwrap_or_default();
        return Err(format!("`{}` ran past specified timeout of {timeout:?}", hook.path));
    }
    let status = child.wait().map_err(|error| format!("wait for `{}`: {error}", hook.path))?;
    if status.success() {
        return Ok(());
    }
    let stderr = String::from_utf8_lossy(&text);
    Err(format!("`{}`: {}, stderr: {}", hook.path, end(status), stderr.trim()))
}

/// How a program ended, in the words of Go's `os` package, which clients look for.
fn end(status: ExitStatus) -> String {
    const SIGNALS: [(i32, &str); 12] = [
        (1, "hangup"),
        (2, "interrupt"),
        (3, "quit"),
        (4, "illegal instruction"),
        (6, "aborted"),
        (7, "bus error"),
        (8, "floating point exception"),
        (9, "killed"),
        (11, "segmentation fault"),
        (13, "broken pipe"),
        (15, "terminated"),
        (31, "bad system call"),
    ];
    let dumped = if status.core_dumped() { " (core dumped)" } else { "" };
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit status {code}"),
        (None, Some(signal)) => match SIGNALS.iter().find(|(number, _)| *number == signal) {
            Some((_, word)) => format!("signal: {word}{dumped}"),
            None => format!("signal: signal {signal}{dumped}"),
        },
        (None, None) => status.to_string(),
    }
}

/// Takes what the hook writes until it ends; `false` if it does not in time.
fn listen(
    child: &Child,
    mut stderr: Option<&mut ChildStderr>,
    text: &mut Vec<u8>,
    timeout: Option<Duration>,
) -> bool {
    let Ok(pidfd) = sys::pidfd::open(child.id()) else { return true };
    let start = Instant::now();
    loop {
        let left = timeout.map(|timeout| timeout.saturating_sub(start.elapsed()));
        let mut fds = vec![PollFd::new(&pidfd, PollFlags::IN)];
        fds.extend(stderr.as_deref().map(|stderr| PollFd::new(stderr, PollFlags::IN)));
        let ready = sys::event::poll(&mut fds, left);
        let events: Vec<PollFlags> = fds.iter().map(PollFd::revents).collect();
        drop(fds);
        if events.get(1).is_some_and(|events| !events.is_empty())
            && !stderr.as_deref_mut().is_some_and(|stderr| take(stderr, text))
        {
            stderr = None;
            continue;
        }
        match ready {
            Err(_) => return true,
            // What was written before the end has been taken in an earlier round, or is taken in the next.
            Ok(_) if events[0].contains(PollFlags::IN) => {
                if events.get(1).is_none_or(PollFlags::is_empty) || text.len() >= MAX_STDERR {
                    return true;
                }
            }
            Ok(0) if left.is_some_and(|left| left.is_zero()) => return false,
            Ok(_) => {}
        }
    }
}

/// Takes a piece, and keeps the beginning of the whole; `false` at the end.
fn take(stderr: &mut ChildStderr, text: &mut Vec<u8>) -> bool {
    let mut piece = [0; 4096];
    match stderr.read(&mut piece) {
        Ok(count @ 1..) => {
            text.extend(&piece[..count.min(MAX_STDERR.saturating_sub(text.len()))]);
            true
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hook(path: &str, args: &[&str], timeout: Option<i64>) -> Hook {
        let args = args.iter().map(|arg| (*arg).to_owned()).collect();
        Hook { path: path.into(), args, timeout, ..Hook::default() }
    }

    #[test]
    fn a_hook_reads_the_state() {
        let good = hook("/bin/sh", &["sh", "-c", "test \"$(cat)\" = '{}'"], Some(10));
        assert_eq!(run_all("poststart", &[good], "{}"), Ok(()));
    }

    #[test]
    fn a_hook_that_does_not_read_a_long_state_is_not_waited_for() {
        let start = Instant::now();
        let state = "x".repeat(1 << 20);
        let slow = hook("/bin/sleep", &["sleep", "20"], Some(1));
        assert!(run_all("x", &[slow], &state).unwrap_err().contains("timeout"));
        assert!(start.elapsed() < Duration::from_secs(10));
        let reads = hook("/bin/sh", &["sh", "-c", "test $(wc -c) = 1048576"], Some(10));
        assert_eq!(run_all("x", &[reads], &state), Ok(()));
    }

    #[test]
    fn a_hook_without_an_environment_inherits() {
        let path = std::env::var("PATH").unwrap();
        let test = format!("test \"$PATH\" = '{path}'");
        let inherits = hook("/bin/sh", &["sh", "-c", &test], None);
        assert_eq!(run_all("prestart", &[inherits], "{}"), Ok(()));
        let test = "test \"$ONE:$HOME\" = two: && test \"$PATH\" != /x";
        let inside = hook("/bin/sh", &["sh", "-c", test], None);
        assert_eq!(
            run_all_inside("startContainer", &[inside], &[c"ONE=two".to_owned()], ""),
            Ok(())
        );
        let own = Hook {
            env: vec!["A=b".into()],
            ..hook("/bin/sh", &["sh", "-c", "test $A$HOME = b"], None)
        };
        assert_eq!(run_all("prestart", &[own], "{}"), Ok(()));
    }

    #[test]
    fn a_hook_may_write_much_and_leave_something_behind() {
        let start = Instant::now();
        let script = "yes 1234567 | head -c 300000 >&2; sleep 5 & exit 3";
        let loud = hook("/bin/sh", &["sh", "-c", script], Some(20));
        let text = run_all("x", &[loud], "{}").unwrap_err();
        assert!(text.contains("1234567") && !text.contains("timeout"), "{text}");
        assert!(text.len() < MAX_STDERR + 200);
        let quiet = hook("/bin/sh", &["sh", "-c", "sleep 5 & true"], None);
        assert_eq!(run_all("x", &[quiet], "{}"), Ok(()));
        assert!(start.elapsed() < Duration::from_secs(4));
    }

    #[test]
    fn failures_say_which_and_why() {
        let bad = hook("/bin/sh", &["sh", "-c", "echo no >&2; exit 3"], None);
        let text = run_all("prestart", &[hook("/bin/true", &[], None), bad], "{}").unwrap_err();
        assert!(text.contains("prestart hook #1") && text.contains("stderr: no"), "{text}");
        assert!(text.contains("exit status 3"), "{text}");
        let killed = hook("/bin/sh", &["sh", "-c", "kill -SYS $$"], None);
        let text = run_all("x", &[killed], "{}").unwrap_err();
        assert!(text.contains("signal: bad system call"), "{text}");
        let slow = hook("/bin/sleep", &["sleep", "60"], Some(0));
        assert!(run_all("x", &[slow], "{}").unwrap_err().contains("timeout"));
        assert_eq!(run_each("x", &[hook("/no/such", &[], None)], "").len(), 1);
    }
}
