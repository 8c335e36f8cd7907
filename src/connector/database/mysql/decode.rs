//! Values of the binary protocol → [`Value`].

use std::fmt::Write as _;

use chrono::{Datelike as _, NaiveDate};
use mysql_async::consts::{ColumnFlags, ColumnType};
use mysql_async::{Column, Row, Value as Native};
use serde::de::IgnoredAny;

use crate::connector::database::dialect::mysql::{
    TAG_BINARY, TAG_BOOLEAN, TAG_JSON, TAG_PLAIN, TAG_TEXT,
};
use crate::connector::database::rows::RowWriter;
use crate::connector::database::value::{MICROS_PER_DAY, Value};
use crate::error::{Error, ErrorKind, Result};

/// The number of the character set of what is no text.
const BINARY: u16 = 63;

/// Days from the first day of the common era to 1970-01-01.
const EPOCH: i32 = 719_163;

/// How a column of a result is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Decoder {
    /// A truth value.
    Boolean,
    /// Bits as a number.
    Bits,
    /// Exact digits.
    Decimal,
    /// JSON that the server has made.
    Json,
    /// Text that should be JSON.
    JsonText,
    /// Text.
    Text,
    /// Bytes.
    Binary,
    /// A day.
    Date,
    /// A timestamp without a zone.
    DateTime,
    /// A timestamp in the session's zone.
    Timestamp,
    /// What the protocol itself tells: numbers, times.
    Plain,
}

impl Decoder {
    fn of(column: &Column) -> Self {
        Self::of_named(column, column.name_ref())
    }

    /// The same for a column whose name is anybody's. One digit or one bit is a truth value, as in tables.
    fn of_call(column: &Column) -> Self {
        match column.column_type() {
            ColumnType::MYSQL_TYPE_TINY | ColumnType::MYSQL_TYPE_BIT
                if column.column_length() == 1 =>
            {
                Self::Boolean
            }
            _ => Self::of_named(column, TAG_PLAIN.as_bytes()),
        }
    }

    fn of_named(column: &Column, name: &[u8]) -> Self {
        let is_bytes = column.character_set() == BINARY;
        match column.column_type() {
            ColumnType::MYSQL_TYPE_DECIMAL | ColumnType::MYSQL_TYPE_NEWDECIMAL => Self::Decimal,
            ColumnType::MYSQL_TYPE_DATE | ColumnType::MYSQL_TYPE_NEWDATE => Self::Date,
            ColumnType::MYSQL_TYPE_DATETIME | ColumnType::MYSQL_TYPE_DATETIME2 => Self::DateTime,
            ColumnType::MYSQL_TYPE_TIMESTAMP | ColumnType::MYSQL_TYPE_TIMESTAMP2 => Self::Timestamp,
            ColumnType::MYSQL_TYPE_JSON => Self::Json,
            ColumnType::MYSQL_TYPE_TINY
            | ColumnType::MYSQL_TYPE_SHORT
            | ColumnType::MYSQL_TYPE_LONG
            | ColumnType::MYSQL_TYPE_LONGLONG
            | ColumnType::MYSQL_TYPE_INT24
            | ColumnType::MYSQL_TYPE_BIT
                if name == TAG_BOOLEAN.as_bytes() =>
            {
                Self::Boolean
            }
            ColumnType::MYSQL_TYPE_BIT => Self::Bits,
            ColumnType::MYSQL_TYPE_FLOAT
            | ColumnType::MYSQL_TYPE_DOUBLE
            | ColumnType::MYSQL_TYPE_TINY
            | ColumnType::MYSQL_TYPE_SHORT
            | ColumnType::MYSQL_TYPE_LONG
            | ColumnType::MYSQL_TYPE_LONGLONG
            | ColumnType::MYSQL_TYPE_INT24
            | ColumnType::MYSQL_TYPE_YEAR
            | ColumnType::MYSQL_TYPE_TIME
            | ColumnType::MYSQL_TYPE_TIME2
            | ColumnType::MYSQL_TYPE_NULL => Self::Plain,
            _ if name == TAG_JSON.as_bytes() => Self::JsonText,
            _ if name == TAG_TEXT.as_bytes() => Self::Text,
            _ if name == TAG_BINARY.as_bytes() => Self::Binary,
            _ if is_bytes && !column.flags().contains(ColumnFlags::ENUM_FLAG) => Self::Binary,
            _ => Self::Text,
        }
    }

