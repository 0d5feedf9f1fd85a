//! What a worker tells the node. Rare beside packets, batched, and bounded in number.

use crate::counters::DropCounts;
use core::net::SocketAddr;
use vipsec_esp::Expiry;
use vipsec_wire::cluster::ConnectionUpdate;
use vipsec_wire::handover::Handover;
use vipsec_wire::id::{EspSpi, IkeSaId, NodeName, Vip};
use vipsec_wire::time::Timestamp;

/// One thing that the node must know.
#[derive(Debug, Clone)]
pub enum Report {
    /// An IKE message for a VIP that this node owns, without the non-ESP marker.
    Ike {
        /// The VIP.
        vip: Vip,
        /// Where it arrived; port 500 or 4500.
        local: SocketAddr,
        /// Where it came from.
        remote: SocketAddr,
        /// The message from the IKE header on.
        message: Vec<u8>,
    },
    /// A lifetime of an SA is near its end, or over.
    Expiry {
        /// The VIP.
        vip: Vip,
        /// The SA.
        spi_in: EspSpi,
        /// How near.
        expiry: Expiry,
    },
    /// A packet waits for a Child SA that is not there; said at most once a second for each trap.
    Acquire {
        /// The VIP.
        vip: Vip,
        /// The connection to be initiated.
        connection: String,
        /// Its child.
        child: String,
    },
    /// Right edges that moved, at most every 10 ms and of bounded number; to be streamed.
    Edges {
        /// The VIP.
        vip: Vip,
        /// SPI and highest sequence number received.
        edges: Vec<(EspSpi, u64)>,
    },
    /// An SA was not installed: there are too many, or its keys do not fit its algorithms.
    NotInstalled {
        /// The VIP.
        vip: Vip,
        /// The SA.
        spi_in: EspSpi,
    },
    /// An SA sends beyond its confirmed block: to be announced with the heartbeats.
    HighWater {
        /// The VIP.
        vip: Vip,
        /// SPI of the *inbound* SA of the pair, and the highest number sent on the outbound one.
        marks: Vec<(EspSpi, u64)>,
    },
    /// An SA will outgrow its block: store `wanted`, then [`crate::Command::ConfirmBlock`].
    BlockLow {
        /// The VIP.
        vip: Vip,
        /// The SA.
        spi_in: EspSpi,
        /// The block to be stored.
        wanted: u32,
    },
    /// Totals of SAs that had traffic since the last report, about once a second.
    Counters {
        /// The VIP.
        vip: Vip,
        /// The SAs.
        counters: Vec<SaCounters>,
    },
    /// At the owner: news for the backups. Elsewhere: the answer to
    /// [`crate::Command::ReportConnections`].
    Connections {
        /// The VIP.
        vip: Vip,
        /// What changed, or what there is.
        updates: Vec<ConnectionUpdate>,
        /// Last part of a full report; always false for news.
        complete: bool,
    },
    /// A new owner's worker has these connections no more: they belong to others of its workers,
    /// which are to hear of them by [`crate::Command::Connections`] from this node itself.
    Strays {
        /// The VIP.
        vip: Vip,
        /// The connections.
        updates: Vec<ConnectionUpdate>,
        /// This worker's last part. When all workers have said theirs, the command is complete.
        complete: bool,
    },
    /// The answer to [`crate::Command::ListConnections`].
    ConnectionList {
        /// The VIP.
        vip: Vip,
        /// As in the command.
        query: u64,
        /// The connections; local ones are those whose node is this one.
        connections: Vec<ConnectionUpdate>,
    },
    /// A heartbeat of another node.
    Heartbeat {
        /// The node whose key authenticated it.
        from: NodeName,
        /// What it said.
        payload: Vec<u8>,
    },
    /// The answer to [`crate::Command::Freeze`]: this worker's part.
    Frozen {
        /// The VIP.
        vip: Vip,
        /// What the next owner needs.
        handover: Box<Handover>,
    },
    /// An authenticated, new packet of an encapsulated SA came from another address or port than
    /// the known one (RFC 7296 section 2.23). Said once per SA and address.
    Mapping {
        /// The VIP.
        vip: Vip,
        /// The IKE SA to which the Child SA belongs.
        ike: IkeSaId,
        /// Where the packet came from.
        remote: SocketAddr,
    },
    /// The other node uses the keys of its newest connection, and so do we from now on.
    FabricConfirmed {
        /// The node.
        node: NodeName,
    },
    /// Totals of dropped packets since the start, whenever they changed, about once a second.
    Drops(DropCounts),
}

/// Totals of one Child SA at this worker since it was installed here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SaCounters {
    /// The SA.
    pub spi_in: EspSpi,
    /// Packets received and accepted.
    pub in_packets: u64,
    /// Bytes of them.
    pub in_bytes: u64,
    /// Packets sent.
    pub out_packets: u64,
    /// Bytes of them.
    pub out_bytes: u64,
    /// When the last was received; zero for never.
    pub last_in: Timestamp,
    /// When the last was sent; zero for never.
    pub last_out: Timestamp,
}
