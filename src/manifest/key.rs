//! `[key.NAME]`: one application and the digests of its key.

use std::borrow::Cow;
use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use crate::names::RoleName;

/// The digest of a key as a manifest writes it.
pub const DIGEST_PATTERN: &str = "^[0-9A-Fa-f]{64}$";

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

/// The SHA-256 digest of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct KeyDigest([u8; 32]);

impl KeyDigest {
    /// The digest of a key's text.
    pub fn of(key: &str) -> Self {
        Self(Sha256::digest(key.as_bytes()).into())
    }

    /// The bytes of the digest.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl TryFrom<String> for KeyDigest {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let digits: Vec<u8> = text
            .chars()
            .map(|digit| {
                digit
                    .to_digit(16)
                    .and_then(|digit| u8::try_from(digit).ok())
            })
            .collect::<Option<_>>()
            .ok_or("a digest has hexadecimal digits only")?;
        let (pairs, rest) = digits.as_chunks::<2>();
        let bytes: Vec<u8> = pairs.iter().map(|[high, low]| high << 4 | low).collect();
        match <[u8; 32]>::try_from(bytes) {
            Ok(bytes) if rest.is_empty() => Ok(Self(bytes)),
            _ => Err("a digest has 64 hexadecimal digits"),
        }
    }
}

/// 64 lower-case hexadecimal digits.
impl std::fmt::Display for KeyDigest {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0
            .iter()
            .try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

impl JsonSchema for KeyDigest {
    fn schema_name() -> Cow<'static, str> {
        Cow::Borrowed("KeyDigest")
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "The SHA-256 digest of a key: 64 hexadecimal digits.",
            "pattern": DIGEST_PATTERN,
            "x-expected": "a SHA-256 digest of 64 hexadecimal digits"
        })
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_reads_what_it_prints() {
        // FIPS 180-2, appendix B.1
        let digest = KeyDigest::of("abc");
        let text = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(digest.to_string(), text);
        assert_eq!(KeyDigest::try_from(text.to_uppercase()), Ok(digest));
        for wrong in [
            "",
            "ba78",
            &format!("{text}0"),
            &format!("{text}00"),
            &"é".repeat(32),
        ] {
            assert!(KeyDigest::try_from(wrong.to_owned()).is_err(), "{wrong}");
        }
    }
}
