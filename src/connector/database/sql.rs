//! SQL: a plan written in a dialect, and what a pool of connections must offer to run it.

mod call;
#[cfg(test)]
#[cfg(all(feature = "sqlserver", feature = "oracle"))]
mod products;
mod render;
mod reread;
#[cfg(test)]
mod tests;

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;

use super::backend::{Database, DatabaseTransaction, Prepared, not_permitted};
use super::catalog::{Catalog, Table, Type};
use super::dialect::{Dialect, Returning};
use super::options::DatabaseOptions;
use super::plan::{Bind, BulkRecords, Children, Condition, Insert, RoutineCall, Select, Write};
use super::results::{Outcome, Results};
use super::rows::{Frame, RowWriter, Shape};
use super::schema_change::{Interrupted, SchemaChange, SchemaDialect, statements};
use super::value::{DateTimeStyle, NumberStyle, Scalar};
use crate::error::{Error, ErrorKind, Result};
use crate::exchange::Format;

pub use call::{CallStyle, OutValues, Script, render_call};
#[cfg(all(test, feature = "odbc"))]
pub(in crate::connector::database) use render::render_insert;
pub use render::{render_children, render_select, render_write};
use reread::Reread;

/// How values look in the JSON that a statement builds: as the row writer writes those at the top.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RenderOptions {
    /// How numbers are written.
    pub numbers: NumberStyle,
    /// How dates and times are written.
    pub datetimes: DateTimeStyle,
}

impl From<&DatabaseOptions> for RenderOptions {
    fn from(options: &DatabaseOptions) -> Self {
        Self {
            numbers: options.numbers,
            datetimes: options.datetimes,
        }
    }
}

/// A statement, ready to run: text, and what stands for its placeholders in order.
///
/// The text is the shape of the request: pools keep prepared statements by it.
#[derive(Clone, Debug, PartialEq)]
pub struct Statement {
    /// The text. Values never stand in it.
    pub sql: Arc<str>,
    /// What is bound, in the order of the placeholders.
    pub binds: Arc<[Bind]>,
    /// Most rows that it can give; `None` if nothing bounds them. Pools run large reads apart from small ones.
    pub expected_rows: Option<u64>,
    /// Indexes of columns of the result that are JSON texts made by the statement itself: related records. For
    /// products whose drivers cannot tell them from text.
    pub json_columns: Arc<[usize]>,
    /// What the columns of a select's result hold, where it is known. For products whose drivers cannot tell truth
    /// values and whole numbers from numbers, or JSON from text.
    pub kinds: Arc<[Option<Type>]>,
    /// The kinds of the values that an insert gives as its only row by means of [`Dialect::insert_output`], and of the
    /// OUT parameters of a call; empty elsewhere. For products that give them in variables.
    pub returned: Arc<[Type]>,
    /// The names of these values, where the statement is a call and they are its OUT parameters; empty elsewhere.
    pub returned_names: Arc<[String]>,
}

impl Statement {
    /// A text without values and without rows.
    fn plain(sql: &str) -> Self {
        Self {
            sql: sql.into(),
            binds: Arc::default(),
            expected_rows: None,
            json_columns: Arc::default(),
            kinds: Arc::default(),
            returned: Arc::default(),
            returned_names: Arc::default(),
        }
    }

    /// The values to bind for a call with this key. [`Bind::Now`] is written into the text and never occurs here.
    pub fn values<'a>(&'a self, key: &'a [Scalar]) -> Result<Vec<&'a Scalar>> {
        self.binds
            .iter()
            .map(|bind| match bind {
                Bind::Value(value) => Ok(value),
                Bind::Key(index) => key
                    .get(*index)
                    .ok_or_else(|| Error::internal(format!("the call has no key value {index}"))),
                Bind::Now(_) => Err(Error::internal("a function was left among the values")),
            })
            .collect()
    }
}

/// Connections to one SQL database.
///
/// Contract: opening does not wait for the database; every wait ends with [`crate::error::ErrorKind::BackendTimeout`] or
/// [`crate::error::ErrorKind::BackendUnavailable`]; a future that is dropped leaves no connection behind in an unknown
/// state; the product's error codes become kinds, and its words only facts for the log.
#[async_trait]
pub trait SqlPool: Send + Sync + 'static {
    /// Tables and columns, read anew.
    async fn catalog(&self) -> Result<Catalog>;

    /// A short text that changes when tables or columns change; cheap.
    async fn fingerprint(&self) -> Result<String>;

    /// Runs one reading statement outside a transaction and gives the writer back.
    async fn read(
        &self,
        statement: &Statement,
        key: &[Scalar],
        rows: RowWriter,
    ) -> Result<RowWriter>;

    /// Begins a transaction on a connection of its own. Dropping it rolls back.
    async fn begin(&self) -> Result<Box<dyn Transaction>>;

    /// Begins a transaction that refuses to write, where the product has such a thing.
    async fn begin_reading(&self) -> Result<Box<dyn Transaction>> {
        self.begin().await
    }

    /// Runs statements that change the schema, in one transaction as far as the product knows such for them. What is
    /// kept counts the statements that were carried out before one failed.
    async fn change_schema(&self, statements: &[String]) -> Result<(), Interrupted> {
        run_all(self.begin().await?, statements).await
    }

    /// One cheap round trip. A pool without a connection keeps none for it.
    async fn probe(&self) -> Result<()>;

    /// Closes connections that were not used for long. Called now and then; does not wait.
    fn release_idle(&self) {}
}

