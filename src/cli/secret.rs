//! `tidegate secret`: values that stand encrypted in the tree, and the keys that open them.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, IsTerminal as _, Read, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use serde_json::json;

use super::{Failure, GOOD, OutputFormat};
use crate::manifest::encryption::{Identities, Recipients};
use crate::manifest::secrets::MAX_SECRET_BYTES;

/// Most bytes of a file of recipients.
const MAX_RECIPIENTS_BYTES: u64 = 1024 * 1024;

#[derive(Debug, Args)]
pub(super) struct SecretCommands {
    #[command(subcommand)]
    command: SecretCommand,
}

#[derive(Debug, Subcommand)]
enum SecretCommand {
    /// Encrypts the secret on standard input and prints what to write in a manifest.
    ///
    /// A line break at its end does not belong to it. On a terminal it is asked for and not shown.
    Encrypt(EncryptArguments),
    /// Makes the identity of a host: the private key that opens values, and its public key, for `encrypt`.
    Keygen {
        /// Writes the identity to a new file that only its owner can read, and prints the public key alone.
        #[arg(long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
}

#[derive(Debug, Args)]
struct EncryptArguments {
    /// The public key of a host that may open it, age1…; several times (or with commas) for several hosts.
    #[arg(
        long,
        value_name = "RECIPIENT",
        value_delimiter = ',',
        env = "TIDEGATE_RECIPIENT"
    )]
    recipient: Vec<String>,
    /// A file with the public key of a host in each line; `#` begins a comment.
    #[arg(long, value_name = "FILE", env = "TIDEGATE_RECIPIENTS_FILE")]
    recipients_file: Option<PathBuf>,
}

pub(super) fn run(
    arguments: &SecretCommands,
    format: OutputFormat,
    output: &mut dyn Write,
) -> Result<u8, Failure> {
    match &arguments.command {
        SecretCommand::Encrypt(arguments) => {
            let recipients = recipients(arguments)?;
            let secret = if std::io::stdin().is_terminal() {
                typed_secret()?
            } else {
                secret_from(&mut std::io::stdin().lock())?
            };
            encrypt(&secret, &recipients, format, output)?;
        }
        SecretCommand::Keygen { output: None } => print_identity(format, output)?,
        SecretCommand::Keygen { output: Some(file) } => write_identity(file, format, output)?,
    }
    Ok(GOOD)
}

fn recipients(arguments: &EncryptArguments) -> Result<Recipients, Failure> {
    let mut recipients = Recipients::default();
    for text in &arguments.recipient {
        recipients
            .add(text.trim())
            .map_err(|error| Failure::usage(format!("--recipient {text}: {error}")))?;
    }
    if let Some(file) = &arguments.recipients_file {
        let failure =
            |error: &str| Failure::usage(format!("--recipients-file {}: {error}", file.display()));
        let mut text = String::new();
        File::open(file)
            .and_then(|file| file.take(MAX_RECIPIENTS_BYTES).read_to_string(&mut text))
            .map_err(|error| failure(&error.to_string()))?;
        recipients
            .add_file(&text)
            .map_err(|error| failure(&error))?;
    }
    if recipients.is_empty() {
        return Err(Failure::usage("nobody could open the secret").with_help(
            "add --recipient age1…, the public key that `tidegate secret keygen` printed for the host",
        ));
    }
    Ok(recipients)
}

fn encrypt(
    secret: &str,
    recipients: &Recipients,
    format: OutputFormat,
    output: &mut dyn Write,
) -> Result<(), Failure> {
    if secret.is_empty() {
        return Err(Failure::usage("the secret is empty").with_help(
            "send it to standard input: printf %s \"$SECRET\" | tidegate secret encrypt …",
        ));
    }
    let ciphertext = recipients
        .encrypt(secret)
        .map_err(|error| Failure::new(format!("the secret cannot be encrypted: {error}")))?;
    let manifest = format!("{{ age = \"{ciphertext}\" }}");
    match format {
        OutputFormat::Text => writeln!(output, "{manifest}")?,
        OutputFormat::Json => {
            let names: Vec<String> = recipients.names().collect();
            writeln!(
                output,
                "{:#}",
                json!({ "age": ciphertext.to_string(), "recipients": names, "manifest": manifest })
            )?;
        }
    }
    Ok(())
}

