//! Where the files come from: names and bytes, their digest, and where they were taken. Knows nothing of what a
//! manifest is but which files it names ([`sidecar`]).

pub mod directory;
pub mod git;
mod handle;
mod process;
pub mod sidecar;
pub mod signature;
pub mod source;
pub mod store;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

pub use source::{Source, Sources};

/// Most files that a tree may have, in all layers together.
pub const MAX_FILES: usize = 25_000;
/// Most bytes that one file may have: 1 MiB.
pub const MAX_FILE_BYTES: u64 = 1024 * 1024;
/// Most bytes that all files of all layers together may have: 64 MiB.
pub const MAX_TREE_BYTES: u64 = 64 * 1024 * 1024;
/// Most folders within folders.
pub const MAX_DEPTH: usize = 16;

/// The digest of a tree: SHA-256 over sorted names and bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    /// The bytes of the digest.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// 64 lower-case hexadecimal digits.
impl fmt::Display for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .iter()
            .try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

/// Where a tree was taken from. Kept beside the last good tree, so a new field has a default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Provenance {
    /// The folder, with every link resolved; none for a tree that was never on disk.
    pub path: Option<PathBuf>,
    /// The commit that it was read from, or that is checked out around the folder: 40 or 64 hexadecimal digits.
    pub commit: Option<String>,
    /// Whether the files differ from those of the commit; none where that is not known. Only
    /// [`Sources::read_settled`] looks.
    pub dirty: Option<bool>,
    /// Who signed the commit: the principal of an SSH key, or the fingerprint of an OpenPGP key. None where nobody asked.
    pub signer: Option<String>,
}

/// Why a tree cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TreeError {
    /// The file or folder, as the caller of the command would write it.
    pub path: String,
    /// What is wrong, lower case, no full stop.
    pub message: String,
    /// What to do instead.
    pub help: Option<String>,
}

impl fmt::Display for TreeError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.path, self.message)
    }
}

impl std::error::Error for TreeError {}

/// The files of one source that count, as they were at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    label: String,
    files: BTreeMap<Arc<str>, Arc<[u8]>>,
    digest: Digest,
    provenance: Provenance,
}

impl Layer {
    /// A layer of names and bytes. Names are relative, with `/` between folders. `label` stands before names in
    /// diagnostics (`gateway.d`); it may be empty and is not part of the digest.
    pub fn new(
        label: impl Into<String>,
        files: impl IntoIterator<Item = (String, Vec<u8>)>,
        provenance: Provenance,
    ) -> Self {
        let files: BTreeMap<Arc<str>, Arc<[u8]>> = files
            .into_iter()
            .map(|(name, bytes)| (Arc::from(name), Arc::from(bytes)))
            .collect();
        let digest = digest_of_files(&files);
        Self {
            label: label.into(),
            files,
            digest,
            provenance,
        }
    }

    /// Names and bytes, sorted by name.
    pub fn files(&self) -> impl ExactSizeIterator<Item = (&Arc<str>, &Arc<[u8]>)> {
        self.files.iter()
    }

    /// Names and bytes of the manifests; the other files are named by them.
    pub fn manifests(&self) -> impl Iterator<Item = (&Arc<str>, &Arc<[u8]>)> {
        self.files()
            .filter(|(name, _)| name.ends_with(sidecar::MANIFEST))
    }

    /// The bytes of one file.
    pub fn file(&self, name: &str) -> Option<&Arc<[u8]>> {
        self.files.get(name)
    }

    /// How many bytes all files have together.
    pub fn bytes(&self) -> u64 {
        self.files.values().map(|bytes| bytes.len() as u64).sum()
    }

    /// What stands before names in diagnostics; may be empty.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// The digest of names and bytes.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Where it was taken from.
    pub fn provenance(&self) -> &Provenance {
        &self.provenance
    }

    /// The same, and who signed its commit.
    #[must_use]
    fn signed_by(mut self, signer: Option<String>) -> Self {
        self.provenance.signer = signer;
        self
    }

