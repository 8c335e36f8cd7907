//! Related records: every kind, nested, with their own options.

use http::header::ACCEPT;
use serde_json::{Value, json};

use super::cases;

use super::Words;
use super::driver::{Caller, Tester, allow, deny, with};
use crate::connector::database::options::DatabaseOptions;

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
    relations_of_more_than_one_column_are_followed,
    keys_of_every_type_are_followed,
    pairs_that_a_junction_holds_twice_count_once,
    pages_longer_than_what_is_read_at_once_are_whole,
    a_self_reference_has_a_name_for_each_direction,
    several_relations_to_one_table_have_names_of_their_own,
    related_records_stand_in_every_format,
    a_filter_asks_for_related_records,
    a_filter_on_relations_of_one_table_to_itself_and_twice_to_another_confuses_nothing,
    a_filter_on_relations_is_no_way_around_a_role,
    a_filter_on_relations_chooses_what_is_written_and_what_is_embedded,
    filters_on_relations_are_bounded,
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

async fn relations_of_more_than_one_column_are_followed(tester: Tester) {
    let Words { integer, text, .. } = tester.words();
    let stock = tester
        .open(&[
            format!(
                "CREATE TABLE place (aisle {integer} NOT NULL, shelf {integer} NOT NULL, label {text}, \
                 PRIMARY KEY (aisle, shelf))"
            ),
            format!(
                "CREATE TABLE box (id {integer} PRIMARY KEY, aisle {integer}, shelf {integer}, \
                 FOREIGN KEY (aisle, shelf) REFERENCES place (aisle, shelf))"
            ),
            "INSERT INTO place VALUES (1, 11, 'a'), (11, 1, 'b')".to_owned(),
            "INSERT INTO box VALUES (1, 1, 11), (2, 11, 1), (3, 1, 11), (4, 1, NULL), (5, NULL, NULL)"
                .to_owned(),
        ])
        .await;
    let boxes = stock
        .get("_table/box?fields=id&order=id&related=place_by_aisle_shelf&place_by_aisle_shelf.fields=label")
        .await
        .column("place_by_aisle_shelf");
    assert_eq!(
        Value::Array(boxes),
        json!([{"label": "a"}, {"label": "b"}, {"label": "a"}, null, null])
    );
    let places = stock
        .get(
            "_table/place?fields=label&order=label&related=box_by_aisle_shelf\
             &box_by_aisle_shelf.fields=id&box_by_aisle_shelf.order=id%20desc",
        )
        .await
        .column("box_by_aisle_shelf");
    assert_eq!(
        Value::Array(places),
        json!([[{"id": 3}, {"id": 1}], [{"id": 2}]])
    );
}

async fn keys_of_every_type_are_followed(tester: Tester) {
    let words = tester.words();
    let uuid = |digit: &str| format!("'{0}{0}-{0}-{0}-{0}-{0}{0}{0}'", digit.repeat(4));
    for (kind, [one, two]) in [
        (
            words.big_integer,
            ["9007199254740993".to_owned(), "9007199254740992".to_owned()],
        ),
        (words.money, ["1.50".to_owned(), "15.00".to_owned()]),
        (words.text, ["'a,''b\"'".to_owned(), "'A,''b\"'".to_owned()]),
        (words.uuid, [uuid("1"), uuid("a")]),
        (
            words.date,
            ["'2024-02-29'".to_owned(), "'2024-03-01'".to_owned()],
        ),
    ] {
        let database = tester
            .open(&[
                format!("CREATE TABLE parent (id {kind} NOT NULL PRIMARY KEY)"),
                format!(
                    "CREATE TABLE child (number {} PRIMARY KEY, parent {kind} REFERENCES parent (id))",
                    words.integer
                ),
                format!("INSERT INTO parent VALUES ({one}), ({two})"),
                format!("INSERT INTO child VALUES (1, {one}), (2, {two}), (3, NULL), (4, {one})"),
            ])
            .await;
        let document = database
            .get("_table/child?order=number&related=parent_by_parent")
            .await
            .ok_json();
        for child in document["resource"].as_array().unwrap() {
            assert_eq!(
                child["parent"], child["parent_by_parent"]["id"],
                "{kind}: {document}"
            );
        }
        let numbers = |parent: &Value| -> Vec<Value> {
            let children = parent["child_by_parent"].as_array().unwrap();
            children
                .iter()
                .map(|child| child["number"].clone())
                .collect()
        };
        let document = database
            .get("_table/parent?related=child_by_parent&child_by_parent.order=number")
            .await
            .ok_json();
        let mut owned: Vec<Vec<Value>> = document["resource"]
            .as_array()
            .unwrap()
            .iter()
            .map(numbers)
            .collect();
        owned.sort_by_key(Vec::len);
        assert_eq!(json!(owned), json!([[2], [1, 4]]), "{kind}: {document}");
    }
}

