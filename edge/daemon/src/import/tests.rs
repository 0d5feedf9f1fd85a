//! Usual configurations of strongSwan, and what becomes of them.

use super::*;
use crate::config::Config;
use crate::config::connection::{Connection, Remote};
use crate::config::proof::Proof;
use std::os::unix::fs::PermissionsExt as _;

/// Imports a text, and reads the outcome as our own configuration.
fn import(text: &str) -> (Config, Imported) {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("swanctl.conf");
    std::fs::write(&file, text).expect("written");
    let place = Place { vip: None, interface: "eth0".to_owned(), secrets: dir.path().to_owned() };
    let imported = swanctl(&file, &place).expect("readable");
    for (path, _) in &imported.secrets {
        let mode = std::fs::metadata(path).expect("made").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    let read_psk = |path: &Path| keys::read_psk(path).map_err(|error| error.to_string());
    let config = Config::parse(&imported.text, Path::new("vipsec.toml"), &read_psk);
    (config.unwrap_or_else(|why| panic!("{why}\n{}", imported.text)), imported)
}

const ROAD: &str = "connections {\n rw {\n  local_addrs = 192.0.2.10\n  pools = clients\n\
    \n  proposals = aes256gcm16-prfsha256-x25519, 3des-sha1-modp1024\n  dpd_delay = 30s\n\
    \n  local {\n   auth = psk\n   id = gw.example.org\n  }\n  remote {\n   auth = psk\n  }\n\
    \n  children {\n   net {\n    local_ts = 10.3.0.0/24\n    rekey_time = 1h\n\
    \n    updown = /usr/lib/ipsec/_updown iptables\n   }\n  }\n }\n}\n\
    secrets {\n ike-1 {\n  secret = \"not to be shown\"\n }\n eap-bob {\n  secret = x\n }\n}\n\
    pools {\n clients {\n  addrs = 10.77.0.0/24\n  dns = 10.3.0.53\n  25 = corp.example\n }\n}\n";

#[test]
fn road_warriors_with_a_pool() {
    let (config, imported) = import(ROAD);
    let vip = &config.vips[0];
    assert_eq!((vip.address.to_string(), vip.pools.len()), ("192.0.2.10".to_owned(), 1));
    let connection = &vip.connections[0];
    assert_eq!((connection.name.as_str(), connection.proposals.len()), ("rw", 1));
    assert_eq!(connection.remote, Remote::Any);
    assert_eq!(psk(connection), b"not to be shown");
    assert_eq!(connection.dns_domains, ["corp.example"]);
    assert_eq!(connection.children[0].rekey.as_secs(), 3600);
    assert!(!imported.text.contains("not to be shown"));
    let left = imported.left_out.join("\n");
    for what in ["3des", "updown", "secrets.eap-bob"] {
        assert!(left.contains(what), "{what} in {left}");
    }
    assert_eq!(imported.left_out.len(), 3, "{left}");
}

#[test]
fn sites_that_inherit_and_begin() {
    let (config, imported) = import(
        "base {\n local_addrs = 192.0.2.10\n local {\n  auth = psk\n  id = hq\n }\n\
         remote {\n  auth = psk\n }\n encap = yes\n}\n\
         connections {\n one : base {\n  remote_addrs = 198.51.100.7, branch.example.org\n\
         remote {\n   id = one\n  }\n  children {\n   lan {\n    local_ts = 10.3.0.0/24\n\
         remote_ts = 10.8.0.0/16[tcp/443]\n    start_action = start\n    dpd_action = restart\n   }\n  }\n }\n\
         two : base {\n  remote_addrs = 198.51.100.8\n  remote {\n   id = two\n  }\n  children {\n\
         host {\n    mode = transport\n    start_action = trap\n   }\n  }\n }\n}\n\
         secrets {\n ike-a {\n  id = one\n  secret = first\n }\n ike-b {\n  id-x = two\n  id-y = hq\n\
         secret = 0x0102\n }\n}\n",
    );
    assert_eq!(imported.left_out, Vec::<String>::new());
    let [one, two] = config.vips[0].connections.as_slice() else { panic!("two connections") };
    assert_eq!((psk(one), psk(two)), (&b"first"[..], &[1, 2][..]));
    assert!(one.force_encapsulation && two.force_encapsulation);
    assert!(
        matches!(&one.remote, Remote::At(a, n) if a.len() == 1 && n == &["branch.example.org"])
    );
    assert_eq!((one.start, two.start), (vipsec_ike::Start::AtStart, vipsec_ike::Start::OnTraffic));
    assert_eq!(one.dpd_action, vipsec_ike::DpdAction::Restart);
    assert_eq!(two.children[0].mode, vipsec_ike::Mode::Transport);
}

#[test]
fn what_cannot_be_taken_over_is_listed_and_the_rest_goes_on() {
    let more = "connections {\n old {\n  version = 1\n }\n cert {\n  local_addrs = 192.0.2.10\n\
        local {\n   auth = pubkey\n   certs = x.pem\n  }\n  remote {\n   auth = psk\n  }\n }\n\
        nowhere {\n  local {\n   auth = psk\n  }\n }\n keyless {\n  local_addrs = 192.0.2.10\n\
        local {\n   auth = psk\n   id = a\n  }\n  remote {\n   auth = psk\n   id = *.example.org\n  }\n }\n}\n\
        authorities {\n ca {\n  cacert = x\n }\n}\n";
    let (config, imported) = import(&format!("{ROAD}{more}"));
    assert_eq!(config.vips[0].connections.len(), 1);
    let left = imported.left_out.join("\n");
    for what in
        ["old: IKEv1", "auth = pubkey", "nowhere: no local", "*.example.org", "authorities.ca"]
    {
        assert!(left.contains(what), "{what} in {left}");
    }
}

#[test]
fn a_secret_is_never_written_over() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("swanctl.conf");
    std::fs::write(&file, ROAD).expect("written");
    std::fs::write(dir.path().join("rw.psk"), "mine").expect("written");
    let secrets = dir.path().to_owned();
    let place = Place { vip: None, interface: "eth0".to_owned(), secrets };
    assert!(matches!(swanctl(&file, &place), Err(ImportError::Key(KeyFileError::Exists(_)))));
    assert_eq!(std::fs::read_to_string(dir.path().join("rw.psk")).expect("there"), "mine");
}

fn psk(connection: &Connection) -> &[u8] {
    match &connection.proof {
        Proof::Psk { key, .. } => key.expose(),
        Proof::Pubkey(_) | Proof::Eap(_) => &[],
    }
}
