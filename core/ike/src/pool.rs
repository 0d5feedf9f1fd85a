//! Addresses for peers (RFC 7296 section 3.15). Who has which follows from the records of the IKE
//! SAs; there is no record of leases that could contradict them.
//!
//! A lease belongs to a family of IKE SAs, so that a rekey does not touch it. What an identity had
//! before is remembered in memory, so that it gets it back while nobody else needed it.

use crate::config::Pool;
use core::net::IpAddr;
use std::collections::{BTreeMap, VecDeque};
use vipsec_wire::id::IkeSaId;
use vipsec_wire::ike::Identity;

/// Addresses whose last holder is remembered.
const MEMORY: usize = 65_536;

/// Steps through a pool in search of a free address.
const SEARCH: u32 = 65_536;

/// Who has and had which address.
#[derive(Debug, Default)]
pub(crate) struct Leases {
    held: BTreeMap<IpAddr, IkeSaId>,
    last_holder: BTreeMap<IpAddr, Identity>,
    last_address: BTreeMap<(Identity, bool), IpAddr>,
    /// In the order of remembering; the first are forgotten when there are too many.
    remembered: VecDeque<IpAddr>,
}

impl Leases {
    /// A family of IKE SAs has these addresses.
    pub(crate) fn hold(&mut self, family: IkeSaId, identity: &Identity, addresses: &[IpAddr]) {
        for address in addresses {
            self.held.insert(*address, family);
            self.remember(*address, identity);
        }
    }

    /// The last IKE SA of a family is gone.
    pub(crate) fn release(&mut self, family: IkeSaId, addresses: &[IpAddr]) {
        for address in addresses {
            if self.held.get(address) == Some(&family) {
                self.held.remove(address);
            }
        }
    }

    fn remember(&mut self, address: IpAddr, identity: &Identity) {
        if self.last_holder.insert(address, identity.clone()).is_none() {
            self.remembered.push_back(address);
        }
        self.last_address.insert((identity.clone(), address.is_ipv4()), address);
        while self.remembered.len() > MEMORY {
            let Some(oldest) = self.remembered.pop_front() else { break };
            let Some(identity) = self.last_holder.remove(&oldest) else { continue };
            let key = (identity, oldest.is_ipv4());
            if self.last_address.get(&key) == Some(&oldest) {
                self.last_address.remove(&key);
            }
        }
    }

    /// An address of one family of IP for `identity`: the one that it wishes, else the one that it
    /// had, else one that nobody has had, else any free one. Nothing is held yet.
    pub(crate) fn choose(
        &self,
        pools: &[Pool],
        identity: &Identity,
        ipv4: bool,
        wish: Option<IpAddr>,
    ) -> Option<IpAddr> {
        let pools = || pools.iter().filter(move |pool| pool.first.is_ipv4() == ipv4);
        let free = |address: &IpAddr| {
            pools().any(|pool| (pool.first..=pool.last).contains(address))
                && !self.held.contains_key(address)
        };
        let had = self.last_address.get(&(identity.clone(), ipv4)).copied();
        if let Some(known) = wish.into_iter().chain(had).find(free) {
            return Some(known);
        }
        let mut second_best = None;
        for address in pools().flat_map(addresses) {
            if self.held.contains_key(&address) {
                continue;
            }
            if !self.last_holder.contains_key(&address) {
                return Some(address);
            }
            second_best = second_best.or(Some(address));
        }
        second_best
    }
}

/// The addresses of a pool, in order; of a huge one the first so many.
fn addresses(pool: &Pool) -> impl Iterator<Item = IpAddr> {
    let (first, last) = (number(pool.first), number(pool.last));
    let ipv4 = pool.first.is_ipv4();
    let end = last.min(first.saturating_add(u128::from(SEARCH)));
    (first..=end).map(move |value| match ipv4 {
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
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn who(name: &str) -> Identity {
        Identity::Fqdn(name.to_owned())
    }

    fn pools() -> Vec<Pool> {
        let pool = |first, last| Pool { name: "p".to_owned(), first: ip(first), last: ip(last) };
        vec![pool("10.0.0.1", "10.0.0.3"), pool("2001:db8::1", "2001:db8::2")]
    }

    #[test]
    fn fresh_addresses_first_and_old_ones_back() {
        let (mut leases, pools) = (Leases::default(), pools());
        let family = IkeSaId;
        assert_eq!(leases.choose(&pools, &who("a"), true, None), Some(ip("10.0.0.1")));
        leases.hold(family(1), &who("a"), &[ip("10.0.0.1")]);
        leases.release(family(1), &[ip("10.0.0.1")]);
        assert_eq!(leases.choose(&pools, &who("b"), true, None), Some(ip("10.0.0.2")));
        assert_eq!(leases.choose(&pools, &who("a"), true, None), Some(ip("10.0.0.1")));
        leases.hold(family(2), &who("b"), &[ip("10.0.0.2")]);
        leases.hold(family(3), &who("c"), &[ip("10.0.0.3")]);
        assert_eq!(leases.choose(&pools, &who("d"), true, None), Some(ip("10.0.0.1")));
        leases.hold(family(4), &who("d"), &[ip("10.0.0.1")]);
        assert_eq!(leases.choose(&pools, &who("a"), true, None), None);
        assert_eq!(leases.choose(&pools, &who("a"), false, None), Some(ip("2001:db8::1")));
    }

    #[test]
    fn a_wish_is_honoured_when_free_and_ours() {
        let (mut leases, pools) = (Leases::default(), pools());
        let wish = |address| Some(ip(address));
        assert_eq!(leases.choose(&pools, &who("a"), true, wish("10.0.0.3")), wish("10.0.0.3"));
        assert_eq!(leases.choose(&pools, &who("a"), true, wish("10.9.9.9")), wish("10.0.0.1"));
        leases.hold(IkeSaId(1), &who("b"), &[ip("10.0.0.3")]);
        assert_eq!(leases.choose(&pools, &who("a"), true, wish("10.0.0.3")), wish("10.0.0.1"));
    }

    #[test]
    fn only_the_holder_releases() {
        let mut leases = Leases::default();
        leases.hold(IkeSaId(2), &who("a"), &[ip("10.0.0.1")]);
        leases.release(IkeSaId(1), &[ip("10.0.0.1")]);
        assert_eq!(leases.choose(&pools(), &who("b"), true, None), Some(ip("10.0.0.2")));
    }
}
