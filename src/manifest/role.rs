//! `[role.NAME]`: what somebody may do.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::auth::role::AccessRow;

/// A role: what somebody may do. Nothing is allowed that no row of `access` grants.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RoleTable {
    /// What it is for.
    pub description: Option<String>,
    /// Whether it grants anything at present; calls with an inactive role answer 403. Default: true.
    #[serde(default = "default_active")]
    pub active: bool,
    /// What it grants and denies. The order does not matter.
    #[serde(default)]
    pub access: Vec<AccessRow>,
}

fn default_active() -> bool {
    true
}
