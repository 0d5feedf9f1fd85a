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

    /// Gives the effect back if it may happen now, else keeps it until its ticket is settled.
    pub(crate) fn pass(&mut self, after: Option<Ticket>, effect: E) -> Option<E> {
        match after.and_then(|ticket| self.open.get_mut(&ticket)) {
            Some(waiting) => {
                waiting.push(effect);
                None
            }
            None => Some(effect),
        }
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
        assert_eq!(held.pass(Some(Ticket(1)), "late"), Some("late"));
    }

    #[test]
    fn what_rests_on_a_refused_write_never_happens() {
        let mut held = Held::default();
        held.open(Ticket(1));
        held.pass(Some(Ticket(1)), "response");
        assert_eq!(held.settle(Ticket(1), Stored::Refused), Vec::<&str>::new());
    }
}
