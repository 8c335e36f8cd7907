//! Databases: the registration of every product, and what they share.

pub mod backend;
mod batch;
mod bulk;
pub mod catalog;
mod catalog_cache;
mod catalog_change;
pub mod connector;
#[cfg(any(test, feature = "testing"))]
pub mod contract;
pub mod convert;
pub mod cursor;
pub mod dialect;
mod download;
#[cfg(test)]
mod fixture;
#[cfg(any(
    feature = "mysql",
    feature = "oracle",
    feature = "postgres",
    feature = "sqlserver"
))]
mod gate;
mod link_key;
mod listing;
#[cfg(feature = "mysql")]
pub mod mysql;
mod nested;
#[cfg(feature = "odbc")]
pub mod odbc;
mod operations;
pub mod options;
#[cfg(feature = "oracle")]
pub mod oracle;
pub mod plan;
mod plan_cache;
pub mod planner;
#[cfg(feature = "postgres")]
pub mod postgresql;
mod precondition;
mod read;
mod recorded;
pub mod request;
pub mod results;
mod routine;
pub mod rows;
mod schema;
pub mod schema_change;
mod schema_write;
pub mod shape;
pub mod shown;
pub mod sql;
#[cfg(feature = "sqlite")]
pub mod sqlite;
#[cfg(feature = "sqlserver")]
pub mod sqlserver;
mod stitch;
pub mod table_options;
#[cfg(any(feature = "odbc", feature = "sqlite"))]
mod temporal;
pub mod tls;
pub mod validation;
pub mod value;
mod write;

use super::ServiceType;

/// Every database type, in the order of the documentation.
pub(super) const TYPES: &[ServiceType] = &[
    #[cfg(feature = "sqlite")]
    ServiceType::of::<sqlite::SqliteConfig>(),
    #[cfg(feature = "postgres")]
    ServiceType::of::<postgresql::PostgresqlConfig>(),
    #[cfg(feature = "mysql")]
    ServiceType::of::<mysql::MysqlConfig>(),
    #[cfg(feature = "mysql")]
    ServiceType::of::<mysql::MariadbConfig>(),
    #[cfg(feature = "sqlserver")]
    ServiceType::of::<sqlserver::SqlServerConfig>(),
    #[cfg(feature = "oracle")]
    ServiceType::of::<oracle::OracleConfig>(),
    #[cfg(feature = "odbc")]
    ServiceType::of::<odbc::OdbcConfig>(),
];
