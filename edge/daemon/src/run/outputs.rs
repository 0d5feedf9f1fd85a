//! What the node wants done is done here; what comes back from it is put in the node's words.

use super::commands::value;
use super::daemon::Daemon;
use super::probe::Probe;
use crate::link::LinkEvent;
use vipsec_cluster::store::StoreError;
use vipsec_dataplane::DataPlaneError;
use vipsec_node::{Event, Link, Output, RequestId, StoreReply, StoreRequest};
use vipsec_store::{Busy, Reply};
use vipsec_wire::time::Timestamp;

impl Daemon {
    /// Does all that the node wants done by now.
    pub(super) async fn carry_out(&mut self) {
        while let Some(first) = self.node.poll_output() {
            let mut outputs = vec![first];
            outputs.extend(std::iter::from_fn(|| self.node.poll_output()));
            self.fence(&mut outputs).await;
            for output in outputs {
                self.carry_out_one(output);
            }
        }
    }

    fn carry_out_one(&mut self, output: Output) {
        match output {
            Output::Worker { worker: Some(worker), command } => {
                self.must_work(|daemon| daemon.plane.send(worker, *command));
            }
            Output::Worker { worker: None, command } => {
                self.must_work(|daemon| daemon.plane.send_all(&command));
            }
            Output::Ike { local, remote, message } => {
                if let Err(error) = self.plane.send_ike(local, remote, &message) {
                    tracing::warn!(%error, "an IKE message was dropped");
                }
            }
            Output::Peer { to, content } => {
                if let Some(links) = &self.inputs.links {
                    links.send(&to, content);
                }
            }
            Output::Store(request) => self.ask_store(request),
            Output::Announce { vip } => self.plane.announce(vip),
            Output::Withdraw { vip } => self.plane.withdraw(vip),
            Output::Floor { vip, floor } => {
                if let Err(error) = self.state.raise_floor(vip, floor) {
                    tracing::error!(%vip, epoch = %floor.epoch, %error, "the floor cannot be written");
                }
            }
            Output::Probe { probe, address, timeout } => {
                let mark = Some(self.mark);
                let probe = Probe { number: probe, address, patience: timeout, mark };
                probe.begin(self.inputs.probe_results.clone());
            }
            Output::Resolve { name } => {
                super::resolve::begin(name, self.inputs.resolved.clone());
            }
            Output::Connections { query, connections } => {
                if let Some(reply) = self.listings.remove(&query) {
                    let _ = reply.send(value(&connections));
                }
            }
            Output::Event(event) => self.note(&event),
        }
    }

    /// A worker that does not take its commands is not under control any more: it may go on as an
    /// owner that has been deposed. The process ends; a takeover is the lesser evil.
    fn must_work(&mut self, act: impl FnOnce(&mut Daemon) -> Result<(), DataPlaneError>) {
        if let Err(error) = act(self) {
            tracing::error!(%error, "the data plane does not obey; ending at once");
            std::process::abort();
        }
    }

    fn note(&mut self, event: &Event) {
        let (kind, text) = (event.kind(), event.to_string());
        if is_trouble(kind) {
            tracing::warn!(event = kind, "{text}");
        } else {
            tracing::info!(event = kind, "{text}");
        }
        self.metrics.note_event(kind);
        let cut_off = self.events.note(self.clock.now(), kind, &text, event.fields());
        self.metrics.note_cut_off(cut_off);
    }

    fn ask_store(&mut self, request: StoreRequest) {
        let name = |request: RequestId| vipsec_store::RequestId(request.0);
        let (id, asked) = match (&self.store, request) {
            (Some(store), StoreRequest::Load { request, prefix }) => {
                (Some(request), store.range(name(request), prefix))
            }
            (Some(store), StoreRequest::Commit { request, transaction }) => {
                (Some(request), store.commit(name(request), transaction))
            }
            (Some(store), StoreRequest::Watch { after }) => (None, store.watch(after)),
            (None, StoreRequest::Load { request, .. } | StoreRequest::Commit { request, .. }) => {
                (Some(request), Err(Busy))
            }
            (None, StoreRequest::Watch { .. }) => (None, Err(Busy)),
        };
        if let Err(Busy) = asked {
            let error = StoreError::Failed(Busy.to_string());
            let reply = match id {
                Some(request) => StoreReply::Failed { request, error },
                None => StoreReply::WatchBroken,
            };
            self.node.handle_store(self.clock.now(), reply);
        }
    }

    pub(super) fn handle_store(&mut self, now: Timestamp, reply: Reply) {
        let name = |request: vipsec_store::RequestId| RequestId(request.0);
        let reply = match reply {
            Reply::Commit { request, outcome: Ok(outcome) } => {
                StoreReply::Judged { request: name(request), outcome }
            }
            Reply::Range { request, outcome: Ok((entries, revision)) } => {
                StoreReply::Loaded { request: name(request), entries, revision }
            }
            Reply::Commit { request, outcome: Err(error) }
            | Reply::Range { request, outcome: Err(error) } => {
                StoreReply::Failed { request: name(request), error }
            }
            Reply::Changes { changes, up_to } => StoreReply::Changed { changes, up_to },
            Reply::WatchBroken => StoreReply::WatchBroken,
            Reply::Health(health) => StoreReply::Health { error: health.err() },
        };
        self.node.handle_store(now, reply);
    }

    pub(super) fn handle_link(&mut self, now: Timestamp, event: LinkEvent) {
        match event {
            LinkEvent::Message { node, content } => {
                self.node.handle_peer_message(now, &node, &content);
            }
            LinkEvent::Up { node, secrets, .. } => {
                self.node.handle_link(now, &node, Link::Up(secrets));
            }
            LinkEvent::Down { node, closed_by_kernel } => {
                let link = if closed_by_kernel { Link::Closed } else { Link::Lost };
                self.node.handle_link(now, &node, link);
            }
        }
    }
}

/// Whether an event is something to look after.
fn is_trouble(kind: &str) -> bool {
    matches!(
        kind,
        "store-down"
            | "bad-record"
            | "unprotected"
            | "not-installed"
            | "bad-message"
            | "refused"
            | "conflict"
            | "record-lost"
            | "store-emptied"
            | "transfer-aborted"
            | "claim-failed"
            | "member-lost"
            | "damped"
            | "ike-failed"
            | "child-failed"
    )
}
