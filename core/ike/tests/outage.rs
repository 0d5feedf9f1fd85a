//! A store that is slow or down: what exists goes on. The peer's checks are answered, nothing is
//! begun that would only wait, and what has fallen due is done afterwards.

mod world;

use core::time::Duration;
use vipsec_esp::Expiry;
use vipsec_ike::{Activity, Change};
use vipsec_wire::ike::{ExchangeType, Message};
use vipsec_wire::record::{self, v1};
use world::site::{Fate, Mode};
use world::{Packet, Side, World, config};

/// Long enough for a check of an SA that nobody uses.
const SILENCE: Duration = Duration::from_secs(40);

fn store_is(world: &mut World, up: bool) {
    let now = world.now;
    world.right.mode = if up { Mode::Prompt } else { Mode::Down };
    world.right.engine.handle_store_health(now, up);
}

/// IDs of the INFORMATIONAL requests to `to`, or of the answers to its own.
fn informational(world: &World, to: Side, response: bool) -> Vec<u32> {
    let kinds = world.sent.iter().filter(|packet| packet.to == to).map(Packet::kind);
    let wanted = kinds.filter(|(exchange, _, answer)| {
        *exchange == ExchangeType::Informational && *answer == response
    });
    wanted.map(|(_, id, _)| id).collect()
}

/// The right side never checks, so that what is sent is the left side's.
fn one_who_asks() -> World {
    let (left, mut right) = (config(Side::Left), config(Side::Right));
    right.connections[0].dpd = None;
    let mut world = World::with(left, right);
    world.initiate(Side::Left, "net");
    world.run();
    world.check_agreement(1, 1);
    world
}

#[test]
fn checks_are_answered_while_our_own_request_is_being_written() {
    let mut world = one_who_asks();
    world.right.mode = Mode::Held;
    world.rekey_child(Side::Right);
    world.pass(SILENCE);
    assert_eq!(informational(&world, Side::Left, true).len(), 1);
    assert_eq!(world.right.waiting.len(), 1, "the rekey still waits");
    // The request comes to nothing; what was answered stays answered.
    world.right.mode = Mode::Refusing;
    world.run();
    world.right.mode = Mode::Prompt;
    world.pass(Duration::from_secs(200));
    let answered = informational(&world, Side::Left, true);
    assert!(answered.len() >= 2 && answered.windows(2).all(|ids| ids[1] == ids[0] + 1));
    world.check_agreement(1, 1);
}

#[test]
fn an_answer_that_got_lost_is_given_again_while_a_write_is_under_way() {
    let mut world = one_who_asks();
    world.right.mode = Mode::Held;
    world.rekey_child(Side::Right);
    let mut losses = 2;
    world.loss = Box::new(move |packet| {
        let lost = packet.to == Side::Left && losses > 0;
        losses -= i32::from(lost);
        lost
    });
    world.pass(SILENCE);
    let answers = world
        .sent
        .iter()
        .filter(|packet| packet.to == Side::Left && packet.kind().0 == ExchangeType::Informational);
    let answers: Vec<&[u8]> = answers.map(|packet| packet.message.as_slice()).collect();
    assert_eq!(answers.len(), 3);
    assert!(answers.iter().all(|answer| *answer == answers[0]), "the very same bytes");
    world.right.mode = Mode::Prompt;
    world.pass(SILENCE);
    world.check_agreement(1, 1);
}

#[test]
fn a_check_does_not_overtake_an_answer_that_is_being_written() {
    let mut world = one_who_asks();
    world.right.mode = Mode::Held;
    world.rekey_child(Side::Left);
    world.run();
    assert!(!world.right.held.is_empty(), "the answer waits");
    // A peer that has lost its request goes on with the next ID, which it must not.
    let id = world.left.ike();
    let bytes = world.left.store.states[&id].clone();
    let mut state: v1::IkeMutable = record::decode(&bytes).unwrap();
    assert!(state.outstanding.take().is_some());
    world.left.store.states.insert(id, record::encode(&state).expose().to_vec());
    world.take_over(Side::Left, Fate::Written);
    world.sent.clear();
    world.pass(SILENCE);
    assert!(!informational(&world, Side::Right, false).is_empty(), "it asks");
    assert!(informational(&world, Side::Left, true).is_empty(), "and waits");
    world.right.mode = Mode::Prompt;
    world.outputs();
    let exchanges: Vec<_> = world.sent.iter().filter(|p| p.to == Side::Left).collect();
    let exchanges: Vec<_> = exchanges.iter().map(|p| p.kind().0).collect();
    assert_eq!(exchanges[..2], [ExchangeType::CreateChildSa, ExchangeType::Informational]);
}

