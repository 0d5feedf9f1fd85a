//! Socket addresses in the kernel's form and back.

use std::mem;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

/// A socket address as the kernel reads and writes it.
#[derive(Clone, Copy)]
pub(super) struct KernelAddress {
    pub(super) storage: libc::sockaddr_storage,
    pub(super) length: libc::socklen_t,
}

#[expect(clippy::cast_possible_truncation, reason = "sizes and families of the kernel's own types")]
const FULL: libc::socklen_t = mem::size_of::<libc::sockaddr_storage>() as libc::socklen_t;
#[expect(clippy::cast_possible_truncation, reason = "sizes and families of the kernel's own types")]
const LENGTH_4: libc::socklen_t = mem::size_of::<libc::sockaddr_in>() as libc::socklen_t;
#[expect(clippy::cast_possible_truncation, reason = "sizes and families of the kernel's own types")]
const LENGTH_6: libc::socklen_t = mem::size_of::<libc::sockaddr_in6>() as libc::socklen_t;
#[expect(clippy::cast_possible_truncation, reason = "sizes and families of the kernel's own types")]
const INET: libc::sa_family_t = libc::AF_INET as libc::sa_family_t;
#[expect(clippy::cast_possible_truncation, reason = "sizes and families of the kernel's own types")]
const INET6: libc::sa_family_t = libc::AF_INET6 as libc::sa_family_t;

impl KernelAddress {
    /// Room for the kernel to write an address into.
    pub(super) fn empty() -> KernelAddress {
        // SAFETY: `sockaddr_storage` is plain data for which all zeroes is a valid value.
        KernelAddress { storage: unsafe { mem::zeroed() }, length: FULL }
    }

    /// The address that the kernel wrote; `None` when it is of another family.
    pub(super) fn get(&self) -> Option<SocketAddr> {
        let at = std::ptr::from_ref(&self.storage);
        match self.storage.ss_family {
            INET => {
                // SAFETY: the family says that a `sockaddr_in` is stored here; the storage is large
                // enough and aligned for every address type.
                let v4 = unsafe { &*at.cast::<libc::sockaddr_in>() };
                let ip = Ipv4Addr::from(u32::from_be(v4.sin_addr.s_addr));
                Some(SocketAddrV4::new(ip, u16::from_be(v4.sin_port)).into())
            }
            INET6 => {
                // SAFETY: as above, with a `sockaddr_in6`.
                let v6 = unsafe { &*at.cast::<libc::sockaddr_in6>() };
                let ip = Ipv6Addr::from(v6.sin6_addr.s6_addr);
                let port = u16::from_be(v6.sin6_port);
                Some(SocketAddrV6::new(ip, port, 0, v6.sin6_scope_id).into())
            }
            _ => None,
        }
    }
}

impl From<SocketAddr> for KernelAddress {
    fn from(address: SocketAddr) -> KernelAddress {
        let mut kernel = KernelAddress::empty();
        let at = std::ptr::from_mut(&mut kernel.storage);
        match address {
            SocketAddr::V4(v4) => {
                // SAFETY: the storage is large enough and aligned for every address type, and all
                // zeroes is a valid `sockaddr_in`.
                let to = unsafe { &mut *at.cast::<libc::sockaddr_in>() };
                to.sin_family = INET;
                to.sin_port = v4.port().to_be();
                to.sin_addr.s_addr = u32::from(*v4.ip()).to_be();
                kernel.length = LENGTH_4;
            }
            SocketAddr::V6(v6) => {
                // SAFETY: as above, with a `sockaddr_in6`.
                let to = unsafe { &mut *at.cast::<libc::sockaddr_in6>() };
                to.sin6_family = INET6;
                to.sin6_port = v6.port().to_be();
                to.sin6_addr.s6_addr = v6.ip().octets();
                to.sin6_scope_id = v6.scope_id();
                kernel.length = LENGTH_6;
            }
        }
        kernel
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_survive_the_way_to_the_kernel_and_back() {
        for text in ["192.0.2.10:4500", "[2001:db8::10]:500", "0.0.0.0:0"] {
            let address: SocketAddr = text.parse().expect("address");
            assert_eq!(KernelAddress::from(address).get(), Some(address));
        }
        assert_eq!(KernelAddress::empty().get(), None);
    }
}
