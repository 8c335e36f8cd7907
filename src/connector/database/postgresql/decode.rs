//! PostgreSQL's binary results → [`Value`]s, borrowed from the row. Pure.
//!
//! The layouts are those of the `*_send` functions in PostgreSQL's `src/backend/utils/adt`. What has no decoder here
//! is [`crate::connector::database::catalog::Type::Other`] in the catalogue, and is selected as text.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr};

use base64::Engine as _;
use tokio_postgres::types::{FromSql, Kind, Type};

use crate::connector::database::value::{
    DateTimeStyle, MICROS_PER_DAY, NumberStyle, Value, infinite_word, write_temporal,
};
use crate::error::{Error, ErrorKind, Result};

/// The bytes of a column as the server sent them; `None` is NULL.
#[derive(Clone, Copy, Debug)]
pub(super) struct Raw<'a>(pub(super) Option<&'a [u8]>);

impl<'a> FromSql<'a> for Raw<'a> {
    fn from_sql(
        _: &Type,
        raw: &'a [u8],
    ) -> std::result::Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Self(Some(raw)))
    }

    fn from_sql_null(
        _: &Type,
    ) -> std::result::Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Self(None))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

/// How the values of one column are read. Chosen once for each prepared statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Decoder {
    /// `bool`
    Bool,
    /// `int2`
    Int2,
    /// `int4`
    Int4,
    /// `int8`
    Int8,
    /// `oid`
    Oid,
    /// `float4`
    Float4,
    /// `float8`
    Float8,
    /// `numeric`
    Numeric,
    /// `money`
    Money,
    /// `text`, `varchar`, `char(n)`, `name`, `citext`, `xml`, `unknown` and enumerations
    Text,
    /// `"char"`
    Char,
    /// `bytea`
    Bytea,
    /// `uuid`
    Uuid,
    /// `json`
    Json,
    /// `jsonb`
    Jsonb,
    /// `date`
    Date,
    /// `time`
    Time,
    /// `timetz`
    TimeTz,
    /// `timestamp`
    Timestamp,
    /// `timestamptz`
    TimestampTz,
    /// `interval`
    Interval,
    /// `inet`, `cidr`
    Network,
    /// `macaddr`, `macaddr8`
    MacAddress,
    /// `bit`, `varbit`
    Bits,
    /// An array of one of the above.
    Array(Box<Decoder>),
}

/// How a scalar value looks in the text that the gateway makes of it: arrays are written as JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Style {
    /// How numbers are written.
    pub(super) numbers: NumberStyle,
    /// How dates and times are written.
    pub(super) datetimes: DateTimeStyle,
}

impl Decoder {
    /// The decoder for a type, if there is one. Domains count as what they are made of.
    pub(super) fn of(native: &Type) -> Option<Self> {
        let mut native = native;
        while let Kind::Domain(base) = native.kind() {
            native = base;
        }
        match native.kind() {
            Kind::Enum(_) => Some(Self::Text),
            Kind::Array(element) => match Self::of_element(element)? {
                // An array of a domain over an array has arrays as its elements; nobody needs them.
                Self::Array(_) => None,
                element => Some(Self::Array(Box::new(element))),
            },
            _ => Self::of_oid(native.oid())
                .or_else(|| (native.name() == "citext").then_some(Self::Text)),
        }
    }

    fn of_element(native: &Type) -> Option<Self> {
        let mut native = native;
        while let Kind::Domain(base) = native.kind() {
            native = base;
        }
        match native.kind() {
            Kind::Enum(_) => Some(Self::Text),
            Kind::Array(_) => None,
            _ => Self::of_oid(native.oid())
                .or_else(|| (native.name() == "citext").then_some(Self::Text)),
        }
    }

