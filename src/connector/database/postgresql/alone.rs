//! Connections that serve one request at a time: transactions, and reads that are slow or large.

use std::ops::{Deref, Range};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use deadpool_postgres::{
    Hook, HookError, Manager, ManagerConfig, Object, Pool, PoolError, RecyclingMethod, Runtime,
    TimeoutType,
};
use futures_util::{SinkExt as _, TryStreamExt as _};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio_postgres::Client;
use tokio_postgres::types::{ToSql, Type as DriverType};

use super::connect::{Connector, PoolConnector};
use super::decode::Raw;
use super::encode::{Parameter, copy_line};
use super::error::{from_connecting, from_driver, overloaded, timed_out, unavailable, unfit};
use super::rows::{Decoders, Failure, write_columns, write_row};
use super::wait::Wait;
use crate::connector::database::catalog::Type;
use crate::connector::database::plan::BulkRecords;
use crate::connector::database::results::{MAX_RESULT_SETS, Results};
use crate::connector::database::rows::RowWriter;
use crate::connector::database::sql::{Load, Statement, Transaction};
use crate::connector::database::value::Scalar;
use crate::error::{Error, Result};

/// Most requests that wait for a connection of their own.
const MAX_WAITING: usize = 256;
/// Longest wait for a connection of one's own.
const LONGEST_WAIT: Duration = Duration::from_secs(10);
/// Most prepared statements on one connection; then all are forgotten.
const MAX_STATEMENTS: usize = 256;
/// Bytes that one step of a large read should bring.
const STEP_BYTES: usize = 256 * 1024;
/// Rows of the first step, when their size is not yet known.
const FIRST_ROWS: i32 = 128;
/// Most rows of one step.
const MOST_ROWS: i32 = 10_000;
/// Longest a rollback may take that nobody waits for.
const ROLLBACK_TIMEOUT: Duration = Duration::from_secs(5);

/// The connections.
pub(super) struct Alone {
    pool: Pool,
    /// Large reads may not take the last connections from the writes.
    reads: Semaphore,
    connector: Arc<Connector>,
    limit: Duration,
}

/// What a transaction is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// It may write, as far as the server lets it.
    Writing,
    /// It may not write, whatever is called in it.
    Reading,
}

impl Mode {
    fn begin(self) -> &'static str {
        match self {
            Self::Writing => "BEGIN",
            Self::Reading => "BEGIN READ ONLY",
        }
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
}

/// A connection for one request.
///
/// Dropped in a transaction, it is rolled back before anyone else gets it. Dropped while a statement runs, the
/// statement is cancelled and the connection closed: a late cancellation must not hit the next request.
pub(super) struct Lease {
    object: Option<Object>,
    state: State,
    /// Whether it is closed in any case, because its session may not be as the next caller expects it.
    is_spent: bool,
    connector: Arc<Connector>,
}

impl Lease {
    fn client(&self) -> Result<&Object> {
        self.object
            .as_ref()
            .ok_or_else(|| Error::internal("a leased connection is gone"))
    }

    fn client_mut(&mut self) -> Result<&mut Object> {
        self.object
            .as_mut()
            .ok_or_else(|| Error::internal("a leased connection is gone"))
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Some(object) = self.object.take() else {
            return;
        };
        if self.state == State::Idle {
            if self.is_spent {
                let _closed = Object::take(object);
            }
            return;
        }
        let is_spent = self.is_spent;
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            let _closed = Object::take(object);
            return;
        };
        if self.state == State::Busy {
            let client = Object::take(object);
            let connector = Arc::clone(&self.connector);
            runtime.spawn(async move {
                connector.cancel(client.cancel_token()).await;
                drop(client);
            });
            return;
        }
        runtime.spawn(async move {
            let rolled_back =
                tokio::time::timeout(ROLLBACK_TIMEOUT, object.batch_execute("ROLLBACK")).await;
            if is_spent || !matches!(rolled_back, Ok(Ok(()))) {
                let _closed = Object::take(object);
            }
        });
    }
}

/// The client of a busy lease, for code that only needs to send statements.
pub(super) struct Session {
    lease: Lease,
}

impl Session {
    /// The client.
    pub(super) fn client(&self) -> Result<&Client> {
        Ok(self.lease.client()?.deref().deref())
    }

