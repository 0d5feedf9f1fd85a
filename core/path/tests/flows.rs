//! The ways of a packet at a steady owner: to a target, to the owner itself, through to the kernel,
//! and back; and what must not pass.

mod world;

use core::net::IpAddr;
use core::time::Duration;
use vipsec_esp::Mode;
use vipsec_path::{Command, DropReason, Report, Route};
use vipsec_wire::ike::traffic_selector::TrafficSelector;
use vipsec_wire::ip::{Packet, set_traffic_class};
use world::packets::{ACK, RST, SYN, dont_fragment, is_checksum_right, socket, tcp, udp};
use world::peer::{Peer, child};
use world::{World, ip, name, vip};

const CLIENT: &str = "10.77.0.1:4000";
const WEB: &str = "192.0.2.10:80";

fn world_with(peer: &Peer) -> World {
    let mut world = World::owned_by_a();
    world.install(peer);
    world
}

#[test]
fn a_routed_connection_goes_to_its_target_and_back() {
    let mut peer = Peer::number(1);
    let mut world = world_with(&peer);
    // Round robin begins with b, then t1.
    for (port, target) in [(4000, "b"), (4001, "t1"), (4002, "t2"), (4003, "b")] {
        let client = socket(&format!("10.77.0.1:{port}"));
        for (flags, answer) in [(SYN, SYN | ACK), (ACK, ACK)] {
            let request = tcp(client, socket(WEB), flags, &[]);
            world.send("a", &mut peer, &request);
            let got = world.kernel(target);
            assert_eq!(got.len(), 1, "{target}");
            assert_eq!(
                Packet::parse(&got[0]).unwrap().tuple,
                Packet::parse(&request).unwrap().tuple
            );
            assert!(is_checksum_right(&got[0]));
            world.arrives_inside(target, &tcp(socket(WEB), client, answer, b"hello"));
            let sent = world.outside();
            assert_eq!(sent.len(), 1);
            assert_eq!(sent[0].0, "a", "all leaves through the owner");
            let inner = peer.open(&sent[0].1, &sent[0].2);
            assert!(is_checksum_right(&inner) && inner.ends_with(b"hello"));
        }
    }
    assert_eq!(world.all_drops(), []);
}

#[test]
fn what_is_no_service_goes_to_the_owners_kernel() {
    let mut peer = Peer::number(1);
    let mut world = world_with(&peer);
    let to_host = udp(socket(CLIENT), socket("10.3.0.5:9"), b"to a protected host");
    world.send("a", &mut peer, &to_host);
    assert_eq!(world.kernel("a"), [to_host]);
    let to_vip = udp(socket(CLIENT), socket("192.0.2.10:7"), b"no service there");
    world.send("a", &mut peer, &to_vip);
    assert_eq!(world.kernel("a"), [to_vip]);
    world.arrives_inside("a", &udp(socket("10.3.0.5:9"), socket(CLIENT), b"answer"));
    let sent = world.outside();
    assert!(peer.open(&sent[0].1, &sent[0].2).ends_with(b"answer"));
    assert_eq!(world.all_drops(), []);
}

#[test]
fn a_service_on_an_inner_address_is_distributed_alike() {
    let mut peer = Peer::number(1);
    let mut world = world_with(&peer);
    let syn = tcp(socket(CLIENT), socket("10.3.0.254:80"), SYN, &[]);
    world.send("a", &mut peer, &syn);
    assert_eq!(world.kernel("b").len(), 1);
}

#[test]
fn a_connection_that_a_target_opens_finds_its_way_back() {
    let mut peer = Peer::number(1);
    let mut world = world_with(&peer);
    let (local, remote) = (socket("192.0.2.10:50000"), socket("10.77.0.1:22"));
    world.arrives_inside("t2", &tcp(local, remote, SYN, &[]));
    let sent = world.outside();
    peer.open(&sent[0].1, &sent[0].2);
    let answer = tcp(remote, local, SYN | ACK, &[]);
    world.send("a", &mut peer, &answer);
    assert_eq!(world.kernel("t2").len(), 1);
    assert_eq!(world.kernel("a").len(), 0);
}

