//! A program that runs in a namespace for the length of a test: started, watched, killed, started
//! again.

use std::fs::{self, File, OpenOptions};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::command::wait_for;
use crate::netns::Namespace;

/// What to run: kept, so that it can be started again.
#[derive(Debug, Clone)]
pub struct Program {
    /// Where it runs.
    pub namespace: Namespace,
    /// Path of the executable.
    pub path: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Additions to its environment.
    pub environment: Vec<(String, String)>,
    /// Standard output and error are appended here.
    pub log: PathBuf,
    /// Whether it goes on when this process ends.
    pub lasting: bool,
}

/// A started [`Program`]. Dropping it kills it, unless it is lasting.
#[derive(Debug)]
pub struct Process {
    program: Program,
    child: Child,
}

impl Process {
    /// Starts the program.
    ///
    /// # Errors
    /// When its log cannot be opened or it cannot be started.
    pub fn start(program: Program) -> Result<Self> {
        let child = spawn(&program)?;
        Ok(Self { program, child })
    }

    /// Its process identifier; `ip netns exec` and `setpriv` replace themselves, so it is that of
    /// the program itself.
    #[must_use]
    pub fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).expect("process identifiers are small"))
    }

    /// Whether it still runs.
    pub fn is_alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Kills it with SIGKILL and waits until the kernel has buried it.
    ///
    /// # Errors
    /// When it cannot be waited for.
    pub fn kill(&mut self) -> Result<()> {
        // An error means that it has ended already.
        let _ = self.child.kill();
        self.child.wait().context("cannot wait for a killed process")?;
        Ok(())
    }

    /// Asks it to end with SIGTERM and waits up to `limit`.
    ///
    /// # Errors
    /// When it does not end in time; it is killed then.
    pub fn stop(&mut self, limit: Duration) -> Result<ExitStatus> {
        self.signal_to_end()?;
        self.wait_for_end(limit)
    }

    /// Asks it to end with SIGTERM. One that has ended already is left alone.
    ///
    /// # Errors
    /// When the signal cannot be sent.
    pub fn signal_to_end(&mut self) -> Result<()> {
        self.signal(Signal::SIGTERM)
    }

    /// Stops it as a debugger would, without its knowing.
    ///
    /// # Errors
    /// When the signal cannot be sent.
    pub fn suspend(&mut self) -> Result<()> {
        self.signal(Signal::SIGSTOP)
    }

    /// Lets it go on after [`Self::suspend`].
    ///
    /// # Errors
    /// When the signal cannot be sent.
    pub fn resume(&mut self) -> Result<()> {
        self.signal(Signal::SIGCONT)
    }

    /// Waits up to `limit` until it has ended.
    ///
    /// # Errors
    /// When it does not end in time; it is killed then.
    pub fn wait_for_end(&mut self, limit: Duration) -> Result<ExitStatus> {
        let name = self.program.path.display().to_string();
        let ended = wait_for(&format!("{name} to end"), limit, || Ok(self.child.try_wait()?));
        if ended.is_err() {
            self.kill()?;
        }
        ended
    }

    fn signal(&mut self, signal: Signal) -> Result<()> {
        if self.is_alive() {
            kill(self.pid(), signal).with_context(|| format!("cannot send {signal}"))?;
        }
        Ok(())
    }

    /// Starts the same program again, after it has ended.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start_again(&mut self) -> Result<()> {
        self.child = spawn(&self.program)?;
        Ok(())
    }

    /// The log so far.
    #[must_use]
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.program.log).unwrap_or_default()).into_owned()
    }

    /// Path of the log.
    #[must_use]
    pub fn log_path(&self) -> &Path {
        &self.program.log
    }

    /// What to say of a process that should be alive and is not.
    pub fn obituary(&mut self) -> String {
        let status = match self.child.try_wait() {
            Ok(Some(status)) => match status.signal() {
                Some(signal) => format!("killed by signal {signal}"),
                None => format!("ended with {status}"),
            },
            _ => "alive".to_owned(),
        };
        let log = self.log();
        let tail: Vec<&str> = log.lines().rev().take(15).collect();
        let tail: Vec<&str> = tail.into_iter().rev().collect();
        format!("{} {status}; its log ends:\n{}", self.program.path.display(), tail.join("\n"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.program.lasting {
            let _ = self.kill();
        }
    }
}

fn spawn(program: &Program) -> Result<Child> {
    let path = program.path.to_string_lossy();
    let mut command = if program.lasting {
        program.namespace.lasting_command(&path)
    } else {
        program.namespace.command(&path)
    };
    let log = open_log(&program.log)?;
    command
        .args(&program.arguments)
        .envs(program.environment.iter().cloned())
        .stdin(Stdio::null())
        .stdout(log.try_clone().context("cannot share a log")?)
        .stderr(log);
    command.spawn().with_context(|| format!("cannot start {path}"))
}

fn open_log(path: &Path) -> Result<File> {
    OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .with_context(|| format!("cannot open {}", path.display()))
}
