//! etcd (API version 3) as a store: for candidates on several machines.
//!
//! Guarantees: a commit is in the logs of most members, on their disks, when it is confirmed; a read
//! is linearizable and sees all that was confirmed before, whichever member answers it. With most
//! members gone nothing can be read or written. The revision is that of the last transaction here, in
//! etcd's own count, which others who use the same etcd move on, too; that they write never makes a
//! store that was put back look newer.
//!
//! One member is talked to at a time. When it fails, the next takes its place; what was being
//! committed is then [`StoreError::Ambiguous`], for the caller to repeat.

mod client;
mod failure;
mod messages;
mod plan;

use crate::engine::{Engine, Open};
use client::Client;
use failure::{Phase, explain, is_out_of_history};
use messages::{
    Event, KeyValue, RangeRequest, RangeResponse, TxnRequest, TxnResponse, WatchResponse,
};
use plan::Place;
use std::collections::VecDeque;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use vipsec_cluster::store::{
    Backend, Change, Changes, Condition, Entry, Key, Outcome, Revision, StoreError, Transaction,
};

/// Keys of one answer, when all are read.
const PAGE: i64 = 256;
/// How often it is made sure that the member we talk to is still one of a majority.
const CHECK: Duration = Duration::from_secs(1);
/// With what the head's value begins; the version of the schema follows.
const TITLE: &str = "vipsec store ";
const SCHEMA: i64 = 1;
/// The kind of event that is no put.
const DELETED: i32 = 1;

/// Where the etcd is, and how to be let in.
#[derive(Clone, PartialEq, Eq)]
pub struct EtcdConfig {
    /// `http://HOST:PORT` or `https://HOST:PORT` of each member; at least one.
    pub endpoints: Vec<String>,
    /// With what all keys begin; a `/` follows it.
    pub prefix: String,
    /// With `https`.
    pub tls: Option<EtcdTls>,
    /// Where etcd's authentication is on.
    pub login: Option<EtcdLogin>,
    /// Whether old revisions are forgotten, which is so for the whole etcd. Otherwise somebody else
    /// has to see to it, for instance etcd's `--auto-compaction-retention`.
    pub compacts: bool,
    /// Longest wait for an answer.
    pub patience: Duration,
}

/// Certificates as PEM.
#[derive(Clone, PartialEq, Eq)]
pub struct EtcdTls {
    /// Who has signed the members' certificates.
    pub ca: Vec<u8>,
    /// Our certificate and its key.
    pub identity: Option<(Vec<u8>, Vec<u8>)>,
}

/// A user of etcd's.
#[derive(Clone, PartialEq, Eq)]
pub struct EtcdLogin {
    /// Name.
    pub user: String,
    /// Password.
    pub password: String,
}

impl core::fmt::Debug for EtcdConfig {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "EtcdConfig({} under {}/)", self.endpoints.join(", "), self.prefix)
    }
}

/// Opens the store by the next member that answers: the first time it may be made.
#[derive(Debug)]
pub(crate) struct Opener {
    config: EtcdConfig,
    opened: bool,
    /// The member that is tried first.
    next: usize,
}

impl Opener {
    pub(crate) fn new(config: EtcdConfig) -> Opener {
        Opener { config, opened: false, next: 0 }
    }
}

impl Open for Opener {
    type Engine = Etcd;

    fn open(&mut self) -> Result<Etcd, StoreError> {
        let count = self.config.endpoints.len();
        let mut last = StoreError::Failed("no endpoint is configured".to_owned());
        for index in (0..count).map(|offset| (self.next + offset) % count) {
            match Etcd::open_at(&self.config, index, !self.opened) {
                Ok(store) => {
                    self.opened = true;
                    self.next = (index + 1) % count;
                    return Ok(store);
                }
                Err(error) if !error.is_passing() => return Err(error),
                Err(error) => last = error,
            }
        }
        Err(last)
    }
}

/// The store, by one member of an etcd.
#[derive(Debug)]
pub struct Etcd {
    /// `None` only while it is dropped.
    runtime: Option<Runtime>,
    client: Client,
    place: Place,
    compacts: bool,
    patience: Duration,
    watch: Option<Watch>,
    checked: Instant,
}

