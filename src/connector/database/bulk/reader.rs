//! Bytes that arrive → chunks of converted records, and what is wrong with which line.

use std::mem;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use memchr::memchr;
use serde_json::Value as Json;

use super::csv::{self, Field, Found};
use super::source::Source;
use crate::connector::access::Grant;
use crate::connector::database::catalog::Table;
use crate::connector::database::connector::error_object;
use crate::connector::database::plan::{BulkRecords, Insert};
use crate::connector::database::planner::{BulkInsert, Planner};
use crate::connector::database::request::{BulkSyntax, RecordsQuery, bulk_header, bulk_members};
use crate::connector::database::value::Scalar;
use crate::error::{Error, ErrorKind, Result};

/// Most records of a chunk.
const CHUNK_RECORDS: usize = 10_000;
/// Bytes of the body after which a chunk is full.
const CHUNK_BYTES: usize = 1024 * 1024;
/// Values after which a chunk is full: each takes room of its own, however short it is.
const CHUNK_VALUES: usize = 100_000;
/// Errors after which a chunk is full.
const CHUNK_ERRORS: usize = 100;

/// A record that cannot be written, and why.
#[derive(Debug)]
pub(super) struct LineError {
    /// The line on which the record begins, counted from 1.
    pub(super) line: u64,
    /// How many records came before it.
    pub(super) position: u64,
    /// The column, as the caller wrote its name.
    pub(super) field: Option<String>,
    pub(super) error: Error,
}

impl LineError {
    /// As `context.lines` has it.
    pub(super) fn to_json(&self) -> Json {
        let mut object = serde_json::Map::new();
        object.insert("line".into(), self.line.into());
        if let Some(field) = &self.field {
            object.insert("field".into(), field.as_str().into());
        }
        if let Json::Object(error) = error_object(&self.error) {
            object.extend(error);
        }
        Json::Object(object)
    }
}

/// Where a record of a chunk stood in the body.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) line: u64,
    pub(super) position: u64,
}

/// Some records with values for the same columns, ready to be written.
pub(super) struct Chunk {
    /// The model of their insert; none when there are only errors.
    pub(super) insert: Option<Arc<Insert>>,
    pub(super) records: Arc<BulkRecords>,
    /// Of each record.
    pub(super) places: Vec<Place>,
    /// What cannot be written, in the order of the body.
    pub(super) errors: Vec<LineError>,
}

/// What says where records go.
pub(super) struct Target<'a> {
    pub(super) planner: Planner<'a>,
    pub(super) table: Arc<Table>,
    /// The grant to create.
    pub(super) grant: Grant,
    /// The grant to change, for an upsert.
    pub(super) change: Option<Grant>,
    pub(super) query: RecordsQuery,
    /// The time of the import, where the gateway sets one.
    pub(super) now: DateTime<Utc>,
}

/// The names of the columns of a CSV, and where their values go; none for values that are dropped.
type Header = Arc<[(String, Option<usize>)]>;

/// Reads a body record by record.
pub(super) struct Reader<'a> {
    target: Target<'a>,
    source: Source,
    syntax: BulkSyntax,
    /// The line on which the next record begins.
    line: u64,
    /// Records so far, good or bad.
    records: u64,
    /// Whether the first bytes were looked at.
    has_begun: bool,
    /// The names of the columns of a CSV, and where their values go.
    header: Option<Header>,
    /// The columns of the last record, and how it is added.
    model: Option<(Vec<usize>, Arc<BulkInsert>)>,
    /// A record that did not fit into the last chunk, because its columns are others.
    left_over: Option<(Arc<Insert>, Vec<Scalar>, Place)>,
    /// The values of a record on their way, and their columns.
    columns: Vec<usize>,
    values: Vec<Scalar>,
    fields: Vec<Field>,
}

/// The next bytes of the body.
enum Step {
    /// A record, or why it cannot be one; it takes so many bytes.
    Record(usize, Result<(), Refused>),
    /// Nothing that counts, of so many bytes.
    Skip(usize),
    More,
    End,
}

/// Why a record cannot be written, and the column.
struct Refused(Option<String>, Error);

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        Self(None, error)
    }
}

/// What some programs write before a text in UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

impl<'a> Reader<'a> {
    pub(super) fn new(target: Target<'a>, source: Source, syntax: BulkSyntax) -> Self {
        Self {
            target,
            source,
            syntax,
            line: 1,
            records: 0,
            has_begun: false,
            header: None,
            model: None,
            left_over: None,
            columns: Vec::new(),
            values: Vec::new(),
            fields: Vec::new(),
        }
    }

