//! The results of the demo as one value: what each flow felt in each event, what the wire showed,
//! and whether the promises held.

use serde::Serialize;
use vipsec_lab::capture::oracle::{Findings, Verdict};
use vipsec_lab::flow::{FlowRecord, Window};
use vipsec_lab::strongswan::ExchangeCounts;
use vipsec_lab::workload::Records;

use super::stage::{Event, Played};

/// Exchanges that a client sees only when an SA is made anew.
const RENEGOTIATIONS: [&str; 3] = ["IKE_SA_INIT", "IKE_AUTH", "CREATE_CHILD_SA"];
/// A flow that is silent for so long at the end has not come back, microseconds.
const SILENCE_US: u64 = 2_000_000;

/// The UDP flow sends at least so many datagrams a second, or what was not lost proves little.
const DATAGRAMS_PER_SECOND: u64 = 2_000;

/// Everything that `--json` writes.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    /// Whether all checks held.
    pub(super) passed: bool,
    /// The promises.
    pub(super) checks: Vec<Check>,
    /// IKE exchanges of the client before the first event.
    pub(super) set_up_exchanges: ExchangeCounts,
    /// The five events.
    pub(super) events: Vec<EventReport>,
    /// What the captures on both bridges showed.
    pub(super) wire: Wire,
}

/// A promise and what became of it.
#[derive(Debug, Serialize)]
pub(super) struct Check {
    /// What is counted.
    pub(super) what: String,
    /// How many; must be none.
    pub(super) count: u64,
    /// Examples.
    pub(super) details: Vec<String>,
}

/// One event.
#[derive(Debug, Serialize)]
pub(super) struct EventReport {
    /// What was done.
    pub(super) name: String,
    /// Owner and epoch before it.
    pub(super) owner_before: Option<(String, u64)>,
    /// Owner and epoch after it.
    pub(super) owner_after: Option<(String, u64)>,
    /// Until the cluster named that owner, milliseconds; polled, so an upper bound.
    pub(super) settled_ms: u64,
    /// IKE exchanges that the client saw.
    pub(super) exchanges: ExchangeCounts,
    /// Packets in clear on the wire.
    pub(super) in_clear: usize,
    /// Each flow.
    pub(super) flows: Vec<FlowReport>,
}

/// What one flow felt in one event.
#[derive(Debug, Serialize)]
pub(super) struct FlowReport {
    /// Its name.
    pub(super) flow: String,
    /// The longest time without an arrival, milliseconds.
    pub(super) longest_gap_ms: f64,
    /// The application behind it was on a node whose process ended: it may pause until that is
    /// back.
    pub(super) may_pause: bool,
    /// Datagrams: sent, lost on the way out, lost on the way back, duplicated. `None` for TCP.
    pub(super) datagrams: Option<Datagrams>,
    /// Connections broken.
    pub(super) broken: usize,
    /// Who answered before the event.
    pub(super) target_before: Option<String>,
    /// Who answered last in its window.
    pub(super) target_after: Option<String>,
}

/// Counts of a datagram flow.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Datagrams {
    pub(super) sent: usize,
    pub(super) lost_out: usize,
    pub(super) lost_back: usize,
    pub(super) duplicated: usize,
}

/// What the oracle saw.
#[derive(Debug, Serialize)]
pub(super) struct Wire {
    pub(super) frames: u64,
    pub(super) esp: u64,
    pub(super) reordered: u64,
}

impl Report {
    pub(super) fn new(played: &Played, verdict: &Verdict) -> Self {
        let events: Vec<EventReport> = played
            .events
            .iter()
            .map(|event| event_report(event, &played.records, verdict))
            .collect();
        let checks = checks(played, &events, verdict);
        Self {
            passed: checks.iter().all(|check| check.count == 0),
            checks,
            set_up_exchanges: played.set_up.clone(),
            events,
            wire: Wire { frames: verdict.frames, esp: verdict.esp, reordered: verdict.reordered },
        }
    }
}

fn event_report(event: &Event, records: &Records, verdict: &Verdict) -> EventReport {
    let length_us = event.window.to_us - event.window.from_us;
    let wall = Window { from_us: event.wall_us, to_us: event.wall_us + length_us };
    EventReport {
        name: event.name.clone(),
        owner_before: event.before.clone(),
        owner_after: event.after.clone(),
        settled_ms: event.settled_ms,
        exchanges: event.exchanges.clone(),
        in_clear: verdict.clear.at_us.iter().filter(|at| wall.contains(**at)).count(),
        flows: records.flows.iter().map(|flow| flow_report(event, flow, records)).collect(),
    }
}

