//! Services, targets and connections together: who gets a packet.

use core::time::Duration;
use vipsec_distributor::state::{ACK, FIN, RST, SYN};
use vipsec_distributor::{
    Answer, AssignError, Distributor, Method, Placement, Segment, Service, ServiceTarget, Timeouts,
};
use vipsec_wire::cluster::{ConnectionState, ConnectionUpdate, Flow, Protocol};
use vipsec_wire::id::NodeName;
use vipsec_wire::time::Timestamp;

const NOW: Timestamp = Timestamp(1_000_000_000_000);
const VIP: &str = "192.0.2.10";

fn name(text: &str) -> NodeName {
    NodeName::try_from(text.to_owned()).expect("a good name")
}

fn service(name_: &str, first_port: u16, last_port: u16, targets: &[(&str, u16)]) -> Service {
    let target = |&(node, weight): &(&str, u16)| ServiceTarget { node: name(node), weight };
    Service {
        name: name_.to_owned(),
        address: VIP.parse().expect("an address"),
        protocol: Protocol::Tcp,
        first_port,
        last_port,
        method: Method::RoundRobin,
        targets: targets.iter().map(target).collect(),
        check: None,
    }
}

/// Node `own` of a, b, t1 (indices 0, 1, 2); web on b and t1, a range on t1 alone.
fn distributor(own: u16) -> Distributor {
    let mut distributor = Distributor::new(["a", "b", "t1"].map(name).to_vec(), own, 100, 9);
    let services = [
        service("web", 80, 80, &[("b", 1), ("t1", 1)]),
        service("range", 8000, 8100, &[("t1", 1), ("stranger", 1)]),
    ];
    let addresses = vec![VIP.parse().expect("an address")];
    distributor.configure(addresses, &services, Timeouts::default());
    distributor
}

fn flow(local_port: u16, peer_port: u16) -> Flow {
    Flow {
        protocol: Protocol::Tcp,
        local: format!("{VIP}:{local_port}").parse().expect("an address"),
        peer: format!("10.77.0.1:{peer_port}").parse().expect("an address"),
    }
}

fn all(distributor: &Distributor) -> Vec<ConnectionUpdate> {
    distributor.connections(NOW, false).collect()
}

#[test]
fn ports_decide_the_service_and_what_is_none_is_local() {
    let mut d = distributor(0);
    let syn = Segment::Tcp(SYN);
    for (port, expected) in [(80, 1), (80, 2), (8000, 2), (8100, 2), (8101, 0), (22, 0)] {
        let flow = flow(port, 1000 + port + expected);
        assert_eq!(d.place(NOW, &flow, syn), Placement::Unknown { opens: true });
        assert_eq!(d.assign(NOW, &flow, syn), Ok(expected), "{port}");
        assert_eq!(d.place(NOW, &flow, Segment::Tcp(ACK)), Placement::Known(expected));
    }
    assert!(d.is_ours(VIP.parse().expect("an address")));
    assert!(!d.is_ours("192.0.2.11".parse().expect("an address")));
    assert_eq!(d.other_targets(), [1, 2]);
}

#[test]
fn without_a_usable_target_nothing_is_assigned() {
    let mut d = distributor(0);
    d.set_usable(Some("web"), 1, false);
    d.set_usable(None, 2, false);
    let refused = d.assign(NOW, &flow(80, 1), Segment::Tcp(SYN));
    assert_eq!(refused, Err(AssignError::NoTarget));
    assert_eq!(d.table().len(), 0);
    // A new configuration keeps what is known of the targets' health.
    let services = [service("web", 80, 80, &[("b", 1), ("t1", 1), ("a", 1)])];
    d.configure(vec![VIP.parse().expect("an address")], &services, Timeouts::default());
    assert_eq!(d.assign(NOW, &flow(80, 1), Segment::Tcp(SYN)), Ok(0));
    d.set_usable(Some("web"), 2, true);
    assert_eq!(d.assign(NOW, &flow(80, 2), Segment::Tcp(SYN)), Ok(2));
}

#[test]
fn a_connection_that_begins_anew_stays_where_it_was_while_that_is_healthy() {
    for healthy in [true, false] {
        let mut d = distributor(0);
        let flow = flow(80, 1);
        assert_eq!(d.assign(NOW, &flow, Segment::Tcp(SYN)), Ok(1));
        d.place(NOW, &flow, Segment::Tcp(FIN | ACK));
        assert_eq!(d.answer(NOW, &flow, Segment::Tcp(FIN | ACK), 1), Answer::Pass);
        d.set_usable(None, 1, healthy);
        let placed = d.place(NOW, &flow, Segment::Tcp(SYN));
        if healthy {
            assert_eq!(placed, Placement::Known(1));
            assert_eq!(all(&d)[0].state, ConnectionState::Opening);
        } else {
            assert_eq!(placed, Placement::Unknown { opens: true });
            assert_eq!(d.assign(NOW, &flow, Segment::Tcp(SYN)), Ok(2));
        }
    }
}

