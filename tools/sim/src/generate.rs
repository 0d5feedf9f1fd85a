//! Plans from seeds: sizes, settings, qualities of the wires and a schedule of faults.

use crate::host::HostId;
use crate::network::{Quality, Wire};
use crate::plan::{Plan, Settings, Step, Traffic};
use crate::random::Generator;
use crate::store::Pace;
use core::time::Duration;
use vipsec_cluster::TakeBack;
use vipsec_ike::{ChildLifetime, IkeLifetime};
use vipsec_path::Replay;

/// Before this nothing is done: the peers connect.
const PEACE: Duration = Duration::from_secs(2);
/// The last part of each run. Dead peers are found and have come back before its end.
const CALM: Duration = Duration::from_secs(20);

/// The plan of a seed. `length`: how long it lasts, or as the seed has it.
#[must_use]
pub fn plan(seed: u64, length: Option<Duration>) -> Plan {
    let mut random = Generator::new(seed ^ 0x7672_7073_6563);
    let drawn = random.span(Duration::from_secs(20), Duration::from_secs(45));
    let length = length.unwrap_or(drawn) + CALM;
    let mut plan = Plan {
        seed,
        candidates: u8::try_from(random.between(1, 3)).unwrap_or(2),
        targets: u8::try_from(random.below(3)).unwrap_or(0),
        peers: u8::try_from(random.between(1, 3)).unwrap_or(1),
        workers: u16::try_from(random.between(1, 2)).unwrap_or(1),
        length,
        calm: CALM,
        settings: settings(&mut random),
        traffic: traffic(&mut random),
        outside: quality(&mut random, Duration::from_millis(20)),
        fabric: quality(&mut random, Duration::from_millis(2)),
        store: pace(&mut random),
        skew: Duration::from_millis(random.between(0, 200)),
        steps: Vec::new(),
        sabotage: None,
    };
    schedule(&mut plan, &mut random);
    // Drawn apart, so that everything else of a seed stays as it was before there were these.
    let mut later = Generator::new(seed ^ 0x6c61_7465_7221);
    plan.settings.additional = later.chance(250);
    plan.settings.mobike = later.chance(400);
    plan.settings.synchronise = later.chance(300);
    plan
}

fn settings(random: &mut Generator) -> Settings {
    let usual = Settings::usual();
    let short = random.chance(500);
    let rekey_s = if short { random.between(3, 12) } else { 3600 };
    let packets = random.chance(150).then(|| random.between(2_000, 10_000));
    let ike_s = u32::try_from(random.between(4, 15)).unwrap_or(4);
    Settings {
        child: ChildLifetime {
            rekey_s: Some(rekey_s),
            rekey_packets: packets,
            ..ChildLifetime::default()
        },
        ike: if random.chance(400) {
            IkeLifetime { rekey_s: ike_s, jitter_s: 2, over_s: 60 }
        } else {
            usual.ike
        },
        dpd_s: u32::try_from(random.between(1, 5)).unwrap_or(2),
        cbc: random.chance(200),
        additional: false,
        mobike: false,
        synchronise: false,
        encapsulate: random.chance(400),
        window: 1024,
        replay: if random.chance(150) { Replay::Strict } else { Replay::Bounded },
        takeback: if random.chance(300) { TakeBack::Auto } else { TakeBack::Manual },
        unprotected: random.chance(800),
    }
}

fn traffic(random: &mut Generator) -> Traffic {
    Traffic {
        interval: random.span(Duration::from_millis(8), Duration::from_millis(60)),
        udp: u16::try_from(random.between(1, 3)).unwrap_or(1),
        tcp: u16::try_from(random.below(3)).unwrap_or(1),
        protected: random.chance(600),
        inner: random.chance(600),
    }
}

fn quality(random: &mut Generator, slowest: Duration) -> Quality {
    let lossy = random.chance(300);
    Quality {
        latency: random.span(Duration::from_micros(50), slowest),
        jitter: random.span(Duration::ZERO, slowest / 4),
        loss: if lossy { u32::try_from(random.below(40)).unwrap_or(0) } else { 0 },
        duplication: if random.chance(400) { 20 } else { 0 },
    }
}

fn pace(random: &mut Generator) -> Pace {
    Pace {
        latency: random.span(Duration::from_micros(200), Duration::from_millis(5)),
        jitter: random.span(Duration::ZERO, Duration::from_millis(10)),
        watch: random.span(Duration::from_millis(1), Duration::from_millis(20)),
    }
}

/// One thing after another until calm comes; what was broken is mended some time later.
fn schedule(plan: &mut Plan, random: &mut Generator) {
    let end = plan.length.saturating_sub(plan.calm);
    let mut at = PEACE;
    loop {
        at += random.span(Duration::from_millis(20), Duration::from_millis(3500));
        if at >= end {
            break;
        }
        let lasting = random.span(Duration::from_millis(20), Duration::from_millis(4000));
        for (after, step) in disturbance(plan, random, lasting) {
            plan.steps.push((at + after, step));
        }
        // Some come in quick succession.
        if random.chance(250) {
            at = at.saturating_sub(Duration::from_millis(random.below(2500)).min(at - PEACE));
        }
    }
    if random.chance(60) {
        roll_back(plan, random, end);
    }
}

