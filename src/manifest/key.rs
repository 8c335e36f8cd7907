//! `[key.NAME]`: one application and the digests of its key.

use std::borrow::Cow;
use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;

use crate::auth::key::KeyDigest;
use crate::names::RoleName;

/// A key: one application. The key itself is never in the tree, only its digest.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KeyTable {
    /// What people call the application.
    pub label: Option<String>,
    /// What it is for.
    pub description: Option<String>,
    /// Whether the key is accepted. Default: true.
    #[serde(default = "default_active")]
    pub active: bool,
    /// The role of calls with this key. Without one they are answered 403.
    pub role: Option<RoleName>,
    /// SHA-256 digests of the key, as `tidegate key new` and `tidegate key hash` print them; two during a rotation.
    #[schemars(length(min = 1, max = 4))]
    pub sha256: Vec<KeyDigest>,
    /// The key is refused before this moment.
    pub not_before: Option<Moment>,
    /// The key is refused from this moment on.
    pub expires: Option<Moment>,
    /// Whether the key may also be given in the query string (`?api_key=…`), where proxies log it. Default: false.
    #[serde(default)]
    pub allow_query: bool,
    /// Values for `{lookup.NAME}` in filters; they come before those of `[lookup]`.
    #[serde(default)]
    pub lookup: BTreeMap<String, String>,
}

fn default_active() -> bool {
    true
}

/// A moment: date, time and offset (RFC 3339).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(transparent)]
pub struct Moment(DateTime<Utc>);

impl Moment {
    /// The moment in UTC.
    pub fn utc(self) -> DateTime<Utc> {
        self.0
    }
}

impl JsonSchema for Moment {
    fn schema_name() -> Cow<'static, str> {
        Cow::Borrowed("Moment")
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "A date and time with its offset: 2027-01-01T00:00:00Z",
            "format": "date-time",
            "x-expected": "a date and time with its offset, such as 2027-01-01T00:00:00Z"
        })
    }
}
