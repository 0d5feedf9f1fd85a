//! Nothing that belongs in a tunnel leaves in clear because a process died; only an explicit
//! command opens the fence.

use std::thread::sleep;
use std::time::Duration;

use anyhow::{Result, ensure};
use vipsec_lab::netns::Namespace;
use vipsec_lab::run::Lab;
use vipsec_lab::topology::POOL;
use vipsec_tests::cluster::Cluster;
use vipsec_tests::in_lab;

#[test]
fn dead_gateways_and_targets_let_nothing_out() {
    in_lab(kill_everything_under_load);
}

/// Kills all processes while hosts on both sides go on talking, and looks at the wire.
fn kill_everything_under_load(lab: &Lab) -> Result<()> {
    let mut cluster = Cluster::start(lab)?;
    let workload = cluster.workload(lab)?;
    sleep(Duration::from_secs(1));
    for node in &mut cluster.nodes {
        node.process().kill()?;
    }
    // The gateways still route, the applications still answer: only the fence is left.
    for name in ["a", "b"] {
        let node = cluster.site.node(name)?;
        cluster.site.host.ip(&format!("route replace {POOL} via {}", inside(node)?))?;
        sleep(Duration::from_secs(2));
    }
    drop(workload);
    cluster.judge_wire()
}

/// A node's own address on the inside.
fn inside(node: &Namespace) -> Result<String> {
    let shown = node.ip("-4 -o address show dev in0")?;
    let address = shown.split_whitespace().find(|word| word.starts_with("10.3.0."));
    let address = address.and_then(|word| word.split('/').next());
    address.map(str::to_owned).ok_or_else(|| anyhow::anyhow!("no inside address: {shown}"))
}

#[test]
fn only_an_explicit_command_opens_the_fence() {
    in_lab(stop_and_stop_open);
}

fn stop_and_stop_open(lab: &Lab) -> Result<()> {
    let mut cluster = Cluster::start_single(lab)?;
    cluster.node("a")?.cli("stop")?;
    let gateway = cluster.site.node("a")?.clone();
    ensure!(is_fenced(&gateway)?, "an ordinary stop has opened the fence");
    cluster.start_again("a", "owner")?;
    cluster.node("a")?.cli("stop --open")?;
    ensure!(!is_fenced(&gateway)?, "stop --open has left the fence");
    let left = gateway.ip("-o link show")?;
    ensure!(!left.contains("tun"), "a TUN is left: {left}");
    Ok(())
}

/// Whether a packet to a client's address has nowhere to go.
fn is_fenced(gateway: &Namespace) -> Result<bool> {
    let routes = gateway.ip("route show table all")?;
    let rules = gateway.run("nft list ruleset")?;
    let blackholes = routes.lines().any(|line| {
        line.starts_with("blackhole 10.77.0.") || line.starts_with("unreachable 10.77.0.")
    });
    Ok(blackholes || rules.contains("10.77.0."))
}
