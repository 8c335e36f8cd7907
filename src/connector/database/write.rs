//! Writing records: one by its key, many by keys, by a filter or as they are sent; always in one transaction.
//!
//! A batch is all or nothing unless `continue=true` keeps what succeeds. A future that is dropped half way leaves
//! nothing behind, because a transaction that is dropped rolls back.

use std::sync::Arc;

use bytes::Bytes;
use http::Method;
use http::header::ETAG;
use indexmap::IndexMap;
use serde_json::Map;
use serde_json::value::RawValue;

use super::backend::DatabaseTransaction;
pub(super) use super::backend::not_permitted;
use super::batch::{BatchError, Verb};
use super::catalog::Table;
use super::connector::{Asked, DatabaseConnector, component_for, grant_for, unknown_record};
use super::nested::{NestedWrite, Place};
use super::operations::{component_of, name};
use super::options::DatabaseOptions;
use super::plan::{Select, Selector, Write};
use super::planner::{Planner, needs_re_read};
use super::precondition::{EntityTag, Preconditions};
use super::read::{identifier_fields, received, text_of, text_of_key};
use super::request::{self, Fields, Identifier, Record, RecordsBody, RecordsQuery, no_records};
use super::rows::{Frame, MAX_WHOLE_BYTES, RowWriter, join_bare, list_of_bare};
use super::stitch::{self, Surroundings};
use super::value::Scalar;
use crate::connector::access::Grant;
use crate::error::{Error, ErrorKind, Origin, Result};
use crate::exchange::format::negotiate;
use crate::exchange::{Body, CallContext, Format, Query, Reply};

/// Most records that are read again in one statement, each key of which is a few bound values.
const KEYS_AT_ONCE: usize = 500;

/// What one write is about, and what it may do.
struct Job<'a> {
    planner: Planner<'a>,
    options: &'a DatabaseOptions,
    /// Whether the database embeds related records by itself.
    embeds_related: bool,
    table: Arc<Table>,
    /// The grant of the method.
    grant: Grant,
    /// The same with the columns by which it may name records.
    named: Grant,
    /// The grants of an upsert: for the record that is new, and for the one that exists.
    upsert: Option<UpsertGrants>,
    query: RecordsQuery,
    verb: Verb,
    /// What the record must be like before it is written; only for one record by its key.
    conditions: Preconditions,
    /// The grant to read, which decides what an entity tag covers.
    readable: Grant,
}

pub(super) struct UpsertGrants {
    create: Grant,
    pub(super) change: Grant,
}

/// One step of a write.
enum Step {
    /// Adds this record.
    Create(Record),
    /// Changes the record with this key.
    Change(Target, Arc<Record>),
    /// Changes every record that the filter and the role admit.
    ChangeAll(Record),
    /// Removes the record with this key.
    Remove(Target),
    /// Removes every record that the filter and the role admit.
    RemoveAll,
}

/// The record that a step is about.
enum Target {
    /// By what stands in the path or in `ids`.
    Identified(Identifier),
    /// By the key columns among its members.
    Itself(Arc<Record>),
}

/// How the steps of a call belong together.
enum Plan {
    /// One record by the path: its error is the answer.
    Single(Step),
    /// One statement for all records that a filter admits.
    Whole(Step),
    /// Records one by one.
    Batch(Vec<Step>),
}

