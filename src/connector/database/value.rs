//! Values on their way out of a driver ([`Value`], borrowed) and on their way in ([`Scalar`], owned).

use std::fmt::Write as _;

/// One value of a row, borrowed from the driver's own buffer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    /// SQL NULL
    Null,
    /// A truth value.
    Bool(bool),
    /// A signed integer.
    Int(i64),
    /// An unsigned integer.
    UInt(u64),
    /// A double-precision number.
    Float(f64),
    /// A single-precision number, printed with its own shortest digits.
    Float32(f32),
    /// An exact number as its digits: `-12.50`. Never an exponent; `NaN` and infinities are [`Value::Text`].
    Decimal(&'a str),
    /// Text.
    Text(&'a str),
    /// Binary data; base64 in every format.
    Bytes(&'a [u8]),
    /// A JSON text, already valid: JSON columns, arrays, related records.
    Json(&'a str),
    /// Days since 1970-01-01.
    Date(i32),
    /// Microseconds since midnight, and seconds east of UTC if the type has a zone.
    Time(i64, Option<i32>),
    /// Microseconds since 1970-01-01T00:00:00, without a zone.
    Timestamp(i64),
    /// Microseconds since 1970-01-01T00:00:00Z.
    TimestampTz(i64),
    /// A UUID.
    Uuid([u8; 16]),
}

/// A value to be bound, converted to what its column holds.
#[derive(Clone, Debug, PartialEq)]
pub enum Scalar {
    /// SQL NULL
    Null,
    /// A truth value.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// An exact number as its digits.
    Decimal(String),
    /// A double-precision number.
    Float(f64),
    /// Text; also everything that the database itself parses from text (dates, intervals, enums, networks).
    Text(String),
    /// Binary data.
    Bytes(Vec<u8>),
    /// A JSON text.
    Json(String),
    /// A date, a time or a timestamp, checked, in the form `YYYY-MM-DD`, `HH:MM:SS[.ffffff][+hh:mm]`,
    /// `YYYY-MM-DDTHH:MM:SS[.ffffff]`, with `Z` or an offset for types that have a zone.
    Temporal(String),
    /// A UUID.
    Uuid([u8; 16]),
    /// An array; elements are converted to the element type.
    Array(Vec<Scalar>),
}

impl Scalar {
    /// The owned form of a value that came out of the database, for keys and cursors.
    pub fn from_value(value: &Value<'_>) -> Self {
        match *value {
            Value::Null => Self::Null,
            Value::Bool(value) => Self::Bool(value),
            Value::Int(value) => Self::Int(value),
            Value::UInt(value) => {
                i64::try_from(value).map_or_else(|_| Self::Decimal(value.to_string()), Self::Int)
            }
            Value::Float(value) => Self::Float(value),
            Value::Float32(value) => Self::Float(f64::from(value)),
            Value::Decimal(value) => Self::Decimal(value.to_owned()),
            Value::Text(value) => Self::Text(value.to_owned()),
            Value::Bytes(value) => Self::Bytes(value.to_vec()),
            Value::Json(value) => Self::Json(value.to_owned()),
            Value::Uuid(value) => Self::Uuid(value),
            Value::Date(_) | Value::Time(..) | Value::Timestamp(_) | Value::TimestampTz(_) => {
                let mut text = String::with_capacity(32);
                write_temporal(&mut text, value, DateTimeStyle::Rfc3339);
                Self::Temporal(text)
            }
        }
    }
}

/// The word for a floating-point number that is not finite, for which JSON has no number (RFC 8259 section 6). Null
/// would be a lie; these are the words of PostgreSQL, which [`super::convert`] reads too.
pub fn infinite_word(number: f64) -> Option<&'static str> {
    if number.is_finite() {
        None
    } else if number.is_nan() {
        Some("NaN")
    } else if number > 0.0 {
        Some("Infinity")
    } else {
        Some("-Infinity")
    }
}

/// How dates and times are written.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, serde::Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum DateTimeStyle {
    /// RFC 3339: `2026-02-01T10:00:00Z`
    #[default]
    Rfc3339,
    /// As DreamFactory has it: `2026-02-01 10:00:00`
    Sql,
}

/// How integers and decimals are written.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, serde::Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum NumberStyle {
    /// JSON numbers with all their digits.
    #[default]
    Number,
    /// Decimals and 64-bit integers as strings, for clients that would lose digits.
    String,
}

