//! The same promises with a real PostgreSQL behind them.

use serde_json::{Value, json};

use crate::streaming::a_million_rows_pass;
use crate::support::gateway::Start;
use crate::support::postgresql::{DATABASE, PASSWORD, PostgresqlServer, USER};
use crate::support::sample::{self, ADMIN, READER};
use crate::support::{TestGateway, WatchedDirectory, eventually};

/// The manifest of a service on a server.
pub fn service(name: &str, server: &PostgresqlServer, more: &str) -> String {
    format!(
        "[service.{name}]\ntype = \"pgsql\"\n\n[service.{name}.config]\nhost = \"127.0.0.1\"\nport = {}\ndatabase = \"{DATABASE}\"\nusername = \"{USER}\"\npassword = {{ plain = \"{PASSWORD}\" }}\n{more}\n",
        server.port()
    )
}

fn serve(server: &PostgresqlServer, more: &str) -> (WatchedDirectory, TestGateway) {
    let directory = WatchedDirectory::new();
    directory.write("db.toml", service("db", server, more));
    directory.write("people.toml", sample::people());
    let gateway = TestGateway::start_with_data(directory.tree(), directory.data());
    (directory, gateway)
}

const NUMBERS: &str = "CREATE TABLE number (id bigint PRIMARY KEY, value bigint NOT NULL, text text NOT NULL);
    INSERT INTO number SELECT n, n * 7, 'row number ' || n || ' of a table that is not small' FROM generate_series(1, 1000000) n;
    ANALYZE number;";

#[test]
fn a_million_rows_of_postgresql_pass_in_bounded_memory() {
    let server = PostgresqlServer::start();
    server.sql(NUMBERS);
    let (_directory, gateway) = serve(&server, "max_records = 1000000");
    a_million_rows_pass(&gateway, "/api/v2/db/_table/number");
    gateway.stop();
}

/// The same document with every number as a float: PostgreSQL keeps the zeros of `18.00`, SQLite does not.
fn plain(value: &Value) -> Value {
    match value {
        Value::Number(number) => json!(number.as_f64()),
        Value::Array(items) => items.iter().map(plain).collect(),
        Value::Object(members) => members
            .iter()
            .map(|(name, value)| (name.clone(), plain(value)))
            .collect(),
        other => other.clone(),
    }
}

#[test]
fn the_example_serves_northwind_from_postgresql() {
    let folder =
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/northwind-postgresql");
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
    let server = PostgresqlServer::start();
    server.sql(&read("data/northwind.sql"));
    let directory = WatchedDirectory::new();
    directory.write("access.toml", read("access.toml"));
    directory.write(
        "northwind.toml",
        read("northwind.toml")
            .replace("port = 5432", &format!("port = {}", server.port()))
            .replace(
                "database = \"northwind\"",
                &format!("database = \"{DATABASE}\""),
            )
            .replace(
                "username = \"northwind\"",
                &format!("username = \"{USER}\""),
            ),
    );
    let gateway = Start::new(&directory.tree(), &directory.data())
        .environment("NORTHWIND_PASSWORD", PASSWORD)
        .start();
    let client = gateway.client_with("demo-key-for-northwind");

    // The same request, and the same answer, as with the SQLite file.
    let embedded = TestGateway::start("gateway.d");
    let other = embedded.client_with("demo-key-for-northwind");
    for target in [
        "/api/v2/northwind/_table/products?order=product_id&limit=5",
        "/api/v2/northwind/_table/products/38",
        "/api/v2/northwind/_table/order_details?order=order_id,product_id&limit=3&offset=100",
        "/api/v2/northwind/_table/orders?filter=freight%20%3E%20800&order=order_id&fields=order_id,order_date,freight&related=customers_by_customer_id&customers_by_customer_id.fields=code",
        "/api/v2/northwind/_table/customers?filter=company_name%20starts%20with%20'A'&order=customer_id&count_only=true",
        "/api/v2/northwind/_table/products?group=category_id&fields=category_id,COUNT(*),SUM(unit_price)&order=category_id",
        "/api/v2/northwind/_table?as_list=true",
    ] {
        let ours = client.get(target);
        ours.expect_ok();
        assert_eq!(
            plain(&ours.json()),
            plain(&other.get(target).json()),
            "{target}"
        );
    }
    embedded.stop();
    gateway.stop();
}

