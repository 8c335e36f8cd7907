//! Tables, columns and keys, by the catalogue functions that every driver has, and by a query of the product for what
//! those do not tell: other unique keys, and columns that the database numbers or computes.

use std::collections::HashMap;
use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

use super::config::DialectName;
use super::connection::{Asked, AskedTable, Open};
use super::error::{Cause, Failure};
use super::watch::Watch;
use crate::connector::database::catalog::{
    Catalog, Column, DefaultValue, ForeignKey, Index, IndexOrigin, Table, Type, api_name,
};
use crate::connector::database::dialect::mysql::NATIVE_JSON;

/// Which tables are served.
#[derive(Clone, Debug)]
pub(super) struct Served {
    /// The SQL that the database speaks.
    pub(super) dialect: DialectName,
    /// The catalogue; empty for that of the connection.
    pub(super) catalog: String,
    /// The schema; empty for all.
    pub(super) schema: String,
}

type Row = Vec<Option<String>>;

/// A table by its schema, if there is one, and its own name.
type Names = (Option<String>, String);

/// A table as `SQLTables` tells it.
struct Listed {
    catalog: Option<String>,
    schema: Option<String>,
    native: String,
    is_view: bool,
    description: Option<String>,
}

/// Reads all tables that are served.
pub(super) fn read_catalog(
    open: &mut Open<'_>,
    served: &Served,
    watch: &Watch,
) -> Result<Catalog, Failure> {
    let served = &chosen(open, served, watch)?;
    let home = home(open, served, watch)?;
    let listed = read_tables(open, served, watch)?;
    let mut columns: HashMap<Names, Vec<(i64, Column)>> = HashMap::new();
    for row in read_columns(open, served, watch)? {
        let place = integer(&row, 16).unwrap_or(0);
        if let (Some(table), Some(column)) = (text(&row, 2), column(&row, served.dialect)) {
            columns
                .entry((schema_of(&row, 1), table))
                .or_default()
                .push((place, column));
        }
    }
    let mut tables = Vec::with_capacity(listed.len());
    for listed in &listed {
        let key = (listed.schema.clone(), listed.native.clone());
        let mut columns = columns.remove(&key).unwrap_or_default();
        if columns.is_empty() {
            continue;
        }
        // A driver without positions gives them in their order.
        columns.sort_by_key(|(place, _)| *place);
        tables.push(Table {
            name: shown_name(listed.schema.as_deref(), &listed.native, home.as_deref()),
            schema: listed.schema.clone(),
            native: listed.native.clone(),
            is_view: listed.is_view,
            columns: columns.into_iter().map(|(_, column)| column).collect(),
            description: listed.description.clone(),
            is_writable: !listed.is_view,
            ..Table::default()
        });
    }
    let listed: HashMap<(Option<&str>, &str), &Listed> = listed
        .iter()
        .map(|listed| ((listed.schema.as_deref(), listed.native.as_str()), listed))
        .collect();
    for table in tables.iter_mut().filter(|table| !table.is_view) {
        let asked = AskedTable {
            catalog: listed
                .get(&(table.schema.as_deref(), table.native.as_str()))
                .and_then(|listed| listed.catalog.as_deref()),
            schema: table.schema.as_deref(),
            name: &table.native,
        };
        table.primary_key = read_primary_key(open, asked, &table.columns, watch)?;
    }
    mark_numbered(open, served.dialect, &mut tables, watch)?;
    read_unique_keys(open, served.dialect, &mut tables, watch)?;
    let mut foreign_keys = Vec::with_capacity(tables.len());
    for table in &tables {
        let asked = AskedTable {
            catalog: listed
                .get(&(table.schema.as_deref(), table.native.as_str()))
                .and_then(|listed| listed.catalog.as_deref()),
            schema: table.schema.as_deref(),
            name: &table.native,
        };
        foreign_keys.push(if table.is_view {
            Vec::new()
        } else {
            read_foreign_keys(open, asked, table, &tables, watch)?
        });
    }
    for (table, keys) in tables.iter_mut().zip(foreign_keys) {
        table.foreign_keys = keys;
        table.indexed = table
            .primary_key
            .first()
            .into_iter()
            .chain(table.unique_keys.iter().filter_map(|key| key.first()))
            .copied()
            .collect();
        table.indexed.sort_unstable();
        table.indexed.dedup();
    }
    Ok(Catalog::new(tables))
}

