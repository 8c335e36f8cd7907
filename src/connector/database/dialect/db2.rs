//! Db2 for Linux, UNIX and Windows, version 11.1 and newer (<https://www.ibm.com/docs/en/db2/11.5?topic=reference-sql>).
//!
//! What a write touched is given by `SELECT … FROM FINAL TABLE (INSERT …)` ("data-change-table-reference"). A parameter
//! that meets nothing with a type (`UPPER(?)`) is refused with SQL0418N, so a cast stands there.

use super::ansi::{json_array, json_object, offset_fetch, one_default};
use super::{Dialect, InsertOutput, Returning};
use crate::connector::database::catalog::{Column, Table, Type};
use crate::connector::database::sql::RenderOptions;
use crate::connector::filter::{Matching, Now};

/// Most values in one `IN (…)`.
const LONGEST_LIST: usize = 1_000;
/// The longest VARCHAR ("SQL and XML limits").
const TEXT: &str = "VARCHAR(32672)";

/// The SQL of Db2. Placeholders are `?`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Db2Dialect;

impl Dialect for Db2Dialect {
    fn placeholder(&self, _position: usize) -> String {
        "?".to_owned()
    }

    fn count(&self, placeholder: &str) -> String {
        format!("CAST({placeholder} AS BIGINT)")
    }

    fn matching(&self, sql: &str, column: &Column, how: Matching, pattern: &str) -> String {
        let sql = if matches!(column.kind, Type::String | Type::Text) {
            sql.to_owned()
        } else {
            format!("CAST({sql} AS {TEXT})")
        };
        match how {
            Matching::ILike => {
                format!("UPPER({sql}) LIKE UPPER(CAST({pattern} AS {TEXT})) ESCAPE '\\'")
            }
            _ => format!("{sql} LIKE {pattern} ESCAPE '\\'"),
        }
    }

    fn now(&self, now: Now, column: &Column) -> String {
        match (&column.kind, now) {
            (Type::Date, _) => "CURRENT DATE".to_owned(),
            (Type::Time | Type::TimeTz, _) => "CURRENT TIME".to_owned(),
            (_, Now::Date) => "TIMESTAMP(CURRENT DATE)".to_owned(),
            _ => "CURRENT TIMESTAMP".to_owned(),
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
        // "isolation-clause", "lock-request-clause".
        " WITH RS USE AND KEEP UPDATE LOCKS"
    }

    fn returning(&self) -> Returning {
        Returning::Nothing
    }

    fn constant(&self, truth: bool) -> &'static str {
        if truth { "1 = 1" } else { "1 = 0" }
    }

    fn truth(&self) -> [&'static str; 2] {
        ["CASE WHEN ", " THEN 1 ELSE 0 END"]
    }

    fn page(&self, limit: u64, offset: Option<&str>, _is_ordered: bool) -> String {
        offset_fetch(limit, offset)
    }

    fn default_values(&self, table: &Table) -> String {
        one_default(self, table)
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
            before: format!("SELECT {} FROM FINAL TABLE (", names.join(", ")),
            after: ")".to_owned(),
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
