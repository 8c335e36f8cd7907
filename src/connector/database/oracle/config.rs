//! What a manifest says of an Oracle service.

use std::net::IpAddr;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::connector::Problem;
use crate::connector::database::options::DatabaseOptions;
use crate::secret::Secret;

/// How the connection is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TLS; the server's certificate must be valid for `host`.
    Tcps,
    /// Not encrypted.
    Tcp,
}

/// A database of Oracle, 12.2 or newer. No Oracle software is needed on the gateway's machine.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct OracleConfig {
    /// Host name or address of the listener.
    #[schemars(length(min = 1))]
    pub host: String,
    /// TCP port of the listener.
    #[serde(default = "default_port")]
    #[schemars(range(min = 1))]
    pub port: u16,
    /// The service of the database, as `lsnrctl services` shows it. This or `sid`.
    #[serde(default)]
    pub service_name: Option<String>,
    /// The system identifier of the instance, for databases without services.
    #[serde(default)]
    pub sid: Option<String>,
    /// How the connection is protected. Default: `tcp` on loopback addresses, `tcps` elsewhere.
    #[serde(default)]
    pub protocol: Option<Protocol>,
    /// Folder with the file `ewallet.pem`: certificates that may sign the server's, beside those of well-known
    /// authorities, or the gateway's own certificate and key. Relative paths start at the data directory. Only with
    /// `tcps`.
    #[serde(default)]
    pub wallet: Option<PathBuf>,
    /// Password of the key in the wallet, always by reference.
    #[serde(default)]
    pub wallet_password: Option<Secret>,
    /// Name of the database account. What it may not do, no role of the gateway can do.
    #[schemars(length(min = 1))]
    pub username: String,
    /// Password of the account, always by reference.
    pub password: Secret,
    /// Which tables are served: empty, those of every schema that the account may see, but not Oracle's own;
    /// `default`, those of the account's own schema; otherwise those of the schema of this name. Tables outside the
    /// default schema are called `SCHEMA.TABLE`; a schema that is named here counts as the default one.
    #[serde(default)]
    pub schema: String,
    /// Whether every NUMBER is a decimal number. Default false: NUMBER(1) is a truth value, and NUMBER of at most 18
    /// digits before the point and none behind it is a whole number.
    #[serde(default)]
    pub treat_number_as_decimal: bool,
    /// Most connections, each with a thread of its own.
    #[serde(default = "default_max_connections")]
    #[schemars(range(min = 1, max = 256))]
    pub max_connections: u32,
    /// Longest wait for a new connection, in seconds.
    #[serde(default = "default_connect_timeout_seconds")]
    #[schemars(range(min = 1, max = 300))]
    pub connect_timeout_seconds: u32,
    /// Longest time that the database may take to answer one call, in seconds; a result comes in several.
    #[serde(default = "default_statement_timeout_seconds")]
    #[schemars(range(min = 1, max = 86_400))]
    pub statement_timeout_seconds: u32,
    /// SQL that is run once on each new connection, for settings such as `ALTER SESSION SET OPTIMIZER_MODE = FIRST_ROWS`.
    #[serde(default)]
    pub statements: Vec<String>,
    /// What every database type has.
    #[serde(flatten)]
    pub options: DatabaseOptions,
}

fn default_port() -> u16 {
    1521
}

fn default_max_connections() -> u32 {
    8
}

fn default_connect_timeout_seconds() -> u32 {
    5
}

fn default_statement_timeout_seconds() -> u32 {
    30
}

/// Whether a text may stand in a connect descriptor: its parentheses and equals signs are what it is made of.
fn is_plain(text: &str) -> bool {
    text.chars().all(|character| {
        character.is_alphanumeric() || matches!(character, '-' | '_' | '.' | ':' | '$' | '#' | '%')
    })
}

impl OracleConfig {
    /// The protection asked for, or the default for this host.
    pub(super) fn protocol(&self) -> Protocol {
        self.protocol.unwrap_or_else(|| {
            let is_local = self.host == "localhost"
                || self
                    .host
                    .parse()
                    .is_ok_and(|address: IpAddr| address.is_loopback());
            if is_local {
                Protocol::Tcp
            } else {
                Protocol::Tcps
            }
        })
    }

