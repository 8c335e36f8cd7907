//! Descriptions of tables, fields and relations as the wire has them (reference 6.1 to 6.3). Pure.
//!
//! What the caller may not touch is left out: columns outside its lists, relations through hidden columns, and
//! relations to tables that it may not read.

use http::Method;
use serde_json::{Map, Value, json};

use super::catalog::{
    Catalog, Column, ColumnSettings, DefaultValue, ForeignKey, IndexOrigin, Relation, RelationKind,
    Table, Type,
};
use super::operations::component_of;
use super::validation;
use crate::connector::access::{Access, Decision, Grant, Verbs};
use crate::error::{Error, ErrorKind, Result, brief, nearest};

/// One caller's view of the tables.
#[derive(Clone, Copy)]
pub(super) struct SchemaView<'a> {
    pub(super) catalog: &'a Catalog,
    pub(super) access: &'a Access,
}

/// The columns of one table that one caller may see.
struct VisibleColumns<'a> {
    table: &'a Table,
    /// Grants of which any one admits a column: those for its records.
    records: Vec<Grant>,
    /// The grant for the call itself, which must admit it too.
    call: Option<&'a Grant>,
    /// Whether the role denies its records: then no column is shown, whatever the description's own row says.
    is_denied: bool,
}

impl<'a> VisibleColumns<'a> {
    fn admit(&self, column: &Column) -> bool {
        !self.is_denied
            && self
                .call
                .is_none_or(|grant| grant.admits_field(&column.name))
            && (self.records.is_empty()
                || self
                    .records
                    .iter()
                    .any(|grant| grant.admits_field(&column.name)))
    }

    fn admit_all(&self, indexes: &[usize]) -> bool {
        indexes.iter().all(|index| {
            self.table
                .columns
                .get(*index)
                .is_some_and(|column| self.admit(column))
        })
    }

    fn iter(&self) -> impl Iterator<Item = (usize, &'a Column)> {
        self.table
            .columns
            .iter()
            .enumerate()
            .filter(|(_, column)| self.admit(column))
    }
}

/// Which names a description uses.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Naming {
    /// Those of the database, with the aliases beside them.
    Own,
    /// Those that callers write, where there is no place for an alias.
    Served,
}

impl Naming {
    fn table(self, table: &Table) -> &str {
        match self {
            Self::Own => table.own_name(),
            Self::Served => &table.name,
        }
    }

    fn column(self, column: &Column) -> &str {
        match self {
            Self::Own => column.own_name(),
            Self::Served => &column.name,
        }
    }

    fn relation(self, relation: &Relation) -> &str {
        match self {
            Self::Own => relation.own_name.as_deref().unwrap_or(&relation.name),
            Self::Served => &relation.name,
        }
    }

    fn names_of<'a>(self, table: &'a Table, indexes: &[usize]) -> Vec<&'a str> {
        let columns = indexes.iter().filter_map(|index| table.columns.get(*index));
        columns.map(|column| self.column(column)).collect()
    }

    /// The name of a table within its schema.
    fn place(self, table: &Table) -> &str {
        match self {
            Self::Own => &table.native,
            Self::Served if table.own_name() == table.name => &table.native,
            Self::Served => &table.name,
        }
    }

    /// The alias, where it is shown.
    fn alias<'a>(self, own: &str, served: &'a str) -> Option<&'a str> {
        (self == Self::Own && own != served).then_some(served)
    }
}

/// Methods that can be granted.
const METHODS: [Method; 5] = [
    Method::GET,
    Method::POST,
    Method::PUT,
    Method::PATCH,
    Method::DELETE,
];

