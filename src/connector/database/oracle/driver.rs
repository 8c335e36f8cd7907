//! What the pool wants of a driver, and Oracle's own driver behind it. Everything here blocks.
//!
//! The driver is a beta, so little of it is used and all of that here: statements with values by position, rows, values
//! that an INSERT returns, and the end of a transaction. Dates are bound as texts.

use std::path::PathBuf;
use std::time::Duration;

use oracledb::{
    Config, Connection, DbType, Error as DriverError, ErrorKind as DriverErrorKind,
    OracleIntervalDS, OracleIntervalYM, OracleNumber, OracleTimestamp, Row, ToDbValue,
};

use super::error::{Cause, Fault};

/// Rows that one round trip brings.
const ROWS_AT_ONCE: u32 = 500;
/// Statements that a connection keeps prepared.
const STATEMENTS_KEPT: usize = 64;

/// A value that is bound.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Bound {
    /// NULL of any type.
    Null,
    /// A whole number.
    Whole(i64),
    /// An exact number as its digits.
    Number(String),
    /// A floating-point number.
    Double(f64),
    /// Text; never empty.
    Text(String),
    /// Bytes; never none.
    Bytes(Vec<u8>),
    /// A variable for what the statement returns.
    Variable(Variable),
}

/// The type of a variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Variable {
    /// An exact number.
    Number,
    /// A floating-point number.
    Double,
    /// Text of at most 4,000 bytes.
    Text,
    /// Bytes, at most 2,000.
    Bytes,
    /// A timestamp.
    Timestamp,
    /// A timestamp with a zone.
    TimestampTz,
}

/// A value of a row.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Cell {
    /// NULL, and every empty text.
    Null,
    /// A truth value, of Oracle 23 and newer.
    Truth(bool),
    /// An exact number as its digits, and how many of them its column keeps behind the point, if it says so.
    Number(String, Option<u8>),
    /// A double-precision number.
    Double(f64),
    /// A single-precision number.
    Single(f32),
    /// Text.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
    /// A date with a time, without a zone or in UTC.
    Moment(Moment),
    /// Days, hours, minutes, seconds and nanoseconds, all of one sign.
    DaysToSeconds(i32, i32, i32, i32, i32),
    /// Years and months, of one sign.
    YearsToMonths(i32, i32),
}

/// A date with a time of day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Moment {
    /// Year; negative ones are before the common era.
    pub(super) year: i32,
    /// Month, from 1.
    pub(super) month: u32,
    /// Day of the month, from 1.
    pub(super) day: u32,
    /// Seconds since midnight.
    pub(super) second: u32,
    /// Nanoseconds of the second.
    pub(super) nanosecond: u32,
    /// Whether it is in UTC, and not in no zone.
    pub(super) is_utc: bool,
}

/// What a statement without rows did.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Done {
    /// How many records it touched.
    pub(super) touched: u64,
    /// What its variables hold, for each record.
    pub(super) returned: Vec<Vec<Cell>>,
}

/// Whether a query goes on after a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// With the next row.
    More,
    /// Not at all.
    Stop,
}

/// Makes connections.
pub(super) trait Driver: Send + Sync + 'static {
    /// Connects and sets the session up.
    fn connect(&self) -> Result<Box<dyn Session>, Fault>;
}

/// A connection, used by one thread.
pub(super) trait Session {
    /// Runs a statement without rows.
    fn execute(&mut self, sql: &str, values: &[Bound]) -> Result<Done, Fault>;

    /// Runs a query; each row goes to `take`.
    fn query(
        &mut self,
        sql: &str,
        values: &[Bound],
        take: &mut dyn FnMut(Vec<Cell>) -> Next,
    ) -> Result<(), Fault>;

    /// Makes everything permanent.
    fn commit(&mut self) -> Result<(), Fault>;

    /// Undoes everything.
    fn rollback(&mut self) -> Result<(), Fault>;

    /// One round trip.
    fn ping(&mut self) -> Result<(), Fault>;
}

/// Oracle's own driver.
pub(super) struct Thin {
    pub(super) descriptor: String,
    pub(super) username: String,
    pub(super) password: crate::secret::Secret,
    pub(super) wallet: Option<PathBuf>,
    pub(super) wallet_password: Option<crate::secret::Secret>,
    pub(super) connect_timeout: Duration,
    pub(super) call_timeout: Duration,
    /// Run once on each new connection.
    pub(super) statements: Vec<String>,
}