async fn pairs_that_a_junction_holds_twice_count_once(tester: Tester) {
    let Words { integer, .. } = tester.words();
    let database = tester
        .open(&[
            format!("CREATE TABLE post (id {integer} NOT NULL PRIMARY KEY)"),
            format!("CREATE TABLE topic (id {integer} NOT NULL PRIMARY KEY)"),
            format!(
                "CREATE TABLE post_topic (id {integer} NOT NULL PRIMARY KEY, \
                 post_id {integer} REFERENCES post (id), topic_id {integer} REFERENCES topic (id))"
            ),
            "INSERT INTO post VALUES (1), (2)".to_owned(),
            "INSERT INTO topic VALUES (7), (8)".to_owned(),
            "INSERT INTO post_topic VALUES (1, 1, 7), (2, 1, 7), (3, 1, 8), (4, 2, 7), (5, 2, NULL)"
                .to_owned(),
        ])
        .await;
    let topics = database
        .get("_table/post?order=id&related=topic_by_post_topic&topic_by_post_topic.order=id")
        .await
        .column("topic_by_post_topic");
    assert_eq!(
        Value::Array(topics),
        json!([[{"id": 7}, {"id": 8}], [{"id": 7}]])
    );
}

/// More than twice as many parents as are read at once, where the gateway puts related records into place.
const MANY: usize = 1_203;

async fn pages_longer_than_what_is_read_at_once_are_whole(tester: Tester) {
    let Words {
        integer,
        text,
        date_time,
        ..
    } = tester.words();
    let list = |row: fn(usize) -> String| (1..=MANY).map(row).collect::<Vec<_>>().join(", ");
    let options = DatabaseOptions {
        max_records: 5_000,
        ..DatabaseOptions::default()
    };
    let database = tester
        .open_with(
            &[
                format!(
                    "CREATE TABLE node (id {integer} NOT NULL PRIMARY KEY, half {integer} REFERENCES node (id), \
                     word {text}, moment {date_time})"
                ),
                format!(
                    "INSERT INTO node VALUES {}",
                    list(|id| {
                        let half = match id / 2 {
                            0 => "NULL".to_owned(),
                            half => half.to_string(),
                        };
                        let word = match id % 3 {
                            0 => "NULL".to_owned(),
                            rest => format!("'w{rest}'"),
                        };
                        let minute = id % 60;
                        format!("({id}, {half}, {word}, '2024-01-01 00:{minute:02}:00')")
                    })
                ),
            ],
            options,
        )
        .await;
    for order in [
        "id",
        "id desc",
        "word",
        "word desc nulls last, id desc",
        "moment desc",
    ] {
        let options = [
            ("fields", "id,half"),
            ("order", order),
            ("related", "node_by_half,node_by_half_children"),
            ("node_by_half.fields", "id"),
            ("node_by_half_children.fields", "id"),
        ];
        let plain = database
            .get(&with("_table/node", &options[..2]))
            .await
            .column("id");
        for limit in ["0", "500", "501", "1000"] {
            let page = [&options[..], &[("limit", limit)]].concat();
            let answer = database.get(&with("_table/node", &page)).await;
            let wanted = match limit.parse() {
                Ok(0) | Err(_) => MANY,
                Ok(limit) => limit,
            };
            assert_eq!(
                answer.column("id"),
                plain[..wanted],
                "{order}, limit {limit}"
            );
            let document = answer.json();
            assert_eq!(
                document["meta"]["next"].is_number(),
                wanted < MANY,
                "{order}"
            );
            for node in document["resource"].as_array().unwrap() {
                let id = usize::try_from(node["id"].as_u64().unwrap()).unwrap();
                let parent = if id > 1 {
                    json!({"id": id / 2})
                } else {
                    Value::Null
                };
                assert_eq!(node["node_by_half"], parent, "{order}");
                let children: Vec<Value> = [2 * id, 2 * id + 1]
                    .into_iter()
                    .filter(|child| *child <= MANY)
                    .map(|child| json!({"id": child}))
                    .collect();
                assert_eq!(node["node_by_half_children"], json!(children), "{order}");
            }
        }
    }
}

