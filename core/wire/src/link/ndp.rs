//! Neighbour solicitations and advertisements (RFC 4861 sections 4.3 and 4.4). Parsers take the
//! IPv6 packet, for its hop limit and checksum count; builders give whole Ethernet frames.

use super::ethernet::{EtherType, Header, Mac};
use crate::ParseError;
use crate::ip::checksum::Sum;
use crate::ip::{ipv6, protocol};
use crate::reader::Reader;
use core::net::Ipv6Addr;

const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;

/// Flags of an advertisement.
const ROUTER: u8 = 0x80;
const SOLICITED: u8 = 0x40;
const OVERRIDE: u8 = 0x20;

/// Options that carry a hardware address: of the sender, and of the target.
const SOURCE_MAC: u8 = 1;
const TARGET_MAC: u8 = 2;

/// All nodes on the link.
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

/// The hop limit that shows that a message comes from the link itself.
const HOP_LIMIT: u8 = 255;

/// Where solicitations for an address go to (RFC 4291 section 2.7.1).
#[must_use]
pub fn solicited_node(address: Ipv6Addr) -> Ipv6Addr {
    let [.., a, b, c] = address.octets();
    let low = u16::from_be_bytes([b, c]);
    Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | u16::from(a), low)
}

/// Asks who has an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NeighborSolicitation {
    /// Who asks; unspecified when it only wants to know whether the address is free.
    pub source: Ipv6Addr,
    /// To which address the packet went: the target's own or its solicited-node group.
    pub destination: Ipv6Addr,
    /// The address.
    pub target: Ipv6Addr,
    /// Hardware address of who asks.
    pub source_mac: Option<Mac>,
}

/// Tells who has an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NeighborAdvertisement {
    /// Who tells.
    pub source: Ipv6Addr,
    /// Whom.
    pub destination: Ipv6Addr,
    /// The address.
    pub target: Ipv6Addr,
    /// The sender is a router.
    pub router: bool,
    /// It answers a solicitation.
    pub solicited: bool,
    /// It replaces what the receiver knew.
    pub overrides: bool,
    /// The hardware address.
    pub target_mac: Option<Mac>,
}

/// The parts that both messages share.
struct Message {
    header: ipv6::Header,
    flags: u8,
    target: Ipv6Addr,
    mac: Option<Mac>,
}

fn parse(packet: &[u8], kind: u8, what: &'static str) -> Result<Message, ParseError> {
    let header = ipv6::Header::parse(packet)?;
    let body = packet
        .get(ipv6::HEADER_LENGTH..ipv6::HEADER_LENGTH + usize::from(header.payload_length))
        .ok_or(ParseError::Truncated(what))?;
    let (source, destination) = (header.source.into(), header.destination.into());
    let mut sum = Sum::pseudo_header(source, destination, protocol::ICMPV6, body.len());
    sum.add(body);
    let mut reader = Reader::new(what, body);
    let is_ours = header.next_header == protocol::ICMPV6 && header.hop_limit == HOP_LIMIT;
    if !is_ours || reader.array::<2>()? != [kind, 0] {
        return Err(ParseError::Value(what));
    }
    if !sum.is_valid() {
        return Err(ParseError::Checksum(what));
    }
    reader.take(2)?;
    let [flags, ..] = reader.array::<4>()?;
    let target = Ipv6Addr::from(reader.array::<16>()?);
    if target.is_multicast() {
        return Err(ParseError::Value(what));
    }
    let wanted = if kind == SOLICITATION { SOURCE_MAC } else { TARGET_MAC };
    let mac = parse_options(&mut reader, wanted, what)?;
    Ok(Message { header, flags, target, mac })
}

/// Walks over the options for a hardware address.
fn parse_options(
    reader: &mut Reader<'_>,
    wanted: u8,
    what: &'static str,
) -> Result<Option<Mac>, ParseError> {
    let mut mac = None;
    while !reader.is_empty() {
        let kind = reader.u8()?;
        let length = usize::from(reader.u8()?) * 8;
        let value_length = length.checked_sub(2).ok_or(ParseError::Length(what))?;
        let value = reader.take(value_length)?;
        if kind == wanted {
            mac = value.first_chunk::<6>().map(|octets| Mac(*octets));
        }
    }
    Ok(mac)
}

