//! Who is in the middle of writing into which file. Pure.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::time::Instant;

use rustix::fs::inotify::ReadFlags;

use super::LONGEST_HOLD;
use super::watches::Found;

/// Most files whose writers are known at a time.
const MAX_WRITERS: usize = 1024;

/// A file: the number of the watched folder, and a name in it.
type File = (i32, OsString);

/// Files that were written into and not closed since, and since when.
#[derive(Debug, Default)]
pub(super) struct Writers(BTreeMap<File, Instant>);

impl Writers {
    /// An event came to a file.
    pub(super) fn event(
        &mut self,
        folder: i32,
        name: &OsStr,
        flags: ReadFlags,
        found: Found,
        now: Instant,
    ) {
        let ends = ReadFlags::CLOSE_WRITE | ReadFlags::DELETE | ReadFlags::MOVED_FROM;
        // A file that is made and filled later; one that is made with something in it may be a second name.
        let is_made = flags.contains(ReadFlags::CREATE) && found == Found::Empty;
        let file = (folder, name.to_owned());
        if flags.intersects(ends | ReadFlags::MOVED_TO) {
            self.0.remove(&file);
        } else if (is_made || flags.contains(ReadFlags::MODIFY)) && self.0.len() < MAX_WRITERS {
            self.0.entry(file).or_insert(now);
        }
    }

    /// Whether a look should wait: somebody is writing, and has not for longer than [`LONGEST_HOLD`].
    pub(super) fn are_busy(&self, now: Instant) -> bool {
        self.end().is_some_and(|end| now < end)
    }

    /// When the last of them has had its time.
    pub(super) fn end(&self) -> Option<Instant> {
        self.0.values().max().map(|since| *since + LONGEST_HOLD)
    }

    /// Forgets everybody: events were lost.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// Forgets those in folders that are not watched any more.
    pub(super) fn retain(&mut self, is_watched: impl Fn(i32) -> bool) {
        self.0.retain(|(folder, _), _| is_watched(*folder));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock as _, SystemClock};
    use std::time::Duration;

    const TICK: Duration = Duration::from_millis(1);

    #[test]
    fn a_writer_is_known_from_its_first_byte_until_it_closes_the_file() {
        let now = SystemClock.instant();
        let name = OsStr::new("a.toml");
        for (flags, found) in [
            (ReadFlags::MODIFY, Found::Other),
            (ReadFlags::CREATE, Found::Empty),
        ] {
            for end in [
                ReadFlags::CLOSE_WRITE,
                ReadFlags::DELETE,
                ReadFlags::MOVED_FROM,
                ReadFlags::MOVED_TO,
            ] {
                let mut writers = Writers::default();
                writers.event(1, name, flags, found, now);
                writers.event(1, name, ReadFlags::ATTRIB, Found::Other, now);
                assert!(writers.are_busy(now), "{flags:?}");
                writers.event(2, name, end, Found::Other, now);
                assert!(writers.are_busy(now), "another folder's file was closed");
                writers.event(1, name, end, Found::Empty, now);
                assert!(!writers.are_busy(now), "{end:?}");
            }
        }
    }

    #[test]
    fn links_and_second_names_are_no_writers() {
        let now = SystemClock.instant();
        for found in [Found::Link, Found::Other] {
            let mut writers = Writers::default();
            writers.event(1, OsStr::new("a.toml"), ReadFlags::CREATE, found, now);
            assert!(!writers.are_busy(now), "{found:?}");
        }
    }

    #[test]
    fn a_file_that_is_never_closed_is_not_waited_for_again() {
        let start = SystemClock.instant();
        let mut writers = Writers::default();
        let write = |writers: &mut Writers, now| {
            writers.event(
                1,
                OsStr::new("a.toml"),
                ReadFlags::MODIFY,
                Found::Other,
                now,
            );
        };
        write(&mut writers, start);
        assert_eq!(writers.end(), Some(start + LONGEST_HOLD));
        assert!(writers.are_busy(start + TICK));
        assert!(!writers.are_busy(start + LONGEST_HOLD));
        write(&mut writers, start + LONGEST_HOLD);
        assert!(!writers.are_busy(start + LONGEST_HOLD));
    }
}
