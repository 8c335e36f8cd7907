//! A folder as a layer of a tree. Everything here blocks.
//!
//! The root is opened once and everything below it is reached through handles; each link is read once and looked at
//! again in the end. So a link that is flipped in the middle (Kubernetes, git-sync), or a folder that is moved away or
//! deleted, cannot mix two generations: the reading begins anew.

use std::collections::{BTreeMap, VecDeque};
use std::ffi::{CString, OsStr, OsString};
use std::io;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Component, Path, PathBuf};
use std::rc::Rc;

use super::handle::{self, Entry, Folder, Identity, Kind, is_gone};
use super::{
    Layer, MAX_DEPTH, MAX_FILE_BYTES, MAX_FILES, MAX_TREE_BYTES, Provenance, TreeError, git,
    sidecar,
};

/// Most times that one reading begins anew because something was moved meanwhile.
const MAX_ATTEMPTS: usize = 5;
/// Most folders that one reading looks into, counting those that links lead to each time.
const MAX_FOLDERS: usize = 200_000;
/// Most links that are followed to find where one leads.
const MAX_LINKS: usize = 40;
/// Kubernetes shows a volume of files (a `ConfigMap`, a `Secret`) by links of the same names through this link, and
/// replaces the whole volume by moving another link over it.
const VOLUME: &str = "..data";

/// Whether the bytes of a file of this name are part of a tree.
pub fn counts(name: &OsStr) -> bool {
    !is_hidden(name) && is_manifest(name)
}

fn is_hidden(name: &OsStr) -> bool {
    name.as_bytes().starts_with(b".")
}

fn is_manifest(name: &OsStr) -> bool {
    name.as_bytes().ends_with(b".toml")
}

/// Reads a folder once, as it is.
///
/// Takes every file whose name ends in `.toml`, in every folder below, and the files that these name. Names that begin with `.` are ignored. Links
/// are followed when they stay inside the folder. A folder with a link `..data` is read as Kubernetes writes it: what
/// that link leads to counts as being in the folder.
///
/// Fails when there is no such folder, when a link leaves it or leads nowhere, when a file is empty (it may be about to
/// be written), when something cannot be read, when it is moved again and again meanwhile, and beyond the limits of
/// [`super`].
pub fn read(folder: &Path) -> Result<Layer, TreeError> {
    let label = folder.display().to_string();
    let mut attempt = 1;
    loop {
        let mut walk = Walk::begin(folder, &label)?;
        let outcome = walk.everything().and_then(|()| walk.sidecars());
        let has_changed = walk.met_change || walk.has_moved(folder);
        if has_changed && attempt < MAX_ATTEMPTS {
            attempt += 1;
            continue;
        }
        outcome?;
        if has_changed {
            return Err(walk.refused(OsStr::new(""), "the files keep changing", None));
        }
        let Walk { files, path, .. } = walk;
        let commit = git::directory_around(&path).and_then(|directory| git::commit(&directory));
        let provenance = Provenance {
            path: Some(path),
            commit,
            dirty: None,
            signer: None,
        };
        return Ok(Layer::new(label, files, provenance));
    }
}

/// Whether a git command is changing the work tree around a folder right now.
pub fn is_busy(folder: &Path) -> bool {
    std::fs::canonicalize(folder)
        .ok()
        .and_then(|root| git::directory_around(&root))
        .is_some_and(|directory| git::is_busy(&directory))
}

struct Walk<'a> {
    label: &'a str,
    root: Rc<Folder>,
    /// The root's path, links resolved, as it was when it was opened.
    path: PathBuf,
    files: BTreeMap<String, Vec<u8>>,
    bytes: u64,
    folders: usize,
    /// Where each link led when it was first read, by its path below the root.
    links: BTreeMap<PathBuf, PathBuf>,
    /// Whether something was not there any more that had been there a moment before.
    met_change: bool,
    /// Room for the bytes of a file.
    scratch: Vec<u8>,
}

