//! Relations that lead to another service: read with the rights that the caller has there.

use http::header::ACCEPT;
use serde_json::{Value, json};

use super::driver::{ALL, Caller, Row, Tester, allow, deny, with};
use super::{Words, cases, shop};
use crate::connector::database::options::DatabaseOptions;

cases![
    records_of_another_service_are_embedded,
    keys_of_different_types_meet,
    limits_hold_for_each_parent_of_another_service,
    the_far_side_of_a_junction_may_be_in_another_service,
    relations_lead_there_and_back,
    the_way_back_shows_what_a_write_has_just_written,
    keys_that_the_database_takes_for_equal_share_their_records if passes_over_case => "its collation tells letters apart",
    keys_that_the_database_tells_apart_share_nothing,
    the_rights_there_decide_what_is_read_there,
    a_star_leaves_out_services_that_may_not_be_read,
    what_is_read_along_unasked_may_be_in_another_service,
    a_filter_does_not_follow_a_relation_to_another_service,
    a_relation_to_what_is_not_there_says_so,
    the_answer_of_a_write_embeds_records_of_another_service,
    records_of_another_service_stand_in_every_format,
];

fn options(said: &Value) -> DatabaseOptions {
    serde_json::from_value(json!({ "table": said })).unwrap()
}

fn shop_relations() -> Value {
    json!({
        "customer": {"relation": [
            {"name": "tickets", "kind": "has_many", "column": "id", "service": "desk", "table": "ticket",
             "ref_column": "requester"},
            {"name": "desk_badges", "kind": "many_many", "column": "id", "service": "desk", "table": "badge",
             "ref_column": "id",
             "junction": {"table": "holder", "column": "customer_id", "ref_column": "badge"}},
            {"name": "account", "kind": "has_one", "column": "email", "service": "desk", "table": "account",
             "ref_column": "email"},
        ]},
        "invoice": {"relation": [
            {"name": "sheet", "kind": "belongs_to", "column": "number", "service": "desk", "table": "sheet",
             "ref_column": "number"},
        ]},
    })
}

fn desk_relations() -> Value {
    json!({"ticket": {"relation": [
        {"name": "asked_by", "kind": "belongs_to", "column": "requester", "service": "shop", "table": "customer",
         "ref_column": "id"},
    ]}})
}

fn desk(words: &Words) -> Vec<String> {
    let Words {
        auto_key,
        integer,
        text,
        ..
    } = words;
    vec![
        // What is a number there is a text here.
        format!("CREATE TABLE ticket (id {auto_key}, requester {text}, title {text} NOT NULL)"),
        format!("CREATE TABLE note (id {auto_key}, ticket_id {integer} REFERENCES ticket (id), body {text})"),
        format!("CREATE TABLE badge (id {integer} NOT NULL PRIMARY KEY, label {text} NOT NULL)"),
        format!("CREATE TABLE account (id {auto_key}, email {text} NOT NULL UNIQUE, secret {text})"),
        format!("CREATE TABLE sheet (number {text}, page {integer} NOT NULL PRIMARY KEY)"),
        "INSERT INTO ticket (requester, title) VALUES ('1', 'one'), ('1', 'two'), ('3', 'three'), (NULL, 'four'), \
         ('1', 'five'), ('x', 'six')"
            .to_owned(),
        "INSERT INTO note (ticket_id, body) VALUES (1, 'a'), (1, 'b'), (3, 'c')".to_owned(),
        "INSERT INTO badge (id, label) VALUES (7, 'tin'), (8, 'gold'), (9, 'iron')".to_owned(),
        "INSERT INTO account (email, secret) VALUES ('ann@example.org', 's1'), ('cy@example.org', 's2')".to_owned(),
        "INSERT INTO sheet (number, page) VALUES ('A-1', 11), ('B-1', 12)".to_owned(),
    ]
}

/// The shop, whose service is called `shop`, beside the desk.
async fn both(tester: &Tester) -> (Caller, Caller) {
    let words = tester.words();
    let Words { integer, text, .. } = words;
    let mut statements = shop(&words);
    statements.extend([
        format!("CREATE TABLE holder (customer_id {integer}, badge {text})"),
        "INSERT INTO holder VALUES (1, '8'), (1, '7'), (1, '7'), (3, '7'), (3, '99'), (2, NULL), (4, '9')".to_owned(),
    ]);
    (
        tester
            .open_with(&statements, options(&shop_relations()))
            .await,
        tester
            .open_with(&desk(&words), options(&desk_relations()))
            .await,
    )
}

