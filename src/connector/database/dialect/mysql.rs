//! MySQL and MariaDB.
//!
//! Nothing here depends on the session's `sql_mode`: identifiers stand in backticks, no text constant holds a
//! backslash, and the escape of LIKE is written as a hexadecimal constant. A result's column is named after what the
//! driver must make of it ([`TAG_TEXT`] and its neighbours), because the protocol tells neither truth values nor
//! MariaDB's JSON from their neighbours.

use super::{Computed, Dialect, InsertLimits, InsertOutput, Returning};
use crate::connector::database::catalog::{Column, Table, Type};
use crate::connector::database::plan::Nulls;
use crate::connector::database::schema_change::{MysqlSchema, SchemaDialect};
use crate::connector::database::sql::{CallStyle, RenderOptions};
use crate::connector::filter::{Matching, Now};

/// The name of a result's column that is a truth value.
pub const TAG_BOOLEAN: &str = "boolean";
/// The name of a result's column that is JSON.
pub const TAG_JSON: &str = "json";
/// The name of a result's column that is text, whatever the protocol calls it.
pub const TAG_TEXT: &str = "text";
/// The name of a result's column that is bytes, whatever the protocol calls it.
pub const TAG_BINARY: &str = "binary";
/// The name of a result's column that is what the protocol says.
pub const TAG_PLAIN: &str = "plain";

/// [`Column::native`] of MySQL's own JSON type, which is no text, as MariaDB's is.
pub const NATIVE_JSON: u32 = 1;
/// The bit of [`Column::native`] that marks spatial types. The other bits are the number of the reference system.
pub const NATIVE_SPATIAL: u32 = 1 << 31;

/// Most digits of a decimal.
const MAX_PRECISION: u32 = 65;
/// Most digits after the point of a decimal on both products; MariaDB has 38.
const MAX_SCALE: u32 = 30;

/// The SQL of MySQL 8 or newer and of MariaDB 10.6 or newer.
#[derive(Clone, Copy, Debug)]
pub struct MysqlDialect {
    /// Whether INSERT can say what it added, as MariaDB's can.
    pub has_insert_returning: bool,
}

impl MysqlDialect {
    /// The dialect of MySQL, which MariaDB understands too.
    pub const MYSQL: Self = Self {
        has_insert_returning: false,
    };
    /// The dialect of MariaDB.
    pub const MARIADB: Self = Self {
        has_insert_returning: true,
    };
}

fn is_spatial(column: &Column) -> bool {
    column.native & NATIVE_SPATIAL != 0
}

fn tag(column: &Column) -> &'static str {
    match column.kind {
        Type::Boolean => TAG_BOOLEAN,
        Type::Json => TAG_JSON,
        Type::Binary => TAG_BINARY,
        Type::String | Type::Text | Type::Other | Type::Uuid => TAG_TEXT,
        _ => TAG_PLAIN,
    }
}

/// The digits of a fraction of a second that the column keeps. More would be rounded, into the future.
fn fraction(column: &Column) -> u32 {
    column.precision.unwrap_or(0).min(6)
}

impl Dialect for MysqlDialect {
    fn quote(&self, identifier: &str) -> String {
        format!("`{}`", identifier.replace('`', "``"))
    }

    fn placeholder(&self, _position: usize) -> String {
        "?".to_owned()
    }

    fn operand(&self, placeholder: &str, column: &Column) -> String {
        match column.kind {
            // As text or as a double-precision number, a decimal would lose digits.
            Type::Decimal | Type::Money => {
                let scale = column.scale.unwrap_or(0);
                let whole = column.precision.unwrap_or(0).saturating_sub(scale);
                let scale = (MAX_PRECISION - whole.min(MAX_PRECISION))
                    .min(MAX_SCALE)
                    .max(scale);
                format!("CAST({placeholder} AS DECIMAL({MAX_PRECISION},{scale}))")
            }
            // 0.1 is not the nearest single-precision number to 0.1.
            Type::Float => format!("CAST({placeholder} AS FLOAT)"),
            Type::Binary => format!("CAST({placeholder} AS BINARY)"),
            Type::Json if column.native == NATIVE_JSON => format!("CAST({placeholder} AS JSON)"),
            Type::Json => format!("JSON_COMPACT({placeholder})"),
            _ => self.stored(placeholder, column),
        }
    }

    fn number(&self, placeholder: &str) -> String {
        format!("CAST({placeholder} AS DECIMAL({MAX_PRECISION},{MAX_SCALE}))")
    }

    fn shown(&self, sql: &str, column: &Column) -> String {
        if is_spatial(column) {
            format!("ST_AsText({sql})")
        } else {
            sql.to_owned()
        }
    }

