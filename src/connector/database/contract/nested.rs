//! Nested writes: records that are written together with those related to them.

use serde_json::{Value, json};

use super::cases;
use super::driver::{ALL, Caller, Tester, allow};

cases![
    children_are_created_with_their_parent,
    parents_are_created_with_their_child,
    children_are_updated_linked_and_created_with_their_parent,
    a_child_with_a_composite_key_takes_a_part_of_it_from_its_parent,
    a_child_is_taken_out_or_deleted_only_if_that_is_said,
    the_only_child_is_created_changed_and_taken_out,
    records_across_a_junction_are_created_linked_and_taken_out,
    nested_writes_nest,
    a_nested_write_that_fails_leaves_nothing,
    a_batch_that_goes_on_keeps_whole_records_alone,
    nested_writes_need_the_rights_of_every_table,
    the_filters_of_roles_hold_within_nested_writes,
    columns_outside_the_role_are_unknown_within_nested_writes,
    what_no_record_can_hold_is_refused,
];

async fn invoices(shop: &Caller, customer: u32) -> Value {
    shop.get(&format!(
        "_table/invoice?filter=customer_id%3D{customer}&fields=id,number&order=id"
    ))
    .await
    .ok_json()["resource"]
        .clone()
}

async fn children_are_created_with_their_parent(tester: Tester) {
    let shop = tester.shop().await;
    shop.post(
        "_table/customer?related=invoice_by_customer_id&fields=id,email\
         &invoice_by_customer_id.fields=id,number,total&invoice_by_customer_id.order=id",
        json!({"resource": [{
            "email": "ed@example.org", "full_name": "Ed Ek", "is_active": true,
            "invoice_by_customer_id": [{"number": "D-1", "total": 3.5}, {"number": "D-2", "total": 4.25}],
        }]}),
    )
    .await
    .is(&json!({"resource": [{
        "id": 5, "email": "ed@example.org",
        "invoice_by_customer_id": [
            {"id": 6, "number": "D-1", "total": 3.5},
            {"id": 7, "number": "D-2", "total": 4.25},
        ],
    }]}));
    // By default a write answers with keys, nested or not.
    shop.post(
        "_table/customer",
        json!({"resource": [{
            "email": "flo@example.org", "full_name": "Flo", "is_active": true,
            "invoice_by_customer_id": [{"number": "D-3", "total": 1}],
        }]}),
    )
    .await
    .is(&json!({"resource": [{"id": 6}]}));
    assert_eq!(
        invoices(&shop, 6).await,
        json!([{"id": 8, "number": "D-3"}])
    );
}

async fn parents_are_created_with_their_child(tester: Tester) {
    let shop = tester.shop().await;
    shop.post(
        "_table/invoice?fields=number,customer_id",
        json!({"resource": [
            {"number": "E-1", "total": 1, "customer_by_customer_id":
                {"email": "ed@example.org", "full_name": "Ed Ek", "is_active": true}},
            {"number": "E-2", "total": 1, "customer_by_customer_id": {"id": 2}},
            {"number": "E-3", "total": 1, "customer_by_customer_id": {"id": 3, "region": "west"}},
            {"number": "E-4", "total": 1, "customer_by_customer_id": null},
        ]}),
    )
    .await
    .is(&json!({"resource": [
        {"number": "E-1", "customer_id": 5},
        {"number": "E-2", "customer_id": 2},
        {"number": "E-3", "customer_id": 3},
        {"number": "E-4", "customer_id": null},
    ]}));
    assert_eq!(
        shop.column("_table/customer?order=id", "region").await,
        [
            json!("north"),
            json!("south"),
            json!("west"),
            json!(null),
            json!(null)
        ]
    );
    let error = shop
        .patch(
            "_table/invoice/1",
            json!({"customer_by_customer_id": {"id": 99}}),
        )
        .await
        .refused(404, "unknown_record");
    assert_eq!(
        error["message"],
        "customer_by_customer_id: record with identifier '99' not found"
    );
    shop.patch(
        "_table/invoice/1",
        json!({"customer_by_customer_id": {"id": 3}}),
    )
    .await
    .is(&json!({"id": 1}));
    assert_eq!(
        shop.get("_table/invoice/1?fields=customer_id")
            .await
            .ok_json(),
        json!({"customer_id": 3})
    );
}

