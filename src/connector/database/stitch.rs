//! Related records that the database does not embed, or that another service has: they are read in queries of their own
//! and put into the records they belong to.
//!
//! Parents are read some hundreds at a time and kept as they came; for each relation one query reads what belongs to
//! all of them, which nests. Then the parents are written, and with them what was found, as if the database had
//! embedded it. What is in memory is bounded: when too much belongs to the parents at hand, they are taken in halves.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use indexmap::IndexMap;
use serde_json::Map;

use super::backend::{Database, DatabaseTransaction, Prepared};
use super::catalog::{Column, Type};
use super::link_key::{bound, loose, write_canonical};
use super::neighbourhood::Neighbourhood;
use super::options::DatabaseOptions;
use super::plan::{Children, Condition, Expression, Output, Related, RelatedJunction, Select};
use super::planner;
use super::recorded::Recorded;
use super::rows::{Frame, MAX_WHOLE_BYTES, RowWriter, Shape};
use super::value::{Scalar, Value};
use crate::error::{Error, ErrorKind, Result};
use crate::exchange::Format;
use crate::names::ServiceName;

/// Most parents whose related records are read together.
const PARENTS_AT_ONCE: usize = 500;

/// Most values of keys in one query, well below what any product lets a statement bind.
const KEY_VALUES_AT_ONCE: usize = 1_000;

/// About the most bytes of parents that are kept, and of what belongs to them. One parent alone may have
/// [`MAX_WHOLE_BYTES`].
const ROOM_BYTES: usize = 8 * 1024 * 1024;

/// A select that is ready to run again and again, with what the gateway itself puts into its records.
#[derive(Clone, Debug)]
pub(super) struct Reading {
    prepared: Prepared,
    stitching: Option<Stitching>,
    neighbourhood: Arc<Neighbourhood>,
}

impl Reading {
    /// Does once what the select needs only once.
    pub(super) fn new(
        database: &dyn Database,
        select: Select,
        options: &DatabaseOptions,
        neighbourhood: &Arc<Neighbourhood>,
    ) -> Result<Self> {
        let stitching = Surroundings {
            embeds_related: database.embeds_related(),
            options,
            neighbourhood,
        }
        .stitching(&select);
        let select = stitching.as_ref().map_or(select, Stitching::first);
        Ok(Self {
            prepared: database.prepare(select)?,
            stitching,
            neighbourhood: Arc::clone(neighbourhood),
        })
    }

    /// Reads; rows go to the writer, which is given back.
    pub(super) async fn run(
        &self,
        database: &dyn Database,
        key: &[Scalar],
        rows: RowWriter,
    ) -> Result<RowWriter> {
        match &self.stitching {
            None => database.read(&self.prepared, key, rows).await,
            Some(stitching) => {
                let source = Source {
                    own: Own::Database {
                        database,
                        first: &self.prepared,
                    },
                    neighbourhood: &self.neighbourhood,
                };
                stitching.run(source, key, rows).await
            }
        }
    }
}

/// Runs a select within a transaction, with what the gateway itself puts into its records.
pub(super) async fn select(
    transaction: &mut dyn DatabaseTransaction,
    select: &Select,
    lock: bool,
    rows: RowWriter,
    surroundings: Surroundings<'_>,
) -> Result<RowWriter> {
    match surroundings.stitching(select) {
        None => transaction.select(select, lock, rows).await,
        Some(stitching) => {
            let source = Source {
                own: Own::Transaction { transaction, lock },
                neighbourhood: surroundings.neighbourhood,
            };
            stitching.run(source, &[], rows).await
        }
    }
}

/// What decides which related records the database embeds.
#[derive(Clone, Copy)]
pub(super) struct Surroundings<'a> {
    /// Whether the database of the call embeds related records.
    pub(super) embeds_related: bool,
    /// The settings of its service.
    pub(super) options: &'a DatabaseOptions,
    /// The other services.
    pub(super) neighbourhood: &'a Neighbourhood,
}

