//! SQL Server's error numbers → kinds. What the server wrote stays in the facts and the source, for the log.

use tiberius::error::{Error as DriverError, TokenError};

use crate::connector::database::routine::RAISED_FACT;
use crate::error::{Error, ErrorKind};

/// The severity from which the server closes the connection ("Database Engine error severities").
const FATAL_CLASS: u8 = 20;

/// The first number that THROW and RAISERROR may have ("THROW", "RAISERROR").
const FIRST_RAISED: u32 = 50_000;

/// The kind and the caller's text of an error number ("Database Engine events and errors"). `message` is looked at only
/// where one number stands for two things; it is English, because the session is.
///
/// Texts name no column and no constraint: the caller's role may hide them.
pub(super) fn classify(code: u32, message: &str) -> (ErrorKind, &'static str) {
    match code {
        // Unique constraint or primary key; unique index; one that is made over records that agree.
        2627 | 2601 | 1505 => (
            ErrorKind::UniqueViolation,
            "a record with this key already exists",
        ),
        // "The INSERT statement conflicted with the FOREIGN KEY constraint …", "… the CHECK constraint …", and "The
        // DELETE statement conflicted with the REFERENCE constraint …".
        547 if !message.contains("CHECK constraint") => (
            ErrorKind::ForeignKeyViolation,
            "a foreign key of the table forbids this",
        ),
        515 => (
            ErrorKind::NotNullViolation,
            "a column that must have a value has none",
        ),
        // WITH CHECK OPTION of a view; a security policy's block predicate.
        547 | 550 | 33504 => (
            ErrorKind::CheckViolation,
            "a check of the table refuses the record",
        ),
        229 | 230 | 262 | 300 | 916 => (
            ErrorKind::Forbidden,
            "the database does not permit this to the gateway's account",
        ),
        // Deadlock, lock timeout, snapshot conflicts, optimistic conflicts of memory-optimised tables.
        1205 | 1222 | 3960 | 3961 | 41301 | 41302 | 41305 | 41325 | 41839 => (
            ErrorKind::SerializationFailure,
            "concurrent writes collided and nothing was written",
        ),
        FIRST_RAISED.. => (
            ErrorKind::RaisedByDatabase,
            "a routine or a trigger of the database refuses the request",
        ),
        // A parameter without a default was not given; one that is not there; too many.
        201 | 313 | 8144 | 8145 | 8146 => (
            ErrorKind::InvalidRequest,
            "the routine needs other parameters than were given",
        ),
        // Changes of tables: names that are taken, what others depend on, keys that cannot be.
        1750 | 1767 | 1769 | 1770 | 1773 | 1776 | 1778 | 1779 | 1785 | 1902 | 1911 | 1913
        | 2705 | 2714 | 3701 | 3723 | 3725 | 3726 | 3727 | 3728 | 3733 | 4901 | 4902 | 4922
        | 4924 | 4932 | 4947 | 5074 | 8111 | 15225 | 15248 | 15335 => (
            ErrorKind::SchemaConflict,
            "the change collides with other parts of the database",
        ),
        // The statement was written for a catalogue that has changed. Whoever reads these kinds reads it anew.
        208 | 2812 => (
            ErrorKind::UnknownTable,
            "a table of the request does not exist any more",
        ),
        207 => (
            ErrorKind::UnknownField,
            "a field of the request does not exist any more",
        ),
        // A text too long, a number out of range, a text that is no number, date or UUID; a date out of range; invalid
        // spatial text, hierarchyid or XML; a conversion that is not allowed.
        206
        | 220
        | 232
        | 241
        | 242
        | 244
        | 245
        | 248
        | 257
        | 260
        | 295
        | 296
        | 529
        | 535
        | 2628
        | 3606
        | 3621
        | 6522
        | 8114
        | 8115
        | 8134
        | 8152
        | 8169
        | 8170
        | 9400..=9499
        | 9803
        | 13608
        | 13609 => (ErrorKind::InvalidValue, "a value does not fit its column"),
        // Values for identity, computed, rowversion and GENERATED ALWAYS columns.
        271 | 272 | 273 | 544 | 8102 | 13536 | 13537 => (
            ErrorKind::InvalidValue,
            "a field of the record is numbered or computed by the database and takes no other value",
        ),
        // Types that cannot be compared, ordered, grouped, or added up.
        305 | 306 | 402 | 403 | 421 | 1919 | 8116 | 8117 | 9341 => (
            ErrorKind::InvalidParameter,
            "a field of the request has a type that the database cannot compare, order or add up in this way",
        ),
        // A view that cannot be written: several base tables, aggregates, computed columns.
        4403..=4407 | 4415..=4418 | 4420..=4426 | 4433 | 4435 => (
            ErrorKind::MethodNotAllowed,
            "the database cannot write through this view",
        ),
        // Too many parameters; an expression nested too deeply; a query too complex.
        8003 | 8623 | 8631 | 8632 | 125 | 191 => (
            ErrorKind::InvalidRequest,
            "the request names too many records or values at once",
        ),
        // Read-only, as a secondary after a failover is; the next connection may find the primary.
        3906 | 3908 | 976 | 978 | 979 => (
            ErrorKind::BackendUnavailable,
            "the database takes no writes at present",
        ),
        // Login failed; database not available, in single-user mode, offline or in recovery; out of memory, space, locks,
        // log space or workers; shutdown; failover and throttling of Azure SQL.
        18401
        | 18450..=18488
        | 4060
        | 4064
        | 922..=927
        | 942
        | 945
        | 952
        | 983
        | 701
        | 802
        | 1101
        | 1105
        | 1204
        | 3041
        | 6005
        | 8645
        | 8651
        | 9002
        | 9001
        | 10928
        | 10929
        | 17142
        | 17187
        | 40197
        | 40501
        | 40540
        | 40544
        | 40549..=40553
        | 40613
        | 40615
        | 49918..=49920 => (
            ErrorKind::BackendUnavailable,
            "the database is not available",
        ),
        _ => (
            ErrorKind::BackendFailure,
            "the database could not carry out the request",
        ),
    }
}

