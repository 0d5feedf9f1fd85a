//! The lab's own reading of frames: just enough of Ethernet, ARP, IPv4, IPv6, UDP and ESP to say
//! what something is. Deliberately not vipsec's parsers: an oracle that shares the code of the
//! accused proves nothing.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// ICMPv6 type of a Neighbor Advertisement (RFC 4861, section 4.4).
pub const NEIGHBOUR_ADVERTISEMENT: u8 = 136;

/// A frame as far as the oracle cares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Wall-clock time, microseconds since 1970.
    pub at_us: u64,
    /// Hardware address of the sender: tells which node a frame comes from, whatever the packet
    /// in it says.
    pub sender: [u8; 6],
    /// Source and destination of the IP packet; for ARP the sender's and the asked address.
    pub source: IpAddr,
    /// See [`Self::source`].
    pub destination: IpAddr,
    /// What it carries.
    pub payload: Payload,
}

/// What a frame carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Payload {
    /// An ARP request or reply (RFC 826): operation 1 or 2.
    Arp {
        /// 1 asks, 2 answers.
        operation: u16,
    },
    /// A neighbour solicitation, advertisement or other ICMPv6 of the link itself.
    NeighbourDiscovery {
        /// ICMPv6 type.
        kind: u8,
    },
    /// ESP, plain (protocol 50) or in UDP (RFC 3948).
    Esp {
        /// Security parameters index.
        spi: u32,
        /// Low 32 bits of the sequence number.
        sequence: u32,
        /// The eight bytes that follow: the explicit IV, where the cipher is AES-GCM (RFC 4106).
        iv: [u8; 8],
        /// UDP destination port, or `None` when plain.
        port: Option<u16>,
    },
    /// IKE on port 500, or on 4500 behind the non-ESP marker.
    Ike {
        /// The message, from the SPI of the initiator on, as far as it was captured.
        message: Vec<u8>,
    },
    /// The one-byte NAT keep-alive of RFC 3948.
    Keepalive,
    /// ICMP with its type and code.
    Icmp {
        /// Type.
        kind: u8,
        /// Code.
        code: u8,
    },
    /// TCP with its ports and flags.
    Tcp {
        /// Source port.
        from: u16,
        /// Destination port.
        to: u16,
        /// The flags byte; RST is 4.
        flags: u8,
    },
    /// Other UDP.
    Udp {
        /// Source port.
        from: u16,
        /// Destination port.
        to: u16,
        /// The first bytes of the datagram.
        head: Vec<u8>,
    },
    /// A later fragment.
    Fragment {
        /// IP protocol.
        protocol: u8,
    },
    /// Anything else in IP.
    Other {
        /// IP protocol.
        protocol: u8,
    },
}

impl Frame {
    /// Decodes an Ethernet frame; `None` for what is neither ARP nor IP, or cut too short.
    #[must_use]
    pub fn decode(at_us: u64, bytes: &[u8]) -> Option<Self> {
        let sender = bytes.get(6..12)?.try_into().expect("six bytes");
        let kind = half(bytes, 12)?;
        let body = bytes.get(14..)?;
        let (source, destination, payload) = match kind {
            0x0800 => ipv4(body)?,
            0x86DD => ipv6(body)?,
            0x0806 => arp(body)?,
            _ => return None,
        };
        Some(Self { at_us, sender, source, destination, payload })
    }
}

type Packet = (IpAddr, IpAddr, Payload);

fn arp(body: &[u8]) -> Option<Packet> {
    let address = |at: usize| -> Option<IpAddr> {
        let octets: [u8; 4] = body.get(at..at + 4)?.try_into().ok()?;
        Some(Ipv4Addr::from(octets).into())
    };
    Some((address(14)?, address(24)?, Payload::Arp { operation: half(body, 6)? }))
}

fn ipv4(body: &[u8]) -> Option<Packet> {
    let header = usize::from(body.first()? & 0xF) * 4;
    let protocol = *body.get(9)?;
    let address = |at: usize| -> Option<IpAddr> {
        let octets: [u8; 4] = body.get(at..at + 4)?.try_into().ok()?;
        Some(Ipv4Addr::from(octets).into())
    };
    let is_later_fragment = half(body, 6)? & 0x1FFF != 0;
    let payload = if is_later_fragment {
        Payload::Fragment { protocol }
    } else {
        transport(protocol, body.get(header..)?)?
    };
    Some((address(12)?, address(16)?, payload))
}

fn ipv6(body: &[u8]) -> Option<Packet> {
    let address = |at: usize| -> Option<IpAddr> {
        let octets: [u8; 16] = body.get(at..at + 16)?.try_into().ok()?;
        Some(Ipv6Addr::from(octets).into())
    };
    let protocol = *body.get(6)?;
    let payload = match (protocol, body.get(40..)?) {
        (0, rest) if rest.first() == Some(&58) => Payload::NeighbourDiscovery { kind: 143 },
        (44, _) => Payload::Fragment { protocol },
        (58, rest) => match *rest.first()? {
            kind @ (130..=137 | 143) => Payload::NeighbourDiscovery { kind },
            kind => Payload::Icmp { kind, code: *rest.get(1)? },
        },
        (_, rest) => transport(protocol, rest)?,
    };
    Some((address(8)?, address(24)?, payload))
}

