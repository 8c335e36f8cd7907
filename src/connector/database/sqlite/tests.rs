//! The pool on real files.

use std::future::Future;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use rusqlite::Connection;
use serde_json::Map;
use tempfile::TempDir;

use super::connection::Settings;
use super::pool::SqlitePool;
use super::*;
use crate::connector::database::plan::Bind;
use crate::connector::database::rows::{Frame, RowWriter, Shape};
use crate::connector::database::sql::{SqlPool, Statement, Transaction};
use crate::connector::database::value::Scalar;
use crate::error::ErrorKind;
use crate::exchange::Format;
use crate::exchange::body::{Body, drive};

/// A query that never ends and gives no rows.
const ENDLESS: &str = "WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n) \
                       SELECT count(*) FROM n";
/// A query that never ends and gives rows all the time.
const ENDLESS_ROWS: &str = "WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n) \
                            SELECT i FROM n";

struct Fixture {
    directory: TempDir,
    config: SqliteConfig,
}

impl Fixture {
    /// A file made by this script, served with so many readers.
    fn new(sql: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        Connection::open(directory.path().join("test.db"))
            .unwrap()
            .execute_batch(sql)
            .unwrap();
        Self {
            directory,
            config: config("test.db"),
        }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("test.db")
    }

    fn pool(&self) -> SqlitePool {
        self.config.pool(&self.resources())
    }

    fn resources(&self) -> Resources {
        Resources {
            service: "test".parse().unwrap(),
            data_directory: self.directory.path().to_owned(),
            clock: crate::clock::system(),
        }
    }

    fn impatient_pool(&self, statement_timeout: Duration) -> SqlitePool {
        self.pool_with(statement_timeout, pool::LONGEST_IDLE)
    }

    fn pool_with(&self, statement_timeout: Duration, longest_idle: Duration) -> SqlitePool {
        SqlitePool::new(
            Settings {
                service: "test".to_owned(),
                path: Some(self.path()),
                read_only: false,
                create: false,
                busy_timeout: Duration::from_millis(20),
                statement_timeout,
                longest_idle,
                clock: crate::clock::system(),
            },
            1,
        )
    }
}

fn config(database: &str) -> SqliteConfig {
    serde_json::from_value(serde_json::json!({ "database": database })).unwrap()
}

fn statement(sql: &str, values: Vec<Scalar>) -> Statement {
    Statement {
        kinds: Arc::default(),
        returned: Arc::default(),
        returned_names: Arc::default(),
        sql: sql.into(),
        binds: values.into_iter().map(Bind::Value).collect(),
        json_columns: Arc::default(),
        expected_rows: None,
    }
}

fn writer(names: &[&str]) -> RowWriter {
    let names = names.iter().map(ToString::to_string).collect();
    RowWriter::new(Arc::new(Shape::new(names, Frame::Bare, Format::Json)), None)
}

fn text(rows: RowWriter) -> String {
    String::from_utf8(rows.finish(&Map::new()).to_vec()).unwrap()
}

async fn read(pool: &SqlitePool, sql: &str, names: &[&str]) -> Result<String> {
    let rows = pool
        .read(&statement(sql, Vec::new()), &[], writer(names))
        .await?;
    Ok(text(rows))
}

async fn run(transaction: &mut Box<dyn Transaction>, sql: &str) -> Result<u64> {
    let (_, touched) = transaction
        .run(&statement(sql, Vec::new()), &[], writer(&["a"]))
        .await?;
    Ok(touched)
}

