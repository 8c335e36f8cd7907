//! Nested writes: records that are written together with the records related to them, in one transaction.
//!
//! What a record belongs to is written before it, because it holds their keys; what belongs to it is written after it.
//! Every record that is touched is planned with the grants of its own table, as if it had been sent there.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use serde_json::value::RawValue;

use super::backend::DatabaseTransaction;
use super::catalog::{Junction, Relation, RelationKind, Table};
use super::connector::unknown_record;
use super::convert;
use super::operations::component_of;
use super::plan::{Selector, Write};
use super::planner::{Planner, Split, outputs};
use super::read::text_of_key;
use super::request::{MAX_RELATED_DEPTH, Record, RecordsQuery};
use super::rows::{Frame, RowWriter, Shape};
use super::value::Scalar;
use super::write::not_permitted;
use crate::connector::access::Grant;
use crate::error::{Error, ErrorKind, Result};
use crate::exchange::Format;

/// One call that writes records within records.
pub(super) struct NestedWrite<'a> {
    pub(super) planner: Planner<'a>,
    /// `allow_related_delete`
    pub(super) allow_delete: bool,
}

/// The table of a record, what may be done there, and how deep the record is nested; the outermost one at 0.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) table: &'a Arc<Table>,
    pub(super) grant: &'a Grant,
    pub(super) depth: usize,
}

/// What a related record does with the one around it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Tie {
    /// It belongs to it.
    Linked,
    /// It does so no longer.
    Cut,
}

