//! Changing tables: what a call wants is parsed and compared with what is there by `schema_change`; here it is permitted,
//! carried out and answered.
//!
//! What a call touches beyond its path is asked of the caller's access: each table that a body names, the new name of one
//! that is renamed, and (by the draft) each table that is referred to.

use std::sync::Arc;

use http::Method;
use http::header::CONTENT_TYPE;
use serde_json::{Map, Value, json};
use tokio::time::timeout_at;

use super::catalog::{Catalog, Column, Table};
use super::catalog_cache::too_slow;
use super::connector::{Asked, DatabaseConnector, grant_for};
use super::listing::GATEWAY_OPTIONS;
use super::operations::component_of;
use super::options::UnknownMembers;
use super::schema::{SchemaView, find_named};
use super::schema_change::{
    Draft, Interrupted, Mode, Naming, SchemaChange, SchemaDialect, Subject, WantedField,
    WantedTable, fields_of, names_of, relations_of, tables_of,
};
use crate::connector::access::Grant;
use crate::error::{Error, ErrorKind, Result, brief, nearest};
use crate::exchange::format::negotiate;
use crate::exchange::query::truth;
use crate::exchange::{Body, CallContext, Format, Query, Reply, RequestHead};

/// What a path below `_schema` names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part<'a> {
    Tables,
    Table,
    Fields,
    Field(&'a str),
    Relations,
    Relation(&'a str),
}

impl<'a> Part<'a> {
    fn of(segments: &'a [String]) -> Result<Self> {
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        Ok(match segments.as_slice() {
            [_] => Self::Tables,
            [_, _] => Self::Table,
            [_, _, "_field"] => Self::Fields,
            [_, _, "_related"] => Self::Relations,
            [_, _, "_related", relation] => Self::Relation(relation),
            [_, _, "_field", field] | [_, _, field] => Self::Field(field),
            _ => return Err(Error::internal("a path of a schema that no operation has")),
        })
    }

    /// Options that a method takes there, besides those of the gateway.
    fn options(self, method: &Method) -> &'static [&'static str] {
        match (self, method) {
            (Self::Tables | Self::Fields | Self::Relations, &Method::DELETE) => &["ids"],
            (_, &Method::DELETE) => &[],
            (Self::Tables, &Method::POST) => &["fields", "check_exist"],
            (Self::Tables | Self::Table, &Method::PUT) => &["fields", "force"],
            _ => &["fields"],
        }
    }
}

/// The options of a change.
#[derive(Default)]
struct ChangeQuery {
    /// `fields`: answer with what is there afterwards instead of names.
    is_full: bool,
    /// `ids`: what is dropped.
    ids: Option<Vec<String>>,
    /// `check_exist`: a table that is there already is an error.
    check_exist: bool,
    /// `force`: fields that are not mentioned go.
    force: bool,
}

impl ChangeQuery {
    fn parse(query: &Query, options: &[&'static str]) -> Result<Self> {
        let mut parsed = Self::default();
        for (name, value) in query.pairs() {
            if GATEWAY_OPTIONS.contains(&name) {
                continue;
            }
            if !options.contains(&name) {
                let error = Error::new(
                    ErrorKind::UnknownParameter,
                    format!("unknown option '{}'", brief(name)),
                );
                return Err(match nearest(name, options.iter().copied()) {
                    Some(near) => error.with_help(format!("did you mean '{near}'?")),
                    None if options.is_empty() => error.with_help("this takes no options"),
                    None => error.with_help(format!("this takes {}", options.join(", "))),
                });
            }
            let flag = || {
                truth(value).ok_or_else(|| {
                    Error::new(
                        ErrorKind::InvalidParameter,
                        format!(
                            "option '{name}' must be true or false, not '{}'",
                            brief(value)
                        ),
                    )
                })
            };
            match name {
                "fields" => parsed.is_full = !matches!(value, "" | "name"),
                "ids" => {
                    let names = value.split(',').map(str::trim);
                    let names = names.filter(|name| !name.is_empty()).map(str::to_owned);
                    parsed.ids = Some(names.collect());
                }
                "check_exist" => parsed.check_exist = flag()?,
                _ => parsed.force = flag()?,
            }
        }
        Ok(parsed)
    }
}

/// What a change is answered with, when it is made.
enum Outcome {
    /// These tables, by their names.
    Tables(Vec<String>),
    /// This table.
    Table(String),
    /// These fields of a table, and whether the path names the one.
    Fields(String, Vec<String>, bool),
    /// The relations of a table that belong to these fields.
    Relations(String, Vec<Vec<String>>, bool),
    /// These tables are gone.
    Dropped(Vec<String>),
    /// What the path names is gone.
    Done,
}

/// A change on its way from its request to its statements.
struct Plan<'a> {
    call: &'a Asked,
    /// The tables as the database has them.
    own: &'a Catalog,
    /// The tables as callers see them.
    served: &'a Catalog,
    dialect: &'a dyn SchemaDialect,
    naming: Naming,
    query: ChangeQuery,
}

