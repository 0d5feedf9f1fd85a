//! Nothing that belongs in a tunnel leaves in clear because a process died; only an explicit
//! command opens the fence.

use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use vipsec_lab::capture::oracle::judge;
use vipsec_lab::capture::{Capture, frames};
use vipsec_lab::command::wait_for;
use vipsec_lab::netns::Namespace;
use vipsec_lab::node::{Member, Node, Place, Setup, Store, make_member, make_store_key};
use vipsec_lab::probe::Prober;
use vipsec_lab::run::Lab;
use vipsec_lab::strongswan::{Settings, StrongSwan};
use vipsec_lab::topology::{self, CLIENT, HOST, INNER_VIP, IPV4, POOL, Site, VIP};
use vipsec_tests::cluster::Cluster;
use vipsec_tests::in_lab;

const PATIENCE: Duration = Duration::from_secs(10);

#[test]
fn dead_gateways_and_targets_let_nothing_out() {
    in_lab(kill_everything_under_load);
}

/// Kills all processes while hosts on both sides go on talking, and looks at the wire.
fn kill_everything_under_load(lab: &Lab) -> Result<()> {
    let mut cluster = Cluster::start(lab)?;
    let workload = cluster.workload(lab)?;
    sleep(Duration::from_secs(1));
    for node in &mut cluster.nodes {
        node.process().kill()?;
    }
    // The gateways still route, the applications still answer: only the fence is left.
    for name in ["a", "b"] {
        let node = cluster.site.node(name)?;
        cluster.site.host.ip(&format!("route replace {POOL} via {}", inside(node)?))?;
        sleep(Duration::from_secs(2));
    }
    drop(workload);
    cluster.judge_wire()
}

/// A node's own address on the inside.
fn inside(node: &Namespace) -> Result<String> {
    let shown = node.ip("-4 -o address show dev in0")?;
    let address = shown.split_whitespace().find(|word| word.starts_with("10.3.0."));
    let address = address.and_then(|word| word.split('/').next());
    address.map(str::to_owned).ok_or_else(|| anyhow::anyhow!("no inside address: {shown}"))
}

#[test]
fn only_an_explicit_command_opens_the_fence() {
    in_lab(stop_and_stop_open);
}

fn stop_and_stop_open(lab: &Lab) -> Result<()> {
    let mut cluster = Cluster::start_single(lab)?;
    cluster.node("a")?.cli("stop")?;
    let gateway = cluster.site.node("a")?.clone();
    check_fenced(&gateway).context("after an ordinary stop")?;
    cluster.start_again("a", "owner")?;
    cluster.kill("a")?;
    check_fenced(&gateway).context("after SIGKILL")?;
    cluster.start_again("a", "owner")?;
    cluster.node("a")?.cli("stop --open")?;
    check_open(&gateway).context("after stop --open")
}

/// The first, the last and another address of the clients' pool.
const PROTECTED: [&str; 3] = ["10.77.0.10", "10.77.0.57", "10.77.0.99"];

/// That both halves of the fence stand, each whole: the packet filter, and the policy routing that
/// leads nowhere.
fn check_fenced(gateway: &Namespace) -> Result<()> {
    let filter = gateway.run("nft list table inet vipsec_main")?;
    for (chain, ends) in [("input", "s"), ("forward", "sd"), ("output", "d")] {
        let start = filter.find(&format!("chain {chain} ")).context(chain)?;
        let rules = filter[start..].split("\n\t}").next().unwrap_or_default();
        for end in ends.chars() {
            let set = format!("ip {end}addr @protected4 ");
            let mut lines = rules.lines();
            ensure!(lines.any(|rule| rule.contains(&set) && rule.ends_with("drop")), "{filter}");
        }
    }
    for address in PROTECTED {
        gateway.run(&format!("nft get element inet vipsec_main protected4 {{ {address} }}"))?;
        for way in ["", &format!("from {HOST} iif in0")] {
            let found = gateway.ip(&format!("route get {address} {way}"));
            ensure!(found.is_err(), "{address} has a way out: {found:?}");
        }
    }
    Ok(())
}

/// That nothing is left of the fence, nor of the TUN.
fn check_open(gateway: &Namespace) -> Result<()> {
    let all = [
        gateway.run("nft list ruleset")?,
        gateway.ip("rule list")?,
        gateway.ip("route show table all")?,
        gateway.ip("-o link show")?,
    ];
    for left in ["vipsec", "fwmark", "blackhole", "10.77.0.", "tun"] {
        ensure!(!all.iter().any(|text| text.contains(left)), "{left} is left: {all:?}");
    }
    for address in PROTECTED {
        gateway.ip(&format!("route get {address}"))?;
    }
    Ok(())
}

#[test]
fn a_peer_without_virtual_address_is_never_answered_in_clear() {
    in_lab(peer_at_its_own_address);
}

