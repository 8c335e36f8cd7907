//! What a connector may know of the request it serves.

use std::fmt;
use std::net::IpAddr;
use std::time::Instant;

/// The name of one request, in the answer, in its envelope and in every log line.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct RequestId(uuid::Uuid);

impl RequestId {
    /// A new one; later ones sort after earlier ones (UUID version 7, RFC 9562 section 5.7).
    pub fn new() -> Self {
        Self(uuid::Uuid::now_v7())
    }
}

impl Default for RequestId {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0.as_simple(), formatter)
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

/// All a connector may know of the request it serves.
#[derive(Clone, Debug)]
pub struct CallContext {
    /// The request's name.
    pub id: RequestId,
    /// When its first byte was read.
    pub received: Instant,
    /// When its answer must be complete.
    pub deadline: Instant,
    /// Who sent it.
    pub client: IpAddr,
}
