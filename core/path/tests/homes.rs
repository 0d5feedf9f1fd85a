//! Several workers: connections are where their SA is, whatever came first.

mod world;

use core::time::Duration;
use vipsec_path::{Command, DropReason, Handover, InstallState, Limits, Report};
use vipsec_wire::cluster::ConnectionUpdate;
use vipsec_wire::id::Epoch;

use world::packets::{ACK, SYN, socket, tcp, udp};
use world::peer::Peer;
use world::{World, name, vip};

const WEB: &str = "192.0.2.10:80";
const DNS: &str = "192.0.2.10:53";
const TARGETS: [&str; 3] = ["b", "t1", "t2"];

/// Three workers, `a` owns, nothing is unknown.
fn world() -> World {
    let mut world = World::new(3, &Limits::default());
    own(&mut world, "a", 1);
    world
}

fn own(world: &mut World, node: &'static str, epoch: u64) {
    world.own(node, epoch);
    pass_strays(world, node);
    for target in TARGETS.into_iter().filter(|target| *target != node) {
        world.complete(node, target);
    }
}

/// What a node does with what its workers give away.
fn pass_strays(world: &mut World, node: &'static str) {
    let mut left = 3;
    for report in world.reports(node) {
        let Report::Strays { vip, updates, complete } = report else { continue };
        left -= usize::from(complete);
        let complete = complete && left == 0;
        world.command(node, &Command::Connections { vip, from: name(node), updates, complete });
    }
    assert_eq!(left, 0, "every worker has had its say");
}

/// The inner addresses of the peers number 1 to 6.
fn client(number: u32, port: u16) -> core::net::SocketAddr {
    let last = u8::try_from(number).expect("a small number");
    (core::net::IpAddr::from([10, 77, 0, last]), port).into()
}

/// The only target whose kernel has got something.
fn served(world: &mut World) -> &'static str {
    let mut got = Vec::new();
    for target in TARGETS {
        if !world.kernel(target).is_empty() {
            got.push(target);
        }
    }
    assert_eq!(got.len(), 1, "{got:?} {:?}", world.all_drops());
    got[0]
}

/// What the owner's workers tell the backups.
fn news(world: &mut World, node: &'static str) -> Vec<ConnectionUpdate> {
    world.pass(Duration::from_millis(20));
    let reports = world.reports(node).into_iter().filter_map(|report| match report {
        Report::Connections { updates, .. } => Some(updates),
        _ => None,
    });
    reports.flatten().collect()
}

#[test]
fn a_peer_that_begins_anew_finds_its_connections() {
    for number in 1..=6 {
        let mut world = world();
        let mut first = Peer::number(number);
        world.install(&first);
        world.send("a", &mut first, &tcp(client(number, 4000), socket(WEB), SYN, &[]));
        let target = served(&mut world);
        // Another IKE SA, the same inner address.
        let mut child = Peer::number(number + 1).child;
        child.remote.clone_from(&first.child.remote);
        child.local.clone_from(&first.child.local);
        let mut second = Peer::new(child);
        let spi_in = first.child.inbound.spi;
        world.command("a", &Command::Remove { vip: vip(), spi_in, replaced: false });
        world.install(&second);
        world.send("a", &mut second, &tcp(client(number, 4000), socket(WEB), ACK, b"go on"));
        assert_eq!(served(&mut world), target);
    }
}

#[test]
fn a_connection_that_is_mirrored_before_its_sa_is_not_forgotten() {
    for number in 1..=6 {
        let mut world = world();
        let mut peer = Peer::number(number);
        let state = InstallState { outbound: true, ..InstallState::default() };
        let install = Command::Install(Box::new(peer.child.clone()), state);
        world.command("a", &install);
        world.send("a", &mut peer, &udp(client(number, 4000), socket(DNS), b"one"));
        let target = served(&mut world);
        let updates = news(&mut world, "a");
        assert_eq!(updates.len(), 1);
        let mirror = Command::Connections { vip: vip(), from: name("a"), updates, complete: false };
        world.command("b", &mirror);
        world.command("b", &install);
        own(&mut world, "b", 2);
        world.send("b", &mut peer, &udp(client(number, 4000), socket(DNS), b"two"));
        assert_eq!(served(&mut world), target);
    }
}

