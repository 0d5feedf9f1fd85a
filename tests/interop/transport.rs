//! Transport mode between two vipsec gateways, in plain ESP: no NAT is between them.

use anyhow::{Result, ensure};
use vipsec_lab::capture::oracle::judge;
use vipsec_lab::capture::{Capture, Payload, frames};
use vipsec_lab::command::wait_for;
use vipsec_lab::node::{Node, Place, Setup, Store, make_store_key};
use vipsec_lab::run::Lab;
use vipsec_lab::topology::{IPV4, Site, VIP};
use vipsec_tests::in_lab;

use crate::peers::PATIENCE;

const OTHER: &str = "192.0.2.20";

/// One end: its VIP, the other's, and who begins.
fn end(own: &str, other: &str, initiates: bool) -> String {
    let start = if initiates { "at-start" } else { "never" };
    format!(
        "[[vip]]\naddress = \"{own}\"\ninterface = \"out0\"\n\
         [[vip.connection]]\nname = \"pair\"\nlocal_id = \"{own}\"\nremote_id = \"{other}\"\n\
         psk = \"topsecretpsk\"\nremote = \"{other}\"\nstart = \"{start}\"\n\
         [[vip.connection.child]]\nname = \"host\"\nmode = \"transport\"\n\
         local = [\"{own}/32\"]\nremote = [\"{other}/32\"]\n"
    )
}

fn start(lab: &Lab, site: &Site, name: &str, vips: String) -> Result<Node> {
    let store = Store {
        place: Place::Sqlite(lab.directory().join(format!("{name}.db"))),
        key: make_store_key(lab, name)?,
        when_unavailable: "unprotected".into(),
    };
    let setup = Setup {
        name: name.to_owned(),
        store: Some(store),
        members: Vec::new(),
        vips,
        cluster: String::new(),
        log_level: "debug".into(),
    };
    let mut node = Node::start(lab, site.node(name)?, &setup)?;
    node.wait_until_up()?;
    Ok(node)
}

#[test]
fn two_gateways_talk_in_transport_mode() {
    in_lab(pair_of_gateways);
}

fn pair_of_gateways(lab: &Lab) -> Result<()> {
    let site = Site::build(lab)?;
    let capture = Capture::start(lab, &site.switch, "outside")?;
    let responder = start(lab, &site, "a", end(VIP, OTHER, false))?;
    let initiator = start(lab, &site, "b", end(OTHER, VIP, true))?;
    let child = wait_for("a Child SA", PATIENCE, || {
        let sas = initiator.sas()?;
        let children = sas.first().and_then(|sa| sa["children"].as_array().cloned());
        Ok(children.and_then(|children| children.first().cloned()))
    })?;
    ensure!(child["mode"] == "transport", "{child}");
    ensure!(responder.sas()?.len() == 1);
    let ping = site.node("b")?.run(&format!("ping -c 20 -i 0.02 -s 1200 -I {OTHER} {VIP}"))?;
    ensure!(ping.contains(" 0% packet loss"), "{ping}");
    let file = capture.finish()?;
    let plain = frames(&file)?
        .filter(|frame| matches!(frame.payload, Payload::Esp { port: None, .. }))
        .count();
    ensure!(plain >= 40, "only {plain} packets of plain ESP");
    let verdict = judge(&IPV4.outside_rules(), frames(&file)?);
    ensure!(verdict.is_clean(), "{verdict:?}");
    Ok(())
}
