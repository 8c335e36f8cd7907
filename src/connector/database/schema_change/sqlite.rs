//! SQLite (<https://www.sqlite.org/lang_altertable.html>).
//!
//! A column's name, its default NULL and its NOT NULL change natively; another type or default is a new text of the
//! table, which the driver writes: [`SqliteSchema::alter_column`] says so by a refusal that names the way out.

use super::dialect::{cannot, unfit_default};
use super::{
    Alteration, ColumnType, NameLimit, NewColumn, NewDefault, NewForeignKey, NewTable,
    SchemaDialect, TableName, Text,
};
use crate::connector::database::catalog::{Column, Index, IndexOrigin, Table};
use crate::connector::filter::Now;
use crate::error::Result;

/// Longest name that the gateway makes; SQLite itself has no limit.
const LONGEST_NAME: usize = 128;

/// Changes of a SQLite database, 3.53 or newer. All of them can be undone by a rollback.
#[derive(Clone, Copy, Debug, Default)]
pub struct SqliteSchema;

impl SqliteSchema {
    /// `INTEGER PRIMARY KEY` in these very words is what makes a column the row's number.
    fn is_row_number(table: &NewTable, column: &NewColumn) -> bool {
        column.is_numbered && table.primary_key == [column.name.as_str()]
    }
}

impl SchemaDialect for SqliteSchema {
    fn longest_name(&self) -> NameLimit {
        NameLimit::Characters(LONGEST_NAME)
    }