#[test]
fn a_connection_that_ends_before_its_sa_comes_is_forgotten() {
    let limits = Limits { unplaced: 1, ..Limits::default() };
    let mut world = World::new(3, &limits);
    own(&mut world, "a", 1);
    let mut peer = Peer::number(1);
    world.install(&peer);
    for port in 4000..4003 {
        world.send("a", &mut peer, &udp(client(1, port), socket(DNS), b"one"));
    }
    let mut updates = news(&mut world, "a");
    // A node's own connections need no SA.
    updates.retain(|update| update.node != name("b"));
    assert_eq!(updates.len(), 2);
    let spi_in = peer.child.inbound.spi;
    world.command("b", &Command::Remove { vip: vip(), spi_in, replaced: false });
    let tell = |world: &mut World, update: &ConnectionUpdate| {
        let updates = vec![update.clone()];
        let mirror = Command::Connections { vip: vip(), from: name("a"), updates, complete: false };
        world.command("b", &mirror);
    };
    tell(&mut world, &updates[0]);
    tell(&mut world, &updates[1]);
    assert_eq!(world.drops("b", DropReason::TableFull), 3, "each worker has room for one");
    let gone = vipsec_wire::cluster::ConnectionState::Gone;
    tell(&mut world, &ConnectionUpdate { state: gone, ..updates[0].clone() });
    world.install(&peer);
    own(&mut world, "b", 2);
    world.command("b", &Command::ListConnections { vip: vip(), query: 1, limit: 9 });
    let listed = world.reports("b").into_iter().filter_map(|report| match report {
        Report::ConnectionList { connections, .. } => Some(connections),
        _ => None,
    });
    let flows: Vec<_> = listed.flatten().map(|connection| connection.flow).collect();
    assert!(updates.iter().all(|update| !flows.contains(&update.flow)), "{flows:?}");
}

#[test]
fn what_a_former_owner_could_not_place_is_placed_where_its_sa_is() {
    for number in 1..=6 {
        let mut world = World::new(3, &Limits::default());
        let mut peer = Peer::number(number);
        world.install(&peer);
        // Nobody has reported: the first datagram waits until the owner is another.
        world.own("a", 1);
        world.send("a", &mut peer, &udp(client(number, 4000), socket(DNS), b"one"));
        let handover = Box::default();
        world.command("b", &Command::Handover { vip: vip(), epoch: Epoch(2), handover });
        world.own("b", 2);
        let target = served(&mut world);
        world.send("b", &mut peer, &udp(client(number, 4000), socket(DNS), b"two"));
        assert_eq!(served(&mut world), target);
    }
}

#[test]
fn a_target_that_becomes_owner_knows_what_it_serves() {
    for number in 1..=6 {
        let mut world = world();
        let mut peer = Peer::number(number);
        world.install(&peer);
        // Until it is b's turn. The owner dies before it has told anybody.
        let mut port = 4000;
        loop {
            world.send("a", &mut peer, &udp(client(number, port), socket(DNS), b"one"));
            if served(&mut world) == "b" {
                break;
            }
            port += 1;
        }
        own(&mut world, "b", 2);
        for _ in 0..3 {
            world.send("b", &mut peer, &udp(client(number, port), socket(DNS), b"two"));
            assert_eq!(served(&mut world), "b");
        }
        world.command("b", &Command::ListConnections { vip: vip(), query: 1, limit: 9 });
        let lists = world.reports("b").into_iter().filter_map(|report| match report {
            Report::ConnectionList { connections, .. } => Some(connections.len()),
            _ => None,
        });
        assert_eq!(lists.sum::<usize>(), 1, "one worker has it, and no other");
    }
}

#[test]
fn a_target_that_is_handed_the_vip_while_its_peer_has_no_sa_knows_what_it_serves() {
    for number in 1..=6 {
        let mut world = world();
        let mut peer = Peer::number(number);
        world.install(&peer);
        let mut port = 4000;
        loop {
            world.send("a", &mut peer, &udp(client(number, port), socket(DNS), b"one"));
            if served(&mut world) == "b" {
                break;
            }
            port += 1;
        }
        let spi_in = peer.child.inbound.spi;
        for node in ["a", "b"] {
            world.command(node, &Command::Remove { vip: vip(), spi_in, replaced: false });
        }
        world.reports("a");
        world.command("a", &Command::Freeze { vip: vip() });
        let mut whole = Handover::default();
        for report in world.reports("a") {
            if let Report::Frozen { handover, .. } = report {
                whole.merge(*handover);
            }
        }
        let (epoch, handover) = (Epoch(2), Box::new(whole));
        world.command("b", &Command::Handover { vip: vip(), epoch, handover });
        own(&mut world, "b", 2);
        let mut child = peer.child.clone();
        child.born = epoch;
        let mut peer = Peer::new(child);
        world.install(&peer);
        for _ in 0..3 {
            world.send("b", &mut peer, &udp(client(number, port), socket(DNS), b"two"));
            assert_eq!(served(&mut world), "b");
        }
    }
}
