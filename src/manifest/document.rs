//! TOML text to JSON, with a span for every JSON pointer. Pure.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use serde_json::{Map, Number, Value};
use toml::de::{DeTable, DeValue};

use super::diagnostic::{Diagnostic, Place, Position};

/// Most syntax errors that are reported for one file: what follows the first few is seldom news.
const MAX_SYNTAX_ERRORS: usize = 20;
/// Most tables and lists within each other.
const MAX_NESTING: usize = 64;

/// How the message on a table that is written twice begins.
const TABLE_TWICE: &str = "the table";
/// How the message on a key that is written twice begins.
const KEY_TWICE: &str = "the key";

/// Where a value stands in the text.
#[derive(Clone, Debug)]
struct Span {
    /// The key before it; none for members of a list.
    key: Option<Range<usize>>,
    /// The value; for a table its header or its braces.
    value: Range<usize>,
}

/// One file of the tree, parsed as far as possible.
#[derive(Debug)]
pub(super) struct Document {
    file: Arc<str>,
    text: String,
    /// The offsets at which lines begin.
    lines: Vec<usize>,
    spans: HashMap<String, Span>,
    /// Whether everything could be read.
    pub(super) is_whole: bool,
}

impl Document {
    /// Parses a file, and gives what it says: after a syntax error only what could be read. What cannot be read is added
    /// to `problems`.
    pub(super) fn parse(
        file: Arc<str>,
        bytes: &[u8],
        problems: &mut Vec<Diagnostic>,
    ) -> (Self, Value) {
        let invalid_at = std::str::from_utf8(bytes)
            .err()
            .map(|error| error.valid_up_to());
        let text = String::from_utf8_lossy(bytes);
        // Editors on Windows begin UTF-8 files with a byte order mark; it says nothing.
        let text = text.strip_prefix('\u{feff}').unwrap_or(&text).to_owned();
        let lines = std::iter::once(0)
            .chain(memchr::memchr_iter(b'\n', text.as_bytes()).map(|offset| offset + 1))
            .collect();
        let mut document = Self {
            file,
            text,
            lines,
            spans: HashMap::new(),
            is_whole: true,
        };
        if let Some(offset) = invalid_at {
            let mark = bytes.starts_with("\u{feff}".as_bytes()).then_some(3);
            let offset = offset.saturating_sub(mark.unwrap_or(0));
            document.is_whole = false;
            problems.push(
                Diagnostic::error(
                    document.place(&(offset..offset + 1)),
                    "this byte is not UTF-8 text",
                )
                .with_help("save the file with the encoding UTF-8"),
            );
            return (document, Value::Object(Map::new()));
        }
        let value = document.read(problems);
        (document, value)
    }

    fn read(&mut self, problems: &mut Vec<Diagnostic>) -> Value {
        let text = std::mem::take(&mut self.text);
        let (table, errors) = DeTable::parse_recoverable(&text);
        let mut reader = Reader {
            spans: &mut self.spans,
            faults: Vec::new(),
        };
        let value = reader.table(table.get_ref(), "", 0);
        let faults = reader.faults;
        drop(table);
        self.text = text;
        self.is_whole = errors.is_empty() && faults.is_empty();
        // The keys of a table that is written twice are all written twice; that is no news.
        let mut is_in_second_table = false;
        for error in errors.iter().take(MAX_SYNTAX_ERRORS) {
            let diagnostic = self.syntax_error(error);
            let is_key = diagnostic.message.starts_with(KEY_TWICE);
            if !(is_in_second_table && is_key) {
                is_in_second_table = diagnostic.message.starts_with(TABLE_TWICE);
                problems.push(diagnostic);
            }
        }
        problems.extend(faults.into_iter().take(MAX_SYNTAX_ERRORS).map(|fault| {
            Diagnostic::error(self.place(&fault.span), fault.message).with_help(fault.help)
        }));
        value
    }

    fn syntax_error(&self, error: &toml::de::Error) -> Diagnostic {
        let end = self.text.len();
        let span = error.span().unwrap_or(end..end);
        let place = self.place(&span);
        if error.message() == "duplicate key" {
            return self.duplicate(&span, place);
        }
        let text = self.text.get(span).unwrap_or_default();
        let (message, help) = in_our_words(error.message(), text);
        Diagnostic {
            help,
            ..Diagnostic::error(place, format!("this is not TOML: {message}"))
        }
    }

