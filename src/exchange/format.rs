//! The formats in which documents and rows are written, and the choice between them.

use bytes::{Bytes, BytesMut};
use http::HeaderValue;
use http::header::ACCEPT;
use indexmap::IndexMap;
use serde::Serialize;
use serde_json::value::RawValue;

use super::write::{MAX_XML_DEPTH, csv_field, json_on_one_line, xml_indent, xml_name, xml_text};
use super::{Query, RequestHead};
use crate::error::{Error, ErrorKind, Result};

/// A format for documents and rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// `application/json`
    Json,
    /// `application/x-ndjson`: one JSON object a line, no wrapper.
    NdJson,
    /// `text/csv` (RFC 4180), header line first.
    Csv,
    /// `application/xml`, root element `dfapi`.
    Xml,
}

impl Format {
    /// Every format, the preferred one first.
    pub const ALL: &'static [Self] = &[Self::Json, Self::NdJson, Self::Csv, Self::Xml];

    /// The value of `Content-Type`.
    pub const fn content_type(self) -> HeaderValue {
        match self {
            Self::Json => HeaderValue::from_static("application/json; charset=utf-8"),
            Self::NdJson => HeaderValue::from_static("application/x-ndjson; charset=utf-8"),
            Self::Csv => HeaderValue::from_static("text/csv; charset=utf-8"),
            Self::Xml => HeaderValue::from_static("application/xml; charset=utf-8"),
        }
    }

    /// The media types under which a caller may ask for it; the answer always bears the first.
    pub const fn media_types(self) -> &'static [&'static str] {
        match self {
            Self::Json => &["application/json", "text/plain"],
            Self::NdJson => &[
                "application/x-ndjson",
                "application/ndjson",
                "application/jsonl",
            ],
            Self::Csv => &["text/csv"],
            Self::Xml => &["application/xml", "text/xml"],
        }
    }

    /// The media type of the answer.
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::NdJson => "application/x-ndjson",
            Self::Csv => "text/csv",
            Self::Xml => "application/xml",
        }
    }

    /// What the names of its files end with, without the dot.
    pub const fn extension(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::NdJson => "ndjson",
            Self::Csv => "csv",
            Self::Xml => "xml",
        }
    }

    /// Writes a small document. See [`Format::write_json`].
    pub fn write_document(self, document: &(impl Serialize + ?Sized)) -> Result<Bytes> {
        let text = serde_json::to_string(document).map_err(|error| {
            Error::internal("a document cannot be written as JSON").with_source(error)
        })?;
        if self == Self::Json {
            return Ok(Bytes::from(text));
        }
        self.write_json(&text)
    }

    /// Writes a document that is JSON text in this format; numbers keep their digits.
    ///
    /// * JSON: the text as it is.
    /// * NDJSON: each row on a line of its own. Rows are the elements of `resource`, or of the document if it is an
    ///   array; otherwise the document itself is the only row.
    /// * CSV: the rows under a header line with the names of all members of all rows, as they first appear. An `error`
    ///   object is the only row of a document that has no `resource`. Rows that are no objects stand under `value`;
    ///   nested values are JSON text, null is nothing, empty text is `""`. `meta` is lost.
    /// * XML: root element `dfapi`, tabs, one element a member. An array becomes repeated elements (those of an array
    ///   within an array, and of one that is the document, are called `item` and `resource`); null is an empty element.
    ///
    /// Text that is not JSON is an internal error.
    pub fn write_json(self, text: &str) -> Result<Bytes> {
        let mut out = BytesMut::with_capacity(text.len());
        match self {
            Self::Json => out.extend_from_slice(text.as_bytes()),
            Self::NdJson => match Rows::of(text)? {
                Rows::Many(rows) => {
                    for row in rows {
                        json_on_one_line(&mut out, row.get());
                        out.extend_from_slice(b"\n");
                    }
                }
                Rows::Error(_) | Rows::Itself => {
                    json_on_one_line(&mut out, text.trim_ascii());
                    out.extend_from_slice(b"\n");
                }
            },
            Self::Csv => match Rows::of(text)? {
                Rows::Many(rows) => write_csv(&mut out, rows.iter().map(|row| row.get()))?,
                Rows::Error(row) => write_csv(&mut out, std::iter::once(row.get()))?,
                Rows::Itself => write_csv(&mut out, std::iter::once(text.trim_ascii()))?,
            },
            Self::Xml => write_xml(&mut out, text.trim_ascii())?,
        }
        Ok(out.freeze())
    }
}

