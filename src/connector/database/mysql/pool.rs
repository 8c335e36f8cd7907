//! Connections that serve one request at a time: reads, whose rows go to the caller as they arrive, and transactions.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use mysql_async::Error as NativeError;
use mysql_async::prelude::Queryable as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};

use super::catalog;
use super::connect::{Connector, Flavour, KILL_TIMEOUT, Session};
use super::decode::Decoders;
use super::encode::encode;
use super::error::{Cause, cause, from_driver, is_broken, is_stale, overloaded, timed_out};
use crate::clock::Clock;
use crate::connector::database::catalog::Catalog;
use crate::connector::database::results::Results;
use crate::connector::database::rows::RowWriter;
use crate::connector::database::sql::{SqlPool, Statement, Transaction};
use crate::connector::database::value::Scalar;
use crate::error::{Error, ErrorKind, Result};

/// Most requests that wait for a connection.
const MAX_WAITING: usize = 256;
/// Longest wait for a connection.
const LONGEST_WAIT: Duration = Duration::from_secs(10);
/// How long a connection may be unused before it is closed.
const LONGEST_IDLE: Duration = Duration::from_mins(5);
/// How much longer than the server's limit the gateway waits for the server to keep it.
const GRACE: Duration = Duration::from_secs(2);
/// Longest a rollback may take that nobody waits for.
const ROLLBACK_TIMEOUT: Duration = Duration::from_secs(5);
/// Most rows of a read whose time the server watches over. It would count the time that the caller takes to read.
const SMALL_ROWS: u64 = 1024;
/// How many statements' time the catalogue may take.
const CATALOG_STATEMENTS: u32 = 9;
/// The name of the one savepoint.
const SAVEPOINT: &str = "tidegate";

/// Connections to one database. Nothing connects before it is needed.
pub(super) struct MysqlPool {
    shared: Arc<Shared>,
    slots: Arc<Semaphore>,
    /// Large reads may not take the last connections from the writes.
    reads: Semaphore,
    waiting: AtomicUsize,
    chosen: catalog::Chosen,
    /// Longest that one statement may take, as the gateway sees it.
    limit: Duration,
    /// The session's distance from UTC in seconds.
    offset: i32,
}

/// What leases come from and go back to.
struct Shared {
    connector: Connector,
    /// Bounded by the number of slots.
    idle: Mutex<Vec<Idle>>,
    clock: Arc<dyn Clock>,
}

struct Idle {
    session: Session,
    since: Instant,
}

impl Shared {
    fn idle(&self) -> MutexGuard<'_, Vec<Idle>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn give_back(&self, session: Session) {
        let since = self.clock.instant();
        self.idle().push(Idle { session, since });
    }
}

/// What a leased connection is doing; decides what becomes of it when it is given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nothing: it can go back as it is.
    Idle,
    /// It is in a transaction, between two statements.
    InTransaction,
    /// A statement is running or its result is being read.
    Busy,
    /// It is of no use any more.
    Broken,
}

/// A connection for one request.
///
/// Dropped in a transaction, it is rolled back before anyone else gets it. Dropped while a statement runs, the server
/// is made to end it, and it is closed. The slot is taken as long as that lasts.
struct Lease {
    session: Option<Session>,
    state: State,
    /// Whether it is closed in any case, because its session may not be as the next caller expects it.
    is_spent: bool,
    permit: Option<OwnedSemaphorePermit>,
    shared: Arc<Shared>,
}

impl Lease {
    fn session(&mut self) -> Result<&mut Session> {
        self.session
            .as_mut()
            .ok_or_else(|| Error::internal("a leased connection is gone"))
    }

