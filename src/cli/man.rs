//! `tidegate man`: manual pages, from the same definition as the help.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use clap::{Args, Command, CommandFactory};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};
use serde_json::json;

use super::{Arguments, Failure, GOOD, OutputFormat};

/// What the exit codes of every command mean.
const EXIT_STATUS: [(&str, &str); 3] = [
    ("0", "All is good."),
    ("1", "Problems were found."),
    ("2", "The command itself was wrong."),
];

#[derive(Debug, Args)]
pub(super) struct ManArguments {
    /// The folder to write tidegate.1 and a page for each command to. Without it the first page is printed.
    #[arg(long, value_name = "DIR", env = "TIDEGATE_OUTPUT")]
    output: Option<PathBuf>,
}

pub(super) fn run(
    arguments: &ManArguments,
    format: OutputFormat,
    output: &mut dyn Write,
) -> Result<u8, Failure> {
    let pages = pages()?;
    let Some(folder) = &arguments.output else {
        if let Some((_, page)) = pages.first() {
            output.write_all(page)?;
        }
        return Ok(GOOD);
    };
    let written = write(folder, &pages).map_err(|error| {
        Failure::new(format!(
            "the pages cannot be written to {}: {error}",
            folder.display()
        ))
    })?;
    match format {
        OutputFormat::Text => {
            for path in written {
                writeln!(output, "{path}")?;
            }
        }
        OutputFormat::Json => writeln!(output, "{:#}", json!({ "files": written }))?,
    }
    Ok(GOOD)
}

fn write(folder: &Path, pages: &[(String, Vec<u8>)]) -> std::io::Result<Vec<String>> {
    fs::create_dir_all(folder)?;
    let mut written = Vec::with_capacity(pages.len());
    for (name, page) in pages {
        let path = folder.join(name);
        File::create(&path)?.write_all(page)?;
        written.push(path.display().to_string());
    }
    Ok(written)
}

/// The name and text of each page; that of the program itself comes first.
fn pages() -> Result<Vec<(String, Vec<u8>)>, Failure> {
    let mut command = Arguments::command().disable_help_subcommand(true);
    command.build();
    let mut pages = Vec::new();
    collect(&command, None, &mut pages)?;
    Ok(pages)
}

/// The depth is that of the definition of the command line.
fn collect(
    command: &Command,
    above: Option<&str>,
    pages: &mut Vec<(String, Vec<u8>)>,
) -> Result<(), Failure> {
    let page = Man::new(command.clone())
        // Without a date the texts after it would move into its place.
        .date(" ")
        .source(concat!("Tidegate ", env!("CARGO_PKG_VERSION")))
        .manual("Tidegate");
    let name = page.get_filename();
    let mut text = Vec::new();
    page.render(&mut text)?;
    ending(above).to_writer(&mut text)?;
    pages.push((name, text));
    let own = command.get_display_name().unwrap_or("tidegate");
    for subcommand in command.get_subcommands() {
        collect(subcommand, Some(own), pages)?;
    }
    Ok(())
}

/// The sections that the definition does not have.
fn ending(above: Option<&str>) -> Roff {
    let mut roff = Roff::new();
    roff.control("SH", ["EXIT STATUS"]);
    for (code, meaning) in EXIT_STATUS {
        roff.control("TP", []);
        roff.text([bold(code)]);
        roff.text([roman(meaning)]);
    }
    if let Some(above) = above {
        roff.control("SH", ["SEE ALSO"]);
        roff.text([bold(above), roman("(1)")]);
    }
    roff
}