#[test]
fn a_second_target_that_opens_the_same_connection_is_told_at_once() {
    let mut peer = Peer::number(1);
    let mut world = world_with(&peer);
    let (local, remote) = (socket("192.0.2.10:50000"), socket("10.77.0.1:22"));
    for make in [
        |local, remote| tcp(local, remote, SYN, &[]),
        |local, remote| udp(local, remote, b"a question"),
    ] {
        world.arrives_inside("t2", &make(local, remote));
        let sent = world.outside();
        peer.open(&sent[0].1, &sent[0].2);
        for second in ["t1", "a"] {
            world.arrives_inside(second, &make(local, remote));
            assert_eq!(world.outside(), []);
            let answer = world.kernel(second).pop().expect("an answer");
            let view = Packet::parse(&answer).expect("an IP packet");
            let quoted = view.quoted().expect("what was refused").tuple;
            assert_eq!((quoted.source, quoted.ports), (local.ip(), Some((50_000, 22))));
            world.arrives_inside(second, &make(socket("192.0.2.10:50001"), remote));
            let sent = world.outside();
            assert_eq!(sent.len(), usize::from(second == "t1"), "the first with another port");
        }
    }
    assert_eq!(world.kernel("t2").len(), 0);
}

#[test]
fn a_target_cannot_reset_or_take_the_connection_of_another() {
    let mut peer = Peer::number(1);
    let mut world = world_with(&peer);
    world.send("a", &mut peer, &tcp(socket(CLIENT), socket(WEB), SYN, &[]));
    assert_eq!(world.kernel("b").len(), 1);
    for flags in [RST, ACK] {
        world.arrives_inside("t1", &tcp(socket(WEB), socket(CLIENT), flags, &[]));
    }
    world.arrives_inside("t1", &tcp(socket(WEB), socket("10.77.0.1:9999"), RST, &[]));
    assert_eq!(world.outside(), []);
    assert_eq!(world.drops("a", DropReason::WrongTarget), 2);
    assert_eq!(world.drops("a", DropReason::UnknownConnection), 1);
}

#[test]
fn nothing_leaves_that_no_sa_covers() {
    let peer = Peer::number(1);
    let mut world = world_with(&peer);
    let foreign = udp(socket("10.3.0.5:9"), socket("10.77.0.2:9"), b"for nobody");
    world.arrives_inside("a", &foreign);
    world.arrives_inside("t1", &udp(socket("192.0.2.10:53"), socket("10.77.0.2:9"), b"for nobody"));
    world.command(
        "a",
        &Command::Remove { vip: vip(), spi_in: peer.child.inbound.spi, replaced: false },
    );
    world.arrives_inside("a", &udp(socket("10.3.0.5:9"), socket(CLIENT), b"too late"));
    assert_eq!(world.outside(), []);
    assert_eq!(world.drops("a", DropReason::NoSa), 3);
}

#[test]
fn a_peer_may_send_only_what_its_selectors_allow() {
    let mut peer = Peer::number(1);
    let mut world = world_with(&peer);
    let forged = udp(socket("10.77.0.2:1"), socket("10.3.0.5:9"), b"not mine");
    world.send("a", &mut peer, &forged);
    assert_eq!(world.drops("a", DropReason::Selector), 1);
    let wrong_family = peer.seal_as(41, &udp(socket(CLIENT), socket("10.3.0.5:9"), b"x"));
    world.arrives_outside("a", &peer, wrong_family);
    let odd = peer.seal_as(99, b"what is this?");
    world.arrives_outside("a", &peer, odd);
    let dummy = peer.seal_as(59, b"traffic flow confidentiality");
    world.arrives_outside("a", &peer, dummy);
    assert_eq!(world.kernel("a").len(), 0);
    assert_eq!(world.drops("a", DropReason::NextHeader), 1);
    assert_eq!(world.drops("a", DropReason::Malformed), 1);
}

//= RFC 7296 section 2.23 #11: UDP where no NAT is
#[test]
fn replayed_forged_and_unknown_packets_are_counted() {
    let mut peer = Peer::number(1);
    let mut world = world_with(&peer);
    let packet = peer.seal(&udp(socket(CLIENT), socket("10.3.0.5:9"), b"once"));
    world.arrives_outside("a", &peer, packet.clone());
    world.arrives_outside("a", &peer, packet.clone());
    let mut forged = peer.seal(&udp(socket(CLIENT), socket("10.3.0.5:9"), b"forged"));
    *forged.last_mut().unwrap() ^= 1;
    world.arrives_outside("a", &peer, forged);
    let mut unknown = packet;
    unknown[0] ^= 0x80;
    world.arrives_outside("a", &peer, unknown);
    assert_eq!(world.kernel("a").len(), 1);
    assert_eq!(world.drops("a", DropReason::Replayed), 1);
    assert_eq!(world.drops("a", DropReason::Unauthentic), 1);
    assert_eq!(world.drops("a", DropReason::UnknownSpi), 1);
}

