//! References to secrets, and their values: the one file here that reads the environment.
//!
//! References are resolved on the JSON tree, after validation and before typing. No message has a value in it.

use std::cell::{OnceCell, RefCell};
use std::collections::BTreeMap;
use std::fmt;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::encryption::{Ciphertext, Identities};

/// Most bytes of a secret.
pub const MAX_SECRET_BYTES: u64 = 64 * 1024;
/// The systemd credential that holds the private key of this host, unless `--age-identity` names a file.
pub const IDENTITY_CREDENTIAL: &str = "age-identity";

/// What a manifest writes where a secret belongs.
const FORMS: &str = "write { env = \"NAME\" }, { file = \"/run/…\" }, { credential = \"name\" } or { age = \"…\" }; \
                     { plain = \"…\" } says that everybody who reads the tree may read it";

/// Where the value of a secret is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reference {
    /// `{ env = "NAME" }`: an environment variable.
    Environment(String),
    /// `{ file = "/run/…" }`: a file, without its last line break.
    File(PathBuf),
    /// `{ credential = "name" }`: a systemd credential, a file in `$CREDENTIALS_DIRECTORY`.
    Credential(String),
    /// `{ age = "…" }`: encrypted in the manifest itself, for the identity of this host.
    Age(Ciphertext),
}

impl fmt::Display for Reference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Environment(name) => write!(formatter, "the environment variable `{name}`"),
            Self::File(path) => write!(formatter, "the file `{}`", path.display()),
            Self::Credential(name) => write!(formatter, "the credential `{name}`"),
            Self::Age(_) => formatter.write_str("the encrypted value"),
        }
    }
}

/// Why a secret has no value. Never has a value in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// What is wrong with the thing that the reference names: "is not set".
    pub message: String,
    /// What to do.
    pub help: String,
}

/// Gives the values of secrets.
pub trait SecretSource {
    /// The value that a reference names.
    fn read(&self, reference: &Reference) -> Result<String, Unreadable>;

    /// The digest of the value. A source that knows it need not read the value for it.
    fn digest(&self, reference: &Reference) -> Result<[u8; 32], Unreadable> {
        self.read(reference).map(|value| digest(&value))
    }

    /// A digest that is another one whenever the value may be another one. None while there is nothing to read.
    ///
    /// What is asked at every poll: a source does better than this default where reading is dear.
    fn trace(&self, reference: &Reference) -> Option<[u8; 32]> {
        self.read(reference).ok().map(|value| digest(&value))
    }

    /// What somebody should look at, although secrets can be read.
    fn caution(&self) -> Option<Unreadable> {
        None
    }
}

/// The secrets of this machine: environment, files, credentials, and what its identity opens. Blocks while it reads files.
#[derive(Clone, Debug, Default)]
pub struct Machine {
    identity: Option<PathBuf>,
}

impl Machine {
    /// With the private keys of this host in a file. Without one, the credential [`IDENTITY_CREDENTIAL`] is taken if
    /// there is one.
    pub fn new(identity: Option<PathBuf>) -> Self {
        Self { identity }
    }

    /// Where the private keys of this host are.
    fn identity(&self) -> Option<PathBuf> {
        self.identity.clone().or_else(|| {
            let directory = environment("CREDENTIALS_DIRECTORY").ok()?;
            let path = Path::new(&directory).join(IDENTITY_CREDENTIAL);
            path.exists().then_some(path)
        })
    }

    fn identities(&self) -> Result<Identities, Unreadable> {
        let path = self.identity().ok_or_else(|| Unreadable {
            message: "cannot be opened: this host has no age identity".to_owned(),
            help: format!(
                "start with --age-identity FILE, or add LoadCredential={IDENTITY_CREDENTIAL}:… to the systemd unit; \
                 `tidegate secret keygen` makes one"
            ),
        })?;
        let of_file = |message: &str| {
            format!(
                "cannot be opened: the age identity {} {message}",
                path.display()
            )
        };
        let text = file(&path).map_err(|error| Unreadable {
            message: of_file(&error.message),
            ..error
        })?;
        Identities::parse(&text).map_err(|message| Unreadable {
            message: of_file(&message),
            help: "`tidegate secret keygen` makes an identity".to_owned(),
        })
    }
}

