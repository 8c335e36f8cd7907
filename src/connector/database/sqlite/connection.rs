//! One connection to a database file: how it is opened and secured, and how it runs a statement. Everything here
//! blocks.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rusqlite::config::DbConfig;
use rusqlite::functions::{Context, FunctionFlags};
use rusqlite::limits::Limit;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags};

use super::declared::is_narrow;
use super::error::translate;
use super::value::{Guide, bind, decode, to_json};
use crate::clock::Clock;
use crate::connector::database::backend::not_permitted;
use crate::connector::database::plan::BulkRecords;
use crate::connector::database::rows::RowWriter;
use crate::connector::database::sql::{Load, Statement};
use crate::connector::database::value::{DateTimeStyle, NumberStyle, Scalar};
use crate::error::{Error, ErrorKind, Result};

/// Prepared statements kept for each connection.
const STATEMENTS_KEPT: usize = 128;
/// Declared types that a connection remembers.
const TYPES_KEPT: usize = 256;
/// Steps of SQLite's virtual machine between two looks at the clock: some 50 microseconds.
const STEPS_BETWEEN_LOOKS: i32 = 4_096;
/// Page cache of each connection, in KiB; negative is SQLite's way to say KiB.
const CACHE_SIZE: i32 = -4_096;
/// Largest text, blob or row, in bytes.
const MAX_VALUE_BYTES: i32 = 256 * 1024 * 1024;
/// Longest statement, in bytes.
const MAX_STATEMENT_BYTES: i32 = 1_000_000;
/// How deep triggers may call each other.
const MAX_TRIGGER_DEPTH: i32 = 100;

/// How to open the database.
pub(super) struct Settings {
    /// The name of the service, for the names of threads.
    pub(super) service: String,
    /// The file; none for a database in memory.
    pub(super) path: Option<PathBuf>,
    /// Whether writes are refused.
    pub(super) read_only: bool,
    /// Whether a missing file is made.
    pub(super) create: bool,
    /// How long SQLite waits for another process's lock.
    pub(super) busy_timeout: Duration,
    /// How long a statement may run.
    pub(super) statement_timeout: Duration,
    /// How long a thread waits for work before it ends.
    pub(super) longest_idle: Duration,
    /// The time.
    pub(super) clock: Arc<dyn Clock>,
}

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Reads outside transactions.
    Reader,
    /// Transactions.
    Writer,
}

/// Which file a path names: two files are never the same one as long as the older is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Identity {
    /// A database in memory.
    Memory,
    /// Device and inode.
    File(u64, u64),
}

impl Settings {
    /// Whether the database has no file.
    pub(super) fn is_in_memory(&self) -> bool {
        self.path.is_none()
    }

    /// Which file is there now. Makes an empty one if that is asked for; a missing one is
    /// [`ErrorKind::BackendUnavailable`].
    pub(super) fn identity(&self) -> Result<Identity> {
        let Some(path) = &self.path else {
            return Ok(Identity::Memory);
        };
        let unavailable = |text: &'static str, source: std::io::Error| {
            Error::new(ErrorKind::BackendUnavailable, text)
                .with_fact("path", path.display().to_string())
                .with_source(source)
        };
        let metadata = match std::fs::metadata(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                if !self.create || self.read_only {
                    return Err(unavailable("the database file is missing", error));
                }
                // A file of no bytes is an empty database.
                std::fs::OpenOptions::new()
                    .write(true)
                    .create(true)
                    .truncate(false)
                    .open(path)
                    .and_then(|file| file.metadata())
                    .map_err(|error| unavailable("the database file cannot be made", error))?
            }
            other => {
                other.map_err(|error| unavailable("the database file cannot be opened", error))?
            }
        };
        if !metadata.is_file() {
            return Err(
                Error::new(ErrorKind::BackendUnavailable, "the database is not a file")
                    .with_fact("path", path.display().to_string()),
            );
        }
        Ok(file_identity(&metadata))
    }

    /// The write-ahead log beside the file, if there is anything in it.
    pub(super) fn log(&self) -> Option<Identity> {
        let mut name = self.path.as_ref()?.clone().into_os_string();
        name.push("-wal");
        let metadata = std::fs::metadata(name).ok()?;
        (metadata.len() > 0).then(|| file_identity(&metadata))
    }
}

