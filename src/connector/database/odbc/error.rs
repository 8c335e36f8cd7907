//! SQLSTATE, native codes and, where a driver has nothing better, texts → kinds of errors. Pure.
//!
//! What a driver wrote stays in the facts and the source, for the log.

use std::fmt;

use odbc_api::handles::Record;

use super::config::DialectName;
use crate::error::{Error, ErrorKind};

/// A failed call of a driver.
#[derive(Debug)]
pub(super) struct Failure {
    /// What callers and the log see.
    pub(super) error: Error,
    /// What it means for the connection and its statements.
    pub(super) cause: Cause,
}

/// What a failure means for the connection and its statements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// The connection is gone, or nobody knows.
    Lost,
    /// The prepared statement is no longer one; it did not run. Preparing it again may help.
    Stale,
    /// The driver or the product has no such thing.
    Lacking,
    /// Anything else.
    Other,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self {
            error,
            cause: Cause::Other,
        }
    }
}

/// What a driver wrote, for the log.
#[derive(Debug)]
struct DriverMessage(String);

impl fmt::Display for DriverMessage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for DriverMessage {}

/// The error of a driver.
pub(super) fn from_driver(error: odbc_api::Error, dialect: DialectName) -> Failure {
    use odbc_api::Error as Driver;
    match error {
        Driver::Diagnostics { record, function } => from_record(&record, function, dialect),
        Driver::UnableToRepresentNull(record)
        | Driver::UnsupportedOdbcApiVersion(record)
        | Driver::OracleOdbcDriverDoesNotSupport64Bit(record)
        | Driver::InvalidRowArraySize { record, .. } => from_record(&record, "", dialect),
        Driver::FailedAllocatingEnvironment => Failure {
            error: Error::new(
                ErrorKind::BackendUnavailable,
                "the ODBC driver manager cannot be used",
            ),
            cause: Cause::Lost,
        },
        other => Failure {
            error: Error::new(
                ErrorKind::BackendFailure,
                "the database could not carry out the request",
            )
            .with_source(DriverMessage(other.to_string())),
            cause: Cause::Lost,
        },
    }
}

fn from_record(record: &Record, function: &str, dialect: DialectName) -> Failure {
    // Never by way of the record's own printing, which ends the thread where a driver's UTF-16 is broken.
    let message = String::from_utf16_lossy(&record.message);
    let mut state = record.state.0.map(char::from).iter().collect::<String>();
    if state == "01000" && function == "SQLDriverConnect" {
        // unixODBC's "Can't open lib": a library that is not there or cannot be loaded, which is IM003 elsewhere.
        "IM003".clone_into(&mut state);
    }
    let (kind, text) = classify(dialect, &state, record.native_error, &message);
    let mut error = Error::new(kind, text)
        .with_fact("sqlstate", state.clone())
        .with_fact("native_code", record.native_error.to_string());
    if !function.is_empty() {
        error = error.with_fact("odbc_function", function.to_owned());
    }
    if let Some(help) = help(&state) {
        error = error.with_help(help);
    }
    Failure {
        error: error.with_source(DriverMessage(message)),
        cause: cause(&state),
    }
}

/// What a failure means for the connection and its statements.
fn cause(state: &str) -> Cause {
    match state {
        // 0A000: PostgreSQL's "cached plan must not change result type"; the others: the driver forgot the statement,
        // as some do at the end of a transaction.
        "0A000" | "26000" | "HY007" | "HY010" => Cause::Stale,
        "IM001" | "HYC00" | "42000" | "42601" | "42S02" | "42P01" | "42704" => Cause::Lacking,
        "57P01" | "57P02" | "57P03" | "IM006" | "HYT01" => Cause::Lost,
        // A value that PostgreSQL cannot read as what it is compared with; the connection goes on.
        "08P01" => Cause::Other,
        _ if state.starts_with("08") => Cause::Lost,
        _ => Cause::Other,
    }
}

/// What the owner of the gateway should do.
fn help(state: &str) -> Option<&'static str> {
    match state {
        "IM002" | "IM003" | "IM004" | "IM005" => Some(
            "install the driver and list it in odbcinst.ini, or write the path of its library as `driver`",
        ),
        _ => None,
    }
}

