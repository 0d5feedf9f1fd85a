//! Which target gets a connection, and that it keeps it: health, weights, hash, UDP, services on an
//! inner address, connections from the VIP; then what only a real takeover shows of take-back and
//! strict replay.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use vipsec_lab::command::{output_of, wait_for};
use vipsec_lab::node::{Member, Node, Place, Setup, Store, make_member, make_store_key};
use vipsec_lab::probe::Prober;
use vipsec_lab::run::Lab;
use vipsec_lab::strongswan::exchanges;
use vipsec_lab::topology::{BEHIND, HOST, INNER_VIP, POOL, SERVICE, Site, VIP};
use vipsec_lab::workload::Records;
use vipsec_tests::cluster::{Cluster, check_survival};
use vipsec_tests::in_lab;

const PATIENCE: Duration = Duration::from_secs(20);

/// The nodes, with the last octet of their addresses and their roles.
const NODES: [(&str, u8, &[&str]); 4] = [
    ("a", 2, &["candidate"]),
    ("b", 3, &["candidate", "target"]),
    ("t1", 4, &["target"]),
    ("t2", 5, &["target"]),
];

/// Ports of the services on the VIP, beside the ones on [`SERVICE`].
const WEB: u16 = 80;
const WEIGHTED: u16 = 81;
const HASHED: u16 = 82;
const UDP: u16 = 5002;

/// A service for each method, all with HTTP behind them but the one for UDP.
fn services() -> String {
    let all = "{ node = \"b\" }, { node = \"t1\" }, { node = \"t2\" }";
    let weighted = "{ node = \"t1\", weight = 3 }, { node = \"t2\", weight = 1 }";
    let service = |name: &str, address: &str, port: u16, more: &str, targets: &str| {
        format!(
            "[[vip.service]]\nname = \"{name}\"\naddress = \"{address}\"\nport = {port}\n{more}\n\
             targets = [{targets}]\n"
        )
    };
    let checked = "check = { interval_ms = 200, rise = 2, fall = 2 }";
    [
        service("web", VIP, WEB, checked, all),
        service("weighted", VIP, WEIGHTED, "method = \"weighted\"", weighted),
        service("hashed", VIP, HASHED, "method = \"hash\"", all),
        service("udp", VIP, UDP, "protocol = \"udp\"", "{ node = \"t1\" }, { node = \"t2\" }"),
        service("inner", SERVICE, 8080, "", "{ node = \"t1\" }, { node = \"t2\" }"),
    ]
    .concat()
}

/// The VIP as a candidate's file has it, with further lines for its head.
fn candidate(policy: &str) -> String {
    let behind = BEHIND.map(|prefix| format!("\"{prefix}\"")).join(", ");
    format!(
        "[[vip]]\naddress = \"{VIP}\"\ninterface = \"out0\"\n\
         candidates = [ {{ node = \"a\", rank = 100 }}, {{ node = \"b\", rank = 50 }} ]\n{policy}\n\
         [vip.inner]\naddress = \"{INNER_VIP}\"\ninterface = \"in0\"\n\
         [[vip.pool]]\nname = \"clients\"\nrange = \"10.77.0.10-10.77.0.250\"\n\
         [[vip.connection]]\nname = \"road\"\nlocal_id = \"gw@test\"\n\
         remote_id = \"client@test\"\npsk = \"topsecretpsk\"\npool = \"clients\"\n\
         [[vip.connection.child]]\nname = \"net\"\nlocal = [{behind}]\nremote = [\"dynamic\"]\n{}",
        services()
    )
}

/// Starts the cluster with the given policy for its VIP, owned by a, and the client's tunnel.
fn start(lab: &Lab, policy: &str) -> Result<Cluster> {
    let site = Site::build(lab)?;
    let members = NODES
        .iter()
        .map(|(name, octet, roles)| make_member(lab, name, &format!("10.1.0.{octet}"), roles))
        .collect::<Result<Vec<Member>>>()?;
    let store = Store {
        place: Place::Sqlite(lab.directory().join("store.db")),
        key: make_store_key(lab, "store")?,
        when_unavailable: "unprotected".into(),
    };
    let target = format!("[[vip]]\naddress = \"{VIP}\"\nprotected = [\"{POOL}\"]\n{}", services());
    let mut nodes = Vec::new();
    for (name, _, roles) in NODES {
        let is_candidate = roles.contains(&"candidate");
        let setup = Setup {
            name: name.to_owned(),
            store: is_candidate.then(|| store.clone()),
            members: members.clone(),
            vips: if is_candidate { candidate(policy) } else { target.clone() },
            cluster: "heartbeat_ms = 50\nlost_after = 10".into(),
            log_level: "debug".into(),
        };
        nodes.push(Node::start(lab, site.node(name)?, &setup)?);
    }
    for node in &mut nodes {
        node.wait_until_up()?;
    }
    let cluster = Cluster::with_client(lab, site, nodes)?;
    cluster.wait_for_role("b", "ready")?;
    Ok(cluster)
}

