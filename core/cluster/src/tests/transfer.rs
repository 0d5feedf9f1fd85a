//! The planned transfer, its happy path, and what each step does when the next does not come.
//!
//! The world checks throughout that a successor which goes on with the exact numbers never meets
//! numbers that the old owner has sent beyond them.

use super::world::{World, ms, name, vip};
use crate::store::StoreError;
use crate::store::memory::Fault;
use crate::{Abort, Error, Event, How, Output, TransferAccepted, TransferPhase, VipRole};
use core::time::Duration;
use vipsec_wire::cluster::ownership::{Body, Declined};
use vipsec_wire::id::Epoch;

const TWO: &[(&str, u8)] = &[("a", 100), ("b", 50)];
const THREE: &[(&str, u8)] = &[("a", 100), ("b", 50), ("t", 0)];

fn transfer(world: &mut World, at: &str, to: &str) -> Result<TransferAccepted, Error> {
    let mut answer = Err(Error::UnknownVip(vip()));
    world.act(&name(at), |cluster, now| {
        answer = cluster.handle_transfer_request(now, vip(), &name(to));
    });
    answer
}

fn phase(world: &World) -> Option<TransferPhase> {
    match world.processes[&name("a")].cluster.vips()[0].role {
        VipRole::Owner { transfer, .. } => transfer,
        _ => None,
    }
}

/// Runs until a's transfer stands so.
fn reach(world: &mut World, wanted: TransferPhase) {
    for _ in 0..2000 {
        if phase(world) == Some(wanted) {
            return;
        }
        world.run(Duration::from_micros(100));
    }
    panic!("the transfer never stood at {wanted:?}");
}

fn aborted(world: &World) -> Option<Abort> {
    let events = &world.processes[&name("a")].events;
    events.iter().rev().find_map(|event| match event {
        Event::TransferAborted { why, .. } => Some(*why),
        _ => None,
    })
}

/// a owns as if nothing had been, and is not frozen.
fn goes_on(world: &mut World) {
    let sent = world.sent[&Epoch(1)];
    world.run(ms(20));
    assert_eq!(world.owner(), Some(name("a")));
    assert!(world.sent[&Epoch(1)] > sent, "it sends");
    assert_eq!(phase(world), None);
}

#[test]
fn a_transfer_hands_over_exactly_and_is_done_in_a_few_milliseconds() {
    let mut world = World::running(THREE);
    assert_eq!(transfer(&mut world, "a", "b"), Ok(TransferAccepted::Begun));
    reach(&mut world, TransferPhase::Freezing);
    let frozen = world.now;
    let took = world.run_until_owned_above(1, ms(50));
    assert!(took < ms(12), "{took:?}");
    assert!(matches!(&world.owners[&Epoch(2)].1, How::Transfer { from, .. } if *from == name("a")));
    world.run(ms(20));
    assert_eq!(world.owners_now(), 1);
    let done = |event: &Event| matches!(event, Event::TransferDone { to, .. } if *to == name("b"));
    assert!(world.saw(&name("a"), done), "{frozen:?}");
    let follow = Output::Follow { vip: vip(), epoch: Epoch(2), owner: Some(name("b")) };
    assert!(world.process(&name("t")).outputs.contains(&follow), "targets know it");
}

#[test]
fn a_transfer_may_be_asked_for_at_any_candidate_and_goes_back_and_forth() {
    let mut world = World::running(TWO);
    for (at, to) in [("b", "b"), ("b", "a"), ("b", "b"), ("a", "a")] {
        transfer(&mut world, at, to).expect("it can be asked for");
        world.run(ms(100));
        assert_eq!(world.owner(), Some(name(to)));
    }
    assert_eq!(world.epoch(), 5);
    world.kill(&name("a"));
    world.run(ms(100));
    assert_eq!(world.owner(), Some(name("b")), "and a takeover follows a transfer");
}

#[test]
fn what_cannot_be_done_is_said_at_once() {
    let mut world = World::running(THREE);
    let (a, b, t) = (name("a"), name("b"), name("t"));
    let vip = vip();
    let already = Error::AlreadyOwner { vip, node: a };
    assert_eq!(transfer(&mut world, "a", "a"), Err(already.clone()));
    assert_eq!(transfer(&mut world, "b", "a"), Err(already));
    assert_eq!(transfer(&mut world, "a", "t"), Err(Error::NotCandidate { vip, node: t.clone() }));
    assert_eq!(transfer(&mut world, "t", "b"), Err(Error::NotCandidate { vip, node: t }));
    world.lose_store(&b);
    world.run(ms(10));
    assert_eq!(transfer(&mut world, "a", "b"), Err(Error::NotReady { vip, node: b.clone() }));
    world.find_store(&b);
    world.run(ms(10));
    assert!(transfer(&mut world, "a", "b").is_ok());
    assert_eq!(transfer(&mut world, "a", "b"), Err(Error::TransferRunning(vip)));
    world.run(ms(100));
    world.kill(&name("a"));
    world.run(ms(100));
    assert_eq!(transfer(&mut world, "b", "a"), Err(Error::Unreachable(name("a"))));
}

