//! Synchronisation after a failover (RFC 6311): a new owner with its peer, and a peer's cluster with
//! us.

mod world;

use core::time::Duration;
use vipsec_ike::{Config, Drop};
use vipsec_wire::ike::{
    ExchangeType, MessageIdSync, Notify, NotifyType, Payload, emit_counter_sync, parse_counter_sync,
};
use world::forge::Content;
use world::site::{Fate, Mode};
use world::{Packet, Side, World, config};

const JUMP: u64 = 1 << 22;

/// Without liveness checks, so that nothing but what a test does changes message IDs.
fn configs() -> (Config, Config) {
    let (mut left, mut right) = (config(Side::Left), config(Side::Right));
    left.connections[0].dpd = None;
    right.connections[0].dpd = None;
    (left, right)
}

fn up(left: Config, right: Config) -> World {
    let mut world = World::with(left, right);
    world.initiate(Side::Left, "net");
    world.run();
    world.check_agreement(1, 1);
    world
}

fn established() -> World {
    let (left, right) = configs();
    up(left, right)
}

fn synchronisations(world: &mut World) -> Vec<(Packet, MessageIdSync, u64)> {
    let packets: Vec<Packet> = world.sent.clone();
    let mut found = Vec::new();
    for packet in packets {
        if packet.kind().0 != ExchangeType::Informational {
            continue;
        }
        let said = world.open(&packet);
        let of = |kind| said.iter().find(move |notify| notify.kind == kind);
        let Some(ids) = of(NotifyType::IKEV2_MESSAGE_ID_SYNC) else { continue };
        let ids = MessageIdSync::parse(&ids.data).expect("twelve octets");
        let jump = of(NotifyType::IPSEC_REPLAY_COUNTER_SYNC);
        let jump = jump.map_or(0, |n| parse_counter_sync(&n.data).expect("a jump"));
        found.push((packet, ids, jump));
    }
    found
}

#[test]
fn a_new_owner_agrees_with_its_peer() {
    for side in [Side::Left, Side::Right] {
        let mut world = established();
        world.rekey_child(Side::Left);
        world.run();
        world.take_over(side, Fate::Lost);
        world.pass(Duration::from_secs(5));
        let found = synchronisations(&mut world);
        assert_eq!(found.len(), 2, "a request and its answer");
        let (request, asked, jump) = &found[0];
        assert_eq!(
            (request.to, request.kind()),
            (side.other(), (ExchangeType::Informational, 0, false))
        );
        assert_eq!(*jump, JUMP);
        let (response, answered, none) = &found[1];
        assert_eq!((response.kind(), *none), ((ExchangeType::Informational, 0, true), 0));
        assert_eq!(
            (answered.nonce, answered.send, answered.receive),
            (asked.nonce, asked.receive, asked.send)
        );
        // Both data paths jump, each in one direction.
        assert_eq!(
            world.site(side).jumps.iter().map(|j| (j.1, j.2)).collect::<Vec<_>>(),
            [(JUMP, 0)]
        );
        let other = world.site(side.other());
        assert_eq!(other.jumps.iter().map(|j| (j.1, j.2)).collect::<Vec<_>>(), [(0, JUMP)]);
        world.rekey_child(side);
        world.run();
        world.rekey_ike(side.other());
        world.run();
        world.check_agreement(1, 1);
    }
}

#[test]
fn what_was_recorded_before_is_not_accepted_after() {
    let mut world = established();
    world.take_over(Side::Right, Fate::Lost);
    // The peer may be ahead: until they agree, that is believed.
    let id = world.right.ike();
    let check = (ExchangeType::Informational, 7, false);
    let ahead = world.forge(Side::Right, id, check, Content::Payloads(Vec::new()));
    world.pass(Duration::from_secs(5));
    assert_eq!(synchronisations(&mut world).len(), 2);
    let before = world.right.engine.drops().get(Drop::OutOfWindow);
    world.arrive(&ahead);
    world.outputs();
    assert_eq!(world.right.engine.drops().get(Drop::OutOfWindow), before + 1);
}

#[test]
fn takeovers_in_a_row() {
    let mut world = established();
    for round in 1..=4_usize {
        let side = if round % 2 == 0 { Side::Left } else { Side::Right };
        world.take_over(side, Fate::Lost);
        world.pass(Duration::from_secs(5));
        assert_eq!(world.site(side).jumps.iter().filter(|j| j.1 > 0).count(), round.div_ceil(2));
    }
    world.take_over(Side::Left, Fate::Lost);
    world.pass(Duration::from_secs(5));
    assert_eq!(world.left.jumps.iter().filter(|jump| jump.1 > 0).count(), 3, "the same side again");
    world.check_agreement(1, 1);
}

#[test]
fn a_takeover_at_every_step() {
    let run = |takeover: Option<(usize, Side, Fate)>| {
        let mut world = established();
        world.take_over(Side::Right, Fate::Lost);
        let first = world.steps;
        world.takeover_at = takeover.map(|(step, side, fate)| (first + step, side, fate));
        world.pass(Duration::from_secs(5));
        let steps = world.steps - first;
        world.pass(Duration::from_secs(120));
        world.rekey_child(Side::Left);
        world.run();
        world.rekey_ike(Side::Right);
        world.run();
        world.check_agreement(1, 1);
        assert!(world.right.jumps.iter().any(|jump| jump.1 == JUMP), "{takeover:?}");
        assert!(world.left.jumps.iter().any(|jump| jump.2 == JUMP), "{takeover:?}");
        steps
    };
    let steps = run(None);
    assert!(steps >= 6, "{steps} steps");
    for step in 0..steps {
        for side in [Side::Left, Side::Right] {
            for fate in [Fate::Written, Fate::Lost] {
                run(Some((step, side, fate)));
            }
        }
    }
}

