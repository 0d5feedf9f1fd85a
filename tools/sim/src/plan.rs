//! What a run consists of: the world's size, its traffic, and what is done to it when. Made from a
//! seed by `generate`, or written out by a test.

use crate::host::HostId;
use crate::network::{Quality, Wire};
use crate::sabotage::Sabotage;
use crate::store::Pace;
use core::time::Duration;
use vipsec_cluster::TakeBack;
use vipsec_ike::{ChildLifetime, IkeLifetime};
use vipsec_path::Replay;

/// One run.
#[derive(Debug, Clone)]
pub struct Plan {
    /// For everything that is left to chance.
    pub seed: u64,
    /// Nodes that may own the VIP, at least one.
    pub candidates: u8,
    /// Nodes that are targets only.
    pub targets: u8,
    /// Remote peers, at least one.
    pub peers: u8,
    /// Workers of every node of the cluster.
    pub workers: u16,
    /// How long it lasts.
    pub length: Duration,
    /// Nothing is done any more in this last part, and everything works: traffic must flow again.
    pub calm: Duration,
    /// The protocols' settings.
    pub settings: Settings,
    /// What the applications do.
    pub traffic: Traffic,
    /// Between peers and cluster.
    pub outside: Quality,
    /// Between the nodes.
    pub fabric: Quality,
    /// The cluster's store.
    pub store: Pace,
    /// How much clocks may differ.
    pub skew: Duration,
    /// What is done when, in any order.
    pub steps: Vec<(Duration, Step)>,
    /// What is broken on purpose, to try a checker.
    pub sabotage: Option<Sabotage>,
}

/// The protocols' settings.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Life of IKE SAs.
    pub ike: IkeLifetime,
    /// Life of Child SAs.
    pub child: ChildLifetime,
    /// Silence after which a peer is looked after, on both sides.
    pub dpd_s: u32,
    /// AES-CBC instead of AES-GCM.
    pub cbc: bool,
    /// Additional key exchanges (RFC 9370), with messages in fragments (RFC 7383).
    pub additional: bool,
    /// MOBIKE (RFC 4555).
    pub mobike: bool,
    /// Synchronisation after a takeover (RFC 6311).
    pub synchronise: bool,
    /// ESP in UDP.
    pub encapsulate: bool,
    /// Packets of the replay windows.
    pub window: u32,
    /// What a new owner accepts.
    pub replay: Replay,
    /// Whether a higher rank takes back.
    pub takeback: TakeBack,
    /// Whether new SAs go on without the store.
    pub unprotected: bool,
}

/// What the applications do.
#[derive(Debug, Clone, Copy)]
pub struct Traffic {
    /// Between two datagrams of a flow.
    pub interval: Duration,
    /// UDP flows of each peer to the VIP's echo service.
    pub udp: u16,
    /// TCP callers of each peer to the VIP's service.
    pub tcp: u16,
    /// A UDP flow of each peer to the protected host, and one back.
    pub protected: bool,
    /// A UDP flow of each peer to a service on an inner address of the VIP.
    pub inner: bool,
}

/// Something that is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// A process is killed (`kill -9`), in the midst of whatever it does after so many more steps.
    Kill(HostId, u32),
    /// The same, but the machine goes with it: no connection is closed.
    Cut(HostId),
    /// The owner of the moment is killed.
    KillOwner(u32),
    /// A process is started, if none runs.
    Start(HostId),
    /// All nodes of the cluster that do not run are started.
    StartAll,
    /// A process is stopped (`SIGSTOP`).
    Pause(HostId),
    /// The owner of the moment is stopped.
    PauseOwner,
    /// Every stopped process goes on.
    WakeAll,
    /// The VIP is to be transferred to this node.
    Transfer(HostId),
    /// The VIP is to be transferred to the next candidate that runs.
    TransferOn,
    /// From now on a wire is like this.
    Quality(Wire, Quality),
    /// Nothing gets from the one to the other on the wires between nodes.
    Block(HostId, HostId),
    /// All partitions end.
    Heal,
    /// The store fails, or works again.
    StoreDown(bool),
    /// The store does not answer, or does again.
    StoreStall(bool),
    /// So many thousandths of the commits fail or lose their answer.
    StoreFlaky(u32),
    /// A node does not reach the store, or does again.
    StoreCut(HostId, bool),
    /// Remember what the store holds.
    Snapshot,
    /// Put that back, if the VIP has changed its owner since. (Within one epoch it is the floors'
    /// revisions that tell, and these may be a second late.)
    RollBack,
    /// Somebody accepts that all SAs are lost, on the first node that has refused the store.
    AcceptRollback,
    /// All IKE SAs of a host are rekeyed.
    RekeyIke(HostId),
    /// All Child SAs of a host are rekeyed.
    RekeyChildren(HostId),
    /// The owner rekeys all Child SAs.
    OwnerRekeys,
    /// A peer deletes its IKE SAs, and begins anew.
    Reconnect(HostId),
}

impl Settings {
    /// Lives that outlast a run, GCM, plain ESP.
    #[must_use]
    pub fn usual() -> Settings {
        Settings {
            ike: IkeLifetime::default(),
            child: ChildLifetime::default(),
            dpd_s: 5,
            cbc: false,
            additional: false,
            mobike: false,
            synchronise: false,
            encapsulate: false,
            window: 1024,
            replay: Replay::Bounded,
            takeback: TakeBack::Manual,
            unprotected: true,
        }
    }
}

impl Plan {
    /// Two candidates, a target and two peers on a good network, with traffic, for so many seconds;
    /// nothing happens.
    #[must_use]
    pub fn quiet(seed: u64, seconds: u64) -> Plan {
        let good = Quality::good();
        Plan {
            seed,
            candidates: 2,
            targets: 1,
            peers: 2,
            workers: 1,
            length: Duration::from_secs(seconds),
            calm: Duration::from_secs(3),
            settings: Settings::usual(),
            traffic: Traffic {
                interval: Duration::from_millis(5),
                udp: 2,
                tcp: 2,
                protected: true,
                inner: true,
            },
            outside: Quality { latency: Duration::from_millis(2), ..good },
            fabric: good,
            store: Pace {
                latency: Duration::from_millis(1),
                jitter: Duration::from_millis(3),
                watch: Duration::from_millis(10),
            },
            skew: Duration::from_millis(50),
            steps: Vec::new(),
            sabotage: None,
        }
    }

    /// The same with one more step, at so many milliseconds.
    #[must_use]
    pub fn at(mut self, at_ms: u64, step: Step) -> Plan {
        self.steps.push((Duration::from_millis(at_ms), step));
        self
    }

    /// The nodes of the cluster.
    #[must_use]
    pub fn nodes(&self) -> Vec<HostId> {
        let candidates = (0..self.candidates).map(HostId::candidate);
        candidates.chain((0..self.targets).map(HostId::target)).collect()
    }

    /// The peers.
    #[must_use]
    pub fn peer_hosts(&self) -> Vec<HostId> {
        (0..self.peers).map(HostId::peer).collect()
    }
}
