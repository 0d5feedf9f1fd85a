//! Addresses of pools: written with the SA that gets them, kept for their identity over takeovers,
//! never two peers with the same.

mod world;

use core::net::IpAddr;
use core::time::Duration;
use vipsec_ike::{AddressRequest, Config, Pool, Selector};
use vipsec_wire::record::v1::Lease;
use world::site::{Fate, Mode};
use world::{Side, World, config, fixed};

const KEEP: Duration = Duration::from_secs(600);

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// The right side gives addresses out, the left one asks for one.
fn peers() -> (Config, Config) {
    let (mut left, mut right) = (config(Side::Left), config(Side::Right));
    let gateway = &mut right.connections[0];
    let pool = Pool::new("p", ip("10.77.0.10"), ip("10.77.0.12"));
    gateway.pools = vec![Pool { keep: KEEP, ..pool }];
    gateway.children.truncate(1);
    gateway.children[0].remote = vec![Selector::Dynamic];
    gateway.children[0].local = vec![fixed("10.2.0.0/16")];
    let client = &mut left.connections[0];
    client.request_addresses = vec![AddressRequest::Ipv4];
    client.children.truncate(1);
    client.children[0].local = vec![Selector::Dynamic];
    client.children[0].remote = vec![fixed("10.2.0.0/16")];
    (left, right)
}

fn new_world() -> World {
    let (left, right) = peers();
    World::with(left, right)
}

fn up() -> World {
    let mut world = new_world();
    world.initiate(Side::Left, "net");
    world.run();
    world.check_agreement(1, 1);
    world
}

fn leases(world: &World) -> Vec<Lease> {
    world.right.engine.leases().map(|view| view.lease).collect()
}

/// What the peer believes to have is what the gateway holds for it.
fn check_held(world: &World) {
    let peer = world.left.engine.ike_sas().next().expect("an IKE SA");
    let held = world.right.engine.leases().filter(|view| !view.holders.is_empty());
    let held: Vec<IpAddr> = held.map(|view| view.lease.address).collect();
    assert_eq!(held, peer.obtained);
}

#[test]
fn a_lease_is_written_with_its_sa_and_kept_after_its_end() {
    let mut world = up();
    let writes = world.right.store.writes;
    assert_eq!(writes, 1, "SA and lease are one write");
    assert_eq!(leases(&world)[0].released, None);
    world.terminate_ike(Side::Left);
    world.run();
    world.check_agreement(0, 0);
    assert_eq!(world.right.store.writes, writes + 1);
    assert_eq!(leases(&world)[0].released, Some(world.now));
    world.pass(KEEP - Duration::from_secs(1));
    assert_eq!(leases(&world).len(), 1);
    world.pass(Duration::from_secs(2));
    assert_eq!(leases(&world), vec![]);
    world.check_agreement(0, 0);
}

#[test]
fn a_rekey_writes_no_lease_and_the_end_of_its_product_ends_it() {
    let mut world = up();
    for side in [Side::Left, Side::Right] {
        world.rekey_ike(side);
        world.run();
        world.check_agreement(1, 1);
        check_held(&world);
    }
    world.terminate_ike(Side::Right);
    world.run();
    assert!(leases(&world)[0].released.is_some());
    world.check_agreement(0, 0);
}

#[test]
fn an_owner_may_die_at_every_step_of_a_beginning_and_of_an_end() {
    type Case = (fn() -> World, fn(&mut World), usize);
    let begin: Case = (new_world, |world| _ = world.initiate(Side::Left, "net"), 1);
    let end: Case = (up, |world| world.terminate_ike(Side::Left), 0);
    for (prepare, act, sas) in [begin, end] {
        for step in 0..40 {
            for fate in [Fate::Written, Fate::Lost] {
                let mut world = prepare();
                world.takeover_at = Some((world.steps + step, Side::Right, fate));
                act(&mut world);
                world.pass(Duration::from_secs(60));
                world.check_agreement(sas, sas);
                if sas == 1 {
                    check_held(&world);
                }
                assert_eq!(leases(&world)[0].address, ip("10.77.0.10"), "{step} {fate:?}");
                assert_eq!(leases(&world).len(), 1, "{step} {fate:?}");
            }
        }
    }
}

#[test]
fn the_next_owner_gives_an_identity_its_address_and_nobody_else() {
    let (left, right) = peers();
    let mut world = World::with(left.clone(), right);
    world.initiate(Side::Left, "net");
    world.run();
    world.terminate_ike(Side::Left);
    world.run();
    world.take_over(Side::Right, Fate::Lost);
    let mut another = left.clone();
    another.connections[0].local_id = world::fqdn("another");
    world.right.config.connections[0].remote_id = None;
    world.right.engine = world.right.standby(world.now);
    world.take_over(Side::Right, Fate::Lost);
    for (config, address) in [(another, "10.77.0.11"), (left, "10.77.0.10")] {
        world.left = world::site::Site::new(Side::Left, config, world.now, &mut world.rng);
        world.initiate(Side::Left, "net");
        world.run();
        let view = world.left.engine.ike_sas().next().expect("an IKE SA");
        assert_eq!(view.obtained, vec![ip(address)]);
    }
    let held = world.right.engine.leases().filter(|view| view.holders.len() == 1);
    assert_eq!(held.count(), 2);
    world.right.check_store();
}

#[test]
fn what_the_store_refuses_leases_nothing() {
    let mut world = new_world();
    world.right.mode = Mode::Refusing;
    world.initiate(Side::Left, "net");
    world.run();
    assert_eq!(leases(&world), vec![]);
    world.right.mode = Mode::Prompt;
    world.pass(Duration::from_secs(60));
    let mut world = up();
    world.right.mode = Mode::Refusing;
    world.terminate_ike(Side::Left);
    world.run();
    assert_eq!(leases(&world)[0].released, None, "the SA is there still");
    world.right.mode = Mode::Prompt;
    world.pass(Duration::from_secs(60));
    world.check_agreement(0, 0);
    assert!(leases(&world)[0].released.is_some());
}

#[test]
fn a_lease_whose_sa_is_missing_waits_for_its_peer_and_ends() {
    let mut world = up();
    world.right.store.constants.clear();
    world.right.store.states.clear();
    world.right.store.children.clear();
    world.take_over(Side::Right, Fate::Lost);
    world.outputs();
    assert_eq!(leases(&world)[0].released, Some(world.now));
    world.right.check_store();
    world.pass(KEEP + Duration::from_secs(1));
    assert_eq!(leases(&world), vec![]);
}

#[test]
fn nothing_is_forgotten_while_the_store_is_down() {
    let mut world = up();
    world.terminate_ike(Side::Left);
    world.run();
    world.right.engine.handle_store_health(world.now, false);
    world.pass(KEEP * 2);
    assert_eq!(leases(&world).len(), 1);
    let now = world.now;
    world.right.engine.handle_store_health(now, true);
    world.pass(Duration::from_secs(1));
    assert_eq!(leases(&world), vec![]);
}
