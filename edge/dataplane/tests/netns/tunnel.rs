//! Two data planes facing each other carry load, and every byte arrives as it was sent.

use std::time::Duration;

use crate::lab::{Family, Lab, Process, example, until};

/// Both ends, and a server on the host behind y.
fn tunnel(family: Family, more: &[&str]) -> (Lab, Process, Process, Process, String) {
    let lab = Lab::new(family);
    let x = lab.tunnel(0, more);
    let y = lab.tunnel(1, more);
    let host = lab.end(1).host;
    let address =
        if family == Family::V4 { format!("{host}:5001") } else { format!("[{host}]:5001") };
    let server = lab.start("hy", "load", &["serve", &address]);
    (lab, x, y, server, address)
}

/// The count that the sender prints, and what it should be.
fn load(lab: &Lab, words: &str) -> String {
    let program = example("load");
    lab.shell("hx", &format!("timeout 60 {} {words}", program.display())).trim().to_owned()
}

fn carries(family: Family, more: &[&str]) {
    let (lab, mut x, mut y, _server, address) = tunnel(family, more);
    let bytes = 40_000_000;
    let printed = load(&lab, &format!("tcp {address} {bytes}"));
    assert!(printed.starts_with(&format!("tcp {bytes} bytes")), "{printed}");
    assert_eq!(load(&lab, &format!("udp {address} 2000 600")), "udp 2000 of 2000, 0 wrong");
    for end in [&mut x, &mut y] {
        end.tell("counters");
    }
}

#[test]
fn esp_in_udp_over_ipv4() {
    carries(Family::V4, &[]);
}

#[test]
fn esp_in_udp_over_ipv6() {
    carries(Family::V6, &["--mtu", "1400"]);
}

#[test]
fn plain_esp_over_ipv4() {
    carries(Family::V4, &["--plain"]);
}

#[test]
fn plain_esp_over_ipv6() {
    carries(Family::V6, &["--plain", "--mtu", "1400"]);
}

#[test]
fn two_workers_share_one_tunnel() {
    carries(Family::V4, &["--workers", "2"]);
}

#[test]
fn two_workers_share_one_plain_tunnel() {
    carries(Family::V4, &["--workers", "2", "--plain"]);
}

#[test]
fn without_hardware_segmentation() {
    let (lab, _x, _y, _server, address) = tunnel(Family::V4, &[]);
    for node in ["x", "y"] {
        lab.shell(node, "ethtool -K out tx-udp-segmentation off || true");
    }
    let printed = load(&lab, &format!("tcp {address} 20000000"));
    assert!(printed.starts_with("tcp 20000000 bytes"), "{printed}");
}

/// IPv6 hosts need not send packets below 1280 bytes, and the path carries less than that in ESP: the
/// outer packet is fragmented.
fn small_path(more: &[&str]) {
    let lab = Lab::new(Family::V6);
    for node in ["x", "y"] {
        lab.ip(node, "link set out mtu 1300");
    }
    let _x = lab.tunnel(0, more);
    let _y = lab.tunnel(1, more);
    let ping = format!("ping -6 -c 1 -W 1 -s 1232 {}", lab.end(1).host);
    let answered = || lab.try_shell("hx", &ping).status.success();
    // The first shows the path's MTU.
    assert!(until(Duration::from_secs(5), answered), "packets of 1280 bytes do not arrive");
    for _ in 0..5 {
        assert!(answered(), "some packets of 1280 bytes do not arrive");
    }
}

#[test]
fn the_smallest_large_ipv6_packet_passes_a_small_path_in_udp() {
    small_path(&[]);
}

#[test]
fn the_smallest_large_ipv6_packet_passes_a_small_path_in_plain_esp() {
    small_path(&["--plain"]);
}

#[test]
fn a_second_data_plane_in_a_namespace_is_refused() {
    let lab = Lab::new(Family::V4);
    let _x = lab.tunnel(0, &[]);
    let program = example("tunnel");
    let words = "--vip 192.0.2.1 --interface out --peer 192.0.2.2 --protect 10.20.2.0/24";
    let second = lab.try_shell("x", &format!("{} {words} </dev/null", program.display()));
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(!second.status.success() && said.contains("AlreadyRunning"), "{said}");
}

#[test]
fn a_small_link_on_the_way_lowers_the_tunnels_mtu() {
    let (lab, _x, _y, _server, address) = tunnel(Family::V4, &[]);
    lab.ip("y", "link set out mtu 1300");
    lab.ip("x", "link set out mtu 1300");
    let printed = load(&lab, &format!("tcp {address} 1000000"));
    assert!(printed.starts_with("tcp 1000000 bytes"), "{printed}");
}
