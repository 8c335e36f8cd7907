//! PostgreSQL and what speaks its SQL.

use super::{Dialect, InsertLimits, Returning, is_wide};
use crate::connector::database::catalog::{Column, Type};
use crate::connector::database::schema_change::{PostgresqlSchema, SchemaDialect};
use crate::connector::database::sql::{CallStyle, RenderOptions};
use crate::connector::database::value::{DateTimeStyle, NumberStyle};
use crate::connector::filter::{Matching, Now};

/// Longest identifier; the server cuts off the rest (`NAMEDATALEN` - 1).
const MAX_IDENTIFIER_BYTES: usize = 63;

/// The OID of `json`, which has no equality and no order.
const JSON: u32 = 114;

/// The OID of `inet`.
const INET: u32 = 869;

/// OIDs of what `LIKE` takes as it is: `text`, `varchar`, `char(n)`, `name`.
const TEXTS: [u32; 4] = [25, 1043, 1042, 19];

/// The SQL of PostgreSQL.
///
/// Parameters are left to the server's inference, which takes the type of the column that they meet; a cast stands
/// where there is none to take.
#[derive(Clone, Copy, Debug, Default)]
pub struct PostgresqlDialect;

impl Dialect for PostgresqlDialect {
    fn placeholder(&self, position: usize) -> String {
        format!("${position}")
    }

    fn operand(&self, placeholder: &str, column: &Column) -> String {
        if column.kind == Type::Json && column.native == JSON {
            format!("{placeholder}::jsonb")
        } else {
            placeholder.to_owned()
        }
    }

    fn number(&self, placeholder: &str) -> String {
        format!("{placeholder}::numeric")
    }

    fn count(&self, placeholder: &str) -> String {
        format!("{placeholder}::int8")
    }

    fn shown(&self, sql: &str, column: &Column) -> String {
        match column.kind {
            Type::Other => text(sql, column),
            _ => sql.to_owned(),
        }
    }

    fn comparable(&self, sql: &str, column: &Column) -> String {
        if column.kind == Type::Json && column.native == JSON {
            format!("{sql}::jsonb")
        } else {
            sql.to_owned()
        }
    }

    fn any(&self, sql: &str, placeholder: &str, column: &Column) -> Option<String> {
        is_plain(column).then(|| format!("{sql} = ANY({placeholder})"))
    }

    fn position(&self, sql: &str, placeholder: &str, column: &Column) -> Option<String> {
        is_plain(column).then(|| format!("array_position({placeholder}, {sql})"))
    }

    fn matching(&self, sql: &str, column: &Column, how: Matching, pattern: &str) -> String {
        let is_text = TEXTS.contains(&column.native) || column.db_type == "citext";
        let cast = if is_text { "" } else { "::text" };
        let operator = if how == Matching::ILike {
            "ILIKE"
        } else {
            "LIKE"
        };
        // The backslash is the default escape.
        format!("{sql}{cast} {operator} {pattern}::text")
    }

    fn now(&self, now: Now, column: &Column) -> String {
        let utc = "CURRENT_TIMESTAMP AT TIME ZONE 'UTC'";
        let day = format!("CAST({utc} AS date)");
        match (&column.kind, now) {
            (Type::Date, _) => day,
            (Type::DateTime, Now::Date) => format!("CAST({day} AS timestamp)"),
            (Type::DateTime, _) => format!("({utc})"),
            (Type::TimestampTz, Now::Date) => {
                format!("(CAST({day} AS timestamp) AT TIME ZONE 'UTC')")
            }
            (Type::Time, _) => format!("CAST({utc} AS time)"),
            (Type::TimeTz, _) => "CURRENT_TIME".to_owned(),
            _ => "CURRENT_TIMESTAMP".to_owned(),
        }
    }

    fn summand(&self, sql: &str, column: &Column) -> String {
        match column.kind {
            Type::Money => format!("{sql}::numeric"),
            _ => sql.to_owned(),
        }
    }

