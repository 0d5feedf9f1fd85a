//! Persist before send: nothing that changes state leaves before it is stored, and what is not
//! stored did not happen.

mod world;

use core::time::Duration;
use vipsec_ike::{CloseReason, Event, Stored, Ticket};
use world::site::{Fate, Mode};
use world::{Side, World};

#[test]
fn answers_wait_for_the_store_and_repetitions_with_them() {
    let mut world = World::new();
    world.right.mode = Mode::Held;
    world.initiate(Side::Left, "net");
    world.run();
    world.pass(Duration::from_secs(4));
    let answers = world.sent.iter().filter(|p| p.to == Side::Left).count();
    assert_eq!(answers, 1, "only the IKE_SA_INIT response");
    assert!(world.right.installed.is_empty() && world.right.events.is_empty());
    world.right.mode = Mode::Prompt;
    world.run();
    world.check_agreement(1, 1);
}

#[test]
fn requests_wait_for_the_store_and_are_not_repeated_before() {
    let mut world = World::established();
    world.left.mode = Mode::Held;
    world.sent.clear();
    world.rekey_child(Side::Left);
    world.pass(Duration::from_secs(20));
    assert!(world.sent.iter().all(|packet| packet.to == Side::Left), "{:?}", world.sent);
    world.left.mode = Mode::Prompt;
    world.run();
    world.check_agreement(1, 1);
}

#[test]
fn a_refused_new_sa_is_gone() {
    let mut world = World::new();
    world.right.mode = Mode::Refusing;
    world.initiate(Side::Left, "net");
    world.run();
    assert_eq!(world.right.engine.ike_sa_count(), 0);
    assert!(world.right.installed.is_empty());
    let closed = |e: &Event| matches!(e, Event::Closed { reason: CloseReason::NotStored, .. });
    assert!(world.right.has_event(closed));
    world.right.mode = Mode::Prompt;
    world.pass(Duration::from_secs(60));
    world.initiate(Side::Left, "net");
    world.run();
    world.check_agreement(1, 1);
}

#[test]
fn a_refused_change_has_not_happened() {
    for side in [Side::Left, Side::Right] {
        let mut world = World::established();
        let id = world.right.ike();
        let before = world.right.engine.snapshot(id);
        world.right.mode = Mode::Refusing;
        world.rekey_child(side);
        world.run();
        assert_eq!(world.right.engine.snapshot(id), before);
        assert_eq!(world.right.installed.len(), 1);
        world.right.mode = Mode::Prompt;
        world.pass(Duration::from_secs(20));
        world.check_agreement(1, 1);
    }
}

#[test]
fn without_store_a_new_sa_goes_on_unprotected_and_is_written_with_the_next_change() {
    let mut world = World::new();
    world.right.mode = Mode::Down;
    world.initiate(Side::Left, "net");
    world.run();
    assert_eq!(world.left.installed.len(), 1);
    assert_eq!(world.right.installed.len(), 1);
    assert!(!world.right.engine.ike_sas().next().unwrap().protected);
    assert_eq!(world.right.store.writes, 0);
    world.rekey_ike(Side::Left);
    world.run();
    world.right.mode = Mode::Prompt;
    world.rekey_child(Side::Left);
    world.run();
    assert!(world.right.engine.ike_sas().next().unwrap().protected);
    world.check_agreement(1, 1);
    world.take_over(Side::Right, Fate::Lost);
    world.rekey_child(Side::Left);
    world.run();
    world.check_agreement(1, 1);
}

#[test]
fn an_existing_sa_waits_for_the_store() {
    let mut world = World::established();
    world.right.mode = Mode::Down;
    world.rekey_child(Side::Left);
    world.pass(Duration::from_secs(5));
    assert_eq!(world.left.history.len(), 1);
    world.right.mode = Mode::Prompt;
    world.pass(Duration::from_secs(5));
    world.check_agreement(1, 1);
    assert_eq!(world.left.history.len(), 2);
}

