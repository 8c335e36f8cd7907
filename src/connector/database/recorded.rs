//! Rows kept for a moment, as the driver gave them: those that related records are still to be put into. Values lie
//! one behind the other in one buffer, so that a row costs little more than its bytes.

use super::value::Value;
use crate::error::{Error, Result};

/// Rows, value by value.
#[derive(Debug, Default)]
pub(super) struct Recorded {
    bytes: Vec<u8>,
    /// Where each row begins.
    rows: Vec<usize>,
    /// Most bytes; a row that begins below is still taken whole.
    most: usize,
    is_cut: bool,
}

impl Recorded {
    /// Room for about so many bytes.
    pub(super) fn new(most: usize) -> Self {
        Self {
            most,
            ..Self::default()
        }
    }

    /// Begins a row. False if there is no room left: the row must be skipped and no more rows are wanted.
    pub(super) fn begin_row(&mut self) -> bool {
        if self.bytes.len() >= self.most && !self.rows.is_empty() {
            self.is_cut = true;
            return false;
        }
        self.rows.push(self.bytes.len());
        true
    }

    /// The next value of the row.
    pub(super) fn push(&mut self, value: &Value<'_>) {
        match *value {
            Value::Null => self.bytes.push(tag::NULL),
            Value::Bool(false) => self.bytes.push(tag::FALSE),
            Value::Bool(true) => self.bytes.push(tag::TRUE),
            Value::Int(value) => self.fixed(tag::INT, &value.to_le_bytes()),
            Value::UInt(value) => self.fixed(tag::UINT, &value.to_le_bytes()),
            Value::Float(value) => self.fixed(tag::FLOAT, &value.to_le_bytes()),
            Value::Float32(value) => self.fixed(tag::FLOAT32, &value.to_le_bytes()),
            Value::Decimal(text) => self.long(tag::DECIMAL, text.as_bytes()),
            Value::Text(text) => self.long(tag::TEXT, text.as_bytes()),
            Value::Bytes(bytes) => self.long(tag::BYTES, bytes),
            Value::Json(text) => self.long(tag::JSON, text.as_bytes()),
            Value::Date(days) => self.fixed(tag::DATE, &days.to_le_bytes()),
            Value::Time(micros, None) => self.fixed(tag::TIME, &micros.to_le_bytes()),
            Value::Time(micros, Some(offset)) => {
                self.fixed(tag::TIME_WITH_OFFSET, &micros.to_le_bytes());
                self.bytes.extend_from_slice(&offset.to_le_bytes());
            }
            Value::Timestamp(micros) => self.fixed(tag::TIMESTAMP, &micros.to_le_bytes()),
            Value::TimestampTz(micros) => self.fixed(tag::TIMESTAMP_TZ, &micros.to_le_bytes()),
            Value::Uuid(bytes) => self.fixed(tag::UUID, &bytes),
        }
    }

    fn fixed(&mut self, tag: u8, bytes: &[u8]) {
        self.bytes.push(tag);
        self.bytes.extend_from_slice(bytes);
    }

    fn long(&mut self, tag: u8, bytes: &[u8]) {
        self.bytes.push(tag);
        self.bytes
            .extend_from_slice(&(bytes.len() as u64).to_le_bytes());
        self.bytes.extend_from_slice(bytes);
    }

    /// The number of rows.
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// The bytes that they take.
    pub(super) fn size(&self) -> usize {
        self.bytes.len()
    }

    /// Whether rows were left out for want of room.
    pub(super) fn is_cut(&self) -> bool {
        self.is_cut
    }

    /// Puts the values of a row in the place of what `values` held.
    pub(super) fn row<'a>(&'a self, row: usize, values: &mut Vec<Value<'a>>) -> Result<()> {
        values.clear();
        let start = self.rows.get(row).copied();
        let end = self.rows.get(row.saturating_add(1)).copied();
        let bytes = start.and_then(|start| self.bytes.get(start..end.unwrap_or(self.bytes.len())));
        let mut reader = Reader(bytes.ok_or_else(broken)?);
        while let [tag, rest @ ..] = reader.0 {
            reader.0 = rest;
            values.push(reader.value(*tag).ok_or_else(broken)?);
        }
        Ok(())
    }
}

