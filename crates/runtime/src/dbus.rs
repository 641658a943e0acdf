//! As much of D-Bus as it takes to ask systemd for a scope: method calls with a few types of argument, their replies, and one signal.
//!
//! ```text
//! message   'l', type, flags, 1 | body length, serial, header length: u32 | header fields a(yv) | pad to 8 | body
//! string    length: u32, bytes, NUL        variant  signature: length u8, bytes, NUL; value
//! array     bytes of elements: u32, pad to the element's alignment, elements      struct  pad to 8, members
//! ```
//! Numbers are little-endian and aligned to their size from the beginning of the message (D-Bus specification 0.43, "Marshaling").

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

/// systemd's own socket, which root may use without a bus.
const PRIVATE: &str = "/run/systemd/private";
/// The system bus.
const SYSTEM_BUS: &str = "/run/dbus/system_bus_socket";

const SYSTEMD: &str = "org.freedesktop.systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";
const MANAGER_PATH: &str = "/org/freedesktop/systemd1";
const BUS: &str = "org.freedesktop.DBus";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";

/// How long systemd may take for an answer or a job.
const PATIENCE: Duration = Duration::from_secs(30);

/// The longest message that is read: a job's signal has a few hundred bytes.
const MESSAGE_MAX: usize = 1 << 20;

const METHOD_CALL: u8 = 1;
const METHOD_RETURN: u8 = 2;
const ERROR: u8 = 3;
const SIGNAL: u8 = 4;

/// A value of a property.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    /// `s`
    Text(String),
    /// `b`
    Bool(bool),
    /// `t`
    Number(u64),
    /// `au`
    Numbers(Vec<u32>),
    /// `ay`
    Bytes(Vec<u8>),
    /// `as`
    Texts(Vec<String>),
    /// `a(ss)`
    Pairs(Vec<(String, String)>),
    /// `d`, as its bits.
    Double(u64),
    /// `y`, `n`, `q`, `i`, `u` or `x`.
    Small { kind: char, number: i64 },
}

