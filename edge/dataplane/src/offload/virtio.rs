//! The header in front of every packet on a TUN queue (`struct virtio_net_hdr`, virtio 1.2 section
//! 5.1.6; native byte order): whether checksums are open, and how a super-packet is to be cut.

/// Bytes of the header.
pub(crate) const LENGTH: usize = 10;

const NEEDS_CHECKSUM: u8 = 1;
const DATA_VALID: u8 = 2;

const GSO_NONE: u8 = 0;
const GSO_TCPV4: u8 = 1;
const GSO_TCPV6: u8 = 4;
const GSO_UDP_L4: u8 = 5;
/// The first segment carries CWR (RFC 3168), the others must not.
const GSO_ECN: u8 = 0x80;

/// What a super-packet is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// One packet.
    Single,
    /// A TCP stream over IPv4.
    Tcp4,
    /// A TCP stream over IPv6.
    Tcp6,
    /// Equal-sized UDP datagrams.
    Udp,
}

/// The header, as far as the data plane uses it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct VirtioHeader {
    /// What follows.
    pub(crate) kind: Kind,
    /// Bytes of payload per segment.
    pub(crate) segment: u16,
    /// Bytes of all headers together, for the receiver's convenience.
    pub(crate) headers: u16,
    /// Where the checksum that is still open starts, and where in that part it is to be written.
    pub(crate) open_checksum: Option<(u16, u16)>,
    /// The checksum has been verified.
    pub(crate) verified: bool,
}

impl VirtioHeader {
    /// A single packet about whose checksum nothing is said.
    pub(crate) const PLAIN: VirtioHeader = VirtioHeader {
        kind: Kind::Single,
        segment: 0,
        headers: 0,
        open_checksum: None,
        verified: false,
    };

    /// Reads the header; `None` when it is short or of a kind that nobody asked for.
    pub(crate) fn read(bytes: &[u8]) -> Option<VirtioHeader> {
        let bytes: &[u8; LENGTH] = bytes.first_chunk()?;
        let word = |at: usize| u16::from_ne_bytes([bytes[at], bytes[at + 1]]);
        let kind = match bytes[1] & !GSO_ECN {
            GSO_NONE => Kind::Single,
            GSO_TCPV4 => Kind::Tcp4,
            GSO_TCPV6 => Kind::Tcp6,
            GSO_UDP_L4 => Kind::Udp,
            _ => return None,
        };
        let open = bytes[0] & NEEDS_CHECKSUM != 0;
        Some(VirtioHeader {
            kind,
            headers: word(2),
            segment: word(4),
            open_checksum: open.then(|| (word(6), word(8))),
            verified: bytes[0] & DATA_VALID != 0,
        })
    }

    /// The header's bytes.
    pub(crate) fn bytes(&self) -> [u8; LENGTH] {
        let mut bytes = [0u8; LENGTH];
        if self.verified {
            bytes[0] |= DATA_VALID;
        }
        if let Some((start, offset)) = self.open_checksum {
            bytes[0] |= NEEDS_CHECKSUM;
            bytes[6..8].copy_from_slice(&start.to_ne_bytes());
            bytes[8..10].copy_from_slice(&offset.to_ne_bytes());
        }
        bytes[1] = match self.kind {
            Kind::Single => GSO_NONE,
            Kind::Tcp4 => GSO_TCPV4,
            Kind::Tcp6 => GSO_TCPV6,
            Kind::Udp => GSO_UDP_L4,
        };
        bytes[2..4].copy_from_slice(&self.headers.to_ne_bytes());
        bytes[4..6].copy_from_slice(&self.segment.to_ne_bytes());
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_survives_a_round_trip() {
        let header = VirtioHeader {
            kind: Kind::Tcp6,
            segment: 1400,
            headers: 72,
            open_checksum: Some((40, 16)),
            verified: false,
        };
        assert_eq!(VirtioHeader::read(&header.bytes()), Some(header));
        assert_eq!(VirtioHeader::read(&VirtioHeader::PLAIN.bytes()), Some(VirtioHeader::PLAIN));
    }

    #[test]
    fn unknown_kinds_and_short_headers_are_refused() {
        let mut bytes = VirtioHeader::PLAIN.bytes();
        bytes[1] = 3;
        assert_eq!(VirtioHeader::read(&bytes), None);
        assert_eq!(VirtioHeader::read(&bytes[..9]), None);
        bytes[1] = GSO_TCPV4 | GSO_ECN;
        assert_eq!(VirtioHeader::read(&bytes).map(|h| h.kind), Some(Kind::Tcp4));
    }
}
