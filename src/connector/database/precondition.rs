//! Entity tags and the conditions that requests put on them (RFC 9110 sections 8.8.3 and 13.1). Pure.

use std::fmt::Write as _;

use http::{HeaderMap, HeaderName, HeaderValue, header};
use sha2::{Digest as _, Sha256};

use crate::error::{Error, ErrorKind, Result};
use crate::exchange::Format;
use crate::exchange::compress::without_coding;

/// The strong tag of one record in one format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct EntityTag(String);

impl EntityTag {
    /// From the digest over all columns of the record: it is good for `If-Match` whatever `fields` were read.
    pub(super) fn of_record(digest: [u8; 16], format: Format) -> Self {
        Self::of(digest, "", format)
    }

    /// From the bytes of an answer that embeds other records. It never equals the tag of a record, so a write
    /// with it fails: the state of related records is not locked.
    pub(super) fn of_body(body: &[u8], format: Format) -> Self {
        let mut digest = [0; 16];
        digest
            .iter_mut()
            .zip(Sha256::digest(body))
            .for_each(|(byte, taken)| *byte = taken);
        Self::of(digest, "r", format)
    }

    fn of(digest: [u8; 16], prefix: &str, format: Format) -> Self {
        let mut text = String::with_capacity(36);
        text.push('"');
        text.push_str(prefix);
        // Writing to a String cannot fail.
        let _ = write!(text, "{:032x}", u128::from_be_bytes(digest));
        text.push('.');
        text.push(match format {
            Format::Json => 'j',
            Format::NdJson => 'n',
            Format::Csv => 'c',
            Format::Xml => 'x',
        });
        text.push('"');
        Self(text)
    }

    /// The value of `ETag`.
    pub(super) fn header(&self) -> Result<HeaderValue> {
        HeaderValue::from_str(&self.0).map_err(|error| {
            Error::internal("an entity tag is not a header value").with_source(error)
        })
    }

    /// Whether `tag`, as a client sent it between quotation marks, names this one. The suffix that a content coding added counts as the
    /// same record; with `any_format` so does another format.
    fn is_named_by(&self, tag: &str, any_format: bool) -> bool {
        bare(self.0.trim_matches('"'), any_format) == bare(without_coding(tag), any_format)
    }
}

/// The part of a tag that is compared.
fn bare(tag: &str, any_format: bool) -> &str {
    match tag.rsplit_once('.') {
        Some((digest, _)) if any_format => digest,
        _ => tag,
    }
}

/// The condition of one header.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Tags {
    /// `*`
    Any,
    /// Tags, and whether each is weak.
    Listed(Vec<(String, bool)>),
}

/// What a request demands of the state of its target.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Preconditions {
    if_match: Option<Tags>,
    if_none_match: Option<Tags>,
}

impl Preconditions {
    /// Reads `If-Match` and `If-None-Match`. A value that is not a list of tags is 400: ignoring it could
    /// overwrite somebody's work.
    pub(super) fn of(headers: &HeaderMap) -> Result<Self> {
        Ok(Self {
            if_match: tags(headers, &header::IF_MATCH)?,
            if_none_match: tags(headers, &header::IF_NONE_MATCH)?,
        })
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.if_match.is_none() && self.if_none_match.is_none()
    }

    /// Whether a read may be answered with 304. An `If-Match` that does not hold is 412.
    pub(super) fn not_modified(&self, current: &EntityTag) -> Result<bool> {
        self.check_match(Some(current), false)?;
        Ok(match &self.if_none_match {
            None => false,
            Some(Tags::Any) => true,
            // Weak comparison: whether a tag is marked weak does not count.
            Some(Tags::Listed(listed)) => listed
                .iter()
                .any(|(tag, _)| current.is_named_by(tag, false)),
        })
    }

    /// Whether a write may go on, given the record as it stands, or none; 412 otherwise.
    pub(super) fn check_write(&self, current: Option<&EntityTag>) -> Result<()> {
        self.check_match(current, true)?;
        let Some(current) = current else {
            return Ok(());
        };
        let refused = match &self.if_none_match {
            None => false,
            Some(Tags::Any) => true,
            Some(Tags::Listed(listed)) => {
                listed.iter().any(|(tag, _)| current.is_named_by(tag, true))
            }
        };
        if refused {
            return Err(Error::new(
                ErrorKind::PreconditionFailed,
                "the record exists, and If-None-Match forbids that",
            ));
        }
        Ok(())
    }

