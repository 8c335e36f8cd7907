//! Filters → conditions: names looked up, values typed.

use std::cell::Cell;
use std::sync::Arc;

use super::super::catalog::{Column, Table, Type};
use super::super::convert;
use super::super::plan::{Aggregate, Bind, Condition, Exists, Expression, RelatedJunction};
use super::super::request::MAX_RELATED_DEPTH;
use super::super::value::Scalar;
use super::names::{self, Columns};
use super::related::links;
use super::{MAX_RELATIONS, Planner, Target};
use crate::connector::access::{Grant, Lookups};
use crate::connector::filter::{Comparison, Field, Filter, Matching, Now, Operand};
use crate::error::{Error, ErrorKind, Result, brief};

/// What names on the left of an operator may mean.
#[derive(Clone, Copy)]
enum Names<'a> {
    /// Columns of the table.
    Columns,
    /// The columns of a group, by index, and aggregates.
    Group(&'a [usize]),
}

struct Conditions<'a> {
    columns: Columns<'a>,
    lookups: &'a Lookups,
    names: Names<'a>,
    /// How relations are followed, where they may be.
    relations: Option<Relations<'a>>,
}

/// How the relations of a table are followed.
#[derive(Clone, Copy)]
struct Relations<'a> {
    planner: &'a Planner<'a>,
    target: Target<'a>,
    /// How often a relation of a relation may be followed.
    depth: usize,
    /// How many relations the whole filter may still name.
    left: &'a Cell<usize>,
}

/// Why there is no condition.
enum Stop {
    /// A name has no value: nothing may match.
    Nothing,
    Refused(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Refused(error)
    }
}

impl Planner<'_> {
    /// The caller's filter, on columns that the grant admits and on relations of which the role may read everything that
    /// takes part, the records of each table among those that the role admits.
    pub(super) fn of_caller(
        &self,
        table: &Arc<Table>,
        grant: &Grant,
        filter: Option<&Filter>,
    ) -> Result<Condition> {
        let left = Cell::new(MAX_RELATIONS);
        let conditions = Conditions {
            columns: Columns::admitted(table, grant),
            lookups: self.access.lookups(),
            names: Names::Columns,
            relations: Some(Relations {
                planner: self,
                target: Target::new(table, grant),
                depth: MAX_RELATED_DEPTH,
                left: &left,
            }),
        };
        conditions.plan(filter)
    }
}

/// `having`: a filter on the columns of a group and on aggregates by their names.
pub(super) fn of_group(
    table: &Table,
    grant: &Grant,
    lookups: &Lookups,
    group: &[usize],
    filter: Option<&Filter>,
) -> Result<Condition> {
    let conditions = Conditions {
        columns: Columns::admitted(table, grant),
        lookups,
        names: Names::Group(group),
        relations: None,
    };
    conditions.plan(filter)
}

/// The filter of a role, on any column. A name without a value lets nothing through; a filter that does not fit the
/// table refuses the call, since the caller cannot mend it, and says why to the log.
pub(super) fn of_role(table: &Table, grant: &Grant, lookups: &Lookups) -> Result<Condition> {
    let conditions = Conditions {
        columns: Columns::all(table),
        lookups,
        names: Names::Columns,
        relations: None,
    };
    conditions.plan(grant.filter.as_deref()).map_err(|error| {
        Error::new(
            ErrorKind::Forbidden,
            format!(
                "access to the records of table '{}' is not allowed by this role",
                table.name
            ),
        )
        .with_fact("rule", grant.position.as_ref())
        .with_fact("filter", error.message().to_owned())
        .with_source(error)
    })
}

/// All of them, flat and without what says nothing.
pub(super) fn all(conditions: impl IntoIterator<Item = Condition>) -> Condition {
    let mut parts = Vec::new();
    for condition in conditions {
        match condition {
            Condition::True => {}
            Condition::False => return Condition::False,
            Condition::And(inner) => parts.extend(inner),
            other => parts.push(other),
        }
    }
    match parts.len() {
        0 => Condition::True,
        1 => parts.pop().unwrap_or(Condition::True),
        _ => Condition::And(parts),
    }
}

