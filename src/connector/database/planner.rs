//! What is asked × catalog × access → a plan. Pure.
//!
//! A name that a caller writes is looked up among the columns that the grant admits, so a hidden column and one that
//! does not exist give the same answer. The role's condition is joined to the caller's as a tree. Each table that a
//! plan reaches is asked for anew, with its own columns and its own condition.

mod condition;
mod names;
mod nested;
mod related;
#[cfg(test)]
mod tests;
mod write;

use std::sync::Arc;

use http::Method;

pub use nested::{Split, outputs};

use super::catalog::{Catalog, Table, Type};
use super::convert;
use super::cursor::CursorBinding;
use super::neighbourhood::Neighbourhood;
use super::operations::component_of;
use super::options::DatabaseOptions;
use super::plan::{
    Aggregate, Bind, Condition, Expression, Nulls, Order, Output, Select, Selector, Write,
};
use super::request::{FieldItem, Fields, Identifier, OrderItem, Record, RecordsQuery};
use super::rows::{Frame, Shape};
use super::value::Scalar;
use crate::connector::access::{Access, Grant, Verbs};
use crate::connector::filter::Comparison;
use crate::error::{Error, ErrorKind, Result};
use crate::exchange::Format;
use crate::names::ServiceName;
use names::Columns;
pub use related::{Missing, Wanted};
pub use write::BulkInsert;

/// Most relations in one request, all levels together.
pub const MAX_RELATIONS: usize = 100;
/// Most values in the keys of one request: each row is put in its place among them, so time grows with their square.
pub const MAX_KEY_VALUES: usize = 5_000;

/// Makes plans for one caller of one database.
#[derive(Clone, Copy, Debug)]
pub struct Planner<'a> {
    /// The tables.
    pub catalog: &'a Catalog,
    /// What the caller may touch.
    pub access: &'a Access,
    /// The settings of the service.
    pub options: &'a DatabaseOptions,
    /// The other services that relations may lead to.
    pub neighbourhood: &'a Neighbourhood,
    /// Which one of them the tables belong to; none for the service of the call.
    service: Option<&'a ServiceName>,
}

/// No neighbours.
static NOBODY: Neighbourhood = Neighbourhood::empty();

impl<'a> Planner<'a> {
    /// A planner that knows no other services.
    pub fn new(catalog: &'a Catalog, access: &'a Access, options: &'a DatabaseOptions) -> Self {
        Self {
            catalog,
            access,
            options,
            neighbourhood: &NOBODY,
            service: None,
        }
    }

    /// The same among these neighbours.
    #[must_use]
    pub fn among(self, neighbourhood: &'a Neighbourhood) -> Self {
        Self {
            neighbourhood,
            ..self
        }
    }
}

/// A read, ready to be prepared, and how its answer continues.
#[derive(Clone, Debug)]
pub struct ReadPlan {
    /// The query.
    pub select: Select,
    /// Rows of the page; the select reads one more. None when records are read by key.
    pub page: Option<u64>,
    /// Indexes of outputs that the cursor needs of the last row of the page.
    pub keep: Vec<usize>,
    /// What the next cursor is bound to; none where there is no total order, or where it would show a column that
    /// the caller may not see.
    pub cursor: Option<CursorBinding>,
    next_offset: Option<u64>,
}

impl ReadPlan {
    /// How the rows are to be written. No digest is taken unless the caller sets it.
    pub fn shape(&self, frame: Frame, format: Format, options: &DatabaseOptions) -> Shape {
        let outputs = &self.select.output;
        Shape {
            visible: self.select.visible,
            page: self.page,
            keep: self.keep.clone(),
            ..shape(&self.select.table, outputs, frame, format, options)
        }
    }

    /// `meta.next`, for when there are more rows. None after a cursor and by key.
    pub fn next_offset(&self) -> Option<u64> {
        self.next_offset
    }

    /// `meta.next_cursor`, from the values that were kept of the last row.
    pub fn next_cursor(&self, kept: &[Scalar]) -> Option<String> {
        self.cursor.as_ref()?.encode(kept)
    }
}