async fn a_self_reference_has_a_name_for_each_direction(tester: Tester) {
    let Words { integer, text, .. } = tester.words();
    let staff = tester
        .open(&[
            format!(
                "CREATE TABLE employee (id {integer} NOT NULL PRIMARY KEY, name {text} NOT NULL, \
                 manager_id {integer} REFERENCES employee (id))"
            ),
            "INSERT INTO employee VALUES (1, 'Eve', NULL), (2, 'Dan', 1), (3, 'Fay', 1), (4, 'Gus', 3)"
                .to_owned(),
        ])
        .await;
    staff
        .get(
            "_table/employee/3?fields=name&related=employee_by_manager_id,employee_by_manager_id_children\
             &employee_by_manager_id.fields=name&employee_by_manager_id_children.fields=name",
        )
        .await
        .is(&json!({
            "name": "Fay",
            "employee_by_manager_id": {"name": "Eve"},
            "employee_by_manager_id_children": [{"name": "Gus"}],
        }));
}

async fn several_relations_to_one_table_have_names_of_their_own(tester: Tester) {
    let Words { integer, text, .. } = tester.words();
    let flights = tester
        .open(&[
            format!("CREATE TABLE town (id {integer} NOT NULL PRIMARY KEY, name {text})"),
            format!(
                "CREATE TABLE flight (id {integer} NOT NULL PRIMARY KEY, \
                 start_id {integer} REFERENCES town (id), end_id {integer} REFERENCES town (id))"
            ),
            "INSERT INTO town VALUES (1, 'Oslo'), (2, 'Bergen')".to_owned(),
            "INSERT INTO flight VALUES (1, 1, 2), (2, 2, 1), (3, 1, 1)".to_owned(),
        ])
        .await;
    flights
        .get(
            "_table/flight/1?fields=id&related=town_by_start_id,town_by_end_id\
             &town_by_start_id.fields=name&town_by_end_id.fields=name",
        )
        .await
        .is(&json!({
            "id": 1,
            "town_by_start_id": {"name": "Oslo"},
            "town_by_end_id": {"name": "Bergen"},
        }));
    flights
        .get(
            "_table/town/1?fields=name&related=flight_by_start_id,flight_by_end_id,town_by_flight\
             &flight_by_start_id.fields=id&flight_by_end_id.fields=id&town_by_flight.fields=id\
             &flight_by_start_id.order=id&flight_by_end_id.order=id&town_by_flight.order=id",
        )
        .await
        .is(&json!({
            "name": "Oslo",
            "flight_by_start_id": [{"id": 1}, {"id": 3}],
            "flight_by_end_id": [{"id": 2}, {"id": 3}],
            "town_by_flight": [{"id": 1}, {"id": 2}],
        }));
}

