//! What /proc tells of processes and of the host, parsed.
//!
//! A process chooses its name, its arguments and how long they are: names may hold parentheses, spaces and line feeds, and a command
//! line may be a mapped file of any size. So fields are counted from the end of the name, and nothing is read without a bound.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::time::Duration;

#[cfg(test)]
mod tests;

/// Clock ticks per second in /proc: `USER_HZ`, which the kernel's interface fixes on all machines that this program runs on.
pub const TICKS_PER_SECOND: u64 = 100;

/// The longest file of a process that is read. The kernel's own are far shorter.
const LIMIT: u64 = 64 << 10;
/// The longest file about the whole host, which grows with processors and interrupts.
const HOST_LIMIT: u64 = 4 << 20;

/// What /proc/PID/status says; proc_pid_status(5).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// The name, with line feeds and backslashes escaped by the kernel.
    pub name: String,
    /// The process's ids, from the reader's PID namespace to its own. Empty before Linux 4.1.
    pub ns_pids: Vec<u32>,
    /// Real, effective, saved and file system user.
    pub uids: [u32; 4],
    /// Real, effective, saved and file system group.
    pub gids: [u32; 4],
    /// Capabilities.
    pub capabilities: Capabilities,
    /// Whether `no_new_privs` is set.
    pub no_new_privileges: bool,
    /// 0 none, 1 strict, 2 filter.
    pub seccomp: u8,
}

/// The five sets of a process, as bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the sets by their names in capabilities(7)")]
pub struct Capabilities {
    pub inheritable: u64,
    pub permitted: u64,
    pub effective: u64,
    pub bounding: u64,
    pub ambient: u64,
}

/// What /proc/PID/stat says; proc_pid_stat(5).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stat {
    /// The name, at most 15 bytes, of any content.
    pub name: String,
    /// `R`, `S`, `D`, `Z`, `T` and so on.
    pub state: char,
    /// The parent's id; 0 if the parent is outside the reader's PID namespace.
    pub parent: u32,
    /// The controlling terminal; 0 is none.
    pub terminal: Terminal,
    /// Time in user mode, in ticks.
    pub user_ticks: u64,
    /// Time in the kernel, in ticks.
    pub system_ticks: u64,
    /// When it started, in ticks since boot.
    pub start_ticks: u64,
}

/// A terminal's device number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Terminal {
    /// Major number; 0 is no terminal.
    pub major: u32,
    /// Minor number.
    pub minor: u32,
}

/// Processor time of the whole host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HostCpu {
    /// Since boot, of all processors, idle or not, without time stolen by a hypervisor.
    pub total: Duration,
    /// Processors that are on.
    pub online: u32,
}

/// Counters of one network interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the kernel's counters by their names")]
pub struct Interface {
    pub name: String,
    pub rx_bytes: u64,
    pub rx_packets: u64,
    pub rx_errors: u64,
    pub rx_dropped: u64,
    pub tx_bytes: u64,
    pub tx_packets: u64,
    pub tx_errors: u64,
    pub tx_dropped: u64,
}

/// A time of day in the host's time zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocalTime {
    /// With the century.
    pub year: i32,
    /// 0 is January.
    pub month: usize,
    /// Day of the month from 1.
    pub day: u8,
    /// Day of the year from 0.
    pub day_of_year: u16,
    /// From 0 to 23.
    pub hour: u8,
    /// From 0 to 59.
    pub minute: u8,
}

impl Status {
    /// Reads it.
    ///
    /// # Errors
    /// `NotFound`: no such process. `InvalidData`.
    pub fn of(pid: u32) -> io::Result<Self> {
        let text = read(&format!("/proc/{pid}/status"), LIMIT)?;
        Self::parse(&String::from_utf8_lossy(&text)).ok_or_else(invalid)
    }

    /// Reads the text of the file; none if a line is missing that every kernel writes.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let field = |key: &str| {
            text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':').map(str::trim))
        };
        let bits = |key| field(key).and_then(|text| u64::from_str_radix(text, 16).ok());
        Some(Self {
            name: field("Name")?.to_owned(),
            ns_pids: field("NSpid").map(numbers).unwrap_or_default(),
            uids: numbers(field("Uid")?).try_into().ok()?,
            gids: numbers(field("Gid")?).try_into().ok()?,
            capabilities: Capabilities {
                inheritable: bits("CapInh")?,
                permitted: bits("CapPrm")?,
                effective: bits("CapEff")?,
                bounding: bits("CapBnd")?,
                ambient: bits("CapAmb").unwrap_or(0),
            },
            no_new_privileges: field("NoNewPrivs") == Some("1"),
            seccomp: field("Seccomp").and_then(|text| text.parse().ok()).unwrap_or(0),
        })
    }
}

