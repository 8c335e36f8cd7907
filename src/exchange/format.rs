//! The formats in which documents and rows are written, and the choice between them.

use bytes::Bytes;
use http::HeaderValue;
use serde_json::Value;

use crate::error::Result;

/// A format for documents and rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// `application/json`
    Json,
    /// `application/x-ndjson`: one JSON object a line, no wrapper.
    NdJson,
    /// `text/csv` (RFC 4180), header line first.
    Csv,
    /// `application/xml`, root element `dfapi`.
    Xml,
}

impl Format {
    /// The value of `Content-Type`.
    pub const fn content_type(self) -> HeaderValue {
        match self {
            Self::Json => HeaderValue::from_static("application/json; charset=utf-8"),
            Self::NdJson => HeaderValue::from_static("application/x-ndjson; charset=utf-8"),
            Self::Csv => HeaderValue::from_static("text/csv; charset=utf-8"),
            Self::Xml => HeaderValue::from_static("application/xml; charset=utf-8"),
        }
    }

    /// Writes a small document.
    pub fn write_document(self, document: &Value) -> Result<Bytes> {
        let _ = (self, document);
        Ok(Bytes::new())
    }
}
