//! The driver against a real server.

#[path = "../../../../tests/support/postgresql.rs"]
pub(super) mod server;

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, json};

use super::config::PostgresqlConfig;
use super::pool::PostgresqlPool;
use crate::connector::Resources;
use crate::connector::database::catalog::{DefaultValue, Type};
use crate::connector::database::plan::Bind;
use crate::connector::database::rows::{Frame, RowWriter, Shape};
use crate::connector::database::sql::{SqlPool as _, Statement, Transaction};
use crate::connector::database::value::Scalar;
use crate::error::{ErrorKind, Result};
use crate::exchange::Format;
use crate::exchange::body::{Body, drive};
use server::PostgresqlServer;

async fn pool(server: &PostgresqlServer, more: serde_json::Value) -> Arc<PostgresqlPool> {
    Arc::new(try_pool(server, more).await.unwrap())
}

async fn try_pool(server: &PostgresqlServer, more: serde_json::Value) -> Result<PostgresqlPool> {
    let mut whole = json!({
        "host": "127.0.0.1",
        "port": server.port(),
        "database": server::DATABASE,
        "username": server::USER,
        "password": server::PASSWORD,
        "application_name": "driver",
    });
    whole
        .as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    let config: PostgresqlConfig = serde_json::from_value(whole).unwrap();
    assert_eq!(config.problems(), Vec::new());
    let resources = Resources {
        service: "test".parse().unwrap(),
        data_directory: "/".into(),
        clock: crate::clock::system(),
    };
    config.pool(&resources).await
}