/// A short text that changes when tables or columns change.
pub(super) fn read_fingerprint(
    open: &mut Open<'_>,
    served: &Served,
    watch: &Watch,
) -> Result<String, Failure> {
    if let Some(sql) = served.dialect.fingerprint() {
        let rows = open.texts(sql, 1, watch)?;
        return Ok(rows
            .first()
            .and_then(|row| text(row, 0))
            .unwrap_or_default());
    }
    // One call for all columns; no statistics and no keys.
    let served = &chosen(open, served, watch)?;
    let mut digest = Sha256::new();
    for row in read_columns(open, served, watch)? {
        for value in row {
            let value = value.unwrap_or_default();
            digest.update(value.len().to_le_bytes());
            digest.update(value.as_bytes());
        }
    }
    let mut text = String::with_capacity(32);
    for byte in digest.finalize().iter().take(16) {
        let _ = write!(text, "{byte:02x}");
    }
    Ok(text)
}

/// What is served, with the catalogue of the connection where none is named.
fn chosen(open: &mut Open<'_>, served: &Served, watch: &Watch) -> Result<Served, Failure> {
    let mut chosen = served.clone();
    if served.catalog.is_empty()
        && let Some(sql) = served.dialect.current_catalog()
    {
        let rows = open.texts(sql, 1, watch)?;
        chosen.catalog = rows
            .first()
            .and_then(|row| text(row, 0))
            .unwrap_or_default();
    }
    Ok(chosen)
}

/// Whether a row of a catalogue function is of the catalogue that is served.
fn is_of_catalog(row: &Row, served: &Served) -> bool {
    served.catalog.is_empty()
        || text(row, 0).is_none_or(|name| name.is_empty() || name == served.catalog)
}

fn home(open: &mut Open<'_>, served: &Served, watch: &Watch) -> Result<Option<String>, Failure> {
    if !served.schema.is_empty() {
        return Ok(Some(served.schema.clone()));
    }
    let Some(sql) = served.dialect.default_schema() else {
        return Ok(None);
    };
    let rows = open.texts(sql, 1, watch)?;
    Ok(rows.first().and_then(|row| text(row, 0)))
}

fn shown_name(schema: Option<&str>, native: &str, home: Option<&str>) -> String {
    schema.map_or_else(
        || native.to_owned(),
        |schema| api_name(schema, native, home.is_none_or(|home| home == schema)),
    )
}

/// The pattern for schemas: what is named may hold `_`, which matches itself too; exact names are compared later.
fn schema_pattern(served: &Served) -> &str {
    if !served.schema.is_empty() {
        return &served.schema;
    }
    if served.dialect.has_schemas() {
        "%"
    } else {
        ""
    }
}

fn is_served(schema: Option<&str>, served: &Served) -> bool {
    match schema {
        None => true,
        Some(schema) if !served.schema.is_empty() => schema == served.schema,
        Some(schema) => !served.dialect.is_own_schema(schema),
    }
}