impl Surroundings<'_> {
    /// None where the database does all of it.
    fn stitching(self, select: &Select) -> Option<Stitching> {
        // What a database embeds it shows as what it holds.
        let surroundings = Surroundings {
            embeds_related: self.embeds_related && !shows_otherwise(select, true),
            ..self
        };
        let mut level = Level::of(select, None, surroundings);
        if level.stitches.is_empty() {
            return None;
        }
        let resume = level.resume();
        Some(Stitching {
            shape: self.shape(select),
            level,
            resume,
        })
    }

    fn shape(self, select: &Select) -> Shape {
        planner::shape(
            &select.table,
            &select.output,
            Frame::Bare,
            Format::Json,
            self.options,
        )
    }

    /// Whether the database of a service embeds these records in those of a parent, all that is in them included.
    fn embeds(self, related: &Related, service: Option<&ServiceName>) -> bool {
        let embeds_own = match service {
            None => self.embeds_related,
            Some(service) => self.neighbourhood.embeds_related(service, self.options),
        };
        let inner = related.select.output.iter();
        related.service.as_ref() == service
            && embeds_own
            && inner
                .filter_map(|output| match &output.expression {
                    Expression::Related(inner) => Some(inner),
                    _ => None,
                })
                .all(|inner| self.embeds(inner, service))
    }
}

/// Where queries run.
struct Source<'a> {
    own: Own<'a>,
    neighbourhood: &'a Neighbourhood,
}

/// Where queries on the service of the call run.
enum Own<'a> {
    /// On connections of the pool.
    Database {
        database: &'a dyn Database,
        /// The first query for parents.
        first: &'a Prepared,
    },
    /// In a transaction.
    Transaction {
        transaction: &'a mut dyn DatabaseTransaction,
        lock: bool,
    },
}

impl Source<'_> {
    /// The service, unless it is that of the call: what leads back to it is read as the call reads, in its transaction
    /// if it has one.
    fn elsewhere<'s>(&self, service: Option<&'s ServiceName>) -> Option<&'s ServiceName> {
        service.filter(|service| !self.neighbourhood.is_own(service))
    }

    async fn parents(
        &mut self,
        select: Option<Select>,
        stitching: &Stitching,
        key: &[Scalar],
        rows: RowWriter,
    ) -> Result<RowWriter> {
        match &mut self.own {
            Own::Database { database, first } => match select {
                None => database.read(first, key, rows).await,
                Some(select) => database.read(&database.prepare(select)?, key, rows).await,
            },
            Own::Transaction { transaction, lock } => {
                let select = select.unwrap_or_else(|| stitching.first());
                transaction.select(&select, *lock, rows).await
            }
        }
    }

    async fn children(
        &mut self,
        service: Option<&ServiceName>,
        children: &Children,
        rows: RowWriter,
    ) -> Result<RowWriter> {
        if let Some(service) = self.elsewhere(service) {
            let neighbourhood = self.neighbourhood;
            return neighbourhood.read_children(service, children, rows).await;
        }
        match &mut self.own {
            Own::Database { database, .. } => database.read_children(children, rows).await,
            Own::Transaction { transaction, .. } => {
                transaction.select_children(children, rows).await
            }
        }
    }

    async fn select(
        &mut self,
        service: Option<&ServiceName>,
        select: Select,
        rows: RowWriter,
    ) -> Result<RowWriter> {
        if let Some(service) = self.elsewhere(service) {
            return self.neighbourhood.read(service, select, rows).await;
        }
        match &mut self.own {
            Own::Database { database, .. } => {
                database.read(&database.prepare(select)?, &[], rows).await
            }
            Own::Transaction { transaction, .. } => transaction.select(&select, false, rows).await,
        }
    }
}

/// A select whose related records are put into place by the gateway.
#[derive(Clone, Debug)]
struct Stitching {
    level: Level,
    resume: Resume,
    shape: Shape,
}

/// How reading goes on after some parents.
#[derive(Clone, Debug)]
enum Resume {
    /// Behind the values of the last one, which stand here in its row.
    After(Vec<usize>),
    /// Behind so many.
    Offset,
    /// Not at all: they are read at once.
    Never,
}