/// What a link leads to.
enum Target {
    Folder(Rc<Folder>),
    File(Rc<Folder>, CString),
    Other,
    /// Not below the root, as far as it can be followed there.
    Outside,
    Nowhere,
}

impl<'a> Walk<'a> {
    fn begin(folder: &Path, label: &'a str) -> Result<Self, TreeError> {
        let failed = |error: io::Error| match error.kind() {
            io::ErrorKind::NotADirectory => TreeError {
                path: label.to_owned(),
                message: "this is not a folder".to_owned(),
                help: Some("name the folder that holds the manifests".to_owned()),
            },
            _ => unreadable(label, &error, "create it, or name the right one"),
        };
        let root = Folder::root(folder).map_err(failed)?;
        let path = std::fs::canonicalize(folder).map_err(failed)?;
        Ok(Self {
            label,
            root,
            path,
            files: BTreeMap::new(),
            bytes: 0,
            folders: 0,
            links: BTreeMap::new(),
            met_change: false,
            scratch: Vec::new(),
        })
    }

    /// Whether what was read is not what the path and the links lead to now.
    fn has_moved(&self, folder: &Path) -> bool {
        let is_root =
            |path: &Path| handle::identity(path).is_ok_and(|now| now == self.root.identity());
        !is_root(folder)
            || !is_root(&self.path)
            || self
                .links
                .iter()
                .any(|(place, target)| self.root.link(place).ok().as_ref() != Some(target))
    }

    fn everything(&mut self) -> Result<(), TreeError> {
        let root = Rc::clone(&self.root);
        self.folder(&root, OsStr::new(""), &mut Vec::new())
    }

    /// The files that the manifests name. One that is not there is for whoever reads the manifest to tell.
    fn sidecars(&mut self) -> Result<(), TreeError> {
        let files = self.files.iter();
        let named = sidecar::of(files.map(|(name, bytes)| (name.as_str(), bytes.as_slice())));
        for name in named {
            let relative = OsStr::new(&name);
            let root = Rc::clone(&self.root);
            match self.follow(&root, Path::new(&name)) {
                Ok(Target::File(holder, file)) => self.file(&holder, &file, relative)?,
                Ok(Target::Outside) => return Err(self.leaves(relative)),
                Ok(Target::Folder(_) | Target::Other | Target::Nowhere) => {}
                Err(error) => return Err(self.unreadable(relative, &error)),
            }
        }
        Ok(())
    }

    /// `prefix` is the folder's name within the tree, with a `/` behind it; `around` are the folders that led here.
    fn folder(
        &mut self,
        folder: &Rc<Folder>,
        prefix: &OsStr,
        around: &mut Vec<Identity>,
    ) -> Result<(), TreeError> {
        if around.contains(&folder.identity()) {
            return Err(self.refused(
                prefix,
                "this link leads back to a folder around it",
                Some("remove the link"),
            ));
        }
        if around.len() > MAX_DEPTH {
            return Err(self.refused(
                prefix,
                &format!("folders are nested more than {MAX_DEPTH} deep"),
                Some("move it up"),
            ));
        }
        self.folders += 1;
        if self.folders > MAX_FOLDERS {
            return Err(self.refused(
                OsStr::new(""),
                &format!("there are more than {MAX_FOLDERS} folders"),
                Some("is this the right folder?"),
            ));
        }
        around.push(folder.identity());
        let entries = folder
            .entries()
            .map_err(|error| self.unreadable(prefix, &error))?;
        let volume = self.volume(folder, &entries, prefix)?;
        if let Some(volume) = &volume {
            self.folder(volume, prefix, around)?;
        }
        for entry in &entries {
            if is_hidden(entry.name()) {
                continue;
            }
            if volume.is_some() && self.shows_volume(folder, entry) {
                continue;
            }
            self.entry(folder, entry, prefix, around)?;
        }
        around.pop();
        Ok(())
    }

