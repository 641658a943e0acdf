//! Network devices: moving one to another network namespace with its addresses (rtnetlink(7)), and the loopback device.

use std::fmt;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use crate::clone::Namespaces;
use crate::namespace::join;
use crate::netlink::{CREATE, EXCLUSIVE, Error, Message, Socket};

const RTM_NEWLINK: u16 = 16;
const RTM_GETLINK: u16 = 18;
const RTM_NEWADDR: u16 = 20;
const RTM_GETADDR: u16 = 22;
const IFLA_IFNAME: u16 = 3;
const IFLA_NET_NS_FD: u16 = 28;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_BROADCAST: u16 = 4;
const IFA_FLAGS: u16 = 8;
const IFA_F_PERMANENT: u32 = 0x80;
const SCOPE_GLOBAL: u8 = 0;
const UP: u32 = 1;

/// `sizeof(struct ifaddrmsg)`
const ADDRESS_HEADER: usize = 8;

/// Why a device could not be moved: the step, and what the kernel said.
#[derive(Debug)]
pub struct DeviceError {
    /// Verb and object.
    pub step: &'static str,
    /// The cause.
    pub source: io::Error,
}

impl fmt::Display for DeviceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.step)
    }
}

impl std::error::Error for DeviceError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

fn failed<E: Into<Cause>>(step: &'static str) -> impl FnOnce(E) -> DeviceError {
    move |cause| DeviceError { step, source: cause.into().0 }
}

/// Both kinds of error that a step may end in.
struct Cause(io::Error);

impl From<io::Error> for Cause {
    fn from(error: io::Error) -> Self {
        Self(error)
    }
}

impl From<rustix::io::Errno> for Cause {
    fn from(errno: rustix::io::Errno) -> Self {
        Self(errno.into())
    }
}

impl From<Error> for Cause {
    fn from(error: Error) -> Self {
        match error.errno() {
            Some(errno) => Self(io::Error::from_raw_os_error(errno)),
            None => Self(io::Error::other(error)),
        }
    }
}

/// An address of a device, as a message that adds it again.
#[derive(Clone, Debug)]
struct Address {
    family: u8,
    prefix: u8,
    attributes: Vec<(u16, Vec<u8>)>,
}

/// A device that was moved to another network namespace; [`Moved::back`] undoes it.
#[derive(Debug)]
pub struct Moved {
    name: String,
    new_name: String,
    was_up: bool,
}

/// Moves the device `name` of this process's network namespace to the namespace `target`, there to be called `new_name`, in one step, so
/// that neither name is ever in the way of the other. Addresses that are permanent and of global scope go along: the kernel itself would
/// drop them. Afterwards the device is up.
///
/// The calling thread visits the namespace for a moment, to open a socket there.
///
/// # Errors
/// The step that failed: there is no such device, the name is taken, the rights are missing.
pub fn move_to(name: &str, new_name: &str, target: BorrowedFd<'_>) -> Result<Moved, DeviceError> {
    let mut here = Socket::open_route().map_err(failed("open a route socket"))?;
    let mut there = socket_in(target)?;
    let was_up = hand_over(&mut here, name, new_name, target, &mut there, true)?;
    Ok(Moved { name: name.to_owned(), new_name: new_name.to_owned(), was_up })
}

impl Moved {
    /// Moves the device back from `target` to this process's network namespace, under the name that it had, up or down as it was.
    ///
    /// # Errors
    /// As for [`move_to`].
    pub fn back(&self, target: BorrowedFd<'_>) -> Result<(), DeviceError> {
        let own = File::open("/proc/thread-self/ns/net");
        let own = own.map_err(failed("open the own namespace"))?;
        let mut from = socket_in(target)?;
        let mut here = Socket::open_route().map_err(failed("open a route socket"))?;
        let (from, here) = (&mut from, &mut here);
        hand_over(from, &self.new_name, &self.name, own.as_fd(), here, self.was_up).map(drop)
    }
}

/// Returns whether the device was up before.
fn hand_over(
    from: &mut Socket,
    name: &str,
    new_name: &str,
    target: BorrowedFd<'_>,
    to: &mut Socket,
    up: bool,
) -> Result<bool, DeviceError> {
    let (index, flags) = link(from, name).map_err(failed("find the device"))?;
    // Before it goes down, which takes the addresses of version 6 away.
    let addresses = addresses(from, index).map_err(failed("list the addresses"))?;
    let mut relocate = Message::new(RTM_NEWLINK, 0, &link_header(index, 0, 0));
    relocate.attr_str(IFLA_IFNAME, new_name).attr_fd(IFLA_NET_NS_FD, target);
    let down = Message::new(RTM_NEWLINK, 0, &link_header(index, 0, UP));
    from.request(&[down]).map_err(failed("set the device down"))?;
    if let Err(error) = from.request(&[relocate]) {
        // It stays here, as it was.
        let again = Message::new(RTM_NEWLINK, 0, &link_header(index, flags & UP, UP));
        let _ = from.request(&[again]);
        return Err(failed("hand the device over")(error));
    }
    let (index, _) = link(to, new_name).map_err(failed("find the device again"))?;
    for address in addresses {
        to.request(&[address.message(index)]).map_err(failed("add an address"))?;
    }
    if up {
        let up = Message::new(RTM_NEWLINK, 0, &link_header(index, UP, UP));
        to.request(&[up]).map_err(failed("set the device up"))?;
    }
    Ok(flags & UP != 0)
}

