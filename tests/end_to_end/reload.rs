//! What does an edit of the tree do to the running daemon?

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::support::sample::{self, ADMIN, READER, sqlite_service};
use crate::support::{TestGateway, WatchedDirectory, eventually};

const CUSTOMER: &str = "/api/v2/shop/_table/customer";

fn start() -> (WatchedDirectory, TestGateway) {
    let directory = sample::shop();
    let gateway = TestGateway::start_with_data(directory.tree(), directory.data());
    (directory, gateway)
}

#[test]
fn an_edit_is_served_without_a_restart() {
    let (directory, gateway) = start();
    let client = gateway.client_with(READER);
    assert_eq!(gateway.generation(), 1);
    let first = client.get(CUSTOMER);
    assert!(
        first
            .header("x-tidegate-revision")
            .unwrap()
            .starts_with("g1-")
    );
    client
        .get("/api/v2/second/_table")
        .expect_error(404, "unknown_service");

    directory.write("second.toml", sqlite_service("second", "shop.db"));
    gateway.wait_for_generation_after(1);
    let second = client.get("/api/v2/second/_table/customer");
    assert_eq!(second.records().len(), 4);
    assert!(
        second
            .header("x-tidegate-revision")
            .unwrap()
            .starts_with("g2-")
    );
    let status = gateway.status();
    assert_eq!(status["last_attempt"]["outcome"], "applied");
    assert_eq!(status["degraded"], false);
    let names: Vec<&str> = status["services"]
        .as_array()
        .unwrap()
        .iter()
        .map(|service| service["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["second", "shop"]);
    gateway.stop();
}

#[test]
fn a_role_that_is_cut_down_loses_at_once() {
    let (directory, gateway) = start();
    let client = gateway.client_with(READER);
    client.get(CUSTOMER).expect_ok();
    let people = sample::people().replace(
        "[role.reader]\ndescription = \"May read everything\"",
        "[role.reader]\nactive = false",
    );
    directory.write("people.toml", people);
    gateway.wait_for_generation_after(1);
    client.get(CUSTOMER).expect_error(403, "forbidden");
    gateway.client_with(ADMIN).get(CUSTOMER).expect_ok();
    gateway.stop();
}

#[test]
fn a_broken_manifest_changes_nothing_and_everybody_says_why() {
    let (directory, gateway) = start();
    gateway.claim("refused");
    gateway.claim("broken.toml");
    let client = gateway.client_with(READER);
    directory.write(
        "broken.toml",
        "[service.broken]\ntype = \"sqlite\"\nlable = \"x\"\n\n[service.broken.config]\ndatabase = 5\n",
    );
    let attempt = gateway.wait_for_refusal();
    let problems = attempt["problems"].as_array().unwrap();
    assert!(problems.len() >= 2, "every problem at once: {attempt}");
    let places: BTreeSet<(String, u64)> = problems
        .iter()
        .map(|problem| {
            (
                problem["file"].as_str().unwrap().to_owned(),
                problem["line"].as_u64().unwrap(),
            )
        })
        .collect();
    assert!(
        places
            .iter()
            .any(|(file, line)| file.ends_with("broken.toml") && *line == 3),
        "{attempt}"
    );
    assert!(
        places
            .iter()
            .any(|(file, line)| file.ends_with("broken.toml") && *line == 6),
        "{attempt}"
    );
    let text = attempt.to_string();
    assert!(text.contains("label"), "no did-you-mean: {text}");
    for problem in problems {
        assert!(problem["column"].as_u64().unwrap() >= 1, "{problem}");
        assert_eq!(problem["severity"], "error");
    }

    assert_eq!(gateway.generation(), 1);
    client.get(CUSTOMER).expect_ok();
    client
        .get("/api/v2/broken/_table")
        .expect_error(404, "unknown_service");
    assert_eq!(gateway.status()["degraded"], true);
    let ready = gateway.operations("/readyz");
    assert_eq!(ready.status, 200, "an older revision is served");
    assert!(ready.text().contains("degraded"), "{}", ready.text());
    let log = gateway.log();
    assert!(
        log.contains("broken.toml:3:"),
        "the log does not say where:\n{log}"
    );
    let metrics = gateway.operations("/metrics").text();
    assert!(
        metrics.contains("tidegate_last_reload_successful 0"),
        "{metrics}"
    );

    directory.remove("broken.toml");
    eventually("the end of the degradation", 30, || {
        (gateway.status()["degraded"] == false).then_some(())
    });
    client.get(CUSTOMER).expect_ok();
    gateway.stop();
}

#[test]
fn a_service_that_is_deleted_is_gone_for_those_who_may_know() {
    let (directory, gateway) = start();
    directory.write("second.toml", sqlite_service("second", "shop.db"));
    let generation = gateway.wait_for_generation_after(1);
    let client = gateway.client_with(READER);
    client.get("/api/v2/second/_table").expect_ok();
    directory.remove("second.toml");
    gateway.wait_for_generation_after(generation);
    client
        .get("/api/v2/second/_table")
        .expect_error(404, "unknown_service");
    let metrics = gateway.operations("/metrics").text();
    assert!(
        !metrics.contains("service=\"second\""),
        "its series stay: {metrics}"
    );
    gateway.stop();
}

#[test]
fn an_empty_tree_never_replaces_a_full_one() {
    let (directory, gateway) = start();
    gateway.claim("refused");
    gateway.claim("empty");
    directory.remove("people.toml");
    let generation = gateway.wait_for_generation_after(1);
    directory.remove("shop.toml");
    let attempt = gateway.wait_for_refusal();
    assert!(attempt.to_string().contains("no manifests"), "{attempt}");
    assert_eq!(gateway.generation(), generation);
    gateway.stop();
}

#[test]
fn a_hangup_asks_for_a_look_and_comments_change_nothing_that_runs() {
    let (directory, gateway) = start();
    gateway.client_with(READER).get(CUSTOMER).expect_ok();
    let before = gateway.status();
    let looks = |log: &str| log.matches("SIGHUP").count();
    gateway.signal("HUP");
    eventually("a look after SIGHUP", 30, || {
        (looks(&gateway.log()) > 0).then_some(())
    });
    // A comment is another digest, and the same services.
    let text = format!("# a comment\n{}", sqlite_service("shop", "shop.db"));
    directory.write("shop.toml", text);
    gateway.wait_for_generation_after(before["generation"].as_u64().unwrap());
    let after = gateway.status();
    assert_ne!(before["digest"], after["digest"]);
    // What it had learnt of the backend it still knows: the service was kept.
    assert_eq!(after["services"][0]["health"], "up");
    let log = gateway.log();
    assert!(
        log.lines().any(|line| line.contains("\"kept\":1")),
        "the log does not say that the service was kept:\n{log}"
    );
    gateway.stop();
}

#[test]
fn fifty_reloads_under_load_lose_no_request() {
    const CALLERS: usize = 3;
    let (directory, gateway) = start();
    let stop = Arc::new(AtomicBool::new(false));
    let answered = Arc::new(AtomicU64::new(0));
    let callers: Vec<_> = (0..CALLERS)
        .map(|number| {
            let client = gateway.client_with(READER);
            let (stop, answered) = (Arc::clone(&stop), Arc::clone(&answered));
            std::thread::spawn(move || {
                let mut last = 0;
                while !stop.load(Ordering::SeqCst) {
                    let answer = client.get(&format!("{CUSTOMER}/{}", number + 1));
                    answer.expect_ok();
                    let generation = generation_of(&answer);
                    assert!(generation >= last, "an older generation after a newer one");
                    last = generation;
                    answered.fetch_add(1, Ordering::SeqCst);
                }
                last
            })
        })
        .collect();
    let mut generation = gateway.generation();
    for round in 0..50 {
        match round % 4 {
            // An unrelated service comes.
            0 => directory.write("second.toml", sqlite_service("second", "shop.db")),
            // The service under load changes its label.
            1 => directory.write(
                "shop.toml",
                sqlite_service("shop", "shop.db")
                    .replace("label = \"shop\"", &format!("label = \"shop {round}\"")),
            ),
            // The service under load is opened anew.
            2 => directory.write(
                "shop.toml",
                sqlite_service("shop", "shop.db") + &format!("max_records = {}\n", 100 + round),
            ),
            _ => directory.remove("second.toml"),
        }
        generation = gateway.wait_for_generation_after(generation);
    }
    stop.store(true, Ordering::SeqCst);
    let last = callers
        .into_iter()
        .map(|caller| caller.join().expect("no request was lost"))
        .max()
        .unwrap();
    assert!(answered.load(Ordering::SeqCst) >= 50, "hardly any load");
    assert!(generation >= 51 && last >= 50, "{generation} {last}");
    gateway.stop();
}

fn generation_of(answer: &crate::support::Answer) -> u64 {
    let revision = answer.header("x-tidegate-revision").unwrap();
    revision[1..].split('-').next().unwrap().parse().unwrap()
}