    /// Ends the transaction and gives the connection back; without it, the connection is closed.
    pub(super) async fn end(mut self) -> Result<()> {
        tokio::time::timeout(ROLLBACK_TIMEOUT, self.client()?.batch_execute("COMMIT"))
            .await
            .map_err(|_elapsed| timed_out("commit"))?
            .map_err(from_driver)?;
        self.lease.state = State::Idle;
        Ok(())
    }
}

impl Alone {
    /// `limit` is the longest that one statement may take.
    pub(super) fn new(count: usize, connector: Arc<Connector>, limit: Duration) -> Result<Self> {
        let count = count.max(1);
        let manager = Manager::from_connect(
            tokio_postgres::Config::new(),
            PoolConnector(Arc::clone(&connector)),
            ManagerConfig {
                recycling_method: RecyclingMethod::Fast,
            },
        );
        let pool = Pool::builder(manager)
            .max_size(count)
            .runtime(Runtime::Tokio1)
            .wait_timeout(Some(LONGEST_WAIT))
            .create_timeout(Some(connector.timeout()))
            .recycle_timeout(Some(connector.timeout()))
            // Looked at here, because the pool itself would warn of what is no fault.
            .pre_recycle(Hook::sync_fn(|client, _| {
                if client.is_closed() {
                    Err(HookError::message("the server closed the connection"))
                } else {
                    Ok(())
                }
            }))
            .build()
            .map_err(|error| Error::internal("no pool of connections").with_source(error))?;
        Ok(Self {
            pool,
            reads: Semaphore::new(count.div_ceil(2)),
            connector,
            limit,
        })
    }

    /// Closes the connections that nobody used for so long.
    pub(super) fn release_unused(&self, longest: Duration) {
        self.pool.retain(|_, metrics| metrics.last_used() < longest);
    }

    /// Whether a read could begin at once.
    pub(super) fn has_room(&self) -> bool {
        let status = self.pool.status();
        self.reads.available_permits() > 0
            && status.waiting == 0
            && (status.available > 0 || status.size < status.max_size)
    }

    async fn lease(&self) -> Result<Lease> {
        let status = self.pool.status();
        if status.waiting >= MAX_WAITING {
            return Err(overloaded("a connection"));
        }
        // With all connections in use there is none to be made: one of them will come back.
        if status.available == 0 && status.size < status.max_size {
            self.connector.admit()?;
        }
        let object = self.pool.get().await.map_err(|error| match error {
            PoolError::Backend(error) => from_connecting(error),
            PoolError::Timeout(TimeoutType::Wait) => overloaded("a connection"),
            PoolError::Timeout(TimeoutType::Create | TimeoutType::Recycle) => {
                self.connector.timed_out();
                unavailable("connect timed out")
            }
            PoolError::Closed | PoolError::NoRuntimeSpecified | PoolError::PostCreateHook(_) => {
                Error::internal("the pool of connections is closed")
            }
        })?;
        Ok(Lease {
            object: Some(object),
            is_spent: false,
            state: State::Idle,
            connector: Arc::clone(&self.connector),
        })
    }

    /// A connection in a new transaction. A connection that turns out to be dead is replaced once.
    async fn lease_in_transaction(&self, begin: &str) -> Result<Lease> {
        let mut is_first_attempt = true;
        loop {
            let mut lease = self.lease().await?;
            lease.state = State::Busy;
            let result = in_time(self.limit, lease.client()?.batch_execute(begin)).await;
            match result {
                Ok(()) => {
                    lease.state = State::InTransaction;
                    return Ok(lease);
                }
                Err(failure) if failure.is_lost() && is_first_attempt => is_first_attempt = false,
                Err(failure) => return Err(failure.into_error()),
            }
        }
    }