/// The kinds that many codes share, with their texts. Texts name no column and no constraint: the caller's role may
/// hide them.
const UNIQUE: (ErrorKind, &str) = (
    ErrorKind::UniqueViolation,
    "a record with this key already exists",
);
const FOREIGN_KEY: (ErrorKind, &str) = (
    ErrorKind::ForeignKeyViolation,
    "a foreign key of the table forbids this",
);
const NOT_NULL: (ErrorKind, &str) = (
    ErrorKind::NotNullViolation,
    "a column that must have a value has none",
);
const CHECK: (ErrorKind, &str) = (
    ErrorKind::CheckViolation,
    "a check of the table refuses the record",
);
const COLLISION: (ErrorKind, &str) = (
    ErrorKind::SerializationFailure,
    "concurrent writes collided and nothing was written",
);
const SLOW: (ErrorKind, &str) = (
    ErrorKind::BackendTimeout,
    "the database did not finish in time",
);
const NO_TABLE: (ErrorKind, &str) = (
    ErrorKind::UnknownTable,
    "a table of the request does not exist any more",
);
const NO_COLUMN: (ErrorKind, &str) = (
    ErrorKind::UnknownField,
    "a field of the request does not exist any more",
);
const WRONG_VALUE: (ErrorKind, &str) = (ErrorKind::InvalidValue, "a value does not fit its column");
const NUMBERED: (ErrorKind, &str) = (
    ErrorKind::InvalidValue,
    "a field of the record is numbered or computed by the database and takes no other value",
);
const TOO_MANY: (ErrorKind, &str) = (
    ErrorKind::InvalidRequest,
    "the request names too many records or values at once",
);
const RAISED: (ErrorKind, &str) = (
    ErrorKind::RaisedByDatabase,
    "a routine or a trigger of the database refuses the request",
);
const FORBIDDEN: (ErrorKind, &str) = (
    ErrorKind::Forbidden,
    "the database does not permit this to the gateway's account",
);
const READ_ONLY: (ErrorKind, &str) = (ErrorKind::Forbidden, "the database is read-only");
const UNAVAILABLE: (ErrorKind, &str) = (
    ErrorKind::BackendUnavailable,
    "the database is not available",
);
const NO_DRIVER: (ErrorKind, &str) = (
    ErrorKind::BackendUnavailable,
    "the ODBC driver or data source of the service is not there or cannot be loaded",
);
const FAILURE: (ErrorKind, &str) = (
    ErrorKind::BackendFailure,
    "the database could not carry out the request",
);

/// The kind and the caller's text: by the product's own code first, then by SQLSTATE.
pub(super) fn classify(
    dialect: DialectName,
    state: &str,
    native: i32,
    message: &str,
) -> (ErrorKind, &'static str) {
    by_native_code(dialect, state, native, message).unwrap_or_else(|| by_state(state))
}

