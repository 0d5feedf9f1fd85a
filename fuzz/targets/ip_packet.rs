//! Packets from tunnels, from the protected side and from the link.
#![no_main]

use core::net::IpAddr;
use libfuzzer_sys::fuzz_target;
use vipsec_wire::ip::{Packet, icmp, ipv4, set_traffic_class, tcp, udp};
use vipsec_wire::link::{Arp, NeighborAdvertisement, NeighborSolicitation};

fuzz_target!(|bytes: &[u8]| {
    let _ = (Arp::parse(bytes), NeighborAdvertisement::parse(bytes));
    if let Ok(solicitation) = NeighborSolicitation::parse(bytes) {
        let _ = solicitation.answer(vipsec_wire::link::Mac([2, 0, 0, 0, 0, 1]));
    }
    let _ = tcp::clamp_mss(&mut bytes.to_vec(), 1300);
    let Ok(packet) = Packet::parse(bytes) else { return };
    let _ = (tcp::Header::parse(packet.transport()), udp::Header::parse(packet.transport()));
    let _ = (icmp::announced_mtu(&packet), packet.quoted());
    for from in [IpAddr::from([10, 0, 0, 1]), IpAddr::from([0xfd; 16])] {
        if let Some(answer) = icmp::too_big(from, bytes, 1280) {
            let answer = Packet::parse(&answer).expect("what we write is well-formed");
            assert_eq!(answer.tuple.destination, packet.tuple.source);
            assert!(answer.is_icmp_error());
        }
    }
    let mut changed = bytes.to_vec();
    let was_valid = ipv4::is_checksum_valid(bytes);
    set_traffic_class(&mut changed, 0x2e);
    let after = Packet::parse(&changed).expect("still a packet");
    assert_eq!((after.tuple, after.traffic_class), (packet.tuple, 0x2e));
    assert!(!was_valid || bytes[0] >> 4 == 6 || ipv4::is_checksum_valid(&changed));
});
