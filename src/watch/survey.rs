//! Which folders must be watched so that nothing below a path changes unseen: those of the tree, those that its links
//! lead through, and those around it. Everything here blocks.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};

use rustix::fs::inotify::{self, WatchFlags};
use rustix::io::Errno;

/// Most folders that are watched; further ones are left to polling.
pub(super) const MAX_WATCHES: usize = 16_384;
/// Most links that are followed to find where one leads.
const MAX_LINKS: usize = 40;

/// Names that come and go. Reading is not told: our own would never end.
const NAMES: WatchFlags = WatchFlags::CREATE
    .union(WatchFlags::DELETE)
    .union(WatchFlags::MOVE)
    .union(WatchFlags::DELETE_SELF)
    .union(WatchFlags::MOVE_SELF)
    .union(WatchFlags::ONLYDIR);
/// The same, and what is written into files.
const CONTENTS: WatchFlags = NAMES
    .union(WatchFlags::MODIFY)
    .union(WatchFlags::CLOSE_WRITE)
    .union(WatchFlags::ATTRIB);

/// A folder that is watched.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    /// Where it was found, no link in it.
    pub(super) path: PathBuf,
    /// Whether it belongs to the tree, so that whatever it holds may matter.
    pub(super) is_within: bool,
    /// Names in it that matter by themselves: a path or a link leads through them.
    pub(super) names: BTreeSet<OsString>,
}

/// The folders that are watched, by the number that the kernel gives each.
pub(super) type Places = BTreeMap<i32, Place>;

/// Why not everything is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Problem {
    /// There are more folders than [`MAX_WATCHES`].
    TooMany,
    /// The kernel gives no more.
    Kernel(Errno),
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooMany => write!(formatter, "there are more than {MAX_WATCHES} folders"),
            Self::Kernel(Errno::NOSPC) => formatter.write_str(
                "the limit of watches is reached; sysctl fs.inotify.max_user_watches raises it",
            ),
            Self::Kernel(Errno::MFILE | Errno::NFILE) => formatter.write_str(
                "the limit of open files or of inotify instances is reached; \
                 sysctl fs.inotify.max_user_instances raises the latter",
            ),
            Self::Kernel(errno) => fmt::Display::fmt(&io::Error::from(*errno), formatter),
        }
    }
}

/// Watches everything that `directory` (an absolute path) depends on, as far as it is there. What is watched already
/// stays so, and a folder is watched before it is looked into, so that nothing is missed in between.
pub(super) fn survey(inotify: &OwnedFd, directory: &Path) -> (Places, Option<Problem>) {
    let mut survey = Survey {
        inotify,
        places: Places::new(),
        asked: BTreeMap::new(),
        problem: None,
    };
    if let Some(root) = survey.follow(PathBuf::from("/"), directory)
        && root.is_dir()
    {
        survey.tree(&root);
    }
    (survey.places, survey.problem)
}

struct Survey<'a> {
    inotify: &'a OwnedFd,
    places: Places,
    /// What was asked of the kernel for each folder, and the number it gave.
    asked: BTreeMap<PathBuf, (WatchFlags, Option<i32>)>,
    problem: Option<Problem>,
}

impl Survey<'_> {
    /// Watches every folder of the tree, the upper ones first. Names that begin with a dot are left out (`.git`), unless
    /// a link leads there.
    fn tree(&mut self, root: &Path) {
        let mut waiting = VecDeque::from([root.to_owned()]);
        while let Some(folder) = waiting.pop_front() {
            let Some(place) = self.watch(&folder, CONTENTS) else {
                continue;
            };
            // Links may lead to the same folder again and again.
            if std::mem::replace(&mut place.is_within, true) {
                continue;
            }
            let entries = match fs::read_dir(&folder) {
                Ok(entries) => entries,
                Err(error) => {
                    self.note(Errno::from_io_error(&error));
                    continue;
                }
            };
            for entry in entries.flatten() {
                let name = entry.file_name();
                let Ok(kind) = entry.file_type() else {
                    continue;
                };
                if is_hidden(&name) {
                    continue;
                }
                if kind.is_dir() {
                    waiting.push_back(entry.path());
                } else if kind.is_symlink() {
                    let target = self.follow(folder.clone(), Path::new(&name));
                    waiting.extend(
                        target.filter(|target| target.starts_with(root) && target.is_dir()),
                    );
                }
            }
            if self.problem.is_some() {
                break;
            }
        }
    }

    /// Follows a path from a folder whose own path has no links, and watches every name on the way. Gives the path
    /// without links, or nothing where it leads nowhere (yet).
    fn follow(&mut self, from: PathBuf, path: &Path) -> Option<PathBuf> {
        let mut at = from;
        let mut rest = steps(path);
        let mut links = 0;
        while let Some(step) = rest.pop_front() {
            match Path::new(&step).components().next() {
                None | Some(Component::CurDir) => {}
                Some(Component::Prefix(_) | Component::RootDir) => at = PathBuf::from("/"),
                Some(Component::ParentDir) => {
                    at.pop();
                }
                Some(Component::Normal(name)) => {
                    if let Some(place) = self.watch(&at, NAMES) {
                        place.names.insert(name.to_owned());
                    }
                    let path = at.join(name);
                    let kind = fs::symlink_metadata(&path).ok()?.file_type();
                    if kind.is_symlink() {
                        links += 1;
                        if links > MAX_LINKS {
                            return None;
                        }
                        let mut further = steps(&fs::read_link(&path).ok()?);
                        further.append(&mut rest);
                        rest = further;
                        continue;
                    }
                    if !kind.is_dir() {
                        // It may be written in place.
                        self.watch(&at, CONTENTS);
                    }
                    at = path;
                }
            }
        }
        Some(at)
    }

    /// Watches one folder. Nothing where that is not possible: the folder may be gone again or not be readable for us,
    /// which whoever reads it finds out; limits are noted.
    fn watch(&mut self, folder: &Path, flags: WatchFlags) -> Option<&mut Place> {
        let known = self.asked.get(folder);
        let number = match known {
            Some((asked, number)) if asked.contains(flags) => *number,
            _ => {
                let number = self.ask(folder, flags);
                self.asked.insert(folder.to_owned(), (flags, number));
                number
            }
        };
        let place = self.places.entry(number?).or_default();
        if place.path.as_os_str().is_empty() {
            folder.clone_into(&mut place.path);
        }
        Some(place)
    }

    fn ask(&mut self, folder: &Path, flags: WatchFlags) -> Option<i32> {
        if self.places.len() >= MAX_WATCHES {
            self.problem = Some(Problem::TooMany);
            return None;
        }
        match inotify::add_watch(self.inotify, folder, flags | WatchFlags::MASK_ADD) {
            Ok(number) => Some(number),
            Err(errno) => {
                self.note(Some(errno));
                None
            }
        }
    }

    /// Notes an error if it is a limit.
    fn note(&mut self, errno: Option<Errno>) {
        if let Some(errno @ (Errno::NOSPC | Errno::NOMEM | Errno::MFILE | Errno::NFILE)) = errno {
            self.problem = Some(Problem::Kernel(errno));
        }
    }
}