#[test]
fn a_successor_that_has_not_followed_far_enough_is_waited_for_and_then_declines() {
    let mut world = World::running(TWO);
    let behind = crate::RecordMaxima::default();
    world.act(&name("b"), |cluster, now| cluster.handle_records(now, vip(), behind));
    transfer(&mut world, "a", "b").expect("it begins");
    world.run(ms(500));
    assert_eq!(phase(&world), Some(TransferPhase::Offered));
    world.run(ms(600));
    assert_eq!(aborted(&world), Some(Abort::Declined(Declined::NotReady)));
    goes_on(&mut world);
}

#[test]
fn an_offer_without_an_answer_is_withdrawn() {
    let mut world = World::running(TWO);
    world.mute.insert(name("b"));
    transfer(&mut world, "a", "b").expect("it begins");
    world.run(ms(1900));
    assert_eq!(phase(&world), Some(TransferPhase::Offered));
    world.run(ms(200));
    assert_eq!(aborted(&world), Some(Abort::NoAnswer));
    goes_on(&mut world);
}

#[test]
fn a_successor_that_is_not_heard_any_more_is_not_waited_for() {
    let mut world = World::running(TWO);
    world.cut.insert((name("b"), name("a")));
    transfer(&mut world, "a", "b").expect("it begins");
    world.run(ms(200));
    assert_eq!(aborted(&world), Some(Abort::SuccessorLost));
    goes_on(&mut world);
}

#[test]
fn a_freeze_that_takes_too_long_is_thawed() {
    let mut world = World::running(TWO);
    world.never_frozen.insert(name("a"));
    transfer(&mut world, "a", "b").expect("it begins");
    world.run(ms(450));
    assert_eq!(aborted(&world), Some(Abort::FreezeTooLong));
    goes_on(&mut world);
    world.never_frozen.clear();
    transfer(&mut world, "a", "b").expect("it can be tried again");
    world.run(ms(100));
    assert_eq!(world.owner(), Some(name("b")));
}

#[test]
fn a_successor_that_dies_before_its_claim_leaves_the_vip_where_it_is() {
    for wanted in [TransferPhase::Offered, TransferPhase::Freezing, TransferPhase::HandedOver] {
        let mut world = World::running(TWO);
        transfer(&mut world, "a", "b").expect("it begins");
        reach(&mut world, wanted);
        world.kill(&name("b"));
        world.run(ms(60));
        assert_eq!(aborted(&world), Some(Abort::SuccessorLost), "{wanted:?}");
        goes_on(&mut world);
    }
}

#[test]
fn a_successor_that_dies_after_its_claim_is_taken_over_from() {
    let mut world = World::running(TWO);
    transfer(&mut world, "a", "b").expect("it begins");
    world.run_until_owned_above(1, ms(50));
    world.kill(&name("b"));
    world.run(ms(200));
    assert_eq!(world.owners[&Epoch(3)], (name("a"), How::Takeover { from: name("b") }));
    assert_eq!(world.owners_now(), 1);
}

#[test]
fn an_owner_that_dies_in_a_transfer_is_replaced_whatever_the_step() {
    for wanted in [TransferPhase::Offered, TransferPhase::Freezing, TransferPhase::HandedOver] {
        let mut world = World::running(TWO);
        transfer(&mut world, "a", "b").expect("it begins");
        reach(&mut world, wanted);
        world.kill(&name("a"));
        world.run(ms(100));
        assert_eq!(world.owner(), Some(name("b")), "{wanted:?}");
        assert_eq!(world.epoch(), 2);
    }
}

#[test]
fn both_may_die_in_a_transfer() {
    for wanted in [TransferPhase::Offered, TransferPhase::Freezing, TransferPhase::HandedOver] {
        let mut world = World::running(TWO);
        transfer(&mut world, "a", "b").expect("it begins");
        reach(&mut world, wanted);
        world.kill(&name("a"));
        world.kill(&name("b"));
        world.run(ms(20));
        world.start_all();
        world.run(ms(2500));
        assert_eq!(world.owners_now(), 1, "{wanted:?}");
        assert_eq!(world.epoch(), 2);
    }
}

