//! SQL Server, 2016 or newer, and Azure SQL Database.
//!
//! Transact-SQL has no truth values, no NULLS FIRST, no LIMIT and no RETURNING. What stands for them here is in the
//! manual ("Transact-SQL reference"), whose pages are named where something is unusual.

use super::{Dialect, InsertOutput, Returning};
use crate::connector::database::catalog::{Column, Type};
use crate::connector::database::plan::Nulls;
use crate::connector::database::schema_change::{SchemaDialect, SqlserverSchema};
use crate::connector::database::sql::CallStyle;
use crate::connector::database::value::Scalar;
use crate::connector::filter::{Matching, Now};

/// Lists that are at least as long are bound as one JSON array: a request has at most 2,100 parameters ("Maximum
/// capacity specifications for SQL Server"). Shorter ones need no `OPENJSON`, which databases of a compatibility level
/// below 130 lack.
const SHORTEST_ARRAY: usize = 512;

/// Most values in one statement of a write, so that with those of the role's filter they stay below that limit.
const MOST_VALUES: usize = 1_600;

/// The SQL of SQL Server.
///
/// The session has `QUOTED_IDENTIFIER` and the ANSI settings on, `LANGUAGE us_english` and `DATEFORMAT ymd`. Texts are bound as
/// `nvarchar`, dates and times as `date`, `time(7)`, `datetime2(7)` and `datetimeoffset(7)`, so that neither depends on
/// collations or languages.
#[derive(Clone, Copy, Debug, Default)]
pub struct SqlServerDialect;

/// The name of a type without its length: `nvarchar` of `nvarchar(20)`.
fn base(column: &Column) -> &str {
    let name = column.db_type.as_str();
    name.split_once('(').map_or(name, |(name, _)| name)
}

impl SqlServerDialect {
    /// A column as text for LIKE. Dates and times in ISO 8601 ("CAST and CONVERT", styles 126 and 127).
    fn text(self, sql: &str, column: &Column) -> String {
        match &column.kind {
            Type::String | Type::Text
                if matches!(base(column), "char" | "varchar" | "nchar" | "nvarchar") =>
            {
                sql.to_owned()
            }
            Type::Date | Type::Time | Type::TimeTz | Type::DateTime => {
                format!("CONVERT(nvarchar(40), {sql}, 126)")
            }
            Type::TimestampTz => format!("CONVERT(nvarchar(40), {sql}, 127)"),
            Type::Binary => format!("CONVERT(varchar(max), CONVERT(varbinary(max), {sql}), 2)"),
            _ => {
                let shown = self.shown(sql, column);
                format!("CAST({shown} AS nvarchar(max))")
            }
        }
    }

    /// The rows of a JSON array as values of a column ("OPENJSON").
    fn rows(placeholder: &str, column: &Column) -> Option<String> {
        let kind = match &column.kind {
            Type::SmallInt | Type::Integer | Type::BigInt => "bigint",
            Type::Uuid => "uniqueidentifier",
            Type::String => "nvarchar(4000)",
            Type::Text if base(column) != "xml" => "nvarchar(max)",
            _ => return None,
        };
        Some(format!(
            "(SELECT [key], CAST([value] AS {kind}) AS [value] FROM OPENJSON({placeholder})) AS [list]"
        ))
    }
}

impl Dialect for SqlServerDialect {
    fn quote(&self, identifier: &str) -> String {
        format!("[{}]", identifier.replace(']', "]]"))
    }

    fn literal(&self, text: &str) -> String {
        format!("N'{}'", text.replace('\'', "''"))
    }

    fn placeholder(&self, position: usize) -> String {
        format!("@P{position}")
    }

    fn operand(&self, placeholder: &str, column: &Column) -> String {
        match base(column) {
            // `datetime` holds 300ths of a second: a `datetime2` of three digits equals none of them ("datetime2",
            // "Behavior when the database compatibility level is 130 or higher").
            name @ ("datetime" | "smalldatetime" | "hierarchyid") => {
                format!("CAST({placeholder} AS {name})")
            }
            _ => placeholder.to_owned(),
        }
    }

