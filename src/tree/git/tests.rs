//! Repositories made by the real git, read by ours.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::*;
use crate::tree::{MAX_DEPTH, MAX_FILE_BYTES, Source, Sources, TreeError, directory};

/// A work tree on the branch `main`, and the folder around it.
struct Fixture {
    folder: tempfile::TempDir,
}

impl Fixture {
    fn new() -> Self {
        Self::made(&[])
    }

    fn made(options: &[&str]) -> Self {
        let fixture = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        fs::create_dir(fixture.path()).unwrap();
        let mut arguments = vec!["init", "-q", "-b", "main"];
        arguments.extend(options);
        fixture.git(&arguments);
        fixture
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("work")
    }

    fn git(&self, arguments: &[&str]) -> String {
        git(&self.path(), arguments)
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        let path = self.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Commits everything that is there and names the commit.
    fn commit(&self) -> String {
        self.git(&["add", "-A"]);
        self.git(&["commit", "-q", "--allow-empty", "-m", "a commit"]);
        self.git(&["rev-parse", "HEAD"])
    }

    fn location(&self, rest: &str) -> Location {
        format!("git:{}#{rest}", self.path().display())
            .parse()
            .unwrap()
    }

    fn read(&self, rest: &str) -> Result<Layer, TreeError> {
        Commit::find(&self.location(rest))?.read()
    }

    fn names(&self, rest: &str) -> Vec<String> {
        let layer = self.read(rest).unwrap();
        layer.files().map(|(name, _)| name.to_string()).collect()
    }

    fn text(&self, rest: &str, name: &str) -> String {
        let layer = self.read(rest).unwrap();
        String::from_utf8(layer.file(name).unwrap().to_vec()).unwrap()
    }

    /// What is wrong, without the path of the repository, and the help.
    fn error(&self, rest: &str) -> (String, String) {
        let error = self.read(rest).unwrap_err();
        let path = self.path().display().to_string();
        let help = error.help.clone().unwrap();
        (
            error.to_string().replace(&path, "PATH"),
            help.replace(&path, "PATH"),
        )
    }
}

fn git(folder: &Path, arguments: &[&str]) -> String {
    let done = Command::new("git")
        .current_dir(folder)
        .args(["-c", "user.name=t", "-c", "user.email=t@example.org"])
        .args([
            "-c",
            "commit.gpgsign=false",
            "-c",
            "protocol.file.allow=always",
        ])
        .args(arguments)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "git {arguments:?}: {error}");
    String::from_utf8(done.stdout).unwrap().trim().to_owned()
}

#[test]
fn branches_tags_and_commits_are_found_by_every_name_they_have() {
    let fixture = Fixture::new();
    fixture.write("a.toml", "1");
    let first = fixture.commit();
    fixture.git(&["tag", "light"]);
    fixture.git(&["tag", "-m", "annotated", "heavy"]);
    fixture.write("a.toml", "2");
    let second = fixture.commit();
    fixture.git(&["branch", "team/side", &first]);
    fixture.git(&["update-ref", "refs/remotes/origin/main", &first]);
    for (name, text) in [
        ("main", "2"),
        ("HEAD", "2"),
        ("refs/heads/main", "2"),
        ("heads/main", "2"),
        ("light", "1"),
        ("heavy", "1"),
        ("refs/tags/heavy", "1"),
        ("team/side", "1"),
        ("origin/main", "1"),
        ("main~1", "1"),
        ("main^", "1"),
        (&first, "1"),
        (&second[..10], "2"),
    ] {
        assert_eq!(fixture.text(name, "a.toml"), text, "{name}");
    }
    let layer = fixture.read("heavy").unwrap();
    assert_eq!(layer.provenance().commit, Some(first.clone()));
    assert_eq!(layer.provenance().dirty, Some(false));
    assert_eq!(Commit::find_id(&fixture.location("heavy")).unwrap(), first);
    // The same after everything was packed.
    fixture.git(&["gc", "-q"]);
    assert!(fixture.path().join(".git/packed-refs").exists());
    assert_eq!(fixture.text("main", "a.toml"), "2");
    assert_eq!(fixture.text("heavy", "a.toml"), "1");
}