/// ioctl(2) `SIOCSIFFLAGS`: sets the loopback device of this process's network namespace up, netdevice(7).
///
/// # Errors
/// Those of socket(2) and ioctl(2); `ENODEV` where there is none.
pub fn loopback_up() -> io::Result<()> {
    let kind = rustix::net::SocketType::DGRAM;
    let flags = rustix::net::SocketFlags::CLOEXEC;
    // Any socket of the namespace will do.
    let socket = rustix::net::socket_with(rustix::net::AddressFamily::UNIX, kind, flags, None)?;
    let mut name = [0; libc::IFNAMSIZ];
    for (to, from) in name.iter_mut().zip(b"lo") {
        *to = from.cast_signed();
    }
    // IFF_UP, which has the value of [`UP`].
    let flags = libc::__c_anonymous_ifr_ifru { ifru_flags: 1 };
    let request = libc::ifreq { ifr_name: name, ifr_ifru: flags };
    // SAFETY: `request` is a live ifreq with a terminated name; the kernel reads its name and flags.
    // JUSTIFICATION: neither std nor rustix has the requests of netdevice(7).
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) };
    Ok(crate::clone::check(libc::c_long::from(result)).map(drop)?)
}

fn socket_in(target: BorrowedFd<'_>) -> Result<Socket, DeviceError> {
    let own = OwnedFd::from(
        File::open("/proc/thread-self/ns/net").map_err(failed("open the own namespace"))?,
    );
    join(target, Namespaces::NETWORK).map_err(failed("visit the network namespace"))?;
    let socket = Socket::open_route();
    join(own.as_fd(), Namespaces::NETWORK).map_err(failed("return to the own namespace"))?;
    socket.map_err(failed("open a route socket"))
}

/// `struct ifinfomsg { u8 family; u8 pad; u16 type; i32 index; u32 flags; u32 change; }`
fn link_header(index: i32, flags: u32, change: u32) -> Vec<u8> {
    let mut header = vec![0; 4];
    header.extend(index.to_ne_bytes());
    header.extend(flags.to_ne_bytes());
    header.extend(change.to_ne_bytes());
    header
}

/// The number and the flags of a device.
fn link(socket: &mut Socket, name: &str) -> Result<(i32, u32), Error> {
    let mut question = Message::new(RTM_GETLINK, 0, &link_header(0, 0, 0));
    question.attr_str(IFLA_IFNAME, name);
    let answers = socket.request(&[question])?;
    let link = answers.iter().flatten().find(|answer| answer.kind == RTM_NEWLINK);
    let word = |at: usize| link.and_then(|link| link.payload.get(at..at + 4)?.try_into().ok());
    let index = word(4).map(i32::from_ne_bytes).ok_or(Error::Malformed)?;
    Ok((index, word(8).map(u32::from_ne_bytes).ok_or(Error::Malformed)?))
}

/// The addresses of a device that are worth keeping.
fn addresses(socket: &mut Socket, index: i32) -> Result<Vec<Address>, Error> {
    let question = Message::new(RTM_GETADDR, 0, &[0; ADDRESS_HEADER]);
    let answers = socket.dump(&question)?;
    let kept = answers.iter().filter(|answer| answer.kind == RTM_NEWADDR).filter_map(|answer| {
        // `struct ifaddrmsg { u8 family; u8 prefixlen; u8 flags; u8 scope; u32 index; }`
        let header = answer.payload.get(..ADDRESS_HEADER)?;
        let own = i32::from_ne_bytes(header[4..8].try_into().ok()?) == index;
        let attributes = answer.attrs(ADDRESS_HEADER);
        let flags = attributes.find_u32(IFA_FLAGS).unwrap_or(u32::from(header[2]));
        (own && header[3] == SCOPE_GLOBAL && flags & IFA_F_PERMANENT != 0).then(|| Address {
            family: header[0],
            prefix: header[1],
            attributes: [IFA_LOCAL, IFA_ADDRESS, IFA_BROADCAST]
                .into_iter()
                .filter_map(|kind| Some((kind, attributes.find(kind)?.to_vec())))
                .collect(),
        })
    });
    Ok(kept.collect())
}

impl Address {
    fn message(&self, index: i32) -> Message {
        let mut header = vec![self.family, self.prefix, 0, SCOPE_GLOBAL];
        header.extend(index.to_ne_bytes());
        let mut message = Message::new(RTM_NEWADDR, CREATE | EXCLUSIVE, &header);
        for (kind, payload) in &self.attributes {
            message.attr(*kind, payload);
        }
        message
    }
}
