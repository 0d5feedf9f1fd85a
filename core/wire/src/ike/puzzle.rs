//! Puzzles (RFC 8019 sections 8.1 and 8.2): the data of the PUZZLE notification, and the Puzzle
//! Solution payload, which is the keys one after the other.

use super::Prf;
use crate::ParseError;

/// Keys that a solution has (RFC 8019 section 7.1.2).
pub const PUZZLE_KEYS: usize = 4;

/// What a PUZZLE notification asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Puzzle {
    /// The function that each key is put in.
    pub prf: Prf,
    /// Zero bits at the end of each result; 0 leaves the number to the initiator.
    pub difficulty: u8,
}

impl Puzzle {
    /// Reads the data of the notification.
    ///
    /// # Errors
    /// `Length` when it is not three octets long.
    pub fn parse(data: &[u8]) -> Result<Puzzle, ParseError> {
        match data {
            [high, low, difficulty] => {
                let prf = Prf::from_number(u16::from_be_bytes([*high, *low]));
                Ok(Puzzle { prf, difficulty: *difficulty })
            }
            _ => Err(ParseError::Length("PUZZLE notification")),
        }
    }

    /// The data of the notification.
    #[must_use]
    pub fn emit(self) -> Vec<u8> {
        let [high, low] = self.prf.number().to_be_bytes();
        vec![high, low, self.difficulty]
    }
}

/// The Puzzle Solution payload: four keys of the same length.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PuzzleSolution(pub Vec<u8>);

impl PuzzleSolution {
    /// Reads the payload's body, behind the generic header.
    pub(super) fn parse_body(body: &[u8]) -> Result<PuzzleSolution, ParseError> {
        if body.is_empty() || !body.len().is_multiple_of(PUZZLE_KEYS) || body.len() > 1024 {
            return Err(ParseError::Length("Puzzle Solution payload"));
        }
        Ok(PuzzleSolution(body.to_vec()))
    }

    /// The keys.
    pub fn keys(&self) -> impl Iterator<Item = &[u8]> {
        self.0.chunks(self.0.len().div_ceil(PUZZLE_KEYS).max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notification_both_ways() {
        let puzzle = Puzzle { prf: Prf::HmacSha2_256, difficulty: 17 };
        assert_eq!(puzzle.emit(), [0, 5, 17]);
        assert_eq!(Puzzle::parse(&[0, 5, 17]), Ok(puzzle));
        assert!(Puzzle::parse(&[0, 5]).is_err());
    }

    #[test]
    fn solutions_have_four_keys_of_one_length() {
        let solution = PuzzleSolution::parse_body(&[1, 1, 2, 2, 3, 3, 4, 4]).expect("four keys");
        assert_eq!(solution.keys().collect::<Vec<_>>(), [[1, 1], [2, 2], [3, 3], [4, 4]]);
        for body in [&[][..], &[1; 7], &[1; 1028]] {
            assert!(PuzzleSolution::parse_body(body).is_err());
        }
    }
}
