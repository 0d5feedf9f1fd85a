//! What peers may want and get: addresses, selectors, modes, NAT, and what is refused to them.

mod world;

use core::net::IpAddr;
use core::time::Duration;
use vipsec_esp::Mode;
use vipsec_ike::{
    Activity, AddressRequest, Authentication, CloseReason, Config, Duplicates, Event, IkeProposal,
    Pool, PresharedKey, RemoteAddresses, Selector, Start,
};
use vipsec_wire::ike::{ExchangeType, Group, NotifyType, TrafficSelector};
use world::{Side, World, config, fixed, fqdn, net};

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// The right side gives addresses, the left one asks for them.
fn road_warrior(requests: &[AddressRequest]) -> (Config, Config) {
    let (mut left, mut right) = (config(Side::Left), config(Side::Right));
    let pool = |first, last| Pool::new("p", ip(first), ip(last));
    let gateway = &mut right.connections[0];
    gateway.pools = vec![pool("10.77.0.10", "10.77.0.12"), pool("2001:db8::10", "2001:db8::12")];
    gateway.children.truncate(1);
    gateway.children[0].remote = vec![Selector::Dynamic];
    gateway.children[0].local = vec![fixed("10.2.0.0/16"), fixed("2001:db8:2::/48")];
    let client = &mut left.connections[0];
    client.request_addresses = requests.to_vec();
    client.children.truncate(1);
    client.children[0].local = vec![Selector::Dynamic];
    client.children[0].remote = vec![fixed("10.2.0.0/16"), fixed("2001:db8:2::/48")];
    (left, right)
}

fn up(left: Config, right: Config) -> World {
    let mut world = World::with(left, right);
    world.initiate(Side::Left, "net");
    world.run();
    world
}

fn refused(world: &World) -> Option<NotifyType> {
    world.left.events.iter().find_map(|event| match event {
        Event::ChildFailed { error, .. } => Some(*error),
        Event::Failed { reason: CloseReason::PeerRefused(error), .. } => Some(*error),
        _ => None,
    })
}

//= RFC 7296 section 2.19 #1: asked for in IKE_AUTH
//= RFC 7296 section 4 #6: in the first request
//= RFC 7296 section 4 #7: which is read
//= RFC 7296 section 4 #8: and granted by family
#[test]
fn a_peer_gets_addresses_of_both_families_and_selectors_for_them() {
    let (left, right) = road_warrior(&[AddressRequest::Ipv4, AddressRequest::Ipv6]);
    let mut world = up(left, right);
    world.check_agreement(1, 1);
    let view = world.left.engine.ike_sas().next().unwrap();
    assert_eq!(view.obtained, vec![ip("10.77.0.10"), ip("2001:db8::10")]);
    let child = &view.children[0].sa;
    let own = view.obtained.iter().map(|address| TrafficSelector::host(*address));
    assert_eq!(child.local, own.collect::<Vec<_>>());
    assert_eq!(child.remote, vec![net("10.2.0.0/16"), net("2001:db8:2::/48")]);
    world.rekey_child(Side::Right);
    world.run();
    world.rekey_ike(Side::Left);
    world.run();
    world.rekey_child(Side::Left);
    world.run();
    world.check_agreement(1, 1);
    let view = world.right.engine.ike_sas().next().unwrap();
    assert_eq!(view.assigned, vec![ip("10.77.0.10"), ip("2001:db8::10")]);
}

#[test]
fn a_peer_gets_the_address_that_it_names_and_has_it_back_later() {
    let wish = ip("10.77.0.12");
    let (left, right) = road_warrior(&[AddressRequest::This(wish)]);
    let mut world = up(left, right);
    assert_eq!(world.left.engine.ike_sas().next().unwrap().obtained, vec![wish]);
    world.terminate_ike(Side::Left);
    world.run();
    world.check_agreement(0, 0);
    let (left, _) = road_warrior(&[AddressRequest::Ipv4]);
    world.left = world::site::Site::new(Side::Left, left, world.now, &mut world.rng);
    world.initiate(Side::Left, "net");
    world.run();
    world.check_agreement(1, 1);
    assert_eq!(world.left.engine.ike_sas().next().unwrap().obtained, vec![wish]);
}