/// Lets a future go on until this thread has nothing to do for it, then gives it back unfinished.
async fn started(future: &mut (impl Future + Unpin)) {
    for _ in 0..3 {
        assert!(matches!(futures_util::poll!(&mut *future), Poll::Pending));
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn values_come_back_as_they_went_in() {
    let fixture = Fixture::new(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, big INTEGER, flag BOOLEAN, price DECIMAL(20,4), x REAL, name TEXT,
            day DATE, at DATETIME, zoned TIMESTAMPTZ, doc JSON, uid UUID, raw BLOB, exact TEXT, empty TEXT)",
    );
    let pool = fixture.pool();
    let mut transaction = pool.begin().await.unwrap();
    let values = vec![
        Scalar::Int(i64::MIN),
        Scalar::Bool(true),
        Scalar::Decimal("12345678901.2345".into()),
        Scalar::Float(0.1),
        Scalar::Text("quote ' \" 🐘".into()),
        Scalar::Temporal("2026-02-01".into()),
        Scalar::Temporal("2026-02-01T10:00:00.25".into()),
        Scalar::Temporal("2026-02-01T10:00:00+02:00".into()),
        Scalar::Json(r#"{"a":[1,null]}"#.into()),
        Scalar::Uuid([0x11; 16]),
        Scalar::Bytes(vec![0, 255]),
        Scalar::Text("0.12345678901234567890".into()),
        Scalar::Null,
    ];
    let insert =
        "INSERT INTO t (big, flag, price, x, name, day, at, zoned, doc, uid, raw, exact, empty)
         VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?) RETURNING id, flag, day";
    let (rows, touched) = transaction
        .run(
            &statement(insert, values),
            &[],
            writer(&["id", "flag", "day"]),
        )
        .await
        .unwrap();
    assert_eq!(
        (text(rows).as_str(), touched),
        (r#"{"id":1,"flag":true,"day":"2026-02-01"}"#, 1)
    );
    transaction.commit().await.unwrap();
    let names = [
        "id", "big", "flag", "price", "x", "name", "day", "at", "zoned", "doc", "uid", "raw",
        "exact", "empty",
    ];
    assert_eq!(
        read(&pool, "SELECT * FROM t", &names).await.unwrap(),
        concat!(
            r#"{"id":1,"big":-9223372036854775808,"flag":true,"price":12345678901.2345,"x":0.1,"#,
            r#""name":"quote ' \" 🐘","day":"2026-02-01","at":"2026-02-01T10:00:00.25","#,
            r#""zoned":"2026-02-01T08:00:00Z","doc":{"a":[1,null]},"#,
            r#""uid":"11111111-1111-1111-1111-111111111111","raw":"AP8=","#,
            r#""exact":"0.12345678901234567890","empty":null}"#
        )
    );
    assert_eq!(
        read(
            &pool,
            "SELECT count(*) AS n FROM t WHERE at < CURRENT_TIMESTAMP OR date(at) = day",
            &["n"]
        )
        .await
        .unwrap(),
        r#"{"n":1}"#
    );
}

#[tokio::test]
async fn values_within_json_are_written_as_those_of_a_row() {
    let fixture = Fixture::new(
        "CREATE TABLE t (raw BLOB, flag BOOLEAN, price DECIMAL(9,2), at DATETIME, n SMALLINT, doc JSON);
         INSERT INTO t VALUES (x'00ff', 1, 12.5, '2026-02-01 10:00:00', 7, '[1]')",
    );
    let columns = |style: u8| {
        [
            ("raw", "BLOB"),
            ("flag", "BOOLEAN"),
            ("price", "DECIMAL(9,2)"),
            ("at", "DATETIME"),
            ("n", "SMALLINT"),
            ("doc", "JSON"),
        ]
        .map(|(name, declared)| {
            format!("'{name}', json(tidegate_json({name}, '{declared}', {style}))")
        })
        .join(", ")
    };
    let mut made = statement(
        &format!(
            "SELECT json_object({}), json_object({}), json_object('b', 1) FROM t",
            columns(0),
            columns(3)
        ),
        Vec::new(),
    );
    made.json_columns = Arc::new([0, 1]);
    let rows = fixture
        .pool()
        .read(&made, &[], writer(&["plain", "styled", "text"]))
        .await
        .unwrap();
    assert_eq!(
        text(rows),
        concat!(
            r#"{"plain":{"raw":"AP8=","flag":true,"price":12.5,"at":"2026-02-01T10:00:00","n":7,"doc":[1]},"#,
            r#""styled":{"raw":"AP8=","flag":true,"price":"12.5","at":"2026-02-01 10:00:00","n":7,"doc":[1]},"#,
            r#""text":"{\"b\":1}"}"#
        )
    );
}

#[tokio::test]
async fn an_output_that_is_no_column_is_what_its_name_says() {
    let fixture = Fixture::new(
        "CREATE TABLE t (day DATE, price DECIMAL(9,2)); INSERT INTO t VALUES ('2026-02-01', 0.1), ('2026-02-02', 0.2)",
    );
    let sql = r#"SELECT max(day) AS "DATE", sum(price) AS "DECIMAL(9,2)", count(*) > 1 AS "boolean", count(*) AS "bigint" FROM t"#;
    assert_eq!(
        read(&fixture.pool(), sql, &["day", "price", "many", "n"])
            .await
            .unwrap(),
        r#"{"day":"2026-02-02","price":0.3,"many":true,"n":2}"#
    );
}

#[tokio::test]
async fn readers_do_not_wait_for_the_writer_and_see_only_what_was_committed() {
    let fixture = Fixture::new("CREATE TABLE t (a INT); INSERT INTO t VALUES (1)");
    let pool = fixture.pool();
    let mut transaction = pool.begin().await.unwrap();
    assert_eq!(
        run(&mut transaction, "UPDATE t SET a = 2").await.unwrap(),
        1
    );
    assert_eq!(
        read(&pool, "SELECT a FROM t", &["a"]).await.unwrap(),
        r#"{"a":1}"#
    );
    // The next transaction waits for its turn.
    let mut second = Box::pin(pool.begin());
    started(&mut second).await;
    transaction.commit().await.unwrap();
    let mut second = second.await.unwrap();
    assert_eq!(
        read(&pool, "SELECT a FROM t", &["a"]).await.unwrap(),
        r#"{"a":2}"#
    );
    run(&mut second, "UPDATE t SET a = 3").await.unwrap();
    // Dropped without a commit.
    drop(second);
    let mut third = pool.begin().await.unwrap();
    assert_eq!(
        read(&pool, "SELECT a FROM t", &["a"]).await.unwrap(),
        r#"{"a":2}"#
    );
    third.savepoint().await.unwrap();
    run(&mut third, "DELETE FROM t").await.unwrap();
    third.rollback_to_savepoint().await.unwrap();
    third.savepoint().await.unwrap();
    run(&mut third, "INSERT INTO t VALUES (4)").await.unwrap();
    third.release_savepoint().await.unwrap();
    third.commit().await.unwrap();
    assert_eq!(
        read(&pool, "SELECT a FROM t ORDER BY a", &["a"])
            .await
            .unwrap(),
        r#"{"a":2},{"a":4}"#
    );
}

#[tokio::test]
async fn a_dropped_read_frees_its_connection() {
    let mut fixture = Fixture::new("CREATE TABLE t (a INT); INSERT INTO t VALUES (1)");
    fixture.config.max_connections = 1;
    let pool = Arc::new(fixture.pool());
    // Wherever the statement is when its future goes away, the only reader is free again.
    for rounds in 0..200 {
        let endless = statement(ENDLESS, Vec::new());
        let mut future = pin!(pool.read(&endless, &[], writer(&["n"])));
        for _ in 0..rounds {
            assert!(futures_util::poll!(&mut future).is_pending());
            tokio::task::yield_now().await;
        }
    }
    assert_eq!(
        read(&pool, "SELECT a FROM t", &["a"]).await.unwrap(),
        r#"{"a":1}"#
    );

    // The same while rows stream to a caller who hangs up.
    let streaming = Arc::clone(&pool);
    let body = drive(move |sender| async move {
        let shape = Shape::new(vec!["i".to_owned()], Frame::List, Format::NdJson);
        let rows = RowWriter::new(Arc::new(shape), Some(sender));
        let endless = statement(ENDLESS_ROWS, Vec::new());
        let rows = streaming.read(&endless, &[], rows).await?;
        Ok(rows.finish(&Map::new()))
    })
    .await
    .unwrap();
    let Body::Stream(mut chunks) = body else {
        panic!("the result is endless");
    };
    let first: Bytes = chunks.next().await.unwrap().unwrap();
    assert!(first.starts_with(b"{\"i\":1}\n"));
    drop(chunks);
    assert_eq!(
        read(&pool, "SELECT a FROM t", &["a"]).await.unwrap(),
        r#"{"a":1}"#
    );
}

#[tokio::test]
async fn a_statement_that_takes_too_long_is_ended_and_so_is_its_transaction() {
    let fixture = Fixture::new("CREATE TABLE t (a INT); INSERT INTO t VALUES (1)");
    let pool = fixture.impatient_pool(Duration::from_millis(20));
    let error = read(&pool, ENDLESS, &["n"]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BackendTimeout);
    let mut transaction = pool.begin().await.unwrap();
    let error = run(&mut transaction, &format!("UPDATE t SET a = ({ENDLESS})"))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BackendTimeout);
    // SQLite rolls the transaction back; what follows must not be written by itself.
    let error = run(&mut transaction, "INSERT INTO t VALUES (2)")
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::SerializationFailure);
    drop(transaction);
    assert_eq!(
        read(&pool, "SELECT a FROM t", &["a"]).await.unwrap(),
        r#"{"a":1}"#
    );
}

