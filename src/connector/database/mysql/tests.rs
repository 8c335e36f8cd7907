//! The driver against real servers.

#[path = "../../../../tests/support/mysql.rs"]
pub(super) mod server;

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use serde_json::{Map, json};

use super::config::ServerConfig;
use super::pool::MysqlPool;
use crate::connector::Resources;
use crate::connector::database::catalog::{DefaultValue, Type};
use crate::connector::database::plan::Bind;
use crate::connector::database::rows::{Frame, RowWriter, Shape};
use crate::connector::database::sql::{SqlPool as _, Statement, Transaction};
use crate::connector::database::value::Scalar;
use crate::error::{ErrorKind, Result};
use crate::exchange::Format;
use crate::exchange::body::{Body, drive};
use server::{Brand, DATABASE, MysqlServer, PASSWORD, USER};

const BRANDS: [Brand; 2] = [Brand::Mysql, Brand::Mariadb];

/// The brands whose servers are there. One that is required and missing fails the test.
fn brands() -> impl Iterator<Item = Brand> {
    BRANDS.into_iter().filter(|brand| {
        let is_required = std::env::var("TIDEGATE_TEST_REQUIRE")
            .is_ok_and(|list| list.split(',').any(|name| name.trim() == brand.name()));
        match brand.missing() {
            Some(how) if !is_required => {
                eprintln!("SKIPPED: there is no {} server; {how}", brand.name());
                false
            }
            _ => true,
        }
    })
}

async fn pool(server: &MysqlServer, more: serde_json::Value) -> Arc<MysqlPool> {
    let mut whole = json!({
        "host": "127.0.0.1",
        "port": server.port(),
        "database": DATABASE,
        "username": USER,
        "password": PASSWORD,
    });
    whole
        .as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    let config: ServerConfig = serde_json::from_value(whole).unwrap();
    assert_eq!(config.problems(), Vec::new());
    let resources = Resources {
        service: "test".parse().unwrap(),
        data_directory: "/".into(),
        clock: crate::clock::system(),
    };
    let needs_mariadb = server.brand() == Brand::Mariadb;
    Arc::new(config.pool(needs_mariadb, &resources).await.unwrap())
}

fn statement(sql: &str, values: Vec<Scalar>) -> Statement {
    Statement {
        kinds: Arc::default(),
        returned: Arc::default(),
        returned_names: Arc::default(),
        sql: Arc::from(sql),
        binds: values.into_iter().map(Bind::Value).collect(),
        json_columns: Arc::default(),
        expected_rows: Some(1),
    }
}

fn unbounded(sql: &str) -> Statement {
    Statement {
        expected_rows: None,
        ..statement(sql, Vec::new())
    }
}

async fn body(pool: &Arc<MysqlPool>, statement: &Statement, names: &[&str]) -> Result<Body> {
    let pool = Arc::clone(pool);
    let statement = statement.clone();
    let names = names.iter().map(|&name| name.to_owned()).collect();
    let shape = Arc::new(Shape::new(names, Frame::List, Format::Json));
    drive(move |sender| async move {
        let rows = RowWriter::new(shape, Some(sender));
        let rows = pool.read(&statement, &[], rows).await?;
        Ok(rows.finish(&Map::new()))
    })
    .await
}

async fn read(pool: &Arc<MysqlPool>, statement: &Statement, names: &[&str]) -> Result<String> {
    let bytes = body(pool, statement, names)
        .await?
        .collect(usize::MAX)
        .await?;
    Ok(String::from_utf8(bytes.to_vec()).unwrap())
}

async fn run(
    transaction: &mut Box<dyn Transaction>,
    sql: &str,
    values: Vec<Scalar>,
) -> Result<u64> {
    let shape = Arc::new(Shape::new(Vec::new(), Frame::Bare, Format::Json));
    let (_, touched) = transaction
        .run(&statement(sql, values), &[], RowWriter::new(shape, None))
        .await?;
    Ok(touched)
}

