//! Changes of tables, fields, indexes and foreign keys: what a request wants, compared with what is there, as a list of
//! [`SchemaChange`]; and that list as statements of a product. Pure.
//!
//! Nothing of a caller's text becomes SQL: types, defaults and rules are picked from closed lists, names are quoted, and
//! constants are written by [`SchemaDialect::text`] alone.

mod dialect;
mod diff;
mod mysql;
mod oracle;
mod postgresql;
mod request;
mod sqlite;
mod sqlserver;
#[cfg(test)]
mod tests;

pub use dialect::{NameLimit, SchemaDialect, statements};
pub(super) use diff::{Draft, Mode, Subject};
pub use mysql::MysqlSchema;
pub use oracle::OracleSchema;
pub use postgresql::PostgresqlSchema;
pub(super) use request::{
    Naming, WantedField, WantedTable, fields_of, names_of, relations_of, tables_of,
};
pub use sqlite::SqliteSchema;
pub use sqlserver::SqlserverSchema;

use std::fmt;
use std::sync::Arc;

use super::catalog::{Column, Index, Table};
use crate::connector::filter::Now;
use crate::error::Error;

/// A table by its place in the database.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TableName {
    /// Its schema; none for the one that the connection has by itself.
    pub schema: Option<String>,
    /// Its name there.
    pub native: String,
}

impl From<&Table> for TableName {
    fn from(table: &Table) -> Self {
        Self {
            schema: table.schema.clone(),
            native: table.native.clone(),
        }
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(schema) = &self.schema {
            write!(formatter, "{schema}.")?;
        }
        formatter.write_str(&self.native)
    }
}

/// What a column holds, with its dimensions: the simple types of reference 6.5.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ColumnType {
    /// `boolean`
    Boolean,
    /// `tinyint`: at least 8 bits.
    TinyInt,
    /// `smallint`: 16 bits.
    SmallInt,
    /// `mediumint`: at least 24 bits.
    MediumInt,
    /// `integer`: 32 bits.
    Integer,
    /// `bigint`: 64 bits.
    BigInt,
    /// `decimal`: digits in all, and after the point.
    Decimal(Option<(u32, u32)>),
    /// `money`
    Money,
    /// `float`: single precision.
    Float,
    /// `double`
    Double,
    /// `string`
    String(Text),
    /// `text`, `mediumtext`, `longtext`
    Text(Size),
    /// `uuid`
    Uuid,
    /// `binary`: most bytes; any number without it.
    Binary(Option<u32>),
    /// `json`
    Json,
    /// `jsonb`: as `json` where the product has but one.
    JsonB,
    /// `date`
    Date,
    /// `time`
    Time,
    /// `timetz`
    TimeTz,
    /// `datetime`: without a zone.
    DateTime,
    /// `timestamp`
    Timestamp,
    /// `timestamptz`, `datetimetz`: with a zone.
    TimestampTz,
}

/// A text of limited length.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Text {
    /// Most characters; [`DEFAULT_LENGTH`] without it where the product needs one.
    pub length: Option<u32>,
    /// Whether shorter texts are filled up.
    pub is_fixed: bool,
    /// Whether it must hold every character where the product has texts that do not.
    pub is_multibyte: bool,
}

/// Characters of a `string` that says no length.
pub const DEFAULT_LENGTH: u32 = 255;

/// How much a text without a length must hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// `text`
    Plain,
    /// `mediumtext`
    Medium,
    /// `longtext`
    Long,
}

/// What a column gets when nothing is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NewDefault {
    /// A truth value.
    Bool(bool),
    /// A number: digits, perhaps with a sign, a point and an exponent. Nothing else can be in it.
    Number(String),
    /// A text.
    Text(String),
    /// The time of the write.
    Now(Now),
    /// A new UUID.
    NewUuid,
}

/// A column in the making.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewColumn {
    /// Its name.
    pub name: String,
    /// What it holds.
    pub kind: ColumnType,
    /// Whether it may be NULL.
    pub allows_null: bool,
    /// What it gets when nothing is written.
    pub default: Option<NewDefault>,
    /// Whether the database numbers it.
    pub is_numbered: bool,
    /// Whether every update sets it to the time.
    pub follows_updates: bool,
    /// The comment.
    pub description: Option<String>,
}

/// A foreign key in the making.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewForeignKey {
    /// Its name.
    pub name: String,
    /// Its columns.
    pub columns: Vec<String>,
    /// The table that it points to.
    pub target: TableName,
    /// The columns there.
    pub target_columns: Vec<String>,
    /// What happens to records that point to one whose key changes.
    pub on_update: Option<Rule>,
    /// What happens to records that point to one that goes.
    pub on_delete: Option<Rule>,
}