#[test]
fn a_deposed_owner_is_silent_and_stands_where_the_store_stands() {
    let mut world = World::established();
    let id = world.right.ike();
    let before = world.right.engine.snapshot(id);
    world.right.mode = Mode::Held;
    world.rekey_child(Side::Left);
    world.run();
    assert_ne!(world.right.engine.snapshot(id), before);
    let now = world.now;
    world.right.engine.become_standby(now);
    assert_eq!(world.right.engine.snapshot(id), before);
    assert!(world.right.engine.poll_output().is_none());
    assert!(world.right.engine.poll_timeout().is_none());
    world.right.waiting.clear();
    world.right.held.clear();
    // It follows the store, and may own the VIP again, in a later epoch.
    for change in world.right.store.load() {
        world.right.engine.apply(now, change).unwrap();
    }
    world.right.mode = Mode::Prompt;
    world.right.epoch.0 += 2;
    let epoch = world.right.epoch;
    world.right.engine.become_owner(now, epoch, &mut world.rng);
    world.pass(Duration::from_secs(10));
    world.check_agreement(1, 1);
}

//= RFC 7296 section 1.4 #4: they are answered
#[test]
fn empty_checks_are_not_stored() {
    let mut world = World::established();
    let writes = world.right.store.writes;
    world.left.config.connections[0].dpd = None;
    world.pass(Duration::from_secs(31));
    let (left, right) = (world.left.store.writes, world.right.store.writes);
    world.take_over(Side::Right, Fate::Lost);
    world.pass(Duration::from_secs(100));
    world.check_agreement(1, 1);
    assert!(right - writes <= 1 && left > 0);
}

#[test]
fn a_record_that_makes_no_sense_leaves_the_rest_alone() {
    let mut world = World::established();
    world.initiate(Side::Right, "second");
    world.run();
    let now = world.now;
    let mut engine = vipsec_ike::Engine::new(world.right.config.clone());
    let mut refused = 0;
    let mut damaged = false;
    for change in world.right.store.load() {
        let change = match change {
            vipsec_ike::Change::ChildConstant(mut child) if !damaged => {
                damaged = true;
                child.inbound.encryption = b"short"[..].into();
                vipsec_ike::Change::ChildConstant(child)
            }
            other => other,
        };
        refused += usize::from(engine.apply(now, change).is_err());
    }
    assert_eq!((refused, engine.ike_sa_count(), engine.children().count()), (1, 1, 1));
}

#[test]
fn the_answer_to_a_delete_is_not_given_before_it_is_stored_however_often_it_is_asked_for() {
    let mut world = World::established();
    world.right.mode = Mode::Held;
    world.sent.clear();
    world.terminate_ike(Side::Left);
    world.pass(Duration::from_secs(5));
    assert!(world.sent.len() >= 3, "the request is repeated");
    assert!(world.sent.iter().all(|packet| packet.to == Side::Right));
    assert_eq!(world.left.engine.ike_sa_count(), 1);
    world.right.mode = Mode::Prompt;
    world.loss = Box::new(|packet| packet.to == Side::Left);
    world.run();
    // The answer was lost, the SA is gone: the repetition is answered all the same.
    world.loss = Box::new(|_| false);
    world.pass(Duration::from_secs(10));
    world.check_agreement(0, 0);
    assert!(
        !world
            .left
            .has_event(|e| { matches!(e, Event::Closed { reason: CloseReason::PeerDead, .. }) })
    );
}

#[test]
fn an_sa_is_protected_only_when_its_latest_write_is_made() {
    let mut world = World::new();
    world.right.mode = Mode::Down;
    world.initiate(Side::Left, "net");
    world.run();
    world.rekey_child(Side::Left);
    world.run();
    let (now, mut rng) = (world.now, world::Seeded(1));
    let engine = &mut world.right.engine;
    engine.handle_stored(now, Ticket(1), Stored::Confirmed, &mut rng);
    assert!(!engine.ike_sas().next().unwrap().protected, "the rekey is not in the store");
    for ticket in 2..4 {
        engine.handle_stored(now, Ticket(ticket), Stored::Confirmed, &mut rng);
    }
    assert!(engine.ike_sas().next().unwrap().protected);
}
