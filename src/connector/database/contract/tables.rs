//! What a manifest says of tables and columns: other names, what is hidden, what may be written, and relations that no
//! foreign key declares.

use serde_json::{Value, json};

use super::driver::{ALL, Caller, Tester, allow, encoded, values, with};
use super::{Words, cases, shop};
use crate::connector::database::options::DatabaseOptions;

cases![
    a_table_is_served_under_its_alias,
    columns_are_served_under_their_aliases,
    roles_use_aliases,
    a_hidden_column_can_not_be_named_anywhere,
    a_hidden_column_does_not_show,
    a_hidden_table_is_not_there,
    a_column_with_the_alias_of_another_is_not_served,
    a_view_with_a_key_has_records_by_identifier,
    a_key_of_the_manifest_widens_no_write,
    read_only_columns_are_not_written,
    create_only_columns_are_written_once,
    defaults_fill_what_a_record_leaves_out,
    the_gateway_sets_columns_whatever_is_sent,
    an_upsert_leaves_what_only_new_records_have,
    values_follow_their_rules,
    broken_rules_say_what_the_manifest_says,
    a_batch_names_the_record_that_breaks_a_rule,
    declared_relations_embed_like_those_of_foreign_keys,
    relations_have_aliases_and_can_be_hidden,
    relations_are_read_along_unasked,
    columns_are_shown_as_what_they_hold,
    descriptions_show_what_the_manifest_says,
    what_the_manifest_names_in_vain_does_no_harm,
];

/// What a batch of new records says when one of them fails.
const NOT_CREATED: &str =
    "Batch Error: Not all requested records could be created. All changes rolled back.";

/// The options with these tables.
fn tables(tables: &Value) -> DatabaseOptions {
    serde_json::from_value(json!({ "table": tables })).unwrap()
}

async fn open(tester: &Tester, said: &Value) -> Caller {
    tester.open_with(&shop(&tester.words()), tables(said)).await
}

/// Two tables that know of each other without a foreign key, and one between them.
fn loose(words: &Words) -> Vec<String> {
    let Words {
        auto_key,
        integer,
        text,
        ..
    } = words;
    vec![
        format!("CREATE TABLE person (id {auto_key}, email {text} NOT NULL)"),
        format!("CREATE TABLE ticket (id {auto_key}, requester {integer}, title {text})"),
        format!("CREATE TABLE badge (id {auto_key}, label {text} NOT NULL)"),
        format!("CREATE TABLE holder (person_ref {integer}, badge_ref {integer})"),
        "INSERT INTO person (email) VALUES ('ann@example.org'), ('bo@example.org')".to_owned(),
        "INSERT INTO ticket (requester, title) VALUES (1, 'one'), (1, 'two'), (NULL, 'three')"
            .to_owned(),
        "INSERT INTO badge (label) VALUES ('gold'), ('tin')".to_owned(),
        "INSERT INTO holder (person_ref, badge_ref) VALUES (1, 1), (1, 2), (2, 2)".to_owned(),
    ]
}

fn loose_relations() -> Value {
    json!({
        "person": {"relation": [
            {"name": "tickets", "kind": "has_many", "column": "id", "table": "ticket", "ref_column": "requester"},
            {"name": "badges", "kind": "many_many", "column": ["id"], "table": "badge", "ref_column": ["id"],
             "junction": {"table": "holder", "column": "person_ref", "ref_column": "badge_ref"}},
        ]},
        "ticket": {"relation": [
            {"name": "asked_by", "kind": "belongs_to", "column": "requester", "table": "person", "ref_column": "id"},
        ]},
    })
}

async fn a_table_is_served_under_its_alias(tester: Tester) {
    let shop = open(&tester, &json!({"customer": {"alias": "Client"}})).await;
    shop.get("_table/Client/1?fields=id")
        .await
        .is(&json!({"id": 1}));
    shop.get("_table/client/1?fields=id")
        .await
        .is(&json!({"id": 1}));
    shop.get("_table/customer")
        .await
        .refused(404, "unknown_table");
    let listed = shop.get("_table?as_list=true").await.ok_json();
    let names = listed["resource"].as_array().unwrap();
    assert!(names.contains(&json!("Client")), "{listed}");
    assert!(!names.contains(&json!("customer")), "{listed}");
    shop.patch("_table/Client/1", json!({"region": "west"}))
        .await
        .is(&json!({"id": 1}));
    // Relations lead to it under the names that they always had.
    shop.get("_table/invoice/1?fields=id&related=customer_by_customer_id&customer_by_customer_id.fields=region")
        .await
        .is(&json!({"id": 1, "customer_by_customer_id": {"region": "west"}}));
}

