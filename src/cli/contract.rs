//! `tidegate contract`: locks the tables of a service's database in the tree, and holds the live database against them.

use std::io::Write;
use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::json;

use super::sources::{SecretArguments, SourceArguments};
use super::{Failure, GOOD, OutputFormat, PROBLEMS};
use crate::clock;
use crate::connector::database::shape::{Drift, Shape, TableDrift};
use crate::connector::{Description, Resources};
use crate::manifest::{ManifestSet, Schemas, load};
use crate::names::ServiceName;
use crate::tree::{Source, Tree, sidecar};

/// How long the database may take to tell its tables.
const PATIENCE: Duration = Duration::from_mins(1);

#[derive(Debug, Args)]
pub(super) struct ContractCommands {
    #[command(subcommand)]
    command: ContractCommand,
}

#[derive(Debug, Subcommand)]
enum ContractCommand {
    /// Reads the tables and columns of a service's database and writes them to its contract file in the tree.
    Lock(ContractArguments),
    /// Compares the tables and columns of a service's database with its contract file. Exit code 1 if they differ.
    Check(ContractArguments),
    /// Prints the contract file of a service.
    Show(ContractArguments),
}

#[derive(Debug, Args)]
struct ContractArguments {
    /// The service, by its name in the manifests.
    #[arg(value_name = "SERVICE")]
    service: String,
    #[command(flatten)]
    source: SourceArguments,
    #[command(flatten)]
    secret: SecretArguments,
}

/// Exit code 0 when the contract was written, shown or holds, 1 otherwise.
pub(super) fn run(
    commands: &ContractCommands,
    format: OutputFormat,
    output: &mut dyn Write,
) -> Result<u8, Failure> {
    let (ContractCommand::Lock(arguments)
    | ContractCommand::Check(arguments)
    | ContractCommand::Show(arguments)) = &commands.command;
    let sources = arguments.source.sources()?;
    let read = sources.read().map_err(crate::manifest::Diagnostics::from);
    let loaded = read.and_then(|tree| Ok((load(&tree, Schemas::standard())?, tree)));
    let (set, tree) = match loaded {
        Ok(loaded) => loaded,
        Err(problems) => {
            match format {
                OutputFormat::Text => write!(output, "{}", problems.render(true))?,
                OutputFormat::Json => writeln!(output, "{:#}", problems.to_json())?,
            }
            return Ok(PROBLEMS);
        }
    };
    let name = service(&set, &arguments.service)?;
    match &commands.command {
        ContractCommand::Lock(_) => {
            let live = live(arguments, &set, &name)?;
            lock(&set, &tree, sources.list(), &name, &live, format, output)
        }
        ContractCommand::Check(_) => {
            let locked = locked(&set, &name)?;
            let drift = locked.drift(&live(arguments, &set, &name)?);
            report(&name, &drift, format, output)?;
            Ok(if drift.is_empty() { GOOD } else { PROBLEMS })
        }
        ContractCommand::Show(_) => {
            let locked = locked(&set, &name)?;
            let text = locked.to_text().map_err(internal)?;
            match format {
                OutputFormat::Json => write!(output, "{text}")?,
                OutputFormat::Text => show(&locked, output)?,
            }
            Ok(GOOD)
        }
    }
}

/// A service by its name. Fails with those that there are.
fn service(set: &ManifestSet, name: &str) -> Result<ServiceName, Failure> {
    set.services
        .get_key_value(name)
        .map(|(name, _)| name.clone())
        .ok_or_else(|| {
            let names: Vec<&str> = set.services.keys().map(ServiceName::as_str).collect();
            Failure::new(format!("no service `{name}`"))
                .with_help(format!("services are {}", names.join(", ")))
        })
}

fn internal(error: impl std::fmt::Display) -> Failure {
    Failure::new(error.to_string())
}

/// What the database of a service looks like now, whatever its contract says.
fn live(
    arguments: &ContractArguments,
    set: &ManifestSet,
    name: &ServiceName,
) -> Result<Shape, Failure> {
    let machine = arguments.secret.machine();
    let config = set
        .config_without_contract(name, &machine)
        .map_err(|problems| {
            let first = problems.iter().next();
            let first = first.map(|problem| problem.message.clone());
            Failure::new(first.unwrap_or_else(|| format!("the service `{name}` has no config")))
        })?;
    let resources = Resources {
        service: name.clone(),
        data_directory: arguments.source.data_directory()?,
        clock: clock::system(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let connector = config
            .open(&resources)
            .await
            .map_err(|error| failed(name, &error))?;
        let described = tokio::time::timeout(PATIENCE, connector.describe()).await;
        match described {
            Ok(Ok(Description::Database(catalog))) => Ok(Shape::of(&catalog)),
            Ok(Ok(Description::General)) => {
                Err(Failure::new(format!("the service `{name}` is no database")))
            }
            Ok(Err(error)) => Err(failed(name, &error)),
            Err(_elapsed) => Err(Failure::new(format!(
                "the database of the service `{name}` did not tell its tables in time"
            ))),
        }
    })
}

/// It is for whoever runs the gateway, and so says what no caller may know.
fn failed(name: &ServiceName, error: &crate::error::Error) -> Failure {
    let facts = error.facts().iter().map(|(_, fact)| format!("; {fact}"));
    let facts: String = facts.collect();
    Failure::new(format!("the service `{name}`: {}{facts}", error.message()))
}

