//! `[service.NAME]`: one thing that the gateway serves.

use std::sync::{Arc, Mutex, PoisonError};

use schemars::{JsonSchema, Schema};
use serde::Deserialize;
use serde_json::Value;

use super::document::Document;
use super::secrets::{Reference, Written};
use crate::connector::{AnyConfig, ServiceType};

/// A service: one database, and later one file store, remote API, script runner or mailer.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ServiceTable {
    /// The kind of service; decides what `config` holds.
    pub r#type: String,
    /// What people call it.
    pub label: Option<String>,
    /// What it is for.
    pub description: Option<String>,
    /// Whether it is served. A service that is not answers 403 and keeps its rows in roles. Default: true.
    #[serde(default = "default_active")]
    pub active: bool,
    /// Settings of the service; which ones depends on `type`.
    #[serde(default)]
    #[schemars(transform = any_table)]
    pub config: serde_json::Map<String, Value>,
}

fn default_active() -> bool {
    true
}

/// `config` is described by the schema of the service type.
fn any_table(schema: &mut Schema) {
    schema.remove("additionalProperties");
    schema.remove("default");
}

/// A service, linked. Its config still has references where secrets belong.
pub struct Service {
    /// What serves it.
    pub service_type: ServiceType,
    /// What people call it.
    pub label: Option<String>,
    /// What it is for.
    pub description: Option<String>,
    /// Whether it is served.
    pub active: bool,
    /// Settings, validated, secrets unresolved.
    pub(super) config: Value,
    /// The secrets in the config, by their JSON pointers there.
    pub(super) secrets: Vec<(String, Written)>,
    /// The file it stands in.
    pub(super) document: Arc<Document>,
    /// JSON pointer of the config in that file.
    pub(super) pointer: String,
    /// What the config was typed to last.
    pub(super) typed: Memo,
}

impl Service {
    /// The references to secrets in the config, with their JSON pointers there.
    pub(super) fn references(&self) -> impl Iterator<Item = (&str, &Reference)> {
        self.secrets
            .iter()
            .filter_map(|(pointer, written)| match written {
                Written::Reference(reference) => Some((pointer.as_str(), reference)),
                Written::Plain(_) => None,
            })
    }
}

/// Remembers what a config was typed to, so that an unchanged service is not typed again.
#[derive(Default)]
pub(super) struct Memo(Mutex<Option<Typed>>);

struct Typed {
    /// The digests of the secrets' values, in the order of their places.
    secrets: Vec<[u8; 32]>,
    config: Arc<dyn AnyConfig>,
}

impl Memo {
    /// The typed config for secrets with these digests.
    pub(super) fn get(&self, secrets: &[[u8; 32]]) -> Option<Arc<dyn AnyConfig>> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.as_ref()
            .filter(|typed| typed.secrets == secrets)
            .map(|typed| Arc::clone(&typed.config))
    }

    /// Remembers a typed config.
    pub(super) fn keep(&self, secrets: Vec<[u8; 32]>, config: &Arc<dyn AnyConfig>) {
        let typed = Typed {
            secrets,
            config: Arc::clone(config),
        };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(typed);
    }
}

impl std::fmt::Debug for Service {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Service")
            .field("type", &self.service_type.name)
            .field("label", &self.label)
            .field("description", &self.description)
            .field("active", &self.active)
            .finish_non_exhaustive()
    }
}
