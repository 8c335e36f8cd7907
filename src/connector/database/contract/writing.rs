//! Writing: every selector, batches, upserts, conditions; and that nothing is half written.

use http::header::{ETAG, IF_MATCH, IF_NONE_MATCH};
use serde_json::json;

use super::driver::{Caller, Tester, allow, values, with};
use super::{Words, cases};
use crate::connector::database::options::{DatabaseOptions, UnknownMembers};

cases![
    a_created_record_answers_its_key,
    records_are_created_in_the_order_of_the_request,
    a_write_answers_fields_and_related_records,
    a_bare_array_of_records_is_accepted,
    an_empty_body_creates_nothing,
    a_record_may_bring_its_own_key,
    a_key_of_zero_is_kept,
    a_record_of_defaults_is_created,
    a_missing_required_member_is_refused,
    an_unknown_member_is_refused_or_ignored,
    names_of_members_ignore_case,
    one_record_is_updated_by_its_key,
    put_updates_the_mentioned_columns_alone,
    records_are_updated_by_ids,
    records_are_updated_by_ids_in_the_body,
    records_are_updated_by_a_filter,
    records_are_updated_by_their_own_keys,
    an_update_without_a_selector_needs_keys,
    an_update_that_changes_nothing_answers_the_record,
    updating_a_missing_record_is_404,
    ids_and_filter_together_are_refused,
    one_record_is_deleted_by_its_key,
    records_are_deleted_by_ids,
    records_are_deleted_by_a_filter,
    records_are_deleted_by_their_own_keys,
    a_deleted_record_is_shown_as_it_was,
    a_delete_without_a_selector_is_refused,
    force_deletes_every_record,
    a_filter_that_matches_nothing_changes_nothing,
    a_large_delete_is_not_truncated,
    composite_keys_are_written,
    a_failed_batch_leaves_nothing_behind,
    rollback_says_so_aloud,
    continue_keeps_what_succeeds,
    rollback_and_continue_exclude_each_other,
    a_single_record_in_a_collection_fails_as_a_batch,
    a_record_by_path_fails_with_its_own_error,
    a_failed_batch_of_updates_leaves_nothing_behind,
    a_failed_batch_of_deletes_leaves_nothing_behind,
    a_failed_update_by_filter_leaves_nothing_behind,
    violations_of_constraints_have_their_own_status,
    an_upsert_creates_or_changes,
    an_upsert_needs_both_rights,
    an_upsert_by_path_creates_the_record,
    if_match_guards_a_write,
    if_match_of_another_coding_or_format_holds,
    if_match_holds_for_a_role_that_sees_some_columns,
    an_upsert_on_another_unique_key_is_a_conflict,
    if_none_match_star_refuses_what_exists,
    if_match_on_a_collection_is_412,
    a_view_cannot_be_written,
    identifiers_alone_answer_a_write,
    csv_records_are_created,
    bodies_that_are_no_records_are_refused,
    a_body_of_deep_nesting_is_refused,
    writes_at_the_same_time_all_arrive,
];

const CREATED: &str =
    "Batch Error: Not all requested records could be created. All changes rolled back.";
const UPDATED: &str =
    "Batch Error: Not all requested records could be updated. All changes rolled back.";
const DELETED: &str =
    "Batch Error: Not all requested records could be deleted. All changes rolled back.";

fn ann() -> serde_json::Value {
    json!({"email": "new@example.org", "full_name": "New One"})
}

async fn names(caller: &Caller) -> Vec<serde_json::Value> {
    caller
        .column("_table/customer?order=id&fields=full_name", "full_name")
        .await
}

async fn a_created_record_answers_its_key(tester: Tester) {
    let shop = tester.shop().await;
    shop.post("_table/customer", json!({"resource": [ann()]}))
        .await
        .is(&json!({"resource": [{"id": 5}]}));
    shop.get("_table/customer/5").await.is(&json!({
        "id": 5, "email": "new@example.org", "full_name": "New One", "credit": null,
        "is_active": true, "region": null, "joined": null}));
}

async fn records_are_created_in_the_order_of_the_request(tester: Tester) {
    let shop = tester.shop().await;
    let records: Vec<_> = (0..20)
        .map(|number| json!({"label": format!("label {}", 99 - number)}))
        .collect();
    let answer = shop
        .post("_table/tag?fields=label", json!({"resource": records}))
        .await;
    answer.is(&json!({"resource": records}));
}

