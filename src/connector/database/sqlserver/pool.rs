//! Connections: who has one, what it is doing, and when it is closed.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures_util::TryStreamExt as _;
use tiberius::{AuthMethod, Client, ColumnData, EncryptionLevel, Query, QueryItem};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::compat::{Compat, TokioAsyncWriteCompatExt as _};

use super::catalog;
use super::config::SqlServerConfig;
use super::error::{
    from_connecting, from_driver, is_answer, is_lost, overloaded, timed_out, unavailable,
};
use super::value::{Parameter, decode};
use crate::clock::Clock;
use crate::connector::Resources;
use crate::connector::database::catalog::{Catalog, Type};
use crate::connector::database::gate::Gate;
use crate::connector::database::results::Results;
use crate::connector::database::rows::RowWriter;
use crate::connector::database::sql::{SqlPool, Statement, Transaction};
use crate::connector::database::tls::TlsMode;
use crate::connector::database::value::{Scalar, Value};
use crate::error::{Error, ErrorKind, Result};

/// Most requests that wait for a connection.
const MAX_WAITING: usize = 256;
/// Longest wait for a connection.
const LONGEST_WAIT: Duration = Duration::from_secs(10);
/// How long a connection may be unused before it is closed.
const LONGEST_IDLE: Duration = Duration::from_mins(5);
/// How much longer than the server's own limit on locks the gateway waits.
const GRACE: Duration = Duration::from_secs(2);
/// Longest a rollback may take that nobody waits for.
const ROLLBACK_TIMEOUT: Duration = Duration::from_secs(5);
/// Most parameters of a request, less the two of `sp_executesql` itself ("Maximum capacity specifications").
const MAX_PARAMETERS: usize = 2_098;
/// Rounds of redirection that are followed: a gateway of Azure SQL sends on once.
const MAX_REDIRECTIONS: usize = 3;

pub(super) type Native = Client<Compat<TcpStream>>;

/// A connection at rest.
struct Resting {
    client: Native,
    since: Instant,
}

/// What connections are made from, and those at rest.
struct Shared {
    config: tiberius::Config,
    address: (String, u16),
    settings: String,
    mode: TlsMode,
    connect_timeout: Duration,
    limit: Duration,
    schema: String,
    resting: Mutex<Vec<Resting>>,
    gate: Mutex<Gate>,
    slots: Arc<Semaphore>,
    waiting: Semaphore,
    clock: Arc<dyn Clock>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Connections to one database. Nothing connects before it is needed.
pub(super) struct SqlServerPool(Arc<Shared>);

impl SqlServerPool {
    /// Prepares the pool without connecting.
    pub(super) fn new(config: &SqlServerConfig, resources: &Resources) -> Self {
        let mode = config.tls_mode();
        let mut native = tiberius::Config::new();
        native.host(&config.host);
        native.port(config.port);
        native.database(&config.database);
        native.application_name(&config.application_name);
        native.readonly(config.read_only_intent);
        native.authentication(AuthMethod::sql_server(
            &config.username,
            config.password.expose(),
        ));
        native.encryption(match mode {
            TlsMode::Verify | TlsMode::Require => EncryptionLevel::Required,
            TlsMode::Off => EncryptionLevel::NotSupported,
        });
        match (mode, &config.ca) {
            (TlsMode::Require, _) => native.trust_cert(),
            (TlsMode::Verify, Some(ca)) => {
                native.trust_cert_ca(resources.data_directory.join(ca).display());
            }
            (TlsMode::Verify, None) | (TlsMode::Off, _) => {}
        }
        let limit = Duration::from_secs(config.statement_timeout_seconds.into());
        Self(Arc::new(Shared {
            config: native,
            address: (config.host.clone(), config.port),
            settings: settings(config),
            mode,
            connect_timeout: Duration::from_secs(config.connect_timeout_seconds.into()),
            limit: limit.saturating_add(GRACE),
            schema: config.schema.clone(),
            resting: Mutex::default(),
            gate: Mutex::default(),
            slots: Arc::new(Semaphore::new(
                usize::try_from(config.max_connections).unwrap_or(1).max(1),
            )),
            waiting: Semaphore::new(MAX_WAITING),
            clock: Arc::clone(&resources.clock),
        }))
    }
}

/// What a new connection runs first. The session's language decides in which language errors are told apart, and its
/// settings are those that indexed views and computed columns want ("SET options that affect results").
fn settings(config: &SqlServerConfig) -> String {
    let milliseconds = u64::from(config.statement_timeout_seconds).saturating_mul(1_000);
    let mut settings = format!(
        "SET LANGUAGE us_english; SET DATEFORMAT ymd; SET QUOTED_IDENTIFIER ON; SET ANSI_NULLS ON; \
         SET ANSI_PADDING ON; SET ANSI_WARNINGS ON; SET ARITHABORT ON; SET CONCAT_NULL_YIELDS_NULL ON; \
         SET NUMERIC_ROUNDABORT OFF; SET IMPLICIT_TRANSACTIONS OFF; SET XACT_ABORT OFF; \
         SET TEXTSIZE 2147483647; SET LOCK_TIMEOUT {};",
        milliseconds.min(i32::MAX.unsigned_abs().into())
    );
    for statement in &config.statements {
        settings.push('\n');
        settings.push_str(statement);
        // On a line of its own, in case the statement ends in a comment.
        settings.push_str("\n;");
    }
    settings
}

impl Shared {
    /// Connects and sets the session up.
    async fn connect(self: &Arc<Self>) -> Result<Native> {
        if !locked(&self.gate).is_open(self.clock.instant()) {
            return Err(unavailable("waiting before the next attempt to connect"));
        }
        let this = Arc::clone(self);
        let attempt = async move {
            tokio::time::timeout(this.connect_timeout, this.try_connect())
                .await
                .map_err(|_elapsed| unavailable("connect timed out"))?
        };
        let result = if self.mode == TlsMode::Off {
            attempt.await
        } else {
            // The driver reads certificates from files while it connects.
            let runtime = tokio::runtime::Handle::current();
            tokio::task::spawn_blocking(move || runtime.block_on(attempt))
                .await
                .map_err(|error| Error::internal("connecting broke off").with_source(error))?
        };
        let now = self.clock.instant();
        match &result {
            Ok(_) => locked(&self.gate).succeeded(),
            Err(_) => locked(&self.gate).failed(now),
        }
        result
    }

