//! Connections and the threads on which they work.
//!
//! SQLite blocks, so nothing of it runs on the threads that serve requests: a read is a job in a bounded queue, taken
//! by one of a few reader threads; a transaction has the one writer thread for itself until it ends. Connections rest
//! in a [`Park`] between jobs. When the file at the path has become another one, all of them are closed before one to
//! the new file is opened. Threads that have nothing to do for a while end, and close their connections: a service that
//! nobody calls has neither.

use std::any::Any;
use std::collections::VecDeque;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::catalog::read_catalog;
use super::connection::{Control, Identity, Open, Role, Settings};
use crate::connector::database::catalog::Catalog;
use crate::connector::database::plan::BulkRecords;
use crate::connector::database::rows::RowWriter;
use crate::connector::database::schema_change::Interrupted;
use crate::connector::database::sql::{Load, SqlPool, Statement, Transaction, run_all};
use crate::connector::database::value::Scalar;
use crate::error::{Error, ErrorKind, Result};

/// Most jobs that wait for a thread, and most transactions that wait for the writer; more are refused.
const MAX_WAITING: usize = 1_024;
/// How long a job may wait for a thread, or a transaction for the writer.
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// How long a thread waits for work before it ends.
pub(super) const LONGEST_IDLE: Duration = Duration::from_mins(1);
/// How long the writer rests before the write-ahead log is emptied.
const REST_BEFORE_CHECKPOINT: Duration = Duration::from_secs(1);
/// How often it is tried to empty the write-ahead log after a write: a long read stands in the way.
const CHECKPOINT_ATTEMPTS: u32 = 60;
/// How long the end of a pool may wait for its threads.
const LONGEST_FAREWELL: Duration = Duration::from_millis(500);

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What the lock guards is whole at every point where a panic could strike.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn too_busy() -> Error {
    Error::new(ErrorKind::Overloaded, "the database is busy")
}

/// Connections at rest.
struct Park {
    settings: Settings,
    state: Mutex<ParkState>,
    emptied: Condvar,
}

#[derive(Default)]
struct ParkState {
    readers: Vec<Open>,
    writer: Option<Open>,
    /// The file that all open connections belong to.
    identity: Option<Identity>,
    /// How many connections are open, at rest or at work.
    open: usize,
    /// The write-ahead log that belongs to the file, as it was last seen.
    log: Option<Identity>,
    /// Whether the file was replaced, and nobody has looked yet for the log of the old one.
    is_replaced: bool,
}

impl Park {
    /// A connection to the file that is at the path now.
    fn take(&self, role: Role) -> Result<Open> {
        let identity = self.settings.identity()?;
        let mut state = locked(&self.state);
        if state.identity != Some(identity) {
            state = self.change_file(state, identity)?;
        }
        let parked = match role {
            Role::Reader => state.readers.pop(),
            Role::Writer => state.writer.take(),
        };
        if let Some(open) = parked {
            return Ok(open);
        }
        state.open = state.open.saturating_add(1);
        drop(state);
        Open::new(&self.settings, role, identity).inspect_err(|_| self.forget())
    }

