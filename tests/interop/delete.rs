//! Deletion of Child and IKE SA by either side, and a fresh start afterwards.

use anyhow::Result;
use vipsec_lab::command::wait_for;
use vipsec_lab::run::Lab;
use vipsec_tests::in_lab;

use crate::peers::{PATIENCE, Peers, check_unbroken};

#[test]
fn the_peer_deletes_the_ike_sa() {
    in_lab(|lab| deletes_ike(lab, |peers| peers.swan.swanctl("--terminate --ike gw").map(|_| ())));
}

#[test]
fn we_delete_the_ike_sa() {
    in_lab(|lab| deletes_ike(lab, |peers| peers.gateway.cli("terminate ike road").map(|_| ())));
}

#[test]
fn the_peer_deletes_the_child() {
    in_lab(|lab| {
        deletes_child(lab, |peers| peers.swan.swanctl("--terminate --child net").map(|_| ()))
    });
}

#[test]
fn we_delete_the_child() {
    in_lab(|lab| deletes_child(lab, |peers| peers.gateway.cli("terminate child net").map(|_| ())));
}

fn deletes_ike(lab: &Lab, delete: impl Fn(&Peers) -> Result<()>) -> Result<()> {
    let peers = Peers::connect(lab)?;
    delete(&peers)?;
    peers.wait_for_silence()?;
    works_again(lab, &peers)
}

fn deletes_child(lab: &Lab, delete: impl Fn(&Peers) -> Result<()>) -> Result<()> {
    let peers = Peers::connect(lab)?;
    delete(&peers)?;
    wait_for("both ends to have no Child SA", PATIENCE, || {
        let theirs = peers.swan.sas()?.iter().all(|sa| sa.children.is_empty());
        let none = |children: &serde_json::Value| children.as_array().is_none_or(Vec::is_empty);
        let ours = peers.gateway.sas()?.iter().all(|sa| none(&sa["children"]));
        Ok((theirs && ours).then_some(()))
    })?;
    works_again(lab, &peers)
}

/// A new tunnel, whatever is left of the old one.
fn works_again(lab: &Lab, peers: &Peers) -> Result<()> {
    peers.swan.initiate("net")?;
    peers.only_sa()?;
    let ping = peers.ping(lab)?;
    std::thread::sleep(std::time::Duration::from_secs(1));
    check_unbroken(ping)
}