    /// A connection for the gateway's own questions, in a transaction in which nothing changes.
    pub(super) async fn session(&self) -> Result<Session> {
        let mut lease = self
            .lease_in_transaction("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            .await?;
        lease.state = State::Busy;
        Ok(Session { lease })
    }

    async fn read_permit(&self) -> Result<SemaphorePermit<'_>> {
        match tokio::time::timeout(LONGEST_WAIT, self.reads.acquire()).await {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(_)) | Err(_) => Err(overloaded("a connection for a large read")),
        }
    }

    /// Runs one read of any size, step by step: the server works ahead of the reader by one step at most, and each
    /// step has the time of a statement, so a slow reader neither fills memory nor runs into the time limit.
    pub(super) async fn read(
        &self,
        sql: &str,
        values: &[&Scalar],
        rows: &mut RowWriter,
    ) -> Result<()> {
        let _permit = self.read_permit().await?;
        let mut is_first_attempt = true;
        loop {
            let mut lease = self.lease().await?;
            lease.state = State::Busy;
            let rows_before = rows.rows();
            let result = read_in_steps(lease.client_mut()?, sql, values, rows, self.limit).await;
            let Err(failure) = result else {
                lease.state = State::Idle;
                return Ok(());
            };
            let is_stale = failure.is_stale();
            if failure.is_answer() {
                // The rollback is on its way already, before anything that the next request sends.
                lease.state = State::Idle;
                if is_stale {
                    lease.client()?.statement_cache.remove(sql, &[]);
                }
            }
            let may_help = is_stale || failure.is_lost();
            if !may_help || !is_first_attempt || rows.rows() != rows_before {
                return Err(failure.into_error());
            }
            is_first_attempt = false;
        }
    }

    /// Begins a transaction.
    pub(super) async fn begin(&self, mode: Mode) -> Result<Box<dyn Transaction>> {
        Ok(Box::new(PostgresqlTransaction {
            lease: self.lease_in_transaction(mode.begin()).await?,
            mode,
            limit: self.limit,
            is_fresh: true,
            has_savepoint: false,
            has_failed: false,
            loads: None,
        }))
    }
}

/// Awaits with a deadline.
async fn in_time<T>(
    limit: Duration,
    future: impl Future<Output = Result<T, tokio_postgres::Error>>,
) -> Result<T, Failure> {
    match tokio::time::timeout(limit, future).await {
        Ok(result) => Ok(result?),
        Err(_elapsed) => Err(timed_out("connection").into()),
    }
}

/// Prepares a statement, or finds it prepared.
async fn prepare(
    client: &Object,
    sql: &str,
    limit: Duration,
) -> Result<tokio_postgres::Statement, Failure> {
    if client.statement_cache.size() >= MAX_STATEMENTS {
        client.statement_cache.clear();
    }
    in_time(limit, client.prepare_cached(sql)).await
}

async fn read_in_steps(
    client: &mut Object,
    sql: &str,
    values: &[&Scalar],
    rows: &mut RowWriter,
    limit: Duration,
) -> Result<(), Failure> {
    let statement = prepare(client, sql, limit).await?;
    let decoders = Decoders::of(&statement)?;
    let begin = client.build_transaction().read_only(true).start();
    let transaction = in_time(limit, begin).await?;
    let parameters = values.iter().map(|value| Parameter(value));
    let portal = in_time(limit, transaction.bind_raw(&statement, parameters)).await?;
    let timer = pin!(tokio::time::sleep(limit));
    let mut wait = Wait::new(timer);
    let mut scratch = String::new();
    let mut step = FIRST_ROWS;
    loop {
        wait.restart(limit);
        let late = || Failure::from(timed_out("large read"));
        let portal_rows = pin!(transaction.query_portal_raw(&portal, step));
        let mut stream = pin!(wait.run(portal_rows).await.ok_or_else(late)??);
        let mut count: i32 = 0;
        let mut bytes: usize = 0;
        while let Some(row) = wait.run(pin!(stream.try_next())).await.ok_or_else(late)?? {
            count = count.saturating_add(1);
            bytes = bytes.saturating_add(row.raw_size_bytes());
            if write_row(&row, &decoders, &mut scratch, rows)? {
                rows.flush().await?;
                wait.restart(limit);
            }
        }
        if count < step {
            break;
        }
        step = next_step(count, bytes);
    }
    drop(portal);
    in_time(limit, transaction.commit()).await
}

/// How many rows bring [`STEP_BYTES`], if the next ones are as large as the last.
fn next_step(count: i32, bytes: usize) -> i32 {
    let per_row = (bytes / usize::try_from(count).unwrap_or(1).max(1)).max(1);
    i32::try_from(STEP_BYTES / per_row)
        .unwrap_or(MOST_ROWS)
        .clamp(1, MOST_ROWS)
}

/// The name of the one savepoint.
const SAVEPOINT: &str = "tidegate";

