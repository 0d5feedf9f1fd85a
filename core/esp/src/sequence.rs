//! Sequence numbers across owners, by block and without a store write.
//!
//! With blocks of [`BLOCK`] packets the owner in term k starts at `(k + b) · BLOCK + 1` and may send
//! up to `(k + b + 1) · BLOCK`. b is in the SA's record and is raised ahead of need; a raise counts
//! once it is confirmed. An owner whose raise is not confirmed in time goes on, and says how far it
//! is by its high-water mark. So the peer sees the numbers jump forward at a takeover, never back.
//!
//! How far a jump may go: a receiver with ESN infers the high half of a number only if it is less
//! than 2^32 ahead (RFC 4303 appendix A2.2). An SA that never sent stands at 0 for its peer, so the
//! terms, one raise and the lead with which it is asked for must together stay below that:
//! [`LAST_TERM`].

use crate::EnterError;
use vipsec_wire::id::Term;
use vipsec_wire::time::Timestamp;

/// Packets in a block.
pub const BLOCK: u64 = 1 << 22;
/// Blocks by which one raise may move b.
pub const MAX_RAISE: u32 = 64;
/// The last term in which an SA with ESN can be used.
pub const LAST_TERM: u32 = LAST_BLOCK_32 - MAX_RAISE - LEAD_MAX_BLOCKS - 2;

/// The last block of 32-bit sequence numbers.
const LAST_BLOCK_32: u32 = 1023;
/// A raise is asked for when at most this much of the confirmed range is left, or what a busy SA
/// needs for [`LEAD_S`].
const LEAD_MIN: u64 = BLOCK / 2;
const LEAD_MAX: u64 = BLOCK * LEAD_MAX_BLOCKS as u64;
const LEAD_MAX_BLOCKS: u32 = 32;
const LEAD_S: u64 = 10;
/// Seconds that a raise is to cover at the present rate.
const COVER_S: u64 = 60;
/// Microseconds after which an unanswered request for a raise is repeated.
const ASK_AGAIN_US: u64 = 1_000_000;

/// The sequence numbers of one outbound SA.
#[derive(Debug)]
pub(crate) struct Sequencer {
    esn: bool,
    term: Term,
    block: u32,
    next: u64,
    /// From this number on a raise is due.
    low: u64,
    lead: u64,
    /// Where the present measurement of the rate began.
    mark: Option<(Timestamp, u64)>,
    asked: Option<(Timestamp, u32)>,
}

impl Sequencer {
    pub(crate) fn new(esn: bool) -> Sequencer {
        Sequencer {
            esn,
            term: Term(0),
            block: 0,
            next: 1,
            low: 0,
            lead: LEAD_MIN,
            mark: None,
            asked: None,
        }
    }

    /// Begins a term above everything that an earlier owner may have sent.
    pub(crate) fn enter(&mut self, term: Term) -> Result<(), EnterError> {
        self.begin(term)?;
        let start = (u64::from(term.0) + u64::from(self.block)) * BLOCK + 1;
        self.move_to(start)
    }

    /// Begins a term exactly where the former owner stopped.
    pub(crate) fn continue_at(&mut self, term: Term, next: u64) -> Result<(), EnterError> {
        self.begin(term)?;
        self.move_to(next)
    }

    /// Notes that numbers up to `sequence` have been used.
    pub(crate) fn skip_to(&mut self, sequence: u64) {
        self.next = self.next.max(sequence.saturating_add(1));
    }

    /// The next number; `None` at the end of the range, which never wraps.
    pub(crate) fn take(&mut self) -> Option<u64> {
        if self.next > self.last() {
            return None;
        }
        let sequence = self.next;
        self.next += 1;
        Some(sequence)
    }

    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    pub(crate) fn block(&self) -> u32 {
        self.block
    }

    /// The store has confirmed b.
    pub(crate) fn confirm_block(&mut self, block: u32) {
        self.block = self.block.max(block);
        self.low = self.ceiling().saturating_sub(self.lead);
        if self.asked.is_some_and(|(_, wanted)| self.block >= wanted) {
            self.asked = None;
        }
    }

