//! Plans → statements. Pure.
//!
//! Whatever comes from a caller is bound; what stands in the text are names from the catalog, through
//! [`Dialect::quote`], and row counts that were clipped.

use std::fmt::Write as _;
use std::sync::Arc;

use super::super::catalog::{Column, Table, Type};
use super::super::dialect::{Computed, Dialect, InsertOutput, Returning};
use super::super::plan::{
    Aggregate, Bind, Children, Condition, Delete, Exists, Expression, Insert, Order, Output,
    Related, RelatedJunction, Select, Update, Write,
};
use super::super::value::Scalar;
use super::{RenderOptions, Statement};
use crate::connector::filter::Comparison;
use crate::error::{Error, Result};

/// Conditions side by side in one list; longer lists are split in halves, because SQLite bounds the depth of the tree
/// that `a OR b OR c …` makes (`SQLITE_MAX_EXPR_DEPTH`).
const MOST_SIDE_BY_SIDE: usize = 100;

/// Writes a select. With `lock`, the rows stay as they are until the transaction ends.
pub fn render_select(
    dialect: &dyn Dialect,
    select: &Select,
    lock: bool,
    options: RenderOptions,
) -> Result<Statement> {
    let mut renderer = Renderer::new(dialect, options);
    let is_plain = select.group.is_empty()
        && !select
            .output
            .iter()
            .any(|output| matches!(output.expression, Expression::Aggregate { .. }));
    let locks = lock && is_plain;
    renderer.select(select, locks)?;
    if locks {
        renderer.sql.push_str(dialect.lock());
    }
    Ok(Statement {
        expected_rows: expected_rows(select),
        ..renderer.finish(&select.table, &select.output, false)
    })
}

/// What an output holds.
fn kind(table: &Table, expression: &Expression) -> Option<Type> {
    let of = |index: &usize| table.columns.get(*index).map(|column| column.kind.clone());
    match expression {
        Expression::Column(index) => of(index),
        Expression::Aggregate { function, column } => match (function, column) {
            (Aggregate::Count, _) => Some(Type::BigInt),
            (Aggregate::Minimum | Aggregate::Maximum, Some(index)) => of(index),
            (Aggregate::Sum, Some(index)) => of(index).map(|kind| match kind {
                Type::Boolean | Type::SmallInt | Type::Integer => Type::BigInt,
                other => other,
            }),
            _ => None,
        },
        Expression::Related(_) => Some(Type::Json),
        Expression::Holds(_) => Some(Type::Boolean),
        Expression::Position { .. } => None,
    }
}

/// Writes a query for the records of many parents. Each row ends with the values of [`Children::columns`].
///
/// Where a parent may have several records, they are numbered by `ROW_NUMBER`, which every product has (SQL:2003,
/// T611).
pub fn render_children(
    dialect: &dyn Dialect,
    children: &Children,
    options: RenderOptions,
) -> Result<Statement> {
    let mut renderer = Renderer::new(dialect, options);
    let select = &children.select;
    let is_single = children.junction.is_none()
        && select.offset == 0
        && select.table.is_unique(&children.columns);
    if is_single {
        renderer.single_children(children)?;
    } else {
        renderer.numbered_children(children)?;
    }
    let owner = children
        .junction
        .as_ref()
        .map_or(&select.table, |between| &between.table);
    let links = children
        .columns
        .iter()
        .map(|index| kind(owner, &Expression::Column(*index)));
    let statement = renderer.finish(&select.table, &select.output, false);
    Ok(Statement {
        expected_rows: is_single.then(|| rows_of_keys(select)).flatten(),
        kinds: statement.kinds.iter().cloned().chain(links).collect(),
        ..statement
    })
}

/// Most rows that a select can give.
fn expected_rows(select: &Select) -> Option<u64> {
    let is_aggregate = select.group.is_empty()
        && !select.output.is_empty()
        && select
            .output
            .iter()
            .all(|output| matches!(output.expression, Expression::Aggregate { .. }));
    if is_aggregate {
        Some(1)
    } else {
        select.limit.or_else(|| rows_of_keys(select))
    }
}

/// Most rows that the condition lets through, if it names keys.
fn rows_of_keys(select: &Select) -> Option<u64> {
    let mut parts = Vec::new();
    conjuncts(&select.condition, &mut parts);
    let mut equal = Vec::new();
    let mut listed = None;
    for part in parts {
        match part {
            Condition::Compare(Expression::Column(column), Comparison::Equal, _) => {
                equal.push(*column);
            }
            Condition::In(Expression::Column(column), values)
                if select.table.is_unique(&[*column]) =>
            {
                listed = u64::try_from(values.len()).ok();
            }
            _ => {}
        }
    }
    if select.table.is_unique(&equal) {
        Some(1)
    } else {
        listed
    }
}

/// The conditions that must all hold.
fn conjuncts<'a>(condition: &'a Condition, parts: &mut Vec<&'a Condition>) {
    match condition {
        Condition::And(list) => list.iter().for_each(|part| conjuncts(part, parts)),
        part => parts.push(part),
    }
}

