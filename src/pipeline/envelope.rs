//! Error → body and headers of the answer. The only place that knows what an error looks like. Pure.

use http::header::{ALLOW, CACHE_CONTROL, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue};
use serde_json::{Value, json};

use crate::error::{Error, ErrorKind, Retry};
use crate::exchange::{Body, Format, Reply, RequestId};

/// `code` of a batch error; every other error has its status there (reference 4.8).
const BATCH_CODE: u16 = 1000;

/// The document of an error: `{"error":{"code","status_code","message","type","help","request_id","context"}}`.
pub fn document(error: &Error, id: RequestId) -> Value {
    let kind = error.kind();
    let status = kind.status().as_u16();
    json!({
        "error": {
            "code": if kind == ErrorKind::BatchFailed { BATCH_CODE } else { status },
            "status_code": status,
            "message": error.message(),
            "type": kind.name(),
            "help": error.help(),
            "request_id": id.to_string(),
            "context": error.details(),
        }
    })
}

/// The answer to an error. It is JSON unless the caller asked for XML or CSV.
pub fn reply(error: &Error, id: RequestId, format: Format) -> Reply {
    let format = match format {
        Format::Xml | Format::Csv => format,
        Format::Json | Format::NdJson => Format::Json,
    };
    let document = document(error, id);
    let (format, body) = match format.write_document(&document) {
        Ok(body) => (format, body),
        Err(_unwritable) => (Format::Json, document.to_string().into()),
    };
    let mut answer = Reply::ok(format.content_type(), Body::Bytes(body));
    answer.status = error.kind().status();
    add_headers(&mut answer.headers, error);
    answer
}

fn add_headers(headers: &mut HeaderMap, error: &Error) {
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Retry::After(seconds) = error.kind().retry() {
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    if error.kind() == ErrorKind::Unauthenticated {
        // RFC 9110 section 11.6.1 asks for a challenge; there is no registered scheme for keys.
        headers.insert(
            WWW_AUTHENTICATE,
            HeaderValue::from_static(
                "ApiKey realm=\"tidegate\", header=\"X-DreamFactory-API-Key\"",
            ),
        );
    }
    if let Some(allow) = error
        .allow()
        .and_then(|allow| HeaderValue::try_from(allow).ok())
    {
        headers.insert(ALLOW, allow);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_error_has_the_whole_envelope() {
        for kind in ErrorKind::ALL {
            let id = RequestId::new();
            let document = document(&Error::new(*kind, "it broke").with_help("mend it"), id);
            let error = &document["error"];
            assert_eq!(error["type"], kind.name());
            assert_eq!(error["status_code"], kind.status().as_u16());
            assert_eq!(error["message"], "it broke");
            assert_eq!(error["help"], "mend it");
            assert_eq!(error["request_id"], id.to_string());
            assert!(error["context"].is_null());
        }
    }

    #[test]
    fn headers_say_what_to_do_next() {
        let reply_to = |error: Error| reply(&error, RequestId::new(), Format::Json);
        let unauthenticated = reply_to(Error::new(ErrorKind::Unauthenticated, "no"));
        assert!(unauthenticated.headers.contains_key(WWW_AUTHENTICATE));
        let busy = reply_to(Error::new(ErrorKind::BackendUnavailable, "no"));
        assert_eq!(busy.headers[RETRY_AFTER], "5");
        let method = reply_to(Error::new(ErrorKind::MethodNotAllowed, "no").with_allow("GET"));
        assert_eq!(method.headers[ALLOW], "GET");
    }
}
