//! Are files of any size imported while they arrive, and do half ones leave nothing?

use std::fmt::Write as _;
use std::io::{BufReader, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::json;

use crate::postgresql::service;
use crate::support::client::read_answer;
use crate::support::postgresql::PostgresqlServer;
use crate::support::sample::{self, ADMIN};
use crate::support::{Answer, TestGateway, WatchedDirectory, eventually};

/// How much resident memory may grow while a file of any size passes through.
const GROWTH: u64 = 48 * 1024 * 1024;
const TABLE: &str =
    "CREATE TABLE number (id bigint PRIMARY KEY, value bigint NOT NULL, text text NOT NULL)";
const RECORDS: u32 = 400_000;
const TARGET: &str = "/api/v2/db/_table/number?bulk=true";
const COUNT: &str = "/api/v2/db/_table/number?count_only=true";

fn sqlite(gateway: &str) -> (WatchedDirectory, TestGateway) {
    let directory = WatchedDirectory::new();
    let connection = rusqlite::Connection::open(directory.data().join("numbers.db")).unwrap();
    connection.execute_batch(TABLE).unwrap();
    directory.write("db.toml", sample::sqlite_service("db", "numbers.db"));
    directory.write("people.toml", sample::people());
    if !gateway.is_empty() {
        directory.write("gateway.toml", format!("[gateway]\n{gateway}\n"));
    }
    let gateway = TestGateway::start_with_data(directory.tree(), directory.data());
    (directory, gateway)
}

/// An import whose body is sent piece by piece.
struct Sending(TcpStream);

impl Sending {
    fn begin(gateway: &TestGateway, target: &str) -> Self {
        let client = gateway.client_with(ADMIN);
        let request = client
            .request("POST", target)
            .header("Content-Type", "text/csv")
            .header("Transfer-Encoding", "chunked");
        Self(request.open().into_inner())
    }

    /// Whether the gateway still takes it.
    fn send(&mut self, text: &str) -> bool {
        let chunk = format!("{:x}\r\n{text}\r\n", text.len());
        self.0.write_all(chunk.as_bytes()).is_ok()
    }

    fn end(mut self) -> Answer {
        let _ = self.0.write_all(b"0\r\n\r\n");
        self.answer()
    }

    fn answer(self) -> Answer {
        read_answer(&mut BufReader::new(self.0), false).expect("there is an answer")
    }
}

fn lines(numbers: std::ops::Range<u32>) -> String {
    let mut text = String::new();
    for n in numbers {
        let _ = writeln!(
            text,
            "{n},{},row number {n} of a file that is not small",
            n * 7
        );
    }
    text
}

/// Sends a file and holds the growth of memory against its bound.
fn a_file_passes(gateway: &TestGateway) {
    let mut warm = Sending::begin(gateway, TARGET);
    warm.send("id,value,text\n");
    warm.send(&lines(0..20_000));
    warm.end().expect_ok();
    let before = gateway.resident_bytes();
    let mut peak = before;
    let mut sending = Sending::begin(gateway, TARGET);
    assert!(sending.send("id,value,text\n"));
    for start in (20_000..RECORDS).step_by(10_000) {
        assert!(sending.send(&lines(start..start + 10_000)));
        peak = peak.max(gateway.resident_bytes());
    }
    let answer = sending.end();
    let expected = json!({"resource": [], "meta": {"count": RECORDS - 20_000}});
    assert_eq!(answer.expect_ok().json(), expected);
    let growth = peak.saturating_sub(before);
    eprintln!("memory grew by {} KiB", growth / 1024);
    assert!(growth < GROWTH, "memory grew by {growth} bytes");
    let client = gateway.client_with(ADMIN);
    assert_eq!(client.get(COUNT).json(), json!(RECORDS));
    let one = client.get(&format!("/api/v2/db/_table/number/{}", RECORDS - 1));
    let value = u64::from(RECORDS - 1) * 7;
    assert_eq!(one.expect_ok().json()["value"], json!(value));
}

/// A client that goes away in the middle, and one that makes a mistake.
fn half_a_file_leaves_nothing(gateway: &TestGateway) {
    let client = gateway.client_with(ADMIN);
    let count = client.get(COUNT).json();
    let first = 1_000_000;
    let mut sending = Sending::begin(gateway, &format!("{TARGET}&continue=true"));
    assert!(sending.send("id,value,text\n"));
    for start in (first..first + 50_000).step_by(10_000) {
        assert!(sending.send(&lines(start..start + 10_000)));
    }
    drop(sending);
    // What it had written stood in the way of the same records until it was undone.
    eventually("the records can be written", 20, || {
        let mut sending = Sending::begin(gateway, TARGET);
        sending.send("id,value,text\n");
        sending.send(&lines(first..first + 1));
        (sending.end().status == 200).then_some(())
    });
    client
        .request("DELETE", &format!("/api/v2/db/_table/number/{first}"))
        .send()
        .expect_ok();
    assert_eq!(client.get(COUNT).json(), count);

    let mut sending = Sending::begin(gateway, TARGET);
    sending.send("id,value,text\n");
    sending.send(&lines(first..first + 50_000));
    sending.send("1,2,a record that is there\n");
    for start in (first + 50_000..first + 500_000).step_by(10_000) {
        if !sending.send(&lines(start..start + 10_000)) {
            break;
        }
    }
    let answer = sending.end();
    answer.expect_error(400, "batch_failed");
    let context = &answer.json()["error"]["context"];
    assert_eq!(context["lines"][0]["line"], 50_002, "{context}");
    assert_eq!(context["lines"][0]["type"], "unique_violation");
    assert_eq!(client.get(COUNT).json(), count);
}

#[test]
fn a_file_of_any_size_is_imported_into_sqlite() {
    let (_directory, gateway) = sqlite("");
    a_file_passes(&gateway);
    half_a_file_leaves_nothing(&gateway);
    gateway.stop();
}

#[test]
fn a_file_of_any_size_is_imported_into_postgresql() {
    let server = PostgresqlServer::start();
    server.sql(TABLE);
    let directory = WatchedDirectory::new();
    directory.write("db.toml", service("db", &server, ""));
    directory.write("people.toml", sample::people());
    let gateway = TestGateway::start_with_data(directory.tree(), directory.data());
    a_file_passes(&gateway);
    half_a_file_leaves_nothing(&gateway);
    gateway.stop();
}

#[test]
fn an_import_may_take_longer_than_a_request_but_its_client_may_not_be_silent() {
    let (_directory, gateway) = sqlite("request_timeout_seconds = 1");
    let mut sending = Sending::begin(&gateway, TARGET);
    sending.send("id,value,text\n");
    for n in 0..8 {
        std::thread::sleep(Duration::from_millis(250));
        sending.send(&lines(n..n + 1));
    }
    let answer = sending.end();
    assert_eq!(answer.expect_ok().json()["meta"]["count"], 8);

    let mut sending = Sending::begin(&gateway, TARGET);
    sending.send("id,value,text\n");
    sending.send(&lines(100..200));
    sending.answer().expect_error(408, "request_timeout");
    let client = gateway.client_with(ADMIN);
    assert_eq!(client.get(COUNT).json(), json!(8));
    gateway.stop();
}
