//! Roles: rows, columns and tables that a caller may not touch.

use serde_json::json;

use super::cases;
use super::driver::{Caller, Tester, allow, deny, values, with};

cases![
    a_role_filter_holds_on_reads,
    a_role_filter_holds_on_counts_and_groups,
    a_role_filter_holds_by_key_and_by_ids,
    an_or_in_a_role_filter_stays_in_its_parentheses,
    a_client_filter_cannot_escape_the_role_filter,
    a_role_filter_holds_on_updates_and_deletes,
    a_role_filter_holds_on_what_a_write_leaves_behind,
    force_deletes_what_the_role_filter_admits,
    lookups_are_bound_as_values,
    an_unknown_lookup_matches_nothing,
    a_kept_plan_is_not_shared_between_callers,
    columns_outside_the_list_are_not_shown,
    columns_outside_the_list_cannot_be_named,
    columns_outside_the_list_cannot_be_written,
    columns_outside_the_list_do_not_change_the_entity_tag_seen,
    columns_outside_the_list_are_not_described,
    verbs_that_are_not_granted_are_403,
    a_grant_for_the_collection_alone_opens_no_record,
    a_deny_in_another_case_still_holds,
    a_hidden_key_is_no_key,
    a_description_names_no_hidden_column_of_another_table,
    a_write_shows_no_column_that_the_role_may_not_read,
    a_role_may_write_what_it_may_not_read,
    a_role_that_may_only_write_is_told_what_it_wrote,
    a_denied_table_is_described_without_columns,
    a_row_in_another_case_holds_for_related_records,
    a_row_for_a_folder_does_not_reach_a_table_with_a_slash,
    a_row_for_one_record_opens_no_other_whatever_its_case,
];

fn northern(filter: &str) -> Vec<super::driver::Row> {
    vec![allow("_table/customer/*", super::driver::ALL).filter(filter)]
}

async fn everything_else_is_untouched(shop: &Caller) {
    assert_eq!(
        shop.column("_table/customer?order=id", "email").await,
        values(json!([
            "ann@example.org",
            "bo@example.org",
            "cy@example.org",
            "di@example.org"
        ]))
    );
    assert_eq!(
        shop.column("_table/customer?order=id", "region").await,
        values(json!(["north", "south", "north", null]))
    );
}

async fn a_role_filter_holds_on_reads(tester: Tester) {
    let shop = tester.shop().await;
    let caller = shop.with_role(&northern("region = 'north'"));
    assert_eq!(
        caller.column("_table/customer?order=id", "id").await,
        values(json!([1, 3]))
    );
    assert_eq!(
        caller
            .column("_table/customer?order=id&filter=id%20%3E%201", "id")
            .await,
        values(json!([3]))
    );
}

async fn a_role_filter_holds_on_counts_and_groups(tester: Tester) {
    let shop = tester.shop().await;
    let caller = shop.with_role(&northern("region = 'north'"));
    assert_eq!(caller.count("customer").await, 2);
    let groups = caller
        .get(&with(
            "_table/customer",
            &[("group", "region"), ("fields", "region,COUNT(*)")],
        ))
        .await
        .ok_json();
    assert_eq!(
        groups["resource"],
        json!([{"region": "north", "COUNT_ALL": 2}])
    );
}

async fn a_role_filter_holds_by_key_and_by_ids(tester: Tester) {
    let shop = tester.shop().await;
    let caller = shop.with_role(&northern("region = 'north'"));
    caller.get("_table/customer/1").await.ok_json();
    caller
        .get("_table/customer/2")
        .await
        .refused(404, "unknown_record");
    let context = caller
        .get("_table/customer?ids=1,2&fields=id")
        .await
        .batch("Batch Error: Not all requested records could be retrieved.");
    assert_eq!(context["error"], json!([1]));
}

