//! [`Scalar`]s → PostgreSQL's parameters, by the type that the server wants. Pure.
//!
//! Numbers, truth values, bytes and UUIDs go in binary; everything else goes as text, which the server parses with
//! the input function of the type. So a type that nobody here has heard of still works.

use std::fmt::{self, Write as _};

use bytes::{BufMut as _, BytesMut};
use tokio_postgres::types::{Format, IsNull, Kind, ToSql, Type, to_sql_checked};

use crate::connector::database::value::Scalar;

/// A scalar on its way to the server.
#[derive(Clone, Copy, Debug)]
pub(super) struct Parameter<'a>(pub(super) &'a Scalar);

/// A scalar that its type cannot hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unencodable {
    /// A number beyond the type's range.
    OutOfRange,
    /// An array of more than six dimensions.
    TooDeep,
}

impl fmt::Display for Unencodable {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::OutOfRange => "the number is out of range",
            Self::TooDeep => "the array has more than six dimensions",
        })
    }
}

impl std::error::Error for Unencodable {}

/// How one scalar goes to one type.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Wire<'a> {
    Bool(bool),
    Int2(i64),
    Int4(i64),
    Int8(i64),
    Oid(i64),
    Float4(f64),
    Float8(f64),
    Money(&'a Scalar),
    Bytes(&'a [u8]),
    Text(&'a Scalar),
}

impl<'a> Wire<'a> {
    fn new(scalar: &'a Scalar, native: &Type) -> Self {
        let mut native = native;
        while let Kind::Domain(base) = native.kind() {
            native = base;
        }
        match (native, scalar) {
            (&Type::BOOL, Scalar::Bool(value)) => Self::Bool(*value),
            (&Type::INT2, Scalar::Int(value)) => Self::Int2(*value),
            (&Type::INT4, Scalar::Int(value)) => Self::Int4(*value),
            (&Type::INT8, Scalar::Int(value)) => Self::Int8(*value),
            (&Type::OID, Scalar::Int(value)) => Self::Oid(*value),
            (&Type::FLOAT4, Scalar::Float(value)) => Self::Float4(*value),
            (&Type::FLOAT8, Scalar::Float(value)) => Self::Float8(*value),
            (&Type::MONEY, Scalar::Int(_) | Scalar::Decimal(_)) => Self::Money(scalar),
            (&Type::BYTEA, Scalar::Bytes(bytes)) => Self::Bytes(bytes),
            (&Type::UUID, Scalar::Uuid(bytes)) => Self::Bytes(bytes),
            _ => Self::Text(scalar),
        }
    }
}

impl ToSql for Parameter<'_> {
    fn to_sql(
        &self,
        native: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        if matches!(self.0, Scalar::Null) {
            return Ok(IsNull::Yes);
        }
        match Wire::new(self.0, native) {
            Wire::Bool(value) => out.put_u8(u8::from(value)),
            Wire::Int2(value) => out.put_i16(in_range(value)?),
            Wire::Int4(value) => out.put_i32(in_range(value)?),
            Wire::Int8(value) => out.put_i64(value),
            Wire::Oid(value) => out.put_u32(in_range(value)?),
            Wire::Float4(value) => out.put_f32(single(value)?),
            Wire::Float8(value) => out.put_f64(value),
            Wire::Money(value) => out.put_i64(money(value)?),
            Wire::Bytes(bytes) => out.put_slice(bytes),
            Wire::Text(scalar) => write_text(scalar, 0, out)?,
        }
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    fn encode_format(&self, native: &Type) -> Format {
        match Wire::new(self.0, native) {
            Wire::Text(_) => Format::Text,
            _ => Format::Binary,
        }
    }

    to_sql_checked!();
}

fn in_range<T: TryFrom<i64>>(value: i64) -> Result<T, Unencodable> {
    T::try_from(value).ok().ok_or(Unencodable::OutOfRange)
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "rounding to single precision is what the column does; what overflows is refused"
)]
fn single(value: f64) -> Result<f32, Unencodable> {
    let rounded = value as f32;
    if rounded.is_infinite() && value.is_finite() {
        return Err(Unencodable::OutOfRange);
    }
    Ok(rounded)
}

/// Hundredths; more than two digits after the point are rounded half away from zero, as `money` itself does.
fn money(value: &Scalar) -> Result<i64, Unencodable> {
    let digits = match value {
        Scalar::Int(value) => {
            return value.checked_mul(100).ok_or(Unencodable::OutOfRange);
        }
        Scalar::Decimal(digits) => digits,
        _ => return Err(Unencodable::OutOfRange),
    };
    let (is_negative, digits) = match digits.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, digits.strip_prefix('+').unwrap_or(digits)),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let mut places = fraction.bytes().chain(std::iter::repeat(b'0'));
    let mut amount: i64 = 0;
    for digit in whole.bytes().chain(places.by_ref().take(2)) {
        amount = digit
            .checked_sub(b'0')
            .filter(|digit| *digit < 10)
            .and_then(|digit| amount.checked_mul(10)?.checked_sub(i64::from(digit)))
            .ok_or(Unencodable::OutOfRange)?;
    }
    if places.next().is_some_and(|digit| digit >= b'5') {
        amount = amount.checked_sub(1).ok_or(Unencodable::OutOfRange)?;
    }
    // Counted downwards, because the smallest amount has no positive counterpart.
    if is_negative {
        Ok(amount)
    } else {
        amount.checked_neg().ok_or(Unencodable::OutOfRange)
    }
}