impl DatabaseConnector {
    /// POST, PUT, PATCH and DELETE on a table or on a record.
    pub(super) async fn write_records(
        self: Arc<Self>,
        context: &CallContext,
        call: Asked,
        body: Body,
    ) -> Result<Reply> {
        let query = Query::parse(call.head.query())?;
        let format = negotiate(&call.head, &query, Format::ALL)?;
        let conditions = Preconditions::of(&call.head.headers)?;
        let (mut asked, body) = received(&call, &query, body).await?;
        if asked.bulk {
            return Err(Error::new(
                ErrorKind::InvalidParameter,
                "the option 'bulk' stands in the query string of a POST on a table, or nowhere",
            ));
        }
        let catalog = if asked.refresh {
            self.fresh_catalog(context.deadline).await?
        } else {
            self.catalog(context.deadline).await?
        };
        let table = self
            .planner(&catalog, &call.access)
            .table(call.parameters.get("table")?)?;
        let grant = grant_for(&call, "_table", &table)?;
        let neighbourhood = self
            .around(context, &call, &catalog, &table, &asked)
            .await?;
        let planner = self.planner(&catalog, &call.access).among(&neighbourhood);
        if asked.as_list {
            asked.fields = identifier_fields(&asked);
            asked.related = Vec::new();
        }
        let plan = plan_of(&call, &mut asked, body)?;
        if !matches!(plan, Plan::Single(_)) {
            conditions.check_untagged()?;
        }
        let upsert = self.upsert_grants(&call, &table, &grant, &asked)?;
        let readable = readable_grant(&call, &planner, &table, &grant);
        let job = Job {
            named: planner.named(&table, &grant),
            planner,
            options: &self.options,
            embeds_related: self.database.embeds_related(),
            table,
            grant,
            upsert,
            verb: verb_of(&call.head.method),
            query: asked,
            conditions,
            readable,
        };

        let mut transaction = self.noticed(self.database.begin().await)?;
        match plan {
            Plan::Single(step) => {
                let written = self.noticed(job.carry_out(transaction.as_mut(), &step).await)?;
                let tag = job.tag_after(transaction.as_mut(), &step, format).await?;
                self.noticed(transaction.commit().await)?;
                let text = text_of_json(&written)?;
                let reply = Reply::ok(
                    format.content_type(),
                    Body::Bytes(if format == Format::Json {
                        written
                    } else {
                        format.write_json(text)?
                    }),
                );
                Ok(match tag {
                    Some(tag) => reply.with_header(ETAG, tag.header()?),
                    None => reply,
                })
            }
            Plan::Whole(step) => {
                let written = self.noticed(job.carry_out(transaction.as_mut(), &step).await)?;
                self.noticed(transaction.commit().await)?;
                job.answer(&[written], format)
            }
            Plan::Batch(steps) => {
                let written = self.noticed(job.carry_out_all(transaction, &steps).await)?;
                job.answer(&written, format)
            }
        }
    }

    /// What an upsert needs: the right to create and the right to change (403 otherwise); none when no upsert was
    /// asked for.
    pub(super) fn upsert_grants(
        &self,
        call: &Asked,
        table: &Table,
        grant: &Grant,
        asked: &RecordsQuery,
    ) -> Result<Option<UpsertGrants>> {
        let component = component_of("_table", &table.name);
        let grant_to = |method: Method| call.access.of(&component, &method);
        match call.head.method {
            Method::POST if asked.upsert => Ok(Some(UpsertGrants {
                create: grant.clone(),
                change: grant_to(Method::PATCH)?,
            })),
            Method::PUT | Method::PATCH if asked.upsert => Ok(Some(UpsertGrants {
                create: grant_to(Method::POST)?,
                change: grant.clone(),
            })),
            // The service's own setting offers an upsert to those who may, and stays an update for the others.
            Method::PUT | Method::PATCH if self.options.allow_upsert => {
                Ok(grant_to(Method::POST).ok().map(|create| UpsertGrants {
                    create,
                    change: grant.clone(),
                }))
            }
            _ => Ok(None),
        }
    }
}

/// What the caller could read of a record: the columns of its grant to read, among the rows of its grant to write.
fn readable_grant(call: &Asked, planner: &Planner<'_>, table: &Table, grant: &Grant) -> Grant {
    let component = component_for(call, "_table", table);
    match call.access.of(&component, &Method::GET) {
        Ok(readable) => Grant {
            filter: grant.filter.clone(),
            ..readable
        },
        Err(_forbidden) => planner.shown(table, grant),
    }
}

const fn verb_of(method: &Method) -> Verb {
    match *method {
        Method::POST => Verb::Created,
        Method::DELETE => Verb::Deleted,
        _ => Verb::Updated,
    }
}

