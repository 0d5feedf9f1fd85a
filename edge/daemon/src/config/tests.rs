//! Tests of the configuration as a whole: the examples, and mistakes with their places.

use super::mistake::Mistake;
use super::*;
use std::time::Duration;
use vipsec_ike::Selector;
use vipsec_wire::ike::Identity;

const EXAMPLE: &str = include_str!("../../examples/vipsec.toml");
const SINGLE: &str = include_str!("../../examples/single-gateway.toml");

fn parse(source: &str) -> Result<Config, ConfigError> {
    let read_psk = |_: &Path| Ok(SecretBytes::from(&b"a pre-shared key"[..]));
    Config::parse(source, Path::new("test.toml"), &read_psk)
}

fn mistakes(source: &str) -> Vec<Mistake> {
    match parse(source) {
        Err(ConfigError::Mistakes { mistakes, .. }) => mistakes,
        other => panic!("expected mistakes, got {other:?}"),
    }
}

/// The mistakes of the annotated example after one change.
fn after(from: &str, to: &str) -> Vec<Mistake> {
    assert!(EXAMPLE.contains(from), "{from:?} is not in the example");
    mistakes(&EXAMPLE.replacen(from, to, 1))
}

#[test]
fn the_annotated_example_says_what_it_means() {
    let config = parse(EXAMPLE).expect("no mistakes");
    assert_eq!(config.node.name.as_str(), "a");
    assert_eq!(config.members.len(), 3);
    assert_eq!(config.timers.heartbeat, Duration::from_millis(50));
    let vip = &config.vips[0];
    assert!(config.is_candidate_for(vip));
    assert_eq!(vip.candidates[0].node.as_str(), "a");
    let protected: Vec<String> = vip.protected.iter().map(ToString::to_string).collect();
    assert_eq!(protected, ["10.8.0.0/16", "10.77.0.0/24"]);
    let road = &vip.connections[0];
    assert_eq!(road.local_id, Some(Identity::Email("gw@example.org".into())));
    assert_eq!((road.proposals.len(), road.pools.as_slice()), (2, &["clients".to_owned()][..]));
    let branch = &vip.connections[1];
    let address = "198.51.100.7".parse().expect("an address");
    let name = "branch.example.org".to_owned();
    assert_eq!(branch.remote, connection::Remote::At(vec![address], vec![name]));
    assert_eq!(branch.start, vipsec_ike::Start::AtStart);
    assert_eq!(branch.dpd_action, vipsec_ike::DpdAction::Restart);
    assert_eq!(road.dpd_action, vipsec_ike::DpdAction::Clear);
    assert_eq!(vip.services[0].targets.len(), 2);
    assert_eq!(vip.services[0].check.expect("a check").port, 80);
}

#[test]
fn the_example_leaves_no_key_unsaid() {
    let all = include_str!("file.rs").lines().filter_map(|line| {
        let (name, kind) = line.trim().strip_prefix("pub(super) ")?.split_once(": ")?;
        let plain = !kind.contains("Vec<Vip>") && !name.contains(' ');
        let nested = ["span", "head", "node", "store", "members", "vips"].contains(&name)
            || ["pools", "connections", "services", "children"].contains(&name);
        (plain && !nested).then(|| name.to_owned())
    });
    for key in all {
        let said = [format!("{key} = "), format!("[{key}]"), format!(".{key}]")];
        assert!(said.iter().any(|form| EXAMPLE.contains(form.as_str())), "{key} is not annotated");
    }
}

#[test]
fn a_single_gateway_needs_no_more_than_twenty_lines() {
    assert!(SINGLE.lines().count() <= 20);
    let config = parse(SINGLE).expect("no mistakes");
    assert_eq!(config.members.len(), 1);
    assert!(config.members[0].candidate && config.members[0].target);
    let vip = &config.vips[0];
    assert_eq!(vip.candidates.len(), 1);
    assert_eq!(vip.pools[0].range.last().to_string(), "10.77.0.250");
    assert_eq!(vip.connections[0].children[0].name, "road");
    assert!(vip.protected.iter().all(|prefix| prefix.address().to_string().starts_with("10.77.")));
    let place = config.store.expect("a store").place;
    assert_eq!(place, store::Place::Sqlite("/var/lib/vipsec/store.db".into()));
}