//= RFC 7296 section 2.23 #5: with UDP and without
//= RFC 7296 section 2.23 #6: as the SA has it
#[test]
fn families_nest_either_way_with_and_without_encapsulation() {
    let (inner4, inner6) = ("10.77.0.1", "2001:db8:77::1");
    let (outer4, outer6) = ("198.51.100.1", "2001:db8::1");
    for (inner, outer) in [(inner4, outer4), (inner6, outer4), (inner4, outer6), (inner6, outer6)] {
        for encapsulated in [true, false] {
            let mut sa = child(1, ip(inner));
            sa.endpoints.encapsulated = encapsulated;
            sa.endpoints.remote.set_ip(ip(outer));
            if ip(outer).is_ipv6() {
                // The VIP of this world is of IPv4; only the peer's side matters to the path.
                sa.endpoints.remote.set_port(4500);
            }
            let mut peer = Peer::new(sa);
            let mut world = world_with(&peer);
            let host = if inner == inner4 { "10.3.0.5" } else { "2001:db8:3::5" };
            let (client, host) = ((ip(inner), 1000).into(), (ip(host), 2000).into());
            world.send("a", &mut peer, &udp(client, host, b"in"));
            assert!(world.kernel("a")[0].ends_with(b"in"));
            world.arrives_inside("a", &udp(host, client, b"out"));
            let sent = world.outside();
            assert!(peer.open(&sent[0].1, &sent[0].2).ends_with(b"out"));
            assert_eq!(world.all_drops(), []);
        }
    }
}

#[test]
fn transport_mode_rebuilds_the_header_and_behind_nat_the_checksum() {
    for encapsulated in [false, true] {
        let remote = "198.51.100.1";
        let mut sa = child(1, ip(remote));
        sa.mode = Mode::Transport;
        sa.endpoints.encapsulated = encapsulated;
        sa.local = vec![TrafficSelector::host(ip("192.0.2.10"))];
        let mut peer = Peer::new(sa);
        let mut world = world_with(&peer);
        let client = (ip(remote), 4000).into();
        // Behind a NAT the peer made the checksum for its own, private address.
        let seen_by_peer = if encapsulated { "192.168.1.2:4000" } else { "198.51.100.1:4000" };
        let sent = tcp(socket(seen_by_peer), socket(WEB), SYN, &[]);
        let packet = peer.seal_as(6, &sent[20..]);
        world.arrives_outside("a", &peer, packet);
        let got = world.kernel("b");
        let view = Packet::parse(&got[0]).expect("an IP packet");
        assert_eq!((view.tuple.source, view.tuple.destination), (ip(remote), ip("192.0.2.10")));
        assert!(is_checksum_right(&got[0]));
        let answer = tcp(socket(WEB), client, SYN | ACK, b"hello");
        world.arrives_inside("b", &answer);
        let sent = world.outside();
        let payload = peer.open(&sent[0].1, &sent[0].2);
        let rebuilt = world::packets::ip_packet(ip("192.0.2.10"), ip(remote), 6, &payload);
        assert!(is_checksum_right(&rebuilt) && payload.ends_with(b"hello"));
        let tunnelled = peer.seal_as(4, &answer);
        world.arrives_outside("a", &peer, tunnelled);
        assert_eq!(world.drops("a", DropReason::NextHeader), 1);
    }
}

