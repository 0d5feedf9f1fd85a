//! What is being written and not yet confirmed. A [`Transaction`] gathers what one step changes,
//! with the way back: should the store refuse it, or ownership end before the answer, the SAs stand
//! where they stood before, as the store has them.

use crate::child::Child;
use crate::output::{Change, Event, Output, Ticket};
use crate::sa::{IkeSa, Live, Wanted};
use crate::snapshot;
use std::collections::{BTreeMap, BTreeSet};
use vipsec_esp::{ChildSa, Endpoints};
use vipsec_wire::id::{EspSpi, IkeSaId};
use vipsec_wire::record::v1::{Ended, IkeMutable, Lease};

/// The changes of one step.
#[derive(Default)]
pub(crate) struct Transaction {
    pub(crate) changes: Vec<Change>,
    undo: Vec<Change>,
    begun: BTreeSet<IkeSaId>,
    /// SAs whose changing part has to be in the write.
    pub(crate) touched: BTreeSet<IkeSaId>,
    pub(crate) effects: Vec<Output>,
    /// Where families of Child SAs are to send once this is stored.
    moves: Vec<(IkeSaId, Endpoints)>,
    pub(crate) events: Vec<Event>,
    pub(crate) new_sa: bool,
    /// The answer with which an SA ends.
    pub(crate) last_words: Option<Ended>,
    ended: Vec<IkeSa>,
    before: Vec<(IkeSaId, Before)>,
}

/// What an SA has to get back, of what is not stored, if a write is refused.
pub(crate) struct Before {
    /// What it wanted to do, and wants again.
    pub(crate) wanted: Wanted,
    /// It had to be written for itself.
    pub(crate) unwritten: bool,
}

impl Transaction {
    /// For a step that establishes an IKE SA with a new peer.
    pub(crate) fn for_new_sa() -> Transaction {
        Transaction { new_sa: true, ..Transaction::default() }
    }

    /// To be called before an SA is changed: keeps the way back, once.
    pub(crate) fn begin(&mut self, sa: &IkeSa) {
        if self.begun.insert(sa.id()) {
            let state = Box::new(snapshot::mutable(sa));
            self.undo.push(Change::IkeMutable { id: sa.id(), state });
            let Live { wanted, unwritten, .. } = &sa.live;
            self.before.push((sa.id(), Before { wanted: wanted.clone(), unwritten: *unwritten }));
        }
    }

    /// The changes of an SA are to be written.
    pub(crate) fn touch(&mut self, id: IkeSaId) {
        self.touched.insert(id);
    }

    /// A new IKE SA.
    pub(crate) fn create(&mut self, sa: &IkeSa) {
        self.begun.insert(sa.id());
        self.undo.push(Change::IkeGone(sa.id()));
        self.touch(sa.id());
    }

    /// An IKE SA ends. Its Child SAs are to be removed apart. It is kept itself, not only what is
    /// stored of it: should it live on, its IVs have to go on where they stopped.
    pub(crate) fn end(&mut self, sa: Box<IkeSa>) {
        self.begin(&sa);
        self.touched.remove(&sa.id());
        self.changes.push(Change::IkeGone(sa.id()));
        self.ended.push(*sa);
    }

    /// A new Child SA.
    pub(crate) fn create_child(&mut self, sa: &ChildSa, outbound: bool, replaces: Option<EspSpi>) {
        let spi_in = sa.inbound.spi;
        self.changes.push(Change::ChildConstant(Box::new(snapshot::child_constant(sa))));
        self.undo.push(Change::ChildGone { spi_in, ike: sa.ike });
        let sa = Box::new(sa.clone());
        self.effects.push(Output::Install { after: None, sa, outbound, replaces });
    }

    /// A Child SA ends.
    pub(crate) fn end_child(&mut self, child: &Child, replaced: bool) {
        let spi_in = child.sa.inbound.spi;
        self.changes.push(Change::ChildGone { spi_in, ike: child.sa.ike });
        let constant = Box::new(snapshot::child_constant(&child.sa));
        self.undo.push(Change::ChildConstant(constant));
        self.effects.push(Output::Remove { after: None, spi_in, replaced });
    }

    /// An address gets a peer, in the place of what was known of it before.
    pub(crate) fn lease(&mut self, lease: Lease, before: Option<Lease>) {
        self.undo.push(match before {
            Some(before) => Change::Lease(Box::new(before)),
            None => Change::LeaseGone(lease.address),
        });
        self.changes.push(Change::Lease(Box::new(lease)));
    }

    /// An address is nobody's again.
    pub(crate) fn end_lease(&mut self, lease: Lease) {
        self.changes.push(Change::LeaseGone(lease.address));
        self.undo.push(Change::Lease(Box::new(lease)));
    }

