//! One run of the lab: its name, its directory, its namespaces, and the promise that all of it is
//! gone afterwards.
//!
//! Names carry the process that made them (`vl<pid>-client`), so that a later run can tell what
//! is left of a dead one. A file lock keeps two labs of one machine from running at once: they
//! would not collide, but they would measure each other.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, Once, PoisonError};
use std::{env, process, thread};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::command;
use crate::disk;
use crate::netns::Namespace;

const PREFIX: &str = "vl";
const LOCK: &str = "/run/lock/vipsec-lab.lock";
const KEEP: &str = "keep";

/// The labs of this process that are to be taken down when it is told to end.
static RUNNING: Mutex<Vec<(String, PathBuf)>> = Mutex::new(Vec::new());
static COUNTER: AtomicU32 = AtomicU32::new(0);
static SIGNALS: Once = Once::new();

/// A running lab. Dropping it takes everything down.
#[derive(Debug)]
pub struct Lab {
    prefix: String,
    directory: PathBuf,
    kept: bool,
    _lock: File,
}

impl Lab {
    /// Starts an empty lab: waits for other labs to end, reaps what dead ones left.
    ///
    /// # Errors
    /// When not run as root, or when the directory cannot be made.
    pub fn start() -> Result<Self> {
        if !is_root() {
            bail!("the lab makes network namespaces and must be run as root");
        }
        let lock = File::create(LOCK).with_context(|| format!("cannot open {LOCK}"))?;
        lock.lock().with_context(|| format!("cannot lock {LOCK}"))?;
        SIGNALS.call_once(take_down_on_signals);
        reap(false)?;
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let prefix = format!("{PREFIX}{}n{number}", process::id());
        let directory = env::temp_dir().join(format!("vipsec-lab-{prefix}"));
        fs::create_dir_all(&directory)
            .with_context(|| format!("cannot make {}", directory.display()))?;
        running().push((prefix.clone(), directory.clone()));
        Ok(Self { prefix, directory, kept: false, _lock: lock })
    }

    /// Adds a namespace for the given role.
    ///
    /// # Errors
    /// When `ip` fails.
    pub fn namespace(&self, role: &str) -> Result<Namespace> {
        Namespace::create(&self.prefix, role)
    }

    /// Where configuration, logs and records of this run stand.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// A directory inside [`Self::directory`], made if need be.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn subdirectory(&self, name: &str) -> Result<PathBuf> {
        let path = self.directory.join(name);
        fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(path)
    }

    /// Leaves the lab up when this value is dropped, unless by a panic; `reap(true)` removes it
    /// later. To be called before any process is started.
    ///
    /// # Errors
    /// When the mark cannot be written.
    pub fn keep(&mut self) -> Result<()> {
        fs::write(self.directory.join(KEEP), "kept by its user\n")?;
        self.kept = true;
        Ok(())
    }

    /// Copies all logs and records to a place that outlives the lab, and says where.
    pub fn save_logs(&self) {
        save_logs(&self.directory);
    }

    /// Whether it stays up.
    #[must_use]
    pub fn is_kept(&self) -> bool {
        self.kept
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        running().retain(|(prefix, _)| *prefix != self.prefix);
        if self.kept && !thread::panicking() {
            return;
        }
        if thread::panicking() {
            save_logs(&self.directory);
        }
        take_down(&self.prefix, &self.directory);
    }
}

/// Whether this process may make a lab.
#[must_use]
pub fn is_root() -> bool {
    geteuid().is_root()
}

/// Removes what runs left behind whose process is gone. With `kept_too`, also those that were
/// left up on purpose.
///
/// # Errors
/// When the namespaces cannot be listed.
pub fn reap(kept_too: bool) -> Result<usize> {
    let mut prefixes: Vec<String> = Vec::new();
    for line in command::run("ip netns list")?.lines() {
        let name = line.split_whitespace().next().unwrap_or_default();
        if let Some((prefix, _)) = name.split_once('-') {
            prefixes.push(prefix.to_owned());
        }
    }
    for entry in fs::read_dir(env::temp_dir())?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        prefixes.extend(name.strip_prefix("vipsec-lab-").map(str::to_owned));
    }
    prefixes.sort_unstable();
    prefixes.dedup();
    prefixes.retain(|prefix| is_of_a_dead_run(prefix));
    let mut reaped = 0;
    for prefix in prefixes {
        let directory = env::temp_dir().join(format!("vipsec-lab-{prefix}"));
        if kept_too || !directory.join(KEEP).exists() {
            take_down(&prefix, &directory);
            reaped += 1;
        }
    }
    Ok(reaped)
}

fn is_of_a_dead_run(prefix: &str) -> bool {
    let Some((pid, number)) = prefix.strip_prefix(PREFIX).and_then(|rest| rest.split_once('n'))
    else {
        return false;
    };
    let numbers = pid.parse::<u32>().is_ok() && number.parse::<u32>().is_ok();
    numbers && !Path::new("/proc").join(pid).exists()
}

/// Kills what runs in the namespaces of `prefix`, deletes them and the directory. Says what it
/// cannot do, and goes on: a half-done clean-up is worse than a noisy one.
fn take_down(prefix: &str, directory: &Path) {
    let listed = command::run("ip netns list").unwrap_or_default();
    let names = listed.lines().filter_map(|line| line.split_whitespace().next());
    for name in names.filter(|name| name.split_once('-').is_some_and(|(head, _)| head == prefix)) {
        let inside = command::run(&format!("ip netns pids {name}")).unwrap_or_default();
        for pid in inside.split_whitespace().filter_map(|pid| pid.parse().ok()) {
            // It may have ended since it was listed.
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        if let Err(error) = command::run(&format!("ip netns delete {name}")) {
            eprintln!("lab: {error:#}");
        }
    }
    disk::unmount_all(directory);
    if directory.exists()
        && let Err(error) = fs::remove_dir_all(directory)
    {
        eprintln!("lab: cannot remove {}: {error}", directory.display());
    }
}

/// Keeps the logs of a failed run where they can be read afterwards.
fn save_logs(directory: &Path) {
    let kept = env::temp_dir().join("vipsec-lab-failure");
    let name = directory.file_name().unwrap_or_default();
    let target = kept.join(name);
    // Only the last failure is kept.
    let _ = fs::remove_dir_all(&kept);
    let copied = fs::create_dir_all(&kept).map_err(anyhow::Error::from).and_then(|()| {
        command::run(&format!("cp -r {} {}", directory.display(), target.display()))
    });
    match copied {
        Ok(_) => eprintln!("lab: the logs of this run are in {}", target.display()),
        Err(error) => eprintln!("lab: {error:#}"),
    }
}

fn take_down_on_signals() {
    let mut signals = match Signals::new([SIGINT, SIGTERM, SIGHUP]) {
        Ok(signals) => signals,
        Err(error) => {
            eprintln!("lab: cannot listen for signals: {error}");
            return;
        }
    };
    thread::spawn(move || {
        if let Some(signal) = signals.forever().next() {
            eprintln!("lab: taking everything down");
            let labs = std::mem::take(&mut *running());
            for (prefix, directory) in labs {
                take_down(&prefix, &directory);
            }
            process::exit(128 + signal);
        }
    });
}

fn running() -> std::sync::MutexGuard<'static, Vec<(String, PathBuf)>> {
    RUNNING.lock().unwrap_or_else(PoisonError::into_inner)
}
