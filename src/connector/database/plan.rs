//! What is asked × catalog × access → a plan: columns looked up, values typed, role conditions in place. Pure.
//!
//! A plan is free of SQL. `sql.rs` writes it in a product's dialect; a product without SQL carries it out itself.

use std::ops::Range;
use std::sync::Arc;

use super::catalog::{Routine, Table};
use super::value::Scalar;
use crate::connector::filter::{Comparison, Matching, Now};
use crate::names::ServiceName;

/// A query on one table, with what is embedded in its records.
#[derive(Clone, Debug)]
pub struct Select {
    /// The table.
    pub table: Arc<Table>,
    /// What each row consists of. The first [`Select::visible`] go to the caller, in this order; the rest serve the
    /// gateway (cursor, `ETag`).
    pub output: Vec<Output>,
    /// How many of `output` the caller sees.
    pub visible: usize,
    /// Which rows: the caller's filter, the keys and the role's filter, all of which must hold.
    pub condition: Condition,
    /// GROUP BY.
    pub group: Vec<usize>,
    /// HAVING; [`Expression::Aggregate`] may stand in it.
    pub having: Condition,
    /// ORDER BY.
    pub order: Vec<Order>,
    /// Most rows read. For pages it is one more than the page, to know whether there is a next one.
    pub limit: Option<u64>,
    /// Rows skipped.
    pub offset: u64,
}

/// One item of a row.
#[derive(Clone, Debug)]
pub struct Output {
    /// Its name in the answer.
    pub name: String,
    /// What it is.
    pub expression: Expression,
}

/// Something that has a value in each row.
#[derive(Clone, Debug)]
pub enum Expression {
    /// A column of the table.
    Column(usize),
    /// An aggregate.
    Aggregate {
        /// The function.
        function: Aggregate,
        /// Its column; `COUNT(*)` without one.
        column: Option<usize>,
    },
    /// Related records as a JSON value: an object or null, or an array.
    Related(Box<Related>),
    /// A condition as a truth value; false where SQL says unknown.
    Holds(Box<Condition>),
    /// The position of the record's key among these, for an order; not an output.
    Position {
        /// The key columns.
        columns: Vec<usize>,
        /// The keys, one value for each column.
        keys: Vec<Vec<Scalar>>,
    },
}

/// The aggregates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aggregate {
    /// `COUNT`
    Count,
    /// `SUM`
    Sum,
    /// `AVG`
    Average,
    /// `MIN`
    Minimum,
    /// `MAX`
    Maximum,
}

/// Records of another table, embedded.
#[derive(Clone, Debug)]
pub struct Related {
    /// The query on the other table, whose `limit` holds for each parent.
    pub select: Select,
    /// Pairs of (column of the related table or of the junction, column of the parent) that are equal.
    pub link: Vec<(usize, usize)>,
    /// The table between.
    pub junction: Option<RelatedJunction>,
    /// An array of records, or one record or null.
    pub many: bool,
    /// The service that has the related table; none for the service of the call. The table between is always in the
    /// service of the parent.
    pub service: Option<ServiceName>,
}

/// The table between two related ones.
#[derive(Clone, Debug)]
pub struct RelatedJunction {
    /// The table.
    pub table: Arc<Table>,
    /// Pairs of (column of the junction, column of the related table) that are equal.
    pub far: Vec<(usize, usize)>,
    /// The role's filter on the junction.
    pub condition: Condition,
}

/// A query for the records of many parents at once.
///
/// Each row is what `select` gives and then the values of `columns`, which say whose it is. The records of one parent
/// stand in the order of `select`, whose `limit` and `offset` hold for each parent. The same record may belong to
/// several.
#[derive(Clone, Debug)]
pub struct Children {
    /// The query; the keys of the parents stand in its condition, or in that of the junction.
    pub select: Select,
    /// The columns by which records belong to parents: of the junction if there is one, else of the table.
    pub columns: Vec<usize>,
    /// The table between. Pairs that occur in it more than once count once.
    pub junction: Option<RelatedJunction>,
}