impl SecretSource for Machine {
    fn read(&self, reference: &Reference) -> Result<String, Unreadable> {
        let value = match reference {
            Reference::Environment(name) => environment(name)?,
            Reference::File(path) => file(path)?,
            Reference::Credential(name) => {
                let directory =
                    environment("CREDENTIALS_DIRECTORY")
                        .ok()
                        .ok_or_else(|| Unreadable {
                            message: "cannot be read: $CREDENTIALS_DIRECTORY is not set".to_owned(),
                            help: format!("add LoadCredential={name}:… to the systemd unit"),
                        })?;
                file(&PathBuf::from(directory).join(name))?
            }
            Reference::Age(ciphertext) => text(self.identities()?.open(ciphertext)?)?,
        };
        if value.is_empty() {
            return Err(Unreadable {
                message: "is empty".to_owned(),
                help: "give it a value".to_owned(),
            });
        }
        Ok(value)
    }

    /// The reference holds an encrypted value whole, so that only another identity can change what comes of it.
    fn trace(&self, reference: &Reference) -> Option<[u8; 32]> {
        let value = match reference {
            Reference::Age(_) => file(&self.identity()?).ok()?,
            _ => self.read(reference).ok()?,
        };
        Some(digest(&value))
    }

    /// An identity that other users can read. Of credentials systemd takes care.
    fn caution(&self) -> Option<Unreadable> {
        let path = self.identity.as_ref()?;
        let metadata = std::fs::metadata(path).ok()?;
        let mode = metadata.mode() & 0o777;
        // A file of another owner (root, mostly) is lent to this user by its group.
        let is_own = metadata.uid() == rustix::process::geteuid().as_raw();
        let too_open = if is_own { 0o077 } else { 0o037 };
        (mode & too_open != 0).then(|| Unreadable {
            message: format!(
                "the age identity {} is open to other users: its mode is {mode:04o}",
                path.display()
            ),
            help: format!("chmod {:04o} {}", mode & !too_open, path.display()),
        })
    }
}

pub(super) fn digest(value: &str) -> [u8; 32] {
    Sha256::digest(value.as_bytes()).into()
}

#[expect(
    clippy::disallowed_methods,
    reason = "the environment is read here, and only for secrets"
)]
fn environment(name: &str) -> Result<String, Unreadable> {
    std::env::var(name).map_err(|error| match error {
        std::env::VarError::NotPresent => Unreadable {
            message: "is not set".to_owned(),
            help: format!("set {name} for the daemon, in its unit or its EnvironmentFile="),
        },
        std::env::VarError::NotUnicode(_) => Unreadable {
            message: "is not UTF-8 text".to_owned(),
            help: "a secret is text; encode binary ones as base64".to_owned(),
        },
    })
}

fn file(path: &Path) -> Result<String, Unreadable> {
    use std::io::Read as _;
    let unreadable = |message: String, help: &str| Unreadable {
        message,
        help: help.to_owned(),
    };
    let mut bytes = Vec::new();
    std::fs::metadata(path)
        .and_then(|metadata| {
            if metadata.is_file() {
                std::fs::File::open(path)
            } else {
                Err(std::io::Error::other("it is not a regular file"))
            }
        })
        .and_then(|file| file.take(MAX_SECRET_BYTES + 1).read_to_end(&mut bytes))
        .map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => unreadable(
                "does not exist".to_owned(),
                "create it, or name the right one",
            ),
            std::io::ErrorKind::PermissionDenied => unreadable(
                "must not be read by this user".to_owned(),
                "let the user that runs tidegate read it",
            ),
            _ => unreadable(format!("cannot be read: {error}"), "look at the file"),
        })?;
    text(bytes)
}

/// The text of a secret, without its last line break.
fn text(bytes: Vec<u8>) -> Result<String, Unreadable> {
    if bytes.len() as u64 > MAX_SECRET_BYTES {
        return Err(Unreadable {
            message: format!("is larger than {MAX_SECRET_BYTES} bytes"),
            help: "is it the right one?".to_owned(),
        });
    }
    let mut text = String::from_utf8(bytes).ok().ok_or_else(|| Unreadable {
        message: "is not UTF-8 text".to_owned(),
        help: "a secret is text; encode binary ones as base64".to_owned(),
    })?;
    let length = text
        .strip_suffix("\r\n")
        .or_else(|| text.strip_suffix('\n'))
        .unwrap_or(&text)
        .len();
    text.truncate(length);
    Ok(text)
}

