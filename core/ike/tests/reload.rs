//! Another configuration at run time: what did not change is not touched, what is gone is ended, what
//! is new is begun.

mod world;

use core::net::IpAddr;
use core::time::Duration;
use vipsec_ike::{AddressRequest, Config, Connection, Pool, RemoteName, Selector, Start};
use vipsec_wire::record::v1::IkePhase;
use world::{Side, World, config, fixed, fqdn};

fn reconfigure(world: &mut World, side: Side, change: impl FnOnce(&mut Config)) {
    let mut config = world.site(side).config.clone();
    change(&mut config);
    world.site(side).config = config.clone();
    let (now, mut rng) = (world.now, world::Seeded(world.rng.0));
    world.site(side).engine.reconfigure(now, config, &mut rng);
    world.rng = rng;
}

#[test]
fn the_same_again_changes_nothing() {
    let mut world = World::established();
    let before = (world.sent.len(), world.left.engine.snapshot(world.left.ike()));
    for side in [Side::Left, Side::Right] {
        reconfigure(&mut world, side, |_| ());
        world.pass(Duration::from_secs(10));
    }
    assert_eq!((world.sent.len(), world.left.engine.snapshot(world.left.ike())), before);
}

#[test]
fn another_connection_beside_leaves_the_first_alone_and_is_begun() {
    let mut world = World::established();
    let id = world.left.ike();
    let sent = world.sent.len();
    let another = |name: &str, own: &str, other: &str, side: Side| {
        let of = config(side).connections.remove(0);
        Connection { name: name.to_owned(), local_id: fqdn(own), remote_id: fqdn(other), ..of }
    };
    reconfigure(&mut world, Side::Right, |right| {
        right.connections.insert(0, another("d", "right-2", "left-2", Side::Right));
    });
    reconfigure(&mut world, Side::Left, |left| {
        let mut new = another("d", "left-2", "right-2", Side::Left);
        new.start = Start::AtStart;
        new.children.truncate(1);
        left.connections.insert(0, new);
    });
    world.pass(Duration::from_secs(20));
    world.check_agreement(2, 2);
    assert!(world.left.engine.ike_sa(id).is_some());
    assert_eq!(world.sent.len(), sent + 4, "the four messages of the new one");
}

#[test]
fn a_connection_that_is_gone_ends_with_its_sas() {
    let mut world = World::established();
    reconfigure(&mut world, Side::Right, |right| right.connections.clear());
    world.pass(Duration::from_secs(5));
    world.check_agreement(0, 0);
}

#[test]
fn a_child_that_is_gone_ends_alone() {
    let mut world = World::established();
    world.initiate(Side::Left, "second");
    world.run();
    world.check_agreement(1, 2);
    reconfigure(&mut world, Side::Left, |left| left.connections[0].children.truncate(1));
    world.pass(Duration::from_secs(5));
    world.check_agreement(1, 1);
    assert_eq!(world.left.engine.children().next().expect("one").sa.child, "net");
}

#[test]
fn what_changed_counts_from_the_next_rekey_on() {
    let mut world = World::established();
    let sent = world.sent.len();
    for side in [Side::Left, Side::Right] {
        reconfigure(&mut world, side, |config| {
            let child = &mut config.connections[0].children[0];
            child.lifetime.rekey_s = Some(120);
            child.replay_window = 64;
        });
    }
    world.pass(Duration::from_secs(5));
    assert_eq!(world.sent.len(), sent, "nothing is done about SAs that there are");
    assert_eq!(world.left.engine.children().next().expect("one").sa.replay_window, 1024);
    world.rekey_child(Side::Left);
    world.run();
    world.check_agreement(1, 1);
    let child = world.left.engine.children().next().expect("one").sa;
    assert_eq!(child.replay_window, 64);
    assert!(child.lifetime.soft.seconds.is_some_and(|seconds| seconds <= 120));
}

//= RFC 7296 section 2.9.2 #1: a rekey that would narrow does not come about
//= RFC 7296 section 2.9.2 #2: nor one of the peer
#[test]
fn a_child_that_may_protect_less_ends_and_one_that_may_protect_more_is_kept() {
    let mut world = World::established();
    let set = |world: &mut World, nets: &[&str]| {
        let selectors: Vec<_> = nets.iter().map(|net| fixed(net)).collect();
        reconfigure(world, Side::Left, |config| {
            config.connections[0].children[0].local = selectors;
        });
        world.pass(Duration::from_secs(5));
    };
    set(&mut world, &["172.31.0.0/16", "10.1.0.0/16"]);
    world.check_agreement(1, 1);
    set(&mut world, &["172.31.0.0/16"]);
    world.check_agreement(1, 0);
}

#[test]
fn a_standby_takes_the_configuration_and_ends_nothing() {
    let mut world = World::established();
    let mut standby = world.right.standby(world.now);
    let mut empty = world.right.config.clone();
    empty.connections.clear();
    standby.reconfigure(world.now, empty, &mut world.rng);
    assert!(standby.poll_output().is_none() && standby.poll_timeout().is_none());
    assert_eq!(standby.ike_sas().filter(|sa| sa.phase == IkePhase::Established).count(), 1);
}

#[test]
fn names_keep_their_addresses_and_pools_their_leases() {
    let ip = |text: &str| text.parse::<IpAddr>().expect("an address");
    let (mut left, mut right) = (config(Side::Left), config(Side::Right));
    let pool = || Pool::new("p", ip("10.77.0.10"), ip("10.77.0.12"));
    right.connections[0].pools = vec![pool()];
    right.connections[0].children[0].remote = vec![Selector::Dynamic];
    left.connections[0].request_addresses = vec![AddressRequest::Ipv4];
    left.connections[0].children[0].local = vec![Selector::Dynamic];
    left.connections[0].children[0].remote = vec![fixed("10.2.0.0/16")];
    let name = |addresses| RemoteName { name: "peer.example".to_owned(), addresses };
    left.connections[0].remote_names = vec![name(Vec::new())];
    let mut world = World::with(left, right);
    world.initiate(Side::Left, "net");
    world.run();
    world.left.engine.handle_resolved(world.now, "peer.example", &[ip("192.0.2.2")]);
    reconfigure(&mut world, Side::Left, |_| ());
    let names = &world.left.engine.config().connections[0].remote_names;
    assert_eq!(names, &[name(vec![ip("192.0.2.2")])]);
    let keep = Duration::from_secs(60);
    reconfigure(&mut world, Side::Right, |right| {
        right.connections[0].pools = vec![Pool { keep, ..pool() }];
    });
    world.check_agreement(1, 1);
    world.terminate_ike(Side::Left);
    world.pass(Duration::from_secs(59));
    assert_eq!(world.right.engine.leases().count(), 1);
    world.pass(Duration::from_secs(2));
    assert_eq!(world.right.engine.leases().count(), 0);
}
