//! Changing tables, fields, indexes and foreign keys.

use serde_json::{Value, json};

use super::driver::{ALL, Answer, Caller, Tester, allow, deny, encoded};
use super::{Words, cases};

cases![
    a_table_is_made_filled_extended_and_dropped if has_changes => "no tables are changed through it",
    changes_are_answered_by_names_or_descriptions if has_changes => "no tables are changed through it",
    simple_types_come_back_as_they_were_asked_for if has_changes => "no tables are changed through it",
    defaults_are_constants_or_known_functions if has_changes => "no tables are changed through it",
    constants_are_kept_letter_by_letter if has_changes => "no tables are changed through it",
    references_make_foreign_keys_and_relations if has_changes => "no tables are changed through it",
    unique_fields_and_indexes_are_made_and_dropped if has_changes => "no tables are changed through it",
    a_composite_key_is_made_in_its_order if has_changes => "no tables are changed through it",
    a_description_that_is_sent_back_changes_nothing if has_changes => "no tables are changed through it",
    put_drops_fields_only_when_forced if has_changes => "no tables are changed through it",
    fields_and_tables_are_renamed if has_changes => "no tables are changed through it",
    null_is_allowed_and_forbidden if has_changes => "no tables are changed through it",
    types_and_defaults_are_altered if alters_fields => "fields that are there are not altered through it",
    foreign_keys_come_and_go if alters_fields => "fields that are there are not altered through it",
    tables_that_others_refer_to_stay if has_changes => "no tables are changed through it",
    several_tables_are_all_or_nothing if has_changes => "no tables are changed through it",
    what_a_failure_leaves_behind_is_said if keeps_each_change => "it changes all or nothing",
    hostile_names_are_names if has_changes => "no tables are changed through it",
    names_that_cannot_be_are_refused if has_changes => "no tables are changed through it",
    sql_is_never_taken if has_changes => "no tables are changed through it",
    what_is_not_known_is_refused_with_help if has_changes => "no tables are changed through it",
    views_are_not_changed if has_changes => "no tables are changed through it",
    the_next_call_sees_the_change if has_changes => "no tables are changed through it",
    everything_does_not_grant_changes,
    changes_need_a_row_for_each_table if has_changes => "no tables are changed through it",
    what_a_role_does_not_see_it_does_not_change if has_changes => "no tables are changed through it",
];

fn has_changes(words: &Words) -> bool {
    words.changes_schema
}

/// SQLite keeps the text of a table as it was made.
fn alters_fields(words: &Words) -> bool {
    words.changes_schema && !words.product.starts_with("sqlite")
}

/// Products whose changes commit by themselves.
fn keeps_each_change(words: &Words) -> bool {
    words.changes_schema && matches!(words.product, "mysql" | "mariadb")
}

/// Somebody who may change everything.
fn owner(caller: &Caller) -> Caller {
    caller.with_role(&[allow("*", ALL), allow("_schema/*", ALL)])
}

async fn field(caller: &Caller, table: &str, field: &str) -> Value {
    let target = format!("_schema/{}/_field/{}", encoded(table), encoded(field));
    caller.get(&target).await.ok_json()
}

/// The help of an answer that must be this error.
#[track_caller]
fn help(answer: &Answer, status: u16, kind: &str) -> String {
    let error = answer.refused(status, kind);
    error["help"].as_str().unwrap_or_default().to_owned()
}

fn todo() -> Value {
    json!({"resource": [{
        "name": "todo",
        "field": [
            {"name": "id", "type": "id"},
            {"name": "title", "type": "string", "length": 120, "allow_null": false},
            {"name": "done", "type": "boolean", "default": false},
            {"name": "owner_id", "type": "reference", "ref_table": "customer", "ref_field": "id",
             "ref_on_delete": "SET NULL", "allow_null": true},
            {"name": "made_at", "type": "timestamp_on_create"}
        ]
    }]})
}

async fn a_table_is_made_filled_extended_and_dropped(tester: Tester) {
    let shop = owner(&tester.shop().await);
    shop.post("_schema", todo())
        .await
        .is(&json!({"resource": [{"name": "todo"}]}));
    shop.post(
        "_table/todo?fields=*",
        json!({"resource": [{"title": "Wash up", "owner_id": 1}]}),
    )
    .await
    .ok_text();
    let record = shop.get("_table/todo/1").await.ok_json();
    assert_eq!(record["done"], false);
    assert!(record["made_at"].is_string(), "{record}");
    shop.post("_table/todo", json!({"resource": [{"owner_id": 1}]}))
        .await
        .batch("Batch Error: Not all requested records could be created. All changes rolled back.");

    shop.post(
        "_schema/todo/_field",
        json!({"resource": [{"name": "note", "type": "text", "allow_null": true}]}),
    )
    .await
    .is(&json!({"resource": [{"name": "note"}]}));
    shop.patch("_table/todo/1", json!({"note": "soon"}))
        .await
        .ok_text();
    let record = shop.get("_table/todo/1?fields=id,note").await;
    record.is(&json!({"id": 1, "note": "soon"}));

    shop.delete("_schema/todo/_field/note")
        .await
        .is(&json!({"success": true}));
    let record = shop.get("_table/todo/1").await.ok_json();
    assert!(record.get("note").is_none(), "{record}");
    shop.delete("_schema/todo")
        .await
        .is(&json!({"success": true}));
    shop.get("_table/todo").await.refused(404, "unknown_table");
    shop.get("_schema/todo").await.refused(404, "unknown_table");
    assert_eq!(shop.count("customer").await, json!(4));
}

