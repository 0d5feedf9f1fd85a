//! What the network may throw at an engine: repetitions, garbage, floods, forgeries. No panic, and
//! no change of state by anything that the peer has not authenticated.

mod world;

use core::net::SocketAddr;
use core::time::Duration;
use proptest::prelude::*;
use vipsec_ike::{CloseReason, Drop, Event, Output};
use vipsec_wire::ike::header::RawHeader;
use vipsec_wire::ike::{
    ExchangeType, Header, IkeSpis, Message, Notify, NotifyType, Payload, PayloadType,
};
use world::{Packet, Seeded, Side, World, config};

fn address(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

/// Everything that can be seen of an engine's SAs, and what it has written.
fn state(world: &World) -> (Vec<Option<vipsec_ike::IkeSaSnapshot>>, usize, usize) {
    let engine = &world.right.engine;
    let snapshots = engine.ike_sas().map(|view| engine.snapshot(view.id)).collect();
    (snapshots, engine.half_open_count(), world.right.store.writes)
}

/// An IKE_SA_INIT request of a peer at `source`, as the left engine makes it.
fn first_message(world: &mut World) -> Packet {
    world.left = world::site::Site::new(Side::Left, config(Side::Left), world.now, &mut world.rng);
    world.initiate(Side::Left, "net");
    world.outputs();
    world.lose(Side::Right)
}

fn answers(world: &mut World) -> Vec<Message> {
    world.outputs();
    let messages = world.wire.drain(..).filter(|packet| packet.to == Side::Left);
    messages.map(|packet| Message::parse(&packet.message).expect("a message")).collect()
}

fn notified(message: &Message) -> Option<NotifyType> {
    match message.payloads.first() {
        Some(Payload::Notify(notify)) => Some(notify.kind),
        _ => None,
    }
}

//= RFC 7296 section 2.1 #1: repeated for a repetition
//= RFC 7296 section 2.1 #2: which has no other effect
//= RFC 7296 section 2.1 #4: the response is kept
//= RFC 7296 section 2.3 #5: likewise
#[test]
fn every_repeated_request_gets_the_very_same_answer() {
    let mut world = World::new();
    world.initiate(Side::Left, "net");
    world.outputs();
    let mut requests = 0;
    for round in 0..8 {
        match round {
            2 => world.rekey_child(Side::Left),
            4 => world.rekey_ike(Side::Left),
            6 => world.terminate_ike(Side::Left),
            _ => {}
        }
        world.outputs();
        if world.wire.iter().all(|packet| packet.to != Side::Right) {
            continue;
        }
        let request = world.deliver(Side::Right);
        world.outputs();
        let answer = world.lose(Side::Left);
        let before = state(&world);
        for _ in 0..3 {
            world.arrive(&request);
            world.outputs();
            assert_eq!(world.lose(Side::Left).message, answer.message);
        }
        assert_eq!(state(&world), before);
        requests += 1;
        world.arrive(&answer);
        world.outputs();
    }
    assert!(requests >= 5, "{requests} requests");
}

//= RFC 7296 section 2.1 #5: what was forgotten is ignored
//= RFC 7296 section 2.3 #7: what is outside of the window is not answered
#[test]
fn old_and_far_message_ids_are_dropped() {
    let mut world = World::established();
    world.rekey_child(Side::Left);
    world.outputs();
    let old = world.wire.front().unwrap().clone();
    world.run();
    let before = state(&world);
    world.arrive(&old);
    world.run();
    assert_eq!(state(&world), before);
    assert_eq!(world.right.engine.drops().get(Drop::OutOfWindow), 1);
}

//= RFC 7296 section 2.4 #5: a flood is answered with cookies
#[test]
fn cookies_are_asked_for_above_the_threshold_and_work() {
    let mut right = config(Side::Right);
    right.limits.half_open_cookie_threshold = 3;
    let mut world = World::with(config(Side::Left), right);
    for number in 0..5u64 {
        let mut packet = first_message(&mut world);
        packet.source.set_port(1000 + u16::try_from(number).unwrap());
        world.arrive(&packet);
        let kinds: Vec<_> = answers(&mut world).iter().map(notified).collect();
        let wanted = if number < 3 { None } else { Some(NotifyType::COOKIE) };
        assert_eq!(kinds, vec![wanted]);
    }
    assert_eq!(world.right.engine.half_open_count(), 3);
    assert!(world.right.has_event(|e| *e == Event::CookieMode(true)));
    world.left = world::site::Site::new(Side::Left, config(Side::Left), world.now, &mut world.rng);
    world.initiate(Side::Left, "net");
    world.run();
    assert_eq!(world.left.installed.len(), 1, "an honest peer gets through");
    world.pass(Duration::from_secs(31));
    assert_eq!(world.right.engine.half_open_count(), 0);
}

//= RFC 7296 section 2.6 #4: as good as none
#[test]
fn a_cookie_of_another_address_or_attempt_is_no_good() {
    let mut right = config(Side::Right);
    right.limits.half_open_cookie_threshold = 0;
    let mut world = World::with(config(Side::Left), right);
    let packet = first_message(&mut world);
    world.arrive(&packet);
    let answer = answers(&mut world).remove(0);
    let mut message = Message::parse(&packet.message).unwrap();
    message.payloads.insert(0, answer.payloads[0].clone());
    let good = Packet { message: message.emit(), ..packet.clone() };
    let elsewhere = Packet { source: address("192.0.2.1:9999"), ..good.clone() };
    world.arrive(&elsewhere);
    assert_eq!(notified(&answers(&mut world)[0]), Some(NotifyType::COOKIE));
    assert_eq!(world.right.engine.half_open_count(), 0);
    world.arrive(&good);
    assert_eq!(notified(&answers(&mut world)[0]), None);
    assert_eq!(world.right.engine.half_open_count(), 1);
}

#[test]
fn half_open_ike_sas_are_bounded_and_expire() {
    let mut right = config(Side::Right);
    right.limits.half_open_cookie_threshold = 1000;
    right.limits.half_open_max = 4;
    let mut world = World::with(config(Side::Left), right);
    for number in 0..10u16 {
        let mut packet = first_message(&mut world);
        packet.source.set_port(1000 + number);
        world.arrive(&packet);
        assert_eq!(answers(&mut world).len(), usize::from(number < 4));
    }
    assert_eq!(world.right.engine.half_open_count(), 4);
    assert_eq!(world.right.engine.drops().get(Drop::HalfOpenFull), 6);
    world.pass(Duration::from_secs(31));
    assert_eq!(world.right.engine.half_open_count(), 0);
}

//= RFC 7296 section 2.5 #2: dropped
//= RFC 7296 section 2.5 #4: answered with version 2
//= RFC 7296 section 3.1 #7: INVALID_MAJOR_VERSION
#[test]
fn a_higher_major_version_is_answered_with_ours() {
    let mut world = World::new();
    let mut packet = first_message(&mut world);
    packet.message[17] = 0x30;
    world.arrive(&packet);
    let answer = answers(&mut world).remove(0);
    assert_eq!(notified(&answer), Some(NotifyType::INVALID_MAJOR_VERSION));
    packet.message[17] = 0x10;
    world.arrive(&packet);
    assert!(answers(&mut world).is_empty());
}

/// The message with another payload in front, of an unknown type.
fn with_unknown_payload(packet: &Packet, critical: bool) -> Packet {
    let raw = RawHeader::parse(&packet.message).expect("a header");
    let mut message = packet.message.clone();
    message[16] = 200;
    let flags = if critical { 0x80 } else { 0 };
    message.splice(28..28, [raw.first.0, flags, 0, 6, 1, 2]);
    let length = u32::try_from(message.len()).expect("short").to_be_bytes();
    message[24..28].copy_from_slice(&length);
    Packet { message, ..packet.clone() }
}

//= RFC 7296 section 2.5 #9: refused
//= RFC 7296 section 2.5 #10: by UNSUPPORTED_CRITICAL_PAYLOAD with its type
//= RFC 7296 section 2.5 #11: passed over
//= RFC 7296 section 4 #2: likewise
#[test]
fn unknown_payloads_are_passed_over_or_refused_when_critical() {
    let mut world = World::new();
    let packet = first_message(&mut world);
    world.arrive(&with_unknown_payload(&packet, true));
    let answer = answers(&mut world).remove(0);
    let unsupported = Notify::new(NotifyType::UNSUPPORTED_CRITICAL_PAYLOAD, vec![200]);
    assert_eq!(answer.payloads, vec![Payload::Notify(unsupported)]);
    assert_eq!(world.right.engine.half_open_count(), 0);
    world.arrive(&with_unknown_payload(&packet, false));
    assert_eq!(notified(&answers(&mut world)[0]), None);
    assert_eq!(world.right.engine.half_open_count(), 1);
}

//= RFC 7296 section 2.4 #3: they prove nothing
//= RFC 7296 section 2.21.4 #6: and change nothing
#[test]
fn unauthenticated_errors_end_nothing() {
    let mut world = World::established();
    let view = world.left.engine.ike_sas().next().unwrap();
    world.rekey_child(Side::Left);
    world.outputs();
    let request = world.lose(Side::Right);
    for kind in [NotifyType::INVALID_IKE_SPI, NotifyType::AUTHENTICATION_FAILED] {
        let header = Header {
            spis: view.spis,
            exchange: ExchangeType::CreateChildSa,
            from_initiator: false,
            response: true,
            higher_version: false,
            message_id: request.kind().1,
        };
        let message = Message::new(header, vec![Payload::Notify(Notify::new(kind, vec![]))]);
        let forged = Packet { to: Side::Left, message: message.emit(), ..request.clone() };
        world.arrive(&forged);
    }
    world.pass(Duration::from_secs(10));
    world.check_agreement(1, 1);
    let drops = world.left.engine.drops();
    assert_eq!(drops.get(Drop::Unauthentic) + drops.get(Drop::UnauthenticatedError), 2);
}

//= RFC 7296 section 1.5 #1: no answer
//= RFC 7296 section 2.21.4 #1: no answer
#[test]
fn requests_for_nobody_are_told_so_in_clear_and_seldom() {
    let mut world = World::established();
    world.rekey_child(Side::Left);
    world.outputs();
    let known = world.lose(Side::Right);
    let mut packet = known.clone();
    packet.message[0] ^= 1;
    let before = state(&world);
    world.arrive(&packet);
    let answer = answers(&mut world).remove(0);
    assert_eq!(notified(&answer), Some(NotifyType::INVALID_IKE_SPI));
    let asked = Message::parse(&packet.message).unwrap().header;
    //= RFC 7296 section 2.21.4 #2: its SPIs and message ID
    //= RFC 7296 section 2.21.4 #3: readable as it is
    //= RFC 7296 section 2.21.4 #4: says what it is
    let Header { spis, exchange, message_id, .. } = asked;
    let expected =
        Header { spis, exchange, message_id, from_initiator: false, response: true, ..asked };
    assert_eq!(answer.header, expected);
    // As from the responder it belongs to no SA either.
    let mut mirrored = known.clone();
    mirrored.message[19] ^= 0x08;
    world.arrive(&mirrored);
    assert_eq!(answers(&mut world).len(), 1);
    for _ in 0..1000 {
        world.arrive(&packet);
    }
    //= RFC 7296 section 2.4 #5: only so many
    assert_eq!(answers(&mut world).len(), 48, "50 a second");
    assert_eq!(world.right.engine.drops().get(Drop::UnknownSpi), 1002);
    // Neither a response nor anything in clear is answered.
    //= RFC 7296 section 1.5 #1: not what is in clear
    //= RFC 7296 section 2.21.4 #1: not a response
    world.now = world.now + Duration::from_secs(1);
    packet.message[19] |= 0x20;
    world.arrive(&packet);
    let clear = Message::new(Header { message_id: 9, ..expected }, Vec::new());
    let request = Message { header: Header { response: false, ..clear.header }, ..clear };
    world.arrive(&Packet { message: request.emit(), ..known });
    assert!(answers(&mut world).is_empty());
    assert_eq!(state(&world), before);
}

#[test]
fn being_told_that_an_ike_sa_is_unknown_leads_to_a_check_and_no_more() {
    let (mut left, mut right) = (config(Side::Left), config(Side::Right));
    left.connections[0].dpd.as_mut().unwrap().idle_s = 100;
    right.connections[0].dpd = None;
    let mut world = World::with(left, right);
    world.initiate(Side::Left, "net");
    world.run();
    // By now an SA that nobody uses is checked every 800 s.
    world.pass(Duration::from_secs(900));
    let spis = world.left.engine.ike_sas().next().unwrap().spis;
    let header = Header {
        spis,
        exchange: ExchangeType::Informational,
        from_initiator: false,
        response: true,
        higher_version: false,
        message_id: 2,
    };
    let notify = Notify::new(NotifyType::INVALID_IKE_SPI, Vec::new());
    let message = Message::new(header, vec![Payload::Notify(notify)]).emit();
    let (source, destination) = (address("192.0.2.2:500"), address("192.0.2.1:500"));
    let packet = Packet { to: Side::Left, source, destination, message };
    world.sent.clear();
    for _ in 0..100 {
        world.arrive(&packet);
        world.run();
    }
    assert!(world.sent.is_empty());
    assert_eq!(world.left.engine.drops().get(Drop::UnauthenticatedError), 100);
    world.pass(Duration::from_secs(130));
    //= RFC 7296 section 2.21.4 #6: nothing else comes of it
    assert_eq!(world.sent.len(), 2, "one check and its answer");
    world.check_agreement(1, 1);
}

//= RFC 7296 section 2.1 #3: the request is kept meanwhile
#[test]
fn a_dead_peer_is_given_up_after_bounded_repetitions() {
    let mut world = World::new();
    world.loss = Box::new(|_| true);
    world.initiate(Side::Left, "net");
    world.pass(Duration::from_secs(300));
    assert_eq!(world.sent.len(), 6);
    let dead = |e: &Event| matches!(e, Event::Failed { reason: CloseReason::PeerDead, .. });
    assert!(world.left.has_event(dead));
}

#[test]
fn everything_arrives_in_the_end_when_a_third_is_lost_and_all_is_doubled() {
    let mut established = 0;
    for seed in 1..30u64 {
        let mut world = World::new();
        let mut dice = Seeded(seed);
        world.loss = Box::new(move |_| {
            let mut byte = [0];
            vipsec_crypto::Random::fill(&mut dice, &mut byte);
            byte[0] < 85
        });
        world.initiate(Side::Left, "net");
        world.pass(Duration::from_secs(25));
        if world.left.engine.ike_sa_count() == 0 {
            continue;
        }
        established += 1;
        let double: Vec<Packet> = world.sent.clone();
        for packet in &double {
            world.arrive(packet);
            world.outputs();
        }
        world.run();
        world.rekey_child(Side::Left);
        world.rekey_ike(Side::Right);
        world.pass(Duration::from_secs(25));
        world.loss = Box::new(|_| false);
        world.pass(Duration::from_secs(150));
        let count = world.left.engine.ike_sa_count();
        world.check_agreement(count, count);
    }
    assert!(established >= 20, "{established} of 29");
}

//= RFC 7296 section 3.14 #7: all of the message is under the checksum
#[test]
fn every_flipped_bit_is_noticed() {
    let mut world = World::established();
    let begin: [fn(&mut World); 3] = [
        |w| w.rekey_child(Side::Left),
        |w| w.rekey_ike(Side::Left),
        |w| w.terminate_ike(Side::Left),
    ];
    for begin in begin {
        begin(&mut world);
        world.outputs();
        let packet = world.lose(Side::Right);
        let before = state(&world);
        for bit in 0..packet.message.len() * 8 {
            let mut forged = packet.clone();
            forged.message[bit / 8] ^= 1 << (bit % 8);
            world.arrive(&forged);
        }
        let now = world.now;
        assert_eq!(state(&world), before);
        world.right.engine.handle_timeout(now, &mut world.rng);
        world.arrive(&packet);
        world.run();
    }
    assert_eq!(world.right.engine.ike_sa_count(), 0);
}

/// Gives any bytes to an engine that has an SA and a half-open one.
fn throw(world: &mut World, bytes: &[u8]) {
    let (now, before) = (world.now, state(world));
    let (local, remote) = (address("192.0.2.2:500"), address("192.0.2.1:500"));
    let half_open = before.1;
    world.right.engine.handle_datagram(now, local, remote, bytes, &mut world.rng);
    let mut answered = 0;
    while let Some(output) = world.right.engine.poll_output() {
        match output {
            Output::Transmit { after, .. } => {
                assert!(after.is_none());
                answered += 1;
            }
            Output::Mirror { .. } | Output::DropHalfOpen { .. } => {}
            other => panic!("{other:?} came of unauthenticated bytes"),
        }
    }
    assert!(answered <= 1);
    let after = state(world);
    assert_eq!((after.0, after.2), (before.0, before.2));
    assert!(after.1 <= half_open + 1);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_change_nothing(messages in prop::collection::vec(
        prop::collection::vec(any::<u8>(), 0..200), 1..20))
    {
        let mut world = World::established();
        for message in messages {
            throw(&mut world, &message);
        }
    }

    #[test]
    fn any_payloads_under_a_good_header_change_nothing(
        known in any::<bool>(),
        exchange in 34u8..38,
        flags in any::<u8>(),
        first in prop_oneof![33u8..49, any::<u8>()],
        id in 0u32..4,
        body in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        let mut world = World::established();
        let view = world.right.engine.ike_sas().next().unwrap();
        let spis = if known { view.spis } else { IkeSpis { initiator: 7, responder: 0 } };
        let mut message = spis.initiator.to_be_bytes().to_vec();
        message.extend(spis.responder.to_be_bytes());
        message.extend([first, 0x20, exchange, flags & 0x38]);
        message.extend(id.to_be_bytes());
        message.extend(u32::try_from(28 + body.len()).unwrap().to_be_bytes());
        message.extend(body);
        throw(&mut world, &message);
        let _ = PayloadType(first);
    }

    #[test]
    fn a_damaged_first_message_does_no_harm(
        places in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut world = World::new();
        let packet = first_message(&mut world);
        let mut message = packet.message.clone();
        for (place, value) in places {
            let place = place.index(message.len());
            message[place] = value;
        }
        throw(&mut world, &message);
        let cut = cut.index(message.len());
        throw(&mut world, &message[..cut]);
    }
}

#[test]
fn an_ike_sa_init_request_that_is_not_from_an_initiator_is_dropped() {
    let mut world = World::new();
    let mut packet = first_message(&mut world);
    packet.message[19] &= !0x08;
    world.arrive(&packet);
    assert!(answers(&mut world).is_empty());
    assert_eq!(world.right.engine.half_open_count(), 0);
}
