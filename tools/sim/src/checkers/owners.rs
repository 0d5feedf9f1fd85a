//! 4: at most one owner per (VIP, epoch); a deposed owner is silent within one heartbeat of knowing;
//! nobody claims on the word of a store that was put back to an older epoch.

use super::{Checker, Complaint};
use crate::host::HostId;
use crate::observation::{Actor, Observation, Record, Said};
use core::time::Duration;
use std::collections::BTreeMap;
use vipsec_wire::id::{Epoch, Vip};
use vipsec_wire::time::Timestamp;

/// One heartbeat.
const SILENT_WITHIN: Duration = Duration::from_millis(50);

/// See the module's text.
#[derive(Default)]
pub(super) struct Owners {
    claimed: BTreeMap<(Vip, Epoch), HostId>,
    owners: BTreeMap<(Vip, Epoch), Actor>,
    /// In which epoch a process has last been owner.
    terms: BTreeMap<Actor, Epoch>,
    /// The highest epoch that a process was told of, and when.
    told: BTreeMap<Actor, (Epoch, Timestamp)>,
    /// The cluster's store was put back, and nobody has accepted that.
    rolled_back: bool,
}

impl Owners {
    fn sent(&self, now: Timestamp, by: Actor, epoch: Epoch) -> Complaint {
        match self.told.get(&by) {
            Some((known, at)) if *known > epoch && now.since(*at) > SILENT_WITHIN => {
                let late = now.since(*at).as_millis();
                Err(format!("{by} speaks in epoch {epoch}, {late} ms after it knew of {known}"))
            }
            _ => Ok(()),
        }
    }

    fn role(&mut self, by: Actor, vip: Vip, epoch: Epoch) -> Complaint {
        match self.owners.insert((vip, epoch), by) {
            Some(before) if before != by => {
                Err(format!("{before} and {by} both own {vip} in epoch {epoch}"))
            }
            _ => Ok(()),
        }
    }

    fn claimed(&mut self, vip: Vip, record: &Record) -> Complaint {
        let Record::Epoch(epoch, owner) = record else { return Ok(()) };
        if self.rolled_back && owner.is_node() {
            return Err(format!("{owner} has claimed epoch {epoch} in a store that was put back"));
        }
        match self.claimed.insert((vip, *epoch), *owner) {
            Some(before) if before != *owner => {
                Err(format!("{before} and {owner} have both claimed epoch {epoch} of {vip}"))
            }
            _ => Ok(()),
        }
    }
}

impl Checker for Owners {
    fn name(&self) -> &'static str {
        "4 owners"
    }

    fn note(&mut self, now: Timestamp, seen: &Observation) -> Complaint {
        match seen {
            Observation::Role { by, vip, epoch, owner: true } => self.role(*by, *vip, *epoch),
            Observation::Committed { vip, records, .. } => {
                records.iter().try_for_each(|record| self.claimed(*vip, record))
            }
            Observation::RolledBack => {
                self.rolled_back = true;
                Ok(())
            }
            Observation::Accepted(_) => {
                self.rolled_back = false;
                Ok(())
            }
            Observation::Told(by, _, epoch) => {
                let known = self.told.entry(*by).or_insert((*epoch, now));
                if *epoch > known.0 {
                    *known = (*epoch, now);
                }
                Ok(())
            }
            Observation::Woken(by) => {
                if let Some(known) = self.told.get_mut(by) {
                    known.1 = now;
                }
                Ok(())
            }
            Observation::Said(by, _, Said::Owned(epoch)) => {
                self.terms.insert(*by, *epoch);
                Ok(())
            }
            Observation::EspSent(by, None, frame) => {
                Err(format!("{by} sent {frame} though its worker does not own the VIP"))
            }
            Observation::EspSent(by, Some(epoch), _) => self.sent(now, *by, *epoch),
            Observation::IkeSent(by, _) => match self.terms.get(by) {
                Some(epoch) => self.sent(now, *by, *epoch),
                None => Err(format!("{by} sent an IKE message before it owned the VIP")),
            },
            _ => Ok(()),
        }
    }
}
