//! Stored procedures and functions: lists, descriptions and calls.
//!
//! A call is taken apart by `request`, `choice` finds the overload and types the arguments, the database carries it out
//! in one transaction, and `answer` puts together what came of it.

mod answer;
mod choice;
mod request;

use std::sync::Arc;

use bytes::Bytes;
use http::header::CONTENT_DISPOSITION;
use http::{HeaderValue, Method};
use serde_json::{Map, Value, json};

use super::catalog::{
    Column, DefaultValue, Overloads, Parameter, Returns, Routine, RoutineKind, Type,
};
use super::connector::{Asked, DatabaseConnector, granted_method, listing_query};
use super::download;
use super::listing::ListingQuery;
use super::operations::{component_of, name};
use super::plan::RoutineCall;
use super::results::{Outcome, Results, shown_columns};
use super::rows::{Frame, RowWriter, Shape};
use super::schema::{kind_name, label_of};
use crate::connector::access::{Access, Grant, Verbs};
use crate::error::{Error, ErrorKind, Result};
use crate::exchange::body::drive;
use crate::exchange::format::negotiate;
use crate::exchange::{Body, CallContext, Format, Query, Reply};
use request::{CallRequest, Wanted};

/// The fact of an error that holds the words which the database's own code raised for its caller.
pub(super) const RAISED_FACT: &str = "raised";

/// Most characters of such words that are answered.
const MAX_RAISED_CHARACTERS: usize = 500;

/// The state of a statement that would write in a transaction that refuses to (SQL, "read-only SQL-transaction").
const READ_ONLY_STATE: &str = "25006";

/// What a routine that may be called with POST alone takes.
const POST_ALONE: &str = "POST, OPTIONS";

/// The kind of routines that an operation is about.
fn kind_of(operation: &str) -> RoutineKind {
    match operation {
        name::LIST_FUNCTIONS | name::READ_FUNCTION | name::CALL_FUNCTION => RoutineKind::Function,
        _ => RoutineKind::Procedure,
    }
}

/// One call, ready to be carried out.
struct Job {
    call: RoutineCall,
    asked: CallRequest,
    format: Format,
    disposition: Option<HeaderValue>,
    /// Whether it may change nothing.
    is_reading: bool,
}

impl DatabaseConnector {
    /// GET on `_proc` or `_func`: names, or descriptions of those in `ids`.
    pub(super) async fn list_routines(&self, context: &CallContext, call: &Asked) -> Result<Reply> {
        let kind = kind_of(call.operation);
        self.require_routines(kind)?;
        let (query, listing) = listing_query(call)?;
        let format = negotiate(&call.head, &query, Format::ALL)?;
        let catalog = self.catalog_for(context, listing.refresh).await?;
        let routines = catalog.routines();
        let mut entries = Vec::new();
        if let Some(ids) = &listing.ids {
            for id in ids {
                let (name, overloads) = routines.find(kind, id, |name| {
                    !routine_verbs(&call.access, kind, name).is_empty()
                })?;
                let verbs = routine_verbs(&call.access, kind, name);
                if verbs.is_empty() {
                    call.access
                        .of(&component_of(kind.family(), name), &Method::GET)?;
                    return Err(Error::internal("a grant that admits no verb"));
                }
                entries.extend(overloads.iter().map(|routine| description(routine, verbs)));
            }
        } else {
            for (name, overloads) in routines.of(kind) {
                let verbs = routine_verbs(&call.access, kind, name);
                if !verbs.is_empty() && is_listed(overloads, &listing) {
                    entries.extend(entry(name, overloads, verbs, &listing));
                }
            }
        }
        Reply::document(format, &listing.list(entries.into_iter()))
    }

    /// GET or POST on a procedure or a function.
    pub(super) async fn call_routine(
        self: Arc<Self>,
        context: &CallContext,
        call: Asked,
        body: Body,
    ) -> Result<Reply> {
        let kind = kind_of(call.operation);
        self.require_routines(kind)?;
        let query = Query::parse(call.head.query())?;
        let (name, inline) = request::path_call(call.parameters.get("routine")?);
        let bytes = body.collect(call.limits.max_body_bytes).await?;
        let asked = request::received(&call.head, &query, inline, &bytes)?;
        let catalog = self.catalog_for(context, asked.refresh).await?;
        let (name, overloads) = catalog.routines().find(kind, name, |name| {
            !routine_verbs(&call.access, kind, name).is_empty()
        })?;
        let method = granted_method(&call.head.method);
        let grant = call.access.of(&component_of(kind.family(), name), method)?;
        refuse_conditions(&grant.and(&call.grant), kind, name)?;
        let is_reading = method == Method::GET;
        let chosen = choice::choose(overloads, &asked.arguments, call.access.lookups())?;
        if is_reading && !chosen.routine.is_read_only {
            return Err(not_with_get(&chosen.routine));
        }
        refuse_wrapper(&chosen.routine, &asked)?;
        let picked = asked.download.as_ref().and_then(download::format_of);
        let format = match picked {
            Some(format) => format,
            None => negotiate(&call.head, &query, Format::ALL)?,
        };
        let disposition = asked
            .download
            .as_ref()
            .map(|wanted| download::disposition(wanted, name, format))
            .transpose()?;
        let job = Job {
            call: chosen,
            asked,
            format,
            disposition,
            is_reading,
        };
        if job.streams() {
            self.stream(job).await
        } else {
            let document = if job.call.routine.gives_results() {
                self.results(&job).await?
            } else {
                self.function(&job).await?
            };
            job.reply(&document)
        }
    }

