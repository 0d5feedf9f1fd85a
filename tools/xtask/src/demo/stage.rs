//! The stage of the demo: the running cluster, the client, the flows, and the five events.

use std::time::Duration;

use anyhow::{Context, Result};
use vipsec_lab::clock::{now_us, wall_us};
use vipsec_lab::command::wait_for;
use vipsec_lab::flow::Window;
use vipsec_lab::node::Node;
use vipsec_lab::run::Lab;
use vipsec_lab::strongswan::{ExchangeCounts, StrongSwan, exchanges};
use vipsec_lab::topology::{self, Site, VIP};
use vipsec_lab::workload::{Records, Workload};

use super::timeline::Timeline;

/// A window opens this long before its event, so that a gap that the event causes begins in it.
const LEAD: Duration = Duration::from_millis(300);
/// How long the cluster may take to agree on an owner.
const PATIENCE: Duration = Duration::from_secs(10);

/// Everything that is up while the demo runs.
pub(super) struct Stage<'a> {
    lab: &'a Lab,
    pub(super) site: Site,
    nodes: Vec<Node>,
    client: StrongSwan,
    workload: Option<Workload>,
    pub(super) timeline: Timeline,
    marks: Vec<Mark>,
    set_up: ExchangeCounts,
}

/// The beginning of an event.
struct Mark {
    event: Event,
    log_length: usize,
}

/// One of the five events.
#[derive(Debug, Clone)]
pub(super) struct Event {
    /// What is done.
    pub(super) name: String,
    /// Its window, monotonic microseconds.
    pub(super) window: Window,
    /// The same begin on the wall clock.
    pub(super) wall_us: u64,
    /// Owner and epoch before and after.
    pub(super) before: Option<(String, u64)>,
    /// See [`Self::before`].
    pub(super) after: Option<(String, u64)>,
    /// From the act until the cluster named an owner of the new epoch, milliseconds.
    pub(super) settled_ms: u64,
    /// Nodes whose process was ended: connections of their applications may pause.
    pub(super) ended: Vec<String>,
    /// Whether it is a planned move, in which no packet may be lost.
    pub(super) is_planned: bool,
    /// IKE exchanges that the client saw in the window.
    pub(super) exchanges: ExchangeCounts,
}

/// What is left when the flows have ended.
pub(super) struct Played {
    pub(super) events: Vec<Event>,
    pub(super) records: Records,
    /// The client's exchanges before the first event.
    pub(super) set_up: ExchangeCounts,
}

impl<'a> Stage<'a> {
    /// Builds the network and starts vipsec and strongSwan.
    pub(super) fn set(lab: &'a Lab) -> Result<Self> {
        let timeline = Timeline::new();
        timeline.say("namespaces client, a, b, t1, t2, s; bridges outside and inside");
        let site = Site::build(lab)?;
        timeline.say("vipsec in a, b (candidates), t1, t2 (targets)");
        let nodes = topology::start_cluster(lab, &site)?;
        timeline.say("strongSwan in client");
        let client = StrongSwan::start(
            lab,
            &site.client,
            &topology::client_settings(&site.plan, lab.is_kept()),
        )?;
        Ok(Self {
            lab,
            site,
            nodes,
            client,
            workload: None,
            timeline,
            marks: Vec::new(),
            set_up: ExchangeCounts::new(),
        })
    }

    /// Brings the tunnel up and starts all flows.
    pub(super) fn open(&mut self) -> Result<()> {
        let owner = self.wait_for_owner(|_, _| true)?;
        self.timeline.say(&format!("{} owns {VIP} in epoch {}", owner.0, owner.1));
        self.client.initiate("net")?;
        let address = self.client.virtual_address(false)?;
        self.timeline.say(&format!("the tunnel is up, the client is {address}"));
        let workload = Workload::start(self.lab, &self.site, &self.client)?;
        self.timeline.follow(workload.logs(), self.client.log_path());
        self.workload = Some(workload);
        self.timeline.watch(Duration::from_secs(2));
        self.set_up = exchanges(&self.client.log()?);
        Ok(())
    }

    /// Event 1: moves the VIP by command.
    pub(super) fn transfer(&mut self) -> Result<()> {
        let (from, to) = ("a", "b");
        self.begin(&format!("1 transfer {from} → {to}"), &[], true)?;
        self.node(from)?.cli(&format!("transfer {VIP} --to {to}"))?;
        self.settle(|owner, _| owner == to)?;
        self.timeline.watch(Duration::from_secs(3));
        Ok(())
    }

    /// Event 2: SIGKILL for the owner.
    pub(super) fn kill_the_owner(&mut self) -> Result<()> {
        self.begin("2 SIGKILL of the owner b", &["b"], false)?;
        self.node("b")?.process().kill()?;
        self.settle(|owner, _| owner == "a")?;
        self.timeline.watch(Duration::from_secs(4));
        Ok(())
    }

