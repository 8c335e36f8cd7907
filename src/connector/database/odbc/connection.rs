//! One connection through a driver: how it is opened and how it runs statements. Everything here blocks, and everything
//! stays on the thread that opened the connection.

use std::sync::Arc;
use std::time::Duration;

use indexmap::IndexMap;
use odbc_api::handles::{AsStatementRef as _, SqlResult, Statement as _, StatementImpl};
use odbc_api::parameter::InputParameter;
use odbc_api::{
    ColumnDescription, Connection, ConnectionOptions, Cursor, CursorImpl, DataType, Preallocated,
    Prepared, ResultSetMetadata, environment,
};

use super::config::DialectName;
use super::error::{Cause, Failure, from_driver};
use super::value::{Guide, Reader, parameter};
use super::watch::Watch;
use crate::connector::database::catalog::Type;
use crate::connector::database::rows::RowWriter;
use crate::connector::database::sql::Statement;
use crate::connector::database::value::Scalar;
use crate::error::{Error, ErrorKind, Result};
use crate::secret::Secret;

/// Prepared statements kept for each connection.
const STATEMENTS_KEPT: usize = 64;
/// Columns of the widest result that is read; ODBC counts them in 16 bits.
const MAX_COLUMNS: usize = 4_096;

/// A text that comes back as it is only where statements may hold any letter.
const UNICODE: &str = "é\u{122}日😀";

/// How to open a connection.
pub(super) struct Settings {
    /// The connection string.
    pub(super) connection_string: Secret,
    /// The SQL that the database speaks.
    pub(super) dialect: DialectName,
    /// Longest wait for a connection.
    pub(super) connect_timeout: Duration,
    /// Longest time that one statement may run.
    pub(super) statement_timeout: Duration,
    /// SQL that is run once on each new connection.
    pub(super) statements: Vec<String>,
}

impl Settings {
    /// Opens a connection. Nothing was run on it yet.
    pub(super) fn connect(&self) -> Result<Connection<'static>, Failure> {
        let wrong = |error| from_driver(error, self.dialect);
        let options = ConnectionOptions {
            login_timeout_sec: u32::try_from(self.connect_timeout.as_secs()).ok(),
            packet_size: None,
        };
        environment()
            .map_err(wrong)?
            .connect_with_connection_string(self.connection_string.expose(), options)
            .map_err(wrong)
    }
}

/// What is prepared on a connection, and what is known of its results.
struct Kept<'c> {
    prepared: Prepared<StatementImpl<'c>>,
    /// How the columns of its result are fetched; none before it was run.
    guides: Option<Vec<Guide>>,
}

/// An open connection with what was prepared on it.
pub(super) struct Open<'c> {
    connection: &'c Connection<'static>,
    statements: IndexMap<Arc<str>, Kept<'c>>,
    reader: Reader,
    dialect: DialectName,
    statement_timeout: Duration,
    is_in_transaction: bool,
    /// Whether statements may hold more than ASCII; none before it was tried.
    takes_unicode: Option<bool>,
}

impl<'c> Open<'c> {
    /// Sets up a new connection's session.
    pub(super) fn new(
        connection: &'c Connection<'static>,
        settings: &Settings,
    ) -> Result<Self, Failure> {
        let open = Self {
            connection,
            statements: IndexMap::new(),
            reader: Reader::new(settings.dialect),
            dialect: settings.dialect,
            statement_timeout: settings.statement_timeout,
            is_in_transaction: false,
            takes_unicode: None,
        };
        for statement in settings.dialect.session() {
            open.command(statement)?;
        }
        for statement in &settings.statements {
            open.command(statement)?;
        }
        Ok(open)
    }

    /// Whether a transaction is open.
    pub(super) fn is_in_transaction(&self) -> bool {
        self.is_in_transaction
    }

    fn wrong(&self, error: odbc_api::Error) -> Failure {
        from_driver(error, self.dialect)
    }

