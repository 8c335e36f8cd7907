//! How one SQL product spells what the planner asks for. Pure.
//!
//! A dialect gets expressions that are already SQL (`t0."total"`, `$3`) and says how they are compared, matched,
//! shown and embedded. It never sees a value: values are bound, and identifiers reach the text through
//! [`Dialect::quote`] alone.

#[cfg(feature = "odbc")]
mod ansi;
#[cfg(feature = "odbc")]
mod db2;
#[cfg(feature = "odbc")]
mod firebird;
pub mod mysql;
#[cfg(any(feature = "odbc", feature = "oracle"))]
mod oracle;
mod postgresql;
#[cfg(feature = "odbc")]
mod snowflake;
mod sqlite;
#[cfg(any(feature = "odbc", feature = "sqlserver"))]
mod sqlserver;

#[cfg(feature = "odbc")]
pub use ansi::AnsiDialect;
#[cfg(feature = "odbc")]
pub use db2::Db2Dialect;
#[cfg(feature = "odbc")]
pub use firebird::FirebirdDialect;
pub use mysql::MysqlDialect;
#[cfg(any(feature = "odbc", feature = "oracle"))]
pub use oracle::OracleDialect;
pub use postgresql::PostgresqlDialect;
#[cfg(feature = "odbc")]
pub use snowflake::SnowflakeDialect;
pub use sqlite::SqliteDialect;
#[cfg(any(feature = "odbc", feature = "sqlserver"))]
pub use sqlserver::SqlServerDialect;

use super::catalog::{Column, Table, Type};
use super::plan::Nulls;
use super::schema_change::SchemaDialect;
use super::sql::{CallStyle, RenderOptions};
use super::value::Scalar;
use crate::connector::filter::{Matching, Now};

/// What an output of a statement holds, where it is no column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Computed {
    /// A count.
    Count,
    /// A truth value.
    Truth,
    /// A JSON text.
    Json,
}

