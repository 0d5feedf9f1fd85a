//! The command line against an admin API whose node is a stand-in.

use super::*;
use crate::admin::events::EventLog;
use crate::admin::{self, Command as Asked, Failure, Request, SaKind, SaRef};
use clap::CommandFactory as _;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use vipsec_wire::time::Timestamp;

/// Runs a vipsec whose node answers with what was asked, and the command lines against it.
fn against(lines: &'static [&'static [&'static str]]) -> Vec<Result<String, String>> {
    beside_a_node(|socket| lines.iter().map(|line| execute(line, socket)).collect())
}

/// Runs a vipsec with a stand-in for its node as long as `act` does.
fn beside_a_node<T>(act: impl FnOnce(&Path) -> T) -> T {
    let dir = tempfile::tempdir().expect("a directory");
    let socket = dir.path().join("vipsec.sock");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime");
    let events = Arc::new(EventLog::default());
    events.note(Timestamp(5), "owned", "192.0.2.10 is ours", BTreeMap::new());
    let (sender, requests) = mpsc::channel(8);
    runtime.spawn(answer(requests, events.clone()));
    let entered = runtime.enter();
    let _served = admin::serve(&socket, sender, events).expect("served");
    drop(entered);
    act(&socket)
}

/// A node whose VIP 192.0.2.10 goes where it is told to, after a while; transfers of 192.0.2.11 are
/// called off, those of 192.0.2.12 come to no end, for it answers nothing more.
async fn answer(mut requests: mpsc::Receiver<Request>, events: Arc<EventLog>) {
    let mut looks = 0;
    let mut owner = "a".to_owned();
    let (mut silent, mut waiting) = (false, Vec::new());
    while let Some(Request { command, reply }) = requests.recv().await {
        if silent {
            waiting.push(reply);
            continue;
        }
        let answer = match command {
            Asked::Sas => Ok(json!([])),
            Asked::Status => {
                looks += 1;
                let moved = if looks > 3 { owner.as_str() } else { "a" };
                Ok(json!({ "vips": [
                    { "address": "192.0.2.11", "owner": "a" },
                    { "address": "192.0.2.10", "owner": moved },
                    { "address": "192.0.2.12", "owner": null },
                ] }))
            }
            Asked::Transfer { vip, to } => {
                let vip = vip.to_string();
                if vip == "192.0.2.10" {
                    owner = to.to_string();
                }
                silent = vip == "192.0.2.12";
                for about in ["192.0.2.99", "192.0.2.11"].iter().filter(|_| vip == "192.0.2.11") {
                    let fields = [("vip", (*about).to_owned()), ("node", to.to_string())];
                    let text = format!("{about}: called off, no answer");
                    events.note(Timestamp(6), "transfer-aborted", &text, fields.into());
                }
                Ok(json!({ "text": format!("{vip} to {to:?} has begun") }))
            }
            Asked::Metrics => Ok(Value::String("vipsec_up 1\n".to_owned())),
            Asked::AcceptRollback { .. } => Err(Failure::Refused("nothing was refused".to_owned())),
            Asked::Rekey(SaRef { kind: SaKind::Child, name }) if name == "net" => {
                Ok(json!({ "text": "net is rekeyed" }))
            }
            other => Ok(json!({ "text": format!("{other:?}") })),
        };
        let _ = reply.send(answer);
    }
}

fn execute(line: &[&str], socket: &Path) -> Result<String, String> {
    let socket = socket.to_str().expect("plain");
    let about = ["--socket", socket];
    let line = ["vipsec"].iter().chain(line).chain(&about);
    let cli = Cli::try_parse_from(line).map_err(|error| error.to_string())?;
    let mut out = Vec::new();
    cli.execute(&mut out).map_err(|error| crate::explain(&error))?;
    String::from_utf8(out).map_err(|error| error.to_string())
}

#[test]
fn commands_reach_the_node_and_come_back() {
    let answers = against(&[
        &["sas"],
        &["sas", "--json"],
        &["transfer", "192.0.2.10", "--to", "b", "--no-wait"],
        &["rekey", "child", "net"],
        &["initiate", "road", "net"],
        &["accept-rollback", "192.0.2.10"],
        &["transfer", "192.0.2.10", "--to", "B!"],
    ]);
    assert_eq!(answers[0], Ok("no SAs\n".to_owned()));
    assert_eq!(answers[1], Ok("[]\n".to_owned()));
    let transfer = answers[2].as_deref().expect("done");
    assert!(transfer.contains("192.0.2.10") && transfer.contains("\"b\""), "{transfer}");
    assert_eq!(answers[3], Ok("net is rekeyed\n".to_owned()));
    assert!(answers[4].as_deref().expect("done").contains("Initiate"));
    assert_eq!(answers[5], Err("nothing was refused".to_owned()));
    assert!(answers[6].as_deref().expect_err("no name").contains("allowed are 1 to 32"));
}

#[test]
fn a_transfer_is_waited_for_to_its_end() {
    let answers = against(&[
        &["transfer", "192.0.2.10", "--to", "b"],
        &["transfer", "192.0.2.10", "--to", "b", "--json"],
        &["transfer", "192.0.2.11", "--to", "b"],
    ]);
    let done = answers[0].as_deref().expect("done");
    assert!(done.starts_with("192.0.2.10: transferred to b in ") && done.ends_with(" ms\n"));
    let done: Value = serde_json::from_str(answers[1].as_deref().expect("done")).expect("JSON");
    assert!(done["owner"] == "b" && done["took_us"].is_u64(), "{done}");
    assert_eq!(answers[2], Err("192.0.2.11: called off, no answer".to_owned()));
}

#[test]
fn a_transfer_without_an_end_is_a_failure() {
    let why = beside_a_node(|socket| {
        let daemon = Daemon { socket: socket.to_owned(), json: false };
        let vip = "192.0.2.12".parse().expect("an address");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let patience = Duration::from_millis(50);
        let mut out = std::io::sink();
        let waited = control::transfer(&daemon, vip, "b", patience, &mut out);
        runtime.expect("a runtime").block_on(waited).expect_err("no end").to_string()
    });
    assert!(why.contains("b does not own it") && why.contains("the owner is unknown"), "{why}");
}

#[test]
fn a_daemon_that_does_not_run_is_named_as_such() {
    let why = execute(&["status"], Path::new("/nonexistent/vipsec.sock")).expect_err("nobody");
    assert!(why.starts_with("vipsec does not run here"), "{why}");
    assert!(why.contains("/nonexistent/vipsec.sock"));
}

#[test]
fn keys_are_made_on_the_command_line() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("node.key");
    let file = file.to_str().expect("plain");
    let keygen = |what: &str| {
        let mut out = Vec::new();
        let cli = Cli::try_parse_from(["vipsec", "keygen", what, file]).expect("a command");
        cli.execute(&mut out).map_err(|error| crate::explain(&error))?;
        Ok::<_, String>(String::from_utf8(out).expect("text"))
    };
    let made = keygen("node").expect("made");
    assert_eq!(keygen("public"), Ok(made));
    assert!(keygen("node").expect_err("exists").contains("not overwritten"));
    let json = ["vipsec", "keygen", "public", file, "--json"];
    let mut out = Vec::new();
    Cli::try_parse_from(json).expect("a command").execute(&mut out).expect("read");
    let shown: Value = serde_json::from_slice(&out).expect("JSON");
    assert_eq!(Ok(format!("{}\n", shown["public_key"].as_str().expect("text"))), keygen("public"));
}

