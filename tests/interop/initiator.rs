//! vipsec initiates, strongSwan answers: site to site.

use anyhow::{Result, ensure};
use vipsec_lab::command::wait_for;
use vipsec_lab::probe::Prober;
use vipsec_lab::run::Lab;
use vipsec_lab::strongswan::{Child, Connection, IkeSa, Settings, exchanges};
use vipsec_lab::topology::{self, HOST, INNER_VIP, IPV4, Site};
use vipsec_tests::in_lab;

use crate::liveness::wait_for_checks;
use crate::peers::{PATIENCE, Pair, Peers, check_unbroken, vip_head};

pub(crate) const BRANCH: &str = "10.8.0.1";

/// How both sides call a child, and each the connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Names {
    pub(crate) child: &'static str,
    pub(crate) theirs: &'static str,
    pub(crate) ours: &'static str,
}

/// Of [`branch`] and [`responder`].
pub(crate) const NAMES: Names = Names { child: "lan", theirs: "hq", ours: "branch" };

/// A connection that vipsec opens, at start or by command.
pub(crate) fn branch(start: &str) -> String {
    format!(
        "{}[[vip.connection]]\nname = \"branch\"\nlocal_id = \"gw@test\"\n\
         remote_id = \"branch@test\"\npsk = \"topsecretpsk\"\nremote = \"{}\"\n\
         start = \"{start}\"\n[[vip.connection.child]]\nname = \"lan\"\n\
         local = [\"10.3.0.0/24\"]\nremote = [\"10.8.0.0/24\"]\n",
        vip_head(),
        topology::CLIENT
    )
}

pub(crate) fn responder() -> Settings {
    let mut settings = topology::client_settings(&IPV4, false);
    let road = settings.connections.remove(0);
    let child = Child {
        name: "lan".into(),
        local: "10.8.0.0/24".into(),
        remote: "10.3.0.0/24".into(),
        proposal: "aes256gcm16-noesn,aes128gcm16-noesn".into(),
        extra: String::new(),
    };
    let connection = Connection {
        name: "hq".into(),
        local_id: "branch@test".into(),
        request: String::new(),
        children: vec![child],
        ..road
    };
    settings.connections.push(connection);
    settings
}

//= RFC 7296 section 4 #3: with a real peer
#[test]
fn a_site_is_connected_at_start() {
    in_lab(|lab| connects(lab, "at-start"));
}

#[test]
fn a_site_is_connected_by_command() {
    in_lab(|lab| connects(lab, "never"));
}

/// The network with a way to the peer's side.
pub(crate) fn site(lab: &Lab) -> Result<Site> {
    let site = Site::build(lab)?;
    site.client.address("lo", &format!("{BRANCH}/32"))?;
    site.host.ip(&format!("route add 10.8.0.0/24 via {INNER_VIP}"))?;
    Ok(site)
}

fn connects(lab: &Lab, start: &str) -> Result<()> {
    let peers = Peers::start_in(lab, site(lab)?, branch(start), &responder())?;
    if start == "never" {
        ensure!(peers.swan.sas()?.is_empty(), "nobody asked for a tunnel");
        initiate(&peers)?;
    }
    let sa = wait_for("the tunnel", PATIENCE, || Ok(peers.only_sa().ok()))?;
    ensure!(sa.children[0].name == "lan", "{sa:?}");
    let ping = ping(lab, &peers, "ping")?;
    std::thread::sleep(std::time::Duration::from_secs(1));
    check_unbroken(ping)?;
    answers(&peers)
}

/// Brings the tunnel up by command.
pub(crate) fn initiate(peers: &Peers) -> Result<IkeSa> {
    peers.gateway.cli("initiate branch lan")?;
    peers.only_sa()
}

/// A continuous ping from our side to the peer's.
fn ping(lab: &Lab, peers: &Peers, name: &str) -> Result<Prober> {
    let mut ping = Prober::start(lab, &peers.site.host, name, &format!("ping --to {BRANCH}"))?;
    ping.wait_until_flowing(1)?;
    Ok(ping)
}

/// The peer's side reaches ours.
pub(crate) fn answers(peers: &Peers) -> Result<()> {
    let back = peers.site.client.run(&format!("ping -c 3 -i 0.2 -I {BRANCH} {HOST}"))?;
    ensure!(back.contains(" 0% packet loss"), "{back}");
    Ok(())
}

#[test]
fn what_we_have_initiated_is_rekeyed_by_either_side_and_moves() {
    in_lab(rekeys);
}