    /// The next chunk; none at the end of the body. An error makes an end of the whole import.
    pub(super) async fn chunk(&mut self) -> Result<Option<Chunk>> {
        let mut insert: Option<Arc<Insert>> = None;
        let mut records = BulkRecords::default();
        let mut places = Vec::new();
        let mut errors = Vec::new();
        let mut bytes = 0_usize;
        if let Some((model, mut values, place)) = self.left_over.take() {
            records = BulkRecords::new(values.len());
            records.push(&mut values);
            places.push(place);
            insert = Some(model);
        }
        while records.len() < CHUNK_RECORDS
            && bytes < CHUNK_BYTES
            && records.len().saturating_mul(records.width()) < CHUNK_VALUES
            && errors.len() < CHUNK_ERRORS
        {
            let place = Place {
                line: self.line,
                position: self.records,
            };
            let outcome = match self.step()? {
                Step::End => break,
                Step::More => {
                    self.source.more().await?;
                    // What is written meanwhile has its turn.
                    tokio::task::yield_now().await;
                    continue;
                }
                Step::Skip(count) => {
                    self.source.take(count);
                    continue;
                }
                Step::Record(count, outcome) => {
                    bytes = bytes.saturating_add(count);
                    self.source.take(count);
                    self.records = self.records.saturating_add(1);
                    outcome
                }
            };
            let model = match outcome.and_then(|()| self.model()) {
                Ok(model) => {
                    self.complete(&model);
                    Arc::clone(&model.insert)
                }
                Err(Refused(field, error)) => {
                    errors.push(LineError {
                        line: place.line,
                        position: place.position,
                        field,
                        error,
                    });
                    continue;
                }
            };
            match &insert {
                Some(insert) if !Arc::ptr_eq(insert, &model) => {
                    self.left_over = Some((model, mem::take(&mut self.values), place));
                    break;
                }
                Some(_) => {}
                None => {
                    records = BulkRecords::new(self.values.len());
                    insert = Some(model);
                }
            }
            records.push(&mut self.values);
            places.push(place);
        }
        if places.is_empty() && errors.is_empty() {
            return Ok(None);
        }
        Ok(Some(Chunk {
            insert,
            records: Arc::new(records),
            places,
            errors,
        }))
    }

    /// How many records there were so far.
    pub(super) fn records(&self) -> u64 {
        self.records
    }

    /// Whether there was anything that says what the records are.
    pub(super) fn has_any(&self) -> bool {
        self.records > 0 || self.header.is_some()
    }

    /// Looks at the bytes that wait.
    fn step(&mut self) -> Result<Step> {
        let (bytes, is_last) = (self.source.waiting(), self.source.is_last());
        if !self.has_begun {
            if bytes.len() < BYTE_ORDER_MARK.len() && !is_last {
                return Ok(Step::More);
            }
            self.has_begun = true;
            if bytes.starts_with(BYTE_ORDER_MARK) {
                return Ok(Step::Skip(BYTE_ORDER_MARK.len()));
            }
        }
        if bytes.is_empty() {
            return Ok(if is_last { Step::End } else { Step::More });
        }
        match self.syntax {
            BulkSyntax::Csv => self.csv_step(),
            BulkSyntax::NdJson => self.json_step(),
        }
    }

    fn json_step(&mut self) -> Result<Step> {
        let bytes = self.source.waiting();
        let count = match memchr(b'\n', bytes) {
            Some(end) => end.saturating_add(1),
            None if self.source.is_last() => bytes.len(),
            None => return Ok(Step::More),
        };
        let number = self.line;
        let text = text_of(bytes, count, number)?.trim();
        self.line = number.saturating_add(1);
        if text.is_empty() {
            return Ok(Step::Skip(count));
        }
        self.columns.clear();
        self.values.clear();
        let outcome = json_record(
            &self.target,
            text,
            number,
            &mut self.columns,
            &mut self.values,
        );
        Ok(Step::Record(count, outcome))
    }