#[test]
fn a_branch_comes_before_a_tag_of_the_same_name() {
    let fixture = Fixture::new();
    fixture.write("a.toml", "of the tag");
    fixture.commit();
    fixture.git(&["tag", "main"]);
    fixture.write("a.toml", "of the branch");
    fixture.commit();
    assert_eq!(fixture.text("main", "a.toml"), "of the branch");
    assert_eq!(fixture.text("tags/main", "a.toml"), "of the tag");
}

#[test]
fn a_commit_holds_what_its_checkout_holds() {
    let fixture = Fixture::new();
    for (name, text) in [
        ("g/b.toml", "b"),
        ("g/a/c.toml", "c"),
        ("g/.hidden.toml", ""),
        ("g/.dot/x.toml", ""),
        ("g/chinook.db", ""),
        ("g/b.toml~", ""),
        ("g/parts/one/p.toml", "p"),
        ("other.toml", ""),
    ] {
        fixture.write(name, text);
    }
    let folder = fixture.path().join("g");
    symlink("parts/one", folder.join("linked")).unwrap();
    symlink("linked/../one/p.toml", folder.join("q.toml")).unwrap();
    symlink("linked/p.toml", folder.join("r.toml")).unwrap();
    symlink("/nowhere/at/all", folder.join("data.db")).unwrap();
    symlink("../other.toml", folder.join("text")).unwrap();
    fixture.commit();
    let committed = fixture.read("main:g").unwrap();
    let checked_out = directory::read(&folder).unwrap();
    assert_eq!(
        fixture.names("main:g"),
        [
            "a/c.toml",
            "b.toml",
            "linked/p.toml",
            "parts/one/p.toml",
            "q.toml",
            "r.toml"
        ]
    );
    assert_eq!(committed.digest(), checked_out.digest());
    assert_eq!(is_dirty(&checked_out), Some(false));
    // The folder may be a link, too.
    symlink("g", fixture.path().join("current")).unwrap();
    fixture.commit();
    assert_eq!(
        fixture.read("main:current").unwrap().digest(),
        committed.digest()
    );
}

#[test]
fn links_that_leave_the_tree_lead_nowhere_or_loop_are_refused_as_in_a_folder() {
    for (target, message) in [
        ("../x.toml", "leaves the tree"),
        ("../f", "leaves the tree"),
        ("/etc/hosts", "leaves the tree"),
        ("../../../x.toml", "leaves the tree"),
        ("none", "leads nowhere"),
        ("link.toml", "leads nowhere"),
        ("a.toml/b.toml", "leads nowhere"),
        (".", "leads back"),
    ] {
        let fixture = Fixture::new();
        fixture.write("x.toml", "");
        fixture.write("f/y.toml", "");
        fixture.write("g/a.toml", "");
        symlink(target, fixture.path().join("g/link.toml")).unwrap();
        fixture.commit();
        let (error, _) = fixture.error("main:g");
        assert!(error.contains(message), "{target}: {error}");
        assert!(error.starts_with("git:PATH#main:g/link.toml: "), "{error}");
    }
}

#[test]
fn a_submodule_is_refused_where_it_counts() {
    let inner = Fixture::new();
    inner.write("a.toml", "");
    inner.commit();
    let fixture = Fixture::new();
    fixture.write("g/a.toml", "");
    let url = inner.path().display().to_string();
    fixture.git(&["submodule", "--quiet", "add", &url, "vendor"]);
    fixture.commit();
    let (error, help) = fixture.error("main");
    assert!(
        error.contains("#main:vendor: this is a submodule"),
        "{error}"
    );
    assert!(help.contains("layer of its own"), "{help}");
    assert_eq!(fixture.names("main:g"), ["a.toml"]);
    let (error, _) = fixture.error("main:vendor");
    assert!(error.contains("submodule"), "{error}");
}

#[test]
fn the_limits_of_a_folder_hold_for_a_commit() {
    let fixture = Fixture::new();
    fixture.write(
        "a.toml",
        " ".repeat(usize::try_from(MAX_FILE_BYTES).unwrap() + 1),
    );
    fixture.commit();
    let (error, _) = fixture.error("main");
    assert_eq!(
        error,
        "git:PATH#main:a.toml: the file is larger than 1048576 bytes"
    );
    fixture.write("a.toml", "");
    fixture.write(&format!("{}a.toml", "f/".repeat(MAX_DEPTH + 1)), "");
    fixture.commit();
    let (error, _) = fixture.error("main");
    assert!(error.contains("nested more than 16 deep"), "{error}");
}

