//! The demo's cluster with its client, as the tests use it: started, disturbed, judged.

use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use vipsec_lab::capture::oracle::{Verdict, judge};
use vipsec_lab::capture::{Capture, frames};
use vipsec_lab::command::wait_for;
use vipsec_lab::flow::Window;
use vipsec_lab::node::Node;
use vipsec_lab::run::Lab;
use vipsec_lab::strongswan::{StrongSwan, exchanges};
use vipsec_lab::topology::{self, IPV4, Plan, Site};
use vipsec_lab::workload::{Records, Workload};

/// How long the cluster may take to do what it is told.
const PATIENCE: Duration = Duration::from_secs(10);

/// A running cluster (or a single gateway) with a client that has a tunnel to it, and captures on
/// both bridges.
pub struct Cluster {
    /// The network.
    pub site: Site,
    /// The vipsec nodes: a, b, t1, t2, or a alone.
    pub nodes: Vec<Node>,
    /// The client.
    pub client: StrongSwan,
    outside: Capture,
    inside: Capture,
}

impl Cluster {
    /// Starts a, b, t1 and t2 and brings the client's tunnel up to a, with b ready to take over.
    ///
    /// # Errors
    /// When something does not come up.
    pub fn start(lab: &Lab) -> Result<Self> {
        Self::start_on(lab, IPV4)
    }

    /// [`Self::start`] with other addresses.
    ///
    /// # Errors
    /// When something does not come up.
    pub fn start_on(lab: &Lab, plan: Plan) -> Result<Self> {
        let site = Site::build_on(lab, plan)?;
        let nodes = topology::start_cluster(lab, &site)?;
        let cluster = Self::with_client(lab, site, nodes)?;
        cluster.wait_for_role("b", "ready")?;
        Ok(cluster)
    }

    /// Starts a alone and brings the client's tunnel up.
    ///
    /// # Errors
    /// When something does not come up.
    pub fn start_single(lab: &Lab) -> Result<Self> {
        let site = Site::build(lab)?;
        let node = topology::start_single(lab, &site)?;
        Self::with_client(lab, site, vec![node])
    }

    /// Brings the client's tunnel up to nodes that run already, a among them.
    ///
    /// # Errors
    /// When something does not come up.
    pub fn with_client(lab: &Lab, site: Site, nodes: Vec<Node>) -> Result<Self> {
        let outside = Capture::start(lab, &site.switch, "outside")?;
        let inside = Capture::start(lab, &site.switch, "inside")?;
        let client =
            StrongSwan::start(lab, &site.client, &topology::client_settings(&site.plan, false))?;
        let cluster = Self { site, nodes, client, outside, inside };
        cluster.wait_for_role("a", "owner")?;
        cluster.client.initiate("net")?;
        Ok(cluster)
    }

    /// Starts all flows of the demo.
    ///
    /// # Errors
    /// When one does not come up.
    pub fn workload(&self, lab: &Lab) -> Result<Workload> {
        Workload::start(lab, &self.site, &self.client)
    }

    /// A node by its name.
    ///
    /// # Errors
    /// When there is none.
    pub fn node(&self, name: &str) -> Result<&Node> {
        let found = self.nodes.iter().find(|node| node.name() == name);
        found.with_context(|| format!("no node {name}"))
    }

    /// A node by its name, to be killed or started.
    ///
    /// # Errors
    /// When there is none.
    pub fn node_mut(&mut self, name: &str) -> Result<&mut Node> {
        let found = self.nodes.iter_mut().find(|node| node.name() == name);
        found.with_context(|| format!("no node {name}"))
    }

    /// Waits until a node says that it has the given role for the VIP.
    ///
    /// # Errors
    /// When it does not within 10 s.
    pub fn wait_for_role(&self, name: &str, role: &str) -> Result<()> {
        let node = self.node(name)?;
        wait_for(&format!("{name} to be {role}"), PATIENCE, || {
            Ok(node.role(self.site.plan.vip).is_ok_and(|now| now == role).then_some(()))
        })
        .with_context(|| node.cli("status").unwrap_or_default())
    }

    /// Moves the VIP by command and waits until it has moved.
    ///
    /// # Errors
    /// When it does not move.
    pub fn transfer(&mut self, from: &str, to: &str) -> Result<()> {
        self.node(from)?.cli(&format!("transfer {} --to {to}", self.site.plan.vip))?;
        self.wait_for_role(to, "owner")
    }

