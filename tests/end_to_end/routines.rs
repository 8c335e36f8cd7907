//! Stored procedures and functions of a real PostgreSQL, through the whole gateway.

use serde_json::json;

use crate::postgresql::service;
use crate::support::postgresql::PostgresqlServer;
use crate::support::sample::{self, ADMIN, READER};
use crate::support::{TestGateway, WatchedDirectory};

/// The key of the role that may add notes.
const CLERK: &str = "key-of-the-clerk-0123456789abcdefg";

const ROUTINES: &str = "CREATE TABLE note (id serial PRIMARY KEY, text text NOT NULL);
    CREATE PROCEDURE add_note (p_text text, OUT p_id integer) LANGUAGE sql AS
      'INSERT INTO note (text) VALUES (p_text) RETURNING id';
    CREATE PROCEDURE forget () LANGUAGE sql AS 'DELETE FROM note';
    CREATE FUNCTION numbers (p_last integer) RETURNS TABLE (number integer, text text) LANGUAGE sql STABLE AS
      'SELECT n, ''row '' || n FROM generate_series(1, p_last) n';
    CREATE FUNCTION lists () RETURNS SETOF refcursor LANGUAGE plpgsql STABLE AS
      'DECLARE a refcursor := ''a \"1\"''; b refcursor; BEGIN
       OPEN a FOR SELECT 1 AS one, 2 AS one; RETURN NEXT a; OPEN b FOR SELECT ''x'' AS x; RETURN NEXT b; END';
    CREATE FUNCTION place () RETURNS TABLE (at point, span interval, net inet, list integer[], kind json) LANGUAGE sql STABLE AS
      'SELECT point(1,2), interval ''1 day'', inet ''10.0.0.1'', ARRAY[1,NULL], ''{\"a\":1.50}''::json';
    CREATE PROCEDURE places (OUT p_at point) LANGUAGE plpgsql AS 'BEGIN p_at := point(1,2); END';
    CREATE FUNCTION nobody_knows () RETURNS record LANGUAGE sql STABLE AS 'SELECT 1, 2';
    CREATE FUNCTION liar () RETURNS integer LANGUAGE sql STABLE AS 'SELECT sly()';
    CREATE FUNCTION sly () RETURNS integer LANGUAGE plpgsql VOLATILE AS
      'BEGIN INSERT INTO note (text) VALUES (''sly''); RETURN 1; END';";

/// `liar` calls `sly`, which is made after it.
const LATE_CHECK: &str = "SET check_function_bodies = off;";

fn serve() -> (PostgresqlServer, WatchedDirectory, TestGateway) {
    let server = PostgresqlServer::start();
    server.sql(&format!("{LATE_CHECK} {ROUTINES}"));
    let directory = WatchedDirectory::new();
    directory.write("db.toml", service("db", &server, ""));
    let mut people = sample::people();
    people.push_str(
        r#"[role.clerk]
[[role.clerk.access]]
service = "db"
component = "_proc/add_note"
verbs = ["POST"]

[[expect]]
key = "clerk"
request = "POST /api/v2/db/_proc/add_note('x')"
answer = "allowed"

[[expect]]
key = "clerk"
request = "POST /api/v2/db/_proc/forget()"
answer = "denied"

"#,
    );
    people.push_str(&sample::key("clerk", "clerk", CLERK));
    directory.write("people.toml", people);
    let gateway = TestGateway::start_with_data(directory.tree(), directory.data());
    (server, directory, gateway)
}

#[test]
fn a_role_calls_the_routines_it_names_and_is_told_of_no_other() {
    let (server, _directory, gateway) = serve();
    let clerk = gateway.client_with(CLERK);
    let call = |target: &str, body| clerk.send_json("POST", target, &body);
    let added = call("/api/v2/db/_proc/add_note", json!({"params": ["one"]}));
    added.expect_ok();
    assert_eq!(added.json(), json!({"p_id": 1}));
    let added = call("/api/v2/db/_proc/add_note('two,%20and%203')", json!({}));
    added.expect_ok();
    assert_eq!(
        server.sql("SELECT text FROM note WHERE id = 2"),
        "two, and 3"
    );
    call("/api/v2/db/_proc/forget()", json!({})).expect_error(403, "forbidden");
    // A path that is covered by a row in its text alone is not covered.
    call("/api/v2/db/_proc/forget(_proc/add_note)", json!({})).expect_error(403, "forbidden");
    assert_eq!(server.sql("SELECT count(*) FROM note"), "2");

    let document = clerk.get("/api/v2/api_docs/db").json();
    let paths: Vec<&String> = document["paths"].as_object().unwrap().keys().collect();
    assert_eq!(paths, ["/_proc/add_note"]);
    gateway.stop();
}

#[test]
fn get_reads_alone_and_streams_rows_of_any_number() {
    let (server, _directory, gateway) = serve();
    let reader = gateway.client_with(READER);
    reader
        .get("/api/v2/db/_proc/forget")
        .expect_error(405, "method_not_allowed");
    // Declared to read only, and yet it writes: the transaction refuses.
    reader
        .get("/api/v2/db/_func/liar")
        .expect_error(405, "method_not_allowed");
    assert_eq!(server.sql("SELECT count(*) FROM note"), "0");

    let many = reader.get("/api/v2/db/_func/numbers(200000)?accept=application/x-ndjson");
    many.expect_ok();
    assert_eq!(many.text().lines().count(), 200_000);
    assert!(
        many.text()
            .ends_with("{\"number\":200000,\"text\":\"row 200000\"}\n")
    );
    let few = reader.get("/api/v2/db/_func/numbers?p_last=2");
    assert_eq!(
        few.text(),
        r#"[{"number":1,"text":"row 1"},{"number":2,"text":"row 2"}]"#
    );
    gateway.stop();
}

#[test]
fn cursors_are_results_and_every_type_is_written_as_in_records() {
    let (_server, _directory, gateway) = serve();
    gateway.claim("not_implemented");
    let admin = gateway.client_with(ADMIN);
    assert_eq!(
        admin.get("/api/v2/db/_func/lists").text(),
        r#"[[{"one":1,"one_2":2}],[{"x":"x"}]]"#
    );
    assert_eq!(
        admin.get("/api/v2/db/_func/place").text(),
        r#"[{"at":"(1,2)","span":"P1D","net":"10.0.0.1","list":[1,null],"kind":{"a":1.50}}]"#
    );
    let refused = admin.send_json("POST", "/api/v2/db/_proc/places", &json!({}));
    refused.expect_error(501, "not_implemented");
    let refused = admin.get("/api/v2/db/_func/nobody_knows");
    refused.expect_error(501, "not_implemented");
    gateway.stop();
}

#[test]
fn a_routine_that_is_dropped_or_changed_is_noticed() {
    let (server, _directory, gateway) = serve();
    let admin = gateway.client_with(ADMIN);
    let target = "/api/v2/db/_func/numbers(1)";
    admin.get(target).expect_ok();
    server.sql("DROP FUNCTION numbers (integer)");
    assert_eq!(admin.get(target).status, 404);
    server.sql(
        "CREATE FUNCTION numbers (p_only text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT p_only'",
    );
    let answer = admin.get("/api/v2/db/_func/numbers(x)?refresh=true");
    answer.expect_ok();
    assert_eq!(answer.text(), "\"x\"");
    gateway.stop();
}
