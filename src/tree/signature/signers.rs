//! The file of allowed signers → what the tools that verify want. Pure.
//!
//! One file holds both kinds: lines in the format that `ssh-keygen -Y verify` calls `allowed_signers`, and armoured blocks
//! of OpenPGP public keys, as `gpg --armor --export` prints them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Most bytes of the file: 1 MiB.
pub(super) const MAX_SIGNERS_BYTES: u64 = 1024 * 1024;

/// How a block of OpenPGP keys begins and ends.
const BLOCK: (&str, &str) = (
    "-----BEGIN PGP PUBLIC KEY BLOCK-----",
    "-----END PGP PUBLIC KEY BLOCK-----",
);
/// How the types of SSH keys begin.
const SSH_KEY_TYPES: [&str; 4] = ["ssh-", "ecdsa-sha2-", "sk-ssh-", "sk-ecdsa-sha2-"];
/// The packet tag of an OpenPGP public key (RFC 9580, 5).
const PUBLIC_KEY_TAG: u8 = 6;

/// Who may sign.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Signers {
    /// The lines for SSH keys. Each has the number that it has in the file; other lines are empty.
    pub(super) ssh: String,
    /// The OpenPGP keys, binary: a keyring for `gpgv`.
    pub(super) openpgp: Vec<u8>,
}

/// What is wrong with the file: the line, the first being 1, and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Malformed {
    pub(super) line: usize,
    pub(super) message: String,
}

impl Signers {
    /// Reads the file. Nobody at all is an error, as is every line that would be passed over in silence.
    pub(super) fn parse(text: &str) -> Result<Self, Malformed> {
        let mut signers = Self::default();
        let mut block: Option<Block> = None;
        let mut is_empty = true;
        let mut number = 0_usize;
        for line in text.lines() {
            number = number.saturating_add(1);
            let malformed = |message: &str| Malformed {
                line: number,
                message: message.to_owned(),
            };
            let trimmed = line.trim();
            if let Some(mut open) = block.take() {
                if trimmed == BLOCK.1 {
                    signers.openpgp.extend(open.keys().map_err(malformed)?);
                } else {
                    open.add(trimmed);
                    block = Some(open);
                }
            } else if trimmed == BLOCK.0 {
                block = Some(Block::default());
                is_empty = false;
            } else if !trimmed.is_empty() && !trimmed.starts_with('#') {
                check_ssh(trimmed).map_err(malformed)?;
                signers.ssh.push_str(line);
                is_empty = false;
            }
            signers.ssh.push('\n');
        }
        if block.is_some() {
            return Err(Malformed {
                line: number,
                message: "the block of OpenPGP keys does not end".to_owned(),
            });
        }
        if is_empty {
            return Err(Malformed {
                line: number.max(1),
                message: "nobody may sign: the file has neither a line for an SSH key nor a block of OpenPGP keys"
                    .to_owned(),
            });
        }
        Ok(signers)
    }

    /// Whether there is no SSH key.
    pub(super) fn has_no_ssh(&self) -> bool {
        self.ssh.trim().is_empty()
    }
}

/// An armoured block (RFC 9580, 6.2), between its first and its last line.
#[derive(Default)]
struct Block {
    base64: String,
    /// Headers end with an empty line.
    is_past_headers: bool,
}

impl Block {
    fn add(&mut self, line: &str) {
        // Headers have a colon, base64 never has one. The line that begins with `=` is a checksum that nobody needs.
        if line.is_empty() {
            self.is_past_headers = true;
        } else if (self.is_past_headers || !line.contains(':')) && !line.starts_with('=') {
            self.base64.push_str(line);
        }
    }

    fn keys(self) -> Result<Vec<u8>, &'static str> {
        let bytes = STANDARD
            .decode(self.base64)
            .ok()
            .ok_or("the block of OpenPGP keys is no base64")?;
        let tag = match bytes.first() {
            Some(byte) if byte & 0xC0 == 0xC0 => byte & 0x3F,
            Some(byte) if byte & 0x80 == 0x80 => (byte >> 2) & 0x0F,
            _ => return Err("the block has no OpenPGP key in it"),
        };
        if tag == PUBLIC_KEY_TAG {
            Ok(bytes)
        } else {
            Err("the block does not begin with an OpenPGP public key")
        }
    }
}

