//! Reading: fields, filters, orders, keys, counts, groups, conditional reads.

use http::header::{ETAG, IF_MATCH, IF_NONE_MATCH};
use serde_json::json;

use super::cases;
use super::driver::{Caller, Tester, values, with};

cases![
    every_record_is_listed_with_all_its_columns,
    fields_pick_columns_in_the_order_asked_for,
    an_unknown_field_is_refused_with_the_nearest_one,
    an_unknown_option_is_refused_with_the_nearest_one,
    an_unknown_table_is_404_with_the_nearest_one,
    names_of_tables_and_columns_ignore_case,
    comparisons_filter,
    spelt_operators_filter,
    null_tests_filter,
    lists_filter,
    ranges_filter,
    patterns_filter,
    texts_are_matched_without_wildcards,
    conditions_are_joined_with_the_usual_precedence,
    negations_filter,
    truth_values_and_dates_filter,
    quotes_within_values_are_data,
    parameters_are_bound,
    filters_that_do_not_follow_the_grammar_are_refused,
    values_that_a_column_cannot_hold_are_refused,
    a_bomb_of_parentheses_is_refused,
    orders_sort_by_several_columns,
    orders_place_nulls_as_asked,
    orders_refuse_what_is_no_column,
    one_record_is_read_by_its_key,
    a_missing_record_is_404,
    records_are_read_by_ids_in_the_order_of_the_request,
    a_missing_id_is_a_batch_error,
    an_id_field_replaces_the_primary_key,
    lists_of_identifiers_hold_values_alone,
    composite_keys_address_records,
    composite_keys_in_lists_are_texts,
    views_are_read_like_tables,
    a_view_has_no_key_unless_one_is_named,
    counts_are_numbers,
    counts_come_with_the_records,
    the_description_comes_with_the_records,
    groups_have_aggregates,
    groups_are_filtered_and_ordered_by_aggregates,
    aggregates_alone_make_one_group,
    options_in_the_body_of_a_tunnelled_get_are_read,
    an_entity_tag_answers_304,
    an_entity_tag_does_not_depend_on_fields,
    an_entity_tag_changes_with_the_record,
    a_read_with_if_match_is_held_to_it,
    plans_that_are_kept_do_not_mix_up_requests,
    refresh_sees_what_is_new,
];

async fn ids(caller: &Caller, filter: &str) -> Vec<i64> {
    caller
        .get(&with(
            "_table/customer",
            &[("filter", filter), ("order", "id"), ("fields", "id")],
        ))
        .await
        .column("id")
        .iter()
        .map(|id| id.as_i64().unwrap())
        .collect()
}

async fn check(caller: &Caller, table: &[(&str, &[i64])]) {
    for (filter, expected) in table {
        assert_eq!(ids(caller, filter).await, *expected, "{filter}");
    }
}

async fn every_record_is_listed_with_all_its_columns(tester: Tester) {
    let shop = tester.shop().await;
    let document = shop.get("_table/customer?order=id").await.ok_json();
    assert_eq!(document["resource"].as_array().unwrap().len(), 4);
    assert_eq!(
        document["resource"][0],
        json!({"id": 1, "email": "ann@example.org", "full_name": "Ann Berg", "credit": 100.50,
            "is_active": true, "region": "north", "joined": "2024-01-31"})
    );
    assert_eq!(document.get("meta"), None);
}