async fn changes_are_answered_by_names_or_descriptions(tester: Tester) {
    let shop = owner(&tester.shop().await);
    let made = shop.post("_schema?fields=*", todo()).await.ok_json();
    assert_eq!(made["resource"][0]["primary_key"], json!(["id"]));
    assert_eq!(
        made["resource"][0],
        shop.get("_schema/todo").await.ok_json()
    );
    let note = json!({"name": "note", "type": "string", "allow_null": true});
    shop.patch("_schema/todo", json!({"field": [note]}))
        .await
        .is(&json!({"name": "todo"}));
    shop.put("_schema/todo/_field/note", json!({"type": "string"}))
        .await
        .is(&json!({"name": "note"}));
    let described = shop
        .patch("_schema/todo/note?fields=*", json!({"allow_null": true}))
        .await
        .ok_json();
    assert_eq!(described, field(&shop, "todo", "note").await);
    shop.post("_schema", todo())
        .await
        .is(&json!({"resource": [{"name": "todo"}]}));
    shop.post("_schema?check_exist=true", todo())
        .await
        .refused(409, "schema_conflict");
    shop.post("_schema/other", json!({"field": []}))
        .await
        .refused(404, "unknown_table");
    shop.post("_schema", json!({"name": "bare", "field": []}))
        .await
        .refused(400, "invalid_body");
    shop.patch("_schema", json!({"resource": [{"name": "other"}]}))
        .await
        .refused(404, "unknown_table");
    shop.delete("_schema")
        .await
        .refused(400, "missing_selector");
    shop.delete("_schema?ids=todo,tag")
        .await
        .refused(409, "schema_conflict");
    shop.delete("_schema?ids=todo")
        .await
        .is(&json!({"resource": [{"name": "todo"}]}));
}

async fn simple_types_come_back_as_they_were_asked_for(tester: Tester) {
    let shop = owner(&tester.shop().await);
    let plain = [
        "smallint", "integer", "bigint", "double", "text", "date", "datetime",
    ];
    let mut fields = vec![json!({"name": "id", "type": "id"})];
    for name in plain {
        fields.push(json!({"name": format!("a_{name}"), "type": name, "allow_null": true}));
    }
    fields.extend([
        json!({"name": "flag", "type": "boolean", "allow_null": true}),
        json!({"name": "name", "type": "varchar(40)", "allow_null": true}),
        json!({"name": "code", "type": "string", "length": 3, "fixed_length": true, "allow_null": true}),
        json!({"name": "price", "type": "decimal(12,2)", "allow_null": true}),
        json!({"name": "other_price", "type": "decimal", "precision": 9, "scale": 3, "allow_null": true}),
        json!({"name": "data", "type": "json", "allow_null": true}),
        json!({"name": "bytes", "type": "binary", "allow_null": true}),
    ]);
    shop.post(
        "_schema",
        json!({"resource": [{"name": "every", "field": fields}]}),
    )
    .await
    .ok_text();
    for name in plain {
        let found = field(&shop, "every", &format!("a_{name}")).await;
        assert_eq!(found["type"], name, "{found}");
        assert_eq!(found["allow_null"], true);
    }
    let found = field(&shop, "every", "name").await;
    assert_eq!(
        (&found["type"], &found["length"]),
        (&json!("string"), &json!(40))
    );
    assert_eq!(found["fixed_length"], false);
    assert_eq!(field(&shop, "every", "code").await["fixed_length"], true);
    let found = field(&shop, "every", "price").await;
    assert_eq!(
        (&found["type"], &found["precision"], &found["scale"]),
        (&json!("decimal"), &json!(12), &json!(2))
    );
    let found = field(&shop, "every", "other_price").await;
    assert_eq!(
        (&found["precision"], &found["scale"]),
        (&json!(9), &json!(3))
    );
    assert_eq!(field(&shop, "every", "flag").await["type"], "boolean");
    assert_eq!(field(&shop, "every", "bytes").await["type"], "binary");
    let id = field(&shop, "every", "id").await;
    assert!(matches!(id["type"].as_str(), Some("id" | "bigid")), "{id}");
    assert_eq!(id["auto_increment"], true);
}

async fn defaults_are_constants_or_known_functions(tester: Tester) {
    let shop = owner(&tester.shop().await);
    let fields = json!([
        {"name": "id", "type": "id"},
        {"name": "count", "type": "integer", "default": -7},
        {"name": "price", "type": "decimal(12,2)", "default": "0.50"},
        {"name": "word", "type": "string", "length": 20, "default": "new"},
        {"name": "flag", "type": "boolean", "default": true},
        {"name": "none", "type": "integer", "default": null, "allow_null": true},
        {"name": "moment", "type": "datetime", "default": {"expression": "NOW()"}},
        {"name": "day", "type": "date", "default": {"expression": "CURRENT_DATE"}}
    ]);
    shop.post(
        "_schema",
        json!({"resource": [{"name": "kept", "field": fields}]}),
    )
    .await
    .ok_text();
    shop.post("_table/kept", json!({"resource": [{}]}))
        .await
        .ok_text();
    let record = shop.get("_table/kept/1").await.ok_json();
    assert_eq!(record["count"], -7);
    assert_eq!(record["price"].to_string().trim_end_matches('0'), "0.5");
    assert_eq!(record["word"], "new");
    assert_eq!(record["flag"], true);
    assert_eq!(record["none"], Value::Null);
    assert!(record["moment"].as_str().unwrap().len() >= 19, "{record}");
    assert_eq!(record["day"].as_str().unwrap().len(), 10, "{record}");
    let described = field(&shop, "kept", "word").await;
    assert_eq!(described["default"], "new");
    assert_eq!(described["required"], false);
    assert!(field(&shop, "kept", "moment").await["default"]["expression"].is_string());

    for (kind, default) in [
        ("integer", json!("1; DROP TABLE customer")),
        ("integer", json!("1e5")),
        ("integer", json!(true)),
        ("boolean", json!("yes")),
        ("date", json!(7)),
        ("string", json!({"expression": "NOW()"})),
        ("string", json!({"expression": "version()"})),
        ("datetime", json!({"expression": "NOW() + 1"})),
        ("datetime", json!({"expression": "(SELECT 1)"})),
        ("datetime", json!({"expression": "NOW()", "sql": "x"})),
        ("datetime", json!(["NOW()"])),
        ("string", json!("a\u{0}b")),
    ] {
        let field = json!({"name": "bad", "type": kind, "default": default, "allow_null": true});
        shop.post("_schema/kept/_field", json!({"resource": [field]}))
            .await
            .refused(400, "invalid_body");
    }
}

