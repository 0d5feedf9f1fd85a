//! Cuts a super-packet from the TUN into packets, in place: each packet's headers are written right
//! in front of its payload, over the end of the payload before it, which has been used by then.

use vipsec_wire::ip::checksum::{Sum, checksum};

use super::virtio::{Kind, LENGTH, VirtioHeader};

/// TCP and IPv6 headers are never longer together: 60 + 40 bytes, or 60 + 60 with IPv4 options.
const MAX_HEADERS: usize = 120;

const TCP_FIN: u8 = 0x01;
const TCP_PSH: u8 = 0x08;
const TCP_CWR: u8 = 0x80;

/// The packets of one read from the TUN. Call [`Segments::next`] until it returns `None`.
pub(crate) struct Segments<'a> {
    packet: &'a mut [u8],
    plan: Plan,
}

enum Plan {
    /// One packet as it stands.
    Single { done: bool },
    /// A super-packet.
    Many(Cut),
}

/// How a super-packet is cut.
struct Cut {
    template: [u8; MAX_HEADERS],
    /// Bytes of IP header, and of IP and transport header.
    ip: usize,
    headers: usize,
    segment: usize,
    udp: bool,
    v4: bool,
    next: usize,
    total: usize,
}

impl<'a> Segments<'a> {
    /// Looks at what a read returned, virtio header in front. `None`: nothing that could be cut.
    pub(crate) fn new(bytes: &'a mut [u8]) -> Option<Segments<'a>> {
        let header = VirtioHeader::read(bytes)?;
        let packet = bytes.get_mut(LENGTH..)?;
        if header.kind == Kind::Single {
            close_checksum(packet, &header)?;
            return Some(Segments { packet, plan: Plan::Single { done: false } });
        }
        let cut = Cut::new(packet, &header)?;
        Some(Segments { packet, plan: Plan::Many(cut) })
    }

    /// The next packet, checksums in place.
    pub(crate) fn next(&mut self) -> Option<&[u8]> {
        match &mut self.plan {
            Plan::Single { done } => {
                if std::mem::replace(done, true) {
                    None
                } else {
                    Some(self.packet)
                }
            }
            Plan::Many(cut) => cut.next(self.packet),
        }
    }
}

/// Completes the checksum of a single packet when the kernel left that to us.
fn close_checksum(packet: &mut [u8], header: &VirtioHeader) -> Option<()> {
    let Some((start, offset)) = header.open_checksum else { return Some(()) };
    let part = packet.get_mut(usize::from(start)..)?;
    let sum = checksum(part);
    // In UDP zero means that there is none; the other form of zero says the same sum.
    let sum = if offset == 6 && sum == 0 { 0xffff } else { sum };
    let field = part.get_mut(usize::from(offset)..)?.first_chunk_mut()?;
    *field = sum.to_be_bytes();
    Some(())
}

impl Cut {
    fn new(packet: &[u8], header: &VirtioHeader) -> Option<Cut> {
        let v4 = packet.first()? >> 4 == 4;
        let udp = header.kind == Kind::Udp;
        let ip = if v4 { usize::from(packet.first()? & 15) * 4 } else { 40 };
        let transport = if udp { 8 } else { usize::from(packet.get(ip + 12)? >> 4) * 4 };
        let headers = ip + transport;
        let segment = usize::from(header.segment);
        let protocol = *packet.get(if v4 { 9 } else { 6 })?;
        let known = ip >= 20 && transport >= if udp { 8 } else { 20 };
        let known = known && protocol == if udp { 17 } else { 6 };
        if !known || segment == 0 || packet.len() <= headers {
            return None;
        }
        let mut template = [0u8; MAX_HEADERS];
        template.get_mut(..headers)?.copy_from_slice(packet.get(..headers)?);
        let total = (packet.len() - headers).div_ceil(segment);
        Some(Cut { template, ip, headers, segment, udp, v4, next: 0, total })
    }