async fn related_records_stand_in_every_format(tester: Tester) {
    let shop = tester.shop().await;
    let target = "_table/invoice?fields=id&order=id&limit=1&related=customer_by_customer_id,tag_by_invoice_tag\
                  &customer_by_customer_id.fields=id&tag_by_invoice_tag.fields=label";
    let get = async |format: &str| {
        let request = shop.request("GET", target).header(&ACCEPT, format);
        request.send().await.ok_text().to_owned()
    };
    let line = get("application/x-ndjson").await;
    assert_eq!(line.lines().count(), 1, "{line}");
    let record: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(record["customer_by_customer_id"], json!({"id": 1}));
    let csv = get("text/csv").await;
    let mut reader = csv::Reader::from_reader(csv.as_bytes());
    let row = reader.records().next().unwrap().unwrap();
    let tags: Value = serde_json::from_str(&row[2]).unwrap();
    assert_eq!(tags, json!([{"label": "urgent"}, {"label": "paid"}]));
    let xml = get("application/xml").await;
    assert!(
        xml.contains("<customer_by_customer_id>") && xml.contains("<label>paid</label>"),
        "{xml}"
    );
}

async fn a_filter_asks_for_related_records(tester: Tester) {
    let shop = tester.shop().await;
    for (table, filter, expected) in [
        ("customer", "EXISTS invoice_by_customer_id()", "1,3"),
        ("customer", "NOT EXISTS invoice_by_customer_id()", "2,4"),
        ("customer", "NOT EXISTS invoice_by_customer_id", "2,4"),
        ("customer", "exists invoice_by_customer_id(total > 10)", "1"),
        ("customer", "invoice_by_customer_id.total > 10", "1"),
        (
            "customer",
            "EXISTS invoice_by_customer_id(total < 8 AND NOT number STARTS WITH 'A')",
            "3",
        ),
        (
            "customer",
            "invoice_by_customer_id.total < 8 AND invoice_by_customer_id.number STARTS WITH 'A'",
            "1",
        ),
        (
            "customer",
            "region = 'south' OR invoice_by_customer_id.number = 'B-1'",
            "2,3",
        ),
        ("customer", "profile_by_customer_id.bio = 'first'", "1"),
        (
            "invoice",
            "customer_by_customer_id.region = 'north'",
            "1,2,3,4",
        ),
        (
            "invoice",
            "NOT customer_by_customer_id.region = 'north'",
            "5",
        ),
        ("invoice", "customer_by_customer_id.credit IS NULL", ""),
        ("invoice", "NOT EXISTS customer_by_customer_id()", "5"),
        ("invoice", "tag_by_invoice_tag.label = 'urgent'", "1"),
        (
            "invoice",
            "EXISTS tag_by_invoice_tag(label IN ('paid')) AND id > 1",
            "2",
        ),
        ("invoice", "NOT EXISTS tag_by_invoice_tag()", "3,4,5"),
        (
            "tag",
            "invoice_by_invoice_tag.customer_by_customer_id.email CONTAINS 'ann'",
            "1,2",
        ),
        (
            "tag",
            "EXISTS invoice_by_invoice_tag(EXISTS customer_by_customer_id(region = 'north') AND total > 15)",
            "2",
        ),
        (
            "customer",
            "EXISTS \"INVOICE_by_customer_id\"(\"line_by_invoice_id.product\" = 'bolt')",
            "1",
        ),
    ] {
        let target = with(
            &format!("_table/{table}"),
            &[("filter", filter), ("fields", "id"), ("order", "id")],
        );
        let found: Vec<String> = shop
            .column(&target, "id")
            .await
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(found.join(","), expected, "{filter}");
        let target = with(
            &format!("_table/{table}"),
            &[("filter", filter), ("count_only", "true")],
        );
        assert_eq!(shop.get(&target).await.ok_json(), found.len(), "{filter}");
    }
    for (filter, kind) in [
        ("EXISTS invoice_by_customer(total > 1)", "unknown_relation"),
        ("invoice_by_customer.total > 1", "unknown_field"),
        ("invoice_by_customer_id.sum > 1", "unknown_field"),
        (
            "EXISTS invoice_by_customer_id(region = 'north')",
            "unknown_field",
        ),
        (
            "EXISTS invoice_by_customer_id(total > 'x')",
            "invalid_value",
        ),
        ("EXISTS invoice_by_customer_id(total > 1", "invalid_filter"),
        ("EXISTS (SELECT 1)", "invalid_filter"),
    ] {
        shop.filtered("customer", filter).await.refused(400, kind);
    }
}

