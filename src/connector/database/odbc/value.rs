//! Values between ODBC and the gateway: columns of a row → [`Value`], and [`Scalar`] → parameters.
//!
//! Text crosses in UTF-16 both ways (`SQL_C_WCHAR`), because the bytes of `SQL_C_CHAR` mean what the locale or the
//! driver says. Exact numbers cross as their digits, days and timestamps as structs where the driver has them as such,
//! everything else as text. Long values are fetched in pieces, up to [`MAX_VALUE_BYTES`].

use std::num::NonZeroUsize;

use odbc_api::buffers::Indicator;
use odbc_api::handles::{AsStatementRef as _, CDataMut, SqlResult, Statement as _};
use odbc_api::parameter::{
    InputParameter, VarBinaryBox, VarBinarySliceMut, VarCell, VarWCharBox, WideText, WithDataType,
};
use odbc_api::sys::{Date, Timestamp};
use odbc_api::{Bit, CursorImpl, DataType, Nullable};

use super::config::DialectName;
use super::error::{Failure, from_driver};
use crate::connector::database::catalog::Type;
use crate::connector::database::temporal::parse_temporal;
use crate::connector::database::value::{MICROS_PER_DAY, Scalar, Value};
use crate::error::{Error, ErrorKind, brief};

/// Largest text or binary value that is read, in bytes.
const MAX_VALUE_BYTES: usize = 64 * 1024 * 1024;
/// UTF-16 units or bytes that are fetched at once; room for the terminating zero included.
const PIECE: usize = 4 * 1024;
/// Longest text that is bound as `SQL_WVARCHAR`; longer ones are `SQL_WLONGVARCHAR`.
const LONGEST_VARCHAR: usize = 4_000;
/// Longest binary value that is bound as `SQL_VARBINARY`; longer ones are `SQL_LONGVARBINARY`.
const LONGEST_VARBINARY: usize = 8_000;

/// How a column of a result is fetched and what it becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Guide {
    /// A truth value: 0 and 1, or words.
    Boolean,
    /// An integer of at most 32 bits.
    Integer,
    /// An integer of any size, fetched as text.
    Digits,
    /// An exact number, fetched as text.
    Decimal,
    /// A double-precision number.
    Double,
    /// A single-precision number.
    Float,
    /// A number, fetched as text.
    Number,
    /// Text.
    Text,
    /// Text that is JSON.
    Json,
    /// Text that is a UUID.
    Uuid,
    /// Bytes.
    Binary,
    /// A day, fetched as a struct.
    Date,
    /// A timestamp without a zone, fetched as a struct.
    DateTime,
    /// A timestamp of a session that is in UTC, fetched as a struct.
    Utc,
    /// A day, a time or a timestamp, fetched as text.
    Temporal,
    /// The same of a session that is in UTC: a timestamp without an offset is a point in time.
    TemporalUtc,
}

impl Guide {
    /// The guide for a column of a result: what the plan knows of it goes before what the driver says.
    pub(super) fn of(kind: Option<&Type>, described: DataType, dialect: DialectName) -> Self {
        let has_structs = !matches!(dialect, DialectName::Sqlite);
        let is_utc = dialect.session_is_utc();
        match kind {
            Some(Type::Boolean) => Self::Boolean,
            Some(Type::SmallInt | Type::Integer) if has_structs => Self::Integer,
            Some(Type::SmallInt | Type::Integer | Type::BigInt) => Self::Digits,
            Some(Type::Decimal | Type::Money) => Self::Decimal,
            Some(Type::Float) if has_structs => Self::Float,
            Some(Type::Double) if has_structs => Self::Double,
            // As the dialect shows it, with all its digits.
            Some(Type::Float | Type::Double) => Self::Number,
            Some(Type::Uuid) => Self::Uuid,
            Some(Type::Json | Type::Array(_)) => Self::Json,
            Some(Type::Binary) => Self::Binary,
            Some(Type::Date) if has_structs && described == DataType::Date => Self::Date,
            Some(Type::DateTime) if has_structs && is_timestamp(described) => Self::DateTime,
            Some(Type::TimestampTz) if has_structs && is_utc && is_timestamp(described) => {
                Self::Utc
            }
            Some(Type::TimestampTz) if is_utc => Self::TemporalUtc,
            Some(Type::Date | Type::Time | Type::TimeTz | Type::DateTime | Type::TimestampTz) => {
                Self::Temporal
            }
            Some(Type::String | Type::Text | Type::Other) => Self::Text,
            None => Self::described(described),
        }
    }

