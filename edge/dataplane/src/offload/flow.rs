//! What makes two decrypted packets neighbours in one stream, so that they may be given to the
//! kernel as one.

use vipsec_wire::ip::checksum::checksum;

use super::segment::pseudo_sum;

/// Only ACK: the flags of a segment in the middle of a stream.
const TCP_ACK: u8 = 0x10;
const TCP_PSH: u8 = 0x08;

/// Longest run of header bytes that must be equal: TCP options and IPv6 addresses.
const IP_HEADER_4: usize = 20;
const IP_HEADER_6: usize = 40;

/// What is known of a packet whose checksum has been verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Flow {
    /// A digest of addresses and ports, for a quick look-up. Equality is checked on the bytes.
    pub(super) hash: u64,
    pub(super) v4: bool,
    pub(super) udp: bool,
    /// Bytes of IP header, and of all headers.
    pub(super) ip: usize,
    pub(super) headers: usize,
    /// Bytes of payload.
    pub(super) payload: usize,
    /// TCP sequence number; 0 for UDP.
    pub(super) sequence: u32,
    /// Whether it may be merged with others at all, and whether it must be the last.
    pub(super) mergeable: bool,
    pub(super) last: bool,
}

impl Flow {
    /// Looks at a packet; `None` when it is no whole TCP or UDP packet without IP options, or when
    /// its checksum is wrong or missing.
    pub(super) fn of(packet: &[u8]) -> Option<Flow> {
        let v4 = match packet.first()? {
            0x45 => true,
            b if b >> 4 == 6 => false,
            _ => return None,
        };
        let ip = if v4 { IP_HEADER_4 } else { IP_HEADER_6 };
        let udp = match packet.get(if v4 { 9 } else { 6 })? {
            6 => false,
            17 => true,
            _ => return None,
        };
        if !whole(packet, v4)? {
            return None;
        }
        let transport = if udp { 8 } else { usize::from(packet.get(ip + 12)? >> 4) * 4 };
        let headers = ip + transport;
        let payload = packet.len().checked_sub(headers)?;
        let unchecked = udp && packet.get(ip + 6..ip + 8)? == [0, 0];
        let mut sum = pseudo_sum(packet, v4, packet.len() - ip)?;
        sum.add(packet.get(ip..)?);
        if unchecked || transport < if udp { 8 } else { 20 } || !sum.is_valid() {
            return None;
        }
        let flags = if udp { TCP_ACK } else { *packet.get(ip + 13)? };
        let at = ip + 4;
        let sequence = if udp { 0 } else { u32::from_be_bytes(*packet.get(at..)?.first_chunk()?) };
        Some(Flow {
            hash: hash(packet, ip, v4)?,
            v4,
            udp,
            ip,
            headers,
            payload,
            sequence,
            mergeable: payload > 0 && flags & !TCP_PSH == TCP_ACK,
            last: flags & TCP_PSH != 0,
        })
    }
}

/// Whether lengths agree and the packet is no fragment; the IPv4 header's own checksum is right.
fn whole(packet: &[u8], v4: bool) -> Option<bool> {
    let length = u16::try_from(packet.len()).ok()?;
    if !v4 {
        return Some(packet.get(4..6)? == length.checked_sub(40)?.to_be_bytes());
    }
    let header = packet.get(..IP_HEADER_4)?;
    let fragment = u16::from_be_bytes([header[6], header[7]]) & 0x3fff != 0;
    Some(header[2..4] == length.to_be_bytes() && !fragment && checksum(header) == 0)
}

fn hash(packet: &[u8], ip: usize, v4: bool) -> Option<u64> {
    let from = if v4 { 12 } else { 8 };
    let words = packet.get(from..ip + 4)?.chunks_exact(4);
    Some(words.fold(0xcbf2_9ce4_8422_2325, |hash: u64, word| {
        let word = u32::from_ne_bytes(word.first_chunk().copied().unwrap_or_default());
        (hash ^ u64::from(word)).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(23)
    }))
}

/// Whether two packets of one hash differ only in what may differ inside a merged one: lengths,
/// identification, checksums, and for TCP sequence number and PSH.
pub(super) fn same_stream(a: (&[u8], &Flow), b: (&[u8], &Flow)) -> bool {
    let ((pa, fa), (pb, fb)) = (a, b);
    if (fa.v4, fa.udp, fa.headers) != (fb.v4, fb.udp, fb.headers) {
        return false;
    }
    let equal = |from: usize, to: usize| pa.get(from..to) == pb.get(from..to);
    let ip = if fa.v4 {
        equal(0, 2) && equal(6, 10) && equal(12, 20)
    } else {
        equal(0, 4) && equal(6, 40)
    };
    let t = fa.ip;
    let transport = if fa.udp {
        equal(t, t + 4)
    } else {
        equal(t, t + 4)
            && equal(t + 8, t + 13)
            && equal(t + 14, t + 16)
            && equal(t + 18, fa.headers)
    };
    ip && transport
}
