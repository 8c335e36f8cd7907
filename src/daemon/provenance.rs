//! Whether the manifests on disk are those of the commit that is checked out, as git says.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use crate::child;

/// Longest time that git may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// Time between two looks whether git is done.
const STEP: Duration = Duration::from_millis(10);

/// Whether a manifest below `folder` differs from the commit, or is not part of it. `None` when git does not say: it is
/// not installed, does not trust the folder, or takes too long. Blocks.
pub(super) fn is_dirty(folder: &Path) -> Option<bool> {
    let mut git = child::command("git")
        .arg("-C")
        .arg(folder)
        // Nothing that the repository's own configuration names is run, and no lock is taken.
        .args([
            "--no-optional-locks",
            "-c",
            "core.fsmonitor=false",
            "-c",
            "core.hooksPath=/dev/null",
        ])
        .args([
            "status",
            "--porcelain",
            "--untracked-files=all",
            "--",
            "*.toml",
        ])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let mut waited = Duration::ZERO;
    while git.try_wait().ok()?.is_none() {
        if waited >= PATIENCE {
            let _ = git.kill();
            let _ = git.wait();
            return None;
        }
        std::thread::sleep(STEP);
        waited = waited.saturating_add(STEP);
    }
    let output = git.wait_with_output().ok()?;
    output.status.success().then_some(!output.stdout.is_empty())
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "the test writes a work tree")]
mod tests {
    use super::*;

    fn git(folder: &Path, arguments: &[&str]) {
        let done = child::command("git")
            .arg("-C")
            .arg(folder)
            .args(["-c", "user.name=t", "-c", "user.email=t@example.org"])
            .args(arguments)
            .output()
            .unwrap();
        assert!(
            done.status.success(),
            "{}",
            String::from_utf8_lossy(&done.stderr)
        );
    }

    #[test]
    fn a_work_tree_is_dirty_while_a_manifest_differs_from_its_commit() {
        let folder = tempfile::tempdir().unwrap();
        let tree = folder.path().join("gateway.d");
        std::fs::create_dir(&tree).unwrap();
        std::fs::write(tree.join("a.toml"), "").unwrap();
        assert_eq!(is_dirty(&tree), None, "there is no work tree yet");
        git(folder.path(), &["init", "-q"]);
        assert_eq!(is_dirty(&tree), Some(true), "not part of a commit");
        git(folder.path(), &["add", "."]);
        git(folder.path(), &["commit", "-qm", "a"]);
        assert_eq!(is_dirty(&tree), Some(false));
        std::fs::write(tree.join("data.db"), "x").unwrap();
        std::fs::write(folder.path().join("other.toml"), "x").unwrap();
        assert_eq!(
            is_dirty(&tree),
            Some(false),
            "neither is a manifest of the tree"
        );
        std::fs::write(tree.join("a.toml"), "# new\n").unwrap();
        assert_eq!(is_dirty(&tree), Some(true));
    }
}