fn read_tables(
    open: &mut Open<'_>,
    served: &Served,
    watch: &Watch,
) -> Result<Vec<Listed>, Failure> {
    let asked = Asked::Tables {
        catalog: &served.catalog,
        schema: schema_pattern(served),
    };
    let mut listed: Vec<Listed> = open
        .catalogue(&asked, 5, watch)?
        .into_iter()
        .filter(|row| is_of_catalog(row, served))
        .filter_map(|row| {
            let kind = text(&row, 3)?.to_ascii_uppercase();
            let is_view = kind == "VIEW";
            if !is_view && kind != "TABLE" && kind != "BASE TABLE" {
                return None;
            }
            Some(Listed {
                catalog: text(&row, 0).filter(|name| !name.is_empty()),
                schema: schema_of(&row, 1),
                native: text(&row, 2)?,
                is_view,
                description: text(&row, 4).filter(|remark| !remark.is_empty()),
            })
        })
        .filter(|listed| is_served(listed.schema.as_deref(), served))
        .filter(|listed| !served.dialect.is_own_table(&listed.native))
        .collect();
    listed.sort_by(|left, right| (&left.schema, &left.native).cmp(&(&right.schema, &right.native)));
    listed.dedup_by(|left, right| left.schema == right.schema && left.native == right.native);
    Ok(listed)
}

fn read_columns(open: &mut Open<'_>, served: &Served, watch: &Watch) -> Result<Vec<Row>, Failure> {
    let asked = Asked::Columns {
        catalog: &served.catalog,
        schema: schema_pattern(served),
    };
    let mut rows = open.catalogue(&asked, 17, watch)?;
    rows.retain(|row| is_of_catalog(row, served));
    rows.retain(|row| is_served(schema_of(row, 1).as_deref(), served));
    Ok(rows)
}

fn text(row: &Row, index: usize) -> Option<String> {
    row.get(index).cloned().flatten()
}

fn integer(row: &Row, index: usize) -> Option<i64> {
    row.get(index)?.as_deref()?.trim().parse().ok()
}

/// A schema; drivers for products without them say NULL or nothing.
fn schema_of(row: &Row, index: usize) -> Option<String> {
    text(row, index).filter(|name| !name.is_empty())
}

/// A column as `SQLColumns` tells it.
fn column(row: &Row, dialect: DialectName) -> Option<Column> {
    let name = text(row, 3)?;
    let data_type = integer(row, 4)?;
    let type_name = text(row, 5).unwrap_or_default();
    let size = integer(row, 6).and_then(|size| u32::try_from(size).ok());
    let digits = integer(row, 8).and_then(|digits| u32::try_from(digits).ok());
    let (kind, native) = kind(dialect, data_type, &type_name, size, digits);
    let is_numbered = type_name.to_ascii_lowercase().ends_with("serial")
        || type_name.to_ascii_lowercase().contains("identity");
    // SQL Server says `int identity` and `numeric() identity`; the type is what stands before.
    let type_name = match (dialect, type_name.split_once(" identity")) {
        (DialectName::SqlServer, Some((bare, _))) => bare.trim_end_matches("()").to_owned(),
        _ => type_name,
    };
    let is_exact = match dialect {
        DialectName::SqlServer => kind == Type::Decimal,
        // FLOAT(126) counts binary digits, and a NUMBER of any size has none to tell.
        DialectName::Oracle => kind != Type::Money && matches!(data_type, 2 | 3),
        _ => matches!(kind, Type::Decimal | Type::Money),
    };
    let is_limited = kind == Type::String;
    // A key is read back by way of a column declared with this type.
    let is_sized = match dialect {
        DialectName::SqlServer => matches!(
            type_name.as_str(),
            "char" | "varchar" | "nchar" | "nvarchar" | "binary" | "varbinary"
        ),
        _ => is_limited,
    };
    let db_type = match (size, digits) {
        _ if type_name.contains('(') => type_name.clone(),
        (Some(size), Some(digits)) if is_exact && size > 0 => {
            format!("{type_name}({size},{digits})")
        }
        (Some(size), _) if is_sized && size > 0 => format!("{type_name}({size})"),
        _ => type_name.clone(),
    };
    Some(Column {
        name,
        default: text(row, 12).and_then(|text| read_default(&text, &kind)),
        db_type,
        native,
        // SQL_NO_NULLS is 0; unknown is 2.
        is_nullable: integer(row, 10) != Some(0),
        is_auto_increment: is_numbered,
        is_generated: false,
        length: size.filter(|size| is_limited && *size > 0),
        // Of times, the digits of the fraction of a second.
        precision: if kind.is_temporal() {
            digits
        } else {
            size.filter(|_| is_exact)
        },
        scale: digits.filter(|_| is_exact),
        picklist: Vec::new(),
        settings: None,
        description: text(row, 11).filter(|remark| !remark.is_empty()),
        kind,
    })
}

