//! Keys and signed commits, made by the tools that people use: git, ssh-keygen and gpg.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

const INSTALL: &str = "`tests/run --install-only` installs what is missing";

/// A home of its own with keys, and a git that knows no other configuration.
pub(crate) struct Signing {
    home: tempfile::TempDir,
}

/// How a commit is signed.
#[derive(Clone, Copy)]
pub(crate) enum With<'a> {
    Nothing,
    /// The SSH key of this name.
    Ssh(&'a str),
    /// The OpenPGP key of this name, with further options of gpg.
    OpenPgp(&'a str, &'a [&'a str]),
}

impl Signing {
    pub(crate) fn new() -> Self {
        let home = tempfile::Builder::new()
            .prefix("tidegate-keys-")
            .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o700))
            .tempdir()
            .unwrap();
        Self { home }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// Writes a file and gives its path.
    pub(crate) fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    /// Runs a program that must do well, with `input`; gives what it prints.
    pub(crate) fn run(&self, program: &str, arguments: &[&str], input: &[u8]) -> Vec<u8> {
        let output = self.output(program, arguments, input);
        assert!(
            output.status.success(),
            "{program} {arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        output.stdout
    }

    fn output(&self, program: &str, arguments: &[&str], input: &[u8]) -> Output {
        let mut child = Command::new(program)
            .args(arguments)
            .current_dir(self.home.path())
            .env("HOME", self.home.path())
            .env("GNUPGHOME", self.home.path())
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env_remove("SSH_AUTH_SOCK")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{program}: {error}; {INSTALL}"));
        // A program that does not read its input has closed it.
        let _ = child.stdin.take().unwrap().write_all(input);
        child.wait_with_output().unwrap()
    }

    /// A new SSH key of a type such as `ed25519`: its public half, as `.pub` files have it, without the comment.
    pub(crate) fn ssh_key(&self, name: &str, kind: &str) -> String {
        let file = self.path(name);
        let file = file.to_str().unwrap();
        self.run(
            "ssh-keygen",
            &["-q", "-t", kind, "-N", "", "-C", name, "-f", file],
            b"",
        );
        let public = std::fs::read_to_string(format!("{file}.pub")).unwrap();
        let words: Vec<&str> = public.split(' ').collect();
        format!("{} {}", words[0], words[1])
    }

    /// A new OpenPGP key for `NAME@example.org`, with further options of gpg before the command: its public half,
    /// armoured, and its fingerprint. `expires` is such as `never` or `1d`.
    pub(crate) fn openpgp_key(
        &self,
        name: &str,
        expires: &str,
        options: &[&str],
    ) -> (String, String) {
        let address = format!("{name}@example.org");
        let mut arguments = options.to_vec();
        arguments.extend(["--quick-gen-key", &address, "ed25519", "sign", expires]);
        self.gpg(&arguments, b"");
        let list = self.gpg(&["--with-colons", "--list-keys", &address], b"");
        let list = String::from_utf8(list).unwrap();
        let fingerprint = list
            .lines()
            .find_map(|line| line.strip_prefix("fpr:"))
            .unwrap();
        (
            self.openpgp_public(name),
            fingerprint.trim_matches(':').to_owned(),
        )
    }

    /// The public half of an OpenPGP key as it is now.
    pub(crate) fn openpgp_public(&self, name: &str) -> String {
        let address = format!("{name}@example.org");
        String::from_utf8(self.gpg(&["--armor", "--export", &address], b"")).unwrap()
    }

    pub(crate) fn gpg(&self, arguments: &[&str], input: &[u8]) -> Vec<u8> {
        let mut all = vec!["--batch", "--quiet", "--no-tty", "--passphrase", ""];
        all.extend(["--pinentry-mode", "loopback"]);
        all.extend(arguments);
        self.run("gpg", &all, input)
    }

    /// Runs git in a folder; gives what it prints, without the last line break.
    pub(crate) fn git(&self, folder: &Path, arguments: &[&str]) -> String {
        let mut all = vec!["-C", folder.to_str().unwrap()];
        all.extend(["-c", "user.name=Ann", "-c", "user.email=ann@example.org"]);
        all.extend(["-c", "init.defaultBranch=main", "-c", "gc.auto=0"]);
        all.extend(arguments);
        let output = String::from_utf8(self.run("git", &all, b"")).unwrap();
        output.trim_end().to_owned()
    }

    /// Commits what is in the work tree, and gives the id of the commit.
    pub(crate) fn commit(&self, folder: &Path, message: &str, with: With<'_>) -> String {
        let mut own: Vec<String> = Vec::new();
        match with {
            With::Nothing => {}
            With::Ssh(name) => {
                own.push("gpg.format=ssh".to_owned());
                own.push(format!("user.signingkey={}", self.path(name).display()));
            }
            With::OpenPgp(name, options) => {
                let script = format!("#!/bin/sh\nexec gpg {} \"$@\"\n", options.join(" "));
                let program = self.write("gpg-with-options", script);
                let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
                std::fs::set_permissions(&program, mode).unwrap();
                own.push(format!("gpg.program={}", program.display()));
                own.push(format!("user.signingkey={name}@example.org"));
            }
        }
        self.git(folder, &["add", "-A"]);
        let mut arguments: Vec<&str> = own.iter().flat_map(|setting| ["-c", setting]).collect();
        arguments.extend(["commit", "-q", "--allow-empty", "-m", message]);
        if !own.is_empty() {
            arguments.push("-S");
        }
        self.git(folder, &arguments);
        self.git(folder, &["rev-parse", "HEAD"])
    }
}

impl Drop for Signing {
    fn drop(&mut self) {
        // gpg leaves an agent behind, which knows only this home.
        if self.path("pubring.kbx").exists() {
            self.output("gpgconf", &["--kill", "all"], b"");
        }
    }
}