    /// Reads one value. `offset` is the session's distance from UTC in microseconds.
    fn decode<'a>(
        self,
        raw: &'a Native,
        offset: i64,
        scratch: &'a mut String,
    ) -> Result<Value<'a>> {
        Ok(match (self, raw) {
            (_, Native::NULL) => Value::Null,
            (Self::Boolean, Native::Int(number)) => Value::Bool(*number != 0),
            (Self::Boolean, Native::UInt(number)) => Value::Bool(*number != 0),
            (Self::Boolean, Native::Bytes(bytes)) => {
                Value::Bool(bytes.iter().any(|byte| *byte != 0))
            }
            (Self::Bits, Native::Bytes(bytes)) => Value::UInt(
                bytes
                    .iter()
                    .fold(0, |number: u64, byte| (number << 8) | u64::from(*byte)),
            ),
            (_, Native::Int(number)) => Value::Int(*number),
            (_, Native::UInt(number)) => Value::UInt(*number),
            (_, Native::Float(number)) => Value::Float32(*number),
            (_, Native::Double(number)) => Value::Float(*number),
            (Self::Decimal, Native::Bytes(bytes)) => Value::Decimal(text(bytes)?),
            (Self::Json, Native::Bytes(bytes)) => Value::Json(text(bytes)?),
            (Self::JsonText, Native::Bytes(bytes)) => {
                let text = text(bytes)?;
                // MariaDB's idea of JSON is wider than the standard's, and older tables hold what was never checked.
                if serde_json::from_str::<IgnoredAny>(text).is_ok() {
                    Value::Json(text)
                } else {
                    Value::Text(text)
                }
            }
            (Self::Binary, Native::Bytes(bytes)) => Value::Bytes(bytes),
            (_, Native::Bytes(bytes)) => Value::Text(text(bytes)?),
            (_, Native::Date(year, month, day, hour, minute, second, micros)) => {
                let parts = Parts {
                    year: *year,
                    month: *month,
                    day: *day,
                    hour: *hour,
                    minute: *minute,
                    second: *second,
                    micros: *micros,
                };
                match (self, parts.days()) {
                    (Self::Date, Some(days)) => Value::Date(days),
                    (Self::Timestamp, Some(days)) => {
                        Value::TimestampTz(parts.micros(days) - offset)
                    }
                    (_, Some(days)) => Value::Timestamp(parts.micros(days)),
                    // `0000-00-00` and its like are no days.
                    (_, None) => {
                        parts.print(self == Self::Date, scratch);
                        Value::Text(scratch)
                    }
                }
            }
            (_, Native::Time(is_negative, days, hours, minutes, seconds, micros)) => {
                let hours = days.saturating_mul(24).saturating_add(u32::from(*hours));
                if *is_negative || hours > 23 {
                    scratch.clear();
                    let sign = if *is_negative { "-" } else { "" };
                    let _ = write!(scratch, "{sign}{hours:02}:{minutes:02}:{seconds:02}");
                    push_fraction(scratch, *micros);
                    Value::Text(scratch)
                } else {
                    let seconds =
                        (i64::from(hours) * 60 + i64::from(*minutes)) * 60 + i64::from(*seconds);
                    Value::Time(seconds * 1_000_000 + i64::from(*micros), None)
                }
            }
        })
    }
}

/// A timestamp in its parts.
struct Parts {
    year: u16,
    month: u8,
    day: u8,
    hour: u8,
    minute: u8,
    second: u8,
    micros: u32,
}

impl Parts {
    /// Days since 1970-01-01, if it is a day.
    fn days(&self) -> Option<i32> {
        NaiveDate::from_ymd_opt(self.year.into(), self.month.into(), self.day.into())
            .map(|date| date.num_days_from_ce() - EPOCH)
    }

