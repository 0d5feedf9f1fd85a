//! Picking a target for a new connection: round robin, smooth weighted round robin, rendezvous
//! hash by weight. Integers only, so that every owner computes the same.

use crate::service::Method;
use core::net::IpAddr;

/// One target as a [`Selector`] sees it.
#[derive(Debug, Clone)]
struct Choice {
    /// Index of the node with the caller.
    node: u16,
    /// A hash of its name: the same at every owner.
    identity: u64,
    weight: u16,
    usable: bool,
    /// Running credit of the smooth weighted round robin.
    credit: i64,
}

/// The targets of one service, and whose turn it is.
#[derive(Debug, Clone)]
pub struct Selector {
    method: Method,
    choices: Vec<Choice>,
    next: usize,
}

impl Selector {
    /// A selector without targets.
    #[must_use]
    pub fn new(method: Method) -> Selector {
        Selector { method, choices: Vec::new(), next: 0 }
    }

    /// Adds a target: the caller's index for it, its name, and its weight.
    pub fn add(&mut self, node: u16, name: &str, weight: u16) {
        self.choices.push(Choice {
            node,
            identity: hash_bytes(name.as_bytes()),
            weight,
            usable: true,
            credit: 0,
        });
    }

    /// Sets whether a target may get new connections.
    pub fn set_usable(&mut self, node: u16, usable: bool) {
        for choice in &mut self.choices {
            if choice.node == node {
                choice.usable = usable;
            }
        }
    }

    /// Whether the target counts as healthy; one that is not here does.
    #[must_use]
    pub fn is_healthy(&self, node: u16) -> bool {
        !self.choices.iter().any(|choice| choice.node == node && !choice.usable)
    }

    /// Whether the target is in the selector, healthy and of a weight above 0.
    #[must_use]
    pub fn is_usable(&self, node: u16) -> bool {
        self.choices.iter().any(|choice| choice.node == node && choice.eligible())
    }

    /// All targets, usable or not.
    pub fn nodes(&self) -> impl Iterator<Item = u16> + '_ {
        self.choices.iter().map(|choice| choice.node)
    }

    /// Picks a target for a new connection of `peer`; `None` when there is no usable one.
    pub fn pick(&mut self, peer: IpAddr) -> Option<u16> {
        match self.method {
            Method::RoundRobin => self.pick_next(),
            Method::Weighted => self.pick_weighted(),
            Method::Hash => self.pick_hash(peer),
        }
    }

    fn pick_next(&mut self) -> Option<u16> {
        let count = self.choices.len();
        let found = (0..count)
            .map(|step| (self.next + step) % count)
            .find(|&index| self.choices[index].eligible())?;
        self.next = (found + 1) % count;
        Some(self.choices[found].node)
    }

    /// Every usable target gains its weight, the richest is picked and pays for all.
    fn pick_weighted(&mut self) -> Option<u16> {
        let mut total = 0;
        let mut best: Option<usize> = None;
        for index in 0..self.choices.len() {
            let choice = &mut self.choices[index];
            if !choice.eligible() {
                continue;
            }
            total += i64::from(choice.weight);
            choice.credit += i64::from(choice.weight);
            let credit = choice.credit;
            if best.is_none_or(|b| credit > self.choices[b].credit) {
                best = Some(index);
            }
        }
        let picked = &mut self.choices[best?];
        picked.credit -= total;
        Some(picked.node)
    }

    /// Highest `weight / -log2(h)` wins, where h is a hash of peer and target in (0, 1).
    fn pick_hash(&self, peer: IpAddr) -> Option<u16> {
        let peer = match peer {
            IpAddr::V4(address) => hash_bytes(&address.octets()),
            IpAddr::V6(address) => hash_bytes(&address.octets()),
        };
        let mut best: Option<(u16, u64, &Choice)> = None;
        for choice in self.choices.iter().filter(|choice| choice.eligible()) {
            let cost = minus_log2(mix(peer ^ choice.identity));
            let better = best.is_none_or(|(weight, least, _)| {
                u128::from(choice.weight) * u128::from(least)
                    > u128::from(weight) * u128::from(cost)
            });
            if better {
                best = Some((choice.weight, cost, choice));
            }
        }
        best.map(|(_, _, choice)| choice.node)
    }
}

impl Choice {
    fn eligible(&self) -> bool {
        self.usable && self.weight > 0
    }
}

