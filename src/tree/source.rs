//! Where a tree comes from, as `--config` writes it, and when what is there counts. Everything here blocks.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use super::{Layer, Tree, TreeError, directory};

/// How long a tree must stay the same before it counts.
pub const QUIET_WINDOW: Duration = Duration::from_millis(100);
/// Most times that [`Sources::read_settled`] looks at a tree that keeps changing: with the window, three seconds.
pub const MAX_READS: usize = 30;

/// Where one layer comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A folder of manifests: `gateway.d`.
    Directory(PathBuf),
}

impl FromStr for Source {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("name the folder that holds the manifests".to_owned());
        }
        Ok(Self::Directory(PathBuf::from(text)))
    }
}

/// As `--config` writes it.
impl fmt::Display for Source {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(folder) => write!(formatter, "{}", folder.display()),
        }
    }
}

impl Source {
    /// Reads it once, as it is.
    pub fn read(&self) -> Result<Layer, TreeError> {
        match self {
            Self::Directory(folder) => directory::read(folder),
        }
    }

    /// Whether somebody is changing it right now, so that it cannot be read whole.
    pub fn is_busy(&self) -> bool {
        match self {
            Self::Directory(folder) => directory::is_busy(folder),
        }
    }

    /// The folder that holds the files, and where relative data paths start if nothing else is said.
    pub fn folder(&self) -> Option<&Path> {
        match self {
            Self::Directory(folder) => Some(folder),
        }
    }
}

/// Where a tree comes from: one source for each layer, the lowest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sources(Vec<Source>);

impl Sources {
    /// The sources of the layers, the lowest first.
    pub fn new(sources: impl IntoIterator<Item = Source>) -> Self {
        Self(sources.into_iter().collect())
    }

    /// One by one, the lowest first.
    pub fn list(&self) -> &[Source] {
        &self.0
    }

    /// Reads all layers once, as they are.
    pub fn read(&self) -> Result<Tree, TreeError> {
        let layers = self
            .list()
            .iter()
            .map(Source::read)
            .collect::<Result<_, _>>()?;
        Ok(Tree::of(layers))
    }

    /// Reads all layers until two reads with a quiet window between them agree and nobody is at work there.
    ///
    /// `pause` waits for the time it is given. Fails as the sources do, when they fail twice alike, and after
    /// [`MAX_READS`].
    pub fn read_settled(&self, pause: &mut dyn FnMut(Duration)) -> Result<Tree, TreeError> {
        let mut last = None;
        let mut busy = None;
        for attempt in 0..MAX_READS {
            if attempt > 0 {
                pause(QUIET_WINDOW);
            }
            busy = self.list().iter().find(|source| source.is_busy());
            if busy.is_some() {
                last = None;
                continue;
            }
            let now = self.read();
            if last.as_ref() == Some(&now) {
                return now;
            }
            last = Some(now);
        }
        Err(match busy {
            Some(source) => TreeError {
                path: source.to_string(),
                message: "git is changing this work tree: index.lock is there".to_owned(),
                help: Some("if no git command is running, remove .git/index.lock".to_owned()),
            },
            None => TreeError {
                path: self.to_string(),
                message: "the files keep changing".to_owned(),
                help: None,
            },
        })
    }
}

/// The sources, separated by commas.
impl fmt::Display for Sources {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, source) in self.list().iter().enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            write!(formatter, "{separator}{source}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests may block")]
mod tests {
    use super::*;
    use std::fs;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        folder
    }

    fn sources(folders: &[&Path]) -> Sources {
        Sources::new(
            folders
                .iter()
                .map(|folder| Source::Directory((*folder).to_owned())),
        )
    }

    fn bytes(tree: &Tree, layer: usize) -> Vec<u8> {
        tree.layers()[layer].file("a.toml").unwrap().to_vec()
    }

    #[test]
    fn a_tree_counts_once_all_its_layers_read_twice_alike() {
        let base = folder(&[("a.toml", "base")]);
        let above = folder(&[("a.toml", "half")]);
        let file = above.path().join("a.toml");
        let mut pauses = 0;
        let tree = sources(&[base.path(), above.path()])
            .read_settled(&mut |_| {
                pauses += 1;
                if pauses == 1 {
                    fs::write(&file, "half and the rest").unwrap();
                }
            })
            .unwrap();
        assert_eq!(bytes(&tree, 0), b"base");
        assert_eq!(bytes(&tree, 1), b"half and the rest");
        assert_eq!(pauses, 2);
    }

    #[test]
    fn a_tree_that_never_settles_is_an_error_in_the_end() {
        let folder = folder(&[("a.toml", "a")]);
        let file = folder.path().join("a.toml");
        let mut count = 0;
        let error = sources(&[folder.path()])
            .read_settled(&mut |_| {
                count += 1;
                fs::write(&file, count.to_string()).unwrap();
            })
            .unwrap_err();
        assert!(error.message.contains("keep changing"), "{error}");
    }

    #[test]
    fn a_running_git_command_is_waited_for() {
        let folder = folder(&[(".git/index.lock", ""), ("gateway.d/a.toml", "a")]);
        let lock = folder.path().join(".git/index.lock");
        let sources = sources(&[&folder.path().join("gateway.d")]);
        let mut pauses = 0;
        let tree = sources.read_settled(&mut |_| {
            pauses += 1;
            if pauses == 3 {
                fs::remove_file(&lock).unwrap();
            }
        });
        assert_eq!(bytes(&tree.unwrap(), 0), b"a");
        assert_eq!(pauses, 4);
        fs::write(&lock, "").unwrap();
        let error = sources.read_settled(&mut |_| {}).unwrap_err();
        assert!(error.message.contains("index.lock"), "{error}");
    }
}
