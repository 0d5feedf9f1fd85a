//! 6: an established connection keeps its target while that target lives, and is not reset.

use super::{Checker, Complaint};
use crate::host::HostId;
use crate::observation::{Connection, Observation};
use std::collections::BTreeMap;
use vipsec_wire::cluster::Protocol;
use vipsec_wire::time::Timestamp;

/// See the module's text.
#[derive(Default)]
pub(super) struct Affinity {
    targets: BTreeMap<Connection, HostId>,
}

impl Affinity {
    fn served(&mut self, at: HostId, connection: &Connection, opens: bool) -> Complaint {
        // A SYN that is repeated may go elsewhere until the handshake is done.
        if connection.protocol == Protocol::Tcp && opens {
            return Ok(());
        }
        match self.targets.insert(*connection, at) {
            Some(before) if before != at => {
                Err(format!("{connection} was at {before} and came to {at}"))
            }
            _ => Ok(()),
        }
    }

    /// The memory of a process is gone. What is known of datagrams stands nowhere else.
    fn died(&mut self, host: HostId) {
        self.targets.retain(|connection, target| {
            connection.protocol == Protocol::Tcp || *target != host
        });
    }
}

impl Checker for Affinity {
    fn name(&self) -> &'static str {
        "6 affinity"
    }

    fn note(&mut self, _now: Timestamp, seen: &Observation) -> Complaint {
        match seen {
            Observation::Served { at, connection, opens } => self.served(*at, connection, *opens),
            Observation::Reset(connection) => Err(format!("{connection} was reset")),
            Observation::Died(actor) => {
                self.died(actor.host);
                Ok(())
            }
            _ => Ok(()),
        }
    }
}