impl Driver for Thin {
    fn connect(&self) -> Result<Box<dyn Session>, Fault> {
        // The driver takes the process's provider of TLS. A second call changes nothing.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let mut config = Config::default()
            .set_credentials(&self.username, self.password.expose())
            .set_stmtcachesize(STATEMENTS_KEPT)
            .set_transport_connect_timeout(Some(self.connect_timeout));
        if let Some(wallet) = &self.wallet {
            config = config.set_wallet_location(wallet.display().to_string());
        }
        if let Some(password) = &self.wallet_password {
            config = config.set_wallet_password(password.expose());
        }
        let config = config.set_connect_string(&self.descriptor).map_err(fault)?;
        let connection = oracledb::connect(config).map_err(fault)?;
        connection
            .set_call_timeout(Some(self.call_timeout))
            .map_err(fault)?;
        for statement in &self.statements {
            connection.execute(statement, &[]).map_err(fault)?;
        }
        Ok(Box::new(ThinSession(connection)))
    }
}

struct ThinSession(Connection);

impl Session for ThinSession {
    fn execute(&mut self, sql: &str, values: &[Bound]) -> Result<Done, Fault> {
        let values = native(values)?;
        let values: Vec<&dyn ToDbValue> = values.iter().map(AsRef::as_ref).collect();
        let mut result = self.0.execute(sql, &values).map_err(fault)?;
        let mut returned = result.returned_data();
        let out = result.out_bind_data();
        // A block has its variables apart from those of INSERT; without any, the row has no columns.
        if !out.columns().is_empty() {
            returned.push(out);
        }
        let returned = returned.iter().map(cells).collect::<Result<_, _>>()?;
        Ok(Done {
            touched: result.rows_affected(),
            returned,
        })
    }

    fn query(
        &mut self,
        sql: &str,
        values: &[Bound],
        take: &mut dyn FnMut(Vec<Cell>) -> Next,
    ) -> Result<(), Fault> {
        let values = native(values)?;
        let values: Vec<&dyn ToDbValue> = values.iter().map(AsRef::as_ref).collect();
        let statement = self
            .0
            .statement(sql)
            .and_then(|statement| {
                statement
                    .fetch_array_size(ROWS_AT_ONCE)
                    .prefetch_rows(ROWS_AT_ONCE)
                    .build()
            })
            .map_err(fault)?;
        for row in statement.query(&values).map_err(fault)? {
            if take(cells(&row.map_err(fault)?)?) == Next::Stop {
                break;
            }
        }
        Ok(())
    }

    fn commit(&mut self) -> Result<(), Fault> {
        self.0.commit().map_err(fault)
    }

    fn rollback(&mut self) -> Result<(), Fault> {
        self.0.rollback().map_err(fault)
    }

    fn ping(&mut self) -> Result<(), Fault> {
        self.0.ping().map_err(fault)
    }
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "it is what `map_err` hands over"
)]
fn fault(error: DriverError) -> Fault {
    let (code, cause) = match error.kind() {
        DriverErrorKind::DbError(answer) => (u32::try_from(answer.code()).ok(), Cause::Answer),
        DriverErrorKind::CallTimeoutExceeded => (None, Cause::TimedOut),
        DriverErrorKind::DeadConnection
        | DriverErrorKind::NotConnected
        | DriverErrorKind::UnableToRecover
        | DriverErrorKind::StreamOperation
        | DriverErrorKind::TlsOperation
        | DriverErrorKind::InvalidServiceName(..)
        | DriverErrorKind::InvalidSid(..)
        | DriverErrorKind::ListenerRefusedConnection(..)
        | DriverErrorKind::UnexpectedRefuse(_) => (None, Cause::Lost),
        _ => (None, Cause::Driver),
    };
    let message = error.to_string();
    Fault {
        code: code.map(|code| innermost(code, &message)),
        cause,
        message,
    }
}

/// The transaction was rolled back; the reason follows in the message.
const ROLLED_BACK: u32 = 2091;

/// The number that says why: a constraint that is checked by COMMIT reports that the transaction was rolled back, and
/// names itself in the next line.
fn innermost(code: u32, message: &str) -> u32 {
    if code != ROLLED_BACK {
        return code;
    }
    message
        .split("ORA-")
        .skip(1)
        .filter_map(|rest| rest.get(..5)?.parse().ok())
        .find(|number| *number != ROLLED_BACK)
        .unwrap_or(code)
}

