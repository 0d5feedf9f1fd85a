//! The Configuration payload with strongSwan in both roles, addresses that stay with their peer, and
//! what changes while vipsec runs: packets that bring a tunnel up, and another configuration.

use std::thread::sleep;
use std::time::Duration;

use anyhow::{Result, ensure};
use vipsec_lab::command::wait_for;
use vipsec_lab::strongswan::Settings;
use vipsec_lab::topology;
use vipsec_tests::in_lab;

use crate::initiator::{responder, site};
use crate::peers::{PATIENCE, Peers, check_unbroken, client, road, vip_head, wait_for_role};

/// What the gateway tells besides addresses.
const TOLD: &str = "dns = [\"10.3.0.53\"]\ndns_domains = [\"corp.example\"]\n\
                    subnets = [\"10.3.0.0/24\"]\nannounce_version = true";

/// A gateway with a pool of each family.
fn both_families() -> String {
    let pools = "[[vip.pool]]\nname = \"six\"\nrange = \"fd77::10-fd77::20\"\n\
                 [[vip.connection]]";
    let both = "pool = [\"clients\", \"six\"]";
    road(TOLD, "").replace("[[vip.connection]]", pools).replace("pool = \"clients\"", both)
}

fn asks_for_both() -> Settings {
    let mut settings = client();
    settings.connections[0].request = "0.0.0.0,::".into();
    settings
}

fn addresses(peers: &Peers, state: &str) -> Result<Vec<String>> {
    let leases = peers.gateway.json("leases")?;
    let leases = leases.as_array().cloned().unwrap_or_default();
    let fits = leases.iter().filter(|lease| lease["state"] == state);
    Ok(fits.filter_map(|lease| Some(lease["address"].as_str()?.to_owned())).collect())
}

#[test]
fn a_peer_gets_both_families_servers_and_subnets_and_has_its_addresses_back() {
    in_lab(|lab| {
        let mut peers = Peers::start(lab, both_families(), &asks_for_both())?;
        peers.swan.initiate("net")?;
        ensure!(addresses(&peers, "held")? == ["10.77.0.10", "fd77::10"]);
        let log = peers.swan.log()?;
        for word in ["INTERNAL_IP4_DNS", "INTERNAL_IP4_SUBNET", "10.77.0.10", "fd77::10"] {
            ensure!(log.contains(word), "the client was not told {word}:\n{log}");
        }
        peers.swan.swanctl("--terminate --ike gw")?;
        peers.wait_for_silence()?;
        ensure!(addresses(&peers, "kept")? == ["10.77.0.10", "fd77::10"]);
        // The next process gives the same peer the same addresses.
        peers.gateway.process().kill()?;
        peers.gateway.process().start_again()?;
        peers.gateway.wait_until_up()?;
        wait_for_role(&peers.gateway, "owner")?;
        peers.swan.initiate("net")?;
        ensure!(addresses(&peers, "held")? == ["10.77.0.10", "fd77::10"]);
        let ping = peers.ping(lab)?;
        sleep(Duration::from_secs(1));
        check_unbroken(ping)
    });
}

#[test]
fn a_reserved_address_is_given_to_its_identity() {
    in_lab(|lab| {
        let range = "range = \"10.77.0.10-10.77.0.250\"";
        let reserved =
            format!("{range}\nreserved = [ {{ id = \"client@test\", address = \"10.77.0.99\" }} ]");
        let vips = road("", "").replace(range, &reserved);
        let peers = Peers::start(lab, vips, &client())?;
        peers.swan.initiate("net")?;
        ensure!(peers.swan.virtual_address(false)? == "10.77.0.99");
        Ok(())
    });
}

/// vipsec at the beginning, strongSwan as the gateway that gives addresses.
fn asking(start: &str, more: &str) -> String {
    format!(
        "{}[[vip.connection]]\nname = \"branch\"\nlocal_id = \"gw@test\"\n\
         remote_id = \"branch@test\"\npsk = \"topsecretpsk\"\nremote = \"{}\"\n\
         start = \"{start}\"\n{more}\n[[vip.connection.child]]\nname = \"lan\"\n\
         remote = [\"10.8.0.0/24\"]\n",
        vip_head(),
        topology::CLIENT
    )
}

#[test]
fn vipsec_is_given_an_address_and_what_belongs_to_it() {
    in_lab(|lab| {
        let mut settings = responder();
        let addrs = "10.66.0.0/28\n    dns = 10.8.0.53\n    subnet = 10.8.0.0/24\n    \
                     25 = branch.example";
        settings.pools = vec![("inside".into(), addrs.into())];
        settings.connections[0].pool = "inside".into();
        settings.connections[0].children[0].remote = String::new();
        let vips = asking("at-start", "request_address = true") + "local = [\"dynamic\"]\n";
        let peers = Peers::start_in(lab, site(lab)?, vips, &settings)?;
        wait_for("the tunnel", PATIENCE, || Ok(peers.only_sa().ok()))?;
        let sa = &peers.gateway.sas()?[0];
        ensure!(sa["obtained"][0] == "10.66.0.1", "{sa}");
        ensure!(sa["name_servers"][0] == "10.8.0.53", "{sa}");
        ensure!(sa["subnets"][0] == "10.8.0.0/24", "{sa}");
        Ok(())
    });
}

#[test]
fn a_packet_brings_a_tunnel_up_and_is_not_lost() {
    in_lab(|lab| {
        let vips = asking("on-traffic", "") + "local = [\"10.3.0.0/24\"]\n";
        let peers = Peers::start_in(lab, site(lab)?, vips, &responder())?;
        ensure!(peers.swan.sas()?.is_empty(), "nothing was sent yet");
        let once = peers.site.host.run("ping -c 1 -W 4 10.8.0.1")?;
        ensure!(once.contains(" 0% packet loss"), "{once}");
        peers.only_sa().map(|_| ())
    });
}

#[test]
fn a_reload_changes_connections_and_leaves_tunnels_alone() {
    in_lab(|lab| {
        let peers = Peers::connect(lab)?;
        let ping = peers.ping(lab)?;
        let before = peers.only_sa()?;
        let file = lab.directory().join("a-vipsec/vipsec.toml");
        let text = std::fs::read_to_string(&file)?;
        std::fs::write(&file, text.replace("[[vip.connection]]", "[[vip.conection]]"))?;
        let refused = peers.gateway.cli("reload").expect_err("a mistake").to_string();
        ensure!(refused.contains("vipsec.toml:") && refused.contains("conection"), "{refused}");
        std::fs::write(&file, text.replace("name = \"a\"", "name = \"z\""))?;
        let refused = peers.gateway.cli("reload").expect_err("no reload").to_string();
        ensure!(refused.contains("needs a restart: [node]"), "{refused}");
        let another = "[[vip.connection]]\nname = \"second\"\nremote_id = \"x@test\"\n\
                       psk = \"another secret\"\n[[vip.connection.child]]\n\
                       local = [\"10.3.0.0/24\"]\nremote = [\"10.99.0.0/24\"]\n";
        std::fs::write(&file, text.clone() + another)?;
        let said = peers.gateway.cli("reload")?;
        ensure!(said.contains("added: second"), "{said}");
        ensure!(peers.only_sa()?.spis == before.spis, "the tunnel was touched");
        sleep(Duration::from_secs(1));
        check_unbroken(ping)?;
        // What is gone ends with its SAs.
        let gone = text.replace("name = \"road\"", "name = \"way\"");
        std::fs::write(&file, gone)?;
        ensure!(peers.gateway.cli("reload")?.contains("removed: road"));
        peers.wait_for_silence()
    });
}
