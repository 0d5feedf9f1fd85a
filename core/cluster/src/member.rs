//! One other member: whether it is there.
//!
//! Three signs: heartbeats, silence, and a control connection that the peer's kernel has closed.
//! The last is nearly always a dead process, but a connection can be reset on the way, too. So the
//! member is asked by heartbeat (a challenge) and has a short time to answer; a living one answers
//! at once, not at its next interval.

use crate::config::Timers;
use crate::input::LinkChange;
use crate::view::Presence;
use std::collections::BTreeMap;
use vipsec_wire::cluster::ownership::{Heartbeat, VipStanding};
use vipsec_wire::id::{NodeName, Vip};
use vipsec_wire::time::Timestamp;

/// Most times in a row that silence is put down to our own sleep.
const EXCUSES_MAX: u8 = 3;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Not heard since our start.
    Unknown,
    Alive,
    /// Must answer `number` until then.
    Suspected {
        since: Timestamp,
        number: u64,
    },
    Lost,
}

/// What a member's sign has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sign {
    /// It is there now and was not, or it is another process than before.
    Back {
        /// An earlier process of it was there until now.
        replaced: bool,
    },
    Suspected,
    Lost {
        closed: bool,
    },
    /// Its grace is over.
    Gone,
}

/// One other member.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) name: NodeName,
    pub(crate) linked: bool,
    /// Its process, as far as heard.
    pub(crate) incarnation: Option<u64>,
    /// What it said of each VIP last.
    pub(crate) standings: BTreeMap<Vip, VipStanding>,
    /// The number that it wants to have back.
    pub(crate) asked: Option<u64>,
    state: State,
    version: u64,
    heard: Timestamp,
    grace_until: Option<Timestamp>,
    /// How often in a row its silence was put down to our own sleep.
    excused: u8,
    /// A new connection came up: the next heartbeat may be of any process.
    any_process: bool,
}

impl Peer {
    pub(crate) fn new(name: NodeName) -> Peer {
        Peer {
            name,
            linked: false,
            incarnation: None,
            standings: BTreeMap::new(),
            asked: None,
            state: State::Unknown,
            version: 0,
            heard: Timestamp(0),
            grace_until: None,
            excused: 0,
            any_process: true,
        }
    }

    pub(crate) fn start(&mut self, now: Timestamp) {
        self.heard = now;
    }

    pub(crate) fn presence(&self) -> Presence {
        match self.state {
            State::Unknown => Presence::Unknown,
            State::Alive => Presence::Alive,
            State::Suspected { .. } => Presence::Suspected,
            State::Lost => Presence::Lost,
        }
    }

    /// Whether it is taken to be there: heard, and not lost.
    pub(crate) fn is_there(&self) -> bool {
        matches!(self.state, State::Alive | State::Suspected { .. })
    }

    /// The number that it has to answer.
    pub(crate) fn challenge(&self) -> Option<u64> {
        match self.state {
            State::Suspected { number, .. } => Some(number),
            _ => None,
        }
    }

    pub(crate) fn grace_until(&self) -> Option<Timestamp> {
        self.grace_until
    }

    /// `number` is a fresh one, in case that the member must be asked.
    pub(crate) fn handle_link(
        &mut self,
        now: Timestamp,
        change: LinkChange,
        number: u64,
    ) -> Option<Sign> {
        self.linked = change == LinkChange::Up;
        match (change, self.state) {
            (LinkChange::Up, state) => {
                self.any_process = true;
                if let State::Suspected { .. } = state {
                    // A hand-shake later than the close: somebody lives there.
                    self.state = State::Alive;
                    self.heard = now;
                }
                None
            }
            (LinkChange::Closed, State::Alive) => {
                self.state = State::Suspected { since: now, number };
                Some(Sign::Suspected)
            }
            _ => None,
        }
    }

    /// Takes in a heartbeat; `None` when it is an old one that says nothing.
    pub(crate) fn handle_heartbeat(
        &mut self,
        now: Timestamp,
        own: &NodeName,
        beat: &Heartbeat,
        timers: &Timers,
    ) -> Option<Heard> {
        let known = self.incarnation.filter(|_| self.is_there() && !self.any_process);
        if known.is_some_and(|known| beat.incarnation < known) {
            return None;
        }
        let same_process = self.incarnation == Some(beat.incarnation);
        let replaced = self.is_there() && !same_process;
        let back = !self.is_there() || replaced;
        let content = !same_process || beat.version >= self.version;
        if content {
            self.take_content(own, beat);
        }
        let echoed = beat.echoes.iter().any(|echo| Some(echo.number) == self.challenge());
        if let State::Suspected { since, .. } = self.state {
            // What was on its way when the process died must not pass for life.
            let late = now.since(since) > timers.verify / 2;
            if !(echoed || late || replaced) {
                return Some(Heard { sign: None, content });
            }
        }
        self.any_process = false;
        self.state = State::Alive;
        self.heard = now;
        self.excused = 0;
        self.grace_until = None;
        Some(Heard { sign: back.then_some(Sign::Back { replaced }), content })
    }

    fn take_content(&mut self, own: &NodeName, beat: &Heartbeat) {
        self.incarnation = Some(beat.incarnation);
        self.version = beat.version;
        self.standings = beat.vips.iter().map(|vip| (vip.vip, vip.clone())).collect();
        let asked = beat.challenges.iter().find(|challenge| challenge.node == *own);
        self.asked = asked.map(|challenge| challenge.number);
    }

    pub(crate) fn handle_timeout(&mut self, now: Timestamp, timers: &Timers) -> Option<Sign> {
        if let Some(until) = self.grace_until
            && now >= until
        {
            self.grace_until = None;
            return Some(Sign::Gone);
        }
        if self.deadline(timers).is_none_or(|deadline| now < deadline) {
            return None;
        }
        let closed = matches!(self.state, State::Suspected { .. });
        self.state = State::Lost;
        self.asked = None;
        self.standings.clear();
        self.grace_until = Some(now + timers.grace);
        Some(Sign::Lost { closed })
    }

    /// This process itself has slept until now, so what a living member has sent may still wait in
    /// our queues: it gets one interval more, a few times in a row at the most.
    pub(crate) fn excuse(&mut self, now: Timestamp, timers: &Timers) {
        if self.excused >= EXCUSES_MAX || self.deadline(timers).is_none_or(|at| now < at) {
            return;
        }
        match &mut self.state {
            State::Suspected { since, .. } => *since = now,
            State::Alive => {}
            State::Unknown | State::Lost => return,
        }
        self.excused += 1;
        let earlier = timers.silence().saturating_sub(timers.heartbeat);
        let earlier = u64::try_from(earlier.as_micros()).unwrap_or(u64::MAX);
        self.heard = self.heard.max(Timestamp(now.0.saturating_sub(earlier)));
    }

    fn deadline(&self, timers: &Timers) -> Option<Timestamp> {
        match self.state {
            State::Unknown => Some(self.heard + timers.settle),
            State::Alive => Some(self.heard + timers.silence()),
            State::Suspected { since, .. } => {
                Some((since + timers.verify).min(self.heard + timers.silence()))
            }
            State::Lost => None,
        }
    }

    pub(crate) fn poll_timeout(&self, timers: &Timers) -> Option<Timestamp> {
        self.deadline(timers).into_iter().chain(self.grace_until).min()
    }
}

/// What a heartbeat has brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Heard {
    pub(crate) sign: Option<Sign>,
    /// Its content is not older than the last.
    pub(crate) content: bool,
}
