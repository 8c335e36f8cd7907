//! File events under a directory. Names in events are never used; watches are armed anew after each burst, because
//! files and the directory itself may have been replaced.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::Notify;

use super::Trigger;
use super::debounce::Debounce;
use crate::clock::Clock;

/// Quiet time after the last event of a burst.
const QUIET: Duration = Duration::from_millis(100);
/// Longest time from the first event of a burst to the look.
const LONGEST: Duration = Duration::from_secs(1);
/// Time until the next try when no watch can be set.
const RETRY: Duration = Duration::from_secs(10);

/// Fires the trigger after changes under `directory`, for ever. When watches cannot be set (limits, file systems without
/// events) it says so once and tries again now and then; the interval still fires.
pub async fn run(trigger: Trigger, directory: PathBuf, clock: Arc<dyn Clock>) {
    let events = Arc::new(Notify::new());
    let mut armed: Option<RecommendedWatcher> = None;
    let mut has_complained = false;
    loop {
        // The old watch goes only after the new one stands, so that no change falls between them.
        match arm(&directory, &events) {
            Ok(watcher) => {
                drop(armed.replace(watcher));
                has_complained = false;
                trigger.fire();
                gather(&events, clock.as_ref()).await;
            }
            Err(error) => {
                armed = None;
                if !has_complained {
                    tracing::warn!(%error, "files cannot be watched; changes are found by polling");
                    has_complained = true;
                }
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}

/// Waits for a burst of events and its end.
async fn gather(events: &Notify, clock: &dyn Clock) {
    let mut debounce = Debounce::new(QUIET, LONGEST);
    events.notified().await;
    debounce.event(clock.instant());
    while let Some(due) = debounce.due() {
        let remaining = due.saturating_duration_since(clock.instant());
        if remaining.is_zero() {
            debounce.reset();
            continue;
        }
        if tokio::time::timeout(remaining, events.notified())
            .await
            .is_ok()
        {
            debounce.event(clock.instant());
        }
    }
}

fn arm(directory: &Path, events: &Arc<Notify>) -> notify::Result<RecommendedWatcher> {
    let sender = Arc::clone(events);
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        // Our own reading arrives as access events and would fire for ever.
        if !event.is_ok_and(|event| matches!(event.kind, EventKind::Access(_))) {
            sender.notify_one();
        }
    })?;
    watcher.watch(directory, RecursiveMode::Recursive)?;
    if let Some(parent) = directory
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
    {
        // Tells when the directory, or the link that it is, is replaced.
        watcher.watch(parent, RecursiveMode::NonRecursive)?;
    }
    Ok(watcher)
}
