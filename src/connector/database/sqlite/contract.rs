//! SQLite in the contract suite: every case gets a file of its own.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;

use super::SqliteConfig;
use crate::clock::system;
use crate::connector::database::contract::{Product, Words};
use crate::connector::database::options::DatabaseOptions;
use crate::connector::{Connector, Resources, ServiceConfig};

const WORDS: Words = Words {
    product: "sqlite",
    auto_key: "INTEGER PRIMARY KEY",
    integer: "INT4",
    big_integer: "BIGINT",
    money: "DECIMAL(12,2)",
    decimal: "DECIMAL(30,9)",
    double: "DOUBLE",
    boolean: "BOOLEAN",
    text: "TEXT",
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
    quote: |name| format!("\"{}\"", name.replace('"', "\"\"")),
};

/// SQLite for the suite, with its files below one folder.
#[derive(Debug)]
pub struct SqliteProduct {
    folder: PathBuf,
    files: AtomicU64,
}

impl SqliteProduct {
    /// With files in this folder, which the caller makes and removes.
    pub fn new(folder: PathBuf) -> Self {
        Self {
            folder,
            files: AtomicU64::new(0),
        }
    }
}

#[async_trait]
impl Product for SqliteProduct {
    fn words(&self) -> &Words {
        &WORDS
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
        config.open(&resources).await.unwrap()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connector::database::contract::suite;

    #[test]
    fn sqlite_passes_the_contract() {
        let folder = tempfile::tempdir().unwrap();
        let product: Arc<dyn Product> = Arc::new(SqliteProduct::new(folder.path().to_owned()));
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