/// A query and what is put into its rows.
#[derive(Clone, Debug)]
struct Level {
    /// The query without what is put into its rows, with the values that this needs.
    select: Select,
    /// What each row of the answer consists of.
    cells: Vec<Cell>,
    stitches: Vec<Stitch>,
}

/// One value of a row of the answer.
#[derive(Clone, Copy, Debug)]
enum Cell {
    /// The value at this place in the row that was read.
    Value(usize),
    /// What this stitch finds.
    Related(usize),
}

/// One relation.
#[derive(Clone, Debug)]
struct Stitch {
    /// Where the values that link stand in the row of the parent.
    links: Vec<usize>,
    /// The columns that they equal.
    columns: Vec<usize>,
    junction: Option<RelatedJunction>,
    many: bool,
    level: Level,
    shape: Arc<Shape>,
    /// The service that has the records; none for that of the call.
    service: Option<ServiceName>,
    /// The service that has the parents, and the junction.
    near: Option<ServiceName>,
}

/// What was found for some parents by one stitch.
struct Found {
    text: String,
    /// Where in the text the JSON value of each key stands.
    values: Vec<Option<Range<usize>>>,
    /// The key of each parent.
    keys: Vec<Option<usize>>,
    many: bool,
}

impl Found {
    /// The value of a parent.
    fn value(&self, parent: usize) -> Value<'_> {
        let key = self.keys.get(parent).copied().flatten();
        let range = key.and_then(|key| self.values.get(key).cloned().flatten());
        match range.and_then(|range| self.text.get(range)) {
            Some(text) => Value::Json(text),
            None if self.many => Value::Json("[]"),
            None => Value::Null,
        }
    }
}

