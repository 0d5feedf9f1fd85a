//! Post-quantum pre-shared keys (RFC 8784) with strongSwan, in both roles.

use anyhow::{Context, Result, ensure};
use vipsec_lab::command::wait_for;
use vipsec_lab::run::Lab;
use vipsec_lab::strongswan::Settings;
use vipsec_lab::topology::{CLIENT, HOST, INNER_VIP};
use vipsec_tests::in_lab;

use crate::peers::{PATIENCE, Peers, client, vip_head};

const SECRET: &str = "a key of more than 32 octets that both ends have";

/// A connection: its name, and what both ends know and require of the PPK `shared`.
struct Row {
    name: &'static str,
    ours: &'static str,
    theirs: &'static str,
    /// What comes of it: with the PPK, without, or nothing.
    outcome: Outcome,
}

#[derive(Clone, Copy, PartialEq)]
enum Outcome {
    Used,
    Unused,
    Refused,
}

const OPTIONAL: &str = "ppk_id = \"shared\"";
const REQUIRED: &str = "ppk_id = \"shared\"\nppk_required = true";
const OTHER: &str = "ppk_id = \"other\"";

const ROWS: [Row; 7] = [
    row("required", REQUIRED, "ppk_id = shared\nppk_required = yes", Outcome::Used),
    row("optional", OPTIONAL, "ppk_id = shared", Outcome::Used),
    row("unknown", OTHER, "ppk_id = shared", Outcome::Unused),
    row("fallback", OTHER, "", Outcome::Unused),
    row("none", "", "ppk_id = shared", Outcome::Unused),
    row("insisting", REQUIRED, "", Outcome::Refused),
    row("missing", OTHER, "ppk_id = shared\nppk_required = yes", Outcome::Refused),
];

const fn row(
    name: &'static str,
    ours: &'static str,
    theirs: &'static str,
    outcome: Outcome,
) -> Row {
    Row { name, ours, theirs, outcome }
}

fn ends(lab: &Lab) -> Result<(String, Settings)> {
    let file = lab.directory().join("ppk");
    std::fs::write(&file, SECRET)?;
    std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
    let (mut vips, mut settings) = (vip_head(), client());
    let usual = settings.connections.remove(0);
    for (index, row) in ROWS.iter().enumerate() {
        let (name, mut ours) = (row.name, row.ours.to_owned());
        if !ours.is_empty() {
            ours.push_str(&format!("\nppk_file = {file:?}"));
        }
        vips.push_str(&format!(
            "[[vip.connection]]\nname = \"{name}\"\nlocal_id = \"{name}@gw.test\"\n\
             remote_id = \"{name}@client.test\"\npsk = \"topsecretpsk\"\nremote = \"{CLIENT}\"\n\
             {ours}\n[[vip.connection.child]]\nname = \"lan-{name}\"\nlocal = [\"10.3.0.0/24\"]\n\
             remote = [\"10.8.{index}.0/24\"]\n"
        ));
        let mut connection = usual.clone();
        connection.name = name.into();
        connection.local_id = format!("{name}@client.test");
        connection.remote_id = format!("{name}@gw.test");
        connection.extra = row.theirs.into();
        connection.request = String::new();
        let child = &mut connection.children[0];
        child.name = format!("net-{name}");
        (child.local, child.remote) = (format!("10.8.{index}.0/24"), "10.3.0.0/24".into());
        settings.connections.push(connection);
    }
    settings.secrets = format!("  ppk {{\n    id = shared\n    secret = \"{SECRET}\"\n  }}\n");
    Ok((vips, settings))
}

#[test]
fn a_post_quantum_key_in_both_roles() {
    in_lab(both_roles);
}

fn both_roles(lab: &Lab) -> Result<()> {
    let (vips, settings) = ends(lab)?;
    let peers = Peers::start(lab, vips, &settings)?;
    for index in 0..ROWS.len() {
        peers.site.client.address("lo", &format!("10.8.{index}.1/32"))?;
    }
    peers.site.host.ip(&format!("route add 10.8.0.0/16 via {INNER_VIP}"))?;
    for row in &ROWS {
        let begun = peers.swan.log()?.len();
        let up = peers.swan.initiate(&format!("net-{}", row.name)).is_ok();
        check(&peers, row, up, begun).with_context(|| format!("{} initiates", row.name))?;
    }
    // As responder strongSwan takes no other name than that of its `ppk_id`, required or not.
    let takes = |row: &&Row| row.outcome != Outcome::Refused && row.name != "unknown";
    for row in ROWS.iter().filter(takes) {
        let begun = peers.swan.log()?.len();
        peers.gateway.cli(&format!("initiate {0} lan-{0}", row.name))?;
        check(&peers, row, true, begun).with_context(|| format!("{} responds", row.name))?;
    }
    Ok(())
}

/// Things are as they should be; then whatever is up is rekeyed and ended.
fn check(peers: &Peers, row: &Row, up: bool, begun: usize) -> Result<()> {
    ensure!(up == (row.outcome != Outcome::Refused), "{}", &peers.swan.log()?[begun..]);
    if !up {
        return peers.wait_for_silence();
    }
    let sa = wait_for("the tunnel", PATIENCE, || Ok(peers.only_sa().ok()))?;
    let log = &peers.swan.log()?[begun..];
    let used = log.contains("using PPK for PPK_ID 'shared'");
    ensure!(used == (row.outcome == Outcome::Used), "{log}");
    // Both ends have the same keys: SK_d is under those of the new SAs.
    peers.gateway.cli(&format!("rekey ike {}", row.name))?;
    wait_for("a new IKE SA", PATIENCE, || Ok((peers.only_sa()?.spis != sa.spis).then_some(())))?;
    let index = ROWS.iter().position(|other| other.name == row.name).unwrap_or_default();
    let ping = format!("ping -c 2 -i 0.1 -W 2 -I 10.8.{index}.1 {HOST}");
    let ping = peers.site.client.run(&ping)?;
    ensure!(ping.contains(" 0% packet loss"), "{ping}");
    peers.gateway.cli(&format!("terminate ike {}", row.name))?;
    peers.wait_for_silence()
}
