//! Authentication by certificate with strongSwan: every kind of signature in both roles, chains,
//! refusals, and what comes after a takeover.

use anyhow::{Context, Result, ensure};
use vipsec_lab::authority::{Authority, Certificate};
use vipsec_lab::command::wait_for;
use vipsec_lab::probe::Prober;
use vipsec_lab::run::Lab;
use vipsec_lab::strongswan::{Credential, Settings, exchanges};
use vipsec_lab::topology::{CLIENT, HOST, INNER_VIP};
use vipsec_tests::in_lab;

use crate::peers::{PATIENCE, Peers, client, vip_head};

/// How strongSwan signs, and the kind of both keys.
struct Row {
    name: &'static str,
    kind: &'static str,
    scheme: &'static str,
    /// What its log calls this.
    logged: &'static str,
    /// What it calls our signature.
    ours: &'static str,
    /// The certificates come from an authority under the trusted one.
    below: bool,
}

const ROWS: [Row; 6] = [
    Row {
        name: "pss",
        kind: "rsa3072",
        scheme: "rsa/pss-sha256",
        logged: "RSA_EMSA_PSS_SHA2_256_SALT_32",
        ours: "RSA_EMSA_PSS_SHA2_256_SALT_32",
        below: true,
    },
    Row {
        name: "pkcs1",
        kind: "rsa2048",
        scheme: "rsa-sha384",
        logged: "RSA_EMSA_PKCS1_SHA2_384",
        ours: "RSA_EMSA_PSS_SHA2_256_SALT_32",
        below: false,
    },
    same("p256", "ecdsa256", "ECDSA_WITH_SHA256_DER"),
    same("p384", "ecdsa384", "ECDSA_WITH_SHA384_DER"),
    same("p521", "ecdsa521", "ECDSA_WITH_SHA512_DER"),
    same("ed25519", "ed25519", "ED25519"),
];

const fn same(name: &'static str, kind: &'static str, logged: &'static str) -> Row {
    Row { name, kind, scheme: "pubkey", logged, ours: logged, below: false }
}

impl Row {
    fn client(&self) -> String {
        format!("{}@client.test", self.name)
    }

    fn gateway(&self) -> String {
        format!("{}@gw.test", self.name)
    }
}

/// Both ends' configurations, one connection after the other.
struct Ends {
    root: Authority,
    below: Authority,
    vips: String,
    settings: Settings,
}

impl Ends {
    fn new(lab: &Lab) -> Result<Self> {
        let directory = lab.subdirectory("certificates")?;
        let root = Authority::root(&directory, "root", "ecdsa384")?;
        let below = root.intermediate("below", "ecdsa384")?;
        let (vips, mut settings) = (vip_head(), client());
        settings.connections.clear();
        Ok(Self { root, below, vips, settings })
    }

    /// Adds a connection between sites, for two certificates, with its own names and networks.
    fn add(
        &mut self,
        row: &Row,
        theirs: &Certificate,
        ours: &Certificate,
        more: &str,
    ) -> Result<()> {
        let index = self.settings.connections.len();
        let (name, root) = (row.name, self.root.own.certificate.clone());
        let (mut authorities, mut cert) = (vec![root.clone()], ours.certificate.clone());
        if row.below {
            authorities.push(self.below.own.certificate.clone());
            cert = ours.chain(&self.below)?;
        }
        self.vips.push_str(&format!(
            "[[vip.connection]]\nname = \"{name}\"\nlocal_id = \"{}\"\nremote_id = \"{}\"\n\
             auth = \"pubkey\"\ncert = {cert:?}\nkey = {:?}\nca = {root:?}\nremote = \"{CLIENT}\"\n\
             {more}\n[[vip.connection.child]]\nname = \"lan-{name}\"\nlocal = [\"10.3.0.0/24\"]\n\
             remote = [\"10.8.{index}.0/24\"]\n",
            row.gateway(),
            row.client(),
            ours.key,
        ));
        let mut connection = client().connections.remove(0);
        connection.name = name.into();
        (connection.local_id, connection.remote_id) = (row.client(), row.gateway());
        let scheme = row.scheme.into();
        connection.credential =
            Credential::Certificate { authorities, own: theirs.clone(), scheme };
        connection.request = String::new();
        let child = &mut connection.children[0];
        child.name = format!("net-{name}");
        (child.local, child.remote) = (format!("10.8.{index}.0/24"), "10.3.0.0/24".into());
        self.settings.connections.push(connection);
        Ok(())
    }

