//! Two hosts on one cable, and a tunnel between them by strongSwan or by vipsec: the same inner
//! addresses, the same algorithms, the same length of everything.

use anyhow::{Context, Result, ensure};
use std::time::Duration;
use vipsec_lab::command::wait_for;
use vipsec_lab::netns::{Namespace, cable};
use vipsec_lab::node::{Node, Place, Setup, Store, make_store_key};
use vipsec_lab::run::Lab;
use vipsec_lab::strongswan::{Child, Connection, Credential, Settings, StrongSwan};

/// How long a tunnel may take to come up.
const PATIENCE: Duration = Duration::from_secs(15);

/// One of the two ends.
#[derive(Debug, Clone, Copy)]
pub(super) struct End {
    /// Its namespace.
    pub(super) name: &'static str,
    /// Its address on the cable.
    pub(super) outer: &'static str,
    /// The VIP that vipsec has there.
    pub(super) vip: &'static str,
    /// The address behind it.
    pub(super) inner: &'static str,
}

pub(super) const LEFT: End =
    End { name: "left", outer: "192.0.2.1", vip: "192.0.2.11", inner: "10.31.0.1" };
pub(super) const RIGHT: End =
    End { name: "right", outer: "192.0.2.2", vip: "192.0.2.12", inner: "10.32.0.1" };

/// The two namespaces.
pub(super) struct Pair {
    pub(super) left: Namespace,
    pub(super) right: Namespace,
}

impl Pair {
    pub(super) fn build(lab: &Lab) -> Result<Self> {
        let (left, right) = (lab.namespace(LEFT.name)?, lab.namespace(RIGHT.name)?);
        cable(&left, "out0", &right, "out0")?;
        for (namespace, end) in [(&left, LEFT), (&right, RIGHT)] {
            namespace.address("out0", &format!("{}/24", end.outer))?;
            namespace.address("lo", &format!("{}/32", end.inner))?;
        }
        Ok(Self { left, right })
    }

    /// Both ends with their namespaces.
    pub(super) fn ends(&self) -> [(&Namespace, End, End); 2] {
        [(&self.left, LEFT, RIGHT), (&self.right, RIGHT, LEFT)]
    }
}

/// A strongSwan end of the tunnel.
pub(super) fn strongswan(end: End, other: End) -> Settings {
    let connection = Connection {
        name: "pair".into(),
        local: end.outer.into(),
        remote: other.outer.into(),
        proposal: "aes256gcm16-prfsha256-x25519".into(),
        local_id: end.outer.into(),
        remote_id: other.outer.into(),
        credential: Credential::SharedKey("topsecretpsk".into()),
        request: String::new(),
        pool: String::new(),
        extra: String::new(),
        children: vec![Child {
            name: "net".into(),
            local: format!("{}/32", end.inner),
            remote: format!("{}/32", other.inner),
            proposal: "aes256gcm16-noesn".into(),
            extra: String::new(),
        }],
    };
    Settings { connections: vec![connection], ..Settings::default() }
}

/// Brings a strongSwan tunnel up; it goes down when the ends are dropped.
pub(super) fn strongswan_pair(lab: &Lab, pair: &Pair) -> Result<[StrongSwan; 2]> {
    let left = StrongSwan::start(lab, &pair.left, &strongswan(LEFT, RIGHT))?;
    let right = StrongSwan::start(lab, &pair.right, &strongswan(RIGHT, LEFT))?;
    right.initiate("net")?;
    Ok([left, right])
}

/// Brings a vipsec tunnel up, with ESP in UDP or as such.
pub(super) fn vipsec_pair(lab: &Lab, pair: &Pair, is_encapsulated: bool) -> Result<[Node; 2]> {
    let mut nodes = Vec::new();
    for (namespace, end, other) in pair.ends() {
        let vips = format!(
            "[[vip]]\naddress = \"{vip}\"\ninterface = \"out0\"\n\
             [[vip.connection]]\nname = \"pair\"\nlocal_id = \"{vip}\"\nremote_id = \"{peer}\"\n\
             psk = \"topsecretpsk\"\nremote = \"{peer}\"\nstart = \"{start}\"\n\
             proposals = [\"aes256gcm16-prfsha256-x25519\"]\n\
             force_encapsulation = {is_encapsulated}\n\
             [[vip.connection.child]]\nname = \"net\"\nlocal = [\"{own}/32\"]\n\
             remote = [\"{inner}/32\"]\nproposals = [\"aes256gcm16\"]\n",
            vip = end.vip,
            peer = other.vip,
            start = if end.name == RIGHT.name { "at-start" } else { "never" },
            own = end.inner,
            inner = other.inner,
        );
        nodes.push(vipsec(lab, namespace, end.name, vips)?);
    }
    let [left, right] = <[Node; 2]>::try_from(nodes).ok().context("two ends")?;
    wait_for("the tunnel", PATIENCE, || {
        let children = |sa: &serde_json::Value| sa["children"].as_array().map_or(0, Vec::len);
        Ok(right.sas()?.iter().any(|sa| children(sa) > 0).then_some(()))
    })?;
    Ok([left, right])
}

/// Starts a single vipsec gateway.
pub(super) fn vipsec(lab: &Lab, namespace: &Namespace, name: &str, vips: String) -> Result<Node> {
    let key = lab.directory().join(format!("{name}.key"));
    let key = if key.exists() { key } else { make_store_key(lab, name)? };
    let file = lab.directory().join(format!("{name}.db"));
    let setup = Setup {
        name: name.to_owned(),
        store: Some(Store {
            place: Place::Sqlite(file),
            key,
            when_unavailable: "unprotected".into(),
        }),
        members: Vec::new(),
        vips,
        cluster: String::new(),
        log_level: "info".into(),
    };
    let mut node = Node::start(lab, namespace, &setup)?;
    node.wait_until_up()?;
    Ok(node)
}

/// Takes vipsec down so that the next one can measure: with its SAs deleted and its fence open.
pub(super) fn take_down(nodes: [Node; 2]) -> Result<()> {
    // The end that initiates comes first, for it would connect anew when the other one deletes.
    for mut node in nodes.into_iter().rev() {
        // The other end may have deleted the SA already.
        let _ = node.cli("terminate ike pair");
        node.cli("stop --open")?;
        let ended = node.process().wait_for_end(PATIENCE)?;
        ensure!(ended.success(), "{} ended with {ended}", node.name());
    }
    Ok(())
}