    /// The parser does not say where the other one is, so the text is searched for it.
    fn duplicate(&self, span: &Range<usize>, place: Place) -> Diagnostic {
        let key = self.text.get(span.clone()).unwrap_or_default();
        let number = place.position.line;
        let line = self.line(number).trim();
        let is_header = line.starts_with('[');
        let earlier = (1..number).rev().map(|number| (number, self.line(number)));
        let other = if is_header {
            let header = line.split('#').next().unwrap_or_default().trim();
            earlier
                .rev()
                .find(|(_, text)| text.split('#').next().unwrap_or_default().trim() == header)
        } else {
            earlier
                .take_while(|(_, text)| !text.trim_start().starts_with('['))
                .find(|(_, text)| {
                    text.split_once('=')
                        .is_some_and(|(name, _)| name.trim() == key)
                })
        };
        let what = if is_header { TABLE_TWICE } else { KEY_TWICE };
        let name = if is_header {
            line.split('#')
                .next()
                .unwrap_or_default()
                .trim()
                .trim_matches(['[', ']'])
        } else {
            key
        };
        Diagnostic::error(place, format!("{what} `{name}` is written twice")).with_help(match other
        {
            Some((line, text)) => {
                let column = text.chars().take_while(|c| c.is_whitespace()).count() + 1;
                let file = &self.file;
                format!("the other one is at {file}:{line}:{column}; keep one of them")
            }
            None => "keep one of them".to_owned(),
        })
    }

    /// The text of a line without its end; the first is 1.
    fn line(&self, number: usize) -> &str {
        let start = number
            .checked_sub(1)
            .and_then(|index| self.lines.get(index))
            .copied();
        let end = self.lines.get(number).copied();
        start
            .and_then(|start| self.text.get(start..end.unwrap_or(self.text.len())))
            .map(|line| line.trim_end_matches(['\n', '\r']))
            .unwrap_or_default()
    }

    /// The place of a range of bytes.
    fn place(&self, range: &Range<usize>) -> Place {
        let (_, line, start) = self.line_at(range.start);
        let column = characters(line, self.boundary(range.start).saturating_sub(start));
        let end = characters(line, range.end.saturating_sub(start)).max(column);
        Place::new(self.position(range), line, column, end)
    }

    /// The position of a range of bytes: its place without the text around it.
    fn position(&self, range: &Range<usize>) -> Position {
        let (number, line, start) = self.line_at(range.start);
        Position {
            file: Arc::clone(&self.file),
            line: number,
            column: characters(line, self.boundary(range.start).saturating_sub(start)) + 1,
        }
    }

    /// The last offset of a character that is not behind `offset`.
    fn boundary(&self, offset: usize) -> usize {
        let mut offset = offset.min(self.text.len());
        while !self.text.is_char_boundary(offset) {
            offset -= 1;
        }
        offset
    }

    /// Number, text and beginning of the line around an offset. What is past the last line break belongs to the last
    /// line that has text.
    fn line_at(&self, offset: usize) -> (usize, &str, usize) {
        let offset = self.boundary(offset);
        let number = self.lines.partition_point(|start| *start <= offset).max(1);
        let start = self.lines.get(number - 1).copied().unwrap_or(0);
        (number, self.line(number), start)
    }

    /// The position of the value at a pointer, or of the nearest value around it.
    pub(super) fn value_position(&self, pointer: &str) -> Position {
        self.position(&self.nearest(pointer).value)
    }

    /// The position of the key at a pointer; of the value where there is no key.
    pub(super) fn key_position(&self, pointer: &str) -> Position {
        let span = self.nearest(pointer);
        self.position(&span.key.unwrap_or(span.value))
    }

    /// The place of the value at a pointer, or of the nearest value around it.
    pub(super) fn value_place(&self, pointer: &str) -> Place {
        self.place(&self.nearest(pointer).value)
    }

    /// The place of the key at a pointer; of the value where there is no key.
    pub(super) fn key_place(&self, pointer: &str) -> Place {
        let span = self.nearest(pointer);
        self.place(&span.key.unwrap_or(span.value))
    }

    /// The name of the file.
    pub(super) fn file(&self) -> &Arc<str> {
        &self.file
    }

    /// Where the key at a pointer stands, or the member of a list; none if it is not written.
    pub(super) fn written_at(&self, pointer: &str) -> Option<Position> {
        let span = self.spans.get(pointer)?;
        Some(
            self.place(span.key.as_ref().unwrap_or(&span.value))
                .position,
        )
    }

    /// The place of `length` characters, so many characters into the text at a pointer.
    pub(super) fn text_place(&self, pointer: &str, characters: usize, length: usize) -> Place {
        let span = self.nearest(pointer).value;
        let raw = self.text.get(span.clone()).unwrap_or_default();
        let start = span.start + offset_in_string(raw, characters);
        let end = span.start + offset_in_string(raw, characters.saturating_add(length));
        // The caret stands on the closing quote when the text ends too early.
        self.place(&(start..end))
    }

    /// Whether the value at a pointer was written as a date or time.
    pub(super) fn is_date(&self, pointer: &str) -> bool {
        self.spans
            .get(pointer)
            .and_then(|span| self.text.get(span.value.clone()))
            .is_some_and(|raw| raw.starts_with(|first: char| first.is_ascii_digit()))
    }

