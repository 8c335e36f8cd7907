//! Tables, columns and keys, read from the `ALL_` views: one query for each kind of thing, whatever their number. They
//! show what the account may use ("Static Data Dictionary Views").

pub(super) mod routines;

use std::collections::HashMap;

use super::driver::{Bound, Cell, Next, Session};
use super::error::{Cause, Fault};
use crate::connector::database::catalog::{
    Catalog, Check, Column, DefaultValue, ForeignKey, Index, IndexOrigin, Schemas, Table, Type,
    api_name,
};

/// How many statements reading everything takes.
pub(super) const STATEMENTS: u32 = 12;

/// Most digits of a whole number that always fits 64 bits.
const WHOLE_DIGITS: i64 = 18;

/// The schema that names without one belong to (`SYS_CONTEXT`).
pub(super) const HOME: &str = "SELECT SYS_CONTEXT('USERENV', 'CURRENT_SCHEMA') FROM DUAL";

/// Schemas other than Oracle's own.
pub(super) const SCHEMAS: &str = "\
SELECT u.username FROM all_users u \
WHERE u.oracle_maintained = 'N' AND u.username = NVL(:1, u.username) \
ORDER BY u.username";

/// Tables, views and materialized views, but not those of Oracle itself, of the recycle bin, nested tables and what is
/// stored beside index-organized ones. A materialized view is also listed as a table. `:1` is a schema, or NULL.
pub(super) const TABLES: &str = "\
SELECT o.owner, o.object_name, \
CASE WHEN o.object_type = 'TABLE' AND m.mview_name IS NULL THEN 0 ELSE 1 END, \
CASE WHEN o.object_type = 'TABLE' AND m.mview_name IS NULL AND e.table_name IS NULL \
AND NVL(TRIM(t.read_only), 'NO') <> 'YES' THEN 1 WHEN o.object_type = 'VIEW' AND v.read_only = 'N' THEN 1 ELSE 0 END, \
c.comments \
FROM all_objects o \
JOIN all_users u ON u.username = o.owner AND u.oracle_maintained = 'N' \
LEFT JOIN all_tables t ON t.owner = o.owner AND t.table_name = o.object_name \
LEFT JOIN all_views v ON v.owner = o.owner AND v.view_name = o.object_name \
LEFT JOIN all_mviews m ON m.owner = o.owner AND m.mview_name = o.object_name \
LEFT JOIN all_external_tables e ON e.owner = o.owner AND e.table_name = o.object_name \
LEFT JOIN all_tab_comments c ON c.owner = o.owner AND c.table_name = o.object_name \
WHERE o.object_type IN ('TABLE', 'VIEW') AND o.secondary = 'N' AND o.owner = NVL(:1, o.owner) \
AND o.object_name NOT LIKE 'BIN$%' AND NVL(t.nested, 'NO') = 'NO' AND NVL(t.iot_type, 'IOT') = 'IOT' \
ORDER BY o.owner, o.object_name";

/// Columns that are seen. `data_default` is of the type LONG, which no function takes.
pub(super) const COLUMNS: &str = "\
SELECT c.owner, c.table_name, c.column_name, c.data_type, c.data_type_owner, c.data_length, c.char_length, \
c.data_precision, c.data_scale, c.nullable, c.identity_column, c.virtual_column, m.comments, c.data_default \
FROM all_tab_cols c \
JOIN all_users u ON u.username = c.owner AND u.oracle_maintained = 'N' \
LEFT JOIN all_col_comments m \
ON m.owner = c.owner AND m.table_name = c.table_name AND m.column_name = c.column_name \
WHERE c.hidden_column = 'NO' AND c.owner = NVL(:1, c.owner) \
ORDER BY c.owner, c.table_name, c.column_id";

/// Primary, unique and foreign keys that are enforced, column by column.
pub(super) const CONSTRAINTS: &str = "\
SELECT k.owner, k.constraint_name, k.constraint_type, k.table_name, c.column_name, \
k.r_owner, k.r_constraint_name, k.delete_rule \
FROM all_constraints k \
JOIN all_users u ON u.username = k.owner AND u.oracle_maintained = 'N' \
JOIN all_cons_columns c ON c.owner = k.owner AND c.constraint_name = k.constraint_name \
WHERE k.constraint_type IN ('P', 'U', 'R') AND k.status = 'ENABLED' AND k.owner = NVL(:1, k.owner) \
ORDER BY k.owner, k.table_name, k.constraint_name, c.position";

