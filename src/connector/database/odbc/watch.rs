//! What a job on a connection obeys: its deadline, and whether anybody still wants its result.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::clock::Clock;
use crate::error::{Error, ErrorKind, Result};

/// How long a driver may take to obey its own timeout before its connection is given up.
pub(super) const GRACE: Duration = Duration::from_secs(2);

/// Where a job stands, seen from both sides.
pub(super) struct Watch {
    is_cancelled: AtomicBool,
    stopwatch: Mutex<Stopwatch>,
    limit: Duration,
    clock: Arc<dyn Clock>,
}

/// Time spent in the driver. Waiting for the reader of the answer does not count.
#[derive(Clone, Copy, Debug, Default)]
struct Stopwatch {
    spent: Duration,
    since: Option<Instant>,
}

impl Watch {
    /// A job that has not begun, and may take so long once it has.
    pub(super) fn new(limit: Duration, clock: &Arc<dyn Clock>) -> Self {
        Self {
            is_cancelled: AtomicBool::new(false),
            stopwatch: Mutex::default(),
            limit,
            clock: Arc::clone(clock),
        }
    }

    fn stopwatch(&self) -> MutexGuard<'_, Stopwatch> {
        self.stopwatch
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins the job, once. False if nobody wants it any more.
    pub(super) fn start(&self) -> bool {
        let now = self.clock.instant();
        self.stopwatch().since.get_or_insert(now);
        !self.is_cancelled.load(Ordering::Acquire)
    }

    /// Nobody wants the result any more.
    pub(super) fn cancel(&self) {
        self.is_cancelled.store(true, Ordering::Release);
    }

    /// An error if the job is to end: nobody wants it, or its time is up.
    pub(super) fn check(&self) -> Result<()> {
        if self.is_cancelled.load(Ordering::Acquire) || self.left().is_zero() {
            return Err(too_slow());
        }
        Ok(())
    }

    /// Does something whose time does not count.
    pub(super) fn waiting<T>(&self, work: impl FnOnce() -> T) -> T {
        let now = self.clock.instant();
        {
            let mut stopwatch = self.stopwatch();
            if let Some(since) = stopwatch.since.take() {
                stopwatch.spent = stopwatch
                    .spent
                    .saturating_add(now.saturating_duration_since(since));
            }
        }
        let done = work();
        self.stopwatch().since = Some(self.clock.instant());
        done
    }

    /// How long the job may still take; all of it before it has begun.
    pub(super) fn left(&self) -> Duration {
        let stopwatch = *self.stopwatch();
        let running = stopwatch.since.map_or(Duration::ZERO, |since| {
            self.clock.instant().saturating_duration_since(since)
        });
        self.limit
            .saturating_sub(stopwatch.spent)
            .saturating_sub(running)
    }

    /// How long to wait before the connection is given up; none when that time has come.
    pub(super) fn patience(&self) -> Option<Duration> {
        let stopwatch = *self.stopwatch();
        let running = stopwatch.since.map_or(Duration::ZERO, |since| {
            self.clock.instant().saturating_duration_since(since)
        });
        let left = self
            .limit
            .saturating_add(GRACE)
            .saturating_sub(stopwatch.spent)
            .saturating_sub(running);
        (!left.is_zero()).then_some(left)
    }
}

/// The error of a job that took too long.
pub(super) fn too_slow() -> Error {
    Error::new(
        ErrorKind::BackendTimeout,
        "the database did not answer in time",
    )
}
