//! One VIP at one worker: its role, policy, distributor and queues, and whether a packet may be
//! handled here and now.

use crate::command::{Role, VipConfig};
use crate::config::Limits;
use crate::fragment::Fragments;
use crate::freeze::Held;
use crate::homes::Unplaced;
use crate::spd::Spd;
use crate::trap::Traps;
use crate::waiting::{Reconcile, Waiting};
use core::net::IpAddr;
use vipsec_distributor::Distributor;
use vipsec_esp::Replay;
use vipsec_wire::id::{Epoch, NodeName, Vip};
use vipsec_wire::time::Timestamp;

/// What to do with a packet of a VIP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gate {
    /// Handle it, as the owner of this epoch.
    Open(Epoch),
    /// Keep it.
    Hold,
    /// Give it to the node of this index.
    Forward(u16),
}

/// See the module's text.
#[derive(Debug)]
pub(crate) struct VipState {
    pub(crate) vip: Vip,
    pub(crate) replay: Replay,
    pub(crate) mss_max: Option<u16>,
    protected: Vec<(IpAddr, IpAddr)>,
    epoch: Epoch,
    is_owner: bool,
    /// Index of the owner, when it is another node and known.
    owner: Option<u16>,
    /// Until when late packets are forwarded.
    late_until: Timestamp,
    pub(crate) frozen: bool,
    pub(crate) held: Held,
    pub(crate) waiting: Waiting,
    pub(crate) reconcile: Reconcile,
    pub(crate) traps: Traps,
    pub(crate) unplaced: Unplaced,
    pub(crate) spd: Spd,
    pub(crate) distributor: Distributor,
    pub(crate) fragments: Fragments,
    /// The epoch for which a hand-over of all connections has been taken in.
    pub(crate) handed: Option<Epoch>,
}

impl VipState {
    pub(crate) fn new(
        vip: Vip,
        members: &[NodeName],
        own: u16,
        limits: &Limits,
        seeds: [u64; 2],
    ) -> VipState {
        let distributor = Distributor::new(members.to_vec(), own, limits.connections, seeds[0]);
        VipState {
            vip,
            replay: Replay::Bounded,
            mss_max: None,
            protected: Vec::new(),
            epoch: Epoch(0),
            is_owner: false,
            owner: None,
            late_until: Timestamp(0),
            frozen: false,
            held: Held::new(limits),
            waiting: Waiting::new(limits),
            reconcile: Reconcile::default(),
            traps: Traps::new(limits),
            unplaced: Unplaced::default(),
            spd: Spd::new(seeds[1]),
            distributor,
            fragments: Fragments::default(),
            handed: None,
        }
    }

    pub(crate) fn configure(&mut self, config: VipConfig) {
        let mut addresses = vec![config.vip.0];
        addresses.extend(config.inner_addresses);
        addresses.extend(config.services.iter().map(|service| service.address));
        addresses.sort_unstable();
        addresses.dedup();
        self.distributor.configure(addresses, &config.services, config.timeouts);
        self.replay = config.replay;
        self.mss_max = config.mss_max;
        self.protected = config.protected;
        self.traps.configure(config.traps);
    }

    /// The epoch of the owner that is known.
    pub(crate) fn epoch(&self) -> Epoch {
        self.epoch
    }

    pub(crate) fn is_owner(&self) -> bool {
        self.is_owner
    }

    /// The owner, when it is another node and known.
    pub(crate) fn owner(&self) -> Option<u16> {
        self.owner
    }

    /// Whether this node sends packets of an inner address of its own to the owner, when it has no
    /// SAs to judge by.
    pub(crate) fn is_protected(&self, destination: IpAddr) -> bool {
        let mut ranges = self.protected.iter();
        self.protected.is_empty()
            || ranges.any(|(first, last)| (first..=last).contains(&&destination))
    }

    /// Whether the configuration says that an address is behind the peers of this VIP.
    pub(crate) fn reaches(&self, destination: IpAddr) -> bool {
        !self.protected.is_empty() && self.is_protected(destination)
    }

    /// Takes a role on. `None` when the epoch is lower than the known one; otherwise whether the
    /// owner changed, or began anew, by it.
    pub(crate) fn set_role(
        &mut self,
        now: Timestamp,
        role: &Role,
        owner: Option<u16>,
        limits: &Limits,
    ) -> Option<bool> {
        if role.epoch() < self.epoch {
            return None;
        }
        let was = (self.is_owner, self.epoch);
        let is_owner = matches!(role, Role::Owner { .. });
        if was.0 && !is_owner {
            self.late_until = now + limits.late;
        }
        self.is_owner = is_owner;
        self.epoch = role.epoch();
        self.owner = owner;
        self.frozen &= is_owner && was == (true, self.epoch);
        Some(was != (is_owner, self.epoch))
    }

    /// For a packet from outside. It comes to a node that does not own when the node is about to,
    /// and was announced a moment before its workers were told.
    pub(crate) fn gate_outer(&self, now: Timestamp) -> Gate {
        match (self.is_owner, self.frozen, self.owner) {
            (true, true, _) => Gate::Hold,
            (true, false, _) => Gate::Open(self.epoch),
            (false, _, Some(owner)) if now < self.late_until => Gate::Forward(owner),
            (false, ..) => Gate::Hold,
        }
    }

    /// For a packet from inside. Without an owner it waits a moment: this node may be about to become
    /// it, after a restart.
    pub(crate) fn gate_inner(&self) -> Gate {
        match (self.is_owner, self.frozen, self.owner) {
            (true, true, _) => Gate::Hold,
            (true, false, _) => Gate::Open(self.epoch),
            (false, _, Some(owner)) => Gate::Forward(owner),
            (false, _, None) => Gate::Hold,
        }
    }
}
