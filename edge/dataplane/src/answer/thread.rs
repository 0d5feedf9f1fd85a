//! The loop of the answering thread.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use vipsec_wire::id::Vip;

use super::Shared;
use super::site::{Site, claimants, question};
use crate::sys::{LinkSocket, Poller, Ready};

/// When an address is announced, counted from the moment in which it was taken. Neighbours may miss
/// some, and switches may still be learning.
const SCHEDULE: [Duration; 6] = [
    Duration::ZERO,
    Duration::from_millis(50),
    Duration::from_millis(200),
    Duration::from_secs(1),
    Duration::from_secs(3),
    Duration::from_secs(10),
];

/// Frames taken from one socket before the others have their turn.
const TURN: usize = 64;
/// Bytes of the longest frame that can be a question.
const FRAME: usize = 256;

/// Progress of one VIP's announcements.
struct Announcing {
    since: Instant,
    done: usize,
}

impl Announcing {
    fn due(&self) -> Option<Instant> {
        SCHEDULE.get(self.done).map(|after| self.since + *after)
    }
}

pub(super) struct AnswerThread {
    sites: Vec<Site>,
    shared: Arc<Shared>,
    poller: Poller,
    announcing: BTreeMap<Vip, Announcing>,
}

const SIGNAL: u64 = u64::MAX;

impl AnswerThread {
    pub(super) fn new(sites: Vec<Site>, shared: Arc<Shared>) -> io::Result<AnswerThread> {
        let poller = Poller::new()?;
        poller.add(&shared.signal, SIGNAL)?;
        for (token, site) in (0u64..).zip(&sites) {
            poller.add(&site.arp, 2 * token)?;
            poller.add(&site.solicitations, 2 * token + 1)?;
        }
        Ok(AnswerThread { sites, shared, poller, announcing: BTreeMap::new() })
    }

    /// Answers and announces until told to stop.
    pub(super) fn run(&mut self) {
        let mut ready = Vec::new();
        while !self.shared.with(|state| state.stop) {
            self.take_fresh();
            self.announce_due();
            let next = self.announcing.values().filter_map(Announcing::due).min();
            let timeout = next.map(|due| due.saturating_duration_since(Instant::now()));
            ready.clear();
            if let Err(error) = self.poller.wait(timeout, &mut ready)
                && !crate::sys::would_block(&error)
            {
                tracing::error!(%error, "cannot wait for ARP and neighbour solicitations");
                std::thread::sleep(Duration::from_millis(10));
            }
            self.answer_ready(&ready);
        }
    }

    fn take_fresh(&mut self) {
        for vip in self.shared.with(|state| std::mem::take(&mut state.fresh)) {
            self.announcing.insert(vip, Announcing { since: Instant::now(), done: 0 });
        }
    }

    /// Sends what is due. What has been withdrawn meanwhile is dropped.
    fn announce_due(&mut self) {
        let now = Instant::now();
        let owned = self.shared.with(|state| state.owned.clone());
        self.announcing.retain(|vip, a| owned.contains(vip) && a.due().is_some());
        for (vip, announcing) in &mut self.announcing {
            if announcing.due().is_some_and(|due| due <= now) {
                announcing.done += 1;
                self.sites.iter().for_each(|site| site.announce(*vip, &self.shared));
            }
        }
    }

    fn answer_ready(&self, ready: &[Ready]) {
        for Ready { token, .. } in ready {
            if *token == SIGNAL {
                self.shared.signal.lower();
                continue;
            }
            let index = usize::try_from(token / 2).unwrap_or(usize::MAX);
            if let Some(site) = self.sites.get(index) {
                let socket = if token % 2 == 0 { &site.arp } else { &site.solicitations };
                site.answer(socket, &self.shared);
            }
        }
    }
}

impl Site {
    fn answer(&self, socket: &LinkSocket, shared: &Shared) {
        let mut frame = [0u8; FRAME];
        for _ in 0..TURN {
            let length = match socket.receive(&mut frame) {
                Ok(Some(length)) => length,
                Ok(None) => continue,
                Err(_) => return,
            };
            let Some((address, answer)) = question(&frame[..length], self.mac) else { continue };
            // Sent under the lock: once a withdrawal has returned, nothing is said any more.
            shared.with(|state| {
                if claimants(&self.claims, address).any(|vip| state.owned.contains(&vip)) {
                    let _ = socket.send(&answer);
                }
            });
        }
    }

    fn announce(&self, vip: Vip, shared: &Shared) {
        for claim in self.claims.iter().filter(|c| c.vip == vip) {
            for frame in claim.announcements(self.mac) {
                let socket = if claim.is_v4() { &self.arp } else { &self.solicitations };
                shared.with(|state| {
                    if state.owned.contains(&vip) {
                        let _ = socket.send(&frame);
                    }
                });
            }
        }
    }
}
