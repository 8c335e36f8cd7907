//! Writes on products whose writes give no rows ([`Returning::Nothing`](super::Returning::Nothing)).
//!
//! The records are found and locked by their keys first, then written by these keys, and read again in the same
//! transaction: what is answered, and what the role's check sees, is what the database holds. A record that another
//! transaction adds meanwhile is not touched.

use std::sync::Arc;

use super::super::catalog::{Column, DefaultValue, Table};
use super::super::convert;
use super::super::dialect::Dialect;
use super::super::plan::{
    Bind, Condition, Delete, Expression, Insert, Order, Output, Select, Update, Upsert, Write,
};
use super::super::rows::{Frame, RowWriter, Shape};
use super::super::value::Scalar;
use super::{RenderOptions, Transaction, render_select, render_write};
use crate::error::{Error, ErrorKind, Result};
use crate::exchange::Format;

/// Most keys in one statement.
const KEYS_AT_ONCE: usize = 500;

/// Most records that one write by a filter may touch, because their keys are kept until the end of the write.
const MOST_KEYS: usize = 1_000_000;

/// One write of a transaction.
pub(super) struct Reread<'a> {
    pub(super) dialect: &'a dyn Dialect,
    pub(super) transaction: &'a mut dyn Transaction,
    pub(super) options: RenderOptions,
}

