//! What `sas` shows: IKE SAs with their Child SAs, with the names that the configuration uses.

use crate::algorithms;
use crate::node::Node;
use crate::vip::Candidate;
use core::net::IpAddr;
use serde::Serialize;
use vipsec_ike::IkeSaView;
use vipsec_wire::id::Vip;
use vipsec_wire::record::v1::{ChildPhase, IkePhase};
use vipsec_wire::time::Timestamp;

/// One IKE SA with its Child SAs.
#[derive(Debug, Clone, Default, Serialize)]
pub struct IkeView {
    /// The VIP.
    pub vip: String,
    /// Our SPI, its name.
    pub id: String,
    /// The configured connection.
    pub connection: String,
    /// Who we are to the peer.
    pub local_identity: String,
    /// Who the peer is.
    pub remote_identity: String,
    /// Where the peer is.
    pub remote: String,
    /// The algorithms.
    pub algorithms: String,
    /// SPI of the initiator.
    pub spi_initiator: String,
    /// SPI of the responder.
    pub spi_responder: String,
    /// `initiator` or `responder`.
    pub role: &'static str,
    /// `established`; `undecided`, the product of a rekey that both sides have begun; or
    /// `superseded`, replaced by a rekey and waiting for its delete.
    pub state: &'static str,
    /// Seconds since it was established.
    pub age_s: u64,
    /// It is in the store.
    pub protected: bool,
    /// Addresses of our pools that the peer has.
    pub assigned: Vec<String>,
    /// Addresses that we have from the peer.
    pub obtained: Vec<String>,
    /// Name servers that the peer has told us.
    pub name_servers: Vec<String>,
    /// Domains that they are for; none: all.
    pub domains: Vec<String>,
    /// What the peer says is reached through it.
    pub subnets: Vec<String>,
    /// The peer's software, in its own words.
    pub peer_version: Option<String>,
    /// Its Child SAs.
    pub children: Vec<ChildView>,
}

/// One Child SA.
#[derive(Debug, Clone, Default, Serialize)]
pub struct ChildView {
    /// The configured child.
    pub child: String,
    /// SPI at which we receive.
    pub spi_in: String,
    /// SPI at which the peer receives.
    pub spi_out: String,
    /// `active`, or `superseded`: replaced by a rekey and waiting for its delete.
    pub state: &'static str,
    /// The algorithms.
    pub algorithms: String,
    /// `tunnel` or `transport`.
    pub mode: &'static str,
    /// ESP in UDP.
    pub encapsulated: bool,
    /// Our side's selectors.
    pub local: Vec<String>,
    /// The peer's selectors.
    pub remote: Vec<String>,
    /// Seconds since it was made.
    pub age_s: u64,
    /// Bytes received and accepted by this node.
    pub bytes_in: u64,
    /// Packets received and accepted by this node.
    pub packets_in: u64,
    /// Bytes sent by this node.
    pub bytes_out: u64,
    /// Packets sent by this node.
    pub packets_out: u64,
}

impl Node {
    /// The IKE SAs of all VIPs that this node is a candidate of, owned or followed.
    #[must_use]
    pub fn sas(&self, now: Timestamp) -> Vec<IkeView> {
        let candidates =
            self.vips.values().filter_map(|vip| Some((vip.vip, vip.candidate.as_ref()?)));
        candidates.flat_map(|(vip, candidate)| ike_views(vip, candidate, now)).collect()
    }
}

fn ike_views(vip: Vip, candidate: &Candidate, now: Timestamp) -> Vec<IkeView> {
    candidate.engine.ike_sas().map(|sa| ike_view(vip, candidate, &sa, now)).collect()
}

fn ike_view(vip: Vip, candidate: &Candidate, sa: &IkeSaView, now: Timestamp) -> IkeView {
    let unprotected = candidate.unprotected.values().any(|ids| ids.contains(&sa.id));
    let children = sa.children.iter().map(|child| child_view(candidate, child, now));
    IkeView {
        vip: vip.to_string(),
        id: sa.id.to_string(),
        connection: sa.connection.clone(),
        local_identity: sa.local_identity.to_string(),
        remote_identity: sa.remote_identity.to_string(),
        remote: sa.addresses.remote.to_string(),
        algorithms: algorithms::ike(&sa.algorithms),
        spi_initiator: format!("{:016x}", sa.spis.initiator),
        spi_responder: format!("{:016x}", sa.spis.responder),
        role: if sa.initiator { "initiator" } else { "responder" },
        state: match sa.phase {
            IkePhase::Established => "established",
            IkePhase::Undecided => "undecided",
            IkePhase::Superseded { .. } => "superseded",
        },
        age_s: now.since(sa.created).as_secs(),
        protected: sa.protected && !unprotected,
        assigned: texts(&sa.assigned),
        obtained: texts(&sa.obtained),
        name_servers: texts(&sa.told.name_servers),
        domains: sa.told.domains.clone(),
        subnets: sa.told.subnets.iter().map(|(net, length)| format!("{net}/{length}")).collect(),
        peer_version: sa.told.version.clone(),
        children: children.collect(),
    }
}

fn texts(addresses: &[IpAddr]) -> Vec<String> {
    addresses.iter().map(ToString::to_string).collect()
}

fn child_view(candidate: &Candidate, child: &vipsec_ike::ChildView, now: Timestamp) -> ChildView {
    let sa = &child.sa;
    let usage = candidate.usage.get(&sa.inbound.spi);
    let selectors = |list: &[vipsec_wire::ike::TrafficSelector]| {
        list.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    ChildView {
        child: sa.child.clone(),
        spi_in: sa.inbound.spi.to_string(),
        spi_out: sa.outbound.spi.to_string(),
        state: match child.phase {
            ChildPhase::Active => "active",
            ChildPhase::Superseded { .. } => "superseded",
        },
        algorithms: algorithms::child(&sa.cipher, sa.esn),
        mode: match sa.mode {
            vipsec_esp::Mode::Tunnel => "tunnel",
            vipsec_esp::Mode::Transport => "transport",
        },
        encapsulated: sa.endpoints.encapsulated,
        local: selectors(&sa.local),
        remote: selectors(&sa.remote),
        age_s: now.since(sa.created).as_secs(),
        bytes_in: usage.map_or(0, |u| u.in_bytes),
        packets_in: usage.map_or(0, |u| u.in_packets),
        bytes_out: usage.map_or(0, |u| u.out_bytes),
        packets_out: usage.map_or(0, |u| u.out_packets),
    }
}
