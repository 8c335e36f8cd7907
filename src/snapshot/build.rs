//! Carries out a plan. Connectors are opened here only; opening does not wait for backends.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::Service;
use super::plan::{Step, Tally, WantedService, plan};
use crate::clock::Clock;
use crate::connector::Resources;
use crate::error::{Error, Result};
use crate::names::ServiceName;
use crate::telemetry::metrics::Metrics;

/// The services of the next revision: equal ones keep their connectors, the others are opened, all at once.
///
/// Errors: the first service that cannot be opened; nothing that runs was touched.
pub async fn services(
    running: &BTreeMap<ServiceName, Arc<Service>>,
    wanted: BTreeMap<ServiceName, WantedService>,
    data_directory: &Path,
    clock: &Arc<dyn Clock>,
    metrics: &Metrics,
) -> Result<(BTreeMap<ServiceName, Arc<Service>>, Tally)> {
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
                    let connector = service.config.open(&resources).await?;
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
            Ok::<_, Error>((name, Arc::new(service)))
        }
    });
    let services = futures_util::future::try_join_all(built)
        .await?
        .into_iter()
        .collect();
    Ok((services, tally))
}
