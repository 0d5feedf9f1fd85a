//! The tables, how a new file comes into being, and how one is told from a foreign one without
//! touching it.

use super::failure::{self, Phase};
use super::file;
use rusqlite::{Connection, OpenFlags};
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use vipsec_cluster::store::StoreError;

/// "VIPS", in the header field that SQLite keeps for this purpose.
const APPLICATION_ID: u32 = 0x5649_5053;
/// Version of the tables.
const VERSION: u32 = 1;
/// The log is cut to this size after a checkpoint.
const LOG_BYTES: u32 = 16 << 20;

/// Room that a store must have to be taken for one that is not full.
const BALLAST_BYTES: usize = 64 << 10;

const TABLES: &str = "
    CREATE TABLE meta (
        id INTEGER PRIMARY KEY CHECK (id = 0),
        revision INTEGER NOT NULL,
        compacted INTEGER NOT NULL,
        trial INTEGER NOT NULL
    ) STRICT;
    INSERT INTO meta VALUES (0, 0, 0, 0);
    CREATE TABLE entry (
        key TEXT NOT NULL UNIQUE,
        value BLOB,
        revision INTEGER NOT NULL
    ) STRICT;
    CREATE INDEX entry_by_revision ON entry (revision);
    CREATE INDEX entry_deleted ON entry (revision) WHERE value IS NULL;
";

/// Makes a new store under another name and gives it its own only when it is whole, so that nobody
/// ever sees half of it. If somebody else was faster, theirs stands.
pub(super) fn create(path: &Path) -> Result<(), StoreError> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let draft = file::beside(path, &format!(".new-{}-{count}", std::process::id()));
    let made = fill(&draft).and_then(|()| match fs::hard_link(&draft, path) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(file::io(path, &error)),
        _ => Ok(()),
    });
    let _ = fs::remove_file(&draft);
    made?;
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let synced = File::open(directory).and_then(|opened| opened.sync_all());
    synced.map_err(|error| file::io(directory, &error))
}

fn fill(draft: &Path) -> Result<(), StoreError> {
    let opened = OpenOptions::new().write(true).create_new(true).mode(file::MODE).open(draft);
    opened.map_err(|error| file::io(draft, &error))?;
    let build = || {
        let connection = Connection::open_with_flags(draft, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.execute_batch(&format!(
            "BEGIN; PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {VERSION};
             {TABLES} COMMIT; PRAGMA journal_mode = WAL;"
        ))?;
        connection.close().map_err(|(_, error)| error)
    };
    build().map_err(|error| failure::explain(error, Phase::Writing))
}

/// Reads the header, and nothing but that: a file that is not ours is not even opened by SQLite.
pub(super) fn inspect(path: &Path) -> Result<(), StoreError> {
    let mut header = [0_u8; 100];
    let read = File::open(path).and_then(|mut opened| opened.read_exact(&mut header));
    let foreign = |why: &str| Err(StoreError::Foreign(format!("{}: {why}", path.display())));
    match read {
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
            return foreign("the file is empty or too short; remove it to have a new one made");
        }
        Err(error) => return Err(file::io(path, &error)),
        Ok(()) => {}
    }
    if !header.starts_with(b"SQLite format 3\0") {
        return foreign("not an SQLite file");
    }
    let number = |at: usize| {
        u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
    };
    if number(68) != APPLICATION_ID {
        return foreign("an SQLite file of another program");
    }
    match number(60) {
        VERSION => Ok(()),
        found => Err(StoreError::TooNew { found: i64::from(found), known: i64::from(VERSION) }),
    }
}

/// Settings of a connection, and a first look whether the tables are there.
pub(super) fn prepare(connection: &Connection, max_bytes: u64) -> rusqlite::Result<()> {
    connection.set_prepared_statement_cache_capacity(32);
    let page: i64 = connection.pragma_query_value(None, "page_size", |row| row.get(0))?;
    let bytes = i64::try_from(max_bytes).unwrap_or(i64::MAX);
    let pages = (bytes / page.max(512)).clamp(16, i64::from(u32::MAX - 1));
    connection.execute_batch(&format!(
        "PRAGMA synchronous = FULL; PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON;
         PRAGMA mmap_size = 0; PRAGMA secure_delete = ON; PRAGMA temp_store = MEMORY;
         PRAGMA journal_size_limit = {LOG_BYTES}; PRAGMA max_page_count = {pages};"
    ))?;
    connection.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()))?;
    revisions(connection)?;
    connection.prepare("SELECT key, value, revision FROM entry").map(|_| ())
}

/// Searches the whole file for damage.
pub(super) fn examine(connection: &Connection) -> Result<(), StoreError> {
    let verdict = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get::<_, String>(0));
    match verdict {
        Ok(verdict) if verdict == "ok" => Ok(()),
        Ok(verdict) => Err(StoreError::Corrupt(verdict)),
        Err(error) => Err(failure::explain(error, Phase::Reading)),
    }
}

/// The store's revision, and that up to which the log is forgotten.
pub(super) fn revisions(sql: &Connection) -> rusqlite::Result<(u64, u64)> {
    sql.prepare_cached("SELECT revision, compacted FROM meta WHERE id = 0")?
        .query_row([], |row| Ok((row.get(0)?, row.get(1)?)))
}

pub(super) fn set_revision(sql: &Connection, revision: u64) -> rusqlite::Result<()> {
    sql.prepare_cached("UPDATE meta SET revision = ?1 WHERE id = 0")?
        .execute([revision])
        .map(|_| ())
}

pub(super) fn compact(sql: &Connection, up_to: u64) -> rusqlite::Result<()> {
    let (revision, compacted) = revisions(sql)?;
    let up_to = up_to.min(revision);
    if up_to > compacted {
        sql.execute("DELETE FROM entry WHERE value IS NULL AND revision <= ?1", [up_to])?;
        sql.execute("UPDATE meta SET compacted = ?1 WHERE id = 0", [up_to])?;
    }
    Ok(())
}

/// Writes something large to see whether there is room: an entry that was deleted before the first
/// revision, so that nobody is told of it, and the next compaction takes it away if [`unload`] does
/// not. Its key is no store key: those are shorter.
pub(super) fn load(sql: &Connection) -> rusqlite::Result<()> {
    let key = " ".repeat(BALLAST_BYTES);
    sql.execute("INSERT OR REPLACE INTO entry (key, value, revision) VALUES (?1, NULL, 0)", [key])
        .map(|_| ())
}

/// Takes away what [`load`] has written.
pub(super) fn unload(sql: &Connection) -> rusqlite::Result<()> {
    sql.execute("DELETE FROM entry WHERE value IS NULL AND revision = 0", []).map(|_| ())
}
