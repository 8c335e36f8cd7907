//! The one error type of the program: what the caller is told, what the log is told, and who has to mend it.
//!
//! A connector chooses an [`ErrorKind`]; it never names a status code. Text that a backend wrote is never put
//! into [`Error::message`], [`Error::help`] or [`Error::details`]: it goes into `facts` or `source`, which only
//! the log sees.

use std::borrow::Cow;
use std::fmt::{self, Write as _};

use http::StatusCode;
use serde_json::{Map, Value};

/// The result of everything that can be refused.
pub type Result<T, E = Error> = std::result::Result<T, E>;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Who has to mend an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The caller sent something that cannot be served as it stands.
    Caller,
    /// Tidegate itself is at fault, or its manifests are.
    Gateway,
    /// The database or server behind the service is at fault.
    Backend,
}

/// Whether the same request may succeed later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// The same request will fail again.
    Never,
    /// The same request may succeed after so many seconds; becomes `Retry-After`.
    After(u32),
}

macro_rules! error_kinds {
    ($($(#[$doc:meta])* $variant:ident = $name:literal, $status:ident, $origin:ident, $retry:expr;)*) => {
        /// What went wrong, as a closed list. Names are stable and are never reused.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum ErrorKind { $($(#[$doc])* $variant,)* }

        impl ErrorKind {
            /// Every kind, in the order of the documentation.
            pub const ALL: &'static [ErrorKind] = &[$(ErrorKind::$variant,)*];

            /// The status of the answer.
            pub const fn status(self) -> StatusCode {
                match self { $(ErrorKind::$variant => StatusCode::$status,)* }
            }
            /// The envelope's `type`.
            pub const fn name(self) -> &'static str {
                match self { $(ErrorKind::$variant => $name,)* }
            }
            /// Who has to mend it.
            pub const fn origin(self) -> Origin {
                match self { $(ErrorKind::$variant => Origin::$origin,)* }
            }
            /// Whether to try again.
            pub const fn retry(self) -> Retry {
                match self { $(ErrorKind::$variant => $retry,)* }
            }
        }
    };
}

error_kinds! {
    /// The request cannot be read: path, query string or headers are malformed.
    InvalidRequest = "invalid_request", BAD_REQUEST, Caller, Retry::Never;
    /// A query option has a value that it cannot have.
    InvalidParameter = "invalid_parameter", BAD_REQUEST, Caller, Retry::Never;
    /// A query option that does not exist.
    UnknownParameter = "unknown_parameter", BAD_REQUEST, Caller, Retry::Never;
    /// A filter, `having` or order that does not follow the grammar.
    InvalidFilter = "invalid_filter", BAD_REQUEST, Caller, Retry::Never;
    /// A cursor that was changed, or that belongs to another table, order or filter.
    InvalidCursor = "invalid_cursor", BAD_REQUEST, Caller, Retry::Never;
    /// A column that does not exist or that the role may not see.
    UnknownField = "unknown_field", BAD_REQUEST, Caller, Retry::Never;
    /// A relation that does not exist.
    UnknownRelation = "unknown_relation", BAD_REQUEST, Caller, Retry::Never;
    /// A body that cannot be parsed or has the wrong shape.
    InvalidBody = "invalid_body", BAD_REQUEST, Caller, Retry::Never;
    /// A value that its column cannot hold.
    InvalidValue = "invalid_value", BAD_REQUEST, Caller, Retry::Never;
    /// A write that names no records.
    MissingSelector = "missing_selector", BAD_REQUEST, Caller, Retry::Never;
    /// Some records of a batch were refused; `context` says which. `code` is 1000.
    BatchFailed = "batch_failed", BAD_REQUEST, Caller, Retry::Never;
    /// Two credentials of one request disagree.
    ConflictingCredentials = "conflicting_credentials", BAD_REQUEST, Caller, Retry::Never;
    /// No usable credentials.
    Unauthenticated = "unauthenticated", UNAUTHORIZED, Caller, Retry::Never;
    /// The role does not admit the call.
    Forbidden = "forbidden", FORBIDDEN, Caller, Retry::Never;
    /// The record written would lie outside the rows that the role admits.
    RowNotPermitted = "row_not_permitted", FORBIDDEN, Caller, Retry::Never;
    /// The service is there but switched off.
    ServiceDeactivated = "service_deactivated", FORBIDDEN, Caller, Retry::Never;
    /// No such service.
    UnknownService = "unknown_service", NOT_FOUND, Caller, Retry::Never;
    /// No such resource in the service.
    UnknownResource = "unknown_resource", NOT_FOUND, Caller, Retry::Never;
    /// No such table or view.
    UnknownTable = "unknown_table", NOT_FOUND, Caller, Retry::Never;
    /// No such record, or none that the role admits.
    UnknownRecord = "unknown_record", NOT_FOUND, Caller, Retry::Never;
    /// The resource exists and does not take this method; `Allow` says which it takes.
    MethodNotAllowed = "method_not_allowed", METHOD_NOT_ALLOWED, Caller, Retry::Never;
    /// None of the media types in `Accept` can be produced.
    NotAcceptable = "not_acceptable", NOT_ACCEPTABLE, Caller, Retry::Never;
    /// The request did not arrive in time.
    RequestTimeout = "request_timeout", REQUEST_TIMEOUT, Caller, Retry::After(1);
    /// A unique key already holds this value.
    UniqueViolation = "unique_violation", CONFLICT, Caller, Retry::Never;
    /// A foreign key forbids the write.
    ForeignKeyViolation = "foreign_key_violation", CONFLICT, Caller, Retry::Never;
    /// A change of tables or fields collides with what is there: the name is taken, or something depends on it.
    SchemaConflict = "schema_conflict", CONFLICT, Caller, Retry::Never;
    /// `If-Match` or `If-None-Match` does not hold.
    PreconditionFailed = "precondition_failed", PRECONDITION_FAILED, Caller, Retry::Never;
    /// The body is larger than the limit.
    PayloadTooLarge = "payload_too_large", PAYLOAD_TOO_LARGE, Caller, Retry::Never;
    /// The path and query string are longer than the limit.
    UriTooLong = "uri_too_long", URI_TOO_LONG, Caller, Retry::Never;
    /// The body's media type cannot be read.
    UnsupportedMediaType = "unsupported_media_type", UNSUPPORTED_MEDIA_TYPE, Caller, Retry::Never;
    /// A column that must have a value has none.
    NotNullViolation = "not_null_violation", UNPROCESSABLE_ENTITY, Caller, Retry::Never;
    /// A check constraint of the table refuses the record.
    CheckViolation = "check_violation", UNPROCESSABLE_ENTITY, Caller, Retry::Never;
    /// The database's own code, a routine or a trigger, refuses the request.
    RaisedByDatabase = "raised_by_database", UNPROCESSABLE_ENTITY, Caller, Retry::Never;
    /// A call limit is exhausted.
    TooManyRequests = "too_many_requests", TOO_MANY_REQUESTS, Caller, Retry::After(1);
    /// A defect of the gateway.
    Internal = "internal", INTERNAL_SERVER_ERROR, Gateway, Retry::Never;
    /// The backend answered in a way that nobody foresaw.
    BackendFailure = "backend_failure", INTERNAL_SERVER_ERROR, Backend, Retry::Never;
    /// The operation exists, but not for this backend.
    NotImplemented = "not_implemented", NOT_IMPLEMENTED, Gateway, Retry::Never;
    /// The backend cannot be reached, or refuses us.
    BackendUnavailable = "backend_unavailable", SERVICE_UNAVAILABLE, Backend, Retry::After(5);
    /// The table is not what the contract of its service says.
    ContractViolated = "contract_violated", SERVICE_UNAVAILABLE, Backend, Retry::After(60);
    /// Another service, to which a relation leads, cannot be reached; the message names it.
    RelatedServiceUnavailable = "related_service_unavailable", SERVICE_UNAVAILABLE, Backend, Retry::After(5);
    /// Concurrent writes collided; nothing was written.
    SerializationFailure = "serialization_failure", SERVICE_UNAVAILABLE, Backend, Retry::After(1);
    /// The gateway is at capacity.
    Overloaded = "overloaded", SERVICE_UNAVAILABLE, Gateway, Retry::After(1);
    /// The backend did not answer in time.
    BackendTimeout = "backend_timeout", GATEWAY_TIMEOUT, Backend, Retry::After(5);
}

/// Something that was refused or that broke.
pub struct Error(Box<Parts>);

struct Parts {
    kind: ErrorKind,
    message: Cow<'static, str>,
    help: Option<Cow<'static, str>>,
    details: Option<Map<String, Value>>,
    allow: Option<String>,
    facts: Vec<(&'static str, String)>,
    source: Option<BoxError>,
}

impl Error {
    /// An error whose `message` the caller may read: what is wrong with which thing, lower case, no full stop.
    pub fn new(kind: ErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Parts {
            kind,
            message: message.into(),
            help: None,
            details: None,
            allow: None,
            facts: Vec::new(),
            source: None,
        }))
    }

    /// A defect of ours: the caller learns nothing, the log everything.
    pub fn internal(fact: impl Into<String>) -> Self {
        Self::new(ErrorKind::Internal, "the gateway met an internal error")
            .with_fact("defect", fact)
    }

    /// Adds what the caller should do instead.
    #[must_use]
    pub fn with_help(mut self, help: impl Into<Cow<'static, str>>) -> Self {
        self.0.help = Some(help.into());
        self
    }

    /// Says in front of the message where within the request it went wrong.
    #[must_use]
    pub fn within(mut self, place: &str) -> Self {
        self.0.message = format!("{place}: {}", self.0.message).into();
        self
    }

    /// Adds the envelope's `context`.
    #[must_use]
    pub fn with_details(mut self, details: Map<String, Value>) -> Self {
        self.0.details = Some(details);
        self
    }

    /// Adds the methods that the resource does take; becomes `Allow` (RFC 9110 section 10.2.1).
    #[must_use]
    pub fn with_allow(mut self, methods: impl Into<String>) -> Self {
        self.0.allow = Some(methods.into());
        self
    }

    /// Adds something that only the log may see.
    #[must_use]
    pub fn with_fact(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.0.facts.push((name, value.into()));
        self
    }

    /// Adds the error underneath, for the log.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<BoxError>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// What went wrong.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }
    /// The text for the caller.
    pub fn message(&self) -> &str {
        &self.0.message
    }
    /// What the caller should do instead.
    pub fn help(&self) -> Option<&str> {
        self.0.help.as_deref()
    }
    /// The envelope's `context`.
    pub fn details(&self) -> Option<&Map<String, Value>> {
        self.0.details.as_ref()
    }
    /// The value of `Allow`, for [`ErrorKind::MethodNotAllowed`].
    pub fn allow(&self) -> Option<&str> {
        self.0.allow.as_deref()
    }
    /// What only the log may see.
    pub fn facts(&self) -> &[(&'static str, String)] {
        &self.0.facts
    }
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.0.kind.name(), self.0.message)
    }
}

