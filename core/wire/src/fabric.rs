//! Frames between nodes on the fabric: what stands inside the ESP packet, in front of a forwarded
//! packet or a heartbeat.
//!
//! ```text
//!  0         1         2         3
//! +---------+---------+-------------------+
//! | version | kind    | reserved          |
//! +---------+---------+-------------------+
//! |            epoch (64 bits)            |
//! |                                       |
//! +---------------------------------------+
//! |   VIP (32 bits, or 128 when the kind's|
//! |         uppermost bit is set)         |
//! +---------------------------------------+
//! ```

use crate::ParseError;
use crate::id::{Epoch, Vip};
use crate::reader::Reader;
use core::net::{IpAddr, SocketAddr};

/// Octets of the header for an IPv4 VIP.
pub const HEADER_LENGTH_IPV4: usize = 16;

/// Octets of the header for an IPv6 VIP.
pub const HEADER_LENGTH_IPV6: usize = 28;

/// The next header of ESP packets on the fabric: 253, for experiments (RFC 3692), so that a frame
/// never passes for an IP packet.
pub const NEXT_HEADER: u8 = 253;

const VERSION: u8 = 1;

/// In the octet of the kind: the VIP is of IPv6.
const IPV6: u8 = 0x80;

const WHAT: &str = "fabric frame";

/// What a frame carries behind its header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// 1: a decrypted packet, from the owner to the target of its connection.
    ToTarget,
    /// 2: what a target answers, to the owner, which encrypts it.
    ToOwner,
    /// 3: a packet from outside that reached a former owner, to the present one. A [`LateOuter`]
    /// stands in front of it.
    LateOuter,
    /// 4: a packet from inside that reached a former owner, to the present one.
    LateInner,
    /// 5: a heartbeat. Its VIP and epoch mean nothing.
    Heartbeat,
}

impl Kind {
    /// The number of the kind.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Kind::ToTarget => 1,
            Kind::ToOwner => 2,
            Kind::LateOuter => 3,
            Kind::LateInner => 4,
            Kind::Heartbeat => 5,
        }
    }

    /// The kind of a number; `None` when there is none.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Kind> {
        Some(match number {
            1 => Kind::ToTarget,
            2 => Kind::ToOwner,
            3 => Kind::LateOuter,
            4 => Kind::LateInner,
            5 => Kind::Heartbeat,
            _ => return None,
        })
    }
}

/// The header of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// What follows it.
    pub kind: Kind,
    /// The VIP that the packet belongs to.
    pub vip: Vip,
    /// The epoch that the sender acts in. A receiver that knows a higher one drops a `ToTarget`
    /// and forwards a `ToOwner` as late.
    pub epoch: Epoch,
}

fn push_address(address: IpAddr, out: &mut Vec<u8>) {
    match address {
        IpAddr::V4(address) => out.extend_from_slice(&address.octets()),
        IpAddr::V6(address) => out.extend_from_slice(&address.octets()),
    }
}

fn read_address(reader: &mut Reader<'_>, is_ipv6: bool) -> Result<IpAddr, ParseError> {
    if is_ipv6 {
        reader.array::<16>().map(IpAddr::from)
    } else {
        reader.array::<4>().map(IpAddr::from)
    }
}

impl Header {
    /// Octets that [`Header::emit`] writes: 16 or 28.
    #[must_use]
    pub fn length(&self) -> usize {
        if self.vip.0.is_ipv4() { HEADER_LENGTH_IPV4 } else { HEADER_LENGTH_IPV6 }
    }

    /// Writes the header into the front of `out` and returns its length; `None` when `out` is too
    /// short.
    pub fn emit(&self, out: &mut [u8]) -> Option<usize> {
        let out = out.get_mut(..self.length())?;
        let family = if self.vip.0.is_ipv6() { IPV6 } else { 0 };
        out[..4].copy_from_slice(&[VERSION, self.kind.number() | family, 0, 0]);
        out[4..12].copy_from_slice(&self.epoch.0.to_be_bytes());
        match self.vip.0 {
            IpAddr::V4(address) => out[12..].copy_from_slice(&address.octets()),
            IpAddr::V6(address) => out[12..].copy_from_slice(&address.octets()),
        }
        Some(out.len())
    }

