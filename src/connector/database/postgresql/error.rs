//! PostgreSQL's errors → kinds. What the server wrote stays in the facts and the source, for the log.

use std::error::Error as _;

use tokio_postgres::error::DbError;

use super::encode::Unencodable;
use crate::connector::database::routine::RAISED_FACT;
use crate::error::{Error, ErrorKind};

/// The SQLSTATE of a write in a transaction that is read-only.
const READ_ONLY: &str = "25006";
/// The function of the server that carries out RAISE; it has one name in every language (pl_exec.c).
const RAISE: &str = "exec_stmt_raise";

/// What became of a statement that failed, as far as running it again is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// The connection is gone, or is about to go.
    Lost,
    /// The prepared statement no longer fits the tables; preparing it again may help.
    Stale,
    /// Anything else.
    Other,
}

/// The kind and the caller's text of an SQLSTATE (manual, appendix A).
///
/// Texts name no column and no constraint: the caller's role may hide them. The log gets them as facts.
pub(super) fn classify(code: &str) -> (ErrorKind, &'static str) {
    match code {
        "23505" | "23P01" => (
            ErrorKind::UniqueViolation,
            "a record with this key already exists",
        ),
        // ON CONFLICT meets a record of its own statement again.
        "21000" => (
            ErrorKind::UniqueViolation,
            "two records of the request have the same key",
        ),
        "23503" | "23001" => (
            ErrorKind::ForeignKeyViolation,
            "a foreign key of the table forbids this",
        ),
        "23502" => (
            ErrorKind::NotNullViolation,
            "a column that must have a value has none",
        ),
        "23514" | "44000" => (
            ErrorKind::CheckViolation,
            "a check of the table refuses the record",
        ),
        "42501" => (
            ErrorKind::Forbidden,
            "the database does not permit this to the gateway's account",
        ),
        "40001" | "40P01" | "55P03" => (
            ErrorKind::SerializationFailure,
            "concurrent writes collided and nothing was written",
        ),
        "57014" | "25P03" | "25P04" => (
            ErrorKind::BackendTimeout,
            "the database did not finish in time",
        ),
        // RAISE without a code of its own (manual, "Reporting Errors and Messages").
        "P0001" => (
            ErrorKind::RaisedByDatabase,
            "a routine or a trigger of the database refuses the request",
        ),
        "2D000" => (
            ErrorKind::BackendFailure,
            "a procedure ends its transaction by itself, but is called within one of the gateway",
        ),
        // The statement was written for a catalogue that has changed. Whoever reads these kinds reads it anew.
        "42P01" | "3F000" => (
            ErrorKind::UnknownTable,
            "a table of the request does not exist any more",
        ),
        "42703" => (
            ErrorKind::UnknownField,
            "a field of the request does not exist any more",
        ),
        // Changes of the schema: what depends on it, a name that is taken, a key that cannot be one.
        "2BP01" | "42P06" | "42P07" | "42701" | "42710" | "42P16" | "42830" | "55006" => (
            ErrorKind::SchemaConflict,
            "the change collides with other parts of the database",
        ),
        // 22: data exception; the value is the caller's, or is in the table and does not fit the question.
        _ if code.starts_with("22") => (ErrorKind::InvalidValue, "a value does not fit its column"),
        // GENERATED ALWAYS.
        "428C9" => (
            ErrorKind::InvalidValue,
            "a field of the record is numbered or computed by the database and takes no other value",
        ),
        // A type that does not fit.
        "42804" | "42846" | "42P18" => (ErrorKind::InvalidValue, "a value does not fit its column"),
        "3D000" => (
            ErrorKind::BackendUnavailable,
            "the database is not available",
        ),
        // 08 connection, 28 authorization, 53 resources, 57P0x shutdown.
        _ if ["08", "28", "53", "57P"]
            .iter()
            .any(|class| code.starts_with(class)) =>
        {
            (
                ErrorKind::BackendUnavailable,
                "the database is not available",
            )
        }
        _ => (
            ErrorKind::BackendFailure,
            "the database could not carry out the request",
        ),
    }
}

/// What the caller should do instead, where that can be said.
fn help(code: &str) -> Option<&'static str> {
    match code {
        "428C9" => Some("leave it out of the record"),
        _ => None,
    }
}

/// What a failure means for running the statement again.
pub(super) fn cause(error: &tokio_postgres::Error) -> Cause {
    if let Some(server) = error.as_db_error() {
        let code = server.code().code();
        return match code {
            "26000" => Cause::Stale,
            // "cached plan must not change result type" has no code of its own; its text is translated, the
            // name of the function that raises it is not (plancache.c).
            "0A000" if server.routine() == Some("RevalidateCachedQuery") => Cause::Stale,
            "57P01" | "57P02" | "57P03" => Cause::Lost,
            _ if code.starts_with("08") => Cause::Lost,
            _ => Cause::Other,
        };
    }
    if error.is_closed() || has_source::<std::io::Error>(error) {
        Cause::Lost
    } else {
        Cause::Other
    }
}

fn has_source<E: std::error::Error + 'static>(error: &tokio_postgres::Error) -> bool {
    error.source().is_some_and(<dyn std::error::Error>::is::<E>)
}

/// Whether the statement compares, orders, groups or adds up a column whose type cannot do that, as `xml` and `point`
/// cannot: what a caller asked for. The same codes come from functions and triggers of the database, but with a
/// context, and they are not the caller's.
fn lacks_operator(server: &DbError) -> bool {
    matches!(server.code().code(), "42883" | "42725") && server.where_().is_none()
}