/// Which steps a call consists of (reference 4.1).
fn plan_of(call: &Asked, asked: &mut RecordsQuery, body: RecordsBody) -> Result<Plan> {
    match call.operation {
        name::REPLACE_RECORD | name::UPDATE_RECORD | name::DELETE_RECORD => {
            let identifier = request::path_identifier(call.parameters.get("id")?);
            let target = Target::Identified(identifier);
            refuse_selectors_beside_a_path(asked)?;
            return Ok(Plan::Single(if call.operation == name::DELETE_RECORD {
                Step::Remove(target)
            } else {
                Step::Change(target, Arc::new(change_set(body)?))
            }));
        }
        _ => {}
    }
    if asked.ids.is_some() && asked.filter.is_some() {
        return Err(Error::new(
            ErrorKind::InvalidParameter,
            "a write takes either 'ids' or 'filter', not both",
        )
        .with_help("write the keys into the filter: (id IN (1,2)) AND (…)"));
    }
    match call.operation {
        name::CREATE_RECORDS => {
            if body.records.is_empty() {
                return Err(no_records());
            }
            Ok(Plan::Batch(
                body.records.into_iter().map(Step::Create).collect(),
            ))
        }
        name::DELETE_RECORDS => {
            if let Some(ids) = asked.ids.take() {
                return Ok(Plan::Batch(
                    some_of(ids)?
                        .map(|id| Step::Remove(Target::Identified(id)))
                        .collect(),
                ));
            }
            if !body.records.is_empty() {
                if asked.filter.is_some() {
                    return Err(Error::new(
                        ErrorKind::InvalidParameter,
                        "a delete takes either records or 'filter', not both",
                    ));
                }
                return Ok(Plan::Batch(
                    body.records
                        .into_iter()
                        .map(|record| Step::Remove(Target::Itself(Arc::new(record))))
                        .collect(),
                ));
            }
            if asked.filter.is_some() || asked.force {
                return Ok(Plan::Whole(Step::RemoveAll));
            }
            Err(Error::new(
                ErrorKind::MissingSelector,
                "no filter or records given for delete request",
            )
            .with_help("select records by ids, filter or their keys; force=true deletes all"))
        }
        _ => {
            if let Some(ids) = asked.ids.take() {
                let change = Arc::new(change_set(body)?);
                return Ok(Plan::Batch(
                    some_of(ids)?
                        .map(|id| Step::Change(Target::Identified(id), Arc::clone(&change)))
                        .collect(),
                ));
            }
            if asked.filter.is_some() {
                return Ok(Plan::Whole(Step::ChangeAll(change_set(body)?)));
            }
            if body.records.is_empty() {
                return Err(no_records());
            }
            Ok(Plan::Batch(
                body.records
                    .into_iter()
                    .map(|record| {
                        let record = Arc::new(record);
                        Step::Change(Target::Itself(Arc::clone(&record)), record)
                    })
                    .collect(),
            ))
        }
    }
}

/// `ids` that are there but empty name no record.
fn some_of(ids: Vec<Identifier>) -> Result<impl Iterator<Item = Identifier>> {
    if ids.is_empty() {
        return Err(Error::new(
            ErrorKind::MissingSelector,
            "the request contains no valid identifiers",
        ));
    }
    Ok(ids.into_iter())
}

fn refuse_selectors_beside_a_path(asked: &RecordsQuery) -> Result<()> {
    let beside = if asked.ids.is_some() {
        "ids"
    } else if asked.filter.is_some() {
        "filter"
    } else {
        return Ok(());
    };
    Err(Error::new(
        ErrorKind::InvalidParameter,
        format!("'{beside}' has no meaning beside an identifier in the path"),
    ))
}

/// The first record of the body, which says what to change (reference 4.1).
fn change_set(body: RecordsBody) -> Result<Record> {
    body.records.into_iter().next().ok_or_else(no_records)
}