async fn an_or_in_a_role_filter_stays_in_its_parentheses(tester: Tester) {
    let shop = tester.shop().await;
    let caller = shop.with_role(&northern("region = 'north' OR region = 'west'"));
    caller
        .get("_table/customer/2")
        .await
        .refused(404, "unknown_record");
    assert_eq!(
        caller
            .column("_table/customer?filter=id%20%3D%202", "id")
            .await,
        values(json!([]))
    );
    caller
        .patch("_table/customer/2", json!({"full_name": "stolen"}))
        .await
        .refused(404, "unknown_record");
    caller
        .delete("_table/customer/2")
        .await
        .refused(404, "unknown_record");
    everything_else_is_untouched(&shop).await;
}

async fn a_client_filter_cannot_escape_the_role_filter(tester: Tester) {
    let shop = tester.shop().await;
    let caller = shop.with_role(&northern("region = 'north'"));
    for filter in [
        "id > 0) OR (id > 0",
        "id > 0 OR id > 0",
        "(id > 0) OR (id > 0)",
        "NOT (region = 'north')",
        "region != 'north' OR true = true",
        "id > 0 -- ",
        "id > 0 /*",
        "region = 'x' OR region IS NULL OR region IS NOT NULL",
    ] {
        let answer = caller
            .get(&with(
                "_table/customer",
                &[("filter", filter), ("order", "id")],
            ))
            .await;
        if answer.status == 400 {
            continue;
        }
        for id in answer.column("id") {
            assert!(id == 1 || id == 3, "{filter} shows {id}");
        }
        let target = with("_table/customer", &[("filter", filter)]);
        caller
            .patch(&target, json!({"resource": {"credit": 1}}))
            .await
            .ok_json();
    }
    assert_eq!(
        shop.column("_table/customer?ids=2,4", "credit").await[1],
        json!(null)
    );
    everything_else_is_untouched(&shop).await;
}

async fn a_role_filter_holds_on_updates_and_deletes(tester: Tester) {
    let shop = tester.shop().await;
    let caller = shop.with_role(&northern("region = 'north'"));
    caller
        .patch("_table/customer/2", json!({"credit": 9}))
        .await
        .refused(404, "unknown_record");
    caller
        .patch(
            "_table/customer?ids=1,2",
            json!({"resource": {"credit": 9}}),
        )
        .await
        .batch("Batch Error: Not all requested records could be updated. All changes rolled back.");
    caller
        .delete("_table/customer?ids=2")
        .await
        .batch("Batch Error: Not all requested records could be deleted. All changes rolled back.");
    let target = with("_table/customer", &[("filter", "id >= 1")]);
    let changed = caller
        .patch(&target, json!({"resource": {"credit": 9}}))
        .await
        .ok_json();
    assert_eq!(changed["resource"].as_array().unwrap().len(), 2);
    everything_else_is_untouched(&shop).await;
}

async fn a_role_filter_holds_on_what_a_write_leaves_behind(tester: Tester) {
    let shop = tester.shop().await;
    for filter in [
        "region = 'north'",
        "region = 'north' OR region = 'arctic'",
        "NOT (region != 'north')",
    ] {
        let caller = shop.with_role(&northern(filter));
        let context = caller
            .post(
                "_table/customer",
                json!({"resource": [{"email": "x@example.org", "full_name": "X", "region": "south"}]}),
            )
            .await
            .batch("Batch Error: Not all requested records could be created. All changes rolled back.");
        let error = &context["resource"][0];
        assert_eq!(error["type"], "row_not_permitted", "{filter}: {error}");
        assert_eq!(error["status_code"], 403);
        caller
            .patch("_table/customer/1", json!({"region": "south"}))
            .await
            .refused(403, "row_not_permitted");
        caller
            .patch("_table/customer/1", json!({"region": null}))
            .await
            .refused(403, "row_not_permitted");
        caller
            .patch(
                &with("_table/customer", &[("filter", "id > 0")]),
                json!({"resource": {"region": "south"}}),
            )
            .await
            .refused(403, "row_not_permitted");
    }
    everything_else_is_untouched(&shop).await;
    let caller = shop.with_role(&northern("region = 'north'"));
    caller
        .post(
            "_table/customer?continue=true",
            json!({"resource": [
                {"email": "x@example.org", "full_name": "X", "region": "south"},
                {"email": "y@example.org", "full_name": "Y", "region": "north"},
            ]}),
        )
        .await
        .batch("Batch Error: Not all requested records could be created.");
    assert_eq!(
        shop.column("_table/customer?order=id&offset=4", "email")
            .await,
        values(json!(["y@example.org"]))
    );
}