#[test]
fn a_pool_reserves_addresses_of_its_own_once() {
    let config = parse(EXAMPLE).expect("no mistakes");
    let pool = &config.vips[0].pools[0];
    assert_eq!(pool.lease, Duration::from_secs(86_400));
    let client = Identity::Email("client@example.org".into());
    assert_eq!(pool.reserved, vec![(client, "10.77.0.20".parse().expect("an address"))]);
    let found = after("10.77.0.20", "10.78.0.20");
    assert!(found[0].text.contains("allowed is 10.77.0.10 to 10.77.0.250"), "{found:?}");
    let twice = "reserved = [ { id = \"x\", address = \"10.77.0.20\" }, {";
    let found = after("reserved = [ {", twice);
    assert!(found[0].text.contains("is given twice"), "{found:?}");
    let found = after("lease_s = 86400", "lease_s = 0");
    assert!(found[0].text.contains("allowed is 1 to"), "{found:?}");
}

#[test]
fn pools_of_two_vips_are_ranges_apart() {
    let second = "[[vip]]\naddress = \"192.0.2.11\"\ninterface = \"out0\"\n\
                  candidates = [ { node = \"a\", rank = 1 } ]\n[[vip.pool]]\nname = \"clients\"\n\
                  range = \"10.77.0.0/24\"\n[[vip.connection]]\nname = \"road\"\npsk = \"secret\"\n\
                  pool = \"clients\"\n[[vip.connection.child]]\nlocal = [\"10.3.0.0/24\"]\n";
    let found = mistakes(&format!("{EXAMPLE}{second}"));
    assert!(found[0].text.contains("of VIP 192.0.2.10"), "{found:?}");
    assert!(parse(&format!("{EXAMPLE}{}", second.replace("10.77.0.0", "10.78.0.0"))).is_ok());
}

#[test]
fn who_begins_must_know_where_to() {
    let found = after("\"branch.example.org\"]  #", "\"300.1.1.1\"]  #");
    assert!(found[0].text.contains("no IP address and no name"), "{found:?}");
    let found = after("remote = [\"198.51.100.7\", \"branch.example.org\"]", "remote = \"any\"");
    assert!(found[0].text.contains("`start` needs to know where to"), "{found:?}");
    assert!(found[1].text.contains("`dpd_action` needs to know"), "{found:?}");
    let found = after("start = \"at-start\"", "start = \"always\"");
    assert!(found[0].text.contains("\"on-traffic\""), "{found:?}");
}

#[test]
fn a_packet_is_trapped_for_what_begins_with_it() {
    let source = EXAMPLE.replace("start = \"at-start\"", "start = \"on-traffic\"");
    let source = source.replace("dpd_action = \"restart\"", "dpd_action = \"trap\"");
    let config = parse(&source).expect("no mistakes");
    let begin = core::Start { incarnation: 1, recent_starts: 0, floors: Default::default() };
    let node = core::node(&config, &begin, None);
    let traps = &node.vips[0].path.traps;
    assert_eq!(traps.len(), 1);
    assert_eq!((traps[0].connection.as_str(), traps[0].child.as_str()), ("branch", "lan"));
    assert_eq!(traps[0].remote[0].to_string(), "10.8.0.0/16");
    let never = parse(EXAMPLE).expect("no mistakes");
    assert!(core::node(&never, &begin, None).vips[0].path.traps.is_empty());
}

#[test]
fn domains_are_names_and_go_with_servers() {
    let found = after("corp.example.org", "corp..example");
    assert!(found[0].text.contains("is no domain"), "{found:?}");
    let found = after("dns = [\"10.3.0.53\"]\n", "");
    assert!(found[0].text.contains("needs servers"), "{found:?}");
    let found = after("subnets = [\"10.3.0.0/24\"]", "subnets = [\"10.3.0.1/24\"]");
    assert!(found[0].text.contains("host bits"), "{found:?}");
}

