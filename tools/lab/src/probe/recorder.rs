//! The pen of the probers: turns arrivals into a [`FlowRecord`].

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::Stop;
use crate::clock::now_us;
use crate::flow::{Answer, Break, FlowRecord, Gap, Packet, SHORTEST_GAP_US};

/// Pauses from here on are told while they happen.
const TOLD_GAP_US: u64 = 40_000;
/// See [`Patience`].
const GRACE_US: u64 = 500_000;

/// What a prober tells at the first arrival of a flow.
pub(super) const STARTED: &str = "flows";

/// Collects what happens to one flow; shared by the threads of its prober.
#[derive(Debug)]
pub(super) struct Recorder {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    record: FlowRecord,
    last_arrival_us: u64,
    places: HashMap<u64, usize>,
}

impl Recorder {
    pub(super) fn new(name: &str) -> Self {
        let now = now_us();
        let record = FlowRecord { name: name.to_owned(), started_us: now, ..FlowRecord::default() };
        Self { state: Mutex::new(State { record, last_arrival_us: now, places: HashMap::new() }) }
    }

    /// Something arrived: `amount` bytes of a stream.
    pub(super) fn arrived(&self, amount: usize) {
        self.state().arrived(now_us(), amount as u64);
    }

    /// A numbered datagram leaves.
    pub(super) fn sent(&self, sequence: u64, at_us: u64) {
        let mut state = self.state();
        let place = state.record.packets.len();
        state.places.insert(sequence, place);
        state.record.packets.push(Packet { sequence, sent_us: at_us, received_us: None });
    }

    /// The echo of a numbered datagram came back.
    pub(super) fn returned(&self, sequence: u64) {
        let now = now_us();
        let mut state = self.state();
        let Some(&place) = state.places.get(&sequence) else {
            state.record.corrupt += 1;
            return;
        };
        if state.record.packets[place].received_us.is_some() {
            state.record.duplicates_us.push(now);
        } else {
            state.record.packets[place].received_us = Some(now);
            state.arrived(now, 1);
        }
    }

    /// A numbered datagram of somebody else came in.
    pub(super) fn received(&self, sequence: u64, sent_us: u64) {
        let now = now_us();
        let mut state = self.state();
        if state.places.contains_key(&sequence) {
            state.record.duplicates_us.push(now);
            return;
        }
        let place = state.record.packets.len();
        state.places.insert(sequence, place);
        state.record.packets.push(Packet { sequence, sent_us, received_us: Some(now) });
        state.arrived(now, 1);
    }

    /// Something came that nobody sent like this.
    pub(super) fn corrupt(&self) {
        let mut state = self.state();
        state.record.corrupt += 1;
        tell(&state.record.name, "contents differ from what was sent");
    }

    /// The connection broke.
    pub(super) fn broke(&self, reason: &str) {
        let mut state = self.state();
        tell(&state.record.name, &format!("broken: {reason}"));
        state.record.breaks.push(Break { at_us: now_us(), reason: reason.to_owned() });
    }

    /// A node has answered; written down when it is another one than before.
    pub(super) fn answered(&self, node: &str) {
        let mut state = self.state();
        if state.record.answers.last().is_none_or(|last| last.node != node) {
            tell(&state.record.name, &format!("answered by {node}"));
            state.record.answers.push(Answer { at_us: now_us(), node: node.to_owned() });
        }
    }

    /// How many datagrams are on their way.
    pub(super) fn outstanding(&self) -> usize {
        self.state().record.packets.iter().filter(|packet| packet.received_us.is_none()).count()
    }

    /// Closes the record.
    pub(super) fn finish(self) -> FlowRecord {
        let mut state = self.state.into_inner().unwrap_or_else(PoisonError::into_inner);
        let now = now_us();
        // A flow that had stopped for good must not look like one that went on.
        if now - state.last_arrival_us > TOLD_GAP_US * 25 {
            let gap = Gap { from_us: state.last_arrival_us, to_us: now };
            state.record.gaps.push(gap);
        }
        state.record.ended_us = now;
        state.record
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn arrived(&mut self, now: u64, amount: u64) {
        let pause = now.saturating_sub(self.last_arrival_us);
        // The time until the first arrival is set-up, no gap.
        if self.record.arrived > 0 && pause >= SHORTEST_GAP_US {
            self.record.gaps.push(Gap { from_us: self.last_arrival_us, to_us: now });
            if pause >= TOLD_GAP_US {
                tell(&self.record.name, &format!("paused for {} ms", pause / 1_000));
            }
        }
        if self.record.arrived == 0 {
            tell(&self.record.name, STARTED);
        }
        self.record.arrived += amount;
        self.last_arrival_us = now;
    }
}

/// How long a prober that is to end still waits for what is on its way.
#[derive(Debug, Default)]
pub(super) struct Patience {
    until_us: Option<u64>,
}

impl Patience {
    /// Whether nothing more is to be expected, or not to be waited for.
    pub(super) fn is_over(&mut self, recorder: &Recorder, stop: &Stop) -> bool {
        if !stop.is_requested() {
            return false;
        }
        let until_us = *self.until_us.get_or_insert_with(|| now_us() + GRACE_US);
        now_us() > until_us || recorder.outstanding() == 0
    }
}

/// Tells a spectator, with the time at which it happened.
fn tell(name: &str, news: &str) {
    println!("{} {name}: {news}", now_us());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn datagrams_are_lost_returned_or_duplicated() {
        let recorder = Recorder::new("datagrams");
        for sequence in 0..3 {
            recorder.sent(sequence, now_us());
        }
        recorder.returned(0);
        recorder.returned(2);
        recorder.returned(2);
        recorder.returned(9);
        assert_eq!(recorder.outstanding(), 1);
        let record = recorder.finish();
        assert_eq!((record.arrived, record.duplicates_us.len(), record.corrupt), (2, 1, 1));
        assert_eq!(record.packets[1].received_us, None);
    }
}
