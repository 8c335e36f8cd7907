//! Values of the driver → [`Value`], and [`Scalar`] → what the driver binds. Pure.

use std::borrow::Cow;
use std::fmt::Write as _;

use chrono::{Datelike as _, NaiveDate, NaiveDateTime, NaiveTime, Timelike as _};
use tiberius::numeric::Numeric;
use tiberius::time::{Date, DateTime2, DateTimeOffset, Time};
use tiberius::{ColumnData, IntoSql};

use crate::connector::database::convert;
use crate::connector::database::value::{
    DateTimeStyle, MICROS_PER_DAY, Scalar, Value, infinite_word, write_temporal,
};
use crate::error::{Error, ErrorKind, Result};

/// Days from 0001-01-01, where `date` and `datetime2` begin, to 1970-01-01.
const YEAR_ONE: i64 = 719_162;
/// Days from 1900-01-01, where `datetime` and `smalldatetime` begin, to 1970-01-01.
const YEAR_1900: i64 = 25_567;
/// Most digits of a number ("decimal and numeric").
const MAX_DIGITS: usize = 38;
/// Digits of the fraction of a second in what is bound: 100 nanoseconds.
const SCALE: u8 = 7;
/// Microseconds in a minute.
const MICROS_PER_MINUTE: i64 = 60_000_000;

/// Gives a value of a row to `take`. Needs a text to write into.
///
/// Times are kept to 100 nanoseconds, of which [`Value`] knows microseconds: where the seventh digit is not 0, the value
/// is given as its text.
pub(super) fn decode(
    data: &ColumnData<'_>,
    style: DateTimeStyle,
    scratch: &mut String,
    take: &mut dyn FnMut(&Value<'_>),
) -> Result<()> {
    let value = match data {
        ColumnData::U8(value) => value.map(|value| Value::Int(value.into())),
        ColumnData::I16(value) => value.map(|value| Value::Int(value.into())),
        ColumnData::I32(value) => value.map(|value| Value::Int(value.into())),
        ColumnData::I64(value) => value.map(Value::Int),
        ColumnData::F32(value) => value.map(Value::Float32),
        ColumnData::F64(value) => value.map(Value::Float),
        ColumnData::Bit(value) => value.map(Value::Bool),
        ColumnData::String(value) => value.as_deref().map(Value::Text),
        ColumnData::Xml(value) => {
            scratch.clear();
            if let Some(xml) = value {
                let _ = write!(scratch, "{xml}");
            }
            value.as_ref().map(|_| Value::Text(scratch))
        }
        ColumnData::Guid(value) => value.map(|value| Value::Uuid(value.into_bytes())),
        ColumnData::Binary(value) => value.as_deref().map(Value::Bytes),
        ColumnData::Numeric(value) => value.map(|number| {
            digits(scratch, number);
            Value::Decimal(scratch)
        }),
        ColumnData::Date(value) => value
            .map(|value| day(i64::from(value.days()), YEAR_ONE).map(Value::Date))
            .transpose()?,
        ColumnData::DateTime(value) => value.map(|value| {
            // 300ths of a second, printed with three digits by every tool ("datetime").
            let milliseconds = (i64::from(value.seconds_fragments()) * 10 + 1) / 3;
            let days = i64::from(value.days()) - YEAR_1900;
            Value::Timestamp(days * MICROS_PER_DAY + milliseconds * 1_000)
        }),
        ColumnData::SmallDateTime(value) => value.map(|value| {
            let days = i64::from(value.days()) - YEAR_1900;
            let minutes = i64::from(value.seconds_fragments());
            Value::Timestamp(days * MICROS_PER_DAY + minutes * MICROS_PER_MINUTE)
        }),
        ColumnData::Time(value) => match value {
            Some(time) => {
                let (micros, rest) = micros(*time)?;
                Some(exact(Value::Time(micros, None), rest, style, scratch))
            }
            None => None,
        },
        ColumnData::DateTime2(value) => match value {
            Some(value) => {
                let (micros, rest) = timestamp(*value)?;
                Some(exact(Value::Timestamp(micros), rest, style, scratch))
            }
            None => None,
        },
        // The driver gives the time in UTC and the offset beside it.
        ColumnData::DateTimeOffset(value) => match value {
            Some(value) => {
                let (micros, rest) = timestamp(value.datetime2())?;
                Some(exact(Value::TimestampTz(micros), rest, style, scratch))
            }
            None => None,
        },
    };
    take(&value.unwrap_or(Value::Null));
    Ok(())
}

fn unreadable() -> Error {
    Error::new(
        ErrorKind::BackendFailure,
        "the database answered with a value that cannot be read",
    )
}

fn day(days: i64, epoch: i64) -> Result<i32> {
    i32::try_from(days - epoch).map_err(|_out_of_range| unreadable())
}

/// Microseconds since midnight, and the digit behind them.
fn micros(time: Time) -> Result<(i64, u8)> {
    let behind = SCALE
        .checked_sub(time.scale())
        .ok_or_else(unreadable)?
        .into();
    let hundreds = i64::try_from(time.increments())
        .ok()
        .and_then(|increments| increments.checked_mul(10_i64.pow(behind)))
        .ok_or_else(unreadable)?;
    let rest = u8::try_from(hundreds % 10).map_err(|_out_of_range| unreadable())?;
    Ok((hundreds / 10, rest))
}

fn timestamp(value: DateTime2) -> Result<(i64, u8)> {
    let (micros, rest) = micros(value.time())?;
    let days = i64::from(value.date().days()) - YEAR_ONE;
    Ok((days * MICROS_PER_DAY + micros, rest))
}

/// The value, or its text if there is a seventh digit.
fn exact<'a>(
    value: Value<'a>,
    rest: u8,
    style: DateTimeStyle,
    scratch: &'a mut String,
) -> Value<'a> {
    if rest == 0 {
        return value;
    }
    scratch.clear();
    write_temporal(scratch, &value, style);
    // In front of a zone, if there is one; the time always ends with two digits of seconds and perhaps a fraction.
    let zone = if matches!(value, Value::TimestampTz(_)) {
        match style {
            DateTimeStyle::Rfc3339 => "Z",
            DateTimeStyle::Sql => "+00:00",
        }
    } else {
        ""
    };
    scratch.truncate(scratch.len().saturating_sub(zone.len()));
    let fraction = scratch
        .rsplit_once('.')
        .map_or(0, |(_, fraction)| fraction.len());
    if fraction == 0 {
        scratch.push('.');
    }
    let _ = write!(scratch, "{}{rest}{zone}", "0".repeat(6 - fraction.min(6)));
    Value::Text(scratch)
}

