//! One record of a CSV at a time (RFC 4180), from bytes that are still arriving. Pure.
//!
//! A quote opens a quoted value only where a value begins; elsewhere it stands for itself.

use std::borrow::Cow;
use std::ops::Range;

use memchr::{memchr, memchr_iter, memchr2};

/// A value of a record, as it lies in the bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Field {
    range: Range<usize>,
    /// Whether it stood in quotes.
    pub(super) is_quoted: bool,
    /// Whether quotes within it are doubled.
    has_doubled: bool,
}

impl Field {
    /// The text of the value; `record` is the text of the whole record.
    pub(super) fn text<'a>(&self, record: &'a str) -> Cow<'a, str> {
        let text = record.get(self.range.clone()).unwrap_or_default();
        if self.has_doubled {
            Cow::Owned(text.replace("\"\"", "\""))
        } else {
            Cow::Borrowed(text)
        }
    }
}

/// What the bytes begin with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// A whole record of so many bytes, its line end included.
    Record(usize),
    /// A part of one.
    Incomplete,
    /// Something that is no CSV.
    Broken(&'static str),
}

/// Takes one record apart. Without `is_last`, the bytes may go on.
pub(super) fn record(bytes: &[u8], is_last: bool, fields: &mut Vec<Field>) -> Found {
    fields.clear();
    let mut at = 0;
    loop {
        let next = if bytes.get(at) == Some(&b'"') {
            quoted(bytes, at.saturating_add(1), is_last, fields)
        } else {
            plain(bytes, at, is_last, fields)
        };
        match next {
            Next::Field(next) => at = next,
            Next::End(found) => return found,
        }
    }
}

enum Next {
    /// The record goes on here.
    Field(usize),
    End(Found),
}

fn plain(bytes: &[u8], start: usize, is_last: bool, fields: &mut Vec<Field>) -> Next {
    let rest = bytes.get(start..).unwrap_or_default();
    let (end, next) = match memchr2(b',', b'\n', rest) {
        None if !is_last => return Next::End(Found::Incomplete),
        None => (bytes.len(), Next::End(Found::Record(bytes.len()))),
        Some(length) => {
            let end = start.saturating_add(length);
            let behind = end.saturating_add(1);
            if bytes.get(end) == Some(&b',') {
                (end, Next::Field(behind))
            } else {
                (end, Next::End(Found::Record(behind)))
            }
        }
    };
    let ends_record = matches!(next, Next::End(_));
    let has_return = end > start && bytes.get(end.saturating_sub(1)) == Some(&b'\r');
    fields.push(Field {
        range: start..if ends_record && has_return {
            end.saturating_sub(1)
        } else {
            end
        },
        is_quoted: false,
        has_doubled: false,
    });
    next
}

fn quoted(bytes: &[u8], start: usize, is_last: bool, fields: &mut Vec<Field>) -> Next {
    let mut has_doubled = false;
    let mut search = start;
    let end = loop {
        let Some(length) = memchr(b'"', bytes.get(search..).unwrap_or_default()) else {
            return Next::End(if is_last {
                Found::Broken("a quoted value is never closed")
            } else {
                Found::Incomplete
            });
        };
        let quote = search.saturating_add(length);
        match bytes.get(quote.saturating_add(1)) {
            Some(b'"') => {
                has_doubled = true;
                search = quote.saturating_add(2);
            }
            None if !is_last => return Next::End(Found::Incomplete),
            _ => break quote,
        }
    };
    fields.push(Field {
        range: start..end,
        is_quoted: true,
        has_doubled,
    });
    let behind = |count: usize| end.saturating_add(count);
    match (bytes.get(behind(1)), bytes.get(behind(2))) {
        (Some(b','), _) => Next::Field(behind(2)),
        (Some(b'\r'), None) if !is_last => Next::End(Found::Incomplete),
        (Some(b'\r'), Some(b'\n')) => Next::End(Found::Record(behind(3))),
        (Some(b'\n'), _) | (Some(b'\r'), None) => Next::End(Found::Record(behind(2))),
        (None, _) => Next::End(Found::Record(behind(1))),
        _ => Next::End(Found::Broken("text stands behind a closing quote")),
    }
}

/// How many lines a record takes.
pub(super) fn lines(record: &[u8]) -> u64 {
    memchr_iter(b'\n', record).count() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// All records, from bytes that arrive in pieces of this size.
    fn all(text: &str, piece: usize) -> Result<Vec<Vec<(String, bool)>>, &'static str> {
        let bytes = text.as_bytes();
        let (mut from, mut to) = (0, piece.min(bytes.len()));
        let mut fields = Vec::new();
        let mut records = Vec::new();
        while from < bytes.len() {
            match record(&bytes[from..to], to == bytes.len(), &mut fields) {
                Found::Incomplete => to = (to + piece).min(bytes.len()),
                Found::Broken(what) => return Err(what),
                Found::Record(length) => {
                    let text = &text[from..from + length];
                    let texts = fields.iter();
                    let texts = texts.map(|field| (field.text(text).into_owned(), field.is_quoted));
                    records.push(texts.collect());
                    from += length;
                    to = to.max(from);
                }
            }
        }
        Ok(records)
    }

    #[test]
    fn values_are_found_whatever_pieces_they_arrive_in() {
        let text = "a,\"b \"\"x\"\"\",\"\",,5\" pipe\r\n\"line\nbreak\",é\r\nlast,\"";
        for piece in 1..12 {
            let whole = format!("{text}end\"");
            let records = all(&whole, piece).unwrap();
            let plain: Vec<Vec<(&str, bool)>> = vec![
                vec![
                    ("a", false),
                    ("b \"x\"", true),
                    ("", true),
                    ("", false),
                    ("5\" pipe", false),
                ],
                vec![("line\nbreak", true), ("é", false)],
                vec![("last", false), ("end", true)],
            ];
            let found: Vec<Vec<(&str, bool)>> = records
                .iter()
                .map(|record| {
                    record
                        .iter()
                        .map(|(text, quoted)| (text.as_str(), *quoted))
                        .collect()
                })
                .collect();
            assert_eq!(found, plain, "in pieces of {piece}");
        }
        assert_eq!(all(text, 3), Err("a quoted value is never closed"));
        assert_eq!(
            all("\"a\"b,c\n", 4),
            Err("text stands behind a closing quote")
        );
    }

    proptest! {
        #[test]
        fn it_reads_what_a_writer_of_csv_writes(
            rows in prop::collection::vec(prop::collection::vec("[a,\"\n\r é]{0,6}", 2..4), 1..6),
            piece in 1_usize..40,
        ) {
            let mut writer = ::csv::WriterBuilder::new().flexible(true).from_writer(Vec::new());
            for row in &rows {
                writer.write_record(row).unwrap();
            }
            let text = String::from_utf8(writer.into_inner().unwrap()).unwrap();
            let read = all(&text, piece).unwrap();
            let read: Vec<Vec<String>> = read
                .into_iter()
                .map(|record| record.into_iter().map(|(text, _)| text).collect())
                .collect();
            prop_assert_eq!(read, rows);
        }
    }
}