fn flow_report(event: &Event, flow: &FlowRecord, records: &Records) -> FlowReport {
    let window = event.window;
    let before = flow.answered_by(window.from_us).map(str::to_owned);
    let gap_us = u32::try_from(flow.longest_gap_us(window)).unwrap_or(u32::MAX);
    FlowReport {
        flow: flow.name.clone(),
        longest_gap_ms: f64::from(gap_us) / 1_000.0,
        may_pause: before.as_ref().is_some_and(|node| event.ended.contains(node)),
        datagrams: datagrams(flow, window, records),
        broken: flow.broken(window),
        target_before: before,
        target_after: flow.answered_by(window.to_us).map(str::to_owned),
    }
}

fn datagrams(flow: &FlowRecord, window: Window, records: &Records) -> Option<Datagrams> {
    if flow.packets.is_empty() {
        return None;
    }
    let (lost, is_udp) = (flow.lost(window), flow.name == "udp");
    // Only our own UDP server writes down what it receives; of a ping the way is not known.
    let lost_out = if is_udp { records.lost_on_the_way_out(window) } else { 0 };
    let duplicated_out = if is_udp { records.duplicated_on_the_way_out(window) } else { 0 };
    Some(Datagrams {
        sent: flow.sent(window),
        lost_out,
        lost_back: lost.saturating_sub(lost_out),
        duplicated: flow.duplicated(window) + duplicated_out,
    })
}

fn checks(played: &Played, events: &[EventReport], verdict: &Verdict) -> Vec<Check> {
    let records = &played.records;
    let breaks: Vec<String> = records
        .flows
        .iter()
        .flat_map(|flow| flow.breaks.iter().map(|b| format!("{}: {}", flow.name, b.reason)))
        .collect();
    let stalled: Vec<String> =
        records.stalled(SILENCE_US).iter().map(|n| (*n).to_owned()).collect();
    let moved: Vec<String> = events.iter().flat_map(moved_connections).collect();
    let mut checks = vec![
        listed("connections broken", breaks),
        listed("flows that did not come back", stalled),
        listed("TCP connections that changed their target", moved),
    ];
    for kind in RENEGOTIATIONS {
        let seen = events.iter().filter_map(|event| {
            let count = event.exchanges.get(kind)?;
            Some(format!("{}: {count}", event.name))
        });
        checks.push(listed(&format!("{kind} after the first"), seen.collect()));
    }
    checks.push(lost_in_planned(&played.events, events));
    checks.push(slow(&played.events, events));
    checks.push(found("packets in clear", &verdict.clear));
    checks.push(found("(key, IV) pairs or sequence numbers used twice", &verdict.repeated));
    checks.push(found("sequence numbers gone back across owners", &verdict.backwards));
    let corrupt = Check {
        what: "contents other than sent".into(),
        count: records.corrupt(),
        details: Vec::new(),
    };
    checks.push(corrupt);
    checks
}

fn lost_in_planned(planned: &[Event], events: &[EventReport]) -> Check {
    let mut check =
        Check { what: "packets lost in the transfer".into(), count: 0, details: vec![] };
    let transfers = planned.iter().zip(events).filter(|(event, _)| event.is_planned);
    for (_, event) in transfers {
        for flow in &event.flows {
            let Some(counts) = flow.datagrams else { continue };
            let lost = counts.lost_out + counts.lost_back;
            check.count += lost as u64;
            if lost > 0 {
                check.details.push(format!("{}, {}: {lost}", event.name, flow.flow));
            }
        }
    }
    check
}

/// Events during which the UDP flow was slower than it has to be.
fn slow(played: &[Event], events: &[EventReport]) -> Check {
    let rates = played.iter().zip(events).filter_map(|(event, report)| {
        let flow = report.flows.iter().find(|flow| flow.flow == "udp")?;
        let length_us = event.window.to_us.saturating_sub(event.window.from_us).max(1);
        let rate = flow.datagrams?.sent as u64 * 1_000_000 / length_us;
        (rate < DATAGRAMS_PER_SECOND).then(|| format!("{}: {rate} a second", report.name))
    });
    let what = format!("events with fewer than {DATAGRAMS_PER_SECOND} UDP datagrams sent a second");
    listed(&what, rates.collect())
}

/// TCP connections whose answers came from another node at the end of the event than before.
fn moved_connections(event: &EventReport) -> Vec<String> {
    let moved = event.flows.iter().filter(|flow| {
        flow.datagrams.is_none()
            && flow.target_before.is_some()
            && flow.target_before != flow.target_after
    });
    moved.map(|flow| format!("{}, {}", event.name, flow.flow)).collect()
}

fn listed(what: &str, details: Vec<String>) -> Check {
    Check { what: what.to_owned(), count: details.len() as u64, details }
}

fn found(what: &str, findings: &Findings) -> Check {
    Check { what: what.to_owned(), count: findings.count, details: findings.first.clone() }
}