    /// The folder behind the link `..data`, if there is one.
    fn volume(
        &mut self,
        folder: &Rc<Folder>,
        entries: &[Entry],
        prefix: &OsStr,
    ) -> Result<Option<Rc<Folder>>, TreeError> {
        let Some(link) = entries
            .iter()
            .find(|entry| entry.kind == Kind::Link && entry.name() == VOLUME)
        else {
            return Ok(None);
        };
        match self.target(folder, link) {
            Ok(Target::Folder(volume)) => Ok(Some(volume)),
            Ok(Target::File(..) | Target::Other) => Ok(None),
            Ok(Target::Outside) => Err(self.leaves(&joined(prefix, link.name()))),
            Ok(Target::Nowhere) => Err(self.leads_nowhere(&joined(prefix, link.name()))),
            Err(error) => Err(self.unreadable(&joined(prefix, link.name()), &error)),
        }
    }

    /// Whether an entry is a link that only shows what `..data` holds under the same name. Some are left over for a
    /// moment when the volume is replaced, and some come late; the volume itself is always whole.
    fn shows_volume(&mut self, folder: &Folder, entry: &Entry) -> bool {
        entry.kind == Kind::Link
            && self
                .link(folder, &entry.name)
                .is_ok_and(|target| target == Path::new(VOLUME).join(entry.name()))
    }

    fn entry(
        &mut self,
        folder: &Rc<Folder>,
        entry: &Entry,
        prefix: &OsStr,
        around: &mut Vec<Identity>,
    ) -> Result<(), TreeError> {
        match entry.kind {
            Kind::File if is_manifest(entry.name()) => {
                let relative = joined(prefix, entry.name());
                self.file(folder, &entry.name, &relative)
            }
            Kind::File | Kind::Other => Ok(()),
            Kind::Folder => {
                let relative = joined(prefix, entry.name());
                match folder.inner(&entry.name) {
                    Ok(inner) => self.folder(&inner, &joined(&relative, "/"), around),
                    Err(error) => Err(self.unreadable(&relative, &error)),
                }
            }
            Kind::Link => self.through_link(folder, entry, &joined(prefix, entry.name()), around),
        }
    }

    fn through_link(
        &mut self,
        folder: &Rc<Folder>,
        entry: &Entry,
        relative: &OsStr,
        around: &mut Vec<Identity>,
    ) -> Result<(), TreeError> {
        let is_manifest = is_manifest(entry.name());
        match self.target(folder, entry) {
            Ok(Target::Folder(inner)) => self.folder(&inner, &joined(relative, "/"), around),
            Ok(Target::File(holder, name)) if is_manifest => self.file(&holder, &name, relative),
            Ok(Target::File(..) | Target::Other) => Ok(()),
            // A link that cannot matter is nobody's mistake.
            Ok(Target::Outside) if !is_manifest && !self.leads_to_folder(relative) => Ok(()),
            Ok(Target::Outside) => Err(self.leaves(relative)),
            Ok(Target::Nowhere) if !is_manifest && !may_be_folder(entry.name()) => Ok(()),
            Ok(Target::Nowhere) => Err(self.leads_nowhere(relative)),
            Err(error) => Err(self.unreadable(relative, &error)),
        }
    }

    /// Follows a link below the root.
    fn target(&mut self, folder: &Rc<Folder>, entry: &Entry) -> io::Result<Target> {
        let target = self.link(folder, &entry.name)?;
        let found = self.follow(folder, &target)?;
        if !matches!(found, Target::Outside) {
            return Ok(found);
        }
        // It may come back in: an absolute link, or one that climbs above the root.
        let path = self.path.join(folder.place_of(&entry.name));
        let inside = match std::fs::canonicalize(path) {
            Ok(target) => target.strip_prefix(&self.path).map(Path::to_owned),
            Err(error) if is_gone(&error) => return Ok(Target::Nowhere),
            Err(error) => return Err(error),
        };
        let root = Rc::clone(&self.root);
        inside.map_or(Ok(Target::Outside), |place| self.follow(&root, &place))
    }

