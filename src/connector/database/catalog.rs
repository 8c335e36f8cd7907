//! Tables, columns, keys and the relations that follow from them; procedures and functions.

mod routine;

mod served;
mod settings;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use indexmap::IndexMap;

pub use served::Served;
pub use settings::{ColumnSettings, Supplied, TableSettings};

use super::shape::violated;
use crate::error::{Error, ErrorKind, Result, brief, nearest};
use crate::names::ServiceName;

pub use routine::{Direction, Overloads, Parameter, Returns, Routine, RoutineKind, Routines};

/// The tables and views of one database, as a driver found them, with their relations, and its routines.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Catalog {
    tables: IndexMap<String, Arc<Table>>,
    schemas: Schemas,
    /// Lower-cased names that stand for exactly one table.
    folded: HashMap<String, usize>,
    /// Tables that are not what the contract of the service says, whether they are there or not.
    violations: BTreeSet<String>,
    routines: Routines,
    has_always: bool,
    has_aliases: bool,
}

/// The schemas that a service shows, for products that have any.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Schemas {
    /// The one whose tables go without a prefix, and in which new tables are made.
    pub home: Option<String>,
    /// All of them.
    pub names: Vec<String>,
}

/// What callers write for a table or a routine: its own name in the home schema, `schema.name` in any other.
pub fn api_name(schema: &str, native: &str, is_home: bool) -> String {
    if is_home {
        native.to_owned()
    } else {
        format!("{schema}.{native}")
    }
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
    /// Its indexes on plain columns, those of its keys included.
    pub indexes: Vec<Index>,
    /// The conditions that its records satisfy.
    pub checks: Vec<Check>,
    /// By the index of a column: what the product wants said again when the column is altered, in its own words.
    pub restated: HashMap<usize, Restated>,
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
    /// What the manifest says of it; drivers say nothing.
    pub settings: Option<Arc<TableSettings>>,
}

/// An index on plain columns of all records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Index {
    /// Its name; empty where the product has none that can be used.
    pub name: String,
    /// Indexes of its columns.
    pub columns: Vec<usize>,
    /// Whether no two records agree in all of them.
    pub is_unique: bool,
    /// What it was made for.
    pub origin: IndexOrigin,
}

/// What an index was made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IndexOrigin {
    /// For itself, by CREATE INDEX.
    Index,
    /// For a UNIQUE constraint.
    Unique,
    /// For the primary key.
    PrimaryKey,
}

/// What a change of a column must say again, where the product forgets what is not said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Restated {
    /// The character set and the collation of a text: `CHARACTER SET utf8mb4 COLLATE utf8mb4_bin`.
    pub collation: Option<String>,
    /// Whether every update sets it to the time.
    pub follows_updates: bool,
}

/// A condition that every record of a table satisfies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// The constraint's name; empty where it has none.
    pub name: String,
    /// The condition, in the words of the database.
    pub sql: String,
}

/// A column.
#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    /// What callers write. In the database it is called [`Column::own_name`].
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
    /// What the manifest says of it; drivers say nothing.
    pub settings: Option<Arc<ColumnSettings>>,
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RelationKind {
    /// This table holds the foreign key.
    #[default]
    BelongsTo,
    /// Another table's foreign key points here, and is unique there.
    HasOne,
    /// Another table's foreign key points here.
    HasMany,
    /// A junction table points here and there.
    ManyMany,
}

/// Something that records of this table can be related to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Relation {
    /// `customer_by_customer_id`, `invoice_by_customer_id`, `tag_by_invoice_tag` (reference 5.1).
    pub name: String,
    /// Its kind.
    pub kind: RelationKind,
    /// Indexes of the columns of this table that take part.
    pub columns: Vec<usize>,
    /// The API name of the related table.
    pub target: String,
    /// Indexes of the columns there: they equal `columns`, or `junction.far` when there is a junction. Empty for a
    /// relation to another service, whose columns are known by [`Relation::service_columns`] alone.
    pub target_columns: Vec<usize>,
    /// The table between, for [`RelationKind::ManyMany`]. It is always one of this service.
    pub junction: Option<Junction>,
    /// The other database service that has the related table; none for a table of this service.
    pub service: Option<ServiceName>,
    /// The columns of the related table as the other service calls them, in the order of `columns`, or of
    /// `junction.far`. Empty for a table of this service.
    pub service_columns: Vec<String>,
    /// Whether a manifest declares it, and no foreign key.
    pub is_virtual: bool,
    /// Whether it is read along with every record of the table, asked for or not.
    pub is_always: bool,
    /// What it would be called without an alias; none where it has no alias.
    pub own_name: Option<String>,
    /// What people call it.
    pub label: Option<String>,
    /// What it means.
    pub description: Option<String>,
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

