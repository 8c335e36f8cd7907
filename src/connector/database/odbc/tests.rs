//! The SQL of every product as it goes through ODBC; that of Firebird is run by Firebird. The pool with real drivers.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use super::config::{DialectName, OdbcConfig};
use super::dialect::OdbcDialect;
use crate::connector::database::dialect::{Dialect, Returning};
use crate::connector::database::fixture::*;
use crate::connector::database::plan::{
    Bind, Children, Condition, Delete, Insert, Select, Selector, Update, Write,
};
use crate::connector::database::request::RecordsQuery;
use crate::connector::database::rows::{Frame, RowWriter, Shape};
use crate::connector::database::sql::{
    RenderOptions, SqlPool as _, Statement, render_children, render_insert, render_select,
    render_write,
};
use crate::connector::database::value::Scalar;
use crate::error::ErrorKind;
use crate::exchange::Format;

#[path = "../../../../tests/support/odbc.rs"]
mod support;

/// Every product.
const DIALECTS: [DialectName; 9] = [
    DialectName::PostgreSql,
    DialectName::MySql,
    DialectName::Sqlite,
    DialectName::Db2,
    DialectName::Snowflake,
    DialectName::SqlServer,
    DialectName::Oracle,
    DialectName::Firebird,
    DialectName::Ansi,
];

/// Filters with every operator that products spell differently.
const FILTERS: [&str; 8] = [
    "id IN (1, 2) AND NOT (credit IS NULL)",
    "full_name LIKE 'A%' OR full_name ILIKE 'a%'",
    "\"we\"\"ird\" CONTAINS '%_\\'",
    "id CONTAINS '1'",
    "is_active = true",
    "created_at > '2026-02-01T10:00:00Z'",
    "created_at < (NOW())",
    "credit BETWEEN 0.05 AND 12.50",
];

fn select(shop: &Shop, table: &str, query: &RecordsQuery, selector: &Selector) -> Select {
    let plan = shop
        .planner()
        .read(&shop.table(table), &shop.grant(table), query, selector)
        .unwrap();
    plan.select
}

