//! What git says of a folder: which commit is checked out around it, and whether git is at work there.
//!
//! Only plain files are read, and everything unexpected is "unknown": a tree is good without git.

#![expect(
    clippy::disallowed_methods,
    reason = "files are read in tree only; callers run it on a thread that may block"
)]

use std::path::{Path, PathBuf};

/// Most symbolic references that are followed from `HEAD`.
const MAX_REFERENCES: usize = 5;

/// The git directory of the work tree that encloses `folder` (an absolute path); none outside a work tree.
pub(super) fn directory_around(folder: &Path) -> Option<PathBuf> {
    let dot_git = folder
        .ancestors()
        .map(|ancestor| ancestor.join(".git"))
        .find(|candidate| candidate.exists())?;
    if dot_git.is_dir() {
        return Some(dot_git);
    }
    // A linked work tree or a submodule has a file with the place of the directory.
    let text = std::fs::read_to_string(&dot_git).ok()?;
    let target = text.strip_prefix("gitdir:")?.trim();
    Some(dot_git.parent()?.join(target))
}

/// Whether a git command is changing the work tree right now (`index.lock`).
pub(super) fn is_busy(git_directory: &Path) -> bool {
    git_directory.join("index.lock").exists()
}

/// The commit that is checked out.
pub(super) fn commit(git_directory: &Path) -> Option<String> {
    // References shared by linked work trees live in the common directory.
    let common = std::fs::read_to_string(git_directory.join("commondir")).map_or_else(
        |_| git_directory.to_owned(),
        |text| git_directory.join(text.trim()),
    );
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    const ID: &str = "0123456789abcdef0123456789abcdef01234567";

    fn repository(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(".git").join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        folder
    }

    fn commit_of(folder: &Path) -> Option<String> {
        commit(&directory_around(&folder.canonicalize().unwrap())?)
    }

    #[test]
    fn the_commit_is_found_loose_packed_and_detached() {
        let head = ("HEAD", "ref: refs/heads/main\n");
        for files in [
            &[head, ("refs/heads/main", ID)][..],
            &[
                head,
                (
                    "packed-refs",
                    &format!("# pack-refs\n{ID} refs/heads/main\n"),
                ),
            ],
            &[("HEAD", ID)],
        ] {
            assert_eq!(
                commit_of(repository(files).path()).as_deref(),
                Some(ID),
                "{files:?}"
            );
        }
    }

    #[test]
    fn wrong_or_missing_git_data_is_no_commit() {
        for files in [
            &[("HEAD", "ref: refs/heads/main")][..],
            &[("HEAD", "rubbish")],
            &[("HEAD", "ref: ../../etc/passwd")],
            &[
                ("HEAD", "ref: refs/heads/a"),
                ("refs/heads/a", "ref: refs/heads/a"),
            ],
            &[("config", "")],
        ] {
            assert_eq!(commit_of(repository(files).path()), None, "{files:?}");
        }
    }

    #[test]
    fn a_linked_work_tree_finds_its_commit_in_the_common_directory() {
        let main = repository(&[
            ("refs/heads/side", ID),
            ("worktrees/side/HEAD", "ref: refs/heads/side"),
            ("worktrees/side/commondir", "../.."),
        ]);
        let linked = tempfile::tempdir().unwrap();
        let target = main.path().join(".git/worktrees/side");
        fs::write(
            linked.path().join(".git"),
            format!("gitdir: {}\n", target.display()),
        )
        .unwrap();
        assert_eq!(commit_of(linked.path()).as_deref(), Some(ID));
    }
}
