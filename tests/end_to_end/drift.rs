//! What happens when tables change beside the gateway?

use std::process::{Command, Output};

use serde_json::Value;

use crate::support::gateway::{Start, binary};
use crate::support::git::git;
use crate::support::sample::{self, ADMIN};
use crate::support::watched::commit;
use crate::support::{TestGateway, WatchedDirectory, eventually};

/// The shop, whose database is asked for its tables every second.
fn start(more: &str) -> (WatchedDirectory, TestGateway) {
    let directory = WatchedDirectory::new();
    sample::create_shop(&directory.data().join("shop.db"));
    let service = sample::sqlite_service("shop", "shop.db");
    let service = service.trim_end();
    let text = format!("{service}\nschema_check_seconds = 1\n{more}\n");
    directory.write("shop.toml", text);
    directory.write("people.toml", sample::people());
    let gateway = TestGateway::start_with_data(directory.tree(), directory.data());
    (directory, gateway)
}

fn sql(directory: &WatchedDirectory, text: &str) {
    let connection = rusqlite::Connection::open(directory.data().join("shop.db")).unwrap();
    connection.execute_batch(text).unwrap();
}

#[test]
fn new_tables_and_columns_are_served_without_being_asked_for() {
    let (directory, gateway) = start("");
    let client = gateway.client_with(ADMIN);
    client.get("/api/v2/shop/_table/tag").expect_ok();
    let metrics = gateway.operations("/metrics").text();
    assert!(
        metrics.contains("tidegate_schema_changes_total{service=\"shop\"} 0\n"),
        "{metrics}"
    );
    sql(
        &directory,
        "CREATE TABLE note (id INTEGER PRIMARY KEY, text TEXT); ALTER TABLE tag ADD COLUMN colour TEXT DEFAULT 'red';",
    );
    eventually("the new column is read", 20, || {
        let tags = client.get("/api/v2/shop/_table/tag");
        tags.expect_ok().records()[0].get("colour").cloned()
    });
    client.get("/api/v2/shop/_table/note").expect_ok();
    let metrics = gateway.operations("/metrics").text();
    assert!(
        metrics.contains("tidegate_schema_changes_total{service=\"shop\"} 1\n"),
        "{metrics}"
    );
    assert!(metrics.contains("tidegate_schema_age_seconds{service=\"shop\"} "));
    let log = gateway.log();
    let event = log
        .lines()
        .find(|line| line.contains("the tables of the database changed"))
        .expect("the log has the event");
    for part in ["note", "tag (colour)", "shop"] {
        assert!(event.contains(part), "{part} is not in {event}");
    }
    gateway.stop();
}

fn tidegate(arguments: &[&str]) -> Output {
    Command::new(binary()).args(arguments).output().unwrap()
}

/// A tree with the shop under a contract, and its folders as texts.
fn under_contract(mode: &str) -> (WatchedDirectory, String, String) {
    let directory = WatchedDirectory::new();
    sample::create_shop(&directory.data().join("shop.db"));
    write_shop(&directory, mode);
    directory.write("people.toml", sample::people());
    let folder = |path: std::path::PathBuf| path.to_str().unwrap().to_owned();
    let (tree, data) = (folder(directory.tree()), folder(directory.data()));
    (directory, tree, data)
}

fn write_shop(directory: &WatchedDirectory, mode: &str) {
    let service = sample::sqlite_service("shop", "shop.db");
    let settings = format!("schema_check_seconds = 1\ncontract = \"{mode}\"");
    directory.write("shop.toml", format!("{}\n{settings}\n", service.trim_end()));
}

fn contract(what: &str, tree: &str, data: &str, more: &[&str]) -> (Option<i32>, String) {
    let mut arguments = vec![
        "contract",
        what,
        "shop",
        "--config",
        tree,
        "--data-dir",
        data,
    ];
    arguments.extend(more);
    let output = tidegate(&arguments);
    let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    (output.status.code(), text)
}

const DRIFT: &str =
    "ALTER TABLE customer ADD COLUMN colour TEXT; ALTER TABLE tag DROP COLUMN label_length;
    CREATE TABLE note (id INTEGER PRIMARY KEY);";

