//! What crossed a bridge of the lab: recorded by tcpdump, read back frame by frame, judged by the
//! [`oracle`].

pub mod oracle;
mod packet;
mod pcap;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

pub use packet::{Frame, NEIGHBOUR_ADVERTISEMENT, Payload};

use crate::command::wait_for;
use crate::netns::Namespace;
use crate::process::{Process, Program};
use crate::run::Lab;

/// Enough for Ethernet, IPv6 with extensions, UDP, ESP header and IV.
const SNAP_LENGTH: usize = 160;

/// Numbers the captures of this process, whose files must not be confused.
static CAPTURES: AtomicU32 = AtomicU32::new(0);

/// A running capture on one bridge.
#[derive(Debug)]
pub struct Capture {
    process: Process,
    file: PathBuf,
}

impl Capture {
    /// Starts to record every frame that crosses `bridge`. A bridge in promiscuous mode, which
    /// tcpdump switches on, hears each frame once, whichever ports it goes to.
    ///
    /// # Errors
    /// When tcpdump does not start listening within 5 s.
    pub fn start(lab: &Lab, switch: &Namespace, bridge: &str) -> Result<Self> {
        let number = CAPTURES.fetch_add(1, Ordering::Relaxed);
        let file = lab.directory().join(format!("{bridge}-{number}.pcap"));
        let arguments = format!(
            "-i {bridge} -s {SNAP_LENGTH} -B 65536 -U --immediate-mode -Z root -w {}",
            file.display()
        );
        let program = Program {
            namespace: switch.clone(),
            path: "tcpdump".into(),
            arguments: arguments.split_whitespace().map(str::to_owned).collect(),
            environment: Vec::new(),
            log: file.with_extension("log"),
            lasting: false,
        };
        let mut process = Process::start(program)?;
        wait_for("tcpdump", Duration::from_secs(5), || {
            ensure!(process.is_alive(), "{}", process.obituary());
            Ok(process.log().contains("listening on").then_some(()))
        })?;
        Ok(Self { process, file })
    }

    /// Ends the recording and gives the file.
    ///
    /// # Errors
    /// When tcpdump does not end, or when the kernel dropped frames that it should have recorded:
    /// what was not seen cannot be judged.
    pub fn finish(mut self) -> Result<PathBuf> {
        // What crossed the bridge just now is still on its way to the file. Without immediate mode
        // that would take a second, and what is left then would be lost.
        std::thread::sleep(Duration::from_millis(200));
        self.process.stop(Duration::from_secs(10))?;
        let log = self.process.log();
        let dropped = log
            .lines()
            .find_map(|line| line.strip_suffix(" packets dropped by kernel"))
            .and_then(|count| count.trim().parse::<u64>().ok())
            .with_context(|| format!("tcpdump gave no account of itself:\n{log}"))?;
        ensure!(dropped == 0, "the capture missed {dropped} frames");
        Ok(self.file.clone())
    }
}

/// Reads all frames of a capture, in the order in which they were seen.
///
/// # Errors
/// When the file is none that tcpdump wrote.
pub fn frames(file: &Path) -> Result<impl Iterator<Item = Frame>> {
    let records = pcap::records(file)?;
    Ok(records.filter_map(|record| Frame::decode(record.at_us, &record.bytes)))
}