fn not_json(error: serde_json::Error) -> Error {
    Error::internal("a document is not valid JSON").with_source(error)
}

/// Members of an object, each still a text, so that numbers keep their digits.
type Members<'a> = IndexMap<String, &'a RawValue>;

/// What a format of rows makes of a document.
enum Rows<'a> {
    Many(Vec<&'a RawValue>),
    Error(&'a RawValue),
    Itself,
}

impl<'a> Rows<'a> {
    fn of(text: &'a str) -> Result<Self> {
        Ok(match text.trim_ascii_start().as_bytes().first() {
            Some(b'[') => Self::Many(serde_json::from_str(text).map_err(not_json)?),
            Some(b'{') => {
                let members: Members<'a> = serde_json::from_str(text).map_err(not_json)?;
                match (members.get("resource"), members.get("error")) {
                    (Some(resource), _) if resource.get().starts_with('[') => {
                        Self::Many(serde_json::from_str(resource.get()).map_err(not_json)?)
                    }
                    (Some(resource), _) => Self::Many(vec![resource]),
                    (None, Some(error)) => Self::Error(error),
                    (None, None) => Self::Itself,
                }
            }
            _ => Self::Itself,
        })
    }
}

fn write_csv<'a>(out: &mut BytesMut, rows: impl Iterator<Item = &'a str>) -> Result<()> {
    let mut header: IndexMap<String, ()> = IndexMap::new();
    let mut records: Vec<Members<'a>> = Vec::new();
    for row in rows {
        let record: Members<'a> = if row.starts_with('{') {
            serde_json::from_str(row).map_err(not_json)?
        } else {
            let value = serde_json::from_str(row).map_err(not_json)?;
            IndexMap::from([("value".to_owned(), value)])
        };
        for name in record.keys() {
            if !header.contains_key(name) {
                header.insert(name.clone(), ());
            }
        }
        records.push(record);
    }
    if header.is_empty() {
        return Ok(());
    }
    write_line(out, header.len(), header.keys(), |out, name| {
        csv_field(out, name);
        Ok(())
    })?;
    for record in &records {
        write_line(out, header.len(), header.keys(), |out, name| {
            match record.get(name) {
                Some(value) => write_csv_json(out, value.get()),
                None => Ok(()),
            }
        })?;
    }
    Ok(())
}

fn write_line<'n>(
    out: &mut BytesMut,
    columns: usize,
    names: impl Iterator<Item = &'n String>,
    mut field: impl FnMut(&mut BytesMut, &str) -> Result<()>,
) -> Result<()> {
    let start = out.len();
    for (index, name) in names.enumerate() {
        if index > 0 {
            out.extend_from_slice(b",");
        }
        field(out, name)?;
    }
    if columns == 1 && out.len() == start {
        // A line without any character would be taken for no line at all.
        out.extend_from_slice(b"\"\"");
    }
    out.extend_from_slice(b"\r\n");
    Ok(())
}

/// Appends a JSON value as a field: text without its quotation marks, null as nothing, anything nested as JSON.
/// Text that is not JSON is an internal error.
pub fn write_csv_json(out: &mut BytesMut, json: &str) -> Result<()> {
    if json.starts_with('"') {
        let text: String = serde_json::from_str(json).map_err(not_json)?;
        csv_field(out, &text);
    } else if json != "null" {
        csv_field(out, json);
    }
    Ok(())
}

/// How every XML answer begins.
pub const XML_START: &[u8] = b"<?xml version=\"1.0\" ?>\n<dfapi>\n";
/// How every XML answer ends.
pub const XML_END: &[u8] = b"</dfapi>\n";

fn write_xml(out: &mut BytesMut, text: &str) -> Result<()> {
    match text.as_bytes().first() {
        Some(b'{') => {
            out.extend_from_slice(XML_START);
            let members: Members<'_> = serde_json::from_str(text).map_err(not_json)?;
            for (name, value) in members {
                write_xml_element(out, &name, value.get(), 1)?;
            }
            out.extend_from_slice(XML_END);
        }
        Some(b'[') => {
            out.extend_from_slice(XML_START);
            write_xml_element(out, "resource", text, 1)?;
            out.extend_from_slice(XML_END);
        }
        _ => {
            out.extend_from_slice(XML_START.trim_ascii_end());
            write_xml_scalar(out, text)?;
            out.extend_from_slice(XML_END);
        }
    }
    Ok(())
}