/// Whether a write with this query must be answered by [`Planner::re_read`].
pub fn needs_re_read(query: &RecordsQuery) -> bool {
    !query.related.is_empty()
}

impl Write {
    /// How the rows that it returns are to be written; with a check, its truth value comes last and is hidden. What
    /// is kept of the last row is the columns of the primary key that are returned.
    pub fn shape(&self, frame: Frame, format: Format, options: &DatabaseOptions) -> Shape {
        let returning = self.returning();
        let mut shape = shape(self.table(), returning, frame, format, options);
        if self.check().is_some() {
            shape.check = Some(shape.names.len());
            shape.names.push(String::new());
        }
        let key = self.table().primary_key.iter();
        shape.keep = key
            .filter_map(|index| position(returning, *index))
            .collect();
        shape
    }
}

impl Write {
    /// How a write that answers nothing is checked.
    pub fn bulk_shape(&self) -> Shape {
        let mut shape = Shape::new(Vec::new(), Frame::Bare, Format::Json);
        if self.check().is_some() {
            shape.check = Some(0);
            shape.names.push(String::new());
        }
        shape
    }
}

/// All of these outputs visible, nothing kept.
pub(super) fn shape(
    table: &Table,
    outputs: &[Output],
    frame: Frame,
    format: Format,
    options: &DatabaseOptions,
) -> Shape {
    let is_narrow = |output: &Output| {
        let Expression::Column(index) = output.expression else {
            return false;
        };
        let column = table.columns.get(index);
        column.is_some_and(|column| matches!(column.kind, Type::SmallInt | Type::Integer))
    };
    let held = outputs.iter().enumerate().filter_map(|(index, output)| {
        let Expression::Column(column) = output.expression else {
            return None;
        };
        let shown = table.columns.get(column)?.shown_as()?;
        Some((index, shown.clone()))
    });
    let names = outputs.iter().map(|output| output.name.clone()).collect();
    let narrow = outputs
        .iter()
        .enumerate()
        .filter(|(_, output)| is_narrow(output));
    Shape {
        numbers: options.numbers,
        datetimes: options.datetimes,
        narrow: narrow.map(|(index, _)| index).collect(),
        held: held.collect(),
        ..Shape::new(names, frame, format)
    }
}

/// What is planned on one table for one caller.
#[derive(Clone, Copy)]
struct Target<'a> {
    table: &'a Arc<Table>,
    grant: &'a Grant,
    columns: Columns<'a>,
}

impl<'a> Target<'a> {
    fn new(table: &'a Arc<Table>, grant: &'a Grant) -> Self {
        Self {
            table,
            grant,
            columns: Columns::admitted(table, grant),
        }
    }

    fn output(&self, index: usize) -> Result<Output> {
        Ok(Output {
            name: self.table.column(index)?.name.clone(),
            expression: Expression::Column(index),
        })
    }

    /// The columns that a read shows by default.
    fn shown(&self) -> Vec<usize> {
        self.columns.indexes().collect()
    }

    /// The columns of `fields`, each once.
    fn fields(&self, fields: &Fields, default: &[usize]) -> Result<Vec<Output>> {
        let indexes = match fields {
            Fields::Default => default.to_vec(),
            Fields::All => self.shown(),
            Fields::Named(items) if items.is_empty() => self.shown_key()?,
            Fields::Named(items) => {
                let mut indexes = Vec::with_capacity(items.len());
                for item in items {
                    let FieldItem::Column(name) = item else {
                        return Err(Error::new(
                            ErrorKind::InvalidParameter,
                            "an aggregate can not stand here",
                        )
                        .with_help("aggregates are for `fields`, `order` and `having` of reads"));
                    };
                    let index = self.columns.find(name)?;
                    if !indexes.contains(&index) {
                        indexes.push(index);
                    }
                }
                indexes
            }
        };
        indexes
            .into_iter()
            .map(|index| self.output(index))
            .collect()
    }