async fn children_are_updated_linked_and_created_with_their_parent(tester: Tester) {
    let shop = tester.shop().await;
    shop.patch(
        "_table/customer/2",
        json!({"region": "east", "invoice_by_customer_id": [
            {"id": 5},
            {"id": 3, "number": "A-3b"},
            {"number": "N-1", "total": 9},
        ]}),
    )
    .await
    .is(&json!({"id": 2}));
    assert_eq!(
        invoices(&shop, 2).await,
        json!([{"id": 3, "number": "A-3b"}, {"id": 5, "number": "C-1"}, {"id": 6, "number": "N-1"}])
    );
    // Children that are not mentioned stay; a record may say nothing of itself.
    shop.patch(
        "_table/customer/2",
        json!({"invoice_by_customer_id": [{"id": 1}]}),
    )
    .await
    .is(&json!({"id": 2}));
    assert_eq!(
        shop.column("_table/invoice?filter=customer_id%3D2&order=id", "id")
            .await,
        [json!(1), json!(3), json!(5), json!(6)]
    );
    shop.patch(
        "_table/customer/99",
        json!({"invoice_by_customer_id": [{"number": "X", "total": 1}]}),
    )
    .await
    .refused(404, "unknown_record");
    assert_eq!(shop.count("invoice").await, 6);
}

async fn a_child_with_a_composite_key_takes_a_part_of_it_from_its_parent(tester: Tester) {
    let shop = tester.shop().await;
    shop.patch(
        "_table/invoice/1",
        json!({"line_by_invoice_id": [
            {"position": 1, "quantity": 30},
            {"position": 7, "product": "gear"},
        ]}),
    )
    .await
    .is(&json!({"id": 1}));
    shop.get("_table/line?filter=invoice_id%3D1&order=position&fields=position,product,quantity")
        .await
        .is(&json!({"resource": [
            {"position": 1, "product": "nut", "quantity": 30},
            {"position": 2, "product": "bolt", "quantity": 5},
            {"position": 7, "product": "gear", "quantity": 1},
        ]}));
}

async fn a_child_is_taken_out_or_deleted_only_if_that_is_said(tester: Tester) {
    let shop = tester.shop().await;
    shop.patch(
        "_table/customer/1",
        json!({"invoice_by_customer_id": [{"id": 2, "customer_id": null}]}),
    )
    .await
    .is(&json!({"id": 1}));
    assert_eq!(
        shop.get("_table/invoice/2?fields=customer_id")
            .await
            .ok_json(),
        json!({"customer_id": null})
    );
    // An invoice of somebody else is not this customer's to take out.
    shop.patch(
        "_table/customer/1",
        json!({"invoice_by_customer_id": [{"id": 4, "customer_id": null}]}),
    )
    .await
    .refused(404, "unknown_record");
    let taken = json!({"line_by_invoice_id": [{"position": 2, "invoice_id": null}]});
    let error = shop
        .patch("_table/invoice/1", taken.clone())
        .await
        .refused(400, "invalid_body");
    assert!(
        error["help"]
            .as_str()
            .unwrap()
            .contains("allow_related_delete")
    );
    assert_eq!(shop.count("line").await, 3);
    shop.patch("_table/invoice/1?allow_related_delete=true", taken)
        .await
        .is(&json!({"id": 1}));
    assert_eq!(shop.count("line").await, 2);
}

async fn the_only_child_is_created_changed_and_taken_out(tester: Tester) {
    let shop = tester.shop().await;
    for (customer, bio) in [(1, "changed"), (2, "made")] {
        shop.patch(
            &format!("_table/customer/{customer}"),
            json!({"profile_by_customer_id": {"bio": bio}}),
        )
        .await
        .is(&json!({"id": customer}));
    }
    shop.get("_table/profile?order=customer_id")
        .await
        .is(&json!({"resource": [
            {"customer_id": 1, "bio": "changed"},
            {"customer_id": 2, "bio": "made"},
        ]}));
    shop.patch("_table/customer/1", json!({"profile_by_customer_id": null}))
        .await
        .refused(400, "invalid_body");
    shop.patch(
        "_table/customer/1?allow_related_delete=true",
        json!({"profile_by_customer_id": null}),
    )
    .await
    .is(&json!({"id": 1}));
    assert_eq!(
        shop.column("_table/profile", "customer_id").await,
        [json!(2)]
    );
}

async fn records_across_a_junction_are_created_linked_and_taken_out(tester: Tester) {
    let shop = tester.shop().await;
    shop.patch(
        "_table/invoice/3",
        json!({"tag_by_invoice_tag": [{"label": "late"}, {"id": 1}, {"id": 2, "label": "settled"}]}),
    )
    .await
    .is(&json!({"id": 3}));
    // What is linked already stays linked once.
    shop.patch(
        "_table/invoice/3",
        json!({"tag_by_invoice_tag": [{"id": 1}]}),
    )
    .await
    .is(&json!({"id": 3}));
    shop.get("_table/invoice/3?fields=id&related=tag_by_invoice_tag&tag_by_invoice_tag.order=id")
        .await
        .is(&json!({"id": 3, "tag_by_invoice_tag": [
            {"id": 1, "label": "urgent"},
            {"id": 2, "label": "settled"},
            {"id": 3, "label": "late"},
        ]}));
    shop.patch(
        "_table/invoice/3",
        json!({"tag_by_invoice_tag": [{"id": 1, "invoice_tag": null}]}),
    )
    .await
    .is(&json!({"id": 3}));
    assert_eq!(
        shop.column(
            "_table/invoice_tag?filter=invoice_id%3D3&order=tag_id",
            "tag_id"
        )
        .await,
        [json!(2), json!(3)]
    );
    assert_eq!(shop.count("tag").await, 3);
}

