//! Connections and the threads on which they work.
//!
//! The driver blocks, so each connection has a thread of its own, and never one of those that serve requests. A request
//! takes a thread that rests, or begins one if there are not yet as many as there may be connections; what it wants done
//! goes to the thread as jobs, one at a time. When the request lets go of the thread, whatever it left behind is rolled
//! back there, and only then may the next request have it. A thread that the driver does not let go keeps its place, so
//! there are never more of them than configured.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::catalog::{fingerprint, read_catalog};
use super::driver::{Bound, Cell, Done, Driver, Next, Session};
use super::error::{Fault, overloaded, timed_out, unavailable};
use super::value::{bound, decode, variable};
use crate::clock::Clock;
use crate::connector::database::catalog::{Catalog, Type};
use crate::connector::database::gate::Gate;
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
/// How long a connection may be unused before it is asked whether it still lives, ahead of a transaction.
const TRUSTED_FOR: Duration = Duration::from_secs(5);
/// How much longer than the driver's own limit the gateway waits for it.
const GRACE: Duration = Duration::from_secs(2);
/// Jobs that a thread may have: the one at work, one that was given up, and the last one of the request.
const MAX_JOBS: usize = 3;

/// What a pool is made with.
pub(super) struct Settings {
    /// The name of the service, for the names of threads.
    pub(super) service: String,
    /// The manifest's `schema`.
    pub(super) schema: String,
    /// Whether every NUMBER is a decimal.
    pub(super) treat_number_as_decimal: bool,
    /// Most connections, and threads.
    pub(super) max_connections: usize,
    /// Longest wait for a new connection.
    pub(super) connect_timeout: Duration,
    /// Longest wait for an answer.
    pub(super) call_timeout: Duration,
    /// The time.
    pub(super) clock: Arc<dyn Clock>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What every thread needs.
struct Common {
    driver: Arc<dyn Driver>,
    settings: Settings,
    gate: Mutex<Gate>,
}

/// What a thread has before it.
struct Desk {
    common: Arc<Common>,
    session: Option<Box<dyn Session>>,
    /// Whether there may be something to roll back.
    is_in_transaction: bool,
    used: Instant,
}

impl Desk {
    /// The connection; a new one where there is none.
    fn session(&mut self) -> Result<&mut Box<dyn Session>> {
        let session = match self.session.take() {
            Some(session) => session,
            None => self.connect()?,
        };
        Ok(self.session.insert(session))
    }

    fn connect(&self) -> Result<Box<dyn Session>> {
        let common = &self.common;
        let now = || common.settings.clock.instant();
        if !locked(&common.gate).is_open(now()) {
            return Err(unavailable("waiting before the next attempt to connect"));
        }
        let result = common.driver.connect();
        match &result {
            Ok(_) => locked(&common.gate).succeeded(),
            Err(_) => locked(&common.gate).failed(now()),
        }
        result.map_err(Fault::into_connecting)
    }

    /// Does something with the connection, which is closed unless the server answered.
    fn with_session<T>(
        &mut self,
        work: impl FnOnce(&mut dyn Session) -> Result<T, Fault>,
    ) -> Result<T, Refusal> {
        let session = self.session()?;
        let result = work(session.as_mut());
        self.used = self.common.settings.clock.instant();
        result.map_err(|fault| {
            if !fault.is_answer() {
                self.session = None;
            }
            Refusal::Fault(fault)
        })
    }

    /// The same; where a connection that rested has died meanwhile, once more with a new one.
    fn with_live_session<T>(
        &mut self,
        mut work: impl FnMut(&mut dyn Session) -> Result<T, Fault>,
        may_repeat: impl Fn() -> bool,
    ) -> Result<T> {
        let is_fresh = self.session.is_none();
        match self.with_session(&mut work) {
            Err(Refusal::Fault(fault)) if fault.is_lost() && !is_fresh && may_repeat() => {
                self.with_session(&mut work).map_err(Refusal::into_error)
            }
            result => result.map_err(Refusal::into_error),
        }
    }

    fn begin(&mut self) -> Result<()> {
        let now = self.common.settings.clock.instant();
        let is_trusted = now.saturating_duration_since(self.used) < TRUSTED_FOR;
        if self.session.is_some() && !is_trusted {
            self.with_live_session(|session| session.ping(), || true)?;
        } else {
            self.session()?;
        }
        self.is_in_transaction = true;
        Ok(())
    }

    /// Does something within the transaction, which ends with its connection.
    fn in_transaction<T>(
        &mut self,
        work: impl FnOnce(&mut dyn Session) -> Result<T, Fault>,
    ) -> Result<T> {
        if !self.is_in_transaction || self.session.is_none() {
            return Err(Error::new(
                ErrorKind::SerializationFailure,
                "the transaction was rolled back; nothing was written",
            ));
        }
        self.with_session(work).map_err(Refusal::into_error)
    }

