//! Who owns after starts, deaths, restarts and partitions.

use super::world::{World, ms, name, vip};
use crate::store::StoreError;
use crate::store::memory::Fault;
use crate::{Event, How, LinkChange, Output, Presence, TakeBack};
use vipsec_wire::cluster::ownership::{Body, Heartbeat, Message, Standing, VipStanding};
use vipsec_wire::id::Epoch;

const TWO: &[(&str, u8)] = &[("a", 100), ("b", 50)];
const THREE: &[(&str, u8)] = &[("a", 100), ("b", 50), ("c", 20)];

#[test]
fn at_the_first_start_the_highest_rank_owns() {
    let world = World::running(THREE);
    assert_eq!(world.owners.len(), 1);
    assert_eq!(world.owners[&Epoch(1)], (name("a"), How::First));
    assert_eq!(world.floors[&name("c")].epoch, Epoch(1), "all have noted the epoch");
}

#[test]
fn at_the_first_start_a_lower_rank_waits_for_the_higher_but_not_for_ever() {
    let mut world = World::new(TWO);
    world.start(&name("b"));
    world.run(ms(900));
    assert_eq!(world.owner(), None);
    world.run(ms(300));
    assert_eq!(world.owner(), Some(name("b")));
    world.start(&name("a"));
    world.run(ms(3000));
    assert_eq!(world.owner(), Some(name("b")), "take-back is manual");
}

#[test]
fn at_the_first_start_a_higher_rank_may_be_slow_to_hear_the_lower() {
    let mut world = World::new(TWO);
    world.cut.insert((name("b"), name("a")));
    world.start_all();
    world.run(ms(300));
    assert_eq!(world.owner(), None);
    world.heal();
    world.run(ms(500));
    assert_eq!((world.epoch(), world.owner()), (1, Some(name("a"))));
}

#[test]
fn a_single_node_owns_at_once_and_again_after_its_restart() {
    let mut world = World::new(&[("a", 100)]);
    world.start(&name("a"));
    world.run(ms(10));
    assert_eq!(world.owner(), Some(name("a")));
    world.kill(&name("a"));
    world.start(&name("a"));
    world.run(ms(10));
    assert_eq!(world.owners[&Epoch(2)], (name("a"), How::Restart));
}

#[test]
fn a_killed_owner_is_replaced_in_well_under_60_ms() {
    let mut world = World::running(TWO);
    for (dead, heir) in [("a", "b"), ("b", "a")] {
        let epoch = world.epoch();
        world.kill(&name(dead));
        let commits = world.store.commits();
        let took = world.run_until_owned_above(epoch, ms(60));
        assert!(took < ms(45), "{took:?}");
        assert_eq!(world.owner(), Some(name(heir)));
        assert_eq!(world.store.commits(), commits + 1, "one store write");
        let how = &world.owners[&Epoch(epoch + 1)].1;
        assert_eq!(*how, How::Takeover { from: name(dead) });
        world.start(&name(dead));
        world.run(ms(2000));
    }
}

#[test]
fn an_owner_that_falls_silent_is_replaced_after_the_third_missing_heartbeat() {
    let mut world = World::running(TWO);
    world.vanish(&name("a"));
    let took = world.run_until_owned_above(1, ms(300));
    assert!(took >= ms(100) && took < ms(170), "{took:?}");
    assert!(world.saw(&name("b"), |e| matches!(e, Event::MemberLost { closed: false, .. })));
}

#[test]
fn a_mere_reset_of_the_connections_moves_nothing() {
    let mut world = World::running(THREE);
    for _ in 0..20 {
        world.reset_links(&name("a"), LinkChange::Closed);
        world.run(ms(137));
    }
    assert_eq!(world.owners.len(), 1, "{:?}", world.owners);
    assert!(world.saw(&name("b"), |e| matches!(e, Event::MemberSuspected { .. })));
}

