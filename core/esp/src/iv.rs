//! The IVs of combined mode: `term (16 bits) ‖ counter (48 bits)`.
//!
//! Two owners never share a term, so they never share an IV, whatever their clocks and their beliefs
//! are. Within a term the counter starts at a random point of the lower half of its range: that is
//! what stands between us and a repeated IV if a term should ever come twice, after a store was
//! restored from an old copy.

use vipsec_crypto::Random;
use vipsec_wire::id::Term;

const COUNTER_BITS: u32 = 48;
const COUNTER_END: u64 = 1 << COUNTER_BITS;
const START_MASK: u64 = (COUNTER_END >> 1) - 1;

/// The IVs of one key in one term. Not `Clone`: two of them would repeat each other.
#[derive(Debug)]
pub(crate) struct IvCounter {
    term: Term,
    next: u64,
}

impl IvCounter {
    /// Begins a term.
    pub(crate) fn new(term: Term, random: &mut dyn Random) -> IvCounter {
        let mut start = [0; 8];
        random.fill(&mut start);
        IvCounter { term, next: u64::from_be_bytes(start) & START_MASK }
    }

    /// The next IV; `None` at the end of the range, which never wraps.
    pub(crate) fn next_iv(&mut self) -> Option<[u8; 8]> {
        if self.next >= COUNTER_END {
            return None;
        }
        let iv = (u64::from(self.term.0) << COUNTER_BITS) | self.next;
        self.next += 1;
        Some(iv.to_be_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Constant(u8);

    impl Random for Constant {
        fn fill(&mut self, out: &mut [u8]) {
            out.fill(self.0);
        }
    }

    #[test]
    fn starts_in_the_lower_half_of_its_term() {
        let mut ivs = IvCounter::new(Term(0x1234), &mut Constant(0xff));
        assert_eq!(ivs.next_iv(), Some([0x12, 0x34, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff]));
        assert_eq!(ivs.next_iv(), Some([0x12, 0x34, 0x80, 0, 0, 0, 0, 0]));
    }

    #[test]
    fn ends_instead_of_wrapping() {
        let mut ivs = IvCounter { term: Term(1), next: COUNTER_END - 1 };
        assert_eq!(ivs.next_iv(), Some([0, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]));
        assert_eq!(ivs.next_iv(), None);
        assert_eq!(ivs.next_iv(), None);
    }
}
