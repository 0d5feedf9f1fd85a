//! Tests of addresses as text.

use super::*;

fn cover(first: &str, last: &str) -> Vec<String> {
    let parse = |text: &str| text.parse::<IpAddr>().expect("test address");
    Prefix::cover(parse(first), parse(last)).iter().map(ToString::to_string).collect()
}

#[test]
fn prefixes_are_exact() {
    let prefix: Prefix = "10.3.0.0/24".parse().expect("a prefix");
    assert_eq!(prefix.last().to_string(), "10.3.0.255");
    assert!(prefix.contains("10.3.0.7".parse().expect("address")));
    assert!(!prefix.contains("10.3.1.0".parse().expect("address")));
    assert_eq!("10.3.0.1".parse::<Prefix>().expect("host").to_string(), "10.3.0.1/32");
    assert_eq!(
        "::/0".parse::<Prefix>().expect("all").last().to_string(),
        "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"
    );
    let why = "10.3.0.5/24".parse::<Prefix>().expect_err("host bits");
    assert_eq!(why, "\"10.3.0.5/24\" has host bits; allowed is \"10.3.0.0/24\" or \"10.3.0.5\"");
    assert!("10.3.0.0/33".parse::<Prefix>().expect_err("too long").ends_with("allowed is 0 to 32"));
    assert!("10.3/24".parse::<Prefix>().is_err());
}

#[test]
fn cover_is_exact_and_small() {
    assert_eq!(cover("10.0.0.0", "10.0.0.255"), ["10.0.0.0/24"]);
    assert_eq!(
        cover("10.77.0.10", "10.77.0.20"),
        ["10.77.0.10/31", "10.77.0.12/30", "10.77.0.16/30", "10.77.0.20/32"]
    );
    assert_eq!(cover("0.0.0.0", "255.255.255.255"), ["0.0.0.0/0"]);
    assert_eq!(cover("255.255.255.255", "255.255.255.255"), ["255.255.255.255/32"]);
    assert_eq!(cover("::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"), ["::/0"]);
}

#[test]
fn a_pool_written_as_a_prefix_spares_network_and_broadcast() {
    let range: AddressRange = "10.77.0.0/24".parse().expect("a range");
    assert_eq!(
        (range.first().to_string(), range.last().to_string()),
        ("10.77.0.1".into(), "10.77.0.254".into())
    );
    let range: AddressRange = "fd00::/64".parse().expect("a range");
    assert_eq!(range.first().to_string(), "fd00::1");
    assert!("10.0.0.9-10.0.0.1".parse::<AddressRange>().expect_err("reversed").contains("below"));
    assert!("10.0.0.9-fd00::1".parse::<AddressRange>().expect_err("mixed").contains("mixed"));
}

#[test]
fn selectors() {
    assert_eq!(selector("dynamic"), Ok(Selector::Dynamic));
    let Ok(Selector::Fixed(web)) = selector("10.3.0.0/24[tcp/443]") else { panic!("a selector") };
    assert_eq!((web.protocol, web.first_port, web.last_port), (6, 443, 443));
    assert_eq!(web.last_address.to_string(), "10.3.0.255");
    let Ok(Selector::Fixed(any)) = selector("10.3.0.4-10.3.0.9") else { panic!("a selector") };
    assert_eq!((any.protocol, any.first_port, any.last_port), (0, 0, 65535));
    assert!(selector("10.3.0.0/24[icmp/8]").expect_err("ports").contains("no ports"));
    assert!(selector("10.3.0.0/24[tcp/9-1]").is_err());
    assert!(selector("everything").expect_err("no").contains("\"dynamic\""));
}

#[test]
fn ports() {
    assert_eq!("8000-8100".parse(), Ok(PortRange(8000..=8100)));
    assert!("0-5".parse::<PortRange>().is_err());
    assert!("5-4".parse::<PortRange>().is_err());
}
