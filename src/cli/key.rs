//! `tidegate key`: fresh keys, and the digests that manifests hold.

use std::io::{BufRead, IsTerminal, Read, Write};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clap::{Args, Subcommand};
use serde_json::json;

use super::{Failure, GOOD, OutputFormat};
use crate::auth::key::KeyDigest;
use crate::names::{KeyName, RoleName};

/// What every key begins with, so that scanners for leaked secrets can find one.
const KEY_PREFIX: &str = "tg_";
/// Most bytes of a key.
const MAX_KEY_BYTES: u64 = 4096;

#[derive(Debug, Args)]
pub(super) struct KeyArguments {
    #[command(subcommand)]
    command: KeyCommand,
}

#[derive(Debug, Subcommand)]
enum KeyCommand {
    /// Prints a fresh random key of 256 bits and the TOML to commit for it.
    New {
        /// The name of the key in the manifest.
        #[arg(default_value = "my-application")]
        name: KeyName,
        /// The role of calls with the key.
        #[arg(long, default_value = "reader")]
        role: RoleName,
    },
    /// Prints the digest of a key.
    Hash {
        /// The key. Without it the key is read from standard input, where no other user can see it.
        key: Option<String>,
    },
}

pub(super) fn run(
    arguments: &KeyArguments,
    format: OutputFormat,
    output: &mut dyn Write,
) -> Result<u8, Failure> {
    match &arguments.command {
        KeyCommand::New { name, role } => new(name, role, format, output)?,
        KeyCommand::Hash { key } => {
            let key = match key {
                Some(key) => key.clone(),
                None => key_from(&mut std::io::stdin().lock(), std::io::stdin().is_terminal())?,
            };
            hash(&key, format, output)?;
        }
    }
    Ok(GOOD)
}

/// A key that nobody has seen.
pub(super) struct FreshKey {
    pub(super) text: String,
    pub(super) digest: KeyDigest,
}

/// Makes a random key of 256 bits. Fails when the system gives no random bytes.
pub(super) fn fresh() -> Result<FreshKey, Failure> {
    let mut random = [0_u8; 32];
    getrandom::fill(&mut random)
        .map_err(|error| Failure::new(format!("the system gives no random bytes: {error}")))?;
    let text = format!("{KEY_PREFIX}{}", URL_SAFE_NO_PAD.encode(random));
    let digest = KeyDigest::of(&text);
    Ok(FreshKey { text, digest })
}

fn new(
    name: &KeyName,
    role: &RoleName,
    format: OutputFormat,
    output: &mut dyn Write,
) -> Result<(), Failure> {
    let FreshKey { text: key, digest } = fresh()?;
    let manifest = format!("[key.{name}]\nrole   = \"{role}\"\nsha256 = [\"{digest}\"]\n");
    match format {
        OutputFormat::Text => write!(
            output,
            "# The key, for the application alone. It is shown once and is kept nowhere.\n{key}\n\n\
             # The manifest, to commit.\n{manifest}"
        )?,
        OutputFormat::Json => writeln!(
            output,
            "{:#}",
            json!({ "key": key, "sha256": digest.to_string(), "manifest": manifest })
        )?,
    }
    Ok(())
}

fn hash(key: &str, format: OutputFormat, output: &mut dyn Write) -> Result<(), Failure> {
    if key.is_empty() {
        return Err(Failure::usage("the key is empty")
            .with_help("write it after `hash`, or send it to standard input"));
    }
    if !key.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(
            Failure::usage("the key has a character that no HTTP header can carry")
                .with_help("use letters, digits and punctuation of ASCII, without spaces"),
        );
    }
    let digest = KeyDigest::of(key);
    match format {
        OutputFormat::Text => writeln!(output, "{digest}")?,
        OutputFormat::Json => writeln!(output, "{:#}", json!({ "sha256": digest.to_string() }))?,
    }
    Ok(())
}

/// Reads one key; a line break after it does not belong to it.
fn key_from(input: &mut dyn BufRead, is_terminal: bool) -> Result<String, Failure> {
    let mut text = String::new();
    let mut input = input.take(MAX_KEY_BYTES + 1);
    // On a terminal a line is a key; nobody should have to know how to end the input.
    let read = if is_terminal {
        input.read_line(&mut text)
    } else {
        input.read_to_string(&mut text)
    };
    let length = read.map_err(|error| {
        Failure::usage(format!(
            "the key cannot be read from standard input: {error}"
        ))
    })?;
    if length as u64 > MAX_KEY_BYTES {
        return Err(Failure::usage(format!(
            "the key is longer than {MAX_KEY_BYTES} bytes"
        )));
    }
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    #[test]
    fn a_new_key_fits_the_manifest_printed_with_it() {
        let (name, role) = ("demo".parse().unwrap(), "reader".parse().unwrap());
        let make = || {
            let mut output = Vec::new();
            new(&name, &role, OutputFormat::Json, &mut output).unwrap();
            serde_json::from_slice::<serde_json::Value>(&output).unwrap()
        };
        let first = make();
        let key = first["key"].as_str().unwrap();
        assert!(key.starts_with(KEY_PREFIX) && key.len() == KEY_PREFIX.len() + 43);
        assert_ne!(first["key"], make()["key"]);
        let manifest: toml::Table = first["manifest"].as_str().unwrap().parse().unwrap();
        let digest = manifest["key"]["demo"]["sha256"][0].as_str().unwrap();
        assert_eq!(digest, KeyDigest::of(key).to_string());
    }

    #[test]
    fn a_line_break_is_no_part_of_a_key() {
        let read = |text: &str| key_from(&mut Cursor::new(text.to_owned()), false).unwrap();
        assert_eq!(read("tg_abc\n"), "tg_abc");
        assert_eq!(read("tg_abc\r\n"), "tg_abc");
        assert_eq!(read("tg_abc"), "tg_abc");
        let long = "a".repeat(5000);
        assert!(key_from(&mut Cursor::new(long), false).is_err());
    }

    #[test]
    fn what_is_no_key_is_refused() {
        for key in ["", "two words", "clé", "a\nb"] {
            assert!(
                hash(key, OutputFormat::Text, &mut Vec::new()).is_err(),
                "{key:?}"
            );
        }
    }
}