#[test]
fn the_end_of_an_earlier_process_says_nothing_of_the_owner() {
    let mut world = World::running(TWO);
    world.kill(&name("a"));
    // It is back before its end is taken for granted, but not heard yet.
    world.cut.insert((name("a"), name("b")));
    world.start(&name("a"));
    world.run(ms(500));
    assert_eq!((world.epoch(), world.owner()), (2, Some(name("a"))));
    world.heal();
    world.run(ms(2000));
    assert_eq!(world.owners.len(), 2, "{:?}", world.owners);
    // Once it is heard, its own end counts at once.
    world.kill(&name("a"));
    world.cut.insert((name("a"), name("b")));
    world.start(&name("a"));
    world.run(ms(20));
    assert_eq!((world.epoch(), world.owner()), (3, Some(name("a"))));
    world.heal();
    world.run(ms(20));
    world.kill(&name("a"));
    let epoch = world.epoch();
    assert!(world.run_until_owned_above(epoch, ms(300)) < ms(200));
}

#[test]
fn lost_heartbeats_below_three_in_a_row_move_nothing() {
    let mut world = World::running(TWO);
    world.part(&name("a"), &name("b"));
    world.run(ms(90));
    world.heal();
    world.run(ms(1000));
    assert_eq!(world.owners.len(), 1);
}

#[test]
fn a_process_that_has_slept_does_not_take_its_own_sleep_for_the_death_of_others() {
    let mut world = World::running(TWO);
    let lost = |e: &Event| matches!(e, Event::MemberLost { .. });
    for sleep in 1..=3 {
        world.act(&name("b"), |cluster, now| cluster.handle_timeout(now + ms(400 * sleep)));
        assert!(!world.saw(&name("b"), lost), "after sleep {sleep}");
    }
    world.act(&name("b"), |cluster, now| cluster.handle_timeout(now + ms(1600)));
    assert!(world.saw(&name("b"), lost), "sleep is no excuse for ever");
}

#[test]
fn takeovers_chain_over_three_nodes_and_back() {
    let mut world = World::running(THREE);
    let mut owners = vec!["a"];
    for (dies, heir, returns) in [("a", "b", None), ("b", "c", Some("a")), ("c", "a", Some("b"))] {
        world.kill(&name(dies));
        world.run(ms(200));
        // The former owner's former process comes back only later.
        assert_eq!(world.owner(), Some(name(heir)));
        owners.push(heir);
        if let Some(returns) = returns {
            world.start(&name(returns));
            world.run(ms(2000));
        } else if dies == "a" {
            world.run(ms(2000));
        }
        if dies == "b" {
            assert_eq!(world.owner(), Some(name("c")), "who comes back does not take back");
        }
    }
    let history: Vec<_> = world.owners.values().map(|(node, _)| node.to_string()).collect();
    assert_eq!(history, owners);
}

#[test]
fn the_rank_decides_among_the_living() {
    let mut world = World::running(THREE);
    world.kill(&name("a"));
    world.run(ms(500));
    assert_eq!(world.owner(), Some(name("b")));
    assert_eq!(world.owners.len(), 2, "the lower one did not even try");
    assert!(!world.saw(&name("c"), |e| matches!(e, Event::Claiming { .. })));
}

#[test]
fn two_that_claim_in_the_same_instant_get_one_owner() {
    let mut world = World::running(THREE);
    world.part(&name("b"), &name("c"));
    world.run(ms(500));
    world.kill(&name("a"));
    world.run(ms(100));
    let claimed = |node: &str| world.saw(&name(node), |e| matches!(e, Event::Claiming { .. }));
    assert!(claimed("b") && claimed("c"), "neither hears the other");
    assert_eq!(world.owners.len(), 2);
    assert_eq!(world.owners_now(), 1);
}

#[test]
fn all_restart_at_once_and_the_last_owner_owns() {
    let mut world = World::running(THREE);
    world.kill(&name("a"));
    world.run(ms(300));
    for node in ["b", "c"] {
        world.kill(&name(node));
    }
    let epoch = world.epoch();
    world.run(ms(50));
    world.start_all();
    let took = world.run_until_owned_above(epoch, ms(100));
    assert!(took < ms(60), "{took:?}");
    world.run(ms(3000));
    assert_eq!(world.owner(), Some(name("b")), "the record says that it owned");
    assert_eq!(world.epoch(), epoch + 1, "and nobody else tried");
}

#[test]
fn an_owner_that_restarts_before_it_is_missed_is_replaced_or_replaces_itself_once() {
    let mut world = World::running(TWO);
    world.kill(&name("a"));
    world.run(ms(5));
    world.start(&name("a"));
    world.run(ms(1500));
    assert_eq!(world.owners_now(), 1);
    assert_eq!(world.epoch(), 2, "{:?}", world.owners);
}