impl<'a> SchemaView<'a> {
    /// The columns that some verb on the table's records shows; all of them when the role knows the table by its
    /// description alone, and none when it denies its records.
    fn columns(&self, table: &'a Table, call: Option<&'a Grant>) -> VisibleColumns<'a> {
        let component = component_of("_table", &table.name);
        let mut records = Vec::new();
        let mut is_denied = false;
        for method in &METHODS {
            match self.access.decide(&component, Verbs::of(method)) {
                Decision::Granted(grant) => records.push(grant),
                Decision::Denied(_) => is_denied = true,
                Decision::NotListed(_) | Decision::NoRow => {}
            }
        }
        VisibleColumns {
            table,
            is_denied: is_denied && records.is_empty(),
            records,
            call,
        }
    }

    /// What the caller may do with the records of a table.
    pub(super) fn verbs(&self, table: &Table) -> Verbs {
        self.access.verbs(&component_of("_table", &table.name))
    }

    /// The whole description of a table (reference 6.1).
    pub(super) fn table(&self, table: &'a Table, call: Option<&'a Grant>) -> Value {
        let mut description = Map::new();
        let alias = Naming::Own.alias(table.own_name(), &table.name);
        description.insert("alias".into(), json!(alias));
        for (name, value) in self.description(table, call, Naming::Own) {
            description.insert(name, value);
        }
        Value::Object(description)
    }

    /// The same for `meta.schema`, where the alias is left out.
    pub(super) fn table_without_alias(
        &self,
        table: &'a Table,
        call: Option<&'a Grant>,
    ) -> Map<String, Value> {
        self.description(table, call, Naming::Served)
    }

    fn description(
        &self,
        table: &'a Table,
        call: Option<&'a Grant>,
        naming: Naming,
    ) -> Map<String, Value> {
        let columns = self.columns(table, call);
        let mut description = heading(table, naming);
        let visible = |index: &usize| {
            let column = table.columns.get(*index);
            column.filter(|column| columns.admit(column))
        };
        let key: Vec<&str> = table
            .primary_key
            .iter()
            .filter_map(visible)
            .map(|column| naming.column(column))
            .collect();
        let settings = table.settings.as_deref();
        let name_field = settings
            .and_then(|settings| settings.name_field)
            .and_then(|index| visible(&index))
            .map(|column| naming.column(column));
        description.insert("primary_key".into(), json!(key));
        description.insert("name_field".into(), json!(name_field));
        description.insert(
            "field".into(),
            columns
                .iter()
                .map(|(index, column)| self.field_of(table, index, column, naming))
                .collect(),
        );
        description.insert(
            "related".into(),
            self.relations_of(&columns)
                .map(|found| relation_object(found, naming))
                .collect(),
        );
        description.insert("constraints".into(), self.constraints(&columns, naming));
        description.insert("index".into(), indexes(&columns, naming));
        description.insert("access".into(), json!(self.verbs(table).mask()));
        description
    }

    /// The entry of a table in a list with `fields=*`.
    pub(super) fn entry(&self, table: &Table, family: &str) -> Map<String, Value> {
        let naming = if family == "_schema" {
            Naming::Own
        } else {
            Naming::Served
        };
        let mut entry = heading(table, naming);
        entry.insert("access".into(), self.verbs(table).names().collect());
        entry
    }

    /// The descriptions of all fields that the caller may see.
    pub(super) fn fields(&self, table: &'a Table, call: Option<&'a Grant>) -> Vec<(String, Value)> {
        self.columns(table, call)
            .iter()
            .map(|(index, column)| {
                let field = self.field_of(table, index, column, Naming::Own);
                (column.own_name().to_owned(), field)
            })
            .collect()
    }

    /// The descriptions of all relations that the caller may read.
    pub(super) fn relations(
        &self,
        table: &'a Table,
        call: Option<&'a Grant>,
    ) -> Vec<(String, Value)> {
        self.relations_of(&self.columns(table, call))
            .map(|found| {
                let name = Naming::Own.relation(found.2).to_owned();
                (name, relation_object(found, Naming::Own))
            })
            .collect()
    }

    fn relations_of<'c>(
        &self,
        columns: &'c VisibleColumns<'a>,
    ) -> impl Iterator<Item = (&'a Catalog, &'a Table, &'a Relation)> + use<'a, 'c> {
        let view = *self;
        columns
            .table
            .relations
            .iter()
            .filter(move |relation| {
                columns.admit_all(&relation.columns) && view.may_follow(relation)
            })
            .map(move |relation| (view.catalog, columns.table, relation))
    }

    /// Whether the caller may read the other table, and the one between.
    fn may_follow(&self, relation: &Relation) -> bool {
        let may_read = |name: &str, indexes: &[&[usize]]| {
            let Ok(grant) = self.access.of(&component_of("_table", name), &Method::GET) else {
                return false;
            };
            let Ok(table) = self.catalog.table(name, |_| false) else {
                return false;
            };
            indexes.iter().copied().flatten().all(|index| {
                table
                    .columns
                    .get(*index)
                    .is_some_and(|column| grant.admits_field(&column.name))
            })
        };
        // What lies in another service is not for this role to grant: the manifest names it, and that service decides.
        (relation.service.is_some() || may_read(&relation.target, &[&relation.target_columns]))
            && relation
                .junction
                .as_ref()
                .is_none_or(|junction| may_read(&junction.table, &[&junction.near, &junction.far]))
    }

    /// Whether the caller may read what a foreign key points to, its columns included.
    fn may_know_target(&self, key: &ForeignKey) -> bool {
        self.access
            .of(&component_of("_table", &key.target), &Method::GET)
            .is_ok_and(|grant| {
                key.target_columns
                    .iter()
                    .all(|name| grant.admits_field(name))
            })
    }

    /// One field (reference 6.2).
    fn field_of(&self, table: &Table, index: usize, column: &Column, naming: Naming) -> Value {
        let is_key = table.primary_key.contains(&index);
        let reference = table
            .foreign_keys
            .iter()
            .find(|key| key.columns.contains(&index))
            // A reference tells of its target only to those who may read that.
            .filter(|key| self.may_know_target(key));
        let target = reference.map(|key| self.target_of(key, naming));
        let target_column = reference.and_then(|key| {
            let position = key.columns.iter().position(|other| *other == index)?;
            target.as_ref()?.1.get(position)
        });
        let settings = column.settings.as_deref();
        let picklist = settings
            .map(|settings| &settings.picklist)
            .filter(|picklist| !picklist.is_empty())
            .unwrap_or(&column.picklist);
        let default = match &column.default {
            None => Value::Null,
            Some(DefaultValue::Literal(value)) => value.clone(),
            Some(DefaultValue::Expression(text)) => json!({ "expression": text }),
        };
        let is_required = !column.is_nullable
            && column.default.is_none()
            && !column.is_auto_increment
            && !column.is_generated
            && !settings.is_some_and(ColumnSettings::is_supplied);
        let name = naming.column(column);
        let label = settings.and_then(|settings| settings.label.clone());
        json!({
            "alias": naming.alias(name, &column.name),
            "name": name,
            "label": label.unwrap_or_else(|| label_of(&column.name)),
            "description": column.description,
            "native": [],
            "type": simple_type(table, index, column, reference.is_some()),
            "db_type": column.db_type,
            "length": column.length.or(column.precision),
            "precision": column.precision,
            "scale": column.scale,
            "default": default,
            "required": is_required,
            "allow_null": column.is_nullable,
            "fixed_length": column.is_fixed_length(),
            "supports_multibyte": column.is_national(),
            "auto_increment": column.is_auto_increment,
            "is_primary_key": is_key,
            "is_unique": table.unique_keys.iter().any(|key| key.as_slice() == [index]),
            "is_index": table.indexed.contains(&index),
            "is_foreign_key": reference.is_some(),
            "ref_table": target.as_ref().map(|(table, _)| table),
            "ref_field": target_column,
            "ref_on_update": reference.map(|key| &key.on_update),
            "ref_on_delete": reference.map(|key| &key.on_delete),
            "picklist": (!picklist.is_empty()).then_some(picklist),
            "validation": validation::described(column),
            "db_function": null,
            "is_virtual": false,
            "is_aggregate": false,
        })
    }

    /// Keys and checks, by name. A check may say anything of any column, so it shows to those who see all of them.
    fn constraints(&self, columns: &VisibleColumns<'_>, naming: Naming) -> Value {
        let table = columns.table;
        let mut constraints = Map::new();
        let mut add = |constraint: Value| {
            if let Some(Value::String(name)) = constraint.get("constraint_name") {
                constraints.insert(name.clone(), constraint);
            }
        };
        if !table.primary_key.is_empty() && columns.admit_all(&table.primary_key) {
            let known = table.indexes.iter();
            let known = known.filter(|index| index.origin == IndexOrigin::PrimaryKey);
            let name = known.map(|index| index.name.as_str()).next();
            add(key_constraint(
                table,
                "primary key",
                "pk",
                name,
                &table.primary_key,
                naming,
            ));
        }
        for index in &table.indexes {
            if index.origin == IndexOrigin::Unique && columns.admit_all(&index.columns) {
                let name = Some(index.name.as_str());
                add(key_constraint(
                    table,
                    "unique",
                    "undx",
                    name,
                    &index.columns,
                    naming,
                ));
            }
        }
        for key in &table.foreign_keys {
            if columns.admit_all(&key.columns) && self.may_know_target(key) {
                let target = self.target_of(key, naming);
                add(constraint(table, key, &target, naming));
            }
        }
        let sees_all = columns.iter().count() == table.columns.len() && table.hidden().is_empty();
        for (number, check) in (1_u32..).zip(table.checks.iter().filter(|_| sees_all)) {
            let name = if check.name.is_empty() {
                format!("ck_{}_{number}", table.native)
            } else {
                check.name.clone()
            };
            let mut constraint = constraint_heading(table, "check", &name, naming);
            constraint.insert("check_clause".into(), json!(check.sql));
            add(Value::Object(constraint));
        }
        Value::Object(constraints)
    }

    /// What a foreign key points to: the names of the table and of its columns.
    fn target_of(&self, key: &ForeignKey, naming: Naming) -> (String, Vec<String>) {
        let Ok(table) = self.catalog.table(&key.target, |_| false) else {
            return (key.target.clone(), key.target_columns.clone());
        };
        let column = |name: &String| {
            let column = table
                .column_index(name)
                .and_then(|index| table.columns.get(index));
            column
                .map_or(name.as_str(), |column| naming.column(column))
                .to_owned()
        };
        let columns = key.target_columns.iter().map(column).collect();
        (naming.table(table).to_owned(), columns)
    }
}