    /// What tells whether it is still the same.
    pub fn print(&self) -> LayerPrint {
        LayerPrint {
            label: self.label.clone(),
            digest: self.digest,
            commit: self.provenance.commit.clone(),
        }
    }
}

/// What of a layer tells whether it is still the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerPrint {
    /// Its label.
    pub label: String,
    /// The digest of its names and bytes.
    pub digest: Digest,
    /// Its commit.
    pub commit: Option<String>,
}

/// What of a tree tells whether it is still the same, without its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fingerprint {
    layers: Vec<LayerPrint>,
    digest: Digest,
}

impl Fingerprint {
    /// That of a tree with these layers, the lowest first.
    pub fn of(layers: Vec<LayerPrint>) -> Self {
        let digest = match layers.as_slice() {
            [layer] => layer.digest,
            layers => digest_of_layers(layers),
        };
        Self { layers, digest }
    }

    /// Those of the layers, the lowest first.
    pub fn layers(&self) -> &[LayerPrint] {
        &self.layers
    }

    /// The digest of all names and bytes.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Whether both have the same files, and each layer is of the same commit. The same files in a new commit are a new
    /// revision, so that whoever waits for the newest commit sees it arrive.
    pub fn is_same_revision(&self, other: &Self) -> bool {
        let commits = |print: &Self| {
            let layers = print.layers.iter().map(|layer| layer.commit.clone());
            layers.collect::<Vec<_>>()
        };
        self.digest == other.digest && commits(self) == commits(other)
    }

    /// The commit that all layers are taken from; none when they have none or differ.
    pub fn commit(&self) -> Option<&str> {
        let (first, others) = self.layers.split_first()?;
        let commit = first.commit.as_deref()?;
        others
            .iter()
            .all(|layer| layer.commit.as_deref() == Some(commit))
            .then_some(commit)
    }
}

/// Everything that is served or refused together: one layer or, with overlays, several, the later above the earlier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tree {
    layers: Vec<Layer>,
    fingerprint: Fingerprint,
}

impl Tree {
    /// A tree of one layer; see [`Layer::new`].
    pub fn new(
        label: impl Into<String>,
        files: impl IntoIterator<Item = (String, Vec<u8>)>,
        provenance: Provenance,
    ) -> Self {
        Self::of(vec![Layer::new(label, files, provenance)])
    }

    /// A tree of layers, the lowest first.
    pub fn of(layers: Vec<Layer>) -> Self {
        let fingerprint = Fingerprint::of(layers.iter().map(Layer::print).collect());
        Self {
            layers,
            fingerprint,
        }
    }

    /// The same with every folder compared with the commit around it. Reads repositories, and hashes every file.
    #[must_use]
    fn compared(mut self) -> Self {
        for layer in &mut self.layers {
            if layer.provenance.dirty.is_none() {
                layer.provenance.dirty = git::is_dirty(layer);
            }
        }
        self
    }

    /// The layers, the lowest first.
    pub fn layers(&self) -> &[Layer] {
        &self.layers
    }

    /// How many files all layers have.
    pub fn file_count(&self) -> usize {
        self.layers.iter().map(|layer| layer.files.len()).sum()
    }

    /// How positions name a file of a layer: by its name alone where there is one layer, and with the layer's label
    /// where there are several.
    pub fn file_name(&self, layer: &Layer, name: &Arc<str>) -> Arc<str> {
        match (self.layers.len(), layer.label()) {
            (0 | 1, _) | (_, "") => Arc::clone(name),
            (_, label) => Arc::from(join(label, name)),
        }
    }

    /// What stands before the names of positions in diagnostics: the label of the only layer. Empty for several.
    pub fn label(&self) -> &str {
        match self.layers.as_slice() {
            [layer] => layer.label(),
            _ => "",
        }
    }

    /// The digest of all names and bytes.
    pub fn digest(&self) -> Digest {
        self.fingerprint.digest
    }

    /// What tells whether it is still the same.
    pub fn fingerprint(&self) -> &Fingerprint {
        &self.fingerprint
    }

