//! Values between SQLite and the gateway: stored value × declared type → [`Value`], and [`Scalar`] → what is bound.
//! Pure.

use std::fmt::Write as _;

use bytes::BytesMut;
use rusqlite::types::{ToSqlOutput, Value as Stored, ValueRef};

use super::declared::declared;
use crate::connector::database::catalog::Type;
use crate::connector::database::rows::write_json_value;
use crate::connector::database::temporal::parse_temporal;
use crate::connector::database::value::{
    DateTimeStyle, NumberStyle, Scalar, Value, write_temporal,
};
use crate::error::{Error, ErrorKind, Result, brief};

/// What the declared type of a result's column says about its values. An output that is no column of a table is named
/// after the type that it has, by the dialect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Guide {
    /// Nothing: values are given as they are stored.
    Stored,
    /// 0 and 1 are truth values.
    Boolean,
    /// Numbers and texts of digits are exact decimals.
    Decimal,
    /// Texts may be dates, times or timestamps.
    Temporal,
    /// Texts may be JSON.
    Json,
    /// Texts are JSON, because the gateway made them.
    MadeJson,
    /// 16 bytes are a UUID.
    Uuid,
}

impl Guide {
    /// The guide for a column with this declared type.
    pub(super) fn of(declared_type: &str) -> Self {
        match declared(declared_type).kind {
            Type::Boolean => Self::Boolean,
            Type::Decimal | Type::Money => Self::Decimal,
            Type::Date | Type::Time | Type::TimeTz | Type::DateTime | Type::TimestampTz => {
                Self::Temporal
            }
            Type::Json => Self::Json,
            Type::Uuid => Self::Uuid,
            _ => Self::Stored,
        }
    }
}

/// Gives a stored value as the caller is to see it to `take`. `scratch` is reused for digits.
///
/// Text that is not UTF-8 is given with U+FFFD where it is broken.
pub(super) fn decode(
    stored: ValueRef<'_>,
    guide: Guide,
    scratch: &mut String,
    take: &mut impl FnMut(&Value<'_>),
) {
    match stored {
        ValueRef::Null => take(&Value::Null),
        ValueRef::Integer(number) => match guide {
            Guide::Boolean if number == 0 || number == 1 => take(&Value::Bool(number == 1)),
            Guide::Decimal => {
                scratch.clear();
                let _ = write!(scratch, "{number}");
                take(&Value::Decimal(scratch));
            }
            _ => take(&Value::Int(number)),
        },
        ValueRef::Real(number) => {
            if guide == Guide::Decimal && number.is_finite() {
                write_decimal(scratch, number);
                take(&Value::Decimal(scratch));
            } else {
                take(&Value::Float(number));
            }
        }
        ValueRef::Text(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => take(&guided_text(text, guide)),
            Err(_) => take(&Value::Text(&String::from_utf8_lossy(bytes))),
        },
        ValueRef::Blob(bytes) => match <[u8; 16]>::try_from(bytes) {
            Ok(uuid) if guide == Guide::Uuid => take(&Value::Uuid(uuid)),
            _ => take(&Value::Bytes(bytes)),
        },
    }
}

/// The shortest digits that give the same double, never with an exponent. A decimal with more than 15 digits was never
/// stored (see [`bind`]): more come from adding up, and are rounded away.
fn write_decimal(scratch: &mut String, number: f64) {
    scratch.clear();
    let _ = write!(scratch, "{number}");
    if significant_digits(scratch) > DIGITS_OF_A_DOUBLE {
        // 14 digits after the first one.
        let rounded = format!("{number:.14e}").parse().unwrap_or(number);
        scratch.clear();
        let _ = write!(scratch, "{rounded}");
    }
}

/// Digits from the first to the last that is not zero.
fn significant_digits(digits: &str) -> usize {
    let only = || digits.bytes().filter(u8::is_ascii_digit);
    let leading = only().take_while(|byte| *byte == b'0').count();
    let trailing = only().rev().take_while(|byte| *byte == b'0').count();
    only()
        .count()
        .saturating_sub(leading.saturating_add(trailing))
}

/// A stored value as JSON, for what a statement puts into JSON by itself.
pub(super) fn to_json(
    stored: ValueRef<'_>,
    guide: Guide,
    numbers: NumberStyle,
    datetimes: DateTimeStyle,
) -> String {
    let mut out = BytesMut::new();
    let mut digits = String::new();
    let mut scratch = String::new();
    decode(stored, guide, &mut digits, &mut |value| {
        write_json_value(&mut out, &mut scratch, numbers, datetimes, value);
    });
    String::from_utf8_lossy(&out).into_owned()
}

fn guided_text(text: &str, guide: Guide) -> Value<'_> {
    match guide {
        Guide::MadeJson => Value::Json(text),
        Guide::Json if is_json(text) => Value::Json(text),
        Guide::Decimal if is_plain_number(text) => Value::Decimal(text),
        Guide::Temporal => parse_temporal(text).unwrap_or(Value::Text(text)),
        _ => Value::Text(text),
    }
}

