//! Bulk imports: a CSV or NDJSON of any size, written while it arrives, in one transaction.
//!
//! Records are read, converted and checked in chunks; while one chunk is written, the next is read, and no more of the
//! body than that is ever in memory. Each chunk has a savepoint: when the database refuses one, it is written again in
//! halves until the records are found that it is about. Products without savepoints take or refuse the whole. A client that hangs up leaves nothing behind.

mod csv;
mod reader;
mod source;

use std::fmt::Write as _;
use std::ops::Range;
use std::sync::Arc;

use serde_json::{Map, Value as Json};

use super::backend::DatabaseTransaction;
use super::connector::{Asked, DatabaseConnector, grant_for};
use super::precondition::Preconditions;
use super::request;
use super::rows::list_of_bare;
use crate::error::{Error, ErrorKind, Origin, Result};
use crate::exchange::format::negotiate;
use crate::exchange::{Body, CallContext, Format, Query, Reply};
use reader::{Chunk, LineError, Reader, Target};
use source::Source;

/// Most imports of one service at a time: each has a connection for itself, for as long as its client sends.
pub(super) const MAX_IMPORTS: usize = 2;
/// Most lines that an answer names.
const MAX_LINES: usize = 100;
/// Most records that `continue` lets fail: each costs the database many statements.
const MAX_FAILED: u64 = 10_000;

impl DatabaseConnector {
    /// POST of a CSV or NDJSON with `bulk=true`.
    pub(super) async fn import_records(
        self: Arc<Self>,
        context: &CallContext,
        call: Asked,
        body: Body,
    ) -> Result<Reply> {
        let query = Query::parse(call.head.query())?;
        let format = negotiate(&call.head, &query, Format::ALL)?;
        let (asked, syntax) = request::bulk(&call.head, &query)?;
        Preconditions::of(&call.head.headers)?.check_untagged()?;
        if self.options.max_bulk_bytes == 0 {
            return Err(Error::new(
                ErrorKind::InvalidParameter,
                "this service takes no bulk imports",
            )
            .with_help("leave out `bulk` and send fewer records at a time"));
        }
        let catalog = self.catalog(context.deadline).await?;
        let planner = self.planner(&catalog, &call.access);
        let table = planner.table(call.parameters.get("table")?)?;
        let grant = grant_for(&call, "_table", &table)?;
        let upsert = self.upsert_grants(&call, &table, &grant, &asked)?;
        let _turn = self.imports.try_acquire().map_err(|_none_left| {
            Error::new(
                ErrorKind::Overloaded,
                "the service has as many bulk imports as it can take",
            )
        })?;
        let goes_on = asked.continue_on_error;
        let target = Target {
            planner,
            table,
            grant,
            change: upsert.map(|grants| grants.change),
            query: asked,
            now: self.clock.now(),
        };
        let source = Source::new(body, self.options.max_bulk_bytes)?;
        let mut reader = Reader::new(target, source, syntax);
        let mut import = Import::new(&self, goes_on);
        let mut ready: Option<Chunk> = None;
        loop {
            let (written, next) = tokio::join!(import.take(ready.take()), reader.chunk());
            self.noticed(written)?;
            if import.is_over() {
                break;
            }
            ready = next?;
            if ready.is_none() {
                break;
            }
        }
        if !reader.has_any() {
            return Err(Error::new(ErrorKind::InvalidBody, "the body is empty")
                .with_help("send a header line and records, or one JSON object on each line"));
        }
        let outcome = import.finish().await;
        let count = self.noticed(outcome)?;
        tracing::debug!(
            records = count,
            of = reader.records(),
            "records were imported"
        );
        let mut meta = Map::new();
        meta.insert("count".to_owned(), count.into());
        Ok(Reply::ok(
            format.content_type(),
            Body::Bytes(list_of_bare(&bytes::Bytes::new(), &meta, format)?),
        ))
    }
}

/// The writing half of an import.
struct Import<'a> {
    connector: &'a DatabaseConnector,
    /// None before the first records and after the first failure of an import that is all or nothing.
    transaction: Option<Box<dyn DatabaseTransaction>>,
    goes_on: bool,
    written: u64,
    failed: u64,
    /// The first failures; [`MAX_LINES`] at most.
    failures: Vec<LineError>,
    /// The database refused a record of an import that is all or nothing: what else is wrong is not worth finding.
    is_refused: bool,
}

impl<'a> Import<'a> {
    fn new(connector: &'a DatabaseConnector, goes_on: bool) -> Self {
        Self {
            connector,
            transaction: None,
            goes_on,
            written: 0,
            failed: 0,
            failures: Vec::new(),
            is_refused: false,
        }
    }

