//! Named situations: what is done to the cluster stands in the test, the checkers say whether it
//! was borne, and the numbers at the end whether traffic went on.

use vipsec_sim::host::HostId;
use vipsec_sim::plan::Step;
use vipsec_sim::world::Totals;
use vipsec_sim::{Keep, Plan, run};

/// Observations that are shown before a violation.
const SHOWN: usize = 80;

/// Runs a plan, in which every checker must hold. The whole trace goes to the file that the
/// environment names in `VIPSEC_SIM_TRACE`, if it does.
fn hold(plan: Plan) -> Totals {
    let seed = plan.seed;
    let file = std::env::var_os("VIPSEC_SIM_TRACE");
    let keep = if file.is_some() { Keep::All } else { Keep::Last(SHOWN) };
    let outcome = run(plan, keep);
    if let Some(file) = file {
        let trace: Vec<String> = outcome.trace.lines().collect();
        std::fs::write(file, trace.join("\n")).expect("a file that can be written");
    }
    if let Some(violation) = outcome.violation {
        let trace: Vec<String> = outcome.trace.lines().collect();
        let last = trace.len().saturating_sub(SHOWN);
        panic!("{}\nseed {seed}: {violation}", trace[last..].join("\n"));
    }
    outcome.totals
}

/// At least so many thousandths of the datagrams came back.
fn answered(totals: &Totals, permille: u64) {
    let share = totals.received * 1000 / totals.sent.max(1);
    assert!(share >= permille, "{share} of 1000 datagrams were answered: {totals:?}");
    assert_eq!(totals.broken, 0, "{totals:?}");
}

fn a() -> HostId {
    HostId::candidate(0)
}

fn b() -> HostId {
    HostId::candidate(1)
}

#[test]
fn steady_traffic() {
    let totals = hold(Plan::quiet(1, 8));
    answered(&totals, 990);
    assert!(totals.finished >= 4, "{totals:?}");
}

#[test]
fn a_transfer_under_load_loses_nothing() {
    let plan = Plan::quiet(2, 10).at(4000, Step::TransferOn);
    answered(&hold(plan), 990);
}

#[test]
fn transfers_back_and_forth() {
    let mut plan = Plan::quiet(3, 16);
    for at in [3000, 5000, 7000, 9000, 11_000] {
        plan = plan.at(at, Step::TransferOn);
    }
    answered(&hold(plan), 990);
}

#[test]
fn the_owner_is_killed() {
    // Until it is back, what its own applications serve has to wait.
    let plan = Plan::quiet(4, 12).at(4000, Step::KillOwner(0)).at(6000, Step::StartAll);
    answered(&hold(plan), 900);
}

#[test]
fn the_machine_of_the_owner_is_gone() {
    let plan = Plan::quiet(5, 12).at(4000, Step::Cut(a())).at(6000, Step::Start(a()));
    answered(&hold(plan), 850);
}

#[test]
fn owners_are_killed_in_a_chain() {
    let plan = Plan::quiet(6, 20)
        .at(3000, Step::KillOwner(0))
        .at(5000, Step::StartAll)
        .at(7000, Step::KillOwner(3))
        .at(9000, Step::StartAll)
        .at(11_000, Step::KillOwner(1))
        .at(13_000, Step::StartAll);
    answered(&hold(plan), 800);
}

#[test]
fn all_nodes_restart_at_once() {
    let plan = Plan::quiet(7, 16)
        .at(4000, Step::Kill(a(), 0))
        .at(4000, Step::Kill(b(), 0))
        .at(4000, Step::Kill(HostId::target(0), 0))
        .at(5000, Step::StartAll);
    answered(&hold(plan), 700);
}

#[test]
fn a_single_node_takes_over_from_itself() {
    let plan = Plan::quiet(8, 14);
    let plan = Plan { candidates: 1, targets: 0, ..plan }
        .at(4000, Step::Kill(a(), 0))
        .at(4300, Step::Start(a()))
        .at(8000, Step::Kill(a(), 2))
        .at(8300, Step::Start(a()));
    answered(&hold(plan), 700);
}

#[test]
fn the_store_is_down_while_traffic_goes_on() {
    let plan = Plan::quiet(9, 14)
        .at(3000, Step::StoreDown(true))
        .at(7000, Step::StoreDown(false))
        .at(8000, Step::KillOwner(0));
    answered(&hold(plan), 900);
}

#[test]
fn a_store_that_was_put_back_is_refused_until_somebody_accepts_it() {
    let plan = |accepted: bool| {
        let plan = Plan::quiet(21, 40)
            .at(3000, Step::Snapshot)
            .at(4000, Step::KillOwner(0))
            .at(6000, Step::RollBack)
            .at(6500, Step::StartAll)
            .at(7000, Step::KillOwner(0))
            .at(7500, Step::StartAll);
        if accepted { plan.at(12_000, Step::AcceptRollback) } else { plan }
    };
    // Nobody owns the VIP, and says why. (Peers need some 15 s to find that their SAs are lost.)
    let refused = run(plan(false), Keep::All);
    assert_eq!(refused.violation, None);
    let said: Vec<String> = refused.trace.lines().collect();
    assert!(said.iter().any(|line| line.contains("rolled back")), "{}", said.join("\n"));
    let accepted = hold(plan(true));
    assert!(accepted.received > refused.totals.received * 2, "{accepted:?}, {:?}", refused.totals);
}

#[test]
fn an_owner_that_stood_still_wakes_deposed() {
    let plan = Plan::quiet(10, 16)
        .at(4000, Step::PauseOwner)
        .at(6000, Step::WakeAll)
        .at(8000, Step::PauseOwner)
        .at(8180, Step::WakeAll);
    answered(&hold(plan), 850);
}

#[test]
fn sas_are_rekeyed_while_owners_change() {
    let mut plan = Plan::quiet(11, 24);
    plan.settings.child.rekey_s = Some(3);
    plan.settings.ike.rekey_s = 5;
    plan.settings.ike.jitter_s = 1;
    let plan = plan
        .at(6000, Step::KillOwner(0))
        .at(8000, Step::StartAll)
        .at(10_000, Step::TransferOn)
        .at(14_000, Step::KillOwner(5))
        .at(16_000, Step::StartAll);
    answered(&hold(plan), 850);
}

#[test]
fn peers_are_looked_after_while_nothing_flows() {
    let mut plan = Plan::quiet(12, 20);
    plan.settings.dpd_s = 1;
    plan.traffic.interval = core::time::Duration::from_millis(1500);
    plan.traffic.tcp = 0;
    let plan = plan.at(6000, Step::KillOwner(0)).at(9000, Step::StartAll);
    answered(&hold(plan), 700);
}
