//! The REST face that every database shares: it takes calls apart, has them planned, runs them and answers.
//!
//! What is asked is parsed by `request`, what that means is decided by `planner`, and how a product carries it out
//! is the business of its [`Database`]. Here is the order in which these meet.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use http::Method;
use serde_json::Value;
use tokio::sync::Semaphore;

use super::backend::Database;
use super::bulk::MAX_IMPORTS;
use super::catalog::{Catalog, Table};
use super::catalog_cache::{CatalogCache, misses_something, tells_of_change};
use super::catalog_change::{CatalogChange, some_names};
use super::listing::{self, ListingQuery};
use super::operations::{changes_schema, component_of, name};
use super::options::DatabaseOptions;
use super::plan_cache::PlanCache;
use super::planner::Planner;
use super::read::ReadEntry;
use super::request;
use super::schema::{SchemaView, find_named};
use super::shape::{self, Drift};
use crate::clock::Clock;
use crate::connector::access::{Access, Grant};
use crate::connector::operation::{Component, PathParameters};
use crate::connector::{
    Call, CallLimits, Connector, Description, Neighbours, Resources, SchemaState,
};
use crate::error::{Error, ErrorKind, Result, brief};
use crate::exchange::format::negotiate;
use crate::exchange::{CallContext, Format, Query, Reply, RequestHead};

/// Longest that reading the catalog may take for the documentation, where no caller's deadline holds.
const DESCRIBE_TIMEOUT: Duration = Duration::from_secs(30);

/// A call without its body, which only one task may hold at a time.
pub(super) struct Asked {
    pub(super) operation: &'static str,
    pub(super) parameters: PathParameters,
    pub(super) component: Component,
    pub(super) grant: Grant,
    pub(super) access: Access,
    pub(super) head: RequestHead,
    pub(super) limits: CallLimits,
    pub(super) neighbours: Arc<dyn Neighbours>,
}

/// A database as a service.
pub struct DatabaseConnector {
    pub(super) database: Arc<dyn Database>,
    pub(super) options: DatabaseOptions,
    pub(super) plans: Arc<PlanCache<ReadEntry>>,
    /// Places for bulk imports.
    pub(super) imports: Semaphore,
    /// How the database differs from its contract; none before it was read and without a contract.
    drift: Arc<Mutex<Option<Drift>>>,
    catalog: CatalogCache,
    pub(super) clock: Arc<dyn Clock>,
}

impl DatabaseConnector {
    /// Puts the REST face before a database. Waits for nothing: the catalog is read by the first call.
    pub fn new(
        database: impl Database,
        options: DatabaseOptions,
        resources: &Resources,
    ) -> DatabaseConnector {
        let database: Arc<dyn Database> = Arc::new(database);
        let plans = Arc::new(PlanCache::new());
        let planned = Arc::clone(&plans);
        let service = resources.service.clone();
        let on_change = move |before: &Catalog, after: &Catalog| {
            planned.clear();
            let change = CatalogChange::between(before, after);
            tracing::info!(
                service.name = service.as_str(),
                added = some_names(change.added.iter()),
                removed = some_names(change.removed.iter()),
                changed = some_names(change.changed.iter()),
                "the tables of the database changed"
            );
        };
        let contract = options.contract.zip(options.contract_shape.clone());
        let drift: Arc<Mutex<Option<Drift>>> = Arc::default();
        let known = Arc::clone(&drift);
        let service = resources.service.clone();
        let tables = options.table.clone();
        let notices: Mutex<Vec<String>> = Mutex::default();
        let finish = move |mut catalog: Catalog| {
            // The contract is about what the database has, and the manifest about what callers see of it.
            let mut refused = Vec::new();
            if let Some((mode, locked)) = &contract {
                let applied = shape::applied(*mode, locked, catalog);
                note_drift(service.as_str(), &known, applied.drift);
                (catalog, refused) = (applied.catalog, applied.refused);
            }
            let served = catalog.with(&tables);
            note_vain(service.as_str(), &notices, served.notices);
            served.catalog.with_violations(&refused)
        };
        let catalog = CatalogCache::new(
            Arc::clone(&database),
            Arc::clone(&resources.clock),
            options.schema_check(),
            Box::new(finish),
            Box::new(on_change),
        );
        Self {
            database,
            options,
            plans,
            imports: Semaphore::new(MAX_IMPORTS),
            drift,
            catalog,
            clock: Arc::clone(&resources.clock),
        }
    }

    /// The tables and columns as they are known; read now if they are not.
    pub(super) async fn catalog(&self, deadline: Instant) -> Result<Arc<Catalog>> {
        self.catalog.get(deadline).await
    }

    /// The tables and columns as they are.
    pub(super) async fn fresh_catalog(&self, deadline: Instant) -> Result<Arc<Catalog>> {
        self.catalog.refresh(deadline).await
    }

