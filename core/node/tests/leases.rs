//! Leases in the store: one transaction with their SA, sealed and fenced like everything, found
//! again by the next process; and a configuration that changes beside them.

mod world;

use core::net::IpAddr;
use core::time::Duration;
use vipsec_cluster::store::{Backend, Key, Operation, Transaction};
use vipsec_ike::{AddressRequest, Engine, Pool, RemoteAddresses, Selector, Start};
use vipsec_node::VipConfig;
use vipsec_path::{Command, Report};
use vipsec_wire::id::{Epoch, Vip};
use world::{World, config, ike, vip};

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// The node's VIP with a pool for its peers.
fn with_pool(world: &World) -> VipConfig {
    let mut config = config(world.now.0, world.floor, &["a"]).vips.remove(0);
    let connection = &mut config.ike.as_mut().expect("a candidate").connections[0];
    connection.pools = vec![Pool::new("clients", ip("10.77.0.10"), ip("10.77.0.20"))];
    connection.children[0].remote = vec![Selector::Dynamic];
    config
}

/// A node that gives addresses, and a peer that asks for one.
fn with_leases() -> World {
    let mut world = World::new();
    let pools = with_pool(&world);
    world.node.handle_config(world.now, vec![pools]);
    let mut asking = ike(Vip(ip("198.51.100.7")), RemoteAddresses::List(vec![vip().0]));
    asking.connections[0].request_addresses = vec![AddressRequest::Ipv4];
    asking.connections[0].children[0].local = vec![Selector::Dynamic];
    world.peer = Engine::new(asking);
    world.peer.become_owner(world.now, Epoch(1), &mut world.random);
    world
}

fn lease_keys(world: &mut World) -> Vec<String> {
    world.records().into_keys().filter(|key| key.contains("/lease/")).collect()
}

#[test]
fn a_lease_is_written_in_one_transaction_with_its_sa_under_the_owner_s_fence() {
    let mut world = with_leases();
    let auth = world.until_auth();
    world.holding = true;
    world.deliver(auth);
    let (_, transaction) = &world.kept[0];
    let puts = |part: &str| {
        let put = |operation: &&Operation| match operation {
            Operation::Put { key, .. } => key.as_str().contains(part),
            _ => false,
        };
        transaction.operations.iter().filter(put).count()
    };
    assert_eq!((puts("/lease/"), puts("/ike/"), transaction.conditions.len()), (1, 2, 1));
    world.release();
    let leases = world.node.leases(world.now);
    assert_eq!((leases[0].address.as_str(), leases[0].state), ("10.77.0.10", "held"));
    let value = &world.records()["vip/192.0.2.10/lease/10.77.0.10"];
    let text = b"clients";
    assert!(!value.windows(text.len()).any(|part| part == text), "it is sealed");
}

#[test]
fn the_next_process_knows_the_leases_and_an_unreadable_one_alone_is_left_out() {
    let mut world = with_leases();
    let auth = world.until_auth();
    world.deliver(auth);
    let before = world.node.leases(world.now);
    world.restart();
    assert_eq!(world.node.leases(world.now), before);
    let key = Key::lease(vip(), ip("10.77.0.11"));
    let operations = vec![Operation::Put { key, value: b"rubbish".to_vec() }];
    world.store.commit(&[Transaction { conditions: vec![], operations }]).unwrap();
    world.restart();
    assert!(world.saw("bad-record"));
    assert_eq!(world.node.leases(world.now), before);
    assert_eq!(lease_keys(&mut world).len(), 2, "the record is left as it is");
}

#[test]
fn the_end_of_the_last_sa_keeps_the_address_for_its_time() {
    let mut world = with_leases();
    let auth = world.until_auth();
    world.deliver(auth);
    let id = world.node.sas(world.now)[0].id.clone();
    let id = vipsec_wire::id::IkeSaId(u64::from_str_radix(&id, 16).unwrap());
    world.node.handle_terminate_ike(world.now, vip(), id).unwrap();
    world.carry_out();
    // The peer never answers; in the end it counts as gone.
    world.run(Duration::from_secs(120));
    let leases = world.node.leases(world.now);
    assert_eq!((leases[0].state, leases[0].ike.len()), ("kept", 0));
    assert!(leases[0].expires_s.is_some_and(|seconds| seconds > 86_000), "{leases:?}");
    world.restart();
    assert_eq!(world.node.leases(world.now)[0].state, "kept");
}

#[test]
fn another_configuration_reaches_engine_and_workers_and_leaves_sas_alone() {
    let mut world = with_leases();
    let auth = world.until_auth();
    world.deliver(auth);
    world.commands.clear();
    let sent = world.sent.len();
    let mut config = with_pool(&world);
    config.path.protected = vec![(ip("10.9.0.0"), ip("10.9.255.255"))];
    let ike = config.ike.as_mut().unwrap();
    let mut another = ike.connections[0].clone();
    another.name = "another".to_owned();
    another.start = Start::OnTraffic;
    another.remote = RemoteAddresses::List(vec![ip("203.0.113.7")]);
    ike.connections.push(another);
    world.node.handle_config(world.now, vec![config]);
    world.carry_out();
    assert!(
        matches!(&world.commands[..], [Command::ConfigureVip(path)] if path.protected.len() == 1)
    );
    assert_eq!((world.sent.len(), world.node.sas(world.now).len()), (sent, 1));
    let acquire = |connection: &str| Report::Acquire {
        vip: vip(),
        connection: connection.to_owned(),
        child: "net".to_owned(),
    };
    for connection in ["site", "nobody", "another"] {
        world.node.handle_report(world.now, 0, acquire(connection));
        world.carry_out();
    }
    assert_eq!(world.sent.len(), sent + 1, "the new connection alone is begun");
}
