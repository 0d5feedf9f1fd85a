//! Answers of the admin API as tables for people.

use comfy_table::{Table, presets};
use serde_json::Value;
use std::fmt::Write as _;

/// The whole of `status`.
pub(super) fn status(answer: &Value) -> String {
    let mut out = String::new();
    let _ = writeln!(out, "node {}", text(answer, "node"));
    if let Some(store) = answer.get("store").filter(|store| !store.is_null()) {
        let _ = writeln!(out, "store {}", store_line(store));
    }
    let mut members = table(&["MEMBER", "ROLES", "PRESENCE", "LINK"]);
    for member in list(answer, "members") {
        let link = match (text(member, "presence").as_str(), flag(member, "linked")) {
            ("self", _) => "-",
            (_, true) => "up",
            (_, false) => "down",
        };
        let cells = [text(member, "name"), words(member, "roles"), text(member, "presence")];
        members.add_row(cells.iter().map(String::as_str).chain([link]));
    }
    let _ = write!(out, "\n{members}\n\n{}\n", vips(answer));
    let targets = targets(answer);
    if targets.row_count() > 0 {
        let _ = writeln!(out, "\n{targets}");
    }
    let drops = drops(answer);
    if drops.row_count() > 0 {
        let _ = writeln!(out, "\n{drops}");
    }
    for vip in list(answer, "vips") {
        if let Some(refusal) = vip.get("refusal").and_then(Value::as_str) {
            let _ = writeln!(out, "\n{}: {refusal}", text(vip, "address"));
        }
    }
    out
}

fn store_line(store: &Value) -> String {
    let state =
        if flag(store, "up") { "up".to_owned() } else { format!("down: {}", text(store, "error")) };
    let (waiting, unprotected) = (text(store, "waiting"), text(store, "unprotected"));
    format!("{state}, {waiting} writes waiting, {unprotected} SAs unprotected")
}

fn vips(answer: &Value) -> Table {
    let header =
        ["VIP", "ROLE", "OWNER", "EPOCH", "BACKUPS", "IKE SAS", "CHILD SAS", "REPLAY BOUND"];
    let mut table = table(&header);
    for vip in list(answer, "vips") {
        let backups = backups(vip);
        let role = match vip.get("transfer").and_then(Value::as_str) {
            Some(phase) => format!("{}, {phase}", text(vip, "role")),
            None => text(vip, "role"),
        };
        let bound = match vip.get("replay_bound_packets").and_then(Value::as_u64) {
            Some(packets) => format!("{}, {packets} packets", text(vip, "replay")),
            None => text(vip, "replay"),
        };
        table.add_row([
            text(vip, "address"),
            role,
            text(vip, "owner"),
            text(vip, "epoch"),
            if backups.is_empty() { "-".to_owned() } else { backups.join(", ") },
            text(vip, "ike_sas"),
            text(vip, "child_sas"),
            bound,
        ]);
    }
    table
}

/// The candidates but for the owner. A mere target knows no ranks.
fn backups(vip: &Value) -> Vec<String> {
    let backup = |backup: &Value| {
        let ready = if flag(backup, "ready") { "ready" } else { "not ready" };
        match text(vip, "role").as_str() {
            "target" => format!("{} ({ready})", text(backup, "node")),
            _ => format!("{} ({}, {ready})", text(backup, "node"), text(backup, "rank")),
        }
    };
    let others = list(vip, "backups").filter(|b| text(b, "node") != text(vip, "owner"));
    others.map(backup).collect()
}

/// What was dropped, if anything was.
fn drops(answer: &Value) -> Table {
    let mut table = table(&["DROPPED FOR", "PACKETS"]);
    for (reason, count) in answer.get("drops").and_then(Value::as_object).into_iter().flatten() {
        if count.as_u64() != Some(0) {
            table.add_row([reason.clone(), plain(count)]);
        }
    }
    table
}

fn targets(answer: &Value) -> Table {
    let mut table = table(&["VIP", "SERVICE", "TARGET", "WEIGHT", "HEALTH"]);
    for vip in list(answer, "vips") {
        for target in list(vip, "targets") {
            let health = if flag(target, "healthy") { "well" } else { "ill" };
            table.add_row([
                text(vip, "address"),
                text(target, "service"),
                text(target, "node"),
                text(target, "weight"),
                health.to_owned(),
            ]);
        }
    }
    table
}

