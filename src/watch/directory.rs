//! File events under a directory: a hint that says "now", never what. What is watched is surveyed anew whenever folders
//! or links came or went, because the directory itself may be another one.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::Trigger;
use super::debounce::Debounce;
use super::survey::Problem;
use super::watches::{Effect, Watches};
use crate::clock::Clock;

/// Quiet time after the last event of a burst.
const QUIET: Duration = Duration::from_millis(100);
/// Longest time from the first event of a burst to the look.
const LONGEST: Duration = Duration::from_secs(1);
/// Time until the next try when not everything can be watched; doubled each time.
const FIRST_RETRY: Duration = Duration::from_secs(1);
/// Longest time until the next try.
const LONGEST_RETRY: Duration = Duration::from_mins(1);

/// Watches a directory, as far as that is possible.
///
/// When not everything can be watched (limits), it says so once and tries again now and then; what can be watched is,
/// and the interval still fires.
pub struct Watcher {
    trigger: Trigger,
    directory: PathBuf,
    matters: fn(&OsStr) -> bool,
    clock: Arc<dyn Clock>,
    watches: Option<Watches>,
    problem: Option<Problem>,
    retry: Duration,
    has_complained: bool,
}

impl Watcher {
    /// Begins: once it is there, no change under `directory` is missed. `matters` tells by its name whether the contents
    /// of a file matter.
    pub async fn begin(
        trigger: Trigger,
        directory: PathBuf,
        matters: fn(&OsStr) -> bool,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let mut watcher = Self {
            trigger,
            directory: std::path::absolute(&directory).unwrap_or(directory),
            matters,
            clock,
            watches: None,
            problem: None,
            retry: FIRST_RETRY,
            has_complained: false,
        };
        watcher.arm().await;
        watcher
    }

    /// Fires the trigger after changes, for ever, and holds it while somebody is writing into a file.
    pub async fn run(mut self) {
        loop {
            let patience = self.problem.map(|_| self.retry);
            match &mut self.watches {
                Some(watches) => {
                    let clock = self.clock.as_ref();
                    if let Err(error) = follow(watches, &self.trigger, clock, patience).await {
                        tracing::debug!(%error, "the watches broke and are set anew");
                        self.watches = None;
                    }
                }
                None => tokio::time::sleep(self.retry).await,
            }
            if self.problem.is_some() {
                self.retry = LONGEST_RETRY.min(self.retry * 2);
            }
            self.arm().await;
            // What changed before the watches stood, nobody told.
            self.trigger.fire();
        }
    }

    async fn arm(&mut self) {
        self.problem = match &mut self.watches {
            Some(watches) => watches.survey(self.directory.clone()).await,
            None => match Watches::new(self.matters, self.trigger.clone()) {
                Ok(new) => {
                    let watches = self.watches.insert(new);
                    watches.survey(self.directory.clone()).await
                }
                Err(problem) => Some(problem),
            },
        };
        match self.problem {
            None => {
                if self.has_complained {
                    tracing::info!("files are watched again");
                }
                self.has_complained = false;
                self.retry = FIRST_RETRY;
            }
            Some(problem) => {
                if !self.has_complained {
                    tracing::warn!(%problem, "some files cannot be watched; changes are found by polling");
                }
                self.has_complained = true;
            }
        }
    }
}

/// Fires after each burst of events, until something else must be watched or `patience` is at its end.
async fn follow(
    watches: &mut Watches,
    trigger: &Trigger,
    clock: &dyn Clock,
    patience: Option<Duration>,
) -> std::io::Result<()> {
    let mut debounce = Debounce::new(QUIET, LONGEST);
    let mut effect = Effect::Nothing;
    let end = patience.map(|patience| clock.instant() + patience);
    loop {
        let now = clock.instant();
        if debounce.due().is_some_and(|due| due <= now) {
            debounce.reset();
            if effect == Effect::Survey {
                return Ok(());
            }
            trigger.fire();
        }
        if end.is_some_and(|end| end <= now) {
            return Ok(());
        }
        let release = watches.hold(now);
        let wake = [debounce.due(), end, release].into_iter().flatten().min();
        let found = match wake {
            None => watches.events(clock).await,
            Some(wake) => {
                let remaining = wake.saturating_duration_since(now);
                match tokio::time::timeout(remaining, watches.events(clock)).await {
                    Ok(found) => found,
                    Err(_elapsed) => continue,
                }
            }
        }?;
        if found > Effect::Nothing {
            debounce.event(clock.instant());
            effect = effect.max(found);
        }
    }
}
