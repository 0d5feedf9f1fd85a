//! Demands of RFC 7296 on what both sides say, one by one, that no test of a whole exchange shows.

mod world;

use core::net::SocketAddr;
use core::time::Duration;
use std::collections::BTreeSet;
use vipsec_ike::{Change, CloseReason, Event};
use vipsec_wire::ike::{
    Attribute, Configuration, ConfigurationType, ExchangeType, Group, Message, Notify, NotifyType,
    Payload, PayloadType, VendorId,
};
use world::forge::Content;
use world::{Packet, Side, World, config, fixed, net};

fn first_message() -> (World, Packet) {
    with_first_message(World::new())
}

fn with_first_message(mut world: World) -> (World, Packet) {
    world.initiate(Side::Left, "net");
    world.outputs();
    let packet = world.lose(Side::Right);
    (world, packet)
}

fn address(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

/// What the right side answers, in clear.
fn answer(world: &mut World, packet: &Packet) -> Option<(Packet, Message)> {
    world.arrive(packet);
    world.outputs();
    let answer = world.wire.pop_front()?;
    let message = Message::parse(&answer.message).expect("a message");
    Some((answer, message))
}

fn changed(packet: &Packet, change: impl FnOnce(&mut Vec<Payload>)) -> Packet {
    let mut message = Message::parse(&packet.message).expect("a message");
    change(&mut message.payloads);
    Packet { message: message.emit(), ..packet.clone() }
}

fn is_accepted(message: &Message) -> bool {
    message.payloads.iter().any(|payload| matches!(payload, Payload::SecurityAssociation(_)))
}

/// A request under the IKE SA in use, from the left side to the right one, and whether it is
/// answered.
fn ask(world: &mut World, exchange: ExchangeType, payloads: Vec<Payload>) -> Option<Vec<Payload>> {
    let id = world.left.ike();
    let theirs = world.right.ike();
    let next = world.right.engine.snapshot(theirs).expect("it is there").mutable.expected_request;
    let content = Content::Payloads(payloads);
    let message = world.forge_from(Side::Left, id, (exchange, next, false), content);
    let [source, destination] = ["192.0.2.1:500", "192.0.2.2:500"].map(address);
    world.arrive(&Packet { to: Side::Right, source, destination, message });
    world.outputs();
    let answer = world.wire.pop_front()?;
    Some(world.open_at(Side::Left, id, &answer.message))
}

#[test]
fn the_order_of_payloads_does_not_matter() {
    let (mut world, packet) = first_message();
    //= RFC 7296 section 2.5 #13: in whatever order they stand
    let reversed = changed(&packet, |payloads| payloads.reverse());
    let (_, message) = answer(&mut world, &reversed).expect("an answer");
    assert!(is_accepted(&message));
}

#[test]
fn large_messages_and_unknown_vendors_are_no_trouble() {
    let (mut world, packet) = first_message();
    //= RFC 7296 section 2 #1: more than 1280 octets
    //= RFC 7296 section 3.12 #2: Vendor IDs are ignored
    let large = changed(&packet, |payloads| {
        payloads.insert(0, Payload::Vendor(VendorId(vec![7; 1500])));
        payloads.push(Payload::Vendor(VendorId(vec![7; 1500])));
    });
    assert!(large.message.len() > 3000);
    let (_, message) = answer(&mut world, &large).expect("an answer");
    assert!(is_accepted(&message));
}

#[test]
fn answers_go_back_to_where_requests_come_from() {
    let (mut world, packet) = first_message();
    for (port, at) in [(1, "192.0.2.2:500"), (61_000, "192.0.2.2:4500")] {
        let source = SocketAddr::new(packet.source.ip(), port);
        let (to, destination) = (packet.to, at.parse().unwrap());
        //= RFC 7296 section 2.11 #1: from any port
        //= RFC 7296 section 2.23 #2: from any port, and to that port
        let elsewhere = Packet { to, source, destination, message: packet.message.clone() };
        let (answer, _) = answer(&mut world, &elsewhere).expect("an answer");
        //= RFC 7296 section 2.11 #2: back to where it came from
        assert_eq!(answer.destination, elsewhere.source);
        //= RFC 7296 section 2.11 #3: from where it went to
        assert_eq!(answer.source, elsewhere.destination);
    }
}

#[test]
fn a_request_with_a_cookie_is_the_former_one_with_a_cookie() {
    let mut right = config(Side::Right);
    right.limits.half_open_cookie_threshold = 0;
    let (mut world, packet) = with_first_message(World::with(config(Side::Left), right));
    world.arrive(&packet);
    world.outputs();
    world.deliver(Side::Left);
    world.outputs();
    let again = Message::parse(&world.lose(Side::Right).message).expect("a message");
    let first = Message::parse(&packet.message).expect("a message");
    //= RFC 7296 section 2.6 #3: the cookie first, and all else as it was
    let [Payload::Notify(cookie), rest @ ..] = again.payloads.as_slice() else {
        panic!("{again:?}")
    };
    assert_eq!(cookie.kind, NotifyType::COOKIE);
    //= RFC 7296 section 2.6 #2: 1 to 64 octets
    assert!((1..=64).contains(&cookie.data.len()));
    assert_eq!((rest, again.header), (first.payloads.as_slice(), first.header));
    //= RFC 7296 section 3.1 #4: nobody knows the responder's SPI yet
    assert_eq!(again.header.spis.responder, 0);
}

#[test]
fn a_cookie_and_another_group_may_both_be_wanted() {
    let mut right = config(Side::Right);
    right.limits.half_open_cookie_threshold = 0;
    right.connections[0].proposals.truncate(1);
    right.connections[0].proposals[0].groups = vec![Group::Modp2048];
    let left = config(Side::Left);
    let proposals = left.connections[0].proposals.len();
    let mut world = World::with(left, right);
    world.initiate(Side::Left, "net");
    world.run();
    //= RFC 7296 section 2.6.1 #1: a cookie, another group, perhaps another cookie
    world.check_agreement(1, 1);
    let requests = world.sent.iter().filter(|p| p.kind() == (ExchangeType::IkeSaInit, 0, false));
    let offers = requests.map(|packet| {
        let message = Message::parse(&packet.message).expect("a message");
        let offer = message.payloads.into_iter().find_map(|payload| match payload {
            Payload::SecurityAssociation(sa) => Some(sa),
            _ => None,
        });
        offer.expect("an offer")
    });
    let offers: Vec<_> = offers.collect();
    assert!(offers.len() >= 3);
    //= RFC 7296 section 1.2 #4: with the group that is wanted
    //= RFC 7296 section 1.2 #5: everything is offered again
    assert!(offers.iter().all(|offer| *offer == offers[0]));
    assert_eq!(offers[0].proposals.len(), proposals);
}

#[test]
fn nonces_are_long_and_never_the_same() {
    let mut nonces = BTreeSet::new();
    let mut spis = BTreeSet::new();
    for seed in 1..50 {
        let mut world = World::new();
        world.rng = world::Seeded(seed);
        world.initiate(Side::Left, "net");
        world.run();
        for packet in world.sent.iter().filter(|p| p.kind().0 == ExchangeType::IkeSaInit) {
            let message = Message::parse(&packet.message).expect("a message");
            spis.insert(match message.header.response {
                true => message.header.spis.responder,
                false => message.header.spis.initiator,
            });
            for payload in message.payloads {
                if let Payload::Nonce(nonce) = payload {
                    //= RFC 7296 section 2.10 #2: 128 bits at least
                    //= RFC 7296 section 2.10 #3: half of 512 at least
                    assert!(nonce.0.len() >= 32);
                    //= RFC 7296 section 2.10 #1: at random
                    //= RFC 7296 section 3.9 #2: none comes again
                    assert!(nonces.insert(nonce.0));
                }
            }
        }
    }
    //= RFC 7296 section 2.6 #1: each SPI names one IKE SA
    assert_eq!((nonces.len(), spis.len()), (98, 98));
}

#[test]
fn a_repetition_is_the_request_to_the_bit() {
    let mut world = World::established();
    world.sent.clear();
    world.loss = Box::new(|_| true);
    world.rekey_child(Side::Left);
    world.pass(Duration::from_secs(5));
    assert!(world.sent.len() > 2);
    //= RFC 7296 section 2.1 #7: to the bit
    //= RFC 7296 section 2.2 #1: with its message ID
    assert!(world.sent.iter().all(|packet| packet.message == world.sent[0].message));
}

#[test]
fn nothing_but_ike_auth_makes_an_ike_sa() {
    let (mut world, packet) = first_message();
    world.arrive(&packet);
    world.outputs();
    let response = world.lose(Side::Left).message;
    let half_open = world.right.engine.half_open_count();
    for exchange in [36, 37] {
        let mut message = packet.message.clone();
        message[8..16].copy_from_slice(&response[8..16]);
        message[18] = exchange;
        //= RFC 7296 section 1 #1: not before it is complete
        //= RFC 7296 section 1.4 #1: not before the initial exchanges
        world.arrive(&Packet { message, ..packet.clone() });
        world.outputs();
        assert!(world.wire.is_empty());
    }
    assert_eq!(world.right.engine.half_open_count(), half_open);
}

#[test]
fn an_unprotected_notification_is_not_answered_whatever_it_holds() {
    let (mut world, packet) = first_message();
    let mut message = packet.message.clone();
    message[16] = 200;
    message[18] = 37;
    let length = u32::try_from(message.len() + 4).unwrap().to_be_bytes();
    message.splice(28..28, [33, 0x80, 0, 4]);
    message[24..28].copy_from_slice(&length);
    //= RFC 7296 section 1.5 #1: no answer, which could lead to another
    //= RFC 7296 section 2.21.4 #5: likewise
    world.arrive(&Packet { message, ..packet });
    world.outputs();
    assert!(world.wire.is_empty());
}

#[test]
fn a_request_for_our_version_is_answered_without_it() {
    let mut world = World::established();
    let attributes = vec![Attribute::ApplicationVersion(Vec::new())];
    let configuration = |kind, attributes: &[_]| {
        let attributes = attributes.to_vec();
        vec![Payload::Configuration(Configuration { kind, attributes })]
    };
    let asked = configuration(ConfigurationType::Request, &attributes);
    //= RFC 7296 section 2.20 #1: an empty string
    //= RFC 7296 section 1.4 #4: there is an answer
    let answer = configuration(ConfigurationType::Reply, &attributes);
    assert_eq!(ask(&mut world, ExchangeType::Informational, asked), Some(answer));
}

#[test]
fn a_configuration_that_is_pushed_is_not_accepted() {
    let mut world = World::established();
    let attributes = vec![Attribute::Other(5, vec![1, 2, 3, 4])];
    let kind = ConfigurationType::Set;
    let pushed = vec![Payload::Configuration(Configuration { kind, attributes })];
    //= RFC 7296 section 3.15 #8: nothing of it is acknowledged
    //= RFC 7296 section 3.15 #9: by an answer without CFG_ACK
    //= RFC 7296 section 1.7 #1: attribute 5 does nothing
    assert_eq!(ask(&mut world, ExchangeType::Informational, pushed), Some(Vec::new()));
}

#[test]
fn notifications_of_trouble_change_nothing() {
    let mut world = World::established();
    let before = world.right.engine.children().count();
    for kind in [NotifyType::INVALID_SPI, NotifyType::INVALID_IKE_SPI, NotifyType(8191)] {
        let payload = Payload::Notify(Notify::new(kind, vec![1, 2, 3, 4]));
        //= RFC 7296 section 2.21.4 #7: suspicious messages are the peer's affair
        //= RFC 7296 section 3.10.1 #2: unknown errors of a request are ignored
        assert_eq!(ask(&mut world, ExchangeType::Informational, vec![payload]), Some(Vec::new()));
    }
    let status = Payload::Notify(Notify::new(NotifyType(40_000), Vec::new()));
    //= RFC 7296 section 3.10.1 #3: and unknown status notifications
    assert_eq!(ask(&mut world, ExchangeType::Informational, vec![status]), Some(Vec::new()));
    assert_eq!(world.right.engine.ike_sa_count(), 1);
    assert_eq!(world.right.engine.children().count(), before);
}

#[test]
fn every_request_under_an_ike_sa_is_answered() {
    for exchange in [ExchangeType::IkeAuth, ExchangeType::CreateChildSa, ExchangeType::Other(200)] {
        let mut world = World::established();
        let answer = ask(&mut world, exchange, vec![Payload::Vendor(VendorId(vec![1]))]);
        let error = Payload::Notify(Notify::new(NotifyType::INVALID_SYNTAX, Vec::new()));
        //= RFC 7296 section 2.21.3 #1: with an error if it has one
        //= RFC 7296 section 3.10.1 #4: INVALID_SYNTAX where there is no other
        assert_eq!(answer, Some(vec![error]), "{exchange:?}");
    }
}

#[test]
fn an_unknown_error_in_a_response_means_that_the_request_has_failed() {
    let mut world = World::established();
    world.rekey_child(Side::Left);
    world.outputs();
    world.deliver(Side::Right);
    world.outputs();
    let response = world.lose(Side::Left);
    let id = world.left.ike();
    let mut payloads = world.open_at(Side::Left, id, &response.message);
    payloads.push(Payload::Notify(Notify::new(NotifyType(8191), Vec::new())));
    let kind = response.kind();
    let forged = world.forge(Side::Left, id, kind, Content::Payloads(payloads));
    //= RFC 7296 section 3.10.1 #1: whatever else is in it
    world.arrive(&forged);
    world.outputs();
    assert_eq!(world.left.history.len(), 1, "nothing was made of it");
    let failed = |e: &Event| matches!(e, Event::ChildFailed { error: NotifyType(8191), .. });
    assert!(world.left.has_event(failed));
}

#[test]
fn the_first_selectors_of_an_offer_are_in_the_answer_if_any_child_allows_them() {
    let (mut left, mut right) = (config(Side::Left), config(Side::Right));
    let precise = net("10.2.9.7/32");
    let first = vipsec_ike::Selector::Fixed(precise);
    left.connections[0].children[0].remote = vec![first, fixed("10.0.0.0/8")];
    right.connections[0].children[0].local = vec![fixed("10.2.0.0/24")];
    right.connections[0].children[1].local = vec![fixed("10.2.9.0/24")];
    let mut world = World::with(left, right);
    world.initiate(Side::Left, "net");
    world.run();
    let child = world.left.engine.children().next().expect("a Child SA").sa;
    //= RFC 7296 section 2.9 #1: the packet that wants the SA can pass
    assert!(child.remote.iter().any(|selector| precise.is_subset_of(selector)), "{child:?}");
}

#[test]
fn esp_is_not_encapsulated_on_port_500() {
    let mut left = config(Side::Left);
    left.connections[0].force_encapsulation = true;
    let mut world = World::with(left, config(Side::Right));
    world.begin();
    // The peer has found a NAT, or pretends to, and stays where it was.
    let mut request = world.lose(Side::Right);
    request.source.set_port(500);
    request.destination.set_port(500);
    world.arrive(&request);
    world.outputs();
    let endpoints = world.right.engine.children().next().expect("a Child SA").sa.endpoints;
    //= RFC 7296 section 2.23 #4: not on port 500
    assert!(!(endpoints.encapsulated && endpoints.local.port() == 500), "{endpoints:?}");
}

#[test]
fn an_ike_sa_whose_message_ids_run_out_is_rekeyed() {
    let mut world = World::established();
    let old = world.left.ike();
    let mut worn = world.left.engine.snapshot(old).expect("it is there").mutable;
    worn.next_request = u32::MAX - 5;
    world.left.store.write(&[Change::IkeMutable { id: old, state: Box::new(worn) }]);
    let mut twin = world.right.engine.snapshot(world.right.ike()).expect("it is there").mutable;
    twin.expected_request = u32::MAX - 5;
    let id = world.right.ike();
    world.right.store.write(&[Change::IkeMutable { id, state: Box::new(twin) }]);
    world.take_over(Side::Left, world::site::Fate::Lost);
    world.take_over(Side::Right, world::site::Fate::Lost);
    world.pass(Duration::from_secs(60));
    //= RFC 7296 section 2.2 #2: before they are used up
    assert_ne!(world.left.ike(), old);
    world.check_agreement(1, 1);
}

#[test]
fn a_content_that_cannot_be_read_ends_the_ike_sa_on_both_sides() {
    let mut world = World::established();
    let id = world.left.ike();
    let next = world.left.engine.snapshot(id).expect("it is there").mutable.next_request;
    let broken = Content::Bytes(PayloadType::DELETE, vec![0, 0, 0, 1]);
    let kind = (ExchangeType::Informational, next, false);
    let message = world.forge_from(Side::Left, id, kind, broken);
    let [source, destination] = ["192.0.2.1:500", "192.0.2.2:500"].map(address);
    world.arrive(&Packet { to: Side::Right, source, destination, message });
    world.outputs();
    let answer = world.wire.pop_front().expect("an answer");
    let error = Payload::Notify(Notify::new(NotifyType::INVALID_SYNTAX, Vec::new()));
    //= RFC 7296 section 2.21.3 #1: what cannot be read is answered as well
    assert_eq!(world.open_at(Side::Left, id, &answer.message), vec![error]);
    let wrong =
        |e: &Event| matches!(e, Event::Closed { reason: CloseReason::ProtocolViolation(_), .. });
    assert!(world.right.has_event(wrong));
}