/// A property of a unit.
pub(crate) type Property = (Cow<'static, str>, Value);

/// Makes a property.
pub(crate) fn property(name: impl Into<Cow<'static, str>>, value: Value) -> Property {
    (name.into(), value)
}

/// Tells whether the systemd meant is that of a user: one who is not root, or is it only in a user namespace.
pub(crate) fn is_users() -> bool {
    !rustix::process::geteuid().is_root() || outer_uid().is_some_and(|uid| uid != 0)
}

/// The uid that others see: inside a user namespace not the own.
fn outer_uid() -> Option<u32> {
    let map = std::fs::read_to_string("/proc/self/uid_map").ok()?;
    let own = rustix::process::geteuid().as_raw();
    map.lines().find_map(|line| {
        let mut numbers = line.split_whitespace().map(str::parse::<u32>);
        let (inside, outside, count) =
            (numbers.next()?.ok()?, numbers.next()?.ok()?, numbers.next()?.ok()?);
        let offset = own.checked_sub(inside).filter(|offset| *offset < count)?;
        outside.checked_add(offset)
    })
}

/// The sockets on which systemd may be reached, each with whether it is systemd's own, without a bus between.
fn sockets() -> Vec<(PathBuf, bool)> {
    if !is_users() {
        return vec![(PRIVATE.into(), true), (SYSTEM_BUS.into(), false)];
    }
    let directory = std::env::var_os("XDG_RUNTIME_DIR").map_or_else(
        || PathBuf::from(format!("/run/user/{}", outer_uid().unwrap_or_default())),
        PathBuf::from,
    );
    let mut list = vec![(directory.join("systemd/private"), true)];
    let bus = std::env::var("DBUS_SESSION_BUS_ADDRESS").ok();
    let bus = bus.as_deref().and_then(|address| address.strip_prefix("unix:path="));
    list.extend(
        bus.and_then(|rest| rest.split([',', ';']).next()).map(|path| (path.into(), false)),
    );
    list.push((directory.join("bus"), false));
    list
}

/// Builds a body or a header.
#[derive(Debug, Default)]
struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    fn align(&mut self, size: usize) {
        self.bytes.resize(self.bytes.len().next_multiple_of(size), 0);
    }

    fn u32(&mut self, value: u32) {
        self.align(4);
        self.bytes.extend(value.to_le_bytes());
    }

    fn length(&mut self, value: usize) {
        self.u32(u32::try_from(value).unwrap_or(u32::MAX));
    }

    fn text(&mut self, value: &str) {
        self.length(value.len());
        self.bytes.extend(value.as_bytes());
        self.bytes.push(0);
    }

    fn signature(&mut self, value: &str) {
        self.bytes.push(u8::try_from(value.len()).unwrap_or(u8::MAX));
        self.bytes.extend(value.as_bytes());
        self.bytes.push(0);
    }

    /// An array whose elements are aligned to `size`: its length counts from the first element.
    fn array(&mut self, size: usize, elements: impl FnOnce(&mut Self)) {
        self.u32(0);
        let place = self.bytes.len() - 4;
        self.align(size);
        let start = self.bytes.len();
        elements(self);
        let length = u32::try_from(self.bytes.len() - start).unwrap_or(u32::MAX);
        self.bytes[place..place + 4].copy_from_slice(&length.to_le_bytes());
    }

    fn variant(&mut self, value: &Value) {
        match value {
            Value::Text(text) => {
                self.signature("s");
                self.text(text);
            }
            Value::Bool(on) => {
                self.signature("b");
                self.u32(u32::from(*on));
            }
            Value::Number(number) => {
                self.signature("t");
                self.align(8);
                self.bytes.extend(number.to_le_bytes());
            }
            Value::Numbers(numbers) => {
                self.signature("au");
                self.array(4, |w| numbers.iter().for_each(|number| w.u32(*number)));
            }
            Value::Bytes(bytes) => {
                self.signature("ay");
                self.array(1, |w| w.bytes.extend(bytes));
            }
            Value::Texts(texts) => {
                self.signature("as");
                self.array(4, |w| texts.iter().for_each(|text| w.text(text)));
            }
            Value::Pairs(pairs) => {
                self.signature("a(ss)");
                self.array(8, |w| {
                    for (one, other) in pairs {
                        w.align(8);
                        w.text(one);
                        w.text(other);
                    }
                });
            }
            Value::Double(bits) => {
                self.signature("d");
                self.align(8);
                self.bytes.extend(bits.to_le_bytes());
            }
            Value::Small { kind, number } => {
                self.signature(kind.encode_utf8(&mut [0; 4]));
                let size = match kind {
                    'y' => 1,
                    'n' | 'q' => 2,
                    'x' => 8,
                    _ => 4,
                };
                self.align(size);
                self.bytes.extend(&number.to_le_bytes()[..size]);
            }
        }
    }

    fn properties(&mut self, list: &[Property]) {
        self.array(8, |w| {
            for (name, value) in list {
                w.align(8);
                w.text(name);
                w.variant(value);
            }
        });
    }

    /// A header field: an object path or a signature is named by its type.
    fn field(&mut self, code: u8, kind: &str, value: &str) {
        self.align(8);
        self.bytes.push(code);
        self.signature(kind);
        if kind == "g" { self.signature(value) } else { self.text(value) }
    }
}

/// Reads what a message holds; beyond its end there is nothing.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn align(&mut self, size: usize) {
        self.at = self.at.next_multiple_of(size);
    }

    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let part = self.bytes.get(self.at..self.at.checked_add(count)?)?;
        self.at += count;
        Some(part)
    }

    fn u8(&mut self) -> Option<u8> {
        self.take(1).map(|bytes| bytes[0])
    }

    fn u32(&mut self) -> Option<u32> {
        self.align(4);
        self.take(4)?.try_into().ok().map(u32::from_le_bytes)
    }

    fn text(&mut self) -> Option<&'a str> {
        let length = self.u32()? as usize;
        let text = self.take(length)?;
        self.take(1)?;
        std::str::from_utf8(text).ok()
    }

    fn signature(&mut self) -> Option<&'a str> {
        let length = self.u8()? as usize;
        let text = self.take(length)?;
        self.take(1)?;
        std::str::from_utf8(text).ok()
    }
}