async fn force_deletes_what_the_role_filter_admits(tester: Tester) {
    let shop = tester.shop().await;
    let caller = shop.with_role(&[allow("_table/line/*", &["DELETE"]).filter("product = 'nut'")]);
    let answer = caller.delete("_table/line?force=true").await.ok_json();
    assert_eq!(answer["resource"].as_array().unwrap().len(), 2);
    assert_eq!(
        shop.column("_table/line", "product").await,
        values(json!(["bolt"]))
    );
}

async fn lookups_are_bound_as_values(tester: Tester) {
    let shop = tester.shop().await;
    let rows = northern("email = {user.email}");
    for (email, expected) in [
        ("ann@example.org", json!([1])),
        ("x' OR '1'='1", json!([])),
        ("{user.email}", json!([])),
        ("%", json!([])),
    ] {
        let caller = shop.with_role_and_lookups(&rows, &[("user.email", email)]);
        assert_eq!(
            caller.column("_table/customer", "id").await,
            values(expected),
            "{email}"
        );
    }
}

async fn an_unknown_lookup_matches_nothing(tester: Tester) {
    let shop = tester.shop().await;
    for filter in [
        "email = {user.email}",
        "NOT (email = {user.email})",
        "email != {user.email}",
        "email = {user.email} OR id > 0",
        "email NOT IN ({user.email})",
    ] {
        let caller = shop.with_role(&northern(filter));
        let answer = caller.get("_table/customer").await;
        if answer.status == 200 {
            assert_eq!(answer.column("id"), values(json!([])), "{filter}");
        } else {
            assert_eq!(answer.status, 403, "{filter}: {}", answer.text());
        }
    }
}

async fn a_kept_plan_is_not_shared_between_callers(tester: Tester) {
    let shop = tester.shop().await;
    let rows = northern("email = {user.email}");
    for _ in 0..3 {
        for (email, id) in [("ann@example.org", 1), ("bo@example.org", 2)] {
            let caller = shop.with_role_and_lookups(&rows, &[("user.email", email)]);
            assert_eq!(
                caller.column("_table/customer?limit=9", "id").await,
                values(json!([id]))
            );
            let other = 3 - id;
            caller.get(&format!("_table/customer/{id}")).await.ok_json();
            caller
                .get(&format!("_table/customer/{other}"))
                .await
                .refused(404, "unknown_record");
        }
    }
}

fn narrow() -> Vec<super::driver::Row> {
    vec![
        allow("_table/customer/*", super::driver::ALL).fields(&["id", "full_name", "region"]),
        allow("_schema/*", &["GET"]),
    ]
}

async fn columns_outside_the_list_are_not_shown(tester: Tester) {
    let shop = tester.shop().await;
    let caller = shop.with_role(&narrow());
    caller
        .get("_table/customer/1")
        .await
        .is(&json!({"id": 1, "full_name": "Ann Berg", "region": "north"}));
    caller
        .get("_table/customer/1?fields=*")
        .await
        .is(&json!({"id": 1, "full_name": "Ann Berg", "region": "north"}));
}

async fn columns_outside_the_list_cannot_be_named(tester: Tester) {
    let shop = tester.shop().await;
    let caller = shop.with_role(&narrow());
    for options in [
        [("fields", "email"), ("limit", "1")],
        [("filter", "email LIKE 'a%'"), ("limit", "1")],
        [("order", "email"), ("limit", "1")],
        [("group", "email"), ("fields", "COUNT(*)")],
        [("group", "region"), ("fields", "MAX(email)")],
        [("group", "region"), ("having", "MAX_email > 'a'")],
        [("ids", "ann@example.org"), ("id_field", "email")],
    ] {
        let target = with("_table/customer", &options);
        let error = caller.get(&target).await.refused(400, "unknown_field");
        let unknown = with(
            "_table/customer",
            &options.map(|(name, value)| {
                (
                    name,
                    if value.contains("email") {
                        "nosuch"
                    } else {
                        value
                    },
                )
            }),
        );
        let _ = unknown;
        let help = error["help"].as_str().unwrap_or_default();
        assert!(!help.contains("email"), "{help}");
    }
}

