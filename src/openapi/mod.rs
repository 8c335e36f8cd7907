//! x
pub mod page;
use crate::connector::{Description, access::Access, operation::Operation};
pub struct ServiceDescription<'a> {
    pub name: &'a str,
    pub label: &'a str,
    pub description: &'a str,
    pub operations: &'a [Operation],
    pub details: &'a Description,
    pub access: Access,
}
pub fn document(_: &[ServiceDescription<'_>], _: bool, _: &str) -> serde_json::Value {
    serde_json::Value::Null
}