    /// The columns of the primary key, for showing them.
    fn shown_key(&self) -> Result<Vec<usize>> {
        let key: Vec<usize> = self
            .table
            .primary_key
            .iter()
            .copied()
            .filter(|index| self.columns.admits(*index))
            .collect();
        if key.is_empty() {
            return Err(no_key(self.table));
        }
        Ok(key)
    }

    /// The order of plain records: what was asked for, completed by a key so that it is total.
    fn orders(&self, items: &[OrderItem]) -> Result<Vec<Order>> {
        let mut ordered: Vec<usize> = Vec::new();
        let mut orders = Vec::new();
        for item in items {
            let FieldItem::Column(name) = &item.item else {
                return Err(Error::new(
                    ErrorKind::InvalidParameter,
                    "an order by an aggregate needs `group`",
                ));
            };
            let index = self.columns.find(name)?;
            if !ordered.contains(&index) {
                let is_nullable = self.table.column(index)?.is_nullable;
                orders.push(ordered_by(Expression::Column(index), is_nullable, item));
                ordered.push(index);
            }
        }
        if !self.is_total(&ordered) {
            let key = self.total_key();
            for index in key.iter().copied().filter(|index| !ordered.contains(index)) {
                orders.push(Order {
                    expression: Expression::Column(index),
                    descending: false,
                    nulls: None,
                });
            }
        }
        Ok(orders)
    }

    /// The columns of a key that tells any two records apart; empty without one.
    fn total_key(&self) -> &'a [usize] {
        self.table.total_keys().next().unwrap_or_default()
    }

    fn is_total(&self, columns: &[usize]) -> bool {
        self.table.is_total(columns)
    }
}

/// Without `nulls`, NULL is larger than every value, whatever the product.
fn ordered_by(expression: Expression, is_nullable: bool, item: &OrderItem) -> Order {
    let nulls = is_nullable.then_some(default_nulls(item.descending));
    Order {
        expression,
        descending: item.descending,
        nulls: item.nulls.or(nulls),
    }
}

fn default_nulls(descending: bool) -> Nulls {
    if descending {
        Nulls::First
    } else {
        Nulls::Last
    }
}

fn no_key(table: &Table) -> Error {
    Error::new(
        ErrorKind::InvalidRequest,
        format!("table '{}' has no primary key", table.name),
    )
    .with_help("name the columns that tell its records apart with `id_field`, or use `filter`")
}

