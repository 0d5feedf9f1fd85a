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

mod plan;

use anyhow::{Context, Result};

use crate::netns::{Namespace, plug};
use crate::node::{Member, Node, Place, Setup, Store, make_member, make_store_key};
use crate::run::Lab;
use crate::strongswan::{Child, Connection, Credential, Settings};

pub use plan::{IPV4, IPV6_INSIDE, IPV6_OUTSIDE, Net, Plan, bracketed, is_ipv6};

/// The VIP of [`IPV4`].
pub const VIP: &str = IPV4.vip;
/// Next hop of the protected hosts in [`IPV4`].
pub const INNER_VIP: &str = IPV4.inner_vip;
/// The service address of [`IPV4`].
pub const SERVICE: &str = IPV4.service;
/// The client's outer address in [`IPV4`].
pub const CLIENT: &str = IPV4.client;
/// The protected host of [`IPV4`].
pub const HOST: &str = IPV4.host;
/// Addresses that clients are given in [`IPV4`].
pub const POOL: &str = "10.77.0.0/24";
/// Everything that the client reaches through its tunnel in [`IPV4`].
pub const BEHIND: [&str; 3] = ["192.0.2.10/32", "10.3.0.0/24", "10.20.0.0/24"];

/// All nodes, probers and peers share the few cores of one machine, and a node that the scheduler
/// forgot for 150 ms is not to be taken for dead. A process that is killed is noticed at once all
/// the same, by its closed connections.
///
/// With the default of three, takeover tests held beside a load of 14 on two cores; beside two busy
/// loops more, or a load of 25 and without the priority that the program gives itself, living
/// owners were deposed.
const PATIENT: &str = "heartbeat_ms = 50\nlost_after = 10";

/// A pair's owner is never taken for dead but by its closed connections: what it is for is IKE.
const CALM: &str = "heartbeat_ms = 50\nlost_after = 100";

/// Who may own the VIP of a pair or of the cluster: a line of its section.
pub const CANDIDATES: &str =
    "candidates = [ { node = \"a\", rank = 100 }, { node = \"b\", rank = 50 } ]";

/// Where the addresses of the client and of the protected host end.
const CLIENT_END: u8 = 1;
const HOST_END: u8 = 100;

/// The nodes, with the ends of their addresses and their roles.
const NODES: [(&str, u8, &[&str]); 4] = [
    ("a", 2, &["candidate", "target"]),
    ("b", 3, &["candidate", "target"]),
    ("t1", 4, &["target"]),
    ("t2", 5, &["target"]),
];

/// The namespaces and their cables, before anything runs in them.
#[derive(Debug)]
pub struct Site {
    /// Its addresses.
    pub plan: Plan,
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
    /// Makes the namespaces, cables, addresses and routes, with IPv4 everywhere.
    ///
    /// # Errors
    /// When `ip` fails.
    pub fn build(lab: &Lab) -> Result<Self> {
        Self::build_on(lab, IPV4)
    }