async fn nested_writes_nest(tester: Tester) {
    let shop = tester.shop().await;
    shop.post(
        "_table/customer",
        json!({"resource": [{
            "email": "ed@example.org", "full_name": "Ed Ek", "is_active": true,
            "invoice_by_customer_id": [{
                "number": "D-1", "total": 3,
                "line_by_invoice_id": [{"position": 1, "product": "nut"}],
                "tag_by_invoice_tag": [{"label": "new"}],
            }],
        }]}),
    )
    .await
    .is(&json!({"resource": [{"id": 5}]}));
    shop.get(
        "_table/customer/5?fields=id&related=invoice_by_customer_id.line_by_invoice_id,\
         invoice_by_customer_id.tag_by_invoice_tag&invoice_by_customer_id.fields=id",
    )
    .await
    .is(&json!({"id": 5, "invoice_by_customer_id": [{
        "id": 6,
        "line_by_invoice_id": [{"invoice_id": 6, "position": 1, "product": "nut", "quantity": 1}],
        "tag_by_invoice_tag": [{"id": 3, "label": "new"}],
    }]}));
    let mut deep = json!({"number": "Z", "total": 1});
    for level in 0..8 {
        deep = if level % 2 == 0 {
            json!({"email": format!("{level}@example.org"), "full_name": "x", "is_active": true,
                   "invoice_by_customer_id": [deep]})
        } else {
            json!({"number": format!("Z-{level}"), "total": 1, "customer_by_customer_id": deep})
        };
    }
    shop.post("_table/invoice", json!({"resource": [deep]}))
        .await
        .refused(400, "batch_failed");
    assert_eq!(shop.count("customer").await, 5);
}

async fn a_nested_write_that_fails_leaves_nothing(tester: Tester) {
    let shop = tester.shop().await;
    let context = shop
        .post(
            "_table/customer",
            json!({"resource": [{
                "email": "ed@example.org", "full_name": "Ed Ek", "is_active": true,
                "invoice_by_customer_id": [{"number": "D-1", "total": 1}, {"number": "A-1", "total": 1}],
            }]}),
        )
        .await
        .batch("Batch Error: Not all requested records could be created. All changes rolled back.");
    let error = &context["resource"][0];
    assert_eq!(error["status_code"], 409);
    assert!(
        error["message"]
            .as_str()
            .unwrap()
            .starts_with("invoice_by_customer_id[1]: "),
        "{error}"
    );
    assert_eq!(shop.count("customer").await, 4);
    assert_eq!(shop.count("invoice").await, 5);
}

async fn a_batch_that_goes_on_keeps_whole_records_alone(tester: Tester) {
    let shop = tester.shop().await;
    let customer = |email: &str, number: &str| {
        json!({"email": email, "full_name": "N", "is_active": true,
               "invoice_by_customer_id": [{"number": format!("{number}-x"), "total": 1}, {"number": number, "total": 1}]})
    };
    let context = shop
        .post(
            "_table/customer?continue=true",
            json!({"resource": [
                customer("e@example.org", "D-1"),
                customer("f@example.org", "A-1"),
                customer("g@example.org", "D-2"),
            ]}),
        )
        .await
        .batch("Batch Error: Not all requested records could be created.");
    assert_eq!(context["error"], json!([1]));
    assert_eq!(shop.count("customer").await, 6);
    assert_eq!(shop.count("invoice").await, 9);
    assert_eq!(
        shop.column(
            "_table/invoice?filter=number%20starts%20with%20'A-1'",
            "number"
        )
        .await,
        [json!("A-1")]
    );
}

