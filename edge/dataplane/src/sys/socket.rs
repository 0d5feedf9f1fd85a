//! Opening the sockets of a worker with the options that they need.

use std::io;
use std::mem;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixDatagram;

use super::address::KernelAddress;
use super::check;

/// Bytes of each socket buffer. The kernel's default costs a quarter of the rate.
const BUFFER: libc::c_int = 8 << 20;

/// What the kernel does with a datagram that is larger than the link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fragmentation {
    /// DF is set and the size is our own business (`IP_PMTUDISC_PROBE`).
    Never,
    /// The kernel fragments.
    Allowed,
}

/// Sets an integer option.
fn set(fd: &OwnedFd, level: i32, name: i32, value: i32) -> io::Result<()> {
    set_value(fd, level, name, &value)
}

fn set_value<T: Copy>(fd: &OwnedFd, level: i32, name: i32, value: &T) -> io::Result<()> {
    let length = libc::socklen_t::try_from(mem::size_of::<T>()).unwrap_or(0);
    let at = std::ptr::from_ref(value).cast();
    // SAFETY: `at` points to `length` readable bytes that live through the call.
    check(unsafe { libc::setsockopt(fd.as_raw_fd(), level, name, at, length) }).map(drop)
}

fn open(family: i32, kind: i32, protocol: i32) -> io::Result<OwnedFd> {
    let flags = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    // SAFETY: `socket` takes no pointers.
    let fd = check(unsafe { libc::socket(family, kind | flags, protocol) })?;
    // SAFETY: the descriptor is fresh and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn bind(fd: &OwnedFd, address: SocketAddr) -> io::Result<()> {
    let address = KernelAddress::from(address);
    let at = (&raw const address.storage).cast();
    // SAFETY: `at` points to an address of the given length that lives through the call.
    check(unsafe { libc::bind(fd.as_raw_fd(), at, address.length) }).map(drop)
}

fn common(fd: &OwnedFd, v4: bool, mark: u32) -> io::Result<()> {
    set(fd, libc::SOL_SOCKET, libc::SO_MARK, mark.cast_signed())?;
    set(fd, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, BUFFER)?;
    set(fd, libc::SOL_SOCKET, libc::SO_SNDBUFFORCE, BUFFER)?;
    if v4 {
        set(fd, libc::IPPROTO_IP, libc::IP_RECVTOS, 1)?;
        set(fd, libc::IPPROTO_IP, libc::IP_RECVERR, 1)
    } else {
        set(fd, libc::IPPROTO_IPV6, libc::IPV6_RECVTCLASS, 1)?;
        set(fd, libc::IPPROTO_IPV6, libc::IPV6_RECVERR, 1)
    }
}

impl Fragmentation {
    /// Makes a socket behave so from now on.
    pub(crate) fn apply(self, fd: &OwnedFd, v4: bool) -> io::Result<()> {
        match (self, v4) {
            (Fragmentation::Never, true) => {
                set(fd, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_PROBE)
            }
            (Fragmentation::Never, false) => {
                set(fd, libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, libc::IPV6_PMTUDISC_PROBE)
            }
            (Fragmentation::Allowed, true) => {
                set(fd, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_DONT)
            }
            (Fragmentation::Allowed, false) => {
                set(fd, libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, libc::IPV6_PMTUDISC_DONT)
            }
        }
    }
}

/// A UDP socket on `local` that shares its port with the other workers' and merges what it
/// receives.
pub(crate) fn udp_socket(
    local: SocketAddr,
    mark: u32,
    fragmentation: Fragmentation,
) -> io::Result<OwnedFd> {
    let family = if local.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    let fd = open(family, libc::SOCK_DGRAM, 0)?;
    set(&fd, libc::SOL_SOCKET, libc::SO_REUSEPORT, 1)?;
    if !local.is_ipv4() {
        set(&fd, libc::IPPROTO_IPV6, libc::IPV6_V6ONLY, 1)?;
    }
    common(&fd, local.is_ipv4(), mark)?;
    fragmentation.apply(&fd, local.is_ipv4())?;
    set(&fd, libc::SOL_UDP, libc::UDP_GRO, 1)?;
    bind(&fd, local)?;
    Ok(fd)
}

/// A raw socket for plain ESP (IP protocol 50) on `local`, which takes the packets whose SPI falls
/// to this worker: every raw socket of a host gets a copy of each packet otherwise.
pub(crate) fn esp_socket(
    local: IpAddr,
    mark: u32,
    worker: u16,
    workers: u16,
) -> io::Result<OwnedFd> {
    let family = if local.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    let fd = open(family, libc::SOCK_RAW, libc::IPPROTO_ESP)?;
    attach(&fd, &spi_filter(local.is_ipv4(), worker, workers))?;
    common(&fd, local.is_ipv4(), mark)?;
    Fragmentation::Never.apply(&fd, local.is_ipv4())?;
    bind(&fd, SocketAddr::new(local, 0))?;
    Ok(fd)
}

fn op(code: u32, k: u32) -> libc::sock_filter {
    branch(code, k, 0, 0)
}

fn branch(code: u32, k: u32, jt: u8, jf: u8) -> libc::sock_filter {
    libc::sock_filter { code: u16::try_from(code).unwrap_or(0), jt, jf, k }
}

/// "SPI modulo workers is this worker", for packets with (v4) or without (v6) an IP header.
fn spi_filter(v4: bool, worker: u16, workers: u16) -> Vec<libc::sock_filter> {
    let load_spi = if v4 {
        vec![
            op(libc::BPF_LDX | libc::BPF_B | libc::BPF_MSH, 0),
            op(libc::BPF_LD | libc::BPF_W | libc::BPF_IND, 0),
        ]
    } else {
        vec![op(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0)]
    };
    let decide = [
        op(libc::BPF_ALU | libc::BPF_MOD | libc::BPF_K, u32::from(workers.max(1))),
        branch(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, u32::from(worker), 0, 1),
        op(libc::BPF_RET | libc::BPF_K, u32::MAX),
        op(libc::BPF_RET | libc::BPF_K, 0),
    ];
    load_spi.into_iter().chain(decide).collect()
}

/// Attaches a classic BPF program.
pub(super) fn attach(fd: &OwnedFd, program: &[libc::sock_filter]) -> io::Result<()> {
    let length = u16::try_from(program.len()).unwrap_or(0);
    // The kernel reads the program only, though the field is a mutable pointer.
    let program = libc::sock_fprog { len: length, filter: program.as_ptr().cast_mut() };
    set_value(fd, libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, &program)
}

/// Holds a name that exists once in a network namespace and vanishes with the process.
pub(crate) fn namespace_lock() -> io::Result<UnixDatagram> {
    use std::os::linux::net::SocketAddrExt;
    let name = std::os::unix::net::SocketAddr::from_abstract_name("vipsec-dataplane")?;
    UnixDatagram::bind_addr(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_as_long_as_their_jumps_say() {
        assert_eq!(spi_filter(true, 0, 2).len(), 6);
        let v6 = spi_filter(false, 1, 2);
        assert_eq!(v6.len(), 5);
        assert_eq!((v6[2].jt, v6[2].jf, v6[2].k), (0, 1, 1));
    }
}