    fn require_routines(&self, kind: RoutineKind) -> Result<()> {
        if self.database.has_routines() {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::UnknownResource,
            format!("this database has no {}s", kind.noun()),
        ))
    }

    /// The rows of a function, as they come.
    async fn stream(self: Arc<Self>, job: Job) -> Result<Reply> {
        let content_type = job.format.content_type();
        let disposition = job.disposition.clone();
        let shape = Arc::new(job.shape(&self.options, Frame::Array, job.format));
        let body = drive(move |sender| async move {
            let rows = RowWriter::new(shape, Some(sender));
            let rows = self.query(&job, rows).await?;
            Ok(rows.finish(&Map::new()))
        })
        .await?;
        Ok(offered(Reply::ok(content_type, body), disposition))
    }

    /// Runs a function; its rows go to the writer.
    async fn query(&self, job: &Job, rows: RowWriter) -> Result<RowWriter> {
        let outcome = async {
            let mut transaction = if job.is_reading {
                self.database.begin_reading().await?
            } else {
                self.database.begin().await?
            };
            let rows = transaction.query_routine(&job.call, rows).await?;
            transaction.commit().await?;
            Ok(rows)
        };
        self.noticed(outcome.await.map_err(|error| in_routine(error, job)))
    }

    /// What a function returns, whole.
    async fn function(&self, job: &Job) -> Result<Bytes> {
        let shape = Arc::new(job.shape(&self.options, Frame::Bare, Format::Json));
        let rows = self.query(job, RowWriter::new(shape, None)).await?;
        let rows = rows.finish(&Map::new());
        let asked = &job.asked;
        if asked.is_full {
            let sets = match job.call.routine.returns {
                Returns::Nothing => Vec::new(),
                _ => vec![rows],
            };
            return Ok(answer::full(&Outcome { sets, out: None }));
        }
        let is_empty = rows.is_empty();
        match (&job.call.routine.returns, asked.wanted) {
            (Returns::Nothing, _) => Ok(Bytes::from_static(b"null")),
            (_, Wanted::Value(_)) | (Returns::Value(_) | Returns::Row(_), _) if is_empty => {
                Ok(Bytes::from_static(b"null"))
            }
            (_, Wanted::Value(_)) | (Returns::Value(_), _) => answer::first_value(&rows),
            (Returns::Row(_), _) => Ok(rows),
            (Returns::Table(_) | Returns::Cursors | Returns::Unknown, _) => {
                let outcome = Outcome {
                    sets: vec![rows],
                    out: None,
                };
                Ok(answer::plain(&outcome, asked.wrapper.as_deref(), &[]))
            }
        }
    }

    /// What came of a procedure, or of a function that gives cursors.
    async fn results(&self, job: &Job) -> Result<Bytes> {
        let asked = &job.asked;
        let first = match asked.wanted {
            Wanted::Value(shown) if !asked.is_full => Some(shown),
            _ => None,
        };
        let results = Results::new(&self.options, asked.shown_as.clone(), first);
        let outcome = async {
            let mut transaction = if job.is_reading {
                self.database.begin_reading().await?
            } else {
                self.database.begin().await?
            };
            let outcome = transaction.call_routine(&job.call, results).await?;
            transaction.commit().await?;
            Ok(outcome)
        };
        let outcome = outcome.await.map_err(|error| in_routine(error, job));
        let outcome = self.noticed(outcome)?;
        if asked.is_full {
            return Ok(answer::full(&outcome));
        }
        if first.is_some() {
            return answer::value(&outcome);
        }
        let outputs = output_names(&job.call.routine);
        Ok(answer::plain(&outcome, asked.wrapper.as_deref(), &outputs))
    }
}

