//! Do large results travel in bounded memory?

use std::io::BufRead;

use crate::support::client::{read_chunk, read_head};
use crate::support::sample::{self, READER, sqlite_service};
use crate::support::{TestGateway, WatchedDirectory, eventually};

/// How much resident memory may grow while a million rows pass through.
const GROWTH: u64 = 32 * 1024 * 1024;
const MILLION: u32 = 1_000_000;

fn numbers(rows: u32) -> WatchedDirectory {
    let directory = WatchedDirectory::new();
    sample::create_numbers(&directory.data().join("numbers.db"), rows);
    directory.write(
        "numbers.toml",
        sqlite_service("numbers", "numbers.db") + &format!("max_records = {MILLION}\n"),
    );
    directory.write("people.toml", sample::people());
    directory
}

/// What passed by.
pub struct Passed {
    /// Line breaks in the body.
    pub lines: u64,
    /// Length of the body.
    pub bytes: u64,
    /// Highest resident memory while it passed.
    pub peak: u64,
}

/// Reads an answer of any length without keeping it, and watches the gateway's memory meanwhile.
pub fn pass_by(gateway: &TestGateway, target: &str, accept: &str) -> Passed {
    let client = gateway.client_with(READER);
    let mut stream = client
        .request("GET", target)
        .header("Accept", accept)
        .open();
    let head = read_head(&mut stream);
    assert_eq!(head.status, 200, "{target}: {}", rest_of(&mut stream));
    assert_eq!(
        head.header("transfer-encoding"),
        Some("chunked"),
        "{target}"
    );
    let mut passed = Passed {
        lines: 0,
        bytes: 0,
        peak: gateway.resident_bytes(),
    };
    let mut measured = 0;
    loop {
        let chunk = read_chunk(&mut stream).expect("the body is whole");
        if chunk.is_empty() {
            return passed;
        }
        passed.bytes += chunk.len() as u64;
        passed.lines += memchr::memchr_iter(b'\n', &chunk).count() as u64;
        if passed.bytes > measured {
            measured = passed.bytes + 1_000_000;
            passed.peak = passed.peak.max(gateway.resident_bytes());
        }
    }
}

fn rest_of(stream: &mut impl BufRead) -> String {
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest);
    String::from_utf8_lossy(&rest).into_owned()
}

/// Serves a table of a million rows in both line formats and holds the growth of memory against its bound.
pub fn a_million_rows_pass(gateway: &TestGateway, table: &str) {
    for (accept, extra) in [("application/x-ndjson", 0), ("text/csv", 1)] {
        // The first rows warm up pools, plans and buffers.
        gateway
            .client_with(READER)
            .request("GET", &format!("{table}?limit=1000"))
            .header("Accept", accept)
            .send()
            .expect_ok();
        let before = gateway.resident_bytes();
        let passed = pass_by(gateway, &format!("{table}?limit={MILLION}"), accept);
        assert_eq!(passed.lines, u64::from(MILLION) + extra, "{accept}");
        let growth = passed.peak.saturating_sub(before);
        eprintln!(
            "{accept}: {} MiB passed, resident memory grew by {} KiB",
            passed.bytes / 1024 / 1024,
            growth / 1024
        );
        assert!(growth < GROWTH, "{accept}: memory grew by {growth} bytes");
    }
}

#[test]
fn a_million_rows_of_sqlite_pass_in_bounded_memory() {
    let directory = numbers(MILLION);
    let gateway = TestGateway::start_with_data(directory.tree(), directory.data());
    a_million_rows_pass(&gateway, "/api/v2/numbers/_table/number");
    gateway.stop();
}

#[test]
fn json_and_compressed_results_stream_as_well() {
    let directory = numbers(200_000);
    let gateway = TestGateway::start_with_data(directory.tree(), directory.data());
    let target = "/api/v2/numbers/_table/number?limit=200000";
    let client = gateway.client_with(READER);
    client.get("/api/v2/numbers/_table/number").expect_ok();
    let before = gateway.resident_bytes();
    let passed = pass_by(&gateway, target, "application/json");
    assert!(passed.bytes > 10_000_000);
    let growth = passed.peak.saturating_sub(before);
    assert!(growth < GROWTH, "memory grew by {growth} bytes");
    for encoding in ["gzip", "br"] {
        let answer = client
            .request("GET", target)
            .header("Accept", "application/x-ndjson")
            .header("Accept-Encoding", encoding)
            .send();
        assert_eq!(answer.header("content-encoding"), Some(encoding));
        let lines = memchr::memchr_iter(b'\n', &answer.decoded()).count();
        assert_eq!(lines, 200_000);
    }
    gateway.stop();
}

#[test]
fn a_client_that_hangs_up_stops_the_query_and_harms_nobody() {
    let directory = numbers(300_000);
    let gateway = TestGateway::start_with_data(directory.tree(), directory.data());
    let client = gateway.client_with(READER);
    for _ in 0..20 {
        let mut stream = client
            .request("GET", "/api/v2/numbers/_table/number?limit=300000")
            .header("Accept", "application/x-ndjson")
            .open();
        assert_eq!(read_head(&mut stream).status, 200);
        read_chunk(&mut stream).expect("it began");
    }
    // Before the head, and in the middle of a body.
    for part in [
        format!("GET /api/v2/numbers/_table/number HTTP/1.1\r\nX-API-Key: {READER}\r\nHo"),
        format!(
            "POST /api/v2/numbers/_table/number HTTP/1.1\r\nHost: x\r\nX-API-Key: {}\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{{\"resource\":[",
            sample::ADMIN
        ),
    ] {
        let mut stream = client.connect();
        std::io::Write::write_all(&mut stream, part.as_bytes()).unwrap();
    }
    client
        .get("/api/v2/numbers/_table/number?limit=10")
        .expect_ok();
    eventually("the end of the abandoned requests", 30, || {
        gateway
            .operations("/metrics")
            .text()
            .contains("tidegate_requests_in_flight 0\n")
            .then_some(())
    });
    gateway.stop();
}
