//! When a value of one table equals one of another that the gateway brings together. Pure.
//!
//! A value is first made into what the column of the related table holds; what that column cannot hold equals nothing.
//! Then both sides are compared as texts by the kind of that column: numbers by their value, whatever their scale
//! (1 is 1.00), UUIDs by their bytes, texts by their characters, moments by their time.

use super::catalog::{Column, Type};
use super::convert;
use super::value::{DateTimeStyle, Scalar, Value, write_temporal};

/// The value as the column holds it, to be bound. `None` for NULL and for what the column cannot hold.
pub(super) fn bound(value: &Value<'_>, column: &Column) -> Option<Scalar> {
    let text = match *value {
        Value::Null | Value::Json(_) => return None,
        Value::Bytes(bytes) => {
            return (column.kind == Type::Binary).then(|| Scalar::Bytes(bytes.to_vec()));
        }
        Value::Text(text) => return of_text(text, column),
        Value::Bool(value) if column.kind == Type::Boolean => return Some(Scalar::Bool(value)),
        Value::Bool(value) => u8::from(value).to_string(),
        // Where a column has no type of its own, the value has.
        Value::Int(_) | Value::Float(_) if column.db_type.is_empty() => {
            return Some(Scalar::from_value(value));
        }
        // Unsigned numbers of 64 bits are beyond what texts of whole numbers are read as.
        Value::UInt(number) if column.kind == Type::BigInt && i64::try_from(number).is_err() => {
            return Some(Scalar::Decimal(number.to_string()));
        }
        Value::Int(value) => value.to_string(),
        Value::UInt(value) => value.to_string(),
        Value::Float(value) => plain_number(value)?,
        Value::Float32(value) => plain_number(f64::from(value))?,
        Value::Decimal(digits) => plain_digits(digits),
        Value::Uuid(bytes) => uuid::Uuid::from_bytes(bytes).hyphenated().to_string(),
        Value::Date(_) | Value::Time(..) | Value::Timestamp(_) | Value::TimestampTz(_) => {
            let mut text = String::with_capacity(32);
            write_temporal(&mut text, value, DateTimeStyle::Rfc3339);
            text
        }
    };
    of_text(&text, column)
}

fn of_text(text: &str, column: &Column) -> Option<Scalar> {
    match column.kind {
        Type::Json | Type::Array(_) | Type::Binary => None,
        // A value that came out of the column need not be on its list of today.
        Type::String | Type::Text | Type::Other => Some(Scalar::Text(text.to_owned())),
        _ => convert::from_text(column, text)
            .ok()
            .filter(|value| *value != Scalar::Null),
    }
}

/// Appends what equal values of a column have in common.
pub(super) fn write_canonical(out: &mut Vec<u8>, value: &Scalar) {
    let text;
    let bytes: &[u8] = match value {
        Scalar::Int(value) => {
            text = value.to_string();
            text.as_bytes()
        }
        Scalar::Float(value) => {
            text = plain_number(*value).unwrap_or_default();
            text.as_bytes()
        }
        Scalar::Decimal(digits) => {
            text = plain_digits(digits);
            text.as_bytes()
        }
        Scalar::Text(text) | Scalar::Temporal(text) | Scalar::Json(text) => text.as_bytes(),
        Scalar::Bytes(bytes) => bytes,
        Scalar::Uuid(bytes) => bytes,
        Scalar::Bool(value) => {
            if *value {
                b"1"
            } else {
                b"0"
            }
        }
        Scalar::Null | Scalar::Array(_) => &[],
    };
    out.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
    out.extend_from_slice(bytes);
}

/// A text without what databases pass over when they compare texts loosely: case, and spaces at the end.
pub(super) fn folded(text: &str) -> String {
    text.trim_end_matches(' ').to_lowercase()
}

/// A text without what any usual collation passes over: beside [`folded`], the accents of European letters. Two texts
/// may differ although some database takes both for one.
pub(super) fn loose(text: &str) -> String {
    let folded = folded(text);
    if folded.is_ascii() {
        return folded;
    }
    let mut out = String::with_capacity(folded.len());
    for letter in folded.chars() {
        match letter {
            // Accents that stand behind their letter.
            '\u{300}'..='\u{36f}' => {}
            'à'..='å' | 'ā' | 'ă' | 'ą' => out.push('a'),
            'æ' => out.push_str("ae"),
            'ç' | 'ć' | 'ĉ' | 'ċ' | 'č' => out.push('c'),
            'ð' | 'ď' | 'đ' => out.push('d'),
            'è'..='ë' | 'ē' | 'ĕ' | 'ė' | 'ę' | 'ě' => out.push('e'),
            'ĝ' | 'ğ' | 'ġ' | 'ģ' => out.push('g'),
            'ĥ' | 'ħ' => out.push('h'),
            'ì'..='ï' | 'ĩ' | 'ī' | 'ĭ' | 'į' | 'ı' => out.push('i'),
            'ĵ' => out.push('j'),
            'ķ' => out.push('k'),
            'ĺ' | 'ļ' | 'ľ' | 'ŀ' | 'ł' => out.push('l'),
            'ñ' | 'ń' | 'ņ' | 'ň' => out.push('n'),
            'ò'..='ö' | 'ø' | 'ō' | 'ŏ' | 'ő' => out.push('o'),
            'œ' => out.push_str("oe"),
            'ŕ' | 'ŗ' | 'ř' => out.push('r'),
            'ś' | 'ŝ' | 'ş' | 'š' | 'ș' => out.push('s'),
            'ß' => out.push_str("ss"),
            'ţ' | 'ť' | 'ŧ' | 'ț' => out.push('t'),
            'ù'..='ü' | 'ũ' | 'ū' | 'ŭ' | 'ů' | 'ű' | 'ų' => out.push('u'),
            'ŵ' => out.push('w'),
            'ý' | 'ÿ' | 'ŷ' => out.push('y'),
            'ź' | 'ż' | 'ž' => out.push('z'),
            'ё' => out.push('е'),
            'й' => out.push('и'),
            other => out.push(other),
        }
    }
    out
}