/// Whether a line is one that `ssh-keygen` reads: principals, options perhaps, a key.
fn check_ssh(line: &str) -> Result<(), &'static str> {
    const FORM: &str = "this is no allowed signer: write `ann@example.org ssh-ed25519 AAAA…`";
    let words = words(line);
    let is_type = |word: &String| SSH_KEY_TYPES.iter().any(|kind| word.starts_with(kind));
    let place = words.iter().take(3).position(is_type).ok_or_else(|| {
        if line.starts_with("-----BEGIN ") {
            "this block has no OpenPGP public keys"
        } else {
            FORM
        }
    })?;
    if place == 0 {
        return Err("the line has no principal: write `ann@example.org ssh-ed25519 AAAA…`");
    }
    let mut key = words.iter().skip(place);
    let (Some(kind), Some(base64)) = (key.next(), key.next()) else {
        return Err(FORM);
    };
    let blob = STANDARD.decode(base64).ok().ok_or("the key is no base64")?;
    let named = super::ssh::string(&mut blob.as_slice()).map(<[u8]>::to_vec);
    if named.as_deref() == Some(kind.as_bytes()) {
        Ok(())
    } else {
        Err("the key is not of the type that stands before it")
    }
}

/// Splits at white space outside of double quotes.
fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut is_quoted = false;
    for character in line.chars() {
        if character == '"' {
            is_quoted = !is_quoted;
        }
        if character.is_whitespace() && !is_quoted {
            words.push(String::new());
        } else if let Some(word) = words.last_mut() {
            word.push(character);
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBf3WqJh/SSTOHUq3QnRSJ4UKBwLEAll6pgEsXmXI/0h";
    const PGP: &str = "-----BEGIN PGP PUBLIC KEY BLOCK-----\nComment: one\n\nmDMEawBUUxYJ\n=abcd\n-----END PGP PUBLIC KEY BLOCK-----\n";

    #[test]
    fn both_kinds_stand_in_one_file_and_lines_keep_their_numbers() {
        let text = format!(
            "# who may sign\r\nann@x,\"b o@y\" namespaces=\"git,file\",valid-before=\"20300101\" {KEY} Ann\n{PGP}*@z cert-authority {KEY}\n{PGP}"
        );
        let signers = Signers::parse(&text).unwrap();
        let lines: Vec<&str> = signers.ssh.lines().collect();
        assert_eq!(lines.len(), text.lines().count());
        assert!(lines[1].starts_with("ann@x") && lines[8].starts_with("*@z"));
        assert!(lines[2..8].iter().all(|line| line.is_empty()));
        let key = STANDARD.decode("mDMEawBUUxYJ").unwrap();
        assert_eq!(signers.openpgp, [key.clone(), key].concat());
        assert!(Signers::parse(PGP).unwrap().has_no_ssh());
        // Written before the empty line was required.
        assert!(Signers::parse(&PGP.replace("Comment: one\n\n", "")).is_ok());
    }

    #[test]
    fn what_would_be_passed_over_in_silence_is_an_error_with_its_line() {
        let private = PGP.replace("mDME", "lDME");
        let unended = PGP.replace("-----END", "----END");
        for (text, line, expected) in [
            ("", 1, "nobody"),
            ("# ann\n\n", 2, "nobody"),
            (KEY, 1, "no principal"),
            ("\nann@x\n", 2, "no allowed signer"),
            ("ann@x ssh-ed25519", 1, "no allowed signer"),
            ("ann@x ssh-ed25519 AAAA!", 1, "no base64"),
            (
                &format!("ann@x ecdsa-sha2-nistp256 {}", &KEY[12..]),
                1,
                "not of the type",
            ),
            (
                "-----BEGIN PGP PRIVATE KEY BLOCK-----\n",
                1,
                "no OpenPGP public keys",
            ),
            (&private, 6, "does not begin with"),
            (&unended, 6, "does not end"),
            (&PGP.replace("mDME", "!"), 6, "no base64"),
            (&PGP.replace("mDMEawBUUxYJ\n", ""), 5, "no OpenPGP key"),
        ] {
            let malformed = Signers::parse(text).unwrap_err();
            assert!(
                malformed.message.contains(expected),
                "{text}: {malformed:?}"
            );
            assert_eq!(malformed.line, line, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_breaks_the_parser(text in "([ -~]{0,20}\\n|-----BEGIN PGP PUBLIC KEY BLOCK-----\\n|-----END PGP PUBLIC KEY BLOCK-----\\n){0,12}") {
            let _ = Signers::parse(&text);
        }
    }
}