/// A number as its digits.
fn digits(out: &mut String, number: Numeric) {
    out.clear();
    let scale = usize::from(number.scale());
    let value = number.value();
    let width = scale.saturating_add(1);
    let _ = write!(
        out,
        "{}{:0>width$}",
        if value < 0 { "-" } else { "" },
        value.unsigned_abs()
    );
    if scale > 0 {
        out.insert(out.len().saturating_sub(scale), '.');
    }
}

/// A value as the driver binds it.
pub(super) enum Parameter<'a> {
    /// Borrowed from the statement.
    Borrowed(&'a Scalar),
    /// What a text or an array turned into.
    Made(ColumnData<'a>),
}

impl<'a> Parameter<'a> {
    /// [`ErrorKind::InvalidValue`] for what SQL Server has no form for.
    pub(super) fn of(value: &'a Scalar) -> Result<Self> {
        Ok(match value {
            Scalar::Decimal(digits) => match numeric(digits) {
                Some(number) => Self::Made(ColumnData::Numeric(Some(number))),
                // Too long for a number: the server says so if it meets one.
                None => Self::Made(text(digits)),
            },
            Scalar::Float(number) if infinite_word(*number).is_some() => {
                return Err(Error::new(
                    ErrorKind::InvalidValue,
                    "the database has no numbers that are infinite or not a number",
                ));
            }
            Scalar::Temporal(written) => Self::Made(temporal(written).unwrap_or(text(written))),
            Scalar::Array(_) => {
                let json = convert::to_json(value)?;
                Self::Made(ColumnData::String(Some(Cow::Owned(json.get().to_owned()))))
            }
            _ => Self::Borrowed(value),
        })
    }
}

fn text(text: &str) -> ColumnData<'_> {
    ColumnData::String(Some(Cow::Borrowed(text)))
}

