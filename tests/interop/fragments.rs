//! IKE messages in fragments (RFC 7383) with strongSwan, in both roles, before and after a takeover.
//! Many traffic selectors make the messages of IKE_AUTH and of a Child SA's rekey longer than the 576
//! octets that both ends are told to keep to.

use anyhow::{Result, ensure};
use vipsec_lab::command::wait_for;
use vipsec_lab::run::Lab;
use vipsec_lab::strongswan::{Settings, exchanges};
use vipsec_lab::topology::Site;
use vipsec_tests::in_lab;

use crate::initiator::{self, branch, initiate, responder};
use crate::peers::{PATIENCE, Pair, Peers, client, road};

/// What both sides protect: the network of the host, and forty more.
fn networks() -> Vec<String> {
    let more = (0..40).map(|number| format!("10.100.{number}.0/24"));
    std::iter::once("10.3.0.0/24".to_owned()).chain(more).collect()
}

/// The gateway's section with all networks, and short fragments.
fn long(vips: &str) -> String {
    vips.replacen("local = [\"10.3.0.0/24\"]", &format!("local = {:?}", networks()), 1).replacen(
        "interface",
        "fragment_size = 576\ninterface",
        1,
    )
}

/// The same for the peer, with lines for the daemon and the connection.
fn settings(mut settings: Settings, daemon: &str, connection: &str) -> Settings {
    settings.extra = format!("delete_rekeyed_delay = 1\n  {daemon}");
    settings.connections[0].extra = connection.into();
    settings.connections[0].children[0].remote = networks().join(",");
    settings
}

/// How many messages the peer has split, and how many it has put together from the first fragment on.
fn split_and_joined(peers: &Peers) -> Result<(usize, usize)> {
    let log = peers.swan.log()?;
    let count = |sign: &str| log.lines().filter(|line| line.contains(sign)).count();
    Ok((count("splitting IKE message"), count("received fragment #1 of ")))
}

#[test]
fn both_sides_split_what_the_peer_begins() {
    in_lab(|lab| {
        let client = settings(client(), "fragment_size = 576", "fragmentation = yes");
        let pair = Pair::start_in(lab, Site::build(lab)?, &long(&road("", "")), &client)?;
        pair.peers.swan.initiate("net")?;
        lives_on(pair, "net")
    });
}

#[test]
fn both_sides_split_what_we_begin() {
    in_lab(|lab| {
        let responder = settings(responder(), "fragment_size = 576", "fragmentation = yes");
        let vips = long(&branch("never"));
        let pair = Pair::start_in(lab, initiator::site(lab)?, &vips, &responder)?;
        initiate(&pair.peers)?;
        lives_on(pair, "lan")
    });
}

/// The Child SA is rekeyed from both sides, before and after a takeover, and all of it in fragments.
fn lives_on(mut pair: Pair, child: &str) -> Result<()> {
    let (split, joined) = split_and_joined(&pair.peers)?;
    ensure!(split >= 1 && joined >= 1, "IKE_AUTH: {split} split, {joined} joined");
    rekeys(&pair.peers, child)?;
    pair.take_over()?;
    rekeys(&pair.peers, child)?;
    let counts = exchanges(&pair.peers.swan.log()?);
    ensure!(counts["IKE_SA_INIT"] == 1, "{counts:?}");
    Ok(())
}

fn rekeys(peers: &Peers, child: &str) -> Result<()> {
    let by_the_peer = || peers.swan.swanctl(&format!("--rekey --child {child}"));
    let by_us = || peers.gateway.cli(&format!("rekey child {child}"));
    for rekey in [&by_the_peer as &dyn Fn() -> Result<String>, &by_us] {
        let before = (peers.only_sa()?.children[0].spi_in.clone(), split_and_joined(peers)?);
        rekey()?;
        wait_for("the rekey of the child", PATIENCE, || {
            let renewed = peers.only_sa()?.children[0].spi_in != before.0;
            Ok(renewed.then_some(()))
        })?;
        let (split, joined) = split_and_joined(peers)?;
        ensure!(split > before.1.0 && joined > before.1.1, "{split} split, {joined} joined");
    }
    Ok(())
}

#[test]
fn a_peer_gets_fragments_if_it_takes_them() {
    in_lab(takes_or_not);
}

/// The peer's own messages are shorter than what it may send in one.
fn takes_or_not(lab: &Lab) -> Result<()> {
    let takes = settings(client(), "fragment_size = 1400", "fragmentation = accept");
    let peers = Peers::start(lab, long(&road("", "")), &takes)?;
    peers.swan.initiate("net")?;
    peers.only_sa()?;
    let (split, joined) = split_and_joined(&peers)?;
    ensure!(split == 0 && joined == 1, "{split} split, {joined} joined");
    peers.swan.swanctl("--terminate --ike gw")?;
    peers.wait_for_silence()?;
    let takes_none = settings(client(), "", "fragmentation = no");
    peers.swan.load(&takes_none)?;
    peers.swan.initiate("net")?;
    peers.only_sa()?;
    ensure!(split_and_joined(&peers)? == (0, 1), "a fragment for a peer that takes none");
    Ok(())
}