    /// Notes in which state a failure leaves the connection; `rest` is the state after an answer.
    fn settle(&mut self, failure: &Failure, rest: State) {
        if let Failure::Driver(error) = failure {
            self.state = match cause(error) {
                Cause::Lost => State::Broken,
                Cause::Answered | Cause::Undone if is_stale(error) => State::Broken,
                Cause::Answered | Cause::Undone => rest,
            };
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Some(mut session) = self.session.take() else {
            return;
        };
        if self.state == State::Idle && !self.is_spent {
            self.shared.give_back(session);
            return;
        }
        // Without a runtime the connection just closes.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        let permit = self.permit.take();
        let shared = Arc::clone(&self.shared);
        let state = self.state;
        let is_spent = self.is_spent;
        runtime.spawn(async move {
            let _slot = permit;
            match state {
                State::InTransaction => {
                    let rolling_back = session.native.query_drop("ROLLBACK");
                    let rolled_back = tokio::time::timeout(ROLLBACK_TIMEOUT, rolling_back).await;
                    if !is_spent && matches!(rolled_back, Ok(Ok(()))) {
                        shared.give_back(session);
                        return;
                    }
                }
                State::Busy => shared.connector.kill(session.native.id()).await,
                State::Idle | State::Broken => {}
            }
            // Reads what is left of a result, until the server's end of the connection is closed.
            let _ = tokio::time::timeout(KILL_TIMEOUT, session.native.disconnect()).await;
        });
    }
}

/// A failure of a statement: the driver's, or one of ours.
enum Failure {
    /// The driver's, or the server's through it.
    Driver(NativeError),
    /// Ours: a value that cannot be read, a reader that went away, a deadline.
    Ours(Error),
}

impl Failure {
    /// Whether another connection may do what this one could not.
    fn may_help_to_repeat(&self) -> bool {
        matches!(self, Self::Driver(error) if is_broken(error) || is_stale(error))
    }

    fn is_undone(&self) -> bool {
        matches!(self, Self::Driver(error) if cause(error) == Cause::Undone)
    }

    fn into_error(self) -> Error {
        match self {
            Self::Driver(error) => from_driver(error),
            Self::Ours(error) => error,
        }
    }
}

impl From<NativeError> for Failure {
    fn from(error: NativeError) -> Self {
        Self::Driver(error)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Ours(error)
    }
}

/// What a statement did.
#[derive(Clone, Copy, Debug, Default)]
struct Done {
    touched: u64,
    last_key: Option<i64>,
}

/// Awaits with a deadline.
async fn in_time<T>(
    limit: Duration,
    future: impl Future<Output = std::result::Result<T, NativeError>>,
) -> std::result::Result<T, Failure> {
    match tokio::time::timeout(limit, future).await {
        Ok(result) => Ok(result?),
        Err(_elapsed) => Err(timed_out("connection").into()),
    }
}

/// Runs a statement to its end. The reader's own time does not count.
async fn run_statement(
    session: &mut Session,
    sql: Arc<str>,
    values: Vec<mysql_async::Value>,
    rows: &mut RowWriter,
    limit: Duration,
    offset: i32,
) -> std::result::Result<Done, Failure> {
    let mut result = in_time(limit, session.native.exec_iter(sql, values)).await?;
    let mut decoders = Decoders::of(result.columns_ref(), offset);
    let mut deadline = tokio::time::Instant::now() + limit;
    loop {
        let row = match tokio::time::timeout_at(deadline, result.next()).await {
            Ok(row) => row?,
            Err(_elapsed) => return Err(timed_out("result").into()),
        };
        let Some(row) = row else {
            break;
        };
        if decoders.write(&row, rows)? {
            rows.flush().await?;
            deadline = tokio::time::Instant::now() + limit;
        }
    }
    Ok(Done {
        touched: result.affected_rows(),
        last_key: result
            .last_insert_id()
            .and_then(|number| i64::try_from(number).ok()),
    })
}

/// Runs CALL. Each result with columns is taken; the last one, of the procedure as a whole, has none.
async fn call(
    session: &mut Session,
    sql: Arc<str>,
    values: Vec<mysql_async::Value>,
    results: &mut Results,
    limit: Duration,
    offset: i32,
) -> std::result::Result<(), Failure> {
    let mut result = in_time(limit, session.native.exec_iter(sql, values)).await?;
    let deadline = tokio::time::Instant::now() + limit;
    let late = || Failure::from(timed_out("routine"));
    while !result.is_empty() {
        let columns = result.columns_ref();
        if columns.is_empty() {
            // An answer without rows; this goes on to the next.
            let next = tokio::time::timeout_at(deadline, result.next()).await;
            next.map_err(|_elapsed| late())??;
            continue;
        }
        let names = columns.iter().map(|column| column.name_str().into_owned());
        let mut rows = results.begin(names.collect())?;
        let mut decoders = Decoders::of_call(columns, offset);
        loop {
            let next = tokio::time::timeout_at(deadline, result.next()).await;
            let Some(row) = next.map_err(|_elapsed| late())?? else {
                break;
            };
            if decoders.write(&row, &mut rows)? {
                rows.flush().await?;
            }
        }
        results.end(rows)?;
    }
    Ok(())
}

/// The text of a read that may take as long as the caller does: the gateway alone watches over its time.
fn unhurried(sql: &str, flavour: Flavour) -> Arc<str> {
    match (flavour, sql.strip_prefix("SELECT ")) {
        // A limit of 0 would stand for the session's.
        (Flavour::Mysql, Some(rest)) => {
            format!("SELECT /*+ MAX_EXECUTION_TIME(4294967295) */ {rest}").into()
        }
        (Flavour::Mariadb, Some(_)) => {
            format!("SET STATEMENT max_statement_time = 0 FOR {sql}").into()
        }
        (_, None) => sql.into(),
    }
}

impl MysqlPool {
    /// Prepares the pool without connecting.
    pub(super) fn new(
        connector: Connector,
        count: usize,
        statement_limit: Duration,
        offset: i32,
        chosen: catalog::Chosen,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let count = count.max(1);
        Self {
            shared: Arc::new(Shared {
                connector,
                idle: Mutex::default(),
                clock,
            }),
            slots: Arc::new(Semaphore::new(count)),
            reads: Semaphore::new(count.div_ceil(2)),
            waiting: AtomicUsize::new(0),
            chosen,
            limit: statement_limit.saturating_add(GRACE),
            offset,
        }
    }