    fn follow(&mut self, folder: &Rc<Folder>, target: &Path) -> io::Result<Target> {
        let mut at = Rc::clone(folder);
        let mut rest: VecDeque<OsString> = steps(target);
        let mut links = 0;
        while let Some(step) = rest.pop_front() {
            match Path::new(&step).components().next() {
                None | Some(Component::CurDir) => continue,
                Some(Component::Prefix(_) | Component::RootDir) => return Ok(Target::Outside),
                Some(Component::ParentDir) => {
                    let Some(parent) = at.parent() else {
                        return Ok(Target::Outside);
                    };
                    at = Rc::clone(parent);
                    continue;
                }
                Some(Component::Normal(_)) => {}
            }
            let name = CString::new(step.into_vec())?;
            let kind = match at.kind(&name) {
                Ok(kind) => kind,
                Err(error) if is_gone(&error) => return Ok(Target::Nowhere),
                Err(error) => return Err(error),
            };
            match kind {
                Kind::Link => {
                    links += 1;
                    if links > MAX_LINKS {
                        return Ok(Target::Nowhere);
                    }
                    let mut further = steps(&self.link(&at, &name)?);
                    further.append(&mut rest);
                    rest = further;
                }
                Kind::Folder => at = at.inner(&name)?,
                Kind::File if rest.is_empty() => return Ok(Target::File(at, name)),
                Kind::Other if rest.is_empty() => return Ok(Target::Other),
                Kind::File | Kind::Other => return Ok(Target::Nowhere),
            }
        }
        Ok(Target::Folder(at))
    }

    /// Where a link leads, the same throughout the reading.
    fn link(&mut self, folder: &Folder, name: &CString) -> io::Result<PathBuf> {
        let place = folder.place_of(name);
        if let Some(target) = self.links.get(&place) {
            return Ok(target.clone());
        }
        let target = folder.link(Path::new(OsStr::from_bytes(name.as_bytes())))?;
        self.links.insert(place, target.clone());
        Ok(target)
    }

    fn leads_to_folder(&self, relative: &OsStr) -> bool {
        self.path.join(relative).is_dir()
    }

    fn file(&mut self, folder: &Folder, name: &CString, relative: &OsStr) -> Result<(), TreeError> {
        let Some(key) = relative.to_str() else {
            return Err(self.refused(relative, "the file's name is not UTF-8", Some("rename it")));
        };
        if self.files.len() >= MAX_FILES {
            return Err(self.refused(
                OsStr::new(""),
                &format!("there are more than {MAX_FILES} manifests"),
                Some("is this the right folder?"),
            ));
        }
        let mut scratch = std::mem::take(&mut self.scratch);
        let most = usize::try_from(MAX_FILE_BYTES).unwrap_or(usize::MAX);
        folder
            .file(name, most.saturating_add(1), &mut scratch)
            .map_err(|error| self.unreadable(relative, &error))?;
        if scratch.len() > most {
            return Err(self.refused(
                relative,
                &format!("the file is larger than {MAX_FILE_BYTES} bytes"),
                Some("split it into several files"),
            ));
        }
        if scratch.is_empty() {
            // Whoever rewrites a file in place empties it first; its tables must not vanish meanwhile.
            return Err(self.refused(
                relative,
                "the file is empty, as if it were about to be written",
                Some("write it, or delete it if nothing is to be in it"),
            ));
        }
        self.bytes += scratch.len() as u64;
        if self.bytes > MAX_TREE_BYTES {
            return Err(self.refused(
                OsStr::new(""),
                &format!("the manifests together are larger than {MAX_TREE_BYTES} bytes"),
                Some("is this the right folder?"),
            ));
        }
        self.files
            .insert(key.to_owned(), scratch.as_slice().to_vec());
        self.scratch = scratch;
        Ok(())
    }

    fn leaves(&self, relative: &OsStr) -> TreeError {
        self.refused(
            relative,
            "this link leaves the tree",
            Some("move the target into the tree, or remove the link"),
        )
    }

    fn leads_nowhere(&self, relative: &OsStr) -> TreeError {
        self.refused(
            relative,
            "this link leads nowhere",
            Some("mend or remove the link"),
        )
    }

