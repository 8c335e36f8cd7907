//! `tidegate plan`: what one tree changes for those who use another, for the reviewer of a change.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use futures_util::StreamExt as _;
use serde_json::json;

use super::sources::{SecretArguments, layers};
use super::{Failure, GOOD, PROBLEMS, RequestedFormat};
use crate::changes::{self, Changes, Class, Tables, TreeName};
use crate::clock;
use crate::connector::Description;
use crate::manifest::secrets::Placeholders;
use crate::manifest::{Diagnostics, SecretSource};
use crate::names::ServiceName;
use crate::snapshot::assemble::wanted;
use crate::snapshot::build;
use crate::snapshot::candidate::Candidate;
use crate::snapshot::plan::WantedService;
use crate::tree::{Source, Sources, Tree};

/// How long one backend may take to tell its tables.
const PATIENCE: Duration = Duration::from_secs(30);
/// Most backends that are asked at a time.
const MAX_ASKED_AT_ONCE: usize = 8;

#[derive(Debug, Args)]
pub(super) struct PlanArguments {
    /// The tree as it is now: a source as `--config` takes it; layers are separated by commas.
    #[arg(value_name = "FROM", value_parser = sources)]
    from: Sources,
    /// The tree as it would be.
    #[arg(value_name = "TO", value_parser = sources)]
    to: Sources,
    /// Classes of changes that are refused: with one of them, the exit code is 1.
    #[arg(
        long,
        value_name = "CLASS",
        value_delimiter = ',',
        value_parser = str::parse::<Class>,
        env = "TIDEGATE_FAIL_ON"
    )]
    fail_on: Vec<Class>,
    /// Opens the services of both trees and compares their tables and columns as well. Reads their secrets.
    #[arg(long, env = "TIDEGATE_BACKENDS")]
    backends: bool,
    /// Where relative paths of data start, with --backends. Default: the first folder of TO, or else of FROM.
    #[arg(long, value_name = "DIR", env = "TIDEGATE_DATA_DIR")]
    data_dir: Option<PathBuf>,
    #[command(flatten)]
    secret: SecretArguments,
}

fn sources(text: &str) -> Result<Sources, String> {
    let sources: Vec<Source> = text.split(',').map(str::parse).collect::<Result<_, _>>()?;
    Ok(Sources::new(sources))
}

/// From a tree to everything that it says.
type Load = fn(Tree, &dyn SecretSource) -> Result<Candidate, Diagnostics>;

/// One of the trees: everything it says, or everything that is wrong with it.
struct Side<'a> {
    /// What the arguments call it.
    argument: &'static str,
    sources: &'a Sources,
    outcome: Result<Candidate, Diagnostics>,
}

impl<'a> Side<'a> {
    /// Reads a tree and loads it with `load`. Exit code 2 when a layer is given twice.
    fn read(argument: &'static str, sources: &'a Sources, load: Load) -> Result<Self, Failure> {
        let tree = layers(sources.list())?.read();
        // Whether a secret has a value is a question for the machine that serves.
        let outcome = tree
            .map_err(Diagnostics::from)
            .and_then(|tree| load(tree, &Placeholders));
        Ok(Self {
            argument,
            sources,
            outcome,
        })
    }

    fn name(&self) -> String {
        let sources = self.sources.list().iter();
        let names: Vec<String> = sources.map(ToString::to_string).collect();
        names.join(",")
    }
}

/// Exit code 0 when both trees load and no change is of a class that is refused, 1 otherwise.
pub(super) fn run(
    arguments: &PlanArguments,
    format: RequestedFormat,
    output: &mut dyn Write,
) -> Result<u8, Failure> {
    // What is mended may be a tree whose access tests fail.
    let (from, to) = (
        Side::read("FROM", &arguments.from, Candidate::untested)?,
        Side::read("TO", &arguments.to, Candidate::of)?,
    );
    let (from_name, to_name) = (from.name(), to.name());
    let (from, to) = match (from, to) {
        (
            Side {
                outcome: Ok(from), ..
            },
            Side {
                outcome: Ok(to), ..
            },
        ) => (from, to),
        (from, to) => {
            write_refusal(&[from, to], format, output)?;
            return Ok(PROBLEMS);
        }
    };
    let (tables, notes) = if arguments.backends {
        match asked(arguments, &from, &to)? {
            Ok(asked) => asked,
            Err((argument, sources, problems)) => {
                let side = Side {
                    argument,
                    sources,
                    outcome: Err(problems),
                };
                write_refusal(&[side], format, output)?;
                return Ok(PROBLEMS);
            }
        }
    } else {
        let note = "tables and columns were not looked at; --backends opens the services and does";
        (Tables::default(), vec![note.to_owned()])
    };
    let mut changes = changes::compare(&from, &to, &tables);
    if !to.set.services.is_empty() {
        changes.notes.extend(notes);
    }
    let refused = changes.found(&arguments.fail_on);
    let (from, to) = (TreeName::of(from_name, &from), TreeName::of(to_name, &to));
    write_changes(&changes, &from, &to, &refused, format, output)?;
    Ok(if refused.is_empty() { GOOD } else { PROBLEMS })
}

fn write_changes(
    changes: &Changes,
    from: &TreeName,
    to: &TreeName,
    refused: &[Class],
    format: RequestedFormat,
    output: &mut dyn Write,
) -> std::io::Result<()> {
    match format {
        RequestedFormat::Text => {
            write!(output, "{}", changes::text(changes, from, to, refused))
        }
        RequestedFormat::Json => {
            writeln!(output, "{:#}", changes::json(changes, from, to, refused))
        }
        RequestedFormat::Markdown => {
            write!(output, "{}", changes::markdown(changes, from, to, refused))
        }
    }
}

