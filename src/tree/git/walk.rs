//! The manifests below a folder of a commit: their names and the names of their blobs. The rules are those of
//! [`directory`](crate::tree::directory), so that a commit and its checkout are the same tree.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use gix::ObjectId;
use gix::objs::tree::EntryKind;
use gix::objs::{CommitRefIter, Kind, TreeRefIter};

use super::repository::{DAMAGED, Repository, short};
use crate::error::nearest;
use crate::tree::{MAX_DEPTH, MAX_FILES, TreeError, join};

/// Most folders that are looked into, those behind links counted every time: an end to links within links.
const MAX_FOLDERS: usize = 100_000;
/// Most bytes that the list of one folder may have: 16 MiB.
const MAX_FOLDER_BYTES: u64 = 16 * 1024 * 1024;
/// Most bytes of a commit: 1 MiB.
pub(super) const MAX_COMMIT_BYTES: u64 = 1024 * 1024;
/// Most bytes of the target of a link, as Linux has it.
const MAX_LINK_BYTES: u64 = 4096;
/// Most links that lead from one to the next, as Linux has it.
const MAX_LINKS: usize = 40;
/// Most names that a message lists.
const MAX_LISTED: usize = 8;

/// One name in a folder.
#[derive(Clone, Copy)]
struct Entry {
    kind: EntryKind,
    id: ObjectId,
}

type Folder = Arc<BTreeMap<Vec<u8>, Entry>>;

/// The folders from the top of the commit to a place in it, by name; all links are resolved.
#[derive(Clone, PartialEq, Eq)]
struct Place(Vec<(Vec<u8>, ObjectId)>);

impl Place {
    fn starts_with(&self, base: &Self) -> bool {
        self.0.starts_with(&base.0)
    }
}

/// Where a path leads.
enum Target {
    Folder(Place),
    File {
        id: ObjectId,
        within: Place,
    },
    Submodule,
    /// Out of the commit, which holds nothing of what is there.
    Outside,
    Nowhere,
}

/// Why there is nothing below a folder.
pub(super) enum Missing {
    /// The commit has no such folder.
    Folder(TreeError),
    /// It has, and the manifests below cannot be taken.
    Refused(TreeError),
}

impl From<Missing> for TreeError {
    fn from(missing: Missing) -> Self {
        match missing {
            Missing::Folder(error) | Missing::Refused(error) => error,
        }
    }
}

impl From<TreeError> for Missing {
    fn from(error: TreeError) -> Self {
        Self::Refused(error)
    }
}

/// The manifests of a commit below `folder`, and the blobs that hold them. `label` stands before their names in errors.
pub(super) fn manifests(
    repository: &Repository,
    commit: ObjectId,
    folder: &str,
    label: &str,
) -> Result<BTreeMap<String, ObjectId>, Missing> {
    let mut walk = Walk::begin(repository, commit, folder, label)?;
    let base = walk.base.clone();
    walk.folder(&base, "", &mut vec![base.clone()])?;
    Ok(walk.files)
}

/// Of these files below `folder`, those that the commit has, and the blobs that hold them.
pub(super) fn sidecars(
    repository: &Repository,
    commit: ObjectId,
    folder: &str,
    label: &str,
    names: &BTreeSet<String>,
) -> Result<BTreeMap<String, ObjectId>, Missing> {
    if names.is_empty() {
        return Ok(BTreeMap::new());
    }
    let mut walk = Walk::begin(repository, commit, folder, label)?;
    let base = walk.base.clone();
    for name in names {
        match walk.resolve(&base, name.as_bytes())? {
            Target::File { id, within } if within.starts_with(&base) => {
                walk.file(name.clone(), id)?;
            }
            Target::File { .. } | Target::Outside => {
                let error = walk.refused(
                    name,
                    "this link leaves the tree",
                    "move the target into the tree, or remove the link",
                );
                return Err(error.into());
            }
            Target::Folder(_) | Target::Submodule | Target::Nowhere => {}
        }
    }
    Ok(walk.files)
}

struct Walk<'a> {
    repository: &'a Repository,
    label: &'a str,
    top: ObjectId,
    base: Place,
    /// Lists that were read, by the names of their objects.
    folders: BTreeMap<ObjectId, Folder>,
    /// Targets of links that were read.
    links: BTreeMap<ObjectId, Arc<[u8]>>,
    visited: usize,
    files: BTreeMap<String, ObjectId>,
}

impl<'a> Walk<'a> {
    fn begin(
        repository: &'a Repository,
        commit: ObjectId,
        folder: &str,
        label: &'a str,
    ) -> Result<Self, Missing> {
        let bytes = repository.object(commit, Kind::Commit, MAX_COMMIT_BYTES, label)?;
        let top = CommitRefIter::from_bytes(&bytes, repository.hash_kind())
            .tree_id()
            .map_err(|error| {
                repository.refused(format!("the commit {commit}: {error}"), DAMAGED)
            })?;
        let mut walk = Self {
            repository,
            label,
            top,
            base: Place(Vec::new()),
            folders: BTreeMap::new(),
            links: BTreeMap::new(),
            visited: 0,
            files: BTreeMap::new(),
        };
        walk.base = walk.start(commit, folder)?;
        Ok(walk)
    }
}

