//! Records → inserts, updates and deletes.

use std::collections::HashSet;
use std::sync::Arc;

use chrono::{DateTime, Utc};

use serde_json::value::RawValue;

use super::super::catalog::{Column, ColumnSettings, Supplied, Table, Type};
use super::super::convert;
use super::super::options::UnknownMembers;
use super::super::plan::{Bind, Delete, Insert, Output, Selector, Update, Upsert};
use super::super::request::{Fields, Record, RecordsQuery};
use super::super::validation;
use super::super::value::Scalar;
use super::{Planner, Target, condition, key_columns, needs_re_read, nothing_shown};
use crate::connector::access::Grant;
use crate::connector::filter::{Now, TIME_FUNCTIONS};
use crate::error::{Error, ErrorKind, Result};

/// How bulk records are added.
#[derive(Clone, Debug)]
pub struct BulkInsert {
    /// The model of each: its columns are those of the values, and its values mean nothing.
    pub insert: Arc<Insert>,
    /// Which of the values that a record brings are written, in this order.
    pub taken: Vec<usize>,
    /// What the gateway sets by itself in each record, behind them.
    pub supplied: Vec<Scalar>,
}

/// What a record is for.
#[derive(Clone, Copy)]
enum Purpose<'a> {
    /// It is added.
    Create,
    /// It changes the record that these columns tell apart.
    Change {
        /// The columns; they are left as they are.
        key: &'a [usize],
    },
}

impl Purpose<'_> {
    /// Whether a column only says which record is meant.
    fn names_by(self, index: usize) -> bool {
        match self {
            Self::Create => false,
            Self::Change { key } => key.contains(&index),
        }
    }
}

