//! Running × wanted → what to keep, open, replace and close. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Service;
use crate::connector::{AnyConfig, ServiceType};
use crate::manifest::{Located, Service as Declared};
use crate::names::ServiceName;

/// A service as the manifests want it, secrets resolved.
pub struct WantedService {
    /// Its type.
    pub kind: &'static ServiceType,
    /// What its table says.
    pub declared: Arc<Located<Declared>>,
    /// Its typed config.
    pub config: Arc<dyn AnyConfig>,
}

/// What happens to one service.
pub enum Step {
    /// Nothing at all about it has changed: it stays as it is.
    Leave(Arc<Service>),
    /// Its config is equal: connector, pool and health stay.
    Keep(Arc<Service>, WantedService),
    /// It is new.
    Open(WantedService),
    /// Its config differs.
    Replace(WantedService),
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

/// Decides for every wanted service; they come in the order of their names. Identity is the typed config after defaults and secrets, so
/// comments, order and spelling out a default keep a service, and a rotated secret replaces it.
pub fn plan(
    running: &BTreeMap<ServiceName, Arc<Service>>,
    wanted: Vec<(ServiceName, WantedService)>,
) -> (Vec<(ServiceName, Step)>, Tally) {
    let mut tally = Tally::default();
    let mut steps = Vec::with_capacity(wanted.len());
    // Both are sorted, so one walk over them finds every pair.
    let mut others = running.iter().peekable();
    for (name, wanted) in wanted {
        while others.next_if(|(other, _)| **other < name).is_some() {
            tally.closed += 1;
        }
        let step = match others.next_if(|(other, _)| **other == name) {
            None => {
                tally.opened += 1;
                Step::Open(wanted)
            }
            Some((_, current)) if current.is_just(&wanted) => {
                tally.kept += 1;
                Step::Leave(Arc::clone(current))
            }
            Some((_, current)) if current.config.same_as(wanted.config.as_ref()) => {
                tally.kept += 1;
                Step::Keep(Arc::clone(current), wanted)
            }
            Some(_) => {
                tally.replaced += 1;
                Step::Replace(wanted)
            }
        };
        steps.push((name, step));
    }
    tally.closed += others.count();
    (steps, tally)
}
