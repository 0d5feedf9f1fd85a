//! Two exchanges that meet (RFC 7296 sections 2.8.1, 2.8.2 and 2.25). Each way in which they can
//! has a test of its name.

mod world;

use core::time::Duration;
use std::collections::BTreeSet;
use vipsec_ike::{Change, CloseReason, Engine, Event};
use vipsec_wire::id::Epoch;
use vipsec_wire::ike::{ExchangeType, Group, Notify, NotifyType, Payload, PayloadType};
use vipsec_wire::record::v1::IkePhase;
use world::forge::Content;
use world::{Seeded, Side, World};

const LONG: Duration = Duration::from_secs(40);

/// Both requests are on the wire.
fn meeting(left: impl Fn(&mut World), right: impl Fn(&mut World)) -> World {
    let mut world = World::established();
    left(&mut world);
    right(&mut world);
    world.outputs();
    assert_eq!(world.wire.len(), 2);
    world
}

fn both_child_rekeys() -> World {
    meeting(|w| w.rekey_child(Side::Left), |w| w.rekey_child(Side::Right))
}

fn both_ike_rekeys() -> World {
    meeting(|w| w.rekey_ike(Side::Left), |w| w.rekey_ike(Side::Right))
}

fn delete_child(world: &mut World, side: Side) {
    let spi = world.site(side).active_child();
    world.terminate_child(side, spi);
}

//= RFC 7296 section 2.8.1 #1: both new SAs are there until one is deleted
#[test]
fn both_rekey_the_child_sa_and_the_lowest_nonce_loses() {
    let mut winners = BTreeSet::new();
    for seed in 1..20 {
        let mut world = World::established();
        let before = world.left.active_child();
        world.rng = Seeded(seed);
        world.rekey_child(Side::Left);
        world.rekey_child(Side::Right);
        world.run();
        world.check_agreement(1, 1);
        let survivor = world.left.active_child();
        assert_ne!(survivor, before);
        // What a side has made itself and may keep, it sends on at once.
        winners.insert(world.left.history[&survivor]);
        assert_eq!(world.left.history.len(), 3, "two SAs replaced one");
    }
    assert_eq!(winners.len(), 2, "each side wins sometimes");
}

#[test]
fn both_rekey_the_child_sa_and_one_request_is_lost() {
    let mut world = both_child_rekeys();
    world.lose(Side::Right);
    world.run();
    // The right side has not seen a collision and has deleted the old SA.
    assert_eq!(world.left.installed.len(), 1);
    world.pass(LONG);
    world.check_agreement(1, 1);
}

#[test]
fn both_rekey_the_child_sa_and_one_request_comes_late() {
    let mut world = both_child_rekeys();
    let late = world.lose(Side::Right);
    world.deliver(Side::Left);
    world.outputs();
    world.deliver(Side::Right);
    world.outputs();
    // The right side is deleting the old SA when the request to rekey it arrives.
    world.arrive(&late);
    world.run();
    world.pass(LONG);
    world.check_agreement(1, 1);
}

#[test]
fn both_rekey_the_child_sa_and_both_responses_are_lost() {
    let mut world = both_child_rekeys();
    world.deliver(Side::Left);
    world.deliver(Side::Right);
    world.outputs();
    world.lose(Side::Left);
    world.lose(Side::Right);
    world.pass(LONG);
    world.check_agreement(1, 1);
}

#[test]
fn both_rekey_the_child_sa_and_the_loser_deletes_first() {
    for side in [Side::Left, Side::Right] {
        let mut world = both_child_rekeys();
        world.deliver(Side::Left);
        world.deliver(Side::Right);
        world.outputs();
        // One side learns the end of the collision, and acts on it, before the other does.
        let held = world.lose(side);
        world.run();
        world.arrive(&held);
        world.run();
        world.pass(LONG);
        world.check_agreement(1, 1);
    }
}

#[test]
fn one_rekeys_the_child_sa_that_the_other_deletes() {
    for first in [Side::Left, Side::Right] {
        let mut world = meeting(|w| w.rekey_child(Side::Left), |w| delete_child(w, Side::Right));
        world.deliver(first);
        world.outputs();
        world.run();
        world.pass(LONG);
        world.check_agreement(1, 0);
    }
}