/// The indexes that have names, but for that of the primary key.
fn indexes(columns: &VisibleColumns<'_>, naming: Naming) -> Value {
    let table = columns.table;
    let shown = table.indexes.iter().filter(|index| {
        index.origin != IndexOrigin::PrimaryKey
            && !index.name.is_empty()
            && columns.admit_all(&index.columns)
    });
    shown
        .map(|index| {
            json!({
                "name": index.name,
                "fields": naming.names_of(table, &index.columns),
                "unique": index.is_unique,
            })
        })
        .collect()
}

/// What every constraint begins with.
fn constraint_heading(table: &Table, kind: &str, name: &str, naming: Naming) -> Map<String, Value> {
    let mut constraint = Map::new();
    constraint.insert("constraint_type".into(), json!(kind));
    constraint.insert("constraint_name".into(), json!(name));
    constraint.insert("constraint_schema".into(), json!(table.schema));
    constraint.insert("table_schema".into(), json!(table.schema));
    constraint.insert("table_name".into(), json!(naming.place(table)));
    constraint
}

/// A primary or unique key. Where it has no name it gets one as the gateway would make it.
fn key_constraint(
    table: &Table,
    kind: &str,
    prefix: &str,
    name: Option<&str>,
    indexes: &[usize],
    naming: Naming,
) -> Value {
    let columns = naming.names_of(table, indexes);
    let name = match name.filter(|name| !name.is_empty()) {
        Some(name) => name.to_owned(),
        None if prefix == "pk" => format!("pk_{}", table.native),
        None => format!("{prefix}_{}_{}", table.native, columns.join("_")),
    };
    let mut constraint = constraint_heading(table, kind, &name, naming);
    constraint.insert("column_name".into(), json!(columns));
    Value::Object(constraint)
}