/// FNV-1a, finished by [`mix`]. No secret is in it: it must be equal on all nodes.
fn hash_bytes(bytes: &[u8]) -> u64 {
    let start = 0xcbf2_9ce4_8422_2325_u64;
    let hash = bytes
        .iter()
        .fold(start, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    mix(hash)
}

/// The finaliser of MurmurHash3.
fn mix(mut x: u64) -> u64 {
    x ^= x >> 33;
    x = x.wrapping_mul(0xff51_afd7_ed55_8ccd);
    x ^= x >> 33;
    x = x.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    x ^ (x >> 33)
}

/// `-log2(h / 2^64)` with 32 binary places, by repeated squaring; at least 1.
fn minus_log2(h: u64) -> u64 {
    let h = h.max(1);
    let shift = h.leading_zeros();
    // The mantissa in [1, 2) with 63 binary places.
    let mut mantissa = u128::from(h << shift);
    let mut fraction = 0_u64;
    for _ in 0..32 {
        mantissa = (mantissa * mantissa) >> 63;
        fraction <<= 1;
        if mantissa >> 64 != 0 {
            fraction |= 1;
            mantissa >>= 1;
        }
    }
    // log2(h) = (63 - shift) + fraction / 2^32
    let whole = u64::from(shift + 1) << 32;
    whole.saturating_sub(fraction).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selector(method: Method, weights: &[u16]) -> Selector {
        let mut selector = Selector::new(method);
        for (node, &weight) in (0..).zip(weights) {
            selector.add(node, &format!("t{node}"), weight);
        }
        selector
    }

    fn peer(n: u32) -> IpAddr {
        IpAddr::from(n.to_be_bytes())
    }

    #[test]
    fn round_robin_goes_round_and_skips_the_unhealthy() {
        let mut s = selector(Method::RoundRobin, &[1, 1, 0, 1]);
        let picks: Vec<_> = (0..6).map(|n| s.pick(peer(n))).collect();
        assert_eq!(picks, [0, 1, 3, 0, 1, 3].map(Some));
        s.set_usable(1, false);
        let picks: Vec<_> = (0..4).map(|n| s.pick(peer(n))).collect();
        assert_eq!(picks, [0, 3, 0, 3].map(Some));
        assert!(!s.is_usable(1) && !s.is_usable(2) && s.is_usable(3));
    }

    #[test]
    fn weighted_is_proportional_and_interleaved() {
        let mut s = selector(Method::Weighted, &[5, 1, 1]);
        let picks: Vec<_> = (0..7).map(|n| s.pick(peer(n)).expect("one")).collect();
        assert_eq!(picks, [0, 0, 1, 0, 2, 0, 0]);
    }

    #[test]
    fn the_hash_keeps_to_weights_and_moves_only_what_it_must() {
        let mut s = selector(Method::Hash, &[1, 2, 1]);
        let before: Vec<_> = (0..8000).map(|n| s.pick(peer(n)).expect("one")).collect();
        let count = |node| before.iter().filter(|&&n| n == node).count();
        assert!((1800..2200).contains(&count(0)), "{}", count(0));
        assert!((3800..4200).contains(&count(1)), "{}", count(1));
        assert!((1800..2200).contains(&count(2)), "{}", count(2));
        s.set_usable(1, false);
        for (n, &old) in (0..).zip(&before) {
            let new = s.pick(peer(n)).expect("one");
            assert!(new != 1 && (old == 1 || new == old));
        }
    }

    #[test]
    fn nobody_is_picked_when_nobody_is_usable() {
        for method in [Method::RoundRobin, Method::Weighted, Method::Hash] {
            assert_eq!(Selector::new(method).pick(peer(1)), None);
            assert_eq!(selector(method, &[0, 0]).pick(peer(1)), None);
        }
    }

    #[test]
    fn the_logarithm_is_right_at_known_points() {
        assert_eq!(minus_log2(1 << 63), 1 << 32);
        assert_eq!(minus_log2(1), 64 << 32);
        assert_eq!(minus_log2(u64::MAX), 1);
        // -log2(0.75) = 0.415037499…
        let scaled = minus_log2(3 << 62) as f64 / 4_294_967_296.0;
        assert!((scaled - 0.415_037_499).abs() < 1e-6, "{scaled}");
    }
}