/// The log as it is followed.
#[derive(Debug)]
struct Watch {
    answers: mpsc::Receiver<WatchResponse>,
    /// Read, and not told yet.
    events: VecDeque<Event>,
    /// Told up to here.
    told: u64,
}

impl Etcd {
    /// Opens the store by the first endpoint; if there is none under the prefix, it is made.
    ///
    /// # Errors
    /// [`StoreError`]
    pub fn open(config: &EtcdConfig) -> Result<Etcd, StoreError> {
        Opener::new(config.clone()).open()
    }

    fn open_at(config: &EtcdConfig, index: usize, may_make: bool) -> Result<Etcd, StoreError> {
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        runtime.worker_threads(1).thread_name("vipsec-etcd").enable_all();
        let runtime = runtime.build().map_err(|error| StoreError::Failed(error.to_string()))?;
        let client = runtime.block_on(Client::connect(&config.endpoints[index], config))?;
        let mut store = Etcd {
            runtime: Some(runtime),
            client,
            place: Place::new(&config.prefix),
            compacts: config.compacts,
            patience: config.patience,
            watch: None,
            checked: Instant::now(),
        };
        store.inspect(may_make)?;
        Ok(store)
    }

    /// Makes sure that what is there is ours.
    fn inspect(&mut self, may_make: bool) -> Result<(), StoreError> {
        let (Some(head), _) = self.head(0)? else {
            return if may_make { self.make() } else { Err(self.missing()) };
        };
        let text = String::from_utf8_lossy(&head.value).into_owned();
        match text.strip_prefix(TITLE).and_then(|version| version.parse().ok()) {
            Some(SCHEMA) => Ok(()),
            Some(found) => Err(StoreError::TooNew { found, known: SCHEMA }),
            None => Err(StoreError::Foreign(format!("its head says {text:?}"))),
        }
    }

    fn missing(&self) -> StoreError {
        StoreError::Gone("its keys are not in etcd any more".to_owned())
    }

    fn make(&mut self) -> Result<(), StoreError> {
        let (key, range_end) = self.place.all();
        let request = RangeRequest { key, range_end, limit: 1, ..RangeRequest::default() };
        if !self.read(request)?.kvs.is_empty() {
            return Err(StoreError::Foreign("there are keys under its prefix, and no head".into()));
        }
        // Another process may be as quick: then the head is written twice.
        self.write_plain(self.place.head())
    }

    fn write_plain(&mut self, key: Vec<u8>) -> Result<(), StoreError> {
        let put = messages::PutRequest { key, value: head_value() };
        let success = vec![messages::Request::Put(put).into()];
        self.write(TxnRequest { success, ..TxnRequest::default() }).map(|_| ())
    }

    fn wait<T>(&self, work: impl Future<Output = T>) -> Result<T, StoreError> {
        let runtime = self.runtime.as_ref();
        let runtime = runtime.ok_or_else(|| StoreError::Failed("it is closed".to_owned()))?;
        Ok(runtime.block_on(work))
    }

    fn read(&self, request: RangeRequest) -> Result<RangeResponse, StoreError> {
        let answer = self.wait(self.client.range(request))?;
        answer.map_err(|status| explain(&status, Phase::Reading))
    }

    fn write(&self, request: TxnRequest) -> Result<TxnResponse, StoreError> {
        let answer = self.wait(self.client.txn(request))?;
        answer.map_err(|status| explain(&status, Phase::Committing))
    }

    /// The head, as it was at a revision (0: as it is), and the revision of the whole etcd now.
    fn head(&mut self, at: i64) -> Result<(Option<KeyValue>, u64), StoreError> {
        let key = self.place.head();
        let request = RangeRequest { key, revision: at, ..RangeRequest::default() };
        let mut answer = self.read(request)?;
        self.checked = Instant::now();
        Ok((answer.kvs.pop(), revision(answer.header.as_ref())))
    }

    /// The last transaction, and the revision of the whole etcd.
    fn last(&mut self, at: i64) -> Result<(u64, u64), StoreError> {
        let (head, now) = self.head(at)?;
        let head = head.ok_or_else(|| self.missing())?;
        Ok((u64::try_from(head.mod_revision).unwrap_or(0), now))
    }