/// What stands before each value.
mod tag {
    pub(super) const NULL: u8 = 0;
    pub(super) const FALSE: u8 = 1;
    pub(super) const TRUE: u8 = 2;
    pub(super) const INT: u8 = 3;
    pub(super) const UINT: u8 = 4;
    pub(super) const FLOAT: u8 = 5;
    pub(super) const FLOAT32: u8 = 6;
    pub(super) const DECIMAL: u8 = 7;
    pub(super) const TEXT: u8 = 8;
    pub(super) const BYTES: u8 = 9;
    pub(super) const JSON: u8 = 10;
    pub(super) const DATE: u8 = 11;
    pub(super) const TIME: u8 = 12;
    pub(super) const TIME_WITH_OFFSET: u8 = 13;
    pub(super) const TIMESTAMP: u8 = 14;
    pub(super) const TIMESTAMP_TZ: u8 = 15;
    pub(super) const UUID: u8 = 16;
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn value(&mut self, tag: u8) -> Option<Value<'a>> {
        Some(match tag {
            tag::NULL => Value::Null,
            tag::FALSE => Value::Bool(false),
            tag::TRUE => Value::Bool(true),
            tag::INT => Value::Int(i64::from_le_bytes(self.fixed()?)),
            tag::UINT => Value::UInt(u64::from_le_bytes(self.fixed()?)),
            tag::FLOAT => Value::Float(f64::from_le_bytes(self.fixed()?)),
            tag::FLOAT32 => Value::Float32(f32::from_le_bytes(self.fixed()?)),
            tag::DECIMAL => Value::Decimal(self.text()?),
            tag::TEXT => Value::Text(self.text()?),
            tag::BYTES => Value::Bytes(self.long()?),
            tag::JSON => Value::Json(self.text()?),
            tag::DATE => Value::Date(i32::from_le_bytes(self.fixed()?)),
            tag::TIME => Value::Time(i64::from_le_bytes(self.fixed()?), None),
            tag::TIME_WITH_OFFSET => Value::Time(
                i64::from_le_bytes(self.fixed()?),
                Some(i32::from_le_bytes(self.fixed()?)),
            ),
            tag::TIMESTAMP => Value::Timestamp(i64::from_le_bytes(self.fixed()?)),
            tag::TIMESTAMP_TZ => Value::TimestampTz(i64::from_le_bytes(self.fixed()?)),
            tag::UUID => Value::Uuid(self.fixed()?),
            _ => return None,
        })
    }

    fn fixed<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (bytes, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*bytes)
    }

    fn long(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(u64::from_le_bytes(self.fixed()?)).ok()?;
        let (bytes, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(bytes)
    }

    fn text(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.long()?).ok()
    }
}

fn broken() -> Error {
    Error::internal("a recorded row cannot be read")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_value_comes_back_as_it_was() {
        let row = [
            Value::Null,
            Value::Bool(true),
            Value::Bool(false),
            Value::Int(i64::MIN),
            Value::UInt(u64::MAX),
            Value::Float(-0.1),
            Value::Float32(0.1),
            Value::Decimal("-12.50"),
            Value::Text("ä\"\0"),
            Value::Bytes(b"\x00\xff"),
            Value::Json("[1, 2]"),
            Value::Date(-1),
            Value::Time(1, None),
            Value::Time(2, Some(-3_600)),
            Value::Timestamp(-4),
            Value::TimestampTz(5),
            Value::Uuid([6; 16]),
            Value::Text(""),
        ];
        let mut recorded = Recorded::new(usize::MAX);
        for _ in 0..2 {
            assert!(recorded.begin_row());
            for value in &row {
                recorded.push(value);
            }
        }
        assert!(recorded.begin_row());
        let mut values = Vec::new();
        recorded.row(1, &mut values).unwrap();
        assert_eq!(values, row);
        recorded.row(2, &mut values).unwrap();
        assert!(values.is_empty());
        assert!(recorded.row(3, &mut values).is_err());
    }

    #[test]
    fn rows_beyond_the_room_are_left_out_but_never_the_first() {
        let mut recorded = Recorded::new(3);
        assert!(recorded.begin_row());
        recorded.push(&Value::Text("a long text"));
        assert!(!recorded.begin_row());
        assert_eq!((recorded.len(), recorded.is_cut()), (1, true));
    }
}