/// Values as the driver binds them.
fn native(values: &[Bound]) -> Result<Vec<Box<dyn ToDbValue + '_>>, Fault> {
    values
        .iter()
        .map(|value| {
            Ok::<Box<dyn ToDbValue + '_>, Fault>(match value {
                Bound::Null => Box::new(oracledb::DB_TYPE_VARCHAR),
                Bound::Whole(number) => Box::new(*number),
                Bound::Number(digits) => Box::new(digits.parse::<OracleNumber>().map_err(fault)?),
                Bound::Double(number) => Box::new(*number),
                Bound::Text(text) => Box::new(text.as_str()),
                Bound::Bytes(bytes) => Box::new(bytes.as_slice()),
                Bound::Variable(variable) => {
                    let db_type: &'static DbType = match variable {
                        Variable::Number => oracledb::DB_TYPE_NUMBER,
                        Variable::Double => oracledb::DB_TYPE_BINARY_DOUBLE,
                        Variable::Text => oracledb::DB_TYPE_VARCHAR,
                        Variable::Bytes => oracledb::DB_TYPE_RAW,
                        Variable::Timestamp => oracledb::DB_TYPE_TIMESTAMP,
                        Variable::TimestampTz => oracledb::DB_TYPE_TIMESTAMP_TZ,
                    };
                    Box::new(db_type)
                }
            })
        })
        .collect()
}

/// The values of a row.
fn cells(row: &Row) -> Result<Vec<Cell>, Fault> {
    let columns = row.columns();
    columns
        .iter()
        .enumerate()
        .map(|(index, column)| {
            cell(row, index, column).map_err(|error| match fault(error) {
                Fault { code: None, .. } => Fault {
                    code: None,
                    cause: Cause::Driver,
                    message: format!("a value of type {} cannot be read", column.data_type()),
                },
                other => other,
            })
        })
        .collect()
}

fn cell(row: &Row, index: usize, column: &oracledb::Metadata) -> Result<Cell, DriverError> {
    let db_type = column.db_type();
    let is = |other: &'static DbType| db_type == other;
    Ok(
        if is(oracledb::DB_TYPE_NUMBER) || is(oracledb::DB_TYPE_BINARY_INTEGER) {
            let digits: Option<String> = row.get(index)?;
            // A column of NUMBER alone has the scale -127, and so has FLOAT.
            let scale = u8::try_from(column.scale())
                .ok()
                .filter(|_| column.precision() > 0);
            digits.map_or(Cell::Null, |digits| Cell::Number(digits, scale))
        } else if is(oracledb::DB_TYPE_BINARY_DOUBLE) {
            row.get::<Option<f64>>(index)?
                .map_or(Cell::Null, Cell::Double)
        } else if is(oracledb::DB_TYPE_BINARY_FLOAT) {
            row.get::<Option<f32>>(index)?
                .map_or(Cell::Null, Cell::Single)
        } else if is(oracledb::DB_TYPE_BOOLEAN) {
            row.get::<Option<bool>>(index)?
                .map_or(Cell::Null, Cell::Truth)
        } else if db_type.is_date_type() {
            row.get::<Option<OracleTimestamp>>(index)?
                .map_or(Cell::Null, |moment| Cell::Moment(Moment::of(&moment)))
        } else if db_type.is_binary_type() {
            row.get::<Option<Vec<u8>>>(index)?
                .map_or(Cell::Null, Cell::Bytes)
        } else if is(oracledb::DB_TYPE_INTERVAL_DS) {
            row.get::<Option<OracleIntervalDS>>(index)?
                .map_or(Cell::Null, |interval| {
                    Cell::DaysToSeconds(
                        interval.days(),
                        interval.hours().into(),
                        interval.minutes().into(),
                        interval.seconds().into(),
                        interval.nanoseconds(),
                    )
                })
        } else if is(oracledb::DB_TYPE_INTERVAL_YM) {
            row.get::<Option<OracleIntervalYM>>(index)?
                .map_or(Cell::Null, |interval| {
                    Cell::YearsToMonths(interval.years(), interval.months().into())
                })
        } else {
            row.get::<Option<String>>(index)?
                .map_or(Cell::Null, Cell::Text)
        },
    )
}

impl Moment {
    fn of(moment: &OracleTimestamp) -> Self {
        Self {
            year: moment.year().into(),
            month: moment.month().into(),
            day: moment.day().into(),
            second: u32::from(moment.hour()) * 3_600
                + u32::from(moment.minute()) * 60
                + u32::from(moment.second()),
            nanosecond: moment.nanoseconds(),
            is_utc: moment.is_utc(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_constraint_that_commit_checks_is_what_counts() {
        for (code, message, expected) in [
            (
                2091,
                "ORA-02091: transaction rolled back\nORA-02291: integrity constraint (S.FK) violated",
                2291,
            ),
            (2091, "ORA-02091: transaction rolled back", 2091),
            (1, "ORA-00001: unique constraint\nORA-06512: at line 1", 1),
        ] {
            assert_eq!(innermost(code, message), expected, "{message}");
        }
    }
}
