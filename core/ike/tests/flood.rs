//! Floods (RFC 8019): limits for each source and in all, puzzles in both roles, failures.

mod world;

use core::time::Duration;
use vipsec_ike::{Authentication, Config, Drop, RemoteAddresses};
use vipsec_wire::ike::{Message, NotifyType, Payload, PuzzleSolution};
use world::site::{Fate, Site};
use world::{Packet, Side, World, config};

/// A responder for peers from anywhere, with limits that a test can reach.
fn responder(change: impl Fn(&mut vipsec_ike::Limits)) -> Config {
    let mut right = config(Side::Right);
    right.connections[0].remote = RemoteAddresses::Any;
    right.connections[0].remote_id = None;
    right.limits.half_open_cookie_threshold = 100;
    right.limits.puzzle_bits = 6;
    change(&mut right.limits);
    right
}

fn fresh_left(world: &mut World, change: impl Fn(&mut Config)) {
    let mut left = config(Side::Left);
    change(&mut left);
    world.left = Site::new(Side::Left, left, world.now, &mut world.rng);
    world.wire.clear();
}

/// An IKE_SA_INIT request that is begun and never gone on with, from `source`.
fn begin(world: &mut World, source: &str) -> Vec<NotifyType> {
    fresh_left(world, |_| ());
    world.initiate(Side::Left, "net");
    world.outputs();
    let mut packet = world.lose(Side::Right);
    packet.source = source.parse().expect("an address");
    answer(world, &packet)
}

/// The notifications other than the usual ones that answer a message in clear.
fn answer(world: &mut World, packet: &Packet) -> Vec<NotifyType> {
    world.arrive(packet);
    world.outputs();
    let answers = world.wire.drain(..).filter(|packet| packet.to == Side::Left);
    let answers = answers.map(|packet| Message::parse(&packet.message).expect("a message"));
    let kinds = answers.flat_map(|message| message.payloads).filter_map(|payload| match payload {
        Payload::Notify(notify) => Some(notify.kind),
        _ => None,
    });
    let usual = [
        NotifyType::NAT_DETECTION_SOURCE_IP,
        NotifyType::NAT_DETECTION_DESTINATION_IP,
        NotifyType::IKEV2_FRAGMENTATION_SUPPORTED,
        NotifyType::CHILDLESS_IKEV2_SUPPORTED,
    ];
    kinds.filter(|kind| !usual.contains(kind)).collect()
}

const COOKIE_AND_PUZZLE: [NotifyType; 2] = [NotifyType::COOKIE, NotifyType::PUZZLE];

fn comes_through(world: &mut World) -> bool {
    world.initiate(Side::Left, "net");
    world.pass(Duration::from_secs(2));
    world.left.installed.len() == 1
}

#[test]
fn one_source_has_to_work_while_others_do_not() {
    let mut world =
        World::with(config(Side::Left), responder(|limits| limits.half_open_per_source = 2));
    for port in [1001, 1002] {
        assert_eq!(begin(&mut world, &format!("198.51.100.1:{port}")), []);
    }
    assert_eq!(begin(&mut world, "198.51.100.1:1003"), COOKIE_AND_PUZZLE);
    assert_eq!(begin(&mut world, "198.51.100.2:1003"), []);
    for host in ["[2001:db8::1]:1", "[2001:db8::2]:2"] {
        assert_eq!(begin(&mut world, host), []);
    }
    assert_eq!(begin(&mut world, "[2001:db8::3]:3"), COOKIE_AND_PUZZLE, "the network counts");
    assert_eq!(begin(&mut world, "[2001:db8:0:1::3]:3"), []);
    assert_eq!(world.right.engine.drops().get(Drop::PuzzleWanted), 2);
    // A backup that takes over knows them.
    world.take_over(Side::Right, Fate::Lost);
    assert_eq!(begin(&mut world, "198.51.100.1:1004"), COOKIE_AND_PUZZLE);
    world.pass(Duration::from_secs(31));
    assert_eq!(begin(&mut world, "198.51.100.1:1005"), []);
}

