//! One VIP at this node: what it is to it, and, on a candidate, everything that follows or makes
//! the records.

use crate::config::VipConfig;
use crate::health::Checks;
use crate::held::Held;
use crate::io::RequestId;
use crate::replica::Replica;
use crate::writer::Writer;
use std::collections::{BTreeMap, BTreeSet};
use vipsec_cluster::How;
use vipsec_cluster::store::{Key, Revision};
use vipsec_ike::{Endpoints, Engine, Ticket};
use vipsec_path::{Command, InstallState, SaCounters};
use vipsec_wire::handover::Handover;
use vipsec_wire::id::{Epoch, EspSpi, IkeSaId, NodeName, Vip};
use vipsec_wire::record::v1::EpochRecord;
use vipsec_wire::time::Timestamp;

/// What this node is to the VIP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It owns it and has flipped.
    Owner(Epoch),
    /// It does not; the epoch and owner that it knows of.
    Member(Epoch, Option<NodeName>),
}

impl Standing {
    pub(crate) fn epoch(&self) -> Epoch {
        match self {
            Standing::Owner(epoch) | Standing::Member(epoch, _) => *epoch,
        }
    }
}

/// An effect that may have to wait for the store.
#[derive(Debug)]
pub(crate) enum Effect {
    /// An IKE message.
    Transmit { local: core::net::SocketAddr, remote: core::net::SocketAddr, message: Vec<u8> },
    /// The peer of a family of SAs has another address.
    Endpoints { ike: vipsec_wire::id::IkeSaId, endpoints: vipsec_esp::Endpoints },
    /// Sequence numbers of a family of SAs jump.
    Jump { ike: vipsec_wire::id::IkeSaId, inbound: u64, outbound: u64 },
    /// An instruction to all workers.
    Command(Box<Command>),
}

/// One VIP.
pub(crate) struct VipState {
    pub(crate) vip: Vip,
    pub(crate) config: VipConfig,
    pub(crate) standing: Standing,
    pub(crate) checks: Checks,
    /// Full reports of connections that were asked of workers and have not come yet.
    pub(crate) unreported: u32,
    /// Workers that still look for connections that belong to others of them, after a change of
    /// owner.
    pub(crate) straying: u16,
    /// Health as the targets have said it.
    pub(crate) unhealthy: BTreeSet<(String, NodeName)>,
    pub(crate) candidate: Option<Candidate>,
}

/// What a candidate has beside.
pub(crate) struct Candidate {
    pub(crate) engine: Engine,
    pub(crate) replica: Replica,
    pub(crate) writer: Writer,
    /// The write that is under way.
    pub(crate) writing: Option<RequestId>,
    pub(crate) held: Held<Effect>,
    /// The claim that is under way.
    pub(crate) claiming: Option<(RequestId, EpochRecord)>,
    /// Won, but not yet caught up with the store.
    pub(crate) owning: Option<Owning>,
    /// What the workers have said of a freeze so far.
    pub(crate) freezing: Option<Freezing>,
    /// Child SAs that the workers have.
    pub(crate) installed: BTreeMap<EspSpi, Installed>,
    /// Blocks of sequence numbers, as the store has them.
    pub(crate) blocks: BTreeMap<EspSpi, u32>,
    /// Highest outbound numbers beyond the blocks, as the owner has announced them.
    pub(crate) high_water: BTreeMap<EspSpi, u64>,
    pub(crate) usage: BTreeMap<EspSpi, SaCounters>,
    pub(crate) edges: EdgeBook,
    /// Tickets whose new SA goes on without the store.
    pub(crate) unprotected: BTreeMap<Ticket, Vec<IkeSaId>>,
    /// The SAs that each open write is about.
    pub(crate) tickets: BTreeMap<Ticket, Vec<IkeSaId>>,
}

/// A Child SA as the workers know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Installed {
    pub(crate) family: IkeSaId,
    pub(crate) outbound: bool,
    pub(crate) endpoints: Endpoints,
}

/// An ownership that is committed but not yet acted on.
pub(crate) struct Owning {
    pub(crate) epoch: Epoch,
    pub(crate) revision: Revision,
    pub(crate) catch_up: Revision,
    pub(crate) how: How,
    /// Targets that have told this owner-to-be all their connections already.
    pub(crate) reported: Vec<NodeName>,
}

/// A freeze that waits for workers and for the store.
pub(crate) struct Freezing {
    pub(crate) reported: u16,
    pub(crate) handover: Handover,
    pub(crate) said: bool,
}

