//! Procedures and functions, read from `sys.objects` and `sys.parameters`. They show what the login has some permission
//! on; what it may not run is left out.

use std::collections::{HashMap, HashSet};

use tiberius::Row;

use super::super::pool::{Native, rows_of};
use super::{Shape, number, text, truth};
use crate::connector::database::catalog::{
    Column, Direction, Parameter, Returns, Routine, RoutineKind, Routines, api_name,
};

/// Procedures and functions that are not the server's own. Table-valued functions are read, all others are run
/// (`HAS_PERMS_BY_NAME`). No function of Transact-SQL changes data ("CREATE FUNCTION", "Limitations").
pub(super) const ROUTINES: &str = "\
SELECT o.object_id, s.name AS schema_name, o.name AS routine_name, \
CASE WHEN o.type_desc LIKE '%PROCEDURE' THEN 1 ELSE 0 END AS is_procedure, \
CASE WHEN o.type_desc LIKE '%TABLE_VALUED_FUNCTION' THEN 1 ELSE 0 END AS is_table, \
CASE WHEN o.type_desc LIKE 'SQL[_]%FUNCTION' THEN 1 ELSE 0 END AS is_read_only, \
CAST(d.value AS nvarchar(4000)) AS description \
FROM sys.objects AS o \
JOIN sys.schemas AS s ON s.schema_id = o.schema_id \
LEFT JOIN sys.extended_properties AS d \
ON d.class = 1 AND d.major_id = o.object_id AND d.minor_id = 0 AND d.name = N'MS_Description' \
WHERE o.type_desc IN ('SQL_STORED_PROCEDURE', 'CLR_STORED_PROCEDURE', 'SQL_SCALAR_FUNCTION', 'CLR_SCALAR_FUNCTION', \
'SQL_INLINE_TABLE_VALUED_FUNCTION', 'SQL_TABLE_VALUED_FUNCTION', 'CLR_TABLE_VALUED_FUNCTION') AND o.is_ms_shipped = 0 \
AND HAS_PERMS_BY_NAME(QUOTENAME(s.name) + N'.' + QUOTENAME(o.name), 'OBJECT', \
CASE WHEN o.type_desc LIKE '%TABLE_VALUED_FUNCTION' THEN 'SELECT' ELSE 'EXECUTE' END) = 1 \
ORDER BY s.name, o.name";

/// Parameters; number 0 is what a scalar function returns. Whether one has a default, the view does not know for
/// Transact-SQL ("sys.parameters").
pub(super) const PARAMETERS: &str = "\
SELECT p.object_id, p.parameter_id, p.name AS parameter_name, \
COALESCE(TYPE_NAME(p.system_type_id), TYPE_NAME(p.user_type_id)) AS type_name, \
CAST(p.max_length AS int) AS max_length, CAST(p.precision AS int) AS digits, CAST(p.scale AS int) AS scale, \
CASE WHEN p.is_output = 1 THEN 1 ELSE 0 END AS is_output, \
CASE WHEN p.is_cursor_ref = 1 OR p.is_readonly = 1 THEN 1 ELSE 0 END AS is_unfit \
FROM sys.parameters AS p \
JOIN sys.objects AS o ON o.object_id = p.object_id \
WHERE o.is_ms_shipped = 0 \
ORDER BY p.object_id, p.parameter_id";

/// The columns of what table-valued functions return.
pub(super) const RESULTS: &str = "\
SELECT c.object_id, c.column_id, c.name AS column_name, \
COALESCE(TYPE_NAME(c.system_type_id), TYPE_NAME(c.user_type_id)) AS type_name, \
CAST(c.max_length AS int) AS max_length, CAST(c.precision AS int) AS digits, CAST(c.scale AS int) AS scale, \
CASE WHEN c.is_nullable = 1 THEN 1 ELSE 0 END AS is_nullable \
FROM sys.columns AS c \
JOIN sys.objects AS o ON o.object_id = c.object_id \
WHERE o.type_desc LIKE '%TABLE_VALUED_FUNCTION' AND o.is_ms_shipped = 0 \
ORDER BY c.object_id, c.column_id";

