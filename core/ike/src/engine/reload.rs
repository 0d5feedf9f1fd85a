//! Another configuration at run time. SAs whose connection and child are still there are left alone:
//! what has changed counts for new ones and for their rekeys. SAs of what is gone are deleted.

use crate::config::{Config, RemoteName};
use crate::engine::Engine;
use crate::output::CloseReason;
use crate::sa::IkeSa;
use vipsec_crypto::Random;
use vipsec_wire::id::IkeSaId;
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
        connection.is_none_or(|connection| {
            let children = sa.children.iter().filter_map(|link| self.tables.child(link.spi));
            children.into_iter().any(|child| connection.child(&child.sa.child).is_none())
        })
    }

    fn end_what_is_gone(&mut self, id: IkeSaId) {
        let Some(sa) = self.tables.get(id) else { return };
        let connection = self.config.connections.iter().find(|c| c.name == sa.about.connection);
        let spis = sa.children.iter().map(|link| link.spi);
        let gone: Vec<_> = match connection {
            None => Vec::new(),
            Some(connection) => spis
                .filter(|spi| {
                    let child = self.tables.child(*spi);
                    child.is_some_and(|child| connection.child(&child.sa.child).is_none())
                })
                .collect(),
        };
        let ends = connection.is_none();
        let Some(sa) = self.tables.get_mut(id) else { return };
        if ends {
            sa.live.wanted.close = Some(CloseReason::Requested);
        }
        sa.live.wanted.delete.extend(gone);
    }
}
