//! How the rest of the process talks to the store: requests go in without waiting, replies and
//! changes come out of one channel in the order in which the store did things.

use crate::engine::Open;
use crate::etcd::{self, EtcdConfig};
use crate::sqlite::{self, SqliteConfig};
use crate::worker::{self, Request};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::mpsc::{Receiver, channel};
use vipsec_cluster::store::{Change, Entry, Outcome, Revision, StoreError, Transaction};

/// Requests that may wait in the store's queue.
const REQUESTS_MAX: usize = 4096;
/// Replies that may wait for the reader; beyond it the store waits.
const REPLIES_MAX: usize = 4096;

/// Names a request in its reply; chosen by who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// What comes out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// The end of a commit.
    Commit {
        /// Which.
        request: RequestId,
        /// What became of it.
        outcome: Result<Outcome, StoreError>,
    },
    /// The end of a range.
    Range {
        /// Which.
        request: RequestId,
        /// The entries, and the revision at which they stood.
        outcome: Result<(Vec<Entry>, Revision), StoreError>,
    },
    /// What the watch saw, this process's own commits included.
    Changes {
        /// In their order.
        changes: Vec<Change>,
        /// Up to which revision they go.
        up_to: Revision,
    },
    /// The watch cannot go on from where it was (a compacted log, or a store that was replaced or
    /// rolled back): read the range again and watch from there.
    WatchBroken,
    /// The store can be written (again), or not any more. Said at every change, first of all soon
    /// after the start.
    Health(Result<(), StoreError>),
}

/// The store's queue is full, or its thread has ended. Nothing will come of the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the store's queue is full")]
pub struct Busy;

/// How often the thread does what nobody asks it for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// Between two looks for what other processes have committed.
    pub look: Duration,
    /// Between two attempts to write or open a store that failed.
    pub retry: Duration,
    /// Between two compactions.
    pub compact: Duration,
    /// How many revisions the log goes back at least.
    pub keep_revisions: u64,
}

impl Pace {
    /// For etcd, whose history takes room of the whole etcd, and whose next member is tried soon.
    #[must_use]
    pub fn etcd() -> Pace {
        Pace { retry: Duration::from_millis(100), keep_revisions: 1000, ..Pace::default() }
    }
}

impl Default for Pace {
    fn default() -> Pace {
        Pace {
            // Measured: 5 ms cost about 1 % of a CPU, and 20 ms is what is promised.
            look: Duration::from_millis(8),
            retry: Duration::from_millis(250),
            compact: Duration::from_secs(60),
            keep_revisions: 10_000,
        }
    }
}

/// A store on its own thread. Dropping it ends the thread once the queue is done.
#[derive(Debug)]
pub struct Store {
    requests: SyncSender<Request>,
    thread: JoinHandle<()>,
}

impl Store {
    /// Starts a thread for the SQLite store. Whether the file can be opened comes as
    /// [`Reply::Health`]; if it cannot, that is tried again and again.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn sqlite(config: SqliteConfig, pace: Pace) -> std::io::Result<(Store, Receiver<Reply>)> {
        Store::start(sqlite::Opener::new(config), pace)
    }

    /// Starts a thread for the store in an etcd. Whether it can be reached comes as
    /// [`Reply::Health`]; if it cannot, that is tried again and again.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn etcd(config: EtcdConfig, pace: Pace) -> std::io::Result<(Store, Receiver<Reply>)> {
        Store::start(etcd::Opener::new(config), pace)
    }

    /// Starts a thread for any backend.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(opener: impl Open, pace: Pace) -> std::io::Result<(Store, Receiver<Reply>)> {
        let (requests, inbox) = sync_channel(REQUESTS_MAX);
        let (outbox, replies) = channel(REPLIES_MAX);
        let thread = std::thread::Builder::new()
            .name("vipsec-store".to_owned())
            .spawn(move || worker::run(opener, pace, &inbox, outbox))?;
        Ok((Store { requests, thread }, replies))
    }

    /// Commits a transaction, together with whatever else waits.
    ///
    /// # Errors
    /// [`Busy`]
    pub fn commit(&self, request: RequestId, transaction: Transaction) -> Result<(), Busy> {
        self.send(Request::Commit { request, transaction })
    }

    /// Reads all entries whose key begins with `prefix`, after all commits asked for before.
    ///
    /// # Errors
    /// [`Busy`]
    pub fn range(&self, request: RequestId, prefix: impl Into<String>) -> Result<(), Busy> {
        self.send(Request::Range { request, prefix: prefix.into() })
    }

    /// Tells all changes after `after` from now on; a second call replaces the first.
    ///
    /// # Errors
    /// [`Busy`]
    pub fn watch(&self, after: Revision) -> Result<(), Busy> {
        self.send(Request::Watch { after })
    }

    /// Does what is queued, puts the store in order, and ends the thread. Replies that were not
    /// taken yet are lost.
    pub fn stop(self, replies: Receiver<Reply>) {
        let Store { requests, thread } = self;
        let _ = requests.send(Request::Stop);
        drop((requests, replies));
        if thread.join().is_err() {
            tracing::error!("the store's thread has panicked");
        }
    }

    fn send(&self, request: Request) -> Result<(), Busy> {
        self.requests.try_send(request).map_err(|error| match error {
            TrySendError::Full(_) | TrySendError::Disconnected(_) => Busy,
        })
    }
}
