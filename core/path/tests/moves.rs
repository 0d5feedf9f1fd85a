//! Changes of owner: transfer without loss, takeover with a jump, late and early packets,
//! connections that nobody knows for a moment, and chains of all that.

mod world;

use core::time::Duration;
use vipsec_esp::BLOCK;
use vipsec_path::{Command, DropReason, Limits, Replay, Report, Role};
use vipsec_wire::cluster::ConnectionUpdate;
use vipsec_wire::id::{Epoch, EspSpi};
use world::packets::{ACK, SYN, socket, tcp, udp};
use world::peer::Peer;
use world::transfer::{open_connection, segment, transfer};
use world::{World, name, vip};

const CLIENT: &str = "10.77.0.1:4000";
const WEB: &str = "192.0.2.10:80";
const DNS: &str = "192.0.2.10:53";

fn world_with(peer: &Peer) -> World {
    let mut world = World::owned_by_a();
    world.install(peer);
    world
}

#[test]
fn a_transfer_loses_nothing_and_continues_exactly() {
    for flip_first in [true, false] {
        let mut peer = Peer::number(1);
        let mut world = world_with(&peer);
        let targets: Vec<_> =
            (0..3).map(|n| open_connection(&mut world, &mut peer, "a", 4000 + n)).collect();
        assert_eq!(targets, ["b", "t1", "t2"]);
        let before = peer.sequences.last().copied().expect("packets");
        transfer(&mut world, ("a", "b"), 2, flip_first, |world| {
            for port in 4000..4003 {
                world.send("a", &mut peer, &segment(port, b"while frozen"));
            }
            world.arrives_inside("t1", &tcp(socket(WEB), socket("10.77.0.1:4001"), ACK, b"answer"));
            world.arrives_inside("a", &udp(socket("10.3.0.5:9"), socket(CLIENT), b"from a host"));
            assert_eq!(world.outside(), []);
        });
        // Late: at the former owner, from outside and from a host inside.
        world.send("a", &mut peer, &segment(4002, b"late"));
        world.arrives_inside("a", &udp(socket("10.3.0.5:9"), socket(CLIENT), b"late"));
        world.send("b", &mut peer, &segment(4001, b"after"));
        assert_eq!([world.kernel("b").len(), world.kernel("t1").len()], [1, 2]);
        assert_eq!(world.kernel("t2").len(), 2);
        let sent = world.outside();
        assert_eq!(sent.len(), 3);
        for (node, route, packet) in &sent {
            assert_eq!(*node, "b");
            peer.open(route, packet);
        }
        let expected: Vec<u64> = (before + 1..=before + 3).collect();
        assert_eq!(peer.sequences[peer.sequences.len() - 3..], expected, "no jump");
        assert_eq!(world.all_drops(), []);
    }
}

#[test]
fn connections_change_their_label_with_the_owner_and_keep_their_target() {
    let mut peer = Peer::number(1);
    let mut world = world_with(&peer);
    // A connection of the owner itself, no service.
    let ssh = socket("192.0.2.10:22");
    world.send("a", &mut peer, &tcp(socket(CLIENT), ssh, SYN, &[]));
    assert_eq!(world.kernel("a").len(), 1);
    assert_eq!(open_connection(&mut world, &mut peer, "a", 4000), "b");
    for (from, to, epoch) in [("a", "b", 2), ("b", "a", 3), ("a", "b", 4)] {
        transfer(&mut world, (from, to), epoch, true, |_| {});
        world.send(to, &mut peer, &tcp(socket(CLIENT), ssh, ACK, b"local or routed"));
        assert_eq!(world.kernel("a").len(), 1, "a keeps its own");
        world.send(to, &mut peer, &segment(4000, b"routed or local"));
        assert_eq!(world.kernel("b").len(), 1, "b keeps its own");
        world.arrives_inside("a", &tcp(ssh, socket(CLIENT), ACK, b"answer"));
        let sent = world.outside();
        assert_eq!(sent[0].0, to);
        peer.open(&sent[0].1, &sent[0].2);
    }
    assert_eq!(world.all_drops(), []);
}

