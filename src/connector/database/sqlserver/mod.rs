//! SQL Server and Azure SQL Database: service type `sqlsrv`.
//!
//! Each request has a connection for itself. A result that was not read to its end leaves the driver in the middle of
//! an answer, so such a connection is closed; the server then stops the statement and rolls back. Where an error has
//! ended the transaction on the server, as many do, nothing more runs in it.
//!
//! No server of it can be had for the tests, so this table is made from the code and not from answers.
//!
#![doc = include_str!("types.md")]

mod catalog;
mod config;
#[cfg(any(test, feature = "testing"))]
pub mod contract;
mod error;
mod pool;
mod value;

use std::sync::Arc;

pub use config::SqlServerConfig;
use pool::SqlServerPool;

use crate::connector::database::connector::DatabaseConnector;
use crate::connector::database::dialect::SqlServerDialect;
use crate::connector::database::operations::OPERATIONS;
use crate::connector::database::sql::{RenderOptions, Sql};
use crate::connector::operation::Operation;
use crate::connector::{Connector, Family, Problem, Resources, ServiceConfig};
use crate::error::Result;

impl ServiceConfig for SqlServerConfig {
    const TYPE: &'static str = "sqlsrv";
    const FAMILY: Family = Family::Database;
    const LABEL: &'static str = "SQL Server";
    const DESCRIPTION: &'static str = "A database of SQL Server or of Azure SQL.";

    fn check(&self) -> Vec<Problem> {
        self.problems()
    }

    fn operations(&self) -> &[Operation] {
        OPERATIONS
    }

    async fn open(&self, resources: &Resources) -> Result<Arc<dyn Connector>> {
        let options = self.options.clone();
        let pool = SqlServerPool::new(self, resources);
        let database = Sql::new(SqlServerDialect, pool, RenderOptions::from(&options));
        Ok(Arc::new(DatabaseConnector::new(
            database, options, resources,
        )))
    }
}
