//! Traps: packets that an SA could protect that is not there yet (RFC 4301 section 4.4.1.2). The
//! first of them has the node told, so that the SA is negotiated; all wait for it, bounded in
//! packets, bytes and time.

use crate::command::Trap;
use crate::config::Limits;
use crate::counters::DropReason;
use crate::path::Path;
use crate::report::Report;
use crate::sink::Sink;
use crate::spd::covers;
use core::time::Duration;
use std::collections::VecDeque;
use vipsec_wire::id::Vip;
use vipsec_wire::ip::{Packet, Tuple};
use vipsec_wire::time::Timestamp;

/// How often the node is told of the same trap.
const TELL_AGAIN: Duration = Duration::from_secs(1);

/// A packet that waits for an SA.
#[derive(Debug)]
struct Trapped {
    deadline: Timestamp,
    from: Option<u16>,
    late: bool,
    packet: Vec<u8>,
}

/// The traps of one VIP and what has gone into them.
#[derive(Debug)]
pub(crate) struct Traps {
    /// With the time from which on the node may be told again.
    traps: Vec<(Trap, Timestamp)>,
    queue: VecDeque<Trapped>,
    bytes: usize,
    packets_max: usize,
    bytes_max: usize,
    patience: Duration,
}

impl Traps {
    pub(crate) fn new(limits: &Limits) -> Traps {
        Traps {
            traps: Vec::new(),
            queue: VecDeque::new(),
            bytes: 0,
            packets_max: limits.trapped_packets,
            bytes_max: limits.trapped_bytes,
            patience: limits.trapped,
        }
    }

    /// Replaces the traps; what waits goes on waiting.
    pub(crate) fn configure(&mut self, traps: Vec<Trap>) {
        self.traps = traps.into_iter().map(|trap| (trap, Timestamp(0))).collect();
    }

    /// Whether an outbound packet is one for a trap.
    pub(crate) fn covers(&self, tuple: &Tuple) -> bool {
        self.traps.iter().any(|(trap, _)| trap.covers(tuple))
    }

    fn push(&mut self, trapped: Trapped) -> Result<(), DropReason> {
        let bytes = self.bytes + trapped.packet.len();
        if self.queue.len() >= self.packets_max || bytes > self.bytes_max {
            return Err(DropReason::WaitingFull);
        }
        self.bytes = bytes;
        self.queue.push_back(trapped);
        Ok(())
    }

    fn take(&mut self) -> VecDeque<Trapped> {
        self.bytes = 0;
        core::mem::take(&mut self.queue)
    }

    /// When the first packet has waited long enough.
    pub(crate) fn deadline(&self) -> Option<Timestamp> {
        self.queue.front().map(|trapped| trapped.deadline)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }
}

impl Trap {
    fn covers(&self, tuple: &Tuple) -> bool {
        covers(&self.local, &self.remote, tuple)
    }
}

impl Path {
    /// An outbound packet that no SA covers: it waits if there is a trap for it.
    pub(crate) fn trap(
        &mut self,
        now: Timestamp,
        vip: usize,
        from: Option<u16>,
        late: bool,
        packet: &Packet<'_>,
    ) -> Result<(), DropReason> {
        let state = self.vip(vip)?;
        let found = state.traps.traps.iter_mut().find(|(trap, _)| trap.covers(&packet.tuple));
        let (trap, told) = found.ok_or(DropReason::NoSa)?;
        let news = (now >= *told).then(|| Report::Acquire {
            vip: state.vip,
            connection: trap.connection.clone(),
            child: trap.child.clone(),
        });
        if news.is_some() {
            *told = now + TELL_AGAIN;
        }
        let (deadline, packet) = (now + state.traps.patience, packet.bytes().to_vec());
        let kept = state.traps.push(Trapped { deadline, from, late, packet });
        if let Some(news) = news {
            self.report(news)?;
        }
        kept
    }

    /// An SA has begun to send.
    pub(crate) fn trapped_may_go(&mut self, now: Timestamp, vip: Vip, out: &mut dyn Sink) {
        let Some(index) = self.find_vip(vip) else { return };
        if self.vip(index).is_ok_and(|state| !state.traps.is_empty()) {
            self.retry_trapped(now, index, out);
        }
    }

    /// Looks at the trapped packets again: an SA has come, or another owner, or their time is over.
    pub(crate) fn retry_trapped(&mut self, now: Timestamp, vip: usize, out: &mut dyn Sink) {
        let Ok(state) = self.vip(vip) else { return };
        for trapped in state.traps.take() {
            let Ok(state) = self.vip(vip) else { return };
            let covered = Packet::parse(&trapped.packet)
                .is_ok_and(|packet| state.spd.find(&packet.tuple).is_some());
            let waits = state.is_owner() && !covered;
            let result = match waits {
                true if now >= trapped.deadline => Err(DropReason::NoSa),
                true => state.traps.push(trapped),
                false => {
                    let Trapped { from, late, packet, .. } = trapped;
                    self.inner_of(now, vip, from, late, &packet, out)
                }
            };
            self.count(result);
        }
    }
}