#[test]
fn transport_mode_over_ipv6() {
    let mut sa = child(1, ip("2001:db8::1"));
    sa.mode = Mode::Transport;
    sa.endpoints.encapsulated = false;
    sa.endpoints.local.set_ip(ip("2001:db8::10"));
    sa.endpoints.remote.set_ip(ip("2001:db8::1"));
    sa.vip = vipsec_wire::id::Vip(ip("2001:db8::10"));
    let mut peer = Peer::new(sa);
    let mut world = World::owned_by_a();
    let mut config = world::vip_config(vipsec_path::Replay::Bounded);
    config.vip = peer.child.vip;
    config.services.clear();
    world.command("a", &Command::ConfigureVip(Box::new(config)));
    let role = vipsec_path::Role::Owner { epoch: vipsec_wire::id::Epoch(1) };
    world.command("a", &Command::SetRole { vip: peer.child.vip, role });
    world.install(&peer);
    let (client, server) = (socket("[2001:db8::1]:4000"), socket("[2001:db8::10]:7"));
    let sent = udp(client, server, b"ping");
    let packet = peer.seal_as(17, &sent[40..]);
    world.arrives_outside("a", &peer, packet);
    assert_eq!(world.kernel("a"), [sent]);
    world.arrives_inside("a", &udp(server, client, b"pong"));
    let out = world.outside();
    assert!(matches!(out[0].1, Route::Esp { .. }));
    assert!(peer.open(&out[0].1, &out[0].2).ends_with(b"pong"));
}

//= RFC 7296 section 2.24 #2: no mark is lost
#[test]
fn congestion_marks_pass_and_the_outer_class_is_the_inner_one() {
    let mut peer = Peer::number(1);
    let mut world = world_with(&peer);
    let mut marked = udp(socket(CLIENT), socket("10.3.0.5:9"), b"ect");
    set_traffic_class(&mut marked, 0xb8 | 0b10);
    for (inner_class, expected) in [(0xb8 | 0b10, Some(0xb8 | 0b11)), (0xb8, None)] {
        set_traffic_class(&mut marked, inner_class);
        let mut packet = peer.seal(&marked);
        let (now, endpoints) = (world.now, peer.child.endpoints);
        world.with("a", 0, |path, out| {
            path.handle_udp(now, endpoints.local, endpoints.remote, 0b11, &mut packet, out);
        });
        let got = world.kernel("a");
        let class = got.first().map(|p| Packet::parse(p).unwrap().traffic_class);
        assert_eq!(class, expected);
    }
    assert_eq!(world.drops("a", DropReason::Congestion), 1);
    let mut answer = udp(socket("10.3.0.5:9"), socket(CLIENT), b"ect");
    set_traffic_class(&mut answer, 0x2a);
    world.arrives_inside("a", &answer);
    let sent = world.outside();
    assert!(matches!(sent[0].1, Route::Udp { tos: 0x2a, .. }));
}

#[test]
fn ike_goes_to_the_node_and_keepalives_to_nobody() {
    let mut world = World::owned_by_a();
    let (local, remote) = (socket("192.0.2.10:500"), socket("198.51.100.9:500"));
    let (local_t, remote_t) = (socket("192.0.2.10:4500"), socket("198.51.100.9:61000"));
    let now = world.now;
    world.reports("a");
    world.with("a", 0, |path, out| {
        path.handle_udp(now, local, remote, 0, &mut b"ike on 500".to_vec(), out);
        path.handle_udp(now, local_t, remote_t, 0, &mut b"\0\0\0\0ike on 4500".to_vec(), out);
        path.handle_udp(now, local_t, remote_t, 0, &mut [0xff], out);
        path.handle_udp(now, local_t, remote_t, 0, &mut [0xff, 1], out);
    });
    let reports = world.reports("a");
    let messages: Vec<_> = reports
        .iter()
        .filter_map(|report| match report {
            Report::Ike { local, remote, message, .. } => Some((*local, *remote, &message[..])),
            _ => None,
        })
        .collect();
    assert_eq!(
        messages,
        [(local, remote, &b"ike on 500"[..]), (local_t, remote_t, b"ike on 4500")]
    );
    assert_eq!(world.drops("a", DropReason::Malformed), 1);
    world.with("b", 0, |path, out| {
        path.handle_udp(now, local, remote, 0, &mut b"to a standby".to_vec(), out);
    });
    world.pass(Duration::from_secs(1));
    assert_eq!(world.drops("b", DropReason::FreezeExpired), 1);
}

