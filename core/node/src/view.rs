//! What `status`, `sas` and `connections` show: plain values for tables and JSON.

use crate::algorithms;
use crate::node::Node;
use crate::vip::{Candidate, VipState};
use serde::Serialize;
use std::collections::BTreeMap;
use vipsec_cluster::{Presence, TransferPhase, VipRole};
use vipsec_ike::IkeSaView;
use vipsec_path::DropCounts;
use vipsec_wire::id::{NodeName, Vip};
use vipsec_wire::time::Timestamp;

/// One node as it sees itself and its cluster.
#[derive(Debug, Clone, Serialize)]
pub struct StatusView {
    /// Its name.
    pub node: String,
    /// Names its process.
    pub incarnation: u64,
    /// The store, on candidates.
    pub store: Option<StoreView>,
    /// The members.
    pub members: Vec<MemberView>,
    /// The VIPs.
    pub vips: Vec<VipView>,
    /// Packets that the workers have dropped since the start, by reason.
    pub drops: BTreeMap<&'static str, u64>,
}

/// The store as this node sees it.
#[derive(Debug, Clone, Serialize)]
pub struct StoreView {
    /// It answers.
    pub up: bool,
    /// Why it does not.
    pub error: Option<String>,
    /// Followed up to this revision.
    pub revision: Option<u64>,
    /// Writes that wait for it.
    pub waiting: usize,
    /// New SAs that go on without being stored.
    pub unprotected: usize,
}

/// One member.
#[derive(Debug, Clone, Serialize)]
pub struct MemberView {
    /// Its name.
    pub name: String,
    /// `candidate`, `target` or both.
    pub roles: Vec<&'static str>,
    /// `self`, `unknown`, `alive`, `suspected` or `lost`.
    pub presence: &'static str,
    /// The control connection stands.
    pub linked: bool,
}

/// One VIP.
#[derive(Debug, Clone, Serialize)]
pub struct VipView {
    /// The VIP itself.
    pub address: String,
    /// `owner`, `claiming`, `ready`, `not-ready` or `target`.
    pub role: &'static str,
    /// How far a transfer is.
    pub transfer: Option<&'static str>,
    /// The highest epoch known.
    pub epoch: u64,
    /// Its owner, where known.
    pub owner: Option<String>,
    /// The other candidates.
    pub backups: Vec<BackupView>,
    /// Why this node must not claim it.
    pub refusal: Option<String>,
    /// What a new owner accepts inbound: `bounded` or `strict`.
    pub replay: &'static str,
    /// How many packets the busiest inbound SA advanced between the last two streams of edges: about
    /// so many could be accepted twice by whoever takes over now.
    pub replay_bound_packets: Option<u64>,
    /// Established IKE SAs and Child SAs that this node holds.
    pub ike_sas: usize,
    /// Child SAs that the workers have.
    pub child_sas: usize,
    /// The targets of its services.
    pub targets: Vec<TargetView>,
}

/// Another candidate of a VIP.
#[derive(Debug, Clone, Serialize)]
pub struct BackupView {
    /// The node.
    pub node: String,
    /// Its rank.
    pub rank: u8,
    /// It holds all records and could take over now.
    pub ready: bool,
}

/// One target of one service.
#[derive(Debug, Clone, Serialize)]
pub struct TargetView {
    /// The service.
    pub service: String,
    /// The node.
    pub node: String,
    /// Its share.
    pub weight: u16,
    /// Its checks succeed.
    pub healthy: bool,
    /// Connections that it holds, as far as this node knows.
    pub connections: usize,
}

/// One IKE SA with its Child SAs.
#[derive(Debug, Clone, Serialize)]
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
    /// Seconds since it was established.
    pub age_s: u64,
    /// It is in the store.
    pub protected: bool,
    /// Addresses of our pools that the peer has.
    pub assigned: Vec<String>,
    /// Its Child SAs.
    pub children: Vec<ChildView>,
}

/// One Child SA.
#[derive(Debug, Clone, Serialize)]
pub struct ChildView {
    /// The configured child.
    pub child: String,
    /// SPI at which we receive.
    pub spi_in: String,
    /// SPI at which the peer receives.
    pub spi_out: String,
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

/// One connection of a service.
#[derive(Debug, Clone, Serialize)]
pub struct ConnectionView {
    /// The VIP.
    pub vip: String,
    /// `tcp` or `udp`.
    pub protocol: &'static str,
    /// Our end.
    pub local: String,
    /// The peer's end.
    pub peer: String,
    /// `local` (the application is on this node) or `routed`.
    pub kind: &'static str,
    /// The node that holds it.
    pub target: String,
    /// How far it is.
    pub state: String,
    /// Seconds since it began.
    pub age_s: u64,
}

impl Node {
    /// The whole of `status`.
    #[must_use]
    pub fn status(&self) -> StatusView {
        StatusView {
            node: self.name.to_string(),
            incarnation: self.incarnation,
            store: self.store.key.as_ref().map(|_| self.store_view()),
            members: self.cluster.members().iter().map(member_view).collect(),
            vips: self.cluster.vips().iter().map(|view| self.vip_view(view)).collect(),
            drops: self.drop_view(),
        }
    }

    /// The IKE SAs of all VIPs that this node is a candidate of, owned or followed.
    #[must_use]
    pub fn sas(&self, now: Timestamp) -> Vec<IkeView> {
        let candidates =
            self.vips.values().filter_map(|vip| Some((vip.vip, vip.candidate.as_ref()?)));
        candidates.flat_map(|(vip, candidate)| ike_views(vip, candidate, now)).collect()
    }