#[cfg(unix)]
fn file_identity(metadata: &std::fs::Metadata) -> Identity {
    use std::os::unix::fs::MetadataExt as _;
    Identity::File(metadata.dev(), metadata.ino())
}

#[cfg(not(unix))]
fn file_identity(metadata: &std::fs::Metadata) -> Identity {
    let created = metadata
        .created()
        .ok()
        .and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok())
        .map_or(0, |age| u64::try_from(age.as_nanos()).unwrap_or(u64::MAX));
    Identity::File(0, created)
}

/// Where a job stands, seen from both sides.
#[derive(Debug, Default)]
pub(super) struct Control(AtomicU8);

const WAITING: u8 = 0;
const STARTED: u8 = 1;
const CANCELLED: u8 = 2;

impl Control {
    /// Stops the job, whether it runs or waits.
    pub(super) fn cancel(&self) {
        self.0.store(CANCELLED, Ordering::Release);
    }

    /// Gives the job up if it did not begin yet. False if it did.
    pub(super) fn abandon(&self) -> bool {
        self.leave_waiting_for(CANCELLED)
    }

    /// Begins the job. False if nobody wants it any more.
    pub(super) fn start(&self) -> bool {
        self.leave_waiting_for(STARTED)
    }

    fn leave_waiting_for(&self, next: u8) -> bool {
        self.0
            .compare_exchange(WAITING, next, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }

    /// Whether nobody wants the result any more.
    pub(super) fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Acquire) == CANCELLED
    }
}

/// What the running statement obeys. SQLite asks every [`STEPS_BETWEEN_LOOKS`] steps; unlike an interrupt from
/// another thread this can never hit the next caller's statement.
#[derive(Clone)]
struct Watch {
    current: Arc<Mutex<Option<Watched>>>,
    clock: Arc<dyn Clock>,
}

struct Watched {
    control: Arc<Control>,
    deadline: Instant,
}

impl Watch {
    fn set(&self, watched: Option<Watched>) {
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = watched;
    }

    fn must_stop(&self) -> bool {
        self.current
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .as_ref()
            .is_some_and(|watched| {
                watched.control.is_cancelled() || self.clock.instant() >= watched.deadline
            })
    }

    /// Time spent waiting for the reader of the answer does not count against the statement.
    fn forgive(&self, waited: Duration) {
        if let Some(watched) = &mut *self.current.lock().unwrap_or_else(PoisonError::into_inner)
            && let Some(later) = watched.deadline.checked_add(waited)
        {
            watched.deadline = later;
        }
    }
}

/// `tidegate_json(value, declared type, style)`: a value as JSON, as the row writer writes it. `style` is 1 for numbers as
/// texts, 2 for dates as SQL has them, 3 for both. Statements embed records with it.
fn tidegate_json(context: &Context<'_>) -> rusqlite::Result<String> {
    // The declared type is a constant of the statement, so this is kept from row to row.
    let meant = context.get_or_create_aux(1, |value| -> rusqlite::Result<(Guide, bool)> {
        let text = value.as_str_or_null()?.unwrap_or_default();
        Ok((Guide::of(text), is_narrow(text)))
    })?;
    let (guide, is_narrow) = *meant;
    let style: i64 = context.get(2)?;
    let numbers = if style & 1 != 0 && !is_narrow {
        NumberStyle::String
    } else {
        NumberStyle::Number
    };
    let datetimes = if style & 2 != 0 {
        DateTimeStyle::Sql
    } else {
        DateTimeStyle::Rfc3339
    };
    Ok(to_json(context.get_raw(0), guide, numbers, datetimes))
}

/// An open connection.
pub(super) struct Open {
    connection: Connection,
    identity: Identity,
    watch: Watch,
    statement_timeout: Duration,
    busy_timeout: Duration,
    guides: RefCell<HashMap<Box<str>, Guide>>,
}

