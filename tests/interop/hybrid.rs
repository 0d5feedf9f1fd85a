//! X25519 and ML-KEM-768 together (RFC 9370) with strongSwan 6.1 from Debian sid, in both roles: the
//! additional key exchange by IKE_INTERMEDIATE at the beginning, by IKE_FOLLOWUP_KE in each rekey, from
//! both sides, before and after a takeover.

use std::path::PathBuf;

use anyhow::{Result, ensure};
use vipsec_lab::run::Lab;
use vipsec_lab::sid;
use vipsec_lab::strongswan::{Settings, exchanges};
use vipsec_lab::topology::Site;
use vipsec_tests::in_lab;

use crate::initiator::{self, NAMES, Names, branch, initiate, rekey_all, responder};
use crate::peers::{Pair, check_unbroken, client, road};

const IKE: &str = "aes256gcm16-prfsha256-x25519-ke1_mlkem768";
const ESP: &str = "aes256gcm16-x25519-ke1_mlkem768";

/// Runs a test with a newer strongSwan, where there is one.
fn with_sid(test: impl FnOnce(&Lab, PathBuf) -> Result<()>) {
    match sid::root() {
        Ok(root) => in_lab(|lab| test(lab, root)),
        Err(reason) => eprintln!("skipped: {reason}"),
    }
}

/// Both key exchanges and nothing else for the IKE SA and its child.
fn hybrid(vips: &str) -> String {
    vips.replace("psk = ", &format!("proposals = [\"{IKE}\"]\npsk = "))
        .replace("local = [", &format!("proposals = [\"{ESP}\"]\nlocal = ["))
}

fn settings(mut settings: Settings, root: PathBuf) -> Settings {
    settings.connections[0].proposal = IKE.into();
    settings.connections[0].children[0].proposal = format!("{ESP}-noesn");
    Settings { root: Some(root), extra: "delete_rekeyed_delay = 1".into(), ..settings }
}

#[test]
fn the_peer_begins_with_two_key_exchanges() {
    with_sid(|lab, root| {
        let settings = settings(client(), root);
        let pair = Pair::start_in(lab, Site::build(lab)?, &hybrid(&road("", "")), &settings)?;
        pair.peers.swan.initiate("net")?;
        lives_on(lab, pair, Names { child: "net", theirs: "gw", ours: "road" })
    });
}

#[test]
fn we_begin_with_two_key_exchanges() {
    with_sid(|lab, root| {
        let settings = settings(responder(), root);
        let vips = hybrid(&branch("never"));
        let pair = Pair::start_in(lab, initiator::site(lab)?, &vips, &settings)?;
        initiate(&pair.peers)?;
        lives_on(lab, pair, NAMES)
    });
}

fn lives_on(lab: &Lab, mut pair: Pair, names: Names) -> Result<()> {
    let ours = pair.peers.gateway.sas()?;
    ensure!(ours[0]["algorithms"] == IKE, "{ours:?}");
    rekey_all(&pair.peers, names)?;
    pair.take_over()?;
    rekey_all(&pair.peers, names)?;
    let counts = exchanges(&pair.peers.swan.log()?);
    ensure!(counts["IKE_SA_INIT"] == 1 && counts["IKE_INTERMEDIATE"] == 1, "{counts:?}");
    ensure!(counts["IKE_FOLLOWUP_KE"] == 12, "one for each rekey: {counts:?}");
    let ours = pair.peers.gateway.sas()?;
    ensure!(ours[0]["algorithms"] == IKE, "{ours:?}");
    if names.child == NAMES.child {
        return initiator::answers(&pair.peers);
    }
    let ping = pair.peers.ping(lab)?;
    std::thread::sleep(std::time::Duration::from_secs(1));
    check_unbroken(ping)
}
