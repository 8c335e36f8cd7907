//! Where a tree comes from, as `--config` writes it, and when what is there counts. Everything here blocks.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use super::signature::Verifier;
use super::store::Store;
use super::{Fingerprint, Layer, MAX_FILES, MAX_TREE_BYTES, Tree, TreeError, directory, git};

/// How long a tree must stay the same before it counts.
pub const QUIET_WINDOW: Duration = Duration::from_millis(100);
/// Most times that [`Sources::read_settled`] looks at a tree that keeps changing: with the window, three seconds.
pub const MAX_READS: usize = 30;

/// Where one layer comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A folder of manifests: `gateway.d`.
    Directory(PathBuf),
    /// A folder in a commit of a repository: `git:/srv/config.git#main:gateway.d`.
    Git(git::Location),
    /// The tree that a daemon with this state directory accepted last, with all its layers: `state:/var/lib/tidegate`.
    State(PathBuf),
}

/// What stands before a state directory.
const STATE: &str = "state:";

impl FromStr for Source {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("name the folder that holds the manifests".to_owned());
        }
        if text.starts_with(git::PREFIX) {
            return text.parse().map(Self::Git);
        }
        if let Some(directory) = text.strip_prefix(STATE) {
            if directory.is_empty() {
                return Err("name the state directory: state:/var/lib/tidegate".to_owned());
            }
            return Ok(Self::State(PathBuf::from(directory)));
        }
        Ok(Self::Directory(PathBuf::from(text)))
    }
}

/// As `--config` writes it.
impl fmt::Display for Source {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(folder) => write!(formatter, "{}", folder.display()),
            Self::Git(location) => location.fmt(formatter),
            Self::State(directory) => write!(formatter, "{STATE}{}", directory.display()),
        }
    }
}

impl Source {
    /// Reads it once, as it is: one layer, or those of the tree that is kept. With a verifier, a commit must be signed by
    /// somebody who may.
    fn read(&self, verifier: Option<&Verifier>) -> Result<Vec<Layer>, TreeError> {
        match self {
            Self::Directory(folder) => directory::read(folder).map(|layer| vec![layer]),
            Self::Git(location) => {
                let commit = git::Commit::find(location)?;
                let signer = verifier
                    .map(|verifier| {
                        verifier.signer(&self.to_string(), &commit.id(), commit.object())
                    })
                    .transpose()?;
                commit.read().map(|layer| vec![layer.signed_by(signer)])
            }
            Self::State(directory) => Store::new(directory).layers(),
        }
    }

    /// Whether somebody is changing it right now, so that it cannot be read whole.
    pub fn is_busy(&self) -> bool {
        match self {
            Self::Directory(folder) => directory::is_busy(folder),
            Self::Git(_) | Self::State(_) => false,
        }
    }

    /// Whether one read gives everything as it was at one moment, so that there is no need to read twice.
    pub fn is_atomic(&self) -> bool {
        matches!(self, Self::Git(_) | Self::State(_))
    }

    /// The folder that holds the files, and where relative data paths start if nothing else is said.
    pub fn folder(&self) -> Option<&Path> {
        match self {
            Self::Directory(folder) => Some(folder),
            Self::Git(_) | Self::State(_) => None,
        }
    }

    /// Reads it once, unless it is a commit that was read with the last tree.
    fn read_after(
        &self,
        last: Option<&Tree>,
        verifier: Option<&Verifier>,
    ) -> Result<Vec<Layer>, TreeError> {
        if let (Self::Git(location), Some(last)) = (self, last) {
            let label = location.label();
            let commit = Some(git::Commit::find_id(location)?);
            let known = last
                .layers()
                .iter()
                .find(|layer| layer.label() == label && layer.provenance().commit == commit);
            if let Some(layer) = known {
                return Ok(vec![layer.clone()]);
            }
        }
        self.read(verifier)
    }

    /// Where the files of a layer that was read from it are, so that two layers can be told apart; none of a tree that
    /// is kept, whose layers were told apart before.
    fn place(&self, layer: &Layer) -> Option<PathBuf> {
        match self {
            Self::Directory(_) => layer.provenance().path.clone(),
            Self::Git(location) => {
                let repository = location.repository();
                let repository =
                    fs::canonicalize(repository).unwrap_or_else(|_| repository.to_owned());
                let commit = layer.provenance().commit.as_deref()?;
                let top = format!("{}#{commit}", repository.display());
                Some(Path::new(&top).join(location.folder()))
            }
            Self::State(_) => None,
        }
    }
}

/// What a cheap look at the sources found.
#[derive(Clone, Debug)]
pub enum Look {
    /// What tells whether the tree is a known one; none where it has to be read to be known.
    Fingerprint(Option<Fingerprint>),
    /// The tree itself, read once.
    Tree(Tree),
}