/// The numbers of SQL types ("SQL Data Types", ODBC Programmer's Reference appendix D; `sql.h`, `sqlext.h`), and those
/// of Microsoft's driver (`msodbcsql.h`).
fn kind(
    dialect: DialectName,
    data_type: i64,
    type_name: &str,
    size: Option<u32>,
    digits: Option<u32>,
) -> (Type, u32) {
    let lowered = type_name.to_ascii_lowercase();
    let name = lowered.split('(').next().unwrap_or_default().trim();
    let name = name.strip_suffix(" identity").unwrap_or(name);
    if let Some(kind) = by_type_name(dialect, name, &lowered) {
        return (kind, native_number(dialect, name));
    }
    let kind = match data_type {
        -7 => Type::Boolean,
        -6 | 5 => Type::SmallInt,
        4 => Type::Integer,
        -5 => Type::BigInt,
        // A NUMBER without digits after the point is what Oracle and Snowflake have for integers.
        2 | 3
            if matches!(dialect, DialectName::Snowflake | DialectName::Oracle)
                && digits == Some(0) =>
        {
            match size {
                Some(size) if size <= 9 => Type::Integer,
                Some(size) if size <= 18 => Type::BigInt,
                _ => Type::Decimal,
            }
        }
        // A NUMBER without precision, which Oracle's driver takes for a double.
        6 | 8 if dialect == DialectName::Oracle && name == "number" => Type::Decimal,
        // SQL Server's `(max)` has no size.
        12 | -9 if dialect == DialectName::SqlServer && size.is_none_or(|size| size == 0) => {
            Type::Text
        }
        2 | 3 => Type::Decimal,
        7 => Type::Float,
        6 | 8 => Type::Double,
        1 | 12 | -8 | -9 => Type::String,
        -1 | -10 => Type::Text,
        -4..=-2 => Type::Binary,
        9 | 91 => Type::Date,
        10 | 92 | -154 => Type::Time,
        11 | 93 => Type::DateTime,
        -155 => Type::TimestampTz,
        -11 => Type::Uuid,
        _ => Type::Other,
    };
    (kind, native_number(dialect, name))
}