/// Text on its way to the log, where one event is one line: control characters and line ends are written as escapes,
/// whoever they come from.
struct OneLine<'a, 'b>(&'a mut fmt::Formatter<'b>);

impl fmt::Write for OneLine<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut rest = text;
        while let Some(at) = rest.find(is_unsafe_in_a_log) {
            let (plain, tail) = rest.split_at(at);
            self.0.write_str(plain)?;
            let mut characters = tail.chars();
            if let Some(character) = characters.next() {
                write!(self.0, "{}", character.escape_default())?;
            }
            rest = characters.as_str();
        }
        self.0.write_str(rest)
    }
}

/// Control characters, line and paragraph separators, and marks that change the direction of what follows.
fn is_unsafe_in_a_log(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}' | '\u{61c}'
        )
}

/// For the log: the message, the facts and the chain of sources on one line.
impl fmt::Debug for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut formatter = OneLine(formatter);
        write!(formatter, "{self}")?;
        for (name, value) in &self.0.facts {
            write!(formatter, "; {name}: {value}")?;
        }
        let mut source: Option<&dyn std::error::Error> = match &self.0.source {
            Some(source) => Some(source.as_ref()),
            None => None,
        };
        while let Some(cause) = source {
            write!(formatter, "; caused by: {cause}")?;
            source = cause.source();
        }
        Ok(())
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.0.source {
            Some(source) => Some(source.as_ref()),
            None => None,
        }
    }
}

