//! strongSwan initiates, vipsec answers: refusals that the peer understands.

use anyhow::{Result, ensure};
use vipsec_lab::run::Lab;
use vipsec_lab::strongswan::{Credential, Settings};
use vipsec_tests::in_lab;

use crate::peers::{Peers, client, road};

#[test]
fn a_wrong_key_is_answered_with_authentication_failed() {
    in_lab(|lab| {
        let mut settings = client();
        settings.connections[0].credential = Credential::SharedKey("another".into());
        is_refused(lab, &settings, "AUTHENTICATION_FAILED")
    });
}

//= RFC 7296 section 3.3.4 #3: to a real peer
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

//= RFC 7296 section 3.4 #4: by a real peer
#[test]
fn another_group_is_asked_for_with_invalid_ke_payload() {
    in_lab(|lab| {
        let mut settings = client();
        // The key exchange value is of the first proposal, which vipsec does not take.
        settings.connections[0].proposal =
            "aes256gcm16-prfsha256-modp6144,aes256gcm16-prfsha256-x25519".into();
        let peers = Peers::start(lab, road("", ""), &settings)?;
        peers.swan.initiate("net")?;
        peers.only_sa().map(|_| ())
    });
}
