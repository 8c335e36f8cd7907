//! What operators ask: `/livez`, `/readyz`, `/status`, `/metrics`. Read-only, on a listener of their own.

use chrono::{DateTime, SecondsFormat, Utc};
use http::header::ALLOW;
use http::{HeaderValue, Method, StatusCode};
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::Gateway;
use crate::exchange::{Body, Reply};
use crate::snapshot::{HealthState, LayerRevision};
use crate::telemetry::metrics::{SchemaGauges, ServiceGauges};

/// What operators are told of the daemon itself, beside the revision that it serves.
#[derive(Debug, Default)]
pub struct Readiness {
    drains: AtomicBool,
    /// By source.
    fetches: Mutex<BTreeMap<String, Fetch>>,
    last_good: Mutex<Option<LastGood>>,
}

/// How the last fetch of a source ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetch {
    /// When it was.
    pub at: DateTime<Utc>,
    /// Why nothing could be fetched; none if all is well.
    pub problem: Option<String>,
}

/// What is kept on disk for a start on a broken tree.
#[derive(Clone, Debug, Default)]
pub struct LastGood {
    /// The state directory.
    pub directory: String,
    /// The digest of the tree that is kept; none where none is.
    pub digest: Option<String>,
    /// When that tree went live.
    pub accepted_at: Option<DateTime<Utc>>,
    /// Why the newest tree could not be kept.
    pub problem: Option<String>,
}

impl Readiness {
    /// The daemon stops taking requests.
    pub fn drain(&self) {
        self.drains.store(true, Ordering::Release);
    }

    /// Whether the daemon takes requests; false while it drains.
    pub fn is_ready(&self) -> bool {
        !self.drains.load(Ordering::Acquire)
    }

    /// Notes how a fetch of a source ended.
    pub fn fetched(&self, source: &str, fetch: Fetch) {
        self.fetches().insert(source.to_owned(), fetch);
    }

    /// Notes what is kept on disk.
    pub fn keeps(&self, last_good: LastGood) {
        *self.last_good() = Some(last_good);
    }

    /// Notes why the newest tree could not be kept; what was kept before still is.
    pub fn cannot_keep(&self, problem: &str) {
        if let Some(kept) = self.last_good().as_mut() {
            kept.problem = Some(problem.to_owned());
        }
    }

    fn fetches(&self) -> MutexGuard<'_, BTreeMap<String, Fetch>> {
        self.fetches.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn last_good(&self) -> MutexGuard<'_, Option<LastGood>> {
        self.last_good
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// All sources together: the time of the latest fetch, and what is wrong with any. Null before the first one.
    fn fetch(&self) -> Value {
        let fetches = self.fetches();
        let Some(at) = fetches.values().map(|fetch| fetch.at).max() else {
            return Value::Null;
        };
        let problems: Vec<String> = fetches
            .iter()
            .filter_map(|(source, fetch)| Some(format!("{source}: {}", fetch.problem.as_ref()?)))
            .collect();
        let is_good = problems.is_empty();
        json!({
            "at": moment(at),
            "outcome": if is_good { "fetched" } else { "failed" },
            "message": (!is_good).then(|| problems.join("; ")),
        })
    }
}

const RESOURCES: [&str; 4] = ["/livez", "/readyz", "/status", "/metrics"];

/// Answers a request of an operator.
pub fn answer(gateway: &Gateway, readiness: &Readiness, method: &Method, path: &str) -> Reply {
    if !RESOURCES.contains(&path) {
        let resources = RESOURCES.join(", ");
        return json_reply(
            StatusCode::NOT_FOUND,
            &json!({ "error": { "status_code": 404, "message": format!("there is nothing here; try {resources}") } }),
        );
    }
    if method != Method::GET && method != Method::HEAD {
        return json_reply(
            StatusCode::METHOD_NOT_ALLOWED,
            &json!({ "error": {
                "status_code": 405,
                "message": "this listener is read-only: configuration changes by commits alone",
            } }),
        )
        .with_header(ALLOW, HeaderValue::from_static("GET, HEAD"));
    }
    match path {
        "/livez" => text(StatusCode::OK, "live\n".to_owned()),
        "/readyz" => ready(gateway, readiness),
        "/metrics" => metrics(gateway),
        _ => json_text(StatusCode::OK, status(gateway, readiness)),
    }
}

