//! Small reads, pipelined over a few shared connections.
//!
//! The server answers the statements of a connection in their order, so a slow one would hold up all behind it. Three
//! things keep that rare and short. A statement that turned out slow or large runs on a connection of its own for a
//! while. New reads avoid a connection on which nothing has moved for some time. And a read that has waited long
//! behind others leaves the line and runs elsewhere: it is a read, so running it twice does no harm.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use futures_util::TryStreamExt as _;
use tokio::sync::OnceCell;
use tokio_postgres::Client;

use super::connect::{Connector, Purpose};
use super::encode::Parameter;
use super::error::{overloaded, timed_out, unavailable};
use super::rows::{Decoders, Failure, write_row};
use super::wait::Wait;
use crate::clock::Clock;
use crate::connector::database::rows::RowWriter;
use crate::connector::database::value::Scalar;
use crate::error::Result;

/// Most statements in line on one connection.
const MAX_IN_LINE: u64 = 1024;
/// Most prepared statements on one connection; the one unused for longest goes first.
const MAX_STATEMENTS: usize = 512;
/// Time without an answer after which new reads avoid a connection that owes some.
const STALLED_AFTER: Duration = Duration::from_millis(50);
/// Time after which a read that is not the first in its line looks for another connection.
const PATIENCE: Duration = Duration::from_millis(100);
/// Time from which a run of a statement counts as slow.
const SLOW: Duration = Duration::from_millis(50);
/// Slow runs on end that make a slow statement: one or two may be the fault of the machine.
const SLOW_RUNS: u32 = 3;
/// Bytes from which a result counts as large.
const LARGE_BYTES: usize = 1024 * 1024;
/// How long slow and large statements run on connections of their own.
const HEAVY_FOR: Duration = Duration::from_secs(10);
/// Bytes that are buffered for a slow reader before the connection has to wait for it.
const READER_BYTES: usize = 4 * 1024 * 1024;
/// Longest time to catch up with answers that nobody waits for any more.
const CATCH_UP: Duration = Duration::from_mins(10);

/// How a read on a shared connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// All rows are with the writer.
    Finished,
    /// Nothing is with the writer; the read needs a connection of its own.
    Elsewhere,
}

/// The order of the statements on a connection. Times are microseconds since some instant.
#[derive(Debug, Default)]
struct Line {
    /// Statements that were sent.
    entered: AtomicU64,
    /// Statements that were answered: those with a lower number are done.
    left: AtomicU64,
    /// When an answer came last, or when the line was last empty.
    moved: AtomicU64,
}

impl Line {
    /// Takes the next place; gives its number.
    fn enter(&self, now: u64) -> u64 {
        let number = self.entered.fetch_add(1, Ordering::Relaxed);
        if self.left.load(Ordering::Relaxed) >= number {
            self.moved.fetch_max(now, Ordering::Relaxed);
        }
        number
    }

    /// The statement with this number was answered, and so were all before it. Gives the time at which its
    /// predecessor was answered.
    fn leave(&self, number: u64, now: u64) -> u64 {
        self.left
            .fetch_max(number.saturating_add(1), Ordering::Relaxed);
        let before = self.moved.load(Ordering::Relaxed);
        self.moved.fetch_max(now, Ordering::Relaxed);
        before
    }

    fn length(&self) -> u64 {
        self.entered
            .load(Ordering::Relaxed)
            .saturating_sub(self.left.load(Ordering::Relaxed))
    }

    fn is_first(&self, number: u64) -> bool {
        self.left.load(Ordering::Relaxed) >= number
    }

