//! Names that callers write → columns, aggregates and their names in answers.

use super::super::catalog::{Column, Table, Type};
use super::super::plan::{Aggregate, Expression};
use super::super::request::FieldItem;
use super::condition::aggregate_column;
use crate::connector::access::Grant;
use crate::error::{Error, ErrorKind, Result, brief, nearest};

/// Most names that a help lists.
const MOST_LISTED: usize = 40;

/// The columns of a table that may be named.
#[derive(Clone, Copy)]
pub(super) struct Columns<'a> {
    pub(super) table: &'a Table,
    grant: Option<&'a Grant>,
}

impl<'a> Columns<'a> {
    /// Those that the grant admits.
    pub(super) fn admitted(table: &'a Table, grant: &'a Grant) -> Self {
        Self {
            table,
            grant: Some(grant),
        }
    }

    /// All of them, for the conditions of roles.
    pub(super) fn all(table: &'a Table) -> Self {
        Self { table, grant: None }
    }

    /// Whether a column may be named; one that does not exist may not.
    pub(super) fn admits(&self, index: usize) -> bool {
        self.table.columns.get(index).is_some_and(|column| {
            self.grant
                .is_none_or(|grant| grant.admits_field(&column.name))
        })
    }

    /// Indexes of the columns that may be named, in their own order.
    pub(super) fn indexes(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.table.columns.len()).filter(|index| self.admits(*index))
    }

    /// A column by name, if it may be named: exact first, then without regard to ASCII case.
    pub(super) fn position(&self, name: &str) -> Option<usize> {
        let named = |matches: fn(&str, &str) -> bool| {
            self.indexes().find(|index| {
                let column = self.table.columns.get(*index);
                column.is_some_and(|column| matches(&column.name, name))
            })
        };
        named(|left, right| left == right).or_else(|| named(str::eq_ignore_ascii_case))
    }

    /// The same, or 400 with a help that names only what may be named.
    pub(super) fn find(&self, name: &str) -> Result<usize> {
        self.position(name).ok_or_else(|| self.unknown(name))
    }

    /// The refusal of a name.
    pub(super) fn unknown(&self, name: &str) -> Error {
        let error = Error::new(
            ErrorKind::UnknownField,
            format!(
                "field '{}' does not exist in table '{}'",
                brief(name),
                self.table.name
            ),
        );
        error.with_help(help(name, &self.names()))
    }

    fn names(&self) -> Vec<&'a str> {
        let columns = &self.table.columns;
        self.indexes()
            .filter_map(|index| Some(columns.get(index)?.name.as_str()))
            .collect()
    }
}

/// "did you mean" if one of the names is near, all names otherwise.
pub(super) fn help(name: &str, names: &[&str]) -> String {
    match nearest(name, names.iter().copied()) {
        Some(near) => format!("did you mean '{near}'?"),
        None if names.is_empty() => "there is none to name".to_owned(),
        None => {
            let more = if names.len() > MOST_LISTED {
                ", …"
            } else {
                ""
            };
            let listed: Vec<&str> = names.iter().copied().take(MOST_LISTED).collect();
            format!("there are: {}{more}", listed.join(", "))
        }
    }
}

/// The function's name in `SUM(total)` and in the answer's `SUM_total`.
fn function_name(function: Aggregate) -> &'static str {
    match function {
        Aggregate::Count => "COUNT",
        Aggregate::Sum => "SUM",
        Aggregate::Average => "AVG",
        Aggregate::Minimum => "MIN",
        Aggregate::Maximum => "MAX",
    }
}

const FUNCTIONS: [Aggregate; 5] = [
    Aggregate::Count,
    Aggregate::Sum,
    Aggregate::Average,
    Aggregate::Minimum,
    Aggregate::Maximum,
];

/// An aggregate, looked up: what it is, its name in the answer, and what it gives.
pub(super) fn aggregate(
    columns: &Columns<'_>,
    function: Aggregate,
    name: Option<&str>,
) -> Result<(Expression, Column)> {
    let index = name.map(|name| columns.find(name)).transpose()?;
    let column = index.map(|index| columns.table.column(index)).transpose()?;
    let written = function_name(function);
    let answer = column.map_or_else(
        || format!("{written}_ALL"),
        |column| format!("{written}_{}", column.name),
    );
    let suits = match (function, column.map(|column| &column.kind)) {
        (Aggregate::Count, _) => true,
        (Aggregate::Sum | Aggregate::Average, Some(kind)) => kind.is_numeric(),
        (Aggregate::Minimum | Aggregate::Maximum, Some(kind)) => !matches!(
            kind,
            Type::Boolean | Type::Uuid | Type::Binary | Type::Json | Type::Array(_)
        ),
        (_, None) => false,
    };
    if !suits {
        let of = column.map_or("*", |column| column.name.as_str());
        return Err(Error::new(
            ErrorKind::InvalidParameter,
            format!("{written}({of}) can not be computed"),
        )
        .with_help(
            "SUM and AVG take a number, MIN and MAX what has an order, COUNT any field or `*`",
        ));
    }
    let expression = Expression::Aggregate {
        function,
        column: index,
    };
    Ok((expression, aggregate_column(function, column, answer)))
}

/// What a name means in `having` and `order` of a grouped query: a column of the group, or an aggregate as
/// `SUM_total`, `SUM(total)`, `COUNT_ALL`, `COUNT(*)`.
pub(super) fn of_group(
    columns: &Columns<'_>,
    group: &[usize],
    name: &str,
) -> Result<(Expression, Column)> {
    if let Some(index) = columns.position(name).filter(|index| group.contains(index)) {
        return Ok((
            Expression::Column(index),
            columns.table.column(index)?.clone(),
        ));
    }
    for function in FUNCTIONS {
        if let Some(of) = argument(name, function_name(function)) {
            let is_all =
                of == "*" || (of.eq_ignore_ascii_case("all") && columns.position(of).is_none());
            return aggregate(columns, function, (!is_all).then_some(of));
        }
    }
    if columns.position(name).is_some() {
        return Err(not_grouped(name));
    }
    Err(columns.unknown(name))
}

/// `total` in `SUM_total` and in `SUM(total)`, whatever the case of the function.
fn argument<'n>(name: &'n str, function: &str) -> Option<&'n str> {
    let (head, rest) = name.split_at_checked(function.len())?;
    if !head.eq_ignore_ascii_case(function) {
        return None;
    }
    let inner = rest
        .strip_prefix('_')
        .or_else(|| rest.strip_prefix('(')?.strip_suffix(')'))?
        .trim();
    (!inner.is_empty()).then_some(inner)
}

pub(super) fn not_grouped(name: &str) -> Error {
    Error::new(
        ErrorKind::InvalidParameter,
        format!(
            "field '{}' is neither in `group` nor within an aggregate",
            brief(name)
        ),
    )
    .with_help("add it to `group`, or ask for COUNT, SUM, AVG, MIN or MAX of it")
}

/// An item of `fields` or `order` in a grouped query.
pub(super) fn grouped_item(
    columns: &Columns<'_>,
    group: &[usize],
    item: &FieldItem,
) -> Result<(Expression, Column)> {
    match item {
        FieldItem::Column(name) => of_group(columns, group, name),
        FieldItem::Aggregate(function, name) => aggregate(
            columns,
            *function,
            name.as_deref().filter(|name| *name != "*"),
        ),
    }
}