/// Ready: a revision is served. Degraded says that the tree as it is now has problems and an older revision is served.
fn ready(gateway: &Gateway, readiness: &Readiness) -> Reply {
    if !readiness.is_ready() {
        return text(StatusCode::SERVICE_UNAVAILABLE, "draining\n".to_owned());
    }
    let served = gateway.reader().served();
    let state = if served.is_degraded() {
        "ready, degraded"
    } else {
        "ready"
    };
    let revision = &served.snapshot.revision;
    text(StatusCode::OK, format!("{state} {revision}\n"))
}

/// One service, as `/status` shows it.
#[derive(Serialize)]
struct ServiceStatus<'a> {
    name: &'a str,
    r#type: &'static str,
    active: bool,
    health: &'static str,
    message: Option<String>,
}

/// The document of `/status`, with its services behind the rest.
#[derive(Serialize)]
struct Status<'a> {
    #[serde(flatten)]
    head: Value,
    services: Vec<ServiceStatus<'a>>,
}

/// The document of `/status`.
fn status(gateway: &Gateway, readiness: &Readiness) -> String {
    let served = gateway.reader().served();
    let (snapshot, attempt) = (&served.snapshot, &served.attempt);
    let services = snapshot.services.values();
    let services = services.map(|service| ServiceStatus {
        name: service.name.as_str(),
        r#type: service.kind.name,
        active: service.is_active,
        health: service.health.state().name(),
        message: service
            .health
            .reason()
            .or_else(|| service.connector.schema()?.message),
    });
    let services = services.collect();
    let mut head = json!({
        "revision": snapshot.revision.to_string(),
        "generation": snapshot.revision.generation,
        "digest": snapshot.revision.digest,
        "commit": snapshot.revision.commit,
        "dirty": snapshot.revision.dirty,
        "signer": snapshot.revision.signer,
        "loaded_at": moment(snapshot.revision.loaded_at),
        "source": if snapshot.last_good.is_some() { "last-good" } else { "tree" },
        "accepted_at": moment(snapshot.last_good.unwrap_or(snapshot.revision.loaded_at)),
        "degraded": served.is_degraded(),
        "last_attempt": {
            "at": moment(attempt.at),
            "outcome": attempt.outcome,
            "problems": attempt.problems,
        },
        "last_good": readiness.last_good().as_ref().map(|kept| json!({
            "directory": kept.directory,
            "digest": kept.digest,
            "accepted_at": kept.accepted_at.map(moment),
            "problem": kept.problem,
        })),
        "fetch": readiness.fetch(),
    });
    let layers = &snapshot.revision.layers;
    if layers.len() > 1
        && let Value::Object(members) = &mut head
    {
        members.insert("layers".to_owned(), layers.iter().map(layer).collect());
    }
    // Maps with texts as keys can always be written.
    serde_json::to_string(&Status { head, services }).unwrap_or_default()
}

/// One layer of the tree, as `/status` shows it.
fn layer(layer: &LayerRevision) -> Value {
    json!({
        "source": layer.label,
        "digest": layer.digest,
        "commit": layer.commit,
        "dirty": layer.dirty,
        "files": layer.files,
    })
}

fn moment(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}

fn metrics(gateway: &Gateway) -> Reply {
    let snapshot = gateway.reader().current();
    // What was not asked yet, or is switched off, is neither up nor down.
    let services = snapshot
        .services
        .values()
        .filter(|service| service.is_active);
    let gauges = services.map(|service| ServiceGauges {
        name: service.name.as_str(),
        is_up: match service.health.state() {
            HealthState::Unknown => None,
            state => Some(state == HealthState::Up),
        },
        schema: service.connector.schema().map(|schema| SchemaGauges {
            changes: schema.changes,
            age: schema.age,
            drifted: schema.drifted,
        }),
    });
    Reply::ok(
        HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8"),
        Body::Bytes(gateway.metrics().encode(gauges).into()),
    )
}

fn text(status: StatusCode, text: String) -> Reply {
    let mut reply = Reply::ok(
        HeaderValue::from_static("text/plain; charset=utf-8"),
        Body::Bytes(text.into()),
    );
    reply.status = status;
    reply
}

fn json_reply(status: StatusCode, document: &Value) -> Reply {
    json_text(status, document.to_string())
}

fn json_text(status: StatusCode, text: String) -> Reply {
    let mut reply = Reply::ok(
        HeaderValue::from_static("application/json; charset=utf-8"),
        Body::Bytes(text.into()),
    );
    reply.status = status;
    reply
}