    /// Makes the thread ready for the next request.
    fn end(&mut self) {
        if std::mem::take(&mut self.is_in_transaction)
            && let Some(session) = &mut self.session
            && session.rollback().is_err()
        {
            // A connection that cannot even roll back is closed, and the server does so.
            self.session = None;
        }
    }
}

/// Why something was not done with a connection.
enum Refusal {
    /// The driver's reason.
    Fault(Fault),
    /// Ours.
    Ours(Error),
}

impl Refusal {
    fn into_error(self) -> Error {
        match self {
            Self::Fault(fault) => fault.into_error(),
            Self::Ours(error) => error,
        }
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self::Ours(error)
    }
}

type Job = Box<dyn FnOnce(&mut Desk) + Send>;

/// A thread, seen from outside. When this is dropped, the thread closes its connection and ends.
struct Worker {
    jobs: SyncSender<Job>,
    since: Instant,
}

impl Worker {
    /// Begins a thread.
    fn start(common: &Arc<Common>) -> Result<Self> {
        let (jobs, queue) = sync_channel::<Job>(MAX_JOBS);
        let since = common.settings.clock.instant();
        let common = Arc::clone(common);
        std::thread::Builder::new()
            .name(format!("oracle-{}", common.settings.service))
            .spawn(move || {
                let mut desk = Desk {
                    common,
                    session: None,
                    is_in_transaction: false,
                    used: since,
                };
                for job in queue {
                    // The result's sender is dropped by a panic, so the caller gets an error; the thread goes on.
                    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| job(&mut desk))) {
                        tracing::error!(panic = panic_text(&panic), "a database job panicked");
                        desk.session = None;
                    }
                }
            })
            .map_err(|error| {
                Error::new(ErrorKind::Overloaded, "the gateway has no threads left")
                    .with_source(error)
            })?;
        Ok(Self { jobs, since })
    }
}

fn panic_text(panic: &Box<dyn Any + Send>) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no text")
}

/// Threads at rest, and the right to use one.
struct Crew {
    common: Arc<Common>,
    resting: Mutex<Vec<Worker>>,
    slots: Arc<Semaphore>,
    waiting: Semaphore,
}

impl Crew {
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
        let worker = match resting {
            Some(worker) => worker,
            None => Worker::start(&self.common)?,
        };
        Ok(Lease {
            worker: Some(worker),
            is_spent: false,
            turn: Some(turn),
            crew: Arc::clone(self),
        })
    }
}

/// What both sides of a job see of each other.
#[derive(Default)]
struct Control {
    /// Nobody waits for the job any more.
    is_cancelled: AtomicBool,
    /// The job waits for the reader of the answer.
    is_flushing: AtomicBool,
    /// Grows with every row.
    progress: AtomicU64,
}

impl Control {
    /// Whether the job stands still on the driver's side. `seen` is what was seen last.
    fn stands_still(&self, seen: &mut u64) -> bool {
        let progress = self.progress.load(Ordering::Acquire);
        let before = std::mem::replace(seen, progress);
        progress == before && !self.is_flushing.load(Ordering::Acquire)
    }
}

/// Cancels a job when the future that waits for it is dropped.
struct CancelOnDrop(Arc<Control>);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.is_cancelled.store(true, Ordering::Release);
    }
}

/// A thread for one request.
struct Lease {
    worker: Option<Worker>,
    /// Whether it is closed in any case, because its session may not be as the next caller expects it.
    is_spent: bool,
    turn: Option<OwnedSemaphorePermit>,
    crew: Arc<Crew>,
}

