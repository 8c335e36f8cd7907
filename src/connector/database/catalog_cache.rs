//! The catalog of a live database: read on first use, by one caller for all, and kept until it is known to be old.
//!
//! While a service is used, its database is asked now and then whether its tables and columns are still the same: a
//! call that finds the last answer older than the period begins a check in the background, and goes on with what is
//! known. So a service that nobody calls asks nothing, there is never more than one check of a service, and nobody
//! waits for it.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex as Lock, PoisonError, RwLock};
use std::time::{Duration, Instant};

use tokio::sync::Mutex;
use tokio::task::{AbortHandle, JoinHandle};
use tokio::time::timeout_at;

use super::backend::Database;
use super::catalog::Catalog;
use crate::clock::Clock;
use crate::connector::SchemaState;
use crate::error::{Error, ErrorKind, Result};

/// Longest that a check in the background may take.
const CHECK_TIMEOUT: Duration = Duration::from_secs(30);
/// Longest that a caller waits for a catalog that a statement has just shown to be old; then it goes on with the old one.
const STALE_PATIENCE: Duration = Duration::from_secs(1);
/// Shortest time between two checks that callers bring about by asking for what is not there.
const SHORTEST_GAP: Duration = Duration::from_secs(1);
/// By how much the time between two checks varies, so that services that began together do not stay together: a
/// fraction of the period, one in so many.
const SPREAD: u32 = 5;

/// What is told of a catalog that replaces another one: the old one and the new one.
type OnChange = Box<dyn Fn(&Catalog, &Catalog) + Send + Sync>;
/// What the gateway makes of a catalog before anyone sees it.
type Finish = Box<dyn Fn(Catalog) -> Catalog + Send + Sync>;

/// What is known of the tables and columns.
pub(super) struct CatalogCache {
    inner: Arc<Inner>,
    /// The check in the background; it ends with the cache.
    check: Lock<Option<AbortHandle>>,
}

struct Inner {
    database: Arc<dyn Database>,
    clock: Arc<dyn Clock>,
    /// None if nothing is checked.
    period: Option<Duration>,
    finish: Finish,
    on_change: OnChange,
    current: RwLock<Option<Arc<Catalog>>>,
    /// A statement failed in a way that says that tables or columns changed.
    is_stale: AtomicBool,
    /// How often reading was tried to its end, so that those who waited share a failure instead of repeating it.
    attempts: AtomicU64,
    loading: Mutex<Loading>,
    is_checking: AtomicBool,
    began: Instant,
    /// When the next check is due, and when the database was last asked: milliseconds since `began`.
    due: AtomicU64,
    asked: AtomicU64,
    changes: AtomicU64,
}

/// What whoever reads the catalog leaves for the next one.
#[derive(Default)]
struct Loading {
    failure: Option<(ErrorKind, String)>,
    /// That of the database before the catalog was read.
    fingerprint: Option<String>,
}

impl Drop for CatalogCache {
    fn drop(&mut self) {
        let check = self.check.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(check) = check.take() {
            check.abort();
        }
    }
}

impl CatalogCache {
    /// A cache that asks `database` again after `period`, while it is used; never on its own without one. `finish`
    /// is applied to every catalog that is read; `on_change` hears of every one that replaces a different one.
    pub(super) fn new(
        database: Arc<dyn Database>,
        clock: Arc<dyn Clock>,
        period: Option<Duration>,
        finish: Finish,
        on_change: OnChange,
    ) -> Self {
        Self {
            inner: Arc::new(Inner {
                began: clock.instant(),
                database,
                clock,
                period,
                finish,
                on_change,
                current: RwLock::default(),
                is_stale: AtomicBool::new(false),
                attempts: AtomicU64::new(0),
                loading: Mutex::default(),
                is_checking: AtomicBool::new(false),
                due: AtomicU64::new(0),
                asked: AtomicU64::new(0),
                changes: AtomicU64::new(0),
            }),
            check: Lock::new(None),
        }
    }

    /// The catalog as it was read last, if it was.
    pub(super) fn current(&self) -> Option<Arc<Catalog>> {
        self.inner.current()
    }

    /// How old what is known is, and how often it changed; none before the first reading.
    pub(super) fn state(&self) -> Option<SchemaState> {
        self.current()?;
        let asked = Duration::from_millis(self.inner.asked.load(Ordering::Relaxed));
        Some(SchemaState {
            changes: self.inner.changes.load(Ordering::Relaxed),
            age: self.inner.elapsed().saturating_sub(asked),
            drifted: None,
            message: None,
        })
    }