async fn nested_writes_need_the_rights_of_every_table(tester: Tester) {
    let shop = tester.shop().await;
    let body = |items: Value| json!({"invoice_by_customer_id": items});
    for (rights, items, allowed) in [
        (&["GET"][..], json!([{"number": "N", "total": 1}]), false),
        (
            &["GET", "PATCH"][..],
            json!([{"number": "N", "total": 1}]),
            false,
        ),
        (&["GET", "POST"][..], json!([{"id": 5}]), false),
        (&["GET", "POST"][..], json!([{"id": 1, "total": 2}]), false),
        (&["GET", "PATCH"][..], json!([{"id": 1, "total": 2}]), true),
        (&["POST"][..], json!([{"number": "N", "total": 1}]), true),
    ] {
        let caller = shop.with_role(&[
            allow("_table/customer/*", ALL),
            allow("_table/invoice/*", rights),
        ]);
        let answer = caller.patch("_table/customer/1", body(items.clone())).await;
        if allowed {
            answer.is(&json!({"id": 1}));
        } else {
            answer.refused(403, "forbidden");
        }
    }
    // Where nothing is granted, the relation is not even there.
    let caller = shop.with_role(&[allow("_table/customer/*", ALL)]);
    caller
        .patch("_table/customer/1", body(json!([{"id": 5}])))
        .await
        .refused(400, "unknown_field");
}

async fn the_filters_of_roles_hold_within_nested_writes(tester: Tester) {
    let shop = tester.shop().await;
    let caller = shop.with_role(&[
        allow("_table/customer/*", ALL),
        allow("_table/invoice/*", ALL).filter("total < 15"),
    ]);
    // Invoice 2 has a total of 20.5, so it is not there.
    caller
        .patch(
            "_table/customer/3",
            json!({"invoice_by_customer_id": [{"id": 2}]}),
        )
        .await
        .refused(404, "unknown_record");
    caller
        .patch(
            "_table/customer/3",
            json!({"invoice_by_customer_id": [{"number": "N", "total": 99}]}),
        )
        .await
        .refused(403, "row_not_permitted");
    caller
        .patch(
            "_table/customer/3",
            json!({"invoice_by_customer_id": [{"id": 1, "total": 99}]}),
        )
        .await
        .refused(403, "row_not_permitted");
    let northern = shop.with_role(&[
        allow("_table/customer/*", ALL).filter("region = 'north'"),
        allow("_table/invoice/*", ALL),
    ]);
    northern
        .patch(
            "_table/customer/2",
            json!({"invoice_by_customer_id": [{"id": 1}]}),
        )
        .await
        .refused(404, "unknown_record");
    northern
        .patch(
            "_table/invoice/1",
            json!({"customer_by_customer_id": {"id": 2}}),
        )
        .await
        .refused(404, "unknown_record");
    assert_eq!(
        shop.column("_table/invoice?order=id", "customer_id").await,
        [json!(1), json!(1), json!(1), json!(3), json!(null)]
    );
}

async fn columns_outside_the_role_are_unknown_within_nested_writes(tester: Tester) {
    let shop = tester.shop().await;
    let caller = shop.with_role(&[
        allow("_table/customer/*", ALL),
        allow("_table/invoice/*", ALL).fields(&["id", "customer_id", "number"]),
    ]);
    caller
        .patch(
            "_table/customer/3",
            json!({"invoice_by_customer_id": [{"id": 1, "total": 1}]}),
        )
        .await
        .refused(400, "unknown_field");
    // Who may not write the column that links cannot link.
    let caller = shop.with_role(&[
        allow("_table/customer/*", ALL),
        allow("_table/invoice/*", ALL).fields(&["id", "number"]),
    ]);
    caller
        .patch(
            "_table/customer/3",
            json!({"invoice_by_customer_id": [{"id": 1}]}),
        )
        .await
        .refused(400, "unknown_field");
    assert_eq!(
        shop.get("_table/invoice/1?fields=customer_id")
            .await
            .ok_json(),
        json!({"customer_id": 1})
    );
}

async fn what_no_record_can_hold_is_refused(tester: Tester) {
    let shop = tester.shop().await;
    for body in [
        json!({"invoice_by_customer_id": {"id": 1}}),
        json!({"invoice_by_customer_id": [1]}),
        json!({"invoice_by_customer_id": [{"id": 1, "customer_id": 2}]}),
        json!({"invoice_by_customer_id": [{"number": "x", "customer_id": null}]}),
        json!({"profile_by_customer_id": "text"}),
        json!({"invoice_by_customer_id": [{"id": 1}], "INVOICE_by_customer_id": []}),
    ] {
        shop.patch("_table/customer/1", body)
            .await
            .refused(400, "invalid_body");
    }
    shop.patch(
        "_table/invoice/1",
        json!({"customer_id": 1, "customer_by_customer_id": {"id": 2}}),
    )
    .await
    .refused(400, "invalid_body");
    shop.patch(
        "_table/customer?filter=id%3D1",
        json!({"resource": [{"invoice_by_customer_id": [{"id": 1}]}]}),
    )
    .await
    .refused(400, "invalid_body");
}
