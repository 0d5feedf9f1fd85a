//! The connection table: who has which connection. Bounded, keyed by the flow, one compact slot a
//! connection, with an expiry wheel that does a bounded amount of work at a time.
//!
//! An entry names its target by the caller's index. *Local* means that the target is this node,
//! *routed* that it is another: nothing has to be rewritten when the VIP moves, because the same
//! entry is local at one node and routed at the other.

use crate::flow_map::{Key, SeededState};
use crate::service::Timeouts;
use crate::state::{Direction, Segment, State};
use crate::wheel::{SPAN_S, Wheel};
use std::collections::{HashMap, VecDeque};
use vipsec_wire::cluster::Flow;
use vipsec_wire::time::Timestamp;

/// Departures that are kept for the backups; more are not told, and expire there by themselves.
const GONE_MAX: usize = 65_536;

/// Who says that a connection belongs to its target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// The owner's news: a backup's knowledge.
    Mirror,
    /// The target itself.
    Holder,
}

/// One connection.
#[derive(Debug, Clone)]
pub struct Entry {
    key: Key,
    since_s: u32,
    touched_s: u32,
    told_s: u32,
    /// The table's generation in which the target was confirmed.
    confirmed: u16,
    /// Index of the target's node.
    pub node: u16,
    /// How far it is.
    pub state: State,
    /// Whether the target opened it.
    pub opened_by_target: bool,
    queued: bool,
    used: bool,
}

impl Entry {
    /// Which connection it is.
    #[must_use]
    pub fn flow(&self) -> Flow {
        self.key.flow()
    }

    /// Seconds since its first packet.
    #[must_use]
    pub fn age_s(&self, now: Timestamp) -> u32 {
        seconds(now).saturating_sub(self.since_s)
    }

    /// Seconds since its last packet.
    #[must_use]
    pub fn idle_s(&self, now: Timestamp) -> u32 {
        seconds(now).saturating_sub(self.touched_s)
    }
}

/// What [`Table::take_news`] tells.
#[derive(Debug, Clone)]
pub enum News<'a> {
    /// New, in another state, or still alive.
    Changed(&'a Entry),
    /// Forgotten.
    Gone(Flow, u16),
}

/// The table of one VIP at one worker.
#[derive(Debug, Clone)]
pub struct Table {
    index: HashMap<Key, u32, SeededState>,
    slots: Vec<Entry>,
    free: Vec<u32>,
    wheel: Wheel,
    capacity: usize,
    timeouts: Timeouts,
    generation: u16,
    mirroring: bool,
    changed: VecDeque<u32>,
    gone: VecDeque<(Key, u16)>,
}

/// The table holds as many connections as it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the connection table is full")]
pub struct Full;

impl Table {
    /// An empty table for at most `capacity` connections.
    #[must_use]
    pub fn new(capacity: usize, timeouts: Timeouts, seed: u64) -> Table {
        Table {
            index: HashMap::with_hasher(SeededState::new(seed)),
            slots: Vec::new(),
            free: Vec::new(),
            wheel: Wheel::new(),
            capacity: capacity.min(u32::MAX as usize - 1),
            timeouts,
            generation: 0,
            mirroring: false,
            changed: VecDeque::new(),
            gone: VecDeque::new(),
        }
    }

    /// Number of connections.
    #[must_use]
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// Changes the idle time-outs; they hold for the next packet of each connection.
    pub fn set_timeouts(&mut self, timeouts: Timeouts) {
        self.timeouts = timeouts;
    }

    /// A change of owner: what was confirmed until now is hearsay from now on, to be confirmed by
    /// packets and reports. `mirroring`: whether news are collected for backups.
    pub fn begin_generation(&mut self, mirroring: bool) {
        self.generation = self.generation.wrapping_add(1);
        self.mirroring = mirroring;
        self.gone.clear();
        while let Some(slot) = self.changed.pop_front() {
            self.slots[slot as usize].queued = false;
        }
    }

    /// Who has the connection, without touching it.
    #[must_use]
    pub fn peek(&self, flow: &Flow) -> Option<&Entry> {
        let slot = *self.index.get(&Key::new(flow))?;
        Some(&self.slots[slot as usize])
    }

