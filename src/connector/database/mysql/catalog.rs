//! Tables, columns and keys, read from `information_schema`: one query for each kind of thing, whatever their number.

mod routines;

use std::collections::HashMap;

use mysql_async::prelude::Queryable as _;
use mysql_async::{Error as NativeError, FromValueError, Row, Value as Native};
use serde_json::Value as Json;

use super::connect::{Flavour, Session};
use crate::connector::database::catalog::{
    Catalog, Check, Column, DefaultValue, ForeignKey, Index as TableIndex, IndexOrigin, Restated,
    Schemas, Table, Type, api_name,
};
use crate::connector::database::dialect::mysql::{NATIVE_JSON, NATIVE_SPATIAL};

/// Every database that the account may see something of.
const SCHEMAS: &str = "SELECT SCHEMA_NAME FROM information_schema.SCHEMATA ORDER BY SCHEMA_NAME";

/// The server's own databases, which are never served.
const SYSTEM: [&str; 5] = [
    "information_schema",
    "mysql",
    "performance_schema",
    "sys",
    "ndbinfo",
];

const TABLES: &str = "\
SELECT t.TABLE_SCHEMA, t.TABLE_NAME, t.TABLE_TYPE, t.TABLE_COMMENT, v.IS_UPDATABLE
FROM information_schema.TABLES t
LEFT JOIN information_schema.VIEWS v ON v.TABLE_SCHEMA = t.TABLE_SCHEMA AND v.TABLE_NAME = t.TABLE_NAME
WHERE t.TABLE_SCHEMA IN ({schemas}) AND t.TABLE_TYPE IN ('BASE TABLE', 'VIEW', 'SYSTEM VERSIONED')
ORDER BY t.TABLE_NAME, t.TABLE_SCHEMA";

const COLUMNS: &str = "\
SELECT TABLE_SCHEMA, TABLE_NAME, COLUMN_NAME, DATA_TYPE, COLUMN_TYPE, COLUMN_DEFAULT, EXTRA, IS_NULLABLE,
  CHARACTER_MAXIMUM_LENGTH, NUMERIC_PRECISION, NUMERIC_SCALE, DATETIME_PRECISION, COLUMN_COMMENT, {system},
  CHARACTER_SET_NAME, COLLATION_NAME
FROM information_schema.COLUMNS
WHERE TABLE_SCHEMA IN ({schemas}) AND FIND_IN_SET('select', PRIVILEGES) > 0
ORDER BY TABLE_SCHEMA, TABLE_NAME, ORDINAL_POSITION";

/// MySQL keeps the tables of checks apart; MariaDB's own checks for JSON are read above all others.
const CHECKS_OF_MYSQL: &str = "\
SELECT t.TABLE_SCHEMA, t.TABLE_NAME, c.CONSTRAINT_NAME, c.CHECK_CLAUSE
FROM information_schema.CHECK_CONSTRAINTS c
JOIN information_schema.TABLE_CONSTRAINTS t
  ON t.CONSTRAINT_SCHEMA = c.CONSTRAINT_SCHEMA AND t.CONSTRAINT_NAME = c.CONSTRAINT_NAME
  AND t.CONSTRAINT_TYPE = 'CHECK'
WHERE c.CONSTRAINT_SCHEMA IN ({schemas})
ORDER BY t.TABLE_SCHEMA, t.TABLE_NAME, c.CONSTRAINT_NAME";
const CHECKS_OF_MARIADB: &str = "\
SELECT CONSTRAINT_SCHEMA, TABLE_NAME, CONSTRAINT_NAME, CHECK_CLAUSE
FROM information_schema.CHECK_CONSTRAINTS
WHERE CONSTRAINT_SCHEMA IN ({schemas}) AND CHECK_CLAUSE NOT LIKE 'json_valid(%'
ORDER BY CONSTRAINT_SCHEMA, TABLE_NAME, CONSTRAINT_NAME";

