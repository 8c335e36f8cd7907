//! What runs: one immutable value for each revision.

pub mod assemble;
pub mod build;
pub mod candidate;
pub mod documents;
pub mod expect;
pub mod explain;
pub mod lease;
pub mod plan;
pub mod publish;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};

use crate::auth::application::Application;
use crate::auth::authorize::ServiceFacts;
use crate::auth::key::KeyRing;
use crate::connector::{AnyConfig, Connector, ServiceType};
use crate::error::Error;
use crate::manifest::{Located, Service as Declared};
use crate::names::ServiceName;
use crate::network::Network;
use crate::telemetry::metrics::{Metrics, OperationMetrics, ServiceMetrics};
use lease::Lease;
use plan::WantedService;

/// Which revision something is.
#[derive(Clone, Debug)]
pub struct Revision {
    /// Counts the revisions that went live since the start, from 1.
    pub generation: u64,
    /// The digest of the tree, in hexadecimal.
    pub digest: String,
    /// The commit that is checked out around the tree, if it is in git.
    pub commit: Option<String>,
    /// Whether the tree differs from that commit; none where that is not known.
    pub dirty: Option<bool>,
    /// Who signed that commit; none where nobody asked.
    pub signer: Option<String>,
    /// When it went live.
    pub loaded_at: DateTime<Utc>,
    /// The layers of the tree, the lowest first.
    pub layers: Vec<LayerRevision>,
    header: http::HeaderValue,
}

/// Which revision a layer of the tree is.
#[derive(Clone, Debug)]
pub struct LayerRevision {
    /// Where it comes from.
    pub label: String,
    /// Its digest, in hexadecimal.
    pub digest: String,
    /// The commit that is checked out around it, if it is in git.
    pub commit: Option<String>,
    /// Whether it differs from that commit; none where that is not known.
    pub dirty: Option<bool>,
    /// How many files it has.
    pub files: usize,
}

/// Digits of the commit or digest that the short form shows.
const SHORT_DIGITS: usize = 12;

impl Revision {
    /// A revision. `digest` and `commit` are hexadecimal. Only a tree that is known to be the commit's is named after
    /// it; any other is named after its digest.
    pub fn new(
        generation: u64,
        digest: String,
        commit: Option<String>,
        dirty: Option<bool>,
        loaded_at: DateTime<Utc>,
    ) -> Self {
        let clean = commit.as_ref().filter(|_| dirty == Some(false));
        let long = clean.unwrap_or(&digest);
        let short = format!("g{generation}-{}", long.get(..SHORT_DIGITS).unwrap_or(long));
        let header = http::HeaderValue::try_from(short)
            .unwrap_or_else(|_| http::HeaderValue::from(generation));
        Self {
            generation,
            digest,
            commit,
            dirty,
            signer: None,
            loaded_at,
            layers: Vec::new(),
            header,
        }
    }

    /// The same, and who signed its commit.
    #[must_use]
    pub fn signed_by(self, signer: Option<String>) -> Self {
        Self { signer, ..self }
    }

    /// The same with the layers of its tree.
    #[must_use]
    pub fn with_layers(mut self, layers: Vec<LayerRevision>) -> Self {
        self.layers = layers;
        self
    }

    /// The value of `X-Tidegate-Revision`: `g17-4f2a9c0b1d3e`.
    pub fn header(&self) -> &http::HeaderValue {
        &self.header
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.header.to_str().unwrap_or("g0"))
    }
}

/// Settings of the gateway on one revision.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Most bytes a collected body may have.
    pub max_body_bytes: usize,
    /// Longest path and query string, in bytes.
    pub max_uri_bytes: usize,
    /// How long an answer may take to begin.
    pub request_timeout: std::time::Duration,
    /// Requests served at a time; more are answered 503.
    pub max_in_flight: usize,
    /// How long answers of a replaced or removed service may go on.
    pub stream_drain: std::time::Duration,
    /// Proxies whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<Network>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            max_body_bytes: 10 * 1024 * 1024,
            max_uri_bytes: 16 * 1024,
            request_timeout: std::time::Duration::from_secs(30),
            max_in_flight: 1024,
            stream_drain: std::time::Duration::from_mins(5),
            trusted_proxies: Vec::new(),
        }
    }
}

/// One revision, running.
pub struct Snapshot {
    /// Which one.
    pub revision: Revision,
    /// When its tree was accepted, if it is the last good tree, served because what is in the sources was refused at the
    /// start; none for a tree that was read from them.
    pub last_good: Option<DateTime<Utc>>,
    /// The services, by name.
    pub services: BTreeMap<ServiceName, Arc<Service>>,
    /// The applications, by key.
    pub applications: KeyRing<Application>,
    /// Settings of the gateway.
    pub settings: Settings,
    /// OpenAPI documents that were asked for.
    pub documents: documents::Documents,
}

impl Snapshot {
    /// A service by its name.
    pub fn service(&self, name: &str) -> Option<&Arc<Service>> {
        self.services.get(name)
    }
}

