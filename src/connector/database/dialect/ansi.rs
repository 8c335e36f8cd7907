//! Standard SQL, for products that no dialect of their own was written for.
//!
//! Nothing beyond SQL:2008 core and its optional `OFFSET … FETCH`, and nothing that drivers cannot type: conditions
//! are no values (`CASE`), and NULLs are put into place by an expression. Times are those of the server's session.

use super::{Dialect, Returning};
use crate::connector::database::catalog::{Column, Table, Type};
use crate::connector::database::plan::Nulls;
use crate::connector::database::sql::RenderOptions;
use crate::connector::filter::{Matching, Now};

/// Most values in one `IN (…)`, which most products take.
const LONGEST_LIST: usize = 1_000;

/// Standard SQL. Placeholders are `?`.
#[derive(Clone, Copy, Debug, Default)]
pub struct AnsiDialect;

impl Dialect for AnsiDialect {
    fn placeholder(&self, _position: usize) -> String {
        "?".to_owned()
    }

    fn matching(&self, sql: &str, _column: &Column, how: Matching, pattern: &str) -> String {
        match how {
            Matching::ILike => format!("UPPER({sql}) LIKE UPPER({pattern}) ESCAPE '\\'"),
            _ => format!("{sql} LIKE {pattern} ESCAPE '\\'"),
        }
    }

    fn now(&self, now: Now, column: &Column) -> String {
        match (&column.kind, now) {
            (Type::Date, _) => "CURRENT_DATE".to_owned(),
            (Type::Time | Type::TimeTz, _) => "CURRENT_TIME".to_owned(),
            (_, Now::Date) => "CAST(CURRENT_DATE AS TIMESTAMP)".to_owned(),
            _ => "CURRENT_TIMESTAMP".to_owned(),
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
        // The standard locks rows for cursors only; whoever needs more sets the isolation in `statements`.
        ""
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

    fn order_item(&self, sql: &str, descending: bool, nulls: Option<Nulls>) -> String {
        nulls_by_case(sql, descending, nulls)
    }

    fn page(&self, limit: u64, offset: Option<&str>, _is_ordered: bool) -> String {
        offset_fetch(limit, offset)
    }

    fn longest_list(&self) -> usize {
        LONGEST_LIST
    }

    fn embeds_related(&self) -> bool {
        false
    }
}

/// SQL:2016 part 2, 6.34 `<JSON object constructor>`.
pub(super) fn json_object(dialect: &dyn Dialect, rows: &str, names: &[&str]) -> String {
    let members: Vec<String> = names
        .iter()
        .enumerate()
        .map(|(index, name)| format!("KEY {} VALUE {rows}.c{index}", dialect.literal(name)))
        .collect();
    format!("JSON_OBJECT({})", members.join(", "))
}

/// SQL:2016 part 2, 10.11 `<JSON aggregate function>`.
pub(super) fn json_array(object: &str) -> String {
    format!("COALESCE(JSON_ARRAYAGG({object}), JSON_ARRAY())")
}

/// NULLs put into place by an expression, where a product has no `NULLS FIRST`.
pub(super) fn nulls_by_case(sql: &str, descending: bool, nulls: Option<Nulls>) -> String {
    let direction = if descending { " DESC" } else { "" };
    match nulls {
        None => format!("{sql}{direction}"),
        Some(Nulls::First) => {
            format!("CASE WHEN {sql} IS NULL THEN 0 ELSE 1 END, {sql}{direction}")
        }
        Some(Nulls::Last) => {
            format!("CASE WHEN {sql} IS NULL THEN 1 ELSE 0 END, {sql}{direction}")
        }
    }
}

/// SQL:2008's `<result offset clause>` and `<fetch first clause>`.
pub(super) fn offset_fetch(limit: u64, offset: Option<&str>) -> String {
    match offset {
        Some(offset) => format!(" OFFSET {offset} ROWS FETCH NEXT {limit} ROWS ONLY"),
        None => format!(" FETCH FIRST {limit} ROWS ONLY"),
    }
}

/// What follows the table in an INSERT of a record of defaults, for products without `DEFAULT VALUES`: DEFAULT for
/// the first column that can be written.
pub(super) fn one_default(dialect: &dyn Dialect, table: &Table) -> String {
    let column = table
        .columns
        .iter()
        .find(|column| !column.is_generated)
        .map_or_else(String::new, |column| dialect.quote(column.own_name()));
    format!(" ({column}) VALUES (DEFAULT)")
}