//= RFC 7296 section 1.4.1 #5: neither answer names it again
//= RFC 7296 section 2.3 #3: a request is taken while an own one is in flight
#[test]
fn one_rekeys_the_child_sa_of_which_the_other_has_not_heard_yet() {
    let mut world = World::established();
    world.rekey_child(Side::Left);
    world.outputs();
    world.deliver(Side::Right);
    world.outputs();
    // The response is lost: the left side does not know what the right side has made.
    world.lose(Side::Left);
    let made = world.right.engine.children().find(|child| !child.outbound);
    let made = made.expect("the successor").sa.inbound.spi;
    let (now, mut rng) = (world.now, Seeded(99));
    world.right.engine.rekey_child(now, made, &mut rng).expect("it is there");
    world.outputs();
    world.run();
    world.pass(LONG);
    world.check_agreement(1, 1);
}

#[test]
fn both_delete_the_child_sa() {
    let mut world = meeting(|w| delete_child(w, Side::Left), |w| delete_child(w, Side::Right));
    world.run();
    world.check_agreement(1, 0);
}

#[test]
fn both_delete_the_ike_sa() {
    let mut world = meeting(|w| w.terminate_ike(Side::Left), |w| w.terminate_ike(Side::Right));
    world.run();
    world.pass(LONG);
    world.check_agreement(0, 0);
}

//= RFC 7296 section 2.8.2 #1: the survivor has the Child SAs
#[test]
fn both_rekey_the_ike_sa_and_the_lowest_nonce_loses() {
    let mut winners = BTreeSet::new();
    for seed in 1..20 {
        let mut world = World::established();
        let before = world.left.ike();
        world.rng = Seeded(seed);
        world.rekey_ike(Side::Left);
        world.rekey_ike(Side::Right);
        world.run();
        world.check_agreement(1, 1);
        let view = world.left.engine.ike_sas().next().unwrap();
        assert_ne!(view.id, before);
        winners.insert(view.initiator);
        world.rekey_child(Side::Left);
        world.run();
        world.check_agreement(1, 1);
    }
    assert_eq!(winners.len(), 2, "each side wins sometimes");
}

#[test]
fn both_rekey_the_ike_sa_and_one_request_is_lost() {
    let mut world = both_ike_rekeys();
    world.lose(Side::Right);
    world.run();
    world.pass(LONG);
    world.check_agreement(1, 1);
}

#[test]
fn both_rekey_the_ike_sa_and_one_request_comes_late() {
    let mut world = both_ike_rekeys();
    let late = world.lose(Side::Right);
    world.deliver(Side::Left);
    world.outputs();
    world.deliver(Side::Right);
    world.outputs();
    // The right side is deleting the old SA when the request to rekey it arrives.
    world.arrive(&late);
    world.run();
    world.pass(LONG);
    world.check_agreement(1, 1);
}

#[test]
fn both_rekey_the_ike_sa_and_both_responses_are_lost() {
    let mut world = both_ike_rekeys();
    world.deliver(Side::Left);
    world.deliver(Side::Right);
    world.outputs();
    world.lose(Side::Left);
    world.lose(Side::Right);
    world.pass(LONG);
    world.check_agreement(1, 1);
}

#[test]
fn both_rekey_the_ike_sa_and_the_loser_deletes_first() {
    for side in [Side::Left, Side::Right] {
        let mut world = both_ike_rekeys();
        world.deliver(Side::Left);
        world.deliver(Side::Right);
        world.outputs();
        let held = world.lose(side);
        world.run();
        world.arrive(&held);
        world.run();
        // What the loser never knew to have made is given up by the other side after a while.
        world.pass(2 * LONG);
        world.check_agreement(1, 1);
    }
}

//= RFC 7296 section 2.25 #1: both must wait
//= RFC 7296 section 2.25 #2: and do
#[test]
fn one_rekeys_the_ike_sa_and_the_other_a_child_sa() {
    let mut world = meeting(|w| w.rekey_ike(Side::Left), |w| w.rekey_child(Side::Right));
    let (ike, child) = (world.left.ike(), world.left.active_child());
    world.run();
    world.check_agreement(1, 1);
    assert_eq!((world.left.ike(), world.left.active_child()), (ike, child), "both must wait");
    world.pass(LONG);
    world.check_agreement(1, 1);
    assert_ne!(world.left.ike(), ike);
    assert_ne!(world.left.active_child(), child);
}

#[test]
fn one_rekeys_the_ike_sa_and_the_other_deletes_a_child_sa() {
    let mut world = meeting(|w| w.rekey_ike(Side::Left), |w| delete_child(w, Side::Right));
    world.run();
    world.pass(LONG);
    world.check_agreement(1, 0);
}

