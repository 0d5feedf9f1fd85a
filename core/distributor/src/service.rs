//! What is distributed: services, their targets and how one is picked. Parsed configuration; no
//! state.

use core::net::IpAddr;
use core::time::Duration;
use vipsec_wire::cluster::Protocol;
use vipsec_wire::id::NodeName;

/// One service of a VIP: connections to an address, protocol and range of ports, spread over
/// targets. Services of one VIP do not overlap; if they do, the first in the configuration wins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// Its name, unique within the VIP.
    pub name: String,
    /// The VIP itself, or an inner address that belongs to it.
    pub address: IpAddr,
    /// TCP or UDP.
    pub protocol: Protocol,
    /// First port.
    pub first_port: u16,
    /// Last port, at least `first_port`.
    pub last_port: u16,
    /// How a target is picked for a new connection.
    pub method: Method,
    /// The targets, in the order of the configuration.
    pub targets: Vec<ServiceTarget>,
    /// How targets are probed; `None`: they always count as healthy.
    pub check: Option<HealthCheck>,
}

/// How a target is picked for a new connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Method {
    /// One after another, weights ignored but for 0.
    #[default]
    RoundRobin,
    /// One after another in proportion to the weights, evenly interleaved.
    Weighted,
    /// The same target for the same peer address as long as the set of healthy targets allows, in
    /// proportion to the weights (rendezvous hash): every owner picks the same.
    Hash,
}

/// A target of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceTarget {
    /// The node.
    pub node: NodeName,
    /// Its share, 0 to 65535; 0 gets no new connections and keeps those that it has.
    pub weight: u16,
}

/// A TCP connect check of each target of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HealthCheck {
    /// Milliseconds between two probes of one target.
    pub interval_ms: u32,
    /// Successes in a row that make a target healthy, at least 1.
    pub rise: u16,
    /// Failures in a row that make it unhealthy, at least 1.
    pub fall: u16,
    /// The port to connect to; for a UDP service, that of some TCP listener beside it.
    pub port: u16,
}

/// How long a connection without packets stays known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// TCP before both sides have sent.
    pub opening: Duration,
    /// TCP, established.
    pub established: Duration,
    /// TCP after one side's FIN.
    pub half_closed: Duration,
    /// TCP after both FINs, for the last retransmissions.
    pub closed: Duration,
    /// TCP after an RST.
    pub reset: Duration,
    /// UDP.
    pub udp: Duration,
}

impl Default for Timeouts {
    fn default() -> Timeouts {
        Timeouts {
            opening: Duration::from_secs(60),
            established: Duration::from_secs(7200),
            half_closed: Duration::from_secs(600),
            closed: Duration::from_secs(60),
            reset: Duration::from_secs(10),
            udp: Duration::from_secs(60),
        }
    }
}
