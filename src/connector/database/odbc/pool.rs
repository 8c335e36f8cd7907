//! Connections and the threads on which they live.
//!
//! A driver blocks, and its handles belong to one thread at a time, so every connection has a thread of its own that
//! opens it, works on it and closes it; nothing of ODBC runs on the threads that serve requests. A connection works for
//! one caller at a time. A read is one job; a transaction keeps its connection until it ends.
//!
//! A statement ends by the driver's own timeout (`SQL_ATTR_QUERY_TIMEOUT`). Where that does not help, the caller gets
//! its answer all the same, the connection is *given up*, and another one may take its place: its thread closes it when
//! the driver returns at last. Whoever goes away while a statement runs leaves it to end; then the connection is rolled
//! back and used again, or given up.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::catalog::{Served, read_catalog, read_fingerprint};
use super::config::DialectName;
use super::connection::{Open, Settings};
use super::error::{Cause, Failure};
use super::watch::{Watch, too_slow};
use crate::clock::Clock;
use crate::connector::database::catalog::Catalog;
use crate::connector::database::rows::RowWriter;
use crate::connector::database::sql::{SqlPool, Statement, Transaction};
use crate::connector::database::value::Scalar;
use crate::error::{Error, ErrorKind, Result};

/// Most callers that wait for a connection; more are refused.
const MAX_WAITING: usize = 1_024;
/// How long a caller waits for a connection.
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// How long a caller waits before connections are looked through for those whose driver does not return.
const WAIT_BEFORE_REAPING: Duration = Duration::from_millis(500);
/// How long a connection rests before it is closed.
const LONGEST_IDLE: Duration = Duration::from_mins(1);
/// How long a connection rests before it is tried out for the next caller.
const TRUSTED: Duration = Duration::from_secs(5);
/// How long the end of a pool may wait for its threads.
const LONGEST_FAREWELL: Duration = Duration::from_millis(500);

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What the lock guards is whole at every point where a panic could strike.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn too_busy() -> Error {
    Error::new(ErrorKind::Overloaded, "the database is busy")
}

fn lost() -> Error {
    Error::internal("a database job ended without a result")
}

/// What a job does on its thread, with the connection or why there is none: the cause of its failure, if it failed, and
/// what tells the waiting caller.
type Work = Box<dyn for<'o, 'c> FnOnce(Opened<'o, 'c>, &Watch) -> (Option<Cause>, Answer) + Send>;
/// The connection of a thread.
type Opened<'o, 'c> = Result<&'o mut Open<'c>, Failure>;
/// Tells the waiting caller how the job went.
type Answer = Box<dyn FnOnce() + Send>;

struct Job {
    watch: Arc<Watch>,
    work: Work,
    then: Then,
}

/// What becomes of the connection after a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    /// It waits for the next job of the same caller.
    Keep,
    /// It is free for others.
    Release,
    /// It is closed.
    Close,
}

/// A connection's thread, as others see it.
struct Worker {
    mailbox: Mutex<Mailbox>,
    ready: Condvar,
    /// The right to be one of the pool's connections. Given back when the caller is done.
    permit: Mutex<Option<OwnedSemaphorePermit>>,
    /// The job that runs.
    watch: Mutex<Option<Arc<Watch>>>,
    /// The driver did not return in time; the connection is closed when it does.
    is_given_up: AtomicBool,
}

#[derive(Default)]
struct Mailbox {
    jobs: VecDeque<Job>,
    /// The thread takes no more jobs.
    is_closed: bool,
}

impl Worker {
    /// Gives the thread something to do; gives it back if the thread has ended.
    fn push(&self, job: Job) -> Result<(), Job> {
        let mut mailbox = locked(&self.mailbox);
        if mailbox.is_closed {
            return Err(job);
        }
        // A caller has one job at a time, and at most the end of its transaction after it.
        mailbox.jobs.push_back(job);
        drop(mailbox);
        self.ready.notify_one();
        Ok(())
    }
}

/// A connection that rests.
struct Resting {
    worker: Arc<Worker>,
    since: Instant,
}

