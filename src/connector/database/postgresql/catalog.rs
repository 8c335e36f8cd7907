//! Tables, columns and keys, read from PostgreSQL's catalogues: one query for each kind of thing, whatever their
//! number, and all in one snapshot.

mod routines;

use std::collections::HashMap;

use tokio_postgres::{Client, Row};

use super::decode::Decoder;
use crate::connector::database::catalog::{
    Catalog, Check, Column, DefaultValue, ForeignKey, Index, IndexOrigin, Schemas, Table, Type,
    api_name,
};

/// The schemas that are served, and the one whose tables go without a prefix. Parameter 1 is the manifest's `schema`.
const SCHEMAS: &str = "\
WITH chosen AS (
  SELECT CASE WHEN $1::text IN ('', 'default') THEN pg_catalog.current_schema()::text ELSE $1::text END AS home
)
SELECT n.oid, n.nspname::text AS name, COALESCE(n.nspname = chosen.home, false) AS is_home
FROM pg_catalog.pg_namespace n CROSS JOIN chosen
WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
  AND pg_catalog.has_schema_privilege(n.oid, 'USAGE')
  AND ($1::text = '' OR n.nspname = chosen.home)
ORDER BY n.nspname";

/// Tables and views of which the account may read something. Partitions show through their parents only. The bits of
/// `pg_relation_is_updatable` are those of `CmdType`: 4 update, 8 insert, 16 delete.
const TABLES: &str = "\
SELECT c.oid, c.relnamespace, c.relname::text, c.relkind::text,
  CASE WHEN c.relkind IN ('v', 'f') THEN pg_catalog.pg_relation_is_updatable(c.oid, true) & 28 = 28
       ELSE c.relkind IN ('r', 'p') END AS is_writable,
  d.description
FROM pg_catalog.pg_class c
LEFT JOIN pg_catalog.pg_description d
  ON d.objoid = c.oid AND d.classoid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objsubid = 0
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND NOT c.relispartition
  AND c.relnamespace = ANY ($1::oid[])
  AND pg_catalog.has_any_column_privilege(c.oid, 'SELECT')
ORDER BY c.relname";

const COLUMNS: &str = "\
SELECT a.attrelid, a.attnum, a.attname::text, a.atttypid, a.atttypmod, a.attnotnull, a.attidentity::text,
  a.attgenerated::text, pg_catalog.format_type(a.atttypid, a.atttypmod) AS db_type,
  pg_catalog.pg_get_expr(f.adbin, f.adrelid) AS default, d.description
FROM pg_catalog.pg_attribute a
JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
LEFT JOIN pg_catalog.pg_attrdef f ON f.adrelid = a.attrelid AND f.adnum = a.attnum
LEFT JOIN pg_catalog.pg_description d
  ON d.objoid = a.attrelid AND d.classoid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objsubid = a.attnum
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND NOT c.relispartition
  AND c.relnamespace = ANY ($1::oid[])
  AND a.attnum > 0 AND NOT a.attisdropped
  AND (pg_catalog.has_table_privilege(c.oid, 'SELECT')
       OR pg_catalog.has_column_privilege(c.oid, a.attnum, 'SELECT'))
ORDER BY a.attrelid, a.attnum";

/// Every type that a column can have but the row types of tables and their arrays.
const TYPES: &str = "\
SELECT t.oid, t.typname::text, t.typtype::text, t.typbasetype, t.typtypmod, t.typnotnull,
  CASE WHEN t.typcategory = 'A' THEN t.typelem ELSE 0::oid END AS element
FROM pg_catalog.pg_type t
LEFT JOIN pg_catalog.pg_type e ON t.typcategory = 'A' AND e.oid = t.typelem
WHERE t.typtype <> 'c' AND e.typtype IS DISTINCT FROM 'c'";

const LABELS: &str = "\
SELECT enumtypid, enumlabel::text FROM pg_catalog.pg_enum ORDER BY enumtypid, enumsortorder";