/// A service of one revision, and of the next ones while nothing about it changes. Where only a label changes, what is
/// kept is the connector, its health and its lease.
pub struct Service {
    /// Its name.
    pub name: ServiceName,
    /// Its label.
    pub label: String,
    /// Its description.
    pub description: String,
    /// Its type.
    pub kind: &'static ServiceType,
    /// False answers 403.
    pub is_active: bool,
    /// What its table says.
    pub declared: Arc<Located<Declared>>,
    /// What the connector was opened with.
    pub config: Arc<dyn AnyConfig>,
    /// What answers.
    pub connector: Arc<dyn Connector>,
    /// Whether the backend answered last time.
    pub health: Arc<Health>,
    /// How long the connector's answers may go on.
    pub lease: Arc<Lease>,
    /// Counters of its operations.
    pub metrics: ServiceMetrics,
}

impl Service {
    /// Whether it is just what is wanted, so that nothing has to be made for the next revision. Both come from the same
    /// table of a file that did not change; anything else takes a closer look.
    fn is_just(&self, wanted: &WantedService) -> bool {
        Arc::ptr_eq(&self.declared, &wanted.declared) && Arc::ptr_eq(&self.config, &wanted.config)
    }

    /// What a decision needs to know of it.
    pub fn facts(&self) -> ServiceFacts<'_> {
        ServiceFacts {
            name: &self.name,
            is_active: self.is_active,
            operations: self.config.operations(),
        }
    }

    /// The counters of one of its operations.
    pub fn counters(&self, operation: &str, metrics: &Metrics) -> Option<&OperationMetrics> {
        let operations = self.config.operations().iter();
        let names = operations.map(|operation| operation.name);
        let counters = &self.metrics;
        counters.operation(metrics, self.name.as_str(), names, operation)
    }

    /// Notes what the outcome of a call or a probe says of the backend, and logs it where that is news.
    pub fn note_health(&self, outcome: Result<(), &Error>) {
        let service = self.name.as_str();
        match outcome {
            Ok(()) if self.health.answered() => {
                tracing::info!(service.name = service, "the backend answers again");
            }
            Err(error) if self.health.failed(error.message()) => {
                tracing::warn!(
                    service.name = service,
                    ?error,
                    "the backend does not answer"
                );
            }
            _ => {}
        }
    }
}

/// Whether a backend answered when it was last asked.
#[derive(Debug, Default)]
pub struct Health {
    state: AtomicU8,
    /// Whether it answered since somebody last asked for this.
    answered_lately: AtomicBool,
    /// Why it did not, in words that a caller may read as well.
    reason: Mutex<String>,
}

/// What is known of a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HealthState {
    /// It was not asked yet.
    Unknown,
    /// It answered.
    Up,
    /// It did not.
    Down,
}

impl Health {
    /// What is known.
    pub fn state(&self) -> HealthState {
        match self.state.load(Ordering::Relaxed) {
            1 => HealthState::Up,
            2 => HealthState::Down,
            _ => HealthState::Unknown,
        }
    }

    /// Why the backend is down; none while it is not.
    pub fn reason(&self) -> Option<String> {
        (self.state() == HealthState::Down).then(|| self.locked().clone())
    }

    /// Notes an answer. True if there was none the last time.
    pub fn answered(&self) -> bool {
        // Reading first keeps the cache line shared while nothing changes.
        if !self.answered_lately.load(Ordering::Relaxed) {
            self.answered_lately.store(true, Ordering::Relaxed);
        }
        self.note(1) == Some(2)
    }

    /// Whether the backend answered since this was last asked, and nothing went wrong after that.
    pub fn take_answered(&self) -> bool {
        self.answered_lately.swap(false, Ordering::Relaxed) && self.state() == HealthState::Up
    }

    /// Notes that there was no answer, and why. True if that is news.
    pub fn failed(&self, reason: &str) -> bool {
        {
            let mut known = self.locked();
            if *known != reason {
                reason.clone_into(&mut known);
            }
        }
        self.note(2).is_some()
    }

    /// Gives the state before, where it was another one.
    fn note(&self, state: u8) -> Option<u8> {
        // Reading first keeps the cache line shared while nothing changes.
        if self.state.load(Ordering::Relaxed) == state {
            return None;
        }
        Some(self.state.swap(state, Ordering::Relaxed)).filter(|before| *before != state)
    }

    fn locked(&self) -> MutexGuard<'_, String> {
        self.reason.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl HealthState {
    /// As `/status` shows it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Up => "up",
            Self::Down => "down",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_revision_is_named_after_its_commit_only_when_it_is_just_that() {
        let digest = "ab".repeat(32);
        let commit = Some("12".repeat(20));
        let name = |commit: Option<String>, dirty| {
            Revision::new(3, digest.clone(), commit, dirty, DateTime::UNIX_EPOCH).to_string()
        };
        assert_eq!(name(None, None), "g3-abababababab");
        assert_eq!(name(commit.clone(), Some(false)), "g3-121212121212");
        assert_eq!(name(commit.clone(), Some(true)), "g3-abababababab");
        assert_eq!(name(commit, None), "g3-abababababab");
    }
}
