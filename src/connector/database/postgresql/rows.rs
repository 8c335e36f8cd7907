//! Rows of the driver → the row writer, and what can go wrong on the way.

use tokio_postgres::Row;

use super::decode::{Decoder, Raw, Style};
use super::error::{Cause, cause, from_driver, from_read_only, is_read_only};
use crate::connector::database::rows::RowWriter;
use crate::error::{Error, ErrorKind, Result};

/// A failure of a statement: the driver's, or one of ours.
pub(super) enum Failure {
    /// The driver's, or the server's through it.
    Driver(tokio_postgres::Error),
    /// Ours: a value that cannot be read, a reader that went away, a deadline.
    Ours(Error),
}

impl Failure {
    /// Whether the connection is gone.
    pub(super) fn is_lost(&self) -> bool {
        matches!(self, Self::Driver(error) if cause(error) == Cause::Lost)
    }

    /// Whether preparing the statement again may help.
    pub(super) fn is_stale(&self) -> bool {
        matches!(self, Self::Driver(error) if cause(error) == Cause::Stale)
    }

    /// Whether the server has ended the statement, so that the connection is ready for the next.
    pub(super) fn is_answer(&self) -> bool {
        matches!(self, Self::Driver(error) if error.as_db_error().is_some() && cause(error) != Cause::Lost)
    }

    /// The same failure in a transaction that began in order to write: a server that has turned read-only is away, and
    /// so is the connection to it.
    pub(super) fn while_writing(self) -> Self {
        match self {
            Self::Driver(error) if is_read_only(&error) => Self::Ours(from_read_only(error)),
            other => other,
        }
    }

    /// The error for the caller.
    pub(super) fn into_error(self) -> Error {
        match self {
            Self::Driver(error) => from_driver(error),
            Self::Ours(error) => error,
        }
    }
}

impl From<tokio_postgres::Error> for Failure {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Driver(error)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Ours(error)
    }
}

/// How the columns of a statement are read.
pub(super) struct Decoders(Box<[Decoder]>);

impl Decoders {
    /// Fails if the renderer forgot to ask for a column as text.
    pub(super) fn of(statement: &tokio_postgres::Statement) -> Result<Self> {
        statement
            .columns()
            .iter()
            .map(|column| {
                Decoder::of(column.type_()).ok_or_else(|| {
                    Error::internal(format!(
                        "a column of type {} was not asked for as text",
                        column.type_()
                    ))
                })
            })
            .collect::<Result<Box<[Decoder]>>>()
            .map(Self)
    }
}

impl Decoders {
    /// The same for a statement of which nobody here chose the columns.
    pub(super) fn of_call(statement: &tokio_postgres::Statement) -> Result<Self> {
        let unreadable = statement
            .columns()
            .iter()
            .find(|column| Decoder::of(column.type_()).is_none());
        if let Some(column) = unreadable {
            return Err(Error::new(
                ErrorKind::NotImplemented,
                format!(
                    "a routine gave a column of type {}, which only the database can write as text",
                    column.type_()
                ),
            )
            .with_help("cast it to text within the routine"));
        }
        Self::of(statement)
    }
}

/// Writes one row. True when a chunk should be flushed. A row beyond the page is read over.
pub(super) fn write_row(
    row: &Row,
    decoders: &Decoders,
    scratch: &mut String,
    rows: &mut RowWriter,
) -> Result<bool, Failure> {
    let style = Style {
        numbers: rows.shape().numbers,
        datetimes: rows.shape().datetimes,
    };
    if !rows.begin_row() {
        return Ok(false);
    }
    for (index, decoder) in decoders.0.iter().enumerate() {
        let raw: Raw<'_> = row.try_get(index)?;
        rows.value(&decoder.decode(raw, style, scratch)?);
    }
    Ok(rows.end_row())
}

/// Writes some columns of a row.
pub(super) fn write_columns(
    row: &Row,
    decoders: &Decoders,
    columns: &[usize],
    rows: &mut RowWriter,
) -> Result<(), Failure> {
    let style = Style {
        numbers: rows.shape().numbers,
        datetimes: rows.shape().datetimes,
    };
    if !rows.begin_row() {
        return Ok(());
    }
    let mut scratch = String::new();
    for index in columns {
        let Some(decoder) = decoders.0.get(*index) else {
            continue;
        };
        let raw: Raw<'_> = row.try_get(*index)?;
        rows.value(&decoder.decode(raw, style, &mut scratch)?);
    }
    rows.end_row();
    Ok(())
}
