//! Another configuration at run time. SAs whose connection and child are still there are left alone:
//! what has changed counts for new ones and for their rekeys. SAs of what is gone are deleted, and
//! Child SAs that protect more than their child now may.

use crate::config::{Child, Config, Connection, RemoteName};
use crate::engine::Engine;
use crate::exchange::child::Behind;
use crate::output::CloseReason;
use crate::sa::IkeSa;
use crate::selectors::{is_narrowed, resolve};
use vipsec_crypto::Random;
use vipsec_esp::ChildSa;
use vipsec_wire::id::{EspSpi, IkeSaId};
use vipsec_wire::time::Timestamp;

impl Engine {
    /// Goes on with another configuration of the same VIP. A standby ends nothing.
    pub fn reconfigure(&mut self, now: Timestamp, config: Config, rng: &mut dyn Random) {
        let before = core::mem::replace(&mut self.config, config);
        self.keep_addresses_of(&before);
        self.tables.leases.configure(&self.config);
        self.rearrange_starts(&before);
        if self.ownership.is_none() {
            return;
        }
        let unwanted: Vec<IkeSaId> =
            self.tables.sas().filter(|sa| self.is_unwanted(sa)).map(IkeSa::id).collect();
        for id in unwanted {
            self.end_what_is_gone(id);
            self.settle(now, id, rng);
        }
        for place in 0..self.config.connections.len() {
            self.arm_start_if_wanted(place, now);
        }
        self.arm_names(now);
    }

    /// Names that were known before keep their addresses until they are asked for again.
    fn keep_addresses_of(&mut self, before: &Config) {
        let known: Vec<&RemoteName> =
            before.connections.iter().flat_map(|c| &c.remote_names).collect();
        for name in self.config.connections.iter_mut().flat_map(|c| &mut c.remote_names) {
            if let Some(known) = known.iter().find(|known| known.name == name.name) {
                name.addresses.clone_from(&known.addresses);
            }
        }
    }

    /// Whether an IKE SA, or one of its Child SAs, is of something that is not configured.
    fn is_unwanted(&self, sa: &IkeSa) -> bool {
        let connection = self.config.connections.iter().find(|c| c.name == sa.about.connection);
        connection.is_none_or(|connection| !self.outgrown(sa, connection).is_empty())
    }

    fn end_what_is_gone(&mut self, id: IkeSaId) {
        let Some(sa) = self.tables.get(id) else { return };
        let connection = self.config.connections.iter().find(|c| c.name == sa.about.connection);
        let gone = connection.map(|connection| self.outgrown(sa, connection));
        let Some(sa) = self.tables.get_mut(id) else { return };
        match gone {
            Some(spis) => sa.live.wanted.delete.extend(spis),
            None => sa.live.wanted.close = Some(CloseReason::Requested),
        }
    }

    /// The Child SAs of which the connection has no child any more, or one of another mode or of
    /// less than they protect.
    //= RFC 7296 section 2.9.2 #1: their rekey would narrow the selectors, so they end instead
    //= RFC 7296 section 2.9.2 #2: whoever asks for it
    fn outgrown(&self, sa: &IkeSa, connection: &Connection) -> Vec<EspSpi> {
        let behind = Behind::of(sa);
        let sides = behind.sides();
        let covers = |child: &Child, sa: &ChildSa| {
            child.mode == sa.mode
                && is_narrowed(&sa.local, &resolve(&child.local, sides.local))
                && is_narrowed(&sa.remote, &resolve(&child.remote, sides.remote))
        };
        let in_place = |spi: &EspSpi| {
            self.tables.child(*spi).is_none_or(|child| {
                let configured = connection.child(&child.sa.child);
                configured.is_some_and(|configured| covers(configured, &child.sa))
            })
        };
        sa.children.iter().map(|link| link.spi).filter(|spi| !in_place(spi)).collect()
    }
}
