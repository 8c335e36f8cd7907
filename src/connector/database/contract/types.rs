//! Types: every kind of value goes in and comes out unchanged, or is refused.

use serde_json::{Value, json};

use super::driver::{Caller, Tester, with};
use super::{Words, cases, samples_table};
use crate::connector::database::options::DatabaseOptions;
use crate::connector::database::value::{DateTimeStyle, NumberStyle};

cases![
    whole_numbers_keep_all_their_digits,
    every_type_of_the_reference_round_trips,
    decimals_keep_all_their_digits if |words| words.has_exact_decimals => "its decimals are doubles",
    decimals_that_cannot_be_kept_are_refused if |words| !words.has_exact_decimals => "it keeps all digits",
    short_decimals_stay_exact,
    doubles_round_trip,
    truth_values_round_trip,
    texts_round_trip,
    a_nul_character_is_refused,
    dates_and_times_round_trip,
    dates_that_do_not_exist_are_refused,
    json_columns_hold_json,
    uuids_round_trip if |words| words.has_uuids => "it has no type for UUIDs",
    bytes_are_base64,
    arrays_are_arrays if |words| words.integer_array.is_some() => "it has no arrays",
    nulls_round_trip,
    values_of_the_wrong_type_are_refused,
    numbers_can_be_texts_for_clients_that_lose_digits,
    timestamps_can_have_the_older_spelling,
];

fn kinds(words: &Words) -> Vec<String> {
    let array = words
        .integer_array
        .map_or(String::new(), |array| format!(", many {array}"));
    vec![format!(
        "CREATE TABLE kind (id {}, small {}, big {}, exact {}, amount {}, real_number {}, flag {}, note {}, \
         doc {}, token {}, bytes {}, day {}, moment {}, stamp {}, zoned {}{array})",
        words.auto_key,
        words.integer,
        words.big_integer,
        words.decimal,
        words.money,
        words.double,
        words.boolean,
        words.text,
        words.json,
        words.uuid,
        words.binary,
        words.date,
        words.time,
        words.date_time,
        words.timestamp,
    )]
}

/// Writes one column and gives the text of the answer when it is read.
async fn round_trip(caller: &Caller, column: &str, json: &str) -> String {
    let created = caller
        .request("POST", &format!("_table/kind?fields={column}"))
        .text(
            "application/json",
            &format!("{{\"resource\":[{{\"{column}\":{json}}}]}}"),
        )
        .send()
        .await;
    let created = created.ok_text().to_owned();
    let last = caller
        .get(&format!(
            "_table/kind?order=id%20desc&limit=1&fields={column}"
        ))
        .await;
    let read = last.ok_text();
    let value = |text: &str| -> String {
        let start = text.find("[{").unwrap();
        let end = text.rfind("}]").unwrap();
        text[start + 2..end]
            .strip_prefix(&format!("\"{column}\":"))
            .unwrap_or_else(|| panic!("{text}"))
            .to_owned()
    };
    assert_eq!(value(&created), value(read), "{column} {json}");
    value(read)
}

async fn check(tester: &Tester, column: &str, table: &[(&str, &str)]) {
    let caller = tester.open(&kinds(&tester.words())).await;
    for (sent, expected) in table {
        assert_eq!(
            round_trip(&caller, column, sent).await,
            *expected,
            "{column} {sent}"
        );
    }
}

async fn refused(tester: &Tester, column: &str, table: &[&str]) {
    let caller = tester.open(&kinds(&tester.words())).await;
    for sent in table {
        let answer = caller
            .request("POST", "_table/kind")
            .text(
                "application/json",
                &format!("{{\"resource\":[{{\"{column}\":{sent}}}]}}"),
            )
            .send()
            .await;
        assert_eq!(answer.status, 400, "{column} {sent}: {}", answer.text());
        let error = &answer.json()["error"]["context"]["resource"][0];
        assert_eq!(error["type"], "invalid_value", "{column} {sent}: {error}");
    }
    assert_eq!(caller.count("kind").await, 0);
}

async fn whole_numbers_keep_all_their_digits(tester: Tester) {
    check(
        &tester,
        "big",
        &[
            ("9223372036854775807", "9223372036854775807"),
            ("-9223372036854775808", "-9223372036854775808"),
            ("9007199254740993", "9007199254740993"),
            ("0", "0"),
            ("\"12\"", "12"),
        ],
    )
    .await;
    check(
        &tester,
        "small",
        &[("2147483647", "2147483647"), ("-5", "-5")],
    )
    .await;
    refused(
        &tester,
        "big",
        &[
            "9223372036854775808",
            "-9223372036854775809",
            "1.5",
            "1e400",
        ],
    )
    .await;
}