impl DatabaseConnector {
    /// POST, PUT, PATCH and DELETE below `_schema`.
    pub(super) async fn write_schema(
        &self,
        context: &CallContext,
        call: &Asked,
        body: Body,
    ) -> Result<Reply> {
        let query = Query::parse(call.head.query())?;
        let part = Part::of(call.component.segments())?;
        let asked = ChangeQuery::parse(&query, part.options(&call.head.method))?;
        let format = negotiate(&call.head, &query, Format::ALL)?;
        is_json(&call.head)?;
        let bytes = body.collect(call.limits.max_body_bytes).await?;
        let dialect = self.database.schema_dialect().ok_or_else(|| {
            Error::new(
                ErrorKind::NotImplemented,
                "the tables of this database are not changed through the gateway",
            )
        })?;
        let is_full = asked.is_full;
        // What is compared must be what is there now, whatever the manifest calls it.
        let own = timeout_at(context.deadline.into(), self.database.catalog())
            .await
            .map_err(|_elapsed| too_slow())??;
        let served = own.clone().with(&self.options.table).catalog;
        let plan = Plan {
            call,
            own: &own,
            served: &served,
            dialect,
            naming: Naming {
                verb: match call.head.method {
                    Method::POST => "create",
                    Method::DELETE => "delete",
                    _ => "update",
                },
                is_lenient: self.options.unknown_members == UnknownMembers::Ignore,
            },
            query: asked,
        };
        let (changes, outcome) = plan.changes(part, &bytes)?;
        if !changes.is_empty() {
            let made = self.database.change_schema(&changes).await;
            // Whatever was done is known to the very next call.
            let known = self.fresh_catalog(context.deadline).await;
            made.map_err(|interrupted| half_way(&changes, interrupted))?;
            known.map_err(|error| {
                error.with_help(
                    "the change was made; the gateway could not read the tables anew yet",
                )
            })?;
        }
        let catalog = self.catalog(context.deadline).await?;
        Reply::document(format, &answer(call, &catalog, outcome, is_full)?)
    }
}

/// A body is JSON, or does not say what it is.
fn is_json(head: &RequestHead) -> Result<()> {
    let content_type = head.header(&CONTENT_TYPE).unwrap_or_default();
    let media_type = content_type.split(';').next().unwrap_or_default().trim();
    let media_type = media_type.to_ascii_lowercase();
    if matches!(media_type.as_str(), "" | "text/plain") || media_type.ends_with("json") {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::UnsupportedMediaType,
        format!(
            "a body of the media type `{}` says nothing of tables",
            brief(&media_type)
        ),
    )
    .with_help("send application/json"))
}

