//! The directory of what a node must remember across its processes: the floors, by which it knows a
//! store that was rolled back, what it has protected beyond its configuration, and when it has
//! started lately.

use super::RunError;
use crate::config::address;
use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;
use vipsec_cluster::Floor;
use vipsec_cluster::store::Revision;
use vipsec_dataplane::Prefix;
use vipsec_wire::id::{Epoch, Vip};
use vipsec_wire::time::Timestamp;

/// Starts within this time count as recent.
const RECENT: Duration = Duration::from_secs(60);
/// Starts that are remembered.
const STARTS: usize = 16;
/// How long a predecessor that is just ending is waited for.
const PREDECESSOR: Duration = Duration::from_secs(2);

/// The directory, held for this process alone.
#[derive(Debug)]
pub(super) struct StateDir {
    path: PathBuf,
    floors: BTreeMap<Vip, Floor>,
    protected: Vec<Prefix>,
    _lock: File,
}

impl StateDir {
    /// Opens the directory, makes it if need be, and reads the floors.
    pub(super) fn open(path: &Path) -> Result<StateDir, RunError> {
        let failed = |what| move |source| RunError::State { path: path.to_owned(), what, source };
        fs::create_dir_all(path).map_err(failed("the directory cannot be made"))?;
        let lock = File::create(path.join("lock")).map_err(failed("cannot be written"))?;
        take(&lock).map_err(failed("another vipsec uses this directory"))?;
        let floors = read_floors(&path.join("floors"))?;
        let protected = read_protected(&path.join("protected"))?;
        Ok(StateDir { path: path.to_owned(), floors, protected, _lock: lock })
    }

    /// What earlier processes have protected beyond the configuration.
    pub(super) fn protected(&self) -> &[Prefix] {
        &self.protected
    }

    /// Adds to what stays protected, and has it on disk when it returns.
    pub(super) fn note_protected(&self, prefixes: &[Prefix]) -> io::Result<()> {
        if prefixes.is_empty() {
            return Ok(());
        }
        let path = self.path.join("protected");
        let mut file = File::options().append(true).create(true).open(path)?;
        let lines = prefixes.iter().map(|prefix| format!("{prefix}\n"));
        file.write_all(lines.collect::<String>().as_bytes())?;
        file.sync_all()
    }

    /// Forgets what was protected beyond the configuration.
    pub(super) fn forget_protected(&self) -> io::Result<()> {
        match fs::remove_file(self.path.join("protected")) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// How far this node has known the stores to be.
    pub(super) fn floors(&self) -> &BTreeMap<Vip, Floor> {
        &self.floors
    }

    /// Raises a floor, and has it on disk when it returns. Floors never fall.
    pub(super) fn raise_floor(&mut self, vip: Vip, floor: Floor) -> io::Result<()> {
        let known = self.floors.entry(vip).or_default();
        if floor <= *known {
            return Ok(());
        }
        *known = floor;
        let line =
            |(vip, floor): (&Vip, &Floor)| format!("{vip} {} {}\n", floor.epoch, floor.revision.0);
        let lines = self.floors.iter().map(line);
        write_durably(&self.path, "floors", &lines.collect::<String>())
    }

    /// Notes a start and says how many there were lately, this one not counted.
    pub(super) fn note_start(&self, now: Timestamp) -> io::Result<u32> {
        let text = fs::read_to_string(self.path.join("starts")).unwrap_or_default();
        let earlier: Vec<u64> = text.lines().filter_map(|line| line.parse().ok()).collect();
        let recent = earlier.iter().filter(|at| now.since(Timestamp(**at)) < RECENT).count();
        let kept = earlier.iter().rev().take(STARTS - 1).rev();
        let lines = kept.chain([&now.0]).map(|at| format!("{at}\n"));
        write_durably(&self.path, "starts", &lines.collect::<String>())?;
        Ok(u32::try_from(recent).unwrap_or(u32::MAX))
    }

    /// A number for this process, greater than that of every earlier one of this node: the time of
    /// its start, unless the clock has gone back since an earlier start.
    pub(super) fn incarnation(&self, now: Timestamp) -> u64 {
        let text = fs::read_to_string(self.path.join("starts")).unwrap_or_default();
        let latest = text.lines().filter_map(|line| line.parse::<u64>().ok()).max();
        latest.map_or(now.0, |latest| now.0.max(latest.saturating_add(1)))
    }
}

fn take(lock: &File) -> io::Result<()> {
    let step = Duration::from_millis(10);
    let mut waited = Duration::ZERO;
    loop {
        match lock.try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::WouldBlock) if waited < PREDECESSOR => {
                std::thread::sleep(step);
                waited += step;
            }
            Err(TryLockError::WouldBlock) => return Err(io::ErrorKind::WouldBlock.into()),
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
}

/// A file of the directory; one that is not there is empty.
fn read(path: &Path) -> Result<String, RunError> {
    match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        read => read.map_err(|source| RunError::State {
            path: path.to_owned(),
            what: "cannot be read",
            source,
        }),
    }
}