impl<'a> IntoSql<'a> for Parameter<'a> {
    fn into_sql(self) -> ColumnData<'a> {
        match self {
            Self::Made(data) => data,
            Self::Borrowed(value) => match value {
                Scalar::Bool(value) => ColumnData::Bit(Some(*value)),
                Scalar::Int(value) => ColumnData::I64(Some(*value)),
                Scalar::Float(value) => ColumnData::F64(Some(*value)),
                Scalar::Bytes(bytes) => ColumnData::Binary(Some(Cow::Borrowed(bytes))),
                Scalar::Uuid(bytes) => ColumnData::Guid(Some(uuid::Uuid::from_bytes(*bytes))),
                Scalar::Text(written) | Scalar::Json(written) => text(written),
                // What is made elsewhere never comes here; NULL is a text without a value.
                Scalar::Null | Scalar::Decimal(_) | Scalar::Temporal(_) | Scalar::Array(_) => {
                    ColumnData::String(None)
                }
            },
        }
    }
}

/// Digits as a number, if they are no more than fit one.
fn numeric(text: &str) -> Option<Numeric> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let whole = whole.trim_start_matches('-').len().max(1);
    if whole.checked_add(fraction.len())? > MAX_DIGITS {
        return None;
    }
    let value: i128 = text.replacen('.', "", 1).parse().ok()?;
    Some(Numeric::new_with_scale(
        value,
        u8::try_from(fraction.len()).ok()?,
    ))
}

fn date_of(day: NaiveDate) -> Option<Date> {
    u32::try_from(day.num_days_from_ce().checked_sub(1)?)
        .ok()
        .map(Date::new)
}

fn time_of(time: NaiveTime) -> Time {
    let hundreds = u64::from(time.num_seconds_from_midnight()) * 10_000_000
        + u64::from(time.nanosecond() / 100);
    Time::new(hundreds, SCALE)
}