fn joined(table: &Table, indexes: &[usize], naming: Naming) -> String {
    naming.names_of(table, indexes).join(",")
}

fn constraint_name(table: &Table, key: &ForeignKey) -> String {
    if key.name.is_empty() {
        let columns = Naming::Own.names_of(table, &key.columns).join("_");
        format!("fk_{}_{columns}", table.native)
    } else {
        key.name.clone()
    }
}

fn constraint(
    table: &Table,
    key: &ForeignKey,
    (target, target_columns): &(String, Vec<String>),
    naming: Naming,
) -> Value {
    let (target_schema, target) = match target.split_once('.') {
        Some((schema, name)) if table.schema.is_some() => (Some(schema), name),
        _ => (table.schema.as_deref(), target.as_str()),
    };
    let name = constraint_name(table, key);
    let mut constraint = constraint_heading(table, "foreign key", &name, naming);
    for (member, value) in [
        ("column_name", json!(naming.names_of(table, &key.columns))),
        ("referenced_table_schema", json!(target_schema)),
        ("referenced_table_name", json!(target)),
        ("referenced_column_name", json!(target_columns)),
        ("update_rule", json!(key.on_update)),
        ("delete_rule", json!(key.on_delete)),
    ] {
        constraint.insert(member.into(), value);
    }
    Value::Object(constraint)
}

