//! Carries out a plan. Connectors are opened here only; opening does not wait for backends.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::Service;
use super::plan::{Step, Tally, WantedService, plan};
use crate::clock::Clock;
use crate::connector::Resources;
use crate::error::Error;
use crate::manifest::{Diagnostics, ManifestSet};
use crate::names::ServiceName;
use crate::telemetry::metrics::Metrics;

/// The services of the next revision: equal ones keep their connectors, the others are opened, all at once.
///
/// Errors: every service that cannot be opened; nothing that runs was touched.
pub async fn services(
    running: &BTreeMap<ServiceName, Arc<Service>>,
    wanted: BTreeMap<ServiceName, WantedService>,
    data_directory: &Path,
    clock: &Arc<dyn Clock>,
    metrics: &Metrics,
) -> Result<(BTreeMap<ServiceName, Arc<Service>>, Tally), Vec<(ServiceName, Error)>> {
    let (mut steps, tally) = plan(running, &wanted);
    let built = wanted.into_iter().map(|(name, service)| {
        let step = steps.remove(name.as_str());
        let resources = Resources {
            service: name.clone(),
            data_directory: data_directory.to_owned(),
            clock: Arc::clone(clock),
        };
        async move {
            let (connector, health, lease) = match step {
                Some(Step::Keep(current)) => (
                    Arc::clone(&current.connector),
                    Arc::clone(&current.health),
                    Arc::clone(&current.lease),
                ),
                Some(Step::Open | Step::Replace) | None => {
                    let opened = service.config.open(&resources).await;
                    let connector = opened.map_err(|error| (name.clone(), error))?;
                    (connector, Arc::default(), Arc::default())
                }
            };
            let counters = service
                .config
                .operations()
                .iter()
                .map(|operation| {
                    (
                        operation.name,
                        metrics.operation(name.as_str(), operation.name),
                    )
                })
                .collect();
            let service = Service {
                name: name.clone(),
                label: service.label,
                description: service.description,
                kind: service.kind,
                is_active: service.is_active,
                config: service.config,
                connector,
                health,
                lease,
                metrics: counters,
            };
            Ok((name, Arc::new(service)))
        }
    });
    let mut services = BTreeMap::new();
    let mut failures = Vec::new();
    for outcome in futures_util::future::join_all(built).await {
        match outcome {
            Ok((name, service)) => {
                services.insert(name, service);
            }
            Err(failure) => failures.push(failure),
        }
    }
    if failures.is_empty() {
        Ok((services, tally))
    } else {
        Err(failures)
    }
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
