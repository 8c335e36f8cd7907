//! Oracle Database, 12.2 or newer.
//!
//! Dates and times are bound as texts in one form and converted where they meet their column, so that nothing depends
//! on the session's language. Unusual syntax names its page in "SQL Language Reference".

use super::{Dialect, InsertOutput, Returning};
use crate::connector::database::catalog::{Column, Table, Type};
use crate::connector::database::schema_change::{OracleSchema, SchemaDialect};
use crate::connector::database::sql::CallStyle;
use crate::connector::database::value::Scalar;
use crate::connector::filter::{Matching, Now};

/// Most expressions in a list ("Expression Lists").
const LONGEST_LIST: usize = 1_000;

/// The form of timestamps ("Format Models").
const TIMESTAMP: &str = "YYYY-MM-DD\"T\"HH24:MI:SS.FF";
/// The same with an offset.
const TIMESTAMP_TZ: &str = "YYYY-MM-DD\"T\"HH24:MI:SS.FFTZH:TZM";

/// The SQL of Oracle.
#[derive(Clone, Copy, Debug, Default)]
pub struct OracleDialect;

/// Whether the expression is a placeholder, of the product itself or of ODBC, and not a function of the database.
fn is_placeholder(sql: &str) -> bool {
    sql.starts_with([':', '?'])
}

impl OracleDialect {
    /// A placeholder as a value of a column.
    fn converted(placeholder: &str, column: &Column) -> String {
        if !is_placeholder(placeholder) {
            return placeholder.to_owned();
        }
        let db_type = column.db_type.as_str();
        // More digits than microseconds come back as the texts that were read.
        let text = if column.precision.is_some_and(|precision| precision > 6) {
            format!("REPLACE(REPLACE({placeholder}, ' ', 'T'), 'Z', '+00:00')")
        } else {
            placeholder.to_owned()
        };
        match &column.kind {
            // DATE has a time of day, but no fraction of a second.
            Type::DateTime if db_type == "DATE" => {
                format!("CAST(TO_TIMESTAMP({text}, '{TIMESTAMP}') AS DATE)")
            }
            Type::DateTime => format!("TO_TIMESTAMP({text}, '{TIMESTAMP}')"),
            Type::TimestampTz => format!("TO_TIMESTAMP_TZ({text}, '{TIMESTAMP_TZ}')"),
            Type::Boolean if db_type == "BOOLEAN" => format!("TO_BOOLEAN({placeholder})"),
            // Both functions also read ISO 8601: "TO_DSINTERVAL", "TO_YMINTERVAL".
            Type::Other if db_type.starts_with("INTERVAL DAY") => {
                format!("TO_DSINTERVAL({placeholder})")
            }
            Type::Other if db_type.starts_with("INTERVAL YEAR") => {
                format!("TO_YMINTERVAL({placeholder})")
            }
            _ => placeholder.to_owned(),
        }
    }

    /// A column as text for LIKE.
    fn text(sql: &str, column: &Column) -> String {
        match &column.kind {
            Type::String | Type::Text if column.db_type != "XMLTYPE" => sql.to_owned(),
            Type::DateTime if column.db_type == "DATE" => {
                format!("TO_CHAR({sql}, 'YYYY-MM-DD\"T\"HH24:MI:SS')")
            }
            Type::DateTime => format!("TO_CHAR({sql}, '{TIMESTAMP}')"),
            Type::TimestampTz => format!("TO_CHAR({sql}, '{TIMESTAMP_TZ}')"),
            Type::Binary => format!("RAWTOHEX({sql})"),
            _ => format!("TO_CHAR({sql})"),
        }
    }
}

impl Dialect for OracleDialect {
    fn placeholder(&self, position: usize) -> String {
        format!(":{position}")
    }

    fn operand(&self, placeholder: &str, column: &Column) -> String {
        Self::converted(placeholder, column)
    }

    fn stored(&self, placeholder: &str, column: &Column) -> String {
        match column.db_type.as_str() {
            "XMLTYPE" => format!("XMLTYPE({placeholder})"),
            "JSON" => format!("JSON({placeholder})"),
            "SDO_GEOMETRY" => format!("SDO_UTIL.FROM_WKTGEOMETRY({placeholder})"),
            "VECTOR" => format!("TO_VECTOR({placeholder})"),
            _ => Self::converted(placeholder, column),
        }
    }

    fn shown(&self, sql: &str, column: &Column) -> String {
        match column.db_type.as_str() {
            "XMLTYPE" => format!("XMLSERIALIZE(CONTENT {sql} AS CLOB)"),
            "JSON" => format!("JSON_SERIALIZE({sql} RETURNING CLOB)"),
            "SDO_GEOMETRY" => format!("SDO_UTIL.TO_WKTGEOMETRY({sql})"),
            "VECTOR" => format!("FROM_VECTOR({sql} RETURNING CLOB)"),
            // The driver does not say in which zone such a time is; so it is brought to one.
            db_type if db_type.ends_with("WITH LOCAL TIME ZONE") => {
                format!("({sql} AT TIME ZONE 'UTC')")
            }
            _ => sql.to_owned(),
        }
    }