impl Column {
    /// What its values are to callers, where the manifest says that it is not what the database holds.
    pub fn shown_as(&self) -> Option<&Type> {
        self.settings
            .as_deref()
            .and_then(|settings| settings.shown_as.as_ref())
    }

    /// What its values are to callers.
    pub fn shown_kind(&self) -> &Type {
        self.shown_as().unwrap_or(&self.kind)
    }

    /// Whether shorter values are filled up, as the name of the type says: `char(3)`, `binary(16)`.
    pub fn is_fixed_length(&self) -> bool {
        let name = self.type_name();
        matches!(
            name.as_str(),
            "char"
                | "character"
                | "nchar"
                | "bpchar"
                | "binary"
                | "national character"
                | "national char"
        )
    }

    /// Whether it is one of the types that hold every character where others do not: `nvarchar(40)`, `nclob`.
    pub fn is_national(&self) -> bool {
        let name = self.type_name();
        name.starts_with("national ")
            || matches!(
                name.as_str(),
                "nchar" | "nvarchar" | "nvarchar2" | "ntext" | "nclob"
            )
    }

    /// The name of its type in the database, without what stands in parentheses.
    fn type_name(&self) -> String {
        let name = self.db_type.split_once('(');
        let name = name.map_or(self.db_type.as_str(), |(name, _)| name);
        name.trim().to_ascii_lowercase()
    }

    /// Its name in the database.
    pub fn own_name(&self) -> &str {
        self.settings
            .as_deref()
            .and_then(|settings| settings.own_name.as_deref())
            .unwrap_or(&self.name)
    }
}

impl Table {
    /// What callers would write if the manifest gave it no other name. Descriptions (`_schema`) use it.
    pub fn own_name(&self) -> &str {
        self.settings
            .as_deref()
            .and_then(|settings| settings.own_name.as_deref())
            .unwrap_or(&self.name)
    }

    /// Its name in a family of resources: its own under `_schema`, what callers write elsewhere.
    pub fn name_in(&self, family: &str) -> &str {
        if family == "_schema" {
            self.own_name()
        } else {
            &self.name
        }
    }

    /// Columns that exist in the database and not for callers. Their indexes follow those of `columns`.
    pub fn hidden(&self) -> &[Column] {
        self.settings
            .as_deref()
            .map_or(&[], |settings| &settings.hidden)
    }

    /// The index of a column. The exact name goes before one that differs in ASCII case.
    pub fn column_index(&self, name: &str) -> Option<usize> {
        self.columns
            .iter()
            .position(|column| column.name == name)
            .or_else(|| self.by_name.get(&name.to_ascii_lowercase()).copied())
    }

    /// A column by its index, which came from this table; hidden ones too.
    pub fn column(&self, index: usize) -> Result<&Column> {
        self.columns
            .get(index)
            .or_else(|| self.hidden().get(index.checked_sub(self.columns.len())?))
            .ok_or_else(|| Error::internal(format!("table {} has no column {index}", self.name)))
    }

    /// Whether the primary key is one that the manifest declares: the database does not see to it.
    pub fn is_key_virtual(&self) -> bool {
        self.settings
            .as_deref()
            .is_some_and(|settings| settings.is_key_virtual)
    }

    /// The keys that the database sees to, the primary one first. No two records agree in one, but for NULL.
    pub fn enforced_keys(&self) -> impl Iterator<Item = &Vec<usize>> {
        Some(&self.primary_key)
            .filter(|_| !self.is_key_virtual())
            .into_iter()
            .chain(&self.unique_keys)
            .filter(|key| !key.is_empty())
    }

    /// Whether no two records can agree in all of these columns: they contain a primary or unique key of the database.
    pub fn is_unique(&self, columns: &[usize]) -> bool {
        self.enforced_keys()
            .any(|key| key.iter().all(|index| columns.contains(index)))
    }

