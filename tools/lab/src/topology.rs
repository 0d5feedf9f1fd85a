//! The network of the demo and of most tests: a client before two gateways, two more targets and
//! a protected host behind them.
//!
//! ```text
//!   client ──┐ outside 192.0.2.0/24       inside 10.3.0.0/24, cluster 10.1.0.0/24 ┌── t1
//!            ├───────────────────── a, b ─────────────────────────────────────────┼── t2
//!            │           VIP 192.0.2.10 (outside), 10.3.0.254 (inside)            └── s
//! ```
//!
//! The two bridges stand in a namespace of their own, where captures hear everything once.

use anyhow::{Context, Result};

use crate::capture::oracle::Rules;
use crate::netns::{Namespace, plug};
use crate::node::{FABRIC_PORT, Member, Node, Setup, Store, make_member, make_store_key};
use crate::run::Lab;
use crate::strongswan::{Child, Connection, Credential, Settings};

/// The VIP.
pub const VIP: &str = "192.0.2.10";
/// Next hop of the protected hosts, moved with the VIP.
pub const INNER_VIP: &str = "10.3.0.254";
/// A service address that stands on no network and belongs to the VIP.
pub const SERVICE: &str = "10.20.0.1";
/// The client's outer address.
pub const CLIENT: &str = "192.0.2.1";
/// The protected host.
pub const HOST: &str = "10.3.0.100";
/// Addresses that clients are given.
pub const POOL: &str = "10.77.0.0/24";
/// Everything that the client reaches through its tunnel.
pub const BEHIND: [&str; 3] = ["192.0.2.10/32", "10.3.0.0/24", "10.20.0.0/24"];

/// All nodes, probers and peers share the few cores of one machine, and a node that the scheduler
/// forgot for 150 ms is not to be taken for dead. A process that is killed is noticed at once all
/// the same, by its closed connections.
const PATIENT: &str = "heartbeat_ms = 50\nlost_after = 10";

/// The nodes, with the last octet of their addresses and their roles.
const NODES: [(&str, u8, &[&str]); 4] = [
    ("a", 2, &["candidate", "target"]),
    ("b", 3, &["candidate", "target"]),
    ("t1", 4, &["target"]),
    ("t2", 5, &["target"]),
];

/// The namespaces and their cables, before anything runs in them.
#[derive(Debug)]
pub struct Site {
    /// Where the bridges `outside` and `inside` stand.
    pub switch: Namespace,
    /// The peer.
    pub client: Namespace,
    /// The protected host.
    pub host: Namespace,
    /// The nodes a, b, t1, t2.
    pub nodes: Vec<Namespace>,
}

impl Site {
    /// Makes the namespaces, cables, addresses and routes.
    ///
    /// # Errors
    /// When `ip` fails.
    pub fn build(lab: &Lab) -> Result<Self> {
        let switch = lab.namespace("sw")?;
        switch.bridge("outside")?;
        switch.bridge("inside")?;
        let client = lab.namespace("client")?;
        plug(&client, "out0", &switch, "outside")?;
        client.address("out0", &format!("{CLIENT}/24"))?;
        let host = lab.namespace("s")?;
        plug(&host, "in0", &switch, "inside")?;
        host.address("in0", &format!("{HOST}/24"))?;
        host.ip(&format!("route add {POOL} via {INNER_VIP}"))?;
        let mut nodes = Vec::new();
        for (name, octet, roles) in NODES {
            let node = lab.namespace(name)?;
            plug(&node, "in0", &switch, "inside")?;
            node.address("in0", &format!("10.3.0.{octet}/24"))?;
            node.address("in0", &format!("10.1.0.{octet}/24"))?;
            if roles.contains(&"candidate") {
                plug(&node, "out0", &switch, "outside")?;
                node.address("out0", &format!("192.0.2.{octet}/24"))?;
            }
            // Without a way to everywhere nothing could leave in clear by mistake, and no test
            // would prove anything.
            let router = if roles.contains(&"candidate") { CLIENT } else { HOST };
            node.ip(&format!("route add default via {router}"))?;
            nodes.push(node);
        }
        Ok(Self { switch, client, host, nodes })
    }

    /// The namespace of a node, of the client or of the protected host `s`.
    ///
    /// # Errors
    /// When there is no such namespace.
    pub fn namespace(&self, role: &str) -> Result<&Namespace> {
        match role {
            "client" => Ok(&self.client),
            "s" => Ok(&self.host),
            _ => self.node(role),
        }
    }

    /// The namespace of a node.
    ///
    /// # Errors
    /// When there is no such node.
    pub fn node(&self, name: &str) -> Result<&Namespace> {
        let found = self.nodes.iter().find(|node| node.role() == name);
        found.with_context(|| format!("no node {name}"))
    }
}

/// Starts vipsec on all nodes of the site and waits until each answers.
///
/// # Errors
/// When one does not come up.
pub fn start_cluster(lab: &Lab, site: &Site) -> Result<Vec<Node>> {
    let members = NODES
        .iter()
        .map(|(name, octet, roles)| make_member(lab, name, &format!("10.1.0.{octet}"), roles))
        .collect::<Result<Vec<Member>>>()?;
    let store = Store {
        file: lab.directory().join("store.db"),
        key: make_store_key(lab, "store")?,
        when_unavailable: "unprotected".into(),
    };
    let mut nodes = Vec::new();
    for (name, _, roles) in NODES {
        let is_candidate = roles.contains(&"candidate");
        let setup = Setup {
            name: name.to_owned(),
            store: is_candidate.then(|| store.clone()),
            members: members.clone(),
            vips: if is_candidate { candidate_vip("manual", true) } else { target_vip() },
            cluster: PATIENT.into(),
            log_level: "debug".into(),
        };
        nodes.push(Node::start(lab, site.node(name)?, &setup)?);
    }
    for node in &mut nodes {
        node.wait_until_up()?;
    }
    Ok(nodes)
}

