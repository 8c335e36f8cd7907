//! Snowflake (<https://docs.snowflake.com/en/sql-reference>).
//!
//! Standard tables have neither locks for rows nor keys that hold: primary and unique keys are declared, but only NOT
//! NULL is enforced ("Overview of Constraints"). Nothing tells the number that AUTOINCREMENT gave.

use super::ansi::{json_array, json_object, one_default};
use super::{Dialect, Returning};
use crate::connector::database::catalog::{Column, Table, Type};
use crate::connector::database::sql::RenderOptions;
use crate::connector::filter::{Matching, Now};

/// Most values in one `IN (…)`; the product takes 16,384 ("Query limits").
const LONGEST_LIST: usize = 10_000;

/// The SQL of Snowflake. Placeholders are `?`.
#[derive(Clone, Copy, Debug, Default)]
pub struct SnowflakeDialect;

impl Dialect for SnowflakeDialect {
    fn literal(&self, text: &str) -> String {
        // A backslash escapes in a constant ("String & Binary Data Types").
        format!("'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
    }

    fn placeholder(&self, _position: usize) -> String {
        "?".to_owned()
    }

    fn matching(&self, sql: &str, column: &Column, how: Matching, pattern: &str) -> String {
        let cast = if matches!(column.kind, Type::String | Type::Text) {
            ""
        } else {
            "::VARCHAR"
        };
        let operator = if how == Matching::ILike {
            "ILIKE"
        } else {
            "LIKE"
        };
        // Two backslashes in a constant are one.
        format!("{sql}{cast} {operator} {pattern} ESCAPE '\\\\'")
    }

    fn now(&self, now: Now, column: &Column) -> String {
        // SYSDATE is in UTC and has no zone.
        match (&column.kind, now) {
            (Type::Date, _) => "SYSDATE()::DATE".to_owned(),
            (Type::Time | Type::TimeTz, _) => "SYSDATE()::TIME".to_owned(),
            (Type::TimestampTz, Now::Date) => "CURRENT_DATE()::TIMESTAMP_TZ".to_owned(),
            (_, Now::Date) => "SYSDATE()::DATE::TIMESTAMP_NTZ".to_owned(),
            (Type::TimestampTz, _) => "CURRENT_TIMESTAMP()".to_owned(),
            _ => "SYSDATE()".to_owned(),
        }
    }

    fn json_value(&self, sql: &str, _column: &Column, _options: RenderOptions) -> String {
        sql.to_owned()
    }

    fn json_object(&self, rows: &str, names: &[&str]) -> String {
        json_object(self, rows, names)
    }

    fn members_are_named(&self, _names: &[&str]) -> bool {
        false
    }

    fn json_array(&self, object: &str) -> String {
        json_array(object)
    }

    fn lock(&self) -> &'static str {
        ""
    }

    fn returning(&self) -> Returning {
        Returning::Nothing
    }

    fn default_values(&self, table: &Table) -> String {
        one_default(self, table)
    }

    fn longest_list(&self) -> usize {
        LONGEST_LIST
    }

    fn embeds_related(&self) -> bool {
        false
    }
}
