//! What a worker is made with, and the bounds of everything that it keeps.

use core::time::Duration;
use vipsec_wire::id::NodeName;

/// A worker's place in its node and cluster.
#[derive(Debug, Clone)]
pub struct PathConfig {
    /// Its number, from 0.
    pub worker: u16,
    /// How many there are, at least 1. A Child SA belongs to a worker by the peer's addresses, an
    /// inbound key of the fabric to worker `SPI % workers`.
    pub workers: u16,
    /// This node.
    pub node: NodeName,
    /// All nodes of the cluster, this one included, in the same order at all workers of the node.
    pub members: Vec<NodeName>,
    /// Bounds.
    pub limits: Limits,
}

/// Bounds and intervals. Everything is per worker.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Packets kept during a transfer, for each VIP.
    pub freeze_packets: usize,
    /// Bytes kept during a transfer, for each VIP.
    pub freeze_bytes: usize,
    /// Bytes of what is handed over in a transfer, all workers together: a message between nodes
    /// holds 4 MiB.
    pub handover_bytes: usize,
    /// How long a packet for an owner-to-be is kept.
    pub early: Duration,
    /// Packets of unknown connections kept, for each VIP.
    pub waiting_packets: usize,
    /// Bytes of unknown connections kept, for each VIP.
    pub waiting_bytes: usize,
    /// How long one of them waits.
    pub waiting: Duration,
    /// Packets kept that wait for an SA to be negotiated, for each VIP.
    pub trapped_packets: usize,
    /// Bytes of them.
    pub trapped_bytes: usize,
    /// How long one of them waits.
    pub trapped: Duration,
    /// How long after a change of owner new connections wait for the reports of all targets.
    pub reconcile: Duration,
    /// How long a former owner forwards late packets.
    pub late: Duration,
    /// Connections, for each VIP.
    pub connections: usize,
    /// Connections of others for which there is no SA yet, for each VIP.
    pub unplaced: usize,
    /// Child SAs, of all VIPs.
    pub sas: usize,
    /// How long after its end the inbound half of a replaced Child SA is received on, for packets that
    /// its delete has overtaken (RFC 7296 section 2.8).
    pub linger: Duration,
    /// Child SAs, of all VIPs, that are kept for it; of more the oldest go at once.
    pub lingering: usize,
    /// Remote addresses with a known path MTU.
    pub path_mtus: usize,
    /// How long a learnt path MTU holds (RFC 8201 section 4: at least 5 minutes).
    pub path_mtu_age: Duration,
    /// Reports that wait to be fetched.
    pub reports: usize,
    /// Time between two reports of window edges and of connections.
    pub edge_interval: Duration,
    /// Window edges in one report.
    pub edges: usize,
    /// Time between two reports of counters.
    pub counter_interval: Duration,
    /// How long nothing may be sent to a peer when there is a NAT in front of us, before a keepalive
    /// goes out (RFC 3948 section 4: 20 s).
    pub keepalive: Duration,
    /// Outer path MTU in bytes when nothing else is known.
    pub path_mtu: u16,
    /// MTU of the TUN in bytes.
    pub inner_mtu: u16,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            freeze_packets: 8192,
            freeze_bytes: 16 << 20,
            handover_bytes: 3 << 20,
            early: Duration::from_secs(1),
            waiting_packets: 1024,
            waiting_bytes: 2 << 20,
            waiting: Duration::from_millis(200),
            trapped_packets: 256,
            trapped_bytes: 512 << 10,
            trapped: Duration::from_secs(5),
            reconcile: Duration::from_secs(1),
            late: Duration::from_secs(5),
            connections: 1 << 20,
            unplaced: 1 << 16,
            sas: 1 << 18,
            linger: Duration::from_secs(5),
            lingering: 4096,
            path_mtus: 4096,
            path_mtu_age: Duration::from_secs(600),
            reports: 8192,
            edge_interval: Duration::from_millis(10),
            edges: 512,
            counter_interval: Duration::from_secs(1),
            keepalive: Duration::from_secs(20),
            path_mtu: 1500,
            inner_mtu: 1400,
        }
    }
}