#[test]
fn only_the_holder_answers() {
    let mut d = distributor(0);
    let flow = flow(80, 1);
    assert_eq!(d.answer(NOW, &flow, Segment::Tcp(RST), 1), Answer::Unknown);
    assert_eq!(d.answer(NOW, &flow, Segment::Tcp(ACK), 1), Answer::Pass, "it knows better");
    assert_eq!(d.holder(&flow), Some(1));
    assert_eq!(d.answer(NOW, &flow, Segment::Tcp(ACK), 2), Answer::WrongTarget);
    assert_eq!(d.answer(NOW, &flow, Segment::Tcp(RST), 2), Answer::WrongTarget);
    assert_eq!(d.answer(NOW, &flow, Segment::Tcp(RST), 1), Answer::Pass);
    let late = Segment::Tcp(SYN | ACK);
    assert_eq!(d.answer(NOW, &flow, late, 2), Answer::WrongTarget, "over, but nothing begins");
    assert_eq!(d.answer(NOW, &flow, Segment::Tcp(SYN), 2), Answer::Pass, "over, and begun anew");
    assert_eq!(d.holder(&flow), Some(2));
    assert!(!all(&d)[0].opened_by_target, "the address is a service");
    let own = self::flow(50_000, 22);
    assert_eq!(d.answer(NOW, &own, Segment::Tcp(SYN), 2), Answer::Pass);
    let opened = all(&d).into_iter().find(|update| update.flow == own).expect("entered");
    assert!(opened.opened_by_target);
    assert_eq!(d.late_answer(NOW, &self::flow(1, 1), Segment::Tcp(RST)), Answer::Unknown);
    assert_eq!(d.late_answer(NOW, &self::flow(1, 1), Segment::Tcp(ACK)), Answer::Pass);
    assert_eq!(d.holder(&self::flow(1, 1)), None, "nobody knows whose it is");
}

#[test]
fn what_is_local_here_is_routed_there() {
    // a owns; one connection is local to it, one routed to b.
    let mut a = distributor(0);
    a.begin_generation(true);
    assert_eq!(a.assign(NOW, &flow(22, 1), Segment::Tcp(SYN)), Ok(0));
    assert_eq!(a.assign(NOW, &flow(80, 2), Segment::Tcp(SYN)), Ok(1));
    // b, as a target, has its own.
    let mut b = distributor(1);
    b.receive(NOW, &flow(80, 2), Segment::Tcp(SYN)).expect("room");
    assert_eq!(b.connections(NOW, true).count(), 1);
    for update in a.take_news(NOW, 100) {
        b.import(NOW, &name("a"), &update).expect("room");
    }
    // b owns.
    b.begin_generation(true);
    let ack = Segment::Tcp(ACK);
    assert_eq!(b.place(NOW, &flow(22, 1), ack), Placement::Known(0), "local became routed");
    assert_eq!(b.place(NOW, &flow(80, 2), ack), Placement::Known(1), "routed became local");
    assert_eq!(b.own(), 1);
}

#[test]
fn departures_and_strangers_are_taken_in_right() {
    let mut a = distributor(0);
    a.begin_generation(true);
    assert_eq!(a.assign(NOW, &flow(80, 2), Segment::Tcp(SYN)), Ok(1));
    let begun = a.take_news(NOW, 100);
    let mut b = distributor(1);
    for update in &begun {
        b.import(NOW, &name("a"), update).expect("room");
    }
    let stranger = ConnectionUpdate { node: name("stranger"), ..begun[0].clone() };
    b.import(NOW, &name("a"), &stranger).expect("ignored");
    assert_eq!(all(&b), begun);
    a.forget_node(1);
    let ended = a.take_news(NOW, 100);
    assert_eq!(ended[0].state, ConnectionState::Gone);
    let of_other = ConnectionUpdate { node: name("t1"), ..ended[0].clone() };
    b.import(NOW, &name("a"), &of_other).expect("ignored");
    assert_eq!(b.table().len(), 1);
    b.import(NOW, &name("a"), &ended[0]).expect("removed");
    assert_eq!(b.table().len(), 0);
    b.import(NOW, &name("a"), &begun[0]).expect("room");
    while !b.expire(NOW + Duration::from_secs(60), 10) {}
    assert_eq!(b.table().len(), 0, "hearsay ages too");
}