/// MariaDB's JSON is text with this check.
const JSON_CHECKS: &str = "\
SELECT CONSTRAINT_SCHEMA, TABLE_NAME, CHECK_CLAUSE FROM information_schema.CHECK_CONSTRAINTS
WHERE CONSTRAINT_SCHEMA IN ({schemas}) AND CHECK_CLAUSE LIKE 'json_valid(%'";

const INDEXES: &str = "\
SELECT TABLE_SCHEMA, TABLE_NAME, INDEX_NAME, NON_UNIQUE, COLUMN_NAME, SUB_PART
FROM information_schema.STATISTICS
WHERE TABLE_SCHEMA IN ({schemas})
ORDER BY TABLE_SCHEMA, TABLE_NAME, INDEX_NAME, SEQ_IN_INDEX";

const FOREIGN_KEYS: &str = "\
SELECT k.TABLE_SCHEMA, k.TABLE_NAME, k.CONSTRAINT_NAME, k.COLUMN_NAME, k.REFERENCED_TABLE_SCHEMA,
  k.REFERENCED_TABLE_NAME, k.REFERENCED_COLUMN_NAME, r.UPDATE_RULE, r.DELETE_RULE
FROM information_schema.KEY_COLUMN_USAGE k
JOIN information_schema.REFERENTIAL_CONSTRAINTS r
  ON r.CONSTRAINT_SCHEMA = k.CONSTRAINT_SCHEMA AND r.CONSTRAINT_NAME = k.CONSTRAINT_NAME
  AND r.TABLE_NAME = k.TABLE_NAME
WHERE k.TABLE_SCHEMA IN ({schemas}) AND k.REFERENCED_TABLE_NAME IS NOT NULL
ORDER BY k.TABLE_SCHEMA, k.TABLE_NAME, k.CONSTRAINT_NAME, k.ORDINAL_POSITION";

/// Digests over what the queries above read. Each row gives 64 bits of a digest, so that neither their order nor their
/// number makes the answer long.
const FINGERPRINTS: [&str; 5] = [
    routines::FINGERPRINT,
    "SELECT CONCAT_WS('.', COUNT(*), BIT_XOR(CAST(CONV(LEFT(SHA2(CONCAT_WS('/', t.TABLE_SCHEMA, t.TABLE_NAME, \
     t.TABLE_TYPE, t.TABLE_COMMENT), 256), 16), 16, 10) AS UNSIGNED))) \
     FROM information_schema.TABLES t WHERE t.TABLE_SCHEMA IN ({schemas})",
    "SELECT CONCAT_WS('.', COUNT(*), BIT_XOR(CAST(CONV(LEFT(SHA2(CONCAT_WS('/', TABLE_SCHEMA, TABLE_NAME, \
     ORDINAL_POSITION, COLUMN_NAME, COLUMN_TYPE, COALESCE(COLUMN_DEFAULT, '-'), IS_NULLABLE, EXTRA, PRIVILEGES, \
     COLUMN_COMMENT, COLLATION_NAME), 256), 16), 16, 10) AS UNSIGNED))) \
     FROM information_schema.COLUMNS WHERE TABLE_SCHEMA IN ({schemas})",
    "SELECT CONCAT_WS('.', COUNT(*), BIT_XOR(CAST(CONV(LEFT(SHA2(CONCAT_WS('/', TABLE_SCHEMA, TABLE_NAME, INDEX_NAME, \
     SEQ_IN_INDEX, NON_UNIQUE, COALESCE(COLUMN_NAME, '-'), SUB_PART), 256), 16), 16, 10) AS UNSIGNED))) \
     FROM information_schema.STATISTICS WHERE TABLE_SCHEMA IN ({schemas})",
    "SELECT CONCAT_WS('.', COUNT(*), BIT_XOR(CAST(CONV(LEFT(SHA2(CONCAT_WS('/', TABLE_SCHEMA, TABLE_NAME, \
     CONSTRAINT_NAME, ORDINAL_POSITION, COLUMN_NAME, REFERENCED_TABLE_SCHEMA, REFERENCED_TABLE_NAME, \
     REFERENCED_COLUMN_NAME), 256), 16), 16, 10) AS UNSIGNED))) \
     FROM information_schema.KEY_COLUMN_USAGE WHERE TABLE_SCHEMA IN ({schemas})",
];

