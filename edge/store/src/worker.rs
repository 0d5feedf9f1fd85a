//! The thread: takes what is queued, commits it together, looks for changes of others, opens what
//! was lost.

use crate::engine::{Engine, Open};
use crate::handle::{Pace, Reply, RequestId};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Instant;
use tokio::sync::mpsc::Sender;
use vipsec_cluster::store::{Backend, Changes, Outcome, Revision, StoreError, Transaction};

/// Most transactions in one commit.
const BATCH_MAX: usize = 512;
/// About how many changes are told at once.
const CHANGES_MAX: usize = 512;

#[derive(Debug)]
pub(crate) enum Request {
    Commit { request: RequestId, transaction: Transaction },
    Range { request: RequestId, prefix: String },
    Watch { after: Revision },
    Stop,
}

/// Why the loop ends: asked to, or nobody listens any more.
struct Ended;

pub(crate) fn run<O: Open>(opener: O, pace: Pace, inbox: &Receiver<Request>, out: Sender<Reply>) {
    let mut worker = Worker::new(opener, pace, out);
    let _ = worker.idle();
    while worker.turn(inbox).is_ok() {}
    if let Some(engine) = &mut worker.engine {
        engine.settle();
    }
}

struct Worker<O: Open> {
    opener: O,
    engine: Option<O::Engine>,
    pace: Pace,
    out: Sender<Reply>,
    /// What was said last; `None` before anything was.
    health: Option<Result<(), StoreError>>,
    /// It was full, and nothing of size has been written since: that something tiny can be written
    /// says nothing.
    is_full: bool,
    /// The watch is told up to here.
    followed: Option<Revision>,
    next_look: Instant,
    next_retry: Instant,
    next_compaction: Instant,
}

impl<O: Open> Worker<O> {
    fn new(opener: O, pace: Pace, out: Sender<Reply>) -> Worker<O> {
        let now = Instant::now();
        Worker {
            opener,
            engine: None,
            pace,
            out,
            health: None,
            is_full: false,
            followed: None,
            next_look: now,
            next_retry: now,
            next_compaction: now + pace.compact,
        }
    }

