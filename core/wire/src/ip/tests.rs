//! Tests of this module's types: round trips, cuts, and bytes written by hand.

use super::checksum::{Sum, checksum, update};
use super::tcp::Flags;
use super::*;
use crate::ParseError;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const A4: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 9);
const B4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 10);
const A6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 9);
const B6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 10);

fn udp4(content: &[u8]) -> Vec<u8> {
    let datagram = udp::emit((A4.into(), 4000), (B4.into(), 53), content);
    let header = ipv4::Header::new(A4, B4, protocol::UDP, datagram.len());
    [&header.emit()[..], &datagram].concat()
}

/// An IPv6 packet with the given extension headers in front of `content`.
fn ipv6(first: u8, extensions: &[u8], content: &[u8]) -> Vec<u8> {
    let payload = [extensions, content].concat();
    let header = ipv6::Header::new(A6, B6, first, payload.len());
    [&header.emit()[..], &payload].concat()
}

/// The straightforward sum of RFC 1071 section 4.1, to hold the fast one against.
fn slow_checksum(bytes: &[u8]) -> u16 {
    let mut sum = 0u64;
    for pair in bytes.chunks(2) {
        sum += u64::from(pair[0]) << 8 | u64::from(*pair.get(1).unwrap_or(&0));
    }
    while sum >> 16 != 0 {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap()
}

#[test]
fn the_checksum_of_rfc_1071_section_3() {
    let example = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
    assert_eq!(checksum(&example), !0xddf2);
}

#[test]
fn the_fast_checksum_is_the_slow_one_at_every_length() {
    let bytes: Vec<u8> = (0..2000u32).map(|n| n.wrapping_mul(197).to_be_bytes()[3]).collect();
    for length in (0..200).chain([1499, 1500, 2000]) {
        assert_eq!(checksum(&bytes[..length]), slow_checksum(&bytes[..length]), "{length}");
        assert_eq!(checksum(&vec![0xff; length]), slow_checksum(&vec![0xff; length]));
    }
    let mut pieces = Sum::new();
    pieces.add(&bytes[..6]);
    pieces.add(&bytes[6..20]);
    pieces.add(&bytes[20..33]);
    assert_eq!(pieces.finish(), slow_checksum(&bytes[..33]));
}

#[test]
fn an_updated_checksum_is_the_one_computed_anew() {
    let mut bytes = [0x12, 0x34, 0xff, 0xff, 0x00, 0x00, 0xab, 0xcd];
    for (old, new) in [(0x1234u16, 0xffffu16), (0xffff, 0x0000), (0, 0x8001), (0x8001, 0x8001)] {
        let before = checksum(&bytes);
        bytes[..2].copy_from_slice(&old.to_be_bytes());
        let with_old = checksum(&bytes);
        bytes[..2].copy_from_slice(&new.to_be_bytes());
        assert_eq!(update(with_old, old, new), checksum(&bytes), "from {before:04x}");
    }
    // RFC 1624 section 4.
    assert_eq!(update(0xdd2f, 0x5555, 0x3285), 0x0000);
}

#[test]
fn an_ipv4_header_goes_there_and_back() {
    let mut header = ipv4::Header::new(A4, B4, protocol::TCP, 40);
    header.traffic_class = 0xb9;
    header.identification = 0x1234;
    header.dont_fragment = true;
    header.more_fragments = true;
    header.fragment_offset = 1480;
    header.ttl = 3;
    let bytes = header.emit();
    assert_eq!(ipv4::Header::parse(&bytes), Ok(header));
    assert!(ipv4::is_checksum_valid(&bytes));
    for end in 0..bytes.len() {
        assert!(ipv4::Header::parse(&bytes[..end]).is_err(), "cut at {end}");
        assert!(!ipv4::is_checksum_valid(&bytes[..end]));
    }
}

#[test]
fn the_tuple_of_a_datagram_with_padding_behind_it() {
    let mut bytes = udp4(b"query");
    let own = bytes.len();
    bytes.extend_from_slice(&[0; 9]);
    let packet = Packet::parse(&bytes).unwrap();
    let tuple =
        Tuple { source: A4.into(), destination: B4.into(), protocol: 17, ports: Some((4000, 53)) };
    assert_eq!((packet.tuple, packet.bytes().len()), (tuple, own));
    assert_eq!(packet.tuple.reversed().ports, Some((53, 4000)));
    assert_eq!(packet.tuple.reversed().source, IpAddr::from(B4));
    let (header, content) = udp::Header::parse(packet.transport()).unwrap();
    assert_eq!((header.length, content), (13, &b"query"[..]));
    assert!(udp::is_checksum_valid(A4.into(), B4.into(), packet.transport()));
    for end in 0..own {
        assert!(Packet::parse(&bytes[..end]).is_err(), "cut at {end}");
    }
}

#[test]
fn fragments_show_ports_in_the_first_only() {
    let mut first = udp4(&[1; 16]);
    first[6..8].copy_from_slice(&0x2000u16.to_be_bytes());
    let packet = Packet::parse(&first).unwrap();
    assert_eq!(packet.tuple.ports, Some((4000, 53)));
    assert_eq!(packet.fragment, Some(Fragment { identification: 0, offset: 0, more: true }));
    let mut later = first.clone();
    later[6..8].copy_from_slice(&2u16.to_be_bytes());
    let packet = Packet::parse(&later).unwrap();
    assert!(packet.is_later_fragment());
    assert_eq!(packet.tuple.ports, None);
    let mut beyond = first;
    beyond[6..8].copy_from_slice(&0x1fffu16.to_be_bytes());
    assert_eq!(Packet::parse(&beyond), Err(ParseError::Length("IP fragment")));
}

#[test]
fn extension_headers_are_walked_over() {
    let datagram = udp::emit((A6.into(), 1), (B6.into(), 2), b"x");
    let hop_by_hop = [protocol::ROUTING, 0, 1, 4, 0, 0, 0, 0];
    let routing = [protocol::DESTINATION_OPTIONS, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let destination = [protocol::UDP, 0, 1, 4, 0, 0, 0, 0];
    let extensions = [&hop_by_hop[..], &routing, &destination].concat();
    let bytes = ipv6(protocol::HOP_BY_HOP, &extensions, &datagram);
    let packet = Packet::parse(&bytes).unwrap();
    assert_eq!((packet.tuple.protocol, packet.tuple.ports), (17, Some((1, 2))));
    assert_eq!(packet.transport(), datagram);
    let upper = ipv6::walk(&ipv6::Header::parse(&bytes).unwrap(), &bytes).unwrap();
    assert_eq!((upper.fragmentable_at, upper.next_header_at), (40 + 24, 40 + 8));
    for end in 0..bytes.len() {
        assert!(Packet::parse(&bytes[..end]).is_err(), "cut at {end}");
    }
    let misplaced = [protocol::HOP_BY_HOP, 0, 1, 4, 0, 0, 0, 0, protocol::UDP, 0, 1, 4, 0, 0, 0, 0];
    assert!(Packet::parse(&ipv6(protocol::ROUTING, &misplaced, &datagram)).is_err());
}

#[test]
fn endless_extension_headers_are_refused() {
    let option = [protocol::DESTINATION_OPTIONS, 0, 1, 4, 0, 0, 0, 0];
    let bytes = ipv6(protocol::DESTINATION_OPTIONS, &option.repeat(40), &[]);
    assert_eq!(Packet::parse(&bytes), Err(ParseError::Value("IPv6 extension header")));
}

#[test]
fn an_ipv6_fragment_names_its_whole() {
    let header = ipv6::FragmentHeader {
        next_header: protocol::UDP,
        offset: 0,
        more: true,
        identification: 0xdead_beef,
    };
    let datagram = udp::emit((A6.into(), 1), (B6.into(), 2), &[0; 8]);
    let bytes = ipv6(protocol::FRAGMENT, &header.emit(), &datagram);
    let packet = Packet::parse(&bytes).unwrap();
    assert_eq!(packet.tuple.ports, Some((1, 2)));
    assert_eq!(packet.fragment.map(|fragment| fragment.identification), Some(0xdead_beef));
    let later = ipv6::FragmentHeader { offset: 1232, more: false, ..header };
    assert_eq!(ipv6::FragmentHeader::parse(&later.emit()), Ok(later));
    let bytes = ipv6(protocol::FRAGMENT, &later.emit(), &[9; 3]);
    let packet = Packet::parse(&bytes).unwrap();
    assert_eq!((packet.tuple.protocol, packet.tuple.ports), (17, None));
    assert!(packet.is_later_fragment());
}

#[test]
fn the_traffic_class_is_replaced_in_place() {
    let mut bytes = udp4(b"x");
    set_traffic_class(&mut bytes, 0xfe);
    assert!(ipv4::is_checksum_valid(&bytes));
    assert_eq!(Packet::parse(&bytes).unwrap().traffic_class, 0xfe);
    let mut bytes = ipv6(protocol::NO_NEXT_HEADER, &[], &[]);
    bytes[2..4].copy_from_slice(&[0xab, 0xcd]);
    set_traffic_class(&mut bytes, 0xfe);
    let header = ipv6::Header::parse(&bytes).unwrap();
    assert_eq!((header.traffic_class, header.flow_label), (0xfe, 0xabcd));
    assert_eq!(header.emit()[..], bytes[..]);
    set_traffic_class(&mut [0x45, 0], 1);
}

/// A SYN with the given options and a right checksum.
fn syn(options: &[u8]) -> Vec<u8> {
    let mut segment = vec![0x9c, 0x40, 0, 80, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0x02, 0xff, 0xff];
    segment.extend_from_slice(&[0, 0, 0, 0]);
    segment.extend_from_slice(options);
    segment[12] = u8::try_from(segment.len() / 4).unwrap() << 4;
    let mut sum = Sum::pseudo_header(A4.into(), B4.into(), protocol::TCP, segment.len());
    sum.add(&segment);
    segment[16..18].copy_from_slice(&sum.finish().to_be_bytes());
    segment
}

fn is_tcp_checksum_valid(segment: &[u8]) -> bool {
    let mut sum = Sum::pseudo_header(A4.into(), B4.into(), protocol::TCP, segment.len());
    sum.add(segment);
    sum.is_valid()
}

#[test]
fn the_segment_size_is_lowered_wherever_it_stands() {
    for options in [&[2, 4, 0x05, 0xb4][..], &[1, 2, 4, 0x05, 0xb4, 1, 1, 0]] {
        let mut segment = syn(options);
        assert_eq!(tcp::mss(&segment), Some(1460));
        assert!(!tcp::clamp_mss(&mut segment, 1460));
        assert!(tcp::clamp_mss(&mut segment, 1321));
        assert_eq!(tcp::mss(&segment), Some(1321));
        assert!(is_tcp_checksum_valid(&segment));
        segment[13] = Flags::ACK.0;
        assert!(!tcp::clamp_mss(&mut segment, 500));
    }
}

#[test]
fn broken_options_hold_no_segment_size() {
    for options in
        [&[2, 0, 5, 180][..], &[2, 1, 5, 180], &[8, 40, 2, 4], &[0, 2, 4, 5], &[1, 1, 1, 2]]
    {
        assert_eq!(tcp::mss(&syn(options)), None, "{options:?}");
    }
    let segment = syn(&[]);
    for end in 0..segment.len() {
        assert!(tcp::Header::parse(&segment[..end]).is_err(), "cut at {end}");
    }
}

#[test]
fn flags_tell_what_a_segment_does() {
    let header = tcp::Header::parse(&syn(&[])).unwrap();
    assert!(header.flags.is_open() && header.flags.has(Flags::SYN));
    assert_eq!((header.source_port, header.destination_port, header.window), (40000, 80, 0xffff));
    assert!(!Flags(0x12).is_open());
    assert!(!Flags(0x06).is_open());
    assert!(Flags(0x12).has(Flags::ACK));
}

#[test]
fn too_big_tells_the_sender_and_quotes_the_packet() {
    let offending = udp4(&[7; 1400]);
    let bytes = icmp::too_big(B4.into(), &offending, 1400).unwrap();
    assert_eq!(bytes.len(), 576);
    assert!(ipv4::is_checksum_valid(&bytes));
    let packet = Packet::parse(&bytes).unwrap();
    assert_eq!(checksum(packet.transport()), 0);
    assert!(packet.is_icmp_error());
    assert_eq!((packet.tuple.destination, packet.tuple.source), (A4.into(), B4.into()));
    assert_eq!(icmp::announced_mtu(&packet), Some(1400));
    let quoted = packet.quoted().unwrap();
    assert_eq!(quoted.tuple, Packet::parse(&offending).unwrap().tuple);
    assert_eq!(icmp::too_big(B4.into(), &bytes, 500), None, "no error about an error");
}

#[test]
fn too_big_for_ipv6_has_a_right_checksum() {
    let datagram = udp::emit((A6.into(), 1), (B6.into(), 2), &[0; 1400]);
    let offending = ipv6(protocol::UDP, &[], &datagram);
    let bytes = icmp::too_big(B6.into(), &offending, 1280).unwrap();
    assert_eq!(bytes.len(), 1280);
    let packet = Packet::parse(&bytes).unwrap();
    let message = packet.transport();
    let mut sum = Sum::pseudo_header(B6.into(), A6.into(), protocol::ICMPV6, message.len());
    sum.add(message);
    assert!(sum.is_valid());
    assert_eq!(icmp::announced_mtu(&packet), Some(1280));
    assert_eq!(packet.quoted().unwrap().tuple.ports, Some((1, 2)));
    let unreachable = icmp::unreachable(B6.into(), &offending, icmp::Unreachable::Prohibited);
    assert_eq!(unreachable.unwrap()[40..42], [1, 1]);
}

#[test]
fn nobody_is_told_who_must_not_be() {
    let mut later = udp4(&[0; 8]);
    later[7] = 1;
    assert_eq!(icmp::too_big(B4.into(), &later, 500), None, "not the first fragment");
    let mut nameless = udp4(&[0; 8]);
    nameless[12..16].fill(0);
    assert_eq!(icmp::unreachable(B4.into(), &nameless, icmp::Unreachable::Host), None);
    assert_eq!(icmp::too_big(B6.into(), &udp4(&[]), 500), None, "families differ");
}
