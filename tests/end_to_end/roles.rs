//! Who may do what?

use serde_json::{Value, json};

use crate::support::sample::{self, key};
use crate::support::{Answer, TestGateway, WatchedDirectory};

const CUSTOMER: &str = "/api/v2/shop/_table/customer";
const NARROW: &str = "key-of-the-narrow-role-0123456789";
const NORTH: &str = "key-of-the-northern-role-0123456789";
const COLUMNS: &str = "key-of-the-column-role-0123456789";
const DENIED: &str = "key-of-the-denied-role-0123456789";

fn roles() -> WatchedDirectory {
    let mut manifest = String::from(
        r#"
[service.asleep]
type = "sqlite"
active = false
[service.asleep.config]
database = "shop.db"

[role.narrow]
[[role.narrow.access]]
service = "shop"
component = "_table/tag/*"
verbs = ["GET"]

[role.north]
[[role.north.access]]
service = "shop"
component = "_table/customer/*"
verbs = ["GET", "POST", "PATCH", "DELETE"]
filter = "owner = 'north'"

[role.columns]
[[role.columns.access]]
service = "shop"
component = "_table/customer/*"
verbs = ["GET", "POST", "PATCH"]
fields = ["id", "email", "is_active"]
[[role.columns.access]]
service = "shop"
component = "_schema/*"
verbs = ["GET"]

[role.denied]
[[role.denied.access]]
service = "*"
component = "*"
verbs = ["GET", "DELETE"]
[[role.denied.access]]
service = "shop"
component = "_table/secret/*"
verbs = ["GET", "DELETE"]
deny = true
[[role.denied.access]]
service = "shop"
component = "_table/customer/*"
verbs = ["DELETE"]
deny = true
[[role.denied.access]]
service = "shop"
component = "_table/customer/*"
verbs = ["GET"]
"#,
    );
    manifest.push_str(&key("narrow", "narrow", NARROW));
    manifest.push_str(&key("north", "north", NORTH));
    manifest.push_str(&key("columns", "columns", COLUMNS));
    manifest.push_str(&key("denied", "denied", DENIED));
    sample::shop_with(&manifest)
}

fn start() -> (WatchedDirectory, TestGateway) {
    let directory = roles();
    let gateway = TestGateway::start_with_data(directory.tree(), directory.data());
    (directory, gateway)
}

fn ids(answer: &Answer) -> Vec<i64> {
    let records = answer.records();
    let mut ids: Vec<i64> = records
        .iter()
        .map(|row| row["id"].as_i64().unwrap())
        .collect();
    ids.sort_unstable();
    ids
}

#[test]
fn nothing_is_allowed_that_no_row_allows() {
    let (_directory, gateway) = start();
    let client = gateway.client_with(NARROW);
    client.get("/api/v2/shop/_table/tag").expect_ok();
    client.get("/api/v2/shop/_table/tag/1").expect_ok();
    for path in [
        CUSTOMER,
        "/api/v2/shop/_table/customer/1",
        "/api/v2/shop/_table/secret",
        "/api/v2/shop/_schema/customer",
    ] {
        client.get(path).expect_error(403, "forbidden");
    }
    client
        .send_json(
            "POST",
            "/api/v2/shop/_table/tag",
            &json!({"resource": [{"label": "x"}]}),
        )
        .expect_error(403, "forbidden");
    gateway.stop();
}

#[test]
fn a_403_does_not_tell_whether_the_service_or_the_table_exists() {
    let (_directory, gateway) = start();
    let client = gateway.client_with(NARROW);
    let told = |path: &str, name: &str| {
        let answer = client.get(path);
        answer.expect_error(403, "forbidden");
        let mut body = answer.json();
        body["error"]["request_id"] = Value::Null;
        body.to_string().replace(name, "NAME")
    };
    assert_eq!(
        told("/api/v2/asleep/_table/x", "asleep"),
        told("/api/v2/absent/_table/x", "absent")
    );
    assert_eq!(
        told("/api/v2/shop/_table/secret", "secret"),
        told("/api/v2/shop/_table/absent", "absent")
    );
    // Whoever may see the name is told.
    let reader = gateway.client_with(sample::READER);
    reader
        .get("/api/v2/absent/_table/x")
        .expect_error(404, "unknown_service");
    reader
        .get("/api/v2/asleep/_table/x")
        .expect_error(403, "service_deactivated");
    gateway.stop();
}

#[test]
fn the_list_of_tables_shows_what_the_role_may_see() {
    let (_directory, gateway) = start();
    let names = |key: &str| {
        let answer = gateway.client_with(key).get("/api/v2/shop/_table");
        let records = answer.records();
        let mut names: Vec<String> = records
            .iter()
            .map(|row| row["name"].as_str().unwrap().to_owned())
            .collect();
        names.sort();
        names
    };
    let all = [
        "customer",
        "invoice",
        "invoice_tag",
        "rich",
        "secret",
        "tag",
    ];
    assert_eq!(names(sample::READER), all);
    let without_secret: Vec<&str> = all.into_iter().filter(|name| *name != "secret").collect();
    assert_eq!(names(DENIED), without_secret);
    gateway.stop();
}

