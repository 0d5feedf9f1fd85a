//! Figures for Prometheus. Counters that others keep are read when somebody asks.

use super::daemon::Daemon;
use metrics::{counter, gauge};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle, PrometheusRecorder};
use vipsec_node::{StatusView, VipView};

/// The figures of this process.
pub(super) struct Metrics {
    recorder: PrometheusRecorder,
    handle: PrometheusHandle,
}

impl Metrics {
    pub(super) fn new() -> Metrics {
        let recorder = PrometheusBuilder::new().build_recorder();
        let handle = recorder.handle();
        Metrics { recorder, handle }
    }

    pub(super) fn note_event(&self, kind: &'static str) {
        metrics::with_local_recorder(&self.recorder, || {
            counter!("vipsec_events_total", "event" => kind).increment(1);
        });
    }

    /// Followers of the events that took none for too long.
    pub(super) fn note_cut_off(&self, followers: usize) {
        metrics::with_local_recorder(&self.recorder, || {
            counter!("vipsec_event_followers_cut_off_total").increment(followers as u64);
        });
    }
}

impl Daemon {
    /// All figures as text, with what the fence has dropped.
    pub(super) fn render_metrics(&self, fence: Vec<(&'static str, u64)>) -> String {
        metrics::with_local_recorder(&self.metrics.recorder, || {
            let status = self.node.status();
            note_status(&status);
            for (reason, count) in status.drops.into_iter().chain(fence) {
                counter!("vipsec_packets_dropped_total", "reason" => reason).absolute(count);
            }
            for (name, count) in self.plane.counters().iter() {
                counter!("vipsec_data_plane_total", "what" => name).absolute(count);
            }
        });
        self.metrics.handle.render()
    }
}

fn note_status(status: &StatusView) {
    gauge!("vipsec_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    if let Some(store) = &status.store {
        gauge!("vipsec_store_up").set(flag(store.up));
        gauge!("vipsec_store_writes_waiting").set(figure(store.waiting));
        gauge!("vipsec_sas_unprotected").set(figure(store.unprotected));
    }
    for member in &status.members {
        let node = member.name.clone();
        gauge!("vipsec_member_alive", "node" => node.clone())
            .set(flag(matches!(member.presence, "alive" | "self")));
        gauge!("vipsec_link_up", "node" => node).set(flag(member.linked));
    }
    status.vips.iter().for_each(note_vip);
}

fn note_vip(view: &VipView) {
    let vip = view.address.clone();
    gauge!("vipsec_vip_owned", "vip" => vip.clone()).set(flag(view.role == "owner"));
    gauge!("vipsec_vip_refused", "vip" => vip.clone()).set(flag(view.refusal.is_some()));
    gauge!("vipsec_ike_sas", "vip" => vip.clone()).set(figure(view.ike_sas));
    gauge!("vipsec_child_sas", "vip" => vip.clone()).set(figure(view.child_sas));
    counter!("vipsec_vip_epoch", "vip" => vip.clone()).absolute(view.epoch);
    for target in &view.targets {
        let labels = [
            ("vip", vip.clone()),
            ("service", target.service.clone()),
            ("node", target.node.clone()),
        ];
        gauge!("vipsec_target_healthy", &labels).set(flag(target.healthy));
    }
}

fn flag(is: bool) -> f64 {
    if is { 1.0 } else { 0.0 }
}

/// Exact up to 2^53, which no table of this program reaches.
#[expect(clippy::cast_precision_loss, reason = "tables are bounded far below 2^53")]
fn figure(count: usize) -> f64 {
    count as f64
}