    /// The b to ask the store for, when the confirmed range runs low.
    pub(crate) fn block_low(&mut self, now: Timestamp) -> Option<u32> {
        let mark = *self.mark.get_or_insert((now, self.next));
        if self.next < self.low {
            return None;
        }
        if self.asked.is_some_and(|(at, _)| now.0.saturating_sub(at.0) < ASK_AGAIN_US) {
            return None;
        }
        let wanted = self.wanted(self.rate_since(mark, now))?;
        self.mark = Some((now, self.next));
        self.asked = Some((now, wanted));
        Some(wanted)
    }

    /// The highest number used, when it is beyond what the store has confirmed.
    pub(crate) fn high_water(&self) -> Option<u64> {
        let used = self.next - 1;
        (used > self.ceiling()).then_some(used)
    }

    /// How many more takeovers the SA can live through.
    pub(crate) fn takeovers_left(&self) -> u32 {
        let term = u32::from(self.term.0);
        if self.esn {
            return LAST_TERM.saturating_sub(term);
        }
        let used = u32::try_from((self.next - 1) / BLOCK).unwrap_or(u32::MAX);
        LAST_BLOCK_32.saturating_sub(used.max(term.saturating_add(self.block)))
    }

    fn begin(&mut self, term: Term) -> Result<(), EnterError> {
        if self.esn && u32::from(term.0) > LAST_TERM {
            return Err(EnterError::Exhausted);
        }
        self.term = term;
        self.mark = None;
        self.asked = None;
        Ok(())
    }

    fn move_to(&mut self, next: u64) -> Result<(), EnterError> {
        self.next = self.next.max(next);
        self.low = self.ceiling().saturating_sub(self.lead);
        if self.next > self.last() { Err(EnterError::Exhausted) } else { Ok(()) }
    }

    /// The last number of the confirmed range.
    fn ceiling(&self) -> u64 {
        (u64::from(self.term.0) + u64::from(self.block) + 1) * BLOCK
    }

    fn last(&self) -> u64 {
        if self.esn { u64::MAX >> 1 } else { u64::from(u32::MAX) }
    }

    /// Packets a second since `mark`.
    fn rate_since(&self, mark: (Timestamp, u64), now: Timestamp) -> u64 {
        let elapsed_us = u128::from(now.0.saturating_sub(mark.0.0).max(1));
        let packets = u128::from(self.next.saturating_sub(mark.1));
        u64::try_from(packets * 1_000_000 / elapsed_us).unwrap_or(u64::MAX)
    }

    /// b so that a minute at `rate` is covered, within bounds; remembers how early to ask next.
    fn wanted(&mut self, rate: u64) -> Option<u32> {
        self.lead = rate.saturating_mul(LEAD_S).clamp(LEAD_MIN, LEAD_MAX);
        let minute = rate.saturating_mul(COVER_S).div_ceil(BLOCK);
        let raise = u32::try_from(minute).unwrap_or(MAX_RAISE).clamp(1, MAX_RAISE);
        let here = ((self.next - 1) / BLOCK).saturating_sub(u64::from(self.term.0));
        let here = u32::try_from(here).unwrap_or(u32::MAX).max(self.block);
        let wanted = here.saturating_add(raise);
        let end = if self.esn {
            u32::MAX
        } else {
            LAST_BLOCK_32 - u32::from(self.term.0).min(LAST_BLOCK_32)
        };
        let wanted = wanted.min(end);
        (wanted > self.block).then_some(wanted)
    }
}

/// What travels on the wire.
#[expect(clippy::cast_possible_truncation, reason = "the low half is what is asked for")]
pub(crate) fn low_half(sequence: u64) -> u32 {
    sequence as u32
}

/// What the receiver infers with ESN.
pub(crate) fn high_half(sequence: u64) -> u32 {
    low_half(sequence >> 32)
}

#[cfg(test)]
mod tests;