async fn columns_outside_the_list_cannot_be_written(tester: Tester) {
    let shop = tester.shop().await;
    let caller = shop.with_role(&narrow());
    caller
        .patch("_table/customer/1", json!({"email": "stolen@example.org"}))
        .await
        .refused(400, "unknown_field");
    let context = caller
        .post(
            "_table/customer",
            json!({"resource": [{"email": "x@example.org", "full_name": "X"}]}),
        )
        .await
        .batch("Batch Error: Not all requested records could be created. All changes rolled back.");
    assert_eq!(context["resource"][0]["type"], "unknown_field");
    caller
        .patch("_table/customer/1?fields=email", json!({"full_name": "A"}))
        .await
        .refused(400, "unknown_field");
    everything_else_is_untouched(&shop).await;
}

async fn columns_outside_the_list_do_not_change_the_entity_tag_seen(tester: Tester) {
    let shop = tester.shop().await;
    let caller = shop.with_role(&narrow());
    let before = caller.get("_table/customer/1").await;
    shop.patch("_table/customer/1", json!({"credit": 1}))
        .await
        .ok_json();
    let after = caller.get("_table/customer/1").await;
    assert_eq!(
        before.header(&http::header::ETAG),
        after.header(&http::header::ETAG)
    );
}

async fn columns_outside_the_list_are_not_described(tester: Tester) {
    let shop = tester.shop().await;
    let caller = shop.with_role(&narrow());
    let document = caller.get("_schema/customer").await.ok_json();
    let names: Vec<_> = document["field"]
        .as_array()
        .unwrap()
        .iter()
        .map(|field| field["name"].clone())
        .collect();
    assert_eq!(names, values(json!(["id", "full_name", "region"])));
    assert!(!document.to_string().contains("email"));
    assert_eq!(
        document["related"],
        json!([]),
        "tables that the caller may not read are not shown"
    );
}

async fn verbs_that_are_not_granted_are_403(tester: Tester) {
    let shop = tester.shop().await;
    let reader = shop.with_role(&[allow("_table/*", &["GET"])]);
    reader
        .post("_table/tag", json!({"resource": [{"label": "x"}]}))
        .await
        .refused(403, "forbidden");
    reader
        .patch("_table/tag/1", json!({"label": "x"}))
        .await
        .refused(403, "forbidden");
    reader
        .delete("_table/tag/1")
        .await
        .refused(403, "forbidden");
    reader.get("_schema/tag").await.refused(403, "forbidden");
}

async fn a_grant_for_the_collection_alone_opens_no_record(tester: Tester) {
    let shop = tester.shop().await;
    let caller = shop.with_role(&[allow("_table/tag", &["GET"])]);
    caller.get("_table/tag").await.ok_json();
    caller.get("_table/tag/1").await.refused(403, "forbidden");
}

async fn a_deny_in_another_case_still_holds(tester: Tester) {
    let shop = tester.shop().await;
    let caller = shop.with_role(&[
        allow("_table/*", &["GET"]),
        deny("_table/customer/*", &["GET"]),
    ]);
    for target in ["_table/customer", "_table/CUSTOMER", "_table/Customer/1"] {
        caller.get(target).await.refused(403, "forbidden");
    }
}

