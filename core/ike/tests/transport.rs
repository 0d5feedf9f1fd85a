//! Transport mode with both sides behind a NAT (RFC 7296 section 2.23.1): each end knows the other
//! by another address than the other itself.

mod world;

use core::net::{IpAddr, SocketAddr};
use vipsec_esp::Mode;
use vipsec_ike::{Config, Event, RemoteAddresses, Selector};
use vipsec_wire::ike::{NotifyType, TrafficSelector};
use world::site::Fate;
use world::{LEFT, RIGHT, Side, World, config, fixed};

/// What the NATs in front of the two sides show to the other.
const SHOWN_LEFT: &str = "198.51.100.1";
const SHOWN_RIGHT: &str = "203.0.113.2";
/// What the left side's NAT adds to ports.
const SHIFT: u16 = 50_000;

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn host(text: &str) -> Vec<TrafficSelector> {
    vec![TrafficSelector::host(ip(text))]
}

fn ends(child: impl Fn(Side) -> (Vec<Selector>, Vec<Selector>)) -> (Config, Config) {
    let end = |side| {
        let mut config = config(side);
        let connection = &mut config.connections[0];
        connection.remote = match side {
            Side::Left => RemoteAddresses::List(vec![ip(SHOWN_RIGHT)]),
            Side::Right => RemoteAddresses::Any,
        };
        connection.children.truncate(1);
        connection.children[0].mode = Mode::Transport;
        (connection.children[0].local, connection.children[0].remote) = child(side);
        config
    };
    (end(Side::Left), end(Side::Right))
}

/// As [`World::run`], through the NATs.
fn run(world: &mut World) {
    world.outputs();
    while let Some(mut packet) = world.wire.pop_front() {
        let shifted = |address: SocketAddr, to: &str, shift: i32| {
            let port = i32::from(address.port()) + shift;
            SocketAddr::new(ip(to), u16::try_from(port).expect("a port"))
        };
        let shift = i32::from(SHIFT);
        if packet.source.ip() == ip(LEFT) {
            packet.to = Side::Right;
            packet.source = shifted(packet.source, SHOWN_LEFT, shift);
            packet.destination.set_ip(ip(RIGHT));
        } else {
            packet.to = Side::Left;
            packet.destination = shifted(packet.destination, LEFT, -shift);
            packet.source.set_ip(ip(SHOWN_RIGHT));
        }
        world.arrive(&packet);
        world.outputs();
    }
}

/// Each side protects between its own address and the one that it sees of the other.
fn check(world: &World) {
    let sides = [(&world.left, LEFT, SHOWN_RIGHT), (&world.right, RIGHT, SHOWN_LEFT)];
    for (site, own, other) in sides {
        let installed: Vec<_> = site.installed.values().collect();
        assert_eq!(installed.len(), 1, "{:#?}", site.events);
        let sa = &installed[0].sa;
        assert_eq!((sa.mode, &sa.local, &sa.remote), (Mode::Transport, &host(own), &host(other)));
        assert!(sa.endpoints.encapsulated && installed[0].outbound);
        assert_eq!(sa.endpoints.remote.ip(), ip(other));
    }
}

#[test]
fn transport_mode_behind_nats_lives_through_rekeys_and_takeovers() {
    let dynamic = |_| (vec![Selector::Dynamic], vec![Selector::Dynamic]);
    let (left, right) = ends(dynamic);
    let mut world = World::with(left, right);
    world.initiate(Side::Left, "net");
    run(&mut world);
    check(&world);
    for side in [Side::Left, Side::Right] {
        let before = world.left.active_child();
        world.rekey_child(side);
        run(&mut world);
        check(&world);
        assert_ne!(world.left.active_child(), before);
        world.take_over(Side::Left, Fate::Lost);
        world.take_over(Side::Right, Fate::Lost);
        check(&world);
        world.rekey_ike(side);
        run(&mut world);
        world.rekey_child(side.other());
        run(&mut world);
        check(&world);
    }
}

#[test]
fn a_wider_policy_takes_the_address_that_is_seen() {
    let (left, right) = ends(|side| match side {
        Side::Left => (vec![Selector::Dynamic], vec![Selector::Dynamic]),
        Side::Right => (vec![Selector::Dynamic], vec![fixed("198.51.100.0/24")]),
    });
    let mut world = World::with(left, right);
    world.initiate(Side::Left, "net");
    run(&mut world);
    check(&world);
}

#[test]
fn more_than_one_address_behind_a_nat_is_refused() {
    let (left, right) = ends(|side| match side {
        Side::Left => (vec![fixed("192.0.2.0/24")], vec![Selector::Dynamic]),
        Side::Right => (vec![Selector::Dynamic], vec![fixed("0.0.0.0/0")]),
    });
    let mut world = World::with(left, right);
    world.initiate(Side::Left, "net");
    run(&mut world);
    let refused = |event: &Event| {
        matches!(event, Event::ChildFailed { error: NotifyType::TS_UNACCEPTABLE, .. })
    };
    assert!(world.left.has_event(refused), "{:#?}", world.left.events);
    assert!(world.right.installed.is_empty());
}
