//! The same promises with a real PostgreSQL behind them.

use serde_json::{Value, json};

use crate::streaming::a_million_rows_pass;
use crate::support::client::Answer;
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

/// A trigger that lets no record pass whose `v` is 'wait', for as long as the gate is shut.
const GATE: &str = "CREATE TABLE t (id int PRIMARY KEY, v text);
    CREATE TABLE gate (is_open bool NOT NULL); INSERT INTO gate VALUES (false);
    CREATE FUNCTION pass() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
      WHILE NEW.v = 'wait' AND NOT (SELECT is_open FROM gate) LOOP PERFORM pg_sleep(0.01); END LOOP;
      RETURN NEW; END $$;
    CREATE TRIGGER pass BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION pass();";
/// How many statements of the gateway wait at the gate.
const AT_THE_GATE: &str = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'tidegate' AND state = 'active' AND query LIKE 'INSERT%'";
const T: &str = "/api/v2/db/_table/t";

/// Sends the record in a thread of its own, and waits until it is at the gate.
fn wait_at_the_gate(
    server: &PostgresqlServer,
    gateway: &TestGateway,
    records: Value,
) -> std::thread::JoinHandle<Answer> {
    let client = gateway.client_with(ADMIN);
    let held =
        std::thread::spawn(move || client.send_json("POST", T, &json!({ "resource": records })));
    eventually("the write to begin", 30, || {
        (server.sql(AT_THE_GATE) == "1").then_some(())
    });
    held
}

#[test]
fn writers_that_collide_are_told_to_try_again_and_nothing_is_kept_of_the_loser() {
    let server = PostgresqlServer::with_options(&["deadlock_timeout=50ms"]);
    // Whoever changes one record changes the other one a while later.
    server.sql(
        "CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (1, ''), (2, '');
         CREATE FUNCTION other() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
           IF pg_trigger_depth() = 1 AND NEW.v <> '' THEN
             PERFORM pg_sleep(0.5);
             UPDATE t SET v = NEW.v WHERE id = 3 - NEW.id;
           END IF;
           RETURN NEW; END $$;
         CREATE TRIGGER other AFTER UPDATE ON t FOR EACH ROW EXECUTE FUNCTION other();",
    );
    let serializable = "statements = [\"SET default_transaction_isolation = 'serializable'\"]";
    // Each waits for the other; one finds changed what it has seen.
    for (more, ids, state) in [("", [1, 2], "40P01"), (serializable, [1, 1], "40001")] {
        let (_directory, gateway) = serve(&server, more);
        gateway.claim("the backend failed");
        gateway.client_with(ADMIN).get(T).expect_ok();
        let answers = eventually("two writers to meet", 30, || {
            let writers = ["one", "two"].into_iter().zip(ids).map(|(name, id)| {
                let client = gateway.client_with(ADMIN);
                let target = format!("{T}/{id}");
                std::thread::spawn(move || client.send_json("PATCH", &target, &json!({"v": name})))
            });
            let writers: Vec<_> = writers.collect();
            let answers = writers.into_iter().map(|writer| writer.join().unwrap());
            let answers: Vec<Answer> = answers.collect();
            let have_met = answers.iter().any(|answer| answer.status != 200);
            have_met.then_some(answers)
        });
        let lost = usize::from(answers[0].status == 200);
        let loser = &answers[lost];
        loser.expect_error(503, "serialization_failure");
        assert_eq!(loser.header("retry-after"), Some("1"));
        assert!(!loser.text().contains(state), "{}", loser.text());
        eventually("the log to say why", 10, || {
            gateway.log().contains(state).then_some(())
        });
        // All of the winner, and nothing of the loser.
        answers[1 - lost].expect_ok();
        let winner = ["one", "two"][1 - lost];
        assert_eq!(server.sql("SELECT DISTINCT v FROM t"), winner);
        // Whoever does as told is served.
        let name = ["one", "two"][lost];
        let client = gateway.client_with(ADMIN);
        client
            .send_json("PATCH", &format!("{T}/{}", ids[lost]), &json!({"v": name}))
            .expect_ok();
        gateway.stop();
    }
}

#[test]
fn a_server_that_is_killed_in_the_middle_of_a_write_keeps_nothing_of_it_and_is_found_again() {
    let mut server = PostgresqlServer::start();
    server.sql(GATE);
    let (_directory, gateway) = serve(&server, "connect_timeout_seconds = 2");
    gateway.claim("backend");
    gateway.claim("connection");
    let client = gateway.client_with(ADMIN);
    for kill in [PostgresqlServer::stop, PostgresqlServer::crash] {
        let records = json!([{"id": 1, "v": "a"}, {"id": 2, "v": "wait"}]);
        let held = wait_at_the_gate(&server, &gateway, records);
        kill(&mut server);
        let cut = held.join().unwrap();
        cut.expect_error(503, "backend_unavailable");
        assert_eq!(cut.header("retry-after"), Some("5"));
        let down = client.send_json("POST", T, &json!({"resource": [{"id": 3, "v": "b"}]}));
        down.expect_error(503, "backend_unavailable");
        server.start_again();
        eventually("the service to heal", 30, || {
            (client.get(&format!("{T}?count_only=true")).status == 200).then_some(())
        });
        assert_eq!(server.sql("SELECT count(*) FROM t"), "0");
        eventually("writes to heal", 30, || {
            let whole = client.send_json("POST", T, &json!({"resource": [{"id": 4, "v": "c"}]}));
            (whole.status == 200 || whole.status == 201).then_some(())
        });
        client
            .request("DELETE", &format!("{T}/4"))
            .send()
            .expect_ok();
    }
    gateway.stop();
}

