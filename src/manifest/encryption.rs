//! Values that are encrypted in the tree: the one file that knows age (<https://age-encryption.org/v1>). Pure but for the
//! randomness of new keys and of what is encrypted.
//!
//! Only the native X25519 keys of age are used: its SSH keys need the crate `rsa`, plugins are programs that a manifest
//! would start, and nobody is there to type a passphrase.

use std::fmt;
use std::io::{Read as _, Write as _};
use std::sync::Arc;

use age::secrecy::ExposeSecret as _;
use age::{DecryptError, Decryptor, Encryptor, x25519};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::secrets::{MAX_SECRET_BYTES, Unreadable};

/// Most bytes of an encrypted value: a secret of the largest size for some hundred recipients.
pub const MAX_CIPHERTEXT_BYTES: usize = 128 * 1024;
/// Most keys of an identity, and most recipients of a value.
pub const MAX_KEYS: usize = 256;

/// What stands around the base64 of `age --armor`.
const ARMOR: (&str, &str) = (
    "-----BEGIN AGE ENCRYPTED FILE-----",
    "-----END AGE ENCRYPTED FILE-----",
);
/// The first line of everything that any version of age wrote.
const MAGIC: &[u8] = b"age-encryption.org/";
/// How the header names a native recipient.
const NATIVE_STANZA: &[u8] = b"-> X25519 ";
/// Bytes of the tag that ends even an empty payload.
const TAG_BYTES: usize = 16;

/// A value that was encrypted for one or more recipients. Its header is well formed; whether it can be opened is another
/// question.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ciphertext(Arc<[u8]>);

impl Ciphertext {
    /// Reads the base64 of the binary form, or the armoured form; white space counts nowhere.
    ///
    /// The error completes "`password` …" and never quotes the text, which may be the secret itself, written by mistake.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        if text.len() > MAX_CIPHERTEXT_BYTES.saturating_mul(2) {
            return Err("is larger than any encrypted secret");
        }
        let text = text.trim();
        let text = text
            .strip_prefix(ARMOR.0)
            .and_then(|text| text.strip_suffix(ARMOR.1))
            .unwrap_or(text);
        let compact: String = text
            .chars()
            .filter(|character| !character.is_ascii_whitespace())
            .collect();
        let bytes = STANDARD
            .decode(compact)
            .ok()
            .ok_or("is no age data: it is neither base64 nor armoured")?;
        if bytes.len() > MAX_CIPHERTEXT_BYTES {
            return Err("is larger than any encrypted secret");
        }
        if !bytes.starts_with(MAGIC) {
            return Err("is no age data");
        }
        let mut rest: &[u8] = &bytes;
        let decryptor = Decryptor::new_buffered(&mut rest).map_err(|error| match error {
            DecryptError::UnknownFormat => "is age data of an unknown version",
            _ => "is age data with a broken header",
        })?;
        if decryptor.is_scrypt() {
            return Err("is encrypted with a passphrase, and nobody is there to type it");
        }
        if rest.len() < TAG_BYTES {
            return Err("is age data that was cut off");
        }
        let mut header = bytes
            .split(|byte| *byte == b'\n')
            .take_while(|line| !line.starts_with(b"---"));
        if !header.any(|line| line.starts_with(NATIVE_STANZA)) {
            return Err("is not encrypted for any recipient age1…");
        }
        Ok(Self(bytes.into()))
    }
}

/// The base64 of the binary form, in one line.
impl fmt::Display for Ciphertext {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&STANDARD.encode(&self.0))
    }
}

impl fmt::Debug for Ciphertext {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Ciphertext({} bytes)", self.0.len())
    }
}

/// Private keys: what opens values.
pub struct Identities(Vec<x25519::Identity>);

impl Identities {
    /// A fresh random key.
    pub fn generate() -> Self {
        Self(vec![x25519::Identity::generate()])
    }