async fn columns_are_served_under_their_aliases(tester: Tester) {
    let said = json!({"customer": {"column": {
        "id": {"alias": "number"},
        "full_name": {"alias": "Name"},
        "region": {"alias": "se\"lect"},
    }}});
    let shop = open(&tester, &said).await;
    shop.get("_table/customer/1?fields=number,name,email")
        .await
        .is(&json!({"number": 1, "Name": "Ann Berg", "email": "ann@example.org"}));
    let target = with(
        "_table/customer",
        &[
            ("fields", "number"),
            ("filter", "Name LIKE '%i%' AND number > 1"),
            ("order", "Name desc"),
        ],
    );
    assert_eq!(shop.column(&target, "number").await, values(json!([4, 2])));
    let created = shop
        .post(
            "_table/customer?fields=*",
            json!({"resource": [{"email": "ed@example.org", "NAME": "Ed", "se\"lect": "x"}]}),
        )
        .await
        .ok_json();
    let record = &created["resource"][0];
    assert_eq!(
        (&record["number"], &record["Name"], &record["se\"lect"]),
        (&json!(5), &json!("Ed"), &json!("x")),
        "{created}"
    );
    shop.patch("_table/customer/5?fields=Name", json!({"name": "Eddy"}))
        .await
        .is(&json!({"Name": "Eddy"}));
    shop.patch(
        "_table/customer?fields=Name",
        json!({"resource": [{"number": 5, "Name": "Ed"}]}),
    )
    .await
    .is(&json!({"resource": [{"Name": "Ed"}]}));
    for target in [
        "_table/customer?fields=full_name",
        "_table/customer?order=full_name",
        "_table/customer?filter=full_name%3D1",
    ] {
        shop.get(target).await.refused(400, "unknown_field");
    }
    shop.post(
        "_table/customer",
        json!({"resource": [{"email": "x@example.org", "full_name": "X"}]}),
    )
    .await
    .batch(NOT_CREATED);
    shop.get("_table/invoice/1?fields=id&related=customer_by_customer_id&customer_by_customer_id.fields=number,name")
        .await
        .is(&json!({"id": 1, "customer_by_customer_id": {"number": 1, "Name": "Ann Berg"}}));
    shop.delete("_table/customer/5")
        .await
        .is(&json!({"number": 5}));
}

async fn roles_use_aliases(tester: Tester) {
    let said = json!({"customer": {"alias": "client", "column": {"region": {"alias": "area"}}}});
    let shop = open(&tester, &said).await;
    let caller = shop.with_role(&[
        allow("_table/client/*", ALL)
            .filter("area = 'north'")
            .fields(&["id", "area"]),
        allow("_table/customer/*", &["GET"]),
    ]);
    caller
        .get("_table/client?order=id")
        .await
        .is(&json!({"resource": [{"id": 1, "area": "north"}, {"id": 3, "area": "north"}]}));
    caller
        .get("_table/client?fields=email")
        .await
        .refused(400, "unknown_field");
    let caller = shop.with_role(&[allow("_table/customer/*", ALL)]);
    caller.get("_table/client").await.refused(403, "forbidden");
}

fn secretive() -> Value {
    json!({"customer": {"column": {"credit": {"hidden": true}, "email": {"hidden": true}}}})
}

async fn a_hidden_column_can_not_be_named_anywhere(tester: Tester) {
    let shop = open(&tester, &secretive()).await;
    for (option, value) in [
        ("fields", "credit"),
        ("filter", "credit > 1"),
        ("order", "credit"),
        ("group", "credit"),
        ("fields", "SUM(credit)"),
        ("id_field", "email"),
    ] {
        let target = with("_table/customer", &[("ids", "1"), (option, value)]);
        let target = match option {
            "id_field" => target,
            _ => with("_table/customer", &[(option, value)]),
        };
        let error = shop.get(&target).await.refused(400, "unknown_field");
        assert!(!error["help"].to_string().contains("credit"), "{error}");
    }
    shop.patch("_table/customer/1", json!({"credit": 5}))
        .await
        .refused(400, "unknown_field");
    let target = with(
        "_table/invoice",
        &[
            ("related", "customer_by_customer_id"),
            ("customer_by_customer_id.fields", "credit"),
        ],
    );
    shop.get(&target).await.refused(400, "unknown_field");
    // A role's filter cannot name it either, and then nothing is open.
    let caller = shop.with_role(&[allow("_table/*", ALL).filter("credit > 0")]);
    caller
        .get("_table/customer")
        .await
        .refused(403, "forbidden");
}