/// One statement of each kind.
fn statements(dialect: &dyn Dialect) -> Vec<Statement> {
    let shop = Shop::new(open());
    let options = RenderOptions::default();
    let planner = shop.planner();
    let render =
        |select: &Select, lock: bool| render_select(dialect, select, lock, options).unwrap();
    let key = |values: &[i64]| values.iter().copied().map(Scalar::Int).collect::<Vec<_>>();
    let plain = RecordsQuery::default();
    let page = RecordsQuery {
        fields: named(&["number", "total"]),
        order: order(&["-issued_on", "number"]),
        limit: Some(7),
        offset: 14,
        ..filtered("total > 0.5")
    };
    let grouped = RecordsQuery {
        fields: named(&["customer_id", "COUNT(*)", "SUM(total)", "MAX(paid_at)"]),
        group: vec!["customer_id".to_owned()],
        having: Some(parsed("COUNT_ALL > 1 AND SUM_total > 0.5")),
        order: order(&["-SUM(total)", "customer_id"]),
        limit: Some(10),
        ..filtered("total > 0")
    };
    let mut all = vec![
        render(
            &select(
                &shop,
                "line",
                &plain,
                &Selector::Keys(vec![key(&[10, 2]), key(&[10, 1])]),
            ),
            false,
        ),
        render(&select(&shop, "invoice", &page, &Selector::Query), false),
        render(&select(&shop, "invoice", &grouped, &Selector::Query), false),
        render(
            &Select {
                limit: None,
                order: Vec::new(),
                ..select(&shop, "tag", &plain, &Selector::Keys(vec![key(&[4])]))
            },
            true,
        ),
    ];
    all.extend(FILTERS.iter().map(|filter| {
        let query = RecordsQuery {
            fields: named(&["id"]),
            ..filtered(filter)
        };
        render(&select(&shop, "customer", &query, &Selector::Query), false)
    }));
    let mut children = select(&shop, "invoice", &page, &Selector::Query);
    children.condition = Condition::keys(&[1], &[key(&[1]), key(&[2])]);
    all.push(
        render_children(
            dialect,
            &Children {
                select: children,
                columns: vec![1],
                junction: None,
            },
            options,
        )
        .unwrap(),
    );
    let grant = shop.grant("invoice");
    let table = shop.table("invoice");
    let sent = record(
        r#"{"customer_id":1,"number":"A'; --","total":9.99,"paid_at":{"expression":"NOW()"}}"#,
    );
    let insert = planner.insert(&table, &grant, &sent, &plain, None).unwrap();
    let returns = dialect.returning() != Returning::Nothing;
    let insert = Insert {
        returning: if returns {
            insert.returning.clone()
        } else {
            Vec::new()
        },
        ..insert
    };
    all.push(render_write(dialect, &Write::Insert(insert.clone()), options).unwrap());
    let defaults = Insert {
        values: Vec::new(),
        ..insert.clone()
    };
    all.push(render_write(dialect, &Write::Insert(defaults), options).unwrap());
    let id = table.column(0).unwrap();
    if let Some(output) = dialect.insert_output(&[id]) {
        all.push(render_insert(dialect, &insert, &[0], &output, options).unwrap());
    }
    let change = record(r#"{"total":1.10,"issued_on":null}"#);
    let chosen = Selector::Keys(vec![key(&[10])]);
    let update = planner
        .update(&table, &grant, &change, &plain, &chosen)
        .unwrap();
    let update = Update {
        returning: if returns {
            update.returning.clone()
        } else {
            Vec::new()
        },
        ..update
    };
    all.push(render_write(dialect, &Write::Update(update), options).unwrap());
    let delete = planner.delete(&table, &grant, &plain, &chosen).unwrap();
    let delete = Delete {
        returning: if returns {
            delete.returning.clone()
        } else {
            Vec::new()
        },
        ..delete
    };
    all.push(render_write(dialect, &Write::Delete(delete), options).unwrap());
    all
}

/// Where the placeholders are: question marks outside of quotes.
fn placeholders(sql: &str) -> Vec<usize> {
    let mut quote = None;
    let mut found = Vec::new();
    for (place, character) in sql.char_indices() {
        match (quote, character) {
            (None, '?') => found.push(place),
            (None, '\'' | '"' | '`') => quote = Some(character),
            (None, '[') => quote = Some(']'),
            (Some(open), character) if open == character => quote = None,
            _ => {}
        }
    }
    found
}

#[test]
fn every_value_has_one_placeholder_in_the_order_of_the_text() {
    for name in DIALECTS {
        let dialect = OdbcDialect::new(name);
        let mut text = String::new();
        for statement in statements(&dialect) {
            let count = placeholders(&statement.sql).len();
            assert_eq!(count, statement.binds.len(), "{name:?}: {}", statement.sql);
            text.push_str(&statement.sql);
            text.push('\n');
            for bind in &*statement.binds {
                let _ = writeln!(text, "    {bind:?}");
            }
        }
        insta::assert_snapshot!(format!("sql_of_{name:?}").to_lowercase(), text);
    }
}

/// The statement with its values as constants, for a program that takes no parameters.
fn written_out(statement: &Statement) -> String {
    let mut sql = statement.sql.to_string();
    let places = placeholders(&sql);
    for (place, bind) in places.into_iter().zip(&*statement.binds).rev() {
        let constant = match bind {
            Bind::Value(Scalar::Null) => "NULL".to_owned(),
            Bind::Value(Scalar::Bool(value)) => value.to_string(),
            Bind::Value(Scalar::Int(value)) => value.to_string(),
            Bind::Value(Scalar::Decimal(digits)) => digits.clone(),
            Bind::Value(Scalar::Text(text) | Scalar::Json(text)) => {
                format!("'{}'", text.replace('\'', "''"))
            }
            Bind::Value(Scalar::Temporal(text)) => {
                format!("'{}'", text.replace('T', " ").replace('Z', ""))
            }
            other => panic!("{other:?}"),
        };
        sql.replace_range(place..=place, &constant);
    }
    sql
}

/// Firebird has an ODBC driver, but none that could be had for this test; its own client, with the engine in process,
/// runs what would be sent.
#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "the test runs Firebird's client on a database of its own"
)]
fn firebird_runs_its_sql() {
    let folder = tempfile::tempdir().unwrap();
    let mut script = format!(
        "SET SQL DIALECT 3;\nSET NAMES UTF8;\nSET BAIL OFF;\n\
         CREATE DATABASE '{}/x.fdb' USER 'SYSDBA' DEFAULT CHARACTER SET UTF8;\n\
         CREATE TABLE \"customer\" (\"id\" INTEGER PRIMARY KEY, \"email\" VARCHAR(100), \"full_name\" VARCHAR(100), \
         \"is_active\" BOOLEAN, \"credit\" DECIMAL(12,2), \"created_at\" TIMESTAMP, \"we\"\"ird\" VARCHAR(100));\n\
         CREATE TABLE \"invoice\" (\"id\" INTEGER GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, \"customer_id\" INTEGER, \
         \"number\" VARCHAR(100), \"total\" DECIMAL(12,2), \"issued_on\" DATE, \"note\" BLOB SUB_TYPE TEXT, \
         \"paid_at\" TIMESTAMP);\n\
         CREATE TABLE \"line\" (\"invoice_id\" INTEGER NOT NULL, \"position\" INTEGER NOT NULL, \"product\" VARCHAR(100), \
         \"raw\" BLOB, \"uid\" VARCHAR(36), \"doubled\" COMPUTED BY (\"position\" * 2), \
         PRIMARY KEY (\"invoice_id\", \"position\"));\n\
         CREATE TABLE \"tag\" (\"id\" INTEGER PRIMARY KEY, \"label\" VARCHAR(100) UNIQUE);\nCOMMIT;\n",
        folder.path().display()
    );
    let name = DialectName::Firebird;
    for statement in statements(&OdbcDialect::new(name)) {
        script.push_str(&written_out(&statement));
        script.push_str(";\n");
    }
    let savepoints = name.savepoints().unwrap();
    for sql in [
        name.probe(),
        name.fingerprint(),
        name.unique_keys(),
        Some(name.numbered_columns()),
        Some(savepoints.set),
        Some(savepoints.rollback),
        Some(savepoints.release),
    ]
    .into_iter()
    .flatten()
    .chain([name.echo("é").as_str()])
    {
        script.push_str(sql);
        script.push_str(";\n");
    }
    let file = folder.path().join("script.sql");
    std::fs::write(&file, script).unwrap();
    let output = std::process::Command::new("isql-fb")
        .args(["-q", "-e", "-m", "-i"])
        .arg(&file)
        .output()
        .unwrap_or_else(|error| {
            panic!("{error}; install firebird3.0-utils and firebird3.0-server-core")
        });
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(!said.contains("SQLSTATE"), "{said}");
    assert!(output.status.success(), "{said}");
}

