//! Carries out a plan. Connectors are opened here only; opening does not wait for backends.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use futures_util::{StreamExt as _, stream};

use super::lease::Lease;
use super::plan::{Step, Tally, WantedService, plan};
use super::{Health, Service};
use crate::clock::Clock;
use crate::connector::{Connector, Resources};
use crate::error::Error;
use crate::manifest::{Diagnostics, ManifestSet};
use crate::names::ServiceName;
use crate::telemetry::metrics::ServiceMetrics;

/// Most services that are opened at the same time: opening may read files.
const MAX_OPENING: usize = 16;

/// The services of the next revision: equal ones keep their connectors, the others are opened, several at a time.
///
/// Errors: every service that cannot be opened; nothing that runs was touched.
pub async fn services(
    running: &BTreeMap<ServiceName, Arc<Service>>,
    wanted: Vec<(ServiceName, WantedService)>,
    data_directory: &Path,
    clock: &Arc<dyn Clock>,
) -> Result<(BTreeMap<ServiceName, Arc<Service>>, Tally), Vec<(ServiceName, Error)>> {
    let (steps, tally) = plan(running, wanted);
    let mut services = Vec::with_capacity(steps.len());
    let mut to_open = Vec::new();
    for (name, step) in steps {
        match step {
            Step::Leave(current) => services.push((name, current)),
            Step::Keep(current, wanted) => {
                let live = Live {
                    connector: Arc::clone(&current.connector),
                    health: Arc::clone(&current.health),
                    lease: Arc::clone(&current.lease),
                };
                services.push((name.clone(), service(name, wanted, live)));
            }
            Step::Open(wanted) | Step::Replace(wanted) => to_open.push((name, wanted)),
        }
    }
    let mut opened = stream::iter(to_open)
        .map(|(name, wanted)| async move {
            let resources = Resources {
                service: name.clone(),
                data_directory: data_directory.to_owned(),
                clock: Arc::clone(clock),
            };
            match wanted.config.open(&resources).await {
                Ok(connector) => Ok((name, wanted, connector)),
                Err(error) => Err((name, error)),
            }
        })
        .buffer_unordered(MAX_OPENING);
    let mut failures = Vec::new();
    while let Some(outcome) = opened.next().await {
        match outcome {
            Ok((name, wanted, connector)) => {
                let live = Live {
                    connector,
                    health: Arc::default(),
                    lease: Arc::default(),
                };
                services.push((name.clone(), service(name, wanted, live)));
            }
            Err(failure) => failures.push(failure),
        }
    }
    if failures.is_empty() {
        Ok((services.into_iter().collect(), tally))
    } else {
        Err(failures)
    }
}

/// What outlives a revision.
struct Live {
    connector: Arc<dyn Connector>,
    health: Arc<Health>,
    lease: Arc<Lease>,
}

fn service(name: ServiceName, wanted: WantedService, live: Live) -> Arc<Service> {
    let said = &wanted.declared.value;
    Arc::new(Service {
        label: said.label.clone().unwrap_or_else(|| name.to_string()),
        description: said.description.clone().unwrap_or_default(),
        name,
        kind: wanted.kind,
        is_active: said.active,
        declared: wanted.declared,
        config: wanted.config,
        connector: live.connector,
        health: live.health,
        lease: live.lease,
        metrics: ServiceMetrics::default(),
    })
}

/// Why services cannot be opened, at their places in the manifests. It is for whoever runs the gateway, and so says what no
/// caller may know.
pub fn problems(set: &ManifestSet, failures: &[(ServiceName, Error)]) -> Diagnostics {
    let list = failures.iter().map(|(name, error)| {
        tracing::debug!(
            service.name = name.as_str(),
            ?error,
            "a service cannot be opened"
        );
        let facts: Vec<&str> = error
            .facts()
            .iter()
            .map(|(_, fact)| fact.as_str())
            .collect();
        let reason = match facts.as_slice() {
            [] => error.message().to_owned(),
            facts => facts.join("; "),
        };
        let message = format!("the service `{name}` cannot be opened: {reason}");
        let problem = set.service_problem(name.as_str(), message);
        match error.help() {
            Some(help) => problem.with_help(help.to_owned()),
            None => problem,
        }
    });
    set.problems(list.collect())
}
