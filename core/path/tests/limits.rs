//! Keys between nodes, several workers, periodic reports, and input that nobody should send.

mod world;

use core::net::{IpAddr, SocketAddr};
use core::time::Duration;
use proptest::prelude::*;
use vipsec_esp::{Expiry, Limits as LifetimeLimits};
use vipsec_path::{Command, DropReason, Limits, Report, Role};
use vipsec_wire::id::Epoch;
use world::packets::{ACK, SYN, socket, tcp, udp};
use world::peer::Peer;
use world::{World, name, vip};

const CLIENT: &str = "10.77.0.1:4000";
const WEB: &str = "192.0.2.10:80";

fn beat(text: &[u8]) -> Command {
    Command::Heartbeat { payload: text.to_vec(), interval: Duration::from_millis(50) }
}

fn beats(world: &mut World, node: &str) -> Vec<(String, Vec<u8>)> {
    let reports = world.reports(node).into_iter();
    reports
        .filter_map(|report| match report {
            Report::Heartbeat { from, payload } => Some((from.as_str().to_owned(), payload)),
            _ => None,
        })
        .collect()
}

#[test]
fn heartbeats_go_at_once_when_they_change_and_then_regularly() {
    let mut world = World::owned_by_a();
    world.command("a", &beat(b"first"));
    let first = ("a".to_owned(), b"first".to_vec());
    assert_eq!(beats(&mut world, "b"), vec![first.clone()]);
    world.command("a", &beat(b"first"));
    assert_eq!(beats(&mut world, "b"), [], "no change");
    world.pass(Duration::from_millis(149));
    assert_eq!(beats(&mut world, "t2"), vec![first; 3]);
    world.command("a", &beat(b"second"));
    assert_eq!(beats(&mut world, "t2"), [("a".to_owned(), b"second".to_vec())]);
    world.command("a", &beat(b""));
    world.reports("b");
    world.pass(Duration::from_secs(1));
    assert_eq!(beats(&mut world, "b"), []);
}

#[test]
fn new_keys_replace_old_ones_without_loss_whoever_learns_first() {
    for first in ["a", "b"] {
        let second = if first == "a" { "b" } else { "a" };
        let mut peer = Peer::number(1);
        let mut world = World::owned_by_a();
        world.install(&peer);
        world.send("a", &mut peer, &tcp(socket(CLIENT), socket(WEB), SYN, &[]));
        assert_eq!(world.kernel("b").len(), 1);
        let mut exchange = |world: &mut World| {
            world.send("a", &mut peer, &tcp(socket(CLIENT), socket(WEB), ACK, b"x"));
            assert_eq!(world.kernel("b").len(), 1);
            world.arrives_inside("b", &tcp(socket(WEB), socket(CLIENT), ACK, b"y"));
            assert_eq!(world.outside().len(), 1);
        };
        world.next_connections();
        world.join_one(first, second);
        exchange(&mut world);
        world.join_one(second, first);
        exchange(&mut world);
        world.pass(Duration::from_secs(7));
        exchange(&mut world);
        let confirmed = world.reports(second).into_iter();
        let confirmed = confirmed.filter(|r| matches!(r, Report::FabricConfirmed { .. }));
        assert_eq!(confirmed.count(), 1);
        // Gone: nothing passes until there are keys again.
        world.command("a", &Command::FabricGone { node: name("b") });
        world.send("a", &mut peer, &tcp(socket(CLIENT), socket(WEB), ACK, b"z"));
        assert_eq!(world.kernel("b").len(), 0);
        assert_eq!(world.drops("a", DropReason::NoFabric), 1);
    }
}

#[test]
fn a_worker_that_gets_no_frames_is_told_to_use_the_newest_keys() {
    let mut peer = Peer::number(1);
    let mut world = World::owned_by_a();
    world.install(&peer);
    world.next_connections();
    world.join_one("a", "b");
    let probes = world.drops("b", DropReason::FabricSpi);
    world.command("a", &Command::FabricConfirmed { node: name("b") });
    world.send("a", &mut peer, &tcp(socket(CLIENT), socket(WEB), SYN, &[]));
    let unknown = world.drops("b", DropReason::FabricSpi);
    assert_eq!(unknown, probes + 1, "b has not got the keys yet");
    world.join_one("b", "a");
    world.send("a", &mut peer, &tcp(socket(CLIENT), socket(WEB), SYN, &[]));
    assert_eq!(world.kernel("b").len(), 1);
}

