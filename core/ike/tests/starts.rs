//! Connections that we bring up ourselves: at the start, for a packet, after a loss; several
//! addresses and names; and nothing twice after a takeover.

mod world;

use core::net::IpAddr;
use core::time::Duration;
use std::collections::BTreeSet;
use vipsec_ike::{CloseReason, Config, DpdAction, Event, RemoteAddresses, RemoteName, Start};
use vipsec_wire::ike::{ExchangeType, Message};
use world::site::Fate;
use world::{RIGHT, Side, World, config};

const NOWHERE: &str = "203.0.113.9";

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn world(change: impl FnOnce(&mut Config)) -> World {
    let mut left = config(Side::Left);
    left.connections[0].children.truncate(1);
    change(&mut left);
    let mut right = config(Side::Right);
    right.connections[0].children.truncate(1);
    let mut world = World::with(left, right);
    // Messages to where nobody is get lost.
    world.loss = Box::new(|packet| packet.destination.ip() == ip(NOWHERE));
    world
}

fn acquire(world: &mut World) {
    let now = world.now;
    world.left.engine.handle_acquire(now, "c", "net", &mut world.rng);
    world.run();
}

/// The IKE SAs that the left side has ever begun, by its SPI.
fn begun(world: &World) -> usize {
    let spi = |packet: &world::Packet| {
        let header = Message::parse(&packet.message).expect("engines emit messages").header;
        let first = header.exchange == ExchangeType::IkeSaInit && packet.to == Side::Right;
        first.then_some(header.spis.initiator)
    };
    world.sent.iter().filter_map(spi).collect::<BTreeSet<_>>().len()
}

/// The right side is dead until it is told otherwise: both lose what they have said.
fn lose_the_peer(world: &mut World) {
    world.loss = Box::new(|_| true);
    world.pass(Duration::from_secs(600));
    let lost = |e: &Event| matches!(e, Event::Closed { reason: CloseReason::PeerDead, .. });
    assert!(world.left.has_event(lost), "{:?}", world.left.events);
    world.loss = Box::new(|_| false);
}

#[test]
fn a_packet_begins_what_is_on_traffic_and_nothing_else() {
    let mut never = world(|_| ());
    acquire(&mut never);
    assert_eq!(begun(&never), 0);
    let mut on = world(|left| left.connections[0].start = Start::OnTraffic);
    on.pass(Duration::from_secs(60));
    assert_eq!(begun(&on), 0);
    on.left.engine.handle_acquire(on.now, "c", "other", &mut on.rng);
    on.left.engine.handle_acquire(on.now, "d", "net", &mut on.rng);
    assert_eq!(begun(&on), 0, "there is no such child");
    acquire(&mut on);
    on.check_agreement(1, 1);
    acquire(&mut on);
    on.pass(Duration::from_secs(60));
    assert_eq!(begun(&on), 1, "it is up already");
    on.check_agreement(1, 1);
}

#[test]
fn packets_to_a_peer_that_does_not_answer_are_no_flood() {
    let mut world = world(|left| {
        left.connections[0].start = Start::OnTraffic;
        left.connections[0].remote = RemoteAddresses::List(vec![ip(NOWHERE)]);
    });
    for _ in 0..600 {
        acquire(&mut world);
        world.pass(Duration::from_secs(1));
    }
    assert!((5..30).contains(&begun(&world)), "{} attempts in ten minutes", begun(&world));
}

#[test]
fn what_follows_the_loss_of_a_peer_is_as_configured() {
    for (start, action, attempts) in [
        (Start::AtStart, DpdAction::Restart, 1),
        (Start::Never, DpdAction::Restart, 1),
        (Start::AtStart, DpdAction::Clear, 0),
        (Start::Never, DpdAction::Trap, 0),
    ] {
        let mut world = world(|left| {
            left.connections[0].start = start;
            left.connections[0].dpd_action = action;
        });
        if start == Start::Never {
            world.initiate(Side::Left, "net");
        }
        world.pass(Duration::from_secs(5));
        world.check_agreement(1, 1);
        lose_the_peer(&mut world);
        world.pass(Duration::from_secs(300));
        let up = world.left.engine.ike_sa_count();
        assert_eq!(up, attempts, "{start:?} {action:?}: {:?}", world.left.events);
        acquire(&mut world);
        let after = if action == DpdAction::Trap { 1 } else { attempts };
        assert_eq!(world.left.engine.ike_sa_count(), after, "{start:?} {action:?}");
        world.initiate(Side::Left, "net");
        world.pass(Duration::from_secs(60));
        assert_eq!(world.left.engine.ike_sa_count(), 1, "asked for");
    }
}

#[test]
fn what_an_administrator_ends_stays_down_until_asked_for() {
    let mut world = world(|left| left.connections[0].start = Start::AtStart);
    world.pass(Duration::from_secs(5));
    world.terminate_ike(Side::Left);
    world.pass(Duration::from_secs(300));
    world.check_agreement(0, 0);
    world.initiate(Side::Left, "net");
    world.pass(Duration::from_secs(5));
    world.check_agreement(1, 1);
    world.terminate_ike(Side::Right);
    world.pass(Duration::from_secs(60));
    world.check_agreement(1, 1);
}