/// A transaction on a connection of its own.
struct PostgresqlTransaction {
    lease: Lease,
    mode: Mode,
    limit: Duration,
    /// Nothing was run yet.
    is_fresh: bool,
    has_savepoint: bool,
    /// A statement failed, and all that PostgreSQL still accepts is a rollback.
    has_failed: bool,
    /// Whether COPY can do what is asked for, and for which statement; none before it was asked.
    loads: Option<(Arc<str>, bool)>,
}

impl PostgresqlTransaction {
    /// Runs something whose failure the server may answer; notes in which state it leaves the connection.
    fn settle<T>(&mut self, mut result: Result<T, Failure>) -> Result<T, Failure> {
        if self.mode == Mode::Writing {
            result = result.map_err(Failure::while_writing);
        }
        match &result {
            Ok(_) => self.lease.state = State::InTransaction,
            Err(failure) => {
                self.has_failed = true;
                if failure.is_answer() {
                    self.lease.state = State::InTransaction;
                }
            }
        }
        result
    }

    async fn execute(&mut self, sql: &str) -> Result<(), Failure> {
        self.lease.state = State::Busy;
        let result = in_time(self.limit, self.lease.client()?.batch_execute(sql)).await;
        self.settle(result)
    }

    async fn run_once(
        &mut self,
        sql: &str,
        values: &[&Scalar],
        rows: &mut RowWriter,
    ) -> Result<u64, Failure> {
        self.lease.state = State::Busy;
        let result = run_statement(self.lease.client()?, sql, values, rows, self.limit).await;
        self.settle(result)
    }
}

/// Whether COPY does the same as INSERT: it writes to no view, knows no policies for rows, and writes numbers of its own into
/// columns that are GENERATED ALWAYS AS IDENTITY (manual, COPY, "Notes").
const MAY_COPY: &str = "\
SELECT c.relkind IN ('r', 'p') AND NOT (c.relrowsecurity AND pg_catalog.row_security_active(c.oid))
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_attribute a
    WHERE a.attrelid = c.oid AND a.attidentity = 'a' AND a.attname = ANY ($3::text[]))
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = COALESCE($1::text, pg_catalog.current_schema()) AND c.relname = $2::text";

impl PostgresqlTransaction {
    /// Whether COPY can do it. Asked once for many loads.
    async fn may_copy(&mut self, load: &Load) -> Result<bool> {
        if let Some((known, may_copy)) = &self.loads
            && **known == *load.insert.sql
        {
            return Ok(*may_copy);
        }
        let columns = load.columns.iter().map(|index| load.table.column(*index));
        let names = columns
            .map(|column| Ok(column?.name.as_str()))
            .collect::<Result<Vec<&str>>>()?;
        self.lease.state = State::Busy;
        let asked = async {
            let client = self.lease.client()?;
            let statement = prepare(client, MAY_COPY, self.limit).await?;
            let (schema, table) = (&load.table.schema, &load.table.native);
            let asked_for: [&(dyn ToSql + Sync); 3] = [schema, table, &names];
            let rows = in_time(self.limit, client.query(&statement, &asked_for)).await?;
            let row = rows.first();
            Ok(row.map_or(Ok(false), |row| row.try_get(0))?)
        };
        let answer = asked.await;
        let may_copy = self.settle(answer).map_err(Failure::into_error)?;
        let has_money = load.columns.iter().any(|index| {
            load.table
                .columns
                .get(*index)
                .is_some_and(|column| column.kind == Type::Money)
        });
        if may_copy && has_money {
            // What COPY reads as money depends on the place; the text that is sent does not.
            let set = self.execute("SET LOCAL lc_monetary = 'C'").await;
            set.map_err(Failure::into_error)?;
        }
        self.loads = Some((Arc::clone(&load.insert.sql), may_copy));
        Ok(may_copy)
    }

    async fn copy(
        &mut self,
        load: &Load,
        records: &BulkRecords,
        range: Range<usize>,
    ) -> Result<u64, Failure> {
        let sql = format!(
            "COPY {} ({}) FROM STDIN",
            load.table_name, load.column_names
        );
        let mut text = BytesMut::new();
        for index in range {
            copy_line(records.record(index), &mut text)
                .map_err(|beyond| Failure::Ours(unfit(beyond)))?;
        }
        self.is_fresh = false;
        self.lease.state = State::Busy;
        let result = copy_in(self.lease.client()?, &sql, text.freeze(), self.limit).await;
        self.settle(result)
    }
}

