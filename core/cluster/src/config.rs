//! What a node is told about its cluster before it starts.
//!
//! Whoever builds a [`Config`] has checked it: names are unique, candidates are members.

use crate::floor::Floor;
use core::net::SocketAddr;
use core::time::Duration;
use vipsec_wire::id::{NodeName, Vip};

/// Everything that the state machine must know at its start.
#[derive(Debug, Clone)]
pub struct Config {
    /// This node.
    pub node: NodeName,
    /// Names this process: greater than that of every earlier process of this node, for example
    /// its start in microseconds since 1970.
    pub incarnation: u64,
    /// How often this node's process has started within the last minute, this start not counted.
    /// From the fourth on, each waits longer before its first claim.
    pub recent_starts: u32,
    /// All members, this node among them.
    pub members: Vec<Member>,
    /// All VIPs that this node is a candidate or a target of.
    pub vips: Vec<VipConfig>,
    /// Intervals and deadlines.
    pub timers: Timers,
}

/// One member of the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its name, unique.
    pub name: NodeName,
    /// Its Ed25519 public key, by which the control connection knows it.
    pub public_key: [u8; 32],
    /// What it may be.
    pub roles: Roles,
    /// Where it accepts control connections (TCP).
    pub control: SocketAddr,
    /// Where it receives forwarded packets and heartbeats (UDP).
    pub fabric: SocketAddr,
}

/// What a member may be; one may be both.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Roles {
    /// May own VIPs and read the store.
    pub candidate: bool,
    /// Receives connections of services.
    pub target: bool,
}

/// One VIP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VipConfig {
    /// The address.
    pub vip: Vip,
    /// Who may own it.
    pub candidates: Vec<Candidate>,
    /// Whether a higher rank that comes back takes over again by itself.
    pub takeback: TakeBack,
    /// What the node's own floor file says of this VIP; the lowest without one.
    pub floor: Floor,
}

/// A node that may own a VIP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The node.
    pub node: NodeName,
    /// 1 to 254; the highest that is alive takes over. Equal ranks go by name.
    pub rank: u8,
}

/// What a candidate does when it outranks the owner.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum TakeBack {
    /// Nothing: somebody has to say so.
    #[default]
    Manual,
    /// It asks the owner for a transfer once it has been ready for some time.
    Auto,
}

/// Intervals and deadlines. The defaults are those of the design.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timers {
    /// Between two heartbeats.
    pub heartbeat: Duration,
    /// A member is lost when so many intervals bring no heartbeat.
    pub lost_after: u32,
    /// How long a member whose control connection was closed by its kernel has to prove that it
    /// lives. Shorter than a heartbeat interval: it is asked, and answers at once.
    pub verify: Duration,
    /// How long after the start members that were never heard may still turn up. Before that nothing
    /// is claimed while another candidate is unheard: its floor may be above all that the store says.
    pub settle: Duration,
    /// How much later each further candidate claims.
    pub stagger: Duration,
    /// How long an ownership stays unacknowledged before it is told again.
    pub tell: Duration,
    /// How long connections of a node whose process died wait for it.
    pub grace: Duration,
    /// From the offer to the answer of the successor.
    pub transfer_offer: Duration,
    /// Longest freeze before the owner takes the VIP up again.
    pub transfer_freeze: Duration,
    /// After this long since its `Ready`, a successor that wins treats the transfer as a takeover,
    /// and an owner that cannot reach the store goes on.
    pub transfer_limit: Duration,
    /// First pause before a failed claim is tried again; doubles up to `retry_max`.
    pub retry: Duration,
    /// Longest pause between two claims.
    pub retry_max: Duration,
    /// How long a higher rank must have been ready before it takes back; doubles when ownership
    /// has flapped.
    pub takeback: Duration,
}

impl Default for Timers {
    fn default() -> Timers {
        Timers {
            heartbeat: Duration::from_millis(50),
            lost_after: 3,
            verify: Duration::from_millis(25),
            settle: Duration::from_secs(1),
            stagger: Duration::from_millis(40),
            tell: Duration::from_millis(100),
            grace: Duration::from_secs(30),
            transfer_offer: Duration::from_secs(2),
            transfer_freeze: Duration::from_millis(400),
            transfer_limit: Duration::from_secs(1),
            retry: Duration::from_millis(50),
            retry_max: Duration::from_secs(5),
            takeback: Duration::from_secs(5),
        }
    }
}

impl Timers {
    /// Silence after which a member is lost.
    #[must_use]
    pub fn silence(&self) -> Duration {
        self.heartbeat.saturating_mul(self.lost_after)
    }
}

impl Config {
    /// The member of that name.
    #[must_use]
    pub fn member(&self, name: &NodeName) -> Option<&Member> {
        self.members.iter().find(|member| member.name == *name)
    }
}

impl VipConfig {
    /// The rank of a node, or `None` when it is no candidate.
    #[must_use]
    pub fn rank(&self, node: &NodeName) -> Option<u8> {
        self.candidates.iter().find(|candidate| candidate.node == *node).map(|c| c.rank)
    }

    /// Whether `one` goes before `other` by rank, then by name.
    #[must_use]
    pub fn precedes(&self, one: &NodeName, other: &NodeName) -> bool {
        match (self.rank(one), self.rank(other)) {
            (Some(a), Some(b)) => a > b || (a == b && one < other),
            (Some(_), None) => true,
            (None, _) => false,
        }
    }
}
