//! Method and path → what is asked for. Only splits the path: whether the service exists is asked after
//! authorization. Pure.

use std::fmt;

use http::Method;
use http::uri::PathAndQuery;

use crate::connector::operation::Component;
use crate::error::{Error, ErrorKind, Result, brief, nearest};
use crate::exchange::Query;
use crate::exchange::query::decode_percent;

/// Most segments a path may have.
const MAX_SEGMENTS: usize = 64;

/// What a path names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// `/api/v2`: the services that the caller may see.
    Services,
    /// `/api/v2/api_docs[/{service}]`: the OpenAPI document of one service, or of all.
    ApiDocs(Option<String>),
    /// `/api/v2/{service}/…`
    Service {
        /// The name, in lower case.
        service: String,
        /// The path below it.
        component: Component,
    },
    /// `/docs…`: the documentation page and its assets.
    Docs(String),
    /// `/`
    Root,
}

/// Reads a path. `/api/{service}` without a version means the same as with one; any version that looks like `v2` or
/// `v2.0` is taken (reference 1.1).
///
/// Errors: 404 for what is none of ours; 400 for a path that is not UTF-8 or has `.`, `..` or empty segments.
pub fn target(path: &str) -> Result<Target> {
    if path == "/" {
        return Ok(Target::Root);
    }
    if let Some(rest) = path.strip_prefix("/docs")
        && (rest.is_empty() || rest.starts_with('/'))
    {
        return Ok(Target::Docs(rest.trim_start_matches('/').to_owned()));
    }
    let Some(rest) = path
        .strip_prefix("/api")
        .filter(|rest| rest.is_empty() || rest.starts_with('/'))
    else {
        return Err(unknown(path));
    };
    let has_trailing_slash = rest.len() > 1 && rest.ends_with('/');
    let mut segments = Vec::new();
    for segment in rest.split('/').skip(1) {
        if segments.len() == MAX_SEGMENTS {
            return Err(Error::new(
                ErrorKind::InvalidRequest,
                format!("the path has more than {MAX_SEGMENTS} segments"),
            ));
        }
        segments.push(decode_percent(segment)?);
    }
    if segments.last().is_some_and(String::is_empty) {
        segments.pop();
    }
    if segments
        .iter()
        .any(|segment| segment.is_empty() || segment == "." || segment == "..")
    {
        return Err(Error::new(
            ErrorKind::InvalidRequest,
            "the path has an empty segment, `.` or `..`",
        )
        .with_help("percent-encode a key that contains a slash as %2F"));
    }
    let mut segments = segments.into_iter().peekable();
    segments.next_if(|first| is_version(first));
    let Some(service) = segments.next() else {
        return Ok(Target::Services);
    };
    let service = service.to_ascii_lowercase();
    let rest: Vec<String> = segments.collect();
    if service == "api_docs" {
        return match <[String; 1]>::try_from(rest) {
            Ok([service]) => Ok(Target::ApiDocs(Some(service.to_ascii_lowercase()))),
            Err(rest) if rest.is_empty() => Ok(Target::ApiDocs(None)),
            Err(_) => Err(unknown(path)),
        };
    }
    Ok(Target::Service {
        service,
        component: Component::new(rest, has_trailing_slash),
    })
}

fn is_version(segment: &str) -> bool {
    segment.strip_prefix('v').is_some_and(|digits| {
        !digits.is_empty()
            && digits
                .bytes()
                .all(|byte| byte.is_ascii_digit() || byte == b'.')
    })
}

fn unknown(path: &str) -> Error {
    Error::new(
        ErrorKind::UnknownResource,
        format!("there is nothing at '{}'", brief(path)),
    )
    .with_help("services are at /api/v2/{service}, the documentation is at /docs")
}