/// A message that has come, as far as it matters.
#[derive(Debug, Default, PartialEq, Eq)]
struct Incoming {
    kind: u8,
    reply_to: u32,
    member: String,
    error: String,
    body: Vec<u8>,
}

impl Incoming {
    fn parse(fixed: [u8; 16], rest: &[u8], body: Vec<u8>) -> Option<Self> {
        let mut message = Self { kind: fixed[1], body, ..Self::default() };
        // The header's array begins at byte 16, which is aligned like 0.
        let mut reader = Reader { bytes: rest, at: 0 };
        let end = u32::from_le_bytes(fixed[12..].try_into().ok()?) as usize;
        while reader.at < end {
            reader.align(8);
            if reader.at >= end {
                break;
            }
            let code = reader.u8()?;
            match (code, reader.signature()?) {
                (3, "s") => reader.text()?.clone_into(&mut message.member),
                (4, "s") => reader.text()?.clone_into(&mut message.error),
                (5, "u") => message.reply_to = reader.u32()?,
                (_, "s" | "o") => drop(reader.text()?),
                (_, "g") => drop(reader.signature()?),
                (_, "u") => drop(reader.u32()?),
                _ => return None,
            }
        }
        Some(message)
    }

    /// The texts of the body, where it holds nothing else but leading numbers.
    fn texts(&self, numbers: usize) -> Vec<&str> {
        let mut reader = Reader { bytes: &self.body, at: numbers * 4 };
        std::iter::from_fn(|| reader.text()).collect()
    }
}

/// A line to systemd's manager.
#[derive(Debug)]
pub(crate) struct Systemd {
    stream: UnixStream,
    serial: u32,
    /// What came while a reply was waited for: a job can be done before its number is known.
    early: Vec<Incoming>,
}

/// What systemd answered.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BusError {
    /// There is no systemd, or it does not speak.
    #[error("speak with systemd")]
    Io(#[source] io::Error),
    /// It refused: its own name for the error, and its words.
    #[error("{name}: {text}")]
    Refused { name: String, text: String },
    /// The job ended, but not well.
    #[error("the job of unit `{unit}` ended with {result:?}")]
    Job { unit: String, result: String },
}

impl BusError {
    /// Tells whether there is no such unit.
    pub(crate) fn is_no_such_unit(&self) -> bool {
        matches!(self, Self::Refused { name, .. } if name.ends_with(".NoSuchUnit"))
    }
}

fn invalid(text: &str) -> BusError {
    BusError::Io(io::Error::new(io::ErrorKind::InvalidData, text))
}

impl Systemd {
    /// Connects, by systemd's own socket or else by the bus.
    pub(crate) fn connect() -> Result<Self, BusError> {
        let mut failure = io::Error::from(io::ErrorKind::NotFound);
        let found = sockets().into_iter().find_map(|(path, direct)| {
            UnixStream::connect(path).map_err(|error| failure = error).ok().zip(Some(direct))
        });
        let Some((stream, direct)) = found else { return Err(BusError::Io(failure)) };
        stream.set_read_timeout(Some(PATIENCE)).map_err(BusError::Io)?;
        let mut systemd = Self { stream, serial: 0, early: Vec::new() };
        systemd.authenticate().map_err(BusError::Io)?;
        if !direct {
            systemd.call(BUS, "/org/freedesktop/DBus", BUS, "Hello", "", Writer::default())?;
        }
        // Without it a bus gets no signals of jobs.
        systemd.manager("Subscribe", "", Writer::default())?;
        Ok(systemd)
    }

