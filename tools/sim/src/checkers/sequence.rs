//! 2: a peer never sees an outbound sequence number go back (RFC 4303 section 3.4.3), nor a message
//! ID that it must reject (RFC 7296 section 2.2). It keeps the windows of a strict receiver of its
//! own.
//!
//! A packet of an owner that has already been followed by another may be refused by the window:
//! that is what the window is for. One of the newest owner may not.

use super::{Checker, Complaint, SHORTEST_THAT_MAKES};
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
    /// There was an INFORMATIONAL request with message ID 0: the first of all, or one of RFC 6311.
    zero: bool,
    /// The bytes of each fragment, by message ID and number of the fragment.
    taken: BTreeMap<(u32, u16), u64>,
}

/// See the module's text.
pub(super) struct Sequence {
    size: u32,
    /// Message ID 0 comes again after each takeover (RFC 6311 section 5).
    synchronised: bool,
    /// The store fails: TEMPORARY_FAILURE is answered without it.
    failing: bool,
    /// In which epoch each packet was sealed.
    sealed: HashMap<u64, Epoch, Fixed>,
    arrived: HashSet<u64, Fixed>,
    windows: BTreeMap<(HostId, u32), Window>,
    requests: BTreeMap<(HostId, u64, u64), Requests>,
    /// Answers of the cluster to requests that change state.
    answers: BTreeMap<(u64, u64, u32, u16), u64>,
}

impl Sequence {
    pub(super) fn new(size: u32, synchronised: bool) -> Sequence {
        Sequence {
            size,
            synchronised,
            failing: false,
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
        let (id, fragment) = (frame.id, frame.fragment);
        if id == 0 && self.synchronised && frame.exchange == ExchangeType::Informational {
            requests.zero = true;
            return Ok(());
        }
        if id == 1 && requests.zero {
            requests.expected = requests.expected.max(1);
        }
        if id == requests.expected {
            requests.expected += 1;
        }
        if id >= requests.expected {
            return Err(format!("{at} must reject {frame}: it expects {}", requests.expected));
        }
        // A message comes whole always, or in fragments always.
        let mixed = requests.taken.contains_key(&(id, 0)) != (fragment == 0);
        let first = requests.taken.range((id, 0)..=(id, u16::MAX)).next().is_none();
        match requests.taken.insert((id, fragment), frame.digest) {
            None if mixed && !first => Err(format!("{at} got another form of {frame}")),
            Some(before) if before != frame.digest => {
                Err(format!("{at} got another request under the same message ID: {frame}"))
            }
            _ => Ok(()),
        }
    }

    fn answer(&mut self, frame: &IkeFrame) -> Complaint {
        let changes = [
            ExchangeType::IkeIntermediate,
            ExchangeType::IkeAuth,
            ExchangeType::CreateChildSa,
            ExchangeType::IkeFollowupKe,
        ];
        if !changes.contains(&frame.exchange) {
            return Ok(());
        }
        let name = (frame.spis.initiator, frame.spis.responder, frame.id, frame.fragment);
        let first = *self.answers.entry(name).or_insert(frame.digest);
        // An owner without store that stood still may say so to what its successor has answered.
        let makes_nothing = frame.fragment == 0 && frame.length < SHORTEST_THAT_MAKES;
        match first == frame.digest || (self.failing && makes_nothing) {
            true => Ok(()),
            false => Err(format!("a second answer: {frame}")),
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
            Observation::StoreFailing(failing) => {
                self.failing = *failing;
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

#[cfg(test)]
mod tests {
    use super::*;
    use vipsec_wire::ike::IkeSpis;

    fn request(id: u32, fragment: u16, digest: u64) -> Observation {
        let frame = IkeFrame {
            spis: IkeSpis { initiator: 1, responder: 2 },
            exchange: ExchangeType::CreateChildSa,
            from_initiator: false,
            response: false,
            id,
            clear: false,
            fragment,
            length: 500,
            digest,
        };
        Observation::IkeArrived(HostId::peer(0), frame)
    }

    /// Whether the last of these requests is complained of, and none before.
    fn is_caught(requests: &[(u32, u16, u64)]) -> bool {
        let mut checker = Sequence::new(64, false);
        let mut note = |(id, fragment, digest): &(u32, u16, u64)| {
            checker.note(Timestamp(0), &request(*id, *fragment, *digest)).is_err()
        };
        let (last, before) = requests.split_last().expect("there are some");
        assert!(!before.iter().any(&mut note));
        note(last)
    }

    #[test]
    fn a_request_stays_what_it_was_in_each_of_its_fragments() {
        assert!(!is_caught(&[(0, 1, 10), (0, 2, 11), (0, 1, 10), (1, 0, 12), (0, 2, 11)]));
        assert!(!is_caught(&[(0, 2, 11), (1, 2, 13), (0, 1, 10)]), "they overtake each other");
        assert!(is_caught(&[(0, 1, 10), (0, 2, 11), (0, 2, 12)]));
        assert!(is_caught(&[(0, 1, 10), (0, 0, 11)]));
        assert!(is_caught(&[(0, 0, 10), (0, 1, 11)]));
        assert!(is_caught(&[(0, 1, 10), (2, 1, 11)]));
    }
}