fn negate(condition: Condition, negated: bool) -> Condition {
    if negated {
        Condition::Not(Box::new(condition))
    } else {
        condition
    }
}

impl Conditions<'_> {
    fn plan(&self, filter: Option<&Filter>) -> Result<Condition> {
        match filter.map(|filter| self.condition(filter)) {
            None => Ok(Condition::True),
            Some(Ok(condition)) => Ok(condition),
            Some(Err(Stop::Nothing)) => Ok(Condition::False),
            Some(Err(Stop::Refused(error))) => Err(error),
        }
    }

    /// Recursion is bounded by the depth that the parser admits, and by that of relations.
    fn condition(&self, filter: &Filter) -> Result<Condition, Stop> {
        if let Some((relation, inner)) = self.dotted(filter)? {
            return self.exists(&relation, Some(&inner));
        }
        let list = |filters: &[Filter]| {
            let conditions = filters.iter().map(|filter| self.condition(filter));
            conditions.collect::<Result<Vec<_>, _>>()
        };
        Ok(match filter {
            Filter::And(filters) => Condition::And(list(filters)?),
            Filter::Or(filters) => Condition::Or(list(filters)?),
            Filter::Not(filter) => Condition::Not(Box::new(self.condition(filter)?)),
            Filter::Exists { relation, filter } => self.exists(relation, filter.as_deref())?,
            Filter::Compare {
                field,
                operator,
                value,
            } => {
                let (expression, column) = self.field(field)?;
                match (value, operator) {
                    (Operand::Null, Comparison::Equal) => Condition::IsNull(expression),
                    (Operand::Null, Comparison::NotEqual) => {
                        negate(Condition::IsNull(expression), true)
                    }
                    _ => Condition::Compare(expression, *operator, self.operand(&column, value)?),
                }
            }
            Filter::In {
                field,
                values,
                negated,
            } => {
                let (expression, column) = self.field(field)?;
                let has_null = values.contains(&Operand::Null);
                let binds = values
                    .iter()
                    .filter(|value| **value != Operand::Null)
                    .map(|value| self.operand(&column, value))
                    .collect::<Result<Vec<_>, _>>()?;
                let is_null = || Condition::IsNull(expression.clone());
                let found = match (binds.is_empty(), has_null) {
                    (true, true) => is_null(),
                    (true, false) => Condition::False,
                    (false, true) => {
                        Condition::Or(vec![Condition::In(expression.clone(), binds), is_null()])
                    }
                    (false, false) => Condition::In(expression, binds),
                };
                negate(found, *negated)
            }
            Filter::Between {
                field,
                low,
                high,
                negated,
            } => {
                let (expression, column) = self.field(field)?;
                let low = self.operand(&column, low)?;
                let high = self.operand(&column, high)?;
                negate(Condition::Between(expression, low, high), *negated)
            }
            Filter::IsNull { field, negated } => {
                let (expression, _) = self.field(field)?;
                negate(Condition::IsNull(expression), *negated)
            }
            Filter::Match {
                field,
                how,
                value,
                negated,
            } => {
                let (expression, column) = self.field(field)?;
                let text = self.text(&column, value)?;
                if matches!(how, Matching::Like | Matching::ILike) && ends_in_escape(&text) {
                    return Err(Stop::Refused(
                        Error::new(
                            ErrorKind::InvalidFilter,
                            format!("the pattern for field '{}' ends in a backslash", column.name),
                        )
                        .with_help("write `\\\\` for a backslash, `\\%` and `\\_` for the characters themselves"),
                    ));
                }
                let text = Bind::Value(Scalar::Text(text));
                negate(Condition::Match(expression, *how, text), *negated)
            }
        })
    }

    /// `relation.column` in the place of a column: the relation, and the condition without it. A column of just this
    /// name goes before, and the longest name of a relation before shorter ones.
    fn dotted(&self, filter: &Filter) -> Result<Option<(Field, Filter)>> {
        let (Some(relations), Some(field)) = (self.relations, of_leaf(filter)) else {
            return Ok(None);
        };
        if self.columns.position(&field.name).is_some() {
            return Ok(None);
        }
        for (dot, _) in field.name.rmatch_indices('.') {
            let (Some(relation), Some(column)) = (
                field.name.get(..dot),
                field.name.get(dot.saturating_add(1)..),
            ) else {
                continue;
            };
            if column.is_empty() {
                continue;
            }
            refuse_abroad(relations.target, relation)?;
            // A relation that is hidden is none, and one to a table that is not granted refuses the request.
            let known = relations.planner.followed(relations.target, relation);
            if known?.is_none() {
                continue;
            }
            let at = |name: &str| Field {
                name: name.to_owned(),
                position: field.position,
            };
            return Ok(Some((at(relation), with_field(filter, at(column)))));
        }
        Ok(None)
    }

    /// That a related record satisfies a filter.
    fn exists(&self, name: &Field, filter: Option<&Filter>) -> Result<Condition, Stop> {
        let refused = |message: String| {
            Error::new(ErrorKind::InvalidFilter, message)
                .with_fact("position", name.position.to_string())
        };
        let Some(relations) = self.relations else {
            let error = refused("EXISTS can not stand here".to_owned());
            return Err(Stop::Refused(
                error.with_help("write a condition on columns of the table itself"),
            ));
        };
        let depth = relations.depth.checked_sub(1).ok_or_else(|| {
            refused(format!(
                "the filter follows more than {MAX_RELATED_DEPTH} relations one behind another"
            ))
        })?;
        let left = relations.left.get().checked_sub(1).ok_or_else(|| {
            refused(format!(
                "the filter names more than {MAX_RELATIONS} relations"
            ))
        })?;
        relations.left.set(left);
        let planner = relations.planner;
        refuse_abroad(relations.target, &name.name)?;
        let relation = planner.relation(relations.target, &name.name)?;
        let reached = planner.reached(relations.target, relation)?;
        let inner = Conditions {
            columns: Columns::admitted(&reached.table, &reached.grant),
            lookups: self.lookups,
            names: Names::Columns,
            relations: Some(Relations {
                target: Target::new(&reached.table, &reached.grant),
                depth,
                ..relations
            }),
        };
        let wanted = filter.map(|filter| inner.condition(filter)).transpose()?;
        let role = of_role(&reached.table, &reached.grant, self.lookups)?;
        let junction = match (&relation.junction, &reached.junction) {
            (Some(between), Some((table, grant))) => Some(RelatedJunction {
                far: links(&between.far, &reached.columns),
                condition: of_role(table, grant, self.lookups)?,
                table: Arc::clone(table),
            }),
            _ => None,
        };
        let near = relation
            .junction
            .as_ref()
            .map_or(&reached.columns, |between| &between.near);
        Ok(Condition::Exists(Box::new(Exists {
            link: links(near, &relation.columns),
            junction,
            condition: all([role, wanted.unwrap_or(Condition::True)]),
            table: Arc::clone(&reached.table),
        })))
    }

    fn field(&self, field: &Field) -> Result<(Expression, Column)> {
        match self.names {
            Names::Columns => {
                let index = self
                    .columns
                    .find(&field.name)
                    .map_err(|error| error.with_fact("position", field.position.to_string()))?;
                let column = self.columns.table.column(index)?.clone();
                Ok((Expression::Column(index), column))
            }
            Names::Group(group) => names::of_group(&self.columns, group, &field.name),
        }
    }

    fn operand(&self, column: &Column, operand: &Operand) -> Result<Bind, Stop> {
        let value = match operand {
            Operand::Null => {
                return Err(Stop::Refused(
                    Error::new(
                        ErrorKind::InvalidFilter,
                        format!(
                            "field '{}' is compared with null in a way that never holds",
                            column.name
                        ),
                    )
                    .with_help("write `IS NULL` or `IS NOT NULL`"),
                ));
            }
            Operand::Now(now) => return Ok(Bind::Now(self::now(column, *now)?)),
            Operand::Boolean(value) => {
                convert::from_text(column, if *value { "true" } else { "false" })?
            }
            Operand::Number(text) | Operand::Text(text) => convert::from_text(column, text)?,
            // What the caller is called is no mistake in the filter: a value that does not fit matches nothing.
            Operand::Lookup(name) => {
                convert::from_text(column, self.lookup(name)?).map_err(|_misfit| Stop::Nothing)?
            }
        };
        Ok(Bind::Value(value))
    }

    fn text(&self, column: &Column, operand: &Operand) -> Result<String, Stop> {
        let text = match operand {
            Operand::Boolean(value) => value.to_string(),
            Operand::Number(text) | Operand::Text(text) => text.clone(),
            Operand::Lookup(name) => self.lookup(name)?.to_owned(),
            Operand::Null | Operand::Now(_) => {
                return Err(Stop::Refused(
                    Error::new(
                        ErrorKind::InvalidFilter,
                        format!("field '{}' must be matched with a text", column.name),
                    )
                    .with_help("write the text in single quotes"),
                ));
            }
        };
        if text.contains('\0') {
            return Err(Stop::Refused(Error::new(
                ErrorKind::InvalidValue,
                format!(
                    "the text for field '{}' contains a NUL character",
                    column.name
                ),
            )));
        }
        Ok(text)
    }

    /// A name without a value and one with an empty value are the same: nothing may match.
    fn lookup(&self, name: &str) -> Result<&str, Stop> {
        self.lookups
            .get(name)
            .filter(|value| !value.is_empty())
            .ok_or(Stop::Nothing)
    }
}

