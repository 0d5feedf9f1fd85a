//! Addresses for peers (RFC 7296 section 3.15): whose each one is. An identity keeps its address
//! for a while after its last IKE SA has ended.
//!
//! Every address has a record of its own, written with the IKE SA that gets it and with the end of
//! the last one that has it. Who *holds* an address follows from the IKE SAs alone, by families, so
//! that a rekey does not touch it and no record can say otherwise.

use crate::config::{Config, Pool};
use core::net::IpAddr;
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};
use vipsec_wire::id::IkeSaId;
use vipsec_wire::ike::Identity;
use vipsec_wire::record::v1::Lease;
use vipsec_wire::time::Timestamp;

/// Most addresses that are kept for identities without an IKE SA; beyond it the one goes first whose
/// time is over first.
const WAITING: usize = 65_536;

/// How long an address of a pool is kept that is not configured any more.
const OF_NO_POOL: Duration = Duration::from_secs(3600);

/// A lease as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseView {
    /// What its record says.
    pub lease: Lease,
    /// The families of IKE SAs that have the address; none: it is kept for the identity.
    pub holders: Vec<IkeSaId>,
    /// When it is forgotten; `None` while it is held.
    pub expires: Option<Timestamp>,
}

#[derive(Debug)]
struct Entry {
    lease: Lease,
    holders: BTreeSet<IkeSaId>,
    /// Its place in `waiting`.
    expires: Option<Timestamp>,
}

/// All leases.
#[derive(Debug, Default)]
pub(crate) struct Leases {
    entries: BTreeMap<IpAddr, Entry>,
    of_identity: BTreeMap<Identity, BTreeSet<IpAddr>>,
    /// Those that nobody holds, in the order in which they are forgotten.
    waiting: BTreeSet<(Timestamp, IpAddr)>,
    /// For each pool, by its first address: no address below this one is without lease.
    lowest: BTreeMap<IpAddr, IpAddr>,
    /// How long addresses of each pool are kept.
    kept: BTreeMap<String, Duration>,
}

/// Who asks for an address of one family of IP.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asker<'a> {
    pub(crate) identity: &'a Identity,
    /// All IKE SAs with the identity are of one peer, which may have an address twice while it goes
    /// from one IKE SA to another.
    pub(crate) one_peer: bool,
    pub(crate) ipv4: bool,
    /// The address that it would like to have.
    pub(crate) wish: Option<IpAddr>,
}

impl Leases {
    pub(crate) fn new(config: &Config) -> Leases {
        let mut leases = Leases::default();
        leases.configure(config);
        leases
    }

    /// The pools have changed. What is leased stays so.
    pub(crate) fn configure(&mut self, config: &Config) {
        let pools = config.connections.iter().flat_map(|connection| &connection.pools);
        self.kept = pools.map(|pool| (pool.name.clone(), pool.keep)).collect();
        self.lowest.clear();
        let addresses: Vec<IpAddr> = self.entries.keys().copied().collect();
        for address in addresses {
            self.sort_in(address);
        }
    }

    /// What a record says, or what is about to be written.
    pub(crate) fn put(&mut self, lease: Lease) {
        let address = lease.address;
        let before = self.take_out(address);
        let holders = before.map(|entry| entry.holders).unwrap_or_default();
        self.of_identity.entry(lease.identity.clone()).or_default().insert(address);
        self.entries.insert(address, Entry { lease, holders, expires: None });
        self.sort_in(address);
    }

    /// The record of an address is gone.
    pub(crate) fn remove(&mut self, address: IpAddr) -> Option<Lease> {
        let entry = self.take_out(address)?;
        for (first, lowest) in &mut self.lowest {
            if (*first..*lowest).contains(&address) {
                *lowest = address;
            }
        }
        Some(entry.lease)
    }

    fn take_out(&mut self, address: IpAddr) -> Option<Entry> {
        let entry = self.entries.remove(&address)?;
        if let Some(expires) = entry.expires {
            self.waiting.remove(&(expires, address));
        }
        if let Some(addresses) = self.of_identity.get_mut(&entry.lease.identity) {
            addresses.remove(&address);
            if addresses.is_empty() {
                self.of_identity.remove(&entry.lease.identity);
            }
        }
        Some(entry)
    }

    /// Puts an address in its place among those that wait, or takes it away from there.
    fn sort_in(&mut self, address: IpAddr) {
        let Some(entry) = self.entries.get_mut(&address) else { return };
        if let Some(expires) = entry.expires.take() {
            self.waiting.remove(&(expires, address));
        }
        // One whose IKE SA is missing, be it that its record cannot be read, waits without an end
        // that is near: its peer may believe that it has it.
        if entry.holders.is_empty() {
            let kept = self.kept.get(&entry.lease.pool).copied().unwrap_or(OF_NO_POOL);
            let expires = entry.lease.released.map_or(Timestamp(u64::MAX), |since| since + kept);
            entry.expires = Some(expires);
            self.waiting.insert((expires, address));
        }
    }

    /// A family of IKE SAs has these addresses.
    pub(crate) fn hold(&mut self, family: IkeSaId, identity: &Identity, addresses: &[IpAddr]) {
        for address in addresses {
            if self.entries.get(address).is_none_or(|entry| entry.lease.identity != *identity) {
                let (pool, identity) = (String::new(), identity.clone());
                self.put(Lease { address: *address, pool, identity, released: None });
            }
            if let Some(entry) = self.entries.get_mut(address) {
                entry.holders.insert(family);
                entry.lease.released = None;
            }
            self.sort_in(*address);
        }
    }