/// The method that a request really means: a POST may carry another one in `X-HTTP-Method`, `X-Method-Override` or
/// `X-HTTP-Method-Override`, or in the option `method`. `MERGE` means PATCH. Errors: 400 for a method that cannot be
/// tunnelled.
pub fn tunnelled(
    method: &Method,
    headers: &http::HeaderMap,
    option: Option<&str>,
) -> Result<Method> {
    if method != Method::POST {
        return Ok(method.clone());
    }
    let header = [
        "x-http-method",
        "x-method-override",
        "x-http-method-override",
    ]
    .into_iter()
    .find_map(|name| headers.get(name))
    .map(|value| value.to_str().unwrap_or("?"));
    match header
        .or(option)
        .map(str::trim)
        .filter(|text| !text.is_empty())
    {
        None => Ok(Method::POST),
        Some(text) => match text.to_ascii_uppercase().as_str() {
            "GET" => Ok(Method::GET),
            "POST" => Ok(Method::POST),
            "PUT" => Ok(Method::PUT),
            "PATCH" | "MERGE" => Ok(Method::PATCH),
            "DELETE" => Ok(Method::DELETE),
            _ => Err(Error::new(
                ErrorKind::InvalidRequest,
                "the tunnelled method is not one of ours",
            )
            .with_help("X-HTTP-Method takes GET, POST, PUT, PATCH, MERGE or DELETE")),
        },
    }
}

/// Methods that a [`Question`] can ask with.
const METHODS: [Method; 7] = [
    Method::GET,
    Method::HEAD,
    Method::OPTIONS,
    Method::POST,
    Method::PUT,
    Method::PATCH,
    Method::DELETE,
];

/// A request as people write it: `DELETE /api/v2/chinook/_table/album/1`. `/api/v2` may be left out, and a query string
/// may follow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    sent: Method,
    path: String,
    /// The method that is meant: the one that a POST carries in its option `method`, if it does.
    pub method: Method,
    /// What the path names.
    pub target: Target,
}

/// Why a text is no [`Question`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidQuestion {
    /// Whether it is the method that is wrong, and not the path.
    pub is_method: bool,
    /// What is wrong, lower case, no full stop.
    pub message: String,
    /// What to write instead.
    pub help: Option<String>,
}

impl Question {
    /// Reads a method and a path. Whether anything is there is not looked at.
    pub fn new(method: &str, path: &str) -> Result<Self, InvalidQuestion> {
        let Some(sent) = METHODS.into_iter().find(|known| known.as_str() == method) else {
            let names = METHODS.each_ref().map(Method::as_str);
            return Err(InvalidQuestion {
                is_method: true,
                message: format!("`{}` is not a method", brief(method)),
                help: Some(match nearest(method, names) {
                    Some(near) => format!("did you mean {near}?"),
                    None => format!("the methods are {}", names.join(", ")),
                }),
            });
        };
        let invalid = |message: String, help: Option<&str>| InvalidQuestion {
            is_method: false,
            message,
            help: help.map(str::to_owned),
        };
        let whole = whole_path(path);
        let read = match PathAndQuery::try_from(whole.as_str()) {
            Ok(read) if !path.contains("://") && !path.contains('#') => read,
            _ => {
                let message = format!("`{}` is not the path of a request", brief(path));
                let help = "write it from /api/v2 on, with spaces and the like as %20";
                return Err(invalid(message, Some(help)));
            }
        };
        let of = |error: Error| invalid(error.message().to_owned(), error.help());
        let query = Query::parse(read.query().unwrap_or_default()).map_err(of)?;
        let target = target(read.path()).map_err(of)?;
        let method = tunnelled(&sent, &http::HeaderMap::new(), query.get("method")).map_err(of)?;
        Ok(Self {
            sent,
            path: whole,
            method,
            target,
        })
    }

    /// The method that is sent.
    pub fn sent(&self) -> &Method {
        &self.sent
    }

    /// Path and query string as they are sent, with `/api/v2`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The name of the service that is asked, in lower case.
    pub fn service(&self) -> Option<&str> {
        match &self.target {
            Target::Service { service, .. } | Target::ApiDocs(Some(service)) => Some(service),
            Target::Services | Target::ApiDocs(None) | Target::Docs(_) | Target::Root => None,
        }
    }

