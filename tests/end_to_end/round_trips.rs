//! How often does a read speak to PostgreSQL? Counted by a proxy that understands the frames of the protocol.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::postgresql::service;
use crate::support::postgresql::PostgresqlServer;
use crate::support::sample::{self, READER};
use crate::support::{TestGateway, WatchedDirectory};

/// What clients have sent so far.
#[derive(Default)]
struct Counts {
    /// `Sync` ends a group of messages that is answered as one: a round trip.
    syncs: AtomicU64,
    /// `Parse` has a statement prepared.
    parses: AtomicU64,
    /// `Query` is the protocol without prepared statements.
    simple: AtomicU64,
}

/// Stands between the gateway and the server.
struct Proxy {
    port: u16,
    counts: Arc<Counts>,
    is_over: Arc<AtomicBool>,
}

impl Proxy {
    fn start(server: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let counts = Arc::new(Counts::default());
        let is_over = Arc::new(AtomicBool::new(false));
        let (counting, over) = (Arc::clone(&counts), Arc::clone(&is_over));
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if over.load(Ordering::SeqCst) {
                    return;
                }
                let backend = TcpStream::connect((Ipv4Addr::LOCALHOST, server)).unwrap();
                for stream in [&client, &backend] {
                    stream.set_nodelay(true).unwrap();
                }
                let (mut answers, mut back) =
                    (backend.try_clone().unwrap(), client.try_clone().unwrap());
                std::thread::spawn(move || {
                    let _ = std::io::copy(&mut answers, &mut back);
                    let _ = back.shutdown(std::net::Shutdown::Both);
                });
                let counts = Arc::clone(&counting);
                std::thread::spawn(move || {
                    let _ = forward(client, &backend, &counts);
                    let _ = backend.shutdown(std::net::Shutdown::Both);
                });
            }
        });
        Self {
            port,
            counts,
            is_over,
        }
    }

    /// Round trips, prepared statements and simple queries since the last call.
    fn since(&self) -> (u64, u64, u64) {
        let take = |counter: &AtomicU64| counter.swap(0, Ordering::SeqCst);
        (
            take(&self.counts.syncs),
            take(&self.counts.parses),
            take(&self.counts.simple),
        )
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
    }
}

/// Passes on what a client sends, frame by frame: a first one without a type, then a type, a length and the rest.
fn forward(mut from: TcpStream, mut to: &TcpStream, counts: &Counts) -> std::io::Result<()> {
    let mut is_first = true;
    loop {
        let mut head = vec![0; if is_first { 4 } else { 5 }];
        from.read_exact(&mut head)?;
        let (kind, length) = head.split_at(head.len() - 4);
        let length = u32::from_be_bytes(length.try_into().unwrap());
        let counter = match kind {
            b"S" => Some(&counts.syncs),
            b"P" => Some(&counts.parses),
            b"Q" => Some(&counts.simple),
            _ => None,
        };
        let mut rest = vec![0; length as usize - 4];
        from.read_exact(&mut rest)?;
        if let Some(counter) = counter {
            counter.fetch_add(1, Ordering::SeqCst);
        }
        head.extend_from_slice(&rest);
        to.write_all(&head)?;
        is_first = false;
    }
}

#[test]
fn a_read_is_one_round_trip_with_a_statement_that_is_prepared() {
    const READS: u64 = 40;
    let server = PostgresqlServer::start();
    server.sql(
        "CREATE TABLE customer (id int PRIMARY KEY, name text NOT NULL);
         CREATE TABLE invoice (id int PRIMARY KEY, customer_id int REFERENCES customer, total numeric(12, 2));
         INSERT INTO customer SELECT n, 'customer ' || n FROM generate_series(1, 100) n;
         INSERT INTO invoice SELECT n, n % 100 + 1, n FROM generate_series(1, 1000) n;",
    );
    let proxy = Proxy::start(server.port());
    let directory = WatchedDirectory::new();
    directory.write(
        "db.toml",
        service("db", &server, "").replace(
            &format!("port = {}", server.port()),
            &format!("port = {}", proxy.port),
        ),
    );
    directory.write("people.toml", sample::people());
    let gateway = TestGateway::start_with_data(directory.tree(), directory.data());
    let client = gateway.client_with(READER);
    let targets: [(&str, &dyn Fn(u64) -> String); 4] = [
        ("a record by its key", &|n| {
            format!("/api/v2/db/_table/customer/{n}")
        }),
        ("a page", &|n| {
            format!("/api/v2/db/_table/invoice?limit=10&offset={n}")
        }),
        ("a filter", &|n| {
            format!("/api/v2/db/_table/invoice?filter=total%3D{n}")
        }),
        ("related records", &|n| {
            format!("/api/v2/db/_table/customer?ids={n}&related=invoice_by_customer_id")
        }),
    ];
    for (what, target) in targets {
        // Learns the tables, and prepares the statement on each connection that reads share.
        for n in 0..READS {
            client.get(&target(n + 1)).expect_ok();
        }
        proxy.since();
        for n in 0..READS {
            client.get(&target(READS + n + 1)).expect_ok();
        }
        let (round_trips, prepared, simple) = proxy.since();
        assert_eq!(prepared, 0, "{what}: statements were prepared again");
        // Beside the reads there may be a probe of the health.
        let all = round_trips + simple;
        assert!(
            (READS..=READS + 1).contains(&all),
            "{what}: {READS} reads took {round_trips} round trips and {simple} simple queries"
        );
    }
    gateway.stop();
}
