//! The lab tested on itself: two strongSwans, one of them in the place of vipsec. What is proven
//! here of the client, the probers and the oracle need not be doubted when vipsec stands there.

#![allow(clippy::print_stdout)] // A process that holds a lab tells so.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use vipsec_lab::capture::oracle::{Rules, judge};
use vipsec_lab::capture::{Capture, frames};
use vipsec_lab::clock::now_us;
use vipsec_lab::command::run;
use vipsec_lab::flow::{FlowRecord, Window};
use vipsec_lab::netns::{Namespace, plug};
use vipsec_lab::probe::Prober;
use vipsec_lab::run::{Lab, is_root};
use vipsec_lab::strongswan::{Child, Connection, Credential, Settings, StrongSwan, exchanges};
use vipsec_tests::in_lab;

const GATEWAY: &str = "192.0.2.10";
const CLIENT: &str = "192.0.2.1";

fn connection(name: &str) -> Connection {
    let is_client = name == "client";
    let (local, remote) = if is_client { (CLIENT, GATEWAY) } else { (GATEWAY, CLIENT) };
    let pick = |client: &str, gateway: &str| String::from(if is_client { client } else { gateway });
    Connection {
        name: "gw".into(),
        local: local.into(),
        remote: remote.into(),
        proposal: "aes256gcm16-prfsha256-x25519".into(),
        local_id: pick("client@test", "gw@test"),
        remote_id: pick("gw@test", "client@test"),
        credential: Credential::SharedKey("topsecretpsk".into()),
        request: pick("0.0.0.0", ""),
        pool: pick("", "clients"),
        extra: String::new(),
        children: vec![Child {
            name: "net".into(),
            local: pick("", "192.0.2.10/32,10.3.0.0/24"),
            remote: pick("192.0.2.10/32,10.3.0.0/24", ""),
            proposal: "aes256gcm16-x25519-noesn".into(),
            extra: String::new(),
        }],
    }
}

fn two_hosts(lab: &Lab) -> Result<(Namespace, Namespace, Namespace)> {
    let (switch, client, gateway) =
        (lab.namespace("sw")?, lab.namespace("client")?, lab.namespace("gw")?);
    switch.bridge("outside")?;
    plug(&client, "out0", &switch, "outside")?;
    plug(&gateway, "out0", &switch, "outside")?;
    client.address("out0", "192.0.2.1/24")?;
    gateway.address("out0", "192.0.2.10/24")?;
    gateway.address("lo", "10.3.0.1/32")?;
    Ok((switch, client, gateway))
}

#[test]
fn flows_to_the_gateway_itself_and_behind_it_stay_in_the_tunnel() {
    in_lab(all_flows);
}

fn all_flows(lab: &Lab) -> Result<()> {
    let (switch, client, gateway) = two_hosts(lab)?;
    let capture = Capture::start(lab, &switch, "outside")?;
    let pools = vec![("clients".to_owned(), "10.77.0.10-10.77.0.250".to_owned())];
    let settings =
        |name: &str| Settings { connections: vec![connection(name)], ..Settings::default() };
    let _gateway = StrongSwan::start(lab, &gateway, &Settings { pools, ..settings("gateway") })?;
    let swan = StrongSwan::start(lab, &client, &settings("client"))?;
    swan.initiate("net")?;
    ensure!(swan.virtual_address(false)? == "10.77.0.10");
    let sas = swan.sas()?;
    ensure!(sas.len() == 1 && sas[0].children.len() == 1, "{sas:?}");
    ensure!(sas[0].state == "ESTABLISHED" && sas[0].children[0].state == "INSTALLED", "{sas:?}");

    let serve = "serve --node gw --listen http=192.0.2.10:80 --listen stream=192.0.2.10:5001 \
                 --listen datagram=10.3.0.1:5002 --listen echo=10.3.0.1:5003";
    let server = Prober::start(lab, &gateway, "server", serve)?;
    let flows = [
        ("http", "http --to 192.0.2.10:80 --nodes gw"),
        ("stream", "stream --to 192.0.2.10:5001 --kbit-s 20000"),
        ("datagram", "datagram --to 10.3.0.1:5002"),
        ("echo", "echo --to 10.3.0.1:5003"),
        ("ping", "ping --to 192.0.2.10"),
    ];
    let mut probers = Vec::new();
    for (name, line) in flows {
        probers.push(Prober::start(lab, &client, name, line)?);
    }
    for prober in &mut probers {
        prober.wait_until_flowing(1)?;
    }
    let began = now_us();
    std::thread::sleep(Duration::from_secs(4));
    for prober in probers {
        for record in prober.finish()? {
            check_flow(&record, began)?;
        }
    }
    ensure!(server.finish()?.iter().all(|record| record.corrupt == 0));

    let counts = exchanges(&swan.log()?);
    ensure!(counts["IKE_SA_INIT"] == 1 && counts["IKE_AUTH"] == 1, "{counts:?}");
    let rules = Rules {
        service: vec![GATEWAY.parse()?],
        tunnelled: vec!["10.77.0.0/24".parse()?, "10.3.0.0/24".parse()?],
        fabric_port: 7401,
    };
    let verdict = judge(&rules, frames(&capture.finish()?)?);
    ensure!(verdict.is_clean(), "{verdict:?}");
    ensure!(verdict.esp > 20_000, "only {} ESP packets", verdict.esp);
    Ok(())
}

