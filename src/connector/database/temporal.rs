//! Dates, times and timestamps as databases print them. Pure.

use super::value::{MICROS_PER_DAY, Value};

/// A date, a time or a timestamp in one of the forms of SQLite's own functions or of RFC 3339, which are those of most
/// drivers too. With an offset or `Z` the point in time is given, without one the local reading.
pub(super) fn parse_temporal(text: &str) -> Option<Value<'static>> {
    let bytes = text.as_bytes();
    if bytes.get(2) == Some(&b':') {
        let (micros, rest) = parse_time(text)?;
        return match parse_offset(rest)? {
            None => Some(Value::Time(micros, None)),
            Some(seconds) => Some(Value::Time(micros, Some(seconds))),
        };
    }
    let date = text.get(..10)?;
    let is_date_shaped = date.bytes().enumerate().all(|(index, byte)| match index {
        4 | 7 => byte == b'-',
        _ => byte.is_ascii_digit(),
    });
    if !is_date_shaped {
        return None;
    }
    let date = chrono::NaiveDate::parse_from_str(date, "%Y-%m-%d").ok()?;
    let days = date
        .signed_duration_since(chrono::NaiveDate::default())
        .num_days();
    let rest = text.get(10..)?;
    if rest.is_empty() {
        return i32::try_from(days).ok().map(Value::Date);
    }
    let clock = rest.strip_prefix(['T', 't', ' '])?;
    let (micros, rest) = parse_time(clock)?;
    let local = days.checked_mul(MICROS_PER_DAY)?.checked_add(micros)?;
    match parse_offset(rest)? {
        None => Some(Value::Timestamp(local)),
        Some(seconds) => local
            .checked_sub(i64::from(seconds).checked_mul(1_000_000)?)
            .map(Value::TimestampTz),
    }
}

/// `HH:MM[:SS[.f…]]` → microseconds since midnight, and what follows.
fn parse_time(text: &str) -> Option<(i64, &str)> {
    let two = |at: usize, below: i64| -> Option<i64> {
        let digits = text.get(at..at.checked_add(2)?)?;
        let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
        let number = digits.parse::<i64>().ok().filter(|_| is_number)?;
        (number < below).then_some(number)
    };
    let minutes = two(0, 24)? * 60 + two(3, 60)?;
    if text.as_bytes().get(2) != Some(&b':') {
        return None;
    }
    let Some(after) = text.get(5..).and_then(|rest| rest.strip_prefix(':')) else {
        return Some((minutes * 60_000_000, text.get(5..)?));
    };
    let micros = (minutes * 60 + two(6, 60)?) * 1_000_000;
    let rest = after.get(2..)?;
    let Some(fraction) = rest.strip_prefix('.') else {
        return Some((micros, rest));
    };
    let length = fraction.bytes().take_while(u8::is_ascii_digit).count();
    // Six digits are what the gateway keeps; a finer text stays text rather than lose some.
    if length == 0 || length > 6 {
        return None;
    }
    let number = fraction.get(..length)?.parse::<i64>().ok()?;
    let scale = 10_i64.checked_pow(u32::try_from(6 - length).ok()?)?;
    Some((micros + number * scale, fraction.get(length..)?))
}

/// Nothing, `Z`, `+hh:mm`, `-hh:mm`, or only hours as PostgreSQL prints them, to the end of the text.
#[expect(
    clippy::option_option,
    reason = "outside: whether it parses; inside: whether there is an offset"
)]
fn parse_offset(text: &str) -> Option<Option<i32>> {
    let text = text.trim_start_matches(' ');
    if text.is_empty() {
        return Some(None);
    }
    if text == "Z" || text == "z" {
        return Some(Some(0));
    }
    let sign = match text.as_bytes().first()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let clock = text.get(1..)?;
    if clock.len() == 2 && clock.bytes().all(|byte| byte.is_ascii_digit()) {
        let hours: i32 = clock.parse().ok()?;
        return (hours < 24).then_some(Some(sign * hours * 3_600));
    }
    let (micros, rest) = parse_time(clock)?;
    let seconds = i32::try_from(micros / 1_000_000).ok()?;
    rest.is_empty().then_some(Some(sign * seconds))
}