    /// SASL `EXTERNAL`: the kernel tells who this is. `BEGIN` goes with it and the first message only after the answer: systemd reads
    /// all that has come while it authenticates, and would let a message behind `BEGIN` lie until more comes.
    fn authenticate(&mut self) -> io::Result<()> {
        let own = rustix::process::geteuid().as_raw();
        let uid = outer_uid().unwrap_or(own).to_string();
        let hex: String = uid.bytes().map(|byte| format!("{byte:02x}")).collect();
        self.stream.write_all(format!("\0AUTH EXTERNAL {hex}\r\nBEGIN\r\n").as_bytes())?;
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") && line.len() < 512 {
            let mut byte = [0];
            self.stream.read_exact(&mut byte)?;
            line.push(byte[0]);
        }
        if !line.starts_with(b"OK ") {
            let text = String::from_utf8_lossy(&line).trim().to_owned();
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, text));
        }
        Ok(())
    }

    fn manager(
        &mut self,
        method: &str,
        signature: &str,
        body: Writer,
    ) -> Result<Incoming, BusError> {
        self.call(SYSTEMD, MANAGER_PATH, MANAGER, method, signature, body)
    }

    fn call(
        &mut self,
        destination: &str,
        path: &str,
        interface: &str,
        method: &str,
        signature: &str,
        body: Writer,
    ) -> Result<Incoming, BusError> {
        self.serial += 1;
        let mut message = Writer::default();
        message.bytes.extend([b'l', METHOD_CALL, 0, 1]);
        message.length(body.bytes.len());
        message.u32(self.serial);
        message.array(8, |w| {
            w.field(1, "o", path);
            w.field(2, "s", interface);
            w.field(3, "s", method);
            w.field(6, "s", destination);
            if !signature.is_empty() {
                w.field(8, "g", signature);
            }
        });
        message.align(8);
        message.bytes.extend(body.bytes);
        self.stream.write_all(&message.bytes).map_err(BusError::Io)?;
        loop {
            let incoming = self.receive()?;
            match incoming.kind {
                METHOD_RETURN if incoming.reply_to == self.serial => return Ok(incoming),
                ERROR if incoming.reply_to == self.serial => {
                    let text = incoming.texts(0).first().copied().unwrap_or_default().to_owned();
                    return Err(BusError::Refused { name: incoming.error, text });
                }
                SIGNAL => self.early.push(incoming),
                _ => {}
            }
        }
    }

    fn receive(&mut self) -> Result<Incoming, BusError> {
        let mut fixed = [0u8; 16];
        self.stream.read_exact(&mut fixed).map_err(BusError::Io)?;
        let number = |at: usize| {
            let bytes = fixed[at..at + 4].try_into().expect("four bytes of sixteen");
            u32::from_le_bytes(bytes) as usize
        };
        let (body, header) = (number(4), number(12));
        if fixed[0] != b'l' || body > MESSAGE_MAX || header > MESSAGE_MAX {
            return Err(invalid("a message that is not understood"));
        }
        let mut rest = vec![0u8; header.next_multiple_of(8)];
        self.stream.read_exact(&mut rest).map_err(BusError::Io)?;
        let mut bytes = vec![0u8; body];
        self.stream.read_exact(&mut bytes).map_err(BusError::Io)?;
        Incoming::parse(fixed, &rest, bytes).ok_or_else(|| invalid("a damaged message"))
    }

    /// Waits for the signal that a job has ended: `JobRemoved(u id, o job, s unit, s result)`.
    fn wait_for_job(&mut self, reply: &Incoming) -> Result<(), BusError> {
        let job = reply.texts(0).first().copied().unwrap_or_default().to_owned();
        let mut early = std::mem::take(&mut self.early).into_iter();
        loop {
            let signal = match early.next() {
                Some(signal) => signal,
                None => self.receive()?,
            };
            if signal.kind != SIGNAL || signal.member != "JobRemoved" {
                continue;
            }
            match signal.texts(1)[..] {
                [path, _, "done"] if path == job => return Ok(()),
                [path, unit, result] if path == job => {
                    return Err(BusError::Job { unit: unit.into(), result: result.into() });
                }
                _ => {}
            }
        }
    }

    /// `StartTransientUnit`, until the unit is active. A failed unit of that name, which stands for nothing any more, is forgotten.
    pub(crate) fn start(&mut self, unit: &str, properties: &[Property]) -> Result<(), BusError> {
        match self.start_once(unit, properties) {
            Err(BusError::Refused { name, .. }) if name.ends_with(".UnitExists") => {
                self.forget(unit)?;
                self.start_once(unit, properties)
            }
            other => other,
        }
    }

    fn start_once(&mut self, unit: &str, properties: &[Property]) -> Result<(), BusError> {
        let mut body = Writer::default();
        body.text(unit);
        body.text("fail");
        body.properties(properties);
        body.array(8, |_| {});
        let reply = self.manager("StartTransientUnit", "ssa(sv)a(sa(sv))", body)?;
        self.wait_for_job(&reply)
    }

    /// `ResetFailedUnit`; a unit that is not there is forgotten already.
    fn forget(&mut self, unit: &str) -> Result<(), BusError> {
        let mut body = Writer::default();
        body.text(unit);
        match self.manager("ResetFailedUnit", "s", body) {
            Err(error) if !error.is_no_such_unit() => Err(error),
            _ => Ok(()),
        }
    }

    /// A property of systemd itself that is a text.
    fn own(&mut self, name: &str) -> Result<String, BusError> {
        let mut body = Writer::default();
        body.text(MANAGER);
        body.text(name);
        let reply = self.call(SYSTEMD, MANAGER_PATH, PROPERTIES, "Get", "ss", body)?;
        let mut reader = Reader { bytes: &reply.body, at: 0 };
        match reader.signature() {
            Some("s") => reader.text().map(str::to_owned),
            _ => None,
        }
        .ok_or_else(|| invalid("a property that is not a text"))
    }

    /// The group beneath which all units are; empty for the root.
    pub(crate) fn group(&mut self) -> Result<String, BusError> {
        self.own("ControlGroup")
    }

    /// Tells whether a weight of zero is known (systemd 252).
    pub(crate) fn knows_idle(&mut self) -> bool {
        let version = self.own("Version").unwrap_or_default();
        let digits = version.trim_start_matches('v');
        let end = digits.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(digits.len());
        digits[..end].parse().is_ok_and(|number: u32| number >= 252)
    }

    /// `StopUnit`, until it has stopped, and `ResetFailedUnit`, so that nothing of it is left.
    pub(crate) fn stop(&mut self, unit: &str) -> Result<(), BusError> {
        let mut body = Writer::default();
        body.text(unit);
        body.text("replace");
        let stopped = match self.manager("StopUnit", "ss", body) {
            Ok(reply) => self.wait_for_job(&reply),
            Err(error) => Err(error),
        };
        // The job can be overtaken by the unit's own end.
        match stopped {
            Err(error) if error.is_no_such_unit() => return Ok(()),
            Err(BusError::Job { .. }) | Ok(()) => {}
            Err(error) => return Err(error),
        }
        self.forget(unit)
    }

    /// `AttachProcessesToUnit`: systemd moves a process where its owner may not.
    pub(crate) fn attach(&mut self, unit: &str, pid: u32) -> Result<(), BusError> {
        let mut body = Writer::default();
        body.text(unit);
        body.text("");
        body.array(4, |w| w.u32(pid));
        self.manager("AttachProcessesToUnit", "ssau", body).map(drop)
    }

    /// `SetUnitProperties`, until the next reboot.
    pub(crate) fn set(&mut self, unit: &str, properties: &[Property]) -> Result<(), BusError> {
        let mut body = Writer::default();
        body.text(unit);
        body.u32(1);
        body.properties(properties);
        self.manager("SetUnitProperties", "sba(sv)", body).map(drop)
    }
}