impl Stat {
    /// Reads it.
    ///
    /// # Errors
    /// `NotFound`: no such process. `InvalidData`.
    pub fn of(pid: u32) -> io::Result<Self> {
        Self::parse(&read(&format!("/proc/{pid}/stat"), LIMIT)?).ok_or_else(invalid)
    }

    /// Reads the text of the file. The second field is the name in parentheses and may itself hold both parentheses and spaces, so it
    /// ends at the last one.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        let open = text.iter().position(|byte| *byte == b'(')?;
        let close = text.iter().rposition(|byte| *byte == b')')?;
        let name = String::from_utf8_lossy(text.get(open + 1..close)?).into_owned();
        let rest = std::str::from_utf8(&text[close + 1..]).ok()?;
        // The first of these is the third field of the manual page.
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
        Some(Self {
            name,
            state: fields.first()?.chars().next()?,
            parent: fields.get(1)?.parse().ok()?,
            // A signed number: the kernel prints device numbers from 0x80000000 on as negative.
            terminal: Terminal::decode(fields.get(4)?.parse::<i32>().ok()?.cast_unsigned()),
            user_ticks: number(14)?,
            system_ticks: number(15)?,
            start_ticks: number(22)?,
        })
    }
}

impl Terminal {
    /// Takes the kernel's packed number apart: bits 31-20 and 7-0 are the minor number, bits 19-8 the major.
    fn decode(device: u32) -> Self {
        Self { major: device >> 8 & 0xfff, minor: device & 0xff | device >> 12 & 0xf_ff00 }
    }

    /// The name beneath /dev, `?` if there is none, as `ps` shows it.
    #[must_use]
    pub fn name(self) -> String {
        match (self.major, self.minor) {
            (4, minor @ ..64) => format!("tty{minor}"),
            (4, minor) => format!("ttyS{}", minor - 64),
            (5, 1) => "console".to_owned(),
            (major @ 136..=143, minor) => format!("pts/{}", (major - 136) * 256 + minor),
            (204, minor @ 64..) => format!("ttyAMA{}", minor - 64),
            (229, minor) => format!("hvc{minor}"),
            _ => "?".to_owned(),
        }
    }
}

/// Finds the mount points of the file systems of the given types in the text of /proc/PID/mountinfo, in its order.
#[must_use]
pub fn mounts_of(mountinfo: &[u8], types: &[&str]) -> Vec<PathBuf> {
    let lines = mountinfo.split(|byte| *byte == b'\n');
    lines.filter_map(|line| mount_point(line, types)).collect()
}

fn mount_point(line: &[u8], types: &[&str]) -> Option<PathBuf> {
    let mut fields = line.split(|byte| *byte == b' ');
    let place = fields.nth(4)?;
    let kind = fields.skip_while(|field| *field != b"-").nth(1)?;
    let wanted = types.iter().any(|wanted| wanted.as_bytes() == kind);
    wanted.then(|| PathBuf::from(OsString::from_vec(unescape(place))))
}

/// Space, tab, line feed and backslash stand as three octal digits there.
fn unescape(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        let digits = after.get(..3).filter(|_| *first == b'\\');
        let code = digits.and_then(|digits| std::str::from_utf8(digits).ok());
        match code.and_then(|code| u8::from_str_radix(code, 8).ok()) {
            Some(byte) => {
                out.push(byte);
                rest = &after[3..];
            }
            None => {
                out.push(*first);
                rest = after;
            }
        }
    }
    out
}

/// Returns the arguments of a process, at most 64 KiB of them; empty for a kernel thread and a zombie.
///
/// # Errors
/// `NotFound`: no such process.
pub fn command_line(pid: u32) -> io::Result<Vec<String>> {
    Ok(parse_command_line(&read(&format!("/proc/{pid}/cmdline"), LIMIT)?))
}

/// Splits at zero bytes. A process that wrote its own title has often no zero at the end, or many.
fn parse_command_line(bytes: &[u8]) -> Vec<String> {
    let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |at| at + 1);
    if end == 0 {
        return Vec::new();
    }
    bytes[..end].split(|byte| *byte == 0).map(|arg| String::from_utf8_lossy(arg).into()).collect()
}

/// Returns the host's processor time.
///
/// # Errors
/// Those of reading /proc/stat; `InvalidData`.
pub fn host_cpu() -> io::Result<HostCpu> {
    let text = read("/proc/stat", HOST_LIMIT)?;
    parse_host_cpu(&String::from_utf8_lossy(&text)).ok_or_else(invalid)
}

