//! SQLite as a store: one file in WAL mode with full synchronisation, shared by processes of one
//! host.
//!
//! Guarantees: a commit is on the disk when it is confirmed (`synchronous=FULL`); a read sees all
//! that was confirmed before, also by other processes (the WAL index is shared memory). It is
//! therefore no store for several hosts, and not for network file systems.
//!
//! A deleted value stays as a row without value until compaction, so that the table itself is the
//! log: every row says when it changed last.

mod failure;
mod file;
mod schema;
#[cfg(test)]
mod tests;

use crate::engine::{Engine, Open};
use failure::Phase;
use file::Identity;
use rusqlite::config::DbConfig;
use rusqlite::{CachedStatement, Connection, OpenFlags, Row, Transaction as Sql};
use rusqlite::{TransactionBehavior, params};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use vipsec_cluster::store::{
    Backend, Change, Changes, Condition, Entry, Key, Operation, Outcome, Revision, StoreError,
    Transaction,
};

/// Where the file is, and its bounds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SqliteConfig {
    /// The file; its directory must exist.
    pub path: PathBuf,
    /// Largest size in bytes; beyond it the store is full.
    pub max_bytes: u64,
    /// How long another process may hold the write lock before [`StoreError::Locked`].
    pub lock_wait: Duration,
}

impl SqliteConfig {
    /// The defaults: at most 1 GiB, one second.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> SqliteConfig {
        SqliteConfig { path: path.into(), max_bytes: 1 << 30, lock_wait: Duration::from_secs(1) }
    }
}

/// Every so many looks for changes it is made sure that the file is still ours.
const LOOKS_PER_CHECK: u32 = 20;
/// Longest wait for the lock when it is only tried whether writing works.
const PROBE_WAIT_MS: u32 = 20;

/// The store in one file.
#[derive(Debug)]
pub struct Sqlite {
    path: PathBuf,
    connection: Connection,
    identity: Identity,
    lock_wait_ms: u32,
    /// What the busy handler goes by at the moment.
    patience_ms: Arc<AtomicU32>,
    data_version: i64,
    /// Looks until the file itself is looked at again.
    looks: u32,
}

/// Opens the file: the first time it may be made.
#[derive(Debug)]
pub(crate) struct Opener {
    config: SqliteConfig,
    opened: bool,
}

impl Opener {
    /// An opener that has not opened anything yet.
    #[must_use]
    pub(crate) fn new(config: SqliteConfig) -> Opener {
        Opener { config, opened: false }
    }
}

impl Open for Opener {
    type Engine = Sqlite;

    fn open(&mut self) -> Result<Sqlite, StoreError> {
        let store =
            if self.opened { Sqlite::reopen(&self.config) } else { Sqlite::open(&self.config) }?;
        self.opened = true;
        Ok(store)
    }
}

impl Sqlite {
    /// Opens the store, or makes a new one when there is no such file.
    ///
    /// # Errors
    /// [`StoreError::Foreign`], [`StoreError::Corrupt`] and [`StoreError::TooNew`] leave the file
    /// exactly as it is.
    pub fn open(config: &SqliteConfig) -> Result<Sqlite, StoreError> {
        if !file::exists(&config.path)? {
            schema::create(&config.path)?;
        }
        Sqlite::open_existing(config)
    }

    /// Opens a store that was open before: a missing file is [`StoreError::Gone`], and a damaged
    /// one is searched for damage thoroughly.
    ///
    /// # Errors
    /// As [`Sqlite::open`].
    pub fn reopen(config: &SqliteConfig) -> Result<Sqlite, StoreError> {
        if !file::exists(&config.path)? {
            return Err(file::gone(&config.path));
        }
        let store = Sqlite::open_existing(config)?;
        schema::examine(&store.connection)?;
        Ok(store)
    }