    /// Closes what belongs to another file. Two connections to two files would share one write-ahead log, because its
    /// name is made from the path.
    fn change_file<'a>(
        &'a self,
        mut state: MutexGuard<'a, ParkState>,
        identity: Identity,
    ) -> Result<MutexGuard<'a, ParkState>> {
        let replaced = |text: &'static str| Error::new(ErrorKind::BackendUnavailable, text);
        state.is_replaced |= state.identity.is_some();
        // Until the last of them is closed, connections that come back are closed too.
        state.identity = None;
        let outdated: Vec<Open> = {
            let state = &mut *state;
            state.readers.drain(..).chain(state.writer.take()).collect()
        };
        state.open = state.open.saturating_sub(outdated.len());
        drop(outdated);
        let (mut state, timeout) = self
            .emptied
            .wait_timeout_while(state, self.settings.busy_timeout, |state| {
                state.open > 0 && state.identity != Some(identity)
            })
            .unwrap_or_else(PoisonError::into_inner);
        if timeout.timed_out() {
            return Err(replaced(
                "the database file was replaced while the old one is still in use",
            ));
        }
        if state.is_replaced && state.log.is_some() && self.settings.log() == state.log {
            // SQLite would take the old file's changes for changes of the new one.
            return Err(replaced(
                "the database file was replaced, but the write-ahead log of the old one is still beside it",
            )
            .with_fact("mend", "remove the files of the same name that end in -wal and -shm"));
        }
        state.is_replaced = false;
        state.identity = Some(identity);
        Ok(state)
    }

    /// Takes a connection back.
    fn put(&self, role: Role, open: Open) {
        let mut state = locked(&self.state);
        if state.identity != Some(open.identity()) || open.is_in_transaction() {
            drop(state);
            self.close(open);
            return;
        }
        match role {
            Role::Reader => state.readers.push(open),
            Role::Writer => {
                state.log = self.settings.log();
                state.writer = Some(open);
            }
        }
    }

    /// Closes a connection that is not to be used again.
    fn close(&self, open: Open) {
        drop(open);
        self.forget();
    }

    /// Closes the connections of a role that rest, but for `most` of them.
    fn close_resting(&self, role: Role, most: usize) {
        let mut state = locked(&self.state);
        let resting: Vec<Open> = match role {
            Role::Reader => {
                let count = state.readers.len().saturating_sub(most);
                state.readers.drain(..count).collect()
            }
            Role::Writer if most > 0 => Vec::new(),
            Role::Writer => state.writer.take().into_iter().collect(),
        };
        drop(state);
        for open in resting {
            self.close(open);
        }
    }

    fn forget(&self) {
        let mut state = locked(&self.state);
        state.open = state.open.saturating_sub(1);
        drop(state);
        self.emptied.notify_all();
    }
}

/// What a thread keeps from job to job: the connection of the transaction that runs on it.
struct Session {
    park: Arc<Park>,
    role: Role,
    held: Option<Open>,
    /// How often it is still tried to empty the write-ahead log.
    checkpoints_left: u32,
    /// What the thread has done so far.
    done: Done,
}

/// What a thread has done so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Done {
    Nothing,
    /// It answered probes, which leave nothing behind.
    Probes,
    Work,
}

impl Session {
    /// Does something with a connection from the park, under the rules of a job.
    fn with_connection<T>(
        &mut self,
        control: &Arc<Control>,
        work: impl FnOnce(&Open) -> Result<T>,
    ) -> Result<T> {
        let open = self.park.take(self.role)?;
        let result = open.watched(control, work);
        match &result {
            // What the file itself is at fault for may be mended by opening it anew.
            Err(error) if error.kind() == ErrorKind::BackendUnavailable => self.park.close(open),
            _ => self.park.put(self.role, open),
        }
        result
    }

    fn begin(&mut self, control: &Arc<Control>) -> Result<()> {
        self.end();
        let open = self.park.take(self.role)?;
        let result = open.watched(control, |open| open.command("BEGIN IMMEDIATE"));
        if result.is_ok() {
            self.held = Some(open);
        } else {
            self.park.put(self.role, open);
        }
        result
    }

    /// Does something within the transaction. An error may have ended the transaction (a full disk does, and so does
    /// an interrupted write): what follows must then not run by itself.
    fn in_transaction<T>(
        &mut self,
        control: &Arc<Control>,
        work: impl FnOnce(&Open) -> Result<T>,
    ) -> Result<T> {
        match &self.held {
            Some(open) if open.is_in_transaction() => open.watched(control, work),
            _ => Err(Error::new(
                ErrorKind::SerializationFailure,
                "the transaction was rolled back; nothing was written",
            )),
        }
    }

