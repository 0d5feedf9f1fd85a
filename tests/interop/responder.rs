//! strongSwan initiates, vipsec answers: algorithms, and refusals that the peer understands.

use anyhow::{Result, ensure};
use vipsec_lab::run::Lab;
use vipsec_lab::strongswan::{Credential, Settings};
use vipsec_tests::in_lab;

use crate::peers::{Peers, check_unbroken, client, road};

const IKE: &str = "proposals = [\"aes256gcm16-prfsha256-x25519\", \"aes128-sha256-modp2048\", \
                   \"aes128gcm16-prfsha384-ecp256\"]";
const ESP: &str = "proposals = [\"aes256gcm16\", \"aes128-sha256\", \"aes128gcm16\"]";

#[test]
fn a_tunnel_carries_data_with_aes_gcm_and_x25519() {
    in_lab(|lab| carries_data(lab, "aes256gcm16-prfsha256-x25519", "aes256gcm16-noesn"));
}

#[test]
fn a_tunnel_carries_data_with_aes_cbc_and_modp2048() {
    in_lab(|lab| carries_data(lab, "aes128-sha256-modp2048", "aes128-sha256-noesn"));
}

#[test]
fn a_tunnel_carries_data_with_aes128_gcm_and_p256() {
    in_lab(|lab| carries_data(lab, "aes128gcm16-prfsha384-ecp256", "aes128gcm16-noesn"));
}

fn carries_data(lab: &Lab, ike: &str, esp: &str) -> Result<()> {
    let mut settings = client();
    settings.connections[0].proposal = ike.into();
    settings.connections[0].children[0].proposal = esp.into();
    let peers = Peers::start(lab, road(IKE, ESP), &settings)?;
    peers.swan.initiate("net")?;
    ensure!(peers.swan.virtual_address()? == "10.77.0.10");
    let ping = peers.ping(lab)?;
    std::thread::sleep(std::time::Duration::from_secs(1));
    check_unbroken(ping)?;
    let ours = peers.gateway.sas()?;
    let theirs = peers.only_sa()?;
    ensure!(ours.len() == 1, "{ours:?}");
    let child = &ours[0]["children"][0];
    let spi_in = child["spi_in"].as_str().unwrap_or_default().trim_start_matches("0x");
    ensure!(spi_in == theirs.children[0].spi_out, "{child} is not {theirs:?}");
    Ok(())
}

#[test]
fn a_wrong_key_is_answered_with_authentication_failed() {
    in_lab(|lab| {
        let mut settings = client();
        settings.connections[0].credential = Credential::SharedKey("another".into());
        is_refused(lab, &settings, "AUTHENTICATION_FAILED")
    });
}

#[test]
fn foreign_algorithms_are_answered_with_no_proposal_chosen() {
    in_lab(|lab| {
        let mut settings = client();
        settings.connections[0].proposal = "aes256-sha512-ecp521".into();
        is_refused(lab, &settings, "NO_PROPOSAL_CHOSEN")
    });
}

#[test]
fn foreign_selectors_are_answered_with_ts_unacceptable() {
    in_lab(|lab| {
        let mut settings = client();
        settings.connections[0].children[0].remote = "172.16.0.0/24".into();
        is_refused(lab, &settings, "TS_UNACCEPT")
    });
}

fn is_refused(lab: &Lab, settings: &Settings, notify: &str) -> Result<()> {
    let peers = Peers::start(lab, road("", ""), settings)?;
    ensure!(peers.swan.initiate("net").is_err(), "the peer was let in");
    let log = peers.swan.log()?;
    ensure!(log.contains(notify), "the peer was not told {notify}:\n{log}");
    Ok(())
}

#[test]
fn another_group_is_asked_for_with_invalid_ke_payload() {
    in_lab(|lab| {
        let mut settings = client();
        // The key exchange value is of the first proposal, which vipsec does not take.
        settings.connections[0].proposal =
            "aes256gcm16-prfsha256-modp3072,aes256gcm16-prfsha256-x25519".into();
        let peers = Peers::start(lab, road("", ""), &settings)?;
        peers.swan.initiate("net")?;
        peers.only_sa().map(|_| ())
    });
}