fn is_json(text: &str) -> bool {
    serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
}

/// Whether a text is a JSON number without an exponent: `-12.50`.
fn is_plain_number(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = digits
        .split_once('.')
        .map_or((digits, None), |(whole, rest)| (whole, Some(rest)));
    let all_digits =
        |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    all_digits(whole)
        && (whole == "0" || !whole.starts_with('0'))
        && fraction.is_none_or(all_digits)
}

/// What is bound for a value.
///
/// * Truth values are 1 and 0, UUIDs and JSON texts are text.
/// * A timestamp is stored as SQLite's own functions print it, with a space: `2026-02-01 10:00:00`, so that it can be
///   compared with `CURRENT_TIMESTAMP` and given to `date()`. With an offset it is stored in UTC with `Z`.
/// * A decimal becomes an integer or a double: a column declared NUMERIC or DECIMAL would turn text into one of them
///   anyway. One with more than 15 significant digits that is no 64-bit integer would lose some and is refused.
pub(super) fn bind(scalar: &Scalar) -> Result<ToSqlOutput<'_>> {
    Ok(match scalar {
        Scalar::Null => ToSqlOutput::Borrowed(ValueRef::Null),
        Scalar::Bool(value) => ToSqlOutput::Borrowed(ValueRef::Integer(i64::from(*value))),
        Scalar::Int(value) => ToSqlOutput::Borrowed(ValueRef::Integer(*value)),
        Scalar::Decimal(digits) => ToSqlOutput::Owned(exact_number(digits)?),
        Scalar::Float(value) if value.is_nan() => {
            return Err(Error::new(
                ErrorKind::InvalidValue,
                "SQLite cannot hold a number that is not a number",
            ));
        }
        Scalar::Float(value) => ToSqlOutput::Borrowed(ValueRef::Real(*value)),
        // A bare JSON number is changed by the affinity of a column declared JSON just as a decimal is.
        Scalar::Json(text) if is_plain_number(text.trim()) => {
            ToSqlOutput::Owned(exact_number(text.trim())?)
        }
        Scalar::Text(text) | Scalar::Json(text) => text_to_bind(text)?,
        Scalar::Bytes(bytes) => ToSqlOutput::Borrowed(ValueRef::Blob(bytes)),
        Scalar::Temporal(text) => ToSqlOutput::Owned(Stored::Text(stored_temporal(text))),
        Scalar::Uuid(bytes) => ToSqlOutput::Owned(Stored::Text(
            uuid::Uuid::from_bytes(*bytes).hyphenated().to_string(),
        )),
        Scalar::Array(_) => {
            return Err(Error::new(ErrorKind::InvalidValue, "SQLite has no arrays")
                .with_help("send a JSON text, or use a table of its own"));
        }
    })
}

fn text_to_bind(text: &str) -> Result<ToSqlOutput<'_>> {
    if text.as_bytes().contains(&0) {
        return Err(Error::new(
            ErrorKind::InvalidValue,
            "a text holds the character U+0000, at which SQLite's functions would cut it off",
        ));
    }
    Ok(ToSqlOutput::Borrowed(ValueRef::Text(text.as_bytes())))
}