#[test]
fn mistakes_in_a_file_are_the_answer_of_check_config() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("vipsec.toml");
    std::fs::write(&file, "[node]\nname = \"a b\"\n").expect("written");
    let line = ["vipsec", "check-config", "-c", file.to_str().expect("plain")];
    let cli = Cli::try_parse_from(line).expect("a command");
    let why = crate::explain(&cli.execute(&mut Vec::new()).expect_err("a mistake"));
    assert!(why.contains("vipsec.toml:2:8: \"a b\" is no node name; allowed are"), "{why}");
    let mut out = Vec::new();
    let cli = Cli::try_parse_from([&line[..], &["--json"]].concat()).expect("a command");
    cli.execute(&mut out).expect_err("a mistake");
    let shown: Value = serde_json::from_slice(&out).expect("JSON");
    assert_eq!(
        (&shown["mistakes"][0]["line"], &shown["mistakes"][0]["column"]),
        (&2.into(), &8.into())
    );
    let text = shown["mistakes"][0]["text"].as_str().expect("text");
    assert!(text.starts_with("\"a b\" is no node name; allowed are"), "{shown}");
}

#[test]
fn the_command_line_is_sound() {
    Cli::command().debug_assert();
}

/// The man page names every subcommand and every option.
#[test]
fn the_manual_is_complete() {
    let manual = include_str!("../../../../docs/vipsec.8").replace("\\-", "-");
    let mut commands = vec![Cli::command()];
    while let Some(command) = commands.pop() {
        assert!(manual.contains(command.get_name()), "{} is missing", command.get_name());
        for argument in command.get_arguments() {
            if let Some(long) = argument.get_long() {
                assert!(manual.contains(&format!("--{long}")), "--{long} is missing");
            }
        }
        commands.extend(command.get_subcommands().cloned());
    }
}
