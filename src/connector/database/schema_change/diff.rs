//! What is wanted, compared with what is there: the changes between the two, each permitted to the caller.

use std::collections::HashSet;
use std::sync::Arc;

use http::Method;
use indexmap::IndexMap;
use serde_json::{Map, Value};

use super::request::{
    LONGEST, Meaning, WantedField, WantedIndex, WantedRelation, WantedTable, default, in_manifest,
};
use super::{
    Alteration, ColumnType, NameLimit, NewColumn, NewDefault, NewForeignKey, NewIndex, NewTable,
    SchemaChange, SchemaDialect, Size, TableName, Text,
};
use crate::connector::access::Grant;
use crate::connector::database::catalog::{Catalog, Column, ForeignKey, IndexOrigin, Table, Type};
use crate::connector::database::operations::component_of;
use crate::connector::database::schema::{SchemaView, label_of, plural_of};
use crate::connector::filter::Now;
use crate::error::{Error, ErrorKind, Result, brief, nearest};

/// What becomes of what is there and not mentioned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Mode {
    /// It stays.
    Merge,
    /// Fields go, if that is said by `force`.
    Replace {
        /// Whether it is said.
        force: bool,
    },
}

/// A table that is there, and what the caller may change of it.
#[derive(Clone)]
pub(in super::super) struct Subject {
    /// As the database has it.
    pub(in super::super) table: Arc<Table>,
    /// As callers see it: with the names of the manifest, and without what that hides.
    pub(in super::super) served: Arc<Table>,
    pub(in super::super) grant: Grant,
}

/// Changes in the making.
pub(in super::super) struct Draft<'a> {
    /// The tables as the database has them.
    catalog: &'a Catalog,
    /// The tables as the caller sees them.
    view: SchemaView<'a>,
    dialect: &'a dyn SchemaDialect,
    changes: Vec<SchemaChange>,
    /// Names of indexes and foreign keys that are taken, in lower case.
    taken: HashSet<String>,
    /// Tables that this request makes, by the names that callers write.
    made: IndexMap<String, Made>,
}

/// A table that the request makes, as far as others can refer to it.
struct Made {
    name: TableName,
    columns: Vec<(String, Option<ColumnType>)>,
    primary_key: Vec<String>,
}

fn invalid(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidBody, message.into())
}

fn conflict(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::SchemaConflict, message.into())
}

/// That the product keeps no comments.
pub(super) fn no_comments(name: &str) -> Error {
    invalid(format!(
        "this database keeps no description of '{}'",
        brief(name)
    ))
    .with_help("write it into the manifest, below [service.NAME.config.table.TABLE]")
}

/// The type of a column that is there, for one that refers to it or keeps a part of it; none for what has no simple type.
pub(super) fn kind_of(column: &Column) -> Option<ColumnType> {
    Some(match &column.kind {
        Type::Boolean => ColumnType::Boolean,
        Type::SmallInt => ColumnType::SmallInt,
        Type::Integer => ColumnType::Integer,
        Type::BigInt => ColumnType::BigInt,
        Type::Decimal => ColumnType::Decimal(
            column
                .precision
                .map(|digits| (digits, column.scale.unwrap_or(0))),
        ),
        Type::Money => ColumnType::Money,
        Type::Float => ColumnType::Float,
        Type::Double => ColumnType::Double,
        Type::String => ColumnType::String(Text {
            length: column.length,
            is_fixed: column.is_fixed_length(),
            is_multibyte: column.is_national(),
        }),
        Type::Text => ColumnType::Text(Size::Plain),
        Type::Uuid => ColumnType::Uuid,
        Type::Binary => ColumnType::Binary(column.length),
        Type::Json => ColumnType::Json,
        Type::Date => ColumnType::Date,
        Type::Time => ColumnType::Time,
        Type::TimeTz => ColumnType::TimeTz,
        Type::DateTime => ColumnType::DateTime,
        Type::TimestampTz => ColumnType::TimestampTz,
        Type::Array(_) | Type::Other => return None,
    })
}

/// The order in which changes are carried out: what stands in the way goes first, names change last.
fn phase(change: &SchemaChange) -> u8 {
    match change {
        SchemaChange::DropForeignKey(..) => 0,
        SchemaChange::DropIndex(..) => 1,
        SchemaChange::CreateTable(_) => 2,
        SchemaChange::DropColumn(..) => 3,
        SchemaChange::AlterColumn(..) => 4,
        SchemaChange::AddColumn(..) => 5,
        SchemaChange::CreateIndex(..) => 6,
        SchemaChange::AddForeignKey(..) => 7,
        SchemaChange::Describe(..) => 8,
        SchemaChange::DropTable(_) => 9,
        SchemaChange::RenameColumn(..) => 10,
        SchemaChange::RenameTable(..) => 11,
    }
}

impl<'a> Draft<'a> {
    pub(in super::super) fn new(
        catalog: &'a Catalog,
        view: SchemaView<'a>,
        dialect: &'a dyn SchemaDialect,
    ) -> Self {
        let taken = catalog.tables().flat_map(|table| {
            let indexes = table.indexes.iter().map(|index| &index.name);
            let keys = table.foreign_keys.iter().map(|key| &key.name);
            indexes
                .chain(keys)
                .map(|name| name.to_ascii_lowercase())
                .collect::<Vec<_>>()
        });
        Self {
            taken: taken.collect(),
            catalog,
            view,
            dialect,
            changes: Vec::new(),
            made: IndexMap::new(),
        }
    }

    /// Drops a foreign key; its name is free for another one then.
    fn drop_key(&mut self, table: TableName, name: &str) {
        self.taken.remove(&name.to_ascii_lowercase());
        self.changes
            .push(SchemaChange::DropForeignKey(table, name.to_owned()));
    }

    /// The changes in the order in which they are carried out.
    pub(in super::super) fn finish(mut self) -> Vec<SchemaChange> {
        self.changes.sort_by_key(phase);
        self.changes
    }

    /// A name that the database takes.
    fn checked(&self, name: &str, what: &str) -> Result<()> {
        let limit: NameLimit = self.dialect.longest_name();
        if name.trim().is_empty() {
            return Err(invalid(format!("the name of {what} can not be empty")));
        }
        if name.contains('\0') {
            return Err(invalid(format!("the name of {what} has a NUL character")));
        }
        if !limit.admits(name) {
            return Err(
                invalid(format!("the name of {what} is too long: '{}'", brief(name)))
                    .with_help(format!("names have at most {limit} here")),
            );
        }
        match self.dialect.refuses_name(name) {
            None => Ok(()),
            Some(why) => Err(invalid(format!(
                "the database does not take the name '{}' of {what}",
                brief(name)
            ))
            .with_help(why)),
        }
    }

