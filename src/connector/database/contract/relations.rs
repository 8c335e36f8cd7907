//! Related records: every kind, nested, with their own options.

use serde_json::json;

use super::cases;
use super::driver::{Tester, allow, deny, with};

cases![
    the_parent_is_embedded,
    children_are_embedded,
    the_one_child_is_embedded,
    the_far_side_of_a_junction_is_embedded,
    what_is_not_there_is_null_or_an_empty_list,
    relations_nest,
    limits_hold_for_each_parent,
    related_records_are_ordered_filtered_and_narrowed,
    all_relations_are_embedded_by_a_star,
    an_unknown_relation_is_refused_with_the_nearest_one,
    related_records_come_with_one_record,
    a_restricted_list_of_fields_does_not_grow,
    a_relation_to_a_denied_table_is_403,
    a_relation_through_a_denied_junction_is_403,
    related_records_obey_the_filter_of_their_own_table,
    related_records_show_permitted_columns_alone,
];

async fn the_parent_is_embedded(tester: Tester) {
    let shop = tester.shop().await;
    shop.get(
        "_table/invoice/4?fields=id&related=customer_by_customer_id&customer_by_customer_id.fields=id,email",
    )
    .await
    .is(&json!({"id": 4, "customer_by_customer_id": {"id": 3, "email": "cy@example.org"}}));
}

async fn children_are_embedded(tester: Tester) {
    let shop = tester.shop().await;
    shop.get(
        "_table/customer?fields=id&order=id&limit=2&related=invoice_by_customer_id\
         &invoice_by_customer_id.fields=number&invoice_by_customer_id.order=number",
    )
    .await
    .is(&json!({"resource": [
        {"id": 1, "invoice_by_customer_id": [{"number": "A-1"}, {"number": "A-2"}, {"number": "A-3"}]},
        {"id": 2, "invoice_by_customer_id": []},
    ], "meta": {"next": 2, "next_cursor": shop.get("_table/customer?fields=id&order=id&limit=2").await.json()["meta"]["next_cursor"]}}));
}

async fn the_one_child_is_embedded(tester: Tester) {
    let shop = tester.shop().await;
    shop.get("_table/customer/1?fields=id&related=profile_by_customer_id")
        .await
        .is(&json!({"id": 1, "profile_by_customer_id": {"customer_id": 1, "bio": "first"}}));
}

async fn the_far_side_of_a_junction_is_embedded(tester: Tester) {
    let shop = tester.shop().await;
    shop.get("_table/invoice/1?fields=id&related=tag_by_invoice_tag&tag_by_invoice_tag.order=id")
        .await
        .is(&json!({"id": 1, "tag_by_invoice_tag": [{"id": 1, "label": "urgent"}, {"id": 2, "label": "paid"}]}));
}

async fn what_is_not_there_is_null_or_an_empty_list(tester: Tester) {
    let shop = tester.shop().await;
    shop.get("_table/invoice/5?fields=id&related=customer_by_customer_id,tag_by_invoice_tag")
        .await
        .is(&json!({"id": 5, "customer_by_customer_id": null, "tag_by_invoice_tag": []}));
    shop.get("_table/customer/2?fields=id&related=profile_by_customer_id")
        .await
        .is(&json!({"id": 2, "profile_by_customer_id": null}));
}

async fn relations_nest(tester: Tester) {
    let shop = tester.shop().await;
    shop.get(
        "_table/customer/1?fields=id&related=invoice_by_customer_id.tag_by_invoice_tag\
         &invoice_by_customer_id.fields=id&invoice_by_customer_id.order=id\
         &invoice_by_customer_id.tag_by_invoice_tag.fields=label\
         &invoice_by_customer_id.tag_by_invoice_tag.order=id",
    )
    .await
    .is(&json!({"id": 1, "invoice_by_customer_id": [
        {"id": 1, "tag_by_invoice_tag": [{"label": "urgent"}, {"label": "paid"}]},
        {"id": 2, "tag_by_invoice_tag": [{"label": "paid"}]},
        {"id": 3, "tag_by_invoice_tag": []},
    ]}));
}

async fn limits_hold_for_each_parent(tester: Tester) {
    let shop = tester.shop().await;
    let document = shop
        .get(
            "_table/customer?fields=id&order=id&related=invoice_by_customer_id\
             &invoice_by_customer_id.fields=number&invoice_by_customer_id.order=number%20desc\
             &invoice_by_customer_id.limit=1",
        )
        .await
        .ok_json();
    let list = &document["resource"];
    assert_eq!(
        list[0]["invoice_by_customer_id"],
        json!([{"number": "A-3"}])
    );
    assert_eq!(
        list[2]["invoice_by_customer_id"],
        json!([{"number": "B-1"}])
    );
    let second = shop
        .get(
            "_table/customer/1?fields=id&related=invoice_by_customer_id\
             &invoice_by_customer_id.fields=number&invoice_by_customer_id.order=number\
             &invoice_by_customer_id.limit=1&invoice_by_customer_id.offset=1",
        )
        .await
        .ok_json();
    assert_eq!(second["invoice_by_customer_id"], json!([{"number": "A-2"}]));
}