#[test]
fn a_process_that_starts_in_a_loop_waits_longer_each_time() {
    let mut waits = Vec::new();
    for starts in [0, 2, 3, 5, 50] {
        let mut world = World::new(&[("a", 100)]);
        world.recent_starts = starts;
        world.start(&name("a"));
        waits.push(world.run_until_owned_above(0, ms(6000)).as_millis());
    }
    assert_eq!(waits, [4, 4, 254, 1004, 5004]);
}

#[test]
fn a_partition_between_two_that_reach_the_store_flaps_ever_more_slowly() {
    let mut world = World::running(TWO);
    world.part(&name("a"), &name("b"));
    world.run(ms(60_000));
    let changes = world.owners.len();
    assert!(changes < 12, "{changes} owners in a minute");
    assert!(world.owners_now() <= 1, "who was deposed has seen it in the store");
    world.heal();
    world.run(ms(3000));
    let after = world.owners.len();
    world.run(ms(10_000));
    assert_eq!(world.owners.len(), after, "it is quiet once it is healed");
    assert_eq!(world.owners_now(), 1);
}

#[test]
fn an_owner_cut_off_from_the_store_and_the_others_is_deposed_when_it_hears_of_it() {
    let mut world = World::running(TWO);
    world.part(&name("a"), &name("b"));
    world.lose_store(&name("a"));
    world.run(ms(1000));
    assert_eq!(world.owners_now(), 2, "each in its own epoch; keys are never used twice");
    assert_eq!(world.owner(), Some(name("b")));
    world.heal();
    world.run(ms(60));
    assert_eq!(world.owners_now(), 1);
    let deposed = |output: &Output| matches!(output, Output::Depose { owner: Some(owner), .. } if *owner == name("b"));
    assert!(world.process(&name("a")).outputs.iter().any(deposed));
}

#[test]
fn without_a_store_the_owner_goes_on_and_nobody_claims() {
    let mut world = World::running(TWO);
    world.store.set_down(Some(StoreError::Full));
    for node in ["a", "b"] {
        world.lose_store(&name(node));
    }
    world.run(ms(2000));
    assert_eq!(world.owner(), Some(name("a")));
    world.kill(&name("a"));
    world.run(ms(2000));
    assert_eq!(world.owner(), None);
    world.store.set_down(None);
    world.find_store(&name("b"));
    world.run(ms(50));
    assert_eq!(world.owner(), Some(name("b")), "the store is back");
}

#[test]
fn a_claim_whose_answer_was_lost_is_found_in_the_store() {
    let mut world = World::running(TWO);
    world.store.push_fault(Fault::AnswerLost);
    world.kill(&name("a"));
    world.run(ms(300));
    assert_eq!(world.owner(), Some(name("b")));
    assert_eq!(world.owners[&Epoch(2)].1, How::Takeover { from: name("a") });
    assert_eq!(world.epoch(), 2, "it was not claimed twice");
}

#[test]
fn a_claim_that_failed_is_tried_again_with_pauses() {
    let mut world = World::running(TWO);
    for _ in 0..4 {
        world.store.push_fault(Fault::Fails(StoreError::Full));
    }
    world.kill(&name("a"));
    let took = world.run_until_owned_above(1, ms(3000));
    assert!(took > ms(50 + 100 + 200 + 400), "{took:?}");
    assert_eq!(world.epoch(), 2);
}

#[test]
fn a_higher_rank_takes_back_only_if_it_is_told_to() {
    let mut world = World::running(TWO);
    world.takeback = TakeBack::Auto;
    world.kill(&name("a"));
    world.run(ms(1000));
    world.start(&name("a"));
    world.run(ms(4000));
    assert_eq!(world.owner(), Some(name("b")), "it waits until all has been quiet");
    world.run(ms(20_000));
    assert_eq!(world.owner(), Some(name("a")));
    let how = &world.owners.values().last().expect("an owner").1;
    assert!(matches!(how, How::Transfer { .. }), "and it takes back by transfer");
}