    /// Closes the connections that nobody used for so long.
    pub(super) fn release_unused(&self, longest: Duration) {
        let now = self.shared.clock.instant();
        self.shared
            .idle()
            .retain(|idle| now.saturating_duration_since(idle.since) < longest);
    }

    /// A place among the connections.
    async fn slot(&self) -> Result<OwnedSemaphorePermit> {
        if let Ok(permit) = Arc::clone(&self.slots).try_acquire_owned() {
            return Ok(permit);
        }
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= MAX_WAITING {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            return Err(overloaded("a connection"));
        }
        let _waiting = Waiting(&self.waiting);
        let acquiring = Arc::clone(&self.slots).acquire_owned();
        match tokio::time::timeout(LONGEST_WAIT, acquiring).await {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(_)) | Err(_) => Err(overloaded("a connection")),
        }
    }

    async fn lease(&self) -> Result<Lease> {
        let permit = self.slot().await?;
        let kept = self.shared.idle().pop();
        let session = if let Some(idle) = kept {
            idle.session
        } else {
            self.shared.connector.admit()?;
            self.shared.connector.connect().await?
        };
        Ok(Lease {
            session: Some(session),
            is_spent: false,
            state: State::Idle,
            permit: Some(permit),
            shared: Arc::clone(&self.shared),
        })
    }

    /// After a connection turned out to be dead, the others that lay idle are not trusted either.
    fn forget_idle(&self) {
        let old = std::mem::take(&mut *self.shared.idle());
        drop(old);
    }

    /// A connection on which this statement was run. A connection that turns out to be dead is replaced once.
    async fn lease_with(&self, sql: &'static str, state: State) -> Result<Lease> {
        let mut is_first_attempt = true;
        loop {
            let mut lease = self.lease().await?;
            lease.state = State::Busy;
            let result = in_time(self.limit, lease.session()?.native.query_drop(sql)).await;
            let Err(failure) = result else {
                lease.state = state;
                return Ok(lease);
            };
            lease.settle(&failure, State::Idle);
            if !failure.may_help_to_repeat() || !is_first_attempt {
                return Err(failure.into_error());
            }
            is_first_attempt = false;
            self.forget_idle();
        }
    }