async fn a_hidden_column_does_not_show(tester: Tester) {
    let shop = open(&tester, &secretive()).await;
    let hidden = |text: &str| {
        assert!(
            !text.contains("credit") && !text.contains("email") && !text.contains("ann@"),
            "{text}"
        );
    };
    hidden(shop.get("_table/customer").await.ok_text());
    hidden(shop.get("_table/customer/1?fields=*").await.ok_text());
    hidden(
        shop.patch("_table/customer/1?fields=*", json!({"region": "x"}))
            .await
            .ok_text(),
    );
    hidden(
        shop.get("_table/invoice/1?related=customer_by_customer_id")
            .await
            .ok_text(),
    );
    hidden(shop.get("_schema/customer").await.ok_text());
    hidden(
        shop.get("_table/customer?include_schema=true&limit=1")
            .await
            .ok_text(),
    );
    shop.get("_schema/customer/_field/credit")
        .await
        .refused(404, "unknown_resource");
    // Two records that differ only there have one tag.
    let shop = open(
        &tester,
        &json!({"tag": {"column": {"label": {"hidden": true}}}}),
    )
    .await;
    shop.get("_table/tag/1").await.is(&json!({"id": 1}));
    // Relations through hidden columns are gone.
    let shop = open(
        &tester,
        &json!({"invoice": {"column": {"customer_id": {"hidden": true}}}}),
    )
    .await;
    shop.get("_table/invoice?related=customer_by_customer_id")
        .await
        .refused(400, "unknown_relation");
    shop.get("_table/customer?related=invoice_by_customer_id")
        .await
        .refused(400, "unknown_relation");
    let described = shop.get("_schema/invoice").await.ok_json();
    let constraints = described["constraints"].as_object().unwrap();
    for constraint in constraints.values() {
        let kind = constraint["constraint_type"].as_str().unwrap();
        assert!(matches!(kind, "primary key" | "unique"), "{constraint}");
    }
}

async fn a_hidden_table_is_not_there(tester: Tester) {
    let shop = open(
        &tester,
        &json!({"invoice_tag": {"hidden": true}, "profile": {"hidden": true}}),
    )
    .await;
    for target in ["_table/profile", "_table/profile/1", "_schema/profile"] {
        shop.get(target).await.refused(404, "unknown_table");
    }
    shop.post("_table/profile", json!({"resource": [{"customer_id": 2}]}))
        .await
        .refused(404, "unknown_table");
    let listed = shop.get("_table?as_list=true").await.ok_json();
    assert!(!listed.to_string().contains("profile"), "{listed}");
    for target in [
        "_table/customer?related=profile_by_customer_id",
        "_table/invoice?related=tag_by_invoice_tag",
        "_table/invoice?related=invoice_tag_by_invoice_id",
    ] {
        shop.get(target).await.refused(400, "unknown_relation");
    }
    let all = shop
        .get("_table/customer/1?fields=id&related=*")
        .await
        .ok_text()
        .to_owned();
    assert!(!all.contains("first"), "{all}");
}

async fn a_column_with_the_alias_of_another_is_not_served(tester: Tester) {
    let said = json!({
        "customer": {"column": {"full_name": {"alias": "email"}}},
        "tag": {"alias": "Invoice"},
    });
    let shop = open(&tester, &said).await;
    shop.get("_table/customer/1?fields=id,email")
        .await
        .is(&json!({"id": 1, "email": "Ann Berg"}));
    shop.get("_table/invoice/1")
        .await
        .is(&json!({"id": 1, "label": "urgent"}));
    shop.get("_table/customer?related=invoice_by_customer_id")
        .await
        .refused(400, "unknown_relation");
}

async fn a_view_with_a_key_has_records_by_identifier(tester: Tester) {
    let shop = open(&tester, &json!({"active_customer": {"key": "id"}})).await;
    shop.get("_table/active_customer/3")
        .await
        .is(&json!({"id": 3, "email": "cy@example.org"}));
    shop.get("_table/active_customer/2")
        .await
        .refused(404, "unknown_record");
    assert_eq!(
        shop.column("_table/active_customer?ids=4,1", "id").await,
        values(json!([4, 1]))
    );
    let described = shop.get("_schema/active_customer").await.ok_json();
    assert_eq!(described["primary_key"], json!(["id"]));
    let page = shop
        .get("_table/active_customer?limit=1&fields=id")
        .await
        .ok_json();
    let cursor = page["meta"]["next_cursor"].as_str().unwrap();
    assert_eq!(
        shop.column(
            &format!(
                "_table/active_customer?fields=id&cursor={}",
                encoded(cursor)
            ),
            "id"
        )
        .await,
        values(json!([3, 4]))
    );
}