#[test]
fn a_mistake_is_placed_and_says_what_is_allowed() {
    let found = after("kind = \"sqlite\"", "kind = \"redis\"");
    let line = EXAMPLE.lines().position(|line| line.starts_with("kind")).expect("there") + 1;
    assert_eq!((found[0].line, found[0].column), (line, 8));
    assert_eq!(found[0].text, "store \"redis\" does not exist; allowed is \"sqlite\", \"etcd\"");
    let error =
        parse(&EXAMPLE.replace("heartbeat_ms = 50", "heartbeat_ms = 5")).expect_err("out of range");
    let line =
        EXAMPLE.lines().position(|line| line.starts_with("heartbeat_ms")).expect("there") + 1;
    let expected = format!("test.toml:{line}:16: 5 is out of range; allowed is 10 to 10000");
    assert_eq!(error.to_string(), expected);
}

/// The annotated example with an etcd.
fn with_etcd(keys: &str) -> String {
    let sqlite = "kind = \"sqlite\"\npath = \"/var/lib/vipsec/store.db\"\n";
    assert!(EXAMPLE.contains(sqlite));
    EXAMPLE.replacen(sqlite, &format!("kind = \"etcd\"\n{keys}\n"), 1)
}

#[test]
fn an_etcd_is_a_store() {
    let all = "endpoints = [\"https://10.1.0.2:2379\", \"https://etcd-2.test:2379/\"]\n\
               prefix = \"net/vipsec\"\ntls = { ca = \"ca.pem\", certificate = \"c.pem\", \
               certificate_key = \"k.pem\" }\nuser = \"vipsec\"\npassword_file = \"pw\"\n\
               compact = false";
    let store = parse(&with_etcd(all)).expect("no mistakes").store.expect("a store");
    let store::Place::Etcd(etcd) = store.place else { panic!("{store:?}") };
    assert_eq!(etcd.endpoints, ["https://10.1.0.2:2379", "https://etcd-2.test:2379"]);
    assert_eq!((etcd.prefix.as_str(), etcd.compact), ("net/vipsec", false));
    assert_eq!(etcd.login, Some(("vipsec".to_owned(), "pw".into())));
    let identity = Some(("c.pem".into(), "k.pem".into()));
    assert_eq!(etcd.tls, Some(store::Tls { ca: "ca.pem".into(), identity }));
    let least = "endpoints = [\"http://[2001:db8::2]:2379\"]";
    let store = parse(&with_etcd(least)).expect("no mistakes").store.expect("a store");
    let store::Place::Etcd(etcd) = store.place else { panic!("{store:?}") };
    assert_eq!((etcd.prefix.as_str(), etcd.compact, etcd.tls), ("vipsec", true, None));
}

#[test]
fn mistakes_about_an_etcd_are_told() {
    let http = "endpoints = [\"http://10.1.0.2:2379\"]";
    for (keys, answer) in [
        (String::new(), "an etcd needs `endpoints`, such as"),
        ("endpoints = []".to_owned(), "an etcd needs `endpoints`, such as"),
        ("endpoints = [\"10.1.0.2:2379\"]".to_owned(), "is no endpoint; allowed is"),
        ("endpoints = [\"http://10.1.0.2\"]".to_owned(), "is no endpoint; allowed is"),
        ("endpoints = [\"https://10.1.0.2:2379\"]".to_owned(), "https needs `tls = { ca = FILE }`"),
        (
            "endpoints = [\"https://a:1\", \"http://b:1\"]\ntls = { ca = \"x\" }".to_owned(),
            "some of the endpoints are https and some are not",
        ),
        (format!("{http}\ntls = {{ ca = \"x\" }}"), "needs endpoints that begin with https://"),
        (
            "endpoints = [\"https://a:1\"]\ntls = { ca = \"x\", certificate = \"y\" }".to_owned(),
            "`certificate` and `certificate_key` go together",
        ),
        (format!("{http}\nuser = \"u\""), "`user` needs a `password_file`"),
        (format!("{http}\npassword_file = \"p\""), "`password_file` needs a `user`"),
        (format!("{http}\nprefix = \"/\""), "is no prefix; allowed are 1 to 128"),
        (format!("{http}\npath = \"/x\""), "`path` belongs to a store of kind \"sqlite\""),
    ] {
        let found = mistakes(&with_etcd(&keys));
        assert!(found.iter().any(|one| one.text.contains(answer)), "{keys}: {found:?}");
    }
    let found = after("key = \"/etc/vipsec/store.key\"", "key = \"k\"\ncompact = true");
    assert_eq!(found[0].text, "`compact` belongs to a store of kind \"etcd\"");
}