async fn a_write_answers_fields_and_related_records(tester: Tester) {
    let shop = tester.shop().await;
    let invoice = json!({"customer_id": 2, "number": "D-1", "total": 3});
    shop.post(
        "_table/invoice?fields=id,number&related=customer_by_customer_id&customer_by_customer_id.fields=email",
        json!({"resource": [invoice]}),
    )
    .await
    .is(&json!({"resource": [{"id": 6, "number": "D-1", "customer_by_customer_id": {"email": "bo@example.org"}}]}));
    shop.patch(
        "_table/invoice/6?fields=total&related=customer_by_customer_id&customer_by_customer_id.fields=id",
        json!({"total": 4.25, "customer_id": 1}),
    )
    .await
    .is(&json!({"total": 4.25, "customer_by_customer_id": {"id": 1}}));
    shop.delete("_table/invoice/6?fields=id&related=customer_by_customer_id&customer_by_customer_id.fields=id")
        .await
        .is(&json!({"id": 6, "customer_by_customer_id": {"id": 1}}));
}

async fn a_bare_array_of_records_is_accepted(tester: Tester) {
    let shop = tester.shop().await;
    shop.post("_table/tag", json!([{"label": "x"}, {"label": "y"}]))
        .await
        .is(&json!({"resource": [{"id": 3}, {"id": 4}]}));
}

async fn an_empty_body_creates_nothing(tester: Tester) {
    let shop = tester.shop().await;
    for body in [json!({"resource": []}), json!([])] {
        let answer = shop.post("_table/tag", body.clone()).await;
        assert_eq!(answer.status, 400, "{body}: {}", answer.text());
    }
    let answer = shop.request("POST", "_table/tag").send().await;
    assert_eq!(answer.status, 400, "{}", answer.text());
    assert_eq!(shop.count("tag").await, 2);
}

async fn a_record_may_bring_its_own_key(tester: Tester) {
    let shop = tester.shop().await;
    shop.post(
        "_table/tag",
        json!({"resource": [{"id": 77, "label": "x"}]}),
    )
    .await
    .is(&json!({"resource": [{"id": 77}]}));
}

async fn a_key_of_zero_is_kept(tester: Tester) {
    let shop = tester.shop().await;
    shop.post(
        "_table/tag",
        json!({"resource": [{"id": 0, "label": "zero"}]}),
    )
    .await
    .is(&json!({"resource": [{"id": 0}]}));
    shop.get("_table/tag/0")
        .await
        .is(&json!({"id": 0, "label": "zero"}));
}

async fn a_record_of_defaults_is_created(tester: Tester) {
    let words = tester.words();
    let caller = tester
        .open(&[format!(
            "CREATE TABLE plain (id {}, note {} DEFAULT 'none')",
            words.auto_key, words.text
        )])
        .await;
    caller
        .post("_table/plain?fields=*", json!({"resource": [{}]}))
        .await
        .is(&json!({"resource": [{"id": 1, "note": "none"}]}));
}

async fn a_missing_required_member_is_refused(tester: Tester) {
    let shop = tester.shop().await;
    let context = shop
        .post(
            "_table/customer",
            json!({"resource": [{"email": "x@example.org"}]}),
        )
        .await
        .batch(CREATED);
    assert_eq!(context["error"], json!([0]));
    let kind = context["resource"][0]["type"].as_str().unwrap();
    assert_eq!(kind, "not_null_violation", "{context}");
    let context = shop
        .post(
            "_table/customer",
            json!({"resource": [{"email": "x@example.org", "full_name": null}]}),
        )
        .await
        .batch(CREATED);
    assert_eq!(context["resource"][0]["status_code"], 422, "{context}");
}

async fn an_unknown_member_is_refused_or_ignored(tester: Tester) {
    let shop = tester.shop().await;
    let context = shop
        .post("_table/tag", json!({"resource": [{"labl": "x"}]}))
        .await
        .batch(CREATED);
    let error = &context["resource"][0];
    assert_eq!(error["type"], "unknown_field", "{context}");
    assert!(error["help"].as_str().unwrap().contains("label"), "{error}");
    let options = DatabaseOptions {
        unknown_members: UnknownMembers::Ignore,
        ..DatabaseOptions::default()
    };
    let lenient = tester
        .open_with(&super::shop(&tester.words()), options)
        .await;
    lenient
        .post(
            "_table/tag",
            json!({"resource": [{"label": "x", "colour": "red"}]}),
        )
        .await
        .is(&json!({"resource": [{"id": 3}]}));
}

async fn names_of_members_ignore_case(tester: Tester) {
    let shop = tester.shop().await;
    shop.post(
        "_table/TAG?fields=label",
        json!({"resource": [{"LABEL": "x"}]}),
    )
    .await
    .is(&json!({"resource": [{"label": "x"}]}));
    let twice = shop
        .request("POST", "_table/tag")
        .text(
            "application/json",
            r#"{"resource":[{"label":"a","LABEL":"b"}]}"#,
        )
        .send()
        .await;
    assert_eq!(twice.status, 400, "{}", twice.text());
}