    /// `relative` may be empty for the tree itself.
    fn path(&self, relative: &OsStr) -> String {
        match relative.to_string_lossy().trim_end_matches('/') {
            "" => self.label.to_owned(),
            relative => format!("{}/{relative}", self.label.trim_end_matches('/')),
        }
    }

    fn refused(&self, relative: &OsStr, message: &str, help: Option<&str>) -> TreeError {
        TreeError {
            path: self.path(relative),
            message: message.to_owned(),
            help: help.map(str::to_owned),
        }
    }

    /// Something that was in the list of its folder cannot be read.
    fn unreadable(&mut self, relative: &OsStr, error: &io::Error) -> TreeError {
        self.met_change |= is_gone(error);
        unreadable(
            &self.path(relative),
            error,
            "it must be there while the tree is read",
        )
    }
}

/// The steps of a path, one by one.
fn steps(path: &Path) -> VecDeque<OsString> {
    path.components()
        .map(|step| step.as_os_str().to_owned())
        .collect()
}

fn joined(prefix: &OsStr, name: impl AsRef<OsStr>) -> OsString {
    let mut joined = prefix.to_owned();
    joined.push(name);
    joined
}

/// Whether a link of this name that leads nowhere may be meant to lead to a folder of manifests: `roles`, `conf.d`, but
/// not `music.db`.
fn may_be_folder(name: &OsStr) -> bool {
    Path::new(name)
        .extension()
        .is_none_or(|extension| extension == "d")
}

