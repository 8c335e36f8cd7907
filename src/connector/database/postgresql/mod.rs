//! PostgreSQL: service type `pgsql`.
//!
//! Small reads are pipelined over a few shared connections (`shared`); transactions and large reads have a
//! connection for themselves (`alone`). Values are read from PostgreSQL's binary format without a copy
//! (`decode`) and written in binary or as text, as the server wants them (`encode`).
//!
//! Types, as the tests saw them go in and come out:
//!
#![doc = include_str!("types.md")]

mod alone;
mod catalog;
mod config;
mod connect;
#[cfg(any(test, feature = "testing"))]
pub mod contract;
mod decode;
mod encode;
mod error;
mod pool;
mod rows;
mod shared;
#[cfg(test)]
mod tests;
mod tls;
mod wait;

use std::sync::Arc;

pub use config::PostgresqlConfig;
use pool::PostgresqlPool;

use crate::connector::database::connector::DatabaseConnector;
use crate::connector::database::dialect::PostgresqlDialect;
use crate::connector::database::operations::OPERATIONS;
use crate::connector::database::sql::{RenderOptions, Sql};
use crate::connector::database::tls::TlsMode;
use crate::connector::operation::Operation;
use crate::connector::{Connector, Family, Problem, Resources, ServiceConfig};
use crate::error::{Error, Result};

impl PostgresqlConfig {
    /// The pool for this config. Reads certificates, but does not connect.
    async fn pool(&self, resources: &Resources) -> Result<PostgresqlPool> {
        let mode = self.tls_mode();
        if mode == TlsMode::Off {
            return PostgresqlPool::new(self, tls::off()?, &resources.clock);
        }
        let ca = self
            .ca
            .as_ref()
            .map(|path| resources.data_directory.join(path));
        let now = resources.clock.instant();
        let tls = tokio::task::spawn_blocking(move || tls::connector(mode, ca.as_deref(), now))
            .await
            .map_err(|error| {
                Error::internal("reading certificates broke off").with_source(error)
            })??;
        PostgresqlPool::new(self, tls, &resources.clock)
    }
}

impl ServiceConfig for PostgresqlConfig {
    const TYPE: &'static str = "pgsql";
    const ALIASES: &'static [&'static str] = &["alloydb", "aws_redshift_db"];
    const FAMILY: Family = Family::Database;
    const LABEL: &'static str = "PostgreSQL";
    const DESCRIPTION: &'static str = "A database of a PostgreSQL server.";

    fn check(&self) -> Vec<Problem> {
        self.problems()
    }

    fn operations(&self) -> &[Operation] {
        OPERATIONS
    }

    async fn open(&self, resources: &Resources) -> Result<Arc<dyn Connector>> {
        let options = self.options.clone();
        let pool = self.pool(resources).await?;
        let database = Sql::new(PostgresqlDialect, pool, RenderOptions::from(&options));
        Ok(Arc::new(DatabaseConnector::new(
            database, options, resources,
        )))
    }
}