/// Whether a write was refused because its transaction is read-only. Where the gateway began it to write, that is the
/// server's doing: a failover has made a replica of it, or is about to. A routine that raises the code by itself says
/// nothing of the server.
pub(super) fn is_read_only(error: &tokio_postgres::Error) -> bool {
    error
        .as_db_error()
        .is_some_and(|server| server.code().code() == READ_ONLY && server.routine() != Some(RAISE))
}

/// Whether a change of a table was refused for what depends on it: a view that shows the column, for instance. The code
/// is that of everything unsupported; the functions are those of `tablecmds.c`.
fn is_altering(server: &DbError) -> bool {
    server.routine().is_some_and(|routine| {
        ["ATPrep", "ATExec", "ATSimple", "RememberAll"]
            .iter()
            .any(|begin| routine.starts_with(begin))
    })
}

/// The error for callers and log.
pub(super) fn from_driver(error: tokio_postgres::Error) -> Error {
    if let Some(server) = error.as_db_error() {
        let (kind, message) = if cause(&error) == Cause::Stale {
            (
                ErrorKind::SerializationFailure,
                "the tables changed during the request and nothing was written",
            )
        } else if server.code().code() == "0A000" && is_altering(server) {
            (
                ErrorKind::SchemaConflict,
                "the change collides with other parts of the database",
            )
        } else if lacks_operator(server) {
            (
                ErrorKind::InvalidParameter,
                "a field of the request has a type that the database cannot compare, order or add up in this way",
            )
        } else {
            classify(server.code().code())
        };
        // Codes of one's own are raised as well.
        let is_raised = kind == ErrorKind::BackendFailure && server.routine() == Some(RAISE);
        let (kind, message) = if is_raised {
            classify("P0001")
        } else {
            (kind, message)
        };
        let mut refused = Error::new(kind, message);
        if kind == ErrorKind::RaisedByDatabase {
            refused = refused.with_fact(RAISED_FACT, server.message());
        }
        if let Some(help) = help(server.code().code()) {
            refused = refused.with_help(help);
        }
        return with_server_facts(refused, server).with_source(error);
    }
    if has_source::<Unencodable>(&error) {
        return unfit(error);
    }
    if cause(&error) == Cause::Lost {
        return unavailable("connection").with_source(error);
    }
    Error::new(
        ErrorKind::BackendFailure,
        "the database could not carry out the request",
    )
    .with_source(error)
}

/// The error of a write that the server refuses as it refuses every write, so that it is no fault of the request.
pub(super) fn from_read_only(error: tokio_postgres::Error) -> Error {
    let mut unavailable = unavailable("write to a server that is read-only");
    if let Some(server) = error.as_db_error() {
        unavailable = with_server_facts(unavailable, server);
    }
    unavailable.with_source(error)
}

/// The error of a value that cannot be sent.
pub(super) fn unfit(source: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::new(ErrorKind::InvalidValue, "a value does not fit its column").with_source(source)
}

/// The error of an attempt to connect: nothing about it is the caller's.
pub(super) fn from_connecting(error: tokio_postgres::Error) -> Error {
    let mut unavailable = unavailable("connect");
    if let Some(server) = error.as_db_error() {
        unavailable = with_server_facts(unavailable, server);
    }
    unavailable.with_source(error)
}

fn with_server_facts(mut error: Error, server: &DbError) -> Error {
    error = error
        .with_fact("sqlstate", server.code().code())
        .with_fact("server", server.message());
    for (name, value) in [
        ("schema", server.schema()),
        ("table", server.table()),
        ("column", server.column()),
        ("constraint", server.constraint()),
        ("hint", server.hint()),
    ] {
        if let Some(value) = value {
            error = error.with_fact(name, value);
        }
    }
    error
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
pub(super) fn overloaded(what: &'static str) -> Error {
    Error::new(
        ErrorKind::Overloaded,
        "too many requests wait for the database",
    )
    .with_fact("waiting for", what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_that_callers_can_cause_has_its_kind() {
        use ErrorKind as Kind;
        for (code, kind) in [
            ("23505", Kind::UniqueViolation),
            ("23P01", Kind::UniqueViolation),
            ("21000", Kind::UniqueViolation),
            ("23503", Kind::ForeignKeyViolation),
            ("23502", Kind::NotNullViolation),
            ("23514", Kind::CheckViolation),
            ("44000", Kind::CheckViolation),
            ("22P02", Kind::InvalidValue),
            ("22003", Kind::InvalidValue),
            ("22007", Kind::InvalidValue),
            ("22008", Kind::InvalidValue),
            ("22001", Kind::InvalidValue),
            ("22021", Kind::InvalidValue),
            ("22012", Kind::InvalidValue),
            ("428C9", Kind::InvalidValue),
            ("40001", Kind::SerializationFailure),
            ("40P01", Kind::SerializationFailure),
            ("57014", Kind::BackendTimeout),
            ("53300", Kind::BackendUnavailable),
            ("57P01", Kind::BackendUnavailable),
            ("57P03", Kind::BackendUnavailable),
            ("08006", Kind::BackendUnavailable),
            ("28P01", Kind::BackendUnavailable),
            ("28000", Kind::BackendUnavailable),
            ("3D000", Kind::BackendUnavailable),
            ("42501", Kind::Forbidden),
            ("42P01", Kind::UnknownTable),
            ("42P07", Kind::SchemaConflict),
            ("42701", Kind::SchemaConflict),
            ("2BP01", Kind::SchemaConflict),
            ("42703", Kind::UnknownField),
            // Of a read that writes, as a view may. In a transaction for writing it is no matter of the code alone.
            (READ_ONLY, Kind::BackendFailure),
            ("42601", Kind::BackendFailure),
            ("XX000", Kind::BackendFailure),
            ("", Kind::BackendFailure),
        ] {
            assert_eq!(classify(code).0, kind, "{code}");
        }
    }
}