/// IKE SAs, their Child SAs under them.
pub(super) fn sas(answer: &Value) -> String {
    let mut out = String::new();
    for ike in answer.as_array().into_iter().flatten() {
        let protected = if flag(ike, "protected") { "protected" } else { "UNPROTECTED" };
        let _ = writeln!(
            out,
            "IKE SA {}  {}  {} {} as {}  {}  {}  {}  {protected}{}",
            text(ike, "id"),
            text(ike, "connection"),
            text(ike, "remote_identity"),
            text(ike, "remote"),
            text(ike, "role"),
            text(ike, "algorithms"),
            age(ike),
            text(ike, "vip"),
            if text(ike, "state") == "superseded" { "  superseded" } else { "" },
        );
        for (key, name) in TOLD {
            let words = if *key == "peer_version" { text(ike, key) } else { words(ike, key) };
            if words != "-" {
                let _ = writeln!(out, "  {name} {words}");
            }
        }
        let children = children(ike);
        for line in children.to_string().lines() {
            let _ = writeln!(out, "  {line}");
        }
        out.push('\n');
    }
    if out.is_empty() { "no SAs\n".to_owned() } else { out }
}

/// What the two sides of an IKE SA have told each other beside, and how it is called.
const TOLD: &[(&str, &str)] = &[
    ("assigned", "assigned"),
    ("obtained", "obtained"),
    ("name_servers", "name servers"),
    ("domains", "for domains"),
    ("subnets", "subnets"),
    ("peer_version", "peer is"),
];

/// The whole of `leases`.
pub(super) fn leases(answer: &Value) -> String {
    let mut table = table(&["ADDRESS", "POOL", "IDENTITY", "STATE", "IKE SA", "VIP"]);
    for lease in answer.as_array().into_iter().flatten() {
        let state = match lease.get("expires_s").and_then(Value::as_u64) {
            Some(seconds) => format!("{} for {}", text(lease, "state"), span(seconds)),
            None => text(lease, "state"),
        };
        let (pool, identity) = (text(lease, "pool"), text(lease, "identity"));
        let (ike, vip) = (words(lease, "ike"), text(lease, "vip"));
        table.add_row([text(lease, "address"), pool, identity, state, ike, vip]);
    }
    if table.row_count() == 0 { "no leases\n".to_owned() } else { format!("{table}\n") }
}

fn children(ike: &Value) -> Table {
    let mut table = table(&[
        "CHILD",
        "SPI IN",
        "SPI OUT",
        "ALGORITHMS",
        "MODE",
        "LOCAL",
        "REMOTE",
        "AGE",
        "IN",
        "OUT",
    ]);
    for child in list(ike, "children") {
        let flow = |bytes: &str, packets: &str| {
            format!("{} B, {} p", text(child, bytes), text(child, packets))
        };
        let udp = if flag(child, "encapsulated") { " in UDP" } else { "" };
        table.add_row([
            match text(child, "state").as_str() {
                "superseded" => format!("{} (superseded)", text(child, "child")),
                _ => text(child, "child"),
            },
            text(child, "spi_in"),
            text(child, "spi_out"),
            text(child, "algorithms"),
            format!("{}{udp}", text(child, "mode")),
            words(child, "local"),
            words(child, "remote"),
            age(child),
            flow("bytes_in", "packets_in"),
            flow("bytes_out", "packets_out"),
        ]);
    }
    table
}

/// Connections of services.
pub(super) fn connections(answer: &Value) -> String {
    let header = ["VIP", "PROTOCOL", "PEER", "LOCAL", "KIND", "TARGET", "STATE", "AGE"];
    let mut table = table(&header);
    for connection in answer.as_array().into_iter().flatten() {
        let keys = ["vip", "protocol", "peer", "local", "kind", "target", "state"];
        let cells = keys.iter().map(|key| text(connection, key));
        table.add_row(cells.chain([age(connection)]));
    }
    if table.row_count() == 0 { "no connections\n".to_owned() } else { format!("{table}\n") }
}

/// One event.
pub(super) fn event(event: &Value) -> String {
    let micros = event.get("time_us").and_then(Value::as_u64).unwrap_or_default();
    let (seconds, millis) = (micros / 1_000_000, micros / 1_000 % 1_000);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    let (kind, what) = (text(event, "event"), text(event, "text"));
    format!("{hour:02}:{minute:02}:{second:02}.{millis:03} UTC  {kind:<16} {what}")
}

fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header.iter().copied());
    table
}