#[test]
fn frames_are_authenticated_and_not_replayed() {
    let mut peer = Peer::number(1);
    let mut world = World::owned_by_a();
    world.install(&peer);
    world.fabric_flows = false;
    world.send("a", &mut peer, &tcp(socket(CLIENT), socket(WEB), SYN, &[]));
    let frame = world.fabric.pop_front().expect("a frame");
    let mut forged = frame.clone();
    *forged.2.last_mut().expect("bytes") ^= 1;
    let mut foreign = frame.clone();
    foreign.2[0] ^= 0x40;
    world.fabric.extend([forged, foreign, frame.clone(), frame]);
    world.fabric_flows = true;
    world.run();
    assert_eq!(world.kernel("b").len(), 1);
    assert_eq!(world.drops("b", DropReason::FabricUnauthentic), 1);
    assert_eq!(world.drops("b", DropReason::FabricSpi), 1);
    assert_eq!(world.drops("b", DropReason::FabricReplayed), 1);
}

//= RFC 7296 section 2.4 #7: all SAs of a peer are there
#[test]
fn each_peer_has_a_home_worker_to_which_others_hand_over() {
    let mut world = World::new(3, &Limits::default());
    world.own("a", 1);
    for target in ["a", "b", "t1", "t2"] {
        world.complete("a", target);
    }
    let mut peers: Vec<_> = (1..=6).map(Peer::number).collect();
    for peer in &peers {
        world.install(peer);
    }
    for (number, peer) in (1..).zip(&mut peers) {
        let client = (IpAddr::from([10, 77, 0, number]), 4000).into();
        world.send("a", peer, &tcp(client, socket(WEB), SYN, &[]));
        let kernels = ["b", "t1", "t2"];
        let target = kernels.into_iter().find(|t| !world.kernel(t).is_empty()).expect("a target");
        world.arrives_inside(target, &tcp(socket(WEB), client, SYN | ACK, &[]));
        let sent = world.outside();
        assert_eq!(sent.len(), 1);
        peer.open(&sent[0].1, &sent[0].2);
    }
    assert_eq!(world.all_drops(), []);
    // A transfer of all workers' parts.
    world.reports("a");
    world.command("a", &Command::Freeze { vip: vip() });
    let mut whole = vipsec_path::Handover::default();
    for report in world.reports("a") {
        if let Report::Frozen { handover, .. } = report {
            whole.merge(*handover);
        }
    }
    assert_eq!((whole.sas.len(), whole.connections.len()), (6, 6));
    let command = Command::Handover { vip: vip(), epoch: Epoch(2), handover: Box::new(whole) };
    world.command("b", &command);
    world.own("b", 2);
    for (number, peer) in (1..).zip(&mut peers) {
        let client = (IpAddr::from([10, 77, 0, number]), 4000).into();
        world.send("b", peer, &tcp(client, socket(WEB), ACK, b"x"));
    }
    let got: usize = ["b", "t1", "t2"].into_iter().map(|t| world.kernel(t).len()).sum();
    assert_eq!(got, 6);
    assert_eq!(world.all_drops(), []);
}

#[test]
fn a_worker_that_is_told_later_keeps_what_another_hands_over() {
    let mut world = World::new(2, &Limits::default());
    let mut peers: Vec<_> = (1..=4).map(Peer::number).collect();
    for peer in &peers {
        world.install(peer);
    }
    world.own("a", 1);
    world.follow("b", 1, Some("a"));
    let owner = Command::SetRole { vip: vip(), role: Role::Owner { epoch: Epoch(2) } };
    world.command_worker("b", 0, owner.clone());
    for (number, peer) in (1..).zip(&mut peers) {
        let client = (IpAddr::from([10, 77, 0, number]), 4000).into();
        world.send("b", peer, &udp(client, socket("10.3.0.5:9"), b"in"));
        world.arrives_inside("b", &udp(socket("10.3.0.5:9"), client, b"out"));
    }
    let early = (world.kernel("b").len(), world.outside().len());
    assert!(early.0 < 4 && early.1 < 4, "some belong to the other worker: {early:?}");
    world.command_worker("b", 1, owner);
    let late = (world.kernel("b").len(), world.outside().len());
    assert_eq!((early.0 + late.0, early.1 + late.1), (4, 4));
    assert_eq!(world.all_drops(), []);
}

