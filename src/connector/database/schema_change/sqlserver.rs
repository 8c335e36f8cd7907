//! SQL Server 2016 or newer (Transact-SQL reference, "ALTER TABLE", `sp_rename`).

use super::dialect::{cannot, unfit_default};
use super::{
    Alteration, ColumnType, DEFAULT_LENGTH, NameLimit, NewColumn, NewDefault, Rule, SchemaDialect,
    TableName, Text,
};
use crate::connector::database::catalog::{Column, Index, IndexOrigin, Table};
use crate::connector::filter::Now;
use crate::error::Result;

/// Longest text or bytes that a column with a length holds; longer ones are `max`.
const LONGEST_LENGTH: u32 = 4_000;

/// Changes of a SQL Server database. All of them can be undone by a rollback.
#[derive(Clone, Copy, Debug, Default)]
pub struct SqlserverSchema;

impl SqlserverSchema {
    /// Takes the default of a column away, whose constraint may have any name.
    fn drop_default(self, table: &TableName, column: &str) -> String {
        let place = self.table(table);
        let alter = self.text(&format!("ALTER TABLE {place} DROP CONSTRAINT "));
        format!(
            "DECLARE @name sysname = (SELECT d.name FROM sys.default_constraints d \
             JOIN sys.columns c ON c.object_id = d.parent_object_id AND c.column_id = d.parent_column_id \
             WHERE d.parent_object_id = OBJECT_ID({}) AND c.name = {}); \
             IF @name IS NOT NULL BEGIN DECLARE @sql nvarchar(max) = {alter} + QUOTENAME(@name); \
             EXEC sp_executesql @sql; END",
            self.text(&place),
            self.text(column)
        )
    }
}

impl SchemaDialect for SqlserverSchema {
    fn quote(&self, identifier: &str) -> String {
        format!("[{}]", identifier.replace(']', "]]"))
    }

    fn text(&self, text: &str) -> String {
        format!("N'{}'", text.replace('\'', "''"))
    }

    fn longest_name(&self) -> NameLimit {
        NameLimit::Units(128)
    }

    fn is_transactional(&self) -> bool {
        true
    }

    fn has_comments(&self) -> bool {
        false
    }

    fn type_name(&self, kind: &ColumnType) -> Result<String> {
        Ok(match kind {
            ColumnType::Boolean => "bit".to_owned(),
            // `tinyint` has no sign here.
            ColumnType::TinyInt | ColumnType::SmallInt => "smallint".to_owned(),
            ColumnType::MediumInt | ColumnType::Integer => "int".to_owned(),
            ColumnType::BigInt => "bigint".to_owned(),
            ColumnType::Decimal(None) => "decimal(18,0)".to_owned(),
            ColumnType::Decimal(Some((digits, scale))) => format!("decimal({digits},{scale})"),
            ColumnType::Money => "money".to_owned(),
            ColumnType::Float => "real".to_owned(),
            ColumnType::Double => "float(53)".to_owned(),
            ColumnType::String(Text {
                length, is_fixed, ..
            }) => {
                // Only the national types hold every character whatever the collation.
                let name = if *is_fixed { "nchar" } else { "nvarchar" };
                let default = if *is_fixed { 1 } else { DEFAULT_LENGTH };
                match length.unwrap_or(default) {
                    length if length <= LONGEST_LENGTH => format!("{name}({length})"),
                    _ => "nvarchar(max)".to_owned(),
                }
            }
            ColumnType::Text(_) | ColumnType::Json | ColumnType::JsonB => {
                "nvarchar(max)".to_owned()
            }
            ColumnType::Uuid => "uniqueidentifier".to_owned(),
            ColumnType::Binary(Some(length)) if *length <= 2 * LONGEST_LENGTH => {
                format!("varbinary({length})")
            }
            ColumnType::Binary(_) => "varbinary(max)".to_owned(),
            ColumnType::Date => "date".to_owned(),
            ColumnType::Time => "time".to_owned(),
            ColumnType::DateTime | ColumnType::Timestamp => "datetime2".to_owned(),
            ColumnType::TimestampTz => "datetimeoffset".to_owned(),
            ColumnType::TimeTz => {
                return Err(cannot(
                    "SQL Server has no time of day with a zone",
                    "write `time` or `timestamptz`",
                ));
            }
        })
    }