#[test]
fn a_thawed_owner_goes_on() {
    let mut peer = Peer::number(1);
    let mut world = world_with(&peer);
    world.command("a", &Command::Freeze { vip: vip() });
    world.send("a", &mut peer, &udp(socket(CLIENT), socket("10.3.0.5:9"), b"in"));
    world.arrives_inside("a", &udp(socket("10.3.0.5:9"), socket(CLIENT), b"out"));
    world.pass(Duration::from_secs(3));
    assert_eq!((world.kernel("a").len(), world.outside().len()), (0, 0));
    world.command("a", &Command::Thaw { vip: vip() });
    assert_eq!(world.kernel("a").len(), 1);
    let sent = world.outside();
    peer.open(&sent[0].1, &sent[0].2);
    assert_eq!(world.all_drops(), []);
}

#[test]
fn the_queue_of_a_frozen_owner_is_bounded() {
    let mut peer = Peer::number(1);
    let limits = Limits { freeze_packets: 2, ..Limits::default() };
    let mut world = World::new(1, &limits);
    world.own("a", 1);
    world.install(&peer);
    world.command("a", &Command::Freeze { vip: vip() });
    for _ in 0..5 {
        world.send("a", &mut peer, &udp(socket(CLIENT), socket("10.3.0.5:9"), b"in"));
    }
    assert_eq!(world.drops("a", DropReason::FreezeFull), 3);
}

#[test]
fn what_comes_for_an_owner_to_be_waits_for_it_a_moment() {
    let mut peer = Peer::number(1);
    let mut world = world_with(&peer);
    // a is deposed and t1 is told before b has flipped.
    world.follow("a", 2, Some("b"));
    world.follow("t1", 2, Some("b"));
    world.send("a", &mut peer, &udp(socket(CLIENT), socket("10.3.0.5:9"), b"in"));
    world.arrives_inside("t1", &udp(socket(DNS), socket("10.77.0.1:7"), b"out"));
    assert_eq!((world.kernel("b").len(), world.outside().len()), (0, 0));
    world.command("b", &Command::SetRole { vip: vip(), role: Role::Owner { epoch: Epoch(2) } });
    assert_eq!((world.kernel("b").len(), world.outside().len()), (1, 1));
    // An owner that does not come.
    world.follow("a", 4, Some("t2"));
    world.send("a", &mut peer, &udp(socket(CLIENT), socket("10.3.0.5:9"), b"in"));
    world.pass(Duration::from_secs(2));
    assert_eq!(world.drops("t2", DropReason::FreezeExpired), 1);
}

#[test]
fn a_former_owner_forwards_for_some_seconds_and_nothing_is_forwarded_twice() {
    let mut peer = Peer::number(1);
    let mut world = world_with(&peer);
    world.own("b", 2);
    let packet = udp(socket(CLIENT), socket("10.3.0.5:9"), b"late");
    world.send("a", &mut peer, &packet);
    assert_eq!(world.kernel("b").len(), 1);
    // b has lost it too, but a does not know.
    world.follow("b", 3, Some("t2"));
    world.send("a", &mut peer, &packet);
    assert_eq!(world.drops("b", DropReason::Hops), 1);
    world.pass(Duration::from_secs(6));
    world.send("a", &mut peer, &packet);
    assert_eq!(world.fabric.len(), 0);
    world.pass(Duration::from_secs(1));
    assert_eq!(world.drops("a", DropReason::FreezeExpired), 1);
}

#[test]
fn what_comes_from_outside_a_moment_before_a_takeover_waits_for_it() {
    let mut peer = Peer::number(1);
    let limits = Limits { freeze_packets: 2, ..Limits::default() };
    let mut world = World::new(1, &limits);
    world.install(&peer);
    let packet = udp(socket(CLIENT), socket("10.3.0.5:9"), b"in");
    // Nobody has owned yet, and the switches know us from before our restart.
    world.send("a", &mut peer, &packet);
    world.pass(Duration::from_millis(900));
    world.own("a", 1);
    assert_eq!(world.kernel("a").len(), 1);
    // The owner dies, and the switches hear of its successor before the worker does.
    for _ in 0..3 {
        world.send("b", &mut peer, &packet);
    }
    assert_eq!(world.kernel("b").len(), 0);
    world.own("b", 2);
    assert_eq!(world.kernel("b").len(), 2);
    assert_eq!(world.all_drops(), [("b", DropReason::FreezeFull, 1)]);
}