    /// The connections that this node knows, as owner, backup or target.
    #[must_use]
    pub fn connections(&self, now: Timestamp) -> Vec<ConnectionView> {
        self.vips.values().flat_map(|vip| self.connection_views(vip, now)).collect()
    }

    fn drop_view(&self) -> BTreeMap<&'static str, u64> {
        let mut all = DropCounts::default();
        for drops in self.drops.values() {
            all.add(drops);
        }
        all.iter().map(|(reason, count)| (reason.name(), count)).collect()
    }

    fn store_view(&self) -> StoreView {
        let candidates = || self.vips.values().filter_map(|vip| vip.candidate.as_ref());
        StoreView {
            up: self.store.error.is_none(),
            error: self.store.error.as_ref().map(ToString::to_string),
            revision: self.store.watched.map(|revision| revision.0),
            waiting: candidates().map(|c| c.writer.waiting().0).sum(),
            unprotected: candidates().map(|c| c.unprotected.len()).sum(),
        }
    }

    fn vip_view(&self, view: &vipsec_cluster::VipView) -> VipView {
        let (role, transfer) = role_name(view.role);
        let state = self.vips.get(&view.vip);
        let candidate = state.and_then(|state| state.candidate.as_ref());
        let replay = state.map_or(vipsec_path::Replay::Bounded, |s| s.config.path.replay);
        VipView {
            address: view.vip.to_string(),
            role,
            transfer,
            epoch: view.epoch.0,
            owner: view.owner.as_ref().map(ToString::to_string),
            backups: view.backups.iter().map(backup_view).collect(),
            refusal: view.refusal.as_ref().map(ToString::to_string),
            replay: match replay {
                vipsec_path::Replay::Bounded => "bounded",
                vipsec_path::Replay::Strict => "strict",
            },
            replay_bound_packets: candidate.map(|candidate| candidate.edges.bound()),
            ike_sas: candidate.map_or(0, |candidate| candidate.engine.ike_sa_count()),
            child_sas: candidate.map_or(0, |candidate| candidate.installed.len()),
            targets: state.map(|state| self.target_views(state)).unwrap_or_default(),
        }
    }

    fn target_views(&self, state: &VipState) -> Vec<TargetView> {
        let mut views = Vec::new();
        for service in &state.config.path.services {
            let ports = service.first_port..=service.last_port;
            for target in &service.targets {
                let held = state.connections.values().filter(|(update, _)| {
                    update.node == target.node
                        && update.flow.local.ip() == service.address
                        && update.flow.protocol == service.protocol
                        && ports.contains(&update.flow.local.port())
                });
                let name = (service.name.clone(), target.node.clone());
                views.push(TargetView {
                    service: service.name.clone(),
                    node: target.node.to_string(),
                    weight: target.weight,
                    healthy: !state.unhealthy.contains(&name)
                        && (target.node == self.name || self.linked.contains(&target.node)),
                    connections: held.count(),
                });
            }
        }
        views
    }

    fn connection_views(&self, state: &VipState, now: Timestamp) -> Vec<ConnectionView> {
        let view = |(update, noted): &(vipsec_wire::cluster::ConnectionUpdate, Timestamp)| {
            ConnectionView {
                vip: state.vip.to_string(),
                protocol: match update.flow.protocol {
                    vipsec_wire::cluster::Protocol::Tcp => "tcp",
                    vipsec_wire::cluster::Protocol::Udp => "udp",
                },
                local: update.flow.local.to_string(),
                peer: update.flow.peer.to_string(),
                kind: if update.node == self.name { "local" } else { "routed" },
                target: update.node.to_string(),
                state: format!("{:?}", update.state),
                age_s: u64::from(update.age_s) + now.since(*noted).as_secs(),
            }
        };
        state.connections.values().map(view).collect()
    }
}

fn member_view(view: &vipsec_cluster::MemberView) -> MemberView {
    let roles = [(view.roles.candidate, "candidate"), (view.roles.target, "target")];
    MemberView {
        name: view.name.to_string(),
        roles: roles.into_iter().filter(|(has, _)| *has).map(|(_, name)| name).collect(),
        presence: match view.presence {
            Presence::Own => "self",
            Presence::Unknown => "unknown",
            Presence::Alive => "alive",
            Presence::Suspected => "suspected",
            Presence::Lost => "lost",
        },
        linked: view.linked,
    }
}

fn backup_view((node, rank, ready): &(NodeName, u8, bool)) -> BackupView {
    BackupView { node: node.to_string(), rank: *rank, ready: *ready }
}

fn role_name(role: VipRole) -> (&'static str, Option<&'static str>) {
    match role {
        VipRole::Owner { transfer, .. } => ("owner", transfer.map(phase_name)),
        VipRole::Claiming => ("claiming", None),
        VipRole::Ready => ("ready", None),
        VipRole::NotReady => ("not-ready", None),
        VipRole::Target => ("target", None),
    }
}

fn phase_name(phase: TransferPhase) -> &'static str {
    match phase {
        TransferPhase::Offered => "offered",
        TransferPhase::Freezing => "freezing",
        TransferPhase::HandedOver => "handed-over",
        TransferPhase::Reclaiming => "reclaiming",
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
        age_s: now.since(sa.created).as_secs(),
        protected: sa.protected && !unprotected,
        assigned: sa.assigned.iter().map(ToString::to_string).collect(),
        children: children.collect(),
    }
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