#[test]
fn several_mistakes_are_told_at_once() {
    let source = EXAMPLE
        .replace("workers = 1 ", "workers = 0 ")
        .replace("lost_after = 3", "lost_afer = 3")
        .replace("takeback = \"manual\"", "takeback = \"never\"")
        .replace("aes128-sha256-modp2048", "3des-sha1-modp1024")
        .replace("{ node = \"t1\" }", "{ node = \"t9\" }");
    let found = mistakes(&source);
    let texts: Vec<&str> = found.iter().map(|mistake| mistake.text.as_str()).collect();
    assert_eq!(texts.len(), 5, "{texts:#?}");
    assert!(texts[0].starts_with("0 is out of range"));
    assert!(
        texts[1].starts_with("unknown key `lost_afer`; allowed is `heartbeat_ms`, `lost_after`")
    );
    assert!(texts[2].contains("allowed is \"auto\", \"manual\""));
    assert!(texts[3].contains("3des is refused"));
    assert!(texts[4].contains("allowed is \"a\", \"b\", \"t1\""));
    assert!(found.is_sorted_by_key(|mistake| mistake.line));
}

#[test]
fn limits_have_ranges() {
    for (from, to, answer) in [
        ("puzzle_bits = 16 ", "puzzle_bits = 33 ", "33 is out of range; allowed is 0 to 32"),
        ("puzzles_from = 1024", "puzzles_from = 5000", "out of range; allowed is 0 to 4096"),
        ("children = 64", "children = 0", "0 is out of range; allowed is 1 to 1024"),
    ] {
        let found = after(from, to);
        assert_eq!(found.len(), 1, "{to:?}: {found:#?}");
        assert!(found[0].text.contains(answer), "{to:?}: {found:#?}");
    }
}

#[test]
fn identities_hold_no_terminators() {
    //= RFC 7296 section 3.5 #2: not in a name
    //= RFC 7296 section 3.5 #3: nor in an address of mail
    for to in ["\"gw.example.org\\n\"", "\"gw@example.org\\u0000\""] {
        let found = after("\"gw@example.org\"", to);
        assert_eq!(found.len(), 1, "{to:?}: {found:#?}");
        assert!(found[0].text.contains("is no identity; allowed is"), "{to:?}: {found:#?}");
    }
}

