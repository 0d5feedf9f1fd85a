//! The one value that a node drives: what happens goes in, what is to be done comes out.

use crate::config::Config;
use crate::error::Error;
use crate::input::{
    ClaimOutcome, EpochRead, LinkChange, RecordMaxima, StoreHealth, TransferAccepted,
};
use crate::output::Output;
use crate::view::{MemberView, VipView};
use std::collections::VecDeque;
use vipsec_wire::cluster::ownership::{Heartbeat, Message};
use vipsec_wire::id::{Epoch, NodeName, Vip};
use vipsec_wire::secret::SecretBytes;
use vipsec_wire::time::Timestamp;

/// The cluster as one node sees it.
#[derive(Debug)]
pub struct Cluster {
    config: Config,
    outputs: VecDeque<Output>,
}

#[allow(unused_variables)]
impl Cluster {
    /// A node before its start.
    #[must_use]
    pub fn new(config: Config) -> Cluster {
        Cluster { config, outputs: VecDeque::new() }
    }
    /// The process has started: heartbeats begin, members that were never heard get time to
    /// turn up.
    pub fn handle_start(&mut self, now: Timestamp) {}
    /// The control connection with a member has changed.
    pub fn handle_link(&mut self, now: Timestamp, node: &NodeName, change: LinkChange) {}
    /// A heartbeat came in over the fabric.
    pub fn handle_heartbeat(&mut self, now: Timestamp, from: &NodeName, beat: &Heartbeat) {}
    /// A message came in over the control connection.
    pub fn handle_message(&mut self, now: Timestamp, from: &NodeName, message: Message) {}
    /// The epoch record was read or has changed.
    pub fn handle_epoch_record(&mut self, now: Timestamp, vip: Vip, read: EpochRead) {}
    /// All other records of the VIP have been read and opened, up to a revision.
    pub fn handle_records(&mut self, now: Timestamp, vip: Vip, maxima: RecordMaxima) {}
    /// The answer to an [`Output::Claim`].
    pub fn handle_claim(&mut self, now: Timestamp, vip: Vip, outcome: ClaimOutcome) {}
    /// The store answers, or does not any more. Assumed down until the first call.
    pub fn handle_store_health(&mut self, now: Timestamp, health: StoreHealth) {}
    /// The answer to an [`Output::Freeze`]: everything is still, this is what is handed over.
    /// `written` is the revision of the last write for the VIP.
    pub fn handle_frozen(
        &mut self,
        now: Timestamp,
        vip: Vip,
        handover: SecretBytes,
        written: crate::store::Revision,
    ) {
    }
    /// Somebody wants the VIP to move.
    ///
    /// # Errors
    /// [`Error`]; nothing has changed.
    pub fn handle_transfer_request(
        &mut self,
        now: Timestamp,
        vip: Vip,
        to: &NodeName,
    ) -> Result<TransferAccepted, Error> {
        Err(Error::UnknownVip(vip))
    }
    /// This node wants no part in the VIP any more (it stops): an owner gives it up, and no claim
    /// follows in this process.
    pub fn handle_release(&mut self, now: Timestamp, vip: Vip) {}
    /// Somebody accepts that a refused store loses all SAs of the VIP.
    ///
    /// # Errors
    /// [`Error::NothingToAccept`] when nothing was refused.
    pub fn handle_accept_rollback(&mut self, now: Timestamp, vip: Vip) -> Result<(), Error> {
        Err(Error::NothingToAccept(vip))
    }
    /// The time of [`Cluster::poll_timeout`] has come.
    pub fn handle_timeout(&mut self, now: Timestamp) {}
    /// What is to be done next; to be called until `None` after every `handle_*`.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }
    /// When [`Cluster::handle_timeout`] wants to be called; asked anew after every `handle_*`.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Timestamp> {
        None
    }
    /// The epoch in which this node owns the VIP, if it does.
    #[must_use]
    pub fn owned_epoch(&self, vip: Vip) -> Option<Epoch> {
        None
    }
    /// Who would take over: the highest-ranked other candidate that is there and ready.
    #[must_use]
    pub fn best_standby(&self, vip: Vip) -> Option<NodeName> {
        None
    }
    /// All VIPs, for `status`.
    #[must_use]
    pub fn vips(&self) -> Vec<VipView> {
        Vec::new()
    }
    /// All members, for `status`.
    #[must_use]
    pub fn members(&self) -> Vec<MemberView> {
        Vec::new()
    }
}