impl Planner<'_> {
    /// One record to be added. With `upsert`, the grant for changing, a record whose key exists is changed instead.
    ///
    /// The record must satisfy the filters of both grants afterwards; the existing one that of `upsert` before.
    pub fn insert(
        &self,
        table: &Arc<Table>,
        grant: &Grant,
        record: &Record,
        query: &RecordsQuery,
        upsert: Option<&Grant>,
    ) -> Result<Insert> {
        let target = Target::new(table, grant);
        writable(table)?;
        let lookups = self.access.lookups();
        let mut values = self.assignments(target, record, Purpose::Create)?;
        let written: Vec<usize> = values.iter().map(|(index, _)| *index).collect();
        self.supply(table, Purpose::Create, &mut values)?;
        require(target, &values)?;
        let mut check = condition::of_role(table, grant, lookups)?;
        let upsert = match upsert {
            None => None,
            Some(change) => {
                check = condition::all([check, condition::of_role(table, change, lookups)?]);
                self.upsert(table, change, &values, &written, query)?
            }
        };
        Ok(Insert {
            table: Arc::clone(table),
            values,
            more: Vec::new(),
            upsert,
            check,
            returning: self.returned(target, query, &written)?,
        })
    }

    /// Changes to the records that a selector names. Columns of the key by which they are named, and columns that the
    /// database numbers, are left as they are.
    pub fn update(
        &self,
        table: &Arc<Table>,
        grant: &Grant,
        record: &Record,
        query: &RecordsQuery,
        selector: &Selector,
    ) -> Result<Update> {
        let target = Target::new(table, grant);
        writable(table)?;
        if matches!(selector, Selector::Query) && query.filter.is_none() {
            return Err(no_selector("changed"));
        }
        let named = self.named(table, grant);
        let key = match selector {
            Selector::Query => Vec::new(),
            Selector::Key | Selector::Keys(_) => key_columns(table, &named, &query.id_field)?,
        };
        let mut set = self.assignments(target, record, Purpose::Change { key: &key })?;
        set.retain(|(index, _)| {
            let column = table.columns.get(*index);
            !key.contains(index) && column.is_some_and(|column| !column.is_auto_increment)
        });
        if set.is_empty() {
            return Err(
                Error::new(ErrorKind::InvalidBody, "the record has no fields to change")
                    .with_help("send at least one field other than the key"),
            );
        }
        let written: Vec<usize> = set.iter().map(|(index, _)| *index).collect();
        self.supply(table, Purpose::Change { key: &key }, &mut set)?;
        Ok(Update {
            table: Arc::clone(table),
            set,
            condition: self.condition(
                Target::new(table, &named),
                &self.filtered(table, grant),
                query,
                selector,
            )?,
            check: condition::of_role(table, grant, self.access.lookups())?,
            returning: self.returned(target, query, &written)?,
        })
    }

    /// The removal of the records that a selector names; of all that the role admits with `force`.
    pub fn delete(
        &self,
        table: &Arc<Table>,
        grant: &Grant,
        query: &RecordsQuery,
        selector: &Selector,
    ) -> Result<Delete> {
        let target = Target::new(table, grant);
        writable(table)?;
        if matches!(selector, Selector::Query) && query.filter.is_none() && !query.force {
            return Err(no_selector("deleted"));
        }
        Ok(Delete {
            table: Arc::clone(table),
            condition: self.condition(
                Target::new(table, &self.named(table, grant)),
                &self.filtered(table, grant),
                query,
                selector,
            )?,
            returning: self.returned(target, query, &[])?,
        })
    }

    /// What a write answers for each record: the key, unless other fields are asked for. Where the answer is read
    /// again, the key is what the gateway needs for it. Where the role may read no column that it may write, it is
    /// told again what it wrote; so is one that may not read the table at all.
    fn returned(
        &self,
        target: Target<'_>,
        query: &RecordsQuery,
        written: &[usize],
    ) -> Result<Vec<Output>> {
        if needs_re_read(query) {
            let named = self.named(target.table, target.grant);
            let key = key_columns(target.table, &named, &query.id_field)?;
            return key.into_iter().map(|index| target.output(index)).collect();
        }
        let mut grant = self.shown(target.table, target.grant);
        if !self.may_read(&target.table.name)
            && let Some(fields) = &mut grant.fields
        {
            // What it wrote and how it named the record are no news to it.
            let mut known = written.to_vec();
            if !query.id_field.is_empty() {
                known.extend(key_columns(target.table, target.grant, &query.id_field)?);
            }
            let columns = known
                .iter()
                .filter_map(|index| target.table.columns.get(*index));
            Arc::make_mut(fields).extend(columns.map(|column| column.name.clone()));
        }
        let shown = Target::new(target.table, &grant);
        let outputs = shown.fields(&query.fields, &Self::written(shown, query)?)?;
        if outputs.is_empty() && query.fields == Fields::Default {
            return written.iter().map(|index| target.output(*index)).collect();
        }
        if outputs.is_empty() {
            return Err(nothing_shown(target));
        }
        Ok(outputs)
    }

    /// The columns that a write shows by default: the key as far as it may be seen, or else everything.
    pub(super) fn written(target: Target<'_>, query: &RecordsQuery) -> Result<Vec<usize>> {
        let mut key = if query.id_field.is_empty() {
            target.table.primary_key.clone()
        } else {
            key_columns(target.table, target.grant, &query.id_field)?
        };
        key.retain(|index| target.columns.admits(*index));
        Ok(if key.is_empty() { target.shown() } else { key })
    }

    fn upsert(
        &self,
        table: &Arc<Table>,
        grant: &Grant,
        values: &[(usize, Bind)],
        written: &[usize],
        query: &RecordsQuery,
    ) -> Result<Option<Upsert>> {
        let mut key = key_columns(table, &self.named(table, grant), &query.id_field)?;
        let is_known = table.enforced_keys().any(|unique| {
            unique.len() == key.len() && unique.iter().all(|index| key.contains(index))
        });
        if !is_known {
            return Err(Error::new(
                ErrorKind::InvalidParameter,
                "the fields of `id_field` are no unique key of the table",
            )
            .with_help("an upsert needs the primary key or the columns of a unique key"));
        }
        key.sort_unstable();
        // Without the key in the record there is nothing that could exist already.
        if !key
            .iter()
            .all(|index| values.iter().any(|(column, _)| column == index))
        {
            return Ok(None);
        }
        let columns = super::names::Columns::admitted(table, grant);
        let mut set = Vec::new();
        for (index, _) in values {
            let column = table.column(*index)?;
            if key.contains(index) || column.is_auto_increment {
                continue;
            }
            let settings = column.settings.as_deref();
            // What the gateway sets at every write it sets here too; its other values are for new records, as are
            // those that only new records may have.
            if settings.is_some_and(|settings| settings.on_update.is_some()) {
                set.push(*index);
                continue;
            }
            if !written.contains(index)
                || settings.is_some_and(|settings| settings.create_only.is_some())
            {
                continue;
            }
            if !columns.admits(*index) {
                return Err(columns.unknown(&column.name));
            }
            set.push(*index);
        }
        Ok(Some(Upsert {
            key,
            set,
            condition: condition::of_role(table, grant, self.access.lookups())?,
        }))
    }

    /// The members of a record as columns and values, held against the rules of the manifest.
    fn assignments(
        &self,
        target: Target<'_>,
        record: &Record,
        purpose: Purpose<'_>,
    ) -> Result<Vec<(usize, Bind)>> {
        let mut values = Vec::with_capacity(record.len());
        let mut seen = HashSet::new();
        for (name, value) in record {
            let Some(index) = self.written_column(target, name, purpose)? else {
                continue;
            };
            let column = target.table.column(index)?;
            if !seen.insert(index) {
                return Err(twice(column));
            }
            let value = self.value(column, value);
            if let Some(value) = admitted(column, value, purpose.names_by(index))? {
                values.push((index, value));
            }
        }
        Ok(values)
    }

    /// The column that a member of a record is written to; none for a member that is dropped.
    fn written_column(
        &self,
        target: Target<'_>,
        name: &str,
        purpose: Purpose<'_>,
    ) -> Result<Option<usize>> {
        let Some(index) = target.columns.position(name) else {
            if self.options.unknown_members == UnknownMembers::Ignore {
                return Ok(None);
            }
            if let Some(relation) = self.readable_relation(target, name) {
                return Err(Error::new(
                    ErrorKind::InvalidBody,
                    format!("relation '{}' can not be written here", relation.name),
                )
                .with_help("related records are written within records that are sent or named by their keys"));
            }
            return Err(target.columns.unknown(name));
        };
        let column = target.table.column(index)?;
        if let Some(settings) = &column.settings
            && !purpose.names_by(index)
            && !may_be_sent(column, settings, purpose)?
        {
            return Ok(None);
        }
        if column.is_generated {
            return Err(Error::new(
                ErrorKind::InvalidValue,
                format!("field '{}' is computed by the database", column.name),
            )
            .with_help("leave it out of the record"));
        }
        Ok(Some(index))
    }

    /// The columns that the values of bulk records are written to, by the names of the values; none for values that
    /// are dropped.
    pub fn bulk_columns<'n>(
        &self,
        table: &Arc<Table>,
        grant: &Grant,
        names: impl IntoIterator<Item = &'n str>,
    ) -> Result<Vec<Option<usize>>> {
        let target = Target::new(table, grant);
        writable(table)?;
        let mut columns = Vec::new();
        for name in names {
            let index = self.written_column(target, name, Purpose::Create)?;
            if let Some(index) = index
                && columns.contains(&Some(index))
            {
                return Err(twice(table.column(index)?));
            }
            columns.push(index);
        }
        Ok(columns)
    }

    /// What adds bulk records that have values for these columns, and answers nothing. With `upsert`, the grant for
    /// changing, records whose key exists are changed instead.
    pub fn bulk_insert(
        &self,
        table: &Arc<Table>,
        grant: &Grant,
        columns: &[usize],
        query: &RecordsQuery,
        upsert: Option<&Grant>,
        now: DateTime<Utc>,
    ) -> Result<BulkInsert> {
        let target = Target::new(table, grant);
        let lookups = self.access.lookups();
        // What stays a place of a key is what each record brings by itself.
        let places = columns.iter().enumerate();
        let mut values: Vec<(usize, Bind)> = places
            .map(|(place, index)| (*index, Bind::Key(place)))
            .collect();
        self.supply(table, Purpose::Create, &mut values)?;
        require(target, &values)?;
        let mut check = condition::of_role(table, grant, lookups)?;
        let upsert = match upsert {
            None => None,
            Some(change) => {
                check = condition::all([check, condition::of_role(table, change, lookups)?]);
                self.upsert(table, change, &values, columns, query)?
            }
        };
        let mut taken = Vec::new();
        let mut supplied = Vec::new();
        for (index, value) in &values {
            match value {
                Bind::Key(place) => taken.push(*place),
                Bind::Value(value) => supplied.push(value.clone()),
                Bind::Now(_) => supplied.push(moment(table.column(*index)?, now)?),
            }
        }
        let insert = Insert {
            table: Arc::clone(table),
            values,
            more: Vec::new(),
            upsert,
            check,
            returning: Vec::new(),
        };
        Ok(BulkInsert {
            insert: Arc::new(insert),
            taken,
            supplied,
        })
    }

    /// A value of a CSV as a value of a column; none where the database gives it. A value without quotes that is empty is
    /// null; in quotes it is an empty text, or null where the column holds no text.
    pub fn bulk_text(
        &self,
        column: &Column,
        text: &str,
        is_quoted: bool,
    ) -> Result<Option<Scalar>> {
        let is_null = text.is_empty()
            && (!is_quoted || column.is_nullable && !convert::holds_text(&column.kind));
        let value = if is_null {
            Scalar::Null
        } else {
            let lookup = text
                .strip_prefix('{')
                .and_then(|text| text.strip_suffix('}'))
                .and_then(|name| self.access.lookups().get(name));
            match convert::from_text(column, lookup.unwrap_or(text)) {
                Ok(value) => value,
                Err(error) => return constant(column, admitted(column, Err(error), false)?),
            }
        };
        constant(column, admitted(column, Ok(Bind::Value(value)), false)?)
    }

    /// A member of a line of NDJSON as a value of a column; none where the database gives it.
    pub fn bulk_json(&self, column: &Column, value: &RawValue) -> Result<Option<Scalar>> {
        constant(column, admitted(column, self.value(column, value), false)?)
    }

    /// Adds what the gateway sets by itself. What the manifest sets at every write goes before what was sent; a lookup
    /// without a value sets nothing.
    fn supply(
        &self,
        table: &Table,
        purpose: Purpose<'_>,
        values: &mut Vec<(usize, Bind)>,
    ) -> Result<()> {
        let Some(of_table) = &table.settings else {
            return Ok(());
        };
        for index in &of_table.set_by_gateway {
            let column = table.column(*index)?;
            let Some(settings) = &column.settings else {
                continue;
            };
            let is_created = matches!(purpose, Purpose::Create);
            let is_sent = values.iter().any(|(sent, _)| sent == index);
            let created = settings.on_create.as_ref().filter(|_| is_created);
            let default = settings.default.as_ref().filter(|_| is_created && !is_sent);
            let supplied = created.or(settings.on_update.as_ref()).or(default);
            let Some(supplied) = supplied.filter(|_| !purpose.names_by(*index)) else {
                continue;
            };
            // What the gateway sets is not the caller's to say, even where there is nothing to set it to.
            values.retain(|(sent, _)| sent != index);
            let value = match supplied {
                Supplied::Constant(value) => Bind::Value(value.clone()),
                Supplied::Now => Bind::Now(condition::now(column, Now::Timestamp)?),
                Supplied::Lookup(name) => match self.access.lookups().get(name) {
                    Some(text) => Bind::Value(convert::from_text(column, text)?),
                    None => continue,
                },
            };
            values.push((*index, value));
        }
        Ok(())
    }

    fn value(&self, column: &Column, value: &RawValue) -> Result<Bind> {
        let is_object = value.get().starts_with('{');
        if is_object && *column.shown_kind() != Type::Json {
            return expression(column, value);
        }
        Ok(Bind::Value(self.looked_up(column, value)?))
    }

    /// A value of a record. A text that is nothing but `{name}`, with a name that has a value, stands for that value.
    pub(super) fn looked_up(&self, column: &Column, value: &RawValue) -> Result<Scalar> {
        let text = value.get();
        if text == "null" {
            return Ok(Scalar::Null);
        }
        let lookup = text
            .strip_prefix("\"{")
            .and_then(|text| text.strip_suffix("}\""))
            .and_then(|name| self.access.lookups().get(name));
        match lookup {
            Some(value) => convert::from_text(column, value),
            None => convert::from_json(column, value),
        }
    }
}

