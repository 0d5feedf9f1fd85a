//! What will happen, in the order of virtual time.

use crate::host::HostId;
use crate::network::Wire;
use core::cmp::{Ordering, Reverse};
use core::net::{IpAddr, SocketAddr};
use std::collections::BinaryHeap;
use vipsec_node::{Link, StoreReply, StoreRequest};
use vipsec_path::{Command, HandOver, Report};
use vipsec_wire::time::Timestamp;

/// A packet between a peer and a VIP, without its IP header; plain ESP has the ports 0.
#[derive(Debug, Clone)]
pub(crate) struct Outer {
    /// From.
    pub(crate) source: SocketAddr,
    /// To.
    pub(crate) destination: SocketAddr,
    /// DSCP and ECN.
    pub(crate) tos: u8,
    /// Plain ESP; otherwise the payload of a UDP datagram.
    pub(crate) esp: bool,
    /// The bytes.
    pub(crate) payload: Vec<u8>,
}

/// What a process gets to see.
#[derive(Debug)]
pub(crate) enum Input {
    /// A packet from outside.
    Outer(Outer),
    /// A frame from another node.
    Frame(SocketAddr, Vec<u8>),
    /// A packet that the kernel has routed into the TUN.
    Tun(Vec<u8>),
    /// The node's instruction to a worker.
    Command(u16, Box<Command>),
    /// A worker's report to the node.
    Report(u16, Report),
    /// A packet from one worker for another.
    HandOver(u16, HandOver, Vec<u8>),
    /// The last worker has taken an IKE message that the node sends: from where, whereto.
    Ike(SocketAddr, SocketAddr, Vec<u8>),
    /// The node's timer.
    NodeTimer,
    /// A worker's timer.
    WorkerTimer(u16),
    /// The store has answered.
    Store(StoreReply),
    /// Time to look what has changed in the store.
    Watch,
    /// The connection to another node has changed.
    Link(HostId, Link),
    /// A message from another node.
    Message(HostId, Vec<u8>),
    /// An attempt to connect has succeeded or failed.
    Probe(u64, bool),
}

/// One thing that will happen.
#[derive(Debug)]
pub(crate) enum Event {
    /// A packet from outside arrives.
    Outside(HostId, Outer),
    /// A frame arrives.
    Fabric(HostId, SocketAddr, Vec<u8>),
    /// A packet arrives on the inside wire.
    Inside(HostId, Vec<u8>),
    /// A switch learns where an address is.
    Learn(Wire, IpAddr, HostId),
    /// An input to a process, if it is still that one.
    Process(HostId, u64, Input),
    /// A request arrives at the store.
    StoreRequest(HostId, u64, StoreRequest),
    /// Two nodes try to connect.
    Connect(HostId, HostId),
    /// A connection that makes no progress is given up.
    GiveUp(u64),
    /// A process notices that its connection to another node is gone.
    Missed(HostId, u64, HostId),
    /// The applications of a host do what is due.
    Apps(HostId),
    /// A step of the plan.
    Plan(usize),
    /// A process starts.
    Start(HostId),
    /// Nothing is done to the world any more.
    Calm,
    /// The run is over.
    End,
}

struct Due {
    at: Timestamp,
    number: u64,
    event: Event,
}

impl PartialEq for Due {
    fn eq(&self, other: &Due) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Due {}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Due) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Due {
    fn cmp(&self, other: &Due) -> Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

/// The queue. What is due at the same time happens in the order in which it was put in.
#[derive(Default)]
pub(crate) struct Queue {
    heap: BinaryHeap<Reverse<Due>>,
    number: u64,
}

impl Queue {
    /// Something will happen.
    pub(crate) fn push(&mut self, at: Timestamp, event: Event) {
        self.number += 1;
        self.heap.push(Reverse(Due { at, number: self.number, event }));
    }

    /// The next thing.
    pub(crate) fn pop(&mut self) -> Option<(Timestamp, Event)> {
        self.heap.pop().map(|Reverse(due)| (due.at, due.event))
    }
}