#[derive(Default)]
struct State {
    idle: Vec<Resting>,
    busy: Vec<Arc<Worker>>,
    /// Threads whose driver did not return.
    given_up: usize,
    threads: usize,
    /// Connections that rested then are tried out before they are used.
    suspected: Option<Instant>,
    is_closed: bool,
}

/// What the pool and its threads share.
struct Shared {
    settings: Settings,
    service: String,
    clock: Arc<dyn Clock>,
    size: usize,
    permits: Arc<Semaphore>,
    waiting: Semaphore,
    state: Mutex<State>,
    left: Condvar,
}

impl Shared {
    /// Gives up a connection that works on a job for too long.
    fn give_up(&self, worker: &Arc<Worker>) {
        let mut state = locked(&self.state);
        let Some(place) = state
            .busy
            .iter()
            .position(|other| Arc::ptr_eq(other, worker))
        else {
            return;
        };
        state.busy.swap_remove(place);
        worker.is_given_up.store(true, Ordering::Release);
        state.given_up = state.given_up.saturating_add(1);
        // As many threads may be stuck as there may be connections; beyond that the pool shrinks until one returns.
        let may_replace = state.given_up <= self.size;
        drop(state);
        locked(&worker.mailbox).is_closed = true;
        if may_replace {
            drop(locked(&worker.permit).take());
        }
        tracing::warn!(
            service = %self.service,
            "a database driver did not return in time; its connection is given up"
        );
    }

    /// Gives up all connections that work on a job for too long, whose callers may have gone away.
    fn reap(&self) {
        let busy: Vec<Arc<Worker>> = locked(&self.state).busy.iter().map(Arc::clone).collect();
        for worker in busy {
            let is_stuck = locked(&worker.watch)
                .as_ref()
                .is_some_and(|watch| watch.patience().is_none());
            if is_stuck {
                self.give_up(&worker);
            }
        }
    }

    /// A connection is gone: what rests may be gone too.
    fn suspect(&self) {
        locked(&self.state).suspected = Some(self.clock.instant());
    }

    /// Puts a connection to rest. False if it must be closed.
    fn rest(&self, worker: &Arc<Worker>) -> bool {
        let mut state = locked(&self.state);
        if state.is_closed || worker.is_given_up.load(Ordering::Acquire) {
            return false;
        }
        state.busy.retain(|other| !Arc::ptr_eq(other, worker));
        state.idle.push(Resting {
            worker: Arc::clone(worker),
            since: self.clock.instant(),
        });
        drop(state);
        // Whoever gets the right now finds the connection at rest.
        drop(locked(&worker.permit).take());
        true
    }

    /// The thread of a connection ends.
    fn leave(&self, worker: &Arc<Worker>) {
        let mut state = locked(&self.state);
        state.busy.retain(|other| !Arc::ptr_eq(other, worker));
        state
            .idle
            .retain(|resting| !Arc::ptr_eq(&resting.worker, worker));
        state.threads = state.threads.saturating_sub(1);
        if worker.is_given_up.load(Ordering::Acquire) {
            state.given_up = state.given_up.saturating_sub(1);
        }
        drop(state);
        let jobs = {
            let mut mailbox = locked(&worker.mailbox);
            mailbox.is_closed = true;
            std::mem::take(&mut mailbox.jobs)
        };
        // Whoever waits for them hears that they are gone.
        drop(jobs);
        drop(locked(&worker.permit).take());
        self.left.notify_all();
    }

    /// Takes a resting connection away from the others, to close it. False if somebody else took it.
    fn take_away(&self, worker: &Arc<Worker>) -> bool {
        let mut state = locked(&self.state);
        let before = state.idle.len();
        state
            .idle
            .retain(|resting| !Arc::ptr_eq(&resting.worker, worker));
        state.idle.len() < before
    }

