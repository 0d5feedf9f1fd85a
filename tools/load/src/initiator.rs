//! One initiator: an engine that sets up one IKE SA with one Child SA.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, anyhow};
use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use vipsec_crypto::Random;
use vipsec_ike::{
    Authentication, Child, Config, Connection, Engine, EspProposal, Event, IkeProposal, Limits,
    Output, RemoteAddresses, Retransmit, Selector, Stored,
};
use vipsec_wire::id::{Epoch, Vip};
use vipsec_wire::ike::{Encryption, Esn, Group, Identity, Prf, TrafficSelector};
use vipsec_wire::time::Timestamp;

use crate::Arguments;
use crate::sockets::{Received, Sockets};

const CONNECTION: &str = "load";
const CHILD: &str = "net";

/// How an initiator stands after a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Progress {
    /// Something is still to come.
    UnderWay,
    /// Both SAs are up.
    Established,
    /// It has come to nothing.
    Failed(String),
}

pub(crate) struct Initiator {
    engine: Engine,
    began: Instant,
    /// The request that is waiting for its response.
    request: Vec<u8>,
    /// Requests that were sent again.
    pub(crate) retransmits: u64,
}

impl Initiator {
    /// Makes the SPI under which responses come, and has the first request ready.
    pub(crate) fn start(arguments: &Arguments, number: u32) -> Result<([u8; 8], Self)> {
        let mut engine = Engine::new(config(arguments, number)?);
        let mut random = OsRandom::default();
        engine.become_owner(now(), Epoch(1), &mut random);
        let id = engine
            .initiate(now(), CONNECTION, CHILD, &mut random)
            .map_err(|error| anyhow!("cannot initiate: {error}"))?;
        let initiator = Self { engine, began: Instant::now(), request: Vec::new(), retransmits: 0 };
        Ok((id.0.to_be_bytes(), initiator))
    }

    /// Since its first request.
    pub(crate) fn age(&self) -> Duration {
        self.began.elapsed()
    }

    pub(crate) fn receive(&mut self, received: &Received) {
        let Received { local, remote, message } = received;
        let random = &mut OsRandom::default();
        self.engine.handle_datagram(now(), *local, *remote, message, random);
    }

    /// Repeats what is due.
    pub(crate) fn tick(&mut self) {
        let now = now();
        if self.engine.poll_timeout().is_some_and(|due| due <= now) {
            self.engine.handle_timeout(now, &mut OsRandom::default());
        }
    }

    /// Sends what the engine wants sent. What it wants stored is not: an initiator that dies here
    /// is not to be continued.
    pub(crate) fn settle(&mut self, sockets: &Sockets) -> Result<Progress> {
        let mut progress = Progress::UnderWay;
        while let Some(output) = self.engine.poll_output() {
            match output {
                Output::Transmit { local, remote, message, .. } => {
                    self.send(sockets, local, remote, message)?;
                }
                Output::Persist { ticket, .. } => {
                    let random = &mut OsRandom::default();
                    self.engine.handle_stored(now(), ticket, Stored::Confirmed, random);
                }
                Output::Event(Event::ChildUp { .. }) => progress = Progress::Established,
                Output::Event(
                    event @ (Event::Failed { .. }
                    | Event::Closed { .. }
                    | Event::ChildFailed { .. }
                    | Event::RetryLater { .. }),
                ) => progress = Progress::Failed(format!("{event:?}")),
                _ => {}
            }
        }
        Ok(progress)
    }

    fn send(
        &mut self,
        sockets: &Sockets,
        local: SocketAddr,
        remote: SocketAddr,
        message: Vec<u8>,
    ) -> Result<()> {
        self.retransmits += u64::from(message == self.request);
        sockets.send(local, remote, &message)?;
        self.request = message;
        Ok(())
    }
}

fn config(arguments: &Arguments, number: u32) -> Result<Config> {
    let own = u32::from(arguments.base).checked_add(number).context("too many addresses")?;
    let own = IpAddr::V4(own.into());
    let gcm = vec![Encryption::AesGcm16 { bits: 256 }];
    let mut connection = Connection::new(CONNECTION, Authentication::psk(arguments.psk.as_bytes()));
    connection.local_id = Some(Identity::Fqdn(format!("c{number}.load.test")));
    connection.remote_id = Some(Identity::Fqdn(arguments.remote_id.clone()));
    connection.remote = RemoteAddresses::List(vec![arguments.remote]);
    connection.proposals = vec![IkeProposal {
        encryption: gcm.clone(),
        integrity: Vec::new(),
        prf: vec![Prf::HmacSha2_256],
        groups: vec![Group::X25519],
        additional: Vec::new(),
    }];
    let mut child = Child::new(CHILD, vec![host(own)?], vec![host(arguments.inner)?]);
    child.proposals = vec![EspProposal {
        encryption: gcm,
        integrity: Vec::new(),
        groups: Vec::new(),
        additional: Vec::new(),
        esn: vec![Esn::No],
    }];
    connection.children = vec![child];
    Ok(Config {
        vip: Vip(arguments.local),
        connections: vec![connection],
        limits: Limits::default(),
        retransmit: Retransmit { initial_ms: 500, base_percent: 200, tries: 6 },
        fragment_size: Some(vipsec_ike::FRAGMENT_SIZE),
    })
}

fn host(address: IpAddr) -> Result<Selector> {
    let length = if address.is_ipv4() { 32 } else { 128 };
    let selector = TrafficSelector::from_prefix(address, length);
    selector.map(Selector::Fixed).context("a host is a prefix")
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
}

/// The operating system's randomness.
#[derive(Default)]
pub(crate) struct OsRandom(SystemRandom);

impl Random for OsRandom {
    fn fill(&mut self, out: &mut [u8]) {
        self.0.fill(out).expect("the operating system gives random bytes");
    }
}
