//! A socket's error queue: what routers on the way said about packets that were too big.

use std::mem;
use std::net::IpAddr;
use std::os::fd::{AsRawFd, OwnedFd};

use super::address::KernelAddress;
use super::batch::ControlMessages;
use super::check_size;

/// Takes one message from the error queue. `None`: the queue is empty. `Some(None)`: it was about
/// something else. `Some(Some((remote, mtu)))`: packets to `remote` may have `mtu` bytes, IP header
/// included.
pub(crate) fn read_path_mtu(socket: &OwnedFd) -> Option<Option<(IpAddr, u16)>> {
    let mut name = KernelAddress::empty();
    let mut payload = [0u8; 64];
    let mut control = [0u64; 64];
    let mut iovec = libc::iovec { iov_base: payload.as_mut_ptr().cast(), iov_len: payload.len() };
    // SAFETY: `msghdr` is plain data; all zeroes means no name, no buffers, no control.
    let mut header: libc::msghdr = unsafe { mem::zeroed() };
    header.msg_name = (&raw mut name.storage).cast();
    header.msg_namelen = name.length;
    header.msg_iov = &raw mut iovec;
    header.msg_iovlen = 1;
    header.msg_control = control.as_mut_ptr().cast();
    header.msg_controllen = mem::size_of_val(&control);
    let flags = libc::MSG_ERRQUEUE | libc::MSG_DONTWAIT;
    // SAFETY: the header points to a name, a buffer and control room on the stack, all alive through
    // the call, with their true lengths.
    check_size(unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut header, flags) }).ok()?;
    let bytes: Vec<u8> = control.iter().flat_map(|word| word.to_ne_bytes()).collect();
    let used = bytes.get(..header.msg_controllen).unwrap_or_default();
    let mtu = ControlMessages(used).find_map(|(level, kind, value)| match (level, kind) {
        (libc::IPPROTO_IP, libc::IP_RECVERR) | (libc::IPPROTO_IPV6, libc::IPV6_RECVERR) => {
            mtu_of(value)
        }
        _ => None,
    });
    Some(mtu.and_then(|mtu| name.get().map(|remote| (remote.ip(), mtu))))
}

/// Reads a `sock_extended_err`: error number in the first four bytes, MTU in the third four.
fn mtu_of(value: &[u8]) -> Option<u16> {
    let number = i32::from_ne_bytes(*value.first_chunk()?);
    let info = u32::from_ne_bytes(*value.get(8..)?.first_chunk()?);
    let mtu = u16::try_from(info).ok().filter(|mtu| *mtu > 0)?;
    (number == libc::EMSGSIZE).then_some(mtu)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_too_big_messages_carry_an_mtu() {
        let mut value = [0u8; 16];
        value[..4].copy_from_slice(&libc::EMSGSIZE.to_ne_bytes());
        value[8..12].copy_from_slice(&1400u32.to_ne_bytes());
        assert_eq!(mtu_of(&value), Some(1400));
        value[..4].copy_from_slice(&libc::ECONNREFUSED.to_ne_bytes());
        assert_eq!(mtu_of(&value), None);
        assert_eq!(mtu_of(&value[..8]), None);
    }
}
