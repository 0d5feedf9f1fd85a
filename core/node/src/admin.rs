//! What an administrator asks of a node.

use crate::node::Node;
use crate::vip::Standing;
use vipsec_cluster::TransferAccepted;
use vipsec_wire::id::{EspSpi, IkeSaId, NodeName, Vip};
use vipsec_wire::time::Timestamp;

/// A request that was not carried out; nothing has changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AdminError {
    /// No such VIP here.
    #[error("{0} is not configured on this node")]
    UnknownVip(Vip),
    /// Another node owns it.
    #[error("{vip} is owned by {}; ask there", owner.as_ref().map_or("nobody", NodeName::as_str))]
    NotOwner {
        /// The VIP.
        vip: Vip,
        /// Its owner, where known.
        owner: Option<NodeName>,
    },
    /// The cluster cannot.
    #[error(transparent)]
    Cluster(#[from] vipsec_cluster::Error),
    /// The engine cannot.
    #[error(transparent)]
    Ike(#[from] vipsec_ike::Error),
}

impl Node {
    /// Moves a VIP to another node. Any candidate takes the request; the owner acts on it.
    ///
    /// # Errors
    /// [`AdminError::Cluster`].
    pub fn handle_transfer(
        &mut self,
        now: Timestamp,
        vip: Vip,
        to: &NodeName,
    ) -> Result<TransferAccepted, AdminError> {
        let accepted = self.cluster.handle_transfer_request(now, vip, to);
        self.settle(now);
        Ok(accepted?)
    }

    /// Goes on with a store that was rolled back, without its SAs.
    ///
    /// # Errors
    /// [`AdminError::Cluster`].
    pub fn handle_accept_rollback(&mut self, now: Timestamp, vip: Vip) -> Result<(), AdminError> {
        let accepted = self.cluster.handle_accept_rollback(now, vip);
        self.settle(now);
        Ok(accepted?)
    }

    /// Initiates a connection with one of its children.
    ///
    /// # Errors
    /// [`AdminError`].
    pub fn handle_initiate(
        &mut self,
        now: Timestamp,
        vip: Vip,
        connection: &str,
        child: &str,
    ) -> Result<(), AdminError> {
        self.with_engine(now, vip, |engine, random| {
            engine.initiate(now, connection, child, random).map(|_| ())
        })
    }

    /// Rekeys a Child SA.
    ///
    /// # Errors
    /// [`AdminError`].
    pub fn handle_rekey_child(
        &mut self,
        now: Timestamp,
        vip: Vip,
        spi_in: EspSpi,
    ) -> Result<(), AdminError> {
        self.with_engine(now, vip, |engine, random| engine.rekey_child(now, spi_in, random))
    }

    /// Rekeys an IKE SA.
    ///
    /// # Errors
    /// [`AdminError`].
    pub fn handle_rekey_ike(
        &mut self,
        now: Timestamp,
        vip: Vip,
        id: IkeSaId,
    ) -> Result<(), AdminError> {
        self.with_engine(now, vip, |engine, random| engine.rekey_ike(now, id, random))
    }

    /// Deletes a Child SA.
    ///
    /// # Errors
    /// [`AdminError`].
    pub fn handle_terminate_child(
        &mut self,
        now: Timestamp,
        vip: Vip,
        spi_in: EspSpi,
    ) -> Result<(), AdminError> {
        self.with_engine(now, vip, |engine, random| engine.terminate_child(now, spi_in, random))
    }

    /// Deletes an IKE SA with all of its Child SAs.
    ///
    /// # Errors
    /// [`AdminError`].
    pub fn handle_terminate_ike(
        &mut self,
        now: Timestamp,
        vip: Vip,
        id: IkeSaId,
    ) -> Result<(), AdminError> {
        self.with_engine(now, vip, |engine, random| engine.terminate_ike(now, id, random))
    }

    fn with_engine(
        &mut self,
        now: Timestamp,
        vip: Vip,
        ask: impl FnOnce(
            &mut vipsec_ike::Engine,
            &mut dyn vipsec_crypto::Random,
        ) -> Result<(), vipsec_ike::Error>,
    ) -> Result<(), AdminError> {
        let state = self.vips.get_mut(&vip).ok_or(AdminError::UnknownVip(vip))?;
        if let Standing::Member(_, owner) = &state.standing {
            return Err(AdminError::NotOwner { vip, owner: owner.clone() });
        }
        let candidate = state.candidate.as_mut().ok_or(AdminError::UnknownVip(vip))?;
        let answer = ask(&mut candidate.engine, self.random.as_mut());
        self.settle(now);
        Ok(answer?)
    }
}