async fn one_record_is_updated_by_its_key(tester: Tester) {
    let shop = tester.shop().await;
    shop.patch("_table/customer/2", json!({"full_name": "Bo Lindh"}))
        .await
        .is(&json!({"id": 2}));
    assert_eq!(
        names(&shop).await,
        values(json!(["Ann Berg", "Bo Lindh", "Cy O'Dahl", "Di 100% _Moe"]))
    );
    let answer = shop
        .patch(
            "_table/customer/2?fields=id,full_name",
            json!({"full_name": "Bo"}),
        )
        .await;
    answer.is(&json!({"id": 2, "full_name": "Bo"}));
}

async fn put_updates_the_mentioned_columns_alone(tester: Tester) {
    let shop = tester.shop().await;
    shop.put("_table/customer/1?fields=*", json!({"region": "east"}))
        .await
        .is(
            &json!({"id": 1, "email": "ann@example.org", "full_name": "Ann Berg", "credit": 100.50,
            "is_active": true, "region": "east", "joined": "2024-01-31"}),
        );
}

async fn records_are_updated_by_ids(tester: Tester) {
    let shop = tester.shop().await;
    shop.patch(
        "_table/customer?ids=3,1&fields=id,region",
        json!({"resource": {"region": "west", "id": 99}}),
    )
    .await
    .is(&json!({"resource": [{"id": 3, "region": "west"}, {"id": 1, "region": "west"}]}));
    assert_eq!(
        shop.column("_table/customer?order=id", "region").await,
        values(json!(["west", "south", "west", null]))
    );
}

async fn records_are_updated_by_ids_in_the_body(tester: Tester) {
    let shop = tester.shop().await;
    shop.patch(
        "_table/customer",
        json!({"ids": [1, 2], "resource": [{"region": "west"}]}),
    )
    .await
    .is(&json!({"resource": [{"id": 1}, {"id": 2}]}));
}

async fn records_are_updated_by_a_filter(tester: Tester) {
    let shop = tester.shop().await;
    let answer = shop
        .patch(
            "_table/customer",
            json!({"filter": "(region = 'north')", "resource": [{"region": "arctic"}]}),
        )
        .await
        .ok_json();
    let mut ids = values(answer["resource"].clone());
    ids.sort_by_key(|record| record["id"].as_i64());
    assert_eq!(
        ids,
        values(json!([{"id": 1}, {"id": 3}])),
        "those that were changed"
    );
    assert_eq!(
        shop.column("_table/customer?order=id", "region").await,
        values(json!(["arctic", "south", "arctic", null]))
    );
}

async fn records_are_updated_by_their_own_keys(tester: Tester) {
    let shop = tester.shop().await;
    shop.patch(
        "_table/customer",
        json!({"resource": [{"id": 4, "region": "a"}, {"id": 1, "full_name": "Ann"}]}),
    )
    .await
    .is(&json!({"resource": [{"id": 4}, {"id": 1}]}));
    assert_eq!(
        shop.column("_table/customer?order=id", "region").await,
        values(json!(["north", "south", "north", "a"]))
    );
}

async fn an_update_without_a_selector_needs_keys(tester: Tester) {
    let shop = tester.shop().await;
    let context = shop
        .patch("_table/customer", json!({"resource": [{"region": "x"}]}))
        .await
        .batch(UPDATED);
    assert_eq!(context["error"], json!([0]));
    assert_eq!(
        shop.column("_table/customer?order=id", "region").await,
        values(json!(["north", "south", "north", null]))
    );
}

async fn an_update_that_changes_nothing_answers_the_record(tester: Tester) {
    let shop = tester.shop().await;
    shop.patch("_table/customer/1", json!({"region": "north"}))
        .await
        .is(&json!({"id": 1}));
    let nothing = shop.patch("_table/customer/1", json!({"id": 1})).await;
    nothing.refused(400, "invalid_body");
}

async fn updating_a_missing_record_is_404(tester: Tester) {
    let shop = tester.shop().await;
    let error = shop
        .patch("_table/customer/99", json!({"region": "x"}))
        .await
        .refused(404, "unknown_record");
    assert_eq!(error["message"], "record with identifier '99' not found");
}