/// Appends a date, a time or a timestamp. A fraction of a second has no trailing zeros. Other values append
/// nothing. Years outside 0000..9999 get a sign and at least four digits (ISO 8601 section 4.3.2).
pub fn write_temporal(out: &mut String, value: &Value<'_>, style: DateTimeStyle) {
    match *value {
        Value::Date(days) => write_date(out, i64::from(days)),
        Value::Time(micros, offset) => {
            write_time(out, micros);
            if let Some(seconds) = offset {
                write_offset(out, seconds);
            }
        }
        Value::Timestamp(micros) | Value::TimestampTz(micros) => {
            write_date(out, micros.div_euclid(MICROS_PER_DAY));
            out.push(if style == DateTimeStyle::Sql {
                ' '
            } else {
                'T'
            });
            write_time(out, micros.rem_euclid(MICROS_PER_DAY));
            if matches!(value, Value::TimestampTz(_)) {
                out.push_str(if style == DateTimeStyle::Sql {
                    "+00:00"
                } else {
                    "Z"
                });
            }
        }
        _ => {}
    }
}

/// Microseconds in a day.
pub const MICROS_PER_DAY: i64 = 86_400_000_000;

fn write_date(out: &mut String, days: i64) {
    // Civil-from-days for the proleptic Gregorian calendar (H. Hinnant, "chrono-Compatible Low-Level Date
    // Algorithms").
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_index = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_index + 2) / 5 + 1;
    let month = if month_index < 10 {
        month_index + 3
    } else {
        month_index - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    if (0..=9999).contains(&year) {
        push_two_digits(out, year / 100);
        push_two_digits(out, year % 100);
    } else {
        let _ = write!(out, "{year:+05}");
    }
    out.push('-');
    push_two_digits(out, month);
    out.push('-');
    push_two_digits(out, day);
}

/// Appends a number below 100. Dates are written for every row, and this is many times faster than `write!`.
fn push_two_digits(out: &mut String, number: i64) {
    for digit in [number / 10 % 10, number % 10] {
        out.push(u8::try_from(digit).map_or('0', |digit| char::from(b'0' + digit)));
    }
}

fn write_time(out: &mut String, micros: i64) {
    let seconds = micros / 1_000_000;
    let mut fraction = micros % 1_000_000;
    push_two_digits(out, seconds / 3600);
    out.push(':');
    push_two_digits(out, seconds / 60 % 60);
    out.push(':');
    push_two_digits(out, seconds % 60);
    if fraction != 0 {
        out.push('.');
        while fraction != 0 {
            let digit = u8::try_from(fraction / 100_000).unwrap_or_default();
            out.push(char::from(b'0' + digit));
            fraction = fraction % 100_000 * 10;
        }
    }
}

fn write_offset(out: &mut String, seconds: i32) {
    if seconds == 0 {
        out.push('Z');
        return;
    }
    let absolute = seconds.abs();
    let _ = write!(
        out,
        "{}{:02}:{:02}",
        if seconds < 0 { '-' } else { '+' },
        absolute / 3600,
        absolute / 60 % 60
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(value: Value<'_>, style: DateTimeStyle) -> String {
        let mut out = String::new();
        write_temporal(&mut out, &value, style);
        out
    }

    #[test]
    fn dates_and_times_are_rfc_3339() {
        for (value, expected) in [
            (Value::Date(0), "1970-01-01"),
            (Value::Date(-1), "1969-12-31"),
            (Value::Date(11_016), "2000-02-29"),
            (Value::Date(2_932_896), "9999-12-31"),
            (Value::Date(2_932_897), "+10000-01-01"),
            (Value::Time(36_000_000_000, None), "10:00:00"),
            (
                Value::Time(36_000_120_000, Some(-19_800)),
                "10:00:00.12-05:30",
            ),
            (Value::Timestamp(-1), "1969-12-31T23:59:59.999999"),
            (
                Value::TimestampTz(1_769_940_000_500_000),
                "2026-02-01T10:00:00.5Z",
            ),
        ] {
            assert_eq!(text(value, DateTimeStyle::Rfc3339), expected);
        }
        assert_eq!(
            text(Value::Timestamp(1_769_940_000_000_000), DateTimeStyle::Sql),
            "2026-02-01 10:00:00"
        );
    }
}
