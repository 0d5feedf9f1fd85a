//! Connections that we bring up ourselves: when told to, always (`Start::AtStart`), for a packet
//! (`Start::OnTraffic`), or again after the peer was lost (`DpdAction`), with growing pauses while the
//! peer does not want to. Whether one is up follows from the SAs, so that nothing is initiated twice
//! after a takeover; what is under way goes on from its mirror.

use crate::config::{Config, Connection, DpdAction, Retransmit, Start};
use crate::engine::Engine;
use crate::error::Error;
use crate::exchange::ike_sa_init_initiator;
use crate::half_open::Initiator;
use crate::output::{CloseReason, Event, Output};
use crate::timers::Alarm;
use core::net::IpAddr;
use core::time::Duration;
use std::collections::BTreeSet;
use vipsec_crypto::Random;
use vipsec_wire::id::IkeSaId;
use vipsec_wire::record::v1::ChildPhase;
use vipsec_wire::time::Timestamp;

/// How often a connection that is up is looked at.
const INTERVAL: Duration = Duration::from_secs(5);
/// The longest pause between attempts, as a power of two seconds, before jitter.
const LONGEST_PAUSE: u32 = 6;
/// Repetitions of a first message to a peer that may be elsewhere.
const TRIES_OF_SEVERAL: u32 = 2;

/// The attempts at each connection of the configuration.
#[derive(Debug, Default)]
pub(super) struct Starts {
    attempts: Vec<Attempts>,
    /// When the names of peers are asked for.
    pub(super) names: Option<Timestamp>,
}

#[derive(Debug, Default, Clone)]
struct Attempts {
    made: u32,
    armed: Option<Timestamp>,
    /// No packet leads to an attempt before.
    quiet_until: Timestamp,
    wish: Wish,
}

/// What has become of a connection, where that changes when it is brought up. A new owner begins
/// with what is configured.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Wish {
    /// What [`Start`] says.
    #[default]
    Configured,
    /// The peer was lost: up again.
    Restart,
    /// The peer was lost: up again with the next packet.
    Trap,
    /// Not before somebody asks for it.
    Down,
}

impl Starts {
    pub(super) fn new(config: &Config) -> Starts {
        Starts { attempts: vec![Attempts::default(); config.connections.len()], names: None }
    }
}

impl Engine {
    /// This node is the owner now: everything that is to be up is looked at.
    pub(super) fn arm_starts(&mut self, now: Timestamp, _rng: &mut dyn Random) {
        for place in 0..self.config.connections.len() {
            if let Some(Attempts { made, wish, .. }) = self.starts.attempts.get_mut(place) {
                (*made, *wish) = (0, Wish::Configured);
            }
            self.arm_start_if_wanted(place, now);
        }
        self.arm_names(now);
    }

    /// The connections have other places now; each keeps what was tried for it.
    pub(super) fn rearrange_starts(&mut self, before: &Config) {
        let earlier = core::mem::take(&mut self.starts.attempts);
        let names = before.connections.iter().map(|connection| connection.name.as_str());
        let mut earlier: Vec<(&str, Attempts)> = names.zip(earlier).collect();
        for (place, (_, attempts)) in earlier.iter_mut().enumerate() {
            self.timers.arm(Alarm::Start(place), &mut attempts.armed, None);
        }
        let kept = |name: &str| {
            let found = earlier.iter().find(|(earlier, _)| *earlier == name);
            found.map(|(_, attempts)| attempts.clone()).unwrap_or_default()
        };
        let connections = self.config.connections.iter();
        self.starts.attempts = connections.map(|connection| kept(&connection.name)).collect();
    }

    pub(super) fn arm_start_if_wanted(&mut self, place: usize, due: Timestamp) {
        if self.is_wanted(place) {
            self.arm_start(place, due);
        }
    }

    fn arm_start(&mut self, place: usize, due: Timestamp) {
        if let Some(attempts) = self.starts.attempts.get_mut(place) {
            self.timers.arm(Alarm::Start(place), &mut attempts.armed, Some(due));
        }
    }

    /// What was tried is of no account any more.
    pub(super) fn forget_attempts(&mut self, place: usize) {
        if let Some(attempts) = self.starts.attempts.get_mut(place) {
            (attempts.made, attempts.quiet_until) = (0, Timestamp(0));
        }
    }

    /// Whether a connection is to be up whatever happens.
    fn is_wanted(&self, place: usize) -> bool {
        let wish = self.starts.attempts.get(place).map(|attempts| attempts.wish);
        let start = self.config.connections.get(place).map(|connection| connection.start);
        matches!(
            (wish, start),
            (Some(Wish::Restart), _) | (Some(Wish::Configured), Some(Start::AtStart))
        )
    }

    fn place_of(&self, connection: &str) -> Option<usize> {
        self.config.connections.iter().position(|config| config.name == connection)
    }