async fn ids_and_filter_together_are_refused(tester: Tester) {
    let shop = tester.shop().await;
    let target = with("_table/customer", &[("ids", "1"), ("filter", "id > 1")]);
    shop.delete(&target).await.refused(400, "invalid_parameter");
    shop.patch(&target, json!({"resource": {"region": "x"}}))
        .await
        .refused(400, "invalid_parameter");
    let target = with("_table/tag/1", &[("filter", "id = 2")]);
    shop.delete(&target).await.refused(400, "invalid_parameter");
    assert_eq!(shop.count("tag").await, 2);
}

async fn one_record_is_deleted_by_its_key(tester: Tester) {
    let shop = tester.shop().await;
    shop.delete("_table/customer/2").await.is(&json!({"id": 2}));
    shop.delete("_table/customer/2")
        .await
        .refused(404, "unknown_record");
    assert_eq!(shop.count("customer").await, 3);
}

async fn records_are_deleted_by_ids(tester: Tester) {
    let shop = tester.shop().await;
    shop.delete("_table/customer?ids=4,2&fields=email")
        .await
        .is(&json!({"resource": [{"email": "di@example.org"}, {"email": "bo@example.org"}]}));
    assert_eq!(shop.count("customer").await, 2);
}

async fn records_are_deleted_by_a_filter(tester: Tester) {
    let shop = tester.shop().await;
    shop.delete(&with("_table/line", &[("filter", "product = 'nut'")]))
        .await
        .ok_json();
    assert_eq!(
        shop.column("_table/line", "product").await,
        values(json!(["bolt"]))
    );
}

async fn records_are_deleted_by_their_own_keys(tester: Tester) {
    let shop = tester.shop().await;
    shop.request("DELETE", "_table/customer")
        .json(&json!({"resource": [{"id": 2, "email": "does not count"}, {"id": 4}]}))
        .send()
        .await
        .is(&json!({"resource": [{"id": 2}, {"id": 4}]}));
    shop.request("DELETE", "_table/line")
        .json(&json!({"ids": [{"invoice_id": 1, "position": 2}]}))
        .send()
        .await
        .is(&json!({"resource": [{"invoice_id": 1, "position": 2}]}));
    assert_eq!(shop.count("customer").await, 2);
    assert_eq!(shop.count("line").await, 2);
}

async fn a_deleted_record_is_shown_as_it_was(tester: Tester) {
    let shop = tester.shop().await;
    shop.delete("_table/line/invoice_id=1,position=1?fields=*")
        .await
        .is(&json!({"invoice_id": 1, "position": 1, "product": "nut", "quantity": 3}));
}

async fn a_delete_without_a_selector_is_refused(tester: Tester) {
    let shop = tester.shop().await;
    shop.delete("_table/line")
        .await
        .refused(400, "missing_selector");
    for target in ["_table/line?ids=", "_table/line?filter="] {
        let answer = shop.delete(target).await;
        assert_eq!(answer.status, 400, "{target}: {}", answer.text());
    }
    assert_eq!(shop.count("line").await, 3);
}

async fn force_deletes_every_record(tester: Tester) {
    let shop = tester.shop().await;
    let answer = shop.delete("_table/line?force=true").await.ok_json();
    assert_eq!(answer["resource"].as_array().unwrap().len(), 3);
    assert_eq!(shop.count("line").await, 0);
}

async fn a_filter_that_matches_nothing_changes_nothing(tester: Tester) {
    let shop = tester.shop().await;
    let none = with("_table/customer", &[("filter", "id > 100")]);
    shop.delete(&none).await.is(&json!({"resource": []}));
    shop.patch(&none, json!({"resource": {"region": "x"}}))
        .await
        .is(&json!({"resource": []}));
}

async fn a_large_delete_is_not_truncated(tester: Tester) {
    let options = DatabaseOptions {
        max_records: 5,
        ..DatabaseOptions::default()
    };
    let caller = tester
        .open_with(&super::shop(&tester.words()), options)
        .await;
    let records: Vec<_> = (0..30).map(|_| json!({"label": "bulk"})).collect();
    caller
        .post("_table/tag", json!({"resource": records}))
        .await
        .ok_json();
    let changed = caller
        .patch(
            &with("_table/tag", &[("filter", "label = 'bulk'")]),
            json!({"resource": {"label": "gone"}}),
        )
        .await
        .ok_json();
    assert_eq!(changed["resource"].as_array().unwrap().len(), 30);
    let deleted = caller
        .delete(&with("_table/tag", &[("filter", "label = 'gone'")]))
        .await
        .ok_json();
    assert_eq!(deleted["resource"].as_array().unwrap().len(), 30);
    assert_eq!(caller.count("tag").await, 2);
}