impl Look {
    /// What tells whether the tree is a known one; none where it has to be read to be known.
    pub fn fingerprint(&self) -> Option<&Fingerprint> {
        match self {
            Self::Fingerprint(fingerprint) => fingerprint.as_ref(),
            Self::Tree(tree) => Some(tree.fingerprint()),
        }
    }

    /// The tree, if it was read.
    pub fn into_tree(self) -> Option<Tree> {
        match self {
            Self::Fingerprint(_) => None,
            Self::Tree(tree) => Some(tree),
        }
    }
}

/// Where a tree comes from: one source for each layer, the lowest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sources {
    list: Vec<Source>,
    verifier: Option<Arc<Verifier>>,
}

impl Sources {
    /// The sources of the layers, the lowest first.
    pub fn new(sources: impl IntoIterator<Item = Source>) -> Self {
        Self {
            list: sources.into_iter().collect(),
            verifier: None,
        }
    }

    /// The same, of which only commits count that are signed by somebody whom `signers` allows. Gives back the first
    /// source that is no commit, if there is one.
    pub fn signed(self, signers: PathBuf) -> Result<Self, Source> {
        let unsigned = self
            .list
            .iter()
            .find(|source| !matches!(source, Source::Git(_)));
        match unsigned {
            Some(source) => Err(source.clone()),
            None => Ok(Self {
                verifier: Some(Arc::new(Verifier::new(signers))),
                ..self
            }),
        }
    }

    /// Whether only signed commits count.
    pub fn are_signed(&self) -> bool {
        self.verifier.is_some()
    }

    /// One by one, the lowest first.
    pub fn list(&self) -> &[Source] {
        &self.list
    }

    /// The first source that is written twice in the same words.
    pub fn repeated(&self) -> Option<&Source> {
        let mut sources = self.list.iter().enumerate();
        sources.find_map(|(index, source)| {
            let is_known = self.list.iter().take(index).any(|other| other == source);
            is_known.then_some(source)
        })
    }

    /// Reads all layers once, as they are.
    ///
    /// Fails as the sources do, beyond the limits of [`super`], which hold for all layers together, and when a file
    /// would belong to two layers.
    pub fn read(&self) -> Result<Tree, TreeError> {
        self.read_after(None)
    }

    fn read_after(&self, last: Option<&Tree>) -> Result<Tree, TreeError> {
        self.read_within(last, MAX_FILES, MAX_TREE_BYTES)
    }

    fn read_within(
        &self,
        last: Option<&Tree>,
        most_files: usize,
        most_bytes: u64,
    ) -> Result<Tree, TreeError> {
        let too_large = |message| TreeError {
            path: self.to_string(),
            message,
            help: Some("are these the right folders?".to_owned()),
        };
        let mut layers: Vec<(&Source, Layer)> = Vec::with_capacity(self.list.len());
        let mut files = 0;
        let mut bytes = 0_u64;
        for source in &self.list {
            for layer in source.read_after(last, self.verifier.as_deref())? {
                for (lower, layer_below) in &layers {
                    apart((lower, layer_below), (source, &layer))?;
                }
                files += layer.files().len();
                bytes = bytes.saturating_add(layer.bytes());
                if files > most_files {
                    return Err(too_large(format!(
                        "there are more than {most_files} manifests in all layers together"
                    )));
                }
                if bytes > most_bytes {
                    return Err(too_large(format!(
                        "the manifests of all layers together are larger than {most_bytes} bytes"
                    )));
                }
                layers.push((source, layer));
            }
        }
        Ok(Tree::of(
            layers.into_iter().map(|(_, layer)| layer).collect(),
        ))
    }

    /// A look that is cheap, to tell whether a tree is one of the `known` ones of these sources: of a commit only the name
    /// is looked up. Fails as the sources do.
    pub fn look(&self, known: &[&Fingerprint]) -> Result<Look, TreeError> {
        let is_whole = self.list().iter().all(|source| source.folder().is_some());
        // A tree in which somebody is at work does not count.
        if is_whole && !self.list().iter().any(Source::is_busy) {
            return self.read().map(Look::Tree);
        }
        self.fingerprint(known).map(Look::Fingerprint)
    }

    /// None where a commit is new, or its signer may not be allowed any more, and the tree has to be read to be known.
    pub(super) fn fingerprint(
        &self,
        known: &[&Fingerprint],
    ) -> Result<Option<Fingerprint>, TreeError> {
        let mut prints = Vec::with_capacity(self.list().len());
        for source in self.list() {
            let Source::Git(location) = source else {
                prints.extend(source.read(None)?.iter().map(Layer::print));
                continue;
            };
            let label = location.label();
            let id = git::Commit::find_id(location)?;
            if let Some(verifier) = &self.verifier
                && !verifier.has_verified(&id)
            {
                return Ok(None);
            }
            let commit = Some(id);
            let print = known
                .iter()
                .flat_map(|fingerprint| fingerprint.layers())
                .find(|print| print.label == label && print.commit == commit);
            match print {
                Some(print) => prints.push(print.clone()),
                None => return Ok(None),
            }
        }
        Ok(Some(Fingerprint::of(prints)))
    }

