//! Running × wanted → what to keep, open, replace and close. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Service;
use crate::connector::{AnyConfig, ServiceType};
use crate::names::ServiceName;

/// A service as the manifests want it, secrets resolved.
pub struct WantedService {
    /// Its type.
    pub kind: &'static ServiceType,
    /// Its label.
    pub label: String,
    /// Its description.
    pub description: String,
    /// False answers 403.
    pub is_active: bool,
    /// Its typed config.
    pub config: Arc<dyn AnyConfig>,
}

/// What happens to one service.
pub enum Step {
    /// Its config is equal: connector, pool and health stay.
    Keep(Arc<Service>),
    /// It is new.
    Open,
    /// Its config differs.
    Replace,
}

/// What a reload does, in numbers and names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Services that keep their connector.
    pub kept: usize,
    /// Services that are new.
    pub opened: usize,
    /// Services whose connector is replaced.
    pub replaced: usize,
    /// Services that are gone.
    pub closed: usize,
}

/// Decides for every wanted service. Identity is the typed config after defaults and secrets, so comments, order and
/// spelling out a default keep a service, and a rotated secret replaces it.
pub fn plan(
    running: &BTreeMap<ServiceName, Arc<Service>>,
    wanted: &BTreeMap<ServiceName, WantedService>,
) -> (BTreeMap<ServiceName, Step>, Tally) {
    let mut tally = Tally {
        closed: running
            .keys()
            .filter(|name| !wanted.contains_key(name.as_str()))
            .count(),
        ..Tally::default()
    };
    let steps = wanted
        .iter()
        .map(|(name, service)| {
            let step = match running.get(name.as_str()) {
                None => {
                    tally.opened += 1;
                    Step::Open
                }
                Some(current) if current.config.same_as(service.config.as_ref()) => {
                    tally.kept += 1;
                    Step::Keep(Arc::clone(current))
                }
                Some(_) => {
                    tally.replaced += 1;
                    Step::Replace
                }
            };
            (name.clone(), step)
        })
        .collect();
    (steps, tally)
}
