//! The watches of one tree, and what their events mean.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader};
use rustix::io::Errno;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::survey::{Place, Places, Problem, is_hidden, survey};
use super::writers::Writers;
use super::{Hold, Trigger};
use crate::clock::Clock;

/// Room for the events that the kernel hands over at a time.
const BUFFER_BYTES: usize = 64 * 1024;

/// Names that come or go.
const COME_OR_GO: ReadFlags = ReadFlags::CREATE
    .union(ReadFlags::DELETE)
    .union(ReadFlags::MOVED_FROM)
    .union(ReadFlags::MOVED_TO);
/// The watched folder itself is another one, or none.
const SELF: ReadFlags = ReadFlags::DELETE_SELF
    .union(ReadFlags::MOVE_SELF)
    .union(ReadFlags::UNMOUNT)
    .union(ReadFlags::IGNORED);

/// What is to be done after an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Effect {
    /// Nothing that matters has changed.
    Nothing,
    /// Look.
    Look,
    /// Look, and see what must be watched now.
    Survey,
}

/// Watches, and who is in the middle of writing.
pub(super) struct Watches {
    inotify: AsyncFd<Arc<OwnedFd>>,
    places: Places,
    matters: fn(&OsStr) -> bool,
    writers: Writers,
    trigger: Trigger,
    hold: Option<Hold>,
}

impl Watches {
    /// None yet. `matters` tells by the name whether the contents of a file matter.
    pub(super) fn new(matters: fn(&OsStr) -> bool, trigger: Trigger) -> Result<Self, Problem> {
        let inotify =
            inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).map_err(Problem::Kernel)?;
        Ok(Self {
            inotify: registered(inotify).map_err(|error| {
                Problem::Kernel(Errno::from_io_error(&error).unwrap_or(Errno::INVAL))
            })?,
            places: Places::new(),
            matters,
            writers: Writers::default(),
            trigger,
            hold: None,
        })
    }

    /// Watches what `directory` (an absolute path) depends on now, and nothing else any more. Says why, if that is not
    /// possible for all of it. Dropped half way, it leaves what was watched before.
    pub(super) async fn survey(&mut self, directory: PathBuf) -> Option<Problem> {
        let inotify = Arc::clone(self.inotify.get_ref());
        let before: BTreeSet<i32> = self.places.keys().copied().collect();
        let work = move || {
            let (places, problem) = survey(&inotify, &directory);
            for number in before.iter().filter(|number| !places.contains_key(number)) {
                // The kernel may have forgotten it before us.
                let _ = inotify::remove_watch(&inotify, *number);
            }
            (places, problem)
        };
        let Ok((places, problem)) = tokio::task::spawn_blocking(work).await else {
            return Some(Problem::Kernel(Errno::INTR));
        };
        self.writers.retain(|number| places.contains_key(&number));
        self.places = places;
        problem
    }

    /// Waits for events and says what is to be done after them. May be dropped while it waits.
    pub(super) async fn events(&mut self, clock: &dyn Clock) -> io::Result<Effect> {
        let mut ready = self.inotify.readable().await?;
        let inotify = Arc::clone(ready.get_inner());
        let mut buffer = Vec::with_capacity(BUFFER_BYTES);
        let mut reader = Reader::new(&inotify, buffer.spare_capacity_mut());
        let mut found = Vec::new();
        // One buffer at a time: what is left over is still ready.
        loop {
            match reader.next() {
                Ok(event) => {
                    let name = event.file_name().map(|name| name.to_bytes().to_owned());
                    found.push((event.wd(), event.events(), name));
                }
                Err(Errno::WOULDBLOCK) => {
                    ready.clear_ready();
                    break;
                }
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
            if reader.is_buffer_empty() {
                break;
            }
        }
        let now = clock.instant();
        let mut effect = Effect::Nothing;
        for (number, flags, name) in found {
            let name = name.as_deref().map(OsStr::from_bytes);
            effect = effect.max(self.event(number, flags, name, now));
        }
        self.hold(now);
        Ok(effect)
    }

    fn event(
        &mut self,
        number: i32,
        flags: ReadFlags,
        name: Option<&OsStr>,
        now: Instant,
    ) -> Effect {
        if flags.contains(ReadFlags::QUEUE_OVERFLOW) {
            // Nobody knows what was lost.
            self.writers.clear();
            return Effect::Survey;
        }
        let Some(place) = self.places.get(&number) else {
            return Effect::Nothing;
        };
        let found = lstat(place, flags, name);
        if let Some(name) = name.filter(|name| (self.matters)(name)) {
            self.writers.event(number, name, flags, found, now);
        }
        let effect = effect(place, flags, name, found, self.matters);
        if flags.contains(ReadFlags::IGNORED) {
            self.places.remove(&number);
            self.writers.retain(|folder| folder != number);
        }
        effect
    }

    /// Puts looks off while somebody is writing, or lets them go. Says when it wants to be asked again.
    pub(super) fn hold(&mut self, now: Instant) -> Option<Instant> {
        if !self.writers.are_busy(now) {
            self.hold = None;
            return None;
        }
        if self.hold.is_none() {
            self.hold = Some(self.trigger.hold());
        }
        self.writers.end()
    }
}

