//! What a node is told before it starts. Parsed and checked elsewhere.

use core::time::Duration;
use vipsec_crypto::seal::StoreKey;
use vipsec_wire::id::Vip;

/// One node.
#[derive(Debug)]
pub struct Config {
    /// Members, VIPs with ranks, timers.
    pub cluster: vipsec_cluster::Config,
    /// What this node must know of each VIP, in the order of `cluster.vips`.
    pub vips: Vec<VipConfig>,
    /// The key of the records; candidates alone have it.
    pub store_key: Option<StoreKey>,
    /// What becomes of new SAs while the store does not answer.
    pub when_unavailable: WhenUnavailable,
    /// Number of workers of the data path, from 1.
    pub workers: u16,
}

/// What becomes of a new SA that the store does not confirm in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenUnavailable {
    /// It goes on after this long, marked as unprotected, and is stored when the store is back.
    Unprotected(Duration),
    /// It is not acknowledged.
    Refuse,
}

impl Default for WhenUnavailable {
    fn default() -> WhenUnavailable {
        WhenUnavailable::Unprotected(Duration::from_millis(500))
    }
}

/// One VIP.
#[derive(Debug, Clone)]
pub struct VipConfig {
    /// The VIP.
    pub vip: Vip,
    /// The engine's part; `None` where this node is no candidate.
    pub ike: Option<vipsec_ike::Config>,
    /// The workers' part.
    pub path: vipsec_path::VipConfig,
}