async fn related_records_are_ordered_filtered_and_narrowed(tester: Tester) {
    let shop = tester.shop().await;
    let target = with(
        "_table/customer/1",
        &[
            ("fields", "id"),
            ("related", "invoice_by_customer_id"),
            ("invoice_by_customer_id.fields", "number"),
            (
                "invoice_by_customer_id.filter",
                "total > 5 OR number = ''' OR 1=1'",
            ),
            ("invoice_by_customer_id.order", "total desc"),
        ],
    );
    shop.get(&target)
        .await
        .is(&json!({"id": 1, "invoice_by_customer_id": [{"number": "A-2"}, {"number": "A-1"}]}));
}

async fn all_relations_are_embedded_by_a_star(tester: Tester) {
    let shop = tester.shop().await;
    let document = shop
        .get("_table/customer/1?fields=id&related=*")
        .await
        .ok_json();
    for name in ["invoice_by_customer_id", "profile_by_customer_id"] {
        assert!(document.get(name).is_some(), "{document}");
    }
}

async fn an_unknown_relation_is_refused_with_the_nearest_one(tester: Tester) {
    let shop = tester.shop().await;
    let error = shop
        .get("_table/customer?related=invoice_by_customer")
        .await
        .refused(400, "unknown_relation");
    assert!(
        error["help"]
            .as_str()
            .unwrap()
            .contains("invoice_by_customer_id"),
        "{error}"
    );
}

async fn related_records_come_with_one_record(tester: Tester) {
    let shop = tester.shop().await;
    let answer = shop
        .get("_table/line/invoice_id=1,position=1?related=invoice_by_invoice_id")
        .await
        .ok_json();
    assert_eq!(answer["invoice_by_invoice_id"]["number"], "A-1");
}

async fn a_restricted_list_of_fields_does_not_grow(tester: Tester) {
    let shop = tester.shop().await;
    shop.get("_table/invoice/1?fields=number&related=customer_by_customer_id&customer_by_customer_id.fields=email")
        .await
        .is(&json!({"number": "A-1", "customer_by_customer_id": {"email": "ann@example.org"}}));
}

async fn a_relation_to_a_denied_table_is_403(tester: Tester) {
    let shop = tester.shop().await;
    let caller = shop.with_role(&[
        allow("_table/*", &["GET"]),
        deny("_table/customer/*", &["GET"]),
    ]);
    caller
        .get("_table/invoice?related=customer_by_customer_id")
        .await
        .refused(403, "forbidden");
    caller.get("_table/invoice").await.ok_json();
}

async fn a_relation_through_a_denied_junction_is_403(tester: Tester) {
    let shop = tester.shop().await;
    let caller = shop.with_role(&[
        allow("_table/*", &["GET"]),
        deny("_table/invoice_tag/*", &["GET"]),
    ]);
    caller
        .get("_table/invoice?related=tag_by_invoice_tag")
        .await
        .refused(403, "forbidden");
}

async fn related_records_obey_the_filter_of_their_own_table(tester: Tester) {
    let shop = tester.shop().await;
    let caller = shop.with_role(&[
        allow("_table/*", &["GET"]),
        allow("_table/invoice/*", &["GET"]).filter("total > 5 OR total < 0"),
    ]);
    caller
        .get(
            "_table/customer/1?fields=id&related=invoice_by_customer_id\
             &invoice_by_customer_id.fields=number&invoice_by_customer_id.order=number",
        )
        .await
        .is(&json!({"id": 1, "invoice_by_customer_id": [{"number": "A-1"}, {"number": "A-2"}]}));
}

async fn related_records_show_permitted_columns_alone(tester: Tester) {
    let shop = tester.shop().await;
    let caller = shop.with_role(&[
        allow("_table/*", &["GET"]),
        allow("_table/customer/*", &["GET"]).fields(&["id", "full_name"]),
    ]);
    caller
        .get("_table/invoice/1?fields=id&related=customer_by_customer_id")
        .await
        .is(&json!({"id": 1, "customer_by_customer_id": {"id": 1, "full_name": "Ann Berg"}}));
    caller
        .get(
            "_table/invoice/1?related=customer_by_customer_id&customer_by_customer_id.fields=email",
        )
        .await
        .refused(400, "unknown_field");
    let filter = with(
        "_table/invoice/1",
        &[
            ("related", "customer_by_customer_id"),
            ("customer_by_customer_id.filter", "email CONTAINS 'ann'"),
        ],
    );
    caller.get(&filter).await.refused(400, "unknown_field");
}