impl Walk<'_> {
    /// The folder that the walk begins in.
    fn start(&mut self, commit: ObjectId, folder: &str) -> Result<Place, Missing> {
        let top = Place(Vec::new());
        match self.resolve(&top, folder.as_bytes())? {
            Target::Folder(place) => Ok(place),
            Target::File { .. } => {
                let help = match folder.rsplit_once('/') {
                    Some((around, _)) => format!("name the folder that holds it: {around}"),
                    None => {
                        "leave it out: the folder that holds it is the top of the commit".to_owned()
                    }
                };
                Err(Missing::Folder(self.refused(
                    "",
                    "this is a file, not a folder",
                    help,
                )))
            }
            Target::Submodule => Err(Missing::Folder(self.submodule(""))),
            Target::Outside | Target::Nowhere => {
                let message = format!("the commit {} has no such folder", short(commit));
                let around = folder.rsplit_once('/').map_or("", |(around, _)| around);
                let help = self.neighbours(around, folder)?;
                Err(Missing::Folder(self.refused("", message, help)))
            }
        }
    }

    /// What to write instead of a folder that is not there.
    fn neighbours(&mut self, around: &str, wrong: &str) -> Result<String, TreeError> {
        let Target::Folder(place) = self.resolve(&Place(Vec::new()), around.as_bytes())? else {
            return Ok(format!("there is no folder {around} either"));
        };
        let list = self.list(&place)?;
        let folders: Vec<String> = list
            .iter()
            .filter(|(_, entry)| entry.kind == EntryKind::Tree)
            .filter_map(|(name, _)| std::str::from_utf8(name).ok())
            .map(|name| join(around, name))
            .collect();
        Ok(match nearest(wrong, folders.iter().map(String::as_str)) {
            Some(near) => format!("did you mean `{near}`?"),
            None if folders.is_empty() => "there are no folders in it".to_owned(),
            None => {
                let listed: Vec<&str> = folders
                    .iter()
                    .map(String::as_str)
                    .take(MAX_LISTED)
                    .collect();
                let more = if folders.len() > MAX_LISTED {
                    ", …"
                } else {
                    ""
                };
                format!("folders there are {}{more}", listed.join(", "))
            }
        })
    }

    /// `prefix` is the folder's name within the tree; `stack` holds the folders around it, links resolved.
    fn folder(
        &mut self,
        place: &Place,
        prefix: &str,
        stack: &mut Vec<Place>,
    ) -> Result<(), TreeError> {
        self.visited += 1;
        if self.visited > MAX_FOLDERS {
            return Err(self.refused(
                "",
                format!("there are more than {MAX_FOLDERS} folders"),
                "is this the right folder?",
            ));
        }
        let list = self.list(place)?;
        for (name, entry) in list.iter() {
            let Ok(name) = std::str::from_utf8(name) else {
                let name = String::from_utf8_lossy(name);
                if name.ends_with(".toml") {
                    return Err(self.refused(
                        &format!("{prefix}{name}"),
                        "the file's name is not UTF-8",
                        "rename it",
                    ));
                }
                continue;
            };
            if !name.starts_with('.') {
                self.entry(place, name, *entry, prefix, stack)?;
            }
        }
        Ok(())
    }

    fn entry(
        &mut self,
        place: &Place,
        name: &str,
        entry: Entry,
        prefix: &str,
        stack: &mut Vec<Place>,
    ) -> Result<(), TreeError> {
        let relative = format!("{prefix}{name}");
        let is_manifest = Path::new(name)
            .extension()
            .is_some_and(|extension| extension == "toml");
        match entry.kind {
            EntryKind::Blob | EntryKind::BlobExecutable if is_manifest => {
                self.file(relative, entry.id)
            }
            EntryKind::Blob | EntryKind::BlobExecutable => Ok(()),
            EntryKind::Tree => {
                let mut inner = place.clone();
                inner.0.push((name.as_bytes().to_vec(), entry.id));
                self.descend(&inner, &relative, stack)
            }
            EntryKind::Commit => Err(self.submodule(&relative)),
            EntryKind::Link => {
                let target = self.link(entry.id)?;
                match self.resolve(place, &target)? {
                    Target::Folder(target) if target.starts_with(&self.base) => {
                        self.descend(&target, &relative, stack)
                    }
                    Target::File { id, within } if within.starts_with(&self.base) => {
                        if is_manifest {
                            self.file(relative, id)
                        } else {
                            Ok(())
                        }
                    }
                    Target::Submodule => Err(self.submodule(&relative)),
                    // A link that cannot matter is nobody's mistake.
                    Target::File { .. } | Target::Outside | Target::Nowhere if !is_manifest => {
                        Ok(())
                    }
                    Target::Nowhere => Err(self.refused(
                        &relative,
                        "this link leads nowhere",
                        "mend or remove the link",
                    )),
                    Target::Folder(_) | Target::File { .. } | Target::Outside => Err(self.refused(
                        &relative,
                        "this link leaves the tree",
                        "move the target into the tree, or remove the link",
                    )),
                }
            }
        }
    }

    fn descend(
        &mut self,
        place: &Place,
        relative: &str,
        stack: &mut Vec<Place>,
    ) -> Result<(), TreeError> {
        if stack.contains(place) {
            return Err(self.refused(
                relative,
                "this link leads back to a folder around it",
                "remove the link",
            ));
        }
        if stack.len() > MAX_DEPTH {
            return Err(self.refused(
                relative,
                format!("folders are nested more than {MAX_DEPTH} deep"),
                "move it up",
            ));
        }
        stack.push(place.clone());
        self.folder(place, &format!("{relative}/"), stack)?;
        stack.pop();
        Ok(())
    }

    fn file(&mut self, relative: String, id: ObjectId) -> Result<(), TreeError> {
        if self.files.len() >= MAX_FILES {
            return Err(self.refused(
                "",
                format!("there are more than {MAX_FILES} manifests"),
                "is this the right folder?",
            ));
        }
        self.files.insert(relative, id);
        Ok(())
    }

    /// Where a path leads that begins in the folder `from`, through however many links.
    fn resolve(&mut self, from: &Place, path: &[u8]) -> Result<Target, TreeError> {
        // What is still to be walked, the next part last.
        let mut parts: Vec<Vec<u8>> = Vec::new();
        let push = |parts: &mut Vec<Vec<u8>>, path: &[u8]| {
            parts.extend(path.split(|byte| *byte == b'/').rev().map(<[u8]>::to_vec));
        };
        if path.starts_with(b"/") {
            return Ok(Target::Outside);
        }
        push(&mut parts, path);
        let mut place = from.clone();
        let mut links = 0;
        while let Some(part) = parts.pop() {
            match part.as_slice() {
                b"" | b"." => continue,
                b".." => {
                    if place.0.pop().is_none() {
                        return Ok(Target::Outside);
                    }
                    continue;
                }
                _ => {}
            }
            let list = self.list(&place)?;
            let Some(entry) = list.get(&part) else {
                return Ok(Target::Nowhere);
            };
            match entry.kind {
                EntryKind::Tree => place.0.push((part, entry.id)),
                EntryKind::Commit => return Ok(Target::Submodule),
                EntryKind::Blob | EntryKind::BlobExecutable => {
                    return Ok(if parts.is_empty() {
                        Target::File {
                            id: entry.id,
                            within: place,
                        }
                    } else {
                        Target::Nowhere
                    });
                }
                EntryKind::Link => {
                    links += 1;
                    let target = self.link(entry.id)?;
                    if links > MAX_LINKS {
                        return Ok(Target::Nowhere);
                    }
                    if target.starts_with(b"/") {
                        return Ok(Target::Outside);
                    }
                    push(&mut parts, &target);
                }
            }
        }
        Ok(Target::Folder(place))
    }

    fn link(&mut self, id: ObjectId) -> Result<Arc<[u8]>, TreeError> {
        if let Some(target) = self.links.get(&id) {
            return Ok(Arc::clone(target));
        }
        let target: Arc<[u8]> = self
            .repository
            .object(id, Kind::Blob, MAX_LINK_BYTES, self.label)?
            .into();
        self.links.insert(id, Arc::clone(&target));
        Ok(target)
    }

    fn list(&mut self, place: &Place) -> Result<Folder, TreeError> {
        let id = place.0.last().map_or(self.top, |(_, id)| *id);
        if let Some(list) = self.folders.get(&id) {
            return Ok(Arc::clone(list));
        }
        let bytes = self
            .repository
            .object(id, Kind::Tree, MAX_FOLDER_BYTES, self.label)?;
        let list = TreeRefIter::from_bytes(&bytes, self.repository.hash_kind())
            .map(|entry| {
                let entry = entry.map_err(|error| {
                    self.repository
                        .refused(format!("the object {id}: {error}"), DAMAGED)
                })?;
                let found = Entry {
                    kind: entry.mode.kind(),
                    id: entry.oid.to_owned(),
                };
                Ok((entry.filename.to_vec(), found))
            })
            .collect::<Result<BTreeMap<_, _>, TreeError>>()?;
        let list = Arc::new(list);
        self.folders.insert(id, Arc::clone(&list));
        Ok(list)
    }

    fn submodule(&self, relative: &str) -> TreeError {
        self.refused(
            relative,
            "this is a submodule, and its files are in another repository",
            "name the folder of manifests behind the reference (#main:gateway.d), or make the other repository a layer of its own",
        )
    }

    fn refused(
        &self,
        relative: &str,
        message: impl Into<String>,
        help: impl Into<String>,
    ) -> TreeError {
        TreeError {
            path: match relative {
                "" => self.label.to_owned(),
                relative => join(self.label, relative),
            },
            message: message.into(),
            help: Some(help.into()),
        }
    }
}