    /// The life of a connection's thread.
    fn serve(&self, worker: &Arc<Worker>) {
        let outcome = catch_unwind(AssertUnwindSafe(|| self.work(worker)));
        if outcome.is_err() {
            // The driver broke its rules towards the library; the connection is not used again.
            tracing::error!(service = %self.service, "work with a database driver panicked");
            self.suspect();
        }
        self.leave(worker);
    }

    fn work(&self, worker: &Arc<Worker>) {
        let Some(first) = self.next(worker) else {
            return;
        };
        *locked(&worker.watch) = Some(Arc::clone(&first.watch));
        if !first.watch.start() {
            return;
        }
        let refuse = |job: Job, failure: Failure| {
            let (_, answer) = (job.work)(Err(failure), &job.watch);
            locked(&worker.mailbox).is_closed = true;
            answer();
        };
        let connection = match self.settings.connect() {
            Ok(connection) => connection,
            Err(failure) => return refuse(first, failure),
        };
        let mut open = match Open::new(&connection, &self.settings) {
            Ok(open) => open,
            Err(failure) => return refuse(first, failure),
        };
        let mut next = Some(first);
        while let Some(job) = next {
            if !self.run(worker, &mut open, job) {
                return;
            }
            next = self.next(worker);
        }
    }

    /// Runs a job. False if the connection is to be closed.
    fn run(&self, worker: &Arc<Worker>, open: &mut Open<'_>, job: Job) -> bool {
        *locked(&worker.watch) = Some(Arc::clone(&job.watch));
        let (cause, answer): (_, Answer) = if job.watch.start() {
            (job.work)(Ok(open), &job.watch)
        } else {
            // Nobody wants it any more, but what comes after it is done.
            (None, Box::new(|| ()))
        };
        let mut is_usable = cause != Some(Cause::Lost);
        if job.then == Then::Release && is_usable && open.is_in_transaction() {
            is_usable = open.rollback().is_ok();
        }
        *locked(&worker.watch) = None;
        if !is_usable {
            self.suspect();
        }
        let goes_on = match job.then {
            Then::Keep => is_usable && !worker.is_given_up.load(Ordering::Acquire),
            Then::Release => is_usable && self.rest(worker),
            Then::Close => false,
        };
        if !goes_on {
            // Before the caller hears of it, so that it does not come back to a connection that is gone.
            locked(&worker.mailbox).is_closed = true;
        }
        answer();
        goes_on
    }

    /// The next job; none when the connection is to be closed.
    fn next(&self, worker: &Arc<Worker>) -> Option<Job> {
        let mut mailbox = locked(&worker.mailbox);
        loop {
            if let Some(job) = mailbox.jobs.pop_front() {
                return Some(job);
            }
            if mailbox.is_closed {
                return None;
            }
            let (woken, timeout) = worker
                .ready
                .wait_timeout(mailbox, LONGEST_IDLE)
                .unwrap_or_else(PoisonError::into_inner);
            mailbox = woken;
            if timeout.timed_out() && mailbox.jobs.is_empty() {
                drop(mailbox);
                // Between two statements of a transaction it does not rest, and waits on.
                if self.take_away(worker) {
                    return None;
                }
                mailbox = locked(&worker.mailbox);
            }
        }
    }
}

/// Cancels a job when the future that waits for it is dropped.
struct CancelOnDrop(Arc<Watch>);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

/// A connection that one caller has. Dropping it rolls back and sets it free.
struct Lease {
    shared: Arc<Shared>,
    worker: Option<Arc<Worker>>,
    /// Whether it was opened for this caller.
    is_new: bool,
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(worker) = self.worker.take() {
            let job = Job {
                watch: self.shared.watch(self.shared.settings.statement_timeout),
                work: Box::new(|_opened, _watch| (None, Box::new(|| ()))),
                then: Then::Release,
            };
            // A thread that has ended closed its connection, which rolls back.
            let _ = worker.push(job);
        }
    }
}