#[test]
fn one_rekeys_the_ike_sa_and_the_other_makes_a_child_sa() {
    let begin = |w: &mut World| _ = w.initiate(Side::Right, "second");
    let mut world = meeting(|w| w.rekey_ike(Side::Left), begin);
    world.run();
    world.pass(LONG);
    world.check_agreement(1, 2);
}

#[test]
fn one_rekeys_the_ike_sa_that_the_other_deletes() {
    for first in [Side::Left, Side::Right] {
        let mut world = meeting(|w| w.rekey_ike(Side::Left), |w| w.terminate_ike(Side::Right));
        world.deliver(first);
        world.outputs();
        world.run();
        world.pass(LONG);
        world.check_agreement(0, 0);
    }
}

#[test]
fn one_rekeys_a_child_sa_of_the_ike_sa_that_the_other_deletes() {
    for first in [Side::Left, Side::Right] {
        let mut world = meeting(|w| w.rekey_child(Side::Left), |w| w.terminate_ike(Side::Right));
        world.deliver(first);
        world.outputs();
        world.run();
        world.pass(LONG);
        world.check_agreement(0, 0);
    }
}

#[test]
fn both_make_a_child_sa() {
    let begin = |side| move |w: &mut World| _ = w.initiate(side, "second");
    let mut world = meeting(begin(Side::Left), begin(Side::Right));
    world.run();
    world.check_agreement(1, 3);
}

#[test]
fn a_child_sa_that_the_peer_has_lost_is_made_anew() {
    let mut world = World::established();
    world.right.store.children.clear();
    world.take_over(Side::Right, world::site::Fate::Lost);
    world.rekey_child(Side::Left);
    world.run();
    world.check_agreement(1, 1);
    assert_eq!(world.left.history.len(), 2);
}

//= RFC 7296 section 1.3 #1: of those that are offered
//= RFC 7296 section 1.3 #2: that of the peer
//= RFC 7296 section 1.3 #3: by INVALID_KE_PAYLOAD
#[test]
fn the_group_that_the_peer_wants_is_used_at_the_second_try() {
    let (mut left, mut right) = (world::config(Side::Left), world::config(Side::Right));
    let groups = |config: &mut vipsec_ike::Config, groups: &[Group]| {
        for proposal in &mut config.connections[0].children[0].proposals {
            proposal.groups = groups.to_vec();
        }
    };
    groups(&mut left, &[Group::X25519, Group::EcpP256]);
    groups(&mut right, &[Group::EcpP256]);
    let mut world = World::with(left, right);
    world.initiate(Side::Left, "net");
    world.run();
    let before = world.left.active_child();
    world.sent.clear();
    world.rekey_child(Side::Left);
    world.run();
    world.check_agreement(1, 1);
    assert_ne!(world.left.active_child(), before);
    let asked = world.sent.iter().filter(|p| p.kind().0 == ExchangeType::CreateChildSa);
    assert_eq!(asked.count(), 4);
}

#[test]
fn a_peer_that_dies_in_a_collision_takes_everything_along() {
    let mut world = both_ike_rekeys();
    world.deliver(Side::Left);
    world.outputs();
    world.loss = Box::new(|_| true);
    world.pass(LONG);
    assert_eq!(world.left.engine.ike_sa_count(), 0);
    let dead = |e: &Event| matches!(e, Event::Closed { reason: CloseReason::PeerDead, .. });
    assert!(world.left.has_event(dead));
}

/// The left side's IKE SAs in use, and what else it has.
fn in_use(world: &World) -> (usize, usize) {
    let views: Vec<_> = world.left.engine.ike_sas().collect();
    let established = views.iter().filter(|view| view.phase == IkePhase::Established);
    let children = established.clone().map(|view| view.children.len());
    assert_eq!(established.clone().count(), children.sum::<usize>(), "the Child SA goes along");
    (established.count(), views.len())
}