#[test]
fn what_comes_from_inside_before_a_restarted_node_owns_waits_for_it() {
    let peer = Peer::number(1);
    let mut world = World::new(1, &Limits::default());
    let mut config = world::vip_config(Replay::Bounded);
    config.protected = vec![(world::ip("10.77.0.0"), world::ip("10.77.255.255"))];
    world.command("a", &Command::ConfigureVip(Box::new(config)));
    let from_service = udp(socket(DNS), socket(CLIENT), b"an answer");
    let from_behind = udp(socket("10.3.0.5:9"), socket(CLIENT), b"from the network behind");
    let elsewhere = udp(socket("10.3.0.5:9"), socket("10.99.0.1:9"), b"to nobody");
    // Not even the SAs have been read.
    for packet in [&from_service, &from_behind, &elsewhere] {
        world.arrives_inside("a", packet);
    }
    assert_eq!(world.all_drops(), [("a", DropReason::NoSa, 1)]);
    world.install(&peer);
    world.own("a", 1);
    assert_eq!(world.outside().len(), 2);
    // An owner that does not come.
    world.arrives_inside("t1", &from_service);
    world.follow("t1", 2, None);
    world.arrives_inside("t1", &from_service);
    world.pass(Duration::from_secs(2));
    assert_eq!(world.drops("t1", DropReason::FreezeExpired), 1);
}

#[test]
fn a_takeover_jumps_ahead_and_accepts_only_above_the_known_edge() {
    let mut peer = Peer::number(1);
    let mut world = world_with(&peer);
    let inner = udp(socket(CLIENT), socket("10.3.0.5:9"), b"in");
    let packets: Vec<_> = (0..6).map(|_| peer.seal(&inner)).collect();
    for packet in &packets[..4] {
        world.arrives_outside("a", &peer, packet.clone());
    }
    world.arrives_inside("a", &udp(socket("10.3.0.5:9"), socket(CLIENT), b"out"));
    world.pass(Duration::from_millis(20));
    let told = edges(&world.reports("a"));
    assert_eq!(told, [(peer.child.inbound.spi, 4)]);
    world.command("b", &Command::Edges { vip: vip(), edges: told });
    world.own("b", 2);
    for packet in &packets {
        world.arrives_outside("b", &peer, packet.clone());
    }
    assert_eq!(world.kernel("b").len(), 2, "only what is above the edge");
    assert_eq!(world.drops("b", DropReason::Replayed), 4);
    world.arrives_inside("b", &udp(socket("10.3.0.5:9"), socket(CLIENT), b"out"));
    for (_, route, packet) in world.outside() {
        peer.open(&route, &packet);
    }
    assert_eq!(peer.sequences, [1, BLOCK + 1]);
    // A third owner, told of a high-water mark beyond the block.
    let marks = vec![(peer.child.inbound.spi, 3 * BLOCK)];
    world.command("a", &Command::HighWater { vip: vip(), marks });
    world.own("a", 3);
    world.arrives_inside("a", &udp(socket("10.3.0.5:9"), socket(CLIENT), b"out"));
    for (_, route, packet) in world.outside() {
        peer.open(&route, &packet);
    }
    assert_eq!(peer.sequences, [1, BLOCK + 1, 3 * BLOCK + 1]);
}

fn edges(reports: &[Report]) -> Vec<(EspSpi, u64)> {
    let edges = reports.iter().filter_map(|report| match report {
        Report::Edges { edges, .. } => Some(edges.clone()),
        _ => None,
    });
    edges.flatten().collect()
}

