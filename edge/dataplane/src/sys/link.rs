//! Packet sockets for ARP and neighbour discovery on one interface.

use std::io;
use std::mem;
use std::net::Ipv6Addr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use super::socket::attach;
use super::{check, check_size};

/// A packet socket on one interface for one Ethernet protocol, link header included.
pub(crate) struct LinkSocket(OwnedFd);

const ARP: u16 = 0x0806;
const IPV6: u16 = 0x86dd;

impl LinkSocket {
    /// Takes every ARP packet on the interface.
    pub(crate) fn arp(interface: u32) -> io::Result<LinkSocket> {
        LinkSocket::open(interface, ARP, &[])
    }

    /// Takes every neighbour solicitation on the interface: IPv6 with ICMPv6 of type 135 right
    /// behind the header. A filter in the kernel keeps all other traffic from waking us.
    pub(crate) fn neighbour_solicitation(interface: u32) -> io::Result<LinkSocket> {
        let load = libc::BPF_LD | libc::BPF_B | libc::BPF_ABS;
        let equal = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
        let give = libc::BPF_RET | libc::BPF_K;
        let op = |code: u32, jf: u8, k: u32| libc::sock_filter {
            code: u16::try_from(code).unwrap_or(0),
            jt: 0,
            jf,
            k,
        };
        let filter = [
            op(load, 0, 14 + 6),
            op(equal, 3, 58),
            op(load, 0, 14 + 40),
            op(equal, 1, 135),
            op(give, 0, u32::MAX),
            op(give, 0, 0),
        ];
        LinkSocket::open(interface, IPV6, &filter)
    }

    /// The filter stands before the socket is bound to its protocol, so nothing slips through.
    fn open(interface: u32, protocol: u16, filter: &[libc::sock_filter]) -> io::Result<LinkSocket> {
        let kind = libc::SOCK_RAW | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
        // SAFETY: `socket` takes no pointers.
        let fd = check(unsafe { libc::socket(libc::AF_PACKET, kind, 0) })?;
        // SAFETY: the descriptor is fresh and nobody else owns it.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        if !filter.is_empty() {
            attach(&fd, filter)?;
        }
        // SAFETY: `sockaddr_ll` is plain data for which all zeroes is a valid value.
        let mut address: libc::sockaddr_ll = unsafe { mem::zeroed() };
        address.sll_family = u16::try_from(libc::AF_PACKET).unwrap_or(0);
        address.sll_protocol = protocol.to_be();
        address.sll_ifindex = interface.cast_signed();
        let length = u32::try_from(mem::size_of_val(&address)).unwrap_or(0);
        let at = (&raw const address).cast();
        // SAFETY: `at` points to an address of the given length that lives through the call.
        check(unsafe { libc::bind(fd.as_raw_fd(), at, length) })?;
        Ok(LinkSocket(fd))
    }

    /// Takes one frame that came from outside, without blocking: the number of its bytes, or `None`
    /// for one that this host sent itself.
    pub(crate) fn receive(&self, frame: &mut [u8]) -> io::Result<Option<usize>> {
        // SAFETY: `sockaddr_ll` is plain data for which all zeroes is a valid value.
        let mut from: libc::sockaddr_ll = unsafe { mem::zeroed() };
        let mut length = u32::try_from(mem::size_of_val(&from)).unwrap_or(0);
        let (at, room) = (frame.as_mut_ptr().cast(), frame.len());
        let name = (&raw mut from).cast();
        // SAFETY: the kernel writes at most `room` bytes into the frame and `length` bytes into
        // `from`; both live through the call.
        let count = check_size(unsafe {
            libc::recvfrom(self.0.as_raw_fd(), at, room, libc::MSG_DONTWAIT, name, &raw mut length)
        })?;
        Ok((from.sll_pkttype != libc::PACKET_OUTGOING).then_some(count))
    }

    /// Sends one frame, link header included.
    pub(crate) fn send(&self, frame: &[u8]) -> io::Result<()> {
        let (at, length) = (frame.as_ptr().cast(), frame.len());
        let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
        // SAFETY: the kernel reads `length` bytes of the frame, which has as many.
        check_size(unsafe { libc::send(self.0.as_raw_fd(), at, length, flags) }).map(drop)
    }
}

impl AsRawFd for LinkSocket {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

/// Membership in the solicited-node groups of addresses that stand on no interface, so that network
/// cards and switches deliver the solicitations (RFC 4291 section 2.7.1).
pub(crate) struct SolicitedGroup(OwnedFd);

impl SolicitedGroup {
    /// A member of no group yet.
    pub(crate) fn new() -> io::Result<SolicitedGroup> {
        let kind = libc::SOCK_DGRAM | libc::SOCK_CLOEXEC;
        // SAFETY: `socket` takes no pointers.
        let fd = check(unsafe { libc::socket(libc::AF_INET6, kind, 0) })?;
        // SAFETY: the descriptor is fresh and nobody else owns it.
        Ok(SolicitedGroup(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Joins the group of `target` on an interface. No harm if it is joined already.
    pub(crate) fn join(&self, interface: u32, target: Ipv6Addr) -> io::Result<()> {
        let [.., a, b, c] = target.octets();
        let group = [0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, a, b, c];
        let request = libc::ipv6_mreq {
            ipv6mr_multiaddr: libc::in6_addr { s6_addr: group },
            ipv6mr_interface: interface,
        };
        let length = u32::try_from(mem::size_of_val(&request)).unwrap_or(0);
        let at = (&raw const request).cast();
        let (level, name) = (libc::IPPROTO_IPV6, libc::IPV6_ADD_MEMBERSHIP);
        // SAFETY: `at` points to `length` readable bytes that live through the call.
        match check(unsafe { libc::setsockopt(self.0.as_raw_fd(), level, name, at, length) }) {
            Err(e) if e.raw_os_error() == Some(libc::EADDRINUSE) => Ok(()),
            other => other.map(drop),
        }
    }
}