//= RFC 7296 section 2.19 #6: FAILED_CP_REQUIRED
//= RFC 7296 section 2.21.2 #3: the IKE SA is there all the same
#[test]
fn an_exhausted_pool_and_a_missing_request_leave_the_ike_sa_without_child() {
    let (left, mut right) = road_warrior(&[AddressRequest::Ipv4]);
    right.connections[0].pools.remove(0);
    let mut world = up(left, right);
    assert_eq!(refused(&world), Some(NotifyType::INTERNAL_ADDRESS_FAILURE));
    world.check_agreement(1, 0);
    let (left, right) = road_warrior(&[]);
    let mut world = up(left, right);
    assert_eq!(refused(&world), Some(NotifyType::FAILED_CP_REQUIRED));
    world.check_agreement(1, 0);
}

//= RFC 7296 section 3.13.1 #1: all ports are offered as 0
//= RFC 7296 section 3.13.1 #2: to 65535
#[test]
fn selectors_are_narrowed_to_what_both_want() {
    let (mut left, right) = (config(Side::Left), config(Side::Right));
    left.connections[0].children[0].remote = vec![fixed("0.0.0.0/0")];
    left.connections[0].children[0].local = vec![fixed("10.1.7.0/24"), fixed("172.16.0.0/12")];
    let mut world = up(left, right);
    world.check_agreement(1, 1);
    let child = world.left.engine.children().next().unwrap().sa;
    assert_eq!((child.local, child.remote), (vec![net("10.1.7.0/24")], vec![net("10.2.0.0/16")]));
}

#[test]
fn selectors_without_common_part_are_refused() {
    let (mut left, right) = (config(Side::Left), config(Side::Right));
    left.connections[0].children[0].remote = vec![fixed("10.3.0.0/16")];
    let mut world = up(left, right);
    assert_eq!(refused(&world), Some(NotifyType::TS_UNACCEPTABLE));
    world.check_agreement(1, 0);
}

//= RFC 7296 section 1.3.1 #1: agreed to by both
//= RFC 7296 section 1.3.1 #2: what is not of the mode that is wanted gets deleted
#[test]
fn transport_mode_when_both_want_it() {
    let transport = |side, mode| {
        let mut config = config(side);
        let child = &mut config.connections[0].children[0];
        (child.mode, child.local, child.remote) =
            (mode, vec![Selector::Dynamic], vec![Selector::Dynamic]);
        config.connections[0].children.truncate(1);
        config
    };
    for initiator in [Side::Left, Side::Right] {
        let mut world = World::with(
            transport(Side::Left, Mode::Transport),
            transport(Side::Right, Mode::Transport),
        );
        world.initiate(initiator, "net");
        world.run();
        world.rekey_child(initiator.other());
        world.run();
        world.check_agreement(1, 1);
        assert_eq!(world.left.engine.children().next().unwrap().sa.mode, Mode::Transport);
    }
    // Only one of the two: there is no Child SA, whichever it is.
    for (left, right) in [(Mode::Tunnel, Mode::Transport), (Mode::Transport, Mode::Tunnel)] {
        let mut world = up(transport(Side::Left, left), transport(Side::Right, right));
        world.check_agreement(1, 0);
        assert!(refused(&world).is_some());
    }
}