#[test]
fn a_new_owner_streams_on_the_edges_that_it_inherited() {
    let peers: Vec<_> = (1..=5).map(Peer::number).collect();
    let limits = Limits { edges: 2, ..Limits::default() };
    let mut world = World::new(1, &limits);
    for peer in &peers {
        world.install(peer);
    }
    let known: Vec<_> = peers.iter().map(|peer| (peer.child.inbound.spi, 50)).collect();
    world.command("b", &Command::Edges { vip: vip(), edges: known.clone() });
    world.own("b", 2);
    world.pass(Duration::from_millis(100));
    assert_eq!(edges(&world.reports("b")), known);
}

#[test]
fn strict_protection_accepts_nothing_and_asks_for_a_rekey() {
    let mut peer = Peer::number(1);
    let mut world = world_with(&peer);
    world.command("b", &Command::ConfigureVip(Box::new(world::vip_config(Replay::Strict))));
    world.own("b", 2);
    world.reports("b");
    for _ in 0..3 {
        world.send("b", &mut peer, &udp(socket(CLIENT), socket("10.3.0.5:9"), b"in"));
    }
    assert_eq!(world.kernel("b").len(), 0);
    assert_eq!(world.drops("b", DropReason::StrictReplay), 3);
    let asked = world.reports("b").into_iter().filter(|r| matches!(r, Report::Expiry { .. }));
    assert_eq!(asked.count(), 1);
}

#[test]
fn an_unknown_connection_waits_for_its_targets_report() {
    let mut peer = Peer::number(1);
    let mut world = world_with(&peer);
    open_connection(&mut world, &mut peer, "a", 4000);
    assert_eq!(open_connection(&mut world, &mut peer, "a", 4001), "t1");
    world.own("b", 2);
    world.send("b", &mut peer, &segment(4001, b"who has it?"));
    world.pass(Duration::from_millis(100));
    assert_eq!(world.kernel("t1").len(), 0);
    let report = own_connections(&mut world, "t1");
    assert_eq!(report.len(), 1);
    let command =
        Command::Connections { vip: vip(), from: name("t1"), updates: report, complete: true };
    world.command("b", &command);
    assert_eq!(world.kernel("t1").len(), 1);
    world.send("b", &mut peer, &segment(4000, b"b has this one itself"));
    assert_eq!(world.kernel("b").len(), 1);
    assert_eq!(world.all_drops(), []);
}

fn own_connections(world: &mut World, node: &'static str) -> Vec<ConnectionUpdate> {
    world.reports(node);
    world.command(node, &Command::ReportConnections { vip: vip() });
    let reports = world.reports(node).into_iter();
    let parts = reports.filter_map(|report| match report {
        Report::Connections { updates, .. } => Some(updates),
        _ => None,
    });
    parts.flatten().collect()
}

#[test]
fn a_backup_knows_connections_by_the_owners_news() {
    let mut peer = Peer::number(1);
    let mut world = world_with(&peer);
    for port in 4000..4006 {
        open_connection(&mut world, &mut peer, "a", port);
    }
    world.pass(Duration::from_millis(20));
    let news = world.reports("a").into_iter().filter_map(|report| match report {
        Report::Connections { updates, .. } => Some(updates),
        _ => None,
    });
    let updates: Vec<_> = news.flatten().collect();
    let command = Command::Connections { vip: vip(), from: name("a"), updates, complete: false };
    world.command("b", &command);
    world.own("b", 2);
    for (port, target) in (4000..4006).zip(["b", "t1", "t2", "b", "t1", "t2"]) {
        world.send("b", &mut peer, &segment(port, b"at once"));
        assert_eq!(world.kernel(target).len(), 1, "{port}");
    }
    assert_eq!(world.all_drops(), []);
}

