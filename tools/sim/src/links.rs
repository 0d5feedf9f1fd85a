//! Control connections between nodes: ordered, with delay, closed by a kernel when a process dies,
//! given up when nothing gets through.

use crate::event::Input;
use crate::host::HostId;
use std::collections::BTreeMap;
use vipsec_wire::time::Timestamp;

/// One connection.
#[derive(Debug)]
pub(crate) struct Connection {
    /// Its two ends: host and process.
    pub(crate) ends: [(HostId, u64); 2],
    /// The latest arrival at each end: nothing overtakes.
    arrival: [Timestamp; 2],
    /// What does not get through at present, with the end that it goes to.
    pub(crate) stuck: Vec<(usize, Input)>,
    /// It will be given up unless something gets through before.
    pub(crate) giving_up: bool,
}

impl Connection {
    /// A connection that stands from `now` on.
    #[must_use]
    pub(crate) fn new(ends: [(HostId, u64); 2], now: Timestamp) -> Connection {
        Connection { ends, arrival: [now; 2], stuck: Vec::new(), giving_up: false }
    }

    /// Which end a host is.
    #[must_use]
    pub(crate) fn end_of(&self, host: HostId) -> Option<usize> {
        self.ends.iter().position(|(end, _)| *end == host)
    }

    /// When something arrives at an end that would arrive at `at` alone.
    pub(crate) fn in_order(&mut self, end: usize, at: Timestamp) -> Timestamp {
        let last = &mut self.arrival[end];
        *last = at.max(*last);
        *last
    }
}

/// All connections.
#[derive(Debug, Default)]
pub(crate) struct Links {
    /// By number.
    pub(crate) connections: BTreeMap<u64, Connection>,
    /// Processes that have not noticed yet that their connection to a host is gone.
    pub(crate) unnoticed: BTreeMap<(HostId, HostId), u64>,
    next: u64,
}

impl Links {
    /// A new connection; returns its number.
    pub(crate) fn open(&mut self, ends: [(HostId, u64); 2], now: Timestamp) -> u64 {
        self.next += 1;
        self.connections.insert(self.next, Connection::new(ends, now));
        self.next
    }

    /// The connection between two hosts.
    #[must_use]
    pub(crate) fn between(&self, one: HostId, other: HostId) -> Option<u64> {
        let both = |connection: &Connection| {
            connection.end_of(one).is_some() && connection.end_of(other).is_some()
        };
        let found = self.connections.iter().find(|(_, connection)| both(connection));
        found.map(|(number, _)| *number)
    }

    /// The connections of a host.
    #[must_use]
    pub(crate) fn of(&self, host: HostId) -> Vec<u64> {
        let ends = self.connections.iter().filter(|(_, c)| c.end_of(host).is_some());
        ends.map(|(number, _)| *number).collect()
    }
}