async fn copy_in(client: &Object, sql: &str, text: Bytes, limit: Duration) -> Result<u64, Failure> {
    let statement = prepare(client, sql, limit).await?;
    in_time(limit, async {
        let mut sink = pin!(client.copy_in(&statement).await?);
        // What the server refuses is said by the end of the copy.
        let _ = sink.send(text).await;
        sink.finish().await
    })
    .await
}

/// Runs a statement to its end; gives the number of rows it touched.
async fn run_statement(
    client: &Object,
    sql: &str,
    values: &[&Scalar],
    rows: &mut RowWriter,
    limit: Duration,
) -> Result<u64, Failure> {
    let statement = prepare(client, sql, limit).await?;
    let decoders = Decoders::of(&statement)?;
    let timer = pin!(tokio::time::sleep(limit));
    let mut wait = Wait::new(timer);
    let late = || Failure::from(timed_out("transaction"));
    let parameters = values.iter().map(|value| Parameter(value));
    let query = pin!(client.query_raw(&statement, parameters));
    let mut stream = pin!(wait.run(query).await.ok_or_else(late)??);
    let mut scratch = String::new();
    while let Some(row) = wait.run(pin!(stream.try_next())).await.ok_or_else(late)?? {
        if write_row(&row, &decoders, &mut scratch, rows)? {
            rows.flush().await?;
            wait.restart(limit);
        }
    }
    Ok(stream.rows_affected().unwrap_or(0))
}

/// Runs CALL, which gives at most one row with the OUT parameters, or a query of a function that gives cursors. The
/// rows of cursors are results of their own, in their order; the other parameters come last.
async fn call(
    client: &Object,
    sql: &str,
    values: &[&Scalar],
    results: &mut Results,
    limit: Duration,
) -> Result<(), Failure> {
    let statement = prepare(client, sql, limit).await?;
    let decoders = Decoders::of_call(&statement)?;
    let timer = pin!(tokio::time::sleep(limit));
    let mut wait = Wait::new(timer);
    let late = || Failure::from(timed_out("routine"));
    let parameters = values.iter().map(|value| Parameter(value));
    let query = pin!(client.query_raw(&statement, parameters));
    let mut stream = pin!(wait.run(query).await.ok_or_else(late)??);
    let mut given = Vec::new();
    while let Some(row) = wait.run(pin!(stream.try_next())).await.ok_or_else(late)?? {
        // Each is a result of its own, or the only one.
        if given.len() <= MAX_RESULT_SETS {
            given.push(row);
        }
    }
    let columns = statement.columns();
    let is_cursor = |index: &usize| {
        columns
            .get(*index)
            .is_some_and(|column| *column.type_() == DriverType::REFCURSOR)
    };
    let (cursors, others): (Vec<usize>, Vec<usize>) = (0..columns.len()).partition(is_cursor);
    for row in &given {
        for index in &cursors {
            let Raw(Some(name)) = row.try_get(*index)? else {
                continue;
            };
            let name = String::from_utf8_lossy(name).replace('"', "\"\"");
            fetch(
                client,
                &format!("FETCH ALL FROM \"{name}\""),
                results,
                limit,
            )
            .await?;
        }
    }
    let Some(out) = given.first().filter(|_| !others.is_empty()) else {
        return Ok(());
    };
    let names = others
        .iter()
        .filter_map(|index| columns.get(*index))
        .map(|column| column.name().to_owned())
        .collect();
    let mut rows = results.begin(names)?;
    write_columns(out, &decoders, &others, &mut rows)?;
    results.end(rows)?;
    Ok(())
}