    /// The keys that tell any two records apart: the primary key, which a manifest may declare, and unique keys that are
    /// never NULL.
    pub fn total_keys(&self) -> impl Iterator<Item = &[usize]> {
        let never_null = |key: &&[usize]| {
            key.iter().all(|index| {
                let column = self.column(*index);
                column.is_ok_and(|column| !column.is_nullable)
            })
        };
        let unique = self
            .unique_keys
            .iter()
            .map(Vec::as_slice)
            .filter(never_null);
        std::iter::once(self.primary_key.as_slice())
            .chain(unique)
            .filter(|key| !key.is_empty())
    }

    /// Whether an order by these columns puts every record in a place of its own.
    pub fn is_total(&self, columns: &[usize]) -> bool {
        self.total_keys()
            .any(|key| key.iter().all(|index| columns.contains(index)))
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
        let mut relations = derive_relations(&tables);
        Self::of(
            tables
                .into_iter()
                .map(|table| Table {
                    relations: relations.remove(&table.name).unwrap_or_default(),
                    ..table
                })
                .collect(),
        )
    }

    /// Takes tables with their relations and indexes their names.
    fn of(tables: Vec<Table>) -> Self {
        let mut catalog = Self::default();
        for mut table in tables {
            table.by_name = table
                .columns
                .iter()
                .enumerate()
                .rev()
                .map(|(index, column)| (column.name.to_ascii_lowercase(), index))
                .collect();
            catalog.has_aliases |= table.own_name() != table.name;
            catalog.has_always |= table.relations.iter().any(|relation| relation.is_always);
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

    /// The same catalog with the procedures and functions that a driver found.
    #[must_use]
    pub fn with_routines(mut self, routines: Routines) -> Self {
        self.routines = routines;
        self
    }

    /// The stored procedures and functions.
    pub fn routines(&self) -> &Routines {
        &self.routines
    }

    /// The same with the schemas that the service shows.
    #[must_use]
    pub fn with_schemas(mut self, schemas: Schemas) -> Self {
        self.schemas = schemas;
        self
    }

    /// The schemas that the service shows; none for products that have none.
    pub fn schemas(&self) -> &Schemas {
        &self.schemas
    }

    /// All tables and views, by name.
    pub fn tables(&self) -> impl Iterator<Item = &Arc<Table>> {
        self.tables.values()
    }

    /// A table by its own name, if there is one.
    pub(super) fn find(&self, name: &str) -> Option<&Arc<Table>> {
        self.tables.get(name)
    }

    /// The same, in which these tables, by the names that they have in the database, are not what the contract of the
    /// service says: they are refused.
    #[must_use]
    pub(super) fn with_violations(mut self, tables: &[String]) -> Self {
        let is_refused = |table: &&Arc<Table>| tables.iter().any(|name| name == table.own_name());
        let there = self.tables.values().filter(is_refused);
        let mut violations: BTreeSet<String> = there.map(|table| table.name.clone()).collect();
        // One that is gone is asked for by its own name, unless another is called so.
        violations.extend(
            tables
                .iter()
                .filter(|name| !self.tables.contains_key(name.as_str()))
                .filter(|name| !self.tables.values().any(|table| table.own_name() == *name))
                .cloned(),
        );
        self.violations = violations;
        self
    }

    /// A table, unless it is not what the contract of the service says.
    fn kept<'a>(&self, table: &'a Arc<Table>) -> Result<&'a Arc<Table>> {
        if self.violations.contains(&table.name) {
            return Err(violated(&table.name));
        }
        Ok(table)
    }

    /// Whether any relation is read along unasked.
    pub fn has_always(&self) -> bool {
        self.has_always
    }

    /// A table by its own name, which came from this catalog.
    pub fn get(&self, name: &str) -> Result<&Arc<Table>> {
        if self.violations.contains(name) {
            return Err(violated(name));
        }
        self.tables
            .get(name)
            .ok_or_else(|| Error::internal(format!("the catalog has no table {name}")))
    }

    /// A table by its own name, as descriptions have it; otherwise as [`Catalog::table`].
    pub fn described(&self, name: &str, admits: impl Fn(&str) -> bool) -> Result<&Arc<Table>> {
        if !self.has_aliases {
            return self.table(name, admits);
        }
        let tables = || self.tables.values();
        if let Some(table) = tables().find(|table| table.own_name() == name) {
            return self.kept(table);
        }
        let mut folded = tables().filter(|table| table.own_name().eq_ignore_ascii_case(name));
        if let (Some(table), None) = (folded.next(), folded.next()) {
            return self.kept(table);
        }
        let known = tables().map(|table| table.own_name());
        Err(no_table(name, known.filter(|name| admits(name))))
    }

