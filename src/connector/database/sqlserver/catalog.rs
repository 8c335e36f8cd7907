//! Tables, columns and keys, read from the catalog views of the `sys` schema: one query for each kind of thing,
//! whatever their number. They show what the login has some permission on ("Metadata visibility configuration").
//!
//! The views of `INFORMATION_SCHEMA` lack identity columns, computed columns, indexes and comments.

mod routines;

use std::collections::HashMap;

use tiberius::{ColumnData, Row};

use super::error::{is_answer, lacks_views};
use super::pool::{Native, rows_of};
use crate::connector::database::catalog::{
    Catalog, Check, Column, DefaultValue, ForeignKey, Index, IndexOrigin, Routines, Schemas, Table,
    Type, api_name,
};

/// How many statements reading everything takes.
pub(super) const STATEMENTS: u32 = 12;

/// The login's default schema in this database.
pub(super) const HOME: &str = "SELECT SCHEMA_NAME() AS home";

/// Schemas other than those of the server and of its fixed roles, which are numbered from 16384 on ("sys.schemas").
pub(super) const SCHEMAS: &str = "\
SELECT s.name AS schema_name FROM sys.schemas AS s \
WHERE s.schema_id < 16384 AND s.name NOT IN ('sys', 'INFORMATION_SCHEMA', 'guest') \
ORDER BY s.name";

/// Tables and views that are not the server's own. History tables and external tables are only read; views are written
/// through where the server can.
pub(super) const TABLES: &str = "\
SELECT o.object_id, s.name AS schema_name, o.name AS table_name, \
CASE WHEN o.type_desc = 'VIEW' THEN 1 ELSE 0 END AS is_view, \
CASE WHEN t.temporal_type = 1 OR t.is_external = 1 THEN 0 ELSE 1 END AS is_writable \
FROM sys.objects AS o \
JOIN sys.schemas AS s ON s.schema_id = o.schema_id \
LEFT JOIN sys.tables AS t ON t.object_id = o.object_id \
WHERE o.type_desc IN ('USER_TABLE', 'VIEW') AND o.is_ms_shipped = 0 \
ORDER BY s.name, o.name";

/// Columns with the system type beneath an alias type: a system type has one number for both, and the types of the
/// common language runtime have none as system types ("sys.types").
pub(super) const COLUMNS: &str = "\
SELECT c.object_id, c.column_id, c.name AS column_name, COALESCE(TYPE_NAME(c.system_type_id), TYPE_NAME(c.user_type_id)) AS type_name, \
CAST(c.max_length AS int) AS max_length, CAST(c.precision AS int) AS digits, CAST(c.scale AS int) AS scale, \
CASE WHEN c.is_nullable = 1 THEN 1 ELSE 0 END AS is_nullable, \
CASE WHEN c.is_identity = 1 THEN 1 ELSE 0 END AS is_identity, \
CASE WHEN c.is_computed = 1 OR c.generated_always_type > 0 THEN 1 ELSE 0 END AS is_generated, \
d.definition AS default_text \
FROM sys.columns AS c \
JOIN sys.objects AS o ON o.object_id = c.object_id \
LEFT JOIN sys.default_constraints AS d ON d.parent_object_id = c.object_id AND d.parent_column_id = c.column_id \
WHERE o.type_desc IN ('USER_TABLE', 'VIEW') AND o.is_ms_shipped = 0 \
ORDER BY c.object_id, c.column_id";

/// The key columns of indexes in their order, and whether the index is a key of all records.
pub(super) const INDEXES: &str = "\
SELECT i.object_id, i.index_id, c.column_id, \
CASE WHEN i.is_primary_key = 1 THEN 1 ELSE 0 END AS is_primary, \
CASE WHEN i.is_unique = 1 AND i.has_filter = 0 THEN 1 ELSE 0 END AS is_key, \
i.name AS index_name, CASE WHEN i.is_unique_constraint = 1 THEN 1 ELSE 0 END AS is_constraint, \
CASE WHEN i.has_filter = 0 THEN 1 ELSE 0 END AS is_whole \
FROM sys.indexes AS i \
JOIN sys.index_columns AS c ON c.object_id = i.object_id AND c.index_id = i.index_id \
JOIN sys.objects AS o ON o.object_id = i.object_id \
WHERE c.key_ordinal > 0 AND i.is_disabled = 0 AND i.is_hypothetical = 0 \
AND o.type_desc IN ('USER_TABLE', 'VIEW') AND o.is_ms_shipped = 0 \
ORDER BY i.object_id, i.index_id, c.key_ordinal";