    /// Whether nothing that follows can change the outcome.
    fn is_over(&self) -> bool {
        self.is_refused
            || self.failed > MAX_FAILED
            || !self.goes_on && self.failed >= MAX_LINES as u64
    }

    /// Writes a chunk. After a failure, an import that is all or nothing only gathers what else is wrong.
    async fn take(&mut self, chunk: Option<Chunk>) -> Result<()> {
        let Some(mut chunk) = chunk else {
            return Ok(());
        };
        for error in chunk.errors.drain(..) {
            self.failed(error);
        }
        if self.failed > 0 && !self.goes_on {
            self.transaction = None;
            return Ok(());
        }
        self.write(&chunk).await
    }

    fn failed(&mut self, failure: LineError) {
        self.failed = self.failed.saturating_add(1);
        if self.failures.len() < MAX_LINES {
            self.failures.push(failure);
        }
    }

    /// Writes the records of a chunk; those that the database refuses are found by halves.
    async fn write(&mut self, chunk: &Chunk) -> Result<()> {
        let Some(insert) = &chunk.insert else {
            return Ok(());
        };
        let mut transaction = match self.transaction.take() {
            Some(transaction) => transaction,
            None => self.connector.database.begin().await?,
        };
        // One that goes on asks for them in any case, and is refused where there are none.
        let uses_savepoints = self.goes_on || transaction.has_savepoints();
        let whole = 0..chunk.records.len();
        let mut parts: Vec<Range<usize>> = vec![whole];
        while let Some(part) = parts.pop() {
            if uses_savepoints {
                transaction.savepoint().await?;
            }
            let outcome = transaction
                .import(insert, &chunk.records, part.clone())
                .await;
            match outcome {
                Ok(written) => {
                    if uses_savepoints {
                        transaction.release_savepoint().await?;
                    }
                    self.written = self.written.saturating_add(written);
                }
                // That the database is away or that writes collide is no fault of a record.
                Err(error) if error.kind().origin() != Origin::Caller => return Err(error),
                Err(error) if !uses_savepoints => return Err(refused(chunk, error)),
                Err(error) => {
                    transaction.rollback_to_savepoint().await?;
                    let middle = part.start.midpoint(part.end);
                    if part.len() > 1 {
                        parts.push(middle..part.end);
                        parts.push(part.start..middle);
                        continue;
                    }
                    if let Some(place) = chunk.places.get(part.start) {
                        self.failed(LineError {
                            line: place.line,
                            position: place.position,
                            field: None,
                            error,
                        });
                    }
                    if !self.goes_on {
                        self.is_refused = true;
                        return Ok(());
                    }
                    if self.failed > MAX_FAILED {
                        return Ok(());
                    }
                }
            }
        }
        self.transaction = Some(transaction);
        Ok(())
    }

    /// Keeps what was written; gives how many records, or the error of those that were not.
    async fn finish(mut self) -> Result<u64> {
        let keeps = self.failed == 0 || self.goes_on && self.failed <= MAX_FAILED;
        let transaction = self.transaction.take();
        if keeps && let Some(transaction) = transaction {
            transaction.commit().await?;
        }
        if self.failed == 0 {
            return Ok(self.written);
        }
        Err(self.into_error(keeps))
    }

    fn into_error(mut self, keeps: bool) -> Error {
        self.failures.sort_by_key(|failure| failure.position);
        let mut message = "Batch Error: Not all requested records could be created.".to_owned();
        if !keeps {
            message.push_str(" All changes rolled back.");
        }
        let positions = self.failures.iter().map(|failure| failure.position.into());
        let lines = self.failures.iter().map(LineError::to_json);
        let mut details = Map::new();
        details.insert("error".to_owned(), positions.collect::<Vec<Json>>().into());
        details.insert("lines".to_owned(), lines.collect::<Vec<Json>>().into());
        details.insert("failed".to_owned(), self.failed.into());
        let count = if keeps { self.written } else { 0 };
        details.insert("count".to_owned(), count.into());
        let error = Error::new(ErrorKind::BatchFailed, message).with_details(details);
        if self.failed > MAX_FAILED {
            return error.with_help(format!(
                "more than {MAX_FAILED} records were refused, and the rest was not tried"
            ));
        }
        error
    }
}

/// That the database refused a chunk, where the record cannot be found that it is about.
fn refused(chunk: &Chunk, error: Error) -> Error {
    let mut message =
        "Batch Error: Not all requested records could be created. All changes rolled back."
            .to_owned();
    if let (Some(first), Some(last)) = (chunk.places.first(), chunk.places.last()) {
        // Writing to a text does not fail.
        let _ = write!(
            message,
            " Of the records on lines {} to {}, at least one was refused: {}",
            first.line,
            last.line,
            error.message()
        );
    }
    Error::new(ErrorKind::BatchFailed, message).with_source(error)
}
