//! 8: a takeover makes one store write before traffic flows again, whatever the number of SAs.
//!
//! Between claim and role that is the claim's own; and the first inner packet that reaches the new
//! owner is sealed without another write in between.

use super::{Checker, Complaint};
use crate::observation::{Actor, Observation, Said};
use std::collections::BTreeMap;
use vipsec_wire::time::Timestamp;

/// How far a process is.
enum Stage {
    /// It claims, and has made so many writes since.
    Claiming(u32),
    /// It owns; nothing that reached it since then has been sealed. The writes so far, and how many
    /// they were when each packet came.
    Waiting(u32, BTreeMap<u64, u32>),
    /// Traffic flows.
    Flowing,
}

/// See the module's text.
#[derive(Default)]
pub(super) struct Writes(BTreeMap<Actor, Stage>);

impl Writes {
    fn committed(&mut self, by: Actor) {
        let stage = self.0.get_mut(&by);
        if let Some(Stage::Claiming(writes) | Stage::Waiting(writes, _)) = stage {
            *writes += 1;
        }
    }

    fn owns(&mut self, by: Actor) -> Complaint {
        let Some(Stage::Claiming(writes)) = self.0.get(&by) else { return Ok(()) };
        let writes = *writes;
        self.0.insert(by, Stage::Waiting(0, BTreeMap::new()));
        match writes {
            1 => Ok(()),
            other => Err(format!("{by} made {other} writes between claim and ownership")),
        }
    }

    fn sealed(&mut self, serial: u64) -> Complaint {
        for (by, stage) in &mut self.0 {
            let Stage::Waiting(now, reached) = stage else { continue };
            let Some(then) = reached.get(&serial) else { continue };
            let writes = *now - then;
            *stage = Stage::Flowing;
            if writes > 0 {
                let what = format!("{by} made {writes} writes before it sealed its first packet");
                return Err(what);
            }
        }
        Ok(())
    }
}

impl Checker for Writes {
    fn name(&self) -> &'static str {
        "8 writes"
    }

    fn note(&mut self, _now: Timestamp, seen: &Observation) -> Complaint {
        match seen {
            Observation::Said(by, _, Said::Claiming(_)) if by.host.is_node() => {
                self.0.insert(*by, Stage::Claiming(0));
            }
            Observation::Committed { by, .. } => self.committed(*by),
            Observation::Role { by, owner: true, .. } => return self.owns(*by),
            Observation::InnerReached(by, serial) => {
                if let Some(Stage::Waiting(writes, reached)) = self.0.get_mut(by) {
                    reached.insert(*serial, *writes);
                }
            }
            Observation::Wrapped(serial, _) => return self.sealed(*serial),
            _ => {}
        }
        Ok(())
    }
}
