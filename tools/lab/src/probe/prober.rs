//! The lab's side of a prober: its process in a namespace, and its records when it has ended.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::recorder::STARTED;
use crate::binaries::binaries;
use crate::command::wait_for;
use crate::flow::FlowRecord;
use crate::netns::Namespace;
use crate::process::{Process, Program};
use crate::run::Lab;

/// A running prober.
#[derive(Debug)]
pub struct Prober {
    name: String,
    process: Process,
    record: PathBuf,
}

impl Prober {
    /// Starts a prober in a namespace: `line` is a flow and its options, as the command line of
    /// `vipsec-lab-probe` takes them.
    ///
    /// # Errors
    /// When the program does not compile or cannot be started.
    pub fn start(lab: &Lab, namespace: &Namespace, name: &str, line: &str) -> Result<Self> {
        let directory = lab.subdirectory("probes")?;
        let record = directory.join(format!("{name}.json"));
        let mut arguments = vec!["--record".to_owned(), record.to_string_lossy().into_owned()];
        arguments.extend(["--name".to_owned(), name.to_owned()]);
        arguments.extend(line.split_whitespace().map(str::to_owned));
        let process = Process::start(Program {
            namespace: namespace.clone(),
            path: binaries()?.probe,
            arguments,
            environment: Vec::new(),
            log: directory.join(format!("{name}.log")),
            lasting: lab.is_kept(),
        })?;
        Ok(Self { name: name.to_owned(), process, record })
    }

    /// Where it tells what happens while it runs.
    #[must_use]
    pub fn log_path(&self) -> PathBuf {
        self.process.log_path().to_owned()
    }

    /// Waits until `flows` flows of this prober have got their first answer.
    ///
    /// # Errors
    /// When the prober has ended, or after 30 s.
    pub fn wait_until_flowing(&mut self, flows: usize) -> Result<()> {
        wait_for(&format!("{} to flow", self.name), Duration::from_secs(30), || {
            ensure!(self.process.is_alive(), "{}: {}", self.name, self.process.obituary());
            let log = self.process.log();
            let started = log.lines().filter(|line| line.ends_with(STARTED)).count();
            Ok((started >= flows).then_some(()))
        })
        .with_context(|| self.process.obituary())
    }

    /// Asks it to end and reads its records.
    ///
    /// # Errors
    /// When it has failed or left no records.
    pub fn finish(mut self) -> Result<Vec<FlowRecord>> {
        let status = self.process.stop(Duration::from_secs(20))?;
        ensure!(status.success(), "{}: {}", self.name, self.process.obituary());
        FlowRecord::read(&self.record).with_context(|| format!("prober {}", self.name))
    }
}
