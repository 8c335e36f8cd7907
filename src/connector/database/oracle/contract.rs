//! What Oracle's types become, from the code: there is no server for the suite to run on.

use super::catalog::Shape;
use super::driver::{Cell, Moment};
use super::value::decode;
use crate::connector::database::catalog::Type;
use crate::connector::database::contract::shown_alone;
use crate::connector::database::value::DateTimeStyle;

/// Each type as the database spells it, its kind, and a value of it as JSON, beginning with what the driver gives.
///
/// # Panics
///
/// Panics if a sample cannot be read.
pub fn types() -> Vec<(String, Type, String)> {
    let text = |text: &str| Cell::Text(text.to_owned());
    let number = |digits: &str, scale| Cell::Number(digits.to_owned(), scale);
    let moment = |is_utc| {
        Cell::Moment(Moment {
            year: 2026,
            month: 2,
            day: 1,
            second: 36_000,
            nanosecond: 0,
            is_utc,
        })
    };
    let none = [None; 4];
    let digits = |precision, scale| [Some(22), None, precision, scale];
    let characters = |count| [Some(count * 4), Some(count), None, None];
    let samples: Vec<(&str, [Option<i64>; 4], Cell)> = vec![
        ("NUMBER", digits(Some(1), Some(0)), number("1", Some(0))),
        ("NUMBER", digits(Some(4), Some(0)), number("7", Some(0))),
        ("NUMBER", digits(Some(9), Some(0)), number("7", Some(0))),
        ("NUMBER", digits(Some(18), Some(0)), number("7", Some(0))),
        ("NUMBER", digits(Some(38), Some(0)), number("7", Some(0))),
        ("NUMBER", digits(Some(12), Some(2)), number("12.5", Some(2))),
        ("NUMBER", digits(None, Some(0)), number("7", Some(0))),
        ("NUMBER", digits(None, None), number("12.5", None)),
        ("FLOAT", digits(Some(126), None), number("12.5", None)),
        ("BINARY_FLOAT", none, Cell::Single(0.1)),
        ("BINARY_DOUBLE", none, Cell::Double(0.1)),
        ("BOOLEAN", none, Cell::Truth(true)),
        ("CHAR", characters(4), text("ab  ")),
        ("VARCHAR2", characters(40), text("naïve")),
        ("NVARCHAR2", characters(40), text("naïve")),
        ("CLOB", none, text("naïve")),
        ("NCLOB", none, text("naïve")),
        ("LONG", none, text("naïve")),
        (
            "RAW",
            [Some(2), None, None, None],
            Cell::Bytes(vec![0, 255]),
        ),
        ("BLOB", none, Cell::Bytes(vec![0, 255])),
        ("LONG RAW", none, Cell::Bytes(vec![0, 255])),
        ("JSON", none, text("{\"a\":[1,null]}")),
        ("XMLTYPE", none, text("<a/>")),
        ("DATE", none, moment(false)),
        ("TIMESTAMP(6)", [None, None, None, Some(6)], moment(false)),
        (
            "TIMESTAMP(6) WITH TIME ZONE",
            [None, None, None, Some(6)],
            moment(true),
        ),
        (
            "TIMESTAMP(6) WITH LOCAL TIME ZONE",
            [None, None, None, Some(6)],
            moment(true),
        ),
        (
            "INTERVAL DAY(2) TO SECOND(6)",
            none,
            Cell::DaysToSeconds(4, 5, 0, 7, 500_000_000),
        ),
        (
            "INTERVAL YEAR(2) TO MONTH",
            none,
            Cell::YearsToMonths(-2, -3),
        ),
        ("ROWID", none, text("AAAR3sAAEAAAACXAAA")),
        ("SDO_GEOMETRY", none, text("POINT (3.0 4.0)")),
        ("VECTOR", none, text("[1.0,2.0]")),
    ];
    samples
        .into_iter()
        .filter_map(|(name, sizes, cell)| {
            let shape = Shape::of(name, false, sizes, false)?;
            let mut scratch = String::new();
            let json = shown_alone(|take| {
                let style = DateTimeStyle::Rfc3339;
                let read = decode(&cell, Some(&shape.kind), style, &mut scratch, take);
                assert!(read.is_ok(), "{name}");
            });
            Some((shape.db_type, shape.kind, json))
        })
        .collect()
}