impl Reread<'_> {
    /// Carries out the write; what it returns and its check go to the writer, which is given back with the number of
    /// records touched.
    pub(super) async fn write(
        &mut self,
        write: &Write,
        rows: RowWriter,
    ) -> Result<(RowWriter, u64)> {
        match write {
            Write::Insert(insert) => self.insert(insert, rows).await,
            Write::Update(update) => self.update(update, rows).await,
            Write::Delete(delete) => self.delete(delete, rows).await,
        }
    }

    /// How many keys go into one statement, which may name each twice: to find records and to order them.
    fn keys_at_once(&self, columns: &[usize]) -> usize {
        let values = columns.len().max(1).saturating_mul(2);
        (self.dialect.most_values() / values).clamp(1, KEYS_AT_ONCE)
    }

    async fn insert(&mut self, insert: &Insert, rows: RowWriter) -> Result<(RowWriter, u64)> {
        let Some(upsert) = &insert.upsert else {
            let key = self.add(insert).await?;
            return self.answer_insert(insert, key, rows).await;
        };
        let key = upsert
            .key
            .iter()
            .map(|index| given(insert, *index))
            .collect::<Option<Vec<_>>>()
            .ok_or_else(|| Error::internal("an upsert without the values of its key"))?;
        let chosen = Condition::keys(&upsert.key, std::slice::from_ref(&key));
        if !self
            .locked(&insert.table, &chosen, &upsert.key)
            .await?
            .is_empty()
        {
            return self.change_existing(insert, upsert, key, rows).await;
        }
        match self.add(insert).await {
            Err(error)
                if error.kind() == ErrorKind::UniqueViolation
                    && !self
                        .locked(&insert.table, &chosen, &upsert.key)
                        .await?
                        .is_empty() =>
            {
                // The record came to be between the look and the insert.
                return Err(Error::new(
                    ErrorKind::SerializationFailure,
                    "another write added the record at the same moment",
                )
                .with_source(error));
            }
            Err(error) => return Err(error),
            Ok(_) => {}
        }
        self.answer(
            &insert.table,
            &upsert.key,
            &[key],
            &insert.returning,
            check(&insert.check),
            rows,
        )
        .await
    }

    /// The second half of an upsert.
    async fn change_existing(
        &mut self,
        insert: &Insert,
        upsert: &Upsert,
        key: Vec<Scalar>,
        rows: RowWriter,
    ) -> Result<(RowWriter, u64)> {
        let chosen = Condition::keys(&upsert.key, std::slice::from_ref(&key));
        let permitted = Condition::And(vec![chosen.clone(), upsert.condition.clone()]);
        if self
            .locked(&insert.table, &permitted, &upsert.key)
            .await?
            .is_empty()
        {
            return Ok((rows, 0));
        }
        let set: Vec<(usize, Bind)> = insert
            .values
            .iter()
            .filter(|(index, _)| upsert.set.contains(index))
            .cloned()
            .collect();
        if !set.is_empty() {
            self.run(&Write::Update(Update {
                table: Arc::clone(&insert.table),
                set,
                condition: chosen,
                check: Condition::True,
                returning: Vec::new(),
            }))
            .await?;
        }
        self.answer(
            &insert.table,
            &upsert.key,
            &[key],
            &insert.returning,
            check(&insert.check),
            rows,
        )
        .await
    }

    /// Adds a record. Gives the columns that tell it apart and their values, if they are known.
    async fn add(&mut self, insert: &Insert) -> Result<Option<(Vec<usize>, Vec<Scalar>)>> {
        let table = &insert.table;
        let plain = Insert {
            upsert: None,
            check: Condition::True,
            returning: Vec::new(),
            ..insert.clone()
        };
        let known = |key: &Vec<usize>| {
            let values: Option<Vec<Scalar>> = key
                .iter()
                .map(|index| {
                    given(insert, *index).or_else(|| {
                        let is_left_out = !insert.values.iter().any(|(column, _)| column == index);
                        let column = table.column(*index).ok().filter(|_| is_left_out)?;
                        constant_default(column)
                    })
                })
                .collect();
            // NULL equals nothing, not even itself.
            values.filter(|values| !values.contains(&Scalar::Null))
        };
        let found = table
            .enforced_keys()
            .find_map(|key| Some((key.clone(), known(key)?)));
        if let Some((columns, values)) = &found {
            // A trigger may give the record another key: then the one that was sent must not lead to another record,
            // which the role's check would see instead.
            if check(&insert.check).is_some() && self.exists(table, columns, values).await? {
                return Err(Error::new(
                    ErrorKind::UniqueViolation,
                    "a record with this key exists",
                ));
            }
            self.run(&Write::Insert(plain)).await?;
            return Ok(found);
        }
        let Some(key) = table.enforced_keys().next() else {
            self.run(&Write::Insert(plain)).await?;
            return Ok(None);
        };
        let columns = key
            .iter()
            .map(|index| table.column(*index))
            .collect::<Result<Vec<_>>>()?;
        if let Some(output) = self.dialect.insert_output(&columns) {
            let statement =
                super::render::render_insert(self.dialect, &plain, key, &output, self.options)?;
            let writer = collecting(&columns);
            let (mut writer, _) = self.transaction.run(&statement, &[], writer).await?;
            let values = writer.take_collected().pop();
            let values = values.ok_or_else(|| Error::internal("an insert gave no key"))?;
            return Ok(Some((key.clone(), values)));
        }
        self.run(&Write::Insert(plain)).await?;
        let generated = self.transaction.last_key();
        let values: Option<Vec<Scalar>> = key
            .iter()
            .map(|index| {
                let column = table.column(*index).ok()?;
                given(insert, *index).or_else(|| {
                    generated
                        .filter(|_| column.is_auto_increment)
                        .map(Scalar::Int)
                })
            })
            .collect();
        Ok(values.map(|values| (key.clone(), values)))
    }

    /// Whether there is a record with these values.
    async fn exists(
        &mut self,
        table: &Arc<Table>,
        columns: &[usize],
        values: &[Scalar],
    ) -> Result<bool> {
        let key = columns
            .iter()
            .map(|index| table.column(*index))
            .collect::<Result<Vec<_>>>()?;
        let output = super::super::planner::outputs(table, columns)?;
        let select = whole(table, &output, Condition::keys(columns, &[values.to_vec()]));
        let statement = render_select(self.dialect, &select, false, self.options)?;
        let (mut writer, _) = self
            .transaction
            .run(&statement, &[], collecting(&key))
            .await?;
        Ok(!writer.take_collected().is_empty())
    }

    /// Answers for a record that was added.
    async fn answer_insert(
        &mut self,
        insert: &Insert,
        key: Option<(Vec<usize>, Vec<Scalar>)>,
        rows: RowWriter,
    ) -> Result<(RowWriter, u64)> {
        let check = check(&insert.check);
        match key {
            Some((columns, values)) => {
                self.answer(
                    &insert.table,
                    &columns,
                    &[values],
                    &insert.returning,
                    check,
                    rows,
                )
                .await
            }
            None if insert.returning.is_empty() && check.is_none() => Ok((rows, 1)),
            None => Err(no_key(&insert.table).with_help(
                "send the values of the table's key with the record: this database cannot tell the ones it makes",
            )),
        }
    }

    async fn update(&mut self, update: &Update, mut rows: RowWriter) -> Result<(RowWriter, u64)> {
        let table = &update.table;
        let Some(columns) = telling_apart(table) else {
            if update.returning.is_empty() && check(&update.check).is_none() {
                let touched = self.run(&Write::Update(update.clone())).await?;
                return Ok((rows, touched));
            }
            return Err(no_key(table)
                .with_help("give the table a primary key, or a unique key without NULL"));
        };
        let keys = self.locked(table, &update.condition, &columns).await?;
        let touched = u64::try_from(keys.len()).unwrap_or(u64::MAX);
        for keys in keys.chunks(self.keys_at_once(&columns)) {
            self.run(&Write::Update(Update {
                condition: Condition::keys(&columns, keys),
                check: Condition::True,
                returning: Vec::new(),
                ..update.clone()
            }))
            .await?;
        }
        // A write may change the key itself.
        let mut changed = Vec::new();
        for (position, index) in columns.iter().enumerate() {
            match update.set.iter().find(|(column, _)| column == index) {
                Some((_, Bind::Value(value))) => changed.push((position, value.clone())),
                Some(_) => {
                    return Err(Error::new(
                        ErrorKind::InvalidValue,
                        "a key cannot be set to the current time on this database",
                    )
                    .with_help("write the value out"));
                }
                None => {}
            }
        }
        let now: Vec<Vec<Scalar>> = keys
            .into_iter()
            .map(|mut key| {
                for (position, value) in &changed {
                    if let Some(slot) = key.get_mut(*position) {
                        *slot = value.clone();
                    }
                }
                key
            })
            .collect();
        (rows, _) = self
            .answer(
                table,
                &columns,
                &now,
                &update.returning,
                check(&update.check),
                rows,
            )
            .await?;
        Ok((rows, touched))
    }

    async fn delete(&mut self, delete: &Delete, rows: RowWriter) -> Result<(RowWriter, u64)> {
        let table = &delete.table;
        let Some(columns) = telling_apart(table) else {
            return self.delete_without_key(delete, rows).await;
        };
        let keys = self.locked(table, &delete.condition, &columns).await?;
        let (rows, _) = self
            .answer(table, &columns, &keys, &delete.returning, None, rows)
            .await?;
        for keys in keys.chunks(self.keys_at_once(&columns)) {
            self.run(&Write::Delete(Delete {
                condition: Condition::keys(&columns, keys),
                returning: Vec::new(),
                ..delete.clone()
            }))
            .await?;
        }
        Ok((rows, u64::try_from(keys.len()).unwrap_or(u64::MAX)))
    }

    /// Records that nothing tells apart are deleted by the condition that found them; if others joined them meanwhile,
    /// nothing is.
    async fn delete_without_key(
        &mut self,
        delete: &Delete,
        rows: RowWriter,
    ) -> Result<(RowWriter, u64)> {
        if delete.returning.is_empty() {
            let touched = self.run(&Write::Delete(delete.clone())).await?;
            return Ok((rows, touched));
        }
        let before = rows.rows();
        let select = Select {
            order: Vec::new(),
            ..whole(&delete.table, &delete.returning, delete.condition.clone())
        };
        let statement = render_select(self.dialect, &select, true, self.options)?;
        let (rows, _) = self.transaction.run(&statement, &[], rows).await?;
        let touched = self
            .run(&Write::Delete(Delete {
                returning: Vec::new(),
                ..delete.clone()
            }))
            .await?;
        if touched != rows.rows() - before {
            return Err(Error::new(
                ErrorKind::SerializationFailure,
                format!(
                    "records of table '{}' changed while they were deleted",
                    delete.table.name
                ),
            ));
        }
        Ok((rows, touched))
    }

    /// The keys of the records that a condition lets through, which stay as they are until the end.
    async fn locked(
        &mut self,
        table: &Arc<Table>,
        condition: &Condition,
        columns: &[usize],
    ) -> Result<Vec<Vec<Scalar>>> {
        let key = columns
            .iter()
            .map(|index| table.column(*index))
            .collect::<Result<Vec<_>>>()?;
        let output: Vec<Output> = columns
            .iter()
            .zip(&key)
            .map(|(index, column)| Output {
                name: column.name.clone(),
                expression: Expression::Column(*index),
            })
            .collect();
        let select = Select {
            limit: u64::try_from(MOST_KEYS + 1)
                .ok()
                .filter(|_| self.dialect.locks_pages()),
            ..whole(table, &output, condition.clone())
        };
        let statement = render_select(self.dialect, &select, true, self.options)?;
        let (mut writer, _) = self
            .transaction
            .run(&statement, &[], collecting(&key))
            .await?;
        let keys = writer.take_collected();
        if keys.len() > MOST_KEYS {
            return Err(Error::new(
                ErrorKind::PayloadTooLarge,
                format!("one write touches at most {MOST_KEYS} records on this database"),
            )
            .with_help("narrow the filter"));
        }
        Ok(keys)
    }

    /// Reads records by their keys, in this order, into the writer.
    async fn answer(
        &mut self,
        table: &Arc<Table>,
        columns: &[usize],
        keys: &[Vec<Scalar>],
        returning: &[Output],
        check: Option<&Condition>,
        mut rows: RowWriter,
    ) -> Result<(RowWriter, u64)> {
        let touched = u64::try_from(keys.len()).unwrap_or(u64::MAX);
        if returning.is_empty() && check.is_none() {
            return Ok((rows, touched));
        }
        let mut output = returning.to_vec();
        if let Some(check) = check {
            output.push(Output {
                name: "check".to_owned(),
                expression: Expression::Holds(Box::new(check.clone())),
            });
        }
        let before = rows.rows();
        for keys in keys.chunks(self.keys_at_once(columns)) {
            let order = if keys.len() > 1 {
                vec![Order {
                    expression: Expression::Position {
                        columns: columns.to_vec(),
                        keys: keys.to_vec(),
                    },
                    descending: false,
                    nulls: None,
                }]
            } else {
                Vec::new()
            };
            let select = Select {
                order,
                ..whole(table, &output, Condition::keys(columns, keys))
            };
            let statement = render_select(self.dialect, &select, false, self.options)?;
            (rows, _) = self.transaction.run(&statement, &[], rows).await?;
        }
        if rows.rows() - before != touched {
            return Err(stored_otherwise(table, check.is_some()));
        }
        Ok((rows, touched))
    }

    /// Runs a write that gives no rows. Gives how many records it touched, as the product counts.
    async fn run(&mut self, write: &Write) -> Result<u64> {
        let statement = render_write(self.dialect, write, self.options)?;
        let nothing = RowWriter::new(
            Arc::new(Shape::new(Vec::new(), Frame::Bare, Format::Json)),
            None,
        );
        let (_, touched) = self.transaction.run(&statement, &[], nothing).await?;
        Ok(touched)
    }
}