    /// A name for an index or a key, cut to what the database takes, that nothing else has.
    fn free_name(&mut self, prefix: &str, table: &TableName, columns: &[String]) -> String {
        let whole = format!("{prefix}_{}_{}", table.native, columns.join("_"));
        let limit = self.dialect.longest_name();
        let mut name = limit.cut(&whole, 0).to_owned();
        let mut number = 2_u32;
        while self.taken.contains(&name.to_ascii_lowercase()) {
            let tail = format!("_{number}");
            name = format!("{}{tail}", limit.cut(&whole, tail.len()));
            number = number.saturating_add(1);
        }
        self.taken.insert(name.to_ascii_lowercase());
        name
    }

    /// Where a new table of this name is made: `sales.todo` in the schema `sales` if the service shows one.
    fn place(&self, name: &str) -> TableName {
        let schemas = self.catalog.schemas();
        if self.dialect.has_schemas()
            && let Some((schema, native)) = name.split_once('.')
            && schemas.names.iter().any(|known| known == schema)
        {
            return TableName {
                schema: Some(schema.to_owned()),
                native: native.to_owned(),
            };
        }
        TableName {
            schema: schemas.home.clone(),
            native: name.to_owned(),
        }
    }

    /// What a new table of this name is called then.
    pub(in super::super) fn name_of(&self, name: &str) -> String {
        let place = self.place(name);
        match &place.schema {
            Some(schema) if place.schema != self.catalog.schemas().home => {
                format!("{schema}.{}", place.native)
            }
            _ => place.native,
        }
    }

    /// Makes tables. All of them are known to each other's references.
    pub(in super::super) fn create(&mut self, tables: &[(&WantedTable, Grant)]) -> Result<()> {
        for (wanted, _) in tables {
            let name = wanted.name.as_deref().unwrap_or_default();
            let place = self.place(name);
            self.checked(&place.native, "a table")?;
            let mut columns = Vec::new();
            for field in &wanted.fields {
                let kind = field.kind.as_ref().and_then(|kind| match &kind.meaning {
                    Meaning::Plain(kind) | Meaning::Key(kind) => Some(kind.clone()),
                    Meaning::Reference | Meaning::CreatedAt | Meaning::UpdatedAt => None,
                });
                let kind = match kind {
                    Some(kind) => Some(sized(kind, field, None)?),
                    None => None,
                };
                columns.push((field.name.clone().unwrap_or_default(), kind));
            }
            let made = Made {
                name: place,
                columns,
                primary_key: primary_key(wanted)?,
            };
            if self.made.insert(name.to_owned(), made).is_some() {
                return Err(invalid(format!(
                    "table '{}' is made twice in one request",
                    brief(name)
                )));
            }
        }
        for (wanted, grant) in tables {
            self.create_one(wanted, grant)?;
        }
        Ok(())
    }

    fn create_one(&mut self, wanted: &WantedTable, grant: &Grant) -> Result<()> {
        let name = wanted.name.as_deref().unwrap_or_default();
        let place = self.place(name);
        if wanted.new_name.is_some() {
            return Err(invalid(format!(
                "table '{}' is made here and has no other name yet",
                brief(name)
            )));
        }
        let label = label_of(name);
        let told = |member: &str, value: &Value| {
            (member == "label" && value == label.as_str())
                || (member == "plural" && *value == plural_of(&label))
        };
        check_told(
            &wanted.told,
            None,
            told,
            &format!("table '{}'", brief(name)),
        )?;
        if wanted.fields.is_empty() {
            return Err(invalid(format!("table '{}' has no fields", brief(name)))
                .with_help("write them into 'field': [{\"name\": \"id\", \"type\": \"id\"}, …]"));
        }
        let primary_key = primary_key(wanted)?;
        let mut columns: Vec<NewColumn> = Vec::new();
        let mut foreign_keys = Vec::new();
        for field in &wanted.fields {
            let column = self.new_column(&place, field, grant, &primary_key)?;
            if columns
                .iter()
                .any(|other| other.name.eq_ignore_ascii_case(&column.name))
            {
                return Err(invalid(format!(
                    "table '{}' has the field '{}' twice",
                    brief(name),
                    brief(&column.name)
                )));
            }
            if let Some(key) = self.wanted_key(&place, name, field)? {
                foreign_keys.push(key);
            }
            columns.push(column);
        }
        let names: Vec<String> = columns.iter().map(|column| column.name.clone()).collect();
        let created = self.changes.len();
        for (field, column) in wanted.fields.iter().zip(&columns) {
            self.wanted_indexes(&place, field, &column.name, false, &primary_key);
        }
        for index in &wanted.indexes {
            self.new_index(&place, index, &names)?;
        }
        if wanted.description.is_some() && !self.dialect.has_comments() {
            return Err(no_comments(name));
        }
        let mut table = NewTable {
            name: place.clone(),
            columns,
            primary_key,
            foreign_keys: Vec::new(),
            description: wanted.description.clone(),
        };
        if self.dialect.keys_are_inline() {
            table.foreign_keys = foreign_keys;
        } else {
            let keys = foreign_keys.into_iter();
            self.changes
                .extend(keys.map(|key| SchemaChange::AddForeignKey(place.clone(), key)));
        }
        self.changes
            .insert(created, SchemaChange::CreateTable(table));
        Ok(())
    }

    /// A column that is not there yet. `primary_key` is that of a new table, empty for one that is there.
    fn new_column(
        &self,
        table: &TableName,
        field: &WantedField,
        grant: &Grant,
        primary_key: &[String],
    ) -> Result<NewColumn> {
        let name = field.name.clone().unwrap_or_default();
        self.checked(&name, "a field")?;
        let what = format!("field '{}'", brief(&name));
        if !grant.admits_field(&name) {
            return Err(outside(&name));
        }
        if field.new_name.is_some() {
            return Err(invalid(format!(
                "{what} is made here and has no other name yet"
            )));
        }
        let label = label_of(&name);
        let told = |member: &str, value: &Value| {
            (member == "label" && value == label.as_str()) || member == "db_type" && value.is_null()
        };
        let mut others = field.told.clone();
        let required = others.shift_remove("required");
        check_told(&others, None, told, &what)?;
        let Some(wanted) = &field.kind else {
            return Err(invalid(format!("{what} is new and has no type"))
                .with_help("write `type`, for instance `string`, or name a field that is there"));
        };
        let is_in_key = primary_key.contains(&name);
        let mut default = match &field.default {
            Some(value) => default(value, &what)?,
            None => None,
        };
        let mut is_numbered = field.is_numbered.unwrap_or(false);
        let mut follows_updates = false;
        let kind = match &wanted.meaning {
            Meaning::Plain(kind) => sized(kind.clone(), field, wanted.dimensions)?,
            Meaning::Key(kind) => {
                is_numbered = true;
                kind.clone()
            }
            Meaning::Reference => self.referred_kind(table, field)?,
            Meaning::CreatedAt | Meaning::UpdatedAt => {
                if wanted.meaning == Meaning::UpdatedAt {
                    if !self.dialect.has_update_time() {
                        return Err(invalid(format!(
                            "this database does not set {what} with every update by itself"
                        ))
                        .with_help("write `datetime`, and send the time with the record"));
                    }
                    follows_updates = true;
                }
                default = default.or(Some(NewDefault::Now(Now::Timestamp)));
                ColumnType::Timestamp
            }
        };
        if is_numbered {
            if !is_in_key || primary_key.len() > 1 {
                return Err(invalid(format!(
                    "{what} is numbered by the database and must be the primary key by itself"
                ))
                .with_help("make the table with it; write `integer` for another field"));
            }
            if !matches!(
                kind,
                ColumnType::TinyInt
                    | ColumnType::SmallInt
                    | ColumnType::MediumInt
                    | ColumnType::Integer
                    | ColumnType::BigInt
            ) {
                return Err(invalid(format!("{what} is numbered and no whole number")));
            }
            if default.is_some() {
                return Err(invalid(format!("{what} is numbered and has no default")));
            }
        }
        if field.is_primary_key == Some(true) && !is_in_key {
            return Err(key_is_fixed(&what));
        }
        let default = match default {
            Some(default) => Some(fitting(default, &kind, &what)?),
            None => None,
        };
        let allows_null = !is_in_key && field.allow_null.unwrap_or(false);
        if is_in_key && field.allow_null == Some(true) {
            return Err(invalid(format!(
                "{what} is a part of the primary key and allows no null"
            )));
        }
        let is_required = !allows_null && default.is_none() && !is_numbered;
        if required.is_some_and(|said| !said.is_null() && said != is_required) {
            return Err(in_manifest("required", &what));
        }
        if field.description.is_some() && !self.dialect.has_comments() {
            return Err(no_comments(&name));
        }
        Ok(NewColumn {
            name,
            kind,
            allows_null,
            default,
            is_numbered,
            follows_updates,
            description: field.description.clone(),
        })
    }

