//! The errors of MySQL and MariaDB → kinds. What the server wrote stays in the facts and the source, for the log.

use mysql_async::{DriverError, Error as NativeError, ServerError};

use crate::connector::database::routine::RAISED_FACT;
use crate::error::{Error, ErrorKind};

/// What became of a statement that failed, as far as the connection and running it again are concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// The connection is gone, or is of no use any more.
    Lost,
    /// The server has given up the statement, and the whole transaction with it.
    Undone,
    /// The server has answered, and the connection goes on.
    Answered,
}

const UNAVAILABLE: &str = "the database is not available";
const NO_FIT: &str = "a value does not fit its column";
const COMPUTED: &str = "a field of the record is computed by the database and takes no other value";

/// The kind and the caller's text of an error number (MySQL manual, "Server Error Message Reference"; MariaDB manual,
/// "MariaDB Error Code Reference"; numbers from 1900 to 1999 and from 4000 on differ, and where both use one it means
/// the same here).
///
/// Texts name no column and no constraint: the caller's role may hide them. The log gets them as facts.
pub(super) fn classify(code: u16) -> (ErrorKind, &'static str) {
    match code {
        // Duplicate entries.
        1022 | 1062 | 1169 | 1586 | 1761 | 1762 | 1859 => (
            ErrorKind::UniqueViolation,
            "a record with this key already exists",
        ),
        1216 | 1217 | 1451 | 1452 => (
            ErrorKind::ForeignKeyViolation,
            "a foreign key of the table forbids this",
        ),
        // NULL, or no default.
        1048 | 1138 | 1263 | 1364 | 1566 => (
            ErrorKind::NotNullViolation,
            "a column that must have a value has none",
        ),
        // 1369: WITH CHECK OPTION of a view.
        1369 | 3819 | 4025 => (
            ErrorKind::CheckViolation,
            "a check of the table refuses the record",
        ),
        1142 | 1143 | 1227 | 1288 | 1370 | 1410 | 1471 => (
            ErrorKind::Forbidden,
            "the database does not permit this to the gateway's account",
        ),
        // 1020 is MariaDB's since 11.6 for rows that changed since the transaction began; 1412 and 1615 follow on
        // changes of tables.
        1020 | 1205 | 1213 | 1412 | 1613 | 1614 | 1615 | 3572 => (
            ErrorKind::SerializationFailure,
            "concurrent writes collided and nothing was written",
        ),
        1317 | 1969 | 3024 => (
            ErrorKind::BackendTimeout,
            "the database did not finish in time",
        ),
        // The statement was written for a catalogue that has changed. Whoever reads these kinds reads it anew.
        1051 | 1109 | 1146 | 1305 => (
            ErrorKind::UnknownTable,
            "a table of the request does not exist any more",
        ),
        1054 => (
            ErrorKind::UnknownField,
            "a field of the request does not exist any more",
        ),
        1906 | 3105 => (ErrorKind::InvalidValue, COMPUTED),
        // Changes of tables: names that are taken, keys that depend on each other or cannot be.
        1050
        | 1060
        | 1061
        | 1068
        | 1072
        | 1075
        | 1091
        | 1118
        | 1170
        | 1171
        | 1215
        | 1280
        | 1553
        | 1822
        | 1824..=1830
        | 1832..=1834
        | 3730
        | 3750
        | 3780
        | 3959 => (
            ErrorKind::SchemaConflict,
            "the change collides with other parts of the database",
        ),
        // Out of range, truncated, wrong texts, dates, spatial objects, JSON, and texts that no collation can compare.
        1264..=1267
        | 1270
        | 1271
        | 1292
        | 1300
        | 1365..=1367
        | 1406
        | 1411
        | 1416
        | 1441
        | 1525
        | 1690
        | 3037
        | 3055
        | 3064
        | 3140
        | 3141
        | 3144
        | 3146
        | 3156
        | 3516
        | 3548
        | 3616
        | 3617
        | 3643
        | 3731..=3733
        | 3903
        | 3988
        | 4038
        | 4078 => (ErrorKind::InvalidValue, NO_FIT),
        1390 => (
            ErrorKind::InvalidParameter,
            "the request has more values than the database takes at once",
        ),
        1153 => (
            ErrorKind::PayloadTooLarge,
            "a value is larger than the database takes",
        ),
        _ if is_unavailable(code) => (ErrorKind::BackendUnavailable, UNAVAILABLE),
        _ => (
            ErrorKind::BackendFailure,
            "the database could not carry out the request",
        ),
    }
}