/// Indexes that lead with a column, and whether they are keys: unique, checked at once, of all rows and plain columns.
const INDEXES: &str = "\
SELECT i.indrelid, i.indisprimary,
  i.indisunique AND i.indimmediate AND i.indpred IS NULL AND i.indexprs IS NULL AS is_key,
  i.indnkeyatts, i.indkey::int2[] AS columns, n.relname::text AS name,
  k.oid IS NOT NULL AS is_constraint, i.indisunique, i.indpred IS NULL AS is_whole
FROM pg_catalog.pg_index i
JOIN pg_catalog.pg_class c ON c.oid = i.indrelid
JOIN pg_catalog.pg_class n ON n.oid = i.indexrelid
LEFT JOIN pg_catalog.pg_constraint k
  ON k.conindid = i.indexrelid AND k.conrelid = i.indrelid AND k.contype IN ('p', 'u', 'x')
WHERE i.indisvalid AND c.relkind IN ('r', 'p', 'm') AND NOT c.relispartition
  AND c.relnamespace = ANY ($1::oid[])
ORDER BY i.indrelid, i.indexrelid";

const FOREIGN_KEYS: &str = "\
SELECT k.conrelid, k.conname::text, k.conkey, k.confrelid, k.confkey, k.confupdtype::text, k.confdeltype::text
FROM pg_catalog.pg_constraint k
JOIN pg_catalog.pg_class c ON c.oid = k.conrelid
WHERE k.contype = 'f' AND k.conparentid = 0 AND c.relnamespace = ANY ($1::oid[])
ORDER BY k.conrelid, k.conname";

const CHECKS: &str = "\
SELECT k.conrelid, k.conname::text, pg_catalog.pg_get_expr(k.conbin, k.conrelid)
FROM pg_catalog.pg_constraint k
JOIN pg_catalog.pg_class c ON c.oid = k.conrelid
WHERE k.contype = 'c' AND c.relnamespace = ANY ($1::oid[])
ORDER BY k.conrelid, k.conname";

