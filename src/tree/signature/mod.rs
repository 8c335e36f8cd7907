//! Who signed a commit, and whether that is somebody who may. Blocks.
//!
//! The programs that git itself asks do the verifying: `ssh-keygen` (OpenSSH) and `gpgv` (GnuPG). In-process, both kinds
//! would need the crate `rsa`, whose timing is a known weakness, and a second reading of formats that decide who is
//! trusted.
//!
//! What counts is whether a key is allowed now. The date in a commit is the word of whoever made the commit, so that an
//! expired key does not get good again by an old date.

mod commit;
mod openpgp;
mod signers;
mod ssh;

use std::collections::VecDeque;
use std::fmt;
use std::fs::{File, Permissions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use sha2::{Digest as _, Sha256};

use super::TreeError;
use super::process::{self, Finished};
use crate::clock::{self, Clock};
use commit::{Signature, Signed, Unsigned};
use signers::{MAX_SIGNERS_BYTES, Signers};

/// Longest time that one program may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Most verdicts that are remembered: the commits of all layers, and some before them.
const MAX_VERDICTS: usize = 64;
/// How long a good verdict is remembered: a key may expire.
const ACCEPTED_FOR: Duration = Duration::from_hours(1);
/// How long a commit that was refused stays refused without another look: a key may become valid in the meantime.
const REFUSED_FOR: Duration = Duration::from_mins(1);

/// Files of a workplace.
const ALLOWED: &str = "allowed_signers";
const KEYRING: &str = "keyring.gpg";
const SIGNATURE: &str = "signature";
const PAYLOAD: &str = "payload";

/// The programs that verify.
#[derive(Clone, Debug)]
struct Programs {
    ssh_keygen: PathBuf,
    gpgv: PathBuf,
}

/// Verifies commits against a file of allowed signers, which is read anew each time. Remembers its verdicts, so that a
/// commit is verified once for each content of the file.
pub struct Verifier {
    file: PathBuf,
    programs: Programs,
    clock: Arc<dyn Clock>,
    verdicts: Mutex<VecDeque<Remembered>>,
}

/// A verdict, and what it was about.
#[derive(Clone)]
struct Remembered {
    commit: String,
    /// The digest of the file of signers.
    signers: [u8; 32],
    at: Instant,
    verdict: Result<String, Refusal>,
}

impl Verifier {
    /// A verifier of commits that are signed by somebody whom `file` names.
    pub fn new(file: PathBuf) -> Self {
        Self {
            file,
            programs: Programs {
                ssh_keygen: "ssh-keygen".into(),
                gpgv: "gpgv".into(),
            },
            clock: clock::system(),
            verdicts: Mutex::default(),
        }
    }

    /// Whether a commit was verified before, and the file of signers is still what it was then. Starts nothing.
    pub fn has_verified(&self, id: &str) -> bool {
        let Ok(text) = self.read() else { return false };
        let signers: [u8; 32] = Sha256::digest(text.as_bytes()).into();
        let verdict = self.remembered(id, &signers, self.clock.instant());
        matches!(verdict, Some(Ok(_)))
    }

    /// Who signed a commit: the principal of an SSH key, or the fingerprint of an OpenPGP key.
    ///
    /// `source` is where the commit comes from, for the error; `id` its id in hexadecimal digits; `object` its bytes, as
    /// `git cat-file commit` prints them. Fails when the file cannot be read, when the commit is not signed by somebody
    /// whom the file allows, and when that cannot be found out.
    pub fn signer(&self, source: &str, id: &str, object: &[u8]) -> Result<String, TreeError> {
        let text = self.read()?;
        let signers: [u8; 32] = Sha256::digest(text.as_bytes()).into();
        let now = self.clock.instant();
        if let Some(verdict) = self.remembered(id, &signers, now) {
            return verdict.map_err(|refusal| self.error(source, id, refusal));
        }
        let verdict = Signers::parse(&text)
            .map_err(|malformed| TreeError {
                path: format!("{}:{}", self.file.display(), malformed.line),
                message: malformed.message,
                help: None,
            })
            .map(|signers| self.verify(signers, id, object))?;
        if !matches!(&verdict, Err(refusal) if refusal.is_of_host) {
            self.remember(Remembered {
                commit: id.to_owned(),
                signers,
                at: now,
                verdict: verdict.clone(),
            });
        }
        verdict.map_err(|refusal| self.error(source, id, refusal))
    }

    fn read(&self) -> Result<String, TreeError> {
        let error = |message: String| TreeError {
            path: self.file.display().to_string(),
            message,
            help: Some("it names who may sign commits: --require-signed".to_owned()),
        };
        let mut text = String::new();
        File::open(&self.file)
            .and_then(|file| {
                file.take(MAX_SIGNERS_BYTES.saturating_add(1))
                    .read_to_string(&mut text)
            })
            .map_err(|problem| error(format!("the file of signers cannot be read: {problem}")))?;
        if text.len() as u64 > MAX_SIGNERS_BYTES {
            return Err(error(format!(
                "the file of signers is larger than {MAX_SIGNERS_BYTES} bytes"
            )));
        }
        Ok(text)
    }

    fn verify(&self, signers: Signers, id: &str, object: &[u8]) -> Result<String, Refusal> {
        let Signed { payload, signature } = commit::split(object, id.len())?;
        let text = match &signature {
            Signature::Ssh(text) | Signature::OpenPgp(text) => text,
        };
        let workplace = Workplace::new(self, signers, &payload, text)?;
        match &signature {
            Signature::Ssh(text) => ssh::verify(&workplace, text),
            Signature::OpenPgp(_) => openpgp::verify(&workplace),
        }
    }

    fn remembered(
        &self,
        id: &str,
        signers: &[u8; 32],
        now: Instant,
    ) -> Option<Result<String, Refusal>> {
        let verdicts = self.verdicts.lock().unwrap_or_else(PoisonError::into_inner);
        let found = verdicts
            .iter()
            .find(|known| known.commit == id && known.signers == *signers)?;
        let lifetime = if found.verdict.is_ok() {
            ACCEPTED_FOR
        } else {
            REFUSED_FOR
        };
        let is_stale = now.saturating_duration_since(found.at) >= lifetime;
        (!is_stale).then(|| found.verdict.clone())
    }

    fn remember(&self, fresh: Remembered) {
        let mut verdicts = self.verdicts.lock().unwrap_or_else(PoisonError::into_inner);
        verdicts.retain(|known| known.commit != fresh.commit || known.signers != fresh.signers);
        if verdicts.len() >= MAX_VERDICTS {
            verdicts.pop_front();
        }
        verdicts.push_back(fresh);
    }

    fn error(&self, source: &str, id: &str, refusal: Refusal) -> TreeError {
        let short = id.get(..12).unwrap_or(id);
        TreeError {
            path: source.to_owned(),
            message: format!("commit {short} {}", refusal.message),
            help: Some(refusal.help.unwrap_or_else(|| {
                format!(
                    "sign it (git commit --amend -S) with a key that {} allows",
                    self.file.display()
                )
            })),
        }
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Verifier")
            .field("file", &self.file)
            .finish_non_exhaustive()
    }
}

/// Two verifiers are the same when they read the same file.
impl PartialEq for Verifier {
    fn eq(&self, other: &Self) -> bool {
        self.file == other.file
    }
}

impl Eq for Verifier {}

/// Why a commit does not count. The message completes "commit … ".
#[derive(Clone, Debug, PartialEq, Eq)]
struct Refusal {
    message: String,
    /// What to do, where that is not to sign it anew.
    help: Option<String>,
    /// Whether it says nothing of the commit, but of the machine that cannot verify it.
    is_of_host: bool,
}

impl Refusal {
    fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            help: None,
            is_of_host: false,
        }
    }

    fn unknown(key: &str, workplace: &Workplace) -> Self {
        let file = workplace.file.display();
        Self::new(format!("is signed with {key}, which {file} does not allow"))
    }

    fn other_content() -> Self {
        Self::new("has a signature that was made for other content")
    }

    fn malformed() -> Self {
        Self::new("has a signature that cannot be read")
    }

    /// The machine itself is at fault.
    #[expect(clippy::needless_pass_by_value, reason = "it is the end of a Result")]
    fn host(error: std::io::Error) -> Self {
        Self {
            is_of_host: true,
            ..Self::new(format!("cannot be verified: {error}"))
        }
        .with_help("verifying needs a folder for temporary files: set TMPDIR")
    }

    fn with_help(self, help: impl Into<String>) -> Self {
        Self {
            help: Some(help.into()),
            ..self
        }
    }

    fn because(mut self, reason: Option<String>) -> Self {
        if let Some(reason) = reason {
            self.message = format!("{}: {reason}", self.message);
        }
        self
    }
}