/// Checks that are enforced.
pub(super) const CHECKS: &str = "\
SELECT k.parent_object_id, k.name AS check_name, k.definition \
FROM sys.check_constraints AS k \
WHERE k.is_disabled = 0 \
ORDER BY k.parent_object_id, k.name";

/// The columns of foreign keys in their order.
pub(super) const FOREIGN_KEYS: &str = "\
SELECT f.object_id AS key_id, f.name AS key_name, f.parent_object_id, c.parent_column_id, \
f.referenced_object_id, c.referenced_column_id, \
f.update_referential_action_desc AS on_update, f.delete_referential_action_desc AS on_delete \
FROM sys.foreign_keys AS f \
JOIN sys.foreign_key_columns AS c ON c.constraint_object_id = f.object_id \
ORDER BY f.parent_object_id, f.name, c.constraint_column_id";

/// The descriptions of tables and, with their number, of columns, as Management Studio keeps them.
pub(super) const DESCRIPTIONS: &str = "\
SELECT p.major_id, p.minor_id, CAST(p.value AS nvarchar(4000)) AS description \
FROM sys.extended_properties AS p \
WHERE p.class = 1 AND p.name = N'MS_Description' \
ORDER BY p.major_id, p.minor_id";

/// A digest over what the queries above read. `modify_date` changes with ALTER TABLE and with its indexes; constraints
/// are objects themselves ("sys.objects").
pub(super) const FINGERPRINT: &str = "\
SELECT CAST(CONCAT(SCHEMA_NAME(), '-', o.number, '-', o.digest, '-', c.number, '-', c.digest, '-', p.digest) \
AS nvarchar(400)) AS fingerprint \
FROM (SELECT COUNT(*) AS number, SUM(CAST(CHECKSUM(object_id, schema_id, name, modify_date) AS bigint)) AS digest \
FROM sys.objects WHERE is_ms_shipped = 0) AS o \
CROSS JOIN (SELECT COUNT(*) AS number, SUM(CAST(CHECKSUM(object_id, column_id, name, user_type_id, max_length, \
precision, scale, is_nullable) AS bigint)) AS digest FROM sys.columns) AS c \
CROSS JOIN (SELECT SUM(CAST(CHECKSUM(major_id, minor_id, CAST(value AS nvarchar(4000))) AS bigint)) AS digest \
FROM sys.extended_properties WHERE name = N'MS_Description') AS p";

/// Reads everything.
pub(super) async fn read(
    client: &mut Native,
    schema: &str,
) -> Result<Catalog, tiberius::error::Error> {
    let home = match schema {
        "" | "default" => rows_of(client, HOME)
            .await?
            .first()
            .and_then(|row| text(row, 0))
            .unwrap_or_default(),
        name => name.to_owned(),
    };
    let mut draft = Draft {
        home,
        only_home: !schema.is_empty(),
        ..Draft::default()
    };
    for row in rows_of(client, TABLES).await? {
        draft.add_table(&row);
    }
    for row in rows_of(client, COLUMNS).await? {
        draft.add_column(&row);
    }
    let indexes = rows_of(client, INDEXES).await?;
    for rows in indexes.chunk_by(|left, right| same(left, right, &[0, 1])) {
        draft.add_index(rows);
    }
    for row in rows_of(client, CHECKS).await? {
        draft.add_check(&row);
    }
    let foreign_keys = rows_of(client, FOREIGN_KEYS).await?;
    for rows in foreign_keys.chunk_by(|left, right| same(left, right, &[0])) {
        draft.add_foreign_key(rows);
    }
    // Descriptions are a courtesy: where they cannot be read, tables go without.
    match rows_of(client, DESCRIPTIONS).await {
        Ok(rows) => rows.iter().for_each(|row| draft.add_description(row)),
        Err(error) if is_answer(&error) => {
            tracing::debug!(error = ?error, "the descriptions of tables cannot be read");
        }
        Err(error) => return Err(error),
    }
    let names: Vec<String> = rows_of(client, SCHEMAS)
        .await?
        .iter()
        .filter_map(|row| text(row, 0))
        .filter(|name| !draft.only_home || name.eq_ignore_ascii_case(&draft.home))
        .collect();
    // Servers that speak the protocol of SQL Server and lack these views have no routines.
    let routines = match routines::read(client, &draft.home, draft.only_home).await {
        Ok(routines) => routines,
        Err(error) if lacks_views(&error) => {
            tracing::debug!(error = ?error, "the routines cannot be read");
            Routines::default()
        }
        Err(error) => return Err(error),
    };
    // As the database spells it.
    let home = names
        .iter()
        .find(|name| **name == draft.home)
        .or_else(|| {
            names
                .iter()
                .find(|name| name.eq_ignore_ascii_case(&draft.home))
        })
        .cloned();
    Ok(Catalog::new(draft.tables)
        .with_schemas(Schemas { home, names })
        .with_routines(routines))
}