    /// Microseconds since 1970-01-01T00:00:00.
    fn micros(&self, days: i32) -> i64 {
        let seconds =
            (i64::from(self.hour) * 60 + i64::from(self.minute)) * 60 + i64::from(self.second);
        i64::from(days) * MICROS_PER_DAY + seconds * 1_000_000 + i64::from(self.micros)
    }

    /// As the server prints it.
    fn print(&self, is_date: bool, out: &mut String) {
        out.clear();
        let _ = write!(out, "{:04}-{:02}-{:02}", self.year, self.month, self.day);
        if !is_date {
            let _ = write!(
                out,
                " {:02}:{:02}:{:02}",
                self.hour, self.minute, self.second
            );
            push_fraction(out, self.micros);
        }
    }
}

fn push_fraction(out: &mut String, micros: u32) {
    if micros != 0 {
        let digits = format!("{micros:06}");
        let _ = write!(out, ".{}", digits.trim_end_matches('0'));
    }
}

fn text(bytes: &[u8]) -> Result<&str> {
    std::str::from_utf8(bytes).map_err(|error| {
        Error::new(
            ErrorKind::BackendFailure,
            "the database gave a text that is not UTF-8",
        )
        .with_source(error)
    })
}

/// How the columns of a result are read.
pub(super) struct Decoders {
    columns: Box<[Decoder]>,
    offset: i64,
    scratch: String,
}

impl Decoders {
    /// `offset` is the session's distance from UTC in seconds.
    pub(super) fn of(columns: &[Column], offset: i32) -> Self {
        Self {
            columns: columns.iter().map(Decoder::of).collect(),
            offset: i64::from(offset) * 1_000_000,
            scratch: String::new(),
        }
    }

    /// The same for a result of a procedure, of which nobody here chose the columns.
    pub(super) fn of_call(columns: &[Column], offset: i32) -> Self {
        Self {
            columns: columns.iter().map(Decoder::of_call).collect(),
            ..Self::of(&[], offset)
        }
    }

