//! Values shown as another type than the database gave them: `schema` and `returns` of a call. Pure.

use super::catalog::Type;
use super::convert::text_as;
use super::value::{DateTimeStyle, MICROS_PER_DAY, Scalar, Value, write_temporal};

/// A type that a caller may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShownAs {
    /// A whole number; what stands after the point is cut off.
    Integer,
    /// A number with all its digits.
    Number,
    /// `true` or `false`.
    Boolean,
    /// Text.
    Text,
    /// A day.
    Date,
    /// A time of day.
    Time,
    /// A day and a time.
    DateTime,
    /// JSON.
    Json,
}

impl ShownAs {
    /// The names that callers write.
    pub const NAMES: [(&'static str, Self); 21] = [
        ("int", Self::Integer),
        ("integer", Self::Integer),
        ("smallint", Self::Integer),
        ("bigint", Self::Integer),
        ("decimal", Self::Number),
        ("double", Self::Number),
        ("float", Self::Number),
        ("money", Self::Number),
        ("numeric", Self::Number),
        ("bool", Self::Boolean),
        ("boolean", Self::Boolean),
        ("string", Self::Text),
        ("text", Self::Text),
        ("date", Self::Date),
        ("time", Self::Time),
        ("datetime", Self::DateTime),
        ("timestamp", Self::DateTime),
        ("json", Self::Json),
        ("jsonb", Self::Json),
        ("object", Self::Json),
        ("array", Self::Json),
    ];

    /// The type of a name; ASCII case does not count.
    pub fn parse(name: &str) -> Option<Self> {
        Self::NAMES
            .into_iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, shown)| shown)
    }

    /// The type in which values of a kind are shown anyway, for products whose variables forget it.
    pub fn of(kind: &Type) -> Option<Self> {
        match kind {
            Type::Boolean => Some(Self::Boolean),
            Type::SmallInt | Type::Integer | Type::BigInt => Some(Self::Integer),
            Type::Decimal | Type::Money | Type::Float | Type::Double => Some(Self::Number),
            Type::Date => Some(Self::Date),
            Type::Time => Some(Self::Time),
            Type::DateTime => Some(Self::DateTime),
            Type::Json | Type::Array(_) => Some(Self::Json),
            Type::String
            | Type::Text
            | Type::Uuid
            | Type::Binary
            | Type::TimeTz
            | Type::TimestampTz
            | Type::Other => None,
        }
    }

    /// The value in this type; `None` if it is so already, or cannot be: it is then shown as it is.
    pub fn convert(self, value: &Value<'_>, style: DateTimeStyle) -> Option<Scalar> {
        match (self, value) {
            (_, Value::Null)
            | (Self::Integer, Value::Int(_) | Value::UInt(_))
            | (
                Self::Number,
                Value::Int(_)
                | Value::UInt(_)
                | Value::Float(_)
                | Value::Float32(_)
                | Value::Decimal(_),
            )
            | (Self::Boolean, Value::Bool(_))
            | (Self::Text, Value::Text(_))
            | (Self::Date, Value::Date(_))
            | (Self::Time, Value::Time(..))
            | (Self::DateTime, Value::Timestamp(_) | Value::TimestampTz(_))
            | (Self::Json, Value::Json(_)) => None,
            (Self::Integer | Self::Number, Value::Bool(value)) => {
                Some(Scalar::Int(i64::from(*value)))
            }
            (Self::Integer, Value::Float(number)) => whole(&number.to_string()),
            (Self::Integer, Value::Float32(number)) => whole(&number.to_string()),
            (Self::Integer, Value::Decimal(text) | Value::Text(text)) => whole(text.trim()),
            (Self::Number, Value::Text(text)) => {
                text_as(&Type::Decimal, text).or_else(|| text_as(&Type::Double, text))
            }
            (Self::Boolean, Value::Int(number)) => Some(Scalar::Bool(*number != 0)),
            (Self::Boolean, Value::UInt(number)) => Some(Scalar::Bool(*number != 0)),
            (Self::Boolean, Value::Float(number)) => Some(Scalar::Bool(*number != 0.0)),
            (Self::Boolean, Value::Decimal(digits)) => Some(Scalar::Bool(
                digits.bytes().any(|byte| matches!(byte, b'1'..=b'9')),
            )),
            (Self::Boolean, Value::Text(text)) => text_as(&Type::Boolean, text),
            (Self::Boolean, Value::Bytes(bytes)) => {
                Some(Scalar::Bool(bytes.iter().any(|byte| *byte != 0)))
            }
            (Self::Text, value) => text_of(value, style).map(Scalar::Text),
            (Self::Date, Value::Timestamp(micros) | Value::TimestampTz(micros)) => {
                let days = i32::try_from(micros.div_euclid(MICROS_PER_DAY)).ok()?;
                Some(Scalar::from_value(&Value::Date(days)))
            }
            (Self::Time, Value::Timestamp(micros) | Value::TimestampTz(micros)) => Some(
                Scalar::from_value(&Value::Time(micros.rem_euclid(MICROS_PER_DAY), None)),
            ),
            (Self::DateTime, Value::Date(days)) => {
                let midnight = Value::Timestamp(i64::from(*days) * MICROS_PER_DAY);
                text_of(&midnight, style).map(Scalar::Temporal)
            }
            (Self::Date, Value::Text(text)) => {
                // The day of a timestamp, whatever its time.
                text_as(&Type::Date, text.trim().get(..10)?)
            }
            (Self::Time, Value::Text(text)) => text_as(&Type::Time, text),
            (Self::DateTime, Value::Text(text)) => {
                let Scalar::Temporal(text) = text_as(&Type::DateTime, text)? else {
                    return None;
                };
                Some(Scalar::Temporal(match style {
                    DateTimeStyle::Rfc3339 => text,
                    DateTimeStyle::Sql => text.replacen('T', " ", 1),
                }))
            }
            (Self::Json, Value::Text(text)) => {
                let is_json = serde_json::from_str::<&serde_json::value::RawValue>(text).is_ok();
                is_json.then(|| Scalar::Json((*text).to_owned()))
            }
            _ => None,
        }
    }
}