/// The spelling of one SQL product. Defaults are standard SQL where there is a standard.
pub trait Dialect: Send + Sync + 'static {
    /// An identifier. The only way one reaches SQL text.
    fn quote(&self, identifier: &str) -> String {
        format!("\"{}\"", identifier.replace('"', "\"\""))
    }

    /// A text constant, for names of members in JSON that the statement builds.
    fn literal(&self, text: &str) -> String {
        format!("'{}'", text.replace('\'', "''"))
    }

    /// The placeholder of the n-th value, counted from 1.
    fn placeholder(&self, position: usize) -> String;

    /// A placeholder, or an expression for the current time, that is compared with a column.
    fn operand(&self, placeholder: &str, column: &Column) -> String {
        let _ = column;
        placeholder.to_owned()
    }

    /// A placeholder of a number that is compared with an aggregate.
    fn number(&self, placeholder: &str) -> String {
        placeholder.to_owned()
    }

    /// A placeholder of a row count.
    fn count(&self, placeholder: &str) -> String {
        placeholder.to_owned()
    }

    /// A column as the driver wants to read it.
    fn shown(&self, sql: &str, column: &Column) -> String {
        let _ = column;
        sql.to_owned()
    }

    /// A placeholder as it is stored in a column.
    fn stored(&self, placeholder: &str, column: &Column) -> String {
        let _ = column;
        placeholder.to_owned()
    }

    /// What follows an output to name it; empty where the driver knows the type by itself.
    fn named_column(&self, column: &Column) -> String {
        let _ = column;
        String::new()
    }

    /// The same for an output that is no column.
    fn named(&self, computed: Computed) -> String {
        let _ = computed;
        String::new()
    }

    /// A column as it is compared, ordered and grouped by.
    fn comparable(&self, sql: &str, column: &Column) -> String {
        let _ = column;
        sql.to_owned()
    }

    /// `sql` in a list that is bound as one array, where the product has arrays: `= ANY($1)`.
    fn any(&self, sql: &str, placeholder: &str, column: &Column) -> Option<String> {
        let _ = (sql, placeholder, column);
        None
    }

    /// The position of `sql` in a list that is bound as one array, where the product has arrays.
    fn position(&self, sql: &str, placeholder: &str, column: &Column) -> Option<String> {
        let _ = (sql, placeholder, column);
        None
    }

    /// Least values in a list that is bound as one array, where the product has arrays.
    fn shortest_array(&self) -> usize {
        0
    }

    /// The pattern that is bound for a text.
    fn pattern(&self, how: Matching, text: &str) -> Scalar {
        pattern(how, text)
    }

    /// `column [I]LIKE pattern`, where a backslash escapes. `pattern` is a placeholder of text.
    fn matching(&self, sql: &str, column: &Column, how: Matching, pattern: &str) -> String;

    /// The time at which the statement runs, as a value of a column.
    fn now(&self, now: Now, column: &Column) -> String;

    /// A column as it is added up.
    fn summand(&self, sql: &str, column: &Column) -> String {
        let _ = column;
        sql.to_owned()
    }

    /// A column as a value within JSON, written as the row writer writes it at the top.
    ///
    /// Like its neighbours it is asked only where [`Dialect::embeds_related`] says yes.
    fn json_value(&self, sql: &str, column: &Column, options: RenderOptions) -> String {
        let _ = (column, options);
        sql.to_owned()
    }

    /// A JSON object of the columns of the subquery `rows`. They carry the `names` of the members, or `c0`, `c1`, …
    /// if [`Dialect::members_are_named`] says no.
    fn json_object(&self, rows: &str, names: &[&str]) -> String {
        let _ = names;
        rows.to_owned()
    }

    /// Whether the columns of a subquery carry the names of the members.
    fn members_are_named(&self, names: &[&str]) -> bool {
        let _ = names;
        false
    }

    /// An array of such objects, empty without rows.
    fn json_array(&self, object: &str) -> String {
        object.to_owned()
    }

    /// What makes the rows read stay as they are until the end of the transaction; empty where a transaction does so
    /// by itself. It ends the statement.
    fn lock(&self) -> &'static str;

    /// The same, where it stands behind the table that is read.
    fn lock_hint(&self) -> &'static str {
        ""
    }

    /// Whether rows can be locked by a query that reads only some of them ([`Dialect::page`]).
    fn locks_pages(&self) -> bool {
        true
    }

    /// How writes answer with the records that they touched.
    fn returning(&self) -> Returning;

    /// What stands between a table and its alias.
    fn table_alias(&self) -> &'static str {
        " AS "
    }

    /// A condition that always holds, or never.
    fn constant(&self, truth: bool) -> &'static str {
        if truth { "TRUE" } else { "FALSE" }
    }

    /// What stands before and after a condition to make it a truth value that is never NULL.
    fn truth(&self) -> [&'static str; 2] {
        ["COALESCE(", ", FALSE)"]
    }

    /// One item of ORDER BY: `sql`, its direction, and where NULL goes.
    fn order_item(&self, sql: &str, descending: bool, nulls: Option<Nulls>) -> String {
        let direction = if descending { " DESC" } else { "" };
        let nulls = match nulls {
            None => "",
            Some(Nulls::First) => " NULLS FIRST",
            Some(Nulls::Last) => " NULLS LAST",
        };
        format!("{sql}{direction}{nulls}")
    }

    /// What ends a query that reads only some rows. `offset` is an expression from [`Dialect::count`]; `is_ordered` says
    /// whether the query has ORDER BY.
    fn page(&self, limit: u64, offset: Option<&str>, is_ordered: bool) -> String {
        let _ = is_ordered;
        match offset {
            Some(offset) => format!(" LIMIT {limit} OFFSET {offset}"),
            None => format!(" LIMIT {limit}"),
        }
    }

    /// What follows the table in an INSERT of a record of defaults.
    fn default_values(&self, table: &Table) -> String {
        let _ = table;
        " DEFAULT VALUES".to_owned()
    }

    /// What makes an INSERT give the values of these columns as a row, for products without [`Returning::Clause`].
    /// `None` where no statement can: the transaction then tells the number that the database gave.
    fn insert_output(&self, columns: &[&Column]) -> Option<InsertOutput> {
        let _ = columns;
        None
    }

    /// How much one INSERT may hold. One record where the product's INSERT has only one list of values.
    fn insert_limits(&self) -> InsertLimits {
        InsertLimits {
            records: 1,
            values: 1,
        }
    }

    /// Most values in one `IN (…)`; longer lists are split.
    fn longest_list(&self) -> usize {
        usize::MAX
    }

    /// In which way routines are called; `None` for products without any.
    fn call_style(&self) -> Option<CallStyle> {
        None
    }

    /// Most values in one statement of a write that names records by their keys.
    fn most_values(&self) -> usize {
        usize::MAX
    }

    /// How changes of the schema are spelt; none where they are not made through the gateway.
    fn schema(&self) -> Option<&dyn SchemaDialect> {
        None
    }

    /// Whether related records are embedded by the statement itself, with [`Dialect::json_object`] and its neighbours.
    /// Where not, the gateway reads them on their own and puts them into place.
    fn embeds_related(&self) -> bool;
}