    /// Adds a connection for which everything is as it should be.
    fn add_row(&mut self, row: &Row) -> Result<()> {
        let issuer = if row.below { self.below.clone() } else { self.root.clone() };
        let theirs = issuer.issue(&row.client(), row.kind)?;
        let ours = issuer.issue(&row.gateway(), row.kind)?;
        self.add(row, &theirs, &ours, "")
    }

    fn start(self, lab: &Lab) -> Result<Peers> {
        let peers = Peers::start(lab, self.vips, &self.settings)?;
        for index in 0..self.settings.connections.len() {
            peers.site.client.address("lo", &format!("10.8.{index}.1/32"))?;
        }
        peers.site.host.ip(&format!("route add 10.8.0.0/16 via {INNER_VIP}"))?;
        Ok(peers)
    }
}

#[test]
fn every_kind_of_signature_in_both_roles() {
    in_lab(every_kind);
}

fn every_kind(lab: &Lab) -> Result<()> {
    let mut ends = Ends::new(lab)?;
    for row in &ROWS {
        ends.add_row(row)?;
    }
    let peers = ends.start(lab)?;
    for row in &ROWS {
        let begun = peers.swan.log()?.len();
        peers.swan.initiate(&format!("net-{}", row.name)).with_context(|| row.name)?;
        check(&peers, row, begun).with_context(|| format!("{} initiates", row.name))?;
        peers.swan.swanctl(&format!("--terminate --ike {}", row.name))?;
        peers.wait_for_silence()?;
        let begun = peers.swan.log()?.len();
        peers.gateway.cli(&format!("initiate {0} lan-{0}", row.name))?;
        check(&peers, row, begun).with_context(|| format!("{} responds", row.name))?;
        peers.gateway.cli(&format!("terminate ike {}", row.name))?;
        peers.wait_for_silence()?;
    }
    Ok(())
}

/// A tunnel is up, with the signatures that were meant, and with the chain in fragments if it is one.
fn check(peers: &Peers, row: &Row, begun: usize) -> Result<()> {
    let sa = wait_for("the tunnel", PATIENCE, || Ok(peers.only_sa().ok()))?;
    ensure!(sa.children[0].name == format!("net-{}", row.name), "{sa:?}");
    let log = peers.swan.log()?;
    let log = log.get(begun..).unwrap_or_default();
    let mut said = vec![
        format!("authentication of '{}' (myself) with {} successful", row.client(), row.logged),
        format!("authentication of '{}' with {} successful", row.gateway(), row.ours),
        "received cert request for \"C=CH, O=vipsec lab, CN=root\"".into(),
    ];
    if row.below {
        said.push("received issuer cert \"C=CH, O=vipsec lab, CN=below\"".into());
        said.push("splitting IKE message".into());
        said.push("received fragment #1 of ".into());
    }
    for words in said {
        ensure!(log.contains(&words), "charon did not say {words:?}:\n{log}");
    }
    Ok(())
}

#[test]
fn who_cannot_prove_an_identity_is_refused() {
    in_lab(refusals);
}

