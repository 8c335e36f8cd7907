//! Settings that every database type shares. Each config struct repeats the fields and gives them as one value.

use super::value::{DateTimeStyle, NumberStyle};

/// Settings that every database type shares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DatabaseOptions {
    /// Most records one read gives; larger `limit`s are clipped. Default 1,000, at most 10,000,000.
    pub max_records: u64,
    /// Whether PUT and PATCH insert a record whose key is not there. Default false.
    pub allow_upsert: bool,
    /// How numbers are written. Default as numbers.
    pub numbers: NumberStyle,
    /// How dates and times are written. Default RFC 3339.
    pub datetimes: DateTimeStyle,
    /// What happens to members of a record that are no columns. Default: refused.
    pub unknown_members: UnknownMembers,
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

impl Default for DatabaseOptions {
    fn default() -> Self {
        Self {
            max_records: DEFAULT_MAX_RECORDS,
            allow_upsert: false,
            numbers: NumberStyle::default(),
            datetimes: DateTimeStyle::default(),
            unknown_members: UnknownMembers::default(),
        }
    }
}