    fn described(described: DataType) -> Self {
        match described {
            DataType::Bit => Self::Boolean,
            DataType::TinyInt | DataType::SmallInt | DataType::Integer => Self::Integer,
            DataType::BigInt => Self::Digits,
            DataType::Numeric { .. } | DataType::Decimal { .. } => Self::Decimal,
            DataType::Real => Self::Float,
            DataType::Float { .. } | DataType::Double => Self::Double,
            DataType::Binary { .. }
            | DataType::Varbinary { .. }
            | DataType::LongVarbinary { .. } => Self::Binary,
            DataType::Date => Self::Date,
            DataType::Timestamp { .. } => Self::DateTime,
            DataType::Time { .. } => Self::Temporal,
            DataType::Unknown
            | DataType::Char { .. }
            | DataType::WChar { .. }
            | DataType::Varchar { .. }
            | DataType::WVarchar { .. }
            | DataType::LongVarchar { .. }
            | DataType::WLongVarchar { .. }
            | DataType::Other { .. } => Self::Text,
        }
    }
}

fn is_timestamp(described: DataType) -> bool {
    matches!(described, DataType::Timestamp { .. })
}

/// Buffers for the values of a row, reused from value to value.
pub(super) struct Reader {
    wide_piece: Vec<u16>,
    byte_piece: Vec<u8>,
    wide: Vec<u16>,
    bytes: Vec<u8>,
    text: String,
    dialect: DialectName,
}

impl Reader {
    /// Buffers for results of a database that speaks `dialect`.
    pub(super) fn new(dialect: DialectName) -> Self {
        Self {
            wide_piece: vec![0; PIECE],
            byte_piece: vec![0; PIECE],
            wide: Vec::new(),
            bytes: Vec::new(),
            text: String::new(),
            dialect,
        }
    }