/// Most dimensions an array can have (`MAXDIM` in PostgreSQL's `array.h`).
const MAX_DIMENSIONS: usize = 6;

/// The text that the type's input function reads. `depth` counts the arrays around the value.
fn write_text(scalar: &Scalar, depth: usize, out: &mut BytesMut) -> Result<(), Unencodable> {
    // Writing to a growing buffer cannot fail.
    let _ = match scalar {
        Scalar::Null => Ok(()),
        Scalar::Bool(value) => out.write_str(if *value { "true" } else { "false" }),
        Scalar::Int(value) => write!(out, "{value}"),
        Scalar::Float(value) => write!(out, "{value}"),
        Scalar::Decimal(text) | Scalar::Text(text) | Scalar::Json(text) => out.write_str(text),
        Scalar::Temporal(text) => write_temporal_text(text, out),
        Scalar::Bytes(bytes) => write_hex(bytes, out),
        Scalar::Uuid(bytes) => write!(out, "{}", uuid::Uuid::from_bytes(*bytes)),
        Scalar::Array(elements) => return write_array(elements, depth, out),
    };
    Ok(())
}

/// A record as a line of COPY's text format (manual, COPY, "Text Format").
pub(super) fn copy_line(values: &[Scalar], out: &mut BytesMut) -> Result<(), Unencodable> {
    for (index, value) in values.iter().enumerate() {
        if index > 0 {
            out.put_u8(b'\t');
        }
        match value {
            Scalar::Null => out.put_slice(b"\\N"),
            Scalar::Text(text) | Scalar::Json(text) => copy_text(text.as_bytes(), out),
            // Two backslashes stand for the one of the hexadecimal form.
            Scalar::Bytes(_) => {
                out.put_u8(b'\\');
                write_text(value, 0, out)?;
            }
            Scalar::Array(_) => {
                let mut text = BytesMut::new();
                write_text(value, 0, &mut text)?;
                copy_text(&text, out);
            }
            plain => write_text(plain, 0, out)?,
        }
    }
    out.put_u8(b'\n');
    Ok(())
}

fn copy_text(text: &[u8], out: &mut BytesMut) {
    let mut rest = text;
    while let Some(at) = rest
        .iter()
        .position(|byte| matches!(byte, b'\\' | b'\n' | b'\r' | b'\t'))
    {
        let (plain, tail) = rest.split_at_checked(at).unwrap_or((rest, &[]));
        out.put_slice(plain);
        out.put_u8(b'\\');
        out.put_u8(match tail.first() {
            Some(b'\n') => b'n',
            Some(b'\r') => b'r',
            Some(b'\t') => b't',
            _ => b'\\',
        });
        rest = tail.get(1..).unwrap_or_default();
    }
    out.put_slice(rest);
}

fn write_hex(bytes: &[u8], out: &mut BytesMut) -> fmt::Result {
    out.write_str("\\x")?;
    bytes.iter().try_for_each(|byte| write!(out, "{byte:02x}"))
}

