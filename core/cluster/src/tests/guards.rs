//! Stores that do not say the truth, and members that say too much.

use super::world::{World, ms, name, vip};
use crate::store::{Backend, Key, Operation, Revision, Transaction};
use crate::{EpochRead, Error, Event, How, Output, RecordMaxima, Refusal, StoreHealth, VipRole};
use vipsec_wire::cluster::ownership::{Body, Heartbeat, Message, Standing, VipStanding};
use vipsec_wire::id::{Epoch, NodeName};

const TWO: &[(&str, u8)] = &[("a", 100), ("b", 50)];
const THREE: &[(&str, u8)] = &[("a", 100), ("b", 50), ("t", 0)];

fn refusal(world: &World, node: &str) -> Option<Refusal> {
    world.processes[&name(node)].cluster.vips()[0].refusal.clone()
}

fn kill_all(world: &mut World) {
    for node in world.names() {
        world.kill(&node);
    }
    world.run(ms(50));
}

fn some_records(world: &World) -> RecordMaxima {
    let last = Epoch(world.epoch());
    RecordMaxima { followed: Revision(0), records: 7, written: last, born: Epoch(1) }
}

/// Three epochs, and the store put back to the first.
fn rolled_back() -> World {
    let mut world = World::running(TWO);
    let old = world.store.snapshot();
    for node in ["a", "b"] {
        world.kill(&name(node));
        world.run(ms(100));
        world.start(&name(node));
        world.run(ms(1500));
    }
    assert_eq!(world.epoch(), 3);
    kill_all(&mut world);
    world.store.restore(old);
    world.maxima = RecordMaxima { written: Epoch(1), ..some_records(&world) };
    world
}

#[test]
fn a_store_that_was_rolled_back_is_refused_with_the_way_out() {
    let mut world = rolled_back();
    world.start_all();
    world.run(ms(3000));
    assert_eq!(world.owner(), None);
    let refused = refusal(&world, "a").expect("it is refused");
    assert!(matches!(refused, Refusal::RolledBack { found: Epoch(1), floor: Epoch(3), .. }));
    let text = refused.to_string();
    assert!(text.contains("rolled back") && text.contains("accept-rollback 192.0.2.10"), "{text}");
    let said = |e: &Event| matches!(e, Event::Refused { .. });
    let times = world.processes[&name("a")].events.iter().filter(|event| said(event)).count();
    assert_eq!(times, 1, "said once");
    assert_eq!(world.processes[&name("a")].cluster.vips()[0].role, VipRole::NotReady);
}

#[test]
fn a_member_without_a_floor_file_is_warned_by_the_others() {
    let mut world = rolled_back();
    world.floors.remove(&name("a"));
    world.start(&name("b"));
    world.run(ms(100));
    // a has nothing to tell it that the store is old; but the record does not name it.
    world.start(&name("a"));
    world.run(ms(3000));
    let epoch = world.epoch();
    if let Some(owner) = world.owner() {
        panic!("{owner} owns in epoch {epoch}");
    }
    let refused = refusal(&world, "a").expect("it is refused");
    assert!(refused.to_string().contains("node b has seen epoch 3"), "{refused}");
}

/// The store is put back, under the successor, to the epoch that the first owner has noted: what it
/// finds at its return is just what it knows.
fn put_back_under_the_successor() -> World {
    let mut world = World::running(TWO);
    let old = world.store.snapshot();
    world.kill(&name("a"));
    world.run(ms(200));
    assert_eq!((world.epoch(), world.owner()), (2, Some(name("b"))));
    world.store.restore(old);
    assert_eq!(world.floors[&name("a")].epoch, Epoch(1));
    world
}

fn check_refused_because_of_b(world: &mut World) {
    world.kill(&name("b"));
    world.run(ms(3000));
    assert!(!world.saw(&name("a"), |e| matches!(e, Event::Claiming { .. })));
    let refused = refusal(world, "a").expect("it is refused");
    assert!(refused.to_string().contains("node b has seen epoch 2"), "{refused}");
    world.act(&name("a"), |cluster, now| {
        cluster.handle_accept_rollback(now, vip()).expect("there is something to accept");
    });
    world.run(ms(100));
    assert_eq!(world.owners[&Epoch(3)], (name("a"), How::Reset));
}

#[test]
fn who_comes_back_hears_what_the_others_have_seen_before_it_claims() {
    let mut world = put_back_under_the_successor();
    world.start(&name("a"));
    world.run(ms(3000));
    check_refused_because_of_b(&mut world);
}

#[test]
fn who_comes_back_waits_for_a_candidate_that_is_hard_to_reach() {
    let mut world = put_back_under_the_successor();
    world.part(&name("a"), &name("b"));
    world.start(&name("a"));
    world.run(ms(900));
    world.heal();
    world.run(ms(3000));
    check_refused_because_of_b(&mut world);
}