/// The error of changes that failed, with what was done and stays.
fn half_way(changes: &[SchemaChange], interrupted: Interrupted) -> Error {
    let Interrupted { kept, error } = interrupted;
    if kept == 0 {
        return error;
    }
    let done: Vec<String> = (changes.iter().take(kept))
        .map(ToString::to_string)
        .collect();
    let mut details = error.details().cloned().unwrap_or_default();
    details.insert("done".to_owned(), json!(done));
    error
        .with_help(
            "this database keeps every change by itself: `context.done` lists what was done before the failure and stays",
        )
        .with_details(details)
}

impl Plan<'_> {
    fn view(&self) -> SchemaView<'_> {
        SchemaView {
            catalog: self.served,
            access: &self.call.access,
        }
    }

    /// A table as callers see it, by its name in the database.
    fn table(&self, name: &str) -> Result<&Arc<Table>> {
        self.served.described(name, |name| {
            let component = component_of("_schema", name);
            !self.call.access.verbs(&component).is_empty()
        })
    }

    fn subject_of(&self, served: &Arc<Table>, grant: Grant) -> Result<Subject> {
        Ok(Subject {
            table: Arc::clone(self.own.get(served.own_name())?),
            served: Arc::clone(served),
            grant,
        })
    }

    /// The table in the path.
    fn subject(&self) -> Result<Subject> {
        let table = self.table(self.call.parameters.get("table")?)?;
        let grant = grant_for(self.call, "_schema", table)?;
        self.subject_of(table, grant)
    }

    /// The grant for a table that a body names.
    fn grant(&self, name: &str) -> Result<Grant> {
        let component = component_of("_schema", name);
        let grant = self.call.access.of(&component, &self.call.head.method)?;
        Ok(grant.and(&self.call.grant))
    }

    fn named(&self, name: &str) -> Result<Subject> {
        let table = self.table(name)?;
        let grant = self.grant(table.own_name())?;
        self.subject_of(table, grant)
    }

    fn mode(&self) -> Mode {
        if self.call.head.method == Method::PUT {
            Mode::Replace {
                force: self.query.force,
            }
        } else {
            Mode::Merge
        }
    }

    fn changes(self, part: Part<'_>, bytes: &[u8]) -> Result<(Vec<SchemaChange>, Outcome)> {
        let mut draft = Draft::new(self.own, self.view(), self.dialect);
        let outcome = match (part, &self.call.head.method) {
            (_, &Method::DELETE) => self.drop(part, bytes, &mut draft)?,
            (Part::Tables, _) => self.tables(bytes, &mut draft)?,
            (Part::Table, _) => {
                let subject = self.subject()?;
                let mut wanted = only(tables_of(bytes, self.naming, true)?)?;
                agrees(&mut wanted.name, &subject.table.name, "table")?;
                Outcome::Table(self.change(&mut draft, &subject, &wanted)?)
            }
            (Part::Fields, _) => {
                let subject = self.subject()?;
                let fields = fields_of(bytes, self.naming, false)?;
                draft.fields(&subject, &fields)?;
                Outcome::Fields(subject.table.name.clone(), final_names(&fields), false)
            }
            (Part::Field(name), _) => {
                let subject = self.subject()?;
                let mut field = only(fields_of(bytes, self.naming, true)?)?;
                agrees(&mut field.name, name, "field")?;
                let fields = [field];
                draft.fields(&subject, &fields)?;
                Outcome::Fields(subject.table.name.clone(), final_names(&fields), true)
            }
            (Part::Relations | Part::Relation(_), _) => {
                let subject = self.subject()?;
                let is_one = matches!(part, Part::Relation(_));
                let mut columns = Vec::new();
                for mut relation in relations_of(bytes, self.naming, is_one)? {
                    if let Part::Relation(name) = part {
                        agrees(&mut relation.name, name, "relation")?;
                    }
                    draft.relation(&subject, &relation)?;
                    columns.push(relation.fields);
                }
                Outcome::Relations(subject.table.name.clone(), columns, is_one)
            }
        };
        Ok((draft.finish(), outcome))
    }

    /// Tables of a body: those that are there are changed, others are made by POST.
    fn tables(&self, bytes: &[u8], draft: &mut Draft<'_>) -> Result<Outcome> {
        let wanted = tables_of(bytes, self.naming, false)?;
        let may_create = self.call.head.method == Method::POST;
        let mut names = Vec::new();
        let mut present = Vec::new();
        let mut absent: Vec<(&WantedTable, Grant)> = Vec::new();
        for table in &wanted {
            let name = table.name.as_deref().unwrap_or_default();
            if name.trim().is_empty() {
                return Err(Error::new(
                    ErrorKind::InvalidBody,
                    "table schema received does not have a valid name",
                )
                .with_help("write 'name'"));
            }
            let known = self.table(name);
            match known {
                Ok(_) if may_create && self.query.check_exist => {
                    // Only who may make it is told that it is there.
                    self.named(name)?;
                    return Err(Error::new(
                        ErrorKind::SchemaConflict,
                        format!("table '{}' already exists", brief(name)),
                    )
                    .with_help("leave check_exist out to add to it, or send PATCH"));
                }
                Ok(_) => {
                    let subject = self.named(name)?;
                    if names.contains(&subject.table.name) {
                        return Err(Error::new(
                            ErrorKind::InvalidBody,
                            format!("the request names the table '{}' twice", brief(name)),
                        ));
                    }
                    names.push(subject.table.name.clone());
                    present.push((subject, table));
                }
                Err(_) if may_create => {
                    let name = draft.name_of(name);
                    absent.push((table, self.grant(&name)?));
                    names.push(name);
                }
                Err(unknown) => return Err(unknown.with_help("POST _schema makes new tables")),
            }
        }
        draft.create(&absent)?;
        for (subject, table) in present {
            let before = subject.table.name.clone();
            let after = self.change(draft, &subject, table)?;
            for name in &mut names {
                if *name == before {
                    name.clone_from(&after);
                }
            }
        }
        Ok(Outcome::Tables(names))
    }

    /// Changes one table; gives the name that it has then.
    fn change(
        &self,
        draft: &mut Draft<'_>,
        subject: &Subject,
        wanted: &WantedTable,
    ) -> Result<String> {
        let name = match wanted.new_name() {
            Some(name) => {
                let name = draft.name_of(name);
                self.grant(&name)?;
                name
            }
            None => subject.table.name.clone(),
        };
        draft.change(subject, wanted, self.mode())?;
        Ok(name)
    }

    fn drop(&self, part: Part<'_>, bytes: &[u8], draft: &mut Draft<'_>) -> Result<Outcome> {
        let listed = |bytes: &[u8]| -> Result<Vec<String>> {
            let names = match &self.query.ids {
                Some(ids) => ids.clone(),
                None => names_of(bytes, self.naming)?,
            };
            if names.is_empty() {
                return Err(Error::new(
                    ErrorKind::MissingSelector,
                    "no data in schema delete request",
                )
                .with_help("name what is to go: ?ids=a,b"));
            }
            Ok(names)
        };
        Ok(match part {
            Part::Tables => {
                let mut subjects: Vec<Subject> = Vec::new();
                for name in listed(bytes)? {
                    let subject = self.named(&name)?;
                    let is_met = |known: &Subject| known.table.name == subject.table.name;
                    if !subjects.iter().any(is_met) {
                        subjects.push(subject);
                    }
                }
                draft.drop_tables(&subjects)?;
                let names = subjects.iter().map(|subject| subject.table.name.clone());
                Outcome::Dropped(names.collect())
            }
            Part::Table => {
                draft.drop_tables(&[self.subject()?])?;
                Outcome::Done
            }
            Part::Fields => {
                draft.drop_fields(&self.subject()?, &listed(bytes)?)?;
                Outcome::Done
            }
            Part::Field(name) => {
                draft.drop_fields(&self.subject()?, &[name.to_owned()])?;
                Outcome::Done
            }
            Part::Relations => {
                let subject = self.subject()?;
                for name in listed(bytes)? {
                    draft.drop_relation(&subject, &name)?;
                }
                Outcome::Done
            }
            Part::Relation(name) => {
                draft.drop_relation(&self.subject()?, name)?;
                Outcome::Done
            }
        })
    }
}

