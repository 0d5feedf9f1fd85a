//! When something has to be looked at. One entry for each IKE SA, half-open IKE SA and connection.

use std::collections::BTreeSet;
use vipsec_wire::id::IkeSaId;
use vipsec_wire::time::Timestamp;

/// What to look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Alarm {
    /// An IKE SA.
    Sa(IkeSaId),
    /// A half-open IKE SA of either role.
    HalfOpen(IkeSaId),
    /// The IKE SAs that are to be synchronised with their peers.
    Synchronise,
    /// The connection of this place in the configuration.
    Start(usize),
    /// The names of peers.
    Names,
}

/// All alarms in the order of their time.
#[derive(Debug, Default)]
pub(crate) struct Timers(BTreeSet<(Timestamp, Alarm)>);

impl Timers {
    /// Moves an alarm; `armed` is its present time, kept by whoever it concerns.
    pub(crate) fn arm(
        &mut self,
        alarm: Alarm,
        armed: &mut Option<Timestamp>,
        due: Option<Timestamp>,
    ) {
        if *armed == due {
            return;
        }
        if let Some(before) = *armed {
            self.0.remove(&(before, alarm));
        }
        if let Some(due) = due {
            self.0.insert((due, alarm));
        }
        *armed = due;
    }

    /// The next time at which something is due.
    pub(crate) fn next(&self) -> Option<Timestamp> {
        self.0.first().map(|(due, _)| *due)
    }

    /// Takes the first alarm that is due; the entry is gone with it.
    pub(crate) fn pop(&mut self, now: Timestamp) -> Option<Alarm> {
        let (due, alarm) = *self.0.first()?;
        (due <= now).then(|| {
            self.0.pop_first();
            alarm
        })
    }
}
