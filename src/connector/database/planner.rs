//! What is asked × catalog × access → a plan.

use std::sync::Arc;

use super::catalog::{Catalog, Table};
use super::cursor::CursorBinding;
use super::options::DatabaseOptions;
use super::plan::{Delete, Insert, Select, Selector, Update, Write};
use super::request::{Identifier, Record, RecordsQuery};
use super::rows::{Frame, Shape};
use super::value::Scalar;
use crate::connector::access::{Access, Grant};
use crate::error::{Error, Result};
use crate::exchange::Format;

/// Makes plans for one caller of one database.
#[derive(Clone, Copy, Debug)]
pub struct Planner<'a> {
    /// The tables.
    pub catalog: &'a Catalog,
    /// What the caller may touch.
    pub access: &'a Access,
    /// The settings of the service.
    pub options: &'a DatabaseOptions,
}

/// A read, ready to be prepared, and how its answer continues.
#[derive(Clone, Debug)]
pub struct ReadPlan {
    /// The query.
    pub select: Select,
    /// Rows of the page; the select reads one more. None when records are read by key.
    pub page: Option<u64>,
    /// Indexes of outputs that the cursor needs of the last row of the page.
    pub keep: Vec<usize>,
    /// What the next cursor is bound to; none where there is no total order.
    pub cursor: Option<CursorBinding>,
}

impl ReadPlan {
    /// How the rows are to be written.
    pub fn shape(&self, frame: Frame, format: Format, options: &DatabaseOptions) -> Shape {
        Shape {
            names: self
                .select
                .output
                .iter()
                .map(|output| output.name.clone())
                .collect(),
            visible: self.select.visible,
            frame,
            format,
            numbers: options.numbers,
            datetimes: options.datetimes,
            page: self.page,
            keep: self.keep.clone(),
            digest: false,
            check: None,
            narrow: Vec::new(),
            prefixes: super::rows::Prefixes::default(),
        }
    }

    /// `meta.next`, for when there are more rows. None after a cursor.
    pub fn next_offset(&self) -> Option<u64> {
        None
    }

    /// `meta.next_cursor`, from the values that were kept of the last row.
    pub fn next_cursor(&self, kept: &[Scalar]) -> Option<String> {
        self.cursor.as_ref()?.encode(kept)
    }
}

/// Whether a write with this query must be answered by [`Planner::re_read`].
pub fn needs_re_read(query: &RecordsQuery) -> bool {
    !query.related.is_empty()
}

impl Write {
    /// How the rows that it returns are to be written.
    pub fn shape(&self, frame: Frame, format: Format, options: &DatabaseOptions) -> Shape {
        Shape {
            names: Vec::new(),
            visible: 0,
            frame,
            format,
            numbers: options.numbers,
            datetimes: options.datetimes,
            page: None,
            keep: Vec::new(),
            digest: false,
            check: None,
            narrow: Vec::new(),
            prefixes: super::rows::Prefixes::default(),
        }
    }
}

impl Planner<'_> {
    /// A table by name.
    pub fn table(&self, name: &str) -> Result<Arc<Table>> {
        Err(Error::internal(name))
    }
    /// The typed key.
    pub fn key(
        &self,
        table: &Table,
        grant: &Grant,
        identifier: &Identifier,
        id_field: &[String],
    ) -> Result<Vec<Scalar>> {
        let _ = (table, grant, identifier, id_field);
        Err(Error::internal("to follow"))
    }
    /// The typed key of a record.
    pub fn key_of_record(
        &self,
        table: &Table,
        grant: &Grant,
        record: &Record,
        id_field: &[String],
    ) -> Result<Vec<Scalar>> {
        let _ = (table, grant, record, id_field);
        Err(Error::internal("to follow"))
    }
    /// The record with a key in it.
    pub fn with_key(
        &self,
        table: &Table,
        grant: &Grant,
        record: &Record,
        key: &[Scalar],
        id_field: &[String],
    ) -> Result<Record> {
        let _ = (table, grant, record, key, id_field);
        Err(Error::internal("to follow"))
    }
    /// A read.
    pub fn read(
        &self,
        table: &Arc<Table>,
        grant: &Grant,
        query: &RecordsQuery,
        selector: &Selector,
    ) -> Result<ReadPlan> {
        let _ = (table, grant, query, selector);
        Err(Error::internal("to follow"))
    }
    /// A count.
    pub fn count(
        &self,
        table: &Arc<Table>,
        grant: &Grant,
        query: &RecordsQuery,
        selector: &Selector,
    ) -> Result<Select> {
        let _ = (table, grant, query, selector);
        Err(Error::internal("to follow"))
    }
    /// An insert.
    pub fn insert(
        &self,
        table: &Arc<Table>,
        grant: &Grant,
        record: &Record,
        query: &RecordsQuery,
        upsert: Option<&Grant>,
    ) -> Result<Insert> {
        let _ = (table, grant, record, query, upsert);
        Err(Error::internal("to follow"))
    }
    /// An update.
    pub fn update(
        &self,
        table: &Arc<Table>,
        grant: &Grant,
        record: &Record,
        query: &RecordsQuery,
        selector: &Selector,
    ) -> Result<Update> {
        let _ = (table, grant, record, query, selector);
        Err(Error::internal("to follow"))
    }
    /// A delete.
    pub fn delete(
        &self,
        table: &Arc<Table>,
        grant: &Grant,
        query: &RecordsQuery,
        selector: &Selector,
    ) -> Result<Delete> {
        let _ = (table, grant, query, selector);
        Err(Error::internal("to follow"))
    }
    /// The answer of a write.
    pub fn re_read(
        &self,
        table: &Arc<Table>,
        grant: &Grant,
        query: &RecordsQuery,
        keys: &[Vec<Scalar>],
    ) -> Result<ReadPlan> {
        let _ = (table, grant, query, keys);
        Err(Error::internal("to follow"))
    }
}