    /// The decoder for a built-in scalar type by its OID (`pg_type.dat`).
    pub(super) fn of_oid(oid: u32) -> Option<Self> {
        Some(match oid {
            16 => Self::Bool,
            17 => Self::Bytea,
            18 => Self::Char,
            // name, text, xml, unknown, bpchar, varchar, refcursor
            19 | 25 | 142 | 705 | 1042 | 1043 | 1790 => Self::Text,
            20 => Self::Int8,
            21 => Self::Int2,
            23 => Self::Int4,
            26 => Self::Oid,
            114 => Self::Json,
            // cidr, inet
            650 | 869 => Self::Network,
            700 => Self::Float4,
            701 => Self::Float8,
            // macaddr8, macaddr
            774 | 829 => Self::MacAddress,
            790 => Self::Money,
            1082 => Self::Date,
            1083 => Self::Time,
            1114 => Self::Timestamp,
            1184 => Self::TimestampTz,
            1186 => Self::Interval,
            1266 => Self::TimeTz,
            // bit, varbit
            1560 | 1562 => Self::Bits,
            1700 => Self::Numeric,
            2950 => Self::Uuid,
            3802 => Self::Jsonb,
            _ => return None,
        })
    }

    /// Reads one value. Text that has to be made is made in `scratch`.
    pub(super) fn decode<'a>(
        &self,
        raw: Raw<'a>,
        style: Style,
        scratch: &'a mut String,
    ) -> Result<Value<'a>> {
        let Some(bytes) = raw.0 else {
            return Ok(Value::Null);
        };
        scratch.clear();
        self.decode_some(bytes, style, scratch)
            .ok_or_else(|| malformed(self))
    }

    fn decode_some<'a>(
        &self,
        bytes: &'a [u8],
        style: Style,
        scratch: &'a mut String,
    ) -> Option<Value<'a>> {
        Some(match self {
            Self::Bool => Value::Bool(u8::from_be_bytes(whole(bytes)?) != 0),
            Self::Int2 => Value::Int(i64::from(i16::from_be_bytes(whole(bytes)?))),
            Self::Int4 => Value::Int(i64::from(i32::from_be_bytes(whole(bytes)?))),
            Self::Int8 => Value::Int(i64::from_be_bytes(whole(bytes)?)),
            Self::Oid => Value::Int(i64::from(u32::from_be_bytes(whole(bytes)?))),
            Self::Float4 => Value::Float32(f32::from_be_bytes(whole(bytes)?)),
            Self::Float8 => Value::Float(f64::from_be_bytes(whole(bytes)?)),
            Self::Numeric => {
                if write_numeric(bytes, scratch)? {
                    Value::Decimal(scratch)
                } else {
                    Value::Text(scratch)
                }
            }
            Self::Money => {
                write_money(i64::from_be_bytes(whole(bytes)?), scratch);
                Value::Decimal(scratch)
            }
            Self::Text => text(bytes, scratch),
            Self::Char => {
                write_char(u8::from_be_bytes(whole(bytes)?), scratch);
                Value::Text(scratch)
            }
            Self::Bytea => Value::Bytes(bytes),
            Self::Uuid => Value::Uuid(whole(bytes)?),
            Self::Json => json(bytes, scratch),
            Self::Jsonb => {
                let (version, bytes) = bytes.split_first()?;
                if *version != 1 {
                    return None;
                }
                json(bytes, scratch)
            }
            Self::Date => date(i32::from_be_bytes(whole(bytes)?)),
            Self::Time => Value::Time(i64::from_be_bytes(whole(bytes)?), None),
            Self::TimeTz => {
                let (micros, rest) = take::<8>(bytes)?;
                // PostgreSQL counts seconds west of Greenwich.
                let west = i32::from_be_bytes(whole(rest)?);
                Value::Time(i64::from_be_bytes(micros), Some(west.checked_neg()?))
            }
            Self::Timestamp => timestamp(i64::from_be_bytes(whole(bytes)?), false, style, scratch),
            Self::TimestampTz => timestamp(i64::from_be_bytes(whole(bytes)?), true, style, scratch),
            Self::Interval => {
                write_interval(bytes, scratch)?;
                Value::Text(scratch)
            }
            Self::Network => {
                write_network(bytes, scratch)?;
                Value::Text(scratch)
            }
            Self::MacAddress => {
                write_mac_address(bytes, scratch);
                Value::Text(scratch)
            }
            Self::Bits => {
                write_bits(bytes, scratch)?;
                Value::Text(scratch)
            }
            Self::Array(element) => {
                write_array(element, bytes, style, scratch)?;
                Value::Json(scratch)
            }
        })
    }
}