    fn next<'p>(&mut self, packet: &'p mut [u8]) -> Option<&'p [u8]> {
        if self.next >= self.total {
            return None;
        }
        let index = self.next;
        self.next += 1;
        let start = index * self.segment;
        let end = (start + self.headers + self.segment).min(packet.len());
        let out = packet.get_mut(start..end)?;
        out.get_mut(..self.headers)?.copy_from_slice(self.template.get(..self.headers)?);
        self.write_ip(out, index)?;
        if self.udp {
            self.write_udp(out)?
        } else {
            self.write_tcp(out, index)?
        }
        Some(out)
    }

    /// Length, identification and checksum of the IP header.
    fn write_ip(&self, out: &mut [u8], index: usize) -> Option<()> {
        let length = u16::try_from(out.len()).ok()?;
        if !self.v4 {
            let payload = length.checked_sub(40)?;
            out.get_mut(4..6)?.copy_from_slice(&payload.to_be_bytes());
            return Some(());
        }
        let header = out.get_mut(..self.ip)?;
        header[2..4].copy_from_slice(&length.to_be_bytes());
        let step = u16::try_from(index).ok()?;
        let id = u16::from_be_bytes([header[4], header[5]]).wrapping_add(step);
        header[4..6].copy_from_slice(&id.to_be_bytes());
        header[10..12].fill(0);
        let sum = checksum(header);
        header[10..12].copy_from_slice(&sum.to_be_bytes());
        Some(())
    }

    /// Sequence number, flags and checksum of the TCP header: FIN and PSH belong to the last
    /// segment, CWR to the first.
    fn write_tcp(&self, out: &mut [u8], index: usize) -> Option<()> {
        let tcp = out.get_mut(self.ip..self.headers)?;
        let offset = u32::try_from(index * self.segment).ok()?;
        let sequence = u32::from_be_bytes([tcp[4], tcp[5], tcp[6], tcp[7]]).wrapping_add(offset);
        tcp[4..8].copy_from_slice(&sequence.to_be_bytes());
        if index + 1 < self.total {
            tcp[13] &= !(TCP_FIN | TCP_PSH);
        }
        if index > 0 {
            tcp[13] &= !TCP_CWR;
        }
        self.close_transport(out, 16)
    }

    fn write_udp(&self, out: &mut [u8]) -> Option<()> {
        let length = u16::try_from(out.len() - self.ip).ok()?;
        out.get_mut(self.ip + 4..self.ip + 6)?.copy_from_slice(&length.to_be_bytes());
        self.close_transport(out, 6)
    }

    fn close_transport(&self, out: &mut [u8], field: usize) -> Option<()> {
        let at = self.ip + field;
        out.get_mut(at..at + 2)?.fill(0);
        let mut sum = pseudo_sum(out, self.v4, out.len() - self.ip)?;
        sum.add(out.get(self.ip..)?);
        let sum = match (sum.finish(), self.udp) {
            (0, true) => 0xffff,
            (other, _) => other,
        };
        out.get_mut(at..at + 2)?.copy_from_slice(&sum.to_be_bytes());
        Some(())
    }
}

/// Sum over the pseudo header of a packet with these headers (RFC 9293 section 3.1, RFC 8200 section
/// 8.1), whose transport header and payload have `length` bytes.
pub(super) fn pseudo_sum(headers: &[u8], v4: bool, length: usize) -> Option<Sum> {
    let (addresses, protocol) = if v4 {
        (headers.get(12..20)?, headers.get(9)?)
    } else {
        (headers.get(8..40)?, headers.get(6)?)
    };
    let mut sum = Sum::new();
    sum.add(addresses);
    sum.add(&[0, *protocol]);
    sum.add(&u16::try_from(length).ok()?.to_be_bytes());
    Some(sum)
}

#[cfg(test)]
#[path = "segment_tests.rs"]
mod tests;