/// What a power cut has left of a last line is none: its SA was not installed yet.
fn read_protected(path: &Path) -> Result<Vec<Prefix>, RunError> {
    let text = read(path)?;
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    let prefix = |(number, line): (usize, &str)| {
        let prefix: Option<address::Prefix> = line.parse().ok();
        prefix
            .and_then(|prefix| Prefix::new(prefix.address(), prefix.length()))
            .ok_or_else(|| RunError::Protected { path: path.to_owned(), line: number })
    };
    (1..).zip(whole.lines()).map(prefix).collect()
}

/// Lines `VIP EPOCH REVISION`.
fn read_floors(path: &Path) -> Result<BTreeMap<Vip, Floor>, RunError> {
    let text = read(path)?;
    let read = |line: &str| {
        let (vip, floor) = line.split_once(' ')?;
        let (epoch, revision) = floor.split_once(' ')?;
        let (epoch, revision) = (Epoch(epoch.parse().ok()?), Revision(revision.parse().ok()?));
        Some((Vip(vip.parse().ok()?), Floor { epoch, revision }))
    };
    let lines = (1..).zip(text.lines());
    let floor = |(number, line)| {
        read(line).ok_or_else(|| RunError::Floors { path: path.to_owned(), line: number })
    };
    lines.map(floor).collect()
}

/// Replaces a file as a whole: after a power cut it holds the old text or the new one.
fn write_durably(directory: &Path, name: &str, text: &str) -> io::Result<()> {
    let draft = directory.join(format!("{name}.new"));
    let mut file = File::create(&draft)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&draft, directory.join(name))?;
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vip(text: &str) -> Vip {
        Vip(text.parse().expect("an address"))
    }

    #[test]
    fn floors_survive_and_never_fall() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("state");
        let mut state = StateDir::open(&path).expect("opened");
        assert!(state.floors().is_empty());
        let floor = |epoch, revision| Floor { epoch: Epoch(epoch), revision: Revision(revision) };
        state.raise_floor(vip("192.0.2.10"), floor(7, 100)).expect("written");
        state.raise_floor(vip("192.0.2.10"), floor(7, 120)).expect("written");
        state.raise_floor(vip("2001:db8::1"), floor(2, 9)).expect("written");
        state.raise_floor(vip("192.0.2.10"), floor(5, 300)).expect("nothing to do");
        drop(state);
        let state = StateDir::open(&path).expect("opened");
        let floors: Vec<_> = state.floors().iter().map(|(vip, floor)| (*vip, *floor)).collect();
        let expected = [(vip("192.0.2.10"), floor(7, 120)), (vip("2001:db8::1"), floor(2, 9))];
        assert_eq!(floors, expected);
    }

    #[test]
    fn what_was_protected_stays_so_until_it_is_forgotten() {
        let dir = tempfile::tempdir().expect("a directory");
        let prefix = |text: &str| Prefix::host(text.parse().expect("an address"));
        let state = StateDir::open(dir.path()).expect("opened");
        state.note_protected(&[prefix("192.0.2.1")]).expect("written");
        state.note_protected(&[prefix("2001:db8::7")]).expect("written");
        drop(state);
        let file = dir.path().join("protected");
        let text = fs::read_to_string(&file).expect("there");
        fs::write(&file, text.clone() + "198.51.10").expect("a power cut");
        let state = StateDir::open(dir.path()).expect("opened");
        assert_eq!(state.protected(), [prefix("192.0.2.1"), prefix("2001:db8::7")]);
        state.forget_protected().expect("removed");
        drop(state);
        assert!(StateDir::open(dir.path()).expect("opened").protected().is_empty());
        fs::write(&file, text + "anything\n").expect("written");
        let why = StateDir::open(dir.path()).expect_err("unreadable").to_string();
        assert!(why.contains("protected: line 3 is no prefix"), "{why}");
    }

    #[test]
    fn a_floor_file_that_makes_no_sense_is_not_passed_over() {
        let dir = tempfile::tempdir().expect("a directory");
        fs::write(dir.path().join("floors"), "192.0.2.10 7 100\nhello\n").expect("written");
        let why = StateDir::open(dir.path()).expect_err("unreadable").to_string();
        assert!(why.contains("floors: line 2 is no floor"), "{why}");
    }

    #[test]
    fn recent_starts_are_counted_and_incarnations_grow() {
        let dir = tempfile::tempdir().expect("a directory");
        let state = StateDir::open(dir.path()).expect("opened");
        let at = |seconds: u64| Timestamp(1_000_000_000_000 + seconds * 1_000_000);
        assert_eq!(state.incarnation(at(0)), at(0).0);
        assert_eq!(state.note_start(at(0)).expect("noted"), 0);
        assert_eq!(state.note_start(at(30)).expect("noted"), 1);
        assert_eq!(state.note_start(at(59)).expect("noted"), 2);
        assert_eq!(state.note_start(at(95)).expect("noted"), 1);
        assert!(state.incarnation(at(10)) > at(95).0, "the clock went back");
    }

    #[test]
    fn the_directory_is_one_process_s() {
        let dir = tempfile::tempdir().expect("a directory");
        let _first = StateDir::open(dir.path()).expect("opened");
        let why = crate::explain(&StateDir::open(dir.path()).expect_err("held"));
        assert!(why.contains("another vipsec uses this directory"), "{why}");
    }
}