/// The name among `candidates` that `name` was probably meant to be, for "did you mean". None for what is longer than
/// any name, since likeness is not cheap to measure.
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    const LONGEST: usize = 256;
    if name.len() > LONGEST {
        return None;
    }
    let lowered = name.to_ascii_lowercase();
    candidates
        .into_iter()
        .map(|candidate| {
            (
                strsim::jaro_winkler(&lowered, &candidate.to_ascii_lowercase()),
                candidate,
            )
        })
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|left, right| left.0.total_cmp(&right.0))
        .map(|(_, candidate)| candidate)
}

/// At most 64 characters of what a caller wrote, for a message: no answer grows with the request.
pub fn brief(text: &str) -> Cow<'_, str> {
    const MOST: usize = 64;
    match text.char_indices().nth(MOST) {
        Some((end, _)) => Cow::Owned(format!("{}…", text.get(..end).unwrap_or_default())),
        None => Cow::Borrowed(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn names_of_kinds_are_unique_and_stand_for_errors() {
        let names: HashSet<_> = ErrorKind::ALL.iter().map(|kind| kind.name()).collect();
        assert_eq!(names.len(), ErrorKind::ALL.len());
        for kind in ErrorKind::ALL {
            let status = kind.status();
            assert!(
                status.is_client_error() || status.is_server_error(),
                "{}",
                kind.name()
            );
        }
    }

    #[test]
    fn what_is_for_the_log_is_not_displayed() {
        let error = Error::new(
            ErrorKind::BackendFailure,
            "the database refused the statement",
        )
        .with_fact("sql", "select secret")
        .with_source(std::io::Error::other("pg says: secret"));
        assert!(!error.to_string().contains("secret"));
        assert!(format!("{error:?}").contains("pg says"));
    }

    #[test]
    fn what_a_caller_wrote_is_quoted_in_part() {
        assert_eq!(brief("näme"), "näme");
        let long = "ä".repeat(10_000);
        assert_eq!(brief(&long), format!("{}…", "ä".repeat(64)));
    }

    #[test]
    fn the_log_gets_one_line_whatever_a_caller_wrote() {
        let text = "field 'a\r\n2026 INFO forged\u{1b}[2J\u{9b}1m\u{2028}\u{202e}é' is unknown";
        let error = Error::new(ErrorKind::UnknownField, text)
            .with_fact("filter", text)
            .with_source(std::io::Error::other(text));
        let logged = format!("{error:?}");
        assert!(!logged.contains(is_unsafe_in_a_log), "{logged}");
        assert_eq!(logged.matches("'a\\r\\n2026").count(), 3, "{logged}");
        assert!(logged.contains('é'), "{logged}");
        assert!(
            error.message().contains('\n'),
            "the caller is told as it is"
        );
    }

    #[test]
    fn a_misspelt_name_finds_its_neighbour_and_a_stranger_finds_none() {
        assert_eq!(
            nearest("filtr", ["fields", "filter", "limit"]),
            Some("filter")
        );
        assert_eq!(nearest("zzz", ["fields", "filter", "limit"]), None);
        let endless = "filter".repeat(1_000);
        assert_eq!(nearest(&endless, [endless.as_str()]), None);
    }
}