fn rekeys(lab: &Lab) -> Result<()> {
    // A Child SA that was replaced is not listed for long.
    let settings = Settings { extra: "delete_rekeyed_delay = 1".into(), ..responder() };
    let mut pair = Pair::start_in(lab, site(lab)?, &branch("never"), &settings)?;
    initiate(&pair.peers)?;
    let before = ping(lab, &pair.peers, "before")?;
    rekey_all(&pair.peers, NAMES)?;
    let sa = pair.peers.only_sa()?;
    pair.transfer()?;
    ensure!(pair.peers.only_sa()?.spis == sa.spis, "the transfer has cost the IKE SA");
    rekey_all(&pair.peers, NAMES)?;
    check_unbroken(before)?;
    let sa = pair.peers.only_sa()?;
    pair.take_over()?;
    drop(ping(lab, &pair.peers, "between")?);
    ensure!(pair.peers.only_sa()?.spis == sa.spis, "the takeover has cost the IKE SA");
    let after = ping(lab, &pair.peers, "after")?;
    rekey_all(&pair.peers, NAMES)?;
    check_unbroken(after)?;
    let counts = exchanges(&pair.peers.swan.log()?);
    ensure!(counts["IKE_SA_INIT"] == 1 && counts["IKE_AUTH"] == 1, "{counts:?}");
    answers(&pair.peers)
}

/// Every kind of rekey. Who begins one is the initiator of the IKE SA that it makes, so each kind
/// comes after each.
pub(crate) fn rekey_all(peers: &Peers, names: Names) -> Result<()> {
    let Names { child: name, theirs, ours } = names;
    let child = |sa: &IkeSa| sa.children[0].spi_in.clone();
    let ike = |sa: &IkeSa| format!("{:?}", sa.spis);
    renews(peers, || peers.swan.swanctl(&format!("--rekey --child {name}")), child)?;
    renews(peers, || peers.gateway.cli(&format!("rekey child {name}")), child)?;
    renews(peers, || peers.swan.swanctl(&format!("--rekey --ike {theirs}")), ike)?;
    renews(peers, || peers.swan.swanctl(&format!("--rekey --child {name}")), child)?;
    renews(peers, || peers.gateway.cli(&format!("rekey child {name}")), child)?;
    renews(peers, || peers.gateway.cli(&format!("rekey ike {ours}")), ike)
}

/// Does something that gives the peers another SA, by what `name` takes as its name.
fn renews(
    peers: &Peers,
    renew: impl FnOnce() -> Result<String>,
    name: impl Fn(&IkeSa) -> String,
) -> Result<()> {
    let before = name(&peers.only_sa()?);
    renew()?;
    wait_for(&format!("another SA than {before}, alone"), PATIENCE, || {
        let ours = peers.gateway.sas()?;
        let children = |sa: &serde_json::Value| sa["children"].as_array().map(Vec::len);
        let alone = ours.len() == 1 && children(&ours[0]) == Some(1);
        Ok((alone && name(&peers.only_sa()?) != before).then_some(()))
    })
}

#[test]
fn what_we_have_initiated_is_deleted_by_either_side() {
    in_lab(deletes);
}

fn deletes(lab: &Lab) -> Result<()> {
    type Delete = fn(&Peers) -> Result<String>;
    let children: [Delete; 2] = [
        |peers| peers.swan.swanctl("--terminate --child lan"),
        |peers| peers.gateway.cli("terminate child lan"),
    ];
    let ike_sas: [Delete; 2] = [
        |peers| peers.swan.swanctl("--terminate --ike hq"),
        |peers| peers.gateway.cli("terminate ike branch"),
    ];
    let peers = Peers::start_in(lab, site(lab)?, branch("never"), &responder())?;
    initiate(&peers)?;
    for delete in children {
        delete(&peers)?;
        wait_for("both ends to have no Child SA", PATIENCE, || {
            let theirs = peers.swan.sas()?.iter().all(|sa| sa.children.is_empty());
            let none = |sa: &serde_json::Value| sa["children"].as_array().is_none_or(Vec::is_empty);
            Ok((theirs && peers.gateway.sas()?.iter().all(none)).then_some(()))
        })?;
        initiate(&peers)?;
    }
    for delete in ike_sas {
        delete(&peers)?;
        peers.wait_for_silence()?;
        initiate(&peers)?;
    }
    answers(&peers)
}

#[test]
fn we_check_a_silent_peer_that_we_have_called() {
    in_lab(|lab| checks(lab, "1", "600s"));
}

#[test]
fn we_answer_the_checks_of_a_peer_that_we_have_called() {
    in_lab(|lab| checks(lab, "600", "1s"));
}

/// Without traffic, empty INFORMATIONAL exchanges keep the SA.
fn checks(lab: &Lab, ours: &str, theirs: &str) -> Result<()> {
    let mut settings = responder();
    settings.connections[0].extra = format!("dpd_delay = {theirs}");
    let begin = "start = \"never\"";
    let vips = branch("never").replace(begin, &format!("{begin}\ndpd_s = {ours}"));
    let peers = Peers::start_in(lab, site(lab)?, vips, &settings)?;
    let before = initiate(&peers)?;
    wait_for_checks(&peers, 2)?;
    let counts = exchanges(&peers.swan.log()?);
    ensure!(counts["IKE_SA_INIT"] == 1, "{counts:?}");
    ensure!(peers.only_sa()?.spis == before.spis, "another IKE SA");
    Ok(())
}