/// Checks that are enforced; NOT NULL is one of them as well.
pub(super) const CHECKS: &str = "\
SELECT q.owner, q.table_name, q.constraint_name, q.search_condition_vc \
FROM all_constraints q \
JOIN all_users u ON u.username = q.owner AND u.oracle_maintained = 'N' \
WHERE q.constraint_type = 'C' AND q.status = 'ENABLED' AND q.owner = NVL(:1, q.owner) \
ORDER BY q.owner, q.table_name, q.constraint_name";

/// Indexes of plain columns, column by column, and the key that each was made for.
pub(super) const INDEXES: &str = "\
SELECT i.table_owner, i.table_name, i.owner, i.index_name, i.uniqueness, c.column_name, \
(SELECT MIN(k.constraint_type) FROM all_constraints k \
WHERE NVL(k.index_owner, k.owner) = i.owner AND k.index_name = i.index_name AND k.constraint_type IN ('P', 'U')), \
(SELECT MIN(k.constraint_name) KEEP (DENSE_RANK FIRST ORDER BY k.constraint_type) FROM all_constraints k \
WHERE NVL(k.index_owner, k.owner) = i.owner AND k.index_name = i.index_name AND k.constraint_type IN ('P', 'U')) \
FROM all_indexes i \
JOIN all_users u ON u.username = i.table_owner AND u.oracle_maintained = 'N' \
JOIN all_ind_columns c ON c.index_owner = i.owner AND c.index_name = i.index_name \
WHERE i.index_type IN ('NORMAL', 'IOT - TOP') AND i.status <> 'UNUSABLE' AND i.table_owner = NVL(:1, i.table_owner) \
ORDER BY i.table_owner, i.table_name, i.owner, i.index_name, c.column_position";

/// Tables with a trigger before INSERT that uses a sequence, as tables were numbered before identity columns.
pub(super) const NUMBERED: &str = "\
SELECT DISTINCT t.table_owner, t.table_name \
FROM all_triggers t \
JOIN all_users u ON u.username = t.table_owner AND u.oracle_maintained = 'N' \
JOIN all_dependencies d ON d.owner = t.owner AND d.name = t.trigger_name AND d.type = 'TRIGGER' \
AND d.referenced_type = 'SEQUENCE' \
WHERE t.status = 'ENABLED' AND t.trigger_type = 'BEFORE EACH ROW' AND t.triggering_event LIKE '%INSERT%' \
AND t.table_owner = NVL(:1, t.table_owner)";

/// A digest over what the queries above read. `last_ddl_time` also changes with grants.
pub(super) const FINGERPRINT: &str = "\
SELECT SYS_CONTEXT('USERENV', 'CURRENT_SCHEMA') || '-' || COUNT(*) || '-' || \
TO_CHAR(MAX(o.last_ddl_time), 'YYYYMMDDHH24MISS') || '-' || \
SUM(ORA_HASH(o.owner || '.' || o.object_name || '.' || o.object_id || '.' || \
TO_CHAR(o.last_ddl_time, 'YYYYMMDDHH24MISS'))) \
FROM all_objects o \
JOIN all_users u ON u.username = o.owner AND u.oracle_maintained = 'N' \
WHERE o.object_type IN ('TABLE', 'VIEW', 'MATERIALIZED VIEW', 'INDEX', 'TRIGGER', 'SEQUENCE', \
'PROCEDURE', 'FUNCTION', 'TYPE') \
AND o.owner = NVL(:1, o.owner)";

type Cells = Vec<Cell>;

fn rows_of(session: &mut dyn Session, sql: &str, values: &[Bound]) -> Result<Vec<Cells>, Fault> {
    let mut rows = Vec::new();
    session.query(sql, values, &mut |cells| {
        rows.push(cells);
        Next::More
    })?;
    Ok(rows)
}