#[test]
fn sas_outlive_a_store_that_is_down_for_long() {
    let mut world = World::established();
    store_is(&mut world, false);
    let (before, spi, now) = (world.left.ike(), world.right.active_child(), world.now);
    world.right.engine.handle_child_expiry(now, spi, Expiry::Soft, &mut world.rng);
    world.sent.clear();
    world.pass(Duration::from_secs(3600));
    assert!(world.right.waiting.is_empty(), "something waits that could have waited before");
    assert!(informational(&world, Side::Right, false).len() > 5);
    assert_eq!(world.left.ike(), before);
    assert_eq!(world.right.active_child(), spi);
    world.check_agreement(1, 1);
    store_is(&mut world, true);
    world.pass(Duration::from_secs(5));
    assert_ne!(world.right.active_child(), spi, "the rekey is made up for");
    world.check_agreement(1, 1);
}

#[test]
fn rekeys_of_ike_sas_that_fell_due_without_store_are_made_up_for() {
    let mut world = one_who_asks();
    let due = |world: &World| world.right.engine.ike_sas().next().unwrap().rekey_at;
    let before = world.right.ike();
    // The left side would be first at times.
    let later = due(&world).0 - world.now.0 + 1_000_000;
    world.left.engine.become_standby(world.now);
    store_is(&mut world, false);
    world.pass(Duration::from_micros(later));
    assert!(world.right.waiting.is_empty());
    let (now, epoch) = (world.now, world.left.epoch);
    world.left.engine.become_owner(now, epoch, &mut world.rng);
    store_is(&mut world, true);
    world.pass(Duration::from_secs(5));
    world.check_agreement(1, 1);
    assert_ne!(world.right.ike(), before);
}

#[test]
fn an_end_is_not_put_off_by_a_store_that_is_down() {
    let mut world = World::established();
    store_is(&mut world, false);
    let (spi, now) = (world.right.active_child(), world.now);
    world.right.engine.handle_child_expiry(now, spi, Expiry::Hard, &mut world.rng);
    world.run();
    assert_eq!(world.right.waiting.len(), 1, "it stands in line");
    world.pass(SILENCE);
    assert!(!informational(&world, Side::Left, true).is_empty(), "checks are answered");
    store_is(&mut world, true);
    world.run();
    world.check_agreement(1, 0);
}

/// The left side is behind a NAT; a write about the SA is under way at the right.
fn behind_a_nat() -> World {
    let mut left = config(Side::Left);
    left.connections[0].force_encapsulation = true;
    left.connections[0].mobike = false;
    let mut world = World::with(left, config(Side::Right));
    world.initiate(Side::Left, "net");
    world.run();
    world.right.mode = Mode::Held;
    world.rekey_child(Side::Right);
    world.run();
    world
}

#[test]
fn a_mapping_that_changes_during_a_write_is_written_after_it() {
    for mode in [Mode::Prompt, Mode::Refusing] {
        let mut world = behind_a_nat();
        let view = world.right.engine.ike_sas().next().unwrap();
        let elsewhere = "192.0.2.1:61000".parse().unwrap();
        let now = world.now;
        world.right.engine.handle_mapping(now, view.family, elsewhere);
        world.outputs();
        world.right.mode = mode;
        world.outputs();
        world.right.mode = Mode::Prompt;
        world.wire.clear();
        world.pass(Duration::from_secs(2));
        let state: v1::IkeMutable =
            record::decode(&world.right.store.states[&view.id]).expect("a record");
        assert_eq!(state.addresses.remote, elsewhere, "{mode:?}");
        assert!(world.right.installed.values().all(|i| i.sa.endpoints.remote == elsewhere));
        world.take_over(Side::Right, Fate::Lost);
        let view = world.right.engine.ike_sas().next().unwrap();
        assert_eq!(view.addresses.remote, elsewhere, "{mode:?}");
    }
}

#[test]
fn a_check_from_a_new_mapping_is_answered_there_before_that_is_written() {
    let mut world = behind_a_nat();
    let elsewhere = "192.0.2.1:61000".parse().unwrap();
    while informational(&world, Side::Right, false).is_empty() {
        world.pass(Duration::from_secs(1));
        world.loss = Box::new(|packet| packet.to == Side::Right);
    }
    let is_check = |packet: &&Packet| packet.kind().0 == ExchangeType::Informational;
    let mut check = world.sent.iter().rev().find(is_check).expect("a check").clone();
    check.source = elsewhere;
    world.sent.clear();
    world.arrive(&check);
    world.outputs();
    assert_eq!(world.sent[0].destination, elsewhere);
    assert_eq!(world.right.waiting.len(), 1, "the write about it waits for the other");
    world.right.mode = Mode::Prompt;
    world.outputs();
    let written = world.right.store.load().into_iter().find_map(|change| match change {
        Change::IkeMutable { state, .. } => Some(state.addresses.remote),
        _ => None,
    });
    assert_eq!(written, Some(elsewhere));
}

