//! Text made safe for the place where it will stand: JSON strings, CSV fields, XML text and element names.
//!
//! Everything appends to a buffer that the caller reuses; nothing here allocates.

use bytes::BytesMut;

/// Deepest nesting of elements that is written as XML; what lies deeper is written as JSON text.
pub const MAX_XML_DEPTH: usize = 64;

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGH_BITS: u64 = 0x8080_8080_8080_8080;

/// A word whose high bits are set where a byte is less than 0x20, a quotation mark or a backslash. Bytes after the
/// first such one may be marked wrongly, which costs only a second look.
const fn marks_of_escapes(word: u64) -> u64 {
    let quotes = word ^ (ONES * 0x22);
    let backslashes = word ^ (ONES * 0x5c);
    let controls = word.wrapping_sub(ONES * 0x20) & !word;
    let quotes = quotes.wrapping_sub(ONES) & !quotes;
    let backslashes = backslashes.wrapping_sub(ONES) & !backslashes;
    (controls | quotes | backslashes) & HIGH_BITS
}

/// How many bytes at the start of a text can stand in a JSON string as they are.
fn plain_length(bytes: &[u8]) -> usize {
    let mut length = 0;
    let (words, _) = bytes.as_chunks::<8>();
    for word in words {
        if marks_of_escapes(u64::from_le_bytes(*word)) != 0 {
            break;
        }
        length += 8;
    }
    let rest = bytes.get(length..).unwrap_or_default();
    length
        + rest
            .iter()
            .position(|byte| needs_escape(*byte))
            .unwrap_or(rest.len())
}

const fn needs_escape(byte: u8) -> bool {
    byte < 0x20 || byte == b'"' || byte == b'\\'
}

/// Appends a JSON string with its quotation marks (RFC 8259 section 7). Only what must be escaped is.
pub fn json_string(out: &mut BytesMut, text: &str) {
    let mut rest = text.as_bytes();
    out.reserve(rest.len() + 2);
    out.extend_from_slice(b"\"");
    loop {
        let (plain, tail) = rest.split_at(plain_length(rest));
        out.extend_from_slice(plain);
        let Some((special, tail)) = tail.split_first() else {
            break;
        };
        match special {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0x08 => out.extend_from_slice(b"\\b"),
            0x0c => out.extend_from_slice(b"\\f"),
            control => out.extend_from_slice(&[
                b'\\',
                b'u',
                b'0',
                b'0',
                if *control < 0x10 { b'0' } else { b'1' },
                hexadecimal(control & 0x0f),
            ]),
        }
        rest = tail;
    }
    out.extend_from_slice(b"\"");
}

const fn hexadecimal(digit: u8) -> u8 {
    if digit < 10 {
        b'0' + digit
    } else {
        b'a' + digit - 10
    }
}

/// Appends a valid JSON text so that it stays on one line. Line ends can only stand between its tokens.
pub fn json_on_one_line(out: &mut BytesMut, json: &str) {
    let mut rest = json.as_bytes();
    while let Some(at) = memchr::memchr2(b'\n', b'\r', rest) {
        let (line, tail) = rest.split_at(at);
        out.extend_from_slice(line);
        out.extend_from_slice(b" ");
        rest = tail.get(1..).unwrap_or_default();
    }
    out.extend_from_slice(rest);
}

/// Appends a field of a CSV line, quoted where it must be (RFC 4180 section 2). Empty text is `""`, so that it differs
/// from null, which is nothing at all. Text is never changed for the sake of spreadsheets.
pub fn csv_field(out: &mut BytesMut, text: &str) {
    let bytes = text.as_bytes();
    let must_quote = bytes.is_empty()
        || bytes
            .iter()
            .any(|byte| matches!(byte, b',' | b'"' | b'\r' | b'\n'));
    if !must_quote {
        out.extend_from_slice(bytes);
        return;
    }
    out.extend_from_slice(b"\"");
    let mut rest = bytes;
    while let Some(at) = memchr::memchr(b'"', rest) {
        let (head, tail) = rest.split_at(at);
        out.extend_from_slice(head);
        out.extend_from_slice(b"\"\"");
        rest = tail.get(1..).unwrap_or_default();
    }
    out.extend_from_slice(rest);
    out.extend_from_slice(b"\"");
}

/// Appends text between two tags. Characters that XML 1.0 section 2.2 forbids become U+FFFD; a carriage return is a
/// reference, because parsers turn a bare one into a line feed (section 2.11).
pub fn xml_text(out: &mut BytesMut, text: &str) {
    let bytes = text.as_bytes();
    let mut done = 0;
    for (at, character) in text.char_indices() {
        let replacement: &[u8] = match character {
            '&' => b"&amp;",
            '<' => b"&lt;",
            '>' => b"&gt;",
            '"' => b"&quot;",
            '\'' => b"&apos;",
            '\r' => b"&#13;",
            '\t' | '\n' => continue,
            '\0'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => "\u{fffd}".as_bytes(),
            _ => continue,
        };
        out.extend_from_slice(bytes.get(done..at).unwrap_or_default());
        out.extend_from_slice(replacement);
        done = at + character.len_utf8();
    }
    out.extend_from_slice(bytes.get(done..).unwrap_or_default());
}

