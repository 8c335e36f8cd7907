//! What git says of a folder: which commit is checked out around it, whether git is at work there, and whether the
//! folder is as the commit has it; and the tree of a commit, straight from the object store of a repository.
//!
//! For a folder everything unexpected is "unknown": a tree is good without git.

#![expect(
    clippy::disallowed_methods,
    reason = "files are read in tree only; callers run it on a thread that may block"
)]

mod commit;
mod location;
mod remote;
mod repository;
#[cfg(test)]
mod tests;
mod walk;

use std::path::{Path, PathBuf};

use gix::objs::Kind;

pub use commit::Commit;
pub use location::{Location, PREFIX};
pub use remote::{Following, following};
use repository::Repository;

use super::{Layer, sidecar};

/// Most symbolic references that are followed from `HEAD`.
const MAX_REFERENCES: usize = 5;

/// The git directory of the work tree that encloses `folder` (an absolute path); none outside a work tree.
pub(super) fn directory_around(folder: &Path) -> Option<PathBuf> {
    linked_directory(&work_tree_around(folder)?)
}

/// The work tree that encloses `folder` (an absolute path).
fn work_tree_around(folder: &Path) -> Option<PathBuf> {
    folder
        .ancestors()
        .find(|ancestor| ancestor.join(".git").exists())
        .map(Path::to_owned)
}

/// The git directory of a repository as it is named: the folder itself if it is bare, else what `.git` says.
fn directory_of(repository: &Path) -> Option<PathBuf> {
    linked_directory(repository).or_else(|| {
        let is_bare = ["HEAD", "objects", "refs"]
            .iter()
            .all(|name| repository.join(name).exists());
        is_bare.then(|| repository.to_owned())
    })
}

/// The git directory of a work tree.
fn linked_directory(work_tree: &Path) -> Option<PathBuf> {
    let dot_git = work_tree.join(".git");
    if dot_git.is_dir() {
        return Some(dot_git);
    }
    // A linked work tree or a submodule has a file with the place of the directory.
    let text = std::fs::read_to_string(&dot_git).ok()?;
    let target = text.strip_prefix("gitdir:")?.trim();
    Some(work_tree.join(target))
}

/// Where references shared by linked work trees live.
fn common_directory(git_directory: &Path) -> PathBuf {
    std::fs::read_to_string(git_directory.join("commondir")).map_or_else(
        |_| git_directory.to_owned(),
        |text| git_directory.join(text.trim()),
    )
}

/// Whether a git command is changing the work tree right now (`index.lock`).
pub(super) fn is_busy(git_directory: &Path) -> bool {
    git_directory.join("index.lock").exists()
}

/// The commit that is checked out.
pub(super) fn commit(git_directory: &Path) -> Option<String> {
    let common = common_directory(git_directory);
    let mut text = std::fs::read_to_string(git_directory.join("HEAD")).ok()?;
    for _ in 0..MAX_REFERENCES {
        let Some(name) = text.trim().strip_prefix("ref:").map(str::trim) else {
            return object_id(text.trim());
        };
        if !is_reference(name) {
            return None;
        }
        let loose = std::fs::read_to_string(git_directory.join(name))
            .or_else(|_| std::fs::read_to_string(common.join(name)));
        text = match loose {
            Ok(text) => text,
            Err(_) => packed(&common, name)?,
        };
    }
    None
}

fn is_reference(name: &str) -> bool {
    name.starts_with("refs/") && !name.split('/').any(|part| part.is_empty() || part == "..")
}

fn packed(common: &Path, name: &str) -> Option<String> {
    let text = std::fs::read_to_string(common.join("packed-refs")).ok()?;
    text.lines()
        .filter_map(|line| line.split_once(' '))
        .find(|(_, reference)| reference.trim_end() == name)
        .map(|(id, _)| id.to_owned())
}

fn object_id(text: &str) -> Option<String> {
    let hexadecimal = text.bytes().all(|byte| byte.is_ascii_hexdigit());
    (hexadecimal && matches!(text.len(), 40 | 64)).then(|| text.to_ascii_lowercase())
}

