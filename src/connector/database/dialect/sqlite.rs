//! SQLite.
//!
//! A function of the driver makes up for what its SQL lacks: `tidegate_json(value, declared type, style)` gives a
//! value as the row writer would write it, as JSON; style is 1 for numbers as texts, 2 for dates as SQL has them, 3 for
//! both. A result's column is named after its declared type, since SQLite
//! itself knows none for what RETURNING and aggregates give
//! (<https://www.sqlite.org/c3ref/column_decltype.html>).

use super::{Computed, Dialect, InsertLimits, Returning};
use crate::connector::database::catalog::{Column, Type};
use crate::connector::database::schema_change::{SchemaDialect, SqliteSchema};
use crate::connector::database::sql::RenderOptions;
use crate::connector::database::value::{DateTimeStyle, NumberStyle};
use crate::connector::filter::{Matching, Now};

/// The form in which timestamps are compared; SQLite stores them as any text.
const COMPARED: &str = "%Y-%m-%d %H:%M:%f";

/// The SQL of SQLite, 3.38 or newer.
#[derive(Clone, Copy, Debug, Default)]
pub struct SqliteDialect;

impl Dialect for SqliteDialect {
    fn placeholder(&self, position: usize) -> String {
        format!("?{position}")
    }

    fn operand(&self, placeholder: &str, column: &Column) -> String {
        self.comparable(placeholder, column)
    }

    fn number(&self, placeholder: &str) -> String {
        format!("CAST({placeholder} AS NUMERIC)")
    }

    fn named_column(&self, column: &Column) -> String {
        // A column without a type must not be taken for one of the type that its name happens to be.
        let name = if column.db_type.is_empty() {
            "any"
        } else {
            &column.db_type
        };
        format!(" AS {}", self.quote(name))
    }

    fn named(&self, computed: Computed) -> String {
        let name = match computed {
            Computed::Count => "bigint",
            Computed::Truth => "boolean",
            Computed::Json => "json",
        };
        format!(" AS {}", self.quote(name))
    }

    fn comparable(&self, sql: &str, column: &Column) -> String {
        match column.kind {
            // Texts of one moment differ: with `T`, with a zone, with a fraction. What is no timestamp stays itself.
            Type::DateTime | Type::TimestampTz => {
                format!("COALESCE(strftime('{COMPARED}', {sql}), {sql})")
            }
            _ => sql.to_owned(),
        }
    }

    fn matching(&self, sql: &str, _column: &Column, _how: Matching, pattern: &str) -> String {
        // LIKE folds the case of ASCII letters by itself.
        format!("{sql} LIKE {pattern} ESCAPE '\\'")
    }

    fn now(&self, now: Now, column: &Column) -> String {
        match (&column.kind, now) {
            (Type::Date, _) | (_, Now::Date) => "date('now')".to_owned(),
            (Type::Time | Type::TimeTz, _) | (_, Now::Time) => "time('now')".to_owned(),
            _ => "datetime('now')".to_owned(),
        }
    }

    fn json_value(&self, sql: &str, column: &Column, options: RenderOptions) -> String {
        let style = u8::from(options.numbers == NumberStyle::String)
            + 2 * u8::from(options.datetimes == DateTimeStyle::Sql);
        let declared = self.literal(&column.db_type);
        format!("tidegate_json({sql}, {declared}, {style})")
    }

    fn json_object(&self, rows: &str, names: &[&str]) -> String {
        // A text is known as JSON only where it is made, so `json` says so once more.
        let members: Vec<String> = names
            .iter()
            .enumerate()
            .map(|(index, name)| format!("{}, json({rows}.c{index})", self.literal(name)))
            .collect();
        format!("json_object({})", members.join(", "))
    }

    fn members_are_named(&self, _names: &[&str]) -> bool {
        false
    }

    fn json_array(&self, object: &str) -> String {
        format!("json_group_array({object})")
    }

    fn lock(&self) -> &'static str {
        ""
    }

    fn returning(&self) -> Returning {
        Returning::Clause {
            is_qualified: false,
        }
    }

    fn schema(&self) -> Option<&dyn SchemaDialect> {
        Some(&SqliteSchema)
    }

    fn insert_limits(&self) -> InsertLimits {
        // SQLITE_MAX_VARIABLE_NUMBER (sqlite.org/limits.html).
        InsertLimits {
            records: 1_000,
            values: 32_000,
        }
    }

    fn embeds_related(&self) -> bool {
        true
    }
}