    /// The catalog; read from the database if that was not done yet.
    ///
    /// One that a statement has shown to be old is read anew in the background: whoever comes first waits for it for
    /// a moment, all others go on with the old one.
    pub(super) async fn get(&self, deadline: Instant) -> Result<Arc<Catalog>> {
        let Some(current) = self.current() else {
            return self.inner.load(deadline).await;
        };
        if self.inner.is_stale.load(Ordering::Acquire) {
            if let Some(check) = self.begin_check(true) {
                let patience = self.inner.clock.instant() + STALE_PATIENCE;
                // What fails there will fail, and be reported, in the statement that follows.
                let _ = timeout_at(deadline.min(patience).into(), check).await;
            }
            return Ok(self.current().unwrap_or(current));
        }
        if self.inner.is_due() {
            let _ = self.begin_check(false);
        }
        Ok(current)
    }

    /// Reads the catalog anew, whatever is known.
    pub(super) async fn refresh(&self, deadline: Instant) -> Result<Arc<Catalog>> {
        let mut loading = timeout_at(deadline.into(), self.inner.loading.lock())
            .await
            .map_err(|_elapsed| too_slow())?;
        let fingerprint = self.inner.fingerprint(deadline).await;
        self.inner
            .read_into(deadline, &mut loading, fingerprint)
            .await
    }

    /// Says that a statement failed as if tables or columns had changed.
    pub(super) fn mark_stale(&self) {
        self.inner.is_stale.store(true, Ordering::Release);
    }

    /// Says that a caller asked for something that is not there: if it has been made since, the next call finds it.
    /// Callers cannot make the database busy by asking again and again.
    pub(super) fn missed(&self) {
        let asked = Duration::from_millis(self.inner.asked.load(Ordering::Relaxed));
        let is_fresh = self.inner.elapsed().saturating_sub(asked) < SHORTEST_GAP;
        if self.inner.period.is_some() && self.current().is_some() && !is_fresh {
            let _ = self.begin_check(false);
        }
    }

    /// Begins a check in the background, unless one runs. With `force`, the catalog is read whatever its fingerprint.
    fn begin_check(&self, force: bool) -> Option<JoinHandle<()>> {
        if self.inner.is_checking.swap(true, Ordering::AcqRel) {
            return None;
        }
        let checking = Checking(Arc::clone(&self.inner));
        if force {
            self.inner.is_stale.store(false, Ordering::Release);
        }
        let task = tokio::spawn(async move { checking.0.check(force).await });
        let mut check = self.check.lock().unwrap_or_else(PoisonError::into_inner);
        *check = Some(task.abort_handle());
        Some(task)
    }
}

/// Held while a check runs.
struct Checking(Arc<Inner>);

impl Drop for Checking {
    fn drop(&mut self) {
        self.0.is_checking.store(false, Ordering::Release);
    }
}

impl Inner {
    fn current(&self) -> Option<Arc<Catalog>> {
        self.current
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .as_ref()
            .map(Arc::clone)
    }

    fn elapsed(&self) -> Duration {
        self.clock.instant().saturating_duration_since(self.began)
    }

    fn is_due(&self) -> bool {
        self.period.is_some()
            && self.elapsed() >= Duration::from_millis(self.due.load(Ordering::Relaxed))
    }

    /// The database was asked just now, with whatever outcome.
    fn was_asked(&self) {
        let now = self.elapsed();
        self.asked.store(millis(now), Ordering::Relaxed);
        if let Some(period) = self.period {
            self.due.store(
                millis(now.saturating_add(spread(period))),
                Ordering::Relaxed,
            );
        }
    }

    async fn load(&self, deadline: Instant) -> Result<Arc<Catalog>> {
        let attempts = self.attempts.load(Ordering::Acquire);
        let mut loading = timeout_at(deadline.into(), self.loading.lock())
            .await
            .map_err(|_elapsed| too_slow())?;
        if let Some(current) = self.current() {
            return Ok(current);
        }
        if self.attempts.load(Ordering::Acquire) != attempts
            && let Some((kind, message)) = &loading.failure
        {
            return Err(Error::new(*kind, message.clone()));
        }
        let fingerprint = self.fingerprint(deadline).await;
        self.read_into(deadline, &mut loading, fingerprint).await
    }

