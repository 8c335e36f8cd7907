//! Hostile names and values: whatever a name holds, it is a name.

use serde_json::{Value, json};

use super::driver::{Caller, Tester, encoded, values, with};
use super::{Words, cases};

cases![
    tables_with_hostile_names_are_served,
    columns_with_hostile_names_are_read_and_written,
    columns_with_hostile_names_are_filtered_and_ordered,
    columns_named_like_options_are_data,
    relations_of_hostile_names_are_embedded,
    names_from_the_caller_never_become_sql,
    values_from_the_caller_never_become_sql,
    very_long_values_are_data,
    messages_quote_little_of_what_callers_write,
];

/// The name of a table.
fn weird(words: &Words) -> String {
    format!("we ird%41 \"ta'ble\" `{}", words.strange_letter)
}

/// Names of its columns.
fn columns(words: &Words) -> [&'static str; 11] {
    [
        "select",
        "a b",
        "c\"d",
        "e'f",
        "100%",
        words.strange_letter,
        "back\\slash",
        "back`tick",
        "co:lon ?",
        "semi;colon--",
        "UPPER",
    ]
}

fn statements(words: &Words) -> Vec<String> {
    let quote = words.quote;
    let table = quote(&weird(words));
    let columns: Vec<String> = columns(words)
        .iter()
        .map(|column| format!("{} {}", quote(column), words.text))
        .collect();
    vec![
        format!(
            "CREATE TABLE {} ({} {}, {})",
            table,
            quote("the id"),
            words.auto_key,
            columns.join(", ")
        ),
        format!(
            "CREATE TABLE {} (id {}, {} {} REFERENCES {} ({}), {} {})",
            quote("order"),
            words.auto_key,
            quote("group"),
            words.integer,
            table,
            quote("the id"),
            quote("limit"),
            words.text
        ),
    ]
}

/// A name as callers write it in options.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

async fn filled(tester: &Tester) -> Caller {
    let caller = tester.open(&statements(&tester.words())).await;
    let table = encoded(&weird(&tester.words()));
    let record: Value = columns(&tester.words())
        .iter()
        .map(|column| ((*column).to_owned(), json!(format!("value of {column}"))))
        .collect::<serde_json::Map<_, _>>()
        .into();
    caller
        .post(
            &format!("_table/{table}"),
            json!({"resource": [record, {"select": "second"}]}),
        )
        .await
        .is(&json!({"resource": [{"the id": 1}, {"the id": 2}]}));
    caller
}

async fn tables_with_hostile_names_are_served(tester: Tester) {
    let caller = filled(&tester).await;
    let name = weird(&tester.words());
    let table = encoded(&name);
    let names = caller.get("_table?as_list=true").await.ok_json();
    let mut names = values(names["resource"].clone());
    names.sort_by_key(ToString::to_string);
    assert_eq!(names, values(json!(["order", name])));
    assert_eq!(caller.count(&table).await, 2);
    caller
        .delete(&format!("_table/{table}/2"))
        .await
        .is(&json!({"the id": 2}));
    let description = caller.get(&format!("_schema/{table}")).await.ok_json();
    assert_eq!(description["name"], name);
}

async fn columns_with_hostile_names_are_read_and_written(tester: Tester) {
    let caller = filled(&tester).await;
    let table = encoded(&weird(&tester.words()));
    for column in columns(&tester.words()) {
        let target = with(&format!("_table/{table}/1"), &[("fields", &quoted(column))]);
        caller
            .get(&target)
            .await
            .is(&json!({column: format!("value of {column}")}));
        caller
            .patch(&target, json!({column: "changed"}))
            .await
            .is(&json!({column: "changed"}));
    }
}

async fn columns_with_hostile_names_are_filtered_and_ordered(tester: Tester) {
    let caller = filled(&tester).await;
    let table = format!("_table/{}", encoded(&weird(&tester.words())));
    for column in columns(&tester.words()) {
        let filter = format!("{} = :v", quoted(column));
        let found = caller
            .get(&with(
                &table,
                &[
                    ("filter", filter.as_str()),
                    (
                        "params",
                        &json!({":v": format!("value of {column}")}).to_string(),
                    ),
                    ("fields", "the id"),
                ],
            ))
            .await;
        found.is(&json!({"resource": [{"the id": 1}]}));
    }
    let ordered = caller
        .column(&with(&table, &[("order", "select desc")]), "the id")
        .await;
    assert_eq!(ordered, values(json!([1, 2])));
}

