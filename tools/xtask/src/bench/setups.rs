//! What an IKE SA with a Child SA costs a responder: CPU time, real time, memory; for strongSwan
//! and for vipsec, under the same load from the same generator.
//!
//! strongSwan is given what makes it fast: large tables, no protection against floods, no routes to
//! install and nothing to log. vipsec writes every SA to its store before it answers, as always.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use vipsec_lab::binaries::binaries;
use vipsec_lab::command::output_of;
use vipsec_lab::run::Lab;
use vipsec_lab::strongswan::{Child, Connection, Credential, Settings, StrongSwan};

use super::gateways::{LEFT, Pair, RIGHT, vipsec};

/// SAs that each responder is asked for.
const COUNT: u32 = 2_000;
/// Set-ups under way at once.
const WINDOW: u32 = 16;
/// Where the inner addresses of the initiators are.
const INNER: &str = "10.64.0.0/10";
/// Clock ticks a second in /proc; the same on every Linux that people use.
const TICKS: f64 = 100.0;

/// Both responders, and vipsec once more with many SAs.
#[derive(Debug, Serialize)]
pub(super) struct SetUps {
    /// vipsec's set-ups a CPU second over strongSwan's.
    ratio: f64,
    strongswan: Figures,
    vipsec: Figures,
    vipsec_many: Option<Figures>,
}

/// One responder.
#[derive(Debug, Serialize)]
struct Figures {
    load: Load,
    /// CPU time of the responder, milliseconds each.
    cpu_ms: f64,
    /// Set-ups a CPU second.
    per_cpu_second: f64,
    /// Set-ups a second of real time, on what the generator leaves of the machine.
    per_second: f64,
    /// Growth of the responder's resident memory, KiB each.
    kib: f64,
}

/// What the generator says.
#[derive(Debug, Serialize, Deserialize)]
struct Load {
    established: u32,
    failed: u32,
    reasons: Vec<String>,
    retransmits: u32,
    elapsed_s: f64,
    median_ms: f64,
    p999_ms: f64,
    longest_ms: f64,
}

/// Measures both with [`COUNT`] SAs, then vipsec with `many`, unless that is 0.
pub(super) fn measure(lab: &Lab, many: u32) -> Result<SetUps> {
    println!("IKE set-ups…");
    let pair = Pair::build(lab)?;
    let swan = StrongSwan::start(lab, &pair.left, &responder())?;
    let strongswan = load(&pair, LEFT.outer, swan.pid(), 0..COUNT)?;
    drop(swan);
    let vips = format!(
        "[[vip]]\naddress = \"{}\"\ninterface = \"out0\"\n\
         [[vip.connection]]\nname = \"load\"\nlocal_id = \"gw.test\"\npsk = \"topsecretpsk\"\n\
         proposals = [\"aes256gcm16-prfsha256-x25519\"]\n\
         [[vip.connection.child]]\nname = \"net\"\nlocal = [\"{}/32\"]\n\
         remote = [\"{INNER}\"]\nproposals = [\"aes256gcm16\"]\n",
        LEFT.vip, LEFT.inner
    );
    let mut node = vipsec(lab, &pair.left, "responder", vips)?;
    let pid = node.process().pid().as_raw();
    let vipsec = load(&pair, LEFT.vip, pid, 0..COUNT)?;
    let vipsec_many = match many {
        0 => None,
        many => Some(load(&pair, LEFT.vip, pid, COUNT..COUNT + many)?),
    };
    let ratio = vipsec.per_cpu_second / strongswan.per_cpu_second;
    Ok(SetUps { ratio, strongswan, vipsec, vipsec_many })
}