    async fn try_connect(&self) -> Result<Native> {
        let mut config = self.config.clone();
        let mut address = self.address.clone();
        for _ in 0..MAX_REDIRECTIONS {
            let stream = TcpStream::connect((address.0.as_str(), address.1))
                .await
                .map_err(|error| unavailable("connect").with_source(error))?;
            let _ = stream.set_nodelay(true);
            match Client::connect(config.clone(), stream.compat_write()).await {
                Ok(mut client) => {
                    batch(&mut client, &self.settings)
                        .await
                        .map_err(from_connecting)?;
                    return Ok(client);
                }
                Err(tiberius::error::Error::Routing { host, port }) => {
                    config.host(&host);
                    config.port(port);
                    address = (host, port);
                }
                Err(error) => return Err(from_connecting(error)),
            }
        }
        Err(unavailable("redirected too often"))
    }

    /// A turn to use a connection.
    async fn turn(&self) -> Result<OwnedSemaphorePermit> {
        let slots = Arc::clone(&self.slots);
        if let Ok(turn) = Arc::clone(&slots).try_acquire_owned() {
            return Ok(turn);
        }
        let Ok(_place) = self.waiting.try_acquire() else {
            return Err(overloaded());
        };
        match tokio::time::timeout(LONGEST_WAIT, slots.acquire_owned()).await {
            Ok(Ok(turn)) => Ok(turn),
            Ok(Err(_)) | Err(_) => Err(overloaded()),
        }
    }

    async fn lease(self: &Arc<Self>) -> Result<Lease> {
        let turn = self.turn().await?;
        let resting = locked(&self.resting).pop();
        let is_fresh = resting.is_none();
        let client = match resting {
            Some(resting) => resting.client,
            None => self.connect().await?,
        };
        Ok(Lease {
            client: Some(client),
            state: State::Idle,
            is_spent: false,
            is_fresh,
            shared: Arc::clone(self),
            turn: Some(turn),
        })
    }

    fn put(&self, client: Native) {
        locked(&self.resting).push(Resting {
            client,
            since: self.clock.instant(),
        });
    }
}

/// What a leased connection is doing; decides what becomes of it when it is given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nothing: it can rest.
    Idle,
    /// It is in a transaction, between two statements.
    InTransaction,
    /// A statement is running or its result is being read, or it broke.
    Busy,
}