#[test]
fn counters_edges_and_drops_are_reported() {
    let mut peer = Peer::number(1);
    let mut world = World::owned_by_a();
    world.install(&peer);
    world.pass(Duration::from_secs(2));
    world.reports("a");
    for _ in 0..3 {
        world.send("a", &mut peer, &udp(socket(CLIENT), socket("10.3.0.5:9"), b"in"));
    }
    world.arrives_inside("a", &udp(socket("10.3.0.5:9"), socket(CLIENT), b"out"));
    world.arrives_inside("a", &udp(socket("10.3.0.5:9"), socket("10.77.9.9:1"), b"nobody"));
    world.pass(Duration::from_millis(1500));
    let reports = world.reports("a");
    let edges = reports.iter().filter(|r| matches!(r, Report::Edges { .. })).count();
    assert_eq!(edges, 1);
    let counters = reports.iter().find_map(|report| match report {
        Report::Counters { counters, .. } => Some(counters.clone()),
        _ => None,
    });
    let counters = counters.expect("counters");
    assert_eq!((counters[0].in_packets, counters[0].out_packets), (3, 1));
    assert!(counters[0].last_in > vipsec_wire::time::Timestamp(0));
    let drops = reports.iter().find_map(|report| match report {
        Report::Drops(drops) => Some(drops.get(DropReason::NoSa)),
        _ => None,
    });
    assert_eq!(drops, Some(1));
    world.pass(Duration::from_secs(2));
    assert!(world.reports("a").is_empty(), "no traffic, no reports");
}

#[test]
fn lifetimes_are_told_by_use_and_by_time_at_the_owner_alone() {
    let mut by_use = Peer::number(1);
    by_use.child.lifetime.soft = LifetimeLimits { packets: Some(3), ..LifetimeLimits::default() };
    let mut by_time = Peer::number(2);
    by_time.child.lifetime.soft = LifetimeLimits { seconds: Some(60), ..LifetimeLimits::default() };
    by_time.child.lifetime.hard = LifetimeLimits { seconds: Some(90), ..LifetimeLimits::default() };
    let mut world = World::owned_by_a();
    world.install(&by_use);
    world.install(&by_time);
    for _ in 0..5 {
        world.send("a", &mut by_use, &udp(socket(CLIENT), socket("10.3.0.5:9"), b"in"));
    }
    world.pass(Duration::from_secs(50));
    let expiries = |world: &mut World, node: &str| -> Vec<_> {
        let reports = world.reports(node).into_iter();
        let expiries = reports.filter_map(|report| match report {
            Report::Expiry { spi_in, expiry, .. } => Some((spi_in, expiry)),
            _ => None,
        });
        expiries.collect()
    };
    let (first, second) = (by_use.child.inbound.spi, by_time.child.inbound.spi);
    assert_eq!(expiries(&mut world, "a"), [(first, Expiry::Soft)]);
    world.pass(Duration::from_secs(50));
    assert_eq!(expiries(&mut world, "a"), [(second, Expiry::Soft), (second, Expiry::Hard)]);
    assert_eq!(expiries(&mut world, "b"), []);
    world.own("b", 2);
    world.pass(Duration::from_secs(10));
    assert_eq!(expiries(&mut world, "b"), [(second, Expiry::Hard)]);
}

#[test]
fn an_sa_that_is_gone_leaves_nothing_to_be_done() {
    let mut peer = Peer::number(1);
    peer.child.lifetime.soft = LifetimeLimits { seconds: Some(60), ..LifetimeLimits::default() };
    peer.child.lifetime.hard = LifetimeLimits { seconds: Some(90), ..LifetimeLimits::default() };
    peer.child.endpoints.local_nat = true;
    let mut world = World::owned_by_a();
    world.pass(Duration::from_secs(10));
    let idle = world.nodes["a"].workers[0].poll_timeout();
    world.install(&peer);
    assert_ne!(world.nodes["a"].workers[0].poll_timeout(), idle);
    let spi_in = peer.child.inbound.spi;
    world.command("a", &Command::Remove { vip: vip(), spi_in, replaced: false });
    assert_eq!(world.nodes["a"].workers[0].poll_timeout(), idle);
    world.install(&peer);
    world.command("a", &Command::RemoveVip { vip: vip() });
    assert_eq!(world.nodes["a"].workers[0].poll_timeout(), idle);
}

/// Gives bytes to every entrance of a node.
/// The end of an SA.
fn end(peer: &Peer, replaced: bool) -> Command {
    Command::Remove { vip: vip(), spi_in: peer.child.inbound.spi, replaced }
}

/// The successor of a peer's SA.
fn successor(old: &Peer, number: u32) -> Peer {
    let mut child = Peer::number(number).child;
    child.ike = old.child.ike;
    child.local.clone_from(&old.child.local);
    child.remote.clone_from(&old.child.remote);
    Peer::new(child)
}

