//! IP packets for the tests.

use core::net::{IpAddr, SocketAddr};
use vipsec_wire::ip::checksum::Sum;
use vipsec_wire::ip::{Packet, ipv4, ipv6, protocol, udp};

pub(crate) const FIN: u8 = 0x01;
pub(crate) const SYN: u8 = 0x02;
pub(crate) const RST: u8 = 0x04;
pub(crate) const ACK: u8 = 0x10;

pub(crate) fn socket(text: &str) -> SocketAddr {
    text.parse().expect("an address and a port")
}

pub(crate) fn ip_packet(
    source: IpAddr,
    destination: IpAddr,
    protocol: u8,
    content: &[u8],
) -> Vec<u8> {
    let header = match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            ipv4::Header::new(source, destination, protocol, content.len()).emit().to_vec()
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            ipv6::Header::new(source, destination, protocol, content.len()).emit().to_vec()
        }
        _ => panic!("both of one family"),
    };
    [&header[..], content].concat()
}

/// A TCP segment; a SYN announces a maximum segment size of 1460.
pub(crate) fn tcp(
    source: SocketAddr,
    destination: SocketAddr,
    flags: u8,
    content: &[u8],
) -> Vec<u8> {
    let mut segment = Vec::new();
    segment.extend_from_slice(&source.port().to_be_bytes());
    segment.extend_from_slice(&destination.port().to_be_bytes());
    segment.extend_from_slice(&[0, 0, 0, 1, 0, 0, 0, 2]);
    let words = if flags & SYN != 0 { 6 } else { 5 };
    segment.extend_from_slice(&[words << 4, flags, 0xff, 0xff, 0, 0, 0, 0]);
    if flags & SYN != 0 {
        segment.extend_from_slice(&[2, 4, 0x05, 0xb4]);
    }
    segment.extend_from_slice(content);
    let (from, to) = (source.ip(), destination.ip());
    let mut sum = Sum::pseudo_header(from, to, protocol::TCP, segment.len());
    sum.add(&segment);
    segment[16..18].copy_from_slice(&sum.finish().to_be_bytes());
    ip_packet(from, to, protocol::TCP, &segment)
}

pub(crate) fn udp(source: SocketAddr, destination: SocketAddr, content: &[u8]) -> Vec<u8> {
    let (from, to) = ((source.ip(), source.port()), (destination.ip(), destination.port()));
    ip_packet(from.0, to.0, protocol::UDP, &udp::emit(from, to, content))
}

/// Sets the DF bit of an IPv4 packet.
pub(crate) fn dont_fragment(mut packet: Vec<u8>) -> Vec<u8> {
    packet[6] |= 0x40;
    packet[10..12].fill(0);
    let sum = vipsec_wire::ip::checksum::checksum(&packet[..20]);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    packet
}

/// Whether the transport checksum of a TCP or UDP packet is right.
pub(crate) fn is_checksum_right(packet: &[u8]) -> bool {
    let view = Packet::parse(packet).expect("an IP packet");
    let (tuple, content) = (view.tuple, view.transport());
    let mut sum =
        Sum::pseudo_header(tuple.source, tuple.destination, tuple.protocol, content.len());
    sum.add(content);
    sum.is_valid()
}