/// Kinds that ODBC has no number for, or that drivers give another one.
#[expect(
    clippy::match_same_arms,
    reason = "the table is read product by product"
)]
fn by_type_name(dialect: DialectName, name: &str, whole: &str) -> Option<Type> {
    Some(match (dialect, name) {
        (_, "boolean" | "bool") => Type::Boolean,
        (_, "uuid" | "uniqueidentifier") => Type::Uuid,
        // Semi-structured values of Snowflake are read as text.
        (_, "json" | "jsonb") | (DialectName::Snowflake, "variant" | "object" | "array") => {
            Type::Json
        }
        // MySQL's is a point in time, shown in the zone of the session.
        (
            DialectName::PostgreSql | DialectName::Sqlite | DialectName::Snowflake,
            "timestamptz" | "timestamp with time zone" | "timestamp_tz" | "timestamp_ltz",
        )
        | (DialectName::Firebird | DialectName::Ansi, "timestamp with time zone")
        | (DialectName::MySql, "timestamp") => Type::TimestampTz,
        (_, "timetz" | "time with time zone") => Type::TimeTz,
        (DialectName::SqlServer, "money" | "smallmoney") => Type::Money,
        (DialectName::SqlServer, "text" | "ntext" | "xml") => Type::Text,
        (DialectName::SqlServer, "date") => Type::Date,
        (DialectName::SqlServer, "time") => Type::Time,
        (DialectName::SqlServer, "datetime" | "smalldatetime" | "datetime2") => Type::DateTime,
        (DialectName::SqlServer, "datetimeoffset") => Type::TimestampTz,
        (DialectName::SqlServer, "image" | "timestamp" | "rowversion")
        | (DialectName::Oracle, "raw" | "long raw" | "blob") => Type::Binary,
        (DialectName::SqlServer, "sql_variant" | "hierarchyid" | "geography" | "geometry") => {
            Type::Other
        }
        (DialectName::Oracle, _) if whole.starts_with("timestamp") => {
            if whole.ends_with("time zone") {
                Type::TimestampTz
            } else {
                Type::DateTime
            }
        }
        (DialectName::Oracle, _) if whole.starts_with("interval") => Type::Other,
        // It has a time of day.
        (DialectName::Oracle, "date") => Type::DateTime,
        (DialectName::Oracle, "clob" | "nclob" | "long" | "xmltype") => Type::Text,
        (DialectName::Oracle, "binary_float") => Type::Float,
        (DialectName::Oracle, "binary_double") => Type::Double,
        (DialectName::Oracle, "rowid" | "urowid" | "sdo_geometry" | "vector") => Type::Other,
        (DialectName::PostgreSql, name) if name.starts_with('_') => Type::Other,
        (DialectName::PostgreSql, "int2" | "smallserial") => Type::SmallInt,
        (DialectName::PostgreSql, "int4" | "serial") => Type::Integer,
        (DialectName::PostgreSql, "int8" | "bigserial") => Type::BigInt,
        (DialectName::PostgreSql, "float4") => Type::Float,
        (DialectName::PostgreSql, "money") => Type::Money,
        (DialectName::PostgreSql, "text") => Type::Text,
        (DialectName::PostgreSql, "varchar" | "bpchar" | "char") => Type::String,
        (DialectName::PostgreSql, "bytea") => Type::Binary,
        (DialectName::PostgreSql, "date") => Type::Date,
        (DialectName::PostgreSql, "time") => Type::Time,
        (DialectName::PostgreSql, "timestamp") => Type::DateTime,
        (DialectName::PostgreSql, "numeric") => Type::Decimal,
        (DialectName::PostgreSql, "float8") => Type::Double,
        // Everything else is something that the server itself parses and prints.
        (DialectName::PostgreSql, _) => Type::Other,
        (DialectName::Sqlite, _) => return declared(whole),
        _ => return None,
    })
}

/// Declared types of SQLite, by the rules of its affinities
/// (<https://www.sqlite.org/datatype3.html#determination_of_column_affinity>). Integers of whatever name hold 64 bits.
fn declared(whole: &str) -> Option<Type> {
    let name = whole.split('(').next().unwrap_or_default().trim();
    Some(match name {
        "date" => Type::Date,
        "time" => Type::Time,
        "datetime" | "timestamp" => Type::DateTime,
        "smallint" | "int2" | "tinyint" => Type::SmallInt,
        "int4" | "mediumint" => Type::Integer,
        _ if name.starts_with("decimal") || name.starts_with("numeric") => Type::Decimal,
        _ if name.contains("int") => Type::BigInt,
        _ if name.contains("char") => Type::String,
        _ if name.contains("clob") || name.contains("text") => Type::Text,
        _ if name.contains("blob") || name.contains("binary") => Type::Binary,
        _ if name.contains("real") || name.contains("floa") || name.contains("doub") => {
            Type::Double
        }
        _ => return None,
    })
}

/// The numbers of the types that the dialect of PostgreSQL looks at.
fn native_number(dialect: DialectName, name: &str) -> u32 {
    if dialect != DialectName::PostgreSql {
        return 0;
    }
    match name {
        "text" => 25,
        "json" => 114,
        "inet" => 869,
        "bpchar" | "char" => 1042,
        "varchar" => 1043,
        "name" => 19,
        _ => 0,
    }
}

