//! Netlink: messages, attributes, and sockets for `NETLINK_ROUTE` and `NETLINK_NETFILTER` (netlink(7)).
//!
//! ```text
//! message = nlmsghdr { len u32, type u16, flags u16, seq u32, pid u32 }, a header of the type, attributes; padded to 4
//! attribute = nlattr { len u16, type u16 }, payload (bytes, or attributes when nested); padded to 4
//! answer to a request = messages with its seq, then NLMSG_ERROR with errno 0; or NLMSG_ERROR with a negative errno
//! nf_tables batch = NFNL_MSG_BATCH_BEGIN, messages, NFNL_MSG_BATCH_END: all or nothing
//! ```
//! A socket belongs to the network namespace that its opener's thread was in, whoever uses it later.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::net::{
    AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, recv, sendto,
    socket_with, sockopt,
};

/// `NLM_F_REQUEST`; every message sent has it.
const REQUEST: u16 = 0x1;
/// `NLM_F_ACK`
const ACK: u16 = 0x4;
/// `NLM_F_DUMP`
const DUMP: u16 = 0x300;
/// `NLM_F_DUMP_INTR`: the dump is inconsistent, something changed meanwhile.
const DUMP_INTERRUPTED: u16 = 0x10;
/// `NLM_F_CREATE`: make the object when it does not exist.
pub const CREATE: u16 = 0x400;
/// `NLM_F_EXCL`: fail when it does.
pub const EXCLUSIVE: u16 = 0x200;
/// `NLM_F_APPEND`: add after the others.
pub const APPEND: u16 = 0x800;

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLMSG_MIN_TYPE: u16 = 0x10;
const NLM_F_CAPPED: u16 = 0x100;
const NLM_F_ACK_TLVS: u16 = 0x200;
const NLMSGERR_ATTR_MSG: u16 = 1;
const NLA_F_NESTED: u16 = 0x8000;
const NLA_TYPE_MASK: u16 = 0x3fff;

const NFNL_MSG_BATCH_BEGIN: u16 = 0x10;
const NFNL_MSG_BATCH_END: u16 = 0x11;
const NFNL_BATCH_GENID: u16 = 1;

const HEADER_LEN: usize = 16;
/// The largest piece of a dump that the kernel hands out at once.
const RECEIVE_LEN: usize = 32 * 1024;
/// Room for a whole ruleset in one batch; the default of 208 KiB is too little for thousands of ports.
const BATCH_SEND_BUFFER: usize = 8 << 20;
const DUMP_ATTEMPTS: usize = 5;

/// Why a netlink request failed.
#[derive(Debug)]
pub enum Error {
    /// The socket failed.
    Socket(io::Error),
    /// The kernel refused a message.
    Refused {
        /// The errno, positive.
        errno: i32,
        /// The kernel's own words, when it gave any (extended ack).
        text: Option<String>,
        /// Which message of the request it was, from 0.
        index: usize,
    },
    /// The kernel's answer is not a netlink message.
    Malformed,
}

impl Error {
    /// Returns the errno behind the failure, if it has one.
    #[must_use]
    pub fn errno(&self) -> Option<i32> {
        match self {
            Self::Socket(error) => error.raw_os_error(),
            Self::Refused { errno, .. } => Some(*errno),
            Self::Malformed => None,
        }
    }

    /// Tells whether the failure has this errno.
    #[must_use]
    pub fn is(&self, errno: rustix::io::Errno) -> bool {
        self.errno() == Some(errno.raw_os_error())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(_) => f.write_str("use the netlink socket"),
            Self::Refused { errno, text, .. } => {
                write!(f, "{}", io::Error::from_raw_os_error(*errno))?;
                text.as_ref().map_or(Ok(()), |text| write!(f, ": {text}"))
            }
            Self::Malformed => f.write_str("malformed netlink answer"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Socket(source) => Some(source),
            _ => None,
        }
    }
}