    /// Follows the log from after `after` on; `false` when it does not go back so far. After the last
    /// transaction it begins now: what others have compacted meanwhile was none of ours.
    fn follow(&mut self, after: u64, (last, now): (u64, u64)) -> Result<bool, StoreError> {
        if self.watch.as_ref().is_some_and(|watch| watch.told == after) {
            return Ok(true);
        }
        self.watch = None;
        let past = if after == last { now } else { after.max(1) };
        let past = i64::try_from(past).unwrap_or(i64::MAX);
        let key = self.place.head();
        let look = RangeRequest { key, revision: past, keys_only: true, ..RangeRequest::default() };
        match self.wait(self.client.range(look))? {
            Err(status) if is_out_of_history(&status) => return Ok(false),
            other => other.map_err(|status| explain(&status, Phase::Reading))?,
        };
        let opened = self.wait(self.client.watch(self.place.all(), past.saturating_add(1)))?;
        let answers = opened.map_err(|status| explain(&status, Phase::Reading))?;
        self.watch = Some(Watch { answers, events: VecDeque::new(), told: after });
        Ok(true)
    }

    /// Reads the log until `last` has come, or enough for an answer; `false` when it was compacted
    /// meanwhile.
    fn gather(&mut self, last: u64, limit: usize) -> Result<bool, StoreError> {
        let end = Instant::now() + self.patience;
        while let Some(mut watch) = self.watch.take() {
            let read = watch.events.back().map_or(watch.told, event_revision);
            if read >= last || watch.events.len() > limit {
                self.watch = Some(watch);
                return Ok(true);
            }
            let left = end.saturating_duration_since(Instant::now());
            let next = async { tokio::time::timeout(left, watch.answers.recv()).await };
            let Ok(Some(answer)) = self.wait(next)? else {
                return Err(StoreError::Failed("the watch has no answer".to_owned()));
            };
            if answer.canceled && answer.compact_revision == 0 {
                return Err(StoreError::Failed(format!(
                    "the watch ended: {}",
                    answer.cancel_reason
                )));
            }
            if !answer.canceled {
                watch.events.extend(answer.events);
                self.watch = Some(watch);
            }
        }
        Ok(false)
    }