fn malformed(decoder: &Decoder) -> Error {
    Error::new(
        ErrorKind::BackendFailure,
        "the database sent a value that cannot be read",
    )
    .with_fact("decoder", format!("{decoder:?}"))
}

fn whole<const N: usize>(bytes: &[u8]) -> Option<[u8; N]> {
    bytes.try_into().ok()
}

fn take<const N: usize>(bytes: &[u8]) -> Option<([u8; N], &[u8])> {
    bytes
        .split_first_chunk::<N>()
        .map(|(head, rest)| (*head, rest))
}

/// Databases with the encoding `SQL_ASCII` may hold anything; what is no UTF-8 shows as U+FFFD.
fn text<'a>(bytes: &'a [u8], scratch: &'a mut String) -> Value<'a> {
    if let Ok(text) = std::str::from_utf8(bytes) {
        return Value::Text(text);
    }
    scratch.push_str(&String::from_utf8_lossy(bytes));
    Value::Text(scratch)
}

fn json<'a>(bytes: &'a [u8], scratch: &'a mut String) -> Value<'a> {
    if let Ok(text) = std::str::from_utf8(bytes) {
        return Value::Json(text);
    }
    scratch.push_str(&String::from_utf8_lossy(bytes));
    Value::Json(scratch)
}

/// Days from 1970-01-01 to PostgreSQL's 2000-01-01.
const EPOCH_DAYS: i32 = 10_957;

fn date(days: i32) -> Value<'static> {
    match days {
        i32::MAX => Value::Text("infinity"),
        i32::MIN => Value::Text("-infinity"),
        // The type ends at 5874897-12-31, far from the ends of an i32.
        days => Value::Date(days.saturating_add(EPOCH_DAYS)),
    }
}

fn timestamp(micros: i64, has_zone: bool, style: Style, scratch: &mut String) -> Value<'_> {
    match micros {
        i64::MAX => return Value::Text("infinity"),
        i64::MIN => return Value::Text("-infinity"),
        _ => {}
    }
    match micros.checked_add(i64::from(EPOCH_DAYS) * MICROS_PER_DAY) {
        Some(micros) if has_zone => Value::TimestampTz(micros),
        Some(micros) => Value::Timestamp(micros),
        // The last thirty years before 294276-12-31 have no number of microseconds since 1970.
        None => {
            let days = micros.div_euclid(MICROS_PER_DAY) + i64::from(EPOCH_DAYS);
            let days = i32::try_from(days).unwrap_or(i32::MAX);
            let micros = micros.rem_euclid(MICROS_PER_DAY);
            write_temporal(scratch, &Value::Date(days), style.datetimes);
            scratch.push(match style.datetimes {
                DateTimeStyle::Rfc3339 => 'T',
                DateTimeStyle::Sql => ' ',
            });
            write_temporal(scratch, &Value::Time(micros, None), style.datetimes);
            if has_zone {
                scratch.push_str(match style.datetimes {
                    DateTimeStyle::Rfc3339 => "Z",
                    DateTimeStyle::Sql => "+00:00",
                });
            }
            Value::Text(scratch)
        }
    }
}