fn text(row: &[Cell], index: usize) -> Option<&str> {
    match row.get(index)? {
        Cell::Text(text) => Some(text),
        _ => None,
    }
}

fn number(row: &[Cell], index: usize) -> Option<i64> {
    match row.get(index)? {
        Cell::Number(digits, _) => digits.parse().ok(),
        _ => None,
    }
}

/// The schema that goes without a prefix, and whether it is the only one. A name in the manifest that is written in
/// small letters means the one in capitals, as in SQL without quotation marks.
fn home(session: &mut dyn Session, schema: &str) -> Result<(String, bool), Fault> {
    match schema {
        "" | "default" => {
            let rows = rows_of(session, HOME, &[])?;
            let home = rows.first().and_then(|row| text(row, 0));
            let home = home.ok_or_else(|| Fault {
                code: None,
                cause: Cause::Driver,
                message: "there is no current schema".to_owned(),
            })?;
            Ok((home.to_owned(), !schema.is_empty()))
        }
        name if name.chars().any(char::is_uppercase) => Ok((name.to_owned(), true)),
        name => Ok((name.to_uppercase(), true)),
    }
}

/// What is bound for `:1`.
fn filter(home: &str, only_home: bool) -> [Bound; 1] {
    [if only_home {
        Bound::Text(home.to_owned())
    } else {
        Bound::Null
    }]
}

/// A short text that changes when tables or columns change.
pub(super) fn fingerprint(session: &mut dyn Session, schema: &str) -> Result<String, Fault> {
    let (home, only_home) = home(session, schema)?;
    let rows = rows_of(session, FINGERPRINT, &filter(&home, only_home))?;
    let text = rows.first().and_then(|row| text(row, 0));
    Ok(text.unwrap_or_default().to_owned())
}

/// Reads everything.
pub(super) fn read_catalog(
    session: &mut dyn Session,
    schema: &str,
    treat_number_as_decimal: bool,
) -> Result<Catalog, Fault> {
    let (home, only_home) = home(session, schema)?;
    let filter = filter(&home, only_home);
    let mut draft = Draft {
        home,
        treat_number_as_decimal,
        ..Draft::default()
    };
    for row in rows_of(session, TABLES, &filter)? {
        draft.add_table(&row);
    }
    for row in rows_of(session, COLUMNS, &filter)? {
        draft.add_column(&row);
    }
    let constraints = rows_of(session, CONSTRAINTS, &filter)?;
    let constraints: Vec<&[Cells]> = chunks(&constraints, &[0, 1]).collect();
    for rows in &constraints {
        draft.add_key(rows);
    }
    for rows in &constraints {
        draft.add_foreign_key(rows);
    }
    for rows in chunks(&rows_of(session, INDEXES, &filter)?, &[0, 1, 2, 3]) {
        draft.add_index(rows);
    }
    for row in rows_of(session, NUMBERED, &filter)? {
        draft.note_numbered(&row);
    }
    for row in rows_of(session, CHECKS, &filter)? {
        draft.add_check(&row);
    }
    let names: Vec<String> = rows_of(session, SCHEMAS, &filter)?
        .iter()
        .filter_map(|row| text(row, 0).map(str::to_owned))
        .collect();
    let routines = routines::assemble(
        &rows_of(session, routines::ROUTINES, &filter)?,
        &rows_of(session, routines::ARGUMENTS, &filter)?,
        &rows_of(session, routines::COLLECTIONS, &[])?,
        &draft.home,
        treat_number_as_decimal,
    );
    let home = Some(draft.home).filter(|home| names.contains(home));
    Ok(Catalog::new(draft.tables)
        .with_schemas(Schemas { home, names })
        .with_routines(routines))
}

/// Rows that belong together, which follow one another.
fn chunks<'a>(rows: &'a [Cells], columns: &'a [usize]) -> impl Iterator<Item = &'a [Cells]> {
    rows.chunk_by(move |left, right| {
        columns
            .iter()
            .all(|index| left.get(*index) == right.get(*index))
    })
}

type Name = (String, String);