impl Lease {
    /// Has something done on the connection. With [`Then::Keep`] the lease goes on; otherwise the thread ends it, even
    /// if this future is dropped.
    async fn submit<T: Send + 'static>(
        &mut self,
        limit: Duration,
        then: Then,
        work: impl for<'c> FnOnce(&mut Open<'c>, &Watch) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T> {
        let guard = CancelOnDrop(self.shared.watch(limit));
        self.push_and_wait(&guard.0, then, work).await
    }

    /// The same for what must come to its end although nobody waits any more.
    async fn push_and_wait<T: Send + 'static>(
        &mut self,
        watch: &Arc<Watch>,
        then: Then,
        work: impl for<'c> FnOnce(&mut Open<'c>, &Watch) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T> {
        let Some(worker) = self.worker.as_ref().map(Arc::clone) else {
            return Err(rolled_back());
        };
        let (sender, mut receiver) = oneshot::channel();
        let job = Job {
            watch: Arc::clone(watch),
            work: Box::new(move |opened, watch| {
                let outcome = opened.and_then(|open| work(open, watch));
                let cause = outcome.as_ref().err().map(|failure| failure.cause);
                let outcome = outcome.map_err(|failure| failure.error);
                let answer = move || {
                    // The receiver is gone when nobody waits any more.
                    let _ = sender.send(outcome);
                };
                (cause, Box::new(answer))
            }),
            then,
        };
        if worker.push(job).is_err() {
            self.worker = None;
            return Err(rolled_back());
        }
        if then != Then::Keep {
            self.worker = None;
        }
        let mut patience = watch.patience();
        while let Some(left) = patience {
            match tokio::time::timeout(left, &mut receiver).await {
                Ok(answer) => return answer.unwrap_or_else(|_dropped| Err(lost())),
                Err(_elapsed) => patience = watch.patience(),
            }
        }
        self.shared.give_up(&worker);
        self.worker = None;
        Err(too_slow())
    }
}

fn rolled_back() -> Error {
    Error::new(
        ErrorKind::SerializationFailure,
        "the connection to the database was lost; nothing was written",
    )
}

impl Shared {
    fn watch(&self, limit: Duration) -> Arc<Watch> {
        Arc::new(Watch::new(limit, &self.clock))
    }
}

/// The connections to one database.
pub(in crate::connector::database) struct OdbcPool {
    shared: Arc<Shared>,
    served: Served,
}

impl OdbcPool {
    /// A pool of at most so many connections. Opens nothing.
    pub(super) fn new(
        service: String,
        settings: Settings,
        served: Served,
        size: usize,
        clock: &Arc<dyn Clock>,
    ) -> Self {
        let shared = Shared {
            settings,
            service,
            clock: Arc::clone(clock),
            size,
            permits: Arc::new(Semaphore::new(size)),
            waiting: Semaphore::new(MAX_WAITING),
            state: Mutex::default(),
            left: Condvar::new(),
        };
        Self {
            shared: Arc::new(shared),
            served,
        }
    }

    fn dialect(&self) -> DialectName {
        self.shared.settings.dialect
    }

    /// The right to one of the connections, in the order of asking.
    async fn permit(&self) -> Result<OwnedSemaphorePermit> {
        let _place = self
            .shared
            .waiting
            .try_acquire()
            .map_err(|_none_left| too_busy())?;
        let closed = |_closed| Error::internal("the connections were closed");
        let permits = || Arc::clone(&self.shared.permits).acquire_owned();
        if let Ok(permit) = tokio::time::timeout(WAIT_BEFORE_REAPING, permits()).await {
            return permit.map_err(closed);
        }
        self.shared.reap();
        tokio::time::timeout(LONGEST_WAIT.saturating_sub(WAIT_BEFORE_REAPING), permits())
            .await
            .map_err(|_elapsed| too_busy())?
            .map_err(closed)
    }

