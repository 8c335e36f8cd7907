//! Texts and JSON values → what a column holds. Pure.
//!
//! Strict where digits or meaning could be lost, lenient in spelling. What a database itself parses from text (enums,
//! intervals, networks) passes through.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use base64::engine::{DecodePaddingMode, general_purpose};
use chrono::{NaiveDate, NaiveTime, TimeDelta, Timelike};
use serde_json::value::RawValue;

use super::catalog::{Column, Type};
use super::value::{Scalar, infinite_word};
use crate::error::{Error, ErrorKind, Result};

/// Most digits of a decimal, exponent included. PostgreSQL's `numeric` holds more before the point than this, no
/// product holds more behind it.
pub const MAX_DECIMAL_DIGITS: usize = 1_000;

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);
const BASE64_URL: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A text, as it stands in a filter, a path or a CSV file, as a value of a column.
///
/// [`ErrorKind::InvalidValue`] if the column cannot hold it.
pub fn from_text(column: &Column, text: &str) -> Result<Scalar> {
    if text.contains('\0') {
        return Err(refusal(column, "text without NUL characters"));
    }
    if !column.picklist.is_empty() && !column.picklist.iter().any(|value| value == text) {
        return Err(refusal(column, "one of its listed values")
            .with_help(format!("write one of: {}", column.picklist.join(", "))));
    }
    let text = match column.shown_as() {
        Some(Type::Boolean) => match boolean(text.trim()) {
            Some(true) => "1",
            Some(false) => "0",
            None => return Err(wrong(column)),
        },
        _ => text,
    };
    match convert_text(&column.kind, text) {
        Some(value) => Ok(value),
        None => Err(wrong(column)),
    }
}

/// A text as a value of a kind, where it is one.
pub fn text_as(kind: &Type, text: &str) -> Option<Scalar> {
    convert_text(kind, text).filter(|_| !text.contains('\0'))
}

/// A JSON value of a record, other than null, as a value of a column. An empty string stands for NULL where the
/// column may be NULL and is not text, as spreadsheets and CSV files have it.
///
/// [`ErrorKind::InvalidValue`] if the column cannot hold it.
pub fn from_json(column: &Column, value: &RawValue) -> Result<Scalar> {
    let text = value.get();
    if column.kind == Type::Json {
        return Ok(Scalar::Json(text.to_owned()));
    }
    if column.shown_as() == Some(&Type::Json) {
        return Ok(Scalar::Text(text.to_owned()));
    }
    match text.as_bytes().first() {
        Some(b'"') => {
            let text: String =
                serde_json::from_str(text).map_err(|error| wrong(column).with_source(error))?;
            if text.is_empty() && column.is_nullable && !holds_text(&column.kind) {
                return Ok(Scalar::Null);
            }
            from_text(column, &text)
        }
        Some(b'[') => match &column.kind {
            Type::Array(element) => array(element, text).ok_or_else(|| wrong(column)),
            _ => Err(wrong(column)),
        },
        Some(b'{') | None => Err(wrong(column)),
        Some(_) if matches!(column.kind, Type::Array(_)) => Err(wrong(column)),
        Some(_) => from_text(column, text),
    }
}

/// A value as the JSON text that [`from_json`] turns into it.
pub fn to_json(value: &Scalar) -> Result<Box<RawValue>> {
    json(value)
        .map_err(|error| Error::internal("a value could not be written as JSON").with_source(error))
}