    /// What happens to SAs decides what is brought up.
    pub(super) fn note_for_starts(&mut self, event: &Event) {
        match event {
            Event::Closed { connection, reason, .. } => self.note_closed(connection, reason),
            Event::ChildUp { ike, .. } => {
                let connection = self.tables.get(*ike).map(|sa| sa.about.connection.clone());
                let place = connection.and_then(|connection| self.place_of(&connection));
                if let Some(attempts) = place.and_then(|p| self.starts.attempts.get_mut(p)) {
                    let armed = attempts.armed;
                    *attempts = Attempts { armed, ..Attempts::default() };
                }
            }
            _ => {}
        }
    }

    fn note_closed(&mut self, connection: &str, reason: &CloseReason) {
        let Some(place) = self.place_of(connection) else { return };
        let config = &self.config.connections[place];
        let Some(attempts) = self.starts.attempts.get_mut(place) else { return };
        let lost = matches!(reason, CloseReason::PeerDead | CloseReason::Expired);
        attempts.wish = match (reason, config.dpd_action) {
            (_, DpdAction::Restart) if lost => Wish::Restart,
            (_, DpdAction::Trap) if lost => Wish::Trap,
            (_, DpdAction::Clear) if lost => Wish::Down,
            _ => attempts.wish,
        };
        self.arm_start_if_wanted(place, Timestamp(0));
    }

    /// Somebody ends an IKE SA. What is asked for later counts, however long the end takes.
    pub(super) fn end_when_told(&mut self, id: IkeSaId) -> Result<(), Error> {
        let sa = self.tables.get_mut(id).ok_or(Error::NoIkeSa(id))?;
        sa.live.wanted.close = Some(CloseReason::Requested);
        let connection = sa.about.connection.clone();
        let others = self.established(&connection).is_some()
            || self.tables.half_open.initiated(&connection).is_some();
        let place = self.place_of(&connection).filter(|_| !others);
        if let Some(attempts) = place.and_then(|place| self.starts.attempts.get_mut(place)) {
            attempts.wish = Wish::Down;
        }
        Ok(())
    }

    pub(super) fn look_at_start(&mut self, now: Timestamp, place: usize, rng: &mut dyn Random) {
        let Some(attempts) = self.starts.attempts.get_mut(place) else { return };
        attempts.armed = None;
        let made = attempts.made;
        let Some(connection) = self.config.connections.get(place) else { return };
        if !self.is_wanted(place) {
            return;
        }
        let missing = self.missing_children(connection);
        let under_way = self.is_under_way(&connection.name);
        let name = connection.name.clone();
        let wait = match (missing.is_empty(), under_way) {
            (true, _) => {
                self.starts.attempts[place].made = 0;
                INTERVAL
            }
            (false, true) => Duration::from_secs(1),
            (false, false) => {
                for child in &missing {
                    if let Ok(id) = self.begin(now, &name, child, made, rng) {
                        self.settle(now, id, rng);
                    }
                }
                self.note_attempt(place, name, rng)
            }
        };
        self.arm_start(place, now + wait);
    }

    /// An attempt was made: says how long to wait for the next.
    fn note_attempt(&mut self, place: usize, connection: String, rng: &mut dyn Random) -> Duration {
        let Some(attempts) = self.starts.attempts.get_mut(place) else { return INTERVAL };
        let wait = pause(attempts.made, rng);
        attempts.made = attempts.made.saturating_add(1);
        self.outbox.outputs.push_back(Output::Event(Event::RetryLater { connection, wait }));
        wait
    }

    /// A packet waits for a Child SA that is not there. It is begun if the configuration says so
    /// and nothing is under way.
    pub fn handle_acquire(
        &mut self,
        now: Timestamp,
        connection: &str,
        child: &str,
        rng: &mut dyn Random,
    ) {
        let Some(place) = self.place_of(connection).filter(|_| self.ownership.is_some()) else {
            return;
        };
        let (config, attempts) = (&self.config.connections[place], &self.starts.attempts[place]);
        let trapped = attempts.wish == Wish::Trap || config.start == Start::OnTraffic;
        let missing = self.missing_children(config).iter().any(|name| name == child);
        if !trapped || !missing || now < attempts.quiet_until || self.is_under_way(connection) {
            return;
        }
        let made = attempts.made;
        if let Ok(id) = self.begin(now, connection, child, made, rng) {
            self.settle(now, id, rng);
        }
        let wait = self.note_attempt(place, connection.to_owned(), rng);
        self.starts.attempts[place].quiet_until = now + wait;
    }

    /// Somebody asks for a child.
    pub(super) fn begin_when_told(
        &mut self,
        now: Timestamp,
        connection: &str,
        child: &str,
        rng: &mut dyn Random,
    ) -> Result<IkeSaId, Error> {
        let place = self.place_of(connection);
        let attempts = place.and_then(|place| self.starts.attempts.get_mut(place));
        let made = attempts.as_ref().map_or(0, |attempts| attempts.made);
        if let Some(attempts) = attempts {
            attempts.wish = Wish::Configured;
            attempts.made = made.saturating_add(1);
        }
        let begun = self.begin(now, connection, child, made, rng);
        if let Some(place) = place {
            self.arm_start_if_wanted(place, now + pause(0, rng));
        }
        begun
    }