    /// The type of the field that a reference points to.
    fn referred_kind(&self, table: &TableName, field: &WantedField) -> Result<ColumnType> {
        let target = self.target(table, field)?;
        let column = target.columns.first().map(String::as_str);
        let kind = column.and_then(|column| target.kind(column));
        kind.ok_or_else(|| {
            invalid(format!(
                "field '{}' refers to something that nothing can refer to",
                brief(field.name.as_deref().unwrap_or_default())
            ))
        })
    }

    /// What a field refers to; its table and the one column there.
    fn target(&self, table: &TableName, field: &WantedField) -> Result<Target<'_>> {
        let name = field.name.as_deref().unwrap_or_default();
        let Some(Some(ref_table)) = &field.ref_table else {
            return Err(invalid(format!(
                "field '{}' is a reference and names no 'ref_table'",
                brief(name)
            )));
        };
        let columns: Vec<String> = field.ref_field.iter().cloned().collect();
        self.target_of(table, ref_table, &columns, 1)
    }

    /// The table that is referred to, with the columns there: those named, or its primary key.
    fn target_of(
        &self,
        table: &TableName,
        ref_table: &str,
        columns: &[String],
        count: usize,
    ) -> Result<Target<'_>> {
        let made = self.made.get(ref_table).or_else(|| {
            self.made
                .values()
                .find(|made| made.name == *table && made.name.native == ref_table)
        });
        let (place, key, known): (TableName, Vec<String>, Known<'_>) = if let Some(made) = made {
            (
                made.name.clone(),
                made.primary_key.clone(),
                Known::Made(made),
            )
        } else {
            let access = self.view.access;
            let served = self.view.catalog.described(ref_table, |name| {
                !access.verbs(&component_of("_table", name)).is_empty()
            })?;
            // Whoever refers to a table learns of its keys and keeps its records from being removed.
            let grant = access.of(&component_of("_table", &served.name), &Method::GET)?;
            let found = self.catalog.get(served.own_name())?;
            let key = found.primary_key.iter();
            let key: Vec<String> = key
                .filter_map(|index| found.columns.get(*index))
                .map(|column| column.name.clone())
                .collect();
            for name in if columns.is_empty() { &key } else { columns } {
                let is_shown = served.columns.iter().any(|column| {
                    column.own_name().eq_ignore_ascii_case(name) && grant.admits_field(&column.name)
                });
                if !is_shown {
                    return Err(unknown_target(ref_table, name));
                }
            }
            (found.as_ref().into(), key, Known::Present(found))
        };
        let names = if columns.is_empty() {
            key
        } else {
            let mut names = Vec::new();
            for name in columns {
                names.push(
                    known
                        .column(name)
                        .ok_or_else(|| unknown_target(ref_table, name))?,
                );
            }
            names
        };
        if names.len() != count {
            return Err(invalid(format!(
                "a reference to '{}' names as many fields there as it has itself",
                brief(ref_table)
            ))
            .with_help("write 'ref_field'"));
        }
        Ok(Target {
            table: place,
            columns: names,
            known,
        })
    }

    /// The foreign key that a new field asks for.
    fn wanted_key(
        &mut self,
        table: &TableName,
        _name: &str,
        field: &WantedField,
    ) -> Result<Option<NewForeignKey>> {
        let is_reference = field
            .kind
            .as_ref()
            .is_some_and(|kind| kind.meaning == Meaning::Reference);
        let is_wanted = is_reference
            || matches!(field.ref_table, Some(Some(_)))
            || field.is_foreign_key == Some(true);
        if !is_wanted {
            return Ok(None);
        }
        let target = self.target(table, field)?;
        let (target_table, target_columns) = (target.table, target.columns);
        let columns = vec![field.name.clone().unwrap_or_default()];
        Ok(Some(NewForeignKey {
            name: self.free_name("fk", table, &columns),
            columns,
            target: target_table,
            target_columns,
            on_update: field.on_update,
            on_delete: field.on_delete,
        }))
    }

    /// The indexes that a field asks for by `is_unique` and `is_index`.
    fn wanted_indexes(
        &mut self,
        table: &TableName,
        field: &WantedField,
        column: &str,
        is_there: bool,
        primary_key: &[String],
    ) {
        let is_key = primary_key == [column];
        let create = |draft: &mut Self, prefix: &str, is_unique: bool| {
            let columns = vec![column.to_owned()];
            let name = draft.free_name(prefix, table, &columns);
            draft.changes.push(SchemaChange::CreateIndex(
                table.clone(),
                NewIndex {
                    name,
                    columns,
                    is_unique,
                },
            ));
        };
        if is_there || is_key {
            return;
        }
        if field.is_unique == Some(true) {
            create(self, "undx", true);
        } else if field.is_index == Some(true) {
            create(self, "ndx", false);
        }
    }

    /// An index of several columns. `columns` are those of the table.
    fn new_index(
        &mut self,
        table: &TableName,
        index: &WantedIndex,
        columns: &[String],
    ) -> Result<()> {
        let mut names: Vec<String> = Vec::new();
        for wanted in &index.fields {
            let found = columns.iter().find(|column| *column == wanted).or_else(|| {
                columns
                    .iter()
                    .find(|column| column.eq_ignore_ascii_case(wanted))
            });
            let Some(found) = found else {
                return Err(unknown_field(
                    wanted,
                    &table.native,
                    columns.iter().map(String::as_str),
                ));
            };
            if names.contains(found) {
                return Err(invalid(format!(
                    "an index names the field '{}' twice",
                    brief(wanted)
                )));
            }
            names.push(found.clone());
        }
        let name = if let Some(name) = &index.name {
            self.checked(name, "an index")?;
            if !self.taken.insert(name.to_ascii_lowercase()) {
                return Err(conflict(format!(
                    "there is an index or a key '{}' already",
                    brief(name)
                )));
            }
            name.clone()
        } else {
            let prefix = if index.is_unique { "undx" } else { "ndx" };
            self.free_name(prefix, table, &names)
        };
        self.changes.push(SchemaChange::CreateIndex(
            table.clone(),
            NewIndex {
                name,
                columns: names,
                is_unique: index.is_unique,
            },
        ));
        Ok(())
    }

    /// Brings a table that is there to what is wanted. `described` is its description as the caller sees it.
    pub(in super::super) fn change(
        &mut self,
        subject: &Subject,
        wanted: &WantedTable,
        mode: Mode,
    ) -> Result<()> {
        changeable(subject)?;
        let table = &subject.table;
        let described = self.view.table(&subject.served, Some(&subject.grant));
        let described = described.as_object().cloned().unwrap_or_default();
        let what = format!("table '{}'", table.name);
        check_told(&wanted.told, Some(&described), |_, _| false, &what)?;
        if let Some(key) = &wanted.primary_key
            && described.get("primary_key") != Some(&Value::from(key.clone()))
        {
            return Err(key_is_fixed(&what));
        }
        self.fields(subject, &wanted.fields)?;
        if let Mode::Replace { force } = mode {
            self.drop_others(subject, wanted, force)?;
        }
        for index in &wanted.indexes {
            self.index(subject, index, &wanted.fields)?;
        }
        if let Some(text) = &wanted.description
            && described.get("description") != Some(&Value::from(text.as_str()))
            && table.description.as_deref().unwrap_or_default() != text
        {
            if !self.dialect.has_comments() {
                return Err(no_comments(&table.name));
            }
            self.changes.push(SchemaChange::Describe(
                Arc::clone(table),
                None,
                text.clone(),
            ));
        }
        if let Some(to) = &wanted.new_name
            && *to != table.name
            && *to != table.native
        {
            let place = self.place(to);
            self.checked(&place.native, "a table")?;
            let from: TableName = table.as_ref().into();
            if place.schema != from.schema && table.schema.is_some() {
                return Err(invalid(format!("{what} cannot move to another schema")));
            }
            if self.catalog.table(to, |_| false).is_ok() {
                return Err(conflict(format!(
                    "there is a table '{}' already",
                    brief(to)
                )));
            }
            self.changes
                .push(SchemaChange::RenameTable(from, place.native));
        }
        Ok(())
    }

    /// Adds the fields that are not there and changes those that are.
    pub(in super::super) fn fields(
        &mut self,
        subject: &Subject,
        wanted: &[WantedField],
    ) -> Result<()> {
        changeable(subject)?;
        let table = &subject.table;
        let visible: IndexMap<String, Value> = self
            .view
            .fields(&subject.served, Some(&subject.grant))
            .into_iter()
            .collect();
        let mut met: HashSet<String> = HashSet::new();
        for field in wanted {
            let name = field.name.as_deref().unwrap_or_default();
            if !met.insert(name.to_ascii_lowercase()) {
                return Err(invalid(format!(
                    "the request names the field '{}' twice",
                    brief(name)
                )));
            }
            match visible_name(&visible, name) {
                Some((found, described)) => {
                    let index = table.column_index(found);
                    let column = index.and_then(|index| table.columns.get(index));
                    if let Some((column, index)) = column.zip(index) {
                        self.change_field(subject, (column, index), described, field)?;
                    }
                }
                None if field.kind.is_none() => {
                    return Err(unknown_field(
                        name,
                        &table.name,
                        visible.keys().map(String::as_str),
                    ));
                }
                None => self.add_field(subject, field)?,
            }
        }
        Ok(())
    }

    fn add_field(&mut self, subject: &Subject, field: &WantedField) -> Result<()> {
        let place: TableName = subject.table.as_ref().into();
        let name = field.name.as_deref().unwrap_or_default();
        if subject.table.column_index(name).is_some() {
            // It is there, and the caller does not see it.
            return Err(outside(name));
        }
        let column = self.new_column(&place, field, &subject.grant, &[])?;
        let mut key = self.wanted_key(&place, name, field)?;
        if !self.dialect.keys_are_inline()
            && let Some(key) = key.take()
        {
            self.changes
                .push(SchemaChange::AddForeignKey(place.clone(), key));
        }
        self.wanted_indexes(&place, field, &column.name, false, &[]);
        self.changes
            .push(SchemaChange::AddColumn(place, column, key));
        Ok(())
    }

    fn change_field(
        &mut self,
        subject: &Subject,
        (column, index): (&Column, usize),
        described: &Value,
        field: &WantedField,
    ) -> Result<()> {
        let table = &subject.table;
        let place: TableName = table.as_ref().into();
        let what = format!("field '{}' of '{}'", column.name, table.name);
        let told = described.as_object().cloned().unwrap_or_default();
        let is = |member: &str| told.get(member).and_then(Value::as_bool).unwrap_or(false);
        check_told(&field.told, Some(&told), |_, _| false, &what)?;
        for (member, said) in [
            ("is_primary_key", field.is_primary_key),
            ("auto_increment", field.is_numbered),
        ] {
            if said.is_some_and(|said| said != is(member)) {
                return Err(key_is_fixed(&what));
            }
        }
        let mut alteration = Alteration {
            kind: self.other_kind(column, &told, field, &what)?,
            ..Alteration::default()
        };
        if let Some(allows_null) = field.allow_null
            && allows_null != is("allow_null")
            && allows_null != column.is_nullable
        {
            if is("is_primary_key") {
                return Err(invalid(format!(
                    "{what} is a part of the primary key and allows no null"
                )));
            }
            alteration.allows_null = Some(allows_null);
        }
        if let Some(value) = &field.default
            && told.get("default") != Some(value)
        {
            if column.is_auto_increment || column.is_generated {
                return Err(invalid(format!(
                    "{what} is numbered or computed by the database and has no default"
                )));
            }
            let kind = alteration.kind.clone().or_else(|| kind_of(column));
            let kind = kind.unwrap_or(ColumnType::Text(Size::Plain));
            alteration.default = Some(match default(value, &what)? {
                Some(default) => Some(fitting(default, &kind, &what)?),
                None => None,
            });
        }
        if !alteration.is_empty() {
            self.changes.push(SchemaChange::AlterColumn(
                Arc::clone(table),
                column.clone(),
                alteration,
            ));
        }
        // What a description says again is no wish.
        let other = |member: &str, said: Option<bool>| said.filter(|said| *said != is(member));
        let wanted = WantedField {
            is_unique: other("is_unique", field.is_unique),
            is_index: other("is_index", field.is_index),
            ..field.clone()
        };
        self.change_indexes(subject, (column, index), &wanted)?;
        self.change_key(subject, (column, index), &told, field)?;
        if let Some(text) = &field.description
            && told.get("description") != Some(&Value::from(text.as_str()))
            && column.description.as_deref().unwrap_or_default() != text
        {
            if !self.dialect.has_comments() {
                return Err(no_comments(&column.name));
            }
            self.changes.push(SchemaChange::Describe(
                Arc::clone(table),
                Some(column.clone()),
                text.clone(),
            ));
        }
        if let Some(to) = &field.new_name
            && *to != column.name
        {
            self.checked(to, "a field")?;
            if !subject.grant.admits_field(to) {
                return Err(outside(to));
            }
            let is_taken = |other: &Column| {
                other.name == *to
                    || (other.name.eq_ignore_ascii_case(to) && other.name != column.name)
            };
            if table.columns.iter().any(is_taken) {
                return Err(conflict(format!(
                    "table '{}' has a field '{}' already",
                    table.name,
                    brief(to)
                )));
            }
            self.changes.push(SchemaChange::RenameColumn(
                place,
                column.name.clone(),
                to.clone(),
            ));
        }
        Ok(())
    }

    /// The type that a field is to have, if it is another than it has.
    fn other_kind(
        &self,
        column: &Column,
        told: &Map<String, Value>,
        field: &WantedField,
        what: &str,
    ) -> Result<Option<ColumnType>> {
        let shown = |member: &str| told.get(member).and_then(Value::as_u64);
        let differs = |said: Option<u32>, member: &str| {
            said.is_some_and(|said| shown(member) != Some(u64::from(said)))
        };
        let is = |member: &str| told.get(member).and_then(Value::as_bool);
        let has_other_size = differs(field.length, "length")
            || differs(field.precision, "precision")
            || differs(field.scale, "scale")
            || field
                .is_fixed
                .is_some_and(|said| is("fixed_length") != Some(said))
            || field
                .is_multibyte
                .is_some_and(|said| is("supports_multibyte") != Some(said));
        let word = told.get("type").and_then(Value::as_str).unwrap_or_default();
        let kind = match &field.kind {
            Some(wanted) if wanted.word != word => match &wanted.meaning {
                Meaning::Plain(kind) => sized(kind.clone(), field, wanted.dimensions)?,
                // A foreign key is added to it; what it holds stays.
                Meaning::Reference => return Ok(None),
                // One that is numbered already is one, however many bits it has.
                Meaning::Key(_) if is("auto_increment") == Some(true) => return Ok(None),
                Meaning::Key(_) => return Err(key_is_fixed(what)),
                Meaning::CreatedAt | Meaning::UpdatedAt => ColumnType::Timestamp,
            },
            wanted => {
                let dimensions = wanted.as_ref().and_then(|wanted| wanted.dimensions);
                if !has_other_size && dimensions.is_none() {
                    return Ok(None);
                }
                let known = kind_of(column).ok_or_else(|| {
                    invalid(format!(
                        "{what} has the type `{}`, which has no size here",
                        column.db_type
                    ))
                })?;
                sized(known, field, dimensions)?
            }
        };
        if column.is_generated {
            return Err(invalid(format!("{what} is computed by the database")));
        }
        let is_so = self
            .dialect
            .type_name(&kind)?
            .eq_ignore_ascii_case(&column.db_type);
        Ok((!is_so).then_some(kind))
    }

    /// Makes or drops the index of one field.
    fn change_indexes(
        &mut self,
        subject: &Subject,
        (column, index): (&Column, usize),
        field: &WantedField,
    ) -> Result<()> {
        let table = &subject.table;
        let place: TableName = table.as_ref().into();
        let alone = |unique: bool| {
            table.indexes.iter().find(move |found| {
                found.columns == [index]
                    && found.is_unique == unique
                    && found.origin != IndexOrigin::PrimaryKey
            })
        };
        let is_unique = table
            .unique_keys
            .iter()
            .any(|key| key.as_slice() == [index]);
        match field.is_unique {
            Some(true) => {
                self.wanted_indexes(&place, field, &column.name, is_unique, &[]);
            }
            Some(false) if is_unique => {
                let found = alone(true).ok_or_else(|| no_such_index(&column.name))?;
                self.changes
                    .push(SchemaChange::DropIndex(place.clone(), found.clone()));
            }
            Some(false) | None => {}
        }
        let is_index = table.indexed.contains(&index);
        match field.is_index {
            Some(true) if field.is_unique != Some(true) => {
                self.wanted_indexes(&place, field, &column.name, is_index, &[]);
            }
            Some(false) if is_index && !(is_unique && field.is_unique != Some(false)) => {
                if let Some(found) = alone(false) {
                    self.changes
                        .push(SchemaChange::DropIndex(place, found.clone()));
                } else if field.is_unique != Some(false) {
                    return Err(no_such_index(&column.name));
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Adds, drops or changes the foreign key of one field.
    fn change_key(
        &mut self,
        subject: &Subject,
        (column, index): (&Column, usize),
        told: &Map<String, Value>,
        field: &WantedField,
    ) -> Result<()> {
        let table = &subject.table;
        let place: TableName = table.as_ref().into();
        let present = table
            .foreign_keys
            .iter()
            .find(|key| key.columns == [index])
            .filter(|_| told.get("is_foreign_key") == Some(&Value::Bool(true)));
        let is_dropped = field.is_foreign_key == Some(false)
            || (field.ref_table == Some(None) && field.is_foreign_key != Some(true));
        if is_dropped {
            if let Some(key) = present {
                self.drop_key(place, &key.name);
            }
            return Ok(());
        }
        let is_reference = field
            .kind
            .as_ref()
            .is_some_and(|kind| kind.meaning == Meaning::Reference);
        let is_said = matches!(field.ref_table, Some(Some(_)))
            || field.ref_field.is_some()
            || field.on_update.is_some()
            || field.on_delete.is_some()
            || field.is_foreign_key == Some(true)
            || is_reference;
        if !is_said {
            return Ok(());
        }
        // What is not said stays.
        let mut wanted = field.clone();
        wanted.name = Some(column.name.clone());
        if let Some(key) = present {
            wanted.ref_table = wanted.ref_table.or_else(|| Some(Some(key.target.clone())));
            let is_same_table = wanted.ref_table == Some(Some(key.target.clone()));
            if is_same_table {
                wanted.ref_field = wanted
                    .ref_field
                    .or_else(|| key.target_columns.first().cloned());
            }
            wanted.on_update = wanted.on_update.or_else(|| rule_of(&key.on_update));
            wanted.on_delete = wanted.on_delete.or_else(|| rule_of(&key.on_delete));
        }
        let target = self.target(&place, &wanted)?;
        if let Some(key) = present
            && is_same_key(self.catalog, key, &target, &wanted)
        {
            return Ok(());
        }
        let (target_table, target_columns) = (target.table, target.columns);
        if let Some(key) = present {
            self.drop_key(place.clone(), &key.name);
        }
        let columns = vec![column.name.clone()];
        let name = self.free_name("fk", &place, &columns);
        self.changes.push(SchemaChange::AddForeignKey(
            place,
            NewForeignKey {
                name,
                columns,
                target: target_table,
                target_columns,
                on_update: wanted.on_update,
                on_delete: wanted.on_delete,
            },
        ));
        Ok(())
    }

    /// Drops the fields that are not mentioned.
    fn drop_others(&mut self, subject: &Subject, wanted: &WantedTable, force: bool) -> Result<()> {
        let names: Vec<String> = self
            .view
            .fields(&subject.served, Some(&subject.grant))
            .into_iter()
            .map(|(name, _)| name)
            .filter(|name| {
                !wanted.fields.iter().any(|field| {
                    field
                        .name
                        .as_deref()
                        .is_some_and(|wanted| wanted.eq_ignore_ascii_case(name))
                })
            })
            .collect();
        if names.is_empty() {
            return Ok(());
        }
        if !force {
            let listed: Vec<String> = names.iter().map(|name| format!("'{name}'")).collect();
            return Err(Error::new(
                ErrorKind::InvalidParameter,
                format!(
                    "the request does not mention fields of table '{}', which would be dropped: {}",
                    subject.table.name,
                    listed.join(", ")
                ),
            )
            .with_help("say force=true to drop them, or send PATCH, which drops nothing"));
        }
        self.drop_fields(subject, &names)
    }

    /// Drops fields by their names.
    pub(in super::super) fn drop_fields(
        &mut self,
        subject: &Subject,
        names: &[String],
    ) -> Result<()> {
        changeable(subject)?;
        let table = &subject.table;
        let visible: IndexMap<String, Value> = self
            .view
            .fields(&subject.served, Some(&subject.grant))
            .into_iter()
            .collect();
        let mut indexes: Vec<usize> = Vec::new();
        for name in names {
            let found = visible_name(&visible, name).and_then(|(name, _)| table.column_index(name));
            let Some(index) = found else {
                return Err(unknown_field(
                    name,
                    &table.name,
                    visible.keys().map(String::as_str),
                ));
            };
            if indexes.contains(&index) {
                return Err(invalid(format!(
                    "the request names the field '{}' twice",
                    brief(name)
                )));
            }
            indexes.push(index);
        }
        if indexes.len() >= table.columns.len() {
            return Err(
                invalid(format!("table '{}' would have no fields left", table.name))
                    .with_help("drop the table: DELETE _schema/{table}"),
            );
        }
        let place: TableName = table.as_ref().into();
        let goes = |columns: &[usize]| columns.iter().any(|column| indexes.contains(column));
        if self.dialect.keys_are_inline() {
            let is_fixed = goes(&table.primary_key)
                || table.foreign_keys.iter().any(|key| goes(&key.columns))
                || (table.indexes.iter())
                    .any(|index| index.origin != IndexOrigin::Index && goes(&index.columns));
            if is_fixed {
                return Err(invalid(format!(
                    "a field of table '{}' that is a part of a key cannot be dropped in this database",
                    table.name
                ))
                .with_help("make a table without it, copy the records and drop the old one"));
            }
        }
        // Products that keep an index or a key of a column from which it was made would refuse.
        for key in table.foreign_keys.iter().filter(|key| goes(&key.columns)) {
            self.drop_key(place.clone(), &key.name);
        }
        for index in table.indexes.iter().filter(|index| {
            index.origin != IndexOrigin::PrimaryKey
                && goes(&index.columns)
                && !index.name.is_empty()
        }) {
            self.changes
                .push(SchemaChange::DropIndex(place.clone(), index.clone()));
        }
        for index in indexes {
            let name = table.column(index)?.name.clone();
            self.changes
                .push(SchemaChange::DropColumn(Arc::clone(table), name));
        }
        Ok(())
    }

    fn index(
        &mut self,
        subject: &Subject,
        wanted: &WantedIndex,
        fields: &[WantedField],
    ) -> Result<()> {
        let table = &subject.table;
        let place: TableName = table.as_ref().into();
        let mut names: Vec<String> = self
            .view
            .fields(&subject.served, Some(&subject.grant))
            .into_iter()
            .map(|(name, _)| name)
            .collect();
        let is_visible = |index: &usize| {
            table
                .columns
                .get(*index)
                .is_some_and(|column| names.contains(&column.name))
        };
        let by_name = |name: &str| {
            table.indexes.iter().find(|index| {
                index.name == name
                    && index.origin != IndexOrigin::PrimaryKey
                    && index.columns.iter().all(is_visible)
            })
        };
        if wanted.drop {
            let name = wanted.name.as_deref().unwrap_or_default();
            let found = by_name(name).ok_or_else(|| {
                Error::new(
                    ErrorKind::UnknownResource,
                    format!(
                        "index '{}' not found in table '{}'",
                        brief(name),
                        table.name
                    ),
                )
            })?;
            self.changes
                .push(SchemaChange::DropIndex(place, found.clone()));
            return Ok(());
        }
        let is_there = wanted.name.as_deref().is_some_and(|name| {
            by_name(name).is_some_and(|found| {
                let columns = found
                    .columns
                    .iter()
                    .filter_map(|index| table.columns.get(*index));
                let columns: Vec<&str> = columns.map(|column| column.name.as_str()).collect();
                columns == wanted.fields && found.is_unique == wanted.is_unique
            })
        });
        if is_there {
            return Ok(());
        }
        names.extend(fields.iter().filter_map(|field| field.name.clone()));
        names.dedup();
        self.new_index(&place, wanted, &names)
    }

    /// Makes a foreign key of several fields, or of one.
    pub(in super::super) fn relation(
        &mut self,
        subject: &Subject,
        wanted: &WantedRelation,
    ) -> Result<()> {
        changeable(subject)?;
        let table = &subject.table;
        let place: TableName = table.as_ref().into();
        let visible: IndexMap<String, Value> = self
            .view
            .fields(&subject.served, Some(&subject.grant))
            .into_iter()
            .collect();
        let mut columns = Vec::new();
        let mut indexes = Vec::new();
        for name in &wanted.fields {
            let found = visible_name(&visible, name);
            let found = found.and_then(|(name, _)| Some((name, table.column_index(name)?)));
            let Some((name, index)) = found else {
                return Err(unknown_field(
                    name,
                    &table.name,
                    visible.keys().map(String::as_str),
                ));
            };
            columns.push(name.to_owned());
            indexes.push(index);
        }
        let target =
            self.target_of(&place, &wanted.ref_table, &wanted.ref_fields, columns.len())?;
        let present = table.foreign_keys.iter().find(|key| key.columns == indexes);
        if let Some(key) = present {
            let like = WantedField {
                on_update: wanted.on_update.or_else(|| rule_of(&key.on_update)),
                on_delete: wanted.on_delete.or_else(|| rule_of(&key.on_delete)),
                ..WantedField::default()
            };
            if is_same_key(self.catalog, key, &target, &like) {
                return Ok(());
            }
        }
        let (target_table, target_columns) = (target.table, target.columns);
        if let Some(key) = present {
            self.drop_key(place.clone(), &key.name);
        }
        let name = self.free_name("fk", &place, &columns);
        self.changes.push(SchemaChange::AddForeignKey(
            place,
            NewForeignKey {
                name,
                columns,
                target: target_table,
                target_columns,
                on_update: wanted.on_update,
                on_delete: wanted.on_delete,
            },
        ));
        Ok(())
    }

    /// Drops the foreign key that a relation of this name follows.
    pub(in super::super) fn drop_relation(&mut self, subject: &Subject, name: &str) -> Result<()> {
        changeable(subject)?;
        let table = &subject.table;
        let names = self.view.relations(&subject.served, Some(&subject.grant));
        let found = names
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .and_then(|(known, _)| table.relation(known));
        let Some(relation) = found else {
            let error = Error::new(
                ErrorKind::UnknownResource,
                format!(
                    "relation '{}' not found in table '{}'",
                    brief(name),
                    table.name
                ),
            );
            return Err(
                match nearest(name, names.iter().map(|(name, _)| name.as_str())) {
                    Some(near) => error.with_help(format!("did you mean '{near}'?")),
                    None => error,
                },
            );
        };
        let key = table.foreign_keys.iter().find(|key| {
            relation.kind == crate::connector::database::catalog::RelationKind::BelongsTo
                && key.columns == relation.columns
                && key.target == relation.target
        });
        let Some(key) = key else {
            return Err(invalid(format!(
                "relation '{}' is no foreign key of table '{}'",
                relation.name, table.name
            ))
            .with_help(
                "drop the foreign key at the table that holds it; a virtual relation stands in the manifest, \
                 below [service.NAME.config.table.TABLE]",
            ));
        };
        self.changes.push(SchemaChange::DropForeignKey(
            table.as_ref().into(),
            key.name.clone(),
        ));
        Ok(())
    }

    /// Drops tables. Those that others refer to are dropped only together with those.
    pub(in super::super) fn drop_tables(&mut self, subjects: &[Subject]) -> Result<()> {
        for subject in subjects {
            changeable(subject)?;
            let table = &subject.table;
            let sees_all = self
                .view
                .fields(&subject.served, Some(&subject.grant))
                .len()
                == table.columns.len();
            if subject.grant.fields.is_some() || !sees_all {
                return Err(Error::new(
                    ErrorKind::Forbidden,
                    format!(
                        "table '{}' has fields that this role may not touch, so it may not drop it",
                        table.name
                    ),
                ));
            }
        }
        let goes = |name: &str| subjects.iter().any(|subject| subject.table.name == name);
        for table in self.catalog.tables() {
            if goes(&table.name) {
                continue;
            }
            if let Some(key) = table.foreign_keys.iter().find(|key| goes(&key.target)) {
                return Err(
                    conflict(format!("another table refers to table '{}'", key.target)).with_help(
                        "drop the reference first, or both tables in one request: DELETE _schema?ids=a,b",
                    ),
                );
            }
        }
        // Whoever refers goes first; of those that refer to each other the keys go before.
        let mut left: Vec<&Subject> = subjects.iter().collect();
        while !left.is_empty() {
            let is_free = |subject: &&Subject| {
                !left.iter().any(|other| {
                    other.table.name != subject.table.name
                        && (other.table.foreign_keys.iter())
                            .any(|key| key.target == subject.table.name)
                })
            };
            let free: Vec<&Subject> = left.iter().copied().filter(|one| is_free(one)).collect();
            if free.is_empty() {
                for subject in std::mem::take(&mut left) {
                    if !self.dialect.keys_are_inline() {
                        for key in &subject.table.foreign_keys {
                            self.changes.push(SchemaChange::DropForeignKey(
                                subject.table.as_ref().into(),
                                key.name.clone(),
                            ));
                        }
                    }
                    self.changes
                        .push(SchemaChange::DropTable(subject.table.as_ref().into()));
                }
                break;
            }
            left.retain(|one| !free.iter().any(|other| other.table.name == one.table.name));
            self.changes.extend(
                free.iter()
                    .map(|subject| SchemaChange::DropTable(subject.table.as_ref().into())),
            );
        }
        Ok(())
    }
}

/// What a foreign key points to.
struct Target<'a> {
    table: TableName,
    columns: Vec<String>,
    known: Known<'a>,
}

/// A table that is referred to: one that is there, or one of the same request.
enum Known<'a> {
    Present(&'a Arc<Table>),
    Made(&'a Made),
}

impl Known<'_> {
    /// The own name of a column.
    fn column(&self, name: &str) -> Option<String> {
        match self {
            Self::Present(table) => {
                let index = table.column_index(name)?;
                Some(table.columns.get(index)?.name.clone())
            }
            Self::Made(made) => {
                let found = made.columns.iter().find(|(known, _)| known == name);
                found.map(|(known, _)| known.clone())
            }
        }
    }
}

impl Target<'_> {
    fn kind(&self, column: &str) -> Option<ColumnType> {
        match &self.known {
            Known::Present(table) => {
                let index = table.column_index(column)?;
                kind_of(table.columns.get(index)?)
            }
            Known::Made(made) => {
                let found = made.columns.iter().find(|(known, _)| known == column);
                found.and_then(|(_, kind)| kind.clone())
            }
        }
    }
}

fn rule_of(words: &str) -> Option<super::Rule> {
    super::Rule::ALL
        .into_iter()
        .find(|rule| rule.words() == words)
}

/// Whether a foreign key is as it is wanted.
fn is_same_key(
    catalog: &Catalog,
    key: &ForeignKey,
    target: &Target<'_>,
    wanted: &WantedField,
) -> bool {
    let is_same_table = catalog
        .get(&key.target)
        .is_ok_and(|found| TableName::from(found.as_ref()) == target.table);
    let is_same_rule = |wanted: Option<super::Rule>, present: &str| {
        wanted.unwrap_or(super::Rule::NoAction) == rule_of(present).unwrap_or(super::Rule::NoAction)
    };
    is_same_table
        && key.target_columns == target.columns
        && is_same_rule(wanted.on_update, &key.on_update)
        && is_same_rule(wanted.on_delete, &key.on_delete)
}

fn visible_name<'v>(
    visible: &'v IndexMap<String, Value>,
    name: &str,
) -> Option<(&'v str, &'v Value)> {
    visible
        .get_key_value(name)
        .or_else(|| {
            visible
                .iter()
                .find(|(known, _)| known.eq_ignore_ascii_case(name))
        })
        .map(|(name, value)| (name.as_str(), value))
}

