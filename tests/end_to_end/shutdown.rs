//! How does it end?

use std::io::{BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::support::client::{Answer, read_answer, read_chunk, read_head};
use crate::support::gateway::Start;
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
        TcpStream::connect(gateway.api).is_err().then_some(())
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
    let mut stream = BufReader::new(client.connect());
    for id in 1..=5 {
        let request = format!(
            "GET /api/v2/numbers/_table/number/{id} HTTP/1.1\r\nHost: x\r\nX-API-Key: {READER}\r\n\r\n"
        );
        stream.get_mut().write_all(request.as_bytes()).unwrap();
        let answer = read_answer(&mut stream, false).unwrap();
        assert_eq!(answer.json()["id"], id);
    }
    assert!(stream.buffer().is_empty());
    drop(stream);
    gateway.stop();
}

/// Rows of an answer that no socket buffers hold, so that it runs until it is read.
const MANY_ROWS: u32 = 400_000;

fn many_numbers() -> WatchedDirectory {
    let directory = WatchedDirectory::new();
    sample::create_numbers(&directory.data().join("numbers.db"), MANY_ROWS);
    directory.write(
        "numbers.toml",
        sqlite_service("numbers", "numbers.db") + "max_records = 1000000\n",
    );
    directory.write("people.toml", sample::people());
    directory
}

/// Asks for all numbers and reads the beginning of the answer.
fn begin_long_answer(gateway: &TestGateway) -> BufReader<TcpStream> {
    begin_long_answer_of(gateway, "numbers")
}

fn begin_long_answer_of(gateway: &TestGateway, service: &str) -> BufReader<TcpStream> {
    let mut stream = gateway
        .client_with(READER)
        .request(
            "GET",
            &format!("/api/v2/{service}/_table/number?limit={MANY_ROWS}"),
        )
        .header("Accept", "application/x-ndjson")
        .open();
    assert_eq!(read_head(&mut stream).status, 200);
    read_chunk(&mut stream).expect("a first chunk");
    stream
}

/// Reads to the end, and says whether it ended as it should.
fn is_whole(mut stream: BufReader<TcpStream>) -> bool {
    loop {
        match read_chunk(&mut stream) {
            None => return false,
            Some(chunk) if chunk.is_empty() => return true,
            Some(_) => {}
        }
    }
}

/// Sends a request on a connection that is kept, and reads its answer.
fn call(stream: &mut BufReader<TcpStream>) -> Option<Answer> {
    let request = format!(
        "GET /api/v2/numbers/_table/number/1 HTTP/1.1\r\nHost: x\r\nX-API-Key: {READER}\r\n\r\n"
    );
    stream.get_mut().write_all(request.as_bytes()).ok()?;
    read_answer(stream, false)
}

#[test]
fn readiness_turns_first_and_a_load_balancer_has_time_to_look() {
    let directory = numbers();
    let start = Start::new(&directory.tree(), &directory.data());
    let mut gateway = start.arguments(&["--drain-delay-seconds", "3"]).start();
    let mut kept = BufReader::new(gateway.client().connect());
    let answer = call(&mut kept).unwrap();
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("connection"), None);
    assert_eq!(gateway.operations("/readyz").status, 200);
    gateway.signal("TERM");
    eventually("/readyz turns", 30, || {
        let answer = gateway.operations("/readyz");
        (answer.status == 503 && answer.text().contains("draining")).then_some(())
    });
    // It still takes requests, new connections too, and tells each that it is the last one.
    assert_eq!(gateway.operations("/livez").status, 200);
    let client = gateway.client_with(READER);
    client.get("/api/v2/numbers/_table/number/1").expect_ok();
    let answer = call(&mut kept).unwrap();
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("connection"), Some("close"));
    assert!(call(&mut kept).is_none(), "and it is closed");
    let status = gateway.wait();
    assert!(status.success(), "{status}\n{}", gateway.log());
}

#[test]
fn a_request_that_is_on_its_way_is_answered_and_its_connection_closed() {
    let directory = numbers();
    let mut gateway = TestGateway::start_with_data(directory.tree(), directory.data());
    let mut kept = BufReader::new(gateway.client().connect());
    assert_eq!(call(&mut kept).unwrap().header("connection"), None);
    // Accepted, and silent so far.
    let mut silent = BufReader::new(gateway.client().connect());
    assert_eq!(gateway.operations("/readyz").status, 200);
    gateway.client_with(READER).get("/api/v2").expect_ok();
    gateway.signal("TERM");
    eventually("it stops", 30, || {
        gateway.log().contains("\"stopping").then_some(())
    });
    for stream in [&mut kept, &mut silent] {
        let answer = call(stream).expect("an answer");
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("connection"), Some("close"));
    }
    let status = gateway.wait();
    assert!(status.success(), "{status}\n{}", gateway.log());
}