fn unreadable(path: &str, error: &io::Error, help_if_missing: &str) -> TreeError {
    let (message, help) = match error.kind() {
        io::ErrorKind::NotFound => (
            "there is no such file or folder".to_owned(),
            help_if_missing,
        ),
        io::ErrorKind::PermissionDenied => (
            "the permission to read it is missing".to_owned(),
            "let the user that runs tidegate read it",
        ),
        _ => (
            format!("it cannot be read: {error}"),
            "look at the file system",
        ),
    };
    TreeError {
        path: path.to_owned(),
        message,
        help: Some(help.to_owned()),
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests may block")]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Duration;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        folder
    }

    fn names(tree: &Layer) -> Vec<&str> {
        tree.files().map(|(name, _)| name.as_ref()).collect()
    }

    #[test]
    fn manifests_are_taken_from_all_folders_and_nothing_else_is() {
        let folder = folder(&[
            ("b.toml", "b"),
            ("a/c.toml", "c"),
            (".hidden.toml", "x"),
            (".git/x.toml", "x"),
            (".#b.toml", "x"),
            (".b.toml.swp", "x"),
            ("chinook.db", "x"),
            ("b.toml~", "x"),
            ("b.toml.tmp", "x"),
            ("b.toml___jb_tmp___", "x"),
            ("#b.toml#", "x"),
            ("4913", "x"),
        ]);
        assert_eq!(names(&read(folder.path()).unwrap()), ["a/c.toml", "b.toml"]);
    }

    #[test]
    fn a_mounted_config_map_is_read_once_through_its_links() {
        let folder = folder(&[("..2026_01/a.toml", "one"), ("..2026_02/a.toml", "two")]);
        symlink("..2026_01", folder.path().join("..data")).unwrap();
        symlink("..data/a.toml", folder.path().join("a.toml")).unwrap();
        let tree = read(folder.path()).unwrap();
        assert_eq!(names(&tree), ["a.toml"]);
        assert_eq!(tree.file("a.toml").unwrap().as_ref(), b"one");
        symlink("..2026_02", folder.path().join("..data_tmp")).unwrap();
        fs::rename(
            folder.path().join("..data_tmp"),
            folder.path().join("..data"),
        )
        .unwrap();
        assert_ne!(read(folder.path()).unwrap().digest(), tree.digest());
    }

    #[test]
    fn a_volume_is_whole_even_while_the_links_that_show_it_are_not() {
        let folder = folder(&[
            ("sub/..2026_01/a.toml", "a"),
            ("sub/..2026_01/f/b.toml", "b"),
        ]);
        let sub = folder.path().join("sub");
        symlink("..2026_01", sub.join("..data")).unwrap();
        // One link is left over from before, and those for `a.toml` and `f` are still to come.
        symlink("..data/gone.toml", sub.join("gone.toml")).unwrap();
        let tree = read(folder.path()).unwrap();
        assert_eq!(names(&tree), ["sub/a.toml", "sub/f/b.toml"]);
        fs::remove_dir_all(sub.join("..2026_01")).unwrap();
        let error = read(folder.path()).unwrap_err();
        assert!(error.message.contains("nowhere"), "{error}");
        assert!(error.path.ends_with("/sub/..data"));
    }

    #[test]
    fn a_link_is_followed_wherever_it_goes_inside() {
        let folder = folder(&[(".store/v1/a.toml", "a"), ("real/b.toml", "b")]);
        let root = folder.path();
        symlink("v1", root.join(".store/live")).unwrap();
        symlink(".store/live/a.toml", root.join("a.toml")).unwrap();
        symlink("../.store/live/../live", root.join("real/deep")).unwrap();
        symlink(root.join("real/b.toml"), root.join("absolute.toml")).unwrap();
        let outside_and_in = Path::new("..").join(root.file_name().unwrap()).join("real");
        symlink(outside_and_in, root.join("around")).unwrap();
        assert_eq!(
            names(&read(root).unwrap()),
            [
                "a.toml",
                "absolute.toml",
                "around/b.toml",
                "around/deep/a.toml",
                "real/b.toml",
                "real/deep/a.toml"
            ]
        );
    }

    #[test]
    fn a_link_that_may_have_held_manifests_is_missed_and_others_are_not() {
        for (name, is_missed) in [
            ("roles", true),
            ("conf.d", true),
            ("a.toml", true),
            ("music.db", false),
            (".#a.toml", false),
        ] {
            let folder = folder(&[("b.toml", "b")]);
            symlink("/nowhere/at/all", folder.path().join(name)).unwrap();
            assert_eq!(read(folder.path()).is_err(), is_missed, "{name}");
        }
    }

    #[test]
    fn an_empty_file_is_refused_because_it_may_be_about_to_be_written() {
        let folder = folder(&[("a.toml", "a"), ("b.toml", "")]);
        let error = read(folder.path()).unwrap_err();
        assert!(error.message.contains("empty"), "{error}");
        assert!(error.path.ends_with("/b.toml"));
        fs::write(folder.path().join("b.toml"), "# nothing\n").unwrap();
        read(folder.path()).unwrap();
    }

    /// Reads again and again while `flip` changes between two generations, and expects that no reading has files of
    /// both.
    fn expect_one_generation(folder: &Path, flip: impl Fn(usize) + Send + Sync) {
        const WHOLE: usize = 100;
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for round in 0.. {
                    if is_over.load(Ordering::Relaxed) {
                        break;
                    }
                    flip(round);
                    std::thread::sleep(Duration::from_millis(round as u64 % 3));
                }
            });
            // It may be moved too often to be read, and says so.
            let mut whole = (0..WHOLE * 100).filter_map(|_| read(folder).ok());
            let is_one = whole.by_ref().take(WHOLE).all(|tree| {
                let first = tree.files().next().map(|(_, bytes)| Arc::clone(bytes));
                let is_one = tree.files().all(|(_, bytes)| Some(bytes) == first.as_ref());
                is_one && tree.files().len() == 20
            });
            let is_enough = whole.next().is_some();
            is_over.store(true, Ordering::Relaxed);
            assert!(is_one, "generations are mixed, or files are missing");
            assert!(is_enough, "hardly anything was read");
        });
    }

    fn generation(root: &Path, text: &str) {
        fs::create_dir_all(root).unwrap();
        for number in 0..20 {
            fs::write(root.join(format!("{number}.toml")), text).unwrap();
        }
    }

    fn point(link: &Path, target: &str) {
        let staged = link.with_file_name("..staged");
        symlink(target, &staged).unwrap();
        fs::rename(staged, link).unwrap();
    }

    #[test]
    fn a_root_link_that_is_flipped_all_the_time_never_mixes_generations() {
        let base = tempfile::tempdir().unwrap();
        let link = base.path().join("current");
        let next = |round: usize| {
            let name = format!("{round}");
            generation(&base.path().join(&name), &name);
            point(&link, &name);
            if round > 0 {
                let _ = fs::remove_dir_all(base.path().join(format!("{}", round - 1)));
            }
        };
        next(0);
        expect_one_generation(&link, |round| next(round + 1));
    }

    #[test]
    fn a_volume_that_is_replaced_all_the_time_never_mixes_generations() {
        let base = tempfile::tempdir().unwrap();
        let root = base.path();
        for number in 0..20 {
            let name = format!("{number}.toml");
            symlink(format!("..data/{name}"), root.join(name)).unwrap();
        }
        let next = |round: usize| {
            let name = format!("..{round}");
            generation(&root.join(&name), &name);
            point(&root.join("..data"), &name);
            if round > 0 {
                let _ = fs::remove_dir_all(root.join(format!("..{}", round - 1)));
            }
        };
        next(0);
        expect_one_generation(root, |round| next(round + 1));
    }

    #[test]
    fn links_of_ones_own_that_lead_through_another_never_mix_generations() {
        let base = tempfile::tempdir().unwrap();
        let root = base.path();
        for name in ["v0", "v1"] {
            generation(&root.join(".store").join(name), name);
        }
        let live = root.join(".store/live");
        point(&live, "v0");
        for number in 0..20 {
            let name = format!("{number}.toml");
            symlink(format!(".store/live/{name}"), root.join(name)).unwrap();
        }
        expect_one_generation(root, |round| point(&live, &format!("v{}", round % 2)));
    }

    #[test]
    fn a_root_that_is_swapped_for_another_never_mixes_generations() {
        let base = tempfile::tempdir().unwrap();
        let root = base.path().join("tree");
        generation(&root, "0");
        generation(&base.path().join("other"), "1");
        expect_one_generation(&root, |_| {
            fs::rename(&root, base.path().join("aside")).unwrap();
            fs::rename(base.path().join("other"), &root).unwrap();
            fs::rename(base.path().join("aside"), base.path().join("other")).unwrap();
        });
    }

    #[test]
    fn links_that_leave_the_tree_lead_nowhere_or_loop_are_refused() {
        let outside = folder(&[("x.toml", "x"), ("f/y.toml", "y")]);
        for (target, message) in [
            (outside.path().join("x.toml"), "leaves the tree"),
            (outside.path().join("f"), "leaves the tree"),
            (outside.path().join("none"), "leads nowhere"),
            (PathBuf::from("."), "leads back"),
        ] {
            let folder = folder(&[("a.toml", "a")]);
            symlink(&target, folder.path().join("link.toml")).unwrap();
            let error = read(folder.path()).unwrap_err();
            assert!(error.message.contains(message), "{target:?}: {error}");
            assert!(error.path.ends_with("/link.toml"));
        }
    }

    #[test]
    fn a_missing_folder_a_file_and_a_file_that_is_too_large_say_so() {
        let large = usize::try_from(MAX_FILE_BYTES).unwrap() + 1;
        let folder = folder(&[("a.toml", &" ".repeat(large))]);
        let message = |path: &Path| read(path).unwrap_err().message;
        assert!(message(&folder.path().join("none")).contains("no such"));
        assert!(message(&folder.path().join("a.toml")).contains("not a folder"));
        assert!(message(folder.path()).contains("larger than 1048576 bytes"));
    }

    #[test]
    fn folders_nested_too_deep_are_refused() {
        let deep = format!("{}a.toml", "f/".repeat(MAX_DEPTH + 1));
        let error = read(folder(&[(&deep, "")]).path()).unwrap_err();
        assert!(error.message.contains("nested"), "{error}");
    }
}