/// A select of these outputs of the records that a condition lets through.
fn whole(table: &Arc<Table>, output: &[Output], condition: Condition) -> Select {
    Select {
        table: Arc::clone(table),
        output: output.to_vec(),
        visible: output.len(),
        condition,
        group: Vec::new(),
        having: Condition::True,
        order: Vec::new(),
        limit: None,
        offset: 0,
    }
}

/// The condition, if it can fail.
fn check(condition: &Condition) -> Option<&Condition> {
    (!matches!(condition, Condition::True)).then_some(condition)
}

/// Takes the values of all rows.
fn collecting(columns: &[&Column]) -> RowWriter {
    let names = columns.iter().map(|column| column.name.clone()).collect();
    let shape = Shape {
        visible: 0,
        collect: true,
        ..Shape::new(names, Frame::Bare, Format::Json)
    };
    RowWriter::new(Arc::new(shape), None)
}

/// The value that an insert gives a column, if it is known.
fn given(insert: &Insert, index: usize) -> Option<Scalar> {
    insert.values.iter().find_map(|(column, bind)| match bind {
        Bind::Value(value) if *column == index => Some(value.clone()),
        _ => None,
    })
}

/// What a column gets that is left out, if it is a constant.
fn constant_default(column: &Column) -> Option<Scalar> {
    let Some(DefaultValue::Literal(value)) = &column.default else {
        return None;
    };
    let text = serde_json::value::to_raw_value(value).ok()?;
    convert::from_json(column, &text).ok()
}