#[test]
fn who_comes_back_does_not_wait_for_ever_nor_for_a_target() {
    let mut world = World::running(THREE);
    kill_all(&mut world);
    world.start(&name("a"));
    let took = world.run_until_owned_above(1, ms(2000));
    assert!(took >= ms(900) && took < ms(1100), "{took:?}");
    assert_eq!(world.owners[&Epoch(2)], (name("a"), How::Restart));
    kill_all(&mut world);
    for candidate in ["a", "b"] {
        world.start(&name(candidate));
    }
    let took = world.run_until_owned_above(2, ms(2000));
    assert!(took < ms(100), "{took:?}");
    assert_eq!(world.owners[&Epoch(3)], (name("a"), How::Restart));
}

/// The usual restore: a copy of the night is put back under a cluster that has run in one epoch for
/// days.
fn rolled_back_within_an_epoch(stop: impl Fn(&mut World)) -> World {
    let mut world = World::running(TWO);
    let old = world.store.snapshot();
    for _ in 0..3 {
        store_something(&mut world);
        world.run(ms(1500));
    }
    stop(&mut world);
    world.store.restore(old);
    world
}

/// A record of an SA changes.
fn store_something(world: &mut World) {
    let key = Key::new(format!("{}sa", Key::vip_prefix(vip()))).expect("a good key");
    let put = Operation::Put { key, value: vec![0] };
    let transaction = Transaction { conditions: Vec::new(), operations: vec![put] };
    world.store.commit(&[transaction]).expect("it works");
    let (entries, revision) = world.store.range("vip/").expect("it works");
    world.maxima = RecordMaxima { records: entries.len() as u64, ..world.maxima };
    for node in ["a", "b"] {
        let maxima = RecordMaxima { followed: revision, ..world.maxima };
        world.act(&name(node), |cluster, now| cluster.handle_records(now, vip(), maxima));
    }
}

#[test]
fn a_copy_of_the_same_epoch_is_refused_by_the_floor_file() {
    let mut world = rolled_back_within_an_epoch(|world| {
        for node in ["a", "b"] {
            world.act(&name(node), |cluster, now| cluster.handle_release(now, vip()));
        }
        kill_all(world);
    });
    world.start_all();
    world.run(ms(3000));
    assert_eq!(world.owner(), None);
    let refused = refusal(&world, "a").expect("it is refused");
    assert!(matches!(refused, Refusal::WentBack { epoch: Epoch(1), .. }), "{refused:?}");
    let text = refused.to_string();
    assert!(text.contains("rolled back") && text.contains("accept-rollback 192.0.2.10"), "{text}");
    world.act(&name("a"), |cluster, now| {
        cluster.handle_accept_rollback(now, vip()).expect("there is something to accept");
    });
    world.run(ms(100));
    assert_eq!(world.owners[&Epoch(2)], (name("a"), How::Reset));
    world.kill(&name("a"));
    world.run(ms(300));
    assert_eq!(world.owner(), Some(name("b")), "the other has seen that all is well");
}

#[test]
fn a_copy_of_the_same_epoch_is_refused_by_a_member_that_lives() {
    let mut world = rolled_back_within_an_epoch(|world| world.kill(&name("a")));
    // b, which was to take over, is kept from the store until a is back.
    assert_eq!(world.owner(), None);
    world.no_store.insert(name("b"));
    world.floors.clear();
    world.start(&name("a"));
    world.run(ms(3000));
    assert_eq!(world.owner(), None);
    let refused = refusal(&world, "a").expect("it is refused");
    assert!(refused.to_string().contains("node b has seen revision"), "{refused}");
}

#[test]
fn a_revision_is_noted_once_a_minute_and_at_the_end() {
    let mut world = World::running(TWO);
    let noted = |world: &World| {
        let is_floor = |output: &&Output| matches!(output, Output::RecordFloor { .. });
        world.processes[&name("a")].outputs.iter().filter(is_floor).count()
    };
    let before = noted(&world);
    for _ in 0..100 {
        store_something(&mut world);
        world.run(ms(1000));
    }
    assert_eq!(noted(&world) - before, 1, "within a minute and forty seconds");
    store_something(&mut world);
    world.act(&name("a"), |cluster, now| cluster.handle_release(now, vip()));
    assert_eq!(noted(&world) - before, 2);
    let (_, revision) = world.store.range("vip/").expect("it works");
    assert_eq!(world.floors[&name("a")].revision, revision);
}

