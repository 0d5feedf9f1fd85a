//! The VIP moves, by command and by death; the client's log, the flows and the wire are witnesses.

use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use vipsec_lab::clock::now_us;
use vipsec_lab::flow::Window;
use vipsec_lab::run::Lab;
use vipsec_lab::topology::VIP;
use vipsec_tests::cluster::{Cluster, check_no_loss, check_survival};
use vipsec_tests::in_lab;

#[test]
fn a_transfer_loses_no_packet() {
    in_lab(transfer_there_and_back);
}

fn transfer_there_and_back(lab: &Lab) -> Result<()> {
    let mut cluster = Cluster::start(lab)?;
    let workload = cluster.workload(lab)?;
    sleep(Duration::from_secs(1));
    let began = now_us();
    check_kinds(&cluster, "a", &[("b", "routed"), ("t1", "routed"), ("t2", "routed")])?;
    cluster.transfer("a", "b")?;
    sleep(Duration::from_secs(2));
    check_kinds(&cluster, "b", &[("b", "local"), ("t1", "routed"), ("t2", "routed")])?;
    cluster.wait_for_role("a", "ready")?;
    cluster.transfer("b", "a")?;
    sleep(Duration::from_secs(2));
    check_kinds(&cluster, "a", &[("b", "routed"), ("t1", "routed"), ("t2", "routed")])?;
    let records = workload.finish()?;
    check_survival(&records)?;
    check_no_loss(&records, Window { from_us: began, to_us: now_us() })?;
    cluster.check_no_renegotiation()?;
    cluster.judge_wire()
}

/// That the owner takes the web connections of each target for what they are to it.
fn check_kinds(cluster: &Cluster, owner: &str, expected: &[(&str, &str)]) -> Result<()> {
    let listed = cluster.node(owner)?.json("connections")?;
    let web = |connection: &&Value| connection["local"] == format!("{VIP}:80");
    let web: Vec<&Value> = listed.as_array().into_iter().flatten().filter(web).collect();
    for (target, kind) in expected {
        let mut of_target = web.iter().filter(|connection| connection["target"] == *target);
        let first = of_target.next().with_context(|| format!("none with {target}: {listed}"))?;
        ensure!(first["kind"] == *kind, "{first} at {owner}");
        ensure!(of_target.all(|other| other["kind"] == *kind), "{web:?} at {owner}");
    }
    Ok(())
}

#[test]
fn takeovers_chain_without_renegotiation() {
    in_lab(|lab| {
        let moves = [("a", "b"), ("b", "a"), ("a", "b")];
        Cluster::start(lab)?.survive_takeovers(lab, &moves)
    });
}

#[test]
fn an_owner_that_is_stopped_in_order_hands_over() {
    in_lab(stop_the_owner);
}

fn stop_the_owner(lab: &Lab) -> Result<()> {
    let cluster = Cluster::start(lab)?;
    let workload = cluster.workload(lab)?;
    sleep(Duration::from_secs(1));
    cluster.node("a")?.cli("stop")?;
    cluster.wait_for_role("b", "owner")?;
    sleep(Duration::from_secs(2));
    check_survival(&workload.finish()?)?;
    cluster.check_no_renegotiation()?;
    cluster.judge_wire()
}
