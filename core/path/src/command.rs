//! What the node tells a worker: configuration, roles, SAs, keys between nodes, and the steps of a
//! transfer. Everything here is rare; packets do not come this way.

use core::net::{IpAddr, SocketAddr};
use core::time::Duration;
use vipsec_distributor::{Service, Timeouts};
use vipsec_esp::{ChildSa, Endpoints, Replay};
use vipsec_wire::cluster::ConnectionUpdate;
use vipsec_wire::handover::Handover;
use vipsec_wire::id::{Epoch, EspSpi, NodeName, Vip};
use vipsec_wire::ike::TrafficSelector;
use vipsec_wire::secret::SecretBytes;

/// One instruction to one worker. The node sends each to every worker unless it says otherwise; a
/// worker keeps of it what concerns its own SAs.
#[derive(Debug, Clone)]
pub enum Command {
    /// Makes a VIP known, or replaces its configuration. Connections stay.
    ConfigureVip(Box<VipConfig>),
    /// Forgets a VIP with everything that belongs to it.
    RemoveVip {
        /// The VIP.
        vip: Vip,
    },
    /// What this node is to a VIP from now on. A lower epoch than the known one is ignored.
    SetRole {
        /// The VIP.
        vip: Vip,
        /// The role.
        role: Role,
    },
    /// Installs a Child SA, on owners and standbys alike. One that is there already under the same
    /// inbound SPI is left as it is, but for `state.outbound`, which may activate it.
    Install(Box<ChildSa>, InstallState),
    /// Makes an installed SA the one that sends (after a rekey).
    ActivateOutbound {
        /// The VIP.
        vip: Vip,
        /// The SA, by the SPI that we chose.
        spi_in: EspSpi,
    },
    /// Forgets a Child SA.
    Remove {
        /// The VIP.
        vip: Vip,
        /// The SA.
        spi_in: EspSpi,
        /// Another has taken its place: nothing is sent on it any more, but what the peer sent before
        /// is accepted for [`crate::Limits::linger`].
        replaced: bool,
    },
    /// The store has confirmed block `block` of an SA.
    ConfirmBlock {
        /// The VIP.
        vip: Vip,
        /// The SA.
        spi_in: EspSpi,
        /// The block, from 0.
        block: u32,
    },
    /// The peer of an SA is reached elsewhere now.
    SetEndpoints {
        /// The VIP.
        vip: Vip,
        /// The SA.
        spi_in: EspSpi,
        /// Where.
        endpoints: Endpoints,
    },
    /// The sequence numbers of an SA jump, in either direction.
    Jump {
        /// The VIP.
        vip: Vip,
        /// The SA.
        spi_in: EspSpi,
        /// What the peer sends: packets above the last edge that was known at the takeover.
        inbound: u64,
        /// What we send: packets above the last one.
        outbound: u64,
    },
    /// Right edges of inbound windows, as an owner streamed or stored them; only ever raises.
    Edges {
        /// The VIP.
        vip: Vip,
        /// SPI of the inbound SA and the highest sequence number that was received on it.
        edges: Vec<(EspSpi, u64)>,
    },
    /// Highest sequence numbers that an owner announced to have sent; only ever raises.
    HighWater {
        /// The VIP.
        vip: Vip,
        /// SPI of the *inbound* SA of the pair, and the highest number sent on the outbound one.
        marks: Vec<(EspSpi, u64)>,
    },
    /// Whether new connections may go to a target.
    SetTargetHealth {
        /// The VIP.
        vip: Vip,
        /// Name of the service; `None`: all services of the VIP.
        service: Option<String>,
        /// The target.
        node: NodeName,
        /// Whether it may get new connections.
        usable: bool,
    },
    /// A target is gone for good (its grace is over): its connections are forgotten.
    TargetGone {
        /// The VIP.
        vip: Vip,
        /// The target.
        node: NodeName,
    },
    /// Keys of a new connection to another node. The outbound key is used at once when there is
    /// none yet, otherwise as soon as the peer has shown that it has the new ones.
    FabricKeys(Box<FabricKeys>),
    /// Another worker has seen that this node uses the keys of its newest connection
    /// ([`crate::Report::FabricConfirmed`]); without it, a worker that gets no frames of that node
    /// would go on with keys that a restarted one does not have.
    FabricConfirmed {
        /// The node.
        node: NodeName,
    },
    /// No frames to or from this node any more.
    FabricGone {
        /// The node.
        node: NodeName,
    },
    /// Sets what is sent to every node of the fabric, and how often; the first goes out at once.
    Heartbeat {
        /// An opaque text; empty switches heartbeats off.
        payload: Vec<u8>,
        /// Time between two of them.
        interval: Duration,
    },
    /// Stop handling packets of the VIP, keep them, and report [`crate::Report::Frozen`].
    Freeze {
        /// The VIP.
        vip: Vip,
    },
    /// Handle the packets that were kept, and go on.
    Thaw {
        /// The VIP.
        vip: Vip,
    },
    /// What the former owner's workers reported as frozen; comes before `SetRole` to owner.
    Handover {
        /// The VIP.
        vip: Vip,
        /// The epoch for which it holds: the one that `SetRole` will name.
        epoch: Epoch,
        /// The values.
        handover: Box<Handover>,
    },
    /// Connections as another node knows them, or, `from` this node itself, as its kernel's sockets
    /// show them after a restart.
    Connections {
        /// The VIP.
        vip: Vip,
        /// Who says so.
        from: NodeName,
        /// What it says.
        updates: Vec<ConnectionUpdate>,
        /// Whether this ends a target's report, so that nothing of that node is unknown any more.
        complete: bool,
    },
    /// List connections for people ([`crate::Report::ConnectionList`]).
    ListConnections {
        /// The VIP.
        vip: Vip,
        /// Comes back with the answer.
        query: u64,
        /// Most entries that this worker lists.
        limit: usize,
    },
    /// Report every connection that this node holds itself; at the owner, every one that it knows,
    /// for a backup that has just come. The answer is [`crate::Report::Connections`], the last of
    /// several with `complete`.
    ReportConnections {
        /// The VIP.
        vip: Vip,
    },
}

