//! A tree of manifests that a test edits while it is being served, in all the ways in which trees are edited.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use super::git::git;

/// A folder of manifests, with a second one beside it where new files are written before they are moved in:
/// whoever watches the folder sees each file whole or not at all.
pub struct WatchedDirectory {
    root: TempDir,
}

impl Default for WatchedDirectory {
    fn default() -> Self {
        Self::new()
    }
}

impl WatchedDirectory {
    /// An empty one.
    pub fn new() -> Self {
        let root = tempfile::Builder::new()
            .prefix("tidegate-test-")
            .tempdir()
            .unwrap();
        for folder in ["tree", "staging", "data"] {
            fs::create_dir(root.path().join(folder)).unwrap();
        }
        Self { root }
    }

    /// One with these files.
    pub fn with(files: &[(&str, &str)]) -> Self {
        let directory = Self::new();
        for (name, text) in files {
            directory.write(name, text);
        }
        directory
    }

    /// The folder around everything here.
    pub fn base(&self) -> PathBuf {
        self.root.path().canonicalize().unwrap()
    }

    /// The folder of manifests.
    pub fn tree(&self) -> PathBuf {
        self.root.path().join("tree")
    }

    /// The folder for databases, beside the tree.
    pub fn data(&self) -> PathBuf {
        self.root.path().join("data")
    }

    /// Writes a file beside the tree and moves it in.
    pub fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        let staged = self
            .root
            .path()
            .join("staging")
            .join(name.replace('/', "__"));
        fs::write(&staged, text).unwrap();
        let target = self.tree().join(name);
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::rename(staged, target).unwrap();
    }

    /// Deletes a file of the tree.
    pub fn remove(&self, name: &str) {
        fs::remove_file(self.tree().join(name)).unwrap();
    }

    /// Writes a file of the tree where it stands: the same inode, emptied first, as `cp` and many editors do.
    pub fn write_in_place(&self, name: &str, text: impl AsRef<[u8]>) {
        fs::write(self.tree().join(name), text).unwrap();
    }

    /// The same slowly: empties the file, waits, writes a part, waits, and so on, and closes it in the end.
    pub fn write_slowly(&self, name: &str, parts: &[&str], pause: Duration) {
        let mut file = File::create(self.tree().join(name)).unwrap();
        for part in parts {
            std::thread::sleep(pause);
            file.write_all(part.as_bytes()).unwrap();
            file.flush().unwrap();
        }
        std::thread::sleep(pause);
    }
}

/// Moves a new link over an old one, or makes the first.
pub fn point(link: &Path, target: impl AsRef<Path>) {
    let staged = link.with_file_name("..staged");
    symlink(target, &staged).unwrap();
    fs::rename(staged, link).unwrap();
}

/// Runs a program to its end and gives what it printed; panics where it fails.
pub fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .unwrap_or_else(|error| panic!("{program} is needed for this test: {error}"));
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Commits everything in a work tree and names the commit.
pub fn commit(folder: &Path, message: &str) -> String {
    git(folder, &["add", "--all"]);
    git(
        folder,
        &["commit", "--quiet", "--allow-empty", "--message", message],
    );
    git(folder, &["rev-parse", "HEAD"])
}

/// A folder that is written as the kubelet writes a `ConfigMap`: by the steps of `AtomicWriter.Write`
/// (kubernetes, `pkg/volume/util/atomic_writer.go`), one by one. Older kubelets make the links of new files before the
/// volume is flipped, newer ones after it; here they take turns.
pub struct ConfigMap {
    folder: PathBuf,
    writes: u32,
}

