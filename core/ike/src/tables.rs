//! All SAs of a VIP, and what is found through them: families, Child SAs by SPI, leases.

use crate::child::Child;
use crate::config::Config;
use crate::fragmentation::Reassembly;
use crate::half_open::HalfOpenTable;
use crate::lease::Leases;
use crate::sa::IkeSa;
use core::ops::Bound;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use vipsec_crypto::Random;
use vipsec_wire::id::{EspSpi, IkeSaId};
use vipsec_wire::ike::{Identity, IkeSpis};
use vipsec_wire::record::v1::{Continuation, Ended, Product};

/// Answers that are kept for SAs that are gone.
const GRAVES: usize = 256;

/// Offered SPIs, from which on those that are offered no more are looked for.
const OFFERED: usize = 256;

/// Everything that an engine knows of its peers.
#[derive(Default)]
pub(crate) struct Tables {
    sas: BTreeMap<IkeSaId, Box<IkeSa>>,
    families: BTreeMap<IkeSaId, Vec<IkeSaId>>,
    /// By the identities of both sides, ours first.
    peers: BTreeMap<(Identity, Identity), BTreeSet<IkeSaId>>,
    children: BTreeMap<EspSpi, Child>,
    /// SPIs that requests of ours under way offer, and some that no request offers any more.
    offered: BTreeMap<EspSpi, IkeSaId>,
    pub(crate) leases: Leases,
    pub(crate) half_open: HalfOpenTable,
    graves: VecDeque<Ended>,
    pub(crate) reassembly: Reassembly,
}

impl Tables {
    /// No SAs, and no leases of the configured pools.
    pub(crate) fn new(config: &Config) -> Tables {
        Tables { leases: Leases::new(config), ..Tables::default() }
    }

    /// Forgets all SAs. What is half-open stays, with the SPIs that it offers.
    pub(crate) fn clear(&mut self) {
        let half_open = core::mem::take(&mut self.half_open);
        let offered = core::mem::take(&mut self.offered);
        *self = Tables { half_open, offered, ..Tables::default() };
    }

    /// Adds an SA, or puts back one that was taken.
    pub(crate) fn insert(&mut self, sa: Box<IkeSa>) {
        let (id, family) = (sa.about.id, sa.about.family);
        let members = self.families.entry(family).or_default();
        if !members.contains(&id) {
            members.push(id);
            self.leases.hold(family, &sa.about.remote_identity, &sa.about.assigned);
            self.peers.entry(identities(&sa)).or_default().insert(id);
        }
        self.sas.insert(id, sa);
    }

    /// Takes an SA out to work with it; it counts as present. Give it back with
    /// [`Tables::insert`] or end it with [`Tables::forget`].
    pub(crate) fn take(&mut self, id: IkeSaId) -> Option<Box<IkeSa>> {
        self.sas.remove(&id)
    }

    /// An SA is gone, be it taken or not. Its addresses are held no more if it was the last of its
    /// family.
    pub(crate) fn forget(&mut self, sa: &IkeSa) {
        self.sas.remove(&sa.about.id);
        let key = identities(sa);
        if let Some(ids) = self.peers.get_mut(&key) {
            ids.remove(&sa.about.id);
            if ids.is_empty() {
                self.peers.remove(&key);
            }
        }
        if let Some(members) = self.families.get_mut(&sa.about.family) {
            members.retain(|member| *member != sa.about.id);
            if members.is_empty() {
                self.families.remove(&sa.about.family);
                self.leases.release(sa.about.family, &sa.about.assigned);
            }
        }
    }

    pub(crate) fn get(&self, id: IkeSaId) -> Option<&IkeSa> {
        self.sas.get(&id).map(|sa| &**sa)
    }

    pub(crate) fn get_mut(&mut self, id: IkeSaId) -> Option<&mut IkeSa> {
        self.sas.get_mut(&id).map(|sa| &mut **sa)
    }

    pub(crate) fn sas(&self) -> impl Iterator<Item = &IkeSa> {
        self.sas.values().map(|sa| &**sa)
    }