async fn a_key_of_the_manifest_widens_no_write(tester: Tester) {
    let words = tester.words();
    let Words { integer, text, .. } = &words;
    let statements = [
        format!("CREATE TABLE note (ref {integer}, owner {text}, body {text})"),
        "INSERT INTO note (ref, owner, body) VALUES (1, 'ann', 'a'), (1, 'bo', 'b'), (2, 'ann', 'c')"
            .to_owned(),
    ];
    let all = tester
        .open_with(&statements, tables(&json!({"note": {"key": "ref"}})))
        .await;
    let ann = all.with_role(&[allow("_table/note/*", ALL).filter("owner = 'ann'")]);
    ann.get("_table/note/1?fields=body")
        .await
        .is(&json!({"body": "a"}));
    // A product that cannot answer such a write refuses it; none touches the record of somebody else.
    ann.patch("_table/note/1", json!({"body": "x"})).await;
    ann.delete("_table/note/1").await;
    ann.patch("_table/note?filter=body%3D'c'", json!({"body": "y"}))
        .await;
    assert_eq!(
        all.column("_table/note?filter=owner%3D'bo'", "body").await,
        values(json!(["b"]))
    );
    // The database keeps no such key, so there is nothing that an upsert could find.
    all.request("POST", "_table/note?upsert=true")
        .json(&json!({"resource": [{"ref": 1, "body": "z"}]}))
        .send()
        .await
        .batch(NOT_CREATED);
}

async fn read_only_columns_are_not_written(tester: Tester) {
    let said = json!({"customer": {"column": {
        "credit": {"read_only": true},
        "region": {"read_only": true, "on_fail": {"read_only": "ignore_field"}},
        "id": {"read_only": true},
    }}});
    let shop = open(&tester, &said).await;
    let error = shop
        .patch("_table/customer/1", json!({"credit": 5}))
        .await
        .refused(400, "invalid_value");
    assert_eq!(error["message"], "field 'credit' is read only");
    shop.patch(
        "_table/customer/1?fields=full_name,region",
        json!({"full_name": "Ann", "region": "west"}),
    )
    .await
    .is(&json!({"full_name": "Ann", "region": "north"}));
    // A key within a record says which one is meant.
    shop.patch(
        "_table/customer?fields=full_name",
        json!({"resource": [{"id": 1, "full_name": "Ann Berg"}]}),
    )
    .await
    .is(&json!({"resource": [{"full_name": "Ann Berg"}]}));
    let context = shop
        .post(
            "_table/customer",
            json!({"resource": [{"id": 9, "email": "e@example.org", "full_name": "E"}]}),
        )
        .await
        .batch(NOT_CREATED);
    assert!(
        context.to_string().contains("field 'id' is read only"),
        "{context}"
    );
}

async fn create_only_columns_are_written_once(tester: Tester) {
    let said = json!({"customer": {"column": {
        "email": {"create_only": true},
        "region": {"create_only": true, "on_fail": {"create_only": "ignore_field"}},
    }}});
    let shop = open(&tester, &said).await;
    shop.post(
        "_table/customer?fields=email,region",
        json!({"resource": [{"email": "ed@example.org", "full_name": "Ed", "region": "east"}]}),
    )
    .await
    .is(&json!({"resource": [{"email": "ed@example.org", "region": "east"}]}));
    let error = shop
        .patch("_table/customer/1", json!({"email": "x@example.org"}))
        .await
        .refused(400, "invalid_value");
    assert_eq!(
        error["message"],
        "field 'email' can only be set during record creation"
    );
    shop.patch(
        "_table/customer/1?fields=region",
        json!({"region": "west", "full_name": "A"}),
    )
    .await
    .is(&json!({"region": "north"}));
}

async fn defaults_fill_what_a_record_leaves_out(tester: Tester) {
    let said = json!({"customer": {"column": {
        "full_name": {"default": "nobody"},
        "credit": {"default": 12.5},
        "region": {"default": "{user.email}"},
    }}});
    let shop = open(&tester, &said).await;
    let all = [allow("*", ALL)];
    let ann = shop.with_role_and_lookups(&all, &[("user.email", "o'ann {x}")]);
    ann.post(
        "_table/customer?fields=full_name,credit,region",
        json!({"resource": [
            {"email": "a@x.org"},
            {"email": "b@x.org", "full_name": "B", "credit": null, "region": "r"},
        ]}),
    )
    .await
    .is(&json!({"resource": [
        {"full_name": "nobody", "credit": 12.5, "region": "o'ann {x}"},
        {"full_name": "B", "credit": null, "region": "r"},
    ]}));
    // A lookup without a value leaves the column to the database.
    shop.post(
        "_table/customer?fields=region",
        json!({"resource": [{"email": "c@x.org"}]}),
    )
    .await
    .is(&json!({"resource": [{"region": null}]}));
    // A change is no creation.
    ann.patch("_table/customer/1?fields=region", json!({"full_name": "A"}))
        .await
        .is(&json!({"region": "north"}));
}

