//! The connection table by itself: bounds, ages, news, and whose word counts.

use core::net::{IpAddr, SocketAddr};
use core::time::Duration;
use proptest::prelude::*;
use std::collections::BTreeMap;
use vipsec_distributor::state::{ACK, FIN, RST, SYN};
use vipsec_distributor::table::{News, Said};
use vipsec_distributor::{Direction, Full, Origin, Segment, State, Table, Timeouts};
use vipsec_wire::cluster::{Flow, Protocol};
use vipsec_wire::time::Timestamp;

const START: Timestamp = Timestamp(1_000_000_000_000);

fn at(seconds: u64) -> Timestamp {
    START + Duration::from_secs(seconds)
}

fn flow(protocol: Protocol, port: u16) -> Flow {
    Flow {
        protocol,
        local: "192.0.2.10:80".parse().expect("an address"),
        peer: SocketAddr::new(IpAddr::from([10, 77, 0, 1]), port),
    }
}

fn tcp(port: u16) -> Flow {
    flow(Protocol::Tcp, port)
}

fn table(capacity: usize) -> Table {
    Table::new(capacity, Timeouts::default(), 7)
}

fn begin(flags: u8) -> State {
    State::begin(Segment::Tcp(flags), Direction::Inbound)
}

fn said(port: u16, node: u16, idle_s: u32) -> Said {
    Said { flow: tcp(port), node, state: begin(ACK), opened_by_target: false, age_s: 100, idle_s }
}

fn expire_all(table: &mut Table, now: Timestamp) {
    while !table.expire(now, 16) {}
}

fn news(table: &mut Table) -> Vec<(u16, bool)> {
    let mut told = Vec::new();
    table.take_news(100, |news| {
        told.push(match news {
            News::Changed(entry) => (entry.flow().peer.port(), true),
            News::Gone(flow, _) => (flow.peer.port(), false),
        });
    });
    told
}

#[test]
fn each_state_has_its_idle_time() {
    let limits = Timeouts::default();
    let cases = [
        (begin(SYN), limits.opening),
        (begin(ACK), limits.established),
        (begin(FIN | ACK), limits.half_closed),
        (begin(FIN | ACK).after(Segment::Tcp(FIN), Direction::Outbound), limits.closed),
        (begin(RST), limits.reset),
        (State::begin(Segment::Udp, Direction::Inbound), limits.udp),
    ];
    for (state, limit) in cases {
        let mut table = table(4);
        table.insert(START, &tcp(1), 0, state, false).expect("room");
        expire_all(&mut table, START + (limit - Duration::from_secs(1)));
        assert_eq!(table.len(), 1, "{state:?}");
        expire_all(&mut table, START + limit);
        assert_eq!(table.len(), 0, "{state:?}");
    }
}

#[test]
fn packets_keep_a_connection_and_a_reset_shortens_its_life() {
    let mut table = table(4);
    table.insert(START, &tcp(1), 3, begin(ACK), false).expect("room");
    for hour in 1..10 {
        let now = at(hour * 3600);
        expire_all(&mut table, now);
        let entry = table.touch(now, &tcp(1), Segment::Tcp(ACK), Direction::Outbound);
        assert_eq!(entry.map(|entry| entry.node), Some(3));
    }
    table.touch(at(32_401), &tcp(1), Segment::Tcp(RST), Direction::Outbound);
    expire_all(&mut table, at(32_410));
    assert_eq!(table.len(), 1);
    expire_all(&mut table, at(32_411));
    assert_eq!(table.len(), 0);
    assert_eq!(table.next_expiry(), None);
}