//= RFC 7296 section 2.23 #3: on port 4500
//= RFC 7296 section 2.23 #6: ESP in UDP
//= RFC 7296 section 2.23 #8: by what both have sent
//= RFC 7296 section 2.23 #9: and compared
//= RFC 7296 section 2.23 #10: IKE and ESP alike
#[test]
fn a_pretended_nat_has_esp_encapsulated_and_moves_to_the_other_port() {
    for side in [Side::Left, Side::Right] {
        let mut configs = [config(Side::Left), config(Side::Right)];
        configs[usize::from(side == Side::Right)].connections[0].force_encapsulation = true;
        let [left, right] = configs;
        let mut world = up(left, right);
        world.check_agreement(1, 1);
        let endpoints = world.left.engine.children().next().unwrap().sa.endpoints;
        assert!(endpoints.encapsulated);
        assert_eq!((endpoints.local.port(), endpoints.remote.port()), (4500, 4500));
        // There is no mapping of ours to be kept alive.
        assert!(!endpoints.local_nat);
        assert!(world.right.engine.children().all(|view| !view.sa.endpoints.local_nat));
    }
}

/// As [`World::run`], with the right side at another address than the left one knows.
fn run_behind_nat(world: &mut World) {
    world.outputs();
    while let Some(mut packet) = world.wire.pop_front() {
        match packet.to {
            Side::Right => packet.destination.set_ip(ip("10.0.0.2")),
            Side::Left => packet.source.set_ip(ip(world::RIGHT)),
        }
        world.arrive(&packet);
        world.outputs();
    }
}

#[test]
fn behind_a_nat_of_our_own_nobody_is_followed() {
    let (mut left, right) = (config(Side::Left), config(Side::Right));
    left.connections[0].force_encapsulation = true;
    left.connections[0].mobike = false;
    let mut world = World::with(left, right);
    world.initiate(Side::Left, "net");
    run_behind_nat(&mut world);
    let addresses = |world: &World| world.right.engine.ike_sas().next().unwrap().addresses;
    let before = addresses(&world);
    assert!(before.local_nat && before.remote_nat);
    assert_eq!(before.local, "10.0.0.2:4500".parse().unwrap());
    let elsewhere = "192.0.2.1:61000".parse().unwrap();
    world.rekey_child(Side::Left);
    world.outputs();
    let mut request = world.lose(Side::Right);
    (request.source, request.destination) = (elsewhere, before.local);
    world.arrive(&request);
    world.outputs();
    assert_eq!(addresses(&world), before);
    let (now, family) = (world.now, world.right.engine.ike_sas().next().unwrap().family);
    world.right.engine.handle_mapping(now, family, elsewhere);
    assert_eq!(addresses(&world), before);
}

#[test]
fn a_peer_behind_a_nat_is_followed_after_authentic_messages_only() {
    let (mut left, right) = (config(Side::Left), config(Side::Right));
    left.connections[0].force_encapsulation = true;
    left.connections[0].mobike = false;
    let mut world = up(left, right);
    let family = world.right.engine.ike_sas().next().unwrap().family;
    let elsewhere = "192.0.2.1:61000".parse().unwrap();
    world.rekey_child(Side::Left);
    world.outputs();
    let mut request = world.lose(Side::Right);
    request.source = elsewhere;
    let mut forged = request.clone();
    *forged.message.last_mut().unwrap() ^= 1;
    world.arrive(&forged);
    world.outputs();
    let remote = |world: &World| world.right.engine.ike_sas().next().unwrap().addresses.remote;
    assert_ne!(remote(&world), elsewhere);
    world.arrive(&request);
    world.outputs();
    assert_eq!(remote(&world), elsewhere);
    assert!(world.right.installed.values().all(|i| i.sa.endpoints.remote == elsewhere));
    let again = "192.0.2.1:61001".parse().unwrap();
    let now = world.now;
    world.right.engine.handle_mapping(now, family, again);
    world.outputs();
    assert_eq!(remote(&world), again);
    assert!(world.right.installed.values().all(|i| i.sa.endpoints.remote == again));
    world.take_over(Side::Right, world::site::Fate::Lost);
    assert_eq!(remote(&world), again);
}