#[test]
fn who_accepts_the_rollback_gets_a_new_epoch_and_no_old_sa() {
    let mut world = rolled_back();
    world.start_all();
    world.run(ms(3000));
    world.act(&name("b"), |cluster, now| {
        cluster.handle_accept_rollback(now, vip()).expect("there is something to accept");
    });
    world.run(ms(100));
    assert_eq!(world.owners[&Epoch(4)], (name("b"), How::Reset));
    let discards = |output: &Output| matches!(output, Output::Claim { discard: true, .. });
    assert!(world.process(&name("b")).outputs.iter().any(discards));
    world.run(ms(3000));
    assert_eq!(refusal(&world, "a"), None, "the others see that all is well");
    world.kill(&name("b"));
    world.run(ms(200));
    let how = &world.owners[&Epoch(5)].1;
    assert_eq!(*how, How::Takeover { from: name("b") }, "later takeovers keep their SAs");
    let mut answer = Ok(());
    world.act(&name("a"), |cluster, now| answer = cluster.handle_accept_rollback(now, vip()));
    assert_eq!(answer, Err(Error::NothingToAccept(vip())));
}

#[test]
fn records_without_an_epoch_record_are_refused_and_may_be_dropped() {
    let mut world = World::new(TWO);
    world.maxima =
        RecordMaxima { records: 3, written: Epoch(8), born: Epoch(5), ..RecordMaxima::default() };
    world.start_all();
    world.run(ms(2000));
    assert_eq!(world.owner(), None);
    assert_eq!(refusal(&world, "a"), Some(Refusal::EpochRecordMissing { vip: vip(), records: 3 }));
    world.act(&name("a"), |cluster, now| {
        cluster.handle_accept_rollback(now, vip()).expect("there is something to accept");
    });
    world.run(ms(100));
    assert_eq!(world.owners[&Epoch(9)], (name("a"), How::Reset), "above every record");
}

#[test]
fn a_key_born_after_the_epoch_record_is_refused() {
    let mut world = World::running(TWO);
    kill_all(&mut world);
    world.maxima = RecordMaxima { born: Epoch(2), ..some_records(&world) };
    world.start_all();
    world.run(ms(2000));
    assert_eq!(world.owner(), None);
    let expected = Refusal::BornLater { vip: vip(), found: Epoch(1), born: Epoch(2) };
    assert_eq!(refusal(&world, "a"), Some(expected));
}

#[test]
fn records_written_in_a_later_epoch_raise_the_claim() {
    let mut world = World::running(TWO);
    kill_all(&mut world);
    world.maxima = RecordMaxima { written: Epoch(6), ..some_records(&world) };
    world.start_all();
    world.run(ms(2000));
    assert_eq!(world.owner(), Some(name("a")));
    assert_eq!(world.epoch(), 7);
}

#[test]
fn an_emptied_store_is_taken_for_a_new_one_above_the_floors() {
    let mut world = World::running(TWO);
    kill_all(&mut world);
    world.store = crate::store::memory::Memory::new();
    world.start_all();
    world.run(ms(3000));
    assert_eq!(world.owners[&Epoch(2)].1, How::First);
    assert!(world.saw(&name("a"), |e| matches!(e, Event::StoreEmptied { floor: Epoch(1), .. })));
}

#[test]
fn a_store_rolled_back_under_a_running_owner_is_noticed_and_the_owner_goes_on() {
    let mut world = World::running(TWO);
    world.kill(&name("a"));
    world.run(ms(100));
    let old = {
        let mut older = World::running(TWO);
        older.run(ms(1));
        older.store.snapshot()
    };
    world.store.restore(old);
    world.lose_store(&name("b"));
    world.find_store(&name("b"));
    world.run(ms(1000));
    assert_eq!(world.owner(), Some(name("b")));
    assert!(
        world.saw(&name("b"), |e| matches!(e, Event::RecordLost { found: Some(Epoch(1)), .. }))
    );
    world.act(&name("b"), |cluster, now| {
        cluster.handle_accept_rollback(now, vip()).expect("there is something to accept");
    });
    world.run(ms(1000));
    assert_eq!(world.owners[&Epoch(3)], (name("b"), How::Reset));
}

#[test]
fn an_epoch_record_that_cannot_be_opened_is_refused_and_may_be_replaced() {
    let mut world = World::running(TWO);
    kill_all(&mut world);
    let as_of = world.store.revision().expect("the store is up");
    // The store key is another: the world's own reads are kept away.
    world.no_store.insert(name("a"));
    world.start(&name("a"));
    world.run(ms(1100));
    let read = EpochRead { record: None, as_of, fresh: true };
    let maxima = RecordMaxima { followed: as_of, ..some_records(&world) };
    world.act(&name("a"), |cluster, now| {
        cluster.handle_store_health(now, StoreHealth::Up);
        cluster.handle_records(now, vip(), maxima);
        cluster.handle_unreadable_record(now, vip(), as_of, read);
    });
    assert_eq!(refusal(&world, "a"), Some(Refusal::Unreadable { vip: vip() }));
    world.act(&name("a"), |cluster, now| {
        cluster.handle_accept_rollback(now, vip()).expect("there is something to accept");
    });
    let refreshed = |output: &Output| matches!(output, Output::Refresh { .. });
    assert!(world.process(&name("a")).outputs.iter().any(refreshed), "it is read once more");
    let read = EpochRead { record: None, as_of, fresh: true };
    world.act(&name("a"), |cluster, now| {
        cluster.handle_unreadable_record(now, vip(), as_of, read);
    });
    let claim = world.process(&name("a")).outputs.iter().find_map(|output| match output {
        Output::Claim { expect, record, discard, .. } => Some((*expect, record.epoch, *discard)),
        _ => None,
    });
    assert_eq!(claim, Some((Some(as_of), Epoch(2), true)), "and replaced where it stands");
}