impl Planner<'_> {
    /// A table by the name that callers write. 404 with a help that names only tables on which the role grants
    /// something.
    pub fn table(&self, name: &str) -> Result<Arc<Table>> {
        let admits = |name: &str| !self.access.verbs(&component(name)).is_empty();
        self.catalog.table(name, admits).map(Arc::clone)
    }

    /// The key that a caller wrote, typed: one value for each column of `id_field`, or of the primary key.
    pub fn key(
        &self,
        table: &Table,
        grant: &Grant,
        identifier: &Identifier,
        id_field: &[String],
    ) -> Result<Vec<Scalar>> {
        let columns = key_columns(table, grant, id_field)?;
        if let (Identifier::Composite(pairs), [only]) = (identifier, columns.as_slice()) {
            // The text of a key of one column may well look like `a=1`.
            let column = table.column(*only)?;
            let names_it =
                matches!(pairs.as_slice(), [(name, _)] if name.eq_ignore_ascii_case(&column.name));
            if !names_it {
                let texts: Vec<String> = pairs
                    .iter()
                    .map(|(name, value)| format!("{name}={value}"))
                    .collect();
                return Ok(vec![convert::from_text(column, &texts.join(","))?]);
            }
        }
        match (identifier, columns.as_slice()) {
            (Identifier::Single(text), [only]) => {
                Ok(vec![convert::from_text(table.column(*only)?, text)?])
            }
            (Identifier::Single(_), _) => Err(composite_key(table, &columns)),
            (Identifier::Composite(pairs), _) => {
                if pairs.len() != columns.len() {
                    return Err(composite_key(table, &columns));
                }
                let value = |index: &usize| {
                    let column = table.column(*index)?;
                    let pair = pairs
                        .iter()
                        .find(|(name, _)| name.eq_ignore_ascii_case(&column.name));
                    let (_, text) = pair.ok_or_else(|| composite_key(table, &columns))?;
                    convert::from_text(column, text)
                };
                columns.iter().map(value).collect()
            }
        }
    }

    /// The key of a record that a caller sent, typed.
    pub fn key_of_record(
        &self,
        table: &Table,
        grant: &Grant,
        record: &Record,
        id_field: &[String],
    ) -> Result<Vec<Scalar>> {
        let columns = key_columns(table, grant, id_field)?;
        let value = |index: &usize| {
            let column = table.column(*index)?;
            let member = record
                .get(&column.name)
                .or_else(|| {
                    let same = |name: &str| name.eq_ignore_ascii_case(&column.name);
                    record
                        .iter()
                        .find(|(name, _)| same(name))
                        .map(|(_, value)| value)
                })
                .filter(|value| value.get() != "null");
            let Some(member) = member else {
                return Err(Error::new(
                    ErrorKind::InvalidBody,
                    format!(
                        "the record has no value for its key field '{}'",
                        column.name
                    ),
                )
                .with_help("send the key within each record, or name the records with `ids`"));
            };
            let value = self.looked_up(column, member)?;
            match value {
                Scalar::Null => Err(convert::wrong(column)),
                value => Ok(value),
            }
        };
        columns.iter().map(value).collect()
    }

    /// The record with a key in it, for a write to a key that inserts what is not there.
    pub fn with_key(
        &self,
        table: &Table,
        grant: &Grant,
        record: &Record,
        key: &[Scalar],
        id_field: &[String],
    ) -> Result<Record> {
        let columns = key_columns(table, grant, id_field)?;
        check_key(table, &columns, key)?;
        let mut whole = Record::new();
        for (index, value) in columns.iter().zip(key) {
            whole.insert(table.column(*index)?.name.clone(), convert::to_json(value)?);
        }
        for (name, value) in record {
            if !whole.keys().any(|key| key.eq_ignore_ascii_case(name)) {
                whole.insert(name.clone(), value.clone());
            }
        }
        Ok(whole)
    }

    /// A read of records, of groups, or of aggregates over all records.
    pub fn read(
        &self,
        table: &Arc<Table>,
        grant: &Grant,
        query: &RecordsQuery,
        selector: &Selector,
    ) -> Result<ReadPlan> {
        let target = Target::new(table, grant);
        if is_grouped(query) {
            return self.read_groups(target, query, selector);
        }
        if query.having.is_some() {
            return Err(Error::new(
                ErrorKind::InvalidParameter,
                "`having` needs `group` or an aggregate in `fields`",
            ));
        }
        if let Selector::Keys(keys) = selector
            && u64::try_from(keys.len()).unwrap_or(u64::MAX) > self.options.max_records
        {
            return Err(Error::new(
                ErrorKind::InvalidParameter,
                format!(
                    "more than {} records were asked for by key",
                    self.options.max_records
                ),
            )
            .with_help("ask for fewer keys at a time"));
        }
        let condition = self.condition(target, grant, query, selector)?;
        self.read_records(target, query, selector, condition, &target.shown())
    }

    /// The read that answers a write when `related` was asked for: the records with these keys, in this order.
    pub fn re_read(
        &self,
        table: &Arc<Table>,
        grant: &Grant,
        query: &RecordsQuery,
        keys: &[Vec<Scalar>],
    ) -> Result<ReadPlan> {
        let target = Target::new(table, grant);
        let selector = Selector::Keys(keys.to_vec());
        let query = RecordsQuery {
            fields: query.fields.clone(),
            related: query.related.clone(),
            id_field: query.id_field.clone(),
            ..RecordsQuery::default()
        };
        let condition = self.condition(target, grant, &query, &selector)?;
        let default = Self::written(target, &query)?;
        self.read_records(target, &query, &selector, condition, &default)
    }

    /// How many records the query and the selector let through, whatever the page.
    pub fn count(
        &self,
        table: &Arc<Table>,
        grant: &Grant,
        query: &RecordsQuery,
        selector: &Selector,
    ) -> Result<Select> {
        if is_grouped(query) {
            return Err(
                Error::new(ErrorKind::InvalidParameter, "groups can not be counted").with_help(
                    "leave out `include_count` and `count_only`, or `group` and aggregates",
                ),
            );
        }
        let target = Target::new(table, grant);
        Ok(Select {
            table: Arc::clone(table),
            output: vec![Output {
                name: "count".to_owned(),
                expression: Expression::Aggregate {
                    function: Aggregate::Count,
                    column: None,
                },
            }],
            visible: 1,
            condition: self.condition(target, grant, query, selector)?,
            group: Vec::new(),
            having: Condition::True,
            order: Vec::new(),
            limit: None,
            offset: 0,
        })
    }

    /// The caller's filter, the keys and the role's filter, all of which must hold. Keys may name what `target` admits,
    /// the caller's filter what `filtered` admits.
    fn condition(
        &self,
        target: Target<'_>,
        filtered: &Grant,
        query: &RecordsQuery,
        selector: &Selector,
    ) -> Result<Condition> {
        let keys = match selector {
            Selector::Query => Condition::True,
            Selector::Key => {
                let columns = key_columns(target.table, target.grant, &query.id_field)?;
                let equal = |(position, index): (usize, &usize)| {
                    let column = Expression::Column(*index);
                    Condition::Compare(column, Comparison::Equal, Bind::Key(position))
                };
                condition::all(columns.iter().enumerate().map(equal))
            }
            Selector::Keys(keys) => {
                let columns = key_columns(target.table, target.grant, &query.id_field)?;
                keys_condition(target.table, &columns, keys)?
            }
        };
        let lookups = self.access.lookups();
        let role = condition::of_role(target.table, target.grant, lookups)?;
        let filter = self.of_caller(target.table, filtered, query.filter.as_ref())?;
        Ok(condition::all([keys, role, filter]))
    }

    fn read_records(
        &self,
        target: Target<'_>,
        query: &RecordsQuery,
        selector: &Selector,
        condition: Condition,
        default: &[usize],
    ) -> Result<ReadPlan> {
        let mut output = target.fields(&query.fields, default)?;
        if output.is_empty() && query.related.is_empty() {
            return Err(nothing_shown(target));
        }
        output.extend(self.related(target, &query.related)?);
        let mut select = Select {
            table: Arc::clone(target.table),
            visible: output.len(),
            output,
            condition,
            group: Vec::new(),
            having: Condition::True,
            order: Vec::new(),
            limit: None,
            offset: 0,
        };
        let columns = || key_columns(target.table, target.grant, &query.id_field);
        match selector {
            Selector::Key => {
                // The digest of the row must cover what is not shown.
                let hidden: Vec<usize> = target
                    .columns
                    .indexes()
                    .filter(|index| position(&select.output, *index).is_none())
                    .collect();
                for index in hidden {
                    select.output.push(target.output(index)?);
                }
                if !target.table.is_unique(&columns()?) {
                    select.limit = Some(1);
                    select.order = target.orders(&query.order)?;
                }
                Ok(by_key(select))
            }
            Selector::Keys(keys) => {
                let columns = columns()?;
                select.order = if query.order.is_empty() {
                    vec![Order {
                        expression: Expression::Position {
                            columns: columns.clone(),
                            keys: keys.clone(),
                        },
                        descending: false,
                        nulls: None,
                    }]
                } else {
                    target.orders(&query.order)?
                };
                if !target.table.is_unique(&columns) {
                    select.limit = Some(self.options.max_records);
                    select.order.extend(target.orders(&[])?);
                }
                Ok(by_key(select))
            }
            Selector::Query => self.page(target, query, select),
        }
    }

    /// A page of records: where it begins, how many it has, and how the next one is found.
    fn page(
        &self,
        target: Target<'_>,
        query: &RecordsQuery,
        mut select: Select,
    ) -> Result<ReadPlan> {
        let page = self.limit(query.limit);
        select.limit = Some(page.saturating_add(1));
        select.order = target.orders(&query.order)?;
        let ordered: Vec<usize> = select
            .order
            .iter()
            .filter_map(|order| match order.expression {
                Expression::Column(index) => Some(index),
                _ => None,
            })
            .collect();
        let is_open = ordered.iter().all(|index| target.columns.admits(*index));
        let mut keep = Vec::new();
        let mut cursor = None;
        if is_open && target.is_total(&ordered) {
            for index in &ordered {
                let known = position(&select.output, *index);
                keep.push(known.unwrap_or(select.output.len()));
                if known.is_none() {
                    select.output.push(target.output(*index)?);
                }
            }
            cursor = Some(binding(target.table, query, &select.order));
        }
        let next_offset = if let Some(text) = &query.cursor {
            let Some(binding) = &cursor else {
                return Err(Error::new(
                    ErrorKind::InvalidCursor,
                    format!(
                        "table '{}' can not be read with a cursor",
                        target.table.name
                    ),
                )
                .with_help("its records have no key that this role may see; use `offset`"));
            };
            if query.offset > 0 {
                return Err(Error::new(
                    ErrorKind::InvalidParameter,
                    "`cursor` and `offset` can not be used together",
                ));
            }
            let values = binding.decode(text)?;
            let after = after(target.table, &select.order, values)?;
            select.condition = condition::all([select.condition, after]);
            None
        } else {
            select.offset = query.offset;
            Some(query.offset.saturating_add(page))
        };
        Ok(ReadPlan {
            select,
            page: Some(page),
            keep,
            cursor,
            next_offset,
        })
    }

    fn read_groups(
        &self,
        target: Target<'_>,
        query: &RecordsQuery,
        selector: &Selector,
    ) -> Result<ReadPlan> {
        if !query.related.is_empty() {
            return Err(Error::new(
                ErrorKind::InvalidParameter,
                "`related` can not be used with groups or aggregates",
            ));
        }
        if query.cursor.is_some() {
            return Err(Error::new(
                ErrorKind::InvalidCursor,
                "groups can not be read with a cursor",
            )
            .with_help("use `offset`"));
        }
        if matches!(selector, Selector::Key) {
            return Err(Error::new(
                ErrorKind::InvalidParameter,
                "one record can not be grouped",
            ));
        }
        let mut group = Vec::new();
        for name in &query.group {
            let index = target.columns.find(name)?;
            if !group.contains(&index) {
                group.push(index);
            }
        }
        let mut output: Vec<Output> = Vec::new();
        let items = match &query.fields {
            Fields::Named(items) => items.as_slice(),
            Fields::Default | Fields::All => &[],
        };
        for item in items {
            let (expression, column) = names::grouped_item(&target.columns, &group, item)?;
            if !output.iter().any(|output| output.name == column.name) {
                output.push(Output {
                    name: column.name,
                    expression,
                });
            }
        }
        if output.is_empty() {
            output = group
                .iter()
                .map(|index| target.output(*index))
                .collect::<Result<_>>()?;
        }
        let mut order = Vec::with_capacity(query.order.len());
        for item in &query.order {
            let (expression, column) = names::grouped_item(&target.columns, &group, &item.item)?;
            order.push(ordered_by(expression, column.is_nullable, item));
        }
        let page = self.limit(query.limit);
        Ok(ReadPlan {
            select: Select {
                table: Arc::clone(target.table),
                visible: output.len(),
                output,
                condition: self.condition(target, target.grant, query, selector)?,
                having: condition::of_group(
                    target.table,
                    target.grant,
                    self.access.lookups(),
                    &group,
                    query.having.as_ref(),
                )?,
                group,
                order,
                limit: Some(page.saturating_add(1)),
                offset: query.offset,
            },
            page: Some(page),
            keep: Vec::new(),
            cursor: None,
            next_offset: Some(query.offset.saturating_add(page)),
        })
    }

    /// None and 0 ask for the maximum; more is clipped to it.
    fn limit(&self, asked: Option<u64>) -> u64 {
        let most = self.options.max_records;
        asked.filter(|limit| *limit > 0).unwrap_or(most).min(most)
    }

    /// What may be read of a table that a plan reaches.
    fn grant(&self, table: &str) -> Result<Grant> {
        self.access.of(&component(table), &Method::GET)
    }

    /// What a write with this grant may show: the columns that the role may read. Where the records that it may read
    /// are others than those that it may write, the columns must be admitted by both grants; where it may not read the
    /// table at all, only the key is shown.
    pub fn shown(&self, table: &Table, grant: &Grant) -> Grant {
        let readable = match self.grant(&table.name) {
            Ok(readable) if readable.filter.is_none() || readable.filter == grant.filter => {
                readable
            }
            Ok(readable) => readable.and(grant),
            Err(_forbidden) => {
                let key = table.primary_key.iter();
                let names = key.filter_map(|index| table.columns.get(*index));
                let names = names.map(|column| column.name.clone());
                let admitted = names.filter(|name| grant.admits_field(name));
                Grant {
                    fields: Some(Arc::new(admitted.collect())),
                    ..grant.clone()
                }
            }
        };
        Grant {
            filter: grant.filter.clone(),
            ..readable
        }
    }

    /// What the caller's filter of a write with this grant may name: what the write may show, or for a role that may
    /// not read the table at all, what it may write.
    fn filtered(&self, table: &Table, grant: &Grant) -> Grant {
        if self.may_read(&table.name) {
            self.shown(table, grant)
        } else {
            grant.clone()
        }
    }

    /// The columns by which a write with this grant may name records: those that it may write, and those that it may
    /// show.
    pub fn named(&self, table: &Table, grant: &Grant) -> Grant {
        let shown = self.shown(table, grant);
        let fields = match (&grant.fields, &shown.fields) {
            (Some(left), Some(right)) => Some(Arc::new(left.union(right).cloned().collect())),
            _ => None,
        };
        Grant {
            fields,
            ..grant.clone()
        }
    }

    /// Whether it may be read at all, for `related=*`.
    fn may_read(&self, table: &str) -> bool {
        self.access
            .verbs(&component(table))
            .contain(Verbs::of(&Method::GET))
    }
}