/// Writes a write. Where the dialect has no RETURNING, the statement gives no rows; `sql::reread` sees to the answer.
pub fn render_write(
    dialect: &dyn Dialect,
    write: &Write,
    options: RenderOptions,
) -> Result<Statement> {
    let mut renderer = Renderer::new(dialect, options);
    match write {
        Write::Insert(insert) => renderer.insert(insert, &InsertOutput::default())?,
        Write::Update(update) => renderer.update(update)?,
        Write::Delete(delete) => renderer.delete(delete)?,
    }
    renderer.returning(write)?;
    Ok(renderer.finish(write.table(), write.returning(), write.check().is_some()))
}

/// Writes an insert that gives the values of these columns as its only row, by [`Dialect::insert_output`].
pub(in crate::connector::database) fn render_insert(
    dialect: &dyn Dialect,
    insert: &Insert,
    columns: &[usize],
    output: &InsertOutput,
    options: RenderOptions,
) -> Result<Statement> {
    let mut renderer = Renderer::new(dialect, options);
    renderer.insert(insert, output)?;
    let kinds = columns
        .iter()
        .map(|index| Ok(insert.table.column(*index)?.kind.clone()))
        .collect::<Result<Vec<_>>>()?;
    Ok(Statement {
        returned: kinds.into(),
        ..renderer.finish(&insert.table, &[], false)
    })
}

/// A table as statements name it, and these of its columns, separated by commas.
pub(super) fn render_names(
    dialect: &dyn Dialect,
    table: &Table,
    columns: &[usize],
) -> Result<(String, String)> {
    let renderer = Renderer::new(dialect, RenderOptions::default());
    Ok((
        renderer.table_name(table),
        renderer.plain_names(table, columns)?,
    ))
}

/// A table within a statement, and what its columns are qualified with.
#[derive(Clone, Copy)]
struct Scope<'a> {
    table: &'a Table,
    alias: Option<&'a str>,
}

struct Renderer<'a> {
    dialect: &'a dyn Dialect,
    options: RenderOptions,
    sql: String,
    binds: Vec<Bind>,
    aliases: usize,
}

impl<'a> Renderer<'a> {
    fn new(dialect: &'a dyn Dialect, options: RenderOptions) -> Self {
        Self {
            dialect,
            options,
            sql: String::with_capacity(256),
            binds: Vec::new(),
            aliases: 0,
        }
    }

    /// `is_checked` says whether a truth value follows the output.
    fn finish(self, table: &Table, output: &[Output], is_checked: bool) -> Statement {
        let kinds = output
            .iter()
            .map(|output| kind(table, &output.expression))
            .chain(is_checked.then_some(Some(Type::Boolean)));
        let kinds: Vec<Option<Type>> = kinds.collect();
        let json_columns = output.iter().enumerate().filter_map(|(index, output)| {
            matches!(output.expression, Expression::Related(_)).then_some(index)
        });
        Statement {
            sql: self.sql.into(),
            json_columns: json_columns.collect::<Vec<_>>().into(),
            binds: self.binds.into(),
            expected_rows: None,
            kinds: kinds.into(),
            returned: Arc::default(),
            returned_names: Arc::default(),
        }
    }

    fn alias(&mut self, letter: char) -> String {
        let alias = format!("{letter}{}", self.aliases);
        self.aliases += 1;
        alias
    }

    /// The placeholder of a value.
    fn bind(&mut self, bind: Bind) -> String {
        self.binds.push(bind);
        self.dialect.placeholder(self.binds.len())
    }

    fn table_name(&self, table: &Table) -> String {
        let name = self.dialect.quote(&table.native);
        match &table.schema {
            Some(schema) => format!("{}.{name}", self.dialect.quote(schema)),
            None => name,
        }
    }

    fn column(&self, scope: Scope<'_>, index: usize) -> Result<String> {
        let name = self.dialect.quote(scope.table.column(index)?.own_name());
        Ok(match scope.alias {
            Some(alias) => format!("{alias}.{name}"),
            None => name,
        })
    }

    fn comparable(&self, scope: Scope<'_>, index: usize) -> Result<String> {
        let sql = self.column(scope, index)?;
        Ok(self.dialect.comparable(&sql, scope.table.column(index)?))
    }

    fn select(&mut self, select: &Select, locks: bool) -> Result<()> {
        let alias = self.alias('t');
        let scope = Scope {
            table: &select.table,
            alias: Some(&alias),
        };
        self.sql.push_str("SELECT ");
        for (index, output) in select.output.iter().enumerate() {
            if index > 0 {
                self.sql.push_str(", ");
            }
            self.output(scope, &output.expression, !select.group.is_empty())?;
        }
        let table = self.table_name(&select.table);
        let _ = write!(
            self.sql,
            " FROM {table}{}{alias}",
            self.dialect.table_alias()
        );
        if locks {
            self.sql.push_str(self.dialect.lock_hint());
        }
        self.filter(" WHERE ", scope, &select.condition)?;
        self.tail(scope, select)
    }