fn cell(row: &Row, index: usize) -> Option<&ColumnData<'static>> {
    row.cells().nth(index).map(|(_, data)| data)
}

fn text(row: &Row, index: usize) -> Option<String> {
    match cell(row, index)? {
        ColumnData::String(Some(text)) => Some(text.clone().into_owned()),
        _ => None,
    }
}

fn number(row: &Row, index: usize) -> Option<i64> {
    match *cell(row, index)? {
        ColumnData::U8(value) => value.map(i64::from),
        ColumnData::I16(value) => value.map(i64::from),
        ColumnData::I32(value) => value.map(i64::from),
        ColumnData::I64(value) => value,
        ColumnData::Bit(value) => value.map(i64::from),
        _ => None,
    }
}

fn truth(row: &Row, index: usize) -> bool {
    number(row, index) == Some(1)
}

fn same(left: &Row, right: &Row, columns: &[usize]) -> bool {
    columns
        .iter()
        .all(|index| number(left, *index) == number(right, *index))
}

/// Tables in the making.
#[derive(Default)]
struct Draft {
    home: String,
    only_home: bool,
    tables: Vec<Table>,
    /// Where each table stands, by its object number.
    positions: HashMap<i64, usize>,
    /// Column number in the table → index among the columns.
    columns: HashMap<(i64, i64), usize>,
}

impl Draft {
    fn table(&mut self, object: i64) -> Option<&mut Table> {
        let position = *self.positions.get(&object)?;
        self.tables.get_mut(position)
    }

    fn add_table(&mut self, row: &Row) {
        let (Some(object), Some(schema), Some(native)) =
            (number(row, 0), text(row, 1), text(row, 2))
        else {
            return;
        };
        // Whether case counts in names is the database's choice; a schema is named in the manifest by hand.
        let is_home = schema == self.home
            || schema.eq_ignore_ascii_case(&self.home)
                && !self
                    .tables
                    .iter()
                    .any(|table| table.schema.as_deref() == Some(&self.home));
        if self.only_home && !is_home {
            return;
        }
        self.positions.insert(object, self.tables.len());
        self.tables.push(Table {
            name: api_name(&schema, &native, is_home),
            schema: Some(schema),
            native,
            is_view: truth(row, 3),
            is_writable: truth(row, 4),
            ..Table::default()
        });
    }

    fn add_column(&mut self, row: &Row) {
        let (Some(object), Some(column), Some(name), Some(type_name)) =
            (number(row, 0), number(row, 1), text(row, 2), text(row, 3))
        else {
            return;
        };
        let measure = |index| number(row, index).unwrap_or(0);
        let shape = Shape::of(&type_name, measure(4), measure(5), measure(6));
        let is_identity = truth(row, 8);
        // A rowversion is made by the server.
        let is_generated = truth(row, 9) || type_name == "timestamp";
        let default = text(row, 10)
            .filter(|_| !is_generated && !is_identity)
            .and_then(|text| default_value(&text, &shape.kind));
        let Some(table) = self.table(object) else {
            return;
        };
        let index = table.columns.len();
        table.columns.push(Column {
            name,
            db_type: shape.db_type,
            native: 0,
            is_nullable: truth(row, 7),
            default,
            is_auto_increment: is_identity,
            is_generated,
            length: shape.length,
            precision: shape.precision,
            scale: shape.scale,
            picklist: Vec::new(),
            description: None,
            kind: shape.kind,
            settings: None,
        });
        self.columns.insert((object, column), index);
    }