/// Takes all rows of a cursor as one result. Its columns are known to the cursor alone, so nothing is kept prepared.
async fn fetch(
    client: &Object,
    sql: &str,
    results: &mut Results,
    limit: Duration,
) -> Result<(), Failure> {
    let statement = in_time(limit, client.prepare(sql)).await?;
    let decoders = Decoders::of_call(&statement)?;
    let names = statement.columns().iter();
    let mut rows = results.begin(names.map(|column| column.name().to_owned()).collect())?;
    let timer = pin!(tokio::time::sleep(limit));
    let mut wait = Wait::new(timer);
    let late = || Failure::from(timed_out("cursor"));
    let query = pin!(client.query_raw(&statement, std::iter::empty::<Parameter<'_>>()));
    let mut stream = pin!(wait.run(query).await.ok_or_else(late)??);
    let mut scratch = String::new();
    while let Some(row) = wait.run(pin!(stream.try_next())).await.ok_or_else(late)?? {
        if write_row(&row, &decoders, &mut scratch, &mut rows)? {
            rows.flush().await?;
        }
    }
    results.end(rows)?;
    Ok(())
}

#[async_trait]
impl Transaction for PostgresqlTransaction {
    async fn run(
        &mut self,
        statement: &Statement,
        key: &[Scalar],
        mut rows: RowWriter,
    ) -> Result<(RowWriter, u64)> {
        let values = statement.values(key)?;
        let result = self.run_once(&statement.sql, &values, &mut rows).await;
        let is_fresh = std::mem::replace(&mut self.is_fresh, false);
        let touched = match result {
            Ok(touched) => touched,
            Err(failure) if failure.is_stale() => {
                self.lease
                    .client()?
                    .statement_cache
                    .remove(&statement.sql, &[]);
                if !is_fresh {
                    return Err(failure.into_error());
                }
                // Nothing is lost by beginning again.
                self.execute(&format!("ROLLBACK; {}", self.mode.begin()))
                    .await
                    .map_err(Failure::into_error)?;
                self.has_failed = false;
                self.run_once(&statement.sql, &values, &mut rows)
                    .await
                    .map_err(Failure::into_error)?
            }
            Err(failure) => return Err(failure.into_error()),
        };
        Ok((rows, touched))
    }

    async fn load(
        &mut self,
        load: &Load,
        records: &Arc<BulkRecords>,
        range: Range<usize>,
    ) -> Result<Option<u64>> {
        if load.is_checked || load.is_upsert || !self.may_copy(load).await? {
            return Ok(None);
        }
        let copied = self.copy(load, records, range).await;
        copied.map(Some).map_err(Failure::into_error)
    }

    fn retire(&mut self) {
        self.lease.is_spent = true;
    }

    async fn call(&mut self, statement: &Statement, results: &mut Results) -> Result<()> {
        self.is_fresh = false;
        let values = statement.values(&[])?;
        self.lease.state = State::Busy;
        let called = call(
            self.lease.client()?,
            &statement.sql,
            &values,
            results,
            self.limit,
        );
        let result = called.await;
        if result.as_ref().is_err_and(Failure::is_stale) {
            self.lease
                .client()?
                .statement_cache
                .remove(&statement.sql, &[]);
        }
        self.settle(result).map_err(Failure::into_error)
    }

    async fn savepoint(&mut self) -> Result<()> {
        let sql = if self.has_savepoint {
            format!("RELEASE SAVEPOINT {SAVEPOINT}; SAVEPOINT {SAVEPOINT}")
        } else {
            format!("SAVEPOINT {SAVEPOINT}")
        };
        self.execute(&sql).await.map_err(Failure::into_error)?;
        self.has_savepoint = true;
        self.is_fresh = false;
        Ok(())
    }

    async fn rollback_to_savepoint(&mut self) -> Result<()> {
        self.execute(&format!("ROLLBACK TO SAVEPOINT {SAVEPOINT}"))
            .await
            .map_err(Failure::into_error)?;
        self.has_failed = false;
        Ok(())
    }

    async fn release_savepoint(&mut self) -> Result<()> {
        if !self.has_savepoint {
            return Ok(());
        }
        self.execute(&format!("RELEASE SAVEPOINT {SAVEPOINT}"))
            .await
            .map_err(Failure::into_error)?;
        self.has_savepoint = false;
        Ok(())
    }

    async fn commit(mut self: Box<Self>) -> Result<()> {
        if self.has_failed {
            // PostgreSQL would answer COMMIT with a rollback, and call it a success.
            return Err(Error::internal(
                "a transaction was committed after one of its statements had failed",
            ));
        }
        self.execute("COMMIT").await.map_err(Failure::into_error)?;
        self.lease.state = State::Idle;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_of_equal_bytes() {
        for (count, bytes, expected) in [
            (128, 128 * 100, 2621),
            (128, 0, MOST_ROWS),
            (128, 128 * 10_000_000, 1),
            (0, 0, MOST_ROWS),
        ] {
            assert_eq!(next_step(count, bytes), expected);
        }
    }
}