#[test]
fn folders_behind_links_behind_links_come_to_an_end() {
    const LEVELS: usize = MAX_DEPTH - 2;
    let fixture = Fixture::new();
    for depth in 0..LEVELS {
        let folder = fixture.path().join(format!("d{depth}"));
        fs::create_dir(&folder).unwrap();
        for link in 0..8 {
            symlink(format!("../d{}", depth + 1), folder.join(link.to_string())).unwrap();
        }
    }
    fixture.write(&format!("d{LEVELS}/a"), "");
    fixture.commit();
    let (error, _) = fixture.error("main");
    assert!(error.contains("more than 100000 folders"), "{error}");
}

#[test]
fn what_cannot_be_found_is_explained() {
    let fixture = Fixture::new();
    let (error, help) = fixture.error("main");
    assert_eq!(error, "PATH: there is no branch, tag or commit `main`");
    assert_eq!(help, "the repository has no commits yet");
    fixture.write("gateway.d/a.toml", "");
    fixture.write("docs/b.toml", "");
    fixture.write("c.toml", "");
    fixture.commit();
    fixture.git(&["tag", "v1"]);
    fixture.git(&["tag", "blob", "HEAD:c.toml"]);
    for (rest, error, help) in [
        (
            "mian",
            "PATH: there is no branch, tag or commit `mian`",
            "did you mean `main`?",
        ),
        (
            "zzz",
            "PATH: there is no branch, tag or commit `zzz`",
            "branches and tags are main, blob, v1",
        ),
        (
            "deadbeef",
            "PATH: there is no branch, tag or commit `deadbeef`",
            "branches and tags are main, blob, v1",
        ),
        (
            "0123456789abcdef0123456789abcdef01234567",
            "PATH: the object 0123456789abcdef0123456789abcdef01234567 is not in the repository",
            "fetch it",
        ),
        (
            "main~5",
            "PATH: there is no commit `main~5`",
            "its history is shorter",
        ),
        (
            "blob",
            "PATH: `blob` is a blob, not a commit",
            "name a branch",
        ),
        (
            "v1:gatewayd",
            "git:PATH#v1:gatewayd: the commit ",
            "did you mean `gateway.d`?",
        ),
        (
            "v1:zzz",
            "git:PATH#v1:zzz: the commit ",
            "folders there are docs, gateway.d",
        ),
        (
            "v1:gateway.d/a.toml",
            "git:PATH#v1:gateway.d/a.toml: this is a file, not a folder",
            "name the folder that holds it: gateway.d",
        ),
    ] {
        let (found, found_help) = fixture.error(rest);
        assert!(found.starts_with(error), "{rest}: {found}");
        assert!(found_help.starts_with(help), "{rest}: {found_help}");
    }
    let at = |path: PathBuf| {
        let location = format!("git:{}#main", path.display()).parse().unwrap();
        let error = Commit::find_id(&location).unwrap_err();
        (error.message, error.help.unwrap())
    };
    let (message, _) = at(fixture.folder.path().join("none"));
    assert_eq!(message, "there is no such repository");
    let (message, help) = at(fixture.path().join("gateway.d"));
    assert_eq!(message, "this is not a git repository");
    assert!(
        help.contains(&fixture.path().display().to_string()),
        "{help}"
    );
    let (message, _) = at(fixture.path().join("c.toml"));
    assert_eq!(message, "this is not a folder");
}

#[test]
fn bare_linked_shallow_and_borrowing_repositories_are_read() {
    let fixture = Fixture::new();
    fixture.write("a.toml", "1");
    fixture.commit();
    fixture.write("a.toml", "2");
    let commit = fixture.commit();
    let url = format!("file://{}", fixture.path().display());
    for (name, arguments) in [
        ("bare.git", &["clone", "-q", "--bare"][..]),
        ("mirror.git", &["clone", "-q", "--mirror"]),
        ("shallow", &["clone", "-q", "--depth", "1"]),
        ("shared", &["clone", "-q", "--shared"]),
    ] {
        let url = if name == "shared" { &url[7..] } else { &url };
        git(fixture.folder.path(), &[arguments, &[url, name]].concat());
    }
    fixture.git(&["worktree", "add", "-q", "../linked", "-b", "side"]);
    for (name, reference) in [
        ("bare.git", "main"),
        ("mirror.git", "main"),
        ("shallow", "origin/main"),
        ("shared", "main"),
        ("linked", "side"),
        ("linked", "HEAD"),
    ] {
        let path = fixture.folder.path().join(name);
        let location: Location = format!("git:{}#{reference}", path.display())
            .parse()
            .unwrap();
        let found = Commit::find(&location).unwrap();
        assert_eq!(found.id(), commit, "{name}");
        let layer = found.read().unwrap();
        assert_eq!(layer.file("a.toml").unwrap().as_ref(), b"2", "{name}");
    }
}

