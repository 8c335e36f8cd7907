//! References to secrets, and their values: the one file here that reads the environment.
//!
//! References are resolved on the JSON tree, after validation and before typing. No message has a value in it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// Most bytes of a secret.
pub const MAX_SECRET_BYTES: u64 = 64 * 1024;

/// What a manifest writes where a secret belongs.
const FORMS: &str = "write { env = \"NAME\" }, { file = \"/run/…\" } or { credential = \"name\" }; \
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
}

impl fmt::Display for Reference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Environment(name) => write!(formatter, "the environment variable `{name}`"),
            Self::File(path) => write!(formatter, "the file `{}`", path.display()),
            Self::Credential(name) => write!(formatter, "the credential `{name}`"),
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
}

/// The secrets of this machine: environment, files, credentials. Blocks while it reads files.
#[derive(Clone, Copy, Debug, Default)]
pub struct Machine;

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
        };
        if value.is_empty() {
            return Err(Unreadable {
                message: "is empty".to_owned(),
                help: "give it a value".to_owned(),
            });
        }
        Ok(value)
    }
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

fn file(path: &std::path::Path) -> Result<String, Unreadable> {
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
    if bytes.len() as u64 > MAX_SECRET_BYTES {
        return Err(unreadable(
            format!("is larger than {MAX_SECRET_BYTES} bytes"),
            "is it the right file?",
        ));
    }
    let mut text = String::from_utf8(bytes).ok().ok_or_else(|| {
        unreadable(
            "is not UTF-8 text".to_owned(),
            "a secret is text; encode binary ones as base64",
        )
    })?;
    let length = text
        .strip_suffix("\r\n")
        .or_else(|| text.strip_suffix('\n'))
        .unwrap_or(&text)
        .len();
    text.truncate(length);
    Ok(text)
}

/// Reads every reference once, however many services name it: they all get one value.
pub(super) struct Once<'a> {
    source: &'a dyn SecretSource,
    read: RefCell<BTreeMap<Reference, Result<String, Unreadable>>>,
}

impl<'a> Once<'a> {
    pub(super) fn new(source: &'a dyn SecretSource) -> Self {
        Self {
            source,
            read: RefCell::default(),
        }
    }
}

impl SecretSource for Once<'_> {
    fn read(&self, reference: &Reference) -> Result<String, Unreadable> {
        if let Some(known) = self.read.borrow().get(reference) {
            return known.clone();
        }
        let value = self.source.read(reference);
        let mut read = self.read.borrow_mut();
        read.insert(reference.clone(), value.clone());
        value
    }
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

/// What was read, as digests: enough to notice that a secret was rotated.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SecretsRead(BTreeMap<Reference, [u8; 32]>);

impl SecretsRead {
    /// Notes the value of a reference, and gives its digest.
    pub(super) fn add(&mut self, reference: Reference, value: &str) -> [u8; 32] {
        let digest = Sha256::digest(value.as_bytes()).into();
        *self.0.entry(reference).or_insert(digest)
    }

    /// The references that were read.
    pub fn references(&self) -> impl Iterator<Item = &Reference> {
        self.0.keys()
    }

    /// Whether one of them has another value now, or none.
    pub fn have_changed(&self, source: &dyn SecretSource) -> bool {
        self.0.iter().any(|(reference, digest)| {
            source.read(reference).map_or(true, |value| {
                Sha256::digest(value.as_bytes()).as_slice() != digest
            })
        })
    }
}

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
                form == "plain",
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
    use serde_json::json;
    use std::fs;

    #[test]
    fn the_four_forms_are_read_and_nothing_else_is() {
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
        assert_eq!(Machine.read(&reference).unwrap(), "one\n");
        let mut read = SecretsRead::default();
        read.add(reference, "one\n");
        assert!(!read.have_changed(&Machine));
        fs::write(&path, "two\n").unwrap();
        assert!(read.have_changed(&Machine));
        fs::remove_file(&path).unwrap();
        assert!(read.have_changed(&Machine));
    }

    #[test]
    fn what_has_no_value_says_why() {
        let folder = tempfile::tempdir().unwrap();
        let message = |reference: Reference| Machine.read(&reference).unwrap_err().message;
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
}
