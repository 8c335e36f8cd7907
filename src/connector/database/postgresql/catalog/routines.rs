//! Procedures and functions, read from PostgreSQL's catalogues.

use std::collections::HashMap;

use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Row};

use super::{Types, default_value, dimensions, resolve};
use crate::connector::database::catalog::{
    Column, Direction, Parameter, Returns, Routine, RoutineKind, Routines, Type, api_name,
};

/// Procedures and plain functions that the account may execute, without those of extensions, which belong to nobody's
/// interface, without triggers, and without those that only the server itself can call (`internal`).
const ROUTINES: &str = "\
SELECT p.pronamespace, p.proname::text, p.prokind::text, p.provolatile::text, p.proretset, p.prorettype,
  t.typtype::text, t.typrelid, pg_catalog.format_type(p.prorettype, NULL), a.types, p.proargnames::text[],
  p.proargmodes::text[],
  ARRAY(SELECT pg_catalog.format_type(u.type, NULL)
        FROM pg_catalog.unnest(a.types) WITH ORDINALITY AS u(type, position) ORDER BY u.position),
  ARRAY(SELECT pg_catalog.pg_get_function_arg_default(p.oid, i)
        FROM pg_catalog.generate_series(1, pg_catalog.cardinality(a.types)) AS i ORDER BY i),
  d.description
FROM pg_catalog.pg_proc p
CROSS JOIN LATERAL (SELECT COALESCE(p.proallargtypes, p.proargtypes::oid[]) AS types) a
JOIN pg_catalog.pg_type t ON t.oid = p.prorettype
LEFT JOIN pg_catalog.pg_description d
  ON d.objoid = p.oid AND d.classoid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND d.objsubid = 0
WHERE p.prokind IN ('f', 'p') AND p.pronamespace = ANY ($1::oid[])
  AND pg_catalog.has_function_privilege(p.oid, 'EXECUTE')
  AND NOT (2281 = ANY (a.types))
  AND (t.typtype <> 'p' OR p.prorettype IN (2249, 2278) OR t.typname LIKE 'any%')
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend e
                  WHERE e.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND e.objid = p.oid AND e.deptype = 'e')
ORDER BY p.proname, p.oid";

/// The columns of the row types that functions return.
const ROW_TYPES: &str = "\
SELECT a.attrelid, a.attname::text, a.atttypid, a.atttypmod, pg_catalog.format_type(a.atttypid, a.atttypmod),
  a.attnotnull
FROM pg_catalog.pg_attribute a
WHERE a.attrelid = ANY ($1::oid[]) AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attrelid, a.attnum";

/// `record`: a row of whatever columns.
const RECORD: u32 = 2249;
/// `void`: nothing.
const VOID: u32 = 2278;
/// `refcursor`: the name of a cursor.
const CURSOR: u32 = 1790;

/// What is needed to make a column of a type.
struct Kinds<'a> {
    types: &'a Types,
    labels: &'a HashMap<u32, Vec<String>>,
}

impl Kinds<'_> {
    fn column(&self, name: &str, oid: u32, modifier: i32, db_type: &str) -> Column {
        let resolved = resolve(self.types, oid, modifier);
        let (length, precision, scale) = dimensions(resolved.oid, resolved.modifier);
        Column {
            native: resolved.oid,
            length,
            precision,
            scale,
            picklist: self.labels.get(&resolved.oid).cloned().unwrap_or_default(),
            ..Column::plain(name, resolved.kind, db_type)
        }
    }
}

/// Reads all of them. Servers that speak PostgreSQL's protocol and lack these catalogues have no routines.
pub(super) async fn read(
    client: &Client,
    schemas: &HashMap<u32, (String, bool)>,
    schema_oids: &Vec<u32>,
    types: &Types,
    labels: &HashMap<u32, Vec<String>>,
) -> Result<Routines, tokio_postgres::Error> {
    let rows = match client.query(ROUTINES, &[schema_oids]).await {
        Ok(rows) => rows,
        Err(error) if lacks_catalogue(&error) => return Ok(Routines::default()),
        Err(error) => return Err(error),
    };
    let mut relations: Vec<u32> = Vec::new();
    for row in &rows {
        let relation: u32 = row.try_get(7)?;
        if relation != 0 && !relations.contains(&relation) {
            relations.push(relation);
        }
    }
    let kinds = Kinds { types, labels };
    let mut row_types: HashMap<u32, Vec<Column>> = HashMap::new();
    if !relations.is_empty() {
        for row in client.query(ROW_TYPES, &[&relations]).await? {
            let mut column = kinds.column(
                row.try_get(1)?,
                row.try_get(2)?,
                row.try_get(3)?,
                row.try_get(4)?,
            );
            column.is_nullable = !row.try_get::<_, bool>(5)?;
            row_types.entry(row.try_get(0)?).or_default().push(column);
        }
    }
    let mut routines = Vec::with_capacity(rows.len());
    for row in &rows {
        let Some((schema, is_home)) = schemas.get(&row.try_get::<_, u32>(0)?) else {
            continue;
        };
        routines.push(routine(row, schema, *is_home, &kinds, &row_types)?);
    }
    Ok(Routines::new(routines))
}