/// The value of a column that may have it; none where it is dropped, or leaving the column out means the same.
fn admitted(column: &Column, value: Result<Bind>, is_key: bool) -> Result<Option<Bind>> {
    let value = match value {
        Ok(value) => value,
        Err(error) if error.kind() == ErrorKind::InvalidValue => {
            validation::refused(column, error)?;
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    if let Bind::Value(value) = &value
        && !is_key
        && !validation::admits(column, value)?
    {
        return Ok(None);
    }
    if value == Bind::Value(Scalar::Null) && !column.is_nullable {
        // NULL asks the database for the next number, as leaving the column out does.
        if column.is_auto_increment {
            return Ok(None);
        }
        return Err(not_null(column));
    }
    Ok(Some(value))
}

/// Bulk records have values alone.
fn constant(column: &Column, value: Option<Bind>) -> Result<Option<Scalar>> {
    match value {
        None => Ok(None),
        Some(Bind::Value(value)) => Ok(Some(value)),
        Some(Bind::Key(_) | Bind::Now(_)) => Err(Error::new(
            ErrorKind::InvalidValue,
            format!(
                "field '{}' can not be an expression in a bulk import",
                column.name
            ),
        )
        .with_help("write the value itself, or leave the field out")),
    }
}

/// The time now, as a text that the column understands.
fn moment(column: &Column, now: DateTime<Utc>) -> Result<Scalar> {
    let form = match column.kind {
        Type::Date => "%Y-%m-%d",
        Type::Time => "%H:%M:%S%.6f",
        Type::DateTime => "%Y-%m-%dT%H:%M:%S%.6f",
        _ => "%Y-%m-%dT%H:%M:%S%.6fZ",
    };
    convert::from_text(column, &now.format(form).to_string())
}

fn twice(column: &Column) -> Error {
    Error::new(
        ErrorKind::InvalidBody,
        format!("field '{}' stands twice in the record", column.name),
    )
}

/// Whether a record may have a column at all; false if it is to be dropped.
fn may_be_sent(column: &Column, settings: &ColumnSettings, purpose: Purpose<'_>) -> Result<bool> {
    if let Some(failure) = &settings.read_only {
        return failure.refuse(column, "is read only");
    }
    match (&settings.create_only, purpose) {
        (Some(failure), Purpose::Change { .. }) => {
            failure.refuse(column, "can only be set during record creation")
        }
        _ => Ok(true),
    }
}

pub(super) fn writable(table: &Table) -> Result<()> {
    if table.is_writable {
        return Ok(());
    }
    let what = if table.is_view { "view" } else { "table" };
    Err(Error::new(
        ErrorKind::MethodNotAllowed,
        format!("{what} '{}' can only be read", table.name),
    )
    .with_allow("GET, HEAD, OPTIONS"))
}

fn no_selector(verb: &str) -> Error {
    Error::new(
        ErrorKind::MissingSelector,
        format!("the request does not say which records are to be {verb}"),
    )
    .with_help("name them by key, by `ids`, by a `filter`, or send records with their keys")
}

fn not_null(column: &Column) -> Error {
    Error::new(
        ErrorKind::NotNullViolation,
        format!("field '{}' can not be null", column.name),
    )
}

/// Refuses a record without a value for a column that must have one.
fn require(target: Target<'_>, values: &[(usize, Bind)]) -> Result<()> {
    let columns = target.table.columns.iter().chain(target.table.hidden());
    for (index, column) in columns.enumerate() {
        let is_filled = column.default.is_some() || column.is_auto_increment || column.is_generated;
        if is_filled || values.iter().any(|(written, _)| *written == index) {
            continue;
        }
        if target.columns.admits(index) {
            validation::admits_absence(column)?;
        }
        if column.is_nullable {
            continue;
        }
        if target.columns.admits(index) {
            return Err(not_null(column).with_help(format!("send a value for '{}'", column.name)));
        }
        return Err(Error::new(
            ErrorKind::NotNullViolation,
            "a field that this role may not write can not be null",
        )
        .with_fact("field", column.name.clone())
        .with_fact("rule", target.grant.position.as_ref()));
    }
    Ok(())
}

/// `{"expression": "NOW()"}`, from a closed list; `NULL` is one of them.
fn expression(column: &Column, value: &RawValue) -> Result<Bind> {
    #[derive(serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Wrapper {
        expression: String,
    }
    let Ok(Wrapper { expression }) = serde_json::from_str(value.get()) else {
        return Err(convert::wrong(column));
    };
    let text = expression.trim();
    let name = text
        .strip_suffix(')')
        .and_then(|text| text.trim_end().strip_suffix('('))
        .unwrap_or(text)
        .trim_end();
    if name.eq_ignore_ascii_case("null") {
        return Ok(Bind::Value(Scalar::Null));
    }
    let known = TIME_FUNCTIONS
        .iter()
        .find(|(known, _)| known.eq_ignore_ascii_case(name));
    let Some((_, now)) = known else {
        return Err(Error::new(
            ErrorKind::InvalidValue,
            format!(
                "the expression for field '{}' is not permitted",
                column.name
            ),
        )
        .with_help("permitted are NOW(), CURRENT_TIMESTAMP, CURRENT_DATE, CURRENT_TIME and NULL"));
    };
    Ok(Bind::Now(condition::now(column, *now)?))
}
