//! Repetition of requests (RFC 7296 section 2.1): exponential back-off, a bounded number of times.

use crate::config::Retransmit;
use core::time::Duration;
use vipsec_wire::time::Timestamp;

/// Where a request stands in its repetitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Retransmission {
    repeated: u32,
    due: Timestamp,
}

impl Retransmission {
    /// The request has just been sent.
    pub(crate) fn begin(now: Timestamp, settings: &Retransmit) -> Retransmission {
        Retransmission { repeated: 0, due: now + wait(settings, 0) }
    }

    /// The request was sent by a former owner; it is due at once.
    pub(crate) fn inherited(now: Timestamp) -> Retransmission {
        Retransmission { repeated: 0, due: now }
    }

    /// How often the request has been repeated.
    pub(crate) fn repeated(&self) -> u32 {
        self.repeated
    }

    /// When something has to happen.
    pub(crate) fn due(&self) -> Timestamp {
        self.due
    }

    /// The wait is over: counts a repetition and says when to look again, or gives up.
    pub(crate) fn repeat(&mut self, now: Timestamp, settings: &Retransmit) -> Result<(), GiveUp> {
        if self.repeated >= settings.tries {
            return Err(GiveUp);
        }
        self.repeated += 1;
        self.due = now + wait(settings, self.repeated);
        Ok(())
    }
}

/// The peer does not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct GiveUp;

//= RFC 7296 section 2.4 #6: the waits grow exponentially
fn wait(settings: &Retransmit, repeated: u32) -> Duration {
    let base = u64::from(settings.base_percent.max(100));
    let step = |wait: u64, _| wait.saturating_mul(base) / 100;
    let micros = (0..repeated.min(32)).fold(u64::from(settings.initial_ms) * 1000, step);
    Duration::from_micros(micros)
}

#[cfg(test)]
mod tests {
    use super::*;

    //= RFC 7296 section 2.4 #6: exponentially
    #[test]
    fn waits_grow_and_end() {
        let settings = Retransmit { initial_ms: 1000, base_percent: 200, tries: 2 };
        let start = Timestamp(0);
        let mut repetition = Retransmission::begin(start, &settings);
        assert_eq!(repetition.due(), start + Duration::from_secs(1));
        let mut now = repetition.due();
        assert_eq!(repetition.repeat(now, &settings), Ok(()));
        assert_eq!(repetition.due(), now + Duration::from_secs(2));
        now = repetition.due();
        assert_eq!(repetition.repeat(now, &settings), Ok(()));
        assert_eq!(repetition.due(), now + Duration::from_secs(4));
        assert_eq!(repetition.repeat(repetition.due(), &settings), Err(GiveUp));
    }
}
