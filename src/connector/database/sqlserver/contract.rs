//! What SQL Server's types become, from the code: there is no server for the suite to run on.

use tiberius::ColumnData;
use tiberius::numeric::Numeric;
use tiberius::time::{Date, DateTime, DateTime2, DateTimeOffset, SmallDateTime, Time};

use super::catalog::Shape;
use super::value::decode;
use crate::connector::database::catalog::Type;
use crate::connector::database::contract::shown_alone;
use crate::connector::database::value::{DateTimeStyle, Value};

/// Each type as the database spells it, its kind, and a value of it as JSON, beginning with what the driver gives.
///
/// # Panics
///
/// Panics if a sample cannot be read.
pub fn types() -> Vec<(String, Type, String)> {
    let date = Date::new(739_647);
    let moment = DateTime2::new(date, Time::new(360_005_000_000, 7));
    let number = |value, scale| ColumnData::Numeric(Some(Numeric::new_with_scale(value, scale)));
    let text = |text: &'static str| ColumnData::String(Some(text.into()));
    let samples: Vec<(&str, [i64; 3], ColumnData<'static>)> = vec![
        ("bit", [1, 1, 0], ColumnData::Bit(Some(true))),
        ("tinyint", [1, 3, 0], ColumnData::U8(Some(7))),
        ("smallint", [2, 5, 0], ColumnData::I16(Some(-7))),
        ("int", [4, 10, 0], ColumnData::I32(Some(7))),
        ("bigint", [8, 19, 0], ColumnData::I64(Some(i64::MAX))),
        ("decimal", [9, 12, 2], number(1_250, 2)),
        ("money", [8, 19, 4], number(125_000, 4)),
        ("smallmoney", [4, 10, 4], number(125_000, 4)),
        ("real", [4, 24, 0], ColumnData::F32(Some(0.1))),
        ("float", [8, 53, 0], ColumnData::F64(Some(0.1))),
        ("char", [4, 0, 0], text("ab  ")),
        ("varchar", [40, 0, 0], text("ab")),
        ("nchar", [8, 0, 0], text("ab  ")),
        ("nvarchar", [80, 0, 0], text("naïve")),
        ("nvarchar", [-1, 0, 0], text("naïve")),
        ("text", [16, 0, 0], text("ab")),
        ("ntext", [16, 0, 0], text("naïve")),
        ("xml", [-1, 0, 0], text("<a/>")),
        ("json", [-1, 0, 0], text("{\"a\":[1,null]}")),
        (
            "uniqueidentifier",
            [16, 0, 0],
            ColumnData::Guid(Some(uuid::Uuid::from_u128(
                0x6f1c_9d1e_6c1f_4f0e_8d8e_0f6f_2f9a_7a10,
            ))),
        ),
        (
            "binary",
            [2, 0, 0],
            ColumnData::Binary(Some(vec![0, 255].into())),
        ),
        (
            "varbinary",
            [-1, 0, 0],
            ColumnData::Binary(Some(vec![0, 255].into())),
        ),
        (
            "image",
            [16, 0, 0],
            ColumnData::Binary(Some(vec![0, 255].into())),
        ),
        (
            "timestamp",
            [8, 0, 0],
            ColumnData::Binary(Some(vec![0, 0, 0, 0, 0, 0, 7, 209].into())),
        ),
        ("date", [3, 10, 0], ColumnData::Date(Some(date))),
        (
            "time",
            [5, 16, 7],
            ColumnData::Time(Some(Time::new(360_005_000_000, 7))),
        ),
        (
            "smalldatetime",
            [4, 16, 0],
            ColumnData::SmallDateTime(Some(SmallDateTime::new(46_052, 600))),
        ),
        (
            "datetime",
            [8, 23, 3],
            ColumnData::DateTime(Some(DateTime::new(46_052, 36_000 * 300 + 1))),
        ),
        ("datetime2", [8, 27, 7], ColumnData::DateTime2(Some(moment))),
        (
            "datetimeoffset",
            [10, 34, 7],
            ColumnData::DateTimeOffset(Some(DateTimeOffset::new(moment, 60))),
        ),
        ("sql_variant", [8_016, 0, 0], text("ab")),
        ("hierarchyid", [892, 0, 0], text("/1/2/")),
        ("geography", [-1, 0, 0], text("POINT (-122.34 47.65)")),
        ("geometry", [-1, 0, 0], text("POINT (3 4)")),
    ];
    samples
        .into_iter()
        .map(|(name, [bytes, digits, scale], data)| {
            let shape = Shape::of(name, bytes, digits, scale);
            let mut scratch = String::new();
            let is_json = shape.kind == Type::Json;
            let json = shown_alone(|take| {
                let mut give = |value: &Value<'_>| match value {
                    Value::Text(text) if is_json => take(&Value::Json(text)),
                    value => take(value),
                };
                let read = decode(&data, DateTimeStyle::Rfc3339, &mut scratch, &mut give);
                assert!(read.is_ok(), "{name}");
            });
            (shape.db_type, shape.kind, json)
        })
        .collect()
}