    /// The commit that all layers are taken from; none when they have none or differ.
    pub fn commit(&self) -> Option<&str> {
        self.fingerprint.commit()
    }

    /// Who signed the commits of the layers, each once, separated by commas; none unless all are signed.
    pub fn signer(&self) -> Option<String> {
        let mut signers: Vec<&str> = Vec::new();
        for layer in &self.layers {
            let signer = layer.provenance.signer.as_deref()?;
            if !signers.contains(&signer) {
                signers.push(signer);
            }
        }
        (!signers.is_empty()).then(|| signers.join(", "))
    }

    /// Whether any layer differs from its commit; none where that is not known of all and none is known to.
    pub fn dirty(&self) -> Option<bool> {
        let mut layers = self.layers.iter().map(|layer| layer.provenance.dirty);
        if layers.clone().any(|dirty| dirty == Some(true)) {
            return Some(true);
        }
        layers.all(|dirty| dirty.is_some()).then_some(false)
    }
}

/// The name of a file behind the label of its layer, as people find it: `gateway.d/roles.toml`,
/// `git:/srv/config.git#main:roles.toml`.
pub fn join(label: &str, name: &str) -> String {
    match label.trim_end_matches('/') {
        "" => name.to_owned(),
        label if label.ends_with(':') => format!("{label}{name}"),
        label => format!("{label}/{name}"),
    }
}

fn digest_of_layers(layers: &[LayerPrint]) -> Digest {
    let mut hasher = Sha256::new();
    hasher.update(b"layers");
    for layer in layers {
        hasher.update(layer.digest.as_bytes());
    }
    Digest(hasher.finalize().into())
}

/// Lengths stand before names and bytes, so that no two trees write the same text.
fn digest_of_files(files: &BTreeMap<Arc<str>, Arc<[u8]>>) -> Digest {
    let mut hasher = Sha256::new();
    for (name, bytes) in files {
        for part in [name.as_bytes(), bytes] {
            hasher.update((part.len() as u64).to_be_bytes());
            hasher.update(part);
        }
    }
    Digest(hasher.finalize().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &[(&str, &str)]) -> Tree {
        let files = files
            .iter()
            .map(|(name, text)| ((*name).to_owned(), text.as_bytes().to_vec()));
        Tree::new("", files, Provenance::default())
    }

    #[test]
    fn layers_keep_their_order_and_their_names() {
        let layer = |label: &str, text: &str| {
            let files = [("a.toml".to_owned(), text.as_bytes().to_vec())];
            Layer::new(label, files, Provenance::default())
        };
        let tree = Tree::of(vec![layer("base", "1"), layer("prod", "2")]);
        let turned = Tree::of(vec![layer("prod", "2"), layer("base", "1")]);
        assert_ne!(tree.digest(), turned.digest());
        let names: Vec<Arc<str>> = tree
            .layers()
            .iter()
            .flat_map(|layer| layer.files().map(|(name, _)| tree.file_name(layer, name)))
            .collect();
        assert_eq!(names, [Arc::from("base/a.toml"), Arc::from("prod/a.toml")]);
        assert_eq!((tree.label(), tree.file_count()), ("", 2));
        let alone = Tree::of(vec![layer("base", "1")]);
        assert_eq!(alone.digest(), tree.layers()[0].digest());
        assert_eq!(alone.label(), "base");
    }

    #[test]
    fn the_digest_depends_on_names_and_bytes_and_not_on_order() {
        let one = tree(&[("a.toml", "1"), ("b.toml", "2")]);
        assert_eq!(
            one.digest(),
            tree(&[("b.toml", "2"), ("a.toml", "1")]).digest()
        );
        for other in [
            tree(&[("a.toml", "1"), ("b.toml", "3")]),
            tree(&[("a.toml", "1"), ("c.toml", "2")]),
            tree(&[("a.toml", "1b.toml2")]),
            tree(&[("a.toml", ""), ("1b.toml", "2")]),
            tree(&[]),
        ] {
            assert_ne!(one.digest(), other.digest());
        }
        assert_eq!(one.digest().to_string().len(), 64);
    }
}