    /// [`Self::build`] with other addresses.
    ///
    /// # Errors
    /// When `ip` fails.
    pub fn build_on(lab: &Lab, plan: Plan) -> Result<Self> {
        let switch = lab.namespace("sw")?;
        switch.bridge("outside")?;
        switch.bridge("inside")?;
        let client = lab.namespace("client")?;
        plug(&client, "out0", &switch, "outside")?;
        client.address("out0", &plan.outside.host_in(CLIENT_END))?;
        let host = lab.namespace("s")?;
        plug(&host, "in0", &switch, "inside")?;
        host.address("in0", &plan.inside.host_in(HOST_END))?;
        host.address("in0", &plan.cluster.host_in(HOST_END))?;
        for pool in plan.pools.iter().filter(|pool| pool.is_ipv6() == plan.inside.is_ipv6()) {
            host.ip(&format!("route add {} via {}", pool.prefix(), plan.inner_vip))?;
        }
        let mut nodes = Vec::new();
        for (name, end, roles) in NODES {
            let node = lab.namespace(name)?;
            plug(&node, "in0", &switch, "inside")?;
            node.address("in0", &plan.inside.host_in(end))?;
            node.address("in0", &plan.cluster.host_in(end))?;
            if roles.contains(&"candidate") {
                plug(&node, "out0", &switch, "outside")?;
                node.address("out0", &plan.outside.host_in(end))?;
            }
            // Without a way to everywhere nothing could leave in clear by mistake, and no test
            // would prove anything.
            let host_in_cluster = plan.cluster.host(HOST_END);
            let mut routers = vec![plan.host, &host_in_cluster];
            if roles.contains(&"candidate") {
                routers.insert(0, plan.client);
            }
            for family in [false, true] {
                if let Some(router) = routers.iter().find(|router| is_ipv6(router) == family) {
                    node.ip(&format!("route add default via {router}"))?;
                }
            }
            nodes.push(node);
        }
        Ok(Self { plan, switch, client, host, nodes })
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
    start_cluster_with(lab, site, embedded(lab))
}

/// [`start_cluster`] with a store of one's own.
///
/// # Errors
/// When one does not come up.
pub fn start_cluster_with(lab: &Lab, site: &Site, place: Place) -> Result<Vec<Node>> {
    start_nodes(lab, site, &NODES, &candidate_vip(&site.plan, true), PATIENT, place)
}

/// The embedded store of a lab.
fn embedded(lab: &Lab) -> Place {
    Place::Sqlite(lab.directory().join("store.db"))
}

/// Starts the candidates a and b with the given `[[vip]]` sections, and waits until each answers.
///
/// # Errors
/// When one does not come up.
pub fn start_pair(lab: &Lab, site: &Site, vips: &str) -> Result<Vec<Node>> {
    start_nodes(lab, site, &NODES[..2], vips, CALM, embedded(lab))
}

fn start_nodes(
    lab: &Lab,
    site: &Site,
    nodes: &[(&str, u8, &[&str])],
    vips: &str,
    cluster: &str,
    place: Place,
) -> Result<Vec<Node>> {
    let members = nodes
        .iter()
        .map(|(name, end, roles)| {
            make_member(lab, name, &bracketed(&site.plan.cluster.host(*end)), roles)
        })
        .collect::<Result<Vec<Member>>>()?;
    let store =
        Store { place, key: make_store_key(lab, "store")?, when_unavailable: "unprotected".into() };
    let mut started = Vec::new();
    for (name, _, roles) in nodes {
        let is_candidate = roles.contains(&"candidate");
        let setup = Setup {
            name: (*name).to_owned(),
            store: is_candidate.then(|| store.clone()),
            members: members.clone(),
            vips: if is_candidate { vips.to_owned() } else { target_vip(&site.plan) },
            cluster: cluster.into(),
            log_level: "debug".into(),
        };
        started.push(Node::start(lab, site.node(name)?, &setup)?);
    }
    for node in &mut started {
        node.wait_until_up()?;
    }
    Ok(started)
}

/// A gateway alone, on node a, with the demo's VIP without services.
///
/// # Errors
/// When it does not come up.
pub fn start_single(lab: &Lab, site: &Site) -> Result<Node> {
    start_gateway(lab, site, candidate_vip(&site.plan, false))
}

/// A gateway alone, on node a, with the given `[[vip]]` sections.
///
/// # Errors
/// When it does not come up.
pub fn start_gateway(lab: &Lab, site: &Site, vips: String) -> Result<Node> {
    let store = Store {
        place: embedded(lab),
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
fn candidate_vip(plan: &Plan, is_cluster: bool) -> String {
    let Plan { vip, inner_vip, .. } = plan;
    let behind = plan.behind();
    let (candidates, services) =
        if is_cluster { (CANDIDATES, services(plan)) } else { ("", String::new()) };
    let (pools, names) = plan.pool_sections();
    format!(
        "[[vip]]
address = \"{vip}\"
interface = \"out0\"
{candidates}
[vip.inner]
address = \"{inner_vip}\"
interface = \"in0\"
{pools}
[[vip.connection]]
name = \"road\"
local_id = \"gw@test\"
remote_id = \"client@test\"
psk = \"topsecretpsk\"
pool = {names}
[[vip.connection.child]]
name = \"net\"
local = {behind:?}
remote = [\"dynamic\"]
proposals = [\"aes256gcm16\"]
{services}"
    )
}

/// The VIP in the file of a mere target.
fn target_vip(plan: &Plan) -> String {
    let pools: Vec<String> = plan.pools.iter().map(|pool| pool.prefix()).collect();
    format!("[[vip]]\naddress = \"{}\"\nprotected = {pools:?}\n{}", plan.vip, services(plan))
}

/// What the VIP offers: each service with the targets b, t1 and t2 or some of them.
fn services(plan: &Plan) -> String {
    let service = |name: &str, address: &str, protocol: &str, port: u16, targets: &[&str]| {
        let targets: Vec<String> =
            targets.iter().map(|target| format!("{{ node = \"{target}\" }}")).collect();
        format!(
            "[[vip.service]]\nname = \"{name}\"\naddress = \"{address}\"\n\
             protocol = \"{protocol}\"\nport = {port}\ntargets = [{}]\n",
            targets.join(", ")
        )
    };
    let web = service("web", plan.vip, "tcp", 80, &["b", "t1", "t2"]);
    let checked = format!("{web}check = {{ interval_ms = 1000, rise = 2, fall = 3 }}\n");
    [
        checked,
        service("transfer", plan.vip, "tcp", 5001, &["t1", "t2"]),
        service("echo", plan.vip, "udp", 5002, &["t1", "t2"]),
        service("inner", plan.service, "tcp", 8080, &["t1", "t2"]),
    ]
    .concat()
}

/// The client's side of the tunnel.
#[must_use]
pub fn client_settings(plan: &Plan, lasting: bool) -> Settings {
    let connection = Connection {
        name: "gw".into(),
        local: plan.client.into(),
        remote: plan.vip.into(),
        proposal: "aes256gcm16-prfsha256-x25519".into(),
        local_id: "client@test".into(),
        remote_id: "gw@test".into(),
        credential: Credential::SharedKey("topsecretpsk".into()),
        request: plan.request(),
        pool: String::new(),
        extra: String::new(),
        children: vec![Child {
            name: "net".into(),
            local: String::new(),
            remote: plan.behind().join(","),
            proposal: "aes256gcm16-noesn".into(),
            extra: String::new(),
        }],
    };
    Settings { connections: vec![connection], lasting, ..Settings::default() }
}