#[test]
fn whoever_finds_all_connections_taken_waits_and_is_turned_away_in_the_end() {
    let server = PostgresqlServer::start();
    server.sql(GATE);
    let (_directory, gateway) = serve(&server, "max_connections = 1");
    gateway.claim("backend");
    gateway.claim("too many requests");
    let client = gateway.client_with(ADMIN);
    client.get(T).expect_ok();

    // Waits for as long as that helps.
    let held = wait_at_the_gate(&server, &gateway, json!([{"id": 1, "v": "wait"}]));
    let other = gateway.client_with(ADMIN);
    let waiting = std::thread::spawn(move || {
        other.send_json("POST", T, &json!({"resource": [{"id": 2, "v": "a"}]}))
    });
    std::thread::park_timeout(std::time::Duration::from_millis(300));
    assert!(!waiting.is_finished(), "there was a connection left");
    server.sql("UPDATE gate SET is_open = true");
    held.join().unwrap().expect_ok();
    waiting.join().unwrap().expect_ok();

    // And no longer.
    server.sql("UPDATE gate SET is_open = false");
    let held = wait_at_the_gate(&server, &gateway, json!([{"id": 3, "v": "wait"}]));
    let refused = client.send_json("POST", T, &json!({"resource": [{"id": 4, "v": "a"}]}));
    refused.expect_error(503, "overloaded");
    assert!(refused.header("retry-after").is_some());
    assert!(!held.is_finished());
    // Small reads have connections of their own.
    client.get(&format!("{T}/1")).expect_ok();
    server.sql("UPDATE gate SET is_open = true");
    held.join().unwrap().expect_ok();
    client
        .send_json("POST", T, &json!({"resource": [{"id": 4, "v": "a"}]}))
        .expect_ok();
    assert_eq!(
        server.sql("SELECT string_agg(id::text, ',' ORDER BY id) FROM t"),
        "1,2,3,4"
    );
    gateway.stop();
}

#[test]
fn a_server_that_turns_read_only_is_away_for_writes_alone_and_is_found_again() {
    let server = PostgresqlServer::start();
    server.sql(
        "CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (1, 'a');
         CREATE FUNCTION note(v text) RETURNS int LANGUAGE sql VOLATILE AS
           $$ INSERT INTO t SELECT max(t.id) + 1, $1 FROM t RETURNING id $$;
         CREATE FUNCTION sly() RETURNS int LANGUAGE sql STABLE AS $$ SELECT note('sly') $$;",
    );
    // With one connection it is that one that each call waits for.
    let (_directory, gateway) = serve(&server, "max_connections = 1");
    gateway.claim("backend");
    let client = gateway.client_with(ADMIN);
    let write = |id: i32| client.send_json("POST", T, &json!({"resource": [{"id": id, "v": "b"}]}));
    let sly = "/api/v2/db/_func/sly";
    let connections = || {
        server.sql("SELECT pid FROM pg_stat_activity WHERE application_name = 'tidegate' AND query LIKE 'COMMIT%'")
    };
    write(2).expect_ok();
    // That the gateway itself permits no write is another matter.
    client.get(sly).expect_error(405, "method_not_allowed");
    write(3).expect_ok();
    let before = connections();
    assert!(!before.is_empty());

    // A failover: the server still answers, but no longer as the one to write to.
    server.sql("ALTER SYSTEM SET default_transaction_read_only = on;\nSELECT pg_reload_conf();");
    let refused = eventually("the server to take no writes", 30, || {
        let answer = client.send_json("PATCH", &format!("{T}/1"), &json!({"v": "c"}));
        (answer.status != 200).then_some(answer)
    });
    refused.expect_error(503, "backend_unavailable");
    assert_eq!(refused.header("retry-after"), Some("5"));
    for word in ["25006", "read-only", "read only"] {
        assert!(!refused.text().contains(word), "{}", refused.text());
    }
    eventually("the log to say why", 10, || {
        gateway.log().contains("25006").then_some(())
    });
    eventually("the connection to be given up", 30, || {
        let now = connections();
        (!before
            .lines()
            .any(|pid| now.lines().any(|other| other == pid)))
        .then_some(())
    });
    for _ in 0..3 {
        write(4).expect_error(503, "backend_unavailable");
        client
            .send_json("POST", sly, &json!({}))
            .expect_error(503, "backend_unavailable");
        client.get(sly).expect_error(405, "method_not_allowed");
        client.get(&format!("{T}/1")).expect_ok();
        client.get(T).expect_ok();
    }
    server.sql("ALTER SYSTEM RESET default_transaction_read_only;\nSELECT pg_reload_conf();");
    eventually("the service to heal", 30, || {
        (write(4).status < 300).then_some(())
    });
    gateway.stop();
}
