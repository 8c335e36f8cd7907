//! Oracle's error numbers → kinds. What the server wrote stays in the facts and the source, for the log.

use std::fmt;

use crate::connector::database::routine::RAISED_FACT;
use crate::error::{Error, ErrorKind};

/// What went wrong with a call of the driver.
#[derive(Debug)]
pub(super) struct Fault {
    /// The number of `ORA-…`, if the server answered.
    pub(super) code: Option<u32>,
    /// What became of the connection.
    pub(super) cause: Cause,
    /// The driver's own words, for the log.
    pub(super) message: String,
}

/// What a fault says of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// The server answered with an error; the connection goes on.
    Answer,
    /// The server did not answer in time.
    TimedOut,
    /// The connection broke, or could not be made.
    Lost,
    /// The driver itself gave up.
    Driver,
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)
    }
}

impl std::error::Error for Fault {}

/// The kind and the caller's text of an error number ("Database Error Messages").
///
/// Texts name no column and no constraint: the caller's role may hide them.
pub(super) fn classify(code: u32) -> (ErrorKind, &'static str) {
    match code {
        1 => (
            ErrorKind::UniqueViolation,
            "a record with this key already exists",
        ),
        // Parent key not found; child record found; a truncated or dropped table with children.
        2266 | 2291 | 2292 => (
            ErrorKind::ForeignKeyViolation,
            "a foreign key of the table forbids this",
        ),
        // NULL into a column, by INSERT and by UPDATE.
        1400 | 1407 => (
            ErrorKind::NotNullViolation,
            "a column that must have a value has none",
        ),
        // A check constraint; WITH CHECK OPTION of a view; a policy with a check.
        2290 | 1402 | 28115 => (
            ErrorKind::CheckViolation,
            "a check of the table refuses the record",
        ),
        1031 | 41900 => (
            ErrorKind::Forbidden,
            "the database does not permit this to the gateway's account",
        ),
        // Resource busy; deadlock; deadlock in the library cache; cannot serialize; timeout of WAIT.
        54 | 60 | 4020 | 8177 | 30006 => (
            ErrorKind::SerializationFailure,
            "concurrent writes collided and nothing was written",
        ),
        // The user requested cancel, which is how the driver ends a call that takes too long; limits of a profile or of
        // the resource manager.
        40 | 1013 | 2393 => (
            ErrorKind::BackendTimeout,
            "the database did not finish in time",
        ),
        // `RAISE_APPLICATION_ERROR`.
        20_000..=20_999 => (
            ErrorKind::RaisedByDatabase,
            "a routine or a trigger of the database refuses the request",
        ),
        // Wrong number or types of arguments, which is found when the block is compiled.
        6550 | 6553 => (
            ErrorKind::InvalidRequest,
            "the routine needs other parameters than were given",
        ),
        // A write within a query; OUT parameters; a commit within a query.
        6572 | 14551 | 14552 => (
            ErrorKind::NotImplemented,
            "the function changes data, which it cannot do where it is queried",
        ),
        // Changes of tables: names that are taken, what others depend on, keys and columns that cannot be so.
        955
        | 957
        | 1408
        | 1418
        | 1430
        | 1439..=1442
        | 1451
        | 1758
        | 2260
        | 2261
        | 2264
        | 2270
        | 2273
        | 2275
        | 2293
        | 2296
        | 2298
        | 2299
        | 2429
        | 2443
        | 2449
        | 12983
        | 12991
        | 12992
        | 54033 => (
            ErrorKind::SchemaConflict,
            "the change collides with other parts of the database",
        ),
        // The statement was written for a catalogue that has changed. Whoever reads these kinds reads it anew. The
        // account may also have lost the right to see the table.
        942 | 4043 | 8103 => (
            ErrorKind::UnknownTable,
            "a table of the request does not exist any more",
        ),
        904 => (
            ErrorKind::UnknownField,
            "a field of the request does not exist any more",
        ),
        // A value too large for its column; a number out of range or invalid; parts of dates; invalid hexadecimal, JSON
        // or XML.
        910
        | 1401
        | 1426
        | 1438
        | 1461
        | 1465
        | 1476
        | 1481
        | 1489
        | 1722
        | 1821
        | 1830..=1899
        | 6502
        | 12899
        | 13199
        | 19202
        | 22835
        | 31011
        | 40441
        | 40587 => (ErrorKind::InvalidValue, "a value does not fit its column"),
        // Values for identity columns that are GENERATED ALWAYS, and for virtual columns.
        32795 | 32796 | 54013 | 54017 => (
            ErrorKind::InvalidValue,
            "a field of the record is numbered or computed by the database and takes no other value",
        ),
        // Inconsistent data types: large objects and objects that are compared, ordered or grouped by.
        932 | 997 | 22848 | 22849 | 22950 => (
            ErrorKind::InvalidParameter,
            "a field of the request has a type that the database cannot compare, order or add up in this way",
        ),
        // Views that cannot be written: of several tables, with aggregates, READ ONLY, virtual columns.
        1732 | 1733 | 1752 | 1776 | 1779 | 42399 => (
            ErrorKind::MethodNotAllowed,
            "the database cannot write through this view",
        ),
        // Too many expressions, values or binds; an expression nested too deeply; a statement too long.
        1745 | 1792 | 1795 => (
            ErrorKind::InvalidRequest,
            "the request names too many records or values at once",
        ),
        // Read-only, as a standby after a switch is; the next connection may find the primary.
        16000 | 12081 => (
            ErrorKind::BackendUnavailable,
            "the database takes no writes at present",
        ),
        // Not logged on, killed, end of file on the channel, not connected; shutdown, starting, mounted only; login refused,
        // expired or locked; listener and network; out of sessions, processes, cursors, memory and space.
        18
        | 20
        | 28
        | 257
        | 1000
        | 1005
        | 1012
        | 1017
        | 1033
        | 1034
        | 1035
        | 1045
        | 1089
        | 1090
        | 1092
        | 1109
        | 1219
        | 1536
        | 1652
        | 1653
        | 1654
        | 1688
        | 1691
        | 2391
        | 2396
        | 2399
        | 3113
        | 3114
        | 3135
        | 3136
        | 4030
        | 4031
        | 12150..=12699
        | 19809
        | 24338
        | 25401..=25419
        | 28000
        | 28001
        | 28040
        | 28759 => (
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
        32795 | 32796 | 54013 | 54017 => Some("leave it out of the record"),
        6572 | 14551 | 14552 => Some("make it a procedure"),
        _ => None,
    }
}

/// The words that were raised, without the number before them and the calls behind them:
/// `ORA-20001: the month is closed`, `ORA-06512: at "S.CLOSE", line 4`.
fn raised(message: &str, code: u32) -> String {
    let number = format!("ORA-{code:05}: ");
    let words = message
        .split_once(&number)
        .map_or(message, |(_, words)| words);
    let words = words.split_once("\nORA-").map_or(words, |(words, _)| words);
    words.trim().to_owned()
}

impl Fault {
    /// Whether the connection can go on with the next statement.
    pub(super) fn is_answer(&self) -> bool {
        self.cause == Cause::Answer
            && self.code.is_none_or(|code| {
                !matches!(
                    classify(code).0,
                    ErrorKind::BackendUnavailable | ErrorKind::BackendTimeout
                )
            })
    }

    /// Whether the connection broke before or during the call.
    pub(super) fn is_lost(&self) -> bool {
        self.cause == Cause::Lost
            || self.code.is_some_and(|code| {
                matches!(code, 28 | 1012 | 2396 | 3113 | 3114 | 3135 | 12537 | 12547)
            })
    }

    /// The error for callers and log.
    pub(super) fn into_error(self) -> Error {
        let error = match (self.code, self.cause) {
            (Some(code), Cause::Answer) => {
                let (kind, message) = classify(code);
                let mut error = Error::new(kind, message).with_fact("number", code.to_string());
                if kind == ErrorKind::MethodNotAllowed {
                    error = error.with_allow("GET, HEAD, OPTIONS");
                }
                if kind == ErrorKind::RaisedByDatabase {
                    error = error.with_fact(RAISED_FACT, raised(&self.message, code));
                }
                match help(code) {
                    Some(help) => error.with_help(help),
                    None => error,
                }
            }
            (_, Cause::TimedOut) => timed_out("call"),
            (_, Cause::Lost) => unavailable("connection"),
            (_, Cause::Answer | Cause::Driver) => Error::new(
                ErrorKind::BackendFailure,
                "the database answered in an unexpected way",
            ),
        };
        error
            .with_fact("server", self.message.clone())
            .with_source(self)
    }

    /// The error of an attempt to connect: nothing about it is the caller's.
    pub(super) fn into_connecting(self) -> Error {
        unavailable("connect")
            .with_fact("server", self.message.clone())
            .with_source(self)
    }
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
        for (code, kind) in [
            (1, Kind::UniqueViolation),
            (2291, Kind::ForeignKeyViolation),
            (2292, Kind::ForeignKeyViolation),
            (1400, Kind::NotNullViolation),
            (1407, Kind::NotNullViolation),
            (2290, Kind::CheckViolation),
            (1402, Kind::CheckViolation),
            (8177, Kind::SerializationFailure),
            (60, Kind::SerializationFailure),
            (54, Kind::SerializationFailure),
            (1013, Kind::BackendTimeout),
            (942, Kind::UnknownTable),
            (904, Kind::UnknownField),
            (12899, Kind::InvalidValue),
            (1438, Kind::InvalidValue),
            (1722, Kind::InvalidValue),
            (1847, Kind::InvalidValue),
            (1861, Kind::InvalidValue),
            (32795, Kind::InvalidValue),
            (932, Kind::InvalidParameter),
            (1779, Kind::MethodNotAllowed),
            (1795, Kind::InvalidRequest),
            (1031, Kind::Forbidden),
            (16000, Kind::BackendUnavailable),
            (1017, Kind::BackendUnavailable),
            (28000, Kind::BackendUnavailable),
            (12541, Kind::BackendUnavailable),
            (12514, Kind::BackendUnavailable),
            (12170, Kind::BackendUnavailable),
            (3113, Kind::BackendUnavailable),
            (1033, Kind::BackendUnavailable),
            (1653, Kind::BackendUnavailable),
            (933, Kind::BackendFailure),
            (20000, Kind::RaisedByDatabase),
            (20999, Kind::RaisedByDatabase),
            (6550, Kind::InvalidRequest),
            (14551, Kind::NotImplemented),
            (955, Kind::SchemaConflict),
            (2449, Kind::SchemaConflict),
            (600, Kind::BackendFailure),
        ] {
            assert_eq!(classify(code).0, kind, "ORA-{code:05}");
        }
    }

    #[test]
    fn what_is_raised_stands_without_numbers_and_calls() {
        for (message, expected) in [
            (
                "ORA-20001: the month is closed\nORA-06512: at \"S.CLOSE\", line 4",
                "the month is closed",
            ),
            ("DPY-1: ORA-20001: a\nb", "a\nb"),
            ("other", "other"),
        ] {
            assert_eq!(raised(message, 20_001), expected);
        }
    }

    #[test]
    fn a_fault_says_whether_its_connection_goes_on() {
        let fault = |code, cause| Fault {
            code,
            cause,
            message: "ORA: SCOTT.SECRET".to_owned(),
        };
        assert!(fault(Some(1), Cause::Answer).is_answer());
        assert!(!fault(Some(3113), Cause::Answer).is_answer());
        assert!(fault(Some(3113), Cause::Answer).is_lost());
        assert!(!fault(Some(16000), Cause::Answer).is_answer());
        assert!(!fault(None, Cause::TimedOut).is_answer());
        assert!(fault(None, Cause::Lost).is_lost());
        for (cause, kind) in [
            (Cause::TimedOut, ErrorKind::BackendTimeout),
            (Cause::Lost, ErrorKind::BackendUnavailable),
            (Cause::Driver, ErrorKind::BackendFailure),
        ] {
            let error = fault(None, cause).into_error();
            assert_eq!(error.kind(), kind);
            assert!(!error.to_string().contains("SECRET"));
            assert!(format!("{error:?}").contains("SECRET"));
        }
    }
}
