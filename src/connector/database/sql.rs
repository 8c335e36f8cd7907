//! SQL: a plan written in a dialect, and what a pool of connections must offer to run it.

use std::sync::Arc;

use async_trait::async_trait;

use super::catalog::Catalog;
use super::plan::Bind;
use super::rows::RowWriter;
use super::value::Scalar;
use crate::error::Result;

/// A statement, ready to run: text, and what stands for its placeholders in order.
///
/// The text is the shape of the request: pools keep prepared statements by it.
#[derive(Clone, Debug, PartialEq)]
pub struct Statement {
    /// The text. Values never stand in it.
    pub sql: Arc<str>,
    /// What is bound, in the order of the placeholders.
    pub binds: Arc<[Bind]>,
    /// Indexes of columns of the result that are JSON texts made by the statement itself: related records. For
    /// products whose drivers cannot tell them from text.
    pub json_columns: Arc<[usize]>,
}

impl Statement {
    /// The values to bind for a call with this key. [`Bind::Now`] is written into the text and never occurs here.
    pub fn values<'a>(&'a self, key: &'a [Scalar]) -> Result<Vec<&'a Scalar>> {
        self.binds
            .iter()
            .map(|bind| match bind {
                Bind::Value(value) => Ok(value),
                Bind::Key(index) => key.get(*index).ok_or_else(|| {
                    crate::error::Error::internal(format!("the call has no key value {index}"))
                }),
                Bind::Now(_) => Err(crate::error::Error::internal(
                    "a function was left among the values",
                )),
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

    /// One cheap round trip.
    async fn probe(&self) -> Result<()>;
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

    /// Sets a savepoint. There is at most one at a time.
    async fn savepoint(&mut self) -> Result<()>;

    /// Undoes all since the savepoint.
    async fn rollback_to_savepoint(&mut self) -> Result<()>;

    /// Forgets the savepoint and keeps what was done since.
    async fn release_savepoint(&mut self) -> Result<()>;

    /// Makes everything permanent. The only way to do so.
    async fn commit(self: Box<Self>) -> Result<()>;
}