async fn a_row_in_another_case_holds_for_related_records(tester: Tester) {
    let shop = tester.shop().await;
    let everything = allow("_table/*", &["GET"]);
    let related = with(
        "_table/customer/1",
        &[("related", "invoice_by_customer_id")],
    );
    shop.with_role(&[everything.clone(), deny("_table/Invoice/*", &["GET"])])
        .get(&related)
        .await
        .refused(403, "forbidden");
    let narrowed = allow("_table/INVOICE/*", &["GET"])
        .filter("number = 'A-2'")
        .fields(&["id", "customer_id"]);
    let document = shop
        .with_role(&[everything, narrowed])
        .get(&related)
        .await
        .ok_json();
    assert_eq!(
        document["invoice_by_customer_id"],
        json!([{"id": 2, "customer_id": 1}])
    );
}

async fn a_row_for_a_folder_does_not_reach_a_table_with_a_slash(tester: Tester) {
    let words = tester.words();
    let name = (words.quote)("a/b");
    let shop = tester
        .open(&[
            format!("CREATE TABLE a (id {} PRIMARY KEY)", words.integer),
            format!(
                "CREATE TABLE {name} (id {} PRIMARY KEY, a_id {} REFERENCES a (id))",
                words.integer, words.integer
            ),
            "INSERT INTO a VALUES (1)".to_owned(),
            format!("INSERT INTO {name} VALUES (7, 1)"),
        ])
        .await;
    let related = with("_table/a/1", &[("related", "a/b_by_a_id")]);
    shop.get(&related).await.ok_json();
    let caller = shop.with_role(&[allow("_table/a/*", &["GET"])]);
    caller.get("_table/a%2Fb").await.refused(403, "forbidden");
    caller.get(&related).await.refused(403, "forbidden");
    caller
        .get("_table/a/1?related=*")
        .await
        .is(&json!({"id": 1}));
}

async fn a_row_for_one_record_opens_no_other_whatever_its_case(tester: Tester) {
    let text = tester.words().text;
    let shop = tester
        .open(&[
            format!("CREATE TABLE coded (code {text} PRIMARY KEY, owner {text})"),
            "INSERT INTO coded VALUES ('ab', 'me'), ('AB', 'other')".to_owned(),
        ])
        .await;
    let caller = shop.with_role(&[
        allow("_table/coded/*", &["GET"]).filter("owner = 'me'"),
        allow("_table/coded/ab", &["GET"]),
    ]);
    for _ in 0..3 {
        caller.get("_table/coded/ab").await.ok_json();
        caller
            .get("_table/coded/AB")
            .await
            .refused(404, "unknown_record");
    }
}

/// Everything that the errors of these requests say, but for what only the log is told.
fn said(answer: &super::driver::Answer) -> String {
    let mut document = answer.json();
    if let Some(error) = document["error"].as_object_mut() {
        error.remove("log");
    }
    document.to_string()
}

async fn a_hidden_key_is_no_key(tester: Tester) {
    let words = tester.words();
    let shop = tester
        .open(&[
            format!(
                "CREATE TABLE person (covert_key {} PRIMARY KEY, alias {} NOT NULL)",
                words.integer, words.text
            ),
            "INSERT INTO person VALUES (5, 'ann')".to_owned(),
            format!(
                "CREATE TABLE pair (covert_left {} NOT NULL, right_half {} NOT NULL, PRIMARY KEY (covert_left, right_half))",
                words.integer, words.integer
            ),
            "INSERT INTO pair VALUES (1, 2)".to_owned(),
        ])
        .await;
    let caller = shop.with_role(&[
        allow("_table/person/*", super::driver::ALL).fields(&["alias"]),
        allow("_table/pair/*", super::driver::ALL).fields(&["right_half"]),
    ]);
    for target in [
        "_table/person/5",
        "_table/person/6",
        "_table/person/x",
        "_table/person/covert_key=5",
        "_table/person?ids=5",
        "_table/person?ids=5,6&continue=true",
        "_table/person?as_list=true",
        "_table/pair/1",
        "_table/pair/covert_left=1,right_half=2",
        "_table/pair?ids=1",
    ] {
        let answer = caller.get(target).await;
        answer.refused(400, "invalid_request");
        assert!(!said(&answer).contains("covert_l"), "{}", said(&answer));
        assert!(!said(&answer).contains("'covert"), "{}", said(&answer));
    }
    for target in ["_table/person/5", "_table/person?upsert=true"] {
        let body = json!({"resource": [{"alias": "x"}]});
        let answer = caller.patch(target, body).await;
        assert_eq!(answer.status, 400);
        assert!(!said(&answer).contains("covert"), "{}", said(&answer));
    }
    let answer = caller.delete("_table/person/5").await;
    answer.refused(400, "invalid_request");
    // What is selected by what may be seen is still there.
    caller
        .get("_table/person/ann?id_field=alias")
        .await
        .is(&json!({"alias": "ann"}));
    let changed = caller
        .patch(
            &with("_table/person", &[("filter", "alias = 'ann'")]),
            json!({"resource": {"alias": "bo"}}),
        )
        .await;
    changed.is(&json!({"resource": [{"alias": "bo"}]}));
}