async fn fields_pick_columns_in_the_order_asked_for(tester: Tester) {
    let shop = tester.shop().await;
    let answer = shop
        .get("_table/customer?order=id&limit=1&fields=region,id")
        .await;
    assert!(
        answer
            .ok_text()
            .starts_with(r#"{"resource":[{"region":"north","id":1}]"#),
        "{}",
        answer.text()
    );
    // An empty list asks for the key.
    shop.get("_table/tag?order=id&fields=")
        .await
        .is(&json!({"resource": [{"id": 1}, {"id": 2}]}));
    let all = shop.get("_table/tag/1?fields=*").await;
    all.is(&json!({"id": 1, "label": "urgent"}));
}

async fn an_unknown_field_is_refused_with_the_nearest_one(tester: Tester) {
    let shop = tester.shop().await;
    let error = shop
        .get("_table/customer?fields=emial")
        .await
        .refused(400, "unknown_field");
    assert!(error["help"].as_str().unwrap().contains("email"), "{error}");
    shop.filtered("customer", "colour = 'red'")
        .await
        .refused(400, "unknown_field");
}

async fn an_unknown_option_is_refused_with_the_nearest_one(tester: Tester) {
    let shop = tester.shop().await;
    let error = shop
        .get("_table/customer?filtr=x")
        .await
        .refused(400, "unknown_parameter");
    assert!(
        error["help"].as_str().unwrap().contains("filter"),
        "{error}"
    );
    shop.get("_table/customer?_=123&limit=1").await.ok_json();
    for wrong in [
        "limit=x",
        "limit=-1",
        "offset=-1",
        "offset=x",
        "as_list=perhaps",
    ] {
        shop.get(&format!("_table/customer?{wrong}"))
            .await
            .refused(400, "invalid_parameter");
    }
}

async fn an_unknown_table_is_404_with_the_nearest_one(tester: Tester) {
    let shop = tester.shop().await;
    let error = shop
        .get("_table/custmer")
        .await
        .refused(404, "unknown_table");
    assert!(
        error["help"].as_str().unwrap().contains("customer"),
        "{error}"
    );
    shop.get("_table/sqlite_master")
        .await
        .refused(404, "unknown_table");
    shop.get("_table/pg_class")
        .await
        .refused(404, "unknown_table");
}

async fn names_of_tables_and_columns_ignore_case(tester: Tester) {
    let shop = tester.shop().await;
    let answer = shop.get("_table/CUSTOMER/1?fields=EMAIL").await;
    answer.is(&json!({"email": "ann@example.org"}));
    assert_eq!(ids(&shop, "ID = 2").await, [2]);
}

async fn comparisons_filter(tester: Tester) {
    let shop = tester.shop().await;
    check(
        &shop,
        &[
            ("id = 2", &[2]),
            ("(id = 2)", &[2]),
            ("id != 2", &[1, 3, 4]),
            ("id <> 2", &[1, 3, 4]),
            ("id > 2", &[3, 4]),
            ("id >= 2", &[2, 3, 4]),
            ("id < 2", &[1]),
            ("id <= 2", &[1, 2]),
            ("credit = 100.5", &[1]),
            ("credit >= 20.1", &[1, 3]),
            ("credit < 1", &[2]),
            ("email = 'bo@example.org'", &[2]),
            ("email = bo@example.org", &[2]),
            ("email = \"bo@example.org\"", &[2]),
            ("\"email\" = 'bo@example.org'", &[2]),
            ("`email` = 'bo@example.org'", &[2]),
            ("[email] = 'bo@example.org'", &[2]),
        ],
    )
    .await;
}

async fn spelt_operators_filter(tester: Tester) {
    let shop = tester.shop().await;
    check(
        &shop,
        &[
            ("id EQ 2", &[2]),
            ("id ne 2", &[1, 3, 4]),
            ("id GT 2", &[3, 4]),
            ("id gte 2", &[2, 3, 4]),
            ("id LT 2", &[1]),
            ("id LTE 2", &[1, 2]),
            ("(id = 1) && (region = 'north')", &[1]),
            ("(id = 1) || (id = 2)", &[1, 2]),
        ],
    )
    .await;
}

async fn null_tests_filter(tester: Tester) {
    let shop = tester.shop().await;
    check(
        &shop,
        &[
            ("region IS NULL", &[4]),
            ("region is not null", &[1, 2, 3]),
            ("region = null", &[4]),
            ("region != null", &[1, 2, 3]),
            ("NOT (region = 'north')", &[2]),
        ],
    )
    .await;
}

async fn lists_filter(tester: Tester) {
    let shop = tester.shop().await;
    check(
        &shop,
        &[
            ("id IN (1, 3)", &[1, 3]),
            ("id in(1,3)", &[1, 3]),
            ("id NOT IN (1, 3)", &[2, 4]),
            ("NOT(id in (1,2,3))", &[4]),
            ("region IN ('north', 'nowhere')", &[1, 3]),
            ("email IN ('a,b', 'cy@example.org')", &[3]),
        ],
    )
    .await;
    shop.filtered("customer", "id IN 1,2")
        .await
        .refused(400, "invalid_filter");
    shop.filtered("customer", "id IN ()")
        .await
        .refused(400, "invalid_filter");
}

async fn ranges_filter(tester: Tester) {
    let shop = tester.shop().await;
    check(
        &shop,
        &[
            ("id BETWEEN 2 AND 3", &[2, 3]),
            ("id NOT BETWEEN 2 AND 3", &[1, 4]),
            ("id BETWEEN 2 AND 3 AND region = 'north'", &[3]),
            ("joined BETWEEN '2024-01-01' AND '2024-12-31'", &[1, 2]),
        ],
    )
    .await;
}

async fn patterns_filter(tester: Tester) {
    let shop = tester.shop().await;
    check(
        &shop,
        &[
            ("full_name LIKE 'Ann%'", &[1]),
            ("full_name LIKE '%i%'", &[2, 4]),
            ("full_name LIKE 'B_ Lind'", &[2]),
            ("full_name NOT LIKE 'Ann%'", &[2, 3, 4]),
            ("full_name ILIKE 'ANN%'", &[1]),
            ("full_name NOT ILIKE '%B%'", &[3, 4]),
        ],
    )
    .await;
}

async fn texts_are_matched_without_wildcards(tester: Tester) {
    let shop = tester.shop().await;
    check(
        &shop,
        &[
            ("full_name CONTAINS '100% _'", &[4]),
            ("full_name CONTAINS 'A_n'", &[]),
            ("full_name CONTAINS '%'", &[4]),
            ("full_name STARTS WITH 'Di 100%'", &[4]),
            ("full_name STARTS WITH '%'", &[]),
            ("full_name ENDS WITH '_Moe'", &[4]),
            ("full_name ENDS WITH 'erg'", &[1]),
            ("full_name NOT CONTAINS '%'", &[1, 2, 3]),
            ("full_name NOT STARTS WITH 'A'", &[2, 3, 4]),
            ("full_name NOT ENDS WITH 'g'", &[2, 3, 4]),
        ],
    )
    .await;
}

async fn conditions_are_joined_with_the_usual_precedence(tester: Tester) {
    let shop = tester.shop().await;
    check(
        &shop,
        &[
            ("id = 1 OR id = 2 AND region = 'nowhere'", &[1]),
            ("(id = 1 OR id = 2) AND region = 'south'", &[2]),
            ("region = 'north' AND id > 1 OR id = 4", &[3, 4]),
            ("NOT id = 1 AND id < 3", &[2]),
            ("((id = 1)) OR ((id = 2) AND (id = 2))", &[1, 2]),
        ],
    )
    .await;
}

async fn negations_filter(tester: Tester) {
    let shop = tester.shop().await;
    check(
        &shop,
        &[
            ("NOT (id = 1)", &[2, 3, 4]),
            ("NOT (id = 1 OR id = 2)", &[3, 4]),
            ("NOT (NOT (id = 1))", &[1]),
        ],
    )
    .await;
}

async fn truth_values_and_dates_filter(tester: Tester) {
    let shop = tester.shop().await;
    check(
        &shop,
        &[
            ("is_active = true", &[1, 3, 4]),
            ("is_active = false", &[2]),
            ("is_active != true", &[2]),
            ("joined = '2024-02-29'", &[2]),
            ("joined > '2024-02-28'", &[2, 3]),
            ("joined < (NOW())", &[1, 2, 3]),
        ],
    )
    .await;
}

async fn quotes_within_values_are_data(tester: Tester) {
    let shop = tester.shop().await;
    check(
        &shop,
        &[
            ("full_name = 'Cy O''Dahl'", &[3]),
            ("full_name = \"Cy O'Dahl\"", &[3]),
            ("full_name CONTAINS ''''", &[3]),
            ("full_name = ''' OR ''1''=''1'", &[]),
            ("full_name = 'x'' OR 1=1 --'", &[]),
        ],
    )
    .await;
}

async fn parameters_are_bound(tester: Tester) {
    let shop = tester.shop().await;
    let found = shop
        .get(&with(
            "_table/customer",
            &[
                ("filter", "email = :e AND id > :n"),
                ("params", r#"{":e":"bo@example.org",":n":1}"#),
                ("fields", "id"),
            ],
        ))
        .await
        .column("id");
    assert_eq!(found, values(json!([2])));
    let hostile = shop
        .get(&with(
            "_table/customer",
            &[
                ("filter", "email = :e"),
                ("params", r#"{":e":"x' OR '1'='1"}"#),
            ],
        ))
        .await;
    hostile.is(&json!({"resource": []}));
}

async fn filters_that_do_not_follow_the_grammar_are_refused(tester: Tester) {
    let shop = tester.shop().await;
    for filter in [
        "id",
        "id =",
        "= 1",
        "id = 1 AND",
        "(id = 1",
        "id = 1)",
        "id = 'x",
        "id LIKE",
        "id BETWEEN 1",
        "id = 1; DROP TABLE customer",
        "id = 1 -- comment",
        "id = (SELECT 1)",
        "id = 1 UNION SELECT 1",
        "NOT",
        "1 = 1",
    ] {
        let answer = shop.filtered("customer", filter).await;
        let error = answer.json();
        assert_eq!(answer.status, 400, "{filter}: {error}");
    }
    assert_eq!(ids(&shop, "id > 0").await, [1, 2, 3, 4]);
}

async fn values_that_a_column_cannot_hold_are_refused(tester: Tester) {
    let shop = tester.shop().await;
    for filter in [
        "id = 'abc'",
        "id = 1.5",
        "id = 99999999999999999999",
        "is_active = 'perhaps'",
        "joined = 'tomorrow'",
        "joined = '2024-02-30'",
        "credit = 'much'",
    ] {
        let answer = shop.filtered("customer", filter).await;
        assert_eq!(answer.status, 400, "{filter}: {}", answer.text());
    }
}

async fn a_bomb_of_parentheses_is_refused(tester: Tester) {
    let shop = tester.shop().await;
    let deep = format!("{}id = 1{}", "(".repeat(5_000), ")".repeat(5_000));
    shop.filtered("customer", &deep)
        .await
        .refused(400, "invalid_filter");
    let nots = format!("{}id = 1", "NOT ".repeat(5_000));
    shop.filtered("customer", &nots)
        .await
        .refused(400, "invalid_filter");
}

async fn orders_sort_by_several_columns(tester: Tester) {
    let shop = tester.shop().await;
    for (order, expected) in [
        ("id desc", json!([4, 3, 2, 1])),
        ("is_active, id desc", json!([2, 4, 3, 1])),
        ("full_name", json!([1, 2, 3, 4])),
        ("is_active DESC, full_name DESC", json!([4, 3, 1, 2])),
    ] {
        let target = with("_table/customer", &[("order", order), ("fields", "id")]);
        assert_eq!(
            shop.column(&target, "id").await,
            values(expected),
            "{order}"
        );
    }
}

async fn orders_place_nulls_as_asked(tester: Tester) {
    let shop = tester.shop().await;
    for (order, expected) in [
        ("credit asc nulls first", json!([4, 2, 3, 1])),
        ("credit asc nulls last", json!([2, 3, 1, 4])),
        ("credit desc nulls first", json!([4, 1, 3, 2])),
        ("credit desc nulls last", json!([1, 3, 2, 4])),
    ] {
        let target = with("_table/customer", &[("order", order), ("fields", "id")]);
        assert_eq!(
            shop.column(&target, "id").await,
            values(expected),
            "{order}"
        );
    }
}

async fn orders_refuse_what_is_no_column(tester: Tester) {
    let shop = tester.shop().await;
    for order in [
        "colour",
        "id; drop table customer",
        "id sideways",
        "(select 1)",
        "1",
    ] {
        let answer = shop
            .get(&with("_table/customer", &[("order", order)]))
            .await;
        assert_eq!(answer.status, 400, "{order}: {}", answer.text());
    }
}

async fn one_record_is_read_by_its_key(tester: Tester) {
    let shop = tester.shop().await;
    let answer = shop.get("_table/customer/2?fields=id,email").await;
    assert_eq!(answer.ok_text(), r#"{"id":2,"email":"bo@example.org"}"#);
    // The plan is kept; another key must give another record.
    let answer = shop.get("_table/customer/3?fields=id,email").await;
    assert_eq!(answer.ok_text(), r#"{"id":3,"email":"cy@example.org"}"#);
    shop.get("_table/customer/abc")
        .await
        .refused(400, "invalid_value");
}

async fn a_missing_record_is_404(tester: Tester) {
    let shop = tester.shop().await;
    let error = shop
        .get("_table/customer/99")
        .await
        .refused(404, "unknown_record");
    assert_eq!(error["message"], "record with identifier '99' not found");
    shop.post("_table/customer/1", json!({}))
        .await
        .refused(405, "method_not_allowed");
}

async fn records_are_read_by_ids_in_the_order_of_the_request(tester: Tester) {
    let shop = tester.shop().await;
    let found = shop
        .column("_table/customer?ids=3,1,2&fields=id", "id")
        .await;
    assert_eq!(found, values(json!([3, 1, 2])));
    let found = shop
        .column("_table/customer?ids=3,3,1&fields=id", "id")
        .await;
    assert_eq!(found, values(json!([3, 1])), "each record once");
    shop.get("_table/customer?ids=")
        .await
        .refused(400, "invalid_parameter");
}

async fn a_missing_id_is_a_batch_error(tester: Tester) {
    let shop = tester.shop().await;
    let message = "Batch Error: Not all requested records could be retrieved.";
    let context = shop
        .get("_table/customer?ids=1,99,2&fields=id")
        .await
        .batch(message);
    let missing = json!({"code": 404, "status_code": 404, "type": "unknown_record",
        "message": "record with identifier '99' not found"});
    assert_eq!(
        context,
        json!({"error": [1], "resource": [{"id": 1}, missing]})
    );
    let context = shop
        .get("_table/customer?ids=1,99,2&fields=id&continue=true")
        .await
        .batch(message);
    assert_eq!(
        context,
        json!({"error": [1], "resource": [{"id": 1}, missing, {"id": 2}]})
    );
}

async fn an_id_field_replaces_the_primary_key(tester: Tester) {
    let shop = tester.shop().await;
    let answer = shop
        .get("_table/customer/bo%40example.org?id_field=email&fields=id")
        .await;
    answer.is(&json!({"id": 2}));
    let found = shop
        .column(
            "_table/customer?ids=cy%40example.org,ann%40example.org&id_field=email&fields=id",
            "id",
        )
        .await;
    assert_eq!(found, values(json!([3, 1])));
}

async fn lists_of_identifiers_hold_values_alone(tester: Tester) {
    let shop = tester.shop().await;
    shop.get("_table/customer?as_list=true&order=id")
        .await
        .is(&json!({"resource": [1, 2, 3, 4]}));
    shop.get("_table/tag?as_list=true&order=id&id_field=label")
        .await
        .is(&json!({"resource": ["urgent", "paid"]}));
}

async fn composite_keys_address_records(tester: Tester) {
    let shop = tester.shop().await;
    let answer = shop.get("_table/line/invoice_id=1,position=2").await;
    answer.is(&json!({"invoice_id": 1, "position": 2, "product": "bolt", "quantity": 5}));
    shop.get("_table/line/invoice_id=9,position=9")
        .await
        .refused(404, "unknown_record");
    let half = shop.get("_table/line/invoice_id=1").await;
    assert_eq!(half.status, 400, "{}", half.text());
    let bare = shop.get("_table/line/1").await;
    assert_eq!(bare.status, 400, "{}", bare.text());
    let found = shop
        .request("GET", "_table/line?fields=product")
        .json(&json!({"ids": [{"invoice_id": 2, "position": 1}, {"invoice_id": 1, "position": 2}]}))
        .send()
        .await
        .column("product");
    assert_eq!(found, values(json!(["nut", "bolt"])));
}

async fn composite_keys_in_lists_are_texts(tester: Tester) {
    let shop = tester.shop().await;
    shop.get("_table/line?as_list=true&order=invoice_id,position")
        .await
        .is(&json!({"resource": ["(1,1)", "(1,2)", "(2,1)"]}));
}

async fn views_are_read_like_tables(tester: Tester) {
    let shop = tester.shop().await;
    let found = shop
        .column(
            "_table/active_customer?order=id desc"
                .replace(' ', "%20")
                .as_str(),
            "id",
        )
        .await;
    assert_eq!(found, values(json!([4, 3, 1])));
}

async fn a_view_has_no_key_unless_one_is_named(tester: Tester) {
    let shop = tester.shop().await;
    let answer = shop.get("_table/active_customer/1").await;
    assert_eq!(answer.status, 400, "{}", answer.text());
    shop.get("_table/active_customer/1?id_field=id&fields=email")
        .await
        .is(&json!({"email": "ann@example.org"}));
}

async fn counts_are_numbers(tester: Tester) {
    let shop = tester.shop().await;
    let answer = shop.get("_table/customer?count_only=true").await;
    assert_eq!(answer.ok_text(), "4");
    let answer = shop
        .get("_table/customer?count_only=true&filter=region%3D'north'&limit=1")
        .await;
    assert_eq!(answer.ok_text(), "2");
}

async fn counts_come_with_the_records(tester: Tester) {
    let shop = tester.shop().await;
    let document = shop
        .get("_table/customer?include_count=true&limit=2&order=id&fields=id")
        .await
        .ok_json();
    assert_eq!(document["meta"]["count"], 4);
    assert_eq!(document["meta"]["next"], 2);
    assert_eq!(document["resource"], json!([{"id": 1}, {"id": 2}]));
}

async fn the_description_comes_with_the_records(tester: Tester) {
    let shop = tester.shop().await;
    let document = shop
        .get("_table/tag?include_schema=true&limit=1")
        .await
        .ok_json();
    let schema = &document["meta"]["schema"];
    assert_eq!(schema["name"], "tag");
    assert_eq!(schema["primary_key"], json!(["id"]));
    assert_eq!(schema.get("alias"), None);
}

async fn groups_have_aggregates(tester: Tester) {
    let shop = tester.shop().await;
    let document = shop
        .get(&with(
            "_table/invoice",
            &[
                ("group", "customer_id"),
                (
                    "fields",
                    "customer_id,COUNT(*),SUM(total),MIN(total),MAX(number)",
                ),
                ("filter", "customer_id IS NOT NULL"),
                ("order", "customer_id"),
            ],
        ))
        .await
        .ok_json();
    let groups = document["resource"].as_array().unwrap();
    assert_eq!(groups.len(), 2);
    assert_eq!(groups[0]["customer_id"], 1);
    assert_eq!(groups[0]["COUNT_ALL"], 3);
    assert_eq!(groups[0]["SUM_total"].as_f64(), Some(35.5));
    assert_eq!(groups[0]["MIN_total"].as_f64(), Some(5.0));
    assert_eq!(groups[0]["MAX_number"], "A-3");
}

async fn groups_are_filtered_and_ordered_by_aggregates(tester: Tester) {
    let shop = tester.shop().await;
    let document = shop
        .get(&with(
            "_table/line",
            &[
                ("group", "product"),
                ("fields", "product,SUM(quantity)"),
                ("having", "SUM_quantity > 3 AND COUNT_ALL > 0"),
                ("order", "SUM(quantity) desc"),
            ],
        ))
        .await
        .ok_json();
    let products: Vec<_> = document["resource"]
        .as_array()
        .unwrap()
        .iter()
        .map(|group| group["product"].clone())
        .collect();
    assert_eq!(products, values(json!(["bolt", "nut"])));
}

async fn aggregates_alone_make_one_group(tester: Tester) {
    let shop = tester.shop().await;
    let answer = shop
        .get(&with(
            "_table/invoice",
            &[("fields", "SUM(total),COUNT(*)")],
        ))
        .await
        .ok_json();
    let groups = answer["resource"].as_array().unwrap();
    assert_eq!(groups.len(), 1);
    assert_eq!(groups[0]["SUM_total"].as_f64(), Some(43.5));
    assert_eq!(groups[0]["COUNT_ALL"], 5);
    for options in [
        [("group", "colour"), ("fields", "COUNT(*)")],
        [("fields", "id,COUNT(*)"), ("limit", "1")],
        [("fields", "SUM(colour)"), ("limit", "1")],
    ] {
        let answer = shop.get(&with("_table/invoice", &options)).await;
        assert_eq!(answer.status, 400, "{}", answer.text());
    }
}

async fn options_in_the_body_of_a_tunnelled_get_are_read(tester: Tester) {
    let shop = tester.shop().await;
    let found = shop
        .request("GET", "_table/customer")
        .json(
            &json!({"filter": "email = :e", "params": {":e": "bo@example.org"}, "fields": ["id"]}),
        )
        .send()
        .await;
    found.is(&json!({"resource": [{"id": 2}]}));
    let found = shop
        .request("GET", "_table/customer?fields=id")
        .json(&json!({"ids": [3, 1]}))
        .send()
        .await;
    found.is(&json!({"resource": [{"id": 3}, {"id": 1}]}));
    let found = shop
        .request("GET", "_table/customer?fields=id")
        .json(&json!({"resource": [{"id": 2}, {"id": 1}]}))
        .send()
        .await;
    found.is(&json!({"resource": [{"id": 2}, {"id": 1}]}));
}

async fn an_entity_tag_answers_304(tester: Tester) {
    let shop = tester.shop().await;
    let first = shop.get("_table/customer/1").await;
    let tag = first.header(&ETAG).to_owned();
    for sent in [
        tag.clone(),
        "*".to_owned(),
        format!("W/{tag}"),
        format!("\"x\", {tag}"),
        format!("{}-gzip\"", tag.trim_end_matches('"')),
    ] {
        let again = shop
            .request("GET", "_table/customer/1")
            .header(&IF_NONE_MATCH, &sent)
            .send()
            .await;
        assert_eq!(again.status, 304, "{sent}");
        assert_eq!(again.header(&ETAG), tag);
        assert_eq!(again.text(), "");
    }
    let other = shop
        .request("GET", "_table/customer/2")
        .header(&IF_NONE_MATCH, &tag)
        .send()
        .await;
    assert_eq!(other.status, 200);
}

async fn an_entity_tag_does_not_depend_on_fields(tester: Tester) {
    let shop = tester.shop().await;
    let all = shop.get("_table/customer/1").await;
    for fields in ["id", "email,id", "region", "*"] {
        let some = shop
            .get(&format!("_table/customer/1?fields={fields}"))
            .await;
        assert_eq!(some.header(&ETAG), all.header(&ETAG), "{fields}");
    }
}

async fn an_entity_tag_changes_with_the_record(tester: Tester) {
    let shop = tester.shop().await;
    let before = shop.get("_table/customer/1?fields=id").await;
    shop.patch("_table/customer/1", json!({"region": "east"}))
        .await
        .ok_json();
    let after = shop.get("_table/customer/1?fields=id").await;
    assert_ne!(before.header(&ETAG), after.header(&ETAG));
}

async fn a_read_with_if_match_is_held_to_it(tester: Tester) {
    let shop = tester.shop().await;
    shop.request("GET", "_table/customer/1")
        .header(&IF_MATCH, "\"other\"")
        .send()
        .await
        .refused(412, "precondition_failed");
}

async fn plans_that_are_kept_do_not_mix_up_requests(tester: Tester) {
    let shop = tester.shop().await;
    for _ in 0..3 {
        assert_eq!(ids(&shop, "id = 1").await, [1]);
        assert_eq!(ids(&shop, "id = 2").await, [2]);
        assert_eq!(
            shop.column("_table/tag?order=id&fields=id", "id").await,
            values(json!([1, 2]))
        );
        assert_eq!(
            shop.column("_table/invoice?order=id&fields=id&limit=2", "id")
                .await,
            values(json!([1, 2]))
        );
    }
}

async fn refresh_sees_what_is_new(tester: Tester) {
    let shop = tester.shop().await;
    shop.get("_table/customer?limit=1&refresh=true")
        .await
        .ok_json();
    shop.get("_table?refresh=true").await.ok_json();
    shop.get("_schema/customer?refresh=true").await.ok_json();
}