    /// What was read of the log, whole transactions of it, and up to where that goes.
    fn take(&mut self, limit: usize) -> (Vec<Change>, Option<u64>) {
        let Some(watch) = &mut self.watch else { return (Vec::new(), None) };
        let (mut changes, mut up_to) = (Vec::new(), None);
        while let Some(event) = watch.events.front() {
            let at = event_revision(event);
            if up_to.is_some_and(|last| last != at) && changes.len() >= limit {
                break;
            }
            up_to = Some(at);
            if let Some(event) = watch.events.pop_front() {
                changes.extend(change(&self.place, event));
            }
        }
        (changes, up_to)
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

fn head_value() -> Vec<u8> {
    format!("{TITLE}{SCHEMA}").into_bytes()
}

fn revision(header: Option<&messages::Header>) -> u64 {
    header.and_then(|header| u64::try_from(header.revision).ok()).unwrap_or(0)
}

fn event_revision(event: &Event) -> u64 {
    event.kv.as_ref().and_then(|kv| u64::try_from(kv.mod_revision).ok()).unwrap_or(0)
}

/// What an event says of a record.
fn change(place: &Place, event: Event) -> Option<Change> {
    let revision = Revision(event_revision(&event));
    let kv = event.kv?;
    let key = place.key(&kv.key)?;
    Some(match event.kind {
        DELETED => Change::Deleted { key, revision },
        _ => Change::Put(Entry { key, value: kv.value, revision }),
    })
}

fn entry(place: &Place, kv: KeyValue) -> Option<Entry> {
    let revision = Revision(u64::try_from(kv.mod_revision).ok()?);
    Some(Entry { key: place.key(&kv.key)?, value: kv.value, revision })
}

fn outcome(transaction: &Transaction, answer: &TxnResponse) -> Outcome {
    if answer.succeeded {
        // Without steps the head was only looked at.
        let look = answer.responses.first().and_then(|look| look.range.as_ref()?.kvs.first());
        let last = look.and_then(|head| u64::try_from(head.mod_revision).ok());
        let here = last.unwrap_or_else(|| revision(answer.header.as_ref()));
        return Outcome::Committed(Revision(here));
    }
    let looks = transaction.conditions.iter().zip(&answer.responses);
    let failed = looks.filter_map(|(condition, look)| {
        let Condition::RevisionIs { key, revision } = condition;
        let kv = look.range.as_ref().and_then(|range| range.kvs.first());
        let found = kv.and_then(|kv| u64::try_from(kv.mod_revision).ok()).map(Revision);
        (found != *revision).then(|| key.clone())
    });
    Outcome::Refused { failed: failed.collect::<Vec<Key>>() }
}

impl Backend for Etcd {
    fn range(&mut self, prefix: &str) -> Result<(Vec<Entry>, Revision), StoreError> {
        let (mut key, range_end) = self.place.records(prefix);
        let (mut entries, mut at) = (Vec::new(), 0);
        loop {
            let request = RangeRequest {
                key,
                range_end: range_end.clone(),
                limit: PAGE,
                revision: i64::try_from(at).unwrap_or(0),
                keys_only: false,
            };
            let answer = self.read(request)?;
            if at == 0 {
                at = revision(answer.header.as_ref());
            }
            let last = answer.kvs.last().map(|kv| [&kv.key[..], &[0]].concat());
            entries.extend(answer.kvs.into_iter().filter_map(|kv| entry(&self.place, kv)));
            match last {
                Some(last) if answer.more => key = last,
                _ => return Ok((entries, Revision(self.last(i64::try_from(at).unwrap_or(0))?.0))),
            }
        }
    }

    fn commit(&mut self, batch: &[Transaction]) -> Result<Vec<Outcome>, StoreError> {
        let head = head_value();
        let request = |one| plan::request(&self.place, &head, one);
        let requests = batch.iter().map(request).collect::<Result<Vec<_>, _>>()?;
        let mut outcomes = Vec::with_capacity(batch.len());
        for (transaction, request) in batch.iter().zip(requests) {
            match self.write(request) {
                Ok(answer) => outcomes.push(outcome(transaction, &answer)),
                // The first part is committed already.
                Err(error) if !outcomes.is_empty() => {
                    return Err(StoreError::Ambiguous(error.to_string()));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(outcomes)
    }

    fn changes_since(&mut self, after: Revision, limit: usize) -> Result<Changes, StoreError> {
        let (last, now) = self.last(0)?;
        if after.0 > last {
            return Ok(Changes::Compacted);
        }
        if !self.follow(after.0, (last, now))? || !self.gather(last, limit)? {
            return Ok(Changes::Compacted);
        }
        let (changes, up_to) = self.take(limit);
        let up_to = up_to.unwrap_or(after.0);
        let more = up_to < last;
        if let Some(watch) = &mut self.watch {
            watch.told = up_to;
        }
        Ok(Changes::Some { changes, up_to: Revision(up_to), more })
    }

    fn revision(&mut self) -> Result<Revision, StoreError> {
        self.last(0).map(|(last, _)| Revision(last))
    }

    fn compact(&mut self, up_to: Revision) -> Result<(), StoreError> {
        if !self.compacts {
            return Ok(());
        }
        let up_to = up_to.min(self.revision()?);
        let revision = i64::try_from(up_to.0).unwrap_or(i64::MAX);
        match self.wait(self.client.compact(revision))? {
            // Another node was quicker.
            Err(status) if is_out_of_history(&status) => Ok(()),
            other => other.map(|_| ()).map_err(|status| explain(&status, Phase::Reading)),
        }
    }
}

impl Engine for Etcd {
    fn changed(&mut self) -> Result<bool, StoreError> {
        if self.checked.elapsed() >= CHECK {
            self.last(0)?;
        }
        let watch = self.watch.as_ref();
        Ok(watch.is_none_or(|watch| {
            !watch.events.is_empty() || !watch.answers.is_empty() || watch.answers.is_closed()
        }))
    }

    fn probe(&mut self) -> Result<(), StoreError> {
        // Not the head: it would look like a transaction.
        self.write_plain(self.place.trial())
    }

    fn probe_room(&mut self) -> Result<(), StoreError> {
        // A full etcd takes nothing at all until somebody has lifted its alarm.
        self.probe()
    }
}
