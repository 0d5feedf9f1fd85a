//! An SA that moves: no (key, IV) pair twice, no sequence number that its peer would refuse, no
//! packet accepted twice, over arbitrary interleavings of owners.

#![allow(clippy::unwrap_used)]

#[allow(dead_code, reason = "each program uses its part")]
mod fixture;

use core::time::Duration;
use fixture::{BORN, CBC, GCM, NOW, Seeded, child_sa, ivs};
use proptest::prelude::*;
use std::collections::BTreeSet;
use vipsec_esp::{
    BLOCK, ChildSa, EnterError, EspError, Expiry, Inbound, LAST_TERM, Outbound, Replay, SealError,
};
use vipsec_wire::id::Epoch;
use vipsec_wire::time::Timestamp;

/// Nodes, the store's record of the SA, what heartbeats have told, and a strict peer.
struct World {
    sa: ChildSa,
    nodes: Vec<Outbound>,
    owner: usize,
    epoch: Epoch,
    block: u32,
    high_water: u64,
    now: Timestamp,
    ivs: vipsec_esp::IvGenerator,
    used_ivs: BTreeSet<Vec<u8>>,
    peer: Inbound,
    exhausted: bool,
}

/// The worst luck: the counter of every term starts at the same point, so the terms alone keep IVs
/// apart.
fn same_start() -> Seeded {
    Seeded(5)
}

impl World {
    fn new(sa: ChildSa) -> World {
        let mut peer = Inbound::new(&sa).unwrap();
        peer.enter(BORN, Replay::Bounded).unwrap();
        let nodes = (0..3).map(|_| Outbound::new(&sa).unwrap()).collect();
        let mut world = World {
            sa,
            nodes,
            owner: 0,
            epoch: BORN,
            block: 0,
            high_water: 0,
            now: NOW,
            ivs: ivs(),
            used_ivs: BTreeSet::new(),
            peer,
            exhausted: false,
        };
        world.nodes[0].enter(BORN, 0, 0, &mut same_start()).unwrap();
        world
    }

    /// Seals one packet on `node` and checks its IV; what the owner sends, the peer must take.
    fn send(&mut self, node: usize) {
        let mut packet = [0; 64];
        let outbound = &mut self.nodes[node];
        let length = match outbound.seal(self.now, 4, &mut packet, 8, &mut self.ivs) {
            Ok(length) => length,
            Err(SealError::NotEntered) => return,
            Err(SealError::Exhausted) => {
                self.exhausted |= node == self.owner;
                return;
            }
            Err(error) => panic!("{error}"),
        };
        let iv = packet[8..outbound.payload_offset()].to_vec();
        assert!(self.used_ivs.insert(iv), "the IV was used before");
        if node == self.owner {
            let edge = self.peer.edge();
            let opened = self.peer.open(self.now, &mut packet[..length]).unwrap();
            assert!(opened.sequence > edge, "the sequence number went back");
        }
    }

    fn gossip(&mut self) {
        let told = self.nodes[self.owner].high_water().unwrap_or(0);
        self.high_water = self.high_water.max(told);
    }

    fn take_over(&mut self, node: usize, epochs: u64) {
        self.gossip();
        self.epoch = Epoch(self.epoch.0 + epochs);
        self.owner = node;
        let (block, high_water) = (self.block, self.high_water);
        let entered = self.nodes[node].enter(self.epoch, block, high_water, &mut same_start());
        self.exhausted |= entered == Err(EnterError::Exhausted);
    }

    fn transfer(&mut self, node: usize) {
        if node == self.owner {
            return;
        }
        let snapshot = self.nodes[self.owner].snapshot();
        // The old owner is silent for good: it comes back only as a new value.
        self.nodes[self.owner] = Outbound::new(&self.sa).unwrap();
        self.epoch = Epoch(self.epoch.0 + 1);
        self.owner = node;
        let continued = self.nodes[node].continue_from(self.epoch, &snapshot, &mut same_start());
        self.exhausted |= continued == Err(EnterError::Exhausted);
    }