/// A date, a time or a timestamp in the forms of [`Scalar::Temporal`].
fn temporal(text: &str) -> Option<ColumnData<'static>> {
    if let Ok(day) = NaiveDate::parse_from_str(text, "%Y-%m-%d") {
        return Some(ColumnData::Date(Some(date_of(day)?)));
    }
    if let Ok(time) = NaiveTime::parse_from_str(text, "%H:%M:%S%.f") {
        return Some(ColumnData::Time(Some(time_of(time))));
    }
    let (text, has_zone) = match text.strip_suffix('Z') {
        Some(text) => (text, true),
        None => (text, false),
    };
    let moment = NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f").ok()?;
    let moment = DateTime2::new(date_of(moment.date())?, time_of(moment.time()));
    Some(if has_zone {
        ColumnData::DateTimeOffset(Some(DateTimeOffset::new(moment, 0)))
    } else {
        ColumnData::DateTime2(Some(moment))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use tiberius::time::{DateTime, SmallDateTime};

    fn shown(data: &ColumnData<'_>) -> String {
        let mut scratch = String::new();
        let mut out = String::new();
        decode(data, DateTimeStyle::Rfc3339, &mut scratch, &mut |value| {
            write_temporal(&mut out, value, DateTimeStyle::Rfc3339);
            if out.is_empty() {
                out = format!("{value:?}");
            }
        })
        .unwrap();
        out
    }

    #[test]
    fn every_type_of_the_driver_has_its_value() {
        let moment = |hundreds| DateTime2::new(Date::new(739_647), Time::new(hundreds, 7));
        for (data, expected) in [
            (ColumnData::U8(Some(255)), "Int(255)"),
            (ColumnData::I16(Some(-1)), "Int(-1)"),
            (ColumnData::I32(None), "Null"),
            (ColumnData::I64(Some(i64::MIN)), "Int(-9223372036854775808)"),
            (ColumnData::F32(Some(0.1)), "Float32(0.1)"),
            (ColumnData::F64(Some(0.1)), "Float(0.1)"),
            (ColumnData::Bit(Some(true)), "Bool(true)"),
            (ColumnData::String(Some("é".into())), "Text(\"é\")"),
            (
                ColumnData::Binary(Some(vec![0, 255].into())),
                "Bytes([0, 255])",
            ),
            (
                ColumnData::Numeric(Some(Numeric::new_with_scale(-5, 2))),
                "Decimal(\"-0.05\")",
            ),
            (
                ColumnData::Numeric(Some(Numeric::new_with_scale(1250, 2))),
                "Decimal(\"12.50\")",
            ),
            (
                ColumnData::Numeric(Some(Numeric::new_with_scale(7, 0))),
                "Decimal(\"7\")",
            ),
            (ColumnData::Date(Some(Date::new(739_647))), "2026-02-01"),
            (ColumnData::Date(Some(Date::new(0))), "0001-01-01"),
            (ColumnData::Date(Some(Date::new(3_652_058))), "9999-12-31"),
            (
                ColumnData::DateTime(Some(DateTime::new(46_052, 36_000 * 300 + 2))),
                "2026-02-01T10:00:00.007",
            ),
            (
                ColumnData::DateTime(Some(DateTime::new(-53_690, 0))),
                "1753-01-01T00:00:00",
            ),
            (
                ColumnData::SmallDateTime(Some(SmallDateTime::new(46_052, 600))),
                "2026-02-01T10:00:00",
            ),
            (
                ColumnData::Time(Some(Time::new(36_000_120, 3))),
                "10:00:00.12",
            ),
            (
                ColumnData::DateTime2(Some(moment(360_000_000_000))),
                "2026-02-01T10:00:00",
            ),
            (
                ColumnData::DateTime2(Some(moment(360_000_000_001))),
                "Text(\"2026-02-01T10:00:00.0000001\")",
            ),
            (
                ColumnData::DateTimeOffset(Some(DateTimeOffset::new(moment(360_001_200_003), 60))),
                "Text(\"2026-02-01T10:00:00.1200003Z\")",
            ),
        ] {
            assert_eq!(shown(&data), expected, "{data:?}");
        }
    }

    #[test]
    fn what_is_bound_is_what_is_read_back() {
        for (value, expected) in [
            (Scalar::Temporal("2026-02-01".into()), "2026-02-01"),
            (Scalar::Temporal("10:00:00.12".into()), "10:00:00.12"),
            (
                Scalar::Temporal("9999-12-31T23:59:59.999999".into()),
                "9999-12-31T23:59:59.999999",
            ),
            (
                Scalar::Temporal("0001-01-01T00:00:00Z".into()),
                "0001-01-01T00:00:00Z",
            ),
            (Scalar::Decimal("-0.05".into()), "Decimal(\"-0.05\")"),
            (
                Scalar::Decimal("12345678901234567890123456789012345678".into()),
                "Decimal(\"12345678901234567890123456789012345678\")",
            ),
            (
                Scalar::Decimal(format!("0.{}1", "0".repeat(37))),
                &format!("Text(\"0.{}1\")", "0".repeat(37)),
            ),
            (Scalar::Null, "Null"),
            (Scalar::Bool(false), "Bool(false)"),
            (Scalar::Int(i64::MAX), "Int(9223372036854775807)"),
            (
                Scalar::Array(vec![Scalar::Int(1), Scalar::Text("a\"b".into())]),
                "Text(\"[1,\\\"a\\\\\\\"b\\\"]\")",
            ),
        ] {
            let bound = Parameter::of(&value).unwrap().into_sql();
            assert_eq!(shown(&bound), expected, "{value:?}");
        }
        let error = Parameter::of(&Scalar::Float(f64::NAN)).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::InvalidValue);
    }
}
