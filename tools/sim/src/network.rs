//! The wires: three segments with latency, loss, duplication, reordering and one-way partitions,
//! and the tables by which their switches know where a virtual address is.

use crate::host::HostId;
use crate::random::Generator;
use core::net::IpAddr;
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

/// Which wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Wire {
    /// Between peers and the cluster.
    Outside,
    /// Between the nodes of the cluster: frames and control connections.
    Fabric,
    /// Between the gateways and the protected hosts.
    Inside,
}

/// How well a wire works. Loss and duplication in thousandths of the packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quality {
    /// Least time that a packet takes.
    pub latency: Duration,
    /// Greatest additional time: packets closer together than this may overtake each other.
    pub jitter: Duration,
    /// Packets lost.
    pub loss: u32,
    /// Packets that arrive twice.
    pub duplication: u32,
}

impl Quality {
    /// A good local network.
    #[must_use]
    pub fn good() -> Quality {
        Quality {
            latency: Duration::from_micros(150),
            jitter: Duration::from_micros(100),
            loss: 0,
            duplication: 0,
        }
    }
}

/// One wire.
#[derive(Debug, Clone)]
pub struct Segment {
    /// How well it works at present.
    pub quality: Quality,
    /// From whom nothing reaches whom.
    blocked: BTreeSet<(HostId, HostId)>,
    /// Behind which port the switch believes an address to be.
    learnt: BTreeMap<IpAddr, HostId>,
}

impl Segment {
    /// A wire.
    #[must_use]
    pub fn new(quality: Quality) -> Segment {
        Segment { quality, blocked: BTreeSet::new(), learnt: BTreeMap::new() }
    }

    /// Nothing gets from `from` to `to` any more, or it does again.
    pub fn set_blocked(&mut self, from: HostId, to: HostId, blocked: bool) {
        if blocked {
            self.blocked.insert((from, to));
        } else {
            self.blocked.remove(&(from, to));
        }
    }

    /// All partitions end.
    pub fn heal(&mut self) {
        self.blocked.clear();
    }

    /// Whether packets from `from` reach `to`.
    #[must_use]
    pub fn reaches(&self, from: HostId, to: HostId) -> bool {
        !self.blocked.contains(&(from, to))
    }

    /// Whether anything is blocked.
    #[must_use]
    pub fn is_divided(&self) -> bool {
        !self.blocked.is_empty()
    }

    /// Whether anything is blocked or may be lost.
    #[must_use]
    pub fn is_lossy(&self) -> bool {
        !self.blocked.is_empty() || self.quality.loss > 0
    }

    /// After which times a packet from `from` arrives at `to`: never, once or twice.
    pub fn carry(&self, random: &mut Generator, from: HostId, to: HostId) -> Vec<Duration> {
        if !self.reaches(from, to) || random.chance(self.quality.loss) {
            return Vec::new();
        }
        let copies = if random.chance(self.quality.duplication) { 2 } else { 1 };
        (0..copies).map(|_| self.delay(random)).collect()
    }

    /// How long one packet takes.
    pub fn delay(&self, random: &mut Generator) -> Duration {
        self.quality.latency + random.span(Duration::ZERO, self.quality.jitter)
    }

    /// The switch has seen an announcement.
    pub fn learn(&mut self, address: IpAddr, host: HostId) {
        self.learnt.insert(address, host);
    }

    /// Where the switch sends packets for an address.
    #[must_use]
    pub fn locate(&self, address: IpAddr) -> Option<HostId> {
        self.learnt.get(&address).copied()
    }
}
