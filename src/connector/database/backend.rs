//! The seam below the REST face: what any database must be able to do, SQL or not.

use async_trait::async_trait;

use super::catalog::Catalog;
use super::plan::{Children, Select, Write};
use super::rows::RowWriter;
use super::schema_change::{Interrupted, SchemaChange, SchemaDialect};
use super::sql::Statement;
use super::value::Scalar;
use crate::error::{Error, Result};

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

    /// Sets a savepoint. There is at most one at a time.
    async fn savepoint(&mut self) -> Result<()>;

    /// Undoes all since the savepoint.
    async fn rollback_to_savepoint(&mut self) -> Result<()>;

    /// Forgets the savepoint and keeps what was done since.
    async fn release_savepoint(&mut self) -> Result<()>;

    /// Makes everything permanent. The only way to do so.
    async fn commit(self: Box<Self>) -> Result<()>;
}
