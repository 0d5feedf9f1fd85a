//! A running vipsec process: the node, its workers, and the queues between them. What it wants is
//! carried out by the world.

use crate::event::Input;
use crate::observation::Actor;
use std::collections::BTreeMap;
use vipsec_cluster::store::Revision;
use vipsec_node::Node;
use vipsec_path::{DropCounts, HandOver, Path, Route, Sink};
use vipsec_wire::id::Epoch;
use vipsec_wire::time::Timestamp;

/// Packets that wait in the sockets of a process that stands still.
const SOCKET_MAX: usize = 256;

/// One worker.
pub(crate) struct Worker {
    /// The code under test.
    pub(crate) path: Path,
    /// The epoch that its last role named, and whether that was the owner's.
    pub(crate) role: (Epoch, bool),
    /// When its timer is set to.
    pub(crate) timer: Option<Timestamp>,
    /// What it had dropped when that was looked at last.
    pub(crate) drops: DropCounts,
}

/// A process.
pub(crate) struct Process {
    /// Its name.
    pub(crate) actor: Actor,
    /// The code under test.
    pub(crate) node: Node,
    /// The workers.
    pub(crate) workers: Vec<Worker>,
    /// When the node's timer is set to.
    pub(crate) timer: Option<Timestamp>,
    /// It stands still.
    pub(crate) paused: bool,
    /// What has come meanwhile.
    pub(crate) backlog: Vec<Input>,
    /// After so many more steps it dies in the midst of what it does.
    pub(crate) fuse: Option<u32>,
    /// Up to which revision its watch has come; `None` while it has none.
    pub(crate) watch: Option<Revision>,
    /// A look for changes is under way.
    pub(crate) watching: bool,
    order: BTreeMap<Channel, Timestamp>,
}

/// Queues in which nothing overtakes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Channel {
    /// From the node to a worker.
    Commands(u16),
    /// From a worker to the node.
    Reports(u16),
    /// To the store.
    Requests,
    /// From the store.
    Replies,
}

impl Process {
    /// A process that has not begun.
    #[must_use]
    pub(crate) fn new(actor: Actor, node: Node, paths: Vec<Path>) -> Process {
        let worker = |path| Worker {
            path,
            role: (Epoch(0), false),
            timer: None,
            drops: DropCounts::default(),
        };
        Process {
            actor,
            node,
            workers: paths.into_iter().map(worker).collect(),
            timer: None,
            paused: false,
            backlog: Vec::new(),
            fuse: None,
            watch: None,
            watching: false,
            order: BTreeMap::new(),
        }
    }

    /// The time at which something put into a queue now comes out: not before `at`, and behind
    /// everything that is in it.
    pub(crate) fn in_order(&mut self, channel: Channel, at: Timestamp) -> Timestamp {
        let last = self.order.entry(channel).or_insert(at);
        *last = at.max(*last);
        *last
    }

    /// Something has come while the process stands still. Sockets have an end, timers are one.
    pub(crate) fn keep(&mut self, input: Input) {
        let is_packet =
            |input: &Input| matches!(input, Input::Outer(_) | Input::Frame(..) | Input::Tun(_));
        if is_packet(&input) {
            let waiting = self.backlog.iter().filter(|input| is_packet(input)).count();
            if waiting >= SOCKET_MAX {
                return;
            }
        }
        self.backlog.push(input);
    }

    /// One more step: whether it was the last.
    pub(crate) fn burn(&mut self) -> bool {
        match &mut self.fuse {
            None => false,
            Some(0) => true,
            Some(left) => {
                *left -= 1;
                false
            }
        }
    }

    /// The worker that a packet falls to, by a hash of its addresses, as a kernel does.
    #[must_use]
    pub(crate) fn worker_for(&self, flow: u64) -> u16 {
        let workers = self.workers.len().max(1) as u64;
        u16::try_from(flow % workers).unwrap_or(0)
    }
}

/// What a worker did with one input.
#[derive(Debug)]
pub(crate) enum Effect {
    /// A packet leaves.
    Emit(Route, Vec<u8>),
    /// A packet for the kernel.
    Inner(Vec<u8>),
    /// A packet for another worker.
    HandOver(u16, HandOver, Vec<u8>),
}

/// Collects what a worker does.
#[derive(Debug, Default)]
pub(crate) struct Collected(pub(crate) Vec<Effect>);

impl Sink for Collected {
    fn emit(&mut self, to: Route, max: usize, fill: &mut dyn FnMut(&mut [u8]) -> usize) {
        let mut packet = vec![0xa5; max];
        let length = fill(&mut packet);
        if length > 0 {
            packet.truncate(length);
            self.0.push(Effect::Emit(to, packet));
        }
    }

    fn inner(&mut self, packet: &[u8]) {
        self.0.push(Effect::Inner(packet.to_vec()));
    }

    fn hand_over(&mut self, worker: u16, kind: HandOver, packet: &[u8]) {
        self.0.push(Effect::HandOver(worker, kind, packet.to_vec()));
    }
}
