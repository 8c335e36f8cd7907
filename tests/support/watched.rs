//! A tree of manifests that a test edits while it is being served.

use std::path::PathBuf;

use tempfile::TempDir;

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
            std::fs::create_dir(root.path().join(folder)).unwrap();
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
        std::fs::write(&staged, text).unwrap();
        let target = self.tree().join(name);
        std::fs::create_dir_all(target.parent().unwrap()).unwrap();
        std::fs::rename(staged, target).unwrap();
    }

    /// Deletes a file of the tree.
    pub fn remove(&self, name: &str) {
        std::fs::remove_file(self.tree().join(name)).unwrap();
    }
}
