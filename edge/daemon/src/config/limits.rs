//! `[vip.limits]`: how much peers may ask of a VIP, before and after they have proven who they are.

use super::file;
use super::mistake::Mistakes;
use vipsec_ike::Limits;

/// Checks the section; what is left out has its usual value.
pub(super) fn limits(raw: Option<&file::Limits>, mistakes: &mut Mistakes) -> Limits {
    let usual = Limits::default();
    let Some(raw) = raw else { return usual };
    let most = 1_000_000;
    let half_open_max = mistakes.number(raw.half_open.as_ref(), 1..=most, usual.half_open_max);
    let mut below = |value: &Option<file::Number>, usual: usize| {
        mistakes.number(value.as_ref(), 0..=half_open_max, usual.min(half_open_max))
    };
    let half_open_cookie_threshold = below(&raw.cookies_from, usual.half_open_cookie_threshold);
    let puzzle_threshold = below(&raw.puzzles_from, usual.puzzle_threshold);
    let half_open_per_source = below(&raw.half_open_per_source, usual.half_open_per_source);
    let half_open_per_source_max =
        below(&raw.half_open_per_source_max, usual.half_open_per_source_max);
    let failures = raw.auth_failures_per_source.as_ref();
    Limits {
        half_open_max,
        half_open_cookie_threshold,
        puzzle_threshold,
        half_open_per_source,
        half_open_per_source_max,
        puzzle_bits: mistakes.number(raw.puzzle_bits.as_ref(), 0..=32, usual.puzzle_bits),
        puzzle_bits_max: mistakes.number(
            raw.puzzle_bits_max.as_ref(),
            0..=32,
            usual.puzzle_bits_max,
        ),
        auth_failures_per_source: mistakes.number(
            failures,
            1..=1_000_000,
            usual.auth_failures_per_source,
        ),
        ike_sas_max: mistakes.number(raw.ike_sas.as_ref(), 1..=10_000_000, usual.ike_sas_max),
        children_max: mistakes.number(raw.children.as_ref(), 1..=1024, usual.children_max),
        ..usual
    }
}