impl Job {
    /// Whether the rows can go to the caller as they come: nothing around them depends on all of them, and nothing is
    /// written that a reader who goes away would undo.
    fn streams(&self) -> bool {
        self.is_reading
            && self.call.routine.kind == RoutineKind::Function
            && matches!(self.call.routine.returns, Returns::Table(_))
            && self.asked.wrapper.is_none()
            && self.asked.wanted == Wanted::Everything
            && !self.asked.is_full
    }

    /// How the rows of a function are written.
    fn shape(
        &self,
        options: &super::options::DatabaseOptions,
        frame: Frame,
        format: Format,
    ) -> Shape {
        let routine = &self.call.routine;
        let columns: &[Column] = match &routine.returns {
            Returns::Nothing | Returns::Cursors | Returns::Unknown => &[],
            Returns::Value(column) => std::slice::from_ref(column),
            Returns::Row(columns) | Returns::Table(columns) => columns,
        };
        let names = columns.iter().map(|column| column.name.clone()).collect();
        let mut shape = Shape::new(names, frame, format);
        shape.numbers = options.numbers;
        shape.datetimes = options.datetimes;
        shape.narrow = columns
            .iter()
            .enumerate()
            .filter(|(_, column)| matches!(column.kind, Type::SmallInt | Type::Integer))
            .map(|(index, _)| index)
            .collect();
        shape.shown_as = shown_columns(&shape.names, &self.asked.shown_as);
        if let Wanted::Value(shown) = self.asked.wanted
            && !self.asked.is_full
        {
            shape.visible = shape.visible.min(1);
            shape.page = Some(1);
            shape.shown_as.retain(|(column, _)| *column != 0);
            shape.shown_as.push((0, shown));
        }
        shape
    }

    fn reply(&self, document: &Bytes) -> Result<Reply> {
        let body = if self.format == Format::Json {
            document.clone()
        } else {
            let text = std::str::from_utf8(document)
                .map_err(|error| Error::internal("an answer is not UTF-8").with_source(error))?;
            self.format.write_json(text)?
        };
        let reply = Reply::ok(self.format.content_type(), Body::Bytes(body));
        Ok(offered(reply, self.disposition.clone()))
    }
}

fn offered(reply: Reply, disposition: Option<HeaderValue>) -> Reply {
    match disposition {
        Some(value) => reply.with_header(CONTENT_DISPOSITION, value),
        None => reply,
    }
}

/// The verbs with which the caller may call a routine. A grant with a filter or a list of columns calls none: nobody can
/// hold a routine to them.
pub(super) fn routine_verbs(access: &Access, kind: RoutineKind, name: &str) -> Verbs {
    let component = component_of(kind.family(), name);
    let mut verbs = access.verbs(&component);
    for method in [Method::GET, Method::POST] {
        if let Ok(grant) = access.of(&component, &method)
            && is_conditional(&grant)
        {
            verbs = verbs.without(Verbs::of(&method));
        }
    }
    if verbs.overlap(Verbs::of(&Method::GET).union(Verbs::of(&Method::POST))) {
        verbs
    } else {
        Verbs::NONE
    }
}

fn is_conditional(grant: &Grant) -> bool {
    grant.filter.is_some() || grant.fields.is_some()
}

fn refuse_conditions(grant: &Grant, kind: RoutineKind, name: &str) -> Result<()> {
    if !is_conditional(grant) {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::Forbidden,
        format!(
            "this role sees only some records or columns, and {} '{name}' cannot be held to them",
            kind.noun()
        ),
    )
    .with_fact(crate::connector::access::RULE_FACT, grant.position.as_ref()))
}

/// A wrapper that an OUT parameter stands beside cannot have its name.
fn refuse_wrapper(routine: &Routine, asked: &CallRequest) -> Result<()> {
    let Some(wrapper) = &asked.wrapper else {
        return Ok(());
    };
    if output_names(routine).contains(wrapper) {
        return Err(Error::new(
            ErrorKind::InvalidParameter,
            "'wrapper' is the name of a parameter that is answered beside the rows",
        )
        .with_help("choose another name"));
    }
    Ok(())
}

fn output_names(routine: &Routine) -> Vec<String> {
    routine
        .outputs()
        .map(|parameter| parameter.column.name.clone())
        .collect()
}

fn not_with_get(routine: &Routine) -> Error {
    Error::new(
        ErrorKind::MethodNotAllowed,
        format!(
            "{} '{}' may change data, so GET does not call it",
            routine.kind.noun(),
            routine.name
        ),
    )
    .with_help("call it with POST, or declare in the database that it only reads")
    .with_allow(POST_ALONE)
}