    /// A new statement with its timeout.
    fn allocate(&self) -> Result<Preallocated<StatementImpl<'c>>, Failure> {
        let mut statement = self
            .connection
            .preallocate()
            .map_err(|error| self.wrong(error))?;
        // Not every driver has it; the deadline of the job holds in any case.
        let _ = statement.set_query_timeout_sec(self.timeout_seconds());
        Ok(statement)
    }

    fn timeout_seconds(&self) -> usize {
        usize::try_from(self.statement_timeout.as_secs())
            .unwrap_or(0)
            .max(1)
    }

    /// Runs a statement without values, and drops the rows that it may give.
    pub(super) fn command(&self, sql: &str) -> Result<(), Failure> {
        self.allocate()?
            .into_cursor(sql, ())
            .map(|cursor| drop(Closing(cursor)))
            .map_err(|error| self.wrong(error))
    }

    /// One cheap round trip.
    pub(super) fn probe(&mut self) -> Result<(), Failure> {
        if let Some(sql) = self.dialect.probe() {
            return self.command(sql);
        }
        // Every driver can look for a table that is not there.
        let mut statement = self.allocate()?;
        statement
            .tables_cursor("", "", "tidegate no such table", "TABLE")
            .map(|cursor| drop(Closing(Some(cursor))))
            .map_err(|error| from_driver(error, self.dialect))
    }

    /// Begins a transaction.
    pub(super) fn begin(&mut self) -> Result<(), Failure> {
        self.connection
            .set_autocommit(false)
            .map_err(|error| self.wrong(error))?;
        self.is_in_transaction = true;
        Ok(())
    }

    /// Makes the transaction permanent.
    pub(super) fn commit(&mut self) -> Result<(), Failure> {
        self.connection.commit().map_err(|error| {
            let failure = self.wrong(error);
            Failure {
                // What is not known to be written may be: the connection is not used again.
                cause: Cause::Lost,
                ..failure
            }
        })?;
        self.leave_transaction()
    }

    /// Undoes the transaction.
    pub(super) fn rollback(&mut self) -> Result<(), Failure> {
        self.connection
            .rollback()
            .map_err(|error| self.wrong(error))?;
        self.leave_transaction()
    }

    fn leave_transaction(&mut self) -> Result<(), Failure> {
        self.connection
            .set_autocommit(true)
            .map_err(|error| self.wrong(error))?;
        self.is_in_transaction = false;
        Ok(())
    }

    /// Runs one statement. Rows go to the writer, value by value, and are flushed when it asks for that. Gives the
    /// number of records written, or of rows read.
    ///
    /// With `stops_early`, what comes after a full page is not fetched; only statements that write nothing may.
    pub(super) fn run(
        &mut self,
        statement: &Statement,
        key: &[Scalar],
        rows: RowWriter,
        stops_early: bool,
        watch: &Watch,
    ) -> Result<(RowWriter, u64), Failure> {
        let parameters = statement
            .values(key)?
            .into_iter()
            .map(|value| parameter(value, self.dialect))
            .collect::<Result<Vec<_>>>()?;
        let known = self.statements.shift_remove(&statement.sql);
        let is_new = known.is_none();
        let mut kept = if let Some(kept) = known {
            kept
        } else {
            self.check_text(&statement.sql, watch)?;
            self.prepare(&statement.sql, parameters.len())?
        };
        let mut rows = Some(rows);
        let mut outcome = self.execute(
            &mut kept,
            statement,
            &parameters,
            &mut rows,
            stops_early,
            watch,
        );
        if let Err(failure) = &outcome
            && failure.cause == Cause::Stale
            && !is_new
            && rows.is_some()
        {
            kept = self.prepare(&statement.sql, parameters.len())?;
            outcome = self.execute(
                &mut kept,
                statement,
                &parameters,
                &mut rows,
                stops_early,
                watch,
            );
        }
        // A statement that failed is not kept: nobody knows its state.
        let done = outcome?;
        if self.statements.len() >= STATEMENTS_KEPT {
            self.statements.shift_remove_index(0);
        }
        self.statements.insert(Arc::clone(&statement.sql), kept);
        Ok(done)
    }

    /// An error if the driver would get another text than this one.
    ///
    /// For a driver without Unicode functions the driver manager makes bytes of a statement, and where it knows no
    /// better it drops the upper half of each character; a letter of a name would become a quote.
    fn check_text(&mut self, sql: &str, watch: &Watch) -> Result<(), Failure> {
        if sql.is_ascii() {
            return Ok(());
        }
        let takes_unicode = if let Some(known) = self.takes_unicode {
            known
        } else {
            let said = self.texts(&self.dialect.echo(UNICODE), 1, watch);
            let said = said.ok().and_then(|rows| rows.into_iter().next());
            let said = said.and_then(|row| row.into_iter().next()).flatten();
            let is_equal = said.as_deref().map(str::trim_end) == Some(UNICODE);
            *self.takes_unicode.insert(is_equal)
        };
        if takes_unicode {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::BackendFailure,
            "the ODBC driver takes ASCII alone in statements, and a name of the request has other letters",
        )
        .with_help("install a driver with Unicode functions, or give the table and its columns other names")
        .into())
    }

    fn prepare(&self, sql: &str, parameters: usize) -> Result<Kept<'c>, Failure> {
        let mut prepared = self
            .connection
            .prepare(sql)
            .map_err(|error| self.wrong(error))?;
        let _ = prepared.set_query_timeout_sec(self.timeout_seconds());
        // Drivers that cannot count are believed; the others would bind values to the wrong places.
        if let Ok(count) = prepared.num_params()
            && usize::from(count) != parameters
        {
            return Err(Error::internal(format!(
                "a statement with {parameters} values has {count} placeholders"
            ))
            .into());
        }
        Ok(Kept {
            prepared,
            guides: None,
        })
    }

    /// Executes what is prepared. `rows` is taken once the statement has begun to give rows.
    fn execute(
        &mut self,
        kept: &mut Kept<'c>,
        statement: &Statement,
        parameters: &[Box<dyn InputParameter>],
        rows: &mut Option<RowWriter>,
        stops_early: bool,
        watch: &Watch,
    ) -> Result<(RowWriter, u64), Failure> {
        let dialect = self.dialect;
        let wrong = |error| from_driver(error, dialect);
        let cursor = if parameters.is_empty() {
            kept.prepared.execute(())
        } else {
            kept.prepared.execute(parameters)
        };
        let taken = |rows: &mut Option<RowWriter>| {
            rows.take()
                .ok_or_else(|| Failure::from(Error::internal("the rows of a statement are gone")))
        };
        let Some(cursor) = cursor.map_err(wrong)? else {
            let count = kept.prepared.row_count().map_err(wrong)?;
            let count = count.and_then(|count| u64::try_from(count).ok());
            return Ok((taken(rows)?, count.unwrap_or(0)));
        };
        let mut closing = Closing(Some(cursor));
        let cursor = closing.cursor()?;
        if !statement.sql.starts_with("SELECT ") {
            // A write that touched nothing has columns, but no rows that could be fetched.
            let mut written = cursor.as_stmt_ref();
            if let SqlResult::Success(0) | SqlResult::SuccessWithInfo(0) = written.row_count() {
                return Ok((taken(rows)?, 0));
            }
        }
        let guides = match &kept.guides {
            Some(guides) => guides.clone(),
            None => guides_of(cursor, statement, dialect)?,
        };
        let mut writer = taken(rows)?;
        let mut count: u64 = 0;
        let mut is_full = false;
        while cursor.next_row().map_err(wrong)?.is_some() {
            watch.check()?;
            if is_full {
                continue;
            }
            if !writer.begin_row() {
                if stops_early {
                    break;
                }
                is_full = true;
                continue;
            }
            count = count.saturating_add(1);
            let mut number: u16 = 0;
            for guide in &guides {
                number = number.saturating_add(1);
                self.reader
                    .value(cursor, number, *guide, &mut |value| writer.value(value))?;
            }
            if writer.end_row() {
                watch.waiting(|| writer.flush_blocking())?;
            }
        }
        drop(closing);
        kept.guides = Some(guides);
        Ok((writer, count))
    }

    /// The rows of a query of the gateway's own, without values, as texts.
    pub(super) fn texts(
        &mut self,
        sql: &str,
        columns: u16,
        watch: &Watch,
    ) -> Result<Vec<Vec<Option<String>>>, Failure> {
        let cursor = self
            .allocate()?
            .into_cursor(sql, ())
            .map_err(|error| from_driver(error, self.dialect))?;
        match cursor {
            Some(mut cursor) => {
                all_texts(&mut self.reader, &mut cursor, columns, self.dialect, watch)
            }
            None => Ok(Vec::new()),
        }
    }

    /// The number that a query of the gateway's own gives.
    pub(super) fn number(&mut self, sql: &str, watch: &Watch) -> Result<Option<i64>, Failure> {
        let rows = self.texts(sql, 1, watch)?;
        let text = rows
            .into_iter()
            .next()
            .and_then(|row| row.into_iter().next());
        Ok(text.flatten().and_then(|text| text.trim().parse().ok()))
    }

    /// The rows of a catalogue function, as texts.
    pub(super) fn catalogue(
        &mut self,
        asked: &Asked<'_>,
        columns: u16,
        watch: &Watch,
    ) -> Result<Vec<Vec<Option<String>>>, Failure> {
        let dialect = self.dialect;
        let wrong = |error| from_driver(error, dialect);
        let mut statement = self.allocate()?;
        let cursor = match asked {
            Asked::Tables { catalog, schema } => {
                statement.tables_cursor(catalog, schema, "%", "TABLE,VIEW,BASE TABLE")
            }
            Asked::Columns { catalog, schema } => {
                statement.columns_cursor(catalog, schema, "%", "%")
            }
            Asked::PrimaryKey(table) => {
                statement.primary_keys_cursor(table.catalog, table.schema, table.name)
            }
            Asked::ForeignKeys(table) => statement.foreign_keys_cursor(
                "",
                "",
                "",
                table.catalog.unwrap_or(""),
                table.schema.unwrap_or(""),
                table.name,
            ),
        }
        .map_err(wrong)?;
        let mut closing = Closing(Some(cursor));
        all_texts(&mut self.reader, closing.cursor()?, columns, dialect, watch)
    }
}