/// The columns of the primary key of a new table.
fn primary_key(wanted: &WantedTable) -> Result<Vec<String>> {
    let marked: Vec<String> = wanted
        .fields
        .iter()
        .filter(|field| {
            let is_id = field
                .kind
                .as_ref()
                .is_some_and(|kind| matches!(kind.meaning, Meaning::Key(_)));
            (is_id || field.is_primary_key == Some(true)) && field.is_primary_key != Some(false)
        })
        .filter_map(|field| field.name.clone())
        .collect();
    let Some(chosen) = wanted
        .primary_key
        .clone()
        .filter(|chosen| !chosen.is_empty())
    else {
        return Ok(marked);
    };
    for name in &chosen {
        let is_there = |field: &WantedField| field.name.as_ref() == Some(name);
        if !wanted.fields.iter().any(is_there) {
            let names = wanted
                .fields
                .iter()
                .filter_map(|field| field.name.as_deref());
            let table = wanted.name.as_deref().unwrap_or_default();
            return Err(unknown_field(name, table, names));
        }
    }
    if !marked.is_empty() && !marked.iter().all(|name| chosen.contains(name)) {
        return Err(invalid(
            "'primary_key' and the fields with `is_primary_key` do not agree",
        ));
    }
    Ok(chosen)
}