    /// Passes on the outcome of a statement; one that shows that tables or columns changed makes the next call read
    /// the catalog anew.
    pub(super) fn noticed<T>(&self, outcome: Result<T>) -> Result<T> {
        if let Err(error) = &outcome
            && tells_of_change(error)
        {
            self.catalog.mark_stale();
        }
        outcome
    }

    /// The tables and columns, as they are known or read anew.
    pub(super) async fn catalog_for(
        &self,
        context: &CallContext,
        refresh: bool,
    ) -> Result<Arc<Catalog>> {
        if refresh {
            self.fresh_catalog(context.deadline).await
        } else {
            self.catalog(context.deadline).await
        }
    }

    async fn list_resources(&self, context: &CallContext, call: &Asked) -> Result<Reply> {
        let (query, listing) = listing_query(call)?;
        let format = negotiate(&call.head, &query, Format::ALL)?;
        // The root of a database that is down still says what there would be.
        let catalog = self
            .catalog_for(context, listing.refresh)
            .await
            .unwrap_or_default();
        let known = listing::Known {
            catalog: &catalog,
            has_routines: self.database.has_routines(),
        };
        Reply::document(format, &listing::root(&call.access, &known, &listing))
    }

    async fn list_tables(
        &self,
        context: &CallContext,
        call: &Asked,
        family: &str,
    ) -> Result<Reply> {
        let (query, listing) = listing_query(call)?;
        let format = negotiate(&call.head, &query, Format::ALL)?;
        let catalog = self.catalog_for(context, listing.refresh).await?;
        let view = SchemaView {
            catalog: &catalog,
            access: &call.access,
        };
        let document = match &listing.ids {
            Some(ids) if family == "_schema" => listing::descriptions(&view, ids, &listing)?,
            _ => listing::tables(&view, family, &listing),
        };
        Reply::document(format, &document)
    }

    async fn describe_part(&self, context: &CallContext, call: &Asked) -> Result<Reply> {
        let (query, listing) = listing_query(call)?;
        let format = negotiate(&call.head, &query, Format::ALL)?;
        let catalog = self.catalog_for(context, listing.refresh).await?;
        let view = SchemaView {
            catalog: &catalog,
            access: &call.access,
        };
        let table = catalog.described(call.parameters.get("table")?, |name| {
            !call.access.verbs(&component_of("_schema", name)).is_empty()
        })?;
        let grant = grant_for(call, "_schema", table)?;
        let grant = Some(&grant);
        let document = match call.operation {
            name::LIST_FIELDS => listing::named_list(view.fields(table, grant), &listing),
            name::LIST_RELATIONS => listing::named_list(view.relations(table, grant), &listing),
            name::DESCRIBE_FIELD | name::DESCRIBE_COLUMN => find_named(
                &view.fields(table, grant),
                call.parameters.get("field")?,
                ErrorKind::UnknownResource,
                "field",
                table,
            )?,
            name::DESCRIBE_RELATION => find_named(
                &view.relations(table, grant),
                call.parameters.get("relation")?,
                ErrorKind::UnknownResource,
                "relation",
                table,
            )?,
            _ => view.table(table, grant),
        };
        Reply::document(format, &document)
    }

    /// A planner for one caller.
    pub(super) fn planner<'a>(&'a self, catalog: &'a Catalog, access: &'a Access) -> Planner<'a> {
        Planner::new(catalog, access, &self.options)
    }
}

/// What the manifest names in vain is no error, because tables come and go without it; the log has it, each time that it
/// becomes something else.
fn note_vain(service: &str, known: &Mutex<Vec<String>>, notices: Vec<String>) {
    let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
    for notice in notices.iter().filter(|notice| !known.contains(notice)) {
        tracing::warn!(service, "the manifest does not fit the database: {notice}");
    }
    *known = notices;
}

/// Keeps how a database differs from its contract, and logs it where that is news.
fn note_drift(service: &str, known: &Mutex<Option<Drift>>, found: Drift) {
    let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
    if known.as_ref() == Some(&found) {
        return;
    }
    if !found.is_empty() {
        tracing::warn!(
            service.name = service,
            drift = %found,
            "tables are not what the contract says"
        );
    } else if known.is_some() {
        tracing::info!(
            service.name = service,
            "the tables are what the contract says again"
        );
    }
    *known = Some(found);
}

pub(super) fn listing_query(call: &Asked) -> Result<(Query, ListingQuery)> {
    let query = Query::parse(call.head.query())?;
    let listing = ListingQuery::parse(&query)?;
    Ok((query, listing))
}

/// The grant for a table by its own name, which may differ from the path in case.
///
/// A rule that covers the path as written and not the table's own name still holds: what both demand is demanded.
pub(super) fn grant_for(call: &Asked, family: &str, table: &Table) -> Result<Grant> {
    let component = component_for(call, family, table);
    let grant = call
        .access
        .of(&component, granted_method(&call.head.method))?;
    Ok(grant.and(&call.grant))
}