async fn every_type_of_the_reference_round_trips(tester: Tester) {
    let samples = tester.product().samples();
    let caller = tester.open(&samples_table(tester.product())).await;
    for (index, sample) in samples.iter().enumerate() {
        for (sent, expected) in sample.values {
            assert_eq!(
                round_trip(&caller, &format!("c{index}"), sent).await,
                *expected,
                "{} {sent}",
                sample.declaration
            );
        }
    }
}

async fn decimals_keep_all_their_digits(tester: Tester) {
    check(
        &tester,
        "exact",
        &[
            (
                "12345678901234567890.123456789",
                "12345678901234567890.123456789",
            ),
            (
                "-99999999999999999999.999999999",
                "-99999999999999999999.999999999",
            ),
            (
                "\"12345678901234567890.123456789\"",
                "12345678901234567890.123456789",
            ),
        ],
    )
    .await;
}

async fn decimals_that_cannot_be_kept_are_refused(tester: Tester) {
    refused(&tester, "exact", &["12345678901234567890.123456789"]).await;
}

async fn short_decimals_stay_exact(tester: Tester) {
    let caller = tester.open(&kinds(&tester.words())).await;
    for (sent, expected) in [
        ("0.1", 0.1),
        ("-12.5", -12.5),
        ("99999999.99", 99_999_999.99),
    ] {
        let text = round_trip(&caller, "amount", sent).await;
        let number: f64 = text.parse().unwrap();
        assert!((number - expected).abs() < 1e-9, "{text}");
        assert!(!text.contains('e'), "{text}");
        assert!(text.len() <= expected.to_string().len() + 1, "{text}");
    }
}

async fn doubles_round_trip(tester: Tester) {
    let caller = tester.open(&kinds(&tester.words())).await;
    for number in [
        0.1_f64,
        -1.5,
        1e300,
        5e-324,
        1.797_693_134_862_315_7e308,
        0.0,
    ] {
        let text = round_trip(&caller, "real_number", &format!("{number:?}")).await;
        let read: f64 = text.parse().unwrap();
        assert_eq!(read.to_bits(), number.to_bits(), "{text}");
    }
}

async fn truth_values_round_trip(tester: Tester) {
    check(
        &tester,
        "flag",
        &[
            ("true", "true"),
            ("false", "false"),
            ("1", "true"),
            ("0", "false"),
            ("\"yes\"", "true"),
            ("\"off\"", "false"),
        ],
    )
    .await;
    refused(&tester, "flag", &["\"perhaps\"", "2"]).await;
}

async fn texts_round_trip(tester: Tester) {
    let caller = tester.open(&kinds(&tester.words())).await;
    for text in [
        "",
        " ",
        "O'Brien \"quoted\" \\ back",
        "日本語 Ünïcödé 🚀👩‍👩‍👧",
        "line\nbreak\ttab\u{1}\u{7f}",
        "'; DROP TABLE kind; --",
        "\u{202e}right-to-left",
        "null",
        "12",
    ] {
        let sent = json!(text).to_string();
        let read = round_trip(&caller, "note", &sent).await;
        assert_eq!(serde_json::from_str::<Value>(&read).unwrap(), json!(text));
        let found = caller
            .get(&with(
                "_table/kind",
                &[
                    ("filter", "note = :t"),
                    ("params", &json!({":t": text}).to_string()),
                    ("count_only", "true"),
                ],
            ))
            .await;
        assert_eq!(found.ok_text(), "1", "{text:?}");
    }
}

async fn a_nul_character_is_refused(tester: Tester) {
    let caller = tester.open(&kinds(&tester.words())).await;
    let answer = caller.get("_table/kind?filter=note%3D'a%00b'").await;
    assert_eq!(answer.status, 400, "{}", answer.text());
    let answer = caller
        .post("_table/kind", json!({"resource": [{"note": "a\u{0}b"}]}))
        .await;
    assert_eq!(answer.status, 400, "{}", answer.text());
    assert_eq!(caller.count("kind").await, 0);
    let answer = caller.get("_table/kind/%00").await;
    assert_eq!(answer.status, 400, "{}", answer.text());
}

async fn dates_and_times_round_trip(tester: Tester) {
    check(
        &tester,
        "day",
        &[
            ("\"2024-02-29\"", "\"2024-02-29\""),
            ("\"1970-01-01\"", "\"1970-01-01\""),
            ("\"0001-01-01\"", "\"0001-01-01\""),
            ("\"9999-12-31\"", "\"9999-12-31\""),
        ],
    )
    .await;
    check(
        &tester,
        "moment",
        &[
            ("\"00:00:00\"", "\"00:00:00\""),
            ("\"23:59:59\"", "\"23:59:59\""),
        ],
    )
    .await;
    check(
        &tester,
        "stamp",
        &[
            ("\"2024-02-29T00:00:00\"", "\"2024-02-29T00:00:00\""),
            ("\"2024-02-29 00:00:00\"", "\"2024-02-29T00:00:00\""),
            ("\"1969-12-31T23:59:59\"", "\"1969-12-31T23:59:59\""),
            ("\"2024-02-29T10:11:12.5\"", "\"2024-02-29T10:11:12.5\""),
        ],
    )
    .await;
    check(
        &tester,
        "zoned",
        &[
            ("\"2024-02-29T00:00:00Z\"", "\"2024-02-29T00:00:00Z\""),
            ("\"2024-02-29T01:00:00+01:00\"", "\"2024-02-29T00:00:00Z\""),
        ],
    )
    .await;
}

