//! Firebird 3 and newer (<https://firebirdsql.org/file/documentation/html/en/refdocs/fblangref30/firebird-30-language-reference.html>).
//!
//! A parameter has the type of what it meets; where it meets nothing (`UPPER(?)`) the server says "data type unknown",
//! so a cast stands there. RETURNING gives one row only before Firebird 5, so that updates and deletes cannot use it.

use super::ansi::{json_array, json_object, offset_fetch};
use super::{Dialect, InsertOutput, Returning};
use crate::connector::database::catalog::{Column, Type};
use crate::connector::database::sql::RenderOptions;
use crate::connector::filter::{Matching, Now};

/// Most values in one `IN (…)`; the server takes 1,500 before version 5.
const LONGEST_LIST: usize = 1_000;
/// The longest text that a cast can hold in UTF-8: 32,765 bytes of four to a character ("CHAR and VARCHAR").
const TEXT: &str = "VARCHAR(8191)";

/// The SQL of Firebird. Placeholders are `?`.
#[derive(Clone, Copy, Debug, Default)]
pub struct FirebirdDialect;

impl Dialect for FirebirdDialect {
    fn placeholder(&self, _position: usize) -> String {
        "?".to_owned()
    }

    fn matching(&self, sql: &str, column: &Column, how: Matching, pattern: &str) -> String {
        // LIKE on a number would take the parameter for one.
        let (sql, pattern) = if matches!(column.kind, Type::String | Type::Text | Type::Other)
            && how != Matching::ILike
        {
            (sql.to_owned(), pattern.to_owned())
        } else if matches!(column.kind, Type::String | Type::Text | Type::Other) {
            (sql.to_owned(), format!("CAST({pattern} AS {TEXT})"))
        } else {
            (
                format!("CAST({sql} AS {TEXT})"),
                format!("CAST({pattern} AS {TEXT})"),
            )
        };
        match how {
            Matching::ILike => format!("UPPER({sql}) LIKE UPPER({pattern}) ESCAPE '\\'"),
            _ => format!("{sql} LIKE {pattern} ESCAPE '\\'"),
        }
    }

    fn now(&self, now: Now, column: &Column) -> String {
        match (&column.kind, now) {
            (Type::Date, _) => "CURRENT_DATE".to_owned(),
            // Without a zone also where the others have one, from version 4 on ("LOCALTIMESTAMP").
            (Type::Time, _) => "LOCALTIME".to_owned(),
            (Type::TimeTz, _) => "CURRENT_TIME".to_owned(),
            (_, Now::Date) => "CAST(CURRENT_DATE AS TIMESTAMP)".to_owned(),
            (Type::TimestampTz, _) => "CURRENT_TIMESTAMP".to_owned(),
            _ => "LOCALTIMESTAMP".to_owned(),
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
        " WITH LOCK"
    }

    fn returning(&self) -> Returning {
        Returning::Nothing
    }

    fn truth(&self) -> [&'static str; 2] {
        ["CASE WHEN ", " THEN TRUE ELSE FALSE END"]
    }

    fn page(&self, limit: u64, offset: Option<&str>, _is_ordered: bool) -> String {
        offset_fetch(limit, offset)
    }

    fn insert_output(&self, columns: &[&Column]) -> Option<InsertOutput> {
        if columns.is_empty() {
            return None;
        }
        let names: Vec<String> = columns
            .iter()
            .map(|column| self.quote(column.own_name()))
            .collect();
        Some(InsertOutput {
            after: format!(" RETURNING {}", names.join(", ")),
            ..InsertOutput::default()
        })
    }

    fn longest_list(&self) -> usize {
        LONGEST_LIST
    }

    fn embeds_related(&self) -> bool {
        false
    }
}