    fn nearest(&self, pointer: &str) -> Span {
        let mut pointer = pointer;
        loop {
            if let Some(span) = self.spans.get(pointer) {
                return span.clone();
            }
            let Some((around, _)) = pointer.rsplit_once('/') else {
                return Span {
                    key: None,
                    value: 0..0,
                };
            };
            pointer = around;
        }
    }
}

/// How many characters the first `bytes` bytes of a line have.
fn characters(line: &str, bytes: usize) -> usize {
    line.get(..bytes.min(line.len()))
        .map_or(0, |text| text.chars().count())
}

/// The parser's words, or better ones for the mistakes that everybody makes.
fn in_our_words(message: &str, text: &str) -> (String, Option<String>) {
    let help = |message: &str, help: &str| (message.to_owned(), Some(help.to_owned()));
    let begins = |words: &str| message.starts_with(words);
    if begins("string values must be quoted") {
        let quoted = format!("put it in quotes: \"{}\"", text.trim());
        return help("text must stand in quotes", &quoted);
    }
    let is_open = ["basic", "literal", "multi-line basic", "multi-line literal"]
        .into_iter()
        .any(|what| begins(&format!("invalid {what} string, expected")));
    if is_open {
        let words = "add the closing quote; is the end of the file missing?";
        return help("the text does not end", words);
    }
    for what in ["table", "array", "inline table"] {
        if begins(&format!("unclosed {what}, expected")) {
            let words = "add the closing bracket; is the end of the file missing?";
            return help(message, words);
        }
    }
    if begins("key with no value") {
        return help(message, "write key = value");
    }
    (message.to_owned(), None)
}

/// Adds a segment to a JSON pointer (RFC 6901).
pub(super) fn join(pointer: &str, segment: &str) -> String {
    format!(
        "{pointer}/{}",
        segment.replace('~', "~0").replace('/', "~1")
    )
}

/// The segments of a JSON pointer.
pub(super) fn segments(pointer: &str) -> impl DoubleEndedIterator<Item = String> {
    let mut parts = pointer.split('/');
    parts.next();
    parts.map(|segment| segment.replace("~1", "/").replace("~0", "~"))
}

struct Fault {
    span: Range<usize>,
    message: String,
    help: String,
}

struct Reader<'a> {
    spans: &'a mut HashMap<String, Span>,
    faults: Vec<Fault>,
}

impl Reader<'_> {
    fn table(&mut self, table: &DeTable<'_>, pointer: &str, depth: usize) -> Value {
        let mut map = Map::new();
        for (key, value) in table {
            let pointer = join(pointer, key.get_ref());
            let span = Span {
                key: Some(key.span()),
                value: value.span(),
            };
            self.spans.insert(pointer.clone(), span);
            let value = self.value(value.get_ref(), &pointer, &value.span(), depth + 1);
            map.insert(key.get_ref().to_string(), value);
        }
        Value::Object(map)
    }

    fn value(
        &mut self,
        value: &DeValue<'_>,
        pointer: &str,
        span: &Range<usize>,
        depth: usize,
    ) -> Value {
        if depth > MAX_NESTING {
            self.fault(
                span,
                format!("tables and lists are nested more than {MAX_NESTING} deep"),
                "no manifest needs that many",
            );
            return Value::Null;
        }
        match value {
            DeValue::String(text) => Value::String(text.to_string()),
            DeValue::Boolean(value) => Value::Bool(*value),
            // RFC 3339; local dates and times keep their shorter form.
            DeValue::Datetime(moment) => Value::String(moment.to_string()),
            DeValue::Integer(integer) => i64::from_str_radix(integer.as_str(), integer.radix())
                .map_or_else(
                    |_| {
                        self.fault(
                            span,
                            "this number has more than 64 bits".to_owned(),
                            "whole numbers go up to 9223372036854775807",
                        );
                        Value::Null
                    },
                    Value::from,
                ),
            DeValue::Float(float) => float
                .as_str()
                .parse()
                .ok()
                .and_then(Number::from_f64)
                .map_or_else(
                    || {
                        self.fault(
                            span,
                            "this is not a finite number".to_owned(),
                            "`inf` and `nan` have no meaning here",
                        );
                        Value::Null
                    },
                    Value::Number,
                ),
            DeValue::Array(array) => array
                .iter()
                .enumerate()
                .map(|(index, member)| {
                    let pointer = format!("{pointer}/{index}");
                    let span = Span {
                        key: None,
                        value: member.span(),
                    };
                    self.spans.insert(pointer.clone(), span);
                    self.value(member.get_ref(), &pointer, &member.span(), depth + 1)
                })
                .collect(),
            DeValue::Table(table) => self.table(table, pointer, depth),
        }
    }

    fn fault(&mut self, span: &Range<usize>, message: String, help: &str) {
        self.faults.push(Fault {
            span: span.clone(),
            message,
            help: help.to_owned(),
        });
    }
}