    fn open_existing(config: &SqliteConfig) -> Result<Sqlite, StoreError> {
        let path = &config.path;
        schema::inspect(path)?;
        file::make_private(path)?;
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let failed = |error| failure::explain(error, Phase::Opening);
        let mut connection = Connection::open_with_flags(path, flags).map_err(failed)?;
        let lock_wait_ms = u32::try_from(config.lock_wait.as_millis()).unwrap_or(u32::MAX);
        let patience_ms = Arc::new(AtomicU32::new(lock_wait_ms));
        install_patience(&mut connection, &patience_ms).map_err(failed)?;
        schema::prepare(&connection, config.max_bytes).map_err(failed)?;
        let identity = Identity::of(path)?;
        let mut store = Sqlite {
            path: path.clone(),
            connection,
            identity,
            lock_wait_ms,
            patience_ms,
            data_version: 0,
            looks: 0,
        };
        store.data_version = store.read_data_version()?;
        Ok(store)
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn read_data_version(&self) -> Result<i64, StoreError> {
        let mut statement = cached(&self.connection, "PRAGMA data_version").map_err(reading)?;
        statement.query_row([], |row| row.get(0)).map_err(reading)
    }

    fn commit_all(&mut self, batch: &[Transaction]) -> Result<Vec<Outcome>, StoreError> {
        let begun = self.connection.transaction_with_behavior(TransactionBehavior::Immediate);
        let sql = begun.map_err(writing)?;
        let (first, _) = schema::revisions(&sql).map_err(writing)?;
        let mut revision = first;
        let mut outcomes = Vec::with_capacity(batch.len());
        for transaction in batch {
            outcomes.push(commit_one(&sql, transaction, &mut revision).map_err(writing)?);
        }
        if revision == first {
            sql.rollback().map_err(reading)?;
        } else {
            schema::set_revision(&sql, revision).map_err(writing)?;
            sql.commit().map_err(|error| failure::explain(error, Phase::Committing))?;
        }
        Ok(outcomes)
    }

    fn write_nothing(&mut self) -> Result<(), StoreError> {
        let begun = self.connection.transaction_with_behavior(TransactionBehavior::Immediate);
        let sql = begun.map_err(writing)?;
        sql.execute("UPDATE meta SET trial = trial + 1", []).map_err(writing)?;
        sql.commit().map_err(writing)
    }
}

impl Drop for Sqlite {
    fn drop(&mut self) {
        // Closing must neither write into nor delete the log of a file that has replaced ours.
        let _ = self.connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
    }
}

/// SQLite's own busy time-out sleeps up to 100 ms at a time; a takeover has no such time.
fn install_patience(
    connection: &mut Connection,
    patience_ms: &Arc<AtomicU32>,
) -> rusqlite::Result<()> {
    let patience_ms = Arc::clone(patience_ms);
    connection.busy_handler(Some(move |tries: i32| {
        std::thread::sleep(Duration::from_millis(1));
        u32::try_from(tries).unwrap_or(u32::MAX) < patience_ms.load(Ordering::Relaxed)
    }))
}

fn cached<'a>(sql: &'a Connection, text: &str) -> rusqlite::Result<CachedStatement<'a>> {
    sql.prepare_cached(text)
}

fn reading(error: rusqlite::Error) -> StoreError {
    failure::explain(error, Phase::Reading)
}

fn writing(error: rusqlite::Error) -> StoreError {
    failure::explain(error, Phase::Writing)
}

fn commit_one(
    sql: &Sql<'_>,
    transaction: &Transaction,
    revision: &mut u64,
) -> rusqlite::Result<Outcome> {
    let mut failed = Vec::new();
    for condition in &transaction.conditions {
        if !holds(sql, condition)? {
            failed.push(condition.key().clone());
        }
    }
    if !failed.is_empty() {
        return Ok(Outcome::Refused { failed });
    }
    let next = *revision + 1;
    let mut changed = 0;
    for operation in &transaction.operations {
        changed += step(sql, operation, next)?;
    }
    if changed > 0 {
        *revision = next;
    }
    Ok(Outcome::Committed(Revision(*revision)))
}

fn holds(sql: &Sql<'_>, condition: &Condition) -> rusqlite::Result<bool> {
    let Condition::RevisionIs { key, revision } = condition;
    let mut statement =
        cached(sql, "SELECT revision FROM entry WHERE key = ?1 AND value IS NOT NULL")?;
    let mut rows = statement.query([key.as_str()])?;
    let found = rows.next()?.map(|row| row.get(0)).transpose()?.map(Revision);
    Ok(found == *revision)
}

fn step(sql: &Sql<'_>, operation: &Operation, at: u64) -> rusqlite::Result<usize> {
    match operation {
        Operation::Put { key, value } => cached(
            sql,
            "INSERT INTO entry (key, value, revision) VALUES (?1, ?2, ?3) \
             ON CONFLICT (key) DO UPDATE SET value = ?2, revision = ?3",
        )?
        .execute(params![key.as_str(), value, at]),
        Operation::Delete { key } => cached(
            sql,
            "UPDATE entry SET value = NULL, revision = ?2 WHERE key = ?1 AND value IS NOT NULL",
        )?
        .execute(params![key.as_str(), at]),
        Operation::DeletePrefix { prefix } => cached(
            sql,
            "UPDATE entry SET value = NULL, revision = ?3 \
             WHERE key >= ?1 AND (?2 IS NULL OR key < ?2) AND value IS NOT NULL",
        )?
        .execute(params![prefix, beyond(prefix), at]),
    }
}

/// The first text after all that begin with `prefix`, in the order of their bytes (which for UTF-8
/// is that of their characters); `None` when there is none.
fn beyond(prefix: &str) -> Option<String> {
    let mut text = prefix.to_owned();
    while let Some(last) = text.pop() {
        let mut later = (last..=char::MAX).skip(1);
        if let Some(next) = later.next() {
            text.push(next);
            return Some(text);
        }
    }
    None
}