/// Tables in the making.
#[derive(Default)]
struct Draft {
    home: String,
    treat_number_as_decimal: bool,
    tables: Vec<Table>,
    positions: HashMap<Name, usize>,
    /// The table and the columns of each primary and unique key, by its owner and name.
    keys: HashMap<Name, (Name, Vec<String>)>,
}

fn name_of(row: &[Cell], owner: usize, name: usize) -> Option<Name> {
    Some((text(row, owner)?.to_owned(), text(row, name)?.to_owned()))
}

impl Draft {
    fn table(&mut self, name: &Name) -> Option<&mut Table> {
        let position = *self.positions.get(name)?;
        self.tables.get_mut(position)
    }

    fn add_table(&mut self, row: &[Cell]) {
        let Some((schema, native)) = name_of(row, 0, 1) else {
            return;
        };
        self.positions
            .insert((schema.clone(), native.clone()), self.tables.len());
        self.tables.push(Table {
            name: api_name(&schema, &native, schema == self.home),
            schema: Some(schema),
            native,
            is_view: number(row, 2) == Some(1),
            is_writable: number(row, 3) == Some(1),
            description: text(row, 4).map(str::to_owned),
            ..Table::default()
        });
    }

    fn add_column(&mut self, row: &[Cell]) {
        let Some(table) = name_of(row, 0, 1) else {
            return;
        };
        let (Some(name), Some(data_type)) = (text(row, 2), text(row, 3)) else {
            return;
        };
        let shape = Shape::of(
            data_type,
            text(row, 4).is_some(),
            [5, 6, 7, 8].map(|index| number(row, index)),
            self.treat_number_as_decimal,
        );
        // Types that somebody defined have no form of their own in an answer.
        let Some(shape) = shape else {
            return;
        };
        let default = text(row, 13).map(str::trim).unwrap_or_default();
        let is_identity = text(row, 10) == Some("YES");
        let is_generated = text(row, 11) == Some("YES");
        let is_sequence = default.to_ascii_lowercase().ends_with(".nextval");
        let column = Column {
            name: name.to_owned(),
            db_type: shape.db_type,
            native: 0,
            is_nullable: text(row, 9) == Some("Y"),
            default: if is_identity || is_generated || is_sequence {
                None
            } else {
                default_value(default, &shape.kind)
            },
            is_auto_increment: is_identity || is_sequence,
            is_generated,
            length: shape.length,
            precision: shape.precision,
            scale: shape.scale,
            picklist: Vec::new(),
            description: text(row, 12).map(str::to_owned),
            kind: shape.kind,
            settings: None,
        };
        if let Some(table) = self.table(&table) {
            table.columns.push(column);
        }
    }

    /// The indexes of the columns that these rows name.
    fn columns(table: &Table, rows: &[Cells], index: usize) -> Option<Vec<usize>> {
        rows.iter()
            .map(|row| {
                let name = text(row, index)?;
                table.columns.iter().position(|column| column.name == name)
            })
            .collect()
    }

    fn add_key(&mut self, rows: &[Cells]) {
        let Some(first) = rows.first() else {
            return;
        };
        let (Some(name), Some(table)) = (name_of(first, 0, 1), name_of(first, 0, 3)) else {
            return;
        };
        let kind = text(first, 2).unwrap_or_default().to_owned();
        if kind == "R" {
            return;
        }
        let columns = rows
            .iter()
            .filter_map(|row| text(row, 4).map(str::to_owned));
        self.keys
            .insert(name, (table.clone(), columns.collect::<Vec<String>>()));
        let Some(table) = self.table(&table) else {
            return;
        };
        let Some(key) = Self::columns(table, rows, 4) else {
            return;
        };
        if kind == "P" {
            table.primary_key = key;
        } else if !table.unique_keys.contains(&key) {
            table.unique_keys.push(key);
        }
    }

