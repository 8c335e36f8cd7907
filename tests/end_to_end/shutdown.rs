//! How does it end?

use std::io::Read;

use crate::support::client::{read_chunk, read_head};
use crate::support::sample::{self, READER, sqlite_service};
use crate::support::{TestGateway, WatchedDirectory, eventually};

const ROWS: u32 = 20_000;

fn numbers() -> WatchedDirectory {
    let directory = WatchedDirectory::new();
    sample::create_numbers(&directory.data().join("numbers.db"), ROWS);
    directory.write(
        "numbers.toml",
        sqlite_service("numbers", "numbers.db") + "max_records = 100000\n",
    );
    directory.write("people.toml", sample::people());
    directory
}

#[test]
fn a_running_answer_is_finished_and_no_new_one_is_begun() {
    let directory = numbers();
    let mut gateway = TestGateway::start_with_data(directory.tree(), directory.data());
    let client = gateway.client_with(READER);
    let request = client
        .request(
            "GET",
            &format!("/api/v2/numbers/_table/number?limit={ROWS}"),
        )
        .header("Accept", "application/x-ndjson");
    let mut stream = request.open();
    let head = read_head(&mut stream);
    assert_eq!(head.status, 200);
    assert_eq!(head.header("transfer-encoding"), Some("chunked"));
    let mut body = read_chunk(&mut stream).expect("a first chunk");

    gateway.signal("TERM");
    eventually("no new connections", 30, || {
        std::net::TcpStream::connect(gateway.api)
            .is_err()
            .then_some(())
    });
    // The rest comes all the same, and ends properly.
    loop {
        let chunk = read_chunk(&mut stream).expect("the answer is finished");
        if chunk.is_empty() {
            break;
        }
        body.extend_from_slice(&chunk);
    }
    assert_eq!(body.split(|byte| *byte == b'\n').count(), ROWS as usize + 1);
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest);
    let status = gateway.wait();
    assert!(status.success(), "{status}\n{}", gateway.log());
}

#[test]
fn idle_connections_do_not_hold_it_up() {
    let directory = numbers();
    let gateway = TestGateway::start_with_data(directory.tree(), directory.data());
    let idle: Vec<_> = (0..5).map(|_| gateway.client().connect()).collect();
    gateway.client_with(READER).get("/api/v2").expect_ok();
    gateway.stop();
    for mut connection in idle {
        let mut rest = String::new();
        let _ = connection.read_to_string(&mut rest);
        assert_eq!(rest, "");
    }
}

#[test]
fn an_interrupt_ends_it_as_well() {
    let directory = numbers();
    let mut gateway = TestGateway::start_with_data(directory.tree(), directory.data());
    gateway.signal("INT");
    let status = gateway.wait();
    assert!(status.success(), "{status}\n{}", gateway.log());
}

#[test]
fn one_connection_carries_many_requests() {
    let directory = numbers();
    let gateway = TestGateway::start_with_data(directory.tree(), directory.data());
    let client = gateway.client_with(READER);
    let mut stream = std::io::BufReader::new(client.connect());
    for id in 1..=5 {
        let request = format!(
            "GET /api/v2/numbers/_table/number/{id} HTTP/1.1\r\nHost: x\r\nX-API-Key: {READER}\r\n\r\n"
        );
        std::io::Write::write_all(stream.get_mut(), request.as_bytes()).unwrap();
        let answer = crate::support::client::read_answer(&mut stream, false).unwrap();
        assert_eq!(answer.json()["id"], id);
    }
    assert!(stream.buffer().is_empty());
    drop(stream);
    gateway.stop();
}
