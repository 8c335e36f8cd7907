//! The shape of a database as a contract locks it, and how a live one differs from it. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use schemars::JsonSchema;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use super::catalog::{Catalog, Column, Table, Type};
use super::catalog_change::some_names;
use crate::error::{Error, ErrorKind};

/// The format of contract files that this version writes and reads.
pub const FORMAT: u32 = 1;

/// What happens when a database is not what its contract says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ContractMode {
    /// Calls that touch a table which differs in anything are refused; other tables go on.
    Strict,
    /// Only what is locked is served: other tables and columns behave as if they did not exist, and tables that lack a
    /// locked column, or have one of another type, are refused.
    Shape,
    /// Everything is served; the difference is reported.
    Warn,
}

/// The tables and columns of a database, as a contract file has them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shape {
    /// [`FORMAT`]; any other is refused.
    #[serde(deserialize_with = "known_format")]
    pub format: u32,
    /// Tables and views, by name.
    pub tables: BTreeMap<String, TableShape>,
}

/// A table or view.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TableShape {
    /// Whether it is a view.
    #[serde(default, skip_serializing_if = "is_false")]
    pub view: bool,
    /// The columns of its primary key.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub primary_key: Vec<String>,
    /// Its columns, in their order.
    pub columns: Vec<ColumnShape>,
}

/// A column.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ColumnShape {
    /// Its name.
    pub name: String,
    /// The kind of its values, as `_schema` has it.
    pub r#type: String,
    /// The type as the database spells it.
    pub db_type: String,
    /// Whether it may be null.
    pub nullable: bool,
    /// Whether a record may be made without it.
    pub optional: bool,
}

fn known_format<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    match u32::deserialize(deserializer)? {
        FORMAT => Ok(FORMAT),
        other => Err(D::Error::custom(format!(
            "its format is {other}, and this version reads format {FORMAT}"
        ))),
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde wants it so")]
const fn is_false(value: &bool) -> bool {
    !*value
}

/// How a live database differs from its contract. Names are sorted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Drift {
    /// Tables that differ.
    pub tables: Vec<TableDrift>,
}

/// How a table differs from what is locked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TableDrift {
    /// Its name.
    pub table: String,
    /// What became of the table as a whole: `missing`, `new` or `changed`.
    pub state: &'static str,
    /// Locked columns that are not there.
    pub missing: Vec<String>,
    /// Columns that are not locked.
    pub added: Vec<String>,
    /// Locked columns that are something else now.
    pub changed: Vec<ColumnDrift>,
    /// Whether the primary key is another one.
    pub key_changed: bool,
}

/// A locked column that is something else now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ColumnDrift {
    /// Its name.
    pub column: String,
    /// What is locked.
    pub locked: ColumnShape,
    /// What it is.
    pub live: ColumnShape,
}

impl Shape {
    /// The shape of a live database.
    pub fn of(catalog: &Catalog) -> Self {
        let tables = catalog
            .tables()
            .map(|table| (table.name.clone(), TableShape::of(table)));
        Self {
            format: FORMAT,
            tables: tables.collect(),
        }
    }

    /// The text of a contract file; equal shapes have equal texts.
    pub fn to_text(&self) -> Result<String, Error> {
        let text = serde_json::to_string_pretty(self)
            .map_err(|error| Error::internal("a shape that is no JSON").with_source(error))?;
        Ok(text + "\n")
    }

    /// How a live database differs.
    pub fn drift(&self, live: &Self) -> Drift {
        let names: BTreeSet<&String> = self.tables.keys().chain(live.tables.keys()).collect();
        let whole = |name: &String, state| TableDrift {
            table: name.clone(),
            state,
            ..TableDrift::default()
        };
        let tables = names.into_iter().filter_map(|name| {
            match (self.tables.get(name), live.tables.get(name)) {
                (Some(locked), Some(live)) => locked.drift(name, live),
                (Some(_), None) => Some(whole(name, "missing")),
                (None, _) => Some(whole(name, "new")),
            }
        });
        Drift {
            tables: tables.collect(),
        }
    }
}

impl TableShape {
    fn of(table: &Table) -> Self {
        let key = table.primary_key.iter();
        Self {
            view: table.is_view,
            primary_key: key
                .filter_map(|index| Some(table.columns.get(*index)?.name.clone()))
                .collect(),
            columns: table.columns.iter().map(ColumnShape::of).collect(),
        }
    }

    fn column(&self, name: &str) -> Option<&ColumnShape> {
        self.columns.iter().find(|column| column.name == name)
    }