/// A default as `COLUMN_DEF` tells it; none for NULL, which is what a column has without one.
fn read_default(text: &str, kind: &Type) -> Option<DefaultValue> {
    use serde_json::Value;
    let text = text.trim();
    if text.is_empty() {
        return None;
    }
    // PostgreSQL writes the type of a constant after it.
    let bare = match text.rsplit_once("::") {
        Some((constant, _)) if constant.starts_with('\'') && constant.ends_with('\'') => constant,
        _ => text,
    };
    let upper = bare.to_ascii_uppercase();
    let literal = match upper.as_str() {
        "NULL" | "TRUNCATED" => return None,
        "TRUE" => Some(Value::Bool(true)),
        "FALSE" => Some(Value::Bool(false)),
        "0" | "1" if *kind == Type::Boolean => Some(Value::Bool(upper == "1")),
        _ => quoted(bare).map(Value::String).or_else(|| number(bare)),
    };
    Some(literal.map_or_else(
        || DefaultValue::Expression(text.to_owned()),
        DefaultValue::Literal,
    ))
}

/// The inside of a quoted text whose quotes are doubled; none if it is not one.
fn quoted(text: &str) -> Option<String> {
    let inside = text.strip_prefix('\'')?.strip_suffix('\'')?;
    (!inside.replace("''", "").contains('\'')).then(|| inside.replace("''", "'"))
}

fn number(text: &str) -> Option<serde_json::Value> {
    if let Ok(integer) = text.parse::<i64>() {
        return Some(integer.into());
    }
    let is_plain = text
        .bytes()
        .all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'-' | b'+' | b'e' | b'E'));
    let number = text.parse::<f64>().ok().filter(|_| is_plain)?;
    serde_json::Number::from_f64(number).map(Into::into)
}

/// A column by its name; drivers do not agree on the case in which they tell it.
fn find(columns: &[Column], name: &str) -> Option<usize> {
    columns
        .iter()
        .position(|column| column.name == name)
        .or_else(|| {
            columns
                .iter()
                .position(|column| column.name.eq_ignore_ascii_case(name))
        })
}

fn read_primary_key(
    open: &mut Open<'_>,
    table: AskedTable<'_>,
    columns: &[Column],
    watch: &Watch,
) -> Result<Vec<usize>, Failure> {
    let mut parts: Vec<(i64, usize)> = open
        .catalogue(&Asked::PrimaryKey(table), 5, watch)?
        .iter()
        .filter(|row| text(row, 2).is_none_or(|name| name.eq_ignore_ascii_case(table.name)))
        .filter_map(|row| Some((integer(row, 4)?, find(columns, &text(row, 3)?)?)))
        .collect();
    parts.sort_unstable();
    parts.dedup();
    Ok(parts.into_iter().map(|(_, index)| index).collect())
}

/// `SQL_CASCADE` and its neighbours (`sqlext.h`).
fn rule(row: &Row, index: usize) -> String {
    match integer(row, index) {
        Some(0) => "CASCADE",
        Some(1) => "RESTRICT",
        Some(2) => "SET NULL",
        Some(4) => "SET DEFAULT",
        _ => "NO ACTION",
    }
    .to_owned()
}