/// No statement spans two databases.
fn refuse_abroad(target: Target<'_>, name: &str) -> Result<()> {
    let relation = target.table.relation(name).filter(|relation| {
        let admitted = |index: &usize| target.columns.admits(*index);
        relation.columns.iter().all(admitted)
    });
    let service = relation.and_then(|relation| relation.service.as_ref());
    service.map_or(Ok(()), |service| {
        Err(Error::new(
            ErrorKind::InvalidFilter,
            format!(
                "relation '{}' leads to the service '{service}'; a filter can not follow it there",
                brief(name)
            ),
        )
        .with_help("read the records there first, and name their keys with IN"))
    })
}

/// The field of a condition that has one.
fn of_leaf(filter: &Filter) -> Option<&Field> {
    match filter {
        Filter::Compare { field, .. }
        | Filter::In { field, .. }
        | Filter::Between { field, .. }
        | Filter::IsNull { field, .. }
        | Filter::Match { field, .. } => Some(field),
        Filter::And(_) | Filter::Or(_) | Filter::Not(_) | Filter::Exists { .. } => None,
    }
}

/// The same condition on another field.
fn with_field(filter: &Filter, other: Field) -> Filter {
    let mut changed = filter.clone();
    match &mut changed {
        Filter::Compare { field, .. }
        | Filter::In { field, .. }
        | Filter::Between { field, .. }
        | Filter::IsNull { field, .. }
        | Filter::Match { field, .. } => *field = other,
        Filter::And(_) | Filter::Or(_) | Filter::Not(_) | Filter::Exists { .. } => {}
    }
    changed
}