/// Reads one secret; one line break after it does not belong to it.
fn secret_from(input: &mut dyn Read) -> Result<String, Failure> {
    let mut bytes = Vec::new();
    input
        .take(MAX_SECRET_BYTES.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(|error| {
            Failure::usage(format!(
                "the secret cannot be read from standard input: {error}"
            ))
        })?;
    if bytes.len() as u64 > MAX_SECRET_BYTES {
        return Err(Failure::usage(format!(
            "the secret is larger than {MAX_SECRET_BYTES} bytes"
        )));
    }
    let text = String::from_utf8(bytes).ok().ok_or_else(|| {
        Failure::usage("the secret is not UTF-8 text").with_help("encode binary ones as base64")
    })?;
    let secret = text
        .strip_suffix("\r\n")
        .or_else(|| text.strip_suffix('\n'))
        .unwrap_or(&text);
    Ok(secret.to_owned())
}

/// Asks for one line on the terminal, which does not show it.
fn typed_secret() -> Result<String, Failure> {
    let hidden = Hidden::begin();
    let shown = if hidden.is_some() { "is not" } else { "is" };
    write!(
        std::io::stderr().lock(),
        "The secret, which {shown} shown, and Enter: "
    )?;
    let mut line = Vec::new();
    let input = std::io::stdin().lock();
    input
        .take(MAX_SECRET_BYTES.saturating_add(2))
        .read_until(b'\n', &mut line)?;
    drop(hidden);
    secret_from(&mut line.as_slice())
}

/// While it lives, the terminal on standard input shows line breaks only.
struct Hidden(Termios);

impl Hidden {
    fn begin() -> Option<Self> {
        let before = tcgetattr(std::io::stdin()).ok()?;
        let mut modes = before.clone();
        modes.local_modes.remove(LocalModes::ECHO);
        modes.local_modes.insert(LocalModes::ECHONL);
        tcsetattr(std::io::stdin(), OptionalActions::Now, &modes).ok()?;
        Some(Self(before))
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        // The terminal is gone if this fails.
        let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, &self.0);
    }
}

fn print_identity(format: OutputFormat, output: &mut dyn Write) -> Result<(), Failure> {
    let identity = Identities::generate();
    let recipient: String = identity.recipients().collect();
    match format {
        OutputFormat::Text => {
            write!(output, "{}", identity.to_file())?;
            // Whoever sends the identity to a file still needs the public key.
            if !std::io::stdout().is_terminal() {
                writeln!(std::io::stderr().lock(), "public key: {recipient}")?;
            }
        }
        OutputFormat::Json => writeln!(
            output,
            "{:#}",
            json!({ "recipient": recipient, "identity": identity.to_file() })
        )?,
    }
    Ok(())
}

fn write_identity(
    path: &Path,
    format: OutputFormat,
    output: &mut dyn Write,
) -> Result<(), Failure> {
    let identity = Identities::generate();
    let recipient: String = identity.recipients().collect();
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| {
            file.write_all(identity.to_file().as_bytes())?;
            file.sync_all()
        })
        .map_err(|error| match error.kind() {
            std::io::ErrorKind::AlreadyExists => {
                Failure::new(format!("{} is there already", path.display())).with_help(
                    "an identity is never overwritten: what was encrypted for it could not be opened any more",
                )
            }
            _ => Failure::new(format!("{} cannot be written: {error}", path.display())),
        })?;
    match format {
        OutputFormat::Text => writeln!(output, "{recipient}")?,
        OutputFormat::Json => writeln!(
            output,
            "{:#}",
            json!({ "recipient": recipient, "file": path })
        )?,
    }
    Ok(())
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests may block")]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn one_line_break_is_no_part_of_a_secret() {
        let read = |text: &[u8]| secret_from(&mut &*text);
        assert_eq!(read(b"hunter2\n").unwrap(), "hunter2");
        assert_eq!(read(b"hunter2\r\n").unwrap(), "hunter2");
        assert_eq!(read(b" two\nlines \n\n").unwrap(), " two\nlines \n");
        let long = "a".repeat(usize::try_from(MAX_SECRET_BYTES).unwrap() + 1);
        for text in [b"\xff", long.as_bytes()] {
            assert_eq!(read(text).unwrap_err().code, crate::cli::USAGE);
        }
    }

    #[test]
    fn an_identity_is_for_its_owner_alone_and_never_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("identity");
        let mut output = Vec::new();
        write_identity(&path, OutputFormat::Text, &mut output).unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let text = std::fs::read_to_string(&path).unwrap();
        let recipient: String = Identities::parse(&text).unwrap().recipients().collect();
        assert_eq!(String::from_utf8(output).unwrap(), format!("{recipient}\n"));
        assert!(write_identity(&path, OutputFormat::Text, &mut Vec::new()).is_err());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
    }

    #[test]
    fn what_is_printed_fits_a_manifest() {
        let mut recipients = Recipients::default();
        let identity = Identities::generate();
        recipients
            .add(&identity.recipients().collect::<String>())
            .unwrap();
        let mut output = Vec::new();
        encrypt("hunter2", &recipients, OutputFormat::Text, &mut output).unwrap();
        let text = String::from_utf8(output).unwrap();
        let table: toml::Table = format!("password = {text}").parse().unwrap();
        let age = table["password"]["age"].as_str().unwrap();
        assert!(crate::manifest::encryption::Ciphertext::parse(age).is_ok());
        assert!(encrypt("", &recipients, OutputFormat::Text, &mut Vec::new()).is_err());
    }
}
