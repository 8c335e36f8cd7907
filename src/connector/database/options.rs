//! Settings that every database type shares.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::table_options::{self, TableOptions};
use super::value::{DateTimeStyle, NumberStyle};
use crate::connector::Problem;

/// Settings that every database type shares. Config structs flatten them into their own; the schema of a config, not
/// serde, is what refuses unknown keys then.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
pub struct DatabaseOptions {
    /// Most records that one read gives; larger limits are clipped.
    #[serde(default = "default_max_records")]
    #[schemars(range(min = 1, max = 10_000_000))]
    pub max_records: u64,
    /// Whether PUT and PATCH insert a record whose key is not there.
    #[serde(default)]
    pub allow_upsert: bool,
    /// How decimals and 64-bit integers are written: `number`, or `string` for clients that would lose digits.
    #[serde(default)]
    pub numbers: NumberStyle,
    /// How dates and times are written: `rfc3339`, or `sql` as DreamFactory has it.
    #[serde(default)]
    pub datetimes: DateTimeStyle,
    /// What happens to members of a record that are no columns: `refuse` or `ignore`.
    #[serde(default)]
    pub unknown_members: UnknownMembers,
    /// What to change about tables and their columns, by the names that the tables have in the database; `schema.table`
    /// outside the default schema.
    #[serde(default)]
    pub table: BTreeMap<String, TableOptions>,
}

impl DatabaseOptions {
    /// What a schema cannot say, for `check` of every database type. Pure.
    pub fn problems(&self) -> Vec<Problem> {
        table_options::problems(&self.table)
    }
}

/// What happens to members of a record that are no columns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum UnknownMembers {
    /// 400 with the nearest name.
    #[default]
    Refuse,
    /// Dropped, as DreamFactory does.
    Ignore,
}

/// Default of `max_records`.
pub const DEFAULT_MAX_RECORDS: u64 = 1_000;
/// Largest `max_records`.
pub const LARGEST_MAX_RECORDS: u64 = 10_000_000;

fn default_max_records() -> u64 {
    DEFAULT_MAX_RECORDS
}

impl Default for DatabaseOptions {
    fn default() -> Self {
        Self {
            max_records: DEFAULT_MAX_RECORDS,
            allow_upsert: false,
            numbers: NumberStyle::default(),
            datetimes: DateTimeStyle::default(),
            unknown_members: UnknownMembers::default(),
            table: BTreeMap::new(),
        }
    }
}
