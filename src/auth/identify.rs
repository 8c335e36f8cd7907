//! Headers and query string → the credentials of a request. Pure.

use http::{HeaderMap, HeaderName, header};

use super::reason::{Reason, Refusal};
use crate::error::{Error, ErrorKind};
use crate::exchange::Query;

/// The header of an application's key, as DreamFactory names it.
pub const API_KEY_HEADER: HeaderName = HeaderName::from_static("x-dreamfactory-api-key");
/// The same under the name that most other gateways use.
pub const SHORT_API_KEY_HEADER: HeaderName = HeaderName::from_static("x-api-key");
/// The header of a session token.
pub const SESSION_TOKEN_HEADER: HeaderName =
    HeaderName::from_static("x-dreamfactory-session-token");
/// The query option of a key.
pub const API_KEY_OPTION: &str = "api_key";
/// The query option of a session token.
pub const SESSION_TOKEN_OPTION: &str = "session_token";
/// Longest credential that is looked at, in bytes.
pub const MAX_CREDENTIAL_LENGTH: usize = 4096;

/// A key as it was presented.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PresentedKey<'a> {
    /// Its text.
    pub key: &'a str,
    /// Whether it stood in the query string.
    pub in_query: bool,
}

/// The key of a request.
///
/// An empty header counts as absent. Errors: 401 without a key, or with a token or a password, which no manifest can
/// accept; 400 when two headers carry different keys.
pub fn presented_key<'a>(
    headers: &'a HeaderMap,
    query: &'a Query,
) -> Result<PresentedKey<'a>, Refusal> {
    let mut found: Option<&str> = None;
    for name in [API_KEY_HEADER, SHORT_API_KEY_HEADER] {
        for value in headers.get_all(name) {
            let key = value.to_str().map_err(|error| {
                Refusal::new(Reason::UnknownKey, unauthenticated().with_source(error))
            })?;
            match found {
                _ if key.is_empty() => {}
                Some(other) if other != key => {
                    let error = Error::new(
                        ErrorKind::ConflictingCredentials,
                        "the request carries two different keys",
                    )
                    .with_help("send one key, in one header: X-API-Key or X-DreamFactory-API-Key");
                    return Err(Refusal::new(Reason::ConflictingKeys, error));
                }
                _ => found = Some(key),
            }
        }
    }
    let has_token = [SESSION_TOKEN_HEADER, header::AUTHORIZATION]
        .iter()
        .any(|name| headers.get_all(name).iter().any(|value| !value.is_empty()))
        || query
            .get(SESSION_TOKEN_OPTION)
            .is_some_and(|token| !token.is_empty());
    if has_token {
        return Err(rejected(Reason::OtherCredentials));
    }
    let presented = match (
        found,
        query.get(API_KEY_OPTION).filter(|key| !key.is_empty()),
    ) {
        (Some(key), _) => PresentedKey {
            key,
            in_query: false,
        },
        (None, Some(key)) => PresentedKey {
            key,
            in_query: true,
        },
        (None, None) => return Err(rejected(Reason::NoKey)),
    };
    if presented.key.len() > MAX_CREDENTIAL_LENGTH {
        return Err(rejected(Reason::UnknownKey));
    }
    Ok(presented)
}

/// That credentials are not accepted; only the log learns why.
pub fn rejected(reason: Reason) -> Refusal {
    Refusal::new(reason, unauthenticated().with_fact("reason", reason.name()))
}

/// The one answer to missing, unknown, inactive, expired and not yet valid credentials.
fn unauthenticated() -> Error {
    Error::new(ErrorKind::Unauthenticated, "this request needs a valid key").with_help(
        "send the key of an application in the header X-API-Key, or X-DreamFactory-API-Key",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn presented(
        headers: &[(&'static str, &'static str)],
        query: &str,
    ) -> Result<(String, bool), ErrorKind> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            );
        }
        let query = Query::parse(query).unwrap();
        presented_key(&map, &query)
            .map(|found| (found.key.to_owned(), found.in_query))
            .map_err(|refusal| refusal.error.kind())
    }

    #[test]
    fn a_key_is_read_from_either_header_and_from_the_query_last() {
        assert_eq!(
            presented(&[("x-api-key", "a")], ""),
            Ok(("a".into(), false))
        );
        assert_eq!(
            presented(&[("x-dreamfactory-api-key", "a"), ("x-api-key", "")], ""),
            Ok(("a".into(), false))
        );
        assert_eq!(
            presented(&[("x-api-key", "a")], "api_key=b"),
            Ok(("a".into(), false))
        );
        assert_eq!(presented(&[], "api_key=b"), Ok(("b".into(), true)));
    }

    #[test]
    fn different_keys_conflict_and_no_key_is_401() {
        assert_eq!(
            presented(&[("x-dreamfactory-api-key", "a"), ("x-api-key", "b")], ""),
            Err(ErrorKind::ConflictingCredentials)
        );
        assert_eq!(
            presented(&[("x-api-key", "a"), ("x-api-key", "b")], ""),
            Err(ErrorKind::ConflictingCredentials)
        );
        assert_eq!(presented(&[], ""), Err(ErrorKind::Unauthenticated));
        assert_eq!(
            presented(&[("x-api-key", "a"), ("authorization", "Bearer x")], ""),
            Err(ErrorKind::Unauthenticated)
        );
    }
}