/// The shop with a column that can be dropped.
fn droppable(directory: &WatchedDirectory) {
    sql(
        directory,
        "ALTER TABLE tag ADD COLUMN label_length INTEGER NOT NULL DEFAULT 0",
    );
}

#[test]
fn a_contract_is_locked_checked_and_shown_by_the_command_line() {
    let (directory, tree, data) = under_contract("strict");
    droppable(&directory);
    let missing = tidegate(&["check", &tree]);
    assert_eq!(missing.status.code(), Some(1));
    let text = String::from_utf8(missing.stdout).unwrap();
    for part in [
        "contracts/shop.json",
        "shop.toml:8:",
        "tidegate contract lock shop",
    ] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
    let (code, text) = contract("check", &tree, &data, &[]);
    assert_eq!(code, Some(1), "{text}");
    let (code, text) = contract("lock", &tree, &data, &[]);
    assert_eq!(code, Some(0), "{text}");
    let file = directory.tree().join("contracts/shop.json");
    let first = std::fs::read(&file).unwrap();
    let (code, text) = contract("lock", &tree, &data, &["--format", "json"]);
    assert_eq!(code, Some(0), "{text}");
    let said: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(said["written"], false, "nothing had changed");
    assert_eq!(std::fs::read(&file).unwrap(), first);
    assert_eq!(tidegate(&["check", &tree]).status.code(), Some(0));
    assert_eq!(contract("check", &tree, &data, &[]).0, Some(0));
    let (_, shown) = contract("show", &tree, &data, &[]);
    assert!(shown.contains("customer\n  id INTEGER"), "{shown}");

    sql(&directory, DRIFT);
    let (code, text) = contract("check", &tree, &data, &[]);
    assert_eq!(code, Some(1));
    for line in [
        "customer.colour: the column is there and not locked",
        "tag.label_length: the column is locked and not there",
        "note: the table is there and not locked",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
    let (code, text) = contract("check", &tree, &data, &["--format", "json"]);
    assert_eq!(code, Some(1));
    let drift: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(drift["tables"][0]["added"], serde_json::json!(["colour"]));

    directory.write("contracts/shop.json", "{\"format\":1,\"tabels\":{}}");
    let broken = tidegate(&["check", &tree]);
    assert_eq!(broken.status.code(), Some(1));
    let text = String::from_utf8(broken.stdout).unwrap();
    assert!(
        text.contains("tabels") && text.contains("shop.toml:8:"),
        "{text}"
    );
    let nobody = tidegate(&["contract", "lock", "nobody", "--config", &tree]);
    assert_eq!(nobody.status.code(), Some(1));
}

#[test]
fn a_strict_contract_refuses_what_drifted_and_serves_the_rest() {
    let (directory, tree, data) = under_contract("strict");
    droppable(&directory);
    assert_eq!(contract("lock", &tree, &data, &[]).0, Some(0));
    let gateway = TestGateway::start_with_data(directory.tree(), directory.data());
    gateway.claim("contract");
    let client = gateway.client_with(ADMIN);
    client.get("/api/v2/shop/_table/tag").expect_ok();
    let metrics = gateway.operations("/metrics").text();
    let gauge = "tidegate_contract_drifted_tables{service=\"shop\"} ";
    assert!(metrics.contains(&format!("{gauge}0\n")), "{metrics}");

    sql(&directory, DRIFT);
    let refused = eventually("the drift is seen", 20, || {
        let answer = client.get("/api/v2/shop/_table/tag?fields=id");
        (answer.status != 200).then_some(answer)
    });
    refused.expect_error(503, "contract_violated");
    assert!(refused.header("retry-after").is_some());
    let message = refused.json()["error"]["message"].to_string();
    assert!(
        message.contains("tag") && !message.contains("label_length"),
        "{message}"
    );
    client
        .get("/api/v2/shop/_table/note")
        .expect_error(503, "contract_violated");
    client.get("/api/v2/shop/_table/invoice").expect_ok();
    client
        .get("/api/v2/shop/_table/invoice?related=customer_by_customer_id")
        .expect_error(503, "contract_violated");
    let status = gateway.status().to_string();
    assert!(status.contains("tag (lacks label_length)"), "{status}");
    assert!(
        gateway
            .operations("/metrics")
            .text()
            .contains(&format!("{gauge}3\n"))
    );

    // Locking it anew is a change of the tree, and goes live.
    let before = gateway.generation();
    assert_eq!(contract("lock", &tree, &data, &[]).0, Some(0));
    gateway.wait_for_generation_after(before);
    client.get("/api/v2/shop/_table/tag").expect_ok();
    gateway.stop();
}

#[test]
fn a_shape_is_trimmed_and_a_warning_served() {
    let (directory, tree, data) = under_contract("shape");
    droppable(&directory);
    assert_eq!(contract("lock", &tree, &data, &[]).0, Some(0));
    sql(&directory, DRIFT);
    let gateway = TestGateway::start_with_data(directory.tree(), directory.data());
    gateway.claim("contract");
    let client = gateway.client_with(ADMIN);
    let customers = client.get("/api/v2/shop/_table/customer");
    let first = &customers.expect_ok().records()[0];
    assert!(
        first.get("full_name").is_some() && first.get("colour").is_none(),
        "{first}"
    );
    client
        .get("/api/v2/shop/_table/customer?filter=colour='red'")
        .expect_error(400, "unknown_field");
    client
        .get("/api/v2/shop/_table/note")
        .expect_error(404, "unknown_table");
    client
        .get("/api/v2/shop/_table/tag")
        .expect_error(503, "contract_violated");

    let before = gateway.generation();
    write_shop(&directory, "warn");
    gateway.wait_for_generation_after(before);
    for table in ["customer", "note", "tag"] {
        client
            .get(&format!("/api/v2/shop/_table/{table}"))
            .expect_ok();
    }
    assert!(gateway.log().contains("customer (has new colour)"));
    gateway.stop();
}

#[test]
fn a_contract_belongs_to_a_commit_and_to_the_kept_tree() {
    let (directory, tree, data) = under_contract("strict");
    assert_eq!(contract("lock", &tree, &data, &[]).0, Some(0));
    let state = directory.base().join("state");
    let gateway = Start::new(&directory.tree(), &directory.data())
        .state(&state)
        .start();
    let client = gateway.client_with(ADMIN);
    client.get("/api/v2/shop/_table/tag").expect_ok();
    let digest = gateway.status()["digest"].clone();
    let kept = format!("state:{}", state.display());
    eventually("the tree is kept", 10, || {
        (tidegate(&["check", &kept]).status.code() == Some(0)).then_some(())
    });
    gateway.stop();

    let repository = format!("git:{}#HEAD", directory.tree().display());
    git(&directory.tree(), &["init", "--quiet"]);
    commit(&directory.tree(), "with a contract");
    let checked = tidegate(&["check", &repository]);
    let text = String::from_utf8_lossy(&checked.stdout).into_owned();
    assert_eq!(checked.status.code(), Some(0), "{text}");
    let gateway = Start::new(std::path::Path::new(&repository), &directory.data()).start();
    assert_eq!(gateway.status()["digest"], digest, "the same files");
    gateway.stop();

    std::fs::remove_file(directory.tree().join("contracts/shop.json")).unwrap();
    commit(&directory.tree(), "without it");
    let checked = tidegate(&["check", &repository]);
    assert_eq!(checked.status.code(), Some(1));
}

#[test]
fn a_plan_shows_a_contract_that_was_locked_anew() {
    let (directory, tree, data) = under_contract("strict");
    assert_eq!(contract("lock", &tree, &data, &[]).0, Some(0));
    let (other, other_tree, other_data) = under_contract("strict");
    sql(&other, DRIFT.split(';').next().unwrap());
    assert_eq!(contract("lock", &other_tree, &other_data, &[]).0, Some(0));
    let planned = tidegate(&["plan", &tree, &other_tree]);
    let text = String::from_utf8([planned.stdout, planned.stderr].concat()).unwrap();
    assert!(text.contains("contract_file differs"), "{text}");
    assert!(text.contains("shop.toml:"), "{text}");
    drop(directory);
}
