//! Effects that must wait until the store has confirmed what they rest on (persist before send).

use std::collections::BTreeMap;
use vipsec_ike::{Stored, Ticket};

/// What waits for open tickets, in the order in which it came. `E` is the effect.
#[derive(Debug)]
pub(crate) struct Held<E> {
    open: BTreeMap<Ticket, Vec<E>>,
}

impl<E> Default for Held<E> {
    fn default() -> Held<E> {
        Held { open: BTreeMap::new() }
    }
}

impl<E> Held<E> {
    /// A write has been asked for.
    pub(crate) fn open(&mut self, ticket: Ticket) {
        self.open.entry(ticket).or_default();
    }

    /// Gives the effect back if it may happen now, else keeps it until its ticket is settled. An
    /// effect of a ticket that is not open comes after the refusal of its write: it never happens.
    pub(crate) fn pass(&mut self, after: Option<Ticket>, effect: E) -> Option<E> {
        let Some(ticket) = after else { return Some(effect) };
        if let Some(waiting) = self.open.get_mut(&ticket) {
            waiting.push(effect);
        }
        None
    }

    /// The write is settled: what may happen now. After a refusal nothing may.
    pub(crate) fn settle(&mut self, ticket: Ticket, outcome: Stored) -> Vec<E> {
        let waiting = self.open.remove(&ticket).unwrap_or_default();
        match outcome {
            Stored::Confirmed | Stored::Unprotected => waiting,
            Stored::Refused => Vec::new(),
        }
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        self.open.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_effect_waits_for_its_ticket_alone() {
        let mut held = Held::default();
        held.open(Ticket(1));
        assert_eq!(held.pass(Some(Ticket(1)), "after 1"), None);
        assert_eq!(held.pass(None, "free"), Some("free"));
        assert_eq!(held.settle(Ticket(1), Stored::Confirmed), vec!["after 1"]);
    }

    #[test]
    fn what_rests_on_a_refused_write_never_happens() {
        let mut held = Held::default();
        held.open(Ticket(1));
        held.pass(Some(Ticket(1)), "response");
        assert_eq!(held.settle(Ticket(1), Stored::Refused), Vec::<&str>::new());
        assert_eq!(held.pass(Some(Ticket(1)), "the rest of the same step"), None);
    }
}