/// The shop among its neighbours.
async fn open(tester: &Tester) -> Caller {
    let (shop, desk) = both(tester).await;
    shop.among(&[("desk", &desk), ("shop", &shop)])
}

async fn records_of_another_service_are_embedded(tester: Tester) {
    let shop = open(&tester).await;
    shop.get(
        "_table/customer?fields=id&order=id&related=tickets,account&tickets.fields=title&tickets.order=id\
         &account.fields=email",
    )
    .await
    .is(&json!({"resource": [
        {"id": 1, "tickets": [{"title": "one"}, {"title": "two"}, {"title": "five"}],
         "account": {"email": "ann@example.org"}},
        {"id": 2, "tickets": [], "account": null},
        {"id": 3, "tickets": [{"title": "three"}], "account": {"email": "cy@example.org"}},
        {"id": 4, "tickets": [], "account": null},
    ]}));
    shop.get("_table/invoice/1?fields=id&related=sheet")
        .await
        .is(&json!({"id": 1, "sheet": {"number": "A-1", "page": 11}}));
    shop.get("_table/invoice/2?fields=id&related=sheet,customer_by_customer_id&customer_by_customer_id.fields=id")
        .await
        .is(&json!({"id": 2, "sheet": null, "customer_by_customer_id": {"id": 1}}));
    // A relation within the service that leads to one without is no obstacle.
    let nested = shop
        .get(
            "_table/invoice?ids=4,5&fields=id&related=customer_by_customer_id.tickets\
             &customer_by_customer_id.fields=region&customer_by_customer_id.tickets.fields=title",
        )
        .await;
    nested.is(&json!({"resource": [
        {"id": 4, "customer_by_customer_id": {"region": "north", "tickets": [{"title": "three"}]}},
        {"id": 5, "customer_by_customer_id": null},
    ]}));
}

async fn keys_of_different_types_meet(tester: Tester) {
    let shop = open(&tester).await;
    // Texts that are no numbers belong to nobody, and hurt nobody.
    let target = "_table/customer?fields=id&order=id&related=tickets&tickets.filter=title%3D'six'";
    let found = shop.column(target, "tickets").await;
    assert_eq!(found, vec![json!([]); 4]);
}

async fn limits_hold_for_each_parent_of_another_service(tester: Tester) {
    let shop = open(&tester).await;
    let tickets = async |more: &str| {
        let target =
            format!("_table/customer?ids=1,3&fields=id&related=tickets&tickets.fields=id{more}");
        json!(shop.column(&target, "tickets").await)
    };
    assert_eq!(
        tickets("&tickets.order=id%20desc&tickets.limit=1").await,
        json!([[{"id": 5}], [{"id": 3}]])
    );
    assert_eq!(
        tickets("&tickets.order=id&tickets.limit=1&tickets.offset=1").await,
        json!([[{"id": 2}], []])
    );
    assert_eq!(
        tickets("&tickets.filter=title%20CONTAINS%20'o'&tickets.order=id").await,
        json!([[{"id": 1}, {"id": 2}], []])
    );
}

async fn the_far_side_of_a_junction_may_be_in_another_service(tester: Tester) {
    let shop = open(&tester).await;
    let badges = async |more: &str| {
        let target = format!(
            "_table/customer?fields=id&order=id&related=desk_badges&desk_badges.fields=label{more}"
        );
        json!(shop.column(&target, "desk_badges").await)
    };
    assert_eq!(
        badges("&desk_badges.order=label").await,
        json!([[{"label": "gold"}, {"label": "tin"}], [], [{"label": "tin"}], [{"label": "iron"}]])
    );
    assert_eq!(
        badges("&desk_badges.order=label%20desc&desk_badges.limit=1").await,
        json!([[{"label": "tin"}], [], [{"label": "tin"}], [{"label": "iron"}]])
    );
    assert_eq!(
        badges("&desk_badges.order=label&desk_badges.offset=1").await,
        json!([[{"label": "tin"}], [], [], []])
    );
    assert_eq!(
        badges("&desk_badges.filter=label!%3D'tin'").await,
        json!([[{"label": "gold"}], [], [], [{"label": "iron"}]])
    );
}