/// A digest over what the queries above read. Privileges lie in `relacl`, in the rows of the columns and of the
/// schemas; `xmin` is the transaction that wrote a row last.
pub(super) const FINGERPRINT: &str = "\
SELECT pg_catalog.concat_ws('-',
  (SELECT pg_catalog.concat_ws('.', count(*), sum(pg_catalog.hashtextextended(
      pg_catalog.concat_ws(' ', oid, nspname, nspacl::text), 0)))
   FROM pg_catalog.pg_namespace WHERE nspname !~ '^pg_'),
  (SELECT pg_catalog.concat_ws('.', count(*), sum(pg_catalog.hashtextextended(
      pg_catalog.concat_ws(' ', c.oid, c.relname, c.relnamespace, c.relkind, c.relowner, c.relacl::text), 0)))
   FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
   WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'),
  (SELECT pg_catalog.concat_ws('.', count(*), sum(pg_catalog.hashtextextended(
      pg_catalog.concat_ws(' ', a.attrelid, a.attnum, a.xmin), 0)))
   FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
   JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
   WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND a.attnum > 0
     AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'),
  (SELECT pg_catalog.concat_ws('.', count(*), sum(pg_catalog.hashtextextended(
      pg_catalog.concat_ws(' ', oid, xmin), 0))) FROM pg_catalog.pg_attrdef),
  (SELECT pg_catalog.concat_ws('.', count(*), sum(pg_catalog.hashtextextended(
      pg_catalog.concat_ws(' ', oid, xmin), 0))) FROM pg_catalog.pg_constraint),
  (SELECT pg_catalog.concat_ws('.', count(*), sum(pg_catalog.hashtextextended(
      pg_catalog.concat_ws(' ', indexrelid, indisvalid, indisunique), 0))) FROM pg_catalog.pg_index),
  (SELECT pg_catalog.concat_ws('.', count(*), sum(pg_catalog.hashtextextended(
      pg_catalog.concat_ws(' ', oid, xmin), 0))) FROM pg_catalog.pg_enum),
  (SELECT pg_catalog.concat_ws('.', count(*), sum(pg_catalog.hashtextextended(
      pg_catalog.concat_ws(' ', objoid, objsubid, xmin), 0))) FROM pg_catalog.pg_description
   WHERE classoid IN ('pg_catalog.pg_class'::pg_catalog.regclass, 'pg_catalog.pg_proc'::pg_catalog.regclass)),
  (SELECT pg_catalog.concat_ws('.', count(*), sum(pg_catalog.hashtextextended(
      pg_catalog.concat_ws(' ', p.oid, p.xmin), 0)))
   FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
   WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'),
  pg_catalog.current_schema())";

/// A type as the catalogue has it.
#[derive(Clone, Debug)]
struct NativeType {
    name: String,
    /// `b` base, `d` domain, `e` enumeration, `r` range, …
    kind: String,
    base: u32,
    modifier: i32,
    is_not_null: bool,
    element: u32,
}

type Types = HashMap<u32, NativeType>;

/// A column's type with the domains around it taken off.
struct Resolved {
    kind: Type,
    /// The OID of the type beneath the domains.
    oid: u32,
    modifier: i32,
    is_not_null: bool,
}

/// Domains within domains that are followed; more are not made by hand.
const MAX_DOMAIN_DEPTH: usize = 32;

fn resolve(types: &Types, oid: u32, modifier: i32) -> Resolved {
    let mut resolved = Resolved {
        kind: Type::Other,
        oid,
        modifier,
        is_not_null: false,
    };
    for _ in 0..MAX_DOMAIN_DEPTH {
        let Some(native) = types.get(&resolved.oid) else {
            return resolved;
        };
        if native.kind != "d" {
            resolved.kind = kind_of(types, resolved.oid, native);
            return resolved;
        }
        resolved.is_not_null |= native.is_not_null;
        if resolved.modifier < 0 {
            resolved.modifier = native.modifier;
        }
        resolved.oid = native.base;
    }
    resolved
}

fn kind_of(types: &Types, oid: u32, native: &NativeType) -> Type {
    if native.kind == "e" {
        return Type::String;
    }
    if native.element != 0 {
        let element = resolve_element(types, native.element);
        return match element {
            // The driver reads arrays of whatever it can read itself, so `interval[]` is an array too.
            Some(kind) => Type::Array(Box::new(kind)),
            None => Type::Other,
        };
    }
    match oid {
        16 => Type::Boolean,
        17 => Type::Binary,
        18 | 19 | 1042 | 1043 => Type::String,
        25 | 142 | 705 => Type::Text,
        20 | 26 => Type::BigInt,
        21 => Type::SmallInt,
        23 => Type::Integer,
        114 | 3802 => Type::Json,
        700 => Type::Float,
        701 => Type::Double,
        790 => Type::Money,
        1082 => Type::Date,
        1083 => Type::Time,
        1114 => Type::DateTime,
        1184 => Type::TimestampTz,
        1266 => Type::TimeTz,
        1700 => Type::Decimal,
        2950 => Type::Uuid,
        _ if native.name == "citext" => Type::Text,
        _ => Type::Other,
    }
}

/// The kind of an array's elements; `None` if the driver cannot read them.
fn resolve_element(types: &Types, oid: u32) -> Option<Type> {
    let mut oid = oid;
    for _ in 0..MAX_DOMAIN_DEPTH {
        let native = types.get(&oid)?;
        match native.kind.as_str() {
            "d" => oid = native.base,
            "e" => return Some(Type::String),
            _ if native.element != 0 => return None,
            _ if native.name == "citext" => return Some(Type::Text),
            _ => {
                return Decoder::of_oid(oid).map(|_| kind_of(types, oid, native));
            }
        }
    }
    None
}

/// Reads everything. The caller has begun a transaction in which nothing changes between two statements.
pub(super) async fn read(client: &Client, schema: &str) -> Result<Catalog, tokio_postgres::Error> {
    let mut schemas: HashMap<u32, (String, bool)> = HashMap::new();
    let mut schema_oids: Vec<u32> = Vec::new();
    let mut known = Schemas::default();
    for row in client.query(SCHEMAS, &[&schema]).await? {
        let oid: u32 = row.try_get(0)?;
        let (name, is_home): (String, bool) = (row.try_get(1)?, row.try_get(2)?);
        if is_home {
            known.home = Some(name.clone());
        }
        known.names.push(name.clone());
        schema_oids.push(oid);
        schemas.insert(oid, (name, is_home));
    }
    let mut draft = Draft::default();
    for row in client.query(TABLES, &[&schema_oids]).await? {
        draft.add_table(&row, &schemas)?;
    }
    let mut types = Types::new();
    for row in client.query(TYPES, &[]).await? {
        types.insert(
            row.try_get(0)?,
            NativeType {
                name: row.try_get(1)?,
                kind: row.try_get(2)?,
                base: row.try_get(3)?,
                modifier: row.try_get(4)?,
                is_not_null: row.try_get(5)?,
                element: row.try_get(6)?,
            },
        );
    }
    let mut labels: HashMap<u32, Vec<String>> = HashMap::new();
    for row in client.query(LABELS, &[]).await? {
        labels
            .entry(row.try_get(0)?)
            .or_default()
            .push(row.try_get(1)?);
    }
    for row in client.query(COLUMNS, &[&schema_oids]).await? {
        draft.add_column(&row, &types, &labels)?;
    }
    for row in client.query(INDEXES, &[&schema_oids]).await? {
        draft.add_index(&row)?;
    }
    for row in client.query(FOREIGN_KEYS, &[&schema_oids]).await? {
        draft.add_foreign_key(&row)?;
    }
    for row in client.query(CHECKS, &[&schema_oids]).await? {
        draft.add_check(&row)?;
    }
    let routines = routines::read(client, &schemas, &schema_oids, &types, &labels).await?;
    Ok(Catalog::new(draft.tables)
        .with_schemas(known)
        .with_routines(routines))
}

/// Tables in the making.
#[derive(Default)]
struct Draft {
    tables: Vec<Table>,
    /// Where each table stands, by OID.
    positions: HashMap<u32, usize>,
    /// Column number in the table → index among the columns that are left.
    columns: HashMap<(u32, i16), usize>,
}

impl Draft {
    fn table(&mut self, oid: u32) -> Option<&mut Table> {
        let position = *self.positions.get(&oid)?;
        self.tables.get_mut(position)
    }

    fn add_table(
        &mut self,
        row: &Row,
        schemas: &HashMap<u32, (String, bool)>,
    ) -> Result<(), tokio_postgres::Error> {
        let oid: u32 = row.try_get(0)?;
        let Some((schema, is_home)) = schemas.get(&row.try_get::<_, u32>(1)?) else {
            return Ok(());
        };
        let native: String = row.try_get(2)?;
        let kind: String = row.try_get(3)?;
        self.positions.insert(oid, self.tables.len());
        self.tables.push(Table {
            name: api_name(schema, &native, *is_home),
            schema: Some(schema.clone()),
            native,
            is_view: matches!(kind.as_str(), "v" | "m"),
            is_writable: row.try_get(4)?,
            description: row.try_get(5)?,
            ..Table::default()
        });
        Ok(())
    }

    fn add_column(
        &mut self,
        row: &Row,
        types: &Types,
        labels: &HashMap<u32, Vec<String>>,
    ) -> Result<(), tokio_postgres::Error> {
        let table: u32 = row.try_get(0)?;
        let number: i16 = row.try_get(1)?;
        let native: u32 = row.try_get(3)?;
        let resolved = resolve(types, native, row.try_get(4)?);
        let identity: String = row.try_get(6)?;
        let generated: String = row.try_get(7)?;
        let default: Option<String> = row.try_get(9)?;
        let is_generated = !generated.is_empty();
        let is_serial = default
            .as_deref()
            .is_some_and(|default| default.starts_with("nextval("));
        let (length, precision, scale) = dimensions(resolved.oid, resolved.modifier);
        let column = Column {
            name: row.try_get(2)?,
            db_type: row.try_get(8)?,
            native: resolved.oid,
            is_nullable: !row.try_get::<_, bool>(5)? && !resolved.is_not_null,
            default: default
                .filter(|_| !is_generated && !is_serial)
                .and_then(|text| default_value(&text, &resolved.kind)),
            is_auto_increment: !identity.is_empty() || is_serial,
            is_generated,
            length,
            precision,
            scale,
            picklist: labels.get(&resolved.oid).cloned().unwrap_or_default(),
            description: row.try_get(10)?,
            settings: None,
            kind: resolved.kind,
        };
        let Some(found) = self.table(table) else {
            return Ok(());
        };
        let index = found.columns.len();
        found.columns.push(column);
        self.columns.insert((table, number), index);
        Ok(())
    }

    /// The indexes of these columns; `None` if one of them is an expression or hidden from the account.
    fn indexes(&self, table: u32, numbers: &[i16]) -> Option<Vec<usize>> {
        numbers
            .iter()
            .map(|number| self.columns.get(&(table, *number)).copied())
            .collect()
    }

    fn add_index(&mut self, row: &Row) -> Result<(), tokio_postgres::Error> {
        let oid: u32 = row.try_get(0)?;
        let is_primary: bool = row.try_get(1)?;
        let is_key: bool = row.try_get(2)?;
        let key_columns = usize::try_from(row.try_get::<_, i16>(3)?).unwrap_or(0);
        let mut numbers: Vec<i16> = row.try_get(4)?;
        // Columns after the key are only stored in the index (INCLUDE).
        numbers.truncate(key_columns);
        let leading = numbers
            .first()
            .and_then(|number| self.columns.get(&(oid, *number)).copied());
        let key = self.indexes(oid, &numbers);
        let index = Index {
            name: row.try_get(5)?,
            columns: key.clone().unwrap_or_default(),
            is_unique: row.try_get(7)?,
            origin: match (is_primary, row.try_get(6)?) {
                (true, _) => IndexOrigin::PrimaryKey,
                (false, true) => IndexOrigin::Unique,
                (false, false) => IndexOrigin::Index,
            },
        };
        let is_whole: bool = row.try_get(8)?;
        let Some(table) = self.table(oid) else {
            return Ok(());
        };
        if is_whole && !index.columns.is_empty() {
            table.indexes.push(index);
        }
        if let Some(leading) = leading
            && !table.indexed.contains(&leading)
        {
            table.indexed.push(leading);
        }
        match key {
            Some(key) if is_primary => table.primary_key = key,
            Some(key) if is_key && !key.is_empty() && !table.unique_keys.contains(&key) => {
                table.unique_keys.push(key);
            }
            _ => {}
        }
        Ok(())
    }

    fn add_check(&mut self, row: &Row) -> Result<(), tokio_postgres::Error> {
        let oid: u32 = row.try_get(0)?;
        let check = Check {
            name: row.try_get(1)?,
            sql: row.try_get(2)?,
        };
        if let Some(table) = self.table(oid) {
            table.checks.push(check);
        }
        Ok(())
    }

    fn add_foreign_key(&mut self, row: &Row) -> Result<(), tokio_postgres::Error> {
        let oid: u32 = row.try_get(0)?;
        let numbers: Vec<i16> = row.try_get(2)?;
        let target_oid: u32 = row.try_get(3)?;
        let target_numbers: Vec<i16> = row.try_get(4)?;
        let on_update: String = row.try_get(5)?;
        let on_delete: String = row.try_get(6)?;
        let name = row.try_get(1)?;
        let (Some(columns), Some(target_columns)) = (
            self.indexes(oid, &numbers),
            self.indexes(target_oid, &target_numbers),
        ) else {
            return Ok(());
        };
        let Some(target) = self.table(target_oid) else {
            return Ok(());
        };
        let foreign_key = ForeignKey {
            name,
            columns,
            target: target.name.clone(),
            target_columns: target_columns
                .iter()
                .filter_map(|index| target.columns.get(*index))
                .map(|column| column.name.clone())
                .collect(),
            on_update: rule(&on_update).to_owned(),
            on_delete: rule(&on_delete).to_owned(),
        };
        if let Some(table) = self.table(oid) {
            table.foreign_keys.push(foreign_key);
        }
        Ok(())
    }
}

/// The words for `confupdtype` and `confdeltype` (manual, `pg_constraint`).
fn rule(code: &str) -> &'static str {
    match code {
        "r" => "RESTRICT",
        "c" => "CASCADE",
        "n" => "SET NULL",
        "d" => "SET DEFAULT",
        _ => "NO ACTION",
    }
}

/// Length, precision and scale out of a type modifier (`varchartypmodout`, `numerictypmodout` and their like).
fn dimensions(oid: u32, modifier: i32) -> (Option<u32>, Option<u32>, Option<u32>) {
    let Ok(modifier) = u32::try_from(modifier) else {
        return (None, None, None);
    };
    match oid {
        // bpchar, varchar
        1042 | 1043 => (modifier.checked_sub(4), None, None),
        // bit, varbit
        1560 | 1562 => (Some(modifier), None, None),
        // numeric: precision above, scale in eleven signed bits below
        1700 => {
            let Some(packed) = modifier.checked_sub(4) else {
                return (None, None, None);
            };
            let scale = packed & 0x7ff;
            (
                None,
                Some(packed >> 16),
                Some(if scale >= 0x400 { 0 } else { scale }),
            )
        }
        // time, timestamp, timestamptz, timetz: digits of the second
        1083 | 1114 | 1184 | 1266 => (None, Some(modifier), None),
        _ => (None, None, None),
    }
}

/// What `pg_get_expr` says of a default: a constant, perhaps with a cast, or an expression. NULL is none at all.
fn default_value(text: &str, kind: &Type) -> Option<DefaultValue> {
    let expression = || Some(DefaultValue::Expression(text.to_owned()));
    let constant = if let Some(rest) = text.strip_prefix('\'') {
        let Some((constant, rest)) = quoted(rest) else {
            return expression();
        };
        if !is_cast(rest) {
            return expression();
        }
        constant
    } else {
        let (constant, rest) = text
            .split_once("::")
            .map_or((text, ""), |(constant, cast)| (constant, cast));
        if !rest.is_empty() && !is_cast(&format!("::{rest}")) {
            return expression();
        }
        let constant = constant
            .strip_prefix('(')
            .and_then(|inner| inner.strip_suffix(')'))
            .unwrap_or(constant);
        if constant.eq_ignore_ascii_case("null") {
            return None;
        }
        let is_number = constant.parse::<f64>().is_ok_and(f64::is_finite)
            && !constant.contains(|character: char| character.is_ascii_alphabetic());
        if !is_number && !matches!(constant, "true" | "false") {
            return expression();
        }
        constant.to_owned()
    };
    Some(match kind {
        Type::Boolean => match constant.as_str() {
            "true" | "t" => DefaultValue::Literal(true.into()),
            "false" | "f" => DefaultValue::Literal(false.into()),
            _ => return expression(),
        },
        kind if kind.is_numeric() => DefaultValue::Literal(number(constant)),
        Type::Json => match serde_json::from_str(&constant) {
            Ok(value) => DefaultValue::Literal(value),
            Err(_) => return expression(),
        },
        // Their literals are PostgreSQL's own.
        Type::Array(_) | Type::Binary => return expression(),
        _ => DefaultValue::Literal(constant.into()),
    })
}

/// A JSON number if no digit is lost by it, otherwise the digits as text.
fn number(digits: String) -> serde_json::Value {
    if let Ok(number) = digits.parse::<i64>() {
        return number.into();
    }
    match digits.parse::<f64>() {
        Ok(number) if number.to_string() == digits => number.into(),
        _ => digits.into(),
    }
}

/// The text of a quoted constant and what follows its closing quote. Constants with backslashes are printed as
/// `E'…'` and count as expressions.
fn quoted(rest: &str) -> Option<(String, &str)> {
    let mut constant = String::new();
    let mut rest = rest;
    loop {
        let (before, after) = rest.split_once('\'')?;
        constant.push_str(before);
        match after.strip_prefix('\'') {
            Some(more) => {
                constant.push('\'');
                rest = more;
            }
            None => return Some((constant, after)),
        }
    }
}

/// Whether the text is nothing or one cast to a named type: `::character varying(20)`.
fn is_cast(text: &str) -> bool {
    text.is_empty()
        || text.strip_prefix("::").is_some_and(|name| {
            !name.is_empty()
                && !name.contains("::")
                && name.chars().all(|character| {
                    character.is_alphanumeric() || " _\".,()[]".contains(character)
                })
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn defaults_are_constants_or_expressions() {
        let literal = |value| Some(DefaultValue::Literal(value));
        let expression = |text: &str| Some(DefaultValue::Expression(text.to_owned()));
        for (text, kind, expected) in [
            ("'new'::text", Type::Text, literal(json!("new"))),
            (
                "'it''s'::character varying",
                Type::String,
                literal(json!("it's")),
            ),
            ("''::text", Type::Text, literal(json!(""))),
            ("0", Type::Integer, literal(json!(0))),
            ("'-1'::integer", Type::Integer, literal(json!(-1))),
            ("(-1)", Type::Integer, literal(json!(-1))),
            ("1.5", Type::Decimal, literal(json!(1.5))),
            ("0.10", Type::Decimal, literal(json!("0.10"))),
            (
                "'12345678901234567890'::numeric",
                Type::Decimal,
                literal(json!("12345678901234567890")),
            ),
            ("true", Type::Boolean, literal(json!(true))),
            ("NULL::character varying", Type::String, None),
            ("'{\"a\": 1}'::jsonb", Type::Json, literal(json!({"a": 1}))),
            (
                "'2026-01-01'::date",
                Type::Date,
                literal(json!("2026-01-01")),
            ),
            ("now()", Type::TimestampTz, expression("now()")),
            (
                "'now'::text || 'x'::text",
                Type::Text,
                expression("'now'::text || 'x'::text"),
            ),
            (
                "('now'::text)::date",
                Type::Date,
                expression("('now'::text)::date"),
            ),
            ("1 + 1", Type::Integer, expression("1 + 1")),
            (
                "'{}'::text[]",
                Type::Array(Box::new(Type::Text)),
                expression("'{}'::text[]"),
            ),
            (
                "gen_random_uuid()",
                Type::Uuid,
                expression("gen_random_uuid()"),
            ),
        ] {
            assert_eq!(default_value(text, &kind), expected, "{text}");
        }
    }

    #[test]
    fn modifiers_give_length_precision_and_scale() {
        for (oid, modifier, expected) in [
            (1043, 24, (Some(20), None, None)),
            (1043, -1, (None, None, None)),
            (1700, ((12 << 16) | 2) + 4, (None, Some(12), Some(2))),
            (1700, ((5 << 16) | 0x7fe) + 4, (None, Some(5), Some(0))),
            (1700, -1, (None, None, None)),
            (1114, 3, (None, Some(3), None)),
            (1560, 8, (Some(8), None, None)),
            (23, -1, (None, None, None)),
        ] {
            assert_eq!(dimensions(oid, modifier), expected, "{oid} {modifier}");
        }
    }
}