#[tokio::test]
async fn more_callers_than_the_queue_holds_are_turned_away() {
    let mut fixture = Fixture::new("CREATE TABLE t (a INT)");
    fixture.config.max_connections = 1;
    let pool = fixture.pool();
    let endless = statement(ENDLESS, Vec::new());
    let mut waiting = Vec::new();
    let refused = loop {
        let mut future = Box::pin(pool.read(&endless, &[], writer(&["n"])));
        if let Poll::Ready(answer) = futures_util::poll!(&mut future) {
            break answer.map(drop).unwrap_err();
        }
        waiting.push(future);
        assert!(waiting.len() < 2_000, "the queue has no bound");
    };
    assert_eq!(refused.kind(), ErrorKind::Overloaded);
    drop(waiting);
    assert_eq!(
        read(&pool, "SELECT 1 AS a", &["a"]).await.unwrap(),
        r#"{"a":1}"#
    );
}

#[tokio::test]
async fn constraints_become_kinds() {
    let fixture = Fixture::new(
        "CREATE TABLE parent (id INTEGER PRIMARY KEY, code TEXT UNIQUE);
         CREATE TABLE child (id INTEGER PRIMARY KEY, parent_id INT NOT NULL REFERENCES parent, n INT CHECK (n > 0));
         CREATE TABLE deferred (parent_id INT REFERENCES parent DEFERRABLE INITIALLY DEFERRED);
         CREATE TABLE strict_one (n INT) STRICT;
         INSERT INTO parent VALUES (1, 'a');
         INSERT INTO child VALUES (1, 1, 1);",
    );
    let pool = fixture.pool();
    for (sql, kind) in [
        (
            "INSERT INTO parent VALUES (1, 'b')",
            ErrorKind::UniqueViolation,
        ),
        (
            "INSERT INTO parent VALUES (2, 'a')",
            ErrorKind::UniqueViolation,
        ),
        (
            "INSERT INTO child VALUES (2, 9, 1)",
            ErrorKind::ForeignKeyViolation,
        ),
        ("DELETE FROM parent", ErrorKind::ForeignKeyViolation),
        (
            "INSERT INTO child VALUES (2, NULL, 1)",
            ErrorKind::NotNullViolation,
        ),
        (
            "INSERT INTO child VALUES (2, 1, 0)",
            ErrorKind::CheckViolation,
        ),
        (
            "INSERT INTO strict_one VALUES ('x')",
            ErrorKind::InvalidValue,
        ),
        (
            "INSERT INTO parent VALUES ('x', 'c')",
            ErrorKind::InvalidValue,
        ),
        ("INSERT INTO nowhere VALUES (1)", ErrorKind::BackendFailure),
        ("SELECT \"gone\" FROM parent", ErrorKind::BackendFailure),
    ] {
        let mut transaction = pool.begin().await.unwrap();
        let error = run(&mut transaction, sql).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{sql}: {error:?}");
    }
    for (sql, kind) in [
        (
            format!("SELECT 1 WHERE 1 IN ({})", vec!["?"; 40_000].join(",")),
            ErrorKind::InvalidRequest,
        ),
        (
            format!("SELECT 1 WHERE {}", vec!["1"; 2_000].join(" OR ")),
            ErrorKind::InvalidRequest,
        ),
        (
            format!("SELECT 1 WHERE {} 1", " ".repeat(1_100_000)),
            ErrorKind::InvalidRequest,
        ),
        (
            format!("SELECT 1 WHERE 'a' LIKE '{}'", "%a".repeat(30_000)),
            ErrorKind::InvalidValue,
        ),
    ] {
        let error = read(&pool, &sql, &["a"]).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error:?}");
    }
    let mut transaction = pool.begin().await.unwrap();
    run(&mut transaction, "INSERT INTO deferred VALUES (9)")
        .await
        .unwrap();
    let error = transaction.commit().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ForeignKeyViolation);
    assert_eq!(
        read(&pool, "SELECT count(*) AS n FROM deferred", &["n"])
            .await
            .unwrap(),
        r#"{"n":0}"#
    );
}

