//! Puzzles (RFC 8019): how hard a peer must have worked before a busy responder spends state on it,
//! and the work itself, in slices that do not hold up anything else.
//!
//! Puzzles of IKE_AUTH (section 7.2) are not here: what an IKE_AUTH costs is bounded by the number
//! of half-open IKE SAs and of failures for each source (`crowd`).

use crate::keys::crypto_prf;
use vipsec_crypto::prf::PrfAlgorithm;
use vipsec_wire::ike::{PUZZLE_KEYS, Puzzle, PuzzleSolution};

/// Keys that are tried in one slice: some 2 ms of work.
const SLICE: u64 = 4096;
/// What is worked for when the responder leaves it to us.
const OWN_CHOICE: u8 = 12;
/// Octets of the keys that we try.
const KEY_LENGTH: usize = 8;

/// Zero bits at the end.
fn zero_bits(result: &[u8]) -> u32 {
    let whole = result.iter().rev().take_while(|octet| **octet == 0).count();
    let last = result.iter().rev().nth(whole).map_or(0, |octet| octet.trailing_zeros());
    u32::try_from(whole).unwrap_or(u32::MAX).saturating_mul(8).saturating_add(last)
}

fn fits(prf: PrfAlgorithm, key: &[u8], text: &[u8], difficulty: u8) -> bool {
    zero_bits(prf.prf(key, &[text]).expose()) >= u32::from(difficulty)
}

/// Whether a solution is one: four different keys, each with enough zero bits (section 7.1.2).
pub(crate) fn is_solved(puzzle: Puzzle, text: &[u8], solution: &PuzzleSolution) -> bool {
    let Some(prf) = crypto_prf(puzzle.prf) else { return false };
    let keys: Vec<&[u8]> = solution.keys().collect();
    let differ = (1..keys.len()).all(|place| !keys[..place].contains(&keys[place]));
    keys.len() == PUZZLE_KEYS
        && differ
        && keys.iter().all(|key| fits(prf, key, text, puzzle.difficulty))
}

/// A puzzle that is being solved.
#[derive(Debug)]
pub(crate) struct Search {
    prf: PrfAlgorithm,
    difficulty: u8,
    text: Vec<u8>,
    next: u64,
    found: Vec<u8>,
}

impl Search {
    /// Begins with a puzzle over `text`, the cookie; `None` for one that is harder than `most` bits
    /// or has a PRF that we do not.
    pub(crate) fn new(puzzle: Puzzle, text: &[u8], most: u8) -> Option<Search> {
        let prf = crypto_prf(puzzle.prf)?;
        let difficulty =
            if puzzle.difficulty == 0 { OWN_CHOICE.min(most) } else { puzzle.difficulty };
        let text = text.to_vec();
        let found = Vec::with_capacity(PUZZLE_KEYS * KEY_LENGTH);
        (difficulty <= most).then_some(Search { prf, difficulty, text, next: 0, found })
    }

    /// Works for a while; the solution, if it is found.
    pub(crate) fn go_on(&mut self) -> Option<Vec<u8>> {
        for _ in 0..SLICE {
            let key = self.next.to_be_bytes();
            self.next = self.next.wrapping_add(1);
            if fits(self.prf, &key, &self.text, self.difficulty) {
                self.found.extend_from_slice(&key);
            }
            if self.found.len() == PUZZLE_KEYS * KEY_LENGTH {
                return Some(core::mem::take(&mut self.found));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vipsec_wire::ike::Prf;

    #[test]
    fn zero_bits_are_counted_from_the_end() {
        assert_eq!(zero_bits(&[0x00, 0x01]), 0);
        assert_eq!(zero_bits(&[0x01, 0x00]), 8);
        assert_eq!(zero_bits(&[0xff, 0x60, 0x00, 0x00]), 21);
        assert_eq!(zero_bits(&[0, 0]), 16);
    }

    #[test]
    fn what_was_found_is_a_solution_and_nothing_else_is() {
        for prf in [Prf::HmacSha2_256, Prf::HmacSha2_384, Prf::HmacSha2_512] {
            let puzzle = Puzzle { prf, difficulty: 9 };
            let mut search = Search::new(puzzle, b"a cookie", 20).expect("not too hard");
            let solution = (0..64).find_map(|_| search.go_on()).expect("found");
            let solution = PuzzleSolution(solution);
            assert!(is_solved(puzzle, b"a cookie", &solution));
            assert!(!is_solved(puzzle, b"another cookie", &solution));
            let harder = Puzzle { difficulty: 60, ..puzzle };
            assert!(!is_solved(harder, b"a cookie", &solution));
            let mut twice = solution.0.clone();
            twice.copy_within(..KEY_LENGTH, KEY_LENGTH);
            assert!(!is_solved(puzzle, b"a cookie", &PuzzleSolution(twice)));
        }
    }

    #[test]
    fn too_hard_or_unknown() {
        let hard = Puzzle { prf: Prf::HmacSha2_256, difficulty: 21 };
        assert!(Search::new(hard, b"c", 20).is_none());
        assert!(Search::new(Puzzle { prf: Prf::Other(1), difficulty: 1 }, b"c", 20).is_none());
        let free = Puzzle { prf: Prf::HmacSha2_256, difficulty: 0 };
        assert!(Search::new(free, b"c", 20).is_some_and(|search| search.difficulty == OWN_CHOICE));
    }
}