fn transport(protocol: u8, body: &[u8]) -> Option<Payload> {
    Some(match protocol {
        1 => Payload::Icmp { kind: *body.first()?, code: *body.get(1)? },
        6 => Payload::Tcp { from: half(body, 0)?, to: half(body, 2)?, flags: *body.get(13)? },
        17 => udp(half(body, 0)?, half(body, 2)?, body.get(8..)?),
        50 => esp(body, None)?,
        _ => Payload::Other { protocol },
    })
}

fn udp(from: u16, to: u16, data: &[u8]) -> Payload {
    let encapsulated = from == 4500 || to == 4500;
    if encapsulated && let Some(message) = data.strip_prefix(&[0; 4]) {
        return Payload::Ike { message: message.to_vec() };
    }
    if from == 500 || to == 500 {
        return Payload::Ike { message: data.to_vec() };
    }
    if encapsulated && data.starts_with(&[0xFF]) && !data.starts_with(&[0xFF; 4]) {
        return Payload::Keepalive;
    }
    let head = data[..data.len().min(16)].to_vec();
    let plain = Payload::Udp { from, to, head };
    if encapsulated { esp(data, Some(to)).unwrap_or(plain) } else { plain }
}

/// Reads data as ESP.
pub(super) fn esp(data: &[u8], port: Option<u16>) -> Option<Payload> {
    let word = |at: usize| -> Option<u32> {
        Some(u32::from_be_bytes(data.get(at..at + 4)?.try_into().ok()?))
    };
    let iv = data.get(8..16)?.try_into().ok()?;
    Some(Payload::Esp { spi: word(0)?, sequence: word(4)?, iv, port })
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ethernet(kind: u16, body: &[u8]) -> Vec<u8> {
        let mut frame = vec![2, 0, 0, 0, 0, 9, 2, 0, 0, 0, 0, 7];
        frame.extend(kind.to_be_bytes());
        frame.extend(body);
        frame
    }

    fn ip(protocol: u8, body: &[u8]) -> Vec<u8> {
        let mut packet = vec![0x45, 0, 0, 0, 0, 0, 0, 0, 64, protocol, 0, 0];
        packet.extend([192, 0, 2, 1, 192, 0, 2, 10]);
        packet.extend(body);
        packet
    }

    #[test]
    fn encapsulated_esp_ike_and_keepalives_are_told_apart() {
        let udp = |data: &[u8]| [&[0x11, 0x94, 0x11, 0x94, 0, 0, 0, 0], data].concat();
        let decode = |data: &[u8]| {
            Frame::decode(5, &ethernet(0x0800, &ip(17, &udp(data)))).expect("a frame").payload
        };
        let esp = [0, 0, 0, 9, 0, 0, 0, 3, 1, 2, 3, 4, 5, 6, 7, 8, 99];
        let iv = [1, 2, 3, 4, 5, 6, 7, 8];
        assert_eq!(decode(&esp), Payload::Esp { spi: 9, sequence: 3, iv, port: Some(4500) });
        assert_eq!(decode(&[0; 30]), Payload::Ike { message: vec![0; 26] });
        assert_eq!(decode(&[0xFF]), Payload::Keepalive);
    }

    #[test]
    fn arp_and_plain_tcp_show_who_speaks() {
        let mut arp = vec![0, 1, 8, 0, 6, 4, 0, 2];
        arp.extend([2, 0, 0, 0, 0, 7, 192, 0, 2, 10, 2, 0, 0, 0, 0, 9, 192, 0, 2, 1]);
        let frame = Frame::decode(5, &ethernet(0x0806, &arp)).expect("a frame");
        assert_eq!(frame.source, IpAddr::from([192, 0, 2, 10]));
        assert_eq!(frame.payload, Payload::Arp { operation: 2 });
        let mut tcp = vec![0, 80, 1, 0];
        tcp.extend([0; 9]);
        tcp.extend([4, 0, 0]);
        let frame = Frame::decode(5, &ethernet(0x0800, &ip(6, &tcp))).expect("a frame");
        assert_eq!(frame.payload, Payload::Tcp { from: 80, to: 256, flags: 4 });
        assert_eq!(frame.sender, [2, 0, 0, 0, 0, 7]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]
        #[test]
        fn no_frame_makes_the_decoder_panic(bytes in prop::collection::vec(any::<u8>(), 0..120)) {
            for kind in [0x0800, 0x86DD, 0x0806] {
                let _ = Frame::decode(0, &ethernet(kind, &bytes));
            }
        }
    }
}