/// Runs statements without rows in a transaction, and commits it. What is kept counts those that were carried out.
pub async fn run_all(
    mut transaction: Box<dyn Transaction>,
    statements: &[String],
) -> Result<(), Interrupted> {
    for (kept, sql) in statements.iter().enumerate() {
        let shape = Shape::new(Vec::new(), Frame::Bare, Format::Json);
        let rows = RowWriter::new(Arc::new(shape), None);
        let outcome = transaction.run(&Statement::plain(sql), &[], rows).await;
        outcome.map_err(|error| Interrupted { kept, error })?;
    }
    let kept = statements.len();
    let outcome = transaction.commit().await;
    outcome.map_err(|error| Interrupted { kept, error })
}

/// Many records for one table.
#[derive(Clone, Debug)]
pub struct Load {
    /// The table.
    pub table: Arc<Table>,
    /// Its columns that get values, in the order of the values of a record.
    pub columns: Arc<[usize]>,
    /// The table as statements name it.
    pub table_name: String,
    /// The columns as statements name them, separated by commas.
    pub column_names: String,
    /// The insert of one record, whose placeholders are its values in their order; with a check, it gives its truth
    /// as the only value of its only row.
    pub insert: Statement,
    /// Whether records must satisfy a check.
    pub is_checked: bool,
    /// Whether records that exist are changed.
    pub is_upsert: bool,
}

/// A transaction. Dropping it rolls back.
#[async_trait]
pub trait Transaction: Send {
    /// Runs one statement; rows that it returns go to the writer. Gives the writer back and the number of rows
    /// that the statement touched.
    async fn run(
        &mut self,
        statement: &Statement,
        key: &[Scalar],
        rows: RowWriter,
    ) -> Result<(RowWriter, u64)>;

    /// Runs one statement that may give several results; each that has columns is handed over, in order. Values of
    /// [`Statement::returned`] come as the only row of the last one.
    async fn call(&mut self, statement: &Statement, results: &mut Results) -> Result<()> {
        let _ = (statement, results);
        Err(Error::internal("this driver calls no routines"))
    }

    /// Says that code of the database's own author is about to run, which may leave settings, temporary tables or locks in
    /// the session: the connection must be closed after this transaction, so that no other caller meets them.
    /// Products without routines have nothing to do.
    fn retire(&mut self) {}

    /// The number that the database gave the record of the last INSERT, if it gave one. For products of
    /// [`Returning::Nothing`] without [`Dialect::insert_output`].
    fn last_key(&self) -> Option<i64> {
        None
    }

    /// Adds some of the records by the product's own way for many; gives how many were written, or none where the
    /// product has no such way for this table: then statements with several records do it. Nothing was written then,
    /// and the transaction is as it was.
    async fn load(
        &mut self,
        load: &Load,
        records: &Arc<BulkRecords>,
        range: Range<usize>,
    ) -> Result<Option<u64>> {
        let _ = (load, records, range);
        Ok(None)
    }

    /// Whether there are savepoints.
    fn has_savepoints(&self) -> bool {
        true
    }

    /// Sets a savepoint. There is at most one at a time.
    async fn savepoint(&mut self) -> Result<()>;

    /// Undoes all since the savepoint.
    async fn rollback_to_savepoint(&mut self) -> Result<()>;

    /// Forgets the savepoint and keeps what was done since.
    async fn release_savepoint(&mut self) -> Result<()>;

    /// Makes everything permanent. The only way to do so.
    async fn commit(self: Box<Self>) -> Result<()>;
}

/// A database that speaks SQL: a dialect and a pool of connections.
#[derive(Debug)]
pub struct Sql<D, P> {
    dialect: Arc<D>,
    pool: P,
    options: RenderOptions,
    embeds_related: bool,
}

impl<D: Dialect, P: SqlPool> Sql<D, P> {
    /// Puts a dialect and a pool together.
    pub fn new(dialect: D, pool: P, options: RenderOptions) -> Self {
        Self {
            embeds_related: dialect.embeds_related(),
            dialect: Arc::new(dialect),
            pool,
            options,
        }
    }