/// Adds up user, nice, system, idle, iowait, irq and softirq, as Docker does: what clients divide by.
fn parse_host_cpu(text: &str) -> Option<HostCpu> {
    let mut lines = text.lines();
    let all = lines.next()?.strip_prefix("cpu ")?;
    let ticks: u64 =
        all.split_ascii_whitespace().take(7).filter_map(|word| word.parse::<u64>().ok()).sum();
    let online = lines.take_while(|line| line.starts_with("cpu")).count();
    Some(HostCpu { total: ticks_to_time(ticks), online: u32::try_from(online).ok()? })
}

/// Turns clock ticks into time.
#[must_use]
pub fn ticks_to_time(ticks: u64) -> Duration {
    Duration::from_nanos(ticks.saturating_mul(1_000_000_000 / TICKS_PER_SECOND))
}

/// Returns the host's memory in bytes.
///
/// # Errors
/// Those of reading /proc/meminfo; `InvalidData`.
pub fn memory_total_bytes() -> io::Result<u64> {
    let text = read("/proc/meminfo", LIMIT)?;
    parse_memory_total(&String::from_utf8_lossy(&text)).ok_or_else(invalid)
}

fn parse_memory_total(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// Returns the time since boot, in which start times of processes are counted.
///
/// # Errors
/// Those of reading /proc/uptime; `InvalidData`.
pub fn uptime() -> io::Result<Duration> {
    let text = read("/proc/uptime", LIMIT)?;
    let text = String::from_utf8_lossy(&text);
    let seconds = text.split_ascii_whitespace().next().and_then(|word| word.parse::<f64>().ok());
    seconds.and_then(|s| Duration::try_from_secs_f64(s).ok()).ok_or_else(invalid)
}

/// Returns the interfaces of a process's network namespace, the loopback among them.
///
/// # Errors
/// `NotFound`: no such process.
pub fn interfaces(pid: u32) -> io::Result<Vec<Interface>> {
    let text = read(&format!("/proc/{pid}/net/dev"), HOST_LIMIT)?;
    Ok(parse_interfaces(&String::from_utf8_lossy(&text)))
}

/// Two lines of titles, then a line for each: `eth0: 8 numbers received, 8 numbers sent`.
fn parse_interfaces(text: &str) -> Vec<Interface> {
    let one = |line: &str| {
        let (name, rest) = line.rsplit_once(':')?;
        let values: Vec<u64> =
            rest.split_ascii_whitespace().map_while(|word| word.parse().ok()).collect();
        let [
            rx_bytes,
            rx_packets,
            rx_errors,
            rx_dropped,
            _,
            _,
            _,
            _,
            tx_bytes,
            tx_packets,
            tx_errors,
            tx_dropped,
            ..,
        ] = values[..]
        else {
            return None;
        };
        Some(Interface {
            name: name.trim().to_owned(),
            rx_bytes,
            rx_packets,
            rx_errors,
            rx_dropped,
            tx_bytes,
            tx_packets,
            tx_errors,
            tx_dropped,
        })
    };
    text.lines().skip(2).filter_map(one).collect()
}

/// `localtime_r(seconds)`: a moment in the host's time zone; none far outside of any calendar.
#[must_use]
pub fn local_time(unix_seconds: i64) -> Option<LocalTime> {
    let seconds: libc::time_t = unix_seconds;
    let mut parts = MaybeUninit::<libc::tm>::uninit();
    // SAFETY: `localtime_r` reads one time_t and writes one tm, for which the two are; it answers null if it wrote nothing.
    // JUSTIFICATION: std knows no time zones.
    if unsafe { libc::localtime_r(&raw const seconds, parts.as_mut_ptr()) }.is_null() {
        return None;
    }
    // SAFETY: the call above succeeded, so it has written all of it.
    // JUSTIFICATION: as above.
    let parts = unsafe { parts.assume_init() };
    Some(LocalTime {
        year: parts.tm_year + 1900,
        month: usize::try_from(parts.tm_mon).ok()?,
        day: u8::try_from(parts.tm_mday).ok()?,
        day_of_year: u16::try_from(parts.tm_yday).ok()?,
        hour: u8::try_from(parts.tm_hour).ok()?,
        minute: u8::try_from(parts.tm_min).ok()?,
    })
}

fn read(path: &str, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(limit).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn numbers(text: &str) -> Vec<u32> {
    text.split_ascii_whitespace().map_while(|word| word.parse().ok()).collect()
}

fn invalid() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "not what the kernel writes")
}