impl Lease {
    /// Has something done on the thread. Dropping the future stops the work at the next row.
    async fn run<T: Send + 'static>(
        &self,
        limit: Duration,
        work: impl FnOnce(&mut Desk, &Control) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let Some(worker) = &self.worker else {
            return Err(Error::internal("a leased thread is gone"));
        };
        let guard = CancelOnDrop(Arc::default());
        let control = Arc::clone(&guard.0);
        let (sender, mut receiver) = oneshot::channel();
        let job: Job = Box::new(move |desk| {
            if !control.is_cancelled.load(Ordering::Acquire) {
                let _ = sender.send(work(desk, &control));
            }
        });
        worker
            .jobs
            .try_send(job)
            .map_err(|_full_or_gone| Error::internal("a database thread takes no jobs"))?;
        let mut seen = 0;
        loop {
            match tokio::time::timeout(limit, &mut receiver).await {
                Ok(answer) => {
                    return answer.unwrap_or_else(|_dropped| {
                        Err(Error::internal("a database job ended without a result"))
                    });
                }
                Err(_elapsed) if guard.0.stands_still(&mut seen) => {
                    return Err(timed_out("thread"));
                }
                Err(_elapsed) => {}
            }
        }
    }

    /// How long a call may take that may have to connect first.
    fn limit(&self) -> Duration {
        let settings = &self.crew.common.settings;
        settings
            .call_timeout
            .saturating_add(settings.connect_timeout)
            .saturating_add(GRACE)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Some(worker) = self.worker.take() else {
            return;
        };
        let turn = self.turn.take();
        let crew = Arc::clone(&self.crew);
        let jobs = worker.jobs.clone();
        let is_spent = self.is_spent;
        let _ = jobs.try_send(Box::new(move |desk| {
            desk.end();
            if is_spent {
                desk.session = None;
            }
            // A thread without a connection ends: there is nothing about it to keep.
            if desk.session.is_some() {
                let since = crew.common.settings.clock.instant();
                locked(&crew.resting).push(Worker { since, ..worker });
            }
            drop(turn);
        }));
    }
}

/// Connections to one Oracle database. Nothing connects before it is needed.
pub(super) struct OraclePool(Arc<Crew>);

impl OraclePool {
    /// Prepares the pool without connecting.
    pub(super) fn new(driver: Arc<dyn Driver>, settings: Settings) -> Self {
        Self(Arc::new(Crew {
            slots: Arc::new(Semaphore::new(settings.max_connections)),
            common: Arc::new(Common {
                driver,
                settings,
                gate: Mutex::default(),
            }),
            resting: Mutex::default(),
            waiting: Semaphore::new(MAX_WAITING),
        }))
    }
}

/// The values of a call, in the order of their placeholders.
fn values(statement: &Statement, key: &[Scalar]) -> Result<Vec<Bound>> {
    statement.values(key)?.into_iter().map(bound).collect()
}

/// Runs a query; its rows go to the writer.
fn read(
    session: &mut dyn Session,
    sql: &str,
    values: &[Bound],
    kinds: &[Option<Type>],
    control: &Control,
    rows: &mut RowWriter,
) -> Result<Result<u64>, Fault> {
    let style = rows.shape().datetimes;
    let mut scratch = String::new();
    let mut count: u64 = 0;
    let mut outcome = Ok(());
    session.query(sql, values, &mut |cells: Vec<Cell>| {
        control.progress.fetch_add(1, Ordering::AcqRel);
        if control.is_cancelled.load(Ordering::Acquire) {
            outcome = Err(timed_out("row"));
            return Next::Stop;
        }
        if !rows.begin_row() {
            return Next::Stop;
        }
        count = count.saturating_add(1);
        for (index, cell) in cells.iter().enumerate() {
            let kind = kinds.get(index).and_then(Option::as_ref);
            let decoded = decode(cell, kind, style, &mut scratch, &mut |value| {
                rows.value(value);
            });
            if let Err(error) = decoded {
                outcome = Err(error);
                return Next::Stop;
            }
        }
        if rows.end_row() {
            control.is_flushing.store(true, Ordering::Release);
            let flushed = rows.flush_blocking();
            control.is_flushing.store(false, Ordering::Release);
            control.progress.fetch_add(1, Ordering::AcqRel);
            if let Err(error) = flushed {
                outcome = Err(error);
                return Next::Stop;
            }
        }
        Next::More
    })?;
    Ok(outcome.map(|()| count))
}

#[async_trait]
impl SqlPool for OraclePool {
    async fn catalog(&self) -> Result<Catalog> {
        let lease = self.0.lease().await?;
        let limit = lease.limit().saturating_mul(super::catalog::STATEMENTS);
        lease
            .run(limit, |desk, _| {
                let common = Arc::clone(&desk.common);
                let settings = &common.settings;
                desk.with_live_session(
                    |session| {
                        read_catalog(session, &settings.schema, settings.treat_number_as_decimal)
                    },
                    || true,
                )
            })
            .await
    }

    async fn fingerprint(&self) -> Result<String> {
        let lease = self.0.lease().await?;
        lease
            .run(lease.limit(), |desk, _| {
                let common = Arc::clone(&desk.common);
                desk.with_live_session(
                    |session| fingerprint(session, &common.settings.schema),
                    || true,
                )
            })
            .await
    }