/// Why related records were not found.
enum Stop {
    /// They take more room than there is.
    Full,
    Failed(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl Stitching {
    /// The query for the first parents.
    fn first(&self) -> Select {
        Select {
            limit: self.take(self.level.select.limit),
            ..self.level.select.clone()
        }
    }

    /// How many parents are read at once when so many are wanted.
    fn take(&self, left: Option<u64>) -> Option<u64> {
        let most = PARENTS_AT_ONCE as u64;
        match self.resume {
            Resume::Never => left,
            // A page is read with one more, which only tells whether there is a next one.
            Resume::After(_) | Resume::Offset => {
                left.map(|left| if left <= most + 1 { left } else { most })
            }
        }
    }

    async fn run(
        &self,
        mut source: Source<'_>,
        key: &[Scalar],
        mut rows: RowWriter,
    ) -> Result<RowWriter> {
        let mut next: Option<Select> = None;
        let mut left = self.level.select.limit;
        let mut seen: u64 = 0;
        let room = match self.resume {
            Resume::Never => MAX_WHOLE_BYTES,
            Resume::After(_) | Resume::Offset => ROOM_BYTES,
        };
        loop {
            let take = self.take(left);
            let recorded = source
                .parents(next, self, key, RowWriter::recording(&self.shape, room))
                .await?
                .into_recorded();
            let count = u64::try_from(recorded.len()).unwrap_or(u64::MAX);
            if recorded.is_cut() && matches!(self.resume, Resume::Never) {
                return Err(too_large());
            }
            if !self.level.write(&mut source, &recorded, &mut rows).await? {
                return Ok(rows);
            }
            left = left.map(|left| left.saturating_sub(count));
            seen = seen.saturating_add(count);
            let is_last = !recorded.is_cut() && take.is_none_or(|take| count < take);
            if is_last || left == Some(0) || count == 0 {
                return Ok(rows);
            }
            let mut select = self.level.select.clone();
            match &self.resume {
                Resume::Never => return Ok(rows),
                Resume::Offset => select.offset = select.offset.saturating_add(seen),
                Resume::After(positions) => {
                    let mut values = Vec::new();
                    recorded.row(recorded.len().saturating_sub(1), &mut values)?;
                    let last = positions.iter().map(|position| {
                        let value = values.get(*position).unwrap_or(&Value::Null);
                        Scalar::from_value(value)
                    });
                    let after = planner::after(&select.table, &select.order, last.collect())?;
                    select.condition = select.condition.and(after);
                    select.offset = 0;
                }
            }
            select.limit = self.take(left);
            next = Some(select);
        }
    }
}

/// Whether a query shows a column as something else than the database holds; `is_outermost` leaves out its own.
fn shows_otherwise(select: &Select, is_outermost: bool) -> bool {
    select.output.iter().any(|output| match &output.expression {
        Expression::Column(index) if !is_outermost => {
            let column = select.table.columns.get(*index);
            column.is_some_and(|column| column.shown_as().is_some())
        }
        Expression::Related(related) => shows_otherwise(&related.select, false),
        _ => false,
    })
}

impl Level {
    fn of(select: &Select, service: Option<&ServiceName>, surroundings: Surroundings<'_>) -> Self {
        let mut own = Vec::with_capacity(select.output.len());
        let mut cells = Vec::with_capacity(select.output.len());
        let mut stitched: Vec<&Related> = Vec::new();
        for output in &select.output {
            match &output.expression {
                Expression::Related(related) if !surroundings.embeds(related, service) => {
                    cells.push(Cell::Related(stitched.len()));
                    stitched.push(related);
                }
                _ => {
                    cells.push(Cell::Value(own.len()));
                    own.push(output.clone());
                }
            }
        }
        let mut level = Self {
            select: Select {
                visible: own.len(),
                output: own,
                ..select.clone()
            },
            cells,
            stitches: Vec::new(),
        };
        for related in stitched {
            let here = related.link.iter().map(|(_, here)| level.place(*here));
            let stitch = Stitch {
                links: here.collect(),
                columns: related.link.iter().map(|(there, _)| *there).collect(),
                junction: related.junction.clone(),
                many: related.many,
                shape: Arc::new(surroundings.shape(&related.select)),
                level: Self::of(&related.select, related.service.as_ref(), surroundings),
                service: related.service.clone(),
                near: service.cloned(),
            };
            level.stitches.push(stitch);
        }
        level
    }

    /// Where a column stands in the row; it is added if need be.
    fn place(&mut self, column: usize) -> usize {
        let output = &mut self.select.output;
        let known = output.iter().position(
            |output| matches!(output.expression, Expression::Column(index) if index == column),
        );
        known.unwrap_or_else(|| {
            output.push(Output {
                name: String::new(),
                expression: Expression::Column(column),
            });
            output.len() - 1
        })
    }

    /// How reading goes on after some rows. What that needs is added to them.
    fn resume(&mut self) -> Resume {
        let ordered: Option<Vec<usize>> = self
            .select
            .order
            .iter()
            .map(|order| match order.expression {
                Expression::Column(index) => Some(index),
                _ => None,
            })
            .collect();
        let Some(ordered) = ordered else {
            return Resume::Never;
        };
        // A key that only the manifest declares is no promise that nothing is lost between two queries.
        let table = &self.select.table;
        if self.select.limit.is_none() || table.is_key_virtual() || !table.is_total(&ordered) {
            return Resume::Never;
        }
        let is_exact = ordered.iter().all(|index| {
            let column = table.column(*index);
            column.is_ok_and(|column| is_exact(&column.kind))
        });
        if !is_exact {
            return Resume::Offset;
        }
        Resume::After(ordered.into_iter().map(|index| self.place(index)).collect())
    }

    /// Writes rows with all that belongs to them. False once the page is full.
    async fn write(
        &self,
        source: &mut Source<'_>,
        recorded: &Recorded,
        rows: &mut RowWriter,
    ) -> Result<bool> {
        let wanted = rows
            .left()
            .map_or(recorded.len(), |left| recorded.len().min(left));
        let mut start = 0;
        let mut most = PARENTS_AT_ONCE;
        while start < wanted {
            let end = start.saturating_add(most).min(wanted);
            let count = end - start;
            let mut room = if count == 1 {
                MAX_WHOLE_BYTES
            } else {
                ROOM_BYTES
            };
            let found = match self.find(source, recorded, start..end, &mut room).await {
                Ok(found) => found,
                Err(Stop::Failed(error)) => return Err(error),
                Err(Stop::Full) if count == 1 => return Err(too_large()),
                Err(Stop::Full) => {
                    most = count.div_ceil(2);
                    continue;
                }
            };
            let mut values = Vec::new();
            for row in start..end {
                if !rows.begin_row() {
                    return Ok(false);
                }
                recorded.row(row, &mut values)?;
                self.write_row(&values, &found, row - start, rows);
                if rows.end_row() {
                    rows.flush().await?;
                }
            }
            start = end;
        }
        // A row beyond the page is only told to the writer.
        Ok(wanted == recorded.len() || rows.begin_row())
    }

    /// Writes the values of one row; the caller begins and ends it.
    fn write_row(&self, values: &[Value<'_>], found: &[Found], row: usize, rows: &mut RowWriter) {
        for cell in &self.cells {
            let value = match cell {
                Cell::Value(place) => values.get(*place).copied(),
                Cell::Related(stitch) => found.get(*stitch).map(|found| found.value(row)),
            };
            rows.value(&value.unwrap_or(Value::Null));
        }
    }

    /// What belongs to some rows, one find for each stitch.
    fn find<'a>(
        &'a self,
        source: &'a mut Source<'_>,
        recorded: &'a Recorded,
        range: Range<usize>,
        room: &'a mut usize,
    ) -> BoxFuture<'a, Result<Vec<Found>, Stop>> {
        Box::pin(async move {
            let mut found = Vec::with_capacity(self.stitches.len());
            for stitch in &self.stitches {
                found.push(stitch.find(source, recorded, range.clone(), room).await?);
            }
            Ok(found)
        })
    }
}

/// Keys of parents: what equal ones have in common, and what is bound.
struct Keys(IndexMap<Vec<u8>, Vec<Scalar>>);

impl Keys {
    /// That columns hold some of them.
    fn condition(&self, columns: &[usize], asked: &[usize]) -> Condition {
        let mut listed: Vec<Vec<Scalar>> = asked
            .iter()
            .filter_map(|index| self.0.get_index(*index))
            .map(|(_, key)| key.clone())
            .collect();
        // Lists have few lengths, so that databases see few statements.
        if let Some(last) = listed.last().cloned() {
            listed.resize(asked.len().next_power_of_two(), last);
        }
        Condition::keys(columns, &listed)
    }