#[test]
fn a_server_that_dies_in_the_middle_of_a_result_breaks_it_and_comes_back() {
    let mut server = PostgresqlServer::start();
    server.sql(NUMBERS);
    let (_directory, gateway) = serve(
        &server,
        "max_records = 1000000\nconnect_timeout_seconds = 2",
    );
    gateway.claim("broke off");
    gateway.claim("backend");
    gateway.claim("connection");
    let client = gateway.client_with(READER);
    let target = "/api/v2/db/_table/number?limit=1000000";
    for accept in ["application/x-ndjson", "application/json"] {
        let request = client.request("GET", target).header("Accept", accept);
        let mut stream = request.open();
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
        assert!(!is_whole, "{accept}: a broken result looks whole");
        let down = client.get("/api/v2/db/_table/number/1");
        down.expect_error(503, "backend_unavailable");
        server.start_again();
        eventually("the service to heal", 30, || {
            (client.get("/api/v2/db/_table/number/1").status == 200).then_some(())
        });
    }
    gateway.stop();
}

#[test]
fn connections_that_the_server_cut_are_replaced_without_an_error_for_long() {
    let server = PostgresqlServer::start();
    server.sql("CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (1, 'a');");
    let (_directory, gateway) = serve(&server, "");
    gateway.claim("backend");
    gateway.claim("could not be recycled");
    let client = gateway.client_with(READER);
    client.get("/api/v2/db/_table/t/1").expect_ok();
    server.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'tidegate'");
    eventually("the service to heal", 30, || {
        (client.get("/api/v2/db/_table/t/1").status == 200).then_some(())
    });
    gateway.stop();
}

#[test]
fn an_unrelated_edit_keeps_the_pool_and_a_changed_config_replaces_it() {
    let server = PostgresqlServer::start();
    server.sql("CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (1, 'a');");
    let (directory, gateway) = serve(&server, "");
    let client = gateway.client_with(READER);
    client.get("/api/v2/db/_table/t/1").expect_ok();
    let backends = || {
        server.sql("SELECT string_agg(pid::text, ',' ORDER BY pid) FROM pg_stat_activity WHERE application_name = 'tidegate'")
    };
    let before = backends();
    assert!(!before.is_empty());
    // A comment, a label, another role: nothing that concerns the connections.
    directory.write(
        "db.toml",
        service("db", &server, "").replace("\n\n[", "\nlabel = \"new\" # new\n\n["),
    );
    let generation = gateway.wait_for_generation_after(1);
    client.get("/api/v2/db/_table/t/1").expect_ok();
    assert_eq!(backends(), before, "the pool was thrown away");
    directory.write("db.toml", service("db", &server, "max_connections = 3"));
    gateway.wait_for_generation_after(generation);
    client.get("/api/v2/db/_table/t/1").expect_ok();
    let old: Vec<String> = before.split(',').map(str::to_owned).collect();
    eventually("the old connections to close", 30, || {
        let now = backends();
        (!old
            .iter()
            .any(|pid| now.split(',').any(|other| other == pid)))
        .then_some(())
    });
    gateway.stop();
}

#[test]
fn values_and_names_come_through_unharmed() {
    let server = PostgresqlServer::start();
    server.sql(
        "CREATE TABLE \"odd \"\"name\"\" / ü\" (id serial PRIMARY KEY, \"select\" text, n numeric(30, 10), j jsonb, a int[], u uuid, b bytea, t timestamptz, d date);",
    );
    let (_directory, gateway) = serve(&server, "");
    let client = gateway.client_with(ADMIN);
    let path = format!(
        "/api/v2/db/_table/{}",
        crate::support::client::encode("odd \"name\" / ü")
    );
    let body = r#"{"resource":[{"select":"x'; DROP TABLE t; --","n":12345678901234567890.0123456789,"j":{"b":[1,2.50,null]},"a":[1,null,3],"u":"7f1d6a2e-52ac-4b0a-9a33-2c1f6f6e5a11","b":"AAH/","t":"2026-01-02T03:04:05.678Z","d":"2026-01-02"}]}"#;
    let made = client
        .request("POST", &path)
        .body("application/json", body)
        .send();
    assert_eq!(made.records(), [json!({"id": 1})], "{}", made.text());
    let read = client.get(&format!("{path}/1"));
    let text = read.expect_ok().text();
    assert!(text.contains("12345678901234567890.0123456789"), "{text}");
    let read = read.json();
    assert_eq!(read["select"], "x'; DROP TABLE t; --");
    assert_eq!(read["j"], json!({"b": [1, 2.5, null]}));
    assert_eq!(read["a"], json!([1, null, 3]));
    assert_eq!(read["u"], "7f1d6a2e-52ac-4b0a-9a33-2c1f6f6e5a11");
    assert_eq!(read["b"], "AAH/");
    assert_eq!(read["d"], "2026-01-02");
    assert!(
        read["t"]
            .as_str()
            .unwrap()
            .starts_with("2026-01-02T03:04:05.678"),
        "{read}"
    );
    gateway.stop();
}