impl From<rustix::io::Errno> for Error {
    fn from(errno: rustix::io::Errno) -> Self {
        Self::Socket(errno.into())
    }
}

/// A message being built.
#[derive(Clone, Debug)]
pub struct Message {
    bytes: Vec<u8>,
    overflow: bool,
}

impl Message {
    /// Starts a message: its type, flags beside `NLM_F_REQUEST`, and the fixed header that the type has (`ifinfomsg`, `nfgenmsg`, …).
    #[must_use]
    pub fn new(kind: u16, flags: u16, header: &[u8]) -> Self {
        let mut bytes = Vec::with_capacity(256);
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(&kind.to_ne_bytes());
        bytes.extend_from_slice(&(flags | REQUEST).to_ne_bytes());
        bytes.extend_from_slice(&[0; 8]);
        bytes.extend_from_slice(header);
        let mut message = Self { bytes, overflow: false };
        message.pad();
        message
    }

    /// Adds fixed bytes that an attribute's payload starts with (the `ifinfomsg` of a veth peer).
    pub fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.bytes.extend_from_slice(bytes);
        self.pad();
        self
    }

    /// Adds an attribute.
    pub fn attr(&mut self, kind: u16, payload: &[u8]) -> &mut Self {
        self.attr_with(kind, |message| message.bytes.extend_from_slice(payload))
    }

    /// Adds an attribute of one byte.
    pub fn attr_u8(&mut self, kind: u16, value: u8) -> &mut Self {
        self.attr(kind, &[value])
    }

    /// Adds an attribute of four bytes in the machine's order, as rtnetlink has them.
    pub fn attr_u32(&mut self, kind: u16, value: u32) -> &mut Self {
        self.attr(kind, &value.to_ne_bytes())
    }

    /// Adds an attribute of four bytes in network order, as nf_tables has them.
    pub fn attr_be32(&mut self, kind: u16, value: u32) -> &mut Self {
        self.attr(kind, &value.to_be_bytes())
    }

    /// Adds a NUL-terminated string.
    pub fn attr_str(&mut self, kind: u16, text: &str) -> &mut Self {
        self.attr_with(kind, |message| {
            message.bytes.extend_from_slice(text.as_bytes());
            message.bytes.push(0);
        })
    }

    /// Adds an attribute that names a descriptor of this process, such as `IFLA_NET_NS_FD`.
    pub fn attr_fd(&mut self, kind: u16, fd: impl AsFd) -> &mut Self {
        self.attr(kind, &fd.as_fd().as_raw_fd().to_ne_bytes())
    }

    /// Adds an attribute made of attributes.
    pub fn nest(&mut self, kind: u16, fill: impl FnOnce(&mut Self)) -> &mut Self {
        self.attr_with(kind | NLA_F_NESTED, fill)
    }

    fn attr_with(&mut self, kind: u16, fill: impl FnOnce(&mut Self)) -> &mut Self {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 2]);
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        fill(self);
        let len = u16::try_from(self.bytes.len() - start);
        self.overflow |= len.is_err();
        self.bytes[start..start + 2].copy_from_slice(&len.unwrap_or(4).to_ne_bytes());
        self.pad();
        self
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    /// Writes the finished message to `out` under a sequence number.
    fn finish(&self, extra_flags: u16, seq: u32, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&self.bytes);
        let len = u32::try_from(self.bytes.len()).unwrap_or(u32::MAX);
        let flags = read_u16(&self.bytes, 6).unwrap_or(0) | extra_flags;
        out[start..start + 4].copy_from_slice(&len.to_ne_bytes());
        out[start + 6..start + 8].copy_from_slice(&flags.to_ne_bytes());
        out[start + 8..start + 12].copy_from_slice(&seq.to_ne_bytes());
    }
}

/// One message of the kernel's answer: its type and what follows the `nlmsghdr`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The message type.
    pub kind: u16,
    /// The type's header and attributes.
    pub payload: Vec<u8>,
}

