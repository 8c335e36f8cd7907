//! Keys, held as digests and compared in constant time. Pure.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::names::{KeyName, RoleName};

/// The SHA-256 digest of a key.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyDigest([u8; 32]);

impl KeyDigest {
    /// The digest of a presented key.
    pub fn of(key: &str) -> Self {
        Self(Sha256::digest(key.as_bytes()).into())
    }

    /// From its 64 hexadecimal digits, in either case.
    pub fn parse(text: &str) -> Option<Self> {
        let mut digest = [0_u8; 32];
        if text.len() != 64 || !text.is_ascii() {
            return None;
        }
        for (byte, pair) in digest.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
        }
        Some(Self(digest))
    }
}

impl fmt::Display for KeyDigest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .iter()
            .try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

impl fmt::Debug for KeyDigest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
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
    /// Whether it may be used now.
    pub fn is_usable(&self, now: DateTime<Utc>) -> bool {
        self.is_active
            && self.not_before.is_none_or(|start| start <= now)
            && self.expires.is_none_or(|end| now < end)
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
        let digest = KeyDigest::of("abc");
        assert_eq!(
            digest.to_string(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        assert_eq!(
            KeyDigest::parse(&digest.to_string().to_uppercase()),
            Some(digest)
        );
        assert_eq!(KeyDigest::parse("ba78"), None);
        assert_eq!(KeyDigest::parse(&"é".repeat(32)), None);
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
        assert!(!key.is_usable(at("2025-12-31T23:59:59Z")));
        assert!(key.is_usable(at("2026-01-01T00:00:00Z")));
        assert!(!key.is_usable(at("2027-01-01T00:00:00Z")));
        assert!(
            !Key {
                is_active: false,
                ..key
            }
            .is_usable(at("2026-06-01T00:00:00Z"))
        );
    }
}
