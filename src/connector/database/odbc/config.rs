//! What a manifest says of an ODBC service, and the connection string that follows from it.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use schemars::JsonSchema;
use serde::Deserialize;

use super::dialect::OdbcDialect;
use crate::connector::Problem;
use crate::connector::database::options::DatabaseOptions;
use crate::secret::Secret;

/// A database behind an ODBC driver that is installed on the gateway's machine.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct OdbcConfig {
    /// The SQL that the database speaks.
    pub dialect: DialectName,
    /// The driver: its name in `odbcinst.ini`, or the path of its library.
    #[serde(default)]
    pub driver: Option<String>,
    /// A data source of `odbc.ini`, instead of `driver`.
    #[serde(default)]
    pub dsn: Option<String>,
    /// The whole connection string, always by reference, instead of `driver` and `dsn`.
    #[serde(default)]
    pub connection_string: Option<Secret>,
    /// The server, for drivers that call it `Server`. Others take theirs from `options`.
    #[serde(default)]
    pub server: Option<String>,
    /// Further attributes of the connection string, as the driver's manual names them: `{ Port = "5432" }`. Secrets have
    /// no place here.
    #[serde(default, rename = "options")]
    pub attributes: BTreeMap<String, String>,
    /// Name of the database account (`UID`). What it may not do, no role of the gateway can do.
    #[serde(default)]
    pub username: Option<String>,
    /// Password of the account (`PWD`), always by reference.
    #[serde(default)]
    pub password: Option<Secret>,
    /// Which tables are served: empty, those of every schema but the product's own; otherwise those of this schema.
    /// Tables outside it, or without it outside the account's own schema, are called `schema.table`.
    #[serde(default)]
    pub schema: String,
    /// The catalogue (the database, on some products) whose tables are served. Empty: that of the connection.
    #[serde(default)]
    pub catalog: String,
    /// Most connections. Each has a thread of its own.
    #[serde(default = "default_max_connections")]
    #[schemars(range(min = 1, max = 256))]
    pub max_connections: u32,
    /// Longest wait for a new connection, in seconds.
    #[serde(default = "default_connect_timeout_seconds")]
    #[schemars(range(min = 1, max = 300))]
    pub connect_timeout_seconds: u32,
    /// Longest time that one statement may run, in seconds. A driver that does not stop by itself loses its connection.
    #[serde(default = "default_statement_timeout_seconds")]
    #[schemars(range(min = 1, max = 86_400))]
    pub statement_timeout_seconds: u32,
    /// SQL that is run once on each new connection, for settings of the session.
    #[serde(default)]
    pub statements: Vec<String>,
    /// What every database type has.
    #[serde(flatten)]
    pub options: DatabaseOptions,
}

/// The SQL that a database behind ODBC speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum DialectName {
    /// PostgreSQL 13 or newer.
    PostgreSql,
    /// MySQL 8 or newer, MariaDB 10.6 or newer.
    MySql,
    /// SQLite 3.38 or newer; records that are written need 3.35.
    Sqlite,
    /// Db2 for Linux, UNIX and Windows 11 or newer.
    Db2,
    /// Snowflake.
    Snowflake,
    /// SQL Server 2016 or newer, and Azure SQL Database.
    SqlServer,
    /// Oracle Database 12.2 or newer. Keys must be sent: ODBC has no place for what RETURNING gives.
    Oracle,
    /// Firebird 3 or newer.
    Firebird,
    /// Standard SQL:2008. Keys must be sent: the database numbers none.
    Ansi,
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

/// Attributes that the manifest has other places for, in lower case.
const RESERVED: [&str; 4] = ["driver", "dsn", "filedsn", "savefile"];

/// What makes an attribute a secret: one of these words in its name, in lower case.
const SECRET_WORDS: [&str; 10] = [
    "pwd",
    "password",
    "passwd",
    "passphrase",
    "passcode",
    "secret",
    "token",
    "apikey",
    "api_key",
    "credential",
];

/// Attributes of `statements`' kind, which drivers run or send as they are, in lower case.
const USER_NAMES: [&str; 4] = ["uid", "user", "username", "user id"];

impl OdbcConfig {
    /// The dialect, with `?` for every placeholder.
    pub(super) fn dialect(&self) -> OdbcDialect {
        OdbcDialect::new(self.dialect)
    }

