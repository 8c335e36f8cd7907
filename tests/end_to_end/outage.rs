//! What happens when a database is away, or goes away?

use std::fs::OpenOptions;
use std::io::{Seek, SeekFrom, Write};

use crate::support::sample::{self, READER, sqlite_service};
use crate::support::{TestGateway, WatchedDirectory, eventually};

const DOWN: &str = "[service.down]\ntype = \"pgsql\"\n[service.down.config]\nhost = \"127.0.0.1\"\nport = 1\ndatabase = \"d\"\nusername = \"u\"\n";

#[test]
fn a_database_that_is_down_is_503_and_concerns_nobody_else() {
    let directory = sample::shop_with(DOWN);
    let gateway = TestGateway::start_with_data(directory.tree(), directory.data());
    gateway.claim("backend");
    let client = gateway.client_with(READER);
    let answer = client.get("/api/v2/down/_table/x");
    answer.expect_error(503, "backend_unavailable");
    assert!(answer.header("retry-after").is_some());
    assert!(!answer.text().contains("127.0.0.1"), "{}", answer.text());
    client.get("/api/v2/shop/_table/customer").expect_ok();
    let status = gateway.status();
    let services = status["services"].as_array().unwrap();
    let health = |name: &str| {
        services
            .iter()
            .find(|service| service["name"] == name)
            .map(|service| service["health"].clone())
    };
    assert_eq!(health("down"), Some("down".into()));
    assert_eq!(health("shop"), Some("up".into()));
    // Configuration is good all the same.
    assert_eq!(status["degraded"], false);
    assert_eq!(gateway.operations("/readyz").status, 200);
    gateway.stop();
}

#[test]
fn a_database_that_is_down_does_not_block_a_change_elsewhere() {
    let directory = sample::shop_with(DOWN);
    let gateway = TestGateway::start_with_data(directory.tree(), directory.data());
    gateway.claim("backend");
    directory.write("second.toml", sqlite_service("second", "shop.db"));
    gateway.wait_for_generation_after(1);
    gateway
        .client_with(READER)
        .get("/api/v2/second/_table/customer")
        .expect_ok();
    gateway.stop();
}

#[test]
fn the_health_of_a_service_that_an_edit_brings_is_known_soon_and_says_why() {
    let directory = sample::shop();
    let gateway = TestGateway::start_with_data(directory.tree(), directory.data());
    gateway.claim("the database file is missing");
    directory.write("later.toml", sqlite_service("later", "later.db"));
    gateway.wait_for_generation_after(1);
    let shown = eventually("the health of the new service", 10, || {
        let status = gateway.status();
        let services = status["services"].as_array()?.clone();
        services
            .into_iter()
            .find(|service| service["name"] == "later" && service["health"] != "unknown")
    });
    assert_eq!(shown["health"], "down");
    assert_eq!(shown["message"], "the database file is missing");
    let metrics = gateway.operations("/metrics").text();
    assert!(
        metrics.contains("tidegate_service_up{service=\"later\"} 0\n"),
        "{metrics}"
    );
    gateway.stop();
}

#[test]
fn a_missing_sqlite_file_is_an_outage_that_heals() {
    let directory = sample::shop_with(&sqlite_service("later", "later.db"));
    let gateway = TestGateway::start_with_data(directory.tree(), directory.data());
    gateway.claim("backend");
    gateway.claim("later");
    let client = gateway.client_with(READER);
    let answer = client.get("/api/v2/later/_table/customer");
    assert_eq!(answer.status, 503, "{}", answer.text());
    sample::create_shop(&directory.data().join("later.db"));
    eventually("the database to be found", 30, || {
        (client.get("/api/v2/later/_table/customer").status == 200).then_some(())
    });
    gateway.stop();
}

#[test]
fn a_result_that_breaks_in_the_middle_never_looks_whole() {
    const ROWS: u32 = 200_000;
    let directory = WatchedDirectory::new();
    let path = directory.data().join("numbers.db");
    sample::create_numbers(&path, ROWS);
    // Pages in the second half of the file are ruined; the first half reads well.
    let length = std::fs::metadata(&path).unwrap().len();
    let mut file = OpenOptions::new().write(true).open(&path).unwrap();
    file.seek(SeekFrom::Start(length / 4096 / 2 * 4096))
        .unwrap();
    file.write_all(&vec![0xA5; 4096 * 64]).unwrap();
    drop(file);
    directory.write(
        "numbers.toml",
        sqlite_service("numbers", "numbers.db") + "max_records = 1000000\n",
    );
    directory.write("people.toml", sample::people());

    let gateway = TestGateway::start_with_data(directory.tree(), directory.data());
    gateway.claim("broke off");
    gateway.claim("backend");
    let client = gateway.client_with(READER);
    for accept in [
        "application/x-ndjson",
        "text/csv",
        "application/json",
        "application/xml",
    ] {
        for encoding in ["identity", "gzip"] {
            let answer = client
                .request(
                    "GET",
                    &format!("/api/v2/numbers/_table/number?limit={ROWS}"),
                )
                .header("Accept", accept)
                .header("Accept-Encoding", encoding)
                .send_that_may_break()
                .expect("it began well");
            assert_eq!(answer.status, 200, "{accept}");
            assert!(!answer.body.is_empty(), "{accept}");
            assert!(!answer.is_whole, "{accept}, {encoding}: it looks whole");
        }
    }
    client
        .get("/api/v2/numbers/_table/number?limit=10")
        .expect_ok();
    gateway.stop();
}