    /// A table by the name that callers write: exact first, then without regard to ASCII case if that is
    /// unambiguous. 404 with the nearest name otherwise; the caller must have checked that the role may know
    /// of `admits` tables.
    pub fn table(&self, name: &str, admits: impl Fn(&str) -> bool) -> Result<&Arc<Table>> {
        if self.violations.contains(name) {
            return Err(violated(name));
        }
        if let Some(table) = self.tables.get(name) {
            return Ok(table);
        }
        let folded = self
            .folded
            .get(&name.to_ascii_lowercase())
            .and_then(|index| self.tables.get_index(*index));
        if let Some((_, table)) = folded {
            return self.kept(table);
        }
        let known = self.tables.keys().map(String::as_str);
        Err(no_table(name, known.filter(|name| admits(name))))
    }
}

fn no_table<'n>(name: &str, known: impl Iterator<Item = &'n str>) -> Error {
    let error = Error::new(
        ErrorKind::UnknownTable,
        format!("table '{}' does not exist in the database", brief(name)),
    );
    match nearest(name, known) {
        Some(near) => error.with_help(format!("did you mean '{near}'?")),
        None => error,
    }
}

/// A foreign key whose target is known.
struct Reference<'a> {
    table: &'a Table,
    columns: &'a [usize],
    target: &'a Table,
    target_columns: Vec<usize>,
}

impl Reference<'_> {
    fn column_names(&self) -> String {
        joined(self.table, self.columns)
    }

    /// Whether at most one record can hold each value of the foreign key.
    fn is_unique(&self) -> bool {
        self.table.is_unique(self.columns)
    }
}

fn joined(table: &Table, columns: &[usize]) -> String {
    let names: Vec<&str> = columns
        .iter()
        .filter_map(|index| table.columns.get(*index))
        .map(|column| column.name.as_str())
        .collect();
    names.join("_")
}

/// Relations by the name of the table that has them.
///
/// Names are those of the reference (5.1): `{target}_by_{columns of the foreign key}` both for the record that a
/// foreign key points to and for the records that point here, `{target}_by_{junction}` across a junction. A table
/// with several foreign keys is a junction for each two of them. Where two relations of a table would have one name
/// (or that of a column), the first keeps it, in the order: foreign keys of the table itself, foreign keys that point
/// to it, junctions; each by table name and then by the position of the columns. The others are told apart so:
///
/// * records that point here: `_children` is appended, as for a self reference: `employee_by_manager_id` is the
///   manager, `employee_by_manager_id_children` those who have this manager;
/// * across a junction: the columns of its foreign key to the far table are appended: `person_by_friendship` and
///   `person_by_friendship_from_id`;
/// * whatever is still not unique gets `_2`, `_3`, ….
fn derive_relations(tables: &[Table]) -> HashMap<String, Vec<Relation>> {
    let by_name: HashMap<&str, &Table> = tables
        .iter()
        .map(|table| (table.name.as_str(), table))
        .collect();
    let mut sorted: Vec<&Table> = tables.iter().collect();
    sorted.sort_by(|left, right| left.name.cmp(&right.name));
    let references: Vec<Reference<'_>> = sorted
        .iter()
        .flat_map(|table| references(table, &by_name))
        .collect();
    let mut relations: HashMap<String, Vec<Relation>> = HashMap::new();
    let mut add = |owner: &Table, name: String, distinction: &str, relation: Relation| {
        let known = relations.entry(owner.name.clone()).or_default();
        let is_taken = |name: &str| {
            known
                .iter()
                .any(|relation| relation.name.eq_ignore_ascii_case(name))
                || owner
                    .columns
                    .iter()
                    .any(|column| column.name.eq_ignore_ascii_case(name))
        };
        let mut chosen = name.clone();
        if is_taken(&chosen) && !distinction.is_empty() {
            chosen = format!("{name}_{distinction}");
        }
        let stem = chosen.clone();
        let mut number = 2_u32;
        while is_taken(&chosen) {
            chosen = format!("{stem}_{number}");
            number = number.saturating_add(1);
        }
        known.push(Relation {
            name: chosen,
            ..relation
        });
    };
    for reference in &references {
        add(
            reference.table,
            format!("{}_by_{}", reference.target.name, reference.column_names()),
            "",
            Relation {
                name: String::new(),
                kind: RelationKind::BelongsTo,
                columns: reference.columns.to_vec(),
                target: reference.target.name.clone(),
                target_columns: reference.target_columns.clone(),
                junction: None,
                ..Relation::default()
            },
        );
    }
    for reference in &references {
        add(
            reference.target,
            format!("{}_by_{}", reference.table.name, reference.column_names()),
            "children",
            Relation {
                name: String::new(),
                kind: if reference.is_unique() {
                    RelationKind::HasOne
                } else {
                    RelationKind::HasMany
                },
                columns: reference.target_columns.clone(),
                target: reference.table.name.clone(),
                target_columns: reference.columns.to_vec(),
                junction: None,
                ..Relation::default()
            },
        );
    }
    for near in &references {
        for far in &references {
            if near.table.name != far.table.name || near.columns == far.columns {
                continue;
            }
            add(
                near.target,
                format!("{}_by_{}", far.target.name, near.table.name),
                &far.column_names(),
                Relation {
                    name: String::new(),
                    kind: RelationKind::ManyMany,
                    columns: near.target_columns.clone(),
                    target: far.target.name.clone(),
                    target_columns: far.target_columns.clone(),
                    junction: Some(Junction {
                        table: near.table.name.clone(),
                        near: near.columns.to_vec(),
                        far: far.columns.to_vec(),
                    }),
                    ..Relation::default()
                },
            );
        }
    }
    relations
}

