//! Packets, frames and fabric headers from anywhere: no panic, and what is made from them is in
//! order itself.

use core::net::IpAddr;
use proptest::collection::vec;
use proptest::prelude::*;
use vipsec_wire::ip::checksum::Sum;
use vipsec_wire::ip::{Packet, icmp, ipv4, ipv6, protocol, set_traffic_class, tcp, udp};
use vipsec_wire::link::{Arp, NeighborAdvertisement, NeighborSolicitation, ethernet};
use vipsec_wire::{esp, fabric};

/// A packet whose first header is plausible, with anything behind it.
fn packet() -> impl Strategy<Value = Vec<u8>> {
    let numbers = [0, 1, 6, 17, 43, 44, 50, 58, 59, 60, 132];
    let kind = proptest::sample::select(numbers.to_vec());
    (
        any::<bool>(),
        kind,
        any::<[u8; 32]>(),
        any::<u16>(),
        vec(prop_oneof![0..3u8, any::<u8>()], 0..200),
    )
        .prop_map(|(is_ipv4, kind, octets, fragment, content)| {
            let (source, destination) = octets.split_at(16);
            let v4 =
                |octets: &[u8]| u32::from_be_bytes([octets[0], octets[1], octets[2], octets[3]]);
            let v6 = |octets: &[u8]| octets.try_into().map(u128::from_be_bytes).expect("16 octets");
            if is_ipv4 {
                let mut header = ipv4::Header::new(
                    v4(source).into(),
                    v4(destination).into(),
                    kind,
                    content.len(),
                );
                header.fragment_offset = if fragment % 2 == 0 { 0 } else { fragment & !7 };
                [&header.emit()[..], &content].concat()
            } else {
                let header = ipv6::Header::new(
                    v6(source).into(),
                    v6(destination).into(),
                    kind,
                    content.len(),
                );
                [&header.emit()[..], &content].concat()
            }
        })
}

fn read_everything(bytes: &[u8]) {
    for ip in [IpAddr::from([10, 0, 0, 1]), IpAddr::from([0xfd; 16])] {
        for answer in
            [icmp::too_big(ip, bytes, 1280), icmp::unreachable(ip, bytes, icmp::Unreachable::Port)]
                .into_iter()
                .flatten()
        {
            let answer = Packet::parse(&answer).expect("what we write is well-formed");
            assert!(answer.is_icmp_error());
            let asked = Packet::parse(bytes).expect("only whole packets are answered");
            assert_eq!(answer.tuple.destination, asked.tuple.source);
        }
    }
    if let Ok(packet) = Packet::parse(bytes) {
        assert!(packet.bytes().len() <= bytes.len());
        let _ = (packet.quoted(), icmp::announced_mtu(&packet));
        let _ = (tcp::Header::parse(packet.transport()), udp::Header::parse(packet.transport()));
    }
    let _ = (tcp::mss(bytes), ipv4::is_checksum_valid(bytes), ipv6::FragmentHeader::parse(bytes));
    let _ = (Arp::parse(bytes), ethernet::Header::parse(bytes));
    let _ = (NeighborSolicitation::parse(bytes), NeighborAdvertisement::parse(bytes));
    let _ = (esp::Header::parse(bytes), esp::Encapsulated::parse(bytes));
    let _ = (fabric::Header::parse(bytes), fabric::LateOuter::parse(bytes));
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 512,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn anything(bytes in vec(any::<u8>(), 0..200)) {
        read_everything(&bytes);
    }

    #[test]
    fn plausible_packets_at_every_length(bytes in packet()) {
        for end in 0..=bytes.len() {
            read_everything(&bytes[..end]);
        }
    }

    #[test]
    fn a_new_traffic_class_changes_nothing_else(bytes in packet(), class: u8) {
        let mut changed = bytes.clone();
        set_traffic_class(&mut changed, class);
        if let Ok(before) = Packet::parse(&bytes) {
            let after = Packet::parse(&changed).expect("still a packet");
            prop_assert_eq!(after.traffic_class, class);
            prop_assert_eq!((after.tuple, after.transport()), (before.tuple, before.transport()));
            prop_assert!(bytes[0] >> 4 == 6 || ipv4::is_checksum_valid(&changed));
        }
    }

    #[test]
    fn a_lowered_segment_size_keeps_the_checksum_right(
        mut segment in vec(prop_oneof![1..3u8, 4..5u8, any::<u8>()], 20..60),
        limit: u16,
    ) {
        let words = segment.len() / 4;
        segment.truncate(words * 4);
        segment[12] = u8::try_from(words).expect("at most 15") << 4;
        segment[13] = tcp::Flags::SYN.0;
        segment[16..18].fill(0);
        let ends = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        let mut sum = Sum::pseudo_header(ends.0, ends.1, protocol::TCP, segment.len());
        let empty = sum;
        sum.add(&segment);
        segment[16..18].copy_from_slice(&sum.finish().to_be_bytes());
        let before = tcp::mss(&segment);
        let lowered = tcp::clamp_mss(&mut segment, limit);
        prop_assert_eq!(lowered, before.is_some_and(|mss| mss > limit));
        let mut sum = empty;
        sum.add(&segment);
        prop_assert!(sum.is_valid());
    }
}
