//! MySQL and MariaDB in the contract suite: every case gets a database of its own on one server.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use mysql_async::prelude::Queryable as _;
use mysql_async::{Conn, OptsBuilder};
use serde_json::json;

use super::{MariadbConfig, MysqlConfig, ServerConfig};
use crate::clock::system;
use crate::connector::database::contract::{Product, Words};
use crate::connector::database::options::DatabaseOptions;
use crate::connector::{Connector, Resources, ServiceConfig};

const MYSQL: Words = Words {
    product: "mysql",
    auto_key: "int AUTO_INCREMENT PRIMARY KEY",
    integer: "int",
    big_integer: "bigint",
    money: "decimal(12,2)",
    decimal: "decimal(30,9)",
    double: "double",
    boolean: "boolean",
    // A text of any length can be no key. The default collation of the server takes texts for equal that differ.
    text: "varchar(255) COLLATE utf8mb4_0900_bin",
    json: "json",
    uuid: "char(36)",
    binary: "blob",
    date: "date",
    time: "time(6)",
    date_time: "datetime(6)",
    timestamp: "timestamp(6) NULL",
    integer_array: None,
    truths: ["false", "true"],
    has_exact_decimals: true,
    quote: |name| format!("`{}`", name.replace('`', "``")),
};

const MARIADB: Words = Words {
    product: "mariadb",
    text: "varchar(255) COLLATE utf8mb4_nopad_bin",
    uuid: "uuid",
    ..MYSQL
};

/// A MySQL or MariaDB server on 127.0.0.1, for the suite.
#[derive(Debug)]
pub struct MysqlProduct {
    is_mariadb: bool,
    port: u16,
    username: String,
    password: String,
    databases: AtomicU64,
}

impl MysqlProduct {
    /// A server on this port, with an account that may make databases.
    pub fn new(is_mariadb: bool, port: u16, username: &str, password: &str) -> Self {
        Self {
            is_mariadb,
            port,
            username: username.to_owned(),
            password: password.to_owned(),
            databases: AtomicU64::new(0),
        }
    }

    async fn set_up(&self, database: &str, statements: &[String]) -> mysql_async::Result<()> {
        let options = OptsBuilder::default()
            .ip_or_hostname("127.0.0.1")
            .tcp_port(self.port)
            .user(Some(&self.username))
            .pass(Some(&self.password))
            .prefer_socket(false);
        let mut native = Conn::new(options).await?;
        native
            .query_drop(format!("CREATE DATABASE {database} CHARACTER SET utf8mb4"))
            .await?;
        native.query_drop(format!("USE {database}")).await?;
        for statement in statements {
            native.query_drop(statement.as_str()).await?;
        }
        native.disconnect().await
    }
}

#[async_trait]
impl Product for MysqlProduct {
    fn words(&self) -> &Words {
        if self.is_mariadb { &MARIADB } else { &MYSQL }
    }

    #[expect(
        clippy::unwrap_used,
        reason = "this is for tests; a database that cannot be set up ends them"
    )]
    async fn open(&self, statements: &[String], options: DatabaseOptions) -> Arc<dyn Connector> {
        let database = format!("case{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.set_up(&database, statements).await.unwrap();
        let mut config: ServerConfig = serde_json::from_value(json!({
            "host": "127.0.0.1",
            "port": self.port,
            "database": database,
            "username": self.username,
            "password": self.password,
            "max_connections": 2,
        }))
        .unwrap();
        config.options = options;
        let resources = Resources {
            service: "s".parse().unwrap(),
            data_directory: "/".into(),
            clock: system(),
        };
        if self.is_mariadb {
            MariadbConfig(config).open(&resources).await.unwrap()
        } else {
            MysqlConfig(config).open(&resources).await.unwrap()
        }
    }
}
