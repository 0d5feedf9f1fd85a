//! What `leases` shows: which address of a pool is whose.

use crate::node::Node;
use serde::Serialize;
use vipsec_ike::LeaseView as Lease;
use vipsec_wire::id::Vip;
use vipsec_wire::time::Timestamp;

/// One address of a pool that somebody has or may have again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LeaseView {
    /// The VIP.
    pub vip: String,
    /// The pool.
    pub pool: String,
    /// The address.
    pub address: String,
    /// Whose it is.
    pub identity: String,
    /// `held`, or `kept` for the identity until `expires_s` is over.
    pub state: &'static str,
    /// The IKE SAs that have it, by the first one of each chain of rekeys.
    pub ike: Vec<String>,
    /// Seconds until it is nobody's; none while it is held.
    pub expires_s: Option<u64>,
}

impl Node {
    /// The leases of all VIPs that this node is a candidate of, owned or followed.
    #[must_use]
    pub fn leases(&self, now: Timestamp) -> Vec<LeaseView> {
        let candidates =
            self.vips.values().filter_map(|vip| Some((vip.vip, vip.candidate.as_ref()?)));
        candidates
            .flat_map(|(vip, candidate)| candidate.engine.leases().map(move |l| view(vip, &l, now)))
            .collect()
    }
}

fn view(vip: Vip, view: &Lease, now: Timestamp) -> LeaseView {
    let end = view.expires.filter(|end| *end < Timestamp(u64::MAX));
    LeaseView {
        vip: vip.to_string(),
        pool: view.lease.pool.clone(),
        address: view.lease.address.to_string(),
        identity: view.lease.identity.to_string(),
        state: if view.holders.is_empty() { "kept" } else { "held" },
        ike: view.holders.iter().map(ToString::to_string).collect(),
        expires_s: end.map(|end| end.since(now).as_secs()),
    }
}