    fn csv_step(&mut self) -> Result<Step> {
        let (bytes, is_last) = (self.source.waiting(), self.source.is_last());
        let empty = match bytes {
            [b'\n', ..] => 1,
            [b'\r', b'\n', ..] => 2,
            [b'\r'] if !is_last => return Ok(Step::More),
            _ => 0,
        };
        let number = self.line;
        if empty > 0 {
            self.line = number.saturating_add(1);
            return Ok(Step::Skip(empty));
        }
        let count = match csv::record(bytes, is_last, &mut self.fields) {
            Found::Record(count) => count,
            Found::Incomplete => return Ok(Step::More),
            Found::Broken(what) => {
                return Err(Error::new(
                    ErrorKind::InvalidBody,
                    format!("the body is not valid CSV at line {number}: {what}"),
                )
                .with_help("close the quote, and double each quote within a quoted value"));
            }
        };
        let text = text_of(bytes, count, number)?;
        self.line = number.saturating_add(csv::lines(text.as_bytes()));
        let Some(header) = self.header.as_ref().map(Arc::clone) else {
            let names: Vec<String> = self
                .fields
                .iter()
                .map(|field| field.text(text).trim().to_owned())
                .collect();
            self.header = Some(self.header_of(names)?);
            return Ok(Step::Skip(count));
        };
        self.columns.clear();
        self.values.clear();
        let outcome = csv_record(
            &self.target,
            &header,
            (text, &self.fields),
            &mut self.columns,
            &mut self.values,
        );
        Ok(Step::Record(count, outcome))
    }

    /// Where the values of a CSV go. That a column which needs a value is missing is said at once.
    fn header_of(&self, names: Vec<String>) -> Result<Header> {
        bulk_header(names.iter().map(String::as_str))?;
        let Target {
            planner,
            table,
            grant,
            change,
            query,
            now,
        } = &self.target;
        let indexes = planner.bulk_columns(table, grant, names.iter().map(String::as_str))?;
        let columns: Vec<usize> = indexes.iter().flatten().copied().collect();
        planner.bulk_insert(table, grant, &columns, query, change.as_ref(), *now)?;
        Ok(names.into_iter().zip(indexes).collect())
    }

    /// Gives the record that was just read what the gateway sets by itself.
    fn complete(&mut self, model: &BulkInsert) {
        if model.taken.len() != self.values.len() {
            let kept = model.taken.iter();
            let kept = kept.filter_map(|place| self.values.get(*place).cloned());
            self.values = kept.collect();
        }
        self.values.extend(model.supplied.iter().cloned());
    }

    /// How the record that was just read is added.
    fn model(&mut self) -> Result<Arc<BulkInsert>, Refused> {
        if let Some((columns, model)) = &self.model
            && *columns == self.columns
        {
            return Ok(Arc::clone(model));
        }
        let Target {
            planner,
            table,
            grant,
            change,
            query,
            now,
        } = &self.target;
        let model =
            planner.bulk_insert(table, grant, &self.columns, query, change.as_ref(), *now)?;
        let model = Arc::new(model);
        self.model = Some((self.columns.clone(), Arc::clone(&model)));
        Ok(model)
    }
}

/// The text of the first bytes.
fn text_of(bytes: &[u8], count: usize, line: u64) -> Result<&str> {
    let bytes = bytes.get(..count).unwrap_or(bytes);
    std::str::from_utf8(bytes).map_err(|error| {
        Error::new(
            ErrorKind::InvalidBody,
            format!("the body is not valid UTF-8 at line {line}"),
        )
        .with_source(error)
    })
}

fn csv_record(
    target: &Target<'_>,
    header: &[(String, Option<usize>)],
    (text, fields): (&str, &[Field]),
    columns: &mut Vec<usize>,
    values: &mut Vec<Scalar>,
) -> Result<(), Refused> {
    if fields.len() != header.len() {
        return Err(Error::new(
            ErrorKind::InvalidBody,
            format!(
                "the record has {} values, but there are {} columns",
                fields.len(),
                header.len()
            ),
        )
        .with_help("quote values that have a comma in them")
        .into());
    }
    for ((name, index), field) in header.iter().zip(fields) {
        let Some(index) = *index else { continue };
        let column = target.table.column(index)?;
        let value = target
            .planner
            .bulk_text(column, &field.text(text), field.is_quoted)
            .map_err(|error| Refused(Some(name.clone()), error))?;
        if let Some(value) = value {
            columns.push(index);
            values.push(value);
        }
    }
    Ok(())
}

fn json_record(
    target: &Target<'_>,
    text: &str,
    line: u64,
    columns: &mut Vec<usize>,
    values: &mut Vec<Scalar>,
) -> Result<(), Refused> {
    let Target {
        planner,
        table,
        grant,
        ..
    } = target;
    let members = bulk_members(text, usize::try_from(line).unwrap_or(usize::MAX))?;
    let names = members.iter().map(|(name, _)| name.as_ref());
    let indexes = planner.bulk_columns(table, grant, names)?;
    for ((name, value), index) in members.iter().zip(indexes) {
        let Some(index) = index else { continue };
        let column = table.column(index)?;
        let value = planner
            .bulk_json(column, value)
            .map_err(|error| Refused(Some(name.clone().into_owned()), error))?;
        if let Some(value) = value {
            columns.push(index);
            values.push(value);
        }
    }
    Ok(())
}
