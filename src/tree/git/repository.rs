//! A repository, opened for reading: references → commits → objects. Nothing of the user's or the machine's git
//! configuration is read, and nothing is run.
//!
//! Replacement objects (`refs/replace`) are not honoured and every object is hashed when it is read, so that the name of
//! a commit vouches for all that is below it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use gix::objs::Kind;
use gix::{ObjectId, open};

use super::location::{Location, is_full_id};
use crate::error::nearest;
use crate::tree::TreeError;

/// Most references that are looked at for a name that is like a wrong one.
const MAX_CANDIDATES: usize = 10_000;
/// Most names that a message lists.
const MAX_LISTED: usize = 8;
/// Least digits of an abbreviated name of a commit, as git has it.
const MIN_ID_DIGITS: usize = 4;
/// What to do about an object that is not what it should be.
pub(super) const DAMAGED: &str = "the repository is damaged: try git fsck";
/// Digits of a commit that messages show.
const SHORT_DIGITS: usize = 12;

/// A repository, opened for reading.
pub(super) struct Repository {
    repository: gix::Repository,
    /// As it was written.
    path: PathBuf,
}

impl Repository {
    /// Opens a bare repository or one with a work tree.
    pub(super) fn open(path: &Path) -> Result<Self, TreeError> {
        let metadata = fs::metadata(path).map_err(|error| unreadable(path, &error))?;
        if !metadata.is_dir() {
            return Err(refused(
                path,
                "this is not a folder",
                "name a repository, bare or with a work tree",
            ));
        }
        let Some(directory) = super::directory_of(path) else {
            return Err(not_a_repository(path));
        };
        // Says why where the library would only say that it failed.
        fs::read(directory.join("HEAD")).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => not_a_repository(path),
            _ => unreadable(&directory.join("HEAD"), &error),
        })?;
        let options = open::Options::isolated()
            // The operator named this repository; whoever owns it, its settings say how it is stored, and run nothing.
            .with(gix::sec::Trust::Full)
            .config_overrides(["core.useReplaceRefs=false"]);
        let repository = open::Options::open(options, path).map_err(|error| {
            refused(
                path,
                format!("this repository cannot be opened: {error}"),
                DAMAGED,
            )
        })?;
        let opened = Self {
            repository: repository.to_thread_local(),
            path: path.to_owned(),
        };
        match opened.setting("extensions.refStorage") {
            Some(storage) if storage != "files" => Err(opened.refused(
                format!("its references are stored as a {storage}, which cannot be read"),
                "store them as files: git refs migrate --ref-format=files",
            )),
            _ => Ok(opened),
        }
    }

    /// The folder that holds `HEAD`.
    pub(super) fn directory(&self) -> &Path {
        self.repository.git_dir()
    }

    /// The commit that a location names.
    pub(super) fn resolve(&self, location: &Location) -> Result<ObjectId, TreeError> {
        let base = location.base();
        let found = match self.named(base)? {
            Some((_, id)) => id,
            None => self.abbreviated(base)?,
        };
        let id = match location.suffix() {
            "" => found,
            suffix => self
                .repository
                .rev_parse_single(format!("{found}{suffix}").as_str())
                .map(gix::Id::detach)
                .map_err(|error| {
                    tracing::debug!(%error, "counting back from a commit");
                    self.refused(
                        format!("there is no commit `{}`", location.reference()),
                        "its history is shorter than that, or is cut off in a shallow clone",
                    )
                })?,
        };
        match self.kind(id)? {
            Kind::Commit => Ok(id),
            kind => Err(self.refused(
                format!("`{}` is a {kind}, not a commit", location.reference()),
                "name a branch, a tag of a commit, or a commit",
            )),
        }
    }

    /// The full name of the reference that a short one means, and the object behind it, tags peeled. A branch comes before a tag,
    /// a tag before a branch of a remote. The name is empty for a full name of an object.
    pub(super) fn named(&self, name: &str) -> Result<Option<(String, ObjectId)>, TreeError> {
        if is_full_id(name) {
            let id = ObjectId::from_hex(name.as_bytes())
                .map_err(|error| self.broken(&format!("`{name}`"), &error))?;
            let peeled = self.peel(id)?;
            return Ok(Some((String::new(), peeled)));
        }
        for full in super::full_names(name) {
            // A name that git does not admit names nothing.
            let Ok(valid) = <&gix::refs::FullNameRef>::try_from(full.as_str()) else {
                continue;
            };
            let found = self
                .repository
                .try_find_reference(valid)
                .map_err(|error| self.broken(&format!("the reference `{full}`"), &error))?;
            let Some(mut reference) = found.filter(|found| found.name() == valid) else {
                continue;
            };
            let id = match reference.peel_to_id() {
                Ok(id) => id.detach(),
                // A branch that has no commit yet.
                Err(_) if self.is_unborn(&full) => continue,
                Err(error) => return Err(self.broken(&format!("the reference `{full}`"), &error)),
            };
            return Ok(Some((full, id)));
        }
        Ok(None)
    }

    /// Whether a symbolic reference names one that is not there.
    fn is_unborn(&self, full: &str) -> bool {
        let Ok(Some(reference)) = self.repository.try_find_reference(full) else {
            return false;
        };
        reference
            .follow()
            .is_some_and(|target| target.is_err_and(|error| error.is_not_found()))
    }

    fn abbreviated(&self, name: &str) -> Result<ObjectId, TreeError> {
        let is_hexadecimal = name.len() >= MIN_ID_DIGITS
            && !is_full_id(name)
            && name.bytes().all(|byte| byte.is_ascii_hexdigit());
        if is_hexadecimal && let Ok(id) = self.repository.rev_parse_single(name) {
            return self.peel(id.detach());
        }
        let names = self.names();
        let help = match nearest(name, names.iter().map(String::as_str)) {
            Some(near) => format!("did you mean `{near}`?"),
            None if names.is_empty() => "the repository has no commits yet".to_owned(),
            None => {
                let listed: Vec<&str> = names.iter().map(String::as_str).take(MAX_LISTED).collect();
                let more = if names.len() > MAX_LISTED {
                    ", …"
                } else {
                    ""
                };
                format!("branches and tags are {}{more}", listed.join(", "))
            }
        };
        Err(self.refused(format!("there is no branch, tag or commit `{name}`"), help))
    }

    /// Short names of branches, tags and branches of remotes, in that order.
    fn names(&self) -> Vec<String> {
        let Ok(platform) = self.repository.references() else {
            return Vec::new();
        };
        let groups = [
            platform.local_branches(),
            platform.tags(),
            platform.remote_branches(),
        ];
        groups
            .into_iter()
            .flatten()
            .flat_map(|group| group.filter_map(Result::ok))
            .map(|reference| reference.name().shorten().to_string())
            .take(MAX_CANDIDATES)
            .collect()
    }

    /// The object behind a tag, or behind a tag of a tag.
    fn peel(&self, id: ObjectId) -> Result<ObjectId, TreeError> {
        if self.kind(id)? != Kind::Tag {
            return Ok(id);
        }
        self.repository
            .find_object(id)
            .and_then(gix::Object::peel_tags_to_end)
            .map(|object| object.id)
            .map_err(|error| self.broken(&format!("the tag {id}"), &error))
    }

    fn kind(&self, id: ObjectId) -> Result<Kind, TreeError> {
        self.header(id).map(|header| header.kind())
    }

    fn header(&self, id: ObjectId) -> Result<gix::odb::find::Header, TreeError> {
        self.repository
            .try_find_header(id)
            .map_err(|error| self.broken(&format!("the object {id}"), &error))?
            .ok_or_else(|| {
                self.refused(
                    format!("the object {id} is not in the repository"),
                    "fetch it; a partial clone (--filter) does not hold everything",
                )
            })
    }

    /// The bytes of an object, which must hash to its name. `path` stands before what is wrong with it; beyond `limit`
    /// bytes it is too large.
    pub(super) fn object(
        &self,
        id: ObjectId,
        kind: Kind,
        limit: u64,
        path: &str,
    ) -> Result<Vec<u8>, TreeError> {
        let refused = |message: String, help: &str| TreeError {
            path: path.to_owned(),
            message,
            help: Some(help.to_owned()),
        };
        let header = self.header(id)?;
        if header.kind() != kind {
            let message = format!("the object {id} is a {}, not a {kind}", header.kind());
            return Err(refused(message, DAMAGED));
        }
        // Known before anything is unpacked.
        if header.size() > limit {
            let thing = if kind == Kind::Blob { "file" } else { "object" };
            return Err(refused(
                format!("the {thing} is larger than {limit} bytes"),
                "split it into several files",
            ));
        }
        let object = self
            .repository
            .find_object(id)
            .map_err(|error| refused(format!("the object {id} cannot be read: {error}"), DAMAGED))?
            .detach();
        if self.hash(kind, &object.data) != Some(id) {
            let message = format!("the object {id} has other bytes than its name says");
            return Err(refused(message, DAMAGED));
        }
        Ok(object.data)
    }

    /// The name that an object of these bytes has here; none if a collision of SHA-1 was attempted.
    pub(super) fn hash(&self, kind: Kind, bytes: &[u8]) -> Option<ObjectId> {
        gix::objs::compute_hash(self.hash_kind(), kind, bytes).ok()
    }

    /// How objects are named here.
    pub(super) fn hash_kind(&self) -> gix::hash::Kind {
        self.repository.object_hash()
    }

    /// What a symbolic reference names, by full names.
    pub(super) fn target(&self, full: &str) -> Option<String> {
        let reference = self.repository.try_find_reference(full).ok()??;
        let target = reference.target();
        target.try_name().map(ToString::to_string)
    }

    /// What the settings of the repository say for a key such as `remote.origin.url`.
    pub(super) fn setting(&self, key: &str) -> Option<String> {
        let value = self.repository.config_snapshot().string(key)?;
        Some(value.to_string())
    }

    /// The names of the remotes, sorted.
    pub(super) fn remotes(&self) -> Vec<String> {
        let names = self.repository.remote_names();
        names.iter().map(ToString::to_string).collect()
    }

    /// Whether there is no work tree.
    pub(super) fn is_bare(&self) -> bool {
        self.repository.is_bare()
    }

    /// An error about the repository as a whole.
    pub(super) fn refused(&self, message: impl Into<String>, help: impl Into<String>) -> TreeError {
        refused(&self.path, message, help)
    }

    fn broken(&self, what: &str, error: &gix::Error) -> TreeError {
        if error.is_permission_denied() {
            return self.refused(
                format!("the permission to read {what} is missing"),
                "let the user that runs tidegate read all of the repository",
            );
        }
        self.refused(format!("{what} cannot be read: {error}"), DAMAGED)
    }
}

/// A commit as messages show it.
pub(super) fn short(id: ObjectId) -> String {
    id.to_hex_with_len(SHORT_DIGITS).to_string()
}

fn not_a_repository(path: &Path) -> TreeError {
    let around = fs::canonicalize(path)
        .ok()
        .and_then(|path| super::work_tree_around(&path));
    let help = match around {
        Some(around) => format!(
            "the repository is {}: name that, and the folder in it after the reference",
            around.display()
        ),
        None => "name a repository, bare or with a work tree".to_owned(),
    };
    refused(path, "this is not a git repository", help)
}

fn refused(path: &Path, message: impl Into<String>, help: impl Into<String>) -> TreeError {
    TreeError {
        path: path.display().to_string(),
        message: message.into(),
        help: Some(help.into()),
    }
}

fn unreadable(path: &Path, error: &io::Error) -> TreeError {
    let (message, help) = match error.kind() {
        io::ErrorKind::NotFound => (
            "there is no such repository".to_owned(),
            "create it, or name the right one",
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
    refused(path, message, help)
}