/// What the contract file of a service says.
fn locked(set: &ManifestSet, name: &ServiceName) -> Result<Shape, Failure> {
    let Some(contract) = set.contract(name.as_str()) else {
        return Err(
            Failure::new(format!("the service `{name}` has no contract"))
                .with_help("write contract = \"warn\", \"shape\" or \"strict\" into its config"),
        );
    };
    let file = contract.name.as_deref().unwrap_or("?");
    let Some(bytes) = contract.bytes.as_deref() else {
        return Err(Failure::new(format!("there is no contract file `{file}`"))
            .with_help(format!("write it with `tidegate contract lock {name}`")));
    };
    serde_json::from_slice(bytes).map_err(|error| {
        Failure::new(format!(
            "the contract file `{file}` is not accepted: {error}"
        ))
        .with_help(format!(
            "write it anew with `tidegate contract lock {name}`"
        ))
    })
}

fn lock(
    set: &ManifestSet,
    tree: &Tree,
    sources: &[Source],
    name: &ServiceName,
    live: &Shape,
    format: OutputFormat,
    output: &mut dyn Write,
) -> Result<u8, Failure> {
    let Some(contract) = set.contract(name.as_str()) else {
        return Err(
            Failure::new(format!("the service `{name}` has no contract")).with_help(
                "write contract = \"warn\", \"shape\" or \"strict\" into its config first",
            ),
        );
    };
    let Some(file) = contract.name.as_deref() else {
        return Err(Failure::new(
            "`contract_file` is no name of a file in the tree",
        )
        .with_help("write a path from the manifest that stays in the tree, such as contracts/SERVICE.json"));
    };
    // Where all sources are folders, each is one layer.
    let folder = sources.get(contract.layer).and_then(Source::folder);
    let Some(folder) = folder.filter(|_| sources.len() == tree.layers().len()) else {
        return Err(Failure::usage(
            "a contract is written into a folder of manifests, and this source is none",
        )
        .with_help("lock it in a work tree and commit it"));
    };
    let text = live.to_text().map_err(internal)?;
    let is_new = contract.bytes.as_deref() != Some(text.as_bytes());
    if is_new {
        sidecar::write(folder, file, text.as_bytes())
            .map_err(|error| Failure::new(format!("`{file}` cannot be written: {error}")))?;
    }
    let path = folder.join(file);
    let columns: usize = live.tables.values().map(|table| table.columns.len()).sum();
    match format {
        OutputFormat::Text => writeln!(
            output,
            "{} {} of {} tables with {columns} columns",
            path.display(),
            if is_new {
                "is the contract"
            } else {
                "already is the contract"
            },
            live.tables.len(),
        )?,
        OutputFormat::Json => writeln!(
            output,
            "{:#}",
            json!({
                "service": name.as_str(),
                "file": path.display().to_string(),
                "tables": live.tables.len(),
                "columns": columns,
                "written": is_new,
            })
        )?,
    }
    Ok(GOOD)
}

fn report(
    name: &ServiceName,
    drift: &Drift,
    format: OutputFormat,
    output: &mut dyn Write,
) -> Result<(), Failure> {
    if format == OutputFormat::Json {
        let tables = serde_json::to_value(&drift.tables).map_err(internal)?;
        let document = json!({
            "service": name.as_str(),
            "drifted": !drift.is_empty(),
            "tables": tables,
        });
        writeln!(output, "{document:#}")?;
        return Ok(());
    }
    if drift.is_empty() {
        writeln!(output, "the database of `{name}` is what its contract says")?;
        return Ok(());
    }
    for table in &drift.tables {
        differences(table, output)?;
    }
    Ok(())
}

fn differences(drift: &TableDrift, output: &mut dyn Write) -> Result<(), Failure> {
    let table = &drift.table;
    match drift.state {
        "missing" => writeln!(output, "{table}: the table is locked and not there")?,
        "new" => writeln!(output, "{table}: the table is there and not locked")?,
        _ => {}
    }
    for column in &drift.missing {
        writeln!(
            output,
            "{table}.{column}: the column is locked and not there"
        )?;
    }
    for column in &drift.added {
        writeln!(
            output,
            "{table}.{column}: the column is there and not locked"
        )?;
    }
    for change in &drift.changed {
        let words = |column: &crate::connector::database::shape::ColumnShape| {
            let null = if column.nullable { "" } else { " not null" };
            let optional = if column.optional { "" } else { ", required" };
            format!("{}{null}{optional}", column.db_type)
        };
        writeln!(
            output,
            "{table}.{}: locked as {}, but is {}",
            change.column,
            words(&change.locked),
            words(&change.live)
        )?;
    }
    if drift.key_changed {
        writeln!(output, "{table}: the key, or what it is, is another one")?;
    }
    Ok(())
}

fn show(locked: &Shape, output: &mut dyn Write) -> Result<(), Failure> {
    for (name, table) in &locked.tables {
        let kind = if table.view { " (view)" } else { "" };
        writeln!(output, "{name}{kind}")?;
        for column in &table.columns {
            let key = if table.primary_key.contains(&column.name) {
                " key"
            } else {
                ""
            };
            let null = if column.nullable { "" } else { " not null" };
            writeln!(output, "  {} {}{null}{key}", column.name, column.db_type)?;
        }
    }
    Ok(())
}
