//! A host: what survives its processes (disk, kernel, applications) and the process that runs.

use crate::app::Apps;
use crate::process::Process;
use core::fmt;
use core::net::IpAddr;
use std::collections::{BTreeMap, VecDeque};
use vipsec_cluster::Floor;
use vipsec_wire::id::{NodeName, Vip};
use vipsec_wire::time::Timestamp;

/// Names a host. Candidates are `a`, `b`, …, pure targets `t1`, …, peers `p1`, …, and `s` is the
/// protected host behind the gateways.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostId(u8);

const TARGETS: u8 = 20;
const PEERS: u8 = 40;
const PROTECTED: u8 = 90;

impl HostId {
    /// The candidate of that number, from 0 to 19.
    #[must_use]
    pub fn candidate(number: u8) -> HostId {
        HostId(number)
    }

    /// The pure target of that number, from 0 to 19.
    #[must_use]
    pub fn target(number: u8) -> HostId {
        HostId(TARGETS + number)
    }

    /// The peer of that number, from 0 to 49.
    #[must_use]
    pub fn peer(number: u8) -> HostId {
        HostId(PEERS + number)
    }

    /// The protected host.
    #[must_use]
    pub fn protected() -> HostId {
        HostId(PROTECTED)
    }

    /// Whether it is one of the peers.
    #[must_use]
    pub fn is_peer(self) -> bool {
        (PEERS..PROTECTED).contains(&self.0)
    }

    /// Whether it is a node of the cluster.
    #[must_use]
    pub fn is_node(self) -> bool {
        self.0 < PEERS
    }

    /// Whether it may own the cluster's VIP.
    #[must_use]
    pub fn is_candidate(self) -> bool {
        self.0 < TARGETS
    }

    /// A number from 1 for its addresses.
    #[must_use]
    pub fn number(self) -> u8 {
        self.0 + 1
    }

    /// Its name as a member.
    ///
    /// # Panics
    /// Never: all names are allowed ones.
    #[must_use]
    pub fn node(self) -> NodeName {
        NodeName::try_from(self.to_string()).expect("an allowed name")
    }

    /// The host of a member's name; `None` for a name that is none.
    #[must_use]
    pub fn of(node: &NodeName) -> Option<HostId> {
        (0..=PROTECTED).map(HostId).find(|host| host.to_string() == node.as_str())
    }
}

impl fmt::Display for HostId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            number if number < TARGETS => write!(f, "{}", char::from(b'a' + number)),
            number if number < PEERS => write!(f, "t{}", number - TARGETS + 1),
            number if number < PROTECTED => write!(f, "p{}", number - PEERS + 1),
            _ => f.write_str("s"),
        }
    }
}

impl fmt::Debug for HostId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What stands on a disk.
#[derive(Debug, Default)]
pub struct Disk {
    /// The floor file.
    pub floors: BTreeMap<Vip, Floor>,
    /// When processes were started.
    pub starts: VecDeque<Timestamp>,
}

/// A host.
pub struct Host {
    /// Its name.
    pub id: HostId,
    /// How far its clock is off, in microseconds.
    pub skew: u64,
    /// What survives everything.
    pub disk: Disk,
    /// The applications, and the kernel's sockets that they have.
    pub apps: Apps,
    /// Its inner address: of a peer the one that it was assigned.
    pub address: Option<IpAddr>,
    /// The process, while one runs.
    pub(crate) process: Option<Box<Process>>,
}

impl Host {
    /// A host without a process.
    #[must_use]
    pub fn new(id: HostId, skew: u64) -> Host {
        let apps = Apps::default();
        Host { id, skew, disk: Disk::default(), apps, address: None, process: None }
    }

    /// What its clock shows.
    #[must_use]
    pub fn clock(&self, now: Timestamp) -> Timestamp {
        Timestamp(now.0 + self.skew)
    }
}