async fn constants_are_kept_letter_by_letter(tester: Tester) {
    let shop = owner(&tester.shop().await);
    for (index, text) in [
        "it's",
        "\\",
        "\\'",
        "'); DROP TABLE customer; --",
        "a\\' OR 1=1 -- ",
        "\"quoted\"",
        "line\nbreak",
        "?1 $1 :name @p1 {ts}",
        "日本語 🦀",
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("constant_{index}");
        let fields = json!([
            {"name": "id", "type": "id"},
            {"name": "said", "type": "string", "length": 60, "default": text}
        ]);
        shop.post(
            "_schema",
            json!({"resource": [{"name": name, "field": fields}]}),
        )
        .await
        .ok_text();
        shop.post(&format!("_table/{name}"), json!({"resource": [{}]}))
            .await
            .ok_text();
        let record = shop.get(&format!("_table/{name}/1")).await.ok_json();
        assert_eq!(record["said"], text);
    }
    assert_eq!(shop.count("customer").await, json!(4));
}

async fn references_make_foreign_keys_and_relations(tester: Tester) {
    let shop = owner(&tester.shop().await);
    let tables = json!({"resource": [
        {"name": "chapter", "field": [
            {"name": "id", "type": "id"},
            {"name": "book_id", "type": "reference", "ref_table": "book", "ref_on_delete": "CASCADE"},
            {"name": "before_id", "type": "reference", "ref_table": "chapter", "allow_null": true}
        ]},
        {"name": "book", "field": [
            {"name": "id", "type": "id"},
            {"name": "title", "type": "string", "length": 50}
        ]}
    ]});
    shop.post("_schema", tables)
        .await
        .is(&json!({"resource": [{"name": "chapter"}, {"name": "book"}]}));
    let reference = field(&shop, "chapter", "book_id").await;
    assert_eq!(reference["type"], "reference");
    assert_eq!(reference["ref_table"], "book");
    assert_eq!(reference["ref_field"], "id");
    assert_eq!(reference["ref_on_delete"], "CASCADE");
    let names = shop.get("_schema/chapter/_related").await.column("name");
    for name in ["book_by_book_id", "chapter_by_before_id"] {
        assert!(names.contains(&json!(name)), "{names:?}");
    }
    shop.post("_table/book", json!({"resource": [{"title": "One"}]}))
        .await
        .ok_text();
    shop.post("_table/chapter", json!({"resource": [{"book_id": 1}]}))
        .await
        .ok_text();
    let missing = shop
        .post("_table/chapter", json!({"resource": [{"book_id": 9}]}))
        .await;
    assert_eq!(
        missing.refused(400, "batch_failed")["context"]["resource"][0]["type"],
        "foreign_key_violation"
    );
    shop.delete("_table/book/1").await.ok_text();
    assert_eq!(shop.count("chapter").await, json!(0));
    let added = json!({"name": "reader_id", "type": "reference", "ref_table": "customer", "allow_null": true});
    shop.post("_schema/chapter/_field", json!({"resource": [added]}))
        .await
        .ok_text();
    assert_eq!(
        field(&shop, "chapter", "reader_id").await["ref_table"],
        "customer"
    );
    let record = shop
        .get("_table/chapter?related=customer_by_reader_id")
        .await;
    record.is(&json!({"resource": []}));
}

async fn unique_fields_and_indexes_are_made_and_dropped(tester: Tester) {
    let shop = owner(&tester.shop().await);
    let tables = json!({"resource": [{
        "name": "seat",
        "field": [
            {"name": "id", "type": "id"},
            {"name": "code", "type": "string", "length": 20, "is_unique": true},
            {"name": "hall", "type": "integer", "is_index": true},
            {"name": "line", "type": "integer"},
            {"name": "place", "type": "integer"}
        ],
        "index": [
            {"name": "seat_place", "fields": ["hall", "line", "place"], "unique": true},
            {"fields": ["line", "place"]}
        ]
    }]});
    shop.post("_schema", tables).await.ok_text();
    let described = shop.get("_schema/seat").await.ok_json();
    let index = |name: &str| {
        let list = described["index"].as_array().unwrap();
        let found = list.iter().find(|index| index["name"] == name);
        found.cloned().unwrap_or_else(|| panic!("{name}: {list:?}"))
    };
    assert_eq!(index("undx_seat_code")["unique"], true);
    assert_eq!(index("ndx_seat_hall")["fields"], json!(["hall"]));
    assert_eq!(index("ndx_seat_line_place")["unique"], false);
    assert_eq!(
        index("seat_place")["fields"],
        json!(["hall", "line", "place"])
    );
    let seat = json!({"code": "A1", "hall": 1, "line": 1, "place": 1});
    shop.post("_table/seat", json!({"resource": [seat]}))
        .await
        .ok_text();
    for twin in [
        json!({"code": "A1", "hall": 2, "line": 2, "place": 2}),
        json!({"code": "B1", "hall": 1, "line": 1, "place": 1}),
    ] {
        let refused = shop.post("_table/seat", json!({"resource": [twin]})).await;
        assert_eq!(
            refused.refused(400, "batch_failed")["context"]["resource"][0]["type"],
            "unique_violation"
        );
    }
    let code = field(&shop, "seat", "code").await;
    assert_eq!(
        (&code["is_unique"], &code["is_index"]),
        (&json!(true), &json!(true))
    );
    let changed = json!({
        "field": [{"name": "code", "is_unique": false}, {"name": "hall", "is_index": false}],
        "index": [{"name": "seat_place", "drop": true}]
    });
    // The index of several columns goes first, so that the one of the first of them can go as well.
    shop.patch("_schema/seat", changed).await.ok_text();
    assert_eq!(field(&shop, "seat", "code").await["is_unique"], false);
    shop.post(
        "_table/seat",
        json!({"resource": [{"code": "A1", "hall": 1, "line": 1, "place": 1}]}),
    )
    .await
    .ok_text();
    shop.patch("_schema/seat/_field/code", json!({"is_unique": true}))
        .await
        .refused(409, "unique_violation");
    shop.patch(
        "_schema/seat",
        json!({"index": [{"name": "nothing", "drop": true}]}),
    )
    .await
    .refused(404, "unknown_resource");
}

