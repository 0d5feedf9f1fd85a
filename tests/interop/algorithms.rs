//! Every algorithm and key exchange that both ends have, in both roles: a tunnel comes up with it and
//! carries data.

use anyhow::{Context, Result, ensure};
use vipsec_lab::command::wait_for;
use vipsec_lab::run::Lab;
use vipsec_lab::strongswan::Settings;
use vipsec_lab::topology::{self, HOST, INNER_VIP};
use vipsec_tests::in_lab;

use crate::peers::{PATIENCE, Peers, client, road, vip_head};

/// Proposals for the IKE SA and its child, and what both make of it in the words of our status.
const ROWS: [(&str, &str); 13] = [
    ("aes256gcm16-prfsha256-x25519", "aes256gcm16"),
    ("aes128gcm16-prfsha384-ecp256", "aes128gcm16"),
    ("chacha20poly1305-prfsha256-x25519", "chacha20poly1305"),
    ("chacha20poly1305-prfsha512-ecp384", "aes128-sha384"),
    ("aes128-sha256-prfsha256-modp2048", "aes128-sha256"),
    ("aes192-sha384-prfsha384-ecp384", "aes192-sha384"),
    ("aes256-sha512-prfsha512-ecp521", "aes256-sha512"),
    ("aes256-sha384-prfsha256-modp3072", "aes256-sha256"),
    ("aes128gcm16-prfsha256-modp4096", "chacha20poly1305"),
    ("aes256gcm16-prfsha384-modp6144", "aes256-sha384"),
    ("aes256gcm16-prfsha512-modp8192", "aes128-sha512"),
    ("aes256gcm16-prfsha512-ecp521", "aes256gcm16"),
    ("aes128-sha512-prfsha384-x25519", "aes192-sha512"),
];

/// The quoted, comma-separated list of a column.
fn quoted(column: impl Fn(&(&'static str, &'static str)) -> &'static str) -> String {
    let quoted = ROWS.iter().map(|row| format!("\"{}\"", column(row)));
    quoted.collect::<Vec<_>>().join(", ")
}

#[test]
fn the_peer_initiates_with_each_algorithm() {
    in_lab(peer_initiates);
}

fn peer_initiates(lab: &Lab) -> Result<()> {
    let mut settings = client();
    let usual = settings.connections.remove(0);
    for (index, (ike, esp)) in ROWS.iter().enumerate() {
        let mut connection = usual.clone();
        connection.name = format!("gw{index}");
        connection.proposal = (*ike).into();
        connection.children[0].name = format!("net{index}");
        connection.children[0].proposal = format!("{esp}-noesn");
        settings.connections.push(connection);
    }
    let ike = format!("proposals = [{}]", quoted(|row| row.0));
    let esp = format!("proposals = [{}]", quoted(|row| row.1));
    let peers = Peers::start(lab, road(&ike, &esp), &settings)?;
    for (index, row) in ROWS.iter().enumerate() {
        peers.swan.initiate(&format!("net{index}")).with_context(|| row.0)?;
        check(&peers, row).with_context(|| row.0)?;
        let ping = peers.site.client.run(&format!("ping -c 3 -i 0.1 -W 2 {HOST}"))?;
        ensure!(ping.contains(" 0% packet loss"), "{}: {ping}", row.1);
        peers.swan.swanctl(&format!("--terminate --ike gw{index}"))?;
        peers.wait_for_silence()?;
    }
    Ok(())
}

#[test]
fn we_initiate_with_each_algorithm() {
    in_lab(we_initiate);
}

fn we_initiate(lab: &Lab) -> Result<()> {
    let mut vips = vip_head();
    for (index, (ike, esp)) in ROWS.iter().enumerate() {
        vips.push_str(&format!(
            "[[vip.connection]]\nname = \"branch{index}\"\nlocal_id = \"gw@test\"\n\
             remote_id = \"branch@test\"\npsk = \"topsecretpsk\"\nremote = \"{}\"\n\
             proposals = [\"{ike}\"]\n[[vip.connection.child]]\nname = \"lan\"\n\
             local = [\"10.3.0.0/24\"]\nremote = [\"10.8.0.0/24\"]\nproposals = [\"{esp}-noesn\"]\n",
            topology::CLIENT
        ));
    }
    let peers = Peers::start(lab, vips, &branch())?;
    peers.site.client.address("lo", "10.8.0.1/32")?;
    peers.site.host.ip(&format!("route add 10.8.0.0/24 via {INNER_VIP}"))?;
    for (index, row) in ROWS.iter().enumerate() {
        peers.gateway.cli(&format!("initiate branch{index} lan"))?;
        check(&peers, row).with_context(|| row.0)?;
        let ping = peers.site.client.run(&format!("ping -c 3 -i 0.1 -W 2 -I 10.8.0.1 {HOST}"))?;
        ensure!(ping.contains(" 0% packet loss"), "{}: {ping}", row.1);
        peers.gateway.cli(&format!("terminate ike branch{index}"))?;
        peers.wait_for_silence()?;
    }
    Ok(())
}

/// A peer that takes every row.
fn branch() -> Settings {
    let mut settings = client();
    let connection = &mut settings.connections[0];
    connection.local_id = "branch@test".into();
    connection.request = String::new();
    connection.proposal = ROWS.map(|row| row.0).join(",");
    let child = &mut connection.children[0];
    (child.local, child.remote) = ("10.8.0.0/24".into(), "10.3.0.0/24".into());
    child.proposal = ROWS.map(|row| format!("{}-noesn", row.1)).join(",");
    settings
}

/// Both ends have the SAs, made of what was asked for.
fn check(peers: &Peers, (ike, esp): &(&str, &str)) -> Result<()> {
    let ours = wait_for("our IKE SA with its child", PATIENCE, || {
        let sas = peers.gateway.sas()?;
        let whole = |sas: &[serde_json::Value]| {
            sas.len() == 1 && sas[0]["children"].as_array().is_some_and(|list| list.len() == 1)
        };
        Ok(whole(&sas).then_some(sas))
    })?;
    let theirs = peers.only_sa()?;
    let child = &ours[0]["children"][0];
    ensure!(ours[0]["algorithms"] == *ike, "{} is not {ike}", ours[0]["algorithms"]);
    ensure!(child["algorithms"] == format!("{esp}-noesn"), "{child} is not {esp}");
    let spi_in = child["spi_in"].as_str().unwrap_or_default().trim_start_matches("0x");
    ensure!(spi_in == theirs.children[0].spi_out, "{child} is not {theirs:?}");
    Ok(())
}
