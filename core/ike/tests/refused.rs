//! What a write that is refused, or never made, must leave whole: IVs, intentions, other SAs.

mod world;

use core::time::Duration;
use vipsec_esp::Expiry;
use vipsec_ike::{Change, Duplicates, Output, Selector, Stored};
use vipsec_wire::ike::{ExchangeType, Message};
use world::forge::Content;
use world::site::{Fate, Mode, Site};
use world::{Packet, Side, World, config};

/// The counter in the IV of an encrypted message.
fn counter(message: &[u8]) -> u64 {
    let encrypted = Message::parse(message).expect("a message").encrypted.expect("encrypted");
    let iv = message[encrypted.body_at..][..8].try_into().expect("eight octets");
    u64::from_be_bytes(iv) & 0xffff_ffff_ffff
}

/// The counter in the newest message that `to` was sent.
fn newest(world: &World, to: Side) -> u64 {
    let is_for = |packet: &&Packet| packet.to == to;
    counter(&world.sent.iter().rev().find(is_for).expect("a message").message)
}

/// One sequence of IVs goes on; another one would begin anywhere.
fn assert_follows(later: u64, earlier: u64) {
    assert!(later > earlier && later - earlier < 100, "{later} does not follow {earlier}");
}

#[test]
fn the_ivs_of_an_ike_sa_whose_end_was_refused_go_on() {
    let mut world = World::established();
    world.rekey_child(Side::Right);
    world.run();
    let before = newest(&world, Side::Left);
    world.right.mode = Mode::Refusing;
    world.terminate_ike(Side::Left);
    world.run();
    assert_eq!(world.right.engine.ike_sa_count(), 1, "the end was refused");
    world.right.mode = Mode::Prompt;
    world.pass(Duration::from_secs(10));
    world.check_agreement(0, 0);
    assert_follows(newest(&world, Side::Left), before);
}

#[test]
fn the_ivs_of_an_ike_sa_go_on_when_its_owner_comes_back_in_the_same_epoch() {
    let mut world = World::new();
    world.right.mode = Mode::Held;
    world.initiate(Side::Left, "net");
    world.run();
    let now = world.now;
    world.right.engine.become_standby(now);
    assert_eq!(world.right.engine.ike_sa_count(), 0);
    world.right.held.clear();
    // The write was made all the same, and nobody else has owned the VIP.
    let (_, _, changes) = world.right.waiting.pop_front().expect("the answer is being written");
    world.right.store.write(&changes);
    let mut before = None;
    for change in world.right.store.load() {
        if let Change::IkeMutable { state, .. } = &change {
            before = state.last_response.as_ref().map(|response| counter(&response.datagrams[0]));
        }
        world.right.engine.apply(now, change).expect("what was written can be read");
    }
    world.right.mode = Mode::Prompt;
    let epoch = world.right.epoch;
    world.right.engine.become_owner(now, epoch, &mut world.rng);
    for view in world.right.engine.children() {
        let spi = view.sa.inbound.spi;
        let installed = world::site::Installed { sa: view.sa, outbound: view.outbound };
        world.right.installed.insert(spi, installed);
    }
    world.pass(Duration::from_secs(10));
    world.check_agreement(1, 1);
    world.rekey_child(Side::Right);
    world.run();
    assert_follows(newest(&world, Side::Left), before.expect("an answer is stored"));
}

#[test]
fn a_stored_ike_sa_is_not_deleted_without_the_store_when_a_new_one_replaces_it() {
    let mut world = World::established();
    let old = world.right.ike();
    let mut left = config(Side::Left);
    left.connections[0].duplicates = Duplicates::Keep;
    world.left = Site::new(Side::Left, left, world.now, &mut world.rng);
    world.right.mode = Mode::Down;
    world.sent.clear();
    world.initiate(Side::Left, "net");
    world.run();
    assert_eq!(world.left.installed.len(), 1, "the new one goes on as unprotected");
    let told = |world: &World| {
        let mut sent = world.sent.iter().filter(|packet| packet.to == Side::Left);
        sent.any(|packet| packet.kind().0 == ExchangeType::Informational)
    };
    assert!(!told(&world), "its end is not stored");
    assert!(world.right.store.constants.contains_key(&old));
    world.right.mode = Mode::Prompt;
    world.run();
    assert!(told(&world));
    assert!(!world.right.store.constants.contains_key(&old));
    assert_eq!(world.right.engine.ike_sa_count(), 1);
}

