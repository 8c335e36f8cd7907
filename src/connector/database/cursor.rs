//! Opaque cursors for keyset pagination: where the last page ended, as one text.
//!
//! A cursor carries the values of the order of the last row, and a digest that binds them to the table, the order
//! and the filter for which they were given out. The digest finds accidents and mix-ups; it is no secret and
//! protects nothing: whoever forges a cursor gets rows that the same caller could have asked for with a filter, for
//! every value is bound as a parameter and the role's filter is applied to each page anew.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

use super::value::Scalar;
use crate::error::{Error, ErrorKind, Result};

/// Most characters a cursor may have.
pub const MAX_CURSOR_LENGTH: usize = 8 * 1024;

/// The first byte, so that the encoding can change.
const VERSION: u8 = 1;
/// Bytes of the digest that are kept.
const DIGEST_BYTES: usize = 12;
/// Most levels of arrays within a value.
const MAX_DEPTH: usize = 8;

/// What a cursor belongs to: a table, an order and a filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CursorBinding {
    query: [u8; 32],
    values: usize,
}

impl CursorBinding {
    /// Binds to a table by name, and to the texts of an order of `values` items and of a filter.
    pub fn new(table: &str, order: &str, filter: &str, values: usize) -> Self {
        let mut hasher = Sha256::new();
        for part in [table, order, filter] {
            hasher.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_le_bytes());
            hasher.update(part.as_bytes());
        }
        Self {
            query: hasher.finalize().into(),
            values,
        }
    }

    /// The cursor after a row whose order values are `kept`. None if there are not as many as the order has.
    pub fn encode(&self, kept: &[Scalar]) -> Option<String> {
        if kept.len() != self.values {
            return None;
        }
        let mut payload = vec![VERSION];
        for value in kept {
            write(&mut payload, value);
        }
        let digest = self.digest(&payload);
        payload.extend_from_slice(&digest);
        let text = URL_SAFE_NO_PAD.encode(payload);
        (text.len() <= MAX_CURSOR_LENGTH).then_some(text)
    }

    /// The order values that a cursor carries; 400 if it was changed or belongs to another query.
    pub fn decode(&self, text: &str) -> Result<Vec<Scalar>> {
        self.read(text).ok_or_else(|| {
            Error::new(
                ErrorKind::InvalidCursor,
                "the cursor does not belong to this request",
            )
            .with_help(
                "send `cursor` unchanged as `meta.next_cursor` gave it, with the same table, `filter`, `params` and \
                 `order`; or leave it out to start at the beginning",
            )
        })
    }

    fn digest(&self, payload: &[u8]) -> [u8; DIGEST_BYTES] {
        let mut hasher = Sha256::new();
        hasher.update(self.query);
        hasher.update(payload);
        let whole: [u8; 32] = hasher.finalize().into();
        let mut digest = [0; DIGEST_BYTES];
        for (to, from) in digest.iter_mut().zip(whole) {
            *to = from;
        }
        digest
    }

    fn read(&self, text: &str) -> Option<Vec<Scalar>> {
        if text.len() > MAX_CURSOR_LENGTH {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (payload, digest) = bytes.split_at_checked(bytes.len().checked_sub(DIGEST_BYTES)?)?;
        if digest != self.digest(payload) {
            return None;
        }
        let (&version, mut rest) = payload.split_first()?;
        if version != VERSION {
            return None;
        }
        let mut values = Vec::with_capacity(self.values);
        while !rest.is_empty() {
            if values.len() == self.values {
                return None;
            }
            let (value, after) = read(rest, MAX_DEPTH)?;
            values.push(value);
            rest = after;
        }
        (values.len() == self.values).then_some(values)
    }
}

fn write(out: &mut Vec<u8>, value: &Scalar) {
    let mut bytes = |tag: u8, bytes: &[u8]| {
        out.push(tag);
        write_length(out, bytes.len());
        out.extend_from_slice(bytes);
    };
    match value {
        Scalar::Null => out.push(b'n'),
        Scalar::Bool(false) => out.push(b'f'),
        Scalar::Bool(true) => out.push(b't'),
        Scalar::Int(value) => {
            out.push(b'i');
            out.extend_from_slice(&value.to_le_bytes());
        }
        Scalar::Float(value) => {
            out.push(b'd');
            out.extend_from_slice(&value.to_le_bytes());
        }
        Scalar::Uuid(value) => {
            out.push(b'u');
            out.extend_from_slice(value);
        }
        Scalar::Decimal(value) => bytes(b'N', value.as_bytes()),
        Scalar::Text(value) => bytes(b'T', value.as_bytes()),
        Scalar::Bytes(value) => bytes(b'B', value),
        Scalar::Json(value) => bytes(b'J', value.as_bytes()),
        Scalar::Temporal(value) => bytes(b'D', value.as_bytes()),
        Scalar::Array(values) => {
            out.push(b'A');
            write_length(out, values.len());
            for value in values {
                write(out, value);
            }
        }
    }
}

