//! Ten thousand services: what does each of them cost when nobody calls it?

use std::fmt::Write as _;
use std::fs;

use serde_json::Value;

use crate::support::sample::{self, READER};
use crate::support::{TestGateway, WatchedDirectory, eventually};

const SERVICES: usize = 10_000;
const FILES: usize = 100;

/// The services of one file; all of them serve the shop.
fn services(file: usize, note: &str) -> String {
    let each = SERVICES / FILES;
    let mut text = String::new();
    for number in (file * each)..((file + 1) * each) {
        write!(
            text,
            "[service.s{number:05}]\ntype = \"sqlite\"\nlabel = \"Tenant {number}\"\n\
             config.database = \"shop.db\"\nconfig.max_connections = 2\n"
        )
        .unwrap();
        if number % each == 7 {
            text.push_str(note);
        }
    }
    text
}

fn many() -> WatchedDirectory {
    let directory = WatchedDirectory::new();
    sample::create_shop(&directory.data().join("shop.db"));
    for file in 0..FILES {
        directory.write(&format!("services/{file:03}.toml"), services(file, ""));
    }
    directory.write("people.toml", sample::people());
    directory
}

/// How many threads and open files the gateway has.
fn holds(gateway: &TestGateway) -> (usize, usize) {
    let count = |what: &str| {
        let folder = format!("/proc/{}/{what}", gateway.pid());
        fs::read_dir(folder).unwrap().count()
    };
    (count("task"), count("fd"))
}

/// The numbers in the last line of the log that says what is served.
fn last_tally(gateway: &TestGateway) -> Value {
    let log = gateway.log();
    let mut lines = log.lines().filter_map(|line| {
        let line: Value = serde_json::from_str(line).ok()?;
        let fields = line.get("fields").unwrap_or(&line).clone();
        (fields["message"] == "serving").then_some(fields)
    });
    lines.next_back().expect("a revision is served")
}

#[test]
fn ten_thousand_services_cost_nothing_until_they_are_called_and_an_edit_touches_one() {
    let directory = many();
    let gateway = TestGateway::start_with_data(directory.tree(), directory.data());
    assert_eq!(last_tally(&gateway)["opened"], SERVICES);

    // The backends are asked, a few at a time, and nothing stays open for it.
    let (mut threads, mut files) = (0, 0);
    eventually("some hundred services are known to answer", 60, || {
        let held = holds(&gateway);
        (threads, files) = (threads.max(held.0), files.max(held.1));
        let metrics = gateway.operations("/metrics");
        let known = metrics.text().matches("tidegate_service_up{").count();
        (known >= 300).then_some(())
    });
    assert!(threads <= 64, "{threads} threads");
    assert!(files <= 128, "{files} open files");

    // Lists are whole, and documents are of a readable size.
    let client = gateway.client_with(READER);
    let list = client.get("/api/v2").json();
    assert_eq!(list["services"].as_array().unwrap().len(), SERVICES);
    assert_eq!(list["services"][41]["label"], "Tenant 41");
    let refused = client.get("/api/v2/api_docs");
    refused.expect_error(400, "invalid_request");
    assert!(refused.text().contains("/api/v2/api_docs/{service}"));
    let document = client.get("/api/v2/api_docs/s00041").json();
    assert!(
        document["paths"]["/_table/customer"].is_object(),
        "{document}"
    );
    let status = gateway.status();
    assert_eq!(status["services"].as_array().unwrap().len(), SERVICES);

    // Any of them can be called, and has series from then on.
    for number in [0, 41, 9_999] {
        let path = format!("/api/v2/s{number:05}/_table/customer/1");
        assert_eq!(client.get(&path).json()["email"], "ann@example.org");
    }
    let metrics = gateway.operations("/metrics").text();
    let series = metrics.lines().filter(|line| {
        line.starts_with("tidegate_requests_total{service=\"s") && line.contains("get_record")
    });
    assert_eq!(series.count(), 3);

    // Of a file with a hundred services one is another.
    directory.write("services/003.toml", services(3, "config.max_records = 2\n"));
    gateway.wait_for_generation_after(1);
    let tally = last_tally(&gateway);
    let counts = ["kept", "opened", "replaced", "closed"].map(|key| tally[key].clone());
    assert_eq!(counts, [SERVICES - 1, 0, 1, 0].map(Value::from));
    let records = client.get("/api/v2/s00307/_table/customer").records();
    assert_eq!(records.len(), 2, "the edit is live");
    gateway.stop();
}
