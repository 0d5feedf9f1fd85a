//! Transfers with more than one message can carry: what is left out is not lost, only less exact.

mod world;

use core::time::Duration;
use vipsec_esp::BLOCK;
use vipsec_path::{Command, DropReason, Handover, Limits, Replay, Report, Role};
use vipsec_wire::cluster::ConnectionUpdate;
use vipsec_wire::id::Epoch;
use world::packets::{socket, udp};
use world::peer::Peer;
use world::transfer::{open_connection, segment, transfer};
use world::{World, name, vip, vip_config};

fn world_with(handover_bytes: usize, workers: u16) -> World {
    let limits = Limits { handover_bytes, ..Limits::default() };
    let mut world = World::new(workers, &limits);
    world.own("a", 1);
    for target in ["b", "t1", "t2"] {
        world.complete("a", target);
    }
    world
}

fn packet_in(last: u8) -> Vec<u8> {
    udp(([10, 77, 0, last], 4000).into(), socket("10.3.0.5:9"), b"in")
}

/// Moves the VIP from a to b as the nodes do it; returns what was handed over.
fn move_to_b(world: &mut World) -> Handover {
    world.reports("a");
    world.command("a", &Command::Freeze { vip: vip() });
    let mut whole = Handover::default();
    for report in world.reports("a") {
        match report {
            Report::Edges { vip, edges } => world.command("b", &Command::Edges { vip, edges }),
            Report::HighWater { vip, marks } => {
                world.command("b", &Command::HighWater { vip, marks });
            }
            Report::Frozen { handover, .. } => whole.merge(*handover),
            _ => {}
        }
    }
    let (epoch, handover) = (Epoch(2), Box::new(whole.clone()));
    world.command("b", &Command::Handover { vip: vip(), epoch, handover });
    world.command("b", &Command::SetRole { vip: vip(), role: Role::Owner { epoch } });
    for other in ["a", "t1", "t2"] {
        world.follow(other, epoch.0, Some("b"));
    }
    whole
}

#[test]
fn a_connection_that_was_left_out_waits_for_its_targets_report() {
    let mut peer = Peer::number(1);
    let mut world = world_with(200, 1);
    world.install(&peer);
    let targets: Vec<_> =
        (0..12).map(|n| open_connection(&mut world, &mut peer, "a", 4000 + n)).collect();
    let whole = move_to_b(&mut world);
    assert!(whole.partial && whole.encode().len() <= 200, "{}", whole.encode().len());
    let told = |port| {
        let mut connections = whole.connections.iter();
        connections.any(|update: &ConnectionUpdate| update.flow.peer.port() == port)
    };
    let left_out = |n: &u16| !told(4000 + n) && targets[usize::from(*n)] == "t1";
    let port = 4000 + (0..12).find(left_out).expect("one of t1's");
    world.send("b", &mut peer, &segment(port, b"who has it?"));
    world.pass(Duration::from_millis(100));
    assert_eq!((world.kernel("t1").len(), world.all_drops()), (0, vec![]));
    world.reports("t1");
    world.command("t1", &Command::ReportConnections { vip: vip() });
    for report in world.reports("t1") {
        if let Report::Connections { vip, updates, complete } = report {
            let from = name("t1");
            world.command("b", &Command::Connections { vip, from, updates, complete });
        }
    }
    assert_eq!(world.kernel("t1").len(), 1);
    assert_eq!(world.all_drops(), []);
}

#[test]
fn an_sa_that_was_left_out_is_taken_over_with_a_jump() {
    let mut peers: Vec<_> = (1..=6).map(Peer::number).collect();
    let mut world = world_with(160, 1);
    let mut seen = Vec::new();
    for (last, peer) in (1..).zip(&mut peers) {
        world.install(peer);
        let packet = peer.seal(&packet_in(last));
        world.arrives_outside("a", peer, packet.clone());
        seen.push(packet);
        let answer = udp(socket("10.3.0.5:9"), ([10, 77, 0, last], 4000).into(), b"out");
        world.arrives_inside("a", &answer);
    }
    assert_eq!(world.kernel("a").len(), 6);
    let whole = move_to_b(&mut world);
    assert!((1..6).contains(&whole.sas.len()), "{}", whole.sas.len());
    assert!(whole.encode().len() <= 160);
    for (last, (peer, packet)) in (1..).zip(peers.iter_mut().zip(seen)) {
        // Moments ago, before any tick: refused all the same.
        world.arrives_outside("b", peer, packet);
        world.send("b", peer, &packet_in(last));
        let answer = udp(socket("10.3.0.5:9"), ([10, 77, 0, last], 4000).into(), b"out");
        world.arrives_inside("b", &answer);
    }
    assert_eq!(world.kernel("b").len(), 6);
    assert_eq!(world.all_drops(), [("b", DropReason::Replayed, 6)]);
    for (_, route, packet) in world.outside() {
        let endpoints = peers.iter().position(|peer| {
            matches!(route, vipsec_path::Route::Udp { remote, .. }
                if remote == peer.child.endpoints.remote)
        });
        peers[endpoints.expect("a peer")].open(&route, &packet);
    }
    for peer in &peers {
        let exact = whole.sas.iter().any(|sa| sa.spi_in == peer.child.inbound.spi);
        let second = if exact { 2 } else { BLOCK + 1 };
        assert_eq!(peer.sequences, [1, second]);
    }
}

#[test]
fn the_workers_share_the_room() {
    let mut world = world_with(400, 3);
    for (last, mut peer) in (1..).zip((1..=12).map(Peer::number)) {
        world.install(&peer);
        world.send("a", &mut peer, &packet_in(last));
    }
    let whole = move_to_b(&mut world);
    assert!(whole.sas.len() >= 6 && whole.encode().len() <= 400, "{}", whole.encode().len());
}

#[test]
fn strict_protection_knows_the_empty_window_of_a_new_sa() {
    let mut peer = Peer::number(1);
    let mut world = World::owned_by_a();
    for node in ["a", "b"] {
        world.command(node, &Command::ConfigureVip(Box::new(vip_config(Replay::Strict))));
    }
    world.install(&peer);
    transfer(&mut world, ("a", "b"), 2, true, |_| {});
    world.pass(Duration::from_millis(100));
    world.send("b", &mut peer, &packet_in(1));
    assert_eq!(world.kernel("b").len(), 1);
    let asked = world.reports("b").into_iter().filter(|r| matches!(r, Report::Expiry { .. }));
    assert_eq!(asked.count(), 0);
    assert_eq!(world.all_drops(), []);
}
