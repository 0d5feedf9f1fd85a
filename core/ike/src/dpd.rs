//! When the peer's silence is looked into (RFC 7296 section 2.4): soon while we send to it and hear
//! nothing, ever more seldom while neither side has anything to say.

use crate::config::Dpd;
use core::time::Duration;
use vipsec_wire::id::IkeSaId;
use vipsec_wire::time::Timestamp;

/// The longest interval between the checks of an SA that nobody uses, in times of the shortest.
const LONGEST: u64 = 10;

/// What the Child SAs of an IKE SA have carried, as far as it tells one-sided traffic from silence.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Traffic {
    /// The last packet from the peer.
    inbound: Timestamp,
    /// The first packet that we have sent, of those after the last sign of the peer.
    unanswered: Option<Timestamp>,
    /// Checks of ours that the peer has answered since it last sent anything else.
    checks: u32,
}

impl Traffic {
    /// Packets were seen; `heard`: the last sign of the peer. Says whether a check may be due
    /// earlier than before.
    pub(crate) fn note(
        &mut self,
        inbound: Timestamp,
        outbound: Timestamp,
        heard: Timestamp,
    ) -> bool {
        let resumed = inbound > self.inbound && self.checks > 0;
        if inbound > self.inbound {
            (self.inbound, self.checks) = (inbound, 0);
        }
        let begins = outbound > heard && self.unanswered.is_none_or(|since| since <= heard);
        if begins {
            self.unanswered = Some(outbound);
        }
        resumed || begins
    }

    /// The peer has answered a check.
    pub(crate) fn checked(&mut self) {
        self.checks = self.checks.saturating_add(1);
    }

    /// When to check next. `since`: the earliest time from which silence counts. SAs differ by up
    /// to a quarter of the interval, so that not all silent peers are asked at once.
    pub(crate) fn due(
        &self,
        id: IkeSaId,
        dpd: Dpd,
        heard: Timestamp,
        since: Timestamp,
    ) -> Timestamp {
        let after = |from: Timestamp, factor: u64| {
            let interval_ms = u64::from(dpd.idle_s) * 1000 * factor;
            let spread_ms = interval_ms / 4 * (id.0 % 256) / 256;
            from.max(since) + Duration::from_millis(interval_ms + spread_ms)
        };
        let quiet = after(heard, LONGEST.min(1 << self.checks.min(8)));
        let one_sided = self.unanswered.filter(|first| *first > heard);
        one_sided.map_or(quiet, |first| quiet.min(after(first, 1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DPD: Dpd = Dpd { idle_s: 30 };
    const ID: IkeSaId = IkeSaId(256);

    fn at(seconds: u64) -> Timestamp {
        Timestamp(seconds * 1_000_000)
    }

    #[test]
    fn an_sa_that_nobody_uses_is_checked_ever_more_seldom() {
        let mut traffic = Traffic::default();
        let mut waits = Vec::new();
        for _ in 0..6 {
            waits.push(traffic.due(ID, DPD, at(1000), at(0)).0 / 1_000_000 - 1000);
            traffic.checked();
        }
        assert_eq!(waits, [30, 60, 120, 240, 300, 300]);
        assert!(traffic.note(at(1001), at(0), at(1001)), "it may be due earlier");
        assert_eq!(traffic.due(ID, DPD, at(1001), at(0)), at(1031));
    }

    #[test]
    fn a_peer_that_only_takes_is_checked_soon() {
        let mut traffic = Traffic::default();
        (0..9).for_each(|_| traffic.checked());
        assert!(!traffic.note(at(0), at(990), at(1000)), "it was heard since");
        assert_eq!(traffic.due(ID, DPD, at(1000), at(0)), at(1300));
        assert!(traffic.note(at(0), at(1100), at(1000)));
        assert_eq!(traffic.due(ID, DPD, at(1000), at(0)), at(1130));
        assert!(!traffic.note(at(0), at(1120), at(1000)));
        assert_eq!(traffic.due(ID, DPD, at(1000), at(0)), at(1130), "more packets change nothing");
    }

    #[test]
    fn sending_never_puts_a_check_off_and_hearing_does() {
        let mut traffic = Traffic::default();
        traffic.note(at(0), at(1020), at(1000));
        assert_eq!(traffic.due(ID, DPD, at(1000), at(0)), at(1030));
        traffic.note(at(1021), at(1020), at(1021));
        assert_eq!(traffic.due(ID, DPD, at(1021), at(0)), at(1051));
    }
}
