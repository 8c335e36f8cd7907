//! Bodies with records: JSON, NDJSON and CSV. Pure. Values stay texts, so that numbers keep their digits.

use std::borrow::Cow;
use std::fmt;

use indexmap::IndexMap;
use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::list::MAX_FIELDS;
use super::{Record, RecordsBody};
use crate::error::{Error, ErrorKind, Result, brief};

/// Most records in one body.
pub const MAX_RECORDS: usize = 10_000;

/// Most arrays and objects within one another in a body.
pub const MAX_BODY_DEPTH: usize = 64;

/// The member that wraps records.
const WRAPPER: &str = "resource";

/// What a call can do with its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// A call on a collection: records in `resource` with options beside it, or an array of records.
    Collection,
    /// The same with a tunnelled verb (`X-HTTP-Method`): an object without `resource` holds options alone.
    Tunnelled,
    /// A call on one record: the object is the record, whatever its members are called.
    Record,
}

/// Options that stood in a body beside `resource`, as JSON texts.
#[derive(Clone, Debug, Default)]
pub struct BodyOptions(IndexMap<String, Box<RawValue>>);

impl BodyOptions {
    /// Names and values, in the order in which they were sent.
    pub fn members(&self) -> impl Iterator<Item = (&str, &RawValue)> {
        self.0
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_ref()))
    }
}

/// The error for a write without records.
pub fn no_records() -> Error {
    Error::new(
        ErrorKind::InvalidBody,
        "no record(s) detected in request: make sure record(s) are wrapped in a 'resource' member",
    )
    .with_help(r#"send {"resource":[{"record":1},{"record":2}]}"#)
}

/// Reads the records of a body, and the options beside them. No bytes are no records.
///
/// Without a media type the body is taken for JSON. In CSV the first line names the columns; an empty value is
/// null, all others are texts, which their columns convert.
///
/// Errors: 415 for other media types; 400 for what cannot be parsed (with line and column), a member or a column
/// that occurs twice, a NUL, text that is not UTF-8, more than [`MAX_RECORDS`] or [`MAX_BODY_DEPTH`], and an object
/// without `resource` where records of a collection are expected.
pub fn parse_body(
    content_type: Option<&str>,
    bytes: &[u8],
    expect: Expect,
) -> Result<(RecordsBody, Option<BodyOptions>)> {
    if bytes.is_empty() {
        return Ok((RecordsBody::default(), None));
    }
    let syntax = Syntax::of(content_type)?;
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let before = bytes.get(..error.valid_up_to()).unwrap_or_default();
        malformed("text", "it is not valid UTF-8", place(before)).with_source(error)
    })?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if text.trim().is_empty() {
        return Ok((RecordsBody::default(), None));
    }
    let (records, options) = match syntax {
        Syntax::Json => json(text, expect)?,
        Syntax::NdJson => (ndjson(text)?, None),
        Syntax::Csv => (csv(text)?, None),
    };
    if expect == Expect::Record && records.len() > 1 {
        return Err(Error::new(
            ErrorKind::InvalidBody,
            "the body has several records, but the path names one",
        ));
    }
    let body = RecordsBody {
        is_bare: expect == Expect::Record && !records.is_empty(),
        records,
    };
    Ok((body, options))
}

enum Syntax {
    Json,
    NdJson,
    Csv,
}

impl Syntax {
    fn of(content_type: Option<&str>) -> Result<Self> {
        let Some(content_type) = content_type else {
            return Ok(Self::Json);
        };
        let mut parts = content_type.split(';').map(str::trim);
        let media_type = parts.next().unwrap_or_default().to_ascii_lowercase();
        let charset = parts
            .filter_map(|parameter| parameter.split_once('='))
            .find(|(name, _)| name.trim().eq_ignore_ascii_case("charset"))
            .map(|(_, charset)| charset.trim().trim_matches('"').to_ascii_lowercase());
        let refused = |what: String| {
            Err(Error::new(ErrorKind::UnsupportedMediaType, what).with_help(
                "send application/json, application/x-ndjson or text/csv, in UTF-8, and say so in Content-Type",
            ))
        };
        if let Some(charset) = charset
            && !matches!(charset.as_str(), "utf-8" | "utf8" | "us-ascii")
        {
            return refused(format!(
                "a body in the character set `{}` cannot be read",
                brief(&charset)
            ));
        }
        match media_type.as_str() {
            "" | "application/json" | "text/json" | "text/plain" => Ok(Self::Json),
            "application/x-ndjson"
            | "application/ndjson"
            | "application/jsonl"
            | "application/x-jsonlines" => Ok(Self::NdJson),
            "text/csv" | "application/csv" => Ok(Self::Csv),
            other if other.starts_with("application/") && other.ends_with("+json") => {
                Ok(Self::Json)
            }
            other => refused(format!(
                "a body of the media type `{}` cannot be read",
                brief(other)
            )),
        }
    }
}

