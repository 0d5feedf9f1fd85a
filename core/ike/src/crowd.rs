//! Where half-open IKE SAs and failed IKE_AUTHs come from: counted for each source, which is an IPv4
//! address or an IPv6 prefix of 64 bits, for whoever has one address of it has all (RFC 8019
//! section 4.2). Bounded: a source without anything to count is forgotten.

use core::net::IpAddr;
use core::time::Duration;
use std::collections::BTreeMap;
use vipsec_wire::time::Timestamp;

/// Span over which failures are counted.
const WINDOW: Duration = Duration::from_secs(60);
/// Sources whose failures are counted at once; the failures of others go uncounted.
const SOURCES: usize = 4096;

/// An IPv4 address, or the first 64 bits of an IPv6 address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Source {
    V4(u32),
    V6(u64),
}

impl Source {
    fn of(address: IpAddr) -> Source {
        match address.to_canonical() {
            IpAddr::V4(address) => Source::V4(address.to_bits()),
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                let prefix = [a, b, c, d].into_iter().fold(0, |bits, s| bits << 16 | u64::from(s));
                Source::V6(prefix)
            }
        }
    }
}

/// The failures of a source since `since`.
#[derive(Debug, Clone, Copy)]
struct Failures {
    since: Timestamp,
    count: u32,
}

/// All sources that have anything to count.
#[derive(Debug, Default)]
pub(crate) struct Crowd {
    half_open: BTreeMap<Source, usize>,
    failures: BTreeMap<Source, Failures>,
}

impl Crowd {
    /// A half-open IKE SA has come.
    pub(crate) fn enter(&mut self, from: IpAddr) {
        *self.half_open.entry(Source::of(from)).or_default() += 1;
    }

    /// A half-open IKE SA is gone.
    pub(crate) fn leave(&mut self, from: IpAddr) {
        let source = Source::of(from);
        if let Some(count) = self.half_open.get_mut(&source) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.half_open.remove(&source);
            }
        }
    }

    /// Half-open IKE SAs of the source of an address.
    pub(crate) fn half_open(&self, from: IpAddr) -> usize {
        self.half_open.get(&Source::of(from)).copied().unwrap_or(0)
    }

    /// An IKE_AUTH has failed that came from where answers arrive.
    pub(crate) fn failed(&mut self, now: Timestamp, from: IpAddr) {
        let source = Source::of(from);
        let fresh = |failures: &Failures| now.since(failures.since) < WINDOW;
        if !self.failures.contains_key(&source) && self.failures.len() >= SOURCES {
            self.failures.retain(|_, failures| fresh(failures));
            if self.failures.len() >= SOURCES {
                return;
            }
        }
        let failures = self.failures.entry(source).or_insert(Failures { since: now, count: 0 });
        if !fresh(failures) {
            *failures = Failures { since: now, count: 0 };
        }
        failures.count = failures.count.saturating_add(1);
    }

    /// IKE_AUTHs of the source of an address that have failed within the present minute.
    pub(crate) fn failures(&self, now: Timestamp, from: IpAddr) -> u32 {
        let failures = self.failures.get(&Source::of(from));
        failures.filter(|failures| now.since(failures.since) < WINDOW).map_or(0, |f| f.count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn an_ipv6_network_is_one_source() {
        let mut crowd = Crowd::default();
        crowd.enter(ip("2001:db8:1:2::1"));
        crowd.enter(ip("2001:db8:1:2:ffff::2"));
        crowd.enter(ip("2001:db8:1:3::1"));
        crowd.enter(ip("192.0.2.1"));
        crowd.enter(ip("::ffff:192.0.2.1"));
        assert_eq!(crowd.half_open(ip("2001:db8:1:2::9")), 2);
        assert_eq!(crowd.half_open(ip("192.0.2.1")), 2);
        assert_eq!(crowd.half_open(ip("192.0.2.2")), 0);
        for address in ["2001:db8:1:2::1", "2001:db8:1:2::1", "2001:db8:1:3::1", "192.0.2.1"] {
            crowd.leave(ip(address));
        }
        assert_eq!(crowd.half_open.len(), 1);
    }

    #[test]
    fn failures_are_forgotten_after_a_minute() {
        let mut crowd = Crowd::default();
        let start = Timestamp(0);
        for _ in 0..3 {
            crowd.failed(start, ip("192.0.2.1"));
        }
        assert_eq!(crowd.failures(start + Duration::from_secs(59), ip("192.0.2.1")), 3);
        assert_eq!(crowd.failures(start + Duration::from_secs(60), ip("192.0.2.1")), 0);
        crowd.failed(start + Duration::from_secs(61), ip("192.0.2.1"));
        assert_eq!(crowd.failures(start + Duration::from_secs(61), ip("192.0.2.1")), 1);
    }

    #[test]
    fn very_many_sources_take_no_more_room() {
        let mut crowd = Crowd::default();
        for number in 0..2 * u32::try_from(SOURCES).expect("small") {
            crowd.failed(Timestamp(0), IpAddr::V4(number.into()));
        }
        assert_eq!(crowd.failures.len(), SOURCES);
        crowd.failed(Timestamp(0) + WINDOW, ip("192.0.2.1"));
        assert_eq!(crowd.failures.len(), 1);
    }
}