impl From<Unsigned> for Refusal {
    fn from(unsigned: Unsigned) -> Self {
        match unsigned {
            Unsigned::None => Self::new("is not signed"),
            Unsigned::Several => Self::new("has more than one signature"),
            Unsigned::Unknown => {
                Self::new("has a signature that was made neither with SSH nor with OpenPGP")
            }
            Unsigned::Malformed => Self::malformed(),
        }
    }
}

/// A private folder with the files that one verification needs, gone when it goes.
struct Workplace {
    folder: tempfile::TempDir,
    signers: Signers,
    programs: Programs,
    /// The file that the signers come from.
    file: PathBuf,
}

impl Workplace {
    fn new(
        verifier: &Verifier,
        signers: Signers,
        payload: &[u8],
        signature: &str,
    ) -> Result<Self, Refusal> {
        let folder = tempfile::Builder::new()
            .prefix("tidegate-signature-")
            .permissions(Permissions::from_mode(0o700))
            .tempdir()
            .map_err(Refusal::host)?;
        for (name, bytes) in [
            (ALLOWED, signers.ssh.as_bytes()),
            (KEYRING, &signers.openpgp),
            (SIGNATURE, signature.as_bytes()),
            (PAYLOAD, payload),
        ] {
            File::create_new(folder.path().join(name))
                .and_then(|mut file| file.write_all(bytes))
                .map_err(Refusal::host)?;
        }
        Ok(Self {
            folder,
            signers,
            programs: verifier.programs.clone(),
            file: verifier.file.clone(),
        })
    }

    fn folder(&self) -> &Path {
        self.folder.path()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs a program in the folder, which is its home as well.
    fn run(&self, mut command: Command) -> Result<Finished, Refusal> {
        command
            .current_dir(self.folder())
            .env("HOME", self.folder());
        let program = command.get_program().display().to_string();
        process::run(command, PATIENCE).map_err(|failure| match failure {
            process::Failure::Missing => Refusal {
                is_of_host: true,
                ..Refusal::new(format!("cannot be verified: there is no program {program}"))
            }
            .with_help("install openssh-client for SSH keys, gpgv for OpenPGP keys"),
            process::Failure::TooSlow => Refusal {
                is_of_host: true,
                ..Refusal::new(format!(
                    "cannot be verified: {program} did not end within {} s",
                    PATIENCE.as_secs()
                ))
            },
            process::Failure::Host(error) => Refusal::host(error),
        })
    }
}

#[cfg(test)]
mod tests;
