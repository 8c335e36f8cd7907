//! `[gateway]`: settings of the gateway itself that reload.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::network::Network;

/// Settings of the gateway itself. They reload with the tree; what belongs to the host (addresses, folders) is given
/// on the command line.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Gateway {
    /// Most bytes of a request body. Default: 10485760 (10 MiB).
    #[serde(default = "default_max_body_bytes")]
    #[schemars(range(min = 1, max = 1_099_511_627_776_u64))]
    pub max_body_bytes: u64,
    /// Longest that a request may take, in seconds. Default: 30.
    #[serde(default = "default_request_timeout_seconds")]
    #[schemars(range(min = 1, max = 86_400))]
    pub request_timeout_seconds: u64,
    /// Most bytes of a path and its query string. Default: 16384 (16 KiB).
    #[serde(default = "default_max_uri_bytes")]
    #[schemars(range(min = 256, max = 65_536))]
    pub max_uri_bytes: u64,
    /// Most requests that are served at once; more are answered 503. Default: 1024.
    #[serde(default = "default_max_in_flight")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub max_in_flight: u64,
    /// How long answers that have begun may go on once their service was replaced or removed, in seconds. Answers of a
    /// service that did not change go on for ever. Default: 300.
    #[serde(default = "default_stream_drain_seconds")]
    #[schemars(range(min = 1, max = 86_400))]
    pub stream_drain_seconds: u64,
    /// Whether a tree without services, roles and keys may replace one that has some. Default: false.
    #[serde(default)]
    pub allow_empty: bool,
    /// Proxies whose `Forwarded` and `X-Forwarded-For` are believed: addresses (`10.0.0.7`) and networks
    /// (`10.0.0.0/8`). Default: none.
    #[serde(default)]
    pub trusted_proxies: Vec<Network>,
}

fn default_max_body_bytes() -> u64 {
    10 * 1024 * 1024
}
fn default_request_timeout_seconds() -> u64 {
    30
}
fn default_max_uri_bytes() -> u64 {
    16 * 1024
}
fn default_max_in_flight() -> u64 {
    1024
}
fn default_stream_drain_seconds() -> u64 {
    300
}

impl Default for Gateway {
    fn default() -> Self {
        Self {
            max_body_bytes: default_max_body_bytes(),
            request_timeout_seconds: default_request_timeout_seconds(),
            max_uri_bytes: default_max_uri_bytes(),
            max_in_flight: default_max_in_flight(),
            stream_drain_seconds: default_stream_drain_seconds(),
            allow_empty: false,
            trusted_proxies: Vec::new(),
        }
    }
}

impl Gateway {
    /// Most bytes of a request body.
    pub fn max_body_bytes(&self) -> usize {
        usize::try_from(self.max_body_bytes).unwrap_or(usize::MAX)
    }
    /// Most bytes of a path and its query string.
    pub fn max_uri_bytes(&self) -> usize {
        usize::try_from(self.max_uri_bytes).unwrap_or(usize::MAX)
    }
    /// Most requests at once.
    pub fn max_in_flight(&self) -> usize {
        usize::try_from(self.max_in_flight).unwrap_or(usize::MAX)
    }
    /// How long answers of a replaced or removed service may go on.
    pub fn stream_drain(&self) -> Duration {
        Duration::from_secs(self.stream_drain_seconds)
    }
    /// Longest that a request may take.
    pub fn request_timeout(&self) -> Duration {
        Duration::from_secs(self.request_timeout_seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_table_means_the_defaults() {
        let written: Gateway = toml::from_str("").unwrap();
        assert_eq!(written, Gateway::default());
        assert_eq!(written.request_timeout(), Duration::from_secs(30));
        assert_eq!(written.max_body_bytes(), 10_485_760);
    }
}