    fn is_stalled(&self, now: u64) -> bool {
        self.length() > 0
            && now.saturating_sub(self.moved.load(Ordering::Relaxed)) > micros(STALLED_AFTER)
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// A prepared statement with what is known about it.
struct Prepared {
    statement: tokio_postgres::Statement,
    decoders: Decoders,
    /// Until when it runs on connections of its own.
    heavy_until: AtomicU64,
    /// Slow runs since the last fast one.
    slow_runs: AtomicU32,
}

/// Prepared statements of one connection by their text.
#[derive(Default)]
struct Statements(Mutex<StatementTable>);

#[derive(Default)]
struct StatementTable {
    entries: HashMap<Arc<str>, StatementEntry>,
    uses: u64,
}

struct StatementEntry {
    cell: Arc<OnceCell<Prepared>>,
    used: u64,
}

impl Statements {
    /// The place of a statement, which whoever comes first fills.
    fn cell(&self, sql: &Arc<str>) -> Arc<OnceCell<Prepared>> {
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        table.uses = table.uses.saturating_add(1);
        let used = table.uses;
        if let Some(entry) = table.entries.get_mut(sql) {
            entry.used = used;
            return Arc::clone(&entry.cell);
        }
        let oldest = (table.entries.len() >= MAX_STATEMENTS)
            .then(|| table.entries.iter().min_by_key(|(_, entry)| entry.used))
            .flatten()
            .map(|(sql, _)| Arc::clone(sql));
        let _evicted = oldest.and_then(|sql| table.entries.remove(&sql));
        let cell = Arc::new(OnceCell::new());
        table.entries.insert(
            Arc::clone(sql),
            StatementEntry {
                cell: Arc::clone(&cell),
                used,
            },
        );
        cell
    }

    fn forget(&self, sql: &Arc<str>) {
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        table.entries.remove(sql);
    }
}

/// One connection that many reads share.
struct SharedConnection {
    client: Client,
    line: Line,
    /// When a read came last, in microseconds since `epoch`.
    used: AtomicU64,
    statements: Statements,
    epoch: Instant,
    clock: Arc<dyn Clock>,
}

/// A place in the line. Dropped before its answer came, it leaves somebody behind to note when it does.
struct Place {
    connection: Arc<SharedConnection>,
    number: u64,
    entered: u64,
    is_answered: bool,
}

impl Place {
    /// Notes that the answer is complete; gives the time that the server worked on it.
    fn answered(&mut self) -> Duration {
        self.is_answered = true;
        let now = self.connection.now();
        let before = self.connection.line.leave(self.number, now);
        Duration::from_micros(now.saturating_sub(before.max(self.entered)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.is_answered {
            return;
        }
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        // The server goes on answering. What is sent now is answered after that.
        let connection = Arc::clone(&self.connection);
        let number = self.number;
        runtime.spawn(async move {
            if tokio::time::timeout(CATCH_UP, connection.client.check_connection())
                .await
                .is_ok()
            {
                connection.line.leave(number, connection.now());
            }
        });
    }
}

impl SharedConnection {
    fn now(&self) -> u64 {
        micros(self.clock.instant().saturating_duration_since(self.epoch))
    }

    /// Whether it has nothing to do, and had nothing to do for so long.
    fn is_idle(&self, longest: Duration) -> bool {
        let unused = self.now().saturating_sub(self.used.load(Ordering::Relaxed));
        self.line.length() == 0 && unused >= micros(longest)
    }

    fn enter(self: &Arc<Self>) -> Place {
        let entered = self.now();
        Place {
            number: self.line.enter(entered),
            connection: Arc::clone(self),
            entered,
            is_answered: false,
        }
    }

    async fn prepare(&self, sql: &Arc<str>) -> Result<Prepared, Failure> {
        let statement = self.client.prepare(sql).await?;
        Ok(Prepared {
            decoders: Decoders::of(&statement)?,
            statement,
            heavy_until: AtomicU64::new(0),
            slow_runs: AtomicU32::new(0),
        })
    }

    /// Runs one read. `may_leave` says whether there is room elsewhere.
    async fn read(
        self: &Arc<Self>,
        sql: &Arc<str>,
        values: &[&Scalar],
        rows: &mut RowWriter,
        limit: Duration,
        may_leave: &(dyn Fn() -> bool + Sync),
    ) -> Result<Outcome, Failure> {
        let cell = self.statements.cell(sql);
        if cell
            .get()
            .is_some_and(|prepared| prepared.is_heavy(self.now()))
        {
            return Ok(Outcome::Elsewhere);
        }
        let mut place = self.enter();
        self.used.store(place.entered, Ordering::Relaxed);
        let number = place.number;
        let result = self
            .read_in_line(&cell, sql, values, rows, limit, &|| {
                // The first in line has nobody to blame but itself.
                !self.line.is_first(number) && may_leave()
            })
            .await;
        match &result {
            Ok(Some(received)) => {
                let worked = place.answered();
                if let Some(prepared) = cell.get() {
                    prepared.note_run(self.now(), worked, *received);
                }
            }
            Err(failure) if failure.is_answer() => {
                place.answered();
            }
            Ok(None) | Err(_) => {}
        }
        result.map(|received| match received {
            Some(_) => Outcome::Finished,
            None => Outcome::Elsewhere,
        })
    }

    /// Gives the bytes received, or `None` if the read left the line.
    async fn read_in_line(
        &self,
        cell: &OnceCell<Prepared>,
        sql: &Arc<str>,
        values: &[&Scalar],
        rows: &mut RowWriter,
        limit: Duration,
        may_leave: &(dyn Fn() -> bool + Sync),
    ) -> Result<Option<usize>, Failure> {
        let timer = pin!(tokio::time::sleep(PATIENCE));
        let mut wait = Wait::new(timer);
        // A macro, because the futures differ in type and all of them may end the function.
        macro_rules! in_line {
            ($future:expr) => {{
                let mut future = pin!($future);
                loop {
                    match wait.run(future.as_mut()).await {
                        Some(output) => break output,
                        None if !wait.extend(limit) => {
                            return Err(timed_out("shared connection").into());
                        }
                        None if may_leave() => return Ok(None),
                        None => {}
                    }
                }
            }};
        }
        let prepared = in_line!(cell.get_or_try_init(|| self.prepare(sql)))?;
        let parameters = values.iter().map(|value| Parameter(value));
        let mut stream = pin!(in_line!(
            self.client.query_raw(&prepared.statement, parameters)
        )?);
        let mut scratch = String::new();
        let mut received: usize = 0;
        let mut buffered: usize = 0;
        loop {
            let row = loop {
                match wait.run(pin!(stream.try_next())).await {
                    Some(row) => break row?,
                    None if wait.extend(limit) => {}
                    None => return Err(timed_out("shared connection").into()),
                }
            };
            let Some(row) = row else {
                return Ok(Some(received));
            };
            let bytes = row.raw_size_bytes();
            received = received.saturating_add(bytes);
            buffered = buffered.saturating_add(bytes);
            // Only a very large result waits for its reader here: whoever reads slowly would hold up the others.
            if write_row(&row, &prepared.decoders, &mut scratch, rows)? && buffered >= READER_BYTES
            {
                buffered = 0;
                prepared.mark_heavy(self.now());
                rows.flush().await?;
                wait.restart(limit);
            }
        }
    }
}

impl Prepared {
    fn is_heavy(&self, now: u64) -> bool {
        self.heavy_until.load(Ordering::Relaxed) > now
    }

    fn note_run(&self, now: u64, worked: Duration, received: usize) {
        let slow_runs = if worked > SLOW {
            self.slow_runs
                .fetch_add(1, Ordering::Relaxed)
                .saturating_add(1)
        } else {
            // Read before it is written, because nearly all runs are fast and share this line of the cache.
            if self.slow_runs.load(Ordering::Relaxed) > 0 {
                self.slow_runs.store(0, Ordering::Relaxed);
            }
            0
        };
        if slow_runs >= SLOW_RUNS || received > LARGE_BYTES {
            self.mark_heavy(now);
        }
    }

    fn mark_heavy(&self, now: u64) {
        self.heavy_until
            .store(now.saturating_add(micros(HEAVY_FOR)), Ordering::Relaxed);
    }
}

/// A place for one shared connection.
#[derive(Default)]
struct Slot {
    current: RwLock<Option<Arc<SharedConnection>>>,
    opening: tokio::sync::Mutex<()>,
}

impl Slot {
    fn live(&self) -> Option<Arc<SharedConnection>> {
        self.current
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .as_ref()
            .filter(|connection| !connection.client.is_closed())
            .map(Arc::clone)
    }
}

/// The shared connections.
pub(super) struct Shared {
    slots: Box<[Slot]>,
    connector: Arc<Connector>,
    limit: Duration,
    clock: Arc<dyn Clock>,
}

impl Shared {
    /// `limit` is the longest a read may take.
    pub(super) fn new(
        count: usize,
        connector: Arc<Connector>,
        limit: Duration,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            slots: (0..count.max(1)).map(|_| Slot::default()).collect(),
            connector,
            limit,
            clock,
        }
    }

    /// Runs one read. `may_leave` says whether there is room for it elsewhere.
    ///
    /// A connection that dies before the first row, and a prepared statement that the tables have outgrown, are
    /// mended once. A connection that dies later is an error: half a result is none.
    pub(super) async fn read(
        self: &Arc<Self>,
        sql: &Arc<str>,
        values: &[&Scalar],
        rows: &mut RowWriter,
        may_leave: &(dyn Fn() -> bool + Sync),
    ) -> Result<Outcome> {
        let mut is_first_attempt = true;
        loop {
            let Some(connection) = self.choose(may_leave).await? else {
                return Ok(Outcome::Elsewhere);
            };
            let rows_before = rows.rows();
            let result = connection
                .read(sql, values, rows, self.limit, may_leave)
                .await;
            let failure = match result {
                Ok(outcome) => return Ok(outcome),
                Err(failure) => failure,
            };
            let is_untouched = rows.rows() == rows_before;
            if failure.is_stale() {
                connection.statements.forget(sql);
            } else if !failure.is_lost() {
                return Err(failure.into_error());
            }
            if !is_first_attempt || !is_untouched {
                return Err(failure.into_error());
            }
            is_first_attempt = false;
        }
    }

    /// Whether there is a connection.
    pub(super) fn is_connected(&self) -> bool {
        self.slots.iter().any(|slot| slot.live().is_some())
    }

    /// Closes the connections that nobody used for so long.
    pub(super) fn release_unused(&self, longest: Duration) {
        for slot in &self.slots {
            let mut current = slot.current.write().unwrap_or_else(PoisonError::into_inner);
            if current
                .as_ref()
                .is_some_and(|connection| connection.is_idle(longest))
            {
                *current = None;
            }
        }
    }

    /// One empty round trip.
    pub(super) async fn probe(self: &Arc<Self>) -> Result<Outcome> {
        let Some(connection) = self.choose(&|| true).await? else {
            return Ok(Outcome::Elsewhere);
        };
        let mut place = connection.enter();
        match tokio::time::timeout(
            PATIENCE.max(STALLED_AFTER),
            connection.client.check_connection(),
        )
        .await
        {
            Ok(result) => {
                place.answered();
                result
                    .map(|()| Outcome::Finished)
                    .map_err(super::error::from_driver)
            }
            Err(_elapsed) => Ok(Outcome::Elsewhere),
        }
    }

    /// The connection with the shortest line that moves; connects where nothing does. `None` if every line stands
    /// and there is room elsewhere.
    async fn choose(
        self: &Arc<Self>,
        may_leave: &(dyn Fn() -> bool + Sync),
    ) -> Result<Option<Arc<SharedConnection>>> {
        let mut moving: Option<(u64, Arc<SharedConnection>)> = None;
        let mut standing: Option<(u64, Arc<SharedConnection>)> = None;
        let mut empty = None;
        for (index, slot) in self.slots.iter().enumerate() {
            let Some(connection) = slot.live() else {
                empty = empty.or(Some(index));
                continue;
            };
            let length = connection.line.length();
            if length == 0 {
                return Ok(Some(connection));
            }
            let best = if connection.line.is_stalled(connection.now()) {
                &mut standing
            } else {
                &mut moving
            };
            if best.as_ref().is_none_or(|(shortest, _)| length < *shortest) {
                *best = Some((length, connection));
            }
        }
        if let Some((length, connection)) = moving {
            if let Some(index) = empty {
                self.grow(index);
            }
            if length >= MAX_IN_LINE {
                return Err(overloaded("a shared connection"));
            }
            return Ok(Some(connection));
        }
        if let Some(index) = empty {
            return match (self.open(index).await, standing) {
                (Ok(connection), _) => Ok(Some(connection)),
                (Err(_), Some(_)) if may_leave() => Ok(None),
                (Err(error), _) => Err(error),
            };
        }
        match standing {
            Some(_) if may_leave() => Ok(None),
            Some((length, connection)) if length < MAX_IN_LINE => Ok(Some(connection)),
            Some(_) => Err(overloaded("a shared connection")),
            None => Err(unavailable("no shared connection")),
        }
    }

    /// Fills a slot in the background, if nobody does so already.
    fn grow(self: &Arc<Self>, index: usize) {
        let is_idle = self
            .slots
            .get(index)
            .is_some_and(|slot| slot.opening.try_lock().is_ok());
        if is_idle && self.connector.admit().is_ok() {
            let this = Arc::clone(self);
            tokio::spawn(async move {
                let _ = this.open(index).await;
            });
        }
    }

    /// Connects a slot. Whoever comes second waits for the first and shares what it got.
    async fn open(&self, index: usize) -> Result<Arc<SharedConnection>> {
        let Some(slot) = self.slots.get(index) else {
            return Err(unavailable("no such slot"));
        };
        let Ok(_opening) =
            tokio::time::timeout(self.connector.timeout(), slot.opening.lock()).await
        else {
            return Err(unavailable("connect timed out"));
        };
        if let Some(connection) = slot.live() {
            return Ok(connection);
        }
        self.connector.admit()?;
        let (client, _task) = self.connector.connect_in_time(Purpose::Shared).await?;
        let connection = Arc::new(SharedConnection {
            client,
            line: Line::default(),
            used: AtomicU64::new(0),
            statements: Statements::default(),
            epoch: self.clock.instant(),
            clock: Arc::clone(&self.clock),
        });
        *slot.current.write().unwrap_or_else(PoisonError::into_inner) =
            Some(Arc::clone(&connection));
        Ok(connection)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_knows_who_is_first_and_whether_it_moves() {
        let line = Line::default();
        let stalled = micros(STALLED_AFTER) + 1;
        assert!(!line.is_stalled(stalled), "an empty line does not stand");
        let first = line.enter(1000);
        let second = line.enter(1001);
        assert!(line.is_first(first) && !line.is_first(second));
        assert_eq!(line.length(), 2);
        assert!(!line.is_stalled(1000 + stalled - 1));
        assert!(line.is_stalled(1000 + stalled));
        assert_eq!(line.leave(first, 90_000), 1000);
        assert!(line.is_first(second));
        assert!(!line.is_stalled(90_001));
        assert_eq!(line.leave(second, 91_000), 90_000);
        assert_eq!(line.length(), 0);
        // A new beginning is not late because the line was empty for long.
        line.enter(10_000_000);
        assert!(!line.is_stalled(10_000_001));
    }

    #[test]
    fn an_answer_proves_that_those_before_it_were_answered() {
        let line = Line::default();
        let (_abandoned, second) = (line.enter(0), line.enter(0));
        line.leave(second, 5);
        assert_eq!(line.length(), 0);
    }

    #[test]
    fn the_statement_unused_for_longest_makes_room() {
        let statements = Statements::default();
        let texts: Vec<Arc<str>> = (0..=MAX_STATEMENTS)
            .map(|number| Arc::from(format!("SELECT {number}")))
            .collect();
        let first = statements.cell(&texts[0]);
        for text in &texts[1..MAX_STATEMENTS] {
            statements.cell(text);
        }
        // Used again, so the second is now the oldest.
        assert!(Arc::ptr_eq(&first, &statements.cell(&texts[0])));
        statements.cell(&texts[MAX_STATEMENTS]);
        let table = statements.0.lock().unwrap();
        assert_eq!(table.entries.len(), MAX_STATEMENTS);
        assert!(table.entries.contains_key(&texts[0]));
        assert!(!table.entries.contains_key(&texts[1]));
    }
}
