//! `tidegate openapi`: the OpenAPI document of a tree, without a daemon.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;

use super::sources::{SecretArguments, SourceArguments};
use super::{Failure, GOOD, OutputFormat, PROBLEMS};
use crate::clock;
use crate::connector::Description;
use crate::connector::access::{Access, Pattern, Rule, Verbs};
use crate::manifest::Diagnostics;
use crate::openapi::{ServiceDescription, document};
use crate::snapshot::assemble::{application, wanted};
use crate::snapshot::candidate::Candidate;
use crate::snapshot::{Service, build};
use crate::tree::Sources;

/// How long one backend may take to tell its tables.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Debug, Args)]
pub(super) struct OpenApiArguments {
    #[command(flatten)]
    source: SourceArguments,
    #[command(flatten)]
    secret: SecretArguments,
    /// Only this service. Default: all.
    #[arg(long, value_name = "NAME")]
    service: Option<String>,
    /// Only what this key may do, by its name in the manifests. Default: everything.
    #[arg(long, value_name = "NAME")]
    key: Option<String>,
}

/// Prints the document. A backend that does not answer leaves its general operations in it, and a line on standard error.
pub(super) fn run(
    arguments: &OpenApiArguments,
    format: OutputFormat,
    output: &mut dyn Write,
) -> Result<u8, Failure> {
    match read(arguments, &arguments.source.sources()?) {
        Ok(candidate) => {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            let text = runtime.block_on(print(arguments, candidate))?;
            writeln!(output, "{text}")?;
            Ok(GOOD)
        }
        Err(problems) => {
            match format {
                OutputFormat::Text => write!(output, "{}", problems.render(true))?,
                OutputFormat::Json => writeln!(output, "{:#}", problems.to_json())?,
            }
            Ok(PROBLEMS)
        }
    }
}

fn read(arguments: &OpenApiArguments, sources: &Sources) -> Result<Candidate, Diagnostics> {
    Candidate::of(sources.read()?, &arguments.secret.machine())
}

async fn print(arguments: &OpenApiArguments, candidate: Candidate) -> Result<String, Failure> {
    let Candidate { tree, set, configs } = candidate;
    let application = match &arguments.key {
        None => None,
        Some(name) => Some(application(&set, name).ok_or_else(|| {
            let names: Vec<&str> = set.keys.keys().map(crate::names::KeyName::as_str).collect();
            Failure::new(format!("no key `{name}`"))
                .with_help(format!("keys are {}", names.join(", ")))
        })?),
    };
    let data_directory = arguments.source.data_directory()?;
    let opened = build::services(
        &BTreeMap::new(),
        wanted(&set, configs),
        &data_directory,
        &clock::system(),
    )
    .await;
    let (services, _) = opened.map_err(|failures| {
        let problems = build::problems(&set, &failures);
        let first = problems
            .iter()
            .next()
            .map(|problem| problem.message.clone());
        Failure::new(first.unwrap_or_default())
    })?;
    if let Some(name) = &arguments.service
        && !services.contains_key(name.as_str())
    {
        let names: Vec<&str> = services
            .keys()
            .map(crate::names::ServiceName::as_str)
            .collect();
        return Err(Failure::new(format!("no service `{name}`"))
            .with_help(format!("services are {}", names.join(", "))));
    }
    let chosen: Vec<&Arc<Service>> = services
        .values()
        .filter(|service| {
            arguments
                .service
                .as_ref()
                .is_none_or(|name| service.name.as_str() == name)
        })
        .collect();
    let mut described = Vec::with_capacity(chosen.len());
    for service in chosen {
        let answer = tokio::time::timeout(PATIENCE, service.connector.describe()).await;
        let description = if let Ok(Ok(description)) = answer {
            description
        } else {
            tracing::warn!(
                service.name = service.name.as_str(),
                "the backend does not answer"
            );
            Description::General
        };
        described.push((service, description));
    }
    let mut descriptions = Vec::with_capacity(described.len());
    for (service, description) in &described {
        let access = match &application {
            None => everything(service.name.as_str()),
            Some(application) => application
                .access(&service.name)
                .map_err(|refusal| Failure::new(refusal.error.message().to_owned()))?,
        };
        descriptions.push(ServiceDescription {
            name: service.name.as_str(),
            label: &service.label,
            description: &service.description,
            operations: service.config.operations(),
            details: description,
            access,
        });
    }
    let document = document(
        &descriptions,
        arguments.service.is_some(),
        &tree.digest().to_string(),
    );
    Ok(format!("{document:#}"))
}

fn everything(service: &str) -> Access {
    let rule = Rule {
        names_service: true,
        pattern: Pattern::Everything,
        verbs: Verbs::ALL,
        deny: false,
        filter: None,
        fields: None,
        position: Arc::from("the command line"),
    };
    Access::new("everything", service, [rule], Arc::default())
}