fn json(value: &Scalar) -> serde_json::Result<Box<RawValue>> {
    let text = match value {
        Scalar::Null => "null".to_owned(),
        Scalar::Bool(value) => value.to_string(),
        Scalar::Int(value) => value.to_string(),
        Scalar::Decimal(digits) => digits.clone(),
        Scalar::Float(value) => match infinite_word(*value) {
            Some(word) => serde_json::to_string(word)?,
            None => serde_json::to_string(value)?,
        },
        Scalar::Text(text) | Scalar::Temporal(text) => serde_json::to_string(text)?,
        Scalar::Bytes(bytes) => serde_json::to_string(&general_purpose::STANDARD.encode(bytes))?,
        Scalar::Json(text) => text.clone(),
        Scalar::Uuid(bytes) => {
            serde_json::to_string(&uuid::Uuid::from_bytes(*bytes).hyphenated().to_string())?
        }
        Scalar::Array(values) => {
            let values: Vec<Box<RawValue>> =
                values.iter().map(json).collect::<serde_json::Result<_>>()?;
            serde_json::to_string(&values)?
        }
    };
    RawValue::from_string(text)
}

/// The refusal of a value that a column cannot hold: `field 'id' must be a valid integer`.
pub fn wrong(column: &Column) -> Error {
    let (what, help) = describe(column.shown_kind());
    let error = refusal(column, &what);
    match help {
        Some(help) => error.with_help(help),
        None => error,
    }
}

fn refusal(column: &Column, what: &str) -> Error {
    Error::new(
        ErrorKind::InvalidValue,
        format!("field '{}' must be {what}", column.name),
    )
}

/// Whether an empty text is a value of its own, and not the lack of one.
pub fn holds_text(kind: &Type) -> bool {
    matches!(kind, Type::String | Type::Text | Type::Other | Type::Binary)
}

fn describe(kind: &Type) -> (String, Option<&'static str>) {
    let (what, help) = match kind {
        Type::Boolean => ("true or false", None),
        Type::SmallInt => (
            "a valid integer",
            Some("write digits, from -32768 to 32767"),
        ),
        Type::Integer => (
            "a valid integer",
            Some("write digits, from -2147483648 to 2147483647"),
        ),
        Type::BigInt => (
            "a valid integer",
            Some("write digits, from -9223372036854775808 to 9223372036854775807"),
        ),
        Type::Decimal | Type::Money => {
            ("a valid decimal number", Some("write digits, as in 12.50"))
        }
        Type::Float | Type::Double => ("a valid number", Some("write digits, as in 12.5 or 1e9")),
        Type::String | Type::Text | Type::Other => ("text", None),
        Type::Uuid => (
            "a valid UUID",
            Some("write it as in 6f1c9d1e-6c1f-4f0e-8d8e-0f6f2f9a7a10"),
        ),
        Type::Binary => ("base64 text", None),
        Type::Json => ("valid JSON", None),
        Type::Array(element) => {
            let (element, _) = describe(element);
            return (format!("an array whose items are each {element}"), None);
        }
        Type::Date => ("a valid date", Some("write it as in 2026-02-01")),
        Type::Time => ("a valid time", Some("write it as in 10:00:00")),
        Type::TimeTz => ("a valid time", Some("write it as in 10:00:00+01:00")),
        Type::DateTime => (
            "a valid date and time",
            Some("write it as in 2026-02-01T10:00:00"),
        ),
        Type::TimestampTz => (
            "a valid date and time",
            Some("write it as in 2026-02-01T10:00:00Z"),
        ),
    };
    (what.to_owned(), help)
}

