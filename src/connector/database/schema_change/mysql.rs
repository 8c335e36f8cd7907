//! MySQL 8 and MariaDB 10.5 or newer (MySQL manual, "Data Definition Statements"; MariaDB knowledge base, "ALTER TABLE").
//!
//! Every statement commits by itself: what was done before a failure stays.

use super::dialect::{cannot, unfit_default};
use super::{
    Alteration, ColumnType, DEFAULT_LENGTH, NameLimit, NewColumn, NewDefault, NewTable, Rule,
    SchemaDialect, Size, TableName, Text,
};
use crate::connector::database::catalog::{Column, DefaultValue, Index, Table, Type};
use crate::connector::filter::Now;
use crate::error::Result;

/// Changes of a database of MySQL or MariaDB.
#[derive(Clone, Copy, Debug)]
pub struct MysqlSchema {
    /// Whether it is MariaDB, 10.7 or newer, which has a type for UUIDs.
    pub is_mariadb: bool,
}

/// Whether a constant default must stand in parentheses, as an expression.
fn needs_parentheses(kind: &ColumnType) -> bool {
    matches!(
        kind,
        ColumnType::Text(_) | ColumnType::Binary(None) | ColumnType::Json | ColumnType::JsonB
    )
}

/// A text, whatever `sql_mode` says of backslashes and double quotes.
fn text_constant(text: &str) -> String {
    if !text.contains('\\') {
        return format!("'{}'", text.replace('\'', "''"));
    }
    let mut sql = String::from("_utf8mb4 X'");
    for byte in text.bytes() {
        for half in [byte >> 4, byte & 0xf] {
            sql.extend(char::from_digit(half.into(), 16));
        }
    }
    sql.push('\'');
    sql
}

impl SchemaDialect for MysqlSchema {
    fn quote(&self, identifier: &str) -> String {
        format!("`{}`", identifier.replace('`', "``"))
    }

    fn text(&self, text: &str) -> String {
        text_constant(text)
    }

    fn longest_name(&self) -> NameLimit {
        NameLimit::Characters(64)
    }

