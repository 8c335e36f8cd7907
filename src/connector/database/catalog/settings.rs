//! What a manifest says of tables and columns, as the rest of the gateway needs it.

use super::Column;

/// What a manifest says of a table.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TableSettings {
    /// Its name without the alias; none where it has no alias.
    pub own_name: Option<String>,
    /// Whether the manifest declares its primary key, and not the database.
    pub is_key_virtual: bool,
    /// Columns that are not for callers. Their indexes follow those of the table's columns.
    pub hidden: Vec<Column>,
}

/// What a manifest says of a column.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ColumnSettings {
    /// Its name in the database; none where it has no alias.
    pub own_name: Option<String>,
}
