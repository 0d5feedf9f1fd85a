//! IKE messages in fragments (RFC 7383): in IKE_AUTH and all later exchanges, lost, repeated, out of
//! order, forged, and across takeovers.

mod world;

use core::time::Duration;
use std::collections::BTreeSet;
use vipsec_ike::Drop;
use vipsec_wire::ike::{ExchangeType, Message};
use world::site::{Fate, Mode};
use world::{Packet, Side, World, fragmenting};

/// Octets of the datagrams in which messages are not fragmented, but for the IKE_SA_INIT.
const SMALL: u16 = 160;

fn fragments_of(packets: &[Packet], exchange: ExchangeType, to: Side) -> Vec<(u16, u16)> {
    let messages = packets.iter().filter(|packet| packet.to == to);
    let messages = messages.map(|packet| Message::parse(&packet.message).expect("a message"));
    let fragments = messages.filter(|message| message.header.exchange == exchange);
    let fragments = fragments.filter_map(|message| message.encrypted.expect("encrypted").fragment);
    fragments.map(|fragment| (fragment.number, fragment.total)).collect()
}

fn established() -> World {
    let mut world = World::with(fragmenting(Side::Left, SMALL), fragmenting(Side::Right, SMALL));
    world.initiate(Side::Left, "net");
    world.run();
    world.check_agreement(1, 1);
    world
}

#[test]
fn every_long_message_travels_in_fragments_that_fit() {
    let mut world = established();
    world.rekey_child(Side::Right);
    world.run();
    world.rekey_ike(Side::Left);
    world.run();
    world.rekey_ike(Side::Right);
    world.run();
    world.check_agreement(1, 1);
    for exchange in [ExchangeType::IkeAuth, ExchangeType::CreateChildSa] {
        for to in [Side::Left, Side::Right] {
            assert!(fragments_of(&world.sent, exchange, to).len() >= 2, "{exchange:?} to {to:?}");
        }
    }
    for packet in &world.sent {
        let init = packet.kind().0 == ExchangeType::IkeSaInit;
        assert!(init || packet.message.len() + 32 <= usize::from(SMALL));
    }
}

#[test]
fn fragments_are_sent_only_to_a_peer_that_takes_them_and_never_without_need() {
    let mut one_sided = fragmenting(Side::Right, SMALL);
    one_sided.fragment_size = None;
    for (left, right) in [
        (fragmenting(Side::Left, SMALL), one_sided),
        (fragmenting(Side::Left, 1280), fragmenting(Side::Right, 1280)),
    ] {
        let mut world = World::with(left, right);
        world.initiate(Side::Left, "net");
        world.run();
        world.rekey_ike(Side::Right);
        world.run();
        world.check_agreement(1, 1);
        for exchange in [ExchangeType::IkeAuth, ExchangeType::CreateChildSa] {
            assert!(fragments_of(&world.sent, exchange, Side::Right).is_empty());
        }
    }
}

#[test]
fn fragments_may_come_in_any_order_and_twice() {
    let mut world = established();
    for turn in 0..6 {
        match turn % 2 {
            0 => world.rekey_child(Side::Left),
            _ => world.rekey_ike(Side::Right),
        }
        world.outputs();
        while !world.wire.is_empty() {
            let mut packets: Vec<Packet> = world.wire.drain(..).collect();
            packets.reverse();
            for packet in packets.iter().chain(&packets) {
                world.arrive(packet);
            }
            world.outputs();
        }
        world.check_agreement(1, 1);
    }
}

#[test]
fn a_lost_fragment_is_made_up_for_by_the_repetition_of_all() {
    let mut world = World::with(fragmenting(Side::Left, SMALL), fragmenting(Side::Right, SMALL));
    let mut seen = BTreeSet::new();
    world.loss = Box::new(move |packet| seen.insert(packet.message.clone()) && seen.len() % 3 == 0);
    world.initiate(Side::Left, "net");
    world.pass(Duration::from_secs(60));
    world.rekey_ike(Side::Right);
    world.pass(Duration::from_secs(60));
    world.check_agreement(1, 1);
}

#[test]
fn an_answer_is_repeated_as_it_was_and_for_the_first_fragment_alone() {
    let mut world = established();
    world.rekey_ike(Side::Left);
    world.outputs();
    let request: Vec<Packet> = world.wire.drain(..).collect();
    assert!(request.len() >= 2);
    request.iter().for_each(|packet| world.arrive(packet));
    world.outputs();
    let answer: Vec<Packet> = world.wire.drain(..).collect();
    assert!(answer.len() >= 2);
    for takeover in [false, true] {
        if takeover {
            world.take_over(Side::Right, Fate::Lost);
        }
        request.iter().rev().for_each(|packet| world.arrive(packet));
        world.outputs();
        let again: Vec<Packet> = world.wire.drain(..).collect();
        let bytes = |packets: &[Packet]| -> Vec<Vec<u8>> {
            packets.iter().map(|packet| packet.message.clone()).collect()
        };
        assert_eq!(bytes(&again), bytes(&answer));
    }
    answer.iter().for_each(|packet| world.arrive(packet));
    world.run();
    world.check_agreement(1, 1);
}

#[test]
fn a_fragmented_request_that_meets_a_pending_write_is_answered_after_it() {
    let mut world = established();
    world.right.mode = Mode::Held;
    let spi = world.right.active_child();
    world.terminate_child(Side::Right, spi);
    world.outputs();
    world.initiate(Side::Left, "second");
    world.run();
    assert_eq!(world.right.installed.len(), 1);
    world.right.mode = Mode::Prompt;
    world.run();
    assert_eq!(world.right.installed.len(), 1, "one has gone, another has come");
    world.check_agreement(1, 1);
    // Without a single repetition.
    assert_eq!(world.now, World::new().now);
}

#[test]
fn forged_and_unasked_fragments_change_nothing() {
    let mut world = established();
    world.rekey_child(Side::Left);
    world.outputs();
    let request: Vec<Packet> = world.wire.drain(..).collect();
    for place in [0, 10, 40, 50, request[0].message.len() - 1] {
        for packet in &request {
            let mut forged = packet.clone();
            let last = forged.message.len() - 1;
            forged.message[place.min(last)] ^= 1;
            world.arrive(&forged);
        }
    }
    world.outputs();
    assert_eq!(world.right.installed.len(), 1);
    request.iter().for_each(|packet| world.arrive(packet));
    world.run();
    world.check_agreement(1, 1);
    // Those of a message that was answered long ago.
    world.rekey_child(Side::Left);
    world.run();
    let before = world.right.engine.drops().get(Drop::OutOfWindow);
    request.iter().for_each(|packet| world.arrive(packet));
    world.outputs();
    assert!(world.wire.is_empty());
    let dropped = world.right.engine.drops().get(Drop::OutOfWindow) - before;
    assert_eq!(dropped, u64::try_from(request.len()).expect("a few"));
}

#[test]
fn a_wrong_key_is_told_once_however_many_fragments_the_request_had() {
    let mut left = fragmenting(Side::Left, SMALL);
    left.connections[0].authentication = vipsec_ike::Authentication::psk(b"another key");
    let mut world = World::with(left, fragmenting(Side::Right, SMALL));
    world.begin();
    let request: Vec<Packet> = world.wire.drain(..).collect();
    for _ in 0..2 {
        request.iter().for_each(|packet| world.arrive(packet));
        world.outputs();
        assert_eq!(world.wire.drain(..).count(), 1);
    }
}