#[test]
fn every_kind_of_mistake_has_its_answer() {
    for (from, to, answer) in [
        ("name = \"a\"    ", "name = \"A\"    ", "is no node name; allowed are"),
        (
            "name = \"a\"    ",
            "name = \"z\"    ",
            "is not among the members; allowed is \"a\", \"b\", \"t1\"",
        ),
        ("name = \"a\"    ", "nam = \"a\"    ", "unknown key `nam`; allowed is `name`"),
        (
            "announce_version = false",
            "refuse_nat = true\nforce_encapsulation = true",
            "pretends the NAT that `refuse_nat` refuses",
        ),
        ("[node]", "[nodes]", "unknown key `nodes`; allowed is `node`"),
        ("key = \"/etc/vipsec/store.key\"", "", "`key` is missing; it must be given here"),
        (
            "control = \"10.1.0.3:7400\"",
            "control = \"10.1.0.3\"",
            "is no address with a port; allowed is",
        ),
        ("control = \"10.1.0.3:7400\"", "control = \"10.1.0.2:7400\"", "is given to two members"),
        ("public_key = \"PUAX", "public_key = \"xxPUAX", "is no public key; allowed is"),
        ("roles = [\"target\"]", "roles = [\"boss\"]", "allowed is \"candidate\", \"target\""),
        ("rank = 50", "rank = 100", "rank 100 is given twice"),
        ("rank = 50", "rank = 255", "allowed is 1 to 254"),
        (
            "node = \"b\", rank",
            "node = \"t1\", rank",
            "no member with the role \"candidate\"; allowed is \"a\", \"b\"",
        ),
        ("interface = \"out0\"", "", "`interface` is missing"),
        ("interface = \"out0\"", "interface = \"a/b\"", "is no interface name; allowed"),
        ("address = \"192.0.2.10\"", "address = \"224.0.0.1\"", "cannot be a VIP; allowed is"),
        (
            "protected = [\"10.77.0.0/24\"]",
            "protected = [\"10.77.0.1/24\"]",
            "has host bits; allowed is \"10.77.0.0/24\"",
        ),
        (
            "pool = \"clients\"",
            "pool = \"klients\"",
            "pool \"klients\" does not exist; allowed is \"clients\"",
        ),
        (
            "psk_file = \"/etc/vipsec/road.psk\"",
            "",
            "a pre-shared key is missing; allowed is `psk` or `psk_file`",
        ),
        ("psk_file = \"/etc/vipsec/road.psk\"", "psk = \"\"", "is empty; allowed"),
        ("mode = \"tunnel\"", "mode = \"tunel\"", "allowed is \"tunnel\", \"transport\""),
        ("remote = [\"10.8.0.0/16\"]", "", "`remote` is missing; without a pool"),
        ("local = [\"10.3.0.0/24\"]", "local = []", "no selector; allowed are"),
        ("port = 80 ", "", "the port is missing; allowed is `port = 80`"),
        ("port = 80 ", "port = \"80\" ", "wrong type: string; allowed is an integer"),
        (
            "method = \"round-robin\"",
            "method = \"random\"",
            "allowed is \"round-robin\", \"weighted\", \"hash\"",
        ),
        ("level = \"info\"", "level = \"loud\"", "allowed is \"error\", \"warn\""),
        ("[[vip.service]]", "[vip.service]", "allowed is `[[…service]]`"),
        ("[[vip]]\n", "[[vip]]\ncolour = 1\n", "unknown key `colour`; allowed is `address`"),
    ] {
        let found = after(from, to);
        assert!(found.iter().any(|m| m.text.contains(answer)), "{to:?}: {found:#?}");
        assert_eq!(found.len(), 1, "{to:?}: {found:#?}");
    }
}

#[test]
fn mistakes_about_ike_have_their_answers() {
    let choices = "allowed is \"replace\", \"keep\", \"reject\"";
    for (from, to, answer) in [
        ("fragment_size = 1280", "fragment_size = 100", "allowed is 576 to 65535"),
        ("duplicates = \"replace\"", "duplicates = \"both\"", choices),
        ("duplicates = \"replace\"", "auth = \"eap\"", "allowed is \"psk\", \"pubkey\" or"),
        ("duplicates = \"replace\"", "auth = \"pubkey\"", "a pre-shared key is of no use with"),
        ("psk_file = \"/etc/vipsec/branch.psk\"", "auth = \"pubkey\"", "needs all three"),
        ("duplicates = \"replace\"", "auth = \"eap-mschapv2\"", "`users` is missing"),
        (
            "start = \"at-start\"",
            "start = \"at-start\"\nauth = \"eap-mschapv2\"",
            "the peer begins",
        ),
        ("ppk_id = \"branch-2026\"", "", "allowed is both or neither"),
        ("ppk_id = \"branch-2026\"", "ppk_id = \"\"", "is empty; allowed is"),
        ("duplicates = \"replace\"", "crl = \"/etc/vipsec/x\"", "need `auth = \"pubkey\"`"),
    ] {
        let found = after(from, to);
        assert!(found.iter().any(|m| m.text.contains(answer)), "{to:?}: {found:#?}");
    }
}