#[test]
fn a_repository_with_sha_256_names_is_read() {
    let fixture = Fixture::made(&["--object-format=sha256"]);
    fixture.write("a.toml", "1");
    let commit = fixture.commit();
    assert_eq!(commit.len(), 64);
    assert_eq!(fixture.text(&commit, "a.toml"), "1");
    let layer = directory::read(&fixture.path()).unwrap();
    assert_eq!(is_dirty(&layer), Some(false));
}

#[test]
fn a_repository_whose_references_are_no_files_says_so() {
    let fixture = Fixture::new();
    fixture.write("a.toml", "1");
    fixture.commit();
    // As newer versions of git note it.
    fixture.git(&["config", "core.repositoryFormatVersion", "1"]);
    fixture.git(&["config", "extensions.refStorage", "reftable"]);
    let (error, help) = fixture.error("main");
    assert!(error.contains("stored as a reftable"), "{error}");
    assert!(help.contains("git refs migrate"), "{help}");
    let layer = directory::read(&fixture.path()).unwrap();
    assert_eq!(is_dirty(&layer), None);
}

#[test]
fn the_bytes_of_a_commit_are_what_git_signs() {
    let fixture = Fixture::new();
    fixture.write("a.toml", "");
    fixture.commit();
    let commit = Commit::find(&fixture.location("main")).unwrap();
    let shown = fixture.git(&["cat-file", "commit", "HEAD"]);
    assert_eq!(String::from_utf8_lossy(commit.object()).trim_end(), shown);
    assert_eq!(commit.id(), fixture.git(&["rev-parse", "HEAD"]));
}

#[test]
fn replaced_and_damaged_objects_do_not_pass_for_others() {
    let fixture = Fixture::new();
    fixture.write("a.toml", "good");
    let good = fixture.commit();
    fixture.write("a.toml", "evil");
    let evil = fixture.commit();
    fixture.git(&["reset", "-q", "--hard", &good]);
    fixture.git(&["replace", &good, &evil]);
    assert_eq!(fixture.text("main", "a.toml"), "good");
    // Another blob in the place of the one that the commit names.
    let place = |id: &str| {
        let (folder, rest) = id.split_at(2);
        fixture.path().join(".git/objects").join(folder).join(rest)
    };
    let of = |commit: &str| {
        let id = fixture.git(&[
            "--no-replace-objects",
            "rev-parse",
            &format!("{commit}:a.toml"),
        ]);
        place(&id)
    };
    fs::remove_file(of(&good)).unwrap();
    fs::copy(of(&evil), of(&good)).unwrap();
    let (error, help) = fixture.error("main");
    assert!(error.contains("a.toml: the object "), "{error}");
    assert!(help.contains("git fsck"), "{help}");
    fs::remove_file(of(&good)).unwrap();
    let (error, _) = fixture.error("main");
    assert!(error.contains("is not in the repository"), "{error}");
}