async fn relations_lead_there_and_back(tester: Tester) {
    let shop = open(&tester).await;
    shop.get(
        "_table/customer/3?fields=id&related=tickets.note_by_ticket_id,tickets.asked_by.invoice_by_customer_id\
         &tickets.fields=title&tickets.note_by_ticket_id.fields=body&tickets.asked_by.fields=email\
         &tickets.asked_by.invoice_by_customer_id.fields=number",
    )
    .await
    .is(&json!({"id": 3, "tickets": [{
        "title": "three",
        "note_by_ticket_id": [{"body": "c"}],
        "asked_by": {"email": "cy@example.org", "invoice_by_customer_id": [{"number": "B-1"}]},
    }]}));
    let path = ["tickets", "asked_by"].repeat(3).join(".");
    shop.get(&format!("_table/customer/3?related={path}"))
        .await
        .refused(400, "invalid_parameter");
}

async fn the_way_back_shows_what_a_write_has_just_written(tester: Tester) {
    let shop = open(&tester).await;
    shop.patch(
        "_table/customer/3?fields=region&related=tickets.asked_by&tickets.fields=title&tickets.asked_by.fields=region",
        json!({"region": "west"}),
    )
    .await
    .is(&json!({"region": "west", "tickets": [{"title": "three", "asked_by": {"region": "west"}}]}));
}

/// A text that the product compares without case, and whether it passes over accents too; none where it is not known.
fn loose_text(words: &Words) -> Option<(&'static str, bool)> {
    match words.product {
        "mysql" | "mariadb" | "odbc-mariadb" => Some((
            "varchar(100) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci",
            true,
        )),
        "sqlite" | "sqlite stitched" => Some(("text COLLATE NOCASE", false)),
        _ => None,
    }
}

fn passes_over_case(words: &Words) -> bool {
    loose_text(words).is_some()
}

/// Parents whose keys differ in what a collation may pass over, and children in another service: plain ones, and
/// some behind a junction.
async fn alike(tester: &Tester, text: &str) -> Caller {
    let words = tester.words();
    let Words { integer, .. } = words;
    let said = json!({"country": {"relation": [
        {"name": "cities", "kind": "has_many", "column": "code", "service": "desk", "table": "city",
         "ref_column": "country"},
        {"name": "tongues", "kind": "many_many", "column": "code", "service": "desk", "table": "tongue",
         "ref_column": "name",
         "junction": {"table": "spoken", "column": "country", "ref_column": "tongue"}},
    ]}});
    let shop = [
        format!("CREATE TABLE country (id {integer} NOT NULL PRIMARY KEY, code {text})"),
        format!("CREATE TABLE spoken (country {text}, tongue {text})"),
        "INSERT INTO country (id, code) VALUES (1, 'de'), (2, 'DE'), (3, 'fr'), (4, 'ete'), (5, 'it')".to_owned(),
        "INSERT INTO spoken VALUES ('De', 'deutsch'), ('DE', 'DEUTSCH'), ('fr', 'français')".to_owned(),
    ];
    let desk = [
        format!("CREATE TABLE city (id {integer} NOT NULL PRIMARY KEY, country {text})"),
        format!("CREATE TABLE tongue (id {integer} NOT NULL PRIMARY KEY, name {text})"),
        "INSERT INTO city (id, country) VALUES (1, 'DE'), (2, 'Fr'), (3, 'été'), (4, 'it')"
            .to_owned(),
        "INSERT INTO tongue (id, name) VALUES (1, 'DEUTSCH'), (2, 'Francais')".to_owned(),
    ];
    let shop = tester.open_with(&shop, options(&said)).await;
    let desk = tester.open(&desk).await;
    shop.among(&[("desk", &desk)])
}

async fn related_ids(caller: &Caller, relation: &str) -> Value {
    let target =
        format!("_table/country?fields=id&order=id&related={relation}&{relation}.fields=id");
    let found = caller.column(&target, relation).await;
    found
        .iter()
        .map(|records| {
            let ids = records.as_array().unwrap().iter();
            ids.map(|record| record["id"].clone()).collect::<Value>()
        })
        .collect()
}

async fn keys_that_the_database_takes_for_equal_share_their_records(tester: Tester) {
    let words = tester.words();
    let Some((text, passes_over_accents)) = loose_text(&words) else {
        return;
    };
    let shop = alike(&tester, text).await;
    let accented = |id: u64| {
        if passes_over_accents {
            json!([id])
        } else {
            json!([])
        }
    };
    assert_eq!(
        related_ids(&shop, "cities").await,
        json!([[1], [1], [2], accented(3), [4]])
    );
    assert_eq!(
        related_ids(&shop, "tongues").await,
        json!([[1], [1], accented(2), [], []])
    );
}

