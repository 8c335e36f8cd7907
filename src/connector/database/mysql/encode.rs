//! [`Scalar`] → values of the binary protocol.

use chrono::{
    DateTime, Datelike as _, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, Timelike as _,
};
use mysql_async::Value as Native;

use crate::connector::database::value::Scalar;
use crate::error::{Error, ErrorKind, Result};

/// The values of a statement. `offset` is the session's distance from UTC in seconds.
pub(super) fn encode(values: &[&Scalar], offset: i32) -> Result<Vec<Native>> {
    values.iter().map(|value| one(value, offset)).collect()
}

fn one(value: &Scalar, offset: i32) -> Result<Native> {
    Ok(match value {
        Scalar::Null => Native::NULL,
        Scalar::Bool(truth) => Native::Int((*truth).into()),
        Scalar::Int(number) => Native::Int(*number),
        Scalar::Decimal(digits) => match (digits.parse::<i64>(), digits.parse::<u64>()) {
            (Ok(number), _) => Native::Int(number),
            (Err(_), Ok(number)) => Native::UInt(number),
            (Err(_), Err(_)) => Native::Bytes(digits.as_bytes().to_vec()),
        },
        Scalar::Float(number) if number.is_finite() => Native::Double(*number),
        Scalar::Text(text) | Scalar::Json(text) => Native::Bytes(text.as_bytes().to_vec()),
        Scalar::Bytes(bytes) => Native::Bytes(bytes.clone()),
        Scalar::Temporal(text) => temporal(text, offset).ok_or_else(no_fit)?,
        Scalar::Uuid(bytes) => Native::Bytes(
            uuid::Uuid::from_bytes(*bytes)
                .hyphenated()
                .to_string()
                .into_bytes(),
        ),
        // Infinities and NaN are no values of the server, and it has no arrays.
        Scalar::Float(_) | Scalar::Array(_) => return Err(no_fit()),
    })
}

fn no_fit() -> Error {
    Error::new(ErrorKind::InvalidValue, "a value does not fit its column")
}

/// A date, a time or a timestamp in the forms of [`Scalar::Temporal`]; `None` if the server cannot hold it.
fn temporal(text: &str, offset: i32) -> Option<Native> {
    if let Ok(date) = NaiveDate::parse_from_str(text, "%Y-%m-%d") {
        return stamp(date.and_time(NaiveTime::MIN));
    }
    if let Ok(time) = NaiveTime::parse_from_str(text, "%H:%M:%S%.f") {
        let [hour, minute, second] = clock(time)?;
        return Some(Native::Time(false, 0, hour, minute, second, micros(time)?));
    }
    if let Ok(local) = NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f") {
        return stamp(local);
    }
    let instant = DateTime::parse_from_rfc3339(text).ok()?;
    let local = instant.naive_utc();
    stamp(local.checked_add_signed(TimeDelta::seconds(offset.into()))?)
}

fn stamp(local: NaiveDateTime) -> Option<Native> {
    let year = u16::try_from(local.year())
        .ok()
        .filter(|year| *year <= 9999)?;
    let [hour, minute, second] = clock(local.time())?;
    Some(Native::Date(
        year,
        u8::try_from(local.month()).ok()?,
        u8::try_from(local.day()).ok()?,
        hour,
        minute,
        second,
        micros(local.time())?,
    ))
}

fn clock(time: NaiveTime) -> Option<[u8; 3]> {
    let part = |number: u32| u8::try_from(number).ok();
    Some([
        part(time.hour())?,
        part(time.minute())?,
        part(time.second())?,
    ])
}

/// The fraction; `None` in a leap second, which the server does not know.
fn micros(time: NaiveTime) -> Option<u32> {
    Some(time.nanosecond() / 1_000).filter(|micros| *micros < 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_keep_their_digits_and_their_moment() {
        let text = |text: &str| Scalar::Temporal(text.to_owned());
        let bytes = |text: &str| Native::Bytes(text.as_bytes().to_vec());
        for (value, expected) in [
            (Scalar::Bool(true), Native::Int(1)),
            (Scalar::Decimal("12".to_owned()), Native::Int(12)),
            (
                Scalar::Decimal("18446744073709551615".to_owned()),
                Native::UInt(u64::MAX),
            ),
            (Scalar::Decimal("12.50".to_owned()), bytes("12.50")),
            (
                Scalar::Decimal("-99999999999999999999".to_owned()),
                bytes("-99999999999999999999"),
            ),
            (text("2024-02-29"), Native::Date(2024, 2, 29, 0, 0, 0, 0)),
            (
                text("23:59:59.5"),
                Native::Time(false, 0, 23, 59, 59, 500_000),
            ),
            (
                text("2024-02-29T01:02:03"),
                Native::Date(2024, 2, 29, 1, 2, 3, 0),
            ),
            // The session is two hours east of UTC.
            (
                text("2024-02-29T01:02:03.000001Z"),
                Native::Date(2024, 2, 29, 3, 2, 3, 1),
            ),
            (
                text("2024-02-29T01:02:03+01:00"),
                Native::Date(2024, 2, 29, 2, 2, 3, 0),
            ),
        ] {
            assert_eq!(one(&value, 7_200).unwrap(), expected, "{value:?}");
        }
        for value in [
            Scalar::Float(f64::NAN),
            Scalar::Array(Vec::new()),
            text("+10000-01-01"),
            text("12:00:60"),
        ] {
            let error = one(&value, 0).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidValue, "{value:?}");
        }
    }
}
