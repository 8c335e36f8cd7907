//! Cells → [`Value`], and [`Scalar`] → [`Bound`]. Pure.

use std::fmt::Write as _;

use chrono::{Datelike as _, NaiveDate};

use super::driver::{Bound, Cell, Moment, Variable};
use crate::connector::database::catalog::Type;
use crate::connector::database::convert;
use crate::connector::database::value::{
    DateTimeStyle, MICROS_PER_DAY, Scalar, Value, write_temporal,
};
use crate::error::{Error, ErrorKind, Result};

/// Most significant digits of a NUMBER ("Data Types").
const MAX_DIGITS: usize = 38;
/// Days from 0001-01-01, as chrono counts them, to 1970-01-01.
const EPOCH: i64 = 719_163;

/// A value as it is bound. An empty text is NULL to Oracle, and so are no bytes.
pub(super) fn bound(value: &Scalar) -> Result<Bound> {
    Ok(match value {
        Scalar::Null => Bound::Null,
        Scalar::Bool(value) => Bound::Whole(i64::from(*value)),
        Scalar::Int(value) => Bound::Whole(*value),
        Scalar::Decimal(digits) => {
            let significant = digits
                .trim_start_matches(['-', '0', '.'])
                .bytes()
                .filter(u8::is_ascii_digit)
                .count();
            let zeros = if digits.contains('.') {
                digits.len() - digits.trim_end_matches('0').len()
            } else {
                digits
                    .bytes()
                    .rev()
                    .take_while(|byte| *byte == b'0')
                    .count()
            };
            if significant.saturating_sub(zeros) > MAX_DIGITS {
                return Err(Error::new(
                    ErrorKind::InvalidValue,
                    "a number has more digits than the database keeps",
                )
                .with_help("write at most 38 digits"));
            }
            Bound::Number(digits.clone())
        }
        Scalar::Float(number) => Bound::Double(*number),
        Scalar::Text(text) | Scalar::Json(text) if text.is_empty() => Bound::Null,
        Scalar::Text(text) | Scalar::Json(text) => Bound::Text(text.clone()),
        Scalar::Temporal(text) => Bound::Text(temporal(text)),
        Scalar::Bytes(bytes) if bytes.is_empty() => Bound::Null,
        Scalar::Bytes(bytes) => Bound::Bytes(bytes.clone()),
        Scalar::Uuid(bytes) => Bound::Bytes(bytes.to_vec()),
        Scalar::Array(_) => Bound::Text(convert::to_json(value)?.get().to_owned()),
    })
}

/// The form that the statements convert from: always with a fraction, and with an offset instead of `Z`.
fn temporal(text: &str) -> String {
    let (moment, zone) = match text.strip_suffix('Z') {
        Some(moment) => (moment, "+00:00"),
        None => (text, ""),
    };
    let fraction = if moment.contains('.') { "" } else { ".0" };
    format!("{moment}{fraction}{zone}")
}

/// The variable for a value that an INSERT returns.
pub(super) fn variable(kind: &Type) -> Variable {
    match kind {
        Type::Boolean
        | Type::SmallInt
        | Type::Integer
        | Type::BigInt
        | Type::Decimal
        | Type::Money => Variable::Number,
        Type::Float | Type::Double => Variable::Double,
        Type::Binary | Type::Uuid => Variable::Bytes,
        Type::Date | Type::DateTime => Variable::Timestamp,
        Type::TimestampTz => Variable::TimestampTz,
        Type::String
        | Type::Text
        | Type::Json
        | Type::Array(_)
        | Type::Time
        | Type::TimeTz
        | Type::Other => Variable::Text,
    }
}