impl Answer {
    /// Returns the attributes after a fixed header of `header_len` bytes.
    #[must_use]
    pub fn attrs(&self, header_len: usize) -> Attrs<'_> {
        attrs(self.payload.get(header_len.next_multiple_of(4)..).unwrap_or(&[]))
    }
}

/// Walks over attributes; stops at the first malformed one.
#[must_use]
pub fn attrs(bytes: &[u8]) -> Attrs<'_> {
    Attrs { rest: bytes }
}

/// Iterator of [`attrs`]: type without its flag bits, payload.
#[derive(Clone, Debug)]
pub struct Attrs<'a> {
    rest: &'a [u8],
}

impl<'a> Attrs<'a> {
    /// Returns the payload of the first attribute of a type.
    #[must_use]
    pub fn find(&self, kind: u16) -> Option<&'a [u8]> {
        self.clone().find_map(|(found, payload)| (found == kind).then_some(payload))
    }

    /// Returns an attribute's value in the machine's order.
    #[must_use]
    pub fn find_u32(&self, kind: u16) -> Option<u32> {
        read_u32(self.find(kind)?, 0)
    }

    /// Returns an attribute's value in network order.
    #[must_use]
    pub fn find_be32(&self, kind: u16) -> Option<u32> {
        self.find_u32(kind).map(u32::from_be)
    }

    /// Returns an attribute's text without its terminating NUL.
    #[must_use]
    pub fn find_str(&self, kind: u16) -> Option<&'a str> {
        let bytes = self.find(kind)?;
        let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
        std::str::from_utf8(&bytes[..end]).ok()
    }
}

impl<'a> Iterator for Attrs<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let len = usize::from(read_u16(self.rest, 0)?);
        let kind = read_u16(self.rest, 2)? & NLA_TYPE_MASK;
        let payload = self.rest.get(4..len)?;
        self.rest = self.rest.get(len.next_multiple_of(4)..).unwrap_or(&[]);
        Some((kind, payload))
    }
}

fn read_u16(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn read_u32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

/// A received message before it is sorted to its request.
struct Received<'a> {
    kind: u16,
    flags: u16,
    seq: u32,
    payload: &'a [u8],
}

/// Takes the next message off `bytes`.
fn split_message<'a>(bytes: &mut &'a [u8]) -> Result<Received<'a>, Error> {
    let len = read_u32(bytes, 0).ok_or(Error::Malformed)? as usize;
    let payload = bytes.get(HEADER_LEN..len).ok_or(Error::Malformed)?;
    let received = Received {
        kind: read_u16(bytes, 4).ok_or(Error::Malformed)?,
        flags: read_u16(bytes, 6).ok_or(Error::Malformed)?,
        seq: read_u32(bytes, 8).ok_or(Error::Malformed)?,
        payload,
    };
    *bytes = bytes.get(len.next_multiple_of(4)..).unwrap_or(&[]);
    Ok(received)
}

/// Reads an `NLMSG_ERROR` (or the errno of an `NLMSG_DONE`): `Ok` for errno 0.
fn acknowledgement(received: &Received<'_>, index: usize) -> Result<(), Error> {
    let errno = read_u32(received.payload, 0).ok_or(Error::Malformed)?.cast_signed();
    if errno == 0 {
        return Ok(());
    }
    Err(Error::Refused { errno: errno.saturating_neg(), text: extended_text(received), index })
}

/// Reads the kernel's words from the attributes of an extended ack.
fn extended_text(received: &Received<'_>) -> Option<String> {
    if received.kind != NLMSG_ERROR || received.flags & NLM_F_ACK_TLVS == 0 {
        return None;
    }
    // struct nlmsgerr: the errno, then the header of the refused message, with its payload unless capped.
    let inner = if received.flags & NLM_F_CAPPED != 0 {
        HEADER_LEN
    } else {
        read_u32(received.payload, 4)? as usize
    };
    let rest = received.payload.get(4 + inner.next_multiple_of(4)..)?;
    attrs(rest).find_str(NLMSGERR_ATTR_MSG).map(str::to_owned)
}

