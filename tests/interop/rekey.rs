//! Rekeying of Child and IKE SA, begun by either side, under traffic.

use anyhow::{Result, ensure};
use vipsec_lab::command::wait_for;
use vipsec_lab::run::Lab;
use vipsec_lab::strongswan::exchanges;
use vipsec_tests::in_lab;

use crate::peers::{PATIENCE, Peers, check_unbroken};

#[test]
fn the_peer_rekeys_the_child() {
    in_lab(|lab| rekeys_child(lab, |peers| peers.swan.swanctl("--rekey --child net").map(|_| ())));
}

#[test]
fn we_rekey_the_child() {
    in_lab(|lab| rekeys_child(lab, |peers| peers.gateway.cli("rekey child net").map(|_| ())));
}

#[test]
fn the_peer_rekeys_the_ike_sa() {
    in_lab(|lab| rekeys_ike(lab, |peers| peers.swan.swanctl("--rekey --ike gw").map(|_| ())));
}

#[test]
fn we_rekey_the_ike_sa() {
    in_lab(|lab| rekeys_ike(lab, |peers| peers.gateway.cli("rekey ike road").map(|_| ())));
}

fn rekeys_child(lab: &Lab, rekey: impl Fn(&Peers) -> Result<()>) -> Result<()> {
    let peers = Peers::connect(lab)?;
    let ping = peers.ping(lab)?;
    for _ in 0..3 {
        let before = peers.only_sa()?;
        rekey(&peers)?;
        let after = wait_for("a new Child SA", PATIENCE, || {
            let sa = peers.only_sa()?;
            Ok((sa.children[0].spi_in != before.children[0].spi_in).then_some(sa))
        })?;
        ensure!(after.spis == before.spis, "the IKE SA changed, too");
        ensure!(after.children[0].spi_out != before.children[0].spi_out, "half a rekey");
    }
    check_unbroken(ping)?;
    ensure!(exchanges(&peers.swan.log()?)["IKE_SA_INIT"] == 1, "the peer began anew");
    Ok(())
}

fn rekeys_ike(lab: &Lab, rekey: impl Fn(&Peers) -> Result<()>) -> Result<()> {
    let peers = Peers::connect(lab)?;
    let ping = peers.ping(lab)?;
    for _ in 0..3 {
        let before = peers.only_sa()?;
        rekey(&peers)?;
        let after = wait_for("a new IKE SA", PATIENCE, || {
            let sa = peers.only_sa()?;
            Ok((sa.spis != before.spis).then_some(sa))
        })?;
        ensure!(after.children[0].spi_in == before.children[0].spi_in, "the child changed, too");
    }
    check_unbroken(ping)?;
    ensure!(exchanges(&peers.swan.log()?)["IKE_SA_INIT"] == 1, "the peer began anew");
    Ok(())
}
