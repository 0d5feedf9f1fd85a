//! The engine: the tables of one VIP and the way of messages, time and results of writes through
//! them. What an exchange means is not here but in `exchange`.

mod drive;
mod leases;
mod names;
mod receive;
mod reload;
mod replica;
mod start;
mod store;
mod synchronise;
mod task;
mod unprotected;
mod views;

use crate::config::Config;
use crate::context::{Context, Outbox};
use crate::error::{Drop, DropCounts, Error};
use crate::ledger::Ledger;
use crate::output::{Activity, Output};
use crate::protect::IvSequence;
use crate::sa::{Datagram, may_move};
use crate::snapshot::{self, IkeSaSnapshot};
use crate::tables::Tables;
use crate::timers::Timers;
use core::net::SocketAddr;
use start::Starts;
use std::collections::BTreeMap;
use unprotected::Refusals;
pub use views::{ChildView, IkeSaView};
use vipsec_crypto::Random;
use vipsec_esp::Expiry;
use vipsec_wire::id::{Epoch, EspSpi, IkeSaId};
use vipsec_wire::time::Timestamp;

/// The IKEv2 engine of one VIP.
///
/// It begins as a standby: [`Engine::apply`] makes it follow what the owner writes, and it gives no
/// outputs. After [`Engine::become_owner`] it takes datagrams and acts. After every call that may
/// have changed something, [`Engine::poll_output`] is to be called until it is empty, and
/// [`Engine::handle_timeout`] when the time of [`Engine::poll_timeout`] has come.
pub struct Engine {
    config: Config,
    tables: Tables,
    outbox: Outbox,
    ledger: Ledger,
    timers: Timers,
    starts: Starts,
    synchronised: synchronise::Progress,
    ownership: Option<Ownership>,
    last_epoch: Epoch,
    /// The store is down: requests that can wait do.
    holding: bool,
    /// When the store was last back.
    resumed: Timestamp,
    /// Where the IVs of SAs stand whose beginning was taken back in the last epoch.
    spent: BTreeMap<IkeSaId, IvSequence>,
    refusals: Refusals,
}

/// Since when and in which epoch this engine owns its VIP.
#[derive(Debug, Clone, Copy)]
struct Ownership {
    epoch: Epoch,
    since: Timestamp,
}

impl Engine {
    /// An engine without SAs, standing by.
    #[must_use]
    pub fn new(config: Config) -> Engine {
        let starts = Starts::new(&config);
        let tables = Tables::new(&config);
        Engine {
            config,
            tables,
            outbox: Outbox::default(),
            ledger: Ledger::default(),
            timers: Timers::default(),
            starts,
            synchronised: synchronise::Progress::default(),
            ownership: None,
            last_epoch: Epoch(0),
            holding: false,
            resumed: Timestamp(0),
            spent: BTreeMap::new(),
            refusals: Refusals::default(),
        }
    }

    /// The configuration.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Why datagrams have had no effect, counted.
    #[must_use]
    pub fn drops(&self) -> &DropCounts {
        &self.outbox.drops
    }

    /// The surroundings of one step; `None` when the VIP is not ours.
    fn context<'a>(&'a mut self, now: Timestamp, rng: &'a mut dyn Random) -> Option<Context<'a>> {
        let Ownership { epoch, .. } = self.ownership?;
        Some(Context {
            now,
            epoch,
            rng,
            config: &self.config,
            tables: &mut self.tables,
            outbox: &mut self.outbox,
        })
    }