#[test]
fn a_remote_side_without_bounds_is_what_the_vip_protects() {
    let all = EXAMPLE.replace("remote = [\"10.8.0.0/16\"]", "remote = [\"0.0.0.0/0[tcp/443]\"]");
    let config = parse(&all).expect("no mistakes");
    let vip = &config.vips[0];
    let Selector::Fixed(remote) = vip.connections[1].children[0].remote[0] else {
        panic!("{vip:?}");
    };
    assert_eq!(remote.first_address.to_string(), "10.77.0.0");
    assert_eq!(remote.last_address.to_string(), "10.77.0.255");
    assert_eq!((remote.protocol, remote.first_port, remote.last_port), (6, 443, 443));
    assert!(vip.protected.iter().all(|prefix| prefix.length() == 24), "{:?}", vip.protected);
    for (from, to) in
        [("protected = [\"10.77.0.0/24\"]", ""), ("\"0.0.0.0/0[tcp/443]\"", "\"::/0\"")]
    {
        let found = mistakes(&all.replace(from, to));
        assert!(found[0].text.contains("would close this host's way to everywhere"), "{found:?}");
        assert_eq!(found.len(), 1, "{found:?}");
    }
}

#[test]
fn broken_toml_is_placed() {
    let found = mistakes("[node]\nname = \"a\nx = ]\n");
    assert!(found.iter().any(|mistake| mistake.line == 2), "{found:?}");
    assert_eq!(
        mistakes("")[0].text,
        "the section `[node]` is missing; it must give at least `name`"
    );
}

#[test]
fn a_secret_is_not_shown() {
    let found = after("psk_file = \"/etc/vipsec/road.psk\"", "psk = 73571357");
    assert!(!found[0].text.contains("7357"), "{found:?}");
    let config =
        parse(&EXAMPLE.replace("psk_file = \"/etc/vipsec/road.psk\"", "psk = \"hush-hush\""))
            .expect("fine");
    assert!(!format!("{config:?}").contains("hush"));
    let source = SINGLE.replace("psk_file = \"/etc/vipsec/road.psk\"", "psk = \"hush-hush\"");
    let raw = file::read(&source, &mut mistake::Mistakes::default());
    let shown = format!("{raw:?}");
    assert!(shown.contains("SecretText(9 bytes)") && !shown.contains("hush"), "{shown}");
}

#[test]
fn what_is_unwise_is_noted() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("vipsec.toml");
    let source = SINGLE.replace("psk_file = \"/etc/vipsec/road.psk\"", "psk = \"short\"");
    std::fs::write(&file, &source).expect("written");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).expect("set");
    let config = Config::load(&file).expect("no mistakes");
    let notes = config.notes(&file).join("\n");
    assert!(notes.contains("0644") && notes.contains("chmod 600"), "{notes}");
    assert!(notes.contains("\"road\"") && !notes.contains("short"), "{notes}");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).expect("set");
    assert!(!config.notes(&file).join("\n").contains("chmod"));
}

#[test]
fn what_a_node_needs_depends_on_what_it_may_be() {
    let found = mistakes(&SINGLE.replace("[store]", "").replace("key = ", "# key = "));
    assert!(found[0].text.contains("a section `[store]` must be given"), "{found:?}");
    let target = "[node]\nname = \"t1\"\nidentity = \"k\"\n".to_owned()
        + &EXAMPLE[EXAMPLE.find("\n[[member]]").expect("there")
            ..EXAMPLE.find("# A virtual").expect("there")]
        + "[[vip]]\naddress = \"192.0.2.10\"\n";
    let found = mistakes(&target);
    assert!(found[0].text.contains("`protected` is missing"), "{found:?}");
    let config = parse(&(target + "protected = [\"10.77.0.0/24\"]\n")).expect("a target");
    assert!(!config.is_candidate_for(&config.vips[0]));
    assert_eq!(config.vips[0].candidates.len(), 2);
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]
    /// Whatever is cut out of a file, the answer is a value or placed mistakes, never a panic.
    #[test]
    fn damaged_files_are_answered(at in 0_usize..4000, length in 0_usize..200) {
        let bound = |mut at: usize| {
            at = at.min(EXAMPLE.len());
            while !EXAMPLE.is_char_boundary(at) { at += 1; }
            at
        };
        let source = EXAMPLE[..bound(at)].to_owned() + &EXAMPLE[bound(at + length)..];
        if let Err(ConfigError::Mistakes { mistakes, .. }) = parse(&source) {
            proptest::prop_assert!(!mistakes.is_empty());
            proptest::prop_assert!(mistakes.iter().all(|m| m.line >= 1 && m.column >= 1));
        }
    }
}