async fn a_composite_key_is_made_in_its_order(tester: Tester) {
    let shop = owner(&tester.shop().await);
    let table = json!({"resource": [{
        "name": "position_of",
        "primary_key": ["place", "order"],
        "field": [
            {"name": "order", "type": "integer"},
            {"name": "place", "type": "integer"},
            {"name": "what", "type": "string", "length": 10, "allow_null": true}
        ]
    }]});
    shop.post("_schema", table).await.ok_text();
    let described = shop.get("_schema/position_of").await.ok_json();
    assert_eq!(described["primary_key"], json!(["place", "order"]));
    shop.post(
        "_table/position_of",
        json!({"resource": [{"order": 1, "place": 2, "what": "x"}]}),
    )
    .await
    .ok_text();
    let record = shop
        .get("_table/position_of/order=1,place=2")
        .await
        .ok_json();
    assert_eq!(record["what"], "x");
}

async fn a_description_that_is_sent_back_changes_nothing(tester: Tester) {
    let shop = owner(&tester.shop().await);
    shop.post("_schema", todo()).await.ok_text();
    for table in [
        "customer",
        "invoice",
        "tag",
        "invoice_tag",
        "line",
        "profile",
        "todo",
    ] {
        let target = format!("_schema/{table}");
        let before = shop.get(&target).await.ok_json();
        shop.put(&target, before.clone())
            .await
            .is(&json!({"name": table}));
        assert_eq!(shop.get(&target).await.ok_json(), before);
        for part in before["field"].as_array().unwrap() {
            let name = part["name"].as_str().unwrap();
            let target = format!("_schema/{table}/_field/{name}");
            shop.patch(&target, part.clone())
                .await
                .is(&json!({"name": name}));
        }
        assert_eq!(shop.get(&target).await.ok_json(), before);
    }
    assert_eq!(shop.count("customer").await, json!(4));
}

async fn put_drops_fields_only_when_forced(tester: Tester) {
    let shop = owner(&tester.shop().await);
    let wanted = json!({"field": [
        {"name": "id"}, {"name": "number"}, {"name": "customer_id"},
        {"name": "paid", "type": "boolean", "default": false}
    ]});
    let refused = shop.put("_schema/invoice", wanted.clone()).await;
    let message = refused.refused(400, "invalid_parameter")["message"].clone();
    assert!(message.as_str().unwrap().contains("'total'"), "{message}");
    assert!(help(&refused, 400, "invalid_parameter").contains("force=true"));
    let names = shop.get("_schema/invoice/_field").await.column("name");
    assert_eq!(
        names,
        [
            json!("id"),
            json!("customer_id"),
            json!("number"),
            json!("total")
        ]
    );
    // `total` has a check of its own; products that keep it say so.
    let line =
        json!({"field": [{"name": "invoice_id"}, {"name": "position"}, {"name": "product"}]});
    shop.put("_schema/line?force=true", line)
        .await
        .is(&json!({"name": "line"}));
    let names = shop.get("_schema/line/_field").await.column("name");
    assert_eq!(
        names,
        [json!("invoice_id"), json!("position"), json!("product")]
    );
    assert_eq!(shop.count("line").await, json!(3));
    shop.delete("_schema/line/_field?ids=product,nothing")
        .await
        .refused(404, "unknown_resource");
    shop.delete("_schema/line/_field?ids=product")
        .await
        .is(&json!({"success": true}));
    shop.delete("_schema/tag/_field?ids=id,label")
        .await
        .refused(400, "invalid_body");
}

async fn fields_and_tables_are_renamed(tester: Tester) {
    let shop = owner(&tester.shop().await);
    shop.patch("_schema/tag/_field/label", json!({"new_name": "caption"}))
        .await
        .is(&json!({"name": "caption"}));
    shop.patch("_schema/tag", json!({"new_name": "mark"}))
        .await
        .is(&json!({"name": "mark"}));
    let marks = shop
        .get("_table/mark?fields=caption")
        .await
        .column("caption");
    assert_eq!(marks, [json!("urgent"), json!("paid")]);
    shop.get("_table/tag").await.refused(404, "unknown_table");
    let names = shop.get("_schema/invoice/_related").await.column("name");
    assert!(names.contains(&json!("mark_by_invoice_tag")), "{names:?}");
    shop.patch("_schema/mark", json!({"new_name": "customer"}))
        .await
        .refused(409, "schema_conflict");
    shop.patch(
        "_schema/customer/_field/email",
        json!({"new_name": "region"}),
    )
    .await
    .refused(409, "schema_conflict");
    shop.patch("_schema/mark", json!({"name": "other"}))
        .await
        .refused(400, "invalid_body");
}