/// A type with the size that a field says.
fn sized(
    kind: ColumnType,
    field: &WantedField,
    dimensions: Option<(u32, Option<u32>)>,
) -> Result<ColumnType> {
    let name = field.name.as_deref().unwrap_or_default();
    let first = dimensions.map(|(first, _)| first);
    Ok(match kind {
        ColumnType::String(text) => {
            let length = first.or(field.length).or(text.length);
            if length.is_some_and(|length| !(1..=LONGEST).contains(&length)) {
                return Err(invalid(format!(
                    "field '{}' has a length of none, or of more than {LONGEST}",
                    brief(name)
                )));
            }
            ColumnType::String(Text {
                length,
                is_fixed: field.is_fixed.unwrap_or(text.is_fixed),
                is_multibyte: field.is_multibyte.unwrap_or(text.is_multibyte),
            })
        }
        ColumnType::Binary(length) => {
            let length = first.or(field.length).or(length);
            if length.is_some_and(|length| !(1..=LONGEST).contains(&length)) {
                return Err(invalid(format!(
                    "field '{}' has a length of none, or of more than {LONGEST}",
                    brief(name)
                )));
            }
            ColumnType::Binary(length)
        }
        ColumnType::Decimal(known) => {
            let digits = first.or(field.precision).or(field.length);
            let scale = dimensions.and_then(|(_, second)| second).or(field.scale);
            match (
                digits.or(known.map(|known| known.0)),
                scale.or(known.map(|known| known.1)),
            ) {
                (None, None) => ColumnType::Decimal(None),
                (Some(digits), scale) => {
                    let scale = scale.unwrap_or(0);
                    if digits == 0 || scale > digits {
                        return Err(invalid(format!(
                            "field '{}' has more digits after the point than in all",
                            brief(name)
                        )));
                    }
                    ColumnType::Decimal(Some((digits, scale)))
                }
                (None, Some(_)) => {
                    return Err(invalid(format!(
                        "field '{}' has a scale and no precision",
                        brief(name)
                    )));
                }
            }
        }
        other => other,
    })
}