impl NestedWrite<'_> {
    /// Adds a record and what is nested in it; with `upsert`, the grant for changing, a record whose key exists is
    /// changed instead. Gives the values of the columns `wanted`.
    pub(super) fn create<'s>(
        &'s self,
        transaction: &'s mut dyn DatabaseTransaction,
        place: Place<'s>,
        upsert: Option<&'s Grant>,
        record: &'s Record,
        wanted: &'s [usize],
    ) -> BoxFuture<'s, Result<Vec<Scalar>>> {
        Box::pin(async move {
            let Place {
                table,
                grant,
                depth,
            } = place;
            let Split { mut plain, nested } = self.split(table, grant, record, depth)?;
            self.write_parents(transaction, table, &mut plain, &nested, depth)
                .await?;
            let query = RecordsQuery::default();
            let insert = self.planner.insert(table, grant, &plain, &query, upsert)?;
            let columns = with_links(wanted, &nested);
            let mut rows = self
                .run(transaction, Write::Insert(insert), table, &columns)
                .await?;
            let values = rows.pop().ok_or_else(not_permitted)?;
            self.write_children(transaction, table, &nested, &columns, &values, depth)
                .await?;
            Ok(values.into_iter().take(wanted.len()).collect())
        })
    }

    /// Changes the record with this key, and what is nested in it. Gives the values of the columns `wanted`; `None` if
    /// there is no such record.
    pub(super) fn change<'s>(
        &'s self,
        transaction: &'s mut dyn DatabaseTransaction,
        place: Place<'s>,
        (id_field, key_columns, key): (&'s [String], &'s [usize], &'s [Scalar]),
        record: &'s Record,
        wanted: &'s [usize],
    ) -> BoxFuture<'s, Result<Option<Vec<Scalar>>>> {
        Box::pin(async move {
            let Place {
                table,
                grant,
                depth,
            } = place;
            let query = RecordsQuery {
                id_field: id_field.to_vec(),
                ..RecordsQuery::default()
            };
            let Split { mut plain, nested } = self.split(table, grant, record, depth)?;
            // Before its parents are touched: a record that is not there changes nothing.
            let columns = with_links(wanted, &nested);
            let found = self
                .located(transaction, table, grant, key_columns, key, &columns)
                .await?;
            let Some(mut values) = found.into_iter().next() else {
                return Ok(None);
            };
            self.write_parents(transaction, table, &mut plain, &nested, depth)
                .await?;
            if self.planner.changes(table, grant, &plain, &query)? {
                let selector = Selector::Keys(vec![key.to_vec()]);
                let update = self
                    .planner
                    .update(table, grant, &plain, &query, &selector)?;
                let mut rows = self
                    .run(transaction, Write::Update(update), table, &columns)
                    .await?;
                match rows.pop() {
                    Some(changed) => values = changed,
                    None => return Ok(None),
                }
            }
            self.write_children(transaction, table, &nested, &columns, &values, depth)
                .await?;
            Ok(Some(values.into_iter().take(wanted.len()).collect()))
        })
    }

    fn split<'t>(
        &self,
        table: &'t Arc<Table>,
        grant: &Grant,
        record: &Record,
        depth: usize,
    ) -> Result<Split<'t>> {
        let split = self.planner.split(table, grant, record)?;
        if !split.nested.is_empty() && depth >= MAX_RELATED_DEPTH {
            return Err(Error::new(
                ErrorKind::InvalidBody,
                format!("records are nested more than {MAX_RELATED_DEPTH} levels deep"),
            ));
        }
        Ok(split)
    }

    /// Writes what the record belongs to, and puts the keys into the record.
    async fn write_parents(
        &self,
        transaction: &mut dyn DatabaseTransaction,
        table: &Arc<Table>,
        plain: &mut Record,
        nested: &[(&Relation, Box<RawValue>)],
        depth: usize,
    ) -> Result<()> {
        for (relation, value) in nested {
            if relation.kind != RelationKind::BelongsTo {
                continue;
            }
            let keys = self
                .parent(transaction, relation, value, depth)
                .await
                .map_err(|error| error.within(&relation.name))?;
            for (index, key) in relation.columns.iter().zip(keys) {
                let column = table.column(*index)?;
                let same = |name: &String| name.eq_ignore_ascii_case(&column.name);
                if plain.keys().any(same) {
                    return Err(Error::new(
                        ErrorKind::InvalidBody,
                        format!(
                            "field '{}' and relation '{}' both say what the record belongs to",
                            column.name, relation.name
                        ),
                    )
                    .with_help("leave one of them out"));
                }
                plain.insert(column.name.clone(), convert::to_json(&key)?);
            }
        }
        Ok(())
    }

    /// Writes one record that another belongs to. Gives the values by which it is referred to; NULL for `null`.
    async fn parent(
        &self,
        transaction: &mut dyn DatabaseTransaction,
        relation: &Relation,
        value: &RawValue,
        depth: usize,
    ) -> Result<Vec<Scalar>> {
        let table = self.target(relation)?;
        if value.get() == "null" {
            return Ok(vec![Scalar::Null; relation.target_columns.len()]);
        }
        let record = object(value)?;
        self.store(
            transaction,
            &table,
            &record,
            &relation.target_columns,
            depth,
        )
        .await
    }

    /// Writes a related record: adds it when it has no key; else changes the one with its key as far as it says
    /// anything about it, or adds it with this key.
    async fn store(
        &self,
        transaction: &mut dyn DatabaseTransaction,
        table: &Arc<Table>,
        record: &Record,
        wanted: &[usize],
        depth: usize,
    ) -> Result<Vec<Scalar>> {
        if !has_key(table, record) {
            let grant = self.grant(table, "POST")?;
            return self
                .create(
                    transaction,
                    inner(table, &grant, depth),
                    None,
                    record,
                    wanted,
                )
                .await;
        }
        // To name a record without saying anything of it is to read it.
        let is_named_only = record.keys().all(|name| {
            let index = table.column_index(name);
            index.is_some_and(|index| table.primary_key.contains(&index))
        });
        let grant = self.grant(table, if is_named_only { "GET" } else { "PATCH" })?;
        let named = self.planner.named(table, &grant);
        let key = self.planner.key_of_record(table, &named, record, &[])?;
        let key = (&[][..], table.primary_key.as_slice(), key.as_slice());
        let changed = self
            .change(
                transaction,
                inner(table, &grant, depth),
                key,
                record,
                wanted,
            )
            .await?;
        if let Some(values) = changed {
            return Ok(values);
        }
        let is_numbered = table.primary_key.iter().any(|index| {
            let column = table.columns.get(*index);
            column.is_some_and(|column| column.is_auto_increment)
        });
        if is_numbered {
            return Err(unknown_record(&text_of_key(key.2)));
        }
        let grant = self.grant(table, "POST")?;
        self.create(
            transaction,
            inner(table, &grant, depth),
            None,
            record,
            wanted,
        )
        .await
    }

    /// Writes what belongs to the record; `values` are those of its columns `columns`.
    async fn write_children(
        &self,
        transaction: &mut dyn DatabaseTransaction,
        table: &Arc<Table>,
        nested: &[(&Relation, Box<RawValue>)],
        columns: &[usize],
        values: &[Scalar],
        depth: usize,
    ) -> Result<()> {
        for (relation, value) in nested {
            if relation.kind == RelationKind::BelongsTo {
                continue;
            }
            let link = relation
                .columns
                .iter()
                .map(|index| {
                    let at = columns.iter().position(|column| column == index);
                    at.and_then(|at| values.get(at)).cloned()
                })
                .collect::<Option<Vec<_>>>()
                .ok_or_else(|| Error::internal("a nested write lost its link"))?;
            if link.contains(&Scalar::Null) {
                return Err(Error::new(
                    ErrorKind::InvalidBody,
                    format!(
                        "a record of table '{}' without a value for the columns of relation '{}' has nothing \
                         related to it",
                        table.name, relation.name
                    ),
                ));
            }
            if relation.kind == RelationKind::HasOne {
                self.only_child(transaction, relation, &link, value, depth)
                    .await
                    .map_err(|error| error.within(&relation.name))?;
                continue;
            }
            for (position, item) in items(relation, value)?.iter().enumerate() {
                let outcome = match &relation.junction {
                    None => self.child(transaction, relation, &link, item, depth).await,
                    Some(junction) => {
                        self.far(transaction, relation, junction, &link, item, depth)
                            .await
                    }
                };
                outcome.map_err(|error| error.within(&format!("{}[{position}]", relation.name)))?;
            }
        }
        Ok(())
    }

    /// Writes one record that belongs to the one around it.
    async fn child(
        &self,
        transaction: &mut dyn DatabaseTransaction,
        relation: &Relation,
        link: &[Scalar],
        item: &Record,
        depth: usize,
    ) -> Result<()> {
        let table = self.target(relation)?;
        let mut record = item.clone();
        let mut tie = Tie::Linked;
        for (index, value) in relation.target_columns.iter().zip(link) {
            let column = table.column(*index)?;
            let sent = record
                .keys()
                .find(|name| name.eq_ignore_ascii_case(&column.name))
                .cloned()
                .and_then(|name| record.shift_remove(&name));
            match sent {
                Some(sent) if sent.get() == "null" => tie = Tie::Cut,
                Some(sent) if convert::from_json(column, &sent)? != *value => {
                    return Err(Error::new(
                        ErrorKind::InvalidBody,
                        format!(
                            "field '{}' says another record than the one around it",
                            column.name
                        ),
                    )
                    .with_help("leave it out: it is set to the record around it"));
                }
                _ => {}
            }
            record.insert(column.name.clone(), convert::to_json(value)?);
        }
        if tie == Tie::Cut {
            if !has_key(&table, &record) {
                return Err(Error::new(
                    ErrorKind::InvalidBody,
                    "a record that is to be taken out needs its key",
                ));
            }
            let grant = self.grant(&table, "PATCH")?;
            let named = self.planner.named(&table, &grant);
            let key = self.planner.key_of_record(&table, &named, &record, &[])?;
            return self
                .cut(transaction, relation, &table, link, Some(&key))
                .await;
        }
        if has_key(&table, &record) && is_key_only(&table, relation, &record) {
            // Nothing but a link: the record is changed, though only in what it belongs to.
            let grant = self.grant(&table, "PATCH")?;
            let named = self.planner.named(&table, &grant);
            let key = self.planner.key_of_record(&table, &named, &record, &[])?;
            let key = (&[][..], table.primary_key.as_slice(), key.as_slice());
            let changed = self
                .change(transaction, inner(&table, &grant, depth), key, &record, &[])
                .await?;
            if changed.is_some() {
                return Ok(());
            }
        }
        self.store(transaction, &table, &record, &[], depth).await?;
        Ok(())
    }

    /// Writes the one record that belongs to the one around it; `null` and `{}` take it out.
    async fn only_child(
        &self,
        transaction: &mut dyn DatabaseTransaction,
        relation: &Relation,
        link: &[Scalar],
        value: &RawValue,
        depth: usize,
    ) -> Result<()> {
        let table = self.target(relation)?;
        let record = if value.get() == "null" {
            Record::new()
        } else {
            object(value)?
        };
        if record.is_empty() {
            return self.cut(transaction, relation, &table, link, None).await;
        }
        let mut keyed = record.clone();
        for (index, value) in relation.target_columns.iter().zip(link) {
            let name = &table.column(*index)?.name;
            if !keyed.keys().any(|key| key.eq_ignore_ascii_case(name)) {
                keyed.insert(name.clone(), convert::to_json(value)?);
            }
        }
        if !has_key(&table, &keyed) {
            // The one that is there is the one that is meant.
            let grant = self.grant(&table, "PATCH");
            if let Ok(grant) = grant {
                let found = self
                    .located(
                        transaction,
                        &table,
                        &grant,
                        &relation.target_columns,
                        link,
                        &table.primary_key,
                    )
                    .await?;
                if let Some(key) = found.into_iter().next() {
                    for (index, value) in table.primary_key.iter().zip(key) {
                        keyed.insert(
                            table.column(*index)?.name.clone(),
                            convert::to_json(&value)?,
                        );
                    }
                }
            }
        }
        self.child(transaction, relation, link, &keyed, depth).await
    }

    /// Writes one record on the far side of a junction, and the junction's record.
    async fn far(
        &self,
        transaction: &mut dyn DatabaseTransaction,
        relation: &Relation,
        junction: &Junction,
        link: &[Scalar],
        item: &Record,
        depth: usize,
    ) -> Result<()> {
        let table = self.target(relation)?;
        let between = Arc::clone(self.planner.catalog.get(&junction.table)?);
        let mut record = item.clone();
        let cut = record
            .keys()
            .find(|name| {
                let (table, _) = name.split_once('.').unwrap_or((name.as_str(), ""));
                table.eq_ignore_ascii_case(&between.name)
                    || name.eq_ignore_ascii_case(&between.name)
            })
            .cloned()
            .and_then(|name| record.shift_remove(&name));
        if let Some(cut) = &cut
            && cut.get() != "null"
        {
            return Err(Error::new(
                ErrorKind::InvalidBody,
                format!("'{}' can only be null here", between.name),
            )
            .with_help("null takes the record out; to write the record between, write it by its own relation"));
        }
        let far = self
            .store(
                transaction,
                &table,
                &record,
                &relation.target_columns,
                depth,
            )
            .await?;
        let columns: Vec<usize> = junction.near.iter().chain(&junction.far).copied().collect();
        let values: Vec<Scalar> = link.iter().chain(&far).cloned().collect();
        if cut.is_some() {
            let grant = self.grant(&between, "DELETE")?;
            return self
                .remove(transaction, &between, &grant, &columns, &values)
                .await;
        }
        let grant = self.grant(&between, "POST")?;
        // Whether it is linked already is asked with the right to read, which a role that only adds may lack.
        let readable = self.grant(&between, "GET").ok();
        if let Some(readable) = readable {
            let found = self
                .located(
                    transaction,
                    &between,
                    &readable,
                    &columns,
                    &values,
                    &columns,
                )
                .await?;
            if !found.is_empty() {
                return Ok(());
            }
        }
        let mut row = Record::new();
        for (index, value) in columns.iter().zip(&values) {
            row.insert(
                between.column(*index)?.name.clone(),
                convert::to_json(value)?,
            );
        }
        self.create(transaction, inner(&between, &grant, depth), None, &row, &[])
            .await?;
        Ok(())
    }

    /// Takes records out of what they belong to: the one with this key, or all. Where they cannot be without it, they
    /// are deleted if the call allows it.
    async fn cut(
        &self,
        transaction: &mut dyn DatabaseTransaction,
        relation: &Relation,
        table: &Arc<Table>,
        link: &[Scalar],
        key: Option<&[Scalar]>,
    ) -> Result<()> {
        let mut columns = relation.target_columns.clone();
        let mut values = link.to_vec();
        if let Some(key) = key {
            for (index, value) in table.primary_key.iter().zip(key) {
                if !columns.contains(index) {
                    columns.push(*index);
                    values.push(value.clone());
                }
            }
        }
        let can_be_null = relation.target_columns.iter().all(|index| {
            let column = table.columns.get(*index);
            column.is_some_and(|column| column.is_nullable) && !table.primary_key.contains(index)
        });
        if !can_be_null {
            if !self.allow_delete {
                return Err(Error::new(
                    ErrorKind::InvalidBody,
                    format!(
                        "records of table '{}' cannot be without what they belong to",
                        table.name
                    ),
                )
                .with_help("with allow_related_delete=true they are deleted instead"));
            }
            let grant = self.grant(table, "DELETE")?;
            return self
                .remove(transaction, table, &grant, &columns, &values)
                .await;
        }
        let grant = self.grant(table, "PATCH")?;
        let found = self
            .located(
                transaction,
                table,
                &grant,
                &columns,
                &values,
                &table.primary_key,
            )
            .await?;
        if found.is_empty()
            && let Some(key) = key
        {
            return Err(unknown_record(&text_of_key(key)));
        }
        let mut row = Record::new();
        for index in &relation.target_columns {
            row.insert(
                table.column(*index)?.name.clone(),
                convert::to_json(&Scalar::Null)?,
            );
        }
        let query = RecordsQuery::default();
        for key in found {
            let selector = Selector::Keys(vec![key]);
            let update = self
                .planner
                .update(table, &grant, &row, &query, &selector)?;
            self.run(transaction, Write::Update(update), table, &[])
                .await?;
        }
        Ok(())
    }

    /// Deletes the records that have these values and that the grant admits.
    async fn remove(
        &self,
        transaction: &mut dyn DatabaseTransaction,
        table: &Arc<Table>,
        grant: &Grant,
        columns: &[usize],
        values: &[Scalar],
    ) -> Result<()> {
        let delete = self.planner.removal(table, grant, columns, values)?;
        self.run(transaction, Write::Delete(delete), table, &[])
            .await?;
        Ok(())
    }

    fn target(&self, relation: &Relation) -> Result<Arc<Table>> {
        self.planner.catalog.get(&relation.target).map(Arc::clone)
    }

    /// What the caller may do with a table; 403 if nothing.
    fn grant(&self, table: &Table, method: &str) -> Result<Grant> {
        let method = method
            .parse()
            .map_err(|error| Error::internal("a method without a name").with_source(error))?;
        self.planner
            .access
            .of(&component_of("_table", &table.name), &method)
    }

    /// The values of columns of the records that have `values` in `by`, which stay as they are until the end.
    async fn located(
        &self,
        transaction: &mut dyn DatabaseTransaction,
        table: &Arc<Table>,
        grant: &Grant,
        by: &[usize],
        values: &[Scalar],
        columns: &[usize],
    ) -> Result<Vec<Vec<Scalar>>> {
        // Something must be read to know that the record is there.
        let columns = if columns.is_empty() { by } else { columns };
        let select = self.planner.located(table, grant, by, values, columns)?;
        let mut rows = transaction
            .select(&select, true, collecting(table, columns, None)?)
            .await?;
        Ok(rows.take_collected())
    }

    /// Runs a write. Gives the values of columns of the records that it touched; an empty list for each without columns.
    async fn run(
        &self,
        transaction: &mut dyn DatabaseTransaction,
        mut write: Write,
        table: &Arc<Table>,
        columns: &[usize],
    ) -> Result<Vec<Vec<Scalar>>> {
        let returning = outputs(table, columns)?;
        match &mut write {
            Write::Insert(insert) => insert.returning = returning,
            Write::Update(update) => update.returning = returning,
            Write::Delete(delete) => delete.returning = returning,
        }
        let check = write.check().map(|_| columns.len());
        let (mut rows, touched) = transaction
            .write(&write, collecting(table, columns, check)?)
            .await?;
        if rows.has_refused() {
            return Err(not_permitted());
        }
        let mut values = rows.take_collected();
        if columns.is_empty() && check.is_none() {
            let touched = usize::try_from(touched).unwrap_or(usize::MAX);
            values = vec![Vec::new(); touched.min(1)];
        }
        for row in &mut values {
            row.truncate(columns.len());
        }
        Ok(values)
    }
}

