//! Are tables changed through the whole stack by those, and only those, who have a row for it?

use std::fs;

use serde_json::json;

use crate::support::sample::{self, ADMIN};
use crate::support::{TestGateway, WatchedDirectory};

/// The key of the role that may change tables.
const OWNER: &str = "key-of-the-owner-of-tables-0123456789";

fn start() -> (WatchedDirectory, TestGateway) {
    let directory = sample::shop();
    let mut role = String::from(
        r#"[role.owner]
[[role.owner.access]]
service = "shop"
component = "*"
verbs = ["GET", "POST", "PUT", "PATCH", "DELETE"]
[[role.owner.access]]
service = "shop"
component = "_schema/*"
verbs = ["GET", "POST", "PUT", "PATCH", "DELETE"]

[[expect]]
key = "owner"
request = "POST /api/v2/shop/_schema"
answer = "allowed"

[[expect]]
key = "admin"
request = "DELETE /api/v2/shop/_schema/tag"
answer = "denied"

"#,
    );
    role.push_str(&sample::key("owner", "owner", OWNER));
    fs::write(directory.tree().join("owner.toml"), role).unwrap();
    let gateway = TestGateway::start_with_data(directory.tree(), directory.data());
    (directory, gateway)
}

const TODO: &str = "/api/v2/shop/_table/todo";

#[test]
fn a_table_is_made_used_changed_and_dropped() {
    let (_directory, gateway) = start();
    let client = gateway.client_with(OWNER);
    let table = json!({"resource": [{"name": "todo", "field": [
        {"name": "id", "type": "id"},
        {"name": "title", "type": "string", "length": 120},
        {"name": "done", "type": "boolean", "default": false},
        {"name": "customer_id", "type": "reference", "ref_table": "customer", "allow_null": true},
        {"name": "made_at", "type": "datetime", "default": {"expression": "NOW()"}}
    ]}]});
    let made = client.send_json("POST", "/api/v2/shop/_schema", &table);
    assert_eq!(
        made.expect_ok().json(),
        json!({"resource": [{"name": "todo"}]})
    );
    let record = json!({"resource": [{"title": "Wash up", "customer_id": 1}]});
    client.send_json("POST", TODO, &record).expect_ok();
    let related = format!("{TODO}?related=customer_by_customer_id");
    let record = &client.get(&related).records()[0];
    assert_eq!(record["done"], false);
    assert_eq!(
        record["customer_by_customer_id"]["email"],
        "ann@example.org"
    );
    let todo = "/api/v2/shop/_schema/todo";
    let refused = client.send_json(
        "PUT",
        todo,
        &json!({"field": [{"name": "id"}, {"name": "title"}]}),
    );
    refused.expect_error(400, "invalid_parameter");
    let field = format!("{todo}/_field/title");
    client
        .send_json("PATCH", &field, &json!({"new_name": "caption"}))
        .expect_ok();
    assert_eq!(client.get(TODO).records()[0]["caption"], "Wash up");
    // The documentation knows the table as it is now.
    let document = client.get("/api/v2/api_docs/shop").json().to_string();
    assert!(document.contains("caption") && document.contains("/_schema/{table}"));
    let dropped = client.request("DELETE", todo).send();
    assert_eq!(dropped.expect_ok().json(), json!({"success": true}));
    client.get(TODO).expect_error(404, "unknown_table");
    gateway.stop();
}

#[test]
fn a_role_for_everything_changes_no_tables() {
    let (_directory, gateway) = start();
    let client = gateway.client_with(ADMIN);
    let table = json!({"resource": [{"name": "todo", "field": [{"name": "id", "type": "id"}]}]});
    let refused = client.send_json("POST", "/api/v2/shop/_schema", &table);
    refused.expect_error(403, "forbidden");
    let help = refused.json()["error"]["help"].clone();
    assert!(help.as_str().unwrap().contains("`_schema`"), "{help}");
    for target in ["_schema/tag", "_schema/tag/_field/label", "_schema?ids=tag"] {
        let target = format!("/api/v2/shop/{target}");
        let refused = client.request("DELETE", &target).send();
        refused.expect_error(403, "forbidden");
    }
    // A tunnelled method is judged as what it is.
    let tunnelled = client
        .request("POST", "/api/v2/shop/_schema/tag")
        .header("X-HTTP-Method", "DELETE")
        .send();
    tunnelled.expect_error(403, "forbidden");
    let document = client.get("/api/v2/api_docs/shop").json();
    let paths = document["paths"].as_object().unwrap();
    for (path, methods) in paths.iter().filter(|(path, _)| path.contains("_schema")) {
        for method in ["post", "put", "patch", "delete"] {
            assert!(methods.get(method).is_none(), "{method} {path}");
        }
    }
    client.get("/api/v2/shop/_table/tag").expect_ok();
    gateway.stop();
}

#[test]
fn a_database_that_is_read_only_stays_as_it_is() {
    let directory = sample::shop();
    let mut manifest = sample::sqlite_service("shop", "shop.db");
    manifest.push_str("read_only = true\n\n");
    let manifest = manifest.replace("\n\nread_only", "\nread_only");
    let mut role = String::from(
        "[role.owner]\n[[role.owner.access]]\nservice = \"shop\"\ncomponent = \"_schema/*\"\nverbs = [\"GET\", \"POST\"]\n\n",
    );
    role.push_str(&sample::key("owner", "owner", OWNER));
    for entry in fs::read_dir(directory.tree()).unwrap() {
        fs::remove_file(entry.unwrap().path()).unwrap();
    }
    fs::write(directory.tree().join("all.toml"), manifest + &role).unwrap();
    let gateway = TestGateway::start_with_data(directory.tree(), directory.data());
    let client = gateway.client_with(OWNER);
    let table = json!({"resource": [{"name": "todo", "field": [{"name": "id", "type": "id"}]}]});
    client
        .send_json("POST", "/api/v2/shop/_schema", &table)
        .expect_error(403, "forbidden");
    client
        .get("/api/v2/shop/_schema/todo")
        .expect_error(404, "unknown_table");
    gateway.stop();
}