    /// Gives the value of a column of the current row, counted from 1, to `take`. Columns must be asked for in their
    /// order, each once.
    pub(super) fn value<S: odbc_api::handles::Statement>(
        &mut self,
        cursor: &mut CursorImpl<S>,
        column: u16,
        guide: Guide,
        take: &mut impl FnMut(&Value<'_>),
    ) -> Result<(), Failure> {
        match guide {
            Guide::Integer => {
                let value: Option<i32> = self.fixed(cursor, column)?;
                take(&value.map_or(Value::Null, |value| Value::Int(value.into())));
            }
            Guide::Double => {
                let value: Option<f64> = self.fixed(cursor, column)?;
                take(&value.map_or(Value::Null, Value::Float));
            }
            Guide::Float => {
                let value: Option<f32> = self.fixed(cursor, column)?;
                take(&value.map_or(Value::Null, Value::Float32));
            }
            Guide::Date => {
                let value: Option<Date> = self.fixed(cursor, column)?;
                take(&match value {
                    None => Value::Null,
                    Some(date) => days(date.year, date.month, date.day)
                        .and_then(|days| i32::try_from(days).ok())
                        .map(Value::Date)
                        .ok_or_else(unreadable)?,
                });
            }
            Guide::DateTime | Guide::Utc => {
                let value: Option<Timestamp> = self.fixed(cursor, column)?;
                let micros = match value {
                    None => {
                        take(&Value::Null);
                        return Ok(());
                    }
                    Some(timestamp) => micros(&timestamp).ok_or_else(unreadable)?,
                };
                take(&if guide == Guide::Utc {
                    Value::TimestampTz(micros)
                } else {
                    Value::Timestamp(micros)
                });
            }
            Guide::Binary => {
                if self.fetch_bytes(cursor, column)? {
                    take(&Value::Bytes(&self.bytes));
                } else {
                    take(&Value::Null);
                }
            }
            Guide::Boolean
            | Guide::Digits
            | Guide::Decimal
            | Guide::Number
            | Guide::Text
            | Guide::Json
            | Guide::Uuid
            | Guide::Temporal
            | Guide::TemporalUtc => {
                if self.fetch_text(cursor, column)? {
                    take(&from_text(&self.text, guide));
                } else {
                    take(&Value::Null);
                }
            }
        }
        Ok(())
    }

    /// A text of the current row; none for NULL.
    pub(super) fn text<S: odbc_api::handles::Statement>(
        &mut self,
        cursor: &mut CursorImpl<S>,
        column: u16,
    ) -> Result<Option<&str>, Failure> {
        Ok(self
            .fetch_text(cursor, column)?
            .then_some(self.text.as_str()))
    }

    fn fixed<S, T>(&self, cursor: &mut CursorImpl<S>, column: u16) -> Result<Option<T>, Failure>
    where
        S: odbc_api::handles::Statement,
        T: odbc_api::Pod + Default,
        Nullable<T>: CDataMut,
    {
        let mut field = Nullable::<T>::null();
        self.get(cursor, column, &mut field)?;
        Ok(field.into_opt())
    }

    /// One `SQLGetData`. False if there is nothing more.
    fn get<S: odbc_api::handles::Statement>(
        &self,
        cursor: &mut CursorImpl<S>,
        column: u16,
        target: &mut impl CDataMut,
    ) -> Result<bool, Failure> {
        let mut statement = cursor.as_stmt_ref();
        match statement.get_data(column, target) {
            SqlResult::Success(()) | SqlResult::SuccessWithInfo(()) => Ok(true),
            SqlResult::NoData => Ok(false),
            failed @ SqlResult::Error { .. } => failed
                .into_result(&statement)
                .map(|()| true)
                .map_err(|error| from_driver(error, self.dialect)),
            SqlResult::NeedData | SqlResult::StillExecuting => Err(unreadable().into()),
        }
    }

    fn fetch_text<S: odbc_api::handles::Statement>(
        &mut self,
        cursor: &mut CursorImpl<S>,
        column: u16,
    ) -> Result<bool, Failure> {
        self.wide.clear();
        let mut piece = std::mem::take(&mut self.wide_piece);
        let outcome = loop {
            if let Some(last) = piece.last_mut() {
                *last = 0;
            }
            let mut cell =
                VarCell::<&mut [u16], WideText>::from_buffer(&mut piece[..], Indicator::NoTotal);
            match self.get(cursor, column, &mut cell) {
                Err(failure) => break Err(failure),
                Ok(false) => break Ok(true),
                Ok(true) => {}
            }
            let Some(units) = cell.as_slice() else {
                break Ok(false);
            };
            self.wide.extend_from_slice(units);
            if cell.is_complete() || units.is_empty() {
                break Ok(true);
            }
            if self.wide.len() > MAX_VALUE_BYTES / 2 {
                break Err(too_large());
            }
        };
        self.wide_piece = piece;
        if !outcome? {
            return Ok(false);
        }
        self.text.clear();
        self.text.reserve(self.wide.len());
        self.text.extend(
            char::decode_utf16(self.wide.iter().copied())
                .map(|character| character.unwrap_or(char::REPLACEMENT_CHARACTER)),
        );
        Ok(true)
    }

    fn fetch_bytes<S: odbc_api::handles::Statement>(
        &mut self,
        cursor: &mut CursorImpl<S>,
        column: u16,
    ) -> Result<bool, Failure> {
        self.bytes.clear();
        let mut piece = std::mem::take(&mut self.byte_piece);
        let outcome = loop {
            let mut cell = VarBinarySliceMut::from_buffer(&mut piece[..], Indicator::NoTotal);
            match self.get(cursor, column, &mut cell) {
                Err(failure) => break Err(failure),
                Ok(false) => break Ok(true),
                Ok(true) => {}
            }
            let Some(bytes) = cell.as_slice() else {
                break Ok(false);
            };
            self.bytes.extend_from_slice(bytes);
            if cell.is_complete() || bytes.is_empty() {
                break Ok(true);
            }
            if self.bytes.len() > MAX_VALUE_BYTES {
                break Err(too_large());
            }
        };
        self.byte_piece = piece;
        outcome
    }
}

fn unreadable() -> Error {
    Error::new(
        ErrorKind::BackendFailure,
        "the driver gave a value that cannot be read",
    )
}

fn too_large() -> Failure {
    Error::new(
        ErrorKind::BackendFailure,
        "a value of the table is too large to be read",
    )
    .with_help("leave its field out of `fields`")
    .into()
}

/// What a text of the driver means.
fn from_text(text: &str, guide: Guide) -> Value<'_> {
    match guide {
        Guide::Boolean => boolean(text).map_or(Value::Text(text), Value::Bool),
        Guide::Digits => text
            .parse()
            .map(Value::Int)
            .or_else(|_| text.parse().map(Value::UInt))
            .unwrap_or_else(|_| decimal(text)),
        Guide::Decimal => decimal(text),
        // Infinity is `9.0e+999`.
        Guide::Number => text.parse().map_or(Value::Text(text), Value::Float),
        Guide::Json if is_json(text) => Value::Json(text),
        Guide::Uuid => uuid::Uuid::try_parse(text.trim())
            .map_or(Value::Text(text), |value| Value::Uuid(value.into_bytes())),
        Guide::Temporal => parse_temporal(text).unwrap_or(Value::Text(text)),
        Guide::TemporalUtc => match parse_temporal(text) {
            Some(Value::Timestamp(micros)) => Value::TimestampTz(micros),
            other => other.unwrap_or(Value::Text(text)),
        },
        _ => Value::Text(text),
    }
}