/// A column from cells 2 to 6 of a row.
fn column(row: &Row, name: &str) -> Option<Column> {
    let measure = |index| number(row, index).unwrap_or(0);
    let shape = Shape::of(&text(row, 3)?, measure(4), measure(5), measure(6));
    Some(Column {
        length: shape.length,
        precision: shape.precision,
        scale: shape.scale,
        ..Column::plain(name, shape.kind, &shape.db_type)
    })
}

/// Reads all of them. `home` is the schema whose routines go without a prefix.
pub(super) async fn read(
    client: &mut Native,
    home: &str,
    only_home: bool,
) -> Result<Routines, tiberius::error::Error> {
    let routines = rows_of(client, ROUTINES).await?;
    let parameters = rows_of(client, PARAMETERS).await?;
    let results = rows_of(client, RESULTS).await?;
    Ok(assemble(&routines, &parameters, &results, home, only_home))
}

/// Puts together what the three queries gave.
fn assemble(
    routines: &[Row],
    parameters: &[Row],
    results: &[Row],
    home: &str,
    only_home: bool,
) -> Routines {
    let mut values: HashMap<i64, Column> = HashMap::new();
    let mut lists: HashMap<i64, Vec<Parameter>> = HashMap::new();
    // Parameters that are tables or cursors have no form in a request.
    let mut unfit: HashSet<i64> = HashSet::new();
    for row in parameters {
        let (Some(object), Some(position)) = (number(row, 0), number(row, 1)) else {
            continue;
        };
        let name = text(row, 2).unwrap_or_default();
        let column = column(row, name.strip_prefix('@').unwrap_or(&name));
        let Some(column) = column.filter(|_| !truth(row, 8)) else {
            unfit.insert(object);
            continue;
        };
        if position == 0 {
            values.insert(object, column);
            continue;
        }
        lists.entry(object).or_default().push(Parameter {
            // An OUTPUT parameter always takes a value as well ("CREATE PROCEDURE").
            direction: if truth(row, 7) {
                Direction::InOut
            } else {
                Direction::In
            },
            // Nobody knows; the server refuses a call that lacks a value.
            has_default: true,
            is_variadic: false,
            is_cursor: false,
            column,
        });
    }
    let mut tables: HashMap<i64, Vec<Column>> = HashMap::new();
    for row in results {
        if let (Some(object), Some(name)) = (number(row, 0), text(row, 2))
            && let Some(mut column) = column(row, &name)
        {
            column.is_nullable = truth(row, 7);
            tables.entry(object).or_default().push(column);
        }
    }
    let mut found = Vec::new();
    for row in routines {
        let (Some(object), Some(schema), Some(native)) =
            (number(row, 0), text(row, 1), text(row, 2))
        else {
            continue;
        };
        let is_home = schema.eq_ignore_ascii_case(home);
        if unfit.contains(&object) || only_home && !is_home {
            continue;
        }
        let (is_procedure, is_table) = (truth(row, 3), truth(row, 4));
        let returns = if is_procedure {
            Returns::Nothing
        } else if is_table {
            Returns::Table(tables.remove(&object).unwrap_or_default())
        } else {
            values.remove(&object).map_or(Returns::Nothing, |value| {
                Returns::Value(Box::new(Column {
                    name: native.clone(),
                    ..value
                }))
            })
        };
        found.push(Routine {
            name: api_name(&schema, &native, is_home),
            schema: Some(schema),
            native,
            kind: if is_procedure {
                RoutineKind::Procedure
            } else {
                RoutineKind::Function
            },
            parameters: lists.remove(&object).unwrap_or_default(),
            returns,
            is_read_only: truth(row, 5),
            description: text(row, 6),
        });
    }
    Routines::new(found)
}
