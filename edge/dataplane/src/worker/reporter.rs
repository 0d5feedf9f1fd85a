//! Takes a path's reports to the daemon. The channel is bounded: when the daemon is slow, reports of
//! kinds that come again by themselves are dropped and counted; the others wait in the path.

use std::sync::Arc;

use tokio::sync::mpsc::Sender;
use tokio::sync::mpsc::error::TrySendError;
use vipsec_path::{Path, Report};

use crate::counters::Counters;

/// A report, with the worker that made it.
#[derive(Debug, Clone)]
pub struct WorkerReport {
    /// The worker, from 0.
    pub worker: u16,
    /// What it says.
    pub report: Report,
}

/// One worker's end of the channel.
pub(crate) struct Reporter {
    worker: u16,
    daemon: Sender<WorkerReport>,
    counters: Arc<Counters>,
    /// A report that must not be lost and found no room.
    held: Option<WorkerReport>,
}

/// Whether something like it comes again: totals and edges at the next interval, heartbeats every
/// few milliseconds, IKE messages by the peer's retransmission.
fn is_lossy(report: &Report) -> bool {
    matches!(
        report,
        Report::Ike { .. }
            | Report::Edges { .. }
            | Report::Counters { .. }
            | Report::Heartbeat { .. }
            | Report::Drops(_)
    )
}

impl Reporter {
    /// A reporter for one worker.
    pub(crate) fn new(
        worker: u16,
        daemon: Sender<WorkerReport>,
        counters: Arc<Counters>,
    ) -> Reporter {
        Reporter { worker, daemon, counters, held: None }
    }

    /// Passes on what the path has to say. Returns whether something had to wait.
    pub(super) fn pump(&mut self, path: &mut Path) -> bool {
        let worker = self.worker;
        self.pump_from(|| path.poll_report().map(|report| WorkerReport { worker, report }))
    }

    fn pump_from(&mut self, mut next: impl FnMut() -> Option<WorkerReport>) -> bool {
        loop {
            let Some(report) = self.held.take().or_else(&mut next) else { return false };
            match self.daemon.try_send(report) {
                Err(TrySendError::Full(report)) if is_lossy(&report.report) => {
                    self.counters.reports_dropped.one();
                }
                Err(TrySendError::Full(report)) => {
                    self.held = Some(report);
                    return true;
                }
                // The daemon is going down.
                Ok(()) | Err(TrySendError::Closed(_)) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vipsec_wire::id::{EspSpi, Vip};

    fn vip() -> Vip {
        Vip("192.0.2.10".parse().expect("address"))
    }

    fn lossy() -> Report {
        Report::Edges { vip: vip(), edges: Vec::new() }
    }

    fn essential(wanted: u32) -> Report {
        Report::BlockLow { vip: vip(), spi_in: EspSpi(300), wanted }
    }

    #[tokio::test]
    async fn a_slow_daemon_loses_lossy_reports_only() {
        let (sender, mut receiver) = tokio::sync::mpsc::channel(1);
        let counters = Arc::new(Counters::default());
        let mut reporter = Reporter::new(3, sender, Arc::clone(&counters));
        let all = [lossy(), lossy(), essential(1), lossy(), essential(2)];
        let mut queue = all.into_iter().map(|report| WorkerReport { worker: 3, report });
        assert!(reporter.pump_from(|| queue.next()), "the essential one waits");
        assert_eq!(counters.values().reports_dropped, 1);
        let mut wanted = Vec::new();
        for _ in 0..3 {
            if let Report::BlockLow { wanted: w, .. } = receiver.recv().await.expect("one").report {
                wanted.push(w);
            }
            reporter.pump_from(|| queue.next());
        }
        assert_eq!(wanted, [1, 2]);
        assert_eq!(counters.values().reports_dropped, 2);
    }
}
