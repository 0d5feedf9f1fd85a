//! ICMP errors (RFC 792, RFC 1191, RFC 4443): whole IP packets that tell the sender of another
//! packet why it went no further. When none may be sent (RFC 1122 section 3.2.2, RFC 4443 section
//! 2.4) there is none.

use super::checksum::{Sum, checksum};
use super::packet::Packet;
use super::{ipv4, ipv6, protocol};
use core::net::IpAddr;

/// Octets of type, code, checksum and the word behind them.
pub const HEADER_LENGTH: usize = 8;

/// Longest ICMP error in octets for IPv4 (RFC 1812 section 4.3.2.3).
const IPV4_ERROR_MAX: usize = 576;

/// Longest ICMP error in octets for IPv6: the minimum MTU.
const IPV6_ERROR_MAX: usize = 1280;

/// Why a destination cannot be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Unreachable {
    /// Forbidden by policy: code 13 for IPv4, 1 for IPv6.
    Prohibited,
    /// The host does not answer: code 1 for IPv4, 3 for IPv6.
    Host,
    /// No such port: code 3 for IPv4, 4 for IPv6.
    Port,
}

/// Tells the sender of `offending` that only packets of at most `mtu` octets pass. `from` is who
/// says so, of the packet's family.
#[must_use]
pub fn too_big(from: IpAddr, offending: &[u8], mtu: u32) -> Option<Vec<u8>> {
    let word = if from.is_ipv4() { mtu.min(u32::from(u16::MAX)) } else { mtu };
    let (kind, code) = if from.is_ipv4() { (3, 4) } else { (2, 0) };
    error(from, offending, [kind, code], word)
}

/// Tells the sender of `offending` that it cannot get there.
#[must_use]
pub fn unreachable(from: IpAddr, offending: &[u8], why: Unreachable) -> Option<Vec<u8>> {
    let head = match (from.is_ipv4(), why) {
        (true, Unreachable::Prohibited) => [3, 13],
        (true, Unreachable::Host) => [3, 1],
        (true, Unreachable::Port) => [3, 3],
        (false, Unreachable::Prohibited) => [1, 1],
        (false, Unreachable::Host) => [1, 3],
        (false, Unreachable::Port) => [1, 4],
    };
    error(from, offending, head, 0)
}

/// The MTU that an ICMP "too big" message announces, in octets; `None` for every other packet, and
/// 0 when an old IPv4 router says none (RFC 1191 section 3).
#[must_use]
pub fn announced_mtu(packet: &Packet<'_>) -> Option<u32> {
    let (kind_and_code, _) = packet.tuple.ports?;
    let word = u32::from_be_bytes(packet.transport().get(4..8)?.try_into().ok()?);
    match (packet.tuple.protocol, kind_and_code) {
        (protocol::ICMP, 0x0304) => Some(word & 0xffff),
        (protocol::ICMPV6, 0x0200) => Some(word),
        _ => None,
    }
}

/// Whether an error about this packet may be sent at all.
fn may_be_told(packet: &Packet<'_>) -> bool {
    let names_one_host = match packet.tuple.source {
        IpAddr::V4(address) => {
            !address.is_unspecified() && !address.is_multicast() && !address.is_broadcast()
        }
        IpAddr::V6(address) => !address.is_unspecified() && !address.is_multicast(),
    };
    let to_one_host = !packet.tuple.destination.is_multicast();
    names_one_host && to_one_host && !packet.is_icmp_error() && !packet.is_later_fragment()
}

fn error(from: IpAddr, offending: &[u8], head: [u8; 2], word: u32) -> Option<Vec<u8>> {
    let packet = Packet::parse(offending).ok()?;
    if !may_be_told(&packet) {
        return None;
    }
    match (from, packet.tuple.source) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let room = IPV4_ERROR_MAX - ipv4::HEADER_LENGTH - HEADER_LENGTH;
            let mut message = message(head, word, quote(packet.bytes(), room));
            let sum = checksum(&message);
            message[2..4].copy_from_slice(&sum.to_be_bytes());
            let header =
                ipv4::Header::new(source, destination, protocol::ICMP, message.len()).emit();
            Some([&header[..], &message].concat())
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            let room = IPV6_ERROR_MAX - ipv6::HEADER_LENGTH - HEADER_LENGTH;
            let mut message = message(head, word, quote(packet.bytes(), room));
            let mut sum = Sum::pseudo_header(
                source.into(),
                destination.into(),
                protocol::ICMPV6,
                message.len(),
            );
            sum.add(&message);
            message[2..4].copy_from_slice(&sum.finish().to_be_bytes());
            let header =
                ipv6::Header::new(source, destination, protocol::ICMPV6, message.len()).emit();
            Some([&header[..], &message].concat())
        }
        _ => None,
    }
}

fn quote(packet: &[u8], room: usize) -> &[u8] {
    &packet[..packet.len().min(room)]
}

/// An ICMP message with its checksum still zero.
fn message([kind, code]: [u8; 2], word: u32, quoted: &[u8]) -> Vec<u8> {
    let mut out = vec![kind, code, 0, 0];
    out.extend_from_slice(&word.to_be_bytes());
    out.extend_from_slice(quoted);
    out
}