async fn the_gateway_sets_columns_whatever_is_sent(tester: Tester) {
    let words = tester.words();
    let Words {
        auto_key,
        text,
        timestamp,
        ..
    } = &words;
    let statements = [format!(
        "CREATE TABLE note (id {auto_key}, body {text}, owner {text}, editor {text}, made {timestamp}, changed {timestamp})"
    )];
    let said = json!({"note": {"column": {
        "owner": {"hidden": true, "on_create": "{user.id}"},
        "editor": {"on_update": "{user.id}"},
        "made": {"on_create": "now"},
        "changed": {"on_update": "now"},
    }}});
    let open = tester.open_with(&statements, tables(&said)).await;
    let as_user = |id: &'static str| {
        open.with_role_and_lookups(&[allow("_table/note/*", ALL)], &[("user.id", id)])
    };
    let created = as_user("7")
        .post(
            "_table/note?fields=*",
            json!({"resource": [{"body": "a", "editor": "me", "made": "1999-01-01T00:00:00Z"}]}),
        )
        .await
        .ok_json();
    let record = &created["resource"][0];
    assert_eq!(record["editor"], "7", "{created}");
    for column in ["made", "changed"] {
        assert!(record[column].as_str().unwrap() > "2020-01-01", "{created}");
    }
    assert_eq!(record.get("owner"), None);
    let changed = as_user("8")
        .patch(
            "_table/note/1?fields=editor,made",
            json!({"body": "b", "editor": "me"}),
        )
        .await
        .ok_json();
    assert_eq!(changed["editor"], "8");
    assert_eq!(changed["made"], record["made"]);
    // A role that may write one column alone has the others set all the same, and is not told of them.
    let narrow = open.with_role_and_lookups(
        &[allow("_table/note/*", &["POST"]).fields(&["body"])],
        &[("user.id", "9")],
    );
    let told = narrow
        .post("_table/note", json!({"resource": [{"body": "c"}]}))
        .await
        .ok_json();
    assert_eq!(told, json!({"resource": [{"body": "c"}]}));
    assert_eq!(
        open.column("_table/note?order=id", "editor").await,
        values(json!(["8", "9"]))
    );
}

async fn an_upsert_leaves_what_only_new_records_have(tester: Tester) {
    let said = json!({"tag": {"column": {}}, "profile": {"column": {"bio": {"default": "none yet"}}},
        "customer": {"column": {"full_name": {"create_only": true}, "region": {"default": "nowhere"}}}});
    let shop = open(&tester, &said).await;
    shop.post(
        "_table/profile?upsert=true&fields=*",
        json!({"resource": [{"customer_id": 1}]}),
    )
    .await
    .is(&json!({"resource": [{"customer_id": 1, "bio": "first"}]}));
    shop.post(
        "_table/profile?upsert=true&fields=*",
        json!({"resource": [{"customer_id": 2}]}),
    )
    .await
    .is(&json!({"resource": [{"customer_id": 2, "bio": "none yet"}]}));
    shop.post(
        "_table/customer?upsert=true&id_field=email&fields=full_name,region,credit",
        json!({"resource": [{"email": "ann@example.org", "full_name": "Other", "credit": 7.5}]}),
    )
    .await
    .is(&json!({"resource": [{"full_name": "Ann Berg", "region": "north", "credit": 7.5}]}));
}

/// Rules on most columns of the customers.
fn ruled() -> Value {
    json!({"customer": {"column": {
        "email": {"validation": {"email": true}},
        "full_name": {"validation": {"not_empty": true, "match": r"^\p{Lu}"}},
        "credit": {"validation": {"int": {"min": 1, "max": 10}}},
        "region": {"picklist": ["north", "south"], "validation": {"picklist": true}},
    }}})
}

