//! 6: an established connection keeps its target while that target lives, and is not reset.

use super::{Checker, Complaint};
use crate::host::HostId;
use crate::network::Wire;
use crate::observation::{Connection, Observation, Said};
use std::collections::{BTreeMap, BTreeSet};
use vipsec_wire::cluster::Protocol;
use vipsec_wire::time::Timestamp;

/// See the module's text.
#[derive(Default)]
pub(super) struct Affinity {
    targets: BTreeMap<Connection, HostId>,
    /// Their last segments may go anywhere.
    finished: BTreeSet<Connection>,
    /// Nodes may not reach each other.
    divided: bool,
}

impl Affinity {
    fn served(&mut self, at: HostId, connection: &Connection, opens: bool) -> Complaint {
        // A SYN that is repeated may go elsewhere until the handshake is done.
        if (connection.protocol == Protocol::Tcp && opens) || self.finished.contains(connection) {
            return Ok(());
        }
        match self.targets.insert(*connection, at) {
            Some(before) if before != at => {
                Err(format!("{connection} was at {before} and came to {at}"))
            }
            _ => Ok(()),
        }
    }

    /// The memory of a process is gone. Who gets datagrams stands nowhere else but in those of the
    /// target and of the other candidates, if these can be asked.
    fn died(&mut self, host: HostId) {
        let divided = self.divided;
        self.targets.retain(|connection, target| {
            connection.protocol == Protocol::Tcp || (*target != host && !divided)
        });
    }

    fn divide(&mut self, divided: bool) {
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

    fn note(&mut self, _now: Timestamp, seen: &Observation) -> Complaint {
        match seen {
            Observation::Served { at, connection, opens, .. } => self.served(*at, connection, *opens),
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
            Observation::Died(actor) => {
                self.died(actor.host);
                Ok(())
            }
            Observation::Lossy(Wire::Fabric, lossy) => {
                self.divide(*lossy);
                Ok(())
            }
            _ => Ok(()),
        }
    }
}