    fn drift(&self, name: &str, live: &Self) -> Option<TableDrift> {
        let mut drift = TableDrift {
            table: name.to_owned(),
            state: "changed",
            key_changed: self.primary_key != live.primary_key || self.view != live.view,
            ..TableDrift::default()
        };
        for locked in &self.columns {
            match live.column(&locked.name) {
                None => drift.missing.push(locked.name.clone()),
                Some(live) if live != locked => drift.changed.push(ColumnDrift {
                    column: locked.name.clone(),
                    locked: locked.clone(),
                    live: live.clone(),
                }),
                Some(_) => {}
            }
        }
        let added = live.columns.iter().map(|column| &column.name);
        drift.added = added
            .filter(|name| self.column(name).is_none())
            .cloned()
            .collect();
        drift.missing.sort_unstable();
        drift.added.sort_unstable();
        drift
            .changed
            .sort_unstable_by(|left, right| left.column.cmp(&right.column));
        let is_same = !drift.key_changed
            && drift.missing.is_empty()
            && drift.added.is_empty()
            && drift.changed.is_empty();
        (!is_same).then_some(drift)
    }
}

impl ColumnShape {
    fn of(column: &Column) -> Self {
        Self {
            name: column.name.clone(),
            r#type: kind(&column.kind),
            db_type: column.db_type.clone(),
            nullable: column.is_nullable,
            optional: column.is_nullable
                || column.default.is_some()
                || column.is_auto_increment
                || column.is_generated,
        }
    }
}

fn kind(kind: &Type) -> String {
    match kind {
        Type::Array(element) => format!("array of {}", self::kind(element)),
        other => format!("{other:?}").to_lowercase(),
    }
}

impl Drift {
    /// Whether nothing differs.
    pub fn is_empty(&self) -> bool {
        self.tables.is_empty()
    }
}

/// One line, no longer than some names.
impl fmt::Display for Drift {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&some_names(self.tables.iter()))
    }
}

impl fmt::Display for TableDrift {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.table)?;
        let mut parts = Vec::new();
        match self.state {
            "missing" => parts.push("is not there".to_owned()),
            "new" => parts.push("is not locked".to_owned()),
            _ => {}
        }
        let mut list = |words: &str, names: Vec<&String>| {
            if !names.is_empty() {
                parts.push(format!("{words} {}", some_names(names.iter())));
            }
        };
        list("lacks", self.missing.iter().collect());
        list("has new", self.added.iter().collect());
        let changed = self.changed.iter().map(|change| &change.column);
        list("has another", changed.collect());
        if self.key_changed {
            parts.push("has another key".to_owned());
        }
        write!(formatter, " ({})", parts.join(", "))
    }
}

/// What a contract makes of a live catalog.
pub(super) struct Applied {
    /// What is served of it.
    pub(super) catalog: Catalog,
    /// Tables that are refused, whether they are there or not.
    pub(super) refused: Vec<String>,
    /// How it differs.
    pub(super) drift: Drift,
}

/// What a contract makes of a live catalog.
pub(super) fn applied(mode: ContractMode, locked: &Shape, live: Catalog) -> Applied {
    let drift = locked.drift(&Shape::of(&live));
    let is_refused = |table: &&TableDrift| match mode {
        ContractMode::Warn => false,
        ContractMode::Strict => true,
        ContractMode::Shape => {
            let is_other = |change: &ColumnDrift| change.locked.r#type != change.live.r#type;
            table.state == "missing"
                || !table.missing.is_empty()
                || table.changed.iter().any(is_other)
        }
    };
    let refused = drift.tables.iter().filter(is_refused);
    let refused = refused.map(|table| table.table.clone()).collect();
    let catalog = match mode {
        ContractMode::Shape => trimmed(locked, &live),
        ContractMode::Warn | ContractMode::Strict => live,
    };
    Applied {
        catalog,
        refused,
        drift,
    }
}

/// The locked tables with their locked columns alone.
fn trimmed(locked: &Shape, live: &Catalog) -> Catalog {
    let tables = live.tables().filter_map(|table| {
        let shape = locked.tables.get(&table.name)?;
        let mut places = vec![None; table.columns.len()];
        let mut columns = Vec::new();
        for (column, place) in table.columns.iter().zip(&mut places) {
            if shape.column(&column.name).is_some() {
                *place = Some(columns.len());
                columns.push(column.clone());
            }
        }
        let all = |indexes: &[usize]| -> Option<Vec<usize>> {
            let mut moved = indexes.iter();
            moved.try_fold(Vec::new(), |mut list, index| {
                list.push((*places.get(*index)?)?);
                Some(list)
            })
        };
        let foreign_keys = table.foreign_keys.iter();
        Some(Table {
            primary_key: all(&table.primary_key).unwrap_or_default(),
            unique_keys: table
                .unique_keys
                .iter()
                .filter_map(|key| all(key))
                .collect(),
            indexed: table
                .indexed
                .iter()
                .filter_map(|index| *places.get(*index)?)
                .collect(),
            foreign_keys: foreign_keys
                .filter_map(|key| {
                    let target = locked.tables.get(&key.target)?;
                    let names = &mut key.target_columns.iter();
                    names
                        .all(|name| target.column(name).is_some())
                        .then_some(())?;
                    Some(super::catalog::ForeignKey {
                        columns: all(&key.columns)?,
                        ..key.clone()
                    })
                })
                .collect(),
            columns,
            ..(**table).clone()
        })
    });
    Catalog::new(tables.collect())
}