/// Which databases are served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Chosen {
    /// The one whose tables go without a prefix.
    home: String,
    /// Whether the others are served too.
    all: bool,
}

impl Chosen {
    /// What `database` and `schema` of a manifest mean.
    pub(super) fn new(database: &str, schema: &str) -> Self {
        let home = match schema {
            "" | "default" | "*" => database,
            other => other,
        };
        Self {
            home: home.to_owned(),
            all: schema == "*",
        }
    }

    /// The databases, as the server spells them; the one that is home comes first.
    fn of(&self, mut found: Vec<String>) -> Vec<String> {
        // A server may fold the case of names; then the spelling of the manifest is not the one in the catalogue.
        let home = found
            .iter()
            .position(|name| *name == self.home)
            .or_else(|| {
                found
                    .iter()
                    .position(|name| name.eq_ignore_ascii_case(&self.home))
            });
        let mut chosen = Vec::new();
        if let Some(home) = home {
            chosen.push(found.remove(home));
        }
        if self.all {
            found.retain(|name| {
                !SYSTEM
                    .iter()
                    .any(|system| name.eq_ignore_ascii_case(system))
            });
            chosen.append(&mut found);
        }
        chosen
    }
}

/// Runs a query over the chosen databases.
async fn rows(
    session: &mut Session,
    sql: &str,
    schemas: &[String],
) -> Result<Vec<Row>, NativeError> {
    let places = vec!["?"; schemas.len()].join(", ");
    let values: Vec<Native> = schemas
        .iter()
        .map(|name| Native::Bytes(name.as_bytes().to_vec()))
        .collect();
    session
        .native
        .exec(sql.replace("{schemas}", &places), values)
        .await
}

async fn schemas(session: &mut Session, chosen: &Chosen) -> Result<Vec<String>, NativeError> {
    let found: Vec<String> = session.native.query(SCHEMAS).await?;
    Ok(chosen.of(found))
}

/// A text that changes when tables, columns or keys change.
pub(super) async fn fingerprint(
    session: &mut Session,
    chosen: &Chosen,
) -> Result<String, NativeError> {
    let schemas = schemas(session, chosen).await?;
    let mut parts = vec![schemas.join("/")];
    if !schemas.is_empty() {
        for sql in FINGERPRINTS {
            let mut answer = rows(session, sql, &schemas).await?;
            let part = answer.pop().and_then(|mut row| text(&mut row, 0));
            parts.push(part.unwrap_or_default());
        }
    }
    Ok(parts.join("-"))
}

/// Reads everything.
pub(super) async fn read(session: &mut Session, chosen: &Chosen) -> Result<Catalog, NativeError> {
    let schemas = schemas(session, chosen).await?;
    let Some(home) = schemas.first() else {
        return Ok(Catalog::default());
    };
    let mut draft = Draft::default();
    for mut row in rows(session, TABLES, &schemas).await? {
        draft.add_table(&mut row, &schemas, home);
    }
    let flavour = session.flavour;
    let mut json = Vec::new();
    if flavour == Flavour::Mariadb {
        for mut row in rows(session, JSON_CHECKS, &schemas).await? {
            if let (Some(schema), Some(table), Some(clause)) =
                (text(&mut row, 0), text(&mut row, 1), text(&mut row, 2))
            {
                json.push((schema, table, clause));
            }
        }
    }
    let columns = COLUMNS.replace(
        "{system}",
        match flavour {
            Flavour::Mysql => "SRS_ID",
            Flavour::Mariadb => "NULL",
        },
    );
    for mut row in rows(session, &columns, &schemas).await? {
        draft.add_column(&mut row, flavour);
    }
    for (schema, table, clause) in json {
        draft.mark_json(&schema, &table, &clause);
    }
    for mut row in rows(session, INDEXES, &schemas).await? {
        draft.add_index_column(&mut row);
    }
    draft.end_index();
    for mut row in rows(session, FOREIGN_KEYS, &schemas).await? {
        draft.add_key_column(&mut row);
    }
    draft.end_key();
    let routines = routines::read(session, &schemas).await?;
    let checks = match flavour {
        Flavour::Mysql => CHECKS_OF_MYSQL,
        Flavour::Mariadb => CHECKS_OF_MARIADB,
    };
    for mut row in rows(session, checks, &schemas).await? {
        draft.add_check(&mut row);
    }
    let known = Schemas {
        home: Some(home.clone()),
        names: schemas.clone(),
    };
    Ok(Catalog::new(draft.tables)
        .with_schemas(known)
        .with_routines(routines))
}