#[test]
fn a_full_table_takes_no_more_and_stays_as_it_is() {
    let mut table = table(2);
    for port in 1..=2 {
        table.insert(START, &tcp(port), 0, begin(SYN), false).expect("room");
    }
    assert_eq!(table.insert(START, &tcp(3), 0, begin(SYN), false), Err(Full));
    assert_eq!(table.import(START, &said(3, 1, 0), Origin::Holder), Err(Full));
    assert_eq!(table.insert(START, &tcp(2), 1, begin(SYN), false), Ok(()), "known ones may change");
    table.remove(&tcp(1));
    assert_eq!(table.insert(START, &tcp(3), 0, begin(SYN), false), Ok(()));
    assert_eq!(table.len(), 2);
}

#[test]
fn expiry_does_a_bounded_amount_of_work() {
    let mut table = table(1000);
    for port in 0..1000 {
        table.insert(START, &tcp(port), 0, begin(SYN), false).expect("room");
    }
    assert!(!table.expire(at(60), 300));
    assert_eq!(table.len(), 700);
    assert!(table.next_expiry().is_some_and(|next| next <= at(60)), "wants to go on at once");
    expire_all(&mut table, at(60));
    assert!(table.is_empty());
}

#[test]
fn an_owner_tells_beginnings_changes_life_and_ends() {
    let mut table = table(8);
    table.insert(START, &tcp(1), 0, begin(SYN), false).expect("room");
    assert!(!table.has_news(), "only owners tell");
    table.begin_generation(true);
    table.insert(START, &tcp(2), 0, begin(SYN), false).expect("room");
    table.touch(START, &tcp(2), Segment::Tcp(SYN | ACK), Direction::Outbound);
    assert_eq!(news(&mut table), [(2, true)], "once for both");
    table.touch(at(1), &tcp(2), Segment::Tcp(ACK), Direction::Inbound);
    assert_eq!(news(&mut table), [(2, true)], "the hand-shake is done");
    table.touch(at(1), &tcp(2), Segment::Tcp(ACK), Direction::Outbound);
    assert_eq!(news(&mut table), [], "nothing new");
    table.touch(at(400), &tcp(2), Segment::Tcp(ACK), Direction::Inbound);
    expire_all(&mut table, at(600));
    assert_eq!(news(&mut table), [(1, false), (2, true)], "1 is gone, 2 lives");
    table.remove_node(0);
    assert_eq!(news(&mut table), [(2, false)]);
}

#[test]
fn hearsay_counts_until_packets_pass() {
    let mut table = table(8);
    let node = |table: &Table| table.peek(&tcp(1)).map(|entry| entry.node);
    table.import(at(1000), &said(1, 4, 50), Origin::Mirror).expect("room");
    table.import(at(1000), &said(1, 5, 60), Origin::Holder).expect("room");
    assert_eq!(node(&table), Some(4), "5 used it longer ago");
    table.import(at(1000), &said(1, 6, 50), Origin::Mirror).expect("room");
    assert_eq!(node(&table), Some(4), "no better claim");
    table.import(at(1000), &said(1, 6, 50), Origin::Holder).expect("room");
    assert_eq!(node(&table), Some(6), "the holder's own word");
    table.begin_generation(true);
    table.touch(at(1001), &tcp(1), Segment::Tcp(ACK), Direction::Inbound);
    table.import(at(1001), &said(1, 4, 0), Origin::Holder).expect("room");
    assert_eq!(node(&table), Some(6), "a packet has passed");
    table.begin_generation(false);
    table.import(at(1002), &said(1, 4, 0), Origin::Mirror).expect("room");
    assert_eq!(node(&table), Some(4), "another owner decides");
    table.touch(at(1003), &tcp(1), Segment::Tcp(ACK), Direction::Inbound);
    table.import(at(1004), &said(1, 5, 0), Origin::Mirror).expect("room");
    assert_eq!(node(&table), Some(5), "whatever has passed at a target");
}