#[test]
fn a_new_mapping_is_told_once_and_only_for_the_newest_packet() {
    let mut peer = Peer::number(1);
    let mut world = world_with(&peer);
    let inner = udp(socket(CLIENT), socket("10.3.0.5:9"), b"moved");
    let (old, new) = (peer.seal(&inner), [peer.seal(&inner), peer.seal(&inner)]);
    let moved = socket("198.51.100.77:61000");
    let (now, local) = (world.now, peer.child.endpoints.local);
    world.reports("a");
    world.with("a", 0, |path, out| {
        for mut packet in new.clone() {
            path.handle_udp(now, local, moved, 0, &mut packet, out);
        }
        path.handle_udp(now, local, socket("203.0.113.1:1"), 0, &mut old.clone(), out);
    });
    let told: Vec<_> = world
        .reports("a")
        .into_iter()
        .filter_map(|report| match report {
            Report::Mapping { ike, remote, .. } => Some((ike, remote)),
            _ => None,
        })
        .collect();
    assert_eq!(told, [(peer.child.ike, moved)]);
    assert_eq!(world.kernel("a").len(), 3);
}

#[test]
fn an_icmp_error_about_a_connection_goes_to_its_target() {
    let mut peer = Peer::number(1);
    let mut world = world_with(&peer);
    world.send("a", &mut peer, &tcp(socket(CLIENT), socket(WEB), SYN, &[]));
    assert_eq!(world.kernel("b").len(), 1);
    let answer = tcp(socket(WEB), socket(CLIENT), SYN | ACK, &[]);
    let error = vipsec_wire::ip::icmp::too_big(ip("10.77.0.1"), &answer, 1300).expect("an error");
    world.send("a", &mut peer, &error);
    assert_eq!(world.kernel("b"), [error]);
}

#[test]
fn later_fragments_follow_the_first_and_may_come_before_it() {
    let mut peer = Peer::number(1);
    let mut world = world_with(&peer);
    let whole = udp(socket("10.77.0.1:4000"), socket("192.0.2.10:53"), &[7; 100]);
    let cut = |at: usize, end: usize, more: bool| {
        let mut part = whole[..20].to_vec();
        part.extend_from_slice(&whole[20 + at..20 + end]);
        let length = u16::try_from(part.len()).unwrap();
        part[2..4].copy_from_slice(&length.to_be_bytes());
        part[4..6].copy_from_slice(&[0x42, 0x42]);
        let flags = u16::try_from(at / 8).unwrap() | if more { 0x2000 } else { 0 };
        part[6..8].copy_from_slice(&flags.to_be_bytes());
        part
    };
    let parts = [cut(0, 40, true), cut(40, 80, true), cut(80, 108, false)];
    for part in [&parts[2], &parts[0], &parts[1]] {
        world.send("a", &mut peer, part);
    }
    world.pass(core::time::Duration::from_millis(250));
    assert_eq!(world.kernel("b").len(), 3);
    assert_eq!(world.all_drops(), []);
}

#[test]
fn an_unhealthy_target_gets_no_new_connections_and_keeps_the_old() {
    let mut peer = Peer::number(1);
    let mut world = world_with(&peer);
    world.send("a", &mut peer, &tcp(socket(CLIENT), socket(WEB), SYN, &[]));
    assert_eq!(world.kernel("b").len(), 1);
    let sick =
        Command::SetTargetHealth { vip: vip(), service: None, node: name("b"), usable: false };
    world.command("a", &sick);
    for port in 5000..5010 {
        let client = (IpAddr::from([10, 77, 0, 1]), port).into();
        world.send("a", &mut peer, &tcp(client, socket(WEB), SYN, &[]));
    }
    assert_eq!(world.kernel("b").len(), 0);
    assert_eq!(world.kernel("t1").len() + world.kernel("t2").len(), 10);
    world.send("a", &mut peer, &tcp(socket(CLIENT), socket(WEB), ACK, b"x"));
    assert_eq!(world.kernel("b").len(), 1);
}

#[test]
fn a_packet_that_must_not_be_cut_is_answered_with_the_right_size() {
    let mut peer = Peer::number(1);
    let mut world = world_with(&peer);
    let packet = |length: usize| {
        dont_fragment(udp(socket("10.3.0.5:9"), socket(CLIENT), &vec![1; length - 28]))
    };
    world.arrives_inside("a", &packet(1438));
    let sent = world.outside();
    assert_eq!(sent[0].2.len(), 1500 - 28, "fills the path exactly");
    peer.open(&sent[0].1, &sent[0].2);
    world.arrives_inside("a", &packet(1439));
    assert_eq!(world.outside(), []);
    let answer = world.kernel("a").pop().expect("an answer");
    let view = Packet::parse(&answer).expect("an IP packet");
    assert_eq!(vipsec_wire::ip::icmp::announced_mtu(&view), Some(1438));
    assert_eq!(view.tuple.destination, ip("10.3.0.5"));
    let now = world.now;
    world.with("a", 0, |path, _| path.handle_pmtu(now, ip("198.51.100.1"), 1400));
    world.arrives_inside("a", &packet(1339));
    let answer = world.kernel("a").pop().expect("an answer");
    let view = Packet::parse(&answer).expect("an IP packet");
    assert_eq!(vipsec_wire::ip::icmp::announced_mtu(&view), Some(1338));
    assert_eq!(world.drops("a", DropReason::TooBig), 2);
}