/// A default of this type, as far as that is known without the database.
fn fitting(default: NewDefault, kind: &ColumnType, what: &str) -> Result<NewDefault> {
    let is_number = matches!(
        kind,
        ColumnType::TinyInt
            | ColumnType::SmallInt
            | ColumnType::MediumInt
            | ColumnType::Integer
            | ColumnType::BigInt
            | ColumnType::Decimal(_)
            | ColumnType::Money
            | ColumnType::Float
            | ColumnType::Double
    );
    let is_time = matches!(
        kind,
        ColumnType::Date
            | ColumnType::Time
            | ColumnType::TimeTz
            | ColumnType::DateTime
            | ColumnType::Timestamp
            | ColumnType::TimestampTz
    );
    let fits = match &default {
        NewDefault::Text(text) if is_number && is_plain_number(text) => {
            return Ok(NewDefault::Number(text.clone()));
        }
        NewDefault::Bool(_) => *kind == ColumnType::Boolean,
        NewDefault::Number(_) => is_number,
        NewDefault::Now(_) => is_time,
        NewDefault::NewUuid => matches!(kind, ColumnType::Uuid | ColumnType::String(_)),
        NewDefault::Text(_) => {
            !is_number && !matches!(kind, ColumnType::Boolean | ColumnType::Binary(_))
        }
    };
    if fits {
        return Ok(default);
    }
    Err(invalid(format!(
        "the default of {what} does not fit its type"
    )))
}

