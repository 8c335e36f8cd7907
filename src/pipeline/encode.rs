//! The last step: what every answer has. Pure.

use http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, VARY};
use http::{HeaderValue, StatusCode};

use crate::exchange::{Body, Reply, RequestId, compress};
use crate::snapshot::Revision;

/// The header that names the request.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The header that names the revision that gave the answer.
pub const REVISION: HeaderName = HeaderName::from_static("x-tidegate-revision");
const CONTENT_TYPE_OPTIONS: HeaderName = HeaderName::from_static("x-content-type-options");

/// Completes an answer: compression, headers, and for HEAD no body.
pub fn encode(
    reply: Reply,
    id: RequestId,
    revision: &Revision,
    accept_encoding: Option<&HeaderValue>,
    is_head: bool,
) -> Reply {
    let accept_encoding = accept_encoding.and_then(|value| value.to_str().ok());
    let mut reply = compress::compress(accept_encoding, reply);
    let headers = &mut reply.headers;
    headers.insert(REQUEST_ID, id.header());
    headers.insert(REVISION, revision.header().clone());
    headers.insert(CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if !headers.contains_key(CACHE_CONTROL) {
        // Answers depend on the key; they may be kept by the client alone, and only to be revalidated.
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    }
    if headers.contains_key(CONTENT_TYPE) {
        headers.append(VARY, HeaderValue::from_static("accept"));
    }
    match &reply.body {
        Body::Bytes(bytes) => {
            headers.insert(CONTENT_LENGTH, HeaderValue::from(bytes.len()));
        }
        Body::Empty
            if reply.status == StatusCode::NO_CONTENT
                || reply.status == StatusCode::NOT_MODIFIED =>
        {
            headers.remove(CONTENT_LENGTH);
        }
        Body::Empty => {
            headers.insert(CONTENT_LENGTH, HeaderValue::from(0));
        }
        Body::Stream(_) => {}
    }
    if is_head {
        reply.body = Body::Empty;
    }
    reply
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn revision() -> Revision {
        Revision::new(7, "ab".repeat(32), None, None, chrono::DateTime::UNIX_EPOCH)
    }

    #[test]
    fn every_answer_names_its_request_and_its_revision() {
        let id = RequestId::new();
        let reply = encode(
            Reply::empty(StatusCode::NO_CONTENT),
            id,
            &revision(),
            None,
            false,
        );
        assert_eq!(reply.headers[REQUEST_ID], id.to_string());
        assert_eq!(reply.headers[REVISION], "g7-abababababab");
        assert!(!reply.headers.contains_key(CONTENT_LENGTH));
    }

    #[test]
    fn the_answer_to_head_has_the_length_but_not_the_body() {
        let reply = Reply::ok(
            HeaderValue::from_static("text/plain"),
            Body::Bytes(Bytes::from_static(b"hello")),
        );
        let reply = encode(reply, RequestId::new(), &revision(), None, true);
        assert_eq!(reply.headers[CONTENT_LENGTH], "5");
        assert!(matches!(reply.body, Body::Empty));
    }
}