fn emit(header: [Ipv6Addr; 2], head: [u8; 2], target: Ipv6Addr, option: (u8, Mac)) -> Vec<u8> {
    let [source, destination] = header;
    let [kind, flags] = head;
    let mut body = vec![kind, 0, 0, 0, flags, 0, 0, 0];
    body.extend_from_slice(&target.octets());
    body.extend_from_slice(&[option.0, 1]);
    body.extend_from_slice(&option.1.0);
    let mut sum =
        Sum::pseudo_header(source.into(), destination.into(), protocol::ICMPV6, body.len());
    sum.add(&body);
    body[2..4].copy_from_slice(&sum.finish().to_be_bytes());
    let mut ip = ipv6::Header::new(source, destination, protocol::ICMPV6, body.len());
    ip.hop_limit = HOP_LIMIT;
    [&ip.emit()[..], &body].concat()
}

impl NeighborSolicitation {
    /// Reads an IPv6 packet.
    ///
    /// # Errors
    /// Names what is wrong (RFC 4861 section 7.1.1).
    pub fn parse(packet: &[u8]) -> Result<NeighborSolicitation, ParseError> {
        let message = parse(packet, SOLICITATION, "neighbour solicitation")?;
        Ok(NeighborSolicitation {
            source: message.header.source,
            destination: message.header.destination,
            target: message.target,
            source_mac: message.mac,
        })
    }

    /// The frame in which `mac` asks who has `target`, on behalf of `source`.
    #[must_use]
    pub fn request(mac: Mac, source: Ipv6Addr, target: Ipv6Addr) -> Vec<u8> {
        let group = solicited_node(target);
        let packet = emit([source, group], [SOLICITATION, 0], target, (SOURCE_MAC, mac));
        frame(mac, Mac::of_multicast(group), &packet)
    }

    /// The frame in which `mac` answers. Who does not say its hardware address, or only wants to
    /// know whether the address is free, is answered through all nodes.
    #[must_use]
    pub fn answer(&self, mac: Mac) -> Vec<u8> {
        let head = |solicited: u8| [ADVERTISEMENT, OVERRIDE | solicited];
        match self.source_mac {
            Some(to) if !self.source.is_unspecified() => {
                let addresses = [self.target, self.source];
                let packet = emit(addresses, head(SOLICITED), self.target, (TARGET_MAC, mac));
                frame(mac, to, &packet)
            }
            _ => NeighborAdvertisement::announcement(mac, self.target),
        }
    }
}

impl NeighborAdvertisement {
    /// Reads an IPv6 packet.
    ///
    /// # Errors
    /// Names what is wrong (RFC 4861 section 7.1.2).
    pub fn parse(packet: &[u8]) -> Result<NeighborAdvertisement, ParseError> {
        let message = parse(packet, ADVERTISEMENT, "neighbour advertisement")?;
        Ok(NeighborAdvertisement {
            source: message.header.source,
            destination: message.header.destination,
            target: message.target,
            router: message.flags & ROUTER != 0,
            solicited: message.flags & SOLICITED != 0,
            overrides: message.flags & OVERRIDE != 0,
            target_mac: message.mac,
        })
    }

    /// The frame that tells everybody that `mac` has `address` now.
    #[must_use]
    pub fn announcement(mac: Mac, address: Ipv6Addr) -> Vec<u8> {
        let head = [ADVERTISEMENT, OVERRIDE];
        let packet = emit([address, ALL_NODES], head, address, (TARGET_MAC, mac));
        frame(mac, Mac::of_multicast(ALL_NODES), &packet)
    }
}

fn frame(source: Mac, destination: Mac, packet: &[u8]) -> Vec<u8> {
    Header { destination, source, kind: EtherType::IPV6 }.emit(packet)
}