/// Closes a cursor whatever the driver says of it. The library's own way ends the thread where there is none to close:
/// after an UPDATE … RETURNING that found nothing, PostgreSQL's driver has columns but no cursor.
struct Closing<S: odbc_api::handles::Statement>(Option<CursorImpl<S>>);

impl<S: odbc_api::handles::Statement> Closing<S> {
    fn cursor(&mut self) -> Result<&mut CursorImpl<S>, Failure> {
        self.0
            .as_mut()
            .ok_or_else(|| Error::internal("a cursor that was closed").into())
    }
}

impl<S: odbc_api::handles::Statement> Drop for Closing<S> {
    fn drop(&mut self) {
        if let Some(cursor) = self.0.take() {
            let _ = cursor.into_stmt().close_cursor();
        }
    }
}

/// A question to a catalogue function.
pub(super) enum Asked<'a> {
    /// `SQLTables`; patterns.
    Tables {
        /// The catalogue.
        catalog: &'a str,
        /// The schema.
        schema: &'a str,
    },
    /// `SQLColumns`; patterns.
    Columns {
        /// The catalogue.
        catalog: &'a str,
        /// The schema.
        schema: &'a str,
    },
    /// `SQLPrimaryKeys`
    PrimaryKey(AskedTable<'a>),
    /// `SQLForeignKeys`, of the table that holds them.
    ForeignKeys(AskedTable<'a>),
}

/// A table by its names.
#[derive(Clone, Copy)]
pub(super) struct AskedTable<'a> {
    /// The catalogue, where there is one.
    pub(super) catalog: Option<&'a str>,
    /// The schema, where there is one.
    pub(super) schema: Option<&'a str>,
    /// Its own name.
    pub(super) name: &'a str,
}