/// Appends the name of an element: what XML 1.0 section 2.3 forbids, and the colon of namespaces, becomes `_`; a name
/// that cannot begin so, or begins with the reserved `xml`, gets a `_` in front.
pub fn xml_name(out: &mut BytesMut, name: &str) {
    let reserved = name
        .get(..3)
        .is_some_and(|start| start.eq_ignore_ascii_case("xml"));
    if reserved || !name.chars().next().is_some_and(starts_name) {
        out.extend_from_slice(b"_");
    }
    for (index, character) in name.chars().enumerate() {
        let mut encoded = [0; 4];
        if continues_name(character) {
            out.extend_from_slice(character.encode_utf8(&mut encoded).as_bytes());
        } else if index > 0 {
            out.extend_from_slice(b"_");
        }
    }
}

const fn starts_name(character: char) -> bool {
    matches!(character,
        'A'..='Z' | '_' | 'a'..='z'
        | '\u{c0}'..='\u{d6}' | '\u{d8}'..='\u{f6}' | '\u{f8}'..='\u{2ff}'
        | '\u{370}'..='\u{37d}' | '\u{37f}'..='\u{1fff}' | '\u{200c}'..='\u{200d}'
        | '\u{2070}'..='\u{218f}' | '\u{2c00}'..='\u{2fef}' | '\u{3001}'..='\u{d7ff}'
        | '\u{f900}'..='\u{fdcf}' | '\u{fdf0}'..='\u{fffd}' | '\u{10000}'..='\u{effff}')
}

const fn continues_name(character: char) -> bool {
    starts_name(character)
        || matches!(character,
            '-' | '.' | '0'..='9' | '\u{b7}' | '\u{300}'..='\u{36f}' | '\u{203f}'..='\u{2040}')
}

/// Appends the tabs in front of an element.
pub fn xml_indent(out: &mut BytesMut, depth: usize) {
    for _ in 0..depth {
        out.extend_from_slice(b"\t");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: fn(&mut BytesMut, &str), text: &str) -> String {
        let mut out = BytesMut::new();
        write(&mut out, text);
        String::from_utf8(out.to_vec()).unwrap()
    }

    #[test]
    fn every_character_survives_in_a_json_string_wherever_it_stands() {
        for code in (0..0x100).chain([0x2028, 0xfffd, 0x1f600]) {
            let character = char::from_u32(code).unwrap();
            for before in 0..18 {
                let text = format!("{}{character}{}", "x".repeat(before), "é".repeat(before));
                let json = written(json_string, &text);
                assert_eq!(
                    serde_json::from_str::<String>(&json).unwrap(),
                    text,
                    "{json}"
                );
            }
        }
    }

    #[test]
    fn csv_fields_are_quoted_only_where_they_must_be() {
        for (text, expected) in [
            ("plain", "plain"),
            (" a ", " a "),
            ("=1+1", "=1+1"),
            ("", "\"\""),
            ("a,b", "\"a,b\""),
            ("say \"hi\"", "\"say \"\"hi\"\"\""),
            ("two\nlines", "\"two\nlines\""),
        ] {
            assert_eq!(written(csv_field, text), expected);
        }
    }

    #[test]
    fn xml_text_is_escaped_and_forbidden_characters_are_replaced() {
        for (text, expected) in [
            ("a<b&c>\"'", "a&lt;b&amp;c&gt;&quot;&apos;"),
            ("a\r\n\tb", "a&#13;\n\tb"),
            (
                "a\0\u{1}\u{1f}\u{ffff}é",
                "a\u{fffd}\u{fffd}\u{fffd}\u{fffd}é",
            ),
        ] {
            assert_eq!(written(xml_text, text), expected);
        }
    }

    #[test]
    fn element_names_are_made_valid() {
        for (name, expected) in [
            ("id", "id"),
            ("first name", "first_name"),
            ("1st", "_1st"),
            ("", "_"),
            ("xmlns", "_xmlns"),
            ("a:b", "a_b"),
            ("<script>", "_script_"),
            ("größe", "größe"),
            ("-x", "_-x"),
        ] {
            assert_eq!(written(xml_name, name), expected);
        }
    }

    #[test]
    fn json_is_kept_on_one_line() {
        assert_eq!(
            written(json_on_one_line, "{\n \"a\": \"x\\ny\",\r\n \"b\": 1}"),
            "{  \"a\": \"x\\ny\",   \"b\": 1}"
        );
    }
}
