//! Databases: the registration of every product, and what they share.

pub mod backend;
mod batch;
pub mod catalog;
mod catalog_cache;
pub mod connector;
#[cfg(any(test, feature = "testing"))]
pub mod contract;
pub mod convert;
pub mod cursor;
pub mod dialect;
mod download;
#[cfg(test)]
mod fixture;
mod link_key;
mod listing;
#[cfg(feature = "mysql")]
pub mod mysql;
mod nested;
#[cfg(feature = "odbc")]
pub mod odbc;
mod operations;
pub mod options;
pub mod plan;
mod plan_cache;
pub mod planner;
#[cfg(feature = "postgres")]
pub mod postgresql;
mod precondition;
mod read;
mod recorded;
pub mod request;
pub mod rows;
mod schema;
pub mod schema_change;
mod schema_write;
pub mod sql;
#[cfg(feature = "sqlite")]
pub mod sqlite;
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
    #[cfg(feature = "odbc")]
    ServiceType::of::<odbc::OdbcConfig>(),
];
