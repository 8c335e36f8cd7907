//! Databases: the registration of every product, and what they share.

pub mod backend;
pub mod catalog;
pub mod dialect;
pub mod options;
pub mod plan;
#[cfg(feature = "postgres")]
mod postgresql;
pub mod request;
pub mod rows;
pub mod sql;
pub mod value;

use super::ServiceType;

/// Every database type, in the order of the documentation.
pub(super) const TYPES: &[ServiceType] = &[
    #[cfg(feature = "postgres")]
    ServiceType::of::<postgresql::PostgresqlConfig>(),
];
