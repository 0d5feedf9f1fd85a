//! What a node lets out, and when: persist before send (docs/adr/0004), a restart as a takeover from
//! itself, and whom it believes.

mod world;

use core::time::Duration;
use vipsec_cluster::store::{Backend, Key, Operation, StoreError, Transaction};
use vipsec_esp::Expiry;
use vipsec_node::{Link, Node, Output};
use vipsec_path::{Command, Report, Role};
use vipsec_wire::cluster::{
    ConnectionState, ConnectionUpdate, Connections, Flow, Message, Protocol, ownership,
};
use vipsec_wire::id::{Epoch, IkeSaId, NodeName};
use vipsec_wire::ike::NotifyType;
use vipsec_wire::secret::SecretBytes;
use vipsec_wire::time::Timestamp;
use world::{World, name, vip};

#[test]
fn the_answer_to_ike_auth_leaves_when_the_store_has_confirmed_and_not_before() {
    let mut world = World::new();
    let auth = world.until_auth();
    world.holding = true;
    world.deliver(auth);
    assert_eq!(world.kept.len(), 1, "one transaction, with all records of the SA");
    assert_eq!((world.sent.len(), world.installs()), (1, 0), "nothing has left");
    world.release();
    assert_eq!((world.sent.len(), world.installs()), (2, 1));
    let records = world.records();
    let parts = |part: &str| records.keys().filter(|key| key.contains(part)).count();
    assert_eq!((parts("/ike/"), parts("/child/")), (2, 1), "{:?}", records.keys());
}

#[test]
fn what_the_store_refuses_never_happens() {
    let mut world = World::new();
    let auth = world.until_auth();
    world.holding = true;
    world.deliver(auth);
    world.refuse();
    world.run(Duration::from_secs(1));
    assert_eq!((world.sent.len(), world.installs()), (1, 0));
    assert!(world.node.sas(world.now).is_empty());
}

#[test]
fn a_new_sa_goes_on_unprotected_after_the_deadline_and_is_repaired() {
    let mut world = World::new();
    let auth = world.until_auth();
    world.holding = true;
    world.deliver(auth);
    world.run(Duration::from_millis(400));
    world.fail();
    assert_eq!(world.sent.len(), 1, "the deadline has not come");
    world.run(Duration::from_millis(200));
    assert_eq!((world.sent.len(), world.installs()), (2, 1), "it has");
    assert!(world.saw("unprotected") && world.saw("store-down"));
    assert!(!world.node.sas(world.now)[0].protected);
    assert_eq!(world.node.status().store.unwrap().unprotected, 1);
    world.holding = false;
    world.release();
    world.run(Duration::from_secs(3));
    assert!(world.saw("protected") && world.node.sas(world.now)[0].protected);
    assert!(world.records().keys().any(|key| key.contains("/child/")));
}

#[test]
fn a_restarted_process_gives_the_same_answer_and_installs_the_same_sa() {
    let mut world = World::new();
    let auth = world.until_auth();
    world.deliver(auth.clone());
    let answer = world.sent.last().cloned().unwrap();
    let before = world.node.sas(world.now);
    world.restart();
    assert_eq!(world.installs(), 1, "the workers have the Child SA again");
    let after = world.node.sas(world.now);
    assert_eq!(after[0].id, before[0].id);
    assert_eq!(after[0].children[0].spi_in, before[0].children[0].spi_in);
    assert_eq!(world.node.status().vips[0].epoch, 2, "each process has its own epoch");
    world.deliver(auth);
    assert_eq!(world.sent.last(), Some(&answer), "the peer's repetition is answered byte for byte");
}

#[test]
fn a_damaged_record_costs_its_own_sa_alone_and_stays_as_it_is() {
    let mut world = World::new();
    let auth = world.until_auth();
    world.deliver(auth);
    let (key, mut value) = world
        .records()
        .into_iter()
        .find(|(key, _)| key.contains("/ike/") && !key.ends_with("/state"))
        .unwrap();
    *value.last_mut().unwrap() ^= 1;
    let put = Operation::Put { key: Key::new(key.clone()).unwrap(), value: value.clone() };
    let damage = Transaction { conditions: Vec::new(), operations: vec![put] };
    world.store.commit(&[damage]).unwrap();
    world.restart();
    let fields = world.events.iter().filter(|e| e.kind() == "bad-record").map(|e| e.fields());
    let named: Vec<String> = fields.filter_map(|mut fields| fields.remove("record")).collect();
    assert!(named.contains(&key), "{named:?}");
    assert!(named.contains(&format!("{key}/state")), "nor is there an SA without it: {named:?}");
    assert!(world.node.sas(world.now).is_empty());
    assert_eq!(world.installs(), 0);
    assert_eq!(world.records()[&key], value);
}

