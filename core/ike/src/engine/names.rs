//! Peers that are known by name: their addresses are asked for, and come in as values.

use crate::engine::Engine;
use crate::output::Output;
use crate::timers::Alarm;
use core::net::IpAddr;
use core::time::Duration;
use std::collections::BTreeSet;
use vipsec_wire::time::Timestamp;

/// How often an owner asks for the addresses of names, and how often while one has none.
const INTERVAL: Duration = Duration::from_secs(300);
const INTERVAL_UNKNOWN: Duration = Duration::from_secs(15);

/// Addresses of one name that are kept.
const ADDRESSES_MAX: usize = 16;

impl Engine {
    /// The addresses of a name that [`Output::Resolve`] asked for; none: it has none, or that could
    /// not be found out, and those that are known remain.
    pub fn handle_resolved(&mut self, now: Timestamp, name: &str, addresses: &[IpAddr]) {
        if addresses.is_empty() {
            return;
        }
        let addresses = addresses.get(..ADDRESSES_MAX).unwrap_or(addresses);
        let mut found = Vec::new();
        for (place, connection) in self.config.connections.iter_mut().enumerate() {
            for remote in connection.remote_names.iter_mut().filter(|r| r.name == name) {
                let news = core::mem::replace(&mut remote.addresses, addresses.to_vec());
                found.push((place, news.is_empty()));
            }
        }
        for (place, first) in found {
            if first {
                self.forget_attempts(place);
            }
            self.arm_start_if_wanted(place, now);
        }
    }

    /// The names are to be asked for at `due`.
    pub(super) fn arm_names(&mut self, due: Timestamp) {
        let mut names = self.config.connections.iter().flat_map(|c| &c.remote_names);
        if names.next().is_some() {
            self.timers.arm(Alarm::Names, &mut self.starts.names, Some(due));
        }
    }

    pub(super) fn look_at_names(&mut self, now: Timestamp) {
        self.starts.names = None;
        let names = || self.config.connections.iter().flat_map(|c| &c.remote_names);
        let unknown = names().any(|name| name.addresses.is_empty());
        let wanted: BTreeSet<String> = names().map(|name| name.name.clone()).collect();
        let outputs = wanted.into_iter().map(|name| Output::Resolve { name });
        self.outbox.outputs.extend(outputs);
        self.arm_names(now + if unknown { INTERVAL_UNKNOWN } else { INTERVAL });
    }
}