/// The refusal of a table that is not what its contract says. Columns are named in the log and in `/status`, not here: a
/// role may hide them.
pub(super) fn violated(table: &str) -> Error {
    Error::new(
        ErrorKind::ContractViolated,
        format!("table '{table}' is not what its contract says"),
    )
    .with_help("whoever runs the gateway sees by `tidegate contract check` what differs, and locks it anew or mends the database")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(name: &str, columns: &[(&str, Type)]) -> Table {
        let column = |(name, kind): &(&str, Type)| Column {
            name: (*name).to_owned(),
            kind: kind.clone(),
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
            settings: None,
            description: None,
        };
        Table {
            name: name.to_owned(),
            native: name.to_owned(),
            columns: columns.iter().map(column).collect(),
            primary_key: vec![0],
            ..Table::default()
        }
    }

    fn locked() -> Shape {
        Shape::of(&Catalog::new(vec![
            table("a", &[("id", Type::Integer), ("x", Type::Text)]),
            table("b", &[("id", Type::Integer), ("y", Type::Text)]),
            table("c", &[("id", Type::Integer)]),
            table("gone", &[("id", Type::Integer)]),
        ]))
    }

    fn live() -> Catalog {
        Catalog::new(vec![
            // A new column before the others.
            table(
                "a",
                &[
                    ("new", Type::Text),
                    ("id", Type::Integer),
                    ("x", Type::Text),
                ],
            ),
            // One is gone, one is something else.
            table("b", &[("id", Type::BigInt)]),
            table("c", &[("id", Type::Integer)]),
            table("fresh", &[("id", Type::Integer)]),
        ])
    }

    fn served(mode: ContractMode) -> Catalog {
        let applied = applied(mode, &locked(), live());
        applied.catalog.with_violations(&applied.refused)
    }

    fn outcome(catalog: &Catalog, name: &str) -> Result<Vec<String>, ErrorKind> {
        let table = catalog
            .table(name, |_| true)
            .map_err(|error| error.kind())?;
        let columns = table.columns.iter();
        Ok(columns.map(|column| column.name.clone()).collect())
    }

    #[test]
    fn a_contract_reads_what_it_wrote_and_finds_every_difference() {
        let text = locked().to_text().unwrap();
        let read: Shape = serde_json::from_str(&text).unwrap();
        assert_eq!(read, locked());
        assert_eq!(text, read.to_text().unwrap());
        assert!(locked().drift(&locked()).is_empty());
        assert_eq!(
            locked().drift(&Shape::of(&live())).to_string(),
            "a (has new new, has another key), b (lacks y, has another id), fresh (is not locked), gone (is not there)"
        );
    }

    #[test]
    fn strict_refuses_what_differs_and_serves_the_rest() {
        let catalog = served(ContractMode::Strict);
        for name in ["a", "B", "fresh", "gone"] {
            assert_eq!(
                outcome(&catalog, name),
                Err(ErrorKind::ContractViolated),
                "{name}"
            );
        }
        assert_eq!(outcome(&catalog, "c").unwrap(), ["id"]);
        assert_eq!(outcome(&catalog, "never"), Err(ErrorKind::UnknownTable));
    }

    #[test]
    fn shape_serves_what_is_locked_and_nothing_else() {
        let catalog = served(ContractMode::Shape);
        assert_eq!(outcome(&catalog, "a").unwrap(), ["id", "x"]);
        let a = catalog.get("a").unwrap();
        assert_eq!(a.column_index("new"), None);
        for name in ["b", "gone"] {
            assert_eq!(
                outcome(&catalog, name),
                Err(ErrorKind::ContractViolated),
                "{name}"
            );
        }
        assert_eq!(outcome(&catalog, "fresh"), Err(ErrorKind::UnknownTable));
    }

    #[test]
    fn warn_serves_everything_and_tells() {
        assert_eq!(served(ContractMode::Warn), live());
        let applied = applied(ContractMode::Warn, &locked(), live());
        assert_eq!(applied.drift.tables.len(), 4);
    }
}
