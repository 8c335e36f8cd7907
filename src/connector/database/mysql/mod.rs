//! MySQL and MariaDB: service types `mysql` and `mariadb`.
//!
//! * **Connections** serve one request at a time (`pool`). Statements are prepared once on each, and rows go to the
//!   caller as they arrive, so that a slow caller slows the server down and nothing piles up between them. A connection
//!   whose request went away in mid-statement is ended by the server at the gateway's word and never used again.
//! * **Writes** give no rows: records are locked, written and read again in one transaction at READ COMMITTED.
//! * **The session** is set up by the gateway alone: character set, `sql_mode`, zone, isolation and limits do not depend
//!   on what the server has as its defaults (`connect`).
//!
//! Types, as the tests saw them go in and come out; first MySQL's, then MariaDB's:
//!
#![doc = include_str!("types.md")]
//!
#![doc = include_str!("types_mariadb.md")]

mod catalog;
mod config;
mod connect;
#[cfg(any(test, feature = "testing"))]
pub mod contract;
mod decode;
mod encode;
mod error;
mod pool;
#[cfg(test)]
#[expect(
    clippy::disallowed_methods,
    reason = "the tests ask the environment which servers must be there"
)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

pub use config::ServerConfig;
use connect::{Connector as Connections, encryption};
use pool::MysqlPool;

use crate::connector::database::connector::DatabaseConnector;
use crate::connector::database::dialect::MysqlDialect;
use crate::connector::database::operations::OPERATIONS;
use crate::connector::database::sql::{RenderOptions, Sql};
use crate::connector::operation::Operation;
use crate::connector::{Connector, Family, Problem, Resources, ServiceConfig};
use crate::error::{Error, Result};

/// A database of a MySQL server, version 8.0 or newer.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct MysqlConfig(pub ServerConfig);

/// A database of a MariaDB server, version 10.6 or newer.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct MariadbConfig(pub ServerConfig);

impl ServerConfig {
    /// The pool for this config. Reads certificates, but does not connect.
    async fn pool(&self, needs_mariadb: bool, resources: &Resources) -> Result<MysqlPool> {
        let mode = self.tls_mode();
        let ca = self
            .ca
            .as_ref()
            .map(|path| resources.data_directory.join(path));
        let encryption = tokio::task::spawn_blocking(move || encryption(mode, ca.as_deref()))
            .await
            .map_err(|error| {
                Error::internal("reading certificates broke off").with_source(error)
            })??;
        let connector = Connections::new(
            self,
            needs_mariadb,
            encryption,
            Arc::clone(&resources.clock),
        );
        Ok(MysqlPool::new(
            connector,
            usize::try_from(self.max_connections).unwrap_or(usize::MAX),
            Duration::from_secs(self.statement_timeout_seconds.into()),
            self.offset_seconds(),
            catalog::Chosen::new(&self.database, &self.schema),
            Arc::clone(&resources.clock),
        ))
    }

    async fn connector(
        &self,
        dialect: MysqlDialect,
        resources: &Resources,
    ) -> Result<Arc<dyn Connector>> {
        let pool = self.pool(dialect.has_insert_returning, resources).await?;
        let options = self.options.clone();
        let database = Sql::new(dialect, pool, RenderOptions::from(&options));
        Ok(Arc::new(DatabaseConnector::new(
            database, options, resources,
        )))
    }
}

impl ServiceConfig for MysqlConfig {
    const TYPE: &'static str = "mysql";
    const FAMILY: Family = Family::Database;
    const LABEL: &'static str = "MySQL";
    const DESCRIPTION: &'static str = "A database of a MySQL server.";

    fn check(&self) -> Vec<Problem> {
        self.0.problems()
    }

    fn operations(&self) -> &[Operation] {
        OPERATIONS
    }

    async fn open(&self, resources: &Resources) -> Result<Arc<dyn Connector>> {
        self.0.connector(MysqlDialect::MYSQL, resources).await
    }
}

impl ServiceConfig for MariadbConfig {
    const TYPE: &'static str = "mariadb";
    const FAMILY: Family = Family::Database;
    const LABEL: &'static str = "MariaDB";
    const DESCRIPTION: &'static str = "A database of a MariaDB server.";

    fn check(&self) -> Vec<Problem> {
        self.0.problems()
    }

    fn operations(&self) -> &[Operation] {
        OPERATIONS
    }

    async fn open(&self, resources: &Resources) -> Result<Arc<dyn Connector>> {
        self.0.connector(MysqlDialect::MARIADB, resources).await
    }
}
