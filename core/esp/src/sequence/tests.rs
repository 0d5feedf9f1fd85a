//! Blocks, raises, high-water marks and ends of range.

use super::*;
use core::time::Duration;

const START: Timestamp = Timestamp(1_000_000);

fn entered(esn: bool, term: u16, block: u32) -> Sequencer {
    let mut sequencer = Sequencer::new(esn);
    sequencer.confirm_block(block);
    assert_eq!(sequencer.enter(Term(term)), Ok(()));
    sequencer
}

#[test]
fn each_term_has_its_block() {
    assert_eq!(entered(true, 0, 0).take(), Some(1));
    assert_eq!(entered(true, 1, 0).take(), Some(BLOCK + 1));
    let mut third = entered(true, 2, 5);
    assert_eq!(third.take(), Some(7 * BLOCK + 1));
    assert_eq!(third.take(), Some(7 * BLOCK + 2));
}

#[test]
fn a_transfer_does_not_jump() {
    let mut next_owner = Sequencer::new(true);
    assert_eq!(next_owner.continue_at(Term(1), 42), Ok(()));
    assert_eq!(next_owner.take(), Some(42));
    assert_eq!(next_owner.high_water(), None);
}

#[test]
fn numbers_never_go_back() {
    let mut sequencer = entered(true, 3, 0);
    sequencer.take();
    assert_eq!(sequencer.continue_at(Term(4), 17), Ok(()));
    assert_eq!(sequencer.take(), Some(3 * BLOCK + 2));
    sequencer.skip_to(9 * BLOCK);
    assert_eq!(sequencer.enter(Term(5)), Ok(()));
    assert_eq!(sequencer.take(), Some(9 * BLOCK + 1));
}

#[test]
fn beyond_the_confirmed_block_it_goes_on_and_says_so() {
    let mut sequencer = entered(true, 1, 0);
    sequencer.skip_to(2 * BLOCK - 1);
    assert_eq!(sequencer.take(), Some(2 * BLOCK));
    assert_eq!(sequencer.high_water(), None);
    assert_eq!(sequencer.take(), Some(2 * BLOCK + 1));
    assert_eq!(sequencer.high_water(), Some(2 * BLOCK + 1));
    sequencer.confirm_block(1);
    assert_eq!(sequencer.high_water(), None);
}

#[test]
fn a_quiet_sa_asks_for_one_block_in_the_middle_of_its_own() {
    let mut sequencer = entered(true, 0, 0);
    assert_eq!(sequencer.block_low(START), None);
    sequencer.skip_to(BLOCK / 2 - 2);
    let tomorrow = START + Duration::from_secs(86_400);
    assert_eq!(sequencer.block_low(tomorrow), None);
    sequencer.take();
    assert_eq!(sequencer.block_low(tomorrow), Some(1));
}

#[test]
fn a_request_is_repeated_each_second_until_confirmed() {
    let mut sequencer = entered(true, 0, 0);
    sequencer.block_low(START);
    sequencer.skip_to(BLOCK / 2);
    let at = |ms| START + Duration::from_secs(3600) + Duration::from_millis(ms);
    assert_eq!(sequencer.block_low(at(0)), Some(1));
    assert_eq!(sequencer.block_low(at(999)), None);
    assert_eq!(sequencer.block_low(at(1_000)), Some(1));
    sequencer.confirm_block(1);
    assert_eq!(sequencer.block_low(at(9_000)), None);
}

/// A million packets a second: a minute is 60 million, so 15 blocks more than what is confirmed,
/// asked for 10 s ahead.
#[test]
fn a_busy_sa_asks_for_a_minute() {
    let mut sequencer = entered(true, 0, 0);
    assert_eq!(sequencer.block_low(START), None);
    sequencer.skip_to(3_000_000);
    assert_eq!(sequencer.block_low(START + Duration::from_secs(3)), Some(15));
    sequencer.confirm_block(15);
    sequencer.skip_to(16 * BLOCK - 10_000_100);
    assert_eq!(sequencer.block_low(START + Duration::from_secs(57)), None);
    sequencer.skip_to(16 * BLOCK - 9_999_900);
    let wanted = sequencer.block_low(START + Duration::from_secs(57));
    assert_eq!(wanted, Some(30));
}

#[test]
fn a_raise_is_bounded_and_starts_where_the_sa_is() {
    let mut sequencer = entered(true, 3, 2);
    sequencer.block_low(START);
    sequencer.skip_to(6 * BLOCK - 1);
    assert_eq!(sequencer.block_low(START + Duration::from_millis(1)), Some(2 + MAX_RAISE));
    sequencer.skip_to(100 * BLOCK);
    let wanted = sequencer.block_low(START + Duration::from_secs(2));
    assert_eq!(wanted, Some(100 - 3 + MAX_RAISE));
}

#[test]
fn raises_do_not_pile_up_on_an_sa_that_does_not_send() {
    let mut sequencer = entered(true, 0, 0);
    sequencer.block_low(START);
    sequencer.skip_to(BLOCK - 1);
    let wanted = sequencer.block_low(START + Duration::from_millis(1));
    sequencer.confirm_block(wanted.unwrap_or(0));
    assert_eq!(sequencer.block_low(START + Duration::from_secs(10)), None);
}

#[test]
fn without_esn_the_range_ends_before_it_wraps() {
    let mut sequencer = entered(false, 1023, 0);
    sequencer.skip_to(u64::from(u32::MAX) - 1);
    assert_eq!(sequencer.block_low(START), None);
    assert_eq!(sequencer.take(), Some(u64::from(u32::MAX)));
    assert_eq!(sequencer.take(), None);
    assert_eq!(sequencer.take(), None);
    assert_eq!(sequencer.takeovers_left(), 0);
    assert_eq!(Sequencer::new(false).enter(Term(1024)), Err(EnterError::Exhausted));
    assert_eq!(sequencer.enter(Term(1024)), Err(EnterError::Exhausted));
}

#[test]
fn room_for_takeovers_shrinks_with_terms_and_blocks() {
    assert_eq!(entered(false, 0, 0).takeovers_left(), 1023);
    assert_eq!(entered(false, 10, 13).takeovers_left(), 1000);
    let mut ahead = entered(false, 10, 0);
    ahead.skip_to(500 * BLOCK);
    assert_eq!(ahead.takeovers_left(), 1023 - 500);
    assert_eq!(entered(true, 0, 10_000).takeovers_left(), LAST_TERM);
    assert_eq!(entered(true, 57, 0).takeovers_left(), LAST_TERM - 57);
}

#[test]
fn with_esn_the_terms_end_before_a_jump_could_mislead_the_peer() {
    let last = u16::try_from(LAST_TERM).unwrap_or(u16::MAX);
    let mut sequencer = entered(true, last, MAX_RAISE + 32);
    assert!(sequencer.take().is_some_and(|first| first < (1 << 32) - 65_536));
    assert_eq!(Sequencer::new(true).enter(Term(last + 1)), Err(EnterError::Exhausted));
}