async fn columns_named_like_options_are_data(tester: Tester) {
    let caller = filled(&tester).await;
    caller
        .post(
            "_table/order",
            json!({"resource": [{"group": 1, "limit": "not a number"}]}),
        )
        .await
        .is(&json!({"resource": [{"id": 1}]}));
    caller
        .patch(
            "_table/order/1?fields=*",
            json!({"limit": "again", "group": 2}),
        )
        .await
        .is(&json!({"id": 1, "group": 2, "limit": "again"}));
}

async fn relations_of_hostile_names_are_embedded(tester: Tester) {
    let caller = filled(&tester).await;
    caller
        .post("_table/order", json!({"resource": [{"group": 1}]}))
        .await
        .ok_json();
    let relations = caller.get("_schema/order/_related").await.ok_json();
    let name = relations["resource"][0]["name"]
        .as_str()
        .unwrap()
        .to_owned();
    let read = caller
        .get(&with("_table/order/1", &[("related", &quoted(&name))]))
        .await
        .ok_json();
    assert_eq!(read[&name]["the id"], 1, "{read}");
}

const INJECTIONS: [&str; 8] = [
    "id; DROP TABLE customer",
    "id\"; DROP TABLE customer; --",
    "id'--",
    "(SELECT email FROM customer)",
    "id/**/",
    "customer.id",
    "*; --",
    "\\",
];

async fn names_from_the_caller_never_become_sql(tester: Tester) {
    let shop = tester.shop().await;
    for injection in INJECTIONS {
        for option in ["fields", "order", "group", "related", "id_field"] {
            let answer = shop
                .get(&with(
                    "_table/customer",
                    &[(option, injection), ("ids", "1")],
                ))
                .await;
            assert_eq!(
                answer.status,
                400,
                "{option}={injection}: {}",
                answer.text()
            );
            assert!(
                !answer.json()["error"]["message"]
                    .as_str()
                    .unwrap()
                    .contains("syntax")
            );
        }
        let table = shop.get(&format!("_table/{}", encoded(injection))).await;
        assert_eq!(table.status, 404, "{injection}: {}", table.text());
        let mut record = serde_json::Map::new();
        record.insert(injection.to_owned(), json!(1));
        let member = shop.post("_table/tag", json!({"resource": [record]})).await;
        assert_eq!(member.status, 400, "{injection}: {}", member.text());
    }
    assert_eq!(shop.count("customer").await, 4);
    assert_eq!(shop.count("tag").await, 2);
}

async fn values_from_the_caller_never_become_sql(tester: Tester) {
    let shop = tester.shop().await;
    for injection in INJECTIONS {
        let answer = shop
            .get(&format!("_table/customer/{}", encoded(injection)))
            .await;
        assert!(
            matches!(answer.status, 400 | 404),
            "{injection}: {}",
            answer.text()
        );
        let answer = shop
            .get(&with("_table/customer", &[("ids", injection)]))
            .await;
        assert_eq!(answer.status, 400, "{injection}: {}", answer.text());
        shop.post(
            "_table/tag?fields=label",
            json!({"resource": [{"label": injection}]}),
        )
        .await
        .is(&json!({"resource": [{"label": injection}]}));
    }
    assert_eq!(shop.count("customer").await, 4);
}

async fn very_long_values_are_data(tester: Tester) {
    let shop = tester.shop().await;
    let long = "ä'\"".repeat(100_000);
    shop.post(
        "_table/tag?fields=label",
        json!({"resource": [{"label": long}]}),
    )
    .await
    .is(&json!({"resource": [{"label": long}]}));
}

async fn messages_quote_little_of_what_callers_write(tester: Tester) {
    let shop = tester.shop().await;
    let long = "x".repeat(2_000);
    let digits = "9".repeat(900);
    let mut answers = vec![
        shop.get(&format!("_table/{long}")).await,
        shop.get(&format!("_table/tag/{digits}")).await,
        shop.get(&format!("_table/customer/{long}")).await,
        shop.get(&format!("_schema/tag/{long}")).await,
        shop.post("_table/tag", json!({"resource": [{long.clone(): 1}]}))
            .await,
    ];
    for option in [
        "fields", "order", "group", "filter", "having", "related", "ids", "id_field", &long,
    ] {
        answers.push(shop.get(&with("_table/customer", &[(option, &long)])).await);
    }
    for value in [&digits, &long] {
        let filter = format!("credit > {value}");
        answers.push(shop.filtered("customer", &filter).await);
    }
    for answer in answers {
        if answer.status == 200 {
            continue;
        }
        let text = answer.json()["error"]["message"].to_string();
        assert!(text.len() < 400, "{text}");
    }
}