impl Open {
    /// Opens the database. `identity` is the file that is meant to be there.
    pub(super) fn new(settings: &Settings, role: Role, identity: Identity) -> Result<Self> {
        let access = if settings.read_only {
            OpenFlags::SQLITE_OPEN_READ_ONLY
        } else {
            // A reader of a database with a write-ahead log writes to the log's index.
            OpenFlags::SQLITE_OPEN_READ_WRITE
        };
        let flags = access | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let path = settings.path.as_deref();
        let connection = Connection::open_with_flags(path.unwrap_or(Path::new(":memory:")), flags)
            .map_err(translate)?;
        let watch = Watch {
            current: Arc::new(Mutex::new(None)),
            clock: Arc::clone(&settings.clock),
        };
        let mut open = Self {
            connection,
            identity,
            watch,
            statement_timeout: settings.statement_timeout,
            busy_timeout: settings.busy_timeout,
            guides: RefCell::default(),
        };
        open.secure(settings, role).map_err(translate)?;
        Ok(open)
    }

    fn secure(&mut self, settings: &Settings, role: Role) -> rusqlite::Result<()> {
        let connection = &mut self.connection;
        connection.busy_timeout(settings.busy_timeout)?;
        for (setting, value) in [
            (DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true),
            (DbConfig::SQLITE_DBCONFIG_ENABLE_FKEY, true),
            (DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false),
            // "name" must never turn into a text when its column is gone.
            (DbConfig::SQLITE_DBCONFIG_DQS_DML, false),
            (DbConfig::SQLITE_DBCONFIG_DQS_DDL, false),
        ] {
            connection.set_db_config(setting, value)?;
        }
        for (limit, value) in [
            (Limit::SQLITE_LIMIT_LENGTH, MAX_VALUE_BYTES),
            (Limit::SQLITE_LIMIT_SQL_LENGTH, MAX_STATEMENT_BYTES),
            (Limit::SQLITE_LIMIT_TRIGGER_DEPTH, MAX_TRIGGER_DEPTH),
            (Limit::SQLITE_LIMIT_ATTACHED, 0),
            (Limit::SQLITE_LIMIT_WORKER_THREADS, 0),
        ] {
            connection.set_limit(limit, value)?;
        }
        connection.set_prepared_statement_cache_capacity(STATEMENTS_KEPT);
        connection.create_scalar_function(
            "tidegate_json",
            3,
            FunctionFlags::SQLITE_UTF8
                | FunctionFlags::SQLITE_DETERMINISTIC
                | FunctionFlags::SQLITE_INNOCUOUS,
            tidegate_json,
        )?;
        let watch = self.watch.clone();
        connection.progress_handler(STEPS_BETWEEN_LOOKS, Some(move || watch.must_stop()))?;
        connection.pragma_update(None, "cache_size", CACHE_SIZE)?;
        connection.pragma_update(None, "cell_size_check", true)?;
        match role {
            Role::Reader => connection.pragma_update(None, "query_only", true)?,
            Role::Writer => {
                // With a write-ahead log readers and the writer do not wait for each other. It stays a wish:
                // another process may hold a lock, and some file systems cannot have one.
                let _: rusqlite::Result<String> =
                    connection.query_row("PRAGMA journal_mode=WAL", [], |row| row.get(0));
            }
        }
        Ok(())
    }

    /// The file that this is a connection to.
    pub(super) fn identity(&self) -> Identity {
        self.identity
    }

    /// The connection itself, for the catalog.
    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Does something under the rules of a job: it ends when the job is cancelled or its time is up.
    pub(super) fn watched<T>(
        &self,
        control: &Arc<Control>,
        work: impl FnOnce(&Self) -> Result<T>,
    ) -> Result<T> {
        let now = self.watch.clock.instant();
        self.watch.set(Some(Watched {
            control: Arc::clone(control),
            deadline: now.checked_add(self.statement_timeout).unwrap_or(now),
        }));
        let result = work(self);
        self.watch.set(None);
        result
    }

    /// Whether a transaction is open.
    pub(super) fn is_in_transaction(&self) -> bool {
        !self.connection.is_autocommit()
    }

    /// Runs a statement without values and without rows: BEGIN and its like.
    pub(super) fn command(&self, sql: &str) -> Result<()> {
        let mut statement = self.connection.prepare_cached(sql).map_err(translate)?;
        statement.raw_execute().map(drop).map_err(translate)
    }

    /// The number of the schema, which grows with every change to tables, and a proof that the file is a database.
    pub(super) fn schema_version(&self) -> Result<i64> {
        self.connection
            .query_row("PRAGMA schema_version", [], |row| row.get(0))
            .map_err(translate)
    }