    fn json_value(&self, sql: &str, column: &Column, options: RenderOptions) -> String {
        if is_wide(&column.kind) && options.numbers == NumberStyle::String {
            let cast = if column.kind == Type::Money {
                "::numeric"
            } else {
                ""
            };
            return format!("{sql}{cast}::text");
        }
        match &column.kind {
            Type::Money => format!("{sql}::numeric"),
            Type::Other => text(sql, column),
            // `encode` breaks lines after 76 characters.
            Type::Binary => format!("translate(encode({sql}, 'base64'), E'\\n', '')"),
            // The text of JSON is what the server's own writer makes of a timestamp, whatever the session's style.
            Type::DateTime => timestamp(sql, "", options),
            Type::TimestampTz => timestamp(&format!("({sql} AT TIME ZONE 'UTC')"), "Z", options),
            Type::TimeTz => format!(
                "regexp_replace(regexp_replace({sql}::text, '[+-]00(:00)?$', 'Z'), '([+-][0-9][0-9])$', '\\1:00')"
            ),
            Type::Array(element) => array(sql, column, element, options, *self),
            Type::Boolean
            | Type::SmallInt
            | Type::Integer
            | Type::BigInt
            | Type::Decimal
            | Type::Float
            | Type::Double
            | Type::String
            | Type::Text
            | Type::Uuid
            | Type::Json
            | Type::Date
            | Type::Time => sql.to_owned(),
        }
    }

    fn json_object(&self, rows: &str, names: &[&str]) -> String {
        if self.members_are_named(names) {
            return format!("row_to_json({rows})");
        }
        let members: Vec<String> = names
            .iter()
            .enumerate()
            .map(|(index, name)| {
                format!(
                    "({index}, {}, to_json({rows}.c{index}))",
                    self.literal(name)
                )
            })
            .collect();
        format!(
            "(SELECT json_object_agg(m.name, m.value ORDER BY m.position) FROM (VALUES {}) AS m(position, name, value))",
            members.join(", ")
        )
    }

    fn members_are_named(&self, names: &[&str]) -> bool {
        names
            .iter()
            .all(|name| name.len() <= MAX_IDENTIFIER_BYTES && !name.is_empty())
    }

    fn json_array(&self, object: &str) -> String {
        // Of a JSON value, unlike of a row, `json_agg` makes one line.
        format!("COALESCE(json_agg({object}), '[]'::json)")
    }

    fn lock(&self) -> &'static str {
        " FOR UPDATE"
    }

    fn returning(&self) -> Returning {
        Returning::Clause { is_qualified: true }
    }

    fn schema(&self) -> Option<&dyn SchemaDialect> {
        Some(&PostgresqlSchema)
    }

    fn insert_limits(&self) -> InsertLimits {
        // The protocol counts parameters by 16 bits (manual, "Message Formats", Bind).
        InsertLimits {
            records: 1_000,
            values: 60_000,
        }
    }

    fn embeds_related(&self) -> bool {
        true
    }

    fn call_style(&self) -> Option<CallStyle> {
        Some(CallStyle::Postgresql)
    }
}

/// A value of a type that has no JSON of its own.
fn text(sql: &str, column: &Column) -> String {
    if column.native == INET {
        // The cast to text would show the mask of a single address.
        format!("(to_json({sql}) #>> '{{}}')")
    } else {
        format!("{sql}::text")
    }
}

/// Whether a parameter for the column needs no cast, so that a list of them is an array.
fn is_plain(column: &Column) -> bool {
    !matches!(column.kind, Type::Json | Type::Array(_))
}

/// A timestamp without a zone as text, as [`crate::connector::database::value::write_temporal`] prints it.
fn timestamp(sql: &str, zone: &str, options: RenderOptions) -> String {
    let text = format!("(to_json({sql}) #>> '{{}}')");
    match (options.datetimes, zone) {
        (DateTimeStyle::Rfc3339, "") => text,
        // Infinity has no zone.
        (DateTimeStyle::Rfc3339, zone) => {
            format!("replace({text} || '{zone}', 'infinity{zone}', 'infinity')")
        }
        (DateTimeStyle::Sql, "") => format!("replace({text}, 'T', ' ')"),
        (DateTimeStyle::Sql, _) => {
            format!("replace(replace({text}, 'T', ' ') || '+00:00', 'infinity+00:00', 'infinity')")
        }
    }
}

/// An array as JSON. Where its elements are not what `to_json` makes of them, they are taken one by one.
fn array(
    sql: &str,
    column: &Column,
    element: &Type,
    options: RenderOptions,
    dialect: PostgresqlDialect,
) -> String {
    if *element == Type::Other {
        return sql.to_owned();
    }
    let element = Column {
        kind: element.clone(),
        native: 0,
        ..column.clone()
    };
    let value = dialect.json_value("e.v", &element, options);
    if value == "e.v" {
        return sql.to_owned();
    }
    format!(
        "CASE WHEN {sql} IS NOT NULL THEN COALESCE((SELECT json_agg({value} ORDER BY e.o) \
         FROM unnest({sql}) WITH ORDINALITY AS e(v, o)), '[]'::json) END"
    )
}
