//! What a manifest says of a MySQL or MariaDB service.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::connector::Problem;
use crate::connector::database::options::DatabaseOptions;
use crate::connector::database::tls::TlsMode;
use crate::secret::Secret;

/// A database of a MySQL server, version 8.0 or newer, or of a MariaDB server, version 10.6 or newer.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct ServerConfig {
    /// Host name or address of the server. Either this or `unix_socket`.
    #[serde(default)]
    #[schemars(length(min = 1))]
    pub host: Option<String>,
    /// TCP port on which the server listens.
    #[serde(default = "default_port")]
    #[schemars(range(min = 1))]
    pub port: u16,
    /// Path of the server's Unix socket, instead of `host`.
    #[serde(default)]
    pub unix_socket: Option<PathBuf>,
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
    /// Which tables are served: empty or `default`, those of `database`; `*`, those of every database that the account
    /// may use; otherwise those of the database of this name. Tables of other databases than `database` are called
    /// `database.table`; a database that is named here counts as `database`.
    #[serde(default)]
    pub schema: String,
    /// Collation by which values of requests are compared with one another, such as `utf8mb4_unicode_ci`; columns have
    /// their own. The character set is always utf8mb4. Default: the server's for utf8mb4.
    #[serde(default)]
    #[schemars(regex(pattern = r"^utf8mb4_[a-z0-9_]+$"))]
    pub collation: Option<String>,
    /// Time zone of the session as an offset, such as `+02:00`: what the database's own defaults and triggers take for
    /// the current time. Answers are in UTC whatever it is.
    #[serde(default = "default_timezone")]
    #[schemars(regex(pattern = r"^[+-](0[0-9]|1[0-3]):[0-5][0-9]$|^\+14:00$"))]
    pub timezone: String,
    /// Whether the server refuses values that do not fit their columns, rather than storing something else.
    #[serde(default = "default_strict")]
    pub strict: bool,
    /// Further words for the session's `sql_mode`, such as `NO_UNSIGNED_SUBTRACTION`.
    #[serde(default)]
    pub modes: Vec<String>,
    /// Most connections at a time.
    #[serde(default = "default_max_connections")]
    #[schemars(range(min = 1, max = 1000))]
    pub max_connections: u32,
    /// Longest wait for a new connection, in seconds.
    #[serde(default = "default_connect_timeout_seconds")]
    #[schemars(range(min = 1, max = 300))]
    pub connect_timeout_seconds: u32,
    /// Longest time that one statement may run, in seconds, not counting the time that the caller takes to read.
    #[serde(default = "default_statement_timeout_seconds")]
    #[schemars(range(min = 1, max = 86_400))]
    pub statement_timeout_seconds: u32,
    /// SQL that is run once on each new connection, for settings such as `SET SESSION sort_buffer_size = 4194304`.
    #[serde(default)]
    pub statements: Vec<String>,
    /// What every database type has.
    #[serde(flatten)]
    pub options: DatabaseOptions,
}

fn default_port() -> u16 {
    3306
}

fn default_timezone() -> String {
    "+00:00".to_owned()
}