    fn raise(&mut self, confirmed: bool) {
        if let Some(block) = self.nodes[self.owner].block_low(self.now) {
            self.block = block;
            if confirmed {
                self.nodes[self.owner].confirm_block(block);
            }
        }
    }

    fn apply(&mut self, step: &Step) {
        self.now = self.now + Duration::from_millis(1_500);
        match *step {
            Step::Send(node, count) => (0..count).for_each(|_| self.send(node)),
            // Stands for that many packets, of which the peer sees the last.
            Step::SendMany(packets) => {
                let next = self.nodes[self.owner].next_sequence();
                self.nodes[self.owner].learn_high_water(next + packets);
                self.send(self.owner);
            }
            Step::TakeOver(node, epochs) => self.take_over(node, epochs),
            Step::Transfer(node) => self.transfer(node),
            Step::Raise { confirmed } => self.raise(confirmed),
            Step::Restart(node) if node != self.owner => {
                self.nodes[node] = Outbound::new(&self.sa).unwrap();
            }
            Step::Restart(node) => {
                self.gossip();
                self.nodes[node] = Outbound::new(&self.sa).unwrap();
                self.take_over(node, 1);
            }
        }
    }
}

#[derive(Debug, Clone)]
enum Step {
    Send(usize, u8),
    SendMany(u64),
    TakeOver(usize, u64),
    Transfer(usize),
    Raise { confirmed: bool },
    Restart(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => (0usize..3, 1u8..8).prop_map(|(node, count)| Step::Send(node, count)),
        2 => (1..4 * BLOCK).prop_map(Step::SendMany),
        2 => (0usize..3, 1u64..4).prop_map(|(node, epochs)| Step::TakeOver(node, epochs)),
        2 => (0usize..3).prop_map(Step::Transfer),
        3 => any::<bool>().prop_map(|confirmed| Step::Raise { confirmed }),
        1 => (0usize..3).prop_map(Step::Restart),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// Deposed owners go on sending all the while: they do not know.
    #[test]
    fn no_iv_twice_and_no_number_back(
        esn in any::<bool>(),
        aead in prop::bool::weighted(0.8),
        steps in prop::collection::vec(step(), 1..120),
    ) {
        let mut world = World::new(child_sa(if aead { GCM } else { CBC }, esn));
        for step in &steps {
            world.apply(step);
            if world.exhausted {
                prop_assert_eq!(world.nodes[world.owner].expiry(NOW), Some(Expiry::Hard));
                break;
            }
        }
    }
}

#[test]
fn an_idle_sa_with_esn_is_still_understood_after_its_last_takeover() {
    let mut world = World::new(child_sa(GCM, true));
    world.take_over(1, u64::from(LAST_TERM));
    assert_eq!(world.nodes[1].takeovers_left(), 0);
    assert_eq!(world.nodes[1].expiry(NOW), Some(Expiry::Soft));
    world.send(1);
    assert_eq!(world.peer.usage().packets, 1);
    world.take_over(2, 1);
    assert_eq!(world.nodes[2].expiry(NOW), Some(Expiry::Hard));
    let refused = world.nodes[2].seal(NOW, 4, &mut [0; 64], 8, &mut ivs());
    assert_eq!(refused, Err(SealError::Exhausted));
}

#[test]
fn a_rekey_is_due_while_there_is_room_for_the_reserve() {
    for (esn, last) in [(false, 1023), (true, u64::from(LAST_TERM))] {
        let mut sa = child_sa(GCM, esn);
        sa.lifetime.takeover_reserve = 35;
        let mut outbound = Outbound::new(&sa).unwrap();
        let mut enter = |term| {
            outbound.enter(Epoch(BORN.0 + term), 0, 0, &mut Seeded(1)).unwrap();
            outbound.expiry(NOW)
        };
        assert_eq!(enter(last - 35), None);
        assert_eq!(enter(last - 34), Some(Expiry::Soft));
        assert_eq!(enter(last), Some(Expiry::Soft), "each owner is told again");
    }
}

#[test]
fn an_epoch_is_entered_once_and_never_left_backwards() {
    let sa = child_sa(GCM, true);
    let mut outbound = Outbound::new(&sa).unwrap();
    let before_birth = outbound.enter(Epoch(BORN.0 - 1), 0, 0, &mut Seeded(1));
    assert_eq!(before_birth, Err(EnterError::Stale));
    outbound.enter(Epoch(BORN.0 + 5), 0, 0, &mut Seeded(1)).unwrap();
    let sequence = outbound.next_sequence();
    assert_eq!(outbound.enter(Epoch(BORN.0 + 5), 90, 0, &mut Seeded(2)), Ok(()));
    assert_eq!(outbound.next_sequence(), sequence, "entering again changes nothing");
    let snapshot = outbound.snapshot();
    for epoch in [BORN.0 + 4, BORN.0 + 5] {
        let continued = outbound.continue_from(Epoch(epoch), &snapshot, &mut Seeded(3));
        assert_eq!(continued, Err(EnterError::Stale));
    }
    assert_eq!(outbound.enter(Epoch(BORN.0 + 4), 0, 0, &mut Seeded(3)), Err(EnterError::Stale));

    let mut inbound = Inbound::new(&sa).unwrap();
    inbound.enter(Epoch(BORN.0 + 5), Replay::Bounded).unwrap();
    assert_eq!(inbound.enter(Epoch(BORN.0 + 4), Replay::Bounded), Err(EnterError::Stale));
    let snapshot = inbound.snapshot();
    assert_eq!(inbound.continue_from(Epoch(BORN.0 + 5), &snapshot), Err(EnterError::Stale));
}

/// The second line of defence: a store was rolled back, two owners have the same term.
#[test]
fn even_in_one_term_two_owners_start_apart() {
    let sa = child_sa(GCM, true);
    let mut used = BTreeSet::new();
    for seed in 0..8 {
        let mut outbound = Outbound::new(&sa).unwrap();
        outbound.enter(Epoch(BORN.0 + 1), 0, 0, &mut Seeded(seed)).unwrap();
        for _ in 0..1000 {
            let mut packet = [0; 64];
            outbound.seal(NOW, 4, &mut packet, 8, &mut ivs()).unwrap();
            assert!(used.insert(packet[8..16].to_vec()));
        }
    }
}

fn sender(sa: &ChildSa) -> impl FnMut() -> Vec<u8> + use<> {
    let mut outbound = Outbound::new(sa).unwrap();
    outbound.enter(BORN, 0, 0, &mut Seeded(4)).unwrap();
    move || {
        let mut packet = vec![0; outbound.sealed_length(8)];
        outbound.seal(NOW, 4, &mut packet, 8, &mut ivs()).unwrap();
        packet
    }
}

#[test]
fn after_a_takeover_only_what_is_above_the_known_edge_is_accepted() {
    let sa = child_sa(GCM, true);
    let mut send = sender(&sa);
    let packets: Vec<_> = (0..20).map(|_| send()).collect();
    let mut backup = Inbound::new(&sa).unwrap();
    backup.learn_edge(12);
    backup.learn_edge(9);
    backup.enter(Epoch(BORN.0 + 1), Replay::Bounded).unwrap();
    assert_eq!(backup.edge(), 12);
    for (packet, sequence) in packets.iter().zip(1u64..) {
        let opened = backup.open(NOW, &mut packet.clone());
        assert_eq!(opened.is_ok(), sequence > 12, "{sequence}");
    }
    backup.enter(Epoch(BORN.0 + 2), Replay::Bounded).unwrap();
    assert_eq!(backup.edge(), 20, "what it saw itself counts too");
    assert_eq!(backup.open(NOW, &mut packets[19].clone()), Err(EspError::Replayed));
}

#[test]
fn in_strict_mode_nothing_is_accepted_after_a_takeover() {
    let sa = child_sa(GCM, true);
    let mut send = sender(&sa);
    let mut inbound = Inbound::new(&sa).unwrap();
    inbound.enter(BORN, Replay::Strict).unwrap();
    assert!(inbound.open(NOW, &mut send()).is_ok(), "the first owner knows all");
    inbound.enter(Epoch(BORN.0 + 1), Replay::Strict).unwrap();
    assert!(inbound.is_awaiting_rekey());
    assert_eq!(inbound.open(NOW, &mut send()), Err(EspError::AwaitingRekey));
}

#[test]
fn a_transfer_hands_the_exact_window_over() {
    let sa = child_sa(GCM, true);
    let mut send = sender(&sa);
    let packets: Vec<_> = (0..50).map(|_| send()).collect();
    let mut old = Inbound::new(&sa).unwrap();
    old.enter(BORN, Replay::Bounded).unwrap();
    for packet in packets.iter().step_by(3) {
        old.open(NOW, &mut packet.clone()).unwrap();
    }
    let mut new = Inbound::new(&sa).unwrap();
    new.learn_edge(30);
    new.continue_from(Epoch(BORN.0 + 1), &old.snapshot()).unwrap();
    assert_eq!(new.snapshot(), old.snapshot());
    for (at, packet) in packets.iter().enumerate() {
        let opened = new.open(NOW, &mut packet.clone());
        assert_eq!(opened.is_ok(), at % 3 != 0, "packet {at}");
    }
}

#[test]
fn a_transfer_continues_numbers_and_counters() {
    let mut world = World::new(child_sa(GCM, true));
    world.send(0);
    world.send(0);
    world.transfer(1);
    assert_eq!(world.nodes[1].next_sequence(), 3);
    assert_eq!(world.nodes[1].usage().packets, 2);
    world.send(1);
    assert_eq!(world.peer.edge(), 3);
}

#[test]
fn a_backup_that_followed_needs_nothing_at_the_takeover() {
    let sa = child_sa(GCM, true);
    let mut backup = Outbound::new(&sa).unwrap();
    backup.confirm_block(3);
    backup.enter(Epoch(BORN.0 + 2), 0, 0, &mut Seeded(1)).unwrap();
    assert_eq!(backup.next_sequence(), 5 * BLOCK + 1);
    let mut told = Outbound::new(&sa).unwrap();
    told.learn_high_water(77 * BLOCK);
    told.enter(Epoch(BORN.0 + 2), 0, 0, &mut Seeded(1)).unwrap();
    assert_eq!(told.next_sequence(), 77 * BLOCK + 1);
}

#[test]
fn after_a_jump_of_the_peer_nothing_that_was_sent_before_is_accepted() {
    let sa = child_sa(GCM, true);
    let mut next = sender(&sa);
    let mut sent: Vec<Vec<u8>> = (0..20).map(|_| next()).collect();
    let mut inbound = Inbound::new(&sa).unwrap();
    inbound.learn_edge(5);
    inbound.enter(Epoch(BORN.0 + 1), Replay::Bounded).unwrap();
    assert!(inbound.open(NOW, &mut sent[10].clone()).is_ok(), "above the known edge");
    inbound.jump(1000);
    for packet in &mut sent {
        assert!(inbound.open(NOW, packet).is_err());
    }
    assert_eq!(inbound.edge(), 1005);
}

#[test]
fn our_own_numbers_jump_forward_and_never_past_the_end() {
    let sa = child_sa(GCM, true);
    let mut outbound = Outbound::new(&sa).unwrap();
    outbound.enter(BORN, 0, 0, &mut same_start()).unwrap();
    let before = outbound.next_sequence();
    outbound.jump(BLOCK);
    assert_eq!(outbound.next_sequence(), before + BLOCK);
    assert!(outbound.block_low(NOW).is_some(), "the store hears of it");
    assert_eq!(outbound.high_water(), Some(before + BLOCK - 1).filter(|used| *used > BLOCK));
    outbound.jump(u64::MAX);
    outbound.jump(u64::MAX);
    assert_eq!(outbound.next_sequence(), u64::MAX);
}
