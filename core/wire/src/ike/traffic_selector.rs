//! The Traffic Selector payloads (RFC 7296 section 3.13).

use super::Side;
use core::net::IpAddr;
use serde::{Deserialize, Serialize};

/// One selector: a range of addresses, a protocol, a range of ports. Both addresses are of one
/// family and `first_address <= last_address`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TrafficSelector {
    /// IP protocol, 0 for any.
    pub protocol: u8,
    /// First port (for ICMP: type and code); 0 with 65535 as the last means any, 65535 with 0 means
    /// OPAQUE.
    pub first_port: u16,
    /// Last port.
    pub last_port: u16,
    /// First address.
    pub first_address: IpAddr,
    /// Last address.
    pub last_address: IpAddr,
}

/// The payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrafficSelectors {
    /// TSi or TSr.
    pub side: Side,
    /// At least one.
    pub selectors: Vec<TrafficSelector>,
}

// To be here: TrafficSelector::{any_v4, any_v6, from prefix, contains(addr, proto, port), intersect, is_subset_of, Display}