/// Columns that tell all records apart: the primary key, or a unique key that is never NULL.
fn telling_apart(table: &Table) -> Option<Vec<usize>> {
    let never_null = |key: &&Vec<usize>| {
        key.iter().all(|index| {
            let column = table.column(*index);
            column.is_ok_and(|column| !column.is_nullable)
        })
    };
    // A key that only the manifest declares may be that of several records.
    let primary = Some(&table.primary_key);
    primary
        .filter(|key| !key.is_empty() && !table.is_key_virtual())
        .or_else(|| table.unique_keys.iter().find(never_null))
        .cloned()
}

/// The refusal of a record that was not found again by the key that was sent: the database keeps that value in another
/// form, so nothing can be said of the record, and where a role has a check, it was not made.
fn stored_otherwise(table: &Table, is_checked: bool) -> Error {
    let kind = if is_checked {
        ErrorKind::RowNotPermitted
    } else {
        ErrorKind::InvalidValue
    };
    Error::new(
        kind,
        format!(
            "the database keeps the key of a record of table '{}' in another form than it was sent in",
            table.name
        ),
    )
    .with_help("send the key as the database shows it: without digits or spaces that its type does not keep")
}

fn no_key(table: &Table) -> Error {
    Error::new(
        ErrorKind::InvalidRequest,
        format!(
            "nothing tells the records of table '{}' apart, so what was written cannot be answered",
            table.name
        ),
    )
}