/// A connection for one request. Dropped in a transaction, it is rolled back before anyone else gets it; dropped while
/// a statement runs, it is closed.
struct Lease {
    client: Option<Native>,
    state: State,
    /// Whether it is closed in any case, because its session may not be as the next caller expects it.
    is_spent: bool,
    /// Whether it was made for this request.
    is_fresh: bool,
    shared: Arc<Shared>,
    turn: Option<OwnedSemaphorePermit>,
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Some(mut client) = self.client.take() else {
            return;
        };
        match self.state {
            State::Busy => {}
            State::Idle if self.is_spent => {}
            State::Idle => self.shared.put(client),
            State::InTransaction => {
                let Ok(runtime) = tokio::runtime::Handle::try_current() else {
                    return;
                };
                let shared = Arc::clone(&self.shared);
                let turn = self.turn.take();
                let is_spent = self.is_spent;
                runtime.spawn(async move {
                    let rollback = batch(&mut client, ROLLBACK);
                    let result = tokio::time::timeout(ROLLBACK_TIMEOUT, rollback).await;
                    if !is_spent && matches!(result, Ok(Ok(()))) {
                        shared.put(client);
                    }
                    drop(turn);
                });
            }
        }
    }
}

/// Ends whatever transaction there still is.
const ROLLBACK: &str = "IF @@TRANCOUNT > 0 ROLLBACK TRANSACTION;";

impl Lease {
    /// Runs something on the connection, which is closed unless the server answered.
    async fn within<T>(
        &mut self,
        after: State,
        work: impl AsyncFnOnce(&mut Native, Duration) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        self.state = State::Busy;
        let limit = self.shared.limit;
        let Some(client) = &mut self.client else {
            return Err(Error::internal("a leased connection is gone").into());
        };
        let result = work(client, limit).await;
        let is_whole = match &result {
            Ok(_) => true,
            Err(Failure::Driver(error)) => is_answer(error),
            Err(Failure::Ours(_)) => false,
        };
        if is_whole {
            self.state = after;
        }
        result
    }

    async fn batch(&mut self, after: State, sql: &str) -> Result<(), Failure> {
        self.within(after, async |client, limit| {
            in_time(limit, batch(client, sql)).await
        })
        .await
    }
}

/// A failure of a statement: the driver's, or one of ours.
enum Failure {
    /// The driver's, or the server's through it.
    Driver(tiberius::error::Error),
    /// Ours: a value that cannot be read, a reader that went away, a deadline.
    Ours(Error),
}

impl Failure {
    fn is_lost(&self) -> bool {
        matches!(self, Self::Driver(error) if is_lost(error))
    }

    fn into_error(self) -> Error {
        match self {
            Self::Driver(error) => from_driver(error),
            Self::Ours(error) => error,
        }
    }
}

impl From<tiberius::error::Error> for Failure {
    fn from(error: tiberius::error::Error) -> Self {
        Self::Driver(error)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Ours(error)
    }
}

async fn in_time<T>(
    limit: Duration,
    future: impl Future<Output = Result<T, tiberius::error::Error>>,
) -> Result<T, Failure> {
    match tokio::time::timeout(limit, future).await {
        Ok(result) => Ok(result?),
        Err(_elapsed) => Err(timed_out("statement").into()),
    }
}

/// Runs statements without values and reads over what they answer.
async fn batch(client: &mut Native, sql: &str) -> Result<(), tiberius::error::Error> {
    let mut stream = client.simple_query(sql).await?;
    while stream.try_next().await?.is_some() {}
    Ok(())
}

/// Runs a query of the gateway itself and gives its rows.
pub(super) async fn rows_of(
    client: &mut Native,
    sql: &str,
) -> Result<Vec<tiberius::Row>, tiberius::error::Error> {
    client.simple_query(sql).await?.into_first_result().await
}

/// A statement with the values for it.
fn bound<'a>(statement: &'a Statement, key: &'a [Scalar]) -> Result<Query<'a>> {
    let values = statement.values(key)?;
    if values.len() > MAX_PARAMETERS {
        return Err(Error::new(
            ErrorKind::InvalidRequest,
            "the request names too many records or values at once",
        ));
    }
    let mut query = Query::new(&*statement.sql);
    for value in values {
        query.bind(Parameter::of(value)?);
    }
    Ok(query)
}

/// Whether a statement only writes: its counts are asked for then, and rows do not come.
fn only_writes(sql: &str) -> bool {
    ["INSERT ", "UPDATE ", "DELETE "]
        .iter()
        .any(|word| sql.starts_with(word))
}