#[test]
fn it_is_stored_before_it_is_sent_and_no_condition() {
    let mut world = established();
    world.take_over(Side::Right, Fate::Lost);
    world.right.mode = Mode::Held;
    let sent = world.sent.len();
    world.pass(Duration::from_secs(5));
    assert_eq!(world.sent.len(), sent);
    world.right.mode = Mode::Prompt;
    world.run();
    assert_eq!(synchronisations(&mut world).len(), 2);
    // A peer that does not answer is left alone, and its SA goes on.
    let mut world = established();
    world.take_over(Side::Right, Fate::Lost);
    world.loss = Box::new(|_| true);
    world.pass(Duration::from_secs(60));
    assert!(synchronisations(&mut world).len() >= 3);
    world.loss = Box::new(|_| false);
    world.rekey_child(Side::Right);
    world.run();
    world.rekey_child(Side::Left);
    world.run();
    world.check_agreement(1, 1);
}

#[test]
fn not_with_a_peer_that_has_not_offered_it() {
    for side in [Side::Left, Side::Right] {
        let (mut left, mut right) = configs();
        let unwilling = if side == Side::Left { &mut left } else { &mut right };
        unwilling.connections[0].synchronise = false;
        let mut world = up(left, right);
        for taken in [Side::Left, Side::Right] {
            world.take_over(taken, Fate::Lost);
            world.pass(Duration::from_secs(5));
        }
        assert!(synchronisations(&mut world).is_empty());
        let id = world.right.ike();
        let packet = cluster(&mut world, id, [1; 4], 9, 0);
        let before = world.right.store.writes;
        world.arrive(&packet);
        world.outputs();
        assert_eq!(world.right.store.writes, before);
    }
}

/// A synchronisation by the left side's cluster.
fn cluster(
    world: &mut World,
    id: vipsec_wire::id::IkeSaId,
    nonce: [u8; 4],
    send: u32,
    jump: u32,
) -> Packet {
    let sync = MessageIdSync { nonce, send, receive: 0 };
    let notify = |kind, data| Payload::Notify(Notify::new(kind, data));
    let payloads = vec![
        notify(NotifyType::IKEV2_MESSAGE_ID_SYNC, sync.emit()),
        notify(NotifyType::IPSEC_REPLAY_COUNTER_SYNC, emit_counter_sync(jump, true)),
    ];
    let kind = (ExchangeType::Informational, 0, false);
    world.forge(Side::Right, id, kind, Content::Payloads(payloads))
}

#[test]
fn a_peers_cluster_is_answered_once() {
    let mut world = established();
    let id = world.right.ike();
    let packet = cluster(&mut world, id, [1; 4], 9, 77);
    world.arrive(&packet);
    world.outputs();
    let answer = world.lose(Side::Left);
    assert_eq!(world.right.jumps.len(), 1);
    assert_eq!(world.right.engine.snapshot(id).expect("there").mutable.expected_request, 9);
    let mut taken_over = 0;
    // The repetition gets the very same answer, also from the next owner, and nothing jumps again.
    for takeover in [false, true, false] {
        if takeover {
            world.take_over(Side::Right, Fate::Lost);
            taken_over += 1;
        }
        world.arrive(&packet);
        world.outputs();
        assert_eq!(world.lose(Side::Left).message, answer.message);
        // A new owner does not know whether the former one has jumped.
        assert_eq!(world.right.jumps.len(), taken_over + 1);
    }
    // Another one for the same or a lower message ID is a replay.
    for send in [9, 8, 0] {
        let replay = cluster(&mut world, id, [2; 4], send, 77);
        world.arrive(&replay);
        world.outputs();
        assert!(world.wire.is_empty(), "{send}");
    }
    let next = cluster(&mut world, id, [2; 4], 10, 1 << 31);
    world.arrive(&next);
    world.outputs();
    world.lose(Side::Left);
    assert_eq!(world.right.jumps.len(), 2, "too far to jump");
}

#[test]
fn one_that_is_not_authentic_or_makes_no_sense_does_nothing() {
    let mut world = established();
    let id = world.right.ike();
    let mut packet = cluster(&mut world, id, [1; 4], 9, 77);
    *packet.message.last_mut().expect("a message") ^= 1;
    let short = Notify::new(NotifyType::IKEV2_MESSAGE_ID_SYNC, vec![0; 11]);
    let short = Content::Payloads(vec![Payload::Notify(short)]);
    let short = world.forge(Side::Right, id, (ExchangeType::Informational, 0, false), short);
    let before = world.right.store.writes;
    for packet in [packet, short] {
        world.arrive(&packet);
        world.outputs();
        assert!(world.wire.is_empty());
    }
    assert_eq!(world.right.store.writes, before);
}