    fn add_description(&mut self, row: &Row) {
        let (Some(object), Some(number), description) =
            (number(row, 0), number(row, 1), text(row, 2))
        else {
            return;
        };
        let index = self.columns.get(&(object, number)).copied();
        let Some(table) = self.table(object) else {
            return;
        };
        if number == 0 {
            table.description = description;
        } else if let Some(column) = index.and_then(|index| table.columns.get_mut(index)) {
            column.description = description;
        }
    }

    fn add_index(&mut self, rows: &[Row]) {
        let Some(first) = rows.first() else {
            return;
        };
        let Some(object) = number(first, 0) else {
            return;
        };
        let key: Option<Vec<usize>> = rows
            .iter()
            .map(|row| self.columns.get(&(object, number(row, 2)?)).copied())
            .collect();
        let (is_primary, is_key) = (truth(first, 3), truth(first, 4));
        let (Some(key), Some(table)) = (key, self.table(object)) else {
            return;
        };
        if let Some(leading) = key.first()
            && !table.indexed.contains(leading)
        {
            table.indexed.push(*leading);
        }
        if let Some(name) = text(first, 5).filter(|_| truth(first, 7)) {
            table.indexes.push(Index {
                name,
                columns: key.clone(),
                is_unique: is_key,
                origin: if is_primary {
                    IndexOrigin::PrimaryKey
                } else if truth(first, 6) {
                    IndexOrigin::Unique
                } else {
                    IndexOrigin::Index
                },
            });
        }
        if is_primary {
            table.primary_key = key;
        } else if is_key && !table.unique_keys.contains(&key) {
            table.unique_keys.push(key);
        }
    }

    fn add_check(&mut self, row: &Row) {
        if let (Some(object), Some(name), Some(sql)) = (number(row, 0), text(row, 1), text(row, 2))
            && let Some(table) = self.table(object)
        {
            table.checks.push(Check { name, sql });
        }
    }

    fn add_foreign_key(&mut self, rows: &[Row]) {
        let Some(first) = rows.first() else {
            return;
        };
        let (Some(object), Some(target)) = (number(first, 2), number(first, 4)) else {
            return;
        };
        let indexes = |object: i64, column: usize| -> Option<Vec<usize>> {
            rows.iter()
                .map(|row| self.columns.get(&(object, number(row, column)?)).copied())
                .collect()
        };
        let (Some(columns), Some(target_columns)) = (indexes(object, 3), indexes(target, 5)) else {
            return;
        };
        let Some(target) = self.table(target) else {
            return;
        };
        let foreign_key = ForeignKey {
            name: text(first, 1).unwrap_or_default(),
            columns,
            target: target.name.clone(),
            target_columns: target_columns
                .iter()
                .filter_map(|index| target.columns.get(*index))
                .map(|column| column.name.clone())
                .collect(),
            on_update: text(first, 6).unwrap_or_default().replace('_', " "),
            on_delete: text(first, 7).unwrap_or_default().replace('_', " "),
        };
        if let Some(table) = self.table(object) {
            table.foreign_keys.push(foreign_key);
        }
    }
}

/// What a type holds and how it is spelt.
#[derive(Debug, PartialEq)]
pub(super) struct Shape {
    pub(super) kind: Type,
    pub(super) db_type: String,
    length: Option<u32>,
    precision: Option<u32>,
    scale: Option<u32>,
}