/// Runs a statement to its end; gives the number of rows it touched, or read.
async fn run(
    client: &mut Native,
    limit: Duration,
    query: Query<'_>,
    only_writes: bool,
    kinds: &[Option<Type>],
    rows: &mut RowWriter,
) -> Result<u64, Failure> {
    if only_writes {
        let counts = in_time(limit, query.execute(client)).await?;
        // Triggers count their own statements before the one that fired them.
        return Ok(counts.rows_affected().last().copied().unwrap_or(0));
    }
    let style = rows.shape().datetimes;
    let mut stream = in_time(limit, query.query(client)).await?;
    let mut scratch = String::new();
    let mut count: u64 = 0;
    // The rest of the result must be read in any case, or the connection is of no more use.
    while let Some(item) = in_time(limit, stream.try_next()).await? {
        let QueryItem::Row(row) = item else {
            continue;
        };
        if !rows.begin_row() {
            continue;
        }
        count = count.saturating_add(1);
        for (index, (_, data)) in row.cells().enumerate() {
            let is_json = kinds.get(index) == Some(&Some(Type::Json));
            decode(data, style, &mut scratch, &mut |value| match value {
                Value::Text(text) if is_json => rows.value(&Value::Json(text)),
                value => rows.value(value),
            })?;
        }
        if rows.end_row() {
            rows.flush().await?;
        }
    }
    Ok(count)
}

/// Runs a batch; each result that has columns is taken, in order.
async fn call(
    client: &mut Native,
    limit: Duration,
    query: Query<'_>,
    results: &mut Results,
) -> Result<(), Failure> {
    let deadline = tokio::time::Instant::now() + limit;
    let late = || Failure::from(timed_out("routine"));
    let mut stream = tokio::time::timeout_at(deadline, query.query(client))
        .await
        .map_err(|_elapsed| late())??;
    let mut scratch = String::new();
    let mut current: Option<RowWriter> = None;
    // The rest must be read in any case, or the connection is of no more use.
    while let Some(item) = tokio::time::timeout_at(deadline, stream.try_next())
        .await
        .map_err(|_elapsed| late())??
    {
        let row = match item {
            QueryItem::Metadata(metadata) => {
                if let Some(rows) = current.take() {
                    results.end(rows)?;
                }
                let columns = metadata.columns();
                if !columns.is_empty() {
                    let names = columns.iter().map(|column| column.name().to_owned());
                    current = Some(results.begin(names.collect())?);
                }
                continue;
            }
            QueryItem::Row(row) => row,
        };
        let Some(rows) = &mut current else {
            continue;
        };
        if !rows.begin_row() {
            continue;
        }
        let style = rows.shape().datetimes;
        for (_, data) in row.cells() {
            decode(data, style, &mut scratch, &mut |value| rows.value(value))?;
        }
        if rows.end_row() {
            rows.flush().await?;
        }
    }
    if let Some(rows) = current {
        results.end(rows)?;
    }
    Ok(())
}

#[async_trait]
impl SqlPool for SqlServerPool {
    async fn catalog(&self) -> Result<Catalog> {
        let mut lease = self.0.lease().await?;
        let schema = self.0.schema.clone();
        lease
            .within(State::Idle, async |client, limit| {
                let limit = limit.saturating_mul(catalog::STATEMENTS);
                in_time(limit, catalog::read(client, &schema)).await
            })
            .await
            .map_err(Failure::into_error)
    }

    async fn fingerprint(&self) -> Result<String> {
        let mut lease = self.0.lease().await?;
        let rows = lease
            .within(State::Idle, async |client, limit| {
                in_time(limit, rows_of(client, catalog::FINGERPRINT)).await
            })
            .await
            .map_err(Failure::into_error)?;
        let text = rows.first().and_then(|row| row.cells().next());
        match text {
            Some((_, ColumnData::String(Some(text)))) => Ok(text.clone().into_owned()),
            _ => Err(Error::new(
                ErrorKind::BackendFailure,
                "the database answered in an unexpected way",
            )
            .with_fact("step", "fingerprint")),
        }
    }

    async fn read(
        &self,
        statement: &Statement,
        key: &[Scalar],
        mut rows: RowWriter,
    ) -> Result<RowWriter> {
        loop {
            let mut lease = self.0.lease().await?;
            let before = rows.rows();
            let query = bound(statement, key)?;
            let result = lease
                .within(State::Idle, async |client, limit| {
                    run(client, limit, query, false, &statement.kinds, &mut rows).await
                })
                .await;
            match result {
                Ok(_) => return Ok(rows),
                // A connection that rested may have died meanwhile; a new one is tried once.
                Err(failure) if failure.is_lost() && !lease.is_fresh && rows.rows() == before => {
                    locked(&self.0.resting).clear();
                }
                Err(failure) => return Err(failure.into_error()),
            }
        }
    }

