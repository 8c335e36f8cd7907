//! What if the listening sockets are handed over?

use std::io::{BufReader, ErrorKind, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::support::client::{TestClient, read_answer};
use crate::support::eventually;
use crate::support::gateway::Start;
use crate::support::sample::{self, READER};

const CUSTOMER: &str = "/api/v2/shop/_table/customer";

fn bind() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

#[test]
fn they_are_told_apart_by_name_or_by_order_and_the_flags_bind_nothing() {
    let directory = sample::shop();
    for (names, is_turned) in [("api:ops", false), ("ops:api", true), ("", false)] {
        let ((first, one), (second, two)) = (bind(), bind());
        let (_taken, taken) = bind();
        let gateway = Start::new(&directory.tree(), &directory.data())
            .environment("TIDEGATE_LISTEN", &taken.to_string())
            .sockets(names, &first, &second)
            .start();
        let expected = if is_turned { (two, one) } else { (one, two) };
        assert_eq!((gateway.api, gateway.operations), expected, "{names}");
        gateway.client_with(READER).get(CUSTOMER).expect_ok();
        assert_eq!(gateway.operations("/readyz").status, 200);
        gateway.stop();
    }
}

#[test]
fn sockets_that_nobody_can_use_are_an_error_that_says_so() {
    let directory = sample::shop();
    let ((first, _), (second, _)) = (bind(), bind());
    for (names, why) in [
        ("http:ops", "FileDescriptorName=api"),
        ("api:api", "two listening sockets"),
        ("api", "LISTEN_FDNAMES must name each"),
    ] {
        let start = Start::new(&directory.tree(), &directory.data());
        let (status, log) = start.sockets(names, &first, &second).expect_refusal();
        assert_eq!(status.code(), Some(1), "{log}");
        assert!(log.contains(why), "{why} is not in\n{log}");
    }
    let start = Start::new(&directory.tree(), &directory.data())
        .sockets("", &first, &second)
        .environment("LISTEN_FDS", "3");
    let (status, log) = start.expect_refusal();
    assert_eq!(status.code(), Some(1), "{log}");
    assert!(log.contains("3 listening sockets"), "{log}");
}

/// Sends requests until it is told to stop, each on a connection of its own; every one must be answered well.
fn call_once_each(address: SocketAddr, stop: &AtomicBool, answered: &AtomicU64) {
    let client = TestClient::new(address).with_key(READER);
    while !stop.load(Ordering::SeqCst) {
        client.get(&format!("{CUSTOMER}/1")).expect_ok();
        answered.fetch_add(1, Ordering::SeqCst);
    }
}

/// The same on connections that are kept, as proxies do. A kept connection may be closed before a request reaches the
/// other side, and then, and only then, the request is sent again (RFC 9110 section 9.2.2).
fn call_on_kept_connections(
    address: SocketAddr,
    stop: &AtomicBool,
    answered: &AtomicU64,
    again: &AtomicU64,
) {
    let client = TestClient::new(address);
    let request = format!("GET {CUSTOMER}/1 HTTP/1.1\r\nHost: x\r\nX-API-Key: {READER}\r\n\r\n");
    let mut kept: Option<BufReader<std::net::TcpStream>> = None;
    while !stop.load(Ordering::SeqCst) {
        let is_fresh = kept.is_none();
        let mut stream = kept
            .take()
            .unwrap_or_else(|| BufReader::new(client.connect()));
        let sent = stream.get_mut().write_all(request.as_bytes());
        let answer = match sent {
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::BrokenPipe | ErrorKind::ConnectionReset
                ) =>
            {
                None
            }
            sent => {
                sent.unwrap();
                read_answer(&mut stream, false)
            }
        };
        let Some(answer) = answer else {
            assert!(!is_fresh, "a request on a new connection was lost");
            again.fetch_add(1, Ordering::SeqCst);
            continue;
        };
        answer.expect_ok();
        assert!(answer.is_whole);
        answered.fetch_add(1, Ordering::SeqCst);
        if answer.header("connection") != Some("close") {
            kept = Some(stream);
        }
        std::thread::park_timeout(std::time::Duration::from_millis(1));
    }
}

#[test]
fn a_restart_on_the_same_sockets_loses_no_request() {
    const RESTARTS: usize = 4;
    let directory = sample::shop();
    let ((api, address), (operations, _)) = (bind(), bind());
    let start = || {
        Start::new(&directory.tree(), &directory.data())
            .sockets("api:ops", &api, &operations)
            .start()
    };
    let mut gateway = start();
    let stop = Arc::new(AtomicBool::new(false));
    let (answered, kept, again) = (
        Arc::new(AtomicU64::new(0)),
        Arc::new(AtomicU64::new(0)),
        Arc::new(AtomicU64::new(0)),
    );
    let callers: Vec<_> = (0..4)
        .map(|number| {
            let (stop, answered) = (Arc::clone(&stop), Arc::clone(&answered));
            let (kept, again) = (Arc::clone(&kept), Arc::clone(&again));
            std::thread::spawn(move || {
                if number % 2 == 0 {
                    call_once_each(address, &stop, &answered);
                } else {
                    call_on_kept_connections(address, &stop, &kept, &again);
                }
            })
        })
        .collect();
    let both = || (answered.load(Ordering::SeqCst), kept.load(Ordering::SeqCst));
    for _ in 0..RESTARTS {
        let before = both();
        eventually("load", 30, || {
            let now = both();
            (now.0 > before.0 + 20 && now.1 > before.1 + 20).then_some(())
        });
        gateway.stop();
        gateway = start();
    }
    let before = both();
    eventually("load on the last one", 30, || {
        let now = both();
        (now.0 > before.0 + 20 && now.1 > before.1 + 20).then_some(())
    });
    stop.store(true, Ordering::SeqCst);
    for caller in callers {
        caller.join().expect("no request was lost");
    }
    let again = usize::try_from(again.load(Ordering::SeqCst)).unwrap();
    assert!(
        again <= RESTARTS / 2,
        "busy connections are told to close and not cut, but {again} were"
    );
    gateway.stop();
}
