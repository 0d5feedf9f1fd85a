//! IPv6 inside the tunnels, and IPv6 around them: what holds for IPv4 holds for it.

use std::thread::sleep;
use std::time::Duration;

use anyhow::{Result, ensure};
use vipsec_lab::capture::{Capture, Frame, NEIGHBOUR_ADVERTISEMENT, Payload, frames};
use vipsec_lab::clock::now_us;
use vipsec_lab::command::wait_for;
use vipsec_lab::flow::Window;
use vipsec_lab::run::Lab;
use vipsec_lab::topology::{self, IPV6_INSIDE, IPV6_OUTSIDE, Plan, Site};
use vipsec_tests::cluster::{Cluster, check_no_loss, check_survival};
use vipsec_tests::in_lab;

/// All nodes of the link (RFC 4291, section 2.7.1).
const ALL_NODES: &str = "ff02::1";

#[test]
fn ipv6_inside_survives_transfer_and_takeover() {
    in_lab(|lab| move_twice(lab, IPV6_INSIDE));
}

#[test]
fn ipv6_outside_survives_transfer_and_takeover() {
    in_lab(|lab| move_twice(lab, IPV6_OUTSIDE));
}

/// A transfer to b, then SIGKILL for b, under every flow of the demo.
fn move_twice(lab: &Lab, plan: Plan) -> Result<()> {
    let mut cluster = Cluster::start_on(lab, plan)?;
    let workload = cluster.workload(lab)?;
    sleep(Duration::from_secs(1));
    let began = now_us();
    cluster.transfer("a", "b")?;
    sleep(Duration::from_secs(2));
    cluster.wait_for_role("a", "ready")?;
    let transferred = now_us();
    sleep(Duration::from_secs(1));
    cluster.kill("b")?;
    cluster.wait_for_role("a", "owner")?;
    sleep(Duration::from_secs(2));
    cluster.start_again("b", "ready")?;
    sleep(Duration::from_secs(3));
    let records = workload.finish()?;
    check_survival(&records)?;
    check_no_loss(&records, Window { from_us: began, to_us: transferred })?;
    cluster.check_no_renegotiation()?;
    cluster.judge_wire()
}

#[test]
fn a_takeover_is_announced_by_unsolicited_advertisements() {
    in_lab(listen_to_a_takeover);
}

/// RFC 4861, section 7.2.6: to all nodes, in the name of the address that has moved.
fn listen_to_a_takeover(lab: &Lab) -> Result<()> {
    let site = Site::build_on(lab, IPV6_OUTSIDE)?;
    let mut nodes = topology::start_cluster(lab, &site)?;
    let (vip, patience) = (IPV6_OUTSIDE.vip, Duration::from_secs(10));
    wait_for("b to be ready", patience, || {
        Ok(nodes[1].role(vip).is_ok_and(|role| role == "ready").then_some(()))
    })?;
    let capture = Capture::start(lab, &site.switch, "outside")?;
    nodes[0].process().kill()?;
    sleep(Duration::from_secs(1));
    let hardware = site.node("b")?.hardware_address("out0")?;
    let is_announcement = |frame: &Frame| {
        frame.payload == Payload::NeighbourDiscovery { kind: NEIGHBOUR_ADVERTISEMENT }
            && frame.source.to_string() == vip
            && frame.destination.to_string() == ALL_NODES
    };
    // a may have been announcing itself until it died.
    let file = capture.finish()?;
    let told = frames(&file)?.filter(is_announcement);
    let told: Vec<Frame> = told.skip_while(|frame| frame.sender != hardware).collect();
    ensure!(told.len() >= 2, "b announced {} times: {told:?}", told.len());
    ensure!(told.iter().all(|frame| frame.sender == hardware), "a announced, too: {told:?}");
    Ok(())
}