/// The byte offset within a TOML string, as it was written, of the character so many characters into its value.
fn offset_in_string(raw: &str, characters: usize) -> usize {
    let quotes = ["\"\"\"", "'''", "\"", "'"];
    let Some(quote) = quotes.into_iter().find(|quote| raw.starts_with(quote)) else {
        return 0;
    };
    let mut rest = raw.get(quote.len()..).unwrap_or_default();
    if quote.len() == 3 {
        let trimmed = rest.strip_prefix('\r').unwrap_or(rest);
        rest = trimmed.strip_prefix('\n').unwrap_or(rest);
    }
    let escapes = quote.starts_with('"');
    for _ in 0..characters {
        if escapes && quote.len() == 3 {
            rest = skip_line_continuation(rest);
        }
        let mut letters = rest.chars();
        let length = match letters.next() {
            Some('\\') if escapes => match letters.next() {
                Some('u') => 6,
                Some('U') => 10,
                Some('x') => 4,
                Some(letter) => 1 + letter.len_utf8(),
                None => 1,
            },
            Some(letter) => letter.len_utf8(),
            None => break,
        };
        rest = rest.get(length..).unwrap_or_default();
    }
    if escapes && quote.len() == 3 {
        rest = skip_line_continuation(rest);
    }
    // The end of the value is the closing quote, which stands at the very end of the text.
    let end = raw.len() - quote.len().min(raw.len());
    (raw.len() - rest.len()).min(end)
}

/// A backslash at the end of a line takes the line break and the white space after it away.
fn skip_line_continuation(text: &str) -> &str {
    match text.strip_prefix('\\') {
        Some(rest) if rest.trim_start_matches([' ', '\t', '\r']).starts_with('\n') => {
            rest.trim_start()
        }
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn parse(text: &str) -> (Document, Vec<Diagnostic>) {
        let (document, _, problems) = parse_value(text);
        (document, problems)
    }

    fn parse_value(text: &str) -> (Document, Value, Vec<Diagnostic>) {
        let mut problems = Vec::new();
        let (document, value) =
            Document::parse(Arc::from("a.toml"), text.as_bytes(), &mut problems);
        (document, value, problems)
    }

    #[test]
    fn every_kind_of_value_becomes_json() {
        let (document, value, problems) = parse_value(
            "text = \"a\"\nhex = 0xff\nbig = 9_223_372_036_854_775_807\nfloat = 1.5\nyes = true\n\
             moment = 2027-01-01 00:00:00Z\nday = 2027-01-01\nlist = [1, { a.b = 2 }]\n[t.u]\nv = 1\n",
        );
        assert_eq!(problems, []);
        assert_eq!(
            value,
            json!({
                "text": "a", "hex": 255, "big": i64::MAX, "float": 1.5, "yes": true,
                "moment": "2027-01-01T00:00:00Z", "day": "2027-01-01",
                "list": [1, {"a": {"b": 2}}], "t": {"u": {"v": 1}},
            })
        );
        assert!(document.is_date("/moment") && !document.is_date("/text"));
    }

    #[test]
    fn every_pointer_has_its_place() {
        let (document, _) = parse("\u{feff}[a]\n\"x/y\" = [\"ä\", 2]\n");
        let place = document.value_place("/a/x~1y/1");
        assert_eq!((place.position.line, place.position.column), (2, 15));
        let place = document.key_place("/a/x~1y");
        assert_eq!((place.position.column, place.length), (1, 5));
        let place = document.value_place("/a/none");
        assert_eq!((place.position.line, place.length), (1, 3));
    }

    #[test]
    fn several_syntax_errors_are_reported_at_once() {
        let (document, problems) = parse("a = \nb = 1\nc = [1,\nd = 'x\n");
        assert!(problems.len() >= 2, "{problems:?}");
        assert!(!document.is_whole);
    }

    #[test]
    fn a_character_of_a_text_is_found_behind_escapes() {
        for (raw, characters, expected) in [
            (r#""abc""#, 1, "bc\""),
            (r#""a\"bc""#, 2, "bc\""),
            (r#""\u00e4bc""#, 1, "bc\""),
            (r"'a\bc'", 2, "bc'"),
            ("\"\"\"\nabc\"\"\"", 1, "bc\"\"\""),
            ("\"\"\"a \\\n   bc\"\"\"", 2, "bc\"\"\""),
            (r#""äbc""#, 1, "bc\""),
            (r#""abc""#, 99, "\""),
            ("", 3, ""),
        ] {
            let offset = offset_in_string(raw, characters);
            assert_eq!(&raw[offset..], expected, "{raw} {characters}");
        }
    }
}