async fn a_filter_on_relations_of_one_table_to_itself_and_twice_to_another_confuses_nothing(
    tester: Tester,
) {
    let Words { integer, text, .. } = tester.words();
    let staff = tester
        .open(&[
            format!("CREATE TABLE town (id {integer} NOT NULL PRIMARY KEY, name {text} NOT NULL)"),
            format!(
                "CREATE TABLE employee (id {integer} NOT NULL PRIMARY KEY, name {text} NOT NULL, \
                 manager_id {integer} REFERENCES employee (id), born_in {integer} REFERENCES town (id), \
                 lives_in {integer} REFERENCES town (id))"
            ),
            "INSERT INTO town VALUES (1, 'Oslo'), (2, 'Bergen')".to_owned(),
            "INSERT INTO employee VALUES (1, 'Eve', NULL, 1, 1), (2, 'Dan', 1, 1, 2), (3, 'Fay', 1, 2, 1), \
             (4, 'Gus', 3, 2, 2)"
                .to_owned(),
        ])
        .await;
    for (filter, expected) in [
        ("employee_by_manager_id.name = 'Eve'", vec![2, 3]),
        ("employee_by_manager_id_children.name = 'Gus'", vec![3]),
        (
            "employee_by_manager_id.employee_by_manager_id.name = 'Eve'",
            vec![4],
        ),
        (
            "NOT EXISTS employee_by_manager_id_children() AND EXISTS employee_by_manager_id(name = 'Eve')",
            vec![2],
        ),
        (
            "town_by_born_in.name = 'Oslo' AND town_by_lives_in.name = 'Bergen'",
            vec![2],
        ),
        (
            "EXISTS town_by_born_in(EXISTS employee_by_lives_in(name = 'Gus'))",
            vec![3, 4],
        ),
    ] {
        let target = with("_table/employee", &[("filter", filter), ("order", "id")]);
        let found = staff.column(&target, "id").await;
        assert_eq!(json!(found), json!(expected), "{filter}");
    }
}

