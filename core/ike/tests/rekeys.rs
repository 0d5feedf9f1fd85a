//! Rekeys that are cut short, ended from elsewhere, or meet a limit or a store that refuses.

mod world;

use core::time::Duration;
use vipsec_ike::{Change, Output, Stored};
use vipsec_wire::ike::{ExchangeType, Notify, NotifyType, Payload};
use vipsec_wire::record::v1::ChildPhase;
use world::forge::Content;
use world::site::Fate;
use world::{Side, World, config};

/// The left side has its successor and begins to delete the old Child SA; the right one has not
/// heard of that.
fn before_the_delete() -> World {
    let mut world = World::established();
    world.rekey_child(Side::Left);
    world.outputs();
    world.deliver(Side::Right);
    world.outputs();
    world
}

#[test]
fn the_responder_of_a_rekey_has_something_to_send_on_at_every_moment() {
    let mut world = before_the_delete();
    world.take_over(Side::Right, Fate::Written);
    let sending = world.right.installed.values().filter(|installed| installed.outbound);
    assert_eq!(sending.count(), 1, "the old one, until the peer shows that it has the new one");
    world.run();
    world.pass(Duration::from_secs(10));
    world.check_agreement(1, 1);
    assert!(world.right.installed.values().all(|installed| installed.outbound));
}

#[test]
fn the_responder_of_a_rekey_that_deletes_the_old_child_sa_itself_sends_on_the_new_one() {
    let mut world = before_the_delete();
    world.deliver(Side::Left);
    world.outputs();
    world.lose(Side::Right);
    let old = world.right.engine.children().find(|view| view.phase != ChildPhase::Active);
    let old = old.expect("it waits for the peer's delete").sa.inbound.spi;
    world.terminate_child(Side::Right, old);
    world.outputs();
    world.deliver(Side::Left);
    world.outputs();
    world.deliver(Side::Right);
    world.outputs();
    assert_eq!(world.right.installed.len(), 1);
    assert!(world.right.installed.values().all(|installed| installed.outbound));
}

#[test]
fn a_full_ike_sa_can_still_have_its_child_sas_rekeyed() {
    let (left, mut right) = (config(Side::Left), config(Side::Right));
    right.limits.children_max = 1;
    let mut world = World::with(left, right);
    world.initiate(Side::Left, "net");
    world.run();
    let before = world.left.active_child();
    world.rekey_child(Side::Left);
    world.run();
    world.check_agreement(1, 1);
    assert_ne!(world.left.active_child(), before);
    world.initiate(Side::Left, "second");
    world.run();
    world.check_agreement(1, 1);
}

#[test]
fn an_ike_sa_that_is_to_end_does_not_live_on_in_its_successor() {
    let mut world = World::established();
    world.rekey_ike(Side::Left);
    world.outputs();
    world.terminate_ike(Side::Left);
    world.run();
    world.check_agreement(0, 0);
}

#[test]
fn what_waits_for_a_write_that_is_refused_at_once_is_dropped() {
    let mut world = World::established();
    world.rekey_child(Side::Left);
    world.outputs();
    world.deliver(Side::Right);
    let (now, engine) = (world.now, &mut world.right.engine);
    let mut refused = false;
    while let Some(output) = engine.poll_output() {
        match output {
            Output::Persist { ticket, .. } => {
                engine.handle_stored(now, ticket, Stored::Refused, &mut world.rng);
                refused = true;
            }
            Output::Transmit { .. } | Output::Install { .. } => panic!("{output:?} was refused"),
            _ => {}
        }
    }
    assert!(refused);
    world.pass(Duration::from_secs(10));
    world.check_agreement(1, 1);
}

#[test]
fn replaced_ike_sas_that_are_never_deleted_do_not_pile_up() {
    let mut world = World::established();
    let is_delete = |p: &world::Packet| p.kind().0 == ExchangeType::Informational;
    world.loss = Box::new(move |packet| packet.to == Side::Right && is_delete(packet));
    for _ in 0..40 {
        world.rekey_ike(Side::Left);
        world.run();
    }
    assert_eq!(world.right.engine.ike_sa_count(), 8);
    world.loss = Box::new(|_| false);
    world.pass(Duration::from_secs(60));
    world.check_agreement(1, 1);
}

#[test]
fn an_ike_sa_whose_message_ids_run_out_is_rekeyed() {
    for side in [Side::Left, Side::Right] {
        let mut world = World::established();
        let id = world.site(side).ike();
        let mut state = world.site(side).engine.snapshot(id).unwrap().mutable;
        (state.next_request, state.expected_request) = (u32::MAX - 70_000, u32::MAX - 60_000);
        let other = world.site(side.other());
        let twin = other.ike();
        let mut mirrored = other.engine.snapshot(twin).unwrap().mutable;
        (mirrored.expected_request, mirrored.next_request) =
            (state.next_request, state.expected_request);
        let changes = [(side, id, state), (side.other(), twin, mirrored)];
        for (side, id, state) in changes {
            let change = Change::IkeMutable { id, state: Box::new(state) };
            world.site(side).store.write(&[change]);
            world.take_over(side, Fate::Lost);
        }
        world.pass(Duration::from_secs(60));
        world.check_agreement(1, 1);
        assert_ne!(world.site(side).ike(), id);
        assert!(world.sent.iter().all(|packet| packet.kind().1 < 100 || packet.kind().1 > 1000));
    }
}

#[test]
fn a_granted_window_is_remembered_and_not_needed() {
    let mut world = World::established();
    let id = world.right.ike();
    let grant = Notify::new(NotifyType::SET_WINDOW_SIZE, 5_u32.to_be_bytes().to_vec());
    let content = Content::Payloads(vec![Payload::Notify(grant)]);
    let packet = world.forge(Side::Right, id, (ExchangeType::Informational, 2, false), content);
    world.arrive(&packet);
    world.outputs();
    world.wire.clear();
    world.take_over(Side::Right, Fate::Lost);
    assert_eq!(world.right.engine.snapshot(id).unwrap().mutable.peer_window, 5);
    // Two requests at once would be allowed now.
    let spi = world.right.active_child();
    world.terminate_child(Side::Right, spi);
    world.rekey_ike(Side::Right);
    world.outputs();
    assert_eq!(world.wire.len(), 1);
}

#[test]
fn only_a_child_sa_with_a_successor_ends_as_replaced() {
    let mut world = World::established();
    let before = [world.left.active_child(), world.right.active_child()];
    world.rekey_child(Side::Left);
    world.run();
    let ends = |world: &World, spis: [vipsec_wire::id::EspSpi; 2]| {
        [world.left.removed[&spis[0]], world.right.removed[&spis[1]]]
    };
    assert_eq!(ends(&world, before), [true, true]);
    let deleted = [world.left.active_child(), world.right.active_child()];
    world.terminate_child(Side::Left, deleted[0]);
    world.run();
    assert_eq!(ends(&world, deleted), [false, false]);
    // The whole IKE SA ends while the old Child SA waits for the peer's delete.
    let mut world = before_the_delete();
    world.deliver(Side::Left);
    world.outputs();
    world.lose(Side::Right);
    let old = world.right.engine.children().find(|view| view.phase != ChildPhase::Active);
    let old = old.expect("it waits for the peer's delete").sa.inbound.spi;
    world.terminate_ike(Side::Right);
    world.run();
    world.pass(Duration::from_secs(10));
    assert!(!world.right.removed[&old]);
}