/// What lists and descriptions begin with.
fn heading(table: &Table, naming: Naming) -> Map<String, Value> {
    let settings = table.settings.as_deref();
    let label = settings
        .and_then(|settings| settings.label.clone())
        .unwrap_or_else(|| label_of(&table.name));
    let plural = settings
        .and_then(|settings| settings.plural.clone())
        .unwrap_or_else(|| plural_of(&label));
    let mut heading = Map::new();
    heading.insert("name".into(), json!(naming.table(table)));
    heading.insert("label".into(), json!(label));
    heading.insert("description".into(), json!(table.description));
    heading.insert("native".into(), json!([]));
    heading.insert("plural".into(), json!(plural));
    heading.insert("is_view".into(), json!(table.is_view));
    heading
}

/// One relation (reference 6.3).
fn relation_object(
    (catalog, table, relation): (&Catalog, &Table, &Relation),
    naming: Naming,
) -> Value {
    let there = |name: &str| catalog.table(name, |_| false).ok();
    let named = |name: &str, indexes: &[usize]| Some(joined(there(name)?, indexes, naming));
    let called = |name: &str| {
        there(name)
            .map_or(name, |table| naming.table(table))
            .to_owned()
    };
    let junction = relation.junction.as_ref();
    let rules = rules_of(catalog, table, relation);
    let name = naming.relation(relation);
    let label = relation.label.clone();
    json!({
        "alias": naming.alias(name, &relation.name),
        "name": name,
        "label": label.unwrap_or_else(|| label_of(&relation.name)),
        "description": relation.description,
        "native": [],
        "type": match relation.kind {
            RelationKind::BelongsTo => "belongs_to",
            RelationKind::HasOne => "has_one",
            RelationKind::HasMany => "has_many",
            RelationKind::ManyMany => "many_many",
        },
        "field": joined(table, &relation.columns, naming),
        "is_virtual": relation.is_virtual,
        "ref_service_id": null,
        "ref_service": relation.service,
        "ref_table": match &relation.service {
            Some(_) => relation.target.clone(),
            None => called(&relation.target),
        },
        "ref_field": match &relation.service {
            Some(_) => Some(relation.service_columns.join(",")),
            None => named(&relation.target, &relation.target_columns),
        },
        "ref_on_update": rules.as_ref().map(|rules| &rules.0),
        "ref_on_delete": rules.as_ref().map(|rules| &rules.1),
        "junction_service_id": null,
        "junction_table": junction.map(|junction| called(&junction.table)),
        "junction_field": junction.and_then(|junction| named(&junction.table, &junction.near)),
        "junction_ref_field": junction.and_then(|junction| named(&junction.table, &junction.far)),
        "always_fetch": relation.is_always,
        "flatten": false,
        "flatten_drop_prefix": false,
    })
}

