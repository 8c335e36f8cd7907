//! What a service can do. Knows nothing of manifests, roles, snapshots or the web framework.

pub mod access;
pub mod database;
pub mod filter;
pub mod operation;

use std::any::Any;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::DeserializeOwned;

use crate::clock::Clock;
use crate::error::{Error, ErrorKind, Result};
use crate::exchange::{Body, CallContext, Reply, RequestHead};
use crate::names::ServiceName;
use access::{Access, Grant};
use operation::{Component, Operation, PathParameters};

/// What kind of thing a service type is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// Tables and records.
    Database,
}

impl Family {
    /// The group that DreamFactory shows.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Database => "Database",
        }
    }
}

/// A problem with a config that a JSON Schema cannot express.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// JSON pointer (RFC 6901) of the value within the config; empty for the config itself.
    pub pointer: String,
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    pub help: Option<String>,
}

/// What opening a connector may use.
#[derive(Clone)]
pub struct Resources {
    /// The service's name, for logs and messages.
    pub service: ServiceName,
    /// Where relative data paths start.
    pub data_directory: PathBuf,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

/// What a connector's author writes: the config of one service type and how to open it.
///
/// Config is data: no handle, no cache, nothing that makes `PartialEq` lie. Two equal configs share a connector
/// across a reload.
pub trait ServiceConfig: DeserializeOwned + JsonSchema + PartialEq + Send + Sync + 'static {
    /// The value of `type` in a manifest.
    const TYPE: &'static str;
    /// Other values of `type` that mean the same.
    const ALIASES: &'static [&'static str] = &[];
    /// Its family.
    const FAMILY: Family;
    /// What people call it: "PostgreSQL".
    const LABEL: &'static str;
    /// One line on what it is.
    const DESCRIPTION: &'static str;

    /// Problems that a JSON Schema cannot express. Pure.
    fn check(&self) -> Vec<Problem> {
        Vec::new()
    }

    /// Everything that a service of this config can be asked. Routing, permissions, OpenAPI and metric labels all come
    /// from this table, so there is nothing to keep in step. Pure: it is known before the service is opened.
    fn operations(&self) -> &[Operation];

    /// Prepares the connector. Must not wait for the backend: pools connect on first use.
    fn open(
        &self,
        resources: &Resources,
    ) -> impl Future<Output = Result<Arc<dyn Connector>>> + Send;
}

/// A service type with its config's Rust type erased: names, a schema and a parser.
#[derive(Clone, Copy)]
pub struct ServiceType {
    /// The value of `type` in a manifest.
    pub name: &'static str,
    /// Other values of `type` that mean the same.
    pub aliases: &'static [&'static str],
    /// Its family.
    pub family: Family,
    /// What people call it.
    pub label: &'static str,
    /// One line on what it is.
    pub description: &'static str,
    /// The schema of `config`.
    pub schema: fn(&mut SchemaGenerator) -> Schema,
    /// Types a validated config whose secrets are resolved.
    pub parse: fn(serde_json::Value) -> serde_json::Result<Arc<dyn AnyConfig>>,
}

impl ServiceType {
    /// The entry of a config type.
    pub const fn of<C: ServiceConfig>() -> Self {
        Self {
            name: C::TYPE,
            aliases: C::ALIASES,
            family: C::FAMILY,
            label: C::LABEL,
            description: C::DESCRIPTION,
            schema: |generator| generator.subschema_for::<C>(),
            parse: |value| Ok(Arc::new(serde_json::from_value::<C>(value)?)),
        }
    }
}

/// Every service type, in the order of the documentation.
pub fn service_types() -> impl Iterator<Item = &'static ServiceType> {
    database::TYPES.iter()
}

/// The service type with this name or alias.
pub fn service_type(name: &str) -> Option<&'static ServiceType> {
    service_types().find(|entry| entry.name == name || entry.aliases.contains(&name))
}

/// A config whose type is erased. Implemented once, for every [`ServiceConfig`].
pub trait AnyConfig: Send + Sync {
    /// Whether both are of one type and equal.
    fn same_as(&self, other: &dyn AnyConfig) -> bool;
    /// See [`ServiceConfig::check`].
    fn check(&self) -> Vec<Problem>;
    /// See [`ServiceConfig::operations`].
    fn operations(&self) -> &[Operation];
    /// See [`ServiceConfig::open`].
    fn open<'a>(&'a self, resources: &'a Resources) -> BoxFuture<'a, Result<Arc<dyn Connector>>>;
    /// For [`AnyConfig::same_as`].
    fn as_any(&self) -> &dyn Any;
}

