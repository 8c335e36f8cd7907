//! SQLite in the contract suite: every case gets a file of its own.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;

use super::SqliteConfig;
use crate::clock::system;
use crate::connector::database::connector::DatabaseConnector;
use crate::connector::database::contract::{Product, Sample, Words};
use crate::connector::database::dialect::SqliteDialect;
use crate::connector::database::options::DatabaseOptions;
use crate::connector::database::sql::{RenderOptions, Sql};
use crate::connector::{Connector, Resources, ServiceConfig};

/// How SQLite spells the tables of the suite.
pub const WORDS: Words = Words {
    product: "sqlite",
    auto_key: "INTEGER PRIMARY KEY",
    integer: "INT4",
    big_integer: "BIGINT",
    money: "DECIMAL(12,2)",
    decimal: "DECIMAL(30,9)",
    double: "DOUBLE",
    boolean: "BOOLEAN",
    text: "TEXT",
    long_text: "TEXT",
    json: "JSON",
    uuid: "UUID",
    binary: "BLOB",
    date: "DATE",
    time: "TIME",
    date_time: "DATETIME",
    timestamp: "TIMESTAMPTZ",
    integer_array: None,
    truths: ["0", "1"],
    has_exact_decimals: false,
    routines: None,
    has_uuids: true,
    strange_letter: "😀",
    changes_schema: true,
    quote: |name| format!("\"{}\"", name.replace('"', "\"\"")),
};

/// The declared types that SQLite knows by convention, and those that this service recognises beyond them.
const SAMPLES: &[Sample] = &[
    Sample::of(
        "INTEGER",
        &[("7", "7"), ("-9223372036854775808", "-9223372036854775808")],
    ),
    Sample::of("SMALLINT", &[("7", "7"), ("-32768", "-32768")]),
    Sample::of(
        "BIGINT",
        &[("7", "7"), ("9223372036854775807", "9223372036854775807")],
    ),
    Sample::of(
        "DECIMAL(12,2)",
        &[("12.50", "12.5"), ("-9999999999.99", "-9999999999.99")],
    ),
    Sample::of(
        "REAL",
        &[("1.5", "1.5"), ("1e308", "1e308"), ("0.1", "0.1")],
    ),
    Sample::of("BOOLEAN", &[("true", "true"), ("false", "false")]),
    Sample::of(
        "VARCHAR(40)",
        &[("\"naïve 𝄞\"", "\"naïve 𝄞\""), ("\"\"", "\"\"")],
    ),
    Sample::of(
        "TEXT",
        &[("\"a \\\"quoted\\\" word\"", "\"a \\\"quoted\\\" word\"")],
    ),
    Sample::of("BLOB", &[("\"AP8=\"", "\"AP8=\""), ("\"\"", "\"\"")]),
    Sample::of(
        "UUID",
        &[(
            "\"6F1C9D1E-6C1F-4F0E-8D8E-0F6F2F9A7A10\"",
            "\"6f1c9d1e-6c1f-4f0e-8d8e-0f6f2f9a7a10\"",
        )],
    ),
    Sample::of("JSON", &[("{\"a\":[1,null]}", "{\"a\":[1,null]}")]),
    Sample::of(
        "DATE",
        &[
            ("\"2026-02-01\"", "\"2026-02-01\""),
            ("\"9999-12-31\"", "\"9999-12-31\""),
        ],
    ),
    Sample::of("TIME", &[("\"10:00:00.5\"", "\"10:00:00.5\"")]),
    Sample::of(
        "DATETIME",
        &[("\"2026-02-01T10:00:00\"", "\"2026-02-01T10:00:00\"")],
    ),
    Sample::of(
        "TIMESTAMPTZ",
        &[("\"2026-02-01T10:00:00+02:00\"", "\"2026-02-01T08:00:00Z\"")],
    ),
];

/// SQLite for the suite, with its files below one folder.
#[derive(Debug)]
pub struct SqliteProduct {
    folder: PathBuf,
    files: AtomicU64,
    words: Words,
    stitches: bool,
}

impl SqliteProduct {
    /// With files in this folder, which the caller makes and removes.
    pub fn new(folder: PathBuf) -> Self {
        Self {
            folder,
            files: AtomicU64::new(0),
            words: WORDS,
            stitches: false,
        }
    }

    /// The same without SQLite's own way to embed related records, as if it had none.
    #[must_use]
    pub fn stitching(self) -> Self {
        Self {
            words: Words {
                product: "sqlite stitched",
                ..WORDS
            },
            stitches: true,
            ..self
        }
    }
}

#[async_trait]
impl Product for SqliteProduct {
    fn words(&self) -> &Words {
        &self.words
    }

    fn samples(&self) -> &'static [Sample] {
        SAMPLES
    }

    #[expect(
        clippy::unwrap_used,
        reason = "this is for tests; a database that cannot be set up ends them"
    )]
    async fn open(&self, statements: &[String], options: DatabaseOptions) -> Arc<dyn Connector> {
        let number = self.files.fetch_add(1, Ordering::Relaxed);
        let name = format!("{number}.db");
        let path = self.folder.join(&name);
        let text = format!("BEGIN; {}; COMMIT;", statements.join(";\n"));
        tokio::task::spawn_blocking(move || {
            rusqlite::Connection::open(path)
                .and_then(|connection| connection.execute_batch(&text))
                .unwrap();
        })
        .await
        .unwrap();
        let config = SqliteConfig {
            database: name,
            read_only: false,
            create: false,
            max_connections: 2,
            busy_timeout_milliseconds: 5_000,
            statement_timeout_seconds: 30,
            options,
        };
        let resources = Resources {
            service: "s".parse().unwrap(),
            data_directory: self.folder.clone(),
            clock: system(),
        };
        if !self.stitches {
            return config.open(&resources).await.unwrap();
        }
        let style = RenderOptions::from(&config.options);
        let database = Sql::new(SqliteDialect, config.pool(&resources), style).stitching();
        let connector = DatabaseConnector::new(database, config.options, &resources);
        Arc::new(connector)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connector::database::contract::suite;

    #[test]
    fn sqlite_passes_the_contract() {
        let folder = tempfile::tempdir().unwrap();
        passes(SqliteProduct::new(folder.path().to_owned()));
    }

    #[test]
    fn sqlite_passes_the_contract_with_related_records_put_into_place_by_the_gateway() {
        let folder = tempfile::tempdir().unwrap();
        passes(SqliteProduct::new(folder.path().to_owned()).stitching());
    }

    fn passes(product: SqliteProduct) {
        let product: Arc<dyn Product> = Arc::new(product);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let mut failed = Vec::new();
        for case in suite() {
            if !(case.applies)(product.words()) {
                continue;
            }
            let product = Arc::clone(&product);
            let outcome = runtime.block_on(runtime.spawn(async move { case.run(product).await }));
            if outcome.is_err() {
                failed.push(case.name);
            }
        }
        assert!(
            failed.is_empty(),
            "{} cases failed: {failed:#?}",
            failed.len()
        );
    }
}
