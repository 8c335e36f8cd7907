//! Reading records: lists, counts, records by key.

use std::sync::Arc;

use http::header::{ACCEPT, CONTENT_DISPOSITION, ETAG};
use http::{HeaderValue, StatusCode};
use serde_json::{Map, Value};

use super::backend::Prepared;
use super::batch::{BatchError, Verb};
use super::catalog::{Catalog, Table};
use super::connector::{Asked, DatabaseConnector, grant_for, unknown_record};
use super::download;
use super::neighbourhood::Neighbourhood;
use super::plan::{Select, Selector};
use super::plan_cache::PlanKey;
use super::planner::ReadPlan;
use super::precondition::{EntityTag, Preconditions};
use super::request::{self, Fields, Identifier, RecordsBody, RecordsQuery};
use super::rows::{Frame, RowWriter, Shape};
use super::schema::SchemaView;
use super::stitch::Reading;
use super::value::Scalar;
use crate::connector::access::Grant;
use crate::error::{Error, ErrorKind, Result};
use crate::exchange::body::drive;
use crate::exchange::format::negotiate;
use crate::exchange::{Body, CallContext, Format, Query, Reply};

/// Segments of a path that name a table: `_table/x`.
const TABLE_SEGMENTS: usize = 2;

/// Keys of records, each with what the caller wrote.
type Keys = Vec<(String, Vec<Scalar>)>;

/// A read that is ready to run, and all that its answer needs.
pub(super) enum ReadEntry {
    /// Many records.
    List(Box<ListEntry>),
    /// Their number.
    Count(Box<CountEntry>),
    /// Records by their keys.
    Keys(Box<KeysEntry>),
    /// One record, whose key comes with each call.
    Record(Box<RecordEntry>),
}

/// Many records.
pub(super) struct ListEntry {
    reading: Reading,
    plan: ReadPlan,
    shape: Arc<Shape>,
    count: Option<Prepared>,
    schema: Option<Value>,
    format: Format,
    disposition: Option<HeaderValue>,
}

/// A number of records.
pub(super) struct CountEntry {
    prepared: Prepared,
    format: Format,
}

/// Records by their keys.
pub(super) struct KeysEntry {
    list: ListEntry,
    /// The keys, each once, with what the caller wrote.
    keys: Keys,
    /// Reads one of them; for saying which ones are missing.
    single: Reading,
    single_shape: Arc<Shape>,
    goes_on: bool,
}

/// One record.
pub(super) struct RecordEntry {
    reading: Reading,
    shape: Arc<Shape>,
    catalog: Arc<Catalog>,
    table: Arc<Table>,
    grant: Grant,
    id_field: Vec<String>,
    format: Format,
    disposition: Option<HeaderValue>,
}

/// What plans are made from: the catalog they belong to, and whether they may be kept.
struct Built {
    catalog: Arc<Catalog>,
    entry: ReadEntry,
    may_keep: bool,
}

impl DatabaseConnector {
    /// GET on a table.
    pub(super) async fn list_records(
        self: Arc<Self>,
        context: &CallContext,
        call: Asked,
        body: Body,
    ) -> Result<Reply> {
        Preconditions::of(&call.head.headers)?.check_untagged()?;
        let entry = self.read_entry(context, &call, body).await?;
        match entry.as_ref() {
            ReadEntry::List(_) => self.answer_list(entry).await,
            ReadEntry::Count(count) => self.answer_count(count).await,
            ReadEntry::Keys(keys) => self.answer_keys(keys).await,
            ReadEntry::Record(_) => Err(Error::internal("a list was planned as one record")),
        }
    }

    /// GET on a record.
    pub(super) async fn get_record(
        self: Arc<Self>,
        context: &CallContext,
        call: Asked,
        body: Body,
    ) -> Result<Reply> {
        let conditions = Preconditions::of(&call.head.headers)?;
        let entry = self.read_entry(context, &call, body).await?;
        let ReadEntry::Record(record) = entry.as_ref() else {
            return Err(Error::internal("one record was planned as a list"));
        };
        let segment = call.parameters.get("id")?;
        let key = self.planner(&record.catalog, &call.access).key(
            &record.table,
            &record.grant,
            &request::path_identifier(segment),
            &record.id_field,
        )?;
        let rows = self.noticed(
            self.read(
                &record.reading,
                &key,
                RowWriter::new(Arc::clone(&record.shape), None),
            )
            .await,
        )?;
        if rows.rows() == 0 {
            return Err(unknown_record(segment));
        }
        let digest = rows.digest();
        let bytes = rows.finish(&Map::new());
        let tag = match digest {
            Some(digest) => EntityTag::of_record(digest, record.format),
            None => EntityTag::of_body(&bytes, record.format),
        };
        if !conditions.is_empty() && conditions.not_modified(&tag)? {
            return Ok(Reply::empty(StatusCode::NOT_MODIFIED).with_header(ETAG, tag.header()?));
        }
        Ok(offered(
            Reply::ok(record.format.content_type(), Body::Bytes(bytes)),
            record.disposition.as_ref(),
        )
        .with_header(ETAG, tag.header()?))
    }