async fn composite_keys_are_written(tester: Tester) {
    let shop = tester.shop().await;
    shop.post(
        "_table/line",
        json!({"resource": [{"invoice_id": 3, "position": 1, "product": "cog"}]}),
    )
    .await
    .is(&json!({"resource": [{"invoice_id": 3, "position": 1}]}));
    shop.patch(
        "_table/line/position=1,invoice_id=3",
        json!({"quantity": 9}),
    )
    .await
    .is(&json!({"invoice_id": 3, "position": 1}));
    shop.delete("_table/line/invoice_id=3,position=1?fields=quantity")
        .await
        .is(&json!({"quantity": 9}));
}

async fn a_failed_batch_leaves_nothing_behind(tester: Tester) {
    let shop = tester.shop().await;
    let context = shop
        .post(
            "_table/customer",
            json!({"resource": [
                {"email": "e1@example.org", "full_name": "E1"},
                {"email": "bo@example.org", "full_name": "Twin"},
                {"email": "e3@example.org", "full_name": "E3"},
            ]}),
        )
        .await
        .batch(CREATED);
    assert_eq!(context["error"], json!([1]));
    let list = context["resource"].as_array().unwrap();
    assert_eq!(list.len(), 2, "it ends with the one that failed: {context}");
    assert_eq!(list[0], json!({"id": 5}));
    assert_eq!(list[1]["code"], 409);
    assert_eq!(list[1]["status_code"], 409);
    assert_eq!(list[1]["type"], "unique_violation");
    assert_eq!(shop.count("customer").await, 4);
}

async fn rollback_says_so_aloud(tester: Tester) {
    let shop = tester.shop().await;
    shop.post(
        "_table/customer?rollback=true",
        json!({"resource": [ann(), ann()]}),
    )
    .await
    .batch(CREATED);
    assert_eq!(shop.count("customer").await, 4);
}

async fn continue_keeps_what_succeeds(tester: Tester) {
    let shop = tester.shop().await;
    let context = shop
        .post(
            "_table/customer?continue=true&fields=email",
            json!({"resource": [
                {"email": "e1@example.org", "full_name": "E1"},
                {"email": "bo@example.org", "full_name": "Twin"},
                {"email": "e3@example.org"},
                {"email": "e4@example.org", "full_name": "E4"},
                {"email": "e5@example.org", "full_name": "E5", "colour": "red"},
            ]}),
        )
        .await
        .batch("Batch Error: Not all requested records could be created.");
    assert_eq!(context["error"], json!([1, 2, 4]));
    assert_eq!(context["resource"][0], json!({"email": "e1@example.org"}));
    assert_eq!(context["resource"][3], json!({"email": "e4@example.org"}));
    assert_eq!(context["resource"][1]["type"], "unique_violation");
    assert_eq!(context["resource"][4]["type"], "unknown_field");
    assert_eq!(
        shop.column("_table/customer?order=id&offset=4", "full_name")
            .await,
        values(json!(["E1", "E4"]))
    );
}

async fn rollback_and_continue_exclude_each_other(tester: Tester) {
    let shop = tester.shop().await;
    shop.post(
        "_table/tag?rollback=true&continue=true",
        json!({"resource": [{"label": "x"}]}),
    )
    .await
    .refused(400, "invalid_parameter");
    assert_eq!(shop.count("tag").await, 2);
}

async fn a_single_record_in_a_collection_fails_as_a_batch(tester: Tester) {
    let shop = tester.shop().await;
    let context = shop.delete("_table/customer?ids=99").await.batch(DELETED);
    assert_eq!(
        context,
        json!({"error": [0], "resource": [{"code": 404, "status_code": 404,
            "message": "record with identifier '99' not found", "type": "unknown_record"}]})
    );
}

async fn a_record_by_path_fails_with_its_own_error(tester: Tester) {
    let shop = tester.shop().await;
    shop.patch("_table/customer/1", json!({"email": "bo@example.org"}))
        .await
        .refused(409, "unique_violation");
    shop.patch("_table/customer/1", json!({"colour": "red"}))
        .await
        .refused(400, "unknown_field");
    shop.delete("_table/customer/1")
        .await
        .refused(409, "foreign_key_violation");
}

async fn a_failed_batch_of_updates_leaves_nothing_behind(tester: Tester) {
    let shop = tester.shop().await;
    let context = shop
        .patch(
            "_table/customer?ids=1,2,99",
            json!({"resource": {"region": "x"}}),
        )
        .await
        .batch(UPDATED);
    assert_eq!(context["error"], json!([2]));
    assert_eq!(context["resource"][0], json!({"id": 1}));
    assert_eq!(
        shop.column("_table/customer?order=id", "region").await,
        values(json!(["north", "south", "north", null]))
    );
}