#[test]
fn the_ivs_of_an_initiator_go_on_from_its_half_open_sa() {
    let mut world = World::established();
    world.rekey_child(Side::Left);
    world.run();
    let ours = world.sent.iter().filter(|packet| packet.to == Side::Right);
    let encrypted = ours.filter_map(|packet| {
        let at = Message::parse(&packet.message).expect("a message").encrypted?.body_at;
        Some(u64::from_be_bytes(packet.message[at..][..8].try_into().expect("eight octets")))
    });
    let ivs: Vec<u64> = encrypted.collect();
    assert!(ivs.len() >= 3 && ivs.windows(2).all(|pair| pair[1] == pair[0] + 1), "{ivs:?}");
}

/// Checks by the left side within `span`, while packets go out from it every ten seconds.
fn checks_within(span: Duration, sends: bool) -> usize {
    let mut world = one_who_asks();
    let family = world.left.engine.ike_sas().next().expect("an IKE SA").family;
    let (begin, end) = (world.now, world.now + span);
    world.sent.clear();
    while world.now < end {
        let last_outbound = if sends { world.now } else { begin };
        let activity = Activity { ike: family, last_inbound: begin, last_outbound };
        world.left.engine.handle_activity(&[activity]);
        world.pass(Duration::from_secs(10));
    }
    world.check_agreement(1, 1);
    informational(&world, Side::Right, false).len()
}

#[test]
fn one_sided_traffic_is_looked_into_and_mutual_silence_ever_more_seldom() {
    let hour = Duration::from_secs(3600);
    let (idle, one_sided) = (checks_within(hour, false), checks_within(hour, true));
    assert!((10..=16).contains(&idle), "{idle} checks of an idle SA");
    assert!((60..=120).contains(&one_sided), "{one_sided} checks of one that only sends");
}

#[test]
fn a_peer_that_wants_a_rekey_while_the_store_is_down_is_asked_to_come_back() {
    for rekey in [World::rekey_child, World::rekey_ike] {
        let mut world = one_who_asks();
        let (ike, child) = (world.left.ike(), world.left.active_child());
        store_is(&mut world, false);
        world.sent.clear();
        rekey(&mut world, Side::Left);
        world.pass(Duration::from_secs(600));
        world.check_agreement(1, 1);
        assert_eq!((world.left.ike(), world.left.active_child()), (ike, child));
        store_is(&mut world, true);
        world.pass(Duration::from_secs(10));
        world.check_agreement(1, 1);
        assert_ne!((world.left.ike(), world.left.active_child()), (ike, child));
    }
}

#[test]
fn what_was_put_off_cannot_be_replayed_to_the_next_owner() {
    for written in [false, true] {
        let mut world = one_who_asks();
        store_is(&mut world, false);
        world.rekey_child(Side::Left);
        world.outputs();
        let request = world.deliver(Side::Right);
        world.outputs();
        let answer = world.deliver(Side::Left);
        let writes = world.right.store.writes;
        if written {
            store_is(&mut world, true);
            world.pass(Duration::from_millis(1));
            assert_eq!(world.right.store.writes, writes + 1, "it is made up for by itself");
            world.right.mirrored.clear();
        }
        world.take_over(Side::Right, Fate::Lost);
        world.right.mode = Mode::Prompt;
        world.outputs();
        world.arrive(&request);
        world.outputs();
        assert_eq!(world.lose(Side::Left).message, answer.message);
        assert_eq!(world.right.installed.len(), 1);
        world.pass(Duration::from_secs(10));
        world.check_agreement(1, 1);
    }
}

#[test]
fn a_request_that_meets_a_pending_write_is_put_off_too() {
    let mut world = one_who_asks();
    store_is(&mut world, false);
    let spi = world.right.active_child();
    world.terminate_child(Side::Right, spi);
    world.outputs();
    assert_eq!(world.right.waiting.len(), 1, "the delete waits");
    world.initiate(Side::Left, "second");
    world.pass(Duration::from_secs(300));
    store_is(&mut world, true);
    world.pass(Duration::from_secs(20));
    world.check_agreement(1, 1);
}
