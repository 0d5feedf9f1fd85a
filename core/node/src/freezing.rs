//! The owner's side of a transfer: everything stands still, the workers' exact windows and counters
//! are collected, what was decided is stored, and all of it goes to the successor.

use crate::node::Node;
use crate::vip::Freezing;
use vipsec_path::Command;
use vipsec_wire::handover::Handover;
use vipsec_wire::id::Vip;
use vipsec_wire::secret::SecretBytes;
use vipsec_wire::time::Timestamp;

impl Node {
    pub(crate) fn freeze(&mut self, vip: Vip) {
        let Some(candidate) = self.candidate(vip) else { return };
        let handover = Handover::default();
        candidate.freezing = Some(Freezing { reported: 0, handover, said: false });
        self.command(Command::Freeze { vip });
    }

    pub(crate) fn thaw(&mut self, vip: Vip) {
        if let Some(candidate) = self.candidate(vip) {
            candidate.freezing = None;
        }
        self.command(Command::Thaw { vip });
    }

    /// A worker stands still.
    pub(crate) fn frozen(&mut self, vip: Vip, _worker: u16, part: Handover) {
        if let Some(freezing) = self.candidate(vip).and_then(|c| c.freezing.as_mut()) {
            freezing.reported += 1;
            freezing.handover.merge(part);
        }
    }

    /// Says so once all workers stand still and every write is confirmed.
    pub(crate) fn report_frozen(&mut self, now: Timestamp, vip: Vip) {
        let workers = self.workers;
        let Some(candidate) = self.candidate(vip) else { return };
        let stored = candidate.is_stored();
        let written = candidate.writer.written();
        let Some(freezing) = candidate.freezing.as_mut() else { return };
        if freezing.said || freezing.reported < workers || !stored {
            return;
        }
        freezing.said = true;
        let handover = SecretBytes::new(freezing.handover.encode());
        self.cluster.handle_frozen(now, vip, handover, written);
    }
}
