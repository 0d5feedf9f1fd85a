//! What `status` shows: plain values for tables and JSON.

use crate::node::Node;
use crate::vip::VipState;
use serde::Serialize;
use std::collections::BTreeMap;
use vipsec_cluster::{Presence, TransferPhase, VipRole};
use vipsec_path::DropCounts;
use vipsec_wire::id::NodeName;

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
    /// Packets that the workers have dropped since the start, and IKE messages without effect, by
    /// reason. The shell adds what its packet filter drops.
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
    /// How many packets of the busiest inbound SA whoever takes over now could accept twice: what one
    /// stream of edges brings, or, without a backup, what has come since they were stored.
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

    fn drop_view(&self) -> BTreeMap<&'static str, u64> {
        let mut all = DropCounts::default();
        for drops in self.drops.values() {
            all.add(drops);
        }
        let mut view: BTreeMap<&'static str, u64> =
            all.iter().map(|(reason, count)| (reason.name(), count)).collect();
        for candidate in self.vips.values().filter_map(|vip| vip.candidate.as_ref()) {
            for (reason, count) in candidate.engine.drops().iter() {
                *view.entry(ike_drop(reason)).or_default() += count;
            }
        }
        view
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
            replay_bound_packets: candidate.map(|candidate| {
                let linked = |node: &NodeName| self.linked.contains(node);
                candidate.edges.bound(self.other_candidates(view.vip).iter().any(linked))
            }),
            ike_sas: candidate.map_or(0, |candidate| candidate.engine.ike_sa_count()),
            child_sas: candidate.map_or(0, |candidate| candidate.installed.len()),
            targets: state.map(|state| self.target_views(state)).unwrap_or_default(),
        }
    }

    fn target_views(&self, state: &VipState) -> Vec<TargetView> {
        let mut views = Vec::new();
        for service in &state.config.path.services {
            for target in &service.targets {
                let name = (service.name.clone(), target.node.clone());
                views.push(TargetView {
                    service: service.name.clone(),
                    node: target.node.to_string(),
                    weight: target.weight,
                    healthy: !state.unhealthy.contains(&name)
                        && (target.node == self.name || self.linked.contains(&target.node)),
                });
            }
        }
        views
    }
}

fn ike_drop(reason: vipsec_ike::Drop) -> &'static str {
    use vipsec_ike::Drop;
    match reason {
        Drop::Malformed => "ike_malformed",
        Drop::Version => "ike_version",
        Drop::UnknownSpi => "ike_unknown_spi",
        Drop::Unauthentic => "ike_unauthentic",
        Drop::OutOfWindow => "ike_out_of_window",
        Drop::UnexpectedResponse => "ike_unexpected_response",
        Drop::UnexpectedExchange => "ike_unexpected_exchange",
        Drop::HalfOpenFull => "ike_half_open_full",
        Drop::CookieWanted => "ike_cookie_wanted",
        Drop::SourceFull => "ike_source_full",
        Drop::SourceFailing => "ike_source_failing",
        Drop::PuzzleWanted => "ike_puzzle_wanted",
        Drop::Busy => "ike_busy",
        Drop::NotOwner => "ike_not_owner",
        Drop::NoConnection => "ike_no_connection",
        Drop::UnauthenticatedError => "ike_unauthenticated_error",
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
