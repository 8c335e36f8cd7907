//! A commit that was found by a name, and the tree below its folder.

use std::collections::BTreeMap;

use gix::ObjectId;
use gix::objs::Kind;

use super::location::Location;
use super::repository::Repository;
use super::walk::{self, MAX_COMMIT_BYTES};
use crate::tree::{Layer, MAX_FILE_BYTES, MAX_TREE_BYTES, Provenance, TreeError, join, sidecar};

/// A commit, found. What is read below it is what was committed, whatever moves meanwhile.
pub struct Commit {
    location: Location,
    repository: Repository,
    id: ObjectId,
    object: Vec<u8>,
}

impl Commit {
    /// Finds the commit that a location means now. Fails when there is no repository, no such reference, when that is no
    /// commit, and when it cannot be read.
    pub fn find(location: &Location) -> Result<Self, TreeError> {
        let repository = Repository::open(location.repository())?;
        let id = repository.resolve(location)?;
        let path = location.to_string();
        let object = repository.object(id, Kind::Commit, MAX_COMMIT_BYTES, &path)?;
        Ok(Self {
            location: location.clone(),
            repository,
            id,
            object,
        })
    }

    /// Only the name of the commit that a location means now, for a look that is cheap.
    pub fn find_id(location: &Location) -> Result<String, TreeError> {
        let repository = Repository::open(location.repository())?;
        repository.resolve(location).map(|id| id.to_string())
    }

    /// Its name: 40 hexadecimal digits.
    pub fn id(&self) -> String {
        self.id.to_string()
    }

    /// Its bytes, as `git cat-file commit` prints them: what a signature in it signs. They hash to its name.
    pub fn object(&self) -> &[u8] {
        &self.object
    }

    /// Reads the manifests below its folder. Fails as [`directory::read`](crate::tree::directory::read) does; every
    /// object must hash to its name.
    pub fn read(&self) -> Result<Layer, TreeError> {
        let label = self.location.label();
        let folder = self.location.folder();
        let manifests = walk::manifests(&self.repository, self.id, folder, &label)?;
        let mut files = Vec::with_capacity(manifests.len());
        let mut total: u64 = 0;
        self.take(manifests, &label, &mut total, &mut files)?;
        let named = files.iter();
        let named = sidecar::of(named.map(|(name, bytes)| (name.as_str(), bytes.as_slice())));
        let sidecars = walk::sidecars(&self.repository, self.id, folder, &label, &named)?;
        self.take(sidecars, &label, &mut total, &mut files)?;
        let provenance = Provenance {
            path: None,
            commit: Some(self.id()),
            dirty: Some(false),
            signer: None,
        };
        Ok(Layer::new(label, files, provenance))
    }

    /// Reads files, as far as all together are not too large.
    fn take(
        &self,
        names: BTreeMap<String, ObjectId>,
        label: &str,
        total: &mut u64,
        files: &mut Vec<(String, Vec<u8>)>,
    ) -> Result<(), TreeError> {
        for (name, id) in names {
            let path = join(label, &name);
            let bytes = self
                .repository
                .object(id, Kind::Blob, MAX_FILE_BYTES, &path)?;
            *total = total.saturating_add(bytes.len() as u64);
            if *total > MAX_TREE_BYTES {
                return Err(TreeError {
                    path: label.to_owned(),
                    message: format!(
                        "the manifests together are larger than {MAX_TREE_BYTES} bytes"
                    ),
                    help: Some("is this the right folder?".to_owned()),
                });
            }
            files.push((name, bytes));
        }
        Ok(())
    }
}