fn convert_text(kind: &Type, text: &str) -> Option<Scalar> {
    let trimmed = text.trim();
    match kind {
        Type::Boolean => boolean(trimmed).map(Scalar::Bool),
        Type::SmallInt => integer(trimmed)
            .filter(|value| i16::try_from(*value).is_ok())
            .map(Scalar::Int),
        Type::Integer => integer(trimmed)
            .filter(|value| i32::try_from(*value).is_ok())
            .map(Scalar::Int),
        Type::BigInt => integer(trimmed).map(Scalar::Int),
        Type::Decimal | Type::Money => decimal(trimmed).map(Scalar::Decimal),
        Type::Float => float(trimmed)
            .filter(|value| !value.is_finite() || value.abs() <= f64::from(f32::MAX))
            .map(Scalar::Float),
        Type::Double => float(trimmed).map(Scalar::Float),
        Type::String | Type::Text | Type::Other => Some(Scalar::Text(text.to_owned())),
        Type::Uuid => uuid::Uuid::try_parse(trimmed)
            .ok()
            .map(|value| Scalar::Uuid(value.into_bytes())),
        Type::Binary => BASE64
            .decode(trimmed)
            .or_else(|_| BASE64_URL.decode(trimmed))
            .ok()
            .map(Scalar::Bytes),
        Type::Json => Some(Scalar::Json(
            match serde_json::from_str::<&RawValue>(text) {
                Ok(_) => text.to_owned(),
                Err(_) => serde_json::Value::String(text.to_owned()).to_string(),
            },
        )),
        Type::Array(element) => array(element, text),
        Type::Date => date_only(trimmed).map(Scalar::Temporal),
        Type::Time => time(trimmed, Zone::Without).map(Scalar::Temporal),
        Type::TimeTz => time(trimmed, Zone::With).map(Scalar::Temporal),
        Type::DateTime => timestamp(trimmed, Zone::Without).map(Scalar::Temporal),
        Type::TimestampTz => timestamp(trimmed, Zone::With).map(Scalar::Temporal),
    }
}

/// A JSON array of plain values.
fn array(element: &Type, text: &str) -> Option<Scalar> {
    let items: Vec<&RawValue> = serde_json::from_str(text).ok()?;
    items
        .into_iter()
        .map(|item| {
            let text = item.get();
            if element == &Type::Json {
                return Some(Scalar::Json(text.to_owned()));
            }
            match text.as_bytes().first()? {
                b'n' => Some(Scalar::Null),
                b'"' => {
                    let text: String = serde_json::from_str(text).ok()?;
                    (!text.contains('\0')).then_some(())?;
                    convert_text(element, &text)
                }
                b'[' | b'{' => None,
                _ => convert_text(element, text),
            }
        })
        .collect::<Option<Vec<Scalar>>>()
        .map(Scalar::Array)
}

fn boolean(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" | "y" | "t" => Some(true),
        "false" | "0" | "no" | "off" | "n" | "f" => Some(false),
        _ => None,
    }
}

fn integer(text: &str) -> Option<i64> {
    text.parse().ok()
}

/// A number, or one of the words of [`infinite_word`].
fn float(text: &str) -> Option<f64> {
    if let Some(number) = [f64::INFINITY, f64::NEG_INFINITY, f64::NAN]
        .into_iter()
        .find(|number| infinite_word(*number) == Some(text))
    {
        return Some(number);
    }
    // Rust also reads `inf`, `infinity` and `nan` in any case, and gives infinity for what is too large.
    let is_plain = text
        .bytes()
        .all(|byte| byte.is_ascii_digit() || matches!(byte, b'+' | b'-' | b'.' | b'e' | b'E'));
    let value: f64 = text.parse().ok()?;
    (is_plain && value.is_finite()).then_some(value)
}