async fn a_failed_batch_of_deletes_leaves_nothing_behind(tester: Tester) {
    let shop = tester.shop().await;
    let context = shop
        .delete("_table/customer?ids=2,1,4")
        .await
        .batch(DELETED);
    assert_eq!(context["error"], json!([1]));
    assert_eq!(context["resource"][1]["type"], "foreign_key_violation");
    assert_eq!(shop.count("customer").await, 4);
    let context = shop
        .delete("_table/customer?ids=2,1,4&continue=true")
        .await
        .batch("Batch Error: Not all requested records could be deleted.");
    assert_eq!(context["error"], json!([1]));
    assert_eq!(context["resource"][2], json!({"id": 4}));
    assert_eq!(shop.count("customer").await, 2);
}

async fn a_failed_update_by_filter_leaves_nothing_behind(tester: Tester) {
    let shop = tester.shop().await;
    let target = with("_table/customer", &[("filter", "id > 0")]);
    shop.patch(&target, json!({"resource": {"email": "same@example.org"}}))
        .await
        .refused(409, "unique_violation");
    assert_eq!(
        shop.column("_table/customer?order=id&limit=1", "email")
            .await,
        values(json!(["ann@example.org"]))
    );
}

async fn violations_of_constraints_have_their_own_status(tester: Tester) {
    let shop = tester.shop().await;
    for (record, kind, status) in [
        (
            json!({"number": "A-1", "total": 1}),
            "unique_violation",
            409,
        ),
        (
            json!({"number": "Z-1", "total": 1, "customer_id": 99}),
            "foreign_key_violation",
            409,
        ),
        (
            json!({"number": null, "total": 1}),
            "not_null_violation",
            422,
        ),
        (
            json!({"number": "Z-2", "total": -1}),
            "check_violation",
            422,
        ),
        (
            json!({"number": "Z-3", "total": "much"}),
            "invalid_value",
            400,
        ),
        (
            json!({"number": "Z-4", "total": 1, "customer_id": 3_000_000_000_000_i64}),
            "invalid_value",
            400,
        ),
    ] {
        let context = shop
            .post("_table/invoice", json!({"resource": [record]}))
            .await
            .batch(CREATED);
        let error = &context["resource"][0];
        assert_eq!(
            (error["type"].as_str(), error["status_code"].as_u64()),
            (Some(kind), Some(status)),
            "{record}: {error}"
        );
    }
    assert_eq!(shop.count("invoice").await, 5);
}

async fn an_upsert_creates_or_changes(tester: Tester) {
    let shop = tester.shop().await;
    shop.post(
        "_table/line?upsert=true&fields=*",
        json!({"resource": [
            {"invoice_id": 1, "position": 1, "product": "nut", "quantity": 30},
            {"invoice_id": 1, "position": 9, "product": "new", "quantity": 1},
        ]}),
    )
    .await
    .is(&json!({"resource": [
        {"invoice_id": 1, "position": 1, "product": "nut", "quantity": 30},
        {"invoice_id": 1, "position": 9, "product": "new", "quantity": 1},
    ]}));
    assert_eq!(shop.count("line").await, 4);
    shop.post(
        "_table/tag?upsert=true&fields=*",
        json!({"resource": [{"id": 1, "label": "changed"}, {"label": "third"}]}),
    )
    .await
    .is(&json!({"resource": [{"id": 1, "label": "changed"}, {"id": 3, "label": "third"}]}));
}

async fn an_upsert_needs_both_rights(tester: Tester) {
    let shop = tester.shop().await;
    let creator = shop.with_role(&[allow("_table/tag/*", &["POST"])]);
    let body = json!({"resource": [{"id": 1, "label": "x"}]});
    creator
        .post("_table/tag?upsert=true", body.clone())
        .await
        .refused(403, "forbidden");
    let changer = shop.with_role(&[allow("_table/tag/*", &["PATCH"])]);
    changer
        .patch("_table/tag?upsert=true", body)
        .await
        .refused(403, "forbidden");
    // An upsert changes no record that the caller may not change.
    let narrow =
        shop.with_role(&[allow("_table/tag", &["PATCH", "POST"]).filter("id > 1 OR id > 100")]);
    let answer = narrow
        .post(
            "_table/tag?upsert=true",
            json!({"resource": [{"id": 1, "label": "stolen"}]}),
        )
        .await;
    assert_eq!(answer.status, 400, "{}", answer.text());
    shop.get("_table/tag/1?fields=label")
        .await
        .is(&json!({"label": "urgent"}));
}