    fn commit(&mut self, control: &Arc<Control>) -> Result<()> {
        let result = self.in_transaction(control, |open| open.command("COMMIT"));
        if result.is_ok() {
            self.checkpoints_left = CHECKPOINT_ATTEMPTS;
        }
        self.end();
        result
    }

    /// Ends the transaction; rolls back what was not committed.
    fn end(&mut self) {
        if let Some(open) = self.held.take() {
            if open.is_in_transaction() {
                // A connection that cannot even roll back is closed by the park, which rolls back too.
                let _ = open.command("ROLLBACK");
            }
            self.park.put(self.role, open);
        }
    }

    /// Work for a quiet moment. An empty log also means that the file may be replaced without harm.
    fn rest(&mut self) {
        self.checkpoints_left = self.checkpoints_left.saturating_sub(1);
        if self.held.is_none()
            && let Ok(open) = self.park.take(self.role)
        {
            open.checkpoint();
            if self.park.settings.log().is_none() {
                self.checkpoints_left = 0;
            }
            self.park.put(self.role, open);
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.end();
        if self.checkpoints_left > 0 {
            self.rest();
        }
    }
}

type Work = Box<dyn FnOnce(&mut Session) + Send>;

struct Job {
    control: Arc<Control>,
    work: Work,
    is_probe: bool,
}

struct Queue {
    jobs: VecDeque<Job>,
    idle: usize,
    threads: usize,
    /// Threads that take no more jobs, but have not closed their connections yet.
    leaving: usize,
    is_closed: bool,
}

struct Crew {
    park: Arc<Park>,
    role: Role,
    size: usize,
    queue: Mutex<Queue>,
    ready: Condvar,
    left: Condvar,
}

/// Some threads and the queue they work off. Threads start when there is work, and end when this is dropped.
struct Workers(Arc<Crew>);

impl Workers {
    fn new(park: &Arc<Park>, role: Role, size: usize) -> Self {
        Self(Arc::new(Crew {
            park: Arc::clone(park),
            role,
            size,
            queue: Mutex::new(Queue {
                jobs: VecDeque::new(),
                idle: 0,
                threads: 0,
                leaving: 0,
                is_closed: false,
            }),
            ready: Condvar::new(),
            left: Condvar::new(),
        }))
    }