#[test]
fn an_answer_that_takes_longer_than_the_deadline_is_cut_and_never_looks_whole() {
    let directory = many_numbers();
    let start = Start::new(&directory.tree(), &directory.data());
    let mut gateway = start.arguments(&["--drain-seconds", "2"]).start();
    let stream = begin_long_answer(&gateway);
    gateway.signal("TERM");
    let status = gateway.wait();
    assert!(status.success(), "{status}\n{}", gateway.log());
    assert!(
        gateway
            .log()
            .contains("did not finish in time and were cut"),
        "{}",
        gateway.log()
    );
    assert!(!is_whole(stream), "a cut answer looks whole");
}

#[test]
fn a_second_signal_ends_it_at_once() {
    for second in ["TERM", "INT"] {
        let directory = many_numbers();
        let start = Start::new(&directory.tree(), &directory.data());
        let mut gateway = start.arguments(&["--drain-seconds", "3600"]).start();
        let stream = begin_long_answer(&gateway);
        gateway.signal("TERM");
        eventually("the drain", 30, || {
            (gateway.operations("/readyz").status == 503).then_some(())
        });
        gateway.signal(second);
        let status = gateway.wait();
        assert_eq!(status.code(), Some(1), "{}", gateway.log());
        let note = format!("a second SIG{second}: 1 connection was cut");
        eventually("the note", 10, || {
            gateway.log().contains(&note).then_some(())
        });
        assert!(!is_whole(stream), "a cut answer looks whole");
    }
}

#[test]
fn a_signal_during_a_long_start_ends_it() {
    let directory = numbers();
    // Git is at work in the tree, so that it is not read for three seconds.
    std::fs::create_dir(directory.tree().join(".git")).unwrap();
    std::fs::write(directory.tree().join(".git/index.lock"), "").unwrap();
    let mut child = std::process::Command::new(crate::support::gateway::binary())
        .args([
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--ops-listen",
            "127.0.0.1:0",
            "--config",
        ])
        .arg(directory.tree())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    // Signals are caught before anything is logged.
    let mut first = String::new();
    let mut log = BufReader::new(child.stderr.take().unwrap());
    std::io::BufRead::read_line(&mut log, &mut first).unwrap();
    assert!(first.contains("no last good tree"), "{first}");
    crate::support::gateway::signal(child.id(), "TERM");
    let status = eventually("the end", 30, || child.try_wait().unwrap());
    assert!(status.success(), "{status}");
}

#[test]
fn long_answers_end_a_while_after_their_service_was_replaced_and_others_go_on() {
    let directory = many_numbers();
    sample::create_numbers(&directory.data().join("others.db"), MANY_ROWS);
    let others = sqlite_service("others", "others.db") + "max_records = 1000000\n";
    directory.write("others.toml", &others);
    directory.write("gateway.toml", "[gateway]\nstream_drain_seconds = 1\n");
    let gateway = TestGateway::start_with_data(directory.tree(), directory.data());
    gateway.claim("an answer broke off");
    let replaced = begin_long_answer(&gateway);
    let removed = begin_long_answer_of(&gateway, "others");

    // A revision that keeps both changes nothing for either.
    directory.write("more.toml", "[lookup]\nteam = \"x\"\n");
    let generation = gateway.wait_for_generation_after(1);
    std::thread::park_timeout(Duration::from_millis(1_500));
    let kept = begin_long_answer(&gateway);
    assert!(is_whole(kept), "nothing was replaced");

    directory.write(
        "numbers.toml",
        sqlite_service("numbers", "numbers.db") + "max_records = 999999\n",
    );
    directory.remove("others.toml");
    gateway.wait_for_generation_after(generation);
    let next = begin_long_answer(&gateway);
    std::thread::park_timeout(Duration::from_millis(1_500));
    assert!(
        !is_whole(replaced),
        "an answer of a replaced service goes on"
    );
    assert!(!is_whole(removed), "an answer of a removed service goes on");
    assert!(is_whole(next), "an answer of the new one is cut");
    assert!(
        gateway.log().contains("stream_drain_seconds"),
        "the log does not say why\n{}",
        gateway.log()
    );
    gateway.stop();
}