async fn null_is_allowed_and_forbidden(tester: Tester) {
    let shop = owner(&tester.shop().await);
    shop.patch("_schema/tag/_field/label", json!({"allow_null": true}))
        .await
        .ok_text();
    assert_eq!(field(&shop, "tag", "label").await["allow_null"], true);
    shop.post("_table/tag", json!({"resource": [{"label": null}]}))
        .await
        .ok_text();
    let refused = shop
        .patch("_schema/tag/_field/label", json!({"allow_null": false}))
        .await;
    assert!(
        matches!(refused.status, 400 | 409 | 422),
        "{}",
        refused.text()
    );
    assert_eq!(field(&shop, "tag", "label").await["allow_null"], true);
    shop.delete("_table/tag/3").await.ok_text();
    shop.patch("_schema/tag/_field/label", json!({"allow_null": false}))
        .await
        .ok_text();
    assert_eq!(field(&shop, "tag", "label").await["allow_null"], false);
    shop.patch("_schema/tag/_field/id", json!({"allow_null": true}))
        .await
        .refused(400, "invalid_body");
}

async fn types_and_defaults_are_altered(tester: Tester) {
    let shop = owner(&tester.shop().await);
    shop.post(
        "_schema/tag/_field",
        json!({"resource": [
            {"name": "code", "type": "string", "length": 10, "default": "abc"},
            {"name": "size", "type": "integer", "allow_null": true}
        ]}),
    )
    .await
    .ok_text();
    shop.patch("_schema/tag/_field/code", json!({"length": 60}))
        .await
        .ok_text();
    let code = field(&shop, "tag", "code").await;
    assert_eq!(
        (&code["length"], &code["default"], &code["allow_null"]),
        (&json!(60), &json!("abc"), &json!(false))
    );
    shop.patch("_schema/tag/_field/code", json!({"default": "x'y"}))
        .await
        .ok_text();
    assert_eq!(field(&shop, "tag", "code").await["default"], "x'y");
    shop.patch(
        "_schema/tag/_field/code",
        json!({"default": null, "allow_null": true}),
    )
    .await
    .ok_text();
    let code = field(&shop, "tag", "code").await;
    assert_eq!(
        (&code["default"], &code["allow_null"]),
        (&Value::Null, &json!(true))
    );
    shop.patch("_schema/tag/_field/size", json!({"type": "decimal(9,2)"}))
        .await
        .ok_text();
    shop.patch("_table/tag/1", json!({"size": 12.25}))
        .await
        .ok_text();
    let record = shop.get("_table/tag/1?fields=size").await;
    assert!(record.ok_text().contains("12.25"), "{}", record.text());
}

async fn foreign_keys_come_and_go(tester: Tester) {
    let shop = owner(&tester.shop().await);
    shop.post(
        "_schema/tag/_field",
        json!({"resource": [{"name": "owner_id", "type": "integer", "allow_null": true}]}),
    )
    .await
    .ok_text();
    let relation = json!({"resource": [
        {"type": "belongs_to", "field": "owner_id", "ref_table": "customer", "ref_field": "id"}
    ]});
    shop.post("_schema/tag/_related", relation)
        .await
        .is(&json!({"resource": [{"name": "customer_by_owner_id"}]}));
    assert_eq!(field(&shop, "tag", "owner_id").await["type"], "reference");
    shop.patch(
        "_schema/tag/_field/owner_id",
        json!({"ref_on_delete": "SET NULL"}),
    )
    .await
    .ok_text();
    let reference = field(&shop, "tag", "owner_id").await;
    assert_eq!(
        (&reference["ref_table"], &reference["ref_on_delete"]),
        (&json!("customer"), &json!("SET NULL"))
    );
    shop.delete("_schema/tag/_related/customer_by_owner_id")
        .await
        .is(&json!({"success": true}));
    assert_eq!(
        field(&shop, "tag", "owner_id").await["is_foreign_key"],
        false
    );
    shop.patch(
        "_schema/tag/_field/owner_id",
        json!({"type": "reference", "ref_table": "customer"}),
    )
    .await
    .ok_text();
    shop.patch("_schema/tag/_field/owner_id", json!({"ref_table": null}))
        .await
        .ok_text();
    assert_eq!(
        field(&shop, "tag", "owner_id").await["is_foreign_key"],
        false
    );
    // Keys of several fields.
    shop.post(
        "_schema/tag/_field",
        json!({"resource": [
            {"name": "invoice_no", "type": "integer", "allow_null": true},
            {"name": "line_no", "type": "integer", "allow_null": true}
        ]}),
    )
    .await
    .ok_text();
    let relation = json!({"resource": [
        {"field": "invoice_no,line_no", "ref_table": "line", "ref_field": "invoice_id,position"}
    ]});
    shop.post("_schema/tag/_related", relation)
        .await
        .is(&json!({"resource": [{"name": "line_by_invoice_no_line_no"}]}));
    shop.delete("_schema/tag/_related/invoice_tag_by_tag_id")
        .await
        .refused(400, "invalid_body");
    shop.delete("_schema/tag/_related/nothing")
        .await
        .refused(404, "unknown_resource");
}