/// Whether the server cannot serve this account or this session, whatever it is asked.
fn is_unavailable(code: u16) -> bool {
    matches!(
        code,
        // Disk full, out of memory, too many connections, handshakes, accounts and databases that are not there.
        1021 | 1037 | 1038 | 1040..=1045 | 1049 | 1114 | 1129 | 1130 | 1203 | 1226 | 1251
            // Shutdown and broken connections.
            | 1053 | 1077 | 1079 | 1080 | 1152 | 1154..=1161 | 1184 | 1194..=1196 | 1927 | 3168 | 3169 | 4031
            // Read-only servers: a failover has made a replica of this one, or is about to.
            | 1290 | 1792 | 1836 | 1874 | 3100 | 3101
            // Passwords that have expired, locked accounts, and transports that are not permitted.
            | 1820 | 1862 | 3118 | 3159 | 4151
    )
}

/// Whether it was raised by SIGNAL with the state for conditions of one's own (MySQL manual, "SIGNAL Statement").
fn is_raised(server: &ServerError) -> bool {
    server.code == 1644 || server.state == "45000"
}

/// What the caller should do instead, where that can be said.
fn help(code: u16) -> Option<&'static str> {
    match code {
        1906 | 3105 => Some("leave it out of the record"),
        1390 => Some("send fewer at a time"),
        _ => None,
    }
}

fn cause_of_code(code: u16) -> Cause {
    match code {
        1153 => Cause::Lost,
        1213 | 1613 | 1614 => Cause::Undone,
        _ if is_unavailable(code) => Cause::Lost,
        _ => Cause::Answered,
    }
}

/// What a failure means for the connection.
pub(super) fn cause(error: &NativeError) -> Cause {
    match error {
        NativeError::Server(server) => cause_of_code(server.code),
        // The driver refuses these before it has sent anything.
        NativeError::Driver(DriverError::StmtParamsNumberExceedsLimit { .. }) => Cause::Answered,
        NativeError::Driver(_)
        | NativeError::Io(_)
        | NativeError::Other(_)
        | NativeError::Url(_) => Cause::Lost,
    }
}

/// Whether it was the connection that failed, so that another one may do what this one could not.
pub(super) fn is_broken(error: &NativeError) -> bool {
    match error {
        NativeError::Server(server) => matches!(
            server.code,
            1053 | 1077 | 1079 | 1080 | 1152 | 1154..=1161 | 1927 | 3169 | 4031
        ),
        NativeError::Driver(DriverError::ConnectionClosed) | NativeError::Io(_) => true,
        _ => false,
    }
}

/// Whether preparing the statement again may help: 1615 says so, and 1243 says that whoever stands between has
/// forgotten it.
pub(super) fn is_stale(error: &NativeError) -> bool {
    matches!(error, NativeError::Server(server) if matches!(server.code, 1243 | 1615))
}

/// The error for callers and log.
pub(super) fn from_driver(error: NativeError) -> Error {
    match &error {
        NativeError::Server(server) => {
            let (kind, message) = classify(server.code);
            let mut refused = if is_raised(server) {
                Error::new(
                    ErrorKind::RaisedByDatabase,
                    "a routine or a trigger of the database refuses the request",
                )
                .with_fact(RAISED_FACT, server.message.clone())
            } else {
                Error::new(kind, message)
            };
            if let Some(help) = help(server.code) {
                refused = refused.with_help(help);
            }
            with_server_facts(refused, server).with_source(error)
        }
        NativeError::Driver(DriverError::StmtParamsNumberExceedsLimit { .. }) => {
            let (kind, message) = classify(1390);
            Error::new(kind, message)
                .with_help("send fewer at a time")
                .with_source(error)
        }
        NativeError::Driver(DriverError::PacketTooLarge) => {
            let (kind, message) = classify(1153);
            Error::new(kind, message).with_source(error)
        }
        NativeError::Io(_) | NativeError::Driver(DriverError::ConnectionClosed) => {
            unavailable("connection").with_source(error)
        }
        NativeError::Driver(_) | NativeError::Other(_) | NativeError::Url(_) => Error::new(
            ErrorKind::BackendFailure,
            "the database could not carry out the request",
        )
        .with_source(error),
    }
}