    fn reading(&self, select: Select, neighbourhood: &Arc<Neighbourhood>) -> Result<Reading> {
        Reading::new(self.database.as_ref(), select, &self.options, neighbourhood)
    }

    async fn read(&self, reading: &Reading, key: &[Scalar], rows: RowWriter) -> Result<RowWriter> {
        reading.run(self.database.as_ref(), key, rows).await
    }

    /// The plan for a call: the one of an equal call before, or a new one.
    async fn read_entry(
        &self,
        context: &CallContext,
        call: &Asked,
        body: Body,
    ) -> Result<Arc<ReadEntry>> {
        let table = call.parameters.get("table")?;
        let has_body = !matches!(body, Body::Empty);
        let mut accepts = call.head.headers.get_all(ACCEPT).iter();
        let accept = accepts.next().cloned();
        // A row that names single records decides on each of them anew, so their plans are not shared.
        let is_for_all = call.grant.named_segments <= TABLE_SEGMENTS;
        let is_plain = !has_body && accepts.next().is_none() && is_for_all;
        let catalog = self.catalog(context.deadline).await?;
        if is_plain {
            let key = plan_key(&catalog, call, table, accept.as_ref());
            if let Some(entry) = self.plans.get(&key) {
                return Ok(entry);
            }
        }
        let built = self.build(context, catalog, call, body, table).await?;
        let entry = Arc::new(built.entry);
        if is_plain && built.may_keep {
            let key = plan_key(&built.catalog, call, table, accept.as_ref());
            self.plans.insert(&key, &entry);
        }
        Ok(entry)
    }

    async fn build(
        &self,
        context: &CallContext,
        mut catalog: Arc<Catalog>,
        call: &Asked,
        body: Body,
        table: &str,
    ) -> Result<Built> {
        let query = Query::parse(call.head.query())?;
        let is_record = call.operation == super::operations::name::GET_RECORD;
        let (mut asked, body) = received(call, &query, body).await?;
        if asked.refresh {
            catalog = self.fresh_catalog(context.deadline).await?;
        }
        let table = self.planner(&catalog, &call.access).table(table)?;
        let grant = grant_for(call, "_table", &table)?;
        let neighbourhood = self.around(context, call, &catalog, &table, &asked).await?;
        let planner = self.planner(&catalog, &call.access).among(&neighbourhood);
        let picked = asked.download.as_ref().and_then(download::format_of);
        let format = match picked {
            Some(format) => format,
            None => negotiate(&call.head, &query, Format::ALL)?,
        };
        let disposition = asked
            .download
            .as_ref()
            .map(|wanted| download::disposition(wanted, &table.name, format))
            .transpose()?;
        // A plan that is kept must not keep other services.
        let may_keep = !asked.refresh && neighbourhood.is_empty();

        if is_record {
            // One record has neither pages nor a choice among records.
            asked.filter = None;
            asked.ids = None;
            planner.add_always(&table, &grant, &mut asked);
            let plan = planner.read(&table, &grant, &asked, &Selector::Key)?;
            let mut shape = plan.shape(Frame::Single, format, &self.options);
            shape.digest = asked.related.is_empty();
            let entry = ReadEntry::Record(Box::new(RecordEntry {
                reading: self.reading(plan.select, &neighbourhood)?,
                shape: Arc::new(shape),
                catalog: Arc::clone(&catalog),
                table,
                grant,
                id_field: asked.id_field,
                format,
                disposition,
            }));
            return Ok(Built {
                catalog,
                entry,
                may_keep,
            });
        }

        let frame = if asked.as_list {
            asked.fields = identifier_fields(&asked);
            asked.related = Vec::new();
            Frame::Identifiers
        } else {
            planner.add_always(&table, &grant, &mut asked);
            Frame::List
        };
        let keys = self.keys_of(call, &catalog, &table, &grant, &asked, &body)?;
        let selector = match &keys {
            Some(keys) => {
                // Identifiers go before a filter (reference 2.2).
                asked.filter = None;
                Selector::Keys(keys.iter().map(|(_, key)| key.clone()).collect())
            }
            None => Selector::Query,
        };
        if asked.count_only {
            let count = planner.count(&table, &grant, &asked, &selector)?;
            let entry = ReadEntry::Count(Box::new(CountEntry {
                prepared: self.database.prepare(count)?,
                format,
            }));
            return Ok(Built {
                catalog,
                entry,
                may_keep,
            });
        }
        let plan = planner.read(&table, &grant, &asked, &selector)?;
        let count = if asked.include_count {
            let count = planner.count(&table, &grant, &asked, &selector)?;
            Some(self.database.prepare(count)?)
        } else {
            None
        };
        let schema = asked.include_schema.then(|| {
            let view = SchemaView {
                catalog: &catalog,
                access: &call.access,
            };
            Value::Object(view.table_without_alias(&table, Some(&grant)))
        });
        let list = ListEntry {
            reading: self.reading(plan.select.clone(), &neighbourhood)?,
            shape: Arc::new(plan.shape(frame, format, &self.options)),
            plan,
            count,
            schema,
            format,
            disposition,
        };
        let entry = match keys {
            None => ReadEntry::List(Box::new(list)),
            Some(keys) => {
                let single = planner.read(&table, &grant, &asked, &Selector::Key)?;
                ReadEntry::Keys(Box::new(KeysEntry {
                    list,
                    keys,
                    single_shape: Arc::new(single.shape(Frame::Bare, Format::Json, &self.options)),
                    single: self.reading(single.select, &neighbourhood)?,
                    goes_on: asked.continue_on_error,
                }))
            }
        };
        Ok(Built {
            catalog,
            entry,
            may_keep,
        })
    }