impl Job<'_> {
    /// Carries out the steps one by one and commits. Gives the result of each, or the error of the batch.
    async fn carry_out_all(
        &self,
        mut transaction: Box<dyn DatabaseTransaction>,
        steps: &[Step],
    ) -> Result<Vec<Bytes>> {
        let goes_on = self.query.continue_on_error;
        let mut outcomes: Vec<Result<Bytes>> = Vec::with_capacity(steps.len());
        let mut has_failed = false;
        let mut bytes = 0_usize;
        for step in steps {
            if goes_on {
                transaction.savepoint().await?;
            }
            let outcome = self.carry_out(transaction.as_mut(), step).await;
            bytes = bytes.saturating_add(outcome.as_ref().map_or(0, Bytes::len));
            if bytes > MAX_WHOLE_BYTES {
                return Err(too_much_to_answer());
            }
            match &outcome {
                Ok(_) if goes_on => transaction.release_savepoint().await?,
                Ok(_) => {}
                // That the database is away or that writes collide is no fault of this one record.
                Err(error) if error.kind().origin() != Origin::Caller => {
                    return outcome.map(|bytes| vec![bytes]);
                }
                Err(_) if goes_on => {
                    has_failed = true;
                    transaction.rollback_to_savepoint().await?;
                }
                Err(_) => {
                    outcomes.push(outcome);
                    drop(transaction);
                    return Err(self.batch_error(outcomes));
                }
            }
            outcomes.push(outcome);
        }
        transaction.commit().await?;
        if has_failed {
            return Err(self.batch_error(outcomes));
        }
        outcomes.into_iter().collect()
    }

    fn batch_error(&self, outcomes: Vec<Result<Bytes>>) -> Error {
        let mut batch = BatchError::new(self.verb);
        for outcome in outcomes {
            match outcome {
                Ok(written) => batch.succeeded(&written),
                Err(error) => batch.failed(&error),
            }
        }
        if !self.query.continue_on_error {
            batch = batch.rolled_back();
        }
        batch.into_error()
    }

    /// Carries out one step. Gives its result as bare JSON records.
    async fn carry_out(
        &self,
        transaction: &mut dyn DatabaseTransaction,
        step: &Step,
    ) -> Result<Bytes> {
        match step {
            Step::Create(record) => self.create(transaction, record).await,
            Step::Change(target, record) => self.change(transaction, target, record).await,
            Step::ChangeAll(record) => {
                let update = self.planner.update(
                    &self.table,
                    &self.grant,
                    record,
                    &self.query,
                    &Selector::Query,
                )?;
                let (rows, _) = self.run(transaction, Write::Update(update)).await?;
                self.answered(transaction, rows, &self.grant).await
            }
            Step::Remove(target) => self.remove(transaction, target).await,
            Step::RemoveAll => {
                let related = if needs_re_read(&self.query) {
                    Some(self.embedded(transaction, &Selector::Query).await?)
                } else {
                    None
                };
                let delete =
                    self.planner
                        .delete(&self.table, &self.grant, &self.query, &Selector::Query)?;
                let (rows, _) = self.run(transaction, Write::Delete(delete)).await?;
                Ok(related.unwrap_or_else(|| rows.finish(&Map::new())))
            }
        }
    }

    async fn run(
        &self,
        transaction: &mut dyn DatabaseTransaction,
        write: Write,
    ) -> Result<(RowWriter, u64)> {
        let shape = write.shape(Frame::Bare, Format::Json, self.options);
        let (rows, touched) = transaction
            .write(&write, RowWriter::new(Arc::new(shape), None))
            .await?;
        if rows.has_refused() {
            return Err(not_permitted());
        }
        Ok((rows, touched))
    }

    async fn create(
        &self,
        transaction: &mut dyn DatabaseTransaction,
        record: &Record,
    ) -> Result<Bytes> {
        let (create, change) = match &self.upsert {
            Some(grants) => (&grants.create, Some(&grants.change)),
            None => (&self.grant, None),
        };
        if self.planner.is_nested(&self.table, create, record) {
            let named = self.planner.named(&self.table, create);
            let wanted = self
                .planner
                .key_columns(&self.table, &named, &self.query.id_field)?;
            let key = self
                .nested()
                .create(transaction, self.outermost(create), change, record, &wanted)
                .await?;
            return self.re_read(transaction, &[key], create).await;
        }
        let insert = self
            .planner
            .insert(&self.table, create, record, &self.query, change)?;
        let (rows, touched) = self.run(transaction, Write::Insert(insert)).await?;
        if touched == 0 {
            // The record exists, outside the rows that may be changed.
            return Err(not_permitted());
        }
        self.answered(transaction, rows, create).await
    }

    async fn change(
        &self,
        transaction: &mut dyn DatabaseTransaction,
        target: &Target,
        record: &Record,
    ) -> Result<Bytes> {
        let (text, key) = self.key_of(target)?;
        let selector = Selector::Keys(vec![key.clone()]);
        self.check_conditions(transaction, &text, &selector).await?;
        if self.planner.is_nested(&self.table, &self.grant, record) {
            let columns =
                self.planner
                    .key_columns(&self.table, &self.named, &self.query.id_field)?;
            let id_field = self.query.id_field.as_slice();
            let named = (id_field, columns.as_slice(), key.as_slice());
            let changed = self
                .nested()
                .change(
                    transaction,
                    self.outermost(&self.grant),
                    named,
                    record,
                    &columns,
                )
                .await?;
            return match changed {
                Some(key) => self.re_read(transaction, &[key], &self.grant).await,
                None => {
                    self.instead_of_change(transaction, &text, record, &key)
                        .await
                }
            };
        }
        let update =
            self.planner
                .update(&self.table, &self.grant, record, &self.query, &selector)?;
        let (rows, touched) = self.run(transaction, Write::Update(update)).await?;
        if touched > 0 {
            return self.answered(transaction, rows, &self.grant).await;
        }
        self.instead_of_change(transaction, &text, record, &key)
            .await
    }

    /// Adds the record that was to be changed and is not there, if the call asks for it; 404 otherwise.
    async fn instead_of_change(
        &self,
        transaction: &mut dyn DatabaseTransaction,
        text: &str,
        record: &Record,
        key: &[Scalar],
    ) -> Result<Bytes> {
        if self.upsert.is_none() {
            return Err(unknown_record(text));
        }
        let record =
            self.planner
                .with_key(&self.table, &self.named, record, key, &self.query.id_field)?;
        self.create(transaction, &record).await
    }

    fn outermost<'s>(&'s self, grant: &'s Grant) -> Place<'s> {
        Place {
            table: &self.table,
            grant,
            depth: 0,
        }
    }

    fn nested(&self) -> NestedWrite<'_> {
        NestedWrite {
            planner: self.planner,
            allow_delete: self.query.allow_related_delete,
        }
    }

    async fn remove(
        &self,
        transaction: &mut dyn DatabaseTransaction,
        target: &Target,
    ) -> Result<Bytes> {
        let (text, key) = self.key_of(target)?;
        let selector = Selector::Keys(vec![key]);
        self.check_conditions(transaction, &text, &selector).await?;
        let related = if needs_re_read(&self.query) {
            Some(self.embedded(transaction, &selector).await?)
        } else {
            None
        };
        let delete = self
            .planner
            .delete(&self.table, &self.grant, &self.query, &selector)?;
        let (rows, touched) = self.run(transaction, Write::Delete(delete)).await?;
        if touched == 0 {
            return Err(unknown_record(&text));
        }
        Ok(related.unwrap_or_else(|| rows.finish(&Map::new())))
    }

    fn key_of(&self, target: &Target) -> Result<(String, Vec<Scalar>)> {
        let id_field = &self.query.id_field;
        match target {
            Target::Identified(identifier) => Ok((
                text_of(identifier),
                self.planner
                    .key(&self.table, &self.named, identifier, id_field)?,
            )),
            Target::Itself(record) => {
                let key = self
                    .planner
                    .key_of_record(&self.table, &self.named, record, id_field)?;
                Ok((text_of_key(&key), key))
            }
        }
    }

    /// Holds `If-Match` and `If-None-Match` against the record, which stays as it is until the end.
    async fn check_conditions(
        &self,
        transaction: &mut dyn DatabaseTransaction,
        text: &str,
        selector: &Selector,
    ) -> Result<()> {
        if self.conditions.is_empty() {
            return Ok(());
        }
        let current = self.tag(transaction, selector, true, Format::Json).await?;
        // Conditions do not count where the answer without them would be an error (RFC 9110 section 13.2.1).
        if current.is_none() && self.upsert.is_none() {
            return Err(unknown_record(text));
        }
        self.conditions.check_write(current.as_ref())
    }

    /// The tag of the record as it stands, or none when it is not there.
    async fn tag(
        &self,
        transaction: &mut dyn DatabaseTransaction,
        selector: &Selector,
        lock: bool,
        format: Format,
    ) -> Result<Option<EntityTag>> {
        let query = RecordsQuery {
            id_field: self.query.id_field.clone(),
            ..RecordsQuery::default()
        };
        let plan = self
            .planner
            .read(&self.table, &self.readable, &query, selector)?;
        let mut shape = plan.shape(Frame::Bare, Format::Json, self.options);
        shape.digest = true;
        let rows = transaction
            .select(&plan.select, lock, RowWriter::new(Arc::new(shape), None))
            .await?;
        Ok(rows
            .digest()
            .filter(|_| rows.rows() > 0)
            .map(|digest| EntityTag::of_record(digest, format)))
    }

    /// The tag of the record as a conditional write left it, so that the next write need not read it first.
    async fn tag_after(
        &self,
        transaction: &mut dyn DatabaseTransaction,
        step: &Step,
        format: Format,
    ) -> Result<Option<EntityTag>> {
        let Step::Change(target, _) = step else {
            return Ok(None);
        };
        if self.conditions.is_empty() {
            return Ok(None);
        }
        let (_, key) = self.key_of(target)?;
        self.tag(transaction, &Selector::Keys(vec![key]), false, format)
            .await
    }

    /// The answer of a write: what it returned, or with `related` the records read again.
    async fn answered(
        &self,
        transaction: &mut dyn DatabaseTransaction,
        rows: RowWriter,
        grant: &Grant,
    ) -> Result<Bytes> {
        let returned = rows.finish(&Map::new());
        if !needs_re_read(&self.query) || returned.is_empty() {
            return Ok(returned);
        }
        let text = format!("[{}]", text_of_json(&returned)?);
        let records: Vec<Record> = serde_json::from_str(&text).map_err(|error| {
            Error::internal("what a write returned is not JSON").with_source(error)
        })?;
        let named = self.planner.named(&self.table, grant);
        let keys = records
            .iter()
            .map(|record| {
                self.planner
                    .key_of_record(&self.table, &named, record, &self.query.id_field)
            })
            .collect::<Result<Vec<_>>>()?;
        self.re_read(transaction, &keys, grant).await
    }

    /// The records with these keys as the call wants to see them.
    async fn re_read(
        &self,
        transaction: &mut dyn DatabaseTransaction,
        keys: &[Vec<Scalar>],
        grant: &Grant,
    ) -> Result<Bytes> {
        let shown = self.planner.shown(&self.table, grant);
        let mut parts = Vec::new();
        let mut bytes = 0_usize;
        for keys in keys.chunks(KEYS_AT_ONCE.min(self.page())) {
            let plan = self
                .planner
                .re_read(&self.table, &shown, &self.query, keys)?;
            let shape = plan.shape(Frame::Bare, Format::Json, self.options);
            let rows = RowWriter::new(Arc::new(shape), None);
            let rows = self.select(transaction, &plan.select, false, rows).await?;
            let part = rows.finish(&Map::new());
            bytes = bytes.saturating_add(part.len());
            if bytes > MAX_WHOLE_BYTES {
                return Err(too_much_to_answer());
            }
            parts.push(part);
        }
        Ok(join_bare(parts))
    }

    /// Reads records with what is related to them.
    async fn select(
        &self,
        transaction: &mut dyn DatabaseTransaction,
        select: &Select,
        lock: bool,
        rows: RowWriter,
    ) -> Result<RowWriter> {
        stitch::select(
            transaction,
            select,
            lock,
            rows,
            Surroundings {
                embeds_related: self.embeds_related,
                options: self.options,
                neighbourhood: self.planner.neighbourhood,
            },
        )
        .await
    }

    /// Most records that one read may give.
    fn page(&self) -> usize {
        usize::try_from(self.options.max_records)
            .unwrap_or(usize::MAX)
            .max(1)
    }

    /// Records that are about to be deleted, with what is related to them.
    async fn embedded(
        &self,
        transaction: &mut dyn DatabaseTransaction,
        selector: &Selector,
    ) -> Result<Bytes> {
        let mut query = self.query.clone();
        if query.fields == Fields::Default {
            query.fields = Fields::Named(Vec::new());
        }
        let shown = self.planner.shown(&self.table, &self.grant);
        let plan = self.planner.read(&self.table, &shown, &query, selector)?;
        let shape = plan.shape(Frame::Bare, Format::Json, self.options);
        let rows = RowWriter::new(Arc::new(shape), None);
        let rows = self.select(transaction, &plan.select, true, rows).await?;
        if rows.has_more() {
            return Err(Error::new(
                ErrorKind::InvalidParameter,
                "more records match than one answer with 'related' can hold",
            )
            .with_help("leave out 'related', or delete fewer records at a time"));
        }
        Ok(rows.finish(&Map::new()))
    }

    /// The list of results in the caller's format.
    fn answer(&self, written: &[Bytes], format: Format) -> Result<Reply> {
        let records = join_bare(written.iter().cloned());
        let records = if self.query.as_list {
            identifiers(&records)?
        } else {
            records
        };
        Ok(Reply::ok(
            format.content_type(),
            Body::Bytes(list_of_bare(&records, &Map::new(), format)?),
        ))
    }
}

