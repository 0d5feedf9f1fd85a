//! Targets: told until they acknowledge, never candidates, and missed with patience.

use super::world::{World, ms, name, vip};
use crate::{Output, VipRole};
use vipsec_wire::cluster::ownership::{Body, Message};
use vipsec_wire::id::{Epoch, Vip};

const MEMBERS: &[(&str, u8)] = &[("a", 100), ("b", 50), ("t1", 0), ("t2", 0)];

fn told(world: &World, to: &str, epoch: u64) -> usize {
    let message = Message { vip: vip(), epoch: Epoch(epoch), body: Body::Owning };
    let sent = Output::Send { to: name(to), message };
    let all = world.processes.values().flat_map(|process| &process.outputs);
    all.filter(|output| **output == sent).count()
}

fn follows(world: &World, node: &str) -> Option<(u64, Option<String>)> {
    let outputs = world.processes[&name(node)].outputs.iter().rev();
    outputs.into_iter().find_map(|output| match output {
        Output::Follow { epoch, owner, .. } => {
            Some((epoch.0, owner.as_ref().map(ToString::to_string)))
        }
        _ => None,
    })
}

#[test]
fn targets_follow_every_owner_within_milliseconds_of_its_claim() {
    let mut world = World::running(MEMBERS);
    assert_eq!(follows(&world, "t1"), Some((1, Some("a".to_owned()))));
    assert_eq!(world.processes[&name("t1")].cluster.vips()[0].role, VipRole::Target);
    world.kill(&name("a"));
    world.run_until_owned_above(1, ms(100));
    world.run(ms(2));
    for node in ["t1", "t2"] {
        assert_eq!(follows(&world, node), Some((2, Some("b".to_owned()))));
    }
}

#[test]
fn a_target_is_told_until_it_acknowledges_and_then_no_more() {
    let mut world = World::running(MEMBERS);
    world.mute.insert(name("t1"));
    world.cut.insert((name("t1"), name("b")));
    world.kill(&name("a"));
    world.run(ms(1000));
    let times = told(&world, "t1", 2);
    assert!((8..=10).contains(&times), "{times} times in a second");
    assert_eq!(told(&world, "t2", 2), 1);
    world.mute.clear();
    world.cut.clear();
    world.run(ms(200));
    let times = told(&world, "t1", 2);
    world.run(ms(1000));
    assert_eq!(told(&world, "t1", 2), times);
}

#[test]
fn a_target_that_comes_later_is_told_when_it_is_linked() {
    let mut world = World::running(MEMBERS);
    world.kill(&name("t1"));
    world.run(ms(500));
    world.start(&name("t1"));
    world.run(ms(10));
    assert_eq!(follows(&world, "t1"), Some((1, Some("a".to_owned()))));
}

#[test]
fn a_targets_death_is_told_at_once_and_its_grace_lasts_30_seconds() {
    let mut world = World::running(MEMBERS);
    world.kill(&name("t1"));
    let died = world.now;
    world.run(ms(40));
    let outputs = &world.processes[&name("a")].outputs;
    let until = outputs.iter().find_map(|output| match output {
        Output::MemberLost { node, grace_until } if *node == name("t1") => Some(*grace_until),
        _ => None,
    });
    let grace = until.expect("it was told").since(died);
    assert!(grace > ms(29_990) && grace < ms(30_100), "{grace:?}");
    world.run(ms(29_900));
    let gone = Output::MemberGone { node: name("t1") };
    assert!(!world.processes[&name("a")].outputs.contains(&gone));
    world.run(ms(200));
    assert!(world.processes[&name("a")].outputs.contains(&gone));
}

#[test]
fn a_target_that_restarts_within_its_grace_is_back_as_another_process() {
    let mut world = World::running(MEMBERS);
    let before = world.processes[&name("a")].outputs.len();
    world.kill(&name("t1"));
    world.run(ms(7));
    world.start(&name("t1"));
    world.run(ms(40_000));
    let outputs = &world.processes[&name("a")].outputs[before..];
    let lost = outputs.iter().filter(|output| matches!(output, Output::MemberLost { .. })).count();
    let back: Vec<_> = outputs.iter().filter(|o| matches!(o, Output::MemberBack { .. })).collect();
    assert_eq!((lost, back.len()), (1, 1), "{back:?}");
    assert!(!outputs.contains(&Output::MemberGone { node: name("t1") }));
}

#[test]
fn an_owning_of_a_vip_that_is_not_configured_here_is_acknowledged() {
    let mut world = World::running(MEMBERS);
    let other = Vip("198.51.100.1".parse().expect("an address"));
    let message = Message { vip: other, epoch: Epoch(4), body: Body::Owning };
    world.act(&name("t1"), |cluster, now| cluster.handle_message(now, &name("a"), message));
    let answer = Message { vip: other, epoch: Epoch(4), body: Body::Following };
    let sent = Output::Send { to: name("a"), message: answer };
    assert_eq!(world.processes[&name("t1")].outputs.last(), Some(&sent));
}