    /// Moves the write-ahead log into the database and empties it, unless somebody reads just now.
    pub(super) fn checkpoint(&self) {
        // Without waiting for locks: it is tried again after the next write.
        let _ = self.connection.busy_timeout(Duration::ZERO);
        let _: rusqlite::Result<i64> =
            self.connection
                .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0));
        let _ = self.connection.busy_timeout(self.busy_timeout);
    }

    /// The guide for a column of a result; each declared type is read once.
    fn guide(&self, text: &str) -> Guide {
        let mut guides = self.guides.borrow_mut();
        if let Some(guide) = guides.get(text) {
            return *guide;
        }
        if guides.len() >= TYPES_KEPT {
            guides.clear();
        }
        let guide = Guide::of(text);
        guides.insert(text.into(), guide);
        guide
    }

    /// Adds records one by one, by one statement; gives how many.
    pub(super) fn load(
        &self,
        load: &Load,
        records: &BulkRecords,
        range: Range<usize>,
    ) -> Result<u64> {
        let mut prepared = self
            .connection
            .prepare_cached(&load.insert.sql)
            .map_err(translate)?;
        let mut written: u64 = 0;
        for index in range {
            // What the role's conditions bind stands behind the values.
            let values = records.record(index).iter();
            let others = load.insert.values(&[])?.into_iter().skip(records.width());
            for (position, value) in (1..).zip(values.chain(others)) {
                prepared
                    .raw_bind_parameter(position, bind(value)?)
                    .map_err(translate)?;
            }
            let mut result = prepared.raw_query();
            let mut is_good = !load.is_checked;
            while let Some(row) = result.next().map_err(translate)? {
                is_good = row.get_ref(0).map_err(translate)? == ValueRef::Integer(1);
            }
            drop(result);
            let is_missed = load.is_upsert && self.connection.changes() == 0;
            if !is_good || is_missed {
                return Err(not_permitted());
            }
            written = written.saturating_add(1);
        }
        Ok(written)
    }

    /// Runs one statement. Rows go to the writer, value by value, and are flushed when it asks for that. Gives the
    /// number of records written, or for a reading statement the number of rows read.
    pub(super) fn run(
        &self,
        statement: &Statement,
        key: &[Scalar],
        mut rows: RowWriter,
    ) -> Result<(RowWriter, u64)> {
        let mut prepared = self
            .connection
            .prepare_cached(&statement.sql)
            .map_err(translate)?;
        for (index, value) in statement.values(key)?.into_iter().enumerate() {
            prepared
                .raw_bind_parameter(index.saturating_add(1), bind(value)?)
                .map_err(translate)?;
        }
        let is_reading = prepared.readonly();
        let mut guides: Vec<Guide> = Vec::new();
        let mut scratch = String::new();
        let mut count: u64 = 0;
        let mut is_full = false;
        let mut result = prepared.raw_query();
        while let Some(row) = result.next().map_err(translate)? {
            if is_full {
                continue;
            }
            if guides.is_empty() {
                // After the first step: a statement is compiled anew when a table has changed.
                guides = row
                    .as_ref()
                    .columns()
                    // Expressions have no declared type, but are named after one.
                    .map(|column| self.guide(column.decl_type().unwrap_or(column.name())))
                    .collect();
                for index in statement.json_columns.iter() {
                    if let Some(guide) = guides.get_mut(*index) {
                        *guide = Guide::MadeJson;
                    }
                }
            }
            if !rows.begin_row() {
                if is_reading {
                    break;
                }
                // A writing statement is finished, so that its count is right.
                is_full = true;
                continue;
            }
            count = count.saturating_add(1);
            for (index, guide) in guides.iter().enumerate() {
                let stored = row.get_ref(index).map_err(translate)?;
                decode(stored, *guide, &mut scratch, &mut |value| rows.value(value));
            }
            if rows.end_row() {
                let before = self.watch.clock.instant();
                rows.flush_blocking()?;
                let waited = self.watch.clock.instant().saturating_duration_since(before);
                self.watch.forgive(waited);
            }
        }
        drop(result);
        drop(prepared);
        let touched = if is_reading {
            count
        } else {
            self.connection.changes()
        };
        Ok((rows, touched))
    }
}