/// What a foreign key does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// `NO ACTION`
    NoAction,
    /// `RESTRICT`
    Restrict,
    /// `CASCADE`
    Cascade,
    /// `SET NULL`
    SetNull,
    /// `SET DEFAULT`
    SetDefault,
}

impl Rule {
    /// Every rule.
    pub const ALL: [Self; 5] = [
        Self::NoAction,
        Self::Restrict,
        Self::Cascade,
        Self::SetNull,
        Self::SetDefault,
    ];

    /// Its words in SQL, which are those of descriptions.
    pub fn words(self) -> &'static str {
        match self {
            Self::NoAction => "NO ACTION",
            Self::Restrict => "RESTRICT",
            Self::Cascade => "CASCADE",
            Self::SetNull => "SET NULL",
            Self::SetDefault => "SET DEFAULT",
        }
    }
}

/// An index in the making.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewIndex {
    /// Its name.
    pub name: String,
    /// Its columns.
    pub columns: Vec<String>,
    /// Whether no two records may agree in all of them.
    pub is_unique: bool,
}

/// A table in the making.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewTable {
    /// Where it is made.
    pub name: TableName,
    /// Its columns.
    pub columns: Vec<NewColumn>,
    /// The columns of its primary key.
    pub primary_key: Vec<String>,
    /// Its foreign keys.
    pub foreign_keys: Vec<NewForeignKey>,
    /// The comment.
    pub description: Option<String>,
}

/// What of a column becomes another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Alteration {
    /// What it holds.
    pub kind: Option<ColumnType>,
    /// Whether it may be NULL.
    pub allows_null: Option<bool>,
    /// What it gets when nothing is written; an inner `None` takes the default away.
    pub default: Option<Option<NewDefault>>,
}

impl Alteration {
    /// Whether nothing becomes another.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// One change. Names in it are those before the whole list of changes but for what the list itself makes.
#[derive(Clone, Debug, PartialEq)]
pub enum SchemaChange {
    /// Makes a table.
    CreateTable(NewTable),
    /// Removes a table.
    DropTable(TableName),
    /// Gives a table another name in its schema.
    RenameTable(TableName, String),
    /// Adds a column, with the foreign key of it alone.
    AddColumn(TableName, NewColumn, Option<NewForeignKey>),
    /// Changes a column.
    AlterColumn(Arc<Table>, Column, Alteration),
    /// Gives a column another name: from, to.
    RenameColumn(TableName, String, String),
    /// Removes a column.
    DropColumn(Arc<Table>, String),
    /// Makes an index.
    CreateIndex(TableName, NewIndex),
    /// Removes an index.
    DropIndex(TableName, Index),
    /// Adds a foreign key.
    AddForeignKey(TableName, NewForeignKey),
    /// Removes the foreign key of this name.
    DropForeignKey(TableName, String),
    /// Sets the comment of a table, or of the column; an empty one takes it away.
    Describe(Arc<Table>, Option<Column>, String),
}

/// For people: what was done when a list of changes failed half way.
impl fmt::Display for SchemaChange {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CreateTable(table) => write!(formatter, "created table '{}'", table.name),
            Self::DropTable(table) => write!(formatter, "dropped table '{table}'"),
            Self::RenameTable(table, to) => write!(formatter, "renamed table '{table}' to '{to}'"),
            Self::AddColumn(table, column, _) => {
                write!(formatter, "added field '{}' to '{table}'", column.name)
            }
            Self::AlterColumn(table, column, _) => {
                write!(
                    formatter,
                    "altered field '{}' of '{}'",
                    column.name, table.name
                )
            }
            Self::RenameColumn(table, from, to) => {
                write!(formatter, "renamed field '{from}' of '{table}' to '{to}'")
            }
            Self::DropColumn(table, column) => {
                write!(formatter, "dropped field '{column}' of '{}'", table.name)
            }
            Self::CreateIndex(table, index) => {
                write!(formatter, "created index '{}' on '{table}'", index.name)
            }
            Self::DropIndex(table, index) => {
                write!(formatter, "dropped index '{}' of '{table}'", index.name)
            }
            Self::AddForeignKey(table, key) => {
                write!(formatter, "added foreign key '{}' to '{table}'", key.name)
            }
            Self::DropForeignKey(table, name) => {
                write!(formatter, "dropped foreign key '{name}' of '{table}'")
            }
            Self::Describe(table, _, _) => write!(formatter, "described '{}'", table.name),
        }
    }
}

/// Statements that failed half way.
#[derive(Debug)]
pub struct Interrupted {
    /// How many of them were carried out and stay so; 0 where all were undone.
    pub kept: usize,
    /// What went wrong with the next one.
    pub error: Error,
}

impl From<Error> for Interrupted {
    fn from(error: Error) -> Self {
        Self { kept: 0, error }
    }
}
