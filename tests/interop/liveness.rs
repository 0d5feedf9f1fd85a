//! Liveness checks both ways (RFC 7296, section 2.4), and what becomes of a peer that is gone.

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use vipsec_lab::command::wait_for;
use vipsec_lab::probe::Prober;
use vipsec_lab::run::Lab;
use vipsec_lab::strongswan::exchanges;
use vipsec_tests::in_lab;

use crate::peers::{Peers, client, road};

/// Checks that come as they should are there in half of it; those of silence alone would not be.
const LONG: Duration = Duration::from_secs(20);

//= RFC 7296 section 1.4 #4: of a real peer
#[test]
fn we_answer_the_peers_checks() {
    in_lab(|lab| {
        let mut settings = client();
        settings.connections[0].extra = "dpd_delay = 1s".into();
        let peers = Peers::start(lab, road("dpd_s = 600", ""), &settings)?;
        stay_idle(&peers)
    });
}

#[test]
fn we_check_a_silent_peer() {
    in_lab(|lab| {
        let peers = Peers::start(lab, road("dpd_s = 1", ""), &client())?;
        stay_idle(&peers)
    });
}

/// Without traffic, empty INFORMATIONAL exchanges keep the SA.
fn stay_idle(peers: &Peers) -> Result<()> {
    peers.swan.initiate("net")?;
    wait_for_checks(peers, 2)?;
    let counts = exchanges(&peers.swan.log()?);
    ensure!(counts["IKE_SA_INIT"] == 1, "{counts:?}");
    peers.only_sa().map(|_| ())
}

/// Waits until so many checks have been made, by either side, and says how long that has taken.
pub(crate) fn wait_for_checks(peers: &Peers, wanted: u32) -> Result<Duration> {
    let began = Instant::now();
    wait_for(&format!("{wanted} checks"), LONG, || {
        let counts = exchanges(&peers.swan.log()?);
        let checks = counts.get("INFORMATIONAL").copied().unwrap_or(0);
        Ok((checks >= wanted).then(|| began.elapsed()))
    })
}

#[test]
fn traffic_makes_checks_superfluous() {
    in_lab(busy_peer);
}

/// Workers tell of traffic once a second, so the silence that counts must be longer.
fn busy_peer(lab: &Lab) -> Result<()> {
    let peers = Peers::start(lab, road("dpd_s = 2", ""), &client())?;
    peers.swan.initiate("net")?;
    let ping = peers.ping(lab)?;
    sleep(Duration::from_secs(1));
    let before = exchanges(&peers.swan.log()?);
    sleep(Duration::from_secs(5));
    let after = exchanges(&peers.swan.log()?);
    ensure!(before == after, "checked a peer that was heard all the while: {after:?}");
    crate::peers::check_unbroken(ping)
}

#[test]
fn one_sided_traffic_is_looked_into_sooner_than_silence() {
    in_lab(one_sided);
}

/// Checks of an SA that nobody uses come ever more seldom: after 1, 3, 7, 15, 25, 35, 45 s, and up to a
/// quarter more. A peer that is sent to and says nothing is asked every second or two.
fn one_sided(lab: &Lab) -> Result<()> {
    let peers = Peers::start(lab, road("dpd_s = 1", ""), &client())?;
    peers.swan.initiate("net")?;
    let silent = wait_for_checks(&peers, 3)?;
    ensure!(silent >= Duration::from_secs(6), "three checks in {silent:?} of silence");
    // Nothing of the client's reaches the host, not even that nobody listens at its port.
    peers.site.client.run("ip rule add to 10.3.0.0/24 blackhole pref 1")?;
    let to = peers.swan.virtual_address(false)?;
    let line = format!("datagram --to {to}:9 --interval-us 100000");
    let sender = Prober::start(lab, &peers.site.host, "one-sided", &line)?;
    wait_for_checks(&peers, 7)?;
    drop(sender);
    peers.only_sa().map(|_| ())
}

#[test]
fn a_peer_that_comes_back_replaces_itself() {
    in_lab(return_of_the_peer);
}

/// The peer dies without a word and connects anew: INITIAL_CONTACT removes what was left.
fn return_of_the_peer(lab: &Lab) -> Result<()> {
    let mut peers = Peers::connect(lab)?;
    peers.swan.process().kill()?;
    let socket = peers.swan.log_path().with_file_name("charon.vici");
    std::fs::remove_file(socket)?;
    peers.swan = vipsec_lab::strongswan::StrongSwan::start(lab, &peers.site.client, &client())?;
    peers.swan.initiate("net")?;
    ensure!(peers.swan.virtual_address(false)? == "10.77.0.10", "the old lease was kept");
    let ours = peers.gateway.sas()?;
    ensure!(ours.len() == 1, "the old SA was kept: {ours:?}");
    Ok(())
}