    /// Event 3: the killed one comes back.
    pub(super) fn restart_the_killed(&mut self) -> Result<()> {
        self.begin("3 restart of b", &[], false)?;
        let node = self.node("b")?;
        node.process().start_again()?;
        node.wait_until_up()?;
        self.settle(|owner, _| owner == "a")?;
        self.timeline.watch(Duration::from_secs(4));
        Ok(())
    }

    /// Event 4: SIGKILL for the new owner, the second takeover of the same SAs.
    pub(super) fn kill_the_new_owner(&mut self) -> Result<()> {
        self.begin("4 SIGKILL of the new owner a", &["a"], false)?;
        self.node("a")?.process().kill()?;
        self.settle(|owner, _| owner == "b")?;
        self.timeline.watch(Duration::from_secs(4));
        Ok(())
    }

    /// Event 5: all at once.
    pub(super) fn restart_all(&mut self) -> Result<()> {
        self.begin("5 restart of all", &["a", "b", "t1", "t2"], false)?;
        let epoch = self.marks.last().and_then(|mark| mark.event.before.clone());
        let epoch = epoch.map_or(0, |(_, epoch)| epoch);
        for node in &mut self.nodes {
            node.process().signal_to_end()?;
        }
        for node in &mut self.nodes {
            node.process().wait_for_end(PATIENCE)?;
            node.process().start_again()?;
        }
        for node in &mut self.nodes {
            node.wait_until_up()?;
        }
        self.settle(|_, now| now > epoch)?;
        self.timeline.watch(Duration::from_secs(6));
        Ok(())
    }

    /// Ends the flows and closes the last window.
    pub(super) fn close(mut self) -> Result<Played> {
        self.timeline.glance();
        let log = self.client.log()?;
        let records = self.workload.take().context("the flows never began")?.finish()?;
        let ends: Vec<(u64, usize)> = self
            .marks
            .iter()
            .skip(1)
            .map(|mark| (mark.event.window.from_us, mark.log_length))
            .chain([(now_us(), log.len())])
            .collect();
        let mut events = Vec::new();
        for (mark, (end_us, log_end)) in self.marks.into_iter().zip(ends) {
            let mut event = mark.event;
            event.window.to_us = end_us;
            event.exchanges = exchanges(log.get(mark.log_length..log_end).unwrap_or_default());
            events.push(event);
        }
        Ok(Played { events, records, set_up: self.set_up })
    }

    /// How to look around in a lab that stays up.
    pub(super) fn hints(&self) -> Vec<String> {
        let mut hints = vec![self.client.hint()];
        for node in &self.nodes {
            hints.push(node.hint("status"));
        }
        hints.push(self.nodes[0].hint("sas"));
        hints.push(format!("logs are in {}", self.lab.directory().display()));
        hints
    }

    fn begin(&mut self, name: &str, ended: &[&str], is_planned: bool) -> Result<()> {
        let before = self.any_owner();
        let now = now_us();
        let event = Event {
            name: name.to_owned(),
            window: Window { from_us: now, to_us: u64::MAX },
            wall_us: wall_us(),
            before,
            after: None,
            settled_ms: 0,
            ended: ended.iter().map(|node| (*node).to_owned()).collect(),
            is_planned,
            exchanges: ExchangeCounts::new(),
        };
        self.marks.push(Mark { event, log_length: self.client.log()?.len() });
        self.timeline.watch(LEAD);
        self.timeline.say(&format!("──── {name}"));
        Ok(())
    }

    /// Waits until the cluster names an owner that `is_right`, and writes down who and when.
    fn settle(&mut self, is_right: impl Fn(&str, u64) -> bool) -> Result<()> {
        let (owner, epoch) = self.wait_for_owner(is_right)?;
        self.timeline.glance();
        self.timeline.say(&format!("{owner} owns {VIP} in epoch {epoch}"));
        let mark = self.marks.last_mut().context("no event has begun")?;
        let acted_us = mark.event.window.from_us + 300_000;
        mark.event.settled_ms = now_us().saturating_sub(acted_us) / 1_000;
        mark.event.after = Some((owner, epoch));
        Ok(())
    }

    fn wait_for_owner(&self, is_right: impl Fn(&str, u64) -> bool) -> Result<(String, u64)> {
        wait_for("an owner of the VIP", PATIENCE, || {
            Ok(self.any_owner().filter(|(owner, epoch)| is_right(owner, *epoch)))
        })
    }

    /// The owner in the highest epoch that any living candidate knows.
    fn any_owner(&self) -> Option<(String, u64)> {
        let known = self.nodes.iter().take(2).filter_map(|node| node.owner(VIP).ok().flatten());
        known.max_by_key(|(_, epoch)| *epoch)
    }

    fn node(&mut self, name: &str) -> Result<&mut Node> {
        let found = self.nodes.iter_mut().find(|node| node.name() == name);
        found.with_context(|| format!("no node {name}"))
    }
}