#[test]
fn a_deny_row_wins_and_concerns_the_verbs_it_lists() {
    let (_directory, gateway) = start();
    let client = gateway.client_with(DENIED);
    client.get(CUSTOMER).expect_ok();
    client
        .get("/api/v2/shop/_table/secret")
        .expect_error(403, "forbidden");
    client
        .get("/api/v2/shop/_table/secret/1")
        .expect_error(403, "forbidden");
    client
        .get("/api/v2/shop/_table/SECRET/1")
        .expect_error(403, "forbidden");
    let delete = client
        .request("DELETE", "/api/v2/shop/_table/customer/4")
        .send();
    delete.expect_error(403, "forbidden");
    gateway.stop();
}

#[test]
fn related_tables_are_checked_like_any_other() {
    let (_directory, gateway) = start();
    let north = gateway.client_with(NORTH);
    let answer = north.query(CUSTOMER, &[("related", "invoice_by_customer_id")]);
    assert!(
        answer.status == 403 || answer.status == 400,
        "a table that the role does not admit came along: {}",
        answer.text()
    );
    let all = north.query(CUSTOMER, &[("related", "*")]);
    assert!(
        all.status != 200 || !all.text().contains("A-1"),
        "{}",
        all.text()
    );
    gateway.stop();
}

#[test]
fn a_row_filter_holds_on_reads_by_list_by_key_and_by_filter() {
    let (_directory, gateway) = start();
    let client = gateway.client_with(NORTH);
    assert_eq!(ids(&client.get(CUSTOMER)), [1, 2]);
    client.get(&format!("{CUSTOMER}/1")).expect_ok();
    client
        .get(&format!("{CUSTOMER}/3"))
        .expect_error(404, "unknown_record");
    for filter in [
        "id > 0",
        "(id > 0) OR (owner = 'south')",
        "owner = 'south' OR owner = 'north'",
        "NOT (owner = 'north') OR id > 0",
    ] {
        let answer = client.query(CUSTOMER, &[("filter", filter)]);
        assert_eq!(ids(&answer), [1, 2], "{filter}");
    }
    let escaped = client.query(CUSTOMER, &[("filter", "id > 0) OR (id > 0")]);
    escaped.expect_error(400, "invalid_filter");
    let count = client.query(CUSTOMER, &[("count_only", "true")]);
    assert_eq!(count.expect_ok().json(), 2);
    let ids_answer = client.query(CUSTOMER, &[("ids", "1,3")]);
    assert!(
        !ids_answer.text().contains("cy@example.org"),
        "{}",
        ids_answer.text()
    );
    gateway.stop();
}

#[test]
fn a_row_filter_holds_on_writes_and_on_what_they_leave_behind() {
    let (_directory, gateway) = start();
    let client = gateway.client_with(NORTH);
    let admin = gateway.client_with(sample::ADMIN);
    let count = || admin.query(CUSTOMER, &[("count_only", "true")]).json();

    // By key: rows that the filter hides are not there.
    let hidden = format!("{CUSTOMER}/3");
    client
        .send_json("PATCH", &hidden, &json!({"full_name": "taken over"}))
        .expect_error(404, "unknown_record");
    let delete = client.request("DELETE", &hidden).send();
    delete.expect_error(404, "unknown_record");

    // Leaving the filter is refused, on insert and on update, and nothing is half written.
    let outside = json!({"resource": [{"email": "out@example.org", "owner": "south"}]});
    let answer = client.send_json("POST", CUSTOMER, &outside);
    assert!(
        answer.status == 403 || answer.status == 400,
        "{}",
        answer.text()
    );
    client
        .send_json(
            "PATCH",
            &format!("{CUSTOMER}/1"),
            &json!({"owner": "south"}),
        )
        .expect_error(403, "row_not_permitted");
    assert_eq!(count(), 4);
    assert_eq!(admin.get(&format!("{CUSTOMER}/1")).json()["owner"], "north");

    // By filter: only rows inside it.
    let target = crate::support::client::with_options(CUSTOMER, &[("filter", "id > 0")]);
    client
        .send_json(
            "PATCH",
            &target,
            &json!({"resource": {"full_name": "Northern"}}),
        )
        .expect_ok();
    assert_eq!(admin.get(&hidden).json()["full_name"], Value::Null);
    assert_eq!(
        admin.get(&format!("{CUSTOMER}/2")).json()["full_name"],
        "Northern"
    );

    // force deletes what the filter admits: customers 1 and 2 have invoices, so that the keys refuse.
    let forced = client
        .request("DELETE", &format!("{CUSTOMER}?force=true"))
        .send();
    assert!(
        forced.status == 409 || forced.status == 400,
        "{}",
        forced.text()
    );
    assert_eq!(count(), 4);
    gateway.stop();
}

