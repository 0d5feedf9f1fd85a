//! The VIP moves, by command and by death; the client's log, the flows and the wire are witnesses.

use std::thread::sleep;
use std::time::Duration;

use anyhow::Result;
use vipsec_lab::clock::now_us;
use vipsec_lab::flow::Window;
use vipsec_lab::run::Lab;
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
    cluster.transfer("a", "b")?;
    sleep(Duration::from_secs(2));
    cluster.wait_for_role("a", "ready")?;
    cluster.transfer("b", "a")?;
    sleep(Duration::from_secs(2));
    let records = workload.finish()?;
    check_survival(&records)?;
    check_no_loss(&records, Window { from_us: began, to_us: now_us() })?;
    cluster.check_no_renegotiation()?;
    cluster.judge_wire()
}

#[test]
fn takeovers_chain_without_renegotiation() {
    in_lab(three_takeovers);
}

fn three_takeovers(lab: &Lab) -> Result<()> {
    let mut cluster = Cluster::start(lab)?;
    let workload = cluster.workload(lab)?;
    for (owner, backup) in [("a", "b"), ("b", "a"), ("a", "b")] {
        sleep(Duration::from_secs(2));
        cluster.kill(owner)?;
        cluster.wait_for_role(backup, "owner")?;
        sleep(Duration::from_secs(2));
        cluster.start_again(owner, "ready")?;
    }
    sleep(Duration::from_secs(3));
    check_survival(&workload.finish()?)?;
    cluster.check_no_renegotiation()?;
    cluster.judge_wire()
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
