//! Declared types: what the text after a column's name in CREATE TABLE says about its values. Pure.
//!
//! SQLite keeps the text as it was written and stores any value in any column (outside STRICT tables), so a
//! declared type is a hint: the stored value decides, the declared type guides.

use crate::connector::database::catalog::Type;

/// What a declared type says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Declared {
    /// The kind of values.
    pub(super) kind: Type,
    /// Most characters or bytes: `VARCHAR(40)`.
    pub(super) length: Option<u32>,
    /// Digits in all: `DECIMAL(12,2)`.
    pub(super) precision: Option<u32>,
    /// Digits after the point.
    pub(super) scale: Option<u32>,
}

/// Reads a declared type. ASCII case and spaces do not count.
pub(super) fn declared(text: &str) -> Declared {
    let lowered = text.trim().to_ascii_lowercase();
    let (name, arguments) = match lowered.split_once('(') {
        Some((name, rest)) => {
            let (inside, after) = rest.split_once(')').unwrap_or((rest, ""));
            let name = format!("{} {}", name.trim(), after.trim());
            (name.trim().to_owned(), inside.to_owned())
        }
        None => (lowered, String::new()),
    };
    let mut numbers = arguments
        .split(',')
        .map(|number| number.trim().parse::<u32>().ok());
    let first = numbers.next().flatten();
    let second = numbers.next().flatten();
    let kind = kind(&name, first);
    let (length, precision, scale) = match kind {
        Type::String | Type::Text | Type::Binary => (first, None, None),
        Type::Decimal | Type::Money => (None, first, second),
        _ => (None, None, None),
    };
    Declared {
        kind,
        length,
        precision,
        scale,
    }
}

/// Whether a column so declared holds integers of at most 32 bits.
pub(super) fn is_narrow(text: &str) -> bool {
    matches!(declared(text).kind, Type::SmallInt | Type::Integer)
}

/// The kind of a type name without its arguments. Integers of whatever name hold 64 bits in SQLite, so only names
/// that promise fewer are taken at their word.
fn kind(name: &str, argument: Option<u32>) -> Type {
    match name {
        "" | "any" => Type::Other,
        "boolean" | "bool" => Type::Boolean,
        "bit" if argument.is_none_or(|width| width == 1) => Type::Boolean,
        "tinyint" if argument == Some(1) => Type::Boolean,
        "smallint" | "int2" | "tinyint" => Type::SmallInt,
        "mediumint" | "int4" => Type::Integer,
        "money" | "smallmoney" => Type::Money,
        "real" | "float" | "double" | "double precision" | "float8" | "float4" => Type::Double,
        "uuid" | "guid" | "uniqueidentifier" => Type::Uuid,
        "json" => Type::Json,
        "date" => Type::Date,
        "time" | "time without time zone" => Type::Time,
        "timetz" | "time with time zone" => Type::TimeTz,
        "datetime"
        | "datetime2"
        | "smalldatetime"
        | "timestamp"
        | "timestamp without time zone" => Type::DateTime,
        "timestamptz" | "datetimetz" | "datetimeoffset" | "timestamp with time zone" => {
            Type::TimestampTz
        }
        "binary" | "varbinary" | "bytea" | "image" => Type::Binary,
        // SQLite itself calls an expression of a view `NUM` when it is a number of no other kind.
        "num" | "number" => Type::Decimal,
        _ if name.starts_with("decimal") || name.starts_with("numeric") => Type::Decimal,
        // The rules by which SQLite itself derives an affinity, in its order
        // (https://www.sqlite.org/datatype3.html#determination_of_column_affinity).
        _ if name.contains("int") => Type::BigInt,
        _ if name.contains("char") => Type::String,
        _ if name.contains("clob") || name.contains("text") => Type::Text,
        _ if name.contains("blob") => Type::Binary,
        _ if name.contains("real") || name.contains("floa") || name.contains("doub") => {
            Type::Double
        }
        _ => Type::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn declared_types_are_read_as_people_mean_them() {
        for (text, kind_expected, length, precision, scale) in [
            ("INTEGER", Type::BigInt, None, None, None),
            ("int", Type::BigInt, None, None, None),
            ("UNSIGNED BIG INT", Type::BigInt, None, None, None),
            ("SMALLINT", Type::SmallInt, None, None, None),
            ("tinyint(1)", Type::Boolean, None, None, None),
            ("TINYINT", Type::SmallInt, None, None, None),
            ("Boolean", Type::Boolean, None, None, None),
            ("DECIMAL(12, 2)", Type::Decimal, None, Some(12), Some(2)),
            ("numeric", Type::Decimal, None, None, None),
            ("NUMERIC(5)", Type::Decimal, None, Some(5), None),
            ("NVARCHAR(40)", Type::String, Some(40), None, None),
            ("VARYING CHARACTER(7)", Type::String, Some(7), None, None),
            ("TEXT", Type::Text, None, None, None),
            ("CLOB", Type::Text, None, None, None),
            ("BLOB", Type::Binary, None, None, None),
            ("varbinary(16)", Type::Binary, Some(16), None, None),
            ("DOUBLE PRECISION", Type::Double, None, None, None),
            ("REAL", Type::Double, None, None, None),
            ("DATE", Type::Date, None, None, None),
            ("DATETIME", Type::DateTime, None, None, None),
            ("TIMESTAMP(6)", Type::DateTime, None, None, None),
            (
                "timestamp(6) with time zone",
                Type::TimestampTz,
                None,
                None,
                None,
            ),
            ("JSON", Type::Json, None, None, None),
            ("UUID", Type::Uuid, None, None, None),
            ("", Type::Other, None, None, None),
            ("whatever (", Type::Other, None, None, None),
        ] {
            let found = declared(text);
            assert_eq!(found.kind, kind_expected, "{text}");
            assert_eq!(found.length, length, "{text}");
            assert_eq!((found.precision, found.scale), (precision, scale), "{text}");
        }
    }
}