    async fn begin(&self) -> Result<Box<dyn Transaction>> {
        loop {
            let mut lease = self.0.lease().await?;
            match lease.batch(State::InTransaction, "BEGIN TRANSACTION").await {
                Ok(()) => {
                    return Ok(Box::new(SqlServerTransaction {
                        lease,
                        has_ended: false,
                    }));
                }
                Err(failure) if failure.is_lost() && !lease.is_fresh => {
                    locked(&self.0.resting).clear();
                }
                Err(failure) => return Err(failure.into_error()),
            }
        }
    }

    async fn probe(&self) -> Result<()> {
        let had_none = locked(&self.0.resting).is_empty();
        let mut lease = self.0.lease().await?;
        let result = lease.batch(State::Idle, "SELECT 1").await;
        if had_none {
            // A service that nobody calls holds no connection.
            lease.state = State::Busy;
        }
        result.map_err(Failure::into_error)
    }

    fn release_idle(&self) {
        let now = self.0.clock.instant();
        locked(&self.0.resting)
            .retain(|resting| now.saturating_duration_since(resting.since) < LONGEST_IDLE);
    }
}

/// The name of the one savepoint.
const SAVEPOINT: &str = "tidegate";

/// A transaction on a connection of its own.
struct SqlServerTransaction {
    lease: Lease,
    /// An error has ended the transaction on the server: what follows would run by itself.
    has_ended: bool,
}

impl SqlServerTransaction {
    fn check(&self) -> Result<()> {
        if self.has_ended || self.lease.state != State::InTransaction {
            return Err(Error::new(
                ErrorKind::SerializationFailure,
                "the transaction was rolled back; nothing was written",
            ));
        }
        Ok(())
    }

    /// After a failure: finds out whether the transaction is still there and can still be committed. A deadlock, a
    /// failed conversion and many other errors end it (`XACT_STATE`).
    async fn settle<T>(&mut self, result: Result<T, Failure>) -> Result<T> {
        let failure = match result {
            Ok(value) => return Ok(value),
            Err(failure) => failure,
        };
        self.has_ended = true;
        if self.lease.state == State::InTransaction {
            let state = self
                .lease
                .within(State::InTransaction, async |client, limit| {
                    in_time(limit, rows_of(client, "SELECT CAST(XACT_STATE() AS int)")).await
                })
                .await;
            if let Ok(rows) = state {
                let state = rows.first().and_then(|row| row.cells().next());
                self.has_ended = !matches!(state, Some((_, ColumnData::I32(Some(1)))));
            }
        }
        Err(failure.into_error())
    }

    async fn execute(&mut self, sql: &str) -> Result<()> {
        self.check()?;
        let result = self.lease.batch(State::InTransaction, sql).await;
        self.settle(result).await
    }
}

#[async_trait]
impl Transaction for SqlServerTransaction {
    async fn run(
        &mut self,
        statement: &Statement,
        key: &[Scalar],
        mut rows: RowWriter,
    ) -> Result<(RowWriter, u64)> {
        self.check()?;
        // Before the connection is touched: what cannot be bound leaves the transaction as it is.
        let query = bound(statement, key)?;
        let only_writes = only_writes(&statement.sql);
        let result = self
            .lease
            .within(State::InTransaction, async |client, limit| {
                run(
                    client,
                    limit,
                    query,
                    only_writes,
                    &statement.kinds,
                    &mut rows,
                )
                .await
            })
            .await;
        let touched = self.settle(result).await?;
        Ok((rows, touched))
    }

    fn retire(&mut self) {
        self.lease.is_spent = true;
    }

    async fn call(&mut self, statement: &Statement, results: &mut Results) -> Result<()> {
        self.check()?;
        let query = bound(statement, &[])?;
        let result = self
            .lease
            .within(State::InTransaction, async |client, limit| {
                call(client, limit, query, results).await
            })
            .await;
        self.settle(result).await
    }

    async fn savepoint(&mut self) -> Result<()> {
        // A savepoint of the same name hides the one before ("SAVE TRANSACTION").
        self.execute(&format!("SAVE TRANSACTION {SAVEPOINT}")).await
    }

    async fn rollback_to_savepoint(&mut self) -> Result<()> {
        self.execute(&format!("ROLLBACK TRANSACTION {SAVEPOINT}"))
            .await
    }

    async fn release_savepoint(&mut self) -> Result<()> {
        // There is no statement for it, and no need of one.
        self.check()
    }

    async fn commit(mut self: Box<Self>) -> Result<()> {
        self.check()?;
        let result = self.lease.batch(State::Idle, "COMMIT TRANSACTION").await;
        result.map_err(Failure::into_error)
    }
}
