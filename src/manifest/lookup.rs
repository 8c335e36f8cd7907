//! `[lookup]`: names that filters may use.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

/// Values for `{lookup.NAME}` in filters. Several files may have this table; each name may stand in one of them.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct LookupTable(pub BTreeMap<String, String>);