#[tokio::test]
async fn a_missing_file_is_missed_until_it_is_there() {
    let mut fixture = Fixture::new("CREATE TABLE t (a INT); INSERT INTO t VALUES (1)");
    let pool = fixture.pool();
    let aside = fixture.directory.path().join("aside.db");
    std::fs::rename(fixture.path(), &aside).unwrap();
    for error in [
        pool.probe().await.unwrap_err(),
        pool.catalog().await.unwrap_err(),
        pool.begin().await.map(drop).unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::BackendUnavailable);
        assert_eq!(error.message(), "the database file is missing");
    }
    assert!(!fixture.path().exists());
    std::fs::rename(&aside, fixture.path()).unwrap();
    pool.probe().await.unwrap();

    fixture.config = config("new.db");
    fixture.config.create = true;
    let pool = fixture.pool();
    assert_eq!(pool.catalog().await.unwrap().tables().count(), 0);
    assert!(fixture.directory.path().join("new.db").exists());

    fixture.config = config(".");
    assert_eq!(
        fixture.pool().probe().await.unwrap_err().kind(),
        ErrorKind::BackendUnavailable
    );
}

#[tokio::test]
async fn a_replaced_file_is_noticed_by_readers_and_the_writer() {
    let fixture = Fixture::new("CREATE TABLE t (a INT); INSERT INTO t VALUES (1)");
    let other =
        Fixture::new("CREATE TABLE t (a INT); INSERT INTO t VALUES (10); CREATE TABLE u (b INT)");
    let pool = fixture.pool();
    let before = pool.fingerprint().await.unwrap();
    assert_eq!(before, pool.fingerprint().await.unwrap());
    assert_eq!(
        read(&pool, "SELECT a FROM t", &["a"]).await.unwrap(),
        r#"{"a":1}"#
    );
    drop(pool.begin().await.unwrap());

    std::fs::rename(other.path(), fixture.path()).unwrap();
    assert_ne!(before, pool.fingerprint().await.unwrap());
    assert_eq!(
        read(&pool, "SELECT a FROM t", &["a"]).await.unwrap(),
        r#"{"a":10}"#
    );
    let mut transaction = pool.begin().await.unwrap();
    run(&mut transaction, "UPDATE t SET a = 11").await.unwrap();
    transaction.commit().await.unwrap();
    assert_eq!(
        read(&pool, "SELECT a FROM t", &["a"]).await.unwrap(),
        r#"{"a":11}"#
    );

    // The log still holds the last change, which the new file must not get.
    let third = Fixture::new("CREATE TABLE t (a INT); INSERT INTO t VALUES (20)");
    std::fs::rename(third.path(), fixture.path()).unwrap();
    let error = read(&pool, "SELECT a FROM t", &["a"]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BackendUnavailable);
    for end in ["wal", "shm"] {
        std::fs::remove_file(fixture.directory.path().join(format!("test.db-{end}"))).unwrap();
    }
    assert_eq!(
        read(&pool, "SELECT a FROM t", &["a"]).await.unwrap(),
        r#"{"a":20}"#
    );
}

