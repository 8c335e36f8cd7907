//! Tables, columns, keys and the relations that follow from them.

use std::collections::HashMap;
use std::sync::Arc;

use indexmap::IndexMap;

use crate::error::{Error, ErrorKind, Result, nearest};

/// The tables and views of one database, as a driver found them, with their relations.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    tables: IndexMap<String, Arc<Table>>,
    /// Lower-cased names that stand for exactly one table.
    folded: HashMap<String, usize>,
}

/// A table or a view.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Table {
    /// What callers write: `album`, or `sales.album` outside the default schema.
    pub name: String,
    /// The schema it lives in, if the product has schemas.
    pub schema: Option<String>,
    /// Its name within the schema.
    pub native: String,
    /// Whether it is a view.
    pub is_view: bool,
    /// Its columns, in their own order.
    pub columns: Vec<Column>,
    /// Indexes of the columns of the primary key; empty without one.
    pub primary_key: Vec<usize>,
    /// Indexes of the columns of each other unique key.
    pub unique_keys: Vec<Vec<usize>>,
    /// Columns that lead an index.
    pub indexed: Vec<usize>,
    /// Its foreign keys.
    pub foreign_keys: Vec<ForeignKey>,
    /// What it is related to, both ways. Filled by [`Catalog::new`].
    pub relations: Vec<Relation>,
    /// The comment in the database.
    pub description: Option<String>,
    /// Whether records can be inserted, updated and deleted.
    pub is_writable: bool,
    /// Lower-cased column names. Filled by [`Catalog::new`].
    pub by_name: HashMap<String, usize>,
}

/// A column.
#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// What kind of values it holds.
    pub kind: Type,
    /// The type as the database spells it: `decimal(12,2)`.
    pub db_type: String,
    /// The product's own number of the type: the OID on PostgreSQL, 0 elsewhere.
    pub native: u32,
    /// Whether it may be NULL.
    pub is_nullable: bool,
    /// What it gets when nothing is written.
    pub default: Option<DefaultValue>,
    /// Whether the database numbers it: `serial`, `identity`, `INTEGER PRIMARY KEY`.
    pub is_auto_increment: bool,
    /// Whether the database computes it; such a column cannot be written.
    pub is_generated: bool,
    /// Most characters or bytes.
    pub length: Option<u32>,
    /// Digits in all.
    pub precision: Option<u32>,
    /// Digits after the point.
    pub scale: Option<u32>,
    /// The values of an enumeration.
    pub picklist: Vec<String>,
    /// The comment in the database.
    pub description: Option<String>,
}

/// What a column gets when nothing is written.
#[derive(Clone, Debug, PartialEq)]
pub enum DefaultValue {
    /// A constant, as JSON.
    Literal(serde_json::Value),
    /// An expression of the database.
    Expression(String),
}

/// The kinds of values a column can hold, the same for every product (reference 6.5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Type {
    /// `true`, `false`
    Boolean,
    /// 16 bits
    SmallInt,
    /// 32 bits
    Integer,
    /// 64 bits
    BigInt,
    /// Exact
    Decimal,
    /// Exact, a currency type of the product
    Money,
    /// Single precision
    Float,
    /// Double precision
    Double,
    /// Text of limited length
    String,
    /// Text
    Text,
    /// UUID
    Uuid,
    /// Bytes
    Binary,
    /// JSON
    Json,
    /// An array of something
    Array(Box<Type>),
    /// A day
    Date,
    /// A time of day
    Time,
    /// A time of day with a zone
    TimeTz,
    /// A timestamp without a zone
    DateTime,
    /// A timestamp with a zone
    TimestampTz,
    /// Anything else; the database parses and prints it as text
    Other,
}

/// A foreign key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForeignKey {
    /// The constraint's name; empty where the product has none.
    pub name: String,
    /// Indexes of its columns in this table.
    pub columns: Vec<usize>,
    /// The API name of the table it points to.
    pub target: String,
    /// The names of the columns it points to.
    pub target_columns: Vec<String>,
    /// `NO ACTION`, `CASCADE`, …
    pub on_update: String,
    /// `NO ACTION`, `CASCADE`, …
    pub on_delete: String,
}

/// The kind of a relation, seen from this table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RelationKind {
    /// This table holds the foreign key.
    BelongsTo,
    /// Another table's foreign key points here, and is unique there.
    HasOne,
    /// Another table's foreign key points here.
    HasMany,
    /// A junction table points here and there.
    ManyMany,
}