fn list<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    value.get(key).and_then(Value::as_array).into_iter().flatten()
}

fn flag(value: &Value, key: &str) -> bool {
    value.get(key).and_then(Value::as_bool).unwrap_or(false)
}

/// A value as text; what is not there is a dash.
fn text(value: &Value, key: &str) -> String {
    plain(value.get(key).unwrap_or(&Value::Null))
}

fn plain(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.chars().map(|c| if c.is_control() { '?' } else { c }).collect(),
        other => other.to_string(),
    }
}

fn words(value: &Value, key: &str) -> String {
    let words: Vec<String> = list(value, key).map(plain).collect();
    if words.is_empty() { "-".to_owned() } else { words.join(", ") }
}

/// `age_s` as people say it.
fn age(value: &Value) -> String {
    span(value.get("age_s").and_then(Value::as_u64).unwrap_or_default())
}

fn span(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_status_has_its_parts() {
        let answer = json!({
            "node": "a", "incarnation": 1,
            "store": { "up": false, "error": "disk full", "waiting": 2, "unprotected": 1 },
            "members": [
                { "name": "a", "roles": ["candidate"], "presence": "self", "linked": false },
                { "name": "b", "roles": ["candidate", "target"], "presence": "alive", "linked": true },
            ],
            "vips": [{
                "address": "192.0.2.10", "role": "owner", "transfer": null, "owner": "a", "epoch": 7,
                "backups": [
                    { "node": "a", "rank": 100, "ready": false },
                    { "node": "b", "rank": 50, "ready": true },
                ], "refusal": "rolled back",
                "replay": "bounded", "replay_bound_packets": 12, "ike_sas": 1, "child_sas": 2,
                "targets": [{ "service": "web", "node": "b", "weight": 1, "healthy": false }],
            }],
            "drops": { "no_sa": 17, "fence_out": 0 },
        });
        let text = status(&answer);
        for part in [
            "node a",
            "down: disk full",
            "1 SAs unprotected",
            "candidate, target",
            "b (50, ready)",
            "bounded, 12 packets",
            "ill",
            "192.0.2.10: rolled back",
            "no_sa",
            "17",
        ] {
            assert!(text.contains(part), "{part:?} is missing in\n{text}");
        }
        assert!(!text.contains("fence_out"), "nothing to tell");
    }

    #[test]
    fn sas_stand_under_each_other_and_control_characters_do_not_reach_the_terminal() {
        let answer = json!([{
            "vip": "192.0.2.10", "id": "00000000000000aa", "connection": "road",
            "remote_identity": "evil\u{1b}[2J", "remote": "10.9.0.1:4500", "role": "responder",
            "algorithms": "aes256gcm16", "age_s": 7300, "protected": false, "assigned": ["10.77.0.10"],
            "state": "established",
            "children": [{ "child": "net", "spi_in": "c0ffee00", "state": "superseded", "bytes_in": 5, "packets_in": 1,
                "mode": "tunnel", "encapsulated": true, "local": ["10.3.0.0/24"], "age_s": 5 }],
        }]);
        let text = sas(&answer);
        assert!(text.contains("UNPROTECTED") && text.contains("2 h"), "{text}");
        assert!(text.contains("tunnel in UDP") && text.contains("5 B, 1 p"), "{text}");
        assert!(text.contains("net (superseded)") && text.contains("UNPROTECTED\n"), "{text}");
        assert!(!text.contains('\u{1b}'));
        assert_eq!(sas(&json!([])), "no SAs\n");
    }

    #[test]
    fn leases_say_whose_and_how_long() {
        let answer = json!([
            { "vip": "192.0.2.10", "pool": "p", "address": "10.77.0.10", "identity": "a\u{1b}",
              "state": "held", "ike": ["00000000000000aa"], "expires_s": null },
            { "vip": "192.0.2.10", "pool": "p", "address": "10.77.0.11", "identity": "b",
              "state": "kept", "ike": [], "expires_s": 7300 },
        ]);
        let text = leases(&answer);
        assert!(text.contains("held") && text.contains("kept for 2 h"), "{text}");
        assert!(!text.contains('\u{1b}'));
        assert_eq!(leases(&json!([])), "no leases\n");
    }

    #[test]
    fn an_event_is_a_line() {
        let line = event(&json!({ "time_us": 3_723_004_000_u64, "event": "owned", "text": "it" }));
        assert_eq!(line, "01:02:03.004 UTC  owned            it");
    }
}