#[tokio::test]
async fn a_transaction_on_a_replaced_file_holds_the_new_one_up() {
    let fixture = Fixture::new("CREATE TABLE t (a INT); INSERT INTO t VALUES (1)");
    let other = Fixture::new("CREATE TABLE t (a INT); INSERT INTO t VALUES (2)");
    let pool = fixture.impatient_pool(Duration::from_secs(5));
    let transaction = pool.begin().await.unwrap();
    std::fs::rename(other.path(), fixture.path()).unwrap();
    let error = read(&pool, "SELECT a FROM t", &["a"]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BackendUnavailable);
    transaction.commit().await.unwrap();
    assert_eq!(
        read(&pool, "SELECT a FROM t", &["a"]).await.unwrap(),
        r#"{"a":2}"#
    );
}

#[tokio::test]
async fn the_fingerprint_changes_with_the_tables_and_not_with_the_rows() {
    let fixture = Fixture::new("CREATE TABLE t (a INT)");
    let pool = fixture.pool();
    let before = pool.fingerprint().await.unwrap();
    let other = Connection::open(fixture.path()).unwrap();
    other.execute_batch("INSERT INTO t VALUES (1)").unwrap();
    assert_eq!(before, pool.fingerprint().await.unwrap());
    other
        .execute_batch("ALTER TABLE t ADD COLUMN b DATE")
        .unwrap();
    assert_ne!(before, pool.fingerprint().await.unwrap());
}