    fn add_foreign_key(&mut self, rows: &[Cells]) {
        let Some(first) = rows.first().filter(|first| text(first, 2) == Some("R")) else {
            return;
        };
        let (Some(name), Some(table), Some(key)) = (
            name_of(first, 0, 1),
            name_of(first, 0, 3),
            name_of(first, 5, 6),
        ) else {
            return;
        };
        let Some((target, target_columns)) = self.keys.get(&key).cloned() else {
            return;
        };
        let Some(target) = self.table(&target).map(|target| target.name.clone()) else {
            return;
        };
        let Some(table) = self.table(&table) else {
            return;
        };
        let Some(columns) = Self::columns(table, rows, 4) else {
            return;
        };
        table.foreign_keys.push(ForeignKey {
            name: name.1,
            columns,
            target,
            target_columns,
            // Oracle has no ON UPDATE.
            on_update: "NO ACTION".to_owned(),
            on_delete: text(first, 7).unwrap_or("NO ACTION").to_owned(),
        });
    }

    fn add_index(&mut self, rows: &[Cells]) {
        let Some(first) = rows.first() else {
            return;
        };
        let Some(table) = name_of(first, 0, 1) else {
            return;
        };
        let is_unique = text(first, 4) == Some("UNIQUE");
        let Some(table) = self.table(&table) else {
            return;
        };
        let Some(key) = Self::columns(table, rows, 5) else {
            return;
        };
        if let Some(leading) = key.first()
            && !table.indexed.contains(leading)
        {
            table.indexed.push(*leading);
        }
        let (origin, constraint) = match text(first, 6) {
            Some("P") => (IndexOrigin::PrimaryKey, text(first, 7)),
            Some(_) => (IndexOrigin::Unique, text(first, 7)),
            None => (IndexOrigin::Index, None),
        };
        // What a key was made for goes by the name of its constraint.
        if let Some(name) = constraint.or_else(|| text(first, 3)) {
            table.indexes.push(Index {
                name: name.to_owned(),
                columns: key.clone(),
                is_unique: is_unique || origin != IndexOrigin::Index,
                origin,
            });
        }
        if is_unique && key != table.primary_key && !table.unique_keys.contains(&key) {
            table.unique_keys.push(key);
        }
    }

    fn add_check(&mut self, row: &[Cell]) {
        let (Some(table), Some(name), Some(sql)) = (name_of(row, 0, 1), text(row, 2), text(row, 3))
        else {
            return;
        };
        let Some(table) = self.table(&table) else {
            return;
        };
        let is_not_null = table.columns.iter().any(|column| {
            sql.strip_prefix('"')
                .and_then(|rest| rest.strip_prefix(column.name.as_str()))
                .is_some_and(|rest| rest == "\" IS NOT NULL")
        });
        if !is_not_null {
            table.checks.push(Check {
                name: name.to_owned(),
                sql: sql.to_owned(),
            });
        }
    }