#[test]
fn a_rekey_that_falls_due_without_store_waits_and_is_made_up_for() {
    let mut world = World::new();
    let auth = world.until_auth();
    let (local, remote) = (auth.0, auth.1);
    world.deliver(auth);
    world.answer(local, remote);
    let spi_in = world.installed();
    world.holding = true;
    world.store_health(Some(StoreError::Locked));
    let due = Report::Expiry { vip: vip(), spi_in, expiry: Expiry::Soft };
    world.node.handle_report(world.now, 0, due);
    world.run(Duration::from_secs(60));
    assert!(world.kept.is_empty(), "something waits for the store that need not have been begun");
    let sent = world.sent.len();
    world.holding = false;
    world.store_health(None);
    world.run(Duration::from_millis(100));
    assert_eq!(world.sent.len(), sent + 1, "the rekey is under way");
}

#[test]
fn a_store_that_was_rolled_back_is_refused_until_somebody_accepts_it() {
    let mut world = World::new();
    let early = world.store.snapshot();
    let auth = world.until_auth();
    world.deliver(auth);
    world.restart();
    assert_eq!(world.floor.epoch, Epoch(2));
    world.store.restore(early);
    let refused = std::panic::catch_unwind(core::panic::AssertUnwindSafe(|| world.restart()));
    assert!(refused.is_err(), "it must not own anything");
    let status = world.node.status();
    let reason = status.vips[0].refusal.clone().unwrap();
    assert!(reason.contains("rolled") && reason.contains("accept-rollback"), "{reason}");
    world.node.handle_accept_rollback(world.now, vip()).unwrap();
    world.carry_out();
    world.run(Duration::from_secs(3));
    assert!(world.announced);
    assert!(world.node.status().vips[0].epoch > 2);
}

#[test]
fn a_target_speaks_for_its_own_connections_alone() {
    let mut world = World::with(&["a", "t"]);
    link_up(&mut world, "t");
    let update = |node: &str, port: u16| ConnectionUpdate {
        flow: Flow {
            protocol: Protocol::Tcp,
            local: "192.0.2.10:80".parse().unwrap(),
            peer: ([10, 77, 0, 9], port).into(),
        },
        node: name(node),
        state: ConnectionState::Gone,
        opened_by_target: false,
        age_s: 0,
        idle_s: 0,
    };
    let updates = vec![update("t", 1), update("a", 2)];
    let told = Connections { vip: vip(), epoch: Epoch(1), updates, complete: true };
    let content = Message::Connections(told).encode();
    world.node.handle_peer_message(world.now, &name("t"), content.expose());
    world.commands.clear();
    world.carry_out();
    let learnt = world.commands.iter().find_map(|command| match command {
        Command::Connections { updates, .. } => Some(updates.clone()),
        _ => None,
    });
    assert_eq!(learnt, Some(vec![update("t", 1)]));
}

fn link_up(world: &mut World, node: &str) {
    world.node.handle_link(world.now, &name(node), up());
    world.carry_out();
}

#[test]
fn a_backup_that_links_up_late_learns_what_is_half_open() {
    let mut world = World::with(&["a", "b"]);
    world.until_auth();
    let half_open = |(to, message): &&(NodeName, Message)| {
        *to == name("b") && matches!(message, Message::HalfOpen(told) if told.state.is_some())
    };
    assert_eq!(world.told.iter().filter(half_open).count(), 0, "nobody was there");
    link_up(&mut world, "b");
    assert_eq!(world.told.iter().filter(half_open).count(), 1);
}

