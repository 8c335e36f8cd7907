//! Pages: by offset and by cursor, whatever the order column holds.

use serde_json::{Value, json};

use super::driver::{Caller, Tester, with};
use super::{Words, cases};
use crate::connector::database::options::DatabaseOptions;

cases![
    pages_by_offset_cover_the_table,
    the_last_page_has_no_next,
    a_limit_above_the_maximum_is_clipped,
    pages_by_cursor_lose_no_record_and_show_none_twice,
    pages_by_cursor_keep_their_filter,
    a_cursor_of_another_order_or_filter_is_refused,
    a_cursor_that_was_tampered_with_is_refused,
    pages_by_cursor_survive_writes_between_them,
    lists_of_identifiers_have_pages,
    ids_in_a_list_are_bounded,
];

const RECORDS: usize = 47;

/// Records with NULLs and equal values in the column `rank`.
fn walk(words: &Words) -> Vec<String> {
    let rows: Vec<String> = (1..=RECORDS)
        .map(|number| {
            let rank = match number % 5 {
                0 | 1 => "NULL".to_owned(),
                rest => (rest * 10).to_string(),
            };
            format!("({rank}, 'name {:02}', {number}.25)", number % 7)
        })
        .collect();
    // MySQL reserves the word.
    let rank = (words.quote)("rank");
    vec![
        format!(
            "CREATE TABLE walk (id {}, {rank} {}, name {}, amount {})",
            words.auto_key, words.integer, words.text, words.money
        ),
        format!(
            "INSERT INTO walk ({rank}, name, amount) VALUES {}",
            rows.join(", ")
        ),
    ]
}

async fn pages(caller: &Caller, order: &str, filter: Option<&str>, limit: usize) -> Vec<i64> {
    let limit = limit.to_string();
    let mut cursor: Option<String> = None;
    let mut seen = Vec::new();
    for _ in 0..=RECORDS {
        let mut options = vec![
            ("order", order),
            ("limit", limit.as_str()),
            ("fields", "id"),
        ];
        if let Some(filter) = filter {
            options.push(("filter", filter));
        }
        if let Some(cursor) = &cursor {
            options.push(("cursor", cursor.as_str()));
        }
        let document = caller.get(&with("_table/walk", &options)).await.ok_json();
        for record in document["resource"].as_array().unwrap() {
            seen.push(record["id"].as_i64().unwrap());
            assert_eq!(
                record.as_object().unwrap().len(),
                1,
                "hidden columns stay hidden"
            );
        }
        match document["meta"]["next_cursor"].as_str() {
            Some(next) => cursor = Some(next.to_owned()),
            None => return seen,
        }
    }
    panic!("the pages of {order} never end");
}

async fn all(caller: &Caller, order: &str) -> Vec<i64> {
    caller
        .get(&with("_table/walk", &[("order", order), ("fields", "id")]))
        .await
        .column("id")
        .iter()
        .map(|id| id.as_i64().unwrap())
        .collect()
}

async fn pages_by_offset_cover_the_table(tester: Tester) {
    let caller = tester.open(&walk(&tester.words())).await;
    let mut seen: Vec<Value> = Vec::new();
    let mut offset = Some(0);
    while let Some(at) = offset {
        let document = caller
            .get(&format!(
                "_table/walk?order=id&limit=10&offset={at}&fields=id"
            ))
            .await
            .ok_json();
        seen.extend(
            document["resource"]
                .as_array()
                .unwrap()
                .iter()
                .map(|record| record["id"].clone()),
        );
        offset = document["meta"]["next"].as_u64();
    }
    let expected: Vec<Value> = (1..=RECORDS).map(|id| json!(id)).collect();
    assert_eq!(seen, expected);
}

async fn the_last_page_has_no_next(tester: Tester) {
    let caller = tester.open(&walk(&tester.words())).await;
    let exact = caller
        .get(&format!("_table/walk?order=id&limit={RECORDS}"))
        .await
        .ok_json();
    assert_eq!(exact.get("meta"), None, "a full last page is the last");
    let beyond = caller
        .get("_table/walk?order=id&limit=10&offset=1000")
        .await;
    beyond.is(&json!({"resource": []}));
}

async fn a_limit_above_the_maximum_is_clipped(tester: Tester) {
    let options = DatabaseOptions {
        max_records: 10,
        ..DatabaseOptions::default()
    };
    let caller = tester.open_with(&walk(&tester.words()), options).await;
    for target in [
        "_table/walk?order=id",
        "_table/walk?order=id&limit=0",
        "_table/walk?order=id&limit=1000",
    ] {
        let document = caller.get(target).await.ok_json();
        assert_eq!(
            document["resource"].as_array().unwrap().len(),
            10,
            "{target}"
        );
        assert_eq!(document["meta"]["next"], 10, "{target}");
    }
}

