//! Every exchange, between two engines, with nothing in the way.

mod world;

use core::time::Duration;
use vipsec_esp::{Expiry, Mode};
use vipsec_ike::{CloseReason, Event};
use vipsec_wire::ike::ExchangeType;
use world::{Side, World};

//= RFC 7296 section 4 #3: in four messages
#[test]
fn initial_exchanges_make_an_ike_sa_and_a_child_sa() {
    let mut world = World::new();
    world.initiate(Side::Left, "net");
    world.run();
    world.check_agreement(1, 1);
    assert_eq!(world.sent.len(), 4);
    let child = world.left.installed.values().next().unwrap();
    assert!(child.outbound && !child.sa.endpoints.encapsulated);
    assert_eq!(child.sa.mode, Mode::Tunnel);
    assert!(world.right.has_event(|e| matches!(e, Event::Established { initiator: false, .. })));
}

//= RFC 7296 section 1.3.3 #1: the new SA takes the place of the old one
#[test]
fn either_side_rekeys_the_child_sa() {
    for side in [Side::Left, Side::Right] {
        let mut world = World::established();
        let before = world.left.active_child();
        world.rekey_child(side);
        world.run();
        world.check_agreement(1, 1);
        assert_ne!(world.left.active_child(), before);
        assert!(world.left.installed.values().all(|installed| installed.outbound));
        assert!(world.right.installed.values().all(|installed| installed.outbound));
    }
}

//= RFC 7296 section 1.3.2 #1: with a KE payload, or the peer would refuse
//= RFC 7296 section 1.4 #3: Child SAs are spoken of under the new IKE SA
//= RFC 7296 section 2.8 #3: the old one is deleted and nothing else
//= RFC 7296 section 2.18 #1: the keys are new
//= RFC 7296 section 2.18 #4: messages count from 0
#[test]
fn either_side_rekeys_the_ike_sa() {
    for side in [Side::Left, Side::Right] {
        let mut world = World::established();
        let (before, family) =
            (world.left.ike(), world.left.installed.values().next().unwrap().sa.ike);
        world.rekey_ike(side);
        world.run();
        world.check_agreement(1, 1);
        assert_ne!(world.left.ike(), before);
        let view = world.left.engine.ike_sas().next().unwrap();
        assert_eq!(view.family, family);
        world.rekey_child(side.other());
        world.run();
        world.check_agreement(1, 1);
        world.rekey_ike(side.other());
        world.run();
        world.check_agreement(1, 1);
    }
}

#[test]
fn a_second_child_under_the_same_ike_sa() {
    let mut world = World::established();
    world.initiate(Side::Right, "second");
    world.run();
    world.check_agreement(1, 2);
    assert_eq!(world.sent.last().unwrap().kind().0, ExchangeType::CreateChildSa);
}

//= RFC 7296 section 1.4.1 #1: both halves
//= RFC 7296 section 1.4.1 #2: by our own SPI
//= RFC 7296 section 1.4.1 #3: which the peer closes
//= RFC 7296 section 2.4 #8: for it was told
#[test]
fn either_side_deletes_the_child_sa() {
    for side in [Side::Left, Side::Right] {
        let mut world = World::established();
        let spi = world.site(side).active_child();
        world.terminate_child(side, spi);
        world.run();
        world.check_agreement(1, 0);
    }
}

//= RFC 7296 section 1.4 #2: under the IKE SA itself
#[test]
fn either_side_deletes_the_ike_sa() {
    for side in [Side::Left, Side::Right] {
        let mut world = World::established();
        world.terminate_ike(side);
        world.run();
        world.check_agreement(0, 0);
        let by_peer =
            |e: &Event| matches!(e, Event::Closed { reason: CloseReason::DeletedByPeer, .. });
        assert!(world.site(side.other()).has_event(by_peer));
    }
}

#[test]
fn a_soft_limit_rekeys_and_a_hard_one_deletes() {
    let mut world = World::established();
    let (now, spi) = (world.now, world.left.active_child());
    world.left.engine.handle_child_expiry(now, spi, Expiry::Soft, &mut world.rng);
    world.run();
    world.check_agreement(1, 1);
    let spi = world.left.active_child();
    world.left.engine.handle_child_expiry(now, spi, Expiry::Hard, &mut world.rng);
    world.run();
    world.check_agreement(1, 0);
}

#[test]
fn ike_lifetimes_rekey_in_good_time() {
    let mut world = World::established();
    let before = world.left.ike();
    world.pass(Duration::from_secs(4 * 3600));
    world.check_agreement(1, 1);
    assert_ne!(world.left.ike(), before);
}

//= RFC 7296 section 2.1 #6: with its Child SAs
//= RFC 7296 section 2.4 #4: after repeated silence
//= RFC 7296 section 4 #4: while the peer lives it answers
#[test]
fn silence_is_looked_into_and_a_dead_peer_given_up() {
    let mut world = World::established();
    world.pass(Duration::from_secs(100));
    world.check_agreement(1, 1);
    let checks = |world: &World| {
        let kinds = world.sent.iter().map(world::Packet::kind);
        kinds.filter(|kind| kind.0 == ExchangeType::Informational && !kind.2).count()
    };
    assert!((1..=3).contains(&checks(&world)), "{} checks", checks(&world));
    world.loss = Box::new(|_| true);
    world.pass(Duration::from_secs(200));
    world.check_agreement(0, 0);
    let dead = |e: &Event| matches!(e, Event::Closed { reason: CloseReason::PeerDead, .. });
    assert!(world.left.has_event(dead) || world.right.has_event(dead));
}
