//! Values of flags: numbers, sizes, durations, and Docker's words for what is none of them.

use types::container::Ulimit;

/// Go's `strconv.ParseInt`.
pub(crate) fn int(text: &str) -> Result<i64, String> {
    text.parse().map_err(|error| go_number("ParseInt", text, &error))
}

/// Go's `strconv.ParseUint` with 16 bits.
pub(crate) fn uint16(text: &str) -> Result<u16, String> {
    text.parse().map_err(|error| go_number("ParseUint", text, &error))
}

fn go_number(function: &str, text: &str, error: &std::num::ParseIntError) -> String {
    use std::num::IntErrorKind::{NegOverflow, PosOverflow};
    let reason = match error.kind() {
        PosOverflow | NegOverflow => "value out of range",
        _ => "invalid syntax",
    };
    format!("strconv.{function}: parsing \"{text}\": {reason}")
}

/// go-units' `RAMInBytes`: `64m`, `1.5g`, `10 KiB`.
pub(crate) fn bytes(text: &str) -> Result<i64, String> {
    let bad = || format!("invalid size: '{text}'");
    let end = text.rfind(|c: char| c.is_ascii_digit() || c == '.' || c == ' ').ok_or_else(bad)?;
    let (number, suffix) = text.split_at(end + 1);
    let number = number.strip_suffix(' ').unwrap_or(number);
    let size: f64 = number
        .parse()
        .map_err(|_| format!("strconv.ParseFloat: parsing \"{number}\": invalid syntax"))?;
    if size < 0.0 {
        return Err(bad());
    }
    let factor =
        size_factor(&suffix.to_lowercase()).ok_or_else(|| format!("invalid suffix: '{suffix}'"))?;
    #[expect(
        clippy::cast_possible_truncation,
        reason = "sizes are below 2^53 in practice, as in go-units"
    )]
    Ok((size * factor) as i64)
}

fn size_factor(suffix: &str) -> Option<f64> {
    let mut letters = suffix.chars();
    let power = match letters.next() {
        None => return Some(1.0),
        Some('b') => return suffix.eq("b").then_some(1.0),
        Some('k') => 1,
        Some('m') => 2,
        Some('g') => 3,
        Some('t') => 4,
        Some('p') => 5,
        Some(_) => return None,
    };
    matches!(letters.as_str(), "" | "b" | "ib").then(|| 1024_f64.powi(power))
}

/// A size, or `-1` for no limit.
pub(crate) fn swap_bytes(text: &str) -> Result<i64, String> {
    if text == "-1" { Ok(-1) } else { bytes(text) }
}

/// A decimal number of CPUs in billionths.
pub(crate) fn cpus(text: &str) -> Result<i64, String> {
    let bad = || format!("failed to parse {text} as a rational number");
    if let Some((over, under)) = text.split_once('/') {
        let (over, under): (i128, i128) =
            (over.parse().map_err(|_| bad())?, under.parse().map_err(|_| bad())?);
        let scaled = over * 1_000_000_000;
        if under == 0 {
            return Err(bad());
        }
        if scaled % under != 0 {
            return Err("value is too precise".into());
        }
        return i64::try_from(scaled / under).map_err(|_| bad());
    }
    let (negative, digits) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let is_number = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    if !is_number(whole) || !is_number(fraction) || (whole.is_empty() && fraction.is_empty()) {
        return Err(bad());
    }
    let fraction = fraction.trim_end_matches('0');
    if fraction.len() > 9 {
        return Err("value is too precise".into());
    }
    let nanos: i64 = format!("{whole}{fraction:0<9}").parse().map_err(|_| bad())?;
    Ok(if negative { -nanos } else { nanos })
}

/// A Go duration in nanoseconds.
pub(crate) fn duration(text: &str) -> Result<i64, String> {
    if text == "0" {
        return Ok(0);
    }
    api::time::go_duration(text).and_then(|nanos| i64::try_from(nanos).ok()).ok_or_else(|| {
        let digits = text.trim_start_matches(['-', '+']);
        if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
            format!("time: missing unit in duration \"{text}\"")
        } else {
            format!("time: invalid duration \"{text}\"")
        }
    })
}

