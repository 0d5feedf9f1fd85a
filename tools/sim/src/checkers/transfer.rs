//! 7: a transfer loses no packet that reached either node.
//!
//! Looked at are transfers around which nothing else happens: no death, no pause, no loss on a
//! wire, no failure of the store, no SA that begins or ends.

use super::{Checker, Complaint};
use crate::digest::Digest;
use crate::host::HostId;
use crate::observation::{Observation, Said};
use core::hash::BuildHasherDefault;
use core::time::Duration;
use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use vipsec_wire::time::Timestamp;

/// Packets that reach a node up to so long after the transfer still fall under it.
const AFTER: Duration = Duration::from_millis(300);
/// By then every packet has arrived where it belongs.
const PATIENCE: Duration = Duration::from_millis(1500);
/// Nothing may have happened for so long before.
const BEFORE: Duration = Duration::from_millis(500);

type Fixed = BuildHasherDefault<Digest>;

/// A transfer that is looked at.
struct Watched {
    begun: Timestamp,
    done: Option<Timestamp>,
}

/// See the module's text.
#[derive(Default)]
pub(super) struct Transfer {
    serials: HashMap<u64, u64, Fixed>,
    reached: VecDeque<(Timestamp, u64)>,
    received: HashSet<u64, Fixed>,
    watched: Option<Watched>,
    disturbed: Option<Timestamp>,
    lossy: [bool; 3],
    failing: bool,
    paused: usize,
    /// Nodes without a process: what their applications serve has to wait.
    dead: BTreeSet<HostId>,
}

impl Transfer {
    fn reached(&mut self, now: Timestamp, serial: u64) {
        if self.watched.is_some() {
            self.reached.push_back((now, serial));
        }
    }

    fn disturb(&mut self, now: Timestamp) {
        self.disturbed = Some(now);
        self.watched = None;
    }

    fn is_calm(&self, now: Timestamp) -> bool {
        let away = self.paused > 0 || !self.dead.is_empty();
        let bad = self.lossy.contains(&true) || self.failing || away;
        !bad && self.disturbed.is_none_or(|at| now.since(at) > BEFORE)
    }

    fn begin(&mut self, now: Timestamp) {
        if self.is_calm(now) && self.watched.is_none() {
            self.reached.clear();
            self.watched = Some(Watched { begun: now, done: None });
        }
    }

    fn end(&mut self, now: Timestamp) {
        if let Some(watched) = &mut self.watched {
            watched.done.get_or_insert(now);
        }
    }

    /// Judges a transfer once its time is over.
    fn judge(&mut self, now: Timestamp) -> Complaint {
        let Some(Watched { begun, done: Some(done) }) = self.watched else { return Ok(()) };
        if now.since(done) < PATIENCE {
            return Ok(());
        }
        self.watched = None;
        let under = |at: &Timestamp| *at >= begun && *at <= done + AFTER;
        let mut lost = self.reached.iter().filter(|(at, _)| under(at)).map(|(_, serial)| *serial);
        match lost.find(|serial| !self.received.contains(serial)) {
            Some(serial) => Err(format!(
                "packet {serial} reached a node during the transfer of {} ms and was lost",
                done.since(begun).as_millis()
            )),
            None => Ok(()),
        }
    }
}

impl Checker for Transfer {
    fn name(&self) -> &'static str {
        "7 transfer"
    }

    fn note(&mut self, now: Timestamp, seen: &Observation) -> Complaint {
        self.judge(now)?;
        match seen {
            Observation::Wrapped(serial, frame) => {
                self.serials.insert(frame.digest, *serial);
            }
            Observation::EspArrived(at, frame) if at.is_node() => {
                if let Some(serial) = self.serials.get(&frame.digest).copied() {
                    self.reached(now, serial);
                }
            }
            Observation::InnerReached(by, serial) if by.host.is_node() => {
                self.reached(now, *serial);
            }
            Observation::Received(_, serial) => {
                self.received.insert(*serial);
            }
            Observation::Said(by, _, said) => match said {
                Said::TransferBegun if by.host.is_node() => self.begin(now),
                Said::TransferAborted => self.end(now),
                Said::TransferDone(_) => self.end(now),
                Said::Established(_)
                | Said::ChildUp(..)
                | Said::ChildRekeyed(..)
                | Said::Ended(_) => self.disturb(now),
                _ => {}
            },
            Observation::Lossy(wire, lossy) => {
                self.lossy[*wire as usize] = *lossy;
                self.disturb(now);
            }
            Observation::StoreFailing(failing) => {
                self.failing = *failing;
                self.disturb(now);
            }
            // A peer has no SA, or one that is gone here. (If it had one until the transfer, that is no
            // excuse.)
            Observation::Dropped(_, "no_sa" | "unknown_spi") if self.watched.is_none() => {
                self.disturb(now);
            }
            Observation::Paused(_) => {
                self.paused += 1;
                self.disturb(now);
            }
            Observation::Woken(_) => {
                self.paused = self.paused.saturating_sub(1);
                self.disturb(now);
            }
            Observation::Died(actor) => {
                self.dead.insert(actor.host);
                self.disturb(now);
            }
            Observation::Started(actor) => {
                self.dead.remove(&actor.host);
                self.disturb(now);
            }
            Observation::RolledBack => self.disturb(now),
            _ => {}
        }
        Ok(())
    }
}