    async fn read_permit(&self) -> Result<SemaphorePermit<'_>> {
        match tokio::time::timeout(LONGEST_WAIT, self.reads.acquire()).await {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(_)) | Err(_) => Err(overloaded("a connection for a large read")),
        }
    }

    /// Runs one of the gateway's own questions on a connection of its own.
    async fn ask<T>(
        &self,
        limit: Duration,
        what: &'static str,
        question: impl AsyncFnOnce(&mut Session) -> std::result::Result<T, NativeError>,
    ) -> Result<T> {
        // The round trip finds out whether the connection is still good.
        let mut lease = self.lease_with("DO 0", State::Busy).await?;
        let asking = question(lease.session()?);
        let result = tokio::time::timeout(limit, asking)
            .await
            .map_err(|_elapsed| timed_out(what))?;
        match result {
            Ok(answer) => {
                lease.state = State::Idle;
                Ok(answer)
            }
            Err(error) => {
                let failure = Failure::from(error);
                lease.settle(&failure, State::Idle);
                Err(failure.into_error())
            }
        }
    }
}

impl MysqlPool {
    async fn begin_with(&self, begin: &'static str) -> Result<Box<dyn Transaction>> {
        Ok(Box::new(MysqlTransaction {
            lease: self.lease_with(begin, State::InTransaction).await?,
            limit: self.limit,
            offset: self.offset,
            last_key: None,
            health: Health::Sound,
        }))
    }
}

/// One more request that waits, until it is dropped.
struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[async_trait]
impl SqlPool for MysqlPool {
    async fn catalog(&self) -> Result<Catalog> {
        let limit = self.limit.saturating_mul(CATALOG_STATEMENTS);
        self.ask(limit, "catalogue", async |session| {
            catalog::read(session, &self.chosen).await
        })
        .await
    }

    async fn fingerprint(&self) -> Result<String> {
        self.ask(self.limit, "fingerprint", async |session| {
            catalog::fingerprint(session, &self.chosen).await
        })
        .await
    }

    async fn read(
        &self,
        statement: &Statement,
        key: &[Scalar],
        mut rows: RowWriter,
    ) -> Result<RowWriter> {
        let values = encode(&statement.values(key)?, self.offset)?;
        let is_small = statement
            .expected_rows
            .is_some_and(|expected| expected <= SMALL_ROWS);
        let _permit = if is_small {
            None
        } else {
            Some(self.read_permit().await?)
        };
        let mut is_first_attempt = true;
        loop {
            let mut lease = self.lease().await?;
            lease.state = State::Busy;
            let before = rows.rows();
            let session = lease.session()?;
            let sql = if is_small {
                Arc::clone(&statement.sql)
            } else {
                unhurried(&statement.sql, session.flavour)
            };
            let result = run_statement(
                session,
                sql,
                values.clone(),
                &mut rows,
                self.limit,
                self.offset,
            )
            .await;
            let Err(failure) = result else {
                lease.state = State::Idle;
                return Ok(rows);
            };
            lease.settle(&failure, State::Idle);
            if !failure.may_help_to_repeat() || !is_first_attempt || rows.rows() != before {
                return Err(failure.into_error());
            }
            is_first_attempt = false;
            self.forget_idle();
        }
    }

    async fn begin(&self) -> Result<Box<dyn Transaction>> {
        self.begin_with("START TRANSACTION").await
    }

    async fn begin_reading(&self) -> Result<Box<dyn Transaction>> {
        self.begin_with("START TRANSACTION READ ONLY").await
    }

    async fn probe(&self) -> Result<()> {
        if !self.shared.idle().is_empty() {
            self.lease_with("DO 0", State::Idle).await?;
            return Ok(());
        }
        // A service that nobody calls holds no connection.
        self.shared.connector.admit()?;
        let session = self.shared.connector.connect().await?;
        let _ = tokio::time::timeout(KILL_TIMEOUT, session.native.disconnect()).await;
        Ok(())
    }

    fn release_idle(&self) {
        self.release_unused(LONGEST_IDLE);
    }
}

