//! MOBIKE (RFC 4555): a peer that moves, a responder with several addresses, and what is refused.

mod world;

use core::net::{IpAddr, SocketAddr};
use core::time::Duration;
use vipsec_esp::Endpoints;
use vipsec_ike::{CloseReason, Config, Event, RemoteAddresses};
use vipsec_wire::ike::{ExchangeType, Message, Notify, NotifyType, Payload};
use vipsec_wire::record::v1::{IkeAddresses, MobikeRole};
use world::forge::Content;
use world::site::{Fate, Mode};
use world::{LEFT, Packet, RIGHT, Side, World, config};

fn at(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

const FIRST: &str = "198.51.100.1:31000";
const SECOND: &str = "198.51.100.2:32000";

/// The left side takes the mapping that its messages get from a NAT.
fn behind(world: &mut World, mapping: &str) {
    let mapping = at(mapping);
    world.loss = Box::new(move |packet| packet.to == Side::Left && packet.destination != mapping);
    world.translate = Box::new(move |packet| match packet.to {
        Side::Right => packet.source = mapping,
        Side::Left => packet.destination = SocketAddr::new(at("192.0.2.1:0").ip(), 4500),
    });
}

fn configs(change: impl Fn(&mut vipsec_ike::Connection)) -> (Config, Config) {
    let (mut left, mut right) = (config(Side::Left), config(Side::Right));
    right.connections[0].remote = RemoteAddresses::Any;
    // It is the left side that looks whether the way is still there.
    right.connections[0].dpd = None;
    change(&mut left.connections[0]);
    change(&mut right.connections[0]);
    (left, right)
}

fn up(change: impl Fn(&mut vipsec_ike::Connection), mapping: Option<&str>) -> World {
    let (left, right) = configs(change);
    let mut world = World::with(left, right);
    if let Some(mapping) = mapping {
        behind(&mut world, mapping);
    }
    world.initiate(Side::Left, "net");
    world.run();
    world.check_agreement(1, 1);
    world
}

fn addresses(world: &World) -> IkeAddresses {
    world.right.engine.ike_sas().next().expect("an IKE SA").addresses
}

/// Where the right side sends ESP, by its engine; its data path agrees.
fn esp(world: &World) -> Endpoints {
    let endpoints = world.right.engine.children().next().expect("a Child SA").sa.endpoints;
    assert!(world.right.installed.values().all(|i| i.sa.endpoints == endpoints));
    endpoints
}

fn notify(kind: NotifyType, data: &[u8]) -> Payload {
    Payload::Notify(Notify::new(kind, data.to_vec()))
}

/// A request to `to`, and the notifications that answer it.
fn request(world: &mut World, to: Side, from: &str, payloads: Vec<Payload>) -> Vec<NotifyType> {
    let id = world.site(to).ike();
    let expected = world.site(to).engine.snapshot(id).expect("it is there").mutable;
    let kind = (ExchangeType::Informational, expected.expected_request, false);
    let mut packet = world.forge(to, id, kind, Content::Payloads(payloads));
    (packet.source, packet.destination) =
        (at(from), SocketAddr::new(packet.destination.ip(), 4500));
    let before = world.sent.len();
    world.arrive(&packet);
    world.outputs();
    world.wire.clear();
    let answer = world.sent[before..].iter().find(|packet| packet.kind().2);
    let answer = answer.expect("an answer").clone();
    world.open(&answer).into_iter().map(|notify| notify.kind).collect()
}

#[test]
fn both_have_agreed_and_no_address_is_named() {
    let mut world = up(|_| (), None);
    let role = |site: &world::site::Site| {
        let view = site.engine.ike_sas().next().expect("an IKE SA");
        view.extensions.mobike
    };
    assert_eq!(role(&world.left), Some(MobikeRole::Initiator));
    assert_eq!(role(&world.right), Some(MobikeRole::Responder));
    assert_eq!(addresses(&world).remote, at("192.0.2.1:4500"), "RFC 4555 section 3.3");
    assert!(!esp(&world).encapsulated);
    for packet in world.sent.clone() {
        let named = [NotifyType::ADDITIONAL_IP4_ADDRESS, NotifyType::ADDITIONAL_IP6_ADDRESS];
        assert!(!world.open(&packet).iter().any(|notify| named.contains(&notify.kind)));
    }
    world.rekey_ike(Side::Right);
    world.run();
    assert_eq!(role(&world.left), Some(MobikeRole::Initiator), "whoever rekeys");
}

#[test]
fn not_when_one_side_does_not_want_it() {
    for side in [Side::Left, Side::Right] {
        let (mut left, mut right) = configs(|_| ());
        let unwilling = if side == Side::Left { &mut left } else { &mut right };
        unwilling.connections[0].mobike = false;
        let mut world = World::with(left, right);
        world.initiate(Side::Left, "net");
        world.run();
        for site in [&world.left, &world.right] {
            let view = site.engine.ike_sas().next().expect("an IKE SA");
            assert_eq!(view.extensions.mobike, None);
        }
        // An update without agreement is just an INFORMATIONAL.
        let update = vec![notify(NotifyType::UPDATE_SA_ADDRESSES, &[])];
        assert!(request(&mut world, Side::Right, SECOND, update).is_empty());
        assert_eq!(addresses(&world).remote.ip(), at(&format!("{LEFT}:1")).ip());
    }
}

#[test]
fn a_peer_that_moves_is_followed_once_it_is_seen_there() {
    let mut world = up(|_| (), None);
    let before = esp(&world);
    let update = vec![notify(NotifyType::UPDATE_SA_ADDRESSES, &[])];
    assert!(request(&mut world, Side::Right, SECOND, update).is_empty());
    assert_eq!(addresses(&world).remote, at(SECOND));
    assert_eq!(esp(&world), before, "not before the check");
    // The check was sent along with the answer; the peer answers it from there.
    let check = world.sent[world.sent.len() - 1].clone();
    assert_eq!((check.destination, check.kind().2), (at(SECOND), false));
    let id = world.right.ike();
    let stored = world.right.engine.snapshot(id).expect("it is there").mutable;
    let cookie = world.open(&check)[0].clone();
    assert_eq!(cookie.kind, NotifyType::COOKIE2);
    let kind = (ExchangeType::Informational, stored.next_request - 1, true);
    let answer = Content::Payloads(vec![Payload::Notify(cookie)]);
    let mut answer = world.forge(Side::Right, id, kind, answer);
    (answer.source, answer.destination) = (at(SECOND), at("192.0.2.2:4500"));
    world.arrive(&answer);
    world.outputs();
    assert_eq!(esp(&world).remote, at(SECOND));
    assert!(world.right.has_event(|e| matches!(e, Event::Moved { .. })));
}

#[test]
fn a_wrong_cookie_ends_the_sa() {
    let mut world = up(|_| (), None);
    request(&mut world, Side::Right, SECOND, vec![notify(NotifyType::UPDATE_SA_ADDRESSES, &[])]);
    let id = world.right.ike();
    let stored = world.right.engine.snapshot(id).expect("it is there").mutable;
    let kind = (ExchangeType::Informational, stored.next_request - 1, true);
    let answer = Content::Payloads(vec![notify(NotifyType::COOKIE2, &[7; 16])]);
    let answer = world.forge(Side::Right, id, kind, answer);
    world.arrive(&answer);
    world.outputs();
    let closed = |e: &Event| {
        matches!(e, Event::Closed { reason: CloseReason::ProtocolViolation("COOKIE2"), .. })
    };
    assert!(world.right.has_event(closed));
}

#[test]
fn without_the_check_esp_moves_with_the_answer() {
    let mut world = up(|connection| connection.return_routability = false, None);
    let update = vec![notify(NotifyType::UPDATE_SA_ADDRESSES, &[])];
    world.right.mode = Mode::Held;
    let before = (world.sent.len(), esp(&world));
    let id = world.right.ike();
    let kind = (ExchangeType::Informational, 2, false);
    let mut packet = world.forge(Side::Right, id, kind, Content::Payloads(update));
    (packet.source, packet.destination) = (at(SECOND), at("192.0.2.2:4500"));
    world.arrive(&packet);
    world.outputs();
    let held = world.right.installed.values().next().expect("installed").sa.endpoints;
    assert_eq!((world.sent.len(), held), before, "nothing before it is stored");
    world.right.mode = Mode::Prompt;
    world.outputs();
    assert_eq!(world.sent.len(), before.0 + 1);
    assert_eq!(esp(&world).remote, at(SECOND));
    // The answer got lost with its owner; the next one gives the very same.
    let answer = world.sent.last().expect("an answer").message.clone();
    world.take_over(Side::Right, Fate::Written);
    world.arrive(&packet);
    world.outputs();
    assert_eq!(world.sent.last().expect("an answer").message, answer);
    assert_eq!(esp(&world).remote, at(SECOND));
}

#[test]
fn what_is_not_stored_is_not_followed() {
    let mut world = up(|_| (), None);
    let before = (addresses(&world), esp(&world));
    world.right.mode = Mode::Refusing;
    let sent = world.sent.len();
    let id = world.right.ike();
    let kind = (ExchangeType::Informational, 2, false);
    let update = Content::Payloads(vec![notify(NotifyType::UPDATE_SA_ADDRESSES, &[])]);
    let mut packet = world.forge(Side::Right, id, kind, update);
    (packet.source, packet.destination) = (at(SECOND), at("192.0.2.2:4500"));
    world.arrive(&packet);
    world.outputs();
    assert_eq!((addresses(&world), esp(&world), world.sent.len()), (before.0, before.1, sent));
    world.right.mode = Mode::Prompt;
    world.arrive(&packet);
    world.outputs();
    assert_eq!(addresses(&world).remote, at(SECOND));
}

//= RFC 7296 section 2.23 #12: no new mapping does
#[test]
fn only_an_update_moves_a_peer_that_knows_mobike() {
    let mut world = up(|connection| connection.force_encapsulation = true, None);
    let before = addresses(&world);
    let probe = vec![
        notify(NotifyType::NAT_DETECTION_SOURCE_IP, &[1; 20]),
        notify(NotifyType::NAT_DETECTION_DESTINATION_IP, &[2; 20]),
        notify(NotifyType::COOKIE2, &[3; 8]),
    ];
    let answer = request(&mut world, Side::Right, SECOND, probe);
    let expected = [
        NotifyType::COOKIE2,
        NotifyType::NAT_DETECTION_SOURCE_IP,
        NotifyType::NAT_DETECTION_DESTINATION_IP,
    ];
    assert_eq!(answer, expected);
    assert_eq!(addresses(&world), before);
}

#[test]
fn addresses_that_are_not_allowed_are_refused() {
    let mut world = up(
        |connection| {
            let (left, right) = (at("192.0.2.1:0").ip(), at("192.0.2.2:0").ip());
            connection.remote = RemoteAddresses::List(vec![left, right]);
        },
        None,
    );
    let before = addresses(&world);
    let update = vec![notify(NotifyType::UPDATE_SA_ADDRESSES, &[])];
    let answer = request(&mut world, Side::Right, SECOND, update.clone());
    assert_eq!(answer, [NotifyType::UNACCEPTABLE_ADDRESSES]);
    // As initiator we are the one to say.
    assert!(request(&mut world, Side::Left, "192.0.2.2:4501", update).is_empty());
    assert_eq!(addresses(&world), before);
}

#[test]
fn a_nat_where_none_may_be() {
    let mut world = up(|connection| connection.refuse_nat = true, None);
    assert!(!esp(&world).encapsulated);
    let before = addresses(&world);
    let mut data = vec![192, 0, 2, 1, 192, 0, 2, 2];
    data.extend([4500_u16, 4500].iter().flat_map(|port| port.to_be_bytes()));
    let update = vec![
        notify(NotifyType::UPDATE_SA_ADDRESSES, &[]),
        notify(NotifyType::NO_NATS_ALLOWED, &data),
    ];
    let answer = request(&mut world, Side::Right, SECOND, update);
    assert_eq!(answer, [NotifyType::UNEXPECTED_NAT_DETECTED]);
    assert_eq!(addresses(&world), before);
    // At the beginning as well.
    let (left, right) = configs(|connection| connection.refuse_nat = true);
    let mut world = World::with(left, right);
    behind(&mut world, FIRST);
    world.initiate(Side::Left, "net");
    world.run();
    world.check_agreement(0, 0);
    let unexpected = CloseReason::PeerRefused(NotifyType::UNEXPECTED_NAT_DETECTED);
    let failed = |e: &Event| matches!(e, Event::Failed { reason, .. } if *reason == unexpected);
    assert!(world.left.has_event(failed));
}

/// The NAT in front of the left side forgets its mapping; the next check of the left side finds out.
fn remap(world: &mut World) {
    behind(world, SECOND);
    world.pass(Duration::from_secs(300));
}

#[test]
fn a_nat_that_starts_anew_is_noticed_and_told() {
    let mut world = up(|_| (), Some(FIRST));
    world.pass(Duration::from_secs(60));
    assert_eq!(esp(&world).remote, at(FIRST));
    remap(&mut world);
    assert_eq!(addresses(&world).remote, at(SECOND));
    assert_eq!(esp(&world).remote, at(SECOND));
    world.rekey_ike(Side::Left);
    world.run();
    world.check_agreement(1, 1);
    assert_eq!(esp(&world).remote, at(SECOND));
}

#[test]
fn a_takeover_at_every_step_of_a_move() {
    let run = |takeover: Option<(usize, Side, Fate)>| {
        let mut world = up(|_| (), Some(FIRST));
        world.pass(Duration::from_secs(60));
        let first = world.steps;
        world.takeover_at = takeover.map(|(step, side, fate)| (first + step, side, fate));
        remap(&mut world);
        let steps = world.steps - first;
        world.pass(Duration::from_secs(600));
        world.check_agreement(1, 1);
        assert_eq!(esp(&world).remote, at(SECOND), "{takeover:?}");
        let closed = |e: &Event| matches!(e, Event::Closed { .. });
        assert!(!world.left.has_event(closed) && !world.right.has_event(closed), "{takeover:?}");
        steps
    };
    let steps = run(None);
    assert!(steps > 20, "{steps} steps");
    for step in 0..steps {
        for side in [Side::Left, Side::Right] {
            for fate in [Fate::Written, Fate::Lost] {
                run(Some((step, side, fate)));
            }
        }
    }
}

/// Only the responder's second address can be reached any more.
fn second_way_only(world: &mut World) {
    let (second, right): (IpAddr, IpAddr) =
        ("203.0.113.7".parse().expect("an address"), RIGHT.parse().expect("an address"));
    world.loss =
        Box::new(move |packet| packet.to == Side::Right && packet.destination.ip() != second);
    world.translate = Box::new(move |packet| match packet.to {
        Side::Right => packet.destination.set_ip(right),
        Side::Left => packet.source.set_ip(second),
    });
}

#[test]
fn a_responder_that_falls_silent_is_looked_for_at_its_other_addresses() {
    for side in [None, Some(Side::Left), Some(Side::Right)] {
        let mut world = up(|_| (), None);
        let named = vec![notify(NotifyType::ADDITIONAL_IP4_ADDRESS, &[203, 0, 113, 7])];
        request(&mut world, Side::Left, "192.0.2.2:4500", named);
        // The forged request has used the ID of the right side's next one.
        second_way_only(&mut world);
        world.pass(Duration::from_secs(36));
        if let Some(side) = side {
            world.take_over(side, Fate::Lost);
        }
        world.pass(Duration::from_secs(60));
        let view = world.left.engine.ike_sas().next().expect("an IKE SA");
        assert_eq!(view.addresses.remote, at("203.0.113.7:4500"));
        assert_eq!(view.children[0].sa.endpoints.remote, at("203.0.113.7:4500"));
        let update = |packet: &Packet| packet.destination == at("203.0.113.7:4500");
        assert!(world.sent.iter().any(update));
    }
}

#[test]
fn an_update_in_a_message_that_is_not_authentic_does_nothing() {
    let mut world = up(|_| (), None);
    let id = world.right.ike();
    let kind = (ExchangeType::Informational, 2, false);
    let update = Content::Payloads(vec![notify(NotifyType::UPDATE_SA_ADDRESSES, &[])]);
    let mut packet = world.forge(Side::Right, id, kind, update);
    packet.source = at(SECOND);
    *packet.message.last_mut().expect("a message") ^= 1;
    let before = addresses(&world);
    world.arrive(&packet);
    world.outputs();
    assert_eq!(addresses(&world), before);
    assert!(Message::parse(&packet.message).is_ok());
}

#[test]
fn a_responder_that_says_that_it_has_moved_is_followed() {
    let mut world = up(|_| (), None);
    let gone = vec![notify(NotifyType::NO_ADDITIONAL_ADDRESSES, &[])];
    let there = "203.0.113.7:4500";
    assert!(request(&mut world, Side::Left, there, gone).is_empty());
    let update = world.sent.last().expect("an update").clone();
    assert_eq!((update.destination, update.kind().2), (at(there), false));
    assert!(world.open(&update).iter().any(|n| n.kind == NotifyType::UPDATE_SA_ADDRESSES));
    let esp = world.left.engine.children().next().expect("a Child SA").sa.endpoints;
    assert_eq!(esp.remote, at("192.0.2.2:4500"), "not before the answer");
    second_way_only(&mut world);
    world.pass(Duration::from_secs(10));
    let esp = world.left.engine.children().next().expect("a Child SA").sa.endpoints;
    assert_eq!(esp.remote, at(there));
}
