//! Connections that we bring up ourselves: when told to, or always (`Start::AtStart`), with growing
//! pauses while the peer does not want to. Whether one is up follows from the SAs, so that nothing
//! is initiated twice after a takeover. Traps and several attempts in parallel will stand here.

use crate::config::{Config, Connection, RemoteAddresses, Start};
use crate::engine::Engine;
use crate::error::Error;
use crate::exchange::ike_sa_init_initiator;
use crate::half_open::Initiator;
use crate::output::{Event, Output};
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
/// The longest pause between attempts, as a power of two seconds.
const LONGEST_PAUSE: u32 = 6;

/// The attempts at each connection of the configuration.
#[derive(Debug, Default)]
pub(super) struct Starts(Vec<Attempts>);

#[derive(Debug, Default, Clone)]
struct Attempts {
    made: u32,
    armed: Option<Timestamp>,
}

impl Starts {
    pub(super) fn new(config: &Config) -> Starts {
        Starts(vec![Attempts::default(); config.connections.len()])
    }
}

impl Engine {
    /// This node is the owner now: everything that is to be up is looked at.
    pub(super) fn arm_starts(&mut self, now: Timestamp, _rng: &mut dyn Random) {
        for place in 0..self.config.connections.len() {
            if self.config.connections[place].start == Start::AtStart {
                self.arm_start(place, now);
            }
        }
    }

    fn arm_start(&mut self, place: usize, due: Timestamp) {
        if let Some(attempts) = self.starts.0.get_mut(place) {
            self.timers.arm(Alarm::Start(place), &mut attempts.armed, Some(due));
        }
    }

    pub(super) fn look_at_start(&mut self, now: Timestamp, place: usize, rng: &mut dyn Random) {
        let Some(attempts) = self.starts.0.get_mut(place) else { return };
        attempts.armed = None;
        let made = attempts.made;
        let Some(connection) = self.config.connections.get(place) else { return };
        let missing = self.missing_children(connection);
        let under_way = self.is_under_way(&connection.name);
        let name = connection.name.clone();
        let pause = match (missing.first(), under_way) {
            (None, _) => {
                self.set_attempts(place, 0);
                INTERVAL
            }
            (Some(_), true) => Duration::from_secs(1),
            (Some(_), false) => {
                for child in &missing {
                    if let Ok(id) = self.begin(now, &name, child, made, rng) {
                        self.settle(now, id, rng);
                    }
                }
                self.set_attempts(place, made.saturating_add(1));
                let wait = Duration::from_secs(1 << made.min(LONGEST_PAUSE));
                let connection = name;
                self.outbox
                    .outputs
                    .push_back(Output::Event(Event::RetryLater { connection, wait }));
                wait
            }
        };
        let mut jitter = [0; 1];
        rng.fill(&mut jitter);
        self.arm_start(place, now + pause + Duration::from_millis(u64::from(jitter[0])));
    }

    fn set_attempts(&mut self, place: usize, made: u32) {
        if let Some(attempts) = self.starts.0.get_mut(place) {
            attempts.made = made;
        }
    }

    /// An attempt of ours at this connection has not ended yet.
    fn is_under_way(&self, connection: &str) -> bool {
        self.tables.half_open.initiated(connection).is_some()
            || self.tables.sas().any(|sa| {
                sa.about.connection == connection
                    && (sa.outstanding.is_some() || sa.live.pending.is_some())
            })
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
        let of_connection =
            |sa: &&crate::sa::IkeSa| sa.about.connection == connection && sa.is_established();
        let established = self.tables.sas().find(of_connection).map(crate::sa::IkeSa::id);
        if let Some(sa) = established.and_then(|id| self.tables.get_mut(id)) {
            sa.live.wanted.create.insert(child.to_owned());
            return Ok(sa.id());
        }
        if let Some(id) = self.tables.half_open.initiated(connection) {
            self.follow_up(id, child);
            return Ok(id);
        }
        let address = remote_address(&config, attempt)?;
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

fn remote_address(connection: &Connection, attempt: u32) -> Result<IpAddr, Error> {
    let none = || Error::NoRemoteAddress(connection.name.clone());
    match &connection.remote {
        RemoteAddresses::List(list) if !list.is_empty() => {
            let place = usize::try_from(attempt).unwrap_or(0) % list.len();
            list.get(place).copied().ok_or_else(none)
        }
        _ => Err(none()),
    }
}