    /// A connection, tried out if it rested for long.
    async fn lease(&self) -> Result<Lease> {
        let shared = &self.shared;
        // As often as connections may rest, and once more to open one.
        for _ in 0..=shared.size {
            let permit = self.permit().await?;
            let resting = {
                let mut state = locked(&shared.state);
                let resting = state.idle.pop();
                if let Some(resting) = &resting {
                    state.busy.push(Arc::clone(&resting.worker));
                }
                let is_suspected = match (&resting, state.suspected) {
                    (Some(resting), Some(suspected)) => resting.since <= suspected,
                    _ => false,
                };
                resting.map(|resting| (resting, is_suspected))
            };
            let Some((resting, is_suspected)) = resting else {
                return self.open(permit).await;
            };
            *locked(&resting.worker.permit) = Some(permit);
            let rested = shared
                .clock
                .instant()
                .saturating_duration_since(resting.since);
            let mut lease = Lease {
                shared: Arc::clone(shared),
                worker: Some(resting.worker),
                is_new: false,
            };
            if rested < TRUSTED && !is_suspected {
                return Ok(lease);
            }
            let limit = shared.settings.connect_timeout;
            let probe = lease
                .submit(limit, Then::Keep, |open, _watch| {
                    open.probe().map_err(|failure| Failure {
                        cause: Cause::Lost,
                        ..failure
                    })
                })
                .await;
            match probe {
                Ok(()) => return Ok(lease),
                Err(error) if error.kind() == ErrorKind::BackendTimeout => return Err(error),
                // It is closed by its thread.
                Err(_lost) => {}
            }
        }
        Err(too_busy())
    }

    /// A new connection.
    async fn open(&self, permit: OwnedSemaphorePermit) -> Result<Lease> {
        let shared = &self.shared;
        let worker = Arc::new(Worker {
            mailbox: Mutex::default(),
            ready: Condvar::new(),
            permit: Mutex::new(Some(permit)),
            watch: Mutex::new(None),
            is_given_up: AtomicBool::new(false),
        });
        let number = {
            let mut state = locked(&shared.state);
            state.threads = state.threads.saturating_add(1);
            state.busy.push(Arc::clone(&worker));
            state.threads
        };
        let mut lease = Lease {
            shared: Arc::clone(shared),
            worker: Some(Arc::clone(&worker)),
            is_new: true,
        };
        let (thread_shared, thread_worker) = (Arc::clone(shared), Arc::clone(&worker));
        let spawned = std::thread::Builder::new()
            // Linux shows fifteen characters of it, so the number goes first.
            .name(format!("odbc-{number}-{}", shared.service))
            .spawn(move || thread_shared.serve(&thread_worker));
        if let Err(error) = spawned {
            lease.worker = None;
            shared.leave(&worker);
            return Err(
                Error::new(ErrorKind::Overloaded, "the gateway has no threads left")
                    .with_source(error),
            );
        }
        let limit = shared.settings.connect_timeout;
        lease
            .submit(limit, Then::Keep, |_open, _watch| Ok(()))
            .await?;
        Ok(lease)
    }

    /// Has something done on a connection outside a transaction.
    async fn reading<T: Send + 'static>(
        &self,
        work: impl for<'c> FnOnce(&mut Open<'c>, &Watch) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T> {
        let limit = self.shared.settings.statement_timeout;
        self.lease().await?.submit(limit, Then::Release, work).await
    }
}

impl Drop for OdbcPool {
    /// Waits a moment for the threads, which have little left to do, so that servers see their clients leave.
    fn drop(&mut self) {
        let mut state = locked(&self.shared.state);
        state.is_closed = true;
        let resting = std::mem::take(&mut state.idle);
        drop(state);
        for resting in &resting {
            locked(&resting.worker.mailbox).is_closed = true;
            resting.worker.ready.notify_one();
        }
        let state = locked(&self.shared.state);
        let (state, _) = self
            .shared
            .left
            .wait_timeout_while(state, LONGEST_FAREWELL, |state| {
                state.threads > state.given_up
            })
            .unwrap_or_else(PoisonError::into_inner);
        drop(state);
    }
}

#[async_trait]
impl SqlPool for OdbcPool {
    async fn catalog(&self) -> Result<Catalog> {
        let served = self.served.clone();
        self.reading(move |open, watch| read_catalog(open, &served, watch))
            .await
    }

    async fn fingerprint(&self) -> Result<String> {
        let served = self.served.clone();
        self.reading(move |open, watch| read_fingerprint(open, &served, watch))
            .await
    }

