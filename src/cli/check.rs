//! `tidegate check`: everything that is wrong with a tree, found before it is merged.

use std::io::Write;

use clap::Args;
use serde_json::json;

use super::sources::{SecretArguments, SignatureArguments, SourceArguments, layers};
use super::{Failure, GOOD, OutputFormat, PROBLEMS};
use crate::manifest::secrets::Placeholders;
use crate::manifest::{Diagnostics, SecretSource, Severity};
use crate::snapshot::candidate::Candidate;
use crate::tree::{Source, Sources};

#[derive(Debug, Args)]
pub(super) struct CheckArguments {
    /// Folders of manifests; each is a tree of its own. Default: what `serve` would serve (`TIDEGATE_CONFIG`, else
    /// gateway.d).
    #[arg(value_name = "SOURCE", value_parser = str::parse::<Source>)]
    trees: Vec<Source>,
    /// The layers of one tree, which are checked together, later ones above earlier ones. Given several times or with
    /// commas.
    #[arg(
        long,
        value_name = "SOURCE",
        value_delimiter = ',',
        value_parser = str::parse::<Source>,
        conflicts_with = "trees"
    )]
    config: Vec<Source>,
    /// Reads the secrets as well. Without it they count as there, so that a check needs none.
    #[arg(long)]
    secrets: bool,
    #[command(flatten)]
    secret: SecretArguments,
    #[command(flatten)]
    signature: SignatureArguments,
}

/// Exit code 0 when every tree would be accepted, 1 otherwise.
pub(super) fn run(
    arguments: &CheckArguments,
    format: OutputFormat,
    output: &mut dyn Write,
) -> Result<u8, Failure> {
    let machine = arguments.secret.machine();
    let secrets: &dyn SecretSource = if arguments.secrets {
        &machine
    } else {
        &Placeholders
    };
    let trees = arguments.trees()?;
    let found: Vec<Checked> = trees.iter().map(|tree| check(tree, secrets)).collect();
    match format {
        OutputFormat::Text => {
            for Checked {
                diagnostics,
                expectations,
            } in &found
            {
                write!(output, "{}", diagnostics.render(true))?;
                match expectations {
                    None | Some(0) => {}
                    Some(1) => writeln!(output, "1 expectation holds")?,
                    Some(count) => writeln!(output, "{count} expectations hold")?,
                }
            }
        }
        OutputFormat::Json => {
            let trees: Vec<_> = trees
                .iter()
                .zip(&found)
                .map(|(tree, checked)| {
                    let diagnostics = &checked.diagnostics;
                    json!({
                        "folder": tree.to_string(),
                        "files": diagnostics.files(),
                        "expectations": checked.expectations,
                        "errors": diagnostics.count(Severity::Error),
                        "warnings": diagnostics.count(Severity::Warning),
                        "problems": diagnostics.to_json(),
                    })
                })
                .collect();
            writeln!(output, "{:#}", json!({ "trees": trees }))?;
        }
    }
    let is_good = found
        .iter()
        .all(|checked| checked.diagnostics.count(Severity::Error) == 0);
    Ok(if is_good { GOOD } else { PROBLEMS })
}

impl CheckArguments {
    fn trees(&self) -> Result<Vec<Sources>, Failure> {
        let trees = if !self.config.is_empty() {
            vec![layers(&self.config)?]
        } else if self.trees.is_empty() {
            vec![SourceArguments::unsaid()?.sources()?]
        } else {
            let alone = |source: &Source| Sources::new([source.clone()]);
            self.trees.iter().map(alone).collect()
        };
        let demand = |tree| self.signature.demand(tree);
        trees.into_iter().map(demand).collect()
    }
}

/// What was found in one tree.
struct Checked {
    diagnostics: Diagnostics,
    /// How many expectations hold; none where the tree is not accepted.
    expectations: Option<usize>,
}

/// The warnings of a tree that would be accepted, or everything that is wrong with it.
fn check(sources: &Sources, secrets: &dyn SecretSource) -> Checked {
    // Git holds its lock while it runs a pre-commit hook, so there is no waiting for it here.
    let outcome = sources
        .read()
        .map_err(Diagnostics::from)
        .and_then(|tree| Candidate::of(tree, secrets));
    match outcome {
        Ok(candidate) => Checked {
            expectations: Some(candidate.set.expectations.len()),
            diagnostics: candidate.set.warnings,
        },
        Err(diagnostics) => Checked {
            diagnostics,
            expectations: None,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(text: &str, format: OutputFormat) -> (u8, String) {
        let folder = tempfile::tempdir().unwrap();
        #[expect(clippy::disallowed_methods, reason = "a test may block")]
        std::fs::write(folder.path().join("a.toml"), text).unwrap();
        let arguments = CheckArguments {
            trees: vec![Source::Directory(folder.path().to_owned())],
            config: Vec::new(),
            secrets: false,
            secret: SecretArguments::default(),
            signature: SignatureArguments::default(),
        };
        let mut output = Vec::new();
        let code = run(&arguments, format, &mut output).unwrap();
        (code, String::from_utf8(output).unwrap())
    }

    #[test]
    fn a_good_tree_is_good_and_a_bad_one_is_not() {
        let (code, text) = checked("[role.reader]\n", OutputFormat::Text);
        assert_eq!((code, text.as_str()), (GOOD, "no problems in 1 file\n"));
        let (code, text) = checked("[role.Reader]\n", OutputFormat::Text);
        assert_eq!(code, PROBLEMS);
        assert!(text.contains("a.toml:1:7"), "{text}");
    }

    #[test]
    fn programs_get_json() {
        let (code, text) = checked("[rol.reader]\n", OutputFormat::Json);
        assert_eq!(code, PROBLEMS);
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        let tree = &value["trees"][0];
        assert_eq!(tree["errors"], 1);
        assert_eq!(tree["problems"][0]["line"], 1);
        assert_eq!(tree["problems"][0]["help"], "did you mean `role`?");
    }
}
