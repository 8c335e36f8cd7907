//! `related`: records of other tables within records.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::super::catalog::{Relation, RelationKind, Table};
use super::super::plan::{Condition, Expression, Output, Related, RelatedJunction, Select};
use super::super::request::{MAX_RELATED_DEPTH, RecordsQuery, RelatedRequest};
use super::names::{Columns, help};
use super::{MAX_RELATIONS, Planner, Target, condition, is_grouped};
use crate::connector::access::Grant;
use crate::error::{Error, ErrorKind, Result, brief};
use crate::names::ServiceName;

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
        above: &mut Vec<(Option<ServiceName>, String)>,
    ) {
        let here = (self.service.cloned(), target.table.name.clone());
        if above.len() >= MAX_RELATED_DEPTH || above.contains(&here) {
            return;
        }
        let is_above = |relation: &Relation| {
            let service = relation.service.as_ref().or(self.service);
            above
                .iter()
                .any(|(of, table)| of.as_ref() == service && *table == relation.target)
        };
        let wanted: Vec<&Relation> = self
            .all_but(target, requests)
            .into_iter()
            .filter(|relation| relation.is_always && !is_above(relation))
            .collect();
        if !requests.iter().any(|request| request.name == "*") {
            requests.extend(wanted.into_iter().map(|relation| RelatedRequest {
                name: relation.name.clone(),
                ..RelatedRequest::default()
            }));
        }
        above.push(here);
        for request in requests {
            let reached = target
                .table
                .relation(&request.name)
                .and_then(|relation| self.reach(target, relation).ok());
            if let Some(reached) = reached {
                let there = Target::new(&reached.table, &reached.grant);
                self.there(reached.service.as_ref())
                    .always(there, &mut request.related, above);
            }
        }
        above.pop();
    }

    /// The services that are asked for and not known yet, and what is wanted of each.
    pub fn missing(&self, table: &Table, requests: &[RelatedRequest]) -> Missing {
        let mut missing = Missing::new();
        let mut left = MAX_RELATIONS;
        self.gather(table, requests, MAX_RELATED_DEPTH, &mut left, &mut missing);
        missing
    }

    fn gather(
        &self,
        table: &Table,
        requests: &[RelatedRequest],
        depth: usize,
        left: &mut usize,
        missing: &mut Missing,
    ) {
        let Some(depth) = depth.checked_sub(1) else {
            return;
        };
        for relation in &table.relations {
            let named = requests
                .iter()
                .find(|request| request.name.eq_ignore_ascii_case(&relation.name));
            let request = named.or_else(|| requests.iter().find(|request| request.name == "*"));
            if request.is_none() && !relation.is_always {
                continue;
            }
            // Planning refuses what asks for more.
            let Some(rest) = left.checked_sub(1) else {
                return;
            };
            *left = rest;
            let inner = request.map_or(&[][..], |request| &request.related);
            if let Some(service) = &relation.service
                && !self.neighbourhood.is_settled(service)
            {
                missing.entry(service.clone()).or_default().push(Wanted {
                    table: relation.target.clone(),
                    is_named: named.is_some(),
                });
                continue;
            }
            let planner = self.there(relation.service.as_ref());
            if relation.service.is_some() && planner.service != relation.service.as_ref() {
                continue;
            }
            if let Ok(table) = planner.catalog.table(&relation.target, |_| false) {
                planner.gather(table, inner, depth, left, missing);
            }
        }
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
            (relation.service.is_some() || self.may_read(&relation.target))
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
        let (table, grant, columns) = match &relation.service {
            None => {
                let table = Arc::clone(self.catalog.get(&relation.target)?);
                let grant = self.grant(&table.name)?;
                (table, grant, relation.target_columns.clone())
            }
            Some(service) => self.abroad(relation, service)?,
        };
        if !admits(&Columns::admitted(&table, &grant), &columns) {
            return Err(Reach::Hidden);
        }
        Ok(Reached {
            table,
            grant,
            columns,
            junction,
            service: relation.service.as_ref().or(self.service).cloned(),
        })
    }

    /// The related table in another service, and its columns that take part. 403 before anything is told of it.
    fn abroad(
        &self,
        relation: &Relation,
        service: &ServiceName,
    ) -> Result<(Arc<Table>, Grant, Vec<usize>)> {
        let Some(known) = self.neighbourhood.get(service) else {
            return Err(Error::new(
                ErrorKind::Forbidden,
                format!(
                    "relation '{}' leads to the service '{service}', which this role may not read",
                    relation.name
                ),
            ));
        };
        let there = self.there(Some(service));
        there.grant(&relation.target)?;
        let broken = |what: String| {
            Error::new(
                ErrorKind::UnknownTable,
                format!(
                    "relation '{}' leads to {what} of the service '{service}', which is not there",
                    relation.name
                ),
            )
        };
        let table = known
            .catalog
            .table(&relation.target, |_| false)
            .map_err(|_unknown| broken(format!("the table '{}'", relation.target)))?;
        let grant = there.grant(&table.name)?;
        let columns = relation
            .service_columns
            .iter()
            .map(|name| {
                table
                    .column_index(name)
                    .ok_or_else(|| broken(format!("the field '{name}' of table '{}'", table.name)))
            })
            .collect::<Result<_>>()?;
        Ok((Arc::clone(table), grant, columns))
    }

    /// The planner for the tables of another service; the same one for none, and for one that is not known.
    fn there<'p>(&'p self, service: Option<&ServiceName>) -> Planner<'p> {
        let found = service.and_then(|service| {
            let known = self.neighbourhood.get(service)?;
            Some((self.neighbourhood.name(service)?, known))
        });
        match found {
            None => *self,
            Some((name, known)) => Planner {
                catalog: &known.catalog,
                access: &known.access,
                options: &known.connector.options,
                neighbourhood: self.neighbourhood,
                service: Some(name),
            },
        }
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
        let planner = self.there(reached.service.as_ref());
        let lookups = planner.access.lookups();
        let mut output = there.fields(&request.fields, &there.shown())?;
        output.extend(planner.level(there, &request.related, depth, left)?);
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
                planner.of_caller(&reached.table, &reached.grant, request.filter.as_ref())?,
            ]),
            group: Vec::new(),
            having: Condition::True,
            order: {
                let orders = there.orders(&request.order)?;
                if many { orders } else { Vec::new() }
            },
            limit: Some(if many {
                planner.limit(request.limit)
            } else {
                1
            }),
            offset: if many { request.offset } else { 0 },
        };
        let junction = match (&relation.junction, reached.junction) {
            (Some(between), Some((table, grant))) => Some(RelatedJunction {
                far: links(&between.far, &reached.columns),
                condition: condition::of_role(&table, &grant, self.access.lookups())?,
                table,
            }),
            _ => None,
        };
        let link = match &relation.junction {
            Some(between) => links(&between.near, &relation.columns),
            None => links(&reached.columns, &relation.columns),
        };
        Ok(Related {
            select,
            link,
            junction,
            many,
            service: reached.service,
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
    /// Those columns of the table that take part.
    pub(super) columns: Vec<usize>,
    /// The service that has the table; none for the service of the call.
    service: Option<ServiceName>,
    /// The table between.
    pub(super) junction: Option<(Arc<Table>, Grant)>,
}

/// What a call leads to in services that are not known yet.
pub type Missing = BTreeMap<ServiceName, Vec<Wanted>>;

/// A table of another service.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Its name there.
    pub table: String,
    /// Whether the caller named the relation: it is refused where it may not be read, and left out otherwise.
    pub is_named: bool,
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