async fn values_follow_their_rules(tester: Tester) {
    let shop = open(&tester, &ruled()).await;
    for (record, message) in [
        (
            json!({"email": "nobody"}),
            "field 'email' value must be a valid email address",
        ),
        (
            json!({"full_name": ""}),
            "field 'full_name' value can not be empty",
        ),
        (
            json!({"full_name": "ann"}),
            "field 'full_name' value is invalid",
        ),
        (
            json!({"credit": 11}),
            "field 'credit' value is not a whole number in the valid range",
        ),
        (
            json!({"credit": 1.5}),
            "field 'credit' value is not a whole number in the valid range",
        ),
        (json!({"region": "west"}), "field 'region' value is invalid"),
    ] {
        let error = shop
            .patch("_table/customer/1", record)
            .await
            .refused(400, "invalid_value");
        assert_eq!(error["message"], message);
    }
    shop.patch(
        "_table/customer/1?fields=email,full_name,region",
        json!({"email": "a@example.org", "full_name": "Åsa", "credit": 10, "region": null}),
    )
    .await
    .is(&json!({"email": "a@example.org", "full_name": "Åsa", "region": null}));
    // Rules bind what is written, and not what is asked for.
    assert_eq!(
        shop.column("_table/customer?filter=region%3D'west'", "id")
            .await,
        Vec::<Value>::new()
    );
    let context = shop
        .post(
            "_table/customer",
            json!({"resource": [{"email": "n@example.org"}]}),
        )
        .await
        .batch(NOT_CREATED);
    assert!(
        context
            .to_string()
            .contains("field 'full_name' value can not be empty"),
        "{context}"
    );
}

async fn broken_rules_say_what_the_manifest_says(tester: Tester) {
    let said = json!({"customer": {"column": {
        "email": {"validation": {"email": true}, "on_fail": {"email": "we need a way to reach you"}},
        "region": {"picklist": ["north", "south"], "validation": {"picklist": true},
            "on_fail": {"picklist": "ignore_field"}},
        "credit": {"validation": {"float": true}, "on_fail": {"float": "ignore_field"}},
    }}});
    let shop = open(&tester, &said).await;
    let error = shop
        .patch("_table/customer/1", json!({"email": "nobody"}))
        .await
        .refused(400, "invalid_value");
    assert_eq!(error["message"], "we need a way to reach you");
    assert!(
        error["help"].as_str().unwrap().contains("'email'"),
        "{error}"
    );
    shop.patch(
        "_table/customer/1?fields=full_name,region,credit",
        json!({"full_name": "A", "region": "west", "credit": "many"}),
    )
    .await
    .is(&json!({"full_name": "A", "region": "north", "credit": 100.5}));
}

async fn a_batch_names_the_record_that_breaks_a_rule(tester: Tester) {
    let shop = open(&tester, &ruled()).await;
    let records = json!({"resource": [
        {"email": "e@example.org", "full_name": "E"},
        {"email": "nobody", "full_name": "F"},
        {"email": "g@example.org", "full_name": "G"},
    ]});
    let context = shop
        .post("_table/customer?continue=true", records.clone())
        .await
        .batch("Batch Error: Not all requested records could be created.");
    assert_eq!(context["error"], json!([1]), "{context}");
    assert_eq!(shop.count("customer").await, 6);
    shop.post("_table/customer", records)
        .await
        .batch(NOT_CREATED);
    assert_eq!(shop.count("customer").await, 6);
}

async fn declared_relations_embed_like_those_of_foreign_keys(tester: Tester) {
    let open = tester
        .open_with(&loose(&tester.words()), tables(&loose_relations()))
        .await;
    open.get(
        "_table/person?order=id&related=tickets,badges&tickets.fields=title&tickets.order=id\
         &tickets.limit=1&badges.fields=label&badges.order=id",
    )
    .await
    .is(&json!({"resource": [
        {"id": 1, "email": "ann@example.org", "tickets": [{"title": "one"}], "badges": [{"label": "gold"}, {"label": "tin"}]},
        {"id": 2, "email": "bo@example.org", "tickets": [], "badges": [{"label": "tin"}]},
    ]}));
    open.get(
        "_table/ticket?fields=id&order=id&related=asked_by.badges&asked_by.fields=id\
         &asked_by.badges.fields=label&asked_by.badges.order=id",
    )
    .await
    .is(&json!({"resource": [
        {"id": 1, "asked_by": {"id": 1, "badges": [{"label": "gold"}, {"label": "tin"}]}},
        {"id": 2, "asked_by": {"id": 1, "badges": [{"label": "gold"}, {"label": "tin"}]}},
        {"id": 3, "asked_by": null},
    ]}));
    // The other table's own grants hold.
    let caller = open.with_role(&[
        allow("_table/person/*", ALL),
        allow("_table/ticket/*", ALL).filter("title = 'two'"),
    ]);
    caller
        .get("_table/person/1?fields=id&related=tickets&tickets.fields=title")
        .await
        .is(&json!({"id": 1, "tickets": [{"title": "two"}]}));
    caller
        .get("_table/person/1?related=badges")
        .await
        .refused(403, "forbidden");
}