/// What the caller should do instead, where that can be said.
fn help(code: u32) -> Option<&'static str> {
    match code {
        271 | 272 | 273 | 544 | 8102 | 13536 | 13537 => Some("leave it out of the record"),
        _ => None,
    }
}

/// Whether the server answered the statement, so that the connection is ready for the next.
pub(super) fn is_answer(error: &DriverError) -> bool {
    match error {
        DriverError::Server(server) => {
            server.class() < FATAL_CLASS
                && classify(server.code(), server.message()).0 != ErrorKind::BackendUnavailable
        }
        _ => false,
    }
}

/// Whether the server refused a question to its catalogue because it has no such view, column or syntax.
pub(super) fn lacks_views(error: &DriverError) -> bool {
    match error {
        DriverError::Server(server) => {
            is_answer(error)
                && matches!(
                    classify(server.code(), server.message()).0,
                    ErrorKind::UnknownTable | ErrorKind::UnknownField | ErrorKind::BackendFailure
                )
        }
        _ => false,
    }
}

/// Whether the connection broke, or was broken before the statement reached the server.
pub(super) fn is_lost(error: &DriverError) -> bool {
    matches!(error, DriverError::Io { .. })
}

/// The error for callers and log.
pub(super) fn from_driver(error: DriverError) -> Error {
    match &error {
        DriverError::Server(server) => {
            let (kind, message) = classify(server.code(), server.message());
            let mut refused = Error::new(kind, message);
            if kind == ErrorKind::MethodNotAllowed {
                refused = refused.with_allow("GET, HEAD, OPTIONS");
            }
            if kind == ErrorKind::RaisedByDatabase {
                refused = refused.with_fact(RAISED_FACT, server.message());
            }
            if let Some(help) = help(server.code()) {
                refused = refused.with_help(help);
            }
            with_server_facts(refused, server).with_source(error)
        }
        DriverError::Io { .. } | DriverError::Tls(_) | DriverError::Routing { .. } => {
            unavailable("connection").with_source(error)
        }
        _ => Error::new(
            ErrorKind::BackendFailure,
            "the database answered in an unexpected way",
        )
        .with_source(error),
    }
}