fn is_json(text: &str) -> bool {
    serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
}

fn boolean(text: &str) -> Option<bool> {
    match text.trim_end() {
        "1" | "-1" | "t" | "T" | "true" | "TRUE" | "True" | "\u{1}" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" | "\u{0}" => Some(false),
        _ => None,
    }
}

/// A number as its digits. Drivers write `.5` and `12.` too, and some of them doubles with exponents.
fn decimal(text: &str) -> Value<'_> {
    let text = text.trim();
    let digits = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = digits
        .split_once('.')
        .map_or((digits, None), |(whole, rest)| (whole, Some(rest)));
    let all_digits =
        |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let is_plain = all_digits(whole)
        && (whole == "0" || !whole.starts_with('0'))
        && fraction.is_none_or(all_digits);
    if is_plain {
        return Value::Decimal(text);
    }
    let is_number = text
        .bytes()
        .all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'-' | b'+' | b'e' | b'E'));
    match text.parse() {
        Ok(number) if is_number => Value::Float(number),
        _ => Value::Text(text),
    }
}

fn days(year: i16, month: u16, day: u16) -> Option<i64> {
    let date = chrono::NaiveDate::from_ymd_opt(year.into(), month.into(), day.into())?;
    Some(
        date.signed_duration_since(chrono::NaiveDate::default())
            .num_days(),
    )
}

/// Microseconds since 1970; the fraction of the struct is in nanoseconds, of which the gateway keeps microseconds.
fn micros(timestamp: &Timestamp) -> Option<i64> {
    let days = days(timestamp.year, timestamp.month, timestamp.day)?;
    let seconds = i64::from(timestamp.hour) * 3_600
        + i64::from(timestamp.minute) * 60
        + i64::from(timestamp.second);
    days.checked_mul(MICROS_PER_DAY)?
        .checked_add(seconds * 1_000_000 + i64::from(timestamp.fraction / 1_000))
}

/// The parameter for a value.
pub(super) fn parameter(
    scalar: &Scalar,
    dialect: DialectName,
) -> Result<Box<dyn InputParameter>, Error> {
    Ok(match scalar {
        Scalar::Null => Box::new(VarWCharBox::null()),
        Scalar::Bool(value) => Box::new(Bit::from_bool(*value)),
        // Not every driver of Oracle has integers of 64 bits.
        Scalar::Int(value) if dialect == DialectName::Oracle => exact(&value.to_string()),
        Scalar::Int(value) => Box::new(*value),
        Scalar::Decimal(digits) if dialect == DialectName::Sqlite => sqlite_number(digits)?,
        Scalar::Decimal(digits) => exact(digits),
        Scalar::Float(value) => Box::new(*value),
        Scalar::Text(text) | Scalar::Json(text) => wide(text)?,
        Scalar::Bytes(bytes) => binary(bytes),
        Scalar::Temporal(text) if dialect == DialectName::Oracle => wide(&oracle_text(text))?,
        Scalar::Temporal(text) => temporal(text, dialect)?,
        Scalar::Uuid(bytes) => wide(&uuid::Uuid::from_bytes(*bytes).hyphenated().to_string())?,
        Scalar::Array(_) => {
            return Err(Error::new(
                ErrorKind::InvalidValue,
                "arrays cannot be written through ODBC",
            ));
        }
    })
}