async fn relations_have_aliases_and_can_be_hidden(tester: Tester) {
    let said = json!({
        "customer": {"relation_alias": {
            "invoice_by_customer_id": {"alias": "invoices", "label": "What was sold"},
            "profile_by_customer_id": {"hidden": true},
        }},
    });
    let shop = open(&tester, &said).await;
    shop.get("_table/customer/3?fields=id&related=invoices&invoices.fields=number")
        .await
        .is(&json!({"id": 3, "invoices": [{"number": "B-1"}]}));
    for name in ["invoice_by_customer_id", "profile_by_customer_id"] {
        shop.get(&format!("_table/customer?related={name}"))
            .await
            .refused(400, "unknown_relation");
    }
    let described = shop
        .get("_schema/customer/_related/invoice_by_customer_id")
        .await
        .ok_json();
    assert_eq!(described["alias"], "invoices");
    assert_eq!(described["label"], "What was sold");
}

async fn relations_are_read_along_unasked(tester: Tester) {
    let mut said = loose_relations();
    said["person"]["relation"][0]["always"] = json!(true);
    said["ticket"]["relation"][0]["always"] = json!(true);
    let open = tester
        .open_with(&loose(&tester.words()), tables(&said))
        .await;
    open.get("_table/person/1?fields=id&tickets.fields=title")
        .await
        .refused(400, "unknown_parameter");
    let document = open.get("_table/person/1?fields=id").await.ok_json();
    assert_eq!(document["tickets"][1]["title"], "two", "{document}");
    // The way back is not taken.
    assert_eq!(document["tickets"][1].get("asked_by"), None, "{document}");
    let list = open.get("_table/ticket?order=id").await.ok_json();
    assert_eq!(list["resource"][0]["asked_by"]["id"], 1, "{list}");
    assert_eq!(list["resource"][2]["asked_by"], Value::Null, "{list}");
    // Who may not read the other table reads this one alone.
    let caller = open.with_role(&[allow("_table/ticket/*", ALL)]);
    let list = caller.get("_table/ticket?order=id").await.ok_json();
    assert_eq!(list["resource"][0].get("asked_by"), None, "{list}");
    // Nor do groups, counts and lists of identifiers bring others along.
    open.get("_table/ticket?group=requester&fields=requester,COUNT(*)")
        .await
        .ok_json();
    open.get("_table/ticket?as_list=true").await.ok_json();
}

async fn columns_are_shown_as_what_they_hold(tester: Tester) {
    let words = tester.words();
    let Words {
        auto_key,
        integer,
        text,
        ..
    } = &words;
    let statements = [
        format!("CREATE TABLE folder (id {auto_key}, name {text})"),
        format!("CREATE TABLE note (id {auto_key}, folder {integer}, body {text}, is_done {integer})"),
        "INSERT INTO folder (name) VALUES ('a')".to_owned(),
        "INSERT INTO note (folder, body, is_done) VALUES (1, '{\"a\":[1,2]}', 1), (1, 'no json', 7)"
            .to_owned(),
    ];
    let said = json!({
        "note": {"column": {"body": {"type": "json"}, "is_done": {"type": "boolean", "default": false}}},
        "folder": {"relation": [
            {"name": "notes", "kind": "has_many", "column": "id", "table": "note", "ref_column": "folder"},
        ]},
    });
    let open = tester.open_with(&statements, tables(&said)).await;
    let notes = json!([
        {"id": 1, "body": {"a": [1, 2]}, "is_done": true},
        {"id": 2, "body": "no json", "is_done": 7},
    ]);
    open.get("_table/note?fields=id,body,is_done&order=id")
        .await
        .is(&json!({ "resource": notes }));
    open.get("_table/folder/1?fields=id&related=notes&notes.fields=id,body,is_done&notes.order=id")
        .await
        .is(&json!({"id": 1, "notes": notes}));
    open.post(
        "_table/note?fields=body,is_done",
        json!({"resource": [{"body": {"b": null}}, {"body": [true], "is_done": "yes"}, {"body": null, "is_done": true}]}),
    )
    .await
    .is(&json!({"resource": [
        {"body": {"b": null}, "is_done": false},
        {"body": [true], "is_done": true},
        {"body": null, "is_done": true},
    ]}));
    assert_eq!(
        open.column("_table/note?filter=is_done%3Dtrue&order=id", "id")
            .await,
        values(json!([1, 4, 5]))
    );
    open.patch("_table/note/1", json!({"is_done": "perhaps"}))
        .await
        .refused(400, "invalid_value");
    let described = open.get("_schema/note/_field/body").await.ok_json();
    assert_eq!(described["type"], "json");
    let described = open.get("_schema/note/_field/is_done").await.ok_json();
    assert_eq!(described["type"], "boolean");
}

