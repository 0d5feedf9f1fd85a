//! The loop: whatever happens is put into the node, and what the node wants done is done, in order,
//! before anything else happens.

use super::RunError;
use super::commands::value;
use super::metrics::Metrics;
use super::reload::Running;
use super::resolve::Resolved;
use super::service::{Watchdog, tell};
use super::sockets;
use super::state::StateDir;
use crate::admin::events::EventLog;
use crate::admin::{self, Failure, Request, Served};
use crate::link::{LinkEvent, Links};
use sd_notify::NotifyState;
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, sleep_until};
use vipsec_dataplane::{Clock, Handle, WorkerReport};
use vipsec_node::Node;
use vipsec_store::{Reply, Store};
use vipsec_wire::time::Timestamp;

/// Longest time that a stop takes: transfers to backups, late packets, last writes.
const STOP_MAX: Duration = Duration::from_secs(5);
/// Reports taken at once before anything else has its turn.
const BATCH: usize = 1024;

/// A node with all that surrounds it.
pub(super) struct Daemon {
    pub(super) node: Node,
    pub(super) clock: Clock,
    pub(super) plane: Handle,
    pub(super) store: Option<Store>,
    pub(super) state: StateDir,
    pub(super) events: Arc<EventLog>,
    pub(super) metrics: Metrics,
    /// The mark of our own packets.
    pub(super) mark: u32,
    /// The admin API, gone at the end.
    pub(super) api: Served,
    pub(super) inputs: Inputs,
    /// The configuration, and where it is from.
    pub(super) running: Running,
    /// Who waits for the workers' connections.
    pub(super) listings: BTreeMap<u64, oneshot::Sender<Result<Value, Failure>>>,
}

/// Where things happen.
pub(super) struct Inputs {
    reports: mpsc::Receiver<WorkerReport>,
    store: Option<mpsc::Receiver<Reply>>,
    admin: mpsc::Receiver<Request>,
    pub(super) links: Option<Links>,
    probes: mpsc::Receiver<(u64, bool)>,
    pub(super) probe_results: mpsc::Sender<(u64, bool)>,
    names: mpsc::Receiver<Resolved>,
    pub(super) resolved: mpsc::Sender<Resolved>,
}

impl Inputs {
    pub(super) fn new(
        reports: mpsc::Receiver<WorkerReport>,
        store: Option<mpsc::Receiver<Reply>>,
        admin: mpsc::Receiver<Request>,
        links: Option<Links>,
    ) -> Inputs {
        let (probe_results, probes) = mpsc::channel(256);
        let (resolved, names) = mpsc::channel(256);
        Inputs { reports, store, admin, links, probes, probe_results, names, resolved }
    }

    async fn next(&mut self) -> Happening {
        tokio::select! {
            Some(report) = self.reports.recv() => Happening::Report(report),
            Some(reply) = receive(self.store.as_mut()) => Happening::Store(reply),
            Some(request) = self.admin.recv() => Happening::Admin(request),
            event = next_link(self.links.as_mut()) => Happening::Link(event),
            Some((probe, answered)) = self.probes.recv() => Happening::Probe(probe, answered),
            Some((name, addresses)) = self.names.recv() => Happening::Resolved(name, addresses),
        }
    }
}

async fn receive(store: Option<&mut mpsc::Receiver<Reply>>) -> Option<Reply> {
    match store {
        Some(store) => store.recv().await,
        None => std::future::pending().await,
    }
}

async fn next_link(links: Option<&mut Links>) -> LinkEvent {
    match links {
        Some(links) => links.next_event().await,
        None => std::future::pending().await,
    }
}

/// One thing that happened.
enum Happening {
    Report(WorkerReport),
    Store(Reply),
    Admin(Request),
    Link(LinkEvent),
    Probe(u64, bool),
    Resolved(String, Vec<IpAddr>),
}

/// The wish to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stop {
    /// Take the fence down as well.
    pub(super) open: bool,
}

impl Daemon {
    /// Runs until a signal or an administrator ends it.
    pub(super) async fn run(mut self) -> Result<(), RunError> {
        let mut signals = Signals::new()?;
        self.node.handle_start(self.clock.now());
        self.node.handle_sockets(self.clock.now(), &sockets::established());
        self.carry_out().await;
        let mut watchdog = Watchdog::new();
        tell(NotifyState::Ready);
        tracing::info!(node = %self.node.name(), "running");
        let stop = loop {
            let due = self.node.poll_timeout();
            tokio::select! {
                happening = self.inputs.next() => {
                    if let Some(stop) = self.handle(happening).await {
                        break stop;
                    }
                }
                () = until(self.clock, due) => {}
                () = watchdog.due() => {}
                signal = signals.next() => match signal {
                    Wanted::Stop => break Stop { open: false },
                    Wanted::Reload => self.reload_for_signal().await,
                },
            }
            self.answer_reload().await;
            self.catch_up().await;
            watchdog.pat();
        };
        self.stop(stop).await
    }

