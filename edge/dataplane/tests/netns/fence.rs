//! Nothing leaves in clear, whatever happens to the process, and a dead node says nothing.

use crate::lab::{Family, Lab, example};

/// Routes by which everything *would* travel in clear if nothing held it, and counters that see it.
fn tempt(lab: &Lab) {
    for (index, node) in ["x", "y"].into_iter().enumerate() {
        let other = lab.end(1 - index);
        lab.ip(node, &format!("route add {} via {}", other.net, other.outside));
        let family = if lab.family == Family::V4 { "ip" } else { "ip6" };
        lab.count(node, "clear", &format!("iifname out {family} saddr {}", other.net));
        // The living owner's advertisements carry the VIP as their source.
        let vip = format!("iifname out {family} saddr {}", other.vip);
        lab.count(node, "vip", &format!("icmpv6 type nd-neighbor-advert accept\n{vip}"));
        let conf = if lab.family == Family::V4 { "ipv4" } else { "ipv6" };
        lab.shell(node, &format!("echo 1 > /proc/sys/net/{conf}/conf/all/forwarding"));
    }
}

/// Tries to get packets out of x towards the peer's net: its own and those of the host behind it.
fn try_to_leak(lab: &Lab) {
    let (own, other) = (lab.end(0), lab.end(1));
    let _ = lab.try_shell("x", &format!("ping -c 2 -i 0.1 -W 1 -I {} {}", own.inside, other.host));
    let mac = lab.shell("x", "cat /sys/class/net/in/address");
    let mac = mac.trim();
    lab.ip("hx", &format!("neigh replace {} lladdr {mac} dev in nud permanent", own.next_hop));
    let _ = lab.try_shell("hx", &format!("ping -c 2 -i 0.1 -W 1 {}", other.host));
}

fn fence_outlives_the_process(family: Family) {
    let lab = Lab::new(family);
    tempt(&lab);
    let x = lab.tunnel(0, &[]);
    let y = lab.tunnel(1, &[]);
    assert!(lab.ping("hx", lab.end(1).host), "the tunnel works");
    x.kill();
    try_to_leak(&lab);
    assert_eq!(lab.counted("y", "clear"), 0, "after SIGKILL");
    let x = lab.tunnel(0, &["--epoch", "3"]);
    assert!(lab.ping("hx", lab.end(1).host), "a new process takes over what the old one left");
    x.end("stop");
    try_to_leak(&lab);
    assert_eq!(lab.counted("y", "clear"), 0, "after an orderly stop");
    let left = lab.ip("x", "addr show dev lo");
    assert!(!left.contains(lab.end(0).vip), "an orderly stop takes the VIP off: {left}");
    let x = lab.tunnel(0, &["--epoch", "4"]);
    x.end("open");
    try_to_leak(&lab);
    assert!(lab.counted("y", "clear") > 0, "after opening, so the test would have seen it");
    assert_eq!(lab.shell("x", "nft list tables").matches("vipsec").count(), 0);
    drop(y);
}

#[test]
fn nothing_leaves_in_clear_v4() {
    fence_outlives_the_process(Family::V4);
}

#[test]
fn nothing_leaves_in_clear_v6() {
    fence_outlives_the_process(Family::V6);
}

#[test]
fn clear_packets_from_the_peers_net_do_not_come_in() {
    let lab = Lab::new(Family::V4);
    tempt(&lab);
    let mut x = lab.tunnel(0, &[]);
    // y has no tunnel: its packets come to x in clear.
    lab.count("hx", "arrived", &format!("ip saddr {}", lab.end(1).net));
    let (own, other) = (lab.end(0), lab.end(1));
    let from_y =
        |to: &str| lab.try_shell("y", &format!("ping -c 2 -i 0.1 -W 1 -I {} {to}", other.inside));
    lab.ip("y", &format!("route add {} via {} metric 5", own.host, own.outside));
    assert!(!from_y(own.host).status.success());
    assert!(!from_y(own.outside).status.success(), "not even to x's own address");
    assert!(lab.counted("x", "clear") > 0, "they did reach x");
    assert_eq!(lab.counted("hx", "arrived"), 0);
    let counted = x.ask("counters", "fence_in ");
    assert!(counted != "fence_in 0", "they are counted");
    x.end("open");
    let _ = from_y(own.host);
    assert!(lab.counted("hx", "arrived") > 0, "after opening, so the test would have seen it");
}

