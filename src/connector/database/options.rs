//! Settings that every database type shares.

use std::collections::BTreeMap;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use super::shape::{ContractMode, Shape};
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
    /// Seconds after which a service that is used asks its database whether tables or columns changed; 0 never asks.
    #[serde(default = "default_schema_check_seconds")]
    #[schemars(range(max = 86_400))]
    pub schema_check_seconds: u32,
    /// Most bytes of the body of a bulk import (`bulk=true`); 0 refuses them.
    #[serde(default = "default_max_bulk_bytes")]
    pub max_bulk_bytes: u64,
    /// What happens when tables or columns are not what the contract file says: `strict` refuses calls that touch a
    /// table which differs, `shape` serves only what is locked, `warn` reports. Without it nothing is locked.
    #[serde(default)]
    pub contract: Option<ContractMode>,
    /// The contract file, by its path from the manifest. Default: `contracts/SERVICE.json`.
    #[serde(default)]
    pub contract_file: Option<String>,
    /// What the contract file says. The manifest reader puts it here; nobody writes it.
    #[serde(default)]
    #[schemars(skip)]
    pub contract_shape: Option<Shape>,
    /// What to change about tables and their columns, by the names that the tables have in the database; `schema.table`
    /// outside the default schema.
    #[serde(default)]
    pub table: BTreeMap<String, TableOptions>,
}

impl DatabaseOptions {
    /// The time between two questions whether tables or columns changed; none if nobody asks.
    pub fn schema_check(&self) -> Option<Duration> {
        (self.schema_check_seconds > 0)
            .then(|| Duration::from_secs(self.schema_check_seconds.into()))
    }

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

/// Default of `schema_check_seconds`.
pub const DEFAULT_SCHEMA_CHECK_SECONDS: u32 = 30;

/// Default of `max_bulk_bytes`: 10 GiB.
pub const DEFAULT_MAX_BULK_BYTES: u64 = 10 * 1024 * 1024 * 1024;

fn default_max_bulk_bytes() -> u64 {
    DEFAULT_MAX_BULK_BYTES
}

fn default_schema_check_seconds() -> u32 {
    DEFAULT_SCHEMA_CHECK_SECONDS
}

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
            schema_check_seconds: DEFAULT_SCHEMA_CHECK_SECONDS,
            max_bulk_bytes: DEFAULT_MAX_BULK_BYTES,
            contract: None,
            contract_file: None,
            contract_shape: None,
            table: BTreeMap::new(),
        }
    }
}
