//! Death is silence: a node whose process is gone does not answer for the VIP by its kernel.

use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Result, ensure};
use vipsec_lab::capture::{Capture, Frame, NEIGHBOUR_ADVERTISEMENT, Payload, frames};
use vipsec_lab::command::output_of;
use vipsec_lab::probe::Prober;
use vipsec_lab::run::Lab;
use vipsec_lab::topology::{self, IPV4, IPV6_OUTSIDE, Plan, Site};
use vipsec_tests::cluster::Cluster;
use vipsec_tests::in_lab;

#[test]
fn a_dead_node_says_nothing_for_the_vip() {
    in_lab(|lab| knock_at_the_dead(lab, IPV4));
}

#[test]
fn a_dead_node_says_nothing_for_an_ipv6_vip() {
    in_lab(|lab| knock_at_the_dead(lab, IPV6_OUTSIDE));
}

/// Kills all vipsec processes, then asks for the VIP in every way that a kernel would answer.
fn knock_at_the_dead(lab: &Lab, plan: Plan) -> Result<()> {
    let site = Site::build_on(lab, plan)?;
    let mut nodes = topology::start_cluster(lab, &site)?;
    sleep(Duration::from_secs(1));
    ensure!(claims(lab, &site)? > 0, "a living owner does not claim its VIP");
    for node in &mut nodes {
        node.process().kill()?;
    }
    ensure!(claims(lab, &site)? == 0, "a dead node claims the VIP");
    for name in ["a", "b"] {
        let answers = answers_of(lab, &site, name)?;
        ensure!(answers.is_empty(), "dead {name} answers for the VIP: {answers:?}");
    }
    Ok(())
}

/// Asks for the VIP on the outside by ARP or neighbour solicitation and counts the answers.
fn claims(lab: &Lab, site: &Site) -> Result<usize> {
    let capture = Capture::start(lab, &site.switch, "outside")?;
    site.client.ip("neigh flush dev out0")?;
    knock(site)?;
    let is_answer = |frame: &Frame| {
        let kind = NEIGHBOUR_ADVERTISEMENT;
        let claims = [Payload::Arp { operation: 2 }, Payload::NeighbourDiscovery { kind }];
        frame.source.to_string() == site.plan.vip && claims.contains(&frame.payload)
    };
    Ok(frames(&capture.finish()?)?.filter(is_answer).count())
}

/// Sends TCP, UDP and ICMP for the VIP straight to the hardware address of a node and collects
/// what comes back in the VIP's name.
fn answers_of(lab: &Lab, site: &Site, name: &str) -> Result<Vec<Frame>> {
    let hardware = site.node(name)?.hardware_address("out0")?;
    let written: Vec<String> = hardware.iter().map(|byte| format!("{byte:02x}")).collect();
    let capture = Capture::start(lab, &site.switch, "outside")?;
    let vip = site.plan.vip;
    site.client
        .ip(&format!("neigh replace {vip} lladdr {} dev out0 nud permanent", written.join(":")))?;
    knock(site)?;
    site.client.ip(&format!("neigh del {vip} dev out0"))?;
    let is_answer = |frame: &Frame| frame.sender == hardware && frame.source.to_string() == vip;
    Ok(frames(&capture.finish()?)?.filter(is_answer).collect())
}

/// A ping, a TCP connection attempt and datagrams to the ports of IKE and to a closed one.
fn knock(site: &Site) -> Result<()> {
    let (client, vip) = (&site.client, site.plan.vip);
    // None of them is expected to succeed.
    let _ = client.run(&format!("ping -c 2 -i 0.2 -W 1 {vip}"));
    let script = format!(
        "for port in 500 4500 5002 9; do echo x > /dev/udp/{vip}/$port; done; \
         for port in 80 81; do timeout 1 bash -c \"echo > /dev/tcp/{vip}/$port\"; done; true"
    );
    let mut command: Command = client.command("bash");
    output_of(command.args(["-c", &script])).map(|_| ())
}

#[test]
fn a_stopped_process_leaves_its_connections_to_whoever_owns_the_vip() {
    in_lab(freeze_the_owner);
}

/// SIGSTOP, which no process can prepare for: the owner stops, the backup takes over, and the old
/// owner is deposed when it wakes up.
fn freeze_the_owner(lab: &Lab) -> Result<()> {
    let mut cluster = Cluster::start(lab)?;
    let ping_line = format!("ping --to {}", topology::HOST);
    let mut ping = Prober::start(lab, &cluster.site.client, "ping", &ping_line)?;
    ping.wait_until_flowing(1)?;
    cluster.node_mut("a")?.process().suspend()?;
    cluster.wait_for_role("b", "owner")?;
    sleep(Duration::from_secs(1));
    cluster.node_mut("a")?.process().resume()?;
    cluster.wait_for_role("a", "ready")?;
    sleep(Duration::from_secs(1));
    ping.finish()?;
    cluster.check_no_renegotiation()?;
    // What it had sealed before it was stopped may still leave when it wakes up, late; but never
    // with a key and IV that somebody else uses, and never in clear.
    let verdict = cluster.verdict()?;
    ensure!(verdict.repeated.count == 0 && verdict.clear.count == 0, "{verdict:?}");
    Ok(())
}
