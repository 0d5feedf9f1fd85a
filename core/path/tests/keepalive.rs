//! Keepalives for a NAT in front of us (RFC 3948 section 4).

mod world;

use core::time::Duration;
use vipsec_path::{Command, Role, Route};
use vipsec_wire::id::{Epoch, IkeSaId};
use world::packets::{socket, udp};
use world::peer::{Peer, child};
use world::{World, vip};

/// A peer that we reach through a NAT of our own. SAs of the same `family` have the same endpoints.
fn peer(number: u32, family: u32) -> Peer {
    let mut sa = child(number, [10, 77, 0, u8::try_from(number).expect("small")].into());
    sa.ike = IkeSaId(family.into());
    sa.endpoints = child(family, [10, 77, 0, 1].into()).endpoints;
    sa.endpoints.local_nat = true;
    Peer::new(sa)
}

/// What left towards peers: who sent a keepalive to whom, and nothing else.
fn keepalives(world: &mut World) -> Vec<(&'static str, String)> {
    let sent = world.outside().into_iter();
    sent.map(|(node, route, packet)| {
        assert_eq!(packet, [0xff]);
        let Route::Udp { local, remote, .. } = route else { panic!("{route:?}") };
        assert_eq!(local, socket("192.0.2.10:4500"));
        (node, remote.to_string())
    })
    .collect()
}

#[test]
fn a_silent_mapping_gets_one_octet_every_twenty_seconds_from_the_owner() {
    let mut world = World::owned_by_a();
    // Two SAs between the same addresses, one elsewhere, and one that needs none.
    for peer in [peer(1, 1), peer(2, 1), peer(3, 3), Peer::number(4)] {
        world.install(&peer);
    }
    world.pass(Duration::from_millis(19_900));
    assert_eq!(keepalives(&mut world), []);
    let both = |node| vec![(node, "198.51.100.1:4500".into()), (node, "198.51.100.3:4500".into())];
    world.pass(Duration::from_millis(200));
    assert_eq!(keepalives(&mut world), both("a"));
    world.pass(Duration::from_secs(20));
    assert_eq!(keepalives(&mut world), both("a"));
    // A new owner does not know what the former one has sent.
    world.own("b", 2);
    world.pass(Duration::from_secs(5));
    assert_eq!(keepalives(&mut world), both("b"));
    world.pass(Duration::from_secs(20));
    assert_eq!(keepalives(&mut world), both("b"), "twenty seconds after the last");
}

#[test]
fn traffic_and_the_end_of_the_sa_make_keepalives_superfluous() {
    let mut world = World::owned_by_a();
    let peer = peer(1, 1);
    world.install(&peer);
    for _ in 0..6 {
        world.pass(Duration::from_secs(15));
        world.arrives_inside("a", &udp(socket("10.3.0.5:9"), socket("10.77.0.1:4000"), b"out"));
        assert_eq!(world.outside().len(), 1, "the packet alone");
    }
    // The peer's side moves; the SA ends.
    let spi_in = peer.child.inbound.spi;
    let mut endpoints = peer.child.endpoints;
    endpoints.remote = socket("198.51.100.9:4500");
    world.command("a", &Command::SetEndpoints { vip: vip(), spi_in, endpoints });
    world.pass(Duration::from_secs(21));
    assert_eq!(keepalives(&mut world), [("a", "198.51.100.9:4500".to_owned())]);
    world.command("a", &Command::Remove { vip: vip(), spi_in, replaced: false });
    world.pass(Duration::from_secs(60));
    assert_eq!(keepalives(&mut world), []);
}

#[test]
fn nobody_but_the_owner_keeps_a_mapping_alive() {
    let mut world = World::owned_by_a();
    world.install(&peer(1, 1));
    world.command("a", &Command::Freeze { vip: vip() });
    world.pass(Duration::from_secs(60));
    assert_eq!(keepalives(&mut world), [], "frozen");
    let role = Role::Member { epoch: Epoch(2), owner: None };
    world.command("a", &Command::SetRole { vip: vip(), role });
    world.pass(Duration::from_secs(60));
    assert_eq!(keepalives(&mut world), [], "deposed");
}