async fn tables_that_others_refer_to_stay(tester: Tester) {
    let shop = owner(&tester.shop().await);
    for target in ["_schema/customer", "_schema?ids=tag,customer"] {
        shop.delete(target).await.refused(409, "schema_conflict");
    }
    assert_eq!(shop.count("customer").await, json!(4));
    assert_eq!(shop.count("tag").await, json!(2));
    // Together with those that refer to it, in whatever order.
    shop.delete("_schema?ids=tag,invoice_tag")
        .await
        .is(&json!({"resource": [{"name": "tag"}, {"name": "invoice_tag"}]}));
    let request = shop.request("DELETE", "_schema");
    let request = request.json(&json!({"resource": [{"name": "line"}, {"name": "profile"}]}));
    request.send().await.ok_text();
    let names = shop.get("_table?as_list=true").await.ok_json();
    assert_eq!(
        names,
        json!({"resource": ["active_customer", "customer", "invoice"]})
    );
}

/// A request of which the second part fails in the database: two customers have the same region.
fn half_impossible() -> Value {
    json!({"resource": [
        {"name": "tag", "field": [{"name": "extra", "type": "string", "length": 10, "allow_null": true}]},
        {"name": "brand_new", "field": [{"name": "id", "type": "id"}]},
        {"name": "customer", "field": [{"name": "full_name", "is_index": true}, {"name": "is_active", "is_unique": true}]}
    ]})
}

async fn several_tables_are_all_or_nothing(tester: Tester) {
    if keeps_each_change(&tester.words()) {
        return;
    }
    let shop = owner(&tester.shop().await);
    let before = shop.get("_schema?ids=tag,customer").await.ok_json();
    shop.post("_schema", half_impossible())
        .await
        .refused(409, "unique_violation");
    let after = shop.get("_schema?ids=tag,customer").await.ok_json();
    assert_eq!(before, after);
    shop.get("_schema/brand_new")
        .await
        .refused(404, "unknown_table");
    shop.post(
        "_schema",
        json!({"resource": [
            {"name": "fine", "field": [{"name": "id", "type": "id"}]},
            {"name": "wrong", "field": [{"name": "id", "type": "nonsense"}]}
        ]}),
    )
    .await
    .refused(400, "invalid_body");
    shop.get("_schema/fine").await.refused(404, "unknown_table");
}

async fn what_a_failure_leaves_behind_is_said(tester: Tester) {
    let shop = owner(&tester.shop().await);
    let refused = shop.post("_schema", half_impossible()).await;
    let error = refused.refused(409, "unique_violation");
    let done = error["context"]["done"].as_array().unwrap();
    assert!(done.len() >= 2, "{error}");
    assert!(help(&refused, 409, "unique_violation").contains("context.done"));
    // What was done is known at once.
    shop.get("_table/brand_new")
        .await
        .is(&json!({"resource": []}));
    assert_eq!(field(&shop, "tag", "extra").await["type"], "string");
}

async fn hostile_names_are_names(tester: Tester) {
    let shop = owner(&tester.shop().await);
    for (number, name) in [
        "select",
        "order",
        "a b",
        "semi;colon",
        "apo'strophe",
        "quo\"te",
        "back`tick",
        "brac]ket",
        "per%cent",
        "sla/sh",
        "back\\slash",
        "-- comment",
        "x\"); DROP TABLE customer; --",
        "名前",
    ]
    .into_iter()
    .enumerate()
    {
        let table = format!("{name} {number}");
        let body = json!({"resource": [{"name": table, "field": [
            {"name": "id", "type": "id"},
            {"name": name, "type": "string", "length": 20, "default": "d", "is_unique": true}
        ]}]});
        shop.post("_schema", body).await.ok_text();
        let path = encoded(&table);
        shop.post(
            &format!("_table/{path}"),
            json!({"resource": [{name: "v"}]}),
        )
        .await
        .ok_text();
        let record = shop.get(&format!("_table/{path}/1")).await.ok_json();
        assert_eq!(record[name], "v", "{record}");
        let next = format!("{name}2");
        let target = format!("_schema/{path}/_field/{}", encoded(name));
        shop.patch(&target, json!({"new_name": next}))
            .await
            .ok_text();
        shop.post(
            &format!("_schema/{path}/_field"),
            json!({"resource": [{"name": name, "type": "integer", "is_index": true, "allow_null": true}]}),
        )
        .await
        .ok_text();
        shop.delete(&format!("_schema/{path}/_field?ids={}", encoded(&next)))
            .await
            .ok_text();
        shop.delete(&format!("_schema/{path}")).await.ok_text();
    }
    assert_eq!(shop.count("customer").await, json!(4));
    // Names of the longest length, whose indexes would have longer ones.
    let long = "a".repeat(60);
    let body = json!({"resource": [{"name": long, "field": [
        {"name": "id", "type": "id"},
        {"name": format!("{long}b"), "type": "integer", "is_index": true, "allow_null": true},
        {"name": format!("{long}c"), "type": "integer", "is_unique": true, "allow_null": true},
        {"name": format!("{long}d"), "type": "reference", "ref_table": "customer", "allow_null": true}
    ]}]});
    shop.post("_schema", body).await.ok_text();
    let described = shop.get(&format!("_schema/{long}")).await.ok_json();
    assert_eq!(described["field"][1]["is_index"], true);
    assert_eq!(described["field"][2]["is_unique"], true);
    assert_eq!(described["field"][3]["is_foreign_key"], true);
}