    /// Asks the database whether anything changed, and reads it anew if so.
    async fn check(&self, force: bool) {
        let deadline = self.clock.instant() + CHECK_TIMEOUT;
        let Ok(mut loading) = timeout_at(deadline.into(), self.loading.lock()).await else {
            return;
        };
        let outcome = match self.fingerprint(deadline).await {
            Ok(fingerprint)
                if !force && fingerprint.is_some() && fingerprint == loading.fingerprint =>
            {
                self.was_asked();
                return;
            }
            Ok(fingerprint) => {
                self.read_into(deadline, &mut loading, Ok(fingerprint))
                    .await
            }
            Err(error) => Err(error),
        };
        if let Err(error) = outcome {
            self.was_asked();
            tracing::debug!(?error, "the tables of a database could not be looked at");
        }
    }

    /// What the database's fingerprint is; none where it cannot say or nobody asks for it.
    async fn fingerprint(&self, deadline: Instant) -> Result<Option<String>> {
        if self.period.is_none() {
            return Ok(None);
        }
        match timeout_at(deadline.into(), self.database.fingerprint()).await {
            Ok(Ok(fingerprint)) => Ok(Some(fingerprint)),
            // Without an answer to this question the catalog itself is asked for, each time.
            Ok(Err(error)) if !is_away(&error) => Ok(None),
            Ok(Err(error)) => Err(error),
            Err(_elapsed) => Err(too_slow()),
        }
    }

    /// Reads the catalog. The fingerprint is taken before, so that whatever changes meanwhile is seen by the next check.
    async fn read_into(
        &self,
        deadline: Instant,
        loading: &mut Loading,
        fingerprint: Result<Option<String>>,
    ) -> Result<Arc<Catalog>> {
        let outcome = match fingerprint {
            Ok(fingerprint) => match timeout_at(deadline.into(), self.database.catalog()).await {
                Ok(Ok(catalog)) => Ok((fingerprint, catalog)),
                Ok(Err(error)) => Err(error),
                Err(_elapsed) => Err(too_slow()),
            },
            Err(error) => Err(error),
        };
        self.attempts.fetch_add(1, Ordering::AcqRel);
        self.was_asked();
        match outcome {
            Ok((fingerprint, catalog)) => {
                loading.failure = None;
                loading.fingerprint = fingerprint;
                Ok(self.replace((self.finish)(catalog)))
            }
            Err(error) => {
                loading.failure = Some((error.kind(), error.message().to_owned()));
                Err(error)
            }
        }
    }

    /// Puts a catalog in the place of the one before. An equal one stays, and with it what was planned by it.
    fn replace(&self, catalog: Catalog) -> Arc<Catalog> {
        let before = self.current();
        if let Some(before) = &before
            && **before == catalog
        {
            return Arc::clone(before);
        }
        let catalog = Arc::new(catalog);
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&catalog));
        if let Some(before) = before {
            self.changes.fetch_add(1, Ordering::Relaxed);
            (self.on_change)(&before, &catalog);
        }
        catalog
    }
}

fn is_away(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::BackendUnavailable | ErrorKind::BackendTimeout | ErrorKind::Overloaded
    )
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The period, or up to one in [`SPREAD`] less.
fn spread(period: Duration) -> Duration {
    let most = millis(period / SPREAD);
    let less = RandomState::new().hash_one(0) % most.max(1);
    period.saturating_sub(Duration::from_millis(less))
}

pub(super) fn too_slow() -> Error {
    Error::new(
        ErrorKind::BackendTimeout,
        "the database did not tell its tables in time",
    )
}

/// Whether an error of a statement that was planned against the catalog says that the catalog is old.
pub(super) fn tells_of_change(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::UnknownTable | ErrorKind::UnknownField | ErrorKind::BackendFailure
    )
}

/// Whether an error says that the catalog lacks what a caller asked for.
pub(super) fn misses_something(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::UnknownTable | ErrorKind::UnknownField | ErrorKind::UnknownRelation
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_between_two_checks_varies_within_a_fifth() {
        for _ in 0..100 {
            let next = spread(Duration::from_secs(30));
            assert!((24..=30).contains(&next.as_secs()), "{next:?}");
        }
        assert_eq!(spread(Duration::from_millis(1)), Duration::from_millis(1));
    }
}