/// Codes of products whose drivers have only a general SQLSTATE for them.
fn by_native_code(
    dialect: DialectName,
    state: &str,
    native: i32,
    message: &str,
) -> Option<(ErrorKind, &'static str)> {
    match dialect {
        // The driver gives the primary result code alone, so only SQLite's texts tell constraints apart
        // (https://www.sqlite.org/rescode.html).
        DialectName::Sqlite => Some(match native {
            _ if message.contains("UNIQUE constraint failed") => UNIQUE,
            _ if message.contains("FOREIGN KEY constraint failed") => FOREIGN_KEY,
            _ if message.contains("NOT NULL constraint failed") => NOT_NULL,
            _ if message.contains("CHECK constraint failed") => CHECK,
            _ if message.contains("no such table") => NO_TABLE,
            _ if message.contains("no such column") => NO_COLUMN,
            19 => CHECK,
            5 | 6 => COLLISION,
            8 => READ_ONLY,
            9 => SLOW,
            18 | 20 => WRONG_VALUE,
            10 | 11 | 13 | 14 | 26 => UNAVAILABLE,
            _ => return None,
        }),
        // MySQL manual, "Server Error Message Reference"; MariaDB manual, "MariaDB Error Code Reference".
        DialectName::MySql => Some(match native {
            1022 | 1062 | 1169 | 1586 | 1859 => UNIQUE,
            1216 | 1217 | 1451 | 1452 => FOREIGN_KEY,
            1048 | 1263 | 1364 | 1566 => NOT_NULL,
            1369 | 3819 | 4025 => CHECK,
            1020 | 1205 | 1213 | 1412 | 1613..=1615 | 3572 => COLLISION,
            1317 | 1969 | 3024 => SLOW,
            1051 | 1109 | 1146 => NO_TABLE,
            1054 => NO_COLUMN,
            1142 | 1143 | 1227 | 1370 => FORBIDDEN,
            1290 | 1792 | 1836 => READ_ONLY,
            1264..=1267
            | 1292
            | 1300
            | 1365..=1367
            | 1406
            | 1411
            | 1416
            | 1525
            | 1690
            | 3140..=3146
            | 4038 => WRONG_VALUE,
            1040 | 1044 | 1045 | 1049 | 1053 | 1129 | 1130 | 1203 | 1226 | 2002 | 2003 | 2006
            | 2013 => UNAVAILABLE,
            _ => return None,
        }),
        // "SQLCODE and SQLSTATE codes" of Db2: -803 duplicate, -530/-531/-532 foreign keys, -407 null, -545 check,
        // -911/-913 deadlock or timeout, -204 table, -206 column, -551 privilege.
        DialectName::Db2 => Some(match native {
            -803 => UNIQUE,
            -532..=-530 => FOREIGN_KEY,
            -407 => NOT_NULL,
            -545 => CHECK,
            -911 | -913 => COLLISION,
            -204 => NO_TABLE,
            -206 => NO_COLUMN,
            -551 => FORBIDDEN,
            _ => return None,
        }),
        // "Snowflake error codes": constraints but NOT NULL are not enforced.
        DialectName::Snowflake => Some(match native {
            100_072 => NOT_NULL,
            2_003 => NO_TABLE,
            904 => NO_COLUMN,
            604 | 630 => SLOW,
            3_001 => FORBIDDEN,
            _ => return None,
        }),
        // "Database Engine events and errors"; 547 stands for foreign keys and checks, and the session is English.
        DialectName::SqlServer => Some(match native {
            2601 | 2627 => UNIQUE,
            547 if !message.contains("CHECK constraint") => FOREIGN_KEY,
            515 => NOT_NULL,
            547 | 550 | 33_504 => CHECK,
            1205 | 1222 | 3960 | 3961 => COLLISION,
            208 => NO_TABLE,
            207 => NO_COLUMN,
            229 | 230 | 262 | 916 => FORBIDDEN,
            3906 => READ_ONLY,
            271..=273 | 544 | 8102 => NUMBERED,
            220 | 241 | 242 | 245 | 248 | 2628 | 8114 | 8115 | 8152 | 8169 => WRONG_VALUE,
            8003 | 8623 | 8632 => TOO_MANY,
            4060 | 18_450..=18_488 | 40_197 | 40_501 | 40_613 => UNAVAILABLE,
            _ if native >= 50_000 => RAISED,
            _ => return None,
        }),
        // "Database Error Messages": the number of `ORA-…`.
        DialectName::Oracle => Some(match native {
            1 => UNIQUE,
            2266 | 2291 | 2292 => FOREIGN_KEY,
            1400 | 1407 => NOT_NULL,
            1402 | 2290 | 28_115 => CHECK,
            54 | 60 | 4020 | 8177 | 30_006 => COLLISION,
            1013 => SLOW,
            942 | 4043 | 8103 => NO_TABLE,
            904 => NO_COLUMN,
            1031 => FORBIDDEN,
            16_000 => READ_ONLY,
            32_795 | 32_796 | 54_013 => NUMBERED,
            1426 | 1438 | 1461 | 1722 | 1830 | 1839..=1847 | 1858 | 1861 | 12_899 => WRONG_VALUE,
            1017 | 1033 | 1034 | 1089 | 3113 | 3114 | 3135 | 12_514 | 12_541 | 12_545 | 28_000 => {
                UNAVAILABLE
            }
            20_000..=20_999 => RAISED,
            _ => return None,
        }),
        // Firebird 3 Language Reference, appendix B: SQLCODE beside SQLSTATE 23000 and 42000.
        DialectName::Firebird => Some(match native {
            -803 => UNIQUE,
            -530 => FOREIGN_KEY,
            -625 => NOT_NULL,
            -297 => CHECK,
            -913 => COLLISION,
            -551 => FORBIDDEN,
            _ if state == "23000" && message.contains("violation of PRIMARY or UNIQUE KEY") => {
                UNIQUE
            }
            _ if state == "23000" && message.contains("FOREIGN KEY constraint") => FOREIGN_KEY,
            _ if state == "23000" && message.contains("CHECK constraint") => CHECK,
            _ if message.contains("*** null ***") => NOT_NULL,
            _ => return None,
        }),
        DialectName::PostgreSql => match state {
            "08P01" => Some(WRONG_VALUE),
            // One INSERT … ON CONFLICT that meets a record twice.
            "21000" => Some(UNIQUE),
            _ => None,
        },
        DialectName::Ansi => None,
    }
}