    /// Records of which every parent has at most one: no number is needed.
    fn single_children(&mut self, children: &Children) -> Result<()> {
        let select = &children.select;
        let alias = self.alias('t');
        let scope = Scope {
            table: &select.table,
            alias: Some(&alias),
        };
        self.sql.push_str("SELECT ");
        for output in &select.output {
            self.output(scope, &output.expression, false)?;
            self.sql.push_str(", ");
        }
        for (position, index) in children.columns.iter().enumerate() {
            if position > 0 {
                self.sql.push_str(", ");
            }
            self.output(scope, &Expression::Column(*index), false)?;
        }
        let table = self.table_name(&select.table);
        let between = self.dialect.table_alias();
        let _ = write!(self.sql, " FROM {table}{between}{alias}");
        self.filter(" WHERE ", scope, &select.condition)
    }

    /// Records that are numbered for each parent, so that limit and offset hold for each.
    fn numbered_children(&mut self, children: &Children) -> Result<()> {
        let select = &children.select;
        let rows = self.alias('r');
        let alias = self.alias('t');
        let links = self.alias('r');
        let scope = Scope {
            table: &select.table,
            alias: Some(&alias),
        };
        let owner = children
            .junction
            .as_ref()
            .map_or(&select.table, |between| &between.table);
        // Outside, what the rows consist of; inside, the same as `c0`, `c1`, … and the number.
        self.sql.push_str("SELECT ");
        for (index, output) in select.output.iter().enumerate() {
            let sql = format!("{rows}.c{index}");
            match &output.expression {
                Expression::Column(column) => self.shown(&sql, select.table.column(*column)?),
                Expression::Related(_) => {
                    let named = self.dialect.named(Computed::Json);
                    let _ = write!(self.sql, "{sql}{named}");
                }
                _ => return Err(misplaced()),
            }
            self.sql.push_str(", ");
        }
        for (position, index) in children.columns.iter().enumerate() {
            if position > 0 {
                self.sql.push_str(", ");
            }
            let column = owner.column(*index)?;
            self.shown(&format!("{rows}.k{position}"), column);
        }
        self.sql.push_str(" FROM (SELECT ");
        for (index, output) in select.output.iter().enumerate() {
            match &output.expression {
                Expression::Column(column) => {
                    let sql = self.column(scope, *column)?;
                    self.sql.push_str(&sql);
                }
                Expression::Related(inner) => self.related(scope, inner)?,
                _ => return Err(misplaced()),
            }
            let _ = write!(self.sql, " AS c{index}, ");
        }
        let mut keys = Vec::with_capacity(children.columns.len());
        let mut parts = Vec::with_capacity(children.columns.len());
        for (position, index) in children.columns.iter().enumerate() {
            let key = if children.junction.is_some() {
                format!("{links}.k{position}")
            } else {
                self.column(scope, *index)?
            };
            let _ = write!(self.sql, "{key} AS k{position}, ");
            parts.push(self.dialect.comparable(&key, owner.column(*index)?));
            keys.push(key);
        }
        let parts = parts.join(", ");
        let _ = write!(
            self.sql,
            "ROW_NUMBER() OVER (PARTITION BY {parts} ORDER BY "
        );
        for (position, order) in select.order.iter().enumerate() {
            if position > 0 {
                self.sql.push_str(", ");
            }
            self.order(scope, order)?;
        }
        if select.order.is_empty() {
            // Not every product numbers rows without an order.
            self.sql.push_str(&parts);
        }
        let table = self.table_name(&select.table);
        let between = self.dialect.table_alias();
        let _ = write!(self.sql, ") AS n FROM {table}{between}{alias}");
        if let Some(junction) = &children.junction {
            self.links(scope, &links, junction, &children.columns)?;
        }
        self.filter(" WHERE ", scope, &select.condition)?;
        let offset = i64::try_from(select.offset).unwrap_or(i64::MAX);
        let limit = select.limit.unwrap_or(u64::MAX);
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let mut count = |number: i64| {
            let placeholder = self.bind(Bind::Value(Scalar::Int(number)));
            self.dialect.count(&placeholder)
        };
        let low = count(offset);
        let high = count(offset.saturating_add(limit));
        let _ = write!(
            self.sql,
            "){between}{rows} WHERE {rows}.n > {low} AND {rows}.n <= {high} ORDER BY {rows}.n"
        );
        Ok(())
    }