/// The applications of a target; its page for [`WEB`] is a process of its own, which can die alone.
fn serve(lab: &Lab, site: &Site, node: &str) -> Result<(Prober, Prober)> {
    let web = format!("serve --node {node} --listen http={VIP}:{WEB}");
    let others = format!(
        "serve --node {node} --listen http={VIP}:{WEIGHTED} --listen http={VIP}:{HASHED} \
         --listen datagram={VIP}:{UDP} --listen http={SERVICE}:8080"
    );
    let start = |kind: &str, line: &str| {
        Prober::start(lab, site.node(node)?, &format!("{kind}-{node}"), line)
    };
    Ok((start("web", &web)?, start("others", &others)?))
}

/// Who answers so many new HTTP connections of the client, one after the other.
fn answers(site: &Site, port: u16, count: u32) -> Result<Vec<String>> {
    let script = format!(
        "for i in $(seq {count}); do exec 3<>/dev/tcp/{VIP}/{port} || exit 1; \
         printf 'GET / HTTP/1.1\\r\\n\\r\\n' >&3; \
         while IFS= read -r -t 5 line <&3; do \
         case $line in X-Node:*) echo ${{line#X-Node: }}; break;; esac; done; exec 3>&-; done"
    );
    let said = output_of(site.client.command("timeout").args(["20", "bash", "-c", &script]))?;
    let answers: Vec<String> = said.split_whitespace().map(str::to_owned).collect();
    ensure!(answers.len() == count as usize, "{} of {count} answered: {said}", answers.len());
    Ok(answers)
}

fn wait_for_health(cluster: &Cluster, target: &str, healthy: bool) -> Result<()> {
    wait_for(&format!("{target}'s page to be healthy: {healthy}"), PATIENCE, || {
        let status = cluster.node("a")?.json("status")?;
        let targets = status["vips"][0]["targets"].as_array().cloned().unwrap_or_default();
        let is_so = |entry: &Value| {
            entry["service"] == "web" && entry["node"] == target && entry["healthy"] == healthy
        };
        Ok(targets.iter().any(is_so).then_some(()))
    })
}

/// The connections that a node lists, of the given end of the client.
fn connections(node: &Node, peer: &str) -> Result<Vec<Value>> {
    let listed = node.json("connections")?;
    let all = listed.as_array().or_else(|| listed["connections"].as_array());
    let all = all.context("no list of connections")?;
    Ok(all.iter().filter(|entry| entry["peer"] == peer).cloned().collect())
}

#[test]
fn each_service_finds_its_targets_and_the_vip_returns_to_the_better_rank() {
    in_lab(distribute);
}

fn distribute(lab: &Lab) -> Result<()> {
    let mut cluster = start(lab, "takeback = \"auto\"")?;
    let mut servers = BTreeMap::new();
    for node in ["b", "t1", "t2"] {
        servers.insert(node, serve(lab, &cluster.site, node)?);
    }
    let mut flows = start_flows(lab, &cluster)?;
    let vip_echo = open_from_the_vip(lab, &cluster)?;
    flows.push(vip_echo.1);

    weights_and_hash(&cluster)?;
    // The application of t1 dies: what it held is broken, but for new connections it is avoided.
    let (web, others) = servers.remove("t1").context("t1 serves")?;
    drop(web);
    wait_for_health(&cluster, "t1", false)?;
    let now: BTreeSet<String> = answers(&cluster.site, WEB, 6)?.into_iter().collect();
    ensure!(now == ["b", "t2"].map(String::from).into(), "{now:?} got new connections");
    servers.insert("t1", serve_web_again(lab, &cluster.site, others)?);
    wait_for_health(&cluster, "t1", true)?;
    let now: BTreeSet<String> = answers(&cluster.site, WEB, 6)?.into_iter().collect();
    ensure!(now.contains("t1"), "t1 is well again and gets nothing: {now:?}");

    let hashed = answers(&cluster.site, HASHED, 1)?;
    cluster.kill("a")?;
    cluster.wait_for_role("b", "owner")?;
    ensure!(answers(&cluster.site, HASHED, 2)? == vec![hashed[0].clone(); 2], "rehashed");
    cluster.start_again("a", "ready")?;
    wait_for("a to take its VIP back", PATIENCE, || {
        Ok((cluster.node("a")?.role(VIP)? == "owner").then_some(()))
    })?;
    ensure!(answers(&cluster.site, HASHED, 1)? == hashed, "rehashed");

    let mut records = Records { flows: Vec::new(), servers: Vec::new() };
    for flow in flows {
        records.flows.extend(flow.finish()?);
    }
    check_survival(&records)?;
    let udp = records.flow("udp").context("no record of UDP")?;
    ensure!(udp.answers.len() == 1, "the UDP flow moved: {:?}", udp.answers);
    cluster.check_no_renegotiation()?;
    cluster.judge_wire()
}

