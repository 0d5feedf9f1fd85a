//! The keys between this worker and the other nodes: sealing and opening of frames. What frames
//! mean is `frames.rs`.
//!
//! Every control connection brings new keys. A node receives with the keys of its last connections
//! and sends with the newest that the other end has been seen to use, so that no frame is lost
//! while the two learn of a new connection at different moments.

use crate::command::{FabricKey, FabricKeys};
use crate::counters::DropReason;
use crate::sink::{Route, Sink};
use core::net::SocketAddr;
use core::ops::Range;
use core::time::Duration;
use std::collections::{BTreeMap, HashMap};
use vipsec_crypto::aead::AeadAlgorithm;
use vipsec_crypto::{KeyError, Random};
use vipsec_distributor::flow_map::SeededState;
use vipsec_esp::{
    Cipher, EspError, HalfKeys, HalfSa, Inbound, IvGenerator, Lifetime, Outbound, Replay,
};
use vipsec_wire::fabric::{Header, NEXT_HEADER};
use vipsec_wire::id::{Epoch, EspSpi};
use vipsec_wire::secret::SecretBytes;
use vipsec_wire::time::Timestamp;

/// Replay window of frames, in packets.
const WINDOW: u32 = 4096;
/// Keys of a connection are used for sending after this time, seen at the other end or not.
const CONFIRM_WITHIN: Duration = Duration::from_secs(1);
/// Keys of earlier connections are received with for this time after the newest are confirmed.
const OLD_KEYS: Duration = Duration::from_secs(5);
/// A fabric key has only one owner: its only epoch.
const ONLY_EPOCH: Epoch = Epoch(1);

/// Another node.
#[derive(Debug)]
struct Peer {
    remote: SocketAddr,
    outbound: Outbound,
    /// The keys of the newest connection, until they are confirmed.
    pending: Option<Pending>,
    /// Counts connections.
    serial: u64,
    /// When the keys of earlier connections are forgotten.
    retire: Option<Timestamp>,
}

#[derive(Debug)]
struct Pending {
    remote: SocketAddr,
    outbound: Outbound,
    until: Timestamp,
}

#[derive(Debug)]
struct Receiver {
    node: u16,
    serial: u64,
    inbound: Inbound,
}

/// A frame that was opened.
#[derive(Debug)]
pub(crate) struct Frame {
    /// Index of the node whose key authenticated it.
    pub(crate) from: u16,
    /// Its header and content in the packet that was given.
    pub(crate) content: Range<usize>,
    /// The node has been seen to use its newest keys for the first time.
    pub(crate) confirmed: bool,
}

/// All keys.
#[derive(Debug)]
pub(crate) struct Fabric {
    peers: BTreeMap<u16, Peer>,
    receivers: HashMap<u32, Receiver, SeededState>,
}

impl Fabric {
    pub(crate) fn new(seed: u64) -> Fabric {
        Fabric { peers: BTreeMap::new(), receivers: HashMap::with_hasher(SeededState::new(seed)) }
    }

    /// Takes the keys of a new connection; `mine` tells which inbound SPIs belong to this worker.
    pub(crate) fn add(
        &mut self,
        now: Timestamp,
        node: u16,
        keys: &FabricKeys,
        mine: impl Fn(EspSpi) -> bool,
        random: &mut dyn Random,
    ) -> Result<(), KeyError> {
        let outbound = outbound(now, &keys.outbound, random)?;
        let serial = self.peers.get(&node).map_or(0, |peer| peer.serial) + 1;
        for key in keys.inbound.iter().filter(|key| mine(key.spi)) {
            let inbound = inbound(now, key)?;
            self.receivers.insert(key.spi.0, Receiver { node, serial, inbound });
        }
        // The keys before the last ones have been replaced long ago, or never worked.
        self.receivers.retain(|_, r| r.node != node || r.serial + 1 >= serial);
        let remote = keys.remote;
        if let Some(peer) = self.peers.get_mut(&node) {
            let until = now + CONFIRM_WITHIN;
            peer.pending = Some(Pending { remote, outbound, until });
            peer.serial = serial;
            peer.retire = None;
        } else {
            let peer = Peer { remote, outbound, pending: None, serial, retire: None };
            self.peers.insert(node, peer);
        }
        Ok(())
    }

    /// A node uses its newest keys, as another worker has seen.
    pub(crate) fn confirm(&mut self, now: Timestamp, node: u16) {
        if let Some(peer) = self.peers.get_mut(&node) {
            peer.confirm(now);
        }
    }

    /// Forgets a node.
    pub(crate) fn remove(&mut self, node: u16) {
        self.peers.remove(&node);
        self.receivers.retain(|_, receiver| receiver.node != node);
    }