    fn default(&self, default: &NewDefault, kind: &ColumnType) -> Result<String> {
        Ok(match default {
            NewDefault::Bool(value) => u8::from(*value).to_string(),
            NewDefault::Number(number) => number.clone(),
            NewDefault::Text(text) => self.text(text),
            NewDefault::Now(now) => match (kind, now) {
                (ColumnType::TimestampTz, _) => "SYSDATETIMEOFFSET()",
                (ColumnType::Date, _) | (_, Now::Date) => "CAST(SYSDATETIME() AS date)",
                (ColumnType::Time, _) | (_, Now::Time) => "CAST(SYSDATETIME() AS time)",
                (_, Now::Timestamp) => "SYSDATETIME()",
            }
            .to_owned(),
            NewDefault::NewUuid if *kind == ColumnType::Uuid => "NEWID()".to_owned(),
            NewDefault::NewUuid => return Err(unfit_default(default)),
        })
    }

    fn numbered(&self, kind: &ColumnType) -> Result<String> {
        Ok(format!("{} IDENTITY(1,1) NOT NULL", self.type_name(kind)?))
    }

    fn rule(&self, rule: Rule, _is_update: bool) -> Result<Option<&'static str>> {
        // There is no RESTRICT; NO ACTION, which is what happens without a rule, refuses as well.
        Ok((!matches!(rule, Rule::NoAction | Rule::Restrict)).then_some(rule.words()))
    }

    fn column(&self, _table: &TableName, column: &NewColumn) -> Result<String> {
        let name = self.quote(&column.name);
        if column.is_numbered {
            return Ok(format!("{name} {}", self.numbered(&column.kind)?));
        }
        // What a column may be without NULL or NOT NULL depends on the session.
        let null = if column.allows_null {
            "NULL"
        } else {
            "NOT NULL"
        };
        let mut sql = format!("{name} {} {null}", self.type_name(&column.kind)?);
        if let Some(default) = &column.default {
            sql.push_str(" DEFAULT ");
            sql.push_str(&self.default(default, &column.kind)?);
        }
        Ok(sql)
    }

    fn add_column_words(&self) -> &'static str {
        "ADD "
    }

    fn rename_table(&self, table: &TableName, to: &str) -> Vec<String> {
        vec![format!(
            "EXEC sp_rename {}, {}, N'OBJECT'",
            self.text(&self.table(table)),
            self.text(to)
        )]
    }

    fn rename_column(&self, table: &TableName, from: &str, to: &str) -> Vec<String> {
        let column = format!("{}.{}", self.table(table), self.quote(from));
        vec![format!(
            "EXEC sp_rename {}, {}, N'COLUMN'",
            self.text(&column),
            self.text(to)
        )]
    }

    fn alter_column(
        &self,
        table: &Table,
        column: &Column,
        alteration: &Alteration,
    ) -> Result<Vec<String>> {
        let name: TableName = table.into();
        let place = self.table(&name);
        let quoted = self.quote(&column.name);
        let mut statements = Vec::new();
        if alteration.default.is_some() && column.default.is_some() {
            statements.push(self.drop_default(&name, &column.name));
        }
        if alteration.kind.is_some() || alteration.allows_null.is_some() {
            let type_name = match &alteration.kind {
                Some(kind) => self.type_name(kind)?,
                None => column.db_type.clone(),
            };
            let null = if alteration.allows_null.unwrap_or(column.is_nullable) {
                "NULL"
            } else {
                "NOT NULL"
            };
            statements.push(format!(
                "ALTER TABLE {place} ALTER COLUMN {quoted} {type_name} {null}"
            ));
        }
        if let Some(Some(default)) = &alteration.default {
            let kind = alteration
                .kind
                .clone()
                .or_else(|| super::diff::kind_of(column));
            let kind = kind.unwrap_or(ColumnType::String(Text::default()));
            statements.push(format!(
                "ALTER TABLE {place} ADD DEFAULT {} FOR {quoted}",
                self.default(default, &kind)?
            ));
        }
        Ok(statements)
    }

    fn drop_column(&self, table: &Table, column: &str) -> Result<Vec<String>> {
        let name: TableName = table.into();
        let mut statements = Vec::new();
        let has_default = table
            .columns
            .iter()
            .any(|found| found.name == column && found.default.is_some());
        if has_default {
            statements.push(self.drop_default(&name, column));
        }
        statements.push(format!(
            "ALTER TABLE {} DROP COLUMN {}",
            self.table(&name),
            self.quote(column)
        ));
        Ok(statements)
    }

    fn drop_index(&self, table: &TableName, index: &Index) -> Result<String> {
        if index.origin == IndexOrigin::Index {
            return Ok(format!(
                "DROP INDEX {} ON {}",
                self.quote(&index.name),
                self.table(table)
            ));
        }
        Ok(self.drop_constraint(table, &index.name))
    }

    fn describe(&self, table: &Table, _: Option<&Column>, _: &str) -> Result<Vec<String>> {
        Err(super::diff::no_comments(&table.name))
    }
}