    /// The next intention; `None` when there is none.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outbox.outputs.pop_front()
    }

    /// When [`Engine::handle_timeout`] has something to do; `None` while nothing is to come.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Timestamp> {
        self.ownership?;
        let expiry = self.tables.half_open.oldest_created();
        let expiry = expiry.map(|created| created + self.config.limits.half_open_timeout);
        let leases = self.lease_timeout();
        expiry.into_iter().chain(self.timers.next()).chain(leases).min()
    }

    /// A datagram has arrived, without a non-ESP marker.
    pub fn handle_datagram(
        &mut self,
        now: Timestamp,
        local: SocketAddr,
        remote: SocketAddr,
        message: &[u8],
        rng: &mut dyn Random,
    ) {
        if self.ownership.is_none() {
            return self.outbox.drops.count(Drop::NotOwner);
        }
        let datagram = Datagram { local, remote, message: message.to_vec() };
        self.receive(now, datagram, rng);
    }

    /// The data path says that a Child SA is due for a rekey, or over.
    pub fn handle_child_expiry(
        &mut self,
        now: Timestamp,
        spi_in: EspSpi,
        expiry: Expiry,
        rng: &mut dyn Random,
    ) {
        let wanted = match expiry {
            Expiry::Soft => self.want_child_rekey(spi_in),
            Expiry::Hard => self.want_child_delete(spi_in),
        };
        if let Ok(id) = wanted {
            self.settle(now, id, rng);
        }
    }

    /// The data path says when it last saw traffic of families of SAs. Inbound traffic is a sign of
    /// life, so that no liveness check is needed; outbound traffic alone is what makes one urgent
    /// (RFC 7296 section 2.4).
    pub fn handle_activity(&mut self, activities: &[Activity]) {
        for activity in activities {
            let (inbound, outbound) = (activity.last_inbound, activity.last_outbound);
            for id in self.tables.family(activity.ike) {
                let Some(sa) = self.tables.get_mut(id) else { continue };
                sa.live.last_heard = sa.live.last_heard.max(inbound);
                if sa.live.traffic.note(inbound, outbound, sa.live.last_heard) {
                    self.rearm(id);
                }
            }
        }
    }

    /// The configured child's Child SA is to be brought up: with a new IKE SA, or under the one that
    /// the connection has.
    ///
    /// # Errors
    /// [`Error`] when there is no such child, or no address to initiate to.
    pub fn initiate(
        &mut self,
        now: Timestamp,
        connection: &str,
        child: &str,
        rng: &mut dyn Random,
    ) -> Result<IkeSaId, Error> {
        let id = self.begin_when_told(now, connection, child, rng)?;
        self.settle(now, id, rng);
        Ok(id)
    }

    /// A Child SA is to be rekeyed now.
    ///
    /// # Errors
    /// [`Error`] when it does not exist or is not in use.
    pub fn rekey_child(
        &mut self,
        now: Timestamp,
        spi_in: EspSpi,
        rng: &mut dyn Random,
    ) -> Result<(), Error> {
        self.ownership.ok_or(Error::NotOwner)?;
        let id = self.want_child_rekey(spi_in)?;
        self.settle(now, id, rng);
        Ok(())
    }

    /// An IKE SA is to be rekeyed now.
    ///
    /// # Errors
    /// [`Error`] when it does not exist or is not in use.
    pub fn rekey_ike(
        &mut self,
        now: Timestamp,
        id: IkeSaId,
        rng: &mut dyn Random,
    ) -> Result<(), Error> {
        self.ownership.ok_or(Error::NotOwner)?;
        let sa = self.tables.get_mut(id).filter(|sa| sa.is_established());
        sa.ok_or(Error::NoIkeSa(id))?.live.wanted.rekey_ike = true;
        self.settle(now, id, rng);
        Ok(())
    }

    /// An IKE SA is to be deleted now, with its Child SAs.
    ///
    /// # Errors
    /// [`Error`] when it does not exist.
    pub fn terminate_ike(
        &mut self,
        now: Timestamp,
        id: IkeSaId,
        rng: &mut dyn Random,
    ) -> Result<(), Error> {
        self.ownership.ok_or(Error::NotOwner)?;
        self.end_when_told(id)?;
        self.settle(now, id, rng);
        Ok(())
    }

    /// A Child SA is to be deleted now.
    ///
    /// # Errors
    /// [`Error`] when it does not exist.
    pub fn terminate_child(
        &mut self,
        now: Timestamp,
        spi_in: EspSpi,
        rng: &mut dyn Random,
    ) -> Result<(), Error> {
        self.ownership.ok_or(Error::NotOwner)?;
        let id = self.want_child_delete(spi_in)?;
        self.settle(now, id, rng);
        Ok(())
    }

    fn parent_of(&self, spi: EspSpi) -> Result<IkeSaId, Error> {
        let child = self.tables.child(spi).ok_or(Error::NoChildSa(spi))?;
        child.parent.ok_or(Error::NoChildSa(spi))
    }

    fn want_child_rekey(&mut self, spi: EspSpi) -> Result<IkeSaId, Error> {
        let id = self.parent_of(spi)?;
        let sa = self.tables.get_mut(id).filter(|sa| sa.has_active(spi));
        sa.ok_or(Error::NoChildSa(spi))?.live.wanted.rekey.insert(spi);
        Ok(id)
    }

    fn want_child_delete(&mut self, spi: EspSpi) -> Result<IkeSaId, Error> {
        let id = self.parent_of(spi)?;
        let sa = self.tables.get_mut(id).ok_or(Error::NoChildSa(spi))?;
        sa.live.wanted.delete.insert(spi);
        Ok(id)
    }

    /// Everything that is stored of an IKE SA.
    #[must_use]
    pub fn snapshot(&self, id: IkeSaId) -> Option<IkeSaSnapshot> {
        let sa = self.tables.get(id)?;
        let children = sa.children.iter().filter_map(|link| self.tables.child(link.spi));
        Some(IkeSaSnapshot {
            constant: snapshot::constant(self.config.vip, &sa.about),
            mutable: snapshot::mutable(sa),
            children: children.map(|child| snapshot::child_constant(&child.sa)).collect(),
        })
    }
}

impl Engine {
    /// Authenticated ESP has come from another address than before: the mapping of a NAT in front of
    /// the peer has changed (RFC 7296 section 2.23). `family` is [`vipsec_esp::ChildSa::ike`].
    pub fn handle_mapping(&mut self, now: Timestamp, family: IkeSaId, remote: SocketAddr) {
        if self.ownership.is_none() {
            return;
        }
        let mut said = None;
        for id in self.tables.family(family) {
            let Some(sa) = self.tables.get_mut(id) else { continue };
            if !may_move(&sa.addresses) || sa.addresses.remote == remote {
                continue;
            }
            sa.addresses.remote = remote;
            sa.live.last_heard = sa.live.last_heard.max(now);
            sa.live.unwritten = true;
            let endpoints = sa.endpoints();
            if said.replace(endpoints) != Some(endpoints) {
                let output = Output::Endpoints { after: None, ike: family, endpoints };
                self.outbox.outputs.push_back(output);
            }
            self.write_rest(now, id);
            self.rearm(id);
        }
    }
}