impl Planner<'_> {
    /// The columns by which records are addressed: those of `id_field`, or the primary key. The grant must admit them.
    pub fn key_columns(
        &self,
        table: &Table,
        grant: &Grant,
        id_field: &[String],
    ) -> Result<Vec<usize>> {
        key_columns(table, grant, id_field)
    }
}

/// The name under which roles know a table.
fn component(table: &str) -> String {
    component_of("_table", table)
}

fn is_grouped(query: &RecordsQuery) -> bool {
    let has_aggregate = matches!(&query.fields, Fields::Named(items)
        if items.iter().any(|item| matches!(item, FieldItem::Aggregate(..))));
    !query.group.is_empty() || has_aggregate
}

fn by_key(select: Select) -> ReadPlan {
    ReadPlan {
        select,
        page: None,
        keep: Vec::new(),
        cursor: None,
        next_offset: None,
    }
}

fn nothing_shown(target: Target<'_>) -> Error {
    Error::new(
        ErrorKind::Forbidden,
        format!(
            "no field of table '{}' is allowed by this role",
            target.table.name
        ),
    )
    .with_fact("rule", target.grant.position.as_ref())
}

fn position(outputs: &[Output], column: usize) -> Option<usize> {
    outputs.iter().position(
        |output| matches!(output.expression, Expression::Column(index) if index == column),
    )
}