/// Most significant digits that a double gives back unchanged (C's `DBL_DIG`).
const DIGITS_OF_A_DOUBLE: usize = 15;

fn exact_number(digits: &str) -> Result<Stored> {
    let invalid = || {
        Error::new(
            ErrorKind::InvalidValue,
            format!("SQLite would not keep all digits of {}", brief(digits)),
        )
        .with_help("use at most 15 significant digits, or a column declared TEXT")
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if fraction.bytes().all(|byte| byte == b'0')
        && let Ok(number) = whole.parse::<i64>()
    {
        return Ok(Stored::Integer(number));
    }
    let number = digits.parse::<f64>().map_err(|_malformed| invalid())?;
    if significant_digits(digits) > DIGITS_OF_A_DOUBLE || !number.is_finite() {
        return Err(invalid());
    }
    Ok(Stored::Real(number))
}

fn stored_temporal(text: &str) -> String {
    match parse_temporal(text) {
        Some(Value::TimestampTz(micros)) => {
            let mut out = String::with_capacity(32);
            write_temporal(&mut out, &Value::Timestamp(micros), DateTimeStyle::Sql);
            out.push('Z');
            out
        }
        Some(Value::Timestamp(_)) => text.replacen(['T', 't'], " ", 1),
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text_of(stored: ValueRef<'_>, declared_type: Option<&str>) -> String {
        let mut out = String::new();
        decode(
            stored,
            declared_type.map_or(Guide::Stored, Guide::of),
            &mut String::new(),
            &mut |value| out = format!("{value:?}"),
        );
        out
    }

    #[test]
    fn the_stored_value_decides_and_the_declared_type_guides() {
        let text = |text: &'static str| ValueRef::Text(text.as_bytes());
        for (stored, declared_type, expected) in [
            (ValueRef::Integer(1), Some("BOOLEAN"), "Bool(true)"),
            (ValueRef::Integer(0), Some("tinyint(1)"), "Bool(false)"),
            (ValueRef::Integer(2), Some("BOOLEAN"), "Int(2)"),
            (text("yes"), Some("BOOLEAN"), "Text(\"yes\")"),
            (
                ValueRef::Integer(i64::MAX),
                Some("INTEGER"),
                "Int(9223372036854775807)",
            ),
            (ValueRef::Integer(5), None, "Int(5)"),
            (
                ValueRef::Integer(5),
                Some("DECIMAL(10,2)"),
                "Decimal(\"5\")",
            ),
            (ValueRef::Real(0.1), Some("NUMERIC"), "Decimal(\"0.1\")"),
            (
                ValueRef::Real(1e21),
                Some("NUMERIC"),
                "Decimal(\"1000000000000000000000\")",
            ),
            (
                ValueRef::Real(0.1 + 0.2),
                Some("NUMERIC"),
                "Decimal(\"0.3\")",
            ),
            (
                ValueRef::Real(99_999_999_999.999_9),
                Some("NUMERIC"),
                "Decimal(\"99999999999.9999\")",
            ),
            (ValueRef::Real(0.5), None, "Float(0.5)"),
            (text("12.50"), Some("DECIMAL"), "Decimal(\"12.50\")"),
            (text("1e5"), Some("DECIMAL"), "Text(\"1e5\")"),
            (text("007"), Some("DECIMAL"), "Text(\"007\")"),
            (text("1970-01-02"), Some("DATE"), "Date(1)"),
            (text("1970-01-02"), Some("TEXT"), "Text(\"1970-01-02\")"),
            (
                text("1970-01-01 00:00:01"),
                Some("DATETIME"),
                "Timestamp(1000000)",
            ),
            (
                text("1970-01-01T00:00:01.5"),
                Some("TIMESTAMP"),
                "Timestamp(1500000)",
            ),
            (
                text("1970-01-01T01:00:00+01:00"),
                Some("DATETIME"),
                "TimestampTz(0)",
            ),
            (text("1970-01-01T00:00:00Z"), Some("DATE"), "TimestampTz(0)"),
            (text("1970-01-01 00:00"), Some("DATETIME"), "Timestamp(0)"),
            (text("10:00:00"), Some("TIME"), "Time(36000000000, None)"),
            (text("1970-02-30"), Some("DATE"), "Text(\"1970-02-30\")"),
            (
                text("2026-02-01T"),
                Some("DATETIME"),
                "Text(\"2026-02-01T\")",
            ),
            (text("10:é0:00"), Some("TIME"), "Text(\"10:é0:00\")"),
            (text("{\"a\":1}"), Some("JSON"), "Json(\"{\\\"a\\\":1}\")"),
            (text("{a"), Some("JSON"), "Text(\"{a\")"),
            (
                ValueRef::Blob(&[0; 16]),
                Some("UUID"),
                "Uuid([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])",
            ),
            (ValueRef::Blob(&[1]), Some("UUID"), "Bytes([1])"),
            (ValueRef::Text(&[b'a', 0xff]), None, "Text(\"a\u{fffd}\")"),
            (ValueRef::Null, Some("BOOLEAN"), "Null"),
        ] {
            assert_eq!(
                text_of(stored, declared_type),
                expected,
                "{declared_type:?}"
            );
        }
    }

    #[test]
    fn values_are_bound_so_that_nothing_is_lost() {
        let bound = |scalar: &Scalar| match bind(scalar) {
            Ok(ToSqlOutput::Borrowed(value)) => format!("{value:?}"),
            Ok(ToSqlOutput::Owned(value)) => format!("{:?}", ValueRef::from(&value)),
            Ok(_) => unreachable!(),
            Err(error) => error.kind().name().to_owned(),
        };
        for (scalar, expected) in [
            (Scalar::Bool(true), "Integer(1)".to_owned()),
            (Scalar::Decimal("12.50".into()), "Real(12.5)".to_owned()),
            (Scalar::Decimal("-3.000".into()), "Integer(-3)".to_owned()),
            (
                Scalar::Decimal("9223372036854775807".into()),
                "Integer(9223372036854775807)".to_owned(),
            ),
            (
                Scalar::Decimal("9223372036854775808".into()),
                "invalid_value".to_owned(),
            ),
            (
                Scalar::Decimal("0.1234567890123456".into()),
                "invalid_value".to_owned(),
            ),
            (
                Scalar::Decimal("0.000000000000000012".into()),
                "Real(1.2e-17)".to_owned(),
            ),
            (
                Scalar::Json("12345678901234567890".into()),
                "invalid_value".to_owned(),
            ),
            (Scalar::Float(f64::NAN), "invalid_value".to_owned()),
            (Scalar::Text("a\0b".into()), "invalid_value".to_owned()),
            (Scalar::Array(vec![]), "invalid_value".to_owned()),
        ] {
            assert_eq!(bound(&scalar), expected, "{scalar:?}");
        }
        for (given, stored) in [
            ("2026-02-01T10:00:00", "2026-02-01 10:00:00"),
            ("2026-02-01T10:00:00.25", "2026-02-01 10:00:00.25"),
            ("2026-02-01T10:00:00+02:00", "2026-02-01 08:00:00Z"),
            ("2026-02-01", "2026-02-01"),
            ("10:00:00", "10:00:00"),
        ] {
            assert_eq!(stored_temporal(given), stored);
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_breaks_the_reading_of_dates(text in "\\PC{0,40}") {
            let _ = parse_temporal(&text);
            let _ = is_plain_number(&text);
        }

        #[test]
        fn a_timestamp_is_read_back_as_it_was_written(micros in -62_135_596_800_000_000_i64..253_402_300_799_000_000) {
            let mut text = String::new();
            write_temporal(
                &mut text,
                &Value::Timestamp(micros),
                DateTimeStyle::Rfc3339,
            );
            proptest::prop_assert_eq!(parse_temporal(&stored_temporal(&text)), Some(Value::Timestamp(micros)));
        }
    }
}