/// Whether a record says no more than its key and what it belongs to.
fn is_key_only(table: &Table, relation: &Relation, record: &Record) -> bool {
    record.keys().all(|name| {
        let index = table.column_index(name);
        index.is_some_and(|index| {
            table.primary_key.contains(&index) || relation.target_columns.contains(&index)
        })
    })
}

/// The place of a record within one at this depth.
fn inner<'a>(table: &'a Arc<Table>, grant: &'a Grant, depth: usize) -> Place<'a> {
    Place {
        table,
        grant,
        depth: depth + 1,
    }
}

/// A writer that keeps the values of all rows and writes nothing.
fn collecting(table: &Table, columns: &[usize], check: Option<usize>) -> Result<RowWriter> {
    let mut names = columns
        .iter()
        .map(|index| Ok(table.column(*index)?.name.clone()))
        .collect::<Result<Vec<_>>>()?;
    if check.is_some() {
        names.push("check".to_owned());
    }
    let shape = Shape {
        visible: 0,
        collect: true,
        check,
        ..Shape::new(names, Frame::Bare, Format::Json)
    };
    Ok(RowWriter::new(Arc::new(shape), None))
}

/// The wanted columns, and those by which nested records are linked.
fn with_links(wanted: &[usize], nested: &[(&Relation, Box<RawValue>)]) -> Vec<usize> {
    let mut columns = wanted.to_vec();
    for (relation, _) in nested {
        if relation.kind != RelationKind::BelongsTo {
            columns.extend(&relation.columns);
        }
    }
    columns
}

/// Whether a record has a value for each column of the primary key.
fn has_key(table: &Table, record: &Record) -> bool {
    !table.primary_key.is_empty()
        && table.primary_key.iter().all(|index| {
            let Some(column) = table.columns.get(*index) else {
                return false;
            };
            record.iter().any(|(name, value)| {
                name.eq_ignore_ascii_case(&column.name) && value.get() != "null"
            })
        })
}

fn object(value: &RawValue) -> Result<Record> {
    serde_json::from_str(value.get()).map_err(|error| {
        Error::new(ErrorKind::InvalidBody, "a related record is no JSON object").with_source(error)
    })
}

fn items(relation: &Relation, value: &RawValue) -> Result<Vec<Record>> {
    if value.get() == "null" {
        return Ok(Vec::new());
    }
    serde_json::from_str(value.get()).map_err(|error| {
        Error::new(
            ErrorKind::InvalidBody,
            format!("relation '{}' takes an array of records", relation.name),
        )
        .with_source(error)
    })
}
