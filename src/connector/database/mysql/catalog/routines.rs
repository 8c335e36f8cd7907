//! Procedures and functions, read from `information_schema`. It shows those on which the account has a right.

use std::collections::HashMap;

use mysql_async::Error as NativeError;

use super::{kind_of, number, picklist, rows, text};
use crate::connector::database::catalog::{
    Column, Direction, Parameter, Returns, Routine, RoutineKind, Routines, Type, api_name,
};
use crate::connector::database::mysql::connect::Session;

const ROUTINES: &str = "\
SELECT ROUTINE_SCHEMA, ROUTINE_NAME, ROUTINE_TYPE, SQL_DATA_ACCESS, IS_DETERMINISTIC, ROUTINE_COMMENT
FROM information_schema.ROUTINES
WHERE ROUTINE_SCHEMA IN ({schemas}) AND ROUTINE_TYPE IN ('PROCEDURE', 'FUNCTION')
ORDER BY ROUTINE_NAME, ROUTINE_SCHEMA";

/// At position 0 is what a function returns.
const PARAMETERS: &str = "\
SELECT SPECIFIC_SCHEMA, SPECIFIC_NAME, ROUTINE_TYPE, ORDINAL_POSITION, PARAMETER_MODE, PARAMETER_NAME, DATA_TYPE,
  DTD_IDENTIFIER, CHARACTER_MAXIMUM_LENGTH, NUMERIC_PRECISION, NUMERIC_SCALE, DATETIME_PRECISION
FROM information_schema.PARAMETERS
WHERE SPECIFIC_SCHEMA IN ({schemas}) AND ROUTINE_TYPE IN ('PROCEDURE', 'FUNCTION')
ORDER BY SPECIFIC_SCHEMA, SPECIFIC_NAME, ROUTINE_TYPE, ORDINAL_POSITION";

/// A part of [`super::FINGERPRINTS`].
pub(super) const FINGERPRINT: &str = "\
    SELECT CONCAT_WS('.', COUNT(*), BIT_XOR(CAST(CONV(LEFT(SHA2(CONCAT_WS('/', ROUTINE_SCHEMA, ROUTINE_NAME, \
     ROUTINE_TYPE, CREATED, LAST_ALTERED), 256), 16), 16, 10) AS UNSIGNED))) \
     FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA IN ({schemas})";

/// Database, name and kind of a routine.
type Key = (String, String, String);

/// What a routine takes and gives.
#[derive(Default)]
struct Interface {
    parameters: Vec<Parameter>,
    value: Option<Column>,
}

/// Reads all of them. The first of `schemas` is the one whose routines go without a prefix.
pub(super) async fn read(
    session: &mut Session,
    schemas: &[String],
) -> Result<Routines, NativeError> {
    let mut interfaces: HashMap<Key, Interface> = HashMap::new();
    for mut row in rows(session, PARAMETERS, schemas).await? {
        let (Some(schema), Some(name), Some(kind), Some(data_type), Some(db_type)) = (
            text(&mut row, 0),
            text(&mut row, 1),
            text(&mut row, 2),
            text(&mut row, 6),
            text(&mut row, 7),
        ) else {
            continue;
        };
        let position = number(&mut row, 3);
        let direction = match text(&mut row, 4).as_deref() {
            Some("OUT") => Direction::Out,
            Some("INOUT") => Direction::InOut,
            _ => Direction::In,
        };
        // A function's value has no name; as a column it has that of the function.
        let column_name = text(&mut row, 5).unwrap_or_else(|| name.clone());
        let (length, numeric, fraction) = (
            number(&mut row, 8),
            (number(&mut row, 9), number(&mut row, 10)),
            number(&mut row, 11),
        );
        let (kind_of_values, native) = kind_of(&data_type.to_ascii_lowercase(), &db_type, 0);
        let (precision, scale) = match kind_of_values {
            Type::Decimal => numeric,
            _ if kind_of_values.is_temporal() => (fraction, None),
            _ => (None, None),
        };
        let is_text = matches!(kind_of_values, Type::String | Type::Text | Type::Binary);
        let column = Column {
            native,
            length: length.filter(|_| is_text),
            precision,
            scale,
            picklist: picklist(&db_type),
            ..Column::plain(&column_name, kind_of_values, &db_type)
        };
        let interface = interfaces.entry((schema, name, kind)).or_default();
        if position == Some(0) {
            interface.value = Some(column);
        } else {
            interface.parameters.push(Parameter {
                direction,
                has_default: false,
                is_variadic: false,
                is_cursor: false,
                column,
            });
        }
    }
    let home = schemas.first();
    let mut routines = Vec::new();
    for mut row in rows(session, ROUTINES, schemas).await? {
        let (Some(schema), Some(native), Some(kind)) =
            (text(&mut row, 0), text(&mut row, 1), text(&mut row, 2))
        else {
            continue;
        };
        let access = text(&mut row, 3).unwrap_or_default();
        let is_deterministic = text(&mut row, 4).is_some_and(|answer| answer == "YES");
        let description = text(&mut row, 5).filter(|comment| !comment.is_empty());
        let key = (schema, native, kind);
        let interface = interfaces.remove(&key).unwrap_or_default();
        let (schema, native, kind) = key;
        routines.push(Routine {
            name: api_name(&schema, &native, home == Some(&schema)),
            schema: Some(schema),
            native,
            kind: if kind == "PROCEDURE" {
                RoutineKind::Procedure
            } else {
                RoutineKind::Function
            },
            parameters: interface.parameters,
            returns: interface
                .value
                .map_or(Returns::Nothing, |column| Returns::Value(Box::new(column))),
            is_read_only: is_read_only(&access, is_deterministic),
            description,
        });
    }
    Ok(Routines::new(routines))
}

/// Whether the characteristics of a routine say that it changes nothing. `CONTAINS SQL` is what the server notes when
/// nothing is said.
fn is_read_only(access: &str, is_deterministic: bool) -> bool {
    match access {
        "READS SQL DATA" | "NO SQL" => true,
        "MODIFIES SQL DATA" => false,
        _ => is_deterministic,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characteristics_tell_what_only_reads() {
        for (access, is_deterministic, expected) in [
            ("READS SQL DATA", false, true),
            ("NO SQL", false, true),
            ("MODIFIES SQL DATA", true, false),
            ("CONTAINS SQL", false, false),
            ("CONTAINS SQL", true, true),
        ] {
            assert_eq!(is_read_only(access, is_deterministic), expected, "{access}");
        }
    }
}