    fn push(&self, job: Job) -> Result<()> {
        let crew = &self.0;
        let mut queue = locked(&crew.queue);
        if queue.jobs.len() >= MAX_WAITING {
            // Callers who went away do not take the place of others.
            queue.jobs.retain(|job| !job.control.is_cancelled());
        }
        if queue.jobs.len() >= MAX_WAITING {
            return Err(too_busy());
        }
        queue.jobs.push_back(job);
        if queue.jobs.len() <= queue.idle || queue.threads >= crew.size {
            drop(queue);
            crew.ready.notify_one();
            return Ok(());
        }
        queue.threads = queue.threads.saturating_add(1);
        let number = queue.threads;
        drop(queue);
        let letter = match crew.role {
            Role::Reader => 'r',
            Role::Writer => 'w',
        };
        let worker = Arc::clone(crew);
        std::thread::Builder::new()
            // Linux shows fifteen characters of it, so the number goes first.
            .name(format!(
                "sqlite-{letter}{number}-{}",
                crew.park.settings.service
            ))
            .spawn(move || worker.serve())
            .map(drop)
            .map_err(|error| {
                let mut queue = locked(&crew.queue);
                queue.threads = queue.threads.saturating_sub(1);
                if queue.threads == 0 {
                    queue.jobs.clear();
                }
                Error::new(ErrorKind::Overloaded, "the gateway has no threads left")
                    .with_source(error)
            })
    }
}

impl Drop for Workers {
    /// Waits a moment for the threads, which have little left to do, so that files are closed and the write-ahead log
    /// is gone when the program ends.
    fn drop(&mut self) {
        let crew = &self.0;
        let mut queue = locked(&crew.queue);
        queue.is_closed = true;
        crew.ready.notify_all();
        let (queue, _) = crew
            .left
            .wait_timeout_while(queue, LONGEST_FAREWELL, |queue| {
                queue.threads > 0 || queue.leaving > 0
            })
            .unwrap_or_else(PoisonError::into_inner);
        drop(queue);
        crew.park.close_resting(crew.role, 0);
    }
}

impl Crew {
    fn serve(&self) {
        let mut session = Session {
            park: Arc::clone(&self.park),
            role: self.role,
            held: None,
            checkpoints_left: 0,
            done: Done::Nothing,
        };
        while let Some(job) = self.next(&mut session) {
            if !job.control.start() {
                continue;
            }
            session.done = match session.done {
                Done::Nothing | Done::Probes if job.is_probe => Done::Probes,
                _ => Done::Work,
            };
            let work = job.work;
            // The result's sender is dropped by a panic, so the caller gets an error; the thread goes on.
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| work(&mut session))) {
                tracing::error!(panic = panic_text(&panic), "a database job panicked");
                session.end();
            }
        }
        drop(session);
        // As many connections may rest as there are threads to use them.
        let remaining = locked(&self.queue).threads;
        if !self.park.settings.is_in_memory() {
            self.park.close_resting(self.role, remaining);
        }
        let mut queue = locked(&self.queue);
        queue.leaving = queue.leaving.saturating_sub(1);
        drop(queue);
        self.left.notify_all();
    }

    /// The next job; none when the thread is to end: the workers are dismissed, or there was nothing to do for long.
    fn next(&self, session: &mut Session) -> Option<Job> {
        let mut queue = locked(&self.queue);
        loop {
            if let Some(job) = queue.jobs.pop_front() {
                return Some(job);
            }
            // A transaction may be between two statements, and a database in memory is gone with its connection.
            let may_leave = session.held.is_none() && !self.park.settings.is_in_memory();
            if queue.is_closed || may_leave && session.done == Done::Probes {
                return queue.leave();
            }
            let longest = match (session.checkpoints_left, may_leave) {
                (0, true) => Some(self.park.settings.longest_idle),
                (0, false) => None,
                (_, _) => Some(REST_BEFORE_CHECKPOINT),
            };
            queue.idle = queue.idle.saturating_add(1);
            let mut is_quiet = false;
            queue = match longest {
                Some(longest) => {
                    let (queue, timeout) = self
                        .ready
                        .wait_timeout(queue, longest)
                        .unwrap_or_else(PoisonError::into_inner);
                    is_quiet = timeout.timed_out();
                    queue
                }
                None => self
                    .ready
                    .wait(queue)
                    .unwrap_or_else(PoisonError::into_inner),
            };
            queue.idle = queue.idle.saturating_sub(1);
            if !is_quiet || !queue.jobs.is_empty() {
                continue;
            }
            if session.checkpoints_left == 0 {
                return queue.leave();
            }
            drop(queue);
            session.rest();
            queue = locked(&self.queue);
        }
    }
}

impl Queue {
    /// The thread takes no more jobs from here on: whoever brings one begins another.
    fn leave(&mut self) -> Option<Job> {
        self.threads = self.threads.saturating_sub(1);
        self.leaving = self.leaving.saturating_add(1);
        None
    }
}

fn panic_text(panic: &Box<dyn Any + Send>) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no text")
}

/// Cancels a job when the future that waits for it is dropped.
struct CancelOnDrop(Arc<Control>);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

/// Has something done by one of the workers. Dropping the future stops the work.
async fn submit<T: Send + 'static>(
    workers: &Workers,
    work: impl FnOnce(&mut Session, &Arc<Control>) -> Result<T> + Send + 'static,
) -> Result<T> {
    submit_job(workers, false, work).await
}