#[test]
fn what_the_delete_of_a_replaced_sa_has_overtaken_still_comes_in() {
    let mut old = Peer::number(1);
    let mut new = successor(&old, 2);
    let mut world = World::new(2, &Limits::default());
    world.own("a", 1);
    world.install(&old);
    world.install(&new);
    world.command("a", &end(&old, true));
    let inside = socket("10.3.0.5:9");
    world.send("a", &mut old, &udp(socket(CLIENT), inside, b"late"));
    assert_eq!(world.kernel("a").len(), 1);
    world.arrives_inside("a", &udp(inside, socket(CLIENT), b"nothing is sent on it"));
    let sent = world.outside();
    new.open(&sent[0].1, &sent[0].2);
    world.pass(Duration::from_secs(6));
    world.send("a", &mut old, &udp(socket(CLIENT), inside, b"too late"));
    assert_eq!(world.kernel("a").len(), 0);
    assert_eq!(world.all_drops(), [("a", DropReason::UnknownSpi, 1)]);
}

#[test]
fn replaced_sas_are_few_and_go_with_their_peer() {
    let limits = Limits { lingering: 1, ..Limits::default() };
    let mut world = World::new(1, &limits);
    world.own("a", 1);
    let (mut first, mut second) = (Peer::number(1), Peer::number(2));
    let last = successor(&second, 3);
    for peer in [&first, &second, &last] {
        world.install(peer);
    }
    world.command("a", &end(&first, true));
    world.command("a", &end(&second, true));
    let packet =
        |last| udp((IpAddr::from([10, 77, 0, last]), 4000).into(), socket("10.3.0.5:9"), b"late");
    world.send("a", &mut first, &packet(1));
    world.send("a", &mut second, &packet(2));
    assert_eq!(world.kernel("a").len(), 1, "of more the oldest go at once");
    world.command("a", &end(&last, false));
    world.send("a", &mut second, &packet(2));
    assert_eq!(world.kernel("a").len(), 0, "the peer has nothing any more");
    assert_eq!(world.all_drops(), [("a", DropReason::UnknownSpi, 2)]);
}

fn throw(world: &mut World, node: &'static str, bytes: &[u8]) {
    let (now, remote) = (world.now, SocketAddr::from(([198, 51, 100, 1], 4500)));
    world.with(node, 0, |path, out| {
        for port in [500, 4500, 53] {
            let local = (IpAddr::from([192, 0, 2, 10]), port).into();
            path.handle_udp(now, local, remote, 0, &mut bytes.to_vec(), out);
        }
        let local = IpAddr::from([192, 0, 2, 10]);
        path.handle_esp(now, local, remote.ip(), 3, &mut bytes.to_vec(), out);
        path.handle_inner(now, bytes, out);
        path.handle_fabric(now, remote, &mut bytes.to_vec(), out);
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn no_bytes_make_it_panic(
        bytes in proptest::collection::vec(any::<u8>(), 0..200),
        spi in prop_oneof![Just(0x1001_u32), any::<u32>()],
        inner in any::<bool>(),
    ) {
        let peer = Peer::number(1);
        let mut world = World::owned_by_a();
        world.install(&peer);
        let mut bytes = bytes;
        if let Some(start) = bytes.first_chunk_mut::<4>() {
            *start = spi.to_be_bytes();
            if inner {
                start[0] = if spi & 1 == 0 { 0x45 } else { 0x60 };
            }
        }
        for node in ["a", "b", "t1"] {
            throw(&mut world, node, &bytes);
        }
        world.command("a", &Command::Freeze { vip: vip() });
        throw(&mut world, "a", &bytes);
        world.own("b", 2);
        throw(&mut world, "a", &bytes);
        world.pass(Duration::from_millis(300));
        prop_assert_eq!(world.outside(), []);
    }

    #[test]
    fn no_authentic_payload_makes_it_panic(
        header in proptest::collection::vec(any::<u8>(), 0..80),
        base in 0_usize..3,
        at in 0_usize..60,
        value in any::<u8>(),
        next_header in prop_oneof![Just(4_u8), Just(41), Just(6), any::<u8>()],
    ) {
        let mut peer = Peer::number(1);
        let mut world = World::owned_by_a();
        world.install(&peer);
        let mut payload = match base {
            0 => header,
            1 => tcp(socket(CLIENT), socket(WEB), SYN, &[1; 20]),
            _ => udp(socket(CLIENT), socket("192.0.2.10:53"), &[1; 20]),
        };
        if let Some(byte) = payload.get_mut(at) {
            *byte = value;
        }
        let packet = peer.seal_as(next_header, &payload);
        world.arrives_outside("a", &peer, packet);
        let packet = peer.seal_as(next_header, &payload);
        world.own("b", 2);
        world.arrives_outside("a", &peer, packet);
        world.arrives_inside("t1", &payload);
        world.arrives_inside("b", &payload);
        world.pass(Duration::from_millis(300));
        let role = Role::Member { epoch: Epoch(3), owner: None };
        world.command("b", &Command::SetRole { vip: vip(), role });
    }
}