/// A condition on rows, with SQL's three-valued logic.
#[derive(Clone, Debug)]
pub enum Condition {
    /// Always holds.
    True,
    /// Never holds.
    False,
    /// All hold.
    And(Vec<Condition>),
    /// One holds.
    Or(Vec<Condition>),
    /// Does not hold.
    Not(Box<Condition>),
    /// `left op right`
    Compare(Expression, Comparison, Bind),
    /// `left IN (…)`; never empty.
    In(Expression, Vec<Bind>),
    /// `left BETWEEN low AND high`
    Between(Expression, Bind, Bind),
    /// `left IS NULL`
    IsNull(Expression),
    /// `left LIKE …`
    Match(Expression, Matching, Bind),
    /// There is a related record that satisfies a condition; never NULL.
    Exists(Box<Exists>),
}

/// That there is a related record.
#[derive(Clone, Debug)]
pub struct Exists {
    /// The related table.
    pub table: Arc<Table>,
    /// Pairs of (column of the related table or of the junction, column of this table) that are equal.
    pub link: Vec<(usize, usize)>,
    /// The table between.
    pub junction: Option<RelatedJunction>,
    /// What the related record must satisfy, the role's filter on it included.
    pub condition: Condition,
}

impl Condition {
    /// That both hold.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::True, only) | (only, Self::True) => only,
            (left, right) => Self::And(vec![left, right]),
        }
    }

    /// That the columns have one of these lists of values.
    pub fn keys(columns: &[usize], keys: &[Vec<Scalar>]) -> Self {
        if keys.is_empty() {
            return Self::False;
        }
        if let [only] = columns {
            let values = keys.iter().flatten().cloned().map(Bind::Value);
            return Self::In(Expression::Column(*only), values.collect());
        }
        let equal = |(index, value): (&usize, &Scalar)| {
            let value = Bind::Value(value.clone());
            Self::Compare(Expression::Column(*index), Comparison::Equal, value)
        };
        let mut records: Vec<Self> = keys
            .iter()
            .map(|key| Self::And(columns.iter().zip(key).map(equal).collect()))
            .collect();
        match records.len() {
            1 => records.pop().unwrap_or(Self::False),
            _ => Self::Or(records),
        }
    }
}

/// A value in a plan.
#[derive(Clone, Debug, PartialEq)]
pub enum Bind {
    /// A value known when the plan is made.
    Value(Scalar),
    /// The n-th value of the key of the call, so that one plan serves all keys.
    Key(usize),
    /// The time at which the statement runs.
    Now(Now),
}

/// One item of ORDER BY.
#[derive(Clone, Debug)]
pub struct Order {
    /// What to order by.
    pub expression: Expression,
    /// Downwards.
    pub descending: bool,
    /// Where NULL goes; as the database has it by default.
    pub nulls: Option<Nulls>,
}

/// Where NULL goes in an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nulls {
    /// Before all else.
    First,
    /// After all else.
    Last,
}

/// One write on one table.
#[derive(Clone, Debug)]
pub enum Write {
    /// Adds a record.
    Insert(Insert),
    /// Changes records.
    Update(Update),
    /// Removes records.
    Delete(Delete),
}

/// Adds a record, or changes the one that has its key.
#[derive(Clone, Debug)]
pub struct Insert {
    /// The table.
    pub table: Arc<Table>,
    /// Columns and their values; empty for a record of defaults.
    pub values: Vec<(usize, Bind)>,
    /// Further records: for each, one value for each column of `values`. Only where nothing is answered.
    pub more: Vec<Vec<Bind>>,
    /// With it, a record whose key exists is changed instead.
    pub upsert: Option<Upsert>,
    /// What the record must satisfy afterwards; nothing is written otherwise.
    pub check: Condition,
    /// What is answered.
    pub returning: Vec<Output>,
}

/// Records on their way into a table by the thousand, all with values for the same columns.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BulkRecords {
    width: usize,
    values: Vec<Scalar>,
    count: usize,
}

impl BulkRecords {
    /// None yet, of so many values each.
    pub fn new(width: usize) -> Self {
        Self {
            width,
            values: Vec::new(),
            count: 0,
        }
    }