    fn check_match(&self, current: Option<&EntityTag>, any_format: bool) -> Result<()> {
        let holds = match (&self.if_match, current) {
            (None, _) | (Some(Tags::Any), Some(_)) => true,
            (Some(_), None) => false,
            // Strong comparison: a weak tag never matches.
            (Some(Tags::Listed(listed)), Some(current)) => listed
                .iter()
                .any(|(tag, weak)| !weak && current.is_named_by(tag, any_format)),
        };
        if holds {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::PreconditionFailed,
            "the record is not in the state that If-Match names",
        )
        .with_help("read the record again and send the ETag of that answer"))
    }

    /// For targets without a tag, such as a collection: an `If-Match` that lists tags cannot hold.
    pub(super) fn check_untagged(&self) -> Result<()> {
        if let Some(Tags::Listed(_)) = self.if_match {
            return Err(Error::new(
                ErrorKind::PreconditionFailed,
                "a collection has no entity tag, so If-Match cannot hold",
            )
            .with_help("send If-Match with a write to one record: /{id}"));
        }
        Ok(())
    }
}

fn tags(headers: &HeaderMap, name: &HeaderName) -> Result<Option<Tags>> {
    let mut listed = Vec::new();
    let mut found = false;
    let malformed = || {
        Error::new(
            ErrorKind::InvalidRequest,
            format!("the header {name} is not `*` or a list of entity tags"),
        )
        .with_help("write tags in double quotes: \"abc\", as the ETag header has them")
    };
    for value in headers.get_all(name) {
        found = true;
        let text = value
            .to_str()
            .map_err(|error| malformed().with_source(error))?
            .trim();
        if text == "*" {
            return Ok(Some(Tags::Any));
        }
        let mut rest = text;
        while !rest.is_empty() {
            let (weak, quoted) = match rest.strip_prefix("W/") {
                Some(quoted) => (true, quoted),
                None => (false, rest),
            };
            let (tag, tail) = quoted
                .strip_prefix('"')
                .and_then(|open| open.split_once('"'))
                .ok_or_else(malformed)?;
            listed.push((tag.to_owned(), weak));
            rest = tail.trim_start();
            if !rest.is_empty() {
                rest = rest.strip_prefix(',').ok_or_else(malformed)?.trim_start();
            }
        }
    }
    Ok(found.then_some(Tags::Listed(listed)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conditions(name: HeaderName, value: &str) -> Preconditions {
        let mut headers = HeaderMap::new();
        headers.insert(name, HeaderValue::from_str(value).unwrap());
        Preconditions::of(&headers).unwrap()
    }

    fn tag() -> EntityTag {
        EntityTag::of_record([0xab; 16], Format::Json)
    }

    const DIGEST: &str = "abababababababababababababababab";

    #[test]
    fn a_tag_is_the_digest_and_a_letter_for_the_format() {
        assert_eq!(tag().header().unwrap(), format!("\"{DIGEST}.j\""));
        assert_ne!(tag(), EntityTag::of_record([0xab; 16], Format::Csv));
    }

    #[test]
    fn if_none_match_compares_weakly_and_sees_through_content_codings() {
        for (value, expected) in [
            ("*".to_owned(), true),
            (format!("\"{DIGEST}.j\""), true),
            (format!("W/\"{DIGEST}.j\""), true),
            (format!("\"x\", \"{DIGEST}.j-gzip\""), true),
            (format!("\"{DIGEST}.j-br\""), true),
            (format!("\"{DIGEST}.c\""), false),
            ("\"x\"".to_owned(), false),
        ] {
            let conditions = conditions(header::IF_NONE_MATCH, &value);
            assert_eq!(
                conditions.not_modified(&tag()).unwrap(),
                expected,
                "{value}"
            );
        }
    }

    #[test]
    fn if_match_compares_strongly_and_in_any_format() {
        for (value, expected) in [
            ("*".to_owned(), true),
            (format!("\"{DIGEST}.j\""), true),
            (format!("\"{DIGEST}.c\""), true),
            (format!("\"{DIGEST}.j-gzip\""), true),
            (format!("W/\"{DIGEST}.j\""), false),
            ("\"x\"".to_owned(), false),
            (format!("\"r{DIGEST}.j\""), false),
        ] {
            let conditions = conditions(header::IF_MATCH, &value);
            assert_eq!(
                conditions.check_write(Some(&tag())).is_ok(),
                expected,
                "{value}"
            );
        }
        assert!(conditions(header::IF_MATCH, "*").check_write(None).is_err());
        assert!(
            conditions(header::IF_NONE_MATCH, "*")
                .check_write(Some(&tag()))
                .is_err()
        );
        assert!(
            conditions(header::IF_NONE_MATCH, "*")
                .check_write(None)
                .is_ok()
        );
    }

    #[test]
    fn a_malformed_condition_is_refused_rather_than_ignored() {
        for value in ["abc", "\"abc", "\"a\" \"b\"", "W/abc"] {
            let mut headers = HeaderMap::new();
            headers.insert(header::IF_MATCH, HeaderValue::from_str(value).unwrap());
            assert!(Preconditions::of(&headers).is_err(), "{value}");
        }
    }

    #[test]
    fn the_tag_of_an_answer_with_related_records_never_matches_a_record() {
        let mixed = EntityTag::of_body(b"{}", Format::Json);
        let text = mixed.header().unwrap();
        assert!(text.to_str().unwrap().starts_with("\"r"));
    }
}