/// `numeric_send`: number of base-10000 digits, weight of the first, sign, digits after the point, then the digits.
/// False if it is no number.
fn write_numeric(bytes: &[u8], out: &mut String) -> Option<bool> {
    let (count, rest) = take::<2>(bytes)?;
    let (weight, rest) = take::<2>(rest)?;
    let (sign, rest) = take::<2>(rest)?;
    let (scale, digits) = take::<2>(rest)?;
    let count = usize::from(u16::from_be_bytes(count));
    let weight = i32::from(i16::from_be_bytes(weight));
    let scale = usize::from(u16::from_be_bytes(scale));
    match u16::from_be_bytes(sign) {
        0x0000 => {}
        0x4000 => out.push('-'),
        0xC000 => {
            out.push_str("NaN");
            return Some(false);
        }
        0xD000 => {
            out.push_str("Infinity");
            return Some(false);
        }
        0xF000 => {
            out.push_str("-Infinity");
            return Some(false);
        }
        _ => return None,
    }
    let (digits, rest) = digits.as_chunks::<2>();
    if digits.len() != count || !rest.is_empty() {
        return None;
    }
    let mut digits = digits.iter().map(|digit| u16::from_be_bytes(*digit));
    if weight < 0 {
        out.push('0');
    } else {
        for position in 0..=weight {
            let digit = digits.next().unwrap_or(0);
            push_group(out, digit, position > 0);
        }
    }
    if scale == 0 {
        return Some(true);
    }
    out.push('.');
    let end = out.len() + scale;
    // Groups between the point and the first digit that is there.
    for _ in weight.saturating_add(1)..0 {
        if out.len() >= end {
            break;
        }
        out.push_str("0000");
    }
    while out.len() < end {
        push_group(out, digits.next().unwrap_or(0), true);
    }
    out.truncate(end);
    Some(true)
}

/// Appends a base-10000 digit, with its leading zeros or without; by hand, because a page of amounts has many.
fn push_group(out: &mut String, group: u16, with_zeros: bool) {
    let mut is_first = !with_zeros;
    for unit in [1000, 100, 10, 1] {
        let digit = group / unit % 10;
        if is_first && digit == 0 && unit > 1 {
            continue;
        }
        is_first = false;
        out.push(char::from_digit(digit.into(), 10).unwrap_or('0'));
    }
}

/// `cash_send` sends the smallest unit of the currency; which that is, the locale of the server decides. Nearly all
/// have two digits, and so do the gateway's values in both directions.
fn write_money(amount: i64, out: &mut String) {
    let sign = if amount < 0 { "-" } else { "" };
    let amount = amount.unsigned_abs();
    let _ = write!(out, "{sign}{}.{:02}", amount / 100, amount % 100);
}

/// `"char"` is one byte; beyond ASCII PostgreSQL shows it as an octal escape, and zero as nothing (`charout`).
fn write_char(byte: u8, out: &mut String) {
    match byte {
        0 => {}
        byte if byte.is_ascii() => out.push(char::from(byte)),
        byte => {
            let _ = write!(out, "\\{byte:03o}");
        }
    }
}

/// ISO 8601 section 5.5.2, as PostgreSQL writes it with `intervalstyle = iso_8601`.
fn write_interval(bytes: &[u8], out: &mut String) -> Option<()> {
    let (micros, rest) = take::<8>(bytes)?;
    let (days, rest) = take::<4>(rest)?;
    let micros = i64::from_be_bytes(micros);
    let days = i32::from_be_bytes(days);
    let months = i32::from_be_bytes(whole(rest)?);
    match (months, days, micros) {
        (i32::MAX, i32::MAX, i64::MAX) => out.push_str("infinity"),
        (i32::MIN, i32::MIN, i64::MIN) => out.push_str("-infinity"),
        (0, 0, 0) => out.push_str("PT0S"),
        _ => {
            out.push('P');
            for (amount, unit) in [(months / 12, 'Y'), (months % 12, 'M'), (days, 'D')] {
                if amount != 0 {
                    let _ = write!(out, "{amount}{unit}");
                }
            }
            if micros == 0 {
                return Some(());
            }
            out.push('T');
            let hours = micros / 3_600_000_000;
            let minutes = micros / 60_000_000 % 60;
            let seconds = micros / 1_000_000 % 60;
            let fraction = micros % 1_000_000;
            for (amount, unit) in [(hours, 'H'), (minutes, 'M')] {
                if amount != 0 {
                    let _ = write!(out, "{amount}{unit}");
                }
            }
            if seconds != 0 || fraction != 0 {
                if micros < 0 {
                    out.push('-');
                }
                let _ = write!(out, "{}", seconds.unsigned_abs());
                if fraction != 0 {
                    let _ = write!(out, ".{:06}", fraction.unsigned_abs());
                    out.truncate(out.trim_end_matches('0').len());
                }
                out.push('S');
            }
        }
    }
    Some(())
}