async fn names_that_cannot_be_are_refused(tester: Tester) {
    let shop = owner(&tester.shop().await);
    let id = json!({"name": "id", "type": "id"});
    for name in ["", "  ", "a\u{0}b", &"x".repeat(300)] {
        let body = json!({"resource": [{"name": name, "field": [id]}]});
        shop.post("_schema", body)
            .await
            .refused(400, "invalid_body");
        let body = json!({"resource": [{"name": name, "type": "integer", "allow_null": true}]});
        shop.post("_schema/tag/_field", body)
            .await
            .refused(400, "invalid_body");
        if !name.is_empty() {
            shop.patch("_schema/tag", json!({"new_name": name}))
                .await
                .refused(400, "invalid_body");
            shop.patch("_schema/tag/_field/label", json!({"new_name": name}))
                .await
                .refused(400, "invalid_body");
        }
    }
    let twice =
        json!({"resource": [{"name": "t", "field": [id, {"name": "ID", "type": "integer"}]}]});
    shop.post("_schema", twice)
        .await
        .refused(400, "invalid_body");
    let table = json!({"name": "t", "field": [id]});
    shop.post("_schema", json!({"resource": [table, table]}))
        .await
        .refused(400, "invalid_body");
    shop.post("_schema", json!({"resource": [{"name": "t", "field": []}]}))
        .await
        .refused(400, "invalid_body");
    shop.get("_schema/t").await.refused(404, "unknown_table");
}

async fn sql_is_never_taken(tester: Tester) {
    let shop = owner(&tester.shop().await);
    let with = |member: &str, value: Value| {
        let mut field = json!({"name": "bad", "type": "integer", "allow_null": true});
        field[member] = value;
        json!({"resource": [field]})
    };
    for body in [
        with("sql", json!("int default 7")),
        with("type", json!("int); DROP TABLE customer; --")),
        with("type", json!("integer check (1=1)")),
        with("type", json!("varchar(10) default 'x'")),
        with("type", json!("varchar(10); DROP TABLE customer")),
        with("type", json!("decimal(12,2,3)")),
        with("type", json!("decimal(1,2)")),
        with("type", json!("varchar(-1)")),
        with("type", json!("varchar(99999999999)")),
        with("type", json!("integer(5)")),
        with("type", json!("serial")),
        with("length", json!("10); DROP TABLE customer")),
        with("default", json!({"expression": "(SELECT 1)"})),
        with("db_type", json!("int; DROP TABLE customer")),
        with("ref_on_delete", json!("CASCADE; DROP TABLE customer")),
    ] {
        shop.post("_schema/tag/_field", body)
            .await
            .refused(400, "invalid_body");
    }
    let table = json!({"resource": [
        {"name": "t", "options": "ENGINE=MEMORY", "field": [{"name": "id", "type": "id"}]}
    ]});
    let refused = shop.post("_schema", table).await;
    assert!(help(&refused, 400, "invalid_body").contains("SQL"));
    let names = shop.get("_schema/tag/_field").await.column("name");
    assert_eq!(names, [json!("id"), json!("label")]);
    assert_eq!(shop.count("customer").await, json!(4));
}

async fn what_is_not_known_is_refused_with_help(tester: Tester) {
    let shop = owner(&tester.shop().await);
    let refused = shop
        .patch("_schema/tag/_field/label", json!({"lenght": 10}))
        .await;
    assert!(help(&refused, 400, "invalid_body").contains("'length'"));
    let refused = shop
        .patch("_schema/tag/_field/lable", json!({"allow_null": true}))
        .await;
    assert!(help(&refused, 404, "unknown_resource").contains("'label'"));
    let refused = shop
        .post(
            "_schema/tag/_field",
            json!({"resource": [{"name": "new", "type": "strng"}]}),
        )
        .await;
    assert!(help(&refused, 400, "invalid_body").contains("'string'"));
    let refused = shop.patch("_schema/tag?forse=true", json!({})).await;
    refused.refused(400, "unknown_parameter");
    let refused = shop
        .put("_schema/tag?forse=true", json!({"field": []}))
        .await;
    assert!(help(&refused, 400, "unknown_parameter").contains("'force'"));
    for (target, body) in [
        ("_schema/tag", json!({"label": "Mark"})),
        ("_schema/tag/_field/label", json!({"label": "Caption"})),
        ("_schema/tag/_field/label", json!({"picklist": ["a", "b"]})),
        (
            "_schema/tag/_field/label",
            json!({"validation": {"not_empty": null}}),
        ),
    ] {
        let refused = shop.patch(target, body).await;
        assert!(
            help(&refused, 400, "invalid_body").contains("[service.NAME.config.table.TABLE]"),
            "{}",
            refused.text()
        );
    }
    let relation = json!({"resource": [
        {"type": "has_many", "is_virtual": true, "field": "id", "ref_table": "invoice", "ref_field": "id"}
    ]});
    let refused = shop.post("_schema/tag/_related", relation).await;
    assert!(help(&refused, 400, "invalid_body").contains("[service.NAME.config.table.TABLE]"));
    let refused = shop
        .request("POST", "_schema")
        .text("text/csv", "name\nt")
        .send()
        .await;
    refused.refused(415, "unsupported_media_type");
    for body in ["{", "[]", "{}", "7", "{\"resource\": 7}"] {
        let request = shop.request("POST", "_schema");
        let refused = request.text("application/json", body).send().await;
        refused.refused(400, "invalid_body");
    }
}

async fn views_are_not_changed(tester: Tester) {
    let shop = owner(&tester.shop().await);
    shop.delete("_schema/active_customer")
        .await
        .refused(400, "invalid_body");
    shop.patch(
        "_schema/active_customer",
        json!({"field": [{"name": "more", "type": "integer"}]}),
    )
    .await
    .refused(400, "invalid_body");
    // MySQL and MariaDB let go of a column that a view shows, and leave a view that cannot be read.
    if keeps_each_change(&tester.words()) {
        return;
    }
    let refused = shop.delete("_schema/customer/_field/email").await;
    assert!(matches!(refused.status, 400 | 409), "{}", refused.text());
    shop.get("_table/active_customer?fields=email")
        .await
        .ok_text();
}