async fn dates_that_do_not_exist_are_refused(tester: Tester) {
    refused(
        &tester,
        "day",
        &["\"2023-02-29\"", "\"2024-13-01\"", "\"soon\"", "5"],
    )
    .await;
    refused(&tester, "moment", &["\"25:00:00\"", "\"noon\""]).await;
    refused(&tester, "stamp", &["\"2024-02-30T00:00:00\"", "true"]).await;
}

async fn json_columns_hold_json(tester: Tester) {
    let caller = tester.open(&kinds(&tester.words())).await;
    for document in [
        json!({"a": [1, 2, {"b": null}], "c": "O'Brien \"q\" 🚀"}),
        json!([1, 2, 3]),
        json!([]),
        json!({}),
        json!(true),
        json!(12),
    ] {
        let text = round_trip(&caller, "doc", &document.to_string()).await;
        assert_eq!(
            serde_json::from_str::<Value>(&text).unwrap(),
            document,
            "{text}"
        );
    }
}

async fn uuids_round_trip(tester: Tester) {
    check(
        &tester,
        "token",
        &[(
            "\"6BA7B810-9DAD-11D1-80B4-00C04FD430C8\"",
            "\"6ba7b810-9dad-11d1-80b4-00c04fd430c8\"",
        )],
    )
    .await;
    refused(&tester, "token", &["\"not a uuid\"", "5"]).await;
    let caller = tester.open(&kinds(&tester.words())).await;
    round_trip(&caller, "token", "\"6ba7b810-9dad-11d1-80b4-00c04fd430c8\"").await;
    let found = caller
        .filtered("kind", "token = '6BA7B810-9DAD-11D1-80B4-00C04FD430C8'")
        .await;
    assert_eq!(found.column("id").len(), 1);
}

async fn bytes_are_base64(tester: Tester) {
    check(
        &tester,
        "bytes",
        &[
            ("\"AAEC/w==\"", "\"AAEC/w==\""),
            ("\"\"", "\"\""),
            ("\"JyI7LS0=\"", "\"JyI7LS0=\""),
        ],
    )
    .await;
    refused(
        &tester,
        "bytes",
        &["\"not base64!\"", "\"http://127.0.0.1/x\"", "7"],
    )
    .await;
}

async fn arrays_are_arrays(tester: Tester) {
    check(
        &tester,
        "many",
        &[
            ("[1,2,3]", "[1,2,3]"),
            ("[]", "[]"),
            ("[1,null]", "[1,null]"),
        ],
    )
    .await;
    refused(&tester, "many", &["[\"x\"]", "5"]).await;
}

async fn nulls_round_trip(tester: Tester) {
    let caller = tester.open(&kinds(&tester.words())).await;
    for column in [
        "small",
        "big",
        "exact",
        "amount",
        "real_number",
        "flag",
        "note",
        "doc",
        "token",
        "bytes",
        "day",
        "moment",
        "stamp",
        "zoned",
    ] {
        assert_eq!(
            round_trip(&caller, column, "null").await,
            "null",
            "{column}"
        );
    }
}

async fn values_of_the_wrong_type_are_refused(tester: Tester) {
    refused(
        &tester,
        "small",
        &["\"x\"", "[1]", "{}", "2147483648", "true"],
    )
    .await;
    refused(&tester, "note", &["[1]", "{\"a\":1}"]).await;
    refused(&tester, "real_number", &["\"x\"", "[]"]).await;
}

async fn numbers_can_be_texts_for_clients_that_lose_digits(tester: Tester) {
    let options = DatabaseOptions {
        numbers: NumberStyle::String,
        ..DatabaseOptions::default()
    };
    let caller = tester.open_with(&kinds(&tester.words()), options).await;
    assert_eq!(
        round_trip(&caller, "big", "9223372036854775807").await,
        "\"9223372036854775807\""
    );
    assert_eq!(round_trip(&caller, "small", "5").await, "5");
}

async fn timestamps_can_have_the_older_spelling(tester: Tester) {
    let options = DatabaseOptions {
        datetimes: DateTimeStyle::Sql,
        ..DatabaseOptions::default()
    };
    let caller = tester.open_with(&kinds(&tester.words()), options).await;
    assert_eq!(
        round_trip(&caller, "stamp", "\"2024-02-29T00:00:00\"").await,
        "\"2024-02-29 00:00:00\""
    );
}
