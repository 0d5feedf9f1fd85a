//! Path MTUs to peers, as the kernel learnt them (RFC 4301 section 8.2, RFC 1191, RFC 8201). A
//! report only lowers what is assumed, never below what every link must carry, and is forgotten
//! after a while.

use crate::config::Limits;
use core::net::IpAddr;
use core::time::Duration;
use std::collections::BTreeMap;
use vipsec_wire::time::Timestamp;

/// The least that is believed for IPv4.
const IPV4_MIN: u16 = 576;
/// What every IPv6 link carries (RFC 8200 section 5).
const IPV6_MIN: u16 = 1280;

/// Known path MTUs.
#[derive(Debug)]
pub(crate) struct PathMtus {
    known: BTreeMap<IpAddr, (u16, Timestamp)>,
    default: u16,
    age: Duration,
    capacity: usize,
    /// Counts changes, so that who keeps a copy sees when it is stale.
    generation: u32,
}

/// A value with the time until which it may be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Kept {
    generation: u32,
    until: Timestamp,
    /// Bytes of the outer IP packet.
    pub(crate) mtu: u16,
}

impl PathMtus {
    pub(crate) fn new(limits: &Limits) -> PathMtus {
        PathMtus {
            known: BTreeMap::new(),
            default: limits.path_mtu,
            age: limits.path_mtu_age,
            capacity: limits.path_mtus,
            generation: 0,
        }
    }

    /// Notes what the kernel says. When there is no room (`false`) the report is ignored: the
    /// packets that are too big are lost then, as they were before.
    #[must_use]
    pub(crate) fn learn(&mut self, now: Timestamp, remote: IpAddr, mtu: u16) -> bool {
        let least = if remote.is_ipv4() { IPV4_MIN } else { IPV6_MIN };
        let mtu = mtu.max(least).min(self.default);
        if self.known.len() >= self.capacity && !self.known.contains_key(&remote) {
            self.known.retain(|_, (_, until)| *until > now);
            if self.known.len() >= self.capacity {
                return false;
            }
        }
        let before = self.known.insert(remote, (mtu, now + self.age));
        if before.is_none_or(|(old, until)| old != mtu || until <= now) {
            self.generation = self.generation.wrapping_add(1);
        }
        true
    }

    /// Whether a copy still holds.
    pub(crate) fn holds(&self, now: Timestamp, kept: &Kept) -> bool {
        kept.generation == self.generation && now < kept.until
    }

    /// What is known, to be kept.
    pub(crate) fn get(&self, now: Timestamp, remote: IpAddr) -> Kept {
        let generation = self.generation;
        match self.known.get(&remote) {
            Some(&(mtu, until)) if now < until => Kept { generation, until, mtu },
            _ => Kept { generation, until: Timestamp(u64::MAX), mtu: self.default },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_lowers_within_bounds_and_ages() {
        let now = Timestamp(1_000_000);
        let limits = Limits { path_mtus: 2, ..Limits::default() };
        let mut mtus = PathMtus::new(&limits);
        let v4 = IpAddr::from([192, 0, 2, 1]);
        let v6: IpAddr = "2001:db8::1".parse().expect("an address");
        let first = mtus.get(now, v4);
        assert_eq!(first.mtu, 1500);
        assert!(mtus.learn(now, v4, 1400));
        assert!(!mtus.holds(now, &first));
        let second = mtus.get(now, v4);
        assert_eq!(second.mtu, 1400);
        assert!(mtus.holds(now, &second));
        assert!(!mtus.holds(now + limits.path_mtu_age, &second));
        assert_eq!(mtus.get(now + limits.path_mtu_age, v4).mtu, 1500);
        assert!(mtus.learn(now, v4, 60));
        assert_eq!(mtus.get(now, v4).mtu, 576);
        assert!(mtus.learn(now, v6, 60));
        assert_eq!(mtus.get(now, v6).mtu, 1280);
        assert!(mtus.learn(now, v4, 9000));
        assert_eq!(mtus.get(now, v4).mtu, 1500);
        assert!(!mtus.learn(now, IpAddr::from([192, 0, 2, 2]), 1000));
        assert_eq!(mtus.get(now, IpAddr::from([192, 0, 2, 2])).mtu, 1500, "no room");
    }
}