    fn turn(&mut self, inbox: &Receiver<Request>) -> Result<(), Ended> {
        let wait = match (&self.engine, self.followed) {
            (Some(_), Some(_)) => self.next_look.saturating_duration_since(Instant::now()),
            _ => self.pace.retry,
        };
        match inbox.recv_timeout(wait) {
            Ok(first) => {
                let mut queue = vec![first];
                queue.extend(inbox.try_iter().take(BATCH_MAX - 1));
                self.serve(queue)?;
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Err(Ended),
        }
        self.idle()
    }

    fn serve(&mut self, queue: Vec<Request>) -> Result<(), Ended> {
        let mut batch = Vec::new();
        for request in queue {
            if let Request::Commit { request, transaction } = request {
                batch.push((request, transaction));
                continue;
            }
            self.commit(core::mem::take(&mut batch))?;
            match request {
                Request::Range { request, prefix } => self.range(request, &prefix)?,
                Request::Watch { after } => {
                    self.followed = Some(after);
                    self.tell_changes()?;
                }
                Request::Commit { .. } | Request::Stop => return Err(Ended),
            }
        }
        self.commit(batch)
    }

    fn commit(&mut self, batch: Vec<(RequestId, Transaction)>) -> Result<(), Ended> {
        if batch.is_empty() {
            return Ok(());
        }
        let (names, transactions): (Vec<_>, Vec<_>) = batch.into_iter().unzip();
        let outcomes = self.commit_all(&transactions);
        for (request, outcome) in names.into_iter().zip(outcomes) {
            self.say(Reply::Commit { request, outcome })?;
        }
        self.tell_changes()
    }

    fn commit_all(&mut self, batch: &[Transaction]) -> Vec<Result<Outcome, StoreError>> {
        match self.attempt(batch) {
            Ok(outcomes) => outcomes.into_iter().map(Ok).collect(),
            // One that does not fit must not take the others with it, least of all deletions.
            Err(StoreError::Full | StoreError::TooLarge(_)) if batch.len() > 1 => {
                batch.iter().map(|one| self.commit_single(one)).collect()
            }
            Err(error) => vec![Err(error); batch.len()],
        }
    }

    fn commit_single(&mut self, one: &Transaction) -> Result<Outcome, StoreError> {
        let outcomes = self.attempt(core::slice::from_ref(one))?;
        let missing = || StoreError::Failed("no outcome for a transaction".to_owned());
        outcomes.into_iter().next().ok_or_else(missing)
    }

    fn attempt(&mut self, batch: &[Transaction]) -> Result<Vec<Outcome>, StoreError> {
        // A lock that was waited for in vain once is not waited for by every request.
        if let Some(Err(StoreError::Locked)) = self.health {
            return Err(StoreError::Locked);
        }
        let Some(engine) = &mut self.engine else { return Err(self.why_down()) };
        let outcome = engine.commit(batch);
        match &outcome {
            Ok(outcomes) => {
                let has_written = |one: &Outcome| matches!(one, Outcome::Committed(_));
                if !self.is_full || outcomes.iter().any(has_written) {
                    self.is_full = false;
                    self.set_health(Ok(()));
                }
            }
            Err(error) => self.failed(error),
        }
        outcome
    }

    fn why_down(&self) -> StoreError {
        match &self.health {
            Some(Err(error)) if !error.is_ambiguous() => error.clone(),
            _ => StoreError::Failed("not open".to_owned()),
        }
    }

    fn range(&mut self, request: RequestId, prefix: &str) -> Result<(), Ended> {
        let outcome = match &mut self.engine {
            Some(engine) => engine.range(prefix),
            None => Err(self.why_down()),
        };
        if let Err(error) = &outcome
            && self.engine.is_some()
        {
            self.failed(error);
        }
        self.say(Reply::Range { request, outcome })
    }

    /// Full, locked and too large are no reason to open the store again; everything else is.
    fn failed(&mut self, error: &StoreError) {
        match error {
            StoreError::TooLarge(_) => return,
            StoreError::Full => self.is_full = true,
            StoreError::Locked => {}
            _ => self.engine = None,
        }
        self.next_retry = Instant::now() + self.pace.retry;
        self.set_health(Err(error.clone()));
    }

    fn set_health(&mut self, health: Result<(), StoreError>) {
        if self.health.as_ref() == Some(&health) {
            return;
        }
        match &health {
            Ok(()) => tracing::info!("the store can be written"),
            Err(error) => tracing::warn!(%error, "the store cannot be written"),
        }
        self.health = Some(health.clone());
        // Nobody listening is noticed by the loop.
        let _ = self.say(Reply::Health(health));
    }

    fn idle(&mut self) -> Result<(), Ended> {
        let now = Instant::now();
        if self.health != Some(Ok(())) && now >= self.next_retry {
            self.next_retry = now + self.pace.retry;
            self.recover()?;
        }
        if now >= self.next_look {
            self.next_look = now + self.pace.look;
            self.look()?;
        }
        if now >= self.next_compaction {
            self.next_compaction = now + self.pace.compact;
            self.compact();
        }
        if self.out.is_closed() { Err(Ended) } else { Ok(()) }
    }

    fn recover(&mut self) -> Result<(), Ended> {
        let was_lost = self.engine.is_none();
        match self.recovered() {
            Ok(()) => {
                self.is_full = false;
                self.set_health(Ok(()));
            }
            Err(error) => self.failed(&error),
        }
        // Whether it is the store that it was is for the reader to find out.
        if was_lost && self.engine.is_some() { self.break_watch() } else { Ok(()) }
    }

    /// Tries whether writing works, with a store that is opened anew when it was lost. A full one can
    /// be read.
    fn recovered(&mut self) -> Result<(), StoreError> {
        let is_full = self.is_full;
        let probe = |engine: &mut O::Engine| match is_full {
            true => engine.probe_room(),
            false => engine.probe(),
        };
        if let Some(engine) = &mut self.engine {
            return probe(engine);
        }
        let mut engine = self.opener.open()?;
        let outcome = probe(&mut engine);
        if matches!(outcome, Ok(()) | Err(StoreError::Full)) {
            self.engine = Some(engine);
        }
        outcome
    }

    fn look(&mut self) -> Result<(), Ended> {
        let (Some(engine), Some(_)) = (&mut self.engine, self.followed) else { return Ok(()) };
        match engine.changed() {
            Ok(false) => Ok(()),
            Ok(true) => self.tell_changes(),
            Err(error) => {
                self.failed(&error);
                Ok(())
            }
        }
    }

    fn tell_changes(&mut self) -> Result<(), Ended> {
        while let (Some(engine), Some(after)) = (&mut self.engine, self.followed) {
            match engine.changes_since(after, CHANGES_MAX) {
                Ok(Changes::Some { changes, up_to, more }) => {
                    self.followed = Some(up_to);
                    if !changes.is_empty() {
                        self.say(Reply::Changes { changes, up_to })?;
                    }
                    if !more {
                        break;
                    }
                }
                Ok(Changes::Compacted) => self.break_watch()?,
                Err(error) => {
                    self.failed(&error);
                    break;
                }
            }
        }
        Ok(())
    }

    fn break_watch(&mut self) -> Result<(), Ended> {
        match self.followed.take() {
            Some(_) => self.say(Reply::WatchBroken),
            None => Ok(()),
        }
    }

    fn compact(&mut self) {
        let Some(engine) = &mut self.engine else { return };
        let keep = self.pace.keep_revisions;
        let up_to = engine.revision().map(|last| Revision(last.0.saturating_sub(keep)));
        let done = up_to.and_then(|up_to| match up_to {
            Revision(0) => Ok(()),
            up_to => engine.compact(up_to),
        });
        if let Err(error) = done {
            tracing::warn!(%error, "the store could not be compacted");
        }
    }

    fn say(&self, reply: Reply) -> Result<(), Ended> {
        self.out.blocking_send(reply).map_err(|_| Ended)
    }
}