fn only<T>(list: Vec<T>) -> Result<T> {
    let first = list.into_iter().next();
    first.ok_or_else(|| Error::internal("a body of one thing had none"))
}

/// Takes the name of the path for that of the body, which may say it again and nothing else.
fn agrees(name: &mut Option<String>, path: &str, what: &str) -> Result<()> {
    match name {
        Some(said) if !said.eq_ignore_ascii_case(path) => Err(Error::new(
            ErrorKind::InvalidBody,
            format!(
                "the path names the {what} '{}', the body '{}'",
                brief(path),
                brief(said)
            ),
        )
        .with_help("another name is given by 'new_name'")),
        _ => {
            *name = Some(path.to_owned());
            Ok(())
        }
    }
}

/// The names that fields have when all is done.
fn final_names(fields: &[WantedField]) -> Vec<String> {
    let names = fields.iter().filter_map(WantedField::final_name);
    names.map(str::to_owned).collect()
}

fn name_entry(name: &str) -> Value {
    json!({ "name": name })
}

/// The answer of a change that was made. What is described is what the caller may read.
fn answer(call: &Asked, catalog: &Catalog, outcome: Outcome, is_full: bool) -> Result<Value> {
    let view = SchemaView {
        catalog,
        access: &call.access,
    };
    let readable = |name: &str| -> Option<(&Arc<Table>, Grant)> {
        let table = catalog
            .described(name, |_| false)
            .ok()
            .filter(|_| is_full)?;
        let component = component_of("_schema", table.own_name());
        let grant = call.access.of(&component, &Method::GET).ok()?;
        Some((table, grant))
    };
    let table = |name: &str| match readable(name) {
        Some((table, grant)) => view.table(table, Some(&grant)),
        None => name_entry(name),
    };
    let list = |list: Vec<Value>| json!({ "resource": list });
    Ok(match outcome {
        Outcome::Tables(names) => list(names.iter().map(|name| table(name)).collect()),
        Outcome::Table(name) => table(&name),
        Outcome::Fields(name, fields, is_one) => {
            let described = readable(&name).map(|(table, grant)| view.fields(table, Some(&grant)));
            let mut entries = fields.iter().map(|field| {
                let known = described.iter().flatten();
                let mut known = known
                    .filter(|(known, _)| known.eq_ignore_ascii_case(field))
                    .map(|(_, value)| value.clone());
                known.next().unwrap_or_else(|| name_entry(field))
            });
            if is_one {
                entries.next().unwrap_or(Value::Null)
            } else {
                list(entries.collect())
            }
        }
        Outcome::Relations(name, columns, is_one) => {
            let found = catalog.described(&name, |_| false)?;
            let component = component_of("_schema", found.own_name());
            let grant = call.access.of(&component, &Method::GET).ok();
            let described = view.relations(found, grant.as_ref());
            let mut entries = columns.iter().filter_map(|columns| {
                let relation = found.relations.iter().find(|relation| {
                    let names = relation
                        .columns
                        .iter()
                        .filter_map(|index| found.columns.get(*index).map(Column::own_name));
                    relation.kind == super::catalog::RelationKind::BelongsTo
                        && names
                            .zip(columns)
                            .all(|(name, wanted)| name.eq_ignore_ascii_case(wanted))
                        && relation.columns.len() == columns.len()
                })?;
                let name = relation.own_name.as_deref().unwrap_or(&relation.name);
                if is_full {
                    let what = ErrorKind::UnknownResource;
                    return find_named(&described, name, what, "relation", found).ok();
                }
                Some(name_entry(name))
            });
            if is_one {
                entries.next().unwrap_or_else(|| Value::Object(Map::new()))
            } else {
                list(entries.collect())
            }
        }
        Outcome::Dropped(names) => list(names.iter().map(|name| name_entry(name)).collect()),
        Outcome::Done => json!({ "success": true }),
    })
}