    /// The connect descriptor ("Net Services Reference", "Local Naming Parameters").
    pub(super) fn descriptor(&self) -> String {
        let protocol = match self.protocol() {
            Protocol::Tcp => "tcp",
            Protocol::Tcps => "tcps",
        };
        let target = match (&self.service_name, &self.sid) {
            (Some(service), _) => format!("(SERVICE_NAME={service})"),
            (None, Some(sid)) => format!("(SID={sid})"),
            (None, None) => String::new(),
        };
        format!(
            "(DESCRIPTION=(ADDRESS=(PROTOCOL={protocol})(HOST={})(PORT={}))(CONNECT_DATA={target})\
             (SECURITY=(SSL_SERVER_DN_MATCH=ON)))",
            self.host, self.port
        )
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
        if !is_plain(&self.host) {
            problem(
                "/host",
                "`host` is not a host name",
                "write the parts of the connect string as `host`, `port` and `service_name`",
            );
        }
        match (&self.service_name, &self.sid) {
            (None, None) => problem(
                "/service_name",
                "nothing says which database",
                "write `service_name`, or `sid`",
            ),
            (Some(_), Some(_)) => problem(
                "/sid",
                "both `service_name` and `sid` say which database",
                "remove one of them",
            ),
            _ => {}
        }
        for (pointer, name) in [("/service_name", &self.service_name), ("/sid", &self.sid)] {
            if let Some(name) = name
                && (name.is_empty() || !is_plain(name))
            {
                problem(
                    pointer,
                    "the name is empty or holds characters that no such name has",
                    "write letters, digits, `_`, `-`, `.`, `$` and `#`",
                );
            }
        }
        if self.wallet.is_some() && self.protocol() != Protocol::Tcps {
            problem(
                "/wallet",
                "`wallet` has no effect on connections that are not encrypted",
                "write protocol = \"tcps\", or remove `wallet`",
            );
        }
        if self.wallet_password.is_some() && self.wallet.is_none() {
            problem(
                "/wallet_password",
                "there is no wallet for the password",
                "write `wallet`, or remove `wallet_password`",
            );
        }
        for (pointer, value) in [("/username", &self.username), ("/schema", &self.schema)] {
            if value.contains(['\0', '"']) {
                problem(
                    pointer,
                    "the name contains a quotation mark or a NUL character",
                    "remove it",
                );
            }
        }
        for (index, statement) in self.statements.iter().enumerate() {
            let pointer = format!("/statements/{index}");
            if statement.trim().is_empty() {
                problem(&pointer, "the statement is empty", "remove it");
            } else if statement.trim_end().ends_with(';')
                && !statement.trim_end().to_ascii_uppercase().ends_with("END;")
            {
                problem(
                    &pointer,
                    "the statement ends with a semicolon, which Oracle does not take",
                    "remove the semicolon",
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

    fn config(more: &serde_json::Value) -> OracleConfig {
        let mut whole = json!({
            "host": "db.internal", "service_name": "orcl", "username": "u", "password": "hunter2"
        });
        whole
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        serde_json::from_value(whole).unwrap()
    }

    #[test]
    fn connections_are_encrypted_unless_the_server_is_on_this_machine() {
        assert_eq!(
            config(&json!({})).descriptor(),
            "(DESCRIPTION=(ADDRESS=(PROTOCOL=tcps)(HOST=db.internal)(PORT=1521))\
             (CONNECT_DATA=(SERVICE_NAME=orcl))(SECURITY=(SSL_SERVER_DN_MATCH=ON)))"
        );
        let local = config(&json!({"host": "127.0.0.1", "service_name": null, "sid": "XE"}));
        assert_eq!(local.protocol(), Protocol::Tcp);
        assert!(local.descriptor().contains("(CONNECT_DATA=(SID=XE))"));
        assert_eq!(local.problems(), Vec::new());
    }

    #[test]
    fn what_a_schema_cannot_say_is_found() {
        for (more, pointer) in [
            (json!({"service_name": null}), "/service_name"),
            (json!({"sid": "XE"}), "/sid"),
            (json!({"host": "h)(PORT=1)"}), "/host"),
            (json!({"service_name": "a)(b"}), "/service_name"),
            (json!({"protocol": "tcp", "wallet": "w"}), "/wallet"),
            (json!({"wallet_password": "x"}), "/wallet_password"),
            (json!({"schema": "A\"B"}), "/schema"),
            (
                json!({"statements": ["ALTER SESSION SET A = 1;"]}),
                "/statements/0",
            ),
            (json!({"statements": [" "]}), "/statements/0"),
        ] {
            let problems = config(&more).problems();
            assert_eq!(problems.len(), 1, "{pointer}: {problems:?}");
            assert_eq!(problems[0].pointer, pointer);
        }
        assert_eq!(
            config(&json!({"statements": ["BEGIN NULL; END;"]})).problems(),
            Vec::new()
        );
    }

    #[test]
    fn a_password_is_never_printed() {
        assert!(!format!("{:?}", config(&json!({}))).contains("hunter2"));
    }
}