    /// The same without the dialect's own way to embed related records, so that tests can compare the two.
    #[cfg(any(test, feature = "testing"))]
    #[must_use]
    pub fn stitching(self) -> Self {
        Self {
            embeds_related: false,
            ..self
        }
    }

    /// The pool.
    pub fn pool(&self) -> &P {
        &self.pool
    }
}

#[async_trait]
impl<D: Dialect, P: SqlPool> Database for Sql<D, P> {
    async fn catalog(&self) -> Result<Catalog> {
        self.pool.catalog().await
    }

    async fn fingerprint(&self) -> Result<String> {
        self.pool.fingerprint().await
    }

    fn prepare(&self, select: Select) -> Result<Prepared> {
        let statement = render_select(&*self.dialect, &select, false, self.options)?;
        Ok(Prepared {
            select,
            statement: Some(statement),
        })
    }

    async fn read(
        &self,
        prepared: &Prepared,
        key: &[Scalar],
        rows: RowWriter,
    ) -> Result<RowWriter> {
        let statement = prepared.statement.as_ref();
        let statement = statement.ok_or_else(|| Error::internal("a select without a statement"))?;
        self.pool.read(statement, key, rows).await
    }

    fn embeds_related(&self) -> bool {
        self.embeds_related
    }

    async fn read_children(&self, children: &Children, rows: RowWriter) -> Result<RowWriter> {
        let statement = render_children(&*self.dialect, children, self.options)?;
        self.pool.read(&statement, &[], rows).await
    }

    async fn begin(&self) -> Result<Box<dyn DatabaseTransaction>> {
        Ok(Box::new(SqlTransaction {
            dialect: Arc::clone(&self.dialect),
            transaction: self.pool.begin().await?,
            options: self.options,
        }))
    }

    async fn begin_reading(&self) -> Result<Box<dyn DatabaseTransaction>> {
        Ok(Box::new(SqlTransaction {
            dialect: Arc::clone(&self.dialect),
            transaction: self.pool.begin_reading().await?,
            options: self.options,
        }))
    }

    fn has_routines(&self) -> bool {
        self.dialect.call_style().is_some()
    }

    fn schema_dialect(&self) -> Option<&dyn SchemaDialect> {
        self.dialect.schema()
    }

    async fn change_schema(&self, changes: &[SchemaChange]) -> Result<(), Interrupted> {
        let dialect = self.dialect.schema().ok_or_else(|| {
            Error::internal("the product has no dialect for changes of its schema")
        })?;
        // Everything is spelt before anything is done: what the product cannot do is refused as a whole.
        let mut texts = Vec::new();
        let mut ends = Vec::new();
        for change in changes {
            texts.extend(statements(dialect, change)?);
            ends.push(texts.len());
        }
        let outcome = self.pool.change_schema(&texts).await;
        outcome.map_err(|interrupted| Interrupted {
            kept: if dialect.is_transactional() {
                0
            } else {
                ends.iter().filter(|end| **end <= interrupted.kept).count()
            },
            error: interrupted.error,
        })
    }

    async fn probe(&self) -> Result<()> {
        self.pool.probe().await
    }

    fn release_idle(&self) {
        self.pool.release_idle();
    }
}

struct SqlTransaction<D> {
    dialect: Arc<D>,
    transaction: Box<dyn Transaction>,
    options: RenderOptions,
}

impl<D: Dialect> SqlTransaction<D> {
    fn load_of(&self, insert: &Insert, records: &BulkRecords, first: usize) -> Result<Load> {
        let columns: Vec<usize> = insert.values.iter().map(|(index, _)| *index).collect();
        let (table_name, column_names) =
            render::render_names(&*self.dialect, &insert.table, &columns)?;
        let one = Write::Insert(insert.with_values(records.record(first)));
        Ok(Load {
            table: Arc::clone(&insert.table),
            columns: columns.into(),
            table_name,
            column_names,
            insert: render_write(&*self.dialect, &one, self.options)?,
            is_checked: !matches!(insert.check, Condition::True),
            is_upsert: insert.upsert.is_some(),
        })
    }
}

#[async_trait]
impl<D: Dialect> DatabaseTransaction for SqlTransaction<D> {
    async fn select(&mut self, select: &Select, lock: bool, rows: RowWriter) -> Result<RowWriter> {
        let statement = render_select(&*self.dialect, select, lock, self.options)?;
        let (rows, _) = self.transaction.run(&statement, &[], rows).await?;
        Ok(rows)
    }

    async fn select_children(&mut self, children: &Children, rows: RowWriter) -> Result<RowWriter> {
        let statement = render_children(&*self.dialect, children, self.options)?;
        let (rows, _) = self.transaction.run(&statement, &[], rows).await?;
        Ok(rows)
    }

