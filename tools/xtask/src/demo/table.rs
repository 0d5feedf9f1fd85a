//! The closing table of the demo, for people.

use super::report::{EventReport, FlowReport, Report};

/// Prints what happened in each event, and the verdict.
pub(super) fn print(report: &Report) {
    println!("\nWhat each flow felt (longest gap in ms; datagrams lost out+back, duplicated)");
    for event in &report.events {
        print_event(event);
    }
    let wire = &report.wire;
    println!(
        "\nOn the wire: {} frames, {} ESP packets, {} overtook one another",
        wire.frames, wire.esp, wire.reordered
    );
    println!("IKE exchanges of the client before the first event: {}", listed(report));
    println!();
    for check in &report.checks {
        let mark = if check.count == 0 { "ok    " } else { "FAILED" };
        println!("{mark} {}: {}", check.what, check.count);
        for detail in &check.details {
            println!("         {detail}");
        }
    }
    println!("\n{}", if report.passed { "The demo passed." } else { "The demo FAILED." });
}

fn print_event(event: &EventReport) {
    let owner = |known: &Option<(String, u64)>| {
        known.as_ref().map_or("-".into(), |(node, epoch)| format!("{node} (epoch {epoch})"))
    };
    println!(
        "\n{}: owner {} → {}, seen after {} ms",
        event.name,
        owner(&event.owner_before),
        owner(&event.owner_after),
        event.settled_ms
    );
    let exchanges: Vec<String> =
        event.exchanges.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
    let exchanges = if exchanges.is_empty() { "none".into() } else { exchanges.join(", ") };
    println!("  IKE exchanges of the client: {exchanges}; packets in clear: {}", event.in_clear);
    println!("  {:<12} {:>9} {:>12} {:>6} {:>7}  target", "flow", "gap", "lost", "dup", "broken");
    let (pausing, others): (Vec<_>, Vec<_>) = event.flows.iter().partition(|flow| flow.may_pause);
    for flow in others {
        print_flow(flow);
    }
    if !pausing.is_empty() {
        println!("  application on a node whose vipsec was down:");
    }
    for flow in pausing {
        print_flow(flow);
    }
}

fn print_flow(flow: &FlowReport) {
    let (lost, duplicated) = match flow.datagrams {
        Some(counts) => (
            format!("{}+{}/{}", counts.lost_out, counts.lost_back, counts.sent),
            counts.duplicated.to_string(),
        ),
        None => ("-".into(), "-".into()),
    };
    let target = match (&flow.target_before, &flow.target_after) {
        (Some(before), Some(after)) if before == after => before.clone(),
        (before, Some(after)) => format!("{} → {after}", before.as_deref().unwrap_or("-")),
        _ => "-".into(),
    };
    println!(
        "  {:<12} {:>9.1} {:>12} {:>6} {:>7}  {target}",
        flow.flow, flow.longest_gap_ms, lost, duplicated, flow.broken
    );
}

fn listed(report: &Report) -> String {
    let seen = report.set_up_exchanges.iter().map(|(kind, count)| format!("{count} {kind}"));
    seen.collect::<Vec<_>>().join(", ")
}
