//! What a manifest says of tables and columns, as the rest of the gateway needs it.

use super::super::validation::{Check, Failure};
use super::super::value::Scalar;
use super::{Column, Type};

/// What a manifest says of a table.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TableSettings {
    /// Its name without the alias; none where it has no alias.
    pub own_name: Option<String>,
    /// What people call one record.
    pub label: Option<String>,
    /// What people call several records.
    pub plural: Option<String>,
    /// The index of the column that names a record to people.
    pub name_field: Option<usize>,
    /// Whether the manifest declares its primary key, and not the database.
    pub is_key_virtual: bool,
    /// Columns that are not for callers. Their indexes follow those of the table's columns.
    pub hidden: Vec<Column>,
    /// Indexes of the columns that the gateway may set by itself, hidden ones included.
    pub set_by_gateway: Vec<usize>,
}

/// What a manifest says of a column.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ColumnSettings {
    /// Its name in the database; none where it has no alias.
    pub own_name: Option<String>,
    /// What people call it.
    pub label: Option<String>,
    /// What its values are to callers, where it is not what the database holds: JSON in texts, truth values in numbers.
    pub shown_as: Option<Type>,
    /// What happens to a record that has it, where records may not.
    pub read_only: Option<Failure>,
    /// What happens to a change that has it, where only new records may.
    pub create_only: Option<Failure>,
    /// What it gets when a record is created without it.
    pub default: Option<Supplied>,
    /// What it gets when a record is created.
    pub on_create: Option<Supplied>,
    /// What it gets when a record is created or changed.
    pub on_update: Option<Supplied>,
    /// The values to choose from; they bind only where one of `checks` says so.
    pub picklist: Vec<String>,
    /// What its values must be like.
    pub checks: Vec<Check>,
}

impl ColumnSettings {
    /// Whether the gateway may set it when a record is created, so that the record need not have it.
    pub fn is_supplied(&self) -> bool {
        self.default.is_some() || self.on_create.is_some() || self.on_update.is_some()
    }
}

/// What the gateway sets a column to.
#[derive(Clone, Debug, PartialEq)]
pub enum Supplied {
    /// A constant.
    Constant(Scalar),
    /// The value of a lookup, by its name.
    Lookup(String),
    /// The time of the write.
    Now,
}