/// Says which trees cannot be compared, and why.
fn write_refusal(
    sides: &[Side<'_>],
    format: RequestedFormat,
    output: &mut dyn Write,
) -> std::io::Result<()> {
    let broken = || {
        sides
            .iter()
            .filter_map(|side| Some((side, side.outcome.as_ref().err()?)))
    };
    let title = |side: &Side<'_>| {
        let what = match side.argument {
            "FROM" => "cannot be loaded, so there is nothing to compare with",
            _ => "would be refused",
        };
        format!("{} {} {what}", side.argument, side.name())
    };
    match format {
        RequestedFormat::Text => {
            for (side, problems) in broken() {
                writeln!(output, "{}:\n\n{}", title(side), problems.render(true))?;
            }
            Ok(())
        }
        RequestedFormat::Json => {
            let broken: Vec<_> = broken()
                .map(|(side, problems)| {
                    json!({
                        "tree": side.argument.to_ascii_lowercase(),
                        "source": side.name(),
                        "problems": problems.to_json(),
                    })
                })
                .collect();
            writeln!(output, "{:#}", json!({ "broken": broken }))
        }
        RequestedFormat::Markdown => {
            let broken: Vec<(String, String)> = broken()
                .map(|(side, problems)| (title(side), problems.render(false)))
                .collect();
            write!(output, "{}", changes::markdown_refusal(&broken))
        }
    }
}

/// Why a tree cannot be opened: what the arguments call it, its sources, and what is wrong.
type Unopened<'a> = (&'static str, &'a Sources, Diagnostics);

/// Opens the services of both trees and asks their backends for their tables. A service of both trees with one config is
/// asked once, as the daemon would keep it.
fn asked<'a>(
    arguments: &'a PlanArguments,
    from: &Candidate,
    to: &Candidate,
) -> Result<Result<(Tables, Vec<String>), Unopened<'a>>, Failure> {
    let folder = |sources: &'a Sources| sources.list().iter().find_map(Source::folder);
    let data_directory = arguments
        .data_dir
        .as_deref()
        .or_else(|| folder(&arguments.to))
        .or_else(|| folder(&arguments.from))
        .ok_or_else(|| {
            Failure::usage("no place for relative paths of data").with_help("add --data-dir DIR")
        })?;
    let machine = arguments.secret.machine();
    let configs = |candidate: &Candidate, argument, sources| {
        let configs = candidate.set.configs(&machine);
        configs.map_err(|problems| (argument, sources, problems))
    };
    let (old, new) = match (
        configs(from, "FROM", &arguments.from),
        configs(to, "TO", &arguments.to),
    ) {
        (Ok(old), Ok(new)) => (wanted(&from.set, old), wanted(&to.set, new)),
        (Err(unopened), _) | (_, Err(unopened)) => return Ok(Err(unopened)),
    };
    let later: BTreeMap<&ServiceName, &WantedService> =
        new.iter().map(|(name, service)| (name, service)).collect();
    let kept: BTreeSet<ServiceName> = old
        .iter()
        .filter(|(name, old)| {
            later
                .get(name)
                .is_some_and(|new| new.config.same_as(old.config.as_ref()))
        })
        .map(|(name, _)| name.clone())
        .collect();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let old = old.into_iter().filter(|(name, _)| !kept.contains(name));
    let mut from = runtime.block_on(described(old.collect(), data_directory))?;
    let to = runtime.block_on(described(new, data_directory))?;
    for name in kept {
        from.insert(name.clone(), to.get(&name).cloned().flatten());
    }
    Ok(Ok(tables(from, to)))
}

/// What backends told, by service; none for one that did not answer.
type Told = BTreeMap<ServiceName, Option<Description>>;

async fn described(
    services: Vec<(ServiceName, WantedService)>,
    data_directory: &Path,
) -> Result<Told, Failure> {
    let services = services
        .into_iter()
        .filter(|(_, service)| service.declared.value.active);
    let opened = build::services(
        &BTreeMap::new(),
        services.collect(),
        data_directory,
        &clock::system(),
    )
    .await;
    let (services, _) = opened.map_err(|failures| {
        let first = failures.first();
        Failure::new(first.map_or_else(String::new, |(name, error)| {
            format!("the service `{name}` cannot be opened: {}", error.message())
        }))
    })?;
    let asked = services.into_values().map(|service| async move {
        let answer = tokio::time::timeout(PATIENCE, service.connector.describe()).await;
        let description = answer.ok().and_then(Result::ok);
        (service.name.clone(), description)
    });
    let asked = futures_util::stream::iter(asked).buffer_unordered(MAX_ASKED_AT_ONCE);
    Ok(asked.collect().await)
}

/// A backend that did not answer is left out on both sides, or else all its tables would seem new, or gone.
fn tables(from: Told, to: Told) -> (Tables, Vec<String>) {
    let mut silent: Vec<ServiceName> = from
        .iter()
        .chain(&to)
        .filter(|(_, description)| description.is_none())
        .map(|(name, _)| name.clone())
        .collect();
    silent.sort();
    silent.dedup();
    let notes = silent.iter().map(|name| {
        format!("the backend of {name} does not answer, so its tables were not looked at")
    });
    let answered = |told: Told| {
        let told = told.into_iter();
        told.filter_map(|(name, description)| Some((name, description?)))
            .filter(|(name, _)| !silent.contains(name))
            .collect()
    };
    let notes = notes.collect();
    let tables = Tables {
        from: answered(from),
        to: answered(to),
    };
    (tables, notes)
}