impl Shape {
    /// From `sys.columns`: lengths are in bytes, and -1 stands for `max`.
    pub(super) fn of(name: &str, bytes: i64, digits: i64, scale: i64) -> Self {
        let plain = |kind| Self {
            kind,
            db_type: name.to_owned(),
            length: None,
            precision: None,
            scale: None,
        };
        let count = |number: i64| u32::try_from(number).ok();
        let sized = |kind, limitless, bytes_each: i64| match u32::try_from(bytes / bytes_each) {
            Ok(length) if bytes >= 0 => Self {
                db_type: format!("{name}({length})"),
                length: Some(length),
                ..plain(kind)
            },
            _ => Self {
                db_type: format!("{name}(max)"),
                ..plain(limitless)
            },
        };
        let fraction = |kind| Self {
            db_type: format!("{name}({scale})"),
            precision: count(scale),
            ..plain(kind)
        };
        match name {
            "bit" => plain(Type::Boolean),
            "tinyint" | "smallint" => plain(Type::SmallInt),
            "int" => plain(Type::Integer),
            "bigint" => plain(Type::BigInt),
            "decimal" | "numeric" => Self {
                db_type: format!("{name}({digits},{scale})"),
                precision: count(digits),
                scale: count(scale),
                ..plain(Type::Decimal)
            },
            "money" | "smallmoney" => plain(Type::Money),
            "real" => plain(Type::Float),
            "float" => plain(Type::Double),
            "char" | "varchar" => sized(Type::String, Type::Text, 1),
            "nchar" | "nvarchar" => sized(Type::String, Type::Text, 2),
            "text" | "ntext" | "xml" => plain(Type::Text),
            "uniqueidentifier" => plain(Type::Uuid),
            "binary" | "varbinary" => sized(Type::Binary, Type::Binary, 1),
            "image" | "timestamp" => plain(Type::Binary),
            "json" => plain(Type::Json),
            "date" => plain(Type::Date),
            "time" => fraction(Type::Time),
            "datetime" | "smalldatetime" => plain(Type::DateTime),
            "datetime2" => fraction(Type::DateTime),
            "datetimeoffset" => fraction(Type::TimestampTz),
            _ => plain(Type::Other),
        }
    }
}

/// What `sys.default_constraints` says of a default: a constant in parentheses, or an expression. NULL is none at all.
fn default_value(text: &str, kind: &Type) -> Option<DefaultValue> {
    let mut inner = text.trim();
    while let Some(within) = in_parentheses(inner) {
        inner = within.trim();
    }
    let expression = || Some(DefaultValue::Expression(inner.to_owned()));
    if inner.eq_ignore_ascii_case("null") {
        return None;
    }
    let quoted = inner
        .strip_prefix('N')
        .unwrap_or(inner)
        .strip_prefix('\'')
        .and_then(|rest| rest.strip_suffix('\''));
    if let Some(constant) = quoted {
        let single = constant.replace("''", "");
        if single.contains('\'') || matches!(kind, Type::Binary | Type::Other) {
            return expression();
        }
        let constant = constant.replace("''", "'");
        return Some(match kind {
            Type::Json => match serde_json::from_str(&constant) {
                Ok(value) => DefaultValue::Literal(value),
                Err(_) => return expression(),
            },
            Type::Boolean => match constant.to_ascii_lowercase().as_str() {
                "true" | "1" => DefaultValue::Literal(true.into()),
                "false" | "0" => DefaultValue::Literal(false.into()),
                _ => return expression(),
            },
            _ => DefaultValue::Literal(constant.into()),
        });
    }
    let is_number = inner.parse::<f64>().is_ok_and(f64::is_finite)
        && !inner.contains(|character: char| character.is_ascii_alphabetic());
    match kind {
        Type::Boolean if matches!(inner, "0" | "1") => {
            Some(DefaultValue::Literal((inner == "1").into()))
        }
        kind if is_number && kind.is_numeric() => Some(DefaultValue::Literal(digits(inner))),
        Type::String | Type::Text if is_number => Some(DefaultValue::Literal(inner.into())),
        _ => expression(),
    }
}

/// A JSON number if no digit is lost by it, otherwise the digits as text.
fn digits(digits: &str) -> serde_json::Value {
    if let Ok(number) = digits.parse::<i64>() {
        return number.into();
    }
    match digits.parse::<f64>() {
        Ok(number) if number.to_string() == digits => number.into(),
        _ => digits.into(),
    }
}