#[test]
fn whoever_solves_the_puzzle_comes_through() {
    let mut world =
        World::with(config(Side::Left), responder(|limits| limits.puzzle_threshold = 1));
    assert_eq!(begin(&mut world, "198.51.100.1:1001"), []);
    fresh_left(&mut world, |_| ());
    assert!(comes_through(&mut world));
    let mut solved = world.sent.iter().filter(|packet| {
        let message = Message::parse(&packet.message).expect("engines emit messages");
        message.payloads.iter().any(|payload| matches!(payload, Payload::PuzzleSolution(_)))
    });
    let request = solved.next().expect("a solution").clone();
    // The keys of another puzzle, and none at all, do not help.
    let mut message = Message::parse(&request.message).expect("a message");
    for payload in &mut message.payloads {
        if let Payload::PuzzleSolution(PuzzleSolution(keys)) = payload {
            keys[3] ^= 1;
        }
    }
    let forged = Packet { message: message.emit(), ..request };
    assert_eq!(begin(&mut world, "198.51.100.1:1002"), COOKIE_AND_PUZZLE);
    let before = world.right.engine.drops().get(Drop::PuzzleWanted);
    assert_eq!(answer(&mut world, &forged), []);
    assert_eq!(world.right.engine.drops().get(Drop::PuzzleWanted), before + 1);
}

#[test]
fn peers_without_puzzles_are_let_in_while_there_is_room() {
    for (room, through) in [(8, true), (2, false)] {
        let right = responder(|limits| (limits.puzzle_threshold, limits.half_open_max) = (1, room));
        let mut world = World::with(config(Side::Left), right);
        assert_eq!(begin(&mut world, "198.51.100.1:1001"), []);
        fresh_left(&mut world, |left| left.limits.puzzle_bits_max = 0);
        assert_eq!(comes_through(&mut world), through, "room for {room}");
    }
}

#[test]
fn a_hard_puzzle_is_solved_little_by_little() {
    let right = responder(|limits| (limits.puzzle_threshold, limits.puzzle_bits) = (0, 13));
    let mut world = World::with(config(Side::Left), right);
    world.initiate(Side::Left, "net");
    world.run();
    assert!(world.left.installed.is_empty(), "not all of it at once");
    let mut slices = 0;
    while world.left.installed.is_empty() && slices < 100 {
        world.pass(Duration::from_millis(1));
        slices += 1;
    }
    assert!((4..100).contains(&slices), "{slices} slices");
    world.check_agreement(1, 1);
}

#[test]
fn puzzles_can_be_turned_off() {
    let right = responder(|limits| (limits.half_open_per_source, limits.puzzle_bits) = (1, 0));
    let mut world = World::with(config(Side::Left), right);
    assert_eq!(begin(&mut world, "192.0.2.1:1001"), []);
    assert_eq!(begin(&mut world, "192.0.2.1:1002"), [NotifyType::COOKIE]);
    fresh_left(&mut world, |_| ());
    assert!(comes_through(&mut world));
}

#[test]
fn a_source_may_only_have_so_many() {
    let right = responder(|limits| {
        limits.half_open_per_source_max = 2;
        limits.puzzle_bits = 0;
    });
    let mut world = World::with(config(Side::Left), right);
    for port in [1001, 1002, 1003, 1004] {
        begin(&mut world, &format!("192.0.2.1:{port}"));
    }
    assert_eq!(world.right.engine.half_open_count(), 2);
    assert_eq!(world.right.engine.drops().get(Drop::SourceFull), 2);
    assert_eq!(begin(&mut world, "192.0.2.9:1001"), []);
    assert_eq!(world.right.engine.half_open_count(), 3);
}

#[test]
fn whoever_fails_too_often_has_to_wait() {
    let right = responder(|limits| limits.auth_failures_per_source = 3);
    let mut world = World::with(config(Side::Left), right);
    for _ in 0..5 {
        fresh_left(&mut world, |left| {
            left.connections[0].authentication = Authentication::psk(b"a wrong key");
        });
        world.initiate(Side::Left, "net");
        world.run();
    }
    assert_eq!(world.right.engine.drops().get(Drop::SourceFailing), 2);
    fresh_left(&mut world, |_| ());
    assert!(!comes_through(&mut world), "not even with the right key");
    assert_eq!(begin(&mut world, "192.0.2.9:1001"), []);
    world.pass(Duration::from_secs(61));
    fresh_left(&mut world, |_| ());
    assert!(comes_through(&mut world));
}