/// A number as its digits, without an exponent and without a plus sign.
fn decimal(text: &str) -> Option<String> {
    let (sign, unsigned) = match text.as_bytes().first()? {
        b'-' => ("-", text.get(1..)?),
        b'+' => ("", text.get(1..)?),
        _ => ("", text),
    };
    let (mantissa, exponent) = match unsigned.find(['e', 'E']) {
        Some(position) => {
            let (mantissa, exponent) = unsigned.split_at_checked(position)?;
            (mantissa, exponent.get(1..)?.parse::<i32>().ok()?)
        }
        None => (unsigned, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !is_digits(whole) || !is_digits(fraction) || (whole.is_empty() && fraction.is_empty()) {
        return None;
    }
    let shift = usize::try_from(exponent.unsigned_abs()).ok()?;
    let length = whole
        .len()
        .checked_add(fraction.len())?
        .checked_add(shift)?;
    if length > MAX_DECIMAL_DIGITS {
        return None;
    }
    let (whole, fraction) = if exponent >= 0 {
        let padded = format!("{fraction:0<shift$}");
        let (moved, rest) = padded.split_at_checked(shift)?;
        (format!("{whole}{moved}"), rest.to_owned())
    } else {
        let padded = format!("{whole:0>shift$}");
        let (rest, moved) = padded.split_at_checked(padded.len().checked_sub(shift)?)?;
        (rest.to_owned(), format!("{moved}{fraction}"))
    };
    let whole = match whole.trim_start_matches('0') {
        "" => "0",
        digits => digits,
    };
    let point = if fraction.is_empty() { "" } else { "." };
    Some(format!("{sign}{whole}{point}{fraction}"))
}

#[derive(Clone, Copy, PartialEq)]
enum Zone {
    With,
    Without,
}

/// A day; a timestamp at midnight counts as one.
fn date_only(text: &str) -> Option<String> {
    let (day, rest) = date(text)?;
    if !rest.is_empty() {
        let (time, offset) = clock_time(rest.strip_prefix(['T', 't', ' '])?)?;
        let is_midnight = time.num_seconds_from_midnight() == 0 && time.nanosecond() == 0;
        if !is_midnight || offset.is_some_and(|offset| offset != 0) {
            return None;
        }
    }
    Some(day.format("%Y-%m-%d").to_string())
}

fn time(text: &str, zone: Zone) -> Option<String> {
    let (time, offset) = clock_time(text)?;
    let mut out = String::with_capacity(24);
    write_clock(&mut out, time);
    match (zone, offset) {
        (Zone::Without, None) => {}
        (Zone::Without, Some(_)) => return None,
        (Zone::With, None | Some(0)) => out.push('Z'),
        (Zone::With, Some(minutes)) => {
            let sign = if minutes < 0 { '-' } else { '+' };
            let minutes = minutes.abs();
            let _ = write!(out, "{sign}{:02}:{:02}", minutes / 60, minutes % 60);
        }
    }
    Some(out)
}

/// A timestamp; a day alone means midnight. An offset is applied, so the result is in UTC.
fn timestamp(text: &str, zone: Zone) -> Option<String> {
    let (day, rest) = date(text)?;
    let (time, offset) = if rest.is_empty() {
        (NaiveTime::MIN, None)
    } else {
        clock_time(rest.strip_prefix(['T', 't', ' '])?)?
    };
    let local = day.and_time(time);
    let utc = local.checked_sub_signed(TimeDelta::try_minutes(i64::from(offset.unwrap_or(0)))?)?;
    let mut out = utc.date().format("%Y-%m-%d").to_string();
    // An offset must not lead out of the years with four digits.
    if out.len() != 10 {
        return None;
    }
    out.push('T');
    write_clock(&mut out, utc.time());
    if zone == Zone::With {
        out.push('Z');
    }
    Some(out)
}

fn write_clock(out: &mut String, time: NaiveTime) {
    let _ = write!(out, "{}", time.format("%H:%M:%S"));
    let micros = time.nanosecond() / 1_000;
    if micros != 0 {
        let digits = format!("{micros:06}");
        out.push('.');
        out.push_str(digits.trim_end_matches('0'));
    }
}

/// `YYYY-MM-DD` and what follows it. The years 1 to 9999.
fn date(text: &str) -> Option<(NaiveDate, &str)> {
    let (head, rest) = text.split_at_checked(10)?;
    let mut parts = head.splitn(3, '-');
    let (year, month, day) = (parts.next()?, parts.next()?, parts.next()?);
    let lengths = (year.len(), month.len(), day.len());
    if lengths != (4, 2, 2) {
        return None;
    }
    let year = i32::try_from(digits(year)?).ok().filter(|year| *year > 0)?;
    Some((
        NaiveDate::from_ymd_opt(year, digits(month)?, digits(day)?)?,
        rest,
    ))
}

/// `HH:MM[:SS[.fraction]]` and an offset in minutes, if there is one. Digits beyond microseconds are dropped.
fn clock_time(text: &str) -> Option<(NaiveTime, Option<i32>)> {
    let end = text.find(['Z', 'z', '+', '-']).unwrap_or(text.len());
    let (clock, zone) = text.split_at_checked(end)?;
    let offset = offset(zone.trim())?;
    let clock = clock.trim_end();
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, "0"));
    let mut parts = clock.split(':');
    let (hour, minute) = (two_digits(parts.next()?)?, two_digits(parts.next()?)?);
    let second = parts.next();
    if parts.next().is_some() || (second.is_none() && fraction != "0") || fraction.len() > 18 {
        return None;
    }
    let second = second.map_or(Some(0), two_digits)?;
    digits(fraction.get(..fraction.len().min(9))?)?;
    let micros: String = fraction.chars().chain("000000".chars()).take(6).collect();
    let time = NaiveTime::from_hms_micro_opt(hour, minute, second, digits(&micros)?)?;
    Some((time, offset))
}

