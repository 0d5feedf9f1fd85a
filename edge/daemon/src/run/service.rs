//! What the service manager (sd_notify(3)) and the scheduler are told.

use sd_notify::NotifyState;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// Niceness of all threads. The other nodes take one for dead that sends no heartbeat for 150 ms
/// (by default), so it must get a processor before what can wait.
const NICENESS: i32 = -10;

/// Raises this thread's priority, and with it that of all threads that it starts. Where that is not
/// allowed it stays as it is: the unit file has it, too.
pub(super) fn raise_priority() {
    let is_lower = rustix::process::getpriority_process(None).is_ok_and(|now| now > NICENESS);
    if is_lower && let Err(error) = rustix::process::setpriority_process(None, NICENESS) {
        tracing::info!(%error, "the priority stays as it is; on a busy machine others may take \
                                this node for dead");
    }
}

/// Tells the service manager, if there is one.
pub(super) fn tell(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::debug!(%error, "the service manager was not told");
    }
}

/// The watchdog of the service manager, which kills a main loop that hangs: workers would go on
/// without it and keep a VIP that nobody manages.
pub(super) struct Watchdog {
    interval: Option<Duration>,
    due: Instant,
}

impl Watchdog {
    /// Half of what the service manager allows (`WatchdogSec=` in the unit).
    pub(super) fn new() -> Watchdog {
        let interval = sd_notify::watchdog_enabled().map(|limit| limit / 2);
        Watchdog { interval: interval.filter(|interval| !interval.is_zero()), due: Instant::now() }
    }

    /// Waits until it is due.
    pub(super) async fn due(&self) {
        match self.interval {
            Some(_) => sleep_until(self.due).await,
            None => std::future::pending().await,
        }
    }

    /// The loop lives: says so when it is due.
    pub(super) fn pat(&mut self) {
        let now = Instant::now();
        if let Some(interval) = self.interval.filter(|_| self.due <= now) {
            tell(NotifyState::Watchdog);
            self.due = now + interval;
        }
    }
}