    /// Adds a record, whose values are taken.
    pub fn push(&mut self, values: &mut Vec<Scalar>) {
        debug_assert_eq!(values.len(), self.width, "records of different widths");
        self.values.append(values);
        self.count = self.count.saturating_add(1);
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// How many values each has.
    pub fn width(&self) -> usize {
        self.width
    }

    /// The values of one record.
    pub fn record(&self, index: usize) -> &[Scalar] {
        let start = index.saturating_mul(self.width);
        self.values
            .get(start..start.saturating_add(self.width))
            .unwrap_or_default()
    }
}

/// The second half of an upsert.
#[derive(Clone, Debug)]
pub struct Upsert {
    /// The columns of the key that may exist already.
    pub key: Vec<usize>,
    /// Which of `values` are set on the existing record; empty leaves it alone.
    pub set: Vec<usize>,
    /// What the existing record must satisfy before it may be changed.
    pub condition: Condition,
}

/// Changes records.
#[derive(Clone, Debug)]
pub struct Update {
    /// The table.
    pub table: Arc<Table>,
    /// Columns and their new values; never empty.
    pub set: Vec<(usize, Bind)>,
    /// Which records: selector AND role.
    pub condition: Condition,
    /// What each record must satisfy afterwards; nothing is written otherwise.
    pub check: Condition,
    /// What is answered for each record.
    pub returning: Vec<Output>,
}

/// Removes records.
#[derive(Clone, Debug)]
pub struct Delete {
    /// The table.
    pub table: Arc<Table>,
    /// Which records: selector AND role.
    pub condition: Condition,
    /// What is answered for each record, as it was before.
    pub returning: Vec<Output>,
}

impl Insert {
    /// The same for one other record, with values for the same columns.
    #[must_use]
    pub fn with_values(&self, values: &[Scalar]) -> Self {
        let columns = self.values.iter().map(|(index, _)| *index);
        Self {
            values: columns
                .zip(values.iter().cloned().map(Bind::Value))
                .collect(),
            ..self.clone()
        }
    }

    /// The same for several other records; none if there are none.
    pub fn with_records(&self, records: &BulkRecords, range: Range<usize>) -> Option<Self> {
        let mut indexes = range;
        let first = self.with_values(records.record(indexes.next()?));
        let more = indexes.map(|index| {
            let values = records.record(index).iter();
            values.cloned().map(Bind::Value).collect()
        });
        Some(Self {
            more: more.collect(),
            ..first
        })
    }

    /// How many records it adds.
    pub fn records(&self) -> usize {
        self.more.len().saturating_add(1)
    }
}

impl Write {
    /// The table that is written.
    pub fn table(&self) -> &Arc<Table> {
        match self {
            Self::Insert(insert) => &insert.table,
            Self::Update(update) => &update.table,
            Self::Delete(delete) => &delete.table,
        }
    }

    /// What is answered for each record.
    pub fn returning(&self) -> &[Output] {
        match self {
            Self::Insert(insert) => &insert.returning,
            Self::Update(update) => &update.returning,
            Self::Delete(delete) => &delete.returning,
        }
    }

    /// What each record must satisfy afterwards. With it, the statement returns one truth value after
    /// [`Write::returning`].
    pub fn check(&self) -> Option<&Condition> {
        let check = match self {
            Self::Insert(insert) => &insert.check,
            Self::Update(update) => &update.check,
            Self::Delete(_) => return None,
        };
        (!matches!(check, Condition::True)).then_some(check)
    }
}

/// Which records a call is about.
#[derive(Clone, Debug)]
pub enum Selector {
    /// All that the query's filter lets through.
    Query,
    /// The record whose key is bound when the statement runs: [`Bind::Key`] for each key column.
    Key,
    /// The records with these keys: for each, one value for each key column.
    Keys(Vec<Vec<Scalar>>),
}

/// A call of a procedure or a function.
#[derive(Clone, Debug, PartialEq)]
pub struct RoutineCall {
    /// What is called.
    pub routine: Arc<Routine>,
    /// What is sent for each parameter, in their order; `None` where the database's own default is meant, and for
    /// parameters that only come back.
    pub arguments: Vec<Option<Scalar>>,
}