#[test]
fn a_work_tree_is_dirty_while_a_manifest_differs_from_its_commit() {
    let fixture = Fixture::new();
    let tree = fixture.path().join("gateway.d");
    let dirty = || is_dirty(&directory::read(&tree).unwrap());
    fixture.write("gateway.d/a.toml", "#");
    assert_eq!(dirty(), Some(true), "not part of a commit");
    fixture.commit();
    assert_eq!(dirty(), Some(false));
    fixture.write("gateway.d/data.db", "x");
    fixture.write("other.toml", "x");
    fixture.write("gateway.d/.hidden.toml", "x");
    assert_eq!(dirty(), Some(false), "none is a manifest of the tree");
    fixture.write("gateway.d/a.toml", "# new\n");
    assert_eq!(dirty(), Some(true));
    fixture.git(&["add", "-A"]);
    assert_eq!(dirty(), Some(true), "staged is not committed");
    fixture.commit();
    fixture.write("gateway.d/b.toml", "#");
    assert_eq!(dirty(), Some(true), "a new file");
    fixture.write(".gitignore", "b.toml\n");
    assert_eq!(dirty(), Some(true), "an ignored one is served all the same");
    fs::remove_file(tree.join("b.toml")).unwrap();
    fs::remove_file(fixture.path().join(".gitignore")).unwrap();
    assert_eq!(dirty(), Some(false));
    fs::rename(tree.join("a.toml"), tree.join("c.toml")).unwrap();
    assert_eq!(dirty(), Some(true), "another name");
    fs::rename(tree.join("c.toml"), tree.join("a.toml")).unwrap();
    fixture.write("gateway.d/b.toml", "#");
    fixture.commit();
    fs::remove_file(tree.join("b.toml")).unwrap();
    assert_eq!(dirty(), Some(true), "a file of the commit is gone");
    let elsewhere = tempfile::tempdir().unwrap();
    fs::write(elsewhere.path().join("a.toml"), "#").unwrap();
    let layer = directory::read(elsewhere.path()).unwrap();
    assert_eq!(is_dirty(&layer), None, "no work tree");
}

#[test]
fn a_folder_that_the_commit_does_not_have_is_dirty() {
    let fixture = Fixture::new();
    fixture.write("a.toml", "#");
    fixture.commit();
    fixture.write("new/b.toml", "#");
    let layer = directory::read(&fixture.path().join("new")).unwrap();
    assert_eq!(is_dirty(&layer), Some(true));
}

#[test]
fn commits_are_read_once_without_a_window_and_told_apart_by_name() {
    let fixture = Fixture::new();
    fixture.write("a.toml", "1");
    fixture.commit();
    let sources = Sources::new([Source::Git(fixture.location("main"))]);
    let first = sources
        .read_settled(&mut |_| panic!("a commit needs no window"))
        .unwrap();
    let known = first.fingerprint();
    assert_eq!(sources.fingerprint(&[known]).unwrap().as_ref(), Some(known));
    assert_eq!(sources.fingerprint(&[]).unwrap(), None);
    // The same files in another commit are another tree of the same digest.
    fixture.commit();
    assert_eq!(sources.fingerprint(&[known]).unwrap(), None);
    let second = sources.read().unwrap();
    assert_eq!(second.digest(), first.digest());
    assert_ne!(second.commit(), first.commit());
    let both = [known, second.fingerprint()];
    let found = sources.fingerprint(&both).unwrap().unwrap();
    assert_eq!(found.commit(), second.commit());
}

#[test]
fn a_commit_below_a_folder_makes_a_tree_of_two_layers() {
    let fixture = Fixture::new();
    fixture.write("base/a.toml", "1");
    fixture.write("prod/b.toml", "2");
    let commit = fixture.commit();
    let folder = fixture.path().join("prod");
    let sources = Sources::new([
        Source::Git(fixture.location("main:base")),
        Source::Directory(folder.clone()),
    ]);
    let mut pauses = 0;
    let tree = sources.read_settled(&mut |_| pauses += 1).unwrap();
    assert_eq!(pauses, 1, "the folder is read twice");
    assert_eq!(tree.commit(), Some(commit.as_str()));
    assert_eq!(tree.dirty(), Some(false));
    fs::write(folder.join("b.toml"), "3").unwrap();
    let tree = sources.read_settled(&mut |_| {}).unwrap();
    assert_eq!(tree.dirty(), Some(true), "one of them is");
    let elsewhere = tempfile::tempdir().unwrap();
    fs::write(elsewhere.path().join("c.toml"), "#").unwrap();
    let sources = Sources::new([
        Source::Git(fixture.location("main:base")),
        Source::Directory(elsewhere.path().to_owned()),
    ]);
    let tree = sources.read_settled(&mut |_| {}).unwrap();
    assert_eq!((tree.commit(), tree.dirty()), (None, None));
}