    fn named_column(&self, _column: &Column) -> String {
        // Not by a name of their own: FETCH wants different ones ("SELECT", row_limiting_clause).
        String::new()
    }

    fn comparable(&self, sql: &str, _column: &Column) -> String {
        // Large objects cannot be compared: the database says so, and so does the answer.
        sql.to_owned()
    }

    fn longest_list(&self) -> usize {
        LONGEST_LIST
    }

    fn pattern(&self, how: Matching, text: &str) -> Scalar {
        // The escape may stand before a wildcard and before itself, and nowhere else ("Pattern-matching Conditions").
        let mut out = String::with_capacity(text.len().saturating_add(2));
        if !matches!(how, Matching::Like | Matching::ILike | Matching::StartsWith) {
            out.push('%');
        }
        let mut characters = text.chars();
        while let Some(character) = characters.next() {
            let is_pattern = matches!(how, Matching::Like | Matching::ILike);
            let (character, is_literal) = match character {
                '\\' if is_pattern => (characters.next().unwrap_or('\\'), true),
                other => (other, !is_pattern),
            };
            if is_literal && matches!(character, '%' | '_' | '\\') {
                out.push('\\');
            }
            out.push(character);
        }
        if matches!(how, Matching::Contains | Matching::StartsWith) {
            out.push('%');
        }
        Scalar::Text(out)
    }

    fn matching(&self, sql: &str, column: &Column, how: Matching, pattern: &str) -> String {
        let text = Self::text(sql, column);
        if how == Matching::ILike {
            format!("UPPER({text}) LIKE UPPER({pattern}) ESCAPE '\\'")
        } else {
            format!("{text} LIKE {pattern} ESCAPE '\\'")
        }
    }

    fn now(&self, now: Now, column: &Column) -> String {
        let utc = "SYS_EXTRACT_UTC(SYSTIMESTAMP)";
        match (&column.kind, now) {
            (Type::TimestampTz, Now::Date) => {
                format!("FROM_TZ(CAST(TRUNC({utc}) AS TIMESTAMP), 'UTC')")
            }
            (Type::TimestampTz, _) => "SYSTIMESTAMP".to_owned(),
            (_, Now::Date) => format!("TRUNC({utc})"),
            (Type::DateTime, _) if column.db_type == "DATE" => format!("CAST({utc} AS DATE)"),
            _ => utc.to_owned(),
        }
    }

    fn lock(&self) -> &'static str {
        " FOR UPDATE"
    }

    fn locks_pages(&self) -> bool {
        // FOR UPDATE and FETCH exclude each other ("SELECT", restrictions on the row_limiting_clause).
        false
    }

    fn returning(&self) -> Returning {
        Returning::Nothing
    }

    fn table_alias(&self) -> &'static str {
        " "
    }

    fn constant(&self, truth: bool) -> &'static str {
        if truth { "1 = 1" } else { "1 = 0" }
    }

    fn truth(&self) -> [&'static str; 2] {
        ["CASE WHEN ", " THEN 1 ELSE 0 END"]
    }

    fn page(&self, limit: u64, offset: Option<&str>, _is_ordered: bool) -> String {
        match offset {
            Some(offset) => format!(" OFFSET {offset} ROWS FETCH NEXT {limit} ROWS ONLY"),
            None => format!(" FETCH FIRST {limit} ROWS ONLY"),
        }
    }

    fn default_values(&self, table: &Table) -> String {
        let column = table.columns.iter().find(|column| !column.is_generated);
        let name = column.map_or_else(String::new, |column| self.quote(column.own_name()));
        format!(" ({name}) VALUES (DEFAULT)")
    }

    fn insert_output(&self, columns: &[&Column]) -> Option<InsertOutput> {
        // "INSERT", returning_clause. The driver takes the placeholders behind INTO for variables.
        let names: Vec<String> = columns
            .iter()
            .map(|column| self.quote(column.own_name()))
            .collect();
        let variables: Vec<String> = (1..=columns.len())
            .map(|position| format!(":r{position}"))
            .collect();
        Some(InsertOutput {
            after: format!(
                " RETURNING {} INTO {}",
                names.join(", "),
                variables.join(", ")
            ),
            ..InsertOutput::default()
        })
    }

    fn call_style(&self) -> Option<CallStyle> {
        Some(CallStyle::Oracle)
    }

    fn schema(&self) -> Option<&dyn SchemaDialect> {
        Some(&OracleSchema)
    }

    fn embeds_related(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_escape_stands_only_where_it_may() {
        for (how, text, expected) in [
            (Matching::Like, "a%_b", "a%_b"),
            (Matching::Like, "a\\%\\x\\", "a\\%x\\\\"),
            (Matching::ILike, "\\\\", "\\\\"),
            (Matching::Contains, "50%\\", "%50\\%\\\\%"),
            (Matching::StartsWith, "_", "\\_%"),
            (Matching::EndsWith, "_", "%\\_"),
        ] {
            assert_eq!(
                OracleDialect.pattern(how, text),
                Scalar::Text(expected.to_owned()),
                "{text}"
            );
        }
    }
}