async fn submit_job<T: Send + 'static>(
    workers: &Workers,
    is_probe: bool,
    work: impl FnOnce(&mut Session, &Arc<Control>) -> Result<T> + Send + 'static,
) -> Result<T> {
    let guard = CancelOnDrop(Arc::default());
    let mut receiver = push(workers, Arc::clone(&guard.0), is_probe, work)?;
    let answer = match tokio::time::timeout(LONGEST_WAIT, &mut receiver).await {
        Ok(answer) => answer,
        Err(_elapsed) if guard.0.abandon() => return Err(too_busy()),
        // It has begun, so its own deadline holds.
        Err(_elapsed) => receiver.await,
    };
    answer.unwrap_or_else(|_dropped| Err(lost()))
}

fn push<T: Send + 'static>(
    workers: &Workers,
    control: Arc<Control>,
    is_probe: bool,
    work: impl FnOnce(&mut Session, &Arc<Control>) -> Result<T> + Send + 'static,
) -> Result<oneshot::Receiver<Result<T>>> {
    let (sender, receiver) = oneshot::channel();
    let inner = Arc::clone(&control);
    workers.push(Job {
        control,
        work: Box::new(move |session| {
            // The receiver is gone when nobody waits for the result any more.
            let _ = sender.send(work(session, &inner));
        }),
        is_probe,
    })?;
    Ok(receiver)
}

fn lost() -> Error {
    Error::internal("a database job ended without a result")
}

/// The connections to one database.
pub(in crate::connector::database) struct SqlitePool {
    readers: Workers,
    writer: Arc<Workers>,
    /// Held by the transaction that is on the writer.
    turn: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
    read_only: bool,
    /// A database in memory has one connection, which reads too.
    is_in_memory: bool,
}

impl SqlitePool {
    /// A pool of so many readers and a writer. Opens nothing.
    pub(super) fn new(settings: Settings, readers: usize) -> Self {
        let read_only = settings.read_only;
        let is_in_memory = settings.is_in_memory();
        let park = Arc::new(Park {
            settings,
            state: Mutex::new(ParkState::default()),
            emptied: Condvar::new(),
        });
        Self {
            readers: Workers::new(&park, Role::Reader, readers),
            writer: Arc::new(Workers::new(&park, Role::Writer, 1)),
            turn: Arc::new(Semaphore::new(1)),
            waiting: Arc::new(Semaphore::new(MAX_WAITING)),
            read_only,
            is_in_memory,
        }
    }

    /// The right to use the writer, in the order of asking.
    async fn turn(&self) -> Result<OwnedSemaphorePermit> {
        let _place = self
            .waiting
            .try_acquire()
            .map_err(|_none_left| too_busy())?;
        tokio::time::timeout(LONGEST_WAIT, Arc::clone(&self.turn).acquire_owned())
            .await
            .map_err(|_elapsed| too_busy())?
            .map_err(|_closed| Error::internal("the writer's turn was closed"))
    }

    /// Has something done with a connection outside a transaction.
    async fn reading<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Open) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        if self.is_in_memory {
            let turn = self.turn().await?;
            return submit(&self.writer, move |session, control| {
                // The turn ends with the job, not with the future that waits for it.
                let _turn = turn;
                session.with_connection(control, work)
            })
            .await;
        }
        submit(&self.readers, move |session, control| {
            session.with_connection(control, work)
        })
        .await
    }
}

#[async_trait]
impl SqlPool for SqlitePool {
    async fn catalog(&self) -> Result<Catalog> {
        self.reading(|open| read_catalog(open.connection())).await
    }

    async fn fingerprint(&self) -> Result<String> {
        self.reading(|open| Ok(format!("{:?}:{}", open.identity(), open.schema_version()?)))
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
        self.reading(move |open| Ok(open.run(&statement, &key, rows)?.0))
            .await
    }

