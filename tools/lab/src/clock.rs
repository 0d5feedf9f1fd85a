//! The lab's time: CLOCK_MONOTONIC in microseconds, which all processes of one machine share, so
//! that records of different probers can be laid side by side.

use std::thread;
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// Microseconds of the machine's monotonic clock.
#[must_use]
pub fn now_us() -> u64 {
    read_us(ClockId::CLOCK_MONOTONIC)
}

/// Microseconds since 1970 by the wall clock; packet captures are stamped with it.
#[must_use]
pub fn wall_us() -> u64 {
    read_us(ClockId::CLOCK_REALTIME)
}

/// Sleeps until the monotonic clock shows `deadline_us`; returns at once if that is past.
pub fn sleep_until(deadline_us: u64) {
    let now = now_us();
    if deadline_us > now {
        thread::sleep(Duration::from_micros(deadline_us - now));
    }
}

/// Times at a fixed distance from one another, held against a clock and not against the last
/// call, so that a late tick does not delay those that follow.
#[derive(Debug)]
pub struct Schedule {
    next_us: u64,
    interval_us: u64,
}

impl Schedule {
    /// A schedule whose first tick is now.
    #[must_use]
    pub fn every(interval_us: u64) -> Self {
        Self { next_us: now_us(), interval_us }
    }

    /// Waits for the next tick. Ticks that were missed are made up for at once.
    pub fn wait(&mut self) {
        sleep_until(self.next_us);
        self.next_us += self.interval_us;
    }

    /// Waits for the next tick and forgets those that were missed: for senders that a blocked
    /// connection holds up and that shall not burst afterwards.
    pub fn wait_without_catching_up(&mut self) {
        self.next_us = self.next_us.max(now_us());
        self.wait();
    }
}

fn read_us(clock: ClockId) -> u64 {
    let time = clock_gettime(clock).expect("the kernel has this clock");
    let seconds = u64::try_from(time.tv_sec()).expect("clocks start at zero");
    let nanos = u64::try_from(time.tv_nsec()).expect("nanoseconds are not negative");
    seconds * 1_000_000 + nanos / 1_000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schedule_keeps_its_absolute_times() {
        let start = now_us();
        let mut schedule = Schedule::every(2_000);
        for _ in 0..6 {
            schedule.wait();
        }
        assert!(now_us() >= start + 10_000);
    }
}