/// Appends a JSON value as an element, or as one element for each value of an array; `depth` tabs stand before it.
/// Below [`MAX_XML_DEPTH`] nested values become JSON text. Text that is not JSON is an internal error.
pub fn write_xml_element(out: &mut BytesMut, name: &str, json: &str, depth: usize) -> Result<()> {
    let first = json.as_bytes().first();
    if first == Some(&b'[') && depth < MAX_XML_DEPTH {
        let values: Vec<&RawValue> = serde_json::from_str(json).map_err(not_json)?;
        for value in values {
            if value.get().starts_with('[') {
                open(out, name, depth);
                out.extend_from_slice(b"\n");
                write_xml_element(out, "item", value.get(), depth + 1)?;
                xml_indent(out, depth);
                close(out, name);
            } else {
                write_xml_element(out, name, value.get(), depth)?;
            }
        }
        return Ok(());
    }
    if json == "null" {
        xml_indent(out, depth);
        out.extend_from_slice(b"<");
        xml_name(out, name);
        out.extend_from_slice(b"/>\n");
        return Ok(());
    }
    open(out, name, depth);
    if first == Some(&b'{') && depth < MAX_XML_DEPTH {
        let members: Members<'_> = serde_json::from_str(json).map_err(not_json)?;
        out.extend_from_slice(b"\n");
        for (member, value) in members {
            write_xml_element(out, &member, value.get(), depth + 1)?;
        }
        xml_indent(out, depth);
    } else {
        write_xml_scalar(out, json)?;
    }
    close(out, name);
    Ok(())
}

fn open(out: &mut BytesMut, name: &str, depth: usize) {
    xml_indent(out, depth);
    out.extend_from_slice(b"<");
    xml_name(out, name);
    out.extend_from_slice(b">");
}

fn close(out: &mut BytesMut, name: &str) {
    out.extend_from_slice(b"</");
    xml_name(out, name);
    out.extend_from_slice(b">\n");
}

fn write_xml_scalar(out: &mut BytesMut, json: &str) -> Result<()> {
    if json.starts_with('"') {
        let text: String = serde_json::from_str(json).map_err(not_json)?;
        xml_text(out, &text);
    } else if json != "null" {
        xml_text(out, json);
    }
    Ok(())
}

/// Chooses the format of the answer among those offered, the preferred one first (RFC 9110 section 12.5.1).
///
/// The query option `accept` goes before the header. Without either, or with nothing in the header that can be read,
/// it is the first one offered. The highest weight wins, then the more specific media range, then the order of the
/// offer; weight 0 excludes. Wildcards stand for the media type that the answer would bear, not for the other names of
/// its format. Parameters such as `charset` do not count.
///
/// Parts of the header that cannot be read are passed over, because widespread clients send some: a lone `*` means
/// `*/*` and `q=.2` means `q=0.2`. Errors: 406 when nothing offered is acceptable, 400 when the option is no media
/// range.
pub fn negotiate(head: &RequestHead, query: &Query, offered: &[Format]) -> Result<Format> {
    let mut ranges = Vec::new();
    if let Some(option) = query.get("accept") {
        read_ranges(option, &mut ranges);
        if ranges.is_empty() {
            return Err(Error::new(
                ErrorKind::InvalidParameter,
                "the option 'accept' is not a media type",
            )
            .with_help(available(offered)));
        }
    } else {
        for value in head.headers.get_all(ACCEPT) {
            if let Ok(text) = value.to_str() {
                read_ranges(text, &mut ranges);
            }
        }
    }
    if ranges.is_empty() {
        return offered
            .first()
            .copied()
            .ok_or_else(|| Error::internal("no format was offered"));
    }
    let mut best: Option<(Weight, Format)> = None;
    for format in offered {
        if let Some(weight) = weigh(*format, &ranges)
            && weight.thousandths > 0
            && best.is_none_or(|(highest, _)| weight > highest)
        {
            best = Some((weight, *format));
        }
    }
    best.map(|(_, format)| format).ok_or_else(|| {
        Error::new(
            ErrorKind::NotAcceptable,
            "none of the media types asked for can be produced",
        )
        .with_help(available(offered))
    })
}

