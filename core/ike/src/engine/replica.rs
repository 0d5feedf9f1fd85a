//! Following another owner, taking over from it, and giving way.

use crate::child::Child;
use crate::engine::{Engine, Ownership};
use crate::error::Error;
use crate::fragmentation::Reassembly;
use crate::half_open::Initiator;
use crate::output::Change;
use crate::protect::Protection;
use crate::retransmit::Retransmission;
use crate::sa::IkeSa;
use crate::snapshot;
use crate::window::Window;
use core::net::{Ipv4Addr, SocketAddr};
use vipsec_crypto::Random;
use vipsec_wire::id::{Epoch, EspSpi, IkeSaId};
use vipsec_wire::record;
use vipsec_wire::record::v1::{
    ChildConstant, HalfOpenAuth, HalfOpenInitiator, IkeAddresses, IkeConstant, IkeMutable,
    Mirrored, StoredRequest,
};
use vipsec_wire::secret::SecretBytes;
use vipsec_wire::time::Timestamp;

/// Stands in until the changing part of a record has come.
const NOWHERE: SocketAddr = SocketAddr::new(core::net::IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

impl Engine {
    /// This node owns the VIP from now on, in an epoch that nobody else has or had; an epoch below
    /// one that this engine has had is ignored. Costs the same
    /// whatever the number of SAs: they are looked at as their times come or messages arrive.
    pub fn become_owner(&mut self, now: Timestamp, epoch: Epoch, rng: &mut dyn Random) {
        if epoch < self.last_epoch {
            return;
        }
        if epoch > self.last_epoch {
            self.spent.clear();
        }
        self.last_epoch = epoch;
        self.ownership = Some(Ownership { epoch, since: now });
        self.arm_starts(now, rng);
        self.end_orphans(now);
        self.arm_synchronisation(now);
    }

    /// This node owns the VIP no more. What was not confirmed is taken back, what was to be sent is
    /// not; the SAs stay and follow the new owner.
    pub fn become_standby(&mut self, now: Timestamp) {
        self.ownership = None;
        while let Some(pending) = self.ledger.take_newest() {
            self.roll_back(now, pending);
        }
        self.ledger.forget_unprotected();
        self.outbox.outputs.clear();
        self.tables.reassembly = Reassembly::default();
        let ids: Vec<IkeSaId> = self.tables.sas().map(IkeSa::id).collect();
        for id in ids {
            if let Some(sa) = self.tables.get_mut(id) {
                sa.give_up();
            }
            self.rearm(id);
        }
    }

    /// Forgets all SAs of a standby, to follow the store from its beginning. What is half-open is not
    /// in the store, and stays.
    pub fn forget_sas(&mut self) {
        self.tables.clear();
        self.tables.leases.configure(&self.config);
        self.ledger = crate::ledger::Ledger::default();
        self.outbox.outputs.clear();
        self.spent.clear();
    }

    /// The half-open IKE SAs, for a backup that has not heard them begin
    /// ([`Engine::apply_mirrored`]).
    pub fn half_open(&self) -> impl Iterator<Item = (IkeSaId, SecretBytes)> {
        self.tables.half_open.mirrored().map(|(id, state)| (id, record::encode(&state)))
    }

    /// Follows one change that an owner has written. An IKE SA's constant part must come before its
    /// changing part; otherwise the order does not matter, and repetitions do no harm.
    ///
    /// # Errors
    /// [`Error::Record`] when it makes no SA; that SA is left out, and nothing else is touched.
    pub fn apply(&mut self, now: Timestamp, change: Change) -> Result<(), Error> {
        self.restore(now, change, true)
    }

    /// Makes a change live. `inherited`: another owner has made it.
    pub(super) fn restore(
        &mut self,
        now: Timestamp,
        change: Change,
        inherited: bool,
    ) -> Result<(), Error> {
        match change {
            Change::IkeConstant(record) => self.restore_constant(now, *record, inherited),
            Change::IkeMutable { id, state } => self.restore_mutable(id, *state, inherited),
            Change::IkeGone(id) => {
                if let Some(mut sa) = self.tables.take(id) {
                    // The store may have it all the same, and nobody else may come in between.
                    if let (false, Some(iv)) = (inherited, sa.iv()) {
                        self.spent.insert(id, iv);
                    }
                    self.timers.arm(crate::timers::Alarm::Sa(id), &mut sa.live.armed, None);
                    self.tables.forget(&sa);
                }
                Ok(())
            }
            Change::ChildConstant(record) => self.restore_child(*record),
            Change::ChildGone { spi_in, .. } => {
                self.tables.remove_child(spi_in);
                Ok(())
            }
            Change::Lease(lease) => {
                self.tables.leases.put(*lease);
                Ok(())
            }
            Change::LeaseGone(address) => {
                self.tables.leases.remove(address);
                Ok(())
            }
        }
    }

    fn restore_constant(
        &mut self,
        now: Timestamp,
        record: IkeConstant,
        inherited: bool,
    ) -> Result<(), Error> {
        let id = record.id;
        if record.vip != self.config.vip {
            return Err(Error::Record("VIP of the IKE SA"));
        }
        self.tables.half_open.remove_responder(id);
        self.forget_initiator(id);
        if self.tables.get(id).is_some() {
            return Ok(());
        }
        let about = snapshot::description(record);
        let own = if about.initiator { about.spis.initiator } else { about.spis.responder };
        if own != id.0 {
            return Err(Error::Record("SPIs of the IKE SA"));
        }
        let nowhere = IkeAddresses {
            local: NOWHERE,
            remote: NOWHERE,
            local_nat: false,
            remote_nat: false,
            pretended_nat: false,
        };
        let sa = IkeSa::new(about, Window::new(0, 0), nowhere);
        let mut sa = sa.map_err(|_| Error::Record("keys of the IKE SA"))?;
        sa.phase = snapshot::UNKNOWN_PHASE;
        sa.live.complete = false;
        sa.live.inherited = inherited;
        sa.live.last_heard = now;
        sa.continue_iv(self.spent.remove(&id));
        self.tables.insert(Box::new(sa));
        Ok(())
    }

    fn restore_mutable(
        &mut self,
        id: IkeSaId,
        record: IkeMutable,
        inherited: bool,
    ) -> Result<(), Error> {
        let children: Vec<EspSpi> = record.children.iter().map(|link| link.spi).collect();
        let unknown = Error::Record("IKE SA whose constant part is not known");
        let offered = record.outstanding.as_ref().and_then(StoredRequest::offered);
        let sa = self.tables.get_mut(id).ok_or(unknown)?;
        let told = Some(&sa.window).filter(|_| inherited && sa.live.unwritten);
        let told = told.filter(|told| told.expected_request > record.expected_request).cloned();
        snapshot::assume(sa, record);
        // An answer that was told of in the meantime may be newer than the record.
        if inherited {
            sa.live.unwritten = told.is_some();
        }
        if let Some(told) = told {
            sa.window.expected_request = told.expected_request;
            sa.window.last_response = told.last_response;
        }
        sa.live.complete = true;
        sa.live.inherited |= inherited;
        sa.live.pending = None;
        for spi in children {
            if let Some(child) = self.tables.child_mut(spi) {
                child.parent = Some(id);
            }
        }
        if let Some(spi) = offered {
            self.tables.reserve(spi, id);
        }
        self.rearm(id);
        Ok(())
    }

    fn restore_child(&mut self, record: ChildConstant) -> Result<(), Error> {
        let sa = snapshot::child_sa(record)?;
        let spi = sa.inbound.spi;
        let links = |id: &IkeSaId| {
            let parent = self.tables.get(*id);
            parent.is_some_and(|parent| parent.children.iter().any(|link| link.spi == spi))
        };
        let parent = self.tables.family(sa.ike).into_iter().find(links);
        self.tables.insert_child(Child { sa, parent });
        Ok(())
    }

    /// Follows what another owner mirrors of an IKE SA.
    ///
    /// # Errors
    /// [`Error`] when it cannot be read or made use of.
    pub fn apply_mirrored(&mut self, now: Timestamp, state: &[u8]) -> Result<(), Error> {
        match record::decode::<Mirrored>(state).map_err(Error::Unreadable)? {
            Mirrored::Responder(state) => {
                self.expire_half_open(now);
                let full = self.tables.half_open.responder_count();
                if full >= self.config.limits.half_open_max {
                    return Err(Error::Limit("half-open IKE SAs"));
                }
                if self.tables.get(state.id).is_none() {
                    self.tables.half_open.insert_responder(*state);
                }
                Ok(())
            }
            Mirrored::Initiator(state) => self.restore_initiator(now, *state),
            Mirrored::Answered { id, response } => {
                let sa = self.tables.get_mut(id).ok_or(Error::NoIkeSa(id))?;
                if response.id >= sa.window.expected_request {
                    sa.window.answered(response.id, response.datagrams);
                    sa.live.unwritten = true;
                }
                Ok(())
            }
            Mirrored::Ended(ended) => {
                self.tables.bury(*ended);
                Ok(())
            }
        }
    }

    fn restore_initiator(&mut self, now: Timestamp, state: HalfOpenInitiator) -> Result<(), Error> {
        let id = state.id;
        if self.tables.get(id).is_some() {
            return Ok(());
        }
        let open = |auth: &HalfOpenAuth| {
            Protection::new(&auth.algorithms, &auth.keys, true)
                .map_err(|_| Error::Record("keys of the half-open IKE SA"))
        };
        let protection = state.auth.as_ref().map(open).transpose()?;
        self.forget_initiator(id);
        if let Some(offer) = state.auth.as_ref().and_then(HalfOpenAuth::offer) {
            self.tables.reserve(offer.spi, id);
        }
        self.tables.half_open.insert_initiator(Initiator {
            state,
            protection,
            iv: None,
            retransmission: Retransmission::inherited(now),
            suspicion: None,
            puzzle: None,
            armed: None,
        });
        self.arm_half_open(id);
        Ok(())
    }

    /// A half-open IKE SA is done with at its owner.
    pub fn forget_half_open(&mut self, id: IkeSaId) {
        self.tables.half_open.remove_responder(id);
        self.forget_initiator(id);
    }

    fn forget_initiator(&mut self, id: IkeSaId) {
        if let Some(mut half) = self.tables.half_open.remove_initiator(id) {
            let alarm = crate::timers::Alarm::HalfOpen(id);
            self.timers.arm(alarm, &mut half.armed, None);
        }
    }
}
