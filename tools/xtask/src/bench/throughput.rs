//! TCP through a bare cable, through strongSwan's userspace ESP and through vipsec, by iperf3, in
//! turns so that all of them see the same machine.

use std::time::Duration;

use anyhow::{Context, Result};
use serde::Serialize;
use vipsec_lab::command::wait_for;
use vipsec_lab::process::{Process, Program};
use vipsec_lab::run::Lab;

use super::Options;
use super::gateways::{LEFT, Pair, RIGHT, strongswan_pair, take_down, vipsec_pair};

/// What is measured, in the order of the table.
const PATHS: [&str; 5] =
    ["veth", "strongSwan", "vipsec", "vipsec, no UDP GSO", "vipsec, plain ESP"];
const STREAMS: [u32; 2] = [1, 4];

/// All runs.
#[derive(Debug, Default, Serialize)]
pub(super) struct Throughput {
    /// vipsec's median over strongSwan's, for one stream and four.
    pub(super) ratio_to_strongswan: Vec<f64>,
    /// vipsec's median over the bare cable's.
    ratio_to_veth: Vec<f64>,
    rows: Vec<Row>,
}

/// One path with one number of streams.
#[derive(Debug, Serialize)]
struct Row {
    path: String,
    streams: u32,
    /// Mbit/s of each run.
    mbit_s: Vec<f64>,
    /// TCP segments sent again, of all runs.
    retransmits: u64,
}

pub(super) fn measure(lab: &Lab, options: Options) -> Result<Throughput> {
    let pair = Pair::build(lab)?;
    let mut throughput = Throughput::default();
    for path in PATHS {
        for streams in STREAMS {
            let path = path.to_owned();
            let row = Row { path, streams, mbit_s: Vec::new(), retransmits: 0 };
            throughput.rows.push(row);
        }
    }
    for round in 1..=options.rounds {
        println!("throughput, round {round} of {}…", options.rounds);
        throughput.round(lab, &pair, options.seconds)?;
    }
    let ratios = |other: &str| -> Vec<f64> {
        let pick = |path: &str, n| throughput.median(path, n).unwrap_or(f64::NAN);
        STREAMS.iter().map(|n| pick("vipsec", *n) / pick(other, *n)).collect()
    };
    (throughput.ratio_to_strongswan, throughput.ratio_to_veth) =
        (ratios("strongSwan"), ratios("veth"));
    Ok(throughput)
}

impl Throughput {
    fn round(&mut self, lab: &Lab, pair: &Pair, seconds: u32) -> Result<()> {
        self.runs(lab, pair, "veth", (LEFT.outer, RIGHT.outer), seconds)?;
        let swans = strongswan_pair(lab, pair)?;
        self.runs(lab, pair, "strongSwan", (LEFT.inner, RIGHT.inner), seconds)?;
        drop(swans);
        // As strongSwan's userspace ESP always does, in UDP.
        let nodes = vipsec_pair(lab, pair, true)?;
        self.runs(lab, pair, "vipsec", (LEFT.inner, RIGHT.inner), seconds)?;
        segment_on_send(pair, "off")?;
        self.runs(lab, pair, "vipsec, no UDP GSO", (LEFT.inner, RIGHT.inner), seconds)?;
        segment_on_send(pair, "on")?;
        take_down(nodes)?;
        let nodes = vipsec_pair(lab, pair, false)?;
        self.runs(lab, pair, "vipsec, plain ESP", (LEFT.inner, RIGHT.inner), seconds)?;
        take_down(nodes)
    }

    fn runs(
        &mut self,
        lab: &Lab,
        pair: &Pair,
        path: &str,
        addresses: (&str, &str),
        seconds: u32,
    ) -> Result<()> {
        for row in self.rows.iter_mut().filter(|row| row.path == path) {
            let (mbit_s, retransmits) = iperf(lab, pair, addresses, row.streams, seconds)
                .with_context(|| format!("{path}, {} streams", row.streams))?;
            row.mbit_s.push(mbit_s);
            row.retransmits += retransmits;
        }
        Ok(())
    }

    fn median(&self, path: &str, streams: u32) -> Option<f64> {
        let row = self.rows.iter().find(|row| row.path == path && row.streams == streams)?;
        let sorted = row.sorted();
        sorted.get(sorted.len() / 2).copied()
    }

    pub(super) fn print(&self) {
        println!("\nTCP throughput (all ends and iperf3 share this machine's cores)");
        for (name, ratios) in
            [("strongSwan", &self.ratio_to_strongswan), ("bare veth", &self.ratio_to_veth)]
        {
            if let [one, four] = ratios[..] {
                println!("  vipsec / {name}: {one:.2} with one stream, {four:.2} with four");
            }
        }
        println!(
            "  {:<20} {:>7} {:>24} {:>12}",
            "Mbit/s", "streams", "min / median / max", "again"
        );
        for row in &self.rows {
            let sorted = row.sorted();
            let [Some(least), Some(middle), Some(most)] =
                [sorted.first(), sorted.get(sorted.len() / 2), sorted.last()]
            else {
                continue;
            };
            let spread = format!("{least:.0} / {middle:.0} / {most:.0}");
            println!("  {:<20} {:>7} {spread:>24} {:>12}", row.path, row.streams, row.retransmits);
        }
    }
}

impl Row {
    fn sorted(&self) -> Vec<f64> {
        let mut sorted = self.mbit_s.clone();
        sorted.sort_by(f64::total_cmp);
        sorted
    }
}

/// Whether the cable takes a train of UDP datagrams as one packet (`on`, what veth can) or has
/// them cut before they are sent (`off`, what most network cards need).
fn segment_on_send(pair: &Pair, state: &str) -> Result<()> {
    for (namespace, _, _) in pair.ends() {
        namespace.run(&format!("ethtool -K out0 tx-udp-segmentation {state}"))?;
    }
    Ok(())
}

/// One run from right to left: Mbit/s received, and segments sent again.
fn iperf(
    lab: &Lab,
    pair: &Pair,
    (to, from): (&str, &str),
    streams: u32,
    seconds: u32,
) -> Result<(f64, u64)> {
    let mut server = Process::start(Program {
        namespace: pair.left.clone(),
        path: "iperf3".into(),
        arguments: ["-s", "-1", "-B", to].map(str::to_owned).into(),
        environment: Vec::new(),
        log: lab.directory().join("iperf3.log"),
        lasting: false,
    })?;
    let line = format!("iperf3 -c {to} -B {from} -t {seconds} -O 1 -P {streams} -J");
    // The server may not listen yet; iperf3 says so in its JSON.
    let result = wait_for("iperf3", Duration::from_secs(3), || {
        let printed = pair.right.run(&line).unwrap_or_default();
        let result: serde_json::Value = serde_json::from_str(&printed).unwrap_or_default();
        Ok(result.get("error").is_none().then_some(result))
    })?;
    server.kill()?;
    let received = result["end"]["sum_received"]["bits_per_second"].as_f64();
    let again = result["end"]["sum_sent"]["retransmits"].as_u64().unwrap_or(0);
    Ok((received.context("iperf3 measured nothing")? / 1e6, again))
}
