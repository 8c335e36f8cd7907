//! `[lookup]`: names that filters may use.

use std::borrow::Cow;
use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;

use super::schema::{OVERRIDE, override_schema};

/// Values for `{lookup.NAME}` in filters. Several files may have this table; each name may stand in one of them.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct LookupTable(pub BTreeMap<String, LookupEntry>);

/// One value: a text, or a table where it replaces the one of a layer below.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(untagged)]
pub enum LookupEntry {
    /// `region = "north"`
    Text(String),
    /// `region = { value = "north", override = true }`
    Table {
        /// The text.
        value: String,
    },
}

impl LookupEntry {
    /// The text.
    pub fn into_value(self) -> String {
        match self {
            Self::Text(value) | Self::Table { value } => value,
        }
    }
}

impl JsonSchema for LookupEntry {
    fn schema_name() -> Cow<'static, str> {
        Cow::Borrowed("LookupEntry")
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": ["string", "object"],
            "description": "A text; or { value = \"…\", override = true } to replace the one of a layer below.",
            "properties": {
                "value": { "type": "string", "description": "The text." },
                OVERRIDE: override_schema(),
            },
            "required": ["value"],
            "additionalProperties": false,
            "x-expected": "text"
        })
    }
}