/// How the records of a bulk import are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BulkSyntax {
    /// The first record names the columns.
    Csv,
    /// One object on each line.
    NdJson,
}

/// The syntax of a bulk import's body; 415 for any other than CSV and NDJSON.
pub fn bulk_syntax(content_type: Option<&str>) -> Result<BulkSyntax> {
    match Syntax::of(content_type)? {
        Syntax::Csv => Ok(BulkSyntax::Csv),
        Syntax::NdJson => Ok(BulkSyntax::NdJson),
        Syntax::Json => Err(Error::new(
            ErrorKind::UnsupportedMediaType,
            "a bulk import takes CSV or NDJSON",
        )
        .with_help(
            "send text/csv or application/x-ndjson and say so in Content-Type, or leave out `bulk`",
        )),
    }
}

/// Checks the names in the first record of a CSV.
pub(in super::super) fn bulk_header<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<()> {
    let mut seen: Vec<&str> = Vec::new();
    for name in names {
        if name.is_empty() {
            let number = seen.len().saturating_add(1);
            return Err(Error::new(
                ErrorKind::InvalidBody,
                format!("column {number} of the CSV has no name"),
            ));
        }
        if seen.contains(&name) {
            return Err(Error::new(
                ErrorKind::InvalidBody,
                format!("the CSV has two columns `{}`", brief(name)),
            ));
        }
        if seen.len() == MAX_FIELDS {
            return Err(Error::new(
                ErrorKind::InvalidBody,
                format!("the CSV has more than {MAX_FIELDS} columns"),
            ));
        }
        seen.push(name);
    }
    Ok(())
}

/// The members of one line of NDJSON, in their order; `number` is that of the line.
pub(in super::super) fn bulk_members(text: &str, number: usize) -> Result<Members<'_>> {
    refuse_hazards(text, number)?;
    read(text, MembersSeed).map_err(|error| malformed_json(error, number))
}

/// Members of an object whose values stay as they were written.
pub(in super::super) type Members<'a> = Vec<(Cow<'a, str>, &'a RawValue)>;

struct MembersSeed;

impl<'de> DeserializeSeed<'de> for MembersSeed {
    type Value = Members<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for MembersSeed {
    type Value = Members<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a record, which is an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members: Members<'de> = Vec::new();
        while let Some(name) = map.next_key_seed(NameSeed)? {
            if members.len() == MAX_FIELDS {
                return Err(A::Error::custom(format!(
                    "a record has more than {MAX_FIELDS} members"
                )));
            }
            if members.iter().any(|(known, _)| *known == name) {
                return Err(twice(&name));
            }
            members.push((name, map.next_value()?));
        }
        Ok(members)
    }
}

/// A name that is borrowed where nothing in it is escaped.
struct NameSeed;

impl<'de> DeserializeSeed<'de> for NameSeed {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for NameSeed {
    type Value = Cow<'de, str>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a name")
    }

    fn visit_borrowed_str<E>(self, name: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(name))
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(name.to_owned()))
    }
}

/// Line and column behind some text; both begin with 1, the column counts bytes.
fn place(before: &[u8]) -> (usize, usize) {
    let line = memchr::memchr_iter(b'\n', before).count().saturating_add(1);
    let column = memchr::memrchr(b'\n', before)
        .map_or(before.len(), |newline| before.len() - newline - 1)
        .saturating_add(1);
    (line, column)
}

fn malformed(syntax: &str, what: &str, (line, column): (usize, usize)) -> Error {
    Error::new(
        ErrorKind::InvalidBody,
        format!("the body is not valid {syntax} at line {line}, column {column}: {what}"),
    )
}

/// An error of the JSON parser; lines are counted from `first_line`.
fn malformed_json(error: serde_json::Error, first_line: usize) -> Error {
    let words = error.to_string();
    let what = match words.rfind(" at line ") {
        Some(end) => words.get(..end).unwrap_or_default(),
        None => words.as_str(),
    };
    let line = error.line().saturating_sub(1).saturating_add(first_line);
    malformed("JSON", what, (line, error.column())).with_source(error)
}

fn json(text: &str, expect: Expect) -> Result<(Vec<Record>, Option<BodyOptions>)> {
    refuse_hazards(text, 1)?;
    match read(text, DocumentSeed(expect)).map_err(|error| malformed_json(error, 1))? {
        Document::Records(records) => Ok((records, None)),
        Document::Wrapped(records, options) => Ok((records, some_options(options))),
        Document::Bare(record) => match expect {
            Expect::Record => Ok((vec![record], None)),
            Expect::Tunnelled => Ok((Vec::new(), some_options(record))),
            Expect::Collection => Err(no_records()),
        },
    }
}

