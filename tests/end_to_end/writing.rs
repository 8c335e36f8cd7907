//! Do batches keep their promises through the whole stack?

use serde_json::json;

use crate::support::sample::{self, ADMIN};
use crate::support::{TestGateway, WatchedDirectory};

const CUSTOMER: &str = "/api/v2/shop/_table/customer";
const TAG: &str = "/api/v2/shop/_table/tag";

fn start() -> (WatchedDirectory, TestGateway) {
    let directory = sample::shop();
    let gateway = TestGateway::start_with_data(directory.tree(), directory.data());
    (directory, gateway)
}

#[test]
fn records_are_made_read_changed_and_deleted() {
    let (_directory, gateway) = start();
    let client = gateway.client_with(ADMIN);
    let made = client.send_json(
        "POST",
        CUSTOMER,
        &json!({"resource": [{"email": "e1@example.org"}, {"email": "e2@example.org", "credit": 1_234_567_890.12}]}),
    );
    let ids: Vec<i64> = made
        .records()
        .iter()
        .map(|row| row["id"].as_i64().unwrap())
        .collect();
    assert_eq!(ids.len(), 2);
    let one = format!("{CUSTOMER}/{}", ids[1]);
    assert_eq!(
        client.get(&one).json()["credit"].to_string(),
        "1234567890.12"
    );
    let patched = client.send_json("PATCH", &one, &json!({"full_name": "E. Two"}));
    assert_eq!(patched.expect_ok().json(), json!({"id": ids[1]}));
    let listed = format!("{CUSTOMER}?ids={},{}&fields=email", ids[0], ids[1]);
    assert_eq!(client.get(&listed).records().len(), 2);
    let deleted = client.request("DELETE", &listed).send();
    assert_eq!(
        deleted.records(),
        [
            json!({"email": "e1@example.org"}),
            json!({"email": "e2@example.org"})
        ]
    );
    client.get(&one).expect_error(404, "unknown_record");
    gateway.stop();
}

#[test]
fn a_batch_is_all_or_nothing_unless_told_otherwise() {
    let (_directory, gateway) = start();
    let client = gateway.client_with(ADMIN);
    let batch = json!({"resource": [{"label": "new-1"}, {"label": "paid"}, {"label": "new-2"}]});
    let count = || client.query(TAG, &[("count_only", "true")]).json();
    for target in [TAG.to_owned(), format!("{TAG}?rollback=true")] {
        let answer = client.send_json("POST", &target, &batch);
        answer.expect_error(400, "batch_failed");
        let context = answer.json()["error"]["context"].clone();
        assert_eq!(context["error"], json!([1]), "{context}");
        assert_eq!(context["resource"][1]["status_code"], 409, "{context}");
        assert_eq!(
            context["resource"][1]["type"], "unique_violation",
            "{context}"
        );
        assert_eq!(count(), 2, "{target} left something behind");
    }
    let answer = client.send_json("POST", &format!("{TAG}?continue=true"), &batch);
    answer.expect_error(400, "batch_failed");
    let context = answer.json()["error"]["context"].clone();
    assert_eq!(context["error"], json!([1]));
    assert!(context["resource"][0]["id"].is_number(), "{context}");
    assert!(context["resource"][2]["id"].is_number(), "{context}");
    assert_eq!(count(), 4);
    let both = client.send_json(
        "POST",
        &format!("{TAG}?continue=true&rollback=true"),
        &batch,
    );
    assert_eq!(both.status, 400);
    assert_eq!(count(), 4);
    gateway.stop();
}

#[test]
fn relations_come_along() {
    let (_directory, gateway) = start();
    let client = gateway.client_with(ADMIN);
    let answer = client.query(
        "/api/v2/shop/_table/invoice",
        &[
            ("related", "customer_by_customer_id,tag_by_invoice_tag"),
            ("customer_by_customer_id.fields", "email"),
            ("tag_by_invoice_tag.order", "label"),
            ("order", "id"),
        ],
    );
    let rows = answer.records();
    assert_eq!(
        rows[0]["customer_by_customer_id"],
        json!({"email": "ann@example.org"})
    );
    let labels: Vec<&str> = rows[1]["tag_by_invoice_tag"]
        .as_array()
        .unwrap()
        .iter()
        .map(|tag| tag["label"].as_str().unwrap())
        .collect();
    assert_eq!(labels, ["late", "paid"]);
    assert_eq!(rows[3]["tag_by_invoice_tag"], json!([]));
    let nested = client.query(
        CUSTOMER,
        &[
            ("related", "invoice_by_customer_id.tag_by_invoice_tag"),
            ("filter", "id = 1"),
        ],
    );
    let tags = &nested.records()[0]["invoice_by_customer_id"][0]["tag_by_invoice_tag"];
    assert_eq!(tags[0]["label"], "paid", "{}", nested.text());
    gateway.stop();
}

#[test]
fn pages_follow_each_other_by_offset_and_by_cursor() {
    let (_directory, gateway) = start();
    let client = gateway.client_with(ADMIN);
    let first = client.query(
        CUSTOMER,
        &[
            ("limit", "3"),
            ("order", "full_name"),
            ("include_count", "true"),
        ],
    );
    let meta = first.expect_ok().json()["meta"].clone();
    assert_eq!(meta["count"], 4);
    assert_eq!(meta["next"], 3);
    let mut seen: Vec<i64> = first
        .records()
        .iter()
        .map(|row| row["id"].as_i64().unwrap())
        .collect();
    let cursor = meta["next_cursor"].as_str().expect("a cursor").to_owned();
    let options = [
        ("limit", "3"),
        ("order", "full_name"),
        ("cursor", cursor.as_str()),
    ];
    let second = client.query(CUSTOMER, &options);
    seen.extend(
        second
            .records()
            .iter()
            .map(|row| row["id"].as_i64().unwrap()),
    );
    seen.sort_unstable();
    assert_eq!(seen, [1, 2, 3, 4]);
    assert!(second.json()["meta"]["next"].is_null(), "{}", second.text());
    let other_order = [
        ("limit", "3"),
        ("order", "email"),
        ("cursor", cursor.as_str()),
    ];
    client
        .query(CUSTOMER, &other_order)
        .expect_error(400, "invalid_cursor");
    gateway.stop();
}

#[test]
fn groups_have_aggregates() {
    let (_directory, gateway) = start();
    let client = gateway.client_with(ADMIN);
    let answer = client.query(
        "/api/v2/shop/_table/invoice",
        &[
            ("group", "customer_id"),
            ("fields", "customer_id,COUNT(*),SUM(total)"),
            ("having", "COUNT_ALL > 1"),
        ],
    );
    let rows = answer.records();
    assert_eq!(rows.len(), 1, "{}", answer.text());
    assert_eq!(rows[0]["customer_id"], 1);
    assert_eq!(rows[0]["COUNT_ALL"], 2);
    assert_eq!(rows[0]["SUM_total"], 19.5);
    gateway.stop();
}
