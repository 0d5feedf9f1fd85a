//! The Child SAs of this node (RFC 4301 section 4.4.2): found by VIP and inbound SPI, installed on
//! owners and standbys alike. An SA enters an epoch at its first use in it, so that a change of
//! owner costs nothing per SA.

use crate::command::InstallState;
use crate::pmtu::{Kept, PathMtus};
use core::net::SocketAddr;
use std::collections::HashMap;
use vipsec_crypto::{KeyError, Random};
use vipsec_distributor::flow_map::SeededState;
use vipsec_esp::{
    ChildSa, EnterError, Expiry, Inbound, InboundSnapshot, Mode, Outbound, OutboundSnapshot,
    Replay, Usage, WindowSnapshot,
};
use vipsec_wire::handover::{SaImage, UsageImage, WindowImage};
use vipsec_wire::id::{Epoch, EspSpi};
use vipsec_wire::secret::SecretBytes;
use vipsec_wire::time::Timestamp;

/// Octets of a UDP header around an encapsulated packet.
const UDP_HEADER: usize = 8;

/// One pair of SAs.
#[derive(Debug)]
pub(crate) struct Sa {
    /// Index of the VIP.
    pub(crate) vip: usize,
    /// What was negotiated, without the keys.
    pub(crate) constant: Box<ChildSa>,
    /// The worker that holds the live halves.
    pub(crate) home: u16,
    /// The live halves, at that worker.
    pub(crate) live: Option<Box<Live>>,
    /// Whether it sends for its selectors.
    pub(crate) active: bool,
    /// Whether it has been replaced and is only received on, for a moment.
    pub(crate) lingers: bool,
}

impl Sa {
    pub(crate) fn spi(&self) -> EspSpi {
        self.constant.inbound.spi
    }
}

/// What moves in an SA.
#[derive(Debug)]
pub(crate) struct Live {
    pub(crate) inbound: Inbound,
    pub(crate) outbound: Outbound,
    /// What the former owner handed over for this epoch; used at the first packet of each half.
    handover: Option<(Epoch, SaImage)>,
    /// The highest right edge that is known from elsewhere.
    known_edge: u64,
    /// The right edge that was reported last.
    pub(crate) edge_told: u64,
    pub(crate) expiry_told: Option<(Epoch, Expiry)>,
    pub(crate) mapping_told: Option<SocketAddr>,
    /// It is in the worker's list of SAs with traffic.
    pub(crate) dirty: bool,
    /// It is in the list of SAs whose counters changed.
    pub(crate) counted: bool,
    room: Option<(Kept, usize)>,
}

impl Live {
    fn new(sa: &ChildSa, state: InstallState) -> Result<Live, KeyError> {
        let mut live = Live {
            inbound: Inbound::new(sa)?,
            outbound: Outbound::new(sa)?,
            handover: None,
            known_edge: 0,
            edge_told: 0,
            expiry_told: None,
            mapping_told: None,
            dirty: false,
            counted: false,
            room: None,
        };
        live.outbound.confirm_block(state.block);
        live.outbound.learn_high_water(state.high_water);
        live.learn_edge(state.edge);
        Ok(live)
    }

    /// Notes how far the peer's sequence numbers have got.
    pub(crate) fn learn_edge(&mut self, edge: u64) {
        self.known_edge = self.known_edge.max(edge);
        self.inbound.learn_edge(edge);
    }

    /// The highest right edge that is known.
    pub(crate) fn edge(&self) -> u64 {
        self.known_edge.max(self.inbound.edge())
    }

    /// Keeps what the former owner handed over for `epoch`. Should another epoch come instead, it
    /// counts as a lower bound.
    pub(crate) fn take_over(&mut self, epoch: Epoch, image: SaImage) {
        self.outbound.confirm_block(image.block);
        let edge = image.window.as_ref().map_or(0, |window| window.edge);
        self.learn_edge(edge);
        self.handover = Some((epoch, image));
    }

    /// Makes the inbound half ready for `epoch`.
    pub(crate) fn enter_inbound(&mut self, epoch: Epoch, replay: Replay) -> Result<(), EnterError> {
        if self.inbound.is_in(epoch) {
            return Ok(());
        }
        if let Some((meant, image)) = &self.handover
            && *meant == epoch
            && let Some(window) = &image.window
        {
            let snapshot = InboundSnapshot {
                window: WindowSnapshot {
                    edge: window.edge,
                    size: window.size,
                    seen: window.received.clone(),
                },
                usage: usage(&image.received),
            };
            return self.inbound.continue_from(epoch, &snapshot);
        }
        self.inbound.enter(epoch, replay)
    }

    /// Makes the outbound half ready for `epoch`.
    pub(crate) fn enter_outbound(
        &mut self,
        epoch: Epoch,
        random: &mut dyn Random,
    ) -> Result<(), EnterError> {
        if self.outbound.is_in(epoch) {
            return Ok(());
        }
        let mut at_least = 0;
        if let Some((meant, image)) = &self.handover
            && let Some(next) = image.next_sequence
        {
            if *meant == epoch {
                let snapshot =
                    OutboundSnapshot { next, block: image.block, usage: usage(&image.sent) };
                return self.outbound.continue_from(epoch, &snapshot, random);
            }
            at_least = next.saturating_sub(1);
        }
        self.outbound.enter(epoch, 0, at_least, random)
    }

