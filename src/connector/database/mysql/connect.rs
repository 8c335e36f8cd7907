//! New connections: how they are made, prepared for use, and not tried too often.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mysql_async::prelude::Queryable as _;
use mysql_async::{Conn, Opts, OptsBuilder, SslOpts};

use super::config::ServerConfig;
use super::error::{from_connecting, unavailable};
use crate::clock::Clock;
use crate::connector::database::gate::Gate;
use crate::connector::database::tls::TlsMode;
use crate::error::{Error, Result};

/// Idle time after which the peer is asked whether it is still there.
const KEEPALIVE: Duration = Duration::from_mins(1);
/// Most prepared statements on one connection; the one used longest ago is closed for a new one.
const MAX_STATEMENTS: usize = 256;
/// Longest that a request to end a connection may take.
pub(super) const KILL_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the server waits for a caller who does not read, in seconds. Its own default of a minute is less than
/// what callers are given.
const NET_WRITE_TIMEOUT_SECONDS: u32 = 600;

/// What the server is asked to be strict about.
const STRICT: &str = "STRICT_TRANS_TABLES,STRICT_ALL_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,ONLY_FULL_GROUP_BY";
/// What it is asked in any case: that zero is a value like others for a numbered key, and that a table is made by the
/// engine that it names.
const ALWAYS: &str = "NO_AUTO_VALUE_ON_ZERO,NO_ENGINE_SUBSTITUTION";

/// The product that answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flavour {
    /// MySQL, or what calls itself so.
    Mysql,
    /// MariaDB.
    Mariadb,
}

/// A connection, ready for use.
pub(super) struct Session {
    /// The connection.
    pub(super) native: Conn,
    /// What is at its other end.
    pub(super) flavour: Flavour,
}

/// Makes connections.
pub(super) struct Connector {
    options: Opts,
    settings: Settings,
    timeout: Duration,
    gate: Mutex<Gate>,
    clock: Arc<dyn Clock>,
}

/// What is set on each new connection.
struct Settings {
    /// Whether only MariaDB will do.
    needs_mariadb: bool,
    common: Vec<String>,
    limit: Duration,
    statements: Vec<String>,
}

/// How the connection is encrypted; `None` if it is not. Reads certificates, so it blocks.
///
/// Fails if `ca` cannot be read or holds no certificate.
pub(super) fn encryption(mode: TlsMode, ca: Option<&Path>) -> Result<Option<SslOpts>> {
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject as _;
    // The driver takes the process's provider. A second call changes nothing.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let certificates: Vec<CertificateDer<'static>> = match (mode, ca) {
        (TlsMode::Off, _) => return Ok(None),
        (TlsMode::Require, _) => {
            return Ok(Some(
                SslOpts::default()
                    .with_danger_accept_invalid_certs(true)
                    .with_danger_skip_domain_validation(true),
            ));
        }
        (TlsMode::Verify, None) => {
            let found = rustls_native_certs::load_native_certs();
            if found.certs.is_empty() {
                tracing::warn!(
                    errors = ?found.errors,
                    "the system has no certificates to verify database servers with"
                );
            }
            let mut usable = rustls::RootCertStore::empty();
            found
                .certs
                .into_iter()
                .filter(|certificate| usable.add(certificate.clone()).is_ok())
                .collect()
        }
        (TlsMode::Verify, Some(path)) => {
            let unreadable = || {
                Error::internal(format!(
                    "the certificates in `ca` ({}) cannot be read",
                    path.display()
                ))
            };
            let certificates = CertificateDer::pem_file_iter(path)
                .and_then(Iterator::collect::<std::result::Result<Vec<_>, _>>)
                .map_err(|error| unreadable().with_source(error))?;
            if certificates.is_empty() {
                return Err(Error::internal(format!(
                    "`ca` ({}) holds no certificate",
                    path.display()
                )));
            }
            certificates
        }
    };
    let roots = certificates
        .into_iter()
        .map(|certificate| certificate.to_vec().into())
        .collect();
    Ok(Some(
        SslOpts::default()
            .with_disable_built_in_roots(true)
            .with_root_certs(roots),
    ))
}