fn statement(sql: &str, values: Vec<Scalar>) -> Statement {
    Statement {
        kinds: Arc::default(),
        returned: Arc::default(),
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

fn shape(names: &[&str], format: Format) -> Arc<Shape> {
    let names = names.iter().map(|&name| name.to_owned()).collect();
    Arc::new(Shape::new(names, Frame::List, format))
}

async fn body(
    pool: &Arc<PostgresqlPool>,
    statement: &Statement,
    names: &[&str],
    format: Format,
) -> Result<Body> {
    let pool = Arc::clone(pool);
    let statement = statement.clone();
    let shape = shape(names, format);
    drive(move |sender| async move {
        let rows = RowWriter::new(shape, Some(sender));
        let rows = pool.read(&statement, &[], rows).await?;
        Ok(rows.finish(&Map::new()))
    })
    .await
}

async fn read(pool: &Arc<PostgresqlPool>, statement: &Statement, names: &[&str]) -> Result<String> {
    let bytes = body(pool, statement, names, Format::Json)
        .await?
        .collect(usize::MAX)
        .await?;
    Ok(String::from_utf8(bytes.to_vec()).unwrap())
}

async fn run(
    transaction: &mut Box<dyn Transaction>,
    sql: &str,
    values: Vec<Scalar>,
    names: &[&str],
) -> Result<(String, u64)> {
    let shape = Arc::new(Shape::new(
        names.iter().map(|&name| name.to_owned()).collect(),
        Frame::Bare,
        Format::Json,
    ));
    let (rows, touched) = transaction
        .run(&statement(sql, values), &[], RowWriter::new(shape, None))
        .await?;
    let bytes = rows.finish(&Map::new());
    Ok((String::from_utf8(bytes.to_vec()).unwrap(), touched))
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

/// Name, type, value, and the value as JSON.
type TypeCase = (&'static str, &'static str, fn() -> Scalar, &'static str);

const TYPES: &[TypeCase] = &[
    ("bool", "boolean", || Scalar::Bool(true), "true"),
    ("int2", "smallint", || Scalar::Int(-32_768), "-32768"),
    (
        "int4",
        "integer",
        || Scalar::Int(2_147_483_647),
        "2147483647",
    ),
    (
        "int8",
        "bigint",
        || Scalar::Int(i64::MAX),
        "9223372036854775807",
    ),
    ("oid", "oid", || Scalar::Int(4_294_967_295), "4294967295"),
    ("float4", "real", || Scalar::Float(0.1), "0.1"),
    ("float8", "double precision", || Scalar::Float(0.1), "0.1"),
    (
        "numeric",
        "numeric",
        || Scalar::Decimal("-12345678901234567890.0123456789".into()),
        "-12345678901234567890.0123456789",
    ),
    ("scaled", "numeric(12,2)", || Scalar::Int(7), "7.00"),
    (
        "small",
        "numeric",
        || Scalar::Decimal("0.00001000".into()),
        "0.00001000",
    ),
    ("nan", "numeric", || Scalar::Text("NaN".into()), r#""NaN""#),
    (
        "money",
        "money",
        || Scalar::Decimal("-1234.5".into()),
        "-1234.50",
    ),
    (
        "text",
        "text",
        || Scalar::Text("a\"\u{1F980}\\".into()),
        r#""a\"🦀\\""#,
    ),
    (
        "varchar",
        "varchar(5)",
        || Scalar::Text("abc".into()),
        r#""abc""#,
    ),
    ("fixed", "char(3)", || Scalar::Text("ab".into()), r#""ab ""#),
    ("name", "name", || Scalar::Text("n".into()), r#""n""#),
    ("byte", "\"char\"", || Scalar::Text("x".into()), r#""x""#),
    (
        "bytea",
        "bytea",
        || Scalar::Bytes(vec![0, 1, 255]),
        r#""AAH/""#,
    ),
    (
        "uuid",
        "uuid",
        || Scalar::Uuid([0x11; 16]),
        r#""11111111-1111-1111-1111-111111111111""#,
    ),
    (
        "json",
        "json",
        || Scalar::Json(r#"{"b": 1, "a": [null]}"#.into()),
        r#"{"b": 1, "a": [null]}"#,
    ),
    (
        "jsonb",
        "jsonb",
        || Scalar::Json(r#"{"b":1.50,"a":[null]}"#.into()),
        r#"{"a": [null], "b": 1.50}"#,
    ),
    (
        "date",
        "date",
        || Scalar::Temporal("2024-02-29".into()),
        r#""2024-02-29""#,
    ),
    (
        "bc",
        "date",
        || Scalar::Temporal("-0043-03-15".into()),
        r#""-0043-03-15""#,
    ),
    (
        "far",
        "date",
        || Scalar::Temporal("+10000-01-01".into()),
        r#""+10000-01-01""#,
    ),
    (
        "forever",
        "date",
        || Scalar::Text("infinity".into()),
        r#""infinity""#,
    ),
    (
        "time",
        "time",
        || Scalar::Temporal("23:59:59.5".into()),
        r#""23:59:59.5""#,
    ),
    (
        "timetz",
        "timetz",
        || Scalar::Temporal("10:00:00-05:30".into()),
        r#""10:00:00-05:30""#,
    ),
    (
        "stamp",
        "timestamp",
        || Scalar::Temporal("2026-02-01T10:00:00.000001".into()),
        r#""2026-02-01T10:00:00.000001""#,
    ),
    (
        "stamptz",
        "timestamptz",
        || Scalar::Temporal("2026-02-01T10:00:00-05:30".into()),
        r#""2026-02-01T15:30:00Z""#,
    ),
    (
        "never",
        "timestamptz",
        || Scalar::Text("-infinity".into()),
        r#""-infinity""#,
    ),
    (
        "interval",
        "interval",
        || Scalar::Text("P1Y2M3DT4H5M6.7S".into()),
        r#""P1Y2M3DT4H5M6.7S""#,
    ),
    (
        "inet",
        "inet",
        || Scalar::Text("2001:db8::1/64".into()),
        r#""2001:db8::1/64""#,
    ),
    (
        "cidr",
        "cidr",
        || Scalar::Text("10.0.0.0/8".into()),
        r#""10.0.0.0/8""#,
    ),
    (
        "mac",
        "macaddr",
        || Scalar::Text("08:00:2b:01:02:03".into()),
        r#""08:00:2b:01:02:03""#,
    ),
    (
        "bits",
        "varbit(9)",
        || Scalar::Text("101010101".into()),
        r#""101010101""#,
    ),
    (
        "mood",
        "mood",
        || Scalar::Text("happy".into()),
        r#""happy""#,
    ),
    ("domain", "positive", || Scalar::Int(5), "5"),
    (
        "ints",
        "int[]",
        || {
            Scalar::Array(vec![
                Scalar::Array(vec![Scalar::Int(1), Scalar::Null]),
                Scalar::Array(vec![Scalar::Int(3), Scalar::Int(4)]),
            ])
        },
        "[[1,null],[3,4]]",
    ),
    (
        "texts",
        "text[]",
        || {
            Scalar::Array(vec![
                Scalar::Text("a\"\\,{}".into()),
                Scalar::Text("NULL".into()),
                Scalar::Null,
            ])
        },
        r#"["a\"\\,{}","NULL",null]"#,
    ),
    (
        "moods",
        "mood[]",
        || Scalar::Array(vec![Scalar::Text("sad".into())]),
        r#"["sad"]"#,
    ),
    (
        "stamps",
        "timestamptz[]",
        || Scalar::Array(vec![Scalar::Temporal("2026-02-01T10:00:00Z".into())]),
        r#"["2026-02-01T10:00:00Z"]"#,
    ),
    (
        "blobs",
        "bytea[]",
        || Scalar::Array(vec![Scalar::Bytes(vec![255])]),
        r#"["/w=="]"#,
    ),
    ("empty", "int[]", || Scalar::Array(Vec::new()), "[]"),
    ("nothing", "int", || Scalar::Null, "null"),
];

#[tokio::test]
async fn values_of_every_type_come_back_as_they_went() {
    let server = PostgresqlServer::start();
    let columns: Vec<String> = TYPES
        .iter()
        .map(|(name, native, ..)| format!("\"{name}\" {native}"))
        .collect();
    server.sql(&format!(
        "CREATE TYPE mood AS ENUM ('sad', 'happy'); CREATE DOMAIN positive AS int CHECK (value > 0); \
         CREATE TABLE t ({})",
        columns.join(", ")
    ));
    let pool = pool(&server, json!({})).await;
    let names: Vec<String> = TYPES
        .iter()
        .map(|(name, ..)| format!("\"{name}\""))
        .collect();
    let holders: Vec<String> = (1..=TYPES.len())
        .map(|number| format!("${number}"))
        .collect();
    let mut transaction = pool.begin().await.unwrap();
    let (_, touched) = run(
        &mut transaction,
        &format!(
            "INSERT INTO t ({}) VALUES ({})",
            names.join(", "),
            holders.join(", ")
        ),
        TYPES.iter().map(|(_, _, value, _)| value()).collect(),
        &[],
    )
    .await
    .unwrap();
    assert_eq!(touched, 1);
    transaction.commit().await.unwrap();
    for (name, native, _, expected) in TYPES {
        let sql = format!("SELECT \"{name}\" FROM t");
        assert_eq!(
            read(&pool, &statement(&sql, Vec::new()), &["v"])
                .await
                .unwrap(),
            format!(r#"{{"resource":[{{"v":{expected}}}]}}"#),
            "{name} {native}"
        );
        // A large read decodes the same way.
        assert_eq!(
            read(&pool, &unbounded(&sql), &["v"]).await.unwrap(),
            format!(r#"{{"resource":[{{"v":{expected}}}]}}"#),
        );
    }
    // Every value also works as a parameter of a comparison.
    for (name, native, value, _) in TYPES {
        if matches!(*name, "json" | "nothing") {
            continue;
        }
        let sql = format!("SELECT 1 AS one FROM t WHERE \"{name}\" = $1");
        let answer = read(&pool, &statement(&sql, vec![value()]), &["one"]).await;
        if *name == "float4" {
            continue;
        }
        assert_eq!(
            answer.unwrap(),
            r#"{"resource":[{"one":1}]}"#,
            "{name} {native}"
        );
    }
}

#[tokio::test]
async fn what_the_server_refuses_has_its_kind_and_says_nothing_of_the_server() {
    let server = PostgresqlServer::start();
    server.sql(
        "CREATE TABLE parent (id int PRIMARY KEY); \
         CREATE TABLE t (id int PRIMARY KEY, parent int REFERENCES parent, secret text NOT NULL, \
                         age smallint CHECK (age > 0)); \
         INSERT INTO parent VALUES (1); INSERT INTO t VALUES (1, 1, 's', 1)",
    );
    let pool = pool(&server, json!({"statement_timeout_seconds": 1})).await;
    let int = |value| Scalar::Int(value);
    let text = |value: &str| Scalar::Text(value.to_owned());
    for (sql, values, kind) in [
        (
            "INSERT INTO t VALUES ($1, 1, 'x')",
            vec![int(1)],
            ErrorKind::UniqueViolation,
        ),
        (
            "INSERT INTO t VALUES (2, $1, 'x')",
            vec![int(9)],
            ErrorKind::ForeignKeyViolation,
        ),
        (
            "INSERT INTO t VALUES (2, 1, $1)",
            vec![Scalar::Null],
            ErrorKind::NotNullViolation,
        ),
        (
            "INSERT INTO t VALUES (2, 1, 'x', $1)",
            vec![int(0)],
            ErrorKind::CheckViolation,
        ),
        (
            "INSERT INTO t VALUES (2, 1, 'x', $1)",
            vec![int(70_000)],
            ErrorKind::InvalidValue,
        ),
        (
            "INSERT INTO t VALUES ($1, 1, 'x')",
            vec![text("one")],
            ErrorKind::InvalidValue,
        ),
        (
            "INSERT INTO t VALUES (2, 1, $1)",
            vec![text("a\0b")],
            ErrorKind::InvalidValue,
        ),
        (
            "SELECT pg_sleep(30)::text",
            vec![],
            ErrorKind::BackendTimeout,
        ),
        ("SELECT 1 FROM gone", vec![], ErrorKind::UnknownTable),
    ] {
        let mut transaction = pool.begin().await.unwrap();
        let error = run(&mut transaction, sql, values, &["a"])
            .await
            .unwrap_err();
        assert_eq!(error.kind(), kind, "{sql}: {error:?}");
        for word in ["parent", "secret", "age", "gone", "t_pkey", "ERROR"] {
            assert!(!error.message().contains(word), "{}", error.message());
        }
    }
    let error = pool
        .read(
            &statement("SELECT 1 FROM t WHERE age = $1", vec![int(70_000)]),
            &[],
            RowWriter::new(shape(&["a"], Format::Json), None),
        )
        .await
        .err()
        .unwrap();
    assert_eq!(error.kind(), ErrorKind::InvalidValue);
    // Reads cannot write, wherever they run.
    for statement in [
        statement("INSERT INTO parent VALUES (2) RETURNING id", Vec::new()),
        unbounded("INSERT INTO parent VALUES (2) RETURNING id"),
    ] {
        assert!(read(&pool, &statement, &["id"]).await.is_err());
    }
    assert_eq!(server.sql("SELECT count(*) FROM parent"), "1");
}

#[tokio::test]
async fn transactions_keep_or_undo_all_and_savepoints_a_part() {
    let server = PostgresqlServer::start();
    server.sql("CREATE TABLE t (id int PRIMARY KEY)");
    let pool = pool(&server, json!({"max_connections": 1})).await;
    let insert = "INSERT INTO t VALUES ($1) RETURNING id";
    let mut transaction = pool.begin().await.unwrap();
    for (id, is_good) in [(1, true), (1, false), (2, true), (2, false), (3, true)] {
        transaction.savepoint().await.unwrap();
        let result = run(&mut transaction, insert, vec![Scalar::Int(id)], &["id"]).await;
        assert_eq!(result.is_ok(), is_good);
        match result {
            Ok((rows, touched)) => {
                assert_eq!((rows, touched), (format!(r#"{{"id":{id}}}"#), 1));
                transaction.release_savepoint().await.unwrap();
            }
            Err(_) => transaction.rollback_to_savepoint().await.unwrap(),
        }
    }
    transaction.commit().await.unwrap();
    assert_eq!(
        server.sql("SELECT string_agg(id::text, ',' ORDER BY id) FROM t"),
        "1,2,3"
    );

    // Dropped: undone, and the one connection is there for the next.
    let mut transaction = pool.begin().await.unwrap();
    run(&mut transaction, insert, vec![Scalar::Int(4)], &["id"])
        .await
        .unwrap();
    drop(transaction);
    // Failed and committed nevertheless: never reported as a success.
    let mut transaction = pool.begin().await.unwrap();
    run(&mut transaction, insert, vec![Scalar::Int(5)], &["id"])
        .await
        .unwrap();
    run(&mut transaction, insert, vec![Scalar::Int(1)], &["id"])
        .await
        .unwrap_err();
    transaction.commit().await.unwrap_err();
    // Dropped in the middle of a statement.
    let mut transaction = pool.begin().await.unwrap();
    run(&mut transaction, insert, vec![Scalar::Int(6)], &["id"])
        .await
        .unwrap();
    let sleep = run(
        &mut transaction,
        "SELECT pg_sleep(25)::text",
        vec![],
        &["a"],
    );
    assert!(
        tokio::time::timeout(Duration::from_millis(50), sleep)
            .await
            .is_err()
    );
    drop(transaction);
    let mut transaction = pool.begin().await.unwrap();
    run(&mut transaction, insert, vec![Scalar::Int(7)], &["id"])
        .await
        .unwrap();
    transaction.commit().await.unwrap();
    assert_eq!(
        server.sql("SELECT string_agg(id::text, ',' ORDER BY id) FROM t"),
        "1,2,3,7"
    );
    eventually("the cancelled statement ends", async || {
        server.sql("SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(25)%' AND state = 'active' AND application_name = 'driver'") == "0"
    })
    .await;
}

#[tokio::test]
async fn many_reads_share_a_connection_and_a_slow_one_does_not_hold_them_up() {
    let server = PostgresqlServer::start();
    let pool = pool(
        &server,
        json!({"read_connections": 1, "max_connections": 4}),
    )
    .await;
    let echo = statement("SELECT $1::int AS n", vec![Scalar::Int(1)]);
    read(&pool, &echo, &["n"]).await.unwrap();
    let mut reads = tokio::task::JoinSet::new();
    for number in 0..300 {
        let pool = Arc::clone(&pool);
        reads.spawn(async move {
            let statement = statement("SELECT $1::int AS n", vec![Scalar::Int(number)]);
            (number, read(&pool, &statement, &["n"]).await.unwrap())
        });
    }
    while let Some(answer) = reads.join_next().await {
        let (number, text) = answer.unwrap();
        assert_eq!(text, format!(r#"{{"resource":[{{"n":{number}}}]}}"#));
    }
    let backends = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'driver'";
    assert_eq!(server.sql(backends), "1", "one connection served them all");

    let slow = {
        let pool = Arc::clone(&pool);
        tokio::spawn(async move {
            read(
                &pool,
                &statement("SELECT 'slow' AS n, pg_sleep(20)::text", vec![]),
                &["n", "s"],
            )
            .await
        })
    };
    eventually("the slow read runs", async || {
        server.sql("SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(20)%' AND state = 'active' AND application_name = 'driver'") == "1"
    })
    .await;
    for _ in 0..20 {
        read(&pool, &echo, &["n"]).await.unwrap();
    }
    assert!(
        !slow.is_finished(),
        "the others did not wait for the slow one"
    );
    // Gone without an answer: the line must not look blocked for ever.
    slow.abort();
    server.sql("SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(20)%' AND application_name = 'driver'");
    eventually("reads share the connection again", async || {
        read(&pool, &echo, &["n"]).await.unwrap();
        server.sql("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'driver' AND query LIKE 'SELECT $1::int%' AND query_start > now() - interval '1 second' AND pid = (SELECT min(pid) FROM pg_stat_activity WHERE application_name = 'driver')") == "1"
    })
    .await;
}

#[tokio::test]
async fn a_probe_keeps_no_connection_and_unused_connections_are_closed() {
    let server = PostgresqlServer::start();
    let pool = pool(&server, json!({})).await;
    let count =
        || server.sql("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'driver'");
    pool.probe().await.unwrap();
    eventually("the probe has left", async || count() == "0").await;

    let echo = statement("SELECT 1 AS n", vec![]);
    for _ in 0..2 {
        read(&pool, &echo, &["n"]).await.unwrap();
        let mut transaction = pool.begin().await.unwrap();
        run(&mut transaction, "SELECT 1 AS n", vec![], &["n"])
            .await
            .unwrap();
        pool.release_unused(Duration::from_hours(1));
        pool.probe().await.unwrap();
        assert_eq!(count(), "2", "what is in use stays, and the probe uses it");
        pool.release_unused(Duration::ZERO);
        eventually("the shared one is closed", async || count() == "1").await;
        transaction.commit().await.unwrap();
        pool.release_unused(Duration::ZERO);
        eventually("all are closed", async || count() == "0").await;
    }
}

#[tokio::test]
async fn prepared_statements_survive_changes_of_their_tables() {
    let server = PostgresqlServer::start();
    server.sql("CREATE TABLE t (id int); INSERT INTO t VALUES (1)");
    let pool = pool(
        &server,
        json!({"read_connections": 1, "max_connections": 1}),
    )
    .await;
    let select = "SELECT id FROM t";
    for (change, expected) in [
        ("", "1"),
        ("ALTER TABLE t ALTER id TYPE text USING id::text", "\"1\""),
        ("ALTER TABLE t ALTER id TYPE bigint USING id::bigint", "1"),
        (
            "DROP TABLE t; CREATE TABLE t (id date); INSERT INTO t VALUES ('2026-01-01')",
            "\"2026-01-01\"",
        ),
    ] {
        server.sql(change);
        let rows = format!(r#"{{"resource":[{{"id":{expected}}}]}}"#);
        assert_eq!(
            read(&pool, &statement(select, vec![]), &["id"])
                .await
                .unwrap(),
            rows
        );
        assert_eq!(
            read(&pool, &unbounded(select), &["id"]).await.unwrap(),
            rows
        );
        let mut transaction = pool.begin().await.unwrap();
        let (row, _) = run(&mut transaction, select, vec![], &["id"])
            .await
            .unwrap();
        assert_eq!(row, format!(r#"{{"id":{expected}}}"#));
        transaction.commit().await.unwrap();
    }
    // Somebody threw all prepared statements of the connections away.
    for statement in [
        statement("DEALLOCATE ALL", vec![]),
        unbounded("DEALLOCATE ALL"),
    ] {
        let _ = read(&pool, &statement, &[]).await;
    }
    read(&pool, &statement(select, vec![]), &["id"])
        .await
        .unwrap();
    read(&pool, &unbounded(select), &["id"]).await.unwrap();
}

#[tokio::test]
async fn a_restarted_server_is_found_again() {
    let mut server = PostgresqlServer::start();
    let pool = pool(&server, json!({})).await;
    let one = statement("SELECT 1 AS n", vec![]);
    pool.probe().await.unwrap();
    read(&pool, &one, &["n"]).await.unwrap();
    pool.begin().await.unwrap().commit().await.unwrap();

    server.stop();
    server.start_again();
    // Nobody notices a restart between two requests.
    eventually("reads work", async || {
        read(&pool, &one, &["n"]).await.is_ok()
    })
    .await;
    eventually("transactions work", async || pool.begin().await.is_ok()).await;

    server.stop();
    for _ in 0..3 {
        let error = read(&pool, &one, &["n"]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BackendUnavailable, "{error:?}");
        let error = pool.begin().await.err().unwrap();
        assert_eq!(error.kind(), ErrorKind::BackendUnavailable, "{error:?}");
        assert!(pool.probe().await.is_err());
    }
    server.start_again();
    eventually("reads work", async || {
        read(&pool, &one, &["n"]).await.is_ok()
    })
    .await;
    eventually("large reads work", async || {
        read(&pool, &unbounded("SELECT 1 AS n"), &["n"])
            .await
            .is_ok()
    })
    .await;
    eventually("the probe succeeds", async || pool.probe().await.is_ok()).await;
}

#[tokio::test]
async fn a_transaction_whose_server_dies_or_turns_read_only_is_not_committed() {
    let mut server = PostgresqlServer::start();
    server.sql("CREATE TABLE t (id int PRIMARY KEY);");
    let one = json!({"connect_timeout_seconds": 2, "max_connections": 1});
    let pool = pool(&server, one).await;
    let insert = "INSERT INTO t VALUES (1)";

    // A failover: the server still answers, but no longer as the one to write to.
    let pids = "SELECT pid FROM pg_stat_activity WHERE application_name = 'driver'";
    server.sql("ALTER SYSTEM SET default_transaction_read_only = on;\nSELECT pg_reload_conf();");
    eventually("the server to take no writes", async || {
        server.sql("SHOW default_transaction_read_only") == "on"
    })
    .await;
    let mut writing = pool.begin().await.unwrap();
    let error = run(&mut writing, insert, vec![], &[]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BackendUnavailable, "{error:?}");
    drop(writing);
    eventually("the connection to be given up", async || {
        server.sql(pids).is_empty()
    })
    .await;
    // What the gateway itself forbids says nothing of the server, and the connection is as good as it was.
    let mut reading = pool.begin_reading().await.unwrap();
    let error = run(&mut reading, insert, vec![], &[]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BackendFailure, "{error:?}");
    let pid = server.sql(pids);
    drop(reading);
    pool.begin_reading().await.unwrap().commit().await.unwrap();
    assert_eq!(server.sql(pids), pid);
    // Nor does a routine that raises the code by itself.
    server.sql("ALTER SYSTEM RESET default_transaction_read_only;\nSELECT pg_reload_conf();");
    eventually("the server to take writes", async || {
        server.sql("SHOW default_transaction_read_only") == "off"
    })
    .await;
    let raise = "DO $$ BEGIN RAISE EXCEPTION 'mine' USING ERRCODE = '25006'; END $$";
    let mut raising = pool.begin().await.unwrap();
    let error = run(&mut raising, raise, vec![], &[]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::RaisedByDatabase, "{error:?}");
    drop(raising);

    let mut cut = pool.begin().await.unwrap();
    run(&mut cut, insert, vec![], &[]).await.unwrap();
    server.crash();
    let error = cut.commit().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BackendUnavailable, "{error:?}");
    server.start_again();
    eventually("the pool to heal", async || pool.begin().await.is_ok()).await;
    assert_eq!(server.sql("SELECT COUNT(*) FROM t"), "0");
}

#[tokio::test]
async fn whoever_finds_all_connections_taken_waits_for_one() {
    let server = PostgresqlServer::start();
    let own = pool(&server, json!({"max_connections": 2})).await;
    let one = own.begin().await.unwrap();
    let two = own.begin().await.unwrap();
    let waiting = {
        let own = Arc::clone(&own);
        tokio::spawn(async move { own.begin().await.map(drop) })
    };
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!waiting.is_finished());
    drop(one);
    waiting.await.unwrap().unwrap();
    two.commit().await.unwrap();

    // Beyond the pool, the limit that the server sets.
    server.sql("CREATE ROLE plain LOGIN PASSWORD 'plain' CONNECTION LIMIT 3;");
    let greedy = json!({"username": "plain", "password": "plain", "max_connections": 20});
    let greedy = pool(&server, greedy).await;
    let mut held = Vec::new();
    let refused = loop {
        match greedy.begin().await {
            Ok(transaction) => held.push(transaction),
            Err(error) => break error,
        }
        assert!(held.len() < 20, "the server takes too many");
    };
    assert_eq!(held.len(), 3);
    assert_eq!(refused.kind(), ErrorKind::BackendUnavailable, "{refused:?}");
    drop(held);
    eventually("the pool to heal", async || greedy.begin().await.is_ok()).await;
}

#[tokio::test]
async fn a_wrong_password_is_the_operators_business() {
    let server = PostgresqlServer::start();
    let pool = pool(&server, json!({"password": "wrong"})).await;
    let error = read(&pool, &statement("SELECT 1", vec![]), &["n"])
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BackendUnavailable);
    assert_eq!(error.message(), "the database is not available");
    assert!(format!("{error:?}").contains("28P01"), "{error:?}");
}

async fn first_chunk(body: Body) -> (crate::exchange::body::ByteStream, usize) {
    use futures_util::StreamExt as _;
    let Body::Stream(mut stream) = body else {
        panic!("the result is not streamed");
    };
    let chunk = stream.next().await.unwrap().unwrap();
    (stream, chunk.len())
}

const MILLION: &str = "SELECT n, repeat('x', 100) AS text FROM generate_series(1, 1000000) AS n";

#[tokio::test]
async fn a_connection_that_dies_in_the_middle_breaks_the_body() {
    let server = PostgresqlServer::start();
    let pool = pool(&server, json!({})).await;
    let answer = body(&pool, &unbounded(MILLION), &["n", "text"], Format::NdJson)
        .await
        .unwrap();
    let (stream, _) = first_chunk(answer).await;
    server.sql(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'driver'",
    );
    let error = Body::Stream(stream).collect(usize::MAX).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BackendUnavailable, "{error:?}");
    let again = read(&pool, &unbounded("SELECT 1 AS n"), &["n"]).await;
    assert_eq!(again.unwrap(), r#"{"resource":[{"n":1}]}"#);
}

#[tokio::test]
async fn a_read_that_is_dropped_ends_on_the_server_too() {
    let server = PostgresqlServer::start();
    let pool = pool(&server, json!({"max_connections": 2})).await;
    // More often than there are connections.
    for _ in 0..5 {
        let answer = body(&pool, &unbounded(MILLION), &["n", "text"], Format::Csv)
            .await
            .unwrap();
        drop(first_chunk(answer).await);
        let sort = unbounded("SELECT count(*)::int AS n FROM generate_series(1, 100000000) a");
        let counting = body(&pool, &sort, &["n"], Format::Json);
        assert!(
            tokio::time::timeout(Duration::from_millis(30), counting)
                .await
                .is_err()
        );
    }
    eventually("no statement runs", async || {
        server.sql("SELECT count(*) FROM pg_stat_activity WHERE state <> 'idle' AND application_name = 'driver'") == "0"
    })
    .await;
    let mut transaction = pool.begin().await.unwrap();
    run(&mut transaction, "SELECT 1 AS n", vec![], &["n"])
        .await
        .unwrap();
}

fn resident_bytes() -> usize {
    let status = std::io::read_to_string(std::fs::File::open("/proc/self/statm").unwrap()).unwrap();
    let pages: usize = status.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096
}

#[tokio::test]
async fn a_million_rows_take_little_memory_however_slow_the_reader() {
    use futures_util::StreamExt as _;
    let server = PostgresqlServer::start();
    let pool = pool(&server, json!({})).await;
    read(&pool, &unbounded("SELECT 1 AS n"), &["n"])
        .await
        .unwrap();
    for format in [Format::NdJson, Format::Csv] {
        let before = resident_bytes();
        let mut most = before;
        let answer = body(&pool, &unbounded(MILLION), &["n", "text"], format)
            .await
            .unwrap();
        let (mut stream, mut received) = first_chunk(answer).await;
        let mut lines = 0_usize;
        let mut chunks = 0_u32;
        while let Some(chunk) = stream.next().await {
            let chunk = chunk.unwrap();
            received += chunk.len();
            lines += memchr::memchr_iter(b'\n', &chunk).count();
            chunks += 1;
            if chunks % 500 == 1 {
                // Long enough for everything that can run ahead to do so.
                tokio::time::sleep(Duration::from_millis(50)).await;
                most = most.max(resident_bytes());
            }
        }
        assert!(
            received > 100_000_000 && lines > 999_000,
            "{received} {lines}"
        );
        assert!(
            most - before < 32 * 1024 * 1024,
            "{} bytes more were resident",
            most - before
        );
    }
}

#[tokio::test]
async fn wide_rows_on_a_shared_connection_reach_a_slow_reader_whole() {
    use futures_util::StreamExt as _;
    let server = PostgresqlServer::start();
    let pool = pool(&server, json!({"read_connections": 1})).await;
    let wide = Statement {
        expected_rows: Some(1000),
        ..statement(
            "SELECT n, repeat('x', 20000) AS text FROM generate_series(1, 1000) AS n",
            vec![],
        )
    };
    for _ in 0..2 {
        let answer = body(&pool, &wide, &["n", "text"], Format::NdJson)
            .await
            .unwrap();
        let (mut stream, mut received) = first_chunk(answer).await;
        // While this one is read slowly, others are served.
        let other = read(&pool, &statement("SELECT 1 AS n", vec![]), &["n"]).await;
        assert!(other.is_ok(), "{other:?}");
        while let Some(chunk) = stream.next().await {
            received += chunk.unwrap().len();
        }
        assert!(received > 20_000_000);
    }
}

#[tokio::test]
async fn certificates_are_verified_unless_the_manifest_says_otherwise() {
    let server = PostgresqlServer::start_with_tls();
    let one = statement(
        "SELECT ssl::text AS n FROM pg_stat_ssl WHERE pid = pg_backend_pid()",
        vec![],
    );
    let ca = server.authority();
    let answer = |more| {
        let (server, one) = (&server, &one);
        async move { read(&pool(server, more).await, one, &["n"]).await }
    };
    let encrypted = r#"{"resource":[{"n":"true"}]}"#;
    let verified = json!({"host": "localhost", "tls": "verify", "ca": ca});
    assert_eq!(answer(verified).await.unwrap(), encrypted);
    assert_eq!(answer(json!({"tls": "require"})).await.unwrap(), encrypted);
    assert_eq!(
        answer(json!({"tls": "off"})).await.unwrap(),
        r#"{"resource":[{"n":"false"}]}"#
    );
    let unavailable = |result: Result<String>| {
        assert_eq!(result.unwrap_err().kind(), ErrorKind::BackendUnavailable);
    };
    // Unknown to the system; known, but valid for another name.
    unavailable(answer(json!({"host": "localhost", "tls": "verify"})).await);
    unavailable(answer(json!({"host": "127.0.0.1", "tls": "verify", "ca": ca})).await);
    let missing = try_pool(&server, json!({"tls": "verify", "ca": "/nowhere.pem"})).await;
    assert!(missing.is_err());
    // A server without TLS is not good enough for `require`.
    let plain = PostgresqlServer::start();
    let refused = read(&pool(&plain, json!({"tls": "require"})).await, &one, &["n"]).await;
    unavailable(refused);
    // The socket of the same server.
    let socket = json!({"host": plain.socket_folder()});
    read(&pool(&plain, socket).await, &one, &["n"])
        .await
        .unwrap();
}

#[tokio::test]
async fn the_catalogue_says_what_is_there() {
    let server = PostgresqlServer::start();
    server.sql(
        "CREATE TYPE mood AS ENUM ('sad', 'happy'); CREATE DOMAIN positive AS numeric(8,3) NOT NULL;
         CREATE TABLE album (id serial PRIMARY KEY, title varchar(20) NOT NULL DEFAULT 'untitled',
           feeling mood DEFAULT 'sad', price positive DEFAULT 1.5, made timestamptz DEFAULT now(),
           doubled numeric GENERATED ALWAYS AS (price * 2) STORED, tags text[], spans interval[], place point,
           number bigint GENERATED BY DEFAULT AS IDENTITY, dropped int, UNIQUE (title, feeling));
         ALTER TABLE album DROP dropped;
         CREATE INDEX ON album (made);
         CREATE UNIQUE INDEX ON album (number) WHERE number > 5;
         COMMENT ON TABLE album IS 'Records'; COMMENT ON COLUMN album.title IS 'On the sleeve';
         CREATE TABLE track (album int, number int, PRIMARY KEY (album, number) INCLUDE (album));
         ALTER TABLE track ADD CONSTRAINT of_album FOREIGN KEY (album) REFERENCES album ON DELETE CASCADE;
         CREATE VIEW writable AS SELECT id, title FROM album;
         CREATE VIEW counted AS SELECT count(*) FROM album;
         CREATE MATERIALIZED VIEW kept AS SELECT 1 AS one;
         CREATE TABLE whole (day date) PARTITION BY RANGE (day);
         CREATE TABLE part PARTITION OF whole FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
         CREATE SCHEMA sales; CREATE TABLE sales.album (id int PRIMARY KEY, other int REFERENCES public.album);
         CREATE ROLE poor LOGIN PASSWORD 'correct horse'; GRANT SELECT (id) ON album TO poor;",
    );
    let all = pool(&server, json!({})).await;
    let catalog = all.catalog().await.unwrap();
    let mut names: Vec<&str> = catalog.tables().map(|table| table.name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(
        names,
        [
            "album",
            "counted",
            "kept",
            "sales.album",
            "track",
            "whole",
            "writable"
        ]
    );
    let table = |name: &str| Arc::clone(catalog.table(name, |_| true).unwrap());
    let album = table("album");
    assert_eq!(album.description.as_deref(), Some("Records"));
    assert_eq!(album.schema.as_deref(), Some("public"));
    assert!(album.is_writable && !album.is_view);
    let column = |name: &str| &album.columns[album.column_index(name).unwrap()];
    assert_eq!(album.columns.len(), 10);
    assert!(column("id").is_auto_increment && column("id").default.is_none());
    assert!(column("number").is_auto_increment && column("number").kind == Type::BigInt);
    let title = column("title");
    assert_eq!((title.length, title.is_nullable), (Some(20), false));
    assert_eq!(title.db_type, "character varying(20)");
    assert_eq!(title.description.as_deref(), Some("On the sleeve"));
    assert_eq!(
        title.default,
        Some(DefaultValue::Literal(json!("untitled")))
    );
    assert_eq!(column("feeling").picklist, ["sad", "happy"]);
    assert_eq!(column("feeling").kind, Type::String);
    let price = column("price");
    assert_eq!((price.precision, price.scale), (Some(8), Some(3)));
    assert_eq!((&price.kind, price.is_nullable), (&Type::Decimal, false));
    assert_eq!(price.default, Some(DefaultValue::Literal(json!(1.5))));
    assert_eq!(
        column("made").default,
        Some(DefaultValue::Expression("now()".into()))
    );
    assert!(column("doubled").is_generated && column("doubled").default.is_none());
    assert_eq!(column("tags").kind, Type::Array(Box::new(Type::Text)));
    assert_eq!(column("spans").kind, Type::Array(Box::new(Type::Other)));
    assert_eq!(column("place").kind, Type::Other);
    assert_eq!(album.primary_key, [0]);
    assert_eq!(album.unique_keys, [vec![1, 2]]);
    let made = album.column_index("made").unwrap();
    assert!(album.indexed.contains(&0) && album.indexed.contains(&made));
    let track = table("track");
    assert_eq!(track.primary_key, [0, 1]);
    let key = &track.foreign_keys[0];
    assert_eq!(
        (key.name.as_str(), key.target.as_str()),
        ("of_album", "album")
    );
    assert_eq!(
        (key.columns.as_slice(), key.target_columns.as_slice()),
        (&[0][..], &["id".to_owned()][..])
    );
    assert_eq!(
        (key.on_update.as_str(), key.on_delete.as_str()),
        ("NO ACTION", "CASCADE")
    );
    assert_eq!(table("sales.album").foreign_keys[0].target, "album");
    for (name, is_view, is_writable) in [
        ("writable", true, true),
        ("counted", true, false),
        ("kept", true, false),
        ("whole", false, true),
    ] {
        let table = table(name);
        assert_eq!(
            (table.is_view, table.is_writable),
            (is_view, is_writable),
            "{name}"
        );
    }

    for (schema, expected) in [("default", 6), ("sales", 1), ("nowhere", 0)] {
        let some = pool(&server, json!({"schema": schema})).await;
        let catalog = some.catalog().await.unwrap();
        assert_eq!(catalog.tables().count(), expected, "{schema}");
        assert_eq!(catalog.table("album", |_| true).is_ok(), expected > 0);
    }
    let homeless = pool(&server, json!({"statements": ["SET search_path = ''"]})).await;
    let catalog = homeless.catalog().await.unwrap();
    assert!(catalog.table("public.album", |_| true).is_ok());
    let poor = pool(&server, json!({"username": "poor"})).await;
    let catalog = poor.catalog().await.unwrap();
    let visible: Vec<_> = catalog
        .tables()
        .map(|table| (table.name.clone(), table.columns.len()))
        .collect();
    assert_eq!(visible, [("album".to_owned(), 1)]);

    let mut fingerprint = all.fingerprint().await.unwrap();
    server.sql("INSERT INTO track SELECT id, 1 FROM album; ANALYZE; VACUUM track; REFRESH MATERIALIZED VIEW kept");
    assert_eq!(
        all.fingerprint().await.unwrap(),
        fingerprint,
        "data is not shape"
    );
    for change in [
        "ALTER TABLE track ADD extra int",
        "ALTER TABLE track RENAME extra TO more",
        "ALTER TABLE track ALTER more SET NOT NULL",
        "ALTER TABLE track ALTER more SET DEFAULT 5",
        "ALTER TABLE track ALTER more SET DEFAULT 6",
        "COMMENT ON TABLE track IS 'x'",
        "ALTER TYPE mood ADD VALUE 'tired'",
        "ALTER TABLE track DROP CONSTRAINT of_album",
        "CREATE INDEX ON track (more)",
        "GRANT SELECT ON track TO poor",
        "DROP VIEW counted",
    ] {
        server.sql(change);
        let now = all.fingerprint().await.unwrap();
        assert_ne!(now, fingerprint, "{change}");
        fingerprint = now;
    }
}

#[tokio::test]
async fn a_statement_that_is_slow_again_and_again_leaves_the_shared_connection() {
    let server = PostgresqlServer::start();
    let pool = pool(&server, json!({"read_connections": 1})).await;
    let backend = "SELECT pg_backend_pid() AS n, pg_sleep($1::float8)::text";
    let mut shared = Vec::new();
    for seconds in [0.0, 0.06, 0.06, 0.0, 0.06, 0.06, 0.06] {
        let statement = statement(backend, vec![Scalar::Float(seconds)]);
        shared.push(read(&pool, &statement, &["n", "s"]).await.unwrap());
    }
    shared.dedup();
    assert_eq!(shared.len(), 1, "single slow runs prove nothing");
    let statement = statement(backend, vec![Scalar::Float(0.0)]);
    let alone = read(&pool, &statement, &["n", "s"]).await.unwrap();
    assert_ne!(alone, shared[0]);
}
