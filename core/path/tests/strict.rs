//! Strict replay protection: after a takeover nothing is accepted on an SA until it is rekeyed, and
//! every SA is asked to be, whether or not it has traffic.

mod world;

use core::time::Duration;
use vipsec_esp::Expiry;
use vipsec_path::{Command, DropReason, InstallState, Limits, Replay, Report};
use vipsec_wire::id::{Epoch, EspSpi};
use world::packets::{socket, udp};
use world::peer::Peer;
use world::transfer::transfer;
use world::{World, vip_config};

fn strict(limits: &Limits) -> World {
    let mut world = World::new(1, limits);
    for node in ["a", "b"] {
        world.command(node, &Command::ConfigureVip(Box::new(vip_config(Replay::Strict))));
    }
    world.own("a", 1);
    world
}

/// The SAs that a node has asked to be rekeyed.
fn asked(world: &mut World, node: &str) -> Vec<EspSpi> {
    let reports = world.reports(node).into_iter();
    let asked = reports.filter_map(|report| match report {
        Report::Expiry { spi_in, expiry: Expiry::Soft, .. } => Some(spi_in),
        _ => None,
    });
    asked.collect()
}

fn packet_in() -> Vec<u8> {
    udp(socket("10.77.0.1:4000"), socket("10.3.0.5:9"), b"in")
}

#[test]
fn silent_sas_are_rekeyed_too_and_a_few_at_a_time() {
    let limits = Limits { edges: 2, ..Limits::default() };
    let mut world = strict(&limits);
    let peers: Vec<_> = (1..=5).map(Peer::number).collect();
    let all: Vec<_> = peers.iter().map(|peer| peer.child.inbound.spi).collect();
    for peer in &peers {
        world.install(peer);
    }
    world.pass(Duration::from_secs(1));
    assert_eq!(asked(&mut world, "a"), [], "made in this epoch: the window is exact");
    world.own("b", 2);
    world.pass(Duration::from_millis(1));
    assert_eq!(asked(&mut world, "b"), all[..2]);
    world.pass(Duration::from_millis(100));
    assert_eq!(asked(&mut world, "b"), all[2..]);
    world.pass(Duration::from_secs(10));
    assert_eq!(asked(&mut world, "b"), [], "once");
}

#[test]
fn an_sa_that_is_loaded_after_the_change_of_owner_is_rekeyed_as_well() {
    let mut world = strict(&Limits::default());
    world.own("b", 2);
    world.pass(Duration::from_secs(1));
    let (old, mut new) = (Peer::number(1), Peer::number(2));
    new.child.born = Epoch(2);
    for peer in [&old, &new] {
        let sa = Box::new(peer.child.clone());
        world.command("b", &Command::Install(sa, InstallState::default()));
    }
    world.pass(Duration::from_millis(100));
    assert_eq!(asked(&mut world, "b"), [old.child.inbound.spi]);
}

#[test]
fn a_transfer_of_an_sa_that_waits_for_its_rekey_does_not_open_it() {
    let mut peer = Peer::number(1);
    let mut world = strict(&Limits::default());
    world.install(&peer);
    let packets: Vec<_> = (0..4).map(|_| peer.seal(&packet_in())).collect();
    for packet in &packets[..3] {
        world.arrives_outside("a", &peer, packet.clone());
    }
    assert_eq!(world.kernel("a").len(), 3);
    // No edge has reached b, so it cannot know what a accepted.
    world.own("b", 2);
    world.pass(Duration::from_millis(100));
    assert_eq!(asked(&mut world, "b"), [peer.child.inbound.spi]);
    world.arrives_inside("b", &udp(socket("10.3.0.5:9"), socket("10.77.0.1:4000"), b"out"));
    assert_eq!(world.outside().len(), 1, "what we send is not concerned");
    transfer(&mut world, ("b", "a"), 3, true, |_| {});
    world.pass(Duration::from_millis(100));
    for packet in &packets {
        world.arrives_outside("a", &peer, packet.clone());
    }
    assert_eq!(world.kernel("a").len(), 0);
    assert_eq!(world.drops("a", DropReason::StrictReplay), 4);
    assert_eq!(asked(&mut world, "a"), [peer.child.inbound.spi]);
}

#[test]
fn an_exact_hand_over_asks_for_nothing() {
    let mut peer = Peer::number(1);
    let mut world = strict(&Limits::default());
    world.install(&peer);
    world.send("a", &mut peer, &packet_in());
    transfer(&mut world, ("a", "b"), 2, true, |_| {});
    world.pass(Duration::from_millis(100));
    world.send("b", &mut peer, &packet_in());
    assert_eq!(world.kernel("b").len(), 1);
    assert_eq!(asked(&mut world, "b"), []);
}