    /// The pairs of a junction, each once, joined to the related table: the parents' side is called `k0`, `k1`, ….
    fn links(
        &mut self,
        scope: Scope<'_>,
        links: &str,
        junction: &RelatedJunction,
        near: &[usize],
    ) -> Result<()> {
        let alias = self.alias('t');
        let inner = Scope {
            table: &junction.table,
            alias: Some(&alias),
        };
        self.sql.push_str(" INNER JOIN (SELECT DISTINCT ");
        for (position, index) in near.iter().enumerate() {
            let column = self.column(inner, *index)?;
            let _ = write!(self.sql, "{column} AS k{position}, ");
        }
        for (position, (index, _)) in junction.far.iter().enumerate() {
            if position > 0 {
                self.sql.push_str(", ");
            }
            let column = self.column(inner, *index)?;
            let _ = write!(self.sql, "{column} AS f{position}");
        }
        let table = self.table_name(&junction.table);
        let between = self.dialect.table_alias();
        let _ = write!(self.sql, " FROM {table}{between}{alias}");
        self.filter(" WHERE ", inner, &junction.condition)?;
        let _ = write!(self.sql, "){between}{links} ON ");
        for (position, (_, there)) in junction.far.iter().enumerate() {
            if position > 0 {
                self.sql.push_str(" AND ");
            }
            let there = self.column(scope, *there)?;
            let _ = write!(self.sql, "{links}.f{position} = {there}");
        }
        Ok(())
    }

    /// What follows WHERE.
    fn tail(&mut self, scope: Scope<'_>, select: &Select) -> Result<()> {
        for (position, index) in select.group.iter().enumerate() {
            self.sql
                .push_str(if position == 0 { " GROUP BY " } else { ", " });
            let column = self.comparable(scope, *index)?;
            self.sql.push_str(&column);
        }
        self.filter(" HAVING ", scope, &select.having)?;
        for (position, order) in select.order.iter().enumerate() {
            self.sql
                .push_str(if position == 0 { " ORDER BY " } else { ", " });
            self.order(scope, order)?;
        }
        if select.limit.is_some() || select.offset > 0 {
            let most = u64::try_from(i64::MAX).unwrap_or(u64::MAX);
            let limit = select.limit.unwrap_or(most).min(most);
            let offset = (select.offset > 0).then(|| {
                let offset = i64::try_from(select.offset).unwrap_or(i64::MAX);
                let placeholder = self.bind(Bind::Value(Scalar::Int(offset)));
                self.dialect.count(&placeholder)
            });
            let page = self
                .dialect
                .page(limit, offset.as_deref(), !select.order.is_empty());
            self.sql.push_str(&page);
        }
        Ok(())
    }

    fn order(&mut self, scope: Scope<'_>, order: &Order) -> Result<()> {
        let sql = match &order.expression {
            Expression::Position { columns, keys } => {
                let start = self.sql.len();
                self.position(scope, columns, keys)?;
                self.sql.split_off(start)
            }
            expression => self.operand_of(scope, expression)?.0,
        };
        let item = self.dialect.order_item(&sql, order.descending, order.nulls);
        self.sql.push_str(&item);
        Ok(())
    }

    fn position(
        &mut self,
        scope: Scope<'_>,
        columns: &[usize],
        keys: &[Vec<Scalar>],
    ) -> Result<()> {
        if let [only] = columns
            && keys.len() >= self.dialect.shortest_array()
        {
            let column = scope.table.column(*only)?;
            let sql = self.column(scope, *only)?;
            let next = self.dialect.placeholder(self.binds.len() + 1);
            if let Some(position) = self.dialect.position(&sql, &next, column) {
                let values = keys.iter().flatten().cloned().collect();
                self.binds.push(Bind::Value(Scalar::Array(values)));
                self.sql.push_str(&position);
                return Ok(());
            }
        }
        self.sql.push_str("CASE");
        for (position, key) in keys.iter().enumerate() {
            self.sql.push_str(" WHEN ");
            for (part, (index, value)) in columns.iter().zip(key).enumerate() {
                if part > 0 {
                    self.sql.push_str(" AND ");
                }
                let column = scope.table.column(*index)?;
                let left = self.comparable(scope, *index)?;
                let right = self.value(&Bind::Value(value.clone()), column);
                let _ = write!(self.sql, "{left} = {right}");
            }
            let _ = write!(self.sql, " THEN {position}");
        }
        self.sql.push_str(" END");
        Ok(())
    }

    /// A column as the driver wants to read it.
    fn shown(&mut self, sql: &str, column: &Column) {
        let shown = self.dialect.shown(sql, column);
        self.sql.push_str(&shown);
        self.sql.push_str(&self.dialect.named_column(column));
    }