    fn refuses_name(&self, name: &str) -> Option<&'static str> {
        let is_reserved = name
            .get(..7)
            .is_some_and(|head| head.eq_ignore_ascii_case("sqlite_"));
        is_reserved.then_some("names that begin with `sqlite_` belong to SQLite itself")
    }

    fn is_transactional(&self) -> bool {
        true
    }

    fn has_schemas(&self) -> bool {
        false
    }

    fn keys_are_inline(&self) -> bool {
        true
    }

    fn has_comments(&self) -> bool {
        false
    }

    fn type_name(&self, kind: &ColumnType) -> Result<String> {
        // Names that are read back as the simple type that was asked for.
        Ok(match kind {
            ColumnType::Boolean => "BOOLEAN".to_owned(),
            ColumnType::TinyInt | ColumnType::SmallInt => "SMALLINT".to_owned(),
            ColumnType::MediumInt => "MEDIUMINT".to_owned(),
            ColumnType::Integer => "INT4".to_owned(),
            ColumnType::BigInt => "BIGINT".to_owned(),
            ColumnType::Decimal(None) => "DECIMAL".to_owned(),
            ColumnType::Decimal(Some((digits, scale))) => format!("DECIMAL({digits},{scale})"),
            ColumnType::Money => "DECIMAL(19,4)".to_owned(),
            ColumnType::Float => "FLOAT".to_owned(),
            ColumnType::Double => "DOUBLE".to_owned(),
            ColumnType::String(Text {
                length, is_fixed, ..
            }) => {
                let name = if *is_fixed { "CHAR" } else { "VARCHAR" };
                match length {
                    Some(length) => format!("{name}({length})"),
                    None => name.to_owned(),
                }
            }
            ColumnType::Text(_) => "TEXT".to_owned(),
            ColumnType::Uuid => "UUID".to_owned(),
            ColumnType::Binary(Some(length)) => format!("VARBINARY({length})"),
            ColumnType::Binary(None) => "BLOB".to_owned(),
            ColumnType::Json | ColumnType::JsonB => "JSON".to_owned(),
            ColumnType::Date => "DATE".to_owned(),
            ColumnType::Time => "TIME".to_owned(),
            ColumnType::TimeTz => "TIMETZ".to_owned(),
            ColumnType::DateTime => "DATETIME".to_owned(),
            ColumnType::Timestamp => "TIMESTAMP".to_owned(),
            ColumnType::TimestampTz => "TIMESTAMPTZ".to_owned(),
        })
    }

    fn default(&self, default: &NewDefault, kind: &ColumnType) -> Result<String> {
        Ok(match default {
            NewDefault::Bool(value) => u8::from(*value).to_string(),
            NewDefault::Number(number) => number.clone(),
            NewDefault::Text(text) => self.text(text),
            NewDefault::Now(now) => match (kind, now) {
                (ColumnType::Date, _) | (_, Now::Date) => "CURRENT_DATE",
                (ColumnType::Time | ColumnType::TimeTz, _) | (_, Now::Time) => "CURRENT_TIME",
                (_, Now::Timestamp) => "CURRENT_TIMESTAMP",
            }
            .to_owned(),
            NewDefault::NewUuid => return Err(unfit_default(default)),
        })
    }

    fn numbered(&self, _kind: &ColumnType) -> Result<String> {
        Ok("INTEGER PRIMARY KEY AUTOINCREMENT".to_owned())
    }

    fn create_table(&self, table: &NewTable) -> Result<Vec<String>> {
        let mut parts = Vec::new();
        for column in &table.columns {
            parts.push(self.column(&table.name, column)?);
        }
        let is_numbered = table
            .columns
            .iter()
            .any(|column| Self::is_row_number(table, column));
        if !table.primary_key.is_empty() && !is_numbered {
            parts.push(format!("PRIMARY KEY ({})", self.names(&table.primary_key)));
        }
        for key in &table.foreign_keys {
            parts.push(self.foreign_key(key)?);
        }
        Ok(vec![format!(
            "CREATE TABLE {} ({})",
            self.table(&table.name),
            parts.join(", ")
        )])
    }

    fn add_column(
        &self,
        table: &TableName,
        column: &NewColumn,
        key: Option<&NewForeignKey>,
    ) -> Result<Vec<String>> {
        if matches!(
            column.default,
            Some(NewDefault::Now(_) | NewDefault::NewUuid)
        ) {
            return Err(cannot(
                format!(
                    "SQLite adds no field with a default that is computed: '{}'",
                    column.name
                ),
                "make the table with it, or give it a constant",
            ));
        }
        if !column.allows_null && column.default.is_none() {
            return Err(cannot(
                format!(
                    "SQLite adds the field '{}' to a table only with a default or with `allow_null`",
                    column.name
                ),
                "write `\"allow_null\": true` or a constant `default`",
            ));
        }
        let mut sql = format!(
            "ALTER TABLE {} ADD COLUMN {}",
            self.table(table),
            self.column(table, column)?
        );
        if let Some(key) = key {
            if column.default.is_some() {
                return Err(cannot(
                    format!("SQLite adds no reference with a default: '{}'", column.name),
                    "write `\"allow_null\": true` and no `default`",
                ));
            }
            sql.push_str(" CONSTRAINT ");
            sql.push_str(&self.quote(&key.name));
            sql.push(' ');
            sql.push_str(&self.references(key)?);
        }
        Ok(vec![sql])
    }

    fn alter_column(
        &self,
        table: &Table,
        column: &Column,
        alteration: &Alteration,
    ) -> Result<Vec<String>> {
        if alteration.kind.is_some() || alteration.default.is_some() {
            return Err(cannot(
                format!(
                    "SQLite changes neither the type nor the default of a field: '{}' of '{}'",
                    column.name, table.name
                ),
                "add a field with the new type, copy the values and drop the old one",
            ));
        }
        let what = match alteration.allows_null {
            Some(true) => "DROP NOT NULL",
            Some(false) => "SET NOT NULL",
            None => return Ok(Vec::new()),
        };
        Ok(vec![format!(
            "ALTER TABLE {} ALTER COLUMN {} {what}",
            self.table(&table.into()),
            self.quote(&column.name)
        )])
    }

    fn drop_index(&self, table: &TableName, index: &Index) -> Result<String> {
        if index.origin != IndexOrigin::Index {
            return Err(cannot(
                format!("SQLite drops no UNIQUE constraint that table '{table}' was made with"),
                "only unique indexes can be dropped here",
            ));
        }
        Ok(format!("DROP INDEX {}", self.quote(&index.name)))
    }

    fn add_foreign_key(&self, table: &TableName, _key: &NewForeignKey) -> Result<String> {
        Err(keys_are_fixed(table))
    }

    fn drop_foreign_key(&self, table: &TableName, _name: &str) -> Result<String> {
        Err(keys_are_fixed(table))
    }
}

fn keys_are_fixed(table: &TableName) -> crate::error::Error {
    cannot(
        format!("SQLite changes no foreign key of a field that is there: table '{table}'"),
        "add a new field of the type `reference`, or make the table anew",
    )
}