/// Flows that must live through everything: to the targets whose page does not die, on UDP, and to
/// the inner address.
fn start_flows(lab: &Lab, cluster: &Cluster) -> Result<Vec<Prober>> {
    let lines = [
        ("web", format!("http --to {VIP}:{WEB} --nodes b,t2"), 2),
        ("udp", format!("datagram --to {VIP}:{UDP} --interval-us 2000"), 1),
        ("inner", format!("http --to {SERVICE}:8080 --nodes t1,t2"), 2),
    ];
    let mut flows = Vec::new();
    for (name, line, count) in lines {
        let mut flow = Prober::start(lab, &cluster.site.client, name, &line)?;
        flow.wait_until_flowing(count)?;
        flows.push(flow);
    }
    Ok(flows)
}

/// Target t1 opens a connection from the VIP to the client, and the owner has it in its table.
/// Returns the server at the client and the flow.
fn open_from_the_vip(lab: &Lab, cluster: &Cluster) -> Result<(Prober, Prober)> {
    let client = cluster.client.virtual_address(false)?;
    let line = format!("serve --node client --listen echo={client}:7000");
    let server = Prober::start(lab, &cluster.site.client, "serve-client", &line)?;
    let line = format!("echo --to {client}:7000 --from {VIP}");
    let mut echo = Prober::start(lab, cluster.site.node("t1")?, "from-vip", &line)?;
    echo.wait_until_flowing(1)?;
    let mut entries = connections(cluster.node("a")?, &format!("{client}:7000"))?;
    // An attempt before the server was there has been reset.
    entries.retain(|entry| entry["state"] == "established");
    let is_right = |entry: &Value| entry["target"] == "t1" && entry["kind"] == "routed";
    ensure!(entries.len() == 1 && is_right(&entries[0]), "{entries:?}");
    Ok((server, echo))
}

fn weights_and_hash(cluster: &Cluster) -> Result<()> {
    let answers_by_weight = answers(&cluster.site, WEIGHTED, 12)?;
    let by_t1 = answers_by_weight.iter().filter(|node| *node == "t1").count();
    ensure!(by_t1 == 9, "weight 3 to 1, but {answers_by_weight:?}");
    let hashed: BTreeSet<String> = answers(&cluster.site, HASHED, 6)?.into_iter().collect();
    ensure!(hashed.len() == 1, "one client, but {hashed:?}");
    Ok(())
}

fn serve_web_again(lab: &Lab, site: &Site, others: Prober) -> Result<(Prober, Prober)> {
    let line = format!("serve --node t1 --listen http={VIP}:{WEB}");
    Ok((Prober::start(lab, site.node("t1")?, "web-t1-again", &line)?, others))
}

#[test]
fn strict_replay_rekeys_after_a_takeover_and_traffic_goes_on() {
    in_lab(take_over_strictly);
}

fn take_over_strictly(lab: &Lab) -> Result<()> {
    let mut cluster = start(lab, "replay = \"strict\"")?;
    let line = format!("serve --node s --listen echo={HOST}:7000");
    let server = Prober::start(lab, &cluster.site.host, "server", &line)?;
    let line = format!("echo --to {HOST}:7000");
    let mut echo = Prober::start(lab, &cluster.site.client, "echo", &line)?;
    echo.wait_until_flowing(1)?;
    cluster.kill("a")?;
    cluster.wait_for_role("b", "owner")?;
    let counts = wait_for("the client to see a rekey", PATIENCE, || {
        let counts = exchanges(&cluster.client.log()?);
        Ok((counts.get("CREATE_CHILD_SA") == Some(&1)).then_some(counts))
    })?;
    ensure!(counts["IKE_SA_INIT"] == 1 && counts["IKE_AUTH"] == 1, "{counts:?}");
    std::thread::sleep(Duration::from_secs(3));
    let records = Records { flows: echo.finish()?, servers: Vec::new() };
    drop(server);
    check_survival(&records)?;
    cluster.judge_wire()
}