/// The kind of an SQLSTATE: SQL:2016 part 2 table 38, ODBC Programmer's Reference appendix A, and the states that
/// PostgreSQL and Db2 add.
fn by_state(state: &str) -> (ErrorKind, &'static str) {
    match state {
        "23505" | "23P01" => UNIQUE,
        "23503" | "23001" | "23504" => FOREIGN_KEY,
        "23502" => NOT_NULL,
        "23513" | "23514" | "44000" => CHECK,
        "23000" => (
            ErrorKind::CheckViolation,
            "a constraint of the table refuses the record",
        ),
        "25006" => READ_ONLY,
        "42501" => FORBIDDEN,
        "40001" | "40P01" | "55P03" | "57033" => COLLISION,
        "57014" | "25P03" | "25P04" | "HYT00" | "HYT01" | "HY008" => SLOW,
        "42S02" | "42P01" | "3F000" | "42704" => NO_TABLE,
        "42S22" | "42703" => NO_COLUMN,
        "428C9" => NUMBERED,
        "42804" | "42846" | "42P18" | "07006" | "HY003" | "HY004" => WRONG_VALUE,
        "IM002" | "IM003" | "IM004" | "IM005" | "IM012" | "IM014" => NO_DRIVER,
        "IM001" | "HYC00" => (
            ErrorKind::BackendFailure,
            "the ODBC driver of the service cannot do this",
        ),
        "HY001" | "HY013" => (ErrorKind::Overloaded, "the database is out of memory"),
        "3D000" => UNAVAILABLE,
        _ if state.starts_with("22") => WRONG_VALUE,
        _ if state.starts_with("23") => CHECK,
        _ if state.starts_with("40") => COLLISION,
        _ if ["08", "28", "53", "57P"]
            .iter()
            .any(|class| state.starts_with(class)) =>
        {
            UNAVAILABLE
        }
        _ => FAILURE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_a_caller_can_meet_has_its_kind() {
        use DialectName::{
            Ansi, Db2, Firebird, MySql, Oracle, PostgreSql, Snowflake, SqlServer, Sqlite,
        };
        use ErrorKind::{
            BackendFailure, BackendTimeout, BackendUnavailable, CheckViolation, Forbidden,
            ForeignKeyViolation, InvalidValue, NotNullViolation, RaisedByDatabase,
            SerializationFailure, UniqueViolation, UnknownField, UnknownTable,
        };
        for (dialect, state, native, message, kind) in [
            (PostgreSql, "23505", 1, "", UniqueViolation),
            (PostgreSql, "23503", 1, "", ForeignKeyViolation),
            (PostgreSql, "23502", 1, "", NotNullViolation),
            (PostgreSql, "23514", 1, "", CheckViolation),
            (PostgreSql, "40001", 1, "", SerializationFailure),
            (PostgreSql, "40P01", 1, "", SerializationFailure),
            (PostgreSql, "57014", 1, "", BackendTimeout),
            (PostgreSql, "08P01", 1, "", InvalidValue),
            (PostgreSql, "21000", 1, "", UniqueViolation),
            (PostgreSql, "42501", 1, "", Forbidden),
            (PostgreSql, "22003", 1, "", InvalidValue),
            (PostgreSql, "42P01", 1, "", UnknownTable),
            (PostgreSql, "57P01", 1, "", BackendUnavailable),
            (Ansi, "23000", 0, "", CheckViolation),
            (Ansi, "25006", 0, "", Forbidden),
            (Ansi, "08001", 0, "", BackendUnavailable),
            (Ansi, "08S01", 0, "", BackendUnavailable),
            (Ansi, "28000", 0, "", BackendUnavailable),
            (Ansi, "42S02", 0, "", UnknownTable),
            (Ansi, "42S22", 0, "", UnknownField),
            (Ansi, "HYT00", 0, "", BackendTimeout),
            (Ansi, "HYT01", 0, "", BackendTimeout),
            (Ansi, "IM002", 0, "", BackendUnavailable),
            (Ansi, "IM003", 0, "", BackendUnavailable),
            (Ansi, "HY000", 0, "", BackendFailure),
            (
                Sqlite,
                "HY000",
                19,
                "UNIQUE constraint failed: a.b (19)",
                UniqueViolation,
            ),
            (
                Sqlite,
                "HY000",
                19,
                "FOREIGN KEY constraint failed (19)",
                ForeignKeyViolation,
            ),
            (
                Sqlite,
                "HY000",
                19,
                "NOT NULL constraint failed: a.b (19)",
                NotNullViolation,
            ),
            (
                Sqlite,
                "HY000",
                19,
                "CHECK constraint failed: c (19)",
                CheckViolation,
            ),
            (
                Sqlite,
                "HY000",
                5,
                "database is locked (5)",
                SerializationFailure,
            ),
            (Sqlite, "HY000", 1, "no such table: a (1)", UnknownTable),
            (Sqlite, "HY000", 8, "attempt to write", Forbidden),
            (MySql, "23000", 1062, "", UniqueViolation),
            (MySql, "23000", 1452, "", ForeignKeyViolation),
            (MySql, "23000", 1048, "", NotNullViolation),
            (MySql, "HY000", 3819, "", CheckViolation),
            (MySql, "23000", 4025, "", CheckViolation),
            (MySql, "40001", 1213, "", SerializationFailure),
            (MySql, "HY000", 1205, "", SerializationFailure),
            (MySql, "42S02", 1146, "", UnknownTable),
            (MySql, "08S01", 2006, "", BackendUnavailable),
            (MySql, "HY000", 1290, "", Forbidden),
            (Db2, "23505", -803, "", UniqueViolation),
            (Db2, "23503", -530, "", ForeignKeyViolation),
            (Db2, "40001", -911, "", SerializationFailure),
            (Db2, "42S02", -204, "", UnknownTable),
            (Firebird, "23000", -803, "", UniqueViolation),
            (Firebird, "23000", -530, "", ForeignKeyViolation),
            (
                Firebird,
                "23000",
                335_544_665,
                "violation of PRIMARY or UNIQUE KEY constraint \"X\"",
                UniqueViolation,
            ),
            (Firebird, "40001", -913, "", SerializationFailure),
            (Snowflake, "22000", 100_072, "", NotNullViolation),
            (Snowflake, "42S02", 2_003, "", UnknownTable),
            (SqlServer, "23000", 2627, "", UniqueViolation),
            (SqlServer, "23000", 2601, "", UniqueViolation),
            (
                SqlServer,
                "23000",
                547,
                "conflicted with the REFERENCE constraint",
                ForeignKeyViolation,
            ),
            (
                SqlServer,
                "23000",
                547,
                "conflicted with the CHECK constraint",
                CheckViolation,
            ),
            (SqlServer, "23000", 515, "", NotNullViolation),
            (SqlServer, "23000", 544, "", InvalidValue),
            (SqlServer, "40001", 1205, "", SerializationFailure),
            (SqlServer, "HY000", 3960, "", SerializationFailure),
            (SqlServer, "25000", 3906, "", Forbidden),
            (SqlServer, "42000", 50_001, "", RaisedByDatabase),
            (Oracle, "23000", 1, "", UniqueViolation),
            (Oracle, "23000", 2291, "", ForeignKeyViolation),
            (Oracle, "23000", 2292, "", ForeignKeyViolation),
            (Oracle, "23000", 1400, "", NotNullViolation),
            (Oracle, "23000", 2290, "", CheckViolation),
            (Oracle, "HY000", 8177, "", SerializationFailure),
            (Oracle, "40001", 60, "", SerializationFailure),
            (Oracle, "HY000", 16_000, "", Forbidden),
            (Oracle, "HY000", 20_001, "", RaisedByDatabase),
        ] {
            assert_eq!(
                classify(dialect, state, native, message).0,
                kind,
                "{dialect:?} {state} {native} {message}"
            );
        }
    }

    #[test]
    fn a_missing_driver_is_said_to_be_missing() {
        let record = Record {
            state: odbc_api::handles::State(*b"IM002"),
            native_error: 0,
            message: "[unixODBC][Driver Manager]secret path"
                .encode_utf16()
                .collect(),
        };
        let failure = from_record(&record, "SQLDriverConnect", DialectName::Ansi);
        assert_eq!(failure.cause, Cause::Other);
        assert!(failure.error.message().contains("driver"));
        assert!(
            failure
                .error
                .help()
                .is_some_and(|help| help.contains("odbcinst.ini"))
        );
        assert!(!failure.error.to_string().contains("secret"));
        assert!(format!("{:?}", failure.error).contains("secret path"));
    }
}
