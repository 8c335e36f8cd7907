//! Keys, held as digests and compared in constant time. Pure.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::reason::Reason;
use crate::names::{KeyName, RoleName};

/// The digest of a key as a manifest writes it.
pub const DIGEST_PATTERN: &str = "^[0-9A-Fa-f]{64}$";

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

/// One application: what its key stands for.
#[derive(Clone, Debug)]
pub struct Key {
    /// Its name.
    pub name: KeyName,
    /// Whether it may be used at all.
    pub is_active: bool,
    /// The role of calls that carry it.
    pub role: Option<RoleName>,
    /// Before this it is unknown.
    pub not_before: Option<DateTime<Utc>>,
    /// From this on it is unknown.
    pub expires: Option<DateTime<Utc>>,
    /// Whether it may stand in the query string.
    pub allow_query: bool,
}

impl Key {
    /// Whether it may be used at some time, or why not.
    pub fn check_at_any_time(&self) -> Result<(), Reason> {
        if self.is_active {
            Ok(())
        } else {
            Err(Reason::InactiveKey)
        }
    }

    /// Whether it may be used at the time that `now` tells, or why not; most keys are good at any time and do not ask.
    pub fn check(&self, now: impl FnOnce() -> DateTime<Utc>) -> Result<(), Reason> {
        self.check_at_any_time()?;
        if self.not_before.is_none() && self.expires.is_none() {
            return Ok(());
        }
        let now = now();
        if self.not_before.is_some_and(|start| now < start) {
            return Err(Reason::KeyNotYetValid);
        }
        if self.expires.is_some_and(|end| end <= now) {
            return Err(Reason::ExpiredKey);
        }
        Ok(())
    }
}

/// All keys, by digest.
#[derive(Clone, Debug)]
pub struct KeyRing<K> {
    keys: HashMap<KeyDigest, Arc<K>>,
}

impl<K> Default for KeyRing<K> {
    fn default() -> Self {
        Self {
            keys: HashMap::new(),
        }
    }
}

impl<K> KeyRing<K> {
    /// From digests and what they stand for; digests are unique, which the manifest checks.
    pub fn new(keys: impl IntoIterator<Item = (KeyDigest, Arc<K>)>) -> Self {
        Self {
            keys: keys.into_iter().collect(),
        }
    }

    /// Whether there are no keys at all.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// What a presented key stands for. Known and unknown keys take the same steps: a digest is always taken, and
    /// always compared in full.
    pub fn find(&self, presented: &str) -> Option<&Arc<K>> {
        let digest = KeyDigest::of(presented);
        let (stored, key) = match self.keys.get_key_value(&digest) {
            Some((stored, key)) => (*stored, Some(key)),
            None => (KeyDigest([0; 32]), None),
        };
        if bool::from(stored.0.ct_eq(&digest.0)) {
            key
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_found_by_its_digest_only() {
        let ring = KeyRing::new([
            (KeyDigest::of("one"), Arc::new(1)),
            (KeyDigest::of("old"), Arc::new(1)),
        ]);
        assert_eq!(ring.find("one").map(|key| **key), Some(1));
        assert_eq!(ring.find("old").map(|key| **key), Some(1));
        assert_eq!(ring.find(&KeyDigest::of("one").to_string()), None);
        assert_eq!(ring.find(""), None);
    }

    #[test]
    fn digests_are_written_and_read_as_hexadecimal() {
        // FIPS 180-2, appendix B.1
        let digest = KeyDigest::of("abc");
        assert_eq!(
            digest.to_string(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        assert_eq!(
            KeyDigest::try_from(digest.to_string().to_uppercase()),
            Ok(digest)
        );
        for wrong in ["", "ba78", &"é".repeat(32), &"a".repeat(65)] {
            assert!(KeyDigest::try_from(wrong.to_owned()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_key_is_usable_from_its_start_until_its_end() {
        let at = |text: &str| text.parse::<DateTime<Utc>>().unwrap();
        let key = Key {
            name: "demo".parse().unwrap(),
            is_active: true,
            role: None,
            not_before: Some(at("2026-01-01T00:00:00Z")),
            expires: Some(at("2027-01-01T00:00:00Z")),
            allow_query: false,
        };
        let check = |text: &str| key.check(|| at(text));
        assert_eq!(check("2025-12-31T23:59:59Z"), Err(Reason::KeyNotYetValid));
        assert_eq!(check("2026-01-01T00:00:00Z"), Ok(()));
        assert_eq!(check("2027-01-01T00:00:00Z"), Err(Reason::ExpiredKey));
        let inactive = Key {
            is_active: false,
            ..key
        };
        assert_eq!(
            inactive.check(|| at("2026-06-01T00:00:00Z")),
            Err(Reason::InactiveKey)
        );
    }
}