    fn refuses_name(&self, name: &str) -> Option<&'static str> {
        if name.ends_with(' ') {
            return Some("it ends with a space");
        }
        name.chars()
            .any(|character| character > '\u{ffff}')
            .then_some("it has a character beyond U+FFFF")
    }

    fn is_transactional(&self) -> bool {
        false
    }

    fn has_comments(&self) -> bool {
        true
    }

    fn has_update_time(&self) -> bool {
        true
    }

    fn type_name(&self, kind: &ColumnType) -> Result<String> {
        Ok(match kind {
            ColumnType::Boolean => "tinyint(1)".to_owned(),
            ColumnType::TinyInt => "tinyint".to_owned(),
            ColumnType::SmallInt => "smallint".to_owned(),
            ColumnType::MediumInt => "mediumint".to_owned(),
            ColumnType::Integer => "int".to_owned(),
            ColumnType::BigInt => "bigint".to_owned(),
            ColumnType::Decimal(None) => "decimal".to_owned(),
            ColumnType::Decimal(Some((digits, scale))) => format!("decimal({digits},{scale})"),
            ColumnType::Money => "decimal(19,4)".to_owned(),
            ColumnType::Float => "float".to_owned(),
            ColumnType::Double => "double".to_owned(),
            ColumnType::String(Text {
                length,
                is_fixed,
                is_multibyte,
            }) => {
                let name = match (is_fixed, is_multibyte) {
                    (false, false) => "varchar",
                    (true, false) => "char",
                    (false, true) => "nvarchar",
                    (true, true) => "nchar",
                };
                let default = if *is_fixed { 1 } else { DEFAULT_LENGTH };
                format!("{name}({})", length.unwrap_or(default))
            }
            ColumnType::Text(Size::Plain) => "text".to_owned(),
            ColumnType::Text(Size::Medium) => "mediumtext".to_owned(),
            ColumnType::Text(Size::Long) => "longtext".to_owned(),
            ColumnType::Uuid if self.is_mariadb => "uuid".to_owned(),
            ColumnType::Uuid => "char(36)".to_owned(),
            ColumnType::Binary(Some(length)) => format!("varbinary({length})"),
            ColumnType::Binary(None) => "longblob".to_owned(),
            ColumnType::Json | ColumnType::JsonB => "json".to_owned(),
            ColumnType::Date => "date".to_owned(),
            ColumnType::Time => "time".to_owned(),
            ColumnType::DateTime => "datetime".to_owned(),
            ColumnType::Timestamp | ColumnType::TimestampTz => "timestamp".to_owned(),
            ColumnType::TimeTz => {
                return Err(cannot(
                    "this database has no time of day with a zone",
                    "write `time` or `timestamptz`",
                ));
            }
        })
    }

    fn default(&self, default: &NewDefault, kind: &ColumnType) -> Result<String> {
        let constant = match default {
            NewDefault::Bool(value) => u8::from(*value).to_string(),
            NewDefault::Number(number) => number.clone(),
            NewDefault::Text(text) => self.text(text),
            NewDefault::Now(now) => {
                return Ok(match (kind, now) {
                    (ColumnType::DateTime | ColumnType::Timestamp | ColumnType::TimestampTz, _) => {
                        "CURRENT_TIMESTAMP"
                    }
                    (ColumnType::Date, _) | (_, Now::Date) => "(CURRENT_DATE)",
                    (ColumnType::Time, _) | (_, Now::Time) => "(CURRENT_TIME)",
                    (_, Now::Timestamp) => "(CURRENT_TIMESTAMP)",
                }
                .to_owned());
            }
            NewDefault::NewUuid => {
                return match kind {
                    ColumnType::Uuid | ColumnType::String(_) => Ok("(UUID())".to_owned()),
                    _ => Err(unfit_default(default)),
                };
            }
        };
        Ok(if needs_parentheses(kind) {
            format!("({constant})")
        } else {
            constant
        })
    }

    fn numbered(&self, kind: &ColumnType) -> Result<String> {
        Ok(format!("{} NOT NULL AUTO_INCREMENT", self.type_name(kind)?))
    }

    fn rule(&self, rule: Rule, _is_update: bool) -> Result<Option<&'static str>> {
        match rule {
            // InnoDB refuses it.
            Rule::SetDefault => Err(cannot(
                "this database has no rule SET DEFAULT",
                "write SET NULL, CASCADE or NO ACTION",
            )),
            rule => Ok((rule != Rule::NoAction).then_some(rule.words())),
        }
    }

    fn column(&self, _table: &TableName, column: &NewColumn) -> Result<String> {
        let name = self.quote(&column.name);
        let mut sql = if column.is_numbered {
            format!("{name} {}", self.numbered(&column.kind)?)
        } else {
            // A timestamp that does not say NULL is NOT NULL with a default of its own under some settings.
            let null = if column.allows_null {
                "NULL"
            } else {
                "NOT NULL"
            };
            format!("{name} {} {null}", self.type_name(&column.kind)?)
        };
        if let Some(default) = &column.default {
            sql.push_str(" DEFAULT ");
            sql.push_str(&self.default(default, &column.kind)?);
        }
        if column.follows_updates {
            sql.push_str(" ON UPDATE CURRENT_TIMESTAMP");
        }
        if let Some(text) = &column.description {
            sql.push_str(" COMMENT ");
            sql.push_str(&self.text(text));
        }
        Ok(sql)
    }

    fn create_table(&self, table: &NewTable) -> Result<Vec<String>> {
        let mut parts = Vec::new();
        for column in &table.columns {
            parts.push(self.column(&table.name, column)?);
        }
        if !table.primary_key.is_empty() {
            parts.push(format!("PRIMARY KEY ({})", self.names(&table.primary_key)));
        }
        for key in &table.foreign_keys {
            parts.push(self.foreign_key(key)?);
        }
        let comment = table
            .description
            .as_ref()
            .map(|text| format!(" COMMENT = {}", self.text(text)));
        Ok(vec![format!(
            "CREATE TABLE {} ({}){}",
            self.table(&table.name),
            parts.join(", "),
            comment.unwrap_or_default()
        )])
    }

    fn alter_column(
        &self,
        table: &Table,
        column: &Column,
        alteration: &Alteration,
    ) -> Result<Vec<String>> {
        let place = self.table(&table.into());
        let name = self.quote(&column.name);
        let kind = alteration
            .kind
            .clone()
            .or_else(|| super::diff::kind_of(column));
        if alteration.kind.is_none() && alteration.allows_null.is_none() {
            let kind = kind.unwrap_or(ColumnType::String(Text::default()));
            return Ok(match &alteration.default {
                Some(Some(default)) => vec![format!(
                    "ALTER TABLE {place} ALTER COLUMN {name} SET DEFAULT {}",
                    self.default(default, &kind)?
                )],
                Some(None) => vec![format!(
                    "ALTER TABLE {place} ALTER COLUMN {name} DROP DEFAULT"
                )],
                None => Vec::new(),
            });
        }
        // MODIFY says everything anew, so what stays is said too.
        let type_name = match &alteration.kind {
            Some(kind) => self.type_name(kind)?,
            None => column.db_type.clone(),
        };
        let position = table
            .columns
            .iter()
            .position(|known| known.name == column.name);
        let restated = position.and_then(|position| table.restated.get(&position));
        let is_text = matches!(
            alteration.kind,
            None | Some(ColumnType::String(_) | ColumnType::Text(_))
        );
        let collation = restated
            .and_then(|restated| restated.collation.as_ref())
            .filter(|_| is_text && column.kind != Type::Json)
            .map(|collation| format!(" {collation}"))
            .unwrap_or_default();
        let is_moment = matches!(
            alteration.kind,
            None | Some(ColumnType::DateTime | ColumnType::Timestamp | ColumnType::TimestampTz)
        );
        let follows_updates =
            is_moment && restated.is_some_and(|restated| restated.follows_updates);
        let updates = if follows_updates {
            // With as many digits of the second as the column has.
            match column.precision {
                Some(digits) if digits > 0 && alteration.kind.is_none() => {
                    format!(" ON UPDATE CURRENT_TIMESTAMP({digits})")
                }
                _ => " ON UPDATE CURRENT_TIMESTAMP".to_owned(),
            }
        } else {
            String::new()
        };
        let null = if alteration.allows_null.unwrap_or(column.is_nullable) {
            "NULL"
        } else {
            "NOT NULL"
        };
        let default = match (&alteration.default, &column.default) {
            (Some(None), _) | (None, None) => String::new(),
            (Some(Some(default)), _) => {
                let kind = kind.unwrap_or(ColumnType::String(Text::default()));
                format!(" DEFAULT {}", self.default(default, &kind)?)
            }
            (None, Some(DefaultValue::Literal(value))) => {
                format!(" DEFAULT {}", self.text(&plain(value)))
            }
            (None, Some(DefaultValue::Expression(_))) => {
                return Err(cannot(
                    format!(
                        "field '{}' has a default that is computed, and would lose it",
                        column.name
                    ),
                    "say in the same request what `default` becomes; null takes it away",
                ));
            }
        };
        let comment = column
            .description
            .as_ref()
            .map(|text| format!(" COMMENT {}", self.text(text)));
        let numbered = if column.is_auto_increment {
            " AUTO_INCREMENT"
        } else {
            ""
        };
        Ok(vec![format!(
            "ALTER TABLE {place} MODIFY COLUMN {name} {type_name}{collation} {null}{default}{updates}{numbered}{}",
            comment.unwrap_or_default()
        )])
    }

    fn drop_index(&self, table: &TableName, index: &Index) -> Result<String> {
        Ok(format!(
            "ALTER TABLE {} DROP INDEX {}",
            self.table(table),
            self.quote(&index.name)
        ))
    }

    fn drop_foreign_key(&self, table: &TableName, name: &str) -> Result<String> {
        Ok(format!(
            "ALTER TABLE {} DROP FOREIGN KEY {}",
            self.table(table),
            self.quote(name)
        ))
    }

    fn describe(&self, table: &Table, column: Option<&Column>, text: &str) -> Result<Vec<String>> {
        match column {
            None => Ok(vec![format!(
                "ALTER TABLE {} COMMENT = {}",
                self.table(&table.into()),
                self.text(text)
            )]),
            Some(column) => {
                let described = Column {
                    description: Some(text.to_owned()),
                    ..column.clone()
                };
                let unchanged = Alteration {
                    allows_null: Some(column.is_nullable),
                    ..Alteration::default()
                };
                self.alter_column(table, &described, &unchanged)
            }
        }
    }

    fn comments(&self, _: &TableName, _: Option<&str>, _: &[NewColumn]) -> Vec<String> {
        // They stand in the definitions.
        Vec::new()
    }
}

/// A constant as the text that the database takes for it.
fn plain(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::String(text) => text.clone(),
        serde_json::Value::Bool(value) => u8::from(*value).to_string(),
        other => other.to_string(),
    }
}
