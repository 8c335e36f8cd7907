//! `tidegate init`: a small tree to begin with, which serves at once.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::{Failure, GOOD, OutputFormat, key};
use crate::connector::service_types;
use crate::manifest::schema::editor_schema;

/// The files that are written as they are, and where.
const FILES: [(&str, &str); 7] = [
    ("README.md", include_str!("init/README.md")),
    (".gitignore", include_str!("init/gitignore")),
    (".taplo.toml", include_str!("init/taplo.toml")),
    (
        "gateway.d/notes.toml",
        include_str!("init/gateway.d/notes.toml"),
    ),
    (
        "gateway.d/roles.toml",
        include_str!("init/gateway.d/roles.toml"),
    ),
    (KEYS, include_str!("init/gateway.d/keys.toml")),
    (
        "gateway.d/expect.toml",
        include_str!("init/gateway.d/expect.toml"),
    ),
];
const KEYS: &str = "gateway.d/keys.toml";
/// What stands for the digest of the first key there.
const DIGEST: &str = "@digest@";
const SCHEMA: &str = "schema/manifest.schema.json";
const DATABASE: &str = "gateway.d/data/notes.db";

#[derive(Debug, Args)]
pub(super) struct InitArguments {
    /// The folder to make, or an empty one; a repository without files counts as empty.
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

/// Writes the tree and prints its first key, which is kept nowhere. Exit code 2 for a folder that holds something.
pub(super) fn run(
    arguments: &InitArguments,
    format: OutputFormat,
    output: &mut dyn Write,
) -> Result<u8, Failure> {
    let folder = &arguments.folder;
    if !cfg!(feature = "sqlite") {
        return Err(Failure::new(
            "this build of tidegate has no SQLite, which the first service needs",
        )
        .with_help("build it with the feature `sqlite`"));
    }
    if let Some(found) = first_entry(folder).map_err(|error| unwritable(folder, &error))? {
        return Err(
            Failure::usage(format!("{} is not empty: it has {found}", folder.display()))
                .with_help("name a new folder"),
        );
    }
    let key = key::fresh()?;
    let written =
        write(folder, &key.digest.to_string()).map_err(|error| unwritable(folder, &error))?;
    match format {
        OutputFormat::Text => write!(output, "{}", welcome(folder, &key.text))?,
        OutputFormat::Json => writeln!(
            output,
            "{:#}",
            json!({
                "folder": folder.display().to_string(),
                "files": written,
                "key": key.text,
                "sha256": key.digest.to_string(),
            })
        )?,
    }
    Ok(GOOD)
}

fn unwritable(folder: &Path, error: &io::Error) -> Failure {
    Failure::new(format!("{} cannot be written: {error}", folder.display()))
}

/// The name of something in a folder, but for git's own.
fn first_entry(folder: &Path) -> io::Result<Option<String>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        entries => entries?,
    };
    for entry in entries {
        let name = entry?.file_name();
        if name != ".git" {
            return Ok(Some(name.to_string_lossy().into_owned()));
        }
    }
    Ok(None)
}

/// Writes everything, and never over something. The names of the files come back.
fn write(folder: &Path, digest: &str) -> io::Result<Vec<&'static str>> {
    let schema = format!("{:#}\n", editor_schema(service_types()));
    let mut written = Vec::new();
    for (name, text) in FILES.into_iter().chain([(SCHEMA, schema.as_str())]) {
        let text = match name {
            KEYS => text.replace(DIGEST, digest),
            _ => text.to_owned(),
        };
        let path = beside(folder, name)?;
        File::create_new(path)?.write_all(text.as_bytes())?;
        written.push(name);
    }
    database(&beside(folder, DATABASE)?)?;
    written.push(DATABASE);
    Ok(written)
}

/// The path of a file below a folder, once the folder around it is there.
fn beside(folder: &Path, name: &str) -> io::Result<PathBuf> {
    let path = folder.join(name);
    if let Some(around) = path.parent() {
        fs::create_dir_all(around)?;
    }
    Ok(path)
}

#[cfg(feature = "sqlite")]
fn database(path: &Path) -> io::Result<()> {
    crate::connector::database::sqlite::create(path, include_str!("init/notes.sql"))
}

#[cfg(not(feature = "sqlite"))]
fn database(_: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// What to do first.
fn welcome(folder: &Path, key: &str) -> String {
    let folder = quoted(&folder.display().to_string());
    format!(
        "\
{folder} has a service over a small SQLite database, a role and a key, each with comments.

The key, for the application alone. It is shown once and is kept nowhere:
{key}

Serve it:
  cd {folder}
  tidegate

Ask it, in another terminal:
  curl -s http://127.0.0.1:8080/api/v2/notes/_table/note -H 'X-API-Key: {key}'

Then open http://127.0.0.1:8080/docs with the key, change a file of gateway.d while it is served, and put all of it
under git: git init && git add . && git commit -m 'Begin'
"
    )
}

/// A text as a shell takes it.
fn quoted(text: &str) -> String {
    let is_plain = |character: char| {
        character.is_ascii_alphanumeric() || matches!(character, '/' | '.' | '_' | '-')
    };
    if text.chars().all(is_plain) && !text.starts_with('-') {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_quoted_for_a_shell_where_they_must_be() {
        for (text, expected) in [
            ("my-gateway", "my-gateway"),
            ("/srv/a_b.c", "/srv/a_b.c"),
            ("two words", "'two words'"),
            ("it's", "'it'\\''s'"),
            ("-f", "'-f'"),
        ] {
            assert_eq!(quoted(text), expected);
        }
    }
}
