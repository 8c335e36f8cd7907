//! Oracle Database: service type `oracle`, by Oracle's own driver, which needs no software of Oracle's.
//!
//! The driver blocks: each connection has a thread of its own (`pool`), and all that is used of the driver is behind a
//! trait (`driver`), so that the rest can be tested without a server.
//!
//! An empty text is NULL to Oracle, and so it is here: what is sent as `""` is read back as null, and a filter finds it
//! by `IS NULL`.
//!
//! No server of it can be had for the tests, so this table is made from the code and not from answers.
//!
#![doc = include_str!("types.md")]

mod catalog;
mod config;
#[cfg(any(test, feature = "testing"))]
pub mod contract;
mod driver;
mod error;
mod pool;
#[cfg(test)]
mod tests;
mod value;

use std::sync::Arc;
use std::time::Duration;

pub use config::{OracleConfig, Protocol};
use driver::Thin;
use pool::{OraclePool, Settings};

use crate::connector::database::connector::DatabaseConnector;
use crate::connector::database::dialect::OracleDialect;
use crate::connector::database::operations::OPERATIONS;
use crate::connector::database::sql::{RenderOptions, Sql};
use crate::connector::operation::Operation;
use crate::connector::{Connector, Family, Problem, Resources, ServiceConfig};
use crate::error::Result;

/// What every session begins with: texts are compared by their bytes, times are in UTC, and numbers have a point,
/// whatever the machine's language ("Globalization Support Guide").
const SETTINGS: &str = "ALTER SESSION SET TIME_ZONE = '+00:00' NLS_NUMERIC_CHARACTERS = '.,' \
NLS_DATE_FORMAT = 'YYYY-MM-DD\"T\"HH24:MI:SS' NLS_TIMESTAMP_FORMAT = 'YYYY-MM-DD\"T\"HH24:MI:SS.FF' \
NLS_TIMESTAMP_TZ_FORMAT = 'YYYY-MM-DD\"T\"HH24:MI:SS.FFTZH:TZM' NLS_SORT = BINARY NLS_COMP = BINARY";

impl OracleConfig {
    /// The pool for this config. Does not connect.
    fn pool(&self, resources: &Resources) -> OraclePool {
        let mut statements = vec![SETTINGS.to_owned()];
        statements.extend(self.statements.iter().cloned());
        let call_timeout = Duration::from_secs(self.statement_timeout_seconds.into());
        let connect_timeout = Duration::from_secs(self.connect_timeout_seconds.into());
        let driver = Thin {
            descriptor: self.descriptor(),
            username: self.username.clone(),
            password: self.password.clone(),
            wallet: self
                .wallet
                .as_ref()
                .map(|wallet| resources.data_directory.join(wallet)),
            wallet_password: self.wallet_password.clone(),
            connect_timeout,
            call_timeout,
            statements,
        };
        OraclePool::new(
            Arc::new(driver),
            Settings {
                service: resources.service.to_string(),
                schema: self.schema.clone(),
                treat_number_as_decimal: self.treat_number_as_decimal,
                max_connections: usize::try_from(self.max_connections).unwrap_or(1).max(1),
                connect_timeout,
                call_timeout,
                clock: Arc::clone(&resources.clock),
            },
        )
    }
}

impl ServiceConfig for OracleConfig {
    const TYPE: &'static str = "oracle";
    const FAMILY: Family = Family::Database;
    const LABEL: &'static str = "Oracle";
    const DESCRIPTION: &'static str = "A database of Oracle.";

    fn check(&self) -> Vec<Problem> {
        self.problems()
    }

    fn operations(&self) -> &[Operation] {
        OPERATIONS
    }

    async fn open(&self, resources: &Resources) -> Result<Arc<dyn Connector>> {
        let options = self.options.clone();
        let database = Sql::new(
            OracleDialect,
            self.pool(resources),
            RenderOptions::from(&options),
        );
        Ok(Arc::new(DatabaseConnector::new(
            database, options, resources,
        )))
    }
}