fn key(row: &Row<'_>) -> rusqlite::Result<Key> {
    let text: String = row.get(0)?;
    Key::new(text).ok_or(rusqlite::Error::InvalidQuery)
}

fn change(row: &Row<'_>) -> rusqlite::Result<Change> {
    let (key, revision) = (key(row)?, Revision(row.get(2)?));
    Ok(match row.get::<_, Option<Vec<u8>>>(1)? {
        Some(value) => Change::Put(Entry { key, value, revision }),
        None => Change::Deleted { key, revision },
    })
}

fn select_range(sql: &Sql<'_>, prefix: &str) -> rusqlite::Result<(Vec<Entry>, Revision)> {
    let (revision, _) = schema::revisions(sql)?;
    let mut statement = cached(
        sql,
        "SELECT key, value, revision FROM entry \
         WHERE key >= ?1 AND (?2 IS NULL OR key < ?2) AND value IS NOT NULL ORDER BY key",
    )?;
    let entry = |row: &Row<'_>| {
        Ok(Entry { key: key(row)?, value: row.get(1)?, revision: Revision(row.get(2)?) })
    };
    let rows = statement.query_map(params![prefix, beyond(prefix)], entry)?;
    Ok((rows.collect::<rusqlite::Result<_>>()?, Revision(revision)))
}

fn select_changes(sql: &Sql<'_>, after: Revision, limit: usize) -> rusqlite::Result<Changes> {
    let (revision, compacted) = schema::revisions(sql)?;
    if after.0 < compacted || after.0 > revision {
        return Ok(Changes::Compacted);
    }
    let mut statement = cached(
        sql,
        "SELECT key, value, revision FROM entry WHERE revision > ?1 ORDER BY revision, key",
    )?;
    let mut rows = statement.query([after.0])?;
    let mut changes: Vec<Change> = Vec::new();
    while let Some(row) = rows.next()? {
        let change = change(row)?;
        let last = changes.last().map(Change::revision);
        if let Some(up_to) = last
            && changes.len() >= limit
            && up_to != change.revision()
        {
            return Ok(Changes::Some { changes, up_to, more: true });
        }
        changes.push(change);
    }
    Ok(Changes::Some { changes, up_to: Revision(revision), more: false })
}

impl Backend for Sqlite {
    fn range(&mut self, prefix: &str) -> Result<(Vec<Entry>, Revision), StoreError> {
        self.identity.check(&self.path)?;
        let sql = self.connection.transaction().map_err(reading)?;
        select_range(&sql, prefix).map_err(reading)
    }

    fn commit(&mut self, batch: &[Transaction]) -> Result<Vec<Outcome>, StoreError> {
        batch.iter().try_for_each(Transaction::check)?;
        self.identity.check(&self.path)?;
        let outcomes = self.commit_all(batch)?;
        self.identity.learn_log(&self.path)?;
        Ok(outcomes)
    }

    fn changes_since(&mut self, after: Revision, limit: usize) -> Result<Changes, StoreError> {
        let sql = self.connection.transaction().map_err(reading)?;
        select_changes(&sql, after, limit).map_err(reading)
    }

    fn revision(&mut self) -> Result<Revision, StoreError> {
        schema::revisions(&self.connection).map(|(last, _)| Revision(last)).map_err(reading)
    }

    fn compact(&mut self, up_to: Revision) -> Result<(), StoreError> {
        self.identity.check(&self.path)?;
        let begun = self.connection.transaction_with_behavior(TransactionBehavior::Immediate);
        let sql = begun.map_err(writing)?;
        schema::compact(&sql, up_to.0).map_err(writing)?;
        sql.commit().map_err(writing)
    }
}

impl Engine for Sqlite {
    fn changed(&mut self) -> Result<bool, StoreError> {
        self.looks += 1;
        if self.looks >= LOOKS_PER_CHECK {
            self.looks = 0;
            self.identity.check(&self.path)?;
        }
        let version = self.read_data_version()?;
        let changed = version != self.data_version;
        self.data_version = version;
        Ok(changed)
    }

    fn probe(&mut self) -> Result<(), StoreError> {
        self.identity.check(&self.path)?;
        self.patience_ms.store(PROBE_WAIT_MS, Ordering::Relaxed);
        let outcome = self.write_nothing();
        self.patience_ms.store(self.lock_wait_ms, Ordering::Relaxed);
        outcome
    }

    fn probe_room(&mut self) -> Result<(), StoreError> {
        self.identity.check(&self.path)?;
        self.patience_ms.store(PROBE_WAIT_MS, Ordering::Relaxed);
        let outcome =
            schema::load(&self.connection).and_then(|()| schema::unload(&self.connection));
        self.patience_ms.store(self.lock_wait_ms, Ordering::Relaxed);
        outcome.map_err(writing)
    }

    fn settle(&mut self) {
        if self.identity.check(&self.path).is_ok() {
            let _ = self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
        }
    }
}
