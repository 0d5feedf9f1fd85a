//! IKE SAs with a Child SA that a CPU second buys, for strongSwan and for vipsec as responders.
//!
//! The load comes from the same strongSwan initiator for both, one connection with an identity of
//! its own after the other, on several threads. Counted is the CPU time of the responder's
//! process, so the pace of the initiator does not matter.

use std::thread;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use serde::Serialize;
use vipsec_lab::run::Lab;
use vipsec_lab::strongswan::{Child, Connection, Credential, Settings, StrongSwan};

use super::gateways::{LEFT, Pair, RIGHT, vipsec};

/// SAs to set up.
const COUNT: u32 = 300;
/// Initiations under way at once.
const THREADS: u32 = 2;
/// Clock ticks a second in /proc; the same on every Linux that people use.
const TICKS: f64 = 100.0;

/// Both responders.
#[derive(Debug, Serialize)]
pub(super) struct SetUps {
    /// vipsec's set-ups a CPU second over strongSwan's.
    ratio: f64,
    strongswan: Figures,
    vipsec: Figures,
}

/// One responder.
#[derive(Debug, Serialize)]
struct Figures {
    /// SAs that were set up.
    count: u32,
    /// CPU time of the responder, milliseconds each.
    cpu_ms: f64,
    /// Set-ups a CPU second.
    per_cpu_second: f64,
    /// Set-ups a second of real time; bounded by the initiator.
    per_second: f64,
    /// Requests that the initiator had to send again.
    retransmits: usize,
}

pub(super) fn measure(lab: &Lab) -> Result<SetUps> {
    println!("IKE set-ups…");
    let pair = Pair::build(lab)?;
    // The initiator routes through its tunnels only from addresses that it has.
    for number in 0..COUNT {
        pair.right.address("lo", &inner(number))?;
    }
    let swan = StrongSwan::start(lab, &pair.left, &responder())?;
    let strongswan = load(lab, &pair, LEFT.outer, swan.pid())?;
    drop(swan);
    let vips = format!(
        "[[vip]]\naddress = \"{}\"\ninterface = \"out0\"\n\
         [[vip.connection]]\nname = \"load\"\nlocal_id = \"gw@test\"\npsk = \"topsecretpsk\"\n\
         proposals = [\"aes256gcm16-prfsha256-x25519\"]\n\
         [[vip.connection.child]]\nname = \"net\"\nlocal = [\"{}/32\"]\n\
         remote = [\"10.8.0.0/16\"]\nproposals = [\"aes256gcm16\"]\n",
        LEFT.vip, LEFT.inner
    );
    let mut node = vipsec(lab, &pair.left, "responder", vips)?;
    let pid = node.process().pid().as_raw();
    let vipsec = load(lab, &pair, LEFT.vip, pid)?;
    Ok(SetUps { ratio: vipsec.per_cpu_second / strongswan.per_cpu_second, strongswan, vipsec })
}

/// A responder that takes any identity with the right key.
fn responder() -> Settings {
    let connection = Connection {
        name: "load".into(),
        local: LEFT.outer.into(),
        remote: "%any".into(),
        local_id: "gw@test".into(),
        remote_id: String::new(),
        children: vec![child(&format!("{}/32", LEFT.inner), "10.8.0.0/16")],
        ..template()
    };
    Settings { connections: vec![connection], ..Settings::default() }
}

fn initiators(responder: &str) -> Settings {
    let connection = |number: u32| Connection {
        name: format!("c{number}"),
        local: RIGHT.outer.into(),
        remote: responder.into(),
        local_id: format!("c{number}@test"),
        remote_id: "gw@test".into(),
        children: vec![child(&inner(number), &format!("{}/32", LEFT.inner))],
        ..template()
    };
    Settings { connections: (0..COUNT).map(connection).collect(), ..Settings::default() }
}

/// The address behind an initiator's connection.
fn inner(number: u32) -> String {
    format!("10.8.{}.{}/32", number / 250, number % 250 + 1)
}

fn template() -> Connection {
    Connection {
        name: String::new(),
        local: String::new(),
        remote: String::new(),
        proposal: "aes256gcm16-prfsha256-x25519".into(),
        local_id: String::new(),
        remote_id: String::new(),
        credential: Credential::SharedKey("topsecretpsk".into()),
        request: String::new(),
        pool: String::new(),
        extra: String::new(),
        children: Vec::new(),
    }
}

fn child(local: &str, remote: &str) -> Child {
    Child {
        name: "net".into(),
        local: local.into(),
        remote: remote.into(),
        proposal: "aes256gcm16-noesn".into(),
        extra: String::new(),
    }
}

fn load(lab: &Lab, pair: &Pair, address: &str, pid: i32) -> Result<Figures> {
    let initiator = StrongSwan::start(lab, &pair.right, &initiators(address))?;
    let (before_s, began) = (cpu_s(pid)?, Instant::now());
    thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|first| {
                let initiator = &initiator;
                scope.spawn(move || initiate(initiator, first))
            })
            .collect();
        threads.into_iter().try_for_each(|thread| thread.join().unwrap_or(Ok(())))
    })?;
    let (elapsed_s, used_s) = (began.elapsed().as_secs_f64(), cpu_s(pid)? - before_s);
    let established = initiator.sas()?.iter().filter(|sa| !sa.children.is_empty()).count();
    let count = u32::try_from(established).context("too many SAs")?;
    ensure!(count == COUNT, "{count} of {COUNT} SAs were set up");
    Ok(Figures {
        count,
        cpu_ms: used_s * 1e3 / f64::from(count),
        per_cpu_second: f64::from(count) / used_s,
        per_second: f64::from(count) / elapsed_s,
        retransmits: initiator.log()?.matches("] retransmit ").count(),
    })
}

/// Initiates every [`THREADS`]-th connection.
fn initiate(initiator: &StrongSwan, first: u32) -> Result<()> {
    for number in (first..COUNT).step_by(THREADS as usize) {
        initiator.swanctl(&format!("--initiate --ike c{number} --child net --timeout 20"))?;
    }
    Ok(())
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

impl SetUps {
    pub(super) fn print(&self) {
        println!("\nIKE SAs with a Child SA, PSK and x25519, as responder");
        println!("  vipsec / strongSwan: {:.2} set-ups a CPU second", self.ratio);
        println!(
            "  {:<12} {:>8} {:>16} {:>12} {:>12}",
            "responder", "cpu ms", "per cpu second", "per second", "retransmits"
        );
        for (name, figures) in [("strongSwan", &self.strongswan), ("vipsec", &self.vipsec)] {
            println!(
                "  {name:<12} {:>8.2} {:>16.0} {:>12.0} {:>12}",
                figures.cpu_ms, figures.per_cpu_second, figures.per_second, figures.retransmits
            );
        }
    }
}
