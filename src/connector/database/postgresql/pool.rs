//! The pool: which statement runs on which connection.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio_postgres_rustls::MakeRustlsConnect;

use super::alone::{Alone, Mode};
use super::catalog::{self, FINGERPRINT};
use super::config::PostgresqlConfig;
use super::connect::Connector;
use super::error::{from_driver, timed_out};
use super::shared::{Outcome, Shared};
use crate::clock::Clock;
use crate::connector::database::catalog::Catalog;
use crate::connector::database::rows::RowWriter;
use crate::connector::database::sql::{SqlPool, Statement, Transaction};
use crate::connector::database::value::Scalar;
use crate::error::Result;

/// Most rows of a read that shares a connection with others. A little more than the default page.
const SHARED_ROWS: u64 = 1024;
/// How much longer than the server's limit the gateway waits for the server to keep it.
const GRACE: Duration = Duration::from_secs(2);
/// How long a connection may be unused before it is closed.
const LONGEST_IDLE: Duration = Duration::from_mins(5);
/// How many statements' time the catalogue may take.
const CATALOG_STATEMENTS: u32 = 10;

/// Connections to one PostgreSQL database. Nothing connects before it is needed.
pub(super) struct PostgresqlPool {
    connector: Arc<Connector>,
    shared: Arc<Shared>,
    alone: Alone,
    schema: String,
    limit: Duration,
}

impl PostgresqlPool {
    /// Prepares the pool without connecting.
    pub(super) fn new(
        config: &PostgresqlConfig,
        tls: MakeRustlsConnect,
        clock: &Arc<dyn Clock>,
    ) -> Result<Self> {
        let connector = Arc::new(Connector::new(config, tls, Arc::clone(clock)));
        let limit =
            Duration::from_secs(config.statement_timeout_seconds.into()).saturating_add(GRACE);
        Ok(Self {
            shared: Arc::new(Shared::new(
                config.shared_connections(),
                Arc::clone(&connector),
                limit,
                Arc::clone(clock),
            )),
            alone: Alone::new(
                usize::try_from(config.max_connections).unwrap_or(usize::MAX),
                Arc::clone(&connector),
                limit,
            )?,
            connector,
            schema: config.schema.clone(),
            limit,
        })
    }
}

impl PostgresqlPool {
    /// Closes the connections that nobody used for so long.
    pub(super) fn release_unused(&self, longest: Duration) {
        self.shared.release_unused(longest);
        self.alone.release_unused(longest);
    }
}

#[async_trait]
impl SqlPool for PostgresqlPool {
    async fn catalog(&self) -> Result<Catalog> {
        let session = self.alone.session().await?;
        let limit = self.limit.saturating_mul(CATALOG_STATEMENTS);
        let reading = catalog::read(session.client()?, &self.schema);
        let catalog = tokio::time::timeout(limit, reading)
            .await
            .map_err(|_elapsed| timed_out("catalogue"))?
            .map_err(from_driver)?;
        session.end().await?;
        Ok(catalog)
    }

    async fn fingerprint(&self) -> Result<String> {
        let session = self.alone.session().await?;
        let reading = session.client()?.query_one(FINGERPRINT, &[]);
        let row = tokio::time::timeout(self.limit, reading)
            .await
            .map_err(|_elapsed| timed_out("fingerprint"))?
            .map_err(from_driver)?;
        let fingerprint = row.try_get(0).map_err(from_driver)?;
        session.end().await?;
        Ok(fingerprint)
    }

    async fn read(
        &self,
        statement: &Statement,
        key: &[Scalar],
        mut rows: RowWriter,
    ) -> Result<RowWriter> {
        let values = statement.values(key)?;
        let may_share = statement
            .expected_rows
            .is_some_and(|expected| expected <= SHARED_ROWS);
        if may_share {
            let outcome = self
                .shared
                .read(&statement.sql, &values, &mut rows, &|| {
                    self.alone.has_room()
                })
                .await?;
            if outcome == Outcome::Finished {
                return Ok(rows);
            }
        }
        self.alone.read(&statement.sql, &values, &mut rows).await?;
        Ok(rows)
    }

    async fn begin(&self) -> Result<Box<dyn Transaction>> {
        self.alone.begin(Mode::Writing).await
    }

    async fn begin_reading(&self) -> Result<Box<dyn Transaction>> {
        self.alone.begin(Mode::Reading).await
    }

    async fn probe(&self) -> Result<()> {
        if !self.shared.is_connected() {
            // A service that nobody calls holds no connection.
            return self.connector.try_once().await;
        }
        if self.shared.probe().await? == Outcome::Elsewhere {
            self.alone.session().await?.end().await?;
        }
        Ok(())
    }

    fn release_idle(&self) {
        self.release_unused(LONGEST_IDLE);
    }
}