    /// The outbound half of a Child SA comes into use.
    pub(crate) fn activate(&mut self, spi_in: EspSpi) {
        self.effects.push(Output::ActivateOutbound { after: None, spi_in });
    }

    /// A peer has asked for its packets elsewhere: they go there once this is stored.
    pub(crate) fn redirect(&mut self, family: IkeSaId, endpoints: Endpoints) {
        self.moves.push((family, endpoints));
    }

    /// Whether nothing has to be written.
    pub(crate) fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.touched.is_empty()
    }

    /// The effects, held for `ticket`, and what to remember until it is confirmed.
    pub(crate) fn finish(self, ticket: Option<Ticket>) -> (Vec<Output>, Pending) {
        let moves = self.moves.into_iter();
        let moves =
            moves.map(|(ike, endpoints)| Output::Endpoints { after: ticket, ike, endpoints });
        let effects = self.effects.into_iter().map(|output| held(output, ticket));
        let effects = effects.chain(moves).collect();
        let mut undo = self.undo;
        undo.reverse();
        let (sas, events, last_words) = (self.begun, self.events, self.last_words);
        let (ended, before) = (self.ended, self.before);
        let pending = Pending { undo, ended, before, sas, events, last_words };
        (effects, pending)
    }
}

/// The output, to be held until `ticket` is confirmed.
fn held(mut output: Output, ticket: Option<Ticket>) -> Output {
    match &mut output {
        Output::Transmit { after, .. }
        | Output::Install { after, .. }
        | Output::ActivateOutbound { after, .. }
        | Output::Jump { after, .. }
        | Output::Remove { after, .. } => *after = ticket,
        _ => {}
    }
    output
}

/// A write that is not confirmed.
pub(crate) struct Pending {
    /// What to apply, in this order, if it is refused.
    pub(crate) undo: Vec<Change>,
    /// The SAs that end with it, to be put back before that.
    pub(crate) ended: Vec<IkeSa>,
    /// What else the SAs get back if it is refused.
    pub(crate) before: Vec<(IkeSaId, Before)>,
    /// The SAs that wait for it.
    pub(crate) sas: BTreeSet<IkeSaId>,
    /// What to say once it is done.
    pub(crate) events: Vec<Event>,
    /// The answer with which an SA ends, to be repeated from then on.
    pub(crate) last_words: Option<Ended>,
}

/// Writes given up for the time being that are remembered.
const UNPROTECTED: usize = 65_536;

/// All writes under way.
#[derive(Default)]
pub(crate) struct Ledger {
    last: u64,
    pending: BTreeMap<Ticket, Pending>,
    /// Writes that were given up for the time being, and may still succeed.
    unprotected: BTreeMap<Ticket, BTreeSet<IkeSaId>>,
}

impl Ledger {
    /// The name of the next write.
    pub(crate) fn issue(&mut self) -> Ticket {
        self.last += 1;
        Ticket(self.last)
    }

    pub(crate) fn enter(&mut self, ticket: Ticket, pending: Pending) {
        self.pending.insert(ticket, pending);
    }

    /// Where an SA stood before a write that is under way, if it was there at all.
    pub(crate) fn before(&mut self, ticket: Ticket, id: IkeSaId) -> Option<&mut IkeMutable> {
        let undo = &mut self.pending.get_mut(&ticket)?.undo;
        undo.iter_mut().find_map(|change| match change {
            Change::IkeMutable { id: of, state } if *of == id => Some(&mut **state),
            _ => None,
        })
    }

    /// Whether a write under way is about an SA.
    pub(crate) fn is_about(&self, id: IkeSaId) -> bool {
        self.pending.values().any(|pending| pending.sas.contains(&id))
    }

    pub(crate) fn settle(&mut self, ticket: Ticket) -> Option<Pending> {
        self.pending.remove(&ticket)
    }

    /// The newest write under way.
    pub(crate) fn take_newest(&mut self) -> Option<Pending> {
        self.pending.pop_last().map(|(_, pending)| pending)
    }

    pub(crate) fn remember_unprotected(&mut self, ticket: Ticket, sas: BTreeSet<IkeSaId>) {
        if self.unprotected.len() >= UNPROTECTED {
            self.unprotected.pop_first();
        }
        self.unprotected.insert(ticket, sas);
    }

    /// The SAs of a write that has succeeded after all.
    pub(crate) fn repaired(&mut self, ticket: Ticket) -> BTreeSet<IkeSaId> {
        self.unprotected.remove(&ticket).unwrap_or_default()
    }

    pub(crate) fn forget_unprotected(&mut self) {
        self.unprotected.clear();
    }
}
