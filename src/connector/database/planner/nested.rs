//! Records with related records in them: which members are relations, and where related records are.

use std::sync::Arc;

use serde_json::value::RawValue;

use super::super::catalog::{Relation, Table};
use super::super::plan::{Condition, Delete, Expression, Output, Select};
use super::super::request::{Record, RecordsQuery};
use super::super::value::Scalar;
use super::names::Columns;
use super::{Planner, Target, condition, key_columns};
use crate::connector::access::{Grant, Verbs};
use crate::error::{Error, ErrorKind, Result};

/// A record of which the related ones were taken out.
#[derive(Debug)]
pub struct Split<'t> {
    /// The members that are columns, or nothing that is known.
    pub plain: Record,
    /// The relations and what is to be written through them, in the order of the record.
    pub nested: Vec<(&'t Relation, Box<RawValue>)>,
}

impl Planner<'_> {
    /// Takes the related records out of a record. A relation is known to a role that admits its columns in the table
    /// and may do something with the table on its other side; what may be done is decided when it is done.
    pub fn split<'t>(
        &self,
        table: &'t Arc<Table>,
        grant: &Grant,
        record: &Record,
    ) -> Result<Split<'t>> {
        let columns = Columns::admitted(table, grant);
        let mut split = Split {
            plain: Record::new(),
            nested: Vec::new(),
        };
        for (name, value) in record {
            let relation = if columns.position(name).is_none() {
                self.writable_relation(table, grant, name)
            } else {
                None
            };
            let Some(relation) = relation else {
                split.plain.insert(name.clone(), value.clone());
                continue;
            };
            let is_twice = split
                .nested
                .iter()
                .any(|(known, _)| known.name == relation.name);
            if let Some(service) = &relation.service {
                return Err(Error::new(
                    ErrorKind::InvalidBody,
                    format!(
                        "relation '{}' leads to the service '{service}' and can only be read",
                        relation.name
                    ),
                )
                .with_help(
                    "one transaction holds one database: write there by a request of its own",
                ));
            }
            if is_twice {
                return Err(Error::new(
                    ErrorKind::InvalidBody,
                    format!("relation '{}' stands twice in the record", relation.name),
                ));
            }
            split.nested.push((relation, value.clone()));
        }
        Ok(split)
    }

    /// Whether a record has related records in it.
    pub fn is_nested(&self, table: &Arc<Table>, grant: &Grant, record: &Record) -> bool {
        let columns = Columns::admitted(table, grant);
        record.keys().any(|name| {
            columns.position(name).is_none() && self.writable_relation(table, grant, name).is_some()
        })
    }

    fn writable_relation<'t>(
        &self,
        table: &'t Arc<Table>,
        grant: &Grant,
        name: &str,
    ) -> Option<&'t Relation> {
        let named = self.named(table, grant);
        let columns = Columns::admitted(table, &named);
        table.relation(name).filter(|relation| {
            let touched = |table: &str| self.access.verbs(&super::component(table)) != Verbs::NONE;
            relation.service.is_none()
                && relation.columns.iter().all(|index| columns.admits(*index))
                && touched(&relation.target)
                && relation
                    .junction
                    .as_ref()
                    .is_none_or(|junction| touched(&junction.table))
        })
    }

    /// The records that have these values in these columns and that the grant admits: the columns `output` of them.
    pub fn located(
        &self,
        table: &Arc<Table>,
        grant: &Grant,
        columns: &[usize],
        values: &[Scalar],
        output: &[usize],
    ) -> Result<Select> {
        let chosen = Condition::keys(columns, &[values.to_vec()]);
        let role = condition::of_role(table, grant, self.access.lookups())?;
        Ok(Select {
            table: Arc::clone(table),
            output: outputs(table, output)?,
            visible: output.len(),
            condition: condition::all([chosen, role]),
            group: Vec::new(),
            having: Condition::True,
            order: Vec::new(),
            limit: None,
            offset: 0,
        })
    }

    /// The removal of the records that have these values in these columns and that the grant admits.
    pub fn removal(
        &self,
        table: &Arc<Table>,
        grant: &Grant,
        columns: &[usize],
        values: &[Scalar],
    ) -> Result<Delete> {
        super::write::writable(table)?;
        let chosen = Condition::keys(columns, &[values.to_vec()]);
        let role = condition::of_role(table, grant, self.access.lookups())?;
        Ok(Delete {
            table: Arc::clone(table),
            condition: condition::all([chosen, role]),
            returning: Vec::new(),
        })
    }

    /// Whether a record says more than which record it is: whether there is anything to change by it.
    pub fn changes(
        &self,
        table: &Arc<Table>,
        grant: &Grant,
        record: &Record,
        query: &RecordsQuery,
    ) -> Result<bool> {
        let key = key_columns(table, &self.named(table, grant), &query.id_field)?;
        let target = Target::new(table, grant);
        Ok(record.keys().any(|name| {
            target.columns.position(name).is_none_or(|index| {
                let column = table.columns.get(index);
                !key.contains(&index) && column.is_some_and(|column| !column.is_auto_increment)
            })
        }))
    }
}

/// Columns as outputs of a statement.
pub fn outputs(table: &Table, columns: &[usize]) -> Result<Vec<Output>> {
    columns
        .iter()
        .map(|index| {
            Ok(Output {
                name: table.column(*index)?.name.clone(),
                expression: Expression::Column(*index),
            })
        })
        .collect()
}
