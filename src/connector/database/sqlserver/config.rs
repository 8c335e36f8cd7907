//! What a manifest says of a SQL Server service.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::connector::Problem;
use crate::connector::database::options::DatabaseOptions;
use crate::connector::database::tls::TlsMode;
use crate::secret::Secret;

/// Longest name of an object, an account or a program, in UTF-16 units ("Database identifiers").
const MAX_NAME: usize = 128;

/// A database of SQL Server, 2016 or newer, or of Azure SQL.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct SqlServerConfig {
    /// Host name or address of the server.
    #[schemars(length(min = 1))]
    pub host: String,
    /// TCP port on which the instance listens. A named instance has a port of its own.
    #[serde(default = "default_port")]
    #[schemars(range(min = 1))]
    pub port: u16,
    /// Name of the database.
    #[schemars(length(min = 1))]
    pub database: String,
    /// Name of the login, of SQL Server itself (not of Windows). What it may not do, no role of the gateway can do.
    #[schemars(length(min = 1))]
    pub username: String,
    /// Password of the login, always by reference.
    pub password: Secret,
    /// Encryption of the connection. Default: `off` on loopback addresses, `verify` elsewhere. With `off` the server may
    /// still ask for the password to be encrypted, with any certificate.
    #[serde(default)]
    pub tls: Option<TlsMode>,
    /// Path of a PEM file (`.pem` or `.crt`) with the one certificate that may sign the server's, instead of the
    /// system's. Relative paths start at the data directory. Only with `tls = "verify"`.
    #[serde(default)]
    pub ca: Option<PathBuf>,
    /// Which tables are served: empty, those of every schema that the login may see; `default`, those of the login's
    /// default schema; otherwise those of the schema of this name. Tables outside the default schema are called
    /// `schema.table`; a schema that is named here counts as the default one.
    #[serde(default)]
    pub schema: String,
    /// Most connections.
    #[serde(default = "default_max_connections")]
    #[schemars(range(min = 1, max = 1000))]
    pub max_connections: u32,
    /// Longest wait for a new connection, in seconds.
    #[serde(default = "default_connect_timeout_seconds")]
    #[schemars(range(min = 1, max = 300))]
    pub connect_timeout_seconds: u32,
    /// Longest time that one statement may run, in seconds. It may wait as long for a lock.
    #[serde(default = "default_statement_timeout_seconds")]
    #[schemars(range(min = 1, max = 86_400))]
    pub statement_timeout_seconds: u32,
    /// What the server calls the gateway in `sys.dm_exec_sessions`.
    #[serde(default = "default_application_name")]
    pub application_name: String,
    /// Whether a readable secondary of an availability group is enough (`ApplicationIntent=ReadOnly`). Writes are then
    /// refused by the server.
    #[serde(default)]
    pub read_only_intent: bool,
    /// SQL that is run once on each new connection, for settings such as `SET DEADLOCK_PRIORITY LOW`.
    #[serde(default)]
    pub statements: Vec<String>,
    /// What every database type has.
    #[serde(flatten)]
    pub options: DatabaseOptions,
}

fn default_port() -> u16 {
    1433
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

impl SqlServerConfig {
    /// The encryption asked for, or the default for this host.
    pub(super) fn tls_mode(&self) -> TlsMode {
        self.tls.unwrap_or_else(|| TlsMode::for_host(&self.host))
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
        if self.host.contains("://") || self.host.contains(';') || self.host.contains('@') {
            problem(
                "/host",
                "`host` is a connection string, not a host name",
                "write the parts as `host`, `port`, `database`, `username` and `password`",
            );
        } else if self.host.contains('\\') {
            problem(
                "/host",
                "`host` names an instance",
                "write the host alone, and the instance's TCP port as `port`",
            );
        } else if self.host.contains(',') {
            problem(
                "/host",
                "`host` names a port",
                "write the host alone, and the port as `port`",
            );
        }
        if self.ca.is_some() && self.tls_mode() != TlsMode::Verify {
            problem(
                "/ca",
                "`ca` has no effect unless the server's certificate is verified",
                "write tls = \"verify\", or remove `ca`",
            );
        } else if let Some(ca) = &self.ca {
            let is_known = ca.extension().is_some_and(|extension| {
                extension.eq_ignore_ascii_case("pem") || extension.eq_ignore_ascii_case("crt")
            });
            if !is_known {
                problem(
                    "/ca",
                    "the name of the file does not end in `.pem` or `.crt`",
                    "write the certificate in PEM into a file of such a name",
                );
            }
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
            } else if pointer != "/host" && value.encode_utf16().count() > MAX_NAME {
                problem(
                    pointer,
                    "the name is longer than 128 characters",
                    "write a shorter one",
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

    fn config(more: &serde_json::Value) -> SqlServerConfig {
        let mut whole =
            json!({"host": "db.internal", "database": "d", "username": "u", "password": "hunter2"});
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
            (json!({"tls": "require", "ca": "ca.pem"}), "/ca"),
            (json!({"ca": "ca.der"}), "/ca"),
            (json!({"host": "server=h;database=d"}), "/host"),
            (json!({"host": "h\\SQLEXPRESS"}), "/host"),
            (json!({"host": "h,1434"}), "/host"),
            (json!({"statements": ["SET A 1", " "]}), "/statements/1"),
            (json!({"database": "a\u{0}b"}), "/database"),
            (json!({"schema": "s".repeat(129)}), "/schema"),
        ] {
            let problems = config(&more).problems();
            assert_eq!(problems.len(), 1, "{pointer}: {problems:?}");
            assert_eq!(problems[0].pointer, pointer);
        }
        assert_eq!(config(&json!({"ca": "ca.pem"})).problems(), Vec::new());
    }

    #[test]
    fn a_password_is_never_printed() {
        assert!(!format!("{:?}", config(&json!({}))).contains("hunter2"));
    }
}