    /// All of them in batches, one for each query. Keys that a database may take for equal are never in the same one:
    /// which of them a row belongs to, the row would not tell.
    fn batches(&self, at_once: usize) -> Vec<Vec<usize>> {
        let mut seen: HashMap<Vec<u8>, usize> = HashMap::with_capacity(self.0.len());
        let mut rounds: Vec<Vec<usize>> = Vec::new();
        for (index, key) in self.0.values().enumerate() {
            let before = seen.entry(loosened(key)).or_default();
            match rounds.get_mut(*before) {
                Some(round) => round.push(index),
                None => rounds.push(vec![index]),
            }
            *before += 1;
        }
        rounds
            .iter()
            .flat_map(|round| round.chunks(at_once))
            .map(<[usize]>::to_vec)
            .collect()
    }
}

/// The keys in some rows, each once, and which one each row has.
fn keys_of(
    recorded: &Recorded,
    range: Range<usize>,
    places: &[usize],
    columns: &[&Column],
) -> Result<(Keys, Vec<Option<usize>>)> {
    let mut keys = IndexMap::new();
    let mut of_rows = Vec::with_capacity(range.len());
    let mut values = Vec::new();
    for row in range {
        recorded.row(row, &mut values)?;
        let links = places.iter().map(|place| values.get(*place));
        of_rows.push(key_of(links, columns).map(|key| {
            let entry = keys.entry(canonical(&key));
            let index = entry.index();
            entry.or_insert(key);
            index
        }));
    }
    Ok((Keys(keys), of_rows))
}

/// The rows that each of some keys has, by the values that stand behind so many others. None if some row fits none of
/// the keys, or two of them: the database takes it for equal to one by a collation that the gateway does not know, and
/// fewer keys at once will tell to which. All rows belong to a key that was asked for alone.
fn owners(
    recorded: &Recorded,
    links: usize,
    keys: &Keys,
    asked: &[usize],
    columns: &[&Column],
) -> Result<Option<Vec<Vec<usize>>>> {
    if asked.len() == 1 {
        return Ok(Some(vec![(0..recorded.len()).collect()]));
    }
    let mut places: HashMap<Vec<u8>, usize> = HashMap::with_capacity(asked.len());
    for (place, index) in asked.iter().enumerate() {
        let key = keys.0.get_index(*index).map(|(_, key)| key);
        let known = key.and_then(|key| places.insert(loosened(key), place));
        if known.is_some() {
            return Ok(None);
        }
    }
    let mut owners: Vec<Vec<usize>> = vec![Vec::new(); asked.len()];
    let mut values = Vec::new();
    for row in 0..recorded.len() {
        recorded.row(row, &mut values)?;
        let key = key_of(values.iter().skip(links).map(Some), columns);
        let place = key.and_then(|key| places.get(&loosened(&key)));
        let Some(owned) = place.and_then(|place| owners.get_mut(*place)) else {
            return Ok(None);
        };
        owned.push(row);
    }
    Ok(Some(owners))
}

/// The rows that were read, if all of them found room.
fn taken(rows: RowWriter, room: &mut usize) -> Result<Recorded, Stop> {
    let recorded = rows.into_recorded();
    if recorded.is_cut() {
        return Err(Stop::Full);
    }
    spend(room, recorded.size())?;
    Ok(recorded)
}

impl Stitch {
    async fn find(
        &self,
        source: &mut Source<'_>,
        parents: &Recorded,
        range: Range<usize>,
        room: &mut usize,
    ) -> Result<Found, Stop> {
        let columns = self.link_columns()?;
        let (keys, of_parents) = keys_of(parents, range, &self.links, &columns)?;
        let mut found = Found {
            text: String::new(),
            values: vec![None; keys.0.len()],
            keys: of_parents,
            many: self.many,
        };
        let at_once = (KEY_VALUES_AT_ONCE / columns.len().max(1)).clamp(1, PARENTS_AT_ONCE);
        let mut batches = keys.batches(at_once);
        batches.reverse();
        while let Some(asked) = batches.pop() {
            let before = *room;
            let read = match &self.junction {
                Some(junction) if self.service != self.near => {
                    self.read_across(junction, source, &keys, &asked, &columns, room)
                        .await?
                }
                _ => {
                    let children = self.children(&keys, &asked);
                    let rows = RowWriter::recording(&self.shape, *room);
                    let service = self.service.as_ref();
                    let rows = source.children(service, &children, rows).await?;
                    let recorded = taken(rows, room)?;
                    let links = self.level.select.output.len();
                    owners(&recorded, links, &keys, &asked, &columns)?
                        .map(|owners| (recorded, owners))
                }
            };
            let Some((recorded, owners)) = read else {
                *room = before;
                let (first, second) = asked.split_at(asked.len() / 2);
                tracing::debug!(
                    keys = asked.len(),
                    "related records fit none of the keys asked for as the gateway compares them; they are read again \
                     for fewer keys at once"
                );
                batches.extend([second.to_vec(), first.to_vec()]);
                continue;
            };
            let owners = self.chosen(owners);
            let inner = self
                .level
                .find(source, &recorded, 0..recorded.len(), room)
                .await?;
            let before = found.text.len();
            self.write(&recorded, &inner, &owners, &asked, &mut found, *room)?;
            spend(room, found.text.len() - before)?;
        }
        Ok(found)
    }

