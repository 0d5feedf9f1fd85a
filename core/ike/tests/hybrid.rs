//! Additional key exchanges (RFC 9370) in IKE_INTERMEDIATE (RFC 9242) and IKE_FOLLOWUP_KE, between two
//! engines.

mod world;

use core::time::Duration;
use vipsec_ike::{CloseReason, Event, IkeProposal};
use vipsec_wire::ike::{ExchangeType, Group, Message};
use world::{Side, World, config, hybrid};

/// What was sent, a message in fragments once.
fn messages(world: &World) -> impl Iterator<Item = (ExchangeType, u32, bool)> {
    let begins = |packet: &&world::Packet| {
        let message = Message::parse(&packet.message).expect("engines emit messages");
        let fragment = message.encrypted.and_then(|encrypted| encrypted.fragment);
        fragment.is_none_or(|fragment| fragment.number == 1)
    };
    world.sent.iter().filter(begins).map(world::Packet::kind)
}

/// The requests that were sent, by exchange.
fn requests(world: &World) -> Vec<ExchangeType> {
    let requests = messages(world).filter(|(_, _, response)| !response);
    requests.map(|(exchange, ..)| exchange).collect()
}

#[test]
fn an_intermediate_exchange_for_each_additional_key_exchange() {
    let mut world = World::hybrid();
    world.initiate(Side::Left, "net");
    world.run();
    world.check_agreement(1, 1);
    let expected = [
        ExchangeType::IkeSaInit,
        ExchangeType::IkeIntermediate,
        ExchangeType::IkeIntermediate,
        ExchangeType::IkeAuth,
    ];
    assert_eq!(requests(&world), expected);
    let view = world.right.engine.ike_sas().next().unwrap();
    assert_eq!(view.algorithms.additional[..2], [Group::MlKem512, Group::MlKem768]);
    assert_eq!(view.algorithms.additional[2], Group::None);
    // The message IDs go on where the last intermediate exchange ended.
    world.rekey_child(Side::Left);
    world.run();
    assert_eq!(messages(&world).filter(|(_, id, _)| *id == 4).count(), 2);
    world.check_agreement(1, 1);
}

#[test]
fn either_side_rekeys_with_additional_key_exchanges() {
    for side in [Side::Left, Side::Right] {
        let mut world = World::established_hybrid();
        for _ in 0..2 {
            let first = world.sent.len();
            world.rekey_child(side);
            world.run();
            world.check_agreement(1, 1);
            world.rekey_ike(side);
            world.run();
            world.check_agreement(1, 1);
            let sent = requests(&world);
            let followups =
                sent.iter().filter(|exchange| **exchange == ExchangeType::IkeFollowupKe).count();
            assert!(followups >= 3, "after {first}: {sent:?}");
        }
        world.initiate(side, "second");
        world.run();
        world.check_agreement(1, 2);
    }
}

/// What we begin waits for the end of what the peer makes, and no longer.
#[test]
fn a_rekey_of_ours_follows_one_of_the_peer_at_once() {
    for begin in [World::rekey_child as fn(&mut World, Side), World::rekey_ike] {
        let mut world = World::established_hybrid();
        world.rekey_child(Side::Left);
        world.run();
        let before = requests(&world).len();
        begin(&mut world, Side::Right);
        world.run();
        world.check_agreement(1, 1);
        let sent = requests(&world);
        assert!(sent[before..].contains(&ExchangeType::IkeFollowupKe), "{:?}", &sent[before..]);
    }
}

#[test]
fn the_usual_proposals_are_hybrid_and_fall_back() {
    let usual = |side| {
        let mut config = config(side);
        config.connections[0].proposals = IkeProposal::usual();
        config
    };
    let mut world = World::with(usual(Side::Left), usual(Side::Right));
    world.initiate(Side::Left, "net");
    world.run();
    world.check_agreement(1, 1);
    assert_eq!(messages(&world).count(), 6);
    for (left, right) in
        [(usual(Side::Left), config(Side::Right)), (config(Side::Left), usual(Side::Right))]
    {
        let mut world = World::with(left, right);
        world.initiate(Side::Left, "net");
        world.run();
        world.check_agreement(1, 1);
        assert_eq!(messages(&world).count(), 4, "a peer without them does without");
    }
}

#[test]
fn who_insists_on_additional_key_exchanges_does_without_nobody() {
    let mut world = World::with(config(Side::Left), hybrid(Side::Right));
    world.initiate(Side::Left, "net");
    world.pass(Duration::from_secs(30));
    world.check_agreement(0, 0);
    let refused =
        |event: &Event| matches!(event, Event::Failed { reason: CloseReason::PeerRefused(_), .. });
    assert!(world.left.has_event(refused), "{:?}", world.left.events);
}

/// Every message gets lost once: what was asked is asked again, and answered with the same bytes.
#[test]
fn every_loss_is_made_up_for() {
    let begins: [fn(&mut World); 3] = [
        |world| _ = world.initiate(Side::Left, "second"),
        |world| world.rekey_child(Side::Right),
        |world| world.rekey_ike(Side::Left),
    ];
    for (begin, children) in begins.into_iter().zip([2, 1, 1]) {
        let count = {
            let mut world = World::established_hybrid();
            let before = world.sent.len();
            begin(&mut world);
            world.run();
            world.sent.len() - before
        };
        for lost in 0..count {
            let mut world = World::established_hybrid();
            let mut seen = 0;
            world.loss = Box::new(move |_| {
                seen += 1;
                seen == lost + 1
            });
            begin(&mut world);
            world.pass(Duration::from_secs(60));
            world.check_agreement(1, children);
        }
    }
}

/// A changed IKE_INTERMEDIATE does not decrypt; one that is repeated has the same answer.
#[test]
fn an_intermediate_exchange_is_answered_once() {
    let mut world = World::hybrid();
    world.begin();
    let mut changed = world.lose(Side::Right);
    let good = changed.clone();
    *changed.message.last_mut().unwrap() ^= 1;
    world.arrive(&changed);
    world.outputs();
    assert!(world.wire.is_empty(), "what is not authentic is not answered");
    world.arrive(&good);
    world.outputs();
    let first = world.lose(Side::Left);
    world.arrive(&good);
    world.outputs();
    assert_eq!(world.wire.front().unwrap().message, first.message);
    world.run();
    world.check_agreement(1, 1);
}