    async fn read(
        &self,
        statement: &Statement,
        key: &[Scalar],
        rows: RowWriter,
    ) -> Result<RowWriter> {
        let values = values(statement, key)?;
        let lease = self.0.lease().await?;
        let (sql, kinds) = (Arc::clone(&statement.sql), Arc::clone(&statement.kinds));
        lease
            .run(lease.limit(), move |desk, control| {
                let before = rows.rows();
                let rows = std::cell::RefCell::new(rows);
                desk.with_live_session(
                    |session| {
                        let rows = &mut rows.borrow_mut();
                        read(session, &sql, &values, &kinds, control, rows)
                    },
                    || rows.borrow().rows() == before,
                )??;
                Ok(rows.into_inner())
            })
            .await
    }

    async fn begin(&self) -> Result<Box<dyn Transaction>> {
        let lease = self.0.lease().await?;
        lease.run(lease.limit(), |desk, _| desk.begin()).await?;
        Ok(Box::new(OracleTransaction { lease }))
    }

    async fn probe(&self) -> Result<()> {
        let had_none = locked(&self.0.resting).is_empty();
        let lease = self.0.lease().await?;
        lease
            .run(lease.limit(), move |desk, _| {
                let result = desk.with_live_session(|session| session.ping(), || true);
                if had_none {
                    // A service that nobody calls holds no connection.
                    desk.session = None;
                }
                result
            })
            .await
    }

    fn release_idle(&self) {
        let now = self.0.common.settings.clock.instant();
        locked(&self.0.resting)
            .retain(|worker| now.saturating_duration_since(worker.since) < LONGEST_IDLE);
    }
}

/// Writes what the variables of a statement hold.
fn write_returned(done: &Done, kinds: &[Type], rows: &mut RowWriter) -> Result<()> {
    let style = rows.shape().datetimes;
    let mut scratch = String::new();
    for cells in &done.returned {
        if !rows.begin_row() {
            continue;
        }
        for (cell, kind) in cells.iter().zip(kinds) {
            decode(cell, Some(kind), style, &mut scratch, &mut |value| {
                rows.value(value);
            })?;
        }
        rows.end_row();
    }
    Ok(())
}

/// A transaction. Oracle begins it with its first write.
struct OracleTransaction {
    lease: Lease,
}

impl OracleTransaction {
    async fn command(&self, sql: &'static str) -> Result<()> {
        self.lease
            .run(self.lease.limit(), move |desk, _| {
                desk.in_transaction(|session| session.execute(sql, &[]).map(drop))
            })
            .await
    }
}

#[async_trait]
impl Transaction for OracleTransaction {
    async fn run(
        &mut self,
        statement: &Statement,
        key: &[Scalar],
        mut rows: RowWriter,
    ) -> Result<(RowWriter, u64)> {
        let mut values = values(statement, key)?;
        let statement = statement.clone();
        values.extend(statement.returned.iter().map(variable).map(Bound::Variable));
        self.lease
            .run(self.lease.limit(), move |desk, control| {
                if statement.sql.starts_with("SELECT ") {
                    let count = desk.in_transaction(|session| {
                        let sql = &statement.sql;
                        read(session, sql, &values, &statement.kinds, control, &mut rows)
                    })??;
                    return Ok((rows, count));
                }
                let done =
                    desk.in_transaction(|session| session.execute(&statement.sql, &values))?;
                write_returned(&done, &statement.returned, &mut rows)?;
                Ok((rows, done.touched))
            })
            .await
    }

    fn retire(&mut self) {
        self.lease.is_spent = true;
    }

    async fn call(&mut self, statement: &Statement, results: &mut Results) -> Result<()> {
        let mut values = values(statement, &[])?;
        values.extend(statement.returned.iter().map(variable).map(Bound::Variable));
        let sql = Arc::clone(&statement.sql);
        let done = self
            .lease
            .run(self.lease.limit(), move |desk, _| {
                desk.in_transaction(|session| session.execute(&sql, &values))
            })
            .await?;
        if statement.returned.is_empty() {
            return Ok(());
        }
        let mut rows = results.begin(statement.returned_names.to_vec())?;
        write_returned(&done, &statement.returned, &mut rows)?;
        results.end(rows)
    }

    async fn savepoint(&mut self) -> Result<()> {
        // A savepoint of the same name takes the place of the one before ("SAVEPOINT").
        self.command("SAVEPOINT tidegate").await
    }

    async fn rollback_to_savepoint(&mut self) -> Result<()> {
        self.command("ROLLBACK TO SAVEPOINT tidegate").await
    }

    async fn release_savepoint(&mut self) -> Result<()> {
        // There is no statement for it, and no need of one.
        Ok(())
    }

    async fn commit(self: Box<Self>) -> Result<()> {
        self.lease
            .run(self.lease.limit(), |desk, _| {
                let result = desk.in_transaction(|session| session.commit());
                if result.is_ok() {
                    desk.is_in_transaction = false;
                }
                result
            })
            .await
    }
}