/// ISO 8601 counts years astronomically and signs those beyond four digits (section 4.3.2); PostgreSQL wants neither
/// the plus nor a year before 1 without `BC` (manual, "Date/Time Input").
fn write_temporal_text(text: &str, out: &mut BytesMut) -> fmt::Result {
    let (sign, unsigned) = match text.as_bytes().first() {
        Some(b'+') => (1, text.get(1..).unwrap_or_default()),
        Some(b'-') => (-1, text.get(1..).unwrap_or_default()),
        _ => (1, text),
    };
    let Some((year, rest)) = unsigned.split_once('-') else {
        // A time has a hyphen only in its offset, and no sign in front.
        return out.write_str(text);
    };
    match year.parse::<i64>() {
        Ok(year) if sign < 0 || year == 0 => write!(out, "{:04}-{rest} BC", year.saturating_add(1)),
        Ok(_) => write!(out, "{year}-{rest}"),
        Err(_) => out.write_str(text),
    }
}

/// An array literal (manual, "Array Input and Output Syntax"). Every element is quoted, so none can be mistaken.
fn write_array(elements: &[Scalar], depth: usize, out: &mut BytesMut) -> Result<(), Unencodable> {
    if depth >= MAX_DIMENSIONS {
        return Err(Unencodable::TooDeep);
    }
    out.put_u8(b'{');
    let mut element_text = BytesMut::new();
    for (index, element) in elements.iter().enumerate() {
        if index > 0 {
            out.put_u8(b',');
        }
        match element {
            Scalar::Null => out.put_slice(b"NULL"),
            Scalar::Array(inner) => write_array(inner, depth + 1, out)?,
            element => {
                element_text.clear();
                write_text(element, depth + 1, &mut element_text)?;
                out.put_u8(b'"');
                for byte in &element_text {
                    if matches!(byte, b'"' | b'\\') {
                        out.put_u8(b'\\');
                    }
                    out.put_u8(*byte);
                }
                out.put_u8(b'"');
            }
        }
    }
    out.put_u8(b'}');
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connector::database::postgresql::decode::{Decoder, Raw, Style};
    use crate::connector::database::value::{DateTimeStyle, NumberStyle, Value};
    use proptest::prelude::*;

    fn encoded(scalar: &Scalar, native: &Type) -> Result<(bool, BytesMut), Unencodable> {
        let mut out = BytesMut::new();
        let parameter = Parameter(scalar);
        match parameter.to_sql_checked(native, &mut out) {
            Ok(_) => Ok((
                matches!(parameter.encode_format(native), Format::Binary),
                out,
            )),
            Err(error) => Err(*error.downcast_ref::<Unencodable>().unwrap()),
        }
    }

    #[test]
    fn a_line_of_copy_has_nothing_in_it_that_ends_a_value() {
        let mut out = BytesMut::new();
        let values = [
            Scalar::Null,
            Scalar::Text("a\tb\nc\rd\\e".into()),
            Scalar::Text("\\N".into()),
            Scalar::Text("\\.".into()),
            Scalar::Bytes(vec![0, 255]),
            Scalar::Array(vec![Scalar::Text("a\"b\\".into()), Scalar::Null]),
            Scalar::Int(-1),
            Scalar::Temporal("-0001-01-01".into()),
        ];
        copy_line(&values, &mut out).unwrap();
        assert_eq!(
            std::str::from_utf8(&out).unwrap(),
            "\\N\ta\\tb\\nc\\rd\\\\e\t\\\\N\t\\\\.\t\\\\x00ff\t{\"a\\\\\"b\\\\\\\\\",NULL}\t-1\t0002-01-01 BC\n"
        );
    }

    #[test]
    fn what_is_beyond_a_type_is_refused() {
        for (scalar, native) in [
            (Scalar::Int(32_768), Type::INT2),
            (Scalar::Int(-2_147_483_649), Type::INT4),
            (Scalar::Int(-1), Type::OID),
            (Scalar::Float(1e39), Type::FLOAT4),
            (Scalar::Int(i64::MAX), Type::MONEY),
            (Scalar::Decimal("92233720368547758.08".into()), Type::MONEY),
            (Scalar::Decimal("NaN".into()), Type::MONEY),
        ] {
            assert_eq!(
                encoded(&scalar, &native),
                Err(Unencodable::OutOfRange),
                "{scalar:?}"
            );
        }
        let mut deep = Scalar::Int(1);
        for _ in 0..7 {
            deep = Scalar::Array(vec![deep]);
        }
        assert_eq!(encoded(&deep, &Type::INT4_ARRAY), Err(Unencodable::TooDeep));
    }

    #[test]
    fn what_is_not_binary_is_the_text_that_the_server_parses() {
        for (scalar, native, expected) in [
            (Scalar::Int(12), Type::NUMERIC, "12"),
            (Scalar::Decimal("-0.10".into()), Type::NUMERIC, "-0.10"),
            (Scalar::Float(2.5), Type::NUMERIC, "2.5"),
            (Scalar::Decimal("1.5".into()), Type::FLOAT8, "1.5"),
            (Scalar::Int(3), Type::TEXT, "3"),
            (Scalar::Text("P1D".into()), Type::INTERVAL, "P1D"),
            (
                Scalar::Temporal("2026-02-01T10:00:00Z".into()),
                Type::TIMESTAMPTZ,
                "2026-02-01T10:00:00Z",
            ),
            (
                Scalar::Temporal("+10000-01-01".into()),
                Type::DATE,
                "10000-01-01",
            ),
            (
                Scalar::Temporal("-0043-03-15".into()),
                Type::DATE,
                "0044-03-15 BC",
            ),
            (
                Scalar::Temporal("0000-03-15".into()),
                Type::DATE,
                "0001-03-15 BC",
            ),
            (
                Scalar::Temporal("10:00:00-05:30".into()),
                Type::TIMETZ,
                "10:00:00-05:30",
            ),
            (
                Scalar::Temporal("2026-02-01T10:00:00-05:30".into()),
                Type::TIMESTAMPTZ,
                "2026-02-01T10:00:00-05:30",
            ),
            (
                Scalar::Array(vec![
                    Scalar::Text("a\"\\,{}".into()),
                    Scalar::Null,
                    Scalar::Text("NULL".into()),
                ]),
                Type::TEXT_ARRAY,
                r#"{"a\"\\,{}",NULL,"NULL"}"#,
            ),
            (
                Scalar::Array(vec![
                    Scalar::Array(vec![Scalar::Int(1), Scalar::Int(2)]),
                    Scalar::Array(vec![Scalar::Int(3), Scalar::Int(4)]),
                ]),
                Type::INT4_ARRAY,
                r#"{{"1","2"},{"3","4"}}"#,
            ),
            (
                Scalar::Array(vec![Scalar::Bytes(vec![0, 255])]),
                Type::BYTEA_ARRAY,
                r#"{"\\x00ff"}"#,
            ),
            (Scalar::Array(Vec::new()), Type::INT4_ARRAY, "{}"),
        ] {
            let (is_binary, bytes) = encoded(&scalar, &native).unwrap();
            assert!(!is_binary, "{scalar:?}");
            assert_eq!(std::str::from_utf8(&bytes), Ok(expected));
        }
    }

    fn round_trip(scalar: &Scalar, native: &Type) -> Scalar {
        let (is_binary, bytes) = encoded(scalar, native).unwrap();
        assert!(is_binary);
        let style = Style {
            numbers: NumberStyle::Number,
            datetimes: DateTimeStyle::Rfc3339,
        };
        let mut scratch = String::new();
        let value: Value<'_> = Decoder::of(native)
            .unwrap()
            .decode(Raw(Some(&bytes)), style, &mut scratch)
            .unwrap();
        Scalar::from_value(&value)
    }

    proptest! {
        #[test]
        fn what_goes_in_binary_comes_back(
            number in any::<i64>(),
            float in any::<f64>().prop_filter("NaN is never equal", |value| !value.is_nan()),
            bytes in proptest::collection::vec(any::<u8>(), 0..32),
            uuid in any::<[u8; 16]>(),
            cents in any::<i64>(),
        ) {
            for (scalar, native) in [
                (Scalar::Bool(number % 2 == 0), Type::BOOL),
                (Scalar::Int(number >> 48), Type::INT2),
                (Scalar::Int(number >> 32), Type::INT4),
                (Scalar::Int(number), Type::INT8),
                (Scalar::Float(float), Type::FLOAT8),
                (Scalar::Bytes(bytes.clone()), Type::BYTEA),
                (Scalar::Uuid(uuid), Type::UUID),
                (
                    Scalar::Decimal(format!(
                        "{}{}.{:02}",
                        if cents < 0 { "-" } else { "" },
                        cents.unsigned_abs() / 100,
                        cents.unsigned_abs() % 100
                    )),
                    Type::MONEY,
                ),
            ] {
                prop_assert_eq!(round_trip(&scalar, &native), scalar);
            }
        }
    }
}
