//! MOBIKE (RFC 4555) with strongSwan in both roles: a client that changes its address, and a responder
//! that loses the one that it was reached at, each with a takeover in between.

use std::fs::read_to_string;

use anyhow::{Result, ensure};
use vipsec_lab::command::wait_for;
use vipsec_lab::netns::Namespace;
use vipsec_lab::probe::Prober;
use vipsec_lab::run::Lab;
use vipsec_lab::strongswan::{Settings, exchanges};
use vipsec_lab::topology::{CLIENT, Site};
use vipsec_tests::in_lab;

use crate::initiator::{self, branch, responder};
use crate::peers::{PATIENCE, Pair, Peers, client, road};

/// Where strongSwan is besides.
const ELSEWHERE: &str = "192.0.2.51";

/// A peer that is not bound to an address of its own.
fn wandering(mut settings: Settings) -> Settings {
    let connection = &mut settings.connections[0];
    connection.local = String::new();
    connection.extra = "mobike = yes".into();
    settings
}

fn wait_until_at(peers: &Peers, address: &str) -> Result<()> {
    wait_for(&format!("the peer to be at {address}"), PATIENCE, || {
        let sas = peers.gateway.sas()?;
        let remote = sas.first().and_then(|sa| sa["remote"].as_str());
        let there = remote.is_some_and(|remote| remote.starts_with(&format!("{address}:")));
        Ok(there.then_some(()))
    })
}

/// The peer gives its address up for another.
fn move_to(site: &Site, from: &str, to: &str) -> Result<()> {
    site.client.address("out0", &format!("{to}/24"))?;
    site.client.ip(&format!("address del {from}/24 dev out0")).map(|_| ())
}

/// Without this an address in the same network as the first goes with it.
fn keep_others(site: &Site) -> Result<()> {
    site.client.sysctl("net.ipv4.conf.all.promote_secondaries", "1")
}

/// Waits until a new ping has its first answer.
fn flows(lab: &Lab, from: &Namespace, to: &str, stage: &str) -> Result<()> {
    let mut ping = Prober::start(lab, from, stage, &format!("ping --to {to}"))?;
    ping.wait_until_flowing(1)
}

/// Nothing was negotiated anew, and the peer was told of no node's own address.
fn check_log(pair: &Pair) -> Result<()> {
    let log = pair.peers.swan.log()?;
    let counts = exchanges(&log);
    ensure!(counts["IKE_SA_INIT"] == 1 && counts["IKE_AUTH"] == 1, "{counts:?}");
    let told = |line: &&str| line.contains("[ENC]") && line.contains("parsed");
    let mut told = log.lines().filter(told);
    ensure!(log.contains("N(MOBIKE_SUP)"), "no MOBIKE: {log}");
    let address = told.find(|line| line.contains("ADD_4_ADDR") || line.contains("ADD_6_ADDR"));
    ensure!(address.is_none(), "{address:?}");
    Ok(())
}

#[test]
fn a_client_moves_before_and_after_a_takeover() {
    in_lab(client_moves);
}

fn client_moves(lab: &Lab) -> Result<()> {
    let site = Site::build(lab)?;
    keep_others(&site)?;
    let host = site.plan.host;
    let mut pair = Pair::start_in(lab, site, &road("", ""), &wandering(client()))?;
    pair.peers.swan.initiate("net")?;
    move_to(&pair.peers.site, CLIENT, ELSEWHERE)?;
    wait_until_at(&pair.peers, ELSEWHERE)?;
    flows(lab, &pair.peers.site.client, host, "moved")?;
    pair.take_over()?;
    wait_until_at(&pair.peers, ELSEWHERE)?;
    flows(lab, &pair.peers.site.client, host, "taken-over")?;
    move_to(&pair.peers.site, ELSEWHERE, CLIENT)?;
    wait_until_at(&pair.peers, CLIENT)?;
    flows(lab, &pair.peers.site.client, host, "back")?;
    pair.peers.swan.swanctl("--rekey --ike gw")?;
    // For a moment the child is of neither IKE SA.
    wait_for("the rekey of the child", PATIENCE, || {
        Ok(pair.peers.swan.swanctl("--rekey --child net").is_ok().then_some(()))
    })?;
    flows(lab, &pair.peers.site.client, host, "rekeyed")?;
    let events = read_to_string(pair.peers.gateway.log_path())?;
    ensure!(events.contains("peer-moved"), "{events}");
    check_log(&pair)
}

#[test]
fn a_responder_is_reached_at_its_other_address() {
    in_lab(responder_moves);
}

fn responder_moves(lab: &Lab) -> Result<()> {
    let site = initiator::site(lab)?;
    keep_others(&site)?;
    site.client.address("out0", &format!("{ELSEWHERE}/24"))?;
    let vips = branch("never").replace("start = ", "dpd_s = 1\nstart = ");
    let mut pair = Pair::start_in(lab, site, &vips, &wandering(responder()))?;
    pair.peers.gateway.cli("initiate branch lan")?;
    pair.peers.only_sa()?;
    pair.peers.site.client.ip(&format!("address del {CLIENT}/24 dev out0"))?;
    wait_until_at(&pair.peers, ELSEWHERE)?;
    flows(lab, &pair.peers.site.host, initiator::BRANCH, "moved")?;
    pair.take_over()?;
    wait_until_at(&pair.peers, ELSEWHERE)?;
    flows(lab, &pair.peers.site.host, initiator::BRANCH, "taken-over")?;
    pair.peers.swan.swanctl("--rekey --child lan")?;
    flows(lab, &pair.peers.site.host, initiator::BRANCH, "rekeyed")?;
    check_log(&pair)
}
