//! What `git fetch` has to be told so that a location comes to mean what the remote has.

use std::path::PathBuf;

use super::location::Location;
use super::repository::Repository;
use crate::tree::TreeError;

/// What to fetch for a location.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Following {
    /// The git directory to fetch into.
    pub directory: PathBuf,
    /// The name of the remote, as the repository's settings have it. Its address may hold a password and is nobody's
    /// business.
    pub remote: String,
    /// What to fetch and where it goes: `+refs/heads/main:refs/heads/main`. The remote decides, so that a revert by
    /// force is followed as well.
    pub refspec: String,
}

/// How a location follows its remote. Fails when it cannot: there is no remote, or what it names is not what a fetch
/// moves.
pub fn following(location: &Location) -> Result<Following, TreeError> {
    let repository = Repository::open(location.repository())?;
    let remotes = repository.remotes();
    let mut name = full_name(&repository, location.base(), &remotes)?;
    if let Some(target) = repository.target(&name) {
        name = target;
    }
    let (remote, theirs) = if let Some(rest) = name.strip_prefix("refs/remotes/") {
        let found = remotes
            .iter()
            .filter_map(|remote| Some((remote, rest.strip_prefix(remote)?.strip_prefix('/')?)))
            .max_by_key(|(remote, _)| remote.len());
        let Some((remote, branch)) = found else {
            return Err(repository.refused(
                format!("`{}` belongs to no remote that is there", location.base()),
                remotes_help(&remotes),
            ));
        };
        (remote.clone(), format!("refs/heads/{branch}"))
    } else {
        let branch = name.strip_prefix("refs/heads/");
        let remote = remote_of(&repository, &remotes, branch)?;
        if let Some(branch) = branch.filter(|_| !repository.is_bare()) {
            return Err(repository.refused(
                format!(
                    "a fetch does not move `{branch}`, a branch of a repository with a work tree"
                ),
                format!("follow {remote}/{branch} instead, or a bare clone (git clone --mirror)"),
            ));
        }
        (remote, name.clone())
    };
    Ok(Following {
        directory: repository.directory().to_owned(),
        remote,
        refspec: format!("+{theirs}:{name}"),
    })
}

/// The full name of what is to be moved. What is not there yet is taken for a branch.
fn full_name(repository: &Repository, base: &str, remotes: &[String]) -> Result<String, TreeError> {
    if base == "HEAD" {
        return repository.target(base).ok_or_else(|| {
            repository.refused(
                "HEAD is a commit here, and no branch that a fetch could move",
                "name the branch to follow",
            )
        });
    }
    if base.starts_with("refs/") {
        return Ok(base.to_owned());
    }
    let found = repository.named(base)?.map(|(name, _)| name);
    match found.as_deref() {
        Some("") => Err(repository.refused(
            format!("`{base}` is a commit, and always the same"),
            "name a branch or a tag to follow",
        )),
        Some(name) => Ok(name.to_owned()),
        None => {
            let is_of_remote = base
                .split_once('/')
                .is_some_and(|(first, _)| remotes.iter().any(|remote| remote == first));
            let group = if is_of_remote { "remotes" } else { "heads" };
            Ok(format!("refs/{group}/{base}"))
        }
    }
}

/// The remote that a branch follows by its settings, else `origin`, else the only one.
fn remote_of(
    repository: &Repository,
    remotes: &[String],
    branch: Option<&str>,
) -> Result<String, TreeError> {
    let configured = branch
        .and_then(|branch| repository.setting(&format!("branch.{branch}.remote")))
        .filter(|remote| remotes.contains(remote));
    let remote = match (configured, remotes) {
        (Some(remote), _) => Some(remote),
        (None, [only]) => Some(only.clone()),
        (None, several) => several.iter().find(|name| *name == "origin").cloned(),
    };
    remote.ok_or_else(|| {
        repository.refused("there is no remote to fetch from", remotes_help(remotes))
    })
}

fn remotes_help(remotes: &[String]) -> String {
    match remotes {
        [] => "add one: git remote add origin URL".to_owned(),
        names => format!("remotes are {}; call one of them origin", names.join(", ")),
    }
}