async fn the_next_call_sees_the_change(tester: Tester) {
    let shop = owner(&tester.shop().await);
    for round in 0..3 {
        shop.get("_table/line").await.ok_text();
        let name = format!("added_{round}");
        let field = json!({"name": name, "type": "integer", "default": round});
        shop.post("_schema/line/_field", json!({"resource": [field]}))
            .await
            .ok_text();
        let values = shop.get("_table/line").await.column(&name);
        assert_eq!(values, [json!(round), json!(round), json!(round)]);
        shop.delete(&format!("_schema/line/{name}")).await.ok_text();
        let record = &shop.get("_table/line").await.ok_json()["resource"][0];
        assert!(record.get(&name).is_none(), "{record}");
    }
}

async fn everything_does_not_grant_changes(tester: Tester) {
    let shop = tester.shop().await;
    for rows in [
        vec![allow("*", ALL)],
        vec![allow("*", ALL), allow("_table/*", ALL)],
        vec![allow("*", ALL), allow("_schema/*", &["GET"])],
        vec![allow("_*", ALL)],
    ] {
        let caller = shop.with_role(&rows);
        for (method, target) in [
            ("POST", "_schema"),
            ("PUT", "_schema"),
            ("PATCH", "_schema"),
            ("DELETE", "_schema?ids=tag"),
            ("DELETE", "_schema/tag"),
            ("PUT", "_schema/tag"),
            ("POST", "_schema/tag/_field"),
            ("PATCH", "_schema/tag/_field/label"),
            ("DELETE", "_schema/tag/label"),
            ("POST", "_schema/tag/_related"),
        ] {
            caller
                .request(method, target)
                .json(&json!({}))
                .send()
                .await
                .refused(403, "forbidden");
        }
    }
    shop.get("_schema/tag").await.ok_text();
    assert_eq!(shop.count("tag").await, json!(2));
}

async fn changes_need_a_row_for_each_table(tester: Tester) {
    let shop = tester.shop().await;
    let id = json!({"name": "id", "type": "id"});
    let one = shop.with_role(&[
        allow("*", &["GET"]),
        allow("_schema", ALL),
        allow("_schema/tag/*", &["PATCH", "DELETE", "POST"]),
        allow("_schema/made", &["POST"]),
    ]);
    let made = json!({"resource": [{"name": "made", "field": [id]}]});
    one.post("_schema", made).await.ok_text();
    let other = json!({"resource": [{"name": "other", "field": [id]}]});
    one.post("_schema", other).await.refused(403, "forbidden");
    let more =
        json!({"resource": [{"name": "customer", "field": [{"name": "x", "type": "integer"}]}]});
    one.patch("_schema", more).await.refused(403, "forbidden");
    one.delete("_schema?ids=made")
        .await
        .refused(403, "forbidden");
    one.patch("_schema/tag", json!({"new_name": "mark"}))
        .await
        .refused(403, "forbidden");
    one.patch("_schema/tag/_field/label", json!({"new_name": "caption"}))
        .await
        .ok_text();
    one.put("_schema/tag", json!({"field": []}))
        .await
        .refused(403, "forbidden");
    let denied = shop.with_role(&[
        allow("*", ALL),
        allow("_schema/*", ALL),
        deny("_schema/tag/*", &["DELETE"]),
        allow("_table/*", ALL),
        deny("_table/profile/*", ALL),
    ]);
    denied.delete("_schema/tag").await.refused(403, "forbidden");
    denied
        .delete("_schema?ids=tag")
        .await
        .refused(403, "forbidden");
    denied
        .delete("_schema/tag/_field/label")
        .await
        .refused(403, "forbidden");
    // Who refers to a table must be able to read it.
    let refers = json!({"resource": [
        {"name": "bio_id", "type": "reference", "ref_table": "profile", "allow_null": true}
    ]});
    denied
        .post("_schema/line/_field", refers)
        .await
        .refused(403, "forbidden");
    assert_eq!(shop.count("tag").await, json!(2));
}

async fn what_a_role_does_not_see_it_does_not_change(tester: Tester) {
    let shop = tester.shop().await;
    let all_but_get = allow("_schema/*", ALL);
    let narrow = shop.with_role(&[
        allow("*", ALL),
        all_but_get.clone(),
        allow("_table/line/*", ALL).fields(&["invoice_id", "position", "product"]),
    ]);
    narrow
        .delete("_schema/line/_field/quantity")
        .await
        .refused(404, "unknown_resource");
    narrow
        .delete("_schema/line")
        .await
        .refused(403, "forbidden");
    narrow
        .post(
            "_schema/line/_field",
            json!({"resource": [{"name": "quantity", "type": "text"}]}),
        )
        .await
        .refused(403, "forbidden");
    // What is hidden is not among the fields that a PUT drops.
    let wanted = json!({"field": [{"name": "invoice_id"}, {"name": "position"}]});
    narrow
        .put("_schema/line?force=true", wanted)
        .await
        .ok_text();
    let names = shop.get("_schema/line/_field").await.column("name");
    assert_eq!(
        names,
        [json!("invoice_id"), json!("position"), json!("quantity")]
    );

    let listed = shop.with_role(&[
        allow("*", ALL),
        allow("_schema/tag/*", ALL).fields(&["id", "label", "note"]),
    ]);
    let add =
        |name: &str| json!({"resource": [{"name": name, "type": "text", "allow_null": true}]});
    listed
        .post("_schema/tag/_field", add("note"))
        .await
        .ok_text();
    listed
        .post("_schema/tag/_field", add("other"))
        .await
        .refused(403, "forbidden");
    listed.delete("_schema/tag").await.refused(403, "forbidden");

    let filtered = shop.with_role(&[
        allow("*", ALL),
        allow("_schema/tag/*", ALL).filter("id = 1"),
    ]);
    filtered
        .post("_schema/tag/_field", add("another"))
        .await
        .refused(403, "forbidden");
}
