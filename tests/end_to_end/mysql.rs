//! The same promises with a real MariaDB or MySQL behind them.

use serde_json::json;

use crate::streaming::a_million_rows_pass;
use crate::support::client::encode;
use crate::support::mysql::{Brand, DATABASE, MysqlServer, PASSWORD, USER};
use crate::support::sample::{self, ADMIN, READER};
use crate::support::{TestGateway, WatchedDirectory, eventually, skip};

/// The brands whose servers are there; the others are skipped, loudly.
fn brands() -> impl Iterator<Item = Brand> {
    [Brand::Mariadb, Brand::Mysql].into_iter().filter(|brand| {
        let is_there = brand.missing().is_none();
        if !is_there {
            skip(brand.name());
        }
        is_there
    })
}

/// The manifest of a service on a server.
fn service(name: &str, server: &MysqlServer, more: &str) -> String {
    let host = if more.contains("host = ") {
        ""
    } else {
        "host = \"127.0.0.1\"\n"
    };
    format!(
        "[service.{name}]\ntype = \"{}\"\n\n[service.{name}.config]\n{host}port = {}\ndatabase = \"{DATABASE}\"\nusername = \"{USER}\"\npassword = {{ plain = \"{PASSWORD}\" }}\n{more}\n",
        server.brand().name(),
        server.port()
    )
}

fn serve(server: &MysqlServer, more: &str) -> (WatchedDirectory, TestGateway) {
    let directory = WatchedDirectory::new();
    directory.write("db.toml", service("db", server, more));
    directory.write("people.toml", sample::people());
    let gateway = TestGateway::start_with_data(directory.tree(), directory.data());
    (directory, gateway)
}

const NUMBERS: &str = "CREATE TABLE number (id bigint PRIMARY KEY, value bigint NOT NULL, text varchar(100) NOT NULL);
    INSERT INTO number WITH RECURSIVE n AS (SELECT 0 AS d UNION ALL SELECT d + 1 FROM n WHERE d < 999)
      SELECT 1 + a.d + 1000 * b.d, 7 * (1 + a.d + 1000 * b.d), CONCAT('row number ', 1 + a.d + 1000 * b.d, ' of a table that is not small')
      FROM n a CROSS JOIN n b;";

#[test]
fn a_million_rows_of_mariadb_pass_in_bounded_memory() {
    if Brand::Mariadb.missing().is_some() {
        return skip("mariadb");
    }
    let server = MysqlServer::start(Brand::Mariadb);
    server.sql(NUMBERS);
    let (_directory, gateway) = serve(&server, "max_records = 1000000");
    a_million_rows_pass(&gateway, "/api/v2/db/_table/number");
    gateway.stop();
}

#[test]
fn records_are_served_over_verified_tls_and_over_none_that_is_not() {
    for brand in brands() {
        let server = MysqlServer::start_with_tls(brand);
        server.sql("CREATE TABLE t (id int AUTO_INCREMENT PRIMARY KEY, v varchar(40)); INSERT INTO t (v) VALUES ('a');");
        let trusted = format!(
            "host = \"localhost\"\ntls = \"verify\"\nca = \"{}\"",
            server.authority().display()
        );
        let (directory, gateway) = serve(&server, &trusted);
        let client = gateway.client_with(ADMIN);
        assert_eq!(
            client.get("/api/v2/db/_table/t/1").expect_ok().json(),
            json!({"id": 1, "v": "a"})
        );
        let written = client
            .request("POST", "/api/v2/db/_table/t?fields=*")
            .body(
                "application/json",
                json!({"resource": [{"v": "ä 🚀"}]}).to_string(),
            )
            .send();
        assert_eq!(
            written.records(),
            [json!({"id": 2, "v": "ä 🚀"})],
            "{}",
            written.text()
        );

        // The system trusts nobody of that name.
        gateway.claim("backend");
        directory.write(
            "db.toml",
            service("db", &server, "host = \"localhost\"\ntls = \"verify\""),
        );
        eventually("the new config", 30, || {
            (client.get("/api/v2/db/_table/t/1").status == 503).then_some(())
        });
        client
            .get("/api/v2/db/_table/t/1")
            .expect_error(503, "backend_unavailable");
        gateway.stop();
    }
}

#[test]
fn a_server_that_dies_in_the_middle_of_a_result_breaks_it_and_comes_back() {
    if Brand::Mariadb.missing().is_some() {
        return skip("mariadb");
    }
    let mut server = MysqlServer::start(Brand::Mariadb);
    server.sql(NUMBERS);
    let (_directory, gateway) = serve(
        &server,
        "max_records = 1000000\nconnect_timeout_seconds = 2",
    );
    gateway.claim("broke off");
    gateway.claim("backend");
    gateway.claim("connection");
    let client = gateway.client_with(READER);
    let mut stream = client
        .request("GET", "/api/v2/db/_table/number?limit=1000000")
        .open();
    let head = crate::support::client::read_head(&mut stream);
    assert_eq!(head.status, 200);
    crate::support::client::read_chunk(&mut stream).expect("it began");
    server.stop();
    let mut is_whole = true;
    loop {
        match crate::support::client::read_chunk(&mut stream) {
            None => {
                is_whole = false;
                break;
            }
            Some(chunk) if chunk.is_empty() => break,
            Some(_) => {}
        }
    }
    assert!(!is_whole, "a broken result looks whole");
    client
        .get("/api/v2/db/_table/number/1")
        .expect_error(503, "backend_unavailable");
    server.start_again();
    eventually("the service to heal", 30, || {
        (client.get("/api/v2/db/_table/number/1").status == 200).then_some(())
    });
    gateway.stop();
}

