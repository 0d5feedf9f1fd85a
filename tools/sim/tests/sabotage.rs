//! Every checker is tried on a world that is broken in just its way: one that never complains proves
//! nothing.

use vipsec_sim::plan::Step;
use vipsec_sim::sabotage::Sabotage;
use vipsec_sim::{Keep, Plan, run};

/// A world in which owners change in all ways.
fn busy() -> Plan {
    Plan::quiet(42, 14)
        .at(3000, Step::TransferOn)
        .at(6000, Step::PauseOwner)
        .at(7000, Step::WakeAll)
        .at(9000, Step::KillOwner(0))
}

/// What the checkers say about a world with this fault.
fn complaint(plan: Plan, sabotage: Sabotage) -> String {
    let plan = Plan { sabotage: Some(sabotage), ..plan };
    let outcome = run(plan, Keep::Last(1));
    outcome.violation.map(|violation| violation.to_string()).unwrap_or_default()
}

#[track_caller]
fn caught(sabotage: Sabotage, by: &str) {
    let complaint = complaint(busy(), sabotage);
    assert!(complaint.starts_with(by), "{sabotage:?}: {complaint:?}");
}

#[test]
fn a_repeated_iv() {
    caught(Sabotage::RepeatIv, "1 nonces");
}

#[test]
fn sequence_numbers_that_go_back() {
    caught(Sabotage::GoBack, "2 sequence");
}

#[test]
fn a_store_that_forgets() {
    caught(Sabotage::ForgetfulStore, "3 stored");
}

#[test]
fn answers_without_protection() {
    caught(Sabotage::BareAnswers, "3 stored: an unprotected answer");
}

#[test]
fn a_deposed_owner_that_goes_on() {
    // No transfer: the deposed one would lose packets before anything else.
    let plan = Plan::quiet(42, 10).at(3000, Step::PauseOwner).at(5000, Step::WakeAll);
    let complaint = complaint(plan, Sabotage::DeafWorkers);
    assert!(complaint.starts_with("4 owners"), "{complaint:?}");
}

#[test]
fn packets_that_are_delivered_twice() {
    caught(Sabotage::DeliverTwice, "5 replay");
}

#[test]
fn connections_that_lose_their_target() {
    caught(Sabotage::WrongTarget, "6 affinity");
}

#[test]
fn packets_that_get_lost_in_a_transfer() {
    caught(Sabotage::LoseWhenFrozen, "7 transfer");
}

#[test]
fn a_takeover_that_writes_twice() {
    caught(Sabotage::WriteAtTakeover, "8 writes");
}

#[test]
fn inner_packets_in_clear() {
    caught(Sabotage::InClear, "9 clear");
}

#[test]
fn a_cluster_that_falls_silent() {
    caught(Sabotage::Mute, "alive");
}

#[test]
fn without_a_fault_nobody_complains() {
    assert_eq!(run(busy(), Keep::Last(1)).violation, None);
}