    /// Who has the connection; the packet counts for its state and idle time.
    pub fn touch(
        &mut self,
        now: Timestamp,
        flow: &Flow,
        segment: Segment,
        direction: Direction,
    ) -> Option<&Entry> {
        let slot = *self.index.get(&Key::new(flow))?;
        let entry = &mut self.slots[slot as usize];
        entry.touched_s = seconds(now);
        entry.confirmed = self.generation;
        let before = entry.state;
        entry.state = before.after(segment, direction);
        if entry.state != before && entry.state.public() != before.public() {
            self.reschedule(slot, seconds(now));
            self.tell(slot);
        }
        Some(&self.slots[slot as usize])
    }

    /// Enters a connection, or begins it anew.
    ///
    /// # Errors
    /// [`Full`] when there is no room; nothing changes then.
    pub fn insert(
        &mut self,
        now: Timestamp,
        flow: &Flow,
        node: u16,
        state: State,
        opened_by_target: bool,
    ) -> Result<(), Full> {
        let now_s = seconds(now);
        let entry = Entry {
            key: Key::new(flow),
            since_s: now_s,
            touched_s: now_s,
            told_s: now_s,
            confirmed: self.generation,
            node,
            state,
            opened_by_target,
            queued: false,
            used: true,
        };
        self.place(entry, now_s)
    }

    /// Takes in what another node says of a connection. At the owner, a packet that passed here since
    /// the last change of owner is not overridden by hearsay; of two nodes that are said to have the
    /// same connection, the one that has done the hand-shake has it, or used it last.
    ///
    /// # Errors
    /// [`Full`] when there is no room; nothing changes then.
    pub fn import(&mut self, now: Timestamp, said: &Said, origin: Origin) -> Result<(), Full> {
        let now_s = seconds(now);
        let mut touched_s = now_s.saturating_sub(said.idle_s);
        if let Some(known) = self.peek(&said.flow) {
            let over = known.state.is_over();
            if self.mirroring && known.confirmed == self.generation && !over {
                return Ok(());
            }
            if known.node == said.node {
                touched_s = touched_s.max(known.touched_s);
            } else if !over && !prevails(said, (touched_s, origin), known) {
                return Ok(());
            }
        }
        let entry = Entry {
            key: Key::new(&said.flow),
            since_s: now_s.saturating_sub(said.age_s),
            touched_s,
            told_s: touched_s,
            confirmed: self.generation.wrapping_sub(1),
            node: said.node,
            state: said.state,
            opened_by_target: said.opened_by_target,
            queued: false,
            used: true,
        };
        self.place(entry, now_s)
    }

    /// Forgets a connection.
    pub fn remove(&mut self, flow: &Flow) {
        if let Some(&slot) = self.index.get(&Key::new(flow)) {
            self.release(slot);
        }
    }

    /// Forgets all connections of a node. Looks at every entry: for rare events only.
    pub fn remove_node(&mut self, node: u16) {
        for slot in 0..self.slots.len() {
            if self.slots[slot].used && self.slots[slot].node == node {
                self.release(u32::try_from(slot).expect("capacity is below 2^32"));
            }
        }
    }

    /// Takes entries out, without a word to the backups. Looks at every entry: for rare events only.
    pub fn take_out(&mut self, mut which: impl FnMut(&Entry) -> bool) -> Vec<Entry> {
        let mirroring = core::mem::take(&mut self.mirroring);
        let mut taken = Vec::new();
        for slot in 0..self.slots.len() {
            if self.slots[slot].used && which(&self.slots[slot]) {
                taken.push(self.slots[slot].clone());
                self.release(u32::try_from(slot).expect("capacity is below 2^32"));
            }
        }
        self.mirroring = mirroring;
        taken
    }

    /// Looks at entries whose time has come, at most `budget` of them: forgets the idle ones and
    /// tells the backups that the others live. Returns whether all were looked at.
    pub fn expire(&mut self, now: Timestamp, budget: usize) -> bool {
        let now_s = seconds(now);
        for _ in 0..budget {
            let Some(slot) = self.wheel.pop(now_s) else {
                return true;
            };
            let entry = &self.slots[slot as usize];
            if entry.touched_s.saturating_add(self.limit_s(entry)) <= now_s {
                self.release(slot);
                continue;
            }
            let alive = entry.touched_s > entry.told_s;
            self.reschedule(slot, now_s);
            if alive {
                self.tell(slot);
            }
        }
        false
    }

    /// When [`Table::expire`] is worth calling next.
    #[must_use]
    pub fn next_expiry(&self) -> Option<Timestamp> {
        self.wheel.next_s().map(|s| Timestamp(u64::from(s) * 1_000_000))
    }