/// Right edges of replay windows, for the record that is written once a second.
#[derive(Debug, Default)]
pub(crate) struct EdgeBook {
    pub(crate) edges: BTreeMap<EspSpi, u64>,
    pub(crate) changed: bool,
    pub(crate) next_write: Option<Timestamp>,
    /// The greatest advance of one SA in the last stream, in packets.
    streamed: u64,
    /// The greatest advance of one SA since the edges were written last, in packets.
    unwritten: BTreeMap<EspSpi, u64>,
}

impl EdgeBook {
    /// Raises edges.
    pub(crate) fn raise(&mut self, edges: &[(EspSpi, u64)]) {
        let mut streamed = 0;
        for (spi, edge) in edges {
            let known = self.edges.entry(*spi).or_insert(*edge);
            if *edge > *known {
                let advance = *edge - *known;
                streamed = streamed.max(advance);
                *self.unwritten.entry(*spi).or_default() += advance;
                *known = *edge;
            }
            self.changed = true;
        }
        self.streamed = streamed;
    }

    /// The edges are on their way into the store.
    fn stored(&mut self) {
        self.unwritten.clear();
    }

    /// How many packets of the busiest SA the next owner could accept twice: with a backup, what one
    /// stream brings; without one, what has come since the edges were written.
    pub(crate) fn bound(&self, with_backup: bool) -> u64 {
        if with_backup {
            return self.streamed;
        }
        self.unwritten.values().copied().max().unwrap_or(0)
    }
}

impl VipState {
    pub(crate) fn new(node: &NodeName, config: VipConfig) -> VipState {
        let candidate = config.ike.clone().map(|ike| Candidate::new(config.vip, ike));
        VipState {
            vip: config.vip,
            checks: Checks::new(node, &config.path.services),
            standing: Standing::Member(Epoch(0), None),
            unreported: 0,
            straying: 0,
            unhealthy: BTreeSet::new(),
            candidate,
            config,
        }
    }
}

impl Candidate {
    fn new(vip: Vip, ike: vipsec_ike::Config) -> Candidate {
        Candidate {
            engine: Engine::new(ike),
            replica: Replica::new(vip),
            writer: Writer::default(),
            writing: None,
            held: Held::default(),
            claiming: None,
            owning: None,
            freezing: None,
            installed: BTreeMap::new(),
            blocks: BTreeMap::new(),
            high_water: BTreeMap::new(),
            usage: BTreeMap::new(),
            edges: EdgeBook::default(),
            unprotected: BTreeMap::new(),
            tickets: BTreeMap::new(),
        }
    }

    /// The edges of the SAs that there are; others' are forgotten here.
    pub(crate) fn packed_edges(&mut self) -> Vec<(EspSpi, u64)> {
        let installed = &self.installed;
        self.edges.edges.retain(|spi, _| installed.contains_key(spi));
        self.edges.stored();
        self.edges.edges.iter().map(|(spi, edge)| (*spi, *edge)).collect()
    }

    /// What is known of the movable state of an SA that is to be installed.
    pub(crate) fn install_state(&self, spi_in: EspSpi, outbound: bool) -> InstallState {
        let edge = self.edges.edges.get(&spi_in).copied().unwrap_or(0);
        let block = self.blocks.get(&spi_in).copied().unwrap_or(0);
        let high_water = self.high_water.get(&spi_in).copied().unwrap_or(0);
        InstallState { outbound, block, edge, high_water }
    }

    /// Keeps in mind what the workers have been told of their Child SAs.
    pub(crate) fn note_command(&mut self, command: &Command) {
        match command {
            Command::Install(sa, state) => {
                let (family, endpoints) = (sa.ike, sa.endpoints);
                let installed = Installed { family, outbound: state.outbound, endpoints };
                self.installed.insert(sa.inbound.spi, installed);
            }
            Command::ActivateOutbound { spi_in, .. } => {
                if let Some(installed) = self.installed.get_mut(spi_in) {
                    installed.outbound = true;
                }
            }
            Command::Remove { spi_in, .. } => self.uninstall(*spi_in),
            _ => {}
        }
    }

    /// Forgets all about a Child SA.
    pub(crate) fn uninstall(&mut self, spi_in: EspSpi) {
        self.installed.remove(&spi_in);
        self.blocks.remove(&spi_in);
        self.high_water.remove(&spi_in);
        self.usage.remove(&spi_in);
        self.edges.edges.remove(&spi_in);
    }

    /// The key of the record that fences this VIP's writes.
    pub(crate) fn fence(vip: Vip) -> Key {
        Key::epoch(vip)
    }
}