async fn an_upsert_by_path_creates_the_record(tester: Tester) {
    let options = DatabaseOptions {
        allow_upsert: true,
        ..DatabaseOptions::default()
    };
    let caller = tester
        .open_with(&super::shop(&tester.words()), options)
        .await;
    caller
        .put("_table/tag/50", json!({"label": "fifty"}))
        .await
        .is(&json!({"id": 50}));
    caller
        .patch("_table/tag/50?fields=*", json!({"label": "changed"}))
        .await
        .is(&json!({"id": 50, "label": "changed"}));
    caller
        .patch(
            "_table/line/invoice_id=2,position=8?fields=*",
            json!({"product": "new"}),
        )
        .await
        .is(&json!({"invoice_id": 2, "position": 8, "product": "new", "quantity": 1}));
    let changer = caller.with_role(&[allow("_table/tag/*", &["PATCH"])]);
    changer
        .patch("_table/tag/51", json!({"label": "x"}))
        .await
        .refused(404, "unknown_record");
}

async fn if_match_guards_a_write(tester: Tester) {
    let shop = tester.shop().await;
    let read = shop.get("_table/customer/1?fields=id").await;
    let tag = read.header(&ETAG).to_owned();
    let first = shop
        .request("PATCH", "_table/customer/1")
        .header(&IF_MATCH, &tag)
        .json(&json!({"region": "first"}))
        .send()
        .await;
    first.is(&json!({"id": 1}));
    let second = shop
        .request("PATCH", "_table/customer/1")
        .header(&IF_MATCH, &tag)
        .json(&json!({"region": "second"}))
        .send()
        .await;
    second.refused(412, "precondition_failed");
    let stale = shop
        .request("DELETE", "_table/customer/4")
        .header(&IF_MATCH, &tag)
        .send()
        .await;
    stale.refused(412, "precondition_failed");
    let next = shop
        .request("PUT", "_table/customer/1")
        .header(&IF_MATCH, first.header(&ETAG))
        .json(&json!({"region": "third"}))
        .send()
        .await;
    next.is(&json!({"id": 1}));
    let weak = format!("W/{}", next.header(&ETAG));
    shop.request("PATCH", "_table/customer/1")
        .header(&IF_MATCH, &weak)
        .json(&json!({"region": "x"}))
        .send()
        .await
        .refused(412, "precondition_failed");
    shop.get("_table/customer/1?fields=region")
        .await
        .is(&json!({"region": "third"}));
    shop.request("PATCH", "_table/customer/99")
        .header(&IF_MATCH, "*")
        .json(&json!({"region": "x"}))
        .send()
        .await
        .refused(404, "unknown_record");
    shop.request("PATCH", "_table/customer/1")
        .header(&IF_MATCH, "*")
        .json(&json!({"region": "any"}))
        .send()
        .await
        .ok_json();
}

async fn if_match_of_another_coding_or_format_holds(tester: Tester) {
    let shop = tester.shop().await;
    let read = shop.get("_table/customer/1?accept=text/csv").await;
    let tag = read.header(&ETAG).trim_matches('"').to_owned();
    shop.request("PATCH", "_table/customer/1")
        .header(&IF_MATCH, &format!("\"{tag}-gzip\""))
        .json(&json!({"region": "x"}))
        .send()
        .await
        .ok_json();
}

async fn if_match_holds_for_a_role_that_sees_some_columns(tester: Tester) {
    let shop = tester.shop().await;
    let caller = shop.with_role(&[
        allow("_table/customer", &["GET"]),
        allow("_table/customer/*", &["GET"]).fields(&["id", "region"]),
        allow("_table/cust*", &["GET", "PATCH"]),
    ]);
    let read = caller.get("_table/customer/1").await;
    read.is(&json!({"id": 1, "region": "north"}));
    caller
        .request("PATCH", "_table/customer/1")
        .header(&IF_MATCH, read.header(&ETAG))
        .json(&json!({"region": "east"}))
        .send()
        .await
        .refused(403, "forbidden");
    let caller =
        shop.with_role(&[allow("_table/customer/*", &["GET", "PATCH"]).fields(&["id", "region"])]);
    let read = caller.get("_table/customer/1").await;
    let written = caller
        .request("PATCH", "_table/customer/1")
        .header(&IF_MATCH, read.header(&ETAG))
        .json(&json!({"region": "east"}))
        .send()
        .await;
    written.is(&json!({"id": 1}));
    let again = caller.get("_table/customer/1").await;
    assert_eq!(again.header(&ETAG), written.header(&ETAG));
}