/// Whether a name begins with a dot.
pub(super) fn is_hidden(name: &OsStr) -> bool {
    name.as_bytes().starts_with(b".")
}

/// The steps of a path, one by one.
fn steps(path: &Path) -> VecDeque<OsString> {
    path.components()
        .map(|step| step.as_os_str().to_owned())
        .collect()
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "the test writes a tree")]
mod tests {
    use super::*;
    use rustix::fs::inotify::CreateFlags;
    use std::os::unix::fs::symlink;

    fn surveyed(directory: &Path) -> Vec<(PathBuf, Vec<String>, bool)> {
        let inotify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).unwrap();
        let (places, problem) = survey(&inotify, directory);
        assert_eq!(problem, None);
        let mut found: Vec<_> = places
            .into_values()
            .map(|place| {
                let names = place.names.into_iter();
                let names = names.map(|name| name.into_string().unwrap()).collect();
                (place.path, names, place.is_within)
            })
            .collect();
        found.sort();
        found
    }

    #[test]
    fn folders_of_the_tree_and_every_name_that_leads_there_are_watched() {
        let base = tempfile::tempdir().unwrap();
        let base = base.path().canonicalize().unwrap();
        fs::create_dir_all(base.join("one/tree/a/b/c")).unwrap();
        fs::create_dir_all(base.join("one/tree/.git/objects")).unwrap();
        fs::write(base.join("one/tree/a.toml"), "").unwrap();
        symlink("one", base.join("current")).unwrap();
        let found = surveyed(&base.join("current/tree"));
        let below: Vec<_> = found
            .iter()
            .filter(|(path, ..)| path.starts_with(&base))
            .map(|(path, names, is_within)| {
                let path = path.strip_prefix(&base).unwrap().to_str().unwrap();
                (path, names.join(" "), *is_within)
            })
            .collect();
        assert_eq!(
            below,
            [
                ("", "current one".to_owned(), false),
                ("one", "tree".to_owned(), false),
                ("one/tree", String::new(), true),
                ("one/tree/a", String::new(), true),
                ("one/tree/a/b", String::new(), true),
                ("one/tree/a/b/c", String::new(), true),
            ]
        );
        // And whoever renames a folder far above is seen as well.
        for above in base.ancestors().skip(1) {
            assert!(
                found.iter().any(|(path, ..)| path == above),
                "{above:?} is not watched"
            );
        }
    }

    #[test]
    fn the_volume_of_a_config_map_is_watched_through_its_links() {
        let base = tempfile::tempdir().unwrap();
        let base = base.path().canonicalize().unwrap();
        fs::create_dir_all(base.join("..2026_1/roles")).unwrap();
        fs::write(base.join("..2026_1/a.toml"), "").unwrap();
        symlink("..2026_1", base.join("..data")).unwrap();
        symlink("..data/a.toml", base.join("a.toml")).unwrap();
        symlink("..data/roles", base.join("roles")).unwrap();
        symlink("..data/late.toml", base.join("late.toml")).unwrap();
        let below: Vec<_> = surveyed(&base)
            .into_iter()
            .filter_map(|(path, names, is_within)| {
                let path = path.strip_prefix(&base).ok()?.to_str()?.to_owned();
                Some((path, names.join(" "), is_within))
            })
            .collect();
        let root = "..2026_1 ..data a.toml late.toml roles";
        assert_eq!(
            below,
            [
                (String::new(), root.to_owned(), true),
                (
                    "..2026_1".to_owned(),
                    "a.toml late.toml roles".to_owned(),
                    false
                ),
                ("..2026_1/roles".to_owned(), String::new(), true),
            ]
        );
    }

    #[test]
    fn what_is_not_there_yet_is_watched_as_far_as_it_goes() {
        let base = tempfile::tempdir().unwrap();
        let base = base.path().canonicalize().unwrap();
        let found = surveyed(&base.join("later/tree"));
        assert!(found.contains(&(base, vec!["later".to_owned()], false)));
    }
}
