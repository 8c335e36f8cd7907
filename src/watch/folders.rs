//! File events directly in a few folders, not below them. Which folders these are is asked anew after every burst of
//! events, because a change may have made others count.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use notify::event::{AccessKind, AccessMode};
use notify::{ErrorKind, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::Notify;

use super::Trigger;
use super::debounce::Debounce;
use crate::clock::Clock;

/// Quiet time after the last event of a burst.
const QUIET: Duration = Duration::from_millis(100);
/// Longest time from the first event of a burst to the look.
const LONGEST: Duration = Duration::from_secs(1);
/// Time until the next try when no folder can be watched.
const RETRY: Duration = Duration::from_secs(10);
/// Most times that the list of folders is asked for while the watches are armed.
const MAX_LISTS: usize = 8;

/// Fires the trigger after changes in the folders that `list` gives, for ever. A folder that is gone meanwhile is passed
/// over; when none can be watched it says so once and tries again now and then, and the interval still fires.
pub async fn run(
    trigger: Trigger,
    list: impl Fn() -> Vec<PathBuf> + Send + Sync + 'static,
    clock: Arc<dyn Clock>,
) {
    let list = Arc::new(list);
    let events = Arc::new(Notify::new());
    let mut armed: Option<RecommendedWatcher> = None;
    let mut has_complained = false;
    loop {
        // The old watches go only after the new ones stand, so that no change falls between them.
        match arm(Arc::clone(&list), Arc::clone(&events)).await {
            Ok(watcher) => {
                drop(armed.replace(watcher));
                has_complained = false;
                trigger.fire();
                gather(&events, clock.as_ref()).await;
            }
            Err(error) => {
                armed = None;
                if !has_complained {
                    tracing::warn!(%error, "a repository cannot be watched; changes are found by polling");
                    has_complained = true;
                }
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}

async fn arm(
    list: Arc<impl Fn() -> Vec<PathBuf> + Send + Sync + 'static>,
    events: Arc<Notify>,
) -> notify::Result<RecommendedWatcher> {
    tokio::task::spawn_blocking(move || watch(list.as_ref(), events))
        .await
        .map_err(|error| notify::Error::generic(&error.to_string()))?
}

/// Watches the folders that are there. Fails when none is, and when one that is there cannot be watched.
fn watch(
    list: &impl Fn() -> Vec<PathBuf>,
    events: Arc<Notify>,
) -> notify::Result<RecommendedWatcher> {
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        if event.is_ok_and(|event| is_change(event.kind)) {
            events.notify_one();
        }
    })?;
    let mut outcome = Err(notify::Error::path_not_found());
    let mut known = Vec::new();
    // What came between the list and the watches, nobody told; so the list is asked for until it says nothing new.
    for _ in 0..MAX_LISTS {
        let mut folders = list();
        // A folder is watched before those in it, which may be replaced meanwhile.
        folders.sort();
        if folders == known {
            break;
        }
        for folder in &folders {
            match watcher.watch(folder, RecursiveMode::NonRecursive) {
                Ok(()) => outcome = Ok(()),
                Err(error) if is_gone(&error) => {}
                Err(error) => return Err(error.add_path(folder.clone())),
            }
        }
        known = folders;
    }
    outcome.map(|()| watcher)
}

/// Whatever makes a file in a folder another one; our own reading arrives as other accesses.
fn is_change(kind: EventKind) -> bool {
    match kind {
        EventKind::Access(access) => access == AccessKind::Close(AccessMode::Write),
        _ => true,
    }
}

fn is_gone(error: &notify::Error) -> bool {
    match &error.kind {
        ErrorKind::PathNotFound => true,
        ErrorKind::Io(error) => matches!(
            error.kind(),
            std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory
        ),
        _ => false,
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

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests may block")]
mod tests {
    use super::*;
    use crate::clock;
    use std::fs;

    async fn fires(trigger: &Trigger) {
        tokio::time::timeout(Duration::from_secs(20), trigger.fired())
            .await
            .expect("the trigger fires");
    }

    #[tokio::test]
    async fn folders_that_come_later_are_watched_as_well() {
        let root = tempfile::tempdir().unwrap();
        let (outer, inner) = (root.path().to_owned(), root.path().join("inner"));
        let list = {
            let (outer, inner) = (outer.clone(), inner.clone());
            move || vec![outer.clone(), inner.clone()]
        };
        let trigger = Trigger::default();
        let task = tokio::spawn(run(trigger.clone(), list, clock::system()));
        fires(&trigger).await;
        fs::create_dir(&inner).unwrap();
        fires(&trigger).await;
        fs::write(inner.join("a"), "1").unwrap();
        fires(&trigger).await;
        // In place, and by renaming, as git does it.
        fs::write(outer.join("b.lock"), "2").unwrap();
        fires(&trigger).await;
        fs::rename(outer.join("b.lock"), inner.join("a")).unwrap();
        fires(&trigger).await;
        // Replaced as a whole.
        fs::rename(&inner, outer.join("away")).unwrap();
        fires(&trigger).await;
        fs::create_dir(&inner).unwrap();
        fires(&trigger).await;
        fs::write(inner.join("a"), "3").unwrap();
        fires(&trigger).await;
        task.abort();
    }

    #[tokio::test]
    async fn what_comes_while_the_watches_are_armed_is_not_missed() {
        let root = tempfile::tempdir().unwrap();
        let (outer, inner) = (root.path().to_owned(), root.path().join("inner"));
        let list = {
            let inner = inner.clone();
            move || {
                let found = [&outer, &inner].map(PathBuf::clone);
                let found = found.into_iter().filter(|folder| folder.exists()).collect();
                // Right after it was looked for.
                let _ = fs::create_dir(&inner);
                found
            }
        };
        let trigger = Trigger::default();
        let task = tokio::spawn(run(trigger.clone(), list, clock::system()));
        fires(&trigger).await;
        // Whatever was still on its way.
        let _ = tokio::time::timeout(3 * QUIET, trigger.fired()).await;
        fs::write(inner.join("a"), "1").unwrap();
        fires(&trigger).await;
        task.abort();
    }

    #[test]
    fn nothing_to_watch_is_an_error_that_names_it() {
        let root = tempfile::tempdir().unwrap();
        let none = root.path().join("none");
        let events = Arc::new(Notify::new());
        assert!(watch(&|| vec![none.clone()], Arc::clone(&events)).is_err());
        assert!(watch(&|| vec![none.clone(), root.path().to_owned()], events).is_ok());
    }
}
