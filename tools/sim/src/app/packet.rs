//! The inner packets: real IPv4, UDP and TCP, each with a number of its own and a mark that must
//! never be seen outside a tunnel.

use crate::observation::Connection;
use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use vipsec_wire::cluster::Protocol;
use vipsec_wire::ip::checksum::Sum;
use vipsec_wire::ip::tcp::{Flags, Header};
use vipsec_wire::ip::{Packet, ipv4, protocol, tcp, udp};

/// Stands in every inner packet.
pub const MARK: [u8; 8] = *b"\xc1\x3aIN\x7fNER";

/// Mark and number.
pub const PREAMBLE: usize = 16;

/// The TCP option that carries mark and number: an experimental kind (RFC 6994).
const OPTION: [u8; 4] = [1, 1, 253, 18];

/// What is above IP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// A datagram.
    Udp,
    /// A segment.
    Tcp(Header),
}

/// A packet that was read.
#[derive(Debug, Clone, Copy)]
pub struct Inner<'a> {
    /// Its number.
    pub serial: u64,
    /// From.
    pub source: SocketAddr,
    /// To.
    pub destination: SocketAddr,
    /// UDP or TCP.
    pub transport: Transport,
    /// The content.
    pub data: &'a [u8],
}

impl<'a> Inner<'a> {
    /// Reads one of our packets; `None` for anything else.
    #[must_use]
    pub fn parse(bytes: &'a [u8]) -> Option<Inner<'a>> {
        let packet = Packet::parse(bytes).ok()?;
        let (source_port, destination_port) = packet.tuple.ports?;
        let source = SocketAddr::new(packet.tuple.source, source_port);
        let destination = SocketAddr::new(packet.tuple.destination, destination_port);
        let (transport, marked, data) = match packet.tuple.protocol {
            protocol::UDP => {
                let (_, content) = udp::Header::parse(packet.transport()).ok()?;
                (Transport::Udp, content, content)
            }
            protocol::TCP => {
                let segment = packet.transport();
                let header = Header::parse(segment).ok()?;
                let marked = segment.get(tcp::HEADER_LENGTH + OPTION.len()..)?;
                (Transport::Tcp(header), marked, segment.get(header.header_length..)?)
            }
            _ => return None,
        };
        let number = marked.strip_prefix(&MARK)?.first_chunk::<8>()?;
        let serial = u64::from_be_bytes(*number);
        Some(Inner { serial, source, destination, transport, data })
    }

    /// The connection that a packet of a client belongs to.
    #[must_use]
    pub fn connection(&self, protocol: Protocol) -> Connection {
        Connection { protocol, client: self.source, server: self.destination }
    }
}

/// A numbered datagram with `size` bytes of content, at least mark and number.
#[must_use]
pub fn udp(ends: (SocketAddr, SocketAddr), serial: u64, size: usize) -> Vec<u8> {
    let mut content = preamble(serial).to_vec();
    content.resize(size.max(PREAMBLE), 0x55);
    let (from, to) = ends;
    let datagram = udp::emit((from.ip(), from.port()), (to.ip(), to.port()), &content);
    in_ip(from.ip(), to.ip(), protocol::UDP, &datagram)
}

/// What a segment says.
#[derive(Debug, Clone, Copy)]
pub struct Segment {
    /// From and to.
    pub ends: (SocketAddr, SocketAddr),
    /// Sequence number.
    pub sequence: u32,
    /// Acknowledgement number.
    pub acknowledgement: u32,
    /// Control bits.
    pub flags: Flags,
    /// Bytes of content.
    pub size: usize,
}

/// A numbered segment.
#[must_use]
pub fn tcp(segment: &Segment, serial: u64) -> Vec<u8> {
    let (from, to) = segment.ends;
    let mut bytes = Vec::with_capacity(40 + segment.size);
    bytes.extend_from_slice(&from.port().to_be_bytes());
    bytes.extend_from_slice(&to.port().to_be_bytes());
    bytes.extend_from_slice(&segment.sequence.to_be_bytes());
    bytes.extend_from_slice(&segment.acknowledgement.to_be_bytes());
    bytes.extend_from_slice(&[10 << 4, segment.flags.0, 0xff, 0xff, 0, 0, 0, 0]);
    bytes.extend_from_slice(&OPTION);
    bytes.extend_from_slice(&preamble(serial));
    bytes.resize(bytes.len() + segment.size, 0x66);
    let mut sum = Sum::pseudo_header(from.ip(), to.ip(), protocol::TCP, bytes.len());
    sum.add(&bytes);
    bytes[16..18].copy_from_slice(&sum.finish().to_be_bytes());
    in_ip(from.ip(), to.ip(), protocol::TCP, &bytes)
}

fn preamble(serial: u64) -> [u8; PREAMBLE] {
    let mut out = [0; PREAMBLE];
    out[..8].copy_from_slice(&MARK);
    out[8..].copy_from_slice(&serial.to_be_bytes());
    out
}

fn in_ip(from: IpAddr, to: IpAddr, protocol: u8, content: &[u8]) -> Vec<u8> {
    let v4 = |address: IpAddr| match address {
        IpAddr::V4(address) => address,
        IpAddr::V6(_) => Ipv4Addr::UNSPECIFIED,
    };
    let header = ipv4::Header::new(v4(from), v4(to), protocol, content.len());
    let mut packet = header.emit().to_vec();
    packet.extend_from_slice(content);
    packet
}

/// Whether the mark stands anywhere in these bytes.
#[must_use]
pub fn is_marked(bytes: &[u8]) -> bool {
    let first = MARK[0];
    bytes.windows(MARK.len()).any(|window| window[0] == first && window == MARK)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends() -> (SocketAddr, SocketAddr) {
        let (from, to) = ("10.77.0.10:1000", "192.0.2.10:7");
        (from.parse().unwrap(), to.parse().unwrap())
    }

    #[test]
    fn packets_keep_their_number() {
        let datagram = udp(ends(), 77, 100);
        let read = Inner::parse(&datagram).unwrap();
        assert_eq!((read.serial, read.transport, read.data.len()), (77, Transport::Udp, 100));
        let segment =
            Segment { ends: ends(), sequence: 5, acknowledgement: 6, flags: Flags::ACK, size: 33 };
        let bytes = tcp(&segment, 78);
        let read = Inner::parse(&bytes).unwrap();
        assert_eq!((read.serial, read.data.len()), (78, 33));
        assert!(matches!(read.transport, Transport::Tcp(h) if h.sequence == 5));
        assert!(is_marked(&bytes) && is_marked(&datagram) && !is_marked(&[0; 64]));
    }
}