/// The full names that a short one may have, the first that exists counts. Unlike git, a branch comes before a tag: who
/// follows a branch does not follow whatever tag is given its name.
fn full_names(name: &str) -> Vec<String> {
    if name == "HEAD" || name.starts_with("refs/") {
        return vec![name.to_owned()];
    }
    ["refs/heads/", "refs/tags/", "refs/remotes/", "refs/"]
        .iter()
        .map(|before| format!("{before}{name}"))
        .chain([format!("refs/remotes/{name}/HEAD")])
        .collect()
}

/// The few folders in which something moves when a location comes to mean another commit: where `HEAD` and packed
/// references are, and where the loose references are that it may mean. Those that do not exist are left out; what is
/// created will be seen in the folder around it. Among them is the one around the repository, which may be replaced.
pub fn watched_folders(location: &Location) -> Vec<PathBuf> {
    let mut folders = Vec::new();
    let mut add = |folder: PathBuf| {
        if !folders.contains(&folder) && folder.is_dir() {
            folders.push(folder);
        }
    };
    match location.repository().parent() {
        Some(around) if around.as_os_str().is_empty() => add(PathBuf::from(".")),
        Some(around) => add(around.to_owned()),
        None => {}
    }
    let Some(directory) = directory_of(location.repository()) else {
        // Perhaps it is just being made.
        add(location.repository().to_owned());
        return folders;
    };
    let common = common_directory(&directory);
    add(directory.clone());
    add(common.clone());
    for name in full_names(location.base()) {
        let mut name = name;
        for _ in 0..MAX_REFERENCES {
            for folder in Path::new(&name).ancestors().skip(1) {
                add(common.join(folder));
            }
            let target = std::fs::read_to_string(directory.join(&name))
                .or_else(|_| std::fs::read_to_string(common.join(&name)))
                .ok()
                .and_then(|text| Some(text.strip_prefix("ref:")?.trim().to_owned()));
            match target {
                Some(target) if is_reference(&target) => name = target,
                _ => break,
            }
        }
    }
    folders
}

/// Whether the manifests of a folder differ from those that the commit around it has there, or are not part of it. `None`
/// outside a work tree and where git does not say. A manifest is compared byte by byte with its blob, so one that git
/// would convert at a checkout (`eol=crlf`) counts as changed.
pub(super) fn is_dirty(layer: &Layer) -> Option<bool> {
    let folder = layer.provenance().path.as_deref()?;
    let work_tree = work_tree_around(folder)?;
    let repository = Repository::open(&work_tree).ok()?;
    let Some(commit) = &layer.provenance().commit else {
        // Nothing is part of a commit where there is none yet.
        return repository.named("HEAD").ok()?.is_none().then_some(true);
    };
    let commit = gix::ObjectId::from_hex(commit.as_bytes()).ok()?;
    let prefix = folder.strip_prefix(&work_tree).ok()?.to_str()?;
    let mut committed = match walk::manifests(&repository, commit, prefix, "") {
        Ok(committed) => committed,
        Err(walk::Missing::Folder(_)) => return Some(layer.files().len() > 0),
        Err(walk::Missing::Refused(error)) => {
            tracing::debug!(%error, "the commit cannot be compared with its work tree");
            return None;
        }
    };
    let named = layer.manifests();
    let named = sidecar::of(named.map(|(name, bytes)| (name.as_ref(), bytes.as_ref())));
    let sidecars = walk::sidecars(&repository, commit, prefix, "", &named).ok()?;
    committed.extend(sidecars);
    let is_same = |(name, bytes): (&std::sync::Arc<str>, &std::sync::Arc<[u8]>)| {
        committed
            .get(name.as_ref())
            .is_some_and(|id| repository.hash(Kind::Blob, bytes) == Some(*id))
    };
    Some(layer.files().len() != committed.len() || !layer.files().all(is_same))
}