    /// The last IKE SA of a family is gone.
    pub(crate) fn release(&mut self, family: IkeSaId, addresses: &[IpAddr]) {
        for address in addresses {
            if let Some(entry) = self.entries.get_mut(address) {
                entry.holders.remove(&family);
            }
            self.sort_in(*address);
        }
    }

    /// Since when an address waits that nobody holds any more. Gives the lease to be written;
    /// nothing when somebody has it.
    pub(crate) fn note_end(&mut self, address: IpAddr, now: Timestamp) -> Option<Lease> {
        let entry = self.entries.get_mut(&address)?;
        if !entry.holders.is_empty() {
            return None;
        }
        entry.lease.released = Some(now);
        let lease = entry.lease.clone();
        self.sort_in(address);
        Some(lease)
    }

    /// An address that nobody holds and that is to be forgotten: its time is over, or there are too
    /// many.
    pub(crate) fn superfluous(&self, now: Timestamp) -> Option<IpAddr> {
        let (expires, address) = self.waiting.first()?;
        (*expires <= now || self.waiting.len() > WAITING).then_some(*address)
    }

    /// When the next one is to be forgotten.
    pub(crate) fn next_expiry(&self) -> Option<Timestamp> {
        let (expires, _) = self.waiting.first()?;
        (*expires < Timestamp(u64::MAX)).then_some(*expires)
    }

    pub(crate) fn get(&self, address: IpAddr) -> Option<&Lease> {
        self.entries.get(&address).map(|entry| &entry.lease)
    }

    /// Addresses that no IKE SA holds although their records say so.
    pub(crate) fn orphans(&self) -> Vec<IpAddr> {
        let without_end = (Timestamp(u64::MAX), IpAddr::V4(core::net::Ipv4Addr::UNSPECIFIED));
        self.waiting.range(without_end..).map(|(_, address)| *address).collect()
    }

    /// All leases in the order of their addresses.
    pub(crate) fn views(&self) -> impl Iterator<Item = LeaseView> {
        self.entries.values().map(|entry| LeaseView {
            lease: entry.lease.clone(),
            holders: entry.holders.iter().copied().collect(),
            expires: entry.expires,
        })
    }

    /// An address for `asker`: the one that is set aside for it, else the one that it wishes, else
    /// the one that it had, else one that is nobody's, else the one that has waited for its former
    /// holder the longest. Nothing is held yet.
    pub(crate) fn choose(&mut self, pools: &[Pool], asker: Asker<'_>) -> Option<(String, IpAddr)> {
        let pools: Vec<&Pool> =
            pools.iter().filter(|pool| pool.first.is_ipv4() == asker.ipv4).collect();
        let set_aside = pools.iter().flat_map(|pool| &pool.reserved);
        let own = set_aside.filter(|(identity, _)| identity == asker.identity);
        let had = self.of_identity.get(asker.identity).into_iter().flatten();
        let known = own.map(|(_, address)| address).chain(&asker.wish).chain(had);
        let known: Vec<IpAddr> = known.copied().collect();
        let chosen = known.into_iter().find_map(|address| {
            let pool = pools.iter().find(|pool| pool.may_have(address, asker.identity))?;
            self.is_free_for(address, asker).then(|| (pool.name.clone(), address))
        });
        chosen.or_else(|| self.fresh(&pools)).or_else(|| self.longest_waiting(&pools, asker))
    }

    fn is_free_for(&self, address: IpAddr, asker: Asker<'_>) -> bool {
        self.entries.get(&address).is_none_or(|entry| {
            entry.lease.identity == *asker.identity && (entry.holders.is_empty() || asker.one_peer)
        })
    }

    fn fresh(&mut self, pools: &[&Pool]) -> Option<(String, IpAddr)> {
        pools.iter().find_map(|pool| {
            let start = self.lowest.get(&pool.first).copied().unwrap_or(pool.first);
            let nobodys = |address: &IpAddr| !self.entries.contains_key(address);
            let mut addresses = addresses(start, pool.last).filter(nobodys);
            // Addresses that are set aside are few; they are passed over each time.
            let lowest = addresses.next();
            let found = lowest.into_iter().chain(addresses).find(|a| !pool.is_set_aside(*a));
            if let Some(lowest) = lowest {
                self.lowest.insert(pool.first, lowest);
            }
            Some((pool.name.clone(), found?))
        })
    }

    fn longest_waiting(&self, pools: &[&Pool], asker: Asker<'_>) -> Option<(String, IpAddr)> {
        let ended = self.waiting.iter().filter(|(expires, _)| *expires < Timestamp(u64::MAX));
        let mut addresses = ended.map(|(_, address)| *address);
        addresses.find_map(|address| {
            let pool = pools.iter().find(|pool| pool.may_have(address, asker.identity))?;
            Some((pool.name.clone(), address))
        })
    }
}

impl Pool {
    /// Whether an address is of the pool and not set aside for somebody else.
    fn may_have(&self, address: IpAddr, identity: &Identity) -> bool {
        let anothers = |(owner, own): &(Identity, IpAddr)| *own == address && owner != identity;
        (self.first..=self.last).contains(&address) && !self.reserved.iter().any(anothers)
    }

    fn is_set_aside(&self, address: IpAddr) -> bool {
        self.reserved.iter().any(|(_, own)| *own == address)
    }
}

/// The addresses of a range, in order.
fn addresses(first: IpAddr, last: IpAddr) -> impl Iterator<Item = IpAddr> {
    let ipv4 = first.is_ipv4();
    (number(first)..=number(last)).map(move |value| match ipv4 {
        true => IpAddr::V4(u32::try_from(value).unwrap_or(0).into()),
        false => IpAddr::V6(value.into()),
    })
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(v4.to_bits()),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

#[cfg(test)]
mod tests;