    /// The columns that the values of parents equal.
    fn link_columns(&self) -> Result<Vec<&Column>> {
        let table = match &self.junction {
            Some(junction) => &junction.table,
            None => &self.level.select.table,
        };
        if self.columns.is_empty() {
            return Err(Error::internal("a relation without columns"));
        }
        self.columns
            .iter()
            .map(|index| table.column(*index))
            .collect()
    }

    /// The query for what belongs to some of the keys.
    fn children(&self, keys: &Keys, asked: &[usize]) -> Children {
        let keys = keys.condition(&self.columns, asked);
        let both = |condition: &Condition| keys.clone().and(condition.clone());
        let select = &self.level.select;
        match &self.junction {
            None => Children {
                select: Select {
                    condition: both(&select.condition),
                    ..select.clone()
                },
                columns: self.columns.clone(),
                junction: None,
            },
            Some(junction) => Children {
                select: select.clone(),
                columns: self.columns.clone(),
                junction: Some(RelatedJunction {
                    condition: both(&junction.condition),
                    ..junction.clone()
                }),
            },
        }
    }

    /// The records of each key that are wanted. One that is alone needs no list.
    fn chosen(&self, mut owners: Vec<Vec<usize>>) -> Vec<Vec<usize>> {
        if !self.many {
            for rows in &mut owners {
                rows.truncate(1);
            }
        }
        owners
    }