    fn output(&mut self, scope: Scope<'_>, expression: &Expression, grouped: bool) -> Result<()> {
        match expression {
            Expression::Column(index) => {
                let column = scope.table.column(*index)?;
                let sql = if grouped {
                    self.comparable(scope, *index)?
                } else {
                    self.column(scope, *index)?
                };
                self.shown(&sql, column);
            }
            Expression::Aggregate { function, column } => {
                let (sql, _) = self.operand_of(scope, expression)?;
                let of = column.map(|index| scope.table.column(index)).transpose()?;
                let (sql, name) = match (function, of) {
                    (Aggregate::Minimum | Aggregate::Maximum, Some(column)) => (
                        self.dialect.shown(&sql, column),
                        self.dialect.named_column(column),
                    ),
                    (Aggregate::Sum, Some(column)) => (sql, self.dialect.named_column(column)),
                    (Aggregate::Average, _) => (sql, String::new()),
                    _ => (sql, self.dialect.named(Computed::Count)),
                };
                self.sql.push_str(&sql);
                self.sql.push_str(&name);
            }
            Expression::Related(related) => {
                self.related(scope, related)?;
                self.sql.push_str(&self.dialect.named(Computed::Json));
            }
            Expression::Holds(condition) => {
                self.truth(scope, condition)?;
                self.sql.push_str(&self.dialect.named(Computed::Truth));
            }
            Expression::Position { .. } => return Err(misplaced()),
        }
        Ok(())
    }

    /// A condition as a truth value that is never NULL.
    fn truth(&mut self, scope: Scope<'_>, condition: &Condition) -> Result<()> {
        let [before, after] = self.dialect.truth();
        self.sql.push_str(before);
        self.condition(scope, condition)?;
        self.sql.push_str(after);
        Ok(())
    }

    /// A correlated subquery whose only value is JSON.
    fn related(&mut self, parent: Scope<'_>, related: &Related) -> Result<()> {
        let select = &related.select;
        let rows = self.alias('r');
        let alias = self.alias('t');
        let scope = Scope {
            table: &select.table,
            alias: Some(&alias),
        };
        let names: Vec<&str> = select
            .output
            .iter()
            .map(|output| output.name.as_str())
            .collect();
        let is_named = self.dialect.members_are_named(&names);
        let object = self.dialect.json_object(&rows, &names);
        let value = if related.many {
            self.dialect.json_array(&object)
        } else {
            object
        };
        let _ = write!(self.sql, "(SELECT {value} FROM (SELECT ");
        for (index, output) in select.output.iter().enumerate() {
            if index > 0 {
                self.sql.push_str(", ");
            }
            match &output.expression {
                Expression::Column(column) => {
                    let sql = self.column(scope, *column)?;
                    let column = scope.table.column(*column)?;
                    let value = self.dialect.json_value(&sql, column, self.options);
                    self.sql.push_str(&value);
                }
                Expression::Related(inner) => self.related(scope, inner)?,
                _ => return Err(misplaced()),
            }
            let name = if is_named {
                self.dialect.quote(&output.name)
            } else {
                format!("c{index}")
            };
            let _ = write!(self.sql, " AS {name}");
        }
        let table = self.table_name(&select.table);
        let between = self.dialect.table_alias();
        let _ = write!(self.sql, " FROM {table}{between}{alias} WHERE ");
        if let Some(between) = &related.junction {
            let far: Vec<usize> = between.far.iter().map(|(_, there)| *there).collect();
            let junction = self.alias('t');
            let inner = Scope {
                table: &between.table,
                alias: Some(&junction),
            };
            let left = self.columns(scope, &far)?;
            let near: Vec<usize> = between.far.iter().map(|(here, _)| *here).collect();
            let right = self.columns(inner, &near)?;
            let many = far.len() > 1;
            let table = self.table_name(&between.table);
            let left = if many { format!("({left})") } else { left };
            let _ = write!(
                self.sql,
                "{left} IN (SELECT {right} FROM {table} AS {junction} WHERE "
            );
            self.link(inner, parent, &related.link)?;
            self.filter(" AND ", inner, &between.condition)?;
            self.sql.push(')');
        } else {
            self.link(scope, parent, &related.link)?;
        }
        self.filter(" AND ", scope, &select.condition)?;
        self.tail(scope, select)?;
        let _ = write!(self.sql, ") AS {rows})");
        Ok(())
    }

    fn columns(&self, scope: Scope<'_>, indexes: &[usize]) -> Result<String> {
        let columns = indexes.iter().map(|index| self.column(scope, *index));
        Ok(columns.collect::<Result<Vec<_>>>()?.join(", "))
    }

    fn link(&mut self, there: Scope<'_>, here: Scope<'_>, pairs: &[(usize, usize)]) -> Result<()> {
        if pairs.is_empty() {
            return Err(Error::internal("a relation without columns"));
        }
        for (position, (left, right)) in pairs.iter().enumerate() {
            if position > 0 {
                self.sql.push_str(" AND ");
            }
            let left = self.column(there, *left)?;
            let right = self.column(here, *right)?;
            let _ = write!(self.sql, "{left} = {right}");
        }
        Ok(())
    }

    fn filter(&mut self, keyword: &str, scope: Scope<'_>, condition: &Condition) -> Result<()> {
        if matches!(condition, Condition::True) {
            return Ok(());
        }
        self.sql.push_str(keyword);
        self.condition(scope, condition)
    }