fn take<T: mysql_async::prelude::FromValue>(row: &mut Row, index: usize) -> Option<T> {
    let value: Option<Result<Option<T>, FromValueError>> = row.take_opt(index);
    value.and_then(Result::ok).flatten()
}

fn text(row: &mut Row, index: usize) -> Option<String> {
    take(row, index)
}

fn number(row: &mut Row, index: usize) -> Option<u32> {
    take::<u64>(row, index).and_then(|number| u32::try_from(number).ok())
}

/// An index, or a foreign key, whose columns are still coming.
#[derive(Default)]
struct Index {
    table: usize,
    name: String,
    is_unique: bool,
    /// `None` stands for an expression, for a part of a text, or for a column that the account may not read.
    columns: Vec<Option<usize>>,
    leading: Option<usize>,
}

struct Key {
    table: usize,
    made: ForeignKey,
    is_whole: bool,
}

/// Tables in the making.
#[derive(Default)]
struct Draft {
    tables: Vec<Table>,
    /// Where each table stands, by database and name.
    positions: HashMap<(String, String), usize>,
    index: Option<Index>,
    key: Option<Key>,
}

impl Draft {
    /// The table that the first two columns of a row name.
    fn position(&self, row: &mut Row) -> Option<usize> {
        let schema = text(row, 0)?;
        let name = text(row, 1)?;
        self.positions.get(&(schema, name)).copied()
    }

    fn add_table(&mut self, row: &mut Row, schemas: &[String], home: &str) {
        let (Some(schema), Some(native)) = (text(row, 0), text(row, 1)) else {
            return;
        };
        // The server may compare names without their case.
        if !schemas.contains(&schema) {
            return;
        }
        let is_view = text(row, 2).is_some_and(|kind| kind == "VIEW");
        let comment = text(row, 3).filter(|comment| !comment.is_empty() && !is_view);
        let is_updatable = text(row, 4).is_some_and(|answer| answer == "YES");
        self.positions
            .insert((schema.clone(), native.clone()), self.tables.len());
        self.tables.push(Table {
            name: api_name(&schema, &native, schema == home),
            schema: Some(schema),
            native,
            is_view,
            is_writable: !is_view || is_updatable,
            description: comment,
            ..Table::default()
        });
    }

