//! The seam below the REST face: what any database must be able to do, SQL or not.

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;

use super::catalog::Catalog;
use super::plan::{BulkRecords, Children, Insert, RoutineCall, Select, Write};
use super::results::{Outcome, Results};
use super::rows::RowWriter;
use super::schema_change::{Interrupted, SchemaChange, SchemaDialect};
use super::sql::Statement;
use super::value::Scalar;
use crate::error::{Error, ErrorKind, Result};

/// A select that is ready to run again and again.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// The plan.
    pub select: Select,
    /// Its text, for products with SQL.
    pub statement: Option<Statement>,
}

/// One database of one product. SQL products get it from `sql::Sql`.
#[async_trait]
pub trait Database: Send + Sync + 'static {
    /// Tables and columns, read anew.
    async fn catalog(&self) -> Result<Catalog>;

    /// A short text that changes when tables or columns change; cheap.
    async fn fingerprint(&self) -> Result<String>;

    /// Does once what a select needs only once.
    fn prepare(&self, select: Select) -> Result<Prepared>;

    /// Runs a prepared select outside a transaction; rows go to the writer, which is given back.
    async fn read(&self, prepared: &Prepared, key: &[Scalar], rows: RowWriter)
    -> Result<RowWriter>;

    /// Whether selects may hold [`Related`](super::plan::Expression::Related). Where not, or where the records are in
    /// another database, they are read by [`Database::read_children`] and put into place by the gateway.
    fn embeds_related(&self) -> bool;

    /// Reads the records of many parents outside a transaction; rows go to the writer, which is given back.
    async fn read_children(&self, children: &Children, rows: RowWriter) -> Result<RowWriter>;

    /// Begins a transaction. Dropping it rolls back.
    async fn begin(&self) -> Result<Box<dyn DatabaseTransaction>>;

    /// Begins a transaction that refuses to write, where the product has such a thing.
    async fn begin_reading(&self) -> Result<Box<dyn DatabaseTransaction>> {
        self.begin().await
    }

    /// Whether the product has stored procedures and functions.
    fn has_routines(&self) -> bool {
        false
    }

    /// What changes of the schema may consist of; none where they are not made through the gateway.
    fn schema_dialect(&self) -> Option<&dyn SchemaDialect> {
        None
    }

    /// Carries out changes of the schema in their order: all or none, where [`SchemaDialect::is_transactional`] says so.
    /// What is kept of others counts changes.
    async fn change_schema(&self, changes: &[SchemaChange]) -> Result<(), Interrupted> {
        let _ = changes;
        Err(Error::internal("the database has no dialect for changes of its schema").into())
    }

    /// One cheap round trip. Whoever has no connection keeps none for it.
    async fn probe(&self) -> Result<()>;

    /// Closes connections that were not used for long. Called now and then; does not wait.
    fn release_idle(&self) {}
}

/// A transaction of a [`Database`]. Dropping it rolls back.
#[async_trait]
pub trait DatabaseTransaction: Send {
    /// Runs a select within the transaction. With `lock`, the rows read stay as they are until the end.
    async fn select(&mut self, select: &Select, lock: bool, rows: RowWriter) -> Result<RowWriter>;

    /// The same for the records of many parents.
    async fn select_children(&mut self, children: &Children, rows: RowWriter) -> Result<RowWriter>;

    /// Runs one write; what it returns goes to the writer, which is given back with the number of records touched.
    ///
    /// A record that does not satisfy the write's `check` gives [`crate::error::ErrorKind::RowNotPermitted`]; the
    /// caller must then roll back.
    async fn write(&mut self, write: &Write, rows: RowWriter) -> Result<(RowWriter, u64)>;

    /// Adds some of the records by the fastest way there is, with `insert` as the model of each: its columns are those
    /// of the values. Gives how many were written.
    ///
    /// A record that does not satisfy the insert's `check`, or that exists outside what its upsert may change, gives
    /// [`crate::error::ErrorKind::RowNotPermitted`]. After an error the caller must roll back to the savepoint.
    async fn import(
        &mut self,
        insert: &Insert,
        records: &Arc<BulkRecords>,
        range: Range<usize>,
    ) -> Result<u64> {
        let mut written: u64 = 0;
        for index in range {
            let write = Write::Insert(insert.with_values(records.record(index)));
            let rows = RowWriter::new(Arc::new(write.bulk_shape()), None);
            let (_, touched) = self.write(&write, rows).await?;
            if touched == 0 {
                return Err(not_permitted());
            }
            written = written.saturating_add(1);
        }
        Ok(written)
    }

    /// Runs a function; its rows go to the writer, which is given back.
    async fn query_routine(&mut self, call: &RoutineCall, rows: RowWriter) -> Result<RowWriter> {
        let _ = rows;
        Err(without_routines(call))
    }

    /// Runs a procedure, and gives its result sets and OUT parameters.
    async fn call_routine(&mut self, call: &RoutineCall, results: Results) -> Result<Outcome> {
        let _ = results;
        Err(without_routines(call))
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

/// The refusal of a record that the role's filter does not admit.
pub(super) fn not_permitted() -> Error {
    Error::new(
        ErrorKind::RowNotPermitted,
        "the record lies outside the rows that this role may write",
    )
}

fn without_routines(call: &RoutineCall) -> Error {
    Error::internal(format!(
        "{} was called in a database without routines",
        call.routine.name
    ))
}
