//! Reloads under steady load, and nothing grows. `tests/soak` runs a thousand of them.
//!
//! Every reload adds a service and takes away one of an earlier reload, replaces another and keeps the one that is asked.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::support::TestGateway;
use crate::support::sample::{self, READER, sqlite_service};

const CUSTOMER: &str = "/api/v2/shop/_table/customer";
/// Reloads before the first measure: pools, allocators and caches have their size then.
const WARM_UP: usize = 60;
/// How much resident memory may grow from then on. The allocator gives memory back late, so it breathes by some MiB.
const GROWTH: u64 = 8 * 1024 * 1024;
/// How many descriptors may be open more: connections of the callers, which come and go.
const MORE_FILES: usize = 12;

fn open_files(gateway: &TestGateway) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", gateway.pid()))
        .unwrap()
        .count()
}

fn threads(gateway: &TestGateway) -> usize {
    std::fs::read_dir(format!("/proc/{}/task", gateway.pid()))
        .unwrap()
        .count()
}

/// Names and labels of all series: how many there are, whatever their values.
fn series(gateway: &TestGateway) -> usize {
    let text = gateway.operations("/metrics").text();
    text.lines().filter(|line| !line.starts_with('#')).count()
}

/// Reloads so many times under load; no request may fail, and memory, files, threads and series stay flat.
pub fn reloads_under_load(reloads: usize) {
    let directory = sample::shop();
    let gateway = TestGateway::start_with_data(directory.tree(), directory.data());
    let is_done = AtomicBool::new(false);
    let answered = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for number in 1..=2 {
            let client = gateway.client_with(READER);
            let (is_done, answered) = (&is_done, &answered);
            scope.spawn(move || {
                let mut last = 0;
                while !is_done.load(Ordering::SeqCst) {
                    let answer = client.get(&format!("{CUSTOMER}/{number}"));
                    answer.expect_ok();
                    let revision = answer.header("x-tidegate-revision").unwrap();
                    let generation = revision.trim_start_matches('g').split('-').next().unwrap();
                    let generation: u64 = generation.parse().unwrap();
                    assert!(generation >= last, "an older revision after a newer one");
                    last = generation;
                    answered.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let mut generation = gateway.generation();
            let mut measured = None;
            for number in 0..reloads {
                let text = [
                    sqlite_service(&format!("turn-{}", number % 7), "shop.db"),
                    sqlite_service("replaced", "shop.db")
                        + &format!("max_records = {}\n", 100 + number),
                    format!("[lookup]\nturn = \"{number}\"\n"),
                ];
                directory.write("turn.toml", text.concat());
                generation = gateway.wait_for_generation_after(generation);
                // The services that come and go are used as well.
                let client = gateway.client_with(READER);
                client
                    .get(&format!("/api/v2/turn-{}/_table/customer/1", number % 7))
                    .expect_ok();
                client.get("/api/v2/replaced/_table/customer/1").expect_ok();
                if number == WARM_UP.min(reloads / 2) {
                    measured = Some((
                        gateway.resident_bytes(),
                        open_files(&gateway),
                        threads(&gateway),
                        series(&gateway),
                    ));
                }
            }
            measured.unwrap()
        }));
        is_done.store(true, Ordering::SeqCst);
        let (memory, files, tasks, names) =
            outcome.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        let growth = gateway.resident_bytes().saturating_sub(memory);
        eprintln!(
            "memory grew by {} KiB from {} MiB",
            growth / 1024,
            memory / 1024 / 1024
        );
        assert!(
            growth < GROWTH,
            "memory grew by {growth} bytes over {reloads} reloads"
        );
        let now = open_files(&gateway);
        assert!(now <= files + MORE_FILES, "{files} open files became {now}");
        let now = threads(&gateway);
        assert!(now <= tasks + MORE_FILES, "{tasks} threads became {now}");
        assert_eq!(series(&gateway), names, "series of metrics");
    });
    let answered = answered.into_inner();
    eprintln!("{reloads} reloads, {answered} requests, none failed");
    assert!(answered > reloads as u64, "there was no load");
    gateway.stop();
}