    /// The path below the service.
    pub fn component(&self) -> Option<&Component> {
        match &self.target {
            Target::Service { component, .. } => Some(component),
            Target::Services | Target::ApiDocs(_) | Target::Docs(_) | Target::Root => None,
        }
    }
}

/// `DELETE /api/v2/chinook/_table/album/1`
impl fmt::Display for Question {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.sent, self.path)
    }
}

/// A path as it is sent: what begins with neither `api` nor `docs` stands below `/api/v2`.
fn whole_path(path: &str) -> String {
    let below = path.strip_prefix('/').unwrap_or(path);
    let first = below.split(['/', '?']).next().unwrap_or_default();
    if path == "/" || matches!(first, "api" | "docs") {
        format!("/{below}")
    } else {
        format!("/api/v2/{below}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_a_method_and_a_path_with_or_without_its_beginning() {
        let asked = |method: &str, path: &str| {
            let question = Question::new(method, path).unwrap();
            (question.to_string(), question.target)
        };
        let whole = asked("GET", "/api/v2/shop/_table/a%2Fb?limit=1");
        assert_eq!(whole.0, "GET /api/v2/shop/_table/a%2Fb?limit=1");
        for same in ["shop/_table/a%2Fb?limit=1", "/shop/_table/a%2Fb?limit=1"] {
            assert_eq!(asked("GET", same), whole);
        }
        assert_eq!(
            asked("GET", "/api_docs/shop").1,
            Target::ApiDocs(Some("shop".into()))
        );
        assert_eq!(asked("GET", "/api/v2").1, Target::Services);
        assert_eq!(asked("GET", "").1, Target::Services);
        assert_eq!(asked("GET", "/").1, Target::Root);
        assert_eq!(asked("GET", "docs/").1, Target::Docs(String::new()));
        let tunnelled = Question::new("POST", "/shop/_table/a?method=DELETE").unwrap();
        assert_eq!(
            (tunnelled.sent(), &tunnelled.method),
            (&Method::POST, &Method::DELETE)
        );
    }

    #[test]
    fn what_is_no_question_says_why() {
        for (method, path, is_method, words) in [
            ("get", "/shop", true, "did you mean GET?"),
            ("DELTE", "/shop", true, "did you mean DELETE?"),
            ("", "/shop", true, "the methods are GET, HEAD"),
            ("GET", "/shop/_table/a b", false, "%20"),
            (
                "GET",
                "http://127.0.0.1:8080/api/v2/shop",
                false,
                "from /api/v2 on",
            ),
            ("GET", "/shop#x", false, "from /api/v2 on"),
            ("GET", "/shop//a", false, "%2F"),
            ("GET", "/api/v2/shop/%ff", false, ""),
            ("POST", "/shop?method=TRACE", false, "X-HTTP-Method takes"),
        ] {
            let invalid = Question::new(method, path).unwrap_err();
            assert_eq!(invalid.is_method, is_method, "{method} {path}");
            let help = invalid.help.unwrap_or_default();
            assert!(help.contains(words), "{method} {path}: {help}");
        }
    }

    fn service(path: &str) -> (String, String) {
        match target(path).unwrap() {
            Target::Service { service, component } => (service, component.as_str().to_owned()),
            other => panic!("{path} is {other:?}"),
        }
    }

    #[test]
    fn paths_name_services_with_and_without_a_version() {
        assert_eq!(
            service("/api/v2/shop/_table/a"),
            ("shop".into(), "_table/a".into())
        );
        assert_eq!(
            service("/api/shop/_table/a/"),
            ("shop".into(), "_table/a".into())
        );
        assert_eq!(service("/api/v2.0/SHOP"), ("shop".into(), String::new()));
        assert_eq!(
            service("/api/v2/shop/_table/a%2Fb/x%20y"),
            ("shop".into(), "_table/a%2Fb/x y".into())
        );
        assert_eq!(target("/api/v2").unwrap(), Target::Services);
        assert_eq!(target("/api/v2/").unwrap(), Target::Services);
        assert_eq!(target("/api/v2/api_docs").unwrap(), Target::ApiDocs(None));
        assert_eq!(
            target("/api/v2/api_docs/shop").unwrap(),
            Target::ApiDocs(Some("shop".into()))
        );
        assert_eq!(target("/docs/x.js").unwrap(), Target::Docs("x.js".into()));
    }

    #[test]
    fn odd_paths_are_refused() {
        for path in [
            "/api/v2//a",
            "/api/v2/shop/../x",
            "/api/v2/shop/%2e%2e/x",
            "/api/v2/shop/%ff",
            "/api/v2/shop/%00",
        ] {
            assert_eq!(
                target(path).unwrap_err().kind(),
                ErrorKind::InvalidRequest,
                "{path}"
            );
        }
        for path in ["/apis", "/x", "/docsy", "/api/v2/api_docs/a/b"] {
            assert_eq!(
                target(path).unwrap_err().kind(),
                ErrorKind::UnknownResource,
                "{path}"
            );
        }
        assert!(target(&format!("/api{}", "/a".repeat(100))).is_err());
    }

    proptest::proptest! {
        #[test]
        fn any_path_is_read_or_refused(path in "(/api/v2/)?[a-z/.%0-9 \\x00ü]{0,40}|\\PC{0,40}") {
            match target(&path) {
                Ok(Target::Service { service, component }) => {
                    proptest::prop_assert!(!service.is_empty() && !service.contains(['/', '\0']));
                    for segment in component.segments() {
                        proptest::prop_assert!(!segment.is_empty() && segment != "." && segment != "..");
                        proptest::prop_assert!(!segment.contains('\0'));
                    }
                    // What roles are matched against has as many parts as the path.
                    let parts = component.as_str().split('/').filter(|part| !part.is_empty());
                    proptest::prop_assert_eq!(parts.count(), component.segments().len());
                }
                Ok(_) => {}
                Err(error) => proptest::prop_assert!(matches!(
                    error.kind(),
                    ErrorKind::InvalidRequest | ErrorKind::UnknownResource
                )),
            }
        }

        #[test]
        fn encoded_segments_come_back_as_they_were(
            segments in proptest::collection::vec("[^\\x00]{1,12}", 0..6),
            has_trailing_slash: bool,
        ) {
            proptest::prop_assume!(segments.iter().all(|segment| segment != "." && segment != ".."));
            let mut path = "/api/v2/shop".to_owned();
            for segment in &segments {
                path.push('/');
                path.extend(percent_encoding::utf8_percent_encode(
                    segment,
                    percent_encoding::NON_ALPHANUMERIC,
                ));
            }
            if has_trailing_slash {
                path.push('/');
            }
            let expected = Target::Service {
                service: "shop".to_owned(),
                component: Component::new(segments, has_trailing_slash),
            };
            proptest::prop_assert_eq!(target(&path).unwrap(), expected);
        }
    }

    #[test]
    fn only_a_post_can_carry_another_method() {
        let mut headers = http::HeaderMap::new();
        headers.insert("x-http-method", http::HeaderValue::from_static("merge"));
        assert_eq!(
            tunnelled(&Method::POST, &headers, None).unwrap(),
            Method::PATCH
        );
        assert_eq!(
            tunnelled(&Method::GET, &headers, None).unwrap(),
            Method::GET
        );
        assert_eq!(
            tunnelled(&Method::POST, &http::HeaderMap::new(), Some("get")).unwrap(),
            Method::GET
        );
        headers.insert("x-http-method", http::HeaderValue::from_static("TRACE"));
        assert!(tunnelled(&Method::POST, &headers, None).is_err());
    }
}