fn available(offered: &[Format]) -> String {
    let names: Vec<&str> = offered.iter().map(|format| format.media_type()).collect();
    format!("this resource can be had as {}", names.join(", "))
}

/// How much a format is wanted. Compares by weight first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Weight {
    thousandths: u16,
    specificity: Specificity,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Specificity {
    Anything,
    Type,
    Exact,
}

/// One element of `Accept`, in lower case.
struct MediaRange {
    main: String,
    sub: String,
    thousandths: u16,
}

/// The weight that the most specific range gives to a format; none if no range speaks of it.
fn weigh(format: Format, ranges: &[MediaRange]) -> Option<Weight> {
    let (main, _) = format.media_type().split_once('/')?;
    ranges
        .iter()
        .filter_map(|range| {
            let specificity = if range.main == "*" {
                Specificity::Anything
            } else if range.sub == "*" {
                (range.main == main).then_some(Specificity::Type)?
            } else {
                format
                    .media_types()
                    .iter()
                    .any(|name| name.split_once('/') == Some((&range.main, &range.sub)))
                    .then_some(Specificity::Exact)?
            };
            Some(Weight {
                thousandths: range.thousandths,
                specificity,
            })
        })
        .max_by_key(|weight| (weight.specificity, weight.thousandths))
}

/// Appends the ranges of an `Accept` value that can be read.
fn read_ranges(text: &str, ranges: &mut Vec<MediaRange>) {
    for element in split_unquoted(text, ',') {
        let mut pieces = split_unquoted(element, ';');
        let name = pieces
            .next()
            .unwrap_or_default()
            .trim()
            .to_ascii_lowercase();
        let (main, sub) = match name.split_once('/') {
            Some((main, sub)) => (main, sub),
            None if name == "*" => ("*", "*"),
            None => continue,
        };
        if !is_token(main) || !is_token(sub) || (main == "*" && sub != "*") {
            continue;
        }
        let thousandths = pieces
            .filter_map(|piece| piece.split_once('='))
            .find(|(name, _)| name.trim().eq_ignore_ascii_case("q"))
            .map_or(Some(1_000), |(_, weight)| read_weight(weight.trim()));
        if let Some(thousandths) = thousandths {
            ranges.push(MediaRange {
                main: main.to_owned(),
                sub: sub.to_owned(),
                thousandths,
            });
        }
    }
}

/// Reads a weight (RFC 9110 section 12.4.2) in thousandths; the zero before the point may be missing.
pub(super) fn read_weight(text: &str) -> Option<u16> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if fraction.len() > 3
        || !fraction.bytes().all(|byte| byte.is_ascii_digit())
        || (whole.is_empty() && fraction.is_empty())
    {
        return None;
    }
    let fraction: u16 = format!("{fraction:0<3}").parse().ok()?;
    match whole {
        "" | "0" => Some(fraction),
        "1" if fraction == 0 => Some(1_000),
        _ => None,
    }
}

/// Splits a header value at a separator that does not stand in a quoted string (RFC 9110 section 5.6.4).
fn split_unquoted(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let mut is_quoted = false;
    let mut is_escaped = false;
    text.split(move |character: char| {
        if is_escaped {
            is_escaped = false;
        } else if is_quoted && character == '\\' {
            is_escaped = true;
        } else if character == '"' {
            is_quoted = !is_quoted;
        } else {
            return !is_quoted && character == separator;
        }
        false
    })
}

fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{IpAddr, Ipv4Addr};

    use http::{HeaderMap, Method, Uri};
    use serde_json::{Value, json};

    fn written(format: Format, document: &Value) -> String {
        String::from_utf8(format.write_document(document).unwrap().to_vec()).unwrap()
    }

    fn chosen(accept: &[&str], option: Option<&str>, offered: &[Format]) -> Result<Format> {
        let mut headers = HeaderMap::new();
        for value in accept {
            headers.append(ACCEPT, HeaderValue::from_str(value).unwrap());
        }
        let head = RequestHead {
            method: Method::GET,
            uri: Uri::from_static("/"),
            headers,
            client: IpAddr::V4(Ipv4Addr::LOCALHOST),
        };
        let query = option.map_or_else(String::new, |option| format!("accept={option}"));
        negotiate(&head, &Query::parse(&query).unwrap(), offered)
    }

    #[test]
    fn the_best_acceptable_format_is_chosen() {
        use Format::{Csv, Json, NdJson, Xml};
        for (accept, expected) in [
            ("*/*", Json),
            ("application/json", Json),
            ("text/plain", Json),
            ("application/x-ndjson", NdJson),
            ("application/ndjson", NdJson),
            ("application/jsonl", NdJson),
            ("TEXT/CSV", Csv),
            ("text/csv; charset=latin1", Csv),
            ("text/csv;header=\"a,b;q=0\"", Csv),
            ("text/xml", Xml),
            ("text/*", Csv),
            ("application/*", Json),
            ("application/xml, application/json;q=0.9", Xml),
            (
                "application/json;q=0.5, text/csv;q=0.8, application/xml;q=0.7",
                Csv,
            ),
            ("application/json;q=0, */*", NdJson),
            ("application/*;q=0, */*;q=0.1", Csv),
            ("text/csv, */*", Csv),
            ("application/json, text/plain, */*", Json),
            ("*/*;q=1, application/json;q=0.1", NdJson),
            ("text/html, image/gif, *; q=.2, */*; q=.2", Json),
            ("nonsense, text/csv", Csv),
            ("nonsense", Json),
            ("", Json),
            ("text/csv;q=7, application/xml;q=0.001", Xml),
        ] {
            assert_eq!(
                chosen(&[accept], None, Format::ALL).unwrap(),
                expected,
                "{accept}"
            );
        }
        assert_eq!(chosen(&[], None, Format::ALL).unwrap(), Json);
        assert_eq!(
            chosen(&["text/html", "text/csv"], None, Format::ALL).unwrap(),
            Csv
        );
    }

    #[test]
    fn the_option_goes_before_the_header() {
        assert_eq!(
            chosen(&["application/json"], Some("text/csv"), Format::ALL).unwrap(),
            Format::Csv
        );
        assert_eq!(
            chosen(&["text/csv"], Some("image/png"), Format::ALL)
                .unwrap_err()
                .kind(),
            ErrorKind::NotAcceptable
        );
        assert_eq!(
            chosen(&[], Some("csv"), Format::ALL).unwrap_err().kind(),
            ErrorKind::InvalidParameter
        );
    }

    #[test]
    fn what_cannot_be_produced_is_406_and_the_help_says_what_can() {
        for accept in ["image/png", "text/html;q=1", "*/*;q=0", "text/csv"] {
            let error = chosen(&[accept], None, &[Format::Json, Format::Xml]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::NotAcceptable, "{accept}");
            assert_eq!(
                error.help(),
                Some("this resource can be had as application/json, application/xml")
            );
        }
    }

    #[test]
    fn lists_are_written_in_every_format() {
        let document = json!({
            "resource": [
                {"id": 1, "name": "Ann, \"the\" first", "tags": ["a", "b"], "active": true},
                {"id": 2, "name": null, "more": {"x": 1}, "active": false},
            ],
            "meta": {"count": 2},
        });
        assert_eq!(written(Format::Json, &document), document.to_string());
        assert_eq!(
            written(Format::NdJson, &document),
            concat!(
                r#"{"id":1,"name":"Ann, \"the\" first","tags":["a","b"],"active":true}"#,
                "\n",
                r#"{"id":2,"name":null,"more":{"x":1},"active":false}"#,
                "\n"
            )
        );
        assert_eq!(
            written(Format::Csv, &document),
            concat!(
                "id,name,tags,active,more\r\n",
                "1,\"Ann, \"\"the\"\" first\",\"[\"\"a\"\",\"\"b\"\"]\",true,\r\n",
                "2,,,false,\"{\"\"x\"\":1}\"\r\n",
            )
        );
        assert_eq!(
            written(Format::Xml, &document),
            "<?xml version=\"1.0\" ?>\n<dfapi>\n\
             \t<resource>\n\
             \t\t<id>1</id>\n\
             \t\t<name>Ann, &quot;the&quot; first</name>\n\
             \t\t<tags>a</tags>\n\
             \t\t<tags>b</tags>\n\
             \t\t<active>true</active>\n\
             \t</resource>\n\
             \t<resource>\n\
             \t\t<id>2</id>\n\
             \t\t<name/>\n\
             \t\t<more>\n\
             \t\t\t<x>1</x>\n\
             \t\t</more>\n\
             \t\t<active>false</active>\n\
             \t</resource>\n\
             \t<meta>\n\
             \t\t<count>2</count>\n\
             \t</meta>\n\
             </dfapi>\n"
        );
    }

    #[test]
    fn documents_of_other_shapes_are_written_too() {
        for (document, csv, xml) in [
            (json!(42), "value\r\n42\r\n", "<dfapi>42</dfapi>\n"),
            (json!({"resource": []}), "", "<dfapi>\n</dfapi>\n"),
            (
                json!({"resource": ["a", "b"]}),
                "value\r\na\r\nb\r\n",
                "<dfapi>\n\t<resource>a</resource>\n\t<resource>b</resource>\n</dfapi>\n",
            ),
            (
                json!({"error": {"code": 404, "context": null}}),
                "code,context\r\n404,\r\n",
                "<dfapi>\n\t<error>\n\t\t<code>404</code>\n\t\t<context/>\n\t</error>\n</dfapi>\n",
            ),
            (
                json!([[1, [2]]]),
                "value\r\n\"[1,[2]]\"\r\n",
                "<dfapi>\n\t<resource>\n\t\t<item>1</item>\n\t\t<item>\n\t\t\t<item>2</item>\n\t\t</item>\n\
                 \t</resource>\n</dfapi>\n",
            ),
            (
                json!([{"a": null}, {"a": ""}]),
                "a\r\n\"\"\r\n\"\"\r\n",
                "<dfapi>\n\t<resource>\n\t\t<a/>\n\t</resource>\n\t<resource>\n\t\t<a></a>\n\t</resource>\n\
                 </dfapi>\n",
            ),
        ] {
            assert_eq!(written(Format::Csv, &document), csv);
            assert_eq!(
                written(Format::Xml, &document),
                format!("<?xml version=\"1.0\" ?>\n{xml}")
            );
        }
    }

    #[test]
    fn numbers_keep_their_digits_in_every_format() {
        let text = r#"{"resource":[{"price":12345678901234567890.10}]}"#;
        for format in Format::ALL {
            let bytes = format.write_json(text).unwrap();
            let out = std::str::from_utf8(&bytes).unwrap();
            assert!(out.contains("12345678901234567890.10"), "{out}");
        }
    }

    #[test]
    fn deep_nesting_ends_in_text_and_not_in_a_crash() {
        let text = format!("{{\"a\":{}1{}}}", "[".repeat(100), "]".repeat(100));
        let xml = Format::Xml.write_json(&text).unwrap();
        let xml = std::str::from_utf8(&xml).unwrap();
        assert!(xml.contains("<item>[[["), "{xml}");
        let objects = format!("{}1{}", "{\"a\":".repeat(100), "}".repeat(100));
        assert!(Format::Xml.write_json(&objects).is_ok());
        let hostile = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
        let _ = Format::Xml.write_json(&hostile);
    }

    proptest::proptest! {
        #[test]
        fn any_accept_header_gives_an_offered_format_or_406(
            accept in "[\\x20-\\x7e]{0,60}|([a-z*]{1,5}/[a-z*]{1,5}(;q=[0-9.]{0,5})?, ?){0,4}",
        ) {
            match chosen(&[&accept], None, &[Format::Csv, Format::Xml]) {
                Ok(format) => proptest::prop_assert!(format == Format::Csv || format == Format::Xml),
                Err(error) => proptest::prop_assert_eq!(error.kind(), ErrorKind::NotAcceptable),
            }
        }

        #[test]
        fn any_json_is_written_in_every_format(
            names in proptest::collection::vec(proptest::prelude::any::<String>(), 1..4),
            text in proptest::prelude::any::<String>(),
        ) {
            let record: Value = names.iter().map(|name| (name.clone(), json!(text))).collect();
            for document in [json!({"resource": [record, [record]]}), record, json!([text])] {
                for format in Format::ALL {
                    proptest::prop_assert!(format.write_document(&document).is_ok());
                }
                let lines = written(Format::NdJson, &document);
                for line in lines.lines() {
                    proptest::prop_assert!(serde_json::from_str::<Value>(line).is_ok(), "{}", line);
                }
                let xml = written(Format::Xml, &document);
                proptest::prop_assert!(
                    xml.chars().all(|character| character >= ' ' || "\t\n\r".contains(character))
                );
                proptest::prop_assert_eq!(xml.matches('<').count(), xml.matches('>').count());
            }
        }
    }
}
