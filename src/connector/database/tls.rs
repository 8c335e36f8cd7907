//! Encryption of connections to database servers, as every config says it.

use std::net::IpAddr;

use schemars::JsonSchema;
use serde::Deserialize;

/// Encryption of connections to a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum TlsMode {
    /// Encrypted; the server's certificate must be valid for `host`.
    Verify,
    /// Encrypted; the server's certificate is not looked at, so it may be anybody's.
    Require,
    /// Not encrypted.
    Off,
}

impl TlsMode {
    /// What holds where a config says nothing: [`TlsMode::Off`] for loopback addresses and Unix sockets,
    /// [`TlsMode::Verify`] for all others.
    pub fn for_host(host: &str) -> Self {
        let is_local = host.starts_with('/')
            || host == "localhost"
            || host
                .parse()
                .is_ok_and(|address: IpAddr| address.is_loopback());
        if is_local { Self::Off } else { Self::Verify }
    }
}