    /// The connection string. It holds the password.
    pub(super) fn connection_string(&self) -> Secret {
        if let Some(whole) = &self.connection_string {
            return whole.clone();
        }
        let mut text = String::new();
        let mut add = |name: &str, value: &str| {
            let _ = write!(text, "{name}={};", attribute_value(value));
        };
        if let Some(driver) = &self.driver {
            add("Driver", driver);
        }
        if let Some(dsn) = &self.dsn {
            add("DSN", dsn);
        }
        if let Some(server) = &self.server {
            add("Server", server);
        }
        for (name, value) in &self.attributes {
            add(name, value);
        }
        let says_protocol = || {
            let mut names = self.attributes.keys();
            names.any(|name| name.eq_ignore_ascii_case("protocol"))
        };
        if self.dialect == DialectName::PostgreSql && !says_protocol() {
            // psqlODBC's own savepoint around each statement would end the gateway's ("Protocol" in its configuration
            // options: 0 leaves errors to the application).
            add("Protocol", "7.4-0");
        }
        if let Some(username) = &self.username {
            add("UID", username);
        }
        if let Some(password) = &self.password {
            add("PWD", password.expose());
        }
        Secret::new(text)
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
        let ways = [
            self.driver.is_some(),
            self.dsn.is_some(),
            self.connection_string.is_some(),
        ];
        match ways.into_iter().filter(|given| *given).count() {
            0 => problem(
                "",
                "nothing says what to connect to",
                "write `driver` with `options`, or `dsn`, or `connection_string`",
            ),
            1 => {}
            _ => problem(
                "",
                "`driver`, `dsn` and `connection_string` exclude each other",
                "keep one of them",
            ),
        }
        if self.connection_string.is_some()
            && (self.server.is_some()
                || self.username.is_some()
                || self.password.is_some()
                || !self.attributes.is_empty())
        {
            problem(
                "/connection_string",
                "a connection string stands for itself",
                "put `server`, `options`, `username` and `password` into it, or remove it",
            );
        }
        for (name, value) in &self.attributes {
            let pointer = format!("/options/{}", name.replace('~', "~0").replace('/', "~1"));
            let lowered = name.to_ascii_lowercase();
            if !is_attribute_name(name) {
                problem(
                    &pointer,
                    "this is no name of an attribute",
                    "write letters, digits, spaces, `_`, `-` and `.`",
                );
            } else if RESERVED.contains(&lowered.as_str()) {
                problem(
                    &pointer,
                    "this attribute has a place of its own",
                    "write `driver` or `dsn` beside `options`",
                );
            } else if USER_NAMES.contains(&lowered.as_str()) && self.username.is_some() {
                problem(&pointer, "the account is named twice", "keep `username`");
            } else if lowered == "server" && self.server.is_some() {
                problem(&pointer, "the server is named twice", "keep `server`");
            } else if SECRET_WORDS.iter().any(|word| lowered.contains(word)) {
                problem(
                    &pointer,
                    "a secret stands in plain text",
                    "write `password`, or put everything into `connection_string`, by reference",
                );
            }
            if value.contains('\0') {
                problem(
                    &pointer,
                    "the text contains a NUL character",
                    "remove the `\\u0000`",
                );
            }
        }
        for (pointer, value) in [
            ("/driver", self.driver.as_deref()),
            ("/dsn", self.dsn.as_deref()),
            ("/server", self.server.as_deref()),
            ("/username", self.username.as_deref()),
            ("/schema", Some(self.schema.as_str())),
            ("/catalog", Some(self.catalog.as_str())),
        ] {
            if value.is_some_and(|value| value.contains('\0')) {
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
        problems
    }
}

/// Whether a text can be the name of an attribute: nothing in it can end it.
fn is_attribute_name(name: &str) -> bool {
    let is_part =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b' ' | b'_' | b'-' | b'.');
    !name.is_empty() && name.trim() == name && name.bytes().all(is_part)
}

/// A value of a connection string: in braces, with closing ones doubled, unless it is plain. What is plain stays bare,
/// because some drivers take braces for a part of the value ("Connection String Syntax", ODBC Programmer's Reference,
/// `SQLDriverConnect`).
fn attribute_value(value: &str) -> String {
    let is_plain = |byte: u8| {
        byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b'/' | b':' | b',')
    };
    if value.bytes().all(is_plain) {
        value.to_owned()
    } else {
        format!("{{{}}}", value.replace('}', "}}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn config(more: &serde_json::Value) -> OdbcConfig {
        let mut whole = json!({"dialect": "postgresql"});
        whole
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        serde_json::from_value(whole).unwrap()
    }

    #[test]
    fn values_cannot_leave_their_attribute() {
        let config = config(&json!({
            "driver": "PostgreSQL Unicode",
            "server": "db.internal",
            "options": {"Port": "5432", "Database": "a;UID=admin", "Note": "{x}"},
            "username": "u",
            "password": "p;w}d{+ =",
        }));
        assert_eq!(
            config.connection_string().expose(),
            "Driver={PostgreSQL Unicode};Server=db.internal;Database={a;UID=admin};Note={{x}}};Port=5432;\
             Protocol=7.4-0;UID=u;PWD={p;w}}d{+ =};"
        );
        assert_eq!(config.problems(), Vec::new());
    }

    #[test]
    fn what_a_schema_cannot_say_is_found() {
        for (more, pointer) in [
            (json!({}), ""),
            (json!({"driver": "a", "dsn": "b"}), ""),
            (
                json!({"connection_string": "DSN=a", "username": "u"}),
                "/connection_string",
            ),
            (json!({"dsn": "a", "options": {"PWD": "x"}}), "/options/PWD"),
            (
                json!({"dsn": "a", "options": {"SSLKeyPassword": "x"}}),
                "/options/SSLKeyPassword",
            ),
            (
                json!({"dsn": "a", "options": {"a=b;c": "x"}}),
                "/options/a=b;c",
            ),
            (
                json!({"dsn": "a", "options": {"Driver": "x"}}),
                "/options/Driver",
            ),
            (
                json!({"dsn": "a", "username": "u", "options": {"uid": "x"}}),
                "/options/uid",
            ),
            (
                json!({"dsn": "a", "server": "s", "options": {"SERVER": "x"}}),
                "/options/SERVER",
            ),
            (json!({"dsn": "a\u{0}b"}), "/dsn"),
            (json!({"dsn": "a", "statements": [""]}), "/statements/0"),
        ] {
            let problems = config(&more).problems();
            assert_eq!(problems.len(), 1, "{pointer}: {problems:?}");
            assert_eq!(problems[0].pointer, pointer);
        }
    }

    #[test]
    fn secrets_are_never_printed() {
        let config = config(&json!({"dsn": "a", "password": "hunter2"}));
        assert!(!format!("{config:?}").contains("hunter2"));
        assert!(!format!("{:?}", config.connection_string()).contains("hunter2"));
    }
}
