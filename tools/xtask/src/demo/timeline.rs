//! The live timeline: what the probers tell, what the client does in IKE, and what the demo does,
//! on one clock.

use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use vipsec_lab::clock::now_us;
use vipsec_lab::strongswan::exchanges;

/// How often the logs are looked at.
const GLANCE: Duration = Duration::from_millis(50);

/// Prints what happens, with seconds since the start.
#[derive(Debug)]
pub(super) struct Timeline {
    origin_us: u64,
    probes: Vec<PathBuf>,
    client_log: PathBuf,
    read: HashMap<PathBuf, usize>,
}

impl Timeline {
    pub(super) fn new() -> Self {
        Self {
            origin_us: now_us(),
            probes: Vec::new(),
            client_log: PathBuf::new(),
            read: HashMap::new(),
        }
    }

    /// Follows the logs of probers and of the client from now on.
    pub(super) fn follow(&mut self, probes: Vec<PathBuf>, client_log: PathBuf) {
        self.probes = probes;
        self.client_log = client_log;
    }

    /// Prints something that happens now.
    pub(super) fn say(&self, text: &str) {
        self.print(now_us(), text);
    }

    /// Lets time pass and prints what happens meanwhile.
    pub(super) fn watch(&mut self, time: Duration) {
        let end = now_us() + u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        while now_us() < end {
            self.glance();
            thread::sleep(GLANCE);
        }
        self.glance();
    }

    /// Prints what has happened since the last look.
    pub(super) fn glance(&mut self) {
        let mut news = Vec::new();
        for path in self.probes.clone() {
            for line in self.new_lines(&path).lines() {
                if let Some((at, text)) = line.split_once(' ')
                    && let Ok(at_us) = at.parse::<u64>()
                {
                    news.push((at_us, text.to_owned()));
                }
            }
        }
        let log = self.new_lines(&self.client_log.clone());
        for (kind, count) in exchanges(&log) {
            news.push((now_us(), format!("client: {count} × {kind}")));
        }
        news.sort();
        for (at_us, text) in news {
            self.print(at_us, &text);
        }
    }

    fn new_lines(&mut self, path: &PathBuf) -> String {
        let bytes = fs::read(path).unwrap_or_default();
        let read = self.read.entry(path.clone()).or_default();
        let new = bytes.get(*read..).unwrap_or_default();
        // Half a line is left for the next look.
        let whole = new.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
        *read += whole;
        String::from_utf8_lossy(&new[..whole]).into_owned()
    }

    fn print(&self, at_us: u64, text: &str) {
        let since_us = at_us.saturating_sub(self.origin_us);
        println!("{:>4}.{:03} s  {text}", since_us / 1_000_000, since_us / 1_000 % 1_000);
    }
}