    async fn read(
        &self,
        statement: &Statement,
        key: &[Scalar],
        rows: RowWriter,
    ) -> Result<RowWriter> {
        let statement = statement.clone();
        let key = key.to_vec();
        self.reading(move |open, watch| Ok(open.run(&statement, &key, rows, true, watch)?.0))
            .await
    }

    async fn begin(&self) -> Result<Box<dyn Transaction>> {
        let mut lease = self.lease().await?;
        let limit = self.shared.settings.statement_timeout;
        lease
            .submit(limit, Then::Keep, |open, _watch| open.begin())
            .await?;
        Ok(Box::new(OdbcTransaction {
            lease,
            dialect: self.dialect(),
            last_key: None,
        }))
    }

    async fn probe(&self) -> Result<()> {
        let mut lease = self.lease().await?;
        let then = if lease.is_new {
            Then::Close
        } else {
            Then::Release
        };
        let limit = self.shared.settings.statement_timeout;
        lease.submit(limit, then, |open, _watch| open.probe()).await
    }

    fn release_idle(&self) {
        // Threads close what rests by themselves.
        self.shared.reap();
    }
}

/// A transaction on a connection of its own.
struct OdbcTransaction {
    lease: Lease,
    dialect: DialectName,
    last_key: Option<i64>,
}

impl OdbcTransaction {
    async fn submit<T: Send + 'static>(
        &mut self,
        work: impl for<'c> FnOnce(&mut Open<'c>, &Watch) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T> {
        let limit = self.lease.shared.settings.statement_timeout;
        self.lease.submit(limit, Then::Keep, work).await
    }

    async fn command(&mut self, sql: &'static str) -> Result<()> {
        if sql.is_empty() {
            return Ok(());
        }
        self.submit(move |open, _watch| open.command(sql)).await
    }

    fn savepoints(&self) -> Result<super::dialect::Savepoints> {
        self.dialect.savepoints().ok_or_else(|| {
            Error::new(
                ErrorKind::InvalidParameter,
                "the database has no savepoints, so records that fail cannot be skipped",
            )
            .with_help("leave out `continue=true`")
        })
    }
}

#[async_trait]
impl Transaction for OdbcTransaction {
    async fn run(
        &mut self,
        statement: &Statement,
        key: &[Scalar],
        rows: RowWriter,
    ) -> Result<(RowWriter, u64)> {
        let statement = statement.clone();
        let key = key.to_vec();
        let ask = self
            .dialect
            .last_key()
            .filter(|_| statement.sql.starts_with("INSERT "));
        let (done, last_key) = self
            .submit(move |open, watch| {
                let done = open.run(&statement, &key, rows, false, watch)?;
                let last_key = match ask {
                    Some(sql) => open.number(sql, watch)?,
                    None => None,
                };
                Ok((done, last_key))
            })
            .await?;
        self.last_key = last_key;
        Ok(done)
    }

    fn last_key(&self) -> Option<i64> {
        self.last_key
    }

    fn has_savepoints(&self) -> bool {
        self.dialect.savepoints().is_some()
    }

    async fn savepoint(&mut self) -> Result<()> {
        let set = self.savepoints()?.set;
        self.command(set).await
    }

    async fn rollback_to_savepoint(&mut self) -> Result<()> {
        let savepoints = self.savepoints()?;
        self.command(savepoints.rollback).await?;
        // The savepoint itself survives, and there is at most one at a time.
        self.command(savepoints.release).await
    }

    async fn release_savepoint(&mut self) -> Result<()> {
        let release = self.savepoints()?.release;
        self.command(release).await
    }

    async fn commit(mut self: Box<Self>) -> Result<()> {
        let limit = self.lease.shared.settings.statement_timeout;
        let watch = self.lease.shared.watch(limit);
        // Not stopped by dropping the future: it must end the transaction one way or the other.
        self.lease
            .push_and_wait(&watch, Then::Release, |open, _watch| open.commit())
            .await
    }
}