/// Makes the runtime tell when there are events.
#[expect(
    deprecated,
    reason = "its successor is unsafe for the sake of types that may change or close their handle; this one cannot"
)]
fn registered(inotify: OwnedFd) -> io::Result<AsyncFd<Arc<OwnedFd>>> {
    AsyncFd::with_interest(Arc::new(inotify), Interest::READABLE)
}

/// What a new name is, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// A symbolic link.
    Link,
    /// A regular file without a byte.
    Empty,
    /// Something else, or gone again.
    Other,
}

/// Looks at a name that came.
fn lstat(place: &Place, flags: ReadFlags, name: Option<&OsStr>) -> Found {
    let comes = ReadFlags::CREATE | ReadFlags::MOVED_TO;
    match name {
        Some(name) if flags.intersects(comes) && !flags.contains(ReadFlags::ISDIR) => {
            match std::fs::symlink_metadata(place.path.join(name)) {
                Ok(metadata) if metadata.is_symlink() => Found::Link,
                Ok(metadata) if metadata.is_file() && metadata.len() == 0 => Found::Empty,
                _ => Found::Other,
            }
        }
        _ => Found::Other,
    }
}

/// What an event in a place means. Pure.
fn effect(
    place: &Place,
    flags: ReadFlags,
    name: Option<&OsStr>,
    found: Found,
    matters: fn(&OsStr) -> bool,
) -> Effect {
    if flags.intersects(SELF) {
        return Effect::Survey;
    }
    let Some(name) = name else {
        // The permissions of the folder, for example.
        return if place.is_within {
            Effect::Look
        } else {
            Effect::Nothing
        };
    };
    let comes_or_goes = flags.intersects(COME_OR_GO);
    if place.names.contains(name) {
        return if comes_or_goes {
            Effect::Survey
        } else {
            Effect::Look
        };
    }
    if !place.is_within || is_hidden(name) {
        return Effect::Nothing;
    }
    let is_folder = flags.contains(ReadFlags::ISDIR);
    if comes_or_goes && (is_folder || found == Found::Link) {
        Effect::Survey
    } else if is_folder || matters(name) {
        Effect::Look
    } else {
        Effect::Nothing
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsString;

    fn is_toml(name: &OsStr) -> bool {
        name.as_bytes().ends_with(b".toml") && !is_hidden(name)
    }

    fn place(is_within: bool, names: &[&str]) -> Place {
        Place {
            path: PathBuf::from("/tree"),
            is_within,
            names: names.iter().map(OsString::from).collect(),
        }
    }

    #[test]
    fn only_what_can_matter_is_looked_at() {
        use Effect::{Look, Nothing, Survey};
        let folder = ReadFlags::ISDIR;
        let tree = place(true, &["..data", "a.toml"]);
        for (flags, name, found, expected) in [
            (ReadFlags::MODIFY, "b.toml", Found::Other, Look),
            (ReadFlags::ATTRIB, "b.toml", Found::Other, Look),
            (ReadFlags::CREATE, "b.toml", Found::Empty, Look),
            (ReadFlags::DELETE, "b.toml", Found::Other, Look),
            (ReadFlags::MOVED_TO, "b.toml", Found::Link, Survey),
            (ReadFlags::MOVED_TO, "roles", Found::Link, Survey),
            (ReadFlags::CREATE | folder, "roles", Found::Other, Survey),
            (
                ReadFlags::MOVED_FROM | folder,
                "roles",
                Found::Other,
                Survey,
            ),
            (ReadFlags::ATTRIB | folder, "roles", Found::Other, Look),
            (ReadFlags::MOVED_TO, "..data", Found::Link, Survey),
            (ReadFlags::MOVED_FROM, "a.toml", Found::Other, Survey),
            (ReadFlags::MODIFY, "a.toml", Found::Other, Look),
            // Databases, editors and git are busy beside the manifests.
            (ReadFlags::MODIFY, "shop.db-wal", Found::Other, Nothing),
            (ReadFlags::CREATE, "shop.db-journal", Found::Other, Nothing),
            (ReadFlags::CREATE, "4913", Found::Empty, Nothing),
            (ReadFlags::CREATE, ".b.toml.swp", Found::Empty, Nothing),
            (ReadFlags::MOVED_TO, "b.toml~", Found::Other, Nothing),
            (ReadFlags::CREATE | folder, ".git", Found::Other, Nothing),
        ] {
            let name = OsStr::new(name);
            assert_eq!(
                effect(&tree, flags, Some(name), found, is_toml),
                expected,
                "{flags:?} {name:?}"
            );
        }
        assert_eq!(
            effect(&tree, ReadFlags::ATTRIB, None, Found::Other, is_toml),
            Look
        );
    }

    #[test]
    fn around_the_tree_only_the_names_that_lead_there_matter() {
        let above = place(false, &["tree"]);
        let effect = |flags, name: &str| {
            effect(&above, flags, Some(OsStr::new(name)), Found::Other, is_toml)
        };
        let folder = ReadFlags::ISDIR;
        assert_eq!(effect(ReadFlags::MOVED_TO | folder, "tree"), Effect::Survey);
        assert_eq!(effect(ReadFlags::CREATE | folder, "other"), Effect::Nothing);
        assert_eq!(effect(ReadFlags::MOVED_TO, "b.toml"), Effect::Nothing);
        assert_eq!(
            super::effect(&above, ReadFlags::MOVE_SELF, None, Found::Other, is_toml),
            Effect::Survey
        );
    }
}