#[test]
fn columns_of_unusual_types_are_served_and_refused_as_the_callers_matter() {
    let server = PostgresqlServer::start();
    server.sql(
        "CREATE TABLE odd (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, doc xml, place point, host inet,
           hosts inet[], number float8, small real, numbers float8[]);
         INSERT INTO odd (doc, place, host, hosts, number, small, numbers) VALUES
           ('<a/>', '(1,2)', '10.0.0.1', '{10.0.0.1,::1/128}', 'infinity', '-infinity', '{1.5,NaN}');
         CREATE TABLE kept (id int PRIMARY KEY, value int);
         CREATE FUNCTION broken() RETURNS trigger LANGUAGE plpgsql AS
           $$ BEGIN PERFORM no_such_function(NEW.id); RETURN NEW; END $$;
         CREATE TRIGGER broken BEFORE INSERT ON kept FOR EACH ROW EXECUTE FUNCTION broken();",
    );
    let (_directory, gateway) = serve(&server, "");
    let client = gateway.client_with(ADMIN);
    let path = "/api/v2/db/_table/odd";
    let read = client.get(&format!("{path}/1")).json();
    assert_eq!(
        read,
        json!({
            "id": 1, "doc": "<a/>", "place": "(1,2)", "host": "10.0.0.1", "hosts": ["10.0.0.1", "::1"],
            "number": "Infinity", "small": "-Infinity", "numbers": [1.5, "NaN"],
        })
    );

    for column in ["doc", "place"] {
        for options in [
            format!("filter={column}='(1,2)'"),
            format!("filter={column}%20IN%20('(1,2)','x')"),
            format!("filter={column}%20%3E%20'(1,2)'"),
            format!("order={column}"),
            format!("group={column}&fields={column}"),
            format!("fields=MIN({column})"),
        ] {
            let answer = client.get(&format!("{path}?{options}"));
            assert_eq!(answer.status, 400, "{options}: {}", answer.text());
            let error = &answer.json()["error"];
            assert!(
                ["invalid_parameter", "invalid_value"].contains(&error["type"].as_str().unwrap()),
                "{options}: {error}"
            );
            assert!(!answer.text().contains("operator"), "{}", answer.text());
        }
    }

    // What was read can be written.
    let written = client.request("POST", &format!("{path}?fields=number,small,numbers")).body("application/json", json!({"resource": [{"number": "NaN", "small": "Infinity", "numbers": ["-Infinity", 2.5]}]}).to_string()).send();
    assert_eq!(
        written.records(),
        [json!({"number": "NaN", "small": "Infinity", "numbers": ["-Infinity", 2.5]})],
        "{}",
        written.text()
    );
    let numbered = client
        .request("POST", path)
        .body(
            "application/json",
            json!({"resource": [{"id": 9, "place": "(1,2)"}]}).to_string(),
        )
        .send();
    assert_eq!(numbered.status, 400, "{}", numbered.text());
    assert!(
        numbered.text().contains("leave it out of the record"),
        "{}",
        numbered.text()
    );

    // The same codes, but the fault of a trigger.
    let broken = client
        .request("POST", "/api/v2/db/_table/kept")
        .body(
            "application/json",
            json!({"resource": [{"id": 1, "value": 2}]}).to_string(),
        )
        .send();
    assert!(
        broken.text().contains("backend_failure"),
        "{}",
        broken.text()
    );
    gateway.claim("the backend failed");
    gateway.stop();
}

#[test]
fn a_statement_that_takes_too_long_is_given_up_and_holds_nobody_up() {
    let server = PostgresqlServer::start();
    server.sql(
        "CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (1, 'a');
         CREATE VIEW sleepy AS SELECT id, pg_sleep(600)::text AS s FROM t;",
    );
    let (_directory, gateway) = serve(&server, "statement_timeout_seconds = 1");
    gateway.claim("backend");
    let client = gateway.client_with(READER);
    client.get("/api/v2/db/_table/t/1").expect_ok();
    let answer = client.get("/api/v2/db/_table/sleepy");
    answer.expect_error(504, "backend_timeout");
    for word in ["pg_sleep", "57014", "canceling"] {
        assert!(!answer.text().contains(word), "{}", answer.text());
    }
    // One slow statement does not make the backend one that is away.
    assert_eq!(gateway.status()["services"][0]["health"], "up");
    client.get("/api/v2/db/_table/t/1").expect_ok();
    let running = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%sleepy%' AND application_name = 'tidegate'";
    assert_eq!(server.sql(running), "0", "the statement still runs");
    gateway.stop();
}
