//! What happens when tables change beside the gateway?

use crate::support::sample::{self, ADMIN};
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