/// The columns by which records are addressed: those of `id_field`, or the primary key. The grant must admit them.
fn key_columns(table: &Table, grant: &Grant, id_field: &[String]) -> Result<Vec<usize>> {
    let columns = Columns::admitted(table, grant);
    if id_field.is_empty() {
        let key = &table.primary_key;
        // A key of which a part is hidden is none: its values and its names are not for this caller.
        if key.is_empty() || !key.iter().all(|index| columns.admits(*index)) {
            return Err(no_key(table));
        }
        return Ok(key.clone());
    }
    let mut indexes = Vec::with_capacity(id_field.len());
    for name in id_field {
        let index = columns.find(name)?;
        if !indexes.contains(&index) {
            indexes.push(index);
        }
    }
    Ok(indexes)
}

fn composite_key(table: &Table, columns: &[usize]) -> Error {
    let names: Vec<&str> = columns
        .iter()
        .filter_map(|index| Some(table.columns.get(*index)?.name.as_str()))
        .collect();
    let example: Vec<String> = names.iter().map(|name| format!("{name}=…")).collect();
    Error::new(
        ErrorKind::InvalidRequest,
        format!(
            "a record of table '{}' has the key fields {}",
            table.name,
            names.join(", ")
        ),
    )
    .with_help(format!("write the key as {}", example.join(",")))
}

