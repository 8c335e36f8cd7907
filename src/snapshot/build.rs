//! Carries out a plan. Connectors are opened here only; opening does not wait for backends.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::plan::{Step, Tally, WantedService, plan};
use super::{Health, Service};
use crate::clock::Clock;
use crate::connector::{Connector, Resources};
use crate::error::{Error, Result};
use crate::names::ServiceName;

/// Most services that are opened at the same time: opening may read files.
const MAX_OPENING: usize = 16;

/// The services of the next revision: equal ones keep their connectors, the others are opened, several at a time.
///
/// Errors: a service that cannot be opened; nothing that runs was touched.
pub async fn services(
    running: &BTreeMap<ServiceName, Arc<Service>>,
    wanted: BTreeMap<ServiceName, WantedService>,
    data_directory: &Path,
    clock: &Arc<dyn Clock>,
) -> Result<(BTreeMap<ServiceName, Arc<Service>>, Tally)> {
    let (steps, tally) = plan(running, wanted);
    let mut services = Vec::with_capacity(steps.len());
    let mut to_open = Vec::new();
    for (name, step) in steps {
        match step {
            Step::Leave(current) => services.push((name, current)),
            Step::Keep(current, wanted) => {
                let connector = Arc::clone(&current.connector);
                let health = Arc::clone(&current.health);
                services.push((name.clone(), service(name, wanted, connector, health)));
            }
            Step::Open(wanted) | Step::Replace(wanted) => to_open.push((name, wanted)),
        }
    }
    let opened = stream::iter(to_open)
        .map(|(name, wanted)| async move {
            let resources = Resources {
                service: name.clone(),
                data_directory: data_directory.to_owned(),
                clock: Arc::clone(clock),
            };
            let connector = wanted.config.open(&resources).await?;
            let health = Arc::new(Health::default());
            Ok::<_, Error>((name.clone(), service(name, wanted, connector, health)))
        })
        .buffer_unordered(MAX_OPENING);
    services.extend(opened.try_collect::<Vec<_>>().await?);
    Ok((services.into_iter().collect(), tally))
}

fn service(
    name: ServiceName,
    wanted: WantedService,
    connector: Arc<dyn Connector>,
    health: Arc<Health>,
) -> Arc<Service> {
    let said = &wanted.declared.value;
    Arc::new(Service {
        label: said.label.clone().unwrap_or_else(|| name.to_string()),
        description: said.description.clone().unwrap_or_default(),
        name,
        kind: wanted.kind,
        is_active: said.active,
        declared: wanted.declared,
        config: wanted.config,
        connector,
        health,
        metrics: Default::default(),
    })
}