/// A gateway alone, on node a, with the demo's VIP without services.
///
/// # Errors
/// When it does not come up.
pub fn start_single(lab: &Lab, site: &Site) -> Result<Node> {
    start_gateway(lab, site, candidate_vip("manual", false))
}

/// A gateway alone, on node a, with the given `[[vip]]` sections.
///
/// # Errors
/// When it does not come up.
pub fn start_gateway(lab: &Lab, site: &Site, vips: String) -> Result<Node> {
    let store = Store {
        file: lab.directory().join("store.db"),
        key: make_store_key(lab, "store")?,
        when_unavailable: "unprotected".into(),
    };
    let setup = Setup {
        name: "a".into(),
        store: Some(store),
        members: Vec::new(),
        vips,
        cluster: String::new(),
        log_level: "debug".into(),
    };
    let mut node = Node::start(lab, site.node("a")?, &setup)?;
    node.wait_until_up()?;
    Ok(node)
}

/// The VIP in the file of a candidate.
fn candidate_vip(takeback: &str, is_cluster: bool) -> String {
    let behind = BEHIND.map(|prefix| format!("\"{prefix}\"")).join(", ");
    let candidates = "candidates = [ { node = \"a\", rank = 100 }, { node = \"b\", rank = 50 } ]";
    let (candidates, services) =
        if is_cluster { (candidates, services()) } else { ("", String::new()) };
    format!(
        "[[vip]]
address = \"{VIP}\"
interface = \"out0\"
{candidates}
takeback = \"{takeback}\"
[vip.inner]
address = \"{INNER_VIP}\"
interface = \"in0\"
[[vip.pool]]
name = \"clients\"
range = \"10.77.0.10-10.77.0.250\"
[[vip.connection]]
name = \"road\"
local_id = \"gw@test\"
remote_id = \"client@test\"
psk = \"topsecretpsk\"
pool = \"clients\"
[[vip.connection.child]]
name = \"net\"
local = [{behind}]
remote = [\"dynamic\"]
proposals = [\"aes256gcm16\"]
{services}"
    )
}

/// The VIP in the file of a mere target.
fn target_vip() -> String {
    format!("[[vip]]\naddress = \"{VIP}\"\nprotected = [\"{POOL}\"]\n{}", services())
}

/// What the VIP offers: each service with the targets b, t1 and t2 or some of them.
fn services() -> String {
    let service = |name: &str, address: &str, protocol: &str, port: u16, targets: &[&str]| {
        let targets: Vec<String> =
            targets.iter().map(|target| format!("{{ node = \"{target}\" }}")).collect();
        format!(
            "[[vip.service]]\nname = \"{name}\"\naddress = \"{address}\"\n\
             protocol = \"{protocol}\"\nport = {port}\ntargets = [{}]\n",
            targets.join(", ")
        )
    };
    let web = service("web", VIP, "tcp", 80, &["b", "t1", "t2"]);
    let checked = format!("{web}check = {{ interval_ms = 1000, rise = 2, fall = 3 }}\n");
    [
        checked,
        service("transfer", VIP, "tcp", 5001, &["t1", "t2"]),
        service("echo", VIP, "udp", 5002, &["t1", "t2"]),
        service("inner", SERVICE, "tcp", 8080, &["t1", "t2"]),
    ]
    .concat()
}

/// The client's side of the tunnel.
#[must_use]
pub fn client_settings(lasting: bool) -> Settings {
    let connection = Connection {
        name: "gw".into(),
        local: CLIENT.into(),
        remote: VIP.into(),
        proposal: "aes256gcm16-prfsha256-x25519".into(),
        local_id: "client@test".into(),
        remote_id: "gw@test".into(),
        credential: Credential::SharedKey("topsecretpsk".into()),
        request: "0.0.0.0".into(),
        pool: String::new(),
        extra: String::new(),
        children: vec![Child {
            name: "net".into(),
            local: String::new(),
            remote: BEHIND.join(","),
            proposal: "aes256gcm16-noesn".into(),
            extra: String::new(),
        }],
    };
    Settings { connections: vec![connection], lasting, ..Settings::default() }
}

/// What the oracle is to hold against the outside wire.
///
/// # Panics
/// Never: the prefixes are constants.
#[must_use]
pub fn outside_rules() -> Rules {
    let prefix = |text: &str| text.parse().expect("a constant prefix");
    Rules {
        service: vec![prefix(VIP), prefix(SERVICE)],
        tunnelled: [POOL, "10.3.0.0/24", "10.1.0.0/24", "10.20.0.0/24"].map(prefix).into(),
        fabric_port: FABRIC_PORT,
    }
}

/// What the oracle is to hold against the inside wire, where the protected host speaks in clear
/// to the clients and the services do not.
///
/// # Panics
/// Never: the prefixes are constants.
#[must_use]
pub fn inside_rules() -> Rules {
    let prefix = |text: &str| text.parse().expect("a constant prefix");
    Rules {
        service: vec![prefix(VIP), prefix(SERVICE)],
        tunnelled: vec![prefix("192.0.2.0/24"), prefix("10.20.0.0/24")],
        fabric_port: FABRIC_PORT,
    }
}