fn read_foreign_keys(
    open: &mut Open<'_>,
    asked: AskedTable<'_>,
    table: &Table,
    tables: &[Table],
    watch: &Watch,
) -> Result<Vec<ForeignKey>, Failure> {
    let rows = match open.catalogue(&Asked::ForeignKeys(asked), 12, watch) {
        Err(failure) if is_lacking(&failure) => return Ok(Vec::new()),
        other => other?,
    };
    let mut keys: Vec<ForeignKey> = Vec::new();
    let mut last: Option<(Option<String>, Option<String>, i64)> = None;
    for row in &rows {
        let Some(target) = text(row, 2).and_then(|name| {
            let schema = schema_of(row, 1);
            tables
                .iter()
                .find(|candidate| {
                    candidate.native == name && (schema.is_none() || candidate.schema == schema)
                })
                .or_else(|| {
                    tables.iter().find(|candidate| {
                        candidate.native.eq_ignore_ascii_case(&name) && candidate.schema == schema
                    })
                })
        }) else {
            continue;
        };
        let (Some(from), Some(to)) = (
            text(row, 7).and_then(|name| find(&table.columns, &name)),
            text(row, 3).and_then(|name| find(&target.columns, &name)),
        ) else {
            continue;
        };
        let Some(to) = target.columns.get(to).map(|column| column.name.clone()) else {
            continue;
        };
        let place = integer(row, 8).unwrap_or(1);
        let now = (text(row, 2), text(row, 11), place);
        // Rows of one key follow each other, counted from 1.
        let goes_on = last
            .as_ref()
            .is_some_and(|(name, key, before)| *name == now.0 && *key == now.1 && *before < place);
        match keys.last_mut() {
            Some(key) if goes_on => {
                key.columns.push(from);
                key.target_columns.push(to);
            }
            _ => keys.push(ForeignKey {
                name: now.1.clone().unwrap_or_default(),
                columns: vec![from],
                target: target.name.clone(),
                target_columns: vec![to],
                on_update: rule(row, 9),
                on_delete: rule(row, 10),
            }),
        }
        last = Some(now);
    }
    Ok(keys)
}

/// Whether the driver or the product lacks what was asked.
fn is_lacking(failure: &Failure) -> bool {
    failure.cause == Cause::Lacking
}

/// The rows of a product's own query; none where the product turns out to have no such tables.
fn told(open: &mut Open<'_>, sql: Option<&str>, watch: &Watch) -> Result<Vec<Row>, Failure> {
    let Some(sql) = sql else {
        return Ok(Vec::new());
    };
    match open.texts(sql, 4, watch) {
        Err(failure) if is_lacking(&failure) => {
            tracing::debug!(error = ?failure.error, "the database does not tell all of its keys");
            Ok(Vec::new())
        }
        other => other,
    }
}

/// A table by the schema and the name that a query of the product tells.
fn table_of<'t>(tables: &'t mut [Table], row: &Row) -> Option<&'t mut Table> {
    let schema = schema_of(row, 0);
    let name = text(row, 1)?;
    tables.iter_mut().find(|table| {
        table.native == name
            && (schema.is_none() || table.schema.is_none() || table.schema == schema)
    })
}

fn mark_numbered(
    open: &mut Open<'_>,
    dialect: DialectName,
    tables: &mut [Table],
    watch: &Watch,
) -> Result<(), Failure> {
    for row in told(open, Some(dialect.numbered_columns()), watch)? {
        let (Some(name), Some(how)) = (text(&row, 2), text(&row, 3)) else {
            continue;
        };
        let Some(table) = table_of(tables, &row) else {
            continue;
        };
        if let Some(index) = find(&table.columns, &name)
            && let Some(column) = table.columns.get_mut(index)
        {
            match how.trim() {
                "1" => {
                    column.is_auto_increment = true;
                    column.is_nullable = false;
                }
                "2" => column.is_generated = true,
                "boolean" => column.kind = Type::Boolean,
                "uuid" => column.kind = Type::Uuid,
                "json" => {
                    // MySQL's own type, unlike MariaDB's, is no text.
                    if column.db_type.eq_ignore_ascii_case("json") {
                        column.native = NATIVE_JSON;
                    }
                    column.kind = Type::Json;
                }
                _ => {}
            }
        }
    }
    Ok(())
}