fn refusals(lab: &Lab) -> Result<()> {
    let row = |name| Row { name, ..same("", "ecdsa256", "") };
    let mut ends = Ends::new(lab)?;
    let ours = |ends: &Ends, row: &Row| ends.root.issue(&row.gateway(), row.kind);

    let revoked = row("revoked");
    let theirs = ends.root.issue(&revoked.client(), revoked.kind)?;
    let list = ends.root.revoke(&theirs)?;
    let own = ours(&ends, &revoked)?;
    ends.add(&revoked, &theirs, &own, &format!("crl = {list:?}"))?;

    // strongSwan claims what its certificate says instead of what it does not say.
    let another = row("another");
    let theirs = ends.root.issue("somebody@client.test", another.kind)?;
    let own = ours(&ends, &another)?;
    ends.add(&another, &theirs, &own, "")?;

    let foreign = row("foreign");
    let elsewhere = Authority::root(&lab.subdirectory("elsewhere")?, "root", "ecdsa384")?;
    let theirs = elsewhere.issue(&foreign.client(), foreign.kind)?;
    let own = ours(&ends, &foreign)?;
    ends.add(&foreign, &theirs, &own, "")?;

    // What the gateway claims is not in its certificate.
    let claimed = row("claimed");
    let theirs = ends.root.issue(&claimed.client(), claimed.kind)?;
    let own = ends.root.issue("somebody@gw.test", claimed.kind)?;
    ends.add(&claimed, &theirs, &own, "")?;

    // One that is right, with the same list: the others are not refused for something else.
    let good = row("good");
    let theirs = ends.root.issue(&good.client(), good.kind)?;
    let own = ours(&ends, &good)?;
    ends.add(&good, &theirs, &own, &format!("crl = {list:?}"))?;

    let peers = ends.start(lab)?;
    for name in ["revoked", "another", "foreign"] {
        let begun = peers.swan.log()?.len();
        ensure!(peers.swan.initiate(&format!("net-{name}")).is_err(), "{name} was let in");
        let log = peers.swan.log()?;
        let told = log[begun..].contains("received AUTHENTICATION_FAILED notify error");
        ensure!(told, "{name}: {}", &log[begun..]);
    }
    ensure!(peers.swan.initiate("net-claimed").is_err(), "strongSwan believed us");
    peers.wait_for_silence()?;
    for name in ["revoked", "another", "foreign"] {
        let begun = peers.swan.log()?.len();
        peers.gateway.cli(&format!("initiate {name} lan-{name}"))?;
        wait_for("the refusal", PATIENCE, || {
            let told = peers.swan.log()?[begun..]
                .contains("parsed INFORMATIONAL request 2 [ N(AUTH_FAILED) ]");
            Ok(told.then_some(()))
        })
        .with_context(|| format!("{name}: {}", peers.swan.log().unwrap_or_default()))?;
        peers.wait_for_silence()?;
    }
    peers.swan.initiate("net-good")?;
    peers.only_sa().map(|_| ())
}

#[test]
fn rekeys_go_on_after_a_takeover() {
    in_lab(takeover);
}

/// A process that begins anew takes over from itself.
fn takeover(lab: &Lab) -> Result<()> {
    let mut ends = Ends::new(lab)?;
    let row = &ROWS[0];
    ends.add_row(row)?;
    let mut peers = ends.start(lab)?;
    peers.swan.initiate("net-pss")?;
    let mut ping = Prober::start(lab, &peers.site.host, "ping", "ping --to 10.8.0.1")?;
    ping.wait_until_flowing(1)?;
    peers.gateway.process().kill()?;
    peers.gateway.process().start_again()?;
    peers.gateway.wait_until_up()?;
    wait_for("traffic after the takeover", PATIENCE, || {
        let back = peers.site.client.run(&format!("ping -c 1 -W 1 -I 10.8.0.1 {HOST}"));
        Ok(back.is_ok().then_some(()))
    })?;
    let ways: [fn(&Peers) -> Result<String>; 4] = [
        |peers| peers.swan.swanctl("--rekey --child net-pss"),
        |peers| peers.swan.swanctl("--rekey --ike pss"),
        |peers| peers.gateway.cli("rekey child lan-pss"),
        |peers| peers.gateway.cli("rekey ike pss"),
    ];
    for way in ways {
        let before = peers.only_sa()?;
        way(&peers)?;
        wait_for("new SPIs", PATIENCE, || {
            let sa = peers.only_sa()?;
            let changed =
                sa.spis != before.spis || sa.children[0].spi_in != before.children[0].spi_in;
            Ok(changed.then_some(()))
        })?;
    }
    let back = peers.site.client.run(&format!("ping -c 3 -i 0.1 -W 2 -I 10.8.0.1 {HOST}"))?;
    ensure!(back.contains(" 0% packet loss"), "{back}");
    ping.finish()?;
    let counts = exchanges(&peers.swan.log()?);
    ensure!(counts["IKE_SA_INIT"] == 1, "the peer began anew: {counts:?}");
    Ok(())
}