async fn a_filter_on_relations_is_no_way_around_a_role(tester: Tester) {
    let shop = tester.shop().await;
    let ids = async |caller: &Caller, table: &str, filter: &str| {
        let target = with(
            &format!("_table/{table}"),
            &[("filter", filter), ("fields", "id"), ("order", "id")],
        );
        json!(caller.column(&target, "id").await)
    };
    let denied = shop.with_role(&[
        allow("_table/*", &["GET"]),
        deny("_table/customer/*", &["GET"]),
        deny("_table/invoice_tag/*", &["GET"]),
    ]);
    for filter in [
        "customer_by_customer_id.region = 'north'",
        "EXISTS customer_by_customer_id()",
        "EXISTS tag_by_invoice_tag(label = 'paid')",
        "NOT EXISTS line_by_invoice_id(EXISTS invoice_by_invoice_id(EXISTS customer_by_customer_id()))",
    ] {
        denied
            .filtered("invoice", filter)
            .await
            .refused(403, "forbidden");
    }
    let some = shop.with_role(&[
        allow("_table/*", &["GET"]),
        allow("_table/invoice/*", &["GET"]).filter("total > 8 OR total < 6"),
        allow("_table/invoice_tag/*", &["GET"]).filter("tag_id = 1"),
        allow("_table/customer/*", &["GET"]).fields(&["id", "full_name"]),
    ]);
    assert_eq!(
        ids(&some, "customer", "EXISTS invoice_by_customer_id()").await,
        json!([1]),
        "the only record of customer 3 is not for this role"
    );
    assert_eq!(
        ids(&some, "customer", "invoice_by_customer_id.total = 7").await,
        json!([])
    );
    assert_eq!(
        ids(
            &some,
            "customer",
            "EXISTS invoice_by_customer_id(total = 7 OR total > 0)"
        )
        .await,
        json!([1])
    );
    assert_eq!(
        ids(&some, "tag", "EXISTS invoice_by_invoice_tag()").await,
        json!([1]),
        "the pairs of tag 2 are not for this role"
    );
    for filter in [
        "customer_by_customer_id.email CONTAINS 'ann'",
        "EXISTS customer_by_customer_id(region = 'north')",
        "NOT EXISTS customer_by_customer_id(credit IS NULL)",
    ] {
        some.filtered("invoice", filter)
            .await
            .refused(400, "unknown_field");
    }
    let hidden = shop.with_role(&[
        allow("_table/*", &["GET"]),
        allow("_table/invoice/*", &["GET"]).fields(&["id", "number"]),
    ]);
    hidden
        .filtered("invoice", "EXISTS customer_by_customer_id()")
        .await
        .refused(400, "unknown_relation");
    for (table, filter) in [
        ("invoice", "customer_by_customer_id.id = 1"),
        ("customer", "invoice_by_customer_id.id = 1"),
    ] {
        hidden
            .filtered(table, filter)
            .await
            .refused(400, "unknown_field");
    }
}

async fn a_filter_on_relations_chooses_what_is_written_and_what_is_embedded(tester: Tester) {
    let shop = tester.shop().await;
    let target = with(
        "_table/customer/1",
        &[
            ("fields", "id"),
            ("related", "invoice_by_customer_id"),
            ("invoice_by_customer_id.fields", "number"),
            (
                "invoice_by_customer_id.filter",
                "EXISTS tag_by_invoice_tag(label = 'paid') AND customer_by_customer_id.region = 'north'",
            ),
            ("invoice_by_customer_id.order", "number"),
        ],
    );
    shop.get(&target)
        .await
        .is(&json!({"id": 1, "invoice_by_customer_id": [{"number": "A-1"}, {"number": "A-2"}]}));
    let unread = with(
        "_table/customer",
        &[("filter", "NOT EXISTS invoice_by_customer_id()")],
    );
    let changed = shop
        .patch(&unread, json!({"resource": [{"region": "none"}]}))
        .await;
    assert_eq!(changed.ok_json()["resource"].as_array().unwrap().len(), 2);
    assert_eq!(
        shop.column("_table/customer?order=id", "region").await,
        [json!("north"), json!("none"), json!("north"), json!("none")]
    );
    let lines = with(
        "_table/line",
        &[(
            "filter",
            "invoice_by_invoice_id.customer_by_customer_id.id = 1 AND quantity < 5",
        )],
    );
    let removed = shop.delete(&lines).await;
    assert_eq!(removed.ok_json()["resource"].as_array().unwrap().len(), 2);
    assert_eq!(shop.count("line").await, 1);
}

async fn filters_on_relations_are_bounded(tester: Tester) {
    let shop = tester.shop().await;
    let there_and_back = |steps: usize| {
        let names = ["invoice_by_customer_id", "customer_by_customer_id"];
        let path: Vec<&str> = (0..steps).map(|step| names[step % 2]).collect();
        format!("{}.id = 1", path.join("."))
    };
    assert_eq!(
        shop.filtered("customer", &there_and_back(5))
            .await
            .column("id"),
        [1]
    );
    shop.filtered("customer", &there_and_back(6))
        .await
        .refused(400, "invalid_filter");
    let many = vec!["invoice_by_customer_id.id = 1"; 101].join(" OR ");
    shop.filtered("customer", &many)
        .await
        .refused(400, "invalid_filter");
}

