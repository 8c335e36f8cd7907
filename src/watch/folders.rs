//! File events directly in a few folders, not below them. Which folders these are is asked anew after every burst of
//! events, because a change may have made others count.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::io::Errno;
use tokio::io::unix::AsyncFd;

use super::Trigger;
use super::debounce::Debounce;
use super::watches::registered;
use crate::clock::Clock;

/// Quiet time after the last event of a burst.
const QUIET: Duration = Duration::from_millis(100);
/// Longest time from the first event of a burst to the look.
const LONGEST: Duration = Duration::from_secs(1);
/// Time until the next try when no folder can be watched.
const RETRY: Duration = Duration::from_secs(10);
/// Most times that the list of folders is asked for while the watches are armed.
const MAX_LISTS: usize = 8;
/// Room for the events that the kernel hands over at a time.
const BUFFER_BYTES: usize = 16 * 1024;

/// Whatever makes a file in a folder another one.
const CHANGES: WatchFlags = WatchFlags::CREATE
    .union(WatchFlags::DELETE)
    .union(WatchFlags::MOVED_FROM)
    .union(WatchFlags::MOVED_TO)
    .union(WatchFlags::CLOSE_WRITE)
    .union(WatchFlags::DELETE_SELF)
    .union(WatchFlags::MOVE_SELF)
    .union(WatchFlags::ONLYDIR);

/// Fires the trigger after changes in the folders that `list` gives, for ever. A folder that is gone meanwhile is passed
/// over; when none can be watched it says so once and tries again now and then, and the interval still fires.
pub async fn run(
    trigger: Trigger,
    list: impl Fn() -> Vec<PathBuf> + Send + Sync + 'static,
    clock: Arc<dyn Clock>,
) {
    let list = Arc::new(list);
    let mut armed: Option<AsyncFd<Arc<OwnedFd>>> = None;
    let mut has_complained = false;
    loop {
        // The old watches go only after the new ones stand, so that no change falls between them.
        match arm(Arc::clone(&list)).await {
            Ok(watches) => {
                let watches = armed.insert(watches);
                has_complained = false;
                trigger.fire();
                if let Err(error) = gather(watches, clock.as_ref()).await {
                    tracing::debug!(%error, "the watches broke and are set anew");
                }
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
) -> io::Result<AsyncFd<Arc<OwnedFd>>> {
    let watches = tokio::task::spawn_blocking(move || watch(list.as_ref())).await??;
    registered(watches)
}

/// Watches the folders that are there. Fails when none is, and when one that is there cannot be watched.
fn watch(list: &impl Fn() -> Vec<PathBuf>) -> io::Result<OwnedFd> {
    let watches = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
    let mut outcome = Err(io::Error::from(io::ErrorKind::NotFound));
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
            match inotify::add_watch(&watches, folder.as_path(), CHANGES) {
                Ok(_) => outcome = Ok(()),
                Err(Errno::NOENT | Errno::NOTDIR) => {}
                Err(errno) => return Err(named(errno, folder)),
            }
        }
        known = folders;
    }
    outcome.map(|()| watches)
}

fn named(errno: Errno, folder: &Path) -> io::Error {
    let error = io::Error::from(errno);
    io::Error::new(error.kind(), format!("{}: {error}", folder.display()))
}

/// Waits for a burst of events and its end.
async fn gather(watches: &AsyncFd<Arc<OwnedFd>>, clock: &dyn Clock) -> io::Result<()> {
    let mut debounce = Debounce::new(QUIET, LONGEST);
    events(watches).await?;
    debounce.event(clock.instant());
    while let Some(due) = debounce.due() {
        let remaining = due.saturating_duration_since(clock.instant());
        if remaining.is_zero() {
            debounce.reset();
            continue;
        }
        if let Ok(events) = tokio::time::timeout(remaining, events(watches)).await {
            events?;
            debounce.event(clock.instant());
        }
    }
    Ok(())
}

/// Waits until something happened, and forgets what it was. May be dropped while it waits.
async fn events(watches: &AsyncFd<Arc<OwnedFd>>) -> io::Result<()> {
    loop {
        let mut ready = watches.readable().await?;
        let mut buffer = Vec::with_capacity(BUFFER_BYTES);
        let mut reader = Reader::new(watches.get_ref(), buffer.spare_capacity_mut());
        let mut has_come = false;
        loop {
            match reader.next() {
                // What a removed watch leaves behind says nothing more.
                Ok(event) => has_come |= event.events() != ReadFlags::IGNORED,
                Err(Errno::INTR) => {}
                Err(Errno::WOULDBLOCK) => {
                    ready.clear_ready();
                    break;
                }
                Err(errno) => return Err(errno.into()),
            }
        }
        if has_come {
            return Ok(());
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
        assert!(watch(&|| vec![none.clone()]).is_err());
        assert!(watch(&|| vec![none.clone(), root.path().to_owned()]).is_ok());
    }
}