    /// An attempt of ours at this connection has not ended yet.
    fn is_under_way(&self, connection: &str) -> bool {
        self.tables.half_open.initiated(connection).is_some()
            || self.tables.sas().any(|sa| {
                sa.about.connection == connection
                    && (sa.outstanding.is_some() || sa.live.pending.is_some())
            })
    }

    /// The IKE SA of a connection that has not been told to end.
    fn established(&self, connection: &str) -> Option<IkeSaId> {
        let mut sas = self.tables.sas().filter(|sa| sa.about.connection == connection);
        let lives = |sa: &&crate::sa::IkeSa| sa.is_established() && sa.live.wanted.close.is_none();
        sas.find(lives).map(crate::sa::IkeSa::id)
    }

    /// How the first messages of an IKE SA are repeated: not for long where the peer may be at
    /// another address.
    pub(super) fn initiation_pace(&self, id: IkeSaId) -> Retransmit {
        let connection = self.tables.half_open.connection_of(id);
        let config = connection.and_then(|name| self.place_of(name));
        let config = config.and_then(|place| self.config.connections.get(place));
        let pace = self.config.retransmit;
        match config.map(|config| config.remote_addresses(self.config.vip.0).len()) {
            Some(2..) => Retransmit { tries: pace.tries.min(TRIES_OF_SEVERAL), ..pace },
            _ => pace,
        }
    }

    fn missing_children(&self, connection: &Connection) -> Vec<String> {
        let active = self
            .tables
            .sas()
            .filter(|sa| sa.about.connection == connection.name && sa.is_established());
        let links = active.flat_map(|sa| &sa.children);
        let links = links.filter(|link| link.phase == ChildPhase::Active);
        let children = links.filter_map(|link| self.tables.child(link.spi));
        let up: BTreeSet<&str> = children.map(|child| child.sa.child.as_str()).collect();
        let names = connection.children.iter().map(|child| child.name.clone());
        names.filter(|name| !up.contains(name.as_str())).collect()
    }

    /// Begins a Child SA: under the IKE SA of its connection, or with a new one. Gives the IKE SA.
    pub(super) fn begin(
        &mut self,
        now: Timestamp,
        connection: &str,
        child: &str,
        attempt: u32,
        rng: &mut dyn Random,
    ) -> Result<IkeSaId, Error> {
        self.ownership.ok_or(Error::NotOwner)?;
        let unknown = || Error::NoConnection(connection.to_owned());
        let known = self.config.connections.iter().find(|c| c.name == connection);
        let config = known.ok_or_else(unknown)?.clone();
        config.child(child).ok_or_else(|| Error::NoChild {
            connection: connection.to_owned(),
            child: child.to_owned(),
        })?;
        if let Some(sa) = self.established(connection).and_then(|id| self.tables.get_mut(id)) {
            sa.live.wanted.create.insert(child.to_owned());
            return Ok(sa.id());
        }
        if let Some(id) = self.tables.half_open.initiated(connection) {
            self.follow_up(id, child);
            return Ok(id);
        }
        let address = self.remote_address(now, &config, attempt)?;
        let Some(mut cx) = self.context(now, rng) else {
            return Err(Error::NotOwner);
        };
        let id = ike_sa_init_initiator::initiate(&mut cx, &config, child, address)?;
        self.arm_half_open(id);
        Ok(id)
    }
}

impl Engine {
    /// Another child of the connection that is being initiated follows the first.
    fn follow_up(&mut self, id: IkeSaId, child: &str) {
        let half = self.tables.half_open.initiator(id);
        let new = |half: &&mut Initiator| half.state.children.iter().all(|name| name != child);
        if let Some(half) = half.filter(new) {
            half.state.children.push(child.to_owned());
            let mirrored = ike_sa_init_initiator::mirror(half);
            self.outbox.outputs.push_back(mirrored);
        }
    }
}

impl Engine {
    /// Where the `attempt`-th attempt goes. Names without address are asked for at once.
    fn remote_address(
        &mut self,
        now: Timestamp,
        connection: &Connection,
        attempt: u32,
    ) -> Result<IpAddr, Error> {
        let addresses = connection.remote_addresses(self.config.vip.0);
        if addresses.is_empty() {
            self.arm_names(now);
            return Err(Error::NoRemoteAddress(connection.name.clone()));
        }
        let place = usize::try_from(attempt).unwrap_or(0) % addresses.len();
        Ok(addresses[place])
    }
}

/// The pause after the `made`-th attempt, from 0: doubled each time, a quarter more or less, so that
/// not all peers of a gateway that was away come at once.
fn pause(made: u32, rng: &mut dyn Random) -> Duration {
    let whole_ms = 1000_u64 << made.min(LONGEST_PAUSE);
    let mut bytes = [0; 8];
    rng.fill(&mut bytes);
    let jitter = u64::from_be_bytes(bytes) % (whole_ms / 2);
    Duration::from_millis(whole_ms * 3 / 4 + jitter)
}