fn a_dead_node_is_silent(family: Family) {
    let lab = Lab::new(family);
    tempt(&lab);
    let x = lab.tunnel(0, &[]);
    let vip = lab.end(0).vip;
    let mac = lab.shell("x", "cat /sys/class/net/out/address");
    lab.ip("y", &format!("neigh replace {vip} lladdr {} dev out nud permanent", mac.trim()));
    let knock = || {
        let tcp = lab.try_shell("y", &format!("timeout 0.5 bash -c 'exec 3<>/dev/tcp/{vip}/80'"));
        assert_eq!(tcp.status.code(), Some(124), "it must time out, not be refused");
        for port in [500, 4500, 53] {
            let _ = lab.try_shell("y", &format!("echo knock > /dev/udp/{vip}/{port}"));
        }
        assert!(!lab.ping("y", vip));
    };
    knock();
    assert_eq!(lab.counted("y", "vip"), 0, "alive: nothing but IKE and ESP");
    x.kill();
    knock();
    assert_eq!(lab.counted("y", "vip"), 0, "dead: no RST, no ICMP");
    lab.shell("x", "nft delete table inet vipsec_main");
    let refused = lab.try_shell("y", &format!("timeout 0.5 bash -c 'exec 3<>/dev/tcp/{vip}/80'"));
    assert_eq!(refused.status.code(), Some(1), "without the fence the kernel refuses");
    assert!(lab.counted("y", "vip") > 0);
}

#[test]
fn a_dead_node_is_silent_v4() {
    a_dead_node_is_silent(Family::V4);
}

#[test]
fn a_dead_node_is_silent_v6() {
    a_dead_node_is_silent(Family::V6);
}

#[test]
fn a_fence_only_grows_until_it_is_opened() {
    let lab = Lab::new(Family::V4);
    let mut x = lab.tunnel(0, &[]);
    x.tell("protect 10.98.3.0/24 10.98.4.4/32");
    x.tell("protect 10.98.0.0/16 10.98.3.3/32");
    x.tell("protect fd98::9/128");
    x.kill();
    let own = lab.end(0);
    let words = ["--vip", own.vip, "--interface", "out", "--peer", "192.0.2.2"];
    let more = ["--protect", "10.99.0.0/16", "--epoch", "3"];
    let x = lab.start("x", "tunnel", &[&words[..], &more].concat());
    let routes = lab.ip("x", "route show table 7617");
    let filter = lab.shell("x", "nft list set inet vipsec_main protected4");
    for prefix in ["10.99.0.0/16", "10.98.0.0/16", "10.20.2.0/24"] {
        assert!(routes.contains(&format!("blackhole {prefix}")), "{prefix} in {routes}");
        assert!(routes.contains(&format!("{prefix} dev vipsec0")), "{prefix} in {routes}");
        assert!(filter.contains(prefix), "{prefix} in {filter}");
    }
    x.end("open");
    nothing_is_left(&lab);
}

fn nothing_is_left(lab: &Lab) {
    assert_eq!(lab.try_shell("x", "ip route show table 7617").stdout, b"");
    assert!(!lab.ip("x", "rule").contains("7617"));
    assert!(!lab.shell("x", "nft list tables").contains("vipsec"));
    assert!(!lab.ip("x", "addr show dev lo").contains(lab.end(0).vip));
    assert!(!lab.ip("x", "link").contains("vipsec0"));
}

#[test]
fn what_a_killed_process_left_can_be_removed_without_one() {
    let lab = Lab::new(Family::V4);
    lab.tunnel(0, &[]).kill();
    assert!(lab.shell("x", "nft list tables").contains("vipsec_main"));
    lab.shell("x", &format!("{} remove", example("tunnel").display()));
    nothing_is_left(&lab);
}
