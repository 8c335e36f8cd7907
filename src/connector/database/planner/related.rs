//! `related`: records of other tables within records.

use std::sync::Arc;

use super::super::catalog::{Relation, RelationKind, Table};
use super::super::plan::{Condition, Expression, Output, Related, RelatedJunction, Select};
use super::super::request::{MAX_RELATED_DEPTH, RecordsQuery, RelatedRequest};
use super::names::{Columns, help};
use super::{MAX_RELATIONS, Planner, Target, condition, is_grouped};
use crate::connector::access::Grant;
use crate::error::{Error, ErrorKind, Result, brief};

impl Planner<'_> {
    /// What `related` adds to each record.
    ///
    /// A relation is there for a role that admits the columns that take part in it, on both sides; else it behaves as
    /// if it did not exist. The tables that it reaches must be granted for GET, or the whole request is refused.
    pub(super) fn related(
        &self,
        target: Target<'_>,
        requests: &[RelatedRequest],
    ) -> Result<Vec<Output>> {
        let mut left = MAX_RELATIONS;
        self.level(target, requests, MAX_RELATED_DEPTH, &mut left)
    }

    fn level(
        &self,
        target: Target<'_>,
        requests: &[RelatedRequest],
        depth: usize,
        left: &mut usize,
    ) -> Result<Vec<Output>> {
        if requests.is_empty() {
            return Ok(Vec::new());
        }
        let depth = depth.checked_sub(1).ok_or_else(|| {
            Error::new(
                ErrorKind::InvalidParameter,
                format!("`related` is nested more than {MAX_RELATED_DEPTH} levels deep"),
            )
        })?;
        let mut outputs: Vec<Output> = Vec::new();
        for request in requests {
            let relations = if request.name == "*" {
                self.all_but(target, requests)
            } else {
                vec![self.relation(target, &request.name)?]
            };
            for relation in relations {
                if outputs.iter().any(|output| output.name == relation.name) {
                    continue;
                }
                *left = left.checked_sub(1).ok_or_else(|| {
                    Error::new(
                        ErrorKind::InvalidParameter,
                        format!("`related` asks for more than {MAX_RELATIONS} relations"),
                    )
                })?;
                let related = self.embed(target, relation, request, depth, left)?;
                outputs.push(Output {
                    name: relation.name.clone(),
                    expression: Expression::Related(Box::new(related)),
                });
            }
        }
        Ok(outputs)
    }

    /// Adds the relations that the manifest has read along with every record, at every level, as far as the role may
    /// read them. No table is entered a second time.
    pub fn add_always(&self, table: &Arc<Table>, grant: &Grant, query: &mut RecordsQuery) {
        if !is_grouped(query) && self.catalog.has_always() {
            let target = Target::new(table, grant);
            self.always(target, &mut query.related, &mut Vec::new());
        }
    }

    fn always(
        &self,
        target: Target<'_>,
        requests: &mut Vec<RelatedRequest>,
        above: &mut Vec<String>,
    ) {
        if above.len() >= MAX_RELATED_DEPTH || above.contains(&target.table.name) {
            return;
        }
        let wanted: Vec<&Relation> = self
            .all_but(target, requests)
            .into_iter()
            .filter(|relation| relation.is_always && !above.contains(&relation.target))
            .collect();
        if !requests.iter().any(|request| request.name == "*") {
            requests.extend(wanted.into_iter().map(|relation| RelatedRequest {
                name: relation.name.clone(),
                ..RelatedRequest::default()
            }));
        }
        above.push(target.table.name.clone());
        for request in requests {
            let reached = target
                .table
                .relation(&request.name)
                .and_then(|relation| self.reach(target, relation).ok());
            if let Some(reached) = reached {
                let there = Target::new(&reached.table, &reached.grant);
                self.always(there, &mut request.related, above);
            }
        }
        above.pop();
    }

    /// The relations that the role may read, but for those that are named.
    fn all_but<'t>(&self, target: Target<'t>, requests: &[RelatedRequest]) -> Vec<&'t Relation> {
        let is_named = |relation: &Relation| {
            let same = |request: &RelatedRequest| request.name.eq_ignore_ascii_case(&relation.name);
            requests.iter().any(same)
        };
        self.readable(target)
            .filter(|relation| !is_named(relation))
            .collect()
    }

    /// The relations of which the role may read every table and every column that takes part.
    fn readable<'t>(&self, target: Target<'t>) -> impl Iterator<Item = &'t Relation> {
        let table: &'t Table = target.table;
        table.relations.iter().filter(move |relation| {
            let junction = relation.junction.as_ref();
            self.may_read(&relation.target)
                && junction.is_none_or(|junction| self.may_read(&junction.table))
                && self.reach(target, relation).is_ok()
        })
    }

    /// A relation by its name, if the role may read all that takes part in it.
    pub(super) fn readable_relation<'t>(
        &self,
        target: Target<'t>,
        name: &str,
    ) -> Option<&'t Relation> {
        let table: &'t Table = target.table;
        table
            .relation(name)
            .filter(|relation| self.reach(target, relation).is_ok())
    }

    /// A relation by its name, or 400 with a help that names those that the role may read.
    pub(super) fn relation<'t>(&self, target: Target<'t>, name: &str) -> Result<&'t Relation> {
        let table: &'t Table = target.table;
        let unknown = || {
            let names: Vec<&str> = self
                .readable(target)
                .map(|relation| relation.name.as_str())
                .collect();
            Error::new(
                ErrorKind::UnknownRelation,
                format!(
                    "relation '{}' does not exist on table '{}'",
                    brief(name),
                    table.name
                ),
            )
            .with_help(help(name, &names))
        };
        let relation = table.relation(name).ok_or_else(unknown)?;
        // A table that is not granted refuses the request; a hidden column hides the relation.
        match self.reach(target, relation) {
            Ok(_) => Ok(relation),
            Err(Reach::Refused(error)) => Err(error),
            Err(Reach::Hidden) => Err(unknown()),
        }
    }

    /// A relation by its name, none if it is not there or hidden; 403 if it leads to what is not granted.
    pub(super) fn followed<'t>(
        &self,
        target: Target<'t>,
        name: &str,
    ) -> Result<Option<&'t Relation>> {
        let table: &'t Table = target.table;
        let Some(relation) = table.relation(name) else {
            return Ok(None);
        };
        match self.reach(target, relation) {
            Ok(_) => Ok(Some(relation)),
            Err(Reach::Refused(error)) => Err(error),
            Err(Reach::Hidden) => Ok(None),
        }
    }

    /// The tables of a relation that was found by [`Planner::relation`], and what may be read of them.
    pub(super) fn reached(&self, target: Target<'_>, relation: &Relation) -> Result<Reached> {
        self.reach(target, relation).map_err(|reach| match reach {
            Reach::Refused(error) => error,
            Reach::Hidden => Error::internal("a hidden relation was planned"),
        })
    }

    /// The tables of a relation and what may be read of them.
    fn reach(&self, target: Target<'_>, relation: &Relation) -> Result<Reached, Reach> {
        let admits = |columns: &Columns<'_>, indexes: &[usize]| {
            indexes.iter().all(|index| columns.admits(*index))
        };
        if !admits(&target.columns, &relation.columns) {
            return Err(Reach::Hidden);
        }
        if let Some(service) = &relation.service {
            return Err(Reach::Refused(
                Error::new(
                    ErrorKind::InvalidParameter,
                    format!(
                        "relation '{}' leads to the service '{service}' and can not be read from here",
                        relation.name
                    ),
                )
                .with_help(format!("read the table '{}' there", relation.target)),
            ));
        }
        let table = Arc::clone(self.catalog.get(&relation.target)?);
        let grant = self.grant(&table.name)?;
        if !admits(&Columns::admitted(&table, &grant), &relation.target_columns) {
            return Err(Reach::Hidden);
        }
        let junction = match &relation.junction {
            None => None,
            Some(junction) => {
                let between = Arc::clone(self.catalog.get(&junction.table)?);
                let grant = self.grant(&between.name)?;
                let columns = Columns::admitted(&between, &grant);
                if !admits(&columns, &junction.near) || !admits(&columns, &junction.far) {
                    return Err(Reach::Hidden);
                }
                Some((between, grant))
            }
        };
        Ok(Reached {
            table,
            grant,
            junction,
        })
    }

    fn embed(
        &self,
        target: Target<'_>,
        relation: &Relation,
        request: &RelatedRequest,
        depth: usize,
        left: &mut usize,
    ) -> Result<Related> {
        let reached = self.reached(target, relation)?;
        let there = Target::new(&reached.table, &reached.grant);
        let lookups = self.access.lookups();
        let mut output = there.fields(&request.fields, &there.shown())?;
        output.extend(self.level(there, &request.related, depth, left)?);
        let many = matches!(
            relation.kind,
            RelationKind::HasMany | RelationKind::ManyMany
        );
        let select = Select {
            table: Arc::clone(&reached.table),
            visible: output.len(),
            output,
            condition: condition::all([
                condition::of_role(&reached.table, &reached.grant, lookups)?,
                self.of_caller(&reached.table, &reached.grant, request.filter.as_ref())?,
            ]),
            group: Vec::new(),
            having: Condition::True,
            order: {
                let orders = there.orders(&request.order)?;
                if many { orders } else { Vec::new() }
            },
            limit: Some(if many { self.limit(request.limit) } else { 1 }),
            offset: if many { request.offset } else { 0 },
        };
        let junction = match (&relation.junction, reached.junction) {
            (Some(between), Some((table, grant))) => Some(RelatedJunction {
                far: links(&between.far, &relation.target_columns),
                condition: condition::of_role(&table, &grant, lookups)?,
                table,
            }),
            _ => None,
        };
        let link = match &relation.junction {
            Some(between) => links(&between.near, &relation.columns),
            None => links(&relation.target_columns, &relation.columns),
        };
        Ok(Related {
            select,
            link,
            junction,
            many,
        })
    }
}

/// Pairs of columns that are equal.
pub(super) fn links(left: &[usize], right: &[usize]) -> Vec<(usize, usize)> {
    left.iter().copied().zip(right.iter().copied()).collect()
}

/// The tables of a relation and what may be read of them.
pub(super) struct Reached {
    pub(super) table: Arc<Table>,
    pub(super) grant: Grant,
    /// The table between.
    pub(super) junction: Option<(Arc<Table>, Grant)>,
}

/// Why a relation cannot be followed.
enum Reach {
    Refused(Error),
    Hidden,
}

impl From<Error> for Reach {
    fn from(error: Error) -> Self {
        Self::Refused(error)
    }
}
