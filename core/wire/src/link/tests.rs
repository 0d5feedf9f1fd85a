//! Tests of this module's types: round trips, cuts, and bytes written by hand.

use super::arp::Operation;
use super::ethernet::Header;
use super::*;
use crate::ParseError;
use core::net::{Ipv4Addr, Ipv6Addr};

const OURS: Mac = Mac([2, 0, 0, 0, 0, 1]);
const THEIRS: Mac = Mac([2, 0, 0, 0, 0, 2]);
const VIP4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 10);
const PEER4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const VIP6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0x12, 0x3456);
const PEER6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);

#[test]
fn a_request_is_answered_to_who_asked() {
    let question = Arp::request(THEIRS, PEER4, VIP4);
    let (header, content) = Header::parse(&question).unwrap();
    assert_eq!((header.destination, header.kind), (Mac::BROADCAST, EtherType::ARP));
    let request = Arp::parse(content).unwrap();
    assert_eq!((request.operation, request.target), (Operation::Request, VIP4));
    let answer = request.answer(OURS).unwrap();
    let expected = [
        2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 6, // Ethernet
        0, 1, 8, 0, 6, 4, 0, 2, // a reply for IPv4 over Ethernet
        2, 0, 0, 0, 0, 1, 192, 0, 2, 10, // sender
        2, 0, 0, 0, 0, 2, 192, 0, 2, 1, // target
    ];
    assert_eq!(answer, expected);
    let (_, content) = Header::parse(&answer).unwrap();
    assert_eq!(Arp::parse(content).unwrap().answer(OURS), None);
}

#[test]
fn an_announcement_speaks_of_itself() {
    for operation in [Operation::Request, Operation::Reply] {
        let frame = Arp::announcement(operation, OURS, VIP4);
        let (header, content) = Header::parse(&frame).unwrap();
        let arp = Arp::parse(content).unwrap();
        assert_eq!(header.destination, Mac::BROADCAST);
        assert_eq!((arp.sender, arp.target, arp.sender_mac), (VIP4, VIP4, OURS));
    }
}

#[test]
fn an_arp_packet_of_another_kind_or_cut_is_refused() {
    let arp = Arp::parse(&Arp::announcement(Operation::Reply, OURS, VIP4)[14..]).unwrap();
    let bytes = arp.emit();
    for end in 0..bytes.len() {
        assert!(Arp::parse(&bytes[..end]).is_err(), "cut at {end}");
    }
    for (at, value) in [(1, 6), (3, 1), (4, 8), (5, 16), (7, 3)] {
        let mut strange = bytes;
        strange[at] = value;
        assert_eq!(Arp::parse(&strange), Err(ParseError::Value("ARP packet")));
    }
}

#[test]
fn a_solicitation_goes_to_the_group_and_is_answered_to_who_asked() {
    let question = NeighborSolicitation::request(THEIRS, PEER6, VIP6);
    let (header, packet) = Header::parse(&question).unwrap();
    assert_eq!(header.destination, Mac([0x33, 0x33, 0xff, 0x12, 0x34, 0x56]));
    let solicitation = NeighborSolicitation::parse(packet).unwrap();
    assert_eq!(solicitation.destination, "ff02::1:ff12:3456".parse::<Ipv6Addr>().unwrap());
    assert_eq!((solicitation.source, solicitation.source_mac), (PEER6, Some(THEIRS)));
    let answer = solicitation.answer(OURS);
    let (header, packet) = Header::parse(&answer).unwrap();
    assert_eq!((header.destination, header.source), (THEIRS, OURS));
    let advertisement = NeighborAdvertisement::parse(packet).unwrap();
    let expected = NeighborAdvertisement {
        source: VIP6,
        destination: PEER6,
        target: VIP6,
        router: false,
        solicited: true,
        overrides: true,
        target_mac: Some(OURS),
    };
    assert_eq!(advertisement, expected);
}

#[test]
fn a_probe_is_answered_through_all_nodes() {
    let probe = NeighborSolicitation::request(THEIRS, Ipv6Addr::UNSPECIFIED, VIP6);
    let answer = NeighborSolicitation::parse(&probe[14..]).unwrap().answer(OURS);
    let (header, packet) = Header::parse(&answer).unwrap();
    assert_eq!(header.destination, Mac([0x33, 0x33, 0, 0, 0, 1]));
    let advertisement = NeighborAdvertisement::parse(packet).unwrap();
    assert!(advertisement.overrides && !advertisement.solicited);
    assert_eq!(answer, NeighborAdvertisement::announcement(OURS, VIP6));
}

#[test]
fn a_neighbour_message_that_was_forwarded_cut_or_changed_is_refused() {
    let frame = NeighborSolicitation::request(THEIRS, PEER6, VIP6);
    let packet = &frame[14..];
    for end in 0..packet.len() {
        assert!(NeighborSolicitation::parse(&packet[..end]).is_err(), "cut at {end}");
    }
    let with = |at: usize, value: u8| {
        let mut changed = packet.to_vec();
        changed[at] = value;
        NeighborSolicitation::parse(&changed)
    };
    let what = "neighbour solicitation";
    assert_eq!(with(7, 254), Err(ParseError::Value(what)));
    assert_eq!(with(63, 0), Err(ParseError::Checksum(what)));
    assert!(NeighborAdvertisement::parse(packet).is_err());
}