/// Gives a cell to `take` as what its column holds. Needs a text to write into.
pub(super) fn decode(
    cell: &Cell,
    kind: Option<&Type>,
    style: DateTimeStyle,
    scratch: &mut String,
    take: &mut dyn FnMut(&Value<'_>),
) -> Result<()> {
    let value = match cell {
        Cell::Null => Value::Null,
        Cell::Truth(value) => Value::Bool(*value),
        Cell::Number(digits, scale) => number(digits, *scale, kind, scratch),
        Cell::Double(number) => match kind {
            Some(Type::Float) => Value::Float32(narrow(*number)),
            _ => Value::Float(*number),
        },
        Cell::Single(number) => Value::Float32(*number),
        Cell::Text(text) if kind == Some(&Type::Json) => Value::Json(text),
        Cell::Text(text) => Value::Text(text),
        Cell::Bytes(bytes) => Value::Bytes(bytes),
        Cell::Moment(moment) => timestamp(*moment, style, scratch)?,
        Cell::DaysToSeconds(days, hours, minutes, seconds, nanoseconds) => {
            let parts = [*days, *hours, *minutes, *seconds, *nanoseconds];
            scratch.clear();
            if parts.iter().any(|part| *part < 0) {
                scratch.push('-');
            }
            let [days, hours, minutes, seconds, nanoseconds] = parts.map(i32::unsigned_abs);
            let _ = write!(scratch, "P{days}DT{hours}H{minutes}M{seconds}");
            if nanoseconds != 0 {
                let digits = format!("{nanoseconds:09}");
                let _ = write!(scratch, ".{}", digits.trim_end_matches('0'));
            }
            scratch.push('S');
            Value::Text(scratch)
        }
        Cell::YearsToMonths(years, months) => {
            scratch.clear();
            if *years < 0 || *months < 0 {
                scratch.push('-');
            }
            let _ = write!(
                scratch,
                "P{}Y{}M",
                years.unsigned_abs(),
                months.unsigned_abs()
            );
            Value::Text(scratch)
        }
    };
    take(&value);
    Ok(())
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "the column holds single precision, whatever came"
)]
fn narrow(number: f64) -> f32 {
    number as f32
}

/// A number as what its column holds. Trailing zeros, which Oracle does not send, are put back.
fn number<'a>(
    digits: &'a str,
    scale: Option<u8>,
    kind: Option<&Type>,
    scratch: &'a mut String,
) -> Value<'a> {
    match kind {
        Some(Type::Boolean) if matches!(digits, "0" | "1") => return Value::Bool(digits == "1"),
        Some(Type::Boolean | Type::SmallInt | Type::Integer | Type::BigInt) => {
            if let Ok(number) = digits.parse() {
                return Value::Int(number);
            }
        }
        Some(Type::Float | Type::Double) => {
            if let Ok(number) = digits.parse() {
                return Value::Float(number);
            }
        }
        _ => {}
    }
    let scale = scale.map_or(0, usize::from);
    let fraction = digits
        .split_once('.')
        .map_or(0, |(_, fraction)| fraction.len());
    if fraction >= scale {
        return Value::Decimal(digits);
    }
    scratch.clear();
    scratch.push_str(digits);
    if fraction == 0 {
        scratch.push('.');
    }
    for _ in fraction..scale {
        scratch.push('0');
    }
    Value::Decimal(scratch)
}

fn unreadable() -> Error {
    Error::new(
        ErrorKind::BackendFailure,
        "the database answered with a value that cannot be read",
    )
}