impl ConfigMap {
    /// Nothing is written yet.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        let folder = folder.into();
        fs::create_dir_all(&folder).unwrap();
        Self { folder, writes: 0 }
    }

    /// Replaces the whole content. Names may contain one folder.
    pub fn write(&mut self, files: &[(String, String)]) {
        self.write_with(files, &mut || {});
    }

    /// The same, and calls `between` after each step.
    pub fn write_with(&mut self, files: &[(String, String)], between: &mut dyn FnMut()) {
        let visible = |name: &str| name.split('/').next().unwrap().to_owned();
        // The folder before.
        let data = self.folder.join("..data");
        let before = fs::read_link(&data).ok();
        // A new folder, named by the time, and everything in it.
        self.writes += 1;
        let name = format!("..2026_07_01_12_00_00.{}", self.writes);
        let stamped = self.folder.join(&name);
        fs::create_dir(&stamped).unwrap();
        fs::set_permissions(&stamped, fs::Permissions::from_mode(0o755)).unwrap();
        between();
        for (name, text) in files {
            let path = stamped.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        }
        between();
        // Links for new files; before the flip they lead nowhere, after it they come late.
        let is_older = self.writes % 2 == 1;
        if is_older {
            self.show(files.iter().map(|(name, _)| visible(name)));
            between();
        }
        // The flip.
        let staged = self.folder.join("..data_tmp");
        symlink(&name, &staged).unwrap();
        fs::rename(&staged, &data).unwrap();
        between();
        if !is_older {
            self.show(files.iter().map(|(name, _)| visible(name)));
            between();
        }
        // Links of files that are gone.
        for entry in fs::read_dir(&self.folder).unwrap() {
            let entry = entry.unwrap();
            let shown = entry.file_name().into_string().unwrap();
            let is_wanted = files.iter().any(|(name, _)| visible(name) == shown);
            if !shown.starts_with("..") && !is_wanted {
                fs::remove_file(entry.path()).unwrap();
            }
        }
        between();
        // The folder before.
        if let Some(before) = before {
            fs::remove_dir_all(self.folder.join(before)).unwrap();
        }
    }

    fn show(&self, names: impl Iterator<Item = String>) {
        for name in names {
            let shown = self.folder.join(&name);
            if fs::read_link(&shown).is_err() {
                symlink(Path::new("..data").join(name), shown).unwrap();
            }
        }
    }
}

/// A repository that is published as git-sync does it: a work tree for each commit, and a link that is moved over to the
/// newest (kubernetes, `git-sync/main.go`).
pub struct GitSync {
    root: PathBuf,
}

impl GitSync {
    /// A repository without a commit.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        let root = root.into();
        fs::create_dir_all(&root).unwrap();
        git(&root, &["init", "--quiet"]);
        Self { root }
    }

    /// The link, which leads to the work tree of the newest commit.
    pub fn link(&self) -> PathBuf {
        self.root.join("current")
    }

    /// Commits files below `gateway.d`, publishes the commit and removes the work tree before. Names the commit.
    pub fn publish(&self, files: &[(String, String)]) -> String {
        let author = self.root.join("author");
        let _ = fs::remove_dir_all(&author);
        let folder = author.join("gateway.d");
        fs::create_dir_all(&folder).unwrap();
        for (name, text) in files {
            fs::write(folder.join(name), text).unwrap();
        }
        let git_directory = format!("--git-dir={}", self.root.join(".git").display());
        let work_tree = format!("--work-tree={}", author.display());
        git(&self.root, &[&git_directory, &work_tree, "add", "--all"]);
        git(
            &self.root,
            &[
                &git_directory,
                "commit",
                "--quiet",
                "--allow-empty",
                "-m",
                "x",
            ],
        );
        let hash = git(&self.root, &["rev-parse", "HEAD"]);

        let place = format!(".worktrees/{hash}");
        let add = [
            "worktree",
            "add",
            "--force",
            "--detach",
            &place,
            &hash,
            "--no-checkout",
        ];
        git(&self.root, &add);
        let new = self.root.join(&place);
        git(&new, &["reset", "--quiet", "--hard", &hash, "--"]);
        let before = fs::read_link(self.link()).ok();
        let staged = self.root.join("tmp-link");
        symlink(&place, &staged).unwrap();
        fs::rename(&staged, self.link()).unwrap();
        if let Some(before) = before {
            fs::remove_dir_all(self.root.join(before)).unwrap();
            git(&self.root, &["worktree", "prune"]);
        }
        hash
    }
}