    async fn begin(&self) -> Result<Box<dyn Transaction>> {
        if self.read_only {
            return Err(Error::new(
                ErrorKind::Forbidden,
                "the service reads its database and never writes it",
            ));
        }
        let turn = self.turn().await?;
        // Made first: whenever this future is dropped, the transaction is, which rolls back.
        let transaction = SqliteTransaction {
            workers: Arc::clone(&self.writer),
            turn: Some(turn),
        };
        transaction.submit(Session::begin).await?;
        Ok(Box::new(transaction))
    }

    async fn change_schema(&self, statements: &[String]) -> Result<(), Interrupted> {
        let outcome = run_all(self.begin().await?, statements).await;
        outcome.map_err(|interrupted| match interrupted.error.kind() {
            // The statements are well formed, so what SQLite has against them is what is there: a view that shows the
            // column, a trigger that names it, a name that is taken. It has one code for all of these.
            ErrorKind::BackendFailure => Interrupted {
                error: Error::new(
                    ErrorKind::SchemaConflict,
                    "the change collides with other parts of the database",
                )
                .with_source(interrupted.error),
                ..interrupted
            },
            _ => interrupted,
        })
    }

    async fn probe(&self) -> Result<()> {
        if self.is_in_memory {
            return self.reading(|open| open.schema_version().map(drop)).await;
        }
        submit_job(&self.readers, true, |session, control| {
            session.with_connection(control, |open| open.schema_version().map(drop))
        })
        .await
    }
}

/// A transaction on the writer.
struct SqliteTransaction {
    workers: Arc<Workers>,
    /// Given up when the transaction has ended on the writer's thread.
    turn: Option<OwnedSemaphorePermit>,
}

impl SqliteTransaction {
    async fn submit<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Session, &Arc<Control>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        submit(&self.workers, work).await
    }

    async fn command(&self, sql: &'static str) -> Result<()> {
        self.submit(move |session, control| {
            session.in_transaction(control, |open| open.command(sql))
        })
        .await
    }
}

impl Drop for SqliteTransaction {
    fn drop(&mut self) {
        if let Some(turn) = self.turn.take() {
            // A statement that still ran was stopped when its future was dropped.
            let _ = self.workers.push(Job {
                control: Arc::default(),
                work: Box::new(move |session| {
                    let _turn = turn;
                    session.end();
                }),
                is_probe: false,
            });
        }
    }
}

#[async_trait]
impl Transaction for SqliteTransaction {
    async fn run(
        &mut self,
        statement: &Statement,
        key: &[Scalar],
        rows: RowWriter,
    ) -> Result<(RowWriter, u64)> {
        let statement = statement.clone();
        let key = key.to_vec();
        self.submit(move |session, control| {
            session.in_transaction(control, |open| open.run(&statement, &key, rows))
        })
        .await
    }

    async fn load(
        &mut self,
        load: &Load,
        records: &Arc<BulkRecords>,
        range: Range<usize>,
    ) -> Result<Option<u64>> {
        let (load, records) = (load.clone(), Arc::clone(records));
        self.submit(move |session, control| {
            session.in_transaction(control, |open| open.load(&load, &records, range))
        })
        .await
        .map(Some)
    }

    async fn savepoint(&mut self) -> Result<()> {
        self.command("SAVEPOINT record").await
    }

    async fn rollback_to_savepoint(&mut self) -> Result<()> {
        // The savepoint itself survives ROLLBACK TO, and there is at most one at a time.
        self.command("ROLLBACK TO record").await?;
        self.command("RELEASE record").await
    }

    async fn release_savepoint(&mut self) -> Result<()> {
        self.command("RELEASE record").await
    }

    async fn commit(mut self: Box<Self>) -> Result<()> {
        let turn = self.turn.take();
        // Not stopped by dropping the future: it must end the transaction one way or the other.
        let commit = move |session: &mut Session, control: &Arc<Control>| {
            let _turn = turn;
            session.commit(control)
        };
        let receiver = push(&self.workers, Arc::default(), false, commit)?;
        receiver.await.unwrap_or_else(|_dropped| Err(lost()))
    }
}