#[test]
fn a_late_message_under_a_replaced_ike_sa_moves_no_esp() {
    let (mut left, right) = (config(Side::Left), config(Side::Right));
    left.connections[0].force_encapsulation = true;
    left.connections[0].mobike = false;
    let mut world = up(left, right);
    world.rekey_ike(Side::Left);
    world.outputs();
    world.deliver(Side::Right);
    world.outputs();
    world.deliver(Side::Left);
    world.outputs();
    let mut delete = world.lose(Side::Right);
    delete.source = "192.0.2.1:61000".parse().unwrap();
    let before = world.right.engine.children().next().unwrap().sa.endpoints;
    world.arrive(&delete);
    world.run();
    world.check_agreement(1, 1);
    assert_eq!(world.right.engine.children().next().unwrap().sa.endpoints, before);
    assert!(world.right.installed.values().all(|i| i.sa.endpoints == before));
}

#[test]
fn a_peer_that_starts_over_replaces_its_old_ike_sa() {
    let mut world = World::established();
    world.left = world::site::Site::new(Side::Left, config(Side::Left), world.now, &mut world.rng);
    world.initiate(Side::Left, "net");
    world.run();
    world.check_agreement(1, 1);
    let replaced = |e: &Event| matches!(e, Event::Closed { reason: CloseReason::Replaced, .. });
    assert!(world.right.has_event(replaced));
}

#[test]
fn several_peers_may_share_an_identity_when_that_is_wanted() {
    let mut right = config(Side::Right);
    right.connections[0].duplicates = Duplicates::Keep;
    let mut world = up(config(Side::Left), right);
    world.left = world::site::Site::new(Side::Left, config(Side::Left), world.now, &mut world.rng);
    world.initiate(Side::Left, "net");
    world.run();
    assert_eq!(world.right.engine.ike_sa_count(), 2);
}

//= RFC 7296 section 2.4 #2: in the first IKE_AUTH request alone
#[test]
fn a_second_connection_to_the_same_peer_is_no_initial_contact() {
    let mut left = config(Side::Left);
    left.connections.push(left.connections[0].clone());
    left.connections[1].name = "d".to_owned();
    let mut world = up(left, config(Side::Right));
    let now = world.now;
    world.left.engine.initiate(now, "d", "net", &mut world.rng).expect("configured");
    world.run();
    // The peer replaces the first one, and says so, since nobody has said that it is forgotten.
    world.check_agreement(1, 1);
}

//= RFC 7296 section 1.2 #3: the identity and the key belong together
#[test]
fn the_holder_of_one_key_cannot_be_somebody_else() {
    let mut left = config(Side::Left);
    left.connections[0].remote_id = None;
    let key = PresharedKey { remote: fqdn("somebody"), key: b"a shared key"[..].into() };
    left.connections[0].authentication = Authentication::Psk(vec![key]);
    let mut world = up(left, config(Side::Right));
    world.check_agreement(0, 0);
    let failed =
        |e: &Event| matches!(e, Event::Failed { reason: CloseReason::AuthenticationFailed, .. });
    assert!(world.left.has_event(failed));
}

//= RFC 7296 section 1.2 #2: AUTH is checked
#[test]
fn wrong_key_and_unknown_identity_look_the_same() {
    let mut answers = Vec::new();
    for (key, identity) in [(&b"wrong"[..], "left"), (&b"a shared key"[..], "mallory")] {
        let mut left = config(Side::Left);
        left.connections[0].authentication = Authentication::psk(key);
        left.connections[0].local_id = fqdn(identity);
        let mut world = up(left, config(Side::Right));
        assert_eq!(refused(&world), Some(NotifyType::AUTHENTICATION_FAILED));
        world.check_agreement(0, 0);
        assert_eq!(world.right.store.writes, 0);
        answers.push(world.sent.last().unwrap().message.len());
    }
    assert_eq!(answers[0], answers[1]);
}