/// The digits of a number without zeros that say nothing.
fn plain_digits(digits: &str) -> String {
    let (sign, digits) = match digits.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", digits.strip_prefix('+').unwrap_or(digits)),
    };
    let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
    let whole = match whole.trim_start_matches('0') {
        "" => "0",
        whole => whole,
    };
    match (whole, part.trim_end_matches('0')) {
        ("0", "") => "0".to_owned(),
        (whole, "") => format!("{sign}{whole}"),
        (whole, part) => format!("{sign}{whole}.{part}"),
    }
}

/// A floating-point number with its shortest digits and without an exponent.
fn plain_number(number: f64) -> Option<String> {
    // `Display` of a floating-point number never has an exponent.
    number
        .is_finite()
        .then(|| plain_digits(&number.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(kind: Type) -> Column {
        Column {
            name: "k".to_owned(),
            kind,
            db_type: "x".to_owned(),
            native: 0,
            is_nullable: true,
            default: None,
            is_auto_increment: false,
            is_generated: false,
            length: None,
            precision: None,
            scale: None,
            picklist: Vec::new(),
            description: None,
            settings: None,
        }
    }

    fn canonical(value: &Value<'_>, kind: &Type) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        write_canonical(&mut out, &bound(value, &column(kind.clone()))?);
        Some(out)
    }

    const ID: [u8; 16] = [0x6f; 16];
    const ID_TEXT: &str = "6F6F6F6F-6f6f-6f6f-6f6f-6f6f6f6f6f6f";

    #[test]
    fn what_collations_pass_over_is_passed_over_loosely() {
        for (one, other) in [
            ("DE ", "de"),
            ("Été", "ete"),
            ("e\u{301}te", "ÊTE"),
            ("Straße", "STRASSE"),
        ] {
            assert_eq!(loose(one), loose(other), "{one}");
        }
        assert_ne!(loose("a b"), loose("ab"));
        assert_ne!(loose("日本"), loose("日木"));
    }

    #[test]
    fn values_of_different_types_are_equal_where_the_column_says_so() {
        for (kind, equal) in [
            (
                Type::Integer,
                vec![
                    Value::Int(1),
                    Value::UInt(1),
                    Value::Decimal("1.00"),
                    Value::Float(1.0),
                    Value::Text("1"),
                ],
            ),
            (
                Type::Decimal,
                vec![
                    Value::Int(-10),
                    Value::Decimal("-10.0"),
                    Value::Decimal("-010"),
                    Value::Text("-10.00"),
                ],
            ),
            (
                Type::Text,
                vec![Value::Int(1), Value::Decimal("1.0"), Value::Text("1")],
            ),
            (Type::Uuid, vec![Value::Uuid(ID), Value::Text(ID_TEXT)]),
            (
                Type::Text,
                vec![
                    Value::Uuid(ID),
                    Value::Text("6f6f6f6f-6f6f-6f6f-6f6f-6f6f6f6f6f6f"),
                ],
            ),
            (Type::Boolean, vec![Value::Bool(true), Value::Int(1)]),
            (
                Type::DateTime,
                vec![
                    Value::Timestamp(0),
                    Value::Text("1970-01-01 00:00:00"),
                    Value::Text("1970-01-01T00:00:00.000"),
                ],
            ),
            (Type::Binary, vec![Value::Bytes(&[1]), Value::Bytes(&[1])]),
        ] {
            let first = canonical(&equal[0], &kind);
            assert!(first.is_some(), "{kind:?}");
            for value in &equal {
                assert_eq!(canonical(value, &kind), first, "{value:?} as {kind:?}");
            }
        }
    }

    #[test]
    fn what_a_column_cannot_hold_equals_nothing() {
        for (value, kind) in [
            (Value::Null, Type::Text),
            (Value::Text("one"), Type::Integer),
            (Value::Text(""), Type::Integer),
            (Value::Decimal("1.5"), Type::Integer),
            (Value::Int(5_000_000_000), Type::Integer),
            (Value::Float(f64::NAN), Type::Double),
            (Value::Bytes(&[1]), Type::Text),
            (Value::Json("1"), Type::Integer),
            (Value::Int(1), Type::Json),
            (Value::Text("x"), Type::Uuid),
        ] {
            assert_eq!(
                bound(&value, &column(kind.clone())),
                None,
                "{value:?} as {kind:?}"
            );
        }
    }

    #[test]
    fn different_values_stay_different() {
        for (kind, left, right) in [
            (Type::Text, Value::Text("1"), Value::Text("1.0")),
            (Type::Text, Value::Text("a"), Value::Text("A")),
            (Type::Text, Value::Text(""), Value::Text(" ")),
            (Type::Decimal, Value::Decimal("10"), Value::Decimal("1")),
            (
                Type::BigInt,
                Value::Int(9_007_199_254_740_993),
                Value::Int(9_007_199_254_740_992),
            ),
        ] {
            assert_ne!(canonical(&left, &kind), canonical(&right, &kind));
        }
    }
}