/// Stands for the secrets of a machine that is not here: every reference has a value. For `tidegate check`, which
/// runs where the secrets are not.
#[derive(Clone, Copy, Debug, Default)]
pub struct Placeholders;

impl SecretSource for Placeholders {
    fn read(&self, _: &Reference) -> Result<String, Unreadable> {
        Ok("placeholder".to_owned())
    }
}

/// Reads from another source and remembers what was read, and what could not be.
pub struct Recorder<'a> {
    source: &'a dyn SecretSource,
    read: RefCell<BTreeMap<Reference, Recorded>>,
    /// What was read the last time.
    before: Option<&'a SecretsRead>,
    /// The trace of all encrypted values, which one identity opens.
    opening: OnceCell<Option<[u8; 32]>>,
}

impl<'a> Recorder<'a> {
    /// Nothing is read yet.
    pub fn new(source: &'a dyn SecretSource) -> Self {
        Self {
            source,
            read: RefCell::default(),
            before: None,
            opening: OnceCell::new(),
        }
    }

    /// The same, where what was read the last time is known: what left the same trace is not read again for its digest.
    pub fn after(source: &'a dyn SecretSource, before: &'a SecretsRead) -> Self {
        Self {
            before: Some(before),
            ..Self::new(source)
        }
    }

    /// What was read so far.
    pub fn finish(self) -> SecretsRead {
        SecretsRead(self.read.into_inner())
    }
}

impl SecretSource for Recorder<'_> {
    fn read(&self, reference: &Reference) -> Result<String, Unreadable> {
        // Before the value: what changes in between is noticed at the next look.
        let trace = self.trace(reference);
        let value = self.source.read(reference);
        let recorded = Recorded {
            value: value.as_deref().ok().map(digest),
            trace,
        };
        self.read.borrow_mut().insert(reference.clone(), recorded);
        value
    }

    /// Of a reference that several services name it is found out once.
    fn digest(&self, reference: &Reference) -> Result<[u8; 32], Unreadable> {
        let known = |read: &BTreeMap<Reference, Recorded>| read.get(reference)?.value;
        if let Some(digest) = known(&self.read.borrow()) {
            return Ok(digest);
        }
        let before = self.before.and_then(|before| before.0.get(reference));
        if let Some(before) = before
            && let Some(digest) = before.value
            && before.trace.is_some()
            && before.trace == self.trace(reference)
        {
            let mut read = self.read.borrow_mut();
            read.insert(reference.clone(), before.clone());
            return Ok(digest);
        }
        self.read(reference).map(|value| digest(&value))
    }

    fn trace(&self, reference: &Reference) -> Option<[u8; 32]> {
        match reference {
            Reference::Age(_) => *self.opening.get_or_init(|| self.source.trace(reference)),
            _ => self.source.trace(reference),
        }
    }

    fn caution(&self) -> Option<Unreadable> {
        self.source.caution()
    }
}

/// What came of one reference.
#[derive(Clone, Debug)]
struct Recorded {
    /// The digest of the value; none where it could not be read.
    value: Option<[u8; 32]>,
    /// As [`SecretSource::trace`] said.
    trace: Option<[u8; 32]>,
}

/// What was read, as digests: enough to notice that a secret was rotated, or that one can be read now. Two of them are
/// equal when the same references gave the same values.
#[derive(Clone, Debug, Default)]
pub struct SecretsRead(BTreeMap<Reference, Recorded>);

impl SecretsRead {
    /// The references that were read.
    pub fn references(&self) -> impl Iterator<Item = &Reference> {
        self.0.keys()
    }

    /// Whether reading them again may give something else: another value, one where there was none, or none any more.
    pub fn have_changed(&self, source: &dyn SecretSource) -> bool {
        // One identity opens all encrypted values.
        let mut opening = None;
        self.0.iter().any(|(reference, recorded)| {
            let trace = match reference {
                Reference::Age(_) => *opening.get_or_insert_with(|| source.trace(reference)),
                _ => source.trace(reference),
            };
            trace != recorded.trace
        })
    }
}

impl PartialEq for SecretsRead {
    fn eq(&self, other: &Self) -> bool {
        let values = |(reference, recorded): (_, &Recorded)| (reference, recorded.value);
        self.0.iter().map(values).eq(other.0.iter().map(values))
    }
}