#[cfg(all(test, feature = "sqlite"))]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::connector::database::sqlite::contract::SqliteProduct;

    #[tokio::test(flavor = "multi_thread")]
    async fn records_put_into_place_look_as_if_the_database_had_embedded_them() {
        let folder = tempfile::tempdir().unwrap();
        let product = || SqliteProduct::new(folder.path().to_owned());
        let embedded = Tester::new(Arc::new(product())).shop().await;
        let other = tempfile::tempdir_in(folder.path()).unwrap();
        let stitched = SqliteProduct::new(other.path().to_owned()).stitching();
        let stitched = Tester::new(Arc::new(stitched)).shop().await;
        for query in [
            "customer?related=*",
            "customer?related=*&order=region%20desc&limit=2",
            "customer?related=*&order=full_name&limit=2&offset=1&include_count=true",
            "customer/1?related=*",
            "customer/2?related=profile_by_customer_id&fields=email",
            "customer/99?related=*",
            "customer?ids=4,1&related=*",
            "customer?ids=4,77&related=*",
            "customer?filter=id%3D77&related=*",
            "customer?related=invoice_by_customer_id.line_by_invoice_id,invoice_by_customer_id.tag_by_invoice_tag",
            "customer?related=invoice_by_customer_id.customer_by_customer_id.invoice_by_customer_id&fields=id",
            "customer?related=invoice_by_customer_id&invoice_by_customer_id.limit=1&invoice_by_customer_id.offset=1",
            "customer?related=invoice_by_customer_id&invoice_by_customer_id.order=total%20desc&fields=",
            "invoice?related=*,customer_by_customer_id.*",
            "invoice?related=tag_by_invoice_tag&tag_by_invoice_tag.filter=label%3D'paid'&order=-id",
            "line?related=*",
            "tag?related=*&fields=label",
        ] {
            for format in [
                "application/json",
                "application/x-ndjson",
                "text/csv",
                "application/xml",
            ] {
                let target = format!("_table/{query}");
                let [left, right] = [&embedded, &stitched].map(|caller| {
                    let request = caller.request("GET", &target);
                    request.header(&ACCEPT, format).send()
                });
                let (left, right) = (left.await, right.await);
                assert_eq!(
                    (left.status, left.text()),
                    (right.status, right.text()),
                    "{target} as {format}"
                );
                assert_eq!(left.headers, right.headers, "{target} as {format}");
            }
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn more_than_there_is_room_for_is_taken_in_halves() {
        let folder = tempfile::tempdir().unwrap();
        let product = SqliteProduct::new(folder.path().to_owned()).stitching();
        let database = Tester::new(Arc::new(product))
            .open(&[
                "CREATE TABLE parent (id INTEGER PRIMARY KEY)".to_owned(),
                "CREATE TABLE child (id INTEGER PRIMARY KEY, parent_id INTEGER REFERENCES parent, text TEXT)"
                    .to_owned(),
                "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 37) \
                 INSERT INTO parent SELECT i FROM n"
                    .to_owned(),
                "INSERT INTO child (parent_id, text) SELECT parent.id, printf('%.*c', 200000, 'x') \
                 FROM parent, (SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3)"
                    .to_owned(),
            ])
            .await;
        let document = database
            .get("_table/parent?related=child_by_parent_id.parent_by_parent_id")
            .await
            .ok_json();
        let parents = document["resource"].as_array().unwrap();
        assert_eq!(parents.len(), 37);
        for parent in parents {
            let children = parent["child_by_parent_id"].as_array().unwrap();
            assert_eq!(children.len(), 3);
            for child in children {
                assert_eq!(child["parent_by_parent_id"]["id"], parent["id"]);
                assert_eq!(child["text"].as_str().unwrap().len(), 200_000);
            }
        }
    }
}