    /// Writes one row. True when a chunk should be flushed. A row beyond the page is read over.
    pub(super) fn write(&mut self, row: &Row, rows: &mut RowWriter) -> Result<bool> {
        if !rows.begin_row() {
            return Ok(false);
        }
        for (index, decoder) in self.columns.iter().enumerate() {
            let raw = row
                .as_ref(index)
                .ok_or_else(|| Error::internal("a row has fewer values than columns"))?;
            rows.value(&decoder.decode(raw, self.offset, &mut self.scratch)?);
        }
        Ok(rows.end_row())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(kind: ColumnType, name: &str, character_set: u16) -> Column {
        Column::new(kind)
            .with_name(name.as_bytes())
            .with_character_set(character_set)
    }

    fn decoded(column: &Column, raw: &Native, offset: i64) -> String {
        let mut scratch = String::new();
        let value = Decoder::of(column).decode(raw, offset, &mut scratch);
        format!("{:?}", value.unwrap())
    }

    #[test]
    fn every_type_of_the_protocol_has_its_value() {
        use ColumnType as T;
        let bytes = |text: &str| Native::Bytes(text.as_bytes().to_vec());
        for (kind, name, set, raw, expected) in [
            (
                T::MYSQL_TYPE_TINY,
                "plain",
                BINARY,
                Native::Int(2),
                "Int(2)",
            ),
            (
                T::MYSQL_TYPE_TINY,
                "boolean",
                BINARY,
                Native::Int(2),
                "Bool(true)",
            ),
            (
                T::MYSQL_TYPE_LONGLONG,
                "boolean",
                BINARY,
                Native::Int(0),
                "Bool(false)",
            ),
            (
                T::MYSQL_TYPE_LONGLONG,
                "plain",
                BINARY,
                Native::UInt(u64::MAX),
                "UInt(18446744073709551615)",
            ),
            (
                T::MYSQL_TYPE_BIT,
                "plain",
                BINARY,
                Native::Bytes(vec![1, 2]),
                "UInt(258)",
            ),
            (
                T::MYSQL_TYPE_BIT,
                "boolean",
                BINARY,
                Native::Bytes(vec![1]),
                "Bool(true)",
            ),
            (
                T::MYSQL_TYPE_NEWDECIMAL,
                "plain",
                BINARY,
                bytes("-12.50"),
                "Decimal(\"-12.50\")",
            ),
            (
                T::MYSQL_TYPE_VAR_STRING,
                "text",
                255,
                bytes("ä"),
                "Text(\"ä\")",
            ),
            (
                T::MYSQL_TYPE_BLOB,
                "text",
                BINARY,
                bytes("a"),
                "Text(\"a\")",
            ),
            (
                T::MYSQL_TYPE_BLOB,
                "binary",
                BINARY,
                bytes("a"),
                "Bytes([97])",
            ),
            (
                T::MYSQL_TYPE_BLOB,
                "json",
                255,
                bytes("[1]"),
                "Json(\"[1]\")",
            ),
            (T::MYSQL_TYPE_BLOB, "json", 255, bytes("[1"), "Text(\"[1\")"),
            (
                T::MYSQL_TYPE_JSON,
                "json",
                BINARY,
                bytes("[1]"),
                "Json(\"[1]\")",
            ),
            (
                T::MYSQL_TYPE_DATE,
                "plain",
                BINARY,
                Native::Date(1970, 1, 2, 0, 0, 0, 0),
                "Date(1)",
            ),
            (
                T::MYSQL_TYPE_DATE,
                "plain",
                BINARY,
                Native::Date(0, 0, 0, 0, 0, 0, 0),
                "Text(\"0000-00-00\")",
            ),
            (
                T::MYSQL_TYPE_DATETIME,
                "plain",
                BINARY,
                Native::Date(2024, 0, 1, 1, 2, 3, 500_000),
                "Text(\"2024-00-01 01:02:03.5\")",
            ),
            (
                T::MYSQL_TYPE_DATETIME,
                "plain",
                BINARY,
                Native::Date(1969, 12, 31, 23, 59, 59, 1),
                "Timestamp(-999999)",
            ),
            (
                T::MYSQL_TYPE_TIMESTAMP,
                "plain",
                BINARY,
                Native::Date(1970, 1, 1, 2, 0, 0, 0),
                "TimestampTz(0)",
            ),
            (
                T::MYSQL_TYPE_TIME,
                "plain",
                BINARY,
                Native::Time(false, 0, 23, 59, 59, 0),
                "Time(86399000000, None)",
            ),
            (
                T::MYSQL_TYPE_TIME,
                "plain",
                BINARY,
                Native::Time(true, 34, 22, 59, 59, 0),
                "Text(\"-838:59:59\")",
            ),
            (
                T::MYSQL_TYPE_TIME,
                "plain",
                BINARY,
                Native::Time(false, 1, 0, 0, 0, 10),
                "Text(\"24:00:00.00001\")",
            ),
            (
                T::MYSQL_TYPE_FLOAT,
                "plain",
                BINARY,
                Native::Float(0.1),
                "Float32(0.1)",
            ),
            (
                T::MYSQL_TYPE_YEAR,
                "plain",
                BINARY,
                Native::UInt(2026),
                "UInt(2026)",
            ),
            (T::MYSQL_TYPE_LONG, "plain", BINARY, Native::NULL, "Null"),
        ] {
            assert_eq!(
                decoded(&column(kind, name, set), &raw, 7_200_000_000),
                expected,
                "{kind:?} {name}"
            );
        }
    }

    #[test]
    fn a_text_that_is_not_utf_8_is_an_error_and_no_panic() {
        let mut scratch = String::new();
        let raw = Native::Bytes(vec![0xff]);
        let text = column(ColumnType::MYSQL_TYPE_VAR_STRING, "text", 255);
        let error = Decoder::of(&text)
            .decode(&raw, 0, &mut scratch)
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BackendFailure);
    }
}