    /// Records on the far side of a junction that is in another service than they are: the pairs are read first, then
    /// the records, and each parent gets its part of them here.
    async fn read_across(
        &self,
        junction: &RelatedJunction,
        source: &mut Source<'_>,
        keys: &Keys,
        asked: &[usize],
        columns: &[&Column],
        room: &mut usize,
    ) -> Result<Option<(Recorded, Vec<Vec<usize>>)>, Stop> {
        let (here, there): (Vec<usize>, Vec<usize>) = junction.far.iter().copied().unzip();
        let far_columns = there
            .iter()
            .map(|index| self.level.select.table.column(*index))
            .collect::<Result<Vec<_>>>()?;
        let pairs = Children {
            select: Select {
                table: Arc::clone(&junction.table),
                visible: here.len(),
                output: planner::outputs(&junction.table, &here)?,
                condition: keys
                    .condition(&self.columns, asked)
                    .and(junction.condition.clone()),
                group: Vec::new(),
                having: Condition::True,
                order: Vec::new(),
                limit: None,
                offset: 0,
            },
            columns: self.columns.clone(),
            junction: None,
        };
        let rows = RowWriter::recording(&self.shape, *room);
        let rows = source.children(self.near.as_ref(), &pairs, rows).await?;
        let pairs = taken(rows, room)?;
        let Some(near) = owners(&pairs, here.len(), keys, asked, columns)? else {
            return Ok(None);
        };
        let places: Vec<usize> = (0..here.len()).collect();
        let (far, of_pairs) = keys_of(&pairs, 0..pairs.len(), &places, &far_columns)?;
        if far.0.len() > KEY_VALUES_AT_ONCE / far_columns.len().max(1) {
            // The order is that of one query, so all of them are asked for at once.
            return Err(Stop::Full);
        }
        let all: Vec<usize> = (0..far.0.len()).collect();
        let mut select = self.level.select.clone();
        for index in &there {
            select.output.push(Output {
                name: String::new(),
                expression: Expression::Column(*index),
            });
        }
        select.condition = far.condition(&there, &all).and(select.condition);
        select.limit = None;
        select.offset = 0;
        let rows = RowWriter::recording(&self.shape, *room);
        let rows = source.select(self.service.as_ref(), select, rows).await?;
        let recorded = taken(rows, room)?;
        let skipped = usize::try_from(self.level.select.offset).unwrap_or(usize::MAX);
        let limit = self.level.select.limit.unwrap_or(u64::MAX);
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let mut chosen: Vec<Vec<usize>> = if asked.len() == 1 {
            // Whatever the pairs are equal to, all of them are those of one key.
            vec![(0..recorded.len()).collect()]
        } else {
            let links = self.level.select.output.len();
            let Some(of_far) = owners(&recorded, links, &far, &all, &far_columns)? else {
                return Ok(None);
            };
            let of_parent = |pairs: Vec<usize>| {
                let mut rows: Vec<usize> = pairs
                    .iter()
                    .filter_map(|pair| of_pairs.get(*pair).copied().flatten())
                    .filter_map(|far| of_far.get(far))
                    .flatten()
                    .copied()
                    .collect();
                // Rows stand in the order that was asked for; a pair that occurs twice counts once.
                rows.sort_unstable();
                rows.dedup();
                rows
            };
            near.into_iter().map(of_parent).collect()
        };
        for rows in &mut chosen {
            *rows = rows.iter().copied().skip(skipped).take(limit).collect();
        }
        Ok(Some((recorded, chosen)))
    }