#[test]
fn a_response_that_ends_a_collision_with_an_error_leaves_the_ike_sa_of_the_peer() {
    let refusal = Payload::Notify(Notify::new(NotifyType::INVALID_SYNTAX, Vec::new()));
    let broken = (PayloadType(33), vec![0, 0, 0, 1]);
    for content in [Content::Payloads(vec![refusal]), Content::Bytes(broken.0, broken.1)] {
        let mut world = both_ike_rekeys();
        let old = world.left.ike();
        let (exchange, id, _) = world.lose(Side::Right).kind();
        world.deliver(Side::Left);
        world.outputs();
        assert_eq!(in_use(&world), (1, 2));
        let response = world.forge(Side::Left, old, (exchange, id, true), content);
        world.loss = Box::new(|_| true);
        world.arrive(&response);
        world.run();
        world.pass(Duration::from_secs(30));
        assert_eq!(in_use(&world), (1, 1));
        assert_ne!(world.left.ike(), old);
    }
}

#[test]
fn a_peer_that_uses_its_product_of_a_collision_has_decided_it() {
    for late in [false, true] {
        let mut world = both_ike_rekeys();
        let request = world.lose(Side::Right);
        world.deliver(Side::Left);
        world.outputs();
        world.deliver(Side::Right);
        world.outputs();
        // The right side has never seen a collision. Its delete of the old one comes late.
        let delete = world.lose(Side::Left);
        delete_child(&mut world, Side::Right);
        world.outputs();
        world.deliver(Side::Left);
        world.outputs();
        assert!(world.left.installed.is_empty(), "the delete is for the Child SA");
        if late {
            world.arrive(&request);
        }
        world.run();
        world.arrive(&delete);
        world.run();
        world.pass(2 * LONG);
        world.check_agreement(1, 0);
    }
}

#[test]
fn a_product_of_a_collision_that_is_never_decided_goes() {
    let mut world = both_ike_rekeys();
    world.deliver(Side::Left);
    world.outputs();
    let old = world.left.ike();
    let views = world.left.engine.ike_sas();
    let undecided = views.map(|view| view.id).find(|id| *id != old).expect("a product");
    // Its predecessor has gone without a word about it.
    let now = world.now;
    let mut changes = world.left.store.load();
    changes.retain(|change| match change {
        Change::IkeConstant(constant) => constant.id == undecided,
        Change::IkeMutable { id, .. } => *id == undecided,
        _ => false,
    });
    let mut engine = Engine::new(world.left.config.clone());
    for change in changes {
        engine.apply(now, change).expect("what was written can be read");
    }
    engine.become_owner(now, Epoch(2), &mut world.rng);
    let mut outputs = 0;
    while outputs == 0 {
        let due = engine.poll_timeout().expect("it has an end");
        assert!(due <= now + Duration::from_secs(600), "{due:?}");
        engine.handle_timeout(due, &mut world.rng);
        outputs = core::iter::from_fn(|| engine.poll_output()).count();
    }
}

#[test]
fn a_peer_that_never_agrees_on_a_group_is_not_asked_without_end() {
    let mut left = world::config(Side::Left);
    for proposal in &mut left.connections[0].children[0].proposals {
        proposal.groups = vec![Group::X25519, Group::EcpP256];
    }
    let mut world = World::with(left, world::config(Side::Right));
    world.initiate(Side::Left, "net");
    world.run();
    world.sent.clear();
    world.rekey_child(Side::Left);
    let wanted = [Group::EcpP256, Group::X25519];
    for round in 0..20 {
        world.outputs();
        let Some(request) = world.wire.pop_front() else { break };
        let data = wanted[round % 2].number().to_be_bytes().to_vec();
        let refusal = Payload::Notify(Notify::new(NotifyType::INVALID_KE_PAYLOAD, data));
        let (exchange, id, _) = request.kind();
        let content = Content::Payloads(vec![refusal]);
        let ike = world.left.ike();
        let answer = world.forge(Side::Left, ike, (exchange, id, true), content);
        world.arrive(&answer);
    }
    let asked = world.sent.iter().filter(|p| p.kind().0 == ExchangeType::CreateChildSa);
    assert_eq!(asked.count(), 2);
    assert_eq!(world.left.installed.len(), 1);
}

#[test]
fn a_child_sa_that_lost_a_collision_is_not_said_to_replace_anything() {
    for seed in 1..8 {
        let mut world = World::established();
        world.rng = Seeded(seed);
        world.rekey_child(Side::Left);
        world.rekey_child(Side::Right);
        world.run();
        let survivor = world.left.active_child();
        let last = world.left.events.iter().rev().find_map(|event| match event {
            Event::ChildRekeyed { new, .. } => Some(*new),
            _ => None,
        });
        assert_eq!(last, Some(survivor), "seed {seed}");
    }
}
