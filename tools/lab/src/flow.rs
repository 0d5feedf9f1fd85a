//! What a prober writes down of one flow, and the questions that are asked of it afterwards.
//!
//! All times are microseconds of the machine's monotonic clock.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

/// Pauses shorter than this are not written down, microseconds.
pub const SHORTEST_GAP_US: u64 = 2_000;

/// The record of one flow at one of its ends.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowRecord {
    /// What the flow is, such as `ping` or `http t1`.
    pub name: String,
    /// First and last moment of the record.
    pub started_us: u64,
    /// See [`Self::started_us`].
    pub ended_us: u64,
    /// Times without any arrival, from [`SHORTEST_GAP_US`] on.
    pub gaps: Vec<Gap>,
    /// Numbered datagrams; empty for streams.
    pub packets: Vec<Packet>,
    /// When a datagram arrived that had arrived before.
    pub duplicates_us: Vec<u64>,
    /// When a connection broke, and why.
    pub breaks: Vec<Break>,
    /// Which node answered, from when on.
    pub answers: Vec<Answer>,
    /// Bytes, or for datagrams packets, that arrived.
    pub arrived: u64,
    /// Contents that differ from what was sent.
    pub corrupt: u64,
}

/// A time without arrivals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// The last arrival before it.
    pub from_us: u64,
    /// The first arrival after it, or the end of the record.
    pub to_us: u64,
}

/// A numbered datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Packet {
    /// Its number, from 0.
    pub sequence: u64,
    /// When it was sent.
    pub sent_us: u64,
    /// When it, or its echo, arrived.
    pub received_us: Option<u64>,
}

/// The end of a connection that should have lived.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Break {
    /// When it was noticed.
    pub at_us: u64,
    /// What the socket said.
    pub reason: String,
}

/// An answer that names its node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// When it came.
    pub at_us: u64,
    /// Who sent it.
    pub node: String,
}

/// A stretch of time of which questions are asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Its first moment.
    pub from_us: u64,
    /// The first moment after it.
    pub to_us: u64,
}

impl Window {
    /// Whether a moment lies in it.
    #[must_use]
    pub fn contains(self, at_us: u64) -> bool {
        (self.from_us..self.to_us).contains(&at_us)
    }
}

impl FlowRecord {
    /// Reads the records that a prober wrote.
    ///
    /// # Errors
    /// When the file is missing or is none of a prober.
    pub fn read(path: &Path) -> Result<Vec<Self>> {
        let text = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        serde_json::from_slice(&text)
            .with_context(|| format!("{} holds no records of a prober", path.display()))
    }

    /// The longest gap that began in the window, microseconds. A gap belongs to the window in
    /// which it began, however long it lasts; windows are opened a little before their event.
    #[must_use]
    pub fn longest_gap_us(&self, window: Window) -> u64 {
        let begun = self.gaps.iter().filter(|gap| window.contains(gap.from_us));
        begun.map(|gap| gap.to_us - gap.from_us).max().unwrap_or(0)
    }

    /// Datagrams sent in the window.
    #[must_use]
    pub fn sent(&self, window: Window) -> usize {
        self.packets.iter().filter(|packet| window.contains(packet.sent_us)).count()
    }

    /// Datagrams sent in the window that never came (back).
    #[must_use]
    pub fn lost(&self, window: Window) -> usize {
        let sent = self.packets.iter().filter(|packet| window.contains(packet.sent_us));
        sent.filter(|packet| packet.received_us.is_none()).count()
    }

    /// Datagrams that came more than once, counted by when they came.
    #[must_use]
    pub fn duplicated(&self, window: Window) -> usize {
        self.duplicates_us.iter().filter(|at| window.contains(**at)).count()
    }

    /// Connections that broke in the window.
    #[must_use]
    pub fn broken(&self, window: Window) -> usize {
        self.breaks.iter().filter(|broken| window.contains(broken.at_us)).count()
    }

    /// Who answered last before the given moment.
    #[must_use]
    pub fn answered_by(&self, before_us: u64) -> Option<&str> {
        let earlier = self.answers.iter().rev().find(|answer| answer.at_us < before_us);
        earlier.map(|answer| answer.node.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> FlowRecord {
        FlowRecord {
            name: "ping".into(),
            gaps: vec![Gap { from_us: 90, to_us: 200 }, Gap { from_us: 210, to_us: 900 }],
            packets: vec![
                Packet { sequence: 0, sent_us: 100, received_us: Some(200) },
                Packet { sequence: 1, sent_us: 150, received_us: None },
                Packet { sequence: 2, sent_us: 400, received_us: None },
            ],
            duplicates_us: vec![201],
            answers: vec![
                Answer { at_us: 10, node: "t1".into() },
                Answer { at_us: 300, node: "t2".into() },
            ],
            ..FlowRecord::default()
        }
    }

    #[test]
    fn gaps_and_losses_belong_to_the_window_in_which_they_began() {
        let first = Window { from_us: 80, to_us: 205 };
        let second = Window { from_us: 205, to_us: 1_000 };
        assert_eq!(record().longest_gap_us(first), 110);
        assert_eq!(record().longest_gap_us(second), 690);
        assert_eq!((record().sent(first), record().lost(first)), (2, 1));
        assert_eq!((record().lost(second), record().duplicated(first)), (1, 1));
    }

    #[test]
    fn the_answering_node_is_the_last_one_before_a_moment() {
        assert_eq!(record().answered_by(5), None);
        assert_eq!(record().answered_by(299), Some("t1"));
        assert_eq!(record().answered_by(301), Some("t2"));
    }
}
