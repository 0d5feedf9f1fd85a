//! vipsec initiates, strongSwan answers: site to site.

use anyhow::{Result, ensure};
use vipsec_lab::command::wait_for;
use vipsec_lab::probe::Prober;
use vipsec_lab::run::Lab;
use vipsec_lab::strongswan::{Child, Connection, Settings};
use vipsec_lab::topology::{self, HOST, INNER_VIP, IPV4};
use vipsec_tests::in_lab;

use crate::peers::{PATIENCE, Peers, check_unbroken, vip_head};

const BRANCH: &str = "10.8.0.1";

/// A connection that vipsec opens, at start or by command.
fn branch(start: &str) -> String {
    format!(
        "{}[[vip.connection]]\nname = \"branch\"\nlocal_id = \"gw@test\"\n\
         remote_id = \"branch@test\"\npsk = \"topsecretpsk\"\nremote = \"{}\"\n\
         start = \"{start}\"\n[[vip.connection.child]]\nname = \"lan\"\n\
         local = [\"10.3.0.0/24\"]\nremote = [\"10.8.0.0/24\"]\n",
        vip_head(),
        topology::CLIENT
    )
}

fn responder() -> Settings {
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

fn connects(lab: &Lab, start: &str) -> Result<()> {
    let peers = Peers::start(lab, branch(start), &responder())?;
    peers.site.client.address("lo", &format!("{BRANCH}/32"))?;
    peers.site.host.ip(&format!("route add 10.8.0.0/24 via {INNER_VIP}"))?;
    if start == "never" {
        ensure!(peers.swan.sas()?.is_empty(), "nobody asked for a tunnel");
        peers.gateway.cli("initiate branch lan")?;
    }
    let sa = wait_for("the tunnel", PATIENCE, || Ok(peers.only_sa().ok()))?;
    ensure!(sa.children[0].name == "lan", "{sa:?}");
    let line = format!("ping --to {BRANCH}");
    let mut ping = Prober::start(lab, &peers.site.host, "ping", &line)?;
    ping.wait_until_flowing(1)?;
    std::thread::sleep(std::time::Duration::from_secs(1));
    check_unbroken(ping)?;
    let back = peers.site.client.run(&format!("ping -c 3 -i 0.2 -I {BRANCH} {HOST}"))?;
    ensure!(back.contains(" 0% packet loss"), "{back}");
    Ok(())
}