/// The members of an object within a body that was read; none twice. `None` for what is no object.
pub fn parse_object(value: &RawValue) -> Option<Record> {
    value
        .get()
        .starts_with('{')
        .then(|| read(value.get(), RecordSeed).ok())
        .flatten()
}

/// Answers are sent back as they came: their `meta` is no option.
fn some_options(mut members: Record) -> Option<BodyOptions> {
    members.shift_remove("meta");
    (!members.is_empty()).then_some(BodyOptions(members))
}

fn ndjson(text: &str) -> Result<Vec<Record>> {
    let mut records = Vec::new();
    for (index, line) in text.lines().enumerate() {
        if line.trim().is_empty() {
            continue;
        }
        if records.len() == MAX_RECORDS {
            return Err(too_many());
        }
        let number = index.saturating_add(1);
        refuse_hazards(line, number)?;
        records.push(read(line, RecordSeed).map_err(|error| malformed_json(error, number))?);
    }
    Ok(records)
}

fn too_many() -> Error {
    Error::new(ErrorKind::InvalidBody, too_many_text())
        .with_help("send the records in several requests")
}

fn too_many_text() -> String {
    format!("the body has more than {MAX_RECORDS} records")
}

fn csv(text: &str) -> Result<Vec<Record>> {
    let mut reader = ::csv::ReaderBuilder::new()
        .has_headers(true)
        .from_reader(text.as_bytes());
    let broken = |error: ::csv::Error| {
        let line = error.position().map_or(0, ::csv::Position::line);
        let what = match error.kind() {
            ::csv::ErrorKind::UnequalLengths {
                expected_len, len, ..
            } => format!("the record has {len} values, but there are {expected_len} columns"),
            _ => "it cannot be read".to_owned(),
        };
        Error::new(
            ErrorKind::InvalidBody,
            format!("the body is not valid CSV at line {line}: {what}"),
        )
        .with_source(error)
    };
    if text.contains('\0') {
        return Err(nul());
    }
    // Quotes come in pairs, those within quoted values doubled (RFC 4180 section 2). The reader would take a body that
    // was cut within a quoted value for a whole one.
    if memchr::memchr_iter(b'"', text.as_bytes()).count() % 2 == 1 {
        return Err(Error::new(
            ErrorKind::InvalidBody,
            "the body is not valid CSV: a quoted value is never closed",
        )
        .with_help("close the quote, and double each quote within a quoted value"));
    }
    let names = reader.headers().map_err(broken)?.clone();
    if names.len() > MAX_FIELDS {
        return Err(Error::new(
            ErrorKind::InvalidBody,
            format!("the CSV has more than {MAX_FIELDS} columns"),
        ));
    }
    for (index, name) in names.iter().enumerate() {
        if name.is_empty() {
            return Err(Error::new(
                ErrorKind::InvalidBody,
                format!("column {} of the CSV has no name", index.saturating_add(1)),
            ));
        }
        if names.iter().take(index).any(|earlier| earlier == name) {
            return Err(Error::new(
                ErrorKind::InvalidBody,
                format!("the CSV has two columns `{}`", brief(name)),
            ));
        }
    }
    let mut records = Vec::new();
    for row in reader.records() {
        let row = row.map_err(broken)?;
        if records.len() == MAX_RECORDS {
            return Err(too_many());
        }
        let record = names
            .iter()
            .zip(&row)
            .map(|(name, value)| Ok((name.to_owned(), json_text(value)?)))
            .collect::<Result<Record>>()?;
        records.push(record);
    }
    Ok(records)
}

/// A CSV value as JSON.
fn json_text(value: &str) -> Result<Box<RawValue>> {
    let json = if value.is_empty() {
        serde_json::value::to_raw_value(&())
    } else {
        serde_json::value::to_raw_value(value)
    };
    json.map_err(|error| Error::internal("a text cannot be written as JSON").with_source(error))
}

fn nul() -> Error {
    Error::new(ErrorKind::InvalidBody, "the body contains a NUL character")
}