/// `inet_send`: family, bits of the mask, whether it is a `cidr`, length, address.
fn write_network(bytes: &[u8], out: &mut String) -> Option<()> {
    let ([family, bits, is_cidr, length], address) = take::<4>(bytes)?;
    if usize::from(length) != address.len() {
        return None;
    }
    let full = match family {
        2 => {
            let _ = write!(out, "{}", Ipv4Addr::from(whole::<4>(address)?));
            32
        }
        3 => {
            let _ = write!(out, "{}", Ipv6Addr::from(whole::<16>(address)?));
            128
        }
        _ => return None,
    };
    if is_cidr != 0 || bits != full {
        let _ = write!(out, "/{bits}");
    }
    Some(())
}

fn write_mac_address(bytes: &[u8], out: &mut String) {
    for (index, byte) in bytes.iter().enumerate() {
        if index > 0 {
            out.push(':');
        }
        let _ = write!(out, "{byte:02x}");
    }
}

/// `varbit_send`: number of bits, then the bits from the highest down.
fn write_bits(bytes: &[u8], out: &mut String) -> Option<()> {
    let (count, bytes) = take::<4>(bytes)?;
    let count = usize::try_from(i32::from_be_bytes(count)).ok()?;
    if count.div_ceil(8) != bytes.len() {
        return None;
    }
    out.extend(
        bytes
            .iter()
            .flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1))
            .take(count)
            .map(|bit| if bit == 1 { '1' } else { '0' }),
    );
    Some(())
}

/// Most dimensions an array can have (`MAXDIM` in PostgreSQL's `array.h`).
const MAX_DIMENSIONS: usize = 6;

/// `array_send`: dimensions, whether there are NULLs, element type, then length and lower bound of each dimension,
/// then each element with its length. Written as JSON.
fn write_array(element: &Decoder, bytes: &[u8], style: Style, out: &mut String) -> Option<()> {
    let (dimensions, rest) = take::<4>(bytes)?;
    let (_has_nulls, rest) = take::<4>(rest)?;
    let (_element_type, mut rest) = take::<4>(rest)?;
    let dimensions = usize::try_from(i32::from_be_bytes(dimensions)).ok()?;
    if dimensions > MAX_DIMENSIONS {
        return None;
    }
    let mut lengths = Vec::with_capacity(dimensions);
    for _ in 0..dimensions {
        let (length, after) = take::<4>(rest)?;
        let (_lower_bound, after) = take::<4>(after)?;
        lengths.push(usize::try_from(i32::from_be_bytes(length)).ok()?);
        rest = after;
    }
    if lengths.is_empty() || lengths.contains(&0) {
        out.push_str("[]");
        return Some(());
    }
    // One counter for each dimension; the last runs fastest.
    let mut counters = vec![0_usize; dimensions];
    let mut scratch = String::new();
    out.extend(std::iter::repeat_n('[', dimensions));
    loop {
        let (length, after) = take::<4>(rest)?;
        let length = i32::from_be_bytes(length);
        if length < 0 {
            out.push_str("null");
            rest = after;
        } else {
            let (value, after) = after.split_at_checked(usize::try_from(length).ok()?)?;
            scratch.clear();
            let value = element.decode_some(value, style, &mut scratch)?;
            write_json(&value, element, style, out);
            rest = after;
        }
        let mut closed = 0;
        for (counter, length) in counters.iter_mut().zip(&lengths).rev() {
            *counter += 1;
            if *counter < *length {
                break;
            }
            *counter = 0;
            closed += 1;
        }
        out.extend(std::iter::repeat_n(']', closed));
        if closed == dimensions {
            return rest.is_empty().then_some(());
        }
        out.push(',');
        out.extend(std::iter::repeat_n('[', closed));
    }
}