/// Asks again until the answer is true.
async fn eventually(what: &str, mut probe: impl AsyncFnMut() -> bool) {
    for _ in 0..1500 {
        if probe().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("gave up: {what}");
}

/// The first chunk of a body, so that the statement is under way.
async fn first_chunk(body: Body) -> (crate::exchange::body::ByteStream, usize) {
    let Body::Stream(mut stream) = body else {
        panic!("the result is too small to be streamed");
    };
    let chunk = stream.next().await.unwrap().unwrap();
    (stream, chunk.len())
}

/// A table of 60 MB, which no buffer between here and there holds.
const WIDE: &str = "CREATE TABLE wide (id int PRIMARY KEY, v varchar(1000));
    INSERT INTO wide WITH RECURSIVE n AS (SELECT 1 AS id UNION ALL SELECT id + 1 FROM n WHERE id < 1000)
      SELECT a.id + 1000 * b.id, REPEAT('x', 1000) FROM n a JOIN n b ON b.id <= 60;";

fn accounts(server: &MysqlServer) {
    server.sql(&format!(
        "CREATE USER plain@'%' IDENTIFIED BY '{PASSWORD}'; GRANT SELECT, INSERT, UPDATE, DELETE ON {DATABASE}.* TO plain@'%';
         CREATE USER reader@'%' IDENTIFIED BY '{PASSWORD}'; GRANT SELECT ON {DATABASE}.* TO reader@'%';"
    ));
}

#[tokio::test]
async fn what_the_server_refuses_has_its_kind_and_says_nothing_of_the_server() {
    use ErrorKind as Kind;
    for brand in brands() {
        let server = MysqlServer::start(brand);
        server.sql(
            "CREATE TABLE parent (id int PRIMARY KEY);
             CREATE TABLE t (id int PRIMARY KEY, u varchar(5) UNIQUE, n int NOT NULL, p int, c int, d date, s tinyint,
               e enum('a','b'), doc json, g int AS (c + 1) STORED, CHECK (c > 0), FOREIGN KEY (p) REFERENCES parent (id));
             INSERT INTO parent VALUES (1); INSERT INTO t (id, u, n, p) VALUES (1, 'a', 1, 1);
             CREATE VIEW positive AS SELECT id, n FROM t WHERE n > 0 WITH CHECK OPTION;",
        );
        accounts(&server);
        let pool = pool(&server, json!({})).await;
        for (sql, kind) in [
            ("INSERT INTO t (id, n) VALUES (1, 1)", Kind::UniqueViolation),
            (
                "INSERT INTO t (id, u, n) VALUES (2, 'a', 1)",
                Kind::UniqueViolation,
            ),
            (
                "INSERT INTO t (id, n, p) VALUES (2, 1, 7)",
                Kind::ForeignKeyViolation,
            ),
            ("DELETE FROM parent WHERE id = 1", Kind::ForeignKeyViolation),
            (
                "INSERT INTO t (id, n) VALUES (2, NULL)",
                Kind::NotNullViolation,
            ),
            ("INSERT INTO t (id) VALUES (2)", Kind::NotNullViolation),
            (
                "INSERT INTO t (id, n, c) VALUES (2, 1, 0)",
                Kind::CheckViolation,
            ),
            ("UPDATE positive SET n = -1", Kind::CheckViolation),
            (
                "INSERT INTO t (id, n, u) VALUES (2, 1, 'too long')",
                Kind::InvalidValue,
            ),
            (
                "INSERT INTO t (id, n, s) VALUES (2, 1, 128)",
                Kind::InvalidValue,
            ),
            (
                "INSERT INTO t (id, n, d) VALUES (2, 1, '2023-02-29')",
                Kind::InvalidValue,
            ),
            (
                "INSERT INTO t (id, n, d) VALUES (2, 1, '0000-00-00')",
                Kind::InvalidValue,
            ),
            ("INSERT INTO t (id, n) VALUES (2, 'x')", Kind::InvalidValue),
            (
                "INSERT INTO t (id, n, e) VALUES (2, 1, 'c')",
                Kind::InvalidValue,
            ),
            (
                "INSERT INTO t (id, n, g) VALUES (2, 1, 5)",
                Kind::InvalidValue,
            ),
            ("SELECT * FROM missing", Kind::UnknownTable),
            ("SELECT missing FROM t", Kind::UnknownField),
            ("SELEKT 1", Kind::BackendFailure),
        ] {
            let mut transaction = pool.begin().await.unwrap();
            let error = run(&mut transaction, sql, Vec::new()).await.unwrap_err();
            assert_eq!(error.kind(), kind, "{brand:?} {sql}: {error:?}");
            for word in ["t.u", "'a'", "app", "SQL", "missing"] {
                assert!(!error.message().contains(word), "{error:?}");
            }
        }
        // MariaDB sees a check of the column, MySQL a type.
        let mut transaction = pool.begin().await.unwrap();
        let bad = "INSERT INTO t (id, n, doc) VALUES (2, 1, '{')";
        let kind = run(&mut transaction, bad, Vec::new())
            .await
            .unwrap_err()
            .kind();
        assert!(
            [Kind::InvalidValue, Kind::CheckViolation].contains(&kind),
            "{brand:?}"
        );

        let many = format!("SELECT 1 IN (?{})", ", ?".repeat(65_535));
        let values = vec![Scalar::Int(1); 65_536];
        let mut transaction = pool.begin().await.unwrap();
        let error = run(&mut transaction, &many, values).await.unwrap_err();
        assert_eq!(error.kind(), Kind::InvalidParameter, "{error:?}");

        let reader = self::pool(&server, json!({"username": "reader"})).await;
        let mut transaction = reader.begin().await.unwrap();
        let error = run(&mut transaction, "DELETE FROM t", Vec::new())
            .await
            .unwrap_err();
        assert_eq!(error.kind(), Kind::Forbidden, "{error:?}");

        let wrong = self::pool(&server, json!({"password": "wrong"})).await;
        let error = wrong.probe().await.unwrap_err();
        assert_eq!(error.kind(), Kind::BackendUnavailable, "{error:?}");
        assert!(!format!("{error:?}").contains("wrong"), "{error:?}");
        assert_eq!(server.sql("SELECT COUNT(*) FROM t"), "1");
    }
}

#[tokio::test]
async fn writers_that_collide_are_told_to_try_again_and_nothing_is_kept_of_the_loser() {
    for brand in brands() {
        let server = MysqlServer::start(brand);
        server.sql("CREATE TABLE t (id int PRIMARY KEY, n int); INSERT INTO t VALUES (1, 0), (2, 0), (3, 0);");
        let pool = pool(&server, json!({"statement_timeout_seconds": 1})).await;

        // Each waits for the other.
        let mut one = pool.begin().await.unwrap();
        let mut two = pool.begin().await.unwrap();
        run(&mut one, "UPDATE t SET n = 1 WHERE id = 1", Vec::new())
            .await
            .unwrap();
        run(
            &mut two,
            "UPDATE t SET n = 2 WHERE id IN (2, 3)",
            Vec::new(),
        )
        .await
        .unwrap();
        let (first, second) = tokio::join!(
            run(&mut one, "UPDATE t SET n = 1 WHERE id = 2", Vec::new()),
            run(&mut two, "UPDATE t SET n = 2 WHERE id = 1", Vec::new()),
        );
        assert!(first.is_err() != second.is_err(), "{first:?} {second:?}");
        let (mut loser, winner, outcome) = if first.is_err() {
            (one, two, first)
        } else {
            (two, one, second)
        };
        assert_eq!(outcome.unwrap_err().kind(), ErrorKind::SerializationFailure);
        // The server has undone all of it, and would call a commit a success.
        for error in [
            loser.rollback_to_savepoint().await.unwrap_err(),
            run(&mut loser, "UPDATE t SET n = 9", Vec::new())
                .await
                .unwrap_err(),
            loser.commit().await.unwrap_err(),
        ] {
            assert_eq!(error.kind(), ErrorKind::SerializationFailure, "{error:?}");
        }
        winner.commit().await.unwrap();
        let numbers = server.sql("SELECT GROUP_CONCAT(n ORDER BY id) FROM t");
        assert!(["1,1,0", "2,2,2"].contains(&numbers.as_str()), "{numbers}");

        // One waits for a lock that is not given up.
        let mut holder = pool.begin().await.unwrap();
        run(&mut holder, "UPDATE t SET n = 5 WHERE id = 1", Vec::new())
            .await
            .unwrap();
        let mut waiter = pool.begin().await.unwrap();
        let error = run(&mut waiter, "UPDATE t SET n = 6 WHERE id = 1", Vec::new())
            .await
            .unwrap_err();
        assert!(
            [ErrorKind::SerializationFailure, ErrorKind::BackendTimeout].contains(&error.kind()),
            "{error:?}"
        );
        // A failed statement must not be forgotten.
        assert!(waiter.commit().await.is_err());
        holder.commit().await.unwrap();
    }
}

#[tokio::test]
async fn transactions_keep_or_undo_all_and_savepoints_a_part() {
    for brand in brands() {
        let server = MysqlServer::start(brand);
        server.sql("CREATE TABLE t (id int AUTO_INCREMENT PRIMARY KEY, n int UNIQUE);");
        let pool = pool(&server, json!({"max_connections": 1})).await;
        let insert = "INSERT INTO t (n) VALUES (?)";

        let mut transaction = pool.begin().await.unwrap();
        assert_eq!(
            run(&mut transaction, insert, vec![Scalar::Int(1)])
                .await
                .unwrap(),
            1
        );
        assert_eq!(transaction.last_key(), Some(1));
        drop(transaction);

        // The only connection, rolled back.
        let mut transaction = pool.begin().await.unwrap();
        run(&mut transaction, insert, vec![Scalar::Int(1)])
            .await
            .unwrap();
        transaction.savepoint().await.unwrap();
        run(&mut transaction, insert, vec![Scalar::Int(2)])
            .await
            .unwrap();
        assert!(
            run(&mut transaction, insert, vec![Scalar::Int(2)])
                .await
                .is_err()
        );
        transaction.rollback_to_savepoint().await.unwrap();
        transaction.savepoint().await.unwrap();
        run(&mut transaction, insert, vec![Scalar::Int(3)])
            .await
            .unwrap();
        transaction.release_savepoint().await.unwrap();
        // Records that already are what they shall be were found all the same.
        let touched = run(
            &mut transaction,
            "UPDATE t SET n = 3 WHERE n = 3",
            Vec::new(),
        )
        .await
        .unwrap();
        assert_eq!(touched, 1);
        transaction.commit().await.unwrap();
        assert_eq!(
            server.sql("SELECT GROUP_CONCAT(n ORDER BY n) FROM t"),
            "1,3"
        );
    }
}

#[tokio::test]
async fn a_read_that_is_dropped_ends_on_the_server_too_and_its_connection_with_it() {
    for brand in brands() {
        let server = MysqlServer::start(brand);
        server.sql(WIDE);
        let pool = pool(&server, json!({"max_connections": 1})).await;
        let id = || async {
            read(
                &pool,
                &statement("SELECT CONNECTION_ID() AS `plain`", Vec::new()),
                &["id"],
            )
            .await
            .unwrap()
        };
        let before = id().await;
        assert_eq!(id().await, before, "a connection is used again");
        let body = body(&pool, &unbounded("SELECT id, v FROM wide"), &["id", "v"])
            .await
            .unwrap();
        let (stream, _) = first_chunk(body).await;
        drop(stream);
        // It waits for the slot, which is free only when the old connection is gone.
        let after = id().await;
        assert_ne!(before, after);
        let old: String = before.chars().filter(char::is_ascii_digit).collect();
        eventually("the server to end the statement", async || {
            server.sql(&format!(
                "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE ID = {old}"
            )) == "0"
        })
        .await;
    }
}

#[tokio::test]
async fn a_slow_reader_gets_all_rows_and_nothing_piles_up() {
    for brand in brands() {
        let server = MysqlServer::start(brand);
        server.sql(WIDE);
        let pool = pool(&server, json!({"statement_timeout_seconds": 1})).await;
        let before = resident_bytes();
        let body = body(&pool, &unbounded("SELECT id, v FROM wide"), &["id", "v"])
            .await
            .unwrap();
        let (mut stream, mut length) = first_chunk(body).await;
        // Longer than a statement may take, the grace included.
        tokio::time::sleep(Duration::from_millis(3_500)).await;
        let grown = resident_bytes().saturating_sub(before);
        assert!(grown < 20 * 1024 * 1024, "{brand:?}: {grown} bytes more");
        while let Some(chunk) = stream.next().await {
            length += chunk.unwrap().len();
        }
        assert!(length > 60_000_000, "{brand:?}: {length}");
    }
}

fn resident_bytes() -> usize {
    let status = std::io::read_to_string(std::fs::File::open("/proc/self/statm").unwrap()).unwrap();
    let pages: usize = status.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096
}

#[tokio::test]
async fn a_statement_that_takes_too_long_is_given_up_and_ended() {
    for brand in brands() {
        let server = MysqlServer::start(brand);
        server.sql("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1);");
        let pool = pool(
            &server,
            json!({"statement_timeout_seconds": 1, "max_connections": 1}),
        )
        .await;
        // The server's limit on small reads, and the gateway's on large ones and on writes.
        let sleeping = "SELECT SLEEP(600) AS `plain` FROM t";
        for slow in [statement(sleeping, Vec::new()), unbounded(sleeping)] {
            let outcome = read(&pool, &slow, &["s"]).await;
            // MySQL's SLEEP is interrupted without an error, and gives 1.
            match outcome {
                Err(error) => assert_eq!(
                    error.kind(),
                    ErrorKind::BackendTimeout,
                    "{brand:?}: {error:?}"
                ),
                Ok(text) => assert!(text.contains(":1"), "{brand:?}: {text}"),
            }
        }
        let mut transaction = pool.begin().await.unwrap();
        let error = run(&mut transaction, "UPDATE t SET id = SLEEP(600)", Vec::new())
            .await
            .unwrap_err();
        assert_eq!(
            error.kind(),
            ErrorKind::BackendTimeout,
            "{brand:?}: {error:?}"
        );
        drop(transaction);
        pool.probe().await.unwrap();
        eventually("the server to end the statement", async || {
            server.sql("SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE INFO LIKE '%SLEEP(6%' AND INFO NOT LIKE '%PROCESSLIST%'") == "0"
        })
        .await;
        assert_eq!(server.sql("SELECT id FROM t"), "1");
    }
}

#[tokio::test]
async fn whoever_finds_all_connections_taken_waits_for_one() {
    for brand in brands() {
        let server = MysqlServer::start(brand);
        let pool = pool(&server, json!({"max_connections": 2})).await;
        let one = pool.begin().await.unwrap();
        let two = pool.begin().await.unwrap();
        let waiting = {
            let pool = Arc::clone(&pool);
            tokio::spawn(async move {
                read(&pool, &statement("SELECT 1 AS `plain`", Vec::new()), &["n"]).await
            })
        };
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(!waiting.is_finished());
        drop(one);
        assert_eq!(waiting.await.unwrap().unwrap(), r#"{"resource":[{"n":1}]}"#);
        two.commit().await.unwrap();
        // Beyond the pool, the server's own limit.
        let full = MysqlServer::with_options(brand, &["--max-connections=3"]);
        let greedy = self::pool(&full, json!({"max_connections": 20})).await;
        let mut held = Vec::new();
        let refused = loop {
            match greedy.begin().await {
                Ok(transaction) => held.push(transaction),
                Err(error) => break error,
            }
            assert!(held.len() < 20, "the server takes too many");
        };
        assert_eq!(refused.kind(), ErrorKind::BackendUnavailable, "{refused:?}");
        drop(held);
        eventually("the pool to heal", async || greedy.begin().await.is_ok()).await;
    }
}

#[tokio::test]
async fn a_server_that_dies_or_turns_read_only_is_found_again() {
    for brand in brands() {
        let mut server = MysqlServer::start(brand);
        server.sql("CREATE TABLE t (id int PRIMARY KEY);");
        accounts(&server);
        let pool = pool(
            &server,
            json!({"username": "plain", "connect_timeout_seconds": 2}),
        )
        .await;
        let insert = "INSERT INTO t VALUES (1)";

        // A failover: the server still answers, but no longer as the one to write to.
        server.sql("SET GLOBAL read_only = 1");
        let mut transaction = pool.begin().await.unwrap();
        let error = run(&mut transaction, insert, Vec::new()).await.unwrap_err();
        assert_eq!(
            error.kind(),
            ErrorKind::BackendUnavailable,
            "{brand:?}: {error:?}"
        );
        drop(transaction);
        eventually("the connection to be given up", async || {
            server.sql("SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE USER = 'plain'")
                == "0"
        })
        .await;
        server.sql("SET GLOBAL read_only = 0");

        let mut transaction = pool.begin().await.unwrap();
        run(&mut transaction, insert, Vec::new()).await.unwrap();
        server.stop();
        let error = transaction.commit().await.unwrap_err();
        assert_eq!(
            error.kind(),
            ErrorKind::BackendUnavailable,
            "{brand:?}: {error:?}"
        );
        let error = pool.begin().await.err().unwrap();
        assert_eq!(
            error.kind(),
            ErrorKind::BackendUnavailable,
            "{brand:?}: {error:?}"
        );
        server.start_again();
        eventually("the pool to heal", async || pool.begin().await.is_ok()).await;
        assert_eq!(server.sql("SELECT COUNT(*) FROM t"), "0");

        // Connections that were cut while nobody used them are replaced without an error.
        let ids = server.sql("SELECT ID FROM information_schema.PROCESSLIST WHERE USER = 'plain'");
        for id in ids.lines() {
            server.sql(&format!("KILL {id}"));
        }
        let one = statement("SELECT 1 AS `plain`", Vec::new());
        assert_eq!(
            read(&pool, &one, &["n"]).await.unwrap(),
            r#"{"resource":[{"n":1}]}"#
        );
    }
}

#[tokio::test]
async fn certificates_are_verified_unless_the_manifest_says_otherwise() {
    for brand in brands() {
        let server = MysqlServer::start_with_tls(brand);
        let authority = server.authority();
        let encrypted = statement(
            "SELECT VARIABLE_VALUE <> '' AS `boolean` FROM performance_schema.session_status WHERE VARIABLE_NAME = 'Ssl_cipher'",
            Vec::new(),
        );
        let encrypted = match brand {
            Brand::Mysql => encrypted,
            Brand::Mariadb => statement(
                "SELECT VARIABLE_VALUE <> '' AS `boolean` FROM information_schema.SESSION_STATUS WHERE VARIABLE_NAME = 'Ssl_cipher'",
                Vec::new(),
            ),
        };
        for (more, works) in [
            (
                json!({"host": "localhost", "tls": "verify", "ca": authority}),
                true,
            ),
            (json!({"tls": "require"}), true),
            // The certificate is for another name, or signed by somebody else.
            (json!({"tls": "verify", "ca": authority}), false),
            (json!({"host": "localhost", "tls": "verify"}), false),
        ] {
            let pool = pool(&server, more.clone()).await;
            let answer = read(&pool, &encrypted, &["is_encrypted"]).await;
            if works {
                assert_eq!(
                    answer.unwrap(),
                    r#"{"resource":[{"is_encrypted":true}]}"#,
                    "{brand:?} {more}"
                );
            } else {
                let error = answer.unwrap_err();
                assert_eq!(
                    error.kind(),
                    ErrorKind::BackendUnavailable,
                    "{brand:?} {more}: {error:?}"
                );
            }
        }
        let socket = json!({"host": null, "unix_socket": server.socket()});
        pool(&server, socket).await.probe().await.unwrap();
        // A server that cannot encrypt gets no password.
        let options: &[&str] = match brand {
            Brand::Mysql => &["--tls-version="],
            Brand::Mariadb => &[],
        };
        let plain = MysqlServer::with_options(brand, options);
        let error = pool(&plain, json!({"tls": "require"}))
            .await
            .probe()
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BackendUnavailable, "{error:?}");
    }
}

#[tokio::test]
async fn the_session_is_what_the_manifest_says_and_not_what_the_server_defaults_to() {
    for brand in brands() {
        let server = MysqlServer::with_options(
            brand,
            &[
                "--default-time-zone=-08:00",
                "--sql-mode=ANSI,NO_BACKSLASH_ESCAPES",
                "--character-set-server=latin1",
                "--transaction-isolation=SERIALIZABLE",
            ],
        );
        server.sql(
            "CREATE TABLE t (id int PRIMARY KEY, moment timestamp NULL, span time(1), v text CHARACTER SET utf8mb4);
             SET time_zone = '+00:00';
             INSERT INTO t VALUES (1, '2026-02-01 10:00:00', '-838:59:58.5', '100%'), (2, NULL, '25:00:00', 'a\\b');",
        );
        for timezone in ["+00:00", "+05:30", "-03:15"] {
            let pool = pool(
                &server,
                json!({"timezone": timezone, "modes": ["PIPES_AS_CONCAT"]}),
            )
            .await;
            let all = statement(
                "SELECT id AS `plain`, moment AS `plain`, span AS `plain`, v AS `text` FROM t WHERE ? IS NULL OR moment = ? ORDER BY id",
                vec![Scalar::Null, Scalar::Null],
            );
            let names = ["id", "moment", "span", "v"];
            assert_eq!(
                read(&pool, &all, &names).await.unwrap(),
                r#"{"resource":[{"id":1,"moment":"2026-02-01T10:00:00Z","span":"-838:59:58.5","v":"100%"},{"id":2,"moment":null,"span":"25:00:00","v":"a\\b"}]}"#,
                "{brand:?} {timezone}"
            );
            let same = Scalar::Temporal("2026-02-01T12:00:00+02:00".to_owned());
            let one = statement("SELECT id AS `plain` FROM t WHERE moment = ?", vec![same]);
            assert_eq!(
                read(&pool, &one, &["id"]).await.unwrap(),
                r#"{"resource":[{"id":1}]}"#,
                "{brand:?} {timezone}"
            );
        }
        let pool = pool(&server, json!({"strict": false})).await;
        let mut transaction = pool.begin().await.unwrap();
        let zero = "UPDATE t SET moment = '0000-00-00 00:00:00' WHERE id = 2";
        run(&mut transaction, zero, Vec::new()).await.unwrap();
        transaction.commit().await.unwrap();
        let two = statement("SELECT moment AS `plain` FROM t WHERE id = 2", Vec::new());
        assert_eq!(
            read(&pool, &two, &["moment"]).await.unwrap(),
            r#"{"resource":[{"moment":"0000-00-00 00:00:00"}]}"#
        );
    }
}

#[tokio::test]
async fn the_type_of_the_service_is_the_product() {
    if !brands().eq(BRANDS) {
        return;
    }
    let resources = Resources {
        service: "test".parse().unwrap(),
        data_directory: "/".into(),
        clock: crate::clock::system(),
    };
    for (brand, needs_mariadb, works) in [
        (Brand::Mysql, true, false),
        // Its SQL is MySQL's, and a little more.
        (Brand::Mariadb, false, true),
    ] {
        let server = MysqlServer::start(brand);
        let config: ServerConfig = serde_json::from_value(json!({
            "host": "127.0.0.1", "port": server.port(), "database": DATABASE, "username": USER, "password": PASSWORD,
        }))
        .unwrap();
        let pool = config.pool(needs_mariadb, &resources).await.unwrap();
        let outcome = pool.probe().await;
        assert_eq!(outcome.is_ok(), works, "{outcome:?}");
        if let Err(error) = outcome {
            assert!(
                format!("{error:?}").contains("write type = \"mysql\""),
                "{error:?}"
            );
        }
    }
}

#[tokio::test]
async fn the_catalogue_says_what_is_there() {
    for brand in brands() {
        let server = MysqlServer::start(brand);
        server.sql(
            "CREATE TABLE person (id int AUTO_INCREMENT PRIMARY KEY, email varchar(40) NOT NULL UNIQUE COMMENT 'where to write',
               token varchar(36) DEFAULT (uuid()), is_active tinyint(1) NOT NULL DEFAULT 1, mood enum('sad','it''s','a,b') DEFAULT 'sad',
               credit decimal(12,2) DEFAULT 12.50, big bigint unsigned, doc json, born year, changed timestamp NULL DEFAULT CURRENT_TIMESTAMP,
               twice int AS (born * 2) STORED, quote varchar(10) DEFAULT 'o''x', maker varchar(20), model varchar(20),
               UNIQUE KEY product (maker, model), UNIQUE KEY part (token(5)), KEY lead_by (born)) COMMENT 'people';
             CREATE TABLE pet (id int PRIMARY KEY, owner int, maker varchar(20), model varchar(20),
               CONSTRAINT owned FOREIGN KEY (owner) REFERENCES person (id) ON DELETE CASCADE,
               FOREIGN KEY (maker, model) REFERENCES person (maker, model));
             CREATE VIEW active AS SELECT id, email FROM person WHERE is_active;
             CREATE VIEW counted AS SELECT COUNT(*) AS n FROM person;
             CREATE DATABASE other; CREATE TABLE other.far (id int PRIMARY KEY, near int, FOREIGN KEY (near) REFERENCES app.person (id));
             CREATE USER narrow@'%' IDENTIFIED BY 'correct horse'; GRANT SELECT (id, email), INSERT (token) ON app.person TO narrow@'%';",
        );
        let pool = pool(&server, json!({})).await;
        let catalog = pool.catalog().await.unwrap();
        let person = catalog.get("person").unwrap();
        let column = |name: &str| person.column(person.column_index(name).unwrap()).unwrap();
        assert_eq!(person.primary_key, [0]);
        assert_eq!(person.unique_keys, [vec![1], vec![12, 13]], "{brand:?}");
        assert_eq!(person.description.as_deref(), Some("people"));
        assert!(person.is_writable && !person.is_view);
        assert!(column("id").is_auto_increment && column("id").default.is_none());
        assert!(column("twice").is_generated && column("twice").default.is_none());
        assert!(!column("email").is_nullable && column("token").is_nullable);
        assert_eq!(
            column("email").description.as_deref(),
            Some("where to write")
        );
        assert_eq!(column("email").length, Some(40));
        assert_eq!(
            (column("credit").precision, column("credit").scale),
            (Some(12), Some(2))
        );
        assert_eq!(column("mood").picklist, ["sad", "it's", "a,b"]);
        assert_eq!(column("doc").kind, Type::Json);
        assert_eq!(column("doc").db_type, "json");
        assert_eq!(column("big").kind, Type::Decimal);
        for (name, value) in [
            ("is_active", json!(true)),
            ("mood", json!("sad")),
            ("credit", json!(12.50)),
            ("quote", json!("o'x")),
        ] {
            assert_eq!(
                column(name).default,
                Some(DefaultValue::Literal(value)),
                "{brand:?} {name}"
            );
        }
        assert_eq!(
            column("token").default,
            Some(DefaultValue::Expression("uuid()".to_owned()))
        );
        assert!(
            matches!(&column("changed").default, Some(DefaultValue::Expression(text)) if text.to_lowercase().starts_with("current_timestamp"))
        );
        assert!(column("maker").default.is_none(), "{:?}", column("maker"));

        let pet = catalog.get("pet").unwrap();
        assert_eq!(pet.foreign_keys.len(), 2);
        let owned = pet
            .foreign_keys
            .iter()
            .find(|key| key.name == "owned")
            .unwrap();
        assert_eq!(
            (owned.target.as_str(), owned.on_delete.as_str()),
            ("person", "CASCADE")
        );
        assert_eq!(owned.target_columns, ["id"]);
        assert!(person.relation("pet_by_owner").is_some());
        assert!(person.relation("pet_by_maker_model").is_some());
        assert!(catalog.get("active").unwrap().is_writable);
        assert!(!catalog.get("counted").unwrap().is_writable);
        assert!(catalog.get("far").is_err() && catalog.get("other.far").is_err());

        let wide = self::pool(&server, json!({"schema": "*"}))
            .await
            .catalog()
            .await
            .unwrap();
        let far = wide.get("other.far").unwrap();
        assert_eq!(far.foreign_keys[0].target, "person");
        assert!(wide.get("mysql.user").is_err());
        let other = self::pool(&server, json!({"schema": "other"}))
            .await
            .catalog()
            .await
            .unwrap();
        assert!(other.get("far").is_ok() && other.get("person").is_err());
        let narrow = self::pool(&server, json!({"username": "narrow"}))
            .await
            .catalog()
            .await
            .unwrap();
        let names: Vec<&str> = narrow
            .get("person")
            .unwrap()
            .columns
            .iter()
            .map(|column| column.name.as_str())
            .collect();
        assert_eq!(names, ["id", "email"], "{brand:?}");

        let mut before = pool.fingerprint().await.unwrap();
        assert_eq!(pool.fingerprint().await.unwrap(), before);
        assert!(before.len() < 200, "{before}");
        server.sql("INSERT INTO person (email) VALUES ('a')");
        assert_eq!(
            pool.fingerprint().await.unwrap(),
            before,
            "data are not the shape"
        );
        for change in [
            "ALTER TABLE pet ADD COLUMN name varchar(5)",
            "ALTER TABLE pet MODIFY COLUMN name varchar(6)",
            "ALTER TABLE pet ADD UNIQUE KEY (name)",
            "ALTER TABLE pet ALTER COLUMN name SET DEFAULT 'x'",
            "ALTER TABLE pet COMMENT 'animals'",
            "ALTER TABLE pet DROP FOREIGN KEY owned",
            "CREATE TABLE more (id int)",
            "DROP VIEW counted",
        ] {
            server.sql(change);
            let after = pool.fingerprint().await.unwrap();
            assert_ne!(after, before, "{brand:?} {change}");
            before = after;
        }
    }
}

#[tokio::test]
async fn a_probe_keeps_no_connection_and_unused_connections_are_closed() {
    for brand in brands() {
        let server = MysqlServer::start(brand);
        let pool = pool(&server, json!({})).await;
        let count = || {
            server.sql(&format!(
                "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE USER = '{USER}'"
            ))
        };
        pool.probe().await.unwrap();
        eventually("the probe's connection to close", async || count() == "0").await;
        drop(pool.begin().await.unwrap());
        pool.probe().await.unwrap();
        eventually("one connection to be kept", async || count() == "1").await;
        pool.release_unused(Duration::ZERO);
        eventually("the connection to close", async || count() == "0").await;
    }
}
