//! The window against a model that keeps every number it saw.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeSet;

/// What RFC 4303 section 3.4.3 says, literally.
struct Model {
    size: u64,
    edge: u64,
    floor: u64,
    seen: BTreeSet<u64>,
}

impl Model {
    fn new(size: u32) -> Model {
        Model { size: u64::from(size), edge: 0, floor: 0, seen: BTreeSet::new() }
    }

    fn check(&self, sequence: u64) -> Result<(), EspError> {
        let too_old = sequence == 0 || sequence + self.size <= self.edge;
        match too_old {
            true => Err(EspError::OutsideWindow),
            false if sequence <= self.floor => Err(EspError::Replayed),
            false if self.seen.contains(&sequence) => Err(EspError::Replayed),
            false => Ok(()),
        }
    }

    fn mark(&mut self, sequence: u64) {
        self.edge = self.edge.max(sequence);
        self.seen.insert(sequence);
    }

    fn close(&mut self, edge: u64) {
        self.edge = self.edge.max(edge);
        self.floor = self.edge;
    }
}

#[derive(Debug, Clone)]
enum Step {
    /// A packet this far from the edge.
    Packet(i64),
    Close(i64),
    Snapshot,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        10 => (-200i64..100).prop_map(Step::Packet),
        3 => (-3000i64..3000).prop_map(Step::Packet),
        1 => (-50i64..500).prop_map(Step::Close),
        2 => Just(Step::Snapshot),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn the_window_does_what_the_model_does(
        size in prop_oneof![Just(64u32), Just(65), Just(100), Just(1000), Just(1024)],
        start in prop_oneof![0u64..5000, (1u64 << 32) - 3000..(1 << 32) + 3000],
        steps in prop::collection::vec(step(), 1..400),
    ) {
        let (mut window, mut model) = (Window::new(size), Model::new(size));
        window.close(start);
        model.close(start);
        for step in steps {
            match step {
                Step::Packet(offset) => {
                    let sequence = window.edge().saturating_add_signed(offset);
                    prop_assert_eq!(window.check(sequence), model.check(sequence));
                    if window.check(sequence).is_ok() {
                        window.mark(sequence);
                        model.mark(sequence);
                        prop_assert_eq!(window.check(sequence), Err(EspError::Replayed));
                    }
                }
                Step::Close(offset) => {
                    let edge = window.edge().saturating_add_signed(offset);
                    window.close(edge);
                    model.close(edge);
                }
                Step::Snapshot => {
                    let snapshot = window.snapshot();
                    let mut restored = Window::new(size);
                    restored.close(7);
                    restored.restore(&snapshot);
                    prop_assert_eq!(restored.snapshot(), snapshot);
                    window = restored;
                }
            }
            prop_assert_eq!(window.edge(), model.edge);
        }
    }

    /// RFC 4303 appendix A2.2: whatever is inside the window or less than 2^32 ahead of its bottom.
    #[test]
    fn the_high_half_is_inferred(
        edge in prop_oneof![0u64..3000, (1u64 << 32) - 3000..(1 << 32) + 3000, 1u64 << 40..1 << 41],
        ahead in prop_oneof![0u64..2000, 0u64..1 << 32, (1u64 << 32) - 2000..1 << 32],
    ) {
        let mut window = Window::new(1024);
        window.close(edge);
        let bottom = (edge + 1).checked_sub(1024);
        let sequence = bottom.unwrap_or(0) + ahead.min(match bottom {
            Some(_) => u64::from(u32::MAX),
            None => u64::from(u32::MAX) - (1023 - edge),
        });
        prop_assert_eq!(window.infer(low_half(sequence)), Some(sequence));
    }
}

#[test]
fn numbers_before_the_first_are_none() {
    let mut window = Window::new(1024);
    window.close(10);
    assert_eq!(window.infer(u32::MAX), None);
    assert_eq!(window.infer(u32::MAX - 1012), None);
    assert_eq!(window.infer(u32::MAX - 1013), Some(u64::from(u32::MAX) - 1013));
}

#[test]
fn a_window_of_another_size_forgets_nothing() {
    let mut small = Window::new(64);
    (1..=200).filter(|n| n % 2 == 0).for_each(|n| small.mark(n));
    let mut large = Window::new(1024);
    large.restore(&small.snapshot());
    assert_eq!(large.check(199), Ok(()));
    assert_eq!(large.check(198), Err(EspError::Replayed));
    assert_eq!(large.check(137), Ok(()));
    assert_eq!(large.check(135), Err(EspError::Replayed));
    let mut again = Window::new(64);
    again.restore(&large.snapshot());
    assert_eq!(again.snapshot(), small.snapshot());
}

#[test]
fn snapshots_are_small_when_little_was_seen() {
    let mut window = Window::new(1024);
    assert_eq!(window.snapshot(), WindowSnapshot { edge: 0, size: 1024, seen: vec![] });
    window.mark(1);
    window.mark(3);
    assert_eq!(window.snapshot(), WindowSnapshot { edge: 3, size: 1024, seen: vec![0b101] });
}

#[test]
fn sizes_have_bounds() {
    assert_eq!(Window::new(0).size, MIN_SIZE);
    assert_eq!(Window::new(u32::MAX).size, MAX_SIZE);
    let mut window = Window::new(u32::MAX);
    window.mark(100_000);
    assert_eq!(window.check(100_000 - 65_535), Ok(()));
    assert_eq!(window.check(100_000 - 65_536), Err(EspError::OutsideWindow));
}

#[test]
fn hostile_snapshots_do_no_harm() {
    let mut window = Window::new(64);
    window.restore(&WindowSnapshot { edge: 5, size: u32::MAX, seen: vec![u64::MAX; 3] });
    assert_eq!(window.check(5), Err(EspError::Replayed));
    assert_eq!(window.check(0), Err(EspError::OutsideWindow));
    window.restore(&WindowSnapshot { edge: u64::MAX, size: 0, seen: vec![] });
    assert_eq!(window.check(u64::MAX), Err(EspError::Replayed));
    assert_eq!(window.infer(0), None);
}