    /// Whether there is anything to tell the backups.
    #[must_use]
    pub fn has_news(&self) -> bool {
        !self.changed.is_empty() || !self.gone.is_empty()
    }

    /// Gives at most `limit` news to `tell`, departures first.
    pub fn take_news(&mut self, limit: usize, mut tell: impl FnMut(News<'_>)) {
        for _ in 0..limit {
            if let Some((key, node)) = self.gone.pop_front() {
                tell(News::Gone(key.flow(), node));
            } else if let Some(slot) = self.changed.pop_front() {
                let entry = &mut self.slots[slot as usize];
                if core::mem::take(&mut entry.queued) && entry.used {
                    entry.told_s = entry.touched_s;
                    tell(News::Changed(entry));
                }
            } else {
                return;
            }
        }
    }

    /// All connections.
    pub fn iter(&self) -> impl Iterator<Item = &Entry> + '_ {
        self.slots.iter().filter(|entry| entry.used)
    }

    fn place(&mut self, entry: Entry, now_s: u32) -> Result<(), Full> {
        let slot = if let Some(&slot) = self.index.get(&entry.key) {
            let queued = self.slots[slot as usize].queued;
            self.slots[slot as usize] = Entry { queued, ..entry };
            slot
        } else {
            self.allocate(entry)?
        };
        self.reschedule(slot, now_s);
        self.tell(slot);
        Ok(())
    }

    fn allocate(&mut self, entry: Entry) -> Result<u32, Full> {
        if self.index.len() >= self.capacity {
            return Err(Full);
        }
        let key = entry.key;
        let slot = if let Some(slot) = self.free.pop() {
            let queued = self.slots[slot as usize].queued;
            self.slots[slot as usize] = Entry { queued, ..entry };
            slot
        } else {
            self.slots.push(entry);
            u32::try_from(self.slots.len() - 1).expect("capacity is below 2^32")
        };
        self.index.insert(key, slot);
        Ok(slot)
    }

    fn release(&mut self, slot: u32) {
        let entry = &mut self.slots[slot as usize];
        // A queued slot stays in the queue, for whatever connection gets it next.
        entry.used = false;
        self.index.remove(&entry.key);
        if self.mirroring && self.gone.len() < GONE_MAX {
            self.gone.push_back((entry.key, entry.node));
        }
        self.wheel.remove(slot);
        self.free.push(slot);
    }

    /// Sets when the entry is looked at next: at half its time-out, so that the backups hear of a
    /// living one in time, and no later than it can expire.
    fn reschedule(&mut self, slot: u32, now_s: u32) {
        let entry = &self.slots[slot as usize];
        let limit_s = self.limit_s(entry);
        let at_s = (now_s.saturating_add((limit_s / 2).clamp(1, SPAN_S - 1)))
            .min(entry.touched_s.saturating_add(limit_s));
        self.wheel.insert(slot, now_s, at_s);
    }

    fn tell(&mut self, slot: u32) {
        let entry = &mut self.slots[slot as usize];
        if self.mirroring && !entry.queued {
            entry.queued = true;
            self.changed.push_back(slot);
        }
    }

    fn limit_s(&self, entry: &Entry) -> u32 {
        let limit = entry.state.idle_limit(&self.timeouts).as_secs();
        u32::try_from(limit).unwrap_or(u32::MAX).max(1)
    }
}

/// Whether another target's connection takes the place of the known one: a target that still repeats
/// its half of a hand-shake that was done elsewhere does not; else the one that was used last does.
fn prevails(said: &Said, (touched_s, origin): (u32, Origin), known: &Entry) -> bool {
    if said.state.is_opening() != known.state.is_opening() {
        return known.state.is_opening();
    }
    touched_s > known.touched_s || (touched_s == known.touched_s && origin == Origin::Holder)
}

/// What another node says of a connection.
#[derive(Debug, Clone)]
pub struct Said {
    /// Which connection.
    pub flow: Flow,
    /// Index of the target's node.
    pub node: u16,
    /// How far it is.
    pub state: State,
    /// Whether the target opened it.
    pub opened_by_target: bool,
    /// Seconds since its first packet.
    pub age_s: u32,
    /// Seconds since its last packet.
    pub idle_s: u32,
}

fn seconds(now: Timestamp) -> u32 {
    u32::try_from(now.0 / 1_000_000).unwrap_or(u32::MAX)
}