    /// Reads a frame's header; also gives what stands behind it.
    ///
    /// # Errors
    /// `Truncated`, `Version`, or `Value` for an unknown kind.
    pub fn parse(frame: &[u8]) -> Result<(Header, &[u8]), ParseError> {
        let mut reader = Reader::new(WHAT, frame);
        let version = reader.u8()?;
        if version != VERSION {
            return Err(ParseError::Version { what: WHAT, version: u16::from(version) });
        }
        let kind_octet = reader.u8()?;
        let kind = Kind::from_number(kind_octet & !IPV6).ok_or(ParseError::Value(WHAT))?;
        reader.take(2)?;
        let epoch = Epoch(reader.u64()?);
        let vip = Vip(read_address(&mut reader, kind_octet & IPV6 != 0)?);
        Ok((Header { kind, vip, epoch }, reader.rest()))
    }
}

/// How a late packet came from outside, without its IP and UDP headers: in front of what the
/// datagram or ESP packet held. Its destination address is the VIP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LateOuter {
    /// The peer, of the VIP's family; port 0 for plain ESP.
    pub remote: SocketAddr,
    /// The port at which it came: 500, 4500, or 0 for plain ESP.
    pub local_port: u16,
    /// Traffic class of the outer header, with its ECN bits.
    pub traffic_class: u8,
}

impl LateOuter {
    /// Whether it was plain ESP, without UDP.
    #[must_use]
    pub fn is_plain_esp(&self) -> bool {
        self.local_port == 0
    }

    /// The octets that go between the frame's header and the packet: 10 or 22.
    #[must_use]
    pub fn emit(&self) -> Vec<u8> {
        let family = if self.remote.is_ipv6() { IPV6 } else { 0 };
        let mut out = vec![family, self.traffic_class];
        out.extend_from_slice(&self.local_port.to_be_bytes());
        out.extend_from_slice(&self.remote.port().to_be_bytes());
        push_address(self.remote.ip(), &mut out);
        out
    }

    /// Reads the octets behind the frame's header; also gives the packet.
    ///
    /// # Errors
    /// `Truncated`.
    pub fn parse(bytes: &[u8]) -> Result<(LateOuter, &[u8]), ParseError> {
        let mut reader = Reader::new("late packet", bytes);
        let family = reader.u8()?;
        let traffic_class = reader.u8()?;
        let local_port = reader.u16()?;
        let remote_port = reader.u16()?;
        let address = read_address(&mut reader, family & IPV6 != 0)?;
        let remote = SocketAddr::new(address, remote_port);
        Ok((LateOuter { remote, local_port, traffic_class }, reader.rest()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KINDS: [Kind; 5] =
        [Kind::ToTarget, Kind::ToOwner, Kind::LateOuter, Kind::LateInner, Kind::Heartbeat];

    #[test]
    fn every_kind_goes_there_and_back_for_both_families() {
        for kind in KINDS {
            for vip in ["192.0.2.10", "2001:db8::10"] {
                let header = Header { kind, vip: Vip(vip.parse().unwrap()), epoch: Epoch(0x0102) };
                let mut frame = [7; 64];
                let length = header.emit(&mut frame).unwrap();
                assert_eq!(length, header.length());
                assert_eq!(Header::parse(&frame), Ok((header, &[7; 64][length..])));
                for end in 0..length {
                    assert!(Header::parse(&frame[..end]).is_err(), "cut at {end}");
                    assert_eq!(header.emit(&mut [0; 64][..end]), None);
                }
            }
        }
    }

    #[test]
    fn the_header_is_as_drawn() {
        let vip = Vip("192.0.2.10".parse().unwrap());
        let header = Header { kind: Kind::ToOwner, vip, epoch: Epoch(0x0102) };
        let mut bytes = [0xaa; HEADER_LENGTH_IPV4];
        assert_eq!(header.emit(&mut bytes), Some(16));
        assert_eq!(bytes, [1, 2, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 192, 0, 2, 10]);
        bytes[1] = 6;
        assert_eq!(Header::parse(&bytes), Err(ParseError::Value("fabric frame")));
    }

    #[test]
    fn a_late_packet_keeps_where_it_came_from() {
        for remote in ["198.51.100.7:61000", "[2001:db8::7]:4500"] {
            let remote = remote.parse().unwrap();
            let late = LateOuter { remote, local_port: 4500, traffic_class: 0xb9 };
            let bytes = [&late.emit()[..], b"packet"].concat();
            assert_eq!(LateOuter::parse(&bytes), Ok((late, &b"packet"[..])));
            assert!(LateOuter::parse(&bytes[..9]).is_err());
        }
    }
}