/// The error of an attempt to connect: nothing about it is the caller's.
pub(super) fn from_connecting(error: DriverError) -> Error {
    let mut refused = unavailable("connect");
    if let DriverError::Server(server) = &error {
        refused = with_server_facts(refused, server);
    }
    refused.with_source(error)
}

fn with_server_facts(error: Error, server: &TokenError) -> Error {
    error
        .with_fact("number", server.code().to_string())
        .with_fact("state", server.state().to_string())
        .with_fact("server", server.message())
}

/// The database cannot be reached; `step` says to the log what was being done.
pub(super) fn unavailable(step: &'static str) -> Error {
    Error::new(
        ErrorKind::BackendUnavailable,
        "the database is not available",
    )
    .with_fact("step", step)
}

/// The database did not answer in time.
pub(super) fn timed_out(step: &'static str) -> Error {
    Error::new(
        ErrorKind::BackendTimeout,
        "the database did not finish in time",
    )
    .with_fact("step", step)
}

/// Too many requests wait for the database.
pub(super) fn overloaded() -> Error {
    Error::new(
        ErrorKind::Overloaded,
        "too many requests wait for the database",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_that_callers_can_cause_has_its_kind() {
        use ErrorKind as Kind;
        for (code, message, kind) in [
            (2627, "", Kind::UniqueViolation),
            (2601, "", Kind::UniqueViolation),
            (
                547,
                "The INSERT statement conflicted with the FOREIGN KEY constraint \"fk\".",
                Kind::ForeignKeyViolation,
            ),
            (
                547,
                "The DELETE statement conflicted with the REFERENCE constraint \"fk\".",
                Kind::ForeignKeyViolation,
            ),
            (
                547,
                "The UPDATE statement conflicted with the CHECK constraint \"c\".",
                Kind::CheckViolation,
            ),
            (515, "", Kind::NotNullViolation),
            (550, "", Kind::CheckViolation),
            (229, "", Kind::Forbidden),
            (1205, "", Kind::SerializationFailure),
            (1222, "", Kind::SerializationFailure),
            (3960, "", Kind::SerializationFailure),
            (3906, "", Kind::BackendUnavailable),
            (18456, "", Kind::BackendUnavailable),
            (4060, "", Kind::BackendUnavailable),
            (40613, "", Kind::BackendUnavailable),
            (9002, "", Kind::BackendUnavailable),
            (208, "", Kind::UnknownTable),
            (207, "", Kind::UnknownField),
            (2628, "", Kind::InvalidValue),
            (8152, "", Kind::InvalidValue),
            (8114, "", Kind::InvalidValue),
            (8115, "", Kind::InvalidValue),
            (241, "", Kind::InvalidValue),
            (245, "", Kind::InvalidValue),
            (8169, "", Kind::InvalidValue),
            (544, "", Kind::InvalidValue),
            (8117, "", Kind::InvalidParameter),
            (4405, "", Kind::MethodNotAllowed),
            (8003, "", Kind::InvalidRequest),
            (102, "", Kind::BackendFailure),
            (50000, "", Kind::RaisedByDatabase),
            (51234, "", Kind::RaisedByDatabase),
            (201, "", Kind::InvalidRequest),
            (2812, "", Kind::UnknownTable),
            (2714, "", Kind::SchemaConflict),
            (3726, "", Kind::SchemaConflict),
            (5074, "", Kind::SchemaConflict),
            (1505, "", Kind::UniqueViolation),
            (0, "", Kind::BackendFailure),
        ] {
            assert_eq!(classify(code, message).0, kind, "{code} {message}");
        }
    }

    #[test]
    fn a_connection_that_broke_is_not_kept() {
        let broken = DriverError::Io {
            kind: std::io::ErrorKind::UnexpectedEof,
            message: "the server at 10.1.2.3 went away".to_owned(),
        };
        assert!(is_lost(&broken) && !is_answer(&broken));
        let error = from_driver(broken);
        assert_eq!(error.kind(), ErrorKind::BackendUnavailable);
        assert!(!error.to_string().contains("10.1.2.3"));
        assert!(!is_answer(&DriverError::Protocol("garbage".into())));
    }
}
