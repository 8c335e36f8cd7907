//! What a manifest says of a PostgreSQL service.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::connector::Problem;
use crate::connector::database::options::DatabaseOptions;
use crate::connector::database::tls::TlsMode;
use crate::secret::Secret;

/// A database of a PostgreSQL server, version 13 or newer.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct PostgresqlConfig {
    /// Host name or address of the server; a path that begins with `/` is the folder of its Unix socket.
    #[schemars(length(min = 1))]
    pub host: String,
    /// TCP port on which the server listens; also part of the name of its Unix socket.
    #[serde(default = "default_port")]
    #[schemars(range(min = 1))]
    pub port: u16,
    /// Name of the database.
    #[schemars(length(min = 1))]
    pub database: String,
    /// Name of the database account. What it may not do, no role of the gateway can do.
    #[schemars(length(min = 1))]
    pub username: String,
    /// Password of the account, always by reference. Leave it out where the server asks for none.
    #[serde(default)]
    pub password: Option<Secret>,
    /// Encryption of the connection. Default: `off` on loopback addresses and Unix sockets, `verify` elsewhere.
    #[serde(default)]
    pub tls: Option<TlsMode>,
    /// Path of a PEM file with the certificates that may sign the server's, instead of the system's. Relative paths
    /// start at the data directory. Only with `tls = "verify"`.
    #[serde(default)]
    pub ca: Option<PathBuf>,
    /// Which tables are served: empty, those of every schema that the account may use; `default`, those of the
    /// account's default schema; otherwise those of the schema of this name. Tables outside the default schema are
    /// called `schema.table`; a schema that is named here counts as the default one.
    #[serde(default)]
    pub schema: String,
    /// Most connections for transactions and large results.
    #[serde(default = "default_max_connections")]
    #[schemars(range(min = 1, max = 1000))]
    pub max_connections: u32,
    /// Connections that small reads share. On each, one statement runs at a time and the next ones are already
    /// under way. Default: one for each processor of the gateway's machine, at least 2 and at most 8.
    #[serde(default)]
    #[schemars(range(min = 1, max = 64))]
    pub read_connections: Option<u32>,
    /// Longest wait for a new connection, in seconds.
    #[serde(default = "default_connect_timeout_seconds")]
    #[schemars(range(min = 1, max = 300))]
    pub connect_timeout_seconds: u32,
    /// Longest time that one statement may run, in seconds.
    #[serde(default = "default_statement_timeout_seconds")]
    #[schemars(range(min = 1, max = 86_400))]
    pub statement_timeout_seconds: u32,
    /// What the server calls the gateway in `pg_stat_activity` and in its log.
    #[serde(default = "default_application_name")]
    pub application_name: String,
    /// SQL that is run once on each new connection, for settings such as `SET work_mem = '64MB'`.
    #[serde(default)]
    pub statements: Vec<String>,
    /// What every database type has.
    #[serde(flatten)]
    pub options: DatabaseOptions,
}

fn default_port() -> u16 {
    5432
}

fn default_max_connections() -> u32 {
    10
}

fn default_connect_timeout_seconds() -> u32 {
    5
}

fn default_statement_timeout_seconds() -> u32 {
    30
}

fn default_application_name() -> String {
    "tidegate".to_owned()
}

impl PostgresqlConfig {
    /// The encryption asked for, or the default for this host.
    pub(super) fn tls_mode(&self) -> TlsMode {
        self.tls.unwrap_or_else(|| TlsMode::for_host(&self.host))
    }

    /// Whether `host` is the folder of a Unix socket.
    pub(super) fn is_unix_socket(&self) -> bool {
        self.host.starts_with('/')
    }

    /// How many connections small reads share.
    pub(super) fn shared_connections(&self) -> usize {
        self.read_connections
            .and_then(|count| usize::try_from(count).ok())
            .unwrap_or_else(|| {
                std::thread::available_parallelism()
                    .map_or(2, std::num::NonZero::get)
                    .clamp(2, 8)
            })
            .max(1)
    }

    /// What a schema cannot say.
    pub(super) fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut problem = |pointer: &str, message: &str, help: &str| {
            problems.push(Problem {
                pointer: pointer.to_owned(),
                message: message.to_owned(),
                help: Some(help.to_owned()),
            });
        };
        if self.host.contains("://") || self.host.contains('@') {
            problem(
                "/host",
                "`host` is a connection string, not a host name",
                "write the parts as `host`, `port`, `database`, `username` and `password`",
            );
        } else if self.host.contains(',') {
            problem(
                "/host",
                "`host` names several hosts",
                "write one host; each server is a service of its own",
            );
        }
        if self.is_unix_socket() && self.tls.is_some_and(|mode| mode != TlsMode::Off) {
            problem(
                "/tls",
                "a Unix socket cannot be encrypted",
                "remove `tls`, or write tls = \"off\"",
            );
        }
        if self.ca.is_some() && self.tls_mode() != TlsMode::Verify {
            problem(
                "/ca",
                "`ca` has no effect unless the server's certificate is verified",
                "write tls = \"verify\", or remove `ca`",
            );
        }
        for (pointer, value) in [
            ("/host", &self.host),
            ("/database", &self.database),
            ("/username", &self.username),
            ("/schema", &self.schema),
            ("/application_name", &self.application_name),
        ] {
            if value.contains('\0') {
                problem(
                    pointer,
                    "the text contains a NUL character",
                    "remove the `\\u0000`",
                );
            }
        }
        for (index, statement) in self.statements.iter().enumerate() {
            if statement.trim().is_empty() {
                problem(
                    &format!("/statements/{index}"),
                    "the statement is empty",
                    "remove it",
                );
            }
        }
        problems.extend(self.options.problems());
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn config(more: &serde_json::Value) -> PostgresqlConfig {
        let mut whole = json!({"host": "db.internal", "database": "d", "username": "u"});
        whole
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        serde_json::from_value(whole).unwrap()
    }

    #[test]
    fn tls_is_verified_unless_the_server_is_on_this_machine() {
        for (host, mode) in [
            ("db.internal", TlsMode::Verify),
            ("10.0.0.1", TlsMode::Verify),
            ("localhost", TlsMode::Off),
            ("127.0.0.9", TlsMode::Off),
            ("::1", TlsMode::Off),
            ("/run/postgresql", TlsMode::Off),
        ] {
            assert_eq!(config(&json!({"host": host})).tls_mode(), mode, "{host}");
        }
        assert_eq!(
            config(&json!({"host": "localhost", "tls": "require"})).tls_mode(),
            TlsMode::Require
        );
    }

    #[test]
    fn what_a_schema_cannot_say_is_found() {
        for (more, pointer) in [
            (json!({"host": "/run/postgresql", "tls": "verify"}), "/tls"),
            (json!({"tls": "require", "ca": "ca.pem"}), "/ca"),
            (json!({"host": "postgres://u:p@h/d"}), "/host"),
            (json!({"host": "a,b"}), "/host"),
            (json!({"statements": ["SET a = 1", " "]}), "/statements/1"),
            (json!({"database": "a\u{0}b"}), "/database"),
        ] {
            let problems = config(&more).problems();
            assert_eq!(problems.len(), 1, "{pointer}: {problems:?}");
            assert_eq!(problems[0].pointer, pointer);
        }
        assert_eq!(config(&json!({"ca": "ca.pem"})).problems(), Vec::new());
    }

    #[test]
    fn a_password_is_never_printed() {
        let config = config(&json!({"password": "hunter2"}));
        assert!(!format!("{config:?}").contains("hunter2"));
    }
}