    /// Reads all layers until two reads with a quiet window between them agree and nobody is at work there. Where all
    /// are commits, one read that succeeds is enough. Whether a folder differs from its commit is looked up at the end.
    ///
    /// `pause` waits for the time it is given. Fails as the sources do, when they fail twice alike, and after
    /// [`MAX_READS`].
    pub fn read_settled(&self, pause: &mut dyn FnMut(Duration)) -> Result<Tree, TreeError> {
        self.read_settled_after(None, pause)
    }

    /// The same, where the first read was done already, by [`Sources::look`].
    pub fn read_settled_after(
        &self,
        first: Option<Tree>,
        pause: &mut dyn FnMut(Duration),
    ) -> Result<Tree, TreeError> {
        let is_atomic = self.list().iter().all(Source::is_atomic);
        let mut last: Option<Result<Tree, TreeError>> = first.map(Ok);
        let mut busy = None;
        for attempt in 0..MAX_READS {
            if attempt > 0 || last.is_some() {
                pause(QUIET_WINDOW);
            }
            busy = self.list().iter().find(|source| source.is_busy());
            if busy.is_some() {
                last = None;
                continue;
            }
            let known = last.as_ref().and_then(|last| last.as_ref().ok());
            let now = self.read_after(known);
            if is_atomic && now.is_ok() || last.as_ref() == Some(&now) {
                return now.map(Tree::compared);
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

/// Whether two layers have no file in common.
fn apart(lower: (&Source, &Layer), upper: (&Source, &Layer)) -> Result<(), TreeError> {
    let places = lower.0.place(lower.1).zip(upper.0.place(upper.1));
    let Some((below, above)) = places else {
        return Ok(());
    };
    let refused = |inner: &Source, message: String, help: &str| {
        Err(TreeError {
            path: inner.to_string(),
            message,
            help: Some(help.to_owned()),
        })
    };
    if below == above {
        return refused(
            upper.0,
            format!("this is the same folder as the layer {}", lower.0),
            "give each folder once",
        );
    }
    // What a folder ignores is no part of it.
    let is_seen = |inside: &Path| {
        !inside
            .iter()
            .any(|name| name.as_encoded_bytes().starts_with(b"."))
    };
    let holds = |outer: &Path, inner: &Path| inner.strip_prefix(outer).is_ok_and(&is_seen);
    let (inner, outer) = match (holds(&below, &above), holds(&above, &below)) {
        (true, _) => (upper.0, lower.0),
        (_, true) => (lower.0, upper.0),
        (false, false) => return Ok(()),
    };
    refused(
        inner,
        format!("this layer lies within the layer {outer}, and its files would be read twice"),
        "put the folders of the layers beside each other",
    )
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
    fn a_file_belongs_to_one_layer() {
        let root = folder(&[
            ("base/a.toml", "#"),
            ("base/prod/b.toml", "#"),
            ("base/.host/c.toml", "#"),
        ]);
        std::os::unix::fs::symlink("base/prod", root.path().join("link")).unwrap();
        let at = |name: &str| root.path().join(name);
        let message = |folders: [&str; 2]| {
            let folders = folders.map(at);
            let error = sources(&[&folders[0], &folders[1]]).read().unwrap_err();
            format!(
                "{}: {}",
                Path::new(&error.path).file_name().unwrap().display(),
                error.message
            )
        };
        for folders in [["base", "base/prod"], ["base/prod", "base"]] {
            let said = message(folders);
            assert!(said.starts_with("prod: this layer lies within"), "{said}");
        }
        assert!(message(["base", "link"]).starts_with("link: this layer lies within"));
        assert!(message(["base/prod", "link"]).contains("link: this is the same folder as"));
        // A folder is none of the layer that ignores it.
        let tree = sources(&[&at("base"), &at("base/.host")]).read().unwrap();
        assert_eq!(tree.file_count(), 3);
        let twice = sources(&[&at("base"), &at("link"), &at("link")]);
        assert_eq!(twice.repeated(), Some(&Source::Directory(at("link"))));
        assert_eq!(sources(&[&at("base"), &at("link")]).repeated(), None);
    }

    #[test]
    fn the_limits_hold_for_all_layers_together() {
        let (base, above) = (
            folder(&[("a.toml", "123"), ("b.toml", "4")]),
            folder(&[("a.toml", "567")]),
        );
        let sources = sources(&[base.path(), above.path()]);
        assert!(sources.read_within(None, 3, 7).is_ok());
        let error = sources.read_within(None, 2, 7).unwrap_err();
        let expected = "there are more than 2 manifests in all layers together";
        assert_eq!(error.message, expected);
        let error = sources.read_within(None, 3, 6).unwrap_err();
        let expected = "the manifests of all layers together are larger than 6 bytes";
        assert_eq!(error.message, expected);
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