    fn stored(&self, placeholder: &str, column: &Column) -> String {
        match (&column.kind, base(column)) {
            // NULL is bound as text, which these types take by CONVERT alone ("CAST and CONVERT", implicit
            // conversions).
            (Type::Binary, _) => format!("CONVERT(varbinary(max), {placeholder})"),
            (Type::Money, name) => format!("CONVERT({name}, {placeholder})"),
            (_, "hierarchyid") => format!("CAST({placeholder} AS hierarchyid)"),
            // In the coordinates of WGS 84 (4326), or in none (0): "Parse (geography data type)".
            (_, name @ ("geography" | "geometry")) => format!("{name}::Parse({placeholder})"),
            _ => placeholder.to_owned(),
        }
    }

    fn shown(&self, sql: &str, column: &Column) -> String {
        match (&column.kind, base(column)) {
            // The driver reads money as a floating-point number.
            (Type::Money, _) => format!("CAST({sql} AS decimal(19, 4))"),
            (_, "xml" | "json" | "vector") => format!("CAST({sql} AS nvarchar(max))"),
            (_, "sql_variant") => format!("CAST({sql} AS nvarchar(4000))"),
            // Types of the common language runtime: "ToString (hierarchyid)", "ToString (geometry data type)".
            (Type::Other, _) => format!("{sql}.ToString()"),
            _ => sql.to_owned(),
        }
    }

    fn comparable(&self, sql: &str, column: &Column) -> String {
        match base(column) {
            // These cannot be compared, ordered or grouped by themselves.
            "text" | "ntext" | "xml" | "json" => format!("CAST({sql} AS nvarchar(max))"),
            "image" => format!("CAST({sql} AS varbinary(max))"),
            "sql_variant" => format!("CAST({sql} AS nvarchar(4000))"),
            "hierarchyid" => sql.to_owned(),
            _ if column.kind == Type::Other => format!("{sql}.ToString()"),
            _ => sql.to_owned(),
        }
    }

    fn any(&self, sql: &str, placeholder: &str, column: &Column) -> Option<String> {
        let rows = Self::rows(placeholder, column)?;
        Some(format!("{sql} IN (SELECT [value] FROM {rows})"))
    }

    fn position(&self, sql: &str, placeholder: &str, column: &Column) -> Option<String> {
        let rows = Self::rows(placeholder, column)?;
        Some(format!(
            "(SELECT MIN(CAST([key] AS int)) FROM {rows} WHERE [value] = {sql})"
        ))
    }

    fn shortest_array(&self) -> usize {
        SHORTEST_ARRAY
    }

    fn pattern(&self, how: Matching, text: &str) -> Scalar {
        // A bracket begins a set of characters ("LIKE"), as it does nowhere else.
        let escape = |out: &mut String, character: char| {
            if matches!(character, '%' | '_' | '[' | '\\') {
                out.push('\\');
            }
            out.push(character);
        };
        let mut out = String::with_capacity(text.len().saturating_add(2));
        if !matches!(how, Matching::Like | Matching::ILike | Matching::StartsWith) {
            out.push('%');
        }
        let mut characters = text.chars();
        while let Some(character) = characters.next() {
            match (how, character) {
                (Matching::Like | Matching::ILike, '%' | '_') => out.push(character),
                // What follows the backslash stands for itself; at the end it does so itself.
                (Matching::Like | Matching::ILike, '\\') => {
                    escape(&mut out, characters.next().unwrap_or('\\'));
                }
                _ => escape(&mut out, character),
            }
        }
        if matches!(how, Matching::Contains | Matching::StartsWith) {
            out.push('%');
        }
        Scalar::Text(out)
    }

    fn matching(&self, sql: &str, column: &Column, how: Matching, pattern: &str) -> String {
        let text = self.text(sql, column);
        if how == Matching::ILike {
            // Whether case counts is the collation's business, so both sides are brought to one case.
            format!("LOWER({text}) LIKE LOWER({pattern}) ESCAPE N'\\'")
        } else {
            format!("{text} LIKE {pattern} ESCAPE N'\\'")
        }
    }

    fn now(&self, now: Now, column: &Column) -> String {
        let utc = "SYSUTCDATETIME()";
        match (&column.kind, now) {
            (Type::Date, _) => format!("CAST({utc} AS date)"),
            (Type::DateTime, Now::Date) => format!("CAST(CAST({utc} AS date) AS datetime2)"),
            (Type::TimestampTz, Now::Date) => {
                format!("CAST(CAST({utc} AS date) AS datetimeoffset)")
            }
            (Type::TimestampTz, _) => "SWITCHOFFSET(SYSDATETIMEOFFSET(), '+00:00')".to_owned(),
            (Type::Time | Type::TimeTz, _) => format!("CAST({utc} AS time)"),
            _ => utc.to_owned(),
        }
    }