    fn add_column(&mut self, row: &mut Row, flavour: Flavour) {
        let Some(table) = self.position(row) else {
            return;
        };
        let (Some(name), Some(data_type), Some(db_type)) =
            (text(row, 2), text(row, 3), text(row, 4))
        else {
            return;
        };
        let default = text(row, 5);
        let extra = text(row, 6).unwrap_or_default().to_ascii_uppercase();
        let is_nullable = text(row, 7).is_some_and(|answer| answer == "YES");
        let length = number(row, 8);
        let numeric = (number(row, 9), number(row, 10));
        let fraction = number(row, 11);
        let comment = text(row, 12).filter(|comment| !comment.is_empty());
        let system = number(row, 13).unwrap_or(0);
        let collation = text(row, 14).zip(text(row, 15));
        let restated = Restated {
            // What the server calls its character sets and collations is made of letters, digits and `_`.
            collation: collation
                .map(|(set, collation)| format!("CHARACTER SET {set} COLLATE {collation}")),
            follows_updates: extra.contains("ON UPDATE CURRENT_TIMESTAMP"),
        };
        let (kind, native) = kind_of(&data_type.to_ascii_lowercase(), &db_type, system);
        let is_generated = extra.contains("VIRTUAL GENERATED")
            || extra.contains("STORED GENERATED")
            || extra.contains("PERSISTENT GENERATED");
        let is_auto_increment = extra.contains("AUTO_INCREMENT");
        let (precision, scale) = match kind {
            Type::Decimal => numeric,
            _ if kind.is_temporal() => (fraction, None),
            _ => (None, None),
        };
        let default = default.filter(|_| !is_generated && !is_auto_increment);
        let default = default.and_then(|text| match flavour {
            Flavour::Mysql if extra.contains("DEFAULT_GENERATED") => {
                Some(DefaultValue::Expression(text))
            }
            Flavour::Mysql => Some(literal(&text, &kind)),
            Flavour::Mariadb => mariadb_default(&text, &kind),
        });
        let column = Column {
            picklist: picklist(&db_type),
            name,
            native,
            is_nullable,
            default,
            is_auto_increment,
            is_generated,
            // The large types have a length too, but nobody gives it.
            length: length.filter(|_| {
                kind == Type::String || matches!(data_type.as_str(), "binary" | "varbinary")
            }),
            precision,
            scale,
            description: comment,
            db_type,
            kind,
            settings: None,
        };
        if let Some(table) = self.tables.get_mut(table) {
            if restated != Restated::default() {
                table.restated.insert(table.columns.len(), restated);
            }
            table.columns.push(column);
        }
    }

    fn mark_json(&mut self, schema: &str, table: &str, clause: &str) {
        let position = self
            .positions
            .get(&(schema.to_owned(), table.to_owned()))
            .copied();
        let Some(table) = position.and_then(|position| self.tables.get_mut(position)) else {
            return;
        };
        for column in &mut table.columns {
            // The session's mode decides on the quotes.
            let is_check = ['`', '"'].into_iter().any(|quote| {
                let name = column.name.replace(quote, &format!("{quote}{quote}"));
                clause == format!("json_valid({quote}{name}{quote})")
            });
            if column.kind == Type::Text && is_check {
                column.kind = Type::Json;
                "json".clone_into(&mut column.db_type);
                column.length = None;
                if let Some(DefaultValue::Literal(Json::String(text))) = &column.default
                    && let Ok(value) = serde_json::from_str(text)
                {
                    column.default = Some(DefaultValue::Literal(value));
                }
            }
        }
    }

    fn column(&self, table: usize, name: &str) -> Option<usize> {
        let columns = &self.tables.get(table)?.columns;
        columns.iter().position(|column| column.name == name)
    }

    fn add_index_column(&mut self, row: &mut Row) {
        let Some(table) = self.position(row) else {
            return;
        };
        let Some(name) = text(row, 2) else {
            return;
        };
        let is_unique = number(row, 3) == Some(0);
        let column = text(row, 4).and_then(|name| self.column(table, &name));
        let is_part = number(row, 5).is_some();
        let is_same = self
            .index
            .as_ref()
            .is_some_and(|index| index.table == table && index.name == name);
        if !is_same {
            self.end_index();
            self.index = Some(Index {
                table,
                name,
                is_unique,
                columns: Vec::new(),
                leading: column,
            });
        }
        if let Some(index) = &mut self.index {
            index.columns.push(column.filter(|_| !is_part));
        }
    }

