//! 2: a peer never sees an outbound sequence number go back (RFC 4303 section 3.4.3), nor a message
//! ID that it must reject (RFC 7296 section 2.2). It keeps the windows of a strict receiver of its
//! own.
//!
//! A packet of an owner that has already been followed by another may be refused by the window:
//! that is what the window is for. One of the newest owner may not.

use super::{Checker, Complaint};
use crate::digest::Digest;
use crate::host::HostId;
use crate::observation::{EspFrame, IkeFrame, Observation};
use core::hash::BuildHasherDefault;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use vipsec_wire::id::Epoch;
use vipsec_wire::ike::ExchangeType;
use vipsec_wire::time::Timestamp;

type Fixed = BuildHasherDefault<Digest>;

/// The receiving half of an SA at a peer.
#[derive(Default)]
struct Window {
    edge: u32,
    /// Numbers received that are still inside.
    seen: BTreeSet<u32>,
    /// The newest owner whose packets were accepted.
    epoch: Epoch,
}

/// The requests of the cluster on one IKE SA, as a peer with a window of 1 takes them.
#[derive(Default)]
struct Requests {
    expected: u32,
    taken: BTreeMap<u32, u64>,
}

/// See the module's text.
pub(super) struct Sequence {
    size: u32,
    /// In which epoch each packet was sealed.
    sealed: HashMap<u64, Epoch, Fixed>,
    arrived: HashSet<u64, Fixed>,
    windows: BTreeMap<(HostId, u32), Window>,
    requests: BTreeMap<(HostId, u64, u64), Requests>,
    /// Answers of the cluster to requests that change state.
    answers: BTreeMap<(u64, u64, u32), u64>,
}

impl Sequence {
    pub(super) fn new(size: u32) -> Sequence {
        Sequence {
            size,
            sealed: HashMap::default(),
            arrived: HashSet::default(),
            windows: BTreeMap::new(),
            requests: BTreeMap::new(),
            answers: BTreeMap::new(),
        }
    }

    fn packet(&mut self, at: HostId, frame: &EspFrame) -> Complaint {
        let epoch = self.sealed.get(&frame.digest).copied().unwrap_or_default();
        if !self.arrived.insert(frame.digest) {
            return Ok(());
        }
        let window = self.windows.entry((at, frame.spi)).or_default();
        let fresh = if frame.sequence > window.edge {
            window.edge = frame.sequence;
            let low = frame.sequence.saturating_sub(self.size);
            window.seen = window.seen.split_off(&low);
            true
        } else {
            window.edge - frame.sequence < self.size && !window.seen.contains(&frame.sequence)
        };
        if !fresh && epoch >= window.epoch {
            let edge = window.edge;
            return Err(format!("{at} must refuse {frame} of epoch {epoch}: its edge is {edge}"));
        }
        if fresh {
            window.seen.insert(frame.sequence);
            window.epoch = window.epoch.max(epoch);
        }
        Ok(())
    }

    fn request(&mut self, at: HostId, frame: &IkeFrame) -> Complaint {
        let name = (at, frame.spis.initiator, frame.spis.responder);
        let requests = self.requests.entry(name).or_default();
        if frame.id == requests.expected {
            requests.taken.insert(frame.id, frame.digest);
            requests.expected += 1;
            return Ok(());
        }
        match requests.taken.get(&frame.id) {
            Some(before) if *before == frame.digest => Ok(()),
            Some(_) => Err(format!("{at} got another request under the same message ID: {frame}")),
            None => Err(format!("{at} must reject {frame}: it expects {}", requests.expected)),
        }
    }

    fn answer(&mut self, frame: &IkeFrame) -> Complaint {
        if !matches!(frame.exchange, ExchangeType::IkeAuth | ExchangeType::CreateChildSa) {
            return Ok(());
        }
        let name = (frame.spis.initiator, frame.spis.responder, frame.id);
        match self.answers.insert(name, frame.digest) {
            Some(before) if before != frame.digest => Err(format!("a second answer: {frame}")),
            _ => Ok(()),
        }
    }
}

impl Checker for Sequence {
    fn name(&self) -> &'static str {
        "2 sequence"
    }

    fn note(&mut self, _now: Timestamp, seen: &Observation) -> Complaint {
        match seen {
            Observation::EspSent(by, Some(epoch), frame) if by.host.is_node() => {
                self.sealed.insert(frame.digest, *epoch);
                Ok(())
            }
            Observation::EspArrived(at, frame) if at.is_peer() => self.packet(*at, frame),
            Observation::IkeArrived(_, frame) | Observation::IkeSent(_, frame) if frame.clear => {
                Ok(())
            }
            Observation::IkeArrived(at, frame) if at.is_peer() && !frame.response => {
                self.request(*at, frame)
            }
            Observation::IkeSent(by, frame) if by.host.is_node() && frame.response => {
                self.answer(frame)
            }
            _ => Ok(()),
        }
    }
}