    /// Reads an identity file of age: a key in each line, empty lines, and comments that begin with `#`.
    ///
    /// The error completes "the age identity …" and quotes nothing of the text.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut keys = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if line.starts_with(ARMOR.0) {
                return Err(
                    "is encrypted with a passphrase, and nobody is there to type it".into(),
                );
            }
            if line.starts_with("-----BEGIN ") {
                return Err("is no key of age; `tidegate secret keygen` makes one".to_owned());
            }
            let number = index.saturating_add(1);
            if line.starts_with("AGE-PLUGIN-") {
                return Err(format!(
                    "needs a plugin in line {number}, and none is started"
                ));
            }
            let key = line.parse().ok().ok_or_else(|| {
                format!("has something else than AGE-SECRET-KEY-1… in line {number}")
            })?;
            if keys.len() >= MAX_KEYS {
                return Err(format!("has more than {MAX_KEYS} keys"));
            }
            keys.push(key);
        }
        if keys.is_empty() {
            return Err("has no key in it".to_owned());
        }
        Ok(Self(keys))
    }

    /// The public key of each, `age1…`.
    pub fn recipients(&self) -> impl Iterator<Item = String> {
        self.0.iter().map(|key| key.to_public().to_string())
    }

    /// An identity file with these keys. It is the secret of secrets: never log it.
    pub fn to_file(&self) -> String {
        let mut text = String::new();
        for key in &self.0 {
            for part in ["# public key: ", &key.to_public().to_string(), "\n"] {
                text.push_str(part);
            }
            text.push_str(key.to_string().expose_secret());
            text.push('\n');
        }
        text
    }

    /// The bytes that were encrypted, at most one more than [`MAX_SECRET_BYTES`].
    pub(super) fn open(&self, ciphertext: &Ciphertext) -> Result<Vec<u8>, Unreadable> {
        let changed = || Unreadable {
            message: "was changed after it was encrypted".to_owned(),
            help: "encrypt the value again: `tidegate secret encrypt`".to_owned(),
        };
        let decryptor = Decryptor::new_buffered(ciphertext.0.as_ref())
            .ok()
            .ok_or_else(changed)?;
        let keys = self.0.iter().map(|key| key as &dyn age::Identity);
        let reader = decryptor.decrypt(keys).map_err(|error| match error {
            DecryptError::NoMatchingKeys => self.other_recipient(),
            _ => changed(),
        })?;
        let mut value = Vec::new();
        reader
            .take(MAX_SECRET_BYTES.saturating_add(1))
            .read_to_end(&mut value)
            .ok()
            .ok_or_else(changed)?;
        Ok(value)
    }

    fn other_recipient(&self) -> Unreadable {
        let own = self.recipients().next().unwrap_or_default();
        Unreadable {
            message: "is for other recipients than this host".to_owned(),
            help: format!(
                "encrypt it for this host as well: `tidegate secret encrypt --recipient {own}`"
            ),
        }
    }
}

impl fmt::Debug for Identities {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Identities(…)")
    }
}

/// Public keys: for whom a value is encrypted.
#[derive(Clone, Debug, Default)]
pub struct Recipients(Vec<x25519::Recipient>);

impl Recipients {
    /// Adds one, `age1…`. The error says what is wrong with it.
    pub fn add(&mut self, text: &str) -> Result<(), String> {
        if self.0.len() >= MAX_KEYS {
            return Err(format!("more than {MAX_KEYS} recipients"));
        }
        if text.starts_with("AGE-SECRET-KEY-") {
            return Err("this is the private key; take the public key, age1…".to_owned());
        }
        let key = text.parse().ok().ok_or_else(|| {
            let what = if text.starts_with("ssh-") {
                "an SSH key is no recipient here"
            } else {
                "this is no recipient"
            };
            format!("{what}: age1… and 58 more letters and digits")
        })?;
        self.0.push(key);
        Ok(())
    }

