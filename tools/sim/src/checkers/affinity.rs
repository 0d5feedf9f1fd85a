//! 6: an established connection keeps its target while that target lives, and is not reset.

use super::{Checker, Complaint};
use crate::host::HostId;
use crate::observation::{Connection, Observation, Said};
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};
use vipsec_wire::cluster::Protocol;
use vipsec_wire::time::Timestamp;

/// A process that has stood still has looked into its sockets by then.
const AWAKENING: Duration = Duration::from_millis(100);

/// After a division or a sleep: what waited in a control connection is sent again by then (RFC 6298),
/// and a new connection is made where one was given up.
const REUNION: Duration = Duration::from_millis(500);

/// See the module's text.
#[derive(Default)]
pub(super) struct Affinity {
    targets: BTreeMap<Connection, HostId>,
    /// Their last segments may go anywhere.
    finished: BTreeSet<Connection>,
    paused: BTreeSet<HostId>,
    woken: BTreeMap<HostId, Timestamp>,
    /// Nodes without a process.
    dead: BTreeSet<HostId>,
    /// Nodes may not reach each other.
    divided: bool,
    /// When they last did again.
    united: Option<Timestamp>,
}

impl Affinity {
    fn served(
        &mut self,
        now: Timestamp,
        at: HostId,
        connection: &Connection,
        opens: bool,
    ) -> Complaint {
        // A SYN that is repeated may go elsewhere until the handshake is done.
        if (connection.protocol == Protocol::Tcp && opens) || self.finished.contains(connection) {
            return Ok(());
        }
        // What lay in the socket of a deposed owner that stood still goes where it went then, and of
        // what a process gave its kernel in the moment of its death nobody else can know.
        let woken = self.woken.get(&at).is_some_and(|at| now.since(*at) < AWAKENING);
        if connection.protocol == Protocol::Udp && (woken || self.dead.contains(&at)) {
            return Ok(());
        }
        match self.targets.insert(*connection, at) {
            // What stands still or is not reached cannot say that it has a flow of datagrams.
            Some(before) if self.is_excused(now, connection, before) => Ok(()),
            Some(before) if before != at => {
                Err(format!("{connection} was at {before} and came to {at}"))
            }
            _ => Ok(()),
        }
    }

    fn is_excused(&self, now: Timestamp, connection: &Connection, before: HostId) -> bool {
        let mut reached = self.united.iter().chain(self.woken.values());
        let soon = reached.any(|at| now.since(*at) < REUNION);
        let away = self.divided || self.paused.contains(&before) || soon;
        connection.protocol == Protocol::Udp && away
    }

    /// The memory of a process is gone. Who gets datagrams stands nowhere else but in those of the
    /// target and of the other candidates, if these can be asked.
    fn died(&mut self, host: HostId) {
        let divided = self.divided;
        self.targets.retain(|connection, target| {
            connection.protocol == Protocol::Tcp || (*target != host && !divided)
        });
    }

    fn divide(&mut self, now: Timestamp, divided: bool) {
        if self.divided && !divided {
            self.united = Some(now);
        }
        self.divided = divided;
        if divided {
            self.targets.retain(|connection, _| connection.protocol == Protocol::Tcp);
        }
    }
}

impl Checker for Affinity {
    fn name(&self) -> &'static str {
        "6 affinity"
    }

    fn note(&mut self, now: Timestamp, seen: &Observation) -> Complaint {
        match seen {
            Observation::Served { at, connection, opens, .. } => {
                self.served(now, *at, connection, *opens)
            }
            // A peer that begins anew may have got the inner address of another.
            Observation::Said(by, _, Said::Established(_)) if by.host.is_node() => {
                self.targets.clear();
                Ok(())
            }
            Observation::Finished(connection) => {
                self.finished.insert(*connection);
                Ok(())
            }
            Observation::Reset(connection) => Err(format!("{connection} was reset")),
            Observation::Paused(actor) => {
                self.paused.insert(actor.host);
                Ok(())
            }
            Observation::Woken(actor) => {
                self.paused.remove(&actor.host);
                self.woken.insert(actor.host, now);
                Ok(())
            }
            Observation::Died(actor) | Observation::Started(actor) => {
                self.paused.remove(&actor.host);
                if matches!(seen, Observation::Died(_)) {
                    self.dead.insert(actor.host);
                } else {
                    self.dead.remove(&actor.host);
                }
                self.died(actor.host);
                Ok(())
            }
            Observation::Divided(divided) => {
                self.divide(now, *divided);
                Ok(())
            }
            _ => Ok(()),
        }
    }
}