/// Whether what a transaction did can still be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Health {
    /// All went well.
    Sound,
    /// A statement failed, and nobody has gone back to the savepoint since. The server would commit the others.
    Failed,
    /// The server has rolled back all of it. It would call a commit of nothing a success.
    Undone,
}

/// A transaction on a connection of its own.
struct MysqlTransaction {
    lease: Lease,
    limit: Duration,
    offset: i32,
    last_key: Option<i64>,
    health: Health,
}

impl MysqlTransaction {
    /// Notes how a statement ended.
    fn settle<T>(&mut self, result: std::result::Result<T, Failure>) -> Result<T> {
        match result {
            Ok(value) => {
                self.lease.state = State::InTransaction;
                Ok(value)
            }
            Err(failure) => {
                self.lease.settle(&failure, State::InTransaction);
                if failure.is_undone() {
                    self.health = Health::Undone;
                } else if self.health == Health::Sound {
                    self.health = Health::Failed;
                }
                Err(failure.into_error())
            }
        }
    }

    /// Runs a statement without values that gives no rows.
    async fn execute(&mut self, sql: String) -> Result<()> {
        if self.health == Health::Undone {
            return Err(undone());
        }
        self.lease.state = State::Busy;
        let limit = self.limit;
        let result = in_time(limit, self.lease.session()?.native.query_drop(sql)).await;
        self.settle(result)
    }
}

fn undone() -> Error {
    Error::new(
        ErrorKind::SerializationFailure,
        "concurrent writes collided and nothing was written",
    )
}

#[async_trait]
impl Transaction for MysqlTransaction {
    async fn run(
        &mut self,
        statement: &Statement,
        key: &[Scalar],
        mut rows: RowWriter,
    ) -> Result<(RowWriter, u64)> {
        if self.health == Health::Undone {
            return Err(undone());
        }
        let values = encode(&statement.values(key)?, self.offset)?;
        let sql = Arc::clone(&statement.sql);
        let (limit, offset) = (self.limit, self.offset);
        self.lease.state = State::Busy;
        let session = self.lease.session()?;
        let result = run_statement(session, sql, values, &mut rows, limit, offset).await;
        let done = self.settle(result)?;
        self.last_key = done.last_key;
        Ok((rows, done.touched))
    }

    fn retire(&mut self) {
        self.lease.is_spent = true;
    }

    async fn call(&mut self, statement: &Statement, results: &mut Results) -> Result<()> {
        if self.health == Health::Undone {
            return Err(undone());
        }
        let values = encode(&statement.values(&[])?, self.offset)?;
        let sql = Arc::clone(&statement.sql);
        let (limit, offset) = (self.limit, self.offset);
        self.lease.state = State::Busy;
        let session = self.lease.session()?;
        let result = call(session, sql, values, results, limit, offset).await;
        self.settle(result)
    }

    fn last_key(&self) -> Option<i64> {
        self.last_key
    }

    async fn savepoint(&mut self) -> Result<()> {
        // A savepoint of the same name takes the place of the one before.
        self.execute(format!("SAVEPOINT {SAVEPOINT}")).await
    }

    async fn rollback_to_savepoint(&mut self) -> Result<()> {
        self.execute(format!("ROLLBACK TO SAVEPOINT {SAVEPOINT}"))
            .await?;
        self.health = Health::Sound;
        Ok(())
    }

    async fn release_savepoint(&mut self) -> Result<()> {
        self.execute(format!("RELEASE SAVEPOINT {SAVEPOINT}")).await
    }

    async fn commit(mut self: Box<Self>) -> Result<()> {
        if self.health == Health::Failed {
            return Err(Error::internal(
                "a transaction was committed after one of its statements had failed",
            ));
        }
        self.execute("COMMIT".to_owned()).await?;
        self.lease.state = State::Idle;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_gateway_watches_over_the_time_of_large_reads() {
        assert_eq!(
            &*unhurried("SELECT 1", Flavour::Mysql),
            "SELECT /*+ MAX_EXECUTION_TIME(4294967295) */ 1"
        );
        assert_eq!(
            &*unhurried("SELECT 1", Flavour::Mariadb),
            "SET STATEMENT max_statement_time = 0 FOR SELECT 1"
        );
    }
}
