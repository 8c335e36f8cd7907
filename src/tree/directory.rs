//! A folder as a layer of a tree. Everything here blocks; callers run it on a thread that may.
//!
//! The root's links are resolved once and every file is read below that place, so a link that is flipped in the
//! middle (Kubernetes, git-sync) cannot mix two generations.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use super::{
    Layer, MAX_DEPTH, MAX_FILE_BYTES, MAX_FILES, MAX_TREE_BYTES, Provenance, TreeError, git,
};

/// Reads a folder once, as it is.
///
/// Takes every file whose name ends in `.toml`, in every folder below. Names that begin with `.` are ignored. Links
/// are followed when they stay inside the folder. Fails when there is no such folder, when a link leaves it or leads
/// nowhere, when something cannot be read, and beyond the limits of [`super`].
pub fn read(folder: &Path) -> Result<Layer, TreeError> {
    let label = folder.display().to_string();
    let root = fs::canonicalize(folder)
        .map_err(|error| unreadable(&label, &error, "create it, or name the right one"))?;
    if !root.is_dir() {
        return Err(TreeError {
            path: label,
            message: "this is not a folder".to_owned(),
            help: Some("name the folder that holds the manifests".to_owned()),
        });
    }
    let mut walk = Walk {
        label: &label,
        root: &root,
        files: BTreeMap::new(),
        bytes: 0,
    };
    walk.folder(&root, "", &mut vec![root.clone()])?;
    let files = walk.files;
    let commit = git::directory_around(&root).and_then(|directory| git::commit(&directory));
    let provenance = Provenance {
        path: Some(root.clone()),
        commit,
        dirty: None,
    };
    Ok(Layer::new(label, files, provenance))
}

/// Whether a git command is changing the work tree around a folder right now.
pub fn is_busy(folder: &Path) -> bool {
    fs::canonicalize(folder)
        .ok()
        .and_then(|root| git::directory_around(&root))
        .is_some_and(|directory| git::is_busy(&directory))
}

struct Walk<'a> {
    label: &'a str,
    root: &'a Path,
    files: BTreeMap<String, Vec<u8>>,
    bytes: u64,
}

impl Walk<'_> {
    /// `prefix` is the folder's name within the tree; `stack` holds the folders around it, links resolved.
    fn folder(
        &mut self,
        folder: &Path,
        prefix: &str,
        stack: &mut Vec<PathBuf>,
    ) -> Result<(), TreeError> {
        let entries = fs::read_dir(folder).map_err(|error| self.unreadable(prefix, &error))?;
        for entry in entries {
            let entry = entry.map_err(|error| self.unreadable(prefix, &error))?;
            let name = entry.file_name();
            let Some(name) = name.to_str() else {
                if name.to_string_lossy().ends_with(".toml") {
                    return Err(self.refused(
                        &format!("{prefix}{}", name.to_string_lossy()),
                        "the file's name is not UTF-8",
                        "rename it",
                    ));
                }
                continue;
            };
            if name.starts_with('.') {
                continue;
            }
            let relative = format!("{prefix}{name}");
            self.entry(&entry.path(), &relative, stack)?;
        }
        Ok(())
    }

    fn entry(
        &mut self,
        path: &Path,
        relative: &str,
        stack: &mut Vec<PathBuf>,
    ) -> Result<(), TreeError> {
        let kind = fs::symlink_metadata(path)
            .map_err(|error| self.unreadable(relative, &error))?
            .file_type();
        let is_manifest = Path::new(relative)
            .extension()
            .is_some_and(|extension| extension == "toml");
        let target = if kind.is_symlink() {
            match fs::canonicalize(path) {
                Ok(target) if target.starts_with(self.root) => target,
                // A link that cannot matter is nobody's mistake.
                Ok(target) if !is_manifest && !target.is_dir() => return Ok(()),
                Err(_) if !is_manifest => return Ok(()),
                Ok(_) => {
                    return Err(self.refused(
                        relative,
                        "this link leaves the tree",
                        "move the target into the tree, or remove the link",
                    ));
                }
                Err(_) => {
                    return Err(self.refused(
                        relative,
                        "this link leads nowhere",
                        "mend or remove the link",
                    ));
                }
            }
        } else {
            path.to_owned()
        };
        let metadata = fs::metadata(&target).map_err(|error| self.unreadable(relative, &error))?;
        if metadata.is_dir() {
            if stack.contains(&target) {
                return Err(self.refused(
                    relative,
                    "this link leads back to a folder around it",
                    "remove the link",
                ));
            }
            if stack.len() > MAX_DEPTH {
                return Err(self.refused(
                    relative,
                    &format!("folders are nested more than {MAX_DEPTH} deep"),
                    "move it up",
                ));
            }
            stack.push(target.clone());
            self.folder(&target, &format!("{relative}/"), stack)?;
            stack.pop();
            return Ok(());
        }
        if is_manifest && metadata.is_file() {
            self.file(&target, relative)?;
        }
        Ok(())
    }

    fn file(&mut self, path: &Path, relative: &str) -> Result<(), TreeError> {
        if self.files.len() >= MAX_FILES {
            return Err(self.refused(
                "",
                &format!("there are more than {MAX_FILES} manifests"),
                "is this the right folder?",
            ));
        }
        let mut bytes = Vec::new();
        File::open(path)
            .and_then(|file| file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes))
            .map_err(|error| self.unreadable(relative, &error))?;
        let length = bytes.len() as u64;
        if length > MAX_FILE_BYTES {
            return Err(self.refused(
                relative,
                &format!("the file is larger than {MAX_FILE_BYTES} bytes"),
                "split it into several files",
            ));
        }
        self.bytes += length;
        if self.bytes > MAX_TREE_BYTES {
            return Err(self.refused(
                "",
                &format!("the manifests together are larger than {MAX_TREE_BYTES} bytes"),
                "is this the right folder?",
            ));
        }
        self.files.insert(relative.to_owned(), bytes);
        Ok(())
    }

    fn path(&self, relative: &str) -> String {
        match relative.trim_end_matches('/') {
            "" => self.label.to_owned(),
            relative => format!("{}/{relative}", self.label.trim_end_matches('/')),
        }
    }

    fn refused(&self, relative: &str, message: &str, help: &str) -> TreeError {
        TreeError {
            path: self.path(relative),
            message: message.to_owned(),
            help: Some(help.to_owned()),
        }
    }

    fn unreadable(&self, relative: &str, error: &io::Error) -> TreeError {
        unreadable(
            &self.path(relative),
            error,
            "it must be there while the tree is read",
        )
    }
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
    use std::os::unix::fs::symlink;

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
            ("b.toml", ""),
            ("a/c.toml", ""),
            (".hidden.toml", ""),
            (".git/x.toml", ""),
            ("chinook.db", ""),
            ("b.toml~", ""),
            ("#b.toml#", ""),
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
    fn links_that_leave_the_tree_lead_nowhere_or_loop_are_refused() {
        let outside = folder(&[("x.toml", ""), ("f/y.toml", "")]);
        for (target, message) in [
            (outside.path().join("x.toml"), "leaves the tree"),
            (outside.path().join("f"), "leaves the tree"),
            (outside.path().join("none"), "leads nowhere"),
            (PathBuf::from("."), "leads back"),
        ] {
            let folder = folder(&[("a.toml", "")]);
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