/// Something is wanted while the left side's store refuses all writes.
fn wanted_in_vain(want: impl Fn(&mut World)) -> World {
    let mut world = World::established();
    world.left.mode = Mode::Refusing;
    want(&mut world);
    world.run();
    assert!(world.left.engine.ike_sas().all(|view| !view.request_outstanding));
    world.left.mode = Mode::Prompt;
    world.pass(Duration::from_secs(5));
    world
}

#[test]
fn a_request_whose_write_was_refused_is_made_again() {
    let mut world = wanted_in_vain(|world| {
        let (spi, now) = (world.left.active_child(), world.now);
        world.left.engine.handle_child_expiry(now, spi, Expiry::Soft, &mut world.rng);
    });
    world.check_agreement(1, 1);
    assert_eq!(world.left.history.len(), 2, "the data path says it only once");
    let mut world = wanted_in_vain(|world| {
        let spi = world.left.active_child();
        world.terminate_child(Side::Left, spi);
    });
    world.check_agreement(1, 0);
    let mut world = wanted_in_vain(|world| _ = world.initiate(Side::Left, "second"));
    world.check_agreement(1, 2);
    let mut world = wanted_in_vain(|world| world.terminate_ike(Side::Left));
    world.check_agreement(0, 0);
}

#[test]
fn what_the_store_refuses_at_once_is_not_asked_again_at_once() {
    let mut world = World::established();
    world.terminate_ike(Side::Left);
    let (now, engine) = (world.now, &mut world.left.engine);
    let mut writes = 0;
    while let Some(output) = engine.poll_output() {
        if let Output::Persist { ticket, .. } = output {
            engine.handle_stored(now, ticket, Stored::Refused, &mut world.rng);
            writes += 1;
            assert!(writes < 5, "it never ends");
        }
    }
    let due = engine.poll_timeout().expect("it is not forgotten");
    assert!(due > now);
    engine.handle_timeout(now + Duration::from_millis(1), &mut world.rng);
    assert!(engine.poll_output().is_none());
    world.pass(Duration::from_secs(5));
    world.check_agreement(0, 0);
}

#[test]
fn a_child_sa_that_we_cannot_have_is_deleted_by_the_next_owner_too() {
    let (mut left, mut right) = (config(Side::Left), config(Side::Right));
    for (config, mode) in
        [(&mut left, vipsec_esp::Mode::Transport), (&mut right, vipsec_esp::Mode::Tunnel)]
    {
        let child = &mut config.connections[0].children[0];
        (child.mode, child.local, child.remote) =
            (mode, vec![Selector::Dynamic], vec![Selector::Dynamic]);
        config.connections[0].children.truncate(1);
    }
    let mut world = World::with(left, right);
    world.initiate(Side::Left, "net");
    world.outputs();
    for to in [Side::Right, Side::Left, Side::Right] {
        world.deliver(to);
        world.outputs();
    }
    world.left.mode = Mode::Held;
    world.deliver(Side::Left);
    world.outputs();
    assert_eq!(world.right.installed.len(), 1, "the peer has a Child SA in a mode that we refuse");
    world.left.mode = Mode::Prompt;
    world.take_over(Side::Left, Fate::Written);
    world.pass(Duration::from_secs(40));
    world.check_agreement(1, 0);
}

#[test]
fn a_peer_whose_ike_auth_response_is_of_no_use_is_told() {
    let mut world = World::new();
    world.initiate(Side::Left, "net");
    world.outputs();
    for to in [Side::Right, Side::Left, Side::Right] {
        world.deliver(to);
        world.outputs();
    }
    let response = world.lose(Side::Left);
    let id = world.right.ike();
    // Authentic, and without AUTH or an error.
    let empty = Content::Payloads(Vec::new());
    let useless = world.forge_from(Side::Right, id, response.kind(), empty);
    world.arrive(&Packet { message: useless, ..response });
    world.run();
    world.check_agreement(0, 0);
}

#[test]
fn the_answer_to_a_delete_is_repeated_by_the_next_owner() {
    let mut world = World::established();
    world.terminate_ike(Side::Left);
    world.outputs();
    let request = world.deliver(Side::Right);
    world.outputs();
    let answer = world.lose(Side::Left);
    assert_eq!(world.right.engine.ike_sa_count(), 0);
    world.take_over(Side::Right, Fate::Lost);
    world.arrive(&request);
    world.outputs();
    assert_eq!(world.wire[0].message, answer.message);
    world.run();
    world.check_agreement(0, 0);
}