fn read_unique_keys(
    open: &mut Open<'_>,
    dialect: DialectName,
    tables: &mut [Table],
    watch: &Watch,
) -> Result<(), Failure> {
    let rows = told(open, dialect.unique_keys(), watch)?;
    for parts in rows.chunk_by(|left, right| left.get(..3) == right.get(..3)) {
        let Some(table) = parts.first().and_then(|row| table_of(tables, row)) else {
            continue;
        };
        let key: Option<Vec<usize>> = parts
            .iter()
            .map(|row| find(&table.columns, &text(row, 3)?))
            .collect();
        if let Some(key) = key
            && !table.unique_keys.contains(&key)
        {
            table.indexes.push(Index {
                name: parts
                    .first()
                    .and_then(|row| text(row, 2))
                    .unwrap_or_default(),
                columns: key.clone(),
                is_unique: true,
                origin: IndexOrigin::Unique,
            });
            table.unique_keys.push(key);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A column as a driver tells it: number and name of its type, its size and its digits.
    fn told(dialect: DialectName, data_type: i64, name: &str, size: &str, digits: &str) -> Column {
        let mut row: Row = vec![None; 17];
        for (index, value) in [
            (2, "t"),
            (3, "c"),
            (4, data_type.to_string().as_str()),
            (5, name),
            (6, size),
            (8, digits),
        ] {
            row[index] = Some(value.to_owned());
        }
        column(&row, dialect).unwrap()
    }

    #[test]
    fn types_of_sql_server_and_oracle_are_known_by_their_names() {
        use DialectName::{Oracle, SqlServer};
        for (dialect, data_type, name, size, digits, kind, db_type) in [
            (
                SqlServer,
                4,
                "int identity",
                "10",
                "0",
                Type::Integer,
                "int",
            ),
            (
                SqlServer,
                2,
                "numeric() identity",
                "9",
                "0",
                Type::Decimal,
                "numeric(9,0)",
            ),
            (
                SqlServer,
                3,
                "decimal",
                "12",
                "2",
                Type::Decimal,
                "decimal(12,2)",
            ),
            (SqlServer, 3, "money", "19", "4", Type::Money, "money"),
            (
                SqlServer,
                -9,
                "nvarchar",
                "20",
                "",
                Type::String,
                "nvarchar(20)",
            ),
            (SqlServer, -9, "nvarchar", "0", "", Type::Text, "nvarchar"),
            (
                SqlServer,
                -3,
                "varbinary",
                "16",
                "",
                Type::Binary,
                "varbinary(16)",
            ),
            (
                SqlServer,
                -2,
                "timestamp",
                "8",
                "",
                Type::Binary,
                "timestamp",
            ),
            (
                SqlServer,
                -155,
                "datetimeoffset",
                "34",
                "7",
                Type::TimestampTz,
                "datetimeoffset",
            ),
            (
                SqlServer,
                -11,
                "uniqueidentifier",
                "36",
                "",
                Type::Uuid,
                "uniqueidentifier",
            ),
            (Oracle, 3, "NUMBER", "9", "0", Type::Integer, "NUMBER(9,0)"),
            (
                Oracle,
                3,
                "NUMBER",
                "12",
                "2",
                Type::Decimal,
                "NUMBER(12,2)",
            ),
            (Oracle, 8, "NUMBER", "15", "", Type::Decimal, "NUMBER"),
            (Oracle, 93, "DATE", "19", "0", Type::DateTime, "DATE"),
            (
                Oracle,
                93,
                "TIMESTAMP(6)",
                "26",
                "6",
                Type::DateTime,
                "TIMESTAMP(6)",
            ),
            (
                Oracle,
                93,
                "TIMESTAMP(6) WITH LOCAL TIME ZONE",
                "26",
                "6",
                Type::TimestampTz,
                "TIMESTAMP(6) WITH LOCAL TIME ZONE",
            ),
            (
                Oracle,
                12,
                "VARCHAR2",
                "20",
                "",
                Type::String,
                "VARCHAR2(20)",
            ),
            (Oracle, -1, "CLOB", "2147483647", "", Type::Text, "CLOB"),
        ] {
            let column = told(dialect, data_type, name, size, digits);
            assert_eq!(
                (&column.kind, column.db_type.as_str()),
                (&kind, db_type),
                "{name}"
            );
            assert_eq!(
                column.is_auto_increment,
                name.contains("identity"),
                "{name}"
            );
        }
    }
}