#[test]
fn a_column_outside_the_list_behaves_as_if_it_did_not_exist() {
    let (_directory, gateway) = start();
    let client = gateway.client_with(COLUMNS);
    let record = client.get(&format!("{CUSTOMER}/1"));
    let names: Vec<String> = record
        .expect_ok()
        .json()
        .as_object()
        .unwrap()
        .keys()
        .cloned()
        .collect();
    assert_eq!(names, ["id", "email", "is_active"]);
    for options in [
        [("fields", "id,owner")],
        [("filter", "owner = 'north'")],
        [("order", "owner")],
        [("fields", "credit")],
    ] {
        let answer = client.query(CUSTOMER, &options);
        assert_eq!(answer.status, 400, "{options:?}: {}", answer.text());
        let hidden = answer.error_type();
        assert_eq!(hidden, "unknown_field", "{options:?}");
        // The same words as for a column that really is not there.
        let help = answer.json()["error"]["help"].to_string();
        assert!(
            !help.contains("owner") && !help.contains("credit"),
            "{help}"
        );
    }
    let write = client.send_json(
        "PATCH",
        &format!("{CUSTOMER}/1"),
        &json!({"owner": "south"}),
    );
    write.expect_error(400, "unknown_field");
    let described = client.get("/api/v2/shop/_schema/customer");
    if described.status == 200 {
        assert!(
            !described.text().contains("\"owner\""),
            "{}",
            described.text()
        );
    }
    gateway.stop();
}

#[test]
fn an_upsert_never_touches_a_row_that_the_filter_hides() {
    let directory = roles();
    directory.write(
        "upsert.toml",
        sample::sqlite_service("upsert", "shop.db") + "allow_upsert = true\n",
    );
    let north = r#"
[role.upserter]
[[role.upserter.access]]
service = "upsert"
component = "_table/customer/*"
verbs = ["GET", "POST", "PUT", "PATCH"]
filter = "owner = 'north'"
"#;
    directory.write(
        "upserter.toml",
        format!(
            "{north}{}",
            key("upserter", "upserter", "upserter-key-0123456789")
        ),
    );
    let gateway = TestGateway::start_with_data(directory.tree(), directory.data());
    let client = gateway.client_with("upserter-key-0123456789");
    let admin = gateway.client_with(sample::ADMIN);
    let table = "/api/v2/upsert/_table/customer";
    let before = admin.get(&format!("{CUSTOMER}/3")).json();
    let taken = json!({"id": 3, "email": "taken@example.org", "owner": "north"});
    let put = client.send_json("PUT", &format!("{table}/3"), &taken);
    assert!(put.status >= 400, "{}", put.text());
    let post = client.send_json(
        "POST",
        &format!("{table}?upsert=true"),
        &json!({"resource": [taken]}),
    );
    assert!(post.status >= 400, "{}", post.text());
    assert_eq!(admin.get(&format!("{CUSTOMER}/3")).json(), before);
    // Inside the filter both work, and make no second record.
    let own = json!({"email": "new@example.org", "owner": "north"});
    for _ in 0..2 {
        let put = client.send_json("PUT", &format!("{table}/70"), &own);
        put.expect_ok();
    }
    let outside = json!({"email": "out@example.org", "owner": "south"});
    let put = client.send_json("PUT", &format!("{table}/71"), &outside);
    put.expect_error(403, "row_not_permitted");
    let count = admin.query(CUSTOMER, &[("count_only", "true")]);
    assert_eq!(count.json(), 5);
    gateway.stop();
}

#[test]
fn a_parent_that_the_filter_hides_is_not_embedded() {
    let directory = sample::shop_with(&format!(
        r#"
[role.books]
[[role.books.access]]
service = "shop"
component = "_table/invoice/*"
verbs = ["GET"]
[[role.books.access]]
service = "shop"
component = "_table/customer/*"
verbs = ["GET"]
filter = "owner = 'north'"
fields = ["id", "email"]

{}"#,
        key("books", "books", "books-key-0123456789")
    ));
    let gateway = TestGateway::start_with_data(directory.tree(), directory.data());
    let client = gateway.client_with("books-key-0123456789");
    let relation = "customer_by_customer_id";
    for more in [
        ("order", "id"),
        ("customer_by_customer_id.filter", "id > 0"),
        ("customer_by_customer_id.fields", "*"),
    ] {
        let answer = client.query(
            "/api/v2/shop/_table/invoice",
            &[("related", relation), more],
        );
        let rows = answer.records();
        assert_eq!(
            rows[0][relation],
            json!({"id": 1, "email": "ann@example.org"}),
            "{more:?}"
        );
        assert_eq!(rows[3][relation], Value::Null, "{more:?}");
    }
    for hidden in [
        ("customer_by_customer_id.fields", "owner"),
        ("customer_by_customer_id.filter", "owner = 'south'"),
    ] {
        let answer = client.query(
            "/api/v2/shop/_table/invoice",
            &[("related", relation), hidden],
        );
        answer.expect_error(400, "unknown_field");
    }
    gateway.stop();
}
