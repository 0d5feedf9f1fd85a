//! Many datagrams in one system call, each possibly a train of equal-sized ones (UDP GRO and GSO).

use std::io;
use std::mem;
use std::net::SocketAddr;
use std::ops::Range;
use std::os::fd::{AsRawFd, OwnedFd};

use super::address::KernelAddress;
use super::check;

/// Datagrams taken by one receive call.
const RECEIVE: usize = 32;
/// Bytes of room for each: the largest that the kernel merges.
const ROOM: usize = 1 << 16;
/// Bytes from one room to the next. Not a power of two: small datagrams, of which only the starts of
/// the rooms are used, would all fall on the same lines of the processor's cache.
const STRIDE: usize = ROOM + 33 * 64;
/// Datagrams given to one send call.
const SEND: usize = 64;

/// Room for control messages of one datagram, aligned as the kernel wants it.
#[derive(Clone, Copy)]
#[repr(align(8))]
pub(super) struct Control([u8; 64]);

/// One received datagram, or a train of them.
#[derive(Debug, Clone)]
pub(crate) struct Datagram {
    /// Where it lies in [`ReceiveBatch::bytes`].
    pub(crate) range: Range<usize>,
    /// Bytes of each datagram of the train but the last, which may be shorter.
    pub(crate) segment: usize,
    /// Who sent it.
    pub(crate) remote: SocketAddr,
    /// DSCP and ECN of its IP header, as far as the socket reports them.
    pub(crate) tos: u8,
}

/// Buffers into which one call receives many datagrams.
pub(crate) struct ReceiveBatch {
    bytes: Vec<u8>,
    names: Vec<KernelAddress>,
    controls: Vec<Control>,
    lengths: Vec<(usize, usize)>,
}

fn empty_message() -> libc::mmsghdr {
    // SAFETY: `mmsghdr` is plain data; all zeroes means no name, no buffers, no control.
    unsafe { mem::zeroed() }
}

fn empty_iovec() -> libc::iovec {
    libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 }
}

impl ReceiveBatch {
    /// Allocates the buffers, 2 MiB.
    pub(crate) fn new() -> ReceiveBatch {
        ReceiveBatch {
            bytes: vec![0; RECEIVE * STRIDE],
            names: vec![KernelAddress::empty(); RECEIVE],
            controls: vec![Control([0; 64]); RECEIVE],
            lengths: Vec::with_capacity(RECEIVE),
        }
    }

    /// A batch without room, to stand in while another is lent out.
    pub(crate) fn none() -> ReceiveBatch {
        ReceiveBatch {
            bytes: Vec::new(),
            names: Vec::new(),
            controls: Vec::new(),
            lengths: Vec::new(),
        }
    }

    /// All bytes; [`Datagram::range`] tells which belong to a datagram.
    pub(crate) fn bytes(&mut self) -> &mut [u8] {
        &mut self.bytes
    }