/// The component of a call, with the table's own name in it.
pub(super) fn component_for(call: &Asked, family: &str, table: &Table) -> String {
    let mut component = component_of(family, table.name_in(family));
    for segment in call.component.segments().iter().skip(2) {
        component.push('/');
        component.push_str(&segment.replace('/', "%2F"));
    }
    component
}

/// The method whose grant a call needs.
pub(super) fn granted_method(method: &Method) -> &Method {
    if *method == Method::HEAD {
        &Method::GET
    } else {
        method
    }
}

#[async_trait]
impl Connector for DatabaseConnector {
    async fn call(self: Arc<Self>, context: CallContext, call: Call) -> Result<Reply> {
        let body = call.body;
        let call = Asked {
            operation: call.operation,
            parameters: call.parameters,
            component: call.component,
            grant: call.grant,
            access: call.access,
            head: call.head,
            limits: call.limits,
            neighbours: call.neighbours,
        };
        let connector = Arc::clone(&self);
        let outcome = match call.operation {
            name::LIST_RECORDS => self.list_records(&context, call, body).await,
            name::GET_RECORD => self.get_record(&context, call, body).await,
            name::CREATE_RECORDS if request::asks_for_bulk(call.head.query()) => {
                self.import_records(&context, call, body).await
            }
            name::CREATE_RECORDS
            | name::REPLACE_RECORDS
            | name::UPDATE_RECORDS
            | name::DELETE_RECORDS
            | name::REPLACE_RECORD
            | name::UPDATE_RECORD
            | name::DELETE_RECORD => self.write_records(&context, call, body).await,
            name::LIST_PROCEDURES | name::LIST_FUNCTIONS => {
                self.list_routines(&context, &call).await
            }
            name::READ_PROCEDURE
            | name::CALL_PROCEDURE
            | name::READ_FUNCTION
            | name::CALL_FUNCTION => self.call_routine(&context, call, body).await,
            name::LIST_RESOURCES => self.list_resources(&context, &call).await,
            name::LIST_TABLES => self.list_tables(&context, &call, "_table").await,
            name::LIST_SCHEMAS => self.list_tables(&context, &call, "_schema").await,
            name::DESCRIBE_TABLE
            | name::LIST_FIELDS
            | name::DESCRIBE_FIELD
            | name::LIST_RELATIONS
            | name::DESCRIBE_RELATION
            | name::DESCRIBE_COLUMN => self.describe_part(&context, &call).await,
            other if changes_schema(other) => self.write_schema(&context, &call, body).await,
            other => Err(Error::internal(format!(
                "a database has no operation `{other}`"
            ))),
        };
        if let Err(error) = &outcome
            && misses_something(error)
        {
            connector.catalog.missed();
        }
        outcome
    }

    async fn describe(&self) -> Result<Description> {
        let deadline = self.clock.instant() + DESCRIBE_TIMEOUT;
        Ok(Description::Database(self.catalog(deadline).await?))
    }

    async fn probe(&self) -> Result<()> {
        self.database.probe().await
    }

    fn release_idle(&self) {
        self.database.release_idle();
    }

    fn takes_stream(&self, operation: &str, head: &RequestHead) -> bool {
        operation == name::CREATE_RECORDS && request::asks_for_bulk(head.query())
    }

    fn schema(&self) -> Option<SchemaState> {
        let state = self.catalog.state()?;
        let drift = self.drift.lock().unwrap_or_else(PoisonError::into_inner);
        Some(SchemaState {
            drifted: drift.as_ref().map(|drift| drift.tables.len()),
            message: drift
                .as_ref()
                .filter(|drift| !drift.is_empty())
                .map(|drift| format!("tables are not what the contract says: {drift}")),
            ..state
        })
    }

    fn database(self: Arc<Self>) -> Option<Arc<DatabaseConnector>> {
        Some(self)
    }
}

/// The error of a record that is not there, or that the role does not admit.
pub(super) fn unknown_record(identifier: &str) -> Error {
    Error::new(
        ErrorKind::UnknownRecord,
        format!("record with identifier '{}' not found", brief(identifier)),
    )
}

/// What the envelope says of an error within the context of another (reference 4.8).
pub(super) fn error_object(error: &Error) -> Value {
    let status = error.kind().status().as_u16();
    let mut object = serde_json::Map::new();
    object.insert("code".into(), status.into());
    object.insert("status_code".into(), status.into());
    object.insert("message".into(), error.message().into());
    object.insert("type".into(), error.kind().name().into());
    if let Some(help) = error.help() {
        object.insert("help".into(), help.into());
    }
    Value::Object(object)
}

#[cfg(test)]
mod tests;