fn beat_of(node: &NodeName, epoch: u64, standing: Standing) -> Heartbeat {
    let owner = (standing == Standing::Owner).then(|| node.clone());
    let said = VipStanding { vip: vip(), epoch: Epoch(epoch), owner, revision: 0, standing };
    Heartbeat { incarnation: u64::MAX, version: 1, vips: vec![said], ..Heartbeat::default() }
}

#[test]
fn a_target_cannot_depose_an_owner() {
    let mut world = World::running(THREE);
    let t = name("t");
    for standing in [Standing::Target, Standing::Owner] {
        let beat = beat_of(&t, 99, standing);
        world.act(&name("a"), |cluster, now| cluster.handle_heartbeat(now, &t, &beat));
    }
    let message = Message { vip: vip(), epoch: Epoch(99), body: Body::Owning };
    world.act(&name("a"), |cluster, now| cluster.handle_message(now, &t, message));
    world.run(ms(200));
    assert_eq!(world.owner(), Some(name("a")));
    assert_eq!(world.floors[&name("a")].epoch, Epoch(1), "it was looked up in the store instead");
}

#[test]
fn any_word_of_a_candidate_about_a_higher_epoch_deposes_at_once() {
    let b = name("b");
    let message = |body| Message { vip: vip(), epoch: Epoch(9), body };
    for body in [Body::Owning, Body::Following, Body::Released] {
        let mut world = World::running(TWO);
        world
            .act(&name("a"), |cluster, now| cluster.handle_message(now, &b, message(body.clone())));
        assert_eq!(world.owners_now(), 0, "{body:?}");
    }
    let mut world = World::running(TWO);
    let beat = beat_of(&b, 9, Standing::Ready);
    world.act(&name("a"), |cluster, now| cluster.handle_heartbeat(now, &b, &beat));
    assert_eq!(world.owners_now(), 0);
    let silent = world.sent[&Epoch(1)];
    world.run(ms(20));
    assert_eq!(world.sent[&Epoch(1)], silent);
}

#[test]
fn two_that_own_the_same_epoch_both_give_it_up() {
    let mut world = World::running(TWO);
    let b = name("b");
    let message = Message { vip: vip(), epoch: Epoch(1), body: Body::Owning };
    world.act(&name("a"), |cluster, now| cluster.handle_message(now, &b, message));
    assert_eq!(world.owners_now(), 0);
    assert!(world.saw(&name("a"), |e| matches!(e, Event::Conflict { epoch: Epoch(1), .. })));
    world.run(ms(500));
    assert_eq!(world.owners_now(), 1, "b never owned; somebody takes it");
    assert_eq!(world.epoch(), 2);
}

#[test]
fn strangers_and_unknown_vips_change_nothing() {
    let mut world = World::running(TWO);
    let stranger = name("stranger");
    let beat = beat_of(&stranger, 99, Standing::Owner);
    let message = Message { vip: vip(), epoch: Epoch(99), body: Body::Owning };
    world.act(&name("a"), |cluster, now| {
        cluster.handle_heartbeat(now, &stranger, &beat);
        cluster.handle_message(now, &stranger, message);
    });
    assert_eq!(world.owner(), Some(name("a")));
    let other = vipsec_wire::id::Vip("198.51.100.1".parse().expect("an address"));
    let mut answer = Ok(());
    world.act(&name("a"), |cluster, now| answer = cluster.handle_accept_rollback(now, other));
    assert_eq!(answer, Err(Error::UnknownVip(other)));
}

#[test]
fn the_epoch_record_may_be_deleted_under_an_owner() {
    let mut world = World::running(TWO);
    let operations = vec![Operation::Delete { key: Key::epoch(vip()) }];
    let transaction = Transaction { conditions: Vec::new(), operations };
    world.store.commit(&[transaction]).expect("the store is up");
    world.lose_store(&name("a"));
    world.find_store(&name("a"));
    world.run(ms(100));
    assert_eq!(world.owner(), Some(name("a")));
    assert!(world.saw(&name("a"), |e| matches!(e, Event::RecordLost { found: None, .. })));
}
