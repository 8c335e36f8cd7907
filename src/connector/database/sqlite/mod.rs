//! SQLite, embedded: service type `sqlite`.
//!
//! * **The file.** `database` is a path below the data directory, or an absolute path. A missing file is an error of
//!   the backend and is never made silently. The file may be replaced by renaming another one into its place; best
//!   with the service switched off, or at least while nobody writes: a write-ahead log belongs to its file.
//! * **Reading and writing.** Several readers and one writer. The first write switches the file to a write-ahead log,
//!   so that readers and the writer do not wait for each other; with `read_only = true` nothing is ever changed.
//! * **Values.** The stored value decides, the declared type guides. Timestamps are written as SQLite's own functions
//!   print them (`2026-02-01 10:00:00`; with an offset, in UTC with `Z`) and read back as RFC 3339. Timestamps that
//!   another program stored in another form are read as well, but as texts they compare differently.
//! * **Security.** Foreign keys are enforced, the schema is not trusted, double-quoted names never turn into texts,
//!   and the sizes of values and statements are limited.
//!
//! Types, as the tests saw them go in and come out:
//!
#![doc = include_str!("types.md")]

mod catalog;
mod connection;
#[cfg(any(test, feature = "testing"))]
pub mod contract;
mod create;
mod declaration;
mod declared;
mod error;
mod pool;
#[cfg(test)]
#[expect(
    clippy::disallowed_methods,
    reason = "the tests damage files on purpose"
)]
mod tests;
mod value;

use std::path::{Component, Path};
use std::sync::Arc;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

pub use create::create;

use super::backend::Database;
use super::connector::DatabaseConnector;
use super::dialect::SqliteDialect;
use super::operations::OPERATIONS_WITHOUT_ROUTINES;
use super::options::DatabaseOptions;
use super::sql::{RenderOptions, Sql};
use crate::connector::operation::Operation;
use crate::connector::{Connector, Family, Problem, Resources, ServiceConfig};
use crate::error::Result;

/// A SQLite database file.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct SqliteConfig {
    /// The database file: a path below the data directory, an absolute path, or `:memory:` for an empty database that
    /// lives as long as the service.
    #[schemars(length(min = 1))]
    pub database: String,
    /// Whether the file is only read. Default false.
    #[serde(default)]
    pub read_only: bool,
    /// Whether a missing file is made. Default false: calls are answered 503 until it is there.
    #[serde(default)]
    pub create: bool,
    /// Most connections that read at once; one more writes. Default 4.
    #[serde(default = "default_max_connections")]
    #[schemars(range(min = 1, max = 64))]
    pub max_connections: u32,
    /// How long to wait for a lock that another process holds, in milliseconds. Default 5,000.
    #[serde(default = "default_busy_timeout_milliseconds")]
    #[schemars(range(max = 60_000))]
    pub busy_timeout_milliseconds: u32,
    /// Longest a statement may run, in seconds, not counting the time that the caller takes to read. Default 30.
    #[serde(default = "default_statement_timeout_seconds")]
    #[schemars(range(min = 1, max = 3_600))]
    pub statement_timeout_seconds: u32,
    /// What every database type has.
    #[serde(flatten)]
    pub options: DatabaseOptions,
}

fn default_max_connections() -> u32 {
    4
}

fn default_busy_timeout_milliseconds() -> u32 {
    5_000
}

fn default_statement_timeout_seconds() -> u32 {
    30
}

/// The value of `database` for a database without a file.
const MEMORY: &str = ":memory:";

impl SqliteConfig {
    /// The database of this config. Opens nothing.
    pub(super) fn database(&self, resources: &Resources) -> impl Database + use<> {
        let options = RenderOptions::from(&self.options);
        Sql::new(SqliteDialect, self.pool(resources), options)
    }

    /// The pool for this config. Opens nothing.
    pub(super) fn pool(&self, resources: &Resources) -> pool::SqlitePool {
        let path = (self.database != MEMORY).then(|| {
            let path = resources.data_directory.join(&self.database);
            // SQLite would take a path that begins with `file:` for an address with options.
            std::path::absolute(&path).unwrap_or(path)
        });
        pool::SqlitePool::new(
            connection::Settings {
                service: resources.service.to_string(),
                path,
                read_only: self.read_only,
                create: self.create,
                busy_timeout: Duration::from_millis(self.busy_timeout_milliseconds.into()),
                statement_timeout: Duration::from_secs(self.statement_timeout_seconds.into()),
                longest_idle: pool::LONGEST_IDLE,
                clock: Arc::clone(&resources.clock),
            },
            usize::try_from(self.max_connections).unwrap_or(1).max(1),
        )
    }
}

impl ServiceConfig for SqliteConfig {
    const TYPE: &'static str = "sqlite";
    const FAMILY: Family = Family::Database;
    const LABEL: &'static str = "SQLite";
    const DESCRIPTION: &'static str = "A database in one file, embedded";

    fn check(&self) -> Vec<Problem> {
        let problem = |pointer: &str, message: &str, help: &str| Problem {
            pointer: pointer.to_owned(),
            message: message.to_owned(),
            help: Some(help.to_owned()),
        };
        let mut problems = Vec::new();
        let path = Path::new(&self.database);
        if !path.is_absolute() && path.components().any(|part| part == Component::ParentDir) {
            problems.push(problem(
                "/database",
                "the path leaves the data directory",
                "write a path without `..`, or an absolute path",
            ));
        }
        if self.database.contains('\0') {
            problems.push(problem(
                "/database",
                "the path holds the character U+0000",
                "write the path of a file",
            ));
        }
        if self.read_only && (self.create || self.database == MEMORY) {
            problems.push(problem(
                "/read_only",
                "a database that does not exist yet cannot be read-only",
                "remove `read_only`, or name a file that exists and remove `create`",
            ));
        }
        if self.read_only && self.options.allow_upsert {
            problems.push(problem(
                "/allow_upsert",
                "a read-only database takes no records",
                "remove `allow_upsert` or `read_only`",
            ));
        }
        problems.extend(self.options.problems());
        problems
    }

    fn operations(&self) -> &[Operation] {
        OPERATIONS_WITHOUT_ROUTINES
    }

    async fn open(&self, resources: &Resources) -> Result<Arc<dyn Connector>> {
        Ok(Arc::new(DatabaseConnector::new(
            self.database(resources),
            self.options.clone(),
            resources,
        )))
    }
}