    /// The SAs whose ids follow `after`.
    pub(crate) fn sas_after(&self, after: Option<IkeSaId>) -> impl Iterator<Item = &IkeSa> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.sas.range((from, Bound::Unbounded)).map(|(_, sa)| &**sa)
    }

    pub(crate) fn count(&self) -> usize {
        self.sas.len()
    }

    /// The SAs between two identities, ours first.
    pub(crate) fn between(&self, local: &Identity, remote: &Identity) -> Vec<IkeSaId> {
        let ids = self.peers.get(&(local.clone(), remote.clone()));
        ids.map_or_else(Vec::new, |ids| ids.iter().copied().collect())
    }

    /// The SAs of a family.
    pub(crate) fn family(&self, family: IkeSaId) -> Vec<IkeSaId> {
        self.families.get(&family).cloned().unwrap_or_default()
    }

    pub(crate) fn insert_child(&mut self, child: Child) {
        self.children.insert(child.sa.inbound.spi, child);
    }

    pub(crate) fn remove_child(&mut self, spi: EspSpi) -> Option<Child> {
        self.children.remove(&spi)
    }

    pub(crate) fn child(&self, spi: EspSpi) -> Option<&Child> {
        self.children.get(&spi)
    }

    pub(crate) fn child_mut(&mut self, spi: EspSpi) -> Option<&mut Child> {
        self.children.get_mut(&spi)
    }

    pub(crate) fn children(&self) -> impl Iterator<Item = &Child> {
        self.children.values()
    }

    /// The Child SA of an IKE SA that the peer knows by the SPI at which *it* receives.
    pub(crate) fn child_by_peer_spi(&self, sa: &IkeSa, peer: EspSpi) -> Option<&Child> {
        let mut children = sa.children.iter().filter_map(|link| self.children.get(&link.spi));
        children.find(|child| child.sa.outbound.spi == peer)
    }

    /// An SPI at which nothing is received yet, nor will be when a request under way is answered.
    pub(crate) fn draw_esp_spi(&self, rng: &mut dyn Random) -> EspSpi {
        loop {
            let mut bytes = [0; 4];
            rng.fill(&mut bytes);
            let spi = EspSpi(u32::from_be_bytes(bytes));
            let taken = self.children.contains_key(&spi) || self.offered.contains_key(&spi);
            if spi.0 > 255 && !taken {
                return spi;
            }
        }
    }

    /// A request of this IKE SA, established or half-open, offers an SPI: it is not drawn again
    /// before that is answered.
    pub(crate) fn reserve(&mut self, spi: EspSpi, id: IkeSaId) {
        // Answers and ends need not be noted here: what is not offered any more goes at times.
        let begun = self.sas.len() + self.half_open.initiator_count();
        if self.offered.len() >= OFFERED.max(2 * begun) {
            let mut offered = core::mem::take(&mut self.offered);
            offered.retain(|spi, id| self.offers(*id, *spi));
            self.offered = offered;
        }
        self.offered.insert(spi, id);
    }

    fn offers(&self, id: IkeSaId, spi: EspSpi) -> bool {
        let outstanding = self.sas.get(&id).and_then(|sa| sa.outstanding.as_ref());
        let asks = match outstanding.map(|outstanding| &outstanding.continuation) {
            Some(Continuation::CreateChild(create)) => create.offer.spi == spi,
            _ => false,
        };
        let followup = self.sas.get(&id).and_then(|sa| sa.followup.as_ref());
        let promises = match followup.map(|followup| &followup.product) {
            Some(Product::Child { agreed, .. }) => agreed.spi_in == spi,
            _ => false,
        };
        asks || promises || self.half_open.offers(id) == Some(spi)
    }

    /// An SPI of ours that no IKE SA has.
    //= RFC 7296 section 2.6 #1: one that no other IKE SA of ours has
    //= RFC 7296 section 3.1 #3: and not zero
    pub(crate) fn draw_ike_spi(&self, rng: &mut dyn Random) -> IkeSaId {
        loop {
            let mut bytes = [0; 8];
            rng.fill(&mut bytes);
            let id = IkeSaId(u64::from_be_bytes(bytes));
            let known = self.sas.contains_key(&id)
                || self.families.contains_key(&id)
                || self.half_open.contains(id);
            if id.0 != 0 && !known {
                return id;
            }
        }
    }

    /// Keeps the last answer of an SA that has ended with it, once that is stored.
    pub(crate) fn bury(&mut self, grave: Ended) {
        if self.graves.len() >= GRAVES {
            self.graves.pop_front();
        }
        self.graves.push_back(grave);
    }

    /// What a repetition of the last request of an SA that is gone is to be answered with.
    pub(crate) fn exhume(&self, spis: IkeSpis, request: &[u8]) -> Option<&[Vec<u8>]> {
        let ours = [spis.initiator, spis.responder];
        let grave = self.graves.iter().rev();
        let mut grave = grave.filter(|grave| ours.contains(&grave.id.0));
        grave.find(|grave| grave.request == request).map(|grave| grave.response.as_slice())
    }
}

fn identities(sa: &IkeSa) -> (Identity, Identity) {
    (sa.about.local_identity.clone(), sa.about.remote_identity.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives these numbers one after the other, each as often as it is told.
    struct Numbers(Vec<u32>);

    impl Random for Numbers {
        fn fill(&mut self, out: &mut [u8]) {
            out.copy_from_slice(&self.0.remove(0).to_be_bytes());
        }
    }

    #[test]
    fn an_offered_spi_is_not_drawn_again() {
        let mut tables = Tables::default();
        tables.reserve(EspSpi(1000), IkeSaId(1));
        assert_eq!(tables.draw_esp_spi(&mut Numbers(vec![1000, 7, 1001])), EspSpi(1001));
    }

    #[test]
    fn what_is_offered_no_more_is_forgotten_in_the_end() {
        let mut tables = Tables::default();
        for number in 0..100_000 {
            tables.reserve(EspSpi(1000 + number), IkeSaId(1));
            assert!(tables.offered.len() <= OFFERED);
        }
    }
}