/// A responder that takes any identity with the right key.
fn responder() -> Settings {
    let connection = Connection {
        name: "load".into(),
        local: LEFT.outer.into(),
        remote: "%any".into(),
        proposal: "aes256gcm16-prfsha256-x25519".into(),
        local_id: "gw.test".into(),
        remote_id: String::new(),
        credential: Credential::SharedKey("topsecretpsk".into()),
        request: String::new(),
        pool: String::new(),
        extra: String::new(),
        children: vec![Child {
            name: "net".into(),
            local: format!("{}/32", LEFT.inner),
            remote: INNER.into(),
            proposal: "aes256gcm16-noesn".into(),
            extra: String::new(),
        }],
    };
    let extra = "ikesa_table_size = 4096\n  ikesa_table_segments = 16\n  dos_protection = no\n  \
                 install_routes = no";
    Settings {
        connections: vec![connection],
        extra: extra.into(),
        quiet: true,
        ..Settings::default()
    }
}

fn load(pair: &Pair, address: &str, pid: i32, numbers: std::ops::Range<u32>) -> Result<Figures> {
    let (before_s, before_kib) = (cpu_s(pid)?, resident_kib(pid)?);
    let mut command = pair.right.command(&binaries()?.load.to_string_lossy());
    let count = numbers.len();
    command.args(["set-ups", "--local", RIGHT.outer, "--remote", address, "--inner", LEFT.inner]);
    command.args(["--psk", "topsecretpsk", "--remote-id", "gw.test"]);
    command.args(["--first", &numbers.start.to_string(), "--count", &count.to_string()]);
    command.args(["--window", &WINDOW.to_string()]);
    let load: Load = serde_json::from_str(&output_of(&mut command)?)?;
    ensure!(load.established as usize == count, "not all SAs were set up: {load:?}");
    // What is freed and written after the last response belongs to the set-ups, too.
    std::thread::sleep(Duration::from_secs(2));
    let (used_s, grown_kib) = (cpu_s(pid)? - before_s, resident_kib(pid)? - before_kib);
    let count = f64::from(load.established);
    Ok(Figures {
        cpu_ms: used_s * 1e3 / count,
        per_cpu_second: count / used_s,
        per_second: count / load.elapsed_s,
        kib: grown_kib / count,
        load,
    })
}

/// CPU time of a process so far, seconds.
fn cpu_s(pid: i32) -> Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).context("no such process")?;
    // The name in brackets may contain blanks; the fields after it are numbered from 3.
    let fields: Vec<&str> =
        stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |index: usize| fields.get(index).and_then(|field| field.parse::<f64>().ok());
    let (user, system) = ticks(11).zip(ticks(12)).context("an unknown form of /proc/…/stat")?;
    Ok((user + system) / TICKS)
}

/// Resident memory of a process, KiB.
fn resident_kib(pid: i32) -> Result<f64> {
    let status =
        std::fs::read_to_string(format!("/proc/{pid}/status")).context("no such process")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    number.context("an unknown form of /proc/…/status")
}

impl SetUps {
    pub(super) fn print(&self) {
        println!("\nIKE SAs with a Child SA, PSK and x25519, as responder, {WINDOW} at a time");
        println!("  vipsec / strongSwan: {:.2} set-ups a CPU second", self.ratio);
        println!(
            "  {:<12} {:>8} {:>8} {:>14} {:>12} {:>10} {:>10} {:>8} {:>12}",
            "responder",
            "SAs",
            "cpu ms",
            "per cpu second",
            "per second",
            "median ms",
            "99.9% ms",
            "KiB/SA",
            "retransmits"
        );
        let rows = [
            ("strongSwan", Some(&self.strongswan)),
            ("vipsec", Some(&self.vipsec)),
            ("vipsec", self.vipsec_many.as_ref()),
        ];
        for (name, figures) in rows {
            let Some(figures) = figures else { continue };
            println!(
                "  {name:<12} {:>8} {:>8.2} {:>14.0} {:>12.0} {:>10.2} {:>10.2} {:>8.1} {:>12}",
                figures.load.established,
                figures.cpu_ms,
                figures.per_cpu_second,
                figures.per_second,
                figures.load.median_ms,
                figures.load.p999_ms,
                figures.kib,
                figures.load.retransmits
            );
        }
    }
}