impl Eq for SecretsRead {}

/// What stands where a secret belongs.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Written {
    /// The value itself, on purpose.
    Plain(String),
    /// A reference.
    Reference(Reference),
}

/// Why something cannot stand where a secret belongs.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Misplaced {
    /// What is wrong.
    pub(super) message: String,
    /// What to write instead.
    pub(super) help: String,
    /// Whether the value itself may be a secret, and so must not be shown.
    pub(super) hide: bool,
}

/// Reads what stands at the key `name`, where a secret belongs.
pub(super) fn written(name: &str, value: &Value) -> Result<Written, Misplaced> {
    let misplaced = |message: String, hide: bool| Misplaced {
        message,
        help: FORMS.to_owned(),
        hide,
    };
    let Value::Object(map) = value else {
        return Err(misplaced(
            format!("`{name}` is a secret, and a secret is never written here"),
            true,
        ));
    };
    let mut entries = map.iter();
    let (Some((form, value)), None) = (entries.next(), entries.next()) else {
        return Err(misplaced(
            format!("`{name}` must be one reference to a secret"),
            true,
        ));
    };
    let text = match value {
        Value::String(text) if !text.is_empty() => text.clone(),
        _ => {
            return Err(misplaced(
                format!("`{form}` of `{name}` must be text, and not empty"),
                matches!(form.as_str(), "plain" | "age"),
            ));
        }
    };
    match form.as_str() {
        "plain" => Ok(Written::Plain(text)),
        "env" if text.contains(['=', '\0']) => Err(misplaced(
            format!("`{name}` names an environment variable that cannot exist"),
            false,
        )),
        "env" => Ok(Written::Reference(Reference::Environment(text))),
        "file" if text.starts_with('/') => {
            Ok(Written::Reference(Reference::File(PathBuf::from(text))))
        }
        "file" => Err(Misplaced {
            message: format!("`{name}` names a file by a relative path"),
            help: "a secret's file has an absolute path outside the tree: /run/secrets/…"
                .to_owned(),
            hide: false,
        }),
        "credential" if text.contains('/') || text == ".." || text == "." => Err(Misplaced {
            message: format!("`{name}` names a credential that cannot exist"),
            help: "write the name that stands in LoadCredential=".to_owned(),
            hide: false,
        }),
        "credential" => Ok(Written::Reference(Reference::Credential(text))),
        "age" => Ciphertext::parse(&text)
            .map(|ciphertext| Written::Reference(Reference::Age(ciphertext)))
            .map_err(|error| Misplaced {
                message: format!("`{name}` {error}"),
                help: "write what `tidegate secret encrypt --recipient age1…` prints".to_owned(),
                // The value itself, perhaps, which somebody forgot to encrypt.
                hide: true,
            }),
        other => Err(misplaced(
            format!("`{name}` has the unknown form of reference `{other}`"),
            true,
        )),
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests may block")]
mod tests {
    use super::*;
    use crate::manifest::encryption::Recipients;
    use serde_json::json;
    use std::fs;

    #[test]
    fn each_form_is_read_and_nothing_else_is() {
        assert_eq!(
            written("password", &json!({"plain": "x"})),
            Ok(Written::Plain("x".to_owned()))
        );
        for (value, expected) in [
            (json!({"env": "A"}), Reference::Environment("A".to_owned())),
            (json!({"file": "/run/a"}), Reference::File("/run/a".into())),
            (
                json!({"credential": "a"}),
                Reference::Credential("a".to_owned()),
            ),
        ] {
            assert_eq!(
                written("password", &value),
                Ok(Written::Reference(expected))
            );
        }
        for value in [
            json!("hunter2"),
            json!(5),
            json!({}),
            json!({"env": "A", "file": "/b"}),
            json!({"env": ""}),
            json!({"env": 1}),
            json!({"file": "relative"}),
            json!({"credential": "../a"}),
            json!({"vault": "hunter2"}),
            json!({"age": "hunter2"}),
            json!({"age": ["hunter2"]}),
        ] {
            let misplaced = written("password", &value).unwrap_err();
            assert!(!misplaced.message.contains("hunter2"));
        }
    }

    #[test]
    fn a_file_is_read_without_its_last_line_break_and_a_rotation_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        fs::write(&path, "one\n\n").unwrap();
        let reference = Reference::File(path.clone());
        assert_eq!(Machine::default().read(&reference).unwrap(), "one\n");
        let machine = Machine::default();
        let recorder = Recorder::new(&machine);
        recorder.read(&reference).unwrap();
        let read = recorder.finish();
        assert!(!read.have_changed(&machine));
        fs::write(&path, "two\n").unwrap();
        assert!(read.have_changed(&machine));
        fs::remove_file(&path).unwrap();
        assert!(read.have_changed(&machine));
    }

    #[test]
    fn what_has_no_value_says_why() {
        let folder = tempfile::tempdir().unwrap();
        let message =
            |reference: Reference| Machine::default().read(&reference).unwrap_err().message;
        assert_eq!(
            message(Reference::Environment("TIDEGATE_TEST_NOT_SET".to_owned())),
            "is not set"
        );
        assert_eq!(
            message(Reference::File(folder.path().join("none"))),
            "does not exist"
        );
        assert!(message(Reference::File(folder.path().to_owned())).contains("not a regular file"));
        let empty = folder.path().join("empty");
        fs::write(&empty, "\n").unwrap();
        assert_eq!(message(Reference::File(empty)), "is empty");
    }

    fn encrypted(identity: &Identities, value: &str) -> Reference {
        let mut recipients = Recipients::default();
        for name in identity.recipients() {
            recipients.add(&name).unwrap();
        }
        Reference::Age(recipients.encrypt(value).unwrap())
    }

    #[test]
    fn an_encrypted_value_is_opened_and_another_identity_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("identity");
        let (one, other) = (Identities::generate(), Identities::generate());
        let reference = encrypted(&one, "hunter2\n");
        let machine = Machine::new(Some(path.clone()));
        let recorder = Recorder::new(&machine);
        let missing = recorder.read(&reference).unwrap_err();
        assert!(missing.message.contains("does not exist"), "{missing:?}");
        let read = recorder.finish();
        assert!(!read.have_changed(&machine));

        fs::write(&path, one.to_file()).unwrap();
        assert!(read.have_changed(&machine));
        let recorder = Recorder::new(&machine);
        assert_eq!(recorder.read(&reference).unwrap(), "hunter2");
        let first = recorder.finish();
        fs::write(&path, other.to_file() + &one.to_file()).unwrap();
        assert!(first.have_changed(&machine));
        let recorder = Recorder::new(&machine);
        assert_eq!(recorder.read(&reference).unwrap(), "hunter2");
        assert_eq!(first, recorder.finish(), "the value is the same");

        fs::write(&path, other.to_file()).unwrap();
        let refused = machine.read(&reference).unwrap_err();
        assert!(refused.message.contains("other recipients"), "{refused:?}");
        fs::write(&path, "hunter2").unwrap();
        let refused = machine.read(&reference).unwrap_err();
        assert!(refused.message.contains("in line 1"), "{refused:?}");
        assert!(!format!("{refused:?}").contains("hunter2"));
    }

    #[test]
    fn an_encrypted_value_is_held_to_the_rules_of_every_other() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("identity");
        let identity = Identities::generate();
        fs::write(&path, identity.to_file()).unwrap();
        let machine = Machine::new(Some(path));
        let long = "a".repeat(usize::try_from(MAX_SECRET_BYTES).unwrap());
        for (value, expected) in [
            (String::new(), "is empty"),
            (long.clone() + "b", "is larger"),
        ] {
            let refused = machine.read(&encrypted(&identity, &value)).unwrap_err();
            assert!(refused.message.contains(expected), "{refused:?}");
        }
        assert_eq!(machine.read(&encrypted(&identity, &long)).unwrap(), long);
        assert_eq!(encrypted(&identity, "x").to_string(), "the encrypted value");
    }

    #[test]
    fn an_identity_that_others_can_read_is_a_caution() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("identity");
        fs::write(&path, "").unwrap();
        let machine = Machine::new(Some(path.clone()));
        for (mode, expected) in [
            (0o600, None),
            (0o400, None),
            (0o640, Some("0600")),
            (0o644, Some("0600")),
        ] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let help = machine.caution().map(|caution| caution.help);
            assert_eq!(
                help,
                expected.map(|mode| format!("chmod {mode} {}", path.display()))
            );
        }
        assert_eq!(Machine::default().caution(), None);
    }
}
