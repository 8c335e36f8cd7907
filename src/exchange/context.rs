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

impl RequestId {
    /// Its text as the value of a header: 32 hexadecimal digits.
    pub fn header(&self) -> http::HeaderValue {
        let mut digits = [0; uuid::fmt::Simple::LENGTH];
        let digits = self.0.as_simple().encode_lower(&mut digits);
        // Hexadecimal digits always are a header value.
        http::HeaderValue::from_str(digits)
            .unwrap_or_else(|_never| http::HeaderValue::from_static("0"))
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