    /// Each list and each NOT stands in parentheses of its own, so no condition can reach into another.
    fn condition(&mut self, scope: Scope<'_>, condition: &Condition) -> Result<()> {
        match condition {
            Condition::True => self.sql.push_str(self.dialect.constant(true)),
            Condition::False => self.sql.push_str(self.dialect.constant(false)),
            Condition::And(list) => self.list(scope, list, true)?,
            Condition::Or(list) => self.list(scope, list, false)?,
            Condition::Not(inner) => {
                self.sql.push_str("(NOT ");
                self.condition(scope, inner)?;
                self.sql.push(')');
            }
            Condition::Compare(left, comparison, right) => {
                let (left, operand) = self.operand_of(scope, left)?;
                let right = self.right(&operand, right);
                let operator = match comparison {
                    Comparison::Equal => "=",
                    Comparison::NotEqual => "<>",
                    Comparison::Less => "<",
                    Comparison::LessOrEqual => "<=",
                    Comparison::Greater => ">",
                    Comparison::GreaterOrEqual => ">=",
                };
                let _ = write!(self.sql, "{left} {operator} {right}");
            }
            Condition::In(left, values) => self.one_of(scope, left, values)?,
            Condition::Between(left, low, high) => {
                let (left, operand) = self.operand_of(scope, left)?;
                let low = self.right(&operand, low);
                let high = self.right(&operand, high);
                let _ = write!(self.sql, "{left} BETWEEN {low} AND {high}");
            }
            Condition::IsNull(Expression::Column(index)) => {
                let column = self.column(scope, *index)?;
                let _ = write!(self.sql, "{column} IS NULL");
            }
            Condition::IsNull(left) => {
                let (left, _) = self.operand_of(scope, left)?;
                let _ = write!(self.sql, "{left} IS NULL");
            }
            Condition::Match(left, how, value) => {
                let Bind::Value(Scalar::Text(text)) = value else {
                    return Err(Error::internal("a pattern that is no text"));
                };
                let (sql, column) = match left {
                    Expression::Column(index) => (
                        self.column(scope, *index)?,
                        scope.table.column(*index)?.clone(),
                    ),
                    other => {
                        let (sql, operand) = self.operand_of(scope, other)?;
                        let Operand::Column(column) = operand else {
                            return Err(Error::internal("a number that is matched with a pattern"));
                        };
                        (sql, column.clone())
                    }
                };
                let placeholder = self.bind(Bind::Value(self.dialect.pattern(*how, text)));
                let matching = self.dialect.matching(&sql, &column, *how, &placeholder);
                self.sql.push_str(&matching);
            }
            Condition::Exists(exists) => self.exists(scope, exists)?,
        }
        Ok(())
    }

    /// A correlated subquery. Every table in a statement has an alias of its own, so none takes another's columns.
    fn exists(&mut self, parent: Scope<'_>, exists: &Exists) -> Result<()> {
        if parent.alias.is_none() {
            return Err(misplaced());
        }
        let alias = self.alias('t');
        let scope = Scope {
            table: &exists.table,
            alias: Some(&alias),
        };
        let table = self.table_name(&exists.table);
        let between = self.dialect.table_alias();
        let _ = write!(
            self.sql,
            "EXISTS (SELECT 1 FROM {table}{between}{alias} WHERE "
        );
        match &exists.junction {
            None => self.link(scope, parent, &exists.link)?,
            Some(junction) => {
                let alias = self.alias('t');
                let inner = Scope {
                    table: &junction.table,
                    alias: Some(&alias),
                };
                let table = self.table_name(&junction.table);
                let _ = write!(
                    self.sql,
                    "EXISTS (SELECT 1 FROM {table}{between}{alias} WHERE "
                );
                self.link(inner, parent, &exists.link)?;
                self.sql.push_str(" AND ");
                self.link(inner, scope, &junction.far)?;
                self.filter(" AND ", inner, &junction.condition)?;
                self.sql.push(')');
            }
        }
        self.filter(" AND ", scope, &exists.condition)?;
        self.sql.push(')');
        Ok(())
    }

    /// Conditions that must all hold, or of which one must.
    fn list(&mut self, scope: Scope<'_>, list: &[Condition], all: bool) -> Result<()> {
        if list.is_empty() {
            self.sql.push_str(self.dialect.constant(all));
            return Ok(());
        }
        let word = if all { " AND " } else { " OR " };
        self.sql.push('(');
        if list.len() > MOST_SIDE_BY_SIDE {
            let (left, right) = list.split_at(list.len() / 2);
            self.list(scope, left, all)?;
            self.sql.push_str(word);
            self.list(scope, right, all)?;
        } else {
            for (index, condition) in list.iter().enumerate() {
                if index > 0 {
                    self.sql.push_str(word);
                }
                self.condition(scope, condition)?;
            }
        }
        self.sql.push(')');
        Ok(())
    }

