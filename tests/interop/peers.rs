//! The two ends of most tests here: vipsec alone on node a, strongSwan as its peer.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use vipsec_lab::command::wait_for;
use vipsec_lab::node::Node;
use vipsec_lab::probe::Prober;
use vipsec_lab::run::Lab;
use vipsec_lab::strongswan::{IkeSa, Settings, StrongSwan};
use vipsec_lab::topology::{self, CANDIDATES, HOST, IPV4, Site, VIP};

/// How long one end may take to notice what the other did.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// A vipsec gateway and its peer.
pub(crate) struct Peers {
    pub(crate) site: Site,
    pub(crate) gateway: Node,
    pub(crate) swan: StrongSwan,
}

/// A gateway of two nodes with its peer; `peers.gateway` is the owner of the VIP.
pub(crate) struct Pair {
    pub(crate) peers: Peers,
    backup: Node,
}

/// The `[[vip]]` section up to its connections.
pub(crate) fn vip_head() -> String {
    format!(
        "[[vip]]\naddress = \"{VIP}\"\ninterface = \"out0\"\n\
         [vip.inner]\naddress = \"{}\"\ninterface = \"in0\"\n\
         [[vip.pool]]\nname = \"clients\"\nrange = \"10.77.0.10-10.77.0.250\"\n",
        topology::INNER_VIP
    )
}

/// A road warrior's connection with additional lines for itself and its child.
pub(crate) fn road(connection: &str, child: &str) -> String {
    format!(
        "{}[[vip.connection]]\nname = \"road\"\nlocal_id = \"gw@test\"\n\
         remote_id = \"client@test\"\npsk = \"topsecretpsk\"\npool = \"clients\"\n{connection}\n\
         [[vip.connection.child]]\nname = \"net\"\nlocal = [\"10.3.0.0/24\"]\n\
         remote = [\"dynamic\"]\n{child}\n",
        vip_head()
    )
}

/// The client's settings, reaching what [`road`] offers.
pub(crate) fn client() -> Settings {
    let mut settings = topology::client_settings(&IPV4, false);
    settings.connections[0].children[0].remote = "10.3.0.0/24".into();
    settings
}

impl Peers {
    /// Starts both ends; nothing is negotiated yet.
    pub(crate) fn start(lab: &Lab, vips: String, settings: &Settings) -> Result<Self> {
        Self::start_in(lab, Site::build(lab)?, vips, settings)
    }

    /// [`Self::start`] in a network that is there.
    pub(crate) fn start_in(
        lab: &Lab,
        site: Site,
        vips: String,
        settings: &Settings,
    ) -> Result<Self> {
        let gateway = topology::start_gateway(lab, &site, vips)?;
        wait_for_role(&gateway, "owner")?;
        let swan = StrongSwan::start(lab, &site.client, settings)?;
        Ok(Self { site, gateway, swan })
    }

    /// Starts both ends with their usual settings and brings the tunnel up.
    pub(crate) fn connect(lab: &Lab) -> Result<Self> {
        let peers = Self::start(lab, road("", ""), &client())?;
        peers.swan.initiate("net")?;
        Ok(peers)
    }

    /// A continuous ping through the tunnel to the protected host.
    pub(crate) fn ping(&self, lab: &Lab) -> Result<Prober> {
        let line = format!("ping --to {HOST}");
        let mut ping = Prober::start(lab, &self.site.client, "ping", &line)?;
        ping.wait_until_flowing(1)?;
        Ok(ping)
    }

    /// The peer's only IKE SA, with one Child SA, once both are as they should be.
    pub(crate) fn only_sa(&self) -> Result<IkeSa> {
        let what = "one established IKE SA with one installed Child SA";
        wait_for(what, PATIENCE, || {
            let mut sas = self.swan.sas()?;
            let is_whole = sas.len() == 1
                && sas[0].state == "ESTABLISHED"
                && sas[0].children.len() == 1
                && sas[0].children[0].state == "INSTALLED";
            Ok(if is_whole { sas.pop() } else { None })
        })
        .with_context(|| format!("{:?}", self.swan.sas()))
    }

    /// Waits until neither end has an SA any more.
    pub(crate) fn wait_for_silence(&self) -> Result<()> {
        wait_for("both ends to have no SA", PATIENCE, || {
            let none = self.swan.sas()?.is_empty() && self.gateway.sas()?.is_empty();
            Ok(none.then_some(()))
        })
        .with_context(|| format!("{:?} {:?}", self.swan.sas(), self.gateway.sas()))
    }
}

impl Pair {
    /// Starts both nodes and the peer in a network that is there; nothing is negotiated yet.
    pub(crate) fn start_in(lab: &Lab, site: Site, vips: &str, settings: &Settings) -> Result<Self> {
        let line = "interface = \"out0\"\n";
        let vips = vips.replacen(line, &format!("{line}{CANDIDATES}\n"), 1);
        let mut nodes = topology::start_pair(lab, &site, &vips)?;
        let swan = StrongSwan::start(lab, &site.client, settings)?;
        // Either may be the first whose store is open.
        let owner = wait_for("an owner", PATIENCE, || {
            Ok(nodes.iter().position(|node| node.role(VIP).is_ok_and(|role| role == "owner")))
        })?;
        let gateway = nodes.swap_remove(owner);
        let backup = nodes.pop().context("a pair of nodes")?;
        Ok(Self { peers: Peers { site, gateway, swan }, backup })
    }

    /// Kills the owner and waits until the other node has taken over.
    pub(crate) fn take_over(&mut self) -> Result<()> {
        wait_for_role(&self.backup, "ready")?;
        self.peers.gateway.process().kill()?;
        self.change_places()
    }

    /// Moves the VIP to the other node.
    pub(crate) fn transfer(&mut self) -> Result<()> {
        wait_for_role(&self.backup, "ready")?;
        let to = self.backup.name();
        self.peers.gateway.cli(&format!("transfer {VIP} --to {to}"))?;
        self.change_places()
    }

    fn change_places(&mut self) -> Result<()> {
        std::mem::swap(&mut self.peers.gateway, &mut self.backup);
        wait_for_role(&self.peers.gateway, "owner")
    }
}

/// Waits until a node is what it should be to the VIP.
pub(crate) fn wait_for_role(node: &Node, role: &str) -> Result<()> {
    wait_for(&format!("{} to be {role}", node.name()), PATIENCE, || {
        Ok(node.role(VIP).is_ok_and(|now| now == role).then_some(()))
    })
    .with_context(|| node.cli("status").unwrap_or_default())
}

/// Ends a ping and demands that it lost nothing.
pub(crate) fn check_unbroken(ping: Prober) -> Result<()> {
    for record in ping.finish()? {
        let lost = record.packets.iter().filter(|packet| packet.received_us.is_none()).count();
        ensure!(record.arrived > 10, "only {} answers", record.arrived);
        ensure!(lost == 0, "{lost} of {} pings lost", record.packets.len());
    }
    Ok(())
}
