//! What is different between two readings of a catalog. Pure.

use std::fmt;

use super::catalog::{Catalog, Table};

/// Most tables, and most columns of one table, that a line of the log names.
const MAX_NAMED: usize = 20;

/// What is different between two readings of a catalog. Names are sorted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct CatalogChange {
    /// Tables and views that are new.
    pub(super) added: Vec<String>,
    /// Tables and views that are gone.
    pub(super) removed: Vec<String>,
    /// Tables and views that are not what they were.
    pub(super) changed: Vec<TableChange>,
}

/// A table that is not what it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TableChange {
    table: String,
    /// Columns that are new, gone or different; none where only keys or relations are.
    columns: Vec<String>,
}

impl CatalogChange {
    /// What became of `old`.
    pub(super) fn between(old: &Catalog, new: &Catalog) -> Self {
        let only_in = |here: &Catalog, there: &Catalog| {
            let mut names: Vec<String> = here
                .tables()
                .filter(|table| there.find(&table.name).is_none())
                .map(|table| table.name.clone())
                .collect();
            names.sort_unstable();
            names
        };
        let mut changed: Vec<TableChange> = old
            .tables()
            .filter_map(|before| Some((before, new.find(&before.name)?)))
            .filter(|(before, after)| before != after)
            .map(|(before, after)| TableChange {
                table: before.name.clone(),
                columns: changed_columns(before, after),
            })
            .collect();
        changed.sort_unstable_by(|left, right| left.table.cmp(&right.table));
        Self {
            added: only_in(new, old),
            removed: only_in(old, new),
            changed,
        }
    }
}

fn changed_columns(before: &Table, after: &Table) -> Vec<String> {
    let same_in = |table: &Table, column: &super::catalog::Column| {
        table
            .columns
            .iter()
            .any(|other| other.name == column.name && other == column)
    };
    let gone_or_different = before
        .columns
        .iter()
        .filter(|column| !same_in(after, column));
    let new = after.columns.iter().filter(|column| {
        let is_known = |before: &super::catalog::Column| before.name == column.name;
        !before.columns.iter().any(is_known)
    });
    let mut names: Vec<String> = gone_or_different
        .chain(new)
        .map(|column| column.name.clone())
        .collect();
    names.sort_unstable();
    names
}

/// Names for a line of the log: no more than [`MAX_NAMED`], and how many more there are.
pub(super) fn some_names<N: fmt::Display>(names: impl ExactSizeIterator<Item = N>) -> String {
    let more = names.len().saturating_sub(MAX_NAMED);
    let shown: Vec<String> = names.take(MAX_NAMED).map(|name| name.to_string()).collect();
    match more {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

impl fmt::Display for TableChange {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.table)?;
        if self.columns.is_empty() {
            return Ok(());
        }
        write!(formatter, " ({})", some_names(self.columns.iter()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connector::database::catalog::{Column, Type};

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
            ..Table::default()
        }
    }

    #[test]
    fn tables_and_columns_that_came_went_or_changed_are_named() {
        let old = Catalog::new(vec![
            table("gone", &[]),
            table("same", &[("id", Type::Integer)]),
            table(
                "other",
                &[
                    ("id", Type::Integer),
                    ("old", Type::Text),
                    ("kept", Type::Text),
                ],
            ),
        ]);
        let new = Catalog::new(vec![
            table("same", &[("id", Type::Integer)]),
            table(
                "other",
                &[
                    ("id", Type::BigInt),
                    ("kept", Type::Text),
                    ("new", Type::Text),
                ],
            ),
            table("fresh", &[]),
        ]);
        let change = CatalogChange::between(&old, &new);
        assert_eq!(change.added, ["fresh"]);
        assert_eq!(change.removed, ["gone"]);
        assert_eq!(
            some_names(change.changed.iter()),
            "other (id, new, old)".to_owned()
        );
        assert_eq!(
            CatalogChange::between(&new, &new.clone()),
            CatalogChange::default()
        );
    }

    #[test]
    fn a_line_of_the_log_does_not_grow_with_the_change() {
        let names: Vec<u32> = (0..100).collect();
        let text = some_names(names.iter());
        assert!(text.ends_with("18, 19 and 80 more"), "{text}");
    }
}