/// A timestamp; as its text where it has more digits than microseconds.
fn timestamp(moment: Moment, style: DateTimeStyle, scratch: &mut String) -> Result<Value<'_>> {
    let day =
        NaiveDate::from_ymd_opt(moment.year, moment.month, moment.day).ok_or_else(unreadable)?;
    let days = i64::from(day.num_days_from_ce()) - EPOCH;
    let micros = days * MICROS_PER_DAY
        + i64::from(moment.second) * 1_000_000
        + i64::from(moment.nanosecond / 1_000);
    let value = if moment.is_utc {
        Value::TimestampTz(micros)
    } else {
        Value::Timestamp(micros)
    };
    if moment.nanosecond.is_multiple_of(1_000) {
        return Ok(value);
    }
    let whole = micros - micros.rem_euclid(1_000_000);
    scratch.clear();
    write_temporal(scratch, &Value::Timestamp(whole), style);
    let digits = format!("{:09}", moment.nanosecond);
    let zone = match (moment.is_utc, style) {
        (false, _) => "",
        (true, DateTimeStyle::Rfc3339) => "Z",
        (true, DateTimeStyle::Sql) => "+00:00",
    };
    let _ = write!(scratch, ".{}{zone}", digits.trim_end_matches('0'));
    Ok(Value::Text(scratch))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(cell: &Cell, kind: Option<&Type>) -> String {
        let mut scratch = String::new();
        let mut out = String::new();
        decode(
            cell,
            kind,
            DateTimeStyle::Rfc3339,
            &mut scratch,
            &mut |value| {
                write_temporal(&mut out, value, DateTimeStyle::Rfc3339);
                if out.is_empty() {
                    out = format!("{value:?}");
                }
            },
        )
        .unwrap();
        out
    }

    #[test]
    fn every_cell_has_its_value() {
        let moment = |nanosecond, is_utc| {
            Cell::Moment(Moment {
                year: 2026,
                month: 2,
                day: 1,
                second: 36_000,
                nanosecond,
                is_utc,
            })
        };
        let number = |digits: &str, scale| Cell::Number(digits.to_owned(), scale);
        for (cell, kind, expected) in [
            (Cell::Null, None, "Null"),
            (Cell::Truth(true), Some(Type::Boolean), "Bool(true)"),
            (number("1", Some(0)), Some(Type::Boolean), "Bool(true)"),
            (number("7", Some(0)), Some(Type::Boolean), "Int(7)"),
            (number("-12", Some(0)), Some(Type::Integer), "Int(-12)"),
            (
                number("12.5", Some(2)),
                Some(Type::Decimal),
                "Decimal(\"12.50\")",
            ),
            (
                number("12", Some(2)),
                Some(Type::Decimal),
                "Decimal(\"12.00\")",
            ),
            (number("0.333", None), None, "Decimal(\"0.333\")"),
            (
                number("99999999999999999999", None),
                Some(Type::BigInt),
                "Decimal(\"99999999999999999999\")",
            ),
            (number("0.5", None), Some(Type::Double), "Float(0.5)"),
            (Cell::Double(0.1), Some(Type::Double), "Float(0.1)"),
            (Cell::Single(0.1), Some(Type::Float), "Float32(0.1)"),
            (Cell::Text("é".to_owned()), None, "Text(\"é\")"),
            (
                Cell::Text("[1]".to_owned()),
                Some(Type::Json),
                "Json(\"[1]\")",
            ),
            (Cell::Bytes(vec![0, 255]), None, "Bytes([0, 255])"),
            (moment(0, false), None, "2026-02-01T10:00:00"),
            (moment(500_000_000, true), None, "2026-02-01T10:00:00.5Z"),
            (
                moment(1, false),
                None,
                "Text(\"2026-02-01T10:00:00.000000001\")",
            ),
            (
                moment(120_000_010, true),
                None,
                "Text(\"2026-02-01T10:00:00.12000001Z\")",
            ),
            (
                Cell::DaysToSeconds(-4, -5, 0, -7, -500_000_000),
                None,
                "Text(\"-P4DT5H0M7.5S\")",
            ),
            (Cell::YearsToMonths(2, 3), None, "Text(\"P2Y3M\")"),
        ] {
            assert_eq!(shown(&cell, kind.as_ref()), expected, "{cell:?}");
        }
    }

    #[test]
    fn values_are_bound_in_one_form() {
        for (value, expected) in [
            (Scalar::Null, Bound::Null),
            (Scalar::Text(String::new()), Bound::Null),
            (Scalar::Bytes(Vec::new()), Bound::Null),
            (Scalar::Text(" ".into()), Bound::Text(" ".into())),
            (Scalar::Bool(true), Bound::Whole(1)),
            (Scalar::Int(i64::MIN), Bound::Whole(i64::MIN)),
            (
                Scalar::Decimal("-0.050".into()),
                Bound::Number("-0.050".into()),
            ),
            (Scalar::Float(0.1), Bound::Double(0.1)),
            (
                Scalar::Temporal("2026-02-01T10:00:00".into()),
                Bound::Text("2026-02-01T10:00:00.0".into()),
            ),
            (
                Scalar::Temporal("2026-02-01T10:00:00.25Z".into()),
                Bound::Text("2026-02-01T10:00:00.25+00:00".into()),
            ),
            (Scalar::Uuid([7; 16]), Bound::Bytes(vec![7; 16])),
        ] {
            assert_eq!(bound(&value).unwrap(), expected, "{value:?}");
        }
        let long = "1".repeat(39);
        assert_eq!(
            bound(&Scalar::Decimal(long)).unwrap_err().kind(),
            ErrorKind::InvalidValue
        );
        assert!(bound(&Scalar::Decimal(format!("1{}", "0".repeat(60)))).is_ok());
        assert!(bound(&Scalar::Decimal(format!("0.{}1", "0".repeat(60)))).is_ok());
    }
}
