//! Tests of who gets which address.

use super::*;
use crate::config::{Authentication, Connection, Limits, Retransmit};
use vipsec_wire::id::Vip;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn who(name: &str) -> Identity {
    Identity::Fqdn(name.to_owned())
}

fn pools() -> Vec<Pool> {
    vec![
        Pool::new("v4", ip("10.0.0.1"), ip("10.0.0.3")),
        Pool::new("v6", ip("2001:db8::1"), ip("2001:db8::2")),
    ]
}

fn config(pools: Vec<Pool>) -> Config {
    let connection = Connection { pools, ..Connection::new("c", Authentication::psk(b"secret")) };
    Config {
        vip: Vip(ip("192.0.2.1")),
        connections: vec![connection],
        limits: Limits::default(),
        retransmit: Retransmit::default(),
        fragment_size: None,
    }
}

/// The leases of a VIP and its time in seconds.
struct Office {
    leases: Leases,
    pools: Vec<Pool>,
    now: Timestamp,
}

impl Office {
    fn new(pools: Vec<Pool>) -> Office {
        let leases = Leases::new(&config(pools.clone()));
        Office { leases, pools, now: Timestamp(1_000_000_000) }
    }

    fn ask(&mut self, name: &str, ipv4: bool, wish: Option<IpAddr>) -> Option<IpAddr> {
        let asker = Asker { identity: &who(name), one_peer: true, ipv4, wish };
        self.leases.choose(&self.pools, asker).map(|(_, address)| address)
    }

    /// A family of IKE SAs gets an address.
    fn enter(&mut self, family: u64, name: &str) -> Option<IpAddr> {
        let asker = Asker { identity: &who(name), one_peer: true, ipv4: true, wish: None };
        let (pool, address) = self.leases.choose(&self.pools, asker)?;
        self.leases.put(Lease { address, pool, identity: who(name), released: None });
        self.leases.hold(IkeSaId(family), &who(name), &[address]);
        Some(address)
    }

    fn leave(&mut self, family: u64, address: &str) -> Option<Lease> {
        self.now = self.now + Duration::from_secs(1);
        self.leases.release(IkeSaId(family), &[ip(address)]);
        self.leases.note_end(ip(address), self.now)
    }
}

#[test]
fn fresh_addresses_first_old_ones_back_and_the_longest_waiting_last() {
    let mut office = Office::new(pools());
    assert_eq!(office.enter(1, "a"), Some(ip("10.0.0.1")));
    office.leave(1, "10.0.0.1").expect("to be written");
    assert_eq!(office.enter(2, "b"), Some(ip("10.0.0.2")));
    assert_eq!(office.enter(3, "a"), Some(ip("10.0.0.1")), "its own again");
    assert_eq!(office.enter(4, "c"), Some(ip("10.0.0.3")));
    assert_eq!(office.enter(5, "d"), None, "all are held");
    office.leave(2, "10.0.0.2").expect("to be written");
    office.leave(3, "10.0.0.1").expect("to be written");
    assert_eq!(office.enter(5, "d"), Some(ip("10.0.0.2")), "the longest waiting");
    assert_eq!(office.leases.get(ip("10.0.0.2")).map(|lease| &lease.identity), Some(&who("d")));
    assert_eq!(office.enter(6, "b"), Some(ip("10.0.0.1")), "its own is another's now");
    assert_eq!(office.ask("a", false, None), Some(ip("2001:db8::1")));
}

#[test]
fn a_wish_is_honoured_when_free_and_ours() {
    let mut office = Office::new(pools());
    let wish = |address| Some(ip(address));
    assert_eq!(office.ask("a", true, wish("10.0.0.3")), wish("10.0.0.3"));
    assert_eq!(office.ask("a", true, wish("10.9.9.9")), wish("10.0.0.1"));
    office.enter(1, "b").expect("free");
    assert_eq!(office.ask("a", true, wish("10.0.0.1")), wish("10.0.0.2"), "it is held");
    office.leave(1, "10.0.0.1").expect("to be written");
    assert_eq!(office.ask("a", true, wish("10.0.0.1")), wish("10.0.0.2"), "it is kept for b");
}

#[test]
fn an_address_that_is_set_aside_is_for_its_identity_alone() {
    let mut pools = pools();
    pools[0].reserved = vec![(who("boss"), ip("10.0.0.1"))];
    let mut office = Office::new(pools);
    assert_eq!(office.ask("a", true, Some(ip("10.0.0.1"))), Some(ip("10.0.0.2")));
    assert_eq!(office.enter(1, "a"), Some(ip("10.0.0.2")));
    assert_eq!(office.enter(2, "b"), Some(ip("10.0.0.3")));
    assert_eq!(office.enter(3, "c"), None);
    assert_eq!(office.ask("boss", true, Some(ip("10.0.0.3"))), Some(ip("10.0.0.1")));
    assert_eq!(office.enter(4, "boss"), Some(ip("10.0.0.1")));
    office.leave(4, "10.0.0.1").expect("to be written");
    assert_eq!(office.enter(5, "c"), None, "not even while nobody has it");
}