/// The digits before the point.
fn whole(text: &str) -> Option<Scalar> {
    let Scalar::Decimal(digits) = text_as(&Type::Decimal, text)? else {
        return None;
    };
    let whole = digits.split('.').next().unwrap_or_default();
    Some(match whole.parse() {
        Ok(number) => Scalar::Int(number),
        Err(_) => Scalar::Decimal(whole.to_owned()),
    })
}

/// A value as text; none for binary data, which is text already wherever it is shown.
fn text_of(value: &Value<'_>, style: DateTimeStyle) -> Option<String> {
    Some(match value {
        Value::Null | Value::Bytes(_) => return None,
        Value::Bool(value) => value.to_string(),
        Value::Int(value) => value.to_string(),
        Value::UInt(value) => value.to_string(),
        Value::Float(value) => value.to_string(),
        Value::Float32(value) => value.to_string(),
        Value::Decimal(text) | Value::Text(text) | Value::Json(text) => (*text).to_owned(),
        Value::Uuid(bytes) => uuid::Uuid::from_bytes(*bytes).to_string(),
        Value::Date(_) | Value::Time(..) | Value::Timestamp(_) | Value::TimestampTz(_) => {
            let mut text = String::new();
            write_temporal(&mut text, value, style);
            text
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_shown_as_what_is_asked_for() {
        let text = |text: &str| Some(Scalar::Text(text.to_owned()));
        let temporal = |text: &str| Some(Scalar::Temporal(text.to_owned()));
        for (name, value, expected) in [
            ("int", Value::Decimal("-12.70"), Some(Scalar::Int(-12))),
            ("Integer", Value::Text(" 7 "), Some(Scalar::Int(7))),
            ("int", Value::Bool(true), Some(Scalar::Int(1))),
            ("int", Value::Text("seven"), None),
            (
                "int",
                Value::Decimal("123456789012345678901.5"),
                Some(Scalar::Decimal("123456789012345678901".to_owned())),
            ),
            (
                "float",
                Value::Text("99.50"),
                Some(Scalar::Decimal("99.50".to_owned())),
            ),
            ("float", Value::Decimal("99.50"), None),
            ("bool", Value::Int(1), Some(Scalar::Bool(true))),
            ("bool", Value::Decimal("0.00"), Some(Scalar::Bool(false))),
            ("boolean", Value::Text("no"), Some(Scalar::Bool(false))),
            ("string", Value::Int(5), text("5")),
            ("string", Value::Date(0), text("1970-01-01")),
            (
                "date",
                Value::Timestamp(86_400_000_001),
                temporal("1970-01-02"),
            ),
            (
                "time",
                Value::Timestamp(86_401_000_000),
                temporal("00:00:01"),
            ),
            ("datetime", Value::Date(1), temporal("1970-01-02T00:00:00")),
            (
                "date",
                Value::Text("2026-02-01 10:00:00"),
                temporal("2026-02-01"),
            ),
            (
                "timestamp",
                Value::Text("2026-02-01 10:00:00"),
                temporal("2026-02-01T10:00:00"),
            ),
            (
                "json",
                Value::Text("{\"a\":1}"),
                Some(Scalar::Json("{\"a\":1}".to_owned())),
            ),
            ("json", Value::Text("{a}"), None),
            ("int", Value::Null, None),
        ] {
            let shown = ShownAs::parse(name).unwrap();
            assert_eq!(
                shown.convert(&value, DateTimeStyle::Rfc3339),
                expected,
                "{name} of {value:?}"
            );
        }
        assert_eq!(ShownAs::parse("TABLE"), None);
    }
}
