//! Packets for which an SA is negotiated: they wait for it, bounded, and leave through it.

mod world;

use core::time::Duration;
use vipsec_esp::Replay;
use vipsec_path::{Command, DropReason, Limits, Report, Trap};
use vipsec_wire::ike::TrafficSelector;
use world::packets::{socket, udp};
use world::peer::Peer;
use world::{World, ip, vip, vip_config};

const HOST: &str = "10.3.0.5:9";
const CLIENT: &str = "10.77.0.1:4000";

fn net(address: &str, length: u8) -> TrafficSelector {
    TrafficSelector::from_prefix(ip(address), length).expect("a prefix")
}

/// A world with a trap for 10.77.0.0/16, owned by a.
fn world(workers: u16, limits: &Limits) -> World {
    let mut world = World::new(workers, limits);
    let mut config = vip_config(Replay::Bounded);
    config.traps = vec![Trap {
        connection: "branch".to_owned(),
        child: "lan".to_owned(),
        local: vec![net("10.3.0.0", 24)],
        remote: vec![net("10.77.0.0", 16)],
    }];
    for node in world::NAMES {
        world.command(node, &Command::ConfigureVip(Box::new(config.clone())));
    }
    world.own("a", 1);
    world
}

fn acquired(world: &mut World, node: &str) -> usize {
    let wanted = |report: &Report| match report {
        Report::Acquire { vip: of, connection, child } => {
            *of == vip() && connection == "branch" && child == "lan"
        }
        _ => false,
    };
    world.reports(node).iter().filter(|report| wanted(report)).count()
}

#[test]
fn a_packet_waits_for_its_sa_and_leaves_through_it() {
    for workers in [1, 3] {
        let mut world = world(workers, &Limits::default());
        world.arrives_inside("a", &udp(socket(HOST), socket(CLIENT), b"first"));
        world.arrives_inside("a", &udp(socket(HOST), socket(CLIENT), b"second"));
        assert_eq!(world.outside(), []);
        let asked = acquired(&mut world, "a");
        assert!(asked >= 1 && asked <= usize::from(workers), "{asked} of {workers} workers");
        let mut peer = Peer::number(1);
        world.install(&peer);
        let mut sent: Vec<Vec<u8>> =
            world.outside().iter().map(|(_, route, packet)| peer.open(route, packet)).collect();
        sent.sort();
        assert_eq!(sent.len(), 2);
        assert!(sent.iter().any(|p| p.ends_with(b"first")));
        assert!(sent.iter().any(|p| p.ends_with(b"second")));
        assert_eq!(world.all_drops(), []);
    }
}

#[test]
fn what_no_trap_is_for_is_dropped_at_once() {
    let mut world = world(1, &Limits::default());
    world.arrives_inside("a", &udp(socket("10.4.0.5:9"), socket(CLIENT), b"other source"));
    world.arrives_inside("a", &udp(socket(HOST), socket("10.78.0.1:9"), b"other destination"));
    assert_eq!(world.drops("a", DropReason::NoSa), 2);
    assert_eq!(acquired(&mut world, "a"), 0);
}

#[test]
fn waiting_ends_and_is_bounded_and_asks_once_a_second() {
    let limits = Limits { trapped_packets: 2, ..Limits::default() };
    let mut world = world(1, &limits);
    for _ in 0..5 {
        world.arrives_inside("a", &udp(socket(HOST), socket(CLIENT), b"x"));
    }
    assert_eq!(world.drops("a", DropReason::WaitingFull), 3);
    assert_eq!(acquired(&mut world, "a"), 1);
    world.pass(Duration::from_secs(2));
    world.arrives_inside("a", &udp(socket(HOST), socket(CLIENT), b"x"));
    assert_eq!(acquired(&mut world, "a"), 1, "it asks again");
    world.pass(limits.trapped);
    assert_eq!(world.drops("a", DropReason::NoSa), 2);
    world.install(&Peer::number(1));
    assert_eq!(world.outside(), [], "nothing is left that could go");
}

#[test]
fn what_waits_at_a_former_owner_goes_on_at_the_new_one() {
    let mut world = world(1, &Limits::default());
    world.arrives_inside("a", &udp(socket(HOST), socket(CLIENT), b"moving"));
    world.own("b", 2);
    world.run();
    assert!(acquired(&mut world, "b") >= 1);
    let mut peer = Peer::number(1);
    world.install(&peer);
    let sent = world.outside();
    assert_eq!(sent[0].0, "b");
    assert!(peer.open(&sent[0].1, &sent[0].2).ends_with(b"moving"));
}
