//! 3: an exchange that a peer saw acknowledged is in the store, and so known to every later owner;
//! an SA is unprotected only while the store fails.

use super::{Checker, Complaint, SHORTEST_THAT_MAKES};
use crate::host::HostId;
use crate::observation::{IkeFrame, Observation, Record, Said};
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};
use vipsec_wire::ike::ExchangeType;
use vipsec_wire::time::Timestamp;

/// How long after the store has worked again a new SA may still go on without it: the deadline, the
/// pause before a write is tried again, and what is under way.
const AFTERMATH: Duration = Duration::from_secs(6);

/// See the module's text.
#[derive(Default)]
pub(super) struct Stored {
    ike: BTreeSet<u64>,
    /// Those that are there now.
    alive: BTreeSet<u64>,
    children: BTreeSet<u32>,
    responses: BTreeSet<u64>,
    /// The cluster's SPI of an IKE SA, by the peer's.
    ours: BTreeMap<u64, u64>,
    /// Whether the last exchange that made something was asked for by the peer.
    asked: BTreeMap<HostId, bool>,
    failing: bool,
    failed_at: Option<Timestamp>,
}

impl Stored {
    fn is_excused(&self, now: Timestamp) -> bool {
        self.failing || self.failed_at.is_some_and(|at| now.since(at) < AFTERMATH)
    }

    fn record(&mut self, record: &Record) {
        match record {
            Record::Ike(id) => {
                self.ike.insert(*id);
                self.alive.insert(*id);
            }
            Record::IkeGone(id) => {
                self.alive.remove(id);
            }
            Record::IkeState(_, digests) => self.responses.extend(digests),
            Record::Child(spi_in, _) => {
                self.children.insert(*spi_in);
            }
            _ => {}
        }
    }

    /// An unprotected message of the cluster leaves: nothing but the answer to a first message, or to
    /// one of an IKE SA that is not there (RFC 7296 section 2.21.4).
    fn clear(&self, frame: &IkeFrame) -> Complaint {
        if frame.exchange == ExchangeType::IkeSaInit {
            return Ok(());
        }
        let spis = [frame.spis.initiator, frame.spis.responder];
        match spis.iter().find(|spi| self.alive.contains(spi)) {
            _ if !frame.response => Err(format!("an unprotected request: {frame}")),
            Some(_) => Err(format!("an unprotected answer about what is in the store: {frame}")),
            None => Ok(()),
        }
    }

    /// A response of the cluster leaves.
    fn response(&mut self, now: Timestamp, frame: &IkeFrame) -> Complaint {
        let (ours, theirs) = match frame.from_initiator {
            true => (frame.spis.initiator, frame.spis.responder),
            false => (frame.spis.responder, frame.spis.initiator),
        };
        self.ours.insert(theirs, ours);
        let is_protected = self.ike.contains(&ours);
        let changes = [ExchangeType::CreateChildSa, ExchangeType::IkeFollowupKe];
        if !changes.contains(&frame.exchange) || self.responses.contains(&frame.digest) {
            return Ok(());
        }
        // TEMPORARY_FAILURE while the store is down makes nothing, and is stored afterwards.
        let makes_nothing = frame.length < SHORTEST_THAT_MAKES && self.is_excused(now);
        if is_protected && !makes_nothing {
            return Err(format!("this answer is not in the store: {frame}"));
        }
        match self.is_excused(now) {
            true => Ok(()),
            false => Err(format!("the store works, but has no such SA: {frame}")),
        }
    }

    /// A peer says that something stands.
    fn acknowledged(&self, now: Timestamp, host: HostId, said: &Said) -> Complaint {
        let is_known = match said {
            Said::Established(theirs) => {
                self.ours.get(theirs).is_some_and(|ours| self.ike.contains(ours))
            }
            Said::ChildUp(_, ours) => {
                let asked = self.asked.get(&host).copied().unwrap_or(false);
                !asked || self.children.contains(ours)
            }
            _ => true,
        };
        if is_known || self.is_excused(now) {
            return Ok(());
        }
        Err(format!("{host} has seen {said:x?} acknowledged, but it is not in the store"))
    }
}

impl Checker for Stored {
    fn name(&self) -> &'static str {
        "3 stored"
    }

    fn note(&mut self, now: Timestamp, seen: &Observation) -> Complaint {
        match seen {
            Observation::Committed { by, records, .. } if by.host.is_node() => {
                records.iter().for_each(|record| self.record(record));
            }
            Observation::StoreFailing(failing) => {
                if self.failing && !failing {
                    self.failed_at = Some(now);
                }
                self.failing = *failing;
            }
            Observation::IkeSent(by, frame) if frame.clear => {
                return if by.host.is_node() { self.clear(frame) } else { Ok(()) };
            }
            Observation::RolledBack | Observation::Accepted(_) => self.alive.clear(),
            Observation::IkeSent(by, frame) if by.host.is_node() && frame.response => {
                return self.response(now, frame);
            }
            Observation::IkeArrived(at, frame) if at.is_peer() => {
                let makes = [
                    ExchangeType::IkeAuth,
                    ExchangeType::CreateChildSa,
                    ExchangeType::IkeFollowupKe,
                ];
                if makes.contains(&frame.exchange) {
                    self.asked.insert(*at, frame.response);
                }
            }
            Observation::Said(by, _, said) if by.host.is_peer() => {
                return self.acknowledged(now, by.host, said);
            }
            Observation::Said(by, _, Said::Unprotected)
                if by.host.is_node() && !self.is_excused(now) =>
            {
                return Err(format!("{by} goes on unprotected, though the store works"));
            }
            _ => {}
        }
        Ok(())
    }
}
