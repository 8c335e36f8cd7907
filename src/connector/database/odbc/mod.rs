//! Any database behind an ODBC driver: service type `odbc`.
//!
//! * **What is assumed of a driver.** ODBC 3, `SQLDriverConnect`, the catalogue functions `SQLTables`, `SQLColumns` and
//!   `SQLPrimaryKeys`, parameters, `SQLGetData` in the order of the columns, and transactions. A driver that lacks
//!   `SQLForeignKeys` gives tables without relations.
//! * **Text.** All text crosses in UTF-16, so no locale takes part; for a driver without Unicode functions the driver
//!   manager converts.
//! * **Threads.** ODBC blocks: each connection has a thread of its own (`pool`).
//! * **SQL.** The manifest's `dialect` says what the database speaks; placeholders are `?`.

mod catalog;
mod config;
mod connection;
#[cfg(any(test, feature = "testing"))]
pub mod contract;
mod dialect;
mod error;
mod pool;
#[cfg(test)]
mod tests;
mod value;
mod watch;

use std::sync::Arc;
use std::time::Duration;

pub use config::{DialectName, OdbcConfig};

use super::connector::DatabaseConnector;
use super::operations::OPERATIONS_WITHOUT_ROUTINES;
use super::sql::{RenderOptions, Sql};
use crate::connector::operation::Operation;
use crate::connector::{Connector, Family, Problem, Resources, ServiceConfig};
use crate::error::Result;

impl OdbcConfig {
    /// The pool for this config. Opens nothing.
    fn pool(&self, resources: &Resources) -> pool::OdbcPool {
        pool::OdbcPool::new(
            resources.service.to_string(),
            connection::Settings {
                connection_string: self.connection_string(),
                dialect: self.dialect,
                connect_timeout: Duration::from_secs(self.connect_timeout_seconds.into()),
                statement_timeout: Duration::from_secs(self.statement_timeout_seconds.into()),
                statements: self.statements.clone(),
            },
            catalog::Served {
                dialect: self.dialect,
                catalog: self.catalog.clone(),
                schema: self.schema.clone(),
            },
            usize::try_from(self.max_connections).unwrap_or(1).max(1),
            &resources.clock,
        )
    }
}

impl ServiceConfig for OdbcConfig {
    const TYPE: &'static str = "odbc";
    const FAMILY: Family = Family::Database;
    const LABEL: &'static str = "ODBC";
    const DESCRIPTION: &'static str = "Any database behind an ODBC driver.";

    fn check(&self) -> Vec<Problem> {
        self.problems()
    }

    fn operations(&self) -> &[Operation] {
        OPERATIONS_WITHOUT_ROUTINES
    }

    async fn open(&self, resources: &Resources) -> Result<Arc<dyn Connector>> {
        let options = self.options.clone();
        let database = Sql::new(
            self.dialect(),
            self.pool(resources),
            RenderOptions::from(&options),
        );
        Ok(Arc::new(DatabaseConnector::new(
            database, options, resources,
        )))
    }
}