async fn pages_by_cursor_lose_no_record_and_show_none_twice(tester: Tester) {
    let caller = tester.open(&walk(&tester.words())).await;
    for order in [
        "id",
        "id desc",
        "rank",
        "rank desc",
        "rank asc nulls first",
        "rank asc nulls last",
        "rank desc nulls first",
        "rank desc nulls last",
        "name, rank desc",
        "name desc, rank nulls first, amount",
        "amount desc",
    ] {
        let by_cursor = pages(&caller, order, None, 4).await;
        let mut sorted = by_cursor.clone();
        sorted.sort_unstable();
        let expected: Vec<i64> = (1..=i64::try_from(RECORDS).unwrap()).collect();
        assert_eq!(sorted, expected, "{order}");
        assert_eq!(
            by_cursor,
            all(&caller, &format!("{order}, id"))
                .await
                .into_iter()
                .collect::<Vec<_>>(),
            "{order}: pages follow the order"
        );
    }
}

async fn pages_by_cursor_keep_their_filter(tester: Tester) {
    let caller = tester.open(&walk(&tester.words())).await;
    let filter = "rank IS NOT NULL AND id > 10";
    let by_cursor = pages(&caller, "rank desc", Some(filter), 3).await;
    let at_once: Vec<i64> = caller
        .get(&with(
            "_table/walk",
            &[("order", "rank desc, id"), ("filter", filter)],
        ))
        .await
        .column("id")
        .iter()
        .map(|id| id.as_i64().unwrap())
        .collect();
    assert_eq!(by_cursor, at_once);
}

async fn cursor_of(caller: &Caller, options: &[(&str, &str)]) -> String {
    caller.get(&with("_table/walk", options)).await.ok_json()["meta"]["next_cursor"]
        .as_str()
        .unwrap()
        .to_owned()
}

async fn a_cursor_of_another_order_or_filter_is_refused(tester: Tester) {
    let caller = tester.open(&walk(&tester.words())).await;
    let cursor = cursor_of(&caller, &[("order", "rank"), ("limit", "3")]).await;
    for options in [
        vec![("order", "rank desc")],
        vec![("order", "name")],
        vec![("order", "rank"), ("filter", "id > 3")],
    ] {
        let mut options = options;
        options.push(("limit", "3"));
        options.push(("cursor", &cursor));
        caller
            .get(&with("_table/walk", &options))
            .await
            .refused(400, "invalid_cursor");
    }
    let same = [("order", "rank"), ("limit", "5"), ("cursor", &cursor)];
    caller.get(&with("_table/walk", &same)).await.ok_json();
}

async fn a_cursor_that_was_tampered_with_is_refused(tester: Tester) {
    let caller = tester.open(&walk(&tester.words())).await;
    let cursor = cursor_of(&caller, &[("order", "name"), ("limit", "3")]).await;
    let mut forged: Vec<String> = vec!["x".into(), "' OR 1=1".into(), "AAAA".into()];
    forged.push(cursor.get(1..).unwrap().to_owned());
    forged.push(cursor.get(..cursor.len() - 2).unwrap().to_owned());
    for cursor in forged {
        caller
            .get(&with(
                "_table/walk",
                &[("order", "name"), ("limit", "3"), ("cursor", &cursor)],
            ))
            .await
            .refused(400, "invalid_cursor");
    }
}

async fn lists_of_identifiers_have_pages(tester: Tester) {
    let caller = tester.open(&walk(&tester.words())).await;
    let options = [("as_list", "true"), ("order", "name"), ("limit", "3")];
    let mut seen = Vec::new();
    let mut cursor: Option<String> = None;
    loop {
        let mut options = options.to_vec();
        if let Some(cursor) = &cursor {
            options.push(("cursor", cursor));
        }
        let page = caller.get(&with("_table/walk", &options)).await.ok_json();
        seen.extend(page["resource"].as_array().unwrap().clone());
        match page["meta"]["next_cursor"].as_str() {
            Some(next) => cursor = Some(next.to_owned()),
            None => break,
        }
    }
    assert!(seen.iter().all(Value::is_number), "{seen:?}");
    seen.sort_by_key(Value::as_i64);
    seen.dedup();
    assert_eq!(seen.len(), RECORDS);
}

async fn ids_in_a_list_are_bounded(tester: Tester) {
    let options = DatabaseOptions {
        max_records: 10,
        ..DatabaseOptions::default()
    };
    let caller = tester.open_with(&walk(&tester.words()), options).await;
    let ids = |count: usize| {
        (1..=count)
            .map(|id| id.to_string())
            .collect::<Vec<_>>()
            .join(",")
    };
    let ten = caller.get(&with("_table/walk", &[("ids", &ids(10))])).await;
    assert_eq!(ten.column("id").len(), 10);
    caller
        .get(&with("_table/walk", &[("ids", &ids(11))]))
        .await
        .refused(400, "invalid_parameter");
}

async fn pages_by_cursor_survive_writes_between_them(tester: Tester) {
    let caller = tester.open(&walk(&tester.words())).await;
    let cursor = cursor_of(&caller, &[("order", "id"), ("limit", "10")]).await;
    caller.delete("_table/walk/5").await.ok_json();
    let next = caller
        .get(&with(
            "_table/walk",
            &[
                ("order", "id"),
                ("limit", "1"),
                ("cursor", &cursor),
                ("fields", "id"),
            ],
        ))
        .await
        .ok_json();
    assert_eq!(next["resource"], json!([{"id": 11}]));
}