#[test]
fn a_responder_that_cannot_prove_itself_is_told_so() {
    let mut left = config(Side::Left);
    left.connections[0].remote_id = fqdn("somebody else");
    let mut right = config(Side::Right);
    right.connections[0].local_id = None;
    right.connections.push(right.connections[0].clone());
    right.connections[0].local_id = fqdn("somebody else");
    right.connections[1].name = "d".to_owned();
    let mut world = up(left, right.clone());
    world.check_agreement(1, 1);
    // The initiator takes any answer, but the identity is not the one that it wants.
    let mut left = config(Side::Left);
    left.connections[0].remote_id = None;
    left.connections[0].authentication = Authentication::psk(b"other");
    right.connections[0].authentication = Authentication::psk(b"other");
    let world = up(left, right);
    assert!(world.left.has_event(|e| matches!(e, Event::Established { .. })));
}

//= RFC 7296 section 2.7 #3: all are refused
//= RFC 7296 section 3.3.4 #1: as the configuration has it
//= RFC 7296 section 3.3.4 #3: what that does not allow
#[test]
fn no_common_proposal_is_believed_only_after_a_while() {
    let mut left = config(Side::Left);
    left.connections[0].proposals = IkeProposal::usual()[1..].to_vec();
    let mut right = config(Side::Right);
    right.connections[0].proposals = IkeProposal::usual()[..1].to_vec();
    let mut world = up(left, right);
    assert_eq!(refused(&world), None);
    world.pass(Duration::from_secs(2));
    assert_eq!(refused(&world), Some(NotifyType::NO_PROPOSAL_CHOSEN));
}

//= RFC 7296 section 1.2 #4: again with the group that is wanted
//= RFC 7296 section 3.4 #4: after INVALID_KE_PAYLOAD
#[test]
fn the_first_group_need_not_be_the_right_one() {
    let mut right = config(Side::Right);
    right.connections[0].proposals[0].groups = vec![Group::Modp2048];
    right.connections[0].proposals.truncate(1);
    let mut world = up(config(Side::Left), right);
    world.check_agreement(1, 1);
    assert_eq!(world.sent.iter().filter(|p| p.kind().0 == ExchangeType::IkeSaInit).count(), 4);
    let view = world.left.engine.ike_sas().next().unwrap();
    assert_eq!(view.algorithms.group, Group::Modp2048);
}

//= RFC 7296 section 3.14 #5: padded to blocks, or not at all
//= RFC 7296 section 3.14 #4: under any IV
#[test]
fn every_usual_algorithm_works() {
    for ike in IkeProposal::usual() {
        for encryption in &ike.encryption {
            for prf in &ike.prf {
                let mut left = config(Side::Left);
                let mut one = ike.clone();
                (one.encryption, one.prf) = (vec![*encryption], vec![*prf]);
                one.groups = vec![Group::EcpP256];
                left.connections[0].proposals = vec![one];
                for esp in &mut left.connections[0].children[0].proposals {
                    esp.encryption.retain(|e| e == encryption);
                }
                let mut right = config(Side::Right);
                right.connections[0].proposals = IkeProposal::usual();
                let mut world = up(left, right);
                world.rekey_ike(Side::Right);
                world.run();
                world.rekey_child(Side::Right);
                world.run();
                world.check_agreement(1, 1);
                let view = world.left.engine.ike_sas().next().unwrap();
                assert_eq!((view.algorithms.encryption, view.algorithms.prf), (*encryption, *prf));
            }
        }
    }
}

#[test]
fn traffic_of_the_peer_saves_liveness_checks() {
    let mut world = World::established();
    let family = world.left.engine.ike_sas().next().unwrap().family;
    let family_right = world.right.engine.ike_sas().next().unwrap().family;
    let before = world.sent.len();
    for _ in 0..20 {
        world.pass(Duration::from_secs(10));
        let activity = |ike| Activity { ike, last_inbound: world.now, last_outbound: world.now };
        world.left.engine.handle_activity(&[activity(family)]);
        world.right.engine.handle_activity(&[activity(family_right)]);
    }
    assert_eq!(world.sent.len(), before);
}

