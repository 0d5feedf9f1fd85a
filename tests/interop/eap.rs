//! strongSwan as a road warrior with a password (EAP-MSCHAPv2); the gateway has a certificate.

use anyhow::{Result, ensure};
use vipsec_lab::authority::Authority;
use vipsec_lab::run::Lab;
use vipsec_lab::strongswan::{Credential, Settings};
use vipsec_lab::topology::HOST;
use vipsec_tests::in_lab;

use crate::peers::{Peers, client, vip_head};

const USERS: &str = "# name and password\nalice@test one of her own\nbob another\n";

/// The gateway and a client that is `user`, and knows it by `password`.
fn ends(lab: &Lab, user: &str, password: &str) -> Result<(String, Settings)> {
    let directory = lab.subdirectory("certificates")?;
    let root = Authority::root(&directory, "root", "ecdsa384")?;
    let own = root.issue("gw@test", "ecdsa256")?;
    let users = lab.directory().join("users");
    std::fs::write(&users, USERS)?;
    std::fs::set_permissions(&users, std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
    let vips = format!(
        "{}[[vip.connection]]\nname = \"road\"\nlocal_id = \"gw@test\"\n\
         auth = \"eap-mschapv2\"\ncert = {:?}\nkey = {:?}\nusers = {users:?}\npool = \"clients\"\n\
         [[vip.connection.child]]\nname = \"net\"\nlocal = [\"10.3.0.0/24\"]\n\
         remote = [\"dynamic\"]\n",
        vip_head(),
        own.certificate,
        own.key
    );
    let mut settings = client();
    settings.connections[0].credential = Credential::Password {
        authority: root.own.certificate.clone(),
        user: user.into(),
        password: password.into(),
    };
    Ok((vips, settings))
}

#[test]
fn a_password_lets_a_road_warrior_in() {
    in_lab(|lab| {
        let (vips, settings) = ends(lab, "alice@test", "one of her own")?;
        let mut peers = Peers::start(lab, vips, &settings)?;
        peers.swan.initiate("net")?;
        let sa = peers.only_sa()?;
        let said = "EAP method EAP_MSCHAPV2 succeeded, MSK established";
        ensure!(peers.swan.log()?.contains(said), "{}", peers.swan.log()?);
        let ours = peers.gateway.sas()?;
        ensure!(ours[0].to_string().contains("alice@test"), "who has proven it counts: {ours:?}");
        let ping = peers.site.client.run(&format!("ping -c 3 -i 0.1 -W 2 {HOST}"))?;
        ensure!(ping.contains(" 0% packet loss"), "{ping}");
        // The next owner has the keys that the session key has confirmed, and needs no password.
        peers.gateway.process().kill()?;
        peers.gateway.process().start_again()?;
        peers.gateway.wait_until_up()?;
        peers.swan.swanctl("--rekey --ike gw")?;
        vipsec_lab::command::wait_for("a new IKE SA", crate::peers::PATIENCE, || {
            Ok((peers.only_sa()?.spis != sa.spis).then_some(()))
        })
    });
}

#[test]
fn a_wrong_password_does_not() {
    in_lab(|lab| {
        let (vips, settings) = ends(lab, "bob", "one of her own")?;
        let peers = Peers::start(lab, vips, &settings)?;
        ensure!(peers.swan.initiate("net").is_err(), "bob was let in");
        let log = peers.swan.log()?;
        ensure!(log.contains("received AUTHENTICATION_FAILED notify error"), "{log}");
        peers.wait_for_silence()
    });
}