#[test]
fn several_peers_with_one_identity_never_share_an_address() {
    let mut office = Office::new(pools());
    assert_eq!(office.enter(1, "a"), Some(ip("10.0.0.1")));
    let several = Asker { identity: &who("a"), one_peer: false, ipv4: true, wish: None };
    let chosen = office.leases.choose(&office.pools, several);
    assert_eq!(chosen, Some(("v4".to_owned(), ip("10.0.0.2"))));
    assert_eq!(office.enter(2, "a"), Some(ip("10.0.0.1")), "one peer in two IKE SAs");
    assert_eq!(office.leave(1, "10.0.0.1"), None, "the other has it still");
    assert!(office.leave(2, "10.0.0.1").is_some());
}

#[test]
fn an_address_is_kept_for_its_time_and_then_nobody_s() {
    let mut office = Office::new(pools());
    office.enter(1, "a").expect("free");
    assert_eq!(office.leases.next_expiry(), None);
    office.leave(1, "10.0.0.1").expect("to be written");
    let due = office.now + office.pools[0].keep;
    assert_eq!(office.leases.next_expiry(), Some(due));
    assert_eq!(office.leases.superfluous(Timestamp(due.0 - 1)), None);
    assert_eq!(office.leases.superfluous(due), Some(ip("10.0.0.1")));
    office.leases.remove(ip("10.0.0.1")).expect("it was there");
    assert_eq!(office.enter(2, "b"), Some(ip("10.0.0.1")), "the lowest free address");
}

#[test]
fn whoever_follows_the_records_knows_the_same_whatever_their_order() {
    let mut office = Office::new(pools());
    office.enter(1, "a").expect("free");
    let lease = office.leases.get(ip("10.0.0.1")).expect("there").clone();
    let mut follower = Leases::new(&config(pools()));
    follower.put(lease.clone());
    assert_eq!(follower.orphans(), vec![ip("10.0.0.1")], "its IKE SA is not known yet");
    assert_eq!(follower.superfluous(Timestamp(u64::MAX - 1)), None);
    let asker = Asker { identity: &who("b"), one_peer: true, ipv4: true, wish: None };
    let chosen = follower.choose(&pools(), asker).map(|(_, address)| address);
    assert_eq!(chosen, Some(ip("10.0.0.2")), "an orphan is nobody else's");
    follower.hold(IkeSaId(1), &who("a"), &[ip("10.0.0.1")]);
    let mut other = Leases::new(&config(pools()));
    other.hold(IkeSaId(1), &who("a"), &[ip("10.0.0.1")]);
    other.put(lease);
    assert_eq!(follower.views().collect::<Vec<_>>(), other.views().collect::<Vec<_>>());
    assert!(other.orphans().is_empty());
}

#[test]
fn very_many_leases_are_found_without_a_walk_through_them() {
    let pools = vec![Pool::new("big", ip("10.0.0.0"), ip("10.255.255.255"))];
    let mut office = Office::new(pools);
    for family in 0..20_000 {
        office.enter(family, &format!("peer-{family}")).expect("room");
    }
    assert_eq!(office.ask("new", true, None), Some(ip("10.0.78.32")));
    for family in 0..20_000_u32 {
        let address = IpAddr::V4((0x0a00_0000 + family).into());
        office.leave(u64::from(family), &address.to_string()).expect("to be written");
    }
    assert_eq!(office.ask("peer-77", true, None), Some(ip("10.0.0.77")));
    assert_eq!(office.leases.waiting.len(), 20_000);
}

#[test]
fn what_waits_is_bounded() {
    let mut leases = Leases::new(&config(pools()));
    for number in 0..=u32::try_from(WAITING).unwrap() {
        let (address, identity) = (IpAddr::V4((0x0a00_0000 + number).into()), who("x"));
        let released = Some(Timestamp(u64::from(number)));
        leases.put(Lease { address, pool: "v4".to_owned(), identity, released });
    }
    assert_eq!(leases.superfluous(Timestamp(0)), Some(ip("10.0.0.0")), "the first to go");
    leases.remove(ip("10.0.0.0"));
    assert_eq!(leases.superfluous(Timestamp(0)), None);
}