    async fn write(&mut self, write: &Write, rows: RowWriter) -> Result<(RowWriter, u64)> {
        let expected = write.check().map(|_| write.returning().len());
        if rows.shape().check != expected {
            return Err(Error::internal(
                "the shape of a write does not say where its check is",
            ));
        }
        let (rows, touched) = match self.dialect.returning() {
            Returning::Clause { .. } => {
                let statement = render_write(&*self.dialect, write, self.options)?;
                self.transaction.run(&statement, &[], rows).await?
            }
            Returning::Nothing => {
                let mut reread = Reread {
                    dialect: &*self.dialect,
                    transaction: self.transaction.as_mut(),
                    options: self.options,
                };
                reread.write(write, rows).await?
            }
        };
        if rows.has_refused() {
            return Err(Error::new(
                ErrorKind::RowNotPermitted,
                format!(
                    "a record of table '{}' would lie outside what this role may write",
                    write.table().name
                ),
            ));
        }
        Ok((rows, touched))
    }

    async fn import(
        &mut self,
        insert: &Insert,
        records: &Arc<BulkRecords>,
        range: Range<usize>,
    ) -> Result<u64> {
        let has_returning = matches!(self.dialect.returning(), Returning::Clause { .. });
        let is_checked = !matches!(insert.check, Condition::True);
        let is_plain = !is_checked && insert.upsert.is_none();
        if records.width() > 0 && (has_returning || is_plain) {
            let load = self.load_of(insert, records, range.start)?;
            if let Some(written) = self.transaction.load(&load, records, range.clone()).await? {
                return Ok(written);
            }
        }
        let at_once = if has_returning || is_plain {
            self.dialect.insert_limits().records_of(records.width())
        } else {
            1
        };
        let mut written: u64 = 0;
        let mut start = range.start;
        while let Some(some) =
            insert.with_records(records, start..start.saturating_add(at_once).min(range.end))
        {
            let count = some.records();
            start = start.saturating_add(count);
            let write = Write::Insert(some);
            let rows = RowWriter::new(Arc::new(write.bulk_shape()), None);
            let touched = if is_plain {
                // There is nothing to read again, so this holds for every product.
                let statement = render_write(&*self.dialect, &write, self.options)?;
                self.transaction.run(&statement, &[], rows).await?.1
            } else {
                self.write(&write, rows).await?.1
            };
            if insert.upsert.is_some() && touched < count as u64 {
                return Err(not_permitted());
            }
            written = written.saturating_add(count as u64);
        }
        Ok(written)
    }

    async fn query_routine(&mut self, call: &RoutineCall, rows: RowWriter) -> Result<RowWriter> {
        match render_call(&*self.dialect, call)? {
            Script::Query(statement) => {
                self.transaction.retire();
                let (rows, _) = self.transaction.run(&statement, &[], rows).await?;
                Ok(rows)
            }
            Script::Call { .. } => Err(Error::internal("results were queried as rows")),
        }
    }

    async fn call_routine(&mut self, call: &RoutineCall, mut results: Results) -> Result<Outcome> {
        let script = render_call(&*self.dialect, call)?;
        let Script::Call {
            before,
            call: statement,
            out,
        } = script
        else {
            return Err(Error::internal("a procedure was queried as a function"));
        };
        self.transaction.retire();
        if let Some(before) = &before {
            let nothing = Shape::new(Vec::new(), Frame::Bare, Format::Json);
            let rows = RowWriter::new(Arc::new(nothing), None);
            self.transaction.run(before, &[], rows).await?;
        }
        self.transaction.call(&statement, &mut results).await?;
        let has_own_row = matches!(out, OutValues::Last);
        if let OutValues::Query(query) = &out {
            let (names, kinds): (Vec<String>, Vec<Type>) = call
                .routine
                .outputs()
                .map(|parameter| (parameter.column.name.clone(), parameter.column.kind.clone()))
                .unzip();
            let rows = results.begin_as(names, &kinds)?;
            let (rows, _) = self.transaction.run(query, &[], rows).await?;
            results.end(rows)?;
        }
        let mut sets = results.into_sets();
        let has_out = has_own_row || matches!(out, OutValues::Query(_));
        Ok(Outcome {
            out: if has_out { sets.pop() } else { None },
            sets,
        })
    }

    fn has_savepoints(&self) -> bool {
        self.transaction.has_savepoints()
    }

    async fn savepoint(&mut self) -> Result<()> {
        self.transaction.savepoint().await
    }

    async fn rollback_to_savepoint(&mut self) -> Result<()> {
        self.transaction.rollback_to_savepoint().await
    }

    async fn release_savepoint(&mut self) -> Result<()> {
        self.transaction.release_savepoint().await
    }

    async fn commit(self: Box<Self>) -> Result<()> {
        self.transaction.commit().await
    }
}
