//! The head of a request: everything but its body.

use std::net::IpAddr;

use http::{HeaderMap, Method, Uri};

/// Method, target, headers and origin of one request.
#[derive(Clone, Debug)]
pub struct RequestHead {
    /// The method, after tunnelling (`X-HTTP-Method` on POST) was resolved.
    pub method: Method,
    /// Path and query string as they were sent, percent-encoded.
    pub uri: Uri,
    /// The headers.
    pub headers: HeaderMap,
    /// The client's address.
    pub client: IpAddr,
}

impl RequestHead {
    /// The value of a header that may occur only once, if it is there and is visible ASCII.
    pub fn header(&self, name: &http::HeaderName) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The query string as it was sent; empty without one.
    pub fn query(&self) -> &str {
        self.uri.query().unwrap_or("")
    }
}
