//! In which keys two configs of one service type differ. Pure: secrets stay references, and no value is shown.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::Schemas;
use super::document::{join, segments};
use super::secrets::{Written, written};
use super::service::Service;
use crate::connector::AnyConfig;

/// Stands for the value of every reference, so that a config can be typed without it.
const PLACEHOLDER: &str = "placeholder";

/// One key in which two configs differ.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Difference {
    /// JSON pointer (RFC 6901) of the key within the config.
    pub pointer: String,
    /// How it differs.
    pub kind: Kind,
}

/// How a key differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// The second config has another value, or only one of them says what is not the default.
    Value,
    /// Only the second one has the secret.
    SecretAdded,
    /// Only the first one has the secret.
    SecretRemoved,
    /// The secret is another reference.
    SecretReference,
    /// The secret is written in the tree, and it is another one.
    SecretText,
    /// The secret was a reference and is written in the tree now.
    SecretExposed,
    /// The secret was written in the tree and is a reference now.
    SecretHidden,
}

impl Difference {
    /// The key with those around it: `password`, `replicas.0.password`.
    pub fn key(&self) -> String {
        let segments: Vec<String> = segments(&self.pointer).collect();
        segments.join(".")
    }
}

impl Service {
    /// In which keys of its config `self` differs from what it was `before`, sorted by pointer: empty when nothing
    /// differs but order, comments and defaults that are written out. Both must be of one type.
    pub fn differences(&self, before: &Self, schemas: &Schemas) -> Vec<Difference> {
        let places: BTreeSet<String> = [before, self]
            .into_iter()
            .flat_map(|service| schemas.secret_places(&service.service_type, &service.config))
            .collect();
        let mut found: Vec<Difference> = places
            .iter()
            .filter_map(|pointer| {
                let kind = secret(
                    pointer,
                    before.config.pointer(pointer),
                    self.config.pointer(pointer),
                )?;
                let pointer = pointer.clone();
                Some(Difference { pointer, kind })
            })
            .collect();
        let [old, new] = [before, self].map(|service| veiled(&service.config, &places));
        for difference in values(self, &old, &new) {
            // A secret that is added or removed is said already.
            if !(found.iter()).any(|secret| secret.pointer == difference.pointer) {
                found.push(difference);
            }
        }
        found.sort();
        found
    }
}

fn secret(pointer: &str, before: Option<&Value>, after: Option<&Value>) -> Option<Kind> {
    let name = segments(pointer).next_back().unwrap_or_default();
    let read = |value: &Value| written(&name, value).ok();
    Some(match (before, after) {
        (None, None) => return None,
        (None, Some(_)) => Kind::SecretAdded,
        (Some(_), None) => Kind::SecretRemoved,
        (Some(before), Some(after)) if before == after => return None,
        (Some(before), Some(after)) => match (read(before), read(after)) {
            (Some(Written::Plain(_)), Some(Written::Plain(_))) => Kind::SecretText,
            (Some(Written::Plain(_)), _) => Kind::SecretHidden,
            (_, Some(Written::Plain(_))) => Kind::SecretExposed,
            _ => Kind::SecretReference,
        },
    })
}

/// A config in which every secret has the same value.
fn veiled(config: &Value, places: &BTreeSet<String>) -> Map<String, Value> {
    let mut config = config.clone();
    for pointer in places {
        if let Some(value) = config.pointer_mut(pointer) {
            *value = Value::String(PLACEHOLDER.to_owned());
        }
    }
    match config {
        Value::Object(config) => config,
        _ => Map::new(),
    }
}

/// The keys whose values differ, secrets apart. A key that only spells a default out makes no difference: with it
/// exchanged, the first config is still typed to the same.
fn values(
    service: &Service,
    before: &Map<String, Value>,
    after: &Map<String, Value>,
) -> Vec<Difference> {
    let typed = |config: &Map<String, Value>| -> Option<Arc<dyn AnyConfig>> {
        (service.service_type.parse)(Value::Object(config.clone())).ok()
    };
    let (old, new) = (typed(before), typed(after));
    let same = |left: &Option<Arc<dyn AnyConfig>>, right: &Option<Arc<dyn AnyConfig>>| matches!((left, right), (Some(left), Some(right)) if left.same_as(right.as_ref()));
    if same(&old, &new) {
        return Vec::new();
    }
    let mut written = BTreeSet::new();
    leaves(before, after, "", &mut written);
    let telling: Vec<&String> = written
        .iter()
        .filter(|pointer| {
            let mut mixed = Value::Object(before.clone());
            exchange(&mut mixed, after, pointer);
            match mixed {
                Value::Object(mixed) => !same(&old, &typed(&mixed)),
                _ => true,
            }
        })
        .collect();
    // Keys may matter only together; then all that are written differently are named.
    let pointers = if telling.is_empty() {
        written.iter().collect()
    } else {
        telling
    };
    pointers
        .into_iter()
        .map(|pointer| Difference {
            pointer: pointer.clone(),
            kind: Kind::Value,
        })
        .collect()
}

/// The pointers of the innermost keys that are written differently. A table that only one side has is gone through as
/// if the other had an empty one.
fn leaves(
    before: &Map<String, Value>,
    after: &Map<String, Value>,
    above: &str,
    found: &mut BTreeSet<String>,
) {
    let empty = Map::new();
    let keys: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    for key in keys {
        let pointer = join(above, key);
        match (before.get(key), after.get(key)) {
            (left, right) if left == right => {}
            (Some(Value::Object(left)), Some(Value::Object(right))) => {
                leaves(left, right, &pointer, found);
            }
            (Some(Value::Object(only)), None) if !only.is_empty() => {
                leaves(only, &empty, &pointer, found);
            }
            (None, Some(Value::Object(only))) if !only.is_empty() => {
                leaves(&empty, only, &pointer, found);
            }
            _ => {
                found.insert(pointer);
            }
        }
    }
}

/// Gives the key at a pointer the value that it has in `from`; without one there, it is removed.
fn exchange(config: &mut Value, from: &Map<String, Value>, pointer: &str) {
    let mut segments = segments(pointer).peekable();
    let mut source: Option<&Value> = None;
    let mut place = config;
    let mut is_first = true;
    while let Some(key) = segments.next() {
        source = if is_first {
            from.get(&key)
        } else {
            source.and_then(|source| source.get(&key))
        };
        is_first = false;
        let Value::Object(members) = place else {
            return;
        };
        if segments.peek().is_none() {
            match source {
                Some(value) => members.insert(key, value.clone()),
                None => members.shift_remove(&key),
            };
            return;
        }
        place = members
            .entry(key)
            .or_insert_with(|| Value::Object(Map::new()));
    }
}