/// The rules of the foreign key that a relation follows, seen from the side that holds it.
fn rules_of(catalog: &Catalog, table: &Table, relation: &Relation) -> Option<(String, String)> {
    if relation.is_virtual {
        return None;
    }
    let (holder, columns, target) = match relation.kind {
        RelationKind::BelongsTo => (table, &relation.columns, &relation.target),
        RelationKind::HasOne | RelationKind::HasMany => (
            catalog.table(&relation.target, |_| false).ok()?.as_ref(),
            &relation.target_columns,
            &table.name,
        ),
        RelationKind::ManyMany => return None,
    };
    holder
        .foreign_keys
        .iter()
        .find(|key| key.columns == *columns && key.target == *target)
        .map(|key| (key.on_update.clone(), key.on_delete.clone()))
}

/// The simple type of a column (reference 6.5).
fn simple_type(table: &Table, index: usize, column: &Column, is_reference: bool) -> &'static str {
    let kind = column.shown_kind();
    let is_integer = matches!(kind, Type::SmallInt | Type::Integer | Type::BigInt);
    if is_integer && column.is_auto_increment && table.primary_key.as_slice() == [index] {
        return match kind {
            Type::BigInt => "bigid",
            Type::SmallInt => "smallid",
            _ => "id",
        };
    }
    if is_integer && is_reference {
        return "reference";
    }
    kind_name(kind)
}

/// The simple type of a kind of values.
pub(super) const fn kind_name(kind: &Type) -> &'static str {
    match kind {
        Type::Boolean => "boolean",
        Type::SmallInt => "smallint",
        Type::Integer => "integer",
        Type::BigInt => "bigint",
        Type::Decimal => "decimal",
        Type::Money => "money",
        Type::Float => "float",
        Type::Double => "double",
        Type::String | Type::Other => "string",
        Type::Text => "text",
        Type::Uuid => "uuid",
        Type::Binary => "binary",
        Type::Json => "json",
        Type::Array(_) => "array",
        Type::Date => "date",
        Type::Time => "time",
        Type::TimeTz => "timetz",
        Type::DateTime => "datetime",
        Type::TimestampTz => "timestamptz",
    }
}

/// `order_item` and `OrderItem` as `Order Item`.
pub(super) fn label_of(name: &str) -> String {
    let mut label = String::with_capacity(name.len() + 4);
    let mut before = ' ';
    for character in name.chars() {
        if matches!(character, '_' | '-' | '.' | ' ') {
            if before != ' ' {
                label.push(' ');
                before = ' ';
            }
            continue;
        }
        if before == ' ' {
            label.extend(character.to_uppercase());
        } else {
            if character.is_uppercase() && before.is_lowercase() {
                label.push(' ');
            }
            label.push(character);
        }
        before = character;
    }
    label.truncate(label.trim_end().len());
    if label.is_empty() {
        name.to_owned()
    } else {
        label
    }
}