    /// The nodes to which frames can be sent.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = u16> + '_ {
        self.peers.keys().copied()
    }

    /// Seals a frame of several parts and sends it.
    pub(crate) fn send(
        &mut self,
        now: Timestamp,
        node: u16,
        header: &Header,
        parts: &[&[u8]],
        ivs: &mut IvGenerator,
        out: &mut dyn Sink,
    ) -> Result<(), DropReason> {
        let peer = self.peers.get_mut(&node).ok_or(DropReason::NoFabric)?;
        emit(now, peer.remote, &mut peer.outbound, header, parts, ivs, out);
        Ok(())
    }

    /// Sends a frame with the newest keys, too, when they are not confirmed yet: it shows the other
    /// end that we have them.
    pub(crate) fn send_probe(
        &mut self,
        now: Timestamp,
        node: u16,
        header: &Header,
        parts: &[&[u8]],
        ivs: &mut IvGenerator,
        out: &mut dyn Sink,
    ) {
        if let Some(peer) = self.peers.get_mut(&node)
            && let Some(pending) = &mut peer.pending
        {
            emit(now, pending.remote, &mut pending.outbound, header, parts, ivs, out);
        }
    }

    /// Checks and decrypts a frame in place.
    pub(crate) fn open(&mut self, now: Timestamp, packet: &mut [u8]) -> Result<Frame, DropReason> {
        let spi = packet.first_chunk::<4>().ok_or(DropReason::Malformed)?;
        let spi = u32::from_be_bytes(*spi);
        let receiver = self.receivers.get_mut(&spi).ok_or(DropReason::FabricSpi)?;
        let opened = receiver.inbound.open(now, packet).map_err(|error| match error {
            EspError::Replayed | EspError::OutsideWindow => DropReason::FabricReplayed,
            _ => DropReason::FabricUnauthentic,
        })?;
        if opened.next_header != NEXT_HEADER {
            return Err(DropReason::FabricMalformed);
        }
        let (from, serial) = (receiver.node, receiver.serial);
        let confirmed = self
            .peers
            .get_mut(&from)
            .is_some_and(|peer| serial == peer.serial && peer.confirm(now));
        Ok(Frame { from, content: opened.payload, confirmed })
    }

    /// Does what is due; returns nodes whose newest keys are used from now on.
    pub(crate) fn handle_timeout(&mut self, now: Timestamp) -> Vec<u16> {
        let mut confirmed = Vec::new();
        for (&node, peer) in &mut self.peers {
            if peer.pending.as_ref().is_some_and(|pending| pending.until <= now) {
                peer.confirm(now);
                confirmed.push(node);
            }
            if peer.retire.is_some_and(|at| at <= now) {
                peer.retire = None;
                let serial = peer.serial;
                self.receivers.retain(|_, r| r.node != node || r.serial >= serial);
            }
        }
        confirmed
    }

    /// When [`Fabric::handle_timeout`] is due.
    pub(crate) fn poll_timeout(&self) -> Option<Timestamp> {
        let peers = self.peers.values();
        peers.flat_map(|peer| [peer.pending.as_ref().map(|p| p.until), peer.retire]).flatten().min()
    }
}

impl Peer {
    /// Sends with the newest keys from now on; false when it does already.
    fn confirm(&mut self, now: Timestamp) -> bool {
        let Some(pending) = self.pending.take() else { return false };
        self.outbound = pending.outbound;
        self.remote = pending.remote;
        self.retire = Some(now + OLD_KEYS);
        true
    }
}

fn emit(
    now: Timestamp,
    remote: SocketAddr,
    outbound: &mut Outbound,
    header: &Header,
    parts: &[&[u8]],
    ivs: &mut IvGenerator,
    out: &mut dyn Sink,
) {
    let length = header.length() + parts.iter().map(|part| part.len()).sum::<usize>();
    let max = outbound.sealed_length(length);
    out.emit(Route::Fabric { remote }, max, &mut |packet| {
        let mut at = outbound.payload_offset();
        let Some(written) = packet.get_mut(at..).and_then(|rest| header.emit(rest)) else {
            return 0;
        };
        at += written;
        for part in parts {
            let Some(place) = packet.get_mut(at..at + part.len()) else { return 0 };
            place.copy_from_slice(part);
            at += part.len();
        }
        // An error here means keys that are used up, which at 2^47 frames does not happen.
        outbound.seal(now, NEXT_HEADER, packet, length, ivs).unwrap_or(0)
    });
}

fn half<'a>(keys: &'a HalfKeys, now: Timestamp) -> HalfSa<'a> {
    HalfSa {
        keys,
        cipher: Cipher::Aead(AeadAlgorithm::Aes128Gcm16),
        esn: true,
        replay_window: WINDOW,
        born: ONLY_EPOCH,
        created: now,
        lifetime: Lifetime::default(),
    }
}

fn keys(key: &FabricKey) -> HalfKeys {
    HalfKeys { spi: key.spi, encryption: key.key.clone(), integrity: SecretBytes::default() }
}

fn outbound(
    now: Timestamp,
    key: &FabricKey,
    random: &mut dyn Random,
) -> Result<Outbound, KeyError> {
    let mut outbound = Outbound::from_half(&half(&keys(key), now))?;
    outbound
        .enter(ONLY_EPOCH, 0, 0, random)
        .expect("a fresh half can enter the epoch of its birth");
    Ok(outbound)
}

fn inbound(now: Timestamp, key: &FabricKey) -> Result<Inbound, KeyError> {
    let mut inbound = Inbound::from_half(&half(&keys(key), now))?;
    inbound
        .enter(ONLY_EPOCH, Replay::Bounded)
        .expect("a fresh half can enter the epoch of its birth");
    Ok(inbound)
}