#[test]
fn a_release_is_followed_by_the_next_at_once_and_is_final() {
    let mut world = World::running(TWO);
    world.act(&name("a"), |cluster, now| cluster.handle_release(now, vip()));
    assert_eq!(world.owners_now(), 0);
    let took = world.run_until_owned_above(1, ms(50));
    assert!(took < ms(10), "{took:?}");
    world.kill(&name("b"));
    world.run(ms(3000));
    assert_eq!(world.owner(), None, "a has left");
}

#[test]
fn the_status_says_who_is_there() {
    let mut world = World::running(THREE);
    world.vanish(&name("c"));
    world.run(ms(500));
    let cluster = &world.process(&name("a")).cluster;
    let presences: Vec<_> = cluster.members().iter().map(|member| member.presence).collect();
    assert_eq!(presences, [Presence::Own, Presence::Alive, Presence::Lost]);
    assert_eq!(cluster.best_standby(vip()), Some(name("b")));
    let view = cluster.vips().remove(0);
    assert_eq!(view.backups, [(name("b"), 50, true), (name("c"), 20, false)]);
}

/// Runs until b has claimed and the store has not answered yet.
fn claiming() -> World {
    let mut world = World::running(THREE);
    world.kill(&name("a"));
    while !world.saw(&name("b"), |e| matches!(e, Event::Claiming { .. })) {
        world.run(ms(1));
    }
    world
}

#[test]
fn a_claim_that_wins_below_an_epoch_heard_meanwhile_makes_no_owner() {
    let mut world = claiming();
    let message = Message { vip: vip(), epoch: Epoch(9), body: Body::Following };
    world.act(&name("b"), |cluster, now| cluster.handle_message(now, &name("c"), message));
    world.run(ms(20));
    assert_eq!(world.owners_now(), 0);
    assert_eq!(world.epoch(), 1);
}

#[test]
fn a_claim_that_others_see_before_its_answer_comes_is_a_claim() {
    let mut world = claiming();
    let said = VipStanding {
        vip: vip(),
        epoch: Epoch(2),
        owner: Some(name("b")),
        revision: 0,
        standing: Standing::Ready,
    };
    let known = world.processes[&name("c")].beat.clone().expect("it was set");
    let beat = Heartbeat {
        incarnation: known.incarnation,
        version: 99,
        vips: vec![said],
        ..Heartbeat::default()
    };
    world.act(&name("b"), |cluster, now| cluster.handle_heartbeat(now, &name("c"), &beat));
    world.run(ms(20));
    assert_eq!(world.owners[&Epoch(2)], (name("b"), How::Takeover { from: name("a") }));
    assert_eq!(world.owners_now(), 1);
    let outputs = &world.processes[&name("b")].outputs;
    let follows = |output: &&Output| matches!(output, Output::Follow { epoch: Epoch(2), .. });
    assert_eq!(outputs.iter().find(follows), None, "it need not follow itself");
}

#[test]
fn a_claimant_that_sees_its_own_claim_first_has_not_given_it_up() {
    let mut world = claiming();
    let said = VipStanding {
        vip: vip(),
        epoch: Epoch(2),
        owner: Some(name("b")),
        revision: 0,
        standing: Standing::Ready,
    };
    let known = world.processes[&name("b")].beat.clone().expect("it was set");
    let beat = Heartbeat {
        incarnation: known.incarnation,
        version: known.version,
        vips: vec![said],
        ..Heartbeat::default()
    };
    world.act(&name("c"), |cluster, now| cluster.handle_heartbeat(now, &name("b"), &beat));
    world.run(ms(500));
    assert_eq!(world.owner(), Some(name("b")));
    assert_eq!(world.epoch(), 2);
}

#[test]
fn a_claim_that_wins_after_this_node_has_left_is_passed_on() {
    let mut world = claiming();
    world.act(&name("b"), |cluster, now| cluster.handle_release(now, vip()));
    world.run(ms(200));
    assert_eq!(world.owners_now(), 1);
    assert_eq!(world.owner(), Some(name("c")));
}

#[test]
fn a_heartbeat_that_was_on_its_way_is_no_proof_of_life() {
    let mut world = World::running(TWO);
    let last = world.processes[&name("a")].beat.clone().expect("it was set");
    world.kill(&name("a"));
    world.run(ms(2));
    world.act(&name("b"), |cluster, now| cluster.handle_heartbeat(now, &name("a"), &last));
    let took = world.run_until_owned_above(1, ms(60));
    assert!(took < ms(45), "{took:?}");
}