/// The error of an attempt to connect: nothing about it is the caller's.
pub(super) fn from_connecting(error: NativeError) -> Error {
    let mut unavailable = unavailable("connect");
    if let NativeError::Server(server) = &error {
        unavailable = with_server_facts(unavailable, server);
    }
    unavailable.with_source(error)
}

fn with_server_facts(error: Error, server: &ServerError) -> Error {
    error
        .with_fact("code", server.code.to_string())
        .with_fact("sqlstate", server.state.clone())
        .with_fact("server", server.message.clone())
}

/// The database cannot be reached; `step` says to the log what was being done.
pub(super) fn unavailable(step: &'static str) -> Error {
    Error::new(ErrorKind::BackendUnavailable, UNAVAILABLE).with_fact("step", step)
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
    fn every_number_that_callers_can_cause_has_its_kind() {
        use ErrorKind as Kind;
        for (code, kind, cause) in [
            (1062, Kind::UniqueViolation, Cause::Answered),
            (1586, Kind::UniqueViolation, Cause::Answered),
            (1451, Kind::ForeignKeyViolation, Cause::Answered),
            (1452, Kind::ForeignKeyViolation, Cause::Answered),
            (1048, Kind::NotNullViolation, Cause::Answered),
            (1364, Kind::NotNullViolation, Cause::Answered),
            (3819, Kind::CheckViolation, Cause::Answered),
            (4025, Kind::CheckViolation, Cause::Answered),
            (1369, Kind::CheckViolation, Cause::Answered),
            (1142, Kind::Forbidden, Cause::Answered),
            (1143, Kind::Forbidden, Cause::Answered),
            (1205, Kind::SerializationFailure, Cause::Answered),
            (1213, Kind::SerializationFailure, Cause::Undone),
            (1020, Kind::SerializationFailure, Cause::Answered),
            (1615, Kind::SerializationFailure, Cause::Answered),
            (3024, Kind::BackendTimeout, Cause::Answered),
            (1969, Kind::BackendTimeout, Cause::Answered),
            (1317, Kind::BackendTimeout, Cause::Answered),
            (1146, Kind::UnknownTable, Cause::Answered),
            (1054, Kind::UnknownField, Cause::Answered),
            (1264, Kind::InvalidValue, Cause::Answered),
            (1265, Kind::InvalidValue, Cause::Answered),
            (1292, Kind::InvalidValue, Cause::Answered),
            (1366, Kind::InvalidValue, Cause::Answered),
            (1406, Kind::InvalidValue, Cause::Answered),
            (3140, Kind::InvalidValue, Cause::Answered),
            (3105, Kind::InvalidValue, Cause::Answered),
            (1906, Kind::InvalidValue, Cause::Answered),
            (1390, Kind::InvalidParameter, Cause::Answered),
            (1153, Kind::PayloadTooLarge, Cause::Lost),
            (1040, Kind::BackendUnavailable, Cause::Lost),
            (1045, Kind::BackendUnavailable, Cause::Lost),
            (1049, Kind::BackendUnavailable, Cause::Lost),
            (1053, Kind::BackendUnavailable, Cause::Lost),
            (1114, Kind::BackendUnavailable, Cause::Lost),
            (1290, Kind::BackendUnavailable, Cause::Lost),
            (1836, Kind::BackendUnavailable, Cause::Lost),
            (1927, Kind::BackendUnavailable, Cause::Lost),
            (1064, Kind::BackendFailure, Cause::Answered),
            (1105, Kind::BackendFailure, Cause::Answered),
            (0, Kind::BackendFailure, Cause::Answered),
        ] {
            assert_eq!(classify(code).0, kind, "{code}");
            assert_eq!(cause_of_code(code), cause, "{code}");
        }
    }

    #[test]
    fn the_words_of_the_server_are_for_the_log_only() {
        let error = from_driver(NativeError::Server(ServerError {
            code: 1062,
            message: "Duplicate entry 'hunter2' for key 'person.email'".to_owned(),
            state: "23000".to_owned(),
        }));
        assert_eq!(error.message(), "a record with this key already exists");
        assert_eq!(error.help(), None);
    }
}
