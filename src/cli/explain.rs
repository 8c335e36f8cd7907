//! `tidegate explain`: what a request with a key would come to, and why. Opens no backend and needs no secret.

use std::fmt::Write as _;
use std::io::Write;

use anstyle::{AnsiColor, Style};
use chrono::{DateTime, SubsecRound as _, Utc};
use clap::{Args, ValueEnum};

use super::sources::SourceArguments;
use super::{Failure, GOOD, OutputFormat, PROBLEMS};
use crate::auth::key::KeyDigest;
use crate::auth::route::Question;
use crate::clock;
use crate::error::nearest;
use crate::manifest::secrets::Placeholders;
use crate::manifest::{Diagnostics, ManifestSet};
use crate::names::{KeyName, is_name};
use crate::snapshot::candidate::Candidate;
use crate::snapshot::explain::{Case, Explanation, GrantFacts, RowFacts};
use crate::tree::Sources;

/// Most names that a help lists.
const MAX_LISTED: usize = 24;

#[derive(Debug, Args)]
pub(super) struct ExplainArguments {
    #[command(flatten)]
    source: SourceArguments,
    /// The key that asks, by its name in the manifests; not the key itself.
    #[arg(
        long,
        value_name = "NAME",
        env = "TIDEGATE_KEY",
        hide_env_values = true
    )]
    key: String,
    /// Exit code 1 unless the request is allowed, or denied.
    #[arg(long, value_name = "ANSWER", env = "TIDEGATE_EXPECT")]
    expect: Option<Answer>,
    /// When it is asked, for keys that begin or end: 2027-01-01T00:00:00Z. Default: now.
    #[arg(long, value_name = "TIME", env = "TIDEGATE_AT")]
    at: Option<DateTime<Utc>>,
    /// GET, HEAD, OPTIONS, POST, PUT, PATCH or DELETE.
    #[arg(value_name = "METHOD")]
    method: String,
    /// A path, with or without /api/v2 and a query string.
    #[arg(value_name = "PATH")]
    path: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Answer {
    /// The role grants it and the service takes it.
    Allowed,
    /// Anything else.
    Denied,
}

/// Exit code 0 once explained, 1 when the tree is broken or `--expect` does not hold.
pub(super) fn run(
    arguments: &ExplainArguments,
    format: OutputFormat,
    output: &mut dyn Write,
) -> Result<u8, Failure> {
    let question = Question::new(&arguments.method, &arguments.path).map_err(|invalid| {
        let failure = Failure::usage(invalid.message);
        match invalid.help {
            Some(help) => failure.with_help(help),
            None => failure,
        }
    })?;
    let candidate = match read(&arguments.source.sources()?) {
        Ok(candidate) => candidate,
        Err(problems) => {
            match format {
                OutputFormat::Text => write!(output, "{}", problems.render(true))?,
                OutputFormat::Json => writeln!(output, "{:#}", problems.to_json())?,
            }
            return Ok(PROBLEMS);
        }
    };
    let at = arguments
        .at
        .unwrap_or_else(|| clock::system().now().trunc_subsecs(0));
    let Candidate { set, configs, .. } = &candidate;
    let case = Case::new(set, configs, &arguments.key, &question, Some(at))
        .ok_or_else(|| unknown_key(&arguments.key, set))?;
    let explanation = case.explain();
    match format {
        OutputFormat::Text => write!(output, "{}", text(&explanation))?,
        OutputFormat::Json => {
            let json = serde_json::to_string_pretty(&explanation)
                .map_err(|error| Failure::new(error.to_string()))?;
            writeln!(output, "{json}")?;
        }
    }
    let is_allowed = case.verdict().reason.is_allowed();
    let holds = match arguments.expect {
        None => true,
        Some(Answer::Allowed) => is_allowed,
        Some(Answer::Denied) => !is_allowed,
    };
    Ok(if holds { GOOD } else { PROBLEMS })
}

fn read(sources: &Sources) -> Result<Candidate, Diagnostics> {
    Candidate::untested(sources.read()?, &Placeholders)
}

/// What was given may be the key itself, so nothing is repeated that is no name.
fn unknown_key(given: &str, set: &ManifestSet) -> Failure {
    let digest = KeyDigest::of(given);
    let mut keys = set.keys.iter();
    if let Some((name, _)) = keys.find(|(_, key)| key.value.sha256.contains(&digest)) {
        return Failure::usage("this is a key itself, and not its name")
            .with_help(format!("write --key {name}, and let nobody see the key"));
    }
    let known: Vec<&str> = set.keys.keys().map(KeyName::as_str).collect();
    let help = match (nearest(given, known.iter().copied()), known.as_slice()) {
        (Some(near), _) => format!("did you mean `{near}`?"),
        (None, []) => "the tree has no keys".to_owned(),
        (None, known) => {
            let more = if known.len() > MAX_LISTED {
                ", …"
            } else {
                ""
            };
            let known: Vec<&str> = known.iter().copied().take(MAX_LISTED).collect();
            format!("the keys are {}{more}", known.join(", "))
        }
    };
    let message = if is_name(given) {
        format!("there is no key `{given}`")
    } else {
        "there is no such key; --key takes the name of a key in the manifests".to_owned()
    };
    Failure::usage(message).with_help(help)
}