    fn one_of(&mut self, scope: Scope<'_>, left: &Expression, values: &[Bind]) -> Result<()> {
        if values.is_empty() {
            self.sql.push_str(self.dialect.constant(false));
            return Ok(());
        }
        let longest = self.dialect.longest_list().max(1);
        if values.len() > longest {
            let parts: Vec<Condition> = values
                .chunks(longest)
                .map(|part| Condition::In(left.clone(), part.to_vec()))
                .collect();
            return self.list(scope, &parts, false);
        }
        let (left, operand) = self.operand_of(scope, left)?;
        let scalars: Option<Vec<Scalar>> = values
            .iter()
            .map(|value| match value {
                Bind::Value(value) => Some(value.clone()),
                Bind::Key(_) | Bind::Now(_) => None,
            })
            .collect();
        let scalars = scalars.filter(|list| list.len() >= self.dialect.shortest_array());
        if let (Some(scalars), Operand::Column(column)) = (scalars, &operand) {
            let next = self.dialect.placeholder(self.binds.len() + 1);
            if let Some(any) = self.dialect.any(&left, &next, column) {
                self.binds.push(Bind::Value(Scalar::Array(scalars)));
                self.sql.push_str(&any);
                return Ok(());
            }
        }
        let _ = write!(self.sql, "{left} IN (");
        for (index, value) in values.iter().enumerate() {
            if index > 0 {
                self.sql.push_str(", ");
            }
            let right = self.right(&operand, value);
            self.sql.push_str(&right);
        }
        self.sql.push(')');
        Ok(())
    }