fn is_plain_number(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let (whole, part) = digits.split_once('.').unwrap_or((digits, "0"));
    [whole, part]
        .iter()
        .all(|digits| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Members that may only say again what is so. `is_so` says more that is.
fn check_told(
    told: &Map<String, Value>,
    described: Option<&Map<String, Value>>,
    is_so: impl Fn(&str, &Value) -> bool,
    what: &str,
) -> Result<()> {
    for (name, value) in told {
        let is_empty = match value {
            Value::Null | Value::Bool(false) => true,
            Value::String(text) => text.is_empty(),
            Value::Array(list) => list.is_empty(),
            Value::Object(object) => object.is_empty(),
            Value::Bool(true) | Value::Number(_) => false,
        };
        let shown = described.and_then(|described| described.get(name));
        let is_said_again = match shown {
            Some(shown) => shown == value || (is_empty && value.is_null()),
            None => is_empty,
        };
        if !is_said_again && !is_so(name, value) {
            return Err(in_manifest(name, what));
        }
    }
    Ok(())
}

/// A table that changes can be made of, by somebody who may change it as a whole.
fn changeable(subject: &Subject) -> Result<()> {
    let table = &subject.table;
    if table.is_view {
        return Err(invalid(format!(
            "'{}' is a view, and views are not changed here",
            table.name
        )));
    }
    if subject.grant.filter.is_some() {
        return Err(Error::new(
            ErrorKind::Forbidden,
            format!(
                "this role may touch some records of table '{}' only, so it may not change the table",
                table.name
            ),
        )
        .with_help("a row for `_schema/…` that grants changes has no `filter`"));
    }
    Ok(())
}

fn outside(name: &str) -> Error {
    Error::new(
        ErrorKind::Forbidden,
        format!(
            "field '{}' is none of those that this role may touch",
            brief(name)
        ),
    )
}

fn key_is_fixed(what: &str) -> Error {
    invalid(format!(
        "the primary key is made with the table and does not change: {what}"
    ))
    .with_help("make a new table, copy the records and drop the old one")
}

fn no_such_index(column: &str) -> Error {
    invalid(format!(
        "field '{column}' has no index of its own that could be dropped"
    ))
}

fn unknown_target(table: &str, column: &str) -> Error {
    Error::new(
        ErrorKind::UnknownField,
        format!(
            "table '{}' has no field '{}' to refer to",
            brief(table),
            brief(column)
        ),
    )
}

fn unknown_field<'n>(name: &str, table: &str, known: impl Iterator<Item = &'n str>) -> Error {
    let error = Error::new(
        ErrorKind::UnknownResource,
        format!("field '{}' not found in table '{table}'", brief(name)),
    );
    match nearest(name, known) {
        Some(near) => error.with_help(format!("did you mean '{near}'?")),
        None => error.with_help("a new field has a `type`"),
    }
}
