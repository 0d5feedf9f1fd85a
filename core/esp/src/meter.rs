//! Use of one half of an SA, and its limits (RFC 4301 section 4.4.2.1, "Lifetime of the SA").

use crate::child::{Lifetime, Limits};
use core::time::Duration;
use vipsec_wire::time::Timestamp;

/// How much a half was used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Usage {
    /// Packets sealed, or opened with success.
    pub packets: u64,
    /// Bytes of their payloads, IP headers of tunnel mode included.
    pub bytes: u64,
    /// When the last of them passed; `None` when none has.
    pub last: Option<Timestamp>,
}

/// A limit that was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Expiry {
    /// Time to rekey.
    Soft,
    /// The SA is of no use any more.
    Hard,
}

/// One level of a lifetime, in the form that is compared with every packet.
#[derive(Debug, Clone, Copy)]
struct Bound {
    packets: u64,
    bytes: u64,
    until: Timestamp,
}

impl Bound {
    fn new(created: Timestamp, limits: &Limits) -> Bound {
        let until = |seconds| created + Duration::from_secs(seconds);
        Bound {
            packets: limits.packets.unwrap_or(u64::MAX),
            bytes: limits.bytes.unwrap_or(u64::MAX),
            until: limits.seconds.map_or(Timestamp(u64::MAX), until),
        }
    }

    fn is_reached(&self, usage: &Usage, now: Timestamp) -> bool {
        usage.packets >= self.packets || usage.bytes >= self.bytes || now >= self.until
    }
}

/// Counts and compares.
#[derive(Debug)]
pub(crate) struct Meter {
    soft: Bound,
    hard: Bound,
    usage: Usage,
    reported: Option<Expiry>,
}

impl Meter {
    pub(crate) fn new(created: Timestamp, lifetime: &Lifetime) -> Meter {
        Meter {
            soft: Bound::new(created, &lifetime.soft),
            hard: Bound::new(created, &lifetime.hard),
            usage: Usage::default(),
            reported: None,
        }
    }

    pub(crate) fn usage(&self) -> Usage {
        self.usage
    }

    /// A new owner begins: what the former one reported may never have reached anybody.
    pub(crate) fn begin(&mut self) {
        self.reported = None;
    }

    /// Takes over what a former owner counted.
    pub(crate) fn inherit(&mut self, usage: &Usage) {
        self.usage.packets = self.usage.packets.max(usage.packets);
        self.usage.bytes = self.usage.bytes.max(usage.bytes);
        self.usage.last = self.usage.last.max(usage.last);
    }

    pub(crate) fn count(&mut self, now: Timestamp, bytes: usize) {
        self.usage.packets += 1;
        self.usage.bytes += bytes as u64;
        self.usage.last = Some(now);
    }

    /// Whether the hard limit forbids another packet.
    //= RFC 7296 section 2.8 #1: after its life an SA neither seals nor opens
    pub(crate) fn is_over(&self, now: Timestamp) -> bool {
        self.hard.is_reached(&self.usage, now)
    }

    /// The limit reached, if it was not reported before. `room` is what else may end the SA.
    pub(crate) fn expiry(&mut self, now: Timestamp, room: Option<Expiry>) -> Option<Expiry> {
        let level = if self.is_over(now) {
            Some(Expiry::Hard)
        } else if self.soft.is_reached(&self.usage, now) {
            room.max(Some(Expiry::Soft))
        } else {
            room
        };
        if level <= self.reported {
            return None;
        }
        self.reported = level;
        level
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp(1_000_000);

    fn meter() -> Meter {
        let soft = Limits { bytes: Some(3_000), packets: Some(4), seconds: Some(10) };
        let hard = Limits { bytes: Some(5_000), packets: Some(6), seconds: Some(20) };
        Meter::new(START, &Lifetime { soft, hard, ..Lifetime::default() })
    }

    #[test]
    fn each_limit_is_reported_once_and_hard_after_soft() {
        let mut by_packets = meter();
        for _ in 0..3 {
            by_packets.count(START, 1);
            assert_eq!(by_packets.expiry(START, None), None);
        }
        by_packets.count(START, 1);
        assert_eq!(by_packets.expiry(START, None), Some(Expiry::Soft));
        assert_eq!(by_packets.expiry(START, None), None);
        by_packets.count(START, 1);
        assert!(!by_packets.is_over(START));
        by_packets.count(START, 1);
        assert!(by_packets.is_over(START));
        assert_eq!(by_packets.expiry(START, None), Some(Expiry::Hard));
        assert_eq!(by_packets.expiry(START, None), None);
    }

    #[test]
    fn bytes_and_time_end_it_too() {
        let mut by_bytes = meter();
        by_bytes.count(START, 3_000);
        assert_eq!(by_bytes.expiry(START, None), Some(Expiry::Soft));
        let mut by_time = meter();
        assert_eq!(by_time.expiry(START + Duration::from_millis(9_999), None), None);
        assert_eq!(by_time.expiry(START + Duration::from_secs(10), None), Some(Expiry::Soft));
        assert_eq!(by_time.expiry(START + Duration::from_secs(20), None), Some(Expiry::Hard));
    }

    #[test]
    fn lack_of_room_counts_as_a_limit() {
        let mut meter = meter();
        assert_eq!(meter.expiry(START, Some(Expiry::Soft)), Some(Expiry::Soft));
        assert_eq!(meter.expiry(START, Some(Expiry::Hard)), Some(Expiry::Hard));
    }

    #[test]
    fn a_new_owner_inherits_the_use_and_reports_again() {
        let mut meter = meter();
        let used = Usage { packets: 4, bytes: 9, last: Some(START) };
        assert_eq!(meter.expiry(START, Some(Expiry::Soft)), Some(Expiry::Soft));
        meter.begin();
        meter.inherit(&used);
        assert_eq!(meter.usage(), used);
        assert_eq!(meter.expiry(START, None), Some(Expiry::Soft));
    }
}