#[test]
fn what_is_to_be_up_is_brought_up_and_kept_up() {
    let mut left = config(Side::Left);
    left.connections[0].start = Start::AtStart;
    let mut world = World::with(left, config(Side::Right));
    world.pass(Duration::from_secs(10));
    world.check_agreement(1, 2);
    world.terminate_ike(Side::Right);
    world.pass(Duration::from_secs(20));
    world.check_agreement(1, 2);
    // A takeover does not make anything be initiated twice.
    let before = world.sent.len();
    world.take_over(Side::Left, world::site::Fate::Lost);
    world.pass(Duration::from_secs(15));
    let new = &world.sent[before..];
    assert!(new.iter().all(|packet| packet.kind().0 == ExchangeType::Informational));
    world.check_agreement(1, 2);
}

#[test]
fn initiating_needs_an_address_a_connection_and_a_child() {
    let mut left = config(Side::Left);
    left.connections[0].remote = RemoteAddresses::Any;
    let mut world = World::with(left, config(Side::Right));
    let (now, engine) = (world.now, &mut world.left.engine);
    let tries = [("c", "net"), ("c", "other"), ("d", "net")];
    for (connection, child) in tries {
        assert!(engine.initiate(now, connection, child, &mut world.rng).is_err());
    }
    assert!(engine.poll_output().is_none());
}

#[test]
fn a_response_from_elsewhere_does_not_move_a_peer_that_is_behind_no_nat() {
    let mut world = World::new();
    world.initiate(Side::Left, "net");
    world.outputs();
    for to in [Side::Right, Side::Left, Side::Right] {
        world.deliver(to);
        world.outputs();
    }
    let mut response = world.lose(Side::Left);
    let peer = response.source;
    response.source = "198.51.100.9:500".parse().unwrap();
    world.arrive(&response);
    world.run();
    world.check_agreement(1, 1);
    assert_eq!(world.left.engine.ike_sas().next().unwrap().addresses.remote, peer);
}

#[test]
fn children_wanted_while_the_ike_sa_is_half_open_follow_the_first() {
    let mut world = World::new();
    let id = world.initiate(Side::Left, "net");
    assert_eq!(world.initiate(Side::Left, "second"), id);
    world.outputs();
    world.take_over(Side::Left, world::site::Fate::Lost);
    world.pass(Duration::from_secs(10));
    world.check_agreement(1, 2);
}

#[test]
fn a_second_ike_sa_of_the_same_peer_is_refused_when_that_is_wanted() {
    let mut left = config(Side::Left);
    left.connections[0].duplicates = Duplicates::Keep;
    let mut right = config(Side::Right);
    right.connections[0].duplicates = Duplicates::Reject;
    let mut world = up(left.clone(), right);
    world.check_agreement(1, 1);
    let first = world.right.ike();
    // Without INITIAL_CONTACT it does not say that the first one is gone.
    world.left = world::site::Site::new(Side::Left, left.clone(), world.now, &mut world.rng);
    world.initiate(Side::Left, "net");
    world.run();
    let failed = CloseReason::PeerRefused(NotifyType::AUTHENTICATION_FAILED);
    assert!(
        world.left.has_event(|e| matches!(e, Event::Failed { reason, .. } if *reason == failed))
    );
    assert_eq!(world.right.ike(), first);
    left.connections[0].duplicates = Duplicates::Reject;
    world.left = world::site::Site::new(Side::Left, left, world.now, &mut world.rng);
    world.initiate(Side::Left, "net");
    world.run();
    world.check_agreement(1, 1);
    assert_ne!(world.right.ike(), first);
}