/// What stands within the parentheses around the whole text.
fn in_parentheses(text: &str) -> Option<&str> {
    let inner = text.strip_prefix('(')?.strip_suffix(')')?;
    let mut depth: i32 = 0;
    let mut in_text = false;
    for character in inner.chars() {
        match character {
            '\'' => in_text = !in_text,
            '(' if !in_text => depth += 1,
            ')' if !in_text => depth -= 1,
            _ => {}
        }
        if depth < 0 {
            return None;
        }
    }
    Some(inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_questions_to_the_catalogue_are_these() {
        let all = [
            HOME,
            SCHEMAS,
            TABLES,
            COLUMNS,
            INDEXES,
            CHECKS,
            FOREIGN_KEYS,
            DESCRIPTIONS,
            routines::ROUTINES,
            routines::PARAMETERS,
            routines::RESULTS,
            FINGERPRINT,
        ];
        insta::assert_snapshot!(all.join("\n\n"));
    }

    #[test]
    fn every_type_has_its_kind_and_spelling() {
        for (name, bytes, precision, scale, kind, db_type, length) in [
            ("bit", 1, 1, 0, Type::Boolean, "bit", None),
            ("tinyint", 1, 3, 0, Type::SmallInt, "tinyint", None),
            ("int", 4, 10, 0, Type::Integer, "int", None),
            ("bigint", 8, 19, 0, Type::BigInt, "bigint", None),
            ("decimal", 9, 12, 2, Type::Decimal, "decimal(12,2)", None),
            ("smallmoney", 4, 10, 4, Type::Money, "smallmoney", None),
            ("real", 4, 24, 0, Type::Float, "real", None),
            ("float", 8, 53, 0, Type::Double, "float", None),
            ("varchar", 20, 0, 0, Type::String, "varchar(20)", Some(20)),
            ("nvarchar", 40, 0, 0, Type::String, "nvarchar(20)", Some(20)),
            ("nvarchar", -1, 0, 0, Type::Text, "nvarchar(max)", None),
            ("varbinary", -1, 0, 0, Type::Binary, "varbinary(max)", None),
            ("binary", 16, 0, 0, Type::Binary, "binary(16)", Some(16)),
            ("ntext", 16, 0, 0, Type::Text, "ntext", None),
            (
                "uniqueidentifier",
                16,
                0,
                0,
                Type::Uuid,
                "uniqueidentifier",
                None,
            ),
            ("timestamp", 8, 0, 0, Type::Binary, "timestamp", None),
            ("date", 3, 10, 0, Type::Date, "date", None),
            ("time", 5, 16, 7, Type::Time, "time(7)", None),
            ("datetime", 8, 23, 3, Type::DateTime, "datetime", None),
            ("datetime2", 8, 27, 7, Type::DateTime, "datetime2(7)", None),
            (
                "datetimeoffset",
                10,
                34,
                7,
                Type::TimestampTz,
                "datetimeoffset(7)",
                None,
            ),
            ("xml", -1, 0, 0, Type::Text, "xml", None),
            ("json", -1, 0, 0, Type::Json, "json", None),
            ("sql_variant", 8016, 0, 0, Type::Other, "sql_variant", None),
            ("hierarchyid", 892, 0, 0, Type::Other, "hierarchyid", None),
            ("geography", -1, 0, 0, Type::Other, "geography", None),
        ] {
            let shape = Shape::of(name, bytes, precision, scale);
            assert_eq!(
                (shape.kind, shape.db_type.as_str(), shape.length),
                (kind, db_type, length)
            );
        }
    }

    #[test]
    fn defaults_are_constants_or_expressions() {
        let literal = |value| Some(DefaultValue::Literal(value));
        let expression = |text: &str| Some(DefaultValue::Expression(text.to_owned()));
        for (text, kind, expected) in [
            ("((0))", Type::Integer, literal(json!(0))),
            ("((-1.50))", Type::Decimal, literal(json!("-1.50"))),
            ("((1))", Type::Boolean, literal(json!(true))),
            ("('new')", Type::String, literal(json!("new"))),
            ("(N'it''s (not)')", Type::Text, literal(json!("it's (not)"))),
            ("('')", Type::String, literal(json!(""))),
            ("(NULL)", Type::String, None),
            ("('2026-01-01')", Type::Date, literal(json!("2026-01-01"))),
            ("(getdate())", Type::DateTime, expression("getdate()")),
            ("((1)+(2))", Type::Integer, expression("(1)+(2)")),
            ("('a'+'b')", Type::String, expression("'a'+'b'")),
            ("(newid())", Type::Uuid, expression("newid()")),
            ("(0x00)", Type::Binary, expression("0x00")),
            (
                "(NEXT VALUE FOR [dbo].[s])",
                Type::BigInt,
                expression("NEXT VALUE FOR [dbo].[s]"),
            ),
        ] {
            assert_eq!(default_value(text, &kind), expected, "{text}");
        }
    }
}