async fn a_description_names_no_hidden_column_of_another_table(tester: Tester) {
    let words = tester.words();
    let shop = tester
        .open(&[
            format!(
                "CREATE TABLE person (covert {} PRIMARY KEY, alias {})",
                words.integer, words.text
            ),
            format!(
                "CREATE TABLE note (id {} PRIMARY KEY, author {} REFERENCES person (covert))",
                words.integer, words.integer
            ),
        ])
        .await;
    let caller = shop.with_role(&[
        allow("*", &["GET"]),
        allow("_table/person/*", &["GET"]).fields(&["alias"]),
    ]);
    for target in [
        "_schema/note",
        "_schema/note/_field",
        "_schema?ids=note,person",
        "_schema/person/_related",
        "_table/note?include_schema=true",
    ] {
        let text = caller.get(target).await.ok_text().to_owned();
        assert!(!text.contains("covert"), "{target}: {text}");
    }
}

async fn a_write_shows_no_column_that_the_role_may_not_read(tester: Tester) {
    let shop = tester.shop().await;
    let caller = shop.with_role(&[
        allow("_table/customer/*", &["GET"]).fields(&["id", "full_name"]),
        allow("_table/customer/*", &["POST", "PATCH", "DELETE"]),
        allow("_table/invoice/*", &["GET"]),
    ]);
    let seen = json!({"id": 4, "full_name": "D"});
    let all = "_table/customer/4?fields=*";
    caller
        .patch(all, json!({"full_name": "D", "region": "x"}))
        .await
        .is(&seen);
    for target in [
        "_table/customer/4?fields=email".to_owned(),
        with("_table/customer", &[("filter", "email LIKE 'd%'")]),
        "_table/customer?ids=4&fields=region".to_owned(),
        "_table/customer?ids=4&fields=region&related=invoice_by_customer_id".to_owned(),
    ] {
        for method in ["PATCH", "DELETE"] {
            let body = json!({"resource": {"credit": 1}});
            let answer = caller.request(method, &target).json(&body).send().await;
            assert_eq!(answer.status, 400, "{method} {target}: {}", answer.text());
            assert!(!answer.text().contains("di@"), "{}", answer.text());
        }
    }
    let related = "_table/customer/4?fields=*&related=invoice_by_customer_id";
    let with_related = json!({"id": 4, "full_name": "D", "invoice_by_customer_id": []});
    caller
        .patch(related, json!({"credit": 7}))
        .await
        .is(&with_related);
    caller.delete(related).await.is(&with_related);
}