    /// Receives what waits at `socket`, without blocking, and returns the number of datagrams.
    pub(crate) fn receive(&mut self, socket: &OwnedFd) -> io::Result<usize> {
        let mut messages = [empty_message(); RECEIVE];
        let mut iovecs = [empty_iovec(); RECEIVE];
        let buffers = self.bytes.chunks_exact_mut(STRIDE);
        let places = buffers.zip(&mut self.names).zip(&mut self.controls);
        for ((message, iovec), ((buffer, name), control)) in
            messages.iter_mut().zip(&mut iovecs).zip(places)
        {
            *iovec = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: ROOM };
            name.length = KernelAddress::empty().length;
            let header = &mut message.msg_hdr;
            header.msg_name = (&raw mut name.storage).cast();
            header.msg_namelen = name.length;
            header.msg_iov = std::ptr::from_mut(iovec);
            header.msg_iovlen = 1;
            header.msg_control = control.0.as_mut_ptr().cast();
            header.msg_controllen = control.0.len();
        }
        let room = u32::try_from(RECEIVE).unwrap_or(0);
        let fd = socket.as_raw_fd();
        // SAFETY: every message points to a name, one buffer and control room, all exclusively
        // borrowed from `self` or the stack and alive through the call, with their true lengths.
        let count = check(unsafe {
            libc::recvmmsg(
                fd,
                messages.as_mut_ptr(),
                room,
                libc::MSG_DONTWAIT,
                std::ptr::null_mut(),
            )
        })?;
        self.lengths.clear();
        let count = usize::try_from(count).unwrap_or(0);
        let filled = messages.iter().take(count);
        self.lengths.extend(
            filled.map(|m| (usize::try_from(m.msg_len).unwrap_or(0), m.msg_hdr.msg_controllen)),
        );
        Ok(count)
    }

    /// The datagram at `index` of the last call; `None` for one that cannot be used.
    pub(crate) fn datagram(&self, index: usize) -> Option<Datagram> {
        let (length, control_length) = *self.lengths.get(index)?;
        let remote = self.names.get(index)?.get()?;
        let control = self.controls.get(index)?.0.get(..control_length)?;
        let start = index * STRIDE;
        let mut datagram =
            Datagram { range: start..start + length, segment: length, remote, tos: 0 };
        for (level, kind, value) in ControlMessages(control) {
            match (level, kind) {
                (libc::IPPROTO_IP, libc::IP_TOS) => datagram.tos = *value.first()?,
                (libc::IPPROTO_IPV6, libc::IPV6_TCLASS) => datagram.tos = *value.first()?,
                (libc::SOL_UDP, libc::UDP_GRO) => {
                    let size = i32::from_ne_bytes(*value.first_chunk()?);
                    datagram.segment = usize::try_from(size).ok().filter(|s| *s > 0)?;
                }
                _ => {}
            }
        }
        Some(datagram)
    }
}

/// Bytes of a control message's header, and the boundary on which they start.
const HEADER: usize = mem::size_of::<libc::cmsghdr>();
const ALIGN: usize = mem::size_of::<usize>();

/// Walks over control messages: level, type, value.
pub(super) struct ControlMessages<'a>(pub(super) &'a [u8]);

impl<'a> Iterator for ControlMessages<'a> {
    type Item = (i32, i32, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let length = usize::from_ne_bytes(*self.0.first_chunk()?);
        let level = i32::from_ne_bytes(*self.0.get(ALIGN..)?.first_chunk()?);
        let kind = i32::from_ne_bytes(*self.0.get(ALIGN + 4..)?.first_chunk()?);
        let value = self.0.get(HEADER..length)?;
        self.0 = self.0.get(length.next_multiple_of(ALIGN)..).unwrap_or_default();
        Some((level, kind, value))
    }
}

impl Control {
    /// Writes a control message of up to 4 bytes behind those that take `used` bytes, and returns
    /// the new length.
    fn push(&mut self, used: usize, level: i32, kind: i32, value: &[u8]) -> usize {
        let end = used + HEADER + 8;
        let Some(place) = self.0.get_mut(used..end) else { return used };
        place.fill(0);
        place[..ALIGN].copy_from_slice(&(HEADER + value.len()).to_ne_bytes());
        place[ALIGN..ALIGN + 4].copy_from_slice(&level.to_ne_bytes());
        place[ALIGN + 4..HEADER].copy_from_slice(&kind.to_ne_bytes());
        place[HEADER..HEADER + value.len()].copy_from_slice(value);
        end
    }
}

/// One datagram to be sent, or a train of equal-sized ones.
#[derive(Debug, Clone)]
pub(crate) struct Outgoing {
    /// Where its bytes lie in the buffer given to [`SendBatch::send`].
    pub(crate) range: Range<usize>,
    /// Bytes of each datagram of a train but the last; 0 when it is a single one.
    pub(crate) segment: u16,
    /// Where it goes.
    pub(crate) remote: SocketAddr,
    /// DSCP and ECN of its IP header.
    pub(crate) tos: u8,
}

/// Room for the arguments of a send call.
pub(crate) struct SendBatch {
    names: Vec<KernelAddress>,
    controls: Vec<Control>,
}

impl SendBatch {
    /// Allocates the room.
    pub(crate) fn new() -> SendBatch {
        SendBatch {
            names: vec![KernelAddress::empty(); SEND],
            controls: vec![Control([0; 64]); SEND],
        }
    }