#[tokio::test]
async fn a_file_that_is_no_database_or_is_cut_off_is_unavailable() {
    let fixture = Fixture::new("CREATE TABLE t (a TEXT); CREATE INDEX i ON t (a)");
    let pool = fixture.pool();
    std::fs::write(
        fixture.path(),
        "this is a text, not a database ".repeat(100),
    )
    .unwrap();
    let error = pool.probe().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BackendUnavailable, "{error:?}");

    let other = Fixture::new(
        "CREATE TABLE t (a TEXT); WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n LIMIT 5000)
         INSERT INTO t SELECT 'some text ' || i FROM n",
    );
    let length = std::fs::metadata(other.path()).unwrap().len();
    std::fs::OpenOptions::new()
        .write(true)
        .open(other.path())
        .unwrap()
        .set_len(length / 2)
        .unwrap();
    let error = read(&other.pool(), "SELECT count(a) AS n FROM t", &["n"])
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BackendUnavailable, "{error:?}");
}

#[tokio::test]
async fn a_read_only_service_leaves_no_trace_in_the_file() {
    let mut fixture = Fixture::new("CREATE TABLE t (a INT); INSERT INTO t VALUES (1)");
    fixture.config.read_only = true;
    let before = std::fs::read(fixture.path()).unwrap();
    let pool = fixture.pool();
    assert_eq!(
        read(&pool, "SELECT a FROM t", &["a"]).await.unwrap(),
        r#"{"a":1}"#
    );
    assert_eq!(
        pool.begin().await.map(drop).unwrap_err().kind(),
        ErrorKind::Forbidden
    );
    // Even a writing statement that took the way of a read is refused.
    let error = read(&pool, "DELETE FROM t", &["a"]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Forbidden);
    drop(pool);
    assert_eq!(before, std::fs::read(fixture.path()).unwrap());
    assert_eq!(
        std::fs::read_dir(fixture.directory.path()).unwrap().count(),
        1
    );

    fixture.config.read_only = false;
    let error = read(&fixture.pool(), "DELETE FROM t", &["a"])
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Forbidden);
}