/// One VIP as a worker sees it.
#[derive(Debug, Clone)]
pub struct VipConfig {
    /// The VIP.
    pub vip: Vip,
    /// Inner addresses that belong to it and move with it (without the VIP itself).
    pub inner_addresses: Vec<IpAddr>,
    /// Its services.
    pub services: Vec<Service>,
    /// Prefixes behind the peers, as first and last address: on a node without SAs (a pure target)
    /// what of its own packets goes to the owner. Empty: every packet from an address of the VIP.
    pub protected: Vec<(IpAddr, IpAddr)>,
    /// What is accepted inbound after a takeover.
    pub replay: Replay,
    /// What is to be protected by SAs that are not there yet.
    pub traps: Vec<Trap>,
    /// Upper bound for the TCP MSS of connections through tunnels, beside what the path allows.
    pub mss_max: Option<u16>,
    /// Idle time-outs of connections.
    pub timeouts: Timeouts,
}

/// Outbound packets for which a Child SA is to be negotiated when there is none: they wait for it,
/// and [`crate::Report::Acquire`] asks for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trap {
    /// The connection to be initiated.
    pub connection: String,
    /// Its child.
    pub child: String,
    /// Our side's selectors.
    pub local: Vec<TrafficSelector>,
    /// The peer's.
    pub remote: Vec<TrafficSelector>,
}

/// What a node is to a VIP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Role {
    /// It does the security processing.
    Owner {
        /// In this epoch.
        epoch: Epoch,
    },
    /// It stands by, or is a target, or both.
    Member {
        /// The epoch of the owner it knows.
        epoch: Epoch,
        /// That owner; `None` when there is none at present.
        owner: Option<NodeName>,
    },
}

impl Role {
    /// The epoch in which this holds.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        match self {
            Role::Owner { epoch } | Role::Member { epoch, .. } => *epoch,
        }
    }
}

/// The movable part of an SA's state at its installation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct InstallState {
    /// Whether it sends at once, or waits for [`Command::ActivateOutbound`].
    pub outbound: bool,
    /// The confirmed block b of the record.
    pub block: u32,
    /// Highest known right edge of the inbound window, 0 for none.
    pub edge: u64,
    /// Highest known outbound sequence number beyond the blocks, 0 for none.
    pub high_water: u64,
}

/// Keys for frames between this node and another, from one control connection.
#[derive(Debug, Clone)]
pub struct FabricKeys {
    /// The other node.
    pub node: NodeName,
    /// Where its frames go to.
    pub remote: SocketAddr,
    /// The key that *this* worker sends with; differs from worker to worker.
    pub outbound: FabricKey,
    /// The keys of all workers of the other node. A frame is handled by worker
    /// `SPI % number of workers`.
    pub inbound: Vec<FabricKey>,
}

/// One direction of the fabric: AES-128-GCM with a 16-byte ICV (RFC 4106), extended sequence
/// numbers. Never used twice: every control connection has its own.
#[derive(Debug, Clone)]
pub struct FabricKey {
    /// Chosen by both ends from the same exporter output, at least 256.
    pub spi: EspSpi,
    /// 16 bytes of key, 4 bytes of salt.
    pub key: SecretBytes,
}