fn default_strict() -> bool {
    true
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

impl ServerConfig {
    /// The encryption asked for, or the default for this host.
    pub(super) fn tls_mode(&self) -> TlsMode {
        match (&self.host, self.tls) {
            (_, Some(mode)) => mode,
            (Some(host), None) => TlsMode::for_host(host),
            (None, None) => TlsMode::Off,
        }
    }

    /// The session's distance from UTC, in seconds, eastwards.
    pub(super) fn offset_seconds(&self) -> i32 {
        offset(&self.timezone).unwrap_or(0)
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
        match (&self.host, &self.unix_socket) {
            (None, None) => problem(
                "",
                "there is neither `host` nor `unix_socket`",
                "write the server's name or address as `host`",
            ),
            (Some(_), Some(_)) => problem(
                "/unix_socket",
                "there are both `host` and `unix_socket`",
                "remove one of them",
            ),
            (None, Some(path)) if !path.is_absolute() => problem(
                "/unix_socket",
                "the path of the Unix socket is relative",
                "write an absolute path",
            ),
            _ => {}
        }
        if let Some(host) = &self.host {
            if host.contains("://") || host.contains('@') {
                problem(
                    "/host",
                    "`host` is a connection string, not a host name",
                    "write the parts as `host`, `port`, `database`, `username` and `password`",
                );
            } else if host.contains(',') {
                problem(
                    "/host",
                    "`host` names several hosts",
                    "write one host; each server is a service of its own",
                );
            } else if host.starts_with('/') {
                problem(
                    "/host",
                    "`host` is a path",
                    "write the path of a Unix socket as `unix_socket`",
                );
            }
        }
        if self.host.is_none() && self.tls.is_some_and(|mode| mode != TlsMode::Off) {
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
        let socket = self.unix_socket.as_ref();
        let socket = socket.map(|path| path.to_string_lossy().into_owned());
        for (pointer, value) in [
            ("/host", self.host.as_deref().unwrap_or_default()),
            ("/unix_socket", socket.as_deref().unwrap_or_default()),
            ("/database", &self.database),
            ("/username", &self.username),
            ("/schema", &self.schema),
        ] {
            if value.contains('\0') {
                problem(
                    pointer,
                    "the text contains a NUL character",
                    "remove the `\\u0000`",
                );
            }
        }
        for (index, mode) in self.modes.iter().enumerate() {
            let is_word = !mode.is_empty()
                && mode
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
            if !is_word {
                problem(
                    &format!("/modes/{index}"),
                    "the mode is not a word",
                    "write one mode of the server, as in \"NO_UNSIGNED_SUBTRACTION\"",
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

/// `+02:00` in seconds.
fn offset(text: &str) -> Option<i32> {
    let (sign, rest) = match text.as_bytes().first()? {
        b'+' => (1, text.get(1..)?),
        b'-' => (-1, text.get(1..)?),
        _ => return None,
    };
    let (hours, minutes) = rest.split_once(':')?;
    let hours: i32 = hours.parse().ok()?;
    let minutes: i32 = minutes.parse().ok()?;
    Some(sign * (hours * 3600 + minutes * 60))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn config(more: &serde_json::Value) -> ServerConfig {
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
        ] {
            assert_eq!(config(&json!({"host": host})).tls_mode(), mode, "{host}");
        }
        let socket = json!({"host": null, "unix_socket": "/run/mysqld/mysqld.sock"});
        assert_eq!(config(&socket).tls_mode(), TlsMode::Off);
        assert_eq!(
            config(&json!({"host": "localhost", "tls": "require"})).tls_mode(),
            TlsMode::Require
        );
    }

    #[test]
    fn what_a_schema_cannot_say_is_found() {
        for (more, pointer) in [
            (json!({"host": null}), ""),
            (json!({"unix_socket": "/run/s"}), "/unix_socket"),
            (json!({"host": null, "unix_socket": "s"}), "/unix_socket"),
            (
                json!({"host": null, "unix_socket": "/run/s", "tls": "verify"}),
                "/tls",
            ),
            (json!({"tls": "require", "ca": "ca.pem"}), "/ca"),
            (json!({"host": "mysql://u:p@h/d"}), "/host"),
            (json!({"host": "a,b"}), "/host"),
            (
                json!({"host": "/run/mysqld/mysqld.sock", "tls": "off"}),
                "/host",
            ),
            (json!({"modes": ["ANSI', sql_mode='"]}), "/modes/0"),
            (json!({"statements": ["SET @a = 1", " "]}), "/statements/1"),
            (json!({"database": "a\u{0}b"}), "/database"),
        ] {
            let problems = config(&more).problems();
            assert_eq!(problems.len(), 1, "{pointer}: {problems:?}");
            assert_eq!(problems[0].pointer, pointer);
        }
        assert_eq!(config(&json!({"ca": "ca.pem"})).problems(), Vec::new());
    }

    #[test]
    fn offsets_are_seconds() {
        for (text, seconds) in [("+00:00", 0), ("+05:30", 19_800), ("-03:15", -11_700)] {
            assert_eq!(config(&json!({"timezone": text})).offset_seconds(), seconds);
        }
    }

    #[test]
    fn a_password_is_never_printed() {
        let config = config(&json!({"password": "hunter2"}));
        assert!(!format!("{config:?}").contains("hunter2"));
    }
}