fn check_key(table: &Table, columns: &[usize], key: &[Scalar]) -> Result<()> {
    if key.len() == columns.len() {
        Ok(())
    } else {
        Err(composite_key(table, columns))
    }
}

fn keys_condition(table: &Table, columns: &[usize], keys: &[Vec<Scalar>]) -> Result<Condition> {
    if keys.len().saturating_mul(columns.len()) > MAX_KEY_VALUES {
        return Err(Error::new(
            ErrorKind::InvalidParameter,
            "there are too many keys in one request",
        )
        .with_help(format!(
            "send at most {MAX_KEY_VALUES} values of keys at a time"
        )));
    }
    for key in keys {
        check_key(table, columns, key)?;
    }
    Ok(Condition::keys(columns, keys))
}

fn binding(table: &Table, query: &RecordsQuery, orders: &[Order]) -> CursorBinding {
    let filter = query.filter.as_ref().map(|filter| format!("{filter:?}"));
    CursorBinding::new(
        &table.name,
        &format!("{orders:?}"),
        &filter.unwrap_or_default(),
        orders.len(),
    )
}

/// The rows behind one with these values, in a total order of columns.
///
/// `(a, b, c)` come after `(x, y, z)` if `a > x`, or `a = x` and `b > y`, or …. The first column is compared once
/// more on its own, so that an index on it serves.
pub(super) fn after(table: &Table, orders: &[Order], values: Vec<Scalar>) -> Result<Condition> {
    let mut alternatives = Vec::with_capacity(orders.len());
    let mut equal: Vec<Condition> = Vec::new();
    let mut range = Condition::True;
    for (position, (order, value)) in orders.iter().zip(values).enumerate() {
        let Expression::Column(index) = order.expression else {
            return Err(Error::internal("a cursor over something that is no column"));
        };
        let is_nullable = table.column(index)?.is_nullable;
        let column = || Expression::Column(index);
        let nulls = order.nulls.unwrap_or(default_nulls(order.descending));
        let (strict, loose) = if order.descending {
            (Comparison::Less, Comparison::LessOrEqual)
        } else {
            (Comparison::Greater, Comparison::GreaterOrEqual)
        };
        let null = || Condition::IsNull(column());
        let behind = match (&value, nulls) {
            (Scalar::Null, Nulls::First) => Condition::Not(Box::new(null())),
            (Scalar::Null, Nulls::Last) => Condition::False,
            (value, Nulls::Last) if is_nullable => Condition::Or(vec![
                Condition::Compare(column(), strict, Bind::Value(value.clone())),
                null(),
            ]),
            (value, _) => Condition::Compare(column(), strict, Bind::Value(value.clone())),
        };
        let first = orders.len() > 1 && position == 0 && !is_nullable;
        if first && value != Scalar::Null {
            range = Condition::Compare(column(), loose, Bind::Value(value.clone()));
        }
        let alternative = condition::all(equal.iter().cloned().chain([behind]));
        if !matches!(alternative, Condition::False) {
            alternatives.push(alternative);
        }
        equal.push(match value {
            Scalar::Null => null(),
            value => Condition::Compare(column(), Comparison::Equal, Bind::Value(value)),
        });
    }
    let behind = match alternatives.len() {
        0 => Condition::False,
        1 => alternatives.pop().unwrap_or(Condition::False),
        _ => Condition::Or(alternatives),
    };
    Ok(condition::all([range, behind]))
}