impl<C: ServiceConfig> AnyConfig for C {
    fn same_as(&self, other: &dyn AnyConfig) -> bool {
        other
            .as_any()
            .downcast_ref::<C>()
            .is_some_and(|other| self == other)
    }
    fn check(&self) -> Vec<Problem> {
        ServiceConfig::check(self)
    }
    fn operations(&self) -> &[Operation] {
        ServiceConfig::operations(self)
    }
    fn open<'a>(&'a self, resources: &'a Resources) -> BoxFuture<'a, Result<Arc<dyn Connector>>> {
        Box::pin(ServiceConfig::open(self, resources))
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// One call of one operation, routed and permitted.
pub struct Call {
    /// The operation's name, from the connector's own table.
    pub operation: &'static str,
    /// The values of its path template.
    pub parameters: PathParameters,
    /// The path below the service.
    pub component: Component,
    /// The grant for the path as it was written.
    pub grant: Grant,
    /// What the caller may touch; asked for everything beyond the path before it is touched.
    pub access: Access,
    /// Method, query string and headers.
    pub head: RequestHead,
    /// The body, which the connector collects with `limits.max_body_bytes`.
    pub body: Body,
    /// Settings of the gateway that connectors respect.
    pub limits: CallLimits,
    /// The other services, for what leads from one to another.
    pub neighbours: Arc<dyn Neighbours>,
}

/// The other services of the revision that a call belongs to, as far as its caller may use them.
pub trait Neighbours: Send + Sync {
    /// A service and what the caller may touch there. 403 where it may do nothing there, whether or not there is such
    /// a service, and where the service is deactivated; 404 where there is none.
    ///
    /// An answer in pieces ends with the first service that it found so and that is replaced or removed.
    fn find(&self, service: &ServiceName) -> Result<Neighbour>;
}

/// Another service.
pub struct Neighbour {
    /// What answers.
    pub connector: Arc<dyn Connector>,
    /// What the caller may touch there; asked before anything is touched.
    pub access: Access,
}

/// No other services: for calls outside a revision.
#[derive(Clone, Copy, Debug)]
pub struct NoNeighbours;

impl Neighbours for NoNeighbours {
    fn find(&self, service: &ServiceName) -> Result<Neighbour> {
        Err(Error::new(
            ErrorKind::UnknownService,
            format!("could not find a service for {service}"),
        ))
    }
}

/// Settings of the gateway that connectors respect.
#[derive(Clone, Copy, Debug)]
pub struct CallLimits {
    /// Most bytes a collected body may have.
    pub max_body_bytes: usize,
}

/// A live service. Cheap to share; dropped when the last request using it ends.
#[async_trait]
pub trait Connector: Send + Sync + 'static {
    /// Carries out one operation of [`ServiceConfig::operations`]. `call` was routed and permitted already. What the call turns out to touch
    /// beyond its path (related tables, a file named in the body) is asked of `call.access` before it is touched.
    async fn call(self: Arc<Self>, context: CallContext, call: Call) -> Result<Reply>;

    /// What only the backend knows: tables and columns. Cached by the connector; a failure leaves the general
    /// operations in the OpenAPI document.
    async fn describe(&self) -> Result<Description>;

    /// One cheap round trip that proves that the backend answers. Health only, never start-up. Of thousands of services
    /// most are idle: one that holds no connection keeps none for this.
    async fn probe(&self) -> Result<()>;

    /// Closes connections that were not used for long. Called now and then; does not wait.
    fn release_idle(&self) {}

    /// Whether a call takes its body as a stream of any length. The gateway then bounds how long the client may be
    /// silent, and how long the whole may take by a time of its own, instead of by the deadline of other calls.
    fn takes_stream(&self, operation: &str, head: &RequestHead) -> bool {
        let _ = (operation, head);
        false
    }

    /// The tables behind it, for relations of other databases; none unless it is a database.
    fn database(self: Arc<Self>) -> Option<Arc<database::connector::DatabaseConnector>> {
        None
    }

    /// What is known of the shape of what is behind the service; none where it has none or nobody has asked yet. Does
    /// not wait.
    fn schema(&self) -> Option<SchemaState> {
        None
    }
}

/// What is known of the tables and columns behind a service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SchemaState {
    /// How often they were found changed since the service was opened.
    pub changes: u64,
    /// How long ago the backend was last asked for them.
    pub age: Duration,
    /// How many tables are not what the contract says; none without a contract.
    pub drifted: Option<usize>,
    /// How they differ, if they do.
    pub message: Option<String>,
}

/// What a backend tells of itself, for the documentation.
#[derive(Clone, Debug)]
pub enum Description {
    /// Nothing beyond the operations.
    General,
    /// Tables and columns.
    Database(Arc<database::catalog::Catalog>),
}
