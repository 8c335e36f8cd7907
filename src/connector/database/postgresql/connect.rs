//! New connections: how they are made, prepared for use, and not tried too often.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::task::JoinHandle;
use tokio_postgres::config::SslMode;
use tokio_postgres::{CancelToken, Client};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::config::PostgresqlConfig;
use super::error::unavailable;
use crate::clock::Clock;
use crate::connector::database::gate::Gate;
use crate::connector::database::tls::TlsMode;
use crate::error::Result;

/// Time after which a peer that acknowledges nothing counts as dead.
const DEAD_PEER: Duration = Duration::from_secs(30);
/// Idle time after which the peer is asked whether it is still there.
const KEEPALIVE: Duration = Duration::from_mins(1);
/// Longest a request to cancel a statement may take.
const CANCEL_TIMEOUT: Duration = Duration::from_secs(5);

/// Makes connections.
pub(super) struct Connector {
    config: tokio_postgres::Config,
    tls: MakeRustlsConnect,
    settings: String,
    timeout: Duration,
    gate: Mutex<Gate>,
    clock: Arc<dyn Clock>,
}

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Reads of many requests, one after another.
    Shared,
    /// One request at a time.
    Alone,
}

impl Connector {
    pub(super) fn new(
        config: &PostgresqlConfig,
        tls: MakeRustlsConnect,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let timeout = Duration::from_secs(config.connect_timeout_seconds.into());
        let mut native = tokio_postgres::Config::new();
        native
            .port(config.port)
            .dbname(&config.database)
            .user(&config.username)
            .application_name(&config.application_name)
            .connect_timeout(timeout)
            .keepalives_idle(KEEPALIVE)
            .tcp_user_timeout(DEAD_PEER)
            .ssl_mode(match config.tls_mode() {
                TlsMode::Verify | TlsMode::Require => SslMode::Require,
                TlsMode::Off => SslMode::Disable,
            });
        if config.is_unix_socket() {
            native.host_path(&config.host);
        } else {
            native.host(&config.host);
        }
        if let Some(password) = &config.password {
            native.password(password.expose());
        }
        let mut settings = format!(
            "SET TimeZone = 'UTC'; SET DateStyle = 'ISO, YMD'; SET IntervalStyle = 'iso_8601'; \
             SET standard_conforming_strings = on; SET statement_timeout = {};\n",
            u64::from(config.statement_timeout_seconds).saturating_mul(1000),
        );
        for statement in &config.statements {
            settings.push_str(statement);
            // On a line of its own, in case the statement ends in a comment.
            settings.push_str("\n;\n");
        }
        Self {
            config: native,
            tls,
            settings,
            timeout,
            gate: Mutex::default(),
            clock,
        }
    }

    /// Fails at once while the server has just refused a connection.
    pub(super) fn admit(&self) -> Result<()> {
        if self.gate().is_open(self.clock.instant()) {
            Ok(())
        } else {
            Err(unavailable("waiting before the next attempt to connect"))
        }
    }

    /// Connects and sets the session up. Nothing is left behind if it is dropped.
    pub(super) async fn connect(
        &self,
        purpose: Purpose,
    ) -> Result<(Client, JoinHandle<()>), tokio_postgres::Error> {
        let result = self.try_connect(purpose).await;
        let now = self.clock.instant();
        match &result {
            Ok(_) => self.gate().succeeded(),
            Err(_) => self.gate().failed(now),
        }
        result
    }

    /// The same with a deadline over all of it.
    pub(super) async fn connect_in_time(
        &self,
        purpose: Purpose,
    ) -> Result<(Client, JoinHandle<()>)> {
        match tokio::time::timeout(self.timeout, self.connect(purpose)).await {
            Ok(result) => result.map_err(super::error::from_connecting),
            Err(_elapsed) => {
                self.timed_out();
                Err(unavailable("connect timed out"))
            }
        }
    }

    /// Connects, which proves that the server answers, and leaves again.
    pub(super) async fn try_once(&self) -> Result<()> {
        self.admit()?;
        self.connect_in_time(Purpose::Alone).await.map(drop)
    }

    /// Longest that a connection may take.
    pub(super) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Notes an attempt that did not end in time.
    pub(super) fn timed_out(&self) {
        let now = self.clock.instant();
        self.gate().failed(now);
    }

    async fn try_connect(
        &self,
        purpose: Purpose,
    ) -> Result<(Client, JoinHandle<()>), tokio_postgres::Error> {
        let (client, connection) = self.config.connect(self.tls.clone()).await?;
        let task = tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(error = ?error, "a connection to a database ended");
            }
        });
        client.batch_execute(&self.settings).await?;
        if purpose == Purpose::Shared {
            client
                .batch_execute("SET default_transaction_read_only = on")
                .await?;
        }
        Ok((client, task))
    }

    /// Asks the server to stop what a connection is doing.
    pub(super) async fn cancel(&self, token: CancelToken) {
        let cancelled =
            tokio::time::timeout(CANCEL_TIMEOUT, token.cancel_query(self.tls.clone())).await;
        if !matches!(cancelled, Ok(Ok(()))) {
            tracing::debug!("a statement could not be cancelled; its time limit will end it");
        }
    }

    fn gate(&self) -> std::sync::MutexGuard<'_, Gate> {
        self.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// For the pool of connections that serve one request at a time.
pub(super) struct PoolConnector(pub(super) Arc<Connector>);

impl deadpool_postgres::Connect for PoolConnector {
    fn connect(
        &self,
        _: &tokio_postgres::Config,
    ) -> BoxFuture<'_, Result<(Client, JoinHandle<()>), tokio_postgres::Error>> {
        Box::pin(self.0.connect(Purpose::Alone))
    }
}