/// One element as JSON, as the row writer would write a column of its type.
fn write_json(value: &Value<'_>, element: &Decoder, style: Style, out: &mut String) {
    let quoted = style.numbers == NumberStyle::String;
    match *value {
        Value::Null => out.push_str("null"),
        Value::Bool(value) => out.push_str(if value { "true" } else { "false" }),
        Value::Int(value) => {
            // What has at most 32 bits never loses digits.
            let _ = if quoted && matches!(element, Decoder::Int8 | Decoder::Oid) {
                write!(out, "\"{value}\"")
            } else {
                write!(out, "{value}")
            };
        }
        Value::UInt(value) => {
            let _ = write!(out, "{value}");
        }
        Value::Float(value) if !value.is_finite() => write_infinite(value, out),
        Value::Float32(value) if !value.is_finite() => write_infinite(f64::from(value), out),
        Value::Float(value) => write_float(ryu::Buffer::new().format_finite(value), out),
        Value::Float32(value) => write_float(ryu::Buffer::new().format_finite(value), out),
        Value::Decimal(digits) if quoted => write_json_text(digits, out),
        Value::Decimal(digits) | Value::Json(digits) => out.push_str(digits),
        Value::Text(text) => write_json_text(text, out),
        Value::Bytes(bytes) => {
            out.push('"');
            base64::engine::general_purpose::STANDARD.encode_string(bytes, out);
            out.push('"');
        }
        Value::Date(_) | Value::Time(..) | Value::Timestamp(_) | Value::TimestampTz(_) => {
            out.push('"');
            write_temporal(out, value, style.datetimes);
            out.push('"');
        }
        Value::Uuid(bytes) => {
            let _ = write!(out, "\"{}\"", uuid::Uuid::from_bytes(bytes));
        }
    }
}

fn write_float(digits: &str, out: &mut String) {
    out.push_str(digits.strip_suffix(".0").unwrap_or(digits));
}

fn write_infinite(number: f64, out: &mut String) {
    write_json_text(infinite_word(number).unwrap_or_default(), out);
}

