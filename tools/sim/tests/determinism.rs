//! The same seed gives the same run, to the last observation.

use vipsec_sim::{Keep, generate, run};

#[test]
fn a_seed_repeats_itself() {
    for seed in [1, 2, 3] {
        let digest = || run(generate::plan(seed, None), Keep::Last(1)).trace.digest();
        assert_eq!(digest(), digest(), "seed {seed}");
    }
}

#[test]
fn another_seed_is_another_run() {
    let digest = |seed| run(generate::plan(seed, None), Keep::Last(1)).trace.digest();
    assert_ne!(digest(1), digest(2));
}

#[test]
fn the_seeds_that_are_always_replayed_put_the_store_back() {
    let rolls_back = |seed: &u64| {
        let steps = generate::plan(*seed, None).steps;
        steps.iter().any(|(_, step)| *step == vipsec_sim::plan::Step::RollBack)
    };
    assert!((0..200).filter(rolls_back).count() >= 5);
}