fn lacks_catalogue(error: &tokio_postgres::Error) -> bool {
    [
        SqlState::UNDEFINED_COLUMN,
        SqlState::UNDEFINED_FUNCTION,
        SqlState::UNDEFINED_TABLE,
        SqlState::FEATURE_NOT_SUPPORTED,
        SqlState::SYNTAX_ERROR,
    ]
    .iter()
    .any(|code| error.code() == Some(code))
}

fn routine(
    row: &Row,
    schema: &str,
    is_home: bool,
    kinds: &Kinds<'_>,
    row_types: &HashMap<u32, Vec<Column>>,
) -> Result<Routine, tokio_postgres::Error> {
    let native: String = row.try_get(1)?;
    let is_procedure = row.try_get::<_, &str>(2)? == "p";
    let volatility: &str = row.try_get(3)?;
    let returns_set: bool = row.try_get(4)?;
    let return_oid: u32 = row.try_get(5)?;
    let relation: u32 = row.try_get(7)?;
    let arguments = arguments(row, kinds)?;
    let results: Vec<Column> = arguments
        .iter()
        .filter(|argument| argument.is_result)
        .map(|argument| argument.parameter.column.clone())
        .collect();
    let set_or = |columns: Vec<Column>, single: fn(Vec<Column>) -> Returns| {
        if returns_set {
            Returns::Table(columns)
        } else {
            single(columns)
        }
    };
    let returns = if is_procedure || return_oid == VOID {
        Returns::Nothing
    } else if return_oid == CURSOR {
        Returns::Cursors
    } else if results.len() == 1 {
        set_or(results, value)
    } else if !results.is_empty() {
        set_or(results, Returns::Row)
    } else if return_oid == RECORD {
        Returns::Unknown
    } else if let Some(columns) = row_types.get(&relation) {
        set_or(columns.clone(), Returns::Row)
    } else {
        let column = kinds.column(&native, return_oid, -1, row.try_get(8)?);
        set_or(vec![column], value)
    };
    Ok(Routine {
        name: api_name(schema, &native, is_home),
        schema: Some(schema.to_owned()),
        native,
        kind: if is_procedure {
            RoutineKind::Procedure
        } else {
            RoutineKind::Function
        },
        parameters: arguments
            .into_iter()
            .filter(|argument| argument.is_parameter)
            .map(|argument| argument.parameter)
            .collect(),
        returns,
        // `i` immutable, `s` stable.
        is_read_only: !is_procedure && matches!(volatility, "i" | "s"),
        description: row.try_get(14)?,
    })
}

/// A single result column is the value itself.
fn value(columns: Vec<Column>) -> Returns {
    columns
        .into_iter()
        .next()
        .map_or(Returns::Nothing, |column| Returns::Value(Box::new(column)))
}

/// One entry of `proargtypes` or `proallargtypes`.
struct Argument {
    parameter: Parameter,
    /// It is more than a column of `RETURNS TABLE`.
    is_parameter: bool,
    /// A function returns it.
    is_result: bool,
}

fn arguments(row: &Row, kinds: &Kinds<'_>) -> Result<Vec<Argument>, tokio_postgres::Error> {
    let oids: Vec<u32> = row.try_get(9)?;
    let names: Option<Vec<String>> = row.try_get(10)?;
    let modes: Option<Vec<String>> = row.try_get(11)?;
    let db_types: Vec<String> = row.try_get(12)?;
    let defaults: Vec<Option<String>> = row.try_get(13)?;
    let (names, modes) = (names.unwrap_or_default(), modes.unwrap_or_default());
    let list = oids.into_iter().zip(db_types).zip(defaults).enumerate();
    Ok(list
        .map(|(index, ((oid, db_type), default))| {
            let name = names.get(index).map_or("", String::as_str);
            let mode = modes.get(index).map_or("i", String::as_str);
            let direction = match mode {
                "o" | "t" => Direction::Out,
                "b" => Direction::InOut,
                _ => Direction::In,
            };
            let mut column = kinds.column(name, oid, -1, &db_type);
            let kind: &Type = &column.kind;
            column.default = default
                .as_deref()
                .and_then(|default| default_value(default, kind));
            Argument {
                parameter: Parameter {
                    direction,
                    has_default: default.is_some(),
                    is_variadic: mode == "v",
                    is_cursor: oid == CURSOR && direction.is_output(),
                    column,
                },
                is_parameter: mode != "t",
                is_result: direction.is_output(),
            }
        })
        .collect())
}