async fn keys_that_the_database_tells_apart_share_nothing(tester: Tester) {
    let words = tester.words();
    let shop = alike(&tester, words.text).await;
    assert_eq!(
        related_ids(&shop, "cities").await,
        json!([[], [1], [], [], [4]])
    );
    assert_eq!(
        related_ids(&shop, "tongues").await,
        json!([[], [1], [], [], []])
    );
}

async fn the_rights_there_decide_what_is_read_there(tester: Tester) {
    let (shop, desk) = both(&tester).await;
    let with_rows = |rows: &[Row]| {
        let there = desk.with_role(rows);
        shop.among(&[("desk", &there), ("shop", &shop)])
    };
    let some = with_rows(&[
        allow("_table/*", &["GET"]),
        allow("_table/ticket/*", &["GET"]).filter("title != 'two'"),
        allow("_table/account/*", &["GET"]).fields(&["id", "email"]),
        allow("_table/badge/*", &["GET"]).filter("label = 'tin'"),
    ]);
    some.get(
        "_table/customer/1?fields=id&related=tickets,account,desk_badges&tickets.fields=title&tickets.order=id\
         &desk_badges.fields=label",
    )
    .await
    .is(&json!({
        "id": 1,
        "tickets": [{"title": "one"}, {"title": "five"}],
        "account": {"id": 1, "email": "ann@example.org"},
        "desk_badges": [{"label": "tin"}],
    }));
    for (options, kind) in [
        (
            vec![("related", "account"), ("account.fields", "secret")],
            "unknown_field",
        ),
        (
            vec![("related", "account"), ("account.filter", "secret = 's1'")],
            "unknown_field",
        ),
        (
            vec![("related", "tickets"), ("tickets.order", "nothing")],
            "unknown_field",
        ),
    ] {
        some.get(&with("_table/customer/1", &options))
            .await
            .refused(400, kind);
    }
    let none = with_rows(&[
        allow("_table/*", &["GET"]),
        deny("_table/ticket/*", &["GET"]),
        allow("_table/account/*", &["GET"]).fields(&["id"]),
    ]);
    none.get("_table/customer?related=tickets")
        .await
        .refused(403, "forbidden");
    none.get("_table/customer?related=account")
        .await
        .refused(400, "unknown_relation");
    none.get("_table/customer?related=desk_badges")
        .await
        .ok_json();
    let nothing = with_rows(&[allow("_schema/*", ALL)]);
    for relation in ["tickets", "account", "desk_badges"] {
        nothing
            .get(&format!("_table/customer?related={relation}"))
            .await
            .refused(403, "forbidden");
    }
    let here = shop
        .with_role(&[
            allow("_table/*", &["GET"]),
            deny("_table/holder/*", &["GET"]),
        ])
        .among(&[("desk", &desk)]);
    here.get("_table/customer?related=desk_badges")
        .await
        .refused(403, "forbidden");
    here.get("_table/customer?related=tickets").await.ok_json();
}

async fn a_star_leaves_out_services_that_may_not_be_read(tester: Tester) {
    let (shop, desk) = both(&tester).await;
    let names = async |caller: &Caller| -> Vec<String> {
        let record = caller
            .get("_table/customer/1?fields=id&related=*")
            .await
            .ok_json();
        record.as_object().unwrap().keys().cloned().collect()
    };
    let all = names(&shop.among(&[("desk", &desk)])).await;
    for name in [
        "tickets",
        "account",
        "desk_badges",
        "invoice_by_customer_id",
    ] {
        assert!(all.iter().any(|known| known == name), "{all:?}");
    }
    let there = desk.with_role(&[allow("_table/account/*", &["GET"])]);
    let some = names(&shop.among(&[("desk", &there)])).await;
    assert!(some.contains(&"account".to_owned()), "{some:?}");
    assert!(!some.contains(&"tickets".to_owned()), "{some:?}");
    let none = names(&shop).await;
    assert!(!none.contains(&"account".to_owned()), "{none:?}");
    assert!(
        none.contains(&"invoice_by_customer_id".to_owned()),
        "{none:?}"
    );
}

