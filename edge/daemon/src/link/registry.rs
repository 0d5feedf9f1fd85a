//! Which of several connections with one member counts. Both ends decide by the same rules, so that
//! they come to the same one without talking about it.

use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;
use vipsec_wire::id::NodeName;

/// Two connections that come up within this time of each other were opened at once. Later, an end
/// that opens another one has lost the first.
const AT_ONCE: Duration = Duration::from_secs(2);

/// A connection that has come up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Candidate {
    /// Names it within this process.
    pub(super) id: u64,
    /// Whether the member with the lower name opened it.
    pub(super) opened_by_lower: bool,
    /// The peer's process.
    pub(super) incarnation: u64,
    /// When it came up.
    pub(super) since: Instant,
}

/// What becomes of a connection that has come up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It counts from now on; `replaces` is to be closed.
    Counts { replaces: Option<u64> },
    /// It is to be closed.
    Surplus,
}

/// The connections that count.
#[derive(Debug, Default)]
pub(super) struct Registry {
    current: BTreeMap<NodeName, Candidate>,
}

impl Registry {
    /// Judges a connection that has come up.
    pub(super) fn offer(&mut self, node: &NodeName, new: Candidate) -> Verdict {
        let Some(old) = self.current.get(node) else {
            self.current.insert(node.clone(), new);
            return Verdict::Counts { replaces: None };
        };
        if !is_better(&new, old) {
            return Verdict::Surplus;
        }
        let replaces = Some(old.id);
        self.current.insert(node.clone(), new);
        Verdict::Counts { replaces }
    }

    /// Forgets a connection that has ended; whether it counted.
    pub(super) fn remove(&mut self, node: &NodeName, id: u64) -> bool {
        let counted = self.is_current(node, id);
        if counted {
            self.current.remove(node);
        }
        counted
    }

    pub(super) fn is_current(&self, node: &NodeName, id: u64) -> bool {
        self.current.get(node).is_some_and(|current| current.id == id)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.current.is_empty()
    }

    /// When the connection that counts came up.
    pub(super) fn since(&self, node: &NodeName) -> Option<Instant> {
        self.current.get(node).map(|current| current.since)
    }

    pub(super) fn has(&self, node: &NodeName) -> bool {
        self.current.contains_key(node)
    }
}

fn is_better(new: &Candidate, old: &Candidate) -> bool {
    if new.incarnation != old.incarnation {
        return new.incarnation > old.incarnation;
    }
    let at_once = new.since.saturating_duration_since(old.since) < AT_ONCE;
    let crossing = new.opened_by_lower != old.opened_by_lower;
    if at_once && crossing { new.opened_by_lower } else { true }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node() -> NodeName {
        NodeName::try_from("b".to_owned()).expect("a name")
    }

    fn candidate(id: u64, opened_by_lower: bool, incarnation: u64, since: Instant) -> Candidate {
        Candidate { id, opened_by_lower, incarnation, since }
    }

    #[test]
    fn of_two_at_once_the_lower_name_s_stays_in_either_order() {
        let now = Instant::now();
        let (lower, higher) = (candidate(1, true, 7, now), candidate(2, false, 7, now));
        let mut registry = Registry::default();
        assert_eq!(registry.offer(&node(), lower), Verdict::Counts { replaces: None });
        assert_eq!(registry.offer(&node(), higher), Verdict::Surplus);
        let mut registry = Registry::default();
        assert_eq!(registry.offer(&node(), higher), Verdict::Counts { replaces: None });
        assert_eq!(registry.offer(&node(), lower), Verdict::Counts { replaces: Some(2) });
        assert!(registry.is_current(&node(), 1));
    }

    #[test]
    fn a_new_process_replaces_and_an_old_one_does_not() {
        let now = Instant::now();
        let mut registry = Registry::default();
        registry.offer(&node(), candidate(1, true, 7, now));
        let newer = candidate(2, false, 8, now);
        assert_eq!(registry.offer(&node(), newer), Verdict::Counts { replaces: Some(1) });
        assert_eq!(registry.offer(&node(), candidate(3, true, 7, now)), Verdict::Surplus);
    }

    #[test]
    fn an_end_that_opens_again_has_lost_the_first() {
        let now = Instant::now();
        let mut registry = Registry::default();
        registry.offer(&node(), candidate(1, true, 7, now));
        let again = candidate(2, true, 7, now);
        assert_eq!(registry.offer(&node(), again), Verdict::Counts { replaces: Some(1) });
        let late = candidate(3, false, 7, now + AT_ONCE);
        assert_eq!(registry.offer(&node(), late), Verdict::Counts { replaces: Some(2) });
    }

    #[test]
    fn the_end_of_a_replaced_connection_says_nothing() {
        let now = Instant::now();
        let mut registry = Registry::default();
        registry.offer(&node(), candidate(1, false, 7, now));
        registry.offer(&node(), candidate(2, true, 7, now));
        assert!(!registry.remove(&node(), 1));
        assert!(registry.has(&node()));
        assert!(registry.remove(&node(), 2));
        assert!(!registry.has(&node()));
    }
}
