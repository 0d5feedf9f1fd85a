//! Not one of the nine: at the end, when everything has worked for a while, every peer gets packets.
//! Without it a cluster that does nothing would keep all the rules.

use super::{Checker, Complaint};
use crate::host::HostId;
use crate::observation::Observation;
use core::time::Duration;
use std::collections::BTreeMap;
use vipsec_wire::time::Timestamp;

/// The longest silence at the end.
const SILENCE: Duration = Duration::from_secs(2);

/// See the module's text.
#[derive(Default)]
pub(super) struct Alive {
    heard: BTreeMap<HostId, Option<Timestamp>>,
    /// A store that was rolled back is refused: nobody may own the VIP until somebody accepts it.
    excused: bool,
}

impl Checker for Alive {
    fn name(&self) -> &'static str {
        "alive"
    }

    fn note(&mut self, now: Timestamp, seen: &Observation) -> Complaint {
        match seen {
            Observation::Started(by) if by.host.is_peer() => {
                self.heard.insert(by.host, None);
            }
            Observation::Received(at, _) if at.is_peer() => {
                self.heard.insert(*at, Some(now));
            }
            Observation::RolledBack => self.excused = true,
            Observation::Accepted(_) => self.excused = false,
            _ => {}
        }
        Ok(())
    }

    fn finish(&mut self, now: Timestamp) -> Complaint {
        let is_silent = |heard: Option<Timestamp>| heard.is_none_or(|at| now.since(at) > SILENCE);
        match self.heard.iter().find(|(_, heard)| is_silent(**heard)) {
            Some((host, heard)) if !self.excused => {
                let last = heard.map(|at| format!("since {} ms", now.since(at).as_millis()));
                Err(format!("{host} hears nothing {}", last.unwrap_or("at all".to_owned())))
            }
            _ => Ok(()),
        }
    }
}
