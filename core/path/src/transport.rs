//! Transport mode (RFC 4303 section 3.1.1): an IP packet around what ESP carried, and what ESP
//! carries of an IP packet. Behind a NAT the transport's checksum was made for other addresses; it
//! is computed anew (RFC 3948 section 3.1.2), which loses nothing, because ESP has checked the
//! integrity.

use crate::counters::DropReason;
use crate::freeze::Outer;
use core::net::IpAddr;
use core::ops::Range;
use vipsec_wire::ip::checksum::Sum;
use vipsec_wire::ip::{Packet, ipv4, ipv6, protocol};

/// Builds the IP packet that had `payload` behind its header, in `whole`.
pub(crate) fn rebuild(
    outer: Outer,
    next_header: u8,
    payload: &[u8],
    whole: &mut Vec<u8>,
) -> Result<(), DropReason> {
    if matches!(next_header, protocol::IPV4 | protocol::IPV6) {
        return Err(DropReason::NextHeader);
    }
    whole.clear();
    match (outer.remote.ip(), outer.local.ip()) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let mut header = ipv4::Header::new(source, destination, next_header, payload.len());
            header.traffic_class = outer.tos;
            header.dont_fragment = true;
            whole.extend_from_slice(&header.emit());
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            let mut header = ipv6::Header::new(source, destination, next_header, payload.len());
            header.traffic_class = outer.tos;
            whole.extend_from_slice(&header.emit());
        }
        _ => return Err(DropReason::Malformed),
    }
    whole.extend_from_slice(payload);
    if !outer.is_plain_esp() {
        correct_checksum(whole);
    }
    Ok(())
}

/// What ESP carries of a packet: its next header, and where it is. Fragments, and IPv6 packets with
/// headers for routers, cannot be carried (RFC 4301 section 7).
pub(crate) fn payload(packet: &Packet<'_>) -> Option<(u8, Range<usize>)> {
    let bytes = packet.bytes();
    if packet.fragment.is_some() {
        return None;
    }
    if packet.tuple.source.is_ipv4() {
        return Some((packet.tuple.protocol, packet.transport_at..bytes.len()));
    }
    let next_header = *bytes.get(6)?;
    let for_routers = matches!(next_header, protocol::HOP_BY_HOP | protocol::ROUTING);
    (!for_routers).then_some((next_header, ipv6::HEADER_LENGTH..bytes.len()))
}

/// Computes the checksum of TCP or UDP anew. Does nothing to other packets.
fn correct_checksum(whole: &mut [u8]) {
    let Ok(packet) = Packet::parse(whole) else { return };
    let (tuple, start, end) = (packet.tuple, packet.transport_at, packet.bytes().len());
    if packet.fragment.is_some() {
        return;
    }
    let at = match tuple.protocol {
        protocol::TCP => start + 16,
        protocol::UDP => start + 6,
        _ => return,
    };
    let Some(field) = whole.get_mut(at..at + 2) else { return };
    if tuple.protocol == protocol::UDP && tuple.source.is_ipv4() && field == [0, 0] {
        return;
    }
    field.fill(0);
    let length = end - start;
    let mut sum = Sum::pseudo_header(tuple.source, tuple.destination, tuple.protocol, length);
    sum.add(&whole[start..end]);
    let checksum = match sum.finish() {
        0 if tuple.protocol == protocol::UDP => u16::MAX,
        other => other,
    };
    whole[at..at + 2].copy_from_slice(&checksum.to_be_bytes());
}