#[test]
fn values_and_names_come_through_unharmed_whatever_the_server_makes_of_backslashes() {
    for brand in brands() {
        let server = MysqlServer::start(brand);
        let awkward = "odd `name` / ü ?:x";
        server.sql(
            "CREATE TABLE `odd ``name`` / ü ?:x` (id int AUTO_INCREMENT PRIMARY KEY, `select` varchar(100), n decimal(40, 10),
               j json, u char(36), b blob, t timestamp(3) NULL, d date, big bigint unsigned, f float);",
        );
        for modes in [
            "''",
            "'ANSI_QUOTES,NO_BACKSLASH_ESCAPES'",
            "'ANSI,TRADITIONAL,HIGH_NOT_PRECEDENCE'",
        ] {
            let (_directory, gateway) = serve(
                &server,
                &format!("statements = [\"SET SESSION sql_mode = {modes}\"]"),
            );
            let client = gateway.client_with(ADMIN);
            let path = format!("/api/v2/db/_table/{}", encode(awkward));
            let text = r#"x'; DROP TABLE t; -- \ " 100%_"#;
            let body = format!(
                r#"{{"resource":[{{"select":{},"n":123456789012345678901234567890.0123456789,"j":{{"b":[1,2.50,null]}},"u":"7f1d6a2e-52ac-4b0a-9a33-2c1f6f6e5a11","b":"AAH/","t":"2026-01-02T03:04:05.678Z","d":"2026-01-02","big":18446744073709551615,"f":0.1}}]}}"#,
                json!(text)
            );
            let made = client
                .request("POST", &format!("{path}?fields=*"))
                .body("application/json", body)
                .send();
            let record = made.records().remove(0);
            assert!(
                made.text()
                    .contains("123456789012345678901234567890.0123456789"),
                "{}",
                made.text()
            );
            assert!(
                made.text().contains("18446744073709551615"),
                "{}",
                made.text()
            );
            assert_eq!(record["select"], text);
            assert_eq!(record["b"], "AAH/");
            assert_eq!(record["t"], "2026-01-02T03:04:05.678Z");
            // Every one of these conditions holds for the record, and is bound whole.
            for filter in [
                r"select contains '\ '".to_owned(),
                r"select contains '100%_'".to_owned(),
                r"select ends with '%_'".to_owned(),
                "n = 123456789012345678901234567890.0123456789".to_owned(),
                "n > 123456789012345678901234567890.0123456788 AND n < 123456789012345678901234567890.0123456790".to_owned(),
                "big = 18446744073709551615 AND big > 18446744073709551614".to_owned(),
                "f = 0.1".to_owned(),
                "b = 'AAH/'".to_owned(),
                "t = '2026-01-02T04:04:05.678+01:00'".to_owned(),
                r#"j = '{"b": [1, 2.50, null]}'"#.to_owned(),
            ] {
                let found = client.get(&format!("{path}?fields=id&filter={}", encode(&filter)));
                assert_eq!(found.expect_ok().records(), [json!({"id": record["id"]})], "{brand:?} {modes} {filter}");
            }
            let none = format!(
                "{path}?count_only=true&filter={}",
                encode(r"select contains '100\%'")
            );
            assert_eq!(
                client.get(&none).expect_ok().text(),
                "0",
                "{brand:?} {modes}"
            );
            client
                .request("DELETE", &format!("{path}/{}", record["id"]))
                .send()
                .expect_ok();
            gateway.stop();
        }
    }
}

#[test]
fn a_key_that_the_database_makes_is_told_or_asked_for() {
    for brand in brands() {
        let server = MysqlServer::start(brand);
        server.sql("CREATE TABLE token (id varchar(36) PRIMARY KEY DEFAULT (uuid()), v int);");
        let (_directory, gateway) = serve(&server, "");
        let client = gateway.client_with(ADMIN);
        let send = |body: serde_json::Value| {
            client
                .request("POST", "/api/v2/db/_table/token?fields=*")
                .body("application/json", json!({"resource": [body]}).to_string())
                .send()
        };
        let made = send(json!({"v": 1}));
        match brand {
            Brand::Mariadb => {
                let record = made.records().remove(0);
                assert_eq!(record["v"], 1);
                assert_eq!(record["id"].as_str().map(str::len), Some(36), "{record}");
            }
            Brand::Mysql => {
                assert_eq!(made.status, 400, "{}", made.text());
                assert!(
                    made.text().contains("send the values of the table's key"),
                    "{}",
                    made.text()
                );
                assert_eq!(
                    server.sql("SELECT COUNT(*) FROM token"),
                    "0",
                    "nothing may be kept"
                );
            }
        }
        let own = send(json!({"id": "mine", "v": 2}));
        assert_eq!(
            own.records(),
            [json!({"id": "mine", "v": 2})],
            "{}",
            own.text()
        );
        // Zero is a key like others, and no wish for a number.
        server.sql("CREATE TABLE zero (id int AUTO_INCREMENT PRIMARY KEY, v int);");
        gateway.stop();
        let (_directory, gateway) = serve(&server, "");
        let client = gateway.client_with(ADMIN);
        let zero = client
            .request("POST", "/api/v2/db/_table/zero?fields=*")
            .body(
                "application/json",
                json!({"resource": [{"id": 0, "v": 1}, {"v": 2}]}).to_string(),
            )
            .send();
        assert_eq!(
            zero.records(),
            [json!({"id": 0, "v": 1}), json!({"id": 1, "v": 2})],
            "{}",
            zero.text()
        );
        gateway.stop();
    }
}
