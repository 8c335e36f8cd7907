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
mod neighbourhood;
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

#[cfg(test)]
mod tests {
    use super::TYPES;
    use serde_json::{Map, json};

    #[test]
    fn every_database_checks_what_is_said_of_its_tables() {
        for kind in TYPES {
            // What no product can do without; what a product does not know it passes over.
            let required = ["host", "database", "username", "password", "dsn", "driver"];
            let mut config: Map<_, _> = required
                .map(|key| (key.to_owned(), json!("x")))
                .into_iter()
                .collect();
            config.insert("table".to_owned(), json!({"t": {"alias": " "}}));
            let config = (kind.parse)(config.into()).unwrap();
            let problems = config.check();
            assert!(
                problems
                    .iter()
                    .any(|found| found.pointer == "/table/t/alias"),
                "`check` of `{}` must add what `DatabaseOptions::problems` says: {problems:?}",
                kind.name
            );
        }
    }
}
