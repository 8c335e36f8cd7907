//! A value that is compared and used, but never printed.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer};

/// A password, a token or a key.
///
/// In a manifest it is a reference (`{ env = "NAME" }`, `{ file = "/run/…" }`, `{ credential = "name" }`,
/// `{ age = "…" }`, or `{ plain = "…" }`), and that is what its schema says. References are resolved on the JSON tree before
/// typing (`manifest::secrets`), so deserializing takes the resolved text.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The name of the schema definition; what `manifest::secrets` looks for.
    pub const SCHEMA_NAME: &'static str = "Secret";

    /// Wraps a value.
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The value itself. Never log it, never put it into an error.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secret(…)")
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self)
    }
}

impl JsonSchema for Secret {
    fn schema_name() -> Cow<'static, str> {
        Cow::Borrowed(Self::SCHEMA_NAME)
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let reference = |name: &str, description: &str| {
            serde_json::json!({
                "type": "object",
                "description": description,
                "properties": { name: { "type": "string", "minLength": 1 } },
                "required": [name],
                "additionalProperties": false
            })
        };
        json_schema!({
            "description": "A secret, always by reference: { env = \"NAME\" }, { file = \"/run/…\" }, { credential = \"name\" }, or encrypted: { age = \"…\" }; { plain = \"…\" } says that the value itself is meant to be in the tree.",
            "oneOf": [
                reference("env", "The name of an environment variable of the daemon."),
                reference("file", "The path of a file whose content, without its last line break, is the secret."),
                reference("credential", "The name of a systemd credential (LoadCredential=)."),
                reference("age", "The secret, encrypted for the identity of the host; `tidegate secret encrypt` prints it."),
                reference("plain", "The secret itself; everybody who can read the tree can read it."),
            ]
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_prints_as_nothing() {
        assert_eq!(format!("{:?}", Secret::new("hunter2")), "Secret(…)");
    }
}