/// The foreign keys of a table that point to known columns, each once, by the position of their columns.
fn references<'a>(table: &'a Table, by_name: &HashMap<&str, &'a Table>) -> Vec<Reference<'a>> {
    let mut found: Vec<Reference<'a>> = Vec::new();
    for key in &table.foreign_keys {
        let Some(&target) = by_name.get(key.target.as_str()) else {
            continue;
        };
        // SQLite lets a foreign key name no columns: it means the primary key.
        let target_columns: Option<Vec<usize>> = if key.target_columns.is_empty() {
            Some(target.primary_key.clone())
        } else {
            key.target_columns
                .iter()
                .map(|name| {
                    let exact = |column: &Column| column.name == *name;
                    let folded = |column: &Column| column.name.eq_ignore_ascii_case(name);
                    let position = target.columns.iter().position(exact);
                    position.or_else(|| target.columns.iter().position(folded))
                })
                .collect()
        };
        let Some(target_columns) = target_columns else {
            continue;
        };
        let is_sound = !key.columns.is_empty()
            && key.columns.len() == target_columns.len()
            && key.columns.iter().all(|index| *index < table.columns.len());
        let is_known = found.iter().any(|reference| {
            reference.columns == key.columns
                && reference.target.name == target.name
                && reference.target_columns == target_columns
        });
        if is_sound && !is_known {
            found.push(Reference {
                table,
                columns: &key.columns,
                target,
                target_columns,
            });
        }
    }
    found.sort_by(|left, right| {
        (left.columns, &left.target.name, &left.target_columns).cmp(&(
            right.columns,
            &right.target.name,
            &right.target_columns,
        ))
    });
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(name: &str) -> Column {
        Column {
            name: name.to_owned(),
            kind: Type::Integer,
            db_type: "integer".to_owned(),
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

    fn key(columns: &[usize], target: &str, target_columns: &[&str]) -> ForeignKey {
        ForeignKey {
            name: String::new(),
            columns: columns.to_vec(),
            target: target.to_owned(),
            target_columns: target_columns
                .iter()
                .map(|name| (*name).to_owned())
                .collect(),
            on_update: "NO ACTION".to_owned(),
            on_delete: "NO ACTION".to_owned(),
        }
    }

    fn table(name: &str, columns: &[&str], primary_key: &[usize], keys: Vec<ForeignKey>) -> Table {
        Table {
            name: name.to_owned(),
            native: name.to_owned(),
            columns: columns.iter().map(|name| column(name)).collect(),
            primary_key: primary_key.to_vec(),
            foreign_keys: keys,
            is_writable: true,
            ..Table::default()
        }
    }

    fn names(catalog: &Catalog, table: &str) -> Vec<(String, RelationKind)> {
        let table = catalog.get(table).unwrap();
        let relations = table.relations.iter();
        relations
            .map(|relation| (relation.name.clone(), relation.kind))
            .collect()
    }

    #[test]
    fn relations_have_the_names_of_the_reference() {
        let mut profile = table(
            "profile",
            &["customer_id"],
            &[0],
            vec![key(&[0], "customer", &["id"])],
        );
        profile.unique_keys = vec![];
        let catalog = Catalog::new(vec![
            table("customer", &["id"], &[0], vec![]),
            table(
                "invoice",
                &["id", "customer_id"],
                &[0],
                vec![key(&[1], "customer", &[])],
            ),
            table("sales.tag", &["id"], &[0], vec![]),
            table(
                "invoice_tag",
                &["invoice_id", "tag_id"],
                &[0, 1],
                vec![
                    key(&[0], "invoice", &["id"]),
                    key(&[1], "sales.tag", &["ID"]),
                ],
            ),
            profile,
        ]);
        assert_eq!(
            names(&catalog, "customer"),
            [
                ("invoice_by_customer_id".to_owned(), RelationKind::HasMany),
                ("profile_by_customer_id".to_owned(), RelationKind::HasOne),
            ]
        );
        assert_eq!(
            names(&catalog, "invoice"),
            [
                (
                    "customer_by_customer_id".to_owned(),
                    RelationKind::BelongsTo
                ),
                (
                    "invoice_tag_by_invoice_id".to_owned(),
                    RelationKind::HasMany
                ),
                (
                    "sales.tag_by_invoice_tag".to_owned(),
                    RelationKind::ManyMany
                ),
            ]
        );
        assert_eq!(
            names(&catalog, "sales.tag"),
            [
                ("invoice_tag_by_tag_id".to_owned(), RelationKind::HasMany),
                ("invoice_by_invoice_tag".to_owned(), RelationKind::ManyMany),
            ]
        );
    }

    #[test]
    fn a_self_reference_and_a_double_junction_are_told_apart_whatever_the_order_of_the_tables() {
        let mut tables = vec![
            table(
                "employee",
                &["id", "manager_id"],
                &[0],
                vec![key(&[1], "employee", &["id"])],
            ),
            table("person", &["id"], &[0], vec![]),
            table(
                "friendship",
                &["from_id", "to_id"],
                &[0, 1],
                vec![key(&[1], "person", &["id"]), key(&[0], "person", &["id"])],
            ),
        ];
        for _ in 0..2 {
            let catalog = Catalog::new(tables.clone());
            assert_eq!(
                names(&catalog, "employee"),
                [
                    ("employee_by_manager_id".to_owned(), RelationKind::BelongsTo),
                    (
                        "employee_by_manager_id_children".to_owned(),
                        RelationKind::HasMany
                    ),
                ]
            );
            assert_eq!(
                names(&catalog, "person"),
                [
                    ("friendship_by_from_id".to_owned(), RelationKind::HasMany),
                    ("friendship_by_to_id".to_owned(), RelationKind::HasMany),
                    ("person_by_friendship".to_owned(), RelationKind::ManyMany),
                    (
                        "person_by_friendship_from_id".to_owned(),
                        RelationKind::ManyMany
                    ),
                ]
            );
            tables.reverse();
        }
    }

    #[test]
    fn composite_foreign_keys_join_their_columns_and_unsound_ones_are_left_out() {
        let catalog = Catalog::new(vec![
            table("product", &["maker", "model"], &[0, 1], vec![]),
            table(
                "line",
                &["id", "maker", "model", "product_by_maker_model"],
                &[0],
                vec![
                    key(&[1, 2], "product", &["maker", "model"]),
                    key(&[1, 2], "product", &[]),
                    key(&[1], "nowhere", &["id"]),
                    key(&[1], "product", &["colour"]),
                    key(&[0], "product", &["maker", "model"]),
                ],
            ),
        ]);
        let line = catalog.get("line").unwrap();
        assert_eq!(line.relations.len(), 1);
        assert_eq!(
            line.relations[0].name, "product_by_maker_model_2",
            "a column has that name"
        );
        assert_eq!(line.relations[0].target_columns, [0, 1]);
    }

    #[test]
    fn a_misspelt_table_is_helped_with_names_the_role_may_see() {
        let catalog = Catalog::new(vec![
            table("album", &["id"], &[0], vec![]),
            table("albums_secret", &["id"], &[0], vec![]),
        ]);
        assert_eq!(catalog.table("ALBUM", |_| true).unwrap().name, "album");
        let error = catalog.table("albumm", |name| name == "album").unwrap_err();
        assert_eq!(error.help(), Some("did you mean 'album'?"));
        let error = catalog.table("albums_secre", |_| false).unwrap_err();
        assert_eq!(error.help(), None);
    }
}
