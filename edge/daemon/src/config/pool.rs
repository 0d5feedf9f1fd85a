//! `[[vip.pool]]`: addresses for peers, and who always has which.

use super::address::AddressRange;
use super::connection::{identity, ip_address, unique};
use super::file;
use super::mistake::Mistakes;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::ops::Range;
use std::time::Duration;
use vipsec_wire::ike::Identity;

/// How long an address is kept when nothing else is said: a day.
const LEASE_S: u64 = 86_400;

/// A pool of addresses for peers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pool {
    /// Its name, unique within the VIP.
    pub name: String,
    /// What it gives away.
    pub range: AddressRange,
    /// How long an address is kept for the identity that had it; 1 s to 10 years.
    pub lease: Duration,
    /// Addresses of the range, each for one identity alone.
    pub reserved: Vec<(Identity, IpAddr)>,
}

impl Pool {
    /// A pool of which only the addresses are given.
    pub(super) fn of(name: &str, range: AddressRange) -> Pool {
        let lease = Duration::from_secs(LEASE_S);
        Pool { name: name.to_owned(), range, lease, reserved: Vec::new() }
    }
}

pub(super) fn pools(raw: &[file::Pool], mistakes: &mut Mistakes) -> Vec<Pool> {
    let mut names = BTreeSet::new();
    let mut pools = Vec::new();
    for pool in raw {
        unique(&pool.name, "pool", &mut names, mistakes);
        let Some(range) = mistakes.parse(&pool.range, |text| text.parse()) else { continue };
        let lease_s = mistakes.number(pool.lease_s.as_ref(), 1..=315_360_000, LEASE_S);
        pools.push(Pool {
            lease: Duration::from_secs(lease_s),
            reserved: reserved(&pool.reserved, range, mistakes),
            ..Pool::of(pool.name.get_ref(), range)
        });
    }
    pools
}

fn reserved(
    raw: &[file::Reserved],
    range: AddressRange,
    mistakes: &mut Mistakes,
) -> Vec<(Identity, IpAddr)> {
    let mut reserved: Vec<(Identity, IpAddr)> = Vec::new();
    for entry in raw {
        let id = mistakes.parse(&entry.id, identity);
        let Some(address) = mistakes.parse(&entry.address, ip_address) else { continue };
        if !range.contains(address) {
            let (first, last) = (range.first(), range.last());
            let text = format!("{address} is not of this pool; allowed is {first} to {last}");
            mistakes.at(entry.address.span(), text);
        }
        let Some(id) = id else { continue };
        if reserved.iter().any(|(_, other)| *other == address) {
            let text = format!("{address} is given twice; allowed is one identity for each");
            mistakes.at(entry.address.span(), text);
        }
        if reserved.iter().any(|(other, _)| *other == id) {
            let text = format!("{id} has an address already; allowed is one in each pool");
            mistakes.at(entry.id.span(), text);
        }
        reserved.push((id, address));
    }
    reserved
}

/// Notes pools that share addresses, be it with those of another VIP: `known` are the earlier ones,
/// with the words for where they are.
pub(super) fn overlaps(
    raw: &file::Vip,
    pools: &[Pool],
    known: &mut Vec<(String, Pool)>,
    mistakes: &mut Mistakes,
) {
    for pool in pools {
        let shares = |(_, other): &&(String, Pool)| {
            let (range, other) = (pool.range, other.range);
            other.contains(range.first())
                || other.contains(range.last())
                || range.contains(other.first())
        };
        if let Some((name, _)) = known.iter().find(shares) {
            let place = raw.pools.iter().find(|p| *p.name.get_ref() == pool.name);
            let span: Range<usize> = place.map_or(raw.span.clone(), |p| p.range.span());
            let text =
                format!("pool {:?} has addresses of {name}; allowed are ranges apart", pool.name);
            mistakes.at(span, text);
        }
        let of_vip = raw.head.address.get_ref();
        known.push((format!("pool {:?} of VIP {of_vip}", pool.name), pool.clone()));
    }
}
