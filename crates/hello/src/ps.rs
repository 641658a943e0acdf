//! The processes that this pid namespace shows.

use std::io::{self, Write};

use crate::process::command;
use crate::report::read;

/// Prints pid, parent pid and command of every process.
pub(crate) fn print(out: &mut impl Write) -> io::Result<()> {
    let mut pids: Vec<u32> = std::fs::read_dir("/proc")?
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect();
    pids.sort_unstable();
    writeln!(out, "{:>7} {:>7} COMMAND", "PID", "PPID")?;
    for pid in pids {
        // One that ended since the listing is no process any more.
        let Ok(stat) = read(&format!("/proc/{pid}/stat")) else { continue };
        let Some((name, parent)) = name_and_parent(&stat) else { continue };
        let line = read(&format!("/proc/{pid}/cmdline")).map(|text| command(&text));
        let line = line.ok().filter(|line| !line.is_empty()).unwrap_or_else(|| format!("[{name}]"));
        writeln!(out, "{pid:>7} {parent:>7} {line}")?;
    }
    Ok(())
}

/// Takes name and parent out of `PID (NAME) STATE PPID …`; the name may hold blanks and parentheses, proc_pid_stat(5).
fn name_and_parent(stat: &str) -> Option<(&str, u32)> {
    let (start, end) = (stat.find('(')?, stat.rfind(')')?);
    let parent = stat.get(end + 1..)?.split_whitespace().nth(1)?;
    Some((stat.get(start + 1..end)?, parent.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_does_not_confuse() {
        assert_eq!(name_and_parent("7 (a) R 2 (b)) S 42 7 7"), Some(("a) R 2 (b)", 42)));
        assert_eq!(name_and_parent("7 nonsense"), None);
    }

    #[test]
    fn the_own_process_is_listed() {
        let mut out = Vec::new();
        print(&mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        let own = std::process::id().to_string();
        assert!(text.lines().any(|line| line.split_whitespace().next() == Some(&own)), "{text}");
    }
}
