//! Results offered as files (RFC 6266). Pure.

use http::HeaderValue;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::request::Download;
use crate::error::{Error, Result};
use crate::exchange::Format;

/// Longest file name that is offered, in characters.
const MAX_NAME_LENGTH: usize = 120;

/// What may stand unescaped in an extended parameter (RFC 8187 section 3.2.1, `attr-char`).
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'!')
    .remove(b'#')
    .remove(b'$')
    .remove(b'&')
    .remove(b'+')
    .remove(b'-')
    .remove(b'.')
    .remove(b'^')
    .remove(b'_')
    .remove(b'`')
    .remove(b'|')
    .remove(b'~');

/// The format that a file name asks for by its ending.
pub(super) fn format_of(download: &Download) -> Option<Format> {
    let Download::Named(name) = download else {
        return None;
    };
    let (_, extension) = name.rsplit_once('.')?;
    match extension.to_ascii_lowercase().as_str() {
        "json" => Some(Format::Json),
        "ndjson" | "jsonl" => Some(Format::NdJson),
        "csv" => Some(Format::Csv),
        "xml" => Some(Format::Xml),
        _ => None,
    }
}

/// The value of `Content-Disposition`. A file without a name of its own is named after the table.
pub(super) fn disposition(download: &Download, table: &str, format: Format) -> Result<HeaderValue> {
    let name = match download {
        Download::Named(name) => sanitised(name),
        Download::Unnamed => format!("{}.{}", sanitised(table), format.extension()),
    };
    let plain: String = name
        .chars()
        .map(|character| match character {
            ' '..='~' => character,
            _ => '_',
        })
        .collect();
    let mut text = format!("attachment; filename=\"{plain}\"");
    if plain != name {
        text.push_str("; filename*=UTF-8''");
        text.extend(utf8_percent_encode(&name, ESCAPED));
    }
    HeaderValue::from_str(&text)
        .map_err(|error| Error::internal("a file name is not a header value").with_source(error))
}

/// A name without folders, control characters, quotes and what shells or file systems take amiss.
fn sanitised(name: &str) -> String {
    let last = name
        .rsplit(['/', '\\'])
        .find(|part| !part.is_empty())
        .unwrap_or_default();
    let clean: String = last
        .chars()
        .filter(|character| !character.is_control())
        .map(|character| match character {
            '"' | '%' | ':' | '*' | '?' | '<' | '>' | '|' | ';' => '_',
            other => other,
        })
        .take(MAX_NAME_LENGTH)
        .collect();
    let clean = clean.trim_matches(['.', ' ']).to_owned();
    if clean.is_empty() {
        "records".to_owned()
    } else {
        clean
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str) -> String {
        let download = Download::Named(name.to_owned());
        disposition(&download, "t", Format::Json)
            .unwrap()
            .to_str()
            .unwrap()
            .to_owned()
    }

    #[test]
    fn names_become_safe_and_keep_their_letters() {
        for (name, expected) in [
            ("customers.csv", "attachment; filename=\"customers.csv\""),
            (
                "../../etc/passwd.csv",
                "attachment; filename=\"passwd.csv\"",
            ),
            ("a\r\nX: 1\".csv", "attachment; filename=\"aX_ 1_.csv\""),
            (
                "añb.csv",
                "attachment; filename=\"a_b.csv\"; filename*=UTF-8''a%C3%B1b.csv",
            ),
            ("..", "attachment; filename=\"records\""),
        ] {
            assert_eq!(named(name), expected, "{name:?}");
        }
        assert_eq!(
            disposition(&Download::Unnamed, "a/b", Format::Csv).unwrap(),
            "attachment; filename=\"b.csv\""
        );
    }

    #[test]
    fn the_ending_picks_the_format() {
        for (name, expected) in [
            ("a.csv", Some(Format::Csv)),
            ("a.XML", Some(Format::Xml)),
            ("a.ndjson", Some(Format::NdJson)),
            ("a.b.json", Some(Format::Json)),
            ("a.txt", None),
            ("a", None),
        ] {
            assert_eq!(format_of(&Download::Named(name.into())), expected, "{name}");
        }
        assert_eq!(format_of(&Download::Unnamed), None);
    }
}