/// `Z`, `+01`, `+0100`, `+01:00` in minutes; none for no text; nothing at all for a wrong one.
#[expect(
    clippy::option_option,
    reason = "the outer one says whether the text is right"
)]
fn offset(text: &str) -> Option<Option<i32>> {
    if text.is_empty() {
        return Some(None);
    }
    if text.eq_ignore_ascii_case("z") {
        return Some(Some(0));
    }
    let (sign, rest) = if let Some(rest) = text.strip_prefix('-') {
        (-1, rest)
    } else {
        (1, text.strip_prefix('+')?)
    };
    let plain = rest.replacen(':', "", 1);
    let (hours, minutes) = match plain.len() {
        2 => (plain.as_str(), "00"),
        4 => plain.split_at_checked(2)?,
        _ => return None,
    };
    let (hours, minutes) = (two_digits(hours)?, two_digits(minutes)?);
    if hours > 15 || minutes > 59 {
        return None;
    }
    Some(Some(sign * i32::try_from(hours * 60 + minutes).ok()?))
}

fn two_digits(text: &str) -> Option<u32> {
    if text.len() == 2 { digits(text) } else { None }
}

fn digits(text: &str) -> Option<u32> {
    let is_digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if is_digits { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn column(kind: Type) -> Column {
        Column {
            name: "x".to_owned(),
            kind,
            db_type: String::new(),
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

    fn from(kind: Type, text: &str) -> Result<Scalar> {
        let value = RawValue::from_string(text.to_owned()).unwrap();
        from_json(&column(kind), &value)
    }

    #[test]
    fn texts_become_what_the_column_holds() {
        let temporal = |text: &str| Some(Scalar::Temporal(text.to_owned()));
        let digits = |text: &str| Some(Scalar::Decimal(text.to_owned()));
        for (kind, text, expected) in [
            (Type::Boolean, "Yes", Some(Scalar::Bool(true))),
            (Type::Boolean, "f", Some(Scalar::Bool(false))),
            (Type::Boolean, "2", None),
            (Type::SmallInt, "32767", Some(Scalar::Int(32_767))),
            (Type::SmallInt, "32768", None),
            (
                Type::Integer,
                "-2147483648",
                Some(Scalar::Int(-2_147_483_648)),
            ),
            (Type::Integer, "2147483648", None),
            (
                Type::BigInt,
                "9223372036854775807",
                Some(Scalar::Int(i64::MAX)),
            ),
            (Type::BigInt, "9223372036854775808", None),
            (Type::Integer, "1; DROP TABLE t", None),
            (Type::Integer, "1.0", None),
            (Type::Integer, "", None),
            (Type::Decimal, "00012.50", digits("12.50")),
            (Type::Decimal, "+.5", digits("0.5")),
            (Type::Decimal, "-1.25e3", digits("-1250")),
            (Type::Decimal, "12e-4", digits("0.0012")),
            (
                Type::Decimal,
                "12345678901234567890.12",
                digits("12345678901234567890.12"),
            ),
            (Type::Decimal, "1e999999999", None),
            (Type::Decimal, "1e99999999999999999999", None),
            (Type::Decimal, "nan", None),
            (Type::Decimal, ".", None),
            (Type::Decimal, "1.2.3", None),
            (Type::Double, "1e9", Some(Scalar::Float(1e9))),
            (Type::Double, "inf", None),
            (Type::Double, "1e999", None),
            (Type::Double, "inf", None),
            (Type::Double, "Infinity", Some(Scalar::Float(f64::INFINITY))),
            (
                Type::Float,
                "-Infinity",
                Some(Scalar::Float(f64::NEG_INFINITY)),
            ),
            (Type::Float, "1e39", None),
            (
                Type::Uuid,
                "6F1C9D1E6C1F4F0E8D8E0F6F2F9A7A10",
                Some(Scalar::Uuid([
                    0x6f, 0x1c, 0x9d, 0x1e, 0x6c, 0x1f, 0x4f, 0x0e, 0x8d, 0x8e, 0x0f, 0x6f, 0x2f,
                    0x9a, 0x7a, 0x10,
                ])),
            ),
            (Type::Uuid, "6f1c", None),
            (Type::Binary, "AQI=", Some(Scalar::Bytes(vec![1, 2]))),
            (Type::Binary, "_-8", Some(Scalar::Bytes(vec![0xff, 0xef]))),
            (Type::Binary, "http://169.254.169.254/", None),
            (
                Type::Json,
                r#"{"a":1.10}"#,
                Some(Scalar::Json(r#"{"a":1.10}"#.to_owned())),
            ),
            (
                Type::Json,
                "plain",
                Some(Scalar::Json("\"plain\"".to_owned())),
            ),
            (Type::Date, "2026-02-01", temporal("2026-02-01")),
            (Type::Date, "2026-02-01T00:00:00Z", temporal("2026-02-01")),
            (Type::Date, "2026-02-01T00:00:01Z", None),
            (Type::Date, "2026-02-30", None),
            (Type::Date, "2024-02-29", temporal("2024-02-29")),
            (Type::Date, "0000-01-01", None),
            (Type::Date, "2026-2-1", None),
            (Type::Date, "2026-02-01x", None),
            (
                Type::DateTime,
                "2026-02-01",
                temporal("2026-02-01T00:00:00"),
            ),
            (
                Type::DateTime,
                "2026-02-01 00:00:00",
                temporal("2026-02-01T00:00:00"),
            ),
            (
                Type::DateTime,
                "2026-02-01T10:00",
                temporal("2026-02-01T10:00:00"),
            ),
            (
                Type::DateTime,
                "2026-02-01T10:00:00.1200009",
                temporal("2026-02-01T10:00:00.12"),
            ),
            (Type::DateTime, "2026-02-01T10:00:00.é", None),
            (Type::DateTime, "2026-02-01T24:00:00", None),
            (
                Type::TimestampTz,
                "2026-02-01 10:00:00",
                temporal("2026-02-01T10:00:00Z"),
            ),
            (
                Type::TimestampTz,
                "2026-02-01T00:30:00+01:00",
                temporal("2026-01-31T23:30:00Z"),
            ),
            (
                Type::TimestampTz,
                "2026-02-01T00:30:00.5-0530",
                temporal("2026-02-01T06:00:00.5Z"),
            ),
            (Type::TimestampTz, "9999-12-31T23:59:59-01:00", None),
            (Type::Time, "10:00", temporal("10:00:00")),
            (Type::Time, "25:00:00", None),
            (Type::Time, "10:00:00Z", None),
            (
                Type::TimeTz,
                "10:00:00.5-05:30",
                temporal("10:00:00.5-05:30"),
            ),
            (Type::TimeTz, "10:00:00", temporal("10:00:00Z")),
            (Type::Text, "a'b", Some(Scalar::Text("a'b".to_owned()))),
            (Type::Text, "a\0b", None),
            (
                Type::Array(Box::new(Type::Integer)),
                "[1,null,\"3\"]",
                Some(Scalar::Array(vec![
                    Scalar::Int(1),
                    Scalar::Null,
                    Scalar::Int(3),
                ])),
            ),
            (Type::Array(Box::new(Type::Integer)), "[[1]]", None),
            (Type::Array(Box::new(Type::Integer)), "{1,2}", None),
        ] {
            let value = from_text(&column(kind.clone()), text);
            assert_eq!(
                value.as_ref().ok(),
                expected.as_ref(),
                "{kind:?} from {text}"
            );
            if let Err(error) = value {
                assert_eq!(error.kind(), ErrorKind::InvalidValue);
                assert!(error.message().starts_with("field 'x' must be "), "{error}");
            }
        }
    }

    #[test]
    fn json_values_keep_their_digits_and_their_kind() {
        for (kind, text, expected) in [
            (
                Type::Decimal,
                "0.10",
                Some(Scalar::Decimal("0.10".to_owned())),
            ),
            (
                Type::BigInt,
                "9007199254740993",
                Some(Scalar::Int(9_007_199_254_740_993)),
            ),
            (Type::Integer, "\"\"", Some(Scalar::Null)),
            (Type::Integer, "true", None),
            (Type::Integer, "[1]", None),
            (Type::Text, "\"\"", Some(Scalar::Text(String::new()))),
            (Type::Text, "1.50", Some(Scalar::Text("1.50".to_owned()))),
            (Type::Text, "{\"a\":1}", None),
            (Type::Text, r#""a\u0000b""#, None),
            (
                Type::Json,
                "[1, 2]",
                Some(Scalar::Json("[1, 2]".to_owned())),
            ),
            (Type::Json, "\"x\"", Some(Scalar::Json("\"x\"".to_owned()))),
            (Type::Boolean, "1", Some(Scalar::Bool(true))),
            (
                Type::Array(Box::new(Type::Text)),
                "[\"a\"]",
                Some(Scalar::Array(vec![Scalar::Text("a".to_owned())])),
            ),
            (Type::Array(Box::new(Type::Text)), "1", None),
        ] {
            assert_eq!(
                from(kind.clone(), text).ok(),
                expected,
                "{kind:?} from {text}"
            );
        }
    }

    #[test]
    fn a_value_outside_the_picklist_is_told_what_is_in_it() {
        let mut column = column(Type::Other);
        column.picklist = vec!["sad".to_owned(), "happy".to_owned()];
        assert!(from_text(&column, "sad").is_ok());
        let error = from_text(&column, "glad").unwrap_err();
        assert_eq!(error.help(), Some("write one of: sad, happy"));
    }

    proptest! {
        #[test]
        fn no_text_makes_any_conversion_panic(text in ".{0,40}") {
            for kind in [
                Type::Decimal, Type::Date, Type::Time, Type::TimeTz, Type::DateTime, Type::TimestampTz, Type::Binary,
            ] {
                let _ = from_text(&column(kind), &text);
            }
        }

        #[test]
        fn decimals_and_integers_survive(value in any::<i64>(), fraction in "[0-9]{1,10}") {
            let text = format!("{value}.{fraction}");
            prop_assert_eq!(
                from_text(&column(Type::Decimal), &text).unwrap(),
                Scalar::Decimal(text)
            );
        }
    }

    #[test]
    fn a_scalar_written_as_json_reads_back() {
        for (kind, value) in [
            (Type::BigInt, Scalar::Int(5)),
            (Type::Decimal, Scalar::Decimal("1.50".to_owned())),
            (Type::Text, Scalar::Text("a\"b".to_owned())),
            (Type::Binary, Scalar::Bytes(vec![0, 255])),
            (Type::Uuid, Scalar::Uuid([7; 16])),
            (Type::Boolean, Scalar::Bool(true)),
            (Type::Date, Scalar::Temporal("2026-02-01".to_owned())),
        ] {
            let json = to_json(&value).unwrap();
            assert_eq!(from_json(&column(kind), &json).unwrap(), value);
        }
    }
}