#[test]
fn a_claim_that_comes_too_late_loses_against_the_owner_that_has_gone_on() {
    let mut world = World::running(TWO);
    transfer(&mut world, "a", "b").expect("it begins");
    reach(&mut world, TransferPhase::Freezing);
    world.store_delay = ms(500);
    reach(&mut world, TransferPhase::HandedOver);
    world.run(ms(300));
    world.store_delay = ms(3);
    world.run(ms(150));
    assert_eq!(aborted(&world), Some(Abort::NoClaim));
    goes_on(&mut world);
    world.run(ms(300));
    assert_eq!(world.epoch(), 1, "b's claim has lost");
    assert!(world.saw(&name("b"), |e| matches!(e, Event::ClaimFailed { store: false, .. })));
    let refenced = |output: &Output| matches!(output, Output::Refence { .. });
    assert!(world.process(&name("a")).outputs.iter().any(refenced));
    transfer(&mut world, "a", "b").expect("it can be tried again");
    world.run(ms(100));
    assert_eq!(world.owner(), Some(name("b")), "with the new revision");
}

#[test]
fn a_store_that_fails_at_the_commit_gives_the_vip_back() {
    let mut world = World::running(TWO);
    transfer(&mut world, "a", "b").expect("it begins");
    reach(&mut world, TransferPhase::HandedOver);
    world.store.push_fault(Fault::Fails(StoreError::Full));
    world.run(ms(60));
    assert_eq!(aborted(&world), Some(Abort::Declined(Declined::ClaimFailed)));
    goes_on(&mut world);
    assert_eq!(world.epoch(), 1);
}

#[test]
fn a_commit_whose_answer_was_lost_is_still_a_commit() {
    let mut world = World::running(TWO);
    transfer(&mut world, "a", "b").expect("it begins");
    reach(&mut world, TransferPhase::HandedOver);
    world.store.push_fault(Fault::AnswerLost);
    world.run(ms(200));
    assert_eq!(world.owner(), Some(name("b")));
    assert_eq!(world.owners_now(), 1);
    assert_eq!(world.epoch(), 2);
    assert!(matches!(world.owners[&Epoch(2)].1, How::Transfer { .. }), "b still had the state");
}

#[test]
fn a_rewrite_whose_answer_was_lost_is_found_in_the_store() {
    let mut world = World::running(TWO);
    transfer(&mut world, "a", "b").expect("it begins");
    reach(&mut world, TransferPhase::HandedOver);
    world.kill(&name("b"));
    world.store.push_fault(Fault::AnswerLost);
    world.run(ms(100));
    assert_eq!(aborted(&world), Some(Abort::SuccessorLost));
    goes_on(&mut world);
}

#[test]
fn without_a_store_a_frozen_owner_goes_on_after_the_limit() {
    let mut world = World::running(TWO);
    transfer(&mut world, "a", "b").expect("it begins");
    reach(&mut world, TransferPhase::HandedOver);
    world.store.set_down(Some(StoreError::Full));
    for node in ["a", "b"] {
        world.lose_store(&name(node));
    }
    world.run(ms(800));
    assert_eq!(phase(&world), Some(TransferPhase::Reclaiming));
    world.run(ms(300));
    assert_eq!(aborted(&world), Some(Abort::StoreSilent));
    goes_on(&mut world);
}

#[test]
fn a_successor_that_wins_after_the_limit_takes_over_instead() {
    let mut world = World::running(TWO);
    transfer(&mut world, "a", "b").expect("it begins");
    reach(&mut world, TransferPhase::Freezing);
    // b's claim is slow, and a is cut off from the store and from b.
    world.store_delay = ms(1100);
    reach(&mut world, TransferPhase::HandedOver);
    world.run(ms(1));
    world.lose_store(&name("a"));
    world.part(&name("a"), &name("b"));
    world.run(ms(1300));
    assert_eq!(world.owners[&Epoch(2)], (name("b"), How::Takeover { from: name("a") }));
    world.heal();
    world.run(ms(100));
    assert_eq!(world.owners_now(), 1);
}

#[test]
fn messages_of_another_attempt_change_nothing() {
    let mut world = World::running(TWO);
    transfer(&mut world, "a", "b").expect("it begins");
    let other = vipsec_wire::cluster::ownership::TransferId(99);
    for body in [
        Body::Ready { transfer: other },
        Body::Declined { transfer: other, reason: Declined::NotReady },
    ] {
        let message = crate::Message { vip: vip(), epoch: Epoch(1), body };
        world.act(&name("a"), |cluster, now| cluster.handle_message(now, &name("b"), message));
        assert_eq!(phase(&world), Some(TransferPhase::Offered));
    }
    let message = crate::Message {
        vip: vip(),
        epoch: Epoch(1),
        body: Body::Handover { transfer: other, revision: 1, state: Default::default() },
    };
    world.act(&name("b"), |cluster, now| cluster.handle_message(now, &name("a"), message));
    assert!(!world.saw(&name("b"), |e| matches!(e, Event::Claiming { .. })));
    world.run(ms(100));
    assert_eq!(world.owner(), Some(name("b")), "the real one goes on");
}