fn write_json_text(text: &str, out: &mut String) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            character if u32::from(character) < 0x20 => {
                let _ = write!(out, "\\u{:04x}", u32::from(character));
            }
            character => out.push(character),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const STYLE: Style = Style {
        numbers: NumberStyle::Number,
        datetimes: DateTimeStyle::Rfc3339,
    };

    fn numeric(weight: i16, sign: u16, scale: u16, digits: &[u16]) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend(u16::try_from(digits.len()).unwrap().to_be_bytes());
        bytes.extend(weight.to_be_bytes());
        bytes.extend(sign.to_be_bytes());
        bytes.extend(scale.to_be_bytes());
        for digit in digits {
            bytes.extend(digit.to_be_bytes());
        }
        bytes
    }

    fn decoded(decoder: &Decoder, bytes: &[u8]) -> String {
        let mut scratch = String::new();
        format!(
            "{:?}",
            decoder.decode(Raw(Some(bytes)), STYLE, &mut scratch)
        )
    }

    #[test]
    fn numbers_keep_every_digit() {
        for (bytes, expected) in [
            (numeric(0, 0, 0, &[]), "0"),
            (numeric(0, 0, 2, &[]), "0.00"),
            (numeric(0, 0, 2, &[12, 5000]), "12.50"),
            (numeric(0, 0x4000, 2, &[12, 5000]), "-12.50"),
            (numeric(-1, 0, 1, &[1000]), "0.1"),
            (numeric(-2, 0, 6, &[1200]), "0.000012"),
            (numeric(-3, 0, 3, &[1]), "0.000"),
            (numeric(2, 0, 0, &[1]), "100000000"),
            (numeric(1, 0, 0, &[1, 2]), "10002"),
            (
                numeric(4, 0, 4, &[1234, 5678, 9012, 3456, 7890, 1234]),
                "12345678901234567890.1234",
            ),
        ] {
            let mut out = String::new();
            assert_eq!(write_numeric(&bytes, &mut out), Some(true));
            assert_eq!(out, expected);
        }
        for (sign, expected) in [(0xC000, "NaN"), (0xD000, "Infinity"), (0xF000, "-Infinity")] {
            assert_eq!(
                decoded(&Decoder::Numeric, &numeric(0, sign, 0, &[])),
                format!("Ok(Text({expected:?}))")
            );
        }
    }

    #[test]
    fn intervals_are_iso_8601() {
        for (micros, days, months, expected) in [
            (0, 0, 0, "PT0S"),
            (14_706_700_000, 3, 14, "P1Y2M3DT4H5M6.7S"),
            (-1, 0, 0, "PT-0.000001S"),
            (-3_661_000_000_i64, -1, 0, "P-1DT-1H-1M-1S"),
            (60_000_000, 0, 0, "PT1M"),
            (0, 0, -1, "P-1M"),
            (i64::MAX, i32::MAX, i32::MAX, "infinity"),
        ] {
            let mut bytes = Vec::new();
            bytes.extend(i64::to_be_bytes(micros));
            bytes.extend(i32::to_be_bytes(days));
            bytes.extend(i32::to_be_bytes(months));
            assert_eq!(
                decoded(&Decoder::Interval, &bytes),
                format!("Ok(Text({expected:?}))")
            );
        }
    }

    #[test]
    fn the_ends_of_time_are_words_and_the_last_thirty_years_are_text() {
        assert_eq!(
            decoded(&Decoder::Date, &i32::MAX.to_be_bytes()),
            "Ok(Text(\"infinity\"))"
        );
        assert_eq!(
            decoded(&Decoder::TimestampTz, &i64::MIN.to_be_bytes()),
            "Ok(Text(\"-infinity\"))"
        );
        // 294276-12-31 23:59:59.999999, the last timestamp of PostgreSQL.
        assert_eq!(
            decoded(
                &Decoder::TimestampTz,
                &9_223_371_331_199_999_999_i64.to_be_bytes()
            ),
            "Ok(Text(\"+294276-12-31T23:59:59.999999Z\"))"
        );
        assert_eq!(
            decoded(&Decoder::Timestamp, &0_i64.to_be_bytes()),
            "Ok(Timestamp(946684800000000))"
        );
    }

    fn array(lengths: &[i32], elements: &[Option<&[u8]>]) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend(i32::try_from(lengths.len()).unwrap().to_be_bytes());
        bytes.extend([0; 8]);
        for length in lengths {
            bytes.extend(length.to_be_bytes());
            bytes.extend(1_i32.to_be_bytes());
        }
        for element in elements {
            match element {
                None => bytes.extend((-1_i32).to_be_bytes()),
                Some(element) => {
                    bytes.extend(i32::try_from(element.len()).unwrap().to_be_bytes());
                    bytes.extend(*element);
                }
            }
        }
        bytes
    }

    #[test]
    fn arrays_become_json() {
        let texts = Decoder::Array(Box::new(Decoder::Text));
        for (bytes, expected) in [
            (array(&[], &[]), "[]"),
            (array(&[2], &[Some(b"a\"b"), None]), r#"["a\"b",null]"#),
            (
                array(
                    &[2, 2],
                    &[Some(b"a"), Some(b"b"), Some(b"c"), Some(b"\x01")],
                ),
                r#"[["a","b"],["c","\u0001"]]"#,
            ),
            (
                array(&[2, 1, 1], &[Some(b"a"), Some(b"b")]),
                r#"[[["a"]],[["b"]]]"#,
            ),
        ] {
            assert_eq!(
                decoded(&texts, &bytes),
                format!("Ok(Json({expected:?}))"),
                "{expected}"
            );
        }
        let floats = Decoder::Array(Box::new(Decoder::Float8));
        assert_eq!(
            decoded(
                &floats,
                &array(
                    &[3],
                    &[
                        Some(&1.5_f64.to_be_bytes()),
                        Some(&f64::NAN.to_be_bytes()),
                        Some(&2.0_f64.to_be_bytes())
                    ]
                )
            ),
            r#"Ok(Json("[1.5,\"NaN\",2]"))"#
        );
    }

    #[test]
    fn the_small_types_look_as_postgresql_prints_them() {
        for (decoder, bytes, expected) in [
            (
                Decoder::Money,
                (-123_456_i64).to_be_bytes().to_vec(),
                "Decimal(\"-1234.56\")",
            ),
            (
                Decoder::Network,
                vec![2, 32, 0, 4, 127, 0, 0, 1],
                "Text(\"127.0.0.1\")",
            ),
            (
                Decoder::Network,
                vec![2, 8, 1, 4, 10, 0, 0, 0],
                "Text(\"10.0.0.0/8\")",
            ),
            (
                Decoder::MacAddress,
                vec![8, 0, 43, 1, 2, 3],
                "Text(\"08:00:2b:01:02:03\")",
            ),
            (
                Decoder::Bits,
                vec![0, 0, 0, 5, 0b1010_1000],
                "Text(\"10101\")",
            ),
            (Decoder::Char, vec![b'x'], "Text(\"x\")"),
            (Decoder::Char, vec![0xE4], "Text(\"\\\\344\")"),
            (Decoder::Jsonb, b"\x01[1]".to_vec(), "Json(\"[1]\")"),
            (
                Decoder::Oid,
                u32::MAX.to_be_bytes().to_vec(),
                "Int(4294967295)",
            ),
            (
                Decoder::TimeTz,
                [
                    0_i64.to_be_bytes().as_slice(),
                    (-3600_i32).to_be_bytes().as_slice(),
                ]
                .concat(),
                "Time(0, Some(3600))",
            ),
        ] {
            assert_eq!(decoded(&decoder, &bytes), format!("Ok({expected})"));
        }
    }

    fn every_decoder() -> Vec<Decoder> {
        let scalars: Vec<Decoder> = (0..4000).filter_map(Decoder::of_oid).collect();
        scalars
            .iter()
            .cloned()
            .chain(
                scalars
                    .iter()
                    .map(|inner| Decoder::Array(Box::new(inner.clone()))),
            )
            .collect()
    }

    proptest! {
        #[test]
        fn no_bytes_make_a_decoder_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let mut scratch = String::new();
            for decoder in every_decoder() {
                let _ = decoder.decode(Raw(Some(&bytes)), STYLE, &mut scratch);
            }
        }

        #[test]
        fn arrays_of_text_are_the_json_of_their_elements(
            elements in proptest::collection::vec(proptest::option::of(".{0,12}"), 1..8),
        ) {
            let raw: Vec<Option<&[u8]>> = elements.iter().map(|text| text.as_deref().map(str::as_bytes)).collect();
            let bytes = array(&[i32::try_from(raw.len()).unwrap()], &raw);
            let mut scratch = String::new();
            let decoder = Decoder::Array(Box::new(Decoder::Text));
            let Ok(Value::Json(text)) = decoder.decode(Raw(Some(&bytes)), STYLE, &mut scratch) else {
                panic!("no array");
            };
            prop_assert_eq!(serde_json::from_str::<Vec<Option<String>>>(text).unwrap(), elements);
        }

        #[test]
        fn integers_as_numeric_keep_their_digits(value in any::<i64>()) {
            let mut rest = value.unsigned_abs();
            let mut digits = Vec::new();
            while rest > 0 {
                digits.insert(0, u16::try_from(rest % 10_000).unwrap());
                rest /= 10_000;
            }
            let weight = i16::try_from(digits.len()).unwrap() - 1;
            let sign = if value < 0 { 0x4000 } else { 0 };
            let mut out = String::new();
            write_numeric(&numeric(weight.max(0), sign, 0, &digits), &mut out);
            prop_assert_eq!(out, value.to_string());
        }
    }
}