fn too_much_to_answer() -> Error {
    Error::new(
        ErrorKind::PayloadTooLarge,
        format!("the answer would be larger than {MAX_WHOLE_BYTES} bytes"),
    )
    .with_help("send fewer records at a time, or ask for fewer columns with `fields`")
}

fn text_of_json(bytes: &[u8]) -> Result<&str> {
    std::str::from_utf8(bytes)
        .map_err(|error| Error::internal("written rows are not UTF-8").with_source(error))
}

/// Records as their identifying values alone: `1,2`, or `"(4,7)"` for keys of several columns.
fn identifiers(records: &[u8]) -> Result<Bytes> {
    let not_json = |error| Error::internal("what a write returned is not JSON").with_source(error);
    let text = format!("[{}]", text_of_json(records)?);
    let records: Vec<IndexMap<String, Box<RawValue>>> =
        serde_json::from_str(&text).map_err(not_json)?;
    let mut values = Vec::with_capacity(records.len());
    for record in &records {
        let texts: Vec<&str> = record.values().map(|value| value.get()).collect();
        values.push(match texts.as_slice() {
            [single] => (*single).to_owned(),
            several => {
                let joined = several
                    .iter()
                    .map(|text| {
                        serde_json::from_str::<String>(text).unwrap_or_else(|_| (*text).to_owned())
                    })
                    .collect::<Vec<_>>()
                    .join(",");
                serde_json::to_string(&format!("({joined})")).map_err(not_json)?
            }
        });
    }
    Ok(Bytes::from(values.join(",")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_keep_their_digits_and_composite_ones_are_texts() {
        assert_eq!(
            identifiers(br#"{"id":12345678901234567890.5},{"id":"a\"b"}"#).unwrap(),
            br#"12345678901234567890.5,"a\"b""#.as_slice()
        );
        assert_eq!(
            identifiers(br#"{"a":4,"b":"x"}"#).unwrap(),
            br#""(4,x)""#.as_slice()
        );
        assert_eq!(identifiers(b"").unwrap(), b"".as_slice());
    }
}