/// The store is put back to what it was before a change of owner; somebody accepts that, when the
/// nodes have had time to refuse.
fn roll_back(plan: &mut Plan, random: &mut Generator, end: Duration) {
    let snapshot = random.span(PEACE, end * 2 / 3);
    let fuse = u32::try_from(random.below(12)).unwrap_or(0);
    let after = |ms: u64| snapshot + Duration::from_millis(ms);
    let back = after(random.between(1000, 4000));
    plan.steps.push((snapshot, Step::Snapshot));
    plan.steps.push((after(200), Step::KillOwner(fuse)));
    plan.steps.push((after(600), Step::StartAll));
    plan.steps.push((back, Step::RollBack));
    let accepted =
        [back + Duration::from_secs(3), end + Duration::from_secs(2), end + Duration::from_secs(5)];
    plan.steps.extend(accepted.map(|at| (at, Step::AcceptRollback)));
}

fn disturbance(plan: &Plan, random: &mut Generator, lasting: Duration) -> Vec<(Duration, Step)> {
    let now = Duration::ZERO;
    let nodes = plan.nodes();
    let node = random.pick(&nodes).copied().unwrap_or(HostId::candidate(0));
    let candidate =
        HostId::candidate(u8::try_from(random.below(plan.candidates.into())).unwrap_or(0));
    let fuse = u32::try_from(random.below(12)).unwrap_or(0);
    match random.below(20) {
        0..=2 => vec![(now, Step::KillOwner(fuse)), (lasting, Step::StartAll)],
        3 | 4 => vec![(now, Step::Kill(node, fuse)), (lasting, Step::Start(node))],
        5 => vec![(now, Step::Cut(node)), (lasting, Step::Start(node))],
        6 => kill_all(plan, random, lasting),
        7..=10 => vec![(now, Step::TransferOn)],
        11 => vec![(now, Step::PauseOwner), (lasting.min(Duration::from_secs(2)), Step::WakeAll)],
        12 => partition(plan, random, lasting),
        13 | 14 => store_trouble(random, candidate, lasting),
        15 => bad_wire(plan, random, lasting),
        16 => vec![(now, Step::OwnerRekeys)],
        _ => peer_act(plan, random),
    }
}

fn kill_all(plan: &Plan, random: &mut Generator, lasting: Duration) -> Vec<(Duration, Step)> {
    let mut steps = Vec::new();
    for node in plan.nodes() {
        let fuse = u32::try_from(random.below(6)).unwrap_or(0);
        steps.push((Duration::from_millis(random.below(30)), Step::Kill(node, fuse)));
    }
    steps.push((lasting + Duration::from_millis(40), Step::StartAll));
    steps
}

fn partition(plan: &Plan, random: &mut Generator, lasting: Duration) -> Vec<(Duration, Step)> {
    let nodes = plan.nodes();
    let pair = (random.pick(&nodes).copied(), random.pick(&nodes).copied());
    let (Some(one), Some(other)) = pair else { return Vec::new() };
    let mut steps = vec![(Duration::ZERO, Step::Block(one, other))];
    if random.chance(600) {
        steps.push((Duration::ZERO, Step::Block(other, one)));
    }
    steps.push((lasting, Step::Heal));
    steps
}

fn store_trouble(
    random: &mut Generator,
    candidate: HostId,
    lasting: Duration,
) -> Vec<(Duration, Step)> {
    let now = Duration::ZERO;
    match random.below(4) {
        0 => vec![(now, Step::StoreDown(true)), (lasting, Step::StoreDown(false))],
        1 => vec![(now, Step::StoreStall(true)), (lasting, Step::StoreStall(false))],
        2 => vec![(now, Step::StoreFlaky(200)), (lasting, Step::StoreFlaky(0))],
        _ => {
            let cut = |cut| Step::StoreCut(candidate, cut);
            vec![(now, cut(true)), (lasting, cut(false))]
        }
    }
}

fn bad_wire(plan: &Plan, random: &mut Generator, lasting: Duration) -> Vec<(Duration, Step)> {
    let (wire, usual) = match random.chance(500) {
        true => (Wire::Outside, plan.outside),
        false => (Wire::Fabric, plan.fabric),
    };
    let bad = Quality {
        loss: u32::try_from(random.between(20, 300)).unwrap_or(20),
        jitter: usual.jitter + random.span(Duration::ZERO, Duration::from_millis(30)),
        duplication: 50,
        ..usual
    };
    vec![(Duration::ZERO, Step::Quality(wire, bad)), (lasting, Step::Quality(wire, usual))]
}

fn peer_act(plan: &Plan, random: &mut Generator) -> Vec<(Duration, Step)> {
    let peers = plan.peer_hosts();
    let Some(peer) = random.pick(&peers).copied() else { return Vec::new() };
    let step = match random.below(5) {
        0 | 1 => Step::RekeyChildren(peer),
        2 | 3 => Step::RekeyIke(peer),
        _ => Step::Reconnect(peer),
    };
    vec![(Duration::ZERO, step)]
}