/// Most rows of a catalogue function that are read: columns of all tables.
const MAX_CATALOGUE_ROWS: usize = 2_000_000;

fn all_texts<S: odbc_api::handles::Statement>(
    reader: &mut Reader,
    cursor: &mut CursorImpl<S>,
    columns: u16,
    dialect: DialectName,
    watch: &Watch,
) -> Result<Vec<Vec<Option<String>>>, Failure> {
    let mut rows = Vec::new();
    // Drivers of ODBC 2 have fewer columns.
    let there = cursor
        .num_result_cols()
        .map_err(|error| from_driver(error, dialect))?;
    let there = u16::try_from(there).unwrap_or(0).min(columns);
    while cursor
        .next_row()
        .map_err(|error| from_driver(error, dialect))?
        .is_some()
    {
        watch.check()?;
        if rows.len() >= MAX_CATALOGUE_ROWS {
            return Err(Error::new(
                ErrorKind::BackendFailure,
                "the database has too many columns to be read",
            )
            .with_help("name a `schema`")
            .into());
        }
        let row = (1..=there)
            .map(|column| Ok(reader.text(cursor, column)?.map(str::to_owned)))
            .collect::<Result<Vec<_>, Failure>>()?;
        rows.push(row);
    }
    Ok(rows)
}

/// How the columns of a result are fetched.
fn guides_of<S: odbc_api::handles::Statement>(
    cursor: &mut CursorImpl<S>,
    statement: &Statement,
    dialect: DialectName,
) -> Result<Vec<Guide>, Failure> {
    let wrong = |error| from_driver(error, dialect);
    let count = cursor.num_result_cols().map_err(wrong)?;
    let count = usize::try_from(count).unwrap_or(0).min(MAX_COLUMNS);
    let mut guides = Vec::with_capacity(count);
    for index in 0..count {
        let number = u16::try_from(index.saturating_add(1)).unwrap_or(u16::MAX);
        let mut description = ColumnDescription::default();
        cursor
            .describe_col(number, &mut description)
            .map_err(wrong)?;
        let kind: Option<&Type> = match statement.kinds.get(index) {
            // An average; the driver of SQLite calls every expression a text.
            Some(None) if dialect == DialectName::Sqlite => Some(&Type::Decimal),
            Some(known) => known.as_ref(),
            None => statement.returned.get(index),
        };
        guides.push(Guide::of(kind, described(description.data_type), dialect));
    }
    Ok(guides)
}

/// ODBC 2 has other numbers for days, times and timestamps, which some drivers still give.
fn described(data_type: DataType) -> DataType {
    match data_type {
        DataType::Other {
            data_type,
            decimal_digits,
            ..
        } => match data_type.0 {
            9 => DataType::Date,
            10 => DataType::Time {
                precision: decimal_digits,
            },
            11 => DataType::Timestamp {
                precision: decimal_digits,
            },
            // SQL_SS_TIME2 and SQL_SS_TIMESTAMPOFFSET stay what they are: they are fetched as text.
            _ => DataType::Unknown,
        },
        other => other,
    }
}
