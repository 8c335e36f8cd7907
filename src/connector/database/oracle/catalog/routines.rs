//! Procedures and functions of their own, read from `ALL_PROCEDURES` and `ALL_ARGUMENTS`; those of packages are not
//! offered. The views show what the account may run.

use std::collections::{HashMap, HashSet};

use super::super::driver::Cell;
use super::{Name, Shape, name_of, number, text};
use crate::connector::database::catalog::{
    Column, Direction, Parameter, Returns, Routine, RoutineKind, Routines, Type, api_name,
};

/// Procedures and functions outside packages. `:1` is a schema, or NULL.
pub(in super::super) const ROUTINES: &str = "\
SELECT p.owner, p.object_name, p.object_type, p.deterministic \
FROM all_procedures p \
JOIN all_users u ON u.username = p.owner AND u.oracle_maintained = 'N' \
WHERE p.object_type IN ('PROCEDURE', 'FUNCTION') AND p.owner = NVL(:1, p.owner) \
ORDER BY p.owner, p.object_name";

/// Their parameters; at position 0 is what a function returns. One without parameters may have a row without a type.
pub(in super::super) const ARGUMENTS: &str = "\
SELECT a.owner, a.object_name, a.position, a.argument_name, a.data_type, a.in_out, a.defaulted, \
a.data_length, a.char_length, a.data_precision, a.data_scale, a.type_owner, a.type_name \
FROM all_arguments a \
JOIN all_users u ON u.username = a.owner AND u.oracle_maintained = 'N' \
WHERE a.package_name IS NULL AND a.data_level = 0 AND a.data_type IS NOT NULL AND a.owner = NVL(:1, a.owner) \
ORDER BY a.owner, a.object_name, a.position";

/// The columns of collections of objects, which table functions return.
pub(in super::super) const COLLECTIONS: &str = "\
SELECT y.owner, y.type_name, b.attr_name, b.attr_type_name, b.attr_type_owner, b.length, b.length, b.precision, b.scale \
FROM all_coll_types y \
JOIN all_users u ON u.username = y.owner AND u.oracle_maintained = 'N' \
JOIN all_type_attrs b ON b.owner = y.elem_type_owner AND b.type_name = y.elem_type_name \
ORDER BY y.owner, y.type_name, b.attr_no";

/// What is known of a routine's parameters and its value.
#[derive(Default)]
struct Interface {
    parameters: Vec<Parameter>,
    returns: Returns,
}

fn column(row: &[Cell], name: &str, data_type: &str, as_decimal: bool) -> Option<Column> {
    let sizes = [7, 8, 9, 10].map(|index| number(row, index));
    let (kind, db_type) = match data_type {
        // Types that only PL/SQL has.
        "PL/SQL BOOLEAN" | "BOOLEAN" => (Type::Boolean, "BOOLEAN".to_owned()),
        "BINARY_INTEGER" | "PLS_INTEGER" => (Type::Integer, "PLS_INTEGER".to_owned()),
        _ => {
            let shape = Shape::of(data_type, false, sizes, as_decimal)?;
            // Parameters have no length of their own.
            let db_type = match shape.kind {
                Type::String | Type::Binary => data_type.to_owned(),
                _ => shape.db_type,
            };
            (shape.kind, db_type)
        }
    };
    Some(Column::plain(name, kind, &db_type))
}

/// The columns of each collection.
fn collections(rows: &[Vec<Cell>], as_decimal: bool) -> HashMap<Name, Vec<Column>> {
    let mut found: HashMap<Name, Vec<Column>> = HashMap::new();
    for row in rows {
        let (Some(name), Some(attribute), Some(data_type)) =
            (name_of(row, 0, 1), text(row, 2), text(row, 3))
        else {
            continue;
        };
        let sizes = [5, 6, 7, 8].map(|index| number(row, index));
        if let Some(shape) = Shape::of(data_type, text(row, 4).is_some(), sizes, as_decimal) {
            found.entry(name).or_default().push(Column {
                length: shape.length,
                precision: shape.precision,
                scale: shape.scale,
                ..Column::plain(attribute, shape.kind, &shape.db_type)
            });
        }
    }
    found
}

/// Puts together what the three queries gave. `home` is the schema whose routines go without a prefix.
pub(super) fn assemble(
    routines: &[Vec<Cell>],
    arguments: &[Vec<Cell>],
    collected: &[Vec<Cell>],
    home: &str,
    as_decimal: bool,
) -> Routines {
    let tables = collections(collected, as_decimal);
    let mut interfaces: HashMap<Name, Interface> = HashMap::new();
    // Records, objects and collections have no form in a request.
    let mut unfit: HashSet<Name> = HashSet::new();
    for row in arguments {
        let (Some(routine), Some(data_type)) = (name_of(row, 0, 1), text(row, 4)) else {
            continue;
        };
        let is_cursor = data_type == "REF CURSOR";
        let is_value = number(row, 2) == Some(0);
        let collection = name_of(row, 11, 12).and_then(|name| tables.get(&name));
        let own_name = text(row, 3).unwrap_or(&routine.1);
        let column = if is_cursor {
            Some(Column::plain(own_name, Type::Other, data_type))
        } else {
            column(row, own_name, data_type, as_decimal)
        };
        let direction = match text(row, 5) {
            Some("OUT") => Direction::Out,
            Some("IN/OUT") => Direction::InOut,
            _ => Direction::In,
        };
        if is_value {
            let returns = match (is_cursor, collection, column) {
                (true, _, _) => Returns::Cursors,
                (false, Some(columns), _) => Returns::Table(columns.clone()),
                // Truth values of PL/SQL cannot be queried.
                (false, None, Some(column)) if data_type != "PL/SQL BOOLEAN" => {
                    Returns::Value(Box::new(column))
                }
                (false, None, _) => {
                    unfit.insert(routine);
                    continue;
                }
            };
            interfaces.entry(routine).or_default().returns = returns;
            continue;
        }
        let Some(column) = column else {
            unfit.insert(routine);
            continue;
        };
        interfaces
            .entry(routine)
            .or_default()
            .parameters
            .push(Parameter {
                direction,
                has_default: text(row, 6) == Some("Y"),
                is_variadic: false,
                is_cursor: is_cursor && direction.is_output(),
                column,
            });
    }
    let mut found = Vec::new();
    for row in routines {
        let Some(name) = name_of(row, 0, 1).filter(|name| !unfit.contains(name)) else {
            continue;
        };
        let interface = interfaces.remove(&name).unwrap_or_default();
        let is_procedure = text(row, 2) == Some("PROCEDURE");
        // A query can neither take what goes out nor give what is a truth value of PL/SQL.
        let is_queried = interface.parameters.iter().all(|parameter| {
            !parameter.direction.is_output() && parameter.column.db_type != "BOOLEAN"
        });
        if !is_procedure && (!is_queried || interface.returns == Returns::Nothing) {
            continue;
        }
        let (schema, native) = name;
        found.push(Routine {
            name: api_name(&schema, &native, schema == home),
            schema: Some(schema),
            native,
            kind: if is_procedure {
                RoutineKind::Procedure
            } else {
                RoutineKind::Function
            },
            parameters: interface.parameters,
            returns: interface.returns,
            is_read_only: !is_procedure && text(row, 3) == Some("YES"),
            description: None,
        });
    }
    Routines::new(found)
}