    /// Kills a node's process with SIGKILL.
    ///
    /// # Errors
    /// When it cannot be waited for.
    pub fn kill(&mut self, name: &str) -> Result<()> {
        self.node_mut(name)?.process().kill()
    }

    /// Starts a killed node again and waits until it has the given role.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn start_again(&mut self, name: &str, role: &str) -> Result<()> {
        self.node_mut(name)?.process().start_again()?;
        self.node_mut(name)?.wait_until_up()?;
        self.wait_for_role(name, role)
    }

    /// Ends the captures and has them judged.
    ///
    /// # Errors
    /// When the oracle finds anything, or nothing to look at.
    pub fn judge_wire(self) -> Result<()> {
        let verdict = self.verdict()?;
        ensure!(verdict.is_clean(), "{verdict:?}");
        Ok(())
    }

    /// Ends the captures and says what the oracle found.
    ///
    /// # Errors
    /// When there was next to nothing to look at.
    pub fn verdict(self) -> Result<Verdict> {
        let plan = self.site.plan;
        let mut verdict = judge(&plan.outside_rules(), frames(&self.outside.finish()?)?);
        verdict.merge(judge(&plan.inside_rules(), frames(&self.inside.finish()?)?));
        ensure!(verdict.esp > 200, "only {} ESP packets were seen", verdict.esp);
        ensure!(verdict.ike > 0, "no encrypted IKE message was seen");
        Ok(verdict)
    }

    /// Kills the owner of each pair under load, waits for the other to take over, and starts the killed
    /// one again; then judges flows, client and wire.
    ///
    /// # Errors
    /// When a takeover does not come, or anything was lost by it that should have lived.
    pub fn survive_takeovers(mut self, lab: &Lab, pairs: &[(&str, &str)]) -> Result<()> {
        let workload = self.workload(lab)?;
        for (owner, backup) in pairs {
            sleep(Duration::from_secs(2));
            self.kill(owner)?;
            self.wait_for_role(backup, "owner")?;
            sleep(Duration::from_secs(2));
            self.start_again(owner, "ready")?;
        }
        sleep(Duration::from_secs(3));
        check_survival(&workload.finish()?)?;
        self.check_no_renegotiation()?;
        self.judge_wire()
    }

    /// That the client has made its SAs once and never again.
    ///
    /// # Errors
    /// When its log says otherwise.
    pub fn check_no_renegotiation(&self) -> Result<()> {
        let counts = exchanges(&self.client.log()?);
        let count = |kind: &str| counts.get(kind).copied().unwrap_or(0);
        ensure!(
            count("IKE_SA_INIT") == 1 && count("IKE_AUTH") == 1 && count("CREATE_CHILD_SA") == 0,
            "the client negotiated again: {counts:?}"
        );
        Ok(())
    }
}

/// That every flow lived through it all: no connection broken or stuck, no byte wrong, every TCP
/// connection with the target that it began with.
///
/// # Errors
/// Naming the flow that did not.
pub fn check_survival(records: &Records) -> Result<()> {
    for flow in &records.flows {
        let name = &flow.name;
        ensure!(flow.breaks.is_empty(), "{name} broke: {:?}", flow.breaks);
        let is_stream = flow.packets.is_empty();
        ensure!(!is_stream || flow.answers.len() <= 1, "{name} moved: {:?}", flow.answers);
    }
    let stalled = records.stalled(2_000_000);
    ensure!(stalled.is_empty(), "did not come back: {stalled:?}");
    ensure!(records.corrupt() == 0, "contents arrived other than they were sent");
    Ok(())
}

/// That no datagram of any flow that was sent in the window got lost or doubled.
///
/// # Errors
/// Naming the flow that lost some.
pub fn check_no_loss(records: &Records, window: Window) -> Result<()> {
    for flow in records.flows.iter().filter(|flow| !flow.packets.is_empty()) {
        let (sent, lost) = (flow.sent(window), flow.lost(window));
        ensure!(sent > 100, "{}: only {sent} datagrams were sent", flow.name);
        ensure!(
            lost == 0 && flow.duplicated(window) == 0,
            "{}: {lost} of {sent} lost, {} of them on the way out; {} doubled",
            flow.name,
            if flow.name == "udp" { records.lost_on_the_way_out(window) } else { 0 },
            flow.duplicated(window)
        );
    }
    Ok(())
}