    /// Gives the first of `outgoing` to the kernel in one call, and returns how many it took: at
    /// least one, or an error that concerns the first.
    pub(crate) fn send(
        &mut self,
        socket: &OwnedFd,
        bytes: &[u8],
        outgoing: &[Outgoing],
    ) -> io::Result<usize> {
        let mut messages = [empty_message(); SEND];
        let mut iovecs = [empty_iovec(); SEND];
        let mut count = 0;
        let places = self.names.iter_mut().zip(&mut self.controls);
        for ((message, iovec), ((name, control), out)) in
            messages.iter_mut().zip(&mut iovecs).zip(places.zip(outgoing))
        {
            let payload = bytes.get(out.range.clone()).unwrap_or_default();
            *name = KernelAddress::from(out.remote);
            // The kernel reads these bytes only, though the field is a mutable pointer.
            let base = payload.as_ptr().cast_mut().cast();
            *iovec = libc::iovec { iov_base: base, iov_len: payload.len() };
            let header = &mut message.msg_hdr;
            header.msg_name = (&raw mut name.storage).cast();
            header.msg_namelen = name.length;
            header.msg_iov = std::ptr::from_mut(iovec);
            header.msg_iovlen = 1;
            header.msg_controllen = control.describe(out);
            header.msg_control = control.0.as_mut_ptr().cast();
            count += 1;
        }
        let fd = socket.as_raw_fd();
        // SAFETY: the first `count` messages point to a name, one buffer and control bytes that are
        // borrowed from the arguments or the stack and alive through the call, with true lengths.
        let sent = check(unsafe {
            libc::sendmmsg(
                fd,
                messages.as_mut_ptr(),
                count,
                libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL,
            )
        })?;
        Ok(usize::try_from(sent).unwrap_or(0))
    }
}

impl Control {
    /// Writes what `out` needs beside its bytes, and returns the length.
    fn describe(&mut self, out: &Outgoing) -> usize {
        let tos = i32::from(out.tos).to_ne_bytes();
        let mut used = if out.remote.is_ipv4() {
            self.push(0, libc::IPPROTO_IP, libc::IP_TOS, &tos)
        } else {
            self.push(0, libc::IPPROTO_IPV6, libc::IPV6_TCLASS, &tos)
        };
        if out.segment > 0 {
            let segment = out.segment.to_ne_bytes();
            used = self.push(used, libc::SOL_UDP, libc::UDP_SEGMENT, &segment);
        }
        used
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::{Fragmentation, udp_socket};

    fn socket() -> (OwnedFd, SocketAddr) {
        let fd = udp_socket("127.0.0.1:0".parse().expect("address"), 0, Fragmentation::Never)
            .expect("socket; this test needs root");
        let socket = std::net::UdpSocket::from(fd.try_clone().expect("clone"));
        (fd, socket.local_addr().expect("address"))
    }

    #[test]
    fn a_train_arrives_with_its_sizes_tos_and_sender() {
        let (from, from_address) = socket();
        let (to, to_address) = socket();
        let bytes: Vec<u8> = (0..250u8).collect();
        let train = Outgoing { range: 0..250, segment: 100, remote: to_address, tos: 0xb9 };
        let single = Outgoing { range: 0..7, segment: 0, remote: to_address, tos: 0 };
        let sent = SendBatch::new().send(&from, &bytes, &[train, single]).expect("sent");
        assert_eq!(sent, 2);
        let mut batch = ReceiveBatch::new();
        let mut got = Vec::new();
        let mut tos = Vec::new();
        while let Ok(count) = batch.receive(&to) {
            for index in 0..count {
                let datagram = batch.datagram(index).expect("usable");
                assert_eq!(datagram.remote, from_address);
                tos.push(datagram.tos);
                let bytes = &batch.bytes()[datagram.range];
                got.extend(bytes.chunks(datagram.segment).map(<[u8]>::to_vec));
            }
        }
        let sizes: Vec<usize> = got.iter().map(Vec::len).collect();
        assert_eq!(sizes, [100, 100, 50, 7]);
        assert_eq!(got.concat()[..250], bytes[..]);
        assert_eq!((tos.first(), tos.last()), (Some(&0xb9), Some(&0)));
    }
}
