//! The watches of one tree, and what their events mean.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;
use std::sync::Arc;

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader};
use rustix::io::Errno;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::survey::{Place, Places, Problem, is_hidden, survey};
use super::{Hold, Trigger};

/// Room for the events that the kernel hands over at a time.
const BUFFER_BYTES: usize = 64 * 1024;
/// Most files whose writers are known at a time.
const MAX_WRITERS: usize = 1024;

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
    /// Files that were written into and not closed since.
    writers: BTreeSet<(i32, OsString)>,
    trigger: Trigger,
    hold: Option<Hold>,
}

impl Watches {
    /// None yet. `matters` tells by the name whether the contents of a file matter.
    pub(super) fn new(matters: fn(&OsStr) -> bool, trigger: Trigger) -> Result<Self, Problem> {
        let inotify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)
            .map_err(Problem::Kernel)?;
        Ok(Self {
            inotify: registered(inotify).map_err(|error| {
                Problem::Kernel(Errno::from_io_error(&error).unwrap_or(Errno::INVAL))
            })?,
            places: Places::new(),
            matters,
            writers: BTreeSet::new(),
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
        self.writers
            .retain(|(number, _)| places.contains_key(number));
        self.places = places;
        self.hold_for_writers();
        problem
    }

    /// Waits for events and says what is to be done after them. May be dropped while it waits.
    pub(super) async fn events(&mut self) -> io::Result<Effect> {
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
        let mut effect = Effect::Nothing;
        for (number, flags, name) in found {
            let name = name.as_deref().map(OsStr::from_bytes);
            effect = effect.max(self.event(number, flags, name));
        }
        self.hold_for_writers();
        Ok(effect)
    }

    fn event(&mut self, number: i32, flags: ReadFlags, name: Option<&OsStr>) -> Effect {
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
            match writes(flags, found) {
                Some(true) if self.writers.len() < MAX_WRITERS => {
                    self.writers.insert((number, name.to_owned()));
                }
                Some(false) => {
                    self.writers.remove(&(number, name.to_owned()));
                }
                Some(true) | None => {}
            }
        }
        let effect = effect(place, flags, name, found, self.matters);
        if flags.contains(ReadFlags::IGNORED) {
            self.places.remove(&number);
            self.writers.retain(|(holder, _)| *holder != number);
        }
        effect
    }

    fn hold_for_writers(&mut self) {
        if self.writers.is_empty() {
            self.hold = None;
        } else if self.hold.is_none() {
            self.hold = Some(self.trigger.hold());
        }
    }
}

#[expect(
    deprecated,
    reason = "its successor is unsafe for the sake of types that may change or close their handle; this one cannot"
)]
fn registered(inotify: OwnedFd) -> io::Result<AsyncFd<Arc<OwnedFd>>> {
    AsyncFd::with_interest(Arc::new(inotify), Interest::READABLE)
}

/// What a new name is, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    Link,
    Empty,
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

/// Whether somebody begins or goes on writing into the file (true), or there is an end to it (false). Pure.
fn writes(flags: ReadFlags, found: Found) -> Option<bool> {
    let ends = ReadFlags::CLOSE_WRITE | ReadFlags::DELETE | ReadFlags::MOVED_FROM;
    if flags.intersects(ends | ReadFlags::MOVED_TO) {
        Some(false)
    } else if flags.contains(ReadFlags::MODIFY)
        // A file that is made and filled later.
        || (flags.contains(ReadFlags::CREATE) && found == Found::Empty)
    {
        Some(true)
    } else {
        None
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
            (ReadFlags::MOVED_FROM | folder, "roles", Found::Other, Survey),
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

    #[test]
    fn a_writer_is_known_from_its_first_byte_until_it_closes_the_file() {
        for (flags, found, expected) in [
            (ReadFlags::MODIFY, Found::Other, Some(true)),
            (ReadFlags::CREATE, Found::Empty, Some(true)),
            (ReadFlags::CREATE, Found::Link, None),
            (ReadFlags::CREATE, Found::Other, None),
            (ReadFlags::CLOSE_WRITE, Found::Other, Some(false)),
            (ReadFlags::DELETE, Found::Other, Some(false)),
            (ReadFlags::MOVED_TO, Found::Empty, Some(false)),
            (ReadFlags::ATTRIB, Found::Other, None),
        ] {
            assert_eq!(writes(flags, found), expected, "{flags:?} {found:?}");
        }
    }
}