    fn stored(&self, placeholder: &str, column: &Column) -> String {
        if !is_spatial(column) {
            return placeholder.to_owned();
        }
        match column.native & !NATIVE_SPATIAL {
            0 => format!("ST_GeomFromText({placeholder})"),
            system => format!("ST_GeomFromText({placeholder}, {system})"),
        }
    }

    fn named_column(&self, column: &Column) -> String {
        format!(" AS {}", self.quote(tag(column)))
    }

    fn named(&self, computed: Computed) -> String {
        let name = match computed {
            Computed::Count => TAG_PLAIN,
            Computed::Truth => TAG_BOOLEAN,
            Computed::Json => TAG_JSON,
        };
        format!(" AS {}", self.quote(name))
    }

    fn comparable(&self, sql: &str, column: &Column) -> String {
        match column.kind {
            Type::Json if column.native != NATIVE_JSON => format!("JSON_COMPACT({sql})"),
            _ => sql.to_owned(),
        }
    }

    fn matching(&self, sql: &str, column: &Column, how: Matching, pattern: &str) -> String {
        let text = self.shown(sql, column);
        // The collation of the column decides on the case, unless it must not count.
        let (text, pattern) = match how {
            Matching::ILike => (format!("LOWER({text})"), format!("LOWER({pattern})")),
            _ => (text, pattern.to_owned()),
        };
        // A backslash, whatever the session makes of backslashes.
        format!("{text} LIKE {pattern} ESCAPE X'5C'")
    }

    fn now(&self, now: Now, column: &Column) -> String {
        let digits = fraction(column);
        match (&column.kind, now) {
            (Type::Date, _) => "UTC_DATE()".to_owned(),
            (Type::Time | Type::TimeTz, _) => format!("UTC_TIME({digits})"),
            // The session's zone is that of the manifest, and an offset.
            (Type::TimestampTz, Now::Date) => {
                "CONVERT_TZ(UTC_DATE(), '+00:00', @@session.time_zone)".to_owned()
            }
            (Type::TimestampTz, _) => format!("CURRENT_TIMESTAMP({digits})"),
            (_, Now::Date) => "CAST(UTC_DATE() AS DATETIME)".to_owned(),
            _ => format!("UTC_TIMESTAMP({digits})"),
        }
    }

    fn json_value(&self, sql: &str, _column: &Column, _options: RenderOptions) -> String {
        sql.to_owned()
    }

    fn json_object(&self, rows: &str, names: &[&str]) -> String {
        let members: Vec<String> = names
            .iter()
            .enumerate()
            .map(|(index, name)| format!("{}, {rows}.c{index}", self.literal(name)))
            .collect();
        format!("JSON_OBJECT({})", members.join(", "))
    }

    fn members_are_named(&self, _names: &[&str]) -> bool {
        false
    }

    fn json_array(&self, object: &str) -> String {
        format!("COALESCE(JSON_ARRAYAGG({object}), JSON_ARRAY())")
    }

    fn lock(&self) -> &'static str {
        " FOR UPDATE"
    }

    fn returning(&self) -> Returning {
        Returning::Nothing
    }

    fn order_item(&self, sql: &str, descending: bool, nulls: Option<Nulls>) -> String {
        // NULL is below everything.
        match (descending, nulls) {
            (false, None | Some(Nulls::First)) => sql.to_owned(),
            (true, None | Some(Nulls::Last)) => format!("{sql} DESC"),
            (false, Some(Nulls::Last)) => format!("{sql} IS NULL, {sql}"),
            (true, Some(Nulls::First)) => format!("{sql} IS NOT NULL, {sql} DESC"),
        }
    }

    fn default_values(&self, _table: &Table) -> String {
        " () VALUES ()".to_owned()
    }

    fn insert_output(&self, columns: &[&Column]) -> Option<InsertOutput> {
        if !self.has_insert_returning {
            return None;
        }
        let outputs: Vec<String> = columns
            .iter()
            .map(|column| {
                let name = self.quote(column.own_name());
                format!("{}{}", self.shown(&name, column), self.named_column(column))
            })
            .collect();
        Some(InsertOutput {
            after: format!(" RETURNING {}", outputs.join(", ")),
            ..InsertOutput::default()
        })
    }

    fn call_style(&self) -> Option<CallStyle> {
        Some(CallStyle::Mysql)
    }

    fn schema(&self) -> Option<&dyn SchemaDialect> {
        Some(if self.has_insert_returning {
            &MysqlSchema { is_mariadb: true }
        } else {
            &MysqlSchema { is_mariadb: false }
        })
    }

    fn insert_limits(&self) -> InsertLimits {
        // The protocol counts parameters by 16 bits (manual, "COM_STMT_PREPARE").
        InsertLimits {
            records: 1_000,
            values: 60_000,
        }
    }

    fn embeds_related(&self) -> bool {
        false
    }
}
