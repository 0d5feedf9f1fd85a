//! Who answers for a VIP: the process that owns it, and never the kernel.

use std::time::Duration;

use crate::lab::{Family, Lab, until};

/// What y knows of the VIP's hardware address after asking for it anew.
fn resolve(lab: &Lab) -> String {
    let vip = lab.end(0).vip;
    let _ = lab.try_shell("y", &format!("ip neigh flush to {vip}; ping -c 1 -W 1 {vip}"));
    lab.ip("y", &format!("neigh show to {vip}"))
}

fn hardware(lab: &Lab, node: &str, interface: &str) -> String {
    lab.shell(node, &format!("cat /sys/class/net/{interface}/address")).trim().to_owned()
}

fn only_the_owner_answers(family: Family) {
    let lab = Lab::new(family);
    let mut x = lab.tunnel(0, &[]);
    let mac = hardware(&lab, "x", "out");
    assert!(resolve(&lab).contains(&mac), "the owner answers");
    let inner = lab.end(0).next_hop;
    assert!(!lab.ping("hx", inner), "the next hop is no address of anybody");
    let neighbour = lab.ip("hx", &format!("neigh show to {inner}"));
    assert!(neighbour.contains(&hardware(&lab, "x", "in")), "but it is answered for: {neighbour}");
    x.tell("withdraw");
    assert!(!resolve(&lab).contains(&mac), "a withdrawn VIP is not answered for");
    x.tell("announce");
    assert!(resolve(&lab).contains(&mac));
    assert!(lab.ip("x", "addr show dev lo").contains(lab.end(0).vip));
    x.kill();
    assert!(lab.ip("x", "addr show dev lo").contains(lab.end(0).vip), "the VIP is still there");
    assert!(!resolve(&lab).contains(&mac), "a dead process's kernel does not answer");
}

#[test]
fn arp_is_answered_by_the_owner_alone() {
    only_the_owner_answers(Family::V4);
}

#[test]
fn solicitations_are_answered_by_the_owner_alone() {
    only_the_owner_answers(Family::V6);
}

fn announcement_corrects(family: Family) {
    let lab = Lab::new(family);
    let mut x = lab.tunnel(0, &[]);
    x.tell("withdraw");
    let vip = lab.end(0).vip;
    let known = || lab.ip("y", &format!("neigh show to {vip}"));
    lab.ip("y", &format!("neigh replace {vip} lladdr 02:00:00:00:00:99 dev out nud reachable"));
    assert!(known().contains("02:00:00:00:00:99"));
    x.tell("announce");
    let mac = hardware(&lab, "x", "out");
    assert!(until(Duration::from_millis(500), || known().contains(&mac)), "{}", known());
}

#[test]
fn gratuitous_arp_corrects_what_neighbours_know() {
    announcement_corrects(Family::V4);
}

#[test]
fn unsolicited_advertisements_correct_what_neighbours_know() {
    announcement_corrects(Family::V6);
}

#[test]
fn every_address_of_a_proxied_range_is_answered_for_inside() {
    let lab = Lab::new(Family::V4);
    let mut x = lab.tunnel(0, &["--proxy", "10.20.1.128/28"]);
    let mac = hardware(&lab, "x", "in");
    let ask = |address: &str| {
        let script = format!("ip neigh flush to {address}; ping -c 1 -W 1 {address}");
        let _ = lab.try_shell("hx", &script);
        lab.ip("hx", &format!("neigh show to {address}"))
    };
    assert!(ask("10.20.1.130").contains(&mac));
    assert!(!ask("10.20.1.150").contains(&mac), "outside the range");
    x.tell("withdraw");
    assert!(!ask("10.20.1.131").contains(&mac));
}
