//! SQLite's result codes → kinds of errors. Pure. Its words go to the log alone.

use rusqlite::ffi;

use crate::error::{Error, ErrorKind};

/// The error that a caller sees for an error of the driver. The driver's own words become its source.
pub(super) fn translate(error: rusqlite::Error) -> Error {
    let (code, message) = match &error {
        rusqlite::Error::SqliteFailure(failure, message) => (
            failure.extended_code,
            message.as_deref().unwrap_or_default(),
        ),
        rusqlite::Error::SqlInputError { error, msg, .. } => (error.extended_code, msg.as_str()),
        _ => {
            return Error::new(
                ErrorKind::BackendFailure,
                "the database answered in an unexpected way",
            )
            .with_source(error);
        }
    };
    let (kind, text) = match code {
        ffi::SQLITE_ERROR | ffi::SQLITE_TOOBIG => too_much(message),
        _ => None,
    }
    .unwrap_or_else(|| classify(code));
    Error::new(kind, text)
        .with_fact("sqlite_code", code.to_string())
        .with_source(error)
}

/// What a caller can ask too much of. These limits share the most general code, so only SQLite's texts tell them
/// apart; should they change, the error is a general one again.
fn too_much(message: &str) -> Option<(ErrorKind, &'static str)> {
    if message.contains("pattern too complex") {
        return Some((ErrorKind::InvalidValue, "a pattern is too long"));
    }
    [
        "too many SQL variables",
        "Expression tree is too large",
        "statement too long",
    ]
    .iter()
    .any(|limit| message.contains(limit))
    .then_some((
        ErrorKind::InvalidRequest,
        "the request names too many records or values at once",
    ))
}

/// The kind and the text for an extended result code (<https://www.sqlite.org/rescode.html>). An extended code that
/// is not listed falls back to its primary code, the lowest eight bits.
fn classify(code: i32) -> (ErrorKind, &'static str) {
    match code {
        ffi::SQLITE_CONSTRAINT_UNIQUE
        | ffi::SQLITE_CONSTRAINT_PRIMARYKEY
        | ffi::SQLITE_CONSTRAINT_ROWID => (
            ErrorKind::UniqueViolation,
            "a record with the same value of a unique key exists already",
        ),
        ffi::SQLITE_CONSTRAINT_FOREIGNKEY => (
            ErrorKind::ForeignKeyViolation,
            "the write would leave a reference to a record that does not exist",
        ),
        ffi::SQLITE_CONSTRAINT_NOTNULL => (
            ErrorKind::NotNullViolation,
            "a column that must have a value has none",
        ),
        ffi::SQLITE_CONSTRAINT_CHECK | ffi::SQLITE_CONSTRAINT_TRIGGER => (
            ErrorKind::CheckViolation,
            "a check of the table refuses the record",
        ),
        ffi::SQLITE_CONSTRAINT_DATATYPE => (
            ErrorKind::InvalidValue,
            "a value is not of the type that its column holds",
        ),
        _ => match code & 0xff {
            ffi::SQLITE_CONSTRAINT => (
                ErrorKind::CheckViolation,
                "a constraint of the table refuses the record",
            ),
            ffi::SQLITE_BUSY | ffi::SQLITE_LOCKED | ffi::SQLITE_SCHEMA => (
                ErrorKind::SerializationFailure,
                "another write is in progress; nothing was written",
            ),
            ffi::SQLITE_INTERRUPT => (
                ErrorKind::BackendTimeout,
                "the database did not answer in time",
            ),
            ffi::SQLITE_READONLY => (ErrorKind::Forbidden, "the database is read-only"),
            ffi::SQLITE_TOOBIG => (ErrorKind::InvalidValue, "a value is too large"),
            ffi::SQLITE_MISMATCH => (
                ErrorKind::InvalidValue,
                "a value is not of the type that its column holds",
            ),
            ffi::SQLITE_NOTADB | ffi::SQLITE_FORMAT => (
                ErrorKind::BackendUnavailable,
                "the database file is not a SQLite database",
            ),
            ffi::SQLITE_CORRUPT => (
                ErrorKind::BackendUnavailable,
                "the database file is damaged",
            ),
            ffi::SQLITE_FULL => (
                ErrorKind::BackendUnavailable,
                "the database has no room left",
            ),
            ffi::SQLITE_CANTOPEN | ffi::SQLITE_PERM => (
                ErrorKind::BackendUnavailable,
                "the database file cannot be opened",
            ),
            ffi::SQLITE_IOERR | ffi::SQLITE_PROTOCOL | ffi::SQLITE_NOLFS => (
                ErrorKind::BackendUnavailable,
                "the database file cannot be read or written",
            ),
            ffi::SQLITE_NOMEM => (ErrorKind::Overloaded, "the database is out of memory"),
            _ => (
                ErrorKind::BackendFailure,
                "the database refused the statement",
            ),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_a_caller_can_meet_has_its_kind() {
        for (code, kind) in [
            (2067, ErrorKind::UniqueViolation),
            (1555, ErrorKind::UniqueViolation),
            (2579, ErrorKind::UniqueViolation),
            (787, ErrorKind::ForeignKeyViolation),
            (1299, ErrorKind::NotNullViolation),
            (275, ErrorKind::CheckViolation),
            (1811, ErrorKind::CheckViolation),
            (3091, ErrorKind::InvalidValue),
            (19, ErrorKind::CheckViolation),
            (5, ErrorKind::SerializationFailure),
            (261, ErrorKind::SerializationFailure),
            (517, ErrorKind::SerializationFailure),
            (6, ErrorKind::SerializationFailure),
            (262, ErrorKind::SerializationFailure),
            (9, ErrorKind::BackendTimeout),
            (8, ErrorKind::Forbidden),
            (1032, ErrorKind::Forbidden),
            (18, ErrorKind::InvalidValue),
            (20, ErrorKind::InvalidValue),
            (26, ErrorKind::BackendUnavailable),
            (11, ErrorKind::BackendUnavailable),
            (13, ErrorKind::BackendUnavailable),
            (14, ErrorKind::BackendUnavailable),
            (10, ErrorKind::BackendUnavailable),
            (522, ErrorKind::BackendUnavailable),
            (7, ErrorKind::Overloaded),
            (1, ErrorKind::BackendFailure),
            (21, ErrorKind::BackendFailure),
        ] {
            assert_eq!(classify(code).0, kind, "{code}");
        }
    }

    #[test]
    fn the_words_of_the_driver_stay_in_the_log() {
        let error = translate(rusqlite::Error::SqliteFailure(
            ffi::Error::new(ffi::SQLITE_CONSTRAINT_UNIQUE),
            Some("UNIQUE constraint failed: secret.column".to_owned()),
        ));
        assert!(!error.to_string().contains("secret"));
        assert!(format!("{error:?}").contains("secret.column"));
    }
}