async fn an_upsert_on_another_unique_key_is_a_conflict(tester: Tester) {
    let shop = tester.shop().await;
    let context = shop
        .post(
            "_table/customer?upsert=true",
            json!({"resource": [{"id": 9, "email": "bo@example.org", "full_name": "Twin"}]}),
        )
        .await
        .batch(CREATED);
    assert_eq!(context["resource"][0]["type"], "unique_violation");
    shop.post(
        "_table/customer?upsert=true&id_field=email&fields=id,full_name",
        json!({"resource": [{"email": "bo@example.org", "full_name": "Bo the Second"}]}),
    )
    .await
    .is(&json!({"resource": [{"id": 2, "full_name": "Bo the Second"}]}));
    assert_eq!(shop.count("customer").await, 4);
}

async fn if_none_match_star_refuses_what_exists(tester: Tester) {
    let options = DatabaseOptions {
        allow_upsert: true,
        ..DatabaseOptions::default()
    };
    let caller = tester
        .open_with(&super::shop(&tester.words()), options)
        .await;
    let put = |id: i64| {
        caller
            .request("PUT", &format!("_table/tag/{id}"))
            .header(&IF_NONE_MATCH, "*")
            .json(&json!({"label": "new"}))
            .send()
    };
    put(60).await.is(&json!({"id": 60}));
    put(60).await.refused(412, "precondition_failed");
    put(1).await.refused(412, "precondition_failed");
}

async fn if_match_on_a_collection_is_412(tester: Tester) {
    let shop = tester.shop().await;
    shop.request("DELETE", "_table/tag?ids=1")
        .header(&IF_MATCH, "\"x\"")
        .send()
        .await
        .refused(412, "precondition_failed");
    shop.request("DELETE", "_table/tag/1")
        .header(&IF_MATCH, "not a tag")
        .send()
        .await
        .refused(400, "invalid_request");
    assert_eq!(shop.count("tag").await, 2);
}

async fn a_view_cannot_be_written(tester: Tester) {
    let words = tester.words();
    let mut statements = super::shop(&words);
    statements.push(
        "CREATE VIEW totals AS SELECT customer_id, COUNT(*) AS invoices FROM invoice GROUP BY customer_id"
            .to_owned(),
    );
    let caller = tester.open(&statements).await;
    let answer = caller
        .post("_table/totals", json!({"resource": [{"customer_id": 1}]}))
        .await;
    assert!((400..500).contains(&answer.status), "{}", answer.text());
}

async fn identifiers_alone_answer_a_write(tester: Tester) {
    let shop = tester.shop().await;
    shop.post(
        "_table/tag?as_list=true",
        json!({"resource": [{"label": "x"}, {"label": "y"}]}),
    )
    .await
    .is(&json!({"resource": [3, 4]}));
    shop.delete("_table/line?force=true&as_list=true&filter=invoice_id%3D2")
        .await
        .is(&json!({"resource": ["(2,1)"]}));
}

async fn csv_records_are_created(tester: Tester) {
    let shop = tester.shop().await;
    let body = "email,full_name,region\r\ne@example.org,\"Eve, \"\"E\"\"\",north\r\nf@example.org,Fay,\r\n";
    shop.request("POST", "_table/customer?fields=full_name")
        .text("text/csv", body)
        .send()
        .await
        .is(&json!({"resource": [{"full_name": "Eve, \"E\""}, {"full_name": "Fay"}]}));
}

async fn bodies_that_are_no_records_are_refused(tester: Tester) {
    let shop = tester.shop().await;
    for body in ["{", "\"text\"", "7", "[1,2]", "{\"resource\": 5}", "[[]]"] {
        let answer = shop
            .request("POST", "_table/tag")
            .text("application/json", body)
            .send()
            .await;
        assert_eq!(answer.status, 400, "{body}: {}", answer.text());
    }
    let answer = shop
        .request("POST", "_table/tag")
        .text("image/png", "x")
        .send()
        .await;
    answer.refused(415, "unsupported_media_type");
    assert_eq!(shop.count("tag").await, 2);
}

async fn a_body_of_deep_nesting_is_refused(tester: Tester) {
    let shop = tester.shop().await;
    let body = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let answer = shop
        .request("POST", "_table/tag")
        .text("application/json", &body)
        .send()
        .await;
    assert_eq!(answer.status, 400, "{}", answer.text());
}

async fn writes_at_the_same_time_all_arrive(tester: Tester) {
    let words: Words = tester.words();
    let caller = tester
        .open(&[format!(
            "CREATE TABLE busy (id {}, label {})",
            words.auto_key, words.text
        )])
        .await;
    let writes = (0..16).map(|number| {
        let caller = caller.clone();
        async move {
            caller
                .post(
                    "_table/busy",
                    json!({"resource": [{"label": format!("a{number}")}, {"label": format!("b{number}")}]}),
                )
                .await
                .ok_json();
        }
    });
    futures_util::future::join_all(writes).await;
    assert_eq!(caller.count("busy").await, 32);
}