fn check_flow(record: &FlowRecord, from_us: u64) -> Result<()> {
    let window = Window { from_us, to_us: now_us() };
    let name = &record.name;
    eprintln!(
        "{name}: {} arrived, longest gap {} us, {} of {} lost",
        record.arrived,
        record.longest_gap_us(window),
        record.lost(window),
        record.sent(window)
    );
    ensure!(record.arrived > 100, "{name}: only {} arrived", record.arrived);
    ensure!(record.breaks.is_empty() && record.corrupt == 0, "{name}: {:?}", record.breaks);
    ensure!(record.lost(window) == 0 && record.duplicated(window) == 0, "{name} lost something");
    Ok(())
}

#[test]
fn the_oracle_sees_what_leaves_in_clear() {
    in_lab(leave_in_clear);
}

fn leave_in_clear(lab: &Lab) -> Result<()> {
    let (switch, client, _gateway) = two_hosts(lab)?;
    let capture = Capture::start(lab, &switch, "outside")?;
    client.address("lo", "10.77.0.10/32")?;
    client.run("ping -c 3 -i 0.2 -W 1 -I 10.77.0.10 192.0.2.10").ok();
    let rules =
        Rules { service: Vec::new(), tunnelled: vec!["10.77.0.0/24".parse()?], fabric_port: 7401 };
    let verdict = judge(&rules, frames(&capture.finish()?)?);
    ensure!(verdict.clear.count >= 3, "{verdict:?}");
    Ok(())
}

/// Marks a process of this test program that is to hold a lab until it is ended.
const HOLD: &str = "VIPSEC_LAB_HOLD";

/// No test: what the next two run in a process of its own.
#[test]
fn hold_a_lab() {
    if std::env::var_os(HOLD).is_some() {
        in_lab(|lab| {
            let (_, client, _) = two_hosts(lab)?;
            let _prober = Prober::start(lab, &client, "ping", "ping --to 127.0.0.1")?;
            println!("holding {}", client.name());
            std::thread::sleep(Duration::from_secs(60));
            Ok(())
        });
    }
}

/// Ends a process that holds a lab by a signal and says what is left of it.
fn left_after(signal: &str) -> Result<String> {
    let mut holder = Command::new(std::env::current_exe()?)
        .args(["--exact", "hold_a_lab", "--nocapture"])
        .env(HOLD, "1")
        .stdout(Stdio::piped())
        .spawn()?;
    let said = BufReader::new(holder.stdout.take().context("no output")?).lines();
    let held = said
        .map_while(Result::ok)
        .find_map(|line| Some(line.split_once("holding ")?.1.split_once('-')?.0.to_owned()));
    let prefix = held.context("the lab was not made")?;
    run(&format!("kill -{signal} {}", holder.id()))?;
    holder.wait()?;
    if signal == "KILL" {
        // A killed process cleans nothing up; the next lab does.
        ensure!(run("ip netns list")?.contains(&prefix), "the kernel cleans up namespaces?");
        in_lab(|_| Ok(()));
    }
    let everything = [run("ip netns list")?, run("ps -eo args")?, run("ls /tmp")?].concat();
    let left: Vec<&str> = everything.lines().filter(|line| line.contains(&prefix)).collect();
    Ok(left.join("\n"))
}

#[test]
fn an_interrupted_lab_cleans_up_and_a_killed_one_is_reaped() -> Result<()> {
    if !is_root() {
        return Ok(());
    }
    for signal in ["INT", "TERM", "KILL"] {
        let left = left_after(signal)?;
        ensure!(left.is_empty(), "after SIG{signal} there is still:\n{left}");
    }
    Ok(())
}

#[test]
fn nothing_is_left_of_a_lab_that_ended() -> Result<()> {
    let mut made = None;
    in_lab(|lab| {
        let (_, client, _) = two_hosts(lab)?;
        let _prober = Prober::start(lab, &client, "ping", "ping --to 127.0.0.1")?;
        made = Some((lab.directory().to_owned(), client.name().to_owned()));
        Ok(())
    });
    let Some((directory, name)) = made else { return Ok(()) };
    let left = run("ip netns list")?;
    ensure!(!left.contains(&name), "{left}");
    ensure!(!directory.exists(), "{} is still there", directory.display());
    let processes = run("ps -eo args")?;
    let prefix = name.split('-').next().unwrap_or_default();
    ensure!(!processes.contains(prefix), "{processes}");
    Ok(())
}
