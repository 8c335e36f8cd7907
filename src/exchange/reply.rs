//! An answer on its way out.

use http::header::{CONTENT_TYPE, HeaderName};
use http::{HeaderMap, HeaderValue, StatusCode};

use super::{Body, Format};
use crate::error::Result;

/// Status, headers and body.
#[derive(Debug)]
pub struct Reply {
    /// The status.
    pub status: StatusCode,
    /// Headers that this answer needs; those that every answer has come later.
    pub headers: HeaderMap,
    /// The body.
    pub body: Body,
}

impl Reply {
    /// 200 with a body of the given media type.
    pub fn ok(content_type: HeaderValue, body: Body) -> Self {
        let mut headers = HeaderMap::with_capacity(8);
        headers.insert(CONTENT_TYPE, content_type);
        Self {
            status: StatusCode::OK,
            headers,
            body,
        }
    }

    /// 200 with a small document written in the format that the caller asked for.
    pub fn document(format: Format, document: &(impl serde::Serialize + ?Sized)) -> Result<Self> {
        Ok(Self::ok(
            format.content_type(),
            Body::Bytes(format.write_document(document)?),
        ))
    }

    /// An answer without a body.
    pub fn empty(status: StatusCode) -> Self {
        Self {
            status,
            headers: HeaderMap::new(),
            body: Body::Empty,
        }
    }

    /// Sets a header.
    #[must_use]
    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }
}