fn resources() -> crate::connector::Resources {
    crate::connector::Resources {
        service: "s".parse().unwrap(),
        data_directory: "/".into(),
        clock: crate::clock::system(),
    }
}

fn sqlite(folder: &std::path::Path, more: &serde_json::Value) -> OdbcConfig {
    let mut config = serde_json::json!({
        "dialect": "sqlite",
        "driver": support::driver("libsqlite3odbc.so"),
        "options": {"Database": folder.join("x.db")},
        "max_connections": 1,
    });
    config
        .as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    serde_json::from_value(config).unwrap()
}

fn statement(sql: &str) -> Statement {
    Statement {
        sql: sql.into(),
        binds: Arc::default(),
        expected_rows: None,
        json_columns: Arc::default(),
        kinds: Arc::default(),
        returned: Arc::default(),
        returned_names: Arc::default(),
    }
}

fn writer() -> RowWriter {
    let shape = Shape::new(vec!["a".to_owned()], Frame::Bare, Format::Json);
    RowWriter::new(Arc::new(shape), None)
}

fn text(rows: RowWriter) -> String {
    String::from_utf8(rows.finish(&serde_json::Map::new()).to_vec()).unwrap()
}

/// Counts to so many, which takes as long as it takes.
fn counting(to: u64) -> Statement {
    statement(&format!(
        "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < {to}) SELECT count(*) FROM n"
    ))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_driver_that_does_not_return_loses_its_connection_and_nobody_waits_for_it() {
    let folder = tempfile::tempdir().unwrap();
    // The driver knows no timeout, so the deadline alone ends the call.
    let pool = sqlite(
        folder.path(),
        &serde_json::json!({"statement_timeout_seconds": 1}),
    )
    .pool(&resources());
    let slow = pool.read(&counting(40_000_000), &[], writer()).await;
    assert_eq!(
        slow.err().map(|error| error.kind()),
        Some(ErrorKind::BackendTimeout)
    );
    // There is one connection, and it is still at work; another one took its place.
    pool.probe().await.unwrap();
    assert!(
        pool.read(&statement("SELECT 1"), &[], writer())
            .await
            .is_ok()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_whose_caller_goes_away_is_rolled_back() {
    let folder = tempfile::tempdir().unwrap();
    let pool = Arc::new(sqlite(folder.path(), &serde_json::json!({})).pool(&resources()));
    let mut transaction = pool.begin().await.unwrap();
    for sql in ["CREATE TABLE t (a INTEGER)", "INSERT INTO t VALUES (1)"] {
        transaction
            .run(&statement(sql), &[], writer())
            .await
            .unwrap();
    }
    transaction.commit().await.unwrap();

    let mut dropped = pool.begin().await.unwrap();
    dropped
        .run(&statement("INSERT INTO t VALUES (2)"), &[], writer())
        .await
        .unwrap();
    drop(dropped);
    // In the middle of a statement.
    let mut cut = pool.begin().await.unwrap();
    cut.run(&statement("INSERT INTO t VALUES (3)"), &[], writer())
        .await
        .unwrap();
    let long = counting(2_000_000);
    let _ = tokio::time::timeout(Duration::from_millis(50), cut.run(&long, &[], writer())).await;
    drop(cut);

    let rows = pool
        .read(&statement("SELECT count(*) FROM t"), &[], writer())
        .await
        .unwrap();
    assert_eq!(text(rows), r#"{"a":1}"#);
}

#[tokio::test]
async fn a_missing_driver_is_said_to_be_missing() {
    let config: OdbcConfig = serde_json::from_value(serde_json::json!({
        "dialect": "ansi",
        "driver": "no such driver",
        "username": "u",
        "password": "hunter2",
    }))
    .unwrap();
    let error = config.pool(&resources()).probe().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BackendUnavailable);
    assert!(error.message().contains("driver"), "{error:?}");
    assert!(
        error
            .help()
            .is_some_and(|help| help.contains("odbcinst.ini"))
    );
    assert!(!format!("{error:?}").contains("hunter2"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn long_values_come_in_pieces_and_whole() {
    let folder = tempfile::tempdir().unwrap();
    let pool = sqlite(folder.path(), &serde_json::json!({})).pool(&resources());
    let sql = "SELECT replace(hex(zeroblob(10000)), '00', ?)";
    let statement = Statement {
        binds: [Bind::Value(Scalar::Text("é😀x".to_owned()))].into(),
        ..statement(sql)
    };
    let rows = pool.read(&statement, &[], writer()).await.unwrap();
    let expected = "é😀x".repeat(10_000);
    assert_eq!(text(rows), format!(r#"{{"a":"{expected}"}}"#));
}

#[tokio::test]
async fn a_letter_that_the_driver_would_change_is_refused_in_a_statement() {
    let folder = tempfile::tempdir().unwrap();
    let pool = sqlite(folder.path(), &serde_json::json!({})).pool(&resources());
    // Debian's driver for SQLite has no Unicode functions, so that the upper half of U+0122 would be dropped: a quote.
    let sql = "SELECT 1 AS \"\u{122}\"";
    let error = pool
        .read(&statement(sql), &[], writer())
        .await
        .err()
        .unwrap();
    assert!(error.message().contains("ASCII"), "{error:?}");
}