#[test]
fn reasons_are_told_in_words() {
    let failed = vipsec_ike::Event::Failed {
        id: IkeSaId(1),
        remote: "198.51.100.7:500".parse().unwrap(),
        reason: vipsec_ike::CloseReason::PeerRefused(NotifyType::NO_PROPOSAL_CHOSEN),
    };
    let event = vipsec_node::Event::Ike(vip(), failed);
    let reason = "the peer refuses with NO_PROPOSAL_CHOSEN";
    assert_eq!(event.to_string(), format!("{}: no IKE SA with 198.51.100.7:500: {reason}", vip()));
    assert_eq!(event.fields()["reason"], reason);
    assert_eq!(event.fields()["peer"], "198.51.100.7:500");
}

fn up() -> Link {
    let secret = |byte| SecretBytes::new(vec![byte; vipsec_node::SECRET_LENGTH]);
    Link::Up(vipsec_node::FabricSecrets {
        outbound: secret(3),
        inbound: secret(4),
        peer_workers: 1,
    })
}

#[test]
fn a_target_that_has_told_all_before_the_flip_need_not_say_it_again() {
    let mut world = World::with(&["a", "t"]);
    world.restart_blind(&["a", "t"]);
    assert!(!world.announced, "it waits for its own claim to come by the watch");
    world.node.handle_link(world.now, &name("t"), up());
    let told = Connections { vip: vip(), epoch: Epoch(2), updates: Vec::new(), complete: true };
    let content = Message::Connections(told).encode();
    world.node.handle_peer_message(world.now, &name("t"), content.expose());
    world.carry_out();
    world.commands.clear();
    world.blind = false;
    world.look();
    world.carry_out();
    assert!(world.announced);
    let mut commands = world.commands.iter();
    let is_owner = |role: &Role| matches!(role, Role::Owner { .. });
    commands.find(|c| matches!(c, Command::SetRole { role, .. } if is_owner(role))).unwrap();
    let complete = commands.any(|command| {
        matches!(command, Command::Connections { from, complete: true, .. } if *from == name("t"))
    });
    assert!(complete, "the workers begin to wait for reports only now");
}

#[test]
fn a_report_is_complete_when_every_worker_has_answered_every_request() {
    let mut config = world::config(1, vipsec_cluster::Floor::default(), &["a", "t"]);
    config.cluster.node = name("t");
    config.vips[0].ike = None;
    config.store_key = None;
    config.workers = 2;
    let now = Timestamp(1_000_000_000);
    let mut node = Node::new(config, Box::new(world::Seeded(1)));
    node.handle_start(now);
    // Requests come by the owner's word and by a new connection to it, and may overlap.
    for epoch in [1, 2] {
        node.handle_link(now, &name("a"), up());
        let (epoch, body) = (Epoch(epoch), ownership::Body::Owning);
        let owning = Message::Ownership(ownership::Message { vip: vip(), epoch, body });
        node.handle_peer_message(now, &name("a"), owning.encode().expose());
    }
    let mut asked = 0;
    while let Some(output) = node.poll_output() {
        let Output::Worker { command, .. } = output else { continue };
        asked += usize::from(matches!(*command, Command::ReportConnections { .. }));
    }
    assert_eq!(asked, 3);
    let mut completes = |worker| {
        let report = Report::Connections { vip: vip(), updates: Vec::new(), complete: true };
        node.handle_report(now, worker, report);
        let mut complete = false;
        while let Some(output) = node.poll_output() {
            let Output::Peer { content, .. } = output else { continue };
            let message = Message::decode(content.expose()).unwrap();
            complete |= matches!(message, Message::Connections(told) if told.complete);
        }
        complete
    };
    // One worker is quicker than the other.
    let told = [0, 0, 0, 1, 1, 1].map(&mut completes);
    assert_eq!(told, [false, false, false, false, false, true]);
}

#[test]
fn the_largest_hand_over_fits_one_frame() {
    let bytes = vipsec_path::Limits::default().handover_bytes;
    let body = ownership::Body::Handover {
        transfer: ownership::TransferId(u64::MAX),
        revision: u64::MAX,
        state: SecretBytes::new(vec![0xff; bytes]),
    };
    let message = Message::Ownership(ownership::Message { vip: vip(), epoch: Epoch(1), body });
    let content = message.encode();
    assert!(vipsec_wire::cluster::frame(content.expose()).is_ok());
}