#[tokio::test]
async fn another_process_that_holds_the_lock_makes_the_caller_try_again() {
    let fixture = Fixture::new("CREATE TABLE t (a INT)");
    let pool = fixture.impatient_pool(Duration::from_secs(5));
    let other = Connection::open(fixture.path()).unwrap();
    other
        .execute_batch("PRAGMA journal_mode=WAL; BEGIN IMMEDIATE")
        .unwrap();
    let error = pool.begin().await.map(drop).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::SerializationFailure);
    other.execute_batch("ROLLBACK").unwrap();
    pool.begin().await.unwrap().commit().await.unwrap();
}

#[tokio::test]
async fn a_database_in_memory_is_one_database_for_all() {
    let mut fixture = Fixture::new("");
    fixture.config = config(":memory:");
    let pool = fixture.pool();
    let mut transaction = pool.begin().await.unwrap();
    run(&mut transaction, "CREATE TABLE t (a INT)")
        .await
        .unwrap();
    run(&mut transaction, "INSERT INTO t VALUES (1)")
        .await
        .unwrap();
    transaction.commit().await.unwrap();
    assert_eq!(
        read(&pool, "SELECT a FROM t", &["a"]).await.unwrap(),
        r#"{"a":1}"#
    );
    let transaction = pool.begin().await.unwrap();
    let mut reading = Box::pin(read(&pool, "SELECT a FROM t", &["a"]));
    started(&mut reading).await;
    drop(transaction);
    assert_eq!(reading.await.unwrap(), r#"{"a":1}"#);
}

#[tokio::test]
async fn threads_and_files_go_with_the_pool() {
    let fixture = Fixture::new("CREATE TABLE t (a INT)");
    let pool = fixture.pool();
    let mut transaction = pool.begin().await.unwrap();
    run(&mut transaction, "INSERT INTO t VALUES (1)")
        .await
        .unwrap();
    // A transaction in flight outlives its pool.
    drop(pool);
    transaction.commit().await.unwrap();
    // The last connection empties and removes the write-ahead log.
    let left = std::fs::read_dir(fixture.directory.path()).unwrap();
    assert_eq!(left.count(), 1);
}

/// How many files at and beside this path the process has open.
fn open_files(fixture: &Fixture) -> usize {
    std::fs::read_dir("/proc/self/fd")
        .unwrap()
        .filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok())
        .filter(|target| target.starts_with(fixture.directory.path()))
        .count()
}

async fn until_all_is_closed(fixture: &Fixture) {
    let closed = async {
        while open_files(fixture) > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(30), closed).await;
    assert!(waited.is_ok(), "{} files are open", open_files(fixture));
}

#[tokio::test]
async fn a_probe_leaves_nothing_open_and_closes_nothing_that_is_used() {
    let fixture = Fixture::new("CREATE TABLE t (a INT); INSERT INTO t VALUES (1)");
    let pool = fixture.pool();
    for _ in 0..3 {
        pool.probe().await.unwrap();
        until_all_is_closed(&fixture).await;
    }
    assert_eq!(
        read(&pool, "SELECT a FROM t", &["a"]).await.unwrap(),
        r#"{"a":1}"#
    );
    let used = open_files(&fixture);
    assert!(used > 0);
    pool.probe().await.unwrap();
    assert_eq!(open_files(&fixture), used);
}