    /// Handles timers that have come due meanwhile, however busy the loop is. What workers have
    /// reported by then goes first: a heartbeat that waits in the queue is no silence.
    async fn catch_up(&mut self) {
        if !self.is_due() {
            return;
        }
        if let Ok(report) = self.inputs.reports.try_recv() {
            self.handle_reports(self.clock.now(), report).await;
            self.carry_out().await;
        }
        if self.is_due() {
            self.node.handle_timeout(self.clock.now());
            self.carry_out().await;
        }
    }

    fn is_due(&self) -> bool {
        self.node.poll_timeout().is_some_and(|due| due <= self.clock.now())
    }

    async fn handle(&mut self, happening: Happening) -> Option<Stop> {
        let now = self.clock.now();
        match happening {
            Happening::Report(report) => self.handle_reports(now, report).await,
            Happening::Store(reply) => self.handle_store(now, reply),
            Happening::Link(event) => self.handle_link(now, event),
            Happening::Probe(probe, answered) => self.node.handle_probe(now, probe, answered),
            Happening::Resolved(name, addresses) => {
                self.node.handle_resolved(now, &name, &addresses);
            }
            Happening::Admin(request) => return self.handle_admin(now, request).await,
        }
        self.carry_out().await;
        None
    }

    async fn handle_reports(&mut self, now: Timestamp, first: WorkerReport) {
        let mut next = Some(first);
        for _ in 0..BATCH {
            let Some(report) = next else { return };
            self.handle_report(now, report);
            self.carry_out().await;
            next = self.inputs.reports.try_recv().ok();
        }
        if let Some(report) = next {
            self.handle_report(now, report);
        }
    }

    fn handle_report(&mut self, now: Timestamp, report: WorkerReport) {
        let WorkerReport { worker, report } = report;
        self.node.handle_report(now, worker, report);
    }

    async fn handle_admin(&mut self, now: Timestamp, request: Request) -> Option<Stop> {
        let Request { command, reply } = request;
        if let admin::Command::Stop { open } = command {
            let _ = reply.send(Ok(serde_json::json!({ "text": "stopping" })));
            return Some(Stop { open });
        }
        if command == admin::Command::Reload {
            self.running.asked.push(reply);
            return None;
        }
        if command == admin::Command::Connections {
            self.listings.retain(|_, reply| !reply.is_closed());
            match self.node.handle_list_connections() {
                Some(query) => drop(self.listings.insert(query, reply)),
                None => {
                    let full = "too many ask for the connections already".to_owned();
                    let _ = reply.send(Err(admin::Failure::Refused(full)));
                }
            }
            self.carry_out().await;
            return None;
        }
        if command == admin::Command::Status {
            let (mut status, fence) = (self.node.status(), self.plane.fence_drops());
            tokio::spawn(async move {
                status.drops.extend(fence.await);
                let _ = reply.send(value(&status));
            });
            return None;
        }
        if command == admin::Command::Metrics {
            let fence = self.plane.fence_drops().await;
            let _ = reply.send(Ok(Value::String(self.render_metrics(fence))));
            return None;
        }
        let answer = self.execute(now, command);
        self.carry_out().await;
        let _ = reply.send(answer);
        None
    }

    /// Ends in order: VIPs go to backups or are given up, the last writes are done, everything is
    /// taken down but the fence.
    async fn stop(mut self, stop: Stop) -> Result<(), RunError> {
        tell(NotifyState::Stopping);
        tracing::info!(open = stop.open, "stopping");
        self.node.handle_stop(self.clock.now());
        self.carry_out().await;
        let began = Instant::now();
        while !self.is_done() && began.elapsed() < STOP_MAX {
            tokio::select! {
                happening = self.inputs.next() => {
                    let _ = self.handle(happening).await;
                }
                () = sleep(Duration::from_millis(10)) => {}
            }
            self.catch_up().await;
        }
        let Daemon { plane, store, state, mut inputs, api, .. } = self;
        if let Some(links) = inputs.links.take() {
            links.shut_down().await;
        }
        let taken_down = if stop.open { plane.stop_open().await } else { plane.stop().await };
        if stop.open
            && let Err(error) = state.forget_protected()
        {
            tracing::error!(%error, "the next start closes the fence again");
        }
        if let (Some(store), Some(replies)) = (store, inputs.store.take()) {
            store.stop(replies);
        }
        drop(api);
        tracing::info!("stopped");
        Ok(taken_down?)
    }

    fn is_done(&self) -> bool {
        let writes = self.node.status().store.is_some_and(|store| store.up && store.waiting > 0);
        self.node.is_stopped(self.clock.now()) && !writes
    }
}

/// Waits until `due`.
async fn until(clock: Clock, due: Option<Timestamp>) {
    match due {
        Some(due) => sleep_until(Instant::now() + due.since(clock.now())).await,
        None => std::future::pending().await,
    }
}

/// The signals that the process obeys.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

/// What a signal wants.
enum Wanted {
    Stop,
    Reload,
}

impl Signals {
    fn new() -> Result<Signals, RunError> {
        let listen = |kind| {
            signal(kind).map_err(|source| RunError::System { what: "listen for signals", source })
        };
        Ok(Signals {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
            hangup: listen(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> Wanted {
        tokio::select! {
            _ = self.terminate.recv() => Wanted::Stop,
            _ = self.interrupt.recv() => Wanted::Stop,
            _ = self.hangup.recv() => Wanted::Reload,
        }
    }
}