async fn descriptions_show_what_the_manifest_says(tester: Tester) {
    let said = json!({
        "customer": {
            "alias": "client", "label": "Client", "plural": "Clientele", "description": "Who buys",
            "name_field": "full_name",
            "column": {
                "full_name": {"alias": "name", "label": "Full name", "description": "As on the passport",
                    "validation": {"not_empty": true, "match": "^[A-Z]"}, "on_fail": {"match": "begin with a capital"}},
                "region": {"picklist": ["north", "south"], "validation": {"picklist": true}},
                "email": {"create_only": true},
            },
            "relation": [{"name": "tickets", "kind": "has_many", "column": "id", "service": "desk", "table": "ticket",
                "ref_column": "requester", "always": true, "description": "What was asked"}],
        },
    });
    let shop = open(&tester, &said).await;
    let listed = shop.get("_schema?as_list=true").await.ok_json();
    let names = listed["resource"].as_array().unwrap();
    assert!(
        names.contains(&json!("customer")) && !names.contains(&json!("client")),
        "{listed}"
    );
    shop.get("_schema/client")
        .await
        .refused(404, "unknown_table");
    let table = shop.get("_schema/customer").await.ok_json();
    for (member, expected) in [
        ("name", json!("customer")),
        ("alias", json!("client")),
        ("label", json!("Client")),
        ("plural", json!("Clientele")),
        ("description", json!("Who buys")),
        ("name_field", json!("full_name")),
    ] {
        assert_eq!(table[member], expected, "{member}");
    }
    let field = |name: &str| {
        let fields = table["field"].as_array().unwrap();
        fields
            .iter()
            .find(|field| field["name"] == name)
            .unwrap()
            .clone()
    };
    let name = field("full_name");
    assert_eq!(name["alias"], "name");
    assert_eq!(name["label"], "Full name");
    assert_eq!(name["description"], "As on the passport");
    assert_eq!(
        name["validation"],
        json!({"not_empty": null, "match": {"on_fail": "begin with a capital", "regexp": "^[A-Z]"}})
    );
    assert_eq!(field("region")["picklist"], json!(["north", "south"]));
    assert_eq!(field("region")["validation"], json!({"picklist": null}));
    assert_eq!(field("email")["validation"], json!({"create_only": null}));
    let related = table["related"].as_array().unwrap();
    let tickets = related
        .iter()
        .find(|relation| relation["name"] == "tickets")
        .unwrap();
    for (member, expected) in [
        ("type", json!("has_many")),
        ("is_virtual", json!(true)),
        ("ref_service", json!("desk")),
        ("ref_table", json!("ticket")),
        ("field", json!("id")),
        ("ref_field", json!("requester")),
        ("always_fetch", json!(true)),
        ("description", json!("What was asked")),
    ] {
        assert_eq!(tickets[member], expected, "{member}");
    }
    // Foreign keys of others tell the database's own names.
    let invoice = shop
        .get("_schema/invoice/_field/customer_id")
        .await
        .ok_json();
    assert_eq!(invoice["ref_table"], "customer");
    // Beside records stand the names of records.
    let list = shop
        .get("_table/client?include_schema=true&limit=1")
        .await
        .ok_json();
    assert_eq!(list["meta"]["schema"]["name"], "client");
    assert!(
        list["meta"]["schema"]["field"]
            .to_string()
            .contains("\"name\":\"name\"")
    );
}

async fn what_the_manifest_names_in_vain_does_no_harm(tester: Tester) {
    let said = json!({
        "nowhere": {"hidden": true},
        "customer": {
            "key": ["id", "nothing"],
            "name_field": "nothing",
            "column": {"nothing": {"alias": "x"}, "credit": {"default": "many"}},
            "relation": [
                {"name": "a", "kind": "has_many", "column": "nothing", "table": "invoice", "ref_column": "id"},
                {"name": "b", "kind": "has_many", "column": "id", "table": "nowhere", "ref_column": "id"},
                {"name": "c", "kind": "has_many", "column": "id", "table": "invoice", "ref_column": "number"},
                {"name": "email", "kind": "has_many", "column": "id", "table": "invoice", "ref_column": "customer_id"},
            ],
        },
    });
    let shop = open(&tester, &said).await;
    shop.get("_table/customer/1?fields=id,email")
        .await
        .is(&json!({"id": 1, "email": "ann@example.org"}));
    for name in ["a", "b", "c", "email"] {
        shop.get(&format!("_table/customer?related={name}"))
            .await
            .refused(400, "unknown_relation");
    }
    shop.get("_table/customer/1?fields=id&related=profile_by_customer_id")
        .await
        .ok_json();
}