#[test]
fn half_a_handshake_does_not_draw_a_connection_away() {
    // A first SYN went to 3, which repeats its answer; the connection was made with 5.
    let answer = State::begin(Segment::Tcp(SYN | ACK), Direction::Outbound);
    let half = |idle_s| Said { state: answer, ..said(1, 3, idle_s) };
    for order in [[true, false], [false, true]] {
        let mut table = table(9);
        table.begin_generation(true);
        for whole in order {
            let said = if whole { said(1, 5, 2) } else { half(0) };
            table.import(at(1000), &said, Origin::Holder).expect("room");
        }
        assert_eq!(table.peek(&tcp(1)).map(|entry| entry.node), Some(5));
    }
    // One that is over is not in the way.
    let mut table = table(9);
    let over = Said { state: begin(RST), ..said(1, 5, 0) };
    table.import(at(1000), &over, Origin::Holder).expect("room");
    table.import(at(1001), &half(0), Origin::Holder).expect("room");
    assert_eq!(table.peek(&tcp(1)).map(|entry| entry.node), Some(3));
}

#[derive(Debug, Clone)]
enum Step {
    Insert(u16, u16),
    Touch(u16, u8),
    Remove(u16),
    Pass(u64),
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0..20_u16, 0..4_u16).prop_map(|(port, node)| Step::Insert(port, node)),
        (0..20_u16, any::<u8>()).prop_map(|(port, flags)| Step::Touch(port, flags)),
        (0..20_u16).prop_map(Step::Remove),
        prop_oneof![0..100_u64, 0..8000_u64].prop_map(Step::Pass),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// The table does what a plain map with time stamps does.
    #[test]
    fn it_is_a_map_with_ages(steps in proptest::collection::vec(any_step(), 1..80)) {
        let limits = Timeouts::default();
        let mut table = table(12);
        let mut model: BTreeMap<u16, (u16, State, u64)> = BTreeMap::new();
        let mut now_s = 0;
        for step in steps {
            let now = at(now_s);
            match step {
                Step::Insert(port, node) => {
                    let room = model.contains_key(&port) || model.len() < 12;
                    let result = table.insert(now, &tcp(port), node, begin(SYN), false);
                    prop_assert_eq!(result.is_ok(), room);
                    if room {
                        model.insert(port, (node, begin(SYN), now_s));
                    }
                }
                Step::Touch(port, flags) => {
                    let segment = Segment::Tcp(flags);
                    let entry = table.touch(now, &tcp(port), segment, Direction::Outbound);
                    let known = model.get_mut(&port).map(|(node, state, touched)| {
                        *state = state.after(segment, Direction::Outbound);
                        *touched = now_s;
                        (*node, *state)
                    });
                    prop_assert_eq!(entry.map(|entry| (entry.node, entry.state)), known);
                }
                Step::Remove(port) => {
                    table.remove(&tcp(port));
                    model.remove(&port);
                }
                Step::Pass(span) => {
                    now_s += span;
                    expire_all(&mut table, at(now_s));
                    model.retain(|_, (_, state, touched)| {
                        *touched + state.idle_limit(&limits).as_secs() > now_s
                    });
                }
            }
            let mut ports: Vec<u16> =
                table.iter().map(|entry| entry.flow().peer.port()).collect();
            ports.sort_unstable();
            let expected: Vec<u16> = model.keys().copied().collect();
            prop_assert_eq!(ports, expected);
        }
    }
}

#[test]
fn a_place_is_queued_once_however_often_it_changes_hands() {
    let mut table = table(1);
    table.begin_generation(true);
    for port in 0..10 {
        table.insert(START, &tcp(port), 0, begin(ACK), false).expect("room");
        table.remove(&tcp(port));
    }
    table.insert(START, &tcp(10), 0, begin(ACK), false).expect("room");
    let mut told = Vec::new();
    table.take_news(11, |news| {
        told.push(match news {
            News::Changed(entry) => (entry.flow().peer.port(), true),
            News::Gone(flow, _) => (flow.peer.port(), false),
        });
    });
    let expected = (0..10).map(|port| (port, false)).chain([(10, true)]);
    assert_eq!(told, expected.collect::<Vec<_>>());
    assert!(!table.has_news(), "no trace of those that are gone");
}