    fn end_index(&mut self) {
        let Some(index) = self.index.take() else {
            return;
        };
        let Some(table) = self.tables.get_mut(index.table) else {
            return;
        };
        if let Some(leading) = index.leading
            && !table.indexed.contains(&leading)
        {
            table.indexed.push(leading);
        }
        let Some(columns) = index.columns.into_iter().collect::<Option<Vec<usize>>>() else {
            return;
        };
        table.indexes.push(TableIndex {
            origin: match (index.name.as_str(), index.is_unique) {
                ("PRIMARY", _) => IndexOrigin::PrimaryKey,
                // The server does not tell a unique index from a UNIQUE constraint.
                (_, true) => IndexOrigin::Unique,
                (_, false) => IndexOrigin::Index,
            },
            name: index.name.clone(),
            columns: columns.clone(),
            is_unique: index.is_unique,
        });
        if index.name == "PRIMARY" {
            table.primary_key = columns;
        } else if index.is_unique && !table.unique_keys.contains(&columns) {
            table.unique_keys.push(columns);
        }
    }

    fn add_check(&mut self, row: &mut Row) {
        let Some(table) = self.position(row) else {
            return;
        };
        if let (Some(name), Some(sql)) = (text(row, 2), text(row, 3))
            && let Some(table) = self.tables.get_mut(table)
        {
            table.checks.push(Check { name, sql });
        }
    }

    fn add_key_column(&mut self, row: &mut Row) {
        let Some(table) = self.position(row) else {
            return;
        };
        let (Some(name), Some(column), Some(schema), Some(target), Some(target_column)) = (
            text(row, 2),
            text(row, 3),
            text(row, 4),
            text(row, 5),
            text(row, 6),
        ) else {
            return;
        };
        let is_same = self
            .key
            .as_ref()
            .is_some_and(|key| key.table == table && key.made.name == name);
        if !is_same {
            self.end_key();
            let Some(target) = self.target(schema, target) else {
                return;
            };
            self.key = Some(Key {
                table,
                made: ForeignKey {
                    name,
                    columns: Vec::new(),
                    target,
                    target_columns: Vec::new(),
                    on_update: text(row, 7).unwrap_or_default(),
                    on_delete: text(row, 8).unwrap_or_default(),
                },
                is_whole: true,
            });
        }
        let column = self.column(table, &column);
        if let Some(key) = &mut self.key {
            match column {
                Some(column) => {
                    key.made.columns.push(column);
                    key.made.target_columns.push(target_column);
                }
                None => key.is_whole = false,
            }
        }
    }

    /// What callers call the table that a key points to. Servers that fold the case of names may give it folded.
    fn target(&self, schema: String, name: String) -> Option<String> {
        let names = (schema, name);
        let position = self.positions.get(&names).copied().or_else(|| {
            let mut alike = self.positions.iter().filter(|((schema, name), _)| {
                schema.eq_ignore_ascii_case(&names.0) && name.eq_ignore_ascii_case(&names.1)
            });
            let (_, position) = alike.next()?;
            alike.next().is_none().then_some(*position)
        })?;
        Some(self.tables.get(position)?.name.clone())
    }

    fn end_key(&mut self) {
        if let Some(key) = self.key.take()
            && key.is_whole
            && let Some(table) = self.tables.get_mut(key.table)
        {
            table.foreign_keys.push(key.made);
        }
    }
}

/// The kind of a type and [`Column::native`]. `system` is the number of a spatial reference system.
fn kind_of(data_type: &str, db_type: &str, system: u32) -> (Type, u32) {
    let is_unsigned = db_type.contains("unsigned");
    let kind = match data_type {
        "tinyint" if db_type.starts_with("tinyint(1)") && !is_unsigned => Type::Boolean,
        "bit" if db_type == "bit(1)" => Type::Boolean,
        "tinyint" | "year" => Type::SmallInt,
        "smallint" if !is_unsigned => Type::SmallInt,
        "smallint" | "mediumint" => Type::Integer,
        "int" | "integer" if !is_unsigned => Type::Integer,
        // 64 bits without a sign are more than a large integer has.
        "bigint" | "bit" if is_unsigned || db_type == "bit(64)" => Type::Decimal,
        "decimal" | "numeric" => Type::Decimal,
        "int" | "integer" | "bigint" | "bit" => Type::BigInt,
        "float" => Type::Float,
        "double" | "real" => Type::Double,
        "char" | "varchar" | "enum" | "set" => Type::String,
        "tinytext" | "text" | "mediumtext" | "longtext" => Type::Text,
        "json" => return (Type::Json, NATIVE_JSON),
        "uuid" => Type::Uuid,
        "binary" | "varbinary" | "tinyblob" | "blob" | "mediumblob" | "longblob" | "vector" => {
            Type::Binary
        }
        "date" => Type::Date,
        "time" => Type::Time,
        "datetime" => Type::DateTime,
        "timestamp" => Type::TimestampTz,
        "geometry" | "point" | "linestring" | "polygon" | "multipoint" | "multilinestring"
        | "multipolygon" | "geometrycollection" | "geomcollection" => {
            return (Type::Other, NATIVE_SPATIAL | (system & !NATIVE_SPATIAL));
        }
        _ => Type::Other,
    };
    (kind, 0)
}

