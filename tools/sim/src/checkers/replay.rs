//! 5: no ESP packet is delivered twice within one owner's term; across terms only above the edge
//! that the new owner had been told (design section 5).

use super::{Checker, Complaint};
use crate::digest::Digest;
use crate::host::HostId;
use crate::observation::{Actor, EspFrame, Observation};
use core::hash::BuildHasherDefault;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use vipsec_wire::id::Epoch;
use vipsec_wire::time::Timestamp;

type Fixed = BuildHasherDefault<Digest>;

/// What is known of a numbered inner packet.
#[derive(Default)]
struct Packet {
    frames: Vec<EspFrame>,
    delivered: usize,
}

/// See the module's text.
#[derive(Default)]
pub(super) struct Replay {
    packets: HashMap<u64, Packet, Fixed>,
    /// The terms in which a packet has arrived.
    arrivals: HashMap<u64, BTreeSet<Epoch>, Fixed>,
    /// The role of each host: epoch, and whether as owner.
    roles: BTreeMap<HostId, (Epoch, bool)>,
    newest: Epoch,
    edges: BTreeMap<(Actor, u32), u64>,
    /// Edges that the owner of an epoch knew when it began.
    known: BTreeMap<(Epoch, u32), u64>,
}

impl Replay {
    fn arrived(&mut self, at: HostId, frame: &EspFrame) {
        let own = self.roles.get(&at).filter(|(_, owner)| *owner).map(|(epoch, _)| *epoch);
        let epoch = own.unwrap_or(self.newest);
        self.arrivals.entry(frame.digest).or_default().insert(epoch);
    }

    fn delivered(&mut self, by: Actor, serial: u64) -> Complaint {
        let packet = self.packets.entry(serial).or_default();
        packet.delivered += 1;
        if packet.delivered == 1 {
            return Ok(());
        }
        let count = packet.delivered;
        if by.host.is_peer() {
            return Err(format!("{by} delivered packet {serial} {count} times"));
        }
        let digests = packet.frames.iter().map(|frame| frame.digest);
        let arrivals = digests.filter_map(|digest| self.arrivals.get(&digest));
        let mut terms: BTreeSet<Epoch> = arrivals.flatten().copied().collect();
        // It may have waited at a former owner and have been forwarded since.
        terms.insert(self.newest);
        if terms.len() < count {
            return Err(format!(
                "{by} delivered packet {serial} a {count}. time, but it came in terms {terms:?} only"
            ));
        }
        let Some(last) = terms.last() else { return Ok(()) };
        for frame in &packet.frames {
            let edge = self.known.get(&(*last, frame.spi)).copied().unwrap_or(0);
            if u64::from(frame.sequence) <= edge {
                return Err(format!(
                    "{by} delivered {frame} again, though the owner of epoch {last} knew edge {edge}"
                ));
            }
        }
        Ok(())
    }

    fn role(&mut self, by: Actor, epoch: Epoch, owner: bool) {
        let before = self.roles.insert(by.host, (epoch, owner));
        if owner && before != Some((epoch, true)) {
            self.newest = self.newest.max(epoch);
            let own = self.edges.iter().filter(|((actor, _), _)| *actor == by);
            for ((_, spi), edge) in own {
                self.known.insert((epoch, *spi), *edge);
            }
        }
    }
}

impl Checker for Replay {
    fn name(&self) -> &'static str {
        "5 replay"
    }

    fn note(&mut self, _now: Timestamp, seen: &Observation) -> Complaint {
        match seen {
            Observation::Wrapped(serial, frame) => {
                self.packets.entry(*serial).or_default().frames.push(*frame);
            }
            Observation::EspArrived(at, frame) if at.is_node() => self.arrived(*at, frame),
            Observation::InnerOut(by, serial) => return self.delivered(*by, *serial),
            Observation::EdgeTold(by, spi, edge) => {
                let known = self.edges.entry((*by, *spi)).or_default();
                *known = (*known).max(*edge);
            }
            Observation::Role { by, epoch, owner, .. } if by.host.is_node() => {
                self.role(*by, *epoch, *owner);
            }
            _ => {}
        }
        Ok(())
    }
}