impl Connector {
    pub(super) fn new(
        config: &ServerConfig,
        needs_mariadb: bool,
        encryption: Option<SslOpts>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let mut options = OptsBuilder::default()
            .tcp_port(config.port)
            .user(Some(&config.username))
            .db_name(Some(&config.database))
            .client_found_rows(true)
            .prefer_socket(false)
            .tcp_keepalive(Some(KEEPALIVE))
            .stmt_cache_size(MAX_STATEMENTS)
            .ssl_opts(encryption);
        if let Some(host) = &config.host {
            options = options.ip_or_hostname(host);
        }
        if let Some(path) = &config.unix_socket {
            options = options.socket(Some(path.to_string_lossy()));
        }
        if let Some(password) = &config.password {
            options = options.pass(Some(password.expose()));
        }
        let mut modes = vec![ALWAYS];
        if config.strict {
            modes.push(STRICT);
        }
        modes.extend(config.modes.iter().map(String::as_str));
        let collation = config
            .collation
            .as_ref()
            .map_or(String::new(), |name| format!(" COLLATE {name}"));
        Self {
            options: options.into(),
            settings: Settings {
                needs_mariadb,
                common: vec![
                    format!("SET NAMES utf8mb4{collation}"),
                    format!(
                        "SET SESSION sql_mode = '{}', time_zone = '{}', autocommit = 1, innodb_lock_wait_timeout = {}, \
                         net_write_timeout = {NET_WRITE_TIMEOUT_SECONDS}",
                        modes.join(","),
                        config.timezone,
                        config.statement_timeout_seconds,
                    ),
                    // What a transaction reads again must be what others have written meanwhile.
                    "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED".to_owned(),
                ],
                limit: Duration::from_secs(config.statement_timeout_seconds.into()),
                statements: config.statements.clone(),
            },
            timeout: Duration::from_secs(config.connect_timeout_seconds.into()),
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

    /// Connects and sets the session up, within the time for it.
    pub(super) async fn connect(&self) -> Result<Session> {
        let result = match tokio::time::timeout(self.timeout, self.try_connect()).await {
            Ok(result) => result,
            Err(_elapsed) => Err(unavailable("connect timed out")),
        };
        let now = self.clock.instant();
        match &result {
            Ok(_) => self.gate().succeeded(),
            Err(_) => self.gate().failed(now),
        }
        result
    }

    async fn try_connect(&self) -> Result<Session> {
        let mut native = Conn::new(self.options.clone())
            .await
            .map_err(from_connecting)?;
        let version: Option<String> = native
            .query_first("SELECT VERSION()")
            .await
            .map_err(from_connecting)?;
        let flavour =
            if version.is_some_and(|version| version.to_ascii_lowercase().contains("mariadb")) {
                Flavour::Mariadb
            } else {
                Flavour::Mysql
            };
        if self.settings.needs_mariadb && flavour == Flavour::Mysql {
            return Err(unavailable("connect").with_fact(
                "reason",
                "the server is MySQL, not MariaDB; write type = \"mysql\"",
            ));
        }
        let limit = match flavour {
            Flavour::Mysql => format!(
                "SET SESSION max_execution_time = {}",
                self.settings.limit.as_millis()
            ),
            Flavour::Mariadb => format!(
                "SET SESSION max_statement_time = {}",
                self.settings.limit.as_secs()
            ),
        };
        let settings = &self.settings;
        for statement in settings
            .common
            .iter()
            .chain(std::iter::once(&limit))
            .chain(&settings.statements)
        {
            native
                .query_drop(statement.as_str())
                .await
                .map_err(from_connecting)?;
        }
        Ok(Session { native, flavour })
    }

    /// Makes the server end what a connection is doing. The account may always end its own connections.
    pub(super) async fn kill(&self, id: u32) {
        let killing = async {
            let mut native = Conn::new(self.options.clone()).await?;
            native.query_drop(format!("KILL CONNECTION {id}")).await?;
            native.disconnect().await
        };
        let killed = tokio::time::timeout(KILL_TIMEOUT, killing).await;
        if !matches!(killed, Ok(Ok(()))) {
            tracing::debug!("a connection could not be ended; the server will notice by itself");
        }
    }

    fn gate(&self) -> std::sync::MutexGuard<'_, Gate> {
        self.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
