//! Where the files come from: names and bytes, their digest, and where they were taken. Knows nothing of what a
//! manifest is.

pub mod directory;
pub mod git;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

/// Most files that a tree may have.
pub const MAX_FILES: usize = 10_000;
/// Most bytes that one file may have: 1 MiB.
pub const MAX_FILE_BYTES: u64 = 1024 * 1024;
/// Most bytes that all files together may have: 64 MiB.
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

/// Where a tree was taken from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Provenance {
    /// The folder, with every link resolved; none for a tree that was never on disk.
    pub path: Option<PathBuf>,
    /// The commit that is checked out around the folder, 40 or 64 hexadecimal digits.
    pub commit: Option<String>,
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

/// All files that count, as they were at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tree {
    label: String,
    files: BTreeMap<Arc<str>, Arc<[u8]>>,
    digest: Digest,
    provenance: Provenance,
}

impl Tree {
    /// A tree of names and bytes. Names are relative, with `/` between folders. `label` stands before names in
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
        let digest = digest(&files);
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

    /// The bytes of one file.
    pub fn file(&self, name: &str) -> Option<&Arc<[u8]>> {
        self.files.get(name)
    }

    /// How a diagnostic names a file: the label and the name.
    pub fn display_name(&self, name: &str) -> String {
        match self.label.trim_end_matches('/') {
            "" => name.to_owned(),
            label => format!("{label}/{name}"),
        }
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
}

/// Lengths stand before names and bytes, so that no two trees write the same text.
fn digest(files: &BTreeMap<Arc<str>, Arc<[u8]>>) -> Digest {
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
