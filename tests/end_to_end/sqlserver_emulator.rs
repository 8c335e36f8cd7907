//! SQL Server as far as an emulator goes: connecting, the catalogue, reading. No SQL Server was asked.
//!
//! What the emulator cannot do is left out: dates in results (it says their types wrongly), decimal parameters, conditions
//! in parentheses,
//! and writes with parameters.

use serde_json::json;

use crate::support::iridium::{DATABASE, Iridium, PASSWORD, USER};
use crate::support::sample::{self, READER};
use crate::support::{TestGateway, WatchedDirectory};

const TABLES: [&str; 5] = [
    "CREATE TABLE dbo.artist (id int IDENTITY(1,1) PRIMARY KEY, name nvarchar(40) NOT NULL)",
    "CREATE TABLE dbo.album (id int IDENTITY(1,1) PRIMARY KEY, artist_id int NULL REFERENCES dbo.artist (id), \
     title nvarchar(80) NOT NULL, price decimal(8,2) NULL, is_live bit NOT NULL DEFAULT 0)",
    "INSERT INTO dbo.artist (name) VALUES (N'Ana'), (N'Bo')",
    "INSERT INTO dbo.album (artist_id, title, price, is_live) VALUES \
     (1, N'First', 12.50, 1), (1, N'50% off', NULL, 0)",
    "INSERT INTO dbo.album (artist_id, title, price) VALUES (2, N'Été', 0.05)",
];

fn serve(server: &Iridium) -> (WatchedDirectory, TestGateway) {
    let directory = WatchedDirectory::new();
    directory.write(
        "db.toml",
        format!(
            "[service.db]\ntype = \"sqlsrv\"\n\n[service.db.config]\nhost = \"127.0.0.1\"\nport = {}\ndatabase = \"{DATABASE}\"\n\
             username = \"{USER}\"\npassword = {{ plain = \"{PASSWORD}\" }}\nschema = \"dbo\"\nmax_connections = 2\n",
            server.port()
        ),
    );
    directory.write("people.toml", sample::people());
    let gateway = TestGateway::start_with_data(directory.tree(), directory.data());
    (directory, gateway)
}

#[test]
fn the_emulator_is_listed_and_read() {
    let Some(server) = Iridium::start() else {
        return;
    };
    server.sql(&TABLES);
    let (_directory, gateway) = serve(&server);
    let client = gateway.client_with(READER);
    let get = |target: &str| {
        let answer = client.get(target);
        answer.expect_ok();
        answer.json()
    };
    assert_eq!(
        get("/api/v2/db/_table?as_list=true"),
        json!({"resource": ["album", "artist"]})
    );
    assert_eq!(
        get("/api/v2/db/_table/album/1"),
        json!({
            "id": 1, "artist_id": 1, "title": "First", "price": 12.50, "is_live": true
        })
    );
    for (query, ids) in [
        ("filter=price%20is%20null", json!([2])),
        ("filter=title%20like%20'F%25'", json!([1])),
        ("filter=title%20contains%20'%25'", json!([2])),
        ("filter=title%20=%20'Été'", json!([3])),
        ("filter=id%20in%20(3,1)&order=id", json!([1, 3])),
        ("order=price%20desc", json!([2, 1, 3])),
        ("order=price%20asc%20nulls%20last", json!([3, 1, 2])),
        ("order=id&limit=1&offset=1", json!([2])),
        ("ids=3,1", json!([3, 1])),
    ] {
        let answer = get(&format!("/api/v2/db/_table/album?fields=id&{query}"));
        let found: Vec<_> = answer["resource"]
            .as_array()
            .unwrap()
            .iter()
            .map(|record| record["id"].clone())
            .collect();
        assert_eq!(json!(found), ids, "{query}");
    }
    gateway.stop();
}