async fn a_role_may_write_what_it_may_not_read(tester: Tester) {
    let shop = tester.shop().await;
    let narrow = allow("_table/customer/*", &["PATCH"]).fields(&["region"]);
    let rows = [
        allow("_table/customer/*", &["GET"]).fields(&["id", "email"]),
        narrow,
    ];
    let caller = shop.with_role(&rows);
    // Records are named by what may be read, and only that is told of them.
    caller
        .patch("_table/customer/1", json!({"region": "x"}))
        .await
        .is(&json!({"id": 1}));
    let by_email = with(
        "_table/customer",
        &[("filter", "email LIKE 'ann%'"), ("fields", "*")],
    );
    let record = json!({"resource": {"region": "y"}});
    caller
        .patch(&by_email, record.clone())
        .await
        .is(&json!({"resource": [{"id": 1, "email": "ann@example.org"}]}));
    let by_region = with("_table/customer", &[("filter", "region = 'y'")]);
    caller
        .patch(&by_region, record.clone())
        .await
        .refused(400, "unknown_field");
    // Records that may be written and not read tell nothing but what both rows admit.
    let [readable, narrow] = rows;
    let caller = shop.with_role(&[readable.filter("region = 'south'"), narrow]);
    caller
        .patch(&by_email, record)
        .await
        .refused(400, "unknown_field");
    // What may be neither read nor named is told again as it was written.
    let writer = shop.with_role(&[
        allow("_table/tag/*", &["GET"])
            .fields(&["id"])
            .filter("id = 1"),
        allow("_table/tag/*", &["POST"]).fields(&["label"]),
    ]);
    writer
        .post("_table/tag", json!({"resource": [{"label": "new"}]}))
        .await
        .is(&json!({"resource": [{"label": "new"}]}));
}

async fn a_denied_table_is_described_without_columns(tester: Tester) {
    let shop = tester.shop().await;
    let mut rows = narrow();
    let before = shop
        .with_role(&rows)
        .get("_schema/customer")
        .await
        .ok_json();
    assert_eq!(before["field"].as_array().unwrap().len(), 3);
    rows.push(deny("_table/customer/*", super::driver::ALL));
    let after = shop
        .with_role(&rows)
        .get("_schema/customer")
        .await
        .ok_json();
    assert_eq!(after["field"], json!([]), "a deny row never widens");
}

async fn a_role_that_may_only_write_is_told_what_it_wrote(tester: Tester) {
    let text = tester.words().text;
    let shop = tester.shop().await;
    let caller = shop.with_role(&[allow("_table/customer/*", &["POST", "PATCH", "DELETE"])]);
    caller
        .patch("_table/customer/1?fields=*", json!({"region": "west"}))
        .await
        .is(&json!({"id": 1, "region": "west"}));
    for (method, target) in [
        ("PATCH", "_table/customer/1?fields=email"),
        ("DELETE", "_table/customer/1?fields=email"),
        ("DELETE", "_table/customer?ids=1&fields=email"),
    ] {
        let body = json!({"region": "west"});
        let answer = caller.request(method, target).json(&body).send().await;
        assert_eq!(answer.status, 400, "{}", answer.text());
        assert!(!answer.text().contains("ann@"), "{}", answer.text());
    }
    caller
        .patch(
            &with(
                "_table/customer",
                &[("filter", "email = 'ann@example.org'"), ("fields", "*")],
            ),
            json!({"resource": {"region": "east"}}),
        )
        .await
        .is(&json!({"resource": [{"id": 1, "region": "east"}]}));
    caller
        .patch(
            "_table/customer/ann@example.org?id_field=email",
            json!({"region": "east"}),
        )
        .await
        .is(&json!({"email": "ann@example.org"}));
    caller
        .post(
            "_table/customer?fields=*",
            json!({"resource": [{"email": "x@example.org", "full_name": "X"}]}),
        )
        .await
        .is(&json!({"resource": [{"id": 5, "email": "x@example.org", "full_name": "X"}]}));
    caller
        .delete("_table/customer/5?fields=*")
        .await
        .is(&json!({"id": 5}));
    // Without a key there is nothing to tell.
    let keyless = tester
        .open(&[
            format!("CREATE TABLE keyless (word {text})"),
            "INSERT INTO keyless VALUES ('covert'), ('other')".to_owned(),
        ])
        .await;
    let eraser = keyless.with_role(&[allow("_table/keyless/*", &["DELETE"])]);
    let target = with("_table/keyless", &[("filter", "word = 'covert'")]);
    let answer = eraser.delete(&target).await;
    assert!(!answer.ok_text().contains("covert"), "{}", answer.text());
    assert_eq!(
        keyless.column("_table/keyless", "word").await,
        values(json!(["other"]))
    );
}