/// The error of a call. What the database's own code raised is meant for its caller; a routine that is not there any
/// more was dropped since the catalog was read.
fn in_routine(error: Error, job: &Job) -> Error {
    let routine = &job.call.routine;
    let (kind, noun) = (error.kind(), routine.kind.noun());
    let raised = error
        .facts()
        .iter()
        .find(|(name, _)| *name == RAISED_FACT)
        .map(|(_, words)| words.as_str());
    if let (ErrorKind::RaisedByDatabase, Some(words)) = (kind, raised) {
        let words: String = words
            .chars()
            .take(MAX_RAISED_CHARACTERS)
            .map(|character| {
                if character.is_control() {
                    ' '
                } else {
                    character
                }
            })
            .collect();
        return Error::new(kind, words).with_source(error);
    }
    let would_write =
        |(name, state): &(&'static str, String)| *name == "sqlstate" && state == READ_ONLY_STATE;
    if job.is_reading && error.facts().iter().any(would_write) {
        return not_with_get(routine).with_source(error);
    }
    match kind {
        // Nothing of what was bound can be compared: no routine has these parameters.
        ErrorKind::InvalidParameter | ErrorKind::UnknownTable => Error::new(
            ErrorKind::UnknownTable,
            format!(
                "{noun} '{}', or something that it uses, does not exist any more",
                routine.name
            ),
        )
        .with_source(error),
        ErrorKind::InvalidValue => Error::new(
            kind,
            format!("a value does not fit {noun} '{}'", routine.name),
        )
        .with_source(error),
        _ => error,
    }
}

fn is_listed(overloads: &Overloads, listing: &ListingQuery) -> bool {
    overloads.iter().any(|routine| {
        listing
            .schema
            .as_ref()
            .is_none_or(|schema| routine.schema.as_deref() == Some(schema))
    })
}

/// A line of the list; one for each name.
fn entry(
    name: &str,
    overloads: &Overloads,
    verbs: Verbs,
    listing: &ListingQuery,
) -> Option<Map<String, Value>> {
    let routine = overloads.first()?;
    let mut entry = Map::new();
    entry.insert("name".into(), json!(name));
    if listing.is_full {
        entry.insert("label".into(), json!(label_of(name)));
        entry.insert("description".into(), json!(routine.description));
        entry.insert("native".into(), json!([]));
        entry.insert("is_read_only".into(), json!(routine.is_read_only));
    }
    if listing.include_access || listing.is_full {
        entry.insert("access".into(), verbs.names().collect());
    }
    Some(entry)
}

/// A description (reference 7.1); one for each overload.
fn description(routine: &Routine, verbs: Verbs) -> Map<String, Value> {
    let (return_type, columns): (Value, &[Column]) = match &routine.returns {
        Returns::Nothing => (Value::Null, &[]),
        Returns::Value(column) => (json!(kind_name(&column.kind)), &[]),
        Returns::Row(columns) => (json!("row"), columns),
        Returns::Table(columns) => (json!("table"), columns),
        Returns::Cursors => (json!("ref_cursor"), &[]),
        Returns::Unknown => (json!("table"), &[]),
    };
    let columns: Vec<Value> = columns.iter().map(column_entry).collect();
    let parameters: Vec<Value> = routine
        .parameters
        .iter()
        .enumerate()
        .map(|(index, parameter)| parameter_entry(index, parameter))
        .collect();
    let description = json!({
        "alias": null,
        "name": routine.name,
        "label": label_of(&routine.name),
        "description": routine.description,
        "native": [],
        "return_type": return_type,
        "return_schema": columns,
        "params": parameters,
        "is_read_only": routine.is_read_only,
        "access": verbs.mask(),
    });
    match description {
        Value::Object(members) => members,
        _ => Map::new(),
    }
}

fn column_entry(column: &Column) -> Value {
    json!({
        "name": column.name,
        "type": kind_name(&column.kind),
        "db_type": column.db_type,
        "length": column.length,
        "precision": column.precision,
        "scale": column.scale,
    })
}

fn parameter_entry(index: usize, parameter: &Parameter) -> Value {
    let column = &parameter.column;
    let default = match &column.default {
        None => Value::Null,
        Some(DefaultValue::Literal(value)) => value.clone(),
        Some(DefaultValue::Expression(text)) => json!({ "expression": text }),
    };
    let kind = if parameter.is_cursor {
        "ref_cursor"
    } else {
        kind_name(&column.kind)
    };
    json!({
        "name": column.name,
        "position": index.saturating_add(1),
        "param_type": parameter.direction.name(),
        "type": kind,
        "db_type": column.db_type,
        "length": column.length,
        "precision": column.precision,
        "scale": column.scale,
        "default": default,
    })
}