    /// Writes what belongs to each key.
    fn write(
        &self,
        recorded: &Recorded,
        inner: &[Found],
        owners: &[Vec<usize>],
        asked: &[usize],
        found: &mut Found,
        room: usize,
    ) -> Result<(), Stop> {
        let mut rows = RowWriter::new(Arc::clone(&self.shape), None);
        let mut values = Vec::new();
        let mut ranges = Vec::with_capacity(owners.len());
        for owned in owners {
            // A comma parts records, also those of different keys.
            let begin = rows.written() + usize::from(rows.rows() > 0);
            for row in owned {
                if !rows.begin_row() {
                    break;
                }
                recorded.row(*row, &mut values)?;
                self.level.write_row(&values, inner, *row, &mut rows);
                rows.end_row();
                if rows.written() > room {
                    return Err(Stop::Full);
                }
            }
            ranges.push((!owned.is_empty()).then(|| begin..rows.written()));
        }
        let bytes = rows.finish(&Map::new());
        let text = std::str::from_utf8(&bytes)
            .map_err(|error| Error::internal("written rows are not UTF-8").with_source(error))?;
        for (key, range) in asked.iter().zip(ranges) {
            let Some(records) = range.and_then(|range| text.get(range)) else {
                continue;
            };
            let begin = found.text.len();
            if self.many {
                found.text.push('[');
            }
            found.text.push_str(records);
            if self.many {
                found.text.push(']');
            }
            if let Some(value) = found.values.get_mut(*key) {
                *value = Some(begin..found.text.len());
            }
        }
        Ok(())
    }
}

/// The values of a key as the columns hold them. None if one is NULL or cannot be held: it then equals nothing.
fn key_of<'a>(
    values: impl Iterator<Item = Option<&'a Value<'a>>>,
    columns: &[&Column],
) -> Option<Vec<Scalar>> {
    let key: Vec<Scalar> = values
        .zip(columns)
        .map(|(value, column)| bound(value?, column))
        .collect::<Option<_>>()?;
    (key.len() == columns.len()).then_some(key)
}

fn canonical(key: &[Scalar]) -> Vec<u8> {
    let mut out = Vec::with_capacity(16 * key.len());
    for value in key {
        write_canonical(&mut out, value);
    }
    out
}

/// What keys have in common that a database may take for equal.
fn loosened(key: &[Scalar]) -> Vec<u8> {
    let mut out = Vec::with_capacity(16 * key.len());
    for value in key {
        match value {
            Scalar::Text(text) => write_canonical(&mut out, &Scalar::Text(loose(text))),
            value => write_canonical(&mut out, value),
        }
    }
    out
}

/// Whether values come out of every database with all their digits, so that reading can go on behind them.
fn is_exact(kind: &Type) -> bool {
    matches!(
        kind,
        Type::Boolean
            | Type::SmallInt
            | Type::Integer
            | Type::BigInt
            | Type::Decimal
            | Type::Money
            | Type::String
            | Type::Text
            | Type::Uuid
            | Type::Date
    )
}

fn spend(room: &mut usize, bytes: usize) -> Result<(), Stop> {
    *room = room.checked_sub(bytes).ok_or(Stop::Full)?;
    Ok(())
}

fn too_large() -> Error {
    Error::new(
        ErrorKind::PayloadTooLarge,
        format!("a record with all that is related to it would be larger than {MAX_WHOLE_BYTES} bytes"),
    )
    .with_help("ask for fewer related records with `{relation}.limit`, or for fewer columns with `{relation}.fields`")
}
