//! Faults by dice: whatever happens, at most one owner an epoch, nobody owns who knows better, no
//! number is sent twice around a transfer (all three checked by the world at every step), and when
//! the faults end there is one owner, known to all.

use super::world::{World, ms, name, vip};
use crate::store::StoreError;
use crate::store::memory::Fault;
use crate::{LinkChange, TakeBack};
use vipsec_wire::id::NodeName;

const MEMBERS: &[(&str, u8)] = &[("a", 100), ("b", 50), ("c", 50), ("t", 0)];
const STEPS: u64 = 60;
const SEEDS: u64 = 24;

fn some_node(world: &mut World) -> NodeName {
    let names = world.names();
    let pick = world.roll(names.len() as u64);
    names[usize::try_from(pick).expect("small")].clone()
}

fn fault(world: &mut World) {
    let (node, other) = (some_node(world), some_node(world));
    match world.roll(14) {
        0 | 1 => world.kill(&node),
        2 => world.vanish(&node),
        3..=5 if !world.processes.contains_key(&node) => world.start(&node),
        3 => world.reset_links(&node, LinkChange::Closed),
        4 if node != other => world.part(&node, &other),
        5 if node != other => drop(world.cut.insert((node, other))),
        6 | 7 => world.heal(),
        8 => world.lose_store(&node),
        9 if world.processes.contains_key(&node) && node != name("t") => world.find_store(&node),
        10 => {
            world.act(&node, |cluster, now| {
                let _ = cluster.handle_transfer_request(now, vip(), &other);
            });
        }
        11 => world.store.push_fault(Fault::AnswerLost),
        12 => world.store.push_fault(Fault::Fails(StoreError::Full)),
        _ => world.loss_permille = world.roll(4) * 100,
    }
}

fn recover(world: &mut World) {
    world.loss_permille = 0;
    world.heal();
    world.no_store.clear();
    for node in world.names() {
        if !world.processes.contains_key(&node) {
            world.start(&node);
        } else if node != name("t") {
            world.find_store(&node);
        }
    }
    // Damping may hold a claim back for its longest pause, and a take-back for longer.
    for _ in 0..20 {
        world.run(ms(2000));
        if world.owners_now() == 1 && agreed(world) {
            return;
        }
    }
}

fn agreed(world: &World) -> bool {
    let (owner, epoch) = (world.owner(), world.epoch());
    world.processes.values().all(|process| {
        let view = process.cluster.vips().remove(0);
        view.owner == owner && view.epoch.0 == epoch && view.refusal.is_none()
    })
}

fn play(seed: u64) {
    let mut world = World::new(MEMBERS);
    world.seed(seed);
    if seed.is_multiple_of(3) {
        world.takeback = TakeBack::Auto;
    }
    world.start_all();
    for _ in 0..STEPS {
        fault(&mut world);
        let pause = ms(1 + world.roll(120) * world.roll(8));
        world.run(pause);
    }
    recover(&mut world);
    assert_eq!(world.owners_now(), 1, "seed {seed}: {:?}", world.owners);
    assert!(
        agreed(&world),
        "seed {seed}: {:?}",
        world.processes.values().map(|p| p.cluster.vips()).collect::<Vec<_>>()
    );
}

#[test]
fn faults_by_dice_never_make_two_owners_of_an_epoch() {
    for seed in 0..SEEDS {
        play(seed);
    }
}