#[tokio::test]
async fn an_idle_pool_closes_its_files_and_opens_them_again() {
    let fixture = Fixture::new("CREATE TABLE t (a INT)");
    let pool = fixture.pool_with(Duration::from_secs(30), Duration::from_millis(20));
    for number in 1..=2 {
        let mut transaction = pool.begin().await.unwrap();
        run(&mut transaction, "INSERT INTO t VALUES (1)")
            .await
            .unwrap();
        // A transaction is never idle, however long it waits for its next statement.
        tokio::time::sleep(Duration::from_millis(100)).await;
        transaction.commit().await.unwrap();
        let count = read(&pool, "SELECT count(*) a FROM t", &["a"]).await;
        assert_eq!(count.unwrap(), format!("{{\"a\":{number}}}"));
        until_all_is_closed(&fixture).await;
    }
}

#[test]
fn a_path_stays_in_the_data_directory() {
    for (database, problems) in [
        ("data/northwind.db", 0),
        ("/srv/northwind.db", 0),
        (":memory:", 0),
        ("../northwind.db", 1),
        ("data/../../x.db", 1),
        ("a\0b", 1),
    ] {
        assert_eq!(config(database).check().len(), problems, "{database}");
    }
    let mut both = config("x.db");
    both.read_only = true;
    both.create = true;
    assert_eq!(both.check()[0].pointer, "/read_only");
}

/// How many rows the source of the sample data has.
const NORTHWIND: [(&str, usize); 7] = [
    ("categories", 8),
    ("suppliers", 29),
    ("customers", 91),
    ("shippers", 3),
    ("products", 77),
    ("orders", 830),
    ("order_details", 2155),
];

#[tokio::test]
async fn the_sample_database_holds_all_rows_and_its_keys_hold() {
    let mut sample = config("gateway.d/data/northwind.db");
    sample.read_only = true;
    let pool = sample.pool(&Resources {
        service: "northwind".parse().unwrap(),
        data_directory: env!("CARGO_MANIFEST_DIR").into(),
        clock: crate::clock::system(),
    });
    for (table, count) in NORTHWIND {
        let found = read(&pool, &format!("SELECT count(*) FROM {table}"), &["n"]).await;
        assert_eq!(found.unwrap(), format!(r#"{{"n":{count}}}"#), "{table}");
    }
    for (check, expected) in [
        ("PRAGMA integrity_check", r#"{"n":"ok"}"#),
        (
            "SELECT count(*) FROM pragma_foreign_key_check",
            r#"{"n":0}"#,
        ),
        ("PRAGMA journal_mode", r#"{"n":"delete"}"#),
        (
            "SELECT count(*) FROM products WHERE typeof(unit_price) NOT IN ('integer', 'real')",
            r#"{"n":0}"#,
        ),
        (
            "SELECT count(*) FROM orders WHERE order_date <> date(order_date)",
            r#"{"n":0}"#,
        ),
    ] {
        assert_eq!(
            read(&pool, check, &["n"]).await.unwrap(),
            expected,
            "{check}"
        );
    }
    let catalog = pool.catalog().await.unwrap();
    let details = catalog.table("order_details", |_| true).unwrap();
    assert_eq!(
        (details.primary_key.len(), details.foreign_keys.len()),
        (2, 2)
    );
}

#[test]
fn the_sample_data_for_postgresql_is_the_same() {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/examples/northwind-postgresql/data/northwind.sql"
    );
    let text = std::fs::read_to_string(path).unwrap();
    for (table, count) in NORTHWIND {
        let start = format!("\nINSERT INTO {table} VALUES\n");
        let (_, rows) = text.split_once(&start).unwrap();
        let (rows, _) = rows.split_once(";\n").unwrap();
        let found = rows.lines().filter(|line| line.starts_with('(')).count();
        assert_eq!(found, count, "{table}");
    }
}