#[test]
fn nobody_gets_what_nobody_claims() {
    let mut peer = Peer::number(1);
    let mut world = world_with(&peer);
    world.own("b", 2);
    world.send("b", &mut peer, &segment(4000, b"in the middle"));
    let later = tcp(socket("10.77.0.1:4001"), socket(WEB), SYN, &[]);
    world.send("b", &mut peer, &later);
    world.send("b", &mut peer, &udp(socket(CLIENT), socket(DNS), b"a question"));
    let kernels = |world: &mut World| -> usize {
        ["b", "t1", "t2"].into_iter().map(|node| world.kernel(node).len()).sum()
    };
    world.pass(Duration::from_millis(190));
    assert_eq!(kernels(&mut world), 0, "all wait");
    world.pass(Duration::from_millis(20));
    assert_eq!(kernels(&mut world), 2, "what opens a connection was assigned");
    assert_eq!(world.drops("b", DropReason::UnknownConnection), 1);
    assert_eq!(world.outside(), [], "no reset");
    // When all have reported, a new connection is assigned at once.
    world.complete("b", "t1");
    world.complete("b", "t2");
    world.send("b", &mut peer, &tcp(socket("10.77.0.1:4002"), socket(WEB), SYN, &[]));
    assert_eq!(kernels(&mut world), 1);
}

#[test]
fn a_deposed_owner_is_silent_and_its_frames_are_not_taken() {
    let mut peer = Peer::number(1);
    let mut world = world_with(&peer);
    assert_eq!(open_connection(&mut world, &mut peer, "a", 4000), "b");
    assert_eq!(open_connection(&mut world, &mut peer, "a", 4001), "t1");
    world.follow("t1", 2, Some("b"));
    // a does not know yet.
    world.send("a", &mut peer, &segment(4001, b"from a deposed owner"));
    assert_eq!(world.kernel("t1").len(), 0);
    assert_eq!(world.drops("t1", DropReason::LowerEpoch), 1);
    world.follow("a", 2, None);
    world.arrives_inside("a", &udp(socket("10.3.0.5:9"), socket(CLIENT), b"out"));
    assert_eq!(world.outside(), []);
    world.command("a", &Command::SetRole { vip: vip(), role: Role::Owner { epoch: Epoch(1) } });
    world.arrives_inside("a", &udp(socket("10.3.0.5:9"), socket(CLIENT), b"out"));
    assert_eq!(world.outside(), [], "a lower epoch is no role");
}

#[test]
fn a_target_that_was_not_told_yet_still_reaches_the_new_owner() {
    let mut peer = Peer::number(1);
    let mut world = world_with(&peer);
    assert_eq!(open_connection(&mut world, &mut peer, "a", 4000), "b");
    assert_eq!(open_connection(&mut world, &mut peer, "a", 4001), "t1");
    let (epoch, role) = (Epoch(2), Role::Owner { epoch: Epoch(2) });
    world.command("b", &Command::SetRole { vip: vip(), role });
    world.follow("a", epoch.0, Some("b"));
    world.arrives_inside("t1", &tcp(socket(WEB), socket("10.77.0.1:4001"), ACK, b"answer"));
    let sent = world.outside();
    assert_eq!(sent[0].0, "b");
    peer.open(&sent[0].1, &sent[0].2);
    // What comes directly tells the new owner who has the connection.
    world.send("b", &mut peer, &segment(4001, b"more"));
    assert_eq!(world.kernel("t1").len(), 0);
    world.follow("t1", 2, Some("b"));
    world.arrives_inside("t1", &tcp(socket(WEB), socket("10.77.0.1:4001"), ACK, b"answer"));
    assert_eq!(world.kernel("t1").len(), 1);
    assert_eq!(world.all_drops(), []);
}

#[test]
fn a_restarted_single_owner_keeps_local_connections() {
    let mut peer = Peer::number(1);
    let mut world = World::new(1, &Limits::default());
    let mut config = world::vip_config(Replay::Bounded);
    config.services.clear();
    world.command("a", &Command::ConfigureVip(Box::new(config)));
    world.install(&peer);
    world.own("a", 2);
    world.send("a", &mut peer, &tcp(socket(CLIENT), socket("192.0.2.10:22"), ACK, b"idle before"));
    assert_eq!(world.kernel("a").len(), 1, "only its own kernel can have it");
}