/// `STDIN`, `STDOUT` or `STDERR` in any case.
pub(crate) fn stream(text: &str) -> Result<String, String> {
    let name = text.to_lowercase();
    if ["stdin", "stdout", "stderr"].contains(&name.as_str()) {
        Ok(name)
    } else {
        Err("valid streams are STDIN, STDOUT and STDERR".into())
    }
}

/// `host:ip` or `host=ip`; `host-gateway` stands for the host.
pub(crate) fn add_host(text: &str) -> Result<String, String> {
    let bad = || format!("bad format for add-host: \"{text}\"");
    let (host, address) = text.split_once(['=', ':']).ok_or_else(bad)?;
    if host.is_empty() {
        return Err(bad());
    }
    let bare = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(address);
    if bare != "host-gateway" && bare.parse::<std::net::IpAddr>().is_err() {
        return Err(format!("invalid IP address in add-host: \"{address}\""));
    }
    Ok(format!("{host}:{bare}"))
}

/// An address of a name server.
pub(crate) fn ip(text: &str) -> Result<String, String> {
    match text.trim().parse::<std::net::IpAddr>() {
        Ok(address) => Ok(address.to_string()),
        Err(_) => Err(format!("IP address is not correctly formatted: {text}")),
    }
}

/// A search domain, or `.` for none.
pub(crate) fn dns_search(text: &str) -> Result<String, String> {
    let name = text.trim();
    let part = |part: &str| {
        !part.is_empty()
            && part.len() <= 63
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            && part.as_bytes()[0].is_ascii_alphanumeric()
    };
    if name == "." || (name.len() <= 255 && name.trim_end_matches('.').split('.').all(part)) {
        Ok(name.to_owned())
    } else {
        Err(format!("{text} is not a valid domain"))
    }
}

/// `NAME=value`, or `NAME` for the client's own value; a name that the client does not have removes the image's.
pub(crate) fn env(text: &str) -> Result<String, String> {
    match text.split_once('=') {
        Some(("", _)) => Err(format!("invalid environment variable: {text}")),
        Some(_) => Ok(text.to_owned()),
        None if text.is_empty() => Err("invalid environment variable: ".into()),
        None => {
            Ok(std::env::var(text)
                .map_or_else(|_| text.to_owned(), |value| format!("{text}={value}")))
        }
    }
}

/// `key` or `key=value`.
pub(crate) fn label(text: &str) -> Result<String, String> {
    if text.is_empty() || text.starts_with('=') {
        return Err(format!("invalid label '{text}': empty name"));
    }
    Ok(text.to_owned())
}

/// A namespaced kernel parameter.
pub(crate) fn sysctl(text: &str) -> Result<(String, String), String> {
    const ALLOWED: [&str; 8] = [
        "kernel.msgmax",
        "kernel.msgmnb",
        "kernel.msgmni",
        "kernel.sem",
        "kernel.shmall",
        "kernel.shmmax",
        "kernel.shmmni",
        "kernel.shm_rmid_forced",
    ];
    let refused = || format!("sysctl '{text}' is not allowed");
    let (name, value) = text.split_once('=').ok_or_else(refused)?;
    if ALLOWED.contains(&name) || name.starts_with("net.") || name.starts_with("fs.mqueue.") {
        Ok((name.to_owned(), value.to_owned()))
    } else {
        Err(refused())
    }
}

const ULIMITS: [&str; 16] = [
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
    "as",
];

/// `name=soft[:hard]`.
pub(crate) fn ulimit(text: &str) -> Result<Ulimit, String> {
    let (name, limits) =
        text.split_once('=').ok_or_else(|| format!("invalid ulimit argument: {text}"))?;
    if !ULIMITS.contains(&name) {
        return Err(format!("invalid ulimit type: {name}"));
    }
    let mut parts = limits.split(':');
    let soft = int(parts.next().unwrap_or_default())?;
    let hard = parts.next().map(int).transpose()?;
    if parts.next().is_some() {
        return Err(format!(
            "too many limit value arguments - {limits}, can only have up to two, `soft[:hard]`"
        ));
    }
    let hard = hard.unwrap_or(soft);
    if hard != -1 && (soft > hard || soft == -1) {
        return Err(format!(
            "ulimit soft limit must be less than or equal to hard limit: {soft} > {hard}"
        ));
    }
    Ok(Ulimit { name: name.to_owned(), hard, soft })
}