/// Unsigned LEB128.
fn write_length(out: &mut Vec<u8>, mut length: usize) {
    loop {
        let low = u8::try_from(length & 0x7f).unwrap_or(0x7f);
        length >>= 7;
        if length == 0 {
            out.push(low);
            return;
        }
        out.push(low | 0x80);
    }
}

fn read(bytes: &[u8], depth: usize) -> Option<(Scalar, &[u8])> {
    let (&tag, rest) = bytes.split_first()?;
    Some(match tag {
        b'n' => (Scalar::Null, rest),
        b'f' => (Scalar::Bool(false), rest),
        b't' => (Scalar::Bool(true), rest),
        b'i' => {
            let (value, rest) = rest.split_first_chunk::<8>()?;
            (Scalar::Int(i64::from_le_bytes(*value)), rest)
        }
        b'd' => {
            let (value, rest) = rest.split_first_chunk::<8>()?;
            (Scalar::Float(f64::from_le_bytes(*value)), rest)
        }
        b'u' => {
            let (value, rest) = rest.split_first_chunk::<16>()?;
            (Scalar::Uuid(*value), rest)
        }
        b'A' => {
            let depth = depth.checked_sub(1)?;
            let (length, mut rest) = read_length(rest)?;
            let mut values = Vec::new();
            for _ in 0..length {
                let (value, after) = read(rest, depth)?;
                values.push(value);
                rest = after;
            }
            (Scalar::Array(values), rest)
        }
        b'N' | b'T' | b'B' | b'J' | b'D' => {
            let (length, rest) = read_length(rest)?;
            let (value, rest) = rest.split_at_checked(length)?;
            let text = || std::str::from_utf8(value).ok().map(str::to_owned);
            let value = match tag {
                b'N' => Scalar::Decimal(text()?),
                b'T' => Scalar::Text(text()?),
                b'J' => Scalar::Json(text()?),
                b'D' => Scalar::Temporal(text()?),
                _ => Scalar::Bytes(value.to_vec()),
            };
            (value, rest)
        }
        _ => return None,
    })
}

fn read_length(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let mut length = 0_usize;
    for (index, byte) in bytes.iter().take(4).enumerate() {
        length |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Some((length, bytes.get(index + 1..)?));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn scalar() -> impl Strategy<Value = Scalar> {
        let leaf = prop_oneof![
            Just(Scalar::Null),
            any::<bool>().prop_map(Scalar::Bool),
            any::<i64>().prop_map(Scalar::Int),
            (-1e300..1e300).prop_map(Scalar::Float),
            ".{0,200}".prop_map(Scalar::Text),
            "[0-9]{1,30}".prop_map(Scalar::Decimal),
            any::<Vec<u8>>().prop_map(Scalar::Bytes),
            any::<[u8; 16]>().prop_map(Scalar::Uuid),
            Just(Scalar::Temporal("2026-02-01T00:00:00Z".into())),
            Just(Scalar::Json("{}".into())),
        ];
        leaf.prop_recursive(2, 8, 3, |inner| {
            proptest::collection::vec(inner, 0..3).prop_map(Scalar::Array)
        })
    }

    proptest! {
        #[test]
        fn a_cursor_gives_back_what_went_in(values in proptest::collection::vec(scalar(), 0..4)) {
            let binding = CursorBinding::new("t", "o", "f", values.len());
            let text = binding.encode(&values).unwrap();
            prop_assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_'));
            prop_assert_eq!(binding.decode(&text).unwrap(), values);
        }

        #[test]
        fn no_text_makes_it_panic(text in ".{0,200}") {
            prop_assert!(CursorBinding::new("t", "o", "f", 1).decode(&text).is_err());
        }

        #[test]
        fn any_changed_character_is_refused(position in 0_usize..1000, character in "[A-Za-z0-9_-]") {
            let binding = CursorBinding::new("t", "o", "f", 2);
            let text = binding.encode(&[Scalar::Int(7), Scalar::Text("x".into())]).unwrap();
            let position = position % text.len();
            let mut changed = text.clone();
            changed.replace_range(position..=position, &character);
            prop_assert!(changed == text || binding.decode(&changed).is_err());
        }
    }

    #[test]
    fn a_cursor_of_another_query_is_refused() {
        let values = [Scalar::Int(1)];
        let text = CursorBinding::new("t", "o", "f", 1)
            .encode(&values)
            .unwrap();
        for other in [
            CursorBinding::new("u", "o", "f", 1),
            CursorBinding::new("t", "of", "", 1),
            CursorBinding::new("t", "o", "g", 1),
            CursorBinding::new("t", "o", "f", 2),
        ] {
            let error = other.decode(&text).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidCursor);
        }
    }

    #[test]
    fn a_row_without_the_order_values_has_no_cursor() {
        assert_eq!(CursorBinding::new("t", "o", "f", 2).encode(&[]), None);
    }
}
