//! A process that comes back takes over from itself.

use std::thread::sleep;
use std::time::Duration;

use anyhow::Result;
use vipsec_lab::probe::Prober;
use vipsec_lab::run::Lab;
use vipsec_lab::topology::HOST;
use vipsec_lab::workload::Records;
use vipsec_tests::cluster::{Cluster, check_survival};
use vipsec_tests::in_lab;

#[test]
fn a_single_gateway_keeps_its_tunnels_through_kill_and_restart() {
    in_lab(kill_a_single_gateway);
}

fn kill_a_single_gateway(lab: &Lab) -> Result<()> {
    let mut cluster = Cluster::start_single(lab)?;
    let line = format!("serve --node s --listen echo={HOST}:7000");
    let server = Prober::start(lab, &cluster.site.host, "server", &line)?;
    let mut echo =
        Prober::start(lab, &cluster.site.client, "echo", &format!("echo --to {HOST}:7000"))?;
    let mut ping = Prober::start(lab, &cluster.site.client, "ping", &format!("ping --to {HOST}"))?;
    echo.wait_until_flowing(1)?;
    ping.wait_until_flowing(1)?;
    for _ in 0..2 {
        sleep(Duration::from_secs(2));
        cluster.kill("a")?;
        cluster.start_again("a", "owner")?;
    }
    sleep(Duration::from_secs(3));
    let mut records = Records { flows: echo.finish()?, servers: Vec::new() };
    records.flows.extend(ping.finish()?);
    drop(server);
    check_survival(&records)?;
    cluster.check_no_renegotiation()?;
    cluster.judge_wire()
}

#[test]
fn all_nodes_at_once_come_back_with_every_connection() {
    in_lab(restart_all);
}

fn restart_all(lab: &Lab) -> Result<()> {
    let mut cluster = Cluster::start(lab)?;
    let workload = cluster.workload(lab)?;
    sleep(Duration::from_secs(1));
    for node in &mut cluster.nodes {
        node.process().kill()?;
    }
    for node in &mut cluster.nodes {
        node.process().start_again()?;
    }
    for node in &mut cluster.nodes {
        node.wait_until_up()?;
    }
    sleep(Duration::from_secs(5));
    check_survival(&workload.finish()?)?;
    cluster.check_no_renegotiation()?;
    cluster.judge_wire()
}