async fn what_is_read_along_unasked_may_be_in_another_service(tester: Tester) {
    let words = tester.words();
    let said = json!({"customer": {"relation": [
        {"name": "tickets", "kind": "has_many", "column": "id", "service": "desk", "table": "ticket",
         "ref_column": "requester", "always": true},
    ]}});
    let shop = tester.open_with(&shop(&words), options(&said)).await;
    let desk = tester.open(&desk(&words)).await;
    let together = shop.among(&[("desk", &desk)]);
    let record = together.get("_table/customer/3?fields=id").await.ok_json();
    assert_eq!(record["tickets"][0]["title"], "three", "{record}");
    shop.get("_table/customer/3?fields=id")
        .await
        .is(&json!({"id": 3}));
}

async fn a_filter_does_not_follow_a_relation_to_another_service(tester: Tester) {
    let shop = open(&tester).await;
    for filter in [
        "EXISTS tickets(title = 'one')",
        "tickets.title = 'one'",
        "NOT EXISTS desk_badges",
    ] {
        let error = shop
            .filtered("customer", filter)
            .await
            .refused(400, "invalid_filter");
        assert!(
            error["message"].as_str().unwrap().contains("'desk'"),
            "{error}"
        );
    }
}

async fn a_relation_to_what_is_not_there_says_so(tester: Tester) {
    let said = json!({"customer": {"relation": [
        {"name": "ghosts", "kind": "has_many", "column": "id", "service": "desk", "table": "ghost",
         "ref_column": "requester"},
        {"name": "tickets", "kind": "has_many", "column": "id", "service": "desk", "table": "ticket",
         "ref_column": "nobody"},
        {"name": "nowhere", "kind": "has_many", "column": "id", "service": "gone", "table": "ticket",
         "ref_column": "requester"},
    ]}});
    let words = tester.words();
    let shop = tester.open_with(&shop(&words), options(&said)).await;
    let desk = tester.open(&desk(&words)).await;
    let shop = shop.among(&[("desk", &desk)]);
    for (relation, kind) in [
        ("ghosts", "unknown_table"),
        ("tickets", "unknown_table"),
        ("nowhere", "unknown_service"),
    ] {
        shop.get(&format!("_table/customer?related={relation}"))
            .await
            .refused(404, kind);
    }
    shop.get("_table/customer/1?fields=id")
        .await
        .is(&json!({"id": 1}));
}

async fn the_answer_of_a_write_embeds_records_of_another_service(tester: Tester) {
    let shop = open(&tester).await;
    shop.patch(
        "_table/customer/3?fields=region&related=tickets&tickets.fields=title",
        json!({"region": "west"}),
    )
    .await
    .is(&json!({"region": "west", "tickets": [{"title": "three"}]}));
    let created = shop
        .post(
            "_table/customer?fields=email&related=account,tickets&account.fields=id",
            json!({"resource": [{"email": "x@example.org", "full_name": "X"}]}),
        )
        .await;
    created.is(&json!({"resource": [{"email": "x@example.org", "account": null, "tickets": []}]}));
    shop.post(
        "_table/customer",
        json!({"resource": [{"email": "y@example.org", "full_name": "Y", "tickets": [{"title": "new"}]}]}),
    )
    .await
    .refused(400, "batch_failed");
}

async fn records_of_another_service_stand_in_every_format(tester: Tester) {
    let shop = open(&tester).await;
    let target = "_table/customer?ids=3&fields=id&related=tickets&tickets.fields=title";
    for (format, expected) in [
        (
            "application/json",
            r#"{"resource":[{"id":3,"tickets":[{"title":"three"}]}]}"#,
        ),
        (
            "application/x-ndjson",
            "{\"id\":3,\"tickets\":[{\"title\":\"three\"}]}\n",
        ),
        (
            "text/csv",
            "id,tickets\r\n3,\"[{\"\"title\"\":\"\"three\"\"}]\"\r\n",
        ),
    ] {
        let answer = shop
            .request("GET", target)
            .header(&ACCEPT, format)
            .send()
            .await;
        assert_eq!(answer.ok_text(), expected, "{format}");
    }
    let xml = shop
        .request("GET", target)
        .header(&ACCEPT, "application/xml")
        .send()
        .await;
    assert!(
        xml.ok_text().contains("<title>three</title>"),
        "{}",
        xml.text()
    );
}