    /// The other services that a call leads to.
    pub(super) async fn around(
        &self,
        context: &CallContext,
        call: &Asked,
        catalog: &Catalog,
        table: &Table,
        asked: &RecordsQuery,
    ) -> Result<Arc<Neighbourhood>> {
        if asked.as_list || (asked.related.is_empty() && !catalog.has_always()) {
            return Ok(Arc::default());
        }
        self.neighbourhood(call.neighbours.as_ref(), context.deadline, |known| {
            self.planner(catalog, &call.access)
                .among(known)
                .missing(table, &asked.related)
        })
        .await
    }

    /// The keys that a list is about, if it is about keys: of `ids`, or of the records in the body.
    fn keys_of(
        &self,
        call: &Asked,
        catalog: &Catalog,
        table: &Table,
        grant: &Grant,
        asked: &RecordsQuery,
        body: &RecordsBody,
    ) -> Result<Option<Keys>> {
        let planner = self.planner(catalog, &call.access);
        let mut keys: Keys = Vec::new();
        let mut add = |text: String, key: Vec<Scalar>| {
            keys.push((text, key));
        };
        if let Some(ids) = &asked.ids {
            if ids.is_empty() {
                return Err(Error::new(
                    ErrorKind::InvalidParameter,
                    "the request contains no valid identifiers",
                ));
            }
            for identifier in ids {
                let key = planner.key(table, grant, identifier, &asked.id_field)?;
                add(text_of(identifier), key);
            }
        } else if !body.records.is_empty() {
            for record in &body.records {
                let key = planner.key_of_record(table, grant, record, &asked.id_field)?;
                add(text_of_key(&key), key);
            }
        } else {
            return Ok(None);
        }
        Ok(Some(each_once(keys)))
    }

    async fn answer_list(self: Arc<Self>, entry: Arc<ReadEntry>) -> Result<Reply> {
        let ReadEntry::List(list) = entry.as_ref() else {
            return Err(Error::internal("a list was planned as something else"));
        };
        let content_type = list.format.content_type();
        let disposition = list.disposition.clone();
        let body = drive(move |sender| {
            let entry = Arc::clone(&entry);
            async move {
                let ReadEntry::List(list) = entry.as_ref() else {
                    return Err(Error::internal("a list was planned as something else"));
                };
                let count = match &list.count {
                    Some(count) => Some(self.number(count).await?),
                    None => None,
                };
                let rows = RowWriter::new(Arc::clone(&list.shape), Some(sender));
                let rows = self.noticed(self.read(&list.reading, &[], rows).await)?;
                let meta = list.meta(&rows, count);
                Ok(rows.finish(&meta))
            }
        })
        .await?;
        Ok(offered(Reply::ok(content_type, body), disposition.as_ref()))
    }

    async fn answer_count(&self, entry: &CountEntry) -> Result<Reply> {
        let count = self.number(&entry.prepared).await?;
        Reply::document(entry.format, &Value::from(count))
    }

    /// The one number of the one row that a select gives.
    async fn number(&self, prepared: &Prepared) -> Result<u64> {
        let names = prepared
            .select
            .output
            .iter()
            .map(|output| output.name.clone())
            .collect();
        let mut shape = Shape::new(names, Frame::Bare, Format::Json);
        shape.keep = vec![0];
        shape.page = Some(1);
        let rows = RowWriter::new(Arc::new(shape), None);
        let rows = self.noticed(self.database.read(prepared, &[], rows).await)?;
        match rows.kept() {
            [Scalar::Int(count)] => Ok(u64::try_from(*count).unwrap_or(0)),
            _ => Err(Error::internal("a count is not one number")),
        }
    }