/// The values of an enumeration.
fn picklist(db_type: &str) -> Vec<String> {
    let Some(mut rest) = db_type
        .strip_prefix("enum(")
        .and_then(|rest| rest.strip_suffix(')'))
    else {
        return Vec::new();
    };
    let mut values = Vec::new();
    while let Some((value, after)) = quoted(rest) {
        values.push(value);
        rest = after.strip_prefix(',').unwrap_or_default();
    }
    values
}

/// A text constant at the beginning, and what follows it.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut characters = text.strip_prefix('\'')?.char_indices().peekable();
    let inner = text.get(1..)?;
    let mut value = String::new();
    while let Some((index, character)) = characters.next() {
        match character {
            '\'' => {
                if characters.next_if(|(_, next)| *next == '\'').is_none() {
                    return Some((value, inner.get(index + 1..)?));
                }
                value.push('\'');
            }
            '\\' => match characters.next()?.1 {
                'n' => value.push('\n'),
                'r' => value.push('\r'),
                't' => value.push('\t'),
                '0' => value.push('\0'),
                other => value.push(other),
            },
            other => value.push(other),
        }
    }
    None
}

/// A constant default as JSON.
fn literal(text: &str, kind: &Type) -> DefaultValue {
    let bits = text
        .strip_prefix("b'")
        .and_then(|rest| rest.strip_suffix('\''))
        .and_then(|digits| u64::from_str_radix(digits, 2).ok());
    let constant = match kind {
        Type::Boolean => match (bits, text) {
            (Some(bits), _) => Some(Json::Bool(bits != 0)),
            (None, "0") => Some(Json::Bool(false)),
            (None, "1") => Some(Json::Bool(true)),
            (None, _) => None,
        },
        kind if kind.is_numeric() => match bits {
            Some(bits) => Some(bits.into()),
            None => serde_json::from_str(text).ok().filter(Json::is_number),
        },
        Type::Json => serde_json::from_str(text).ok(),
        Type::Binary | Type::Other => None,
        _ => Some(Json::String(text.to_owned())),
    };
    constant.map_or_else(
        || DefaultValue::Expression(text.to_owned()),
        DefaultValue::Literal,
    )
}