#[test]
fn only_what_is_not_cut_inside_may_be_cut_outside() {
    let may_fragment = |route: &Route| match route {
        Route::Udp { may_fragment, .. } | Route::Esp { may_fragment, .. } => *may_fragment,
        Route::Fabric { .. } => panic!("it goes to the peer"),
    };
    let mut transport = child(1, ip("198.51.100.1"));
    transport.mode = Mode::Transport;
    transport.local = vec![TrafficSelector::host(ip("192.0.2.10"))];
    let mut ipv6 = child(1, ip("2001:db8:77::1"));
    ipv6.local = vec![TrafficSelector::any_v6()];
    for (sa, from, to, header) in [
        (transport, "192.0.2.10:7", "198.51.100.1:4000", 28),
        (ipv6, "[2001:db8:3::5]:7", "[2001:db8:77::1]:9", 48),
    ] {
        let peer = Peer::new(sa);
        let mut world = world_with(&peer);
        let now = world.now;
        world.with("a", 0, |path, _| path.handle_pmtu(now, ip("198.51.100.1"), 1300));
        for (length, expected) in [(1000, false), (1280, true)] {
            world.arrives_inside("a", &udp(socket(from), socket(to), &vec![1; length - header]));
            let sent = world.outside();
            assert_eq!(sent.len(), 1, "in one piece");
            assert_eq!(may_fragment(&sent[0].1), expected, "{length} bytes from {from}");
        }
    }
}

#[test]
fn a_target_hears_of_its_own_packets_that_are_too_big() {
    let mut peer = Peer::number(1);
    let mut world = world_with(&peer);
    world.send("a", &mut peer, &tcp(socket(CLIENT), socket(WEB), SYN, &[]));
    world.kernel("b");
    let large = dont_fragment(tcp(socket(WEB), socket(CLIENT), ACK, &[1; 1460]));
    world.arrives_inside("b", &large);
    let answer = world.kernel("b").pop().expect("an answer");
    let view = Packet::parse(&answer).expect("an IP packet");
    assert_eq!(vipsec_wire::ip::icmp::announced_mtu(&view), Some(1438));
}

#[test]
fn a_large_packet_that_may_be_cut_leaves_in_parts() {
    let mut peer = Peer::number(1);
    let mut world = world_with(&peer);
    let large = udp(socket("10.3.0.5:9"), socket(CLIENT), &[5; 4000]);
    world.arrives_inside("a", &large);
    let sent = world.outside();
    assert_eq!(sent.len(), 3);
    let mut content = Vec::new();
    for (_, route, packet) in &sent {
        assert!(packet.len() <= 1472);
        let part = peer.open(route, packet);
        content.extend_from_slice(&part[20..]);
    }
    assert_eq!(content, large[20..]);
}

#[test]
fn the_maximum_segment_size_is_clamped_both_ways() {
    let mut peer = Peer::number(1);
    let mut world = world_with(&peer);
    world.send("a", &mut peer, &tcp(socket(CLIENT), socket(WEB), SYN, &[]));
    let syn = world.kernel("b").pop().expect("the SYN");
    assert_eq!(vipsec_wire::ip::tcp::mss(&syn[20..]), Some(1360), "TUN of 1400");
    assert!(is_checksum_right(&syn));
    world.arrives_inside("b", &tcp(socket(WEB), socket(CLIENT), SYN | ACK, &[]));
    let sent = world.outside();
    let answer = peer.open(&sent[0].1, &sent[0].2);
    assert_eq!(vipsec_wire::ip::tcp::mss(&answer[20..]), Some(1360));
    assert!(is_checksum_right(&answer));
}
