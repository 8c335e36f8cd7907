//! Ten thousand services: what does each of them cost when nobody calls it?

use std::fmt::Write as _;
use std::fs;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use serde_json::Value;

use crate::support::sample::{self, ADMIN, READER};
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
    let lines = log.lines().filter_map(|line| {
        let line: Value = serde_json::from_str(line).ok()?;
        let fields = line.get("fields").unwrap_or(&line).clone();
        (fields["message"] == "serving").then_some(fields)
    });
    lines.last().expect("a revision is served")
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

#[test]
fn reloads_pile_nothing_up() {
    let directory = sample::shop();
    let gateway = TestGateway::start_with_data(directory.tree(), directory.data());
    let series = || {
        let metrics = gateway.operations("/metrics").text();
        metrics
            .lines()
            .filter(|line| !line.starts_with('#'))
            .count()
    };
    let (stop, calls) = (AtomicBool::new(false), AtomicU64::new(0));
    let measured = std::thread::scope(|scope| {
        for key in [READER, ADMIN] {
            let client = gateway.client_with(key);
            let (stop, calls) = (&stop, &calls);
            scope.spawn(move || {
                while !stop.load(Ordering::SeqCst) {
                    let answer = client.get("/api/v2/shop/_table/customer/1");
                    assert_eq!(answer.status, 200, "{}", answer.text());
                    calls.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        let mut measured = Vec::new();
        let mut generation = gateway.generation();
        for round in 0..60 {
            // A service comes, another changes, a third goes; all are called.
            let text = format!(
                "{}{}{}",
                sample::sqlite_service(&format!("passing{round}"), "shop.db"),
                sample::sqlite_service("changing", "shop.db"),
                format_args!("max_records = {}\n", round + 2),
            );
            directory.write("more.toml", text);
            gateway.signal("HUP");
            generation = gateway.wait_for_generation_after(generation);
            let client = gateway.client_with(READER);
            for service in [format!("passing{round}"), "changing".to_owned()] {
                let answer = client.get(&format!("/api/v2/{service}/_table/customer/1"));
                assert_eq!(answer.status, 200, "{}", answer.text());
            }
            if round >= 20 {
                measured.push((series(), holds(&gateway), gateway.resident_bytes()));
            }
        }
        stop.store(true, Ordering::SeqCst);
        measured
    });
    assert!(calls.load(Ordering::SeqCst) > 60);
    let range = |values: Vec<usize>| (*values.iter().min().unwrap(), *values.iter().max().unwrap());
    let (fewest, most) = range(measured.iter().map(|(series, ..)| *series).collect());
    assert!(most <= fewest + 40, "{fewest} to {most} series");
    let (_, most) = range(
        measured
            .iter()
            .map(|(_, (threads, _), _)| *threads)
            .collect(),
    );
    assert!(most <= 64, "{most} threads");
    let (_, most) = range(measured.iter().map(|(_, (_, files), _)| *files).collect());
    assert!(most <= 128, "{most} open files");
    // A leak of one connector for each reload would show as many mebibytes.
    let (first, last) = (measured[0].2, measured[measured.len() - 1].2);
    assert!(last < first + 24 * 1024 * 1024, "{first} to {last} bytes");
    gateway.stop();
}
