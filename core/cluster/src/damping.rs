//! How often ownership has changed lately, and how much longer one waits because of it.
//!
//! A wrong guess about a death costs only a takeover; a hundred in a row cost the service.

use core::time::Duration;
use std::collections::VecDeque;
use vipsec_wire::time::Timestamp;

/// Changes that are remembered.
const REMEMBERED_MAX: usize = 16;
/// How far back a change counts.
const WINDOW: Duration = Duration::from_secs(30);
/// So many are free.
const FREE: u32 = 3;
/// What the first that is not free costs; each further one doubles it.
const STEP: Duration = Duration::from_millis(250);

/// Points in time at which something has happened.
#[derive(Debug, Default)]
pub(crate) struct History(VecDeque<Timestamp>);

impl History {
    pub(crate) fn note(&mut self, now: Timestamp) {
        if self.0.len() == REMEMBERED_MAX {
            self.0.pop_front();
        }
        self.0.push_back(now);
    }

    pub(crate) fn recent(&self, now: Timestamp) -> u32 {
        let recent = self.0.iter().filter(|at| now.since(**at) < WINDOW).count();
        u32::try_from(recent).unwrap_or(u32::MAX)
    }

    /// How much longer to wait after so many recent ones.
    pub(crate) fn penalty(&self, now: Timestamp, most: Duration) -> Duration {
        penalty(self.recent(now), most)
    }
}

/// What `count` recent ones cost.
pub(crate) fn penalty(count: u32, most: Duration) -> Duration {
    match count.checked_sub(FREE) {
        None => Duration::ZERO,
        Some(beyond) => doubled(STEP, beyond, most),
    }
}

/// `base` doubled `times` times, `most` at most.
pub(crate) fn doubled(base: Duration, times: u32, most: Duration) -> Duration {
    base.saturating_mul(1 << times.min(20)).min(most)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: Duration = Duration::from_secs(5);

    #[test]
    fn three_are_free_and_then_it_doubles_up_to_the_most() {
        let costs: Vec<_> = (0..10).map(|count| penalty(count, MOST).as_millis()).collect();
        assert_eq!(costs, [0, 0, 0, 250, 500, 1000, 2000, 4000, 5000, 5000]);
        assert_eq!(penalty(u32::MAX, MOST), MOST);
    }

    #[test]
    fn old_ones_are_forgotten() {
        let mut history = History::default();
        let start = Timestamp(1_000_000);
        for _ in 0..100 {
            history.note(start);
        }
        assert_eq!(history.recent(start), 16);
        assert_eq!(history.penalty(start, MOST), MOST);
        assert_eq!(history.penalty(start + WINDOW, MOST), Duration::ZERO);
    }
}