/// A default of MariaDB, which is an expression always.
fn mariadb_default(text: &str, kind: &Type) -> Option<DefaultValue> {
    if text.eq_ignore_ascii_case("null") {
        return None;
    }
    if let Some((constant, rest)) = quoted(text) {
        return Some(if rest.is_empty() {
            literal(&constant, kind)
        } else {
            DefaultValue::Expression(text.to_owned())
        });
    }
    Some(match kind {
        Type::Boolean | Type::Json => literal(text, kind),
        kind if kind.is_numeric() => literal(text, kind),
        _ => DefaultValue::Expression(text.to_owned()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_type_has_its_kind() {
        for (db_type, kind) in [
            ("tinyint(1)", Type::Boolean),
            ("tinyint", Type::SmallInt),
            ("tinyint(4)", Type::SmallInt),
            ("tinyint(1) unsigned", Type::SmallInt),
            ("smallint", Type::SmallInt),
            ("smallint unsigned", Type::Integer),
            ("mediumint unsigned", Type::Integer),
            ("int", Type::Integer),
            ("int(10) unsigned", Type::BigInt),
            ("bigint", Type::BigInt),
            ("bigint unsigned", Type::Decimal),
            ("bit(1)", Type::Boolean),
            ("bit(8)", Type::BigInt),
            ("bit(64)", Type::Decimal),
            ("year(4)", Type::SmallInt),
            ("decimal(12,2)", Type::Decimal),
            ("float", Type::Float),
            ("double", Type::Double),
            ("enum('a')", Type::String),
            ("set('a')", Type::String),
            ("varchar(5)", Type::String),
            ("longtext", Type::Text),
            ("json", Type::Json),
            ("uuid", Type::Uuid),
            ("inet6", Type::Other),
            ("varbinary(16)", Type::Binary),
            ("mediumblob", Type::Binary),
            ("date", Type::Date),
            ("time(6)", Type::Time),
            ("datetime", Type::DateTime),
            ("timestamp", Type::TimestampTz),
            ("point", Type::Other),
        ] {
            let data_type = db_type.split(['(', ' ']).next().unwrap();
            assert_eq!(kind_of(data_type, db_type, 0).0, kind, "{db_type}");
        }
        assert_eq!(kind_of("point", "point", 4326).1, NATIVE_SPATIAL + 4326);
    }

    #[test]
    fn enumerations_list_their_values() {
        assert_eq!(
            picklist("enum('a','b,c','d''e','')"),
            ["a", "b,c", "d'e", ""]
        );
        assert_eq!(picklist("enum('a\\\\b','x\\ny')"), ["a\\b", "x\ny"]);
        for db_type in ["set('a','b')", "varchar(5)", "enum()"] {
            assert!(picklist(db_type).is_empty(), "{db_type}");
        }
    }

    #[test]
    fn constant_defaults_are_json_and_the_rest_is_an_expression() {
        let expression = |text: &str| DefaultValue::Expression(text.to_owned());
        for (text, kind, expected) in [
            ("1", Type::Boolean, DefaultValue::Literal(json!(true))),
            ("b'0'", Type::Boolean, DefaultValue::Literal(json!(false))),
            ("b'101'", Type::BigInt, DefaultValue::Literal(json!(5))),
            ("-7", Type::Integer, DefaultValue::Literal(json!(-7))),
            ("o'x", Type::String, DefaultValue::Literal(json!("o'x"))),
            ("0x61", Type::Binary, expression("0x61")),
        ] {
            assert_eq!(literal(text, &kind), expected, "{text}");
        }
        for (text, kind, expected) in [
            ("NULL", Type::String, None),
            (
                "'o''x'",
                Type::String,
                Some(DefaultValue::Literal(json!("o'x"))),
            ),
            (
                "'NULL'",
                Type::String,
                Some(DefaultValue::Literal(json!("NULL"))),
            ),
            ("uuid()", Type::String, Some(expression("uuid()"))),
            (
                "current_timestamp()",
                Type::DateTime,
                Some(expression("current_timestamp()")),
            ),
            ("1 + 1", Type::Integer, Some(expression("1 + 1"))),
            ("12", Type::Integer, Some(DefaultValue::Literal(json!(12)))),
        ] {
            assert_eq!(mariadb_default(text, &kind), expected, "{text}");
        }
    }

    #[test]
    fn the_databases_of_a_manifest_are_chosen_as_the_server_spells_them() {
        let found = || ["App", "mysql", "other", "sys"].map(str::to_owned).to_vec();
        for (database, schema, expected) in [
            ("App", "", vec!["App"]),
            ("app", "default", vec!["App"]),
            ("App", "*", vec!["App", "other"]),
            ("App", "other", vec!["other"]),
            ("App", "missing", vec![]),
        ] {
            assert_eq!(
                Chosen::new(database, schema).of(found()),
                expected,
                "{schema}"
            );
        }
    }
}