#[test]
fn what_is_asked_for_while_its_end_is_under_way_is_begun_anew() {
    let mut world = world(|_| ());
    world.initiate(Side::Left, "net");
    world.run();
    let ended = world.left.ike();
    // The order to end it waits, for a rekey of its Child SA is under way.
    let child = world.left.active_child();
    world.rekey_child(Side::Left);
    world.terminate_ike(Side::Left);
    world.initiate(Side::Left, "net");
    world.pass(Duration::from_secs(30));
    world.check_agreement(1, 1);
    assert_ne!(world.left.ike(), ended);
    assert_ne!(world.left.active_child(), child);
}

#[test]
fn what_is_asked_for_after_its_end_is_tried_until_the_peer_is_back() {
    for order in [true, false] {
        let mut world = world(|left| left.connections[0].start = Start::AtStart);
        world.pass(Duration::from_secs(5));
        world.loss = Box::new(|_| true);
        world.terminate_ike(Side::Left);
        world.pass(Duration::from_millis(if order { 0 } else { 300 }));
        world.initiate(Side::Left, "net");
        world.pass(Duration::from_secs(600));
        assert_eq!(world.left.engine.ike_sa_count(), 0);
        world.loss = Box::new(|_| false);
        world.pass(Duration::from_secs(300));
        world.check_agreement(1, 1);
    }
}

#[test]
fn addresses_are_tried_in_turn() {
    let mut world = world(|left| {
        left.connections[0].start = Start::AtStart;
        let list = vec![ip("2001:db8::1"), ip(NOWHERE), ip(RIGHT)];
        left.connections[0].remote = RemoteAddresses::List(list);
    });
    world.pass(Duration::from_secs(15));
    world.check_agreement(1, 1);
    assert_eq!(begun(&world), 2, "the IPv6 address is none that an IPv4 VIP can reach");
}

#[test]
fn a_name_is_asked_for_and_its_answers_are_tried_and_kept() {
    let mut world = world(|left| {
        left.connections[0].start = Start::AtStart;
        left.connections[0].remote = RemoteAddresses::List(Vec::new());
        let name = "peer.example".to_owned();
        left.connections[0].remote_names = vec![RemoteName { name, addresses: Vec::new() }];
    });
    world.pass(Duration::from_secs(40));
    assert!((2..9).contains(&world.left.resolving.len()), "{:?}", world.left.resolving);
    assert_eq!(begun(&world), 0);
    world.left.engine.handle_resolved(world.now, "peer.example", &[]);
    world.left.engine.handle_resolved(world.now, "other.example", &[ip(NOWHERE)]);
    world.left.engine.handle_resolved(world.now, "peer.example", &[ip(NOWHERE), ip(RIGHT)]);
    world.pass(Duration::from_secs(60));
    world.check_agreement(1, 1);
    // An answer that fails, and one that says otherwise, leave what is up alone.
    world.left.engine.handle_resolved(world.now, "peer.example", &[]);
    let many: Vec<IpAddr> = (0..100).map(|i| IpAddr::from([203, 0, 113, i])).collect();
    world.left.engine.handle_resolved(world.now, "peer.example", &many);
    world.pass(Duration::from_secs(20));
    world.check_agreement(1, 1);
    let known = &world.left.engine.config().connections[0].remote_names[0].addresses;
    assert_eq!(known.len(), 16, "bounded");
    // The peer may begin from an address of the name.
    world.left.engine.handle_resolved(world.now, "peer.example", &[ip(RIGHT)]);
    world.terminate_ike(Side::Left);
    world.run();
    world.initiate(Side::Right, "net");
    world.run();
    world.check_agreement(1, 1);
}

#[test]
fn nothing_is_initiated_twice_whenever_the_owner_dies() {
    for start in [Start::AtStart, Start::OnTraffic] {
        for step in 0..30 {
            for fate in [Fate::Written, Fate::Lost] {
                let mut world = world(|left| left.connections[0].start = start);
                world.takeover_at = Some((step, Side::Left, fate));
                for _ in 0..30 {
                    acquire(&mut world);
                    world.pass(Duration::from_secs(1));
                }
                world.check_agreement(1, 1);
                // The first message, when it was sent, had been mirrored before.
                assert_eq!(begun(&world), 1, "{start:?} step {step} {fate:?}");
            }
        }
    }
}

#[test]
fn a_standby_begins_nothing() {
    let mut world = world(|left| left.connections[0].start = Start::AtStart);
    world.left.engine = world.left.standby(world.now);
    world.pass(Duration::from_secs(60));
    acquire(&mut world);
    world.left.engine.handle_resolved(world.now, "x", &[ip(RIGHT)]);
    assert_eq!(begun(&world), 0);
}