fn wide(text: &str) -> Result<Box<dyn InputParameter>, Error> {
    if text.contains('\0') {
        return Err(Error::new(
            ErrorKind::InvalidValue,
            "a text holds the character U+0000, at which drivers would cut it off",
        ));
    }
    let mut units: Vec<u16> = text.encode_utf16().collect();
    let length = units.len();
    if units.is_empty() {
        // A pointer to nothing is NULL to some drivers; the length stays 0.
        units.push(0);
    }
    let cell = VarWCharBox::from_buffer(
        units.into_boxed_slice(),
        Indicator::Length(length.saturating_mul(2)),
    );
    let size = NonZeroUsize::new(length.max(1));
    let data_type = if length <= LONGEST_VARCHAR {
        DataType::WVarchar { length: size }
    } else {
        DataType::WLongVarchar { length: size }
    };
    Ok(Box::new(WithDataType::new(cell, data_type)))
}

fn binary(bytes: &[u8]) -> Box<dyn InputParameter> {
    let mut buffer = bytes.to_vec();
    if buffer.is_empty() {
        buffer.push(0);
    }
    let cell = VarBinaryBox::from_buffer(buffer.into_boxed_slice(), Indicator::Length(bytes.len()));
    let length = NonZeroUsize::new(bytes.len().max(1));
    let data_type = if bytes.len() <= LONGEST_VARBINARY {
        DataType::Varbinary { length }
    } else {
        DataType::LongVarbinary { length }
    };
    Box::new(WithDataType::new(cell, data_type))
}

/// Most significant digits that a double gives back unchanged (C's `DBL_DIG`).
const DIGITS_OF_A_DOUBLE: usize = 15;

/// A decimal for SQLite, which keeps integers and doubles alone; one that would lose digits is refused.
fn sqlite_number(digits: &str) -> Result<Box<dyn InputParameter>, Error> {
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if fraction.bytes().all(|byte| byte == b'0')
        && let Ok(number) = whole.parse::<i64>()
    {
        return Ok(Box::new(number));
    }
    let significant: String = digits.chars().filter(char::is_ascii_digit).collect();
    let significant = significant.trim_matches('0').len();
    match digits.parse::<f64>() {
        Ok(number) if significant <= DIGITS_OF_A_DOUBLE && number.is_finite() => {
            Ok(Box::new(number))
        }
        _ => Err(Error::new(
            ErrorKind::InvalidValue,
            format!("SQLite would not keep all digits of {}", brief(digits)),
        )
        .with_help("use at most 15 significant digits, or a column declared TEXT")),
    }
}

/// Digits as a text that the driver is told is an exact number.
fn exact(digits: &str) -> Box<dyn InputParameter> {
    let precision = digits.bytes().filter(u8::is_ascii_digit).count().max(1);
    let scale = digits
        .split_once('.')
        .map_or(0, |(_, fraction)| fraction.len());
    let units: Vec<u16> = digits.encode_utf16().collect();
    Box::new(WithDataType::new(
        VarWCharBox::from_vec(units),
        DataType::Decimal {
            precision,
            scale: i16::try_from(scale).unwrap_or(i16::MAX),
        },
    ))
}

/// A day, a time or a timestamp: a struct where the gateway's form of the value is one, else a text.
fn temporal(text: &str, dialect: DialectName) -> Result<Box<dyn InputParameter>, Error> {
    let parsed = parse_temporal(text);
    let date =
        |days: i64| chrono::NaiveDate::default().checked_add_signed(chrono::TimeDelta::days(days));
    match (parsed, dialect) {
        (_, DialectName::Sqlite) | (None, _) => wide(&sql_text(text, dialect)),
        (Some(Value::Date(day)), _) => {
            use chrono::Datelike as _;
            let Some(day) = date(day.into()) else {
                return wide(text);
            };
            Ok(Box::new(Date {
                year: i16::try_from(day.year()).unwrap_or_default(),
                month: u16::try_from(day.month()).unwrap_or_default(),
                day: u16::try_from(day.day()).unwrap_or_default(),
            }))
        }
        (Some(Value::Timestamp(micros)), _) => timestamp(micros),
        (Some(Value::TimestampTz(micros)), _) if dialect.session_is_utc() => timestamp(micros),
        _ => wide(&sql_text(text, dialect)),
    }
}