    /// The trigger numbers the primary key, if it is one number without a default.
    fn note_numbered(&mut self, row: &[Cell]) {
        let Some(table) = name_of(row, 0, 1).and_then(|name| self.table(&name)) else {
            return;
        };
        if let [only] = table.primary_key.as_slice()
            && let Some(column) = table.columns.get_mut(*only)
            && column.kind.is_numeric()
            && column.default.is_none()
        {
            column.is_auto_increment = true;
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
    /// From `ALL_TAB_COLS`: lengths in bytes and in characters, precision and scale. None for types that cannot be read.
    pub(super) fn of(
        data_type: &str,
        has_owner: bool,
        [bytes, characters, precision, scale]: [Option<i64>; 4],
        treat_number_as_decimal: bool,
    ) -> Option<Self> {
        let count = |number: Option<i64>| number.and_then(|number| u32::try_from(number).ok());
        let plain = |kind| Self {
            kind,
            db_type: data_type.to_owned(),
            length: None,
            precision: None,
            scale: None,
        };
        let sized = |kind, length: Option<i64>| Self {
            db_type: format!("{data_type}({})", length.unwrap_or(0)),
            length: count(length),
            ..plain(kind)
        };
        if has_owner && !matches!(data_type, "XMLTYPE" | "SDO_GEOMETRY") {
            return None;
        }
        Some(match data_type {
            "CHAR" | "NCHAR" | "VARCHAR2" | "NVARCHAR2" => sized(Type::String, characters),
            "RAW" => sized(Type::Binary, bytes),
            "CLOB" | "NCLOB" | "LONG" | "XMLTYPE" => plain(Type::Text),
            "BLOB" | "LONG RAW" => plain(Type::Binary),
            "NUMBER" => match (precision, scale) {
                (Some(precision), scale) => {
                    let scale = scale.unwrap_or(0);
                    let digits = precision - scale;
                    let kind = match digits {
                        _ if treat_number_as_decimal || scale > 0 => Type::Decimal,
                        1 if scale == 0 => Type::Boolean,
                        _ if digits <= 4 => Type::SmallInt,
                        _ if digits <= 9 => Type::Integer,
                        _ if digits <= WHOLE_DIGITS => Type::BigInt,
                        _ => Type::Decimal,
                    };
                    Self {
                        db_type: if scale == 0 {
                            format!("NUMBER({precision})")
                        } else {
                            format!("NUMBER({precision},{scale})")
                        },
                        precision: count(Some(precision)),
                        scale: count(Some(scale)),
                        ..plain(kind)
                    }
                }
                // INTEGER is NUMBER(*,0): whole numbers of up to 38 digits.
                (None, Some(0)) => Self {
                    db_type: "NUMBER(*,0)".to_owned(),
                    scale: Some(0),
                    ..plain(Type::Decimal)
                },
                (None, _) => plain(Type::Decimal),
            },
            "FLOAT" => Self {
                db_type: format!("FLOAT({})", precision.unwrap_or(126)),
                ..plain(Type::Double)
            },
            "BINARY_FLOAT" => plain(Type::Float),
            "BINARY_DOUBLE" => plain(Type::Double),
            "BOOLEAN" => plain(Type::Boolean),
            "DATE" => plain(Type::DateTime),
            "JSON" => plain(Type::Json),
            "ROWID" | "UROWID" | "SDO_GEOMETRY" | "VECTOR" => plain(Type::Other),
            _ if data_type.starts_with("INTERVAL ") => plain(Type::Other),
            _ if data_type.starts_with("TIMESTAMP") => Self {
                precision: count(scale),
                ..plain(if data_type.ends_with("TIME ZONE") {
                    Type::TimestampTz
                } else {
                    Type::DateTime
                })
            },
            _ => return None,
        })
    }
}

/// What `ALL_TAB_COLS` says of a default: a constant or an expression, as it was written. NULL and the empty text are none
/// at all.
fn default_value(text: &str, kind: &Type) -> Option<DefaultValue> {
    let expression = || Some(DefaultValue::Expression(text.to_owned()));
    if text.is_empty() || text.eq_ignore_ascii_case("null") || text == "''" {
        return None;
    }
    let quoted = text
        .strip_prefix('\'')
        .and_then(|rest| rest.strip_suffix('\''));
    if let Some(constant) = quoted {
        let is_one = !constant.replace("''", "").contains('\'');
        return match kind {
            Type::String | Type::Text if is_one => {
                Some(DefaultValue::Literal(constant.replace("''", "'").into()))
            }
            _ => expression(),
        };
    }
    let is_number = text.parse::<f64>().is_ok_and(f64::is_finite)
        && !text.contains(|character: char| character.is_ascii_alphabetic());
    match kind {
        Type::Boolean if matches!(text, "0" | "1") => {
            Some(DefaultValue::Literal((text == "1").into()))
        }
        kind if is_number && kind.is_numeric() => Some(DefaultValue::Literal(digits(text))),
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_type_has_its_kind_and_spelling() {
        for (data_type, sizes, kind, db_type) in [
            (
                "VARCHAR2",
                [Some(80), Some(20), None, None],
                Type::String,
                "VARCHAR2(20)",
            ),
            (
                "NCHAR",
                [Some(8), Some(4), None, None],
                Type::String,
                "NCHAR(4)",
            ),
            (
                "CLOB",
                [Some(4000), Some(0), None, None],
                Type::Text,
                "CLOB",
            ),
            (
                "RAW",
                [Some(16), Some(0), None, None],
                Type::Binary,
                "RAW(16)",
            ),
            ("BLOB", [Some(4000), None, None, None], Type::Binary, "BLOB"),
            (
                "NUMBER",
                [Some(22), None, Some(1), Some(0)],
                Type::Boolean,
                "NUMBER(1)",
            ),
            (
                "NUMBER",
                [Some(22), None, Some(4), Some(0)],
                Type::SmallInt,
                "NUMBER(4)",
            ),
            (
                "NUMBER",
                [Some(22), None, Some(9), Some(0)],
                Type::Integer,
                "NUMBER(9)",
            ),
            (
                "NUMBER",
                [Some(22), None, Some(18), Some(0)],
                Type::BigInt,
                "NUMBER(18)",
            ),
            (
                "NUMBER",
                [Some(22), None, Some(19), Some(0)],
                Type::Decimal,
                "NUMBER(19)",
            ),
            (
                "NUMBER",
                [Some(22), None, Some(7), Some(-3)],
                Type::BigInt,
                "NUMBER(7,-3)",
            ),
            (
                "NUMBER",
                [Some(22), None, Some(12), Some(2)],
                Type::Decimal,
                "NUMBER(12,2)",
            ),
            (
                "NUMBER",
                [Some(22), None, None, Some(0)],
                Type::Decimal,
                "NUMBER(*,0)",
            ),
            (
                "NUMBER",
                [Some(22), None, None, None],
                Type::Decimal,
                "NUMBER",
            ),
            (
                "FLOAT",
                [Some(22), None, Some(126), None],
                Type::Double,
                "FLOAT(126)",
            ),
            (
                "BINARY_FLOAT",
                [Some(4), None, None, None],
                Type::Float,
                "BINARY_FLOAT",
            ),
            (
                "BOOLEAN",
                [Some(1), None, None, None],
                Type::Boolean,
                "BOOLEAN",
            ),
            ("DATE", [Some(7), None, None, None], Type::DateTime, "DATE"),
            (
                "TIMESTAMP(6)",
                [Some(11), None, None, Some(6)],
                Type::DateTime,
                "TIMESTAMP(6)",
            ),
            (
                "TIMESTAMP(9) WITH LOCAL TIME ZONE",
                [Some(11), None, None, Some(9)],
                Type::TimestampTz,
                "TIMESTAMP(9) WITH LOCAL TIME ZONE",
            ),
            (
                "INTERVAL DAY(2) TO SECOND(6)",
                [Some(11), None, Some(2), Some(6)],
                Type::Other,
                "INTERVAL DAY(2) TO SECOND(6)",
            ),
            ("JSON", [Some(8200), None, None, None], Type::Json, "JSON"),
        ] {
            let shape = Shape::of(data_type, false, sizes, false).unwrap();
            assert_eq!((shape.kind, shape.db_type.as_str()), (kind, db_type));
        }
        let decimal = Shape::of("NUMBER", false, [None, None, Some(1), Some(0)], true).unwrap();
        assert_eq!(decimal.kind, Type::Decimal);
        assert_eq!(Shape::of("ADDRESS_T", true, [None; 4], false), None);
        assert!(Shape::of("XMLTYPE", true, [None; 4], false).is_some());
        assert_eq!(Shape::of("BFILE", false, [None; 4], false), None);
    }

    #[test]
    fn defaults_are_constants_or_expressions() {
        let literal = |value| Some(DefaultValue::Literal(value));
        let expression = |text: &str| Some(DefaultValue::Expression(text.to_owned()));
        for (text, kind, expected) in [
            ("0", Type::Integer, literal(json!(0))),
            ("-1.50", Type::Decimal, literal(json!("-1.50"))),
            ("1", Type::Boolean, literal(json!(true))),
            ("'it''s'", Type::String, literal(json!("it's"))),
            ("''", Type::String, None),
            ("NULL", Type::String, None),
            ("", Type::String, None),
            ("SYSDATE", Type::DateTime, expression("SYSDATE")),
            ("'a'||'b'", Type::String, expression("'a'||'b'")),
            ("SYS_GUID()", Type::Binary, expression("SYS_GUID()")),
        ] {
            assert_eq!(default_value(text, &kind), expected, "{text}");
        }
    }
}
