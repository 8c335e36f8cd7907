//! The query string, decoded once.

use std::borrow::Cow;

use percent_encoding::percent_decode;

use crate::error::{Error, ErrorKind, Result};

/// Most options one request may carry.
pub const MAX_OPTIONS: usize = 256;

/// Names and values of a query string, decoded, in the order in which they were sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// Decodes a query string (WHATWG URL section 5.1: `&` between pairs, `+` for a space, percent-encoding).
    /// Text that is not UTF-8 or holds a NUL is refused.
    pub fn parse(text: &str) -> Result<Self> {
        let mut pairs = Vec::new();
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            if pairs.len() == MAX_OPTIONS {
                return Err(Error::new(
                    ErrorKind::InvalidRequest,
                    format!("the query string has more than {MAX_OPTIONS} options"),
                ));
            }
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            pairs.push((decode(name)?, decode(value)?));
        }
        Ok(Self(pairs))
    }

    /// The first value of an option.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// All names and values.
    pub fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Whether there are no options at all.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn decode(text: &str) -> Result<String> {
    let spaced: Cow<'_, str> = if text.contains('+') {
        Cow::Owned(text.replace('+', " "))
    } else {
        Cow::Borrowed(text)
    };
    decode_percent(&spaced)
}

/// Percent-decodes a path segment or an option; refuses what is not UTF-8 and NUL.
pub fn decode_percent(text: &str) -> Result<String> {
    let decoded = percent_decode(text.as_bytes())
        .decode_utf8()
        .map_err(|error| {
            Error::new(
                ErrorKind::InvalidRequest,
                "the request target is not valid UTF-8 once decoded",
            )
            .with_source(error)
        })?;
    if decoded.contains('\0') {
        return Err(Error::new(
            ErrorKind::InvalidRequest,
            "the request target contains a NUL character",
        ));
    }
    Ok(decoded.into_owned())
}

/// Reads a truth value as clients write it: `true`, `1`, `yes`, `on`, `y` or `t` in any case, and their
/// opposites; an option without a value (`?count_only`) is true. Anything else is none.
pub fn truth(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "" | "true" | "1" | "yes" | "on" | "y" | "t" => Some(true),
        "false" | "0" | "no" | "off" | "n" | "f" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_decoded() {
        let query = Query::parse("filter=name%20%3D+%27%C3%A9%27&limit=3&flag").unwrap();
        assert_eq!(query.get("filter"), Some("name = 'é'"));
        assert_eq!(query.get("limit"), Some("3"));
        assert_eq!(query.get("flag"), Some(""));
        assert_eq!(query.get("none"), None);
    }

    #[test]
    fn invalid_utf8_nul_and_floods_are_refused() {
        assert!(Query::parse("a=%ff").is_err());
        assert!(Query::parse("a=%00").is_err());
        assert!(Query::parse(&"a=1&".repeat(MAX_OPTIONS + 1)).is_err());
    }
}