/// Whether a pattern ends in a backslash that escapes nothing.
fn ends_in_escape(pattern: &str) -> bool {
    let backslashes = pattern.bytes().rev().take_while(|byte| *byte == b'\\');
    backslashes.count() % 2 == 1
}

/// A function for the current time, if it suits the column.
pub(super) fn now(column: &Column, now: Now) -> Result<Now> {
    let suits = match column.kind {
        Type::Time | Type::TimeTz => matches!(now, Now::Time | Now::Timestamp),
        Type::Date | Type::DateTime | Type::TimestampTz => {
            matches!(now, Now::Date | Now::Timestamp)
        }
        _ => false,
    };
    if suits {
        Ok(now)
    } else {
        Err(convert::wrong(column))
    }
}

/// The kind of value that an aggregate gives, as a column of its own.
pub(super) fn aggregate_column(
    function: Aggregate,
    column: Option<&Column>,
    name: String,
) -> Column {
    let kind = match (function, column) {
        (Aggregate::Minimum | Aggregate::Maximum, Some(column)) => column.kind.clone(),
        _ => Type::Decimal,
    };
    Column {
        name,
        kind,
        db_type: String::new(),
        native: 0,
        is_nullable: true,
        default: None,
        is_auto_increment: false,
        is_generated: false,
        length: None,
        precision: None,
        scale: None,
        picklist: Vec::new(),
        description: None,
        settings: None,
    }
}