/// The peer is protected at the address that it happens to have, which no configuration names: by
/// the owner, by the backup, after both have died, when its SAs have ended, and after the backup's
/// machine has been started anew.
fn peer_at_its_own_address(lab: &Lab) -> Result<()> {
    let site = Site::build(lab)?;
    site.host.ip(&format!("route add {CLIENT} via {INNER_VIP}"))?;
    let outside = Capture::start(lab, &site.switch, "outside")?;
    let [mut a, mut b] = two_candidates(lab, &site)?;
    wait_for_role(&a, "owner")?;
    wait_for_role(&b, "ready")?;
    let swan = StrongSwan::start(lab, &site.client, &without_virtual_address())?;
    swan.initiate("net")?;
    site.client.run(&format!("ping -c 3 -i 0.1 -W 1 {HOST}"))?;
    let mut to_the_peer = Prober::start(lab, &site.host, "ping", &format!("ping --to {CLIENT}"))?;
    to_the_peer.wait_until_flowing(1)?;
    a.process().kill()?;
    wait_for_role(&b, "owner")?;
    sleep(Duration::from_secs(1));
    let record = to_the_peer.finish()?.remove(0);
    let stall = record.packets.iter().rev().take_while(|p| p.received_us.is_none()).count();
    ensure!(stall == 0, "the backup does not answer in the tunnel: {stall} pings lost at the end");
    leak_towards_the_peer(&site, "a")?;
    swan.swanctl("--terminate --ike gw")?;
    ensure!(b.sas()?.is_empty(), "{:?}", b.sas());
    leak_towards_the_peer(&site, "b")?;
    b.process().kill()?;
    leak_towards_the_peer(&site, "b")?;
    forget_everything(site.node("b")?)?;
    b.process().start_again()?;
    b.wait_until_up()?;
    leak_towards_the_peer(&site, "b")?;
    let verdict = judge(&IPV4.outside_rules(), frames(&outside.finish()?)?);
    ensure!(verdict.is_clean() && verdict.esp > 50, "{verdict:?}");
    Ok(())
}

/// Sends from the protected host to the peer through a gateway that would route it.
fn leak_towards_the_peer(site: &Site, gateway: &str) -> Result<()> {
    let next_hop = inside(site.node(gateway)?)?;
    site.host.ip(&format!("route replace {CLIENT} via {next_hop}"))?;
    // That nobody answers is what is wanted.
    site.host.run(&format!("ping -c 3 -i 0.1 -W 1 {CLIENT}")).ok();
    Ok(())
}

/// What the kernel knows of vipsec is gone, as after a reboot.
fn forget_everything(node: &Namespace) -> Result<()> {
    node.run("nft flush ruleset")?;
    node.run("ip route flush table 7617")?;
    node.run("ip rule del lookup 7617").map(|_| ())
}

/// The candidates a and b of a VIP whose peers keep their own addresses.
fn two_candidates(lab: &Lab, site: &Site) -> Result<[Node; 2]> {
    let key = make_store_key(lab, "store")?;
    let file = lab.directory().join("store.db");
    let store = Store { place: Place::Sqlite(file), key, when_unavailable: "unprotected".into() };
    let member = |(name, address)| make_member(lab, name, address, &["candidate"]);
    let members: Result<Vec<Member>> =
        [("a", "10.1.0.2"), ("b", "10.1.0.3")].into_iter().map(member).collect();
    let members = members?;
    let start = |name: &str| -> Result<Node> {
        let setup = Setup {
            name: name.to_owned(),
            store: Some(store.clone()),
            members: members.clone(),
            vips: vip_for_any_address(),
            cluster: "lost_after = 10".into(),
            log_level: "debug".into(),
        };
        let mut node = Node::start(lab, site.node(name)?, &setup)?;
        node.wait_until_up()?;
        Ok(node)
    };
    Ok([start("a")?, start("b")?])
}

fn vip_for_any_address() -> String {
    format!(
        "[[vip]]\naddress = \"{VIP}\"\ninterface = \"out0\"\n\
         candidates = [ {{ node = \"a\", rank = 100 }}, {{ node = \"b\", rank = 50 }} ]\n\
         [vip.inner]\naddress = \"{INNER_VIP}\"\ninterface = \"in0\"\n\
         [[vip.connection]]\nname = \"road\"\nlocal_id = \"gw@test\"\npsk = \"topsecretpsk\"\n\
         [[vip.connection.child]]\nname = \"net\"\nlocal = [\"10.3.0.0/24\"]\n\
         remote = [\"dynamic\"]\n"
    )
}

fn without_virtual_address() -> Settings {
    let mut settings = topology::client_settings(&IPV4, false);
    settings.connections[0].request = String::new();
    settings.connections[0].children[0].remote = "10.3.0.0/24".into();
    settings
}

fn wait_for_role(node: &Node, role: &str) -> Result<()> {
    wait_for(&format!("{} to be {role}", node.name()), PATIENCE, || {
        Ok(node.role(VIP).is_ok_and(|now| now == role).then_some(()))
    })
}