#[test]
fn little_is_watched() {
    let fixture = Fixture::new();
    fixture.write("a.toml", "");
    fixture.commit();
    fixture.git(&["branch", "team/side"]);
    fixture.git(&["update-ref", "refs/remotes/origin/main", "HEAD"]);
    fixture.git(&[
        "symbolic-ref",
        "refs/remotes/origin/HEAD",
        "refs/remotes/origin/main",
    ]);
    let watched = |reference: &str| {
        let mut folders: Vec<String> = watched_folders(&fixture.location(reference))
            .iter()
            .filter_map(|folder| {
                let inside = folder.strip_prefix(fixture.path()).ok()?;
                Some(inside.display().to_string())
            })
            .collect();
        folders.sort();
        folders
    };
    let common = [".git", ".git/refs", ".git/refs/heads"];
    let with = |more: &[&str]| {
        let mut folders: Vec<String> = common.iter().chain(more).map(ToString::to_string).collect();
        folders.sort();
        folders
    };
    assert_eq!(watched("refs/heads/main"), with(&[]));
    assert_eq!(watched("HEAD"), with(&[]));
    assert_eq!(
        watched("team/side"),
        with(&[
            ".git/refs/heads/team",
            ".git/refs/remotes",
            ".git/refs/tags"
        ])
    );
    // Not there yet: the folders around it tell when it comes.
    assert_eq!(watched("refs/heads/other/side"), with(&[]));
    assert_eq!(
        watched("refs/remotes/origin/HEAD"),
        [
            ".git",
            ".git/refs",
            ".git/refs/remotes",
            ".git/refs/remotes/origin"
        ]
    );
    let away = "git:/no-such-place#main".parse().unwrap();
    assert_eq!(watched_folders(&away), [Path::new("/")]);
    let here = "git:no-such-place#main".parse().unwrap();
    assert_eq!(watched_folders(&here), [Path::new(".")]);
}

#[test]
fn what_is_fetched_moves_what_is_read() {
    let fixture = Fixture::new();
    fixture.write("a.toml", "");
    fixture.commit();
    fixture.git(&["tag", "v1"]);
    fixture.git(&["branch", "team/side"]);
    let url = format!("file://{}", fixture.path().display());
    for (name, options) in [
        ("bare", &["--bare"][..]),
        ("mirror", &["--mirror"]),
        ("clone", &[]),
    ] {
        let arguments = [&["clone", "-q"], options, &[url.as_str(), name]].concat();
        git(fixture.folder.path(), &arguments);
    }
    let at = |name: &str, reference: &str| {
        let path = fixture.folder.path().join(name);
        let location = format!("git:{}#{reference}", path.display())
            .parse()
            .unwrap();
        following(&location)
    };
    for (name, reference, refspec) in [
        ("bare", "main", "+refs/heads/main:refs/heads/main"),
        ("bare", "HEAD", "+refs/heads/main:refs/heads/main"),
        (
            "mirror",
            "team/side",
            "+refs/heads/team/side:refs/heads/team/side",
        ),
        ("mirror", "v1", "+refs/tags/v1:refs/tags/v1"),
        ("bare", "main~1", "+refs/heads/main:refs/heads/main"),
        (
            "bare",
            "not-there-yet",
            "+refs/heads/not-there-yet:refs/heads/not-there-yet",
        ),
        (
            "clone",
            "origin/main",
            "+refs/heads/main:refs/remotes/origin/main",
        ),
        (
            "clone",
            "origin",
            "+refs/heads/main:refs/remotes/origin/main",
        ),
        (
            "clone",
            "origin/team/side",
            "+refs/heads/team/side:refs/remotes/origin/team/side",
        ),
        (
            "clone",
            "origin/new",
            "+refs/heads/new:refs/remotes/origin/new",
        ),
        ("clone", "refs/tags/v1", "+refs/tags/v1:refs/tags/v1"),
    ] {
        let following = at(name, reference).unwrap();
        assert_eq!(following.refspec, refspec, "{name} {reference}");
        assert_eq!(following.remote, "origin");
    }
    let error = at("clone", "main").unwrap_err();
    assert!(error.message.contains("does not move `main`"), "{error}");
    assert!(error.help.unwrap().contains("origin/main"));
    let alone = following(&fixture.location("v1")).unwrap_err();
    assert!(alone.message.contains("no remote"), "{alone}");
    assert!(alone.help.unwrap().contains("git remote add"));
}

// What git says of a folder, without git.

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