/// Something that records of this table can be related to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relation {
    /// `customer_by_customer_id`, `invoice_by_customer_id`, `tag_by_invoice_tag` (reference 5.1).
    pub name: String,
    /// Its kind.
    pub kind: RelationKind,
    /// Indexes of the columns of this table that take part.
    pub columns: Vec<usize>,
    /// The API name of the related table.
    pub target: String,
    /// Indexes of the columns there: they equal `columns`, or `junction.far` when there is a junction.
    pub target_columns: Vec<usize>,
    /// The table between, for [`RelationKind::ManyMany`].
    pub junction: Option<Junction>,
}

/// The table between two others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Junction {
    /// Its API name.
    pub table: String,
    /// Indexes of its columns that equal [`Relation::columns`].
    pub near: Vec<usize>,
    /// Indexes of its columns that equal [`Relation::target_columns`].
    pub far: Vec<usize>,
}

impl Type {
    /// Whether values are written as JSON numbers.
    pub fn is_numeric(&self) -> bool {
        matches!(
            self,
            Self::SmallInt
                | Self::Integer
                | Self::BigInt
                | Self::Decimal
                | Self::Money
                | Self::Float
                | Self::Double
        )
    }

    /// Whether it is a date, a time or both.
    pub fn is_temporal(&self) -> bool {
        matches!(
            self,
            Self::Date | Self::Time | Self::TimeTz | Self::DateTime | Self::TimestampTz
        )
    }
}

impl Table {
    /// The index of a column. The exact name goes before one that differs in ASCII case.
    pub fn column_index(&self, name: &str) -> Option<usize> {
        self.columns
            .iter()
            .position(|column| column.name == name)
            .or_else(|| self.by_name.get(&name.to_ascii_lowercase()).copied())
    }

    /// A column by its index, which came from this table.
    pub fn column(&self, index: usize) -> Result<&Column> {
        self.columns
            .get(index)
            .ok_or_else(|| Error::internal(format!("table {} has no column {index}", self.name)))
    }

    /// A relation by its name; ASCII case does not count.
    pub fn relation(&self, name: &str) -> Option<&Relation> {
        self.relations
            .iter()
            .find(|relation| relation.name.eq_ignore_ascii_case(name))
    }
}

impl Catalog {
    /// Takes the tables that a driver found, indexes their names and derives their relations.
    pub fn new(tables: Vec<Table>) -> Self {
        // Relations: see `derive_relations` (reference 5.1).
        let mut catalog = Self::default();
        for mut table in tables {
            table.by_name = table
                .columns
                .iter()
                .enumerate()
                .rev()
                .map(|(index, column)| (column.name.to_ascii_lowercase(), index))
                .collect();
            catalog.tables.insert(table.name.clone(), Arc::new(table));
        }
        let mut seen: HashMap<String, Option<usize>> = HashMap::new();
        for (index, name) in catalog.tables.keys().enumerate() {
            seen.entry(name.to_ascii_lowercase())
                .and_modify(|entry| *entry = None)
                .or_insert(Some(index));
        }
        catalog.folded = seen
            .into_iter()
            .filter_map(|(name, index)| Some((name, index?)))
            .collect();
        catalog
    }

    /// All tables and views, by name.
    pub fn tables(&self) -> impl Iterator<Item = &Arc<Table>> {
        self.tables.values()
    }

    /// A table by the name that callers write: exact first, then without regard to ASCII case if that is
    /// unambiguous. 404 with the nearest name otherwise; the caller must have checked that the role may know
    /// of `admits` tables.
    pub fn table(&self, name: &str, admits: impl Fn(&str) -> bool) -> Result<&Arc<Table>> {
        if let Some(table) = self.tables.get(name) {
            return Ok(table);
        }
        let folded = self
            .folded
            .get(&name.to_ascii_lowercase())
            .and_then(|index| self.tables.get_index(*index));
        if let Some((_, table)) = folded {
            return Ok(table);
        }
        let error = Error::new(
            ErrorKind::UnknownTable,
            format!("table '{name}' does not exist in the database"),
        );
        Err(
            match nearest(
                name,
                self.tables
                    .keys()
                    .map(String::as_str)
                    .filter(|name| admits(name)),
            ) {
                Some(near) => error.with_help(format!("did you mean '{near}'?")),
                None => error,
            },
        )
    }
}