/// How writes answer with the records that they touched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Returning {
    /// `RETURNING` at the end of every write.
    Clause {
        /// Whether it may name the table by its alias.
        is_qualified: bool,
    },
    /// Not at all: records are locked and read before the write, and read again after it.
    Nothing,
}

/// How much one INSERT may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InsertLimits {
    /// Most records.
    pub records: usize,
    /// Most values, all records together. A single record may have more.
    pub values: usize,
}

impl InsertLimits {
    /// How many records with so many values each go into one INSERT.
    pub fn records_of(&self, width: usize) -> usize {
        match width {
            0 => 1,
            width => (self.values / width).clamp(1, self.records.max(1)),
        }
    }
}

/// What makes an INSERT give values of the record that it added.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InsertOutput {
    /// Before everything.
    pub before: String,
    /// Before VALUES.
    pub before_values: String,
    /// After everything.
    pub after: String,
}

/// A text that stands for itself in a pattern with a backslash as its escape.
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        if matches!(character, '%' | '_' | '\\') {
            out.push('\\');
        }
        out.push(character);
    }
    out
}

/// The pattern that is bound for a text.
pub(super) fn pattern(how: Matching, text: &str) -> Scalar {
    Scalar::Text(match how {
        Matching::Like | Matching::ILike => text.to_owned(),
        Matching::Contains => format!("%{}%", escaped(text)),
        Matching::StartsWith => format!("{}%", escaped(text)),
        Matching::EndsWith => format!("%{}", escaped(text)),
    })
}

/// Whether a kind of values may lose digits in clients, so that they are texts with `numbers = "string"`.
fn is_wide(kind: &Type) -> bool {
    matches!(kind, Type::BigInt | Type::Decimal | Type::Money)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connector::database::catalog::ColumnSettings;

    #[test]
    fn an_insert_gives_its_key_by_the_name_that_the_database_knows() {
        let column = Column {
            settings: Some(std::sync::Arc::new(ColumnSettings {
                own_name: Some("own".to_owned()),
                ..ColumnSettings::default()
            })),
            ..Column::plain("alias", Type::Integer, "integer")
        };
        let table = Table {
            columns: vec![column.clone()],
            ..Table::default()
        };
        let dialects: &[(&str, &dyn Dialect)] = &[
            #[cfg(feature = "odbc")]
            ("ansi", &AnsiDialect),
            #[cfg(feature = "odbc")]
            ("db2", &Db2Dialect),
            #[cfg(feature = "odbc")]
            ("firebird", &FirebirdDialect),
            #[cfg(any(feature = "odbc", feature = "oracle"))]
            ("oracle", &OracleDialect),
            #[cfg(any(feature = "odbc", feature = "sqlserver"))]
            ("sqlserver", &SqlServerDialect),
        ];
        for (name, dialect) in dialects {
            let output = dialect.insert_output(&[&column]);
            let text = format!("{output:?} {}", dialect.default_values(&table));
            assert!(!text.contains("alias"), "{name}: {text}");
        }
    }
}