    /// The left side of an operator, and what its right side is like.
    fn operand_of<'t>(
        &self,
        scope: Scope<'t>,
        expression: &Expression,
    ) -> Result<(String, Operand<'t>)> {
        match expression {
            Expression::Column(index) => Ok((
                self.comparable(scope, *index)?,
                Operand::Column(scope.table.column(*index)?),
            )),
            Expression::Aggregate { function, column } => {
                let name = match function {
                    Aggregate::Count => "COUNT",
                    Aggregate::Sum => "SUM",
                    Aggregate::Average => "AVG",
                    Aggregate::Minimum => "MIN",
                    Aggregate::Maximum => "MAX",
                };
                let Some(index) = *column else {
                    return Ok((format!("{name}(*)"), Operand::Number));
                };
                let column = scope.table.column(index)?;
                Ok(match function {
                    Aggregate::Minimum | Aggregate::Maximum => (
                        format!("{name}({})", self.comparable(scope, index)?),
                        Operand::Column(column),
                    ),
                    Aggregate::Count => (
                        format!("{name}({})", self.column(scope, index)?),
                        Operand::Number,
                    ),
                    Aggregate::Sum | Aggregate::Average => {
                        let sql = self.column(scope, index)?;
                        let summand = self.dialect.summand(&sql, column);
                        (format!("{name}({summand})"), Operand::Number)
                    }
                })
            }
            Expression::Related(_) | Expression::Holds(_) | Expression::Position { .. } => {
                Err(misplaced())
            }
        }
    }

    fn right(&mut self, operand: &Operand<'_>, bind: &Bind) -> String {
        match operand {
            Operand::Column(column) => self.value(bind, column),
            Operand::Number => {
                let placeholder = self.bind(bind.clone());
                self.dialect.number(&placeholder)
            }
        }
    }

    /// What a column is compared with.
    fn value(&mut self, bind: &Bind, column: &Column) -> String {
        let sql = self.written(bind, column);
        self.dialect.operand(&sql, column)
    }

    /// What is written to a column.
    fn stored(&mut self, bind: &Bind, column: &Column) -> String {
        match bind {
            Bind::Now(now) => self.dialect.now(*now, column),
            Bind::Value(_) | Bind::Key(_) => {
                let placeholder = self.bind(bind.clone());
                self.dialect.stored(&placeholder, column)
            }
        }
    }

    /// A placeholder, or the current time.
    fn written(&mut self, bind: &Bind, column: &Column) -> String {
        match bind {
            Bind::Now(now) => self.dialect.now(*now, column),
            Bind::Value(_) | Bind::Key(_) => self.bind(bind.clone()),
        }
    }

    /// How columns of the written table are named: by an alias where RETURNING can be used, else by the table's own
    /// name, because not every product lets a write have an alias.
    fn written_alias(&mut self, table: &Table) -> (String, String) {
        match self.dialect.returning() {
            Returning::Clause { .. } => {
                let alias = self.alias('t');
                (format!(" AS {alias}"), alias)
            }
            Returning::Nothing => (String::new(), self.dialect.quote(&table.native)),
        }
    }

    fn insert(&mut self, insert: &Insert, output: &InsertOutput) -> Result<()> {
        let (suffix, alias) = self.written_alias(&insert.table);
        let table = self.table_name(&insert.table);
        let _ = write!(self.sql, "{}INSERT INTO {table}{suffix}", output.before);
        if insert.values.is_empty() {
            self.sql.push_str(&output.before_values);
            let defaults = self.dialect.default_values(&insert.table);
            self.sql.push_str(&defaults);
        } else {
            let indexes: Vec<usize> = insert.values.iter().map(|(index, _)| *index).collect();
            let names = self.plain_names(&insert.table, &indexes)?;
            let _ = write!(self.sql, " ({names}){} VALUES (", output.before_values);
            for (position, (index, bind)) in insert.values.iter().enumerate() {
                if position > 0 {
                    self.sql.push_str(", ");
                }
                let value = self.stored(bind, insert.table.column(*index)?);
                self.sql.push_str(&value);
            }
            self.sql.push(')');
            self.more_records(insert)?;
        }
        self.sql.push_str(&output.after);
        let Some(upsert) = &insert.upsert else {
            return Ok(());
        };
        let key = self.plain_names(&insert.table, &upsert.key)?;
        let _ = write!(self.sql, " ON CONFLICT ({key}) DO UPDATE SET ");
        let scope = Scope {
            table: &insert.table,
            alias: Some(&alias),
        };
        if upsert.set.is_empty() {
            // A record that is left alone must still be answered, and only what was touched is.
            let columns = insert.table.columns.iter().enumerate();
            let mut still = columns
                .filter(|(_, column)| !column.is_generated && !column.is_auto_increment)
                .map(|(index, _)| index);
            let index = still.next().or(upsert.key.first().copied());
            let index = index.ok_or_else(|| Error::internal("an upsert without a key"))?;
            let name = self.plain_names(&insert.table, &[index])?;
            let column = self.column(scope, index)?;
            let _ = write!(self.sql, "{name} = {column}");
        }
        for (position, index) in upsert.set.iter().enumerate() {
            if position > 0 {
                self.sql.push_str(", ");
            }
            let name = self.plain_names(&insert.table, &[*index])?;
            let _ = write!(self.sql, "{name} = excluded.{name}");
        }
        self.filter(" WHERE ", scope, &upsert.condition)
    }

    /// The records of an insert after the first.
    fn more_records(&mut self, insert: &Insert) -> Result<()> {
        for values in &insert.more {
            self.sql.push_str(", (");
            for (position, ((index, _), bind)) in insert.values.iter().zip(values).enumerate() {
                if position > 0 {
                    self.sql.push_str(", ");
                }
                let value = self.written(bind, insert.table.column(*index)?);
                self.sql.push_str(&value);
            }
            self.sql.push(')');
        }
        Ok(())
    }

    fn update(&mut self, update: &Update) -> Result<()> {
        if update.set.is_empty() {
            return Err(Error::internal("an update that changes nothing"));
        }
        let (suffix, alias) = self.written_alias(&update.table);
        let table = self.table_name(&update.table);
        let _ = write!(self.sql, "UPDATE {table}{suffix} SET ");
        for (position, (index, bind)) in update.set.iter().enumerate() {
            if position > 0 {
                self.sql.push_str(", ");
            }
            let name = self.plain_names(&update.table, &[*index])?;
            let value = self.stored(bind, update.table.column(*index)?);
            let _ = write!(self.sql, "{name} = {value}");
        }
        let scope = Scope {
            table: &update.table,
            alias: Some(&alias),
        };
        self.filter(" WHERE ", scope, &update.condition)
    }

    fn delete(&mut self, delete: &Delete) -> Result<()> {
        let (suffix, alias) = self.written_alias(&delete.table);
        let table = self.table_name(&delete.table);
        let _ = write!(self.sql, "DELETE FROM {table}{suffix}");
        let scope = Scope {
            table: &delete.table,
            alias: Some(&alias),
        };
        self.filter(" WHERE ", scope, &delete.condition)
    }

    /// RETURNING, and the truth of the check after what is answered.
    fn returning(&mut self, write: &Write) -> Result<()> {
        let check = write.check();
        let Returning::Clause { is_qualified } = self.dialect.returning() else {
            return Ok(());
        };
        if write.returning().is_empty() && check.is_none() {
            return Ok(());
        }
        let scope = Scope {
            table: write.table(),
            // The first table of a statement has this alias.
            alias: is_qualified.then_some("t0"),
        };
        self.sql.push_str(" RETURNING ");
        for (position, output) in write.returning().iter().enumerate() {
            if position > 0 {
                self.sql.push_str(", ");
            }
            self.output(scope, &output.expression, false)?;
        }
        if let Some(check) = check {
            if !write.returning().is_empty() {
                self.sql.push_str(", ");
            }
            self.truth(scope, check)?;
            self.sql.push_str(&self.dialect.named(Computed::Truth));
        }
        Ok(())
    }

    fn plain_names(&self, table: &Table, indexes: &[usize]) -> Result<String> {
        self.columns(Scope { table, alias: None }, indexes)
    }
}

/// What the right side of an operator is like.
enum Operand<'a> {
    /// A value of this column.
    Column(&'a Column),
    /// A number.
    Number,
}

fn misplaced() -> Error {
    Error::internal("an expression stands where it cannot")
}