/// Refuses what the JSON parser lets through untouched in raw values: nesting without bound, NUL and half
/// surrogate pairs, which no database stores as text.
fn refuse_hazards(text: &str, first_line: usize) -> Result<()> {
    let bytes = text.as_bytes();
    let at = |index: usize, what: &str| {
        let (line, column) = place(bytes.get(..index).unwrap_or_default());
        malformed(
            "JSON",
            what,
            (line.saturating_sub(1).saturating_add(first_line), column),
        )
    };
    let mut depth = 0_usize;
    let mut in_string = false;
    let mut index = 0;
    while let Some(byte) = bytes.get(index) {
        match (in_string, byte) {
            (_, b'"') => in_string = !in_string,
            (false, b'[' | b'{') => {
                depth += 1;
                if depth > MAX_BODY_DEPTH {
                    return Err(at(
                        index,
                        &format!("it is nested more than {MAX_BODY_DEPTH} levels deep"),
                    ));
                }
            }
            (false, b']' | b'}') => depth = depth.saturating_sub(1),
            (true, b'\\') => {
                // Step over the escaped character, which may be a quote.
                index += 1;
                match escaped_unit(bytes, index) {
                    Some(0) => return Err(at(index, "it contains a NUL character")),
                    Some(0xD800..=0xDBFF) => {
                        let low = bytes
                            .get(index.saturating_add(5))
                            .filter(|byte| **byte == b'\\')
                            .and_then(|_| escaped_unit(bytes, index.saturating_add(6)));
                        if !matches!(low, Some(0xDC00..=0xDFFF)) {
                            return Err(at(index, "it contains half of a surrogate pair"));
                        }
                        index += 6;
                    }
                    Some(0xDC00..=0xDFFF) => {
                        return Err(at(index, "it contains half of a surrogate pair"));
                    }
                    _ => {}
                }
            }
            _ => {}
        }
        index += 1;
    }
    Ok(())
}

/// The value of `uXXXX` at an index.
fn escaped_unit(bytes: &[u8], index: usize) -> Option<u16> {
    let escape = bytes.get(index..index.checked_add(5)?)?;
    let digits = std::str::from_utf8(escape.strip_prefix(b"u")?).ok()?;
    u16::from_str_radix(digits, 16).ok()
}

/// Reads one record from a JSON text that was checked before.
pub(super) fn record(text: &str) -> Result<Record> {
    read(text, RecordSeed).map_err(|error| malformed_json(error, 1))
}

fn read<'de, S: DeserializeSeed<'de>>(
    text: &'de str,
    seed: S,
) -> Result<S::Value, serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let value = seed.deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(value)
}

/// The forms of a JSON body.
enum Document {
    Records(Vec<Record>),
    Wrapped(Vec<Record>, Record),
    Bare(Record),
}

struct DocumentSeed(Expect);

impl<'de> DeserializeSeed<'de> for DocumentSeed {
    type Value = Document;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Document, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for DocumentSeed {
    type Value = Document;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object or an array of records")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, sequence: A) -> Result<Document, A::Error> {
        RecordsSeed.visit_seq(sequence).map(Document::Records)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Document, A::Error> {
        let mut members = Record::new();
        let mut records = None;
        while let Some(name) = map.next_key::<String>()? {
            if self.0 != Expect::Record && name == WRAPPER {
                if records.replace(map.next_value_seed(RecordsSeed)?).is_some() {
                    return Err(twice(&name));
                }
            } else {
                add_member(&mut members, name, map.next_value()?)?;
            }
        }
        Ok(match records {
            Some(records) => Document::Wrapped(records, members),
            None => Document::Bare(members),
        })
    }
}

/// An array of records, or one record.
struct RecordsSeed;

impl<'de> DeserializeSeed<'de> for RecordsSeed {
    type Value = Vec<Record>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for RecordsSeed {
    type Value = Vec<Record>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an array of records or one record")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Self::Value, A::Error> {
        let mut records = Vec::new();
        while let Some(record) = sequence.next_element_seed(RecordSeed)? {
            if records.len() == MAX_RECORDS {
                return Err(A::Error::custom(too_many_text()));
            }
            records.push(record);
        }
        Ok(records)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        RecordSeed.visit_map(map).map(|record| vec![record])
    }
}

struct RecordSeed;

impl<'de> DeserializeSeed<'de> for RecordSeed {
    type Value = Record;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Record, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for RecordSeed {
    type Value = Record;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a record, which is an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Record, A::Error> {
        let mut record = Record::new();
        while let Some(name) = map.next_key::<String>()? {
            add_member(&mut record, name, map.next_value()?)?;
        }
        Ok(record)
    }
}

fn add_member<E: serde::de::Error>(
    members: &mut Record,
    name: String,
    value: Box<RawValue>,
) -> Result<(), E> {
    match members.entry(name) {
        indexmap::map::Entry::Vacant(vacant) => {
            vacant.insert(value);
            Ok(())
        }
        indexmap::map::Entry::Occupied(occupied) => Err(twice(occupied.key())),
    }
}

fn twice<E: serde::de::Error>(name: &str) -> E {
    E::custom(format!("the member `{}` occurs twice", brief(name)))
}