    /// What the next owner needs; `None` when the SA was not used in `epoch`. The window of an SA
    /// that must be rekeyed first is not exact and says nothing to the next owner, who must not
    /// accept by it what this one refuses.
    pub(crate) fn image(&self, spi_in: EspSpi, epoch: Epoch) -> Option<SaImage> {
        let (inbound_used, outbound_used) = (self.inbound.is_in(epoch), self.outbound.is_in(epoch));
        if !inbound_used && !outbound_used {
            // Handed over to us and not used since: handed on as it is.
            let (meant, image) = self.handover.as_ref()?;
            return (*meant == epoch).then(|| image.clone());
        }
        let handed = self.handover.as_ref().filter(|(meant, _)| *meant == epoch);
        let sent = self.outbound.snapshot();
        let received = self.inbound.snapshot();
        Some(SaImage {
            spi_in,
            next_sequence: if outbound_used {
                Some(sent.next)
            } else {
                handed.and_then(|(_, image)| image.next_sequence)
            },
            block: sent.block,
            sent: usage_image(&sent.usage),
            window: if self.inbound.is_awaiting_rekey() {
                None
            } else if inbound_used {
                let window = received.window;
                Some(WindowImage { edge: window.edge, size: window.size, received: window.seen })
            } else {
                handed.and_then(|(_, image)| image.window.clone())
            },
            received: usage_image(&received.usage),
        })
    }

    /// The longest ESP payload that the path to the peer carries in one packet.
    pub(crate) fn room(&mut self, now: Timestamp, sa: &ChildSa, mtus: &PathMtus) -> usize {
        if let Some((kept, room)) = &self.room
            && mtus.holds(now, kept)
        {
            return *room;
        }
        let remote = sa.endpoints.remote.ip();
        let kept = mtus.get(now, remote);
        let header = if remote.is_ipv4() { 20 } else { 40 };
        let encapsulation = if sa.endpoints.encapsulated { UDP_HEADER } else { 0 };
        let outer = usize::from(kept.mtu).saturating_sub(header + encapsulation);
        let mut room = self.outbound.longest_payload(outer);
        if sa.mode == Mode::Transport {
            room += header;
        }
        self.room = Some((kept, room));
        room
    }

    /// Forgets what follows from the endpoints.
    pub(crate) fn moved(&mut self) {
        self.room = None;
        self.mapping_told = None;
    }
}

fn usage(image: &UsageImage) -> Usage {
    Usage { packets: image.packets, bytes: image.bytes, last: image.last }
}

fn usage_image(usage: &Usage) -> UsageImage {
    UsageImage { packets: usage.packets, bytes: usage.bytes, last: usage.last }
}

/// All SAs.
#[derive(Debug)]
pub(crate) struct Sad {
    index: HashMap<(u16, u32), u32, SeededState>,
    slots: Vec<Option<Sa>>,
    free: Vec<u32>,
    capacity: usize,
}

/// Why an SA is not installed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InstallError {
    /// There are as many as there may be.
    #[error("no room for another SA")]
    Full,
    /// The keys do not fit the algorithms.
    #[error(transparent)]
    Key(#[from] KeyError),
}

impl Sad {
    pub(crate) fn new(capacity: usize, seed: u64) -> Sad {
        Sad {
            index: HashMap::with_hasher(SeededState::new(seed)),
            slots: Vec::new(),
            free: Vec::new(),
            capacity: capacity.min(u32::MAX as usize - 1),
        }
    }

    pub(crate) fn find(&self, vip: usize, spi: EspSpi) -> Option<u32> {
        self.index.get(&key(vip, spi)).copied()
    }

    pub(crate) fn get(&self, slot: u32) -> Option<&Sa> {
        self.slots.get(slot as usize)?.as_ref()
    }

    pub(crate) fn get_mut(&mut self, slot: u32) -> Option<&mut Sa> {
        self.slots.get_mut(slot as usize)?.as_mut()
    }

    /// The live halves, when this worker has them.
    pub(crate) fn live_mut(&mut self, vip: usize, spi: EspSpi) -> Option<&mut Live> {
        let slot = self.find(vip, spi)?;
        self.get_mut(slot)?.live.as_deref_mut()
    }

    /// Adds an SA under an SPI that is not there yet. `here`: whether this worker is its home.
    pub(crate) fn install(
        &mut self,
        vip: usize,
        home: u16,
        here: bool,
        mut constant: Box<ChildSa>,
        state: InstallState,
    ) -> Result<u32, InstallError> {
        if self.index.len() >= self.capacity {
            return Err(InstallError::Full);
        }
        let live = if here { Some(Box::new(Live::new(&constant, state)?)) } else { None };
        for keys in [&mut constant.inbound, &mut constant.outbound] {
            keys.encryption = SecretBytes::default();
            keys.integrity = SecretBytes::default();
        }
        let key = key(vip, constant.inbound.spi);
        let sa = Sa { vip, constant, home, live, active: false, lingers: false };
        let slot = if let Some(slot) = self.free.pop() {
            self.slots[slot as usize] = Some(sa);
            slot
        } else {
            self.slots.push(Some(sa));
            u32::try_from(self.slots.len() - 1).expect("capacity is below 2^32")
        };
        self.index.insert(key, slot);
        Ok(slot)
    }

    pub(crate) fn remove(&mut self, slot: u32) -> Option<Sa> {
        let sa = self.slots.get_mut(slot as usize)?.take()?;
        self.index.remove(&key(sa.vip, sa.spi()));
        self.free.push(slot);
        Some(sa)
    }

    /// All SAs with their slots, in no meaningful but always the same order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &Sa)> + '_ {
        (0..).zip(&self.slots).filter_map(|(slot, sa)| Some((slot, sa.as_ref()?)))
    }

    /// Number of slots, used or not.
    pub(crate) fn slots(&self) -> u32 {
        u32::try_from(self.slots.len()).expect("capacity is below 2^32")
    }
}

fn key(vip: usize, spi: EspSpi) -> (u16, u32) {
    (u16::try_from(vip).unwrap_or(u16::MAX), spi.0)
}