/// The English plural of a label; what already looks like one stays.
pub(super) fn plural_of(label: &str) -> String {
    let ends = |ending: &str| label.to_ascii_lowercase().ends_with(ending);
    if label.is_empty() || !label.ends_with(|last: char| last.is_ascii_alphabetic()) {
        label.to_owned()
    } else if ends("ss") || ends("x") || ends("ch") || ends("sh") {
        format!("{label}es")
    } else if ends("s") {
        label.to_owned()
    } else if ends("y") && !["ay", "ey", "iy", "oy", "uy"].into_iter().any(ends) {
        format!("{}ies", label.trim_end_matches(['y', 'Y']))
    } else {
        format!("{label}s")
    }
}

/// The description with this name; ASCII case does not count unless two differ in nothing else.
pub(super) fn find_named(
    entries: &[(String, Value)],
    name: &str,
    kind: ErrorKind,
    what: &str,
    table: &Table,
) -> Result<Value> {
    let position = entries
        .iter()
        .position(|(entry, _)| entry == name)
        .or_else(|| {
            entries
                .iter()
                .position(|(entry, _)| entry.eq_ignore_ascii_case(name))
        });
    if let Some(position) = position
        && let Some((_, value)) = entries.get(position)
    {
        return Ok(value.clone());
    }
    let error = Error::new(
        kind,
        format!(
            "{what} '{}' not found in table '{}'",
            brief(name),
            table.name
        ),
    );
    Err(
        match nearest(name, entries.iter().map(|(entry, _)| entry.as_str())) {
            Some(near) => error.with_help(format!("did you mean '{near}'?")),
            None => error,
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connector::access::{Pattern, Rule};
    use std::sync::Arc;

    fn column(name: &str, kind: Type) -> Column {
        Column {
            name: name.to_owned(),
            kind,
            db_type: "x".to_owned(),
            native: 0,
            is_nullable: true,
            default: None,
            is_auto_increment: false,
            is_generated: false,
            length: None,
            precision: None,
            scale: None,
            picklist: Vec::new(),
            description: None,
            settings: None,
        }
    }

    fn catalog() -> Catalog {
        let customer = Table {
            name: "customer".into(),
            native: "customer".into(),
            columns: vec![
                Column {
                    is_auto_increment: true,
                    is_nullable: false,
                    ..column("id", Type::Integer)
                },
                Column {
                    is_nullable: false,
                    ..column("email", Type::String)
                },
                column("secret", Type::Text),
            ],
            primary_key: vec![0],
            unique_keys: vec![vec![1]],
            ..Table::default()
        };
        let invoice = Table {
            name: "invoice".into(),
            native: "invoice".into(),
            columns: vec![
                column("id", Type::BigInt),
                Column {
                    default: Some(DefaultValue::Expression("now()".into())),
                    ..column("customer_id", Type::Integer)
                },
            ],
            primary_key: vec![0],
            foreign_keys: vec![ForeignKey {
                name: String::new(),
                columns: vec![1],
                target: "customer".into(),
                target_columns: vec!["id".into()],
                on_update: "NO ACTION".into(),
                on_delete: "CASCADE".into(),
            }],
            ..Table::default()
        };
        Catalog::new(vec![customer, invoice])
    }

    fn access(rules: &[(&str, Verbs, Option<&[&str]>)]) -> Access {
        let rules: Vec<Rule> = rules
            .iter()
            .map(|(pattern, verbs, fields)| Rule {
                names_service: true,
                pattern: Pattern::parse(pattern).unwrap(),
                verbs: *verbs,
                deny: false,
                filter: None,
                fields: fields.map(|fields| {
                    Arc::new(fields.iter().map(|field| (*field).to_owned()).collect())
                }),
                position: Arc::from(*pattern),
            })
            .collect();
        Access::new("r", "s", rules, Arc::default())
    }

    fn described(access: &Access, table: &str) -> Value {
        let catalog = catalog();
        let view = SchemaView {
            catalog: &catalog,
            access,
        };
        view.table(catalog.table(table, |_| true).unwrap(), None)
    }

    #[test]
    fn a_table_is_described_with_the_members_of_the_reference_in_their_order() {
        let description = described(&access(&[("*", Verbs::ALL, None)]), "customer");
        let members: Vec<&str> = description
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        assert_eq!(
            members,
            [
                "alias",
                "name",
                "label",
                "description",
                "native",
                "plural",
                "is_view",
                "primary_key",
                "name_field",
                "field",
                "related",
                "constraints",
                "index",
                "access"
            ]
        );
        assert_eq!(description["access"], 31);
        assert_eq!(description["plural"], "Customers");
        assert_eq!(description["field"][0]["type"], "id");
        assert_eq!(description["field"][0]["required"], false);
        assert_eq!(description["field"][1]["required"], true);
        assert_eq!(description["field"][1]["is_unique"], true);
    }

    #[test]
    fn foreign_keys_show_as_references_and_constraints() {
        let description = described(&access(&[("*", Verbs::ALL, None)]), "invoice");
        let field = &description["field"][1];
        assert_eq!(field["type"], "reference");
        assert_eq!(field["ref_table"], "customer");
        assert_eq!(field["ref_field"], "id");
        assert_eq!(field["ref_on_delete"], "CASCADE");
        assert_eq!(field["default"], json!({"expression": "now()"}));
        let constraint = &description["constraints"]["fk_invoice_customer_id"];
        assert_eq!(constraint["referenced_table_name"], "customer");
        assert_eq!(constraint["delete_rule"], "CASCADE");
    }

    #[test]
    fn what_the_caller_may_not_touch_is_left_out() {
        let get = Verbs::of(&Method::GET);
        let narrow = access(&[
            ("_table/customer/*", get, Some(&["id", "email"])),
            ("_schema/*", get, None),
            ("_table/invoice/*", get, None),
        ]);
        let description = described(&narrow, "customer");
        assert_eq!(description["access"], 1);
        assert_eq!(description["field"].as_array().unwrap().len(), 2);

        let no_customer = access(&[("_table/invoice/*", get, None), ("_schema/*", get, None)]);
        let description = described(&no_customer, "invoice");
        assert_eq!(description["related"], json!([]));
        assert_eq!(
            description["constraints"]["fk_invoice_customer_id"],
            Value::Null
        );
        assert_eq!(description["field"][1]["ref_table"], Value::Null);
    }

    #[test]
    fn labels_and_plurals_read_like_english() {
        for (name, label, plural) in [
            ("customer", "Customer", "Customers"),
            ("order_item", "Order Item", "Order Items"),
            ("OrderDetails", "Order Details", "Order Details"),
            ("category", "Category", "Categories"),
            ("box", "Box", "Boxes"),
            ("key", "Key", "Keys"),
            ("sales.order", "Sales Order", "Sales Orders"),
            ("t1", "T1", "T1"),
            ("_", "_", "_"),
        ] {
            assert_eq!(label_of(name), label);
            assert_eq!(plural_of(&label_of(name)), plural, "{name}");
        }
    }

    #[test]
    fn a_misspelt_field_is_404_with_its_neighbour() {
        let catalog = catalog();
        let table = catalog.table("customer", |_| true).unwrap();
        let entries = vec![("email".to_owned(), json!(1))];
        assert_eq!(
            find_named(
                &entries,
                "EMAIL",
                ErrorKind::UnknownResource,
                "field",
                table
            )
            .unwrap(),
            1
        );
        let error = find_named(
            &entries,
            "emial",
            ErrorKind::UnknownResource,
            "field",
            table,
        )
        .unwrap_err();
        assert_eq!(error.help(), Some("did you mean 'email'?"));
    }
}