/// A netlink socket.
#[derive(Debug)]
pub struct Socket {
    fd: OwnedFd,
    seq: u32,
    buffer: Vec<u8>,
}

impl Socket {
    /// `socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE)`: links, addresses, routes of the calling thread's namespace.
    ///
    /// # Errors
    /// The kernel has no netlink or the process no descriptors left.
    pub fn open_route() -> io::Result<Self> {
        // Protocol 0 is NETLINK_ROUTE.
        Self::open(None)
    }

    /// `socket(AF_NETLINK, SOCK_RAW, NETLINK_NETFILTER)`: nf_tables and connection tracking of the calling thread's namespace.
    ///
    /// # Errors
    /// As [`Socket::open_route`]; `EPROTONOSUPPORT` when the kernel has no netfilter.
    pub fn open_netfilter() -> io::Result<Self> {
        let socket = Self::open(Some(netlink::NETFILTER))?;
        // Needs CAP_NET_ADMIN, as everything that follows; a refusal shows later as EMSGSIZE of a huge batch.
        let _ = sockopt::set_socket_send_buffer_size_force(&socket.fd, BATCH_SEND_BUFFER);
        Ok(socket)
    }

    fn open(protocol: Option<Protocol>) -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC;
        let fd = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, protocol)?;
        enable(&fd, libc::NETLINK_EXT_ACK);
        enable(&fd, libc::NETLINK_CAP_ACK);
        Ok(Self { fd, seq: 0, buffer: vec![0; RECEIVE_LEN] })
    }

    /// Sends requests in one go and returns the answers to each. The kernel works on all of them in order, also after one that
    /// it refuses; the error is the first one's.
    ///
    /// # Errors
    /// The first refusal; the socket's failure.
    pub fn request(&mut self, messages: &[Message]) -> Result<Vec<Vec<Answer>>, Error> {
        let first = self.send(messages, ACK)?;
        let mut answers: Vec<Vec<Answer>> = vec![Vec::new(); messages.len()];
        let mut refusal = None;
        let mut open = messages.len();
        while open > 0 {
            let count = self.receive(RecvFlags::empty())?;
            let mut bytes = &self.buffer[..count];
            while !bytes.is_empty() {
                let received = split_message(&mut bytes)?;
                let index = received.seq.wrapping_sub(first) as usize;
                let Some(answer) = answers.get_mut(index) else { continue };
                if received.kind == NLMSG_ERROR {
                    open -= 1;
                    let result = acknowledgement(&received, index);
                    refusal = refusal.or(result.err());
                } else {
                    answer.push(Answer { kind: received.kind, payload: received.payload.to_vec() });
                }
            }
        }
        refusal.map_or(Ok(answers), Err)
    }

    /// Asks for every object of a kind. A dump that the kernel marks as interrupted by a change is repeated.
    ///
    /// # Errors
    /// The kernel's refusal; the socket's failure.
    pub fn dump(&mut self, message: &Message) -> Result<Vec<Answer>, Error> {
        let mut answers = Vec::new();
        for _ in 0..DUMP_ATTEMPTS {
            answers.clear();
            if self.dump_once(message, &mut answers)? {
                break;
            }
        }
        Ok(answers)
    }

    /// Returns whether the dump is consistent.
    fn dump_once(&mut self, message: &Message, answers: &mut Vec<Answer>) -> Result<bool, Error> {
        let seq = self.send(std::slice::from_ref(message), DUMP)?;
        let mut consistent = true;
        loop {
            let count = self.receive(RecvFlags::empty())?;
            let mut bytes = &self.buffer[..count];
            while !bytes.is_empty() {
                let received = split_message(&mut bytes)?;
                if received.seq != seq {
                    continue;
                }
                consistent &= received.flags & DUMP_INTERRUPTED == 0;
                match received.kind {
                    NLMSG_DONE | NLMSG_ERROR => {
                        return acknowledgement(&received, 0).map(|()| consistent);
                    }
                    kind if kind >= NLMSG_MIN_TYPE => {
                        answers.push(Answer { kind, payload: received.payload.to_vec() });
                    }
                    _ => {}
                }
            }
        }
    }

    /// Applies a netfilter batch: all messages or none. With `generation` the kernel refuses it (`ERESTART`) when somebody has
    /// changed the ruleset since that generation.
    ///
    /// # Errors
    /// The first refusal; the socket's failure.
    pub fn batch(
        &mut self,
        subsystem: u8,
        generation: Option<u32>,
        messages: &[Message],
    ) -> Result<(), Error> {
        // struct nfgenmsg: family AF_UNSPEC, version 0, the subsystem in network order.
        let header = [0, 0, 0, subsystem];
        let mut begin = Message::new(NFNL_MSG_BATCH_BEGIN, 0, &header);
        if let Some(generation) = generation {
            begin.attr_be32(NFNL_BATCH_GENID, generation);
        }
        let end = Message::new(NFNL_MSG_BATCH_END, 0, &header);
        let mut all = Vec::with_capacity(messages.len() + 2);
        all.push(begin);
        all.extend_from_slice(messages);
        all.push(end);
        let first = self.send(&all, 0)?;
        self.drain_batch(first)
    }

    /// Reads the errors of a batch. The kernel has worked it off inside `sendto`, so that whatever it says is there already.
    fn drain_batch(&mut self, first: u32) -> Result<(), Error> {
        let mut refusal = None;
        loop {
            let count = match self.receive(RecvFlags::DONTWAIT) {
                Ok(count) => count,
                Err(error) if error.is(rustix::io::Errno::AGAIN) => break,
                Err(error) => return Err(error),
            };
            let mut bytes = &self.buffer[..count];
            while !bytes.is_empty() {
                let received = split_message(&mut bytes)?;
                if received.kind == NLMSG_ERROR {
                    let index = received.seq.wrapping_sub(first).saturating_sub(1) as usize;
                    refusal = refusal.or(acknowledgement(&received, index).err());
                }
            }
        }
        refusal.map_or(Ok(()), Err)
    }

    /// Sends messages as one datagram and returns the first one's sequence number.
    fn send(&mut self, messages: &[Message], flags: u16) -> Result<u32, Error> {
        if messages.iter().any(|message| message.overflow) {
            return Err(rustix::io::Errno::MSGSIZE.into());
        }
        let first = self.seq.wrapping_add(1);
        let mut out = Vec::with_capacity(messages.iter().map(|m| m.bytes.len()).sum());
        for message in messages {
            self.seq = self.seq.wrapping_add(1);
            message.finish(flags, self.seq, &mut out);
        }
        let kernel = netlink::SocketAddrNetlink::new(0, 0);
        loop {
            match sendto(&self.fd, &out, SendFlags::empty(), &kernel) {
                Err(rustix::io::Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
                Ok(_) => return Ok(first),
            }
        }
    }

    fn receive(&mut self, flags: RecvFlags) -> Result<usize, Error> {
        loop {
            match recv(&self.fd, self.buffer.as_mut_slice(), flags | RecvFlags::TRUNC) {
                Err(rustix::io::Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
                Ok((_, count)) if count > self.buffer.len() => return Err(Error::Malformed),
                Ok((_, 0)) => return Err(Error::Malformed),
                Ok((_, count)) => return Ok(count),
            }
        }
    }
}

/// `setsockopt(fd, SOL_NETLINK, option, 1)`. Kernels before 4.12 do not know the two options used: errors then have no words.
fn enable(fd: &OwnedFd, option: libc::c_int) {
    let one: libc::c_int = 1;
    let len = size_of::<libc::c_int>() as libc::socklen_t;
    let value = std::ptr::from_ref(&one).cast();
    // SAFETY: fd is open for the call (borrowed from an OwnedFd); value points to a live c_int of exactly `len` bytes, which the
    // kernel only reads.
    // JUSTIFICATION: neither std nor rustix wraps SOL_NETLINK options.
    let _ = unsafe { libc::setsockopt(fd.as_raw_fd(), libc::SOL_NETLINK, option, value, len) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_nest_and_pad() {
        let mut message = Message::new(16, CREATE, &[9; 4]);
        message.attr_str(3, "ab").nest(18, |inner| {
            inner.attr_u8(1, 7).attr_be32(2, 0x0102_0304);
        });
        let mut out = Vec::new();
        message.finish(ACK, 42, &mut out);
        let mut rest = out.as_slice();
        let received = split_message(&mut rest).unwrap();
        assert!(rest.is_empty());
        assert_eq!((received.kind, received.flags, received.seq), (16, REQUEST | CREATE | ACK, 42));
        let answer = Answer { kind: 16, payload: received.payload.to_vec() };
        let attributes = answer.attrs(4);
        assert_eq!(attributes.find_str(3), Some("ab"));
        let inner = attrs(attributes.find(18).unwrap());
        assert_eq!(inner.find(1), Some(&[7u8][..]));
        assert_eq!(inner.find_be32(2), Some(0x0102_0304));
        // 4 header, 4+3→8 string, 4 + (4+1→8) + 8 nest
        assert_eq!(answer.payload.len(), 4 + 8 + 20);
    }

    #[test]
    fn too_long_an_attribute_is_refused_before_it_is_sent() {
        let mut message = Message::new(16, 0, &[0; 4]);
        message.attr(1, &vec![0; 70_000]);
        let error = Socket::open_route().unwrap().request(&[message]).unwrap_err();
        assert!(error.is(rustix::io::Errno::MSGSIZE), "{error:?}");
    }

    #[test]
    fn malformed_answers_are_errors_not_panics() {
        for bytes in [&[][..], &[1, 0][..], &[200, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0][..]]
        {
            let mut rest = bytes;
            assert!(split_message(&mut rest).is_err(), "{bytes:?}");
        }
        // An attribute that claims more than there is, or less than its own header, ends the walk.
        assert_eq!(attrs(&[9, 0, 1, 0, 1]).count(), 0);
        assert_eq!(attrs(&[0, 0, 1, 0]).count(), 0);
    }

    #[test]
    fn a_dump_lists_loopback() {
        let mut socket = Socket::open_route().unwrap();
        // RTM_GETLINK with an empty ifinfomsg; IFLA_IFNAME is 3.
        let links = socket.dump(&Message::new(18, 0, &[0; 16])).unwrap();
        assert!(links.iter().any(|link| link.attrs(16).find_str(3) == Some("lo")), "{links:?}");
    }

    #[test]
    fn refusals_carry_errno_index_and_the_kernels_words() {
        let mut socket = Socket::open_route().unwrap();
        let mut known = Message::new(18, 0, &[0; 16]);
        known.attr_str(3, "lo");
        let mut unknown = Message::new(18, 0, &[0; 16]);
        unknown.attr_str(3, "no-such-link");
        let error = socket.request(&[known.clone(), unknown]).unwrap_err();
        assert!(matches!(error, Error::Refused { errno: libc::ENODEV, index: 1, .. }), "{error:?}");
        // The socket is in step afterwards.
        let answers = socket.request(&[known]).unwrap();
        assert_eq!(answers[0][0].attrs(16).find_str(3), Some("lo"));
        // An attribute of the wrong length: the kernel says so in words.
        let mut short = Message::new(18, 0, &[0; 16]);
        short.attr(29, &[0]);
        let error = socket.request(&[short]).unwrap_err();
        assert!(matches!(&error, Error::Refused { text: Some(_), .. }), "{error:?}");
        assert!(error.to_string().contains("(os error"), "{error}");
    }
}
