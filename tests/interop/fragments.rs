//! IKE messages in fragments (RFC 7383), in both roles, before and after a restart of the gateway.
//! Identities of some four hundred characters make the messages of IKE_AUTH longer than 576 octets, the
//! key exchange of a MODP group those of CREATE_CHILD_SA nearly so.

use anyhow::{Result, ensure};
use vipsec_lab::command::wait_for;
use vipsec_lab::run::Lab;
use vipsec_lab::strongswan::{Settings, exchanges};
use vipsec_lab::topology::{CLIENT, VIP};
use vipsec_tests::in_lab;

use crate::peers::{PATIENCE, Peers, check_unbroken, client, vip_head};

const IKE: &str = "proposals = [\"aes256gcm16-prfsha256-modp2048\"]\n";
const ESP: &str = "proposals = [\"aes256gcm16-modp2048\"]\n";

fn long(name: &str) -> String {
    format!("{}.{name}.test", "x".repeat(400))
}

/// The gateway's side of a connection, whoever begins.
fn gateway(remote: &str) -> String {
    let head = vip_head().replacen("interface", "fragment_size = 576\ninterface", 1);
    let (own, peer) = (long("gw"), long("client"));
    format!(
        "{head}[[vip.connection]]\nname = \"road\"\nlocal_id = \"{own}\"\nremote_id = \"{peer}\"\n\
         psk = \"topsecretpsk\"\n{remote}{IKE}[[vip.connection.child]]\nname = \"net\"\n\
         local = [\"10.3.0.0/24\"]\nremote = [\"dynamic\"]\n{ESP}"
    )
}

fn settings(fragmentation: &str) -> Settings {
    let mut settings = client();
    settings.extra = "fragment_size = 576".into();
    let connection = &mut settings.connections[0];
    (connection.local_id, connection.remote_id) = (long("client"), long("gw"));
    connection.extra = format!("fragmentation = {fragmentation}");
    connection.proposal = "aes256gcm16-prfsha256-modp2048".into();
    connection.children[0].proposal = "aes256gcm16-modp2048-noesn".into();
    settings
}

#[test]
fn fragments_of_the_peers_initiation_and_ours_are_understood() {
    in_lab(|lab| {
        let pool = "pool = \"clients\"\n";
        let mut peers = Peers::start(lab, gateway(pool), &settings("yes"))?;
        peers.swan.initiate("net")?;
        let sa = peers.only_sa()?;
        has_fragmented(&peers)?;
        lives_on(lab, &mut peers, sa)
    });
}

#[test]
fn fragments_of_our_initiation_and_the_peers_answer_are_understood() {
    in_lab(|lab| {
        let mut settings = settings("force");
        settings.connections[0].request = String::new();
        let remote = format!("remote = \"{CLIENT}\"\n");
        let mut peers = Peers::start(lab, gateway(&remote), &settings)?;
        peers.gateway.cli("initiate road net")?;
        let sa = wait_for("the tunnel", PATIENCE, || Ok(peers.only_sa().ok()))?;
        has_fragmented(&peers)?;
        lives_on(lab, &mut peers, sa)
    });
}

#[test]
fn a_peer_that_takes_no_fragments_gets_none() {
    in_lab(|lab| {
        let pool = "pool = \"clients\"\n";
        let peers = Peers::start(lab, gateway(pool), &settings("no"))?;
        peers.swan.initiate("net")?;
        peers.only_sa()?;
        let log = peers.swan.log()?;
        ensure!(!log.contains("fragment #"), "{log}");
        Ok(())
    });
}

/// In both directions.
fn has_fragmented(peers: &Peers) -> Result<()> {
    let log = peers.swan.log()?;
    for sign in ["splitting IKE message", "received fragment #1 of "] {
        ensure!(log.contains(sign), "no {sign:?} in\n{log}");
    }
    Ok(())
}

/// Rekeys from both sides, with another owner of the SAs in between.
fn lives_on(lab: &Lab, peers: &mut Peers, sa: vipsec_lab::strongswan::IkeSa) -> Result<()> {
    let mut sa = sa;
    for round in 0..2 {
        if round == 1 {
            peers.gateway.process().kill()?;
            peers.gateway.process().start_again()?;
            wait_for("the gateway to be back", PATIENCE, || {
                Ok(peers.gateway.role(VIP).is_ok_and(|role| role == "owner").then_some(()))
            })?;
        }
        for who in ["peer's", "our"] {
            match who {
                "our" => _ = peers.gateway.cli("rekey ike road")?,
                _ => _ = peers.swan.swanctl("--rekey --ike gw")?,
            }
            let what = format!("{who} rekey of the IKE SA");
            let after = wait_for(&what, PATIENCE, || {
                Ok(peers.only_sa().ok().filter(|after| after.spis != sa.spis))
            })?;
            match who {
                "our" => _ = peers.gateway.cli("rekey child net")?,
                _ => _ = peers.swan.swanctl("--rekey --child net")?,
            }
            let what = format!("{who} rekey of the child");
            let before = after.children[0].spi_in.clone();
            sa = wait_for(&what, PATIENCE, || {
                let same = |sa: &vipsec_lab::strongswan::IkeSa| sa.children[0].spi_in != before;
                Ok(peers.only_sa().ok().filter(same))
            })?;
        }
    }
    let ping = peers.ping(lab)?;
    std::thread::sleep(std::time::Duration::from_secs(1));
    check_unbroken(ping)?;
    let counts = exchanges(&peers.swan.log()?);
    ensure!(counts["IKE_SA_INIT"] == 1 && counts["IKE_AUTH"] == 1, "{counts:?}");
    Ok(())
}