/// A temporal value in the form that the statements for Oracle convert from: with an offset instead of `Z`, and always
/// with a fraction.
fn oracle_text(text: &str) -> String {
    let (moment, zone) = match text.strip_suffix('Z') {
        Some(moment) => (moment, "+00:00"),
        None => (text, ""),
    };
    let fraction = if moment.contains(':') && !moment.contains('.') {
        ".0"
    } else {
        ""
    };
    format!("{moment}{fraction}{zone}")
}

/// A temporal value in the spelling of SQL: a space before the time, an offset instead of `Z`. SQLite's functions take
/// `Z` and compare it as text, so it stays there.
fn sql_text(text: &str, dialect: DialectName) -> String {
    let spaced = if text.as_bytes().get(10) == Some(&b'T') {
        text.replacen('T', " ", 1)
    } else {
        text.to_owned()
    };
    match spaced.strip_suffix('Z') {
        Some(local) if dialect != DialectName::Sqlite => format!("{local}+00:00"),
        _ => spaced,
    }
}

/// Digits of the fraction of a second that are bound.
const FRACTION_DIGITS: i16 = 6;
/// Characters of a timestamp with such a fraction: `yyyy-mm-dd hh:mm:ss.ffffff`.
const TIMESTAMP_CHARACTERS: usize = 26;

fn timestamp(micros: i64) -> Result<Box<dyn InputParameter>, Error> {
    use chrono::{Datelike as _, Timelike as _};
    let wrong = || Error::new(ErrorKind::InvalidValue, "a timestamp is out of range");
    let moment = chrono::DateTime::from_timestamp_micros(micros).ok_or_else(wrong)?;
    let small = |number: u32| u16::try_from(number).unwrap_or_default();
    let value = Timestamp {
        year: i16::try_from(moment.year()).map_err(|_range| wrong())?,
        month: small(moment.month()),
        day: small(moment.day()),
        hour: small(moment.hour()),
        minute: small(moment.minute()),
        second: small(moment.second()),
        fraction: moment.nanosecond(),
    };
    Ok(Box::new(WithDataType::new(
        value,
        // The type's size is what `SQLBindParameter` takes as ColumnSize.
        DataType::Other {
            data_type: odbc_api::sys::SqlDataType::TIMESTAMP,
            column_size: NonZeroUsize::new(TIMESTAMP_CHARACTERS),
            decimal_digits: FRACTION_DIGITS,
        },
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_drivers_mean_what_their_columns_hold() {
        for (text, guide, expected) in [
            ("1", Guide::Boolean, Value::Bool(true)),
            ("f", Guide::Boolean, Value::Bool(false)),
            ("\u{1}", Guide::Boolean, Value::Bool(true)),
            ("maybe", Guide::Boolean, Value::Text("maybe")),
            ("-12", Guide::Digits, Value::Int(-12)),
            ("18446744073709551615", Guide::Digits, Value::UInt(u64::MAX)),
            ("12.50", Guide::Decimal, Value::Decimal("12.50")),
            (".5", Guide::Decimal, Value::Float(0.5)),
            ("1e3", Guide::Decimal, Value::Float(1000.0)),
            ("NaN", Guide::Decimal, Value::Text("NaN")),
            ("{\"a\":1}", Guide::Json, Value::Json("{\"a\":1}")),
            ("{a", Guide::Json, Value::Text("{a")),
            (
                "10:00:00.5",
                Guide::Temporal,
                Value::Time(36_000_500_000, None),
            ),
            (
                "1970-01-02 00:00:00",
                Guide::TemporalUtc,
                Value::TimestampTz(MICROS_PER_DAY),
            ),
            ("soon", Guide::Temporal, Value::Text("soon")),
        ] {
            assert_eq!(from_text(text, guide), expected, "{text}");
        }
    }

    #[test]
    fn oracle_converts_times_from_one_form() {
        for (text, expected) in [
            ("2026-02-01T10:00:00", "2026-02-01T10:00:00.0"),
            ("2026-02-01T10:00:00.25Z", "2026-02-01T10:00:00.25+00:00"),
        ] {
            assert_eq!(oracle_text(text), expected);
        }
    }

    #[test]
    fn a_struct_is_a_point_in_time() {
        let timestamp = Timestamp {
            year: 1969,
            month: 12,
            day: 31,
            hour: 23,
            minute: 59,
            second: 59,
            fraction: 999_999_999,
        };
        assert_eq!(micros(&timestamp), Some(-1));
        assert_eq!(days(2023, 2, 29), None);
    }
}