    /// Adds those of a recipients file of age: one in each line, empty lines, and comments that begin with `#`. The error
    /// names the line.
    pub fn add_file(&mut self, text: &str) -> Result<(), String> {
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            self.add(line)
                .map_err(|error| format!("line {}: {error}", index.saturating_add(1)))?;
        }
        Ok(())
    }

    /// Whether nobody could open what is encrypted.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// One by one, `age1…`.
    pub fn names(&self) -> impl Iterator<Item = String> {
        self.0.iter().map(ToString::to_string)
    }

    /// Encrypts a value, so that each of the recipients can open it. Fails when there are none.
    pub fn encrypt(&self, value: &str) -> Result<Ciphertext, String> {
        let keys = self.0.iter().map(|key| key as &dyn age::Recipient);
        let encryptor = Encryptor::with_recipients(keys)
            .ok()
            .ok_or("there is no recipient")?;
        let mut bytes = Vec::new();
        encryptor
            .wrap_output(&mut bytes)
            .and_then(|mut output| {
                output.write_all(value.as_bytes())?;
                output.finish().map(drop)
            })
            .map_err(|error| error.to_string())?;
        Ok(Ciphertext(bytes.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recipients(identities: &[&Identities]) -> Recipients {
        let mut recipients = Recipients::default();
        for name in identities.iter().flat_map(|identity| identity.recipients()) {
            recipients.add(&name).unwrap();
        }
        recipients
    }

    #[test]
    fn each_recipient_opens_a_value_and_nobody_else_does() {
        let (one, two, other) = (
            Identities::generate(),
            Identities::generate(),
            Identities::generate(),
        );
        let value = recipients(&[&one, &two]).encrypt("hunter2").unwrap();
        for identity in [&one, &two] {
            assert_eq!(identity.open(&value).unwrap(), b"hunter2");
        }
        let refused = other.open(&value).unwrap_err();
        assert!(refused.message.contains("other recipients"), "{refused:?}");
        let own = other.recipients().next().unwrap();
        assert!(refused.help.contains(&own), "{refused:?}");
        assert_eq!(
            format!("{value:?} {one:?}"),
            format!("Ciphertext({} bytes) Identities(…)", value.0.len())
        );
    }

    #[test]
    fn base64_and_armour_mean_the_same_however_they_are_broken_into_lines() {
        let identity = Identities::generate();
        let value = recipients(&[&identity]).encrypt("hunter2").unwrap();
        let base64 = value.to_string();
        let (first, second) = base64.split_at(64);
        for text in [
            base64.clone(),
            format!("\n  {first}\n  {second}\n"),
            format!("{}\n{first}\n{second}\n{}\n", ARMOR.0, ARMOR.1),
            format!("  {}\r\n  {first}\r\n  {second}\r\n  {}", ARMOR.0, ARMOR.1),
        ] {
            assert_eq!(Ciphertext::parse(&text).unwrap(), value, "{text}");
        }
    }

    #[test]
    fn every_change_of_a_value_is_noticed() {
        let identity = Identities::generate();
        let value = recipients(&[&identity]).encrypt("hunter2").unwrap();
        for index in 0..value.0.len() {
            let mut bytes = value.0.to_vec();
            bytes[index] ^= 1;
            if let Ok(changed) = Ciphertext::parse(&STANDARD.encode(&bytes)) {
                assert!(identity.open(&changed).is_err(), "byte {index}");
            }
            let cut = STANDARD.encode(&bytes[..index]);
            if let Ok(cut) = Ciphertext::parse(&cut) {
                assert!(identity.open(&cut).is_err(), "cut at {index}");
            }
        }
    }

    #[test]
    fn what_is_no_value_for_a_host_says_so_and_is_not_quoted() {
        let scrypt = {
            let passphrase = age::secrecy::SecretString::from("p".to_owned());
            let mut recipient = age::scrypt::Recipient::new(passphrase);
            recipient.set_work_factor(1);
            let keys = [&recipient as &dyn age::Recipient];
            let mut bytes = Vec::new();
            let mut output = Encryptor::with_recipients(keys.into_iter())
                .unwrap()
                .wrap_output(&mut bytes)
                .unwrap();
            output.write_all(b"x").unwrap();
            output.finish().unwrap();
            STANDARD.encode(bytes)
        };
        let newer = STANDARD.encode("age-encryption.org/v7\n-> X25519 x\n\n--- x\n");
        let value = recipients(&[&Identities::generate()]).encrypt("x").unwrap();
        let cut = STANDARD.encode(&value.0[..value.0.len() - 2]);
        for (text, expected) in [
            ("hunter2!", "neither base64"),
            ("hunter22", "is no age data"),
            (&STANDARD.encode("age-encryption.org/v1\n"), "broken header"),
            (&newer, "unknown version"),
            (&scrypt, "passphrase"),
            (&cut, "cut off"),
            (&"A".repeat(3 * MAX_CIPHERTEXT_BYTES), "larger"),
        ] {
            let said = Ciphertext::parse(text).unwrap_err();
            assert!(said.contains(expected), "{text}: {said}");
        }
    }

    #[test]
    fn an_identity_file_is_read_as_age_writes_it() {
        let text = "# created: 2026-01-01T00:00:00Z\n# public key: age1…\n\n\
                    AGE-SECRET-KEY-1GFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPQ4EGAEX\n";
        let identity = Identities::parse(text).unwrap();
        let names: Vec<String> = identity.recipients().collect();
        assert_eq!(
            names,
            ["age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwj"]
        );
        assert!(Identities::parse(&Identities::generate().to_file()).is_ok());
        for (text, expected) in [
            ("", "no key"),
            ("# nothing\n", "no key"),
            ("\nhunter2\n", "in line 2"),
            ("AGE-PLUGIN-YUBIKEY-1QQQ", "plugin"),
            ("-----BEGIN OPENSSH PRIVATE KEY-----\n", "no key of age"),
            (ARMOR.0, "passphrase"),
        ] {
            let said = Identities::parse(text).unwrap_err();
            assert!(said.contains(expected), "{said}");
            assert!(!said.contains("hunter2"), "{said}");
        }
    }

    #[test]
    fn what_is_no_recipient_is_refused() {
        for (text, expected) in [
            ("age1abc", "no recipient"),
            ("ssh-ed25519 AAAA", "SSH key"),
            ("AGE-SECRET-KEY-1ABC", "private key"),
        ] {
            let said = Recipients::default().add(text).unwrap_err();
            assert!(said.contains(expected), "{said}");
        }
        let said = Recipients::default()
            .add_file("# us\n\nage1abc\n")
            .unwrap_err();
        assert!(said.starts_with("line 3"), "{said}");
        assert!(Recipients::default().encrypt("x").is_err());
    }

    proptest::proptest! {
        #[test]
        fn no_header_breaks_the_parser(
            text in "(-> (X25519|scrypt|ssh-ed25519)( [A-Za-z0-9+/]{0,43}){0,3}\\n([A-Za-z0-9+/]{0,64}\\n){0,2}){0,3}(---( [A-Za-z0-9+/]{43})?\\n)?",
            payload in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..64),
        ) {
            let mut bytes = b"age-encryption.org/v1\n".to_vec();
            bytes.extend(text.as_bytes());
            bytes.extend(payload);
            if let Ok(value) = Ciphertext::parse(&STANDARD.encode(&bytes)) {
                proptest::prop_assert!(Identities::generate().open(&value).is_err());
            }
        }

        #[test]
        fn no_text_breaks_the_parser(text in ".{0,400}") {
            proptest::prop_assert!(Ciphertext::parse(&text).is_err());
            proptest::prop_assert!(Identities::parse(&text).is_err());
        }
    }
}