    fn summand(&self, sql: &str, column: &Column) -> String {
        match &column.kind {
            // The sum of `int` is an `int`, and so is its average ("SUM", "AVG").
            Type::SmallInt | Type::Integer | Type::BigInt | Type::Boolean => {
                format!("CAST({sql} AS decimal(38, 0))")
            }
            Type::Money => format!("CAST({sql} AS decimal(38, 4))"),
            _ => sql.to_owned(),
        }
    }

    fn lock(&self) -> &'static str {
        ""
    }

    fn lock_hint(&self) -> &'static str {
        // HOLDLOCK keeps others from adding a record where none was found ("Table hints").
        " WITH (UPDLOCK, HOLDLOCK, ROWLOCK)"
    }

    fn returning(&self) -> Returning {
        Returning::Nothing
    }

    fn constant(&self, truth: bool) -> &'static str {
        if truth { "1 = 1" } else { "1 = 0" }
    }

    fn truth(&self) -> [&'static str; 2] {
        ["CAST(CASE WHEN ", " THEN 1 ELSE 0 END AS bit)"]
    }

    fn order_item(&self, sql: &str, descending: bool, nulls: Option<Nulls>) -> String {
        let direction = if descending { " DESC" } else { "" };
        // NULL counts as the lowest of all values ("ORDER BY clause").
        let place = match (nulls, descending) {
            (None, _) | (Some(Nulls::First), false) | (Some(Nulls::Last), true) => {
                return format!("{sql}{direction}");
            }
            (Some(Nulls::First), true) => "0 ELSE 1",
            (Some(Nulls::Last), false) => "1 ELSE 0",
        };
        format!("CASE WHEN {sql} IS NULL THEN {place} END, {sql}{direction}")
    }

    fn page(&self, limit: u64, offset: Option<&str>, is_ordered: bool) -> String {
        // OFFSET and FETCH belong to ORDER BY ("ORDER BY clause").
        let order = if is_ordered {
            ""
        } else {
            " ORDER BY (SELECT NULL)"
        };
        let offset = offset.unwrap_or("0");
        format!("{order} OFFSET {offset} ROWS FETCH NEXT {limit} ROWS ONLY")
    }

    fn insert_output(&self, columns: &[&Column]) -> Option<InsertOutput> {
        // Into a table variable, because a table with triggers takes no other OUTPUT ("OUTPUT clause").
        let list = |each: &dyn Fn(&Column) -> String| {
            let all: Vec<String> = columns.iter().map(|column| each(column)).collect();
            all.join(", ")
        };
        let declared = list(&|column| {
            // A rowversion makes its own values and cannot be given one.
            let db_type = match base(column) {
                "timestamp" | "rowversion" => "binary(8)",
                _ => column.db_type.as_str(),
            };
            format!("{} {db_type}", self.quote(column.own_name()))
        });
        let output = list(&|column| format!("INSERTED.{}", self.quote(column.own_name())));
        let names = list(&|column| self.quote(column.own_name()));
        let shown = list(&|column| self.shown(&self.quote(column.own_name()), column));
        Some(InsertOutput {
            before: format!("DECLARE @inserted TABLE ({declared}); "),
            before_values: format!(" OUTPUT {output} INTO @inserted ({names})"),
            after: format!("; SELECT {shown} FROM @inserted"),
        })
    }

    fn most_values(&self) -> usize {
        MOST_VALUES
    }

    fn call_style(&self) -> Option<CallStyle> {
        Some(CallStyle::SqlServer)
    }

    fn schema(&self) -> Option<&dyn SchemaDialect> {
        Some(&SqlserverSchema)
    }

    fn embeds_related(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brackets_and_stray_backslashes_stand_for_themselves() {
        for (how, text, expected) in [
            (Matching::Like, "a%_b", "a%_b"),
            (Matching::Like, "a[b]", "a\\[b]"),
            (Matching::Like, "a\\%\\[\\x\\", "a\\%\\[x\\\\"),
            (Matching::Contains, "50%[\\", "%50\\%\\[\\\\%"),
            (Matching::StartsWith, "_", "\\_%"),
            (Matching::EndsWith, "_", "%\\_"),
        ] {
            assert_eq!(
                SqlServerDialect.pattern(how, text),
                Scalar::Text(expected.to_owned()),
                "{text}"
            );
        }
    }
}