    async fn answer_keys(&self, entry: &KeysEntry) -> Result<Reply> {
        let list = &entry.list;
        let rows = RowWriter::new(Arc::clone(&list.shape), None);
        let rows = self.noticed(self.read(&list.reading, &[], rows).await)?;
        let expected = u64::try_from(entry.keys.len()).unwrap_or(u64::MAX);
        if rows.rows() < expected {
            return Err(self.missing(entry).await?);
        }
        let meta = list.meta(&rows, list.count.is_some().then_some(expected));
        Ok(offered(
            Reply::ok(list.format.content_type(), Body::Bytes(rows.finish(&meta))),
            list.disposition.as_ref(),
        ))
    }

    /// The batch error that says which records are not there.
    async fn missing(&self, entry: &KeysEntry) -> Result<Error> {
        let mut batch = BatchError::new(Verb::Retrieved);
        for (text, key) in &entry.keys {
            let rows = RowWriter::new(Arc::clone(&entry.single_shape), None);
            let rows = self.noticed(self.read(&entry.single, key, rows).await)?;
            if rows.rows() > 0 {
                batch.succeeded(&rows.finish(&Map::new()));
                continue;
            }
            batch.failed(&unknown_record(text));
            if !entry.goes_on {
                break;
            }
        }
        Ok(batch.into_error())
    }
}

impl ListEntry {
    fn meta(&self, rows: &RowWriter, count: Option<u64>) -> Map<String, Value> {
        let mut meta = Map::new();
        if let Some(count) = count {
            meta.insert("count".into(), count.into());
        }
        if rows.has_more() {
            if let Some(next) = self.plan.next_offset() {
                meta.insert("next".into(), next.into());
            }
            if let Some(cursor) = self.plan.next_cursor(rows.kept()) {
                meta.insert("next_cursor".into(), cursor.into());
            }
        }
        if let Some(schema) = &self.schema {
            meta.insert("schema".into(), schema.clone());
        }
        meta
    }
}

fn plan_key<'a>(
    catalog: &'a Arc<Catalog>,
    call: &'a Asked,
    table: &'a str,
    accept: Option<&'a HeaderValue>,
) -> PlanKey<'a> {
    PlanKey {
        catalog,
        access: &call.access,
        grant: &call.grant,
        table,
        query: call.head.query(),
        accept: accept.map_or(&[], HeaderValue::as_bytes),
        operation: call.operation,
    }
}

/// What the query string and the body say together.
pub(super) async fn received(
    call: &Asked,
    query: &Query,
    body: Body,
) -> Result<(RecordsQuery, RecordsBody)> {
    let bytes = body.collect(call.limits.max_body_bytes).await?;
    request::received(&call.head, query, &bytes)
}

/// The columns that stand for a record in a list of identifiers.
pub(super) fn identifier_fields(asked: &RecordsQuery) -> Fields {
    Fields::Named(
        asked
            .id_field
            .iter()
            .map(|name| request::FieldItem::Column(name.clone()))
            .collect(),
    )
}

/// An identifier as messages show it.
pub(super) fn text_of(identifier: &Identifier) -> String {
    match identifier {
        Identifier::Single(text) => text.clone(),
        Identifier::Composite(parts) => parts
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect::<Vec<_>>()
            .join(","),
    }
}

/// A key as messages show it.
pub(super) fn text_of_key(key: &[Scalar]) -> String {
    key.iter()
        .map(|value| match value {
            Scalar::Null => "null".to_owned(),
            Scalar::Bool(value) => value.to_string(),
            Scalar::Int(value) => value.to_string(),
            Scalar::Float(value) => value.to_string(),
            Scalar::Decimal(text)
            | Scalar::Text(text)
            | Scalar::Json(text)
            | Scalar::Temporal(text) => text.clone(),
            Scalar::Uuid(bytes) => uuid::Uuid::from_bytes(*bytes).to_string(),
            Scalar::Bytes(_) | Scalar::Array(_) => "…".to_owned(),
        })
        .collect::<Vec<_>>()
        .join(",")
}

fn each_once(keys: Keys) -> Keys {
    // Scalars have no order of their own; their debugging text tells equal ones.
    let mut seen = std::collections::HashSet::with_capacity(keys.len());
    keys.into_iter()
        .filter(|(_, key)| seen.insert(format!("{key:?}")))
        .collect()
}

fn offered(reply: Reply, disposition: Option<&HeaderValue>) -> Reply {
    match disposition {
        Some(value) => reply.with_header(CONTENT_DISPOSITION, value.clone()),
        None => reply,
    }
}