/// For people. ANSI escapes are in it, which the output takes out where it is no terminal.
fn text(explanation: &Explanation) -> String {
    let colour = match explanation.decision {
        "allowed" => AnsiColor::Green,
        _ => AnsiColor::Red,
    };
    let decision = colour.on_default().bold();
    let bold = Style::new().bold();
    let request = &explanation.request;
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = writeln!(
        text,
        "{decision}{}{decision:#}: {bold}{} {}{bold:#} with the key `{}`\n  {}\n",
        explanation.decision,
        request.method,
        request.path,
        explanation.key.name,
        explanation.because
    );
    for (name, lines) in facts(explanation) {
        for (index, line) in lines.iter().enumerate() {
            let name = if index == 0 { name } else { "" };
            let _ = writeln!(text, "  {bold}{name:<10}{bold:#} {line}");
        }
    }
    for (index, note) in explanation.notes.iter().enumerate() {
        let space = if index == 0 { "\n" } else { "" };
        let _ = writeln!(text, "{space}  note: {note}");
    }
    text
}

/// What there is to say, each with its name; the lines of one stand below each other.
fn facts(explanation: &Explanation) -> Vec<(&'static str, Vec<String>)> {
    let mut facts = vec![("key", key(explanation)), ("role", role(explanation))];
    if let Some(service) = &explanation.service {
        let state = if service.active { "" } else { ", not active" };
        let line = format!("{} ({}{state})", service.name, service.kind);
        facts.push(("service", vec![format!("{line}, {}", service.position)]));
    }
    if let Some(component) = &explanation.request.component {
        let component = match component.as_str() {
            "" => "the root of the service",
            component => component,
        };
        facts.push(("component", vec![component.to_owned()]));
    }
    if let Some(operation) = &explanation.operation {
        let path = match operation.path {
            "" => "/",
            path => path,
        };
        let line = format!("{} ({} {path})", operation.name, operation.method);
        facts.push(("operation", vec![line]));
    }
    if !explanation.rows.is_empty() {
        facts.push(("rows", rows(&explanation.rows)));
    }
    if let Some(grant) = &explanation.grant {
        facts.push(("records", records(grant)));
        let columns = match &grant.fields {
            Some(fields) => fields
                .iter()
                .map(String::as_str)
                .collect::<Vec<_>>()
                .join(", "),
            None => "all".to_owned(),
        };
        facts.push(("columns", vec![columns]));
    }
    facts.push(("reason", vec![explanation.reason.to_owned()]));
    if let Some(answer) = &explanation.answer {
        let line = format!("{} {}: {}", answer.status, answer.kind, answer.message);
        facts.push(("answer", vec![line]));
    }
    facts
}

fn key(explanation: &Explanation) -> Vec<String> {
    let key = &explanation.key;
    let mut line = format!("{}, {}", key.name, key.position);
    if !key.active {
        line += ", not active";
    }
    let mut lines = vec![line];
    for (word, moment) in [("from", &key.not_before), ("until", &key.expires)] {
        if let Some(moment) = moment {
            let at = explanation.at.as_deref().unwrap_or_default();
            lines.push(format!("accepted {word} {moment}; it is {at}"));
        }
    }
    lines
}

fn role(explanation: &Explanation) -> Vec<String> {
    match &explanation.role {
        Some(role) => {
            let state = if role.active { "" } else { ", not active" };
            let chosen = match &role.chosen_at {
                Some(position) => format!("; the role of the {}, {position}", role.chosen_by),
                None => String::new(),
            };
            vec![format!("{}, {}{state}{chosen}", role.name, role.position)]
        }
        None => vec!["none".to_owned()],
    }
}

/// The rows, one on each line, in columns.
fn rows(rows: &[RowFacts]) -> Vec<String> {
    let table: Vec<[String; 4]> = rows
        .iter()
        .map(|row| {
            let verbs = row.verbs.join(",");
            [
                row.position.clone(),
                row.service.clone(),
                format!("\"{}\"", row.component),
                if row.deny {
                    format!("deny {verbs}")
                } else {
                    verbs
                },
            ]
        })
        .collect();
    let width = |column: usize| {
        let cells = table.iter().filter_map(|cells| cells.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths = [width(0), width(1), width(2), width(3)];
    table
        .iter()
        .zip(rows)
        .map(|(cells, row)| {
            let mut line = String::new();
            for (cell, width) in cells.iter().zip(widths) {
                let _ = write!(line, "{cell:<width$}  ");
            }
            line + &row.why
        })
        .collect()
}

fn records(grant: &GrantFacts) -> Vec<String> {
    let Some(filter) = &grant.filter else {
        return vec!["all".to_owned()];
    };
    let mut lines = vec![format!("only those with {filter}")];
    for (name, value) in &grant.lookups {
        lines.push(match value {
            Some(value) => format!("{{{name}}} is \"{value}\""),
            None => format!("{{{name}}} has no value"),
        });
    }
    lines
}
