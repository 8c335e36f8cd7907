//! File events under a directory: a hint that says "now", never what. What is watched is surveyed anew whenever folders
//! or links came or went, because the directory itself may be another one.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
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
const LONGEST_RETRY: Duration = Duration::from_secs(60);

/// Fires the trigger after changes under `directory`, for ever, and holds it while somebody is writing into a file there.
///
/// `matters` tells by its name whether the contents of a file matter. When not everything can be watched (limits), it
/// says so once and tries again now and then; what can be watched is, and the interval still fires.
pub async fn run(
    trigger: Trigger,
    directory: PathBuf,
    matters: fn(&OsStr) -> bool,
    clock: Arc<dyn Clock>,
) {
    let directory = std::path::absolute(&directory).unwrap_or(directory);
    let mut watches = None;
    let mut retry = FIRST_RETRY;
    let mut has_complained = false;
    loop {
        let problem = arm(&mut watches, &directory, matters, &trigger).await;
        // What changed before the watches stood, nobody told.
        trigger.fire();
        match problem {
            None => {
                if has_complained {
                    tracing::info!("files are watched again");
                }
                has_complained = false;
                retry = FIRST_RETRY;
            }
            Some(problem) if !has_complained => {
                tracing::warn!(%problem, "some files cannot be watched; changes are found by polling");
                has_complained = true;
            }
            Some(_) => {}
        }
        let patience = problem.map(|_| retry);
        match &mut watches {
            Some(watching) => {
                if let Err(error) = follow(watching, &trigger, clock.as_ref(), patience).await {
                    tracing::debug!(%error, "the watches broke and are set anew");
                    watches = None;
                }
            }
            None => tokio::time::sleep(retry).await,
        }
        if problem.is_some() {
            retry = LONGEST_RETRY.min(retry * 2);
        }
    }
}

async fn arm(
    watches: &mut Option<Watches>,
    directory: &Path,
    matters: fn(&OsStr) -> bool,
    trigger: &Trigger,
) -> Option<Problem> {
    if watches.is_none() {
        match Watches::new(matters, trigger.clone()) {
            Ok(new) => *watches = Some(new),
            Err(problem) => return Some(problem),
        }
    }
    watches.as_mut()?.survey(directory.to_owned()).await
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
        let wake = [debounce.due(), end].into_iter().flatten().min();
        let found = match wake {
            None => watches.events().await,
            Some(wake) => {
                let remaining = wake.saturating_duration_since(now);
                match tokio::time::timeout(remaining, watches.events()).await {
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
